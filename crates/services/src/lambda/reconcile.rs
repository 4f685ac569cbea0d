//! What happens after the answer: functions that were created or changed are prepared and put into their
//! final state. Driven by the catalogue, so a restart takes up what was left.

use std::sync::Arc;
use std::time::Duration;

use lambkin_core::metadata::{Expect, StoreError};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::Inner;
use super::catalogue::Entry;
use super::record::{FunctionRecord, State, Status, Update};

/// How many functions are prepared at once.
const PARALLEL: usize = 8;

/// Pause before a failed store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// StateReasonCode of a runtime that the host does not have.
const INVALID_RUNTIME: &str = "InvalidRuntime";

/// Settles reported functions until nobody reports any more.
pub(crate) async fn run(inner: Arc<Inner>, mut unsettled: mpsc::UnboundedReceiver<Arc<Entry>>) {
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut tasks = JoinSet::new();
    while let Some(entry) = unsettled.recv().await {
        while tasks.try_join_next().is_some() {}
        let (inner, permits) = (inner.clone(), permits.clone());
        tasks.spawn(async move {
            let Ok(_permit) = permits.acquire_owned().await else { return };
            while let Err(error) = settle(&inner, &entry).await {
                tracing::warn!(function = %entry.record.name, %error, "cannot settle a function; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}

/// Whether a function failed for the lack of a runtime that the host may have got since.
pub(crate) fn may_be_retried(entry: &Entry) -> bool {
    let record = &entry.record;
    let lacks = |code: &Option<String>| code.as_deref() == Some(INVALID_RUNTIME);
    record.state.is == State::Failed && lacks(&record.state.reason_code)
        || record
            .last_update
            .as_ref()
            .is_some_and(|update| update.is == Update::Failed && lacks(&update.reason_code))
}

/// Prepares one function and writes how that went. A function that has changed meanwhile is left to the
/// report of that change.
async fn settle(inner: &Inner, entry: &Entry) -> Result<(), StoreError> {
    let current = &entry.record.current;
    let invoker = inner.invoker.clone();
    let runtime = current.config.runtime.clone();
    // Looking for an interpreter may start one.
    let available = tokio::task::spawn_blocking(move || invoker.runtime_available(&runtime))
        .await
        .map_err(|error| StoreError::Failed(format!("looking for the runtime: {error}")))?;
    let outcome = match available {
        Err(advice) if entry.record.is_unsettled() => Err((advice, INVALID_RUNTIME)),
        Err(_) => return Ok(()),
        Ok(version) => match inner.code.ensure(&current.code.sha256).await {
            Ok(()) => Ok(version),
            Err(super::code::PackageError::Store(error)) if !matches!(error, StoreError::NotFound) => {
                return Err(error);
            }
            Err(error) => {
                tracing::error!(function = %entry.record.name, %error, "cannot unpack a stored package");
                Err((format!("The deployment package cannot be read: {error}."), "InternalError"))
            }
        },
    };
    let next = settled(&entry.record, outcome);
    let revision = match inner.write(&entry.scope, &next, Expect::At(entry.revision)).await {
        Ok(revision) => revision,
        Err(StoreError::Conflict { .. }) => return Ok(()),
        Err(error) => return Err(error),
    };
    // Requests find the new state from here on; what runs the old one has had its time.
    inner.catalogue.wait(revision).await?;
    if let Some(running) = next.runnable() {
        inner.invoker.retire(&entry.scope.function_arn(&next.name), Some(&running.revision_id));
    }
    Ok(())
}

/// The state after preparation: the runtime's description, or reason and code of the failure.
fn settled(record: &FunctionRecord, outcome: Result<String, (String, &str)>) -> FunctionRecord {
    let mut next = record.clone();
    match outcome {
        Ok(version) => {
            next.current.runtime_version = Some(version);
            next.serving = None;
            next.state = Status::plain(State::Active);
            next.last_update = Some(Status::plain(Update::Successful));
        }
        Err((reason, code)) => {
            // A function with something to fall back on goes on running that.
            if next.serving.is_none() {
                next.state = Status::because(State::Failed, &reason, code);
            }
            if next.last_update.is_some() {
                next.last_update = Some(Status::because(Update::Failed, &reason, code));
            }
        }
    }
    next
}
