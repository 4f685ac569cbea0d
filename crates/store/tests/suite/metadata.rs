//! Contract of `MetadataStore`.

use std::sync::Arc;

use lambkin_core::metadata::{Change, Expect, MetadataStore, Record, Revision, StoreError, Write};
use tokio::sync::mpsc::UnboundedReceiver;

use super::Fixture;

fn put(key: &str, value: &str) -> Write {
    Write { kind: "kind".into(), key: key.into(), expect: Expect::Any, value: Some(value.to_owned().into()) }
}

fn delete(key: &str) -> Write {
    Write { value: None, ..put(key, "") }
}

fn expecting(expect: Expect, write: Write) -> Write {
    Write { expect, ..write }
}

fn record(key: &str, revision: Revision, value: &str) -> Record {
    Record { kind: "kind".into(), key: key.into(), revision, value: value.to_owned().into() }
}

fn was_put(key: &str, revision: Revision, value: &str) -> Change {
    Change::Put(record(key, revision, value))
}

fn was_deleted(key: &str, revision: Revision) -> Change {
    Change::Deleted { kind: "kind".into(), key: key.into(), revision }
}

fn held(watcher: &mut UnboundedReceiver<Change>) -> Vec<Change> {
    std::iter::from_fn(|| watcher.try_recv().ok()).collect()
}

async fn keys(store: &Arc<dyn MetadataStore>, prefix: &str) -> Vec<String> {
    store.scan("kind", prefix).await.unwrap().into_iter().map(|record| record.key).collect()
}

pub(crate) async fn reads_what_was_committed(f: Fixture) {
    let store = f.metadata;
    assert_eq!(store.get("kind", "a").await.unwrap(), None);
    assert_eq!(store.commit(vec![put("a", "1")]).await.unwrap(), 1);
    assert_eq!(store.get("kind", "a").await.unwrap(), Some(record("a", 1, "1")));
    assert_eq!(store.commit(vec![put("a", "2"), put("b", "3")]).await.unwrap(), 2);
    assert_eq!(store.get("kind", "a").await.unwrap(), Some(record("a", 2, "2")));
    assert_eq!(store.get("other", "a").await.unwrap(), None);
    assert_eq!(store.commit(vec![delete("a")]).await.unwrap(), 3);
    assert_eq!(store.get("kind", "a").await.unwrap(), None);
    assert_eq!(store.scan("kind", "").await.unwrap(), vec![record("b", 2, "3")]);
}

pub(crate) async fn scans_by_prefix_in_key_order(f: Fixture) {
    let store = f.metadata;
    let names = ["a", "a/", "a/b", "a/b/c", "a0", "A", "é", "a%", "a_", "a\u{10ffff}", "a/\u{10ffff}x", "b"];
    store.commit(names.iter().map(|name| put(name, "")).collect()).await.unwrap();
    store.commit(vec![Write { kind: "kine".into(), ..put("a/z", "") }]).await.unwrap();
    for prefix in ["", "a", "a/", "a/b", "a%", "a_", "A", "é", "a\u{10ffff}", "c"] {
        let mut expected: Vec<&str> = names.iter().copied().filter(|name| name.starts_with(prefix)).collect();
        expected.sort_unstable();
        assert_eq!(keys(&store, prefix).await, expected, "{prefix}");
    }
    assert_eq!(store.scan("kin", "").await.unwrap(), vec![]);
}

pub(crate) async fn holds_any_text_and_bytes(f: Fixture) {
    let store = f.metadata;
    let bytes: Vec<u8> = (0..=255).cycle().take(1 << 20).collect();
    let odd = Write { kind: "k\0ind'".into(), value: Some(bytes.clone().into()), ..put("\0\"é;--", "") };
    let empty = Write { kind: String::new(), ..put("", "") };
    store.commit(vec![odd, empty]).await.unwrap();
    assert_eq!(store.get("k\0ind'", "\0\"é;--").await.unwrap().unwrap().value, bytes);
    assert_eq!(store.get("", "").await.unwrap().unwrap().value, "");
    assert_eq!(store.scan("k\0ind'", "\0").await.unwrap().len(), 1);
    assert_eq!(store.get("k", "").await.unwrap(), None);
}

pub(crate) async fn checks_conditions(f: Fixture) {
    let store = f.metadata;
    let conflicts = |result: Result<Revision, StoreError>| matches!(result, Err(StoreError::Conflict { kind, key }) if kind == "kind" && key == "a");
    assert!(conflicts(store.commit(vec![expecting(Expect::At(0), put("a", "x"))]).await));
    assert!(conflicts(store.commit(vec![expecting(Expect::At(1), delete("a"))]).await));
    assert_eq!(store.commit(vec![expecting(Expect::Absent, put("a", "1"))]).await.unwrap(), 1);
    assert!(conflicts(store.commit(vec![expecting(Expect::Absent, put("a", "x"))]).await));
    assert_eq!(store.commit(vec![expecting(Expect::At(1), put("a", "2"))]).await.unwrap(), 2);
    assert!(conflicts(store.commit(vec![expecting(Expect::At(1), put("a", "x"))]).await));
    assert!(conflicts(store.commit(vec![expecting(Expect::At(u64::MAX), put("a", "x"))]).await));
    assert!(conflicts(store.commit(vec![expecting(Expect::At(1), delete("a"))]).await));
    assert_eq!(store.commit(vec![expecting(Expect::At(2), delete("a"))]).await.unwrap(), 3);
    assert_eq!(store.commit(vec![expecting(Expect::Absent, put("a", "4"))]).await.unwrap(), 4);
    assert_eq!(store.get("kind", "a").await.unwrap(), Some(record("a", 4, "4")));
}

pub(crate) async fn commits_all_or_nothing(f: Fixture) {
    let store = f.metadata;
    store.commit(vec![put("a", "1")]).await.unwrap();
    let mut watcher = store.watch(1).await.unwrap();
    let conflict = vec![put("b", "x"), expecting(Expect::Absent, put("a", "x")), put("c", "x")];
    assert!(matches!(store.commit(conflict).await, Err(StoreError::Conflict { key, .. }) if key == "a"));
    assert_eq!(store.scan("kind", "").await.unwrap(), vec![record("a", 1, "1")]);
    assert_eq!(held(&mut watcher), vec![]);
    assert_eq!(store.commit(vec![put("a", "2")]).await.unwrap(), 2);
}

pub(crate) async fn refuses_a_record_written_twice(f: Fixture) {
    let store = f.metadata;
    let twice = store.commit(vec![put("a", "1"), delete("a")]).await;
    assert!(matches!(twice, Err(StoreError::Failed(_))), "{twice:?}");
    assert_eq!(store.get("kind", "a").await.unwrap(), None);
    assert_eq!(store.commit(vec![put("a", "1")]).await.unwrap(), 1);
}

pub(crate) async fn counts_revisions_without_gaps(f: Fixture) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..200 {
        let store = Arc::clone(&f.metadata);
        tasks.spawn(async move {
            // Only the first of each ten succeeds.
            let write = expecting(Expect::Absent, put(&format!("k{}", n / 10), &n.to_string()));
            (n / 10, store.commit(vec![write]).await)
        });
    }
    let mut revisions = Vec::new();
    while let Some(done) = tasks.join_next().await {
        if let (key, Ok(revision)) = done.unwrap() {
            let found = f.metadata.get("kind", &format!("k{key}")).await.unwrap().unwrap();
            assert_eq!(found.revision, revision);
            revisions.push(revision);
        }
    }
    revisions.sort_unstable();
    assert_eq!(revisions, (1..=20).collect::<Vec<_>>());
}

pub(crate) async fn an_empty_commit_changes_nothing(f: Fixture) {
    let store = f.metadata;
    assert_eq!(store.commit(vec![]).await.unwrap(), 0);
    store.commit(vec![put("a", "1")]).await.unwrap();
    assert_eq!(store.commit(vec![]).await.unwrap(), 1);
    assert_eq!(store.commit(vec![put("a", "2")]).await.unwrap(), 2);
}

pub(crate) async fn deleting_nothing_is_no_change(f: Fixture) {
    let store = f.metadata;
    let mut watcher = store.watch(0).await.unwrap();
    assert_eq!(store.commit(vec![delete("a")]).await.unwrap(), 1);
    assert_eq!(store.commit(vec![expecting(Expect::Absent, delete("a")), put("b", "")]).await.unwrap(), 2);
    assert_eq!(held(&mut watcher), vec![was_put("b", 2, "")]);
}

pub(crate) async fn watch_replays_the_present(f: Fixture) {
    let store = f.metadata;
    store.commit(vec![put("b", "1")]).await.unwrap();
    store.commit(vec![put("c", "2"), put("a", "2")]).await.unwrap();
    store.commit(vec![put("b", "3")]).await.unwrap();
    store.commit(vec![delete("c")]).await.unwrap();
    let mut watcher = store.watch(0).await.unwrap();
    assert_eq!(held(&mut watcher), vec![was_put("a", 2, "2"), was_put("b", 3, "3")]);
    store.commit(vec![put("c", "5"), delete("a")]).await.unwrap();
    assert_eq!(held(&mut watcher), vec![was_put("c", 5, "5"), was_deleted("a", 5)]);
}

pub(crate) async fn watch_continues_from_a_revision(f: Fixture) {
    let store = f.metadata;
    store.commit(vec![put("a", "1"), put("b", "1"), put("c", "1")]).await.unwrap();
    store.commit(vec![delete("a")]).await.unwrap();
    store.commit(vec![put("b", "3")]).await.unwrap();
    store.commit(vec![delete("b")]).await.unwrap();
    store.commit(vec![put("b", "5")]).await.unwrap();
    store.commit(vec![delete("c")]).await.unwrap();
    let missed = [was_deleted("a", 2), was_put("b", 5, "5"), was_deleted("c", 6)];
    for from in 1..=6 {
        let mut watcher = store.watch(from).await.unwrap();
        let at = |change: &Change| match change {
            Change::Put(record) => record.revision,
            Change::Deleted { revision, .. } => *revision,
        };
        let expected: Vec<_> = missed.iter().filter(|change| at(change) > from).cloned().collect();
        assert_eq!(held(&mut watcher), expected, "from {from}");
    }
}

pub(crate) async fn watchers_hold_a_commit_when_it_answers(f: Fixture) {
    let store = f.metadata;
    let mut first = store.watch(0).await.unwrap();
    let gone = store.watch(0).await.unwrap();
    let mut second = store.watch(0).await.unwrap();
    for n in 1..10 {
        let value = n.to_string();
        assert_eq!(store.commit(vec![put("a", &value)]).await.unwrap(), n);
        assert_eq!(held(&mut first), vec![was_put("a", n, &value)]);
        assert_eq!(held(&mut second), vec![was_put("a", n, &value)]);
    }
    drop(gone);
    store.commit(vec![delete("a")]).await.unwrap();
    assert_eq!(held(&mut first), vec![was_deleted("a", 10)]);
}

pub(crate) async fn watch_reports_compaction(f: Fixture) {
    let store = f.metadata;
    let names: Vec<String> = (0..5).map(|n| n.to_string()).collect();
    store.commit(names.iter().map(|name| put(name, "")).collect()).await.unwrap();
    for name in &names {
        store.commit(vec![delete(name)]).await.unwrap();
    }
    // Deleted at 2 to 6, of which the last three are held.
    for from in [1, 2] {
        assert!(matches!(store.watch(from).await, Err(StoreError::Compacted(at)) if at == from));
    }
    let held_deletions = |from: u64| (from.max(3) + 1..=6).map(|n| was_deleted(&names[n as usize - 2], n));
    for from in 3..=6 {
        let mut watcher = store.watch(from).await.unwrap();
        assert_eq!(held(&mut watcher), held_deletions(from).collect::<Vec<_>>(), "from {from}");
    }
    assert!(matches!(store.watch(7).await, Err(StoreError::Compacted(7))));
    assert_eq!(held(&mut store.watch(0).await.unwrap()), vec![]);
}

pub(crate) async fn watchers_see_commit_order(f: Fixture) {
    let mut early = f.metadata.watch(0).await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..100 {
        let store = Arc::clone(&f.metadata);
        tasks.spawn(async move {
            let writes = vec![put(&format!("a{n}"), ""), put(&format!("b{n}"), "")];
            store.commit(writes).await.unwrap();
            // A watcher that starts in between sees each commit once, too.
            let mut watcher = store.watch(0).await.unwrap();
            let mut seen = Vec::new();
            while seen.len() < 200 {
                let Some(Change::Put(record)) = watcher.recv().await else { panic!("end or deletion") };
                seen.push(record.revision);
            }
            seen
        });
    }
    let expected: Vec<u64> = (1..=100).flat_map(|n| [n, n]).collect();
    while let Some(seen) = tasks.join_next().await {
        assert_eq!(seen.unwrap(), expected);
    }
    let revisions: Vec<u64> = held(&mut early)
        .iter()
        .map(|change| match change {
            Change::Put(record) => record.revision,
            Change::Deleted { revision, .. } => *revision,
        })
        .collect();
    assert_eq!(revisions, expected);
}
