//! The generated trait, operation by operation. Operations that are not here answer "not implemented".

use lambkin_model::logs::{
    CreateLogGroupRequest, CreateLogStreamRequest, DeleteLogGroupRequest, DeleteLogStreamRequest,
    DeleteRetentionPolicyRequest, DescribeLogGroupsRequest, DescribeLogGroupsResponse,
    DescribeLogStreamsRequest, DescribeLogStreamsResponse, FilterLogEventsRequest, FilterLogEventsResponse,
    GetLogEventsRequest, GetLogEventsResponse, ListTagsForResourceRequest, ListTagsForResourceResponse,
    ListTagsLogGroupRequest, ListTagsLogGroupResponse, Logs, PutLogEventsRequest, PutLogEventsResponse,
    PutRetentionPolicyRequest,
};
use lambkin_model::{AwsError, RequestContext};

use super::names::{self, scope_of};
use super::{LogsService, invalid};

impl Logs for LogsService {
    async fn create_log_group(
        &self,
        context: &RequestContext,
        input: CreateLogGroupRequest,
    ) -> Result<(), AwsError> {
        self.create_group(context, input).await
    }

    async fn delete_log_group(
        &self,
        context: &RequestContext,
        input: DeleteLogGroupRequest,
    ) -> Result<(), AwsError> {
        self.delete_group(context, &input.log_group_name.unwrap_or_default()).await
    }

    async fn create_log_stream(
        &self,
        context: &RequestContext,
        input: CreateLogStreamRequest,
    ) -> Result<(), AwsError> {
        self.create_stream(context, input.log_group_name, input.log_stream_name).await
    }

    async fn delete_log_stream(
        &self,
        context: &RequestContext,
        input: DeleteLogStreamRequest,
    ) -> Result<(), AwsError> {
        self.delete_stream(context, input.log_group_name, input.log_stream_name).await
    }

    async fn put_retention_policy(
        &self,
        context: &RequestContext,
        input: PutRetentionPolicyRequest,
    ) -> Result<(), AwsError> {
        let days = input.retention_in_days.unwrap_or_default();
        self.set_retention(context, &input.log_group_name.unwrap_or_default(), Some(days)).await
    }

    async fn delete_retention_policy(
        &self,
        context: &RequestContext,
        input: DeleteRetentionPolicyRequest,
    ) -> Result<(), AwsError> {
        self.set_retention(context, &input.log_group_name.unwrap_or_default(), None).await
    }

    async fn describe_log_groups(
        &self,
        context: &RequestContext,
        input: DescribeLogGroupsRequest,
    ) -> Result<DescribeLogGroupsResponse, AwsError> {
        self.describe_groups(context, input).await
    }

    async fn describe_log_streams(
        &self,
        context: &RequestContext,
        input: DescribeLogStreamsRequest,
    ) -> Result<DescribeLogStreamsResponse, AwsError> {
        self.describe_streams(context, input).await
    }

    async fn get_log_events(
        &self,
        context: &RequestContext,
        input: GetLogEventsRequest,
    ) -> Result<GetLogEventsResponse, AwsError> {
        self.get_events(context, input).await
    }

    async fn filter_log_events(
        &self,
        context: &RequestContext,
        input: FilterLogEventsRequest,
    ) -> Result<FilterLogEventsResponse, AwsError> {
        self.filter_events(context, input).await
    }

    async fn put_log_events(
        &self,
        context: &RequestContext,
        input: PutLogEventsRequest,
    ) -> Result<PutLogEventsResponse, AwsError> {
        self.put_events(context, input).await
    }

    async fn list_tags_for_resource(
        &self,
        context: &RequestContext,
        input: ListTagsForResourceRequest,
    ) -> Result<ListTagsForResourceResponse, AwsError> {
        let arn = input.resource_arn.unwrap_or_default();
        if !arn.starts_with("arn:") {
            return Err(invalid(format!("Invalid resource ARN: {arn}")));
        }
        let group = names::from_identifier(context, &arn)?;
        self.require_group(&scope_of(context), &group).await?;
        Ok(ListTagsForResourceResponse { tags: Some(Default::default()) })
    }

    async fn list_tags_log_group(
        &self,
        context: &RequestContext,
        input: ListTagsLogGroupRequest,
    ) -> Result<ListTagsLogGroupResponse, AwsError> {
        self.require_group(&scope_of(context), &input.log_group_name.unwrap_or_default()).await?;
        Ok(ListTagsLogGroupResponse { tags: Some(Default::default()) })
    }
}
