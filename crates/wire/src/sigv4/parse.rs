//! Reads the parts of a signature from an `Authorization` header or a presigned query.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::request::Parts;

use super::error::SignatureError;
use super::time::{format_basic, parse_basic, parse_date_header};
use crate::uri;

/// The only algorithm AWS's symmetric signatures have.
pub(crate) const ALGORITHM: &str = "AWS4-HMAC-SHA256";
/// Longest validity of a presigned request, seconds.
const MAX_EXPIRES: i64 = 604_800;

/// Where a signature stood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// In the `Authorization` header.
    Header,
    /// In the query; with `X-Amz-Expires` in seconds if given.
    Query { expires: Option<i64> },
}

/// The parts of a signature as the client gave them. Nothing here is verified.
#[derive(Debug)]
pub(crate) struct Signed<'a> {
    pub(crate) form: Form,
    /// `AKID/20261123/us-east-1/lambda/aws4_request`.
    pub(crate) credential: Cow<'a, str>,
    pub(crate) signed_headers: Cow<'a, str>,
    pub(crate) signature: Cow<'a, str>,
    /// Epoch seconds of the request's date.
    pub(crate) time: i64,
    /// The date as it stands in the string to sign.
    pub(crate) time_text: Cow<'a, str>,
    pub(crate) token: Option<Cow<'a, str>>,
}

/// The five elements of a credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Scope<'a> {
    pub(crate) access_key: &'a str,
    pub(crate) date: &'a str,
    pub(crate) region: &'a str,
    pub(crate) service: &'a str,
    pub(crate) terminator: &'a str,
}

impl<'a> Scope<'a> {
    /// Splits a credential; `None` unless it has exactly five elements.
    pub(crate) fn parse(credential: &'a str) -> Option<Self> {
        let mut elements = credential.split('/');
        let mut next = || elements.next();
        let (access_key, date, region) = (next()?, next()?, next()?);
        let (service, terminator) = (next()?, next()?);
        next().is_none().then_some(Self { access_key, date, region, service, terminator })
    }
}

/// Finds the signature of a request.
///
/// # Errors
/// [`SignatureError::Missing`] where there is none, [`SignatureError::Incomplete`] where a part lacks.
pub(crate) fn find(parts: &Parts) -> Result<Signed<'_>, SignatureError> {
    if let Some(value) = parts.headers.get(http::header::AUTHORIZATION) {
        let value = value.to_str().map_err(|_| no_pair(value.as_bytes()))?;
        return from_header(parts, value);
    }
    match parts.uri.query() {
        Some(query) if query.contains("X-Amz-Signature=") || query.contains("X-Amz-Credential=") => {
            from_query(query)
        }
        _ => Err(SignatureError::Missing),
    }
}

fn from_header<'a>(parts: &'a Parts, value: &'a str) -> Result<Signed<'a>, SignatureError> {
    let (algorithm, rest) = value.trim().split_once(' ').unwrap_or((value.trim(), ""));
    if algorithm != ALGORITHM && algorithm.starts_with("AWS4-") {
        return Err(SignatureError::Incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
    }
    let pairs = if algorithm == ALGORITHM { rest } else { value };
    let (mut credential, mut signature, mut signed_headers) = (None, None, None);
    for pair in pairs.split(',').map(str::trim).filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').ok_or_else(|| no_pair(value.as_bytes()))?;
        match key {
            "Credential" => credential = Some(value),
            "Signature" => signature = Some(value),
            "SignedHeaders" => signed_headers = Some(value),
            _ => {}
        }
    }
    let header = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    let (amz_date, date) = (header("x-amz-date"), header("date"));
    let (Some(credential), Some(signature), Some(signed_headers), Some(given)) =
        (credential, signature, signed_headers, amz_date.or(date))
    else {
        let mut text = String::new();
        for (name, lacks) in [
            ("Credential", credential.is_none()),
            ("Signature", signature.is_none()),
            ("SignedHeaders", signed_headers.is_none()),
        ] {
            if lacks {
                text.push_str("Authorization header requires '");
                text.push_str(name);
                text.push_str("' parameter. ");
            }
        }
        if amz_date.or(date).is_none() {
            text.push_str(
                "Authorization header requires existence of either a 'X-Amz-Date' or a 'Date' header. ",
            );
        }
        text.push_str("(Hashed with SHA-256 and encoded with Base64) Authorization=");
        text.push_str(&hashed(value.as_bytes()));
        return Err(SignatureError::Incomplete(text));
    };
    let (time, time_text) = match amz_date {
        Some(text) => (parse_basic(text).ok_or_else(|| bad_date(text))?, Cow::Borrowed(text)),
        None => {
            let time = parse_date_header(given).ok_or_else(|| bad_date(given))?;
            (time, Cow::Owned(format_basic(time)))
        }
    };
    Ok(Signed {
        form: Form::Header,
        credential: Cow::Borrowed(credential),
        signed_headers: Cow::Borrowed(signed_headers),
        signature: Cow::Borrowed(signature),
        time,
        time_text,
        token: header("x-amz-security-token").map(Cow::Borrowed),
    })
}

fn from_query(query: &str) -> Result<Signed<'_>, SignatureError> {
    let (mut algorithm, mut credential, mut signature, mut signed_headers) = (None, None, None, None);
    let (mut date, mut expires, mut token) = (None, None, None);
    for (key, value) in uri::raw_pairs(query) {
        let slot = match key {
            "X-Amz-Algorithm" => &mut algorithm,
            "X-Amz-Credential" => &mut credential,
            "X-Amz-Signature" => &mut signature,
            "X-Amz-SignedHeaders" => &mut signed_headers,
            "X-Amz-Date" => &mut date,
            "X-Amz-Expires" => &mut expires,
            "X-Amz-Security-Token" => &mut token,
            _ => continue,
        };
        if slot.is_none() {
            *slot = Some(uri::decode_segment(value));
        }
    }
    let (Some(algorithm), Some(credential), Some(signature), Some(signed_headers), Some(date)) =
        (&algorithm, &credential, &signature, &signed_headers, &date)
    else {
        let mut text = String::new();
        for (name, value) in [
            ("X-Amz-Algorithm", &algorithm),
            ("X-Amz-Credential", &credential),
            ("X-Amz-Signature", &signature),
            ("X-Amz-SignedHeaders", &signed_headers),
            ("X-Amz-Date", &date),
        ] {
            if value.is_none() {
                text.push_str("AWS query-string parameters must include '");
                text.push_str(name);
                text.push_str("'. ");
            }
        }
        text.push_str("Re-examine the query-string parameters.");
        return Err(SignatureError::Incomplete(text));
    };
    if algorithm != ALGORITHM {
        return Err(SignatureError::Incomplete(format!("Unsupported AWS 'algorithm': '{algorithm}'.")));
    }
    let expires = match expires {
        None => None,
        Some(text) => match text.parse::<i64>() {
            Ok(seconds) if (0..=MAX_EXPIRES).contains(&seconds) => Some(seconds),
            Ok(seconds) if seconds < 0 => {
                return Err(SignatureError::Incomplete("X-Amz-Expires must be non-negative".to_owned()));
            }
            Ok(_) => {
                return Err(SignatureError::Incomplete(format!(
                    "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must \
be less than {MAX_EXPIRES} seconds"
                )));
            }
            Err(_) => {
                return Err(SignatureError::Incomplete("X-Amz-Expires should be a number".to_owned()));
            }
        },
    };
    let time = parse_basic(date).ok_or_else(|| bad_date(date))?;
    Ok(Signed {
        form: Form::Query { expires },
        credential: credential.clone(),
        signed_headers: signed_headers.clone(),
        signature: signature.clone(),
        time,
        time_text: date.clone(),
        token,
    })
}

fn hashed(value: &[u8]) -> String {
    STANDARD.encode(aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, value))
}

fn no_pair(value: &[u8]) -> SignatureError {
    SignatureError::Incomplete(format!(
        "Invalid key=value pair (missing equal-sign) in Authorization header (hashed with SHA-256 and encoded \
with Base64): '{}'.",
        hashed(value)
    ))
}

fn bad_date(text: &str) -> SignatureError {
    SignatureError::Incomplete(format!(
        "Date must be in ISO-8601 'basic format'. Got '{text}'. See http://en.wikipedia.org/wiki/ISO_8601"
    ))
}
