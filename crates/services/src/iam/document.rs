//! Policy documents as IAM takes them: grammar and size.

use lambkin_model::AwsError;
use lambkin_model::iam::errors;

use super::faults;
use crate::policy::{Document, Kind};

/// Most characters of a trust policy (AWS quota). White space does not count, here and below.
pub(super) const MAX_TRUST: usize = 2048;

/// Most characters of a managed policy (AWS quota).
pub(super) const MAX_MANAGED: usize = 6144;

/// Most characters of a role's inline policies together (AWS quota).
pub(super) const MAX_INLINE: usize = 10_240;

/// Characters that count.
pub(super) fn size(document: &str) -> usize {
    document.chars().filter(|c| !c.is_whitespace()).count()
}

/// Checks a trust policy.
pub(super) fn trust(text: &str) -> Result<Document, AwsError> {
    let document = parse(text, Kind::Trust)?;
    if size(text) > MAX_TRUST {
        return Err(faults::quota("ACLSizePerRole", MAX_TRUST));
    }
    Ok(document)
}

/// Checks a managed policy.
pub(super) fn managed(text: &str) -> Result<(), AwsError> {
    parse(text, Kind::Managed)?;
    if size(text) > MAX_MANAGED {
        return Err(faults::quota("PolicySize", MAX_MANAGED));
    }
    Ok(())
}

/// Checks an inline policy, but for its size, which counts with its role's others.
pub(super) fn inline(text: &str) -> Result<(), AwsError> {
    parse(text, Kind::Inline).map(|_| ())
}

fn parse(text: &str, kind: Kind) -> Result<Document, AwsError> {
    Document::parse(text, kind).map_err(errors::malformed_policy_document_exception)
}
