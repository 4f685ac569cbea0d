//! How AWS prints a refused value and the place where it was found: as Java prints objects.

use std::fmt::{self, Display, Formatter};

use serde_json::Value;

use crate::schema::{Kind, Service, ShapeId};

use super::blob_length;

/// A value as Java's `toString` gives it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Printed<'a> {
    pub(super) service: &'a Service,
    pub(super) shape: ShapeId,
    pub(super) value: &'a Value,
}

impl Display for Printed<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let Some(shape) = self.service.shape(self.shape) else {
            return write!(f, "{}", self.value);
        };
        match (&shape.kind, self.value) {
            (_, Value::Null) => f.write_str("null"),
            (Kind::Blob { .. }, Value::String(text)) => {
                let length = blob_length(text);
                write!(f, "java.nio.HeapByteBuffer[pos=0 lim={length} cap={length}]")
            }
            (_, Value::String(text)) => f.write_str(text),
            (Kind::List { member, .. }, Value::Array(elements)) => {
                let elements = elements.iter().map(|value| Printed { shape: *member, value, ..*self });
                joined(f, "[", elements, "]")
            }
            (Kind::Map { value: shape, .. }, Value::Object(entries)) => {
                let entries = entries
                    .iter()
                    .map(|(key, value)| format!("{key}={}", Printed { shape: *shape, value, ..*self }));
                joined(f, "{", entries, "}")
            }
            (Kind::Structure(structure), Value::Object(members)) => {
                let members = structure.members.iter().filter_map(|member| {
                    let value = members.get(member.name)?;
                    let name = lower_first(member.name);
                    if member.sensitive {
                        return Some(format!("{name}=***"));
                    }
                    Some(format!("{name}={}", Printed { shape: member.shape, value, ..*self }))
                });
                joined(f, &format!("{}(", shape.name), members, ")")
            }
            (_, value) => write!(f, "{value}"),
        }
    }
}

fn joined<T: Display>(
    f: &mut Formatter<'_>,
    open: &str,
    parts: impl Iterator<Item = T>,
    close: &str,
) -> fmt::Result {
    f.write_str(open)?;
    for (index, part) in parts.enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        write!(f, "{comma}{part}")?;
    }
    f.write_str(close)
}

/// `FunctionName` -> `functionName`, `KMSKeyArn` -> `kMSKeyArn`: only the first letter changes.
fn lower_first(name: &str) -> String {
    let mut chars = name.chars();
    chars.next().map(|first| first.to_ascii_lowercase()).into_iter().chain(chars).collect()
}

/// Where a value stands in the input, kept as a chain because almost no input is ever reported.
#[derive(Debug, Clone, Copy)]
pub(super) enum Path<'a> {
    /// The input itself.
    Root,
    /// A member of a structure.
    Member(&'a Path<'a>, &'static str),
    /// An element of a list, counted from 1.
    Element(&'a Path<'a>, usize),
    /// A value of a map.
    Entry(&'a Path<'a>, &'a str),
}

impl Display for Path<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Path::Root => Ok(()),
            Path::Member(Path::Root, name) => f.write_str(&lower_first(name)),
            Path::Member(parent, name) => write!(f, "{parent}.{}", lower_first(name)),
            Path::Element(parent, number) => write!(f, "{parent}.{number}.member"),
            Path::Entry(parent, key) => write!(f, "{parent}.{key}.member"),
        }
    }
}
