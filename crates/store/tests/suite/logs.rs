//! Contract of `LogStore`.

use std::sync::Arc;
use std::time::Duration;

use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogEvent, LogQuery, LogStore, LogStreamKey, MAX_EVENT_BYTES, StoredLogEvent};
use lambkin_core::metadata::StoreError;

use super::{Fixture, NOW};

const DAY: Duration = Duration::from_secs(86_400);
const T: i64 = NOW as i64;

fn scope() -> Scope {
    Scope::new("000000000000", "eu-central-1")
}

fn stream(group: &str, stream: &str) -> LogStreamKey {
    LogStreamKey { scope: scope(), group: group.into(), stream: stream.into() }
}

fn event(timestamp: i64, message: &str) -> LogEvent {
    LogEvent { timestamp, message: message.into() }
}

fn all() -> LogQuery {
    LogQuery { limit: 1000, ..LogQuery::default() }
}

fn texts(events: &[StoredLogEvent]) -> Vec<&str> {
    events.iter().map(|event| event.message.as_str()).collect()
}

async fn read(store: &Arc<dyn LogStore>, query: LogQuery) -> Vec<StoredLogEvent> {
    store.events(&scope(), "g", query).await.unwrap()
}

async fn stored_bytes(store: &Arc<dyn LogStore>) -> u64 {
    store.groups(&scope(), "g", None, 1).await.unwrap()[0].stored_bytes
}

pub(crate) async fn append_creates_group_and_stream(f: Fixture) {
    f.logs.append(stream("g", "s"), vec![event(5, "hello")]).await.unwrap();
    f.logs.append(stream("g", "empty"), vec![]).await.unwrap();
    f.logs.append_soon(&stream("g", "soon"), vec![]);
    let found = read(&f.logs, all()).await;
    assert_eq!(found.len(), 1);
    assert_eq!((found[0].timestamp, found[0].ingestion_time), (5, T));
    assert_eq!((&*found[0].stream, found[0].message.as_str()), ("s", "hello"));
    let streams = f.logs.streams(&scope(), "g", "").await.unwrap();
    let names: Vec<&str> = streams.iter().map(|stream| stream.name.as_str()).collect();
    assert_eq!(names, ["empty", "s", "soon"]);
}

pub(crate) async fn orders_by_timestamp_then_sequence(f: Fixture) {
    f.logs.append(stream("g", "a"), vec![event(3, "c"), event(1, "a"), event(3, "d")]).await.unwrap();
    f.logs.append(stream("g", "b"), vec![event(2, "b"), event(3, "e"), event(-1, "first")]).await.unwrap();
    let found = read(&f.logs, all()).await;
    assert_eq!(texts(&found), ["first", "a", "b", "c", "d", "e"]);
    let mut sequences: Vec<u64> = found.iter().map(|event| event.sequence).collect();
    sequences.sort_unstable();
    sequences.dedup();
    assert_eq!(sequences.len(), 6);
    let backward = read(&f.logs, LogQuery { backward: true, ..all() }).await;
    assert_eq!(texts(&backward), ["e", "d", "c", "b", "a", "first"]);
}

pub(crate) async fn append_soon_is_read_at_once(f: Fixture) {
    for n in 0..50 {
        f.logs.append_soon(&stream("g", "s"), vec![event(T, &format!("{n} soon"))]);
        if n % 7 == 0 {
            f.logs.append(stream("g", "s"), vec![event(T, &format!("{n} now"))]).await.unwrap();
        }
        let last = read(&f.logs, LogQuery { backward: true, limit: 1, ..all() }).await;
        let expected = if n % 7 == 0 { format!("{n} now") } else { format!("{n} soon") };
        assert_eq!(last[0].message, expected);
    }
    assert_eq!(read(&f.logs, all()).await.len(), 58);
}

pub(crate) async fn pages_forward_and_backward(f: Fixture) {
    for n in 0..20 {
        let events = (0..5).map(|m| event((n * m) % 13, &format!("{n}.{m}"))).collect();
        f.logs.append(stream("g", if n % 2 == 0 { "a" } else { "b" }), events).await.unwrap();
        f.clock.advance(DAY / 3);
    }
    let forward = read(&f.logs, all()).await;
    let position = |event: &StoredLogEvent| (event.timestamp, event.sequence);
    assert!(forward.is_sorted_by_key(position) && forward.len() == 100);
    for backward in [false, true] {
        let expected: Vec<_> =
            if backward { forward.iter().rev().cloned().collect() } else { forward.clone() };
        for limit in [1, 7, 100] {
            let mut pages = Vec::new();
            loop {
                let after = pages.last().map(position);
                let page = read(&f.logs, LogQuery { after, backward, limit, ..all() }).await;
                assert!(page.len() <= limit);
                if page.is_empty() {
                    break;
                }
                pages.extend(page);
            }
            assert_eq!(pages, expected, "backward {backward}, limit {limit}");
        }
    }
    assert_eq!(read(&f.logs, LogQuery { limit: 0, ..all() }).await, vec![]);
    let ends = [(i64::MIN, 0, false), (i64::MAX, u64::MAX, true)];
    for (timestamp, sequence, backward) in ends {
        let after = Some((timestamp, sequence));
        assert_eq!(read(&f.logs, LogQuery { after, backward, ..all() }).await.len(), 100);
        assert_eq!(read(&f.logs, LogQuery { after, backward: !backward, ..all() }).await.len(), 0);
    }
}

pub(crate) async fn bounds_by_time(f: Fixture) {
    let events = (0..10).map(|n| event(n * 10, &n.to_string())).collect();
    f.logs.append(stream("g", "s"), events).await.unwrap();
    for (start, end, expected) in [
        (Some(30), Some(50), vec!["3", "4"]),
        (Some(31), Some(51), vec!["4", "5"]),
        (None, Some(20), vec!["0", "1"]),
        (Some(80), None, vec!["8", "9"]),
        (Some(50), Some(50), vec![]),
        (Some(60), Some(50), vec![]),
        (Some(i64::MAX), None, vec![]),
        (None, Some(i64::MIN), vec![]),
    ] {
        let found = read(&f.logs, LogQuery { start, end, ..all() }).await;
        assert_eq!(texts(&found), expected, "{start:?}..{end:?}");
        let mut found = read(&f.logs, LogQuery { start, end, backward: true, ..all() }).await;
        found.reverse();
        assert_eq!(texts(&found), expected, "{start:?}..{end:?} backward");
    }
}

pub(crate) async fn selects_streams(f: Fixture) {
    for (n, name) in ["a/1", "a/2", "b/1", "a"].into_iter().enumerate() {
        f.logs.append(stream("g", name), vec![event(n as i64, name)]).await.unwrap();
    }
    let query = |names: &[&str], prefix: Option<&str>| LogQuery {
        streams: names.iter().map(|name| (*name).to_owned()).collect(),
        stream_prefix: prefix.map(str::to_owned),
        ..all()
    };
    for (names, prefix, expected) in [
        (&["a/2"][..], None, &["a/2"][..]),
        (&["b/1", "a/1", "b/1", "gone"], None, &["a/1", "b/1"]),
        (&["gone"], None, &[]),
        (&[], Some("a/"), &["a/1", "a/2"]),
        (&[], Some(""), &["a/1", "a/2", "b/1", "a"]),
        (&[], Some("c"), &[]),
        (&["a", "b/1", "a/2"], Some("a"), &["a/2", "a"]),
        (&["b/1"], Some("a"), &[]),
    ] {
        let found = read(&f.logs, query(names, prefix)).await;
        assert_eq!(texts(&found), expected, "{names:?} {prefix:?}");
    }
}

pub(crate) async fn selects_among_many_streams(f: Fixture) {
    for n in 0..40 {
        f.logs.append_soon(&stream("g", &format!("s{n:02}")), vec![event(40 - n, &n.to_string())]);
    }
    let streams: Vec<String> = (10..40).map(|n| format!("s{n}")).collect();
    let found = read(&f.logs, LogQuery { streams, limit: 3, ..all() }).await;
    assert_eq!(texts(&found), ["39", "38", "37"]);
    let stream_prefix = Some("s".to_owned());
    let query = LogQuery { stream_prefix, limit: 2, backward: true, ..all() };
    assert_eq!(texts(&read(&f.logs, query).await), ["0", "1"]);
    let query = LogQuery { stream_prefix: Some("s1".to_owned()), limit: 2, ..all() };
    assert_eq!(texts(&read(&f.logs, query).await), ["19", "18"]);
}

pub(crate) async fn reads_across_days(f: Fixture) {
    // Timestamps run against the days of writing.
    for n in 0..10 {
        let late = event(T - n * 1000, &n.to_string());
        f.logs.append(stream("g", "s"), vec![late, event(T, "same")]).await.unwrap();
        f.clock.advance(DAY);
    }
    let found = read(&f.logs, LogQuery { limit: 3, ..all() }).await;
    assert_eq!(texts(&found), ["9", "8", "7"]);
    let found = read(&f.logs, LogQuery { backward: true, limit: 12, ..all() }).await;
    assert!(found[..10].iter().all(|event| event.message == "same"));
    assert_eq!(texts(&found[10..]), ["0", "1"]);
    assert!(found[..11].is_sorted_by_key(|event| std::cmp::Reverse(event.sequence)));
    assert_eq!(found[0].ingestion_time - found[10].ingestion_time, 9 * 86_400_000);
}

pub(crate) async fn describes_groups(f: Fixture) {
    for name in ["g/b", "g/a", "h", "g", "G"] {
        f.logs.create_group(&scope(), name).await.unwrap();
        f.clock.advance(Duration::from_millis(1));
    }
    let names = |prefix: &'static str, after: Option<&'static str>, limit| {
        let logs = Arc::clone(&f.logs);
        async move {
            let groups = logs.groups(&scope(), prefix, after, limit).await.unwrap();
            groups.into_iter().map(|group| group.name).collect::<Vec<_>>()
        }
    };
    assert_eq!(names("", None, 9).await, ["G", "g", "g/a", "g/b", "h"]);
    assert_eq!(names("g", None, 2).await, ["g", "g/a"]);
    assert_eq!(names("g", Some("g/a"), 9).await, ["g/b"]);
    assert_eq!(names("g", Some("A"), 1).await, ["g"]);
    assert_eq!(names("g", Some("z"), 9).await, Vec::<String>::new());
    assert_eq!(names("", None, 0).await, Vec::<String>::new());
    f.logs.set_retention(&scope(), "g", Some(7)).await.unwrap();
    f.logs.append(stream("g", "s"), vec![event(T, "12345"), event(T, "é")]).await.unwrap();
    let group = f.logs.groups(&scope(), "g", None, 1).await.unwrap().remove(0);
    assert_eq!((group.creation_time, group.retention_days), (T + 3, Some(7)));
    assert_eq!(group.stored_bytes, 5 + 2 + 2 * 26);
    f.logs.set_retention(&scope(), "g", None).await.unwrap();
    assert_eq!(f.logs.groups(&scope(), "g", None, 1).await.unwrap()[0].retention_days, None);
}

pub(crate) async fn describes_streams(f: Fixture) {
    f.logs.create_group(&scope(), "g").await.unwrap();
    f.logs.create_stream(&stream("g", "made")).await.unwrap();
    f.clock.advance(Duration::from_millis(10));
    f.logs.append(stream("g", "s"), vec![event(7, "x"), event(3, "y")]).await.unwrap();
    f.clock.advance(DAY);
    f.logs.append_soon(&stream("g", "s"), vec![event(5, "z")]);
    let streams = f.logs.streams(&scope(), "g", "").await.unwrap();
    assert_eq!(streams.len(), 2);
    assert_eq!((streams[0].name.as_str(), streams[0].creation_time), ("made", T));
    assert_eq!(
        (streams[0].first_event, streams[0].last_event, streams[0].last_ingestion),
        (None, None, None)
    );
    assert_eq!((streams[1].name.as_str(), streams[1].creation_time), ("s", T + 10));
    assert_eq!((streams[1].first_event, streams[1].last_event), (Some(3), Some(7)));
    assert_eq!(streams[1].last_ingestion, Some(T + 10 + 86_400_000));
    assert_eq!(f.logs.streams(&scope(), "g", "s").await.unwrap().len(), 1);
    assert_eq!(f.logs.streams(&scope(), "g", "sx").await.unwrap(), vec![]);
}

pub(crate) async fn creates_and_refuses_duplicates(f: Fixture) {
    f.logs.create_group(&scope(), "g").await.unwrap();
    assert!(matches!(f.logs.create_group(&scope(), "g").await, Err(StoreError::Exists)));
    f.logs.create_stream(&stream("g", "s")).await.unwrap();
    assert!(matches!(f.logs.create_stream(&stream("g", "s")).await, Err(StoreError::Exists)));
    f.logs.append_soon(&stream("h", "s"), vec![]);
    assert!(matches!(f.logs.create_group(&scope(), "h").await, Err(StoreError::Exists)));
    assert!(matches!(f.logs.create_stream(&stream("h", "s")).await, Err(StoreError::Exists)));
}

pub(crate) async fn reports_what_is_missing(f: Fixture) {
    let s = scope();
    f.logs.create_group(&s, "h").await.unwrap();
    let results = [
        f.logs.delete_group(&s, "g").await,
        f.logs.set_retention(&s, "g", None).await,
        f.logs.create_stream(&stream("g", "s")).await,
        f.logs.delete_stream(&stream("g", "s")).await,
        f.logs.delete_stream(&stream("h", "s")).await,
        f.logs.streams(&s, "g", "").await.map(drop),
        f.logs.events(&s, "g", all()).await.map(drop),
    ];
    for (n, result) in results.into_iter().enumerate() {
        assert!(matches!(result, Err(StoreError::NotFound)), "{n}: {result:?}");
    }
}

pub(crate) async fn forgets_deleted_groups(f: Fixture) {
    f.logs.append(stream("g", "s"), vec![event(1, "old")]).await.unwrap();
    f.logs.append_soon(&stream("g", "s"), vec![event(1, "old, too")]);
    f.logs.delete_group(&scope(), "g").await.unwrap();
    assert!(matches!(f.logs.events(&scope(), "g", all()).await, Err(StoreError::NotFound)));
    f.logs.append(stream("g", "s"), vec![event(1, "new")]).await.unwrap();
    assert_eq!(texts(&read(&f.logs, all()).await), ["new"]);
    assert_eq!(stored_bytes(&f.logs).await, 3 + 26);
    (f.expire)().await.unwrap();
    assert_eq!(texts(&read(&f.logs, all()).await), ["new"]);
    assert_eq!(stored_bytes(&f.logs).await, 3 + 26);
}

pub(crate) async fn forgets_deleted_streams(f: Fixture) {
    f.logs.append(stream("g", "s"), vec![event(1, "old")]).await.unwrap();
    f.logs.append(stream("g", "t"), vec![event(2, "kept")]).await.unwrap();
    f.logs.delete_stream(&stream("g", "s")).await.unwrap();
    assert_eq!(texts(&read(&f.logs, all()).await), ["kept"]);
    assert_eq!(stored_bytes(&f.logs).await, 4 + 26);
    f.logs.append_soon(&stream("g", "s"), vec![event(1, "new")]);
    assert_eq!(texts(&read(&f.logs, all()).await), ["new", "kept"]);
    (f.expire)().await.unwrap();
    assert_eq!(texts(&read(&f.logs, all()).await), ["new", "kept"]);
    assert_eq!(stored_bytes(&f.logs).await, 4 + 3 + 2 * 26);
    let streams = f.logs.streams(&scope(), "g", "s").await.unwrap();
    assert_eq!(streams[0].first_event, Some(1));
}

pub(crate) async fn hides_and_removes_expired_events(f: Fixture) {
    let day = 86_400_000;
    f.logs.append(stream("g", "s"), vec![event(T - 2 * day, "old"), event(T, "fresh")]).await.unwrap();
    f.logs.append(stream("kept", "s"), vec![event(T - 2 * day, "for ever")]).await.unwrap();
    f.logs.set_retention(&scope(), "g", Some(1)).await.unwrap();
    assert_eq!(texts(&read(&f.logs, all()).await), ["fresh"]);
    assert_eq!(stored_bytes(&f.logs).await, 3 + 5 + 2 * 26);
    (f.expire)().await.unwrap();
    assert_eq!(stored_bytes(&f.logs).await, 5 + 26);
    f.clock.advance(DAY);
    // Expired is what is older than a day, not what is as old.
    assert_eq!(texts(&read(&f.logs, all()).await), ["fresh"]);
    f.clock.advance(Duration::from_millis(1));
    assert_eq!(texts(&read(&f.logs, all()).await), Vec::<&str>::new());
    f.logs.append_soon(&stream("g", "s"), vec![event(T + day + 1, "new")]);
    (f.expire)().await.unwrap();
    assert_eq!(texts(&read(&f.logs, all()).await), ["new"]);
    assert_eq!(stored_bytes(&f.logs).await, 3 + 26);
    f.logs.set_retention(&scope(), "g", None).await.unwrap();
    assert_eq!(texts(&read(&f.logs, all()).await), ["new"]);
    let kept = f.logs.events(&scope(), "kept", all()).await.unwrap();
    assert_eq!(texts(&kept), ["for ever"]);
}

pub(crate) async fn keeps_scopes_apart(f: Fixture) {
    let others = [Scope::new("000000000000", "us-east-1"), Scope::new("111111111111", "eu-central-1")];
    f.logs.append(stream("g", "s"), vec![event(1, "mine")]).await.unwrap();
    for other in &others {
        assert!(matches!(f.logs.events(other, "g", all()).await, Err(StoreError::NotFound)));
        f.logs.create_group(other, "g").await.unwrap();
        assert_eq!(f.logs.events(other, "g", all()).await.unwrap(), vec![]);
        assert_eq!(f.logs.groups(other, "", None, 9).await.unwrap().len(), 1);
    }
    f.logs.delete_group(&others[0], "g").await.unwrap();
    assert_eq!(texts(&read(&f.logs, all()).await), ["mine"]);
}

pub(crate) async fn many_writers_create_one_stream(f: Fixture) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64 {
        let logs = Arc::clone(&f.logs);
        tasks.spawn(async move {
            match n % 4 {
                0 => logs.append_soon(&stream("g", "s"), vec![event(n, "")]),
                1 => drop(logs.create_group(&scope(), "g").await),
                _ => logs.append(stream("g", "s"), vec![event(n, "")]).await.unwrap(),
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(read(&f.logs, all()).await.len(), 48);
    assert_eq!(f.logs.groups(&scope(), "", None, 9).await.unwrap().len(), 1);
    assert_eq!(f.logs.streams(&scope(), "g", "").await.unwrap().len(), 1);
}

pub(crate) async fn holds_large_and_strange_events(f: Fixture) {
    let messages = ["", "\0 nul \0", "'; DROP TABLE event; --", "日本語 \u{10ffff}", "line\nline\r\n"];
    let large = "x".repeat(MAX_EVENT_BYTES);
    let mut events: Vec<LogEvent> = messages.iter().map(|message| event(1, message)).collect();
    events.push(event(1, &large));
    f.logs.append(stream("g", "s\0é"), events.clone()).await.unwrap();
    let found = read(&f.logs, LogQuery { streams: vec!["s\0é".into()], ..all() }).await;
    assert_eq!(found.len(), events.len());
    for (found, event) in found.iter().zip(&events) {
        assert!(found.message == event.message && &*found.stream == "s\0é");
    }
    let bytes: usize = events.iter().map(|event| event.message.len() + 26).sum();
    assert_eq!(stored_bytes(&f.logs).await, bytes as u64);
    for timestamp in [i64::MIN, i64::MAX] {
        f.logs.append(stream("g", "s"), vec![event(timestamp, "end")]).await.unwrap();
    }
    let found = read(&f.logs, all()).await;
    assert_eq!((found[0].timestamp, found.last().unwrap().timestamp), (i64::MIN, i64::MAX));
}
