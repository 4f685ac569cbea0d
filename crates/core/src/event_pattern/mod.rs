//! Event patterns: JSON documents that say which events somebody wants, as EventBridge rules, filters of event
//! source mappings and subscription filters of messages have them.
//!
//! A pattern has the structure of the events it wants: each of its fields must match (and), by one of the values in
//! the field's array (or). Of an event's array any element will do; what a pattern asks of several fields of objects
//! in an array must be true of one and the same element. `$or` asks for one of several objects.
//!
//! [`Pattern::parse`] checks everything; [`Pattern::matches`] takes time in proportion to pattern times event.

mod operators;
mod parse;
#[cfg(test)]
mod tests;

use serde_json::Value;

use operators::Test;
pub use parse::PatternError;

/// Which operators a pattern may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// All of them, as rules of event buses.
    EventBus,
    /// Those of filters of event source mappings: no `wildcard`, no `cidr`, and `anything-but` takes values only.
    EventSource,
}

/// A pattern that has been checked and is ready to be compared with events.
#[derive(Debug, Clone, PartialEq)]
pub struct Pattern {
    root: Fields,
    /// Paths of the fields that may be absent; [`Leaf::absent`] is a place in this list.
    absences: Vec<Vec<String>>,
}

/// What a pattern asks of an object.
#[derive(Debug, Clone, Default, PartialEq)]
struct Fields {
    /// All of these.
    all: Vec<(String, Node)>,
    /// Of each of these one: the objects of a `$or`.
    one_of_each: Vec<Vec<Fields>>,
}

#[derive(Debug, Clone, PartialEq)]
enum Node {
    Object(Fields),
    Leaf(Leaf),
}

/// What a pattern asks of a value: one of the tests.
#[derive(Debug, Clone, Default, PartialEq)]
struct Leaf {
    tests: Vec<Test>,
    /// Set where the field may be absent too.
    absent: Option<usize>,
}

impl Pattern {
    /// Reads a pattern.
    ///
    /// # Errors
    /// What is wrong with it, in AWS's words where AWS has some.
    pub fn parse(text: &str, dialect: Dialect) -> Result<Self, PatternError> {
        parse::parse(text, dialect)
    }

    /// Whether an event is as the pattern wants it.
    #[must_use]
    pub fn matches(&self, event: &Value) -> bool {
        let is_absent: Vec<bool> = self.absences.iter().map(|path| !has_leaf(event, path)).collect();
        fields_match(&self.root, Some(event), &is_absent)
    }
}

fn fields_match(fields: &Fields, value: Option<&Value>, is_absent: &[bool]) -> bool {
    let object = match value {
        Some(Value::Array(elements)) if !elements.is_empty() => {
            return elements.iter().any(|element| fields_match(fields, Some(element), is_absent));
        }
        Some(Value::Object(object)) => Some(object),
        // What is no object has none of the fields, and that may be what is wanted.
        _ => None,
    };
    fields.all.iter().all(|(name, node)| {
        let value = object.and_then(|object| object.get(name));
        match node {
            Node::Object(fields) => fields_match(fields, value, is_absent),
            Node::Leaf(leaf) => leaf_matches(leaf, value, is_absent),
        }
    }) && fields
        .one_of_each
        .iter()
        .all(|choices| choices.iter().any(|fields| fields_match(fields, value, is_absent)))
}

fn leaf_matches(leaf: &Leaf, value: Option<&Value>, is_absent: &[bool]) -> bool {
    let may_be_absent = leaf.absent.and_then(|place| is_absent.get(place)).copied().unwrap_or_default();
    may_be_absent
        || value.is_some_and(|value| {
            any_scalar(value, &|scalar| leaf.tests.iter().any(|test| test.passes(scalar)))
        })
}

/// Whether some value that is neither object nor array is at a path; absence is of the event as a whole, whatever
/// element of an array is looked at.
fn has_leaf(value: &Value, path: &[String]) -> bool {
    match (value, path) {
        (_, []) => any_scalar(value, &|_| true),
        (Value::Array(elements), _) => elements.iter().any(|element| has_leaf(element, path)),
        (Value::Object(object), [name, rest @ ..]) => {
            object.get(name).is_some_and(|value| has_leaf(value, rest))
        }
        _ => false,
    }
}

/// Whether a value, or an element of it if it is an array, is no object and passes.
fn any_scalar(value: &Value, passes: &impl Fn(&Value) -> bool) -> bool {
    match value {
        Value::Object(_) => false,
        Value::Array(elements) => elements.iter().any(|element| any_scalar(element, passes)),
        scalar => passes(scalar),
    }
}
