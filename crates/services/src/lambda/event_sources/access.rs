//! SourceAccessConfigurations: which of them a kind of source takes, and which belong together.

use lambkin_model::AwsError;
use lambkin_model::lambda::SourceAccessConfiguration;

use super::source::Source;
use crate::lambda::faults::invalid;

/// The virtual host of a RabbitMQ broker, which is set at the creation only.
const VIRTUAL_HOST: &str = "VIRTUAL_HOST";

/// Ways to authenticate, of which a mapping can have one.
const AUTHENTICATIONS: &[&str] = &[
    "BASIC_AUTH",
    "SASL_SCRAM_512_AUTH",
    "SASL_SCRAM_256_AUTH",
    "CLIENT_CERTIFICATE_TLS_AUTH",
    "OAUTHBEARER_AUTH",
    "IAM_AUTH",
    "IAM_OAUTHBEARER_AUTH",
];

/// The configurations after an update.
///
/// # Errors
/// A virtual host, which AWS does not let anybody change.
pub(super) fn replace(
    present: Vec<SourceAccessConfiguration>,
    asked: &[SourceAccessConfiguration],
) -> Result<Vec<SourceAccessConfiguration>, AwsError> {
    let is_host = |access: &SourceAccessConfiguration| access.r#type.as_deref() == Some(VIRTUAL_HOST);
    if asked.iter().any(is_host) {
        return Err(invalid(format!("Invalid parameters: {VIRTUAL_HOST}")));
    }
    Ok(asked.iter().cloned().chain(present.into_iter().filter(is_host)).collect())
}

/// Checks the configurations of a mapping.
///
/// # Errors
/// One that the source does not have, two that exclude each other, one that is missing.
pub(super) fn check(access: &[SourceAccessConfiguration], source: Source) -> Result<(), AwsError> {
    let types: Vec<&str> = access.iter().map(|access| access.r#type.as_deref().unwrap_or_default()).collect();
    let allowed = |of: &str| match source {
        Source::ManagedKafka => matches!(of, "SASL_SCRAM_512_AUTH" | "CLIENT_CERTIFICATE_TLS_AUTH"),
        Source::OwnKafka => of != VIRTUAL_HOST,
        Source::Broker => matches!(of, "BASIC_AUTH" | VIRTUAL_HOST),
        Source::DocumentDb => of == "BASIC_AUTH",
        Source::Queue { .. } | Source::Kinesis | Source::DynamoDb => false,
    };
    if let Some(other) = types.iter().find(|of| !allowed(of)) {
        let text = format!(
            "SourceAccessConfiguration {other} is not supported for {} event sources.",
            source.name()
        );
        return Err(invalid(text));
    }
    for configuration in access {
        let of = configuration.r#type.as_deref().unwrap_or_default();
        match (of, &configuration.uri) {
            ("IAM_AUTH" | "IAM_OAUTHBEARER_AUTH", None) => {}
            ("IAM_AUTH" | "IAM_OAUTHBEARER_AUTH", Some(_)) => {
                return Err(invalid(format!("SourceAccessConfiguration {of} takes no URI.")));
            }
            (_, Some(_)) => {}
            (_, None) => return Err(invalid(format!("SourceAccessConfiguration {of} needs a URI."))),
        }
    }
    let has = |wanted: &str| types.contains(&wanted);
    if matches!(source, Source::Broker | Source::DocumentDb) && !has("BASIC_AUTH") {
        let text =
            format!("SourceAccessConfigurations must have BASIC_AUTH for {} event sources.", source.name());
        return Err(invalid(text));
    }
    let is_authentication = |of: &&&str| AUTHENTICATIONS.contains(of);
    if types.iter().filter(is_authentication).count() > 1 {
        return Err(invalid("SourceAccessConfigurations can have only one way to authenticate."));
    }
    for of in &types {
        let needed = match *of {
            "OAUTHBEARER_SCOPE" | "OAUTHBEARER_LOGICAL_CLUSTER" | "OAUTHBEARER_IDENTITY_POOL" => {
                (!has("OAUTHBEARER_AUTH")).then_some("OAUTHBEARER_AUTH")
            }
            "OAUTHBEARER_AUDIENCE" => (!has("OAUTHBEARER_AUTH") && !has("IAM_OAUTHBEARER_AUTH"))
                .then_some("OAUTHBEARER_AUTH or IAM_OAUTHBEARER_AUTH"),
            "IAM_OAUTHBEARER_AUTH" => (!has("OAUTHBEARER_AUDIENCE")).then_some("OAUTHBEARER_AUDIENCE"),
            _ => None,
        };
        if let Some(needed) = needed {
            return Err(invalid(format!("SourceAccessConfiguration {of} needs {needed}.")));
        }
    }
    Ok(())
}
