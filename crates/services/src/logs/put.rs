//! PutLogEvents.

use std::sync::Arc;

use lambkin_core::logs::{LogEvent, LogStreamKey};
use lambkin_model::logs::{InputLogEvent, PutLogEventsRequest, PutLogEventsResponse, RejectedLogEventsInfo};
use lambkin_model::{AwsError, RequestContext};

use super::names::scope_of;
use super::{LogsService, invalid, store};

/// Largest batch: the sum of its texts and [`OVERHEAD`] per event, in bytes (AWS quota).
const MAX_BATCH: usize = 1_048_576;

/// What AWS adds to the size of each event, in bytes.
pub(super) const OVERHEAD: usize = 26;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;

/// How far in the past and in the future an event may be.
const OLDEST_MS: i64 = 14 * DAY_MS;
const NEWEST_MS: i64 = 2 * HOUR_MS;

/// A batch after AWS's rules: what is stored, what is not.
#[derive(Debug, PartialEq, Eq)]
struct Checked {
    events: Vec<LogEvent>,
    rejected: Option<RejectedRange>,
}

/// Indices as in `RejectedLogEventsInfo`.
#[derive(Debug, Default, PartialEq, Eq, Clone, Copy)]
struct RejectedRange {
    too_new_start: Option<usize>,
    too_old_end: Option<usize>,
    expired_end: Option<usize>,
}

impl LogsService {
    pub(super) async fn put_events(
        &self,
        context: &RequestContext,
        request: PutLogEventsRequest,
    ) -> Result<PutLogEventsResponse, AwsError> {
        let scope = scope_of(context);
        let group = request.log_group_name.unwrap_or_default();
        let stream = request.log_stream_name.unwrap_or_default();
        self.require_stream(&scope, &group, &stream).await?;
        let described = self.store.groups(&scope, &group, None, 1).await.map_err(store)?;
        let retention =
            described.first().filter(|found| found.name == group).and_then(|group| group.retention_days);
        let now_ms = self.clock.now_ms();
        let checked = check(request.log_events.unwrap_or_default(), now_ms, retention)?;
        if !checked.events.is_empty() {
            let key = LogStreamKey { scope, group: Arc::from(group), stream: Arc::from(stream) };
            self.store.append(key, checked.events).await.map_err(store)?;
        }
        let index = |index: Option<usize>| index.and_then(|index| i32::try_from(index).ok());
        Ok(PutLogEventsResponse {
            // Ignored when it comes back, but old clients want one.
            next_sequence_token: Some(format!("{now_ms:056}")),
            rejected_log_events_info: checked.rejected.map(|range| RejectedLogEventsInfo {
                too_new_log_event_start_index: index(range.too_new_start),
                too_old_log_event_end_index: index(range.too_old_end),
                expired_log_event_end_index: index(range.expired_end),
            }),
            rejected_entity_info: None,
        })
    }
}

fn check(events: Vec<InputLogEvent>, now_ms: i64, retention_days: Option<u32>) -> Result<Checked, AwsError> {
    let events: Vec<LogEvent> = events
        .into_iter()
        .map(|event| LogEvent {
            timestamp: event.timestamp.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        })
        .collect();
    let size: usize = events.iter().map(|event| event.message.len() + OVERHEAD).sum();
    if size > MAX_BATCH {
        return Err(invalid(format!("Upload too large: {size} bytes exceeds limit of {MAX_BATCH}")));
    }
    if events.is_sorted_by_key(|event| event.timestamp) {
        let oldest = now_ms - OLDEST_MS;
        let newest = now_ms + NEWEST_MS;
        let kept_since = retention_days.map(|days| now_ms - i64::from(days) * DAY_MS);
        // The batch is in order, so each kind of refusal is at one end of it.
        let before = |limit: i64| events.partition_point(|event| event.timestamp < limit);
        let too_old = before(oldest);
        let expired = kept_since.map_or(0, before);
        let too_new = events.partition_point(|event| event.timestamp <= newest);
        let valid = events.get(too_old.max(expired)..too_new).unwrap_or_default();
        if let (Some(first), Some(last)) = (valid.first(), valid.last())
            && last.timestamp - first.timestamp > DAY_MS
        {
            return Err(invalid(
                "The batch of log events in a single PutLogEvents request cannot span more than 24 hours.",
            ));
        }
        let range = RejectedRange {
            too_new_start: (too_new < events.len()).then_some(too_new),
            too_old_end: (too_old > 0).then_some(too_old),
            expired_end: (expired > too_old).then_some(expired),
        };
        let rejected = (range != RejectedRange::default()).then_some(range);
        return Ok(Checked { events: valid.to_vec(), rejected });
    }
    Err(invalid("Log events in a single PutLogEvents request must be in chronological order."))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_795_435_200_000;

    fn events(times: &[i64]) -> Vec<InputLogEvent> {
        let event = |time: &i64| InputLogEvent { timestamp: Some(*time), message: Some("m".to_owned()) };
        times.iter().map(event).collect()
    }

    #[test]
    fn takes_what_is_in_order_and_in_time() {
        let checked = check(events(&[NOW - 1, NOW, NOW]), NOW, None).unwrap();
        assert_eq!((checked.events.len(), checked.rejected), (3, None));
        assert!(
            check(events(&[NOW, NOW - 1]), NOW, None).unwrap_err().message.contains("chronological order")
        );
        assert!(check(events(&[NOW - DAY_MS - 1, NOW]), NOW, None).unwrap_err().message.contains("24 hours"));
        let large = vec![InputLogEvent { timestamp: Some(NOW), message: Some("m".repeat(MAX_BATCH - 25)) }];
        assert!(check(large, NOW, None).unwrap_err().message.starts_with("Upload too large: 1048577 bytes"));
    }

    #[test]
    fn says_which_events_it_does_not_take() {
        let old = NOW - OLDEST_MS - 1;
        let checked = check(events(&[old, old, NOW, NOW + NEWEST_MS + 1]), NOW, None).unwrap();
        assert_eq!(checked.events.len(), 1);
        let expected = RejectedRange { too_new_start: Some(3), too_old_end: Some(2), expired_end: None };
        assert_eq!(checked.rejected, Some(expected));
        let checked = check(events(&[old, NOW - 3 * DAY_MS, NOW]), NOW, Some(1)).unwrap();
        assert_eq!(checked.events.len(), 1);
        let expected = RejectedRange { too_new_start: None, too_old_end: Some(1), expired_end: Some(2) };
        assert_eq!(checked.rejected, Some(expected));
        assert_eq!(check(events(&[old]), NOW, None).unwrap().events, []);
    }
}
