//! Requests to the AWS APIs: routing, signatures, chunked bodies, all protocols, validation, answers. Input:
//! method, space, target, line feed, header lines, an empty line, the body.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request};
use http_body_util::{BodyExt as _, Full};
use lambkin_model::handler::BoxFuture;
use lambkin_model::schema::{Kind, Operation, Service, ShapeId};
use lambkin_model::{AwsError, Caller, Input, Output, RequestContext, ServiceHandler, lambda, logs, sts};
use lambkin_wire::{Authenticator, Front, FrontConfig, Limits, Lookup, Mode, Scheme};
use serde_json::Value;

/// Where a request with a signature by this key is known.
const KEY: &str = "AKIDEXAMPLE";

struct Keys;

impl Authenticator for Keys {
    fn lookup(&self, access_key_id: &str, session_token: Option<&str>) -> Lookup {
        match (access_key_id, session_token) {
            (KEY, None) => Lookup::Found {
                secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY".into(),
                caller: Arc::new(Caller::root("111122223333", KEY)),
            },
            (KEY, Some(_)) => Lookup::InvalidToken,
            _ => Lookup::UnknownKey,
        }
    }
}

struct Nothing;

impl lambda::Lambda for Nothing {}
impl logs::Logs for Nothing {}
impl sts::Sts for Nothing {}

/// Lets the generated code read the input, then answers with what it was asked.
struct Mirror(Box<dyn ServiceHandler>);

impl ServiceHandler for Mirror {
    fn schema(&self) -> &'static Service {
        self.0.schema()
    }

    fn call<'a>(
        &'a self,
        context: &'a RequestContext,
        operation: &'static Operation,
        input: Input,
    ) -> BoxFuture<'a, Result<Output, AwsError>> {
        Box::pin(async move {
            let answer = self.0.call(context, operation, input.clone()).await;
            let refused = answer.expect_err("nothing is implemented");
            // base64 is read as late as this
            if refused.code == "SerializationException" && refused.status == 400 {
                return Err(refused);
            }
            assert_eq!(refused.status, 501, "validated input does not fit its type: {refused:?}");
            Ok(Output { members: input.members, payload: input.payload, events: None })
        })
    }
}

fn front(mode: Mode) -> Front {
    let handlers: [Box<dyn ServiceHandler>; 3] = [
        Box::new(lambda::Handler(Arc::new(Nothing))),
        Box::new(logs::Handler(Arc::new(Nothing))),
        Box::new(sts::Handler(Arc::new(Nothing))),
    ];
    Front::new(FrontConfig {
        services: handlers.into_iter().map(|handler| Arc::new(Mirror(handler)) as _).collect(),
        authenticator: Arc::new(Keys),
        mode,
        default_region: "us-east-1".into(),
        now: Arc::new(|| Duration::from_secs(1_795_435_200)),
        internal: None,
        limits: Limits::default(),
    })
}

/// Sends the request to a strict server and to one that lets everybody in: each must answer, and not by an
/// internal error.
pub fn run(data: &[u8]) {
    thread_local! {
        static FRONTS: [Front; 2] = [front(Mode::Strict), front(Mode::Dev)];
    }
    let Some(request) = parse(data) else { return };
    FRONTS.with(|fronts| {
        for front in fronts {
            let response = crate::block_on(front.handle(request.clone(), Scheme::Http));
            let (parts, body) = response.into_parts();
            let body = crate::block_on(body.collect()).unwrap().to_bytes();
            assert!(
                parts.status.as_u16() != 500,
                "{} {} -> {}",
                request.method(),
                request.uri(),
                String::from_utf8_lossy(&body)
            );
            assert!(parts.headers.contains_key("x-amzn-requestid"));
        }
    });
}

fn parse(data: &[u8]) -> Option<Request<Full<Bytes>>> {
    let (line, mut rest) = split_line(data)?;
    let (method, target) = std::str::from_utf8(line).ok()?.split_once(' ')?;
    let mut request = Request::builder().method(method).uri(target);
    loop {
        let (line, after) = split_line(rest)?;
        rest = after;
        if line.is_empty() {
            break;
        }
        let at = line.iter().position(|byte| *byte == b':')?;
        let (name, value) = line.split_at(at);
        let value = value[1..].trim_ascii();
        request = request.header(HeaderName::from_bytes(name).ok()?, HeaderValue::from_bytes(value).ok()?);
    }
    request.body(Full::new(Bytes::copy_from_slice(rest))).ok()
}

fn split_line(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = data.iter().position(|byte| *byte == b'\n')?;
    Some((&data[..at], &data[at + 1..]))
}

const AUTHORIZATION: &str = "Authorization: AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261123/us-east-1/lambda/\
aws4_request, SignedHeaders=host;x-amz-date, Signature=\
0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\nX-Amz-Date: 20261123T120000Z\nHost: x\n";

/// One request of every operation in every protocol of its service, and some of special forms.
#[must_use]
pub fn seeds() -> Vec<Vec<u8>> {
    let chunked = "5;chunk-signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\nhello\r\n\
0;chunk-signature=0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef\r\nx-amz-checksum-crc32:AAAA\r\n\r\n";
    let special = [
        format!(
            "POST /2015-03-31/functions/f/invocations?Qualifier=1\n{AUTHORIZATION}\
X-Amz-Content-Sha256: STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER\nX-Amz-Invocation-Type: Event\n\n{chunked}"
        ),
        "GET /2015-03-31/functions/?MaxItems=10&X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIDEXAMPLE%2F\
20261123%2Fus-east-1%2Flambda%2Faws4_request&X-Amz-Date=20261123T120000Z&X-Amz-Expires=300&X-Amz-SignedHeaders=host\
&X-Amz-Signature=00&X-Amz-Security-Token=%2F\nHost: x\n\n"
            .to_owned(),
        format!("DELETE /2017-03-31/tags/arn%3Aaws%3Alambda%3Aus-east-1%3A000000000000%3Afunction%3Af?tagKeys=a&tagKeys=b\n{AUTHORIZATION}\n"),
        "POST /\nContent-Type: application/x-www-form-urlencoded\n\nAction=GetCallerIdentity&Version=2011-06-15".to_owned(),
    ];
    let mut all: Vec<Vec<u8>> = special.map(String::into_bytes).to_vec();
    for service in [&lambda::SERVICE, &logs::SERVICE, &sts::SERVICE] {
        for operation in service.operations {
            let members = operation.input.map_or(Value::Null, |shape| sample(service, shape, 0));
            all.extend(requests(service, operation, &members));
        }
    }
    all
}

/// An operation's requests: the one by its binding to a path, else those of the protocols that use one path.
fn requests(service: &Service, operation: &Operation, members: &Value) -> Vec<Vec<u8>> {
    let authorization = AUTHORIZATION.replace("/lambda/", &format!("/{}/", service.signing_name));
    let text = members.to_string();
    if operation.uri != "/" {
        let mut path = operation.uri.to_owned();
        while let Some((before, rest)) = path.split_once('{') {
            let after = rest.split_once('}').map_or("", |(_, after)| after);
            path = format!("{before}name{after}");
        }
        return vec![format!("{} {path}\n{authorization}\n{text}", operation.method).into_bytes()];
    }
    let mut form = format!("Action={}&Version={}", operation.name, service.api_version);
    if let Value::Object(members) = members {
        for (name, value) in members {
            form.push_str(&format!("&{name}={}", value.as_str().unwrap_or("1")));
        }
    }
    let mut cbor = format!(
        "POST /service/{}/operation/{}\n{authorization}smithy-protocol: rpc-v2-cbor\nContent-Type: application/cbor\n\n",
        service.target_prefix, operation.name
    )
    .into_bytes();
    to_cbor(members, &mut cbor);
    vec![
        format!(
            "POST /\n{authorization}Content-Type: application/x-amz-json-1.1\nX-Amz-Target: {}.{}\n\n{text}",
            service.target_prefix, operation.name
        )
        .into_bytes(),
        format!("POST /\n{authorization}Content-Type: application/x-www-form-urlencoded\n\n{form}")
            .into_bytes(),
        cbor,
    ]
}

/// Some value of a shape.
fn sample(service: &Service, shape: ShapeId, depth: usize) -> Value {
    let Some(shape) = service.shape(shape) else { return Value::Null };
    match &shape.kind {
        Kind::Structure(structure) if depth < 4 => structure
            .members
            .iter()
            .map(|member| (member.name.to_owned(), sample(service, member.shape, depth + 1)))
            .collect(),
        Kind::List { member, .. } => vec![sample(service, *member, depth + 1)].into(),
        Kind::Map { value, .. } => {
            [("key".to_owned(), sample(service, *value, depth + 1))].into_iter().collect()
        }
        Kind::String { values: [first, ..], .. } => (*first).into(),
        Kind::String { .. } => "name".into(),
        Kind::Boolean => true.into(),
        Kind::Blob { .. } => "aGVsbG8=".into(),
        Kind::Structure(_) => Value::Object(serde_json::Map::new()),
        _ => 100.into(),
    }
}

/// Enough of CBOR for samples.
fn to_cbor(value: &Value, out: &mut Vec<u8>) {
    let head = |major: u8, length: usize, out: &mut Vec<u8>| {
        out.push(major << 5 | 25);
        out.extend(u16::try_from(length).unwrap().to_be_bytes());
    };
    match value {
        Value::Null => out.push(0xf6),
        Value::Bool(flag) => out.push(0xf4 + u8::from(*flag)),
        Value::Number(number) => head(0, usize::try_from(number.as_u64().unwrap_or(0)).unwrap(), out),
        Value::String(text) => {
            head(3, text.len(), out);
            out.extend_from_slice(text.as_bytes());
        }
        Value::Array(items) => {
            head(4, items.len(), out);
            items.iter().for_each(|item| to_cbor(item, out));
        }
        Value::Object(members) => {
            head(5, members.len(), out);
            for (name, member) in members {
                head(3, name.len(), out);
                out.extend_from_slice(name.as_bytes());
                to_cbor(member, out);
            }
        }
    }
}

/// Words of the protocols.
pub const WORDS: &[&str] = &[
    "null",
    "true",
    "{}",
    "[]",
    "\"\"",
    "\"name\"",
    "1e999",
    "-0.0",
    "0.5",
    "\\ud800",
    "{\"a\":",
    "[[[[[[[[",
    "\r\n",
    "\n",
    ":",
    "&",
    "=",
    "%",
    "%00",
    "%ff",
    "+",
    "/",
    "//",
    "..",
    "?",
    ".member.1",
    ".entry.1.key",
    ".1",
    "X-Amz-Date: ",
    "X-Amz-Signature=",
    "X-Amz-Expires=",
    "Credential=",
    "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    "STREAMING-AWS4-HMAC-SHA256-PAYLOAD",
    "X-Amz-Content-Sha256: ",
    "Content-Encoding: aws-chunked\n",
    "Content-Type: application/cbor\n",
    "smithy-protocol: rpc-v2-cbor\n",
    "Content-Length: 18446744073709551615\n",
    "ffffffffffffffff",
    "chunk-signature=",
    "\u{bf}\u{ff}",
    "é",
    "$LATEST",
    "arn:aws:lambda:us-east-1:1:function:f:1",
];
