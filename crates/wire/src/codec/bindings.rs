//! Members that travel in the path, the query string, headers and the status line.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use lambkin_model::AwsError;
use lambkin_model::schema::{Kind, Location, Member, Service, ShapeId, Structure, TimestampFormat};
use serde_json::{Map, Number, Value};

use super::{Request, serialization, timestamp};
use crate::uri;

/// Reads all members that are not in the body.
pub(crate) fn read(
    service: &Service,
    structure: &Structure,
    request: &Request<'_>,
    out: &mut Map<String, Value>,
) -> Result<(), AwsError> {
    let query = request.parts.uri.query().unwrap_or_default();
    for member in structure.members {
        let value = match member.location {
            Location::Body | Location::StatusCode => continue,
            Location::Uri => {
                let label = request.labels.iter().find(|(name, _)| *name == member.wire_name);
                label.map(|(_, raw)| scalar(service, member.shape, uri::decode_segment(raw))).transpose()?
            }
            Location::Query if query.is_empty() => None,
            Location::Query => read_query(service, structure, member, query)?,
            Location::Header => read_header(service, member, &request.parts.headers)?,
            Location::Headers => read_prefixed(member, &request.parts.headers),
        };
        if let Some(value) = value {
            out.insert(member.name.to_owned(), value);
        }
    }
    Ok(())
}

fn read_query(
    service: &Service,
    structure: &Structure,
    member: &Member,
    query: &str,
) -> Result<Option<Value>, AwsError> {
    let kind = service.shape(member.shape).map(|shape| &shape.kind);
    match kind {
        Some(Kind::List { member: element, .. }) => {
            let values: Vec<Value> = uri::pairs(query)
                .filter(|(key, _)| key == member.wire_name)
                .map(|(_, value)| scalar(service, *element, value))
                .collect::<Result<_, _>>()?;
            Ok((!values.is_empty()).then_some(Value::Array(values)))
        }
        // A map takes every parameter that no other member has.
        Some(Kind::Map { value: id, .. }) => {
            let lists = service.shape(*id).is_some_and(|shape| matches!(shape.kind, Kind::List { .. }));
            let bound = |key: &str| {
                structure.members.iter().any(|m| m.location == Location::Query && m.wire_name == key)
            };
            let mut map = Map::new();
            for (key, value) in uri::pairs(query).filter(|(key, _)| !bound(key)) {
                let value = Value::String(value.into_owned());
                match map.get_mut(key.as_ref()) {
                    Some(Value::Array(values)) => values.push(value),
                    Some(_) => {}
                    None if lists => {
                        map.insert(key.into_owned(), Value::Array(vec![value]));
                    }
                    None => {
                        map.insert(key.into_owned(), value);
                    }
                }
            }
            Ok((!map.is_empty()).then_some(Value::Object(map)))
        }
        _ => uri::pairs(query)
            .find(|(key, _)| key == member.wire_name)
            .map(|(_, value)| scalar(service, member.shape, value))
            .transpose(),
    }
}

fn read_header(service: &Service, member: &Member, headers: &HeaderMap) -> Result<Option<Value>, AwsError> {
    let mut values = headers.get_all(member.wire_name).iter().map(|value| {
        value.to_str().map_err(|_| serialization(format!("header {} is not ASCII", member.wire_name)))
    });
    let Some(first) = values.next().transpose()? else { return Ok(None) };
    match service.shape(member.shape).map(|shape| &shape.kind) {
        Some(Kind::List { member: element, .. }) => {
            let mut list = Vec::new();
            for value in std::iter::once(Ok(first)).chain(values) {
                for part in split_list(value?, is_timestamp(service, *element)) {
                    list.push(scalar(service, *element, Cow::Owned(part))?);
                }
            }
            Ok(Some(Value::Array(list)))
        }
        _ => scalar(service, member.shape, Cow::Borrowed(first.trim())).map(Some),
    }
}

fn is_timestamp(service: &Service, id: ShapeId) -> bool {
    service.shape(id).is_some_and(|shape| matches!(shape.kind, Kind::Timestamp(_)))
}

/// Splits a list header at its commas; a quoted element may hold commas, a date holds one.
fn split_list(text: &str, dates: bool) -> Vec<String> {
    let mut parts = vec![String::new()];
    let (mut quoted, mut escaped, mut commas) = (false, false, 0);
    for c in text.chars() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => {
                escaped = true;
                continue;
            }
            '"' => {
                quoted = !quoted;
                continue;
            }
            ',' if !quoted => {
                commas += 1;
                if !dates || commas % 2 == 0 {
                    parts.push(String::new());
                    continue;
                }
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts.into_iter().map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn read_prefixed(member: &Member, headers: &HeaderMap) -> Option<Value> {
    let prefix = member.wire_name.to_ascii_lowercase();
    let map: Map<String, Value> = headers
        .iter()
        .filter_map(|(name, value)| {
            let key = name.as_str().strip_prefix(&prefix)?;
            Some((key.to_owned(), Value::String(value.to_str().ok()?.to_owned())))
        })
        .collect();
    (!map.is_empty()).then_some(Value::Object(map))
}

/// Reads the text of a scalar by its shape.
pub(crate) fn scalar(service: &Service, id: ShapeId, text: Cow<'_, str>) -> Result<Value, AwsError> {
    let wrong = |wanted: &str| {
        let article = if wanted.starts_with('I') { "an" } else { "a" };
        serialization(format!("STRING_VALUE can not be converted to {article} {wanted}"))
    };
    let Some(shape) = service.shape(id) else { return Ok(Value::String(text.into_owned())) };
    match shape.kind {
        Kind::Integer(_) => text.parse::<i32>().map(Value::from).map_err(|_| wrong("Integer")),
        Kind::Long(_) => text.parse::<i64>().map(Value::from).map_err(|_| wrong("Long")),
        Kind::Float(_) | Kind::Double(_) => {
            let number = text.parse().ok().and_then(Number::from_f64);
            number.map(Value::Number).ok_or_else(|| wrong("Double"))
        }
        Kind::Boolean => match text.as_ref() {
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err(wrong("Boolean")),
        },
        Kind::Timestamp(_) => timestamp::parse(&text).ok_or_else(|| wrong("Timestamp")),
        _ => Ok(Value::String(text.into_owned())),
    }
}

/// Text of a scalar in Value form; `default` is the location's format of timestamps.
pub(crate) fn text<'v>(
    service: &Service,
    id: ShapeId,
    member_format: Option<TimestampFormat>,
    default: TimestampFormat,
    value: &'v Value,
) -> Cow<'v, str> {
    if let Some(Kind::Timestamp(shape_format)) = service.shape(id).map(|shape| &shape.kind)
        && let Some(millis) = timestamp::millis(value)
    {
        let format = match member_format.unwrap_or(*shape_format) {
            TimestampFormat::Default => default,
            format => format,
        };
        return timestamp::write(millis, format).into();
    }
    match value {
        Value::String(text) => Cow::Borrowed(text),
        Value::Null => Cow::Borrowed(""),
        Value::Bool(true) => Cow::Borrowed("true"),
        Value::Bool(false) => Cow::Borrowed("false"),
        value => value.to_string().into(),
    }
}

/// Sets the headers that a structure's members give and returns the status they ask for.
pub(crate) fn write(
    service: &Service,
    structure: &Structure,
    fields: &Map<String, Value>,
    headers: &mut HeaderMap,
) -> Option<u16> {
    let mut status = None;
    for member in structure.members {
        if matches!(member.location, Location::Body | Location::Uri | Location::Query) {
            continue;
        }
        let Some(value) = fields.get(member.name).filter(|value| !value.is_null()) else { continue };
        match member.location {
            Location::StatusCode => status = value.as_u64().and_then(|code| u16::try_from(code).ok()),
            Location::Headers => {
                for (key, value) in value.as_object().into_iter().flatten() {
                    let name = format!("{}{key}", member.wire_name);
                    set(headers, &name, value.as_str().unwrap_or_default());
                }
            }
            _ => set(headers, member.wire_name, &header_text(service, member, value)),
        }
    }
    status
}

fn header_text<'v>(service: &Service, member: &Member, value: &'v Value) -> Cow<'v, str> {
    if let (Some(Kind::List { member: element, .. }), Value::Array(values)) =
        (service.shape(member.shape).map(|shape| &shape.kind), value)
    {
        let parts: Vec<String> = values
            .iter()
            .map(|value| {
                let text = text(service, *element, None, TimestampFormat::Rfc822, value);
                if text.contains(['"', ',']) && !is_timestamp(service, *element) {
                    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
                } else {
                    text.into_owned()
                }
            })
            .collect();
        return parts.join(", ").into();
    }
    text(service, member.shape, member.timestamp_format, TimestampFormat::Rfc822, value)
}

fn set(headers: &mut HeaderMap, name: &str, value: &str) {
    match (HeaderName::from_bytes(name.as_bytes()), HeaderValue::from_str(value)) {
        (Ok(name), Ok(value)) => {
            headers.insert(name, value);
        }
        _ => tracing::warn!(header = name, "answer holds a value that no header can carry; left out"),
    }
}

/// The blob behind a base64 text, for payload members that arrive in Value form.
pub(crate) fn blob(value: &Value) -> Vec<u8> {
    value.as_str().and_then(|text| STANDARD.decode(text).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_list_headers() {
        assert_eq!(split_list("a, b,,c", false), ["a", "b", "c"]);
        assert_eq!(split_list(r#""a,b", "c\"d" "#, false), ["a,b", "c\"d"]);
        let dates = "Mon, 23 Nov 2026 12:00:00 GMT, Tue, 24 Nov 2026 12:00:00 GMT";
        assert_eq!(split_list(dates, true).len(), 2);
    }
}
