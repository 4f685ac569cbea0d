//! Chores of the repository, run as `cargo xtask <command>`.
#![expect(clippy::print_stdout, reason = "a command line tool answers on stdout")]

mod codegen;
mod deps;
mod dist;
mod docs;

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use clap::{Parser, Subcommand};

/// Chores of the Lambkin repository.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Chore,
}

#[derive(Debug, Subcommand)]
enum Chore {
    /// Generate crates/model/src/generated from botocore's models.
    Codegen {
        /// Package folder of botocore 1.44.5; by default that in tests/e2e/.venv.
        #[arg(long, value_name = "DIR")]
        botocore: Option<PathBuf>,
        /// Write nothing; list stale files and exit 1 if there are any.
        #[arg(long)]
        check: bool,
    },
    /// Check that the workspace's crates depend on each other only as the design says.
    CheckDeps,
    /// Write docs/reference/operations.md from its table and botocore's models.
    Docs {
        /// Package folder of botocore 1.44.5; by default that in tests/e2e/.venv.
        #[arg(long, value_name = "DIR")]
        botocore: Option<PathBuf>,
        /// Write nothing; exit 1 if the page is stale.
        #[arg(long)]
        check: bool,
    },
    /// Make the packages for users in target/dist: a tar file, a Debian package, checksums.
    Dist {
        /// Pack this program instead of building one for release, e.g. to test packaging.
        #[arg(long, value_name = "FILE")]
        binary: Option<PathBuf>,
    },
}

fn main() -> Result<()> {
    let root = workspace_root()?;
    match Arguments::parse().command {
        Chore::Codegen { botocore, check } => codegen::run(&root, botocore.as_deref(), check),
        Chore::CheckDeps => deps::run(&root),
        Chore::Docs { botocore, check } => docs::run(&root, botocore.as_deref(), check),
        Chore::Dist { binary } => dist::run(&root, binary.as_deref()),
    }
}

/// The folder above xtask's own, as cargo knew it when it built this program.
fn workspace_root() -> Result<PathBuf> {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().map(Path::to_owned).context("xtask has no parent folder")
}
