//! Which service and operation a request means.
//!
//! The service is chosen by the credential scope, then by the prefix of `X-Amz-Target`, then by REST
//! routes, then by `Action` and `Version`, then by the host name. Tables are built once.

mod trie;

use std::collections::HashMap;
use std::sync::Arc;

use http::request::Parts;
use lambkin_model::ServiceHandler;
use lambkin_model::schema::{Operation, Protocol, Service};

pub(crate) use trie::Labels;
use trie::RestRoutes;

use crate::uri;

/// The services of a front with their route tables.
pub(crate) struct Router {
    entries: Vec<Entry>,
    by_signing_name: HashMap<&'static str, Vec<usize>>,
    by_target: HashMap<&'static str, usize>,
}

/// A service with what is derived from its schema.
pub(crate) struct Entry {
    pub(crate) handler: Arc<dyn ServiceHandler>,
    pub(crate) schema: &'static Service,
    rest: Option<RestRoutes>,
}

/// How a request names its operation.
#[derive(Debug)]
pub(crate) enum Found<'a> {
    /// An operation, with the undecoded labels of its path.
    Operation(&'static Operation, Labels<'a>),
    /// The operation stands in the body (form `Action`).
    InBody,
    /// The service has no such operation; the name as given, or empty.
    Unknown(String),
}

impl Router {
    pub(crate) fn new(services: Vec<Arc<dyn ServiceHandler>>) -> Self {
        let mut router =
            Self { entries: Vec::new(), by_signing_name: HashMap::new(), by_target: HashMap::new() };
        for (at, handler) in services.into_iter().enumerate() {
            let schema = handler.schema();
            router.by_signing_name.entry(schema.signing_name).or_default().push(at);
            if !schema.target_prefix.is_empty() {
                router.by_target.insert(schema.target_prefix, at);
            }
            let rest = (schema.protocols.contains(&Protocol::RestJson)
                || schema.protocols.contains(&Protocol::RestXml))
            .then(|| RestRoutes::new(schema));
            router.entries.push(Entry { handler, schema, rest });
        }
        router
    }

    /// The service that a request means; `scope` is the service name of its credential, if signed.
    pub(crate) fn service(&self, parts: &Parts, scope: Option<&str>) -> Option<&Entry> {
        let targeted = target(parts)
            .and_then(|(prefix, _)| self.by_target.get(prefix))
            .and_then(|at| self.entries.get(*at));
        let scoped =
            scope.and_then(|name| self.by_signing_name.get(name)).map(Vec::as_slice).unwrap_or_default();
        match scoped {
            [] => {}
            // A target of another service wins: verification then says which service the scope should have.
            _ if targeted.is_some() => return targeted,
            [only] => return self.entries.get(*only),
            several => {
                let mut entries = several.iter().filter_map(|at| self.entries.get(*at)).peekable();
                let first = entries.peek().copied();
                return entries.find(|entry| entry.routes(parts)).or(first);
            }
        }
        targeted
            .or_else(|| self.entries.iter().find(|entry| entry.routes(parts)))
            .or_else(|| self.by_host(parts))
    }

    /// Query services need the body to be told apart: the service that has this `Action` and `Version`.
    pub(crate) fn service_of_action(&self, form: &str) -> Option<&Entry> {
        let get = |name: &str| uri::pairs(form).find(|(key, _)| key == name).map(|(_, value)| value);
        let (action, version) = (get("Action")?, get("Version"));
        let query = |entry: &&Entry| entry.schema.protocols.contains(&Protocol::Query);
        let has = |entry: &&Entry| entry.schema.operation(&action).is_some();
        let dated = |entry: &&Entry| version.as_ref().is_none_or(|given| *given == entry.schema.api_version);
        self.entries.iter().filter(query).find(|entry| has(entry) && dated(entry))
    }

    fn by_host(&self, parts: &Parts) -> Option<&Entry> {
        let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()))?;
        let label = host.split(['.', ':']).next()?;
        self.by_signing_name.get(label)?.first().and_then(|at| self.entries.get(*at))
    }
}

impl Entry {
    /// Whether path and method are those of one of the service's REST operations, or of its CBOR path.
    fn routes(&self, parts: &Parts) -> bool {
        let path = parts.uri.path();
        if let Some((_, name)) = cbor_path(path) {
            return self.schema.protocols.contains(&Protocol::RpcV2Cbor)
                && self.schema.operation(name).is_some();
        }
        if let Some(rest) = &self.rest
            && rest.find(parts.method.as_str(), path, parts.uri.query()).is_some()
        {
            return true;
        }
        let Some(query) = parts.uri.query() else { return false };
        self.schema.protocols.contains(&Protocol::Query)
            && uri::pairs(query)
                .any(|(key, value)| key == "Action" && self.schema.operation(&value).is_some())
    }

    /// Which of the service's protocols a request speaks.
    pub(crate) fn protocol(&self, parts: &Parts) -> Protocol {
        let has = |protocol| self.schema.protocols.contains(&protocol);
        let first = self.schema.protocols.first().copied().unwrap_or(Protocol::RestJson);
        if has(Protocol::RpcV2Cbor)
            && (parts.headers.contains_key("smithy-protocol") || cbor_path(parts.uri.path()).is_some())
        {
            return Protocol::RpcV2Cbor;
        }
        let content_type = content_type(parts);
        if parts.headers.contains_key("x-amz-target") && (has(Protocol::Json10) || has(Protocol::Json11)) {
            return match content_type {
                "application/x-amz-json-1.0" => Protocol::Json10,
                "application/x-amz-json-1.1" => Protocol::Json11,
                _ if has(Protocol::Json11) => Protocol::Json11,
                _ => Protocol::Json10,
            };
        }
        let form = content_type == "application/x-www-form-urlencoded"
            || parts.uri.query().is_some_and(|query| query.contains("Action="));
        for query in [Protocol::Query, Protocol::Ec2] {
            if has(query) && (form || first == query) {
                return query;
            }
        }
        first
    }

    /// The operation of a request in `protocol`.
    pub(crate) fn operation<'a>(&self, protocol: Protocol, parts: &'a Parts) -> Found<'a> {
        let named = |name: &str| match self.schema.operation(name) {
            Some(operation) => Found::Operation(operation, Vec::new()),
            None => Found::Unknown(name.to_owned()),
        };
        match protocol {
            Protocol::RestJson | Protocol::RestXml => {
                let found = self
                    .rest
                    .as_ref()
                    .and_then(|rest| rest.find(parts.method.as_str(), parts.uri.path(), parts.uri.query()));
                found.map_or(Found::Unknown(String::new()), |(operation, labels)| {
                    Found::Operation(operation, labels)
                })
            }
            Protocol::Json10 | Protocol::Json11 => match target(parts) {
                Some((prefix, name)) if prefix == self.schema.target_prefix => named(name),
                Some((_, name)) => Found::Unknown(name.to_owned()),
                None => Found::Unknown(String::new()),
            },
            Protocol::RpcV2Cbor => {
                cbor_path(parts.uri.path()).map_or(Found::Unknown(String::new()), |(_, name)| named(name))
            }
            Protocol::Query | Protocol::Ec2 => {
                let action = parts.uri.query().and_then(|query| {
                    uri::pairs(query).find(|(key, _)| key == "Action").map(|(_, value)| named(&value))
                });
                action.unwrap_or(Found::InBody)
            }
        }
    }
}

/// Splits `X-Amz-Target: Logs_20140328.CreateLogGroup`.
fn target(parts: &Parts) -> Option<(&str, &str)> {
    parts.headers.get("x-amz-target")?.to_str().ok()?.rsplit_once('.')
}

/// Splits `/service/{X}/operation/{Y}`, which may have a prefix.
fn cbor_path(path: &str) -> Option<(&str, &str)> {
    let (head, operation) = path.rsplit_once("/operation/")?;
    let (_, service) = head.rsplit_once("/service/")?;
    let plain = |text: &str| !text.is_empty() && !text.contains('/');
    (plain(service) && plain(operation)).then_some((service, operation))
}

/// The media type of the body without parameters.
pub(crate) fn content_type(parts: &Parts) -> &str {
    let value = parts.headers.get(http::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    value.unwrap_or_default().split(';').next().unwrap_or_default().trim()
}

#[cfg(test)]
pub(crate) mod tests;
