//! Sessions of roles: temporary credentials, made and verified in one place.
//!
//! A session token is sealed (AES-256-GCM) under a key of the data folder and carries all there is to know
//! of its session, the secret included. So nothing is stored per session, and tokens outlive a restart.
//! The access key id is authenticated with the token: a token fits no other key.

use std::fmt;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::rand;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambkin_core::Clock;
use lambkin_core::credentials::{CredentialsError, RoleCredentials, SessionCredentials};
use lambkin_core::function::FunctionSpec;
use lambkin_model::{Caller, Principal, RoleSession};
use serde::{Deserialize, Serialize};

use crate::iam::{RoleInfo, Roles};
use crate::keyfile;

/// How long the credentials of a function's environment are valid. Environments are replaced well before.
pub const FUNCTION_SESSION: Duration = Duration::from_secs(12 * 60 * 60);

/// First byte of a token: how the rest is to be read.
const VERSION: u8 = 1;
/// Longest token that is looked at, in characters.
const MAX_TOKEN: usize = 8192;
/// Characters of access key ids and role ids.
const UPPER: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/// Characters of secrets.
const MIXED: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// Whose session it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// 12-digit account id. The session reaches nothing outside.
    #[serde(rename = "a")]
    pub account: String,
    /// AWS partition, e.g. `aws`.
    #[serde(rename = "p")]
    pub partition: String,
    /// ARN of the role.
    #[serde(rename = "r")]
    pub role_arn: String,
    /// Unique id of the role: `AROA` and 17 further characters. [`role_id`] gives one for a role that is
    /// no more than a name.
    #[serde(rename = "i")]
    pub role_id: String,
    /// Name of the session.
    #[serde(rename = "n")]
    pub name: String,
    /// ARN of the function whose environment the credentials are for, if they are for one.
    #[serde(rename = "f", default, skip_serializing_if = "Option::is_none")]
    pub source_function: Option<String>,
    /// Whether it is a session of the account itself, without a role.
    #[serde(rename = "k", default, skip_serializing_if = "std::ops::Not::not")]
    pub of_account: bool,
}

impl Session {
    /// The session of a function's environment: of its role, in the function's account, named after it.
    #[must_use]
    pub fn of_function(spec: &FunctionSpec, roles: &Roles) -> Self {
        Self {
            account: spec.scope.account.to_string(),
            partition: spec.scope.partition().to_owned(),
            role_id: roles.find(&spec.role).map_or_else(|| role_id(&spec.role), |role| role.id),
            role_arn: spec.role.clone(),
            name: spec.name.to_string(),
            source_function: Some(spec.arn()),
            of_account: false,
        }
    }

    /// A session of a role, as AssumeRole opens it.
    #[must_use]
    pub fn of_role(role: &RoleInfo, partition: &str, name: &str) -> Self {
        Self {
            account: role.account.clone(),
            partition: partition.to_owned(),
            role_arn: role.arn.clone(),
            role_id: role.id.clone(),
            name: name.to_owned(),
            source_function: None,
            of_account: false,
        }
    }

    /// A session of an account itself, as GetSessionToken gives it: it may do what the account's keys may.
    #[must_use]
    pub fn of_account(account: &str, partition: &str) -> Self {
        Self {
            account: account.to_owned(),
            partition: partition.to_owned(),
            role_arn: String::new(),
            role_id: String::new(),
            name: String::new(),
            source_function: None,
            of_account: true,
        }
    }

    /// `arn:aws:sts::ACCOUNT:assumed-role/ROLE/NAME`; the role's path is left out, as on AWS.
    #[must_use]
    pub fn arn(&self) -> String {
        let role = self.role_arn.rsplit('/').next().unwrap_or_default();
        format!("arn:{}:sts::{}:assumed-role/{role}/{}", self.partition, self.account, self.name)
    }

    fn caller(&self, access_key_id: &str) -> Caller {
        if self.of_account {
            return Caller::root(&self.account, access_key_id);
        }
        Caller {
            account: self.account.as_str().into(),
            arn: self.arn(),
            user_id: format!("{}:{}", self.role_id, self.name),
            access_key_id: access_key_id.to_owned(),
            principal: Principal::Session(RoleSession {
                role_arn: self.role_arn.clone(),
                session_name: self.name.clone(),
                source_function: self.source_function.clone(),
            }),
        }
    }
}

/// What a token carries.
#[derive(Serialize, Deserialize)]
struct Claims {
    #[serde(flatten)]
    session: Session,
    /// Secret access key.
    #[serde(rename = "s")]
    secret: String,
    /// End, in seconds since the epoch.
    #[serde(rename = "e")]
    expires: u64,
}

/// A session whose token was found good. Its `Debug` form does not show the secret.
#[derive(Clone)]
pub struct Verified {
    /// The secret that must have signed.
    pub secret: String,
    /// Who that is.
    pub caller: Arc<Caller>,
    /// When the credentials end, since the Unix epoch.
    pub expires_at: Duration,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("caller", &self.caller).finish_non_exhaustive()
    }
}

/// Why a token does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It was not made here for this access key.
    #[error("the token is not valid")]
    Invalid,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
}

/// Makes and verifies session credentials.
pub struct Sessions {
    key: RandomizedNonceKey,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sessions").finish_non_exhaustive()
    }
}

impl Sessions {
    /// Opens the key of a data folder (`keys/session.key`), or makes it.
    ///
    /// # Errors
    /// The key cannot be read or written.
    pub fn open(data_dir: &Path, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let key = keyfile::open(data_dir, "session")?;
        let key = RandomizedNonceKey::new(&AES_256_GCM, &key)
            .map_err(|_| io::Error::other("the session key cannot be used"))?;
        Ok(Self { key, clock })
    }

    /// Whether an access key id is of the kind made here, hence never that of a lasting key.
    #[must_use]
    pub fn is_session_key(access_key_id: &str) -> bool {
        access_key_id.starts_with("ASIA")
    }

    /// New credentials that are valid from now on for `lifetime`.
    ///
    /// # Errors
    /// The system's random numbers or cryptography fail.
    pub fn mint(
        &self,
        session: &Session,
        lifetime: Duration,
    ) -> Result<SessionCredentials, CredentialsError> {
        let access_key_id = format!("ASIA{}", random(16, UPPER)?);
        let secret = random(40, MIXED)?;
        let expires = self.clock.now().saturating_add(lifetime).as_secs();
        let claims = Claims { session: session.clone(), secret, expires };
        let mut sealed = serde_json::to_vec(&claims).map_err(|_| CredentialsError::Seal)?;
        let nonce = self
            .key
            .seal_in_place_append_tag(Aad::from(access_key_id.as_bytes()), &mut sealed)
            .map_err(|_| CredentialsError::Seal)?;
        let mut token = vec![VERSION];
        token.extend_from_slice(nonce.as_ref());
        token.extend_from_slice(&sealed);
        Ok(SessionCredentials {
            access_key_id,
            secret_access_key: claims.secret,
            session_token: STANDARD.encode(token),
            expires_at: Duration::from_secs(expires),
        })
    }

    /// What a token says, if it was made here together with this access key and is still valid.
    ///
    /// # Errors
    /// It was not, or it is no longer.
    pub fn verify(&self, access_key_id: &str, token: &str) -> Result<Verified, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::Invalid);
        }
        let mut token = STANDARD.decode(token).map_err(|_| TokenError::Invalid)?;
        let Some((&mut VERSION, rest)) = token.split_first_mut() else { return Err(TokenError::Invalid) };
        let (nonce, sealed) = rest.split_at_mut_checked(NONCE_LEN).ok_or(TokenError::Invalid)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| TokenError::Invalid)?;
        let opened = self.key.open_in_place(nonce, Aad::from(access_key_id.as_bytes()), sealed);
        let opened = opened.map_err(|_| TokenError::Invalid)?;
        let claims: Claims = serde_json::from_slice(opened).map_err(|_| TokenError::Invalid)?;
        let expires_at = Duration::from_secs(claims.expires);
        if self.clock.now() >= expires_at {
            return Err(TokenError::Expired);
        }
        let caller = Arc::new(claims.session.caller(access_key_id));
        Ok(Verified { secret: claims.secret, caller, expires_at })
    }
}

/// Gives functions sessions of their roles.
#[derive(Debug)]
pub struct FunctionSessions {
    sessions: Arc<Sessions>,
    roles: Roles,
}

impl FunctionSessions {
    /// Sessions of the roles that IAM has; a role that it does not have is no more than a name.
    #[must_use]
    pub fn new(sessions: Arc<Sessions>, roles: Roles) -> Self {
        Self { sessions, roles }
    }
}

impl RoleCredentials for FunctionSessions {
    fn for_function(&self, spec: &FunctionSpec) -> Result<SessionCredentials, CredentialsError> {
        self.sessions.mint(&Session::of_function(spec, &self.roles), FUNCTION_SESSION)
    }
}

/// The unique id of a role of which nothing is known but its ARN: always the same for the same ARN.
#[must_use]
pub fn role_id(role_arn: &str) -> String {
    let hash = digest(&SHA256, role_arn.as_bytes());
    let tail = hash.as_ref().iter().take(17).map(|byte| letter(*byte, UPPER));
    "AROA".chars().chain(tail).collect()
}

/// `length` characters drawn evenly from an alphabet whose size is a power of two.
fn random<const N: usize>(length: usize, alphabet: &[u8; N]) -> Result<String, CredentialsError> {
    const { assert!(N.is_power_of_two() && N <= 256) };
    let mut bytes = vec![0; length];
    rand::fill(&mut bytes).map_err(|_| CredentialsError::NoRandomness)?;
    Ok(bytes.iter().map(|byte| letter(*byte, alphabet)).collect())
}

fn letter<const N: usize>(byte: u8, alphabet: &[u8; N]) -> char {
    alphabet.get(usize::from(byte) % N).map_or('A', |letter| char::from(*letter))
}

#[cfg(test)]
mod tests {
    use lambkin_core::clock::ManualClock;

    use super::*;

    const NOW: u64 = 1_795_000_000_000;

    fn session() -> Session {
        Session {
            account: "123456789012".to_owned(),
            partition: "aws".to_owned(),
            role_arn: "arn:aws:iam::123456789012:role/team/worker".to_owned(),
            role_id: role_id("arn:aws:iam::123456789012:role/team/worker"),
            name: "hello".to_owned(),
            source_function: Some("arn:aws:lambda:us-east-1:123456789012:function:hello".to_owned()),
            of_account: false,
        }
    }

    #[test]
    fn a_token_says_whose_session_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let sessions = Sessions::open(dir.path(), clock.clone()).unwrap();
        let made = sessions.mint(&session(), FUNCTION_SESSION).unwrap();
        assert!(made.access_key_id.starts_with("ASIA") && made.access_key_id.len() == 20);
        assert_eq!(made.secret_access_key.len(), 40);
        assert_eq!(made.expires_at.as_secs(), NOW / 1000 + 12 * 3600);
        assert!(made.session_token.len() < 1000, "{}", made.session_token.len());

        // After a restart, too.
        let sessions = Sessions::open(dir.path(), clock.clone()).unwrap();
        let found = sessions.verify(&made.access_key_id, &made.session_token).unwrap();
        assert_eq!((&found.secret, found.expires_at), (&made.secret_access_key, made.expires_at));
        let caller = &found.caller;
        assert_eq!(&*caller.account, "123456789012");
        assert_eq!(caller.arn, "arn:aws:sts::123456789012:assumed-role/worker/hello");
        assert_eq!(caller.user_id, format!("{}:hello", session().role_id));
        let Principal::Session(role) = &caller.principal else { panic!("{caller:?}") };
        assert_eq!(role.role_arn, session().role_arn);
        assert_eq!(role.source_function, session().source_function);

        clock.advance(FUNCTION_SESSION - Duration::from_secs(1));
        assert!(sessions.verify(&made.access_key_id, &made.session_token).is_ok());
        clock.advance(Duration::from_secs(1));
        let late = sessions.verify(&made.access_key_id, &made.session_token);
        assert_eq!(late.unwrap_err(), TokenError::Expired);
    }

    #[test]
    fn nothing_else_is_a_token() {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(NOW));
        let sessions = Sessions::open(dir.path(), clock.clone()).unwrap();
        let made = sessions.mint(&session(), FUNCTION_SESSION).unwrap();
        let other = sessions.mint(&session(), FUNCTION_SESSION).unwrap();
        let refused = |key: &str, token: &str| {
            assert_eq!(sessions.verify(key, token).unwrap_err(), TokenError::Invalid, "{key} {token}");
        };
        refused(&made.access_key_id, &other.session_token);
        let whole = STANDARD.decode(&made.session_token).unwrap();
        for at in 0..whole.len() {
            let mut forged = whole.clone();
            forged[at] ^= 1;
            refused(&made.access_key_id, &STANDARD.encode(forged));
            refused(&made.access_key_id, &STANDARD.encode(&whole[..at]));
        }
        for token in ["", "A", "AQ==", "not base64!", &"A".repeat(MAX_TOKEN + 4)] {
            refused(&made.access_key_id, token);
        }
        let elsewhere = tempfile::tempdir().unwrap();
        let stranger = Sessions::open(elsewhere.path(), clock).unwrap();
        assert!(stranger.verify(&made.access_key_id, &made.session_token).is_err());
    }

    #[test]
    fn secrets_are_not_printed() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::open(dir.path(), Arc::new(ManualClock::at(NOW))).unwrap();
        let made = sessions.mint(&session(), FUNCTION_SESSION).unwrap();
        let found = sessions.verify(&made.access_key_id, &made.session_token).unwrap();
        let printed = format!("{made:?} {found:?} {sessions:?}");
        assert!(!printed.contains(&made.secret_access_key) && !printed.contains(&made.session_token));
    }

    #[test]
    fn role_ids_are_stable() {
        let id = role_id("arn:aws:iam::000000000000:role/lambda");
        assert_eq!(id, role_id("arn:aws:iam::000000000000:role/lambda"));
        assert_ne!(id, role_id("arn:aws:iam::000000000000:role/other"));
        assert!(id.starts_with("AROA") && id.len() == 21);
    }
}
