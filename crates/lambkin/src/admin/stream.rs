//! A response body that a blocking thread writes.

use std::io::{self, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

/// Bytes that are sent together.
const PIECE: usize = 256 << 10;
/// Pieces that may wait for the reader.
const WAITING: usize = 4;
/// How long a reader may leave them waiting.
const STALL: Duration = Duration::from_secs(120);

/// The writing end; for a blocking thread.
pub(super) struct StreamWriter {
    sender: mpsc::Sender<io::Result<Bytes>>,
    piece: BytesMut,
    runtime: Handle,
}

/// The body. It fails, rather than ends, if the writer is dropped before [`StreamWriter::finish`].
pub(super) struct StreamBody {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    ended: bool,
}

/// A body and its writer.
pub(super) fn stream(runtime: Handle) -> (StreamWriter, StreamBody) {
    let (sender, receiver) = mpsc::channel(WAITING);
    let writer = StreamWriter { sender, piece: BytesMut::new(), runtime };
    (writer, StreamBody { receiver, ended: false })
}

impl StreamWriter {
    /// Whether the reader has gone away.
    pub(super) fn is_abandoned(&self) -> bool {
        self.sender.is_closed()
    }

    /// Ends the body well.
    pub(super) fn finish(mut self) -> io::Result<()> {
        self.flush()?;
        // An empty piece is the end.
        self.send(Bytes::new())
    }

    fn send(&self, piece: Bytes) -> io::Result<()> {
        let sent =
            self.runtime.block_on(async { tokio::time::timeout(STALL, self.sender.send(Ok(piece))).await });
        match sent {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(io::ErrorKind::BrokenPipe.into()),
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Write for StreamWriter {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.piece.extend_from_slice(buffer);
        if self.piece.len() >= PIECE {
            self.flush()?;
        }
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        let piece = self.piece.split().freeze();
        if piece.is_empty() { Ok(()) } else { self.send(piece) }
    }
}

impl Body for StreamBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        self.receiver.poll_recv(context).map(|piece| match piece {
            Some(Ok(piece)) if piece.is_empty() => {
                self.ended = true;
                None
            }
            Some(piece) => Some(piece.map(Frame::data)),
            None => {
                self.ended = true;
                Some(Err(io::ErrorKind::UnexpectedEof.into()))
            }
        })
    }
}
