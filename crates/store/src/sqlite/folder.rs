//! The data folder and its lock.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use lambkin_core::clock::Clock;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::OpenError;
use crate::disk::create_folder;
use crate::{DAY_MS, utc_date};

/// The exclusive use of a data folder, released on drop, and by the kernel when the process ends.
#[derive(Debug)]
pub(crate) struct FolderLock {
    _file: File,
}

impl FolderLock {
    /// Creates the folder if it is missing and takes its lock.
    pub(crate) fn take(folder: &Path, clock: &dyn Clock) -> Result<Self, OpenError> {
        let not_writable = |source| OpenError::NotWritable { path: folder.to_owned(), source };
        if !create_folder(folder).map_err(not_writable)? {
            warn_if_open_to_others(folder);
        }
        let path = folder.join("LOCK");
        // `mode` needs `create`; not truncated, as another server's text may be in it.
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(&path)
            .map_err(not_writable)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(Errno::WOULDBLOCK) => return Err(locked_by(folder, &mut file)),
            Err(errno) => return Err(not_writable(errno.into())),
        }
        let text = format!("pid {}\nstarted {}\n", std::process::id(), time_text(clock.now_ms()));
        file.set_len(0)
            .and_then(|()| file.rewind())
            .and_then(|()| file.write_all(text.as_bytes()))
            .map_err(not_writable)?;
        Ok(Self { _file: file })
    }
}

/// As `2026-01-02T03:04:05Z`.
fn time_text(millis: i64) -> String {
    let (year, month, day) = utc_date(millis);
    let second = millis.rem_euclid(DAY_MS) / 1000;
    let (hour, minute, second) = (second / 3600, second / 60 % 60, second % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

fn locked_by(folder: &Path, file: &mut File) -> OpenError {
    let mut text = String::new();
    // What can't be read is reported as unknown.
    let _ = file.read_to_string(&mut text);
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.unwrap_or("unknown").to_owned()
    };
    OpenError::Locked { path: folder.to_owned(), pid: field("pid"), started: field("started") }
}

/// A folder that was there keeps its mode: it may be shared on purpose, its files are 0600.
fn warn_if_open_to_others(folder: &Path) {
    let Ok(metadata) = fs::metadata(folder) else { return };
    if metadata.permissions().mode() & 0o077 != 0 {
        tracing::warn!(folder = %folder.display(), "other users can list the data folder; chmod 700 it");
    }
}
