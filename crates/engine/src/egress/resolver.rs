//! The resolver that a sandbox finds on its loopback: passes queries on to the host's resolvers.
//!
//! Of a function with a list it knows the listed names only, and opens the network for the addresses it
//! gives out. So what the function connects to is what was asked for, however often a name moves.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use lambkin_sandbox::{Admission, is_public};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::dns::{self, Question};
use super::policy::AllowList;
use super::upstream::{Transport, Upstream, read_framed, write_framed};

/// Most queries under way; further ones wait in the socket's buffer, which is bounded too.
const MAX_QUERIES: usize = 64;
/// Most TCP connections.
const MAX_CONNECTIONS: usize = 16;
/// How long a TCP connection may be silent.
const SILENCE: Duration = Duration::from_secs(10);
/// Longest query by UDP.
const MAX_QUERY: usize = 4_096;
/// Least time an address stays open after its name was asked for, and most.
const LEAST_OPEN: Duration = Duration::from_secs(60);
const MOST_OPEN: Duration = Duration::from_secs(7 * 24 * 3600);
/// What is added for the time between our answer and the function's connecting.
const MARGIN: Duration = Duration::from_secs(10);

/// What the resolver of one sandbox works with.
#[derive(Debug)]
pub(crate) struct Resolver {
    upstream: Arc<Upstream>,
    /// The names it knows, and how to open the network; without, it knows all.
    list: Option<(Arc<AllowList>, Option<Admission>)>,
    queries: Arc<Semaphore>,
    connections: Arc<Semaphore>,
}

impl Resolver {
    pub(crate) fn new(
        upstream: Arc<Upstream>,
        list: Option<(Arc<AllowList>, Option<Admission>)>,
    ) -> Arc<Self> {
        Arc::new(Self {
            upstream,
            list,
            queries: Arc::new(Semaphore::new(MAX_QUERIES)),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        })
    }

    /// Answers queries by UDP, until it is dropped or the socket fails.
    pub(crate) async fn serve_udp(self: Arc<Self>, socket: UdpSocket) -> io::Result<()> {
        let socket = Arc::new(socket);
        let mut under_way = JoinSet::new();
        loop {
            let permit = permit(&self.queries).await?;
            // No buffer while there is nothing to read: most sandboxes are silent most of the time.
            socket.readable().await?;
            let mut query = vec![0; MAX_QUERY];
            let (length, peer) = match socket.try_recv_from(&mut query) {
                Ok(received) => received,
                // Also the answer to an earlier message that nobody waited for any more.
                Err(error)
                    if matches!(
                        error.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::ConnectionRefused
                    ) =>
                {
                    continue;
                }
                Err(error) => return Err(error),
            };
            query.truncate(length);
            while under_way.try_join_next().is_some() {}
            let (resolver, socket) = (Arc::clone(&self), Arc::clone(&socket));
            under_way.spawn(async move {
                if let Some(answer) = resolver.answer(&query, Transport::Udp).await {
                    // The asker may be gone.
                    let _ = socket.send_to(&answer, peer).await;
                }
                drop(permit);
            });
        }
    }

    /// Answers queries by TCP, until it is dropped or the listener fails.
    pub(crate) async fn serve_tcp(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        let mut connections = JoinSet::new();
        loop {
            let permit = permit(&self.connections).await?;
            let (stream, _) = listener.accept().await?;
            while connections.try_join_next().is_some() {}
            let resolver = Arc::clone(&self);
            connections.spawn(async move {
                // It ends by silence or the other side's closing, which are as good as any end.
                let _ = resolver.converse(stream).await;
                drop(permit);
            });
        }
    }

    async fn converse(&self, mut stream: TcpStream) -> io::Result<()> {
        loop {
            let query = timeout(SILENCE, read_framed(&mut stream)).await??;
            let permit = permit(&self.queries).await?;
            let Some(answer) = self.answer(&query, Transport::Tcp).await else { return Ok(()) };
            drop(permit);
            timeout(SILENCE, write_framed(&mut stream, &answer)).await??;
        }
    }

    /// The answer to a query; none to what is no query.
    async fn answer(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let question = dns::question(query)?;
        let ports = match &self.list {
            None => None,
            Some((list, _)) => match list.names.get(&question.name) {
                None => return Some(dns::empty_response(query, &question, dns::NO_SUCH_NAME)),
                // There is no way to what other records could name.
                Some(_) if question.kind != dns::TYPE_A => {
                    return Some(dns::empty_response(query, &question, dns::NO_ERROR));
                }
                Some(ports) => Some(ports),
            },
        };
        let failure = || dns::empty_response(query, &question, dns::SERVER_FAILURE);
        let Some(answer) = self.upstream.ask(query, transport).await else { return Some(failure()) };
        if let Some(ports) = ports
            && let Err(error) = self.open(&question, &answer, ports)
        {
            tracing::debug!(%error, name = question.name, "cannot open the network for a name's addresses");
            return Some(failure());
        }
        Some(answer)
    }

    /// Opens the network for the addresses of a listed name. Private ones are not opened: who owns a name on
    /// the internet could then point it at the operator's own network. Takes some 50 us for each.
    fn open(&self, question: &Question, answer: &[u8], ports: &[u16]) -> io::Result<()> {
        let Some((_, Some(admission))) = &self.list else { return Ok(()) };
        let (addresses, seconds) = dns::addresses(answer);
        let (public, private): (Vec<Ipv4Addr>, Vec<Ipv4Addr>) =
            addresses.into_iter().partition(|address| is_public(*address));
        if !private.is_empty() {
            tracing::debug!(
                name = question.name,
                ?private,
                "a listed name has private addresses, which must be listed themselves"
            );
        }
        let destinations: Vec<_> =
            public.iter().flat_map(|address| ports.iter().map(|port| (*address, *port))).collect();
        let time = Duration::from_secs(seconds.into()).clamp(LEAST_OPEN, MOST_OPEN) + MARGIN;
        admission.open(&destinations, time)
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> io::Result<OwnedSemaphorePermit> {
    Arc::clone(semaphore).acquire_owned().await.map_err(io::Error::other)
}
