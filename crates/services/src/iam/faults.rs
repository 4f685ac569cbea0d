//! IAM's errors in AWS's words.

use lambkin_core::metadata::StoreError;
use lambkin_model::AwsError;
use lambkin_model::iam::errors;

/// 404 `NoSuchEntity` of a role.
pub(super) fn no_role(name: &str) -> AwsError {
    errors::no_such_entity_exception(format!("The role with name {name} cannot be found."))
}

/// 404 `NoSuchEntity` of an inline policy.
pub(super) fn no_inline(name: &str) -> AwsError {
    errors::no_such_entity_exception(format!("The role policy with name {name} cannot be found."))
}

/// 404 `NoSuchEntity` of a managed policy.
pub(super) fn no_policy(arn: &str) -> AwsError {
    errors::no_such_entity_exception(format!("Policy {arn} was not found."))
}

/// 404 `NoSuchEntity` of a managed policy that was to be attached.
pub(super) fn not_attachable(arn: &str) -> AwsError {
    errors::no_such_entity_exception(format!("Policy {arn} does not exist or is not attachable."))
}

/// 404 `NoSuchEntity` of a version of a managed policy.
pub(super) fn no_version(arn: &str, version: &str) -> AwsError {
    errors::no_such_entity_exception(format!(
        "Policy {arn} version {version} does not exist or is not attachable."
    ))
}

/// 400 `InvalidInput`.
pub(super) fn invalid(message: impl Into<String>) -> AwsError {
    errors::invalid_input_exception(message)
}

/// 409 `LimitExceeded` of a quota that has a name.
pub(super) fn quota(name: &str, limit: usize) -> AwsError {
    errors::limit_exceeded_exception(format!("Cannot exceed quota for {name}: {limit}"))
}

/// 400 `ValidationError`, as for what the model forbids.
pub(super) fn validation(message: impl Into<String>) -> AwsError {
    AwsError::new("ValidationError", 400, message)
}

/// 500 `ServiceFailure`. The cause is for the log; the caller learns only that it was not its fault.
pub(super) fn service(cause: impl std::fmt::Display) -> AwsError {
    tracing::error!(%cause, "iam request failed");
    errors::service_failure_exception("The request processing has failed because of an unknown error.")
}

/// A failed store; a full disk is said, because the operator of this server is often the caller.
pub(super) fn store(error: StoreError) -> AwsError {
    match error {
        StoreError::Full => {
            tracing::error!("no space left on the data disk");
            errors::service_failure_exception("No space is left on the disk of the server.")
        }
        other => service(other),
    }
}
