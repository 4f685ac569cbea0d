//! AddPermission, RemovePermission, GetPolicy: the resource policy of a function, a version or an alias,
//! statement by statement.

use std::sync::OnceLock;

use lambkin_model::lambda::{
    AddPermissionRequest, AddPermissionResponse, GetPolicyRequest, GetPolicyResponse,
    RemovePermissionRequest, SERVICE, errors,
};
use lambkin_model::{AwsError, RequestContext};
use serde::{Deserialize, Serialize};

use super::Inner;
use super::create::new_revision_id;
use super::dependents::Dependent;
use super::faults::{conflict, invalid, not_found, service};
use super::names::{LATEST, Target};
use super::record::FORMAT;
use crate::policy::{Document, Json, Kind, ResourcePolicy, principal_of};

/// Largest policy in bytes (AWS quota).
const MAX_POLICY: usize = 20_480;

/// Actions of functions that are not named after an operation.
const OTHER_ACTIONS: &[&str] =
    &["DisableReplication", "EnableReplication", "InvokeFunction", "InvokeFunctionUrl"];

/// A resource policy.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Policy {
    v: u32,
    pub(crate) revision_id: String,
    /// The document as it is read back.
    pub(crate) text: String,
    /// The document as it is decided by, once somebody has asked.
    #[serde(skip)]
    document: OnceLock<Option<Document>>,
}

impl Dependent for Policy {
    const KIND: &'static str = "lambda.policy";

    fn format(&self) -> u32 {
        self.v
    }
}

impl Policy {
    /// A policy that takes effect anew.
    ///
    /// # Errors
    /// One that is too long.
    pub(crate) fn new(policy: &ResourcePolicy) -> Result<Self, AwsError> {
        let text = policy.text().map_err(service)?;
        if text.len() > MAX_POLICY {
            return Err(errors::policy_length_exceeded_exception(format!(
                "The final policy size ({}) is bigger than the limit ({MAX_POLICY}).",
                text.len()
            ))
            .with("Type", "User"));
        }
        Ok(Self { v: FORMAT, revision_id: new_revision_id(), text, document: OnceLock::new() })
    }

    /// The policy to decide by; `None` where it cannot be read.
    pub(crate) fn document(&self) -> Option<&Document> {
        let read = || match Document::parse(&self.text, Kind::Resource) {
            Ok(document) => Some(document),
            Err(error) => {
                tracing::error!(%error, "cannot read a stored resource policy: it denies everything");
                None
            }
        };
        self.document.get_or_init(read).as_ref()
    }

    /// The policy to change.
    pub(crate) fn editable(&self) -> Result<ResourcePolicy, AwsError> {
        ResourcePolicy::parse(&self.text).ok_or_else(|| service("a stored resource policy is no policy"))
    }

    /// Refuses a change by somebody who has seen another policy than the present one.
    pub(crate) fn check_revision(present: Option<&Self>, asked: Option<&str>) -> Result<(), AwsError> {
        match asked {
            Some(asked) if present.is_none_or(|policy| policy.revision_id != asked) => {
                Err(errors::precondition_failed_exception(
                    "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to \
                     retrieve the latest Revision Id",
                )
                .with("Type", "User"))
            }
            _ => Ok(()),
        }
    }
}

impl Inner {
    pub(crate) async fn add_permission(
        &self,
        context: &RequestContext,
        request: AddPermissionRequest,
    ) -> Result<AddPermissionResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.find(context, "AddPermission", name, qualifier)?.target;
        if target.qualifier.as_deref() == Some(LATEST) {
            return Err(no_policy_of_latest());
        }
        let statement = statement(&target, &request)?;
        let sid = request.statement_id.as_deref().unwrap_or_default();
        self.set_dependent::<Policy, _>(&target, |present| {
            Policy::check_revision(present.as_ref(), request.revision_id.as_deref())?;
            let mut policy = present.map_or_else(|| Ok(ResourcePolicy::new()), |policy| policy.editable())?;
            if policy.has(sid) {
                return Err(conflict(format!(
                    "The statement id ({sid}) provided already exists. Please provide a new statement id, or \
                     remove the existing statement."
                )));
            }
            policy.push(statement.clone());
            Ok((Some(Policy::new(&policy)?), ()))
        })
        .await?;
        tracing::info!(function = %target.arn(), statement = sid, "permission added");
        Ok(AddPermissionResponse { statement: Some(serde_json::to_string(&statement).map_err(service)?) })
    }

    pub(crate) async fn remove_permission(
        &self,
        context: &RequestContext,
        request: RemovePermissionRequest,
    ) -> Result<(), AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let target = self.find(context, "RemovePermission", name, qualifier)?.target;
        let sid = request.statement_id.as_deref().unwrap_or_default();
        let none = || not_found("No policy is associated with the given resource.");
        if target.qualifier.as_deref() == Some(LATEST) {
            return Err(none());
        }
        self.set_dependent::<Policy, _>(&target, |present| {
            let present = present.ok_or_else(none)?;
            let mut policy = present.editable()?;
            if !policy.has(sid) {
                return Err(not_found(format!("Statement {sid} is not found in resource policy.")));
            }
            Policy::check_revision(Some(&present), request.revision_id.as_deref())?;
            policy.remove(sid);
            let left = if policy.is_empty() { None } else { Some(Policy::new(&policy)?) };
            Ok((left, ()))
        })
        .await?;
        tracing::info!(function = %target.arn(), statement = sid, "permission removed");
        Ok(())
    }

    pub(crate) fn get_policy(
        &self,
        context: &RequestContext,
        request: &GetPolicyRequest,
    ) -> Result<GetPolicyResponse, AwsError> {
        let (name, qualifier) = (request.function_name.as_deref(), request.qualifier.as_deref());
        let found = self.find(context, "GetPolicy", name, qualifier)?;
        let policy = match found.target.qualifier.as_deref() {
            Some(LATEST) => None,
            _ => found.entry.dependent::<Policy>(found.qualifier()),
        };
        let policy = policy.ok_or_else(|| not_found("The resource you requested does not exist."))?;
        Ok(GetPolicyResponse {
            policy: Some(policy.text.clone()),
            revision_id: Some(policy.revision_id.clone()),
        })
    }
}

/// `$LATEST` is reached by the function's own policy.
pub(crate) fn no_policy_of_latest() -> AwsError {
    invalid("We currently do not support adding policies for $LATEST.")
}

/// The statement that a request describes.
fn statement(target: &Target, request: &AddPermissionRequest) -> Result<Json, AwsError> {
    let action = request.action.as_deref().unwrap_or_default();
    let is_action = match action.strip_prefix("lambda:") {
        Some(name) => name == "*" || OTHER_ACTIONS.contains(&name) || SERVICE.operation(name).is_some(),
        None => action == "*",
    };
    if !is_action {
        return Err(invalid(format!(
            "The provided action {action} was invalid. It is not an action of Lambda."
        )));
    }
    if request.function_url_auth_type.is_some() && action != "lambda:InvokeFunctionUrl" {
        return Err(invalid("FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action"));
    }
    if request.invoked_via_function_url.is_some() && action != "lambda:InvokeFunction" {
        return Err(invalid("InvokedViaFunctionUrl is only supported for lambda:InvokeFunction action"));
    }
    let principal = request.principal.as_deref().unwrap_or_default();
    let principal = principal_of(principal, target.scope.partition()).ok_or_else(|| {
        invalid("The provided principal was invalid. Please check the principal and try again.")
    })?;
    let mut members = vec![
        ("Sid".to_owned(), Json::text(request.statement_id.as_deref().unwrap_or_default())),
        ("Effect".to_owned(), Json::text("Allow")),
        ("Principal".to_owned(), principal),
        ("Action".to_owned(), Json::text(action)),
        ("Resource".to_owned(), Json::text(target.arn())),
    ];
    let conditions = conditions(request);
    if !conditions.is_empty() {
        members.push(("Condition".to_owned(), Json::Object(conditions)));
    }
    Ok(Json::Object(members))
}

/// The conditions that a request describes, by operator.
fn conditions(request: &AddPermissionRequest) -> Vec<(String, Json)> {
    let mut operators = Vec::new();
    let mut add = |operator: &str, keys: &[(&str, Option<&str>)]| {
        let keys: Vec<_> = keys
            .iter()
            .filter_map(|(key, value)| {
                Some(((*key).to_owned(), Json::text(value.filter(|v| !v.is_empty())?)))
            })
            .collect();
        if !keys.is_empty() {
            operators.push((operator.to_owned(), Json::Object(keys)));
        }
    };
    add(
        "StringEquals",
        &[
            ("AWS:SourceAccount", request.source_account.as_deref()),
            ("lambda:EventSourceToken", request.event_source_token.as_deref()),
            ("aws:PrincipalOrgID", request.principal_org_id.as_deref()),
            ("lambda:FunctionUrlAuthType", request.function_url_auth_type.as_deref()),
        ],
    );
    let via_url = request.invoked_via_function_url.map(|via| if via { "true" } else { "false" });
    add("Bool", &[("lambda:InvokedViaFunctionUrl", via_url)]);
    add("ArnLike", &[("AWS:SourceArn", request.source_arn.as_deref())]);
    operators
}
