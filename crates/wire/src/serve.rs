//! Connections: accepts, limits and ends them.

use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use http::Request;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

use crate::front::{Front, Scheme};
use crate::reply::{Reader, Readers};
use crate::share::{self, Share};
use crate::tls::Tls;

/// How connections are served.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Most connections at once; further ones wait in the listener's backlog.
    pub max_connections: usize,
    /// Time a new connection has to complete the head of its first request.
    pub header_timeout: Duration,
    /// Time after which a connection without a request in work is closed; also bounds how slowly the head
    /// of a later request may arrive.
    pub idle_timeout: Duration,
    /// Largest head of a request, bytes.
    pub max_head: usize,
    /// Whether HTTP/2 is spoken, too.
    pub http2: bool,
    /// Most requests at once on one HTTP/2 connection.
    pub max_streams: u32,
    /// Time that requests in work have to finish after shutdown began.
    pub grace: Duration,
    /// Certificate of a listener that speaks TLS.
    pub tls: Option<Arc<Tls>>,
    /// Time a new connection has to complete its TLS handshake, with the wait for others that shake hands.
    pub handshake_timeout: Duration,
    /// Most TLS handshakes at once.
    pub max_handshakes: usize,
    /// Bounds what the listener's peers hold of the server, beside `max_connections`.
    pub share: Option<Arc<Share>>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            header_timeout: Duration::from_secs(20),
            idle_timeout: Duration::from_secs(120),
            max_head: 64 << 10,
            http2: true,
            max_streams: 256,
            grace: Duration::from_secs(30),
            tls: None,
            handshake_timeout: Duration::from_secs(10),
            max_handshakes: 1024,
            share: None,
        }
    }
}

/// Serves a listener, which may belong to another network namespace, until `shutdown` completes. Then it
/// stops accepting, lets requests in work finish within [`ServeOptions::grace`] and cuts what is left.
pub async fn serve(
    listener: TcpListener,
    front: Arc<Front>,
    options: ServeOptions,
    shutdown: impl Future<Output = ()>,
) {
    let mut shutdown = pin!(shutdown);
    let places = Arc::new(Semaphore::new(options.max_connections));
    let handshakes = Arc::new(Semaphore::new(options.max_handshakes));
    let (closing, closed) = watch::channel(false);
    let mut connections = JoinSet::new();
    let mut complained: Option<Instant> = None;
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            Some(ended) = connections.join_next(), if !connections.is_empty() => {
                report(ended);
                continue;
            }
            accepted = accept(&listener, &places) => accepted,
        };
        match accepted {
            Ok((stream, place)) => {
                let shared = options.share.as_ref().map(|share| share.place(connections.len()));
                if let Some(None) = shared {
                    tracing::debug!("no place for a connection; refused");
                    continue;
                }
                let front = Arc::clone(&front);
                let (options, closed) = (options.clone(), closed.clone());
                let handshakes = Arc::clone(&handshakes);
                connections.spawn(async move {
                    match &options.tls {
                        None => serve_connection(stream, front, Scheme::Http, &options, closed).await,
                        Some(tls) => serve_tls(stream, tls, &handshakes, front, &options, closed).await,
                    }
                    drop((place, shared));
                });
            }
            Err(error) if is_the_peers(&error) => {
                tracing::debug!(%error, "a connection broke before it was accepted")
            }
            Err(error) => {
                // Out of descriptors or memory: the next try would fail as fast.
                if complained.is_none_or(|at| at.elapsed() > COMPLAINTS) {
                    complained = Some(Instant::now());
                    tracing::warn!(%error, "cannot accept connections; they wait");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
    drop(listener);
    closing.send_replace(true);
    let all = async {
        while let Some(ended) = connections.join_next().await {
            report(ended);
        }
    };
    if tokio::time::timeout(options.grace, all).await.is_err() {
        tracing::warn!(connections = connections.len(), "requests still in work after the grace period; cut");
        connections.shutdown().await;
    }
}

/// How often it is logged that connections cannot be accepted.
const COMPLAINTS: Duration = Duration::from_secs(60);

async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> io::Result<(TcpStream, tokio::sync::OwnedSemaphorePermit)> {
    let place = Arc::clone(places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "the peer is gone already");
    }
    Ok((stream, place))
}

/// Whether accepting failed for one connection only.
fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionReset | Interrupted)
}

fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended
        && error.is_panic()
    {
        tracing::error!(%error, "a connection's task panicked");
    }
}

/// Shakes hands and serves the connection.
async fn serve_tls(
    mut stream: TcpStream,
    tls: &Tls,
    handshakes: &Semaphore,
    front: Arc<Front>,
    options: &ServeOptions,
    mut closing: watch::Receiver<bool>,
) {
    let handshake = async {
        let _permit = handshakes.acquire().await.map_err(io::Error::other)?;
        let mut first = [0];
        match stream.peek(&mut first).await? {
            0 => Ok(None),
            _ if first == [HANDSHAKE_RECORD] => tls.acceptor().accept(stream).await.map(Some),
            _ => refuse_plain(&mut stream).await.map(|()| None),
        }
    };
    let shaken = tokio::select! {
        shaken = tokio::time::timeout(options.handshake_timeout, handshake) => shaken,
        () = closed(&mut closing) => return,
    };
    match shaken {
        Ok(Ok(Some(stream))) => serve_connection(stream, front, Scheme::Https, options, closing).await,
        Ok(Ok(None)) => {}
        Ok(Err(error)) => tracing::debug!(%error, "TLS handshake failed"),
        Err(_) => tracing::debug!("TLS handshake took too long"),
    }
}

/// Type of the record that begins a TLS handshake; no HTTP request begins with it.
const HANDSHAKE_RECORD: u8 = 0x16;
const PLAIN_REFUSAL: &str = "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
Connection: close\r\n\r\nthis port speaks TLS; use https\n";
/// How much of a request in the clear is read, and thrown away, so that its sender sees the answer instead
/// of a reset connection.
const PLAIN_DRAIN: u64 = 256 << 10;

/// Answers a client that does not speak TLS.
async fn refuse_plain(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN_REFUSAL.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(PLAIN_DRAIN), &mut tokio::io::sink()).await?;
    Ok(())
}

/// Serves one connection (HTTP/1.1, or HTTP/2 with prior knowledge) to its end. `scheme` is how the client
/// reached it; `closing` turning true asks it to finish what is in work and close.
pub async fn serve_connection<I>(
    io: I,
    front: Arc<Front>,
    scheme: Scheme,
    options: &ServeOptions,
    mut closing: watch::Receiver<bool>,
) where
    I: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let service = {
        let activity = Arc::clone(&activity);
        let share = options.share.clone();
        service_fn(move |request: Request<Incoming>| {
            let (front, share) = (Arc::clone(&front), share.clone());
            let running = activity.begin();
            let reader = Reader::new(Arc::clone(&activity.readers));
            async move {
                let room = match share {
                    Some(share) => share.room(&request).await,
                    None => None,
                };
                let response = front.handle(request, scheme).await;
                let response = match room {
                    Some(room) => share::keep(response, room),
                    None => response,
                };
                // Events are work until the last is sent.
                Ok::<_, Infallible>(response.map(|body| body.hold_if_events(running, reader)))
            }
        })
    };
    let mut builder = Builder::new(TokioExecutor::new());
    if !options.http2 {
        builder = builder.http1_only();
    }
    // hyper's own header timeout also ends idle connections and costs a timer per request; `watch_idle` does
    // both, and covers the first bytes, too.
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(None)
        .max_buf_size(options.max_head.max(8192));
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(options.max_streams)
        .max_header_list_size(u32::try_from(options.max_head).unwrap_or(u32::MAX))
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(4 << 20);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(io), service));
    let mut idle = pin!(watch_idle(&activity, options));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = closed(&mut closing) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
        () = &mut idle => {
            connection.as_mut().graceful_shutdown();
            // A peer that does not take its answer either is cut.
            match tokio::time::timeout(options.header_timeout, connection).await {
                Ok(ended) => ended,
                Err(_) => return,
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error, "connection ended");
    }
}

async fn closed(closing: &mut watch::Receiver<bool>) {
    if closing.wait_for(|closing| *closing).await.is_err() {
        // Nobody can ask any more.
        std::future::pending::<()>().await;
    }
}

/// Counts the requests of a connection.
#[derive(Debug, Default)]
struct Activity {
    running: AtomicUsize,
    begun: AtomicUsize,
    /// Of events.
    readers: Arc<Readers>,
}

struct Running(Arc<Activity>);

impl Activity {
    fn begin(self: &Arc<Self>) -> Running {
        self.running.fetch_add(1, Ordering::Relaxed);
        self.begun.fetch_add(1, Ordering::Relaxed);
        Running(Arc::clone(self))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Completes when the connection has had nothing in work for a whole period, or only events that the client has
/// not taken.
async fn watch_idle(activity: &Activity, options: &ServeOptions) {
    tokio::time::sleep(options.header_timeout).await;
    let mut seen = (0, 0);
    loop {
        let (full, pieces) = activity.readers.look();
        let now = (activity.begun.load(Ordering::Relaxed), pieces);
        if now == seen && activity.running.load(Ordering::Relaxed) <= full {
            return;
        }
        seen = now;
        tokio::time::sleep(options.idle_timeout).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_that_does_not_take_its_events_is_idle() {
        let options = ServeOptions {
            header_timeout: Duration::from_millis(1),
            idle_timeout: Duration::from_millis(5),
            ..ServeOptions::default()
        };
        let activity = Arc::new(Activity::default());
        let idle = |patience| {
            let (activity, options) = (Arc::clone(&activity), options.clone());
            async move { tokio::time::timeout(patience, watch_idle(&activity, &options)).await.is_ok() }
        };
        let running = activity.begin();
        let mut reader = Reader::new(Arc::clone(&activity.readers));
        assert!(!idle(Duration::from_millis(50)).await, "the function works");
        reader.gets();
        assert!(idle(Duration::from_secs(10)).await, "its answer is not taken");
        let other = activity.begin();
        assert!(!idle(Duration::from_millis(50)).await, "another request is in work");
        drop(other);
        reader.asks();
        assert!(!idle(Duration::from_millis(50)).await, "it has been taken");
        reader.gets();
        drop((running, reader));
        assert!(idle(Duration::from_secs(10)).await);
        assert_eq!(activity.readers.look(), (0, 2));
    }
}
