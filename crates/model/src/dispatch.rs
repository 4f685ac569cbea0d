//! From a decoded request to a typed method and back; generated code calls these per operation.

use std::future::Future;

use serde_json::Value;

use crate::error::AwsError;
use crate::handler::{BoxFuture, Input, Output};

/// An input of an operation.
pub(crate) trait Read: Sized {
    /// Reads it. Not generic, so that serde's code is compiled once, in this crate, and not again wherever
    /// a service is put together: that took minutes.
    fn read(input: Input) -> serde_json::Result<Self>;
}

/// An output of an operation.
pub(crate) trait Write: Sized {
    /// Writes it.
    fn write(self) -> serde_json::Result<Output>;
}

impl Write for () {
    fn write(self) -> serde_json::Result<Output> {
        Ok(Output { members: Value::Object(serde_json::Map::new()), ..Output::default() })
    }
}

/// Implements [`Read`]; the second argument is the member that travels as raw bytes beside the others.
macro_rules! input {
    ($type:ident $(, $payload:ident)?) => {
        impl crate::dispatch::Read for $type {
            #[inline(never)]
            #[allow(unused_mut)]
            fn read(input: crate::handler::Input) -> serde_json::Result<Self> {
                let mut typed: Self = serde_json::from_value(input.members)?;
                $(typed.$payload = input.payload;)?
                Ok(typed)
            }
        }
    };
}
pub(crate) use input;

/// Implements [`Write`], as [`input`] does [`Read`]; after a semicolon stands the member that is an event stream.
macro_rules! output {
    ($type:ident $(, $payload:ident)? $(; $events:ident)?) => {
        impl crate::dispatch::Write for $type {
            #[inline(never)]
            #[allow(unused_mut)]
            fn write(mut self) -> serde_json::Result<crate::handler::Output> {
                let mut output = crate::handler::Output::default();
                $(output.payload = self.$payload.take();)?
                $(output.events = self.$events.take();)?
                output.members = serde_json::to_value(&self)?;
                Ok(output)
            }
        }
    };
}
pub(crate) use output;

/// Runs a method that takes an input.
pub(crate) fn typed<'a, I, O, F, R>(input: Input, method: F) -> BoxFuture<'a, Result<Output, AwsError>>
where
    I: Read + Send + 'a,
    O: Write,
    F: FnOnce(I) -> R + Send + 'a,
    R: Future<Output = Result<O, AwsError>> + Send + 'a,
{
    Box::pin(async move {
        let input = parse(input)?;
        render(method(input).await?)
    })
}

/// Runs a method without input.
#[allow(dead_code, reason = "not every set of services has such an operation")]
pub(crate) fn without_input<'a, O, F, R>(method: F) -> BoxFuture<'a, Result<Output, AwsError>>
where
    O: Write,
    F: FnOnce() -> R + Send + 'a,
    R: Future<Output = Result<O, AwsError>> + Send + 'a,
{
    Box::pin(async move { render(method().await?) })
}

fn parse<I: Read>(mut input: Input) -> Result<I, AwsError> {
    if input.members.is_null() {
        input.members = Value::Object(serde_json::Map::new());
    }
    I::read(input).map_err(|error| serialization(&error))
}

fn render<O: Write>(output: O) -> Result<Output, AwsError> {
    output
        .write()
        .map_err(|error| AwsError::new("InternalFailure", 500, format!("cannot write the answer: {error}")))
}

fn serialization(error: &serde_json::Error) -> AwsError {
    AwsError::new("SerializationException", 400, error.to_string())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use bytes::Bytes;
    use serde_json::json;

    use super::*;
    use crate::handler::{Caller, RequestContext, ServiceHandler};
    use crate::lambda::{self, InvocationRequest, InvocationResponse, Lambda};
    use crate::sts::{self, GetCallerIdentityRequest, GetCallerIdentityResponse, Sts};

    struct Echo;

    impl Lambda for Echo {
        async fn invoke(
            &self,
            _context: &RequestContext,
            input: InvocationRequest,
        ) -> Result<InvocationResponse, AwsError> {
            if input.function_name.as_deref() != Some("echo") {
                return Err(lambda::errors::resource_not_found_exception("Function not found"));
            }
            Ok(InvocationResponse {
                status_code: Some(200),
                executed_version: input.qualifier,
                payload: input.payload,
                ..InvocationResponse::default()
            })
        }
    }

    impl Sts for Echo {
        async fn get_caller_identity(
            &self,
            context: &RequestContext,
            _input: GetCallerIdentityRequest,
        ) -> Result<GetCallerIdentityResponse, AwsError> {
            Ok(GetCallerIdentityResponse {
                account: Some(context.caller.account.to_string()),
                ..GetCallerIdentityResponse::default()
            })
        }
    }

    fn call(handler: &dyn ServiceHandler, operation: &str, input: Input) -> Result<Output, AwsError> {
        let context = RequestContext {
            request_id: "00000000-0000-4000-8000-000000000000".to_owned(),
            region: "us-east-1".into(),
            caller: Arc::new(Caller::root("123456789012", "AKIDEXAMPLE")),
            endpoint: "http://127.0.0.1:4566".into(),
            trace_id: None,
        };
        let operation = handler.schema().operation(operation).unwrap();
        let mut future = handler.call(&context, operation, input);
        match future.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(answer) => answer,
            Poll::Pending => panic!("nothing here waits"),
        }
    }

    #[test]
    fn a_payload_passes_beside_the_members() {
        let members = json!({"FunctionName": "echo", "Qualifier": "live"});
        let input = Input { members, payload: Some(Bytes::from_static(b"{}")) };
        let output = call(&lambda::Handler(Arc::new(Echo)), "Invoke", input).unwrap();
        assert_eq!(output.members, json!({"StatusCode": 200, "ExecutedVersion": "live"}));
        assert_eq!(output.payload, Some(Bytes::from_static(b"{}")));
    }

    #[test]
    fn no_members_are_an_empty_structure() {
        let output = call(&sts::Handler(Arc::new(Echo)), "GetCallerIdentity", Input::default()).unwrap();
        assert_eq!(output.members, json!({"Account": "123456789012"}));
        let error = call(&lambda::Handler(Arc::new(Echo)), "Invoke", Input::default()).unwrap_err();
        assert_eq!((error.code.as_ref(), error.status), ("ResourceNotFoundException", 404));
    }

    #[test]
    fn unreadable_members_are_the_senders_fault() {
        let input = Input { members: json!({"FunctionName": 7}), payload: None };
        let error = call(&lambda::Handler(Arc::new(Echo)), "Invoke", input).unwrap_err();
        assert_eq!((error.code.as_ref(), error.status), ("SerializationException", 400));
    }

    #[test]
    fn what_is_not_written_yet_says_so() {
        let error = call(&lambda::Handler(Arc::new(Echo)), "ListFunctions", Input::default()).unwrap_err();
        assert_eq!((error.code.as_ref(), error.status), ("NotImplementedException", 501));
    }
}
