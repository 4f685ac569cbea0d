//! Versions of managed policies.

use lambkin_model::iam::{
    CreatePolicyVersionRequest, CreatePolicyVersionResponse, DeletePolicyVersionRequest,
    GetPolicyVersionRequest, GetPolicyVersionResponse, ListPolicyVersionsRequest, ListPolicyVersionsResponse,
    PolicyVersion, SetDefaultPolicyVersionRequest, errors,
};
use lambkin_model::types::Timestamp;
use lambkin_model::{AwsError, RequestContext};

use super::policies::PolicyRef;
use super::record::{Policy, Version};
use super::{IamService, aws_policies, document, faults, names, page};

/// Most versions of a policy (AWS quota).
pub(super) const MAX_VERSIONS: usize = 5;

/// What AWS calls a version.
pub(super) fn id(number: u32) -> String {
    format!("v{number}")
}

/// The number of a version's id.
fn number(id: &str) -> Option<u32> {
    id.strip_prefix('v')?.parse().ok()
}

impl IamService {
    pub(super) async fn create_policy_version(
        &self,
        context: &RequestContext,
        request: CreatePolicyVersionRequest,
    ) -> Result<CreatePolicyVersionResponse, AwsError> {
        self.policy(context, request.policy_arn.as_deref())?;
        let text = request.policy_document.unwrap_or_default();
        document::managed(&text)?;
        let now_ms = self.now_ms();
        let policy = self
            .change_policy(context, request.policy_arn.as_deref(), |mut policy| {
                if policy.versions.len() >= MAX_VERSIONS {
                    return Err(errors::limit_exceeded_exception(format!(
                        "A managed policy can have up to {MAX_VERSIONS} versions. Before you create a new version, \
                         you must delete an existing version."
                    )));
                }
                policy.last_version = policy.last_version.saturating_add(1);
                policy.updated_ms = now_ms;
                let version = Version { created_ms: now_ms, document: text.clone() };
                policy.versions.insert(policy.last_version, version);
                if request.set_as_default == Some(true) {
                    policy.default_version = policy.last_version;
                }
                Ok(policy)
            })
            .await?;
        let policy_version = policy
            .versions
            .get(&policy.last_version)
            .map(|version| describe(&policy, policy.last_version, version, false));
        Ok(CreatePolicyVersionResponse { policy_version })
    }

    pub(super) fn get_policy_version(
        &self,
        context: &RequestContext,
        request: GetPolicyVersionRequest,
    ) -> Result<GetPolicyVersionResponse, AwsError> {
        let arn = request.policy_arn.unwrap_or_default();
        let asked = request.version_id.unwrap_or_default();
        let found = match self.policy(context, Some(&arn))? {
            PolicyRef::Aws(policy) => {
                (asked == id(1)).then(|| describe_aws(Some(names::encode(&policy.document()))))
            }
            PolicyRef::Customer(entry) => number(&asked).and_then(|number| {
                let version = entry.versions.get(&number)?;
                Some(describe(&entry, number, version, true))
            }),
        };
        let policy_version = found.ok_or_else(|| faults::no_version(&arn, &asked))?;
        Ok(GetPolicyVersionResponse { policy_version: Some(policy_version) })
    }

    pub(super) fn list_policy_versions(
        &self,
        context: &RequestContext,
        request: ListPolicyVersionsRequest,
    ) -> Result<ListPolicyVersionsResponse, AwsError> {
        let versions = match self.policy(context, request.policy_arn.as_deref())? {
            PolicyRef::Aws(_) => vec![(place(1), describe_aws(None))],
            // The newest first.
            PolicyRef::Customer(entry) => entry
                .versions
                .iter()
                .rev()
                .map(|(number, version)| (place(*number), describe(&entry, *number, version, false)))
                .collect(),
        };
        let page = page::cut(versions, request.marker.as_deref(), request.max_items, |(place, _)| place)?;
        Ok(ListPolicyVersionsResponse {
            is_truncated: page.is_truncated(),
            versions: Some(page.items.into_iter().map(|(_, version)| version).collect()),
            marker: page.marker,
        })
    }

    pub(super) async fn delete_policy_version(
        &self,
        context: &RequestContext,
        request: DeletePolicyVersionRequest,
    ) -> Result<(), AwsError> {
        let arn = request.policy_arn.unwrap_or_default();
        let asked = request.version_id.unwrap_or_default();
        let now_ms = self.now_ms();
        self.change_policy(context, Some(&arn), |mut policy| {
            let number = known(&policy, &arn, &asked)?;
            if number == policy.default_version {
                return Err(errors::delete_conflict_exception(
                    "Cannot delete the default version of a policy.",
                ));
            }
            policy.versions.remove(&number);
            policy.updated_ms = now_ms;
            Ok(policy)
        })
        .await
        .map(|_| ())
    }

    pub(super) async fn set_default_policy_version(
        &self,
        context: &RequestContext,
        request: SetDefaultPolicyVersionRequest,
    ) -> Result<(), AwsError> {
        let arn = request.policy_arn.unwrap_or_default();
        let asked = request.version_id.unwrap_or_default();
        let now_ms = self.now_ms();
        self.change_policy(context, Some(&arn), |mut policy| {
            policy.default_version = known(&policy, &arn, &asked)?;
            policy.updated_ms = now_ms;
            Ok(policy)
        })
        .await
        .map(|_| ())
    }
}

/// Number of a version that the policy has.
fn known(policy: &Policy, arn: &str, asked: &str) -> Result<u32, AwsError> {
    number(asked)
        .filter(|number| policy.versions.contains_key(number))
        .ok_or_else(|| faults::no_version(arn, asked))
}

/// Where a version stands in a list, the newest first.
fn place(number: u32) -> String {
    format!("{:010}", u32::MAX - number)
}

fn describe(policy: &Policy, number: u32, version: &Version, whole: bool) -> PolicyVersion {
    PolicyVersion {
        document: whole.then(|| names::encode(&version.document)),
        version_id: Some(id(number)),
        is_default_version: Some(number == policy.default_version),
        create_date: Some(Timestamp(version.created_ms)),
    }
}

/// AWS's policies have one version here.
fn describe_aws(document: Option<String>) -> PolicyVersion {
    PolicyVersion {
        document,
        version_id: Some(id(1)),
        is_default_version: Some(true),
        create_date: Some(Timestamp(aws_policies::CREATED_MS)),
    }
}
