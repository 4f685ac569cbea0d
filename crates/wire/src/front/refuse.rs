//! The front's own refusals.

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use lambkin_model::AwsError;
use lambkin_model::schema::{Protocol, Service};

use crate::body::ReadError;
use crate::codec;
use crate::route::content_type;

/// An error together with how to write it.
#[derive(Debug)]
pub(crate) struct Refusal {
    pub(crate) protocol: Protocol,
    pub(crate) service: Option<&'static Service>,
    pub(crate) error: AwsError,
}

impl Refusal {
    /// A refusal where no service could be told, in the shape the client most likely reads.
    pub(crate) fn unrouted(parts: &Parts, error: AwsError) -> Self {
        let protocol = match content_type(parts) {
            "application/x-amz-json-1.0" => Protocol::Json10,
            "application/x-amz-json-1.1" => Protocol::Json11,
            "application/x-www-form-urlencoded" => Protocol::Query,
            "application/cbor" => Protocol::RpcV2Cbor,
            _ if parts.uri.query().is_some_and(|query| query.contains("Action=")) => Protocol::Query,
            _ => Protocol::RestJson,
        };
        Self { protocol, service: None, error }
    }

    /// `scope` is the service name of the credential, where the request is signed.
    pub(crate) fn unknown_service(parts: &Parts, scope: Option<&str>) -> Self {
        let text = match (scope, parts.headers.get("x-amz-target").and_then(|target| target.to_str().ok())) {
            (Some(name), _) => format!("Lambkin does not have service '{name}'."),
            (None, Some(target)) => format!("Lambkin does not have a service for X-Amz-Target '{target}'."),
            (None, None) => {
                format!("Lambkin does not have a service for {} {}.", parts.method, parts.uri.path())
            }
        };
        Self::unrouted(parts, AwsError::new("UnknownOperationException", 404, text))
    }
}

/// A body over the limit of its operation.
pub(crate) fn too_large(limit: usize, operation: &str) -> AwsError {
    let operation =
        if operation.is_empty() { String::new() } else { format!(" for the {operation} operation") };
    AwsError::new(
        "RequestEntityTooLargeException",
        413,
        format!("Request must be smaller than {limit} bytes{operation}"),
    )
}

/// A body that could not be read.
pub(crate) fn unread(error: ReadError, limit: usize, operation: &str) -> AwsError {
    match error {
        ReadError::TooLarge => too_large(limit, operation),
        ReadError::Broken => {
            AwsError::new("IncompleteBody", 400, "The request body ended before its length.")
        }
        ReadError::Timeout => AwsError::new(
            "RequestTimeoutException",
            408,
            "The request body was not received within the time allowed.",
        ),
    }
}

/// A request for an operation the service does not have; it was signed correctly, or signatures do not count.
pub(crate) fn unknown_operation(
    protocol: Protocol,
    parts: &Parts,
    name: &str,
    version: Option<String>,
) -> AwsError {
    match protocol {
        Protocol::Query | Protocol::Ec2 if name.is_empty() => {
            AwsError::new("MissingAction", 400, "The request must contain the parameter Action.")
        }
        Protocol::Query | Protocol::Ec2 => {
            codec::unknown_action(name, version.as_deref(), protocol == Protocol::Ec2)
        }
        Protocol::Json10 | Protocol::Json11 => AwsError::new("UnknownOperationException", 400, ""),
        Protocol::RpcV2Cbor => AwsError::new("UnknownOperationException", 404, ""),
        Protocol::RestJson | Protocol::RestXml => AwsError::new(
            "UnknownOperationException",
            404,
            format!("No operation has {} {}.", parts.method, parts.uri.path()),
        ),
    }
}

/// A failure of the server's own; under the service's name for it, so that SDKs know it.
pub(crate) fn internal(service: &Service) -> AwsError {
    let modelled = ["ServiceException", "ServiceUnavailableException", "InternalServiceException"]
        .into_iter()
        .find(|name| service.shapes.iter().any(|shape| shape.name == *name));
    let text = "The request processing has failed because of an unknown error, exception or failure.";
    AwsError::new(modelled.unwrap_or("InternalFailure"), 500, text)
}

/// An unreadable body of an internal route.
pub(crate) fn plain(error: ReadError) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(format!("{error}\n")));
    *response.status_mut() = match error {
        ReadError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ReadError::Broken => StatusCode::BAD_REQUEST,
        ReadError::Timeout => StatusCode::REQUEST_TIMEOUT,
    };
    let text = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(http::header::CONTENT_TYPE, text);
    response
}
