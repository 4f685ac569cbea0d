//! XML by schema: a writer for answers and a small tree for requests.

use lambkin_model::schema::{Kind, Member, Service, ShapeId, Structure, TimestampFormat};
use quick_xml::Reader;
use quick_xml::events::Event;
use serde_json::{Map, Value};

use super::bindings;

/// Deepest nesting of a request's elements.
const MAX_DEPTH: usize = 64;

/// Appends text with everything escaped that XML does not take as it is.
pub(crate) fn push_text(out: &mut String, text: &str) {
    for c in text.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\n' | '\t' => out.push(c),
            c if u32::from(c) < 0x20 || c == '\u{85}' || c == '\u{2028}' => {
                out.push_str(&format!("&#x{:x};", u32::from(c)));
            }
            c => out.push(c),
        }
    }
}

/// Appends `<name>text</name>`.
pub(crate) fn push_element(out: &mut String, name: &str, text: &str) {
    open(out, name);
    push_text(out, text);
    close(out, name);
}

pub(crate) fn open(out: &mut String, name: &str) {
    out.push('<');
    out.push_str(name);
    out.push('>');
}

pub(crate) fn close(out: &mut String, name: &str) {
    out.push_str("</");
    // A name may come with attributes.
    out.push_str(name.split(' ').next().unwrap_or(name));
    out.push('>');
}

/// Writes the members of a structure that `body_member` takes.
pub(crate) fn write_structure(
    out: &mut String,
    service: &Service,
    structure: &Structure,
    fields: &Map<String, Value>,
    body_member: impl Fn(&Member) -> bool,
) {
    for member in structure.members.iter().filter(|member| body_member(member)) {
        let Some(value) = fields.get(member.name).filter(|value| !value.is_null()) else { continue };
        write(out, service, member.wire_name, member.shape, member.timestamp_format, value);
    }
}

/// Writes one value as an element (several, where it is flattened).
pub(crate) fn write(
    out: &mut String,
    service: &Service,
    name: &str,
    id: ShapeId,
    format: Option<TimestampFormat>,
    value: &Value,
) {
    match (service.shape(id).map(|shape| &shape.kind), value) {
        (Some(Kind::Structure(structure)), Value::Object(fields)) => {
            open(out, name);
            write_structure(out, service, structure, fields, |_| true);
            close(out, name);
        }
        (Some(Kind::List { member, location_name, flattened, .. }), Value::Array(values)) => {
            let item = match (location_name.is_empty(), flattened) {
                (false, _) => location_name,
                (true, true) => name,
                (true, false) => "member",
            };
            if !flattened {
                open(out, name);
            }
            for value in values {
                write(out, service, item, *member, None, value);
            }
            if !flattened {
                close(out, name);
            }
        }
        (
            Some(Kind::Map { key, value: value_id, key_name, value_name, flattened, .. }),
            Value::Object(entries),
        ) => {
            let entry = if *flattened { name } else { "entry" };
            if !flattened {
                open(out, name);
            }
            for (text, value) in entries {
                open(out, entry);
                write(out, service, or(key_name, "key"), *key, None, &Value::String(text.clone()));
                write(out, service, or(value_name, "value"), *value_id, None, value);
                close(out, entry);
            }
            if !flattened {
                close(out, name);
            }
        }
        (_, value) => {
            push_element(out, name, &bindings::text(service, id, format, TimestampFormat::Iso8601, value));
        }
    }
}

pub(crate) fn or<'a>(name: &'a str, default: &'a str) -> &'a str {
    if name.is_empty() { default } else { name }
}

/// An element of a request.
#[derive(Debug, Default)]
pub(crate) struct Element {
    pub(crate) name: String,
    pub(crate) text: String,
    pub(crate) children: Vec<Element>,
}

/// Parses a document to its root element; names lose their prefixes. Document types are refused, so that
/// no entity can be declared.
pub(crate) fn parse(body: &[u8]) -> Result<Element, String> {
    let text = std::str::from_utf8(body).map_err(|error| error.to_string())?;
    let mut reader = Reader::from_str(text);
    let mut stack: Vec<Element> = Vec::new();
    loop {
        let finished = match reader.read_event().map_err(|error| error.to_string())? {
            Event::Start(start) => {
                if stack.len() >= MAX_DEPTH {
                    return Err("too many nested elements".to_owned());
                }
                stack.push(element(start.local_name().as_ref()));
                None
            }
            Event::Empty(start) => Some(element(start.local_name().as_ref())),
            Event::End(_) => stack.pop(),
            Event::Text(text) => {
                if let Some(top) = stack.last_mut() {
                    top.text.push_str(&text.xml10_content());
                }
                None
            }
            Event::CData(data) => {
                if let Some(top) = stack.last_mut() {
                    top.text.push_str(&data.xml10_content());
                }
                None
            }
            Event::GeneralRef(reference) => {
                let c = reference.resolve_char_ref().map_err(|error| error.to_string())?;
                let c = match c {
                    Some(c) => c,
                    None => match reference.as_ref() {
                        "lt" => '<',
                        "gt" => '>',
                        "amp" => '&',
                        "quot" => '"',
                        "apos" => '\'',
                        _ => return Err("unknown entity".to_owned()),
                    },
                };
                if let Some(top) = stack.last_mut() {
                    top.text.push(c);
                }
                None
            }
            Event::DocType(_) => return Err("a document type is not allowed".to_owned()),
            Event::Eof => return Err("no root element".to_owned()),
            _ => None,
        };
        if let Some(element) = finished {
            match stack.last_mut() {
                Some(parent) => parent.children.push(element),
                None => return Ok(element),
            }
        }
    }
}

fn element(name: &str) -> Element {
    Element { name: name.to_owned(), ..Element::default() }
}
