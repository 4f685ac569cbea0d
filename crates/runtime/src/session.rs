//! One runtime's side of the conversation, whichever way it is held.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use lambkin_core::invoke::ResponseSink;

use crate::channel::ChannelSession;
use crate::http::HttpSession;

/// Largest response that the Runtime API takes: 6 MiB and 100 bytes.
pub const MAX_RESPONSE_BYTES: usize = 6 * 1024 * 1024 + 100;

/// An event as it is handed to a runtime.
#[derive(Debug, Clone)]
pub struct Event<'a> {
    /// Request id.
    pub request_id: &'a str,
    /// When the function's time is over, in milliseconds since the epoch.
    pub deadline_ms: i64,
    /// ARN by which the function was invoked.
    pub invoked_function_arn: &'a str,
    /// X-Ray header; empty for none.
    pub trace_id: &'a str,
    /// Client context, JSON.
    pub client_context: Option<&'a str>,
    /// Cognito identity, JSON.
    pub cognito_identity: Option<&'a str>,
    /// The event itself.
    pub payload: Bytes,
    /// Takes a response that the runtime streams.
    pub response: Option<&'a ResponseSink>,
}

/// How a runtime's INIT ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It asks for its first event.
    Ready,
    /// It reported an error; the process is about to end.
    InitError {
        /// Error type as the runtime declared it; may be empty.
        error_type: String,
        /// Error document as posted.
        body: Bytes,
    },
    /// The conversation ended, or broke its rules.
    Closed {
        /// What was wrong, for the server's log; empty where the runtime just went away.
        reason: String,
    },
}

/// How a runtime dealt with an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Its response.
    Response(Bytes),
    /// Its response has gone to [`Event::response`].
    Streamed {
        /// Its length.
        bytes: u64,
    },
    /// It reported an error.
    Error {
        /// Error type as the runtime declared it; may be empty.
        error_type: String,
        /// Error document as posted.
        body: Bytes,
    },
    /// Its response was over [`MAX_RESPONSE_BYTES`], or, streamed, over [`MAX_STREAMED_PAYLOAD`]; the runtime
    /// can take a next event.
    TooLarge,
    /// The conversation ended, or broke its rules.
    Closed {
        /// Whether the runtime may have seen the event. If not, another environment can take it.
        delivered: bool,
        /// What was wrong, for the server's log; empty where the runtime just went away.
        reason: String,
    },
}

/// A conversation with one runtime. One method runs at a time; a method's future that is dropped before
/// its end leaves the session unusable, except where said otherwise.
#[derive(Debug)]
pub struct Session(Kind);

#[derive(Debug)]
enum Kind {
    Channel(Box<ChannelSession>),
    Http(Box<HttpSession>),
}

/// Tells a session that the runtime's process has ended, while one of its methods runs.
#[derive(Debug, Clone, Default)]
pub struct ProcessEnd(Arc<AtomicBool>);

impl ProcessEnd {
    /// The process has ended: the session takes what it has still sent and then is closed. To be followed
    /// by a poll of the method's future.
    pub fn announce(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// Whether it has ended.
    pub(crate) fn is_announced(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

impl Session {
    /// A session on the server's end of a private channel: a connected Unix stream socket.
    ///
    /// # Errors
    /// The descriptor cannot be registered with the reactor. Must be called within a tokio runtime.
    pub fn channel(socket: OwnedFd) -> io::Result<Self> {
        Ok(Self(Kind::Channel(Box::new(ChannelSession::new(socket)?))))
    }

    /// A session that serves the Runtime API over HTTP to whoever connects to `listener`. It has no
    /// task of its own: connections are read while one of its futures is polled.
    ///
    /// # Errors
    /// The descriptor cannot be registered with the reactor. Must be called within a tokio runtime.
    pub fn http(listener: TcpListener) -> io::Result<Self> {
        Ok(Self(Kind::Http(Box::new(HttpSession::new(listener)?))))
    }

    /// By which to tell the session that the process has ended. Over the private channel that shows by
    /// itself.
    #[must_use]
    pub fn process_end(&self) -> ProcessEnd {
        match &self.0 {
            Kind::Channel(_) => ProcessEnd::default(),
            Kind::Http(session) => session.process_end(),
        }
    }

    /// Waits for the end of INIT. Over HTTP the end of the process shows only by [`ProcessEnd`]. The
    /// future may be dropped and asked for again.
    pub async fn ready(&mut self) -> Readiness {
        match &mut self.0 {
            Kind::Channel(session) => session.ready().await,
            Kind::Http(session) => session.ready().await,
        }
    }

    /// Hands over an event and waits for its answer, without a time limit. Over HTTP the end of the
    /// process shows only by [`ProcessEnd`].
    pub async fn invoke(&mut self, event: Event<'_>) -> Answer {
        match &mut self.0 {
            Kind::Channel(session) => session.invoke(event).await,
            Kind::Http(session) => session.invoke(event).await,
        }
    }

    /// Whether the runtime may have seen the event of the last `invoke`. Over the private channel that is
    /// assumed unless `invoke` answered [`Answer::Closed`] and so found that it had not.
    #[must_use]
    pub fn delivered(&self) -> bool {
        match &self.0 {
            Kind::Channel(session) => session.delivered(),
            Kind::Http(session) => session.delivered(),
        }
    }
}
