//! The host's resolvers, and asking them.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

use super::dns;

/// How long the list of resolvers is used before it is read again.
const FRESH: Duration = Duration::from_secs(5);
/// Most resolvers, as in the C library.
const MOST: usize = 3;
/// How often each is asked by UDP, and how long an answer is waited for.
const ROUNDS: usize = 2;
const UDP_PATIENCE: Duration = Duration::from_millis(1_500);
const TCP_PATIENCE: Duration = Duration::from_secs(5);
/// Longest message by UDP.
const MAX_UDP: usize = 65_535;

/// The resolvers named in the host's `resolv.conf`, which may change.
#[derive(Debug)]
pub(crate) struct Upstream {
    path: PathBuf,
    known: Mutex<Option<(Instant, Arc<[SocketAddr]>)>>,
}

/// How a query came, and is to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Transport {
    Udp,
    Tcp,
}

impl Upstream {
    pub(crate) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), known: Mutex::default() }
    }

    fn resolvers(&self) -> Arc<[SocketAddr]> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, resolvers)) = &*known
            && at.elapsed() < FRESH
        {
            return Arc::clone(resolvers);
        }
        let text = std::fs::read_to_string(&self.path).unwrap_or_else(|error| {
            tracing::debug!(%error, path = %self.path.display(), "cannot read the host's resolvers");
            String::new()
        });
        let resolvers: Arc<[SocketAddr]> = parse(&text).into();
        *known = Some((Instant::now(), Arc::clone(&resolvers)));
        resolvers
    }

    /// Asks until one answers. A server's failure counts only if no other does better.
    pub(crate) async fn ask(&self, query: &[u8], transport: Transport) -> Option<Vec<u8>> {
        let resolvers = self.resolvers();
        let rounds = if transport == Transport::Udp { ROUNDS } else { 1 };
        let mut poor = None;
        for _ in 0..rounds {
            for resolver in resolvers.iter() {
                let answer = match transport {
                    Transport::Udp => timeout(UDP_PATIENCE, ask_udp(*resolver, query)).await,
                    Transport::Tcp => timeout(TCP_PATIENCE, ask_tcp(*resolver, query)).await,
                };
                let Ok(Ok(answer)) = answer else { continue };
                match dns::response_code(&answer) {
                    Some(dns::SERVER_FAILURE | dns::NOT_IMPLEMENTED | dns::REFUSED) => poor = Some(answer),
                    _ => return Some(answer),
                }
            }
            if poor.is_some() {
                break;
            }
        }
        poor
    }
}

/// From a socket of its own, hence an unforeseeable port, with an unforeseeable identifier.
async fn ask_udp(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let any: IpAddr =
        if resolver.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    let socket = UdpSocket::bind((any, 0)).await?;
    socket.connect(resolver).await?;
    let mut own = query.to_vec();
    dns::set_id(&mut own, uuid::Uuid::new_v4().as_u128() as u16);
    socket.send(&own).await?;
    let mut answer = vec![0; MAX_UDP];
    loop {
        let length = socket.recv(&mut answer).await?;
        let Some(received) = answer.get(..length) else { continue };
        if dns::answers(received, &own) {
            return Ok(with_id_of(received.to_vec(), query));
        }
    }
}

async fn ask_tcp(resolver: SocketAddr, query: &[u8]) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect(resolver).await?;
    write_framed(&mut stream, query).await?;
    let answer = read_framed(&mut stream).await?;
    if dns::answers(&answer, query) { Ok(answer) } else { Err(io::ErrorKind::InvalidData.into()) }
}

fn with_id_of(mut answer: Vec<u8>, query: &[u8]) -> Vec<u8> {
    dns::set_id(&mut answer, dns::id(query).unwrap_or(0));
    answer
}

/// Reads a message as it goes by TCP: after its length.
pub(crate) async fn read_framed(stream: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; usize::from(stream.read_u16().await?)];
    stream.read_exact(&mut message).await?;
    Ok(message)
}

/// Writes a message as it goes by TCP, in one piece.
pub(crate) async fn write_framed(stream: &mut TcpStream, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
    let mut framed = length.to_be_bytes().to_vec();
    framed.extend_from_slice(message);
    stream.write_all(&framed).await
}

/// The name servers of a `resolv.conf`; without any, the host itself, as in the C library.
fn parse(text: &str) -> Vec<SocketAddr> {
    let servers = text.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        (words.next() == Some("nameserver")).then(|| words.next()?.parse::<IpAddr>().ok()).flatten()
    });
    let mut servers: Vec<SocketAddr> = servers.take(MOST).map(|address| (address, 53).into()).collect();
    if servers.is_empty() {
        servers.push((Ipv4Addr::LOCALHOST, 53).into());
    }
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resolvers_of_a_host() {
        let text = "# x\nsearch example.com\nnameserver 127.0.0.53 # stub\n nameserver\tfd00::1\nnameserver x\nnameserver 10.0.0.2\nnameserver 10.0.0.3\n";
        let expected = ["127.0.0.53:53", "[fd00::1]:53", "10.0.0.2:53"].map(|text| text.parse().unwrap());
        assert_eq!(parse(text), expected);
        assert_eq!(parse("options edns0\n"), ["127.0.0.1:53".parse().unwrap()]);
    }
}
