//! The data folder: its making, its lock, its versions, and what is left in it.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stderr,
    reason = "a test"
)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use lambkin_core::clock::ManualClock;
use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogEvent, LogQuery, LogStore, LogStreamKey};
use lambkin_core::metadata::{Expect, MetadataStore, Write};
use lambkin_store::{OpenError, Options, SqliteStore};

const START: u64 = 1_768_435_200_000;
const DAY: u64 = 86_400_000;

struct Place {
    folder: tempfile::TempDir,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), clock: Arc::new(ManualClock::at(START)) }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("deep/data")
    }

    fn try_open(&self) -> Result<SqliteStore, OpenError> {
        let options = Options { expire_every: None, ..Options::new(self.clock.clone()) };
        lambkin_store::open(&self.data(), &options)
    }

    fn open(&self) -> SqliteStore {
        self.try_open().unwrap()
    }

    /// Names of the files in the log folder, without those that SQLite keeps beside an open database.
    fn log_files(&self) -> Vec<String> {
        let entries = fs::read_dir(self.data().join("logs")).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<_> = names.filter(|name| name.ends_with(".db")).collect();
        names.sort();
        names
    }

    fn set_version(&self, file: &str, version: u32) {
        let file = rusqlite::Connection::open(self.data().join(file)).unwrap();
        file.pragma_update(None, "user_version", version).unwrap();
    }
}

fn put(key: &str) -> Write {
    Write { kind: "k".into(), key: key.into(), expect: Expect::Any, value: Some("v".into()) }
}

fn scope() -> Scope {
    Scope::new("000000000000", "eu-central-1")
}

fn stream(group: &str, stream: &str) -> LogStreamKey {
    LogStreamKey { scope: scope(), group: group.into(), stream: stream.into() }
}

fn event(timestamp: u64, message: &str) -> LogEvent {
    LogEvent { timestamp: timestamp as i64, message: message.into() }
}

async fn messages(store: &SqliteStore, group: &str) -> Vec<String> {
    let query = LogQuery { limit: 1_000_000, ..LogQuery::default() };
    let events = store.logs.events(&scope(), group, query).await.unwrap();
    events.into_iter().map(|event| event.message).collect()
}

async fn stored_bytes(store: &SqliteStore, group: &str) -> u64 {
    store.logs.groups(&scope(), group, None, 1).await.unwrap()[0].stored_bytes
}

fn for_all_files(folder: &Path, check: &mut dyn FnMut(&Path, u32)) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        check(&path, fs::metadata(&path).unwrap().permissions().mode() & 0o777);
        if path.is_dir() {
            for_all_files(&path, check);
        }
    }
}

#[tokio::test]
async fn makes_files_for_its_user_only() {
    let place = Place::new();
    let store = place.open();
    store.metadata.commit(vec![put("a")]).await.unwrap();
    store.logs.append(stream("g", "s"), vec![event(1, "x")]).await.unwrap();
    store.blobs.put_blocking(b"content").unwrap();
    let mut files = 0;
    for_all_files(place.folder.path(), &mut |path, mode| {
        assert_eq!(mode, if path.is_dir() { 0o700 } else { 0o600 }, "{}", path.display());
        files += 1;
    });
    assert!(files > 8, "{files}");
}

#[tokio::test]
async fn keeps_everything_when_closed_and_opened() {
    let place = Place::new();
    let store = place.open();
    assert_eq!(store.metadata.commit(vec![put("a")]).await.unwrap(), 1);
    store.logs.append_soon(&stream("g", "s"), vec![event(1, "handed over")]);
    let name = store.blobs.put_blocking(b"content").unwrap();
    drop(store);
    // Closed in order: no log is left beside a database.
    for_all_files(&place.data(), &mut |path, _| {
        let name = path.to_string_lossy();
        assert!(!name.ends_with("-wal") && !name.ends_with("-shm"), "{name}");
    });
    let store = place.open();
    assert_eq!(store.metadata.get("k", "a").await.unwrap().unwrap().revision, 1);
    assert_eq!(store.metadata.commit(vec![put("a")]).await.unwrap(), 2);
    assert_eq!(messages(&store, "g").await, ["handed over"]);
    assert_eq!(store.blobs.get_blocking(&name).unwrap(), "content");
}

#[test]
fn has_one_server_at_a_time() {
    let place = Place::new();
    place.clock.advance(Duration::from_secs(3661));
    let store = place.open();
    let error = place.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }), "{error:?}");
    let text = error.to_string();
    assert!(text.contains(&format!("process {} ", std::process::id())), "{text}");
    assert!(text.contains("started 2026-01-15T01:01:01Z"), "{text}");
    // Any part keeps the folder.
    let blobs = store.blobs.clone();
    drop(store);
    assert!(matches!(place.try_open(), Err(OpenError::Locked { .. })));
    drop(blobs);
    place.open();
}

#[tokio::test]
async fn refuses_a_newer_version() {
    for file in ["meta.db", "logs/index.db"] {
        let place = Place::new();
        drop(place.open());
        place.set_version(file, 7);
        let error = place.try_open().unwrap_err();
        assert!(matches!(error, OpenError::Newer { found: 7, known: 1, .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.contains(file) && text.contains('7') && text.contains('1'), "{text}");
        place.set_version(file, 1);
        place.open();
    }
    // A day file's version is looked at when it is written.
    let place = Place::new();
    let store = place.open();
    store.logs.append(stream("g", "s"), vec![event(1, "x")]).await.unwrap();
    drop(store);
    place.set_version("logs/logs-20260115.db", 7);
    let store = place.open();
    let error = store.logs.append(stream("g", "s"), vec![event(1, "x")]).await.unwrap_err();
    assert!(error.to_string().contains("version 7"), "{error}");
}

#[test]
fn says_what_is_wrong_with_a_database() {
    let place = Place::new();
    drop(place.open());
    fs::write(place.data().join("meta.db"), b"this is not a database, it is a text of some length").unwrap();
    let text = place.try_open().unwrap_err().to_string();
    assert!(text.contains("meta.db") && text.contains("not a database"), "{text}");
}

#[test]
fn refuses_what_it_can_not_write() {
    let place = Place::new();
    fs::write(place.folder.path().join("deep"), "a file").unwrap();
    let error = place.try_open().unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");

    // Another user's folder, seen by a child without privileges.
    if let Some(folder) = std::env::var_os("LAMBKIN_STORE_TEST_FOREIGN") {
        let options = Options::new(Arc::new(ManualClock::at(START)));
        let error = lambkin_store::open(Path::new(&folder), &options).unwrap_err();
        assert!(matches!(error, OpenError::NotWritable { .. }), "{error:?}");
        return;
    }
    if !rustix::process::geteuid().is_root() {
        eprintln!("SKIPPED part of refuses_what_it_can_not_write: needs root to become another user");
        return;
    }
    // The program itself must be reached by the other user.
    let public = tempfile::tempdir().unwrap();
    let program = public.path().join("test");
    fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    let foreign = public.path().join("foreign");
    fs::create_dir(&foreign).unwrap();
    for path in [public.path(), &program, &foreign] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let mut child = Command::new(&program);
    child.args(["--exact", "refuses_what_it_can_not_write", "--nocapture"]).uid(65534).gid(65534);
    child.env("LAMBKIN_STORE_TEST_FOREIGN", &foreign);
    let run = child.output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
}

#[tokio::test]
async fn counts_again_after_a_crash() {
    let place = Place::new();
    let store = place.open();
    let before: Vec<LogEvent> = (0..10).map(|n| event(n, "12345")).collect();
    store.logs.append(stream("g", "s"), before).await.unwrap();
    assert_eq!(stored_bytes(&store, "g").await, 310);
    // These are not in the index when the copy is made.
    store.logs.append(stream("g", "s"), vec![event(50, "1234")]).await.unwrap();
    store.logs.append(stream("g", "new"), vec![event(60, "")]).await.unwrap();
    let crashed = Place::new();
    copy(&place.data(), &crashed.data());
    drop(store);

    let store = crashed.open();
    assert_eq!(stored_bytes(&store, "g").await, 310 + 30 + 26);
    let streams = store.logs.streams(&scope(), "g", "").await.unwrap();
    assert_eq!((streams[0].name.as_str(), streams[0].last_event), ("new", Some(60)));
    assert_eq!((streams[1].first_event, streams[1].last_event), (Some(0), Some(50)));
    // Sequence numbers go on.
    store.logs.append(stream("g", "s"), vec![event(50, "later")]).await.unwrap();
    assert_eq!(messages(&store, "g").await[10..], ["1234", "later", ""]);
    drop(store);
    assert_eq!(stored_bytes(&crashed.open(), "g").await, 310 + 30 + 26 + 31);
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

#[tokio::test]
async fn removes_files_of_expired_days() {
    let place = Place::new();
    let store = place.open();
    store.logs.create_group(&scope(), "g").await.unwrap();
    store.logs.set_retention(&scope(), "g", Some(2)).await.unwrap();
    for day in 0..6 {
        let now = START + day * DAY;
        store.logs.append(stream("g", "s"), vec![event(now, &day.to_string())]).await.unwrap();
        if day == 1 {
            store.logs.append(stream("kept", "s"), vec![event(now, "kept")]).await.unwrap();
        }
        place.clock.advance(Duration::from_millis(DAY));
    }
    assert_eq!(place.log_files().len(), 7);
    // A reader has connections to the files that go.
    assert_eq!(messages(&store, "kept").await, ["kept"]);
    store.logs.expire().await.unwrap();
    // It is the 21st: the 15th, 17th and 18th are gone; of the 16th another group's event is kept.
    let files = ["index.db", "logs-20260116.db", "logs-20260119.db", "logs-20260120.db"];
    assert_eq!(place.log_files(), files);
    assert_eq!(messages(&store, "g").await, ["4", "5"]);
    assert_eq!(messages(&store, "kept").await, ["kept"]);
    assert_eq!(stored_bytes(&store, "g").await, 2 * 27);
    store.logs.delete_group(&scope(), "kept").await.unwrap();
    store.logs.expire().await.unwrap();
    assert_eq!(place.log_files(), [files[0], files[2], files[3]]);
    // What a crash left of a removal is removed at the next start.
    drop(store);
    for name in ["logs-20260101.db", "logs-20260101.db-wal", "logs-20260102.db-shm"] {
        fs::write(place.data().join("logs").join(name), "").unwrap();
    }
    let store = place.open();
    for_all_files(&place.data().join("logs"), &mut |path, _| {
        assert!(!path.to_string_lossy().contains("logs-2026010"), "{}", path.display());
    });
    assert_eq!(messages(&store, "g").await, ["4", "5"]);
}

#[tokio::test]
async fn removes_many_expired_events_in_steps() {
    let place = Place::new();
    let store = place.open();
    let old = |n: u64| event(START - 9 * DAY + n, "old");
    store.logs.append(stream("g", "a"), (0..2500).map(old).collect()).await.unwrap();
    store
        .logs
        .append(stream("g", "b"), (0..700).map(old).chain([event(START, "new")]).collect())
        .await
        .unwrap();
    store.logs.append(stream("gone", "c"), (0..1500).map(old).collect()).await.unwrap();
    store.logs.delete_group(&scope(), "gone").await.unwrap();
    store.logs.set_retention(&scope(), "g", Some(1)).await.unwrap();
    store.logs.expire().await.unwrap();
    assert_eq!(stored_bytes(&store, "g").await, 29);
    store.logs.set_retention(&scope(), "g", None).await.unwrap();
    assert_eq!(messages(&store, "g").await, ["new"]);
    drop(store);
    let file = rusqlite::Connection::open(place.data().join("logs/logs-20260115.db")).unwrap();
    let left = |table: &str| -> i64 {
        file.query_row(&format!("SELECT count(*) FROM {table}"), (), |row| row.get(0)).unwrap()
    };
    assert_eq!((left("event"), left("stream_day")), (1, 1));
    let index = rusqlite::Connection::open(place.data().join("logs/index.db")).unwrap();
    let doomed: i64 = index.query_row("SELECT count(*) FROM doomed", (), |row| row.get(0)).unwrap();
    assert_eq!(doomed, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reads_while_it_writes_and_expires() {
    let place = Place::new();
    let store = Arc::new(place.open());
    store.logs.create_group(&scope(), "g").await.unwrap();
    store.logs.set_retention(&scope(), "g", Some(1)).await.unwrap();
    let writing = Arc::clone(&store);
    let clock = Arc::clone(&place.clock);
    let writer = tokio::spawn(async move {
        for n in 0..60 {
            let event = event(START + n * DAY / 4, &n.to_string());
            writing.logs.append(stream("g", &format!("s{}", n % 3)), vec![event]).await.unwrap();
            clock.advance(Duration::from_millis(DAY / 4));
            if n % 5 == 0 {
                writing.logs.expire().await.unwrap();
            }
        }
    });
    let mut reads = 0;
    while !writer.is_finished() || reads == 0 {
        let found = messages(&store, "g").await;
        let numbers: Vec<u64> = found.iter().map(|message| message.parse().unwrap()).collect();
        assert!(numbers.is_sorted_by(|a, b| a + 1 == *b), "{numbers:?}");
        reads += 1;
    }
    writer.await.unwrap();
    assert!(place.log_files().len() <= 6, "{:?}", place.log_files());
}
