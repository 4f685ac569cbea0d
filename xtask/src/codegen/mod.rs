//! `cargo xtask codegen`: Rust modules of AWS services from botocore's models.
//!
//! Per service of [`SERVICES`] it writes `crates/model/src/generated/<service>/`: `schema.rs` (the static
//! description that codecs and validation walk), `types.rs` (structs), `errors.rs` (constructors),
//! `values.rs` (constants of enum values) and `service.rs` (the trait and its dispatch). Documentation
//! texts stay out. The output depends on nothing but the table, the model and rustfmt.

mod errors;
pub(crate) mod load;
mod names;
mod schema;
mod service;
mod shapes;
mod types;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail, ensure};

use load::BOTOCORE_VERSION;
use shapes::Source;

/// A service to generate.
#[derive(Debug)]
pub(crate) struct ServiceEntry {
    /// botocore's folder, also the service's name in Lambkin.
    name: &'static str,
    /// Folder of the API version.
    version: &'static str,
    /// Name of the Rust module.
    module: &'static str,
    /// Name of the Rust trait.
    trait_name: &'static str,
    /// Operations that get types and a trait method; the others stay in the schema only and answer
    /// "not implemented". `None` means all.
    operations: Option<&'static [&'static str]>,
}

/// Every generated service, sorted by module.
const SERVICES: &[ServiceEntry] = &[
    ServiceEntry { operations: Some(IAM_OPERATIONS), ..entry("iam", "2010-05-08", "iam", "Iam") },
    entry("lambda", "2015-03-31", "lambda", "Lambda"),
    entry("logs", "2014-03-28", "logs", "Logs"),
    entry("sts", "2011-06-15", "sts", "Sts"),
];

/// Roles and managed policies; users, groups, identity providers and reports are not here.
const IAM_OPERATIONS: &[&str] = &[
    "AttachRolePolicy",
    "CreatePolicy",
    "CreatePolicyVersion",
    "CreateRole",
    "DeletePolicy",
    "DeletePolicyVersion",
    "DeleteRole",
    "DeleteRolePermissionsBoundary",
    "DeleteRolePolicy",
    "DetachRolePolicy",
    "GetAccountSummary",
    "GetPolicy",
    "GetPolicyVersion",
    "GetRole",
    "GetRolePolicy",
    "ListAccountAliases",
    "ListAttachedRolePolicies",
    "ListEntitiesForPolicy",
    "ListInstanceProfilesForRole",
    "ListPolicies",
    "ListPolicyTags",
    "ListPolicyVersions",
    "ListRolePolicies",
    "ListRoleTags",
    "ListRoles",
    "PutRolePermissionsBoundary",
    "PutRolePolicy",
    "SetDefaultPolicyVersion",
    "TagPolicy",
    "TagRole",
    "UntagPolicy",
    "UntagRole",
    "UpdateAssumeRolePolicy",
    "UpdateRole",
    "UpdateRoleDescription",
];

/// API version of a service that is generated.
pub(crate) fn version_of(name: &str) -> Option<&'static str> {
    SERVICES.iter().find(|entry| entry.name == name).map(|entry| entry.version)
}

const fn entry(
    name: &'static str,
    version: &'static str,
    module: &'static str,
    trait_name: &'static str,
) -> ServiceEntry {
    ServiceEntry { name, version, module, trait_name, operations: None }
}

/// Folder of the generated files below the workspace root.
const TARGET: &str = "crates/model/src/generated";

/// Writes the generated files or, with `check`, lists the stale ones and fails.
pub(crate) fn run(root: &Path, botocore: Option<&Path>, check: bool) -> Result<()> {
    let botocore = load::find_botocore(root, botocore)?;
    let target = root.join(TARGET);
    let mut wanted = BTreeMap::new();
    wanted.insert(target.join("mod.rs"), format_rust(root, &root_module())?);
    for entry in SERVICES {
        let files = generate(entry, &botocore).with_context(|| format!("generating {}", entry.name))?;
        for (file, text) in files {
            let path = target.join(entry.module).join(file);
            let text = format_rust(root, &text).with_context(|| format!("formatting {}", path.display()))?;
            wanted.insert(path, text);
        }
    }

    let leftover: BTreeSet<PathBuf> =
        existing(&target)?.into_iter().filter(|path| !wanted.contains_key(path)).collect();
    let stale: Vec<&PathBuf> = wanted
        .iter()
        .filter(|(path, text)| fs::read(path).ok().as_deref() != Some(text.as_bytes()))
        .map(|(path, _)| path)
        .collect();
    if check {
        if stale.is_empty() && leftover.is_empty() {
            return Ok(());
        }
        for path in stale.into_iter().chain(&leftover) {
            println!("{}", path.strip_prefix(root).unwrap_or(path).display());
        }
        bail!("the files above are stale; run `cargo xtask codegen`");
    }
    for path in stale {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(|| format!("creating {}", folder.display()))?;
        }
        let text = wanted.get(path).map_or("", String::as_str);
        fs::write(path, text).with_context(|| format!("writing {}", path.display()))?;
        println!("wrote {}", path.strip_prefix(root).unwrap_or(path).display());
    }
    for path in &leftover {
        fs::remove_file(path).with_context(|| format!("removing {}", path.display()))?;
        println!("removed {}", path.strip_prefix(root).unwrap_or(path).display());
    }
    Ok(())
}

fn generate(entry: &ServiceEntry, botocore: &Path) -> Result<Vec<(&'static str, String)>> {
    let model = load::read_model(botocore, entry.name, entry.version)?;
    let source = Source::new(entry, &model)?;
    Ok(vec![
        ("mod.rs", service_module(&source)),
        ("schema.rs", header() + &schema::render(&source)?),
        ("types.rs", header() + &types::render(&source)?),
        ("errors.rs", header() + &errors::render_errors(&source)),
        ("values.rs", header() + &errors::render_values(&source)),
        ("service.rs", header() + &service::render(&source)?),
    ])
}

fn header() -> String {
    format!(
        "// @generated by cargo xtask codegen from botocore {BOTOCORE_VERSION}; do not edit. See NOTICE.\n\n"
    )
}

fn root_module() -> String {
    let modules: String = SERVICES.iter().map(|entry| format!("pub mod {};\n", entry.module)).collect();
    header() + "#![allow(missing_docs)] // the model's texts are not copied\n\n" + &modules
}

fn service_module(source: &Source<'_>) -> String {
    let trait_name = source.entry.trait_name;
    header()
        + "pub mod errors;\nmod schema;\nmod service;\nmod types;\npub mod values;\n\n\
           pub use schema::SERVICE;\n"
        + &format!("pub use service::{{Handler, {trait_name}}};\npub use types::*;\n")
}

/// All files in the target folder, two levels deep.
fn existing(target: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    let mut folders = vec![target.to_owned()];
    while let Some(folder) = folders.pop() {
        if !folder.is_dir() {
            continue;
        }
        for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
            let path = entry?.path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    Ok(files)
}

/// Runs rustfmt with the workspace's settings.
fn format_rust(root: &Path, text: &str) -> Result<String> {
    let mut child = Command::new("rustfmt")
        .args(["--edition", "2024", "--emit", "stdout", "--config-path"])
        .arg(root.join("rustfmt.toml"))
        .current_dir(root)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting rustfmt")?;
    let mut stdin = child.stdin.take().context("rustfmt has no stdin")?;
    let input = text.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().context("waiting for rustfmt")?;
    let written = writer.join();
    ensure!(output.status.success(), "rustfmt failed with {}", output.status);
    ensure!(matches!(written, Ok(Ok(()))), "rustfmt did not read all its input");
    String::from_utf8(output.stdout).context("rustfmt's output is not UTF-8")
}
