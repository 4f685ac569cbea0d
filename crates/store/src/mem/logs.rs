//! Logs in ordered maps.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use lambkin_core::clock::Clock;
use lambkin_core::ids::Scope;
use lambkin_core::logs::{
    LogEvent, LogGroup, LogQuery, LogStore, LogStream, LogStreamKey, StoreFuture, StoredLogEvent,
};
use lambkin_core::metadata::StoreError;

use crate::{event_bytes, expiry_cutoff, lock};

/// Logs in memory. Events are visible when they were handed over; none is ever dropped.
#[derive(Debug)]
pub struct MemLogs {
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    sequence: u64,
    groups: BTreeMap<(Scope, String), Group>,
}

#[derive(Debug)]
struct Group {
    creation_time: i64,
    retention_days: Option<u32>,
    streams: BTreeMap<String, LogStream>,
    events: BTreeMap<(i64, u64), StoredLogEvent>,
}

impl Group {
    fn new(creation_time: i64) -> Self {
        Self { creation_time, retention_days: None, streams: BTreeMap::new(), events: BTreeMap::new() }
    }
}

fn new_stream(name: &str, creation_time: i64) -> LogStream {
    LogStream { name: name.into(), creation_time, first_event: None, last_event: None, last_ingestion: None }
}

impl MemLogs {
    /// An empty store.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: Mutex::default() }
    }

    /// Removes expired events; until then they are only hidden and count in the stored bytes.
    ///
    /// # Errors
    /// None; the signature is that of the durable backend.
    pub async fn expire(&self) -> Result<(), StoreError> {
        let now = self.clock.now_ms();
        for group in lock(&self.state).groups.values_mut() {
            if let Some(cutoff) = expiry_cutoff(now, group.retention_days) {
                group.events = group.events.split_off(&(cutoff, 0));
            }
        }
        Ok(())
    }

    fn append_now(&self, key: &LogStreamKey, events: Vec<LogEvent>) {
        let now = self.clock.now_ms();
        let mut state = lock(&self.state);
        let State { sequence, groups } = &mut *state;
        let group =
            groups.entry((key.scope.clone(), key.group.to_string())).or_insert_with(|| Group::new(now));
        let stream =
            group.streams.entry(key.stream.to_string()).or_insert_with(|| new_stream(&key.stream, now));
        for LogEvent { timestamp, message } in events {
            *sequence += 1;
            stream.first_event = Some(stream.first_event.map_or(timestamp, |first| first.min(timestamp)));
            stream.last_event = Some(stream.last_event.map_or(timestamp, |last| last.max(timestamp)));
            stream.last_ingestion = Some(stream.last_ingestion.map_or(now, |last| last.max(now)));
            let event = StoredLogEvent {
                sequence: *sequence,
                stream: key.stream.clone(),
                timestamp,
                ingestion_time: now,
                message,
            };
            group.events.insert((timestamp, *sequence), event);
        }
    }

    fn with_group<T>(
        &self,
        scope: &Scope,
        group: &str,
        work: impl FnOnce(&mut Group) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut state = lock(&self.state);
        work(state.groups.get_mut(&(scope.clone(), group.to_owned())).ok_or(StoreError::NotFound)?)
    }
}

fn select(group: &Group, query: &LogQuery, cutoff: Option<i64>) -> Vec<StoredLogEvent> {
    let matches = |event: &&StoredLogEvent| {
        let position = (event.timestamp, event.sequence);
        (query.streams.is_empty() || query.streams.iter().any(|name| **name == *event.stream))
            && query.stream_prefix.as_ref().is_none_or(|prefix| event.stream.starts_with(prefix.as_str()))
            && query.start.is_none_or(|start| event.timestamp >= start)
            && query.end.is_none_or(|end| event.timestamp < end)
            && cutoff.is_none_or(|cutoff| event.timestamp >= cutoff)
            && query
                .after
                .is_none_or(|after| if query.backward { position < after } else { position > after })
    };
    if query.backward {
        group.events.values().rev().filter(matches).take(query.limit).cloned().collect()
    } else {
        group.events.values().filter(matches).take(query.limit).cloned().collect()
    }
}

impl LogStore for MemLogs {
    fn append(&self, key: LogStreamKey, events: Vec<LogEvent>) -> StoreFuture<'_, ()> {
        Box::pin(async move {
            self.append_now(&key, events);
            Ok(())
        })
    }

    fn append_soon(&self, key: &LogStreamKey, events: Vec<LogEvent>) {
        self.append_now(key, events);
    }

    fn create_group<'a>(&'a self, scope: &'a Scope, group: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let now = self.clock.now_ms();
            let place = (scope.clone(), group.to_owned());
            let mut state = lock(&self.state);
            if state.groups.contains_key(&place) {
                return Err(StoreError::Exists);
            }
            state.groups.insert(place, Group::new(now));
            Ok(())
        })
    }

    fn delete_group<'a>(&'a self, scope: &'a Scope, group: &'a str) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let removed = lock(&self.state).groups.remove(&(scope.clone(), group.to_owned()));
            removed.map(drop).ok_or(StoreError::NotFound)
        })
    }

    fn set_retention<'a>(
        &'a self,
        scope: &'a Scope,
        group: &'a str,
        days: Option<u32>,
    ) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.with_group(scope, group, |group| {
                group.retention_days = days;
                Ok(())
            })
        })
    }

    fn groups<'a>(
        &'a self,
        scope: &'a Scope,
        prefix: &'a str,
        after: Option<&'a str>,
        limit: usize,
    ) -> StoreFuture<'a, Vec<LogGroup>> {
        Box::pin(async move {
            let state = lock(&self.state);
            let found = state.groups.iter().filter(|((group_scope, name), _)| {
                group_scope == scope && name.starts_with(prefix) && after.is_none_or(|after| &**name > after)
            });
            let described = found.take(limit).map(|((_, name), group)| LogGroup {
                name: name.clone(),
                creation_time: group.creation_time,
                retention_days: group.retention_days,
                stored_bytes: group.events.values().map(|event| event_bytes(&event.message)).sum(),
            });
            Ok(described.collect())
        })
    }

    fn create_stream<'a>(&'a self, key: &'a LogStreamKey) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            let now = self.clock.now_ms();
            self.with_group(&key.scope, &key.group, |group| {
                if group.streams.contains_key(&*key.stream) {
                    return Err(StoreError::Exists);
                }
                group.streams.insert(key.stream.to_string(), new_stream(&key.stream, now));
                Ok(())
            })
        })
    }

    fn delete_stream<'a>(&'a self, key: &'a LogStreamKey) -> StoreFuture<'a, ()> {
        Box::pin(async move {
            self.with_group(&key.scope, &key.group, |group| {
                group.streams.remove(&*key.stream).ok_or(StoreError::NotFound)?;
                group.events.retain(|_, event| event.stream != key.stream);
                Ok(())
            })
        })
    }

    fn streams<'a>(
        &'a self,
        scope: &'a Scope,
        group: &'a str,
        prefix: &'a str,
    ) -> StoreFuture<'a, Vec<LogStream>> {
        Box::pin(async move {
            self.with_group(scope, group, |group| {
                Ok(group.streams.values().filter(|stream| stream.name.starts_with(prefix)).cloned().collect())
            })
        })
    }

    fn events<'a>(
        &'a self,
        scope: &'a Scope,
        group: &'a str,
        query: LogQuery,
    ) -> StoreFuture<'a, Vec<StoredLogEvent>> {
        Box::pin(async move {
            let now = self.clock.now_ms();
            self.with_group(scope, group, |group| {
                Ok(select(group, &query, expiry_cutoff(now, group.retention_days)))
            })
        })
    }
}
