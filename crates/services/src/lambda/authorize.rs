//! Who may do what with a function: its resource policies, asked before anything else of it is looked at.
//!
//! A caller of the function's own account needs no permission here, but a denial binds it. A caller of another
//! account needs a statement that allows the action. The policy asked is that of the version or alias which the
//! request names, or of the function itself where it names none or `$LATEST`.

use lambkin_core::ids::Scope;
use lambkin_model::{AwsError, Principal, RequestContext};

use super::catalogue::Entry;
use super::faults::{access_denied, invalid};
use super::names::{self, LATEST, Target};
use super::permissions::Policy;
use super::{Inner, LambdaService};
use crate::policy::{Decision, Keys, Request, Who};

/// What the root user of an account may do whatever a policy denies, so that nobody locks the account out.
const KEPT_FOR_ROOT: &[&str] = &[
    "AddPermission",
    "DeleteResourcePolicy",
    "GetPolicy",
    "GetResourcePolicy",
    "PutResourcePolicy",
    "RemovePermission",
];

/// An invocation that a service asks for on behalf of one of its resources.
#[derive(Debug, Clone, Copy)]
pub struct ServiceCall<'a> {
    /// The service principal, e.g. `events.amazonaws.com`.
    pub service: &'a str,
    /// ARN of the resource, e.g. of a rule.
    pub source_arn: Option<&'a str>,
    /// Account that owns the resource.
    pub source_account: Option<&'a str>,
    /// Full ARN of the function, version or alias to invoke.
    pub function_arn: &'a str,
}

impl LambdaService {
    /// Whether a service may invoke a function: the function's resource policy decides, the account of the
    /// resource is of no importance.
    ///
    /// # Errors
    /// `AccessDeniedException` where the policy does not allow it or there is no such function;
    /// `InvalidParameterValueException` where `function_arn` is no full ARN of a function.
    pub fn authorize_service(&self, call: &ServiceCall<'_>) -> Result<(), AwsError> {
        let parsed = names::parse(call.function_arn);
        let Some((region, account, parsed)) =
            parsed.and_then(|name| Some((name.region?, name.account?, name)))
        else {
            return Err(invalid(format!("{} is not the ARN of a function.", call.function_arn)));
        };
        let target = Target {
            scope: Scope::new(account, region),
            name: parsed.name.to_owned(),
            qualifier: parsed.qualifier.map(ToOwned::to_owned),
        };
        let mut keys = self.inner.keys_of_now();
        keys.set("aws:PrincipalIsAWSService", "true");
        keys.set("aws:PrincipalServiceName", call.service);
        keys.set("aws:PrincipalType", "Service");
        if let Some(arn) = call.source_arn {
            keys.set("aws:SourceArn", arn);
        }
        if let Some(account) = call.source_account {
            keys.set("aws:SourceAccount", account);
        }
        let entry = self.inner.catalogue.get(&target.scope, &target.name);
        let request = Ask { who: Who::Service(call.service), operation: "InvokeFunction", keys };
        let policy = policy_of(&target, entry.as_deref());
        let (account, arn) = (&*target.scope.account, &*target.arn());
        match decide(&Guarded { account, arn, policy: policy.as_deref() }, request) {
            Decision::Allow | Decision::AllowAccount => Ok(()),
            Decision::Deny => Err(explicitly_denied(call.service, "InvokeFunction", arn)),
            Decision::Silent => Err(access_denied(call.service, "InvokeFunction", arn)),
        }
    }
}

impl Inner {
    /// Reads FunctionName and Qualifier, and asks whether the caller may run the operation on what they name.
    /// The function need not exist.
    ///
    /// # Errors
    /// Those of [`names::read`], and `AccessDeniedException`.
    pub(crate) fn resolve(
        &self,
        context: &RequestContext,
        operation: &str,
        name: Option<&str>,
        qualifier: Option<&str>,
    ) -> Result<Target, AwsError> {
        let target = names::read(context, name, qualifier)?;
        let entry = self.catalogue.get(&target.scope, &target.name);
        self.authorize(context, operation, &target, entry.as_deref())?;
        Ok(target)
    }

    /// Asks whether the caller may run an operation, by its IAM name, on a target.
    ///
    /// # Errors
    /// `AccessDeniedException`, for a foreign function also where it does not exist.
    pub(crate) fn authorize(
        &self,
        context: &RequestContext,
        operation: &str,
        target: &Target,
        entry: Option<&Entry>,
    ) -> Result<(), AwsError> {
        let policy = policy_of(target, entry);
        if *context.caller.account == *target.scope.account && policy.is_none() {
            return Ok(());
        }
        let (account, arn) = (&*target.scope.account, &*target.arn());
        self.authorize_access(context, operation, &Guarded { account, arn, policy: policy.as_deref() })
    }

    /// Asks whether the caller may run an operation, by its IAM name, on a resource.
    ///
    /// # Errors
    /// `AccessDeniedException`.
    pub(crate) fn authorize_access(
        &self,
        context: &RequestContext,
        operation: &str,
        guarded: &Guarded<'_>,
    ) -> Result<(), AwsError> {
        let caller = &*context.caller;
        let is_own = *caller.account == *guarded.account;
        if is_own && guarded.policy.is_none() {
            return Ok(());
        }
        let is_root = caller.principal == Principal::Root;
        if is_own && is_root && KEPT_FOR_ROOT.contains(&operation) {
            return Ok(());
        }
        let role = match &caller.principal {
            Principal::Session(session) => Some(session.role_arn.as_str()),
            Principal::Root | Principal::Anonymous => None,
        };
        let mut keys = self.keys_of_now();
        keys.set("aws:PrincipalArn", role.unwrap_or(&caller.arn));
        keys.set("aws:PrincipalAccount", &*caller.account);
        keys.set("aws:PrincipalType", if role.is_some() { "AssumedRole" } else { "Account" });
        keys.set("aws:PrincipalIsAWSService", "false");
        keys.set("aws:userid", caller.user_id.as_str());
        keys.set("aws:RequestedRegion", &*context.region);
        keys.set("aws:SecureTransport", context.endpoint.starts_with("https:").to_string());
        keys.set("lambda:InvokedViaFunctionUrl", "false");
        let who = Who::Principal { account: &caller.account, arn: &caller.arn, role };
        match decide(guarded, Ask { who, operation, keys }) {
            Decision::Deny => Err(explicitly_denied(&caller.arn, operation, guarded.arn)),
            // Where the whole account is allowed, identity policies say who of it: what sessions may do at all
            // has been decided before the request came here.
            Decision::Allow | Decision::AllowAccount => Ok(()),
            Decision::Silent if is_own => Ok(()),
            Decision::Silent => Err(access_denied(&caller.arn, operation, guarded.arn)),
        }
    }

    fn keys_of_now(&self) -> Keys {
        let mut keys = Keys::of_request();
        let now_ms = self.clock.now_ms();
        keys.set("aws:EpochTime", (now_ms / 1000).to_string());
        let time = jiff::Timestamp::from_millisecond(now_ms).unwrap_or_default();
        keys.set("aws:CurrentTime", time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string());
        keys
    }
}

/// What is to be accessed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Guarded<'a> {
    /// Account that owns it.
    pub(crate) account: &'a str,
    /// As the request names it, a function with its qualifier.
    pub(crate) arn: &'a str,
    /// Its resource policy.
    pub(crate) policy: Option<&'a Policy>,
}

/// What a policy is asked.
struct Ask<'a> {
    who: Who<'a>,
    operation: &'a str,
    keys: Keys,
}

fn policy_of(target: &Target, entry: Option<&Entry>) -> Option<std::sync::Arc<Policy>> {
    entry?.dependent(target.qualifier.as_deref().unwrap_or(LATEST))
}

fn decide(guarded: &Guarded<'_>, ask: Ask<'_>) -> Decision {
    let Some(policy) = guarded.policy else { return Decision::Silent };
    let action = format!("lambda:{}", ask.operation);
    let request = Request { who: ask.who, action: &action, resource: Some(guarded.arn), keys: ask.keys };
    match policy.document() {
        Some(document) => document.decide(&request),
        // It was checked when it was stored. What cannot be read now may be a denial.
        None => Decision::Deny,
    }
}

fn explicitly_denied(who: &str, operation: &str, arn: &str) -> AwsError {
    AwsError::new(
        "AccessDeniedException",
        403,
        format!(
            "User: {who} is not authorized to perform: lambda:{operation} on resource: {arn} with an explicit deny \
             in a resource-based policy"
        ),
    )
}
