//! The host's routes and links: finding addresses that nobody uses, reserving them, clearing leftovers.

use std::io;
use std::net::Ipv4Addr;

use super::spec::Ipv4Net;
use super::{Names, ROUTE_PROTOCOL};
use crate::sys::netlink::{Batch, Family, Netlink, attributes, int};

const AF_INET: u8 = libc::AF_INET as u8;

/// Header of link messages, for the interface with a number (0: to be named by an attribute).
pub(super) fn link_header(index: u32, flags: i32) -> [u8; 16] {
    let mut header = [0; 16];
    let (_, rest) = header.split_at_mut(4);
    for (place, value) in rest.chunks_exact_mut(4).zip([index, flags as u32, flags as u32]) {
        place.copy_from_slice(&value.to_ne_bytes());
    }
    header
}

/// Header of route messages.
pub(super) fn route_header(length: u8, scope: u8, kind: u8, flags: u32) -> [u8; 12] {
    let [a, b, c, d] = flags.to_ne_bytes();
    [AF_INET, length, 0, 0, libc::RT_TABLE_MAIN, ROUTE_PROTOCOL, scope, kind, a, b, c, d]
}

/// A route of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Route {
    net: Ipv4Net,
    /// Metric, if it reserves the pool of a spawner.
    reserves: Option<u32>,
    /// Number of the interface, 0 if none.
    link: u32,
    main: bool,
}

fn parse_route(entry: &[u8]) -> Option<Route> {
    let header: [u8; 12] = *entry.first_chunk()?;
    let [family, length, _, _, table, protocol, _, kind, ..] = header;
    if family != AF_INET {
        return None;
    }
    let mut route = Route {
        net: Ipv4Net::new(Ipv4Addr::UNSPECIFIED, length),
        reserves: None,
        link: 0,
        main: table == libc::RT_TABLE_MAIN,
    };
    let mut metric = 0;
    for (attribute, value) in attributes(entry.get(12..)?) {
        match attribute {
            libc::RTA_DST => route.net = Ipv4Net::new(Ipv4Addr::from(*value.first_chunk::<4>()?), length),
            libc::RTA_PRIORITY => metric = int(value, 0)? as u32,
            libc::RTA_OIF => route.link = int(value, 0)? as u32,
            _ => {}
        }
    }
    if protocol == ROUTE_PROTOCOL && kind == libc::RTN_UNREACHABLE {
        route.reserves = Some(metric);
    }
    Some(route)
}

fn routes(socket: &Netlink) -> io::Result<Vec<Route>> {
    let mut found = Vec::new();
    let mut header = [0; 12];
    if let Some(family) = header.first_mut() {
        *family = AF_INET;
    }
    socket.list(libc::RTM_GETROUTE, &header, |entry| found.extend(parse_route(entry)))?;
    Ok(found)
}

/// Adds or removes the route that reserves a pool.
fn reservation(socket: &Netlink, kind: u16, names: &Names, pool: Ipv4Net) -> io::Result<()> {
    let flags = if kind == libc::RTM_NEWROUTE { libc::NLM_F_CREATE | libc::NLM_F_EXCL } else { 0 };
    let mut batch = Batch::default();
    let header = route_header(pool.length(), libc::RT_SCOPE_UNIVERSE, libc::RTN_UNREACHABLE, 0);
    batch.add(kind, flags | libc::NLM_F_ACK, &header, |attributes| {
        attributes.bytes(libc::RTA_DST, &pool.first().octets());
        attributes.number(libc::RTA_PRIORITY, names.hash);
    });
    socket.ask(&batch)
}

/// Blocks of 4,096 addresses to choose from, in an order that differs between instances: within the space
/// of providers, of benchmarks, of private networks.
fn candidates(hash: u32) -> impl Iterator<Item = Ipv4Net> {
    let space = |text: [u8; 4], length: u8| Ipv4Net::new(Ipv4Addr::from(text), length);
    [space([100, 64, 0, 0], 10), space([198, 18, 0, 0], 15), space([10, 0, 0, 0], 8)].into_iter().flat_map(
        move |space| {
            let count = (space.size() >> 12) as u32;
            (0..count.min(256)).map(move |step| {
                let number = hash.wrapping_add(step) % count;
                Ipv4Net::new(Ipv4Addr::from_bits(space.first().to_bits() + (number << 12)), 20)
            })
        },
    )
}

/// Reserves addresses for a spawner: those wanted, or some that no route of the host leads to.
pub(super) fn reserve(socket: &Netlink, names: &Names, wanted: Option<Ipv4Net>) -> Result<Ipv4Net, String> {
    let failed = |what: &str| {
        let what = what.to_owned();
        move |error: io::Error| format!("{what}: {error}")
    };
    let overlapping = |routes: &[Route], pool: Ipv4Net| {
        let foreign = |route: &&Route| route.reserves != Some(names.hash) && route.net.length() > 0;
        routes.iter().filter(foreign).find(|route| route.net.overlaps(pool)).copied()
    };
    let known = routes(socket).map_err(failed("list routes"))?;
    let pools: Vec<Ipv4Net> = match wanted {
        Some(pool) => match overlapping(&known, pool) {
            Some(route) => return Err(format!("the pool {pool} overlaps the host's route to {}", route.net)),
            None => vec![pool],
        },
        None => candidates(names.hash).filter(|pool| overlapping(&known, *pool).is_none()).collect(),
    };
    for pool in pools {
        reservation(socket, libc::RTM_NEWROUTE, names, pool)
            .map_err(failed("reserve the pool of addresses"))?;
        // Another server may have come between.
        let now = routes(socket).map_err(failed("list routes"))?;
        if overlapping(&now, pool).is_none() {
            return Ok(pool);
        }
        reservation(socket, libc::RTM_DELROUTE, names, pool).map_err(failed("give the pool back"))?;
    }
    Err("the host has routes to every candidate for the pool of addresses".to_owned())
}

/// Removes all reserving routes of an instance.
pub(super) fn release(socket: &Netlink, names: &Names) -> io::Result<()> {
    for route in routes(socket)? {
        if route.reserves == Some(names.hash) {
            reservation(socket, libc::RTM_DELROUTE, names, route.net)?;
        }
    }
    Ok(())
}

/// Number of the interface of the host's default route.
pub(super) fn default_link(socket: &Netlink) -> Option<u32> {
    let routes = routes(socket).ok()?;
    routes
        .iter()
        .find(|route| route.main && route.net.length() == 0 && route.link != 0)
        .map(|route| route.link)
}

/// What is known of a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Link {
    pub(super) index: u32,
    pub(super) name: String,
    pub(super) mtu: u32,
}

/// All links.
pub(super) fn links(socket: &Netlink) -> io::Result<Vec<Link>> {
    let mut found = Vec::new();
    socket.list(libc::RTM_GETLINK, &link_header(0, 0), |entry| {
        let mut link = Link { index: int(entry, 4).unwrap_or(0) as u32, name: String::new(), mtu: 0 };
        for (attribute, value) in attributes(entry.get(16..).unwrap_or_default()) {
            match attribute {
                libc::IFLA_IFNAME => {
                    link.name =
                        String::from_utf8_lossy(value.strip_suffix(b"\0").unwrap_or(value)).into_owned();
                }
                libc::IFLA_MTU => link.mtu = int(value, 0).unwrap_or(0) as u32,
                _ => {}
            }
        }
        found.push(link);
    })?;
    Ok(found)
}

/// Deletes a link. Blocks for some 17 ms.
pub(super) fn delete_link(socket: &Netlink, index: u32) -> io::Result<()> {
    let mut batch = Batch::default();
    batch.add(libc::RTM_DELLINK, libc::NLM_F_ACK, &link_header(index, 0), |_| {});
    match socket.ask(&batch) {
        // It has died meanwhile.
        Err(error) if error.raw_os_error() == Some(libc::ENODEV) => Ok(()),
        other => other,
    }
}

/// Whether a link is there.
pub(super) fn link_exists(socket: &Netlink, name: &str) -> bool {
    socket.index_of(name).is_ok()
}

/// Opens a socket for all of this.
pub(super) fn open() -> io::Result<Netlink> {
    Netlink::open(Family::Route)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_differ_and_are_whole_blocks() {
        let first: Vec<_> = candidates(7).take(300).collect();
        assert!(first.iter().all(|pool| pool.size() == 4096));
        assert_eq!(first[0].to_string(), "100.64.112.0/20");
        assert_eq!(first[256].to_string(), "198.18.112.0/20");
        assert_ne!(candidates(8).next(), candidates(7).next());
    }

    #[test]
    fn routes_of_this_host_can_be_read() {
        let socket = open().unwrap();
        let routes = routes(&socket).unwrap();
        let loopback: Ipv4Net = "127.0.0.0/8".parse().unwrap();
        assert!(routes.iter().any(|route| loopback.covers(route.net)), "{routes:?}");
        assert!(links(&socket).unwrap().iter().any(|link| link.name == "lo" && link.mtu > 1000));
    }
}
