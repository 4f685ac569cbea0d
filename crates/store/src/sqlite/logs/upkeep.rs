//! Removing expired events, and those of deleted groups and streams, from the day files.
//!
//! The writer does it in small steps between its other work. A file of which nothing is to stay is removed
//! whole. The sums in the index are lowered after the file; a crash in between leaves them too high by what one
//! step removed.

use std::collections::{HashMap, HashSet};

use lambkin_core::metadata::StoreError;
use rusqlite::{Connection, params};

use super::days::Day;
use super::index::{self, Delta, Deltas, execute, transaction};
use super::queue::Answer;
use super::writer::{Writer, remove_file};
use crate::disk::{io_error, sync_folder};
use crate::expiry_cutoff;
use crate::sqlite::connection::sql_error;

/// Events removed in one transaction at most.
const STEP: usize = 1000;

/// A pass over all day files.
pub(super) struct Upkeep {
    rules: Rules,
    days: Vec<Day>,
    answers: Vec<Answer>,
    failed: Option<StoreError>,
}

/// What is to go.
struct Rules {
    /// Oldest timestamp that stays, by group.
    cutoffs: HashMap<i64, i64>,
    groups: HashSet<i64>,
    streams: HashSet<i64>,
    /// Rows of the index's `doomed` that these come from.
    doomed: Vec<i64>,
}

/// The events of a stream in one file, from `stream_day`.
struct StreamDay {
    stream: i64,
    group: i64,
    bytes: i64,
    first: i64,
    last: i64,
}

/// What is to be removed of it.
enum Verdict {
    Keep,
    Before(i64),
    All,
}

impl Rules {
    fn load(index: &Connection, now: i64) -> rusqlite::Result<Self> {
        let mut rules = Self {
            cutoffs: HashMap::new(),
            groups: HashSet::new(),
            streams: HashSet::new(),
            doomed: Vec::new(),
        };
        let mut statement =
            index.prepare("SELECT id, retention_days FROM log_group WHERE retention_days IS NOT NULL")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            if let Some(cutoff) = expiry_cutoff(now, row.get(1)?) {
                rules.cutoffs.insert(row.get(0)?, cutoff);
            }
        }
        let mut statement = index.prepare("SELECT id, group_id, stream_id FROM doomed")?;
        let mut rows = statement.query(())?;
        while let Some(row) = rows.next()? {
            rules.doomed.push(row.get(0)?);
            match row.get(2)? {
                Some(stream) => rules.streams.insert(stream),
                None => rules.groups.insert(row.get(1)?),
            };
        }
        Ok(rules)
    }

    fn is_doomed(&self, of: &StreamDay) -> bool {
        self.groups.contains(&of.group) || self.streams.contains(&of.stream)
    }

    fn verdict(&self, of: &StreamDay) -> Verdict {
        match self.cutoffs.get(&of.group) {
            _ if self.is_doomed(of) => Verdict::All,
            Some(&cutoff) if of.last < cutoff => Verdict::All,
            Some(&cutoff) if of.first < cutoff => Verdict::Before(cutoff),
            _ => Verdict::Keep,
        }
    }

    /// What the sums lose with `bytes` of a stream; nothing if they went with the stream.
    fn loss(&self, of: &StreamDay, bytes: i64) -> Option<(i64, Delta)> {
        let delta = Delta { group: of.group, bytes: -bytes, ..Delta::default() };
        (bytes != 0 && !self.is_doomed(of)).then_some((of.stream, delta))
    }
}

impl Writer {
    /// Starts a pass for whoever waits.
    pub(super) fn start_upkeep(&mut self, answers: Vec<Answer>) {
        let now = self.clock.now_ms();
        let prepared = self
            .leave_day_unless(Day::of(now))
            .and_then(|()| self.write_sums())
            .and_then(|()| Rules::load(&self.index, now).map_err(sql_error));
        match prepared {
            Ok(rules) => {
                // Files whose events are all too new need not be opened.
                let newest = rules.cutoffs.values().copied().max();
                let all = self.days.all();
                let old = all.into_iter().filter(|(_, bounds)| {
                    !rules.doomed.is_empty()
                        || bounds.is_none_or(|(first, _)| newest.is_some_and(|newest| first < newest))
                });
                let days = old.map(|(day, _)| day).collect();
                self.upkeep = Some(Upkeep { rules, days, answers, failed: None });
            }
            Err(error) => {
                tracing::error!(%error, "expired log events can't be looked for");
                for answer in answers {
                    // Who no longer waits does not need the answer; so below.
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// One step of the pass under way.
    pub(super) fn upkeep_step(&mut self) {
        let Some(mut upkeep) = self.upkeep.take() else { return };
        if let Some(day) = upkeep.days.last().copied() {
            match self.clean(day, &upkeep.rules) {
                Ok(true) => {}
                Ok(false) => {
                    self.cleaning = None;
                    upkeep.days.pop();
                }
                Err(error) => {
                    tracing::error!(%error, day = day.0, "expired log events can't be removed");
                    self.cleaning = None;
                    upkeep.days.pop();
                    upkeep.failed = Some(error);
                }
            }
            self.upkeep = Some(upkeep);
            return;
        }
        let mut result = upkeep.failed.map_or(Ok(()), Err);
        if result.is_ok() {
            result = self.write_sums().and_then(|()| {
                transaction(&self.index, |index| {
                    for id in &upkeep.rules.doomed {
                        execute(index, "DELETE FROM doomed WHERE id = ?", params![id])?;
                    }
                    Ok(())
                })
            });
        }
        for answer in upkeep.answers {
            let _ = answer.send(result.clone());
        }
    }

    /// Removes some of what is to go from a file; `true` if there may be more.
    fn clean(&mut self, day: Day, rules: &Rules) -> Result<bool, StoreError> {
        // Sequence numbers of events that go must not be given again: the index has to know them.
        self.write_sums()?;
        let current = self.current.as_ref().is_some_and(|(current, _)| *current == day);
        if !current && !self.days.path(day).exists() {
            self.remove_day(day, &Deltas::default())?;
            return Ok(false);
        }
        if !current && self.cleaning.is_none() {
            self.cleaning = Some(self.open_day(day)?);
        }
        let file = if current { self.current.as_ref().map(|(_, file)| file) } else { self.cleaning.as_ref() };
        let Some(file) = file else { return Ok(false) };
        let streams = stream_days(file).map_err(sql_error)?;
        let stays = |of: &StreamDay| !matches!(rules.verdict(of), Verdict::All);
        let mut lost = Deltas::default();
        if !current && !streams.iter().any(stays) {
            for of in &streams {
                if let Some((stream, delta)) = rules.loss(of, of.bytes) {
                    lost.add(stream, delta);
                }
            }
            self.remove_day(day, &lost)?;
            return Ok(false);
        }
        let (losses, more) = transaction(file, |file| remove_some(file, rules, &streams))?;
        for (stream, delta) in losses {
            self.deltas.add(stream, delta);
        }
        Ok(more)
    }

    /// Removes a day file; the sums change by `lost`.
    fn remove_day(&mut self, day: Day, lost: &Deltas) -> Result<(), StoreError> {
        transaction(&self.index, |index| {
            index::add_sums(index, lost, self.sequence)?;
            execute(index, "DELETE FROM day_file WHERE day = ?", params![day.0])
        })?;
        // From here on the next open would remove what is left of it.
        self.days.remove(day);
        self.cleaning = None;
        self.readers.forget();
        let path = self.days.path(day);
        for suffix in ["-wal", "-shm", ""] {
            let mut name = path.clone().into_os_string();
            name.push(suffix);
            remove_file(name.as_ref()).map_err(|error| io_error("remove", &path, &error))?;
        }
        let folder = self.days.folder();
        sync_folder(folder).map_err(|error| io_error("sync", folder, &error))?;
        tracing::info!(day = day.0, "expired log file removed");
        Ok(())
    }
}

fn stream_days(file: &Connection) -> rusqlite::Result<Vec<StreamDay>> {
    let sql = "SELECT stream_id, group_id, bytes, first_event, last_event FROM stream_day";
    let mut statement = file.prepare_cached(sql)?;
    let rows = statement.query_map((), |row| {
        Ok(StreamDay {
            stream: row.get(0)?,
            group: row.get(1)?,
            bytes: row.get(2)?,
            first: row.get(3)?,
            last: row.get(4)?,
        })
    })?;
    rows.collect()
}

/// Removes up to [`STEP`] events inside a transaction; answers what the sums lose and whether more is to go.
fn remove_some(
    file: &Connection,
    rules: &Rules,
    streams: &[StreamDay],
) -> Result<(Vec<(i64, Delta)>, bool), StoreError> {
    let mut losses = Vec::new();
    let mut left = STEP;
    for of in streams {
        let (before, all) = match rules.verdict(of) {
            Verdict::Keep => continue,
            Verdict::Before(cutoff) => (cutoff, false),
            Verdict::All => (i64::MAX, true),
        };
        if left == 0 {
            return Ok((losses, true));
        }
        let (events, bytes) = remove_oldest(file, of, before, all, left).map_err(sql_error)?;
        if all && events < left {
            execute(file, "DELETE FROM stream_day WHERE stream_id = ?", params![of.stream])?;
        } else {
            execute(
                file,
                "UPDATE stream_day SET events = events - ?2, bytes = bytes - ?3, first_event = ifnull(
                     (SELECT min(timestamp) FROM event WHERE group_id = ?4 AND stream_id = ?1), last_event)
                 WHERE stream_id = ?1",
                params![of.stream, i64::try_from(events).unwrap_or(i64::MAX), bytes, of.group],
            )?;
        }
        losses.extend(rules.loss(of, bytes));
        // A stream without events costs a little, too.
        left = left.saturating_sub(events.max(1));
    }
    Ok((losses, left == 0))
}

/// Removes the oldest events of a stream, at most `limit`: those before a time, or any. Answers how many, and
/// their bytes.
fn remove_oldest(
    file: &Connection,
    of: &StreamDay,
    before: i64,
    any: bool,
    limit: usize,
) -> rusqlite::Result<(usize, i64)> {
    let mut statement = file.prepare_cached(
        "DELETE FROM event WHERE sequence IN (
             SELECT sequence FROM event
             WHERE group_id = ?1 AND stream_id = ?2 AND (timestamp < ?3 OR ?4)
             ORDER BY timestamp LIMIT ?5)
         RETURNING bytes",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![of.group, of.stream, before, any, limit])?;
    let (mut events, mut bytes) = (0, 0i64);
    while let Some(row) = rows.next()? {
        events += 1;
        bytes = bytes.saturating_add(row.get(0)?);
    }
    Ok((events, bytes))
}
