//! What is stored: one versioned JSON record per role and per managed policy, under `ACCOUNT/NAME` with the name
//! in lower case, because names that differ only in case are the same name to IAM.

use std::collections::{BTreeMap, BTreeSet};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Format of the records; a higher number than this is one that a newer Lambkin wrote.
pub(super) const FORMAT: u32 = 1;

/// A kind of record.
pub(super) trait Stored {
    /// Metadata kind.
    const KIND: &'static str;

    fn name(&self) -> &str;
}

/// A role.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Role {
    /// [`FORMAT`].
    pub(super) v: u32,
    pub(super) name: String,
    pub(super) path: String,
    /// `AROA...`.
    pub(super) id: String,
    pub(super) created_ms: i64,
    /// Trust policy as given.
    pub(super) trust: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    pub(super) max_session_s: i32,
    /// ARN of the permissions boundary.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) boundary: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<(String, String)>,
    /// Inline policies by name, documents as given.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(super) inline: BTreeMap<String, String>,
    /// ARNs of the attached managed policies.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub(super) attached: BTreeSet<String>,
}

/// A customer managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Policy {
    /// [`FORMAT`].
    pub(super) v: u32,
    pub(super) name: String,
    pub(super) path: String,
    /// `ANPA...`.
    pub(super) id: String,
    pub(super) created_ms: i64,
    pub(super) updated_ms: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) tags: Vec<(String, String)>,
    /// By number: 1 is `v1`.
    pub(super) versions: BTreeMap<u32, Version>,
    pub(super) default_version: u32,
    /// Number of the newest version that ever was: numbers are not used again.
    pub(super) last_version: u32,
}

/// A version of a managed policy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Version {
    pub(super) created_ms: i64,
    /// As given.
    pub(super) document: String,
}

impl Stored for Role {
    const KIND: &'static str = "iam.role";

    fn name(&self) -> &str {
        &self.name
    }
}

impl Stored for Policy {
    const KIND: &'static str = "iam.policy";

    fn name(&self) -> &str {
        &self.name
    }
}

/// Metadata key of a record.
pub(super) fn key(account: &str, name: &str) -> String {
    format!("{account}/{}", fold(name))
}

/// A name as it is compared.
pub(super) fn fold(name: &str) -> String {
    name.to_lowercase()
}

/// Reads a stored record; says why not.
pub(super) fn read<T: DeserializeOwned>(stored: &[u8]) -> Result<T, String> {
    #[derive(Deserialize)]
    struct Head {
        v: u32,
    }
    let head: Head = serde_json::from_slice(stored).map_err(|error| error.to_string())?;
    if head.v > FORMAT {
        return Err(format!("a newer Lambkin wrote it (format {})", head.v));
    }
    serde_json::from_slice(stored).map_err(|error| error.to_string())
}
