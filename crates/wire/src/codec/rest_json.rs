//! The REST JSON protocol.

use bytes::Bytes;
use http::{HeaderValue, Response, StatusCode};
use http_body_util::Full;
use lambkin_model::schema::{Kind, Location, Operation, Service, Structure};
use lambkin_model::{AwsError, Input, Output};
use serde_json::{Map, Value};

use super::{ERROR_TYPE, Fault, Request, bindings, json, response, serialization, success};

const JSON: &str = "application/json";

pub(crate) fn decode(
    service: &'static Service,
    input: &'static Structure,
    request: Request<'_>,
) -> Result<Input, AwsError> {
    let mut members = Map::new();
    bindings::read(service, input, &request, &mut members)?;
    let body = request.body;
    let payload =
        input.members.iter().find(|member| !input.payload.is_empty() && member.name == input.payload);
    let Some(member) = payload else {
        if input.members.iter().any(|member| member.location == Location::Body) {
            let value = json::parse(&body)?;
            drop(body);
            let body =
                json::read_structure(service, input, value, |member| member.location == Location::Body)?;
            members.extend(body);
        }
        return Ok(Input { members: Value::Object(members), payload: None });
    };
    let raw = match service.shape(member.shape).map(|shape| &shape.kind) {
        Some(Kind::Blob { .. }) => (!body.is_empty()).then_some(body),
        Some(Kind::String { .. }) => {
            if !body.is_empty() {
                let text = std::str::from_utf8(&body).map_err(|_| serialization("the body is not UTF-8"))?;
                members.insert(member.name.to_owned(), text.into());
            }
            None
        }
        _ => {
            if !body.is_empty() {
                let value = json::parse(&body)?;
                if !value.is_null() {
                    members.insert(member.name.to_owned(), json::read(service, member.shape, value)?);
                }
            }
            None
        }
    };
    Ok(Input { members: Value::Object(members), payload: raw })
}

pub(crate) fn encode(
    service: &'static Service,
    operation: &'static Operation,
    output: Output,
    request_id: &str,
) -> Response<Full<Bytes>> {
    let status = success(operation);
    let Some(structure) = operation.output.and_then(|id| service.structure(id)) else {
        return response(status, Some(JSON), request_id, Bytes::new());
    };
    let empty = Map::new();
    let fields = output.members.as_object().unwrap_or(&empty);
    let mut response = if structure.payload.is_empty() {
        let body = if status == StatusCode::NO_CONTENT {
            Vec::new()
        } else {
            let mut body = Vec::with_capacity(256);
            json::write_structure(&mut body, service, structure, fields, |m| m.location == Location::Body);
            body
        };
        response(status, Some(JSON), request_id, body)
    } else {
        let (content_type, body) = payload(service, structure, fields, output.payload);
        response(status, Some(content_type), request_id, body)
    };
    if let Some(status) = bindings::write(service, structure, fields, response.headers_mut()) {
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(response.status());
    }
    response
}

/// Content type and bytes of a payload member.
fn payload(
    service: &Service,
    structure: &Structure,
    fields: &Map<String, Value>,
    raw: Option<Bytes>,
) -> (&'static str, Bytes) {
    let member = structure.members.iter().find(|member| member.name == structure.payload);
    let value = fields.get(structure.payload);
    match member.and_then(|member| service.shape(member.shape)).map(|shape| &shape.kind) {
        Some(Kind::Blob { .. }) => {
            // Lambda's payloads are JSON by contract; elsewhere a blob is just bytes.
            let content_type = if service.name == "lambda" { JSON } else { "application/octet-stream" };
            (
                content_type,
                raw.or_else(|| value.map(|value| bindings::blob(value).into())).unwrap_or_default(),
            )
        }
        Some(Kind::String { .. }) => {
            let text = value.and_then(Value::as_str).unwrap_or_default();
            ("text/plain", Bytes::copy_from_slice(text.as_bytes()))
        }
        _ => {
            let mut body = Vec::new();
            match (member, value.filter(|value| !value.is_null())) {
                (Some(member), Some(value)) => json::write(&mut body, service, member.shape, None, value),
                _ => body.extend_from_slice(b"{}"),
            }
            (JSON, body.into())
        }
    }
}

pub(crate) fn encode_error(fault: &Fault<'_>, request_id: &str) -> Response<Full<Bytes>> {
    let members = fault.members();
    let mut body = Vec::with_capacity(128);
    match (fault.service, fault.modelled) {
        (Some(service), Some((_, structure, _))) => {
            let mut all = members;
            // A message without a modelled place still has to reach the caller.
            let unplaced =
                structure.members.iter().all(|member| !member.name.eq_ignore_ascii_case("message"));
            let message = if unplaced { all.remove("message") } else { None };
            json::write_structure(&mut body, service, structure, &all, |m| m.location == Location::Body);
            if let Some(message) = message {
                super::json_append(&mut body, "message", &message);
            }
            let mut response = response(fault.status(), Some(JSON), request_id, body);
            bindings::write(service, structure, &all, response.headers_mut());
            set_type(fault, &mut response);
            response
        }
        _ => {
            let _ = serde_json::to_writer(&mut body, &Value::Object(members));
            let mut response = response(fault.status(), Some(JSON), request_id, body);
            set_type(fault, &mut response);
            response
        }
    }
}

fn set_type(fault: &Fault<'_>, response: &mut Response<Full<Bytes>>) {
    if let Ok(value) = HeaderValue::from_str(fault.name()) {
        response.headers_mut().insert(ERROR_TYPE, value);
    }
}
