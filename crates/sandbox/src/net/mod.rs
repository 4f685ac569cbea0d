//! The network of sandboxes.
//!
//! A sandbox has its own network namespace with a loopback interface. With an [`Uplink`] it also has
//! `eth0`, one end of a pair of virtual links whose other end is in the server's namespace; the host routes
//! (and translates addresses) between that and its own links. There is no bridge: sandboxes do not see each
//! other. IPv4 only.
//!
//! What a sandbox may reach is decided by one nf_tables table per spawner ([`ruleset`]), loaded once. A
//! sandbox is one element of one of its sets, which ties its interface to its address.
//!
//! # Costs
//! Loading the table takes 25-40 ms, at the start of the spawner and beside it. A sandbox's set element takes
//! the spawner some 50 us, and 20 us to remove ([`elements`]); its link, address and routes ([`attach`]) take
//! 1.2 ms in the sandbox's init, so that many are made side by side. A link is never deleted (that would block for
//! 17 ms) but dies with the namespace of its other end, a little after the sandbox. Its address is given out
//! again after that.
//!
//! # What the host keeps while a spawner runs
//! Table `lambkin_INSTANCE`, links `lbkHHHHHHHHNNNN` (hash of the instance, number), a route to each
//! sandbox, and one "unreachable" route for the whole pool, which reserves it among the servers of a host and
//! carries the hash as its metric. All of it goes with the spawner; a new one clears what a killed
//! predecessor left. `net.ipv4.ip_forward` is switched on where it is off, and stays on.

mod admission;
mod attach;
mod elements;
mod host;
pub(crate) mod probe;
mod routes;
mod ruleset;
mod spec;
mod uplinks;

use std::net::Ipv4Addr;

pub use admission::Admission;
pub(crate) use attach::attach;
pub(crate) use host::{prepare, take_down};
pub use spec::{
    Destination, Ipv4Net, LoopbackSocket, NONPUBLIC, NetError, NetworkConfig, NetworkSpec, Uplink, is_public,
};
pub(crate) use uplinks::{Attachment, Uplinks};

/// What all links of all spawners on a host start with.
const LINK_PREFIX: &str = "lbk";

/// Marks our routes on the host among those of others (`proto` of `ip route`).
const ROUTE_PROTOCOL: u8 = 108;

/// The names under which a spawner is known on its host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Names {
    /// Of the nf_tables table.
    pub(crate) table: String,
    /// Of the instance, short: tells its links and its reserving route from others'.
    hash: u32,
}

impl Names {
    pub(crate) fn new(instance: &str) -> Names {
        // FNV-1a.
        let hash = instance
            .bytes()
            .fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
        // A name in nf_tables has no hyphen.
        Names { table: format!("lambkin_{}", instance.replace('-', "_")), hash }
    }

    /// What the names of its links start with.
    fn link_prefix(&self) -> String {
        format!("{LINK_PREFIX}{:08x}", self.hash)
    }

    /// The host's end of the link of a sandbox (at most 15 bytes, the kernel's limit).
    fn link(&self, slot: u16) -> String {
        format!("{LINK_PREFIX}{:08x}{slot:04x}", self.hash)
    }
}

/// The address that sandboxes have as their router's: the first of the pool. No interface has it.
fn gateway(pool: Ipv4Net) -> Ipv4Addr {
    pool.first()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_fit() {
        let names = Names::new("test-12-3");
        assert_eq!(names.table, "lambkin_test_12_3");
        assert!(names.link(u16::MAX).len() <= 15 && names.link(7).starts_with(&names.link_prefix()));
        assert_ne!(names.hash, Names::new("test-12-4").hash);
    }
}
