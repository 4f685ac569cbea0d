//! Verifies signatures.

use std::sync::Arc;

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use bytes::Bytes;
use http::request::Parts;
use lambkin_model::Caller;
use lambkin_model::schema::{Protocol, Service};

use super::chunked::{self, ChunkSignatures};
use super::error::SignatureError;
use super::keys::{KeyCache, SigningKey};
use super::parse::{ALGORITHM, Form, Scope, Signed};
use super::time::format_basic;
use super::{Authenticator, Lookup, Secret, canonical};

const UNSIGNED: &str = "UNSIGNED-PAYLOAD";
const TERMINATOR: &str = "aws4_request";

/// Verifies signatures against the keys of an [`Authenticator`].
pub(crate) struct Verifier {
    authenticator: Arc<dyn Authenticator>,
    keys: KeyCache,
}

/// A request that passed every check that needs no body.
#[derive(Debug)]
pub(crate) struct Begun {
    secret: Secret,
    pub(crate) caller: Arc<Caller>,
}

/// A verified request.
#[derive(Debug)]
pub(crate) struct Verified {
    pub(crate) caller: Arc<Caller>,
    pub(crate) region: Arc<str>,
    /// The payload, without chunk framing.
    pub(crate) body: Bytes,
}

impl Verifier {
    pub(crate) fn new(authenticator: Arc<dyn Authenticator>) -> Self {
        Self { authenticator, keys: KeyCache::default() }
    }

    /// What the authenticator knows of the key that claims to have signed.
    pub(crate) fn lookup(&self, signed: &Signed<'_>) -> Lookup {
        let access_key = signed.credential.split('/').next().unwrap_or_default();
        self.authenticator.lookup(access_key, signed.token.as_deref())
    }

    /// Checks scope, date and key. `now` is in epoch seconds.
    pub(crate) fn begin(
        &self,
        signed: &Signed<'_>,
        service: &Service,
        now: i64,
    ) -> Result<Begun, SignatureError> {
        let scope = Scope::parse(&signed.credential).ok_or_else(|| {
            SignatureError::Incomplete(format!(
                "Credential must have exactly 5 slash-delimited elements, e.g. keyid/date/region/service/term, \
got '{}'",
                signed.credential
            ))
        })?;
        if !signed.signed_headers.split(';').any(|name| matches!(name, "host" | ":authority")) {
            return Err(SignatureError::Invalid(
                "'Host' or ':authority' must be a 'SignedHeader' in the AWS Authorization.".to_owned(),
            ));
        }
        check_scope(&scope, signed, service)?;
        check_time(signed, service, now)?;
        match self.lookup(signed) {
            Lookup::Found { secret, caller } => Ok(Begun { secret, caller }),
            Lookup::UnknownKey | Lookup::InvalidToken => Err(SignatureError::UnknownKey),
            Lookup::ExpiredToken => Err(SignatureError::ExpiredToken),
        }
    }

    /// Computes the signature over the request with its body and compares.
    pub(crate) fn finish(
        &self,
        begun: Begun,
        parts: &Parts,
        signed: &Signed<'_>,
        body: Bytes,
    ) -> Result<Verified, SignatureError> {
        let scope = Scope::parse(&signed.credential).ok_or(SignatureError::Mismatch)?;
        let s3 = scope.service == "s3";
        let given = declared_payload(parts);
        let computed;
        let payload = match given {
            Some(given) if given == UNSIGNED || given.starts_with("STREAMING-") => given,
            None if s3 && matches!(signed.form, Form::Query { .. }) => UNSIGNED,
            given => {
                computed = Hex::of(digest::digest(&digest::SHA256, &body).as_ref());
                if given.is_some_and(|given| !given.eq_ignore_ascii_case(computed.as_str())) {
                    return Err(SignatureError::Mismatch);
                }
                given.unwrap_or(computed.as_str())
            }
        };
        let request = canonical::request(parts, signed, payload, !s3);
        let request = Hex::of(digest::digest(&digest::SHA256, &request).as_ref());

        let cached = self.keys.get(&signed.credential, &begun.secret);
        let fresh = cached.is_none();
        let key = cached.unwrap_or_else(|| Arc::new(SigningKey::derive(&begun.secret, &scope)));
        let scope_text = signed.credential.split_once('/').map_or("", |(_, rest)| rest);
        let mut mac = hmac::Context::with_key(&key.key);
        for piece in [ALGORITHM, "\n", &signed.time_text, "\n", scope_text, "\n", request.as_str()] {
            mac.update(piece.as_bytes());
        }
        let wanted = Hex::of(mac.sign().as_ref());
        verify_slices_are_equal(wanted.as_str().as_bytes(), signed.signature.as_bytes())
            .map_err(|_| SignatureError::Mismatch)?;
        if fresh {
            self.keys.put(&signed.credential, &key);
        }
        let body = match given {
            Some(streaming) if streaming.starts_with("STREAMING-") => {
                let signatures =
                    ChunkSignatures::new(&key.key, &signed.time_text, scope_text, wanted.as_str());
                chunked::decode(&body, streaming, Some(signatures))?
            }
            _ => body,
        };
        Ok(Verified { caller: begun.caller, region: Arc::clone(&key.region), body })
    }
}

/// Removes chunk framing without looking at signatures.
pub(crate) fn decode_payload(parts: &Parts, body: Bytes) -> Result<Bytes, SignatureError> {
    match declared_payload(parts) {
        Some(streaming) if streaming.starts_with("STREAMING-") => chunked::decode(&body, streaming, None),
        _ => Ok(body),
    }
}

fn declared_payload(parts: &Parts) -> Option<&str> {
    parts.headers.get("x-amz-content-sha256").and_then(|value| value.to_str().ok())
}

fn check_scope(scope: &Scope<'_>, signed: &Signed<'_>, service: &Service) -> Result<(), SignatureError> {
    let mut faults = Vec::new();
    let region_ok = !scope.region.is_empty()
        && scope.region.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
    if !region_ok {
        faults.push(format!("Credential should be scoped to a valid region, not '{}'.", scope.region));
    }
    if scope.service != service.signing_name {
        faults.push(format!("Credential should be scoped to correct service: '{}'.", service.signing_name));
    }
    if scope.terminator != TERMINATOR {
        faults.push(format!(
            "Credential should be scoped with a valid terminator: '{TERMINATOR}', not '{}'.",
            scope.terminator
        ));
    }
    let date = signed.time_text.get(..8).unwrap_or_default();
    if scope.date != date {
        faults.push(format!(
            "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP: '{}' != \
'{date}', from '{}'.",
            scope.date, signed.time_text
        ));
    }
    if faults.is_empty() { Ok(()) } else { Err(SignatureError::Invalid(faults.join(" "))) }
}

fn check_time(signed: &Signed<'_>, service: &Service, now: i64) -> Result<(), SignatureError> {
    // Query services give a signature a quarter of an hour, all others five minutes.
    let tolerance = if service.protocols.contains(&Protocol::Query) { 900 } else { 300 };
    let age = match signed.form {
        Form::Query { expires: Some(seconds) } => seconds,
        _ => tolerance,
    };
    let span = |seconds: i64| match seconds % 60 {
        0 => format!("{} min.", seconds / 60),
        _ => format!("{seconds} sec."),
    };
    let text = if signed.time < now.saturating_sub(age) {
        format!(
            "Signature expired: {} is now earlier than {} ({} - {})",
            signed.time_text,
            format_basic(now.saturating_sub(age)),
            format_basic(now),
            span(age)
        )
    } else if signed.time > now.saturating_add(tolerance) {
        format!(
            "Signature not yet current: {} is still later than {} ({} + {})",
            signed.time_text,
            format_basic(now.saturating_add(tolerance)),
            format_basic(now),
            span(tolerance)
        )
    } else {
        return Ok(());
    };
    Err(SignatureError::Invalid(text))
}

/// Lower-case hexadecimal text of 32 bytes, without an allocation.
pub(crate) struct Hex([u8; 64]);

impl Hex {
    pub(crate) fn of(bytes: &[u8]) -> Self {
        const DIGITS: [u8; 16] = *b"0123456789abcdef";
        let digit = |nibble: u8| DIGITS.get(usize::from(nibble)).copied().unwrap_or(b'0');
        let mut out = [b'0'; 64];
        for (pair, byte) in out.chunks_exact_mut(2).zip(bytes) {
            pair.copy_from_slice(&[digit(byte >> 4), digit(byte & 15)]);
        }
        Self(out)
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}
