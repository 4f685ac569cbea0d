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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use lambkin_core::clock::ManualClock;
    use lambkin_model::Principal;
    use lambkin_services::sessions::Session;

    use super::*;

    /// Knows no key.
    struct NoKeys;

    impl Authenticator for NoKeys {
        fn lookup(&self, _: &str, _: Option<&str>) -> Lookup {
            Lookup::UnknownKey
        }
    }

    #[test]
    fn sessions_are_known_until_they_end() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_795_000_000_000));
        let sessions = Arc::new(Sessions::open(dir.path(), clock.clone()).unwrap());
        let session = Session {
            account: "123456789012".to_owned(),
            partition: "aws".to_owned(),
            role_arn: "arn:aws:iam::123456789012:role/r".to_owned(),
            role_id: "AROAEXAMPLE".to_owned(),
            name: "s".to_owned(),
            source_function: None,
            of_account: false,
        };
        let made = sessions.mint(&session, Duration::from_secs(900)).unwrap();
        let all = WithSessions::new(NoKeys, sessions);
        let look = |token| all.lookup(&made.access_key_id, token);
        match look(Some(made.session_token.as_str())) {
            Lookup::Found { secret, caller } => {
                assert_eq!(secret.expose(), made.secret_access_key);
                assert!(matches!(caller.principal, Principal::Session(_)), "{caller:?}");
            }
            other => panic!("{other:?}"),
        }
        assert!(matches!(look(Some("AAAA")), Lookup::InvalidToken));
        assert!(matches!(look(None), Lookup::InvalidToken));
        assert!(matches!(all.lookup("AKIAEXAMPLE", None), Lookup::UnknownKey));
        clock.advance(Duration::from_secs(900));
        assert!(matches!(look(Some(made.session_token.as_str())), Lookup::ExpiredToken));
    }
}
