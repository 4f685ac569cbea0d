//! Blobs in files: `ab/abcdef...` below a folder, named by the SHA-256 of their content.
//!
//! A blob is written to `tmp/`, synced, renamed to its name, and the folder of the name synced, before `put`
//! answers; so a name that exists has its whole content, also after a power cut.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use lambkin_core::blobs::BlobStore;
use lambkin_core::logs::StoreFuture;
use lambkin_core::metadata::StoreError;

use crate::disk::{create_folder, io_error, new_file, sync_folder};

/// Length of a blob's name.
const NAME_LEN: usize = 64;

/// Blob store on the file system. Cheap to clone. The `*_blocking` methods do file I/O and belong in
/// `tokio::task::spawn_blocking`; the [`BlobStore`] methods do that themselves.
#[derive(Debug, Clone)]
pub struct FsBlobs {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    folder: PathBuf,
    next_temporary: AtomicU64,
    /// Held while a blob is deleted, and while a snapshot wants all to stay.
    deleting: Mutex<()>,
    // Holds the data folder's lock while this store lives.
    _lock: Option<Arc<crate::sqlite::FolderLock>>,
}

/// Name of the blob with this content.
#[must_use]
pub fn blob_name(content: &[u8]) -> String {
    use std::fmt::Write;
    let mut name = String::with_capacity(NAME_LEN);
    for byte in digest(&SHA256, content).as_ref() {
        // Writing to a `String` does not fail.
        let _ = write!(name, "{byte:02x}");
    }
    name
}

impl FsBlobs {
    /// Opens the blob store in `folder`, creating it if missing, and removes what unfinished writes of an
    /// earlier process left. Does file I/O. The folder must have one owner: [`crate::open`] sees to that by
    /// the data folder's lock.
    ///
    /// # Errors
    /// [`StoreError::Failed`] when the folder can't be made or cleaned.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, StoreError> {
        Self::open_locked(folder.into(), None)
    }

    pub(crate) fn open_locked(
        folder: PathBuf,
        lock: Option<Arc<crate::sqlite::FolderLock>>,
    ) -> Result<Self, StoreError> {
        let temporary = folder.join("tmp");
        create_folder(&temporary).map_err(|error| io_error("create", &temporary, &error))?;
        let failed = |error: io::Error| io_error("clean", &temporary, &error);
        for entry in fs::read_dir(&temporary).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            fs::remove_file(&path).map_err(|error| io_error("remove", &path, &error))?;
        }
        Ok(Self {
            inner: Arc::new(Inner {
                folder,
                next_temporary: AtomicU64::new(0),
                deleting: Mutex::default(),
                _lock: lock,
            }),
        })
    }

    /// Where the blob of this name is or would be; `None` if it is no blob's name.
    #[must_use]
    pub fn place(&self, name: &str) -> Option<PathBuf> {
        let lower_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
        if name.len() != NAME_LEN || !name.bytes().all(lower_hex) {
            return None;
        }
        Some(self.inner.folder.join(name.get(..2)?).join(name))
    }

    /// As [`BlobStore::put`], blocking.
    ///
    /// # Errors
    /// [`StoreError::Full`] without space, [`StoreError::Failed`] otherwise; no blob was made then.
    pub fn put_blocking(&self, content: &[u8]) -> Result<String, StoreError> {
        let name = blob_name(content);
        let place = self.place(&name).ok_or(StoreError::NotFound)?;
        let folder = crate::disk::parent(&place);
        create_folder(folder).map_err(|error| io_error("create", folder, &error))?;
        if !place.is_file() {
            self.write(content, &place)?;
        }
        // Also for a blob that was there: whoever renamed it may not have come to this yet.
        sync_folder(folder).map_err(|error| io_error("sync", folder, &error))?;
        Ok(name)
    }

    fn write(&self, content: &[u8], place: &Path) -> Result<(), StoreError> {
        let number = self.inner.next_temporary.fetch_add(1, Ordering::Relaxed);
        let temporary = self.inner.folder.join("tmp").join(number.to_string());
        let written = (|| {
            let mut file = new_file(&temporary)?;
            file.write_all(content)?;
            file.sync_all()?;
            fs::rename(&temporary, place)
        })();
        written.map_err(|error| {
            // What is left is removed at the next open.
            let _ = fs::remove_file(&temporary);
            io_error("write", place, &error)
        })
    }

    /// As [`BlobStore::get`], blocking.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not there, [`StoreError::Failed`] if it can't be read.
    pub fn get_blocking(&self, name: &str) -> Result<Bytes, StoreError> {
        let place = self.place(name).ok_or(StoreError::NotFound)?;
        match fs::read(&place) {
            Ok(content) => Ok(content.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::NotFound),
            Err(error) => Err(io_error("read", &place, &error)),
        }
    }

    /// As [`BlobStore::path`], blocking.
    ///
    /// # Errors
    /// [`StoreError::NotFound`] if it is not there.
    pub fn path_blocking(&self, name: &str) -> Result<PathBuf, StoreError> {
        self.place(name).filter(|place| place.is_file()).ok_or(StoreError::NotFound)
    }

    /// As [`BlobStore::delete`], blocking.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if it can't be removed.
    pub fn delete_blocking(&self, name: &str) -> Result<bool, StoreError> {
        let Some(place) = self.place(name) else { return Ok(false) };
        let _deleting = self.keep_all();
        match fs::remove_file(&place) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(io_error("remove", &place, &error)),
        }
        let folder = crate::disk::parent(&place);
        sync_folder(folder).map_err(|error| io_error("sync", folder, &error))?;
        Ok(true)
    }

    /// Makes deletions wait until the guard is dropped.
    pub(crate) fn keep_all(&self) -> MutexGuard<'_, ()> {
        crate::lock(&self.inner.deleting)
    }

    /// As [`BlobStore::list`], blocking.
    ///
    /// # Errors
    /// [`StoreError::Failed`] if a folder can't be read.
    pub fn list_blocking(&self) -> Result<Vec<String>, StoreError> {
        let mut names = Vec::new();
        for folder in read_names(&self.inner.folder)?.into_iter().filter(|name| name.len() == 2) {
            for name in read_names(&self.inner.folder.join(&folder))? {
                if self.place(&name).is_some() && name.starts_with(&folder) {
                    names.push(name);
                }
            }
        }
        names.sort_unstable();
        Ok(names)
    }

    fn run<'a, T: Send + 'static>(
        &'a self,
        work: impl FnOnce(&Self) -> Result<T, StoreError> + Send + 'static,
    ) -> StoreFuture<'a, T> {
        let this = self.clone();
        Box::pin(async move {
            match tokio::task::spawn_blocking(move || work(&this)).await {
                Ok(result) => result,
                Err(error) => Err(StoreError::Failed(format!("blob task: {error}"))),
            }
        })
    }
}

/// Names in a folder that are UTF-8, in no order.
fn read_names(folder: &Path) -> Result<Vec<String>, StoreError> {
    let failed = |error: io::Error| io_error("list", folder, &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        names.extend(entry.map_err(failed)?.file_name().into_string());
    }
    Ok(names)
}

impl BlobStore for FsBlobs {
    fn put(&self, content: Bytes) -> StoreFuture<'_, String> {
        self.run(move |store| store.put_blocking(&content))
    }

    fn get<'a>(&'a self, name: &'a str) -> StoreFuture<'a, Bytes> {
        let name = name.to_owned();
        self.run(move |store| store.get_blocking(&name))
    }

    fn path<'a>(&'a self, name: &'a str) -> StoreFuture<'a, PathBuf> {
        let name = name.to_owned();
        self.run(move |store| store.path_blocking(&name))
    }

    fn delete<'a>(&'a self, name: &'a str) -> StoreFuture<'a, bool> {
        let name = name.to_owned();
        self.run(move |store| store.delete_blocking(&name))
    }

    fn list(&self) -> StoreFuture<'_, Vec<String>> {
        self.run(Self::list_blocking)
    }
}
