//! Roles as other services see them: does it exist, and who may assume it?

use std::sync::Arc;

use super::directory::Directory;
use super::names;
use crate::policy::{Decision, Document, Keys, Kind, Request, Who};

/// The roles of all accounts, in memory.
#[derive(Debug, Clone)]
pub struct Roles {
    directory: Arc<Directory>,
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleInfo {
    /// Its ARN.
    pub arn: String,
    /// Its name, without the path.
    pub name: String,
    /// Its unique id, `AROA...`.
    pub id: String,
    /// Its account.
    pub account: String,
    /// Longest session in seconds.
    pub max_session_s: i32,
}

impl Roles {
    pub(super) fn new(directory: Arc<Directory>) -> Self {
        Self { directory }
    }

    /// The role of an ARN, with exactly its path and name.
    #[must_use]
    pub fn find(&self, arn: &str) -> Option<RoleInfo> {
        self.look_up(arn).map(|(role, _)| role)
    }

    /// Whether a service may assume a role for a resource: the role exists and trusts it.
    #[must_use]
    pub fn trusts_service(&self, arn: &str, service: &str, account: &str, source_arn: &str) -> bool {
        let mut keys = Keys::of_request();
        keys.set("aws:SourceAccount", account);
        keys.set("aws:SourceArn", source_arn);
        keys.set("aws:PrincipalIsAWSService", "true");
        keys.set("aws:PrincipalServiceName", service);
        let who = Who::Service(service);
        let request = Request { who, action: "sts:AssumeRole", resource: None, keys };
        self.decide(arn, &request).is_some_and(|(_, decision)| decision == Decision::Allow)
    }

    /// A role and what its trust policy says of a request.
    pub(crate) fn decide(&self, arn: &str, request: &Request<'_>) -> Option<(RoleInfo, Decision)> {
        let (role, trust) = self.look_up(arn)?;
        // It was checked when it was stored.
        let document = Document::parse(&trust, Kind::Trust).ok()?;
        Some((role, document.decide(request)))
    }

    /// A role with its trust policy.
    fn look_up(&self, arn: &str) -> Option<(RoleInfo, String)> {
        let parsed = names::parse_arn(arn, "role")?;
        let record = self.directory.role(parsed.account, parsed.name)?;
        if record.path != parsed.path || record.name != parsed.name {
            return None;
        }
        let role = RoleInfo {
            arn: arn.to_owned(),
            name: record.name.clone(),
            id: record.id.clone(),
            account: parsed.account.to_owned(),
            max_session_s: record.max_session_s,
        };
        Some((role, record.trust.clone()))
    }
}
