//! Invoking a function, seen from those who ask for it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::concurrency::{Concurrency, Provisioned};
use crate::function::FunctionSpec;
use crate::ids::Scope;

/// Largest synchronous request or response payload: 6 MiB (AWS quota).
pub const MAX_SYNC_PAYLOAD: usize = 6 * 1024 * 1024;

/// Largest streamed response: 200 MiB (AWS's default quota).
pub const MAX_STREAMED_PAYLOAD: u64 = 200 * 1024 * 1024;

/// One event for a function.
#[derive(Debug, Clone)]
pub struct Invocation {
    /// Request id: `x-amzn-RequestId` and the function's `aws_request_id`.
    pub request_id: String,
    /// ARN by which the function was invoked (with the alias or version the caller gave).
    pub invoked_function_arn: String,
    /// The event; its JSON has been checked.
    pub payload: Bytes,
    /// Decoded `X-Amz-Client-Context` JSON.
    pub client_context: Option<String>,
    /// `X-Amzn-Trace-Id` as sent; the engine makes one where it is absent.
    pub trace_id: Option<String>,
    /// Whether the last 4 KiB of the log are wanted.
    pub log_tail: bool,
    /// Takes the response as it is made, from runtimes that stream it; `None` collects it. A caller who
    /// drops the other end has hung up.
    pub response: Option<ResponseSink>,
}

/// Takes a response piece by piece; the runtime waits while it is full.
pub type ResponseSink = mpsc::Sender<Bytes>;

/// A function's answer.
#[derive(Debug, Clone)]
pub struct InvokeOutcome {
    /// Response, or error document where `function_error` is set. Empty where the response went to
    /// [`Invocation::response`].
    pub payload: Bytes,
    /// `Unhandled` where the function failed; the value of `X-Amz-Function-Error`.
    pub function_error: Option<&'static str>,
    /// Last 4 KiB of the log where asked for.
    pub log_tail: Option<Bytes>,
    /// Version that ran.
    pub executed_version: Arc<str>,
}

/// Why a function was not run; each becomes an AWS error in crate `services`.
#[derive(Debug, Clone, thiserror::Error)]
pub enum InvokeError {
    /// A limit of the function or its account is reached.
    #[error("rate exceeded: {reason}")]
    Throttled {
        /// Value of `TooManyRequestsException.Reason`.
        reason: &'static str,
    },
    /// The host has had no room for another environment for as long as an invocation waits; no limit of the
    /// function or its account is reached.
    #[error("the host has no room for another execution environment")]
    NoRoom,
    /// The runtime is not available on this host.
    #[error("{0}")]
    InvalidRuntime(String),
    /// The sandbox could not be made or was lost before the event reached the runtime.
    #[error("{0}")]
    Sandbox(String),
    /// The server is shutting down.
    #[error("shutting down")]
    ShuttingDown,
}

/// The engine's face.
pub trait Invoker: Send + Sync + 'static {
    /// Runs one event in an environment of `spec` and waits for its end. Dropping the future drops the
    /// answer only: the environment finishes its event and is reused.
    fn invoke(
        &self,
        spec: Arc<FunctionSpec>,
        invocation: Invocation,
    ) -> Pin<Box<dyn Future<Output = Result<InvokeOutcome, InvokeError>> + Send>>;

    /// Says that all environments of a function (of one revision other than `keep`, if given) are out of
    /// date: idle ones end now, busy ones after their event.
    fn retire(&self, function_arn: &str, keep: Option<&str>);

    /// Sets what a function may use at once and is to have ready, all of it anew. It holds from then on;
    /// environments are initialised, and surplus ones ended, in the background.
    fn set_concurrency(&self, scope: &Scope, function: &str, concurrency: Concurrency) {
        let _ = (scope, function, concurrency);
    }

    /// What has become of the environments that [`Invoker::set_concurrency`] asked for of a version.
    fn provisioned(&self, spec: &FunctionSpec) -> Provisioned {
        let _ = spec;
        Provisioned::default()
    }

    /// Whether this host can run `runtime` (an identifier such as `python3.12`): the description of what
    /// would run, or why not and what to do about it.
    fn runtime_available(&self, runtime: &str) -> Result<String, String>;
}
