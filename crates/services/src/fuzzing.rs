//! What the fuzz targets reach and nobody else outside this crate.

use std::path::Path;

use bytes::Bytes;

/// Unpacks a deployment package into an existing, empty folder; the sum of its files' sizes.
///
/// # Errors
/// The refusal as text.
pub fn unpack(package: &Bytes, folder: &Path) -> Result<u64, String> {
    crate::lambda::unpack(package, folder).map_err(|error| error.to_string())
}

/// Whether a message matches a filter pattern.
///
/// # Errors
/// The refusal of the pattern.
pub fn filter(pattern: &str, message: &str) -> Result<bool, String> {
    crate::logs::Pattern::parse(pattern).map(|pattern| pattern.matches(message))
}
