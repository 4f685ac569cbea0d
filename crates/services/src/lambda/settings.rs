//! From what a request asks for to a [`Config`]: defaults, AWS's rules beyond the model's constraints, and
//! clear refusals of what Lambkin does not have yet.

use std::collections::BTreeMap;

use lambkin_model::AwsError;
use lambkin_model::lambda::{
    self, CreateFunctionRequest, Environment, EphemeralStorage, LoggingConfig,
    UpdateFunctionConfigurationRequest,
};

use super::faults::{invalid, unsupported};
use super::record::{Config, Logging};
use super::runtimes;

/// Largest MemorySize in MiB of a standard function; the model's bound is that of managed instances.
const MAX_MEMORY_MB: i32 = 10_240;

/// Largest Timeout in seconds, likewise.
const MAX_TIMEOUT_S: i32 = 900;

/// Bounds of `/tmp` in MiB.
const EPHEMERAL_MB: std::ops::RangeInclusive<i32> = 512..=10_240;

/// Largest environment as JSON, in bytes.
const MAX_ENVIRONMENT: usize = 4096;

/// Environment variables that belong to Lambda.
const RESERVED: &[&str] = &[
    "AWS_ACCESS_KEY",
    "AWS_ACCESS_KEY_ID",
    "AWS_DEFAULT_REGION",
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE",
    "AWS_LAMBDA_FUNCTION_NAME",
    "AWS_LAMBDA_FUNCTION_VERSION",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_RUNTIME_API",
    "AWS_REGION",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
    "_X_AMZN_TRACE_ID",
];

/// Settings that CreateFunction and UpdateFunctionConfiguration share and that do not work yet.
struct NotYet<'a> {
    vpc: Option<&'a lambda::VpcConfig>,
    dead_letter: Option<&'a lambda::DeadLetterConfig>,
    kms_key: Option<&'a str>,
    tracing: Option<&'a lambda::TracingConfig>,
    file_systems: usize,
    image: bool,
    snap_start: Option<&'a lambda::SnapStart>,
    capacity_provider: bool,
    durable: bool,
    runtime_config: bool,
    accelerator: bool,
}

impl NotYet<'_> {
    /// Values that mean "without it" pass.
    fn check(&self) -> Result<(), AwsError> {
        let filled = |list: &Option<Vec<String>>| list.as_ref().is_some_and(|list| !list.is_empty());
        let text = |value: &Option<String>| value.as_ref().is_some_and(|value| !value.is_empty());
        let refused = [
            (
                self.vpc.is_some_and(|vpc| filled(&vpc.subnet_ids) || filled(&vpc.security_group_ids)),
                "VpcConfig",
            ),
            (self.dead_letter.is_some_and(|config| text(&config.target_arn)), "DeadLetterConfig"),
            (self.kms_key.is_some_and(|key| !key.is_empty()), "KMSKeyArn"),
            (
                self.tracing.is_some_and(|config| config.mode.as_deref() == Some("Active")),
                "TracingConfig Mode Active",
            ),
            (self.file_systems > 0, "FileSystemConfigs"),
            (self.image, "ImageConfig"),
            (
                self.snap_start.is_some_and(|snap| snap.apply_on.as_deref().is_some_and(|on| on != "None")),
                "SnapStart",
            ),
            (self.capacity_provider, "CapacityProviderConfig"),
            (self.durable, "DurableConfig"),
            (self.runtime_config, "RuntimeConfig"),
            (self.accelerator, "AcceleratorConfig"),
        ];
        match refused.iter().find(|(asked, _)| *asked) {
            Some((_, setting)) => Err(unsupported(setting)),
            None => Ok(()),
        }
    }
}

/// Configuration of a new function.
///
/// # Errors
/// What a rule of AWS forbids or Lambkin does not have.
pub(crate) fn create(request: &CreateFunctionRequest, name: &str) -> Result<Config, AwsError> {
    if request.package_type.as_deref() == Some("Image") {
        return Err(unsupported("PackageType Image"));
    }
    NotYet {
        vpc: request.vpc_config.as_ref(),
        dead_letter: request.dead_letter_config.as_ref(),
        kms_key: request.kms_key_arn.as_deref(),
        tracing: request.tracing_config.as_ref(),
        file_systems: request.file_system_configs.as_ref().map_or(0, Vec::len),
        image: request.image_config.is_some(),
        snap_start: request.snap_start.as_ref(),
        capacity_provider: request.capacity_provider_config.is_some(),
        durable: request.durable_config.is_some(),
        runtime_config: request.runtime_config.is_some(),
        accelerator: request.accelerator_config.is_some(),
    }
    .check()?;
    if request.tenancy_config.is_some() {
        return Err(unsupported("TenancyConfig"));
    }
    let (Some(runtime), Some(handler)) = (&request.runtime, &request.handler) else {
        return Err(invalid(
            "Runtime and Handler are mandatory parameters for functions created with deployment packages.",
        ));
    };
    let default = Logging {
        json: false,
        application_level: None,
        system_level: None,
        group: format!("/aws/lambda/{name}"),
    };
    Ok(Config {
        runtime: check_runtime(runtime, name)?,
        handler: handler.clone(),
        role: request.role.clone().unwrap_or_default(),
        description: request.description.clone().unwrap_or_default(),
        timeout_s: check_number(request.timeout.unwrap_or(3), 1..=MAX_TIMEOUT_S, "Timeout")?,
        memory_mb: check_number(request.memory_size.unwrap_or(128), 128..=MAX_MEMORY_MB, "MemorySize")?,
        ephemeral_storage_mb: check_storage(request.ephemeral_storage.as_ref())?.unwrap_or(512),
        architecture: check_architecture(request.architectures.as_deref())?,
        environment: check_environment(request.environment.as_ref())?.unwrap_or_default(),
        logging: check_logging(request.logging_config.as_ref(), default)?,
        // They are looked up later.
        layers: Vec::new(),
    })
}

/// Configuration after an update: what the request does not name stays.
///
/// # Errors
/// As [`create`].
pub(crate) fn update(
    request: &UpdateFunctionConfigurationRequest,
    name: &str,
    old: &Config,
) -> Result<Config, AwsError> {
    NotYet {
        vpc: request.vpc_config.as_ref(),
        dead_letter: request.dead_letter_config.as_ref(),
        kms_key: request.kms_key_arn.as_deref(),
        tracing: request.tracing_config.as_ref(),
        file_systems: request.file_system_configs.as_ref().map_or(0, Vec::len),
        image: request.image_config.is_some(),
        snap_start: request.snap_start.as_ref(),
        capacity_provider: request.capacity_provider_config.is_some(),
        durable: request.durable_config.is_some(),
        runtime_config: request.runtime_config.is_some(),
        accelerator: request.accelerator_config.is_some(),
    }
    .check()?;
    let mut config = old.clone();
    if let Some(runtime) = &request.runtime {
        config.runtime = check_runtime(runtime, name)?;
    }
    if let Some(handler) = &request.handler {
        config.handler.clone_from(handler);
    }
    if let Some(role) = &request.role {
        config.role.clone_from(role);
    }
    if let Some(description) = &request.description {
        config.description.clone_from(description);
    }
    if let Some(timeout) = request.timeout {
        config.timeout_s = check_number(timeout, 1..=MAX_TIMEOUT_S, "Timeout")?;
    }
    if let Some(memory) = request.memory_size {
        config.memory_mb = check_number(memory, 128..=MAX_MEMORY_MB, "MemorySize")?;
    }
    if let Some(storage) = check_storage(request.ephemeral_storage.as_ref())? {
        config.ephemeral_storage_mb = storage;
    }
    if let Some(environment) = check_environment(request.environment.as_ref())? {
        config.environment = environment;
    }
    config.logging = check_logging(request.logging_config.as_ref(), config.logging)?;
    Ok(config)
}

/// Architecture asked for, this machine's if none is.
pub(crate) fn check_architecture(asked: Option<&[String]>) -> Result<String, AwsError> {
    let host = runtimes::host_architecture();
    match (asked.and_then(|list| list.first()), host) {
        (Some(asked), Some(host)) if asked == host => Ok(host.to_owned()),
        (None, Some(host)) => Ok(host.to_owned()),
        (Some(asked), _) => Err(invalid(format!(
            "Lambkin runs functions on its own machine, which is {}; it cannot run Architectures {asked}.",
            host.unwrap_or(std::env::consts::ARCH)
        ))),
        (None, None) => Err(invalid(format!(
            "Lambkin runs functions on its own machine, and AWS Lambda has no architecture {}.",
            std::env::consts::ARCH
        ))),
    }
}

fn check_runtime(runtime: &str, name: &str) -> Result<String, AwsError> {
    if runtime == "custom" {
        return Err(unsupported("Runtime custom"));
    }
    if runtimes::is_deprecated(runtime) {
        tracing::warn!(
            function = name,
            runtime,
            "AWS no longer offers this runtime; taken if the host has it"
        );
    }
    Ok(runtime.to_owned())
}

fn check_number(value: i32, bounds: std::ops::RangeInclusive<i32>, member: &str) -> Result<u32, AwsError> {
    if value > *bounds.end() {
        return Err(invalid(format!(
            "'{member}' value failed to satisfy constraint: Member must have value less than or equal to {}",
            bounds.end()
        )));
    }
    u32::try_from(value).ok().filter(|_| value >= *bounds.start()).ok_or_else(|| {
        invalid(format!(
            "'{member}' value failed to satisfy constraint: Member must have value greater than or equal to {}",
            bounds.start()
        ))
    })
}

fn check_storage(storage: Option<&EphemeralStorage>) -> Result<Option<u32>, AwsError> {
    let size = storage.and_then(|storage| storage.size);
    size.map(|size| check_number(size, EPHEMERAL_MB, "EphemeralStorage.Size")).transpose()
}

/// `None` where the request does not speak of the environment.
fn check_environment(
    environment: Option<&Environment>,
) -> Result<Option<BTreeMap<String, String>>, AwsError> {
    let Some(environment) = environment else { return Ok(None) };
    let variables = environment.variables.clone().unwrap_or_default();
    let reserved: Vec<&str> =
        variables.keys().map(String::as_str).filter(|name| RESERVED.contains(name)).collect();
    if !reserved.is_empty() {
        return Err(invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you \
             have provided contains reserved keys that are currently not supported for modification. Reserved \
             keys used in this request: {}",
            reserved.join(", ")
        )));
    }
    let measured = serde_json::to_string(&variables).map_err(super::faults::service)?;
    if measured.len() > MAX_ENVIRONMENT {
        return Err(invalid(format!(
            "Lambda was unable to configure your environment variables because the environment variables you \
             have provided exceeded the 4KB limit. String measured: {measured}"
        )));
    }
    if variables.values().any(|value| value.contains('\0')) {
        return Err(invalid("Environment variables must not contain NUL characters."));
    }
    Ok(Some(variables))
}

/// Levels exist with JSON only; going back to text drops them.
fn check_logging(asked: Option<&LoggingConfig>, old: Logging) -> Result<Logging, AwsError> {
    let Some(asked) = asked else { return Ok(old) };
    let json = asked.log_format.as_deref().map_or(old.json, |format| format == "JSON");
    if !json && (asked.application_log_level.is_some() || asked.system_log_level.is_some()) {
        return Err(invalid(
            "LogLevel is not supported when LogFormat is set to \"Text\". Remove LogLevel from your request or \
             change the LogFormat to \"JSON\" and try again.",
        ));
    }
    let level = |asked: &Option<String>, old: Option<String>| {
        json.then(|| asked.clone().or(old).unwrap_or_else(|| "INFO".to_owned()))
    };
    Ok(Logging {
        json,
        application_level: level(&asked.application_log_level, old.application_level),
        system_level: level(&asked.system_log_level, old.system_level),
        group: asked.log_group.clone().unwrap_or(old.group),
    })
}

#[cfg(test)]
#[path = "settings_tests.rs"]
mod tests;
