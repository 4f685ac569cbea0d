//! Links to a function's zip, as GetFunction gives them out: signed, valid for ten minutes, without any
//! other authentication.

use std::io;
use std::path::Path;
use std::time::Duration;

use aws_lc_rs::hmac;
use bytes::Bytes;
use lambkin_core::ids::Scope;
use lambkin_core::metadata::StoreError;

use super::Inner;
use super::code::from_hex;
use crate::keyfile;

/// Where download links begin.
pub(crate) const PREFIX: &str = "/_lambkin/code/";

/// How long a link is valid.
const VALIDITY: Duration = Duration::from_secs(600);

/// Why a download link does not work.
#[derive(Debug, thiserror::Error)]
pub enum DownloadError {
    /// It is not one that this server gave out: answer 403.
    #[error("the link is not valid")]
    Forbidden,
    /// Its time is over: answer 403.
    #[error("the link has expired")]
    Expired,
    /// The code is gone: answer 404.
    #[error("the code is gone")]
    NotFound,
    /// The store failed: answer 500.
    #[error(transparent)]
    Store(StoreError),
}

/// Signs links with a key of the data folder, so that they outlive a restart.
pub(crate) struct Signer(hmac::Key);

impl Signer {
    /// Reads the key or makes one.
    pub(crate) fn open(data_dir: &Path) -> io::Result<Self> {
        let key = keyfile::open(data_dir, "code-download")?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &key)))
    }

    /// A link to the zip of a function at `endpoint`.
    pub(crate) fn link(
        &self,
        endpoint: &str,
        scope: &Scope,
        name: &str,
        sha256: &str,
        now: Duration,
    ) -> String {
        let path = format!("{PREFIX}{}/{}/{name}/{sha256}", scope.account, scope.region);
        let expires = now.saturating_add(VALIDITY).as_secs();
        let tag = hmac::sign(&self.0, signed_text(&path, expires).as_bytes());
        let signature: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{endpoint}{path}?Expires={expires}&Signature={signature}")
    }

    /// The SHA-256 that a link names, if the link is good.
    fn verify<'a>(&self, path: &'a str, query: &str, now: Duration) -> Result<&'a str, DownloadError> {
        let (mut expires, mut signature) = (None, None);
        for pair in query.split('&') {
            match pair.split_once('=') {
                Some(("Expires", value)) => expires = value.parse::<u64>().ok(),
                Some(("Signature", value)) => signature = from_hex(value),
                _ => {}
            }
        }
        let (Some(expires), Some(signature)) = (expires, signature) else {
            return Err(DownloadError::Forbidden);
        };
        hmac::verify(&self.0, signed_text(path, expires).as_bytes(), &signature)
            .map_err(|_| DownloadError::Forbidden)?;
        if now.as_secs() > expires {
            return Err(DownloadError::Expired);
        }
        path.strip_prefix(PREFIX).and_then(|rest| rest.rsplit('/').next()).ok_or(DownloadError::Forbidden)
    }
}

fn signed_text(path: &str, expires: u64) -> String {
    format!("GET\n{path}\n{expires}")
}

impl Inner {
    pub(crate) async fn code_download(&self, path: &str, query: &str) -> Result<Bytes, DownloadError> {
        let sha256 = self.signer.verify(path, query, self.clock.now())?;
        self.code.package(sha256).await.map_err(|error| match error {
            StoreError::NotFound => DownloadError::NotFound,
            other => DownloadError::Store(other),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_are_bound_to_path_time_and_folder() {
        let dir = tempfile::tempdir().unwrap();
        let signer = Signer::open(dir.path()).unwrap();
        let scope = Scope::new("000000000000", "us-east-1");
        let now = Duration::from_secs(1000);
        let link = signer.link("http://h:1", &scope, "f", "abc", now);
        let (path, query) = link.strip_prefix("http://h:1").unwrap().split_once('?').unwrap();
        assert_eq!(path, "/_lambkin/code/000000000000/us-east-1/f/abc");

        let again = Signer::open(dir.path()).unwrap();
        assert_eq!(again.verify(path, query, now + VALIDITY).unwrap(), "abc");
        let late = now + VALIDITY + Duration::from_secs(1);
        assert!(matches!(again.verify(path, query, late), Err(DownloadError::Expired)));
        let longer = query.replace("Expires=1600", "Expires=9999");
        assert!(matches!(again.verify(path, &longer, now), Err(DownloadError::Forbidden)));
        let other = path.replace("abc", "abd");
        assert!(matches!(again.verify(&other, query, now), Err(DownloadError::Forbidden)));
        for query in ["", "Expires=1600", "Expires=1600&Signature=", "Expires=1600&Signature=zz"] {
            assert!(matches!(again.verify(path, query, now), Err(DownloadError::Forbidden)));
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let stranger = Signer::open(elsewhere.path()).unwrap();
        assert!(matches!(stranger.verify(path, query, now), Err(DownloadError::Forbidden)));
    }
}
