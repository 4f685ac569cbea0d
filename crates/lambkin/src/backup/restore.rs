//! Reads a backup into a new data folder.
//!
//! While it does, the folder holds the file `RESTORING`, and no server uses it. What fails is removed again.

use std::collections::BTreeMap;
use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, BufReader, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use lambkin_core::SystemClock;
use lambkin_store::{OpenError, RESTORING};

use super::{Entry, FORMAT, HEADER, Header, MANIFEST, MAX_JSON, Manifest, VERSION, hex, is_part};
use crate::credentials::RootKey;

/// How a file compressed by zstd begins.
const ZSTD_MAGIC: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];

/// Why a restore is refused or failed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RestoreError {
    /// The backup can't be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Something else than a backup.
    #[error("this is not a Lambkin backup")]
    Foreign,
    /// A newer program made it.
    #[error(
        "the backup has format version {0}, this program knows versions up to {VERSION}; use the newer program"
    )]
    Newer(u32),
    /// Its end is missing.
    #[error("the backup is cut short")]
    Truncated,
    /// It was changed after it was made.
    #[error("the backup is damaged: {0}")]
    Damaged(String),
    /// The folder is in use for something.
    #[error("{} is not empty: a backup is restored into a new or empty folder", .0.display())]
    NotEmpty(PathBuf),
    /// The folder can't be written.
    #[error("write {}: {source}", path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What was restored is of a newer program, or broken.
    #[error("the restored folder can't be used: {0}")]
    Store(#[from] OpenError),
    /// The root key is broken.
    #[error("the restored folder can't be used: {0:#}")]
    RootKey(anyhow::Error),
}

/// Restores `file` into `folder`, which is new or empty. When this answers, all is verified and on disk.
pub(super) fn restore(file: &Path, folder: &Path) -> Result<Restored, RestoreError> {
    let unreadable = |source| RestoreError::Read { path: file.to_owned(), source };
    let mut start = [0; ZSTD_MAGIC.len()];
    let mut opened = File::open(file).map_err(unreadable)?;
    let count = opened.read(&mut start).map_err(unreadable)?;
    let known = start.get(..count).unwrap_or_default();
    let whole = BufReader::with_capacity(1 << 20, io::Cursor::new(known.to_vec()).chain(opened));
    let source: Box<dyn Read> = if known == ZSTD_MAGIC {
        Box::new(zstd::stream::read::Decoder::with_buffer(whole).map_err(unreadable)?)
    } else {
        Box::new(whole)
    };
    let mut archive = tar::Archive::new(source);
    let mut entries = archive.entries().map_err(unreadable)?;
    let first = entries.next().ok_or(RestoreError::Foreign)?.map_err(|error| match error.kind() {
        // Compressed data without its end.
        io::ErrorKind::UnexpectedEof => RestoreError::Truncated,
        _ => RestoreError::Foreign,
    })?;
    if path_of(&first).as_deref() != Some(HEADER) {
        return Err(RestoreError::Foreign);
    }
    let header = read_header(first)?;
    let target = Target::claim(folder)?;
    let restored = target.fill(&header, entries)?;
    target.finish()?;
    Ok(Restored { header, ..restored })
}

/// What was restored.
pub(super) struct Restored {
    pub(super) header: Header,
    pub(super) files: usize,
    pub(super) bytes: u64,
}

type Source<'a> = tar::Entry<'a, Box<dyn Read>>;

fn path_of(entry: &Source<'_>) -> Option<String> {
    if entry.header().entry_type() != tar::EntryType::Regular {
        return None;
    }
    entry.path().ok()?.to_str().map(str::to_owned)
}

fn read_header(mut entry: Source<'_>) -> Result<Header, RestoreError> {
    /// What every version has.
    #[derive(serde::Deserialize)]
    struct Any {
        format: String,
        version: u32,
    }
    let json = read_json(&mut entry)?;
    let any: Any = serde_json::from_slice(&json).map_err(|_| RestoreError::Foreign)?;
    if any.format != FORMAT {
        return Err(RestoreError::Foreign);
    }
    if any.version > VERSION {
        return Err(RestoreError::Newer(any.version));
    }
    serde_json::from_slice(&json).map_err(|error| RestoreError::Damaged(format!("{HEADER}: {error}")))
}

fn read_json(entry: &mut Source<'_>) -> Result<Vec<u8>, RestoreError> {
    let mut json = Vec::new();
    entry.take(MAX_JSON).read_to_end(&mut json).map_err(broken)?;
    if json.len() as u64 != entry.size() {
        return Err(RestoreError::Truncated);
    }
    Ok(json)
}

/// The error of reading a backup on.
fn broken(error: io::Error) -> RestoreError {
    // The tar reader's words for a missing end.
    let text = error.to_string();
    let cut = ["unexpected EOF", "failed to read entire block"].iter().any(|words| text.contains(words));
    if cut || error.kind() == io::ErrorKind::UnexpectedEof {
        return RestoreError::Truncated;
    }
    RestoreError::Damaged(text)
}

fn write_error(path: &Path) -> impl Fn(io::Error) -> RestoreError {
    move |source| RestoreError::Write { path: path.to_owned(), source }
}

/// The folder while it is filled; what is in it is removed on drop.
struct Target {
    folder: PathBuf,
    /// Whether the folder itself is to be removed, too.
    made: bool,
    done: bool,
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.done {
            return;
        }
        // What stays is marked as unfinished.
        if self.made {
            let _ = fs::remove_dir_all(&self.folder);
            return;
        }
        let marker = self.folder.join(RESTORING);
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        for path in entries.map(|entry| entry.path()).filter(|path| *path != marker) {
            let _ = if path.is_dir() { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        }
        let _ = fs::remove_file(&marker);
    }
}

impl Target {
    /// Marks a new or empty folder as one that is being restored.
    fn claim(folder: &Path) -> Result<Self, RestoreError> {
        let failed = write_error(folder);
        let made = !folder.exists();
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(&failed)?;
        if fs::read_dir(folder).map_err(&failed)?.next().is_some() {
            return Err(RestoreError::NotEmpty(folder.to_owned()));
        }
        create(&folder.join(RESTORING))?.sync_all().map_err(&failed)?;
        let target = Self { folder: folder.to_owned(), made, done: false };
        sync(folder)?;
        Ok(target)
    }

    /// Writes the parts and compares them with the manifest.
    fn fill(
        &self,
        header: &Header,
        entries: tar::Entries<'_, Box<dyn Read>>,
    ) -> Result<Restored, RestoreError> {
        let mut found = BTreeMap::new();
        let mut manifest: Option<Manifest> = None;
        for entry in entries {
            let mut entry = entry.map_err(broken)?;
            let path = path_of(&entry).filter(|path| path == MANIFEST || is_part(path));
            let Some(path) = path.filter(|_| manifest.is_none()) else {
                return Err(RestoreError::Damaged("it has entries that no backup has".to_owned()));
            };
            if path == MANIFEST {
                let json = read_json(&mut entry)?;
                let read = serde_json::from_slice(&json);
                manifest = Some(read.map_err(|error| RestoreError::Damaged(format!("{MANIFEST}: {error}")))?);
                continue;
            }
            let part = self.write(&path, &mut entry)?;
            found.insert(path, part);
        }
        let manifest = manifest.ok_or(RestoreError::Truncated)?;
        let (files, bytes) = (found.len(), found.values().map(|part| part.size).sum());
        for part in &manifest.parts {
            if found.remove(&part.path).as_ref() != Some(part) {
                return Err(RestoreError::Damaged(format!("{} is not as it was written", part.path)));
            }
        }
        if let Some(path) = found.keys().next() {
            return Err(RestoreError::Damaged(format!("{path} was added")));
        }
        for needed in ["meta.db", "root-key.json"] {
            if !self.folder.join(needed).is_file() {
                return Err(RestoreError::Damaged(format!("{needed} is missing")));
            }
        }
        Ok(Restored { header: header.clone(), files, bytes })
    }

    fn write(&self, name: &str, content: &mut Source<'_>) -> Result<Entry, RestoreError> {
        let path = self.folder.join(name);
        let folder = path.parent().unwrap_or(&self.folder);
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(write_error(folder))?;
        let mut file = create(&path)?;
        let mut hash = Context::new(&SHA256);
        let mut buffer = vec![0; 128 << 10];
        let mut size = 0;
        loop {
            let count = content.read(&mut buffer).map_err(broken)?;
            let piece = buffer.get(..count).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            hash.update(piece);
            file.write_all(piece).map_err(write_error(&path))?;
            size += count as u64;
        }
        if size != content.size() {
            return Err(RestoreError::Truncated);
        }
        file.sync_all().map_err(write_error(&path))?;
        Ok(Entry { path: name.to_owned(), size, sha256: hex(&hash.finish()) })
    }

    /// Makes all names durable, takes the mark away and tries the folder.
    fn finish(mut self) -> Result<(), RestoreError> {
        sync_tree(&self.folder)?;
        if self.made
            && let Some(parent) = self.folder.parent().filter(|parent| !parent.as_os_str().is_empty())
        {
            sync(parent)?;
        }
        let marker = self.folder.join(RESTORING);
        fs::remove_file(&marker).map_err(write_error(&marker))?;
        sync(&self.folder)?;
        // Brings older schemas up to date and refuses newer ones.
        let options = lambkin_store::Options::new(Arc::new(SystemClock::default()));
        drop(lambkin_store::open(&self.folder, &options)?);
        RootKey::open(&self.folder, None).map_err(RestoreError::RootKey)?;
        self.done = true;
        Ok(())
    }
}

fn create(path: &Path) -> Result<File, RestoreError> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.map_err(|source| match source.kind() {
        io::ErrorKind::AlreadyExists if path.ends_with(RESTORING) => {
            RestoreError::NotEmpty(path.parent().unwrap_or(path).to_owned())
        }
        io::ErrorKind::AlreadyExists => RestoreError::Damaged(format!("{} is in it twice", path.display())),
        _ => RestoreError::Write { path: path.to_owned(), source },
    })
}

fn sync(folder: &Path) -> Result<(), RestoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(write_error(folder))
}

fn sync_tree(folder: &Path) -> Result<(), RestoreError> {
    for entry in fs::read_dir(folder).map_err(write_error(folder))? {
        let path = entry.map_err(write_error(folder))?.path();
        if path.is_dir() {
            sync_tree(&path)?;
        }
    }
    sync(folder)
}
