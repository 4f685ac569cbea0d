//! What is stored of a function: JSON records, one for the function with its `$LATEST` under
//! `ACCOUNT/REGION/NAME`, one for each published version and each alias under
//! `ACCOUNT/REGION/NAME/VERSION` and `ACCOUNT/REGION/NAME/ALIAS`.
//!
//! Every commit that changes what belongs to a function writes the function's record too, on condition of its
//! revision; so all changes of one function come one after the other, and whatever a change has read is as
//! it was when it is written. Only the settling of a version's state does without: it depends on nothing.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use lambkin_core::FunctionSpec;
use lambkin_core::function::{LogFormat, SystemLogLevel};
use lambkin_core::ids::Scope;
use serde::{Deserialize, Serialize};

use super::code::CodeFolders;
use super::layers::record::LayerUse;
use super::names::Version;

/// Metadata kind of functions.
pub(crate) const KIND: &str = "lambda.function";

/// Metadata kind of published versions.
pub(crate) const VERSION_KIND: &str = "lambda.version";

/// Metadata kind of aliases.
pub(crate) const ALIAS_KIND: &str = "lambda.alias";

/// Format of the records; a higher number than this is one that a newer Lambkin wrote. Format 1 knew no
/// versions, format 2 no layers: they are read as they are and written in this one.
pub(crate) const FORMAT: u32 = 3;

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
    /// The highest version number given so far; none is given twice.
    #[serde(default)]
    pub(crate) last_version: u64,
}

/// A published version: it never changes, but for the outcome of its preparation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct VersionRecord {
    /// [`FORMAT`].
    pub(crate) v: u32,
    pub(crate) number: u64,
    pub(crate) published_ms: i64,
    /// The description given with the publication, instead of the configuration's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) description: Option<String>,
    /// As `$LATEST` was, with a RevisionId of its own.
    pub(crate) snapshot: Snapshot,
    pub(crate) state: Status<State>,
}

/// An alias.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct AliasRecord {
    /// [`FORMAT`].
    pub(crate) v: u32,
    pub(crate) name: String,
    pub(crate) revision_id: String,
    #[serde(default)]
    pub(crate) description: String,
    pub(crate) version: Version,
    /// A second version and its share of the invocations, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) additional: Option<(u64, f64)>,
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
    /// In the order in which they are merged.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) layers: Vec<LayerUse>,
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
        let record: Self = read(stored, |record: &Self| record.v)?;
        Ok(Self { v: FORMAT, ..record })
    }

    /// Metadata key.
    pub(crate) fn key(scope: &Scope, name: &str) -> String {
        format!("{}{name}", scope.key_prefix())
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
        std::iter::once(&self.current).chain(&self.serving).flat_map(Snapshot::packages)
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

impl VersionRecord {
    /// Reads a stored record; says why not.
    pub(crate) fn read(stored: &[u8]) -> Result<Self, String> {
        read(stored, |record: &Self| record.v)
    }

    /// What may be run now. A version of what runs as `$LATEST` is ready from the start, whatever its state
    /// says yet.
    pub(crate) fn runnable(&self) -> Option<&Snapshot> {
        match self.state.is {
            State::Active => Some(&self.snapshot),
            State::Pending => self.snapshot.runtime_version.is_some().then_some(&self.snapshot),
            State::Failed => None,
        }
    }

    /// The description that the version shows.
    pub(crate) fn shown_description(&self) -> &str {
        self.description.as_deref().unwrap_or(&self.snapshot.config.description)
    }
}

impl AliasRecord {
    /// Reads a stored record; says why not.
    pub(crate) fn read(stored: &[u8]) -> Result<Self, String> {
        read(stored, |record: &Self| record.v)
    }

    /// Whether the alias leads to a version, always or for its share.
    pub(crate) fn leads_to(&self, number: u64) -> bool {
        self.version == Version::Number(number) || self.additional.is_some_and(|(other, _)| other == number)
    }
}

/// Metadata key of what belongs to a function: its versions, aliases and settings.
pub(crate) fn part_key(scope: &Scope, name: &str, part: &str) -> String {
    format!("{}{name}/{part}", scope.key_prefix())
}

/// Scope, function and part of a metadata key; a function's own key has no part.
pub(crate) fn split_key(key: &str) -> Option<(Scope, &str, Option<&str>)> {
    let (account, rest) = key.split_once('/')?;
    let (region, rest) = rest.split_once('/')?;
    let (name, part) = rest.split_once('/').map_or((rest, None), |(name, part)| (name, Some(part)));
    Some((Scope::new(account, region), name, part))
}

/// Reads a record unless it is of a format that this Lambkin does not know.
pub(crate) fn read<T: serde::de::DeserializeOwned>(
    stored: &[u8],
    format: impl Fn(&T) -> u32,
) -> Result<T, String> {
    let record: T = serde_json::from_slice(stored).map_err(|error| error.to_string())?;
    match format(&record) {
        newer if newer > FORMAT => Err(format!("a newer Lambkin wrote it (format {newer})")),
        _ => Ok(record),
    }
}

impl Snapshot {
    /// The package of the code, and those of the layers in order.
    pub(crate) fn packages(&self) -> impl Iterator<Item = &Code> {
        std::iter::once(&self.code).chain(self.config.layers.iter().map(|layer| &layer.code))
    }

    /// The packages of the layers in order. Of layers with the same content the last one counts: it covers all
    /// that is in the others.
    fn merged_packages(&self) -> impl Iterator<Item = &Code> {
        let packages = self.config.layers.iter().map(|layer| &layer.code);
        packages.enumerate().filter_map(|(at, package)| {
            let mut later = self.config.layers.iter().skip(at + 1);
            later.all(|layer| layer.code != *package).then_some(package)
        })
    }

    /// The form the engine takes.
    pub(crate) fn spec(
        &self,
        scope: &Scope,
        name: &str,
        version: Version,
        code: &CodeFolders,
    ) -> FunctionSpec {
        let config = &self.config;
        FunctionSpec {
            scope: scope.clone(),
            name: Arc::from(name),
            version: Arc::from(version.to_string()),
            revision: Arc::from(self.revision_id.as_str()),
            runtime: config.runtime.clone(),
            handler: config.handler.clone(),
            code: code.path(&self.code.sha256),
            layers: self.merged_packages().map(|layer| code.path(&layer.sha256)).collect(),
            environment: config.environment.clone(),
            memory_mb: config.memory_mb,
            ephemeral_storage_mb: config.ephemeral_storage_mb,
            timeout: Duration::from_secs(u64::from(config.timeout_s)),
            log_group: config.logging.group.clone(),
            log_format: match &config.logging {
                Logging { json: true, system_level, .. } => {
                    LogFormat::Json(system_level.as_deref().map(SystemLogLevel::of).unwrap_or_default())
                }
                _ => LogFormat::Text,
            },
            application_log_level: config.logging.application_level.clone().unwrap_or_default(),
            role: config.role.clone(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// As Lambkin wrote it before there were versions.
    pub(crate) const FORMAT_1: &str = r#"{"v":1,"name":"hello","created_ms":1795435200000,"modified_ms":1795435260000,
        "current":{"revision_id":"3e8d5ce0-0a3e-4d7c-8c1a-6f9d3b1f7a10","code":{"sha256":"ab","size":7},
        "config":{"runtime":"python3.12","handler":"a.b","role":"arn:aws:iam::000000000000:role/r",
        "description":"","timeout_s":3,"memory_mb":128,"ephemeral_storage_mb":512,"architecture":"x86_64",
        "logging":{"json":false,"group":"/aws/lambda/hello"}},"runtime_version":"Python 3.12.1"},
        "state":{"is":"Active"},"last_update":{"is":"Successful"},"tags":{"a":"1"}}"#;

    #[test]
    fn functions_from_before_versions_are_read_and_written_anew() {
        let record = FunctionRecord::read(FORMAT_1.as_bytes()).unwrap();
        assert_eq!((record.v, record.last_version, &*record.name), (FORMAT, 0, "hello"));
        assert_eq!(record.tags["a"], "1");
        let again = serde_json::to_vec(&record).unwrap();
        assert_eq!(FunctionRecord::read(&again).unwrap(), record);
    }

    #[test]
    fn records_of_a_newer_format_are_left_alone() {
        let newer = FORMAT_1.replace("\"v\":1", "\"v\":4");
        let error = FunctionRecord::read(newer.as_bytes()).unwrap_err();
        assert_eq!(error, "a newer Lambkin wrote it (format 4)");
    }

    #[test]
    fn keys_come_apart() {
        let scope = Scope::new("000000000000", "us-east-1");
        let function = FunctionRecord::key(&scope, "f");
        assert_eq!(split_key(&function), Some((scope.clone(), "f", None)));
        let alias = part_key(&scope, "f", "live");
        assert_eq!(split_key(&alias), Some((scope, "f", Some("live"))));
        assert_eq!(split_key("f"), None);
    }
}
