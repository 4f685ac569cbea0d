//! The log files as they were at one moment, while the writer goes on.

use std::path::PathBuf;
use std::sync::Arc;

use lambkin_core::metadata::StoreError;
use rusqlite::Connection;

use super::days::{Day, Days};
use crate::sqlite::connection::{Readers, open_pinned, open_reader, sql_error};

/// The files of one moment; upkeep removes nothing while this lives.
#[derive(Debug)]
pub(crate) struct Held {
    files: std::vec::IntoIter<File>,
    // Fields are dropped in this order: the connections first.
    _guard: Arc<()>,
    _readers: Arc<Readers>,
}

/// A log database of that moment.
#[derive(Debug)]
struct File {
    path: PathBuf,
    /// A connection that sees the moment; `None` where nobody changes the file.
    pinned: Option<Connection>,
}

impl Held {
    /// To be called by the writer between two transactions.
    pub(super) fn new(
        guard: Arc<()>,
        days: &Days,
        current: Option<Day>,
        readers: Arc<Readers>,
    ) -> Result<Self, StoreError> {
        let pin = |path: PathBuf| -> Result<File, StoreError> {
            let pinned = Some(open_pinned(&path).map_err(sql_error)?);
            Ok(File { path, pinned })
        };
        let mut files = vec![pin(days.folder().join("index.db"))?];
        for (day, _) in days.all() {
            let path = days.path(day);
            if Some(day) == current {
                files.insert(0, pin(path)?);
            } else if path.exists() {
                files.push(File { path, pinned: None });
            }
        }
        Ok(Self { files: files.into_iter(), _guard: guard, _readers: readers })
    }

    /// The next file, and a connection to copy it by. Those that keep a write-ahead log from being cut come first.
    pub(crate) fn next(&mut self) -> Option<Result<(PathBuf, Connection), StoreError>> {
        let File { path, pinned } = self.files.next()?;
        Some(match pinned {
            Some(connection) => Ok((path, connection)),
            None => open_reader(&path).map(|connection| (path, connection)).map_err(sql_error),
        })
    }
}
