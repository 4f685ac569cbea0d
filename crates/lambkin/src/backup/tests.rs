use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use lambkin_core::metadata::{Expect, MetadataStore as _, Write};
use lambkin_store::SqliteStore;

use super::restore::{RestoreError, restore};
use super::*;
use crate::credentials::RootKey;

#[test]
fn knows_the_files_of_a_data_folder() {
    let blob = format!("blobs/ab/ab{}", "0".repeat(62));
    for name in
        ["meta.db", "root-key.json", "logs/index.db", "logs/logs-20260115.db", "keys/session.key", &blob]
    {
        assert!(is_part(name), "{name}");
    }
    let outside = format!("blobs/../ab{}", "0".repeat(62));
    let upper = format!("blobs/AB/AB{}", "0".repeat(62));
    for name in [
        "",
        "LOCK",
        "RESTORING",
        "/meta.db",
        "../meta.db",
        "logs/../meta.db",
        "logs/logs-2026011x.db",
        "keys/../x.key",
        "keys/.key",
        "keys/a/b.key",
        "meta.db/x",
        &outside,
        &upper,
    ] {
        assert!(!is_part(name), "{name}");
    }
}

fn store(folder: &Path) -> SqliteStore {
    lambkin_store::open(folder, &lambkin_store::Options::new(Arc::new(lambkin_core::SystemClock::default())))
        .unwrap()
}

/// A data folder with one record and one blob, and its backup.
async fn backup(place: &Path) -> PathBuf {
    let data_dir = place.join("data");
    let store = store(&data_dir);
    RootKey::open(&data_dir, None).unwrap();
    fs::create_dir(data_dir.join("keys")).unwrap();
    fs::write(data_dir.join("keys/a.key"), "key").unwrap();
    let (kind, key) = ("k".to_owned(), "a".to_owned());
    let write = Write { kind, key, expect: Expect::Any, value: Some("value".into()) };
    store.metadata.commit(vec![write]).await.unwrap();
    store.blobs.put_blocking(b"content").unwrap();
    let snapshot = store.snapshot(true).await.unwrap();
    assert!(store.snapshot(true).await.is_err(), "one at a time");
    let path = place.join("backup.tar");
    let mut file = fs::File::create(&path).unwrap();
    super::write(snapshot, &data_dir, true, Timestamp::UNIX_EPOCH, &mut file).unwrap();
    assert!(!data_dir.join("staging").exists());
    path
}

#[tokio::test]
async fn comes_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = backup(dir.path()).await;
    let target = dir.path().join("new/folder");
    let done = restore(&path, &target).unwrap();
    assert_eq!((done.files, done.header.logs), (5, true));
    assert_eq!(RootKey::open(&target, None).unwrap(), RootKey::open(&dir.path().join("data"), None).unwrap());
    assert_eq!(fs::read(target.join("keys/a.key")).unwrap(), b"key");
    let store = store(&target);
    assert_eq!(store.metadata.get("k", "a").await.unwrap().unwrap().value, "value");
    let blobs = store.blobs.list_blocking().unwrap();
    assert_eq!(store.blobs.get_blocking(&blobs[0]).unwrap(), "content");
    assert!(matches!(restore(&path, &target), Err(RestoreError::NotEmpty(_))));
}

#[tokio::test]
async fn refuses_what_is_no_whole_backup_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let whole = fs::read(backup(dir.path()).await).unwrap();
    let target = dir.path().join("target");
    let path = dir.path().join("broken");
    let refused = |content: &[u8]| {
        fs::write(&path, content).unwrap();
        let error = restore(&path, &target).err().expect("refused");
        assert!(!target.exists(), "{error}");
        error
    };
    // Cut anywhere, in steps that are no multiple of the archive's blocks; its last two blocks are only padding.
    let end = whole.iter().rposition(|byte| *byte != 0).unwrap();
    for length in (1024..end).step_by(3001) {
        let error = refused(&whole[..length]);
        assert!(matches!(error, RestoreError::Truncated), "{length}: {error}");
    }
    assert!(matches!(refused(b""), RestoreError::Foreign));
    assert!(matches!(refused(&[b'x'; 5000]), RestoreError::Foreign));
    // A changed byte in a part's content.
    let at = whole.windows(7).position(|bytes| bytes == b"content").unwrap();
    let mut changed = whole.clone();
    changed[at] ^= 1;
    assert!(matches!(refused(&changed), RestoreError::Damaged(_)));
    let compressed = zstd::encode_all(whole.as_slice(), 0).unwrap();
    assert!(matches!(refused(&compressed[..compressed.len() / 2]), RestoreError::Truncated));
    fs::write(&path, &compressed).unwrap();
    restore(&path, &target).unwrap();
}

#[test]
fn refuses_other_archives() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file");
    let archive = |entries: &[(&str, &str)]| {
        let mut tar = tar::Builder::new(fs::File::create(&path).unwrap());
        for (name, content) in entries {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_cksum();
            tar.append(&header, content.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap().flush().unwrap();
        restore(&path, &dir.path().join("target")).err().expect("refused")
    };
    let header = |version: u32| {
        format!(
            r#"{{"format":"lambkin-backup","version":{version},"lambkin":"0","created":"","account":"","logs":true}}"#
        )
    };
    assert!(matches!(archive(&[("x", "")]), RestoreError::Foreign));
    assert!(matches!(archive(&[(HEADER, "{}")]), RestoreError::Foreign));
    assert!(matches!(archive(&[(HEADER, &header(9))]), RestoreError::Newer(9)));
    let header = header(1);
    assert!(matches!(archive(&[(HEADER, &header)]), RestoreError::Truncated));
    for name in ["../meta.db", "/meta.db", "keys/../../x.key", "passwd"] {
        let error = archive(&[(HEADER, &header), (name, "x")]);
        assert!(matches!(&error, RestoreError::Damaged(_)), "{name}: {error}");
    }
    let twice = archive(&[(HEADER, &header), ("meta.db", "x"), ("meta.db", "x")]);
    assert!(twice.to_string().contains("twice"), "{twice}");
    let error = archive(&[(HEADER, &header), (MANIFEST, r#"{"parts":[]}"#)]);
    assert!(error.to_string().contains("meta.db is missing"), "{error}");
    assert!(!dir.path().join("meta.db").exists() && !dir.path().join("target").exists());
}
