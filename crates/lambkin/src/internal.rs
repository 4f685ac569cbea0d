//! Routes below `/_lambkin/`: health, and the download links that GetFunction hands out.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, Response, StatusCode, header};
use http_body_util::Full;
use lambkin_model::handler::BoxFuture;
use lambkin_sandbox::Isolation;
use lambkin_services::lambda::{DownloadError, LambdaService};
use lambkin_wire::InternalRoutes;

/// Says that the server serves.
const HEALTH: &str = "/_lambkin/health";

/// Answers below `/_lambkin/`.
pub(crate) struct Internal {
    lambda: Arc<LambdaService>,
    health: Bytes,
}

impl Internal {
    pub(crate) fn new(lambda: Arc<LambdaService>, isolation: Isolation) -> Self {
        let health = format!("{{\"status\":\"ok\",\"isolation\":\"{isolation}\"}}\n").into();
        Self { lambda, health }
    }

    async fn answer(&self, request: Parts) -> Response<Full<Bytes>> {
        if request.method != Method::GET && request.method != Method::HEAD {
            return text(StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered here\n");
        }
        match request.uri.path() {
            HEALTH => respond(StatusCode::OK, "application/json", self.health.clone()),
            path if path.starts_with(LambdaService::DOWNLOAD_PREFIX) => {
                match self.lambda.code_download(path, request.uri.query().unwrap_or_default()).await {
                    Ok(zip) => respond(StatusCode::OK, "application/zip", zip),
                    Err(error) => text(status(&error), &format!("{error}\n")),
                }
            }
            _ => text(StatusCode::NOT_FOUND, "nothing here\n"),
        }
    }
}

fn status(error: &DownloadError) -> StatusCode {
    match error {
        DownloadError::Forbidden | DownloadError::Expired => StatusCode::FORBIDDEN,
        DownloadError::NotFound => StatusCode::NOT_FOUND,
        DownloadError::Store(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

fn text(status: StatusCode, message: &str) -> Response<Full<Bytes>> {
    respond(status, "text/plain; charset=utf-8", Bytes::copy_from_slice(message.as_bytes()))
}

fn respond(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(content_type));
    response
}

/// What functions reach of [`Internal`] from their sandboxes: health and download links.
pub(crate) struct InternalForFunctions(pub(crate) Arc<Internal>);

impl InternalRoutes for InternalForFunctions {
    fn handle(&self, request: Parts, body: Bytes) -> BoxFuture<'_, Response<Full<Bytes>>> {
        let path = request.uri.path();
        if path == HEALTH || path.starts_with(LambdaService::DOWNLOAD_PREFIX) {
            return self.0.handle(request, body);
        }
        Box::pin(std::future::ready(text(StatusCode::FORBIDDEN, "functions do not reach this\n")))
    }
}

impl InternalRoutes for Internal {
    fn handle(&self, request: Parts, _body: Bytes) -> BoxFuture<'_, Response<Full<Bytes>>> {
        Box::pin(self.answer(request))
    }
}
