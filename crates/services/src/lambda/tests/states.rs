//! The state machine: create, update, fail, restart.

use super::*;

#[tokio::test]
async fn a_function_is_created_becomes_active_and_runs() {
    let fixture = Fixture::new().await;
    let created = fixture.create("hello", "one").await;
    assert_eq!(created.state.as_deref(), Some("Pending"));
    assert_eq!(created.state_reason.as_deref(), Some("The function is being created."));
    assert_eq!(created.state_reason_code.as_deref(), Some("Creating"));
    assert_eq!(created.last_update_status, None);
    let arn = "arn:aws:lambda:us-east-1:000000000000:function:hello";
    assert_eq!(created.function_arn.as_deref(), Some(arn));
    assert_eq!(created.version.as_deref(), Some("$LATEST"));
    assert_eq!(created.last_modified.as_deref(), Some("2026-11-23T12:00:00.000+0000"));
    assert_eq!(created.description.as_deref(), Some(""));
    assert_eq!(created.environment, None);
    assert_eq!(created.code_sha256.as_ref().map(|sha| STANDARD.decode(sha).unwrap().len()), Some(32));

    let active = fixture.settled("hello").await;
    assert_eq!(active.state.as_deref(), Some("Active"));
    assert_eq!(active.state_reason, None);
    assert_eq!(active.last_update_status.as_deref(), Some("Successful"));
    assert_ne!(active.revision_id, created.revision_id, "becoming active is a change");
    assert!(active.runtime_version_config.is_some());

    let answer = fixture.invoke("hello").await.unwrap();
    assert_eq!((&answer["code"], &answer["event"]), (&"one".into(), &serde_json::json!({})));
    assert_eq!(answer["arn"], arn);
    let again = fixture.service.create_function(&context(), request("hello", "two")).await.unwrap_err();
    assert_eq!((&*again.code, again.status), ("ResourceConflictException", 409));
    assert_eq!(again.message, "Function already exist: hello");
}

#[tokio::test]
async fn invoke_passes_everything_on() {
    let fixture = Fixture::new().await;
    fixture.create("f", "fail").await;
    fixture.settled("f").await;
    let request = InvocationRequest {
        qualifier: Some("$LATEST".to_owned()),
        payload: Some(Bytes::from_static(b"[1]")),
        log_type: Some("Tail".to_owned()),
        client_context: Some(STANDARD.encode("{\"a\":1}")),
        ..invocation("f")
    };
    let answer = fixture.service.invoke(&context(), request.clone()).await.unwrap();
    assert_eq!(answer.status_code, Some(200));
    assert_eq!(answer.function_error.as_deref(), Some("Unhandled"));
    assert_eq!(answer.log_result.as_deref(), Some("U1RBUlQ="));
    assert_eq!(answer.executed_version.as_deref(), Some("$LATEST"));
    let payload: serde_json::Value = serde_json::from_slice(&answer.payload.unwrap()).unwrap();
    assert_eq!((&payload["event"], &payload["context"]), (&serde_json::json!([1]), &"{\"a\":1}".into()));
    assert_eq!(payload["arn"], "arn:aws:lambda:us-east-1:000000000000:function:f:$LATEST");

    let of = |invocation_type: &str| InvocationRequest {
        invocation_type: Some(invocation_type.to_owned()),
        ..request.clone()
    };
    let dry = fixture.service.invoke(&context(), of("DryRun")).await.unwrap();
    assert_eq!((dry.status_code, dry.payload), (Some(204), None));
    assert_eq!(fixture.service.invoke(&context(), of("Event")).await.unwrap_err().status, 501);
    let large =
        InvocationRequest { payload: Some(vec![b' '; 6 * 1024 * 1024 + 1].into()), ..invocation("f") };
    assert_eq!(fixture.service.invoke(&context(), large).await.unwrap_err().status, 413);
    let version = InvocationRequest { qualifier: Some("7".to_owned()), ..invocation("f") };
    let error = fixture.service.invoke(&context(), version).await.unwrap_err();
    assert_eq!(error.message, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f:7");
    fixture.update_code("f", "throttle").await.unwrap();
    fixture.settled("f").await;
    let error = fixture.invoke("f").await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("TooManyRequestsException", 429));
    assert_eq!(error.members["Reason"], "ConcurrentInvocationLimitExceeded");
    assert_eq!(error.members["retryAfterSeconds"], "1");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_runs_the_old_state_until_it_is_successful() {
    let fixture = Fixture::new().await;
    fixture.create("f", "old").await;
    let old = fixture.settled("f").await;
    // Settling ends with this, after the state is shown.
    while fixture.invoker.retired.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    fixture.invoker.retired.lock().unwrap().clear();
    fixture.invoker.close(true);

    let updating = fixture.update_code("f", "new").await.unwrap();
    assert_eq!(updating.state.as_deref(), Some("Active"));
    assert_eq!(updating.last_update_status.as_deref(), Some("InProgress"));
    assert_eq!(updating.last_update_status_reason_code.as_deref(), Some("Creating"));
    assert_ne!(updating.revision_id, old.revision_id);
    assert_ne!(updating.code_sha256, old.code_sha256);
    assert_eq!(fixture.invoke("f").await.unwrap()["code"], "old");
    let second = fixture.update_code("f", "third").await.unwrap_err();
    assert_eq!(second.code, "ResourceConflictException");
    assert_eq!(
        second.message,
        "The operation cannot be performed at this time. An update is in progress for resource: \
         arn:aws:lambda:us-east-1:000000000000:function:f"
    );

    fixture.invoker.close(false);
    let new = fixture.settled("f").await;
    assert_eq!(new.last_update_status.as_deref(), Some("Successful"));
    assert_eq!(fixture.invoke("f").await.unwrap()["code"], "new");
    while fixture.invoker.retired.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    let retired = fixture.invoker.retired.lock().unwrap().clone();
    assert_eq!(retired, [("arn:aws:lambda:us-east-1:000000000000:function:f".to_owned(), new.revision_id)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pending_function_cannot_be_invoked_and_survives_a_restart() {
    let mut fixture = Fixture::new().await;
    fixture.invoker.close(true);
    fixture.create("f", "code").await;
    let error = fixture.invoke("f").await.unwrap_err();
    assert_eq!(error.code, "ResourceConflictException");
    assert_eq!(
        error.message,
        "The operation cannot be performed at this time. The function is currently in the following state: Pending"
    );
    assert_eq!(fixture.update_code("f", "x").await.unwrap_err().code, "ResourceConflictException");
    // The first service never settles it: it is gone before the gate opens.
    fixture.service.tasks.iter().for_each(JoinHandle::abort);
    fixture.invoker.close(false);
    fixture.restart().await;
    assert_eq!(fixture.settled("f").await.state.as_deref(), Some("Active"));
    assert_eq!(fixture.invoke("f").await.unwrap()["code"], "code");
}

#[tokio::test]
async fn a_missing_runtime_fails_with_advice_until_it_is_there() {
    let mut fixture = Fixture::new().await;
    fixture.invoker.missing_runtimes.lock().unwrap().push("ruby3.3");
    let ruby = CreateFunctionRequest { runtime: Some("ruby3.3".to_owned()), ..request("f", "x") };
    fixture.service.create_function(&context(), ruby).await.unwrap();
    let failed = fixture.settled("f").await;
    assert_eq!(failed.state.as_deref(), Some("Failed"));
    assert_eq!(failed.state_reason_code.as_deref(), Some("InvalidRuntime"));
    assert_eq!(failed.state_reason.as_deref(), Some("install ruby3.3"));
    assert!(fixture.invoke("f").await.unwrap_err().message.ends_with("following state: Failed"));

    fixture.create("g", "x").await;
    fixture.settled("g").await;
    let change = UpdateFunctionConfigurationRequest {
        function_name: Some("g".to_owned()),
        runtime: Some("ruby3.3".to_owned()),
        ..Default::default()
    };
    fixture.service.update_function_configuration(&context(), change).await.unwrap();
    let failed = fixture.settled("g").await;
    assert_eq!(failed.state.as_deref(), Some("Active"));
    assert_eq!(failed.last_update_status.as_deref(), Some("Failed"));
    assert_eq!(failed.last_update_status_reason_code.as_deref(), Some("InvalidRuntime"));
    assert_eq!(failed.runtime.as_deref(), Some("ruby3.3"));
    assert!(fixture.invoke("g").await.is_ok(), "the state before goes on");

    fixture.invoker.missing_runtimes.lock().unwrap().clear();
    fixture.restart().await;
    while fixture.configuration("f").await.state.as_deref() != Some("Active")
        || fixture.configuration("g").await.last_update_status.as_deref() != Some("Successful")
    {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn functions_from_before_versions_open_and_can_be_published() {
    let mut fixture = Fixture::new().await;
    fixture.create("f", "old").await;
    fixture.settled("f").await;
    let code = fixture.deps.metadata.scan(record::KIND, "").await.unwrap();
    let code = record::FunctionRecord::read(&code[0].value).unwrap().current.code.sha256;
    let stored = record::tests::FORMAT_1.replace("\"ab\"", &format!("\"{code}\""));
    let write = lambkin_core::metadata::Write {
        kind: record::KIND.to_owned(),
        key: "000000000000/us-east-1/hello".to_owned(),
        expect: lambkin_core::metadata::Expect::Absent,
        value: Some(stored.into()),
    };
    fixture.deps.metadata.commit(vec![write]).await.unwrap();
    fixture.restart().await;
    let old = fixture.configuration("hello").await;
    assert_eq!((old.state.as_deref(), old.version.as_deref()), (Some("Active"), Some("$LATEST")));
    assert_eq!(old.revision_id.as_deref(), Some("3e8d5ce0-0a3e-4d7c-8c1a-6f9d3b1f7a10"));
    assert_eq!(fixture.invoke("hello").await.unwrap()["code"], "old");
    let publication = PublishVersionRequest { function_name: Some("hello".to_owned()), ..Default::default() };
    let published = fixture.service.publish_version(&context(), publication).await.unwrap();
    assert_eq!(published.version.as_deref(), Some("1"));
    assert_eq!(fixture.invoke("hello:1").await.unwrap()["version"], "1");
    let stored = fixture.deps.metadata.get(record::KIND, "000000000000/us-east-1/hello").await.unwrap();
    let stored: serde_json::Value = serde_json::from_slice(&stored.unwrap().value).unwrap();
    assert_eq!((&stored["v"], &stored["last_version"]), (&3.into(), &1.into()));
}
