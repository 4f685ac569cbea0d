//! The private channel: length-prefixed frames on a Unix stream socket (`docs/internals/private-channel.md`).

use std::io::{self, ErrorKind, IoSlice};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;

use bytes::{Buf, Bytes, BytesMut};
use lambkin_core::invoke::{MAX_STREAMED_PAYLOAD, ResponseSink};
use serde::Serialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::session::{Answer, Event, MAX_RESPONSE_BYTES, Readiness};

/// Bytes before a frame's content: length, type and the event's number.
const FRAME_PREFIX: usize = 9;
/// Those of them that the length counts.
const COUNTED_PREFIX: usize = 5;
/// Read buffer of an idle channel; answers that fit are taken with one read.
const READ_BUFFER: usize = 8 * 1024;
/// Most of a streamed answer that is handed on at once.
const PIECE: usize = 64 * 1024;
/// An event's head larger than this does not keep its buffer.
const HEAD_BUFFER_KEPT: usize = 64 * 1024;

/// Head of an `I` frame.
#[derive(Serialize)]
struct Head<'a> {
    id: &'a str,
    deadline: i64,
    arn: &'a str,
    trace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    client: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    identity: Option<&'a str>,
    /// Whether the answer may be streamed.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stream: bool,
}

/// Why no frame came.
#[derive(Debug)]
enum Broken {
    /// The peer closed its end; everything sent was read.
    Ended,
    /// The peer closed its end with data unread (`ECONNRESET`), or could not be written to.
    Unread,
    /// The peer spoke although no event was under way, and it was no answer.
    Unasked,
    /// The peer does not keep to the format, or the socket failed.
    Violation(String),
}

impl Broken {
    fn reason(self) -> String {
        match self {
            Self::Ended | Self::Unread => String::new(),
            Self::Unasked => "nonsense between two events".into(),
            Self::Violation(reason) => reason,
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => Self::Unread,
            ErrorKind::UnexpectedEof => Self::Ended,
            _ => Self::Violation(format!("private channel: {error}")),
        }
    }
}

/// The server's end of a private channel.
#[derive(Debug)]
pub(crate) struct ChannelSession {
    stream: UnixStream,
    input: BytesMut,
    head: Vec<u8>,
    delivered: bool,
    /// Number of the event under way, or of the last one.
    number: u32,
}

/// What stands before a frame's content.
#[derive(Debug, Clone, Copy)]
struct Prefix {
    kind: u8,
    /// Of the event that it is about.
    number: u32,
    /// Of the content.
    length: usize,
}

impl ChannelSession {
    pub(crate) fn new(socket: OwnedFd) -> io::Result<Self> {
        let stream = StdUnixStream::from(socket);
        stream.set_nonblocking(true)?;
        Ok(Self {
            stream: UnixStream::from_std(stream)?,
            input: BytesMut::with_capacity(READ_BUFFER),
            head: Vec::new(),
            delivered: false,
            number: 0,
        })
    }

    pub(crate) fn delivered(&self) -> bool {
        self.delivered
    }

    /// Safe to drop: nothing is taken from the buffer before the frame is there as a whole.
    pub(crate) async fn ready(&mut self) -> Readiness {
        if let Err(broken) = self.whole_frame().await {
            return Readiness::Closed { reason: broken.reason() };
        }
        let outcome = match self.frame_prefix().await {
            Ok(Prefix { kind: b'R', length: 0, .. }) => return Readiness::Ready,
            Ok(Prefix { kind: b'F', length, .. }) => match self.error_content(length).await {
                Ok(Some((error_type, body))) => return Readiness::InitError { error_type, body },
                Ok(None) => Broken::Violation("init error over the size limit".into()),
                Err(broken) => broken,
            },
            Ok(Prefix { kind, length, .. }) => unexpected(kind, length),
            Err(broken) => broken,
        };
        Readiness::Closed { reason: outcome.reason() }
    }

    pub(crate) async fn invoke(&mut self, event: Event<'_>) -> Answer {
        // ECONNRESET and EPIPE prove that the runtime did not read the whole event; else it may have.
        self.delivered = true;
        match self.exchange(event).await {
            Ok(answer) => answer,
            Err(broken) => {
                self.delivered = !matches!(broken, Broken::Unread | Broken::Unasked);
                Answer::Closed { delivered: self.delivered, reason: broken.reason() }
            }
        }
    }

    async fn exchange(&mut self, event: Event<'_>) -> Result<Answer, Broken> {
        if !self.begins_with_an_answer() {
            return Err(Broken::Unasked);
        }
        self.number = self.number.wrapping_add(1);
        self.send(&event).await?;
        let mut streamed: Option<u64> = None;
        let (kind, length) = loop {
            let Prefix { kind, number, length } = self.frame_prefix().await?;
            if number != self.number && matches!(kind, b'A' | b'E' | b'C') {
                // Another answer to an event that has been answered, as a forked process of the function may give.
                self.skip(length).await?;
                continue;
            }
            match (kind, event.response) {
                (b'C', Some(sink)) => {
                    let streamed = streamed.get_or_insert(0);
                    *streamed = streamed.saturating_add(length as u64);
                    if *streamed > MAX_STREAMED_PAYLOAD {
                        self.skip(length).await?;
                    } else {
                        self.pass_on(length, sink).await?;
                    }
                }
                _ => break (kind, length),
            }
        };
        match (kind, length) {
            (b'A', 0) if let Some(bytes) = streamed => {
                Ok(if bytes > MAX_STREAMED_PAYLOAD { Answer::TooLarge } else { Answer::Streamed { bytes } })
            }
            (b'A', _) if streamed.is_some() => {
                Err(Broken::Violation("an answer after the parts of a streamed one".into()))
            }
            (b'A', length) if length > MAX_RESPONSE_BYTES => {
                self.skip(length).await?;
                Ok(Answer::TooLarge)
            }
            (b'A', length) => Ok(Answer::Response(self.content(length).await?)),
            (b'E', length) => Ok(match self.error_content(length).await? {
                Some((error_type, body)) => Answer::Error { error_type, body },
                None => Answer::TooLarge,
            }),
            (kind, length) => Err(unexpected(kind, length)),
        }
    }

    /// Whether what has been read too much can be another answer to the event before, which is thrown away later.
    fn begins_with_an_answer(&self) -> bool {
        let mut bytes = self.input.iter().skip(4);
        let known = bytes.next().is_none_or(|kind| matches!(kind, b'A' | b'E' | b'C'));
        known && bytes.zip(self.number.to_le_bytes()).all(|(seen, own)| *seen == own)
    }

    /// Hands content to who waits for it. Where nobody does any more it is thrown away.
    async fn pass_on(&mut self, mut length: usize, sink: &ResponseSink) -> Result<(), Broken> {
        while length > 0 {
            let piece = self.content(length.min(PIECE)).await?;
            length -= piece.len();
            if sink.send(piece).await.is_err() {
                return self.skip(length).await;
            }
        }
        Ok(())
    }

    /// Writes an `I` frame: one `writev` unless the socket's buffer is full.
    async fn send(&mut self, event: &Event<'_>) -> Result<(), Broken> {
        self.head.clear();
        self.head.extend_from_slice(&[0; FRAME_PREFIX + 4]);
        let head = Head {
            id: event.request_id,
            deadline: event.deadline_ms,
            arn: event.invoked_function_arn,
            trace: event.trace_id,
            client: event.client_context,
            identity: event.cognito_identity,
            stream: event.response.is_some(),
        };
        serde_json::to_writer(&mut self.head, &head).map_err(io::Error::from)?;
        let head_length = self.head.len() - FRAME_PREFIX - 4;
        let frame_length = COUNTED_PREFIX + 4 + head_length + event.payload.len();
        let too_long = |_| Broken::Violation("event over 4 GiB".into());
        let frame_length = u32::try_from(frame_length).map_err(too_long)?.to_le_bytes();
        let head_length = u32::try_from(head_length).map_err(too_long)?.to_le_bytes();
        let number = self.number.to_le_bytes();
        let prefix = frame_length.into_iter().chain([b'I']).chain(number).chain(head_length);
        for (place, byte) in self.head.iter_mut().zip(prefix) {
            *place = byte;
        }

        let mut head = self.head.as_slice();
        let mut payload = event.payload.as_ref();
        while head.has_remaining() || payload.has_remaining() {
            let written = if payload.is_empty() {
                self.stream.write(head).await?
            } else {
                self.stream.write_vectored(&[IoSlice::new(head), IoSlice::new(payload)]).await?
            };
            if written == 0 {
                return Err(Broken::Unread);
            }
            let of_head = written.min(head.len());
            head.advance(of_head);
            payload.advance(written - of_head);
        }
        if self.head.capacity() > HEAD_BUFFER_KEPT {
            self.head = Vec::new();
        }
        Ok(())
    }

    /// Waits until the next frame, if it is within the size limit, is in the buffer.
    async fn whole_frame(&mut self) -> Result<(), Broken> {
        self.fill(4).await?;
        let length = self.input.chunk().get_u32_le() as usize;
        if length <= MAX_RESPONSE_BYTES { self.fill(4 + length).await } else { Ok(()) }
    }

    /// Reads what stands before a frame's content.
    async fn frame_prefix(&mut self) -> Result<Prefix, Broken> {
        self.fill(4).await?;
        let length = self.input.chunk().get_u32_le() as usize;
        let Some(length) = length.checked_sub(COUNTED_PREFIX) else {
            return Err(Broken::Violation("frame without a type or number".into()));
        };
        self.fill(FRAME_PREFIX).await?;
        self.input.advance(4);
        let kind = self.input.get_u8();
        let number = self.input.get_u32_le();
        Ok(Prefix { kind, number, length })
    }

    /// Waits until at least `wanted` bytes are in the buffer. Safe to drop: what was read stays there.
    async fn fill(&mut self, wanted: usize) -> Result<(), Broken> {
        while self.input.len() < wanted {
            self.input.reserve((wanted - self.input.len()).max(READ_BUFFER));
            if self.stream.read_buf(&mut self.input).await? == 0 {
                return Err(Broken::Ended);
            }
        }
        Ok(())
    }

    async fn content(&mut self, length: usize) -> Result<Bytes, Broken> {
        self.fill(length).await?;
        Ok(self.input.split_to(length).freeze())
    }

    /// Error type and document of an `E` or `F` frame; `None` where it is over the size limit.
    async fn error_content(&mut self, length: usize) -> Result<Option<(String, Bytes)>, Broken> {
        if length < 2 {
            return Err(Broken::Violation("error frame without the length of its error type".into()));
        }
        self.fill(2).await?;
        let type_length = usize::from(self.input.get_u16_le());
        let Some(body_length) = (length - 2).checked_sub(type_length) else {
            return Err(Broken::Violation("error type longer than its frame".into()));
        };
        let error_type = self.content(type_length).await?;
        if body_length > MAX_RESPONSE_BYTES {
            self.skip(body_length).await?;
            return Ok(None);
        }
        let body = self.content(body_length).await?;
        Ok(Some((String::from_utf8_lossy(&error_type).into_owned(), body)))
    }

    /// Throws away `length` bytes of content.
    async fn skip(&mut self, mut length: usize) -> Result<(), Broken> {
        loop {
            let now = length.min(self.input.len());
            self.input.advance(now);
            length -= now;
            if length == 0 {
                return Ok(());
            }
            self.fill(1).await?;
        }
    }
}

fn unexpected(kind: u8, length: usize) -> Broken {
    Broken::Violation(format!("unexpected frame {:?} of {length} bytes", char::from(kind)))
}

#[cfg(test)]
mod tests;
