//! The contract of the store traits, stamped on every backend.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

mod suite;

use std::sync::Arc;

use lambkin_core::clock::ManualClock;
use lambkin_store::{MemLogs, MemMetadata, Options};

use suite::{DELETIONS_KEPT, Fixture, NOW};

fn mem() -> Fixture {
    let clock = Arc::new(ManualClock::at(NOW));
    let logs = Arc::new(MemLogs::new(clock.clone()));
    let expiring = Arc::clone(&logs);
    Fixture {
        metadata: Arc::new(MemMetadata::new(DELETIONS_KEPT)),
        logs,
        expire: Box::new(move || {
            let logs = Arc::clone(&expiring);
            Box::pin(async move { logs.expire().await })
        }),
        clock,
        guard: None,
    }
}

fn sqlite() -> Fixture {
    let clock = Arc::new(ManualClock::at(NOW));
    let folder = tempfile::tempdir().unwrap();
    let options =
        Options { deletions_kept: DELETIONS_KEPT, expire_every: None, ..Options::new(clock.clone()) };
    let store = lambkin_store::open(&folder.path().join("data"), &options).unwrap();
    let expiring = Arc::clone(&store.logs);
    Fixture {
        metadata: store.metadata,
        logs: store.logs,
        expire: Box::new(move || {
            let logs = Arc::clone(&expiring);
            Box::pin(async move { logs.expire().await })
        }),
        clock,
        guard: Some(folder),
    }
}

store_test_suite!(in_mem, mem);
store_test_suite!(in_sqlite, sqlite);
