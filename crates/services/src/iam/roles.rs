//! Roles: create, read, change, delete; their trust policy and permissions boundary.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use lambkin_core::metadata::Expect;
use lambkin_model::iam::{
    self as model, AttachedPermissionsBoundary, CreateRoleRequest, CreateRoleResponse,
    DeleteRolePermissionsBoundaryRequest, DeleteRoleRequest, GetRoleRequest, GetRoleResponse,
    ListInstanceProfilesForRoleRequest, ListInstanceProfilesForRoleResponse, ListRolesRequest,
    ListRolesResponse, PutRolePermissionsBoundaryRequest, RoleLastUsed, UpdateAssumeRolePolicyRequest,
    UpdateRoleDescriptionRequest, UpdateRoleDescriptionResponse, UpdateRoleRequest, UpdateRoleResponse,
    errors,
};
use lambkin_model::types::Timestamp;
use lambkin_model::{AwsError, RequestContext};

use super::record::{FORMAT, Role};
use super::{IamService, delete, document, faults, names, page, put, tags};
use crate::policy::{Document, Principal};

/// Most roles of an account (AWS quota).
pub(super) const MAX_ROLES: usize = 1000;

/// MaxSessionDuration in seconds unless the request says otherwise.
const SESSION_S: i32 = 3600;

impl IamService {
    pub(super) async fn create_role(
        &self,
        context: &RequestContext,
        request: CreateRoleRequest,
    ) -> Result<CreateRoleResponse, AwsError> {
        let account = &context.caller.account;
        let name = request.role_name.unwrap_or_default();
        let trust = request.assume_role_policy_document.unwrap_or_default();
        let tags = tags::merge(Vec::new(), &request.tags.unwrap_or_default())?;
        let exists =
            || errors::entity_already_exists_exception(format!("Role with name {name} already exists."));
        if self.directory.role(account, &name).is_some() {
            return Err(exists());
        }
        self.check_trust(context, &trust)?;
        if let Some(boundary) = &request.permissions_boundary {
            self.attachable(context, boundary)?;
        }
        if self.directory.roles(account).len() >= MAX_ROLES {
            return Err(faults::quota("RolesPerAccount", MAX_ROLES));
        }
        let role = Role {
            v: FORMAT,
            name: name.clone(),
            path: request.path.unwrap_or_else(|| "/".to_owned()),
            id: names::new_id("AROA")?,
            created_ms: self.now_ms(),
            trust,
            description: request.description,
            max_session_s: request.max_session_duration.unwrap_or(SESSION_S),
            boundary: request.permissions_boundary,
            tags,
            inline: BTreeMap::new(),
            attached: BTreeSet::new(),
        };
        let write = put(account, &role, Expect::Absent)?;
        self.commit(vec![write]).await?.ok_or_else(exists)?;
        tracing::info!(%account, role = %role.name, "role created");
        Ok(CreateRoleResponse { role: Some(describe(context, &role, Detail::Created)) })
    }

    pub(super) fn get_role(
        &self,
        context: &RequestContext,
        request: GetRoleRequest,
    ) -> Result<GetRoleResponse, AwsError> {
        let entry = self.role(context, request.role_name.as_deref())?;
        Ok(GetRoleResponse { role: Some(describe(context, &entry, Detail::Full)) })
    }

    pub(super) fn list_roles(
        &self,
        context: &RequestContext,
        request: ListRolesRequest,
    ) -> Result<ListRolesResponse, AwsError> {
        let prefix = request.path_prefix.unwrap_or_else(|| "/".to_owned());
        let roles = self.directory.roles(&context.caller.account);
        let roles = roles.into_iter().filter(|entry| entry.path.starts_with(&prefix)).collect();
        let page = page::cut(sorted(roles), request.marker.as_deref(), request.max_items, |(key, _)| key)?;
        let roles = page.items.iter().map(|(_, entry)| describe(context, entry, Detail::Listed));
        Ok(ListRolesResponse {
            is_truncated: page.is_truncated(),
            roles: Some(roles.collect()),
            marker: page.marker,
        })
    }

    pub(super) async fn update_role(
        &self,
        context: &RequestContext,
        request: UpdateRoleRequest,
    ) -> Result<UpdateRoleResponse, AwsError> {
        self.change_role(context, request.role_name.as_deref(), |mut role| {
            // As documented: a description that is not given stays, a duration that is not given goes back
            // to the default.
            if let Some(description) = &request.description {
                role.description = Some(description.clone());
            }
            role.max_session_s = request.max_session_duration.unwrap_or(SESSION_S);
            Ok((role, Vec::new()))
        })
        .await?;
        Ok(UpdateRoleResponse {})
    }

    pub(super) async fn update_role_description(
        &self,
        context: &RequestContext,
        request: UpdateRoleDescriptionRequest,
    ) -> Result<UpdateRoleDescriptionResponse, AwsError> {
        let role = self
            .change_role(context, request.role_name.as_deref(), |mut role| {
                role.description.clone_from(&request.description);
                Ok((role, Vec::new()))
            })
            .await?;
        Ok(UpdateRoleDescriptionResponse { role: Some(describe(context, &role, Detail::Full)) })
    }

    pub(super) async fn update_assume_role_policy(
        &self,
        context: &RequestContext,
        request: UpdateAssumeRolePolicyRequest,
    ) -> Result<(), AwsError> {
        self.role(context, request.role_name.as_deref())?;
        let trust = request.policy_document.unwrap_or_default();
        self.check_trust(context, &trust)?;
        self.change_role(context, request.role_name.as_deref(), |mut role| {
            role.trust.clone_from(&trust);
            Ok((role, Vec::new()))
        })
        .await
        .map(|_| ())
    }

    pub(super) async fn delete_role(
        &self,
        context: &RequestContext,
        request: DeleteRoleRequest,
    ) -> Result<(), AwsError> {
        let account = &context.caller.account;
        let name = request.role_name.unwrap_or_default();
        loop {
            let stored = self.stored::<Role>(account, &name).await?;
            let (role, revision) = stored.ok_or_else(|| faults::no_role(&name))?;
            if !role.attached.is_empty() {
                return Err(errors::delete_conflict_exception(
                    "Cannot delete entity, must detach all policies first.",
                ));
            }
            if !role.inline.is_empty() {
                return Err(errors::delete_conflict_exception(
                    "Cannot delete entity, must delete policies first.",
                ));
            }
            if self.commit(vec![delete::<Role>(account, &name, revision)]).await?.is_some() {
                tracing::info!(%account, role = %role.name, "role deleted");
                return Ok(());
            }
        }
    }

    pub(super) async fn put_role_boundary(
        &self,
        context: &RequestContext,
        request: PutRolePermissionsBoundaryRequest,
    ) -> Result<(), AwsError> {
        self.role(context, request.role_name.as_deref())?;
        let arn = request.permissions_boundary.unwrap_or_default();
        let name = request.role_name;
        self.attach(context, name.as_deref(), &arn, |role| {
            role.boundary = Some(arn.clone());
            Ok(())
        })
        .await
    }

    pub(super) async fn delete_role_boundary(
        &self,
        context: &RequestContext,
        request: DeleteRolePermissionsBoundaryRequest,
    ) -> Result<(), AwsError> {
        self.change_role(context, request.role_name.as_deref(), |mut role| {
            role.boundary = None;
            Ok((role, Vec::new()))
        })
        .await
        .map(|_| ())
    }

    /// There are no instance profiles: the list is empty.
    pub(super) fn list_instance_profiles_for_role(
        &self,
        context: &RequestContext,
        request: ListInstanceProfilesForRoleRequest,
    ) -> Result<ListInstanceProfilesForRoleResponse, AwsError> {
        self.role(context, request.role_name.as_deref())?;
        Ok(ListInstanceProfilesForRoleResponse {
            instance_profiles: Some(Vec::new()),
            is_truncated: Some(false),
            marker: None,
        })
    }

    /// Checks a trust policy; roles and users of this account that it names must exist.
    fn check_trust(&self, context: &RequestContext, text: &str) -> Result<(), AwsError> {
        let document = document::trust(text)?;
        match missing_principal(&document, &context.caller.account, |account, arn| {
            names::parse_arn(arn, "role").is_some_and(|parsed| {
                let found = self.directory.role(account, parsed.name);
                found.is_some_and(|found| found.path == parsed.path && found.name == parsed.name)
            })
        }) {
            Some(arn) => Err(errors::malformed_policy_document_exception(format!(
                "Invalid principal in policy: \"AWS\":\"{arn}\""
            ))),
            None => Ok(()),
        }
    }
}

/// A role or user of the account that a trust policy names and that does not exist. Those of other
/// accounts cannot be looked up.
fn missing_principal(
    document: &Document,
    account: &str,
    exists: impl Fn(&str, &str) -> bool,
) -> Option<String> {
    let principals = document.statements.iter().filter_map(|statement| statement.principals.as_ref());
    for principal in principals.flat_map(|principals| &principals.list) {
        if let Principal::Arn(arn) = principal
            && arn.contains(&format!(":iam::{account}:"))
            && !exists(account, arn)
        {
            return Some(arn.clone());
        }
    }
    None
}

/// How much of a role an answer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// CreateRole.
    Created,
    /// ListRoles.
    Listed,
    /// GetRole.
    Full,
}

fn describe(context: &RequestContext, role: &Role, detail: Detail) -> model::Role {
    let arn = names::role_arn(names::partition(context), &context.caller.account, &role.path, &role.name);
    let boundary = role.boundary.clone().map(|arn| AttachedPermissionsBoundary {
        permissions_boundary_type: Some("Policy".to_owned()),
        permissions_boundary_arn: Some(arn),
    });
    let listed = detail == Detail::Listed;
    let created = detail == Detail::Created;
    model::Role {
        path: Some(role.path.clone()),
        role_name: Some(role.name.clone()),
        role_id: Some(role.id.clone()),
        arn: Some(arn),
        create_date: Some(Timestamp(role.created_ms)),
        assume_role_policy_document: Some(names::encode(&role.trust)),
        description: role.description.clone().filter(|_| !created),
        max_session_duration: (!created).then_some(role.max_session_s),
        permissions_boundary: boundary.filter(|_| !listed),
        tags: tags::view(&role.tags).filter(|_| !listed),
        role_last_used: (detail == Detail::Full).then(RoleLastUsed::default),
        ..model::Role::default()
    }
}

/// Entries under the key they are listed by.
fn sorted(roles: Vec<Arc<Role>>) -> Vec<(String, Arc<Role>)> {
    roles.into_iter().map(|entry| (super::record::fold(&entry.name), entry)).collect()
}
