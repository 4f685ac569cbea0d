//! Bodies of responses: whole, or events that are sent as they come.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use crate::codec::EventFrames;

/// Body of a response.
pub struct ResponseBody {
    content: Content,
    /// Let go when the last byte is taken or nobody wants it any more.
    held: Option<Box<dyn Send>>,
}

enum Content {
    Whole(Full<Bytes>),
    Events(Box<EventFrames>),
}

impl ResponseBody {
    pub(crate) fn events(frames: EventFrames) -> Self {
        Self { content: Content::Events(Box::new(frames)), held: None }
    }

    /// Keeps something until the body has been sent, or will not be. A whole body keeps it until hyper has
    /// taken it over.
    pub(crate) fn hold(mut self, what: impl Send + 'static) -> Self {
        self.held = Some(match self.held.take() {
            None => Box::new(what),
            Some(held) => Box::new((held, what)),
        });
        self
    }

    /// [`ResponseBody::hold`] where the body is one of events.
    pub(crate) fn hold_if_events(self, what: impl Send + 'static) -> Self {
        match self.content {
            Content::Whole(_) => self,
            Content::Events(_) => self.hold(what),
        }
    }

    /// The bytes of a whole body; `None` for events.
    pub(crate) fn whole(&mut self) -> Option<&mut Full<Bytes>> {
        match &mut self.content {
            Content::Whole(whole) => Some(whole),
            Content::Events(_) => None,
        }
    }
}

impl From<Full<Bytes>> for ResponseBody {
    fn from(whole: Full<Bytes>) -> Self {
        Self { content: Content::Whole(whole), held: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = match &mut self.content {
            Content::Whole(whole) => ready!(Pin::new(whole).poll_frame(cx)),
            Content::Events(frames) => ready!(frames.poll_next(cx)).map(|bytes| Ok(Frame::data(bytes))),
        };
        if self.is_end_stream() {
            self.held = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Whole(whole) => whole.is_end_stream(),
            Content::Events(frames) => frames.is_over(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Whole(whole) => whole.size_hint(),
            Content::Events(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for ResponseBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Whole(whole) => whole.fmt(f),
            Content::Events(_) => f.write_str("Events"),
        }
    }
}
