//! Checks an input against the model's constraints and words all violations as AWS does.
//!
//! Two kinds of refusal exist, in AWS's order. A value of the wrong JSON type is a
//! `SerializationException` and ends the walk: the service could not even read the request. Constraints
//! are then checked everywhere and reported together: "2 validation errors detected: Value '' at
//! 'functionName' failed to satisfy constraint: Member must have length greater than or equal to 1; ...".
//!
//! AWS reports what it finds in a list or map of plain values at the list or map itself, naming every
//! constraint of the elements; only structures inside are descended into (`logEvents.1.member.timestamp`).

mod display;
mod pattern;

use serde_json::{Map, Number, Value};

use crate::error::AwsError;
use crate::schema::{Kind, Member, Service, Shape, ShapeId, Structure};

use display::{Path, Printed};

/// Validates an input in Value form against the shape of an operation's input; null counts as an empty
/// structure. A payload that travels beside the members is not looked at.
///
/// # Errors
/// `SerializationException` for a wrong JSON type, else the service's own code for constraint violations,
/// both with status 400.
pub fn validate(service: &Service, shape: ShapeId, value: &Value) -> Result<(), AwsError> {
    let empty = Map::new();
    let members = match value {
        Value::Null => &empty,
        Value::Object(members) => members,
        other => return Err(unreadable(other, service.shape(shape))),
    };
    let Some(structure) = service.structure(shape) else {
        return Ok(());
    };
    let mut walk = Walk { service, violations: Vec::new(), unknown_runtime: None };
    walk.structure(structure, members, &Path::Root, false)?;
    walk.finish()
}

/// Code that a service answers constraint violations with.
#[must_use]
pub fn violation_code(service: &str) -> &'static str {
    match service {
        "logs" => "InvalidParameterException",
        "sts" | "iam" | "cloudwatch" | "sns" => "ValidationError",
        _ => "ValidationException",
    }
}

struct Walk<'a> {
    service: &'a Service,
    violations: Vec<String>,
    /// Lambda checks `Runtime` itself, after the model, with a text and code of its own.
    unknown_runtime: Option<String>,
}

impl Walk<'_> {
    fn finish(self) -> Result<(), AwsError> {
        let count = self.violations.len();
        if count == 0 {
            return match self.unknown_runtime {
                Some(message) => Err(AwsError::new("InvalidParameterValueException", 400, message)),
                None => Ok(()),
            };
        }
        let errors = if count == 1 { "error" } else { "errors" };
        let list = self.violations.join("; ");
        let message = format!("{count} validation {errors} detected: {list}");
        Err(AwsError::new(violation_code(self.service.name), 400, message))
    }

    fn structure(
        &mut self,
        structure: &'static Structure,
        members: &Map<String, Value>,
        path: &Path<'_>,
        hidden: bool,
    ) -> Result<(), AwsError> {
        for member in structure.members {
            if travels_raw(self.service, structure, member) {
                continue;
            }
            let hidden = hidden || member.sensitive;
            let path = Path::Member(path, member.name);
            match members.get(member.name) {
                None | Some(Value::Null) if member.required => {
                    self.report(&path, None, "Member must not be null");
                }
                None | Some(Value::Null) => {}
                Some(value) => {
                    self.direct(member.shape, value, &path, hidden)?;
                    self.inside(member.shape, value, &path, hidden)?;
                }
            }
        }
        Ok(())
    }

    /// Reports the constraints of a value that it fails itself.
    fn direct(&mut self, id: ShapeId, value: &Value, path: &Path<'_>, hidden: bool) -> Result<(), AwsError> {
        let Some(shape) = self.service.shape(id) else {
            return Ok(());
        };
        let mut failed = Vec::new();
        for constraint in constraints(shape) {
            if !constraint.holds(shape, value)? {
                failed.push(constraint);
            }
        }
        // AWS names a failed pattern before a failed length.
        failed.sort_by_key(|constraint| !matches!(constraint, Constraint::Pattern(_)));
        for constraint in failed {
            let text = constraint.text();
            if self.service.name == "lambda"
                && shape.name == "Runtime"
                && matches!(path, Path::Member(Path::Root, _))
            {
                let value = value.as_str().unwrap_or_default();
                let message = format!(
                    "Value {value} at 'runtime' failed to satisfy constraint: {text} or be a valid ARN"
                );
                self.unknown_runtime = Some(message);
                continue;
            }
            let printed = Printed { service: self.service, shape: id, value };
            self.report(path, Some((printed, hidden)), &text);
        }
        Ok(())
    }

    /// Walks into a structure, list or map, and checks the type of anything else.
    fn inside(&mut self, id: ShapeId, value: &Value, path: &Path<'_>, hidden: bool) -> Result<(), AwsError> {
        let Some(shape) = self.service.shape(id) else {
            return Ok(());
        };
        let container = Printed { service: self.service, shape: id, value };
        match (&shape.kind, value) {
            (Kind::Structure(structure), Value::Object(members)) => {
                self.structure(structure, members, path, hidden)
            }
            (Kind::List { member, .. }, Value::Array(elements)) => {
                self.elements(*member, elements.iter(), "Member", container, path, hidden)?;
                for (index, element) in elements.iter().enumerate().filter(|(_, element)| !element.is_null())
                {
                    self.inside(*member, element, &Path::Element(path, index + 1), hidden)?;
                }
                Ok(())
            }
            (Kind::Map { key, value: member, .. }, Value::Object(entries)) => {
                let keys: Vec<Value> = entries.keys().cloned().map(Value::String).collect();
                self.elements(*key, keys.iter(), "Map keys", container, path, hidden)?;
                self.elements(*member, entries.values(), "Map value", container, path, hidden)?;
                for (key, element) in entries.iter().filter(|(_, element)| !element.is_null()) {
                    self.inside(*member, element, &Path::Entry(path, key), hidden)?;
                }
                Ok(())
            }
            (Kind::String { .. } | Kind::Blob { .. }, Value::String(_))
            | (Kind::Boolean, Value::Bool(_))
            | (Kind::Timestamp(_) | Kind::Float(_) | Kind::Double(_), Value::Number(_))
            | (Kind::Document, _) => Ok(()),
            (Kind::Integer(_), Value::Number(number)) if is_i32(number) => Ok(()),
            (Kind::Long(_), Value::Number(number)) if number.is_i64() => Ok(()),
            (_, other) => Err(unreadable(other, Some(shape))),
        }
    }

    /// Reports once, at the container, if any element fails a constraint of the element shape.
    fn elements<'v>(
        &mut self,
        id: ShapeId,
        mut elements: impl Iterator<Item = &'v Value>,
        what: &str,
        container: Printed<'_>,
        path: &Path<'_>,
        hidden: bool,
    ) -> Result<(), AwsError> {
        let Some(shape) = self.service.shape(id) else {
            return Ok(());
        };
        let in_list = what == "Member";
        let mut null = false;
        let mut failed = false;
        elements.try_for_each(|element| {
            null |= element.is_null();
            failed |= element.is_null();
            for constraint in constraints(shape).filter(|_| !element.is_null()) {
                failed |= !constraint.holds(shape, element)?;
            }
            Ok::<(), AwsError>(())
        })?;
        if failed {
            let mut texts: Vec<String> = constraints(shape).map(|constraint| constraint.text()).collect();
            if in_list || null {
                texts.push("Member must not be null".to_owned());
            }
            let text = format!("{what} must satisfy constraint: [{}]", texts.join(", "));
            self.report(path, Some((container, hidden)), &text);
        }
        Ok(())
    }

    fn report(&mut self, path: &Path<'_>, value: Option<(Printed<'_>, bool)>, constraint: &str) {
        let value = match value {
            None => "Value null".to_owned(),
            Some((_, true)) => "Value".to_owned(),
            Some((value, false)) => format!("Value '{value}'"),
        };
        self.violations.push(format!("{value} at '{path}' failed to satisfy constraint: {constraint}"));
    }
}

/// Whether a member is carried beside the others as raw bytes.
fn travels_raw(service: &Service, structure: &Structure, member: &Member) -> bool {
    match service.shape(member.shape).map(|shape| &shape.kind) {
        Some(Kind::Blob { .. }) => structure.payload == member.name,
        Some(Kind::Structure(inner)) => inner.event_stream,
        _ => false,
    }
}

/// One constraint of a shape.
enum Constraint {
    MaxLength(i64),
    MinLength(i64),
    Pattern(&'static str),
    Values(&'static [&'static str]),
    MaxValue(i64),
    MinValue(i64),
}

/// A shape's constraints in the order in which AWS lists them.
fn constraints(shape: &'static Shape) -> impl Iterator<Item = Constraint> {
    let all = match &shape.kind {
        Kind::String { len, pattern, values } => [
            len.max.map(Constraint::MaxLength),
            len.min.map(Constraint::MinLength),
            pattern.map(Constraint::Pattern),
            (!values.is_empty()).then_some(Constraint::Values(values)),
        ],
        Kind::List { len, .. } | Kind::Map { len, .. } | Kind::Blob { len, .. } => {
            [len.max.map(Constraint::MaxLength), len.min.map(Constraint::MinLength), None, None]
        }
        Kind::Integer(bounds) | Kind::Long(bounds) | Kind::Float(bounds) | Kind::Double(bounds) => {
            [bounds.max.map(Constraint::MaxValue), bounds.min.map(Constraint::MinValue), None, None]
        }
        Kind::Structure(_) | Kind::Boolean | Kind::Timestamp(_) | Kind::Document => [const { None }; 4],
    };
    all.into_iter().flatten()
}

impl Constraint {
    fn text(&self) -> String {
        match self {
            Self::MaxLength(max) => format!("Member must have length less than or equal to {max}"),
            Self::MinLength(min) => format!("Member must have length greater than or equal to {min}"),
            Self::Pattern(pattern) => format!("Member must satisfy regular expression pattern: {pattern}"),
            Self::Values(values) => format!("Member must satisfy enum value set: [{}]", values.join(", ")),
            Self::MaxValue(max) => format!("Member must have value less than or equal to {max}"),
            Self::MinValue(min) => format!("Member must have value greater than or equal to {min}"),
        }
    }

    fn holds(&self, shape: &'static Shape, value: &Value) -> Result<bool, AwsError> {
        let unreadable = || unreadable(value, Some(shape));
        Ok(match self {
            Self::MaxLength(max) => length(shape, value).ok_or_else(unreadable)? <= *max,
            Self::MinLength(min) => length(shape, value).ok_or_else(unreadable)? >= *min,
            Self::Pattern(pattern) => pattern::matches(pattern, value.as_str().ok_or_else(unreadable)?),
            Self::Values(values) => values.contains(&value.as_str().ok_or_else(unreadable)?),
            Self::MaxValue(max) => {
                let number = value.as_number().ok_or_else(unreadable)?;
                number.as_i64().map_or_else(|| number.as_f64() <= Some(*max as f64), |n| n <= *max)
            }
            Self::MinValue(min) => {
                let number = value.as_number().ok_or_else(unreadable)?;
                number.as_i64().map_or_else(|| number.as_f64() >= Some(*min as f64), |n| n >= *min)
            }
        })
    }
}

/// Length in AWS's sense: characters of a string, bytes of a blob, elements of a list or map.
fn length(shape: &Shape, value: &Value) -> Option<i64> {
    let length = match (&shape.kind, value) {
        (Kind::Blob { .. }, Value::String(text)) => blob_length(text),
        (Kind::String { .. }, Value::String(text)) => text.chars().count(),
        (Kind::List { .. }, Value::Array(elements)) => elements.len(),
        (Kind::Map { .. }, Value::Object(entries)) => entries.len(),
        _ => return None,
    };
    i64::try_from(length).ok()
}

/// Bytes that a base64 text stands for; blobs can be large, so nothing is decoded for this.
fn blob_length(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

fn is_i32(number: &Number) -> bool {
    number.as_i64().is_some_and(|number| i32::try_from(number).is_ok())
}

/// The refusal of a value whose JSON type does not fit a shape.
fn unreadable(value: &Value, shape: Option<&Shape>) -> AwsError {
    let wanted = match shape.map(|shape| &shape.kind) {
        Some(Kind::String { .. }) => "a String",
        Some(Kind::Integer(_)) => "an Integer",
        Some(Kind::Long(_)) => "a Long",
        Some(Kind::Float(_)) => "a Float",
        Some(Kind::Double(_)) => "a Double",
        Some(Kind::Boolean) => "a Boolean",
        Some(Kind::Blob { .. }) => "a Blob",
        Some(Kind::Timestamp(_)) => "milliseconds since epoch",
        Some(Kind::List { .. }) => "a list",
        Some(Kind::Map { .. }) => "a map",
        Some(Kind::Structure(_) | Kind::Document) | None => "a structure",
    };
    let message = match value {
        Value::Object(_) => "Start of structure or map found where not expected".to_owned(),
        Value::Array(_) => "Start of list found where not expected".to_owned(),
        scalar => match wanted {
            "a list" => "Expected list or null".to_owned(),
            "a map" => "Expected map or null".to_owned(),
            "a structure" => "Expected null".to_owned(),
            wanted => format!("{} can not be converted to {wanted}", token(scalar)),
        },
    };
    AwsError::new("SerializationException", 400, message)
}

fn token(scalar: &Value) -> &'static str {
    match scalar {
        Value::String(_) => "STRING_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Null | Value::Array(_) | Value::Object(_) => "NULL_VALUE",
    }
}

#[cfg(test)]
mod generated_inputs;
#[cfg(test)]
mod tests;
