//! JSON by schema, for the REST and RPC JSON protocols.

use lambkin_model::AwsError;
use lambkin_model::schema::{Kind, Member, Service, ShapeId, Structure, TimestampFormat};
use serde_json::{Map, Value};

use super::{serialization, timestamp};

/// Parses a body; an empty one is an empty structure.
pub(crate) fn parse(body: &[u8]) -> Result<Value, AwsError> {
    if body.is_empty() {
        return Ok(Value::Object(Map::new()));
    }
    serde_json::from_slice(body).map_err(|error| serialization(format!("malformed JSON: {error}")))
}

/// Translates the body members of a structure from wire names and formats to Value form. Unknown members
/// are ignored, null ones absent, as AWS has it.
pub(crate) fn read_structure(
    service: &Service,
    structure: &Structure,
    value: Value,
    body_member: impl Fn(&Member) -> bool,
) -> Result<Map<String, Value>, AwsError> {
    let Value::Object(mut fields) = value else {
        // AWS's own words for a structure.
        return Err(serialization("Expected null"));
    };
    let mut out = Map::new();
    for member in structure.members.iter().filter(|member| body_member(member)) {
        let value = match fields.remove(member.wire_name) {
            None | Some(Value::Null) => continue,
            Some(value) => value,
        };
        out.insert(member.name.to_owned(), read(service, member.shape, value)?);
    }
    Ok(out)
}

/// Translates one value to Value form.
pub(crate) fn read(service: &Service, id: ShapeId, value: Value) -> Result<Value, AwsError> {
    let Some(shape) = service.shape(id) else { return Ok(value) };
    match (&shape.kind, value) {
        (Kind::Structure(structure), value) => {
            read_structure(service, structure, value, |_| true).map(Value::Object)
        }
        (Kind::List { member, .. }, Value::Array(values)) => values
            .into_iter()
            .map(|value| match value {
                Value::Null => Err(serialization("null is not allowed in a list")),
                value => read(service, *member, value),
            })
            .collect::<Result<Vec<_>, _>>()
            .map(Value::Array),
        (Kind::List { .. }, _) => Err(serialization("Expected list or null")),
        (Kind::Map { value: id, .. }, Value::Object(entries)) => entries
            .into_iter()
            .map(|(key, value)| match value {
                Value::Null => Err(serialization("null is not allowed in a map")),
                value => Ok((key, read(service, *id, value)?)),
            })
            .collect::<Result<Map<_, _>, _>>()
            .map(Value::Object),
        (Kind::Map { .. }, _) => Err(serialization("Expected map or null")),
        (Kind::String { .. }, value @ Value::String(_)) => Ok(value),
        (Kind::String { .. }, value) => Err(mismatch(&value, "String")),
        (Kind::Blob { .. }, value @ Value::String(_)) => Ok(value),
        (Kind::Blob { .. }, value) => Err(mismatch(&value, "Blob")),
        (Kind::Boolean, value @ Value::Bool(_)) => Ok(value),
        (Kind::Boolean, value) => Err(mismatch(&value, "Boolean")),
        (Kind::Integer(_), value) => match integer(&value) {
            Some(number) if i32::try_from(number).is_ok() => Ok(number.into()),
            _ => Err(mismatch(&value, "Integer")),
        },
        (Kind::Long(_), value) => match integer(&value) {
            Some(number) => Ok(number.into()),
            None => Err(mismatch(&value, "Long")),
        },
        (Kind::Float(_) | Kind::Double(_), value @ Value::Number(_)) => Ok(value),
        (Kind::Float(_), value) => Err(mismatch(&value, "Float")),
        (Kind::Double(_), value) => Err(mismatch(&value, "Double")),
        (Kind::Timestamp(_), value @ Value::Number(_)) => Ok(value),
        (Kind::Timestamp(_), Value::String(text)) => timestamp::parse(&text)
            .ok_or_else(|| serialization("STRING_VALUE can not be converted to a Timestamp")),
        (Kind::Timestamp(_), value) => Err(mismatch(&value, "Timestamp")),
        (Kind::Document, value) => Ok(value),
    }
}

/// A whole number; `3.0` counts, as some clients know only floats.
fn integer(value: &Value) -> Option<i64> {
    let Value::Number(number) = value else { return None };
    number.as_i64().or_else(|| {
        let float = number.as_f64()?;
        (float.fract() == 0.0 && float.abs() < 9_007_199_254_740_992.0).then_some(float as i64)
    })
}

/// AWS's words for a value of the wrong type.
fn mismatch(value: &Value, wanted: &str) -> AwsError {
    let article = if wanted.starts_with('I') { "an" } else { "a" };
    let got = match value {
        Value::Null => return serialization("Expected a value"),
        Value::Object(_) => return serialization("Start of structure or map found where not expected."),
        Value::Array(_) => return serialization("Start of list found where not expected"),
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
    };
    serialization(format!("{got} can not be converted to {article} {wanted}"))
}

/// Writes the body members of a structure with their wire names, in the model's order.
pub(crate) fn write_structure(
    out: &mut Vec<u8>,
    service: &Service,
    structure: &Structure,
    fields: &Map<String, Value>,
    body_member: impl Fn(&Member) -> bool,
) {
    out.push(b'{');
    let mut first = true;
    for member in structure.members.iter().filter(|member| body_member(member)) {
        let Some(value) = fields.get(member.name).filter(|value| !value.is_null()) else { continue };
        if !std::mem::take(&mut first) {
            out.push(b',');
        }
        write_text(out, member.wire_name);
        out.push(b':');
        write(out, service, member.shape, member.timestamp_format, value);
    }
    out.push(b'}');
}

/// Writes one value. What does not fit its shape is written as it is: answers are the server's own.
pub(crate) fn write(
    out: &mut Vec<u8>,
    service: &Service,
    id: ShapeId,
    format: Option<TimestampFormat>,
    value: &Value,
) {
    let kind = service.shape(id).map(|shape| &shape.kind);
    match (kind, value) {
        (Some(Kind::Structure(structure)), Value::Object(fields)) => {
            write_structure(out, service, structure, fields, |_| true);
        }
        (Some(Kind::List { member, .. }), Value::Array(values)) => {
            out.push(b'[');
            for (at, value) in values.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write(out, service, *member, None, value);
            }
            out.push(b']');
        }
        (Some(Kind::Map { value: id, .. }), Value::Object(entries)) => {
            out.push(b'{');
            for (at, (key, value)) in entries.iter().enumerate() {
                if at > 0 {
                    out.push(b',');
                }
                write_text(out, key);
                out.push(b':');
                write(out, service, *id, None, value);
            }
            out.push(b'}');
        }
        (Some(Kind::Timestamp(shape_format)), value) => match (format.unwrap_or(*shape_format), value) {
            (format @ (TimestampFormat::Iso8601 | TimestampFormat::Rfc822), Value::Number(_)) => {
                write_text(out, &timestamp::write(timestamp::millis(value).unwrap_or_default(), format));
            }
            _ => write_plain(out, value),
        },
        (_, Value::String(text)) => write_text(out, text),
        (_, value) => write_plain(out, value),
    }
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    // Writing to a vector cannot fail.
    let _ = serde_json::to_writer(out, text);
}

fn write_plain(out: &mut Vec<u8>, value: &Value) {
    let _ = serde_json::to_writer(out, value);
}
