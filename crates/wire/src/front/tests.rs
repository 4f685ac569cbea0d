//! Requests through the whole front, without sockets.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll};

use http_body::Frame;
use http_body_util::BodyExt as _;
use lambkin_model::schema::Service;
use lambkin_model::{lambda, logs, sts};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};

use super::*;
use crate::sigv4::tests::{Case, KEY, Keys, NOW};

/// Answers every operation with what the tests ask for by the function's name.
struct Echo {
    schema: &'static Service,
    go: Arc<Notify>,
    done: mpsc::UnboundedSender<String>,
}

impl ServiceHandler for Echo {
    fn schema(&self) -> &'static Service {
        self.schema
    }

    fn call<'a>(
        &'a self,
        context: &'a RequestContext,
        operation: &'static Operation,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, AwsError>> {
        Box::pin(async move {
            let name = input.members["FunctionName"].as_str().unwrap_or_default();
            match (operation.name, name) {
                (_, "panics") => panic!("as asked"),
                (_, "slow") => {
                    let _ = self.done.send("started".to_owned());
                    self.go.notified().await;
                    let _ = self.done.send(context.request_id.clone());
                    Ok(Output::default())
                }
                (_, "none") => {
                    Err(AwsError::new("ResourceNotFoundException", 404, "Function not found: none"))
                }
                ("Invoke", _) => {
                    let members = json!({"StatusCode": 200, "ExecutedVersion": "$LATEST"});
                    Ok(Output { members, payload: input.payload, events: None })
                }
                ("GetFunctionConfiguration", _) => Ok(Output {
                    members: json!({
                        "FunctionName": name, "RevisionId": context.request_id,
                        "Description": format!("{} {}", context.endpoint, context.region),
                        "Role": context.caller.account.as_ref(),
                    }),
                    ..Output::default()
                }),
                ("GetCallerIdentity", _) => Ok(Output {
                    members: json!({"Account": context.caller.account.as_ref(), "Arn": context.caller.arn}),
                    ..Output::default()
                }),
                ("DescribeLogGroups", _) => {
                    Ok(Output { members: json!({"logGroups": [{"logGroupName": "g"}]}), ..Output::default() })
                }
                ("AssumeRoleWithWebIdentity", _) => Ok(Output {
                    members: json!({"Audience": context.caller.account.as_ref()}),
                    ..Output::default()
                }),
                _ => Err(AwsError::not_implemented(self.schema.name, operation.name)),
            }
        })
    }
}

struct Internal;

impl InternalRoutes for Internal {
    fn handle(&self, request: Parts, body: Bytes) -> BoxFuture<'_, Response<Full<Bytes>>> {
        Box::pin(async move { Response::new(Full::from(format!("{} {}", request.uri.path(), body.len()))) })
    }
}

struct Setup {
    front: Arc<Front>,
    go: Arc<Notify>,
    done: mpsc::UnboundedReceiver<String>,
}

fn setup(mode: Mode) -> Setup {
    let go = Arc::new(Notify::new());
    let (sender, done) = mpsc::unbounded_channel();
    let services = [&lambda::SERVICE, &logs::SERVICE, &sts::SERVICE]
        .into_iter()
        .map(|schema| {
            let echo = Echo { schema, go: Arc::clone(&go), done: sender.clone() };
            Arc::new(echo) as Arc<dyn ServiceHandler>
        })
        .collect();
    let front = Front::new(FrontConfig {
        services,
        authenticator: Arc::new(Keys),
        mode,
        default_region: "eu-central-1".into(),
        now: Arc::new(|| Duration::from_secs(NOW as u64)),
        internal: Some(Arc::new(Internal)),
        limits: Limits { body: 1000, ..Limits::default() },
    });
    Setup { front: Arc::new(front), go, done }
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }
}

async fn send<B>(front: &Front, request: Request<B>) -> Answer
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Send,
{
    let (parts, body) = front.handle(request, Scheme::Http).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let id = parts.headers.get("x-amzn-requestid").map(|id| id.to_str().unwrap().to_owned());
    if let Some(id) = id {
        assert_eq!(uuid::Uuid::parse_str(&id).unwrap().get_version_num(), 4);
    }
    Answer { status: parts.status.as_u16(), headers: parts.headers, body }
}

fn plain(method: &str, uri: &str, headers: &[(&str, &str)], body: &'static str) -> Request<Full<Bytes>> {
    let mut request = Request::builder().method(method).uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Full::from(body)).unwrap()
}

fn signed(case: &Case) -> Request<Full<Bytes>> {
    let wire = case.sign();
    Request::from_parts(wire.parts, Full::from(wire.body))
}

const FORM: (&str, &str) = ("content-type", "application/x-www-form-urlencoded; charset=utf-8");
const INVOKE: &str = "/2015-03-31/functions/f/invocations";
const TARGET: (&str, &str) = ("x-amz-target", "Logs_20140328.DescribeLogGroups");
const JSON11: (&str, &str) = ("content-type", "application/x-amz-json-1.1");

#[tokio::test]
async fn signed_requests_reach_their_service() {
    let Setup { front, .. } = setup(Mode::Strict);
    let got = send(&front, signed(&Case::default())).await;
    assert_eq!((got.status, got.text()), (200, "{}"));
    assert_eq!(got.header("x-amz-executed-version"), "$LATEST");
    assert_eq!(got.header("content-type"), "application/json");

    let case = Case {
        method: "GET",
        path: "/2015-03-31/functions/f/configuration".into(),
        body: Vec::new(),
        ..Case::default()
    };
    for presigned in [false, true] {
        let got = send(&front, signed(&Case { presigned, token: true, ..case.clone() })).await;
        let json = got.json();
        assert_eq!(json["FunctionName"], "f");
        assert_eq!(json["RevisionId"], got.header("x-amzn-requestid"));
        assert_eq!(json["Description"], "http://127.0.0.1:4566 us-east-1");
        assert_eq!(json["Role"], "111122223333");
    }

    let headers =
        vec![(TARGET.0.to_owned(), TARGET.1.to_owned()), (JSON11.0.to_owned(), JSON11.1.to_owned())];
    let case = Case { service: &logs::SERVICE, path: "/".into(), headers, ..Case::default() };
    let got = send(&front, signed(&case)).await;
    assert_eq!((got.status, got.text()), (200, r#"{"logGroups":[{"logGroupName":"g"}]}"#));

    let case = Case {
        service: &sts::SERVICE,
        path: "/".into(),
        headers: vec![(FORM.0.to_owned(), FORM.1.to_owned())],
        body: b"Action=GetCallerIdentity&Version=2011-06-15".to_vec(),
        ..Case::default()
    };
    let got = send(&front, signed(&case)).await;
    assert_eq!(
        got.text(),
        format!(
            "<GetCallerIdentityResponse xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
<GetCallerIdentityResult><Account>111122223333</Account><Arn>arn:aws:iam::111122223333:user/u</Arn>\
</GetCallerIdentityResult><ResponseMetadata><RequestId>{}</RequestId></ResponseMetadata>\
</GetCallerIdentityResponse>",
            got.header("x-amzn-requestid")
        )
    );
    assert_eq!(got.header("content-type"), "text/xml");
}

#[tokio::test]
async fn strangers_are_refused_in_the_services_words() {
    let Setup { front, .. } = setup(Mode::Strict);
    let got = send(&front, plain("POST", INVOKE, &[], "{}")).await;
    assert_eq!((got.status, got.text()), (403, r#"{"message":"Missing Authentication Token"}"#));
    assert_eq!(got.header("x-amzn-errortype"), "MissingAuthenticationTokenException");
    let got = send(&front, plain("POST", "/", &[TARGET, JSON11], "{}")).await;
    assert_eq!(got.status, 400);
    assert_eq!(
        got.text(),
        r#"{"__type":"MissingAuthenticationTokenException","message":"Missing Authentication Token"}"#
    );
    let got = send(&front, plain("POST", "/", &[FORM], "Action=GetCallerIdentity&Version=2011-06-15")).await;
    assert_eq!(got.status, 403);
    assert!(got.text().contains("<Type>Sender</Type><Code>MissingAuthenticationToken</Code>"));

    let mut request = signed(&Case::default());
    *request.body_mut() = Full::from("{} ");
    let got = send(&front, request).await;
    assert_eq!((got.status, got.header("x-amzn-errortype")), (403, "InvalidSignatureException"));
    let mut request = signed(&Case::default());
    let value = request.headers()["authorization"].to_str().unwrap().replace(KEY, "AKIDOTHER");
    request.headers_mut().insert("authorization", value.parse().unwrap());
    let got = send(&front, request).await;
    assert_eq!(got.header("x-amzn-errortype"), "UnrecognizedClientException");
    assert_eq!(got.text(), r#"{"message":"The security token included in the request is invalid."}"#);
}

#[tokio::test]
async fn operations_without_authentication_need_none() {
    let Setup { front, .. } = setup(Mode::Strict);
    let form = "Action=AssumeRoleWithWebIdentity&Version=2011-06-15&RoleArn=arn:aws:iam::111122223333:role/r\
&RoleSessionName=session&WebIdentityToken=token";
    let got = send(&front, plain("POST", "/", &[FORM], form)).await;
    assert_eq!(got.status, 200, "{}", got.text());
    assert!(got.text().contains("<Audience></Audience>"));
}

#[tokio::test]
async fn dev_mode_takes_everyone() {
    let Setup { front, .. } = setup(Mode::Dev);
    let uri = "http://localhost:1/2015-03-31/functions/f/configuration";
    let got = send(&front, plain("GET", uri, &[], "")).await.json();
    assert_eq!(
        (&got["Role"], &got["Description"]),
        (&json!("000000000000"), &json!("http://localhost:1 eu-central-1"))
    );
    let credential = |key: &str| {
        format!(
            "AWS4-HMAC-SHA256 Credential={key}/20200101/ap-south-1/lambda/aws4_request, SignedHeaders=host, Signature=0"
        )
    };
    let (stranger, known) = (credential("anything"), credential(KEY));
    let date = ("x-amz-date", "20200101T000000Z");
    let got = send(&front, plain("GET", uri, &[("authorization", &stranger), date], "")).await.json();
    assert_eq!(
        (&got["Role"], &got["Description"]),
        (&json!("000000000000"), &json!("http://localhost:1 ap-south-1"))
    );
    let got = send(&front, plain("GET", uri, &[("authorization", &known), date], "")).await.json();
    assert_eq!(got["Role"], "111122223333", "a known key keeps its identity");
    let got = send(&front, plain("GET", uri, &[("authorization", "Basic x")], "")).await;
    assert_eq!(got.status, 200);
    let streaming = [("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER")];
    let got = send(&front, plain("POST", INVOKE, &streaming, "2\r\n[]\r\n0\r\n\r\n")).await;
    assert_eq!(got.text(), "[]");
}

#[tokio::test]
async fn unknown_operations_and_services_say_so() {
    let Setup { front, .. } = setup(Mode::Dev);
    let got = send(&front, plain("GET", "/nothing", &[("host", "lambda.x")], "")).await;
    assert_eq!((got.status, got.header("x-amzn-errortype")), (404, "UnknownOperationException"));
    let got = send(&front, plain("POST", "/", &[("x-amz-target", "Logs_20140328.Nope"), JSON11], "{}")).await;
    assert_eq!((got.status, got.text()), (400, r#"{"__type":"UnknownOperationException"}"#));
    let scope =
        "AWS4-HMAC-SHA256 Credential=a/20261123/us-east-1/sts/aws4_request, SignedHeaders=host, Signature=0";
    let sts = [("authorization", scope), ("x-amz-date", "20261123T120000Z"), FORM];
    let got = send(&front, plain("POST", "/", &sts, "Action=Nope&Version=2011-06-15")).await;
    assert_eq!(got.status, 400);
    assert!(
        got.text().contains(
            "<Code>InvalidAction</Code><Message>Could not find operation Nope for version 2011-06-15</Message>"
        ),
        "{}",
        got.text()
    );
    let got = send(&front, plain("POST", "/", &sts, "")).await;
    assert!(got.text().contains("<Code>MissingAction</Code>"));
    let got =
        send(&front, plain("POST", "/", &[("x-amz-target", "DynamoDB_20120810.ListTables"), JSON11], "{}"))
            .await;
    assert_eq!(got.status, 404);
    assert_eq!(
        got.text(),
        r#"{"__type":"UnknownOperationException","message":"Lambkin does not have a service for X-Amz-Target 'DynamoDB_20120810.ListTables'."}"#
    );
    let scope = scope.replace("/sts/", "/dynamodb/");
    let got = send(&front, plain("GET", "/x", &[("authorization", &scope), sts[1]], "")).await;
    assert_eq!(got.text(), r#"{"message":"Lambkin does not have service 'dynamodb'."}"#);
    let got = send(&front, plain("GET", "/2015-03-31/functions/f/policy", &[], "")).await;
    assert_eq!((got.status, got.header("x-amzn-errortype")), (501, "NotImplementedException"));
}

#[tokio::test]
async fn input_is_validated_before_the_handler() {
    let Setup { front, .. } = setup(Mode::Dev);
    let got = send(&front, plain("POST", "/2015-03-31/functions/panics%20%20/invocations", &[], "{}")).await;
    assert_eq!((got.status, got.header("x-amzn-errortype")), (400, "ValidationException"));
    assert!(
        got.json()["message"].as_str().unwrap().starts_with("1 validation error detected: "),
        "{}",
        got.text()
    );
    let got = send(&front, plain("POST", "/2015-03-31/functions", &[], "{")).await;
    assert_eq!((got.status, got.header("x-amzn-errortype")), (400, "SerializationException"));
    let got = send(&front, plain("GET", "/2015-03-31/functions/none", &[], "")).await;
    assert_eq!((got.status, got.text()), (404, r#"{"Type":"User","Message":"Function not found: none"}"#));
}

#[tokio::test]
async fn a_panic_fails_only_its_call() {
    let Setup { front, .. } = setup(Mode::Dev);
    let got = send(&front, plain("GET", "/2015-03-31/functions/panics", &[], "")).await;
    assert_eq!((got.status, got.header("x-amzn-errortype")), (500, "ServiceException"));
    assert_eq!(got.json()["Type"], "Service");
    assert_eq!(send(&front, plain("POST", INVOKE, &[], "{}")).await.status, 200);
}

#[tokio::test]
async fn a_call_outlives_its_client() {
    let Setup { front, go, mut done } = setup(Mode::Dev);
    let client = Arc::clone(&front);
    let call = tokio::spawn(async move {
        client.handle(plain("GET", "/2015-03-31/functions/slow", &[], ""), Scheme::Http).await;
    });
    assert_eq!(done.recv().await.unwrap(), "started");
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    go.notify_one();
    assert_eq!(done.recv().await.unwrap().len(), 36);
}

/// A body in pieces, of no declared length.
struct Pieces(VecDeque<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Poll::Ready(self.0.pop_front().map(|piece| Ok(Frame::data(piece))))
    }
}

#[tokio::test]
async fn bodies_are_limited_by_operation() {
    let Setup { front, .. } = setup(Mode::Dev);
    let pieces = |sizes: &[usize]| {
        let pieces = sizes.iter().map(|size| Bytes::from(vec![b'1'; *size])).collect();
        Request::builder().method("POST").uri(INVOKE).body(Pieces(pieces)).unwrap()
    };
    let max = 6_291_456;
    assert_eq!(send(&front, pieces(&[max])).await.body.len(), max);
    assert_eq!(send(&front, pieces(&[1, 0, max - 2, 1])).await.body.len(), max);
    let text = "Request must be smaller than 6291456 bytes for the InvokeFunction operation";
    for sizes in [&[max + 1][..], &[max, 1], &[1, max]] {
        let got = send(&front, pieces(sizes)).await;
        assert_eq!((got.status, got.header("x-amzn-errortype")), (413, "RequestEntityTooLargeException"));
        assert_eq!(got.json(), json!({ "message": text }));
    }
    let length = [("content-length", "6291457")];
    assert_eq!(send(&front, plain("POST", INVOKE, &length, "")).await.status, 413);
    let length = [("content-length", "70167212")];
    let got = send(&front, plain("POST", "/2015-03-31/functions", &length, "")).await;
    assert_eq!(
        got.json()["message"],
        "Request must be smaller than 70167211 bytes for the CreateFunction operation"
    );
    // A limit before a signature, and a general one.
    let Setup { front, .. } = setup(Mode::Strict);
    assert_eq!(send(&front, plain("POST", INVOKE, &[("content-length", "6291457")], "")).await.status, 413);
    let length = [("content-length", "1001"), FORM];
    assert_eq!(send(&front, plain("POST", "/", &length, "")).await.status, 413);
}

#[tokio::test]
async fn internal_routes_are_apart() {
    let Setup { front, .. } = setup(Mode::Strict);
    let got = send(&front, plain("POST", "/_lambkin/health?x", &[], "abc")).await;
    assert_eq!((got.status, got.text()), (200, "/_lambkin/health 3"));
    let got = send(&front, plain("POST", "/_lambkin/x", &[("content-length", "1001")], "")).await;
    assert_eq!(got.status, 413);
}

#[tokio::test]
async fn a_stranger_to_its_scope_is_told_the_right_service() {
    let Setup { front, .. } = setup(Mode::Strict);
    let headers =
        vec![(TARGET.0.to_owned(), TARGET.1.to_owned()), (JSON11.0.to_owned(), JSON11.1.to_owned())];
    let case = Case { path: "/".into(), headers, ..Case::default() };
    let got = send(&front, signed(&case)).await;
    assert_eq!(got.status, 400);
    assert_eq!(
        got.text(),
        r#"{"__type":"InvalidSignatureException","message":"Credential should be scoped to correct service: 'logs'."}"#
    );
}
