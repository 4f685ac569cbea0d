//! Error types and error documents that the platform itself writes.

use bytes::Bytes;
use serde::Serialize;

use crate::session::MAX_RESPONSE_BYTES;

/// The runtime's process ended.
pub const RUNTIME_EXIT_ERROR: &str = "Runtime.ExitError";
/// The runtime's process was killed for want of memory.
pub const RUNTIME_OUT_OF_MEMORY: &str = "Runtime.OutOfMemory";
/// The runtime's program is missing or cannot be executed.
pub const RUNTIME_INVALID_ENTRYPOINT: &str = "Runtime.InvalidEntrypoint";
/// The function ran longer than its timeout.
pub const SANDBOX_TIMEDOUT: &str = "Sandbox.Timedout";
/// The response is larger than a synchronous invoke allows.
pub const RESPONSE_SIZE_TOO_LARGE: &str = "Function.ResponseSizeTooLarge";

/// The error type that the platform reports for what a runtime declared: kept where it contains
/// `Runtime.` or `Function.` and a capitalised word of at least two letters, else `Function.Unknown` for
/// anything that starts with `Function.`, else `Runtime.Unknown`.
#[must_use]
pub fn error_type(declared: &str) -> &str {
    let named = ["Runtime.", "Function."].iter().any(|prefix| {
        declared.match_indices(prefix).any(|(at, found)| {
            let mut word = declared.bytes().skip(at + found.len());
            word.next().is_some_and(|first| first.is_ascii_uppercase())
                && word.next().is_some_and(|second| second.is_ascii_alphabetic())
        })
    });
    if named {
        declared
    } else if declared.starts_with("Function.") {
        "Function.Unknown"
    } else {
        "Runtime.Unknown"
    }
}

/// `RequestId: ID Error: MESSAGE`.
#[must_use]
pub fn fault_message(request_id: &str, message: &str) -> String {
    format!("RequestId: {request_id} Error: {message}")
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "errorType")]
    error_type: &'a str,
    #[serde(rename = "errorMessage")]
    error_message: &'a str,
}

/// The error document of a fault of one invocation, e.g. a timeout or the end of the runtime's process.
#[must_use]
pub fn fault_document(error_type: &str, request_id: &str, message: &str) -> Bytes {
    document(error_type, &fault_message(request_id, message))
}

/// The error document of a response over the limit.
#[must_use]
pub fn too_large_document() -> Bytes {
    document(
        RESPONSE_SIZE_TOO_LARGE,
        &format!("Response payload size exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."),
    )
}

fn document(error_type: &str, error_message: &str) -> Bytes {
    // Two strings always serialise; an empty document would be the harmless alternative.
    Bytes::from(serde_json::to_vec(&Document { error_type, error_message }).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declared_types_are_kept_or_mapped() {
        for (declared, mapped) in [
            ("Runtime.ImportModuleError", "Runtime.ImportModuleError"),
            ("Function.MyError", "Function.MyError"),
            ("Function<UserException>", "Runtime.Unknown"),
            ("Function.lower", "Function.Unknown"),
            ("Function.A", "Function.Unknown"),
            ("Function.", "Function.Unknown"),
            ("ValueError", "Runtime.Unknown"),
            ("", "Runtime.Unknown"),
            ("x Runtime.OkType", "x Runtime.OkType"),
        ] {
            assert_eq!(error_type(declared), mapped, "{declared}");
        }
    }

    #[test]
    fn documents_have_awss_wording() {
        assert_eq!(
            fault_document(RUNTIME_EXIT_ERROR, "abc", "Runtime exited with error: exit status 1"),
            r#"{"errorType":"Runtime.ExitError","errorMessage":"RequestId: abc Error: Runtime exited with error: exit status 1"}"#
        );
        assert_eq!(
            too_large_document(),
            r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}"#
        );
    }
}
