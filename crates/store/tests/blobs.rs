//! Blobs in files.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test")]

use std::fs;

use bytes::Bytes;
use lambkin_core::blobs::BlobStore;
use lambkin_core::metadata::StoreError;
use lambkin_store::FsBlobs;

const EMPTY: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[tokio::test]
async fn stores_by_content() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FsBlobs::open(folder.path().join("blobs")).unwrap();
    assert_eq!(blobs.put(Bytes::new()).await.unwrap(), EMPTY);
    assert_eq!(blobs.put("abc".into()).await.unwrap(), ABC);
    assert_eq!(blobs.put("abc".into()).await.unwrap(), ABC);
    assert_eq!(blobs.get(ABC).await.unwrap(), "abc");
    let path = blobs.path(ABC).await.unwrap();
    assert_eq!(path, folder.path().join("blobs/ba").join(ABC));
    assert_eq!(fs::read(path).unwrap(), b"abc");
    assert_eq!(blobs.list().await.unwrap(), [ABC, EMPTY]);
    assert!(blobs.delete(ABC).await.unwrap());
    assert!(!blobs.delete(ABC).await.unwrap());
    assert_eq!(blobs.list().await.unwrap(), [EMPTY]);
    for result in [blobs.get(ABC).await.map(drop), blobs.path(ABC).await.map(drop)] {
        assert!(matches!(result, Err(StoreError::NotFound)));
    }
    assert_eq!(blobs.put("abc".into()).await.unwrap(), ABC);
    assert_eq!(fs::read_dir(folder.path().join("blobs/tmp")).unwrap().count(), 0);
}

#[tokio::test]
async fn takes_no_other_names() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("secret"), "x").unwrap();
    let blobs = FsBlobs::open(folder.path().join("blobs")).unwrap();
    let upper = ABC.to_uppercase();
    let climbing = format!("../{}", &ABC[3..]);
    for name in ["", "../secret", "ba", &ABC[1..], &upper, &climbing, &format!("{ABC}\n"), &"é".repeat(32)] {
        assert!(matches!(blobs.get(name).await, Err(StoreError::NotFound)), "{name}");
        assert!(matches!(blobs.path(name).await, Err(StoreError::NotFound)), "{name}");
        assert!(!blobs.delete(name).await.unwrap(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_put_the_same() {
    let folder = tempfile::tempdir().unwrap();
    let blobs = FsBlobs::open(folder.path()).unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..16 {
        let blobs = blobs.clone();
        tasks.spawn(async move { blobs.put(vec![7; 100_000].into()).await.unwrap() });
    }
    let names = tasks.join_all().await;
    assert!(names.iter().all(|name| *name == names[0]));
    assert_eq!(blobs.get(&names[0]).await.unwrap(), vec![7; 100_000]);
}

#[test]
fn clears_unfinished_writes_and_ignores_strangers() {
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path();
    let name = FsBlobs::open(place).unwrap().put_blocking(b"abc").unwrap();
    fs::write(place.join("tmp/0"), "half").unwrap();
    fs::write(place.join("README"), "").unwrap();
    fs::write(place.join("ba/notes"), "").unwrap();
    fs::create_dir(place.join("zz")).unwrap();
    fs::write(place.join("zz").join(ABC), "misplaced").unwrap();
    let blobs = FsBlobs::open(place).unwrap();
    assert_eq!(blobs.list_blocking().unwrap(), [name]);
    assert_eq!(fs::read_dir(place.join("tmp")).unwrap().count(), 0);
    assert_eq!(blobs.put_blocking(b"other").unwrap().len(), 64);
}
