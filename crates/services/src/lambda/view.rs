//! From records to the API's answers, with the members that AWS leaves out left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lambkin_core::ids::Scope;
use lambkin_model::lambda::{
    EnvironmentResponse, EphemeralStorage, FunctionConfiguration, Layer, LoggingConfig, RuntimeVersionConfig,
    SnapStartResponse, TracingConfigResponse,
};

use super::code::{from_hex, hex_sha256};
use super::layers::record::LayerUse;
use super::names::Version;
use super::record::{FunctionRecord, Logging, Snapshot, State, Status, Update, VersionRecord};
use super::resolve::Found;

/// What the API shows of one version of a function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shown<'a> {
    scope: &'a Scope,
    name: &'a str,
    version: Version,
    /// Becomes part of the ARN.
    qualifier: Option<&'a str>,
    snapshot: &'a Snapshot,
    description: &'a str,
    modified_ms: i64,
    state: &'a Status<State>,
    last_update: Option<&'a Status<Update>>,
}

/// LastUpdateStatus of published versions, which are never updated.
const NEVER_UPDATED: &Status<Update> = &Status { is: Update::Successful, reason: None, reason_code: None };

impl<'a> Shown<'a> {
    /// A function's `$LATEST`.
    pub(crate) fn latest(scope: &'a Scope, record: &'a FunctionRecord) -> Self {
        Self {
            scope,
            name: &record.name,
            version: Version::Latest,
            qualifier: None,
            snapshot: &record.current,
            description: &record.current.config.description,
            modified_ms: record.modified_ms,
            state: &record.state,
            last_update: record.last_update.as_ref(),
        }
    }

    /// A published version.
    pub(crate) fn version(scope: &'a Scope, name: &'a str, record: &'a VersionRecord) -> Self {
        Self {
            scope,
            name,
            version: Version::Number(record.number),
            qualifier: None,
            snapshot: &record.snapshot,
            description: record.shown_description(),
            modified_ms: record.published_ms,
            state: &record.state,
            last_update: Some(NEVER_UPDATED),
        }
    }

    /// What a request means, with the qualifier that it names.
    pub(crate) fn found(found: &'a Found) -> Self {
        let (scope, name) = (&found.target.scope, &found.target.name);
        let shown = match &found.published {
            Some(version) => Self::version(scope, name, &version.record),
            None => Self::latest(scope, &found.entry.record),
        };
        Self { qualifier: found.target.qualifier.as_deref(), ..shown }
    }

    /// The same with a qualifier in the ARN.
    pub(crate) fn qualified(self, qualifier: &'a str) -> Self {
        Self { qualifier: Some(qualifier), ..self }
    }
}

/// A configuration as the operations on one function give it.
pub(crate) fn configuration(shown: &Shown<'_>) -> FunctionConfiguration {
    let runtime_version = shown.snapshot.runtime_version.as_ref();
    FunctionConfiguration {
        state: Some(shown.state.is.name().to_owned()),
        state_reason: shown.state.reason.clone(),
        state_reason_code: shown.state.reason_code.clone(),
        last_update_status: shown.last_update.map(|update| update.is.name().to_owned()),
        last_update_status_reason: shown.last_update.and_then(|update| update.reason.clone()),
        last_update_status_reason_code: shown.last_update.and_then(|update| update.reason_code.clone()),
        runtime_version_config: runtime_version.map(|version| RuntimeVersionConfig {
            runtime_version_arn: Some(runtime_version_arn(shown.scope, version)),
            ..Default::default()
        }),
        ..listed(shown)
    }
}

/// A configuration as lists give it: without states.
pub(crate) fn listed(shown: &Shown<'_>) -> FunctionConfiguration {
    let config = &shown.snapshot.config;
    let arn = shown.scope.function_arn(shown.name);
    let variables = (!config.environment.is_empty()).then(|| config.environment.clone());
    FunctionConfiguration {
        function_name: Some(shown.name.to_owned()),
        function_arn: Some(
            shown.qualifier.map_or_else(|| arn.clone(), |qualifier| format!("{arn}:{qualifier}")),
        ),
        runtime: Some(config.runtime.clone()),
        role: Some(config.role.clone()),
        handler: Some(config.handler.clone()),
        code_size: Some(size(shown.snapshot.code.size)),
        description: Some(shown.description.to_owned()),
        timeout: i32::try_from(config.timeout_s).ok(),
        memory_size: i32::try_from(config.memory_mb).ok(),
        last_modified: Some(last_modified(shown.modified_ms)),
        code_sha256: Some(base64_sha256(&shown.snapshot.code.sha256)),
        version: Some(shown.version.to_string()),
        environment: variables
            .map(|variables| EnvironmentResponse { variables: Some(variables), ..Default::default() }),
        tracing_config: Some(TracingConfigResponse { mode: Some("PassThrough".to_owned()) }),
        revision_id: Some(shown.snapshot.revision_id.clone()),
        package_type: Some("Zip".to_owned()),
        architectures: Some(vec![config.architecture.clone()]),
        ephemeral_storage: Some(EphemeralStorage { size: i32::try_from(config.ephemeral_storage_mb).ok() }),
        snap_start: Some(SnapStartResponse {
            apply_on: Some("None".to_owned()),
            optimization_status: Some("Off".to_owned()),
        }),
        logging_config: Some(logging(&config.logging)),
        layers: (!config.layers.is_empty()).then(|| config.layers.iter().map(layer).collect()),
        ..Default::default()
    }
}

fn layer(layer: &LayerUse) -> Layer {
    Layer { arn: Some(layer.arn.clone()), code_size: Some(size(layer.code.size)), ..Default::default() }
}

/// A CodeSize.
pub(crate) fn size(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

fn logging(logging: &Logging) -> LoggingConfig {
    LoggingConfig {
        log_format: Some(if logging.json { "JSON" } else { "Text" }.to_owned()),
        application_log_level: logging.application_level.clone(),
        system_log_level: logging.system_level.clone(),
        log_group: Some(logging.group.clone()),
    }
}

/// AWS names a runtime version by a hash; ours is that of what the host says it runs.
pub(crate) fn runtime_version_arn(scope: &Scope, version: &str) -> String {
    format!("arn:{}:lambda:{}::runtime:{}", scope.partition(), scope.region, hex_sha256(version.as_bytes()))
}

/// CodeSha256: base64 of the digest whose hexadecimal digits are given.
pub(crate) fn base64_sha256(hex: &str) -> String {
    STANDARD.encode(from_hex(hex).unwrap_or_default())
}

/// `2026-11-23T12:00:00.000+0000`.
pub(crate) fn last_modified(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S%.3f+0000").to_string()
}

/// `2026-11-23T12:00:00+0000`.
pub(crate) fn whole_seconds(millis: i64) -> String {
    Timestamp::from_millisecond(millis).unwrap_or_default().strftime("%Y-%m-%dT%H:%M:%S+0000").to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_dates_as_lambda_does() {
        assert_eq!(last_modified(1_795_435_200_000), "2026-11-23T12:00:00.000+0000");
        assert_eq!(last_modified(1_795_435_200_007), "2026-11-23T12:00:00.007+0000");
    }

    #[test]
    fn digests_are_base64() {
        assert_eq!(base64_sha256(&hex_sha256(b"")), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
    }
}
