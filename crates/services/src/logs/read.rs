//! GetLogEvents and FilterLogEvents.

use lambkin_core::ids::Scope;
use lambkin_core::logs::{LogQuery, StoredLogEvent};
use lambkin_model::logs::{
    FilterLogEventsRequest, FilterLogEventsResponse, FilteredLogEvent, GetLogEventsRequest,
    GetLogEventsResponse, OutputLogEvent,
};
use lambkin_model::{AwsError, RequestContext};

use super::names::{self, scope_of};
use super::pattern::Pattern;
use super::put::OVERHEAD;
use super::{LogsService, invalid, store};
use crate::paging;

/// Most events in one answer.
const MAX_EVENTS: usize = 10_000;

/// Most bytes of events in one answer, except that one event always fits.
const MAX_BYTES: usize = 1_048_576;

/// Events read from the store at once: an event may have a mebibyte.
const CHUNK: usize = 200;

/// Events looked at for one FilterLogEvents; more take another page.
const MAX_SCANNED: usize = 100_000;

/// A place between events: after `(timestamp, sequence)` or, going back, before it.
type Position = (i64, u64);

/// Where a GetLogEvents token points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Forward(Position),
    Backward(Position),
}

impl Token {
    fn text(self) -> String {
        let (letter, (timestamp, sequence)) = match self {
            Self::Forward(position) => ('f', position),
            Self::Backward(position) => ('b', position),
        };
        format!("{letter}/{timestamp:020}{sequence:036}/s")
    }

    fn parse(text: &str) -> Option<Self> {
        let (letter, rest) = text.split_once('/')?;
        let digits = rest.strip_suffix("/s")?;
        if digits.len() != 56 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let position = (digits.get(..20)?.parse().ok()?, digits.get(20..)?.parse().ok()?);
        match letter {
            "f" => Some(Self::Forward(position)),
            "b" => Some(Self::Backward(position)),
            _ => None,
        }
    }
}

impl LogsService {
    pub(super) async fn get_events(
        &self,
        context: &RequestContext,
        request: GetLogEventsRequest,
    ) -> Result<GetLogEventsResponse, AwsError> {
        let scope = scope_of(context);
        let group = names::group(context, request.log_group_name, request.log_group_identifier)?;
        let stream = request.log_stream_name.unwrap_or_default();
        let token = match request.next_token.as_deref() {
            None => None,
            Some(text) => {
                Some(Token::parse(text).ok_or_else(|| invalid("The specified nextToken is invalid."))?)
            }
        };
        self.require_stream(&scope, &group, &stream).await?;
        let (after, backward) = match token {
            Some(Token::Forward(position)) => (Some(position), false),
            Some(Token::Backward(position)) => (Some(position), true),
            None => (None, request.start_from_head != Some(true)),
        };
        let query = LogQuery {
            streams: vec![stream],
            stream_prefix: None,
            start: request.start_time,
            end: request.end_time,
            after,
            backward,
            limit: 0,
        };
        let mut events = self.read(&scope, &group, &query, limit(request.limit)).await?;
        if backward {
            events.reverse();
        }
        let (forward, back) = match (events.first(), events.last()) {
            (Some(first), Some(last)) => (position(last), position(first)),
            // At an end the token stays the same, and the other one leads back to what was read before it.
            _ => match token {
                Some(Token::Forward((timestamp, sequence))) => {
                    ((timestamp, sequence), (timestamp, sequence.saturating_add(1)))
                }
                Some(Token::Backward((timestamp, sequence))) => {
                    ((timestamp, sequence.saturating_sub(1)), (timestamp, sequence))
                }
                None => {
                    let start = (request.start_time.unwrap_or(0), 0);
                    (start, start)
                }
            },
        };
        let output = |event: StoredLogEvent| OutputLogEvent {
            timestamp: Some(event.timestamp),
            message: Some(event.message),
            ingestion_time: Some(event.ingestion_time),
        };
        Ok(GetLogEventsResponse {
            events: Some(events.into_iter().map(output).collect()),
            next_forward_token: Some(Token::Forward(forward).text()),
            next_backward_token: Some(Token::Backward(back).text()),
        })
    }

    pub(super) async fn filter_events(
        &self,
        context: &RequestContext,
        request: FilterLogEventsRequest,
    ) -> Result<FilterLogEventsResponse, AwsError> {
        let scope = scope_of(context);
        let group = names::group(context, request.log_group_name, request.log_group_identifier)?;
        let pattern =
            Pattern::parse(request.filter_pattern.as_deref().unwrap_or_default()).map_err(invalid)?;
        let streams = request.log_stream_names.unwrap_or_default();
        if !streams.is_empty() && request.log_stream_name_prefix.is_some() {
            return Err(invalid("logStreamNames and logStreamNamePrefix are mutually exclusive parameters."));
        }
        let (after, backward) = match request.next_token.as_deref() {
            None => (None, request.start_from_head == Some(false)),
            Some(token) => {
                let (after, backward) = parse_filter_token(token)
                    .ok_or_else(|| invalid("The specified nextToken is invalid."))?;
                (Some(after), backward)
            }
        };
        self.require_group(&scope, &group).await?;
        for stream in &streams {
            self.require_stream(&scope, &group, stream).await?;
        }
        let mut query = LogQuery {
            streams,
            stream_prefix: request.log_stream_name_prefix,
            start: request.start_time,
            // This operation's end is inclusive, unlike that of GetLogEvents.
            end: request.end_time.map(|end| end.saturating_add(1)),
            after,
            backward,
            limit: CHUNK,
        };
        let limit = limit(request.limit);
        let mut page = Page::default();
        let mut scanned = 0;
        let is_last = 'pages: loop {
            let events = self.store.events(&scope, &group, query.clone()).await.map_err(store)?;
            let is_last = events.len() < CHUNK;
            scanned += events.len();
            for event in events {
                let at = position(&event);
                if pattern.matches(&event.message) && !page.add(event, limit) {
                    break 'pages false;
                }
                query.after = Some(at);
            }
            if is_last || scanned >= MAX_SCANNED {
                break is_last;
            }
        };
        let next_token = match query.after {
            Some(position) if !is_last => Some(filter_token(position, backward)),
            _ => None,
        };
        let output = |event: StoredLogEvent| FilteredLogEvent {
            event_id: Some(format!("{:020}{:036}", event.timestamp, event.sequence)),
            log_stream_name: Some(event.stream.to_string()),
            timestamp: Some(event.timestamp),
            message: Some(event.message),
            ingestion_time: Some(event.ingestion_time),
        };
        Ok(FilterLogEventsResponse {
            events: Some(page.events.into_iter().map(output).collect()),
            searched_log_streams: Some(Vec::new()),
            next_token,
        })
    }

    /// Events of a query, as many as fit in an answer.
    async fn read(
        &self,
        scope: &Scope,
        group: &str,
        query: &LogQuery,
        limit: usize,
    ) -> Result<Vec<StoredLogEvent>, AwsError> {
        let mut query = query.clone();
        let mut page = Page::default();
        loop {
            query.limit = CHUNK.min(limit - page.events.len());
            let events = self.store.events(scope, group, query.clone()).await.map_err(store)?;
            let is_last = events.len() < query.limit;
            for event in events {
                query.after = Some(position(&event));
                if !page.add(event, limit) {
                    return Ok(page.events);
                }
            }
            if is_last || page.events.len() == limit {
                return Ok(page.events);
            }
        }
    }
}

/// Events of one answer.
#[derive(Debug, Default)]
struct Page {
    events: Vec<StoredLogEvent>,
    bytes: usize,
}

impl Page {
    /// Adds an event unless the page is full.
    fn add(&mut self, event: StoredLogEvent, limit: usize) -> bool {
        let bytes = event.message.len() + OVERHEAD;
        let is_full = self.events.len() >= limit || self.bytes + bytes > MAX_BYTES;
        if is_full && !self.events.is_empty() {
            return false;
        }
        self.bytes += bytes;
        self.events.push(event);
        true
    }
}

fn position(event: &StoredLogEvent) -> Position {
    (event.timestamp, event.sequence)
}

fn limit(asked: Option<i32>) -> usize {
    asked.and_then(|limit| usize::try_from(limit).ok()).map_or(MAX_EVENTS, |limit| limit.clamp(1, MAX_EVENTS))
}

fn filter_token((timestamp, sequence): Position, backward: bool) -> String {
    let letter = if backward { 'b' } else { 'f' };
    paging::to_token(&format!("{letter}:{timestamp}:{sequence}"))
}

fn parse_filter_token(token: &str) -> Option<(Position, bool)> {
    let text = paging::from_token(token)?;
    let mut parts = text.split(':');
    let backward = match parts.next()? {
        "f" => false,
        "b" => true,
        _ => return None,
    };
    Some(((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?), backward))
}

#[cfg(test)]
mod unit_tests {
    use super::*;

    #[test]
    fn tokens_round_trip() {
        for token in [Token::Forward((0, 0)), Token::Backward((i64::MAX, u64::MAX)), Token::Forward((5, 7))] {
            assert_eq!(Token::parse(&token.text()), Some(token));
        }
        for bad in ["", "f/", "f/12/s", "x/00000000000000000001000000000000000000000000000000000001/s"] {
            assert_eq!(Token::parse(bad), None);
        }
        for backward in [false, true] {
            assert_eq!(parse_filter_token(&filter_token((5, 7), backward)), Some(((5, 7), backward)));
        }
        assert_eq!(parse_filter_token("x"), None);
    }
}
