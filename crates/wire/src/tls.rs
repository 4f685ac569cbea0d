//! TLS on the listener: a certificate chain and its key from PEM files, which may be replaced while the
//! server runs.
//!
//! A new pair takes effect for connections that come after it. A pair that cannot be used is refused with a
//! WARN, and the one in force stays.

use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

/// Largest PEM file read, bytes; chains are a few kilobytes.
const MAX_FILE: u64 = 1 << 20;

/// Why a certificate and key can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file is longer than any certificate chain.
    #[error("{} is too large for a PEM file", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
    /// A file is broken, or holds nothing of what it should.
    #[error("{} {reason}", path.display())]
    Content {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// Certificate and key are no pair, or of a kind that is not supported.
    #[error("certificate {} and key {} can't be used together: {reason}", cert.display(), key.display())]
    Pair {
        /// The certificate's file.
        cert: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        reason: rustls::Error,
    },
}

/// The certificate of a listener. TLS 1.2 and 1.3; offers HTTP/2 and HTTP/1.1 by ALPN.
pub struct Tls {
    cert: PathBuf,
    key: PathBuf,
    current: RwLock<Arc<ServerConfig>>,
    seen: Mutex<Seen>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("cert", &self.cert).field("key", &self.key).finish_non_exhaustive()
    }
}

/// What tells one state of the files from another.
type Stamp = [Option<(u64, u64, i64, i64, u64)>; 2];

#[derive(Debug, Default)]
struct Seen {
    /// The state last loaded or refused.
    settled: Stamp,
    /// A state that could not be used when it was first seen: one of two files may be about to follow.
    doubtful: Option<Stamp>,
}

impl Tls {
    /// Reads the PEM files: a certificate chain, leaf first, and its unencrypted key.
    ///
    /// # Errors
    /// [`TlsError`] says which file is at fault.
    pub fn load(cert: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Self, TlsError> {
        let (cert, key) = (cert.into(), key.into());
        let settled = stamp(&cert, &key);
        let config = configure(&cert, &key)?;
        let seen = Mutex::new(Seen { settled, doubtful: None });
        Ok(Self { cert, key, current: RwLock::new(config), seen })
    }

    /// Reads the files again, whether they changed or not, and logs the outcome. Does file I/O.
    pub fn reload(&self) {
        let stamp = stamp(&self.cert, &self.key);
        match configure(&self.cert, &self.key) {
            Ok(config) => self.replace(config),
            Err(error) => refused(&error),
        }
        *self.lock() = Seen { settled: stamp, doubtful: None };
    }

    /// Reads the files again if they changed since the last look. Does file I/O.
    ///
    /// A pair that can't be used is refused only at the second look that finds it so: certificate and key
    /// are replaced one after the other.
    fn look(&self) {
        let stamp = stamp(&self.cert, &self.key);
        let mut seen = self.lock();
        if seen.settled == stamp {
            seen.doubtful = None;
            return;
        }
        match configure(&self.cert, &self.key) {
            Ok(config) => self.replace(config),
            Err(error) if seen.doubtful == Some(stamp) => refused(&error),
            Err(_) => {
                seen.doubtful = Some(stamp);
                return;
            }
        }
        *seen = Seen { settled: stamp, doubtful: None };
    }

    /// Follows changes of the files, looking once per `period`, until dropped.
    pub async fn follow(self: Arc<Self>, period: Duration) {
        loop {
            tokio::time::sleep(period).await;
            let this = Arc::clone(&self);
            if tokio::task::spawn_blocking(move || this.look()).await.is_err() {
                // The runtime is ending.
                return;
            }
        }
    }

    /// Handshakes with the pair in force.
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }

    fn replace(&self, config: Arc<ServerConfig>) {
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = config;
        tracing::info!(cert = %self.cert.display(), "TLS certificate loaded again");
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn refused(error: &TlsError) {
    tracing::warn!(%error, "the new TLS certificate can't be used; the one in force stays");
}

fn stamp(cert: &Path, key: &Path) -> Stamp {
    [cert, key].map(|path| {
        let file = std::fs::metadata(path).ok()?;
        Some((file.dev(), file.ino(), file.mtime(), file.mtime_nsec(), file.size()))
    })
}

fn configure(cert: &Path, key: &Path) -> Result<Arc<ServerConfig>, TlsError> {
    let content = |path: &Path, reason| TlsError::Content { path: path.to_owned(), reason };
    let chain = CertificateDer::pem_slice_iter(&read(cert)?).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|_| content(cert, "is no valid PEM file"))?;
    if chain.is_empty() {
        return Err(content(cert, "holds no certificate in PEM form"));
    }
    let secret = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|error| match error {
        rustls::pki_types::pem::Error::NoItemsFound => {
            content(key, "holds no private key in PEM form (an encrypted one can't be used)")
        }
        _ => content(key, "is no valid PEM file"),
    })?;
    let pair = |reason| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), reason };
    let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(pair)?
        .with_no_client_auth()
        .with_single_cert(chain, secret)
        .map_err(pair)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ticketer = aws_lc_rs::Ticketer::new().map_err(pair)?;
    Ok(Arc::new(config))
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let failed = |source| TlsError::Read { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(failed)?.len() > MAX_FILE {
        return Err(TlsError::TooLarge { path: path.to_owned() });
    }
    std::fs::read(path).map_err(failed)
}
