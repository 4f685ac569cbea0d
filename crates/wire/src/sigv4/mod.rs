//! Signature version 4: verification of header and presigned signatures, session tokens and chunked
//! payloads.
//!
//! Verification has two steps, because the payload is part of what is signed: the first checks all that
//! needs no body (so that strangers cannot make the server read one), the second computes the signature.

mod canonical;
mod chunked;
mod error;
mod keys;
mod parse;
mod time;
mod verify;

use std::sync::Arc;

use lambkin_model::Caller;

pub use error::SignatureError;
pub(crate) use parse::{Scope, Signed, find};
pub(crate) use verify::{Begun, Verifier, decode_payload};

/// A secret access key. Its `Debug` form is redacted.
#[derive(Clone)]
pub struct Secret(Arc<str>);

impl Secret {
    /// The secret itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Secret {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<Arc<str>> for Secret {
    fn from(text: Arc<str>) -> Self {
        Self(text)
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// What is known of an access key id and session token.
#[derive(Debug, Clone)]
pub enum Lookup {
    /// The key exists and the token, if it needs one, fits and is current.
    Found {
        /// The secret that must have signed.
        secret: Secret,
        /// Whom it belongs to.
        caller: Arc<Caller>,
    },
    /// No such key.
    UnknownKey,
    /// The session of this key and token is over.
    ExpiredToken,
    /// The token is missing, superfluous or not the one issued with the key.
    InvalidToken,
}

/// Knows the access keys. Called once per request, on the request's task: it must answer from memory.
pub trait Authenticator: Send + Sync {
    /// Looks up an access key id together with the session token that came with it.
    fn lookup(&self, access_key_id: &str, session_token: Option<&str>) -> Lookup;
}

impl<T: Authenticator + ?Sized> Authenticator for Arc<T> {
    fn lookup(&self, access_key_id: &str, session_token: Option<&str>) -> Lookup {
        (**self).lookup(access_key_id, session_token)
    }
}

#[cfg(test)]
pub(crate) mod tests;
