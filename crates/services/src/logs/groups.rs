//! Groups and streams: create, delete, describe, retention.

use std::sync::Arc;

use lambkin_core::ids::Scope;
use lambkin_core::logs as stored;
use lambkin_core::logs::LogStreamKey;
use lambkin_core::metadata::StoreError;
use lambkin_model::logs::{
    CreateLogGroupRequest, DescribeLogGroupsRequest, DescribeLogGroupsResponse, DescribeLogStreamsRequest,
    DescribeLogStreamsResponse, LogGroup, LogStream, errors,
};
use lambkin_model::{AwsError, RequestContext};

use super::names::{self, group_arn, scope_of, stream_arn};
use super::{LogsService, invalid, no_stream, store};
use crate::paging;

/// Items in one answer unless the request says less.
const PAGE: usize = 50;

/// Groups read at once while looking for a name pattern.
const CHUNK: usize = 500;

/// Retentions in days that PutRetentionPolicy takes.
const RETENTIONS: &[i32] = &[
    1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
];

impl LogsService {
    pub(super) async fn create_group(
        &self,
        context: &RequestContext,
        request: CreateLogGroupRequest,
    ) -> Result<(), AwsError> {
        let not_yet = |what: &str| Err(invalid(format!("Lambkin does not support {what} yet.")));
        if request.kms_key_id.is_some() {
            return not_yet("kmsKeyId");
        }
        if request.tags.as_ref().is_some_and(|tags| !tags.is_empty()) {
            return not_yet("tags of log groups");
        }
        if request.log_group_class.as_deref().is_some_and(|class| class != "STANDARD") {
            return not_yet("log group classes other than STANDARD");
        }
        if request.deletion_protection_enabled == Some(true) {
            return not_yet("deletionProtectionEnabled");
        }
        let name = request.log_group_name.unwrap_or_default();
        match self.store.create_group(&scope_of(context), &name).await {
            Err(StoreError::Exists) => {
                Err(errors::resource_already_exists_exception("The specified log group already exists"))
            }
            other => other.map_err(store),
        }
    }

    pub(super) async fn delete_group(&self, context: &RequestContext, name: &str) -> Result<(), AwsError> {
        self.store.delete_group(&scope_of(context), name).await.map_err(store)
    }

    pub(super) async fn create_stream(
        &self,
        context: &RequestContext,
        group: Option<String>,
        stream: Option<String>,
    ) -> Result<(), AwsError> {
        match self.store.create_stream(&key(context, group, stream)).await {
            Err(StoreError::Exists) => {
                Err(errors::resource_already_exists_exception("The specified log stream already exists"))
            }
            other => other.map_err(store),
        }
    }

    pub(super) async fn delete_stream(
        &self,
        context: &RequestContext,
        group: Option<String>,
        stream: Option<String>,
    ) -> Result<(), AwsError> {
        let key = key(context, group, stream);
        match self.store.delete_stream(&key).await {
            Err(StoreError::NotFound) => {
                // Either the group or the stream is missing.
                self.store.streams(&key.scope, &key.group, &key.stream).await.map_err(store)?;
                Err(no_stream())
            }
            other => other.map_err(store),
        }
    }

    pub(super) async fn set_retention(
        &self,
        context: &RequestContext,
        group: &str,
        days: Option<i32>,
    ) -> Result<(), AwsError> {
        if let Some(days) = days
            && !RETENTIONS.contains(&days)
        {
            let allowed: Vec<String> = RETENTIONS.iter().map(ToString::to_string).collect();
            return Err(invalid(format!(
                "1 validation error detected: Value '{days}' at 'retentionInDays' failed to satisfy constraint: \
                 Member must satisfy enum value set: [{}]",
                allowed.join(", ")
            )));
        }
        let days = days.and_then(|days| u32::try_from(days).ok());
        self.store.set_retention(&scope_of(context), group, days).await.map_err(store)
    }

    pub(super) async fn describe_groups(
        &self,
        context: &RequestContext,
        request: DescribeLogGroupsRequest,
    ) -> Result<DescribeLogGroupsResponse, AwsError> {
        let scope = scope_of(context);
        let pattern = request.log_group_name_pattern.filter(|pattern| !pattern.is_empty());
        let prefix = request.log_group_name_prefix.unwrap_or_default();
        if !prefix.is_empty() && pattern.is_some() {
            return Err(invalid(
                "LogGroup name prefix and LogGroup name pattern are mutually exclusive parameters.",
            ));
        }
        if let Some(identifiers) = &request.log_group_identifiers {
            return self.named_groups(context, &scope, identifiers).await;
        }
        let nothing = DescribeLogGroupsResponse { log_groups: Some(Vec::new()), next_token: None };
        if request.log_group_class.as_deref().is_some_and(|class| class != "STANDARD") {
            return Ok(nothing);
        }
        let page = page(request.limit);
        let mut after = place(request.next_token.as_deref())?;
        let pattern = pattern.map(|pattern| pattern.to_lowercase());
        let mut found: Vec<stored::LogGroup> = Vec::new();
        loop {
            let limit = if pattern.is_some() { CHUNK } else { page + 1 };
            let groups = self.store.groups(&scope, &prefix, after.as_deref(), limit).await.map_err(store)?;
            let is_last = groups.len() < limit;
            after = groups.last().map(|group| group.name.clone());
            found.extend(groups.into_iter().filter(|group| {
                pattern.as_ref().is_none_or(|pattern| group.name.to_lowercase().contains(pattern.as_str()))
            }));
            if is_last || found.len() > page {
                break;
            }
        }
        let next_token = paging::cut(&mut found, page, |group| &group.name);
        let log_groups = Some(found.into_iter().map(|group| describe_group(&scope, group)).collect());
        Ok(DescribeLogGroupsResponse { log_groups, next_token })
    }

    async fn named_groups(
        &self,
        context: &RequestContext,
        scope: &Scope,
        identifiers: &[String],
    ) -> Result<DescribeLogGroupsResponse, AwsError> {
        let mut log_groups = Vec::new();
        for identifier in identifiers {
            let name = names::from_identifier(context, identifier)?;
            let groups = self.store.groups(scope, &name, None, 1).await.map_err(store)?;
            // The name itself is the first of all names that it is a prefix of.
            log_groups.extend(
                groups
                    .into_iter()
                    .filter(|group| group.name == name)
                    .map(|group| describe_group(scope, group)),
            );
        }
        Ok(DescribeLogGroupsResponse { log_groups: Some(log_groups), next_token: None })
    }

    pub(super) async fn describe_streams(
        &self,
        context: &RequestContext,
        request: DescribeLogStreamsRequest,
    ) -> Result<DescribeLogStreamsResponse, AwsError> {
        let scope = scope_of(context);
        let group = names::group(context, request.log_group_name, request.log_group_identifier)?;
        let by_time = request.order_by.as_deref() == Some("LastEventTime");
        let prefix = request.log_stream_name_prefix.unwrap_or_default();
        if by_time && !prefix.is_empty() {
            return Err(invalid("Cannot order by LastEventTime with a logStreamNamePrefix."));
        }
        let after = place(request.next_token.as_deref())?;
        let mut streams = self.store.streams(&scope, &group, &prefix).await.map_err(store)?;
        // One text to sort by and to go on from: the time first, where that is the order.
        let rank = |stream: &stored::LogStream| match by_time {
            true => format!("{:020}/{}", stream.last_event.unwrap_or(0).max(0), stream.name),
            false => stream.name.clone(),
        };
        let mut ranked: Vec<(String, stored::LogStream)> =
            streams.drain(..).map(|stream| (rank(&stream), stream)).collect();
        ranked.sort_by(|one, other| one.0.cmp(&other.0));
        let descending = request.descending == Some(true);
        if descending {
            ranked.reverse();
        }
        if let Some(after) = after {
            ranked.retain(|(rank, _)| if descending { *rank < after } else { *rank > after });
        }
        let next_token = paging::cut(&mut ranked, page(request.limit), |(rank, _)| rank);
        let describe = |(_, stream): (String, stored::LogStream)| LogStream {
            arn: Some(stream_arn(&scope, &group, &stream.name)),
            log_stream_name: Some(stream.name),
            creation_time: Some(stream.creation_time),
            first_event_timestamp: stream.first_event,
            last_event_timestamp: stream.last_event,
            last_ingestion_time: stream.last_ingestion,
            stored_bytes: Some(0),
            ..Default::default()
        };
        Ok(DescribeLogStreamsResponse {
            log_streams: Some(ranked.into_iter().map(describe).collect()),
            next_token,
        })
    }

    /// Fails as AWS does where a stream or its group is missing.
    pub(super) async fn require_stream(
        &self,
        scope: &Scope,
        group: &str,
        stream: &str,
    ) -> Result<(), AwsError> {
        let streams = self.store.streams(scope, group, stream).await.map_err(store)?;
        if streams.iter().any(|found| found.name == stream) { Ok(()) } else { Err(no_stream()) }
    }

    /// Fails as AWS does where a group is missing.
    pub(super) async fn require_group(&self, scope: &Scope, group: &str) -> Result<(), AwsError> {
        let groups = self.store.groups(scope, group, None, 1).await.map_err(store)?;
        if groups.iter().any(|found| found.name == group) { Ok(()) } else { Err(super::no_group()) }
    }
}

fn key(context: &RequestContext, group: Option<String>, stream: Option<String>) -> LogStreamKey {
    LogStreamKey {
        scope: scope_of(context),
        group: Arc::from(group.unwrap_or_default()),
        stream: Arc::from(stream.unwrap_or_default()),
    }
}

fn describe_group(scope: &Scope, group: stored::LogGroup) -> LogGroup {
    let arn = group_arn(scope, &group.name);
    LogGroup {
        log_group_name: Some(group.name),
        creation_time: Some(group.creation_time),
        retention_in_days: group.retention_days.and_then(|days| i32::try_from(days).ok()),
        metric_filter_count: Some(0),
        arn: Some(format!("{arn}:*")),
        stored_bytes: Some(i64::try_from(group.stored_bytes).unwrap_or(i64::MAX)),
        log_group_class: Some("STANDARD".to_owned()),
        log_group_arn: Some(arn),
        ..Default::default()
    }
}

fn page(limit: Option<i32>) -> usize {
    limit.and_then(|limit| usize::try_from(limit).ok()).map_or(PAGE, |limit| limit.clamp(1, PAGE))
}

fn place(token: Option<&str>) -> Result<Option<String>, AwsError> {
    match token {
        None => Ok(None),
        Some(token) => {
            paging::from_token(token).map(Some).ok_or_else(|| invalid("The specified nextToken is invalid."))
        }
    }
}
