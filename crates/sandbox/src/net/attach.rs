//! Gives a sandbox its link: the part of its init, which is still root and already in its own namespace.

use std::fs::File;
use std::io;
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd};
use std::path::Path;

use super::routes::{link_header, route_header};
use super::uplinks::Attachment;
use crate::error::{Context, SandboxError};
use crate::sys::netlink::{Batch, Family, Netlink, enter_namespace};

/// Hardware addresses of the two ends: the same for all sandboxes, for no link has more than two.
const HOST_END: [u8; 6] = [0x02, 0x6c, 0x6b, 0, 0, 1];
const SANDBOX_END: [u8; 6] = [0x02, 0x6c, 0x6b, 0, 0, 2];

const INNER_NAME: &str = "eth0";

/// Of `linux/if_link.h` and `linux/veth.h`; the C library's binding lacks them.
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_INET6_ADDR_GEN_MODE: u16 = 8;
const ADDR_GEN_NONE: u8 = 1;
const RTNH_F_ONLINK: u32 = 4;

/// Makes the link and brings both ends up; the policy is in place already. Returns the number of the host's
/// end, which no other link gets while the host runs.
pub(crate) fn attach(attachment: &Attachment, host_namespace: &File) -> Result<u32, SandboxError> {
    let route = host_socket(host_namespace)?;
    // Before the link is there: it is to have no IPv6 address.
    no_ipv6("/proc/sys/net/ipv6/conf/default/disable_ipv6").step("switch IPv6 off for eth0")?;
    let inside = Netlink::open(Family::Route).step("open netlink")?;
    inside.ask(&make_pair(attachment, host_namespace)).at("make link", &attachment.link)?;
    let inner = inside.index_of(INNER_NAME).at("find link", INNER_NAME)?;
    let outer = route.index_of(&attachment.link).at("find link", &attachment.link)?;
    route.ask(&host_side(attachment, outer)).at("configure link", &attachment.link)?;
    inside.ask(&sandbox_side(attachment, inner)).at("configure link", INNER_NAME)?;
    Ok(outer)
}

/// A socket that acts in the host's namespace.
fn host_socket(host_namespace: &File) -> Result<Netlink, SandboxError> {
    let own = File::open("/proc/self/ns/net").step("open network namespace")?;
    enter_namespace(host_namespace.as_fd()).step("enter host's network namespace")?;
    let socket = Netlink::open(Family::Route).step("open netlink");
    // Back in any case: what follows must not happen to the host.
    enter_namespace(own.as_fd()).step("enter own network namespace")?;
    socket
}

fn no_ipv6(path: &str) -> io::Result<()> {
    match std::fs::write(path, "1") {
        // A kernel without IPv6.
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn make_pair(attachment: &Attachment, host_namespace: &File) -> Batch {
    let mut batch = Batch::default();
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    batch.add(libc::RTM_NEWLINK, flags, &link_header(0, 0), |link| {
        link.text(libc::IFLA_IFNAME, INNER_NAME);
        link.number(libc::IFLA_MTU, attachment.mtu);
        link.bytes(libc::IFLA_ADDRESS, &SANDBOX_END);
        link.nest(libc::IFLA_LINKINFO, &[], |info| {
            info.text(libc::IFLA_INFO_KIND, "veth");
            info.nest(IFLA_INFO_DATA, &[], |data| {
                data.nest(VETH_INFO_PEER, &link_header(0, 0), |peer| {
                    peer.text(libc::IFLA_IFNAME, &attachment.link);
                    peer.number(libc::IFLA_MTU, attachment.mtu);
                    peer.bytes(libc::IFLA_ADDRESS, &HOST_END);
                    peer.number(libc::IFLA_NET_NS_FD, host_namespace.as_raw_fd() as u32);
                });
            });
        });
    });
    batch
}

/// Brings a link up.
fn up(batch: &mut Batch, index: u32) {
    batch.add(libc::RTM_NEWLINK, libc::NLM_F_ACK, &link_header(index, libc::IFF_UP), |_| {});
}

/// Makes the other end known for good, so that no one ever has to ask (ARP) and no table overflows.
fn neighbour(batch: &mut Batch, index: u32, address: Ipv4Addr, hardware: [u8; 6]) {
    let [a, b, c, d] = index.to_ne_bytes();
    let [low, high] = libc::NUD_PERMANENT.to_ne_bytes();
    let header = [libc::AF_INET as u8, 0, 0, 0, a, b, c, d, low, high, 0, 0];
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_REPLACE;
    batch.add(libc::RTM_NEWNEIGH, flags, &header, |neighbour| {
        neighbour.bytes(libc::NDA_DST, &address.octets());
        neighbour.bytes(libc::NDA_LLADDR, &hardware);
    });
}

fn host_side(attachment: &Attachment, index: u32) -> Batch {
    let mut batch = Batch::default();
    if Path::new("/proc/sys/net/ipv6").exists() {
        // A message of its own: in one with the next, the link would come up first.
        batch.add(libc::RTM_NEWLINK, libc::NLM_F_ACK, &link_header(index, 0), |link| {
            link.nest(libc::IFLA_AF_SPEC, &[], |families| {
                families.nest(libc::AF_INET6 as u16, &[], |inet6| {
                    inet6.bytes(IFLA_INET6_ADDR_GEN_MODE, &[ADDR_GEN_NONE]);
                });
            });
        });
    }
    up(&mut batch, index);
    neighbour(&mut batch, index, attachment.address, SANDBOX_END);
    let header = route_header(32, libc::RT_SCOPE_LINK, libc::RTN_UNICAST, 0);
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    batch.add(libc::RTM_NEWROUTE, flags, &header, |route| {
        route.bytes(libc::RTA_DST, &attachment.address.octets());
        route.number(libc::RTA_OIF, index);
    });
    batch
}

fn sandbox_side(attachment: &Attachment, index: u32) -> Batch {
    let mut batch = Batch::default();
    let flags = libc::NLM_F_ACK | libc::NLM_F_CREATE | libc::NLM_F_EXCL;
    let [a, b, c, d] = index.to_ne_bytes();
    let header = [libc::AF_INET as u8, 32, 0, libc::RT_SCOPE_UNIVERSE, a, b, c, d];
    batch.add(libc::RTM_NEWADDR, flags, &header, |address| {
        address.bytes(libc::IFA_LOCAL, &attachment.address.octets());
        address.bytes(libc::IFA_ADDRESS, &attachment.address.octets());
    });
    up(&mut batch, index);
    neighbour(&mut batch, index, attachment.gateway, HOST_END);
    let header = route_header(0, libc::RT_SCOPE_UNIVERSE, libc::RTN_UNICAST, RTNH_F_ONLINK);
    batch.add(libc::RTM_NEWROUTE, flags, &header, |route| {
        route.bytes(libc::RTA_GATEWAY, &attachment.gateway.octets());
        route.number(libc::RTA_OIF, index);
    });
    batch
}
