//! Metadata in `meta.db`.
//!
//! The writer thread owns the revision counter and the watchers. It sends a batch's changes to the watchers
//! after the batch's sync and before its answers, and starts a watcher between batches; so a watcher sees each
//! change once and in order, and whoever has an answer finds the change in every watcher's channel.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use lambkin_core::metadata::{Change, MetadataFuture, MetadataStore, Record, Revision, StoreError, Write};
use rusqlite::{Connection, OptionalExtension, Row, params};
use tokio::sync::{mpsc, oneshot};

use super::connection::{Readers, sql_error};
use super::schema::{self, open_database};
use super::{FolderLock, OpenError, Options};
use crate::mem::metadata::{check_distinct, conflict, expectation_holds};

/// Requests in one transaction at most.
const MAX_BATCH: usize = 512;
/// Requests that may wait before [`MetadataStore::commit`] waits to hand its own over.
const QUEUE: usize = 4096;

/// Metadata in SQLite.
#[derive(Debug)]
pub struct SqliteMetadata {
    path: PathBuf,
    readers: Arc<Readers>,
    // `None` only while dropping.
    requests: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

type Answer<T> = oneshot::Sender<Result<T, StoreError>>;

enum Request {
    Commit(Vec<Write>, Answer<Revision>),
    Watch(Revision, Answer<mpsc::UnboundedReceiver<Change>>),
}

fn stopped<E>(_: E) -> StoreError {
    StoreError::Failed("the metadata writer has stopped".into())
}

impl SqliteMetadata {
    pub(super) fn open(path: PathBuf, options: &Options, lock: Arc<FolderLock>) -> Result<Self, OpenError> {
        let connection = open_database(&path, schema::METADATA, options.checkpoint_pages)?;
        let failed =
            |error: rusqlite::Error| OpenError::Database { path: path.clone(), reason: sql_error(error) };
        let counters = Counters::load(&connection).map_err(failed)?;
        let (requests, queue) = mpsc::channel(QUEUE);
        let readers = Readers::new(lock);
        let writer = Writer {
            connection,
            counters,
            deletions_kept: options.deletions_kept,
            watchers: Vec::new(),
            _lock: Arc::clone(&readers),
        };
        let thread = std::thread::Builder::new()
            .name("store-meta".into())
            .spawn(move || writer.run(queue))
            .map_err(|error| StoreError::Failed(format!("start the metadata writer: {error}")))?;
        Ok(Self { path, readers, requests: Some(requests), writer: Some(thread) })
    }

    /// Where the database is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, StoreError> {
        let (sender, answer) = oneshot::channel();
        let requests = self.requests.as_ref().ok_or(()).map_err(stopped)?;
        requests.send(request(sender)).await.map_err(stopped)?;
        answer.await.map_err(stopped)?
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        self.readers.run(move |readers| readers.with(&path, work)).await
    }
}

impl Drop for SqliteMetadata {
    fn drop(&mut self) {
        self.requests = None;
        self.readers.forget();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was reported by its thread.
            let _ = writer.join();
        }
    }
}

/// A `Revision` as SQLite holds it. The counter can't pass `i64::MAX`; a caller's number that does matches none.
fn to_sql(revision: Revision) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

fn revision_at(row: &Row<'_>, column: usize) -> rusqlite::Result<Revision> {
    Ok(row.get::<_, i64>(column)?.unsigned_abs())
}

fn record(row: &Row<'_>) -> rusqlite::Result<Record> {
    Ok(Record {
        kind: row.get(0)?,
        key: row.get(1)?,
        revision: revision_at(row, 2)?,
        value: row.get::<_, Vec<u8>>(3)?.into(),
    })
}

impl MetadataStore for SqliteMetadata {
    fn get<'a>(&'a self, kind: &'a str, key: &'a str) -> MetadataFuture<'a, Option<Record>> {
        let (kind, key) = (kind.to_owned(), key.to_owned());
        Box::pin(self.read(move |connection| {
            connection
                .prepare_cached("SELECT kind, key, revision, value FROM record WHERE kind = ? AND key = ?")?
                .query_row((kind, key), record)
                .optional()
        }))
    }

    fn scan<'a>(&'a self, kind: &'a str, prefix: &'a str) -> MetadataFuture<'a, Vec<Record>> {
        let (kind, prefix) = (kind.to_owned(), prefix.to_owned());
        Box::pin(self.read(move |connection| {
            let mut statement = connection.prepare_cached(
                "SELECT kind, key, revision, value FROM record WHERE kind = ? AND key >= ? ORDER BY key",
            )?;
            let mut rows = statement.query((kind, &prefix))?;
            let mut records = Vec::new();
            while let Some(row) = rows.next()? {
                let record = record(row)?;
                if !record.key.starts_with(&prefix) {
                    break;
                }
                records.push(record);
            }
            Ok(records)
        }))
    }

    fn commit(&self, writes: Vec<Write>) -> MetadataFuture<'_, Revision> {
        Box::pin(self.ask(|answer| Request::Commit(writes, answer)))
    }

    fn watch(&self, from: Revision) -> MetadataFuture<'_, mpsc::UnboundedReceiver<Change>> {
        Box::pin(self.ask(move |answer| Request::Watch(from, answer)))
    }
}

/// The `state` row, and how many deletions are remembered.
#[derive(Debug, Clone, Copy)]
struct Counters {
    revision: Revision,
    compacted: Revision,
    deletions: usize,
}

impl Counters {
    fn load(connection: &Connection) -> rusqlite::Result<Self> {
        let sql = "SELECT revision, compacted, (SELECT count(*) FROM deletion) FROM state";
        connection.query_row(sql, (), |row| {
            Ok(Self {
                revision: revision_at(row, 0)?,
                compacted: revision_at(row, 1)?,
                deletions: row.get::<_, isize>(2)?.unsigned_abs(),
            })
        })
    }

    fn save(&self, connection: &Connection) -> rusqlite::Result<()> {
        let values = (to_sql(self.revision), to_sql(self.compacted));
        connection.prepare_cached("UPDATE state SET revision = ?, compacted = ?")?.execute(values)?;
        Ok(())
    }
}

struct Writer {
    connection: Connection,
    counters: Counters,
    deletions_kept: usize,
    watchers: Vec<mpsc::UnboundedSender<Change>>,
    _lock: Arc<Readers>,
}

impl Writer {
    fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        let mut commits = Vec::new();
        let mut watches = Vec::new();
        while let Some(first) = queue.blocking_recv() {
            let mut next = Some(first);
            while let Some(request) = next {
                match request {
                    Request::Commit(writes, answer) => commits.push((writes, answer)),
                    Request::Watch(from, answer) => watches.push((from, answer)),
                }
                next = if commits.len() < MAX_BATCH { queue.try_recv().ok() } else { None };
            }
            if !commits.is_empty() {
                self.commit(std::mem::take(&mut commits));
            }
            for (from, answer) in watches.drain(..) {
                // Who no longer waits does not need the answer; so below.
                let _ = answer.send(self.watch(from));
            }
        }
    }

    /// Runs a batch, and answers when it is on disk.
    fn commit(&mut self, batch: Vec<(Vec<Write>, Answer<Revision>)>) {
        let before = self.counters;
        let mut changes = Vec::new();
        let (writes, answers): (Vec<_>, Vec<_>) = batch.into_iter().unzip();
        match self.transact(writes, &mut changes) {
            Ok(results) => {
                for change in changes {
                    self.watchers.retain(|watcher| watcher.send(change.clone()).is_ok());
                }
                for (answer, result) in answers.into_iter().zip(results) {
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                self.counters = before;
                if !self.connection.is_autocommit()
                    && let Err(error) = self.connection.execute_batch("ROLLBACK")
                {
                    tracing::error!(%error, "metadata transaction can't be rolled back");
                }
                tracing::error!(%error, commits = answers.len(), "metadata can't be written");
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// One transaction; an error means that nothing of it was written.
    fn transact(
        &mut self,
        batch: Vec<Vec<Write>>,
        changes: &mut Vec<Change>,
    ) -> Result<Vec<Result<Revision, StoreError>>, StoreError> {
        let run = |connection: &Connection, sql: &str| connection.prepare_cached(sql)?.execute(()).map(drop);
        let revision = self.counters.revision;
        run(&self.connection, "BEGIN IMMEDIATE").map_err(sql_error)?;
        let mut results = Vec::with_capacity(batch.len());
        for writes in batch {
            run(&self.connection, "SAVEPOINT request").map_err(sql_error)?;
            let (counters, seen) = (self.counters, changes.len());
            let result = self.apply(writes, changes);
            if let Err(error) = &result {
                if self.connection.is_autocommit() {
                    // SQLite gave up the whole transaction, as it may when the disk is full.
                    return Err(error.clone());
                }
                self.counters = counters;
                changes.truncate(seen);
                run(&self.connection, "ROLLBACK TO request").map_err(sql_error)?;
            }
            run(&self.connection, "RELEASE request").map_err(sql_error)?;
            results.push(result);
        }
        if self.counters.revision != revision {
            self.counters.save(&self.connection).map_err(sql_error)?;
        }
        run(&self.connection, "COMMIT").map_err(sql_error)?;
        Ok(results)
    }

    /// One commit, inside its savepoint.
    fn apply(&mut self, writes: Vec<Write>, changes: &mut Vec<Change>) -> Result<Revision, StoreError> {
        if writes.is_empty() {
            return Ok(self.counters.revision);
        }
        check_distinct(&writes)?;
        let mut present = Vec::with_capacity(writes.len());
        {
            let sql = "SELECT revision FROM record WHERE kind = ? AND key = ?";
            let mut find = self.connection.prepare_cached(sql).map_err(sql_error)?;
            for write in &writes {
                let found = find
                    .query_row((&write.kind, &write.key), |row| revision_at(row, 0))
                    .optional()
                    .map_err(sql_error)?;
                if !expectation_holds(write.expect, found) {
                    return Err(conflict(write));
                }
                present.push(found.is_some());
            }
        }
        self.counters.revision += 1;
        for (write, present) in writes.into_iter().zip(present) {
            changes.extend(self.write(write, present).map_err(sql_error)?);
        }
        self.forget_deletions().map_err(sql_error)?;
        Ok(self.counters.revision)
    }

    fn write(&mut self, write: Write, present: bool) -> rusqlite::Result<Option<Change>> {
        let Write { kind, key, value, .. } = write;
        let revision = self.counters.revision;
        let run = |sql: &str, parameters: &[&dyn rusqlite::ToSql]| {
            self.connection.prepare_cached(sql)?.execute(parameters)
        };
        if let Some(value) = value {
            if !present {
                let removed = run("DELETE FROM deletion WHERE kind = ? AND key = ?", params![kind, key])?;
                self.counters.deletions = self.counters.deletions.saturating_sub(removed);
            }
            run(
                "INSERT INTO record (kind, key, revision, value) VALUES (?, ?, ?, ?)
                 ON CONFLICT DO UPDATE SET revision = excluded.revision, value = excluded.value",
                params![kind, key, to_sql(revision), &value[..]],
            )?;
            return Ok(Some(Change::Put(Record { kind, key, revision, value })));
        }
        if !present {
            return Ok(None);
        }
        run("DELETE FROM record WHERE kind = ? AND key = ?", params![kind, key])?;
        run(
            "INSERT INTO deletion (kind, key, revision) VALUES (?, ?, ?)",
            params![kind, key, to_sql(revision)],
        )?;
        self.counters.deletions += 1;
        Ok(Some(Change::Deleted { kind, key, revision }))
    }

    /// Forgets the oldest deletions beyond the number kept, whole commits at a time.
    fn forget_deletions(&mut self) -> rusqlite::Result<()> {
        while self.counters.deletions > self.deletions_kept {
            let sql = "SELECT min(revision) FROM deletion";
            let oldest = self.connection.prepare_cached(sql)?.query_row((), |row| revision_at(row, 0))?;
            let removed = self
                .connection
                .prepare_cached("DELETE FROM deletion WHERE revision = ?")?
                .execute([to_sql(oldest)])?;
            self.counters.deletions = self.counters.deletions.saturating_sub(removed);
            self.counters.compacted = oldest;
        }
        Ok(())
    }

    /// Starts a watcher: its channel holds what it missed when this returns.
    fn watch(&mut self, from: Revision) -> Result<mpsc::UnboundedReceiver<Change>, StoreError> {
        if from > self.counters.revision || (from > 0 && from < self.counters.compacted) {
            return Err(StoreError::Compacted(from));
        }
        let (sender, receiver) = mpsc::unbounded_channel();
        self.replay(from, &sender).map_err(sql_error)?;
        self.watchers.retain(|watcher| !watcher.is_closed());
        self.watchers.push(sender);
        Ok(receiver)
    }

    fn replay(&self, from: Revision, to: &mpsc::UnboundedSender<Change>) -> rusqlite::Result<()> {
        // Whoever starts from nothing needs no deletions.
        let mut statement = self.connection.prepare_cached(
            "SELECT kind, key, revision, value FROM record WHERE revision > ?1
             UNION ALL
             SELECT kind, key, revision, NULL FROM deletion WHERE revision > ?1 AND ?1 > 0
             ORDER BY revision, kind, key",
        )?;
        let mut rows = statement.query([to_sql(from)])?;
        while let Some(row) = rows.next()? {
            let (kind, key, revision) = (row.get(0)?, row.get(1)?, revision_at(row, 2)?);
            let change = match row.get::<_, Option<Vec<u8>>>(3)? {
                Some(value) => Change::Put(Record { kind, key, revision, value: value.into() }),
                None => Change::Deleted { kind, key, revision },
            };
            // The receiver is held by `watch`.
            let _ = to.send(change);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use lambkin_core::metadata::Expect;

    use super::*;

    fn put(key: &str, bytes: usize) -> Vec<Write> {
        let value = Some(vec![b'x'; bytes].into());
        vec![Write { kind: "k".into(), key: key.into(), expect: Expect::Any, value }]
    }

    /// A writer that is run by hand; its database can be made to fail.
    fn writer(folder: &tempfile::TempDir) -> Writer {
        let path = folder.path().join("meta.db");
        let connection = open_database(&path, schema::METADATA, 1000).unwrap();
        let counters = Counters::load(&connection).unwrap();
        let clock = lambkin_core::clock::ManualClock::default();
        let lock = Arc::new(FolderLock::take(folder.path(), &clock).unwrap());
        Writer { connection, counters, deletions_kept: 9, watchers: vec![], _lock: Readers::new(lock) }
    }

    fn commit(writer: &mut Writer, batch: Vec<Vec<Write>>) -> Vec<Result<Revision, StoreError>> {
        let (requests, answers): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|writes| {
                let (sender, answer) = oneshot::channel();
                ((writes, sender), answer)
            })
            .unzip();
        writer.commit(requests);
        answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect()
    }

    #[test]
    fn a_full_file_refuses_and_goes_on() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        let mut watcher = writer.watch(0).unwrap();
        writer.connection.pragma_update(None, "max_page_count", 20).unwrap();
        let results = commit(&mut writer, vec![put("a", 10), put("large", 1 << 20), put("b", 10)]);
        assert!(matches!(results[1], Err(StoreError::Full)), "{results:?}");
        let done: Vec<_> = results.iter().flatten().copied().collect();
        let seen = std::iter::from_fn(|| watcher.try_recv().ok()).count();
        assert_eq!(seen, done.len());
        // Nothing of it is left, and the next number is the next.
        let next = commit(&mut writer, vec![put("c", 10)]);
        assert_eq!(*next[0].as_ref().unwrap(), done.len() as u64 + 1);
        let keys: String = writer
            .connection
            .query_row("SELECT group_concat(key ORDER BY key) FROM record", (), |row| row.get(0))
            .unwrap();
        assert!(!keys.contains("large") && keys.ends_with('c'), "{keys}");
    }

    #[test]
    fn a_failing_transaction_answers_nobody_with_success() {
        let folder = tempfile::tempdir().unwrap();
        let mut writer = writer(&folder);
        let mut watcher = writer.watch(0).unwrap();
        // The counters can't be saved: the error comes after all requests have run.
        writer.connection.execute_batch("ALTER TABLE state RENAME TO hidden").unwrap();
        let results = commit(&mut writer, vec![put("a", 1), put("b", 1)]);
        assert!(results.iter().all(|result| matches!(result, Err(StoreError::Failed(_)))), "{results:?}");
        writer.connection.execute_batch("ALTER TABLE hidden RENAME TO state").unwrap();
        assert!(watcher.try_recv().is_err());
        assert_eq!(*commit(&mut writer, vec![put("c", 1)])[0].as_ref().unwrap(), 1);
        let Ok(Change::Put(record)) = watcher.try_recv() else { panic!("no change") };
        assert_eq!((record.key.as_str(), record.revision), ("c", 1));
        assert!(watcher.try_recv().is_err());
    }

    #[tokio::test]
    async fn a_dead_writer_is_reported() {
        let folder = tempfile::tempdir().unwrap();
        let clock = Arc::new(lambkin_core::clock::ManualClock::default());
        let store = super::super::open(&folder.path().join("data"), &Options::new(clock)).unwrap();
        let mut metadata = Arc::into_inner(store.metadata).unwrap();
        // As after a panic of the writer: its end of the channel is gone.
        let (requests, queue) = mpsc::channel(1);
        metadata.requests = Some(requests);
        drop(queue);
        for error in [metadata.commit(put("a", 1)).await.unwrap_err(), metadata.watch(0).await.unwrap_err()] {
            assert!(error.to_string().contains("has stopped"), "{error}");
        }
    }
}
