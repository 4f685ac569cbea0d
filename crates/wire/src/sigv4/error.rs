//! Refusals of signatures, and how each protocol's services word them.

use lambkin_model::AwsError;
use lambkin_model::schema::Protocol;

/// Why a request is not authenticated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// Neither an `Authorization` header nor a presigned query.
    #[error("no credentials")]
    Missing,
    /// The header or query lacks parts; the text names them all.
    #[error("{0}")]
    Incomplete(String),
    /// The access key id is not known, or its session token is not the one issued with it.
    #[error("unknown access key or wrong session token")]
    UnknownKey,
    /// The session's credentials are past their end.
    #[error("expired session token")]
    ExpiredToken,
    /// The signature is not the one computed.
    #[error("signature mismatch")]
    Mismatch,
    /// A well-formed signature that is refused for its time or scope; the text says why.
    #[error("{0}")]
    Invalid(String),
}

impl SignatureError {
    /// The error as the services of a protocol answer it. REST services say 403; the JSON protocols say 400;
    /// query services say 403 but for incomplete signatures, under names of their own.
    #[must_use]
    pub fn to_aws(&self, protocol: Protocol) -> AwsError {
        let query = matches!(protocol, Protocol::Query | Protocol::Ec2);
        let json = matches!(protocol, Protocol::Json10 | Protocol::Json11);
        let (code, message) = match self {
            Self::Missing if query => {
                ("MissingAuthenticationToken", "Request is missing Authentication Token")
            }
            Self::Missing => ("MissingAuthenticationTokenException", "Missing Authentication Token"),
            Self::Incomplete(text) if query => ("IncompleteSignature", text.as_str()),
            Self::Incomplete(text) => ("IncompleteSignatureException", text.as_str()),
            Self::UnknownKey if query => ("InvalidClientTokenId", INVALID_TOKEN),
            Self::UnknownKey => ("UnrecognizedClientException", INVALID_TOKEN),
            Self::ExpiredToken if query => ("ExpiredToken", EXPIRED_TOKEN),
            Self::ExpiredToken => ("ExpiredTokenException", EXPIRED_TOKEN),
            Self::Mismatch if query => ("SignatureDoesNotMatch", MISMATCH),
            Self::Mismatch => ("InvalidSignatureException", MISMATCH),
            Self::Invalid(text) if query => ("SignatureDoesNotMatch", text.as_str()),
            Self::Invalid(text) => ("InvalidSignatureException", text.as_str()),
        };
        let bad_request = json || (query && matches!(self, Self::Incomplete(_)));
        AwsError::new(code, if bad_request { 400 } else { 403 }, message)
    }
}

const INVALID_TOKEN: &str = "The security token included in the request is invalid.";
const EXPIRED_TOKEN: &str = "The security token included in the request is expired";
const MISMATCH: &str = "The request signature we calculated does not match the signature you provided. \
Check your AWS Secret Access Key and signing method. Consult the service documentation for details.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_follow_the_protocol() {
        let of = |error: SignatureError, protocol| {
            let aws = error.to_aws(protocol);
            (aws.code.into_owned(), aws.status)
        };
        let unknown = SignatureError::UnknownKey;
        assert_eq!(of(unknown.clone(), Protocol::RestJson), ("UnrecognizedClientException".into(), 403));
        assert_eq!(of(unknown.clone(), Protocol::Json11), ("UnrecognizedClientException".into(), 400));
        assert_eq!(of(unknown, Protocol::Query), ("InvalidClientTokenId".into(), 403));
        let incomplete = SignatureError::Incomplete(String::new());
        assert_eq!(of(incomplete.clone(), Protocol::Query), ("IncompleteSignature".into(), 400));
        assert_eq!(of(incomplete, Protocol::RestJson), ("IncompleteSignatureException".into(), 403));
        assert_eq!(of(SignatureError::Mismatch, Protocol::Query), ("SignatureDoesNotMatch".into(), 403));
    }
}
