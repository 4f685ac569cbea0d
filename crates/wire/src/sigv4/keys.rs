//! Signing keys and their cache.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;

use super::Secret;
use super::parse::Scope;

/// Most keys kept. A key lives a day, so this bounds the (access key, region, service) triples in use.
const CAPACITY: usize = 4096;

/// A derived key with what else is fixed for its scope.
#[derive(Debug)]
pub(crate) struct SigningKey {
    pub(crate) key: hmac::Key,
    /// Region of the scope, shared with the contexts of all its requests.
    pub(crate) region: Arc<str>,
    date: String,
    /// The secret it came from: a key id whose secret changed must not verify with the old one.
    secret: Secret,
}

impl SigningKey {
    /// Derives the key of a scope: four chained HMACs.
    pub(crate) fn derive(secret: &Secret, scope: &Scope<'_>) -> Self {
        let mut first = Vec::with_capacity(4 + secret.expose().len());
        first.extend_from_slice(b"AWS4");
        first.extend_from_slice(secret.expose().as_bytes());
        let mut key = hmac::Key::new(hmac::HMAC_SHA256, &first);
        for part in [scope.date, scope.region, scope.service, "aws4_request"] {
            key = hmac::Key::new(hmac::HMAC_SHA256, hmac::sign(&key, part.as_bytes()).as_ref());
        }
        Self { key, region: scope.region.into(), date: scope.date.to_owned(), secret: secret.clone() }
    }
}

/// Keys by credential (`AKID/date/region/service/aws4_request`).
#[derive(Debug, Default)]
pub(crate) struct KeyCache {
    keys: RwLock<HashMap<Box<str>, Arc<SigningKey>>>,
}

impl KeyCache {
    /// The cached key of a credential, if its secret is still the same.
    pub(crate) fn get(&self, credential: &str, secret: &Secret) -> Option<Arc<SigningKey>> {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let found = keys.get(credential)?;
        verify_slices_are_equal(found.secret.expose().as_bytes(), secret.expose().as_bytes()).ok()?;
        Some(Arc::clone(found))
    }

    /// Keeps a key that verified a request. (Not before: else anyone could churn the cache.)
    pub(crate) fn put(&self, credential: &str, key: &Arc<SigningKey>) {
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        if keys.len() >= CAPACITY {
            keys.retain(|_, kept| kept.date >= key.date);
        }
        if keys.len() >= CAPACITY {
            // Any eighth will do: to derive a key again costs microseconds.
            let mut at = 0_usize;
            keys.retain(|_, _| {
                at += 1;
                !at.is_multiple_of(8)
            });
        }
        keys.insert(credential.into(), Arc::clone(key));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scope<'a>(access_key: &'a str, date: &'a str) -> Scope<'a> {
        Scope { access_key, date, region: "us-east-1", service: "iam", terminator: "aws4_request" }
    }

    #[test]
    fn derives_as_awss_documentation() {
        // Example of "Create a signed AWS API request" in the IAM user guide.
        let secret = Secret::from("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY");
        let key = SigningKey::derive(&secret, &scope("AKIDEXAMPLE", "20150830"));
        // HMAC of the documented string to sign gives the documented signature.
        let string = "AWS4-HMAC-SHA256\n20150830T123600Z\n20150830/us-east-1/iam/aws4_request\n\
f536975d06c0309214f805bb90ccff089219ecd68b2577efef23edd43b7e1a59";
        let tag = hmac::sign(&key.key, string.as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7");
    }

    #[test]
    fn forgets_a_changed_secret_and_stays_bounded() {
        let cache = KeyCache::default();
        let old = Secret::from("old");
        let key = Arc::new(SigningKey::derive(&old, &scope("A", "20260101")));
        cache.put("A/1", &key);
        assert!(cache.get("A/1", &old).is_some());
        assert!(cache.get("A/1", &Secret::from("new")).is_none());
        for at in 0..CAPACITY * 2 {
            cache.put(&format!("A/{at}"), &key);
        }
        assert!(cache.keys.read().unwrap().len() <= CAPACITY);
        let newer = Arc::new(SigningKey::derive(&old, &scope("A", "20260102")));
        cache.put("B", &newer);
        assert_eq!(cache.keys.read().unwrap().len(), 1, "yesterday's keys go first");
    }
}
