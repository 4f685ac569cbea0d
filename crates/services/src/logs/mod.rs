//! CloudWatch Logs over a [`LogStore`]: groups, streams, reading, filtering and writing events.

mod api;
mod groups;
mod json_pattern;
mod names;
mod pattern;
mod put;
mod read;

use std::sync::Arc;

use lambkin_core::Clock;
use lambkin_core::logs::LogStore;
use lambkin_core::metadata::StoreError;
use lambkin_model::AwsError;
use lambkin_model::logs::errors;

pub(crate) use pattern::Pattern;

/// The Logs service. Give it to `lambkin_model::logs::Handler`.
pub struct LogsService {
    store: Arc<dyn LogStore>,
    clock: Arc<dyn Clock>,
}

impl std::fmt::Debug for LogsService {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogsService").finish_non_exhaustive()
    }
}

impl LogsService {
    /// A service that reads and writes `store`.
    #[must_use]
    pub fn new(store: Arc<dyn LogStore>, clock: Arc<dyn Clock>) -> Self {
        Self { store, clock }
    }
}

/// 400 `InvalidParameterException`.
fn invalid(message: impl Into<String>) -> AwsError {
    errors::invalid_parameter_exception(message)
}

fn no_group() -> AwsError {
    errors::resource_not_found_exception("The specified log group does not exist.")
}

fn no_stream() -> AwsError {
    errors::resource_not_found_exception("The specified log stream does not exist.")
}

/// A failed store; where it misses something that is the log group.
fn store(error: StoreError) -> AwsError {
    match error {
        StoreError::NotFound => no_group(),
        StoreError::Full => {
            tracing::error!("no space left on the data disk");
            errors::service_unavailable_exception("No space is left on the disk of the server.")
        }
        other => {
            tracing::error!(cause = %other, "logs request failed");
            errors::service_unavailable_exception("The service cannot complete the request.")
        }
    }
}

#[cfg(test)]
mod tests;
