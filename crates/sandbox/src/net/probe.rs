//! What this host can do for the network of sandboxes, for `lambkin doctor`.

use std::process::{Command, Stdio};

use super::ruleset::{self, FOLDERS};
use super::{Ipv4Net, LINK_PREFIX, Names};

/// One look: what was looked at, what was found or what is wrong, and what to do then.
pub(crate) struct Finding {
    pub(crate) name: &'static str,
    pub(crate) found: Result<String, String>,
    pub(crate) advice: String,
}

/// Looks at all that uplinks need. Makes no change.
pub(crate) fn look() -> Vec<Finding> {
    vec![rules(), forwarding(), firewalls()]
}

fn rules() -> Finding {
    let pool = Ipv4Net::new([100, 64, 0, 0].into(), 20);
    let script = ruleset::script(&Names::new("doctor"), pool, &[]);
    let found = ruleset::run(&script, true);
    let advice = match &found {
        Err(why) if why.contains("not installed") => "install nftables (functions have no network without)",
        _ => {
            "run the server as root on a kernel with nf_tables and its NAT (functions have no network without)"
        }
    };
    Finding {
        name: "egress: rules",
        found: found.map(|()| "nftables with NAT".to_owned()),
        advice: advice.to_owned(),
    }
}

fn forwarding() -> Finding {
    let found = std::fs::read_to_string("/proc/sys/net/ipv4/ip_forward").map_err(|error| error.to_string());
    let found = found.map(|value| match value.trim() {
        "0" => "off; the server switches net.ipv4.ip_forward on when it starts".to_owned(),
        _ => "net.ipv4.ip_forward is on".to_owned(),
    });
    Finding { name: "egress: forwarding", found, advice: "mount /proc".to_owned() }
}

/// Chains of others that drop what the host forwards, unless they make an exception for our links.
fn firewalls() -> Finding {
    let mut blocking = Vec::new();
    for chain in output("nft", &["list", "chains"]).map(|text| forward_chains(&text)).unwrap_or_default() {
        // The exception may stand in any chain of the table.
        let [family, table, _] = &chain;
        let rules = output("nft", &["list", "table", family, table]).unwrap_or_default();
        if !rules.contains(LINK_PREFIX) {
            blocking.push(format!("chain {}", chain.join(" ")));
        }
    }
    let legacy = output("iptables-legacy", &["-S"]).unwrap_or_default();
    if legacy.contains("-P FORWARD DROP") && !legacy.contains(LINK_PREFIX) {
        blocking.push("legacy iptables".to_owned());
    }
    let found = match blocking.as_slice() {
        [] => Ok("none drops what the host forwards".to_owned()),
        some => Err(format!("dropping what the host forwards: {}", some.join(", "))),
    };
    let advice = format!(
        "let functions through, e.g. iptables -I FORWARD -i {LINK_PREFIX}+ -j ACCEPT and \
         iptables -I FORWARD -o {LINK_PREFIX}+ -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT \
         (with Docker: in DOCKER-USER)"
    );
    Finding { name: "egress: firewalls", found, advice }
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let path = FOLDERS
        .iter()
        .map(|folder| format!("{folder}/{program}"))
        .find(|path| std::path::Path::new(path).exists())?;
    let mut command = Command::new(path);
    let output =
        command.args(arguments).env_clear().stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Family, table and name of the chains that drop forwarded packets by default, in the listing of `nft list chains`.
fn forward_chains(listing: &str) -> Vec<[String; 3]> {
    let mut found = Vec::new();
    let (mut table, mut chain) = (Vec::new(), String::new());
    for line in listing.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["table", family, name, ..] => table = vec![(*family).to_owned(), (*name).to_owned()],
            ["chain", name, ..] => (*name).clone_into(&mut chain),
            ["type", ..] if line.contains("hook forward") && line.contains("policy drop") => {
                if let [family, name] = table.as_slice() {
                    found.push([family.clone(), name.clone(), chain.clone()]);
                }
            }
            _ => {}
        }
    }
    // Of IPv4 only: there is nothing else to block.
    found.retain(|[family, ..]| family != "ip6" && family != "bridge");
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_that_drop_are_found() {
        let listing = "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy drop;\n\t}\n\
                       \tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
                       table ip6 filter {\n\tchain FORWARD {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n\
                       table inet mine {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy accept;\n\t}\n}\n";
        assert_eq!(forward_chains(listing), [["ip", "filter", "FORWARD"].map(str::to_owned)]);
    }
}
