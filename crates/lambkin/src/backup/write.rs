//! Writes a backup.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use jiff::Timestamp;
use lambkin_core::metadata::StoreError;
use lambkin_store::Snapshot;

use super::{Entry, FORMAT, HEADER, Header, MANIFEST, Manifest, VERSION, hex, is_part};
use crate::credentials::RootKey;

/// Why a backup fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum BackupError {
    /// There is one under way.
    #[error("another backup of this data folder is under way")]
    Busy,
    /// The store can't be copied.
    #[error("copy the store: {0}")]
    Store(StoreError),
    /// A file can't be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A deployment package is not what its name says.
    #[error("{0} is damaged on the disk: its content does not have this SHA-256")]
    Damaged(String),
    /// The backup can't be written.
    #[error("write the backup: {0}")]
    Write(#[from] io::Error),
    /// The root key can't be read.
    #[error("{0:#}")]
    RootKey(anyhow::Error),
    /// Header or manifest can't be written as JSON.
    #[error("write the backup: {0}")]
    Json(#[from] serde_json::Error),
}

impl From<StoreError> for BackupError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Exists => Self::Busy,
            error => Self::Store(error),
        }
    }
}

/// Writes a snapshot of a data folder and its keys to `out`. Blocks.
pub(crate) fn write(
    snapshot: Snapshot,
    data_dir: &Path,
    logs: bool,
    now: Timestamp,
    out: &mut dyn Write,
) -> Result<(), BackupError> {
    let mut archive =
        Archive { tar: tar::Builder::new(out), mtime: now.as_second().unsigned_abs(), parts: Vec::new() };
    // Whole before and after a change, as it is replaced by renaming.
    let root = RootKey::open(data_dir, None).map_err(BackupError::RootKey)?;
    let header = Header {
        format: FORMAT.to_owned(),
        version: VERSION,
        lambkin: env!("CARGO_PKG_VERSION").to_owned(),
        created: now.to_string(),
        account: root.account_id.clone(),
        logs,
    };
    archive.json(HEADER, &header)?;
    for part in snapshot {
        let part = part?;
        archive.file(&part.name, &part.path)?;
    }
    archive.file("root-key.json", &data_dir.join("root-key.json"))?;
    let keys = data_dir.join("keys");
    let unreadable = |source| BackupError::Read { path: keys.clone(), source };
    for entry in fs::read_dir(&keys).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        let name = format!("keys/{}", entry.file_name().to_string_lossy());
        // Leftovers of a killed server have other names.
        if is_part(&name) {
            archive.file(&name, &entry.path())?;
        }
    }
    let manifest = Manifest { parts: std::mem::take(&mut archive.parts) };
    archive.json(MANIFEST, &manifest)?;
    archive.tar.into_inner()?.flush()?;
    Ok(())
}

struct Archive<'a> {
    tar: tar::Builder<&'a mut dyn Write>,
    mtime: u64,
    parts: Vec<Entry>,
}

impl Archive<'_> {
    fn json<T: serde::Serialize>(&mut self, name: &str, value: &T) -> Result<(), BackupError> {
        let json = serde_json::to_vec_pretty(value)?;
        Ok(self.append(name, json.len() as u64, &mut json.as_slice())?)
    }

    fn file(&mut self, name: &str, path: &Path) -> Result<(), BackupError> {
        let unreadable = |source| BackupError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        let size = file.metadata().map_err(unreadable)?.len();
        let mut content = Hashing { file: file.take(size), hash: Context::new(&SHA256), read: 0 };
        self.append(name, size, &mut content)?;
        if content.read != size {
            return Err(unreadable(io::ErrorKind::UnexpectedEof.into()));
        }
        let sha256 = hex(&content.hash.finish());
        if let Some(blob) = name.strip_prefix("blobs/")
            && !blob.ends_with(&sha256)
        {
            return Err(BackupError::Damaged(name.to_owned()));
        }
        self.parts.push(Entry { path: name.to_owned(), size, sha256 });
        Ok(())
    }

    fn append(&mut self, name: &str, size: u64, content: &mut dyn Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Regular);
        header.set_size(size);
        header.set_mode(0o600);
        header.set_mtime(self.mtime);
        self.tar.append_data(&mut header, name, content)
    }
}

/// Hashes what is read.
struct Hashing {
    file: io::Take<File>,
    hash: Context,
    read: u64,
}

impl Read for Hashing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.hash.update(buffer.get(..count).unwrap_or_default());
        self.read += count as u64;
        Ok(count)
    }
}
