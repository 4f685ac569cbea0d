//! The runtime's state as AWS names it, and what passes between connections and the session.

use std::sync::{Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue, InvalidHeaderValue};
use lambkin_core::invoke::ResponseSink;

use super::extensions::Extensions;
use crate::session::{Answer, Event, Readiness};

/// Where the runtime stands. Names in messages are AWS's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Phase {
    /// In INIT.
    #[default]
    Started,
    /// It reported an init error; nothing more is expected.
    InitError,
    /// It waits for an event.
    Ready,
    /// It has an event.
    Running,
    /// It is sending its response.
    InvocationResponse,
    /// It is sending an error.
    InvocationErrorResponse,
    /// It has answered and not yet asked for the next event.
    ResponseSent,
}

impl Phase {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Started => "Started",
            Self::InitError => "InitError",
            Self::Ready => "Ready",
            Self::Running => "Running",
            Self::InvocationResponse => "InvocationResponse",
            Self::InvocationErrorResponse => "InvocationErrorResponse",
            Self::ResponseSent => "ResponseSent",
        }
    }
}

/// An event as the reply to `next` carries it.
#[derive(Debug, Clone)]
pub(crate) struct Delivery {
    id: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

impl Delivery {
    pub(crate) fn new(event: &Event<'_>) -> Result<Self, InvalidHeaderValue> {
        let mut headers = HeaderMap::with_capacity(8);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert("lambda-runtime-deadline-ms", HeaderValue::from(event.deadline_ms));
        for (name, value) in [
            ("lambda-runtime-aws-request-id", event.request_id),
            ("lambda-runtime-trace-id", event.trace_id),
            ("lambda-runtime-client-context", event.client_context.unwrap_or_default()),
            ("lambda-runtime-cognito-identity", event.cognito_identity.unwrap_or_default()),
            ("lambda-runtime-invoked-function-arn", event.invoked_function_arn),
        ] {
            if !value.is_empty() {
                headers.insert(name, HeaderValue::from_bytes(value.as_bytes())?);
            }
        }
        Ok(Self { id: event.request_id.to_owned(), headers, payload: event.payload.clone() })
    }
}

/// What one call of `next` gets at one moment.
pub(crate) enum Next {
    /// An event.
    Event(Delivery),
    /// Nothing yet.
    Wait,
    /// A refusal; the phase that refuses.
    Refused(Phase),
}

/// Why a post was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// Not the request id of the event under way.
    RequestId,
    /// Not in this phase.
    Phase(Phase),
}

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    /// Counts what another connection or the session may be waiting for.
    changes: u64,
    /// The event that waits to be fetched.
    offered: Option<Delivery>,
    /// The event under way, or the last one.
    event: Option<Delivery>,
    answer: Option<Answer>,
    /// Takes a streamed response to the event under way.
    sink: Option<ResponseSink>,
    init_error: Option<(String, Bytes)>,
}

/// State shared by a session and its connections. All are polled by one task, so the lock is free.
#[derive(Debug, Default)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// The extensions.
    pub(crate) extensions: Extensions,
    /// The runtime is not served here.
    runtime_elsewhere: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No code panics while it holds the lock, and each change is complete in itself.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For an environment whose runtime is served elsewhere.
    pub(crate) fn without_runtime() -> Self {
        Self { runtime_elsewhere: true, ..Self::default() }
    }

    pub(crate) fn runtime_is_elsewhere(&self) -> bool {
        self.runtime_elsewhere
    }

    pub(crate) fn changes(&self) -> u64 {
        self.lock().changes.wrapping_add(self.extensions.changes())
    }

    pub(crate) fn delivered(&self) -> bool {
        self.lock().offered.is_none()
    }

    pub(crate) fn readiness(&self) -> Option<Readiness> {
        let mut state = self.lock();
        match state.phase {
            Phase::Started => None,
            Phase::InitError => {
                let (error_type, body) = state.init_error.take().unwrap_or_default();
                Some(Readiness::InitError { error_type, body })
            }
            _ => Some(Readiness::Ready),
        }
    }

    pub(crate) fn offer(&self, delivery: Delivery, sink: Option<&ResponseSink>) {
        let mut state = self.lock();
        state.offered = Some(delivery);
        state.sink = sink.cloned();
        state.answer = None;
        state.changes += 1;
    }

    /// Where a streamed response goes, once.
    pub(crate) fn take_sink(&self) -> Option<ResponseSink> {
        self.lock().sink.take()
    }

    pub(crate) fn take_answer(&self) -> Option<Answer> {
        self.lock().answer.take()
    }

    /// A call of `next` has arrived: what it gets, if anything yet. While an event is under way it gets
    /// that event again, as AWS does.
    pub(crate) fn next_arrives(&self) -> Next {
        let mut state = self.lock();
        match state.phase {
            Phase::Started | Phase::ResponseSent => {
                state.phase = Phase::Ready;
                state.changes += 1;
            }
            Phase::Ready => {}
            Phase::Running => return state.event.clone().map_or(Next::Wait, Next::Event),
            phase => return Next::Refused(phase),
        }
        drop(state);
        self.next_waits()
    }

    /// What a waiting call of `next` gets.
    pub(crate) fn next_waits(&self) -> Next {
        let mut state = self.lock();
        if state.phase != Phase::Ready {
            return Next::Wait;
        }
        match state.offered.take() {
            Some(event) => {
                state.event = Some(event.clone());
                state.phase = Phase::Running;
                Next::Event(event)
            }
            None => Next::Wait,
        }
    }

    /// A response or error for event `id` begins to arrive. Its phase ends with [`Shared::post_ends`].
    pub(crate) fn post_begins(&self, id: &str, phase: Phase) -> Result<(), Refusal> {
        let mut state = self.lock();
        if state.event.as_ref().is_none_or(|event| event.id != id) {
            return Err(Refusal::RequestId);
        }
        if state.phase != Phase::Running {
            return Err(Refusal::Phase(state.phase));
        }
        state.phase = phase;
        Ok(())
    }

    pub(crate) fn post_ends(&self, answer: Answer) {
        let mut state = self.lock();
        state.phase = Phase::ResponseSent;
        state.sink = None;
        state.answer = Some(answer);
        state.changes += 1;
    }

    pub(crate) fn init_fails(&self, error_type: String, body: Bytes) -> Result<(), Phase> {
        let mut state = self.lock();
        if state.phase != Phase::Started {
            return Err(state.phase);
        }
        state.phase = Phase::InitError;
        state.init_error = Some((error_type, body));
        state.changes += 1;
        Ok(())
    }
}
