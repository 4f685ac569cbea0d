//! From a decoded request to a typed method and back; generated code calls these per operation.

use std::future::Future;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::AwsError;
use crate::handler::{BoxFuture, Input, Output};

/// An input or output, some of which have a member that travels as raw bytes beside the others.
pub(crate) trait Raw {
    /// The slot of that member, where there is one.
    fn raw(&mut self) -> Option<&mut Option<Bytes>> {
        None
    }
}

impl Raw for () {}

/// Runs a method that takes an input.
pub(crate) fn typed<'a, I, O, F, R>(input: Input, method: F) -> BoxFuture<'a, Result<Output, AwsError>>
where
    I: DeserializeOwned + Raw + Send + 'a,
    O: Serialize + Raw,
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
    O: Serialize + Raw,
    F: FnOnce() -> R + Send + 'a,
    R: Future<Output = Result<O, AwsError>> + Send + 'a,
{
    Box::pin(async move { render(method().await?) })
}

fn parse<I: DeserializeOwned + Raw>(input: Input) -> Result<I, AwsError> {
    let members = match input.members {
        Value::Null => Value::Object(serde_json::Map::new()),
        members => members,
    };
    let mut typed: I = serde_json::from_value(members).map_err(serialization)?;
    if let Some(slot) = typed.raw() {
        *slot = input.payload;
    }
    Ok(typed)
}

fn render<O: Serialize + Raw>(mut output: O) -> Result<Output, AwsError> {
    let payload = output.raw().and_then(Option::take);
    let members = serde_json::to_value(&output).map_err(|error| {
        AwsError::new("InternalFailure", 500, format!("cannot write the answer: {error}"))
    })?;
    Ok(Output { members, payload })
}

fn serialization(error: serde_json::Error) -> AwsError {
    AwsError::new("SerializationException", 400, error.to_string())
}
