//! What happens after the answer: functions that were created or changed are prepared and put into their
//! final state. Driven by the catalogue, so a restart takes up what was left.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use lambkin_core::metadata::{Expect, Revision, StoreError, Write};
use serde::Serialize;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::Inner;
use super::archive::ArchiveError;
use super::catalogue::{Entry, Unsettled, VersionEntry};
use super::code::PackageError;
use super::create::{io_error, new_revision_id};
use super::function_settings::RuntimeManagement;
use super::names::Version;
use super::record::{FunctionRecord, KIND, Snapshot, State, Status, Update, VERSION_KIND, part_key};
use super::view::runtime_version_arn;

/// How many functions are prepared at once.
const PARALLEL: usize = 8;

/// Pause before a failed store is asked again.
const PAUSE: Duration = Duration::from_secs(1);

/// StateReasonCode of a runtime that the host does not have.
const INVALID_RUNTIME: &str = "InvalidRuntime";

/// Settles what is reported until nobody reports any more.
pub(crate) async fn run(inner: Arc<Inner>, mut unsettled: mpsc::UnboundedReceiver<Unsettled>) {
    let permits = Arc::new(Semaphore::new(PARALLEL));
    let mut tasks = JoinSet::new();
    while let Some(reported) = unsettled.recv().await {
        while tasks.try_join_next().is_some() {}
        let (inner, permits) = (inner.clone(), permits.clone());
        tasks.spawn(async move {
            let Ok(_permit) = permits.acquire_owned().await else { return };
            loop {
                let (what, settled) = match &reported {
                    Unsettled::Function(entry) => (entry.record.name.as_str(), settle(&inner, entry).await),
                    Unsettled::Version(entry, version) => {
                        (entry.record.name.as_str(), settle_version(&inner, entry, version).await)
                    }
                    Unsettled::Mapping(scope, mapping, revision) => {
                        (mapping.uuid(), inner.settle_mapping(scope, mapping, *revision).await)
                    }
                };
                let Err(error) = settled else { return };
                tracing::warn!(%what, %error, "cannot settle a function or mapping; trying again");
                tokio::time::sleep(PAUSE).await;
            }
        });
    }
}

/// Tells the invoker which runtimes there are functions of, so that it can prepare for them.
pub(crate) async fn announce_runtimes(inner: Arc<Inner>) {
    let all = inner.catalogue.all();
    let runtimes: BTreeSet<String> =
        all.iter().map(|entry| entry.record.current.config.runtime.clone()).collect();
    for runtime in runtimes {
        let invoker = inner.invoker.clone();
        // What it answers was settled when the functions were made.
        let _ = tokio::task::spawn_blocking(move || invoker.runtime_available(&runtime)).await;
    }
}

/// What of a function failed for the lack of a runtime that the host may have got since.
pub(crate) fn to_be_retried(entry: &Arc<Entry>) -> Vec<Unsettled> {
    let record = &entry.record;
    let lacks = |code: &Option<String>| code.as_deref() == Some(INVALID_RUNTIME);
    let failed = record.state.is == State::Failed && lacks(&record.state.reason_code)
        || record
            .last_update
            .as_ref()
            .is_some_and(|update| update.is == Update::Failed && lacks(&update.reason_code));
    let versions = entry.versions.values().filter(|version| {
        version.record.state.is == State::Failed && lacks(&version.record.state.reason_code)
    });
    failed
        .then(|| Unsettled::Function(entry.clone()))
        .into_iter()
        .chain(versions.map(|version| Unsettled::Version(entry.clone(), version.clone())))
        .collect()
}

/// How a preparation went: the runtime's description, or reason and code of the failure.
type Outcome = Result<String, (String, &'static str)>;

/// Prepares code and runtime of one state of a version.
async fn prepare(
    inner: &Inner,
    entry: &Entry,
    version: Version,
    snapshot: &Snapshot,
) -> Result<Outcome, StoreError> {
    let invoker = inner.invoker.clone();
    let runtime = snapshot.config.runtime.clone();
    // Looking for an interpreter may start one.
    let available = tokio::task::spawn_blocking(move || invoker.runtime_available(&runtime))
        .await
        .map_err(|error| StoreError::Failed(format!("looking for the runtime: {error}")))?;
    let found = match available {
        Ok(found) => found,
        Err(advice) => return Ok(Err((advice, INVALID_RUNTIME))),
    };
    let bound = entry.dependent::<RuntimeManagement>(&version.to_string());
    if let Some(pinned) = bound.as_ref().and_then(|bound| bound.pinned())
        && pinned != runtime_version_arn(&entry.scope, &found)
    {
        let reason = format!(
            "The function is bound to the runtime version {pinned}, and this host has {found}. Bring the former \
             back, or set the runtime management to Auto."
        );
        return Ok(Err((reason, INVALID_RUNTIME)));
    }
    for package in snapshot.packages() {
        match inner.code.ensure(&package.sha256).await {
            Ok(()) => {}
            Err(PackageError::Store(error)) if !matches!(error, StoreError::NotFound) => return Err(error),
            // The disk may have room again later; the package is not the worse for it.
            Err(PackageError::Archive(ArchiveError::Io(error))) => return Err(io_error(&error)),
            Err(error) => {
                tracing::error!(function = %entry.record.name, %error, "cannot unpack a stored package");
                let reason = format!("The deployment package or a layer cannot be read: {error}.");
                return Ok(Err((reason, "InternalError")));
            }
        }
    }
    Ok(Ok(found))
}

/// Whether something failed before and would fail the same again.
fn is_no_news(is_unsettled: bool, outcome: &Outcome) -> bool {
    !is_unsettled && matches!(outcome, Err((_, INVALID_RUNTIME)))
}

/// Prepares one function and writes how that went. A function that has changed meanwhile is left to the
/// report of that change.
async fn settle(inner: &Inner, entry: &Entry) -> Result<(), StoreError> {
    let outcome = prepare(inner, entry, Version::Latest, &entry.record.current).await?;
    if is_no_news(entry.record.is_unsettled(), &outcome) {
        return Ok(());
    }
    let next = settled(&entry.record, outcome);
    let key = FunctionRecord::key(&entry.scope, &next.name);
    if !write(inner, KIND, key, entry.revision, &next).await? {
        return Ok(());
    }
    // Requests find the new state from here on; what runs the old one has had its time.
    if let Some(running) = next.runnable() {
        inner.invoker.retire(&entry.scope.function_arn(&next.name), Some(&running.revision_id));
    }
    Ok(())
}

/// Prepares one published version and writes how that went.
async fn settle_version(inner: &Inner, entry: &Entry, version: &VersionEntry) -> Result<(), StoreError> {
    let number = Version::Number(version.record.number);
    let outcome = prepare(inner, entry, number, &version.record.snapshot).await?;
    if is_no_news(version.record.state.is == State::Pending, &outcome) {
        return Ok(());
    }
    let mut next = version.record.clone();
    next.state = match outcome {
        Ok(runtime) => {
            next.snapshot.runtime_version = Some(runtime);
            Status::plain(State::Active)
        }
        Err((reason, code)) => Status::because(State::Failed, &reason, code),
    };
    let key = part_key(&entry.scope, &entry.record.name, &number.to_string());
    write(inner, VERSION_KIND, key, version.revision, &next).await?;
    Ok(())
}

/// Commits a record that replaces the one of a revision, and waits until the catalogue shows it; `false`
/// where that one is no longer there.
async fn write(
    inner: &Inner,
    kind: &str,
    key: String,
    revision: Revision,
    next: &impl Serialize,
) -> Result<bool, StoreError> {
    let value = serde_json::to_vec(next).map_err(|error| StoreError::Failed(error.to_string()))?;
    let expect = Expect::At(revision);
    let write = Write { kind: kind.to_owned(), key, expect, value: Some(value.into()) };
    match inner.metadata.commit(vec![write]).await {
        Ok(_) => inner.catalogue.catch_up().await.map(|()| true),
        Err(StoreError::Conflict { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The state after preparation. It has a RevisionId of its own, as in AWS: the one that the change answered
/// is no longer good for guarding another.
fn settled(record: &FunctionRecord, outcome: Outcome) -> FunctionRecord {
    let mut next = record.clone();
    next.current.revision_id = new_revision_id();
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
