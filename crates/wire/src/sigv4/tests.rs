//! Requests signed by the `aws-sigv4` crate must verify, and no other.

use std::time::{Duration, SystemTime};

use aws_credential_types::Credentials;
use aws_sigv4::http_request::{
    PayloadChecksumKind, PercentEncodingMode, SignableBody, SignableRequest, SignatureLocation,
    SigningSettings, UriPathNormalizationMode, sign,
};
use aws_sigv4::sign::v4;
use bytes::Bytes;
use http::Request;
use http::request::Parts;
use lambkin_model::schema::{Protocol, Service};
use proptest::prelude::*;

use super::*;
use crate::route::tests::service;

pub(crate) const KEY: &str = "AKIDEXAMPLE";
const SECRET: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";
const TOKEN: &str = "IQoJb3JpZ2luX2VjE//////+token==";
pub(crate) const NOW: i64 = 1_795_435_200; // 2026-11-23T12:00:00Z

static LAMBDA: Service = service("lambda", &[Protocol::RestJson], "", &[]);
static S3: Service = service("s3", &[Protocol::RestXml], "", &[]);
static STS: Service = service("sts", &[Protocol::Query], "", &[]);

pub(crate) struct Keys;

impl Authenticator for Keys {
    fn lookup(&self, access_key_id: &str, session_token: Option<&str>) -> Lookup {
        match (access_key_id, session_token) {
            (KEY, None | Some(TOKEN)) => Lookup::Found { secret: SECRET.into(), caller: caller() },
            (KEY, Some("old")) => Lookup::ExpiredToken,
            (KEY, Some(_)) => Lookup::InvalidToken,
            _ => Lookup::UnknownKey,
        }
    }
}

fn caller() -> Arc<Caller> {
    Arc::new(Caller {
        account: "111122223333".into(),
        arn: "arn:aws:iam::111122223333:user/u".to_owned(),
        user_id: "AIDAEXAMPLE".to_owned(),
        access_key_id: KEY.to_owned(),
        principal: lambkin_model::Principal::Root,
    })
}

/// What varies in a signed request.
#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) service: &'static Service,
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    pub(crate) token: bool,
    pub(crate) presigned: bool,
    pub(crate) payload_header: bool,
    pub(crate) unsigned_payload: bool,
    pub(crate) s3: bool,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            service: &LAMBDA,
            method: "POST",
            path: "/2015-03-31/functions/f/invocations".to_owned(),
            query: String::new(),
            headers: vec![("x-amz-invocation-type".to_owned(), "Event".to_owned())],
            body: b"{}".to_vec(),
            token: false,
            presigned: false,
            payload_header: false,
            unsigned_payload: false,
            s3: false,
        }
    }
}

/// A request as it arrives.
#[derive(Debug, Clone)]
pub(crate) struct Wire {
    pub(crate) parts: Parts,
    pub(crate) body: Bytes,
    schema: &'static Service,
}

impl Case {
    /// Signs by the oracle.
    pub(crate) fn sign(&self) -> Wire {
        let query = if self.query.is_empty() { String::new() } else { format!("?{}", self.query) };
        let uri = format!("http://127.0.0.1:4566{}{query}", self.path);
        let mut request = Request::builder().method(self.method).uri(&uri);
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let mut request = request.body(()).unwrap();
        let token = self.token.then(|| TOKEN.to_owned());
        let identity = Credentials::new(KEY, SECRET, token, None, "test").into();
        let mut settings = SigningSettings::default();
        if self.presigned {
            settings.signature_location = SignatureLocation::QueryParams;
            settings.expires_in = Some(Duration::from_secs(300));
        }
        if self.payload_header {
            settings.payload_checksum_kind = PayloadChecksumKind::XAmzSha256;
        }
        if self.s3 {
            settings.percent_encoding_mode = PercentEncodingMode::Single;
            settings.uri_path_normalization_mode = UriPathNormalizationMode::Disabled;
        }
        let schema = if self.s3 { &S3 } else { self.service };
        let params = v4::SigningParams::builder()
            .identity(&identity)
            .region("us-east-1")
            .name(schema.signing_name)
            .time(SystemTime::UNIX_EPOCH + Duration::from_secs(NOW as u64))
            .settings(settings)
            .build()
            .unwrap()
            .into();
        let body = if self.unsigned_payload {
            SignableBody::UnsignedPayload
        } else {
            SignableBody::Bytes(&self.body)
        };
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let signable = SignableRequest::new(self.method, uri, headers, body).unwrap();
        let (instructions, _) = sign(signable, &params).unwrap().into_parts();
        instructions.apply_to_request_http1x(&mut request);
        Wire { parts: request.into_parts().0, body: self.body.clone().into(), schema }
    }
}

impl Wire {
    fn verify_at(&self, now: i64) -> Result<Bytes, SignatureError> {
        let verifier = Verifier::new(Arc::new(Keys));
        let signed = find(&self.parts)?;
        // Twice: with a fresh and with a cached key.
        for _ in 0..2 {
            let begun = verifier.begin(&signed, self.schema, now)?;
            let verified = verifier.finish(begun, &self.parts, &signed, self.body.clone())?;
            assert_eq!(verified.caller.account.as_ref(), "111122223333");
            assert_eq!(verified.region.as_ref(), "us-east-1");
        }
        Ok(self.body.clone())
    }

    fn verify(&self) -> Result<Bytes, SignatureError> {
        self.verify_at(NOW)
    }

    fn set_header(&mut self, name: &'static str, value: &str) {
        self.parts.headers.insert(name, value.parse().unwrap());
    }

    fn edit_header(&mut self, name: &'static str, edit: impl FnOnce(&str) -> String) {
        let value = edit(self.parts.headers[name].to_str().unwrap());
        self.set_header(name, &value);
    }

    fn edit_uri(&mut self, edit: impl FnOnce(&str) -> String) {
        self.parts.uri = edit(&self.parts.uri.to_string()).parse().unwrap();
    }

    /// Flips the lowest bit of the byte at `at` of whatever is signed or signs; `None` where the outcome is
    /// no request any more.
    fn flip(&self, at: prop::sample::Index) -> Option<Self> {
        let mut bent = self.clone();
        let uri = self.parts.uri.to_string();
        let start = uri.find(":4566").unwrap() + 5;
        let headers: Vec<(http::HeaderName, String)> = self
            .parts
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), value.to_str().unwrap().to_owned()))
            .collect();
        let sizes = headers.iter().map(|(_, value)| value.len()).sum::<usize>();
        let body = if uri.contains("UNSIGNED") { 0 } else { self.body.len() };
        let mut at = at.index(uri.len() - start + sizes + body);
        let bend = |text: &str, at: usize| {
            let mut bytes = text.as_bytes().to_vec();
            bytes[at] ^= 1;
            String::from_utf8(bytes).ok()
        };
        if at < uri.len() - start {
            bent.parts.uri = bend(&uri, start + at)?.parse().ok()?;
            return Some(bent);
        }
        at -= uri.len() - start;
        for (name, value) in headers {
            if at >= value.len() {
                at -= value.len();
                continue;
            }
            let bent_value = bend(&value, at)?;
            // White space folds, and a repeated header would need its place in the list.
            if value.contains("  ") || bent_value.trim() != bent_value {
                return None;
            }
            if self.parts.headers.get_all(&name).iter().count() > 1 {
                return None;
            }
            bent.parts.headers.insert(name, bent_value.parse().ok()?);
            return Some(bent);
        }
        let mut bytes = self.body.to_vec();
        bytes[at] ^= 1;
        bent.body = bytes.into();
        Some(bent)
    }
}

fn cases() -> impl Strategy<Value = Case> {
    // Characters that may stand in a path as they are, percent-encoded ones, and dots and slashes.
    let path_piece = prop_oneof![
        4 => "[a-zA-Z0-9._~-]{1,6}",
        2 => "[:@!$&'()*+,;=]",
        2 => "%[2-7][0-9A-F]",
        1 => "%C3%A9",
        1 => Just("/".to_owned()),
        1 => Just("/./".to_owned()),
        1 => Just("/../".to_owned()),
    ];
    let path = prop::collection::vec(path_piece, 0..8).prop_map(|pieces| format!("/{}", pieces.concat()));
    let text = prop_oneof![3 => "[a-zA-Z0-9._~-]{0,6}", 1 => "%[2-7][0-9A-F]", 1 => Just("a%20b".to_owned()), 1 => Just("a+b".to_owned()), 1 => "[:@!$'()*,;/?]{1,2}"];
    let pair = (text.clone(), prop::option::of(text)).prop_map(|(key, value)| match value {
        Some(value) => format!("k{key}={value}"),
        None => format!("k{key}"),
    });
    let query = prop::collection::vec(pair, 0..6).prop_map(|pairs| pairs.join("&"));
    let header = ("x-amz-[a-d]{1,2}", "[!-~]{1,8}( {1,3}[!-~]{1,8}){0,2}");
    let headers = prop::collection::vec(header, 0..4);
    let body = prop::collection::vec(any::<u8>(), 0..64);
    let flags = (any::<bool>(), any::<bool>(), any::<bool>(), any::<bool>(), prop::bool::weighted(0.2));
    let method = prop::sample::select(vec!["GET", "POST", "PUT", "DELETE", "PATCH"]);
    (method, path, query, headers, body, flags).prop_map(
        |(method, path, query, headers, body, (token, presigned, payload_header, unsigned_payload, s3))| {
            Case {
                service: &LAMBDA,
                method,
                // For S3 the oracle signs the path as it is given, which must be in S3's own encoding.
                path: if s3 {
                    path.replace([':', '@', '!', '$', '&', '\'', '(', ')', '*', '+', ',', ';', '=', '%'], "x")
                } else {
                    path
                },
                query,
                headers,
                body: if presigned && s3 { Vec::new() } else { body },
                token,
                presigned,
                // A presigned S3 request's payload is not hashed.
                payload_header: (payload_header || unsigned_payload) && !presigned,
                unsigned_payload: (unsigned_payload && !presigned) || (presigned && s3),
                s3,
            }
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]

    #[test]
    fn accepts_what_the_sdk_signs(case in cases()) {
        let wire = case.sign();
        prop_assert_eq!(wire.verify(), Ok(wire.body.clone()));
    }

    #[test]
    fn refuses_any_changed_bit(case in cases(), at in any::<prop::sample::Index>()) {
        let wire = case.sign();
        // What an unsigned payload or a removed segment holds is not signed.
        prop_assume!(!case.unsigned_payload && !case.path.contains("//") && !case.path.contains("/."));
        if let Some(bent) = wire.flip(at) {
            prop_assert!(bent.verify().is_err(), "{:?}", bent);
        }
    }
}

fn invalid(result: Result<Bytes, SignatureError>) -> String {
    match result {
        Err(SignatureError::Invalid(text)) => text,
        other => panic!("{other:?}"),
    }
}

fn incomplete(result: Result<Bytes, SignatureError>) -> String {
    match result {
        Err(SignatureError::Incomplete(text)) => text,
        other => panic!("{other:?}"),
    }
}

#[test]
fn dates_have_a_window() {
    let wire = Case::default().sign();
    assert!(wire.verify_at(NOW + 300).is_ok());
    assert!(wire.verify_at(NOW - 300).is_ok());
    assert_eq!(
        invalid(wire.verify_at(NOW + 1200)),
        "Signature expired: 20261123T120000Z is now earlier than 20261123T121500Z (20261123T122000Z - 5 min.)"
    );
    assert_eq!(
        invalid(wire.verify_at(NOW - 1200)),
        "Signature not yet current: 20261123T120000Z is still later than 20261123T114500Z (20261123T114000Z + 5 \
min.)"
    );
    let presigned = Case { presigned: true, ..Case::default() }.sign();
    assert!(presigned.verify_at(NOW + 300).is_ok());
    assert!(invalid(presigned.verify_at(NOW + 301)).starts_with("Signature expired: "));
    let mut sts = wire.clone();
    sts.schema = &STS;
    let text = invalid(sts.verify_at(NOW + 1200));
    assert_eq!(text, "Credential should be scoped to correct service: 'sts'.");
}

#[test]
fn scopes_must_fit() {
    let edit = |from: &str, to: &str| {
        let mut wire = Case::default().sign();
        wire.edit_header("authorization", |value| value.replace(from, to));
        wire.verify()
    };
    assert_eq!(
        invalid(edit("/us-east-1/", "/US/")),
        "Credential should be scoped to a valid region, not 'US'."
    );
    assert_eq!(
        invalid(edit("aws4_request", "aws5_request")),
        "Credential should be scoped with a valid terminator: 'aws4_request', not 'aws5_request'."
    );
    assert_eq!(
        invalid(edit("/20261123/", "/20261122/")),
        "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '20261122' \
!= '20261123', from '20261123T120000Z'."
    );
    assert_eq!(
        incomplete(edit("/us-east-1/", "/")),
        "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, got \
'AKIDEXAMPLE/20261123/lambda/aws4_request'"
    );
    assert_eq!(edit("AKIDEXAMPLE", "AKIDOTHER"), Err(SignatureError::UnknownKey));
    assert_eq!(edit("/us-east-1/", "/us-west-2/"), Err(SignatureError::Mismatch));
    assert_eq!(
        invalid(edit("SignedHeaders=host;", "SignedHeaders=")),
        "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization."
    );
}

#[test]
fn incomplete_headers_name_what_lacks() {
    let with = |authorization: &str, date: bool| {
        let mut wire = Case::default().sign();
        wire.set_header("authorization", authorization);
        if !date {
            wire.parts.headers.remove("x-amz-date");
        }
        wire.verify()
    };
    let hash = |text: &str| {
        use base64::Engine as _;
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
        base64::engine::general_purpose::STANDARD.encode(digest)
    };
    let bare = "AWS4-HMAC-SHA256";
    assert_eq!(
        incomplete(with(bare, false)),
        format!(
            "Authorization header requires 'Credential' parameter. Authorization header requires 'Signature' \
parameter. Authorization header requires 'SignedHeaders' parameter. Authorization header requires existence of \
either a 'X-Amz-Date' or a 'Date' header. (Hashed with SHA-256 and encoded with Base64) Authorization={}",
            hash(bare)
        )
    );
    let one = "AWS4-HMAC-SHA256 Credential=a/b/c/d/e, SignedHeaders=host";
    assert_eq!(
        incomplete(with(one, true)),
        format!(
            "Authorization header requires 'Signature' parameter. (Hashed with SHA-256 and encoded with \
Base64) Authorization={}",
            hash(one)
        )
    );
    let bearer = "Bearer abc";
    assert!(incomplete(with(bearer, true)).starts_with("Invalid key=value pair (missing equal-sign)"));
    let mut wire = Case::default().sign();
    wire.set_header("x-amz-date", "yesterday");
    assert!(
        incomplete(wire.verify()).starts_with("Date must be in ISO-8601 'basic format'. Got 'yesterday'.")
    );
    let mut wire = Case::default().sign();
    wire.parts.headers.remove("authorization");
    assert_eq!(wire.verify(), Err(SignatureError::Missing));
}

#[test]
fn presigned_queries_are_checked() {
    let edit = |from: &str, to: &str| {
        let mut wire = Case { presigned: true, ..Case::default() }.sign();
        wire.edit_uri(|uri| uri.replace(from, to));
        wire.verify()
    };
    assert_eq!(
        incomplete(edit("X-Amz-Algorithm=AWS4-HMAC-SHA256", "a=b")),
        "AWS query-string parameters must include 'X-Amz-Algorithm'. Re-examine the query-string parameters."
    );
    assert!(incomplete(edit("X-Amz-Expires=300", "X-Amz-Expires=604801")).contains("less than a week"));
    assert_eq!(incomplete(edit("X-Amz-Expires=300", "X-Amz-Expires=x")), "X-Amz-Expires should be a number");
    assert_eq!(edit("X-Amz-Expires=300", "X-Amz-Expires=301"), Err(SignatureError::Mismatch));
}

#[test]
fn tokens_are_looked_up() {
    let token = |token: &str| {
        let mut wire = Case { token: true, ..Case::default() }.sign();
        wire.set_header("x-amz-security-token", token);
        wire.verify()
    };
    assert!(token(TOKEN).is_ok());
    assert_eq!(token("old"), Err(SignatureError::ExpiredToken));
    assert_eq!(token("other"), Err(SignatureError::UnknownKey));
}

#[test]
fn date_header_serves_where_there_is_no_amz_date() {
    let mut wire = Case::default().sign();
    wire.parts.headers.remove("x-amz-date");
    wire.set_header("date", "Mon, 23 Nov 2026 12:00:00 GMT");
    // The signature covers x-amz-date, so it cannot match; but the date was understood.
    assert_eq!(wire.verify(), Err(SignatureError::Mismatch));
    assert!(invalid(wire.verify_at(NOW + 400)).starts_with("Signature expired: 20261123T120000Z"));
}

#[test]
fn payload_hash_must_be_the_bodys() {
    let mut wire = Case { payload_header: true, ..Case::default() }.sign();
    assert!(wire.verify().is_ok());
    wire.body = Bytes::from_static(b"{ }");
    assert_eq!(wire.verify(), Err(SignatureError::Mismatch));
    let mut wire = Case { payload_header: true, unsigned_payload: true, ..Case::default() }.sign();
    wire.body = Bytes::from_static(b"anything");
    assert!(wire.verify().is_ok());
}

#[test]
fn http2_signs_the_authority() {
    // No `host` header: the oracle's requests have none, so all tests above cover it; with one it must agree.
    let mut wire = Case::default().sign();
    wire.set_header("host", "127.0.0.1:4566");
    assert!(wire.verify().is_ok());
    wire.set_header("host", "127.0.0.1:4567");
    assert_eq!(wire.verify(), Err(SignatureError::Mismatch));
}
