//! `cargo xtask check-deps`: the arrows between the workspace's crates are those of the design.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;

/// What each crate may depend on. A crate that is not listed may not exist.
const ALLOWED: &[(&str, Allowed)] = &[
    ("lambkin-model", Allowed::Only(&[])),
    ("lambkin-wire", Allowed::Only(&["lambkin-model"])),
    ("lambkin-core", Allowed::Only(&[])),
    ("lambkin-store", Allowed::Only(&["lambkin-core"])),
    ("lambkin-sandbox", Allowed::Only(&[])),
    ("lambkin-runtime", Allowed::Only(&["lambkin-core"])),
    ("lambkin-engine", Allowed::Only(&["lambkin-core", "lambkin-sandbox", "lambkin-runtime"])),
    ("lambkin-services", Allowed::Only(&["lambkin-model", "lambkin-core"])),
    (BINARY, Allowed::All),
    (
        "lambkin-fuzz",
        Allowed::Only(&[
            "lambkin-core",
            "lambkin-model",
            "lambkin-runtime",
            "lambkin-services",
            "lambkin-wire",
        ]),
    ),
    ("xtask", Allowed::Only(&[])),
];

/// The crate above all others: nothing may depend on it, not even for tests.
const BINARY: &str = "lambkin";

#[derive(Debug, Clone, Copy)]
enum Allowed {
    Only(&'static [&'static str]),
    All,
}

/// The parts of `cargo metadata` that say who depends on whom.
#[derive(Debug, Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Debug, Deserialize)]
struct Package {
    name: String,
    dependencies: Vec<Dependency>,
}

#[derive(Debug, Deserialize)]
struct Dependency {
    name: String,
    /// `dev`, `build` or, for a normal dependency, null.
    kind: Option<String>,
}

/// Reads the workspace at `root` and fails with every arrow that is not allowed.
pub(crate) fn run(root: &Path) -> Result<()> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1"])
        .current_dir(root)
        .stderr(Stdio::inherit())
        .output()
        .context("starting cargo metadata")?;
    ensure!(output.status.success(), "cargo metadata failed with {}", output.status);
    let metadata: Metadata = serde_json::from_slice(&output.stdout).context("parsing cargo metadata")?;
    let offences = offences(&metadata);
    if offences.is_empty() {
        return Ok(());
    }
    for offence in &offences {
        println!("{offence}");
    }
    bail!("{} dependencies are not in the table of xtask/src/deps.rs", offences.len());
}

fn offences(metadata: &Metadata) -> Vec<String> {
    let is_ours = |name: &str| metadata.packages.iter().any(|package| package.name == name);
    let mut offences = Vec::new();
    for package in &metadata.packages {
        let name = &package.name;
        let Some((_, allowed)) = ALLOWED.iter().find(|(known, _)| known == name) else {
            offences.push(format!("{name} is not in the table"));
            continue;
        };
        for dependency in package.dependencies.iter().filter(|dependency| is_ours(&dependency.name)) {
            let target = dependency.name.as_str();
            let kind = dependency.kind.as_deref().unwrap_or("normal");
            let fine = match (kind, allowed) {
                ("dev", _) => target != BINARY,
                (_, Allowed::All) => true,
                (_, Allowed::Only(targets)) => targets.contains(&target),
            };
            if !fine {
                offences.push(format!("{name} -> {target} ({kind})"));
            }
        }
    }
    offences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(arrows: &[(&str, &str, Option<&str>)]) -> Vec<String> {
        let mut packages: Vec<Package> = ALLOWED
            .iter()
            .map(|(name, _)| Package { name: (*name).to_owned(), dependencies: Vec::new() })
            .collect();
        for (from, to, kind) in arrows {
            let package = packages.iter_mut().find(|package| package.name == *from).unwrap();
            package.dependencies.push(Dependency { name: (*to).to_owned(), kind: kind.map(str::to_owned) });
        }
        offences(&Metadata { packages })
    }

    #[test]
    fn arrows_of_the_design_pass() {
        let arrows = [
            ("lambkin-wire", "lambkin-model", None),
            ("lambkin", "lambkin-engine", None),
            ("lambkin-core", "serde", None),
            ("lambkin-core", "lambkin-store", Some("dev")),
        ];
        assert_eq!(check(&arrows), Vec::<String>::new());
    }

    #[test]
    fn other_arrows_are_named() {
        let arrows = [
            ("lambkin-core", "lambkin-store", None),
            ("lambkin-services", "lambkin-engine", None),
            ("lambkin-model", "lambkin-core", Some("build")),
            ("lambkin-engine", "lambkin", Some("dev")),
        ];
        assert_eq!(
            check(&arrows),
            [
                "lambkin-model -> lambkin-core (build)",
                "lambkin-core -> lambkin-store (normal)",
                "lambkin-engine -> lambkin (dev)",
                "lambkin-services -> lambkin-engine (normal)",
            ]
        );
    }

    #[test]
    fn unknown_crates_are_named() {
        let metadata =
            Metadata { packages: vec![Package { name: "lambkin-new".to_owned(), dependencies: Vec::new() }] };
        assert_eq!(offences(&metadata), ["lambkin-new is not in the table"]);
    }
}
