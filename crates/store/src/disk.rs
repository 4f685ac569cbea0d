//! File system steps that must survive a power cut, and the mapping of their errors.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;

use lambkin_core::metadata::StoreError;

/// Mode of files that hold state.
const FILE_MODE: u32 = 0o600;
/// Mode of folders that hold state.
const FOLDER_MODE: u32 = 0o700;

/// Makes the names in a folder durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Creates a folder (mode 0700) with those above it, each durable in its parent. `true` if it was missing.
pub(crate) fn create_folder(folder: &Path) -> io::Result<bool> {
    if folder.is_dir() {
        return Ok(false);
    }
    let parent = parent(folder);
    if !parent.as_os_str().is_empty() && !parent.is_dir() {
        create_folder(parent)?;
    }
    match DirBuilder::new().mode(FOLDER_MODE).create(folder) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && folder.is_dir() => return Ok(false),
        Err(error) => return Err(error),
    }
    sync_folder(parent)?;
    Ok(true)
}

/// Creates an empty file (mode 0600) if it is missing, durable in its folder.
pub(crate) fn create_file(path: &Path) -> io::Result<()> {
    match new_file(path) {
        Ok(_) => sync_folder(parent(path)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(error),
    }
}

/// Creates a file (mode 0600) that must not be there yet; its name is not durable before the folder is synced.
pub(crate) fn new_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(FILE_MODE).open(path)
}

/// The folder that a path lies in.
pub(crate) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

/// The store's error for a failed file operation.
pub(crate) fn io_error(doing: &str, path: &Path, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::Failed(format!("{doing} {}: {error}", path.display())),
    }
}
