//! Settings of functions and aliases: asynchronous invocation and URLs.

use super::*;

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
const QUEUE: &str = "arn:aws:sqs:us-east-1:000000000000:q";

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.create("f", "one").await;
    fixture.settled("f").await;
    let alias = CreateAliasRequest {
        function_name: name(),
        name: Some("live".to_owned()),
        function_version: Some("$LATEST".to_owned()),
        ..Default::default()
    };
    fixture.service.create_alias(&context(), alias).await.unwrap();
    fixture
}

fn name() -> Option<String> {
    Some("f".to_owned())
}

fn live() -> Option<String> {
    Some("live".to_owned())
}

fn destinations(success: Option<&str>, failure: Option<&str>) -> Option<DestinationConfig> {
    let to = |arn: &str| Some(arn.to_owned());
    Some(DestinationConfig {
        on_success: success.map(|arn| OnSuccess { destination: to(arn) }),
        on_failure: failure.map(|arn| OnFailure { destination: to(arn) }),
    })
}

#[tokio::test]
async fn asynchronous_invocation_from_beginning_to_end() {
    let fixture = fixture().await;
    let service = &fixture.service;
    let put = PutFunctionEventInvokeConfigRequest {
        function_name: name(),
        maximum_retry_attempts: Some(0),
        destination_config: destinations(Some(QUEUE), None),
        ..Default::default()
    };
    let made = service.put_function_event_invoke_config(&context(), put.clone()).await.unwrap();
    assert_eq!(made.function_arn, Some(format!("{ARN}:$LATEST")));
    assert_eq!((made.maximum_retry_attempts, made.maximum_event_age_in_seconds), (Some(0), None));
    let empty = OnFailure { destination: None };
    assert_eq!(made.destination_config.as_ref().unwrap().on_failure, Some(empty));
    let get = |qualifier| GetFunctionEventInvokeConfigRequest { function_name: name(), qualifier };
    let read = service.get_function_event_invoke_config(&context(), get(None)).await.unwrap();
    assert_eq!(read, made);

    fixture.clock.advance(Duration::from_secs(5));
    let update = UpdateFunctionEventInvokeConfigRequest {
        function_name: name(),
        maximum_event_age_in_seconds: Some(60),
        destination_config: destinations(None, Some("arn:aws:s3:::b")),
        ..Default::default()
    };
    let updated = service.update_function_event_invoke_config(&context(), update).await.unwrap();
    assert_eq!((updated.maximum_retry_attempts, updated.maximum_event_age_in_seconds), (Some(0), Some(60)));
    assert_eq!(updated.destination_config, destinations(Some(QUEUE), Some("arn:aws:s3:::b")));
    assert_eq!(updated.last_modified.unwrap().0, made.last_modified.unwrap().0 + 5000);
    // A put starts anew.
    let again = service.put_function_event_invoke_config(&context(), put.clone()).await.unwrap();
    assert_eq!(again.maximum_event_age_in_seconds, None);

    let alias = PutFunctionEventInvokeConfigRequest { qualifier: live(), ..put.clone() };
    service.put_function_event_invoke_config(&context(), alias).await.unwrap();
    let list =
        |marker| ListFunctionEventInvokeConfigsRequest { function_name: name(), marker, max_items: Some(1) };
    let first = service.list_function_event_invoke_configs(&context(), list(None)).await.unwrap();
    assert_eq!(first.function_event_invoke_configs, Some(vec![again]));
    let second = list(Some(first.next_marker.unwrap()));
    let second = service.list_function_event_invoke_configs(&context(), second).await.unwrap();
    let arn = second.function_event_invoke_configs.unwrap()[0].function_arn.clone();
    assert_eq!((arn, second.next_marker), (Some(format!("{ARN}:live")), None));

    let nothing = PutFunctionEventInvokeConfigRequest { function_name: name(), ..Default::default() };
    let error = service.put_function_event_invoke_config(&context(), nothing).await.unwrap_err();
    assert_eq!(error.message, "You must specify at least one of error handling or destination setting.");
    let delete = |qualifier| DeleteFunctionEventInvokeConfigRequest { function_name: name(), qualifier };
    service.delete_function_event_invoke_config(&context(), delete(None)).await.unwrap();
    let error = service.delete_function_event_invoke_config(&context(), delete(None)).await.unwrap_err();
    let text = format!("The function {ARN}:$LATEST doesn't have an EventInvokeConfig");
    assert_eq!((&*error.code, error.message), ("ResourceNotFoundException", text));
    service.get_function_event_invoke_config(&context(), get(live())).await.unwrap();
}

#[tokio::test]
async fn urls_from_beginning_to_end() {
    let fixture = fixture().await;
    let service = &fixture.service;
    let create = |qualifier: Option<String>| CreateFunctionUrlConfigRequest {
        function_name: name(),
        qualifier,
        auth_type: Some("NONE".to_owned()),
        cors: Some(Cors { allow_origins: Some(vec!["*".to_owned()]), ..Default::default() }),
        invoke_mode: None,
    };
    let made = service.create_function_url_config(&context(), create(None)).await.unwrap();
    assert_eq!(made.function_arn.as_deref(), Some(ARN));
    assert_eq!(made.creation_time.as_deref(), Some("2026-11-23T12:00:00.000Z"));
    assert_eq!(made.invoke_mode.as_deref(), Some("BUFFERED"));
    let address = made.function_url.unwrap();
    assert!(address.ends_with(".lambda-url.us-east-1.localhost:4566/"), "{address}");
    let error = service.create_function_url_config(&context(), create(None)).await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("ResourceConflictException", 409));

    fixture.clock.advance(Duration::from_secs(1));
    let update = UpdateFunctionUrlConfigRequest {
        function_name: name(),
        auth_type: Some("AWS_IAM".to_owned()),
        cors: Some(Cors::default()),
        ..Default::default()
    };
    let updated = service.update_function_url_config(&context(), update).await.unwrap();
    assert_eq!(updated.function_url.as_ref(), Some(&address));
    assert_eq!(updated.last_modified_time.as_deref(), Some("2026-11-23T12:00:01.000Z"));
    let get = |qualifier| GetFunctionUrlConfigRequest { function_name: name(), qualifier };
    let read = service.get_function_url_config(&context(), get(None)).await.unwrap();
    assert_eq!((read.auth_type.as_deref(), read.cors), (Some("AWS_IAM"), None));

    let of_alias = service.create_function_url_config(&context(), create(live())).await.unwrap();
    assert_eq!(of_alias.function_arn, Some(format!("{ARN}:live")));
    assert_ne!(of_alias.function_url.as_ref(), Some(&address));
    let list = ListFunctionUrlConfigsRequest { function_name: name(), ..Default::default() };
    let list = service.list_function_url_configs(&context(), list).await.unwrap();
    let arns: Vec<_> =
        list.function_url_configs.unwrap().into_iter().map(|one| one.function_arn.unwrap()).collect();
    assert_eq!(arns, [ARN.to_owned(), format!("{ARN}:live")]);
    let error = service.get_function_url_config(&context(), get(Some("1".to_owned()))).await.unwrap_err();
    assert_eq!(&*error.code, "ValidationException");

    let delete = || DeleteFunctionUrlConfigRequest { function_name: name(), qualifier: None };
    service.delete_function_url_config(&context(), delete()).await.unwrap();
    let error = service.delete_function_url_config(&context(), delete()).await.unwrap_err();
    assert_eq!((error.status, &*error.message), (404, "The resource you requested does not exist."));
    // What is left goes with the function.
    let gone = DeleteFunctionRequest { function_name: name(), qualifier: None };
    service.delete_function(&context(), gone).await.unwrap();
    fixture.create("f", "two").await;
    let list = ListFunctionUrlConfigsRequest { function_name: name(), ..Default::default() };
    let list = service.list_function_url_configs(&context(), list).await.unwrap();
    assert_eq!(list.function_url_configs, Some(Vec::new()));
}
