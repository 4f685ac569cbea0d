//! Logs: an index of groups and streams, and a file of events per day.
//!
//! The writer thread gives events their sequence numbers and writes them to the file of the UTC day on which it
//! does so; an event's own timestamp decides nothing about the file. A batch costs one sync: groups and streams
//! that are missing are made durable before their first events (a rare sync more), while sums over events
//! (stored bytes, first and last timestamps) reach the index later, with the sequence number up to which they
//! count. After a crash, opening counts the rest from the day files.

mod days;
mod hold;
mod index;
mod query;
mod queue;
mod upkeep;
mod writer;

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use lambkin_core::clock::Clock;
use lambkin_core::ids::Scope;
use lambkin_core::logs::{
    LogEvent, LogGroup, LogQuery, LogStore, LogStream, LogStreamKey, StoreFuture, StoredLogEvent,
};
use lambkin_core::metadata::StoreError;
use tokio::sync::oneshot;

use self::days::Days;
pub(crate) use self::hold::Held;
use self::queue::{Answer, Append, Change, Queue};
use super::connection::Readers;
use super::{FolderLock, OpenError, Options};

/// Logs in SQLite.
#[derive(Debug)]
pub struct SqliteLogs {
    clock: Arc<dyn Clock>,
    queue: Arc<Queue>,
    readers: Arc<Readers>,
    days: Arc<Days>,
    index: PathBuf,
    writer: Option<JoinHandle<()>>,
}

fn stopped<E>(_: E) -> StoreError {
    StoreError::Failed("the log writer has stopped".into())
}

impl SqliteLogs {
    pub(super) fn open(folder: PathBuf, options: &Options, lock: Arc<FolderLock>) -> Result<Self, OpenError> {
        let index = folder.join("index.db");
        let readers = Readers::new(lock);
        let queue = Arc::new(Queue::new(options.log_buffer_bytes));
        let writer = writer::Writer::open(folder, &index, options, Arc::clone(&queue), Arc::clone(&readers))?;
        let days = writer.days();
        let thread = std::thread::Builder::new()
            .name("store-logs".into())
            .spawn(move || writer.run())
            .map_err(|error| StoreError::Failed(format!("start the log writer: {error}")))?;
        let clock = Arc::clone(&options.clock);
        Ok(Self { clock, queue, readers, days, index, writer: Some(thread) })
    }

    /// Events dropped since the start because the writer was too far behind, or the disk refused them.
    #[must_use]
    pub fn dropped_events(&self) -> u64 {
        self.queue.dropped()
    }

    /// Removes expired events, and those of deleted groups and streams, from the disk; until then they are
    /// only hidden, and expired ones count in the stored bytes. Files without other events are removed whole.
    ///
    /// # Errors
    /// [`StoreError::Full`] and [`StoreError::Failed`]; what was not removed is tried again the next time.
    pub async fn expire(&self) -> Result<(), StoreError> {
        self.ask(|answer| self.queue.expire(answer)).await
    }

    /// Waits until what was handed over is on disk, or refused by it.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the writer has stopped.
    pub async fn flush(&self) -> Result<(), StoreError> {
        match self.queue.flush() {
            Some(answer) => answer.await.map_err(stopped)?,
            None => Ok(()),
        }
    }

    /// The files as they are now, with everything that was handed over.
    pub(crate) async fn hold(&self) -> Result<Held, StoreError> {
        let (answer, receiver) = oneshot::channel();
        self.queue.hold(answer);
        receiver.await.map_err(stopped)?
    }

    async fn ask(&self, hand_over: impl FnOnce(Answer)) -> Result<(), StoreError> {
        let (answer, receiver) = oneshot::channel();
        hand_over(answer);
        receiver.await.map_err(stopped)?
    }

    fn change(&self, change: Change) -> StoreFuture<'_, ()> {
        Box::pin(self.ask(move |answer| self.queue.change(change, answer)))
    }
}

impl Drop for SqliteLogs {
    fn drop(&mut self) {
        self.queue.close();
        self.readers.forget();
        if let Some(writer) = self.writer.take() {
            // A panic of the writer was reported by its thread.
            let _ = writer.join();
        }
    }
}

impl LogStore for SqliteLogs {
    fn append(&self, key: LogStreamKey, events: Vec<LogEvent>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            let now = self.clock.now_ms();
            self.ask(move |answer| self.queue.append(Append { key, events, now, answer: Some(answer) })).await
        })
    }

    fn append_soon(&self, key: &LogStreamKey, events: Vec<LogEvent>) {
        let (key, now) = (key.clone(), self.clock.now_ms());
        self.queue.append(Append { key, events, now, answer: None });
    }

    fn create_group<'a>(&'a self, scope: &'a Scope, group: &'a str) -> StoreFuture<'a, ()> {
        let now = self.clock.now_ms();
        self.change(Change::CreateGroup { scope: scope.clone(), group: group.to_owned(), now })
    }

    fn delete_group<'a>(&'a self, scope: &'a Scope, group: &'a str) -> StoreFuture<'a, ()> {
        self.change(Change::DeleteGroup { scope: scope.clone(), group: group.to_owned() })
    }

    fn set_retention<'a>(
        &'a self,
        scope: &'a Scope,
        group: &'a str,
        days: Option<u32>,
    ) -> StoreFuture<'a, ()> {
        self.change(Change::SetRetention { scope: scope.clone(), group: group.to_owned(), days })
    }

    fn groups<'a>(
        &'a self,
        scope: &'a Scope,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<LogGroup>> {
        let (scope, prefix, after) = (scope.clone(), prefix.to_owned(), after.map(str::to_owned));
        Box::pin(async move {
            self.ask(|answer| self.queue.flush_sums(answer)).await?;
            let index = self.index.clone();
            let read = move |readers: &Readers| {
                readers.with(&index, |connection| {
                    query::groups(connection, &scope, &prefix, after.as_deref(), limit)
                })
            };
            self.readers.run(read).await
        })
    }

    fn create_stream<'a>(&'a self, key: &'a LogStreamKey) -> StoreFuture<'a, ()> {
        let now = self.clock.now_ms();
        self.change(Change::CreateStream { key: key.clone(), now })
    }

    fn delete_stream<'a>(&'a self, key: &'a LogStreamKey) -> StoreFuture<'a, ()> {
        self.change(Change::DeleteStream { key: key.clone() })
    }

    fn streams<'a>(
        &'a self,
        scope: &'a Scope,
        group: &'a str,
        prefix: &'a str,
    ) -> StoreFuture<'a, Vec<LogStream>> {
        let (scope, group, prefix) = (scope.clone(), group.to_owned(), prefix.to_owned());
        Box::pin(async move {
            self.ask(|answer| self.queue.flush_sums(answer)).await?;
            let index = self.index.clone();
            let read = move |readers: &Readers| {
                readers.with(&index, |connection| query::streams(connection, &scope, &group, &prefix))
            };
            self.readers.run(read).await?.ok_or(StoreError::NotFound)
        })
    }

    fn events<'a>(
        &'a self,
        scope: &'a Scope,
        group: &'a str,
        query: LogQuery,
    ) -> StoreFuture<'a, Vec<StoredLogEvent>> {
        let (scope, group) = (scope.clone(), group.to_owned());
        Box::pin(async move {
            self.flush().await?;
            let now = self.clock.now_ms();
            let (index, days) = (self.index.clone(), Arc::clone(&self.days));
            let read =
                move |readers: &Readers| query::events(readers, &index, &days, &scope, &group, &query, now);
            self.readers.run(read).await
        })
    }
}
