//! Managed policies: those of customers, and reading AWS's own.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use lambkin_core::metadata::Expect;
use lambkin_model::iam::{
    self as model, CreatePolicyRequest, CreatePolicyResponse, DeletePolicyRequest, GetAccountSummaryResponse,
    GetPolicyRequest, GetPolicyResponse, ListPoliciesRequest, ListPoliciesResponse, errors,
};
use lambkin_model::types::Timestamp;
use lambkin_model::{AwsError, RequestContext};

use super::aws_policies::{self, AwsPolicy};
use super::record::{FORMAT, Policy, Role, Version};
use super::{IamService, attach, delete, document, faults, names, page, put, roles, tags, versions};

/// Most customer managed policies of an account (AWS quota).
const MAX_POLICIES: usize = 1500;

/// A managed policy.
#[derive(Debug, Clone)]
pub(super) enum PolicyRef {
    /// One of AWS's.
    Aws(&'static AwsPolicy),
    /// One of the account's.
    Customer(Arc<Policy>),
}

/// How often each policy is used: attached, and as a boundary.
type Usage = HashMap<String, (i32, i32)>;

impl IamService {
    pub(super) async fn create_policy(
        &self,
        context: &RequestContext,
        request: CreatePolicyRequest,
    ) -> Result<CreatePolicyResponse, AwsError> {
        let account = &context.caller.account;
        let name = request.policy_name.unwrap_or_default();
        let text = request.policy_document.unwrap_or_default();
        let tags = tags::merge(Vec::new(), &request.tags.unwrap_or_default())?;
        let exists = || {
            errors::entity_already_exists_exception(format!(
                "A policy called {name} already exists. Duplicate names are not allowed."
            ))
        };
        if self.directory.policy(account, &name).is_some() {
            return Err(exists());
        }
        document::managed(&text)?;
        if self.directory.policies(account).len() >= MAX_POLICIES {
            return Err(faults::quota("PoliciesPerAccount", MAX_POLICIES));
        }
        let now_ms = self.now_ms();
        let policy = Policy {
            v: FORMAT,
            name: name.clone(),
            path: request.path.unwrap_or_else(|| "/".to_owned()),
            id: names::new_id("ANPA")?,
            created_ms: now_ms,
            updated_ms: now_ms,
            description: request.description,
            tags,
            versions: BTreeMap::from([(1, Version { created_ms: now_ms, document: text })]),
            default_version: 1,
            last_version: 1,
        };
        let write = put(account, &policy, Expect::Absent)?;
        self.commit(vec![write]).await?.ok_or_else(exists)?;
        tracing::info!(%account, policy = %policy.name, "policy created");
        let described = describe(context, &policy, (0, 0));
        Ok(CreatePolicyResponse { policy: Some(model::Policy { description: None, ..described }) })
    }

    pub(super) fn get_policy(
        &self,
        context: &RequestContext,
        request: GetPolicyRequest,
    ) -> Result<GetPolicyResponse, AwsError> {
        let arn = request.policy_arn.unwrap_or_default();
        let usage = self.usage(context).get(&arn).copied().unwrap_or_default();
        let policy = match self.policy(context, Some(&arn))? {
            PolicyRef::Aws(policy) => describe_aws(context, policy, usage),
            PolicyRef::Customer(entry) => describe(context, &entry, usage),
        };
        Ok(GetPolicyResponse { policy: Some(policy) })
    }

    pub(super) fn list_policies(
        &self,
        context: &RequestContext,
        request: ListPoliciesRequest,
    ) -> Result<ListPoliciesResponse, AwsError> {
        let scope = request.scope.as_deref().unwrap_or("All");
        let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
        let attached_only = request.only_attached == Some(true);
        let usage = self.usage(context);
        let used = |policy: &model::Policy| {
            let arn = policy.arn.as_deref().unwrap_or_default();
            usage.get(arn).copied().unwrap_or_default()
        };
        let mut found = Vec::new();
        if scope != "Local" {
            found.extend(aws_policies::all().iter().map(|policy| describe_aws(context, policy, (0, 0))));
        }
        if scope != "AWS" {
            let customer = self.directory.policies(&context.caller.account);
            found.extend(customer.iter().map(|entry| describe(context, entry, (0, 0))));
        }
        let wanted = |policy: &model::Policy| {
            let (attached, bound) = used(policy);
            policy.path.as_deref().is_some_and(|path| path.starts_with(&prefix))
                && (!attached_only || attached > 0)
                && match request.policy_usage_filter.as_deref() {
                    Some("PermissionsBoundary") => bound > 0,
                    Some(_) => attached > 0,
                    None => true,
                }
        };
        let mut found: Vec<(String, model::Policy)> = found
            .into_iter()
            .filter(wanted)
            .map(|policy| {
                let (attached, bound) = used(&policy);
                let policy = model::Policy {
                    attachment_count: Some(attached),
                    permissions_boundary_usage_count: Some(bound),
                    description: None,
                    tags: None,
                    ..policy
                };
                (policy.arn.clone().unwrap_or_default(), policy)
            })
            .collect();
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        let page = page::cut(found, request.marker.as_deref(), request.max_items, |(arn, _)| arn)?;
        Ok(ListPoliciesResponse {
            is_truncated: page.is_truncated(),
            policies: Some(page.items.into_iter().map(|(_, policy)| policy).collect()),
            marker: page.marker,
        })
    }

    pub(super) async fn delete_policy(
        &self,
        context: &RequestContext,
        request: DeletePolicyRequest,
    ) -> Result<(), AwsError> {
        let account = &context.caller.account;
        let arn = request.policy_arn.unwrap_or_default();
        loop {
            let (policy, revision) = self.stored_policy(context, &arn).await?;
            // Attaching writes the policy too: with this revision every attachment so far is seen.
            self.directory.wait(revision).await.map_err(faults::store)?;
            if self.usage(context).contains_key(&arn) {
                return Err(errors::delete_conflict_exception(
                    "Cannot delete a policy attached to entities.",
                ));
            }
            if policy.versions.len() > 1 {
                return Err(errors::delete_conflict_exception(
                    "This policy has more than one version. Before you delete a policy, you must delete the \
                     policy's versions. The default version is deleted with the policy.",
                ));
            }
            if self.commit(vec![delete::<Policy>(account, &policy.name, revision)]).await?.is_some() {
                tracing::info!(%account, policy = %policy.name, "policy deleted");
                return Ok(());
            }
        }
    }

    /// What there is and what there may be.
    pub(super) fn account_summary(&self, context: &RequestContext) -> GetAccountSummaryResponse {
        let account = &context.caller.account;
        let policies = self.directory.policies(account);
        let versions = policies.iter().map(|entry| entry.versions.len()).sum();
        let figures = [
            ("AccountAccessKeysPresent", 1),
            ("AssumeRolePolicySizeQuota", document::MAX_TRUST),
            ("AttachedPoliciesPerRoleQuota", attach::MAX_ATTACHED),
            ("Groups", 0),
            ("InstanceProfiles", 0),
            ("Policies", policies.len()),
            ("PoliciesQuota", MAX_POLICIES),
            ("PolicySizeQuota", document::MAX_MANAGED),
            ("PolicyVersionsInUse", versions),
            ("Providers", 0),
            ("RolePolicySizeQuota", document::MAX_INLINE),
            ("Roles", self.directory.roles(account).len()),
            ("RolesQuota", roles::MAX_ROLES),
            ("Users", 0),
            ("VersionsPerPolicyQuota", versions::MAX_VERSIONS),
        ];
        let figure =
            |(name, figure): (&str, usize)| (name.to_owned(), i32::try_from(figure).unwrap_or(i32::MAX));
        GetAccountSummaryResponse { summary_map: Some(figures.into_iter().map(figure).collect()) }
    }

    /// The policy of an ARN.
    pub(super) fn policy(&self, context: &RequestContext, arn: Option<&str>) -> Result<PolicyRef, AwsError> {
        let arn = arn.unwrap_or_default();
        self.find_policy(context, arn)?.ok_or_else(|| faults::no_policy(arn))
    }

    /// The policy of an ARN, if there is one.
    ///
    /// # Errors
    /// `InvalidInput` for what is no policy's ARN.
    pub(super) fn find_policy(
        &self,
        context: &RequestContext,
        arn: &str,
    ) -> Result<Option<PolicyRef>, AwsError> {
        let parsed = names::parse_arn(arn, "policy")
            .ok_or_else(|| faults::invalid(format!("ARN {arn} is not valid.")))?;
        if parsed.partition != names::partition(context) {
            return Ok(None);
        }
        if parsed.account == names::AWS {
            return Ok(aws_policies::find(parsed.path, parsed.name).map(PolicyRef::Aws));
        }
        if parsed.account != &*context.caller.account {
            return Ok(None);
        }
        let found = self.directory.policy(parsed.account, parsed.name);
        Ok(found
            .filter(|entry| entry.path == parsed.path && entry.name == parsed.name)
            .map(PolicyRef::Customer))
    }

    /// The stored record of a customer managed policy that is to be changed.
    pub(super) async fn stored_policy(
        &self,
        context: &RequestContext,
        arn: &str,
    ) -> Result<(Policy, u64), AwsError> {
        match self.policy(context, Some(arn))? {
            PolicyRef::Aws(_) => Err(AwsError::new(
                "AccessDenied",
                403,
                format!("User: {} is not authorized to change AWS's policy {arn}", context.caller.arn),
            )),
            PolicyRef::Customer(entry) => {
                let stored = self.stored(&context.caller.account, &entry.name).await?;
                stored.ok_or_else(|| faults::no_policy(arn))
            }
        }
    }

    /// Reads a customer managed policy, changes and commits it, again if it has been changed meanwhile.
    pub(super) async fn change_policy(
        &self,
        context: &RequestContext,
        arn: Option<&str>,
        mut change: impl FnMut(Policy) -> Result<Policy, AwsError> + Send,
    ) -> Result<Policy, AwsError> {
        loop {
            let (policy, revision) = self.stored_policy(context, arn.unwrap_or_default()).await?;
            let next = change(policy)?;
            let write = put(&context.caller.account, &next, Expect::At(revision))?;
            if self.commit(vec![write]).await?.is_some() {
                return Ok(next);
            }
        }
    }

    fn usage(&self, context: &RequestContext) -> Usage {
        let mut usage = Usage::new();
        for entry in self.directory.roles(&context.caller.account) {
            let Role { attached, boundary, .. } = &*entry;
            for arn in attached {
                usage.entry(arn.clone()).or_default().0 += 1;
            }
            if let Some(arn) = boundary {
                usage.entry(arn.clone()).or_default().1 += 1;
            }
        }
        usage
    }
}

fn describe(context: &RequestContext, policy: &Policy, (attached, bound): (i32, i32)) -> model::Policy {
    let partition = names::partition(context);
    model::Policy {
        policy_name: Some(policy.name.clone()),
        policy_id: Some(policy.id.clone()),
        arn: Some(names::policy_arn(partition, &context.caller.account, &policy.path, &policy.name)),
        path: Some(policy.path.clone()),
        default_version_id: Some(versions::id(policy.default_version)),
        attachment_count: Some(attached),
        permissions_boundary_usage_count: Some(bound),
        is_attachable: Some(true),
        description: policy.description.clone(),
        create_date: Some(Timestamp(policy.created_ms)),
        update_date: Some(Timestamp(policy.updated_ms)),
        tags: tags::view(&policy.tags),
    }
}

fn describe_aws(
    context: &RequestContext,
    policy: &AwsPolicy,
    (attached, bound): (i32, i32),
) -> model::Policy {
    let created = Timestamp(aws_policies::CREATED_MS);
    model::Policy {
        policy_name: Some(policy.name.to_owned()),
        policy_id: Some(policy.id()),
        arn: Some(names::policy_arn(names::partition(context), names::AWS, policy.path, policy.name)),
        path: Some(policy.path.to_owned()),
        default_version_id: Some(versions::id(1)),
        attachment_count: Some(attached),
        permissions_boundary_usage_count: Some(bound),
        is_attachable: Some(true),
        description: Some(policy.description.to_owned()),
        create_date: Some(created),
        update_date: Some(created),
        tags: None,
    }
}
