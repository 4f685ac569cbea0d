//! `types.rs`: structs for the inputs and outputs of operations and the structures within.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};

use super::load::{Shape, ShapeRef};
use super::names;
use super::shapes::Source;

/// Renders `types.rs`.
pub(crate) fn render(source: &Source<'_>) -> Result<String> {
    let mut body = String::new();
    for (shape_name, type_name) in source.typed_structures() {
        let shape = source.model.shape(shape_name)?;
        let text = structure(source, shape_name, type_name, shape);
        body.push_str(&text.with_context(|| format!("structure {shape_name}"))?);
    }
    let mut out = String::new();
    for (name, import) in [
        ("BTreeMap<", "use std::collections::BTreeMap;\n\n"),
        ("<Bytes>", "use bytes::Bytes;\n"),
        ("", "use serde::{Deserialize, Serialize};\n\n"),
        ("input!(", "use crate::dispatch::input;\n"),
        ("output!(", "use crate::dispatch::output;\n"),
        (" EventStream>", "use crate::handler::EventStream;\n"),
        (" Blob>", "use crate::types::Blob;\n"),
        (" Timestamp>", "use crate::types::Timestamp;\n"),
    ] {
        let mentioned = body.contains(name) || body.contains(&name.replace(' ', "<"));
        if mentioned {
            out.push_str(import);
        }
    }
    Ok(out + "\n" + &body)
}

fn structure(source: &Source<'_>, shape_name: &str, type_name: &str, shape: &Shape) -> Result<String> {
    let raw = source.raw_payload(shape)?;
    let events = source.events(shape)?;
    let mut out = String::new();
    let comparable = if events.is_none() { "Clone, Default, PartialEq" } else { "Default" };
    writeln!(out, "#[derive(Debug, {comparable}, Serialize, Deserialize)]")?;
    writeln!(out, "#[serde(default)]")?;
    writeln!(out, "pub struct {type_name} {{")?;
    let mut fields = BTreeSet::new();
    for (member, reference) in &shape.members {
        let field = names::identifier(member);
        ensure!(fields.insert(field.clone()), "two members are called {field} in Rust");
        if raw == Some(member) {
            writeln!(out, "#[serde(skip)]")?;
            writeln!(out, "pub {field}: Option<Bytes>,")?;
            continue;
        }
        if events == Some(member) {
            writeln!(out, "#[serde(skip)]")?;
            writeln!(out, "pub {field}: Option<EventStream>,")?;
            continue;
        }
        let rust = rust_type(source, reference)?;
        let rust = if source.needs_box(shape_name, &reference.shape) { format!("Box<{rust}>") } else { rust };
        writeln!(out, "#[serde(rename = {member:?}, skip_serializing_if = \"Option::is_none\")]")?;
        writeln!(out, "pub {field}: Option<{rust}>,")?;
    }
    writeln!(out, "}}\n")?;
    let payload = raw.map(|member| format!(", {}", names::identifier(member))).unwrap_or_default();
    if source.is_input(shape_name) {
        writeln!(out, "input!({type_name}{payload});\n")?;
    }
    if source.is_output(shape_name) {
        let events = events.map(|member| format!("; {}", names::identifier(member))).unwrap_or_default();
        writeln!(out, "output!({type_name}{payload}{events});\n")?;
    }
    Ok(out)
}

fn rust_type(source: &Source<'_>, reference: &ShapeRef) -> Result<String> {
    let shape = source.model.shape(&reference.shape)?;
    Ok(match shape.kind.as_str() {
        "structure" if shape.document => "serde_json::Value".to_owned(),
        "structure" => source.type_name(&reference.shape)?.to_owned(),
        "list" => {
            let member = shape.member.as_ref().context("a list without a member")?;
            format!("Vec<{}>", rust_type(source, member)?)
        }
        "map" => {
            let value = shape.value.as_ref().context("a map without a value")?;
            format!("BTreeMap<String, {}>", rust_type(source, value)?)
        }
        "string" | "character" => "String".to_owned(),
        "integer" => "i32".to_owned(),
        "long" => "i64".to_owned(),
        "float" => "f32".to_owned(),
        "double" => "f64".to_owned(),
        "boolean" => "bool".to_owned(),
        "blob" => "Blob".to_owned(),
        "timestamp" => "Timestamp".to_owned(),
        other => bail!("unknown type {other} of {}", reference.shape),
    })
}
