//! Deployment packages and layers on disk: the zip in the blob store, its content once per SHA-256 in
//! `DATA/code/SHA256/`, shared read-only by all functions and environments.
//!
//! A package is put into its folder before it is put into the blob store, and leaves the blob store before
//! its folder goes; so every package has a folder, and sweeping folders finds all of them. A reference to a
//! package is made (record committed and applied to the catalogue) while a [`Pin`] is held; a sweep excludes
//! pins.

use std::collections::{HashMap, HashSet};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::digest;
use bytes::Bytes;
use lambkin_core::blobs::BlobStore;
use lambkin_core::metadata::StoreError;
use tokio::sync::{OwnedRwLockReadGuard, RwLock};
use tokio::time::Instant;

use super::archive::{self, ArchiveError};
use super::record::Code;

/// Prefix of folders that are being filled or removed.
const TEMPORARY: &str = "tmp-";

/// Up to this many files and folders are synced one by one, more with the whole file system.
const SYNC_EACH: usize = 64;

/// Keeps packages from being swept.
pub(crate) type Pin = OwnedRwLockReadGuard<()>;

/// Why a package could not be taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PackageError {
    /// It is not acceptable.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The blob store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// Unpacking was cut off by the end of the server.
    #[error("unpacking was interrupted")]
    Interrupted,
}

/// The folder of unpacked packages.
pub(crate) struct CodeFolders {
    root: PathBuf,
    blobs: Arc<dyn BlobStore>,
    pins: Arc<RwLock<()>>,
}

impl std::fmt::Debug for CodeFolders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CodeFolders").field("root", &self.root).finish_non_exhaustive()
    }
}

impl CodeFolders {
    /// Opens or makes `data_dir/code` and removes what a crash left half done.
    pub(crate) fn open(data_dir: &Path, blobs: Arc<dyn BlobStore>) -> io::Result<Self> {
        let root = data_dir.join("code");
        DirBuilder::new().recursive(true).mode(0o755).create(&root)?;
        for entry in fs::read_dir(&root)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(TEMPORARY) {
                fs::remove_dir_all(entry.path())?;
            }
        }
        Ok(Self { root, blobs, pins: Arc::new(RwLock::new(())) })
    }

    /// Folder of a package; whether it is there is another question.
    pub(crate) fn path(&self, sha256: &str) -> PathBuf {
        self.root.join(sha256)
    }

    /// Keeps all packages until dropped.
    pub(crate) async fn pin(&self) -> Pin {
        self.pins.clone().read_owned().await
    }

    /// Checks, unpacks and stores a package. The caller holds the pin until it has referred to it.
    pub(crate) async fn store(&self, package: Bytes, _pin: &Pin) -> Result<Code, PackageError> {
        let sha256 = self.unpack(package.clone()).await?;
        let size = package.len() as u64;
        let name = self.blobs.put(package).await?;
        debug_assert_eq!(name, sha256);
        Ok(Code { sha256, size })
    }

    /// Checks a package as [`CodeFolders::store`] does, without keeping anything; answers its unpacked size in
    /// bytes too.
    pub(crate) async fn check(&self, package: Bytes) -> Result<(Code, u64), PackageError> {
        let root = self.root.clone();
        blocking(move || {
            let code = Code { sha256: hex_sha256(&package), size: package.len() as u64 };
            let temporary = Temporary::new(&root)?;
            let bytes = archive::unpack(&package, &temporary.0)?;
            Ok((code, bytes))
        })
        .await
    }

    /// Makes sure that the folder of a stored package is there.
    pub(crate) async fn ensure(&self, sha256: &str) -> Result<(), PackageError> {
        if self.path(sha256).is_dir() {
            return Ok(());
        }
        let pin = self.pin().await;
        self.ensure_pinned(sha256, &pin).await
    }

    /// The same, for who holds a pin already: waiting for a second one could be for ever.
    async fn ensure_pinned(&self, sha256: &str, _pin: &Pin) -> Result<(), PackageError> {
        if self.path(sha256).is_dir() {
            return Ok(());
        }
        let package = self.blobs.get(sha256).await?;
        self.unpack(package).await?;
        Ok(())
    }

    /// Sum of the sizes of a stored package's files.
    pub(crate) async fn unpacked_bytes(&self, sha256: &str, pin: &Pin) -> Result<u64, PackageError> {
        self.ensure_pinned(sha256, pin).await?;
        let folder = self.path(sha256);
        blocking(move || Ok(size(&folder)?)).await
    }

    /// A stored zip.
    pub(crate) async fn package(&self, sha256: &str) -> Result<Bytes, StoreError> {
        self.blobs.get(sha256).await
    }

    async fn unpack(&self, package: Bytes) -> Result<String, PackageError> {
        let root = self.root.clone();
        blocking(move || {
            let sha256 = hex_sha256(&package);
            let target = root.join(&sha256);
            if target.is_dir() {
                return Ok(sha256);
            }
            let temporary = Temporary::new(&root)?;
            archive::unpack(&package, &temporary.0)?;
            sync_tree(&temporary.0)?;
            match fs::rename(&temporary.0, &target) {
                Ok(()) => File::open(&root)?.sync_all()?,
                // Somebody else unpacked the same package meanwhile.
                Err(_) if target.is_dir() => {}
                Err(error) => return Err(error.into()),
            }
            Ok(sha256)
        })
        .await
    }

    /// Removes packages that are not `used` and have not been for `grace`; none where `used` cannot tell.
    /// `idle` remembers since when; it belongs to the caller, so that only one sweeps at a time.
    pub(crate) async fn sweep(
        &self,
        used: impl Fn() -> Option<HashSet<String>>,
        grace: Duration,
        idle: &mut HashMap<String, Instant>,
    ) -> Result<usize, PackageError> {
        let root = self.root.clone();
        let present = blocking(move || Ok(package_folders(&root)?)).await?;
        idle.retain(|sha256, _| present.contains(sha256));
        let mut removed = 0;
        let Some(in_use) = used() else { return Ok(0) };
        for sha256 in present {
            if in_use.contains(&sha256) {
                idle.remove(&sha256);
                continue;
            }
            let since = *idle.entry(sha256.clone()).or_insert_with(Instant::now);
            if since.elapsed() < grace {
                continue;
            }
            let alone = self.pins.write().await;
            if used().is_none_or(|used| used.contains(&sha256)) {
                continue;
            }
            self.blobs.delete(&sha256).await?;
            let trash = self.root.join(format!("{TEMPORARY}{}", uuid::Uuid::new_v4()));
            fs::rename(self.path(&sha256), &trash).map_err(ArchiveError::Io)?;
            drop(alone);
            blocking(move || Ok(fs::remove_dir_all(trash)?)).await?;
            idle.remove(&sha256);
            removed += 1;
            tracing::debug!(%sha256, "removed an unused package");
        }
        Ok(removed)
    }
}

/// A folder that is removed unless it has been renamed.
struct Temporary(PathBuf);

impl Temporary {
    fn new(root: &Path) -> io::Result<Self> {
        let path = root.join(format!("{TEMPORARY}{}", uuid::Uuid::new_v4()));
        DirBuilder::new().mode(0o755).create(&path)?;
        // The process's umask took bits away at the creation.
        fs::set_permissions(&path, Permissions::from_mode(0o755))?;
        Ok(Self(path))
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        if self.0.is_dir()
            && let Err(error) = fs::remove_dir_all(&self.0)
        {
            tracing::warn!(%error, folder = %self.0.display(), "cannot remove a temporary folder");
        }
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ArchiveError> + Send + 'static,
) -> Result<T, PackageError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(_) => Err(PackageError::Interrupted),
    }
}

fn package_folders(root: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Sum of the sizes of the files in a folder and below; links do not count.
fn size(folder: &Path) -> io::Result<u64> {
    let mut folders = vec![folder.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                bytes += entry.metadata()?.len();
            }
        }
    }
    Ok(bytes)
}

/// Puts a folder and all in it on disk.
fn sync_tree(folder: &Path) -> io::Result<()> {
    let mut paths = vec![folder.to_owned()];
    let mut at = 0;
    while let Some(path) = paths.get(at).cloned() {
        at += 1;
        if !fs::symlink_metadata(&path)?.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&path)? {
            let entry = entry?;
            // A link is part of its folder.
            if !entry.file_type()?.is_symlink() {
                paths.push(entry.path());
            }
        }
        if paths.len() > SYNC_EACH {
            rustix::fs::syncfs(File::open(folder)?)?;
            return Ok(());
        }
    }
    paths.iter().try_for_each(|path| File::open(path)?.sync_all())
}

/// SHA-256 in lower-case hexadecimal digits.
pub(crate) fn hex_sha256(content: &[u8]) -> String {
    digest::digest(&digest::SHA256, content).as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes of hexadecimal digits; `None` where they are not.
pub(crate) fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits = text.as_bytes();
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|value| u8::try_from(value).ok());
    digits.chunks_exact(2).map(|pair| Some(digit(*pair.first()?)? << 4 | digit(*pair.last()?)?)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{MemBlobs, zip_of};

    #[tokio::test]
    async fn keeps_one_folder_per_content_and_sweeps_what_nobody_uses() {
        let dir = tempfile::tempdir().unwrap();
        let blobs = Arc::new(MemBlobs::default());
        fs::create_dir_all(dir.path().join("code/tmp-left/over")).unwrap();
        let folders = CodeFolders::open(dir.path(), blobs.clone()).unwrap();
        assert!(!dir.path().join("code/tmp-left").exists());

        let zip = zip_of(&[("a.py", b"pass")]);
        let pin = folders.pin().await;
        let code = folders.store(zip.clone(), &pin).await.unwrap();
        assert_eq!(folders.store(zip.clone(), &pin).await.unwrap(), code);
        drop(pin);
        assert_eq!(fs::read(folders.path(&code.sha256).join("a.py")).unwrap(), b"pass");
        assert_eq!(fs::read_dir(dir.path().join("code")).unwrap().count(), 1);

        let mut idle = HashMap::new();
        let hour = Duration::from_secs(3600);
        assert_eq!(
            folders
                .sweep(|| Some(HashSet::from([code.sha256.clone()])), Duration::ZERO, &mut idle)
                .await
                .unwrap(),
            0
        );
        assert_eq!(folders.sweep(|| Some(HashSet::new()), hour, &mut idle).await.unwrap(), 0);
        fs::remove_dir_all(folders.path(&code.sha256)).unwrap();
        folders.ensure(&code.sha256).await.unwrap();
        assert!(folders.path(&code.sha256).join("a.py").exists(), "unpacked again from the zip");
        assert_eq!(folders.sweep(|| None, Duration::ZERO, &mut idle).await.unwrap(), 0);
        assert_eq!(folders.sweep(|| Some(HashSet::new()), Duration::ZERO, &mut idle).await.unwrap(), 1);
        assert!(matches!(folders.package(&code.sha256).await, Err(StoreError::NotFound)));
        assert_eq!(fs::read_dir(dir.path().join("code")).unwrap().count(), 0);
    }

    #[tokio::test]
    async fn refused_packages_leave_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let folders = CodeFolders::open(dir.path(), Arc::new(MemBlobs::default())).unwrap();
        let pin = folders.pin().await;
        let result = folders.store(Bytes::from_static(b"no zip"), &pin).await;
        assert!(matches!(result, Err(PackageError::Archive(ArchiveError::Invalid(_)))));
        assert_eq!(fs::read_dir(dir.path().join("code")).unwrap().count(), 0);
        folders.check(zip_of(&[("a", b"a")])).await.unwrap();
        assert_eq!(fs::read_dir(dir.path().join("code")).unwrap().count(), 0);
    }

    #[test]
    fn hex_round_trips() {
        assert_eq!(from_hex(&hex_sha256(b"")).unwrap().len(), 32);
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("abc"), None);
        assert_eq!(from_hex("00ff"), Some(vec![0, 255]));
    }
}
