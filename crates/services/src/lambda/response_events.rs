//! The event stream of `InvokeWithResponseStream`: `PayloadChunk` as the response is made, then
//! `InvokeComplete`.

use std::collections::VecDeque;
use std::future::{Future as _, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_core::Stream;
use lambkin_core::invoke::{InvokeError, InvokeOutcome};
use lambkin_model::{AwsError, StreamEvent};
use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::invoke::invoke_error;

/// Most of a response in one event.
const CHUNK: usize = 128 * 1024;

type Outcome = Result<InvokeOutcome, InvokeError>;

/// The events of one invocation.
pub(super) struct ResponseEvents {
    /// Pieces of a response that is being streamed.
    pieces: mpsc::Receiver<Bytes>,
    /// The invocation, until its end.
    running: Option<JoinHandle<Outcome>>,
    /// Its end, until it is told.
    ended: Option<Outcome>,
    ready: VecDeque<StreamEvent>,
}

impl ResponseEvents {
    /// Waits for the first piece of the response, or its end.
    ///
    /// # Errors
    /// Why the function was not run.
    pub(super) async fn begin(
        pieces: mpsc::Receiver<Bytes>,
        outcome: JoinHandle<Outcome>,
    ) -> Result<Self, AwsError> {
        let mut events = Self { pieces, running: Some(outcome), ended: None, ready: VecDeque::new() };
        poll_fn(|cx| events.advance(cx)).await?;
        Ok(events)
    }

    /// Collects what has come; ready when there is an event or nothing more to come.
    fn advance(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), AwsError>> {
        if let Some(running) = &mut self.running
            && let Poll::Ready(ended) = Pin::new(running).poll(cx)
        {
            self.running = None;
            self.ended = Some(ended.unwrap_or_else(|error| Err(InvokeError::Sandbox(error.to_string()))));
            // Nothing is added to the pieces that have come.
            self.pieces.close();
        }
        if !self.ready.is_empty() {
            return Poll::Ready(Ok(()));
        }
        match self.pieces.poll_recv(cx) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(piece)) => self.ready.extend(chunks(piece)),
            Poll::Ready(None) => match (self.ended.take(), &self.running) {
                (Some(Ok(outcome)), _) => self.ready.extend(last(outcome)),
                (Some(Err(error)), _) => return Poll::Ready(Err(invoke_error(error))),
                // The runtime has sent all; the platform is about to say how it ended.
                (None, Some(_)) => return Poll::Pending,
                (None, None) => {}
            },
        }
        Poll::Ready(Ok(()))
    }
}

impl Stream for ResponseEvents {
    type Item = StreamEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<StreamEvent>> {
        match self.advance(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(())) => Poll::Ready(self.ready.pop_front()),
            // Too late for an error of HTTP.
            Poll::Ready(Err(error)) => Poll::Ready(Some(complete(Some((&error.code, &error.message)), None))),
        }
    }
}

/// A piece of the response as events.
fn chunks(mut piece: Bytes) -> impl Iterator<Item = StreamEvent> {
    std::iter::from_fn(move || {
        let payload = piece.split_to(piece.len().min(CHUNK));
        let event = StreamEvent { name: "PayloadChunk", members: Value::Null, payload: Some(payload) };
        event.payload.as_ref().is_some_and(|payload| !payload.is_empty()).then_some(event)
    })
}

/// What follows the pieces of the response.
fn last(outcome: InvokeOutcome) -> Vec<StreamEvent> {
    let InvokeOutcome { payload, function_error, log_tail, .. } = outcome;
    match function_error {
        Some(code) => vec![complete(Some((code, &String::from_utf8_lossy(&payload))), log_tail)],
        // A response that was not streamed.
        None => chunks(payload).chain([complete(None, log_tail)]).collect(),
    }
}

fn complete(error: Option<(&str, &str)>, log_tail: Option<Bytes>) -> StreamEvent {
    let mut members = Map::new();
    if let Some((code, details)) = error {
        members.insert("ErrorCode".to_owned(), code.into());
        members.insert("ErrorDetails".to_owned(), details.into());
    }
    if let Some(tail) = log_tail {
        members.insert("LogResult".to_owned(), STANDARD.encode(tail).into());
    }
    StreamEvent { name: "InvokeComplete", members: Value::Object(members), payload: None }
}
