//! Where Lambkin keeps its state: backends of the store traits in `lambkin_core`.
//!
//! - [`sqlite`]: the default; [`sqlite::open`] takes a data folder and answers its metadata, logs and blobs.
//!   What was acknowledged is on disk.
//! - [`mem`]: nothing survives the process; the model that property tests compare the others with.
//! - [`blobs`]: content-addressed files.

pub mod blobs;
mod disk;
pub mod mem;
pub mod sqlite;

pub use blobs::FsBlobs;
pub use mem::{MemLogs, MemMetadata};
pub use sqlite::{OpenError, Options, SqliteLogs, SqliteMetadata, SqliteStore, open};

/// How many deletions a metadata store remembers for `watch`, unless told otherwise.
pub const DEFAULT_DELETIONS_KEPT: usize = 10_000;

/// What AWS adds to the size of each log event's text.
const EVENT_OVERHEAD: u64 = 26;

const DAY_MS: i64 = 86_400_000;

/// Size of an event as AWS counts it.
fn event_bytes(message: &str) -> u64 {
    message.len() as u64 + EVENT_OVERHEAD
}

/// Events with an older timestamp have expired; `None` without a retention.
fn expiry_cutoff(now_ms: i64, retention_days: Option<u32>) -> Option<i64> {
    retention_days.map(|days| now_ms.saturating_sub(i64::from(days).saturating_mul(DAY_MS)))
}

/// Locks a mutex; what a panicking holder left is whole, as every critical section here is.
fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
