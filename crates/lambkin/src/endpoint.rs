//! The server's APIs inside sandboxes.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use lambkin_engine::{EndpointAcceptor, Origin};
use lambkin_wire::{Front, ServeOptions, Share};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tracing::Instrument as _;

/// Port of the Runtime API inside sandboxes: the server cannot have the same.
pub(crate) const RUNTIME_API_PORT: u16 = 9001;

/// Most connections of one sandbox at once; further ones wait in its listener's backlog.
const CONNECTIONS: usize = 256;
/// Connections of a sandbox that need no place among those which all sandboxes have in common.
const OWN_CONNECTIONS: usize = 4;
/// Connections of all sandboxes beyond that: this part of the server's open files, and at most so many.
const COMMON_PART: u64 = 4;
const COMMON_MOST: u64 = 8192;
/// Bytes that the requests of one sandbox hold at once.
const HELD_BYTES: u32 = 64 << 20;

/// Serves functions in their sandboxes, once there is a front to serve them with.
pub(crate) struct FunctionEndpoint {
    port: u16,
    front: RwLock<Option<Arc<Front>>>,
    common: Arc<Semaphore>,
}

impl std::fmt::Debug for FunctionEndpoint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FunctionEndpoint").field("port", &self.port).finish_non_exhaustive()
    }
}

impl FunctionEndpoint {
    /// An endpoint at the port of the server's own listener, so that URLs mean the same inside and outside.
    /// `open_files` is how many files the server may have open.
    pub(crate) fn new(port: u16, open_files: u64) -> Self {
        let common = (open_files / COMMON_PART).min(COMMON_MOST);
        let common = Arc::new(Semaphore::new(usize::try_from(common).unwrap_or(Semaphore::MAX_PERMITS)));
        Self { port, front: RwLock::default(), common }
    }

    /// Serves sandboxes made from now on with `front`; it holds the engine, and the engine this: to be
    /// followed by [`Self::close`].
    pub(crate) fn open(&self, front: Arc<Front>) {
        *self.front.write().unwrap_or_else(PoisonError::into_inner) = Some(front);
    }

    /// Lets go of the front.
    pub(crate) fn close(&self) {
        *self.front.write().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

impl EndpointAcceptor for FunctionEndpoint {
    fn port(&self) -> u16 {
        self.port
    }

    fn serve(&self, listener: TcpListener, origin: Origin) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let front = self.front.read().unwrap_or_else(PoisonError::into_inner).clone();
        let Some(front) = front else { return Box::pin(std::future::ready(())) };
        let options = ServeOptions {
            max_connections: CONNECTIONS,
            header_timeout: Duration::from_secs(10),
            idle_timeout: Duration::from_secs(60),
            // One request at a time on a connection; no SDK speaks HTTP/2 in the clear.
            http2: false,
            share: Some(Arc::new(Share::new(OWN_CONNECTIONS, Arc::clone(&self.common), HELD_BYTES))),
            ..ServeOptions::default()
        };
        let span = tracing::debug_span!(
            "endpoint",
            function = origin.function_arn,
            environment = origin.environment
        );
        // Ends by being dropped.
        Box::pin(lambkin_wire::serve(listener, front, options, std::future::pending()).instrument(span))
    }
}
