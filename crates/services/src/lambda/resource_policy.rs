//! PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy: the policy that `permissions` changes statement by
//! statement, as a whole.

use lambkin_model::lambda::{
    DeleteResourcePolicyRequest, GetResourcePolicyRequest, GetResourcePolicyResponse,
    PutResourcePolicyRequest, PutResourcePolicyResponse,
};
use lambkin_model::{AwsError, RequestContext};

use super::Inner;
use super::faults::{invalid, not_found};
use super::names::{self, LATEST};
use super::permissions::{Policy, no_policy_of_latest};
use super::resolve::Found;
use crate::policy::{Document, Kind, ResourcePolicy};

impl Inner {
    pub(crate) async fn put_resource_policy(
        &self,
        context: &RequestContext,
        request: PutResourcePolicyRequest,
    ) -> Result<PutResourcePolicyResponse, AwsError> {
        let found = self.policy_owner(context, "PutResourcePolicy", request.resource_arn.as_deref())?;
        let target = found.target;
        if target.qualifier.as_deref() == Some(LATEST) {
            return Err(no_policy_of_latest());
        }
        let text = request.policy.unwrap_or_default();
        let arn = target.arn();
        let document = Document::parse(&text, Kind::Resource).map_err(invalid)?;
        if !document.statements.iter().all(|statement| statement.names(&arn)) {
            return Err(invalid(format!(
                "Every statement of the policy must have the resource {arn} that the policy belongs to."
            )));
        }
        let policy = ResourcePolicy::parse(&text).ok_or_else(|| invalid("The policy is not valid."))?;
        let (text, revision_id) = self
            .set_dependent::<Policy, _>(&target, |present| {
                Policy::check_revision(present.as_ref(), request.revision_id.as_deref())?;
                let next = Policy::new(&policy)?;
                let answer = (next.text.clone(), next.revision_id.clone());
                Ok((Some(next), answer))
            })
            .await?;
        tracing::info!(function = %arn, "resource policy put");
        Ok(PutResourcePolicyResponse { policy: Some(text), revision_id: Some(revision_id) })
    }

    pub(crate) fn get_resource_policy(
        &self,
        context: &RequestContext,
        request: &GetResourcePolicyRequest,
    ) -> Result<GetResourcePolicyResponse, AwsError> {
        let found = self.policy_owner(context, "GetResourcePolicy", request.resource_arn.as_deref())?;
        let policy = match found.target.qualifier.as_deref() {
            Some(LATEST) => None,
            _ => found.entry.dependent::<Policy>(found.qualifier()),
        };
        let policy = policy.ok_or_else(absent)?;
        Ok(GetResourcePolicyResponse {
            policy: Some(policy.text.clone()),
            revision_id: Some(policy.revision_id.clone()),
        })
    }

    pub(crate) async fn delete_resource_policy(
        &self,
        context: &RequestContext,
        request: DeleteResourcePolicyRequest,
    ) -> Result<(), AwsError> {
        let found = self.policy_owner(context, "DeleteResourcePolicy", request.resource_arn.as_deref())?;
        let target = found.target;
        if target.qualifier.as_deref() == Some(LATEST) {
            return Err(absent());
        }
        self.set_dependent::<Policy, _>(&target, |present| {
            let present = present.ok_or_else(absent)?;
            Policy::check_revision(Some(&present), request.revision_id.as_deref())?;
            Ok((None, ()))
        })
        .await?;
        tracing::info!(function = %target.arn(), "resource policy deleted");
        Ok(())
    }

    /// What a ResourceArn names. Of the resources that have policies of this kind only functions exist.
    fn policy_owner(
        &self,
        context: &RequestContext,
        operation: &str,
        arn: Option<&str>,
    ) -> Result<Found, AwsError> {
        match arn.and_then(names::parse) {
            Some(name) if name.region.is_some() && name.account.is_some() => {
                self.find(context, operation, arn, None)
            }
            _ => Err(absent()),
        }
    }
}

fn absent() -> AwsError {
    not_found("The resource you requested does not exist.")
}
