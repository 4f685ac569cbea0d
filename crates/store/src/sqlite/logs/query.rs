//! Reading groups, streams and events.
//!
//! Each day file answers in the order (timestamp, sequence) from an index; the answers are merged, file by
//! file, keeping no more than the limit. Files whose timestamps can't come into the answer are not opened.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogGroup, LogQuery, LogStream, StoredLogEvent};
use lambkin_core::metadata::StoreError;
use rusqlite::{Connection, OptionalExtension, params};

use super::days::{Day, Days};
use super::index::{group_id, stream_id};
use crate::expiry_cutoff;
use crate::sqlite::connection::{Readers, sql_error};

/// Up to so many streams are read one by one from their index, more by going through their group's events.
const MAX_SINGLE_STREAMS: usize = 16;

/// A position in the order of events.
type Position = (i64, i64);

pub(super) fn groups(
    index: &Connection,
    scope: &Scope,
    prefix: &str,
    after: Option<&str>,
    limit: usize,
) -> rusqlite::Result<Vec<LogGroup>> {
    let mut statement = index.prepare_cached(
        "SELECT name, creation_time, retention_days, stored_bytes FROM log_group
         WHERE account = ?1 AND region = ?2 AND name >= ?3 AND (?4 IS NULL OR name > ?4) ORDER BY name",
    )?;
    // The later of the two bounds comes first, so that the index is entered there.
    let from = after.filter(|after| *after > prefix).unwrap_or(prefix);
    let mut rows = statement.query(params![&*scope.account, &*scope.region, from, after])?;
    let mut groups = Vec::new();
    while groups.len() < limit
        && let Some(row) = rows.next()?
    {
        let group = LogGroup {
            name: row.get(0)?,
            creation_time: row.get(1)?,
            retention_days: row.get(2)?,
            stored_bytes: row.get::<_, i64>(3)?.unsigned_abs(),
        };
        if !group.name.starts_with(prefix) {
            break;
        }
        groups.push(group);
    }
    Ok(groups)
}

/// `None` without the group.
pub(super) fn streams(
    index: &Connection,
    scope: &Scope,
    group: &str,
    prefix: &str,
) -> rusqlite::Result<Option<Vec<LogStream>>> {
    let Some(group) = group_id(index, scope, group)? else { return Ok(None) };
    let mut statement = index.prepare_cached(
        "SELECT name, creation_time, first_event, last_event, last_ingestion FROM log_stream
         WHERE group_id = ? AND name >= ? ORDER BY name",
    )?;
    let mut rows = statement.query((group, prefix))?;
    let mut streams = Vec::new();
    while let Some(row) = rows.next()? {
        let stream = LogStream {
            name: row.get(0)?,
            creation_time: row.get(1)?,
            first_event: row.get(2)?,
            last_event: row.get(3)?,
            last_ingestion: row.get(4)?,
        };
        if !stream.name.starts_with(prefix) {
            break;
        }
        streams.push(stream);
    }
    Ok(Some(streams))
}

/// Reads events of all days; `now` decides which have expired. Blocks.
pub(super) fn events(
    readers: &Readers,
    index: &Path,
    days: &Days,
    scope: &Scope,
    group: &str,
    query: &LogQuery,
    now: i64,
) -> Result<Vec<StoredLogEvent>, StoreError> {
    readers.with_store(index, |index| {
        let mut search = Search::new(index, scope, group, query, now)?;
        let mut files: Vec<(Day, (i64, i64))> =
            days.all().into_iter().filter_map(|(day, bounds)| Some((day, bounds?))).collect();
        if query.backward {
            files.sort_unstable_by_key(|(_, (_, last))| std::cmp::Reverse(*last));
        } else {
            files.sort_unstable_by_key(|(_, (first, _))| *first);
        }
        for (day, bounds) in files {
            if !search.wants(bounds) {
                continue;
            }
            let scanned = readers.with_store(&days.path(day), |file| search.scan(file));
            match scanned {
                // Expired and removed since the list was copied.
                Err(_) if !days.contains(day) => {}
                scanned => scanned?,
            }
        }
        Ok(search.found)
    })
}

/// Where to look for the events.
enum Source {
    /// In the events of these streams, one by one.
    Streams(Vec<i64>),
    /// In all events of the group, by the stream's name.
    Group,
}

/// A query under way.
struct Search<'a> {
    query: &'a LogQuery,
    names: StreamNames<'a>,
    group: i64,
    source: Source,
    /// First and last position that may still be in the answer.
    low: Position,
    high: Position,
    found: Vec<StoredLogEvent>,
}

impl<'a> Search<'a> {
    fn new(
        index: &'a Connection,
        scope: &Scope,
        group: &str,
        query: &'a LogQuery,
        now: i64,
    ) -> Result<Self, StoreError> {
        let (group, retention_days): (i64, Option<u32>) = index
            .prepare_cached(
                "SELECT id, retention_days FROM log_group WHERE account = ? AND region = ? AND name = ?",
            )
            .and_then(|mut statement| {
                let place = (&*scope.account, &*scope.region, group);
                statement.query_row(place, |row| Ok((row.get(0)?, row.get(1)?))).optional()
            })
            .map_err(sql_error)?
            .ok_or(StoreError::NotFound)?;
        let mut low = (i64::MIN, 0);
        let mut high = (i64::MAX, i64::MAX);
        let start = query.start.max(expiry_cutoff(now, retention_days));
        if let Some(start) = start {
            low = (start, 0);
        }
        if let Some(end) = query.end {
            high = before((end, 0));
        }
        if let Some((timestamp, sequence)) = query.after {
            let after = (timestamp, i64::try_from(sequence).unwrap_or(i64::MAX));
            if query.backward {
                high = high.min(before(after));
            } else {
                low = low.max((after.0, after.1.saturating_add(1)));
            }
        }
        let names = StreamNames::new(index, query);
        let source = names.source(group).map_err(sql_error)?;
        Ok(Self { query, names, group, source, low, high, found: Vec::new() })
    }

    /// Whether a file with timestamps in these bounds can add to the answer.
    fn wants(&self, (first, last): (i64, i64)) -> bool {
        self.query.limit > 0 && self.low <= self.high && first <= self.high.0 && last >= self.low.0
    }

    fn scan(&mut self, file: &Connection) -> Result<(), StoreError> {
        let streams = match &self.source {
            Source::Group => vec![None],
            Source::Streams(ids) => ids.iter().copied().map(Some).collect(),
        };
        for stream in streams {
            let matches = self.matches(file, stream).map_err(sql_error)?;
            self.merge(matches);
        }
        Ok(())
    }

    /// Matching events of a file, or of one stream in it, in order, up to the limit.
    fn matches(&mut self, file: &Connection, stream: Option<i64>) -> rusqlite::Result<Vec<StoredLogEvent>> {
        let in_stream = if stream.is_some() { "AND stream_id = ?6" } else { "AND ?6 IS NULL" };
        let order = if self.query.backward { "DESC" } else { "ASC" };
        let mut statement = file.prepare_cached(&format!(
            "SELECT stream_id, sequence, timestamp, ingestion_time, message FROM event
             WHERE group_id = ?1 AND timestamp BETWEEN ?2 AND ?4 {in_stream}
                 AND (timestamp > ?2 OR sequence >= ?3) AND (timestamp < ?4 OR sequence <= ?5)
             ORDER BY timestamp {order}, sequence {order}"
        ))?;
        let mut rows =
            statement.query(params![self.group, self.low.0, self.low.1, self.high.0, self.high.1, stream])?;
        let mut matches = Vec::new();
        while matches.len() < self.query.limit
            && let Some(row) = rows.next()?
        {
            let Some(stream) = self.names.wanted(row.get(0)?)? else { continue };
            matches.push(StoredLogEvent {
                sequence: row.get::<_, i64>(1)?.unsigned_abs(),
                stream,
                timestamp: row.get(2)?,
                ingestion_time: row.get(3)?,
                message: row.get(4)?,
            });
        }
        Ok(matches)
    }

    /// Adds events to the answer; once it is full, narrows the search to what comes before its end.
    fn merge(&mut self, matches: Vec<StoredLogEvent>) {
        self.found.extend(matches);
        let position = |event: &StoredLogEvent| (event.timestamp, event.sequence);
        // Two sorted runs: linear.
        if self.query.backward {
            self.found.sort_by_key(|event| std::cmp::Reverse(position(event)));
        } else {
            self.found.sort_by_key(position);
        }
        self.found.truncate(self.query.limit);
        if let Some(last) = self.found.last()
            && self.found.len() == self.query.limit
        {
            let last = (last.timestamp, i64::try_from(last.sequence).unwrap_or(i64::MAX));
            if self.query.backward {
                self.low = last;
            } else {
                self.high = last;
            }
        }
    }
}

/// The position just before another.
fn before((timestamp, sequence): Position) -> Position {
    match (timestamp.checked_sub(1), sequence.checked_sub(1)) {
        (_, Some(sequence)) if sequence >= 0 => (timestamp, sequence),
        (Some(timestamp), _) => (timestamp, i64::MAX),
        // Before all: lower than any position.
        (None, _) => (i64::MIN, -1),
    }
}

/// Stream names by id, looked up as they are met, and the query's condition on them.
struct StreamNames<'a> {
    index: &'a Connection,
    names: HashSet<&'a str>,
    prefix: &'a str,
    /// `None`: deleted, or not wanted.
    seen: HashMap<i64, Option<Arc<str>>>,
}

impl<'a> StreamNames<'a> {
    fn new(index: &'a Connection, query: &'a LogQuery) -> Self {
        let names = query.streams.iter().map(String::as_str).collect();
        let prefix = query.stream_prefix.as_deref().unwrap_or_default();
        Self { index, names, prefix, seen: HashMap::new() }
    }

    fn matches(&self, name: &str) -> bool {
        (self.names.is_empty() || self.names.contains(name)) && name.starts_with(self.prefix)
    }

    /// The stream's name, if it is there and wanted.
    fn wanted(&mut self, id: i64) -> rusqlite::Result<Option<Arc<str>>> {
        if let Some(seen) = self.seen.get(&id) {
            return Ok(seen.clone());
        }
        let mut find = self.index.prepare_cached("SELECT name FROM log_stream WHERE id = ?")?;
        let name: Option<String> = find.query_row([id], |row| row.get(0)).optional()?;
        let wanted = name.filter(|name| self.matches(name)).map(Arc::from);
        self.seen.insert(id, wanted.clone());
        Ok(wanted)
    }

    fn source(&self, group: i64) -> rusqlite::Result<Source> {
        let mut ids = Vec::new();
        if !self.names.is_empty() {
            if self.names.len() > MAX_SINGLE_STREAMS {
                return Ok(Source::Group);
            }
            for name in self.names.iter().filter(|name| self.matches(name)) {
                ids.extend(stream_id(self.index, group, name)?);
            }
        } else if self.prefix.is_empty() {
            return Ok(Source::Group);
        } else {
            let sql = "SELECT id, name FROM log_stream WHERE group_id = ? AND name >= ? ORDER BY name";
            let mut statement = self.index.prepare_cached(sql)?;
            let mut rows = statement.query((group, self.prefix))?;
            while let Some(row) = rows.next()? {
                if !row.get::<_, String>(1)?.starts_with(self.prefix) {
                    break;
                }
                if ids.len() == MAX_SINGLE_STREAMS {
                    return Ok(Source::Group);
                }
                ids.push(row.get(0)?);
            }
        }
        Ok(Source::Streams(ids))
    }
}
