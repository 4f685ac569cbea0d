//! The REST XML protocol.

use std::borrow::Cow;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use lambkin_model::schema::{Kind, Location, Member, Operation, Service, ShapeId, Structure};
use lambkin_model::{AwsError, Input, Output};
use serde_json::{Map, Value};

use super::xml::{self, Element};
use super::{Fault, Request, bindings, query, response, success};

const XML: &str = "application/xml";

pub(crate) fn decode(
    service: &'static Service,
    _operation: &'static Operation,
    input: &'static Structure,
    request: Request<'_>,
) -> Result<Input, AwsError> {
    let mut members = Map::new();
    bindings::read(service, input, &request, &mut members)?;
    let body = request.body;
    let payload =
        input.members.iter().find(|member| !input.payload.is_empty() && member.name == input.payload);
    let Some(member) = payload else {
        if !body.is_empty() && input.members.iter().any(|member| member.location == Location::Body) {
            let root = parse(&body)?;
            let body = read_structure(service, input, &root, |member| member.location == Location::Body)?;
            members.extend(body);
        }
        return Ok(Input { members: Value::Object(members), payload: None });
    };
    let mut raw = None;
    match service.shape(member.shape).map(|shape| &shape.kind) {
        Some(Kind::Blob { .. }) => raw = (!body.is_empty()).then_some(body),
        _ if body.is_empty() => {}
        Some(Kind::String { .. }) => {
            let text = std::str::from_utf8(&body).map_err(|_| malformed())?;
            members.insert(member.name.to_owned(), text.into());
        }
        _ => {
            let root = parse(&body)?;
            members.insert(member.name.to_owned(), read(service, member.shape, &root)?);
        }
    }
    Ok(Input { members: Value::Object(members), payload: raw })
}

fn parse(body: &[u8]) -> Result<Element, AwsError> {
    xml::parse(body).map_err(|reason| {
        tracing::debug!(reason, "malformed XML body");
        malformed()
    })
}

fn malformed() -> AwsError {
    AwsError::new(
        "MalformedXML",
        400,
        "The XML you provided was not well-formed or did not validate against our published schema",
    )
}

fn read_structure(
    service: &Service,
    structure: &Structure,
    element: &Element,
    body_member: impl Fn(&Member) -> bool,
) -> Result<Map<String, Value>, AwsError> {
    let mut out = Map::new();
    for member in structure.members.iter().filter(|member| body_member(member)) {
        let kind = service.shape(member.shape).map(|shape| &shape.kind);
        let value = match kind {
            Some(Kind::List { member: id, location_name, flattened: true, .. }) => {
                let name = xml::or(location_name, member.wire_name);
                let values: Vec<Value> = element
                    .children
                    .iter()
                    .filter(|child| child.name == name)
                    .map(|child| read(service, *id, child))
                    .collect::<Result<_, _>>()?;
                (!values.is_empty()).then_some(Value::Array(values))
            }
            Some(Kind::Map { value, key_name, value_name, flattened: true, .. }) => {
                let entries = element.children.iter().filter(|child| child.name == member.wire_name);
                let map = read_entries(service, *value, key_name, value_name, entries)?;
                (!map.is_empty()).then_some(Value::Object(map))
            }
            _ => element
                .children
                .iter()
                .find(|child| child.name == member.wire_name)
                .map(|child| read(service, member.shape, child))
                .transpose()?,
        };
        if let Some(value) = value {
            out.insert(member.name.to_owned(), value);
        }
    }
    Ok(out)
}

fn read_entries<'e>(
    service: &Service,
    id: ShapeId,
    key_name: &str,
    value_name: &str,
    entries: impl Iterator<Item = &'e Element>,
) -> Result<Map<String, Value>, AwsError> {
    let mut map = Map::new();
    for entry in entries {
        let child = |name: &str| entry.children.iter().find(|child| child.name == name);
        let (Some(key), Some(value)) = (child(xml::or(key_name, "key")), child(xml::or(value_name, "value")))
        else {
            return Err(malformed());
        };
        map.insert(key.text.clone(), read(service, id, value)?);
    }
    Ok(map)
}

fn read(service: &Service, id: ShapeId, element: &Element) -> Result<Value, AwsError> {
    let Some(shape) = service.shape(id) else { return Err(malformed()) };
    match &shape.kind {
        Kind::Structure(structure) => {
            read_structure(service, structure, element, |_| true).map(Value::Object)
        }
        Kind::List { member, location_name, .. } => {
            let name = xml::or(location_name, "member");
            let items = element.children.iter().filter(|child| child.name == name);
            items.map(|item| read(service, *member, item)).collect::<Result<_, _>>().map(Value::Array)
        }
        Kind::Map { value, key_name, value_name, .. } => {
            let entries = element.children.iter().filter(|child| child.name == "entry");
            read_entries(service, *value, key_name, value_name, entries).map(Value::Object)
        }
        Kind::String { .. } => Ok(Value::String(element.text.clone())),
        _ => bindings::scalar(service, id, Cow::Borrowed(element.text.trim())).map_err(|_| malformed()),
    }
}

pub(crate) fn encode(
    service: &'static Service,
    operation: &'static Operation,
    output: Output,
    request_id: &str,
) -> Response<Full<Bytes>> {
    let status = success(operation);
    let shape = operation.output.and_then(|id| service.shape(id));
    let Some((shape, structure)) = shape.and_then(|shape| match &shape.kind {
        Kind::Structure(structure) => Some((shape, structure)),
        _ => None,
    }) else {
        return response(status, None, request_id, Bytes::new());
    };
    let empty = Map::new();
    let fields = output.members.as_object().unwrap_or(&empty);
    let payload = structure
        .members
        .iter()
        .find(|member| !structure.payload.is_empty() && member.name == structure.payload);
    let (content_type, body) = match payload {
        None => {
            let has_body = structure.members.iter().any(|member| member.location == Location::Body);
            if has_body && status != StatusCode::NO_CONTENT {
                let mut out = String::with_capacity(512);
                let root = with_namespace(service, xml::or(operation.result_wrapper, shape.name));
                xml::open(&mut out, &root);
                xml::write_structure(&mut out, service, structure, fields, |m| m.location == Location::Body);
                xml::close(&mut out, &root);
                (Some(XML), out.into())
            } else {
                (None, Bytes::new())
            }
        }
        Some(member) => {
            let value = fields.get(member.name).filter(|value| !value.is_null());
            match service.shape(member.shape).map(|shape| &shape.kind) {
                Some(Kind::Blob { .. }) => {
                    let raw = output.payload.or_else(|| value.map(|value| bindings::blob(value).into()));
                    (Some("application/octet-stream"), raw.unwrap_or_default())
                }
                Some(Kind::String { .. }) => {
                    let text = value.and_then(Value::as_str).unwrap_or_default();
                    (Some("text/plain"), Bytes::copy_from_slice(text.as_bytes()))
                }
                Some(Kind::Structure(inner)) => match value.and_then(Value::as_object) {
                    Some(fields) => {
                        let mut out = String::with_capacity(512);
                        let root = with_namespace(service, member.wire_name);
                        xml::open(&mut out, &root);
                        xml::write_structure(&mut out, service, inner, fields, |_| true);
                        xml::close(&mut out, &root);
                        (Some(XML), out.into())
                    }
                    None => (None, Bytes::new()),
                },
                _ => (None, Bytes::new()),
            }
        }
    };
    let mut response = response(status, content_type, request_id, body);
    if let Some(status) = bindings::write(service, structure, fields, response.headers_mut()) {
        *response.status_mut() = StatusCode::from_u16(status).unwrap_or(response.status());
    }
    response
}

fn with_namespace(service: &Service, name: &str) -> String {
    if service.xml_namespace.is_empty() {
        name.to_owned()
    } else {
        format!("{name} xmlns=\"{}\"", service.xml_namespace)
    }
}

pub(crate) fn encode_error(fault: &Fault<'_>, request_id: &str) -> Response<Full<Bytes>> {
    let mut out = String::with_capacity(256);
    if fault.service.is_some_and(|service| service.name == "s3") {
        // S3 has no wrapper around its errors.
        out.push_str("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n");
        xml::open(&mut out, "Error");
        xml::push_element(&mut out, "Code", fault.query_code());
        xml::push_element(&mut out, "Message", &fault.error.message);
        xml::push_element(&mut out, "RequestId", request_id);
        xml::close(&mut out, "Error");
        return response(fault.status(), Some(XML), request_id, out);
    }
    let root = match fault.service {
        Some(service) => with_namespace(service, "ErrorResponse"),
        None => "ErrorResponse".to_owned(),
    };
    xml::open(&mut out, &root);
    query::write_error(&mut out, fault);
    xml::push_element(&mut out, "RequestId", request_id);
    xml::close(&mut out, &root);
    response(fault.status(), Some(XML), request_id, out)
}
