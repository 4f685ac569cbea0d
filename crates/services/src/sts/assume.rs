//! AssumeRole.

use lambkin_model::sts::{AssumeRoleRequest, AssumeRoleResponse, AssumedRoleUser};
use lambkin_model::{AwsError, Principal, RequestContext};

use super::{StsService, denied, invalid, partition, refuse};
use crate::policy::{Decision, Keys, Request, Who};
use crate::sessions::{Session, Sessions};

/// Length of a session in seconds unless the request says otherwise.
const SESSION_S: i32 = 3600;

/// Longest session that a session may open, in seconds.
const CHAINED_S: i32 = 3600;

impl StsService {
    /// Opens a session of a role, if the role's trust policy lets the caller.
    ///
    /// The identity policies of the caller are not evaluated yet. Where a trust policy names the caller's
    /// whole account, AWS leaves it to them; here only the account's own keys may then, and sessions of roles
    /// must be named themselves.
    pub(super) fn assume(
        &self,
        context: &RequestContext,
        input: AssumeRoleRequest,
    ) -> Result<AssumeRoleResponse, AwsError> {
        let given = |list: Option<usize>| list.is_some_and(|length| length > 0);
        refuse(&[
            (input.policy.is_some(), "Policy"),
            (given(input.policy_arns.as_ref().map(Vec::len)), "PolicyArns"),
            (given(input.tags.as_ref().map(Vec::len)), "Tags"),
            (given(input.transitive_tag_keys.as_ref().map(Vec::len)), "TransitiveTagKeys"),
            (input.serial_number.is_some(), "SerialNumber"),
            (input.token_code.is_some(), "TokenCode"),
            (input.source_identity.is_some(), "SourceIdentity"),
            (given(input.provided_contexts.as_ref().map(Vec::len)), "ProvidedContexts"),
            (input.minimum_session_token_size.is_some(), "MinimumSessionTokenSize"),
        ])?;
        let caller = &context.caller;
        let arn = input.role_arn.unwrap_or_default();
        let name = input.role_session_name.unwrap_or_default();
        if !is_role_arn(&arn) {
            return Err(invalid("Request ARN is invalid"));
        }
        let mut keys = Keys::of_request();
        keys.set("sts:RoleSessionName", name.as_str());
        if let Some(id) = input.external_id {
            keys.set("sts:ExternalId", id);
        }
        let role = match &caller.principal {
            Principal::Session(session) => Some(session.role_arn.as_str()),
            Principal::Root | Principal::Anonymous => None,
        };
        keys.set("aws:PrincipalArn", role.unwrap_or(&caller.arn));
        keys.set("aws:PrincipalAccount", &*caller.account);
        keys.set("aws:PrincipalType", if role.is_some() { "AssumedRole" } else { "Account" });
        keys.set("aws:PrincipalIsAWSService", "false");
        keys.set("aws:userid", caller.user_id.as_str());
        let who = Who::Principal { account: &caller.account, arn: &caller.arn, role };
        let request = Request { who, action: "sts:AssumeRole", resource: None, keys };
        let Some((role, Decision::Allow)) = self.roles.decide(&arn, &request) else {
            return Err(denied(format!(
                "User: {} is not authorized to perform: sts:AssumeRole on resource: {arn}",
                caller.arn
            )));
        };
        let seconds = input.duration_seconds.unwrap_or(SESSION_S);
        if Sessions::is_session_key(&caller.access_key_id) && seconds > CHAINED_S {
            return Err(invalid(
                "The requested DurationSeconds exceeds the 1 hour session limit for roles assumed by role chaining",
            ));
        }
        if seconds > role.max_session_s {
            return Err(invalid(
                "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.",
            ));
        }
        let session = Session::of_role(&role, partition(context), &name);
        let credentials = self.mint(&session, seconds)?;
        tracing::info!(caller = %caller.arn, session = %session.arn(), "role assumed");
        Ok(AssumeRoleResponse {
            credentials: Some(credentials),
            assumed_role_user: Some(AssumedRoleUser {
                assumed_role_id: Some(format!("{}:{name}", role.id)),
                arn: Some(session.arn()),
            }),
            ..AssumeRoleResponse::default()
        })
    }
}

/// Whether a text has the form of a role's ARN; whether there is such a role is another matter.
fn is_role_arn(arn: &str) -> bool {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    matches!(parts.as_slice(), ["arn", _, "iam", "", account, resource]
        if account.len() == 12 && resource.strip_prefix("role/").is_some_and(|name| !name.is_empty()))
}
