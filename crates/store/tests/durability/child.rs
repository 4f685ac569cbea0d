//! The process that writes, and the check of what it acknowledged.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lambkin_core::blobs::BlobStore;
use lambkin_core::clock::ManualClock;
use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogEvent, LogQuery, LogStore, LogStreamKey};
use lambkin_core::metadata::{Expect, MetadataStore, StoreError, Write};
use lambkin_store::{Options, SqliteStore};
use tokio::task::JoinSet;

/// Environment variables of the child.
pub(crate) const MODE: &str = "LAMBKIN_STORE_TEST_CHILD";
pub(crate) const FOLDER: &str = "LAMBKIN_STORE_TEST_FOLDER";
/// Starts the lines that report an acknowledgement.
pub(crate) const ACK: &str = "ACK ";

const START: u64 = 1_768_435_200_000;
const DAY: Duration = Duration::from_secs(86_400);

fn options(clock: &Arc<ManualClock>) -> Options {
    // Checkpoints come often, so that many are cut.
    Options { checkpoint_pages: 8, expire_every: None, ..Options::new(clock.clone()) }
}

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap()
        .block_on(future)
}

pub(crate) fn run(mode: &str, folder: &Path) {
    let mut words = mode.split(' ');
    match words.next().unwrap() {
        "endless" => block_on(endless(folder, words.next().unwrap())),
        "once" => block_on(once(folder)),
        "full" => {
            let acknowledged = block_on(full(folder));
            check(&folder.join("data"), &acknowledged).unwrap();
        }
        _ => panic!("mode {mode}"),
    }
}

fn acknowledge(what: &str) {
    // One write, as it is one line.
    println!("{ACK}{what}");
}

/// The value of a record, from its key: between 0 and 6 KB.
fn value(key: &str) -> Bytes {
    let length = key.bytes().fold(7usize, |sum, byte| (sum * 31 + usize::from(byte)) % 6000);
    key.bytes().cycle().take(length).collect::<Vec<_>>().into()
}

fn put(key: &str) -> Write {
    Write { kind: "kept".into(), key: key.into(), expect: Expect::Absent, value: Some(value(key)) }
}

fn stream(group: &str, stream: &str) -> LogStreamKey {
    LogStreamKey {
        scope: Scope::new("000000000000", "eu-central-1"),
        group: group.into(),
        stream: stream.into(),
    }
}

/// Commits a record together with a counter that is written over and a record that comes and goes.
async fn commit(store: &SqliteStore, writer: &str, n: u64) {
    let key = format!("{writer}-{n}");
    let any = |key: String, value: Option<Bytes>| Write {
        kind: "changing".into(),
        key,
        expect: Expect::Any,
        value,
    };
    let comes = n.is_multiple_of(2).then(|| value(&key));
    let writes = vec![
        put(&key),
        any(format!("counter {writer}"), Some(n.to_string().into())),
        any(format!("comes and goes {writer}"), comes),
    ];
    store.metadata.commit(writes).await.unwrap();
    acknowledge(&format!("record {key}"));
    acknowledge(&format!("counter {writer} {n}"));
}

async fn log(store: &SqliteStore, writer: &str, n: u64) {
    let message = format!("{writer}-{n}");
    let events = vec![LogEvent { timestamp: START as i64 + n as i64, message: message.clone() }];
    store.logs.append(stream("kept", writer), events).await.unwrap();
    acknowledge(&format!("event {message}"));
}

async fn blob(store: &SqliteStore, writer: &str, n: u64) {
    let content = value(&format!("blob {writer}-{n}"));
    let name = store.blobs.put(content).await.unwrap();
    acknowledge(&format!("blob {name}"));
}

/// Writes until it is killed.
async fn endless(folder: &Path, round: &str) {
    let clock = Arc::new(ManualClock::at(START));
    let store = Arc::new(lambkin_store::open(folder, &options(&clock)).unwrap());
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (store, writer) = (Arc::clone(&store), format!("{round}.{task}"));
        tasks.spawn(async move {
            for n in 1.. {
                match task {
                    0..4 => commit(&store, &writer, n).await,
                    4..7 => log(&store, &writer, n).await,
                    _ => blob(&store, &writer, n).await,
                }
            }
        });
    }
    tasks.join_all().await;
}

/// Writes a little of everything, over several days, and ends in order.
async fn once(folder: &Path) {
    let clock = Arc::new(ManualClock::at(START));
    let store = Arc::new(lambkin_store::open(folder, &options(&clock)).unwrap());
    store.logs.create_group(&stream("old", "").scope, "old").await.unwrap();
    store.logs.set_retention(&stream("old", "").scope, "old", Some(1)).await.unwrap();
    // Days of which nothing stays, for their files to be removed.
    for day in 0..2i64 {
        let timestamp = START as i64 + day * 86_400_000;
        let events = vec![LogEvent { timestamp, message: "old".into() }];
        store.logs.append(stream("old", "s"), events).await.unwrap();
        clock.advance(DAY);
    }
    let mut tasks = JoinSet::new();
    for task in 0..8 {
        let (store, writer) = (Arc::clone(&store), format!("w.{task}"));
        let clock = Arc::clone(&clock);
        tasks.spawn(async move {
            for n in 1..=12 {
                match task {
                    0..4 => commit(&store, &writer, n).await,
                    4..6 => log(&store, &writer, n).await,
                    6 if n < 6 => blob(&store, &writer, n).await,
                    7 if n % 4 == 0 => {
                        clock.advance(DAY);
                        store.logs.expire().await.unwrap();
                    }
                    7 => store.logs.append_soon(
                        &stream("soon", "s"),
                        vec![LogEvent { timestamp: 1, message: "x".into() }],
                    ),
                    _ => {}
                }
            }
        });
    }
    tasks.join_all().await;
}

/// Fills the file system and frees it again; the folder is the mount point.
async fn full(folder: &Path) -> BTreeSet<String> {
    let clock = Arc::new(ManualClock::at(START));
    let data = folder.join("data");
    let store = lambkin_store::open(&data, &options(&clock)).unwrap();
    let filler = folder.join("filler");
    std::fs::write(&filler, vec![1; 1 << 20]).unwrap();
    let mut acknowledged = BTreeSet::new();
    for round in 0..3 {
        // Records until there is no room.
        let mut refused = 0;
        for n in 0.. {
            let key = format!("{round}-{n}");
            match store.metadata.commit(vec![put(&key)]).await {
                Ok(_) => drop(acknowledged.insert(format!("record {key}"))),
                Err(StoreError::Full) => {
                    refused += 1;
                    assert_eq!(store.metadata.get("kept", &key).await.unwrap(), None);
                    if refused > 3 {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        let soon = format!("soon-{round}");
        store
            .logs
            .append_soon(&stream("kept", "soon"), vec![LogEvent { timestamp: 1, message: soon.clone() }]);
        loop {
            let large = LogEvent { timestamp: 0, message: "x".repeat(4000) };
            match store.logs.append(stream("large", "s"), vec![large]).await {
                Ok(()) => {}
                Err(StoreError::Full) => break,
                Err(error) => panic!("{error}"),
            }
        }
        assert!(matches!(store.blobs.put(vec![round; 1 << 20].into()).await, Err(StoreError::Full)));
        assert_eq!(std::fs::read_dir(data.join("blobs/tmp")).unwrap().count(), 0);
        // With room again, the store goes on by itself; what it took on is not lost.
        std::fs::remove_file(&filler).unwrap();
        for n in 0..3 {
            let key = format!("{round}-after-{n}");
            store.metadata.commit(vec![put(&key)]).await.unwrap();
            acknowledged.insert(format!("record {key}"));
            let message = format!("{round}-after-{n}");
            let event = LogEvent { timestamp: 1, message: message.clone() };
            store.logs.append(stream("kept", "s"), vec![event]).await.unwrap();
            acknowledged.insert(format!("event {message}"));
        }
        acknowledged.insert(format!("event {soon}"));
        match store.logs.delete_group(&stream("large", "s").scope, "large").await {
            Ok(()) | Err(StoreError::NotFound) => {}
            Err(error) => panic!("{error}"),
        }
        store.logs.expire().await.unwrap();
        let free = rustix::fs::statvfs(folder).unwrap();
        let room = (free.f_bavail * free.f_frsize).saturating_sub(64 << 10);
        std::fs::write(&filler, vec![1; usize::try_from(room).unwrap()]).unwrap();
    }
    assert_eq!(store.logs.dropped_events(), 0);
    std::fs::remove_file(&filler).unwrap();
    acknowledged
}

/// Opens a folder and looks for everything acknowledged. The reason if something is wrong.
pub(crate) fn check(folder: &Path, acknowledged: &BTreeSet<String>) -> Result<(), String> {
    let clock = Arc::new(ManualClock::at(START + 30 * 86_400_000));
    {
        let store = lambkin_store::open(folder, &options(&clock)).map_err(|error| error.to_string())?;
        block_on(find(&store, acknowledged))?;
    }
    let mut databases = vec![folder.join("meta.db")];
    for entry in std::fs::read_dir(folder.join("logs")).map_err(|error| error.to_string())? {
        databases.push(entry.unwrap().path());
    }
    for path in databases.iter().filter(|path| path.extension().is_some_and(|extension| extension == "db")) {
        let report: String = rusqlite::Connection::open(path)
            .and_then(|file| file.query_row("PRAGMA integrity_check", (), |row| row.get(0)))
            .map_err(|error| error.to_string())?;
        if report != "ok" {
            return Err(format!("{}: {report}", path.display()));
        }
    }
    Ok(())
}

async fn find(store: &SqliteStore, acknowledged: &BTreeSet<String>) -> Result<(), String> {
    let text = |error: StoreError| error.to_string();
    let query = LogQuery { limit: usize::MAX, ..LogQuery::default() };
    let events = match store.logs.events(&stream("kept", "").scope, "kept", query).await {
        Ok(events) => events.into_iter().map(|event| event.message).collect(),
        Err(StoreError::NotFound) => BTreeSet::new(),
        Err(error) => return Err(text(error)),
    };
    let records = store.metadata.scan("kept", "").await.map_err(text)?;
    let kept: BTreeSet<&str> = records.iter().map(|record| record.key.as_str()).collect();
    if let Some(record) = records.iter().find(|record| record.value != value(&record.key)) {
        return Err(format!("record {} has another value", record.key));
    }
    for ack in acknowledged {
        let (what, name) = ack.split_once(' ').unwrap();
        let found = match what {
            "record" => kept.contains(name),
            "event" => events.contains(name),
            "blob" => store
                .blobs
                .get(name)
                .await
                .is_ok_and(|content| lambkin_store::blobs::blob_name(&content) == name),
            "counter" => {
                let (writer, at_least) = name.split_once(' ').unwrap();
                let record =
                    store.metadata.get("changing", &format!("counter {writer}")).await.map_err(text)?;
                let count = record
                    .map_or(0, |record| std::str::from_utf8(&record.value).unwrap().parse::<u64>().unwrap());
                // All or nothing: the record of the same commit is there, too.
                count >= at_least.parse().unwrap() && kept.contains(&*format!("{writer}-{count}"))
            }
            _ => panic!("{ack}"),
        };
        if !found {
            return Err(format!("{ack} is lost"));
        }
    }
    Ok(())
}
