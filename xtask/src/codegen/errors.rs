//! `errors.rs`: a constructor per modelled error; `values.rs`: constants of enum values.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::load::Shape;
use super::names;
use super::shapes::Source;

/// What the model says about an error, with the protocols' defaults where it is silent.
#[derive(Debug)]
pub(crate) struct ErrorFacts<'a> {
    pub(crate) code: &'a str,
    pub(crate) status: u16,
    pub(crate) sender_fault: bool,
}

/// Facts of the error shape `name`.
pub(crate) fn error_facts<'a>(name: &'a str, shape: &'a Shape) -> ErrorFacts<'a> {
    let model = shape.error.as_ref();
    let status = model.and_then(|error| error.http_status_code);
    let status = status.unwrap_or(if shape.fault { 500 } else { 400 });
    ErrorFacts {
        code: model.and_then(|error| error.code.as_deref()).unwrap_or(name),
        status,
        sender_fault: model
            .and_then(|error| error.sender_fault)
            .unwrap_or(!shape.fault && (400..500).contains(&status)),
    }
}

/// Renders `errors.rs`.
pub(crate) fn render_errors(source: &Source<'_>) -> String {
    let mut out = String::new();
    for key in source.ids.keys() {
        let Some(shape) = source.model.shapes.get(&key.name).filter(|shape| shape.exception) else {
            continue;
        };
        let facts = error_facts(&key.name, shape);
        let code = facts.code;
        let status = facts.status;
        let new = format!("AwsError::new({code:?}, {status}, message)");
        let body = if facts.sender_fault == (400..500).contains(&status) {
            new
        } else {
            format!("AwsError {{ sender_fault: {}, ..{new} }}", facts.sender_fault)
        };
        let function = names::identifier(&key.name);
        let _ = writeln!(out, "#[must_use]");
        let _ = writeln!(out, "pub fn {function}(message: impl Into<String>) -> AwsError {{ {body} }}\n");
    }
    if out.is_empty() { out } else { format!("use crate::error::AwsError;\n\n{out}") }
}

/// Renders `values.rs`: one module per enum that some operation uses.
pub(crate) fn render_values(source: &Source<'_>) -> String {
    let mut out = String::new();
    for key in source.ids.keys() {
        let Some(shape) = source.model.shapes.get(&key.name).filter(|shape| !shape.values.is_empty()) else {
            continue;
        };
        let _ = writeln!(out, "pub mod {} {{", names::identifier(&key.name));
        let mut taken = BTreeSet::new();
        for value in &shape.values {
            if let Some(name) = names::constant(value).filter(|name| taken.insert(name.clone())) {
                let _ = writeln!(out, "pub const {name}: &str = {value:?};");
            }
        }
        out.push_str("}\n\n");
    }
    out
}
