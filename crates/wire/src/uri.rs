//! Percent-coding and query strings as AWS reads them.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, percent_encode};

/// Everything but AWS's unreserved characters.
const COMPONENT: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// The same, with `/` left alone.
const PATH: &AsciiSet = &COMPONENT.remove(b'/');

/// Appends `bytes` with everything but `A-Za-z0-9-._~` percent-encoded.
pub(crate) fn encode_component(out: &mut String, bytes: &[u8]) {
    out.extend(percent_encode(bytes, COMPONENT));
}

/// Like [`encode_component`], but keeps `/`.
pub(crate) fn encode_path(out: &mut String, bytes: &[u8]) {
    out.extend(percent_encode(bytes, PATH));
}

/// Decodes a path segment. Bytes that are no UTF-8 become U+FFFD, which no AWS name may hold.
pub(crate) fn decode_segment(segment: &str) -> Cow<'_, str> {
    percent_decode(segment.as_bytes()).decode_utf8_lossy()
}

/// Decodes a key or value of a query string or form, where `+` is a space.
pub(crate) fn decode_query(text: &str) -> Cow<'_, str> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        Cow::Owned(percent_decode(spaced.as_bytes()).decode_utf8_lossy().into_owned())
    } else {
        percent_decode(text.as_bytes()).decode_utf8_lossy()
    }
}

/// Bytes of a key or value of a query string, decoded; unlike [`decode_query`] exact for any bytes.
pub(crate) fn decode_query_bytes(text: &str) -> Cow<'_, [u8]> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        Cow::Owned(percent_decode(spaced.as_bytes()).collect())
    } else {
        percent_decode(text.as_bytes()).into()
    }
}

/// Undecoded `(key, value)` pairs of a query string; a missing `=` gives an empty value.
pub(crate) fn raw_pairs(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Decoded `(key, value)` pairs of a query string or form.
pub(crate) fn pairs(query: &str) -> impl Iterator<Item = (Cow<'_, str>, Cow<'_, str>)> {
    raw_pairs(query).map(|(key, value)| (decode_query(key), decode_query(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodes_all_but_unreserved() {
        let mut out = String::new();
        encode_component(&mut out, "aZ9-._~ /%:é".as_bytes());
        assert_eq!(out, "aZ9-._~%20%2F%25%3A%C3%A9");
        out.clear();
        encode_path(&mut out, b"/a%2Fb:c");
        assert_eq!(out, "/a%252Fb%3Ac");
    }

    #[test]
    fn splits_queries() {
        let got: Vec<_> = pairs("a=1&&b&c=x%3Dy+z&a=").collect();
        let want = [("a", "1"), ("b", ""), ("c", "x=y z"), ("a", "")];
        assert_eq!(got.len(), want.len());
        for ((k, v), (wk, wv)) in got.iter().zip(want) {
            assert_eq!((k.as_ref(), v.as_ref()), (wk, wv));
        }
    }
}
