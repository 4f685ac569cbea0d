//! The platform's own log lines: text as Lambda prints it, or one JSON record each.

use std::fmt::Write as _;
use std::time::Duration;

use lambkin_core::function::{LogFormat, SystemLogLevel};
use serde::Serialize;

use crate::calendar::rfc3339_millis;
use crate::faults::fault_message;
use crate::session::ExtensionInfo;

/// When INIT runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InitPhase {
    /// On its own, before the first invocation.
    Init,
    /// Again, within an invocation, after it failed on its own.
    Invoke,
}

impl InitPhase {
    fn name(self) -> &'static str {
        match self {
            Self::Init => "init",
            Self::Invoke => "invoke",
        }
    }
}

/// Why an environment is initialised.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Initialization {
    /// An invocation needs it.
    #[default]
    OnDemand,
    /// It is to be there ahead of invocations.
    ProvisionedConcurrency,
}

impl Initialization {
    /// Value of `AWS_LAMBDA_INITIALIZATION_TYPE` and of `initializationType` in log records.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::OnDemand => "on-demand",
            Self::ProvisionedConcurrency => "provisioned-concurrency",
        }
    }
}

/// How INIT or an invocation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status<'a> {
    /// Well.
    Success,
    /// In an error of this type.
    Error(&'a str),
    /// At its time limit.
    Timeout,
}

impl<'a> Status<'a> {
    fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Error(_) => "error",
            Self::Timeout => "timeout",
        }
    }

    fn error_type(self) -> Option<&'a str> {
        match self {
            Self::Error(error_type) => Some(error_type),
            Self::Success | Self::Timeout => None,
        }
    }
}

/// Something that the platform logs.
#[derive(Debug, Clone, Copy)]
pub enum PlatformEvent<'a> {
    /// INIT begins.
    InitStart {
        /// Why it does.
        initialization: Initialization,
        /// What runs, e.g. `python:3.12.1 (host /usr)`.
        runtime_version: &'a str,
        /// Function name.
        function_name: &'a str,
        /// Function version.
        function_version: &'a str,
        /// The environment's identity.
        instance_id: &'a str,
        /// Memory in MiB.
        memory_mb: u32,
    },
    /// The runtime has ended INIT; JSON only.
    InitRuntimeDone {
        /// Why it ran.
        initialization: Initialization,
        /// When it ran.
        phase: InitPhase,
        /// How it ended.
        status: Status<'a>,
    },
    /// INIT has ended. As text only failures are printed.
    InitReport {
        /// Why it ran.
        initialization: Initialization,
        /// Its length.
        duration: Duration,
        /// When it ran.
        phase: InitPhase,
        /// How it ended.
        status: Status<'a>,
    },
    /// What became of an extension in INIT.
    Extension(&'a ExtensionInfo),
    /// An invocation begins.
    Start {
        /// Request id.
        request_id: &'a str,
        /// Function version.
        version: &'a str,
    },
    /// The function ran out of time.
    TimedOut {
        /// Request id.
        request_id: &'a str,
        /// Its timeout.
        after: Duration,
    },
    /// The platform ended an invocation.
    Fault {
        /// Request id.
        request_id: &'a str,
        /// What happened.
        message: &'a str,
        /// Error type.
        error_type: &'a str,
    },
    /// The runtime has ended an invocation; JSON only.
    RuntimeDone {
        /// Request id.
        request_id: &'a str,
        /// From the event to the answer.
        duration: Duration,
        /// Size of the answer.
        produced_bytes: usize,
        /// How it ended.
        status: Status<'a>,
    },
    /// An invocation ends; text only.
    End {
        /// Request id.
        request_id: &'a str,
    },
    /// The account of an invocation, its last line.
    Report {
        /// Request id.
        request_id: &'a str,
        /// From the event to the answer.
        duration: Duration,
        /// Length of INIT where this was the first invocation; it is billed.
        init_duration: Option<Duration>,
        /// Memory in MiB.
        memory_mb: u32,
        /// Most memory used, in MiB.
        max_memory_used_mb: u64,
        /// How it ended.
        status: Status<'a>,
        /// Whether the runtime reported the error itself; text lines then show no status.
        reported: bool,
    },
}

impl PlatformEvent<'_> {
    /// The line to log at `now_ms` (milliseconds since the epoch), line feed included; `None` where this
    /// format or its level has none.
    #[must_use]
    pub fn render(&self, format: LogFormat, now_ms: i64) -> Option<String> {
        match format {
            LogFormat::Text => self.text(now_ms),
            LogFormat::Json(level) if self.level() < level => None,
            LogFormat::Json(_) => self.json(now_ms),
        }
    }

    /// The level of its JSON record, by AWS's table of system log events.
    fn level(&self) -> SystemLogLevel {
        match *self {
            Self::InitRuntimeDone { status: Status::Success, .. }
            | Self::InitReport { status: Status::Success, .. }
            | Self::RuntimeDone { status: Status::Success, .. } => SystemLogLevel::Debug,
            Self::InitStart { .. }
            | Self::Extension(_)
            | Self::Start { .. }
            | Self::End { .. }
            | Self::Report { status: Status::Success, .. } => SystemLogLevel::Info,
            Self::InitRuntimeDone { .. }
            | Self::InitReport { .. }
            | Self::TimedOut { .. }
            | Self::Fault { .. }
            | Self::RuntimeDone { .. }
            | Self::Report { .. } => SystemLogLevel::Warn,
        }
    }

    fn text(&self, now_ms: i64) -> Option<String> {
        Some(match *self {
            Self::InitStart { runtime_version, .. } => {
                format!("INIT_START Runtime Version: {runtime_version}\n")
            }
            Self::InitReport { status: Status::Success, .. }
            | Self::InitRuntimeDone { .. }
            | Self::RuntimeDone { .. } => return None,
            Self::InitReport { duration, phase, status, .. } => {
                let mut line = format!(
                    "INIT_REPORT Init Duration: {:.2} ms\tPhase: {}\tStatus: {}",
                    millis(duration),
                    phase.name(),
                    status.name()
                );
                push_error_type(&mut line, status);
                line
            }
            Self::Extension(extension) => {
                let ExtensionInfo { name, state, events, error_type } = extension;
                let mut line =
                    format!("EXTENSION\tName: {name}\tState: {state}\tEvents: [{}]", events.join(","));
                if let Some(error_type) = error_type {
                    let _ = write!(line, "\tError Type: {error_type}");
                }
                line.push('\n');
                line
            }
            Self::Start { request_id, version } => {
                format!("START RequestId: {request_id} Version: {version}\n")
            }
            Self::End { request_id } => format!("END RequestId: {request_id}\n"),
            Self::TimedOut { request_id, after } => format!(
                "{} {request_id} Task timed out after {:.2} seconds\n\n",
                rfc3339_millis(now_ms),
                after.as_secs_f64()
            ),
            Self::Fault { request_id, message, error_type } => {
                format!("{}\n{error_type}\n", fault_message(request_id, message))
            }
            Self::Report {
                request_id,
                duration,
                init_duration,
                memory_mb,
                max_memory_used_mb,
                status,
                reported,
            } => {
                let mut line = String::with_capacity(224);
                // Writing to a String cannot fail.
                let _ = write!(
                    line,
                    "REPORT RequestId: {request_id}\tDuration: {:.2} ms\t\
                     Billed Duration: {} ms\tMemory Size: {memory_mb} MB\t\
                     Max Memory Used: {max_memory_used_mb} MB\t",
                    millis(duration),
                    billed_ms(duration, init_duration),
                );
                if let Some(init) = init_duration {
                    let _ = write!(line, "Init Duration: {:.2} ms\t", millis(init));
                }
                if status == Status::Success || reported {
                    line.push('\n');
                } else {
                    let _ = write!(line, "Status: {}", status.name());
                    push_error_type(&mut line, status);
                }
                line
            }
        })
    }

    fn json(&self, now_ms: i64) -> Option<String> {
        let (kind, record) = match *self {
            Self::InitStart {
                initialization,
                runtime_version,
                function_name,
                function_version,
                instance_id,
                memory_mb,
            } => (
                "platform.initStart",
                Record::InitStart {
                    initialization_type: initialization.name(),
                    phase: "init",
                    runtime_version,
                    function_name,
                    function_version,
                    instance_id,
                    instance_max_memory: u64::from(memory_mb) * 1024 * 1024,
                },
            ),
            Self::End { .. } | Self::TimedOut { .. } | Self::Fault { .. } => return None,
            Self::InitRuntimeDone { initialization, phase, status } => (
                "platform.initRuntimeDone",
                Record::InitRuntimeDone {
                    initialization_type: initialization.name(),
                    phase: phase.name(),
                    status: status.name(),
                    error_type: status.error_type(),
                },
            ),
            Self::InitReport { initialization, duration, phase, status } => (
                "platform.initReport",
                Record::InitReport {
                    initialization_type: initialization.name(),
                    phase: phase.name(),
                    status: status.name(),
                    error_type: status.error_type(),
                    metrics: InitMetrics { duration_ms: rounded_ms(duration) },
                },
            ),
            Self::Extension(ExtensionInfo { name, state, events, error_type }) => (
                "platform.extension",
                Record::Extension { name, state, events, error_type: error_type.as_deref() },
            ),
            Self::Start { request_id, version } => ("platform.start", Record::Start { request_id, version }),
            Self::RuntimeDone { request_id, duration, produced_bytes, status } => (
                "platform.runtimeDone",
                Record::RuntimeDone {
                    request_id,
                    status: status.name(),
                    error_type: status.error_type(),
                    metrics: DoneMetrics { duration_ms: rounded_ms(duration), produced_bytes },
                },
            ),
            Self::Report {
                request_id,
                duration,
                init_duration,
                memory_mb,
                max_memory_used_mb,
                status,
                reported: _,
            } => (
                "platform.report",
                Record::Report {
                    request_id,
                    metrics: ReportMetrics {
                        duration_ms: rounded_ms(duration),
                        billed_duration_ms: billed_ms(duration, init_duration),
                        memory_size_mb: memory_mb,
                        max_memory_used_mb,
                        init_duration_ms: init_duration.map(rounded_ms),
                    },
                    status: status.name(),
                    error_type: status.error_type(),
                },
            ),
        };
        let mut line =
            serde_json::to_string(&Envelope { time: rfc3339_millis(now_ms), kind, record }).ok()?;
        line.push('\n');
        Some(line)
    }
}

fn push_error_type(line: &mut String, status: Status<'_>) {
    if let Some(error_type) = status.error_type() {
        let _ = write!(line, "\tError Type: {error_type}");
    }
    line.push('\n');
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// Milliseconds with three decimals.
fn rounded_ms(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Billed time: whole milliseconds, rounded up, INIT included.
fn billed_ms(duration: Duration, init_duration: Option<Duration>) -> u64 {
    let total = duration + init_duration.unwrap_or_default();
    u64::try_from(total.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}

#[derive(Serialize)]
struct Envelope<'a> {
    time: String,
    #[serde(rename = "type")]
    kind: &'static str,
    record: Record<'a>,
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum Record<'a> {
    InitStart {
        initialization_type: &'static str,
        phase: &'static str,
        runtime_version: &'a str,
        function_name: &'a str,
        function_version: &'a str,
        instance_id: &'a str,
        instance_max_memory: u64,
    },
    InitRuntimeDone {
        initialization_type: &'static str,
        phase: &'static str,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_type: Option<&'a str>,
    },
    InitReport {
        initialization_type: &'static str,
        phase: &'static str,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_type: Option<&'a str>,
        metrics: InitMetrics,
    },
    Extension {
        name: &'a str,
        state: &'static str,
        events: &'a [&'static str],
        #[serde(skip_serializing_if = "Option::is_none")]
        error_type: Option<&'a str>,
    },
    Start {
        request_id: &'a str,
        version: &'a str,
    },
    RuntimeDone {
        request_id: &'a str,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_type: Option<&'a str>,
        metrics: DoneMetrics,
    },
    Report {
        request_id: &'a str,
        metrics: ReportMetrics,
        status: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        error_type: Option<&'a str>,
    },
}

#[derive(Serialize)]
struct InitMetrics {
    #[serde(rename = "durationMs")]
    duration_ms: f64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DoneMetrics {
    duration_ms: f64,
    produced_bytes: usize,
}

#[derive(Serialize)]
struct ReportMetrics {
    #[serde(rename = "durationMs")]
    duration_ms: f64,
    #[serde(rename = "billedDurationMs")]
    billed_duration_ms: u64,
    #[serde(rename = "memorySizeMB")]
    memory_size_mb: u32,
    #[serde(rename = "maxMemoryUsedMB")]
    max_memory_used_mb: u64,
    #[serde(rename = "initDurationMs", skip_serializing_if = "Option::is_none")]
    init_duration_ms: Option<f64>,
}

#[cfg(test)]
mod tests;
