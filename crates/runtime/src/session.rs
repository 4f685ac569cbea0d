//! One runtime's side of the conversation, whichever way it is held.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use lambkin_core::invoke::ResponseSink;

use crate::channel::ChannelSession;
use crate::http::{Extensions, HttpSession};

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
    /// An extension reported an error.
    ExtensionError {
        /// Error type as the extension declared it.
        error_type: String,
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
    /// Its response was over [`MAX_RESPONSE_BYTES`], or, streamed, over [`lambkin_core::invoke::MAX_STREAMED_PAYLOAD`]; the runtime
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

/// What extensions are told when they register, and who must.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExtensionHost {
    /// Function name.
    pub function_name: String,
    /// Function version.
    pub function_version: String,
    /// The handler setting.
    pub handler: String,
    /// Account of the function.
    pub account_id: String,
    /// Names of the extensions that the platform starts. Every other one is internal: part of the runtime's
    /// process or its children.
    pub external: Vec<String>,
}

/// Why an environment ends, as extensions are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ShutdownReason {
    /// It is not needed any more.
    Spindown,
    /// The function ran out of time.
    Timeout,
    /// Something in it failed.
    Failure,
}

impl ShutdownReason {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Spindown => "spindown",
            Self::Timeout => "timeout",
            Self::Failure => "failure",
        }
    }
}

/// What an extension is and where it stands, for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionInfo {
    /// Its name.
    pub name: String,
    /// `Started`, `Registered`, `Ready`, `Running` or `InitError`.
    pub state: &'static str,
    /// The events it registered for.
    pub events: Vec<&'static str>,
    /// The error type that it reported.
    pub error_type: Option<String>,
}

/// An error that an extension reported, or one of the server's side (`reason` not empty).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionError {
    /// As the extension declared it.
    pub error_type: String,
    /// What is wrong with the listener, for the server's log.
    pub reason: String,
}

/// A conversation with one runtime and with the environment's extensions. One method runs at a time; a
/// method's future that is dropped before its end leaves the session unusable, except where said otherwise.
#[derive(Debug)]
pub struct Session {
    runtime: Runtime,
    ready: bool,
}

#[derive(Debug)]
enum Runtime {
    /// Beside the channel what serves the extensions.
    Channel(Box<ChannelSession>, Option<Box<HttpSession>>),
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
    /// A session on the server's end of a private channel: a connected Unix stream socket. Extensions are
    /// served to whoever connects to `listener`.
    ///
    /// # Errors
    /// A descriptor cannot be registered with the reactor. Must be called within a tokio runtime.
    pub fn channel(socket: OwnedFd, listener: Option<TcpListener>) -> io::Result<Self> {
        let extensions = listener.map(HttpSession::without_runtime).transpose()?.map(Box::new);
        Ok(Self::of(Runtime::Channel(Box::new(ChannelSession::new(socket)?), extensions)))
    }

    /// A session that serves the Runtime API over HTTP to whoever connects to `listener`. It has no
    /// task of its own: connections are read while one of its futures is polled.
    ///
    /// # Errors
    /// The descriptor cannot be registered with the reactor. Must be called within a tokio runtime.
    pub fn http(listener: TcpListener) -> io::Result<Self> {
        Ok(Self::of(Runtime::Http(Box::new(HttpSession::new(listener)?))))
    }

    fn of(runtime: Runtime) -> Self {
        Self { runtime, ready: false }
    }

    fn api(&self) -> Option<&HttpSession> {
        match &self.runtime {
            Runtime::Channel(_, api) => api.as_deref(),
            Runtime::Http(api) => Some(api),
        }
    }

    fn api_mut(&mut self) -> Option<&mut HttpSession> {
        match &mut self.runtime {
            Runtime::Channel(_, api) => api.as_deref_mut(),
            Runtime::Http(api) => Some(api),
        }
    }

    /// Says what extensions are told. To be called before anything runs.
    pub fn expect_extensions(&self, host: ExtensionHost) {
        if let Some(api) = self.api() {
            api.extensions().serve(host);
        }
    }

    /// By which to tell the session that the process has ended. Over the private channel that shows by
    /// itself.
    #[must_use]
    pub fn process_end(&self) -> ProcessEnd {
        match &self.runtime {
            Runtime::Channel(..) => ProcessEnd::default(),
            Runtime::Http(session) => session.process_end(),
        }
    }

    /// Waits until all external extensions have registered.
    ///
    /// # Errors
    /// One has reported an error.
    pub async fn registered(&mut self) -> Result<(), ExtensionError> {
        self.extensions_until(|extensions| extensions.all_registered()).await
    }

    /// Waits for the end of INIT: the runtime asks for an event, and so do all extensions. Over HTTP the end
    /// of the process shows only by [`ProcessEnd`]. The future may be dropped and asked for again.
    pub async fn ready(&mut self) -> Readiness {
        if !self.ready {
            let readiness = match &mut self.runtime {
                Runtime::Channel(channel, None) => channel.ready().await,
                Runtime::Channel(channel, Some(api)) => {
                    tokio::select! {
                        biased;
                        readiness = channel.ready() => readiness,
                        reason = api.serve() => Readiness::Closed { reason },
                    }
                }
                Runtime::Http(api) => api.ready().await,
            };
            if readiness != Readiness::Ready {
                return readiness;
            }
            self.ready = true;
        }
        let settled = self.settled().await;
        if let Some(api) = self.api() {
            api.extensions().close();
        }
        match settled {
            Ok(()) => Readiness::Ready,
            Err(ExtensionError { reason, .. }) if !reason.is_empty() => Readiness::Closed { reason },
            Err(ExtensionError { error_type, .. }) => Readiness::ExtensionError { error_type },
        }
    }

    /// Hands over an event and waits for its answer, without a time limit. Extensions that want to know are
    /// told, too. Over HTTP the end of the process shows only by [`ProcessEnd`].
    pub async fn invoke(&mut self, event: Event<'_>) -> Answer {
        match &mut self.runtime {
            Runtime::Channel(channel, None) => channel.invoke(event).await,
            Runtime::Channel(channel, Some(api)) => {
                api.extensions().invoke(&event);
                tokio::select! {
                    biased;
                    answer = channel.invoke(event) => answer,
                    reason = api.serve() => Answer::Closed { delivered: true, reason },
                }
            }
            Runtime::Http(api) => api.invoke(event).await,
        }
    }

    /// Waits until all extensions are done with what they were told.
    ///
    /// # Errors
    /// One has reported an error.
    pub async fn settled(&mut self) -> Result<(), ExtensionError> {
        self.extensions_until(|extensions| extensions.all_idle()).await
    }

    async fn extensions_until(
        &mut self,
        reached: impl Fn(&Extensions) -> bool,
    ) -> Result<(), ExtensionError> {
        let Some(api) = self.api_mut() else { return Ok(()) };
        let ended = api.serve_until(|all| all.reported().is_some() || reached(all)).await;
        ended.map_err(|reason| ExtensionError { error_type: String::new(), reason })?;
        match api.extensions().reported() {
            Some(error_type) => Err(ExtensionError { error_type, reason: String::new() }),
            None => Ok(()),
        }
    }

    /// Whether extensions are told of invocations, so that [`Session::settled`] may take a while.
    #[must_use]
    pub fn has_extensions_for_invoke(&self) -> bool {
        self.api().is_some_and(|api| api.extensions().any_for_invoke())
    }

    /// Whether there are extensions, and whether external ones.
    #[must_use]
    pub fn has_extensions(&self) -> (bool, bool) {
        self.api().map_or((false, false), |api| api.extensions().any())
    }

    /// Tells extensions that the environment ends at `deadline_ms`; which of the external ones will do
    /// something about it. They hear of it while [`Session::serve`] is polled.
    pub fn shut_down(&mut self, reason: ShutdownReason, deadline_ms: i64) -> Vec<usize> {
        self.api().map(|api| api.extensions().shut_down(reason, deadline_ms)).unwrap_or_default()
    }

    /// Serves extensions, for ever.
    pub async fn serve(&mut self) {
        if let Some(api) = self.api_mut() {
            api.serve().await;
        }
        std::future::pending().await
    }

    /// What became of the extensions, for the log.
    #[must_use]
    pub fn extensions(&self) -> Vec<ExtensionInfo> {
        self.api().map(|api| api.extensions().infos()).unwrap_or_default()
    }

    /// Whether the runtime may have seen the event of the last `invoke`. Over the private channel that is
    /// assumed unless `invoke` answered [`Answer::Closed`] and so found that it had not.
    #[must_use]
    pub fn delivered(&self) -> bool {
        match &self.runtime {
            Runtime::Channel(channel, _) => channel.delivered(),
            Runtime::Http(api) => api.delivered(),
        }
    }
}
