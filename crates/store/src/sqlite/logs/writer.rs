//! The log writer thread.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use lambkin_core::clock::Clock;
use lambkin_core::logs::LogStreamKey;
use lambkin_core::metadata::StoreError;
use rusqlite::{Connection, params};

use super::days::{Bounds, Day, Days, join};
use super::hold::Held;
use super::index::{self, Delta, Deltas, Ids, execute, savepoint, transaction};
use super::queue::{Answer, Append, Change, Queue, Work};
use super::upkeep::Upkeep;
use crate::event_bytes;
use crate::sqlite::connection::{Readers, sql_error};
use crate::sqlite::schema::{self, open_database};
use crate::sqlite::{OpenError, Options};

/// Sums wait so long for the index.
const SUMS_DELAY: Duration = Duration::from_secs(5);
/// Or until so many streams have some.
const SUMS_STREAMS: usize = 1000;
/// When expired events are looked for after a start, at the latest.
const FIRST_EXPIRY: Duration = Duration::from_secs(60);
/// How often a pass of upkeep that is held looks whether it may go on.
const HELD_LOOK: Duration = Duration::from_millis(100);
/// Stream ids remembered.
const MAX_IDS: usize = 10_000;

/// The one that writes all log databases.
pub(super) struct Writer {
    pub(super) index: Connection,
    pub(super) days: Arc<Days>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) readers: Arc<Readers>,
    queue: Arc<Queue>,
    checkpoint_pages: u32,
    /// The file of the day on which events were last written.
    pub(super) current: Option<(Day, Connection)>,
    /// The other file that upkeep is at.
    pub(super) cleaning: Option<Connection>,
    pub(super) upkeep: Option<Upkeep>,
    /// Alive while somebody copies the files: upkeep leaves them alone.
    held: Weak<()>,
    /// Who waits for the next upkeep.
    expiring: Vec<Answer>,
    expire_every: Option<Duration>,
    expire_due: Option<Instant>,
    ids: HashMap<LogStreamKey, Ids>,
    /// The last sequence number given.
    pub(super) sequence: i64,
    pub(super) deltas: Deltas,
    sums_due: Option<Instant>,
}

impl Writer {
    pub(super) fn open(
        folder: PathBuf,
        index: &Path,
        options: &Options,
        queue: Arc<Queue>,
        readers: Arc<Readers>,
    ) -> Result<Self, OpenError> {
        let checkpoint_pages = options.checkpoint_pages;
        let path = index;
        let index = open_database(path, schema::LOG_INDEX, checkpoint_pages)?;
        let failed =
            |error: rusqlite::Error| OpenError::Database { path: path.to_owned(), reason: sql_error(error) };
        let (known, live) = day_files(&index).map_err(failed)?;
        let sequence = index.query_row("SELECT counted FROM state", (), |row| row.get(0)).map_err(failed)?;
        let mut writer = Self {
            index,
            days: Arc::new(Days::new(folder, known)),
            clock: Arc::clone(&options.clock),
            readers,
            queue,
            checkpoint_pages,
            current: None,
            cleaning: None,
            upkeep: None,
            held: Weak::new(),
            expiring: Vec::new(),
            expire_every: options.expire_every,
            expire_due: options.expire_every.map(|every| Instant::now() + every.min(FIRST_EXPIRY)),
            ids: HashMap::new(),
            sequence,
            deltas: Deltas::default(),
            sums_due: None,
        };
        for day in live {
            writer.count(day)?;
        }
        writer.write_sums()?;
        execute(&writer.index, "UPDATE day_file SET live = 0 WHERE live", &[])?;
        writer.remove_strays()?;
        Ok(writer)
    }

    pub(super) fn days(&self) -> Arc<Days> {
        Arc::clone(&self.days)
    }

    pub(super) fn run(mut self) {
        /// Tells the callers, also when the thread panics.
        struct Abandon(Arc<Queue>);
        impl Drop for Abandon {
            fn drop(&mut self) {
                self.0.abandon();
            }
        }
        let _abandon = Abandon(Arc::clone(&self.queue));
        loop {
            // During upkeep there is always something to do.
            let pause = if self.is_held() { HELD_LOOK } else { Duration::ZERO };
            let busy = self.upkeep.is_some().then(|| Instant::now() + pause);
            let deadline = busy.or_else(|| [self.sums_due, self.expire_due].into_iter().flatten().min());
            match self.queue.next(deadline) {
                Work::Append(appends) => self.append(appends),
                Work::Changes(changes) => self.change(changes),
                Work::Flush { retry, sums, answers } => {
                    if !retry.is_empty() {
                        self.append(retry);
                    }
                    let written = if sums { self.write_sums() } else { Ok(()) };
                    for answer in answers {
                        // Who no longer waits does not need the answer; so below.
                        let _ = answer.send(written.clone());
                    }
                }
                Work::Expire(answer) => self.expiring.push(answer),
                Work::Hold(answer) => {
                    // Dropped if nobody waits any more.
                    let _ = answer.send(self.hold());
                }
                Work::Idle => {}
                Work::End => break,
            }
            let due = self.sums_due.is_some_and(|due| Instant::now() >= due);
            if (due || self.deltas.streams.len() >= SUMS_STREAMS)
                && let Err(error) = self.write_sums()
            {
                tracing::error!(%error, "sums of log events can't be written");
                self.sums_due = Some(Instant::now() + SUMS_DELAY);
            }
            let due = self.expire_due.is_some_and(|due| Instant::now() >= due);
            if self.upkeep.is_some() {
                if !self.is_held() {
                    self.upkeep_step();
                }
            } else if due || !self.expiring.is_empty() {
                self.expire_due = self.expire_every.map(|every| Instant::now() + every);
                let answers = std::mem::take(&mut self.expiring);
                self.start_upkeep(answers);
            }
        }
        if let Err(error) = self.close() {
            tracing::error!(%error, "log store does not close cleanly; the next start counts again");
        }
    }

    fn is_held(&self) -> bool {
        self.held.strong_count() > 0
    }

    /// Pins what is written so far, with its sums: the index and the current file by a read transaction, the
    /// others by keeping upkeep away.
    fn hold(&mut self) -> Result<Held, StoreError> {
        self.write_sums()?;
        let guard = self.held.upgrade().unwrap_or_default();
        self.held = Arc::downgrade(&guard);
        let current = self.current.as_ref().map(|(day, _)| *day);
        Held::new(guard, &self.days, current, Arc::clone(&self.readers))
    }

    fn close(&mut self) -> Result<(), StoreError> {
        self.write_sums()?;
        self.current = None;
        execute(&self.index, "UPDATE day_file SET live = 0 WHERE live", &[])
    }

    /// Adds the events of a file that the index does not count yet.
    fn count(&mut self, day: Day) -> Result<(), OpenError> {
        if !self.days.path(day).exists() {
            // Noted in the index, but the power went before it was made.
            return Ok(());
        }
        let file = self.days.open(day, self.checkpoint_pages)?;
        let mut bounds = None;
        let mut counted = || -> rusqlite::Result<()> {
            let mut statement = file.prepare(
                "SELECT stream_id, group_id, sum(bytes), min(timestamp), max(timestamp), max(ingestion_time),
                     max(sequence)
                 FROM event WHERE sequence > ? GROUP BY stream_id",
            )?;
            let before: i64 = self.index.query_row("SELECT counted FROM state", (), |row| row.get(0))?;
            let mut rows = statement.query([before])?;
            while let Some(row) = rows.next()? {
                let timestamps: Bounds = Some((row.get(3)?, row.get(4)?));
                let delta = Delta {
                    group: row.get(1)?,
                    bytes: row.get(2)?,
                    timestamps,
                    last_ingestion: Some(row.get(5)?),
                };
                self.deltas.add(row.get(0)?, delta);
                bounds = join(bounds, timestamps);
                self.sequence = self.sequence.max(row.get(6)?);
            }
            Ok(())
        };
        counted()
            .map_err(|error| OpenError::Database { path: self.days.path(day), reason: sql_error(error) })?;
        if bounds.is_some() {
            self.deltas.days.insert(day, bounds);
            self.days.add(day, bounds);
        }
        Ok(())
    }

    /// Removes day files that the index does not name: they were being removed when the power went.
    fn remove_strays(&self) -> Result<(), OpenError> {
        let failed = |source: io::Error| OpenError::NotWritable { path: self.days.folder().into(), source };
        for entry in std::fs::read_dir(self.days.folder()).map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let name = name.to_string_lossy();
            let database = name.strip_suffix("-wal").or_else(|| name.strip_suffix("-shm")).unwrap_or(&name);
            if let Some(day) = Day::of_file(database)
                && !self.days.contains(day)
            {
                remove_file(&self.days.folder().join(&*name)).map_err(failed)?;
            }
        }
        Ok(())
    }

    /// Puts the sums so far into the index.
    pub(super) fn write_sums(&mut self) -> Result<(), StoreError> {
        if !self.deltas.is_empty() {
            transaction(&self.index, |index| index::add_sums(index, &self.deltas, self.sequence))?;
            self.deltas = Deltas::default();
        }
        self.sums_due = None;
        Ok(())
    }

    fn change(&mut self, changes: Vec<(Change, Answer)>) {
        // A name may come to mean another row.
        if changes
            .iter()
            .any(|(change, _)| matches!(change, Change::DeleteGroup { .. } | Change::DeleteStream { .. }))
        {
            self.ids.clear();
        }
        let (changes, answers): (Vec<_>, Vec<_>) = changes.into_iter().unzip();
        let results = transaction(&self.index, |index| {
            let apply = |change| savepoint(index, |index| index::apply(index, change));
            changes.into_iter().map(apply).collect::<Result<Vec<_>, _>>()
        });
        match results {
            Ok(results) => {
                for (answer, result) in answers.into_iter().zip(results) {
                    let _ = answer.send(result);
                }
            }
            Err(error) => {
                tracing::error!(%error, changes = answers.len(), "log index can't be written");
                for answer in answers {
                    let _ = answer.send(Err(error.clone()));
                }
            }
        }
    }

    /// Writes a batch and answers; what nobody waits for and the disk refuses goes back to the queue.
    fn append(&mut self, appends: Vec<Append>) {
        let day = Day::of(self.clock.now_ms());
        match self.store(day, &appends) {
            Ok(results) => {
                for (append, result) in appends.into_iter().zip(results) {
                    match (append.answer, result) {
                        (Some(answer), result) => {
                            let _ = answer.send(result);
                        }
                        (None, Ok(())) => {}
                        (None, Err(error)) => {
                            tracing::error!(%error, group = &*append.key.group, "log events can't be stored");
                            self.queue.count_dropped(append.events.len());
                        }
                    }
                }
            }
            Err(error) => {
                tracing::error!(%error, appends = appends.len(), "log events can't be written");
                let mut refused = Vec::new();
                for mut append in appends {
                    match append.answer.take() {
                        Some(answer) => {
                            let _ = answer.send(Err(error.clone()));
                        }
                        None => refused.push(append),
                    }
                }
                if !refused.is_empty() {
                    self.queue.refuse(refused);
                }
            }
        }
    }

    /// Writes a batch to the file of `day`. An error means that nothing of it was written.
    fn store(&mut self, day: Day, appends: &[Append]) -> Result<Vec<Result<(), StoreError>>, StoreError> {
        self.use_day(day)?;
        let ids = self.resolve(appends)?;
        let Some((_, file)) = &self.current else {
            return Err(StoreError::Failed("no log file is open".into()));
        };
        let mut sequence = self.sequence;
        let (results, deltas) = transaction(file, |file| {
            let mut results = Vec::with_capacity(appends.len());
            let mut deltas = Vec::with_capacity(appends.len());
            for (append, &ids) in appends.iter().zip(&ids) {
                match savepoint(file, |file| insert(file, ids, append, &mut sequence))? {
                    Ok(delta) => {
                        deltas.extend(delta.map(|delta| (ids.stream, delta)));
                        results.push(Ok(()));
                    }
                    Err(error) => results.push(Err(error)),
                }
            }
            Ok((results, deltas))
        })?;
        self.sequence = sequence;
        let bounds = deltas.iter().fold(None, |bounds, (_, delta)| join(bounds, delta.timestamps));
        // Readers look for events where these bounds say.
        self.days.add(day, bounds);
        if !deltas.is_empty() {
            let known = self.deltas.days.entry(day).or_default();
            *known = join(*known, bounds);
            self.sums_due.get_or_insert_with(|| Instant::now() + SUMS_DELAY);
        }
        for (stream, delta) in deltas {
            self.deltas.add(stream, delta);
        }
        Ok(results)
    }

    /// Closes the current file if it is not that of `day`.
    pub(super) fn leave_day_unless(&mut self, day: Day) -> Result<(), StoreError> {
        if self.current.as_ref().is_some_and(|(current, _)| *current != day) {
            self.write_sums()?;
            self.current = None;
            execute(&self.index, "UPDATE day_file SET live = 0 WHERE live", &[])?;
        }
        Ok(())
    }

    pub(super) fn open_day(&self, day: Day) -> Result<Connection, StoreError> {
        Ok(self.days.open(day, self.checkpoint_pages)?)
    }

    /// Makes the file of `day` the current one; the index names it before it is made.
    fn use_day(&mut self, day: Day) -> Result<(), StoreError> {
        self.leave_day_unless(day)?;
        if self.current.is_some() {
            return Ok(());
        }
        execute(
            &self.index,
            "INSERT INTO day_file (day, live) VALUES (?, 1) ON CONFLICT DO UPDATE SET live = 1",
            params![day.0],
        )?;
        self.days.add(day, None);
        self.current = Some((day, self.open_day(day)?));
        Ok(())
    }

    /// Ids of all streams of a batch; missing ones are made, durably.
    fn resolve(&mut self, appends: &[Append]) -> Result<Vec<Ids>, StoreError> {
        if self.ids.len() > MAX_IDS {
            self.ids.clear();
        }
        let mut missing = Vec::new();
        for append in appends {
            if self.ids.contains_key(&append.key) {
                continue;
            }
            match index::find(&self.index, &append.key).map_err(sql_error)? {
                Some(ids) => {
                    self.ids.insert(append.key.clone(), ids);
                }
                None => missing.push(append),
            }
        }
        if !missing.is_empty() {
            let made = transaction(&self.index, |index| {
                let make = |append: &&Append| {
                    let ids = index::find_or_create(index, &append.key, append.now)?;
                    Ok((append.key.clone(), ids))
                };
                missing.iter().map(make).collect::<Result<Vec<_>, _>>()
            })?;
            self.ids.extend(made);
        }
        let lost = || StoreError::Failed("a log stream was not made".into());
        appends.iter().map(|append| self.ids.get(&append.key).copied().ok_or_else(lost)).collect()
    }
}

/// Inserts the events of one call; answers what they add to the sums, `None` without any.
fn insert(
    file: &Connection,
    ids: Ids,
    append: &Append,
    sequence: &mut i64,
) -> Result<Option<Delta>, StoreError> {
    let mut sum: Option<Delta> = None;
    let mut statement = file
        .prepare_cached(
            "INSERT INTO event (sequence, group_id, stream_id, timestamp, ingestion_time, bytes, message)
             VALUES (?, ?, ?, ?, ?, ?, ?)",
        )
        .map_err(sql_error)?;
    for event in &append.events {
        *sequence += 1;
        let bytes = i64::try_from(event_bytes(&event.message)).unwrap_or(i64::MAX);
        statement
            .execute(params![
                *sequence,
                ids.group,
                ids.stream,
                event.timestamp,
                append.now,
                bytes,
                event.message
            ])
            .map_err(sql_error)?;
        let sum = sum.get_or_insert(Delta { group: ids.group, ..Delta::default() });
        sum.bytes = sum.bytes.saturating_add(bytes);
        sum.timestamps = join(sum.timestamps, Some((event.timestamp, event.timestamp)));
        sum.last_ingestion = Some(append.now);
    }
    if let Some(Delta { bytes, timestamps: Some((first, last)), .. }) = sum {
        let events = i64::try_from(append.events.len()).unwrap_or(i64::MAX);
        execute(
            file,
            "INSERT INTO stream_day (stream_id, group_id, events, bytes, first_event, last_event)
             VALUES (?, ?, ?, ?, ?, ?)
             ON CONFLICT DO UPDATE SET
                 events = events + excluded.events,
                 bytes = bytes + excluded.bytes,
                 first_event = min(first_event, excluded.first_event),
                 last_event = max(last_event, excluded.last_event)",
            params![ids.stream, ids.group, events, bytes, first, last],
        )?;
    }
    Ok(sum)
}

type Known = (BTreeMap<Day, Bounds>, Vec<Day>);

/// Files that the index names, and those of them that may hold uncounted events.
fn day_files(index: &Connection) -> rusqlite::Result<Known> {
    let mut statement = index.prepare("SELECT day, live, first_event, last_event FROM day_file")?;
    let mut rows = statement.query(())?;
    let (mut known, mut live) = Known::default();
    while let Some(row) = rows.next()? {
        let day = Day(row.get(0)?);
        let bounds = row.get::<_, Option<i64>>(2)?.zip(row.get(3)?);
        known.insert(day, bounds);
        if row.get(1)? {
            live.push(day);
        }
    }
    Ok((known, live))
}

/// Removes a file that may be gone already.
pub(super) fn remove_file(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
