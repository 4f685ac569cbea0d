//! Bodies of responses: whole, or events that are sent as they come.

use std::convert::Infallible;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    /// Told of events that are taken.
    reader: Option<Reader>,
}

/// Follows whether a client takes the events that are there for it.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    shared: Arc<Readers>,
    /// A piece has been given, and no other asked for yet.
    is_full: bool,
}

/// All readers of a connection.
#[derive(Debug, Default)]
pub(crate) struct Readers {
    /// Those that have a piece and have not asked for another.
    full: AtomicUsize,
    /// Pieces given to all of them.
    pieces: AtomicUsize,
}

impl Readers {
    /// How many have a piece and have not asked for another, and how many pieces were given in all.
    pub(crate) fn look(&self) -> (usize, usize) {
        (self.full.load(Ordering::Relaxed), self.pieces.load(Ordering::Relaxed))
    }
}

impl Reader {
    pub(crate) fn new(shared: Arc<Readers>) -> Self {
        Self { shared, is_full: false }
    }

    /// It wants another piece.
    pub(crate) fn asks(&mut self) {
        if std::mem::take(&mut self.is_full) {
            self.shared.full.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// It has been given a piece.
    pub(crate) fn gets(&mut self) {
        self.shared.pieces.fetch_add(1, Ordering::Relaxed);
        if !std::mem::replace(&mut self.is_full, true) {
            self.shared.full.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.asks();
    }
}

enum Content {
    Whole(Full<Bytes>),
    Events(Box<EventFrames>),
}

impl ResponseBody {
    pub(crate) fn events(frames: EventFrames) -> Self {
        Self { content: Content::Events(Box::new(frames)), held: None, reader: None }
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

    /// [`ResponseBody::hold`] where the body is one of events; `reader` is told of those that are taken.
    pub(crate) fn hold_if_events(mut self, what: impl Send + 'static, reader: Reader) -> Self {
        match self.content {
            Content::Whole(_) => self,
            Content::Events(_) => {
                self.reader = Some(reader);
                self.hold(what)
            }
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
        Self { content: Content::Whole(whole), held: None, reader: None }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if let Some(reader) = &mut self.reader {
            reader.asks();
        }
        let frame = match &mut self.content {
            Content::Whole(whole) => ready!(Pin::new(whole).poll_frame(cx)),
            Content::Events(frames) => ready!(frames.poll_next(cx)).map(|bytes| Ok(Frame::data(bytes))),
        };
        if let Some(reader) = &mut self.reader {
            reader.gets();
        }
        if self.is_end_stream() {
            self.held = None;
            self.reader = None;
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
