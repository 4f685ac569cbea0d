//! Pipes: a listener on a sandbox's loopback whose connections go on to the same address of the host's.

use std::io;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// Most connections of one listener; further ones wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// How long the host's service may take to accept a connection.
const CONNECT: Duration = Duration::from_secs(10);

/// Pipes connections until it is dropped or the listener fails.
pub(crate) async fn serve(listener: TcpListener, to: SocketAddrV4) -> io::Result<()> {
    let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    loop {
        let permit = Arc::clone(&permits).acquire_owned().await.map_err(io::Error::other)?;
        let (inner, _) = listener.accept().await?;
        while connections.try_join_next().is_some() {}
        connections.spawn(async move {
            // However it ends, both sides learn of it by the closing.
            let _ = pipe(inner, to).await;
            drop(permit);
        });
    }
}

async fn pipe(mut inner: TcpStream, to: SocketAddrV4) -> io::Result<()> {
    let mut outer = timeout(CONNECT, TcpStream::connect(to)).await??;
    inner.set_nodelay(true)?;
    outer.set_nodelay(true)?;
    tokio::io::copy_bidirectional(&mut inner, &mut outer).await.map(drop)
}
