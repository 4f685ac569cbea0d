//! Resource policies: their documents, and what they let callers of other accounts and services do.

use lambkin_model::{Caller, Principal, RoleSession};

use super::*;

const ARN: &str = "arn:aws:lambda:us-east-1:000000000000:function:f";
const OTHER: &str = "111111111111";

fn add(sid: &str, principal: &str) -> AddPermissionRequest {
    AddPermissionRequest {
        function_name: Some("f".to_owned()),
        statement_id: Some(sid.to_owned()),
        action: Some("lambda:InvokeFunction".to_owned()),
        principal: Some(principal.to_owned()),
        ..Default::default()
    }
}

fn get(qualifier: Option<&str>) -> GetPolicyRequest {
    GetPolicyRequest { function_name: Some("f".to_owned()), qualifier: qualifier.map(ToOwned::to_owned) }
}

fn remove(sid: &str, revision_id: Option<String>) -> RemovePermissionRequest {
    RemovePermissionRequest {
        function_name: Some("f".to_owned()),
        statement_id: Some(sid.to_owned()),
        revision_id,
        ..Default::default()
    }
}

fn put(text: &str) -> PutResourcePolicyRequest {
    PutResourcePolicyRequest {
        resource_arn: Some(ARN.to_owned()),
        policy: Some(text.to_owned()),
        revision_id: None,
    }
}

/// A session of a role of the other account.
fn session() -> RequestContext {
    let caller = Caller {
        arn: format!("arn:aws:sts::{OTHER}:assumed-role/r/s"),
        principal: Principal::Session(RoleSession {
            role_arn: format!("arn:aws:iam::{OTHER}:role/r"),
            session_name: "s".to_owned(),
            source_function: None,
        }),
        ..Caller::root(OTHER, "ASIAEXAMPLE")
    };
    RequestContext { caller: Arc::new(caller), ..context_of(OTHER, "us-east-1") }
}

async fn fixture() -> Fixture {
    let fixture = Fixture::new().await;
    fixture.create("f", "one").await;
    fixture.settled("f").await;
    fixture
}

impl Fixture {
    async fn allow(&self, request: AddPermissionRequest) -> Result<String, AwsError> {
        Ok(self.service.add_permission(&context(), request).await?.statement.unwrap())
    }

    async fn refused(&self, request: AddPermissionRequest) -> (String, u16, String) {
        let error = self.allow(request).await.unwrap_err();
        (error.code.into_owned(), error.status, error.message)
    }

    /// `None` where the caller may; else AWS's text.
    async fn invoked(&self, context: &RequestContext, arn: &str) -> Option<String> {
        let error = self.service.invoke(context, invocation(arn)).await.err()?;
        assert_eq!((&*error.code, error.status), ("AccessDeniedException", 403), "{}", error.message);
        Some(error.message)
    }
}

#[tokio::test]
async fn statements_are_awss_to_the_letter() {
    let fixture = fixture().await;
    let statement = fixture.allow(add("one-1", OTHER)).await.unwrap();
    assert_eq!(
        statement,
        format!(
            r#"{{"Sid":"one-1","Effect":"Allow","Principal":{{"AWS":"arn:aws:iam::111111111111:root"}},"Action":"lambda:InvokeFunction","Resource":"{ARN}"}}"#
        )
    );
    let full = AddPermissionRequest {
        source_arn: Some("arn:aws:s3:::b".to_owned()),
        source_account: Some(OTHER.to_owned()),
        principal_org_id: Some("o-1234567890".to_owned()),
        event_source_token: Some("t".to_owned()),
        ..add("two", "s3.amazonaws.com")
    };
    let second = fixture.allow(full).await.unwrap();
    assert_eq!(
        second,
        format!(
            r#"{{"Sid":"two","Effect":"Allow","Principal":{{"Service":"s3.amazonaws.com"}},"Action":"lambda:InvokeFunction","Resource":"{ARN}","Condition":{{"StringEquals":{{"AWS:SourceAccount":"111111111111","lambda:EventSourceToken":"t","aws:PrincipalOrgID":"o-1234567890"}},"ArnLike":{{"AWS:SourceArn":"arn:aws:s3:::b"}}}}}}"#
        )
    );
    let via = AddPermissionRequest { invoked_via_function_url: Some(true), ..add("three", "*") };
    let third = fixture.allow(via).await.unwrap();
    assert!(third.contains(r#""Principal":"*""#), "{third}");
    assert!(third.ends_with(r#""Condition":{"Bool":{"lambda:InvokedViaFunctionUrl":"true"}}}"#), "{third}");
    let policy = fixture.service.get_policy(&context(), get(None)).await.unwrap().policy.unwrap();
    let expected =
        format!(r#"{{"Version":"2012-10-17","Id":"default","Statement":[{statement},{second},{third}]}}"#);
    assert_eq!(policy, expected);
}

#[tokio::test]
async fn what_is_no_permission_is_refused() {
    let fixture = fixture().await;
    let invalid = |text: &str| ("InvalidParameterValueException".to_owned(), 400, text.to_owned());
    let principal = "The provided principal was invalid. Please check the principal and try again.";
    for wrong in ["lambda", "amazonaws.com", "12345", "arn:aws:s3:::b"] {
        assert_eq!(fixture.refused(add("s", wrong)).await, invalid(principal), "{wrong}");
    }
    let latest = AddPermissionRequest { qualifier: Some("$LATEST".to_owned()), ..add("s", "*") };
    assert_eq!(
        fixture.refused(latest).await,
        invalid("We currently do not support adding policies for $LATEST.")
    );
    let url = AddPermissionRequest { function_url_auth_type: Some("NONE".to_owned()), ..add("s", "*") };
    let text = "FunctionUrlAuthType is only supported for lambda:InvokeFunctionUrl action";
    assert_eq!(fixture.refused(url).await, invalid(text));
    let action = AddPermissionRequest { action: Some("lambda:Fly".to_owned()), ..add("s", "*") };
    assert_eq!(fixture.refused(action).await.0, "InvalidParameterValueException");
    let unknown = AddPermissionRequest { function_name: Some("g".to_owned()), ..add("s", "*") };
    assert_eq!(fixture.refused(unknown).await.0, "ResourceNotFoundException");
    fixture.allow(add("s", "*")).await.unwrap();
    assert_eq!(
        fixture.refused(add("s", OTHER)).await,
        (
            "ResourceConflictException".to_owned(),
            409,
            "The statement id (s) provided already exists. Please provide a new statement id, or remove the \
             existing statement."
                .to_owned()
        )
    );
    let long = AddPermissionRequest {
        source_arn: Some(format!("arn:aws:s3:::{}", "b".repeat(9_800))),
        ..add("long1", "*")
    };
    fixture.allow(long.clone()).await.unwrap();
    fixture
        .allow(AddPermissionRequest { statement_id: Some("long2".to_owned()), ..long.clone() })
        .await
        .unwrap();
    let third = AddPermissionRequest { statement_id: Some("long3".to_owned()), ..long };
    let (code, status, text) = fixture.refused(third).await;
    assert_eq!((code.as_str(), status), ("PolicyLengthExceededException", 400));
    assert!(
        text.starts_with("The final policy size (") && text.ends_with(") is bigger than the limit (20480).")
    );
}

#[tokio::test]
async fn revisions_guard_and_the_last_statement_takes_the_policy() {
    let fixture = fixture().await;
    let service = &fixture.service;
    let none = service.remove_permission(&context(), remove("a", None)).await.unwrap_err();
    assert_eq!((none.status, &*none.message), (404, "No policy is associated with the given resource."));
    fixture.allow(add("a", "*")).await.unwrap();
    let first = service.get_policy(&context(), get(None)).await.unwrap().revision_id.unwrap();
    let guarded = AddPermissionRequest { revision_id: Some(first.clone()), ..add("b", "*") };
    fixture.allow(guarded).await.unwrap();
    let stale = AddPermissionRequest { revision_id: Some(first.clone()), ..add("c", "*") };
    assert_eq!(fixture.refused(stale).await.0, "PreconditionFailedException");
    let error = service.remove_permission(&context(), remove("b", Some(first))).await.unwrap_err();
    assert_eq!((&*error.code, error.status), ("PreconditionFailedException", 412));
    let absent = service.remove_permission(&context(), remove("x", None)).await.unwrap_err();
    assert_eq!(absent.message, "Statement x is not found in resource policy.");
    let second = service.get_policy(&context(), get(None)).await.unwrap().revision_id;
    service.remove_permission(&context(), remove("a", second)).await.unwrap();
    service.remove_permission(&context(), remove("b", None)).await.unwrap();
    let error = service.get_policy(&context(), get(None)).await.unwrap_err();
    assert_eq!((error.status, &*error.message), (404, "The resource you requested does not exist."));
}

#[tokio::test]
async fn callers_of_other_accounts_need_a_permission() {
    let fixture = fixture().await;
    let (root, session) = (context_of(OTHER, "us-east-1"), session());
    let text = |who: &str, action: &str, arn: &str| {
        format!(
            "User: {who} is not authorized to perform: lambda:{action} on resource: {arn} because no \
             resource-based policy allows the lambda:{action} action"
        )
    };
    let root_arn = format!("arn:aws:iam::{OTHER}:root");
    assert_eq!(fixture.invoked(&root, ARN).await, Some(text(&root_arn, "InvokeFunction", ARN)));
    let ghost = format!("{ARN}-that-is-not-there");
    assert_eq!(fixture.invoked(&root, &ghost).await, Some(text(&root_arn, "InvokeFunction", &ghost)));
    fixture.allow(add("a", OTHER)).await.unwrap();
    assert_eq!(fixture.invoked(&root, ARN).await, None);
    assert_eq!(fixture.invoked(&session, ARN).await, None);
    let third = context_of("333333333333", "us-east-1");
    assert!(fixture.invoked(&third, ARN).await.is_some());
    // Another action and another qualifier are another matter.
    let get = GetFunctionRequest { function_name: Some(ARN.to_owned()), qualifier: None };
    let error = fixture.service.get_function(&root, get).await.unwrap_err();
    assert_eq!(error.message, text(&root_arn, "GetFunction", ARN));
    let latest = format!("{ARN}:$LATEST");
    assert_eq!(fixture.invoked(&root, &latest).await, Some(text(&root_arn, "InvokeFunction", &latest)));
    let delete = DeleteFunctionRequest { function_name: Some(ARN.to_owned()), qualifier: None };
    assert_eq!(fixture.service.delete_function(&root, delete).await.unwrap_err().status, 403);
    // A role by its name.
    fixture.service.remove_permission(&context(), remove("a", None)).await.unwrap();
    fixture.allow(add("r", &format!("arn:aws:iam::{OTHER}:role/r"))).await.unwrap();
    assert_eq!(fixture.invoked(&session, ARN).await, None);
    assert!(fixture.invoked(&root, ARN).await.is_some());
}

#[tokio::test]
async fn a_denial_binds_the_own_account_too() {
    let fixture = fixture().await;
    let policy = |effect: &str, action: &str, resource: &str| {
        format!(
            r#"{{"Version":"2012-10-17","Statement":{{"Sid":"x","Effect":"{effect}","Principal":"*","Action":"{action}","Resource":"{resource}"}}}}"#
        )
    };
    let deny = policy("Deny", "lambda:*", ARN);
    let answer = fixture.service.put_resource_policy(&context(), put(&deny)).await.unwrap();
    let list = deny.replace(r#""Statement":{"#, r#""Statement":[{"#).replace("}}", "}]}");
    assert_eq!(answer.policy.as_deref(), Some(&*list));
    assert_eq!(
        fixture.invoked(&context(), "f").await,
        Some(format!(
            "User: arn:aws:iam::000000000000:root is not authorized to perform: lambda:InvokeFunction on resource: \
             {ARN} with an explicit deny in a resource-based policy"
        ))
    );
    // The root user is not locked out.
    let read = GetResourcePolicyRequest { resource_arn: Some(ARN.to_owned()) };
    let read = fixture.service.get_resource_policy(&context(), read).await.unwrap();
    assert_eq!((read.policy, &read.revision_id), (answer.policy, &answer.revision_id));
    for (text, says) in [
        (
            policy("Allow", "lambda:*", "arn:aws:lambda:us-east-1:000000000000:function:g"),
            "must have the resource",
        ),
        (policy("Allow", "s3:GetObject", "*"), "not one of Lambda"),
        (policy("Maybe", "lambda:*", "*"), "Invalid effect"),
        ("{".to_owned(), "invalid Json"),
    ] {
        let error = fixture.service.put_resource_policy(&context(), put(&text)).await.unwrap_err();
        assert_eq!(&*error.code, "InvalidParameterValueException");
        assert!(error.message.contains(says), "{}", error.message);
    }
    let delete = |revision_id: Option<String>| DeleteResourcePolicyRequest {
        resource_arn: Some(ARN.to_owned()),
        revision_id,
    };
    let stale = delete(Some("00000000-0000-4000-8000-000000000000".to_owned()));
    let error = fixture.service.delete_resource_policy(&context(), stale).await.unwrap_err();
    assert_eq!(error.status, 412);
    fixture.service.delete_resource_policy(&context(), delete(answer.revision_id)).await.unwrap();
    assert_eq!(fixture.invoked(&context(), "f").await, None);
    let error = fixture.service.delete_resource_policy(&context(), delete(None)).await.unwrap_err();
    assert_eq!(error.status, 404);
}

#[tokio::test]
async fn services_invoke_by_permission_only() {
    let mut fixture = fixture().await;
    let call = |source_arn, source_account| ServiceCall {
        service: "events.amazonaws.com",
        source_arn,
        source_account,
        function_arn: ARN,
    };
    let rule = "arn:aws:events:us-east-1:000000000000:rule/r";
    let may = |fixture: &Fixture, call: ServiceCall<'_>| fixture.service.authorize_service(&call).is_ok();
    assert!(!may(&fixture, call(Some(rule), Some("000000000000"))));
    let request = AddPermissionRequest {
        source_arn: Some("arn:aws:events:us-east-1:000000000000:rule/*".to_owned()),
        source_account: Some("000000000000".to_owned()),
        ..add("e", "events.amazonaws.com")
    };
    fixture.allow(request).await.unwrap();
    fixture.restart().await;
    assert!(may(&fixture, call(Some(rule), Some("000000000000"))));
    for (arn, account) in [
        (Some(rule), None),
        (None, Some("000000000000")),
        (Some(rule), Some(OTHER)),
        (Some("arn:aws:events:us-east-1:111111111111:rule/r"), Some("000000000000")),
    ] {
        assert!(!may(&fixture, call(arn, account)), "{arn:?} {account:?}");
    }
    let other = ServiceCall { service: "s3.amazonaws.com", ..call(Some(rule), Some("000000000000")) };
    let error = fixture.service.authorize_service(&other).unwrap_err();
    assert!(error.message.starts_with("User: s3.amazonaws.com is not authorized"), "{}", error.message);
    let name = ServiceCall { function_arn: "f", ..other };
    assert_eq!(fixture.service.authorize_service(&name).unwrap_err().status, 400);
}

#[tokio::test]
async fn aliases_have_policies_of_their_own() {
    let fixture = fixture().await;
    let alias = CreateAliasRequest {
        function_name: Some("f".to_owned()),
        name: Some("live".to_owned()),
        function_version: Some("$LATEST".to_owned()),
        ..Default::default()
    };
    fixture.service.create_alias(&context(), alias.clone()).await.unwrap();
    let request = AddPermissionRequest { qualifier: Some("live".to_owned()), ..add("a", OTHER) };
    let statement = fixture.allow(request).await.unwrap();
    assert!(statement.contains(&format!(r#""Resource":"{ARN}:live""#)), "{statement}");
    let root = context_of(OTHER, "us-east-1");
    assert_eq!(fixture.invoked(&root, &format!("{ARN}:live")).await, None);
    assert!(fixture.invoked(&root, ARN).await.is_some());
    assert!(fixture.service.get_policy(&context(), get(None)).await.is_err());
    assert!(fixture.service.get_policy(&context(), get(Some("live"))).await.is_ok());
    let delete = DeleteAliasRequest { function_name: Some("f".to_owned()), name: Some("live".to_owned()) };
    fixture.service.delete_alias(&context(), delete).await.unwrap();
    fixture.service.create_alias(&context(), alias).await.unwrap();
    let error = fixture.service.get_policy(&context(), get(Some("live"))).await.unwrap_err();
    assert_eq!(error.status, 404, "it went with the alias");
}
