//! The service on the in-memory store.

use lambkin_core::clock::ManualClock;
use lambkin_model::RequestContext;
use lambkin_model::logs::*;
use lambkin_store::MemLogs;

use super::*;
use crate::testing::{context, context_of};

const NOW: i64 = 1_795_435_200_000;

struct Fixture {
    service: LogsService,
    context: RequestContext,
}

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

impl Fixture {
    /// A service with group `g`, which has streams `s1` and `s2`.
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at(u64::try_from(NOW).unwrap()));
        let service = LogsService::new(Arc::new(MemLogs::new(clock.clone())), clock);
        let fixture = Self { service, context: context() };
        fixture.create_group("g").await.unwrap();
        for stream in ["s1", "s2"] {
            let request = CreateLogStreamRequest { log_group_name: some("g"), log_stream_name: some(stream) };
            fixture.service.create_log_stream(&fixture.context, request).await.unwrap();
        }
        fixture
    }

    async fn create_group(&self, name: &str) -> Result<(), AwsError> {
        let request = CreateLogGroupRequest { log_group_name: some(name), ..Default::default() };
        self.service.create_log_group(&self.context, request).await
    }

    /// Puts one event a millisecond, from [`NOW`] on.
    async fn put(&self, stream: &str, messages: &[&str]) {
        let event = |(at, message): (usize, &&str)| InputLogEvent {
            timestamp: Some(NOW + i64::try_from(at).unwrap()),
            message: some(message),
        };
        let request = PutLogEventsRequest {
            log_group_name: some("g"),
            log_stream_name: some(stream),
            log_events: Some(messages.iter().enumerate().map(event).collect()),
            ..Default::default()
        };
        let answer = self.service.put_log_events(&self.context, request).await.unwrap();
        assert_eq!(answer.rejected_log_events_info, None);
    }

    async fn get(
        &self,
        change: impl FnOnce(&mut GetLogEventsRequest),
    ) -> (Vec<String>, Option<String>, Option<String>) {
        let mut request = GetLogEventsRequest {
            log_group_name: some("g"),
            log_stream_name: some("s1"),
            ..Default::default()
        };
        change(&mut request);
        let answer = self.service.get_log_events(&self.context, request).await.unwrap();
        let messages = answer.events.unwrap().into_iter().filter_map(|event| event.message).collect();
        (messages, answer.next_forward_token, answer.next_backward_token)
    }

    async fn filter(
        &self,
        change: impl FnOnce(&mut FilterLogEventsRequest),
    ) -> Result<(Vec<String>, Option<String>), AwsError> {
        let mut request = FilterLogEventsRequest { log_group_name: some("g"), ..Default::default() };
        change(&mut request);
        let answer = self.service.filter_log_events(&self.context, request).await?;
        let messages = answer.events.unwrap().into_iter().filter_map(|event| event.message).collect();
        Ok((messages, answer.next_token))
    }
}

#[tokio::test]
async fn events_are_read_in_both_directions() {
    let fixture = Fixture::new().await;
    fixture.put("s1", &["1", "2", "3", "4", "5"]).await;
    fixture.put("s2", &["other"]).await;
    let (latest, forward, backward) = fixture.get(|r| r.limit = Some(2)).await;
    assert_eq!(latest, ["4", "5"], "the newest, oldest first");
    let next = |token: Option<String>| {
        fixture.get(move |r| {
            r.limit = Some(2);
            r.next_token = token;
        })
    };
    let (end, same, _) = next(forward.clone()).await;
    assert_eq!((end.len(), &same), (0, &forward), "the same token at the end");
    let (before, _, backward) = next(backward).await;
    assert_eq!(before, ["2", "3"]);
    let (first, forward, backward) = next(backward).await;
    assert_eq!(first, ["1"]);
    let (none, _, same) = next(backward.clone()).await;
    assert_eq!((none.len(), same), (0, backward));
    assert_eq!(next(forward).await.0, ["2", "3"], "and back again");

    let (head, forward, _) = fixture.get(|r| r.start_from_head = Some(true)).await;
    assert_eq!(head, ["1", "2", "3", "4", "5"]);
    let (_, _, backward) = next(forward.clone()).await;
    assert_eq!(next(backward).await.0, ["4", "5"], "the last page again from the end");
    let times = |r: &mut GetLogEventsRequest| {
        r.start_time = Some(NOW + 1);
        r.end_time = Some(NOW + 3);
    };
    assert_eq!(fixture.get(times).await.0, ["2", "3"], "the end is exclusive");
    fixture.put("s1", &["6"]).await;
    let request = GetLogEventsRequest {
        log_group_name: some("g"),
        log_stream_name: some("s1"),
        next_token: some("x"),
        ..Default::default()
    };
    let error = fixture.service.get_log_events(&fixture.context, request).await.unwrap_err();
    assert_eq!(error.message, "The specified nextToken is invalid.");
}

#[tokio::test]
async fn a_token_of_an_empty_stream_sees_what_comes_later() {
    let fixture = Fixture::new().await;
    let (events, forward, _) = fixture.get(|_| {}).await;
    assert!(events.is_empty());
    fixture.put("s1", &["late"]).await;
    assert_eq!(fixture.get(|r| r.next_token = forward).await.0, ["late"]);
}

#[tokio::test]
async fn answers_have_a_size() {
    let fixture = Fixture::new().await;
    for _ in 0..3 {
        fixture.put("s1", &[&"x".repeat(500_000)]).await;
    }
    let (events, forward, _) = fixture.get(|r| r.start_from_head = Some(true)).await;
    assert_eq!(events.len(), 2);
    assert_eq!(fixture.get(|r| r.next_token = forward).await.0.len(), 1);
    let (events, token) = fixture.filter(|_| {}).await.unwrap();
    assert_eq!(events.len(), 2);
    assert_eq!(fixture.filter(|r| r.next_token = token).await.unwrap(), (vec!["x".repeat(500_000)], None));
}

#[tokio::test]
async fn filters_all_streams_in_order() {
    let fixture = Fixture::new().await;
    fixture.put("s1", &["a ERROR", "b", "c ERROR"]).await;
    fixture.put("s2", &["x", "y ERROR"]).await;
    let errors = |r: &mut FilterLogEventsRequest| r.filter_pattern = some("ERROR");
    assert_eq!(
        fixture.filter(errors).await.unwrap(),
        (["a ERROR", "y ERROR", "c ERROR"].map(String::from).to_vec(), None)
    );
    let mut found = Vec::new();
    let mut token = None;
    loop {
        let page = fixture
            .filter(|r| {
                errors(r);
                r.limit = Some(1);
                r.next_token = token.clone();
            })
            .await
            .unwrap();
        found.extend(page.0);
        token = page.1;
        if token.is_none() {
            break;
        }
    }
    assert_eq!(found, ["a ERROR", "y ERROR", "c ERROR"]);
    let newest = fixture.filter(|r| r.start_from_head = Some(false)).await.unwrap().0;
    assert_eq!(newest.first().map(String::as_str), Some("c ERROR"));
    let some_streams = fixture.filter(|r| r.log_stream_names = Some(vec!["s2".to_owned()])).await.unwrap().0;
    assert_eq!(some_streams, ["x", "y ERROR"]);
    let by_prefix = fixture.filter(|r| r.log_stream_name_prefix = some("s2")).await.unwrap().0;
    assert_eq!(by_prefix, some_streams);
    let times = |r: &mut FilterLogEventsRequest| {
        r.start_time = Some(NOW + 1);
        r.end_time = Some(NOW + 1);
    };
    assert_eq!(fixture.filter(times).await.unwrap().0, ["b", "y ERROR"], "the end is inclusive");

    let bad = fixture.filter(|r| r.filter_pattern = some("a:b")).await.unwrap_err();
    assert_eq!(bad.code, "InvalidParameterException");
    let missing = fixture.filter(|r| r.log_stream_names = Some(vec!["no".to_owned()])).await.unwrap_err();
    assert_eq!(missing.message, "The specified log stream does not exist.");
    let missing = fixture.filter(|r| r.log_group_name = some("no")).await.unwrap_err();
    assert_eq!(
        (&*missing.code, missing.message.as_str()),
        ("ResourceNotFoundException", "The specified log group does not exist.")
    );
}

#[tokio::test]
async fn groups_are_described_in_pages() {
    let fixture = Fixture::new().await;
    for name in ["/aws/lambda/a", "/aws/lambda/b", "/aws/x"] {
        fixture.create_group(name).await.unwrap();
    }
    let again = fixture.create_group("g").await.unwrap_err();
    assert_eq!(
        (&*again.code, again.message.as_str()),
        ("ResourceAlreadyExistsException", "The specified log group already exists")
    );
    let describe = |change: fn(&mut DescribeLogGroupsRequest), token: Option<String>| {
        let mut request = DescribeLogGroupsRequest { next_token: token, ..Default::default() };
        change(&mut request);
        let fixture = &fixture;
        async move {
            let answer = fixture.service.describe_log_groups(&fixture.context, request).await.unwrap();
            let names: Vec<String> =
                answer.log_groups.unwrap().into_iter().filter_map(|group| group.log_group_name).collect();
            (names, answer.next_token)
        }
    };
    let (first, token) = describe(|r| r.limit = Some(3), None).await;
    assert_eq!(first, ["/aws/lambda/a", "/aws/lambda/b", "/aws/x"]);
    assert_eq!(describe(|r| r.limit = Some(3), token).await, (vec!["g".to_owned()], None));
    assert_eq!(describe(|r| r.log_group_name_prefix = some("/aws/l"), None).await.0.len(), 2);
    assert_eq!(describe(|r| r.log_group_name_pattern = some("LAMBDA/B"), None).await.0, ["/aws/lambda/b"]);
    let identifiers = |r: &mut DescribeLogGroupsRequest| {
        r.log_group_identifiers =
            Some(vec!["arn:aws:logs:us-east-1:000000000000:log-group:g:*".to_owned(), "no".to_owned()]);
    };
    assert_eq!(describe(identifiers, None).await.0, ["g"]);
    let elsewhere = context_of("000000000000", "eu-west-1");
    let groups = fixture.service.describe_log_groups(&elsewhere, DescribeLogGroupsRequest::default());
    assert_eq!(groups.await.unwrap().log_groups, Some(vec![]));
}

#[tokio::test]
async fn streams_are_described_by_name_or_time() {
    let fixture = Fixture::new().await;
    fixture.put("s2", &["1"]).await;
    fixture.put("s1", &["1", "2"]).await;
    let describe = |request: DescribeLogStreamsRequest| {
        let fixture = &fixture;
        async move {
            let answer = fixture.service.describe_log_streams(&fixture.context, request).await.unwrap();
            let names: Vec<String> =
                answer.log_streams.unwrap().into_iter().filter_map(|stream| stream.log_stream_name).collect();
            (names, answer.next_token)
        }
    };
    let request = DescribeLogStreamsRequest { log_group_name: some("g"), ..Default::default() };
    assert_eq!(describe(request.clone()).await.0, ["s1", "s2"]);
    let latest = DescribeLogStreamsRequest {
        order_by: some("LastEventTime"),
        descending: Some(true),
        limit: Some(1),
        ..request.clone()
    };
    let (first, token) = describe(latest.clone()).await;
    assert_eq!(first, ["s1"]);
    let rest = describe(DescribeLogStreamsRequest { next_token: token, ..latest.clone() }).await;
    assert_eq!(rest, (vec!["s2".to_owned()], None));
    let both = DescribeLogStreamsRequest { log_stream_name_prefix: some("s"), ..latest };
    let error = fixture.service.describe_log_streams(&fixture.context, both).await.unwrap_err();
    assert_eq!(error.message, "Cannot order by LastEventTime with a logStreamNamePrefix.");
    let by_arn = DescribeLogStreamsRequest {
        log_group_name: None,
        log_group_identifier: some("arn:aws:logs:us-east-1:000000000000:log-group:g"),
        ..request
    };
    assert_eq!(describe(by_arn).await.0.len(), 2);
}

#[tokio::test]
async fn retention_and_deletion() {
    let fixture = Fixture::new().await;
    let retention =
        |days: i32| PutRetentionPolicyRequest { log_group_name: some("g"), retention_in_days: Some(days) };
    fixture.service.put_retention_policy(&fixture.context, retention(14)).await.unwrap();
    let error = fixture.service.put_retention_policy(&fixture.context, retention(2)).await.unwrap_err();
    assert_eq!(error.code, "InvalidParameterException");
    let groups = fixture.service.describe_log_groups(&fixture.context, DescribeLogGroupsRequest::default());
    let group = groups.await.unwrap().log_groups.unwrap().remove(0);
    assert_eq!(group.retention_in_days, Some(14));
    assert_eq!(group.arn.as_deref(), Some("arn:aws:logs:us-east-1:000000000000:log-group:g:*"));
    assert_eq!(group.log_group_arn.as_deref(), Some("arn:aws:logs:us-east-1:000000000000:log-group:g"));

    let stream =
        |name: &str| DeleteLogStreamRequest { log_group_name: some("g"), log_stream_name: some(name) };
    fixture.service.delete_log_stream(&fixture.context, stream("s1")).await.unwrap();
    let error = fixture.service.delete_log_stream(&fixture.context, stream("s1")).await.unwrap_err();
    assert_eq!(error.message, "The specified log stream does not exist.");
    let delete = || DeleteLogGroupRequest { log_group_name: some("g") };
    fixture.service.delete_log_group(&fixture.context, delete()).await.unwrap();
    let error = fixture.service.delete_log_group(&fixture.context, delete()).await.unwrap_err();
    assert_eq!(error.message, "The specified log group does not exist.");
    let error = fixture.service.delete_log_stream(&fixture.context, stream("s2")).await.unwrap_err();
    assert_eq!(error.message, "The specified log group does not exist.");
}

#[tokio::test]
async fn tags_are_refused_and_listed_as_none() {
    let fixture = Fixture::new().await;
    let tags = Some([("a".to_owned(), "b".to_owned())].into());
    let request = CreateLogGroupRequest { log_group_name: some("t"), tags, ..Default::default() };
    let error = fixture.service.create_log_group(&fixture.context, request).await.unwrap_err();
    assert_eq!(error.message, "Lambkin does not support tags of log groups yet.");
    let request =
        ListTagsForResourceRequest { resource_arn: some("arn:aws:logs:us-east-1:000000000000:log-group:g") };
    let listed = fixture.service.list_tags_for_resource(&fixture.context, request).await.unwrap();
    assert_eq!(listed.tags, Some(Default::default()));
}
