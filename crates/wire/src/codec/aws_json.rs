//! The AWS JSON protocols 1.0 and 1.1.

use bytes::Bytes;
use http::{HeaderValue, Response};
use http_body_util::Full;
use lambkin_model::schema::{Operation, Protocol, Service, Structure};
use lambkin_model::{AwsError, Input, Output};
use serde_json::{Map, Value};

use super::{ERROR_TYPE, Fault, json, json_append, response, success};

pub(crate) fn decode(service: &Service, input: &Structure, body: &Bytes) -> Result<Input, AwsError> {
    let value = json::parse(body)?;
    let members = json::read_structure(service, input, value, |_| true)?;
    Ok(Input { members: Value::Object(members), payload: None })
}

pub(crate) fn encode(
    protocol: Protocol,
    service: &'static Service,
    operation: &'static Operation,
    output: &Output,
    request_id: &str,
) -> Response<Full<Bytes>> {
    let mut body = Vec::new();
    if let Some(structure) = operation.output.and_then(|id| service.structure(id)) {
        let empty = Map::new();
        let fields = output.members.as_object().unwrap_or(&empty);
        body.reserve(256);
        json::write_structure(&mut body, service, structure, fields, |_| true);
    }
    response(success(operation), Some(content_type(protocol)), request_id, body)
}

pub(crate) fn encode_error(protocol: Protocol, fault: &Fault<'_>, request_id: &str) -> Response<Full<Bytes>> {
    let mut body = Vec::with_capacity(128);
    body.extend_from_slice(b"{}");
    json_append(&mut body, "__type", &fault.name().into());
    for (name, value) in &fault.members() {
        let member = fault
            .modelled
            .and_then(|(_, structure, _)| structure.members.iter().find(|member| member.name == name));
        match (fault.service, member) {
            (Some(service), Some(member)) => {
                let mut text = Vec::new();
                json::write(&mut text, service, member.shape, member.timestamp_format, value);
                let value = serde_json::from_slice(&text).unwrap_or(Value::Null);
                json_append(&mut body, member.wire_name, &value);
            }
            _ => json_append(&mut body, name, value),
        }
    }
    let mut response = response(fault.status(), Some(content_type(protocol)), request_id, body);
    let headers = response.headers_mut();
    if let Ok(value) = HeaderValue::from_str(fault.name()) {
        headers.insert(ERROR_TYPE, value);
    }
    fault.query_error(headers);
    response
}

fn content_type(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Json10 => "application/x-amz-json-1.0",
        _ => "application/x-amz-json-1.1",
    }
}
