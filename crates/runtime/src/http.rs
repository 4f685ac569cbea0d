//! The Runtime API over HTTP, served by polling.
//!
//! A session has no task: its connections are futures that it polls while `ready` or `invoke` runs. An
//! idle environment so costs nothing, and an event goes to the runtime without a change of task. What a
//! runtime sends in between waits in the socket.

mod extension_routes;
mod extensions;
mod routes;
mod signal;
mod state;

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustix::io::Errno;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Sleep;

use crate::session::{Answer, Event, ProcessEnd, Readiness};
pub(crate) use extensions::Extensions;
use signal::Signal;
use state::{Delivery, Shared};

/// Connections held at once; a runtime needs one or two. More wait to be accepted.
const MAX_CONNECTIONS: usize = 32;

/// How often connections are polled again at once because they woke themselves, before other tasks run.
const ROUNDS: usize = 16;

/// Pause before the next connection is accepted where the server lacks descriptors or memory.
const PAUSE: Duration = Duration::from_millis(50);

type Connection = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The server's side of the Runtime API of one environment.
pub(crate) struct HttpSession {
    listener: TcpListener,
    connections: Vec<Connection>,
    shared: Arc<Shared>,
    signal: Arc<Signal>,
    /// Wakes `signal`.
    waker: Waker,
    process_end: ProcessEnd,
    /// Until when no connection is accepted, for want of descriptors or memory.
    pause: Option<Pin<Box<Sleep>>>,
}

impl fmt::Debug for HttpSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSession")
            .field("connections", &self.connections.len())
            .field("shared", &self.shared)
            .finish_non_exhaustive()
    }
}

impl HttpSession {
    pub(crate) fn new(listener: StdTcpListener) -> io::Result<Self> {
        Self::with(listener, Shared::default())
    }

    /// For an environment whose runtime is served elsewhere: extensions only.
    pub(crate) fn without_runtime(listener: StdTcpListener) -> io::Result<Self> {
        Self::with(listener, Shared::without_runtime())
    }

    fn with(listener: StdTcpListener, shared: Shared) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let signal = Arc::new(Signal::default());
        Ok(Self {
            listener: TcpListener::from_std(listener)?,
            connections: Vec::new(),
            shared: Arc::new(shared),
            waker: Waker::from(Arc::clone(&signal)),
            signal,
            process_end: ProcessEnd::default(),
            pause: None,
        })
    }

    pub(crate) fn process_end(&self) -> ProcessEnd {
        self.process_end.clone()
    }

    /// Whether nothing more can come: the process has ended and its last connection too.
    fn is_over(&self) -> bool {
        self.process_end.is_announced() && self.connections.is_empty()
    }

    pub(crate) fn delivered(&self) -> bool {
        self.shared.delivered()
    }

    /// The extensions.
    pub(crate) fn extensions(&self) -> &Extensions {
        &self.shared.extensions
    }

    /// Serves until the extensions are as they should be; or why the listener cannot go on.
    pub(crate) async fn serve_until(
        &mut self,
        mut reached: impl FnMut(&Extensions) -> bool,
    ) -> Result<(), String> {
        poll_fn(|cx| match self.poll_connections(cx) {
            Err(error) => Poll::Ready(Err(format!("runtime API listener: {error}"))),
            Ok(()) if reached(&self.shared.extensions) => Poll::Ready(Ok(())),
            Ok(()) => Poll::Pending,
        })
        .await
    }

    /// Serves for as long as it is polled.
    pub(crate) async fn serve(&mut self) -> String {
        match self.serve_until(|_| false).await {
            Err(reason) => reason,
            Ok(()) => std::future::pending().await,
        }
    }

    pub(crate) async fn ready(&mut self) -> Readiness {
        poll_fn(|cx| match self.poll_connections(cx) {
            Err(error) => Poll::Ready(Readiness::Closed { reason: format!("runtime API listener: {error}") }),
            Ok(()) => match self.shared.readiness() {
                Some(readiness) => Poll::Ready(readiness),
                None if self.is_over() => Poll::Ready(Readiness::Closed { reason: String::new() }),
                None => Poll::Pending,
            },
        })
        .await
    }

    pub(crate) async fn invoke(&mut self, event: Event<'_>) -> Answer {
        self.shared.extensions.invoke(&event);
        match Delivery::new(&event) {
            Ok(delivery) => self.shared.offer(delivery, event.response),
            Err(error) => {
                return Answer::Closed { delivered: false, reason: format!("event header: {error}") };
            }
        }
        let answer = poll_fn(|cx| match self.poll_connections(cx) {
            Err(error) => Poll::Ready(Answer::Closed {
                delivered: self.shared.delivered(),
                reason: format!("runtime API listener: {error}"),
            }),
            Ok(()) => match self.shared.take_answer() {
                Some(answer) => Poll::Ready(answer),
                None if self.is_over() => {
                    Poll::Ready(Answer::Closed { delivered: self.shared.delivered(), reason: String::new() })
                }
                None => Poll::Pending,
            },
        })
        .await;
        // The runtime's next request would wake who has its answer and does something else by then.
        self.signal.forget_task();
        answer
    }

    /// Accepts and serves until nothing moves. An answer is taken after this, when its request has been
    /// replied to.
    fn poll_connections(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let waker = self.waker.clone();
        let mut own = Context::from_waker(&waker);
        for _ in 0..ROUNDS {
            self.signal.begin(cx.waker());
            let changes = self.shared.changes();
            self.signal.take();
            let served = self.poll_once(&mut own)?;
            let still = !served && self.shared.changes() == changes;
            if self.signal.end() && still {
                return Ok(());
            }
        }
        // The rest comes after other tasks.
        cx.waker().wake_by_ref();
        Ok(())
    }

    /// Accepts what has come and polls each connection once; whether there may be more to do.
    fn poll_once(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut accepted = false;
        if let Some(pause) = &mut self.pause
            && pause.as_mut().poll(cx).is_ready()
        {
            self.pause = None;
        }
        while self.pause.is_none() && self.connections.len() < MAX_CONNECTIONS {
            match self.listener.poll_accept(cx) {
                Poll::Pending => break,
                Poll::Ready(Ok((stream, _))) => {
                    accepted = true;
                    self.connections.push(serve(stream, Arc::clone(&self.shared)));
                }
                // The peer went before it was accepted.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Poll::Ready(Err(error)) if is_want(&error) => {
                    let mut pause = Box::pin(tokio::time::sleep(PAUSE));
                    // Polled, so that it wakes.
                    if pause.as_mut().poll(cx).is_pending() {
                        self.pause = Some(pause);
                    }
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        let full = self.connections.len() == MAX_CONNECTIONS;
        self.connections.retain_mut(|connection| connection.as_mut().poll(cx).is_pending());
        Ok(accepted || full && self.connections.len() < MAX_CONNECTIONS)
    }
}

/// Whether the server lacks what a connection needs, for the moment.
fn is_want(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw_os_error);
    matches!(errno, Some(Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM))
}

/// Serves one connection to its end.
fn serve(stream: TcpStream, shared: Arc<Shared>) -> Connection {
    // Without it a reply may wait for an acknowledgement; failing only costs time.
    let _ = stream.set_nodelay(true);
    Box::pin(async move {
        let service = service_fn(move |request| {
            let shared = Arc::clone(&shared);
            async move { Ok::<_, std::convert::Infallible>(routes::handle(&shared, request).await) }
        });
        let served = http1::Builder::new()
            .title_case_headers(true)
            .serve_connection(TokioIo::new(stream), service)
            .await;
        if let Err(error) = served {
            tracing::debug!(%error, "runtime API connection ended");
        }
    })
}

#[cfg(test)]
mod tests;
