//! The service as a whole on the in-memory store, with an engine that answers what it was asked to run.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambkin_core::FunctionSpec;
use lambkin_core::clock::ManualClock;
use lambkin_core::invoke::{Invocation, InvokeError, InvokeOutcome};
use lambkin_model::lambda::*;
use lambkin_model::{Blob, RequestContext};
use lambkin_store::MemMetadata;

use super::*;
use crate::testing::{MemBlobs, context, context_of, zip_of};

/// Answers `{"code": FIRST FILE, "env": {...}}` of the spec it is given.
#[derive(Debug, Default)]
struct TestInvoker {
    missing_runtimes: Mutex<Vec<&'static str>>,
    retired: Mutex<Vec<(String, Option<String>)>>,
    /// While closed, looking for a runtime waits, so that functions stay unsettled.
    gate: (Mutex<bool>, std::sync::Condvar),
}

impl TestInvoker {
    fn close(&self, closed: bool) {
        *self.gate.0.lock().unwrap() = closed;
        self.gate.1.notify_all();
    }
}

impl Invoker for TestInvoker {
    fn invoke(
        &self,
        spec: Arc<FunctionSpec>,
        invocation: Invocation,
    ) -> Pin<Box<dyn Future<Output = Result<InvokeOutcome, InvokeError>> + Send>> {
        Box::pin(async move {
            let code = std::fs::read_to_string(spec.code.join("a.py")).unwrap();
            if code == "throttle" {
                return Err(InvokeError::Throttled { reason: "ConcurrentInvocationLimitExceeded" });
            }
            let event: serde_json::Value = serde_json::from_slice(&invocation.payload).unwrap();
            let answer = serde_json::json!({
                "code": code, "env": spec.environment, "event": event, "arn": invocation.invoked_function_arn,
                "context": invocation.client_context,
            });
            Ok(InvokeOutcome {
                payload: answer.to_string().into(),
                function_error: (code == "fail").then_some("Unhandled"),
                log_tail: invocation.log_tail.then(|| Bytes::from_static(b"START")),
                executed_version: spec.version.clone(),
            })
        })
    }

    fn retire(&self, function_arn: &str, keep: Option<&str>) {
        self.retired.lock().unwrap().push((function_arn.to_owned(), keep.map(ToOwned::to_owned)));
    }

    fn runtime_available(&self, runtime: &str) -> Result<String, String> {
        let closed = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(closed, |closed| *closed).unwrap());
        if self.missing_runtimes.lock().unwrap().contains(&runtime) {
            return Err(format!("install {runtime}"));
        }
        Ok(format!("{runtime} of this host"))
    }
}

struct Fixture {
    service: LambdaService,
    invoker: Arc<TestInvoker>,
    clock: Arc<ManualClock>,
    deps: LambdaDeps,
    dir: tempfile::TempDir,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // A blocked look for a runtime would block the end of the tokio runtime.
        self.invoker.close(false);
    }
}

impl Fixture {
    async fn new() -> Self {
        let invoker = Arc::new(TestInvoker::default());
        let clock = Arc::new(ManualClock::at(1_795_435_200_000));
        let deps = LambdaDeps {
            metadata: Arc::new(MemMetadata::default()),
            blobs: Arc::new(MemBlobs::default()),
            invoker: invoker.clone(),
            clock: clock.clone(),
        };
        let dir = tempfile::tempdir().unwrap();
        let service = LambdaService::new(deps.clone(), LambdaConfig::new(dir.path())).await.unwrap();
        Self { service, invoker, clock, deps, dir }
    }

    /// Ends the service and starts another on the same store and folder.
    async fn restart(&mut self) {
        self.service =
            LambdaService::new(self.deps.clone(), LambdaConfig::new(self.dir.path())).await.unwrap();
    }

    async fn create(&self, name: &str, code: &str) -> FunctionConfiguration {
        self.service.create_function(&context(), request(name, code)).await.unwrap()
    }

    async fn configuration(&self, name: &str) -> FunctionConfiguration {
        let request =
            GetFunctionConfigurationRequest { function_name: Some(name.to_owned()), qualifier: None };
        self.service.get_function_configuration(&context(), request).await.unwrap()
    }

    /// Waits for the end of what the reconciler does.
    async fn settled(&self, name: &str) -> FunctionConfiguration {
        loop {
            let configuration = self.configuration(name).await;
            let unsettled = configuration.state.as_deref() == Some("Pending")
                || configuration.last_update_status.as_deref() == Some("InProgress");
            if !unsettled {
                return configuration;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn invoke(&self, name: &str) -> Result<serde_json::Value, AwsError> {
        let answer = self.service.invoke(&context(), invocation(name)).await?;
        Ok(serde_json::from_slice(&answer.payload.unwrap()).unwrap())
    }

    async fn update_code(&self, name: &str, code: &str) -> Result<FunctionConfiguration, AwsError> {
        let request = UpdateFunctionCodeRequest {
            function_name: Some(name.to_owned()),
            zip_file: Some(Blob(zip_of(&[("a.py", code.as_bytes())]))),
            ..Default::default()
        };
        self.service.update_function_code(&context(), request).await
    }
}

fn request(name: &str, code: &str) -> CreateFunctionRequest {
    CreateFunctionRequest {
        function_name: Some(name.to_owned()),
        runtime: Some("python3.12".to_owned()),
        role: Some("arn:aws:iam::000000000000:role/r".to_owned()),
        handler: Some("a.handler".to_owned()),
        code: Some(FunctionCode {
            zip_file: Some(Blob(zip_of(&[("a.py", code.as_bytes())]))),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn invocation(name: &str) -> InvocationRequest {
    InvocationRequest { function_name: Some(name.to_owned()), ..Default::default() }
}

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
    assert_eq!(active.revision_id, created.revision_id);
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
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_runs_the_old_state_until_it_is_successful() {
    let fixture = Fixture::new().await;
    fixture.create("f", "old").await;
    let old = fixture.settled("f").await;
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
async fn updates_keep_the_rules() {
    let fixture = Fixture::new().await;
    fixture.create("f", "old").await;
    let old = fixture.settled("f").await;
    let update = |change: fn(&mut UpdateFunctionCodeRequest)| {
        let mut request = UpdateFunctionCodeRequest {
            function_name: Some("f".to_owned()),
            zip_file: Some(Blob(zip_of(&[("a.py", b"new")]))),
            ..Default::default()
        };
        change(&mut request);
        let service = &fixture.service;
        async move { service.update_function_code(&context(), request).await }
    };
    let error = update(|r| r.revision_id = Some("other".to_owned())).await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("PreconditionFailedException", 412));
    let error = update(|r| r.publish = Some(true)).await.unwrap_err();
    assert_eq!(error.message, "Lambkin does not support Publish (function versions) yet.");
    let error = update(|r| r.function_name = Some("f:1".to_owned())).await.unwrap_err();
    assert!(error.message.starts_with("Current operation does not support versions other than $LATEST."));
    let error = update(|r| r.s3_bucket = Some("bucket".to_owned())).await.unwrap_err();
    assert!(error.message.starts_with("Please do not provide other FunctionCode parameters"));
    let error = update(|r| r.zip_file = Some(Blob(Bytes::from_static(b"no zip")))).await.unwrap_err();
    assert_eq!(
        error.message,
        "Could not unzip uploaded file. Please check your file, then try to upload again."
    );
    let dry = update(|r| r.dry_run = Some(true)).await.unwrap();
    assert_ne!(dry.code_sha256, old.code_sha256);
    assert_eq!(fixture.configuration("f").await, old, "a dry run changes nothing");

    let change = UpdateFunctionConfigurationRequest {
        function_name: Some("f".to_owned()),
        revision_id: old.revision_id.clone(),
        environment: Some(Environment {
            variables: Some(BTreeMap::from([("A".to_owned(), "1".to_owned())])),
        }),
        ..Default::default()
    };
    fixture.service.update_function_configuration(&context(), change.clone()).await.unwrap();
    fixture.settled("f").await;
    assert_eq!(fixture.invoke("f").await.unwrap()["env"]["A"], "1");
    let stale = fixture.service.update_function_configuration(&context(), change).await.unwrap_err();
    assert_eq!(stale.code, "PreconditionFailedException");
}

#[tokio::test]
async fn code_sources_are_checked() {
    let fixture = Fixture::new().await;
    let create = |code: FunctionCode| {
        let request = CreateFunctionRequest { code: Some(code), ..request("f", "") };
        let service = &fixture.service;
        async move { service.create_function(&context(), request).await.unwrap_err().message }
    };
    let zip = |bytes: &'static [u8]| FunctionCode {
        zip_file: Some(Blob(Bytes::from_static(bytes))),
        ..Default::default()
    };
    assert_eq!(create(FunctionCode::default()).await, "Please provide a source for function code.");
    assert_eq!(create(zip(b"")).await, "Uploaded file must be a non-empty zip");
    assert!(create(zip(b"PK")).await.starts_with("Could not unzip uploaded file."));
    let s3 = FunctionCode { s3_bucket: Some("b".to_owned()), ..Default::default() };
    assert!(create(s3).await.starts_with("Lambkin does not support code from S3"));
    let image = FunctionCode { image_uri: Some("i".to_owned()), ..Default::default() };
    assert!(create(image).await.starts_with("Lambkin does not support container images"));
    assert!(fixture.service.inner.catalogue.all().is_empty());
}

#[tokio::test]
async fn deleted_functions_are_gone() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    fixture.settled("f").await;
    let delete = |qualifier: Option<&str>| DeleteFunctionRequest {
        function_name: Some("f".to_owned()),
        qualifier: qualifier.map(ToOwned::to_owned),
    };
    let latest = fixture.service.delete_function(&context(), delete(Some("$LATEST"))).await.unwrap_err();
    assert_eq!(latest.message, "$LATEST version cannot be deleted without deleting the function.");
    fixture.service.delete_function(&context(), delete(None)).await.unwrap();
    let error = fixture.invoke("f").await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("ResourceNotFoundException", 404));
    assert_eq!(error.message, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:f");
    assert_eq!(fixture.service.delete_function(&context(), delete(None)).await.unwrap_err().status, 404);
    assert_eq!(fixture.invoker.retired.lock().unwrap().last().unwrap().1, None);
    fixture.create("f", "y").await;
    fixture.settled("f").await;
    assert_eq!(fixture.invoke("f").await.unwrap()["code"], "y");
}

#[tokio::test]
async fn lists_in_pages_without_states() {
    let fixture = Fixture::new().await;
    for number in 0..5 {
        fixture.create(&format!("f{number}"), "x").await;
    }
    let mut names = Vec::new();
    let mut marker = None;
    loop {
        let request =
            ListFunctionsRequest { max_items: Some(2), marker: marker.clone(), ..Default::default() };
        let page = fixture.service.list_functions(&context(), request).await.unwrap();
        let functions = page.functions.unwrap();
        assert!(functions.len() <= 2);
        assert!(functions.iter().all(|f| f.state.is_none() && f.last_update_status.is_none()));
        names.extend(functions.into_iter().filter_map(|function| function.function_name));
        marker = page.next_marker;
        if marker.is_none() {
            break;
        }
    }
    assert_eq!(names, ["f0", "f1", "f2", "f3", "f4"]);
    let all = ListFunctionsRequest { function_version: Some("ALL".to_owned()), ..Default::default() };
    let all = fixture.service.list_functions(&context(), all).await.unwrap().functions.unwrap();
    assert!(all[0].function_arn.as_ref().unwrap().ends_with(":function:f0:$LATEST"));
    let bad = ListFunctionsRequest { marker: Some("x".to_owned()), ..Default::default() };
    assert_eq!(fixture.service.list_functions(&context(), bad).await.unwrap_err().status, 400);
    let usage = fixture.service.get_account_settings(&context(), GetAccountSettingsRequest::default()).await;
    assert_eq!(usage.unwrap().account_usage.unwrap().function_count, Some(5));
}

#[tokio::test]
async fn scopes_are_apart() {
    let fixture = Fixture::new().await;
    fixture.create("f", "x").await;
    let list = |context: RequestContext| {
        let service = &fixture.service;
        async move {
            service
                .list_functions(&context, ListFunctionsRequest::default())
                .await
                .unwrap()
                .functions
                .unwrap()
                .len()
        }
    };
    assert_eq!(list(context()).await, 1);
    assert_eq!(list(context_of("000000000000", "eu-west-1")).await, 0);
    assert_eq!(list(context_of("111111111111", "us-east-1")).await, 0);
    fixture
        .service
        .create_function(&context_of("111111111111", "us-east-1"), request("f", "y"))
        .await
        .unwrap();
}

#[tokio::test]
async fn tags_and_links_and_absent_parts() {
    let fixture = Fixture::new().await;
    let tagged = CreateFunctionRequest {
        tags: Some(BTreeMap::from([("a".to_owned(), "1".to_owned())])),
        ..request("f", "x")
    };
    let arn = fixture.service.create_function(&context(), tagged).await.unwrap().function_arn;
    let before = fixture.settled("f").await;
    let tags = Some(BTreeMap::from([("b".to_owned(), "2".to_owned())]));
    fixture
        .service
        .tag_resource(&context(), TagResourceRequest { resource: arn.clone(), tags })
        .await
        .unwrap();
    let untag = UntagResourceRequest { resource: arn.clone(), tag_keys: Some(vec!["a".to_owned()]) };
    fixture.service.untag_resource(&context(), untag).await.unwrap();
    let listed = fixture.service.list_tags(&context(), ListTagsRequest { resource: arn }).await.unwrap();
    assert_eq!(listed.tags, Some(BTreeMap::from([("b".to_owned(), "2".to_owned())])));
    assert_eq!(fixture.configuration("f").await, before, "tags are no change of the function");

    let get = GetFunctionRequest { function_name: Some("f".to_owned()), qualifier: None };
    let function = fixture.service.get_function(&context(), get).await.unwrap();
    assert_eq!(function.tags, listed.tags);
    assert!(function.concurrency.is_none());
    let code = function.code.unwrap();
    assert_eq!(code.repository_type.as_deref(), Some("S3"));
    let link = code.location.unwrap();
    let (path, query) = link.strip_prefix("http://127.0.0.1:4566").unwrap().split_once('?').unwrap();
    assert!(path.starts_with(LambdaService::DOWNLOAD_PREFIX));
    assert_eq!(fixture.service.code_download(path, query).await.unwrap(), zip_of(&[("a.py", b"x")]));
    fixture.clock.advance(Duration::from_secs(601));
    assert!(matches!(fixture.service.code_download(path, query).await, Err(DownloadError::Expired)));

    let policy = GetPolicyRequest { function_name: Some("f".to_owned()), qualifier: None };
    let error = fixture.service.get_policy(&context(), policy).await.unwrap_err();
    assert_eq!((error.status, error.message.as_str()), (404, "The resource you requested does not exist."));
    let versions =
        ListVersionsByFunctionRequest { function_name: Some("f".to_owned()), ..Default::default() };
    let versions = fixture.service.list_versions_by_function(&context(), versions).await.unwrap();
    assert_eq!(versions.versions.unwrap()[0].version.as_deref(), Some("$LATEST"));
}

#[tokio::test]
async fn unused_packages_go_and_used_ones_stay() {
    let mut fixture = Fixture::new().await;
    fixture.create("f", "one").await;
    fixture.create("g", "one").await;
    fixture.create("h", "two").await;
    for name in ["f", "g", "h"] {
        fixture.settled(name).await;
    }
    let folders = |fixture: &Fixture| std::fs::read_dir(fixture.dir.path().join("code")).unwrap().count();
    assert_eq!(folders(&fixture), 2);
    for name in ["f", "h"] {
        let delete = DeleteFunctionRequest { function_name: Some(name.to_owned()), qualifier: None };
        fixture.service.delete_function(&context(), delete).await.unwrap();
    }
    assert_eq!(folders(&fixture), 2, "an environment may still run from it");
    fixture.restart().await;
    while folders(&fixture) != 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(fixture.invoke("g").await.unwrap()["code"], "one");
}
