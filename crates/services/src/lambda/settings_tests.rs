use lambkin_model::lambda::{
    DeadLetterConfig, FileSystemConfig, ImageConfig, SnapStart, TenancyConfig, TracingConfig, VpcConfig,
};

use super::*;

fn request() -> CreateFunctionRequest {
    CreateFunctionRequest {
        runtime: Some("python3.12".to_owned()),
        handler: Some("a.b".to_owned()),
        role: Some("arn:aws:iam::000000000000:role/r".to_owned()),
        ..Default::default()
    }
}

fn variables(pairs: &[(&str, &str)]) -> Option<Environment> {
    let variables = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    Some(Environment { variables: Some(variables) })
}

fn refused(change: impl FnOnce(&mut CreateFunctionRequest)) -> String {
    let mut request = request();
    change(&mut request);
    let error = create(&request, "f").unwrap_err();
    assert_eq!((&*error.code, error.status), ("InvalidParameterValueException", 400));
    error.message
}

#[test]
fn fills_in_the_defaults() {
    let config = create(&request(), "f").unwrap();
    assert_eq!((config.timeout_s, config.memory_mb, config.ephemeral_storage_mb), (3, 128, 512));
    assert_eq!(config.logging.group, "/aws/lambda/f");
    assert!(!config.logging.json && config.logging.application_level.is_none());
    assert_eq!(Some(config.architecture.as_str()), runtimes::host_architecture());
}

#[test]
fn refuses_what_does_not_work_yet_by_name() {
    let name = |message: String| {
        message.strip_prefix("Lambkin does not support ").unwrap().strip_suffix(" yet.").unwrap().to_owned()
    };
    let some = || Some("x".to_owned());
    assert_eq!(name(refused(|r| r.package_type = Some("Image".to_owned()))), "PackageType Image");
    assert_eq!(name(refused(|r| r.kms_key_arn = some())), "KMSKeyArn");
    assert_eq!(name(refused(|r| r.image_config = Some(ImageConfig::default()))), "ImageConfig");
    assert_eq!(name(refused(|r| r.tenancy_config = Some(TenancyConfig::default()))), "TenancyConfig");
    assert_eq!(
        name(refused(|r| r.file_system_configs = Some(vec![FileSystemConfig::default()]))),
        "FileSystemConfigs"
    );
    assert_eq!(
        name(refused(|r| r.dead_letter_config = Some(DeadLetterConfig { target_arn: some() }))),
        "DeadLetterConfig"
    );
    let snap = |on: &str| Some(SnapStart { apply_on: Some(on.to_owned()) });
    assert_eq!(name(refused(|r| r.snap_start = snap("PublishedVersions"))), "SnapStart");
    let tracing = |mode: &str| Some(TracingConfig { mode: Some(mode.to_owned()) });
    assert_eq!(name(refused(|r| r.tracing_config = tracing("Active"))), "TracingConfig Mode Active");
    let subnets = Some(vec!["subnet-1".to_owned()]);
    assert_eq!(
        name(refused(|r| r.vpc_config = Some(VpcConfig { subnet_ids: subnets, ..Default::default() }))),
        "VpcConfig"
    );
    let without = CreateFunctionRequest {
        snap_start: snap("None"),
        tracing_config: tracing("PassThrough"),
        vpc_config: Some(VpcConfig { subnet_ids: Some(vec![]), ..Default::default() }),
        dead_letter_config: Some(DeadLetterConfig { target_arn: Some(String::new()) }),
        kms_key_arn: Some(String::new()),
        layers: Some(vec![]),
        ..request()
    };
    assert!(create(&without, "f").is_ok());
}

#[test]
fn checks_the_environment_as_aws_does() {
    let message =
        refused(|r| r.environment = variables(&[("AWS_REGION", "x"), ("OK", "y"), ("_HANDLER", "z")]));
    assert!(message.ends_with("Reserved keys used in this request: AWS_REGION, _HANDLER"), "{message}");
    // {"KEY":"..."} with 4,086 characters of value is 4,096 bytes.
    let mut fits = request();
    fits.environment = variables(&[("KEY", &"v".repeat(4086))]);
    assert!(create(&fits, "f").is_ok());
    let message = refused(|r| r.environment = variables(&[("KEY", &"v".repeat(4087))]));
    assert!(message.contains("exceeded the 4KB limit. String measured: {\"KEY\":\"vvv"), "{message}");
}

#[test]
fn checks_numbers_beyond_the_model() {
    assert_eq!(
        refused(|r| r.memory_size = Some(20_000)),
        "'MemorySize' value failed to satisfy constraint: Member must have value less than or equal to 10240"
    );
    assert!(refused(|r| r.timeout = Some(901)).contains("less than or equal to 900"));
    assert!(refused(|r| r.ephemeral_storage = Some(EphemeralStorage { size: Some(511) })).contains("512"));
    assert!(refused(|r| r.handler = None).contains("mandatory parameters"));
}

#[test]
fn log_levels_need_json() {
    let logging = |format: Option<&str>, level: Option<&str>| {
        Some(LoggingConfig {
            log_format: format.map(ToOwned::to_owned),
            application_log_level: level.map(ToOwned::to_owned),
            ..Default::default()
        })
    };
    assert!(
        refused(|r| r.logging_config = logging(None, Some("DEBUG"))).starts_with("LogLevel is not supported")
    );
    let json = CreateFunctionRequest { logging_config: logging(Some("JSON"), Some("DEBUG")), ..request() };
    let old = create(&json, "f").unwrap();
    assert_eq!(old.logging.application_level.as_deref(), Some("DEBUG"));
    assert_eq!(old.logging.system_level.as_deref(), Some("INFO"));
    let to_text = UpdateFunctionConfigurationRequest {
        logging_config: logging(Some("Text"), None),
        ..Default::default()
    };
    let text = update(&to_text, "f", &old).unwrap();
    assert!(!text.logging.json && text.logging.application_level.is_none());
}

#[test]
fn updates_keep_what_they_do_not_name() {
    let mut first = request();
    first.environment = variables(&[("A", "1")]);
    let old = create(&first, "f").unwrap();
    let change = UpdateFunctionConfigurationRequest { memory_size: Some(256), ..Default::default() };
    let new = update(&change, "f", &old).unwrap();
    assert_eq!(new, Config { memory_mb: 256, ..old.clone() });
    let clear = UpdateFunctionConfigurationRequest { environment: variables(&[]), ..Default::default() };
    assert!(update(&clear, "f", &old).unwrap().environment.is_empty());
}

#[test]
fn refuses_another_machines_architecture() {
    let other = if runtimes::host_architecture() == Some("x86_64") { "arm64" } else { "x86_64" };
    assert!(refused(|r| r.architectures = Some(vec![other.to_owned()])).contains(other));
}
