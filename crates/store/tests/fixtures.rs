//! Data folders that older programs wrote.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::fs;
use std::path::Path;
use std::sync::Arc;

use lambkin_core::clock::ManualClock;
use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogEvent, LogQuery, LogStore as _, LogStreamKey};
use lambkin_core::metadata::{Expect, MetadataStore as _, Write};
use lambkin_store::{Options, SqliteStore};

/// 2026-11-24, the day after the oldest fixture was written.
const NOW: u64 = 1_795_478_400_000;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() { copy(&path, &target) } else { fs::copy(&path, &target).map(drop).unwrap() }
    }
}

fn open(folder: &Path) -> SqliteStore {
    lambkin_store::open(folder, &Options::new(Arc::new(ManualClock::at(NOW)))).unwrap()
}

async fn messages(store: &SqliteStore, scope: &Scope, group: &str) -> Vec<String> {
    let query = LogQuery { limit: 1000, ..LogQuery::default() };
    let events = store.logs.events(scope, group, query).await.unwrap();
    events.into_iter().map(|event| event.message).collect()
}

#[tokio::test]
async fn reads_and_writes_version_1() {
    let place = tempfile::tempdir().unwrap();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/v1");
    copy(&fixture, place.path());
    let scope = Scope::new("000000000000", "us-east-1");
    for round in 0..2 {
        let store = open(place.path());
        let records = store.metadata.scan("lambda.function", "").await.unwrap();
        assert_eq!(records.len(), 1);
        assert!(records[0].key.ends_with("/hello"), "{}", records[0].key);
        let blobs = store.blobs.list_blocking().unwrap();
        let package = store.blobs.get_blocking(&blobs[0]).unwrap();
        assert!(package.starts_with(b"PK"));

        let groups = store.logs.groups(&scope, "", None, 10).await.unwrap();
        let found: Vec<_> = groups.iter().map(|group| (group.name.as_str(), group.retention_days)).collect();
        assert_eq!(found, [("/aws/lambda/hello", None), ("app", Some(3653))]);
        assert_eq!(groups[1].stored_bytes, (3 + round) * (6 + 26));
        let app = messages(&store, &scope, "app").await;
        assert_eq!(app[..3], ["line 0", "line 1", "line 2"]);
        assert_eq!(app.len() as u64, 3 + round);
        let printed = messages(&store, &scope, "/aws/lambda/hello").await;
        assert!(printed.contains(&"from the past 2\n".to_owned()), "{printed:?}");

        let key = LogStreamKey { scope: scope.clone(), group: "app".into(), stream: "one".into() };
        let event = LogEvent { timestamp: NOW as i64, message: "line 3".into() };
        store.logs.append(key, vec![event]).await.unwrap();
        let write =
            Write { kind: "k".into(), key: "a".into(), expect: Expect::Any, value: Some("value".into()) };
        assert!(store.metadata.commit(vec![write]).await.unwrap() > records[0].revision);
    }
}
