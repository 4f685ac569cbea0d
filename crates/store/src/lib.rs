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
pub use sqlite::{
    OpenError, Options, Part, RESTORING, Snapshot, SqliteLogs, SqliteMetadata, SqliteStore, open,
};

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

/// Year, month and day in UTC of a time in milliseconds since the epoch.
fn utc_date(millis: i64) -> (i64, i64, i64) {
    // Days since 0000-03-01, in eras of 400 years, so that the leap day ends the year.
    let days = millis.div_euclid(DAY_MS).saturating_add(719_468);
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march_month = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march_month + 2) / 5 + 1;
    let month = if march_month < 10 { march_month + 3 } else { march_month - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}
