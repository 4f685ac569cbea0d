//! The spawner's book of links: which sandbox has which.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use super::spec::{Ipv4Net, NetworkConfig, Uplink};
use super::{Names, elements, gateway, host, routes};
use crate::error::SandboxError;

/// How long a link may outlive its sandbox before it is deleted. Somebody then holds its namespace, such as a
/// server that is slow to close a socket in it.
const LINK_PATIENCE: Duration = Duration::from_secs(3);

/// Most sandboxes with a link at once.
const MOST: u64 = u16::MAX as u64;

/// The link of one sandbox, to be made by its init.
#[derive(Debug, Clone)]
pub(crate) struct Attachment {
    slot: u16,
    /// Name of the host's end.
    pub(super) link: String,
    /// Address of the sandbox.
    pub(super) address: Ipv4Addr,
    /// Address of its router.
    pub(super) gateway: Ipv4Addr,
    pub(super) mtu: u32,
    pub(super) table: String,
    pub(super) uplink: Uplink,
    /// When the sandbox ended.
    ended: Option<Instant>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Uplinks {
    names: Names,
    pool: Ipv4Net,
    lists: usize,
    mtu: u32,
    namespace: File,
    /// Numbers that may be given out, the longest unused one first.
    free: VecDeque<u16>,
}

impl Uplinks {
    /// Sets up all that links need on the host.
    pub(crate) fn set_up(
        instance: &str,
        config: &NetworkConfig,
        namespace: File,
    ) -> Result<(Uplinks, String), String> {
        host::set_up(instance, config, namespace)
    }

    pub(super) fn new(names: Names, pool: Ipv4Net, lists: usize, mtu: u32, namespace: File) -> Uplinks {
        // The first address is the router's.
        let last = (pool.size() - 1).min(MOST) as u16;
        Uplinks { names, pool, lists, mtu, namespace, free: (1..=last).collect() }
    }

    /// The namespace of the host's ends.
    pub(crate) fn namespace(&self) -> &File {
        &self.namespace
    }

    /// A link for a new sandbox.
    pub(crate) fn assign(&mut self, uplink: Uplink) -> Result<Attachment, SandboxError> {
        if let Uplink::List(number) = uplink
            && number >= self.lists
        {
            return Err(SandboxError::Spec(format!("there is no list {number} of destinations")));
        }
        let slot = self.free.pop_front().ok_or(SandboxError::NoFreeAddress(self.pool.size()))?;
        Ok(Attachment {
            slot,
            link: self.names.link(slot),
            address: Ipv4Addr::from_bits(self.pool.first().to_bits() + u32::from(slot)),
            gateway: gateway(self.pool),
            mtu: self.mtu,
            table: self.names.table.clone(),
            uplink,
            ended: None,
        })
    }

    /// Gives the address and number of a link back that is gone, or was never made.
    pub(crate) fn give_back(&mut self, attachment: &Attachment) {
        self.free.push_back(attachment.slot);
    }
}

impl Attachment {
    /// Puts the sandbox to come under its policy: its packets will be known by interface and address.
    pub(crate) fn admit(&self) -> io::Result<()> {
        elements::admit_sandbox(&self.table, self.uplink, &self.link, self.address)
    }

    /// The nf_tables table that it is under.
    pub(crate) fn table(&self) -> &str {
        &self.table
    }

    /// The sandbox has ended: its interface and address mean nothing any more. Some 50 us.
    pub(crate) fn expel(&mut self) {
        self.ended = Some(Instant::now());
        // It fails only if the table is gone, and with it every set.
        let _ = elements::expel_sandbox(&self.table, self.uplink, &self.link, self.address);
    }

    /// Whether the link is gone. One that has outlived its sandbox for long is deleted.
    pub(crate) fn gone(&self) -> bool {
        let Ok(socket) = routes::open() else { return false };
        if !routes::link_exists(&socket, &self.link) {
            return true;
        }
        let overdue = self.ended.is_some_and(|ended| ended.elapsed() > LINK_PATIENCE);
        overdue
            && socket.index_of(&self.link).and_then(|index| routes::delete_link(&socket, index)).is_ok()
            && !routes::link_exists(&socket, &self.link)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_go_around_before_they_are_used_again() {
        let pool: Ipv4Net = "100.127.0.0/30".parse().unwrap();
        let namespace = File::open("/proc/self/ns/net").unwrap();
        let mut uplinks = Uplinks::new(Names::new("x"), pool, 1, 1500, namespace);
        let mut assign = || uplinks.assign(Uplink::Internet);
        let all: Vec<_> = (0..3).map(|_| assign().unwrap()).collect();
        assert_eq!(all[0].address, Ipv4Addr::new(100, 127, 0, 1));
        assert_eq!((all[2].address, all[2].gateway), (pool.last(), pool.first()));
        assert!(matches!(assign(), Err(SandboxError::NoFreeAddress(4))));
        uplinks.give_back(&all[2]);
        uplinks.give_back(&all[0]);
        assert_eq!(uplinks.assign(Uplink::List(0)).unwrap().address, all[2].address);
        assert!(matches!(uplinks.assign(Uplink::List(1)), Err(SandboxError::Spec(_))));
    }
}
