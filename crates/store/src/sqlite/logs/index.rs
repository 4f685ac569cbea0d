//! The log index: changes that callers ask for, ids, and sums.

use std::collections::HashMap;

use lambkin_core::ids::Scope;
use lambkin_core::logs::LogStreamKey;
use lambkin_core::metadata::StoreError;
use rusqlite::{Connection, OptionalExtension, params};

use super::days::{Bounds, Day, join};
use super::queue::Change;
use crate::sqlite::connection::sql_error;

/// Row ids of a stream and its group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ids {
    pub(super) group: i64,
    pub(super) stream: i64,
}

/// What is to be added to the sums of a stream.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Delta {
    pub(super) group: i64,
    pub(super) bytes: i64,
    pub(super) timestamps: Bounds,
    pub(super) last_ingestion: Option<i64>,
}

/// Sums not yet in the index.
#[derive(Debug, Default)]
pub(super) struct Deltas {
    pub(super) streams: HashMap<i64, Delta>,
    /// Day files that they come from.
    pub(super) days: HashMap<Day, Bounds>,
}

impl Deltas {
    pub(super) fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.days.is_empty()
    }

    pub(super) fn add(&mut self, stream: i64, delta: Delta) {
        let sum = self.streams.entry(stream).or_default();
        sum.group = delta.group;
        sum.bytes += delta.bytes;
        sum.timestamps = join(sum.timestamps, delta.timestamps);
        sum.last_ingestion = sum.last_ingestion.max(delta.last_ingestion);
    }
}

/// Makes one change, inside its savepoint.
pub(super) fn apply(index: &Connection, change: Change) -> Result<(), StoreError> {
    match change {
        Change::CreateGroup { scope, group, now } => {
            if group_id(index, &scope, &group).map_err(sql_error)?.is_some() {
                return Err(StoreError::Exists);
            }
            insert_group(index, &scope, &group, now).map(drop)
        }
        Change::CreateStream { key, now } => {
            let group = find_group(index, &key.scope, &key.group)?;
            if stream_id(index, group, &key.stream).map_err(sql_error)?.is_some() {
                return Err(StoreError::Exists);
            }
            insert_stream(index, group, &key.stream, now).map(drop)
        }
        Change::SetRetention { scope, group, days } => {
            let id = find_group(index, &scope, &group)?;
            execute(index, "UPDATE log_group SET retention_days = ? WHERE id = ?", params![days, id])
        }
        Change::DeleteGroup { scope, group } => {
            let id = find_group(index, &scope, &group)?;
            execute(index, "DELETE FROM log_stream WHERE group_id = ?", params![id])?;
            execute(index, "DELETE FROM log_group WHERE id = ?", params![id])?;
            execute(index, "INSERT INTO doomed (group_id) VALUES (?)", params![id])
        }
        Change::DeleteStream { key } => {
            let group = find_group(index, &key.scope, &key.group)?;
            let stream = stream_id(index, group, &key.stream).map_err(sql_error)?;
            let stream = stream.ok_or(StoreError::NotFound)?;
            execute(
                index,
                "UPDATE log_group SET stored_bytes = stored_bytes -
                     (SELECT stored_bytes FROM log_stream WHERE id = ?) WHERE id = ?",
                params![stream, group],
            )?;
            execute(index, "DELETE FROM log_stream WHERE id = ?", params![stream])?;
            execute(index, "INSERT INTO doomed (group_id, stream_id) VALUES (?, ?)", params![group, stream])
        }
    }
}

/// Ids of a stream, `None` if it is not there.
pub(super) fn find(index: &Connection, key: &LogStreamKey) -> rusqlite::Result<Option<Ids>> {
    let Some(group) = group_id(index, &key.scope, &key.group)? else { return Ok(None) };
    Ok(stream_id(index, group, &key.stream)?.map(|stream| Ids { group, stream }))
}

/// Ids of a stream, made with its group where missing.
pub(super) fn find_or_create(index: &Connection, key: &LogStreamKey, now: i64) -> Result<Ids, StoreError> {
    let group = match group_id(index, &key.scope, &key.group).map_err(sql_error)? {
        Some(group) => group,
        None => insert_group(index, &key.scope, &key.group, now)?,
    };
    let stream = match stream_id(index, group, &key.stream).map_err(sql_error)? {
        Some(stream) => stream,
        None => insert_stream(index, group, &key.stream, now)?,
    };
    Ok(Ids { group, stream })
}

/// Adds to the sums, and notes that events up to sequence number `counted` are in them. The streams that
/// were deleted since are left out.
pub(super) fn add_sums(index: &Connection, deltas: &Deltas, counted: i64) -> Result<(), StoreError> {
    for (stream, delta) in &deltas.streams {
        let (first, last) = delta.timestamps.unzip();
        let mut update = index
            .prepare_cached(
                "UPDATE log_stream SET
                     stored_bytes = max(0, stored_bytes + ?2),
                     first_event = min(ifnull(first_event, ?3), ifnull(?3, first_event)),
                     last_event = max(ifnull(last_event, ?4), ifnull(?4, last_event)),
                     last_ingestion = max(ifnull(last_ingestion, ?5), ifnull(?5, last_ingestion))
                 WHERE id = ?1",
            )
            .map_err(sql_error)?;
        let found = update
            .execute(params![stream, delta.bytes, first, last, delta.last_ingestion])
            .map_err(sql_error)?;
        if found > 0 {
            execute(
                index,
                "UPDATE log_group SET stored_bytes = max(0, stored_bytes + ?) WHERE id = ?",
                params![delta.bytes, delta.group],
            )?;
        }
    }
    for (day, bounds) in &deltas.days {
        let (first, last) = bounds.unzip();
        execute(
            index,
            "UPDATE day_file SET
                 first_event = min(ifnull(first_event, ?2), ifnull(?2, first_event)),
                 last_event = max(ifnull(last_event, ?3), ifnull(?3, last_event))
             WHERE day = ?1",
            params![day.0, first, last],
        )?;
    }
    execute(index, "UPDATE state SET counted = max(counted, ?)", params![counted])
}

/// Runs `work` in a transaction; on an error nothing of it is kept.
pub(super) fn transaction<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    run(connection, "BEGIN IMMEDIATE").map_err(sql_error)?;
    let result = work(connection).and_then(|value| {
        run(connection, "COMMIT").map_err(sql_error)?;
        Ok(value)
    });
    if result.is_err()
        && !connection.is_autocommit()
        && let Err(error) = connection.execute_batch("ROLLBACK")
    {
        tracing::error!(%error, "log transaction can't be rolled back");
    }
    result
}

/// Runs `work` in a savepoint. The outer error means that the transaction is lost, the inner one that `work`
/// was undone and the transaction goes on.
pub(super) fn savepoint<T>(
    connection: &Connection,
    work: impl FnOnce(&Connection) -> Result<T, StoreError>,
) -> Result<Result<T, StoreError>, StoreError> {
    run(connection, "SAVEPOINT request").map_err(sql_error)?;
    let result = work(connection);
    if let Err(error) = &result {
        if connection.is_autocommit() || matches!(error, StoreError::Full) {
            return Err(error.clone());
        }
        run(connection, "ROLLBACK TO request").map_err(sql_error)?;
    }
    run(connection, "RELEASE request").map_err(sql_error)?;
    Ok(result)
}

fn run(connection: &Connection, sql: &str) -> rusqlite::Result<()> {
    connection.prepare_cached(sql)?.execute(()).map(drop)
}

pub(super) fn execute(
    connection: &Connection,
    sql: &str,
    parameters: &[&dyn rusqlite::ToSql],
) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(sql).map_err(sql_error)?;
    statement.execute(parameters).map(drop).map_err(sql_error)
}

pub(super) fn group_id(index: &Connection, scope: &Scope, group: &str) -> rusqlite::Result<Option<i64>> {
    index
        .prepare_cached("SELECT id FROM log_group WHERE account = ? AND region = ? AND name = ?")?
        .query_row((&*scope.account, &*scope.region, group), |row| row.get(0))
        .optional()
}

fn find_group(index: &Connection, scope: &Scope, group: &str) -> Result<i64, StoreError> {
    group_id(index, scope, group).map_err(sql_error)?.ok_or(StoreError::NotFound)
}

pub(super) fn stream_id(index: &Connection, group: i64, stream: &str) -> rusqlite::Result<Option<i64>> {
    index
        .prepare_cached("SELECT id FROM log_stream WHERE group_id = ? AND name = ?")?
        .query_row((group, stream), |row| row.get(0))
        .optional()
}

fn insert_group(index: &Connection, scope: &Scope, group: &str, now: i64) -> Result<i64, StoreError> {
    execute(
        index,
        "INSERT INTO log_group (account, region, name, creation_time) VALUES (?, ?, ?, ?)",
        params![&*scope.account, &*scope.region, group, now],
    )?;
    Ok(index.last_insert_rowid())
}

fn insert_stream(index: &Connection, group: i64, stream: &str, now: i64) -> Result<i64, StoreError> {
    execute(
        index,
        "INSERT INTO log_stream (group_id, name, creation_time) VALUES (?, ?, ?)",
        params![group, stream, now],
    )?;
    Ok(index.last_insert_rowid())
}
