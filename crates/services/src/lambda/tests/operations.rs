//! What single operations take, refuse and answer.

use super::*;

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
    let error = update(|r| r.publish_to = Some("LATEST_PUBLISHED".to_owned())).await.unwrap_err();
    assert_eq!(error.message, "Lambkin does not support PublishTo yet.");
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
