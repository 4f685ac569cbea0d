//! Reserved concurrency and account figures.

use super::*;

async fn put(fixture: &Fixture, name: &str, executions: i32) -> Result<Concurrency, AwsError> {
    let request = PutFunctionConcurrencyRequest {
        function_name: Some(name.to_owned()),
        reserved_concurrent_executions: Some(executions),
    };
    fixture.service.put_function_concurrency(&context(), request).await
}

async fn delete(fixture: &Fixture, name: &str) -> Result<(), AwsError> {
    let request = DeleteFunctionConcurrencyRequest { function_name: Some(name.to_owned()) };
    fixture.service.delete_function_concurrency(&context(), request).await
}

async fn reserved(fixture: &Fixture, name: &str) -> Option<i32> {
    let request = GetFunctionConcurrencyRequest { function_name: Some(name.to_owned()) };
    let answer = fixture.service.get_function_concurrency(&context(), request).await.unwrap();
    let function = GetFunctionRequest { function_name: Some(name.to_owned()), qualifier: None };
    let function = fixture.service.get_function(&context(), function).await.unwrap();
    let shown = function.concurrency.and_then(|concurrency| concurrency.reserved_concurrent_executions);
    assert_eq!(shown, answer.reserved_concurrent_executions);
    shown
}

async fn unreserved(fixture: &Fixture) -> i32 {
    let settings =
        fixture.service.get_account_settings(&context(), GetAccountSettingsRequest::default()).await;
    let limit = settings.unwrap().account_limit.unwrap();
    assert_eq!(limit.concurrent_executions, Some(1000));
    limit.unreserved_concurrent_executions.unwrap()
}

#[tokio::test]
async fn a_hundred_stay_unreserved() {
    let mut fixture = Fixture::new().await;
    fixture.service.enforce_concurrency();
    for name in ["f", "g"] {
        fixture.create(name, "x").await;
        fixture.settled(name).await;
    }
    assert_eq!((reserved(&fixture, "f").await, unreserved(&fixture).await), (None, 1000));
    put(&fixture, "f", 600).await.unwrap();
    assert_eq!((reserved(&fixture, "f").await, unreserved(&fixture).await), (Some(600), 400));
    assert_eq!(fixture.invoker.concurrency("f").reserved, Some(600));
    let error = put(&fixture, "g", 301).await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("InvalidParameterValueException", 400));
    assert_eq!(
        error.message,
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution \
         below its minimum value of [100]."
    );
    put(&fixture, "g", 300).await.unwrap();
    // Less is always possible, and so is nothing.
    put(&fixture, "f", 599).await.unwrap();
    put(&fixture, "f", 601).await.unwrap_err();
    put(&fixture, "g", 0).await.unwrap();
    assert_eq!((reserved(&fixture, "g").await, unreserved(&fixture).await), (Some(0), 401));

    fixture.restart().await;
    assert_eq!(reserved(&fixture, "f").await, Some(599));
    fixture.service.enforce_concurrency();
    assert_eq!(fixture.invoker.concurrency("f").reserved, Some(599));

    delete(&fixture, "f").await.unwrap();
    delete(&fixture, "f").await.unwrap();
    assert_eq!((reserved(&fixture, "f").await, unreserved(&fixture).await), (None, 1000));
    assert_eq!(fixture.invoker.concurrency("f").reserved, None);

    let gone = DeleteFunctionRequest { function_name: Some("g".to_owned()), qualifier: None };
    fixture.service.delete_function(&context(), gone).await.unwrap();
    assert_eq!(fixture.invoker.concurrency("g").reserved, None);
}

#[tokio::test]
async fn only_functions_as_a_whole_have_it() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    fixture.settled("f").await;
    for error in [put(&fixture, "f:1", 1).await.unwrap_err(), delete(&fixture, "f:live").await.unwrap_err()] {
        assert_eq!(error.code, "InvalidParameterValueException");
        assert!(
            error.message.starts_with("This operation is permitted on Lambda functions only."),
            "{error}"
        );
    }
    for error in [put(&fixture, "no", 1).await.unwrap_err(), delete(&fixture, "no").await.unwrap_err()] {
        assert_eq!(error.message, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:no");
    }
}

#[tokio::test]
async fn functions_that_take_it_at_once_do_not_take_too_much() {
    let fixture = Fixture::new().await;
    for name in ["a", "b", "c", "d"] {
        fixture.create(name, "x").await;
        fixture.settled(name).await;
    }
    let all = tokio::join!(
        put(&fixture, "a", 300),
        put(&fixture, "b", 300),
        put(&fixture, "c", 300),
        put(&fixture, "d", 300)
    );
    let taken = [all.0, all.1, all.2, all.3].iter().filter(|put| put.is_ok()).count();
    assert_eq!((taken, unreserved(&fixture).await), (3, 100));
}

#[tokio::test]
async fn scaling_belongs_to_capacity_providers() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    fixture.settled("f").await;
    let name = || Some("f".to_owned());
    let qualifier = Some("$LATEST".to_owned());
    let put = PutFunctionScalingConfigRequest {
        function_name: name(),
        qualifier: qualifier.clone(),
        ..Default::default()
    };
    let error = fixture.service.put_function_scaling_config(&context(), put).await.unwrap_err();
    assert_eq!(error.code, "InvalidParameterValueException");
    assert!(error.message.contains("CapacityProviderConfig"), "{error}");
    let get = GetFunctionScalingConfigRequest { function_name: name(), qualifier };
    let shown = fixture.service.get_function_scaling_config(&context(), get).await.unwrap();
    assert_eq!(
        (shown.applied_function_scaling_config, shown.requested_function_scaling_config),
        (None, None)
    );
    assert!(shown.function_arn.unwrap().ends_with(":function:f:$LATEST"));
}
