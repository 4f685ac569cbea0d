//! `lambkin`: AWS Lambda on your own machines.

mod admin;
mod backup;
mod config;
mod credentials;
mod doctor;
mod egress;
mod endpoint;
mod identity;
mod internal;
mod keys;
mod serve;

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::backup::command::{BackupArguments, RestoreArguments};
use crate::config::{Layer, Settings, default_data_dir};
use crate::credentials::RootKey;
use crate::keys::command::KeysArguments;

/// AWS Lambda on your own machines: one binary, the real API, real sandboxes.
#[derive(Debug, Parser)]
#[command(version, propagate_version = true, disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server in the foreground
    #[command(
        after_help = "Flags win over LAMBKIN_... variables, these over the file, this over the defaults."
    )]
    Serve {
        #[command(flatten)]
        settings: Box<Layer>,
        /// TOML file with the same keys as the flags (see config/lambkin.toml)
        #[arg(long, env = "LAMBKIN_CONFIG", value_name = "FILE")]
        config: Option<PathBuf>,
    },
    /// Print the root key of a data folder as `export` lines, making both if missing
    Credentials {
        /// Folder that holds all state [default: ./lambkin-data]
        #[arg(long, env = "LAMBKIN_DATA_DIR", value_name = "DIR")]
        data_dir: Option<PathBuf>,
    },
    /// Make, list, disable and remove access keys, also while the server runs
    Keys(KeysArguments),
    /// Write the state of a running server, or of a data folder, to one file
    Backup(BackupArguments),
    /// Make a data folder from a backup
    Restore(RestoreArguments),
    /// Say what this host can do; exit status 0 if functions can run here in a sandbox, else 1
    Doctor,
}

fn main() -> ExitCode {
    // Sandboxes run under other uids and read files that the server and the spawner make; what is private lies
    // in folders that are so by their own mode.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    // The spawner of sandboxes is this same binary; it must start before there is any thread.
    lambkin_sandbox::run_spawner_if_asked();
    let result = match Cli::parse().command {
        Command::Serve { settings, config } => {
            Settings::resolve(*settings, config.as_deref()).and_then(serve::run)
        }
        Command::Credentials { data_dir } => credentials(data_dir),
        Command::Keys(arguments) => keys::command::run(arguments),
        Command::Backup(arguments) => backup::command::backup(arguments),
        Command::Restore(arguments) => backup::command::run_restore(arguments),
        Command::Doctor => doctor::run(),
    };
    match result {
        Ok(code) => code,
        Err(error) => {
            // Standard error may be closed; there is nobody left to tell then.
            let _ = writeln!(std::io::stderr(), "lambkin: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn credentials(data_dir: Option<PathBuf>) -> anyhow::Result<ExitCode> {
    let key = RootKey::open(&data_dir.unwrap_or_else(default_data_dir), None)?;
    std::io::stdout().write_all(key.export_lines().as_bytes())?;
    Ok(ExitCode::SUCCESS)
}
