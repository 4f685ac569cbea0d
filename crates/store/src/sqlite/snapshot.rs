//! The state of a running store at one moment, to be copied away while the store goes on.
//!
//! Databases are copied page by page in one read transaction each, blobs are linked. The metadata and the
//! blobs that it names belong together; the logs are of a moment a little later. All copies lie in a folder
//! inside the data folder that goes with the snapshot.

use std::collections::VecDeque;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use lambkin_core::metadata::StoreError;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};

use super::connection::{open_reader, sql_error};
use super::logs::Held;
use super::{SqliteMetadata, SqliteStore};
use crate::FsBlobs;
use crate::disk::{create_folder, io_error, new_file};

/// Folder of the copies, inside the data folder.
const STAGING: &str = "staging";

/// A file of a snapshot. The copy is removed when this is dropped.
#[derive(Debug)]
pub struct Part {
    /// Its path in a data folder, e.g. `logs/index.db`.
    pub name: String,
    /// Where the copy is.
    pub path: PathBuf,
}

impl Drop for Part {
    fn drop(&mut self) {
        // What is left goes with the folder.
        let _ = fs::remove_file(&self.path);
    }
}

/// The state of one moment: an iterator over its files, each copied when it is asked for (which blocks).
/// Drop each part before the next is taken: then the copies of many files need the space of one.
#[derive(Debug)]
pub struct Snapshot {
    ready: VecDeque<Part>,
    logs: Option<Held>,
    staging: PathBuf,
}

impl Drop for Snapshot {
    fn drop(&mut self) {
        self.ready.clear();
        self.logs = None;
        // If it stays, the next start removes it.
        let _ = fs::remove_dir_all(&self.staging);
    }
}

impl SqliteStore {
    /// Takes a snapshot of what was acknowledged before the call, and perhaps some of what came after. Neither
    /// reads nor writes wait for it, but for deletions of blobs. One at a time.
    ///
    /// # Errors
    /// [`StoreError::Exists`] while there is another snapshot; [`StoreError::Full`] and
    /// [`StoreError::Failed`] if the copies can't be made.
    pub async fn snapshot(&self, with_logs: bool) -> Result<Snapshot, StoreError> {
        let staging = self.data_dir.join(STAGING);
        match create_folder(&staging) {
            Ok(true) => {}
            Ok(false) => return Err(StoreError::Exists),
            Err(error) => return Err(io_error("create", &staging, &error)),
        }
        let mut snapshot = Snapshot { ready: VecDeque::new(), logs: None, staging };
        let (metadata, blobs) = (self.metadata.clone(), self.blobs.clone());
        let made = tokio::task::spawn_blocking(move || {
            snapshot.take_metadata(&metadata, &blobs)?;
            Ok::<_, StoreError>(snapshot)
        });
        let mut snapshot = made.await.map_err(|error| StoreError::Failed(format!("snapshot: {error}")))??;
        if with_logs {
            snapshot.logs = Some(self.logs.hold().await?);
        }
        Ok(snapshot)
    }
}

impl Snapshot {
    fn take_metadata(&mut self, metadata: &SqliteMetadata, blobs: &FsBlobs) -> Result<(), StoreError> {
        let folder = self.staging.join("blobs");
        create_folder(&folder).map_err(|error| io_error("create", &folder, &error))?;
        // A blob that a record names was there before the record; it must not go in between.
        let keep_all = blobs.keep_all();
        let connection = open_reader(metadata.path()).map_err(sql_error)?;
        let part = self.copy("meta.db".to_owned(), &connection)?;
        self.ready.push_back(part);
        for name in blobs.list_blocking()? {
            let Some(place) = blobs.place(&name) else { continue };
            let path = folder.join(&name);
            let linked = fs::hard_link(&place, &path).or_else(|_| fs::copy(&place, &path).map(drop));
            linked.map_err(|error| io_error("copy", &place, &error))?;
            let prefix = name.get(..2).unwrap_or_default();
            self.ready.push_back(Part { name: format!("blobs/{prefix}/{name}"), path });
        }
        drop(keep_all);
        Ok(())
    }

    /// Copies a database as its connection sees it.
    fn copy(&self, name: String, from: &Connection) -> Result<Part, StoreError> {
        let path = self.staging.join(name.replace('/', "-"));
        // SQLite would make it with the mode of the umask.
        new_file(&path).map_err(|error| io_error("create", &path, &error))?;
        let part = Part { name, path };
        let mut to = Connection::open(&part.path).map_err(sql_error)?;
        // A copy that a crash cut short is thrown away.
        to.execute_batch("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;").map_err(sql_error)?;
        let copied = Backup::new(from, &mut to).and_then(|backup| backup.step(-1)).map_err(sql_error)?;
        if copied != StepResult::Done {
            return Err(StoreError::Failed(format!("copy {}: the database is locked", part.name)));
        }
        to.close().map_err(|(_, error)| sql_error(error))?;
        Ok(part)
    }
}

impl Iterator for Snapshot {
    type Item = Result<Part, StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(part) = self.ready.pop_front() {
            return Some(Ok(part));
        }
        let next = self.logs.as_mut()?.next()?;
        Some(next.and_then(|(path, connection)| {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            self.copy(format!("logs/{name}"), &connection)
        }))
    }
}

/// Removes what the snapshot of a killed process left.
pub(super) fn remove_leftovers(data_dir: &Path) -> io::Result<()> {
    match fs::remove_dir_all(data_dir.join(STAGING)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
