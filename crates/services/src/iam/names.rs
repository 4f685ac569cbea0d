//! ARNs, unique ids, and documents as they travel.

use std::sync::Arc;

use aws_lc_rs::rand::{SecureRandom as _, SystemRandom};
use lambkin_core::ids::Scope;
use lambkin_model::{AwsError, RequestContext};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::faults;

/// The account in the ARNs of AWS's own policies.
pub(super) const AWS: &str = "aws";

/// Characters of a unique id after its prefix.
const ID_LENGTH: usize = 17;

const ID_ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// What RFC 3986 lets stand.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// A fresh unique id, e.g. `AROA` and 17 characters.
pub(super) fn new_id(prefix: &str) -> Result<String, AwsError> {
    let mut bytes = [0; ID_LENGTH];
    SystemRandom::new().fill(&mut bytes).map_err(|_| faults::service("no random numbers to be had"))?;
    Ok(to_id(prefix, &bytes))
}

/// A unique id of the low bits of bytes.
pub(super) fn to_id(prefix: &str, bytes: &[u8]) -> String {
    let letters = bytes.iter().filter_map(|byte| ID_ALPHABET.get(usize::from(*byte % 32)));
    prefix.chars().chain(letters.take(ID_LENGTH).map(|letter| char::from(*letter))).collect()
}

/// The partition a request is made in.
pub(super) fn partition(context: &RequestContext) -> &'static str {
    Scope::new(Arc::clone(&context.caller.account), Arc::clone(&context.region)).partition()
}

/// `arn:aws:iam::ACCOUNT:role/PATH/NAME`.
pub(super) fn role_arn(partition: &str, account: &str, path: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{account}:role{path}{name}")
}

/// `arn:aws:iam::ACCOUNT:policy/PATH/NAME`.
pub(super) fn policy_arn(partition: &str, account: &str, path: &str, name: &str) -> String {
    format!("arn:{partition}:iam::{account}:policy{path}{name}")
}

/// The parts of the ARN of a role or policy.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Parsed<'a> {
    pub(super) partition: &'a str,
    pub(super) account: &'a str,
    /// With a slash at both ends.
    pub(super) path: &'a str,
    pub(super) name: &'a str,
}

/// Takes an ARN apart; `kind` is `role` or `policy`.
pub(super) fn parse_arn<'a>(arn: &'a str, kind: &str) -> Option<Parsed<'a>> {
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    let ["arn", partition, "iam", "", account, resource] = parts.as_slice() else { return None };
    let resource = resource.strip_prefix(kind)?;
    let cut = resource.rfind('/')?.checked_add(1)?;
    let (path, name) = resource.split_at_checked(cut)?;
    let whole = path.starts_with('/') && !name.is_empty() && partition.starts_with("aws");
    whole.then_some(Parsed { partition, account, path, name })
}

/// A document as IAM returns it.
pub(super) fn encode(document: &str) -> String {
    utf8_percent_encode(document, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arns_come_apart() {
        let arn = role_arn("aws", "000000000000", "/service-role/", "r");
        assert_eq!(arn, "arn:aws:iam::000000000000:role/service-role/r");
        let parsed = parse_arn(&arn, "role").unwrap();
        assert_eq!((parsed.account, parsed.path, parsed.name), ("000000000000", "/service-role/", "r"));
        for arn in [
            "",
            "arn:aws:iam::0:role/",
            "arn:aws:iam::0:rolex",
            "arn:aws:iam::0:policy/x",
            "arn:aws:iam:x:0:role/x",
        ] {
            assert_eq!(parse_arn(arn, "role"), None, "{arn}");
        }
    }

    #[test]
    fn ids_are_of_their_own() {
        let id = new_id("AROA").unwrap();
        assert_eq!(id.len(), 21);
        assert!(id.starts_with("AROA") && id.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit()));
        assert_ne!(id, new_id("AROA").unwrap());
    }

    #[test]
    fn documents_travel_encoded() {
        assert_eq!(encode("{\"a\": \"b-_.~/*\"}"), "%7B%22a%22%3A%20%22b-_.~%2F%2A%22%7D");
    }
}
