//! Prints commits per second of the SQLite metadata store at 1 and 64 clients, and of log appends, next to a raw
//! loop of write and sync on the same disk: `cargo run --release --example commits [FOLDER]`.

#![allow(clippy::print_stdout, reason = "its output")]

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lambkin_core::clock::SystemClock;
use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogEvent, LogStore, LogStreamKey};
use lambkin_core::metadata::{Expect, MetadataStore, StoreError, Write};
use lambkin_store::{Options, SqliteStore};
use tokio::task::JoinSet;

type Error = Box<dyn std::error::Error + Send + Sync>;

/// How long each row runs.
const TIME: Duration = Duration::from_secs(3);
/// Bytes of a record, an event, or a raw write.
const SIZE: usize = 1024;

#[tokio::main]
async fn main() -> Result<(), Error> {
    let parent = std::env::args().nth(1).map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = parent.join(format!("lambkin-commits-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    let result = measure(&folder).await;
    std::fs::remove_dir_all(&folder)?;
    result
}

async fn measure(folder: &Path) -> Result<(), Error> {
    println!("{:<28} {:>10} {:>10} {:>10}", "", "per second", "p50 ms", "p99 ms");
    report("raw write + fdatasync", raw(&folder.join("raw"))?);
    let options = Options::new(Arc::new(SystemClock::default()));
    let store = lambkin_store::open(&folder.join("data"), &options)?;
    for clients in [1, 64] {
        let work = |store: SqliteStore, key: String| async move { commit(&store, key).await };
        report(&format!("commits, {clients} clients"), run(&store, clients, work).await?);
        let work = |store: SqliteStore, key: String| async move { append(&store, key).await };
        report(&format!("log appends, {clients} clients"), run(&store, clients, work).await?);
    }
    Ok(())
}

fn raw(path: &Path) -> Result<Vec<Duration>, Error> {
    let mut file = File::create(path)?;
    let mut times = Vec::new();
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        let begun = Instant::now();
        file.write_all(&[7; SIZE])?;
        file.sync_data()?;
        times.push(begun.elapsed());
    }
    Ok(times)
}

async fn commit(store: &SqliteStore, key: String) -> Result<(), StoreError> {
    let value = Some(vec![7; SIZE].into());
    store.metadata.commit(vec![Write { kind: "bench".into(), key, expect: Expect::Any, value }]).await?;
    Ok(())
}

async fn append(store: &SqliteStore, key: String) -> Result<(), StoreError> {
    let stream = key.split('-').next().unwrap_or_default().into();
    let key = LogStreamKey { scope: Scope::new("000000000000", "us-east-1"), group: "bench".into(), stream };
    store.logs.append(key, vec![LogEvent { timestamp: 0, message: "x".repeat(SIZE) }]).await
}

/// Runs clients that each wait for their answer before the next request.
async fn run<F: Future<Output = Result<(), StoreError>> + Send>(
    store: &SqliteStore,
    clients: usize,
    work: impl Fn(SqliteStore, String) -> F + Copy + Send + 'static,
) -> Result<Vec<Duration>, Error> {
    let end = Instant::now() + TIME;
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        let store = store.clone();
        tasks.spawn(async move {
            let mut times = Vec::new();
            while Instant::now() < end {
                let begun = Instant::now();
                work(store.clone(), format!("{client}-{}", times.len() % 1000)).await?;
                times.push(begun.elapsed());
            }
            Ok::<_, StoreError>(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = tasks.join_next().await {
        all.extend(times??);
    }
    Ok(all)
}

fn report(name: &str, mut times: Vec<Duration>) {
    times.sort_unstable();
    let at = |percent: usize| {
        let time = times.get(times.len() * percent / 100).copied().unwrap_or_default();
        time.as_secs_f64() * 1000.0
    };
    let per_second = times.len() as f64 / TIME.as_secs_f64();
    println!("{name:<28} {per_second:>10.0} {:>10.2} {:>10.2}", at(50), at(99));
}
