//! Log groups, streams and events (CloudWatch Logs' words).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::ids::Scope;
use crate::metadata::StoreError;

/// Largest log event: 1 MiB of UTF-8 (AWS quota); longer lines are split before they get here.
pub const MAX_EVENT_BYTES: usize = 1024 * 1024;

/// A log stream's place.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct LogStreamKey {
    /// Account and region.
    pub scope: Scope,
    /// Log group name.
    pub group: Arc<str>,
    /// Log stream name.
    pub stream: Arc<str>,
}

/// An event to append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEvent {
    /// Milliseconds since the epoch.
    pub timestamp: i64,
    /// Text.
    pub message: String,
}

/// An event as read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredLogEvent {
    /// Sequence number, unique within the store and increasing in the order in which events were given to it.
    pub sequence: u64,
    /// Stream.
    pub stream: Arc<str>,
    /// Milliseconds since the epoch, as given.
    pub timestamp: i64,
    /// When it was stored, milliseconds since the epoch.
    pub ingestion_time: i64,
    /// Text.
    pub message: String,
}

/// A log group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogGroup {
    /// Name.
    pub name: String,
    /// Milliseconds since the epoch.
    pub creation_time: i64,
    /// Retention; `None` keeps for ever. Events with an older timestamp are not read any more, and removed later.
    pub retention_days: Option<u32>,
    /// Sum of the stored messages' sizes (plus 26 bytes each, as AWS counts); expired ones count until they are
    /// removed.
    pub stored_bytes: u64,
}

/// A log stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogStream {
    /// Name.
    pub name: String,
    /// Milliseconds since the epoch.
    pub creation_time: i64,
    /// Timestamp of the oldest event, also after its expiry; so the other two.
    pub first_event: Option<i64>,
    /// Timestamp of the newest event.
    pub last_event: Option<i64>,
    /// When the newest event was stored.
    pub last_ingestion: Option<i64>,
}

/// Which events to read: all conditions hold together.
#[derive(Debug, Clone, Default)]
pub struct LogQuery {
    /// Only these streams; empty for all of the group.
    pub streams: Vec<String>,
    /// Only streams whose name starts so.
    pub stream_prefix: Option<String>,
    /// Inclusive, milliseconds.
    pub start: Option<i64>,
    /// Exclusive, milliseconds.
    pub end: Option<i64>,
    /// Position to go on from: events strictly after it (before it, when `backward`), in the order
    /// (timestamp, sequence).
    pub after: Option<(i64, u64)>,
    /// Newest first.
    pub backward: bool,
    /// At most this many events.
    pub limit: usize,
}

/// A boxed store future.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Durable logs. Groups and streams are created by [`LogStore::append`] where missing.
pub trait LogStore: Send + Sync + 'static {
    /// Stores events. Resolves when they are on disk.
    fn append(&self, key: LogStreamKey, events: Vec<LogEvent>) -> StoreFuture<'_, ()>;
    /// Hands events over without waiting; readers see them at once, a crash may lose the last second.
    /// When the writer is too far behind, the oldest waiting events are dropped and counted.
    fn append_soon(&self, key: &LogStreamKey, events: Vec<LogEvent>);
    /// Creates a group; [`StoreError::Exists`] if it is there.
    fn create_group<'a>(&'a self, scope: &'a Scope, group: &'a str) -> StoreFuture<'a, ()>;
    /// Deletes a group with all its streams; [`StoreError::NotFound`] if it is not there.
    fn delete_group<'a>(&'a self, scope: &'a Scope, group: &'a str) -> StoreFuture<'a, ()>;
    /// Sets the retention; [`StoreError::NotFound`] if the group is not there.
    fn set_retention<'a>(
        &'a self,
        scope: &'a Scope,
        group: &'a str,
        days: Option<u32>,
    ) -> StoreFuture<'a, ()>;
    /// Groups whose name starts with `prefix` and is greater than `after`, by name, at most `limit`.
    fn groups<'a>(
        &'a self,
        scope: &'a Scope,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<LogGroup>>;
    /// Creates a stream; [`StoreError::NotFound`] without its group, [`StoreError::Exists`] if it is there.
    fn create_stream<'a>(&'a self, key: &'a LogStreamKey) -> StoreFuture<'a, ()>;
    /// Deletes a stream; [`StoreError::NotFound`] if it is not there.
    fn delete_stream<'a>(&'a self, key: &'a LogStreamKey) -> StoreFuture<'a, ()>;
    /// All streams of a group whose name starts with `prefix`, by name; [`StoreError::NotFound`] without
    /// the group.
    fn streams<'a>(
        &'a self,
        scope: &'a Scope,
        group: &'a str,
        prefix: &'a str,
    ) -> StoreFuture<'a, Vec<LogStream>>;
    /// Reads events; [`StoreError::NotFound`] without the group.
    fn events<'a>(
        &'a self,
        scope: &'a Scope,
        group: &'a str,
        query: LogQuery,
    ) -> StoreFuture<'a, Vec<StoredLogEvent>>;
}
