//! The network of functions: who may reach what ([`policy`]), and what the server does for it in each
//! sandbox: a resolver ([`resolver`]) and pipes to services on the host's loopback ([`pipe`]). Packets are
//! the business of crate `sandbox`.

mod dns;
mod pipe;
pub(crate) mod policy;
mod resolver;
mod upstream;

use std::io;
use std::path::Path;
use std::sync::Arc;

use lambkin_sandbox::{Isolation, LoopbackSocket, NetworkSpec, Sandbox, SandboxSpec, Spawner, Uplink};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinSet;

use policy::{AllowList, Policy, RESOLVER};
use resolver::Resolver;
pub(crate) use upstream::Upstream;

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Where the host's resolvers are named.
pub(crate) fn host_resolvers() -> &'static Path {
    Path::new(RESOLV_CONF)
}

/// The network of one sandbox to be made.
#[derive(Debug, Default)]
pub(crate) struct Network {
    uplink: Option<Uplink>,
    list: Option<Arc<AllowList>>,
}

impl Network {
    /// What a policy comes to on this host.
    pub(crate) async fn new(policy: &Policy, spawner: &Spawner) -> Self {
        if spawner.isolation() == Isolation::Process {
            // The host's; there is nothing to put a socket or a link into.
            return Self::default();
        }
        let uplink = match policy {
            Policy::Internet => Some(Uplink::Internet),
            Policy::Auto => spawner.network().await.ok().map(|_| Uplink::Internet),
            Policy::None => None,
            Policy::List(list) => list.number.map(Uplink::List),
        };
        let list = match policy {
            Policy::List(list) => Some(Arc::clone(list)),
            _ => None,
        };
        Self { uplink, list }
    }

    fn resolves(&self) -> bool {
        self.uplink.is_some() && self.list.as_ref().is_none_or(|list| !list.names.is_empty())
    }

    /// Puts it into a sandbox's spec.
    pub(crate) fn apply(&self, spec: &mut SandboxSpec) {
        let mut sockets = Vec::new();
        if self.resolves() {
            sockets.extend([LoopbackSocket::Udp(RESOLVER), LoopbackSocket::Tcp(RESOLVER)]);
            for (path, content) in &mut spec.files {
                if path == RESOLV_CONF {
                    *content = format!("nameserver {}\n", RESOLVER.ip());
                }
            }
        }
        let taken = |port: u16| spec.listen_ports.contains(&port);
        let loopback = self.list.iter().flat_map(|list| &list.loopback);
        let free =
            loopback.filter(|address| address.ip().octets() != [127, 0, 0, 1] || !taken(address.port()));
        sockets.extend(free.copied().map(LoopbackSocket::Tcp));
        spec.network = NetworkSpec { uplink: self.uplink, sockets };
    }

    /// Starts the resolver and the pipes of a sandbox made with it.
    pub(crate) fn serve(self, sandbox: &mut Sandbox, upstream: &Arc<Upstream>) -> io::Result<Services> {
        let mut services = JoinSet::new();
        let sockets = sandbox.take_sockets();
        if sockets.is_empty() {
            return Ok(Services(services));
        }
        let list = self.list.map(|list| (list, sandbox.take_admission()));
        let resolver = Resolver::new(Arc::clone(upstream), list);
        for (socket, fd) in sockets {
            match socket {
                LoopbackSocket::Udp(_) => {
                    services.spawn(Arc::clone(&resolver).serve_udp(UdpSocket::from_std(fd.into())?));
                }
                LoopbackSocket::Tcp(address) => {
                    let listener = TcpListener::from_std(fd.into())?;
                    if address == RESOLVER {
                        services.spawn(Arc::clone(&resolver).serve_tcp(listener));
                    } else {
                        services.spawn(pipe::serve(listener, address));
                    }
                }
            }
        }
        Ok(Services(services))
    }
}

/// The running resolver and pipes of a sandbox. They end when it is dropped, and with them all connections.
#[derive(Debug)]
pub(crate) struct Services(#[expect(dead_code, reason = "held for its end")] JoinSet<io::Result<()>>);
