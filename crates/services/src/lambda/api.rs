//! The generated trait, operation by operation. Operations that are not here answer "not implemented".

use lambkin_model::lambda::{
    AddLayerVersionPermissionRequest, AddLayerVersionPermissionResponse, AddPermissionRequest,
    AddPermissionResponse, AliasConfiguration, Concurrency, CreateAliasRequest,
    CreateCodeSigningConfigRequest, CreateCodeSigningConfigResponse, CreateEventSourceMappingRequest,
    CreateFunctionRequest, CreateFunctionUrlConfigRequest, CreateFunctionUrlConfigResponse,
    DeleteAliasRequest, DeleteCodeSigningConfigRequest, DeleteCodeSigningConfigResponse,
    DeleteEventSourceMappingRequest, DeleteFunctionCodeSigningConfigRequest,
    DeleteFunctionConcurrencyRequest, DeleteFunctionEventInvokeConfigRequest, DeleteFunctionRequest,
    DeleteFunctionResponse, DeleteFunctionUrlConfigRequest, DeleteLayerVersionRequest,
    DeleteProvisionedConcurrencyConfigRequest, DeleteResourcePolicyRequest, EventSourceMappingConfiguration,
    FunctionConfiguration, FunctionEventInvokeConfig, GetAccountSettingsRequest, GetAccountSettingsResponse,
    GetAliasRequest, GetCodeSigningConfigRequest, GetCodeSigningConfigResponse, GetEventSourceMappingRequest,
    GetFunctionCodeSigningConfigRequest, GetFunctionCodeSigningConfigResponse, GetFunctionConcurrencyRequest,
    GetFunctionConcurrencyResponse, GetFunctionConfigurationRequest, GetFunctionEventInvokeConfigRequest,
    GetFunctionRecursionConfigRequest, GetFunctionRecursionConfigResponse, GetFunctionRequest,
    GetFunctionResponse, GetFunctionScalingConfigRequest, GetFunctionScalingConfigResponse,
    GetFunctionUrlConfigRequest, GetFunctionUrlConfigResponse, GetLayerVersionByArnRequest,
    GetLayerVersionPolicyRequest, GetLayerVersionPolicyResponse, GetLayerVersionRequest,
    GetLayerVersionResponse, GetPolicyRequest, GetPolicyResponse, GetProvisionedConcurrencyConfigRequest,
    GetProvisionedConcurrencyConfigResponse, GetResourcePolicyRequest, GetResourcePolicyResponse,
    GetRuntimeManagementConfigRequest, GetRuntimeManagementConfigResponse, InvocationRequest,
    InvocationResponse, InvokeWithResponseStreamRequest, InvokeWithResponseStreamResponse, Lambda,
    ListAliasesRequest, ListAliasesResponse, ListCodeSigningConfigsRequest, ListCodeSigningConfigsResponse,
    ListEventSourceMappingsRequest, ListEventSourceMappingsResponse, ListFunctionEventInvokeConfigsRequest,
    ListFunctionEventInvokeConfigsResponse, ListFunctionUrlConfigsRequest, ListFunctionUrlConfigsResponse,
    ListFunctionsByCodeSigningConfigRequest, ListFunctionsByCodeSigningConfigResponse, ListFunctionsRequest,
    ListFunctionsResponse, ListLayerVersionsRequest, ListLayerVersionsResponse, ListLayersRequest,
    ListLayersResponse, ListProvisionedConcurrencyConfigsRequest, ListProvisionedConcurrencyConfigsResponse,
    ListTagsRequest, ListTagsResponse, ListVersionsByFunctionRequest, ListVersionsByFunctionResponse,
    PublishLayerVersionRequest, PublishLayerVersionResponse, PublishVersionRequest,
    PutFunctionCodeSigningConfigRequest, PutFunctionCodeSigningConfigResponse, PutFunctionConcurrencyRequest,
    PutFunctionEventInvokeConfigRequest, PutFunctionRecursionConfigRequest,
    PutFunctionRecursionConfigResponse, PutFunctionScalingConfigRequest, PutFunctionScalingConfigResponse,
    PutProvisionedConcurrencyConfigRequest, PutProvisionedConcurrencyConfigResponse,
    PutResourcePolicyRequest, PutResourcePolicyResponse, PutRuntimeManagementConfigRequest,
    PutRuntimeManagementConfigResponse, RemoveLayerVersionPermissionRequest, RemovePermissionRequest,
    TagResourceRequest, UntagResourceRequest, UpdateAliasRequest, UpdateCodeSigningConfigRequest,
    UpdateCodeSigningConfigResponse, UpdateEventSourceMappingRequest, UpdateFunctionCodeRequest,
    UpdateFunctionConfigurationRequest, UpdateFunctionEventInvokeConfigRequest,
    UpdateFunctionUrlConfigRequest, UpdateFunctionUrlConfigResponse,
};
use lambkin_model::{AwsError, RequestContext};

use super::LambdaService;

impl Lambda for LambdaService {
    async fn create_function(
        &self,
        context: &RequestContext,
        input: CreateFunctionRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        self.inner.create_function(context, input).await
    }

    async fn get_function(
        &self,
        context: &RequestContext,
        input: GetFunctionRequest,
    ) -> Result<GetFunctionResponse, AwsError> {
        self.inner.get_function(context, &input)
    }

    async fn get_function_configuration(
        &self,
        context: &RequestContext,
        input: GetFunctionConfigurationRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        self.inner.get_function_configuration(context, &input.function_name, &input.qualifier)
    }

    async fn list_functions(
        &self,
        context: &RequestContext,
        input: ListFunctionsRequest,
    ) -> Result<ListFunctionsResponse, AwsError> {
        self.inner.list_functions(context, &input)
    }

    async fn list_versions_by_function(
        &self,
        context: &RequestContext,
        input: ListVersionsByFunctionRequest,
    ) -> Result<ListVersionsByFunctionResponse, AwsError> {
        self.inner.list_versions(context, &input)
    }

    async fn publish_version(
        &self,
        context: &RequestContext,
        input: PublishVersionRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        self.inner.publish_version(context, input).await
    }

    async fn update_function_code(
        &self,
        context: &RequestContext,
        input: UpdateFunctionCodeRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        self.inner.update_function_code(context, input).await
    }

    async fn update_function_configuration(
        &self,
        context: &RequestContext,
        input: UpdateFunctionConfigurationRequest,
    ) -> Result<FunctionConfiguration, AwsError> {
        self.inner.update_function_configuration(context, input).await
    }

    async fn delete_function(
        &self,
        context: &RequestContext,
        input: DeleteFunctionRequest,
    ) -> Result<DeleteFunctionResponse, AwsError> {
        self.inner.delete_function(context, input).await
    }

    async fn invoke(
        &self,
        context: &RequestContext,
        input: InvocationRequest,
    ) -> Result<InvocationResponse, AwsError> {
        self.inner.invoke(context, input).await
    }

    async fn invoke_with_response_stream(
        &self,
        context: &RequestContext,
        input: InvokeWithResponseStreamRequest,
    ) -> Result<InvokeWithResponseStreamResponse, AwsError> {
        self.inner.invoke_with_response_stream(context, input).await
    }

    async fn list_tags(
        &self,
        context: &RequestContext,
        input: ListTagsRequest,
    ) -> Result<ListTagsResponse, AwsError> {
        let tags = self.inner.list_tags(context, input.resource.as_deref())?;
        Ok(ListTagsResponse { tags: Some(tags) })
    }

    async fn tag_resource(
        &self,
        context: &RequestContext,
        input: TagResourceRequest,
    ) -> Result<(), AwsError> {
        self.inner.tag(context, input.resource.as_deref(), input.tags.unwrap_or_default()).await
    }

    async fn untag_resource(
        &self,
        context: &RequestContext,
        input: UntagResourceRequest,
    ) -> Result<(), AwsError> {
        let keys = input.tag_keys.unwrap_or_default();
        self.inner.untag(context, input.resource.as_deref(), &keys).await
    }

    async fn get_account_settings(
        &self,
        context: &RequestContext,
        _: GetAccountSettingsRequest,
    ) -> Result<GetAccountSettingsResponse, AwsError> {
        Ok(self.inner.get_account_settings(context))
    }

    async fn get_runtime_management_config(
        &self,
        context: &RequestContext,
        input: GetRuntimeManagementConfigRequest,
    ) -> Result<GetRuntimeManagementConfigResponse, AwsError> {
        self.inner.get_runtime_management(context, &input)
    }

    async fn get_function_recursion_config(
        &self,
        context: &RequestContext,
        input: GetFunctionRecursionConfigRequest,
    ) -> Result<GetFunctionRecursionConfigResponse, AwsError> {
        self.inner.get_recursion(context, &input)
    }

    async fn put_runtime_management_config(
        &self,
        context: &RequestContext,
        input: PutRuntimeManagementConfigRequest,
    ) -> Result<PutRuntimeManagementConfigResponse, AwsError> {
        self.inner.put_runtime_management(context, input).await
    }

    async fn put_function_recursion_config(
        &self,
        context: &RequestContext,
        input: PutFunctionRecursionConfigRequest,
    ) -> Result<PutFunctionRecursionConfigResponse, AwsError> {
        self.inner.put_recursion(context, input).await
    }

    async fn get_function_code_signing_config(
        &self,
        context: &RequestContext,
        input: GetFunctionCodeSigningConfigRequest,
    ) -> Result<GetFunctionCodeSigningConfigResponse, AwsError> {
        self.inner.get_function_signing(context, &input)
    }

    async fn get_function_concurrency(
        &self,
        context: &RequestContext,
        input: GetFunctionConcurrencyRequest,
    ) -> Result<GetFunctionConcurrencyResponse, AwsError> {
        self.inner.get_concurrency(context, &input)
    }

    async fn put_function_concurrency(
        &self,
        context: &RequestContext,
        input: PutFunctionConcurrencyRequest,
    ) -> Result<Concurrency, AwsError> {
        self.inner.put_concurrency(context, input).await
    }

    async fn delete_function_concurrency(
        &self,
        context: &RequestContext,
        input: DeleteFunctionConcurrencyRequest,
    ) -> Result<(), AwsError> {
        self.inner.delete_concurrency(context, input).await
    }

    async fn get_function_scaling_config(
        &self,
        context: &RequestContext,
        input: GetFunctionScalingConfigRequest,
    ) -> Result<GetFunctionScalingConfigResponse, AwsError> {
        self.inner.get_scaling(context, &input)
    }

    async fn put_function_scaling_config(
        &self,
        context: &RequestContext,
        input: PutFunctionScalingConfigRequest,
    ) -> Result<PutFunctionScalingConfigResponse, AwsError> {
        self.inner.put_scaling(context, &input)
    }

    async fn get_policy(
        &self,
        context: &RequestContext,
        input: GetPolicyRequest,
    ) -> Result<GetPolicyResponse, AwsError> {
        self.inner.get_policy(context, &input)
    }

    async fn add_permission(
        &self,
        context: &RequestContext,
        input: AddPermissionRequest,
    ) -> Result<AddPermissionResponse, AwsError> {
        self.inner.add_permission(context, input).await
    }

    async fn remove_permission(
        &self,
        context: &RequestContext,
        input: RemovePermissionRequest,
    ) -> Result<(), AwsError> {
        self.inner.remove_permission(context, input).await
    }

    async fn put_resource_policy(
        &self,
        context: &RequestContext,
        input: PutResourcePolicyRequest,
    ) -> Result<PutResourcePolicyResponse, AwsError> {
        self.inner.put_resource_policy(context, input).await
    }

    async fn get_resource_policy(
        &self,
        context: &RequestContext,
        input: GetResourcePolicyRequest,
    ) -> Result<GetResourcePolicyResponse, AwsError> {
        self.inner.get_resource_policy(context, &input)
    }

    async fn delete_resource_policy(
        &self,
        context: &RequestContext,
        input: DeleteResourcePolicyRequest,
    ) -> Result<(), AwsError> {
        self.inner.delete_resource_policy(context, input).await
    }

    async fn get_function_url_config(
        &self,
        context: &RequestContext,
        input: GetFunctionUrlConfigRequest,
    ) -> Result<GetFunctionUrlConfigResponse, AwsError> {
        self.inner.get_url(context, &input)
    }

    async fn create_function_url_config(
        &self,
        context: &RequestContext,
        input: CreateFunctionUrlConfigRequest,
    ) -> Result<CreateFunctionUrlConfigResponse, AwsError> {
        self.inner.create_url(context, input).await
    }

    async fn update_function_url_config(
        &self,
        context: &RequestContext,
        input: UpdateFunctionUrlConfigRequest,
    ) -> Result<UpdateFunctionUrlConfigResponse, AwsError> {
        self.inner.update_url(context, input).await
    }

    async fn delete_function_url_config(
        &self,
        context: &RequestContext,
        input: DeleteFunctionUrlConfigRequest,
    ) -> Result<(), AwsError> {
        self.inner.delete_url(context, input).await
    }

    async fn get_function_event_invoke_config(
        &self,
        context: &RequestContext,
        input: GetFunctionEventInvokeConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, AwsError> {
        self.inner.get_event_invoke(context, &input)
    }

    async fn put_function_event_invoke_config(
        &self,
        context: &RequestContext,
        input: PutFunctionEventInvokeConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, AwsError> {
        self.inner.put_event_invoke(context, input).await
    }

    async fn update_function_event_invoke_config(
        &self,
        context: &RequestContext,
        input: UpdateFunctionEventInvokeConfigRequest,
    ) -> Result<FunctionEventInvokeConfig, AwsError> {
        self.inner.update_event_invoke(context, input).await
    }

    async fn delete_function_event_invoke_config(
        &self,
        context: &RequestContext,
        input: DeleteFunctionEventInvokeConfigRequest,
    ) -> Result<(), AwsError> {
        self.inner.delete_event_invoke(context, input).await
    }

    async fn get_provisioned_concurrency_config(
        &self,
        context: &RequestContext,
        input: GetProvisionedConcurrencyConfigRequest,
    ) -> Result<GetProvisionedConcurrencyConfigResponse, AwsError> {
        self.inner.get_provisioned(context, &input)
    }

    async fn put_provisioned_concurrency_config(
        &self,
        context: &RequestContext,
        input: PutProvisionedConcurrencyConfigRequest,
    ) -> Result<PutProvisionedConcurrencyConfigResponse, AwsError> {
        self.inner.put_provisioned(context, input).await
    }

    async fn delete_provisioned_concurrency_config(
        &self,
        context: &RequestContext,
        input: DeleteProvisionedConcurrencyConfigRequest,
    ) -> Result<(), AwsError> {
        self.inner.delete_provisioned(context, input).await
    }

    async fn get_alias(
        &self,
        context: &RequestContext,
        input: GetAliasRequest,
    ) -> Result<AliasConfiguration, AwsError> {
        self.inner.get_alias(context, &input)
    }

    async fn create_alias(
        &self,
        context: &RequestContext,
        input: CreateAliasRequest,
    ) -> Result<AliasConfiguration, AwsError> {
        self.inner.create_alias(context, input).await
    }

    async fn update_alias(
        &self,
        context: &RequestContext,
        input: UpdateAliasRequest,
    ) -> Result<AliasConfiguration, AwsError> {
        self.inner.update_alias(context, input).await
    }

    async fn delete_alias(
        &self,
        context: &RequestContext,
        input: DeleteAliasRequest,
    ) -> Result<(), AwsError> {
        self.inner.delete_alias(context, input).await
    }

    async fn list_aliases(
        &self,
        context: &RequestContext,
        input: ListAliasesRequest,
    ) -> Result<ListAliasesResponse, AwsError> {
        self.inner.list_aliases(context, &input)
    }

    async fn list_function_event_invoke_configs(
        &self,
        context: &RequestContext,
        input: ListFunctionEventInvokeConfigsRequest,
    ) -> Result<ListFunctionEventInvokeConfigsResponse, AwsError> {
        self.inner.list_event_invokes(context, &input)
    }

    async fn list_function_url_configs(
        &self,
        context: &RequestContext,
        input: ListFunctionUrlConfigsRequest,
    ) -> Result<ListFunctionUrlConfigsResponse, AwsError> {
        self.inner.list_urls(context, &input)
    }

    async fn list_provisioned_concurrency_configs(
        &self,
        context: &RequestContext,
        input: ListProvisionedConcurrencyConfigsRequest,
    ) -> Result<ListProvisionedConcurrencyConfigsResponse, AwsError> {
        self.inner.list_provisioned(context, &input)
    }

    async fn publish_layer_version(
        &self,
        context: &RequestContext,
        input: PublishLayerVersionRequest,
    ) -> Result<PublishLayerVersionResponse, AwsError> {
        self.inner.publish_layer_version(context, input).await
    }

    async fn get_layer_version(
        &self,
        context: &RequestContext,
        input: GetLayerVersionRequest,
    ) -> Result<GetLayerVersionResponse, AwsError> {
        self.inner.get_layer_version(context, &input)
    }

    async fn get_layer_version_by_arn(
        &self,
        context: &RequestContext,
        input: GetLayerVersionByArnRequest,
    ) -> Result<GetLayerVersionResponse, AwsError> {
        self.inner.get_layer_version_by_arn(context, &input)
    }

    async fn list_layers(
        &self,
        context: &RequestContext,
        input: ListLayersRequest,
    ) -> Result<ListLayersResponse, AwsError> {
        self.inner.list_layers(context, &input)
    }

    async fn list_layer_versions(
        &self,
        context: &RequestContext,
        input: ListLayerVersionsRequest,
    ) -> Result<ListLayerVersionsResponse, AwsError> {
        self.inner.list_layer_versions(context, &input)
    }

    async fn delete_layer_version(
        &self,
        context: &RequestContext,
        input: DeleteLayerVersionRequest,
    ) -> Result<(), AwsError> {
        self.inner.delete_layer_version(context, input).await
    }

    async fn add_layer_version_permission(
        &self,
        context: &RequestContext,
        input: AddLayerVersionPermissionRequest,
    ) -> Result<AddLayerVersionPermissionResponse, AwsError> {
        self.inner.add_layer_version_permission(context, input).await
    }

    async fn get_layer_version_policy(
        &self,
        context: &RequestContext,
        input: GetLayerVersionPolicyRequest,
    ) -> Result<GetLayerVersionPolicyResponse, AwsError> {
        self.inner.get_layer_version_policy(context, &input)
    }

    async fn remove_layer_version_permission(
        &self,
        context: &RequestContext,
        input: RemoveLayerVersionPermissionRequest,
    ) -> Result<(), AwsError> {
        self.inner.remove_layer_version_permission(context, input).await
    }

    async fn create_event_source_mapping(
        &self,
        context: &RequestContext,
        input: CreateEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, AwsError> {
        self.inner.create_mapping(context, input).await
    }

    async fn get_event_source_mapping(
        &self,
        context: &RequestContext,
        input: GetEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, AwsError> {
        self.inner.get_mapping(context, &input)
    }

    async fn list_event_source_mappings(
        &self,
        context: &RequestContext,
        input: ListEventSourceMappingsRequest,
    ) -> Result<ListEventSourceMappingsResponse, AwsError> {
        self.inner.list_mappings(context, &input)
    }

    async fn update_event_source_mapping(
        &self,
        context: &RequestContext,
        input: UpdateEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, AwsError> {
        self.inner.update_mapping(context, input).await
    }

    async fn delete_event_source_mapping(
        &self,
        context: &RequestContext,
        input: DeleteEventSourceMappingRequest,
    ) -> Result<EventSourceMappingConfiguration, AwsError> {
        self.inner.delete_mapping(context, input).await
    }

    async fn create_code_signing_config(
        &self,
        context: &RequestContext,
        input: CreateCodeSigningConfigRequest,
    ) -> Result<CreateCodeSigningConfigResponse, AwsError> {
        self.inner.create_signing(context, input).await
    }

    async fn get_code_signing_config(
        &self,
        context: &RequestContext,
        input: GetCodeSigningConfigRequest,
    ) -> Result<GetCodeSigningConfigResponse, AwsError> {
        self.inner.get_signing(context, &input)
    }

    async fn list_code_signing_configs(
        &self,
        context: &RequestContext,
        input: ListCodeSigningConfigsRequest,
    ) -> Result<ListCodeSigningConfigsResponse, AwsError> {
        self.inner.list_signings(context, &input)
    }

    async fn update_code_signing_config(
        &self,
        context: &RequestContext,
        input: UpdateCodeSigningConfigRequest,
    ) -> Result<UpdateCodeSigningConfigResponse, AwsError> {
        self.inner.update_signing(context, input).await
    }

    async fn delete_code_signing_config(
        &self,
        context: &RequestContext,
        input: DeleteCodeSigningConfigRequest,
    ) -> Result<DeleteCodeSigningConfigResponse, AwsError> {
        self.inner.delete_signing(context, input).await
    }

    async fn list_functions_by_code_signing_config(
        &self,
        context: &RequestContext,
        input: ListFunctionsByCodeSigningConfigRequest,
    ) -> Result<ListFunctionsByCodeSigningConfigResponse, AwsError> {
        self.inner.list_signed_functions(context, &input)
    }

    async fn put_function_code_signing_config(
        &self,
        context: &RequestContext,
        input: PutFunctionCodeSigningConfigRequest,
    ) -> Result<PutFunctionCodeSigningConfigResponse, AwsError> {
        self.inner.put_function_signing(context, &input)
    }

    async fn delete_function_code_signing_config(
        &self,
        context: &RequestContext,
        input: DeleteFunctionCodeSigningConfigRequest,
    ) -> Result<(), AwsError> {
        self.inner.delete_function_signing(context, &input)
    }
}
