//! SQLite connections: settings, error mapping, and the pool of those that read.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use lambkin_core::metadata::StoreError;
use rusqlite::{Connection, ErrorCode, OpenFlags, ffi};
use tokio::sync::Semaphore;

use super::FolderLock;
use crate::lock;

/// How long to wait for a lock that only a foreign program, e.g. the `sqlite3` shell, can hold.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// A write-ahead log that grew beyond this is cut back at the next checkpoint.
const WAL_LIMIT_BYTES: u32 = 64 * 1024 * 1024;
/// Reads running at once on one database set.
const MAX_READERS: usize = 8;
/// Idle reading connections kept.
const MAX_IDLE: usize = 8;

/// The store's error for a failed SQLite call.
pub(crate) fn sql_error(error: rusqlite::Error) -> StoreError {
    if let rusqlite::Error::SqliteFailure(failure, _) = &error
        && (failure.code == ErrorCode::DiskFull || failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE)
    {
        // The shared-memory index is small and in the same folder; it can't grow when the disk is full.
        return StoreError::Full;
    }
    StoreError::Failed(error.to_string())
}

/// Opens the connection that writes a database; the file must be there, if only empty.
pub(crate) fn open_writer(path: &Path, checkpoint_pages: u32) -> Result<Connection, StoreError> {
    let (connection, mode) = configured_writer(path, checkpoint_pages).map_err(sql_error)?;
    if mode != "wal" {
        // SQLite goes on without it, e.g. on file systems without shared memory.
        let reason = format!("the file system can't hold a write-ahead log (journal mode {mode})");
        return Err(StoreError::Failed(reason));
    }
    Ok(connection)
}

/// The connection, and its journal mode.
fn configured_writer(path: &Path, checkpoint_pages: u32) -> rusqlite::Result<(Connection, String)> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(64);
    let mode = connection.query_row("PRAGMA journal_mode = WAL", (), |row| row.get(0))?;
    connection.execute_batch(&format!(
        "PRAGMA synchronous = FULL;
         PRAGMA wal_autocheckpoint = {checkpoint_pages};
         PRAGMA journal_size_limit = {WAL_LIMIT_BYTES};
         PRAGMA cache_size = -2048;
         PRAGMA temp_store = MEMORY;
         PRAGMA trusted_schema = OFF;"
    ))?;
    Ok((connection, mode))
}

pub(crate) fn open_reader(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.execute_batch(
        "PRAGMA cache_size = -512; PRAGMA temp_store = MEMORY; PRAGMA trusted_schema = OFF;",
    )?;
    Ok(connection)
}

/// As [`open_reader`]; the connection goes on seeing the database as it is now.
pub(crate) fn open_pinned(path: &Path) -> rusqlite::Result<Connection> {
    let connection = open_reader(path)?;
    connection.execute_batch("BEGIN")?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", (), |_| Ok(()))?;
    Ok(connection)
}

/// Read-only connections to the databases of one store, kept for reuse.
#[derive(Debug)]
pub(crate) struct Readers {
    idle: Mutex<Idle>,
    permits: Semaphore,
    // Readers may outlive the writer; the folder is not free before they end.
    _lock: Arc<FolderLock>,
}

#[derive(Debug, Default)]
struct Idle {
    connections: VecDeque<(PathBuf, Connection)>,
    // Counts `forget`s: a connection taken before one is not put back after it.
    epoch: u64,
}

impl Readers {
    pub(crate) fn new(lock: Arc<FolderLock>) -> Arc<Self> {
        Arc::new(Self { idle: Mutex::default(), permits: Semaphore::new(MAX_READERS), _lock: lock })
    }

    /// Runs a read on the blocking threads.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let failed = |error: &dyn std::fmt::Display| StoreError::Failed(format!("read: {error}"));
        let _permit = self.permits.acquire().await.map_err(|error| failed(&error))?;
        let this = Arc::clone(self);
        tokio::task::spawn_blocking(move || work(&this)).await.map_err(|error| failed(&error))?
    }

    /// Runs a read on a connection to the database at `path`. Blocks.
    pub(crate) fn with<T>(
        &self,
        path: &Path,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        self.with_store(path, |connection| work(connection).map_err(sql_error))
    }

    /// As [`Self::with`], for work that also fails in other ways.
    pub(crate) fn with_store<T>(
        &self,
        path: &Path,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let (kept, epoch) = {
            let mut idle = lock(&self.idle);
            let at = idle.connections.iter().rposition(|(of, _)| of == path);
            (at.and_then(|at| idle.connections.remove(at)), idle.epoch)
        };
        let connection = match kept {
            Some((_, connection)) => connection,
            None => open_reader(path).map_err(sql_error)?,
        };
        // After an error the connection is closed: whatever state it is in ends with it.
        let result = work(&connection)?;
        let mut idle = lock(&self.idle);
        let surplus = if idle.epoch == epoch {
            idle.connections.push_back((path.to_owned(), connection));
            if idle.connections.len() > MAX_IDLE { idle.connections.pop_front() } else { None }
        } else {
            Some((path.to_owned(), connection))
        };
        // Closing does I/O: not under the mutex.
        drop(idle);
        drop(surplus);
        Ok(result)
    }

    /// Closes the idle connections, and those in use when they end: before a database file is removed, and
    /// before its writer closes, so that the writer is the last and checkpoints.
    pub(crate) fn forget(&self) {
        let connections = {
            let mut idle = lock(&self.idle);
            idle.epoch += 1;
            std::mem::take(&mut idle.connections)
        };
        drop(connections);
    }
}
