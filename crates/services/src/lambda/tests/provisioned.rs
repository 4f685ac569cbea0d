//! Provisioned concurrency: what may be set, what the invoker is told, and what is shown.

use lambkin_core::concurrency::Provisioned;

use super::*;

fn text(value: &str) -> Option<String> {
    Some(value.to_owned())
}

async fn put(
    fixture: &Fixture,
    qualifier: &str,
    executions: i32,
) -> Result<PutProvisionedConcurrencyConfigResponse, AwsError> {
    let request = PutProvisionedConcurrencyConfigRequest {
        function_name: text("f"),
        qualifier: text(qualifier),
        provisioned_concurrent_executions: Some(executions),
    };
    fixture.service.put_provisioned_concurrency_config(&context(), request).await
}

async fn get(
    fixture: &Fixture,
    qualifier: &str,
) -> Result<GetProvisionedConcurrencyConfigResponse, AwsError> {
    let request =
        GetProvisionedConcurrencyConfigRequest { function_name: text("f"), qualifier: text(qualifier) };
    fixture.service.get_provisioned_concurrency_config(&context(), request).await
}

/// Status and number of what is shown of a qualifier.
async fn status(fixture: &Fixture, qualifier: &str) -> (String, i32) {
    let shown = get(fixture, qualifier).await.unwrap();
    let allocated = shown.allocated_provisioned_concurrent_executions.unwrap();
    assert_eq!(shown.available_provisioned_concurrent_executions, Some(allocated));
    (shown.status.unwrap(), allocated)
}

async fn delete(fixture: &Fixture, qualifier: &str) -> Result<(), AwsError> {
    let request =
        DeleteProvisionedConcurrencyConfigRequest { function_name: text("f"), qualifier: text(qualifier) };
    fixture.service.delete_provisioned_concurrency_config(&context(), request).await
}

async fn alias(fixture: &Fixture, name: &str, version: &str) {
    let request = CreateAliasRequest {
        function_name: text("f"),
        name: text(name),
        function_version: text(version),
        ..Default::default()
    };
    fixture.service.create_alias(&context(), request).await.unwrap();
}

async fn lead(
    fixture: &Fixture,
    name: &str,
    version: &str,
    weight: Option<(&str, f64)>,
) -> Result<AliasConfiguration, AwsError> {
    let weights = weight.map(|(other, weight)| BTreeMap::from([(other.to_owned(), weight)]));
    let request = UpdateAliasRequest {
        function_name: text("f"),
        name: text(name),
        function_version: text(version),
        routing_config: Some(AliasRoutingConfiguration {
            additional_version_weights: Some(weights.unwrap_or_default()),
        }),
        ..Default::default()
    };
    fixture.service.update_alias(&context(), request).await
}

/// Version and number of what the invoker is to have.
fn told(fixture: &Fixture) -> Vec<(String, u32)> {
    let concurrency = fixture.invoker.concurrency("f");
    concurrency.provisioned.iter().map(|(spec, count)| (spec.version.to_string(), *count)).collect()
}

fn has(fixture: &Fixture, version: &str, allocated: u32, failure: Option<&'static str>) {
    fixture.invoker.ready.lock().unwrap().insert(version.to_owned(), Provisioned { allocated, failure });
}

/// A function with the versions 1 and 2.
async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.service.enforce_concurrency();
    fixture.create("f", "one").await;
    fixture.settled("f").await;
    for code in ["one", "two"] {
        fixture.update_code("f", code).await.unwrap();
        fixture.settled("f").await;
        let publish = PublishVersionRequest { function_name: text("f"), ..Default::default() };
        fixture.service.publish_version(&context(), publish).await.unwrap();
    }
    fixture
}

#[tokio::test]
async fn a_version_from_beginning_to_end() {
    let mut fixture = fixture().await;
    let missing = get(&fixture, "1").await.unwrap_err();
    assert_eq!((&*missing.code, missing.status), ("ProvisionedConcurrencyConfigNotFoundException", 404));
    let made = put(&fixture, "1", 3).await.unwrap();
    assert_eq!(made.status.as_deref(), Some("IN_PROGRESS"));
    assert_eq!(made.requested_provisioned_concurrent_executions, Some(3));
    assert_eq!(made.allocated_provisioned_concurrent_executions, Some(0));
    assert_eq!(made.last_modified.as_deref(), Some("2026-11-23T12:00:00+0000"));
    assert_eq!(told(&fixture), [("1".to_owned(), 3)]);
    has(&fixture, "1", 2, None);
    assert_eq!(status(&fixture, "1").await, ("IN_PROGRESS".to_owned(), 2));
    has(&fixture, "1", 4, None);
    assert_eq!(status(&fixture, "1").await, ("READY".to_owned(), 3));
    has(&fixture, "1", 1, Some("FUNCTION_ERROR_INIT_FAILURE"));
    let failed = get(&fixture, "1").await.unwrap();
    assert_eq!(
        (failed.status.as_deref(), failed.status_reason.as_deref()),
        (Some("FAILED"), Some("FUNCTION_ERROR_INIT_FAILURE"))
    );

    fixture.invoker.concurrency.lock().unwrap().clear();
    fixture.restart().await;
    assert_eq!(told(&fixture), [], "not before what functions need is served");
    fixture.service.enforce_concurrency();
    assert_eq!(told(&fixture), [("1".to_owned(), 3)]);

    put(&fixture, "2", 1).await.unwrap();
    let list = ListProvisionedConcurrencyConfigsRequest {
        function_name: text("f"),
        max_items: Some(1),
        ..Default::default()
    };
    let page = fixture.service.list_provisioned_concurrency_configs(&context(), list.clone()).await.unwrap();
    let first = page.provisioned_concurrency_configs.unwrap();
    assert_eq!(first[0].function_arn.as_deref(), Some("arn:aws:lambda:us-east-1:000000000000:function:f:1"));
    let list = ListProvisionedConcurrencyConfigsRequest { marker: page.next_marker, ..list };
    let page = fixture.service.list_provisioned_concurrency_configs(&context(), list).await.unwrap();
    assert!(
        page.provisioned_concurrency_configs.unwrap()[0].function_arn.as_ref().unwrap().ends_with(":f:2")
    );
    assert_eq!(page.next_marker, None);

    delete(&fixture, "1").await.unwrap();
    delete(&fixture, "1").await.unwrap();
    assert_eq!(told(&fixture), [("2".to_owned(), 1)]);
    // It goes with its version.
    let gone = DeleteFunctionRequest { function_name: text("f"), qualifier: text("2") };
    fixture.service.delete_function(&context(), gone).await.unwrap();
    assert_eq!(told(&fixture), []);
}

#[tokio::test]
async fn an_alias_takes_it_along() {
    let fixture = fixture().await;
    alias(&fixture, "live", "1").await;
    put(&fixture, "live", 5).await.unwrap();
    assert_eq!(told(&fixture), [("1".to_owned(), 5)]);
    has(&fixture, "1", 5, None);
    assert_eq!(status(&fixture, "live").await.0, "READY");
    lead(&fixture, "live", "1", Some(("2", 0.4))).await.unwrap();
    assert_eq!(told(&fixture), [("1".to_owned(), 3), ("2".to_owned(), 2)]);
    assert_eq!(status(&fixture, "live").await, ("IN_PROGRESS".to_owned(), 3));
    has(&fixture, "2", 2, None);
    assert_eq!(status(&fixture, "live").await, ("READY".to_owned(), 5));
    let weighted = put(&fixture, "live", 4).await.unwrap_err();
    assert_eq!(weighted.message, "Alias with weights can not be used with Provisioned Concurrency");
    lead(&fixture, "live", "2", None).await.unwrap();
    assert_eq!(told(&fixture), [("2".to_owned(), 5)]);
    let latest = lead(&fixture, "live", "$LATEST", None).await.unwrap_err();
    assert_eq!(
        latest.message,
        "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    );

    // Two aliases of one version have what it has one after the other.
    alias(&fixture, "more", "2").await;
    put(&fixture, "more", 2).await.unwrap();
    assert_eq!(told(&fixture), [("2".to_owned(), 7)]);
    has(&fixture, "2", 6, None);
    assert_eq!(status(&fixture, "live").await, ("READY".to_owned(), 5));
    assert_eq!(status(&fixture, "more").await, ("IN_PROGRESS".to_owned(), 1));
    let gone = DeleteAliasRequest { function_name: text("f"), name: text("live") };
    fixture.service.delete_alias(&context(), gone).await.unwrap();
    assert_eq!(told(&fixture), [("2".to_owned(), 2)]);
}

#[tokio::test]
async fn what_has_none_is_refused() {
    let fixture = fixture().await;
    let unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions.";
    alias(&fixture, "latest", "$LATEST").await;
    for qualifier in ["$LATEST", "latest"] {
        let error = put(&fixture, qualifier, 1).await.unwrap_err();
        assert_eq!((&*error.code, &*error.message), ("InvalidParameterValueException", unpublished));
    }
    let no_version = put(&fixture, "7", 1).await.unwrap_err();
    assert_eq!(
        (no_version.status, &*no_version.message),
        (404, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:7")
    );
    for error in [get(&fixture, "$LATEST").await.unwrap_err(), delete(&fixture, "$LATEST").await.unwrap_err()]
    {
        assert_eq!(error.message, "The function resource provided must be an alias or a published version.");
    }

    // Either a version or its alias.
    alias(&fixture, "live", "1").await;
    put(&fixture, "1", 1).await.unwrap();
    let taken =
        "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version";
    let error = put(&fixture, "live", 1).await.unwrap_err();
    assert_eq!((&*error.code, &*error.message), ("ResourceConflictException", taken));
    lead(&fixture, "live", "2", None).await.unwrap();
    put(&fixture, "live", 1).await.unwrap();
    assert_eq!(lead(&fixture, "live", "1", None).await.unwrap_err().message, taken);
    assert_eq!(lead(&fixture, "live", "2", Some(("1", 0.5))).await.unwrap_err().message, taken);
    let error = put(&fixture, "2", 1).await.unwrap_err();
    assert_eq!(&*error.code, "ResourceConflictException");
    assert!(error.message.contains("the alias live"), "{error}");
}

#[tokio::test]
async fn it_counts_against_reservations_and_the_account() {
    let fixture = fixture().await;
    let reserve = |executions| PutFunctionConcurrencyRequest {
        function_name: text("f"),
        reserved_concurrent_executions: Some(executions),
    };
    let unreserved = || async {
        let settings =
            fixture.service.get_account_settings(&context(), GetAccountSettingsRequest::default()).await;
        settings.unwrap().account_limit.unwrap().unreserved_concurrent_executions.unwrap()
    };
    put(&fixture, "1", 500).await.unwrap();
    assert_eq!(unreserved().await, 500);
    let error = put(&fixture, "2", 401).await.unwrap_err();
    assert_eq!(
        error.message,
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its \
         minimum value of [100]."
    );
    put(&fixture, "2", 400).await.unwrap();
    put(&fixture, "2", 100).await.unwrap();
    let low = fixture.service.put_function_concurrency(&context(), reserve(599)).await.unwrap_err();
    assert!(low.message.contains("[600]"), "{low}");
    fixture.service.put_function_concurrency(&context(), reserve(600)).await.unwrap();
    assert_eq!(unreserved().await, 400);
    let error = put(&fixture, "2", 101).await.unwrap_err();
    assert_eq!(
        error.message,
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function"
    );
    delete(&fixture, "1").await.unwrap();
    put(&fixture, "2", 600).await.unwrap();
}
