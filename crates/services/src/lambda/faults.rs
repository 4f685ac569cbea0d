//! The modelled errors that Lambda gives most, with the `Type` member AWS sends along.

use lambkin_core::metadata::StoreError;
use lambkin_model::AwsError;
use lambkin_model::lambda::errors;

/// 404 `ResourceNotFoundException`.
pub(crate) fn not_found(message: impl Into<String>) -> AwsError {
    errors::resource_not_found_exception(message).with("Type", "User")
}

/// 400 `InvalidParameterValueException`.
pub(crate) fn invalid(message: impl Into<String>) -> AwsError {
    errors::invalid_parameter_value_exception(message).with("Type", "User")
}

/// 409 `ResourceConflictException`.
pub(crate) fn conflict(message: impl Into<String>) -> AwsError {
    errors::resource_conflict_exception(message).with("Type", "User")
}

/// 412 `PreconditionFailedException`: the caller has not seen the present state.
pub(crate) fn precondition_failed() -> AwsError {
    errors::precondition_failed_exception(
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to \
         retrieve the latest Revision Id",
    )
    .with("Type", "User")
}

/// 403 `AccessDeniedException`: no resource policy lets a caller, as its ARN or service, run an operation.
pub(crate) fn access_denied(who: &str, operation: &str, resource: &str) -> AwsError {
    AwsError::new(
        "AccessDeniedException",
        403,
        format!(
            "User: {who} is not authorized to perform: lambda:{operation} on resource: {resource} because no \
             resource-based policy allows the lambda:{operation} action"
        ),
    )
}

/// A setting that Lambkin knows and cannot honour yet; it is never stored silently.
pub(crate) fn unsupported(setting: &str) -> AwsError {
    invalid(format!("Lambkin does not support {setting} yet."))
}

/// 500 `ServiceException`. The cause is for the log; the caller learns only that it was not its fault.
pub(crate) fn service(cause: impl std::fmt::Display) -> AwsError {
    tracing::error!(%cause, "lambda request failed");
    errors::service_exception("An error occurred and the request cannot be processed.")
        .with("Type", "Service")
}

/// A failed store; a full disk is said, because the operator of this server is often the caller.
pub(crate) fn store(error: StoreError) -> AwsError {
    match error {
        StoreError::Full => {
            tracing::error!("no space left on the data disk");
            errors::service_exception("No space is left on the disk of the server.").with("Type", "Service")
        }
        other => service(other),
    }
}
