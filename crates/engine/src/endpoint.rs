//! The server's own APIs inside sandboxes: a listener made in each sandbox's network namespace, served by
//! the server from outside. Whoever connects to it is in that sandbox.

use std::fmt;
use std::future::Future;
use std::io;
use std::net::TcpListener as StdTcpListener;
use std::pin::Pin;

use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Which execution environment a listener belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// ARN of the function version, as [`lambkin_core::function::FunctionSpec::arn`] gives it.
    pub function_arn: String,
    /// The environment: 32 hexadecimal digits.
    pub environment: String,
}

/// Serves functions what they find on 127.0.0.1 of their sandbox.
pub trait EndpointAcceptor: fmt::Debug + Send + Sync + 'static {
    /// The port inside every sandbox; not that of the Runtime API, 9001.
    fn port(&self) -> u16;

    /// Accepts and serves the connections of one sandbox for as long as it lives: the future is dropped
    /// when the sandbox ends, and must let go of all connections then. It is to bound what a sandbox can
    /// hold; the sandbox may be frozen at any moment.
    fn serve(&self, listener: TcpListener, origin: Origin) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The task that serves one sandbox. Dropping it ends the task and its connections.
#[derive(Debug)]
pub(crate) struct Endpoint(JoinHandle<()>);

impl Endpoint {
    /// Starts to serve a sandbox's listener.
    pub(crate) fn start(
        acceptor: &dyn EndpointAcceptor,
        listener: StdTcpListener,
        origin: Origin,
    ) -> io::Result<Self> {
        let listener = TcpListener::from_std(listener)?;
        Ok(Self(tokio::spawn(acceptor.serve(listener, origin))))
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.0.abort();
    }
}
