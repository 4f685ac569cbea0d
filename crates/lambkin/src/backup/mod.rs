//! Backups: one tar file with a data folder's state at one moment, and back.
//!
//! The entries of the file, in this order:
//! - `lambkin-backup.json`: [`Header`];
//! - the parts: files of the data folder by their path there;
//! - `manifest.json`: [`Manifest`], which names every part with its size and SHA-256. A file without it was cut.

pub(crate) mod command;
mod restore;
mod write;

use serde::{Deserialize, Serialize};

pub(crate) use self::write::{BackupError, write};

/// First entry.
const HEADER: &str = "lambkin-backup.json";
/// Last entry.
const MANIFEST: &str = "manifest.json";
/// What [`Header::format`] says.
const FORMAT: &str = "lambkin-backup";
/// The newest version of the format that this program knows, and the one that it writes.
const VERSION: u32 = 1;
/// Longest header and manifest, bytes.
const MAX_JSON: u64 = 256 << 20;

/// What a backup is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Header {
    format: String,
    version: u32,
    /// Version of the program that made it.
    lambkin: String,
    /// When, in UTC.
    created: String,
    /// Account of the root key.
    account: String,
    /// Whether the logs are in it.
    logs: bool,
}

/// What a backup holds.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Manifest {
    parts: Vec<Entry>,
}

/// A part.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    path: String,
    size: u64,
    /// In hexadecimal digits.
    sha256: String,
}

/// Whether a data folder can have such a part. Nothing else is written or restored.
fn is_part(path: &str) -> bool {
    let lower_hex = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    let key_name = |name: &str| {
        name.strip_suffix(".key").is_some_and(|name| {
            !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        })
    };
    let day = |name: &str| {
        name.strip_prefix("logs-")
            .and_then(|name| name.strip_suffix(".db"))
            .is_some_and(|day| day.len() == 8 && day.bytes().all(|b| b.is_ascii_digit()))
    };
    match path.split('/').collect::<Vec<_>>().as_slice() {
        [name] => matches!(*name, "meta.db" | "root-key.json"),
        ["keys", name] => key_name(name),
        ["logs", name] => *name == "index.db" || day(name),
        ["blobs", folder, name] => {
            folder.len() == 2 && name.len() == 64 && name.starts_with(folder) && lower_hex(name)
        }
        _ => false,
    }
}

/// SHA-256 in hexadecimal digits.
fn hex(digest: &aws_lc_rs::digest::Digest) -> String {
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
