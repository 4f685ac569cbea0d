//! AWS STS: who the caller is, and temporary credentials of roles.

mod assume;

use std::sync::Arc;
use std::time::Duration;

use lambkin_core::credentials::{CredentialsError, SessionCredentials};
use lambkin_core::ids::Scope;
use lambkin_model::sts::{
    AssumeRoleRequest, AssumeRoleResponse, Credentials, GetCallerIdentityRequest, GetCallerIdentityResponse,
    GetSessionTokenRequest, GetSessionTokenResponse, Sts,
};
use lambkin_model::types::Timestamp;
use lambkin_model::{AwsError, Principal, RequestContext};

use crate::iam::Roles;
use crate::sessions::{Session, Sessions};

/// Longest session of an account itself in seconds; a longer one that is asked for becomes this.
const ACCOUNT_SESSION_S: i32 = 3600;

/// The STS service. Give it to `lambkin_model::sts::Handler`.
#[derive(Debug, Clone)]
pub struct StsService {
    roles: Roles,
    sessions: Arc<Sessions>,
}

impl StsService {
    /// A service that gives out `sessions` of `roles`.
    #[must_use]
    pub fn new(roles: Roles, sessions: Arc<Sessions>) -> Self {
        Self { roles, sessions }
    }

    fn mint(&self, session: &Session, seconds: i32) -> Result<Credentials, AwsError> {
        let lifetime = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        self.sessions.mint(session, lifetime).map(view).map_err(internal)
    }
}

impl Sts for StsService {
    async fn assume_role(
        &self,
        context: &RequestContext,
        input: AssumeRoleRequest,
    ) -> Result<AssumeRoleResponse, AwsError> {
        self.assume(context, input)
    }

    async fn get_caller_identity(
        &self,
        context: &RequestContext,
        _: GetCallerIdentityRequest,
    ) -> Result<GetCallerIdentityResponse, AwsError> {
        let caller = &context.caller;
        Ok(GetCallerIdentityResponse {
            user_id: Some(caller.user_id.clone()),
            account: Some(caller.account.to_string()),
            arn: Some(caller.arn.clone()),
        })
    }

    async fn get_session_token(
        &self,
        context: &RequestContext,
        input: GetSessionTokenRequest,
    ) -> Result<GetSessionTokenResponse, AwsError> {
        let refused = [
            (input.serial_number.is_some(), "SerialNumber"),
            (input.token_code.is_some(), "TokenCode"),
            (input.minimum_session_token_size.is_some(), "MinimumSessionTokenSize"),
        ];
        refuse(&refused)?;
        let caller = &context.caller;
        if caller.principal != Principal::Root || Sessions::is_session_key(&caller.access_key_id) {
            return Err(denied("Cannot call GetSessionToken with session credentials"));
        }
        let seconds = input.duration_seconds.unwrap_or(ACCOUNT_SESSION_S).min(ACCOUNT_SESSION_S);
        let credentials = self.mint(&Session::of_account(&caller.account, partition(context)), seconds)?;
        Ok(GetSessionTokenResponse { credentials: Some(credentials), ..GetSessionTokenResponse::default() })
    }
}

/// Refuses the first parameter that was given and that does nothing here.
fn refuse(parameters: &[(bool, &str)]) -> Result<(), AwsError> {
    match parameters.iter().find(|(given, _)| *given) {
        Some((_, parameter)) => Err(invalid(format!("Lambkin does not support {parameter} yet."))),
        None => Ok(()),
    }
}

/// The partition a request is made in.
fn partition(context: &RequestContext) -> &'static str {
    Scope::new(Arc::clone(&context.caller.account), Arc::clone(&context.region)).partition()
}

/// 400 `ValidationError`.
fn invalid(message: impl Into<String>) -> AwsError {
    AwsError::new("ValidationError", 400, message)
}

/// 403 `AccessDenied`.
fn denied(message: impl Into<String>) -> AwsError {
    AwsError::new("AccessDenied", 403, message)
}

fn internal(cause: CredentialsError) -> AwsError {
    tracing::error!(%cause, "sts request failed");
    AwsError::new("InternalFailure", 500, "The request processing has failed because of an unknown error.")
}

fn view(made: SessionCredentials) -> Credentials {
    let expiration = i64::try_from(made.expires_at.as_millis()).unwrap_or(i64::MAX);
    Credentials {
        access_key_id: Some(made.access_key_id),
        secret_access_key: Some(made.secret_access_key),
        session_token: Some(made.session_token),
        expiration: Some(Timestamp(expiration)),
    }
}

#[cfg(test)]
mod tests;
