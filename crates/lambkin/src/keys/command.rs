//! `lambkin keys`.

use std::io::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};

use super::{KeyView, NewKey, Status};
use crate::admin::{self, Command};
use crate::config::default_data_dir;
use crate::credentials::export_lines;

/// Arguments of `lambkin keys`.
#[derive(Debug, Args)]
pub(crate) struct KeysArguments {
    /// Folder that holds all state [default: ./lambkin-data]
    #[arg(long, env = "LAMBKIN_DATA_DIR", value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Make a key and print it as `export` lines; its secret is not shown again
    Add {
        /// Account that the key belongs to [default: that of the root key]
        #[arg(long, value_name = "12 DIGITS")]
        account: Option<String>,
        /// What the key is for
        #[arg(long, value_name = "TEXT")]
        description: Option<String>,
    },
    /// List all keys, without their secrets
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Remove a key for good
    Remove { access_key_id: String },
    /// Refuse a key until it is enabled
    Disable { access_key_id: String },
    /// Accept a disabled key again
    Enable { access_key_id: String },
    /// Replace the root key and print the new one; the old one is refused at once
    RotateRoot,
}

/// Runs the command on the running server, or on the data folder if there is none.
pub(crate) fn run(arguments: KeysArguments) -> anyhow::Result<ExitCode> {
    let data_dir = arguments.data_dir.unwrap_or_else(default_data_dir);
    let text = match arguments.action {
        Action::Add { account, description } => {
            let key: NewKey = admin::run(&data_dir, Command::AddKey { account, description })?;
            export_lines(&key.access_key_id, &key.secret_access_key)
        }
        Action::RotateRoot => {
            let key: NewKey = admin::run(&data_dir, Command::RotateRootKey)?;
            export_lines(&key.access_key_id, &key.secret_access_key)
        }
        Action::List { json } => {
            let keys: Vec<KeyView> = admin::run(&data_dir, Command::ListKeys)?;
            if json { format!("{}\n", serde_json::to_string_pretty(&keys)?) } else { table(&keys) }
        }
        Action::Remove { access_key_id } => done(&data_dir, Command::RemoveKey { access_key_id })?,
        Action::Disable { access_key_id } => {
            done(&data_dir, Command::EnableKey { access_key_id, enabled: false })?
        }
        Action::Enable { access_key_id } => {
            done(&data_dir, Command::EnableKey { access_key_id, enabled: true })?
        }
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

fn done(data_dir: &std::path::Path, command: Command) -> anyhow::Result<String> {
    admin::run::<()>(data_dir, command)?;
    Ok(String::new())
}

fn table(keys: &[KeyView]) -> String {
    let row = |id: &str, account: &str, status: &str, created: &str, text: &str| {
        let line = format!("{id:<20}  {account:<12}  {status:<10}  {created:<20}  {text}");
        format!("{}\n", line.trim_end())
    };
    let mut text = row("ACCESS KEY ID", "ACCOUNT", "STATUS", "CREATED", "DESCRIPTION");
    for key in keys {
        let status = match key.status {
            Status::Root => "root",
            Status::Enabled => "enabled",
            Status::Disabled => "disabled",
            Status::Unreadable => "unreadable",
        };
        text += &row(
            &key.access_key_id,
            &key.account,
            status,
            key.created.as_deref().unwrap_or("-"),
            key.description.as_deref().unwrap_or_default(),
        );
    }
    text
}
