//! Snapshots of a store that goes on.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lambkin_core::clock::ManualClock;
use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogEvent, LogQuery, LogStore as _, LogStreamKey};
use lambkin_core::metadata::{Expect, MetadataStore as _, StoreError, Write};
use lambkin_store::{Options, Snapshot, SqliteStore};

const START: u64 = 1_768_435_200_000;
const DAY: Duration = Duration::from_secs(86_400);

fn open(folder: &Path, clock: &Arc<ManualClock>) -> SqliteStore {
    lambkin_store::open(folder, &Options { expire_every: None, ..Options::new(clock.clone()) }).unwrap()
}

fn scope() -> Scope {
    Scope::new("123456789012", "eu-central-1")
}

fn stream(group: &str) -> LogStreamKey {
    LogStreamKey { scope: scope(), group: group.into(), stream: "s".into() }
}

fn event(time: u64, message: &str) -> Vec<LogEvent> {
    vec![LogEvent { timestamp: time as i64, message: message.into() }]
}

async fn put(store: &SqliteStore, key: &str) {
    let (kind, key) = ("k".to_owned(), key.to_owned());
    store
        .metadata
        .commit(vec![Write { kind, key, expect: Expect::Any, value: Some("v".into()) }])
        .await
        .unwrap();
}

async fn messages(store: &SqliteStore, group: &str) -> Vec<String> {
    let query = LogQuery { limit: 1_000_000, ..LogQuery::default() };
    let events = store.logs.events(&scope(), group, query).await.unwrap();
    events.into_iter().map(|event| event.message).collect()
}

/// Copies a snapshot's parts to where they belong.
fn copy(snapshot: Snapshot, to: &Path) -> Vec<String> {
    let mut names = Vec::new();
    for part in snapshot {
        let part = part.unwrap();
        let target = to.join(&part.name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(&part.path, &target).unwrap();
        names.push(part.name.clone());
    }
    names.sort();
    names
}

#[tokio::test]
async fn holds_one_moment_while_the_store_goes_on() {
    let (place, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::at(START));
    let store = open(place.path(), &clock);
    put(&store, "before").await;
    let blob = store.blobs.put_blocking(b"kept").unwrap();
    store.logs.create_group(&scope(), "old").await.unwrap();
    store.logs.set_retention(&scope(), "old", Some(1)).await.unwrap();
    store.logs.append(stream("old"), event(START, "yesterday")).await.unwrap();
    store.logs.append(stream("g"), event(START, "yesterday")).await.unwrap();
    clock.advance(DAY);
    let today = START + DAY.as_millis() as u64;
    // Not waited for, but handed over before.
    store.logs.append_soon(&stream("g"), event(today, "today"));

    let snapshot = store.snapshot(true).await.unwrap();
    assert!(matches!(store.snapshot(true).await, Err(StoreError::Exists)), "one at a time");
    put(&store, "after").await;
    store.blobs.delete_blocking(&blob).unwrap();
    store.logs.append(stream("g"), event(today, "later")).await.unwrap();
    store.logs.append(stream("new"), event(today, "later")).await.unwrap();
    store.logs.delete_group(&scope(), "g").await.unwrap();
    clock.advance(DAY);
    store.logs.append(stream("new"), event(today, "next day")).await.unwrap();
    // Expired events and those of the deleted group stay on disk until the snapshot is done.
    let expiring = tokio::spawn({
        let logs = store.logs.clone();
        async move { logs.expire().await }
    });
    store.logs.append(stream("new"), event(today, "while held")).await.unwrap();
    assert!(!expiring.is_finished());

    let names = copy(snapshot, copied.path());
    let blob_name = format!("blobs/{}/{blob}", &blob[..2]);
    let days = ["logs/logs-20260115.db", "logs/logs-20260116.db"];
    assert_eq!(names, [blob_name.as_str(), "logs/index.db", days[0], days[1], "meta.db"]);
    assert!(!place.path().join("staging").exists());
    expiring.await.unwrap().unwrap();
    assert!(!place.path().join(days[0]).exists(), "removed once nothing holds it");
    drop(store.snapshot(false).await.unwrap());

    let clock = Arc::new(ManualClock::at(today));
    let copy = open(copied.path(), &clock);
    assert!(copy.metadata.get("k", "before").await.unwrap().is_some());
    assert!(copy.metadata.get("k", "after").await.unwrap().is_none());
    assert_eq!(copy.blobs.get_blocking(&blob).unwrap(), "kept");
    assert_eq!(messages(&copy, "g").await, ["yesterday", "today"]);
    let groups = copy.logs.groups(&scope(), "", None, 10).await.unwrap();
    let found: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.stored_bytes)).collect();
    assert_eq!(found, [("g", 26 * 2 + 14), ("old", 26 + 9)]);
    // Ids and sequence numbers go on where the copy ends.
    copy.logs.append(stream("other"), event(today, "other")).await.unwrap();
    assert_eq!(messages(&copy, "other").await, ["other"]);
}

#[tokio::test]
async fn leaves_logs_out() {
    let (place, copied) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let clock = Arc::new(ManualClock::at(START));
    let store = open(place.path(), &clock);
    store.logs.append(stream("g"), event(START, "x")).await.unwrap();
    assert_eq!(copy(store.snapshot(false).await.unwrap(), copied.path()), ["meta.db"]);
    assert!(open(copied.path(), &clock).logs.groups(&scope(), "", None, 10).await.unwrap().is_empty());
}
