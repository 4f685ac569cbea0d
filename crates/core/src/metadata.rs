//! Metadata: small records under `(kind, key)` with revisions, compare-and-set and a change feed.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::mpsc;

/// A store-wide revision number; each commit takes the next one, all its records share it.
pub type Revision = u64;

/// A stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Kind: a table, e.g. `lambda.function`.
    pub kind: String,
    /// Key within the kind, e.g. `000000000000/us-east-1/hello`.
    pub key: String,
    /// Revision of its last write.
    pub revision: Revision,
    /// Content.
    pub value: Bytes,
}

/// One write of a commit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Write {
    /// Kind.
    pub kind: String,
    /// Key.
    pub key: String,
    /// What the record must be for the commit to happen.
    pub expect: Expect,
    /// New content; `None` deletes.
    pub value: Option<Bytes>,
}

/// Condition of a [`Write`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// No condition.
    Any,
    /// No such record.
    Absent,
    /// The record's revision is this one.
    At(Revision),
}

/// A change, as [`MetadataStore::watch`] reports it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Written.
    Put(Record),
    /// Deleted at `revision`.
    Deleted {
        /// Kind.
        kind: String,
        /// Key.
        key: String,
        /// Revision of the deletion.
        revision: Revision,
    },
}

/// What a store can answer instead of success.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// A condition of a commit did not hold; nothing was written.
    #[error("conflict on {kind} {key}")]
    Conflict {
        /// Kind of the record in the way.
        kind: String,
        /// Its key.
        key: String,
    },
    /// What was to be created is there.
    #[error("exists already")]
    Exists,
    /// What was named is not there.
    #[error("not found")]
    NotFound,
    /// The watch's starting revision has been compacted; read everything again.
    #[error("revision {0} is no longer held")]
    Compacted(Revision),
    /// The disk is full; nothing was written.
    #[error("no space left on the data disk")]
    Full,
    /// The store failed; nothing was acknowledged.
    #[error("store: {0}")]
    Failed(String),
}

/// A boxed store future.
pub type MetadataFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'a>>;

/// Durable records. A commit that was answered is on disk (fsync before the answer).
pub trait MetadataStore: Send + Sync + 'static {
    /// Reads one record.
    fn get<'a>(&'a self, kind: &'a str, key: &'a str) -> MetadataFuture<'a, Option<Record>>;
    /// Records of a kind whose key starts with `prefix`, by key.
    fn scan<'a>(&'a self, kind: &'a str, prefix: &'a str) -> MetadataFuture<'a, Vec<Record>>;
    /// Writes all or nothing; answers the commit's revision. The conditions are of the state before the commit.
    /// A commit that writes a record twice is refused ([`StoreError::Failed`]). Deleting what is not there is no
    /// change, and a commit of no writes takes no revision: it answers the last one. Whoever stops waiting may
    /// find the commit done all the same.
    fn commit(&self, writes: Vec<Write>) -> MetadataFuture<'_, Revision>;
    /// Changes after `from`, in commit order: first the held ones, which are in the channel when this answers,
    /// then each as it is committed; when [`Self::commit`] answers, every channel holds its changes.
    /// `watch(0)` replays the present state. Of a record that was written several times since `from`, the
    /// replay has the last change only. The channel ends with the store, and holds any number of changes:
    /// read it. [`StoreError::Compacted`] when deletions since `from` were forgotten, and when `from` is ahead of
    /// the store, e.g. after a restore: watch from 0 then, and take everything else that is known as deleted.
    fn watch(&self, from: Revision) -> MetadataFuture<'_, mpsc::UnboundedReceiver<Change>>;
}
