//! Requests and replies of the Extensions API, and of the Telemetry API as far as it is there.

use std::future::poll_fn;
use std::task::Poll;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Method, Request, StatusCode};
use hyper::body::Incoming;
use serde::{Deserialize, Serialize};

use super::extensions::{Kind, Next, Refusal};
use super::routes::{Reply, accepted, failure, header, plain, read, reply};
use super::state::Shared;

const NAME: &str = "lambda-extension-name";
const ID: &str = "lambda-extension-identifier";
const FEATURES: &str = "lambda-extension-accept-feature";
const ERROR_TYPE: &str = "lambda-extension-function-error-type";
const JSON: &str = "application/json";

/// Answers a request below `/2020-01-01/extension`.
pub(super) async fn handle(shared: &Shared, path: &str, request: Request<Incoming>) -> Reply {
    match (path, request.method()) {
        ("/register", &Method::POST) => register(shared, request).await,
        ("/event/next", &Method::GET) => next(shared, request.headers()).await,
        ("/init/error", &Method::POST) => error(shared, request, true).await,
        ("/exit/error", &Method::POST) => error(shared, request, false).await,
        ("/register" | "/event/next" | "/init/error" | "/exit/error", _) => {
            plain(StatusCode::METHOD_NOT_ALLOWED, "")
        }
        _ => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}

/// Answers a subscription to logs or telemetry, as AWS does where these are not to be had.
pub(super) async fn subscribe(shared: &Shared, logs: bool, request: Request<Incoming>) -> Reply {
    let known = identifier(request.headers()).map(|id| shared.extensions.knows(&id));
    // To its end, so that the client gets its reply.
    let _ = read(request.into_body()).await;
    match known {
        Err(refusal) => refuse(refusal),
        Ok(false) => refuse(("Extension.UnknownExtensionIdentifier", "Unknown extension identifier")),
        Ok(true) if logs => failure(StatusCode::ACCEPTED, "Logs.NotSupported", "Logs API is not supported"),
        Ok(true) => failure(StatusCode::ACCEPTED, "Telemetry.NotSupported", "Telemetry API is not supported"),
    }
}

async fn register(shared: &Shared, request: Request<Incoming>) -> Reply {
    #[derive(Deserialize)]
    struct Wanted {
        #[serde(default)]
        events: Vec<String>,
    }
    #[derive(Serialize)]
    #[serde(rename_all = "camelCase")]
    struct Registered<'a> {
        function_name: &'a str,
        function_version: &'a str,
        handler: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        account_id: Option<&'a str>,
    }
    let name = header(request.headers(), NAME);
    let features = header(request.headers(), FEATURES);
    let body = read(request.into_body()).await.ok().and_then(|body| body.content).unwrap_or_default();
    if name.is_empty() {
        return refuse(("Extension.InvalidExtensionName", "Empty extension name"));
    }
    let Ok(wanted) = serde_json::from_slice::<Wanted>(&body) else {
        return failure(
            StatusCode::BAD_REQUEST,
            "InvalidRequestFormat",
            "The request body is not valid JSON",
        );
    };
    let mut kinds = Vec::new();
    for event in &wanted.events {
        match Kind::parse(event) {
            Some(kind) if kinds.contains(&kind) => {}
            Some(kind) => kinds.push(kind),
            None => return refuse(("Extension.InvalidEventType", "Invalid event type")),
        }
    }
    match shared.extensions.register(&name, kinds) {
        Err(refusal) => refuse(refusal),
        Ok(id) => {
            let host = shared.extensions.host();
            let wants_account = features.split(',').any(|feature| feature.trim() == "accountId");
            let body = serde_json::to_vec(&Registered {
                function_name: &host.function_name,
                function_version: &host.function_version,
                handler: &host.handler,
                account_id: wants_account.then_some(&host.account_id),
            });
            let mut reply = reply(StatusCode::OK, JSON, body.unwrap_or_default().into());
            if let Ok(id) = HeaderValue::from_str(&id) {
                reply.headers_mut().insert(ID, id);
            }
            reply
        }
    }
}

async fn next(shared: &Shared, headers: &HeaderMap) -> Reply {
    let id = match identifier(headers) {
        Ok(id) => id,
        Err(refusal) => return refuse(refusal),
    };
    let mut answer = shared.extensions.next_arrives(&id);
    // The session polls every connection after it offers an event; no waker is needed.
    let event = poll_fn(|_| match std::mem::replace(&mut answer, Next::Wait) {
        Next::Wait => match shared.extensions.next_waits(&id) {
            Next::Event(event) => Poll::Ready(Ok(event)),
            Next::Wait => Poll::Pending,
            Next::Refused(refusal) => Poll::Ready(Err(refusal)),
        },
        Next::Event(event) => Poll::Ready(Ok(event)),
        Next::Refused(refusal) => Poll::Ready(Err(refusal)),
    })
    .await;
    match event {
        Ok(event) => told(event),
        Err(refusal) => refuse(refusal),
    }
}

fn told(event: Bytes) -> Reply {
    let mut reply = reply(StatusCode::OK, JSON, event);
    let id = uuid::Uuid::new_v4().to_string();
    if let Ok(id) = HeaderValue::from_str(&id) {
        reply.headers_mut().insert("lambda-extension-event-identifier", id);
    }
    reply
}

async fn error(shared: &Shared, request: Request<Incoming>, in_init: bool) -> Reply {
    let id = identifier(request.headers());
    let error_type = header(request.headers(), ERROR_TYPE);
    // The document is for nobody but the extension's author, who sees its log.
    let _ = read(request.into_body()).await;
    let id = match id {
        Ok(id) => id,
        Err(refusal) => return refuse(refusal),
    };
    if error_type.is_empty() {
        return refuse(("Extension.MissingHeader", "Lambda-Extension-Function-Error-Type header is missing"));
    }
    match shared.extensions.fails(&id, error_type, in_init) {
        Ok(()) => accepted(),
        Err(refusal) => refuse(refusal),
    }
}

/// Who calls.
fn identifier(headers: &HeaderMap) -> Result<String, Refusal> {
    let id = header(headers, ID);
    if id.is_empty() {
        return Err(("Extension.MissingExtensionIdentifier", "Missing Lambda-Extension-Identifier header"));
    }
    match uuid::Uuid::parse_str(&id) {
        Ok(_) => Ok(id),
        Err(_) => Err(("Extension.InvalidExtensionIdentifier", "Invalid Lambda-Extension-Identifier")),
    }
}

fn refuse((error_type, message): Refusal) -> Reply {
    failure(StatusCode::FORBIDDEN, error_type, message)
}
