//! What can go wrong with INIT or an invocation, as the caller, the log and the report tell it.

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use lambkin_runtime::{
    PlatformEvent, RESPONSE_SIZE_TOO_LARGE, RUNTIME_EXIT_ERROR, RUNTIME_INVALID_ENTRYPOINT,
    RUNTIME_OUT_OF_MEMORY, SANDBOX_TIMEDOUT, Status, error_type, fault_document, too_large_document,
};
use lambkin_sandbox::ExitStatus;
use rustix::io::Errno;

use crate::plan::Plan;

/// A failure of the function or its runtime.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// The runtime reported it.
    Reported {
        /// As the runtime declared it.
        error_type: String,
        /// The document it posted.
        body: Bytes,
    },
    /// The platform found it.
    Fault {
        /// Type in the caller's document.
        error_type: Cow<'static, str>,
        /// Type in the report.
        report_type: Cow<'static, str>,
        /// What happened.
        message: String,
    },
    /// The time was over.
    TimedOut,
    /// The response is too large.
    TooLarge,
}

impl Failure {
    /// There is nothing to run.
    pub(crate) fn entrypoint(message: String) -> Self {
        Self::fault(RUNTIME_INVALID_ENTRYPOINT, message)
    }

    fn fault(error_type: impl Into<Cow<'static, str>>, message: String) -> Self {
        let error_type = error_type.into();
        Self::Fault { report_type: error_type.clone(), error_type, message }
    }

    /// An extension has ended, before or after it registered.
    pub(crate) fn extension_exited(status: ExitStatus, registered: bool) -> Self {
        match status {
            ExitStatus::Code(126 | 127) if !registered => {
                Self::fault("Extension.LaunchError", "the extension cannot be executed".to_owned())
            }
            ExitStatus::Code(code) => Self::fault("Extension.Crash", format!("exit code {code}")),
            status => {
                let message = exit_message(status);
                let signal = message.trim_start_matches("Runtime exited with error: ").to_owned();
                Self::fault("Extension.Crash", signal)
            }
        }
    }

    /// An extension has reported an error.
    pub(crate) fn extension_reported(error_type: String) -> Self {
        let message = format!("an extension reported {error_type}");
        Self::fault(error_type, message)
    }

    /// The process has ended.
    pub(crate) fn exited(status: ExitStatus, plan: &Plan) -> Self {
        if let (ExitStatus::ExecFailed(errno), false) = (status, plan.wrapped) {
            return Self::entrypoint(format!("fork/exec {}: {}", plan.program, errno_text(errno)));
        }
        Self::Fault {
            error_type: RUNTIME_EXIT_ERROR.into(),
            report_type: match status {
                ExitStatus::OutOfMemory => RUNTIME_OUT_OF_MEMORY.into(),
                _ => RUNTIME_EXIT_ERROR.into(),
            },
            message: exit_message(status),
        }
    }

    /// For INIT_REPORT and REPORT.
    pub(crate) fn status(&self) -> Status<'_> {
        match self {
            Self::Reported { error_type: declared, .. } => Status::Error(error_type(declared)),
            Self::Fault { report_type, .. } => Status::Error(report_type),
            Self::TimedOut => Status::Timeout,
            Self::TooLarge => Status::Error(RESPONSE_SIZE_TOO_LARGE),
        }
    }

    /// The payload that the caller gets.
    pub(crate) fn document(&self, request_id: &str, timeout: Duration) -> Bytes {
        match self {
            Self::Reported { body, .. } => body.clone(),
            Self::Fault { error_type, message, .. } => fault_document(error_type, request_id, message),
            Self::TimedOut => {
                let message = format!("Task timed out after {:.2} seconds", timeout.as_secs_f64());
                fault_document(SANDBOX_TIMEDOUT, request_id, &message)
            }
            Self::TooLarge => too_large_document(),
        }
    }

    /// What the platform logs about it, if anything.
    pub(crate) fn log_event<'a>(
        &'a self,
        request_id: &'a str,
        timeout: Duration,
    ) -> Option<PlatformEvent<'a>> {
        match self {
            Self::Reported { .. } | Self::TooLarge => None,
            Self::Fault { report_type, message, .. } => {
                Some(PlatformEvent::Fault { request_id, message, error_type: report_type })
            }
            Self::TimedOut => Some(PlatformEvent::TimedOut { request_id, after: timeout }),
        }
    }
}

/// How AWS words the end of a runtime's process.
fn exit_message(status: ExitStatus) -> String {
    match status {
        ExitStatus::Code(0) => "Runtime exited without providing a reason".to_owned(),
        ExitStatus::Code(code) => format!("Runtime exited with error: exit status {code}"),
        ExitStatus::OutOfMemory => "Runtime exited with error: signal: killed".to_owned(),
        ExitStatus::Signal(number) => match signal_text(number) {
            Some(text) => format!("Runtime exited with error: signal: {text}"),
            None => format!("Runtime exited with error: signal {number}"),
        },
        // A wrapper script stands in for the shell that would start it.
        ExitStatus::ExecFailed(errno) => {
            let code = if errno == Errno::NOENT.raw_os_error() { 127 } else { 126 };
            format!("Runtime exited with error: exit status {code}")
        }
    }
}

fn signal_text(number: i32) -> Option<&'static str> {
    Some(match number {
        1 => "hangup",
        2 => "interrupt",
        3 => "quit",
        4 => "illegal instruction",
        5 => "trace/breakpoint trap",
        6 => "aborted",
        7 => "bus error",
        8 => "floating point exception",
        9 => "killed",
        10 => "user defined signal 1",
        11 => "segmentation fault",
        12 => "user defined signal 2",
        13 => "broken pipe",
        14 => "alarm clock",
        15 => "terminated",
        _ => return None,
    })
}

fn errno_text(errno: i32) -> String {
    match Errno::from_raw_os_error(errno) {
        Errno::NOENT => "no such file or directory".to_owned(),
        Errno::ACCESS => "permission denied".to_owned(),
        Errno::NOEXEC => "exec format error".to_owned(),
        other => format!("errno {}", other.raw_os_error()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_of_processes_are_worded_as_by_aws() {
        for (status, message) in [
            (ExitStatus::Code(0), "Runtime exited without providing a reason"),
            (ExitStatus::Code(1), "Runtime exited with error: exit status 1"),
            (ExitStatus::Signal(9), "Runtime exited with error: signal: killed"),
            (ExitStatus::Signal(11), "Runtime exited with error: signal: segmentation fault"),
            (ExitStatus::Signal(64), "Runtime exited with error: signal 64"),
            (ExitStatus::OutOfMemory, "Runtime exited with error: signal: killed"),
            (ExitStatus::ExecFailed(2), "Runtime exited with error: exit status 127"),
            (ExitStatus::ExecFailed(13), "Runtime exited with error: exit status 126"),
        ] {
            assert_eq!(exit_message(status), message);
        }
        assert_eq!(errno_text(2), "no such file or directory");
        assert_eq!(errno_text(8), "exec format error");
        assert_eq!(errno_text(5), "errno 5");
    }

    #[test]
    fn callers_get_documents_and_logs_get_lines() {
        let second = Duration::from_millis(3_500);
        assert_eq!(
            Failure::TimedOut.document("id", second),
            r#"{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: id Error: Task timed out after 3.50 seconds"}"#
        );
        let reported =
            Failure::Reported { error_type: "ValueError".into(), body: Bytes::from_static(b"{\"x\":1}") };
        assert_eq!(reported.document("id", second), "{\"x\":1}");
        assert_eq!(reported.status(), Status::Error("Runtime.Unknown"));
        assert!(reported.log_event("id", second).is_none());
        let missing = Failure::entrypoint("nothing".into());
        assert_eq!(missing.status(), Status::Error("Runtime.InvalidEntrypoint"));
        assert!(matches!(missing.log_event("id", second), Some(PlatformEvent::Fault { .. })));
    }
}
