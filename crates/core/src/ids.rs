//! Identifiers: accounts, function ARNs, request ids.

use std::fmt;
use std::sync::Arc;

/// Account and region: the space in which names are unique and state is kept apart.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Scope {
    /// 12-digit account id.
    pub account: Arc<str>,
    /// Region name, e.g. `eu-central-1`.
    pub region: Arc<str>,
}

impl Scope {
    /// A scope of the given account and region.
    pub fn new(account: impl Into<Arc<str>>, region: impl Into<Arc<str>>) -> Self {
        Self { account: account.into(), region: region.into() }
    }

    /// AWS partition of the region (`aws`, `aws-cn`, `aws-us-gov`).
    #[must_use]
    pub fn partition(&self) -> &'static str {
        if self.region.starts_with("cn-") {
            "aws-cn"
        } else if self.region.starts_with("us-gov-") {
            "aws-us-gov"
        } else {
            "aws"
        }
    }

    /// `arn:aws:lambda:REGION:ACCOUNT:function:NAME`, without a qualifier.
    #[must_use]
    pub fn function_arn(&self, name: &str) -> String {
        format!("arn:{}:lambda:{}:{}:function:{name}", self.partition(), self.region, self.account)
    }

    /// Prefix of metadata keys of this scope: `ACCOUNT/REGION/`.
    #[must_use]
    pub fn key_prefix(&self) -> String {
        format!("{}/{}/", self.account, self.region)
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.account, self.region)
    }
}

/// A fresh request id: a version 4 UUID.
#[must_use]
pub fn new_request_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
