//! AWS's wire protocols, driven by the schema: requests to [`Input`], [`Output`] and [`AwsError`] to
//! responses.

mod aws_json;
mod bindings;
mod cbor;
mod event_stream;
mod json;
mod query;
mod rest_json;
mod rest_xml;
mod timestamp;
mod xml;

use bytes::Bytes;
use http::request::Parts;
use http::{HeaderName, HeaderValue, Response, StatusCode};
use http_body_util::Full;
use lambkin_model::schema::{ErrorInfo, Kind, Operation, Protocol, Service, Shape, Structure};
use lambkin_model::{AwsError, Input, Output};
use serde_json::{Map, Value};

use crate::reply::ResponseBody;
use crate::route::Labels;

pub(crate) use event_stream::EventFrames;
pub(crate) use query::unknown_action;

/// A request whose operation is known and whose signature is verified.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    pub(crate) parts: &'a Parts,
    /// Undecoded labels of the path.
    pub(crate) labels: Labels<'a>,
    pub(crate) body: Bytes,
}

/// Decodes a request's members.
///
/// # Errors
/// AWS's error for input that does not fit the protocol or the types of the model.
pub(crate) fn decode(
    protocol: Protocol,
    service: &'static Service,
    operation: &'static Operation,
    request: Request<'_>,
) -> Result<Input, AwsError> {
    let Some(input) = operation.input.and_then(|id| service.structure(id)) else {
        return Ok(Input { members: Value::Object(Map::new()), payload: None });
    };
    match protocol {
        Protocol::RestJson => rest_json::decode(service, input, request),
        Protocol::RestXml => rest_xml::decode(service, operation, input, request),
        Protocol::Json10 | Protocol::Json11 => aws_json::decode(service, input, &request.body),
        Protocol::Query | Protocol::Ec2 => query::decode(service, input, &request, protocol == Protocol::Ec2),
        Protocol::RpcV2Cbor => cbor::decode(service, input, &request.body),
    }
}

/// Writes an operation's answer.
pub(crate) fn encode(
    protocol: Protocol,
    service: &'static Service,
    operation: &'static Operation,
    mut output: Output,
    request_id: &str,
) -> Response<ResponseBody> {
    let events = output.events.take();
    let response = match protocol {
        Protocol::RestJson => rest_json::encode(service, operation, output, request_id),
        Protocol::RestXml => rest_xml::encode(service, operation, output, request_id),
        Protocol::Json10 | Protocol::Json11 => {
            aws_json::encode(protocol, service, operation, &output, request_id)
        }
        Protocol::Query | Protocol::Ec2 => {
            query::encode(service, operation, &output, request_id, protocol == Protocol::Ec2)
        }
        Protocol::RpcV2Cbor => cbor::encode(service, operation, &output, request_id),
    };
    match events {
        None => response.map(ResponseBody::from),
        Some(events) => event_stream::respond(service, operation, response, events),
    }
}

/// Writes an error; without a service (none could be told) only the code and message.
pub(crate) fn encode_error(
    protocol: Protocol,
    service: Option<&'static Service>,
    error: &AwsError,
    request_id: &str,
) -> Response<Full<Bytes>> {
    let error = Fault::new(service, error);
    match protocol {
        Protocol::RestJson => rest_json::encode_error(&error, request_id),
        Protocol::RestXml => rest_xml::encode_error(&error, request_id),
        Protocol::Json10 | Protocol::Json11 => aws_json::encode_error(protocol, &error, request_id),
        Protocol::Query | Protocol::Ec2 => query::encode_error(&error, request_id, protocol == Protocol::Ec2),
        Protocol::RpcV2Cbor => cbor::encode_error(&error, request_id),
    }
}

/// An error with what the model says of it.
pub(crate) struct Fault<'a> {
    service: Option<&'static Service>,
    error: &'a AwsError,
    modelled: Option<(&'static Shape, &'static Structure, ErrorInfo)>,
}

impl<'a> Fault<'a> {
    fn new(service: Option<&'static Service>, error: &'a AwsError) -> Self {
        let find = |fits: &dyn Fn(&Shape, ErrorInfo) -> bool| {
            service?.shapes.iter().find_map(|shape| {
                let Kind::Structure(structure) = &shape.kind else { return None };
                let info = structure.error?;
                fits(shape, info).then_some((shape, structure, info))
            })
        };
        let modelled = find(&|shape, _| shape.name == error.code)
            .or_else(|| find(&|_, info| !info.code.is_empty() && info.code == error.code));
        Self { service, error, modelled }
    }

    /// Name of the error's shape.
    fn name(&self) -> &str {
        self.modelled.map_or(&self.error.code, |(shape, ..)| shape.name)
    }

    /// Code of the query protocol.
    fn query_code(&self) -> &str {
        match self.modelled {
            Some((_, _, info)) if !info.code.is_empty() => info.code,
            _ => self.name(),
        }
    }

    fn fault(&self) -> &'static str {
        if self.error.sender_fault { "Sender" } else { "Receiver" }
    }

    /// Members by member name, the message under its modelled name and `Type` where the model has one.
    fn members(&self) -> Map<String, Value> {
        let mut members = self.error.members.clone();
        let fields = self.modelled.map(|(_, structure, _)| structure.members).unwrap_or_default();
        if fields.iter().any(|member| member.name == "Type") && !members.contains_key("Type") {
            let kind = if self.error.sender_fault { "User" } else { "Service" };
            members.insert("Type".to_owned(), kind.into());
        }
        let message = fields.iter().find(|member| member.name.eq_ignore_ascii_case("message"));
        if !self.error.message.is_empty() {
            let name = match message {
                Some(member) => member.name,
                // AWS's front writes this one with a capital, all its other errors without.
                None if self.error.code == "AccessDeniedException" => "Message",
                None => "message",
            };
            members.entry(name.to_owned()).or_insert_with(|| self.error.message.clone().into());
        }
        members
    }

    /// Tells clients that came from the query protocol the code they knew there.
    fn query_error(&self, headers: &mut http::HeaderMap) {
        if self.service.is_some_and(|service| service.query_compatible)
            && let Ok(value) = HeaderValue::from_str(&format!("{};{}", self.query_code(), self.fault()))
        {
            headers.insert(QUERY_ERROR, value);
        }
    }

    fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.error.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

pub(crate) const REQUEST_ID: HeaderName = HeaderName::from_static("x-amzn-requestid");
const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");
const QUERY_ERROR: HeaderName = HeaderName::from_static("x-amzn-query-error");

/// A response with the headers that all protocols share.
fn response(
    status: StatusCode,
    content_type: Option<&'static str>,
    request_id: &str,
    body: impl Into<Bytes>,
) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    if let Some(content_type) = content_type {
        headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    }
    if let Ok(value) = HeaderValue::from_str(request_id) {
        headers.insert(REQUEST_ID, value);
    }
    response
}

/// Adds a field to a JSON object that is already written.
fn json_append(object: &mut Vec<u8>, name: &str, value: &Value) {
    object.pop();
    if object.len() > 1 {
        object.push(b',');
    }
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(&mut *object, name);
    object.push(b':');
    let _ = serde_json::to_writer(&mut *object, value);
    object.push(b'}');
}

/// HTTP status of an operation's success.
fn success(operation: &Operation) -> StatusCode {
    StatusCode::from_u16(operation.status).unwrap_or(StatusCode::OK)
}

/// AWS's refusal of input that is not of the modelled types.
fn serialization(text: impl Into<String>) -> AwsError {
    AwsError::new("SerializationException", 400, text)
}

#[cfg(test)]
mod tests;
