//! What a document says of a request.

use std::collections::BTreeMap;

use super::condition::{arn_like, like};
use super::document::{Document, Patterns, Principal, Principals, Statement};

/// What a document says of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Some statement allows it and names the caller, its role, or everyone.
    Allow,
    /// Some statement allows it to the caller's whole account: the account has yet to say whom of its own
    /// it means, in their identity policies.
    AllowAccount,
    /// Some statement denies it.
    Deny,
    /// No statement is about it.
    Silent,
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who<'a> {
    /// A service, e.g. `lambda.amazonaws.com`.
    Service(&'a str),
    /// An AWS principal.
    Principal {
        /// Its account.
        account: &'a str,
        /// Its ARN; of a session that of the assumed role.
        arn: &'a str,
        /// The ARN of the role behind a session.
        role: Option<&'a str>,
    },
}

/// Condition keys of a request; names are not distinguished by case.
#[derive(Debug, Clone, Default)]
pub(crate) struct Keys(BTreeMap<String, Option<String>>);

impl Keys {
    /// Keys of a request of which is not known where it comes from and what time it is; the time can be set.
    pub(crate) fn of_request() -> Self {
        let mut keys = Self::default();
        for key in ["aws:SourceIp", "aws:CurrentTime", "aws:EpochTime"] {
            keys.set_unknown(key);
        }
        keys
    }

    /// Sets a key.
    pub(crate) fn set(&mut self, key: &str, value: impl Into<String>) {
        self.0.insert(key.to_ascii_lowercase(), Some(value.into()));
    }

    /// Says that the request has this key, but that its value is not known here.
    pub(crate) fn set_unknown(&mut self, key: &str) {
        self.0.insert(key.to_ascii_lowercase(), None);
    }

    /// The value of a key; the inner `None` where it has one that is not known.
    pub(super) fn get(&self, key: &str) -> Option<Option<&str>> {
        self.0.get(&key.to_ascii_lowercase()).map(Option::as_deref)
    }
}

/// A request to decide on.
#[derive(Debug, Clone)]
pub(crate) struct Request<'a> {
    /// Who asks.
    pub(crate) who: Who<'a>,
    /// For what, e.g. `sts:AssumeRole`.
    pub(crate) action: &'a str,
    /// Of which resource, as its ARN; `None` for trust policies, whose statements name none.
    pub(crate) resource: Option<&'a str>,
    /// Condition keys.
    pub(crate) keys: Keys,
}

/// How a statement's principals fit the caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Fit {
    No,
    Account,
    Named,
}

impl Document {
    /// Decides on a request by the statements' principals, actions, resources and conditions. A condition
    /// that cannot be evaluated never allows, and never spares from a denial.
    pub(crate) fn decide(&self, request: &Request<'_>) -> Decision {
        let mut decision = Decision::Silent;
        for statement in &self.statements {
            let fit = fit(statement, request);
            if fit == Fit::No
                || !matches(&statement.actions, &request.action.to_ascii_lowercase())
                || !is_about(statement, request.resource)
            {
                continue;
            }
            let holds = |unknown| {
                statement.conditions.iter().all(|condition| condition.holds(&request.keys).unwrap_or(unknown))
            };
            match statement.allow {
                false if holds(true) => return Decision::Deny,
                true if holds(false) => {
                    if fit == Fit::Named {
                        decision = Decision::Allow;
                    } else if decision == Decision::Silent {
                        decision = Decision::AllowAccount;
                    }
                }
                _ => {}
            }
        }
        decision
    }
}

/// Whether an action in lower case is among a statement's.
fn matches(actions: &Patterns, action: &str) -> bool {
    actions.patterns.iter().any(|pattern| like(&pattern.to_ascii_lowercase(), action)) != actions.negated
}

impl Statement {
    /// Whether it is about a resource.
    pub(crate) fn names(&self, resource: &str) -> bool {
        is_about(self, Some(resource))
    }
}

/// Whether a statement is about a resource.
fn is_about(statement: &Statement, resource: Option<&str>) -> bool {
    let (Some(resource), Some(resources)) = (resource, &statement.resources) else { return true };
    let mut patterns = resources.patterns.iter();
    patterns.any(|pattern| pattern == "*" || arn_like(pattern, resource)) != resources.negated
}

fn fit(statement: &Statement, request: &Request<'_>) -> Fit {
    match &statement.principals {
        // An identity policy is about whom it is attached to.
        None => Fit::Named,
        Some(Principals { negated: false, list }) => {
            list.iter().map(|principal| fit_one(principal, &request.who)).max().unwrap_or(Fit::No)
        }
        Some(Principals { negated: true, list }) => {
            match list.iter().any(|principal| fit_one(principal, &request.who) != Fit::No) {
                true => Fit::No,
                false => Fit::Named,
            }
        }
    }
}

fn fit_one(principal: &Principal, who: &Who<'_>) -> Fit {
    let is_account_root = |account: &str, arn: &str| arn.ends_with(&format!(":iam::{account}:root"));
    match (principal, who) {
        (Principal::Everyone, _) => Fit::Named,
        (Principal::Service(service), Who::Service(asks)) if service == asks => Fit::Named,
        (Principal::Account(account), Who::Principal { account: asks, arn, .. }) if account == asks => {
            if is_account_root(account, arn) {
                Fit::Named
            } else {
                Fit::Account
            }
        }
        (Principal::Arn(named), Who::Principal { arn, role, .. })
            if named == arn || role.is_some_and(|role| named == role) =>
        {
            Fit::Named
        }
        _ => Fit::No,
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;

#[cfg(test)]
#[path = "decide_resource_tests.rs"]
mod resource_tests;
