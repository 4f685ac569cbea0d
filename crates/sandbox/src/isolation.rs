//! The ways in which sandboxes can be made on a host.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How sandboxes are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// By root: namespaces, cgroups, a user id of its own for each sandbox.
    Root,
    /// By an ordinary user, in a user namespace of the spawner's own. Limits by cgroup where one has been
    /// delegated; otherwise memory is watched and CPU time is not limited.
    UserNamespaces,
    /// Plain child processes. There is no isolation: they can do whatever the server's user can.
    Process,
}

impl Isolation {
    /// The name in settings and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Isolation::Root => "root",
            Isolation::UserNamespaces => "user-namespaces",
            Isolation::Process => "process",
        }
    }

    /// Whether a sandbox has namespaces of its own.
    pub(crate) fn has_namespaces(self) -> bool {
        self != Isolation::Process
    }
}

impl fmt::Display for Isolation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Isolation {
    type Err = String;

    fn from_str(name: &str) -> Result<Isolation, String> {
        [Isolation::Root, Isolation::UserNamespaces, Isolation::Process]
            .into_iter()
            .find(|isolation| isolation.name() == name)
            .ok_or_else(|| format!("{name:?} is none of root, user-namespaces and process"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names() {
        for isolation in [Isolation::Root, Isolation::UserNamespaces, Isolation::Process] {
            assert_eq!(isolation.name().parse(), Ok(isolation));
            assert_eq!(serde_json::to_value(isolation).unwrap(), isolation.name());
        }
        assert!("docker".parse::<Isolation>().is_err());
    }
}
