//! The generated trait, operation by operation. Operations that are not here answer "not implemented".

use lambkin_model::iam::{
    AttachRolePolicyRequest, CreatePolicyRequest, CreatePolicyResponse, CreatePolicyVersionRequest,
    CreatePolicyVersionResponse, CreateRoleRequest, CreateRoleResponse, DeletePolicyRequest,
    DeletePolicyVersionRequest, DeleteRolePermissionsBoundaryRequest, DeleteRolePolicyRequest,
    DeleteRoleRequest, DetachRolePolicyRequest, GetAccountSummaryResponse, GetPolicyRequest,
    GetPolicyResponse, GetPolicyVersionRequest, GetPolicyVersionResponse, GetRolePolicyRequest,
    GetRolePolicyResponse, GetRoleRequest, GetRoleResponse, Iam, ListAccountAliasesRequest,
    ListAccountAliasesResponse, ListAttachedRolePoliciesRequest, ListAttachedRolePoliciesResponse,
    ListEntitiesForPolicyRequest, ListEntitiesForPolicyResponse, ListInstanceProfilesForRoleRequest,
    ListInstanceProfilesForRoleResponse, ListPoliciesRequest, ListPoliciesResponse, ListPolicyTagsRequest,
    ListPolicyTagsResponse, ListPolicyVersionsRequest, ListPolicyVersionsResponse, ListRolePoliciesRequest,
    ListRolePoliciesResponse, ListRoleTagsRequest, ListRoleTagsResponse, ListRolesRequest, ListRolesResponse,
    PutRolePermissionsBoundaryRequest, PutRolePolicyRequest, SetDefaultPolicyVersionRequest,
    TagPolicyRequest, TagRoleRequest, UntagPolicyRequest, UntagRoleRequest, UpdateAssumeRolePolicyRequest,
    UpdateRoleDescriptionRequest, UpdateRoleDescriptionResponse, UpdateRoleRequest, UpdateRoleResponse,
};
use lambkin_model::{AwsError, RequestContext};

use super::IamService;

impl Iam for IamService {
    async fn attach_role_policy(
        &self,
        context: &RequestContext,
        input: AttachRolePolicyRequest,
    ) -> Result<(), AwsError> {
        IamService::attach_role_policy(self, context, input).await
    }

    async fn create_policy(
        &self,
        context: &RequestContext,
        input: CreatePolicyRequest,
    ) -> Result<CreatePolicyResponse, AwsError> {
        IamService::create_policy(self, context, input).await
    }

    async fn create_policy_version(
        &self,
        context: &RequestContext,
        input: CreatePolicyVersionRequest,
    ) -> Result<CreatePolicyVersionResponse, AwsError> {
        IamService::create_policy_version(self, context, input).await
    }

    async fn create_role(
        &self,
        context: &RequestContext,
        input: CreateRoleRequest,
    ) -> Result<CreateRoleResponse, AwsError> {
        IamService::create_role(self, context, input).await
    }

    async fn delete_policy(
        &self,
        context: &RequestContext,
        input: DeletePolicyRequest,
    ) -> Result<(), AwsError> {
        IamService::delete_policy(self, context, input).await
    }

    async fn delete_policy_version(
        &self,
        context: &RequestContext,
        input: DeletePolicyVersionRequest,
    ) -> Result<(), AwsError> {
        IamService::delete_policy_version(self, context, input).await
    }

    async fn delete_role(&self, context: &RequestContext, input: DeleteRoleRequest) -> Result<(), AwsError> {
        IamService::delete_role(self, context, input).await
    }

    async fn delete_role_permissions_boundary(
        &self,
        context: &RequestContext,
        input: DeleteRolePermissionsBoundaryRequest,
    ) -> Result<(), AwsError> {
        IamService::delete_role_boundary(self, context, input).await
    }

    async fn delete_role_policy(
        &self,
        context: &RequestContext,
        input: DeleteRolePolicyRequest,
    ) -> Result<(), AwsError> {
        IamService::delete_role_policy(self, context, input).await
    }

    async fn detach_role_policy(
        &self,
        context: &RequestContext,
        input: DetachRolePolicyRequest,
    ) -> Result<(), AwsError> {
        IamService::detach_role_policy(self, context, input).await
    }

    async fn get_account_summary(
        &self,
        context: &RequestContext,
    ) -> Result<GetAccountSummaryResponse, AwsError> {
        Ok(self.account_summary(context))
    }

    async fn get_policy(
        &self,
        context: &RequestContext,
        input: GetPolicyRequest,
    ) -> Result<GetPolicyResponse, AwsError> {
        IamService::get_policy(self, context, input)
    }

    async fn get_policy_version(
        &self,
        context: &RequestContext,
        input: GetPolicyVersionRequest,
    ) -> Result<GetPolicyVersionResponse, AwsError> {
        IamService::get_policy_version(self, context, input)
    }

    async fn get_role(
        &self,
        context: &RequestContext,
        input: GetRoleRequest,
    ) -> Result<GetRoleResponse, AwsError> {
        IamService::get_role(self, context, input)
    }

    async fn get_role_policy(
        &self,
        context: &RequestContext,
        input: GetRolePolicyRequest,
    ) -> Result<GetRolePolicyResponse, AwsError> {
        IamService::get_role_policy(self, context, input)
    }

    async fn list_account_aliases(
        &self,
        context: &RequestContext,
        input: ListAccountAliasesRequest,
    ) -> Result<ListAccountAliasesResponse, AwsError> {
        let _ = (context, input);
        Ok(ListAccountAliasesResponse {
            account_aliases: Some(Vec::new()),
            is_truncated: Some(false),
            marker: None,
        })
    }

    async fn list_attached_role_policies(
        &self,
        context: &RequestContext,
        input: ListAttachedRolePoliciesRequest,
    ) -> Result<ListAttachedRolePoliciesResponse, AwsError> {
        IamService::list_attached_role_policies(self, context, input)
    }

    async fn list_entities_for_policy(
        &self,
        context: &RequestContext,
        input: ListEntitiesForPolicyRequest,
    ) -> Result<ListEntitiesForPolicyResponse, AwsError> {
        IamService::list_entities_for_policy(self, context, input)
    }

    async fn list_instance_profiles_for_role(
        &self,
        context: &RequestContext,
        input: ListInstanceProfilesForRoleRequest,
    ) -> Result<ListInstanceProfilesForRoleResponse, AwsError> {
        IamService::list_instance_profiles_for_role(self, context, input)
    }

    async fn list_policies(
        &self,
        context: &RequestContext,
        input: ListPoliciesRequest,
    ) -> Result<ListPoliciesResponse, AwsError> {
        IamService::list_policies(self, context, input)
    }

    async fn list_policy_tags(
        &self,
        context: &RequestContext,
        input: ListPolicyTagsRequest,
    ) -> Result<ListPolicyTagsResponse, AwsError> {
        IamService::list_policy_tags(self, context, input)
    }

    async fn list_policy_versions(
        &self,
        context: &RequestContext,
        input: ListPolicyVersionsRequest,
    ) -> Result<ListPolicyVersionsResponse, AwsError> {
        IamService::list_policy_versions(self, context, input)
    }

    async fn list_role_policies(
        &self,
        context: &RequestContext,
        input: ListRolePoliciesRequest,
    ) -> Result<ListRolePoliciesResponse, AwsError> {
        IamService::list_role_policies(self, context, input)
    }

    async fn list_role_tags(
        &self,
        context: &RequestContext,
        input: ListRoleTagsRequest,
    ) -> Result<ListRoleTagsResponse, AwsError> {
        IamService::list_role_tags(self, context, input)
    }

    async fn list_roles(
        &self,
        context: &RequestContext,
        input: ListRolesRequest,
    ) -> Result<ListRolesResponse, AwsError> {
        IamService::list_roles(self, context, input)
    }

    async fn put_role_permissions_boundary(
        &self,
        context: &RequestContext,
        input: PutRolePermissionsBoundaryRequest,
    ) -> Result<(), AwsError> {
        IamService::put_role_boundary(self, context, input).await
    }

    async fn put_role_policy(
        &self,
        context: &RequestContext,
        input: PutRolePolicyRequest,
    ) -> Result<(), AwsError> {
        IamService::put_role_policy(self, context, input).await
    }

    async fn set_default_policy_version(
        &self,
        context: &RequestContext,
        input: SetDefaultPolicyVersionRequest,
    ) -> Result<(), AwsError> {
        IamService::set_default_policy_version(self, context, input).await
    }

    async fn tag_policy(&self, context: &RequestContext, input: TagPolicyRequest) -> Result<(), AwsError> {
        IamService::tag_policy(self, context, input).await
    }

    async fn tag_role(&self, context: &RequestContext, input: TagRoleRequest) -> Result<(), AwsError> {
        IamService::tag_role(self, context, input).await
    }

    async fn untag_policy(
        &self,
        context: &RequestContext,
        input: UntagPolicyRequest,
    ) -> Result<(), AwsError> {
        IamService::untag_policy(self, context, input).await
    }

    async fn untag_role(&self, context: &RequestContext, input: UntagRoleRequest) -> Result<(), AwsError> {
        IamService::untag_role(self, context, input).await
    }

    async fn update_assume_role_policy(
        &self,
        context: &RequestContext,
        input: UpdateAssumeRolePolicyRequest,
    ) -> Result<(), AwsError> {
        IamService::update_assume_role_policy(self, context, input).await
    }

    async fn update_role(
        &self,
        context: &RequestContext,
        input: UpdateRoleRequest,
    ) -> Result<UpdateRoleResponse, AwsError> {
        IamService::update_role(self, context, input).await
    }

    async fn update_role_description(
        &self,
        context: &RequestContext,
        input: UpdateRoleDescriptionRequest,
    ) -> Result<UpdateRoleDescriptionResponse, AwsError> {
        IamService::update_role_description(self, context, input).await
    }
}
