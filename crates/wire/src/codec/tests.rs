//! Hand-computed bytes for every protocol, and round trips.

mod kitchen;

use http::Request as HttpRequest;
use proptest::prelude::*;
use serde_json::json;

use super::*;
use kitchen::SERVICE;

const RPC: [Protocol; 3] = [Protocol::Json10, Protocol::Json11, Protocol::RpcV2Cbor];

fn op(name: &str) -> &'static Operation {
    SERVICE.operation(name).unwrap()
}

fn request(uri: &str, headers: &[(&str, &str)]) -> Parts {
    let mut request = HttpRequest::builder().method("POST").uri(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap().into_parts().0
}

fn decode_with(
    protocol: Protocol,
    name: &str,
    parts: &Parts,
    labels: Labels<'_>,
    body: &[u8],
) -> Result<Input, AwsError> {
    let body = Bytes::copy_from_slice(body);
    decode(protocol, &SERVICE, op(name), Request { parts, labels, body })
}

fn decode_body(protocol: Protocol, name: &str, body: &[u8]) -> Result<Value, AwsError> {
    decode_with(protocol, name, &request("/", &[]), Vec::new(), body).map(|input| input.members)
}

fn refusal(protocol: Protocol, body: &str) -> (String, u16, String) {
    let error = decode_body(protocol, "All", body.as_bytes()).unwrap_err();
    (error.code.into_owned(), error.status, error.message)
}

struct Answer {
    status: u16,
    headers: http::HeaderMap,
    body: Bytes,
}

impl Answer {
    fn new(response: Response<impl Into<ResponseBody>>) -> Self {
        let (parts, body) = response.into_parts();
        let body = futures_body(body.into());
        Self { status: parts.status.as_u16(), headers: parts.headers, body }
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }
}

/// These bodies are there at once.
fn futures_body(body: ResponseBody) -> Bytes {
    use http_body_util::BodyExt as _;
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(body.collect()).unwrap().to_bytes()
}

fn answer(protocol: Protocol, name: &str, members: Value, payload: Option<&'static [u8]>) -> Answer {
    let output = Output { members, payload: payload.map(Bytes::from_static), events: None };
    Answer::new(encode(protocol, &SERVICE, op(name), output, "id-1"))
}

fn error_answer(protocol: Protocol, error: &AwsError) -> Answer {
    Answer::new(encode_error(protocol, Some(&SERVICE), error, "id-1"))
}

#[test]
fn rest_json_reads_every_location() {
    let parts = request(
        "/bound/x?tag=a&tag=b%20c&max=7&dry=true&other=1",
        &[
            ("x-size", "12345678901"),
            ("x-since", "Mon, 23 Nov 2026 12:00:00 GMT"),
            ("x-kinds", "a, \"b,c\""),
            ("x-kinds", "d"),
            ("x-meta-one", "1"),
            ("x-meta-two", "2"),
        ],
    );
    let labels = vec![("Id", "arn%3Aaws%3Ax%2Fy+z")];
    let body = br#"{"note":"n","nested":{"leaf":"l","when":"2026-11-23T12:00:00Z","inner":{"when":1.5},"new":1},"Id":"no"}"#;
    let input = decode_with(Protocol::RestJson, "Bound", &parts, labels, body).unwrap();
    assert_eq!(
        input.members,
        json!({
            "Id": "arn:aws:x/y+z", "Tags": ["a", "b c"], "Max": 7, "Dry": true, "Size": 12345678901_i64,
            "Since": 1795435200, "Kinds": ["a", "b,c", "d"], "Meta": {"one": "1", "two": "2"}, "Note": "n",
            "Nested": {"Leaf": "l", "When": 1795435200, "Inner": {"When": 1.5}},
        })
    );
    assert!(input.payload.is_none());
    let bad = request("/bound/x?max=many", &[]);
    let error = decode_with(Protocol::RestJson, "Bound", &bad, Vec::new(), b"").unwrap_err();
    assert_eq!(error.code, "SerializationException");
    assert_eq!(error.message, "STRING_VALUE can not be converted to an Integer");
}

#[test]
fn rest_json_writes_every_location() {
    let members = json!({
        "Size": 5, "Since": 1795435200, "Kinds": ["a", "b,c"], "Meta": {"one": "1"}, "Code": 202, "Note": "n\"",
        "Nested": {"When": 1795435200, "Leaf": null}, "Unknown": 1,
    });
    let got = answer(Protocol::RestJson, "Bound", members, None);
    assert_eq!(got.status, 202);
    assert_eq!(got.text(), r#"{"note":"n\"","nested":{"when":"2026-11-23T12:00:00Z"}}"#);
    assert_eq!(got.header("x-size"), Some("5"));
    assert_eq!(got.header("x-since"), Some("Mon, 23 Nov 2026 12:00:00 GMT"));
    assert_eq!(got.header("x-kinds"), Some("a, \"b,c\""));
    assert_eq!(got.header("x-meta-one"), Some("1"));
    assert_eq!(got.header("content-type"), Some("application/json"));
    assert_eq!(got.header("x-amzn-requestid"), Some("id-1"));
    // Header injection is refused.
    let got = answer(Protocol::RestJson, "Bound", json!({"Kinds": ["a\r\nx: y"]}), None);
    assert_eq!(got.header("x-kinds"), None);
}

#[test]
fn rest_json_hands_payloads_through() {
    let parts = request("/raw", &[("x-kind", "k")]);
    let body = Bytes::from_static(b"not json");
    let at = body.as_ptr();
    let input =
        decode(Protocol::RestJson, &SERVICE, op("Raw"), Request { parts: &parts, labels: Vec::new(), body })
            .unwrap();
    assert_eq!(input.members, json!({"Kind": "k"}));
    assert_eq!(input.payload.unwrap().as_ptr(), at, "the payload must not be copied");
    let got = answer(Protocol::RestJson, "Raw", json!({"Kind": "k"}), Some(b"\x00\xff"));
    assert_eq!((got.body.as_ref(), got.header("x-kind")), (&b"\x00\xff"[..], Some("k")));
    assert_eq!(got.header("content-type"), Some("application/octet-stream"));

    let nested = decode_body(Protocol::RestJson, "Wrapped", br#"{"leaf":"l"}"#).unwrap();
    assert_eq!(nested, json!({"Nested": {"Leaf": "l"}}));
    assert_eq!(decode_body(Protocol::RestJson, "Wrapped", b"").unwrap(), json!({}));
    let got = answer(Protocol::RestJson, "Wrapped", json!({"Nested": {"Leaf": "l"}}), None);
    assert_eq!(got.text(), r#"{"leaf":"l"}"#);
    assert_eq!(decode_body(Protocol::RestJson, "Text", b"plain").unwrap(), json!({"Text": "plain"}));
    let got = answer(Protocol::RestJson, "Text", json!({"Text": "plain"}), None);
    assert_eq!((got.text(), got.header("content-type")), ("plain", Some("text/plain")));
    assert_eq!(answer(Protocol::RestJson, "None", json!({}), None).body.len(), 0);
}

#[test]
fn json_types_are_checked_in_awss_words() {
    let json = |body: &str| {
        let (code, status, message) = refusal(Protocol::Json11, body);
        assert_eq!((code.as_str(), status), ("SerializationException", 400));
        message
    };
    assert_eq!(json(r#"{"note":1}"#), "NUMBER_VALUE can not be converted to a String");
    assert_eq!(json(r#"{"note":true}"#), "TRUE_VALUE can not be converted to a String");
    assert_eq!(json(r#"{"note":{}}"#), "Start of structure or map found where not expected.");
    assert_eq!(json(r#"{"count":"1"}"#), "STRING_VALUE can not be converted to an Integer");
    assert_eq!(json(r#"{"count":2147483648}"#), "NUMBER_VALUE can not be converted to an Integer");
    assert_eq!(json(r#"{"count":1.5}"#), "NUMBER_VALUE can not be converted to an Integer");
    assert_eq!(json(r#"{"names":"a"}"#), "Expected list or null");
    assert_eq!(json(r#"{"counts":[]}"#), "Expected map or null");
    assert_eq!(json(r#"{"nested":1}"#), "Expected null");
    assert_eq!(json(r#"{"names":[null]}"#), "null is not allowed in a list");
    assert_eq!(json("[]"), "Expected null");
    assert!(json("{").starts_with("malformed JSON: "));
    assert!(json("{} x").starts_with("malformed JSON: "));
    assert!(json(&"[".repeat(100_000)).starts_with("malformed JSON: "));
    let ok = decode_body(Protocol::Json11, "All", br#"{"count":3.0,"note":null,"unknown":{}}"#).unwrap();
    assert_eq!(ok, json!({"Count": 3}));
    assert_eq!(decode_body(Protocol::Json11, "All", b"").unwrap(), json!({}));
}

#[test]
fn aws_json_writes_answers_and_errors() {
    let got = answer(Protocol::Json11, "All", json!({"When": 1.5, "Note": "n", "Names": []}), None);
    assert_eq!(got.text(), r#"{"note":"n","when":1.5,"names":[]}"#);
    assert_eq!(got.header("content-type"), Some("application/x-amz-json-1.1"));
    let got = answer(Protocol::Json10, "None", Value::Null, None);
    assert_eq!((got.text(), got.header("content-type")), ("", Some("application/x-amz-json-1.0")));

    let error = AwsError::new("GoneException", 410, "it is gone").with("Names", vec!["a"]);
    let got = error_answer(Protocol::Json10, &error);
    assert_eq!(got.status, 410);
    assert_eq!(
        got.text(),
        r#"{"__type":"GoneException","Message":"it is gone","names":["a"],"Type":"User"}"#
    );
    assert_eq!(got.header("x-amzn-query-error"), Some("Things.Gone;Sender"));
    let got = error_answer(Protocol::Json11, &AwsError::new("UnknownOperationException", 400, ""));
    assert_eq!(got.text(), r#"{"__type":"UnknownOperationException"}"#);
}

#[test]
fn rest_json_errors_take_the_modelled_names() {
    let error = AwsError::new("GoneException", 410, "it is gone").with("Wait", "7").with("Names", vec!["a"]);
    let got = error_answer(Protocol::RestJson, &error);
    assert_eq!(got.text(), r#"{"Type":"User","Message":"it is gone","names":["a"]}"#);
    assert_eq!(got.header("x-amzn-errortype"), Some("GoneException"));
    assert_eq!(got.header("retry-after"), Some("7"));
    // The query protocol's code names the same error.
    let got = error_answer(Protocol::RestJson, &AwsError::new("Things.Gone", 410, "x"));
    assert_eq!(got.header("x-amzn-errortype"), Some("GoneException"));
    // A modelled error without a message member, and one that is not modelled.
    let got =
        error_answer(Protocol::RestJson, &AwsError::new("MuteException", 500, "hm").with("Names", vec!["a"]));
    assert_eq!(got.text(), r#"{"names":["a"],"message":"hm"}"#);
    let got = error_answer(Protocol::RestJson, &AwsError::new("ValidationException", 400, "1 error"));
    assert_eq!(got.text(), r#"{"message":"1 error"}"#);
    let got = error_answer(Protocol::RestJson, &AwsError::new("AccessDeniedException", 403, "no"));
    assert_eq!(got.text(), r#"{"Message":"no"}"#);
}

#[test]
fn query_reads_forms() {
    let body = b"Action=All&Version=2026-01-01&note=a+b%26&count=3&on=true&when=2026-11-23T12%3A00%3A00Z&data=AAE%3D\
&names.member.2=y&names.member.1=x&names.member.10=z&counts.entry.1.key=k&counts.entry.1.value=1\
&nested.leaf=l&nested.inner.leaf=m&item.1=f&item.2=g&flatMap.1.K=a&flatMap.1.V=b";
    assert_eq!(
        decode_body(Protocol::Query, "All", body).unwrap(),
        json!({
            "Note": "a b&", "Count": 3, "On": true, "When": 1795435200, "Data": "AAE=",
            "Names": ["x", "y", "z"], "Counts": {"k": 1}, "Nested": {"Leaf": "l", "Inner": {"Leaf": "m"}},
            "Flat": ["f", "g"], "FlatMap": {"a": "b"},
        })
    );
    // In the query string, too; an empty parameter is an empty list.
    let parts = request("/?Action=All&note=q&names=", &[]);
    let input = decode_with(Protocol::Query, "All", &parts, Vec::new(), b"").unwrap();
    assert_eq!(input.members, json!({"Note": "q", "Names": []}));
    let (code, status, _) = refusal(Protocol::Query, "count=x");
    assert_eq!((code.as_str(), status), ("MalformedInput", 400));
    let deep = format!("nested{}.leaf=x", ".inner".repeat(100_000));
    assert_eq!(refusal(Protocol::Query, &deep).0, "MalformedInput");
    assert_eq!(decode_body(Protocol::Query, "All", b"names.member.x=1").unwrap(), json!({}));
    // EC2 capitalises and has no wrappers.
    assert_eq!(
        decode_body(Protocol::Ec2, "All", b"Note=n&Names.1=a&Names.2=b").unwrap(),
        json!({"Note": "n", "Names": ["a", "b"]})
    );
}

#[test]
fn query_writes_xml() {
    let members = json!({
        "Note": "<&>\r", "When": 1795435200, "Names": ["x", "y"], "Counts": {"k": 1},
        "Nested": {"Inner": {"Leaf": "l"}}, "Flat": ["f", "g"], "FlatMap": {"a": "b"}, "On": false,
    });
    let got = answer(Protocol::Query, "All", members, None);
    assert_eq!(
        got.text(),
        "<AllResponse xmlns=\"https://kitchen/\"><AllResult><note>&lt;&amp;&gt;&#xd;</note><on>false</on>\
<when>2026-11-23T12:00:00Z</when><names><member>x</member><member>y</member></names>\
<counts><entry><key>k</key><value>1</value></entry></counts><nested><inner><leaf>l</leaf></inner></nested>\
<item>f</item><item>g</item><flatMap><K>a</K><V>b</V></flatMap></AllResult>\
<ResponseMetadata><RequestId>id-1</RequestId></ResponseMetadata></AllResponse>"
    );
    assert_eq!(got.header("content-type"), Some("text/xml"));
    let got = answer(Protocol::Ec2, "All", json!({"Note": "n"}), None);
    assert_eq!(
        got.text(),
        "<AllResponse xmlns=\"https://kitchen/\"><requestId>id-1</requestId><note>n</note></AllResponse>"
    );
    let error = AwsError::new("GoneException", 410, "it is <gone>").with("Names", vec!["a"]);
    let got = error_answer(Protocol::Query, &error);
    assert_eq!(
        got.text(),
        "<ErrorResponse xmlns=\"https://kitchen/\"><Error><Type>Sender</Type><Code>Things.Gone</Code>\
<Message>it is &lt;gone&gt;</Message><names><member>a</member></names></Error>\
<RequestId>id-1</RequestId></ErrorResponse>"
    );
    let got = error_answer(Protocol::Ec2, &error);
    assert_eq!(
        got.text(),
        "<Response><Errors><Error><Code>Things.Gone</Code><Message>it is &lt;gone&gt;</Message></Error></Errors>\
<RequestID>id-1</RequestID></Response>"
    );
}

#[test]
fn cbor_reads_and_writes() {
    // {"note": "n", "data": h'0001', "when": 1(1795435200), "count": 3, "names": ["x"], "share": 1.5}, by hand;
    // the map has no length given.
    let body = b"\xbf\x64note\x61n\x64data\x42\x00\x01\x64when\xc1\x1a\x6b\x04\x2a\xc0\x65count\x03\x65names\x81\x61x\
\x65share\xfb\x3f\xf8\x00\x00\x00\x00\x00\x00\xff";
    assert_eq!(
        decode_body(Protocol::RpcV2Cbor, "All", body).unwrap(),
        json!({"Note": "n", "Data": "AAE=", "When": 1795435200, "Count": 3, "Names": ["x"], "Share": 1.5})
    );
    let got = answer(Protocol::RpcV2Cbor, "All", json!({"Note": "n", "Data": "AAE=", "When": 16}), None);
    assert_eq!(got.body.as_ref(), b"\xa3\x64note\x61n\x64when\xc1\x10\x64data\x42\x00\x01");
    assert_eq!(got.header("smithy-protocol"), Some("rpc-v2-cbor"));
    assert_eq!(got.header("content-type"), Some("application/cbor"));
    let got = answer(Protocol::RpcV2Cbor, "None", Value::Null, None);
    assert_eq!((got.body.len(), got.header("content-type")), (0, None));
    let got = error_answer(Protocol::RpcV2Cbor, &AwsError::new("Odd", 400, "m"));
    assert_eq!(got.body.as_ref(), b"\xa2\x66__type\x63Odd\x67message\x61m");
    for bad in [&b"\xff"[..], b"\x01", b"\xa1\x64note\x01", b"\xa1\x65names\x81\xf6", &[0x81; 100_000]] {
        assert_eq!(decode_body(Protocol::RpcV2Cbor, "All", bad).unwrap_err().code, "SerializationException");
    }
}

#[test]
fn rest_xml_reads_and_writes() {
    let body = b"<?xml version=\"1.0\"?><x:Any xmlns:x=\"y\"><note>a &amp; <![CDATA[<b>]]>&#x21;</note><count>3</count>\
<names><member>x</member><member/></names><counts><entry><key>k</key><value>1</value></entry></counts>\
<nested><leaf>l</leaf></nested><item>f</item><item>g</item><flatMap><K>a</K><V>b</V></flatMap></x:Any>";
    assert_eq!(
        decode_body(Protocol::RestXml, "All", body).unwrap(),
        json!({
            "Note": "a & <b>!", "Count": 3, "Names": ["x", ""], "Counts": {"k": 1}, "Nested": {"Leaf": "l"},
            "Flat": ["f", "g"], "FlatMap": {"a": "b"},
        })
    );
    let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
    let entity = "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>";
    for bad in ["<a>", "text", "<a>&b;</a>", entity, &deep, "<a><count>x</count></a>"] {
        assert_eq!(refusal(Protocol::RestXml, bad).0, "MalformedXML");
    }
    let got = answer(Protocol::RestXml, "All", json!({"Note": "n", "Flat": ["f"]}), None);
    assert_eq!(got.text(), "<AllResult xmlns=\"https://kitchen/\"><note>n</note><item>f</item></AllResult>");
    let got = answer(Protocol::RestXml, "Wrapped", json!({"Nested": {"Leaf": "l"}}), None);
    assert_eq!(got.text(), "<Nested xmlns=\"https://kitchen/\"><leaf>l</leaf></Nested>");
    assert_eq!(
        decode_body(Protocol::RestXml, "Wrapped", b"<Nested><leaf>l</leaf></Nested>").unwrap(),
        json!({"Nested": {"Leaf": "l"}})
    );
    let got = answer(Protocol::RestXml, "Raw", json!({}), Some(b"raw"));
    assert_eq!(got.text(), "raw");
}

fn text() -> impl Strategy<Value = String> {
    // Everything that XML can carry.
    "[\\x20-\\x7e\\t\\n\u{a0}-\u{d7ff}\u{1f600}]{0,8}"
}

fn everything() -> impl Strategy<Value = Value> {
    let texts = || prop::collection::vec(text(), 1..4);
    (
        (text(), any::<i32>(), any::<i64>(), any::<bool>(), -1_000_000_i64..4_000_000_000),
        (prop::collection::vec(any::<u8>(), 0..16), texts(), "[a-z]{1,4}", texts()),
        (-1.0e9..1.0e9_f64, text()),
    )
        .prop_map(|((note, count, big, on, when), (data, names, key, flat), (share, leaf))| {
            use base64::Engine as _;
            let data = base64::engine::general_purpose::STANDARD.encode(data);
            json!({
                "Note": note, "Count": count, "Big": big, "Share": share, "On": on, "When": when, "Data": data,
                "Names": names, "Counts": {key.clone(): count},
                "Nested": {"Leaf": leaf, "When": when, "Inner": {"Leaf": key}}, "Flat": flat,
                "FlatMap": {key: leaf},
            })
        })
}

proptest! {
    #[test]
    fn rpc_protocols_read_what_they_write(members in everything()) {
        for protocol in RPC {
            let got = answer(protocol, "All", members.clone(), None);
            prop_assert_eq!(decode_body(protocol, "All", &got.body).unwrap(), members.clone());
        }
    }

    #[test]
    fn rest_protocols_read_what_they_write(members in everything()) {
        for protocol in [Protocol::RestJson, Protocol::RestXml] {
            let got = answer(protocol, "All", members.clone(), None);
            prop_assert_eq!(decode_body(protocol, "All", &got.body).unwrap(), members.clone());
        }
    }

    #[test]
    fn no_bytes_break_a_decoder(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        for protocol in [
            Protocol::RestJson, Protocol::RestXml, Protocol::Json11, Protocol::Query, Protocol::Ec2,
            Protocol::RpcV2Cbor,
        ] {
            let _ = decode_body(protocol, "All", &bytes);
        }
    }
}
