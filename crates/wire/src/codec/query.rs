//! The query protocol (a form in, XML out) and EC2's variant of it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use http::{Response, StatusCode};
use http_body_util::Full;
use lambkin_model::schema::{Kind, Member, Operation, Service, ShapeId, Structure};
use lambkin_model::{AwsError, Input, Output};
use serde_json::{Map, Value};

use super::{Fault, Request, bindings, response, success, xml};
use crate::uri;

const XML: &str = "text/xml";
/// Deepest nesting of parameters; a model that contains itself could else be followed without end.
const MAX_DEPTH: usize = 32;

pub(crate) fn decode(
    service: &Service,
    input: &Structure,
    request: &Request<'_>,
    ec2: bool,
) -> Result<Input, AwsError> {
    let body = std::str::from_utf8(&request.body).map_err(|_| malformed("the form is not UTF-8"))?;
    let query = request.parts.uri.query().unwrap_or_default();
    let form = Form {
        service,
        ec2,
        params: uri::pairs(query)
            .chain(uri::pairs(body))
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect(),
    };
    let members = form.structure("", input, 0)?;
    Ok(Input { members: Value::Object(members), payload: None })
}

struct Form<'s> {
    service: &'s Service,
    ec2: bool,
    params: BTreeMap<String, String>,
}

impl Form<'_> {
    fn structure(
        &self,
        prefix: &str,
        structure: &Structure,
        depth: usize,
    ) -> Result<Map<String, Value>, AwsError> {
        let mut out = Map::new();
        for member in structure.members {
            let name = self.name(member);
            let name = if prefix.is_empty() { name.into_owned() } else { format!("{prefix}.{name}") };
            if let Some(value) = self.value(&name, member.shape, depth)? {
                out.insert(member.name.to_owned(), value);
            }
        }
        Ok(out)
    }

    fn name(&self, member: &Member) -> Cow<'static, str> {
        if !self.ec2 {
            return Cow::Borrowed(member.wire_name);
        }
        if !member.query_name.is_empty() {
            return Cow::Borrowed(member.query_name);
        }
        let mut chars = member.wire_name.chars();
        let first = chars.next().map(|first| first.to_ascii_uppercase());
        Cow::Owned(first.into_iter().chain(chars).collect())
    }

    /// Reads the value at `name`; `None` where no parameter is there or below.
    fn value(&self, name: &str, id: ShapeId, depth: usize) -> Result<Option<Value>, AwsError> {
        if depth > MAX_DEPTH {
            return Err(malformed("parameters are nested too deeply"));
        }
        let Some(shape) = self.service.shape(id) else { return Ok(None) };
        match &shape.kind {
            Kind::Structure(structure) => {
                if !self.below(name) {
                    return Ok(None);
                }
                self.structure(name, structure, depth + 1).map(|fields| Some(Value::Object(fields)))
            }
            Kind::List { member, location_name, flattened, .. } => {
                let base = match (*flattened || self.ec2, location_name.is_empty()) {
                    (false, empty) => {
                        let item = if empty { "member" } else { location_name };
                        format!("{name}.{item}")
                    }
                    // The name of the element stands in the place of the list's.
                    (true, false) if !self.ec2 => match name.rsplit_once('.') {
                        Some((head, _)) => format!("{head}.{location_name}"),
                        None => (*location_name).to_owned(),
                    },
                    (true, _) => name.to_owned(),
                };
                let mut values = Vec::new();
                for index in self.indices(&base) {
                    let name = format!("{base}.{index}");
                    values.extend(self.value(&name, *member, depth + 1)?);
                }
                // An empty list is sent as an empty parameter.
                let given = !values.is_empty() || self.params.get(name).is_some_and(String::is_empty);
                Ok(given.then_some(Value::Array(values)))
            }
            Kind::Map { value: value_id, key_name, value_name, flattened, .. } => {
                let base = if *flattened { name.to_owned() } else { format!("{name}.entry") };
                let mut map = Map::new();
                for index in self.indices(&base) {
                    let Some(key) = self.params.get(&format!("{base}.{index}.{}", xml::or(key_name, "key")))
                    else {
                        return Err(malformed("an entry of a map has no key"));
                    };
                    let value = format!("{base}.{index}.{}", xml::or(value_name, "value"));
                    if let Some(value) = self.value(&value, *value_id, depth + 1)? {
                        map.insert(key.clone(), value);
                    }
                }
                Ok((!map.is_empty()).then_some(Value::Object(map)))
            }
            _ => self
                .params
                .get(name)
                .map(|text| {
                    bindings::scalar(self.service, id, Cow::Borrowed(text))
                        .map_err(|error| malformed(error.message))
                })
                .transpose(),
        }
    }

    /// Whether a parameter stands below `name`.
    fn below(&self, name: &str) -> bool {
        self.children(&format!("{name}.")).next().is_some()
    }

    fn children<'f>(&'f self, prefix: &str) -> impl Iterator<Item = &'f str> + use<'f> {
        let start = prefix.to_owned();
        self.params
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map_while(move |(key, _)| key.strip_prefix(&start))
    }

    /// The numbers below `base`, in order.
    fn indices(&self, base: &str) -> Vec<u32> {
        let mut found: Vec<u32> = self
            .children(&format!("{base}."))
            .filter_map(|rest| rest.split('.').next()?.parse().ok())
            .collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

fn malformed(text: impl Into<String>) -> AwsError {
    AwsError::new("MalformedInput", 400, text)
}

pub(crate) fn encode(
    service: &'static Service,
    operation: &'static Operation,
    output: &Output,
    request_id: &str,
    ec2: bool,
) -> Response<Full<Bytes>> {
    let mut out = String::with_capacity(512);
    let root = format!("{}Response xmlns=\"{}\"", operation.name, service.xml_namespace);
    xml::open(&mut out, &root);
    if ec2 {
        xml::push_element(&mut out, "requestId", request_id);
    }
    let wrapper = if ec2 { "" } else { operation.result_wrapper };
    if let Some(structure) = operation.output.and_then(|id| service.structure(id)) {
        let empty = Map::new();
        let fields = output.members.as_object().unwrap_or(&empty);
        if !wrapper.is_empty() {
            xml::open(&mut out, wrapper);
        }
        xml::write_structure(&mut out, service, structure, fields, |_| true);
        if !wrapper.is_empty() {
            xml::close(&mut out, wrapper);
        }
    }
    if !ec2 {
        xml::open(&mut out, "ResponseMetadata");
        xml::push_element(&mut out, "RequestId", request_id);
        xml::close(&mut out, "ResponseMetadata");
    }
    xml::close(&mut out, &root);
    response(success(operation), Some(XML), request_id, out)
}

pub(crate) fn encode_error(fault: &Fault<'_>, request_id: &str, ec2: bool) -> Response<Full<Bytes>> {
    let mut out = String::with_capacity(512);
    if ec2 {
        out.push_str("<Response><Errors><Error>");
        xml::push_element(&mut out, "Code", fault.query_code());
        xml::push_element(&mut out, "Message", &fault.error.message);
        out.push_str("</Error></Errors>");
        xml::push_element(&mut out, "RequestID", request_id);
        out.push_str("</Response>");
        return response(fault.status(), Some(XML), request_id, out);
    }
    let root = match fault.service.map(|service| service.xml_namespace) {
        Some(namespace) if !namespace.is_empty() => format!("ErrorResponse xmlns=\"{namespace}\""),
        _ => "ErrorResponse".to_owned(),
    };
    xml::open(&mut out, &root);
    write_error(&mut out, fault);
    xml::push_element(&mut out, "RequestId", request_id);
    xml::close(&mut out, &root);
    response(fault.status(), Some(XML), request_id, out)
}

/// Writes `<Error>` with type, code, message and modelled members.
pub(crate) fn write_error(out: &mut String, fault: &Fault<'_>) {
    xml::open(out, "Error");
    xml::push_element(out, "Type", fault.fault());
    xml::push_element(out, "Code", fault.query_code());
    xml::push_element(out, "Message", &fault.error.message);
    if let (Some(service), Some((_, structure, _))) = (fault.service, fault.modelled) {
        xml::write_structure(out, service, structure, &fault.error.members, |member| {
            !matches!(member.name, "Type" | "Code") && !member.name.eq_ignore_ascii_case("message")
        });
    }
    xml::close(out, "Error");
}

/// AWS's answer to an action the service does not have.
pub(crate) fn unknown_action(action: &str, version: Option<&str>, ec2: bool) -> AwsError {
    let text = if ec2 {
        format!("The action {action} is not valid for this web service.")
    } else {
        format!("Could not find operation {action} for version {}", version.unwrap_or("NO_VERSION_SPECIFIED"))
    };
    AwsError::new("InvalidAction", StatusCode::BAD_REQUEST.as_u16(), text)
}
