//! The default backend: SQLite files and blobs below one data folder.
//!
//! | file | holds |
//! |---|---|
//! | `LOCK` | locked by the server that uses the folder; its process id |
//! | `meta.db` | metadata |
//! | `logs/index.db` | log groups and streams, and sums over their events |
//! | `logs/logs-YYYYMMDD.db` | log events, in the file of the UTC day on which they were written |
//! | `blobs/` | [`FsBlobs`] |
//!
//! Each database has one writer thread with group commit: what is waiting runs in one transaction, each
//! request in a savepoint of its own, and is answered after the one sync of the write-ahead log. Reads use
//! other connections and block nobody.

mod connection;
mod folder;
mod logs;
mod metadata;
mod schema;
mod snapshot;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use lambkin_core::clock::Clock;
use lambkin_core::metadata::StoreError;

pub(crate) use folder::FolderLock;
pub use logs::SqliteLogs;
pub use metadata::SqliteMetadata;
pub use snapshot::{Part, Snapshot};

use crate::FsBlobs;
use crate::disk::{create_folder, io_error};

/// Settings of [`open`].
#[derive(Debug, Clone)]
pub struct Options {
    /// Time of log events' ingestion, of file names and of expiry.
    pub clock: Arc<dyn Clock>,
    /// Pages (of 4 KiB) after which a write-ahead log is moved into its database.
    pub checkpoint_pages: u32,
    /// Bytes of log events that may wait for the writer before the oldest are dropped.
    pub log_buffer_bytes: usize,
    /// How often expired log events are removed, in machine time; `None` only on [`SqliteLogs::expire`].
    pub expire_every: Option<Duration>,
    /// How many deletions of metadata are remembered for `watch`.
    pub deletions_kept: usize,
}

impl Options {
    /// The usual settings: 1000 pages, 16 MiB, hourly, [`crate::DEFAULT_DELETIONS_KEPT`].
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self {
            clock,
            checkpoint_pages: 1000,
            log_buffer_bytes: 16 * 1024 * 1024,
            expire_every: Some(Duration::from_secs(3600)),
            deletions_kept: crate::DEFAULT_DELETIONS_KEPT,
        }
    }
}

/// Why a data folder can't be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another server uses the folder.
    #[error("data folder {} is in use by process {pid} (started {started}); stop it first, or use another folder", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
        /// Process id of the other server, `unknown` if it has not written it yet.
        pid: String,
        /// When that server opened the folder, in UTC.
        started: String,
    },
    /// A newer Lambkin wrote the folder.
    #[error("{} has schema version {found}, this program knows versions up to {known}; use the newer program", path.display())]
    Newer {
        /// The file that says so.
        path: PathBuf,
        /// Its version.
        found: u32,
        /// The newest version that this program can read.
        known: u32,
    },
    /// The folder can't be written.
    #[error("data folder {} is not writable: {source}", path.display())]
    NotWritable {
        /// The folder.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A database can't be opened.
    #[error("open {}: {reason}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: StoreError,
    },
    /// A restore into the folder did not finish.
    #[error("a restore into {} did not finish: remove what is in it and restore again", path.display())]
    Unfinished {
        /// The folder.
        path: PathBuf,
    },
    /// Any other failure.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<OpenError> for StoreError {
    /// For files that are opened while the store runs.
    fn from(error: OpenError) -> Self {
        match error {
            OpenError::Store(error) | OpenError::Database { reason: error @ Self::Full, .. } => error,
            OpenError::NotWritable { path, source } => io_error("write", &path, &source),
            error => Self::Failed(error.to_string()),
        }
    }
}

/// An open data folder. Its lock is released when the last of these parts is dropped; dropping
/// [`SqliteMetadata`] and [`SqliteLogs`] waits until what they were given is written.
#[derive(Debug, Clone)]
pub struct SqliteStore {
    /// Metadata.
    pub metadata: Arc<SqliteMetadata>,
    /// Logs.
    pub logs: Arc<SqliteLogs>,
    /// Blobs.
    pub blobs: FsBlobs,
    data_dir: PathBuf,
}

/// Name of the file in a data folder that is being restored: no server may use it.
pub const RESTORING: &str = "RESTORING";

/// Opens the data folder, creating what is missing (folders 0700, files 0600) and bringing an older schema up
/// to date. Does file I/O and may wait for it.
///
/// # Errors
/// [`OpenError`]; the folder is not locked then.
pub fn open(data_dir: &Path, options: &Options) -> Result<SqliteStore, OpenError> {
    let lock = Arc::new(FolderLock::take(data_dir, options.clock.as_ref())?);
    if data_dir.join(RESTORING).exists() {
        return Err(OpenError::Unfinished { path: data_dir.to_owned() });
    }
    snapshot::remove_leftovers(data_dir)
        .map_err(|source| OpenError::NotWritable { path: data_dir.to_owned(), source })?;
    let metadata = SqliteMetadata::open(data_dir.join("meta.db"), options, Arc::clone(&lock))?;
    let log_folder = data_dir.join("logs");
    create_folder(&log_folder)
        .map_err(|source| OpenError::NotWritable { path: log_folder.clone(), source })?;
    let logs = SqliteLogs::open(log_folder, options, Arc::clone(&lock))?;
    let blobs = FsBlobs::open_locked(data_dir.join("blobs"), Some(lock))?;
    let (metadata, logs) = (Arc::new(metadata), Arc::new(logs));
    Ok(SqliteStore { metadata, logs, blobs, data_dir: data_dir.to_owned() })
}
