//! The base of URLs handed out: scheme and authority that the client used.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use http::request::Parts;

/// How a client reached the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear.
    Http,
    /// By TLS.
    Https,
}

/// Most endpoints remembered per scheme; a client can put anything into `Host`.
const MAX_ENDPOINTS: usize = 64;

type Known = RwLock<HashMap<Box<str>, Arc<str>>>;

/// Endpoints seen so far, so that a request need not put its own together.
#[derive(Debug, Default)]
pub(super) struct Endpoints {
    http: Known,
    https: Known,
}

impl Endpoints {
    /// Scheme and authority of a request, e.g. `https://lambkin.example:4566`.
    pub(super) fn of(&self, scheme: Scheme, parts: &Parts) -> Arc<str> {
        let host = parts.headers.get(http::header::HOST).and_then(|host| host.to_str().ok());
        let host = host.or_else(|| parts.uri.authority().map(|authority| authority.as_str()));
        let host = host.unwrap_or("localhost");
        let (known, prefix) = match scheme {
            Scheme::Http => (&self.http, "http"),
            Scheme::Https => (&self.https, "https"),
        };
        if let Some(endpoint) = known.read().unwrap_or_else(PoisonError::into_inner).get(host) {
            return Arc::clone(endpoint);
        }
        let endpoint: Arc<str> = format!("{prefix}://{host}").into();
        let mut known = known.write().unwrap_or_else(PoisonError::into_inner);
        if known.len() < MAX_ENDPOINTS {
            known.insert(host.into(), Arc::clone(&endpoint));
        }
        endpoint
    }
}
