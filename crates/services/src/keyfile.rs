//! Secret keys of the data folder: `keys/NAME.key`, made at the first start, mode 0600.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;

use aws_lc_rs::rand;

/// Size of a key in bytes.
pub(crate) const KEY: usize = 32;

/// Opens a key, or makes one where there is none or not a whole one.
pub(crate) fn open(data_dir: &Path, name: &str) -> io::Result<Vec<u8>> {
    let folder = data_dir.join("keys");
    DirBuilder::new().recursive(true).mode(0o700).create(&folder)?;
    let path = folder.join(format!("{name}.key"));
    match fs::read(&path) {
        Ok(key) if key.len() == KEY => Ok(key),
        Ok(_) => create(&folder, &path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => create(&folder, &path),
        Err(error) => Err(error),
    }
}

fn create(folder: &Path, path: &Path) -> io::Result<Vec<u8>> {
    let mut key = vec![0; KEY];
    rand::fill(&mut key).map_err(|_| io::Error::other("no random numbers"))?;
    let temporary = folder.join(format!("tmp-{}", uuid::Uuid::new_v4()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&temporary, path)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn keys_stay_and_are_nobody_elses_business() {
        let dir = tempfile::tempdir().unwrap();
        let key = open(dir.path(), "a").unwrap();
        assert_eq!(key.len(), KEY);
        assert_eq!(open(dir.path(), "a").unwrap(), key);
        assert_ne!(open(dir.path(), "b").unwrap(), key);
        let path = dir.path().join("keys/a.key");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(dir.path().join("keys")).unwrap().permissions().mode() & 0o777, 0o700);
        fs::write(&path, "short").unwrap();
        assert_eq!(open(dir.path(), "a").unwrap().len(), KEY);
    }
}
