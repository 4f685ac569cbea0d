//! `schema.rs`: the static description of a service.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use anyhow::{Context as _, Result, bail, ensure};

use super::errors::error_facts;
use super::load::{Operation, Shape, ShapeRef, XmlNamespace};
use super::shapes::{ShapeKey, Source};

/// Renders `schema.rs`.
pub(crate) fn render(source: &Source<'_>) -> Result<String> {
    let mut shapes = String::new();
    let mut ids = String::new();
    for (id, key) in source.ids.keys().enumerate() {
        let shape = shape(source, key).with_context(|| format!("shape {}", key.name))?;
        writeln!(shapes, "#[rustfmt::skip]\nconst S{id}: Shape = {shape};")?;
        write!(ids, "S{id}, ")?;
    }
    let mut operations = String::new();
    for (name, facts) in &source.model.operations {
        writeln!(operations, "    {},", operation(source, name, facts).with_context(|| name.clone())?)?;
    }
    let metadata = &source.model.metadata;
    let namespace = match &metadata.xml_namespace {
        Some(XmlNamespace::Plain(uri) | XmlNamespace::Uri { uri }) => uri,
        None => "",
    };
    let body = format!(
        "pub static SERVICE: Service = Service {{
            name: {name:?},
            signing_name: {signing:?},
            api_version: {version:?},
            protocols: &[{protocols}],
            target_prefix: {target:?},
            xml_namespace: {namespace:?},
            query_compatible: {query_compatible},
            shapes: SHAPES,
            operations: OPERATIONS,
        }};

        // A constant a shape, because rustc's time grows with the square of the calls in a constant.\n{shapes}
        #[rustfmt::skip]\nstatic SHAPES: &[Shape] = &[{ids}];

        #[rustfmt::skip] // one line an operation\nstatic OPERATIONS: &[Operation] = &[\n{operations}];
        ",
        name = source.entry.name,
        signing = metadata.signing_name.as_ref().unwrap_or(&metadata.endpoint_prefix),
        version = metadata.api_version,
        protocols = protocols(source)?,
        target = metadata.target_prefix,
        query_compatible = metadata.aws_query_compatible.is_some(),
    );
    Ok(imports(&body) + &body)
}

/// `use` lines for those names that the body mentions.
fn imports(body: &str) -> String {
    let mentions = |name: &&&str| {
        body.match_indices(**name).any(|(at, _)| {
            let boundary = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric() && c != '_' && c != '.');
            let before = body.get(..at).and_then(|text| text.chars().next_back());
            let after = body.get(at + name.len()..).and_then(|text| text.chars().next());
            boundary(before) && matches!(after, Some('(' | ':'))
        })
    };
    let builders = [
        "blob",
        "boolean",
        "document",
        "double",
        "float",
        "integer",
        "list",
        "long",
        "map",
        "member",
        "string",
        "structure",
        "timestamp",
    ];
    let enums = ["Location", "Protocol", "TimestampFormat"];
    let builders: Vec<&str> = builders.iter().filter(mentions).copied().collect();
    let enums: Vec<&str> = enums.iter().filter(mentions).copied().collect();
    format!(
        "use crate::build::{{{}}};\nuse crate::schema::{{Operation, Service, Shape, {}}};\n\n",
        builders.join(", "),
        enums.join(", ")
    )
}

fn protocols(source: &Source<'_>) -> Result<String> {
    let metadata = &source.model.metadata;
    let mut names: Vec<&str> = metadata.protocols.iter().map(String::as_str).collect();
    if names.is_empty() {
        names.push(&metadata.protocol);
    }
    let mut out = Vec::new();
    for name in names {
        out.push(match (name, metadata.json_version.as_deref()) {
            ("rest-json", _) => "Protocol::RestJson",
            ("json", None | Some("1.0")) => "Protocol::Json10",
            ("json", Some("1.1")) => "Protocol::Json11",
            ("query", _) => "Protocol::Query",
            ("ec2", _) => "Protocol::Ec2",
            ("rest-xml", _) => "Protocol::RestXml",
            ("smithy-rpc-v2-cbor", _) => "Protocol::RpcV2Cbor",
            (other, version) => bail!("unknown protocol {other} {version:?}"),
        });
    }
    Ok(out.join(", "))
}

fn operation(source: &Source<'_>, name: &str, facts: &Operation) -> Result<String> {
    let id = |reference: &Option<ShapeRef>| match reference {
        Some(reference) => source.id(reference).map(|id| format!("Some({id})")),
        None => Ok("None".to_owned()),
    };
    let wrapper = facts.output.as_ref().and_then(|output| output.result_wrapper.as_deref()).unwrap_or("");
    let errors = facts.errors.iter().map(|error| Ok(source.id(error)?.to_string()));
    Ok(format!(
        "Operation {{ name: {name:?}, method: {:?}, uri: {:?}, status: {}, input: {}, output: {}, \
         result_wrapper: {wrapper:?}, errors: &[{}], unsigned: {} }}",
        facts.http.method,
        facts.http.request_uri,
        facts.http.response_code.unwrap_or(200),
        id(&facts.input)?,
        id(&facts.output)?,
        errors.collect::<Result<Vec<_>>>()?.join(", "),
        facts.authtype.as_deref() == Some("none"),
    ))
}

fn shape(source: &Source<'_>, key: &ShapeKey) -> Result<String> {
    let name = &key.name;
    let shape = source.model.shape(name)?;
    let mut out = match shape.kind.as_str() {
        "structure" if shape.document => format!("document({name:?})"),
        "structure" => structure(source, name, shape)?,
        "list" => {
            let member = shape.member.as_ref().context("a list without a member")?;
            let element = setter("element", member.location_name.as_deref());
            format!("list({name:?}, {}){element}", source.id(member)?)
        }
        "map" => {
            let key = shape.key.as_ref().context("a map without a key")?;
            let value = shape.value.as_ref().context("a map without a value")?;
            let entry = match (&key.location_name, &value.location_name) {
                (None, None) => String::new(),
                (k, v) => {
                    format!(
                        ".entry({:?}, {:?})",
                        k.as_deref().unwrap_or_default(),
                        v.as_deref().unwrap_or_default()
                    )
                }
            };
            format!("map({name:?}, {}, {}){entry}", source.id(key)?, source.id(value)?)
        }
        "string" | "character" => {
            let mut out = format!("string({name:?}){}", setter("pattern", shape.pattern.as_deref()));
            if !shape.values.is_empty() {
                write!(out, ".values(&{:?})", shape.values)?;
            }
            out
        }
        "timestamp" => {
            let format = shape.timestamp_format.as_deref().map(timestamp_format).transpose()?;
            let format = format.map(|format| format!(".format({format})")).unwrap_or_default();
            format!("timestamp({name:?}){format}")
        }
        "blob" => {
            let streaming = if shape.streaming || key.streaming { ".streaming()" } else { "" };
            format!("blob({name:?}){streaming}")
        }
        kind @ ("integer" | "long" | "float" | "double" | "boolean") => format!("{kind}({name:?})"),
        other => bail!("unknown type {other}"),
    };
    if matches!(shape.kind.as_str(), "list" | "map") && (shape.flattened || key.flattened) {
        out.push_str(".flat()");
    }
    // A fractional bound (some floats have one) is widened to the next integer: bounds are 64-bit integers.
    for (setter, bound) in [("min", shape.min.map(f64::floor)), ("max", shape.max.map(f64::ceil))] {
        if let Some(bound) = bound {
            // Beyond 2^53 the number was rounded when it was read, so it bounds nothing exactly.
            ensure!(bound.abs() <= 9_007_199_254_740_992.0, "the bound {bound} is too large");
            write!(out, ".{setter}({bound:.0})")?;
        }
    }
    Ok(out)
}

fn structure(source: &Source<'_>, name: &str, shape: &Shape) -> Result<String> {
    let mut members = Vec::new();
    for (member_name, reference) in &shape.members {
        let member = member(source, shape, member_name, reference);
        members.push(member.with_context(|| format!("member {member_name}"))?);
    }
    let mut out = format!("structure({name:?}, &[{}])", members.join(", "));
    out.push_str(&setter("payload", shape.payload.as_deref()));
    if shape.exception {
        let facts = error_facts(name, shape);
        let code = if facts.code == name { "" } else { facts.code };
        write!(out, ".error({}, {code:?}, {})", facts.status, facts.sender_fault)?;
    }
    if shape.eventstream {
        out.push_str(".event_stream()");
    }
    if shape.union {
        out.push_str(".union()");
    }
    Ok(out)
}

fn member(source: &Source<'_>, structure: &Shape, name: &str, reference: &ShapeRef) -> Result<String> {
    let mut out = format!("member({name:?}, {})", source.id(reference)?);
    if let Some(location) = &reference.location {
        let location = match location.as_str() {
            "uri" => "Uri",
            "querystring" => "Query",
            "header" => "Header",
            "headers" => "Headers",
            "statusCode" => "StatusCode",
            other => bail!("unknown location {other}"),
        };
        write!(out, ".at(Location::{location})")?;
    }
    out.push_str(&setter("named", reference.location_name.as_deref().filter(|wire| *wire != name)));
    out.push_str(&setter("query_name", reference.query_name.as_deref()));
    if structure.required.iter().any(|required| required == name) {
        out.push_str(".required()");
    }
    if is_sensitive(source, reference)? {
        out.push_str(".sensitive()");
    }
    if let Some(format) = &reference.timestamp_format {
        write!(out, ".format({})", timestamp_format(format)?)?;
    }
    Ok(out)
}

/// Whether a value, or the elements of a list or map, must never be logged.
fn is_sensitive(source: &Source<'_>, reference: &ShapeRef) -> Result<bool> {
    let mut open = vec![reference];
    let mut seen = BTreeSet::new();
    while let Some(reference) = open.pop() {
        let shape = source.model.shape(&reference.shape)?;
        if reference.sensitive || shape.sensitive {
            return Ok(true);
        }
        if seen.insert(&reference.shape) {
            open.extend(shape.member.iter().chain(&shape.key).chain(&shape.value));
        }
    }
    Ok(false)
}

fn setter(name: &str, value: Option<&str>) -> String {
    value.map(|value| format!(".{name}({value:?})")).unwrap_or_default()
}

fn timestamp_format(name: &str) -> Result<&'static str> {
    Ok(match name {
        "iso8601" => "TimestampFormat::Iso8601",
        "unixTimestamp" => "TimestampFormat::UnixTimestamp",
        "rfc822" => "TimestampFormat::Rfc822",
        other => bail!("unknown timestamp format {other}"),
    })
}
