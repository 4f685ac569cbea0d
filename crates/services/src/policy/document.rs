//! Reading a policy document, with AWS's words for what is wrong with it.

use std::collections::BTreeSet;

use super::condition::{self, Condition};
use super::json::Json;

/// What a document is attached to; the grammar differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Inline policy of an identity: no principal, a resource.
    Inline,
    /// Managed policy: as inline, and the version must be given.
    Managed,
    /// Trust policy of a role: a principal, no resource, STS actions only.
    Trust,
    /// Policy of a Lambda resource: a principal, a resource, Lambda actions only.
    Resource,
}

/// A policy document that keeps the grammar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Document {
    pub(crate) statements: Vec<Statement>,
}

/// A statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Statement {
    pub(crate) allow: bool,
    /// Whom it is about; `None` in identity policies.
    pub(crate) principals: Option<Principals>,
    pub(crate) actions: Patterns,
    /// What it is about; `None` in trust policies.
    pub(crate) resources: Option<Patterns>,
    pub(crate) conditions: Vec<Condition>,
}

/// `Action`, `NotAction`, `Resource` and `NotResource`: texts with `*` and `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Patterns {
    /// Whether everything is meant that does not match.
    pub(crate) negated: bool,
    pub(crate) patterns: Vec<String>,
}

/// `Principal` and `NotPrincipal`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Principals {
    /// Whether everyone else is meant.
    pub(crate) negated: bool,
    pub(crate) list: Vec<Principal>,
}

/// One principal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Principal {
    /// `*`.
    Everyone,
    /// An account, as its id.
    Account(String),
    /// An ARN of a role, user or session.
    Arn(String),
    /// A service, e.g. `lambda.amazonaws.com`.
    Service(String),
    /// An identity provider: known to the grammar, but nobody comes from one here.
    Federated,
}

const SYNTAX: &str = "Syntax errors in policy.";

impl Document {
    /// Reads a document.
    ///
    /// # Errors
    /// AWS's text for what is wrong.
    pub(crate) fn parse(text: &str, kind: Kind) -> Result<Self, String> {
        let trust = kind == Kind::Trust;
        let unreadable = if has_principal(kind) { "This policy contains invalid Json" } else { SYNTAX };
        let Ok(Json::Object(members)) = serde_json::from_str::<Json>(text) else {
            return Err(unreadable.to_owned());
        };
        let mut version = None;
        let mut statements = None;
        for (name, value) in members {
            match name.as_str() {
                "Version" => version = Some(value),
                "Id" if matches!(value, Json::Text(_)) => {}
                "Statement" => statements = Some(value),
                _ if trust => return Err(format!("Unknown field {name}")),
                _ => return Err(SYNTAX.to_owned()),
            }
        }
        match version {
            Some(Json::Text(version)) if version == "2012-10-17" => {}
            Some(Json::Text(version)) if version != "2008-10-17" => {
                return Err("The policy must contain a valid version string".to_owned());
            }
            None | Some(Json::Text(_)) if kind == Kind::Managed => {
                return Err("Policy document must be version 2012-10-17 or greater.".to_owned());
            }
            None | Some(Json::Text(_)) => {}
            Some(_) => return Err(SYNTAX.to_owned()),
        }
        let list = match statements {
            Some(Json::List(list)) if !list.is_empty() => list,
            Some(one @ Json::Object(_)) => vec![one],
            None if has_principal(kind) => return Err("Missing required field Statement".to_owned()),
            _ => return Err(SYNTAX.to_owned()),
        };
        let mut ids = BTreeSet::new();
        let statements =
            list.into_iter().map(|json| statement(json, kind, &mut ids)).collect::<Result<_, _>>()?;
        Ok(Self { statements })
    }
}

/// Whether statements say whom they are about.
fn has_principal(kind: Kind) -> bool {
    matches!(kind, Kind::Trust | Kind::Resource)
}

/// A statement's members before they are understood.
#[derive(Default)]
struct Parts {
    effect: Option<Json>,
    principal: Option<(bool, Json)>,
    action: Option<(bool, Json)>,
    resource: Option<(bool, Json)>,
    condition: Option<Json>,
}

fn statement(json: Json, kind: Kind, ids: &mut BTreeSet<String>) -> Result<Statement, String> {
    let (trust, strict) = (kind == Kind::Trust, has_principal(kind));
    let Json::Object(members) = json else { return Err(SYNTAX.to_owned()) };
    let mut parts = Parts::default();
    for (name, value) in members {
        let negated = name.starts_with("Not");
        let place = match name.as_str() {
            "Sid" => {
                check_sid(value, kind, ids)?;
                continue;
            }
            "Effect" => {
                parts.effect = Some(value);
                continue;
            }
            "Condition" => {
                parts.condition = Some(value);
                continue;
            }
            "Principal" | "NotPrincipal" if !strict => {
                return Err("Policy document should not specify a principal.".to_owned());
            }
            "Resource" | "NotResource" if trust => return Err(format!("Has prohibited field {name}")),
            "Principal" | "NotPrincipal" => &mut parts.principal,
            "Action" | "NotAction" => &mut parts.action,
            "Resource" | "NotResource" => &mut parts.resource,
            _ if strict => return Err(format!("Unknown field {name}")),
            _ => return Err(SYNTAX.to_owned()),
        };
        if place.replace((negated, value)).is_some() {
            return Err(SYNTAX.to_owned());
        }
    }
    let missing = |field: &str| format!("Missing required field {field}");
    let allow = match parts.effect {
        Some(Json::Text(effect)) if effect == "Allow" => true,
        Some(Json::Text(effect)) if effect == "Deny" => false,
        Some(Json::Text(effect)) if strict => return Err(format!("Invalid effect: {effect}")),
        None if strict => return Err(missing("Effect")),
        _ => return Err(SYNTAX.to_owned()),
    };
    let principals = match parts.principal {
        Some((negated, value)) => Some(principals(negated, value)?),
        None if strict => return Err(missing("Principal")),
        None => None,
    };
    let actions = match parts.action {
        Some((negated, value)) => Patterns { negated, patterns: texts(value)? },
        None if strict => return Err(missing("Action")),
        None => return Err("Policy statement must contain actions.".to_owned()),
    };
    if actions.patterns.is_empty() {
        return Err("Policy statement must contain actions.".to_owned());
    }
    actions.patterns.iter().try_for_each(|action| check_action(action, kind))?;
    let resources = match parts.resource {
        Some((negated, value)) => Some(Patterns { negated, patterns: texts(value)? }),
        None => None,
    };
    match &resources {
        _ if trust => {}
        None if strict => return Err(missing("Resource")),
        Some(resources) if !resources.patterns.is_empty() => {
            resources.patterns.iter().try_for_each(|resource| check_resource(resource))?;
        }
        _ => return Err("Policy statement must contain resources.".to_owned()),
    }
    let conditions = parts.condition.map(conditions).transpose()?.unwrap_or_default();
    Ok(Statement { allow, principals, actions, resources, conditions })
}

fn check_sid(value: Json, kind: Kind, ids: &mut BTreeSet<String>) -> Result<(), String> {
    let Json::Text(id) = value else { return Err(SYNTAX.to_owned()) };
    // Those of permissions that were added one by one may have these too.
    let plain = if kind == Kind::Resource { id.replace(['-', '_'], "") } else { id.clone() };
    if !plain.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
        return Err(
            "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular \
                    expression [0-9A-Za-z]*"
                .to_owned(),
        );
    }
    // An empty id is none.
    if !id.is_empty() && !ids.insert(id) {
        return Err("Statement IDs (SID) in a single policy must be unique.".to_owned());
    }
    Ok(())
}

/// One text or a list of texts.
fn texts(value: Json) -> Result<Vec<String>, String> {
    match value {
        Json::Text(text) => Ok(vec![text]),
        Json::List(list) => list
            .into_iter()
            .map(|element| match element {
                Json::Text(text) => Ok(text),
                _ => Err(SYNTAX.to_owned()),
            })
            .collect(),
        _ => Err(SYNTAX.to_owned()),
    }
}

/// Actions of STS that a trust policy may be about, in lower case.
const TRUST_ACTIONS: &[&str] = &[
    "sts:assumerole",
    "sts:assumerolewithsaml",
    "sts:assumerolewithwebidentity",
    "sts:setcontext",
    "sts:setsourceidentity",
    "sts:tagsession",
];

fn check_action(action: &str, kind: Kind) -> Result<(), String> {
    if kind == Kind::Resource {
        let name = action.split_once(':').filter(|(vendor, _)| vendor.eq_ignore_ascii_case("lambda"));
        let is_name = |name: &str| {
            !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphabetic() || b"*?".contains(&byte))
        };
        return match action == "*" || name.is_some_and(|(_, name)| is_name(name)) {
            true => Ok(()),
            false => Err(format!("The action {action} is not one of Lambda.")),
        };
    }
    if kind == Kind::Trust {
        let pattern = action.to_ascii_lowercase();
        let fits =
            pattern.starts_with("sts:") && TRUST_ACTIONS.iter().any(|known| condition::like(&pattern, known));
        return match fits {
            true => Ok(()),
            false => Err("AssumeRole policy may only specify STS AssumeRole actions.".to_owned()),
        };
    }
    if action == "*" {
        return Ok(());
    }
    let Some((vendor, name)) = action.split_once(':') else {
        return Err("Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc.".to_owned());
    };
    if name.contains(':') {
        return Err("Actions/Condition can contain only one colon.".to_owned());
    }
    if vendor.is_empty() || !vendor.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
        return Err(format!("Vendor {vendor} is not valid"));
    }
    if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"*?-_".contains(&byte)) {
        return Err(SYNTAX.to_owned());
    }
    Ok(())
}

fn check_resource(resource: &str) -> Result<(), String> {
    if resource == "*" {
        return Ok(());
    }
    if !resource.starts_with("arn:") {
        return Err(format!("Resource {resource} must be in ARN format or \"*\"."));
    }
    let parts: Vec<&str> = resource.splitn(6, ':').collect();
    let [_, partition, _, _, _, rest] = parts.as_slice() else {
        return Err("The policy failed legacy parsing".to_owned());
    };
    if rest.is_empty() {
        return Err("The policy failed legacy parsing".to_owned());
    }
    if !partition.starts_with("aws") && *partition != "*" {
        return Err(format!("Partition \"{partition}\" is not valid for resource \"{resource}\"."));
    }
    Ok(())
}

fn principals(negated: bool, value: Json) -> Result<Principals, String> {
    let groups = match value {
        Json::Text(text) if text == "*" => {
            return Ok(Principals { negated, list: vec![Principal::Everyone] });
        }
        Json::Object(groups) => groups,
        _ => return Err("Invalid principal in policy.".to_owned()),
    };
    let mut list = Vec::new();
    for (group, values) in groups {
        for text in texts(values)? {
            let invalid =
                || format!("Invalid principal in policy: \"{}\":\"{text}\"", group.to_ascii_uppercase());
            let principal = match group.as_str() {
                "AWS" => aws_principal(&text),
                "Service" => is_service(&text).then(|| Principal::Service(text.clone())),
                "Federated" => {
                    let known = text.starts_with("arn:") || text.contains('.');
                    known.then_some(Principal::Federated)
                }
                _ => None,
            };
            list.push(principal.ok_or_else(invalid)?);
        }
    }
    if list.is_empty() {
        return Err(
            "Invalid principal in policy: com.amazon.balsa.error.InvalidPolicyException: The passed in \
                    policy has a statement with no principals!"
                .to_owned(),
        );
    }
    Ok(Principals { negated, list })
}

pub(super) fn aws_principal(text: &str) -> Option<Principal> {
    if text == "*" {
        return Some(Principal::Everyone);
    }
    if is_account(text) {
        return Some(Principal::Account(text.to_owned()));
    }
    let parts: Vec<&str> = text.splitn(6, ':').collect();
    let ["arn", partition, service, "", account, resource] = parts.as_slice() else { return None };
    if !partition.starts_with("aws") || !is_account(account) {
        return None;
    }
    match (*service, *resource) {
        ("iam", "root") => Some(Principal::Account((*account).to_owned())),
        ("iam", resource) if has_name(resource, &["role/", "user/"]) => Some(Principal::Arn(text.to_owned())),
        ("sts", resource) if has_name(resource, &["assumed-role/", "federated-user/"]) => {
            Some(Principal::Arn(text.to_owned()))
        }
        _ => None,
    }
}

/// Whether a resource is of one of these types and names one thing: wildcards stand for no principal.
fn has_name(resource: &str, types: &[&str]) -> bool {
    types
        .iter()
        .filter_map(|kind| resource.strip_prefix(kind))
        .any(|name| !name.is_empty() && !name.ends_with('/') && !name.contains(['*', '?']))
}

pub(super) fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

pub(super) fn is_service(text: &str) -> bool {
    let suffix = [".amazonaws.com", ".amazonaws.com.cn", ".amazon.com", ".aws.internal"];
    let name = suffix.iter().find_map(|suffix| text.strip_suffix(suffix));
    name.is_some_and(|name| {
        !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    })
}

fn conditions(value: Json) -> Result<Vec<Condition>, String> {
    let Json::Object(operators) = value else { return Err(SYNTAX.to_owned()) };
    let mut conditions = Vec::new();
    for (operator, keys) in operators {
        let Json::Object(keys) = keys else { return Err(SYNTAX.to_owned()) };
        if !condition::is_operator(&operator) {
            return Err(format!("Invalid Condition type : {operator}."));
        }
        for (key, values) in keys {
            let values = match values {
                Json::List(list) => list,
                one => vec![one],
            };
            let values = values
                .into_iter()
                .map(|value| match value {
                    Json::Text(text) | Json::Scalar(text) => Ok(text),
                    _ => Err(SYNTAX.to_owned()),
                })
                .collect::<Result<_, _>>()?;
            conditions.push(Condition { operator: operator.clone(), key, values });
        }
    }
    Ok(conditions)
}

#[cfg(test)]
#[path = "document_tests.rs"]
mod tests;
