//! Who calls: lasting keys, and the sessions of roles.

use std::sync::Arc;

use lambkin_services::sessions::{Sessions, TokenError};
use lambkin_wire::{Authenticator, Lookup};

/// Knows sessions beside the keys that `keys` knows.
pub(crate) struct WithSessions<K> {
    keys: K,
    sessions: Arc<Sessions>,
}

impl<K> WithSessions<K> {
    pub(crate) fn new(keys: K, sessions: Arc<Sessions>) -> Self {
        Self { keys, sessions }
    }
}

impl<K: Authenticator> Authenticator for WithSessions<K> {
    fn lookup(&self, access_key_id: &str, session_token: Option<&str>) -> Lookup {
        if !Sessions::is_session_key(access_key_id) {
            return self.keys.lookup(access_key_id, session_token);
        }
        let Some(token) = session_token else { return Lookup::InvalidToken };
        match self.sessions.verify(access_key_id, token) {
            Ok(found) => Lookup::Found { secret: found.secret.as_str().into(), caller: found.caller },
            Err(TokenError::Expired) => Lookup::ExpiredToken,
            Err(TokenError::Invalid) => Lookup::InvalidToken,
        }
    }
}
