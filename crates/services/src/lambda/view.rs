//! From records to the API's answers, with the members that AWS leaves out left out.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use lambkin_core::ids::Scope;
use lambkin_model::lambda::{
    EnvironmentResponse, EphemeralStorage, FunctionConfiguration, LoggingConfig, RuntimeVersionConfig,
    SnapStartResponse, TracingConfigResponse,
};

use super::code::{from_hex, hex_sha256};
use super::names::LATEST;
use super::record::{FunctionRecord, Logging};

/// A function's configuration as the operations on one function give it. `qualifier` is the one that was
/// asked for; it becomes part of the ARN.
pub(crate) fn configuration(
    scope: &Scope,
    record: &FunctionRecord,
    qualifier: Option<&str>,
) -> FunctionConfiguration {
    let runtime_version = record.current.runtime_version.as_ref();
    FunctionConfiguration {
        state: Some(record.state.is.name().to_owned()),
        state_reason: record.state.reason.clone(),
        state_reason_code: record.state.reason_code.clone(),
        last_update_status: record.last_update.as_ref().map(|update| update.is.name().to_owned()),
        last_update_status_reason: record.last_update.as_ref().and_then(|update| update.reason.clone()),
        last_update_status_reason_code: record
            .last_update
            .as_ref()
            .and_then(|update| update.reason_code.clone()),
        runtime_version_config: runtime_version.map(|version| RuntimeVersionConfig {
            runtime_version_arn: Some(runtime_version_arn(scope, version)),
            ..Default::default()
        }),
        ..listed(scope, record, qualifier)
    }
}

/// A function's configuration as lists give it: without states.
pub(crate) fn listed(
    scope: &Scope,
    record: &FunctionRecord,
    qualifier: Option<&str>,
) -> FunctionConfiguration {
    let config = &record.current.config;
    let arn = scope.function_arn(&record.name);
    let variables = (!config.environment.is_empty()).then(|| config.environment.clone());
    FunctionConfiguration {
        function_name: Some(record.name.clone()),
        function_arn: Some(qualifier.map_or_else(|| arn.clone(), |qualifier| format!("{arn}:{qualifier}"))),
        runtime: Some(config.runtime.clone()),
        role: Some(config.role.clone()),
        handler: Some(config.handler.clone()),
        code_size: Some(i64::try_from(record.current.code.size).unwrap_or(i64::MAX)),
        description: Some(config.description.clone()),
        timeout: i32::try_from(config.timeout_s).ok(),
        memory_size: i32::try_from(config.memory_mb).ok(),
        last_modified: Some(last_modified(record.modified_ms)),
        code_sha256: Some(base64_sha256(&record.current.code.sha256)),
        version: Some(LATEST.to_owned()),
        environment: variables
            .map(|variables| EnvironmentResponse { variables: Some(variables), ..Default::default() }),
        tracing_config: Some(TracingConfigResponse { mode: Some("PassThrough".to_owned()) }),
        revision_id: Some(record.current.revision_id.clone()),
        package_type: Some("Zip".to_owned()),
        architectures: Some(vec![config.architecture.clone()]),
        ephemeral_storage: Some(EphemeralStorage { size: i32::try_from(config.ephemeral_storage_mb).ok() }),
        snap_start: Some(SnapStartResponse {
            apply_on: Some("None".to_owned()),
            optimization_status: Some("Off".to_owned()),
        }),
        logging_config: Some(logging(&config.logging)),
        ..Default::default()
    }
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
