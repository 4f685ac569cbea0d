use lambkin_core::clock::ManualClock;
use lambkin_model::iam::{CreateRoleRequest, Iam as _};
use lambkin_model::{Caller, RoleSession};
use lambkin_store::MemMetadata;

use super::*;
use crate::iam::IamService;
use crate::testing::context;

const ACCOUNT: &str = "000000000000";

struct Fixture {
    iam: IamService,
    sts: StsService,
    sessions: Arc<Sessions>,
    _dir: tempfile::TempDir,
}

impl Fixture {
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let clock = Arc::new(ManualClock::at(1_795_000_000_000));
        let iam = IamService::new(Arc::new(MemMetadata::default()), clock.clone()).await.unwrap();
        let sessions = Arc::new(Sessions::open(dir.path(), clock).unwrap());
        let sts = StsService::new(iam.roles(), Arc::clone(&sessions));
        Self { iam, sts, sessions, _dir: dir }
    }

    /// Makes a role with this principal and these further members of the statement.
    async fn role(&self, name: &str, principal: &str, more: &str) -> String {
        let trust = format!(
            r#"{{"Version":"2012-10-17","Statement":[{{"Effect":"Allow","Principal":{principal},
               "Action":"sts:AssumeRole"{more}}}]}}"#
        );
        let request = CreateRoleRequest {
            role_name: Some(name.to_owned()),
            path: Some("/team/".to_owned()),
            assume_role_policy_document: Some(trust),
            max_session_duration: Some(7200),
            ..CreateRoleRequest::default()
        };
        self.iam.create_role(&context(), request).await.unwrap().role.unwrap().arn.unwrap()
    }

    async fn assume(
        &self,
        context: &RequestContext,
        request: AssumeRoleRequest,
    ) -> Result<AssumeRoleResponse, (String, String)> {
        let answer = Sts::assume_role(&self.sts, context, request).await;
        answer.map_err(|error| (error.code.into_owned(), error.message))
    }

    /// The caller with the credentials of an answer.
    fn caller(&self, credentials: &Credentials) -> RequestContext {
        let key = credentials.access_key_id.as_deref().unwrap();
        let token = credentials.session_token.as_deref().unwrap();
        let found = self.sessions.verify(key, token).unwrap();
        assert_eq!(Some(found.secret.as_str()), credentials.secret_access_key.as_deref());
        RequestContext { caller: found.caller, ..context() }
    }
}

fn asking(arn: &str) -> AssumeRoleRequest {
    AssumeRoleRequest {
        role_arn: Some(arn.to_owned()),
        role_session_name: Some("me".to_owned()),
        ..AssumeRoleRequest::default()
    }
}

#[tokio::test]
async fn says_who_called() {
    let sts = Fixture::new().await.sts;
    let answer = sts.get_caller_identity(&context(), GetCallerIdentityRequest::default()).await.unwrap();
    assert_eq!(answer.account.as_deref(), Some(ACCOUNT));
    assert_eq!(answer.arn.as_deref(), Some("arn:aws:iam::000000000000:root"));
    assert_eq!(answer.user_id.as_deref(), Some(ACCOUNT));
}

#[tokio::test]
async fn a_role_is_assumed_by_whom_it_trusts() {
    let fixture = Fixture::new().await;
    let arn = fixture.role("worker", r#"{"AWS":"000000000000"}"#, "").await;
    let answer = fixture.assume(&context(), asking(&arn)).await.unwrap();
    let user = answer.assumed_role_user.unwrap();
    let session = "arn:aws:sts::000000000000:assumed-role/worker/me";
    assert_eq!(user.arn.as_deref(), Some(session));
    let id = fixture.iam.roles().find(&arn).unwrap().id;
    assert_eq!(user.assumed_role_id, Some(format!("{id}:me")));
    let credentials = answer.credentials.unwrap();
    assert_eq!(credentials.expiration, Some(Timestamp(1_795_003_600_000)));
    let session_context = fixture.caller(&credentials);
    assert_eq!(session_context.caller.arn, session);
    assert_eq!(session_context.caller.user_id, format!("{id}:me"));

    // The account is trusted, but which of its sessions is for identity policies to say.
    let (code, text) = fixture.assume(&session_context, asking(&arn)).await.unwrap_err();
    assert_eq!(code, "AccessDenied");
    assert_eq!(
        text,
        format!("User: {session} is not authorized to perform: sts:AssumeRole on resource: {arn}")
    );
    // A session that is named may.
    let next = fixture.role("next", &format!(r#"{{"AWS":"{arn}"}}"#), "").await;
    fixture.assume(&session_context, asking(&next)).await.unwrap();
    let long = AssumeRoleRequest { duration_seconds: Some(3601), ..asking(&next) };
    let (code, text) = fixture.assume(&session_context, long).await.unwrap_err();
    assert_eq!(code, "ValidationError");
    assert!(text.ends_with("by role chaining"), "{text}");
    assert_eq!(fixture.assume(&context(), asking(&next)).await.unwrap_err().0, "AccessDenied");
}

#[tokio::test]
async fn who_is_not_trusted_is_refused() {
    let fixture = Fixture::new().await;
    let lambda = fixture.role("lambda", r#"{"Service":"lambda.amazonaws.com"}"#, "").await;
    let other = fixture.role("other", r#"{"AWS":"111111111111"}"#, "").await;
    for arn in
        [&lambda, &other, "arn:aws:iam::000000000000:role/none", "arn:aws:iam::000000000000:role/worker"]
    {
        assert_eq!(fixture.assume(&context(), asking(arn)).await.unwrap_err().0, "AccessDenied", "{arn}");
    }
    let foreign = RequestContext { caller: Arc::new(Caller::root("111111111111", "AKIAX")), ..context() };
    fixture.assume(&foreign, asking(&other)).await.unwrap();
    let wrong = fixture.assume(&context(), asking("arn:aws:iam::000000000000:user/x")).await;
    assert_eq!(wrong.unwrap_err(), ("ValidationError".to_owned(), "Request ARN is invalid".to_owned()));
}

#[tokio::test]
async fn an_external_id_counts() {
    let fixture = Fixture::new().await;
    let condition = r#","Condition":{"StringEquals":{"sts:ExternalId":"key"}}"#;
    let arn = fixture.role("r", r#""*""#, condition).await;
    assert!(fixture.assume(&context(), asking(&arn)).await.is_err());
    let with = |id: &str| AssumeRoleRequest { external_id: Some(id.to_owned()), ..asking(&arn) };
    assert!(fixture.assume(&context(), with("wrong")).await.is_err());
    fixture.assume(&context(), with("key")).await.unwrap();
}

#[tokio::test]
async fn sessions_last_as_long_as_the_role_says() {
    let fixture = Fixture::new().await;
    let arn = fixture.role("r", r#""*""#, "").await;
    let lasting = |seconds: i32| AssumeRoleRequest { duration_seconds: Some(seconds), ..asking(&arn) };
    let made = fixture.assume(&context(), lasting(7200)).await.unwrap().credentials.unwrap();
    assert_eq!(made.expiration, Some(Timestamp(1_795_007_200_000)));
    let (code, text) = fixture.assume(&context(), lasting(7201)).await.unwrap_err();
    assert_eq!(code, "ValidationError");
    assert_eq!(text, "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
}

#[tokio::test]
async fn what_would_do_nothing_is_refused() {
    let fixture = Fixture::new().await;
    let arn = fixture.role("r", r#""*""#, "").await;
    let request = AssumeRoleRequest { policy: Some("{}".to_owned()), ..asking(&arn) };
    let (code, text) = fixture.assume(&context(), request).await.unwrap_err();
    assert_eq!((code.as_str(), text.as_str()), ("ValidationError", "Lambkin does not support Policy yet."));
}

#[tokio::test]
async fn an_account_has_sessions_of_its_own() {
    let fixture = Fixture::new().await;
    let request =
        GetSessionTokenRequest { duration_seconds: Some(7200), ..GetSessionTokenRequest::default() };
    let answer = fixture.sts.get_session_token(&context(), request).await.unwrap();
    let credentials = answer.credentials.unwrap();
    assert_eq!(credentials.expiration, Some(Timestamp(1_795_003_600_000)));
    let again = fixture.caller(&credentials);
    assert_eq!(again.caller.arn, "arn:aws:iam::000000000000:root");
    let refused = fixture.sts.get_session_token(&again, GetSessionTokenRequest::default()).await;
    assert_eq!(refused.unwrap_err().message, "Cannot call GetSessionToken with session credentials");
    let role = Caller {
        principal: Principal::Session(RoleSession {
            role_arn: "arn:aws:iam::000000000000:role/r".to_owned(),
            session_name: "s".to_owned(),
            source_function: None,
        }),
        ..Caller::root(ACCOUNT, "ASIAX")
    };
    let role = RequestContext { caller: Arc::new(role), ..context() };
    assert_eq!(
        fixture.sts.get_session_token(&role, GetSessionTokenRequest::default()).await.unwrap_err().code,
        "AccessDenied"
    );
}
