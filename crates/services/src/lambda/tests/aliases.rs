//! Aliases: what they lead to, what they refuse, and what they keep.

use super::*;

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";

/// A function with `versions` versions, whose code is their number.
async fn with_versions(versions: usize) -> Fixture {
    let fixture = Fixture::new().await;
    fixture.create("f", "0").await;
    fixture.settled("f").await;
    for number in 1..=versions {
        fixture.update_code("f", &number.to_string()).await.unwrap();
        fixture.settled("f").await;
        let request = PublishVersionRequest { function_name: Some("f".to_owned()), ..Default::default() };
        let published = fixture.service.publish_version(&context(), request).await.unwrap();
        assert_eq!(published.version, Some(number.to_string()));
    }
    fixture
}

fn weights(weights: &[(&str, f64)]) -> Option<AliasRoutingConfiguration> {
    let weights = weights.iter().map(|(version, weight)| ((*version).to_owned(), *weight)).collect();
    Some(AliasRoutingConfiguration { additional_version_weights: Some(weights) })
}

fn creation(name: &str, version: &str) -> CreateAliasRequest {
    CreateAliasRequest {
        function_name: Some("f".to_owned()),
        name: Some(name.to_owned()),
        function_version: Some(version.to_owned()),
        ..Default::default()
    }
}

fn update(name: &str) -> UpdateAliasRequest {
    UpdateAliasRequest {
        function_name: Some("f".to_owned()),
        name: Some(name.to_owned()),
        ..Default::default()
    }
}

impl Fixture {
    async fn alias(&self, request: CreateAliasRequest) -> Result<AliasConfiguration, AwsError> {
        self.service.create_alias(&context(), request).await
    }

    async fn change_alias(&self, request: UpdateAliasRequest) -> Result<AliasConfiguration, AwsError> {
        self.service.update_alias(&context(), request).await
    }

    async fn get_alias(&self, name: &str) -> Result<AliasConfiguration, AwsError> {
        let request = GetAliasRequest { function_name: Some("f".to_owned()), name: Some(name.to_owned()) };
        self.service.get_alias(&context(), request).await
    }

    async fn delete_alias(&self, name: &str) -> Result<(), AwsError> {
        let request = DeleteAliasRequest { function_name: Some("f".to_owned()), name: Some(name.to_owned()) };
        self.service.delete_alias(&context(), request).await
    }
}

#[tokio::test]
async fn an_alias_leads_to_its_version() {
    let fixture = with_versions(2).await;
    let request = CreateAliasRequest { description: Some("what runs".to_owned()), ..creation("live", "1") };
    let created = fixture.alias(request).await.unwrap();
    assert_eq!(created.alias_arn, Some(format!("{ARN}:live")));
    assert_eq!(created.description.as_deref(), Some("what runs"));
    assert_eq!(created.function_version.as_deref(), Some("1"));
    assert_eq!(created.routing_config, None);
    assert_eq!(fixture.get_alias("live").await.unwrap(), created);
    for name in ["f:live", "000000000000:function:f:live", &format!("{ARN}:live")] {
        let answer = fixture.invoke(name).await.unwrap();
        assert_eq!((&answer["code"], &answer["version"]), (&"1".into(), &"1".into()));
        assert_eq!(answer["arn"], format!("{ARN}:live"));
    }
    let request =
        GetFunctionRequest { function_name: Some("f".to_owned()), qualifier: Some("live".to_owned()) };
    let function = fixture.service.get_function(&context(), request).await.unwrap();
    let configuration = function.configuration.unwrap();
    assert_eq!(configuration.function_arn, Some(format!("{ARN}:live")));
    assert_eq!(configuration.version.as_deref(), Some("1"));

    let moved = UpdateAliasRequest { function_version: Some("2".to_owned()), ..update("live") };
    let moved = fixture.change_alias(moved).await.unwrap();
    assert_ne!(moved.revision_id, created.revision_id);
    assert_eq!(moved.description.as_deref(), Some("what runs"), "what is not named stays");
    assert_eq!(fixture.invoke("f:live").await.unwrap()["code"], "2");
    fixture.alias(creation("newest", "$LATEST")).await.unwrap();
    assert_eq!(fixture.invoke("f:newest").await.unwrap()["version"], "$LATEST");

    fixture.delete_alias("live").await.unwrap();
    fixture.delete_alias("live").await.unwrap();
    assert_eq!(
        fixture.get_alias("live").await.unwrap_err().message,
        format!("Cannot find alias arn: {ARN}:live")
    );
    let error = fixture.invoke("f:live").await.unwrap_err();
    assert_eq!(error.message, format!("Function not found: {ARN}:live"));
}

#[tokio::test]
async fn aliases_refuse_what_cannot_be() {
    let fixture = with_versions(3).await;
    fixture.alias(creation("live", "1")).await.unwrap();
    let error = fixture.alias(creation("live", "2")).await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("ResourceConflictException", 409));
    assert_eq!(error.message, format!("Alias already exists: {ARN}:live"));
    let error = fixture.alias(creation("other", "9")).await.unwrap_err();
    assert_eq!(
        (&*error.code, error.message),
        ("ResourceNotFoundException", format!("Function not found: {ARN}:9"))
    );
    let absent = CreateAliasRequest { function_name: Some("g".to_owned()), ..creation("live", "1") };
    assert_eq!(fixture.alias(absent).await.unwrap_err().status, 404);
    let error = fixture.change_alias(update("other")).await.unwrap_err();
    assert_eq!(error.message, format!("Alias not found: {ARN}:other"));
    let stale = UpdateAliasRequest { revision_id: Some("x".to_owned()), ..update("live") };
    let error = fixture.change_alias(stale).await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("PreconditionFailedException", 412));

    let same = "Invalid function version 1. Function version 1 is already included in routing configuration.";
    let latest = "$LATEST is not supported for an alias pointing to more than 1 version";
    for (version, pairs, code, message) in [
        ("1", &[("1", 0.5)][..], "InvalidParameterValueException", Some(same)),
        ("$LATEST", &[("1", 0.5)][..], "InvalidParameterValueException", Some(latest)),
        ("1", &[("$LATEST", 0.5)][..], "InvalidParameterValueException", Some(latest)),
        ("1", &[("9", 0.5)][..], "ResourceNotFoundException", None),
        ("1", &[("2", 0.2), ("3", 0.2)][..], "InvalidParameterValueException", None),
        ("1", &[("2", 1.1)][..], "InvalidParameterValueException", None),
        ("1", &[("2", f64::NAN)][..], "InvalidParameterValueException", None),
    ] {
        let request = CreateAliasRequest { routing_config: weights(pairs), ..creation("weighted", version) };
        let error = fixture.alias(request).await.unwrap_err();
        assert_eq!(error.code, code, "{version} {pairs:?}");
        if let Some(message) = message {
            assert_eq!(error.message, message);
        }
    }
    assert_eq!(fixture.get_alias("weighted").await.unwrap_err().status, 404);
}

#[tokio::test]
async fn weights_route_until_they_are_taken_away() {
    let fixture = with_versions(2).await;
    let request = CreateAliasRequest { routing_config: weights(&[("2", 0.5)]), ..creation("live", "1") };
    let created = fixture.alias(request).await.unwrap();
    assert_eq!(created.routing_config, weights(&[("2", 0.5)]));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..200 {
        seen.insert(fixture.invoke("f:live").await.unwrap()["version"].as_str().unwrap().to_owned());
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), ["1", "2"]);

    let onto = UpdateAliasRequest { function_version: Some("2".to_owned()), ..update("live") };
    let error = fixture.change_alias(onto.clone()).await.unwrap_err();
    assert_eq!(
        error.message,
        "Invalid function version 2. Function version 2 is already included in routing configuration."
    );
    let described = UpdateAliasRequest { description: Some("x".to_owned()), ..update("live") };
    let kept = fixture.change_alias(described).await.unwrap();
    assert_eq!(kept.routing_config, weights(&[("2", 0.5)]));
    let alone = UpdateAliasRequest { routing_config: weights(&[]), ..onto };
    let alone = fixture.change_alias(alone).await.unwrap();
    assert_eq!((alone.function_version.as_deref(), alone.routing_config), (Some("2"), None));
}

#[tokio::test]
async fn versions_that_aliases_lead_to_stay() {
    let fixture = with_versions(3).await;
    fixture.alias(creation("b", "1")).await.unwrap();
    let request = CreateAliasRequest { routing_config: weights(&[("1", 0.0)]), ..creation("a", "2") };
    fixture.alias(request).await.unwrap();
    let delete = |qualifier: &str| {
        let request = DeleteFunctionRequest {
            function_name: Some("f".to_owned()),
            qualifier: Some(qualifier.to_owned()),
        };
        let service = &fixture.service;
        async move { service.delete_function(&context(), request).await }
    };
    let error = delete("1").await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("ResourceConflictException", 409));
    assert_eq!(error.message, "Unable to delete version because the following aliases reference it: [a, b]");
    assert_eq!(delete("a").await.unwrap_err().code, "InvalidParameterValueException");
    assert_eq!(delete("nobody").await.unwrap_err().status, 404);
    delete("3").await.unwrap();
    fixture.delete_alias("a").await.unwrap();
    fixture.delete_alias("b").await.unwrap();
    delete("1").await.unwrap();
}

#[tokio::test]
async fn aliases_are_listed_in_pages_and_by_version() {
    let fixture = with_versions(2).await;
    for (name, version) in [("a", "1"), ("b", "2"), ("c", "1"), ("d", "$LATEST")] {
        fixture.alias(creation(name, version)).await.unwrap();
    }
    let request = CreateAliasRequest { routing_config: weights(&[("1", 0.1)]), ..creation("e", "2") };
    fixture.alias(request).await.unwrap();
    let list = |version: Option<&str>, size: i32| {
        let version = version.map(ToOwned::to_owned);
        let service = &fixture.service;
        async move {
            let (mut names, mut marker) = (Vec::new(), None);
            loop {
                let request = ListAliasesRequest {
                    function_name: Some("f".to_owned()),
                    function_version: version.clone(),
                    marker,
                    max_items: Some(size),
                };
                let page = service.list_aliases(&context(), request).await.unwrap();
                names.extend(page.aliases.unwrap().into_iter().filter_map(|alias| alias.name));
                marker = page.next_marker;
                if marker.is_none() {
                    return names.concat();
                }
            }
        }
    };
    for size in [1, 2, 5, 50] {
        assert_eq!(list(None, size).await, "abcde");
        assert_eq!(list(Some("1"), size).await, "ace");
    }
    assert_eq!(list(Some("2"), 1).await, "be");
    assert_eq!(list(Some("$LATEST"), 1).await, "d");
    assert_eq!(list(Some("9"), 1).await, "");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_version_is_deleted_or_referred_to_but_never_both() {
    for _ in 0..20 {
        let fixture = Arc::new(with_versions(1).await);
        let creating = tokio::spawn({
            let fixture = fixture.clone();
            async move { fixture.alias(creation("live", "1")).await.is_ok() }
        });
        let request =
            DeleteFunctionRequest { function_name: Some("f".to_owned()), qualifier: Some("1".to_owned()) };
        let deleted = fixture.service.delete_function(&context(), request).await.is_ok();
        let created = creating.await.unwrap();
        assert_ne!(created, deleted);
        assert_eq!(fixture.invoke("f:live").await.is_ok(), created);
    }
}
