//! Temporary credentials of roles, as functions get them.

use std::fmt;
use std::time::Duration;

use crate::function::FunctionSpec;

/// Credentials of one session. Their `Debug` form shows the access key id only.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionCredentials {
    /// `ASIA` and 16 further characters.
    pub access_key_id: String,
    /// What requests are signed with.
    pub secret_access_key: String,
    /// What goes with each request; it says whose session this is.
    pub session_token: String,
    /// When they end, since the Unix epoch.
    pub expires_at: Duration,
}

impl fmt::Debug for SessionCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionCredentials")
            .field("access_key_id", &self.access_key_id)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Why there are no credentials.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CredentialsError {
    /// The system gave no random numbers.
    #[error("no random numbers to be had")]
    NoRandomness,
    /// They could not be sealed.
    #[error("cannot seal a session token")]
    Seal,
}

/// Gives execution environments the credentials of their function's role.
pub trait RoleCredentials: fmt::Debug + Send + Sync + 'static {
    /// New credentials for one environment of a function.
    ///
    /// # Errors
    /// The system's random numbers or cryptography fail.
    fn for_function(&self, spec: &FunctionSpec) -> Result<SessionCredentials, CredentialsError>;
}
