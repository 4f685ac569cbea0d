//! Random operations have the same answers from SQLite as from memory, which is the model; SQLite is closed and
//! opened again in between.

#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "a test")]

use std::fmt::Debug;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use lambkin_core::clock::ManualClock;
use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogEvent, LogQuery, LogStore, LogStreamKey};
use lambkin_core::metadata::{Change, Expect, MetadataStore, StoreError, Write};
use lambkin_store::{MemLogs, MemMetadata, Options, SqliteStore};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;
use tokio::sync::mpsc::UnboundedReceiver;

const DELETIONS_KEPT: usize = 4;
const START: u64 = 1_768_435_200_000;

/// A folder in memory if the machine has one: what is tested is not the disk.
fn folder() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap()
}

fn open(folder: &Path, clock: &Arc<ManualClock>) -> SqliteStore {
    let options = Options {
        deletions_kept: DELETIONS_KEPT,
        expire_every: None,
        checkpoint_pages: 10,
        ..Options::new(clock.clone())
    };
    lambkin_store::open(folder, &options).unwrap()
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

/// Answers in a form that can be compared: errors have no equality.
fn shown<T: Debug>(result: Result<T, StoreError>) -> String {
    format!("{result:?}")
}

#[derive(Debug, Clone)]
enum Operation {
    Commit(Vec<Write>),
    Get(String, String),
    Scan(String, String),
    Watch(u64),
    Reopen,
}

fn name() -> impl Strategy<Value = String> {
    select(vec!["", "a", "a/", "a/b", "a0", "b", "é"]).prop_map(str::to_owned)
}

fn write() -> impl Strategy<Value = Write> {
    let expect = prop_oneof![
        4 => Just(Expect::Any),
        1 => Just(Expect::Absent),
        1 => (0u64..20).prop_map(Expect::At),
    ];
    let value = option::weighted(0.6, vec(any::<u8>(), 0..20).prop_map(Into::into));
    (select(vec!["k", "l"]), name(), expect, value).prop_map(|(kind, key, expect, value)| Write {
        kind: kind.into(),
        key,
        expect,
        value,
    })
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => vec(write(), 0..4).prop_map(Operation::Commit),
        1 => (select(vec!["k", "l"]), name()).prop_map(|(kind, key)| Operation::Get(kind.into(), key)),
        1 => (select(vec!["k", "l", "m"]), name()).prop_map(|(kind, key)| Operation::Scan(kind.into(), key)),
        2 => (0u64..30).prop_map(Operation::Watch),
        1 => Just(Operation::Reopen),
    ]
}

fn held(watchers: &mut [UnboundedReceiver<Change>]) -> Vec<Vec<Change>> {
    watchers.iter_mut().map(|watcher| std::iter::from_fn(|| watcher.try_recv().ok()).collect()).collect()
}

async fn compare_metadata(operations: Vec<Operation>) {
    let folder = folder();
    let clock = Arc::new(ManualClock::at(START));
    let model = MemMetadata::new(DELETIONS_KEPT);
    let mut store = open(folder.path(), &clock);
    let mut watchers = (Vec::new(), Vec::new());
    for operation in operations {
        let shown = match operation.clone() {
            Operation::Commit(writes) => {
                (shown(model.commit(writes.clone()).await), shown(store.metadata.commit(writes).await))
            }
            Operation::Get(kind, key) => {
                (shown(model.get(&kind, &key).await), shown(store.metadata.get(&kind, &key).await))
            }
            Operation::Scan(kind, prefix) => {
                (shown(model.scan(&kind, &prefix).await), shown(store.metadata.scan(&kind, &prefix).await))
            }
            Operation::Watch(from) => {
                let watches = (model.watch(from).await, store.metadata.watch(from).await);
                let mut start = |watch: Result<_, _>, model: bool| {
                    let list = if model { &mut watchers.0 } else { &mut watchers.1 };
                    shown(watch.map(|watcher| list.push(watcher)))
                };
                (start(watches.0, true), start(watches.1, false))
            }
            Operation::Reopen => {
                drop(store);
                store = open(folder.path(), &clock);
                // The channels of the closed store have ended.
                watchers.0.clear();
                assert!(watchers.1.drain(..).all(|watcher| watcher.is_closed()));
                Default::default()
            }
        };
        assert_eq!(shown.0, shown.1, "{operation:?}");
        assert_eq!(held(&mut watchers.0), held(&mut watchers.1), "{operation:?}");
    }
}

#[derive(Debug, Clone)]
enum LogOperation {
    Append(LogStreamKey, Vec<LogEvent>),
    AppendSoon(LogStreamKey, Vec<LogEvent>),
    CreateGroup(String),
    DeleteGroup(String),
    SetRetention(String, Option<u32>),
    CreateStream(LogStreamKey),
    DeleteStream(LogStreamKey),
    Groups(String, Option<String>, usize),
    Streams(String, String),
    Events(String, LogQuery),
    Advance(u64),
    Expire,
    Reopen,
}

fn scope() -> Scope {
    Scope::new("000000000000", "eu-central-1")
}

fn group() -> impl Strategy<Value = String> {
    select(vec!["g", "g/h", "h"]).prop_map(str::to_owned)
}

fn stream() -> impl Strategy<Value = String> {
    select(vec!["s", "s/1", "s/2", "t"]).prop_map(str::to_owned)
}

fn key() -> impl Strategy<Value = LogStreamKey> {
    (group(), stream()).prop_map(|(group, stream)| LogStreamKey {
        scope: scope(),
        group: group.into(),
        stream: stream.into(),
    })
}

/// Around the start, in steps of half a day, so that many are equal and some expire.
fn timestamp() -> impl Strategy<Value = i64> {
    (-4i64..8).prop_map(|n| START as i64 + n * 43_200_000)
}

fn events() -> impl Strategy<Value = Vec<LogEvent>> {
    vec((timestamp(), "[a-zé]{0,8}").prop_map(|(timestamp, message)| LogEvent { timestamp, message }), 0..6)
}

fn query() -> impl Strategy<Value = LogQuery> {
    let bounds = (option::of(timestamp()), option::weighted(0.3, timestamp()));
    let after = option::weighted(0.3, (timestamp(), 0u64..40));
    let streams = (vec(stream(), 0..3), option::weighted(0.2, select(vec!["", "s", "s/", "x"])));
    (bounds, after, streams, any::<bool>(), select(vec![0, 1, 3, 1000])).prop_map(
        |((start, end), after, (streams, prefix), backward, limit)| LogQuery {
            streams,
            stream_prefix: prefix.map(str::to_owned),
            start: start.filter(|_| limit != 3),
            end,
            after,
            backward,
            limit,
        },
    )
}

fn log_operation() -> impl Strategy<Value = LogOperation> {
    prop_oneof![
        5 => (key(), events()).prop_map(|(key, events)| LogOperation::Append(key, events)),
        5 => (key(), events()).prop_map(|(key, events)| LogOperation::AppendSoon(key, events)),
        1 => group().prop_map(LogOperation::CreateGroup),
        1 => group().prop_map(LogOperation::DeleteGroup),
        1 => (group(), option::of(1u32..4)).prop_map(|(group, days)| LogOperation::SetRetention(group, days)),
        1 => key().prop_map(LogOperation::CreateStream),
        1 => key().prop_map(LogOperation::DeleteStream),
        1 => (select(vec!["", "g", "h", "i"]), option::of(group()), 0usize..4)
            .prop_map(|(prefix, after, limit)| LogOperation::Groups(prefix.into(), after, limit)),
        1 => (group(), select(vec!["", "s", "s/", "u"]))
            .prop_map(|(group, prefix)| LogOperation::Streams(group, prefix.into())),
        5 => (group(), query()).prop_map(|(group, query)| LogOperation::Events(group, query)),
        2 => (0u64..86_400_000).prop_map(LogOperation::Advance),
        1 => Just(LogOperation::Expire),
        1 => Just(LogOperation::Reopen),
    ]
}

async fn run(store: &dyn LogStore, operation: LogOperation) -> String {
    let scope = scope();
    match operation {
        LogOperation::Append(key, events) => shown(store.append(key, events).await),
        LogOperation::AppendSoon(key, events) => shown({
            store.append_soon(&key, events);
            Ok(())
        }),
        LogOperation::CreateGroup(group) => shown(store.create_group(&scope, &group).await),
        LogOperation::DeleteGroup(group) => shown(store.delete_group(&scope, &group).await),
        LogOperation::SetRetention(group, days) => shown(store.set_retention(&scope, &group, days).await),
        LogOperation::CreateStream(key) => shown(store.create_stream(&key).await),
        LogOperation::DeleteStream(key) => shown(store.delete_stream(&key).await),
        LogOperation::Groups(prefix, after, limit) => {
            shown(store.groups(&scope, &prefix, after.as_deref(), limit).await)
        }
        LogOperation::Streams(group, prefix) => shown(store.streams(&scope, &group, &prefix).await),
        LogOperation::Events(group, query) => shown(store.events(&scope, &group, query).await),
        LogOperation::Advance(_) | LogOperation::Expire | LogOperation::Reopen => String::new(),
    }
}

async fn compare_logs(operations: Vec<LogOperation>) {
    let folder = folder();
    let clock = Arc::new(ManualClock::at(START));
    let model = MemLogs::new(clock.clone());
    let mut store = open(folder.path(), &clock);
    for operation in operations {
        match operation {
            LogOperation::Advance(millis) => clock.advance(Duration::from_millis(millis)),
            LogOperation::Expire => {
                model.expire().await.unwrap();
                store.logs.expire().await.unwrap();
            }
            LogOperation::Reopen => {
                drop(store);
                store = open(folder.path(), &clock);
            }
            _ => {}
        }
        let expected = run(&model, operation.clone()).await;
        assert_eq!(run(&*store.logs, operation.clone()).await, expected, "{operation:?}");
    }
    for group in ["g", "g/h", "h"] {
        let all = LogOperation::Events(group.into(), LogQuery { limit: 1000, ..LogQuery::default() });
        let streams = LogOperation::Streams(group.into(), String::new());
        let groups = LogOperation::Groups(String::new(), None, 9);
        for operation in [all, streams, groups] {
            let expected = run(&model, operation.clone()).await;
            assert_eq!(run(&*store.logs, operation.clone()).await, expected, "at the end: {operation:?}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn metadata_answers_as_the_model(operations in vec(operation(), 1..60)) {
        block_on(compare_metadata(operations));
    }

    #[test]
    fn logs_answer_as_the_model(operations in vec(log_operation(), 1..60)) {
        block_on(compare_logs(operations));
    }
}
