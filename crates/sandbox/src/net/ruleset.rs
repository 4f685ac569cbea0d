//! The nf_tables table of a spawner.
//!
//! | set | holds |
//! |---|---|
//! | `internet`, `list_N` | the sandboxes of a policy: interface and source address |
//! | `address_N` | addresses of list N, exactly as named: they may be private, or the host's own |
//! | `inside_N` | blocks of list N that lie in non-public space |
//! | `outside_N` | all other blocks of list N: what of them is non-public stays closed |
//! | `learned` | interface number and destination, for as long as a name said so |
//!
//! What is not in a set is refused at once, TCP by a reset, all else by ICMP. The host's own addresses are
//! those for which a packet comes to the input hook, whichever they are and whenever they come.
//!
//! A packet of a connection under way passes if the connection carries its policy's mark. So a sandbox
//! that gets the address of an earlier one cannot go on with what only the other was allowed.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::spec::{Destination, Ipv4Net, NONPUBLIC};
use super::{LINK_PREFIX, Names};

/// Most connections (and pairs of UDP sockets) of a sandbox at once: the host's table of all connections
/// is finite. Closed ones do not count.
const FLOWS_MAX: u32 = 2048;

/// Connection mark of the first policy; the lists follow.
const MARK: u32 = 0x4c4b_0000;

/// Where the program `nft` may be.
pub(super) const FOLDERS: [&str; 6] =
    ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin", "/usr/local/bin"];

/// Runs `nft` on a script; with `check` nothing is changed.
///
/// # Errors
/// What is wrong, in a sentence.
pub(super) fn run(script: &str, check: bool) -> Result<(), String> {
    let found =
        FOLDERS.iter().map(|folder| format!("{folder}/nft")).find(|path| std::path::Path::new(path).exists());
    let path = found.ok_or("the program nft is not installed")?;
    let mut command = Command::new(path);
    if check {
        command.arg("--check");
    }
    let output = command
        .args(["-f", "-"])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .and_then(|mut child| {
            if let Some(mut input) = child.stdin.take() {
                // If it does not read, it says why.
                let _ = input.write_all(script.as_bytes());
            }
            child.wait_with_output()
        })
        .map_err(|error| format!("cannot run nft: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("nft: {}", said.lines().next().unwrap_or("failed").trim()))
}

/// The script that replaces a spawner's table, whatever is there, in one transaction.
pub(super) fn script(names: &Names, pool: Ipv4Net, lists: &[Vec<Destination>]) -> String {
    let table = &names.table;
    let own = format!("\"{}*\"", names.link_prefix());
    let any = format!("\"{LINK_PREFIX}*\"");
    let nonpublic = NONPUBLIC.map(|block| block.to_string()).join(", ");
    let mut sets = String::new();
    let mut chains = String::new();
    let mut forward = String::new();
    let mut input = String::new();
    for number in 0..lists.len() {
        let _ = writeln!(forward, "    iifname . ip saddr @list_{number} goto list_{number}");
        let _ = writeln!(input, "    iifname . ip saddr @list_{number} goto own_{number}");
    }
    for (number, list) in lists.iter().enumerate() {
        let mark = MARK + 1 + number as u32;
        let (exact, blocks): (Vec<Destination>, Vec<Destination>) =
            list.iter().partition(|destination| destination.net.length() == 32);
        let (inside, outside): (Vec<Destination>, Vec<Destination>) = blocks
            .iter()
            .partition(|destination| NONPUBLIC.iter().any(|block| block.covers(destination.net)));
        let _ = writeln!(sets, "  set list_{number} {{ type ifname . ipv4_addr; }}");
        sets.push_str(&destinations(&format!("address_{number}"), "", &exact));
        sets.push_str(&destinations(&format!("inside_{number}"), "flags interval;", &inside));
        sets.push_str(&destinations(&format!("outside_{number}"), "flags interval;", &outside));
        let _ = write!(
            chains,
            "  chain list_{number} {{
    ct state established,related ct mark {mark} accept
    meta l4proto != {{ tcp, udp }} goto refuse
    ct mark set {mark}
    ip daddr . th dport @address_{number} goto admit
    ip daddr . th dport @inside_{number} goto admit
    ip daddr @nonpublic goto refuse
    ip daddr . th dport @outside_{number} goto admit
    meta iif . ip daddr . th dport @learned goto admit
    goto refuse
  }}
  chain own_{number} {{
    meta l4proto {{ tcp, udp }} ip daddr . th dport @address_{number} accept
    goto refuse
  }}
"
        );
    }
    format!(
        "table inet {table} {{}}
delete table inet {table}
table inet {table} {{
  set nonpublic {{ type ipv4_addr; flags interval; elements = {{ {nonpublic} }} }}
  set internet {{ type ifname . ipv4_addr; }}
  set learned {{ type iface_index . ipv4_addr . inet_service; size 65535; flags timeout; }}
  set flows {{ type ipv4_addr; size 65535; flags dynamic; }}
{sets}  chain refuse {{
    meta l4proto tcp reject with tcp reset
    reject with icmpx type admin-prohibited
  }}
  chain admit {{
    add @flows {{ ip saddr ct count over {FLOWS_MAX} }} goto refuse
    accept
  }}
  chain internet {{
    ct state established,related ct mark {MARK} accept
    meta l4proto != {{ tcp, udp }} goto refuse
    ip daddr @nonpublic goto refuse
    ct mark set {MARK}
    goto admit
  }}
{chains}  chain outward {{
    oifname {any} goto refuse
    iifname . ip saddr @internet goto internet
{forward}    goto refuse
  }}
  chain inward {{
    iifname {any} goto refuse
    ct state established,related accept
    drop
  }}
  chain to_host {{
{input}    goto refuse
  }}
  chain forward {{
    type filter hook forward priority filter; policy accept;
    iifname {own} goto outward
    oifname {own} goto inward
  }}
  chain input {{
    type filter hook input priority filter; policy accept;
    iifname {own} goto to_host
  }}
  chain postrouting {{
    type nat hook postrouting priority srcnat; policy accept;
    ip saddr {pool} oifname != {any} masquerade
  }}
}}
"
    )
}

/// A set of destinations. Those within others are left out: overlapping elements would be refused.
fn destinations(name: &str, flags: &str, list: &[Destination]) -> String {
    let within = |one: &Destination, other: &Destination| {
        one.port == other.port && one.net != other.net && other.net.covers(one.net)
    };
    let outer = list.iter().filter(|one| !list.iter().any(|other| within(one, other)));
    let mut elements: Vec<String> = outer.map(|one| format!("{} . {}", one.net, one.port)).collect();
    elements.sort_unstable();
    elements.dedup();
    let elements = match elements.as_slice() {
        [] => String::new(),
        some => format!(" elements = {{ {} }}", some.join(", ")),
    };
    format!("  set {name} {{ type ipv4_addr . inet_service; {flags}{elements} }}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn destination(net: &str, port: u16) -> Destination {
        Destination { net: net.parse().unwrap(), port }
    }

    #[test]
    fn destinations_are_sorted_into_sets() {
        let list = [
            destination("10.1.2.3", 5432),
            destination("10.0.0.0/8", 80),
            destination("10.1.0.0/16", 80),
            destination("10.1.0.0/16", 81),
            destination("0.0.0.0/0", 443),
        ];
        let script =
            script(&Names::new("a-b"), "100.127.0.0/20".parse().unwrap(), &[list.to_vec(), Vec::new()]);
        for part in [
            "table inet lambkin_a_b {",
            "set address_0 { type ipv4_addr . inet_service;  elements = { 10.1.2.3 . 5432 } }",
            "set inside_0 { type ipv4_addr . inet_service; flags interval; elements = { 10.0.0.0/8 . 80, 10.1.0.0/16 . 81 } }",
            "set outside_0 { type ipv4_addr . inet_service; flags interval; elements = { 0.0.0.0/0 . 443 } }",
            "set outside_1 { type ipv4_addr . inet_service; flags interval; }",
            "ip saddr 100.127.0.0/20 oifname",
        ] {
            assert!(script.contains(part), "{part} in {script}");
        }
        match run(&script, true) {
            Ok(()) => {}
            Err(why) => assert!(why.contains("not installed") || why.contains("not permitted"), "{why}"),
        }
    }
}
