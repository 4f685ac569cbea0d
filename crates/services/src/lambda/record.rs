//! What is stored of a function: one versioned JSON record under `ACCOUNT/REGION/NAME`.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lambkin_core::FunctionSpec;
use lambkin_core::function::LogFormat;
use lambkin_core::ids::Scope;
use serde::{Deserialize, Serialize};

use super::code::CodeFolders;
use super::names::LATEST;

/// Metadata kind of functions.
pub(crate) const KIND: &str = "lambda.function";

/// Format of the record; a higher number than this is one that a newer Lambkin wrote.
pub(crate) const FORMAT: u32 = 1;

/// A function.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct FunctionRecord {
    /// [`FORMAT`].
    pub(crate) v: u32,
    pub(crate) name: String,
    pub(crate) created_ms: i64,
    pub(crate) modified_ms: i64,
    /// What was asked for last.
    pub(crate) current: Snapshot,
    /// What runs while `current` is being prepared or could not be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) serving: Option<Snapshot>,
    pub(crate) state: Status<State>,
    /// Absent until the function has been active.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) last_update: Option<Status<Update>>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) tags: BTreeMap<String, String>,
}

/// Code and configuration that belong together.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Snapshot {
    pub(crate) revision_id: String,
    pub(crate) code: Code,
    pub(crate) config: Config,
    /// What the host runs it with; known once prepared.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) runtime_version: Option<String>,
}

/// A deployment package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Code {
    /// SHA-256 of the zip in lower-case hexadecimal digits.
    pub(crate) sha256: String,
    /// Size of the zip in bytes.
    pub(crate) size: u64,
}

/// Configuration as set, with the defaults filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Config {
    pub(crate) runtime: String,
    pub(crate) handler: String,
    pub(crate) role: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) timeout_s: u32,
    pub(crate) memory_mb: u32,
    pub(crate) ephemeral_storage_mb: u32,
    pub(crate) architecture: String,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) logging: Logging,
}

/// LoggingConfig.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Logging {
    pub(crate) json: bool,
    /// Set only with `json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) application_level: Option<String>,
    /// Set only with `json`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) system_level: Option<String>,
    pub(crate) group: String,
}

/// A state with AWS's text and code for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Status<T> {
    pub(crate) is: T,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) reason_code: Option<String>,
}

/// State.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum State {
    Pending,
    Active,
    Failed,
}

/// LastUpdateStatus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Update {
    InProgress,
    Successful,
    Failed,
}

impl State {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Active => "Active",
            Self::Failed => "Failed",
        }
    }
}

impl Update {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::InProgress => "InProgress",
            Self::Successful => "Successful",
            Self::Failed => "Failed",
        }
    }
}

impl<T> Status<T> {
    pub(crate) fn plain(is: T) -> Self {
        Self { is, reason: None, reason_code: None }
    }

    pub(crate) fn because(is: T, reason: &str, code: &str) -> Self {
        Self { is, reason: Some(reason.to_owned()), reason_code: Some(code.to_owned()) }
    }

    /// What AWS says of new functions, and in the same words of updates.
    pub(crate) fn being_created(is: T) -> Self {
        Self::because(is, "The function is being created.", "Creating")
    }
}

impl FunctionRecord {
    /// Reads a stored record; says why not.
    pub(crate) fn read(stored: &[u8]) -> Result<Self, String> {
        let record: Self = serde_json::from_slice(stored).map_err(|error| error.to_string())?;
        if record.v > FORMAT {
            return Err(format!("a newer Lambkin wrote it (format {})", record.v));
        }
        Ok(record)
    }

    /// Metadata key.
    pub(crate) fn key(scope: &Scope, name: &str) -> String {
        format!("{}{name}", scope.key_prefix())
    }

    /// Scope and name of a metadata key.
    pub(crate) fn split_key(key: &str) -> Option<(Scope, &str)> {
        let (account, rest) = key.split_once('/')?;
        let (region, name) = rest.split_once('/')?;
        Some((Scope::new(account, region), name))
    }

    /// Whether a change is under way.
    pub(crate) fn is_unsettled(&self) -> bool {
        self.state.is == State::Pending
            || self.last_update.as_ref().is_some_and(|update| update.is == Update::InProgress)
    }

    /// What may be run now.
    pub(crate) fn runnable(&self) -> Option<&Snapshot> {
        match self.state.is {
            State::Active => Some(self.serving.as_ref().unwrap_or(&self.current)),
            State::Pending | State::Failed => None,
        }
    }

    /// Every package this record needs.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Code> {
        std::iter::once(&self.current).chain(&self.serving).map(|snapshot| &snapshot.code)
    }

    /// This record with a new state of code or configuration, which is still to be prepared.
    pub(crate) fn updating(&self, current: Snapshot, now_ms: i64) -> Self {
        let mut next = self.clone();
        // A state that never ran is not what to fall back on.
        if next.serving.is_none() && next.state.is == State::Active {
            next.serving = Some(next.current);
        }
        next.current = current;
        next.modified_ms = now_ms;
        next.last_update = Some(Status::being_created(Update::InProgress));
        next
    }
}

impl Snapshot {
    /// The form the engine takes.
    pub(crate) fn spec(&self, scope: &Scope, name: &str, code: &CodeFolders) -> FunctionSpec {
        let config = &self.config;
        FunctionSpec {
            scope: scope.clone(),
            name: Arc::from(name),
            version: Arc::from(LATEST),
            revision: Arc::from(self.revision_id.as_str()),
            runtime: config.runtime.clone(),
            handler: config.handler.clone(),
            code: code.path(&self.code.sha256),
            layers: Vec::new(),
            environment: config.environment.clone(),
            memory_mb: config.memory_mb,
            ephemeral_storage_mb: config.ephemeral_storage_mb,
            timeout: Duration::from_secs(u64::from(config.timeout_s)),
            log_group: config.logging.group.clone(),
            log_format: if config.logging.json { LogFormat::Json } else { LogFormat::Text },
            application_log_level: config.logging.application_level.clone().unwrap_or_default(),
            role: config.role.clone(),
        }
    }
}
