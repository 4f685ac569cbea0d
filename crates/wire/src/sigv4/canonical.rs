//! The canonical request.

use http::request::Parts;

use super::parse::{Form, Signed};
use crate::uri;

/// Builds the canonical request. `double` says whether the path is normalised and encoded once more, as
/// for every service but S3.
pub(crate) fn request(parts: &Parts, signed: &Signed<'_>, payload: &str, double: bool) -> Vec<u8> {
    let mut out = String::with_capacity(1024);
    out.push_str(parts.method.as_str());
    out.push('\n');
    if double {
        uri::encode_path(&mut out, normalize(parts.uri.path()).as_bytes());
    } else {
        let decoded: Vec<u8> = percent_encoding::percent_decode(parts.uri.path().as_bytes()).collect();
        uri::encode_path(&mut out, &decoded);
    }
    out.push('\n');
    if let Some(query) = parts.uri.query() {
        push_query(&mut out, query, matches!(signed.form, Form::Query { .. }));
    }
    out.push('\n');
    let mut out = out.into_bytes();
    for name in signed.signed_headers.split(';') {
        out.extend_from_slice(name.as_bytes());
        out.push(b':');
        push_header(&mut out, parts, name);
        out.push(b'\n');
    }
    out.push(b'\n');
    out.extend_from_slice(signed.signed_headers.as_bytes());
    out.push(b'\n');
    out.extend_from_slice(payload.as_bytes());
    out
}

/// Removes `.`, `..` and empty segments, as signers do before they sign.
fn normalize(path: &str) -> std::borrow::Cow<'_, str> {
    let clean = path.starts_with('/')
        && !path.contains("//")
        && !path.contains("/./")
        && !path.contains("/..")
        && !path.ends_with("/.");
    if clean {
        return path.into();
    }
    let mut kept: Vec<&str> = Vec::new();
    for segment in path.split('/') {
        match segment {
            "" | "." => {}
            ".." => {
                kept.pop();
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(path.len() + 1);
    for segment in &kept {
        out.push('/');
        out.push_str(segment);
    }
    if kept.is_empty() || ["/", "/.", "/.."].iter().any(|end| path.ends_with(end)) {
        out.push('/');
    }
    out.into()
}

/// Sorted, re-encoded query; `X-Amz-Signature` of a presigned request is left out.
fn push_query(out: &mut String, query: &str, presigned: bool) {
    let mut pairs: Vec<(String, String)> = uri::raw_pairs(query)
        .filter(|(key, _)| !(presigned && *key == "X-Amz-Signature"))
        .map(|(key, value)| {
            let encode = |text: &str| {
                let mut out = String::with_capacity(text.len());
                uri::encode_component(&mut out, &uri::decode_query_bytes(text));
                out
            };
            (encode(key), encode(value))
        })
        .collect();
    pairs.sort_unstable();
    for (at, (key, value)) in pairs.iter().enumerate() {
        if at > 0 {
            out.push('&');
        }
        out.push_str(key);
        out.push('=');
        out.push_str(value);
    }
}

/// All values of a header, comma-joined, each trimmed and with runs of white space folded to one space.
fn push_header(out: &mut Vec<u8>, parts: &Parts, name: &str) {
    let mut values = parts.headers.get_all(name).iter().peekable();
    if values.peek().is_none() && matches!(name, "host" | ":authority") {
        // HTTP/2 has `:authority` instead of `host`.
        if let Some(authority) = parts.uri.authority() {
            out.extend_from_slice(authority.as_str().as_bytes());
        }
        return;
    }
    for (at, value) in values.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        let words = value.as_bytes().split(u8::is_ascii_whitespace).filter(|word| !word.is_empty());
        for (at, word) in words.enumerate() {
            if at > 0 {
                out.push(b' ');
            }
            out.extend_from_slice(word);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normalises_paths() {
        for (path, want) in [
            ("/", "/"),
            ("", "/"),
            ("//", "/"),
            ("/a/b", "/a/b"),
            ("/a//b/", "/a/b/"),
            ("/a/./b/../c", "/a/c"),
            ("/..", "/"),
            ("/a/b/.", "/a/b/"),
            ("/a/b/..", "/a/"),
            ("/a/..b", "/a/..b"),
        ] {
            assert_eq!(normalize(path), want, "{path}");
        }
    }

    #[test]
    fn sorts_by_encoded_name_then_value() {
        let mut out = String::new();
        push_query(&mut out, "b=2&a=z&a=b+c&%41=&X-Amz-Signature=x&flag", true);
        assert_eq!(out, "A=&a=b%20c&a=z&b=2&flag=");
    }
}
