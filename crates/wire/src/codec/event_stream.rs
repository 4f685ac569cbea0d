//! Event streams: `application/vnd.amazon.eventstream`.
//!
//! A message is its length, the length of its headers, a CRC of these two, headers, payload, and a CRC of
//! all that. Numbers are big-endian. <https://smithy.io/2.0/aws/amazon-eventstream.html>

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_core::Stream as _;
use http::{HeaderValue, Response};
use http_body_util::Full;
use lambkin_model::schema::{Kind, Operation, Service, Structure};
use lambkin_model::{EventStream, StreamEvent};
use serde_json::Map;

use super::json;
use crate::reply::ResponseBody;

const CONTENT_TYPE: &str = "application/vnd.amazon.eventstream";
/// Type of a header whose value is a string.
const STRING: u8 = 7;
/// Bytes of a message beside headers and payload: two lengths and two checksums.
const FRAMING: usize = 16;

/// The messages of an event stream.
pub(crate) struct EventFrames {
    service: &'static Service,
    /// The event stream's shape.
    events: &'static Structure,
    stream: EventStream,
    over: bool,
}

impl EventFrames {
    /// The next message.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        let event = ready!(Pin::new(&mut self.stream).poll_next(cx));
        self.over |= event.is_none();
        Poll::Ready(event.map(|event| self.message(&event)))
    }

    /// Whether the last message has been taken.
    pub(crate) fn is_over(&self) -> bool {
        self.over
    }

    fn message(&self, event: &StreamEvent) -> Bytes {
        if let Some(payload) = &event.payload {
            return frame(event.name, "application/octet-stream", payload);
        }
        let member = self.events.members.iter().find(|member| member.name == event.name);
        let structure = member.and_then(|member| self.service.structure(member.shape));
        let mut body = Vec::new();
        let empty = Map::new();
        let fields = event.members.as_object().unwrap_or(&empty);
        match structure {
            Some(structure) => json::write_structure(&mut body, self.service, structure, fields, |_| true),
            None => body.extend_from_slice(b"{}"),
        }
        frame(event.name, "application/json", &body)
    }
}

/// Puts events in the place of a response's body.
pub(super) fn respond(
    service: &'static Service,
    operation: &'static Operation,
    response: Response<Full<Bytes>>,
    stream: EventStream,
) -> Response<ResponseBody> {
    let output = operation.output.and_then(|id| service.structure(id));
    let events = output.into_iter().flat_map(|output| output.members).find_map(|member| {
        match &service.shape(member.shape)?.kind {
            Kind::Structure(structure) if structure.event_stream => Some(structure),
            _ => None,
        }
    });
    let Some(events) = events else { return response.map(ResponseBody::from) };
    let (mut parts, _) = response.into_parts();
    parts.headers.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(CONTENT_TYPE));
    let frames = EventFrames { service, events, stream, over: false };
    Response::from_parts(parts, ResponseBody::events(frames))
}

/// One message with an event.
fn frame(event: &str, content_type: &str, payload: &[u8]) -> Bytes {
    let mut headers = Vec::with_capacity(96);
    for (name, value) in [(":event-type", event), (":content-type", content_type), (":message-type", "event")]
    {
        headers.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
        headers.extend_from_slice(name.as_bytes());
        headers.push(STRING);
        headers.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let total = FRAMING + headers.len() + payload.len();
    let mut message = Vec::with_capacity(total);
    message.extend_from_slice(&u32::try_from(total).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(&u32::try_from(headers.len()).unwrap_or(u32::MAX).to_be_bytes());
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.extend_from_slice(&headers);
    message.extend_from_slice(payload);
    message.extend_from_slice(&crc32fast::hash(&message).to_be_bytes());
    message.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_framed_and_checked() {
        let message = frame("PayloadChunk", "application/octet-stream", b"hello");
        assert_eq!(message.len(), u32::from_be_bytes(message[..4].try_into().unwrap()) as usize);
        let (content, checksum) = message.split_at(message.len() - 4);
        assert_eq!(crc32fast::hash(content).to_be_bytes(), checksum);
        assert_eq!(crc32fast::hash(&message[..8]).to_be_bytes(), message[8..12]);
        let headers = u32::from_be_bytes(message[4..8].try_into().unwrap()) as usize;
        assert_eq!(&message[12 + headers..message.len() - 4], b"hello");
        assert!(message[12..].starts_with(b"\x0b:event-type\x07\x00\x0cPayloadChunk\x0d:content-type\x07"));
    }
}
