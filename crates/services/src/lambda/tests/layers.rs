//! Layers: their versions and policies, and functions that use them.

use super::archive::MAX_UNZIPPED;
use super::*;

const OTHER: &str = "111111111111";

fn arn(name: &str, number: u64) -> String {
    format!("arn:aws:lambda:us-east-1:000000000000:layer:{name}:{number}")
}

fn layer(name: &str, content: &str) -> PublishLayerVersionRequest {
    PublishLayerVersionRequest {
        layer_name: Some(name.to_owned()),
        content: Some(LayerVersionContentInput {
            zip_file: Some(Blob(zip_of(&[("l", content.as_bytes())]))),
            ..Default::default()
        }),
        ..Default::default()
    }
}

async fn publish(fixture: &Fixture, name: &str, content: &str) -> String {
    let answer = fixture.service.publish_layer_version(&context(), layer(name, content)).await.unwrap();
    answer.layer_version_arn.unwrap()
}

async fn delete(fixture: &Fixture, name: &str, number: i64) {
    let request =
        DeleteLayerVersionRequest { layer_name: Some(name.to_owned()), version_number: Some(number) };
    fixture.service.delete_layer_version(&context(), request).await.unwrap();
}

fn with_layers(name: &str, layers: &[&str]) -> CreateFunctionRequest {
    CreateFunctionRequest {
        layers: Some(layers.iter().map(|arn| (*arn).to_owned()).collect()),
        ..request(name, "code")
    }
}

async fn refusal(fixture: &Fixture, context: &RequestContext, layers: &[&str]) -> (String, u16, String) {
    let error = fixture.service.create_function(context, with_layers("refused", layers)).await.unwrap_err();
    (error.code.into_owned(), error.status, error.message)
}

async fn list(
    fixture: &Fixture,
    runtime: Option<&str>,
    marker: Option<String>,
    max: i32,
) -> (Vec<i64>, Option<String>) {
    let request = ListLayerVersionsRequest {
        layer_name: Some("l".to_owned()),
        compatible_runtime: runtime.map(ToOwned::to_owned),
        marker,
        max_items: Some(max),
        ..Default::default()
    };
    let page = fixture.service.list_layer_versions(&context(), request).await.unwrap();
    (page.layer_versions.unwrap().iter().filter_map(|item| item.version).collect(), page.next_marker)
}

#[tokio::test]
async fn version_numbers_are_never_given_twice() {
    let mut fixture = Fixture::new().await;
    assert_eq!(publish(&fixture, "l", "1").await, arn("l", 1));
    assert_eq!(publish(&fixture, "l", "1").await, arn("l", 2));
    assert_eq!(publish(&fixture, "other", "1").await, arn("other", 1));
    delete(&fixture, "l", 1).await;
    delete(&fixture, "l", 2).await;
    delete(&fixture, "l", 2).await;
    delete(&fixture, "nobody", 7).await;
    fixture.restart().await;
    assert_eq!(publish(&fixture, "l", "2").await, arn("l", 3));
    let layers = fixture.service.list_layers(&context(), ListLayersRequest::default()).await.unwrap();
    let names: Vec<_> = layers.layers.unwrap().into_iter().filter_map(|layer| layer.layer_name).collect();
    assert_eq!(names, ["l", "other"]);
    let usage = fixture.service.get_account_settings(&context(), GetAccountSettingsRequest::default()).await;
    let bytes = usage.unwrap().account_usage.unwrap().total_code_size.unwrap();
    assert_eq!(bytes, 2 * i64::try_from(zip_of(&[("l", b"1")]).len()).unwrap());
}

#[tokio::test]
async fn publications_at_once_get_a_number_each() {
    let fixture = Fixture::new().await;
    let fixture = &fixture;
    let publish = |content| async move {
        let request = layer("l", content);
        fixture.service.publish_layer_version(&context(), request).await.unwrap().version.unwrap()
    };
    let (a, b, c, d) = tokio::join!(publish("a"), publish("b"), publish("c"), publish("d"));
    let mut numbers = [a, b, c, d];
    numbers.sort_unstable();
    assert_eq!(numbers, [1, 2, 3, 4]);
}

#[tokio::test]
async fn layers_with_the_same_content_are_merged_once() {
    let fixture = Fixture::new().await;
    let one = publish(&fixture, "one", "1").await;
    let two = publish(&fixture, "two", "2").await;
    let again = publish(&fixture, "again", "1").await;
    let answer =
        fixture.service.create_function(&context(), with_layers("f", &[&one, &two, &again])).await.unwrap();
    assert_eq!(answer.layers.map(|layers| layers.len()), Some(3));
    fixture.settled("f").await;
    assert_eq!(fixture.invoke("f").await.unwrap()["layers"], serde_json::json!(["2", "1"]));
}

#[tokio::test]
async fn lists_are_filtered_newest_first_and_complete_in_pages_of_any_size() {
    let fixture = Fixture::new().await;
    for number in 1..=5 {
        let runtimes = if number % 2 == 0 { vec!["python3.12"] } else { vec!["python3.12", "nodejs22.x"] };
        let request = PublishLayerVersionRequest {
            compatible_runtimes: Some(runtimes.into_iter().map(ToOwned::to_owned).collect()),
            ..layer("l", "x")
        };
        fixture.service.publish_layer_version(&context(), request).await.unwrap();
    }
    for (runtime, expected) in [
        (None, vec![5, 4, 3, 2, 1]),
        (Some("nodejs22.x"), vec![5, 3, 1]),
        (Some("python3.12"), vec![5, 4, 3, 2, 1]),
        (Some("java21"), vec![]),
    ] {
        for max in 1..=6 {
            let (mut found, mut marker) = (Vec::new(), None);
            loop {
                let (page, next) = list(&fixture, runtime, marker, max).await;
                assert!(page.len() <= usize::try_from(max).unwrap());
                found.extend(page);
                marker = next;
                if marker.is_none() {
                    break;
                }
            }
            assert_eq!(found, expected, "{runtime:?} by {max}");
        }
    }
    let newest = |runtime: &str, architecture: Option<&str>| {
        let request = ListLayersRequest {
            compatible_runtime: Some(runtime.to_owned()),
            compatible_architecture: architecture.map(ToOwned::to_owned),
            ..Default::default()
        };
        let fixture = &fixture;
        async move { fixture.service.list_layers(&context(), request).await.unwrap().layers.unwrap() }
    };
    let found = newest("nodejs22.x", None).await;
    assert_eq!(found.first().unwrap().latest_matching_version.as_ref().unwrap().version, Some(5));
    assert!(newest("java21", None).await.is_empty());
    assert!(newest("nodejs22.x", Some("arm64")).await.is_empty());
}

#[tokio::test]
async fn functions_keep_layers_that_are_deleted_until_nobody_needs_them() {
    let mut fixture = Fixture::new().await;
    let (one, two) = (publish(&fixture, "one", "1").await, publish(&fixture, "two", "2").await);
    let answer = fixture.service.create_function(&context(), with_layers("f", &[&one, &two])).await.unwrap();
    let shown: Vec<_> =
        answer.layers.unwrap().into_iter().map(|layer| (layer.arn.unwrap(), layer.code_size)).collect();
    let size = i64::try_from(zip_of(&[("l", b"1")]).len()).unwrap();
    assert_eq!(shown, [(one.clone(), Some(size)), (two, Some(size))]);
    fixture.settled("f").await;
    delete(&fixture, "one", 1).await;
    delete(&fixture, "two", 1).await;
    assert_eq!(
        refusal(&fixture, &context(), &[&one]).await,
        ("InvalidParameterValueException".to_owned(), 400, format!("Layer version {one} does not exist."))
    );
    fixture.restart().await;
    assert_eq!(fixture.invoke("f").await.unwrap()["layers"], serde_json::json!(["1", "2"]));

    // What is lost is unpacked again at the start, and what nobody needs goes then.
    let folders = || std::fs::read_dir(fixture.dir.path().join("code")).unwrap().count();
    assert_eq!(folders(), 3);
    std::fs::remove_dir_all(fixture.dir.path().join("code")).unwrap();
    let update = UpdateFunctionConfigurationRequest {
        function_name: Some("f".to_owned()),
        description: Some("new".to_owned()),
        ..Default::default()
    };
    fixture.restart().await;
    let answer = fixture.service.update_function_configuration(&context(), update).await.unwrap();
    assert_eq!(answer.layers.map(|layers| layers.len()), Some(2), "what is not named stays");
    fixture.settled("f").await;
    assert_eq!(fixture.invoke("f").await.unwrap()["layers"], serde_json::json!(["1", "2"]));
    let update = UpdateFunctionConfigurationRequest {
        function_name: Some("f".to_owned()),
        layers: Some(Vec::new()),
        ..Default::default()
    };
    let answer = fixture.service.update_function_configuration(&context(), update).await.unwrap();
    assert_eq!(answer.layers, None);
    fixture.settled("f").await;
    let inner = &fixture.service.inner;
    let mut idle = HashMap::new();
    let used = || inner.catalogue.used_packages();
    assert_eq!(inner.code.sweep(used, Duration::ZERO, &mut idle).await.unwrap(), 2);
}

#[tokio::test]
async fn published_versions_keep_their_layers() {
    let fixture = Fixture::new().await;
    let (one, two) = (publish(&fixture, "l", "1").await, publish(&fixture, "l", "2").await);
    let request = CreateFunctionRequest { publish: Some(true), ..with_layers("f", &[&one]) };
    fixture.service.create_function(&context(), request).await.unwrap();
    fixture.settled("f").await;
    let update = UpdateFunctionConfigurationRequest {
        function_name: Some("f".to_owned()),
        layers: Some(vec![two]),
        ..Default::default()
    };
    fixture.service.update_function_configuration(&context(), update).await.unwrap();
    fixture.settled("f").await;
    assert_eq!(fixture.invoke("f").await.unwrap()["layers"], serde_json::json!(["2"]));
    assert_eq!(fixture.invoke("f:1").await.unwrap()["layers"], serde_json::json!(["1"]));
    let request =
        PublishVersionRequest { function_name: Some("f".to_owned()), ..PublishVersionRequest::default() };
    let published = fixture.service.publish_version(&context(), request).await.unwrap();
    assert_eq!(published.version.as_deref(), Some("2"), "other layers are another configuration");
}

#[tokio::test]
async fn what_functions_cannot_have_is_refused() {
    let fixture = Fixture::new().await;
    for _ in 0..2 {
        publish(&fixture, "l", "1").await;
    }
    let invalid = |text: &str| ("InvalidParameterValueException".to_owned(), 400, text.to_owned());
    let (one, two) = (&*arn("l", 1), &*arn("l", 2));
    let same = |first: &str, second: &str| {
        invalid(&format!(
            "Two different versions of the same layer are not allowed to be referenced in the same function. {first} \
             and {second} are versions of the same layer."
        ))
    };
    let here = context();
    assert_eq!(refusal(&fixture, &here, &[one, two]).await, same(one, two));
    assert_eq!(refusal(&fixture, &here, &[one, one]).await, same(one, one));
    let six: Vec<String> = (1..=6).map(|number| arn(&format!("l{number}"), 1)).collect();
    let six: Vec<&str> = six.iter().map(String::as_str).collect();
    assert_eq!(refusal(&fixture, &here, &six).await, invalid("Cannot reference more than 5 layers."));
    for absent in [
        &*arn("l", 3),
        &arn("m", 1),
        "arn:aws:lambda:::awslayer:AmazonLinux1703",
        "arn:aws:lambda:us-east-1:000000000000:layer:l:01",
    ] {
        let text = format!("Layer version {absent} does not exist.");
        assert_eq!(refusal(&fixture, &here, &[absent]).await, invalid(&text));
    }
    let elsewhere = "arn:aws:lambda:eu-west-1:000000000000:layer:l:1";
    assert_eq!(
        refusal(&fixture, &here, &[elsewhere]).await,
        invalid(
            "Layers are not in the same region as the function. Layers are expected to be in region us-east-1."
        )
    );

    let inner = &fixture.service.inner;
    let layers = inner.layers_of(&here, &[one.to_owned()]).unwrap();
    let pin = inner.code.pin().await;
    inner.check_layers(MAX_UNZIPPED - 1, &layers, &pin).await.unwrap();
    assert_eq!(
        inner.check_layers(MAX_UNZIPPED, &layers, &pin).await.unwrap_err().message,
        "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The actual size is \
         262144001 bytes."
    );
}

#[tokio::test]
async fn other_accounts_need_a_permission() {
    let fixture = Fixture::new().await;
    let own = publish(&fixture, "l", "1").await;
    let other = context_of(OTHER, "us-east-1");
    let get = || GetLayerVersionByArnRequest { arn: Some(own.clone()) };
    let denied = format!(
        "User: arn:aws:iam::{OTHER}:root is not authorized to perform: lambda:GetLayerVersion on resource: {own} \
         because no resource-based policy allows the lambda:GetLayerVersion action"
    );
    let error = fixture.service.get_layer_version_by_arn(&other, get()).await.unwrap_err();
    assert_eq!((error.status, error.message), (403, denied.clone()));
    assert_eq!(refusal(&fixture, &other, &[&own]).await, ("AccessDeniedException".to_owned(), 403, denied));

    let add = |sid: &str, principal: &str, organization: Option<&str>, revision_id: Option<String>| {
        let request = AddLayerVersionPermissionRequest {
            layer_name: Some("l".to_owned()),
            version_number: Some(1),
            statement_id: Some(sid.to_owned()),
            action: Some("lambda:GetLayerVersion".to_owned()),
            principal: Some(principal.to_owned()),
            organization_id: organization.map(ToOwned::to_owned),
            revision_id,
        };
        let fixture = &fixture;
        async move { fixture.service.add_layer_version_permission(&context(), request).await }
    };
    // Nobody here is in an organization.
    let org = add("org", "*", Some("o-a1b2c3d4e5"), None).await.unwrap();
    assert_eq!(
        org.statement.unwrap(),
        format!(
            r#"{{"Sid":"org","Effect":"Allow","Principal":"*","Action":"lambda:GetLayerVersion","Resource":"{own}","Condition":{{"StringEquals":{{"aws:PrincipalOrgID":"o-a1b2c3d4e5"}}}}}}"#
        )
    );
    assert!(fixture.service.get_layer_version_by_arn(&other, get()).await.is_err());
    assert_eq!(add("org", OTHER, None, None).await.unwrap_err().status, 409);
    assert_eq!(add("x", OTHER, Some("o-a1b2c3d4e5"), None).await.unwrap_err().status, 400);
    assert_eq!(add("x", OTHER, None, Some("old".to_owned())).await.unwrap_err().status, 412);
    let one = add("one", OTHER, None, org.revision_id.clone()).await.unwrap();
    assert_ne!(one.revision_id, org.revision_id);
    assert!(
        one.statement.unwrap().contains(&format!(r#""Principal":{{"AWS":"arn:aws:iam::{OTHER}:root"}}"#))
    );
    fixture.service.get_layer_version_by_arn(&other, get()).await.unwrap();
    fixture.service.create_function(&other, with_layers("theirs", &[&own])).await.unwrap();
    assert!(
        fixture
            .service
            .get_layer_version_by_arn(&context_of("222222222222", "us-east-1"), get())
            .await
            .is_err()
    );

    let remove = |sid: &str, revision_id: Option<&str>| {
        let request = RemoveLayerVersionPermissionRequest {
            layer_name: Some("l".to_owned()),
            version_number: Some(1),
            statement_id: Some(sid.to_owned()),
            revision_id: revision_id.map(ToOwned::to_owned),
        };
        let fixture = &fixture;
        async move { fixture.service.remove_layer_version_permission(&context(), request).await }
    };
    assert_eq!(remove("nobody", None).await.unwrap_err().status, 404);
    assert_eq!(remove("one", Some("old")).await.unwrap_err().status, 412);
    remove("one", one.revision_id.as_deref()).await.unwrap();
    assert!(fixture.service.get_layer_version_by_arn(&other, get()).await.is_err());
    remove("org", None).await.unwrap();
    let request = GetLayerVersionPolicyRequest { layer_name: Some("l".to_owned()), version_number: Some(1) };
    let error = fixture.service.get_layer_version_policy(&context(), request).await.unwrap_err();
    assert_eq!((error.status, &*error.message), (404, "No policy is associated with the given resource."));
    // The permission was for taking it.
    assert_eq!(
        fixture
            .service
            .list_functions(&other, ListFunctionsRequest::default())
            .await
            .unwrap()
            .functions
            .unwrap()
            .len(),
        1
    );
}
