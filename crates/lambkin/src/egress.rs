//! `[egress]` of the settings: what functions may reach.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::{Context as _, ensure};
use clap::ValueEnum;
use lambkin_engine::{Egress, EgressRule, EgressRules};
use lambkin_sandbox::{Isolation, SandboxError, Spawner};
use serde::Deserialize;

/// The table as it stands in the file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct EgressTable {
    /// For functions without a rule of their own.
    default: Option<EgressDefault>,
    /// By function.
    #[serde(default)]
    functions: BTreeMap<String, Rule>,
    /// Addresses for sandboxes.
    pool: Option<String>,
    /// The host's resolvers.
    resolv_conf: Option<PathBuf>,
}

/// What functions without a rule of their own may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum EgressDefault {
    /// Public addresses.
    Internet,
    /// Nothing.
    None,
}

impl From<EgressDefault> for EgressRule {
    fn from(default: EgressDefault) -> Self {
        match default {
            EgressDefault::Internet => Self::Internet,
            EgressDefault::None => Self::None,
        }
    }
}

/// A rule of a function.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "expected \"internet\", \"none\" or a list of \"host:port\"")]
enum Rule {
    Word(EgressDefault),
    List(Vec<String>),
}

/// The settings in force.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct EgressSettings {
    rules: EgressRules,
    /// Names the host's resolvers; `None` is `/etc/resolv.conf`.
    pub(crate) resolv_conf: Option<PathBuf>,
}

impl EgressSettings {
    /// The table, with the default of the command line over its own. Checks all of it.
    pub(crate) fn resolve(
        table: Option<EgressTable>,
        default: Option<EgressDefault>,
    ) -> anyhow::Result<Self> {
        let table = table.unwrap_or_default();
        let pool = table.pool.map(|pool| pool.parse()).transpose().context("egress.pool")?;
        let functions = table.functions.into_iter().map(|(key, rule)| {
            let rule = match rule {
                Rule::Word(word) => word.into(),
                Rule::List(entries) => EgressRule::List(entries),
            };
            (key, rule)
        });
        let rules = EgressRules {
            default: default.or(table.default).map(EgressRule::from),
            functions: functions.collect(),
            pool,
        };
        let settings = Self { rules, resolv_conf: table.resolv_conf };
        settings.policies()?;
        Ok(settings)
    }

    /// The policies that the engine works by.
    pub(crate) fn policies(&self) -> anyhow::Result<Egress> {
        Ok(Egress::new(&self.rules)?)
    }
}

/// Compares what was asked for with what this host can do, and logs it.
///
/// # Errors
/// A policy was asked for that cannot be had.
pub(crate) async fn settle(
    settings: &EgressSettings,
    egress: &Egress,
    spawner: &Spawner,
) -> anyhow::Result<()> {
    if spawner.isolation() == Isolation::Process {
        let asked = settings.rules.default.is_some() || !settings.rules.functions.is_empty();
        ensure!(
            !asked,
            "[egress] cannot be enforced with --isolation process: functions have the host's network"
        );
        return Ok(());
    }
    if !egress.needs_network() {
        let spawner = spawner.clone();
        let follows = egress.follows_host();
        // Nobody has to wait for it.
        tokio::spawn(async move { report(&spawner.network().await, follows) });
        return Ok(());
    }
    let network = spawner.network().await;
    report(&network, egress.follows_host());
    network.map(drop).context("[egress] asks for a network that this host cannot give; see lambkin doctor")
}

fn report(network: &Result<String, SandboxError>, follows: bool) {
    match network {
        Ok(means) => tracing::info!(%means, "functions can reach the network as far as egress allows"),
        Err(reason) if follows => {
            tracing::info!(%reason, "egress: functions have no network; see lambkin doctor");
        }
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> anyhow::Result<EgressSettings> {
        EgressSettings::resolve(Some(toml::from_str(text)?), None)
    }

    #[test]
    fn tables_are_read() {
        let settings = parse(
            "default = \"none\"\npool = \"10.99.0.0/20\"\nresolv-conf = \"/x\"\n\
             [functions]\napi = \"internet\"\n\"123456789012/db-*\" = [\"db.example.com:5432\", \"localhost:5432\"]\n",
        )
        .unwrap();
        assert_eq!(settings.rules.default, Some(EgressRule::None));
        assert_eq!(settings.rules.functions["api"], EgressRule::Internet);
        assert_eq!(settings.resolv_conf, Some("/x".into()));
        let flag = EgressSettings::resolve(None, Some(EgressDefault::Internet)).unwrap();
        assert!(flag.policies().unwrap().needs_network());
    }

    #[test]
    fn errors_name_the_key() {
        for (text, part) in [
            ("[functions]\napi = [\"10.0.0.1\"]\n", "egress.functions.\"api\": entry \"10.0.0.1\""),
            ("[functions]\n\"a b\" = \"none\"\n", "egress.functions: \"a b\""),
            ("[functions]\napi = \"lan\"\n", "api"),
            ("default = \"lan\"\n", "default"),
            ("pool = \"8.8.8.0/24\"\n", "egress.pool"),
            ("pool = \"x\"\n", "egress.pool"),
            ("defualt = \"none\"\n", "defualt"),
        ] {
            let error = format!("{:#}", parse(text).unwrap_err());
            assert!(error.contains(part), "{error}");
        }
    }
}
