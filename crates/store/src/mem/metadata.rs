//! Metadata in ordered maps.

use std::collections::{BTreeMap, HashSet};
use std::sync::Mutex;

use lambkin_core::metadata::{
    Change, Expect, MetadataFuture, MetadataStore, Record, Revision, StoreError, Write,
};
use tokio::sync::mpsc;

use crate::lock;

/// Metadata in memory.
#[derive(Debug)]
pub struct MemMetadata {
    deletions_kept: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    revision: Revision,
    records: BTreeMap<(String, String), Record>,
    deletions: BTreeMap<(String, String), Revision>,
    // Deletions up to this revision may be forgotten.
    compacted: Revision,
    watchers: Vec<mpsc::UnboundedSender<Change>>,
}

impl Default for MemMetadata {
    fn default() -> Self {
        Self::new(crate::DEFAULT_DELETIONS_KEPT)
    }
}

impl MemMetadata {
    /// An empty store that remembers about `deletions_kept` deletions for [`MetadataStore::watch`].
    #[must_use]
    pub fn new(deletions_kept: usize) -> Self {
        Self { deletions_kept, state: Mutex::default() }
    }

    fn commit_now(&self, writes: Vec<Write>) -> Result<Revision, StoreError> {
        let mut state = lock(&self.state);
        if writes.is_empty() {
            return Ok(state.revision);
        }
        check_distinct(&writes)?;
        for write in &writes {
            let found = state.records.get(&(write.kind.clone(), write.key.clone()));
            if !expectation_holds(write.expect, found.map(|record| record.revision)) {
                return Err(conflict(write));
            }
        }
        state.revision += 1;
        let revision = state.revision;
        for Write { kind, key, value, .. } in writes {
            let place = (kind.clone(), key.clone());
            let change = if let Some(value) = value {
                let record = Record { kind, key, revision, value };
                state.deletions.remove(&place);
                state.records.insert(place, record.clone());
                Change::Put(record)
            } else {
                if state.records.remove(&place).is_none() {
                    continue;
                }
                state.deletions.insert(place, revision);
                Change::Deleted { kind, key, revision }
            };
            state.watchers.retain(|watcher| watcher.send(change.clone()).is_ok());
        }
        while state.deletions.len() > self.deletions_kept {
            let Some(oldest) = state.deletions.values().copied().min() else { break };
            state.deletions.retain(|_, revision| *revision != oldest);
            state.compacted = oldest;
        }
        Ok(revision)
    }

    fn watch_now(&self, from: Revision) -> Result<mpsc::UnboundedReceiver<Change>, StoreError> {
        let mut state = lock(&self.state);
        if from > state.revision || (from > 0 && from < state.compacted) {
            return Err(StoreError::Compacted(from));
        }
        let mut changes: Vec<(Revision, Change)> = state
            .records
            .values()
            .filter(|record| record.revision > from)
            .map(|record| (record.revision, Change::Put(record.clone())))
            .collect();
        if from > 0 {
            changes.extend(state.deletions.iter().filter(|(_, revision)| **revision > from).map(
                |((kind, key), &revision)| {
                    (revision, Change::Deleted { kind: kind.clone(), key: key.clone(), revision })
                },
            ));
        }
        changes.sort_by(|(a, x), (b, y)| (a, place(x)).cmp(&(b, place(y))));
        let (sender, receiver) = mpsc::unbounded_channel();
        for (_, change) in changes {
            // The receiver is held here.
            let _ = sender.send(change);
        }
        state.watchers.push(sender);
        Ok(receiver)
    }
}

fn place(change: &Change) -> (&str, &str) {
    match change {
        Change::Put(record) => (&record.kind, &record.key),
        Change::Deleted { kind, key, .. } => (kind, key),
    }
}

/// Refuses a commit that writes a record twice.
pub(crate) fn check_distinct(writes: &[Write]) -> Result<(), StoreError> {
    if writes.len() < 2 {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(writes.len());
    for write in writes {
        if !seen.insert((&write.kind, &write.key)) {
            return Err(StoreError::Failed(format!("commit writes {} {} twice", write.kind, write.key)));
        }
    }
    Ok(())
}

/// Whether a record of this revision, or none, is as expected.
pub(crate) fn expectation_holds(expect: Expect, found: Option<Revision>) -> bool {
    match expect {
        Expect::Any => true,
        Expect::Absent => found.is_none(),
        Expect::At(revision) => found == Some(revision),
    }
}

/// The error of a write whose condition does not hold.
pub(crate) fn conflict(write: &Write) -> StoreError {
    StoreError::Conflict { kind: write.kind.clone(), key: write.key.clone() }
}

impl MetadataStore for MemMetadata {
    fn get<'a>(&'a self, kind: &'a str, key: &'a str) -> MetadataFuture<'a, Option<Record>> {
        Box::pin(async move { Ok(lock(&self.state).records.get(&(kind.into(), key.into())).cloned()) })
    }

    fn scan<'a>(&'a self, kind: &'a str, prefix: &'a str) -> MetadataFuture<'a, Vec<Record>> {
        Box::pin(async move {
            let state = lock(&self.state);
            let from = (kind.to_owned(), prefix.to_owned());
            let range = state.records.range(from..).map(|(_, record)| record);
            Ok(range
                .take_while(|record| record.kind == kind && record.key.starts_with(prefix))
                .cloned()
                .collect())
        })
    }

    fn commit(&self, writes: Vec<Write>) -> MetadataFuture<'_, Revision> {
        Box::pin(async move { self.commit_now(writes) })
    }

    fn watch(&self, from: Revision) -> MetadataFuture<'_, mpsc::UnboundedReceiver<Change>> {
        Box::pin(async move { self.watch_now(from) })
    }
}
