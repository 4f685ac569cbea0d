//! What the engine must know of one immutable state of a function version.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::ids::Scope;

/// One published or `$LATEST` version of a function as it is to be run. Two specs with the same
/// [`FunctionSpec::revision`] are the same; a change of code or configuration gives a new revision, and
/// environments of the old one serve no request any more.
#[derive(Debug, Clone)]
pub struct FunctionSpec {
    /// Account and region.
    pub scope: Scope,
    /// Function name.
    pub name: Arc<str>,
    /// `$LATEST` or a version number.
    pub version: Arc<str>,
    /// RevisionId of this state.
    pub revision: Arc<str>,
    /// Runtime identifier, e.g. `python3.12`, `provided.al2023`.
    pub runtime: String,
    /// Handler; empty where the runtime needs none.
    pub handler: String,
    /// Unpacked code, bound read-only at `/var/task`.
    pub code: PathBuf,
    /// Unpacked layers in order, merged read-only under `/opt`.
    pub layers: Vec<PathBuf>,
    /// The user's environment variables.
    pub environment: BTreeMap<String, String>,
    /// MemorySize in MiB.
    pub memory_mb: u32,
    /// Size of `/tmp` in MiB.
    pub ephemeral_storage_mb: u32,
    /// Timeout.
    pub timeout: Duration,
    /// Log group, by default `/aws/lambda/NAME`.
    pub log_group: String,
    /// How logs are written.
    pub log_format: LogFormat,
    /// ApplicationLogLevel for JSON logs, e.g. `INFO`; empty if not set.
    pub application_log_level: String,
    /// Execution role.
    pub role: String,
}

/// LoggingConfig.LogFormat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// Plain text.
    #[default]
    Text,
    /// One JSON object per record; of the platform's own those at this level and above.
    Json(SystemLogLevel),
}

/// LoggingConfig.SystemLogLevel: from which level on the platform's own records are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum SystemLogLevel {
    /// Everything.
    Debug,
    /// What begins and ends.
    #[default]
    Info,
    /// What has failed.
    Warn,
}

impl SystemLogLevel {
    /// The level of that name in the API; INFO for any other.
    #[must_use]
    pub fn of(name: &str) -> Self {
        match name {
            "DEBUG" => Self::Debug,
            "WARN" => Self::Warn,
            _ => Self::Info,
        }
    }
}

impl FunctionSpec {
    /// ARN with the version as qualifier; without one for `$LATEST`, as AWS gives it in contexts.
    #[must_use]
    pub fn arn(&self) -> String {
        let arn = self.scope.function_arn(&self.name);
        if &*self.version == "$LATEST" { arn } else { format!("{arn}:{}", self.version) }
    }
}
