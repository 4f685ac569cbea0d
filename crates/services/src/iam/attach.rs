//! Which managed policies are attached to which roles.

use std::sync::Arc;

use lambkin_core::metadata::Expect;
use lambkin_model::iam::{
    AttachRolePolicyRequest, AttachedPolicy, DetachRolePolicyRequest, ListAttachedRolePoliciesRequest,
    ListAttachedRolePoliciesResponse, ListEntitiesForPolicyRequest, ListEntitiesForPolicyResponse,
    PolicyRole,
};
use lambkin_model::{AwsError, RequestContext};

use super::policies::PolicyRef;
use super::record::{Policy, Role};
use super::{IamService, faults, names, page, put};

/// Most managed policies of a role (AWS quota).
pub(super) const MAX_ATTACHED: usize = 10;

impl IamService {
    pub(super) async fn attach_role_policy(
        &self,
        context: &RequestContext,
        request: AttachRolePolicyRequest,
    ) -> Result<(), AwsError> {
        let arn = request.policy_arn.unwrap_or_default();
        self.attach(context, request.role_name.as_deref(), &arn, |role| {
            role.attached.insert(arn.clone());
            match role.attached.len() > MAX_ATTACHED {
                true => Err(faults::quota("PoliciesPerRole", MAX_ATTACHED)),
                false => Ok(()),
            }
        })
        .await
    }

    /// Changes a role so that it uses a policy. A customer managed policy is written along, unchanged: whoever
    /// deletes it meanwhile finds a new revision and looks again.
    pub(super) async fn attach(
        &self,
        context: &RequestContext,
        role: Option<&str>,
        arn: &str,
        change: impl Fn(&mut Role) -> Result<(), AwsError>,
    ) -> Result<(), AwsError> {
        let account = &context.caller.account;
        let name = role.unwrap_or_default();
        loop {
            let stored = self.stored::<Role>(account, name).await?;
            let (mut role, revision) = stored.ok_or_else(|| faults::no_role(name))?;
            let mut writes = Vec::new();
            if let PolicyRef::Customer(found) = self.attachable(context, arn)? {
                let policy = self.stored::<Policy>(account, &found.name).await?;
                let (policy, revision) = policy.ok_or_else(|| faults::not_attachable(arn))?;
                writes.push(put(account, &policy, Expect::At(revision))?);
            }
            change(&mut role)?;
            writes.push(put(account, &role, Expect::At(revision))?);
            if self.commit(writes).await?.is_some() {
                return Ok(());
            }
        }
    }

    pub(super) async fn detach_role_policy(
        &self,
        context: &RequestContext,
        request: DetachRolePolicyRequest,
    ) -> Result<(), AwsError> {
        let arn = request.policy_arn.unwrap_or_default();
        self.change_role(context, request.role_name.as_deref(), |mut role| match role.attached.remove(&arn) {
            true => Ok((role, Vec::new())),
            false => Err(faults::no_policy(&arn)),
        })
        .await
        .map(|_| ())
    }

    pub(super) fn list_attached_role_policies(
        &self,
        context: &RequestContext,
        request: ListAttachedRolePoliciesRequest,
    ) -> Result<ListAttachedRolePoliciesResponse, AwsError> {
        let entry = self.role(context, request.role_name.as_deref())?;
        let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
        let mut attached: Vec<AttachedPolicy> = entry
            .attached
            .iter()
            .filter_map(|arn| Some((arn, names::parse_arn(arn, "policy")?)))
            .filter(|(_, parsed)| parsed.path.starts_with(&prefix))
            .map(|(arn, parsed)| AttachedPolicy {
                policy_name: Some(parsed.name.to_owned()),
                policy_arn: Some(arn.clone()),
            })
            .collect();
        attached.sort_by(|one, other| one.policy_arn.cmp(&other.policy_arn));
        let place = |policy: &AttachedPolicy| policy.policy_arn.clone().unwrap_or_default();
        let attached = attached.into_iter().map(|policy| (place(&policy), policy)).collect();
        let page = page::cut(attached, request.marker.as_deref(), request.max_items, |(key, _)| key)?;
        Ok(ListAttachedRolePoliciesResponse {
            is_truncated: page.is_truncated(),
            attached_policies: Some(page.items.into_iter().map(|(_, policy)| policy).collect()),
            marker: page.marker,
        })
    }

    pub(super) fn list_entities_for_policy(
        &self,
        context: &RequestContext,
        request: ListEntitiesForPolicyRequest,
    ) -> Result<ListEntitiesForPolicyResponse, AwsError> {
        let arn = request.policy_arn.unwrap_or_default();
        self.policy(context, Some(&arn))?;
        let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
        let wants_roles = request.entity_filter.as_deref().is_none_or(|entity| entity == "Role");
        let usage = request.policy_usage_filter.as_deref();
        let uses = |role: &Role| {
            let attached = role.attached.contains(&arn) && usage != Some("PermissionsBoundary");
            let bound = role.boundary.as_deref() == Some(&arn) && usage != Some("PermissionsPolicy");
            attached || bound
        };
        let roles: Vec<Arc<Role>> = self.directory.roles(&context.caller.account);
        let roles = roles
            .into_iter()
            .filter(|entry| wants_roles && uses(entry) && entry.path.starts_with(&prefix))
            .map(|entry| (entry.name.to_lowercase(), entry))
            .collect();
        let page = page::cut(roles, request.marker.as_deref(), request.max_items, |(key, _)| key)?;
        let role = |entry: &Role| PolicyRole {
            role_name: Some(entry.name.clone()),
            role_id: Some(entry.id.clone()),
        };
        Ok(ListEntitiesForPolicyResponse {
            policy_groups: Some(Vec::new()),
            policy_users: Some(Vec::new()),
            policy_roles: Some(page.items.iter().map(|(_, entry)| role(entry)).collect()),
            is_truncated: page.is_truncated(),
            marker: page.marker,
        })
    }

    /// A policy that is to be attached.
    pub(super) fn attachable(&self, context: &RequestContext, arn: &str) -> Result<PolicyRef, AwsError> {
        self.find_policy(context, arn)?.ok_or_else(|| faults::not_attachable(arn))
    }
}
