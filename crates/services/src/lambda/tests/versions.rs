//! Published versions: what is published, shown, run, kept apart and deleted.

use super::*;

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

/// As boto3 asks for it without further arguments.
fn publication() -> PublishVersionRequest {
    PublishVersionRequest { function_name: Some("f".to_owned()), ..Default::default() }
}

impl Fixture {
    async fn publish(&self) -> Result<FunctionConfiguration, AwsError> {
        self.service.publish_version(&context(), publication()).await
    }

    async fn version(&self, qualifier: &str) -> Result<FunctionConfiguration, AwsError> {
        let request = GetFunctionConfigurationRequest {
            function_name: Some("f".to_owned()),
            qualifier: Some(qualifier.to_owned()),
        };
        self.service.get_function_configuration(&context(), request).await
    }

    async fn version_settled(&self, qualifier: &str) -> FunctionConfiguration {
        loop {
            let configuration = self.version(qualifier).await.unwrap();
            if configuration.state.as_deref() != Some("Pending") {
                return configuration;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn listed_versions(&self) -> Vec<String> {
        let request = ListVersionsByFunctionRequest {
            function_name: Some("f".to_owned()),
            max_items: Some(2),
            ..Default::default()
        };
        let mut versions = Vec::new();
        let mut marker = None;
        loop {
            let request = ListVersionsByFunctionRequest { marker, ..request.clone() };
            let page = self.service.list_versions_by_function(&context(), request).await.unwrap();
            let page_versions = page.versions.unwrap();
            assert!(page_versions.len() <= 2 && page_versions.iter().all(|version| version.state.is_none()));
            versions.extend(page_versions.into_iter().filter_map(|version| version.version));
            marker = page.next_marker;
            if marker.is_none() {
                return versions;
            }
        }
    }

    async fn delete(&self, qualifier: Option<&str>) -> Result<DeleteFunctionResponse, AwsError> {
        let request = DeleteFunctionRequest {
            function_name: Some("f".to_owned()),
            qualifier: qualifier.map(ToOwned::to_owned),
        };
        self.service.delete_function(&context(), request).await
    }

    async fn update_and_settle(&self, code: &str) {
        self.update_code("f", code).await.unwrap();
        self.settled("f").await;
    }
}

#[tokio::test]
async fn a_version_is_a_snapshot() {
    let fixture = Fixture::new().await;
    fixture.create("f", "one").await;
    let latest = fixture.settled("f").await;
    fixture.clock.advance(Duration::from_secs(5));
    let described = PublishVersionRequest { description: Some("first".to_owned()), ..publication() };
    let published = fixture.service.publish_version(&context(), described).await.unwrap();
    assert_eq!(published.version.as_deref(), Some("1"));
    assert_eq!(published.function_arn, Some(format!("{ARN}:1")));
    assert_eq!(published.description.as_deref(), Some("first"));
    assert_eq!(published.last_modified.as_deref(), Some("2026-11-23T12:00:05.000+0000"));
    assert_eq!(published.state.as_deref(), Some("Pending"));
    assert_eq!(published.state_reason_code.as_deref(), Some("Creating"));
    assert_eq!(published.last_update_status.as_deref(), Some("Successful"));
    assert_eq!(published.code_sha256, latest.code_sha256);
    assert_ne!(published.revision_id, latest.revision_id);
    // It runs from the start.
    assert_eq!(fixture.invoke("f:1").await.unwrap()["version"], "1");
    let settled = fixture.version_settled("1").await;
    assert_eq!((settled.state.as_deref(), &settled.revision_id), (Some("Active"), &published.revision_id));
    assert_eq!(fixture.configuration("f").await, latest, "a publication is no change of $LATEST");

    // Without a change there is no new version, whatever its description would be.
    assert_eq!(fixture.publish().await.unwrap(), settled);
    fixture.update_and_settle("two").await;
    assert_eq!(fixture.publish().await.unwrap().version.as_deref(), Some("2"));
    assert_eq!(fixture.version("1").await.unwrap(), settled);
    for (name, code, version) in [("f", "two", "$LATEST"), ("f:1", "one", "1"), ("f:2", "two", "2")] {
        let answer = fixture.invoke(name).await.unwrap();
        assert_eq!((&answer["code"], &answer["version"]), (&code.into(), &version.into()));
    }
    assert_eq!(fixture.invoke("f:1").await.unwrap()["arn"], format!("{ARN}:1"));
    assert_eq!(fixture.listed_versions().await, ["$LATEST", "1", "2"]);
}

#[tokio::test]
async fn publications_are_guarded() {
    let fixture = Fixture::new().await;
    fixture.create("f", "one").await;
    let latest = fixture.settled("f").await;
    let with = |change: fn(&mut PublishVersionRequest)| {
        let mut request = publication();
        change(&mut request);
        let service = &fixture.service;
        async move { service.publish_version(&context(), request).await }
    };
    let error = with(|r| r.code_sha256 = Some("x".to_owned())).await.unwrap_err();
    let present = latest.code_sha256.clone().unwrap();
    assert_eq!(error.code, "InvalidParameterValueException");
    assert_eq!(
        error.message,
        format!(
            "CodeSHA256 (x) is different from current CodeSHA256 in $LATEST ({present}). Please try again with \
             the CodeSHA256 in $LATEST."
        )
    );
    let error = with(|r| r.revision_id = Some("x".to_owned())).await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("PreconditionFailedException", 412));
    let error = with(|r| r.publish_to = Some("LATEST_PUBLISHED".to_owned())).await.unwrap_err();
    assert_eq!(error.message, "Lambkin does not support PublishTo yet.");
    let error = with(|r| r.function_name = Some("f:1".to_owned())).await.unwrap_err();
    assert!(error.message.starts_with("Current operation does not support versions other than $LATEST."));
    let error = with(|r| r.function_name = Some("g".to_owned())).await.unwrap_err();
    assert_eq!(error.code, "ResourceNotFoundException");
    let good = PublishVersionRequest {
        code_sha256: Some(present),
        revision_id: latest.revision_id,
        ..publication()
    };
    fixture.service.publish_version(&context(), good).await.unwrap();
    assert_eq!(fixture.version("2").await.unwrap_err().message, format!("Function not found: {ARN}:2"));
    assert_eq!(fixture.version("01").await.unwrap_err().status, 404);
    let error = fixture.update_code("f:1", "x").await.unwrap_err();
    assert!(error.message.starts_with("Current operation does not support versions other than $LATEST."));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_of_what_is_not_ready() {
    let fixture = Fixture::new().await;
    fixture.invoker.close(true);
    fixture.create("f", "one").await;
    let error = fixture.publish().await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("ResourceConflictException", 409));
    assert!(error.message.ends_with("The function is currently in the following state: Pending"));
    fixture.invoker.close(false);
    fixture.settled("f").await;
    fixture.invoker.close(true);
    fixture.update_code("f", "two").await.unwrap();
    let error = fixture.publish().await.unwrap_err();
    assert!(error.message.ends_with(&format!("An update is in progress for resource: {ARN}")));
    fixture.invoker.close(false);
    fixture.settled("f").await;
    fixture.publish().await.unwrap();

    fixture.invoker.missing_runtimes.lock().unwrap().push("ruby3.3");
    let ruby = CreateFunctionRequest { runtime: Some("ruby3.3".to_owned()), ..request("g", "x") };
    fixture.service.create_function(&context(), ruby).await.unwrap();
    fixture.settled("g").await;
    let request = PublishVersionRequest { function_name: Some("g".to_owned()), ..Default::default() };
    let error = fixture.service.publish_version(&context(), request).await.unwrap_err();
    assert!(error.message.ends_with("following state: Failed"));
}

#[tokio::test(flavor = "multi_thread")]
async fn create_and_update_publish() {
    let mut fixture = Fixture::new().await;
    fixture.invoker.close(true);
    let create = CreateFunctionRequest { publish: Some(true), ..request("f", "one") };
    let created = fixture.service.create_function(&context(), create).await.unwrap();
    assert_eq!((created.version.as_deref(), created.function_arn.as_deref()), (Some("1"), Some(ARN)));
    let error = fixture.invoke("f:1").await.unwrap_err();
    assert!(error.message.ends_with("following state: Pending"), "nothing has been prepared yet");
    // A version outlives a restart in whatever state it is.
    fixture.service.tasks.iter().for_each(JoinHandle::abort);
    fixture.invoker.close(false);
    fixture.restart().await;
    fixture.settled("f").await;
    assert_eq!(fixture.version_settled("1").await.state.as_deref(), Some("Active"));
    assert_eq!(fixture.invoke("f:1").await.unwrap()["code"], "one");

    let update = UpdateFunctionCodeRequest {
        function_name: Some("f".to_owned()),
        zip_file: Some(Blob(zip_of(&[("a.py", b"two")]))),
        publish: Some(true),
        ..Default::default()
    };
    let updated = fixture.service.update_function_code(&context(), update.clone()).await.unwrap();
    assert_eq!(updated.version.as_deref(), Some("2"));
    assert_eq!(updated.function_arn, Some(format!("{ARN}:2")));
    fixture.settled("f").await;
    fixture.version_settled("2").await;
    assert_eq!(fixture.invoke("f:2").await.unwrap()["code"], "two");
    let again = fixture.service.update_function_code(&context(), update).await.unwrap();
    assert_eq!(again.version.as_deref(), Some("2"), "the same code is no new version");
    fixture.settled("f").await;
    assert_eq!(fixture.listed_versions().await, ["$LATEST", "1", "2"]);
}

#[tokio::test]
async fn numbers_are_never_used_twice() {
    let fixture = Fixture::new().await;
    fixture.create("f", "one").await;
    fixture.settled("f").await;
    fixture.publish().await.unwrap();
    fixture.update_and_settle("two").await;
    fixture.publish().await.unwrap();
    fixture.delete(Some("2")).await.unwrap();
    assert_eq!(fixture.listed_versions().await, ["$LATEST", "1"]);
    assert_eq!(fixture.version("2").await.unwrap_err().status, 404);
    assert_eq!(
        fixture.invoker.retired.lock().unwrap().last().unwrap(),
        &(format!("{ARN}:2"), None),
        "its environments end"
    );
    assert_eq!(fixture.publish().await.unwrap().version.as_deref(), Some("3"));
    fixture.delete(Some("2")).await.unwrap();
    fixture.delete(Some("0")).await.unwrap();
    let error = fixture.delete(Some("$LATEST")).await.unwrap_err();
    assert_eq!(error.message, "$LATEST version cannot be deleted without deleting the function.");

    fixture.delete(None).await.unwrap();
    assert_eq!(fixture.version("1").await.unwrap_err().status, 404);
    assert_eq!(fixture.delete(Some("1")).await.unwrap_err().status, 404);
    fixture.create("f", "again").await;
    fixture.settled("f").await;
    assert_eq!(fixture.listed_versions().await, ["$LATEST"], "nothing of the former function is left");
    assert_eq!(fixture.publish().await.unwrap().version.as_deref(), Some("1"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_changes_lose_nothing() {
    const PUBLISHERS: usize = 8;
    let fixture = Arc::new(Fixture::new().await);
    fixture.create("f", "x").await;
    fixture.settled("f").await;
    let mut tasks = tokio::task::JoinSet::new();
    for publisher in 0..PUBLISHERS {
        let fixture = fixture.clone();
        tasks.spawn(async move {
            // Others publish and update between; each of these is made at some time.
            let update = UpdateFunctionConfigurationRequest {
                function_name: Some("f".to_owned()),
                description: Some(format!("by {publisher}")),
                ..Default::default()
            };
            while fixture.service.update_function_configuration(&context(), update.clone()).await.is_err() {
                tokio::task::yield_now().await;
            }
            let tags = Some(BTreeMap::from([(format!("t{publisher}"), String::new())]));
            let tag = TagResourceRequest { resource: Some(ARN.to_owned()), tags };
            fixture.service.tag_resource(&context(), tag).await.unwrap();
            loop {
                match fixture.publish().await {
                    Ok(published) => break published,
                    Err(_) => tokio::task::yield_now().await,
                }
            }
        });
    }
    let published = tasks.join_all().await;
    // Whoever got the same version saw the same state; no version was given to two states.
    let mut by_version = BTreeMap::new();
    for version in published {
        let description = version.description.clone().unwrap();
        let known = by_version.entry(version.version.unwrap()).or_insert_with(|| description.clone());
        assert_eq!(*known, description);
    }
    let mut listed = fixture.listed_versions().await;
    listed.remove(0);
    let expected: Vec<String> = (1..=listed.len()).map(|number| number.to_string()).collect();
    assert_eq!(listed, expected, "without gaps");
    assert!(by_version.keys().all(|version| listed.contains(version)));
    let tags = ListTagsRequest { resource: Some(ARN.to_owned()) };
    let tags = fixture.service.list_tags(&context(), tags).await;
    assert_eq!(tags.unwrap().tags.unwrap().len(), PUBLISHERS, "no tag was lost");
}

#[tokio::test]
async fn packages_stay_as_long_as_a_version_needs_them() {
    let mut fixture = Fixture::new().await;
    fixture.create("f", "one").await;
    fixture.settled("f").await;
    fixture.publish().await.unwrap();
    fixture.update_and_settle("two").await;
    let packages = || std::fs::read_dir(fixture.dir.path().join("code")).unwrap().count();
    assert_eq!(packages(), 2);
    let usage = || async {
        let settings =
            fixture.service.get_account_settings(&context(), GetAccountSettingsRequest::default()).await;
        settings.unwrap().account_usage.unwrap()
    };
    assert_eq!(usage().await.function_count, Some(1));
    let with_version = usage().await.total_code_size.unwrap();
    let mut idle = HashMap::new();
    let inner = fixture.service.inner.clone();
    let used = || inner.catalogue.used_packages();
    assert_eq!(inner.code.sweep(used, Duration::ZERO, &mut idle).await.unwrap(), 0);
    fixture.delete(Some("1")).await.unwrap();
    assert!(usage().await.total_code_size.unwrap() < with_version);
    assert_eq!(inner.code.sweep(used, Duration::ZERO, &mut idle).await.unwrap(), 1);
    assert_eq!(packages(), 1);
    fixture.restart().await;
    assert_eq!(fixture.invoke("f").await.unwrap()["code"], "two");
}

#[tokio::test]
async fn all_versions_of_all_functions_are_listed_in_pages() {
    let fixture = Fixture::new().await;
    for name in ["a", "f", "z"] {
        fixture.create(name, "x").await;
        fixture.settled(name).await;
    }
    for code in ["one", "two", "three"] {
        fixture.update_and_settle(code).await;
        fixture.publish().await.unwrap();
    }
    let expected = ["a:$LATEST", "f:$LATEST", "f:1", "f:2", "f:3", "z:$LATEST"];
    for size in 1..=7 {
        let mut arns = Vec::new();
        let mut marker = None;
        loop {
            let request = ListFunctionsRequest {
                function_version: Some("ALL".to_owned()),
                max_items: Some(size),
                marker,
                ..Default::default()
            };
            let page = fixture.service.list_functions(&context(), request).await.unwrap();
            let functions = page.functions.unwrap();
            assert!(functions.len() <= usize::try_from(size).unwrap());
            arns.extend(functions.into_iter().filter_map(|function| function.function_arn));
            marker = page.next_marker;
            if marker.is_none() {
                break;
            }
        }
        let names: Vec<&str> = arns.iter().map(|arn| arn.rsplit("function:").next().unwrap()).collect();
        assert_eq!(names, expected, "in pages of {size}");
    }
}

#[tokio::test]
async fn settings_go_with_what_they_belong_to() {
    let fixture = Fixture::new().await;
    fixture.create("f", "one").await;
    let runtime = fixture.settled("f").await.runtime_version_config.unwrap().runtime_version_arn;
    fixture.publish().await.unwrap();
    fixture.version_settled("1").await;
    let put = |qualifier: Option<&str>, update_on: &str, arn: Option<String>| {
        let request = PutRuntimeManagementConfigRequest {
            function_name: Some("f".to_owned()),
            qualifier: qualifier.map(ToOwned::to_owned),
            update_runtime_on: Some(update_on.to_owned()),
            runtime_version_arn: arn,
        };
        let service = &fixture.service;
        async move { service.put_runtime_management_config(&context(), request).await }
    };
    let get = |qualifier: Option<&str>| {
        let request = GetRuntimeManagementConfigRequest {
            function_name: Some("f".to_owned()),
            qualifier: qualifier.map(ToOwned::to_owned),
        };
        let service = &fixture.service;
        async move { service.get_runtime_management_config(&context(), request).await.unwrap() }
    };
    assert_eq!(get(None).await.update_runtime_on.as_deref(), Some("Auto"));
    put(Some("1"), "Manual", runtime.clone()).await.unwrap();
    put(None, "FunctionUpdate", None).await.unwrap();
    assert_eq!(get(Some("1")).await.runtime_version_arn, runtime);
    assert_eq!(get(None).await.update_runtime_on.as_deref(), Some("FunctionUpdate"));
    for (update_on, arn) in [("Manual", None), ("Auto", runtime), ("Manual", Some("arn:other".to_owned()))] {
        let error = put(None, update_on, arn).await.unwrap_err();
        assert_eq!(error.code, "InvalidParameterValueException");
    }
    let recursion = |allow: &str| PutFunctionRecursionConfigRequest {
        function_name: Some("f".to_owned()),
        recursive_loop: Some(allow.to_owned()),
    };
    let recursive = || {
        let request = GetFunctionRecursionConfigRequest { function_name: Some("f".to_owned()) };
        let service = &fixture.service;
        async move { service.get_function_recursion_config(&context(), request).await.unwrap().recursive_loop }
    };
    assert_eq!(recursive().await.as_deref(), Some("Terminate"));
    fixture.service.put_function_recursion_config(&context(), recursion("Allow")).await.unwrap();
    assert_eq!(recursive().await.as_deref(), Some("Allow"));

    let kinds = ["lambda.function", "lambda.version", "lambda.recursion", "lambda.runtime-management"];
    let count = || async {
        let mut counts = Vec::new();
        for kind in kinds {
            counts.push(fixture.deps.metadata.scan(kind, "").await.unwrap().len());
        }
        counts
    };
    assert_eq!(count().await, [1, 1, 1, 2]);
    fixture.delete(Some("1")).await.unwrap();
    assert_eq!(count().await, [1, 0, 1, 1]);
    fixture.delete(None).await.unwrap();
    assert_eq!(count().await, [0, 0, 0, 0]);
}

#[tokio::test]
async fn a_version_bound_to_a_runtime_does_not_get_another() {
    let fixture = Fixture::new().await;
    fixture.create("f", "one").await;
    let runtime = fixture.settled("f").await.runtime_version_config.unwrap().runtime_version_arn;
    let bind = PutRuntimeManagementConfigRequest {
        function_name: Some("f".to_owned()),
        update_runtime_on: Some("Manual".to_owned()),
        runtime_version_arn: runtime,
        ..Default::default()
    };
    fixture.service.put_runtime_management_config(&context(), bind).await.unwrap();
    fixture.update_and_settle("two").await;
    assert_eq!(fixture.configuration("f").await.last_update_status.as_deref(), Some("Successful"));
    let change = UpdateFunctionConfigurationRequest {
        function_name: Some("f".to_owned()),
        runtime: Some("python3.13".to_owned()),
        ..Default::default()
    };
    fixture.service.update_function_configuration(&context(), change).await.unwrap();
    let failed = fixture.settled("f").await;
    assert_eq!(failed.last_update_status.as_deref(), Some("Failed"));
    assert_eq!(failed.last_update_status_reason_code.as_deref(), Some("InvalidRuntime"));
    assert!(failed.last_update_status_reason.unwrap().contains("bound to the runtime version"));
}
