//! The `aws-chunked` content encoding.
//!
//! `hex-size[;chunk-signature=hex]\r\n data \r\n ... 0[;chunk-signature=hex]\r\n [name:value\r\n]* \r\n`

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::{digest, hmac};
use bytes::{Bytes, BytesMut};

use super::error::SignatureError;
use super::verify::Hex;

/// The chain of chunk signatures: each covers the one before.
pub(crate) struct ChunkSignatures<'a> {
    key: &'a hmac::Key,
    time: &'a str,
    scope: &'a str,
    previous: String,
}

impl<'a> ChunkSignatures<'a> {
    pub(crate) fn new(key: &'a hmac::Key, time: &'a str, scope: &'a str, seed: &str) -> Self {
        Self { key, time, scope, previous: seed.to_owned() }
    }

    fn check(
        &mut self,
        algorithm: &str,
        middle: &str,
        data: &[u8],
        given: &str,
    ) -> Result<(), SignatureError> {
        let hash = Hex::of(digest::digest(&digest::SHA256, data).as_ref());
        let mut mac = hmac::Context::with_key(self.key);
        for piece in
            [algorithm, "\n", self.time, "\n", self.scope, "\n", &self.previous, "\n", middle, hash.as_str()]
        {
            mac.update(piece.as_bytes());
        }
        let wanted = Hex::of(mac.sign().as_ref());
        verify_slices_are_equal(wanted.as_str().as_bytes(), given.as_bytes())
            .map_err(|_| SignatureError::Mismatch)?;
        self.previous.clear();
        self.previous.push_str(wanted.as_str());
        Ok(())
    }

    fn chunk(&mut self, data: &[u8], given: &str) -> Result<(), SignatureError> {
        // The second line is the hash of the empty string: chunks have no headers.
        const MIDDLE: &str = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855\n";
        self.check("AWS4-HMAC-SHA256-PAYLOAD", MIDDLE, data, given)
    }

    fn trailer(&mut self, trailers: &[u8], given: &str) -> Result<(), SignatureError> {
        self.check("AWS4-HMAC-SHA256-TRAILER", "", trailers, given)
    }
}

/// Takes the framing off `body`. `kind` is the value of `x-amz-content-sha256`; with `signatures` and a
/// signed kind every chunk's signature is verified.
pub(crate) fn decode(
    body: &Bytes,
    kind: &str,
    signatures: Option<ChunkSignatures<'_>>,
) -> Result<Bytes, SignatureError> {
    let (signed, trailer) = match kind {
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD" => (true, false),
        "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER" => (true, true),
        "STREAMING-UNSIGNED-PAYLOAD-TRAILER" => (false, true),
        other => {
            return Err(SignatureError::Incomplete(format!(
                "Unsupported 'x-amz-content-sha256': '{other}'."
            )));
        }
    };
    let mut signatures = signatures.filter(|_| signed);
    let mut rest = body.clone();
    let mut out = BytesMut::new();
    loop {
        let line = take_line(&mut rest)?;
        let (size, extension) = line.split_once(';').unwrap_or((&line, ""));
        let size = usize::from_str_radix(size.trim(), 16).map_err(|_| malformed("chunk size"))?;
        if size > rest.len() {
            return Err(malformed("chunk longer than the body"));
        }
        let data = rest.split_to(size);
        if let Some(signatures) = &mut signatures {
            let given = extension.trim().strip_prefix("chunk-signature=").ok_or(SignatureError::Mismatch)?;
            signatures.chunk(&data, given)?;
        }
        if size == 0 {
            break;
        }
        if !take_line(&mut rest)?.is_empty() {
            return Err(malformed("no line end after a chunk"));
        }
        out.extend_from_slice(&data);
    }
    let mut trailers = String::new();
    let mut signature = None;
    while !rest.is_empty() {
        let line = take_line(&mut rest)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed("trailer"))?;
        if name.eq_ignore_ascii_case("x-amz-trailer-signature") {
            signature = Some(value.trim().to_owned());
        } else {
            trailers.push_str(&name.to_ascii_lowercase());
            trailers.push(':');
            trailers.push_str(value.trim());
            trailers.push('\n');
        }
    }
    if let Some(signatures) = &mut signatures
        && trailer
    {
        signatures.trailer(trailers.as_bytes(), signature.as_deref().unwrap_or_default())?;
    }
    Ok(out.freeze())
}

/// Cuts the next line, without its `\r\n`.
fn take_line(rest: &mut Bytes) -> Result<String, SignatureError> {
    let end =
        rest.windows(2).take(16 << 10).position(|pair| pair == b"\r\n").ok_or_else(|| malformed("line"))?;
    let line = rest.split_to(end + 2);
    let text = line.get(..end).and_then(|line| std::str::from_utf8(line).ok());
    text.map(str::to_owned).ok_or_else(|| malformed("line"))
}

fn malformed(what: &str) -> SignatureError {
    SignatureError::Incomplete(format!("Malformed aws-chunked body: {what}."))
}

#[cfg(test)]
mod tests {
    use super::super::parse::Scope;
    use super::super::{Secret, keys::SigningKey};
    use super::*;

    const KIND: &str = "STREAMING-AWS4-HMAC-SHA256-PAYLOAD";

    /// The example of "Signature calculations for the Authorization header: chunked upload" in the S3 API
    /// reference: 66,560 bytes of `a` in a chunk of 64 KiB, one of 1 KiB and the final one.
    fn example() -> (Vec<u8>, SigningKey) {
        let secret = Secret::from("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY");
        let scope = Scope {
            access_key: "AKIAIOSFODNN7EXAMPLE",
            date: "20130524",
            region: "us-east-1",
            service: "s3",
            terminator: "aws4_request",
        };
        let mut body = Vec::new();
        for (size, signature) in [
            (65_536, "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648"),
            (1_024, "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497"),
            (0, "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9"),
        ] {
            body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.resize(body.len() + size, b'a');
            body.extend_from_slice(b"\r\n");
        }
        (body, SigningKey::derive(&secret, &scope))
    }

    fn run(body: Vec<u8>, key: &SigningKey) -> Result<Bytes, SignatureError> {
        let seed = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
        let chain =
            ChunkSignatures::new(&key.key, "20130524T000000Z", "20130524/us-east-1/s3/aws4_request", seed);
        decode(&body.into(), KIND, Some(chain))
    }

    #[test]
    fn verifies_awss_example() {
        let (body, key) = example();
        assert_eq!(run(body.clone(), &key).unwrap(), vec![b'a'; 66_560]);
        for at in [90, 65_700, body.len() - 10] {
            let mut bad = body.clone();
            bad[at] ^= 1;
            assert!(run(bad, &key).is_err(), "changed byte {at}");
        }
        assert!(run(body[..66_000].to_vec(), &key).is_err());
    }

    /// The same reference's example with a trailing checksum.
    #[test]
    fn verifies_awss_example_with_a_trailer() {
        let (_, key) = example();
        let mut body = Vec::new();
        for (size, signature) in [
            (65_536, "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2"),
            (1_024, "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7"),
        ] {
            body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.resize(body.len() + size, b'a');
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(
            b"0;chunk-signature=2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992\r\n\
x-amz-checksum-crc32c:sOO8/Q==\r\n\
x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
        );
        let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
        let run = |body: Vec<u8>| {
            let chain = ChunkSignatures::new(
                &key.key,
                "20130524T000000Z",
                "20130524/us-east-1/s3/aws4_request",
                seed,
            );
            decode(&body.into(), "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER", Some(chain))
        };
        assert_eq!(run(body.clone()).unwrap().len(), 66_560);
        let at = body.len() - 110;
        body[at] ^= 1;
        assert_eq!(run(body), Err(SignatureError::Mismatch));
    }

    #[test]
    fn decodes_unsigned_chunks_with_trailers() {
        let body = Bytes::from_static(b"3\r\nabc\r\n2\r\nde\r\n0\r\nx-amz-checksum-crc32:AAAA\r\n\r\n");
        assert_eq!(decode(&body, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", None).unwrap(), "abcde");
        for bad in [&b"4\r\nabc\r\n0\r\n\r\n"[..], b"3\r\nabcd\r\n", b"zz\r\n", b"ffffffffffffffff\r\n", b""]
        {
            let bad = Bytes::copy_from_slice(bad);
            assert!(decode(&bad, "STREAMING-UNSIGNED-PAYLOAD-TRAILER", None).is_err());
        }
        assert!(decode(&body, "STREAMING-AWS4-ECDSA-P256-SHA256-PAYLOAD", None).is_err());
    }
}
