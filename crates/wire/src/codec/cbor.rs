//! The Smithy RPC v2 CBOR protocol.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ciborium::Value as Cbor;
use http::{HeaderName, HeaderValue, Response};
use http_body_util::Full;
use lambkin_model::schema::{Kind, Operation, Service, ShapeId, Structure};
use lambkin_model::{AwsError, Input, Output};
use serde_json::{Map, Number, Value};

use super::{Fault, response, serialization, success, timestamp};

const CBOR: &str = "application/cbor";
const PROTOCOL: HeaderName = HeaderName::from_static("smithy-protocol");
/// Tag of a number of epoch seconds.
const EPOCH: u64 = 1;
/// Deepest nesting of a request.
const MAX_DEPTH: usize = 64;

pub(crate) fn decode(service: &Service, input: &Structure, body: &Bytes) -> Result<Input, AwsError> {
    let members = if body.is_empty() {
        Map::new()
    } else {
        let value: Cbor = ciborium::de::from_reader_with_recursion_limit(body.as_ref(), MAX_DEPTH)
            .map_err(|_| serialization("malformed CBOR"))?;
        read_structure(service, input, value)?
    };
    Ok(Input { members: Value::Object(members), payload: None })
}

fn read_structure(
    service: &Service,
    structure: &Structure,
    value: Cbor,
) -> Result<Map<String, Value>, AwsError> {
    let Cbor::Map(entries) = value else { return Err(wrong("a structure")) };
    let mut out = Map::new();
    for (key, value) in entries {
        let Some(member) =
            structure.members.iter().find(|member| key.as_text().is_some_and(|key| key == member.wire_name))
        else {
            continue;
        };
        if !value.is_null() {
            out.insert(member.name.to_owned(), read(service, member.shape, value)?);
        }
    }
    Ok(out)
}

fn read(service: &Service, id: ShapeId, value: Cbor) -> Result<Value, AwsError> {
    let Some(shape) = service.shape(id) else { return Err(wrong("a known shape")) };
    match (&shape.kind, value) {
        (Kind::Structure(structure), value) => read_structure(service, structure, value).map(Value::Object),
        (Kind::List { member, .. }, Cbor::Array(values)) => {
            let values = values.into_iter().map(|value| read(service, *member, value));
            values.collect::<Result<_, _>>().map(Value::Array)
        }
        (Kind::Map { value: id, .. }, Cbor::Map(entries)) => {
            let entries = entries.into_iter().map(|(key, value)| match key {
                Cbor::Text(key) => Ok((key, read(service, *id, value)?)),
                _ => Err(wrong("a text key")),
            });
            entries.collect::<Result<_, _>>().map(Value::Object)
        }
        (Kind::String { .. }, Cbor::Text(text)) => Ok(Value::String(text)),
        (Kind::Blob { .. }, Cbor::Bytes(bytes)) => Ok(Value::String(STANDARD.encode(bytes))),
        (Kind::Boolean, Cbor::Bool(value)) => Ok(Value::Bool(value)),
        (Kind::Integer(_), value) => match integer(&value) {
            Some(number) if i32::try_from(number).is_ok() => Ok(number.into()),
            _ => Err(wrong("an Integer")),
        },
        (Kind::Long(_), value) => integer(&value).map(Value::from).ok_or_else(|| wrong("a Long")),
        (Kind::Float(_) | Kind::Double(_), value) => number(&value).ok_or_else(|| wrong("a Double")),
        (Kind::Timestamp(_), Cbor::Tag(EPOCH, value)) => number(&value).ok_or_else(|| wrong("a Timestamp")),
        (Kind::Document, value) => document(value).ok_or_else(|| wrong("a document")),
        _ => Err(wrong(shape.name)),
    }
}

fn wrong(wanted: &str) -> AwsError {
    serialization(format!("a CBOR value can not be converted to {wanted}"))
}

fn integer(value: &Cbor) -> Option<i64> {
    match value {
        Cbor::Integer(number) => i64::try_from(*number).ok(),
        Cbor::Float(float) => {
            (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0).then_some(*float as i64)
        }
        _ => None,
    }
}

fn number(value: &Cbor) -> Option<Value> {
    match value {
        Cbor::Float(float) => Number::from_f64(*float).map(Value::Number),
        value => integer(value).map(Value::from),
    }
}

fn document(value: Cbor) -> Option<Value> {
    Some(match value {
        Cbor::Null => Value::Null,
        Cbor::Bool(value) => Value::Bool(value),
        Cbor::Text(text) => Value::String(text),
        Cbor::Array(values) => Value::Array(values.into_iter().map(document).collect::<Option<_>>()?),
        Cbor::Map(entries) => Value::Object(
            entries
                .into_iter()
                .map(|(key, value)| Some((key.into_text().ok()?, document(value)?)))
                .collect::<Option<_>>()?,
        ),
        value => number(&value)?,
    })
}

pub(crate) fn encode(
    service: &'static Service,
    operation: &'static Operation,
    output: &Output,
    request_id: &str,
) -> Response<Full<Bytes>> {
    let Some(structure) = operation.output.and_then(|id| service.structure(id)) else {
        return tagged(response(success(operation), None, request_id, Bytes::new()));
    };
    let empty = Map::new();
    let fields = output.members.as_object().unwrap_or(&empty);
    let body = bytes(&write_structure(service, structure, fields));
    tagged(response(success(operation), Some(CBOR), request_id, body))
}

pub(crate) fn encode_error(fault: &Fault<'_>, request_id: &str) -> Response<Full<Bytes>> {
    let mut entries = vec![(Cbor::from("__type"), Cbor::from(fault.name()))];
    for (name, value) in fault.members() {
        let member = fault
            .modelled
            .and_then(|(_, structure, _)| structure.members.iter().find(|member| member.name == name));
        entries.push(match (fault.service, member) {
            (Some(service), Some(member)) => {
                (Cbor::from(member.wire_name), write(service, member.shape, &value))
            }
            _ => (Cbor::Text(name), plain(&value)),
        });
    }
    let mut response = response(fault.status(), Some(CBOR), request_id, bytes(&Cbor::Map(entries)));
    fault.query_error(response.headers_mut());
    tagged(response)
}

fn tagged(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    response.headers_mut().insert(PROTOCOL, HeaderValue::from_static("rpc-v2-cbor"));
    response
}

fn bytes(value: &Cbor) -> Vec<u8> {
    let mut out = Vec::with_capacity(256);
    // Writing to a vector cannot fail.
    let _ = ciborium::into_writer(value, &mut out);
    out
}

fn write_structure(service: &Service, structure: &Structure, fields: &Map<String, Value>) -> Cbor {
    let given = structure.members.iter().filter_map(|member| {
        let value = fields.get(member.name).filter(|value| !value.is_null())?;
        Some((Cbor::from(member.wire_name), write(service, member.shape, value)))
    });
    Cbor::Map(given.collect())
}

fn write(service: &Service, id: ShapeId, value: &Value) -> Cbor {
    match (service.shape(id).map(|shape| &shape.kind), value) {
        (Some(Kind::Structure(structure)), Value::Object(fields)) => {
            write_structure(service, structure, fields)
        }
        (Some(Kind::List { member, .. }), Value::Array(values)) => {
            Cbor::Array(values.iter().map(|value| write(service, *member, value)).collect())
        }
        (Some(Kind::Map { value: id, .. }), Value::Object(entries)) => Cbor::Map(
            entries
                .iter()
                .map(|(key, value)| (Cbor::from(key.as_str()), write(service, *id, value)))
                .collect(),
        ),
        (Some(Kind::Blob { .. }), Value::String(text)) => {
            STANDARD.decode(text).map_or_else(|_| Cbor::from(text.as_str()), Cbor::Bytes)
        }
        (Some(Kind::Timestamp(_)), Value::Number(_)) => {
            let millis = timestamp::millis(value).unwrap_or_default();
            let seconds = if millis % 1000 == 0 {
                Cbor::from(millis / 1000)
            } else {
                Cbor::Float(millis as f64 / 1000.0)
            };
            Cbor::Tag(EPOCH, Box::new(seconds))
        }
        (Some(Kind::Float(_) | Kind::Double(_)), Value::Number(number)) => {
            Cbor::Float(number.as_f64().unwrap_or_default())
        }
        (_, value) => plain(value),
    }
}

fn plain(value: &Value) -> Cbor {
    match value {
        Value::Null => Cbor::Null,
        Value::Bool(value) => Cbor::Bool(*value),
        Value::String(text) => Cbor::from(text.as_str()),
        Value::Number(number) => match number.as_i64() {
            Some(number) => Cbor::from(number),
            None => Cbor::Float(number.as_f64().unwrap_or_default()),
        },
        Value::Array(values) => Cbor::Array(values.iter().map(plain).collect()),
        Value::Object(entries) => {
            Cbor::Map(entries.iter().map(|(key, value)| (Cbor::from(key.as_str()), plain(value))).collect())
        }
    }
}
