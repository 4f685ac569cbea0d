//! What a spawner sets up on its host for all its sandboxes, and takes down again.

use std::fs::File;
use std::io;
use std::time::{Duration, Instant};

use super::spec::NetworkConfig;
use super::uplinks::Uplinks;
use super::{Names, elements, routes, ruleset};
use crate::sys::netlink::Netlink;
use crate::sys::process;

const IP_FORWARD: &str = "/proc/sys/net/ipv4/ip_forward";

/// How long links of a dead predecessor may take to die by themselves before they are deleted.
const LINKS_PATIENCE: Duration = Duration::from_secs(2);

/// Size of packets where the host has no default route to take it from.
const USUAL_MTU: u32 = 1500;

/// Clears what a predecessor left and sets everything up. Also says in a few words what is used.
///
/// # Errors
/// Why sandboxes can have no uplink here, in a sentence.
pub(super) fn set_up(
    instance: &str,
    config: &NetworkConfig,
    namespace: File,
) -> Result<(Uplinks, String), String> {
    if process::effective_uid() != 0 {
        return Err("the server does not run as root".to_owned());
    }
    let names = Names::new(instance);
    let socket = routes::open().map_err(|error| format!("cannot open a netlink socket: {error}"))?;
    clear_links(&socket, &names)?;
    routes::release(&socket, &names).map_err(|error| format!("cannot release addresses: {error}"))?;
    let pool = routes::reserve(&socket, &names, config.pool)?;
    match set_up_rules(&names, pool, config, &socket, namespace) {
        Ok(done) => Ok(done),
        Err(why) => {
            take_down(instance);
            Err(why)
        }
    }
}

fn set_up_rules(
    names: &Names,
    pool: super::Ipv4Net,
    config: &NetworkConfig,
    socket: &Netlink,
    namespace: File,
) -> Result<(Uplinks, String), String> {
    ruleset::run(&ruleset::script(names, pool, &config.lists), false)?;
    let forward = std::fs::read_to_string(IP_FORWARD).map_err(|error| format!("{IP_FORWARD}: {error}"))?;
    let mut notes = format!("{pool} by NAT");
    if forward.trim() == "0" {
        std::fs::write(IP_FORWARD, "1")
            .map_err(|error| format!("net.ipv4.ip_forward is 0 and cannot be switched on: {error}"))?;
        notes.push_str(", net.ipv4.ip_forward was switched on");
    }
    let links = routes::links(socket).unwrap_or_default();
    let default =
        routes::default_link(socket).and_then(|index| links.iter().find(|link| link.index == index));
    let mtu = default.map_or(USUAL_MTU, |link| link.mtu.clamp(576, 9000));
    Ok((Uplinks::new(names.clone(), pool, config.lists.len(), mtu, namespace), notes))
}

/// Opens what changes of the network need while there are sandboxes. Returns the network namespace of this process.
pub(crate) fn prepare() -> io::Result<File> {
    elements::prepare()?;
    File::open("/proc/self/ns/net")
}

/// Waits until no link of a dead predecessor is left. They die with their sandboxes, which are dead.
fn clear_links(socket: &Netlink, names: &Names) -> Result<(), String> {
    let prefix = names.link_prefix();
    let begun = Instant::now();
    loop {
        let mut left = routes::links(socket).map_err(|error| format!("cannot list links: {error}"))?;
        left.retain(|link| link.name.starts_with(&prefix));
        if left.is_empty() {
            return Ok(());
        }
        if begun.elapsed() > LINKS_PATIENCE {
            for link in left {
                routes::delete_link(socket, link.index)
                    .map_err(|error| format!("cannot delete {}: {error}", link.name))?;
            }
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Removes the table and the reserving route of an instance. What cannot be removed is left to the next
/// spawner of the instance.
pub(crate) fn take_down(instance: &str) {
    let names = Names::new(instance);
    let _ = elements::delete_table(&names.table);
    if let Ok(socket) = routes::open() {
        let _ = routes::release(&socket, &names);
    }
}
