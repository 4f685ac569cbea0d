//! One event in one environment.

use std::time::{Duration, Instant};

use bytes::Bytes;
use lambkin_core::function::FunctionSpec;
use lambkin_core::invoke::{Invocation, InvokeOutcome};
use lambkin_runtime::{Answer, Event, InitPhase, PlatformEvent, ShutdownReason, Status};
use tokio::sync::oneshot;

use crate::engine::Inner;
use crate::environment::{Environment, InitFailure, Live, Watched, last_breath, watch};
use crate::extensions::extension_failure;
use crate::failure::Failure;

/// Where the outcome goes if the caller can have it before the environment is done.
pub(crate) type Early = Option<oneshot::Sender<InvokeOutcome>>;

/// What became of an event.
#[derive(Debug)]
pub(crate) enum Verdict {
    /// It was answered.
    Answered(InvokeOutcome),
    /// The runtime was gone before it saw the event; another environment can take it.
    Undelivered,
    /// The sandbox could not be made, or was lost.
    Lost(String),
}

/// How an invocation ended, before it is logged.
struct Ended {
    result: Result<Bytes, Failure>,
    /// Length of a response that was streamed.
    streamed: Option<u64>,
    /// Until the runtime's answer.
    duration: Duration,
    reusable: bool,
    /// Extensions' time and what went wrong in it.
    after: Option<(Duration, Option<Failure>)>,
}

impl Environment {
    /// Runs one event. Where it timed out or the runtime ended, the environment is left without a sandbox; as
    /// on AWS it keeps its log stream, and the next invocation that it gets runs INIT again.
    pub(crate) async fn invoke(
        &mut self,
        inner: &Inner,
        spec: &FunctionSpec,
        invocation: &Invocation,
        early: &mut Early,
    ) -> Verdict {
        let begun = Instant::now();
        // Before the first invocation the tail is kept from INIT on.
        if !(invocation.log_tail && self.log.keeps_tail()) {
            self.log.keep_tail(invocation.log_tail);
        }
        let start = PlatformEvent::Start { request_id: &invocation.request_id, version: &spec.version };
        if self.live.is_none() {
            match self.initialise(inner, spec, spec.timeout).await {
                Ok(duration) => self.report_init(inner, spec, duration, InitPhase::Invoke, None),
                Err(InitFailure::Sandbox(reason)) => return Verdict::Lost(reason),
                Err(InitFailure::Failure(failure)) => {
                    let duration = begun.elapsed();
                    self.report_init(inner, spec, duration, InitPhase::Invoke, Some(&failure));
                    self.platform(inner, spec, &start);
                    let ended = Ended {
                        result: Err(failure),
                        streamed: None,
                        duration,
                        reusable: false,
                        after: None,
                    };
                    return self.conclude(inner, spec, invocation, ended);
                }
            }
        }
        self.platform(inner, spec, &start);
        match self.run(inner, spec, invocation, begun).await {
            Ok(mut ended) => {
                let unsettled = |live: &Live| live.session.has_extensions_for_invoke();
                if ended.reusable && self.live.as_ref().is_some_and(unsettled) {
                    // The tail of the log is complete only with the report.
                    if !invocation.log_tail
                        && let Some(early) = early.take()
                    {
                        let _ = early.send(outcome(&ended.result, spec, invocation));
                    }
                    self.settle(inner, spec, &mut ended, begun).await;
                }
                self.conclude(inner, spec, invocation, ended)
            }
            Err(verdict) => {
                self.end_sandbox(inner, ShutdownReason::Failure);
                // For this environment the invocation has not begun.
                if let (Verdict::Undelivered, Some(line)) = (&verdict, start.render(spec.log_format, 0)) {
                    self.log.withdraw(&line);
                }
                self.hand_over_log(inner);
                verdict
            }
        }
    }

    /// Hands the event over and waits for its end.
    async fn run(
        &mut self,
        inner: &Inner,
        spec: &FunctionSpec,
        invocation: &Invocation,
        begun: Instant,
    ) -> Result<Ended, Verdict> {
        let Some(Live { session, output, exit, helpers, .. }) = &mut self.live else {
            return Err(Verdict::Lost("the sandbox was lost".to_owned()));
        };
        let made_trace;
        let trace_id = match &invocation.trace_id {
            Some(trace_id) => trace_id.as_str(),
            None => {
                made_trace = inner.traces.header(inner.clock.now_ms());
                made_trace.as_str()
            }
        };
        let left = spec.timeout.saturating_sub(begun.elapsed());
        let event = Event {
            request_id: &invocation.request_id,
            deadline_ms: inner.clock.now_ms().saturating_add(millis(left)),
            invoked_function_arn: &invocation.invoked_function_arn,
            trace_id,
            client_context: invocation.client_context.as_deref(),
            cognito_identity: None,
            payload: invocation.payload.clone(),
            response: invocation.response.as_ref(),
        };
        let end = session.process_end();
        let answer = helpers.beside(session.invoke(event));
        let watched = match watch(answer, &end, output, &mut self.log, exit, inner, left).await {
            Watched::Done(Ok(answer)) => Watched::Done(answer),
            Watched::Exited(status) => Watched::Exited(status),
            Watched::TimedOut => Watched::TimedOut,
            Watched::Done(Err(status)) => {
                let result = Err(Failure::extension_exited(status, true));
                let duration = begun.elapsed();
                return Ok(Ended { result, streamed: None, duration, reusable: false, after: None });
            }
        };
        let mut reusable = true;
        let mut streamed = None;
        let result = match watched {
            Watched::Done(Answer::Response(payload)) => Ok(payload),
            Watched::Done(Answer::Streamed { bytes }) => {
                streamed = Some(bytes);
                Ok(Bytes::new())
            }
            Watched::Done(Answer::Error { error_type, body }) => Err(Failure::Reported { error_type, body }),
            Watched::Done(Answer::TooLarge) => Err(Failure::TooLarge),
            Watched::TimedOut => {
                reusable = false;
                Err(Failure::TimedOut)
            }
            gone @ (Watched::Exited(_) | Watched::Done(Answer::Closed { .. })) => {
                reusable = false;
                let delivered = session.delivered();
                let status = match gone {
                    Watched::Exited(status) => status,
                    Watched::Done(Answer::Closed { reason, .. }) if !reason.is_empty() => {
                        tracing::warn!(
                            function = &*spec.name,
                            request_id = invocation.request_id,
                            reason,
                            "a runtime broke the rules of the runtime API"
                        );
                        last_breath(&self.cell, exit).await
                    }
                    _ => last_breath(&self.cell, exit).await,
                };
                if self.live.as_ref().is_some_and(|live| live.is_lost()) {
                    inner.counters.sandbox_failures.add();
                    return Err(if delivered {
                        Verdict::Lost("the sandbox was lost".to_owned())
                    } else {
                        Verdict::Undelivered
                    });
                }
                if !delivered {
                    return Err(Verdict::Undelivered);
                }
                Err(Failure::exited(status, &self.plan))
            }
        };
        let duration = begun.elapsed();
        if let Some(live) = &mut self.live {
            live.output.drain(&mut self.log, &*inner.clock);
        }
        Ok(Ended { result, streamed, duration, reusable, after: None })
    }

    /// Waits for the extensions after the runtime's answer, within the function's time.
    async fn settle(&mut self, inner: &Inner, spec: &FunctionSpec, ended: &mut Ended, begun: Instant) {
        let Some(Live { session, output, exit, helpers, .. }) = &mut self.live else { return };
        let left = spec.timeout.saturating_sub(begun.elapsed());
        let end = session.process_end();
        let settled = helpers.beside(session.settled());
        let failure = match watch(settled, &end, output, &mut self.log, exit, inner, left).await {
            Watched::Done(Ok(Ok(()))) => None,
            Watched::Done(Ok(Err(error))) => Some(extension_failure(error)),
            Watched::Done(Err(status)) => Some(Failure::extension_exited(status, true)),
            Watched::Exited(status) => Some(Failure::exited(status, &self.plan)),
            Watched::TimedOut => Some(Failure::TimedOut),
        };
        output.drain(&mut self.log, &*inner.clock);
        ended.reusable = failure.is_none();
        ended.after = Some((begun.elapsed(), failure));
    }

    /// Logs the end of an invocation and makes its outcome.
    fn conclude(
        &mut self,
        inner: &Inner,
        spec: &FunctionSpec,
        invocation: &Invocation,
        ended: Ended,
    ) -> Verdict {
        let Ended { result, streamed, duration, reusable, after } = ended;
        let max_memory_used_mb = self.max_memory_mb(if reusable { duration } else { Duration::MAX });
        let (total, late) = after.unwrap_or((duration, None));
        let failure = late.as_ref().or(result.as_ref().err());
        if !reusable {
            let timed_out = matches!(failure, Some(Failure::TimedOut));
            self.end_sandbox(
                inner,
                if timed_out { ShutdownReason::Timeout } else { ShutdownReason::Failure },
            );
        }
        self.log.flush(inner.clock.now_ms());
        let request_id = invocation.request_id.as_str();
        if let Some(event) = failure.and_then(|failure| failure.log_event(request_id, spec.timeout)) {
            self.platform(inner, spec, &event);
        }
        let status = failure.map_or(Status::Success, Failure::status);
        // The timeout is the timeout, however late the timer.
        let total = if status == Status::Timeout { spec.timeout } else { total };
        let duration = duration.min(total);
        let runtime_status = result.as_ref().err().map_or(Status::Success, Failure::status);
        let produced_bytes = match (&result, streamed) {
            (Ok(_), Some(bytes)) => usize::try_from(bytes).unwrap_or(usize::MAX),
            (Ok(payload), None) => payload.len(),
            (Err(_), _) => 0,
        };
        self.platform(inner, spec, &PlatformEvent::End { request_id });
        self.platform(
            inner,
            spec,
            &PlatformEvent::RuntimeDone { request_id, duration, produced_bytes, status: runtime_status },
        );
        let init_duration = self.init_duration.take();
        self.platform(
            inner,
            spec,
            &PlatformEvent::Report {
                request_id,
                duration: total,
                init_duration,
                memory_mb: spec.memory_mb,
                max_memory_used_mb,
                status,
                reported: matches!(failure, Some(Failure::Reported { .. })) && self.live.is_some(),
            },
        );
        let log_tail = self.log.take_tail().filter(|_| invocation.log_tail);
        self.hand_over_log(inner);

        inner.counters.invocations.add();
        if status == Status::Timeout {
            inner.counters.timeouts.add();
        }
        let mut outcome = outcome(&result, spec, invocation);
        outcome.log_tail = log_tail;
        if outcome.function_error.is_some() {
            inner.counters.function_errors.add();
        }
        Verdict::Answered(outcome)
    }
}

/// What the caller gets, but for the tail of the log.
fn outcome(result: &Result<Bytes, Failure>, spec: &FunctionSpec, invocation: &Invocation) -> InvokeOutcome {
    let (payload, function_error) = match result {
        Ok(payload) => (payload.clone(), None),
        Err(failure) => (failure.document(&invocation.request_id, spec.timeout), Some("Unhandled")),
    };
    InvokeOutcome { payload, function_error, log_tail: None, executed_version: spec.version.clone() }
}

/// Whole milliseconds.
fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
