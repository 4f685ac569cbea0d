//! The Runtime API's requests and replies.

use std::future::poll_fn;
use std::task::Poll;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD as STANDARD;
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::{Frame, Incoming};
use lambkin_core::invoke::{MAX_STREAMED_PAYLOAD, ResponseSink};
use serde::Serialize;

use super::extension_routes;
use super::state::{Next, Phase, Refusal, Shared};
use crate::faults::fault_document;
use crate::session::{Answer, MAX_RESPONSE_BYTES};

const VERSION: &str = "/2018-06-01";
const ERROR_TYPE: &str = "lambda-runtime-function-error-type";
const RESPONSE_MODE: &str = "lambda-runtime-function-response-mode";

pub(super) type Reply = Response<Full<Bytes>>;

/// Answers one request.
pub(crate) async fn handle(shared: &Shared, request: Request<Incoming>) -> Reply {
    let whole = request.uri().path();
    if let Some(path) = whole.strip_prefix("/2020-01-01/extension") {
        let path = path.to_owned();
        return extension_routes::handle(shared, &path, request).await;
    }
    match (whole, request.method()) {
        ("/2022-07-01/telemetry", &Method::PUT) => {
            return extension_routes::subscribe(shared, false, request).await;
        }
        ("/2020-08-15/logs", &Method::PUT) => {
            return extension_routes::subscribe(shared, true, request).await;
        }
        _ => {}
    }
    let path = whole.strip_prefix(VERSION).unwrap_or_default();
    if path.starts_with("/runtime/") && shared.runtime_is_elsewhere() {
        let message = "The runtime of this function does not use the Runtime API";
        return failure(StatusCode::FORBIDDEN, "InvalidStateTransition", message);
    }
    match (path, request.method()) {
        ("/runtime/invocation/next", &Method::GET) => next(shared).await,
        ("/runtime/init/error", &Method::POST) => init_error(shared, request).await,
        ("/ping", &Method::GET) => plain(StatusCode::OK, "pong"),
        ("/runtime/invocation/next" | "/runtime/init/error" | "/ping", _) => {
            plain(StatusCode::METHOD_NOT_ALLOWED, "")
        }
        _ => match path.strip_prefix("/runtime/invocation/").and_then(|rest| rest.split_once('/')) {
            Some((id, kind @ ("response" | "error"))) if request.method() == Method::POST => {
                let (id, kind) = (id.to_owned(), kind == "error");
                if kind { error(shared, &id, request).await } else { response(shared, &id, request).await }
            }
            Some((_, "response" | "error")) => plain(StatusCode::METHOD_NOT_ALLOWED, ""),
            _ => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
        },
    }
}

async fn next(shared: &Shared) -> Reply {
    let mut answer = shared.next_arrives();
    // The session polls every connection after it offers an event; no waker is needed.
    let delivery = poll_fn(|_| match std::mem::replace(&mut answer, Next::Wait) {
        Next::Wait => match shared.next_waits() {
            Next::Event(delivery) => Poll::Ready(Ok(delivery)),
            Next::Wait => Poll::Pending,
            Next::Refused(phase) => Poll::Ready(Err(phase)),
        },
        Next::Event(delivery) => Poll::Ready(Ok(delivery)),
        Next::Refused(phase) => Poll::Ready(Err(phase)),
    })
    .await;
    match delivery {
        Ok(delivery) => {
            let mut reply = Response::new(Full::new(delivery.payload));
            *reply.headers_mut() = delivery.headers;
            reply
        }
        Err(phase) => invalid_transition(phase, Phase::Ready),
    }
}

async fn response(shared: &Shared, id: &str, request: Request<Incoming>) -> Reply {
    let open = match Post::begin(shared, id, Phase::InvocationResponse) {
        Ok(open) => open,
        Err(refused) => return *refused,
    };
    if request.headers().get(RESPONSE_MODE).is_some_and(|mode| mode != "streaming") {
        let error_type = "Runtime.InvalidResponseModeHeader".to_owned();
        let body = fault_document(&error_type, id, "invalid function response mode");
        open.end(Answer::Error { error_type, body });
        return failure(
            StatusCode::BAD_REQUEST,
            "InvalidFunctionResponseMode",
            "Invalid function response mode",
        );
    }
    if request.headers().contains_key(RESPONSE_MODE)
        && let Some(sink) = shared.take_sink()
    {
        return stream(open, request.into_body(), &sink).await;
    }
    match read(request.into_body()).await {
        Ok(Body { content: Some(content), trailers }) => {
            open.end(match trailers.as_ref().and_then(mid_stream_error) {
                Some(error) => error,
                None => Answer::Response(content),
            });
            accepted()
        }
        Ok(Body { content: None, .. }) => {
            open.end(Answer::TooLarge);
            too_large()
        }
        Err(_) => truncated(open),
    }
}

/// Hands a response on as it comes. It is read to its end even if nobody wants it any more.
async fn stream(open: Post<'_>, mut body: Incoming, sink: &ResponseSink) -> Reply {
    let mut bytes = 0_u64;
    let mut failure = None;
    while let Some(frame) = body.frame().await {
        match frame.map(Frame::into_data) {
            Ok(Ok(data)) => {
                bytes = bytes.saturating_add(data.len() as u64);
                if bytes <= MAX_STREAMED_PAYLOAD {
                    // An error says that the caller has hung up.
                    let _ = sink.send(data).await;
                }
            }
            Ok(Err(frame)) => failure = frame.into_trailers().ok().as_ref().and_then(mid_stream_error),
            Err(_) => return truncated(open),
        }
    }
    if bytes > MAX_STREAMED_PAYLOAD {
        open.end(Answer::TooLarge);
        return too_large();
    }
    open.end(failure.unwrap_or(Answer::Streamed { bytes }));
    accepted()
}

async fn error(shared: &Shared, id: &str, request: Request<Incoming>) -> Reply {
    let open = match Post::begin(shared, id, Phase::InvocationErrorResponse) {
        Ok(open) => open,
        Err(refused) => return *refused,
    };
    let error_type = header(request.headers(), ERROR_TYPE);
    match read(request.into_body()).await {
        Ok(Body { content: Some(body), .. }) => {
            open.end(Answer::Error { error_type, body });
            accepted()
        }
        Ok(Body { content: None, .. }) => {
            open.end(Answer::TooLarge);
            too_large()
        }
        Err(_) => truncated(open),
    }
}

async fn init_error(shared: &Shared, request: Request<Incoming>) -> Reply {
    let error_type = header(request.headers(), ERROR_TYPE);
    // A body cut short or too long loses the details, not the error.
    let body = read(request.into_body()).await.ok().and_then(|body| body.content);
    let body = body.unwrap_or_else(|| {
        fault_document(crate::error_type(&error_type), "", "the error document could not be read")
    });
    match shared.init_fails(error_type, body) {
        Ok(()) => accepted(),
        Err(phase) => invalid_transition(phase, Phase::InitError),
    }
}

/// A response or error that is arriving. Dropped before its end (the connection broke), it counts as
/// truncated.
struct Post<'a> {
    shared: &'a Shared,
    id: &'a str,
    ended: bool,
}

impl<'a> Post<'a> {
    fn begin(shared: &'a Shared, id: &'a str, phase: Phase) -> Result<Self, Box<Reply>> {
        match shared.post_begins(id, phase) {
            Ok(()) => Ok(Self { shared, id, ended: false }),
            Err(Refusal::RequestId) => {
                Err(Box::new(failure(StatusCode::BAD_REQUEST, "InvalidRequestID", "Invalid request ID")))
            }
            Err(Refusal::Phase(from)) => Err(Box::new(invalid_transition(from, phase))),
        }
    }

    fn end(mut self, answer: Answer) {
        self.ended = true;
        self.shared.post_ends(answer);
    }
}

impl Drop for Post<'_> {
    fn drop(&mut self) {
        if !self.ended {
            let error_type = "Runtime.TruncatedResponse".to_owned();
            let body = fault_document(&error_type, self.id, "the response was cut short");
            self.shared.post_ends(Answer::Error { error_type, body });
        }
    }
}

/// A request body.
pub(super) struct Body {
    /// Its bytes; `None` where there are more than [`MAX_RESPONSE_BYTES`].
    pub(super) content: Option<Bytes>,
    trailers: Option<HeaderMap>,
}

/// Reads a body to its end, so that the client gets its reply, but keeps only what is within the limit.
/// A body in one piece is not copied.
pub(super) async fn read(mut body: Incoming) -> Result<Body, hyper::Error> {
    let mut first = Bytes::new();
    let mut joined = BytesMut::new();
    let mut length = 0_usize;
    let mut trailers = None;
    while let Some(frame) = body.frame().await {
        match frame?.into_data() {
            Ok(data) => {
                length = length.saturating_add(data.len());
                if length > MAX_RESPONSE_BYTES {
                    (first, joined) = (Bytes::new(), BytesMut::new());
                } else if length == data.len() {
                    first = data;
                } else {
                    if joined.is_empty() {
                        joined.reserve(first.len() + data.len());
                        joined.extend_from_slice(&first);
                    }
                    joined.extend_from_slice(&data);
                }
            }
            Err(frame) => trailers = frame.into_trailers().ok(),
        }
    }
    let content = match length {
        0..=MAX_RESPONSE_BYTES if joined.is_empty() => Some(first),
        0..=MAX_RESPONSE_BYTES => Some(joined.freeze()),
        _ => None,
    };
    Ok(Body { content, trailers })
}

/// The error that a streaming runtime reports in the trailers of a response it has begun.
fn mid_stream_error(trailers: &HeaderMap) -> Option<Answer> {
    let error_type = trailers.get(ERROR_TYPE)?.to_str().unwrap_or_default().to_owned();
    let body = trailers.get("lambda-runtime-function-error-body").and_then(|body| STANDARD.decode(body).ok());
    Some(Answer::Error { error_type, body: body.unwrap_or_default().into() })
}

pub(super) fn header(headers: &HeaderMap, name: &str) -> String {
    headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).unwrap_or_default()
}

pub(super) fn reply(status: StatusCode, content_type: &'static str, body: Bytes) -> Reply {
    let mut reply = Response::new(Full::new(body));
    *reply.status_mut() = status;
    reply.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    reply
}

pub(super) fn plain(status: StatusCode, text: &'static str) -> Reply {
    reply(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

pub(super) fn accepted() -> Reply {
    reply(StatusCode::ACCEPTED, "application/json", Bytes::from_static(b"{\"status\":\"OK\"}\n"))
}

pub(super) fn failure(status: StatusCode, error_type: &str, error_message: &str) -> Reply {
    #[derive(Serialize)]
    struct Document<'a> {
        #[serde(rename = "errorMessage")]
        error_message: &'a str,
        #[serde(rename = "errorType")]
        error_type: &'a str,
    }
    let document = serde_json::to_vec(&Document { error_message, error_type }).unwrap_or_default();
    reply(status, "application/json", document.into())
}

fn invalid_transition(from: Phase, to: Phase) -> Reply {
    failure(
        StatusCode::FORBIDDEN,
        "InvalidStateTransition",
        &format!(
            "Transition from {} to {} failed for runtime. Error: State transition is not allowed",
            from.name(),
            to.name()
        ),
    )
}

fn too_large() -> Reply {
    failure(
        StatusCode::PAYLOAD_TOO_LARGE,
        "RequestEntityTooLarge",
        &format!("Exceeded maximum allowed payload size ({MAX_RESPONSE_BYTES} bytes)."),
    )
}

fn truncated(open: Post<'_>) -> Reply {
    drop(open);
    failure(StatusCode::BAD_REQUEST, "TruncatedHTTPRequest", "HTTP request detected as truncated")
}
