//! The Runtime API of one execution environment: what a runtime may say, when, and what is logged.
//!
//! A [`Session`] is one runtime's side of the conversation, over the private channel of managed runtimes
//! or over HTTP. [`LogBuffer`] turns output into log events, [`PlatformEvent`] renders the platform's own
//! lines. Nothing here starts or ends processes; crate `engine` does.

mod calendar;
mod channel;
mod faults;
mod http;
mod logs;
mod platform;
mod session;

pub use calendar::{log_stream_name, rfc3339_millis};
pub use faults::{
    RESPONSE_SIZE_TOO_LARGE, RUNTIME_EXIT_ERROR, RUNTIME_INVALID_ENTRYPOINT, RUNTIME_OUT_OF_MEMORY,
    SANDBOX_TIMEDOUT, error_type, fault_document, fault_message, too_large_document,
};
pub use logs::{LogBuffer, MOST_HELD, TAIL_BYTES};
pub use platform::{InitPhase, Initialization, PlatformEvent, Status};
pub use session::{
    Answer, Event, ExtensionError, ExtensionHost, ExtensionInfo, MAX_RESPONSE_BYTES, ProcessEnd, Readiness,
    Session, ShutdownReason,
};
