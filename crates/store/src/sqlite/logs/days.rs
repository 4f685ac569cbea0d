//! Day files: their names, and what is known of each without opening it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{PoisonError, RwLock};

use rusqlite::Connection;

use crate::sqlite::OpenError;
use crate::sqlite::schema::{self, open_database};
use crate::utc_date;

/// A UTC day as the number YYYYMMDD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Day(pub(super) i64);

impl Day {
    /// The day of a time in milliseconds since the epoch.
    pub(super) fn of(millis: i64) -> Self {
        let (year, month, day) = utc_date(millis);
        Self(year * 10_000 + month * 100 + day)
    }

    /// The day that a file of this name holds; `None` if it is no day file.
    pub(super) fn of_file(name: &str) -> Option<Self> {
        let digits = name.strip_prefix("logs-")?.strip_suffix(".db")?;
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        digits.parse().ok().map(Self)
    }
}

/// Bounds of the timestamps in a set of events; empty as `None`.
pub(super) type Bounds = Option<(i64, i64)>;

/// The smallest bounds around two.
pub(super) fn join(a: Bounds, b: Bounds) -> Bounds {
    match (a, b) {
        (Some((a, b)), Some((c, d))) => Some((a.min(c), b.max(d))),
        (a, b) => a.or(b),
    }
}

/// The day files that exist. The writer changes it, before it answers whoever gave it events; readers copy it.
#[derive(Debug)]
pub(super) struct Days {
    folder: PathBuf,
    bounds: RwLock<BTreeMap<Day, Bounds>>,
}

impl Days {
    pub(super) fn new(folder: PathBuf, bounds: BTreeMap<Day, Bounds>) -> Self {
        Self { folder, bounds: RwLock::new(bounds) }
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    pub(super) fn path(&self, day: Day) -> PathBuf {
        self.folder.join(format!("logs-{:08}.db", day.0))
    }

    pub(super) fn open(&self, day: Day, checkpoint_pages: u32) -> Result<Connection, OpenError> {
        open_database(&self.path(day), schema::LOG_DAY, checkpoint_pages)
    }

    pub(super) fn all(&self) -> Vec<(Day, Bounds)> {
        let bounds = self.bounds.read().unwrap_or_else(PoisonError::into_inner);
        bounds.iter().map(|(day, bounds)| (*day, *bounds)).collect()
    }

    pub(super) fn contains(&self, day: Day) -> bool {
        self.bounds.read().unwrap_or_else(PoisonError::into_inner).contains_key(&day)
    }

    /// Adds a file, or timestamps to one.
    pub(super) fn add(&self, day: Day, more: Bounds) {
        let mut bounds = self.bounds.write().unwrap_or_else(PoisonError::into_inner);
        let known = bounds.entry(day).or_default();
        *known = join(*known, more);
    }

    pub(super) fn remove(&self, day: Day) {
        self.bounds.write().unwrap_or_else(PoisonError::into_inner).remove(&day);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DAY_MS;

    #[test]
    fn names_days_as_the_calendar_does() {
        for (millis, day) in [
            (0, 19_700_101),
            (DAY_MS - 1, 19_700_101),
            (DAY_MS, 19_700_102),
            (-1, 19_691_231),
            (951_782_400_000, 20_000_229),
            (1_709_164_800_000, 20_240_229),
            (1_709_251_200_000, 20_240_301),
            (1_735_689_599_999, 20_241_231),
            (4_107_542_400_000, 21_000_301),
        ] {
            assert_eq!(Day::of(millis), Day(day), "{millis}");
        }
    }

    #[test]
    fn knows_its_own_files_only() {
        assert_eq!(Day::of_file("logs-20260102.db"), Some(Day(20_260_102)));
        for name in ["logs-20260102.db-wal", "index.db", "logs-.db", "logs-x.db", "logs--1.db"] {
            assert_eq!(Day::of_file(name), None, "{name}");
        }
    }
}
