use std::sync::Arc;

use lambkin_core::clock::ManualClock;
use lambkin_model::iam::*;
use lambkin_store::MemMetadata;

use super::*;
use crate::testing::{context, context_of};

pub(super) const TRUST: &str = r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow",
    "Principal":{"Service":"lambda.amazonaws.com"},"Action":"sts:AssumeRole"}]}"#;
const POLICY: &str =
    r#"{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:*","Resource":"*"}]}"#;
const BASIC: &str = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole";

async fn service(metadata: &Arc<MemMetadata>) -> IamService {
    IamService::new(Arc::clone(metadata) as Arc<dyn MetadataStore>, Arc::new(ManualClock::default()))
        .await
        .unwrap()
}

fn new_role(name: &str) -> CreateRoleRequest {
    CreateRoleRequest {
        role_name: Some(name.to_owned()),
        assume_role_policy_document: Some(TRUST.to_owned()),
        ..CreateRoleRequest::default()
    }
}

fn new_policy(name: &str) -> CreatePolicyRequest {
    CreatePolicyRequest {
        policy_name: Some(name.to_owned()),
        policy_document: Some(POLICY.to_owned()),
        ..CreatePolicyRequest::default()
    }
}

fn attach(role: &str, arn: &str) -> AttachRolePolicyRequest {
    AttachRolePolicyRequest { role_name: Some(role.to_owned()), policy_arn: Some(arn.to_owned()) }
}

#[tokio::test]
async fn roles_outlive_the_service_and_accounts_are_apart() {
    let metadata = Arc::new(MemMetadata::default());
    let iam = service(&metadata).await;
    let made = Iam::create_role(&iam, &context(), new_role("R")).await.unwrap().role.unwrap();
    assert_eq!(made.arn.as_deref(), Some("arn:aws:iam::000000000000:role/R"));
    let taken = Iam::create_role(&iam, &context(), new_role("r")).await.unwrap_err();
    assert_eq!(
        (taken.code.as_ref(), taken.message.as_str()),
        ("EntityAlreadyExists", "Role with name r already exists.")
    );
    Iam::create_role(&iam, &context_of("111111111111", "eu-west-1"), new_role("R")).await.unwrap();
    drop(iam);

    let iam = service(&metadata).await;
    let asked = GetRoleRequest { role_name: Some("R".to_owned()) };
    let read = Iam::get_role(&iam, &context_of("000000000000", "eu-west-1"), asked).await.unwrap();
    assert_eq!(read.role.unwrap().role_id, made.role_id);
    assert_eq!(iam.roles().find("arn:aws:iam::000000000000:role/R").unwrap().id, made.role_id.unwrap());
    assert!(iam.roles().find("arn:aws:iam::000000000000:role/x/R").is_none());
    assert!(iam.roles().find("arn:aws:iam::222222222222:role/R").is_none());
}

#[tokio::test]
async fn a_used_policy_cannot_be_deleted() {
    let metadata = Arc::new(MemMetadata::default());
    let iam = service(&metadata).await;
    let context = context();
    Iam::create_role(&iam, &context, new_role("r")).await.unwrap();
    let arn = Iam::create_policy(&iam, &context, new_policy("p")).await.unwrap().policy.unwrap().arn.unwrap();
    let delete = || DeletePolicyRequest { policy_arn: Some(arn.clone()) };
    Iam::attach_role_policy(&iam, &context, attach("r", &arn)).await.unwrap();
    Iam::attach_role_policy(&iam, &context, attach("r", BASIC)).await.unwrap();
    let error = Iam::delete_policy(&iam, &context, delete()).await.unwrap_err();
    assert_eq!(error.code, "DeleteConflict");
    let error = Iam::delete_role(&iam, &context, DeleteRoleRequest { role_name: Some("r".to_owned()) });
    assert_eq!(error.await.unwrap_err().code, "DeleteConflict");
    let detach = DetachRolePolicyRequest { role_name: Some("r".to_owned()), policy_arn: Some(arn.clone()) };
    Iam::detach_role_policy(&iam, &context, detach.clone()).await.unwrap();
    let error = Iam::detach_role_policy(&iam, &context, detach).await.unwrap_err();
    assert_eq!(error.code, "NoSuchEntity");
    let bound = PutRolePermissionsBoundaryRequest {
        role_name: Some("r".to_owned()),
        permissions_boundary: Some(arn.clone()),
    };
    Iam::put_role_permissions_boundary(&iam, &context, bound).await.unwrap();
    assert_eq!(Iam::delete_policy(&iam, &context, delete()).await.unwrap_err().code, "DeleteConflict");
    let unbound = DeleteRolePermissionsBoundaryRequest { role_name: Some("r".to_owned()) };
    Iam::delete_role_permissions_boundary(&iam, &context, unbound).await.unwrap();
    Iam::delete_policy(&iam, &context, delete()).await.unwrap();
    assert_eq!(Iam::delete_policy(&iam, &context, delete()).await.unwrap_err().code, "NoSuchEntity");
}

#[tokio::test]
async fn attaching_and_deleting_at_once_leaves_nothing_dangling() {
    for _ in 0..50 {
        let metadata = Arc::new(MemMetadata::default());
        let iam = service(&metadata).await;
        let context = context();
        Iam::create_role(&iam, &context, new_role("r")).await.unwrap();
        let made = Iam::create_policy(&iam, &context, new_policy("p")).await.unwrap();
        let arn = made.policy.unwrap().arn.unwrap();
        let (attached, deleted) = tokio::join!(
            Iam::attach_role_policy(&iam, &context, attach("r", &arn)),
            Iam::delete_policy(&iam, &context, DeletePolicyRequest { policy_arn: Some(arn.clone()) }),
        );
        assert_ne!(attached.is_ok(), deleted.is_ok(), "{attached:?} {deleted:?}");
    }
}

#[tokio::test]
async fn versions_are_five_and_their_numbers_are_not_used_again() {
    let metadata = Arc::new(MemMetadata::default());
    let iam = service(&metadata).await;
    let context = context();
    let arn = Iam::create_policy(&iam, &context, new_policy("p")).await.unwrap().policy.unwrap().arn;
    let version = || CreatePolicyVersionRequest {
        policy_arn: arn.clone(),
        policy_document: Some(POLICY.to_owned()),
        set_as_default: Some(true),
    };
    for _ in 2..=5 {
        Iam::create_policy_version(&iam, &context, version()).await.unwrap();
    }
    let error = Iam::create_policy_version(&iam, &context, version()).await.unwrap_err();
    assert_eq!(error.code, "LimitExceeded");
    let delete =
        |id: &str| DeletePolicyVersionRequest { policy_arn: arn.clone(), version_id: Some(id.to_owned()) };
    let error = Iam::delete_policy_version(&iam, &context, delete("v5")).await.unwrap_err();
    assert_eq!(error.message, "Cannot delete the default version of a policy.");
    Iam::delete_policy_version(&iam, &context, delete("v1")).await.unwrap();
    let made = Iam::create_policy_version(&iam, &context, version()).await.unwrap();
    assert_eq!(made.policy_version.unwrap().version_id.as_deref(), Some("v6"));
}

#[tokio::test]
async fn trust_names_principals_that_exist() {
    let metadata = Arc::new(MemMetadata::default());
    let iam = service(&metadata).await;
    let trusting = |arn: &str| CreateRoleRequest {
        assume_role_policy_document: Some(
            TRUST.replace(r#"{"Service":"lambda.amazonaws.com"}"#, &format!(r#"{{"AWS":"{arn}"}}"#)),
        ),
        ..new_role("trusting")
    };
    let other = "arn:aws:iam::000000000000:role/other";
    let error = Iam::create_role(&iam, &context(), trusting(other)).await.unwrap_err();
    assert_eq!(error.message, format!("Invalid principal in policy: \"AWS\":\"{other}\""));
    Iam::create_role(&iam, &context(), new_role("other")).await.unwrap();
    Iam::create_role(&iam, &context(), trusting(other)).await.unwrap();
    let roles = iam.roles();
    assert!(roles.trusts_service(other, "lambda.amazonaws.com", "000000000000", "arn:aws:lambda:::f"));
    let trusting = "arn:aws:iam::000000000000:role/trusting";
    assert!(!roles.trusts_service(trusting, "lambda.amazonaws.com", "000000000000", "arn:aws:lambda:::f"));
}
