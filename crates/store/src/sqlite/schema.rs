//! Schema versions: `PRAGMA user_version` and the steps from each version to the next.
//!
//! A step is never changed once released; a new one is added at the end. Versions only go up: a database of a
//! version that this program does not know is refused.

use std::path::Path;

use rusqlite::Connection;

use super::OpenError;
use super::connection::{open_writer, sql_error};
use crate::disk::{create_file, parent, sync_folder};

/// Steps of `meta.db`; the n-th leads to version n.
pub(crate) const METADATA: &[&str] = &["
    CREATE TABLE record (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        revision INTEGER NOT NULL,
        value BLOB NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX record_revision ON record (revision);

    -- the newest deletions, for watchers that come back
    CREATE TABLE deletion (
        kind TEXT NOT NULL,
        key TEXT NOT NULL,
        revision INTEGER NOT NULL,
        PRIMARY KEY (kind, key)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX deletion_revision ON deletion (revision);

    -- revision: of the last commit; compacted: deletions up to this revision may be forgotten
    CREATE TABLE state (revision INTEGER NOT NULL, compacted INTEGER NOT NULL) STRICT;
    INSERT INTO state VALUES (0, 0);
"];

/// Steps of `logs/index.db`.
pub(crate) const LOG_INDEX: &[&str] = &["
    -- ids are never used again: events of a deleted group or stream may still be in day files
    CREATE TABLE log_group (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        account TEXT NOT NULL,
        region TEXT NOT NULL,
        name TEXT NOT NULL,
        creation_time INTEGER NOT NULL,
        retention_days INTEGER,
        stored_bytes INTEGER NOT NULL DEFAULT 0,
        UNIQUE (account, region, name)
    ) STRICT;

    CREATE TABLE log_stream (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        group_id INTEGER NOT NULL,
        name TEXT NOT NULL,
        creation_time INTEGER NOT NULL,
        first_event INTEGER,
        last_event INTEGER,
        last_ingestion INTEGER,
        stored_bytes INTEGER NOT NULL DEFAULT 0,
        UNIQUE (group_id, name)
    ) STRICT;

    -- day: YYYYMMDD; live: may hold events that the sums above do not count yet;
    -- first_event, last_event: bounds of the counted events' timestamps
    CREATE TABLE day_file (
        day INTEGER PRIMARY KEY,
        live INTEGER NOT NULL,
        first_event INTEGER,
        last_event INTEGER
    ) STRICT;

    -- groups (stream_id null) and streams that were deleted and whose events are to be removed
    CREATE TABLE doomed (
        id INTEGER PRIMARY KEY,
        group_id INTEGER NOT NULL,
        stream_id INTEGER
    ) STRICT;

    -- counted: events up to this sequence number are in the sums
    CREATE TABLE state (counted INTEGER NOT NULL) STRICT;
    INSERT INTO state VALUES (0);
"];

/// Steps of `logs/logs-YYYYMMDD.db`.
pub(crate) const LOG_DAY: &[&str] = &["
    CREATE TABLE event (
        sequence INTEGER PRIMARY KEY,
        group_id INTEGER NOT NULL,
        stream_id INTEGER NOT NULL,
        timestamp INTEGER NOT NULL,
        ingestion_time INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        message TEXT NOT NULL
    ) STRICT;
    -- the rowid, which is the sequence number, ends each index entry
    CREATE INDEX event_group ON event (group_id, timestamp);
    CREATE INDEX event_stream ON event (group_id, stream_id, timestamp);

    -- sums over the events of this file
    CREATE TABLE stream_day (
        stream_id INTEGER PRIMARY KEY,
        group_id INTEGER NOT NULL,
        events INTEGER NOT NULL,
        bytes INTEGER NOT NULL,
        first_event INTEGER NOT NULL,
        last_event INTEGER NOT NULL
    ) STRICT;
"];

/// Opens a database for writing, creating it if it is missing and taking the steps it lacks, each in a
/// transaction of its own.
pub(crate) fn open_database(
    path: &Path,
    steps: &[&str],
    checkpoint_pages: u32,
) -> Result<Connection, OpenError> {
    create_file(path).map_err(|source| OpenError::NotWritable { path: path.to_owned(), source })?;
    let failed =
        |error: rusqlite::Error| OpenError::Database { path: path.to_owned(), reason: sql_error(error) };
    let connection = open_writer(path, checkpoint_pages)
        .map_err(|reason| OpenError::Database { path: path.to_owned(), reason })?;
    let found: u32 = connection.query_row("PRAGMA user_version", (), |row| row.get(0)).map_err(failed)?;
    let known = u32::try_from(steps.len()).unwrap_or(u32::MAX);
    if found > known {
        return Err(OpenError::Newer { path: path.to_owned(), found, known });
    }
    for (version, step) in (1u32..).zip(steps).filter(|(version, _)| *version > found) {
        let script = format!("BEGIN IMMEDIATE;\n{step}\nPRAGMA user_version = {version};\nCOMMIT;");
        connection.execute_batch(&script).map_err(failed)?;
    }
    if found < known {
        // The write-ahead log is a new name in the folder; SQLite syncs it too, this costs little.
        sync_folder(parent(path))
            .map_err(|source| OpenError::NotWritable { path: path.to_owned(), source })?;
    }
    Ok(connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_missing_steps_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let steps = [
            "CREATE TABLE t (n INTEGER); INSERT INTO t VALUES (1);",
            "INSERT INTO t VALUES (2);",
            "ALTER TABLE t ADD COLUMN m TEXT; INSERT INTO t VALUES (3, 'x');",
        ];
        for (count, expected) in [(1, "1"), (1, "1"), (3, "1,2,3"), (3, "1,2,3")] {
            let file = open_database(&path, &steps[..count], 1000).unwrap();
            let rows: String =
                file.query_row("SELECT group_concat(n ORDER BY n) FROM t", (), |row| row.get(0)).unwrap();
            assert_eq!(rows, expected);
        }
        let refused = open_database(&path, &steps[..2], 1000).unwrap_err();
        assert!(matches!(refused, OpenError::Newer { found: 3, known: 2, .. }), "{refused:?}");
    }

    #[test]
    fn a_failing_step_changes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("test.db");
        let broken =
            ["CREATE TABLE t (n INTEGER)  ;", "INSERT INTO t VALUES (1); INSERT INTO gone VALUES (1);"];
        open_database(&path, &broken, 1000).unwrap_err();
        let file = open_database(&path, &broken[..1], 1000).unwrap();
        let rows: i64 = file.query_row("SELECT count(*) FROM t", (), |row| row.get(0)).unwrap();
        assert_eq!(rows, 0);
    }
}
