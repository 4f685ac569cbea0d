use lambkin_core::clock::ManualClock;
use lambkin_store::MemMetadata;

use super::*;

struct Place {
    folder: tempfile::TempDir,
    store: Arc<MemMetadata>,
}

impl Place {
    fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), store: Arc::new(MemMetadata::default()) }
    }

    async fn ring(&self) -> KeyRing {
        self.try_ring().await.unwrap()
    }

    async fn try_ring(&self) -> Result<KeyRing, KeyError> {
        let root = RootKey::open(self.folder.path(), None).unwrap();
        let clock = Arc::new(ManualClock::at(1_768_435_200_000));
        KeyRing::open(self.folder.path(), root, self.store.clone(), clock).await
    }
}

fn finds(ring: &KeyRing, key: &NewKey) -> bool {
    match ring.lookup(&key.access_key_id, None) {
        Lookup::Found { secret, caller } => {
            assert_eq!(secret.expose(), key.secret_access_key);
            assert_eq!(*caller.account, *key.account);
            assert_eq!(caller.arn, format!("arn:aws:iam::{}:root", key.account));
            true
        }
        Lookup::UnknownKey => false,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn keys_stay_as_they_were_left() {
    let place = Place::new();
    let ring = place.ring().await;
    let (account, text) = (Some("123456789012".to_owned()), Some("build server".to_owned()));
    let kept = ring.add(account, text).await.unwrap();
    let disabled = ring.add(None, None).await.unwrap();
    let removed = ring.add(None, None).await.unwrap();
    assert!(finds(&ring, &kept) && finds(&ring, &disabled) && finds(&ring, &removed));
    ring.set_enabled(&disabled.access_key_id, false).await.unwrap();
    ring.remove(&removed.access_key_id).await.unwrap();
    for ring in [ring, place.ring().await] {
        assert!(finds(&ring, &kept) && !finds(&ring, &disabled) && !finds(&ring, &removed));
        assert!(matches!(ring.lookup(&kept.access_key_id, Some("token")), Lookup::InvalidToken));
        let list = ring.list();
        assert_eq!((list.len(), list[0].status), (3, Status::Root));
        let view = list.iter().find(|view| view.access_key_id == kept.access_key_id).unwrap();
        assert_eq!((view.account.as_str(), view.status), ("123456789012", Status::Enabled));
        assert_eq!(view.created.as_deref(), Some("2026-01-15T00:00:00Z"));
        assert_eq!(view.description.as_deref(), Some("build server"));
    }
    let ring = place.ring().await;
    ring.set_enabled(&disabled.access_key_id, true).await.unwrap();
    assert!(finds(&ring, &disabled));
    assert!(matches!(ring.remove(&removed.access_key_id).await, Err(KeyError::Unknown(_))));
}

#[tokio::test]
async fn secrets_are_sealed() {
    let place = Place::new();
    let key = place.ring().await.add(None, None).await.unwrap();
    let record = place.store.get(KIND, &key.access_key_id).await.unwrap().unwrap();
    let text = String::from_utf8(record.value.to_vec()).unwrap();
    assert!(!text.contains(&key.secret_access_key), "{text}");

    let path = place.folder.path().join("keys/access-keys.key");
    std::fs::write(&path, [7; 32]).unwrap();
    let ring = place.ring().await;
    assert!(!finds(&ring, &key));
    assert_eq!(ring.list()[1].status, Status::Unreadable);
    ring.remove(&key.access_key_id).await.unwrap();
    let key = ring.add(None, None).await.unwrap();
    std::fs::remove_file(&path).unwrap();
    let error = place.try_ring().await.err().unwrap().to_string();
    assert!(error.contains("access-keys.key is missing"), "{error}");
    assert!(finds(&ring, &key));
}

#[tokio::test]
async fn the_root_key_can_only_be_replaced() {
    let place = Place::new();
    let ring = place.ring().await;
    let old = RootKey::open(place.folder.path(), None).unwrap();
    let old = NewKey::from(old);
    assert!(finds(&ring, &old));
    assert!(matches!(ring.remove(&old.access_key_id).await, Err(KeyError::Root(_))));
    assert!(matches!(ring.set_enabled(&old.access_key_id, false).await, Err(KeyError::Root(_))));
    let new = ring.rotate_root().await.unwrap();
    assert_ne!(new.access_key_id, old.access_key_id);
    for ring in [ring, place.ring().await] {
        assert!(finds(&ring, &new) && !finds(&ring, &old));
    }
}

#[tokio::test]
async fn checks_what_it_is_given() {
    let ring = Place::new().ring().await;
    for account in ["", "12345678901", "1234567890123", "12345678901x", "１２３４５６７８９０１２"]
    {
        let refused = ring.add(Some(account.to_owned()), None).await;
        assert!(matches!(refused, Err(KeyError::Account(_))), "{account}");
    }
    for text in ["two\nlines".to_owned(), "x".repeat(257)] {
        assert!(matches!(ring.add(None, Some(text)).await, Err(KeyError::Description)));
    }
    assert_eq!(ring.list().len(), 1);
}
