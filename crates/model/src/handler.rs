//! How a decoded request reaches a service and how its answer comes back.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;
use serde_json::Value;

use crate::error::AwsError;
use crate::schema::{Operation, Service};

/// Who called, from where, and under which request id.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// `x-amzn-RequestId`: a UUID of version 4.
    pub request_id: String,
    /// Region of the credential scope.
    pub region: Arc<str>,
    /// The authenticated caller.
    pub caller: Arc<Caller>,
    /// Scheme and authority the client used, e.g. `http://127.0.0.1:4566`; base of URLs handed out.
    pub endpoint: Arc<str>,
    /// `X-Amzn-Trace-Id` as sent, if any.
    pub trace_id: Option<String>,
}

/// An authenticated principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caller {
    /// 12-digit account id.
    pub account: Arc<str>,
    /// ARN of the user or assumed role, e.g. `arn:aws:iam::000000000000:root`.
    pub arn: String,
    /// Unique id of the principal (`UserId` of GetCallerIdentity).
    pub user_id: String,
    /// Access key id that signed.
    pub access_key_id: String,
    /// What kind of principal it is.
    pub principal: Principal,
}

impl Caller {
    /// The caller behind an access key of an account itself.
    #[must_use]
    pub fn root(account: &str, access_key_id: &str) -> Self {
        Self {
            account: account.into(),
            arn: format!("arn:aws:iam::{account}:root"),
            user_id: account.to_owned(),
            access_key_id: access_key_id.to_owned(),
            principal: Principal::Root,
        }
    }
}

/// Kinds of callers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Principal {
    /// Nobody: an operation that takes no signature.
    Anonymous,
    /// An access key of the account itself: it may do everything there.
    Root,
    /// Temporary credentials of a role.
    Session(RoleSession),
}

/// A session of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleSession {
    /// ARN of the role, e.g. `arn:aws:iam::000000000000:role/path/worker`.
    pub role_arn: String,
    /// Name of the session; for a function's own credentials the function's name.
    pub session_name: String,
    /// ARN of the function whose environment got the credentials, if one did.
    pub source_function: Option<String>,
}

/// A decoded and validated request.
#[derive(Debug, Clone, Default)]
pub struct Input {
    /// Members by member name; without the payload member where that is a blob.
    pub members: Value,
    /// The raw body, where the input's payload member is a blob.
    pub payload: Option<Bytes>,
}

/// An answer before encoding.
#[derive(Debug, Default)]
pub struct Output {
    /// Members by member name; without the payload member where that is a blob.
    pub members: Value,
    /// The raw body, where the output's payload member is a blob.
    pub payload: Option<Bytes>,
    /// The events, where a member of the output is an event stream.
    pub events: Option<EventStream>,
}

/// An event of an [`EventStream`].
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StreamEvent {
    /// Its name: a member of the event stream's shape.
    pub name: &'static str,
    /// Members by member name; without the one that is the event's whole payload.
    pub members: Value,
    /// The member that is the event's whole payload, where there is one.
    pub payload: Option<Bytes>,
}

/// Events that are sent to the client as they come.
pub struct EventStream(Pin<Box<dyn Stream<Item = StreamEvent> + Send>>);

impl EventStream {
    /// Events from a stream. It is dropped when the client is gone.
    pub fn new(events: impl Stream<Item = StreamEvent> + Send + 'static) -> Self {
        Self(Box::pin(events))
    }
}

impl Stream for EventStream {
    type Item = StreamEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        self.0.as_mut().poll_next(cx)
    }
}

impl fmt::Debug for EventStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("EventStream")
    }
}

/// A boxed future, as object-safe async traits need it.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A service as the front sees it. Generated code implements it for every implementor of a service trait
/// (`lambda::Handler(service)`).
pub trait ServiceHandler: Send + Sync {
    /// Its static description.
    fn schema(&self) -> &'static Service;

    /// Runs an operation of [`ServiceHandler::schema`] on validated input.
    fn call<'a>(
        &'a self,
        context: &'a RequestContext,
        operation: &'static Operation,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, AwsError>>;
}
