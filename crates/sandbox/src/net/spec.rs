//! What a sandbox's network is to be.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How the sandboxes of a spawner reach the outside.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NetworkConfig {
    /// Addresses for sandboxes, one each; `None` takes 4,096 that no route of the host leads to.
    pub pool: Option<Ipv4Net>,
    /// What [`Uplink::List`] may name.
    pub lists: Vec<Vec<Destination>>,
}

/// An address or block of addresses and a port, for TCP and UDP.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Destination {
    /// Where to.
    pub net: Ipv4Net,
    /// Which port.
    pub port: u16,
}

/// The network of one sandbox. By default it has its own loopback interface and nothing else.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct NetworkSpec {
    /// A way to the outside.
    pub uplink: Option<Uplink>,
    /// Sockets to be made on addresses of loopback, which the caller gets
    /// ([`crate::Sandbox::take_sockets`]).
    pub sockets: Vec<LoopbackSocket>,
}

/// Where packets of a sandbox may go. Needs [`crate::SpawnerConfig::network`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Uplink {
    /// All public addresses but those of the host, by TCP and UDP.
    Internet,
    /// The destinations of one of [`NetworkConfig::lists`], by its place in it, and what
    /// [`crate::Admission`] adds.
    List(usize),
}

/// A socket on an address of the sandbox's loopback interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum LoopbackSocket {
    /// A listener for TCP.
    Tcp(SocketAddrV4),
    /// A socket for UDP.
    Udp(SocketAddrV4),
}

/// A block of IPv4 addresses, e.g. `10.0.0.0/8`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv4Net {
    base: u32,
    length: u8,
}

/// Why a text is no block of addresses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a block of IPv4 addresses such as 10.0.0.0/8")]
pub struct NetError(String);

impl Ipv4Net {
    /// A block from an address in it and the length of its prefix in bits (at most 32).
    #[must_use]
    pub const fn new(address: Ipv4Addr, length: u8) -> Ipv4Net {
        let length = if length > 32 { 32 } else { length };
        let mask = if length == 0 { 0 } else { u32::MAX << (32 - length) };
        Ipv4Net { base: address.to_bits() & mask, length }
    }

    /// Its first address.
    #[must_use]
    pub const fn first(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base)
    }

    /// Its last address.
    #[must_use]
    pub const fn last(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.base | (self.size() - 1) as u32)
    }

    /// Length of its prefix in bits.
    #[must_use]
    pub const fn length(self) -> u8 {
        self.length
    }

    /// How many addresses it has.
    #[must_use]
    pub const fn size(self) -> u64 {
        1 << (32 - self.length)
    }

    /// Whether an address lies in it.
    #[must_use]
    pub fn contains(self, address: Ipv4Addr) -> bool {
        (self.first()..=self.last()).contains(&address)
    }

    /// Whether all of another block lies in it.
    #[must_use]
    pub fn covers(self, other: Ipv4Net) -> bool {
        self.length <= other.length && self.contains(other.first())
    }

    /// Whether they have addresses in common.
    #[must_use]
    pub fn overlaps(self, other: Ipv4Net) -> bool {
        self.covers(other) || other.covers(self)
    }
}

impl From<Ipv4Addr> for Ipv4Net {
    fn from(address: Ipv4Addr) -> Ipv4Net {
        Ipv4Net::new(address, 32)
    }
}

impl fmt::Display for Ipv4Net {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.length {
            32 => write!(formatter, "{}", self.first()),
            length => write!(formatter, "{}/{length}", self.first()),
        }
    }
}

impl FromStr for Ipv4Net {
    type Err = NetError;

    fn from_str(text: &str) -> Result<Ipv4Net, NetError> {
        let fail = || NetError(text.to_owned());
        let (address, length) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(|_| fail())?;
        let digits = !length.is_empty() && length.bytes().all(|byte| byte.is_ascii_digit());
        let length: u8 = length.parse().map_err(|_| fail())?;
        let net = Ipv4Net::new(address, length);
        // Bits behind the prefix are a slip of the pen.
        if digits && length <= 32 && net.first() == address { Ok(net) } else { Err(fail()) }
    }
}

/// Blocks that are not the public internet: this network, private ones, those of providers, loopback, link-local (and with it
/// the metadata of clouds), protocol assignments, benchmarks, multicast, reserved.
pub const NONPUBLIC: [Ipv4Net; 10] = [
    Ipv4Net::new(Ipv4Addr::new(0, 0, 0, 0), 8),
    Ipv4Net::new(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new(Ipv4Addr::new(100, 64, 0, 0), 10),
    Ipv4Net::new(Ipv4Addr::new(127, 0, 0, 0), 8),
    Ipv4Net::new(Ipv4Addr::new(169, 254, 0, 0), 16),
    Ipv4Net::new(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new(Ipv4Addr::new(192, 0, 0, 0), 24),
    Ipv4Net::new(Ipv4Addr::new(192, 168, 0, 0), 16),
    Ipv4Net::new(Ipv4Addr::new(198, 18, 0, 0), 15),
    Ipv4Net::new(Ipv4Addr::new(224, 0, 0, 0), 3),
];

/// Whether an address belongs to the public internet.
#[must_use]
pub fn is_public(address: Ipv4Addr) -> bool {
    !NONPUBLIC.iter().any(|block| block.contains(address))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn net(text: &str) -> Ipv4Net {
        text.parse().unwrap()
    }

    #[test]
    fn blocks_are_read_and_written() {
        for text in ["10.0.0.0/8", "0.0.0.0/0", "203.0.113.7"] {
            assert_eq!(net(text).to_string(), text);
        }
        assert_eq!(net("203.0.113.7/32").to_string(), "203.0.113.7");
        for text in ["", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/+8", "10.0.0.0/", "10/8", "::/0", "x"] {
            assert!(text.parse::<Ipv4Net>().is_err(), "{text}");
        }
    }

    #[test]
    fn blocks_know_their_bounds() {
        let block = net("100.127.16.0/20");
        assert_eq!((block.size(), block.last()), (4096, Ipv4Addr::new(100, 127, 31, 255)));
        assert_eq!((net("0.0.0.0/0").size(), net("0.0.0.0/0").last()), (1 << 32, Ipv4Addr::BROADCAST));
        assert!(block.overlaps(net("100.64.0.0/10")) && net("100.64.0.0/10").covers(block));
        assert!(!block.covers(net("100.64.0.0/10")) && !block.overlaps(net("100.127.32.0/20")));
    }

    #[test]
    fn public_addresses() {
        for text in ["8.8.8.8", "172.32.0.1", "100.128.0.1", "198.20.0.1", "223.255.255.255"] {
            assert!(is_public(text.parse().unwrap()), "{text}");
        }
        for text in [
            "0.0.0.0",
            "10.1.2.3",
            "100.100.100.100",
            "127.0.0.1",
            "169.254.169.254",
            "172.31.0.1",
            "192.168.1.1",
            "224.0.0.1",
            "255.255.255.255",
        ] {
            assert!(!is_public(text.parse().unwrap()), "{text}");
        }
    }
}
