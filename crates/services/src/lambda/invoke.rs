//! Invoke: everything that is decided before the engine, from memory.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use lambkin_core::function::FunctionSpec;
use lambkin_core::invoke::{Invocation, InvokeError, MAX_SYNC_PAYLOAD};
use lambkin_model::lambda::{
    InvocationRequest, InvocationResponse, InvokeWithResponseStreamRequest, InvokeWithResponseStreamResponse,
    errors,
};
use lambkin_model::{AwsError, EventStream, RequestContext};
use serde::de::IgnoredAny;
use tokio::sync::mpsc;

use super::Inner;
use super::faults::{conflict, service, unsupported};
use super::response_events::ResponseEvents;

/// Longest X-Amz-Client-Context in base64 characters (AWS quota).
const MAX_CLIENT_CONTEXT: usize = 3583;

/// Pieces of a streamed response that wait for a client that reads slowly.
const PIECES: usize = 8;

/// Longest piece of a payload quoted in an error, in bytes.
const QUOTED: usize = 500;

impl Inner {
    pub(crate) async fn invoke(
        &self,
        context: &RequestContext,
        request: InvocationRequest,
    ) -> Result<InvocationResponse, AwsError> {
        let Some((spec, invocation)) = self.prepare(context, request)? else {
            return Ok(InvocationResponse { status_code: Some(204), ..Default::default() });
        };
        let outcome = self.invoker.invoke(spec, invocation).await.map_err(invoke_error)?;
        Ok(InvocationResponse {
            status_code: Some(200),
            function_error: outcome.function_error.map(ToOwned::to_owned),
            log_result: outcome.log_tail.map(|tail| STANDARD.encode(tail)),
            payload: Some(outcome.payload),
            executed_version: Some(outcome.executed_version.as_ref().to_owned()),
            durable_execution_arn: None,
        })
    }

    /// The response's headers are sent with its first piece, so that whoever cannot be served gets an error.
    pub(crate) async fn invoke_with_response_stream(
        &self,
        context: &RequestContext,
        request: InvokeWithResponseStreamRequest,
    ) -> Result<InvokeWithResponseStreamResponse, AwsError> {
        let request = InvocationRequest {
            function_name: request.function_name,
            qualifier: request.qualifier,
            payload: request.payload,
            client_context: request.client_context,
            tenant_id: request.tenant_id,
            log_type: request.log_type,
            invocation_type: request.invocation_type,
            ..InvocationRequest::default()
        };
        let Some((spec, mut invocation)) = self.prepare(context, request)? else {
            return Ok(InvokeWithResponseStreamResponse { status_code: Some(204), ..Default::default() });
        };
        let executed_version = spec.version.as_ref().to_owned();
        let (sink, pieces) = mpsc::channel(PIECES);
        invocation.response = Some(sink);
        // On a task of its own: the function's time is over even if the client stops reading.
        let outcome = tokio::spawn(self.invoker.invoke(spec, invocation));
        let events = ResponseEvents::begin(pieces, outcome).await?;
        Ok(InvokeWithResponseStreamResponse {
            status_code: Some(200),
            executed_version: Some(executed_version),
            event_stream: Some(EventStream::new(events)),
            response_stream_content_type: None,
        })
    }

    /// Checks an invocation and finds what it is for; `None` where it is to be no more than checked.
    fn prepare(
        &self,
        context: &RequestContext,
        request: InvocationRequest,
    ) -> Result<Option<(Arc<FunctionSpec>, Invocation)>, AwsError> {
        let name = request.function_name.as_deref();
        let found = self.find(context, "InvokeFunction", name, request.qualifier.as_deref())?;
        if request.durable_execution_name.is_some() {
            return Err(unsupported("DurableExecutionName"));
        }
        if request.tenant_id.is_some() {
            return Err(unsupported("TenantId"));
        }
        let invocation_type = request.invocation_type.as_deref();
        if invocation_type == Some("Event") {
            return Err(AwsError::new(
                "NotImplementedException",
                501,
                "Lambkin does not implement the invocation type Event yet.",
            ));
        }
        let payload = request.payload.unwrap_or_default();
        if payload.len() > MAX_SYNC_PAYLOAD {
            return Err(errors::request_too_large_exception(format!(
                "Request must be smaller than {MAX_SYNC_PAYLOAD} bytes for the InvokeFunction operation"
            ))
            .with("Type", "User"));
        }
        let payload = if payload.is_empty() { Bytes::from_static(b"{}") } else { payload };
        check_json(&payload)?;
        let client_context = request.client_context.as_deref().map(decode_client_context).transpose()?;
        let spec = found.route(|| self.dice.throw()).map_err(|state| {
            conflict(format!(
                "The operation cannot be performed at this time. The function is currently in the following \
                 state: {state}"
            ))
        })?;
        if invocation_type == Some("DryRun") {
            return Ok(None);
        }
        let invocation = Invocation {
            request_id: context.request_id.clone(),
            invoked_function_arn: found.target.arn(),
            payload,
            client_context,
            trace_id: context.trace_id.clone(),
            log_tail: request.log_type.as_deref() == Some("Tail"),
            response: None,
        };
        Ok(Some((spec, invocation)))
    }
}

/// Takes exactly one JSON value; builds nothing.
fn check_json(payload: &[u8]) -> Result<(), AwsError> {
    let (what, line, column) = match std::str::from_utf8(payload) {
        Ok(text) => match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => return Ok(()),
            Err(error) => {
                let text = error.to_string();
                let what = text.split(" at line ").next().unwrap_or_default().to_owned();
                (what, error.line(), error.column())
            }
        },
        Err(error) => {
            let valid = payload.get(..error.valid_up_to()).unwrap_or_default();
            let byte = payload.get(error.valid_up_to()).copied().unwrap_or_default();
            let line = valid.iter().filter(|byte| **byte == b'\n').count() + 1;
            let column = valid.iter().rev().take_while(|byte| **byte != b'\n').count() + 1;
            (format!("Invalid UTF-8 start byte 0x{byte:02x}"), line, column)
        }
    };
    let quoted = String::from_utf8_lossy(payload.get(..QUOTED).unwrap_or(payload)).into_owned();
    let more = match payload.len().saturating_sub(QUOTED) {
        0 => String::new(),
        more => format!("[truncated {more} bytes]"),
    };
    Err(errors::invalid_request_content_exception(format!(
        "Could not parse request body into json: Could not parse payload into json: {what}\n at [Source: \
         (byte[])\"{quoted}\"{more}; line: {line}, column: {column}]"
    ))
    .with("Type", "User"))
}

fn decode_client_context(text: &str) -> Result<String, AwsError> {
    let refuse = |message: String| errors::invalid_request_content_exception(message).with("Type", "User");
    if text.len() > MAX_CLIENT_CONTEXT {
        return Err(refuse(format!(
            "Client context must have at most {MAX_CLIENT_CONTEXT} base64 characters."
        )));
    }
    let decoded = STANDARD.decode(text).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded
        .filter(|json| serde_json::from_str::<IgnoredAny>(json).is_ok())
        .ok_or_else(|| refuse("Client context must be a valid Base64-encoded JSON object.".to_owned()))
}

pub(super) fn invoke_error(error: InvokeError) -> AwsError {
    match error {
        InvokeError::Throttled { reason } => throttled("Rate Exceeded.", reason),
        // In the enumeration of reasons there is none for this; the text tells it from the account's limit.
        InvokeError::NoRoom => throttled(
            "The server has no room left for another execution environment; no concurrency limit is reached.",
            "ConcurrentInvocationLimitExceeded",
        ),
        InvokeError::InvalidRuntime(advice) => errors::invalid_runtime_exception(advice).with("Type", "User"),
        InvokeError::Sandbox(cause) => service(cause),
        InvokeError::ShuttingDown => {
            AwsError::new("ServiceUnavailableException", 503, "The server is shutting down.")
        }
    }
}

/// Seconds after which a throttled caller may try again.
const RETRY_AFTER: &str = "1";

fn throttled(message: &str, reason: &str) -> AwsError {
    errors::too_many_requests_exception(message)
        .with("Reason", reason)
        .with("Type", "User")
        .with("retryAfterSeconds", RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_json_without_a_tree() {
        for good in [
            "{}",
            "null",
            " [1, \"\\ud800\"] ",
            "1e400",
            &format!("{}{}", "[".repeat(5000), "]".repeat(5000)),
        ] {
            assert!(check_json(good.as_bytes()).is_ok(), "{good}");
        }
        for bad in ["", " ", "{", "nul", "{}{}", "{'a':1}", "[1,]", "\u{feff}{}"] {
            assert!(check_json(bad.as_bytes()).is_err(), "{bad}");
        }
        let error = check_json(b"{\n\"a\" 1}").unwrap_err();
        assert_eq!(error.code, "InvalidRequestContentException");
        assert!(error.message.starts_with("Could not parse request body into json: "), "{}", error.message);
        assert!(error.message.ends_with("line: 2, column: 5]"), "{}", error.message);
        let error = check_json(b"\"\x97\"").unwrap_err();
        assert!(error.message.contains("Invalid UTF-8 start byte 0x97"), "{}", error.message);
    }

    #[test]
    fn client_context_is_base64_json() {
        assert_eq!(decode_client_context(&STANDARD.encode("{\"a\":1}")).unwrap(), "{\"a\":1}");
        for bad in ["{}", "!", &STANDARD.encode("nope"), &STANDARD.encode(vec![b' '; 3000])] {
            assert_eq!(decode_client_context(bad).unwrap_err().code, "InvalidRequestContentException");
        }
    }
}
