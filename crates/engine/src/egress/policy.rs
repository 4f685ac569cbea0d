//! Who may reach what: the operator's policy, read and checked.

use std::collections::{BTreeMap, HashMap};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use lambkin_sandbox::{Destination, Ipv4Net, NetworkConfig};

use crate::variables::RUNTIME_API_PORT;

/// Where sandboxes find their resolver.
pub(crate) const RESOLVER: SocketAddrV4 = SocketAddrV4::new(Ipv4Addr::new(127, 0, 0, 53), 53);

/// Most entries of a list whose host is on loopback: each is a socket in every sandbox.
const MAX_LOOPBACK: usize = 16;

/// The operator's words: `[egress]` of the settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EgressRules {
    /// For functions that none of `functions` names; `None` is `internet` where this host can do it, else `none`.
    pub default: Option<EgressRule>,
    /// By function: `NAME` or `ACCOUNT/NAME`, either with `*` at the end for all that begin so.
    pub functions: BTreeMap<String, EgressRule>,
    /// Addresses for sandboxes; `None` takes some that the host has no route to.
    pub pool: Option<Ipv4Net>,
}

/// What some functions may reach.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EgressRule {
    /// Public addresses, by TCP and UDP.
    Internet,
    /// Nothing.
    None,
    /// Each `HOST:PORT`; the host is an IPv4 address, a block of such, or a name.
    List(Vec<String>),
}

/// What is wrong with the operator's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EgressError {
    /// A key is not a function.
    #[error("egress.functions: {0:?} is not NAME, ACCOUNT/NAME or one of these with * at the end")]
    Key(String),
    /// An entry of a list is not understood or not possible.
    #[error("egress.functions.{key:?}: entry {entry:?}: {reason}")]
    Entry {
        /// The function's key.
        key: String,
        /// The entry.
        entry: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A list has too much of something.
    #[error("egress.functions.{key:?}: more than {MAX_LOOPBACK} entries on loopback")]
    TooMany {
        /// The function's key.
        key: String,
    },
    /// The pool is too small or in use by definition.
    #[error("egress.pool: {0} is not a block of private addresses with a prefix of 8 to 28 bits")]
    Pool(Ipv4Net),
}

/// What one function may reach.
#[derive(Debug, Clone)]
pub(crate) enum Policy {
    /// `Internet` where this host can do it, else `None`.
    Auto,
    Internet,
    None,
    List(Arc<AllowList>),
}

/// A list, sorted by who enforces it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct AllowList {
    /// Which of the network's lists; `None` if all entries are on loopback.
    pub(crate) number: Option<usize>,
    /// Addresses and blocks: for the network.
    destinations: Vec<Destination>,
    /// Names and their ports: for the resolver.
    pub(crate) names: HashMap<String, Vec<u16>>,
    /// Services on the host's loopback, to be piped.
    pub(crate) loopback: Vec<SocketAddrV4>,
}

/// All policies.
#[derive(Debug, Clone)]
pub struct Egress {
    default: Policy,
    functions: Vec<(Pattern, Policy)>,
    network: NetworkConfig,
    required: bool,
}

impl Default for Egress {
    /// `internet` where the host can do it, for all functions.
    fn default() -> Self {
        Self {
            default: Policy::Auto,
            functions: Vec::new(),
            network: NetworkConfig::default(),
            required: false,
        }
    }
}

impl Egress {
    /// Reads and checks the operator's words.
    ///
    /// # Errors
    /// The first that is not understood.
    pub fn new(rules: &EgressRules) -> Result<Self, EgressError> {
        let mut egress = Self::default();
        if let Some(pool) = rules.pool {
            let private =
                !lambkin_sandbox::is_public(pool.first()) && !lambkin_sandbox::is_public(pool.last());
            let unusable = ["0.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "224.0.0.0/3"]
                .iter()
                .any(|block| block.parse::<Ipv4Net>().is_ok_and(|block| block.overlaps(pool)));
            if !private || unusable || !(8..=28).contains(&pool.length()) {
                return Err(EgressError::Pool(pool));
            }
            egress.network.pool = Some(pool);
        }
        for (key, rule) in &rules.functions {
            let pattern = Pattern::parse(key).ok_or_else(|| EgressError::Key(key.clone()))?;
            let policy = egress.policy(key, rule)?;
            egress.functions.push((pattern, policy));
        }
        // The first match counts: what says most comes first.
        egress.functions.sort_by_key(|(pattern, _)| std::cmp::Reverse(pattern.weight()));
        if let Some(rule) = &rules.default {
            egress.default = egress.policy("default", rule)?;
        }
        Ok(egress)
    }

    fn policy(&mut self, key: &str, rule: &EgressRule) -> Result<Policy, EgressError> {
        match rule {
            EgressRule::None => Ok(Policy::None),
            EgressRule::Internet => {
                self.required = true;
                Ok(Policy::Internet)
            }
            EgressRule::List(entries) => {
                let mut list = AllowList::new(key, entries)?;
                if !list.destinations.is_empty() || !list.names.is_empty() {
                    self.required = true;
                    list.number = Some(self.network.lists.len());
                    self.network.lists.push(list.destinations.clone());
                }
                Ok(Policy::List(Arc::new(list)))
            }
        }
    }

    /// What the spawner is to set up.
    #[must_use]
    pub fn network(&self) -> NetworkConfig {
        self.network.clone()
    }

    /// Whether some policy was asked for that cannot be had without the network.
    #[must_use]
    pub fn needs_network(&self) -> bool {
        self.required
    }

    /// Whether functions without a rule of their own have whatever this host can do.
    #[must_use]
    pub fn follows_host(&self) -> bool {
        matches!(self.default, Policy::Auto)
    }

    /// The policy of a function.
    pub(crate) fn of(&self, account: &str, name: &str) -> Policy {
        let found = self.functions.iter().find(|(pattern, _)| pattern.matches(account, name));
        found.map_or(&self.default, |(_, policy)| policy).clone()
    }
}

/// Which functions a rule is for.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pattern {
    account: Option<String>,
    name: String,
    /// Whether more may follow.
    open: bool,
}

impl Pattern {
    fn parse(key: &str) -> Option<Self> {
        let (account, name) = match key.split_once('/') {
            Some((account, name)) => (Some(account), name),
            None => (None, key),
        };
        if account
            .is_some_and(|account| account.len() != 12 || !account.bytes().all(|byte| byte.is_ascii_digit()))
        {
            return None;
        }
        let (name, open) = name.strip_suffix('*').map_or((name, false), |name| (name, true));
        let valid = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        (valid && name.len() <= 140 && (open || !name.is_empty())).then(|| Self {
            account: account.map(str::to_owned),
            name: name.to_owned(),
            open,
        })
    }

    /// Names before prefixes, long before short, with an account before without.
    fn weight(&self) -> (bool, usize, bool) {
        (!self.open, self.name.len(), self.account.is_some())
    }

    fn matches(&self, account: &str, name: &str) -> bool {
        let named = if self.open { name.starts_with(&self.name) } else { name == self.name };
        named && self.account.as_ref().is_none_or(|own| own == account)
    }
}

impl AllowList {
    fn new(key: &str, entries: &[String]) -> Result<Self, EgressError> {
        let mut list = Self::default();
        for entry in entries {
            list.add(entry).map_err(|reason| EgressError::Entry {
                key: key.to_owned(),
                entry: entry.clone(),
                reason,
            })?;
        }
        if list.loopback.len() > MAX_LOOPBACK {
            return Err(EgressError::TooMany { key: key.to_owned() });
        }
        Ok(list)
    }

    fn add(&mut self, entry: &str) -> Result<(), &'static str> {
        if entry.contains('[') || entry.matches(':').count() > 1 {
            return Err(
                "IPv6 is not supported; it must be HOST:PORT with an IPv4 address, a block of such, or a name",
            );
        }
        let (host, port) = entry.split_once(':').ok_or("it must be HOST:PORT")?;
        let port: u16 = port.parse().ok().filter(|port| *port > 0).ok_or("the port must be 1 to 65535")?;
        let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
        if host == "localhost" {
            return self.add_loopback(SocketAddrV4::new(Ipv4Addr::LOCALHOST, port));
        }
        let Ok(net) = host.parse::<Ipv4Net>() else {
            if !is_name(&host) {
                return Err(
                    "the host is neither an IPv4 address, a block such as 10.0.0.0/8, nor a DNS name",
                );
            }
            let ports = self.names.entry(host).or_default();
            if !ports.contains(&port) {
                ports.push(port);
            }
            return Ok(());
        };
        let within = |block: [u8; 4], length| Ipv4Net::new(block.into(), length).covers(net);
        if within([127, 0, 0, 0], 8) {
            let single = net.length() == 32;
            return if single {
                self.add_loopback(SocketAddrV4::new(net.first(), port))
            } else {
                Err("on loopback it must be one address")
            };
        }
        if within([224, 0, 0, 0], 3) || within([0, 0, 0, 0], 8) {
            return Err("nothing can be reached there");
        }
        self.destinations.push(Destination { net, port });
        Ok(())
    }

    fn add_loopback(&mut self, address: SocketAddrV4) -> Result<(), &'static str> {
        if address == RESOLVER || address == SocketAddrV4::new(Ipv4Addr::LOCALHOST, RUNTIME_API_PORT) {
            return Err("this address has another use inside sandboxes");
        }
        if !self.loopback.contains(&address) {
            self.loopback.push(address);
        }
        Ok(())
    }
}

/// Whether a text is a DNS name. One whose last label is a number is a wrong address rather.
fn is_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte))
    };
    let number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    text.len() <= 253
        && text.split('.').all(label)
        && text.rsplit('.').next().is_some_and(|last| !number(last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(functions: &[(&str, EgressRule)]) -> EgressRules {
        let functions = functions.iter().map(|(key, rule)| ((*key).to_owned(), rule.clone())).collect();
        EgressRules { functions, ..EgressRules::default() }
    }

    fn list(entries: &[&str]) -> EgressRule {
        EgressRule::List(entries.iter().map(|entry| (*entry).to_owned()).collect())
    }

    #[test]
    fn the_closest_rule_counts() {
        let rules = rules(&[
            ("*", EgressRule::Internet),
            ("web*", EgressRule::None),
            ("web", EgressRule::Internet),
            ("111111111111/web*", list(&["a:1"])),
            ("111111111111/*", EgressRule::None),
        ]);
        let egress = Egress::new(&rules).unwrap();
        let kind = |account: &str, name: &str| match egress.of(account, name) {
            Policy::Auto => "auto",
            Policy::Internet => "internet",
            Policy::None => "none",
            Policy::List(_) => "list",
        };
        assert_eq!(kind("222222222222", "other"), "internet");
        assert_eq!(kind("222222222222", "web-1"), "none");
        assert_eq!(kind("222222222222", "web"), "internet");
        assert_eq!(kind("111111111111", "web-1"), "list");
        assert_eq!(kind("111111111111", "other"), "none");
        assert!(egress.needs_network() && egress.follows_host());
        assert!(matches!(Egress::default().of("1", "x"), Policy::Auto));
    }

    #[test]
    fn lists_are_sorted_by_who_enforces_them() {
        let entries = [
            "10.0.0.0/8:5432",
            "DB.Example.com.:5432",
            "db.example.com:443",
            "localhost:6379",
            "127.0.0.2:80",
            "localhost:6379",
        ];
        let egress = Egress::new(&rules(&[("a", list(&["127.0.0.1:1"])), ("b", list(&entries))])).unwrap();
        let Policy::List(first) = egress.of("1", "a") else { panic!() };
        assert_eq!((first.number, first.loopback.len()), (None, 1));
        let Policy::List(second) = egress.of("1", "b") else { panic!() };
        assert_eq!(second.number, Some(0));
        assert_eq!(second.names, [("db.example.com".to_owned(), vec![5432, 443])].into());
        assert_eq!(second.loopback, ["127.0.0.1:6379", "127.0.0.2:80"].map(|text| text.parse().unwrap()));
        let expected = Destination { net: "10.0.0.0/8".parse().unwrap(), port: 5432 };
        assert_eq!(egress.network().lists, [vec![expected]]);
    }

    #[test]
    fn what_is_wrong_is_named() {
        for entry in [
            "",
            "host",
            "host:",
            "host:0",
            "host:65536",
            ":80",
            "10.0.0.1/8:80",
            "10.0.0:80",
            "[::1]:80",
            "::1:80",
            "a..b:80",
            "-a:80",
            "127.0.0.0/8:80",
            "224.0.0.1:80",
            "255.255.255.255:1",
            "0.0.0.0:80",
            "127.0.0.1:9001",
            "127.0.0.53:53",
            "*.a:1",
        ] {
            let error = Egress::new(&rules(&[("fn", list(&[entry]))])).unwrap_err();
            assert!(
                error.to_string().starts_with(&format!("egress.functions.\"fn\": entry {entry:?}: ")),
                "{error}"
            );
        }
        for key in ["", "a b", "a*b", "123/x", "123456789012/", "x/y/z"] {
            let error = Egress::new(&rules(&[(key, EgressRule::None)])).unwrap_err();
            assert_eq!(error, EgressError::Key(key.to_owned()));
        }
        for pool in ["8.8.8.0/24", "10.0.0.0/29", "127.1.0.0/16", "0.0.0.0/0"] {
            let pool = Some(pool.parse().unwrap());
            assert!(Egress::new(&EgressRules { pool, ..EgressRules::default() }).is_err(), "{pool:?}");
        }
        let many: Vec<String> = (1..=17).map(|port| format!("localhost:{port}")).collect();
        let many = EgressRule::List(many);
        assert!(matches!(Egress::new(&rules(&[("x", many)])), Err(EgressError::TooMany { .. })));
    }
}
