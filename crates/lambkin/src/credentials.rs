//! The root key of a data folder: made at the first start, kept in `root-key.json`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, ensure};
use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use serde::{Deserialize, Serialize};

/// Account of the root key where none is asked for; also the account of `--dev`.
pub(crate) const DEFAULT_ACCOUNT: &str = "000000000000";

/// The key that may do everything in its account.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RootKey {
    pub(crate) account_id: String,
    pub(crate) access_key_id: String,
    pub(crate) secret_access_key: String,
}

impl RootKey {
    /// Opens the key of a data folder, or makes folder and key. Asking for another account than the
    /// folder's is an error.
    pub(crate) fn open(data_dir: &Path, account_id: Option<&str>) -> anyhow::Result<Self> {
        let path = path(data_dir);
        if let Some(key) = Self::read(&path)? {
            ensure!(
                account_id.is_none_or(|asked| asked == key.account_id),
                "the data folder {} belongs to account {}, not {}",
                data_dir.display(),
                key.account_id,
                account_id.unwrap_or_default()
            );
            return Ok(key);
        }
        fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(data_dir)
            .with_context(|| format!("make the data folder {}", data_dir.display()))?;
        let key = Self::new(account_id.unwrap_or(DEFAULT_ACCOUNT))?;
        match key.write(&path, |temporary| fs::hard_link(temporary, &path)) {
            Ok(()) => Ok(key),
            // Another process made it first: its key counts.
            Err(_) if path.exists() => Self::open(data_dir, account_id),
            Err(error) => Err(error).with_context(|| format!("write {}", path.display())),
        }
    }

    /// Replaces the key of a data folder by a new one of `account_id`, which is on disk then. The caller has
    /// the folder's lock.
    pub(crate) fn replace(data_dir: &Path, account_id: &str) -> anyhow::Result<Self> {
        let path = path(data_dir);
        let key = Self::new(account_id)?;
        key.write(&path, |temporary| fs::rename(temporary, &path))
            .with_context(|| format!("write {}", path.display()))?;
        Ok(key)
    }

    fn new(account_id: &str) -> anyhow::Result<Self> {
        Ok(Self {
            account_id: account_id.to_owned(),
            access_key_id: new_access_key_id()?,
            secret_access_key: new_secret()?,
        })
    }

    fn read(path: &Path) -> anyhow::Result<Option<Self>> {
        let text = match fs::read_to_string(path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error).with_context(|| format!("read {}", path.display())),
        };
        let key = serde_json::from_str(&text).with_context(|| format!("parse {}", path.display()))?;
        Ok(Some(key))
    }

    /// Writes beside the final name, syncs, and has `put` give it that name: the key is there whole or not
    /// at all.
    fn write(&self, path: &Path, put: impl FnOnce(&Path) -> io::Result<()>) -> anyhow::Result<()> {
        let temporary = path.with_extension(format!("tmp-{}", std::process::id()));
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        let put = put(&temporary);
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => put?,
        }
        if let Some(folder) = path.parent() {
            File::open(folder)?.sync_all()?;
        }
        Ok(())
    }

    /// Shell lines that give the key to AWS clients.
    pub(crate) fn export_lines(&self) -> String {
        export_lines(&self.access_key_id, &self.secret_access_key)
    }
}

/// Shell lines that give a key to AWS clients.
pub(crate) fn export_lines(access_key_id: &str, secret_access_key: &str) -> String {
    format!("export AWS_ACCESS_KEY_ID={access_key_id}\nexport AWS_SECRET_ACCESS_KEY={secret_access_key}\n")
}

/// Draws the id of a lasting key.
pub(crate) fn new_access_key_id() -> anyhow::Result<String> {
    Ok(format!("AKIA{}", random(16, b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567")?))
}

/// Draws a secret access key.
pub(crate) fn new_secret() -> anyhow::Result<String> {
    random(40, b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}

impl std::fmt::Debug for RootKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RootKey").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

fn path(data_dir: &Path) -> PathBuf {
    data_dir.join("root-key.json")
}

/// `length` characters drawn evenly from `alphabet`, whose size is a power of two.
fn random(length: usize, alphabet: &[u8]) -> anyhow::Result<String> {
    debug_assert!(alphabet.len().is_power_of_two() && alphabet.len() <= 256);
    let mut bytes = vec![0; length];
    SystemRandom::new().fill(&mut bytes).map_err(|_| anyhow::anyhow!("no random numbers to be had"))?;
    Ok(bytes
        .iter()
        .filter_map(|b| alphabet.get(usize::from(*b) % alphabet.len()))
        .map(|b| char::from(*b))
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_made_once_and_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let data_dir = dir.path().join("data");
        let made = RootKey::open(&data_dir, None).unwrap();
        assert_eq!(made.access_key_id.len(), 20);
        assert_eq!(made.secret_access_key.len(), 40);
        assert_eq!(made.account_id, DEFAULT_ACCOUNT);
        assert_eq!(RootKey::open(&data_dir, None).unwrap(), made);
        let mode = std::fs::metadata(data_dir.join("root-key.json")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(&data_dir).unwrap().count(), 1);
    }

    #[test]
    fn the_account_of_a_folder_stays() {
        let dir = tempfile::tempdir().unwrap();
        RootKey::open(dir.path(), Some("123456789012")).unwrap();
        let error = RootKey::open(dir.path(), Some("210987654321")).unwrap_err().to_string();
        assert!(error.contains("belongs to account 123456789012"), "{error}");
    }

    #[test]
    fn the_secret_is_not_printed_by_debug() {
        let dir = tempfile::tempdir().unwrap();
        let key = RootKey::open(dir.path(), None).unwrap();
        assert!(!format!("{key:?}").contains(&key.secret_access_key));
    }
}
