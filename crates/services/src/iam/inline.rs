//! Inline policies of roles.

use lambkin_model::iam::{
    DeleteRolePolicyRequest, GetRolePolicyRequest, GetRolePolicyResponse, ListRolePoliciesRequest,
    ListRolePoliciesResponse, PutRolePolicyRequest, errors,
};
use lambkin_model::{AwsError, RequestContext};

use super::document::{self, MAX_INLINE};
use super::{IamService, faults, names, page};

impl IamService {
    pub(super) async fn put_role_policy(
        &self,
        context: &RequestContext,
        request: PutRolePolicyRequest,
    ) -> Result<(), AwsError> {
        self.role(context, request.role_name.as_deref())?;
        let name = request.policy_name.unwrap_or_default();
        let text = request.policy_document.unwrap_or_default();
        document::inline(&text)?;
        self.change_role(context, request.role_name.as_deref(), |mut role| {
            role.inline.insert(name.clone(), text.clone());
            let size: usize = role.inline.values().map(|document| document::size(document)).sum();
            if size > MAX_INLINE {
                return Err(errors::limit_exceeded_exception(format!(
                    "Maximum policy size of {MAX_INLINE} bytes exceeded for role {}",
                    role.name
                )));
            }
            Ok((role, Vec::new()))
        })
        .await
        .map(|_| ())
    }

    pub(super) fn get_role_policy(
        &self,
        context: &RequestContext,
        request: GetRolePolicyRequest,
    ) -> Result<GetRolePolicyResponse, AwsError> {
        let entry = self.role(context, request.role_name.as_deref())?;
        let name = request.policy_name.unwrap_or_default();
        let document = entry.inline.get(&name).ok_or_else(|| faults::no_inline(&name))?;
        Ok(GetRolePolicyResponse {
            role_name: Some(entry.name.clone()),
            policy_document: Some(names::encode(document)),
            policy_name: Some(name),
        })
    }

    pub(super) fn list_role_policies(
        &self,
        context: &RequestContext,
        request: ListRolePoliciesRequest,
    ) -> Result<ListRolePoliciesResponse, AwsError> {
        let entry = self.role(context, request.role_name.as_deref())?;
        let policies = entry.inline.keys().cloned().collect();
        let page = page::cut(policies, request.marker.as_deref(), request.max_items, |name: &String| name)?;
        Ok(ListRolePoliciesResponse {
            is_truncated: page.is_truncated(),
            policy_names: Some(page.items),
            marker: page.marker,
        })
    }

    pub(super) async fn delete_role_policy(
        &self,
        context: &RequestContext,
        request: DeleteRolePolicyRequest,
    ) -> Result<(), AwsError> {
        let name = request.policy_name.unwrap_or_default();
        self.change_role(context, request.role_name.as_deref(), |mut role| {
            role.inline.remove(&name).ok_or_else(|| faults::no_inline(&name))?;
            Ok((role, Vec::new()))
        })
        .await
        .map(|_| ())
    }
}
