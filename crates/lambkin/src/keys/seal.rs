//! Seals secrets at rest: AES-256-GCM under a key file of the data folder.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Size of the key in bytes.
const KEY: usize = 32;

/// Why sealing fails.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SealError {
    /// The key file is gone although there is something sealed under it.
    #[error("{} is missing: the access keys can't be read; get it back from a backup", .0.display())]
    Missing(PathBuf),
    /// The key file is not what was written.
    #[error("{} is damaged: the access keys can't be read; get it back from a backup", .0.display())]
    Damaged(PathBuf),
    /// The key file can't be read or made.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// What is to be opened was not sealed under this key for this purpose.
    #[error("a secret can't be read: it was sealed under another key, or changed")]
    Foreign,
    /// The library failed.
    #[error("sealing failed")]
    Failed,
}

/// The key that seals.
pub(crate) struct Seal(RandomizedNonceKey);

impl Seal {
    /// Opens `keys/access-keys.key` of a data folder. `create` says that a missing one is to be made.
    pub(crate) fn open(data_dir: &Path, create: bool) -> Result<Self, SealError> {
        let folder = data_dir.join("keys");
        let path = folder.join("access-keys.key");
        let failed = |source| SealError::File { path: path.clone(), source };
        let key = match fs::read(&path) {
            Ok(key) if key.len() == KEY => key,
            Ok(_) => return Err(SealError::Damaged(path)),
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            Err(_) if create => make(&folder, &path).map_err(failed)?,
            Err(_) => return Err(SealError::Missing(path)),
        };
        RandomizedNonceKey::new(&AES_256_GCM, &key).map(Self).map_err(|_| SealError::Failed)
    }

    /// Seals a text; it opens only with the same `purpose`.
    pub(crate) fn seal(&self, purpose: &str, text: &str) -> Result<String, SealError> {
        let mut sealed = text.as_bytes().to_vec();
        let nonce = self.0.seal_in_place_append_tag(Aad::from(purpose), &mut sealed);
        let nonce = nonce.map_err(|_| SealError::Failed)?;
        Ok(STANDARD.encode([nonce.as_ref().as_slice(), &sealed].concat()))
    }

    /// Opens what [`Self::seal`] made.
    pub(crate) fn open_text(&self, purpose: &str, sealed: &str) -> Result<String, SealError> {
        let bytes = STANDARD.decode(sealed).map_err(|_| SealError::Foreign)?;
        let (nonce, sealed) = bytes.split_at_checked(NONCE_LEN).ok_or(SealError::Foreign)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Foreign)?;
        let mut sealed = sealed.to_vec();
        let text = self.0.open_in_place(nonce, Aad::from(purpose), &mut sealed);
        let text = text.map_err(|_| SealError::Foreign)?;
        String::from_utf8(text.to_vec()).map_err(|_| SealError::Foreign)
    }
}

fn make(folder: &Path, path: &Path) -> io::Result<Vec<u8>> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    let mut key = vec![0; KEY];
    aws_lc_rs::rand::fill(&mut key).map_err(|_| io::Error::other("no random numbers to be had"))?;
    // The data folder is locked: nobody else makes this file.
    let temporary = path.with_extension("key.new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    File::open(folder)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn opens_what_it_sealed_for_the_same_purpose_only() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Seal::open(dir.path(), false), Err(SealError::Missing(_))));
        let seal = Seal::open(dir.path(), true).unwrap();
        let sealed = seal.seal("AKIA1", "secret").unwrap();
        assert_ne!(sealed, seal.seal("AKIA1", "secret").unwrap());
        let again = Seal::open(dir.path(), false).unwrap();
        assert_eq!(again.open_text("AKIA1", &sealed).unwrap(), "secret");
        assert!(again.open_text("AKIA2", &sealed).is_err());
        for changed in ["", "AAAA", &sealed[4..], &sealed.replace(&sealed[20..24], "AAAA")] {
            assert!(again.open_text("AKIA1", changed).is_err(), "{changed}");
        }
        let path = dir.path().join("keys/access-keys.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        fs::write(&path, "short").unwrap();
        assert!(matches!(Seal::open(dir.path(), true), Err(SealError::Damaged(_))));
    }
}
