//! Commands to a running server by `admin.sock` in its data folder, or to a data folder that no server uses.

mod client;
mod server;
mod socket;
mod stream;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use jiff::Timestamp;
use lambkin_core::{Clock, SystemClock};
use lambkin_store::{OpenError, Snapshot, SqliteStore};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::backup::{self, BackupError};
use crate::credentials::RootKey;
use crate::keys::{KeyError, KeyRing};

pub(crate) use self::server::serve;
pub(crate) use self::socket::AdminSocket;

/// How long to wait for a server that holds the folder and does not answer yet: it is starting or stopping.
const PATIENCE: Duration = Duration::from_secs(10);

/// What can be asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(tag = "command", rename_all = "kebab-case", deny_unknown_fields)]
pub(crate) enum Command {
    /// Answers a `NewKey`.
    AddKey {
        /// That of the root key if `None`.
        account: Option<String>,
        /// What it is for.
        description: Option<String>,
    },
    /// Answers a list of `KeyView`.
    ListKeys,
    /// Answers nothing.
    RemoveKey {
        /// Which.
        access_key_id: String,
    },
    /// Answers nothing.
    EnableKey {
        /// Which.
        access_key_id: String,
        /// Enable, or disable.
        enabled: bool,
    },
    /// Answers a `NewKey`.
    RotateRootKey,
}

/// What the commands work on.
pub(crate) struct Admin {
    pub(crate) keys: Arc<KeyRing>,
    pub(crate) store: SqliteStore,
    pub(crate) data_dir: PathBuf,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Admin {
    /// Opens a data folder that no server uses, and locks it.
    async fn open(data_dir: &Path) -> anyhow::Result<Result<Self, OpenError>> {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::default());
        let store = match lambkin_store::open(data_dir, &lambkin_store::Options::new(Arc::clone(&clock))) {
            Ok(store) => store,
            Err(error) => return Ok(Err(error)),
        };
        let root = RootKey::open(data_dir, None)?;
        let keys = KeyRing::open(data_dir, root, store.metadata.clone(), Arc::clone(&clock)).await?;
        Ok(Ok(Self { keys: Arc::new(keys), store, data_dir: data_dir.to_owned(), clock }))
    }

    /// Freezes the state of a backup.
    async fn snapshot(&self, logs: bool) -> Result<Snapshot, BackupError> {
        Ok(self.store.snapshot(logs).await?)
    }

    /// Writes a backup. Blocks.
    fn write_backup(&self, snapshot: Snapshot, logs: bool, out: &mut dyn Write) -> Result<(), BackupError> {
        let seconds = i64::try_from(self.clock.now().as_secs()).unwrap_or(i64::MAX);
        let now = Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX);
        backup::write(snapshot, &self.data_dir, logs, now, out)
    }

    async fn execute(&self, command: Command) -> Result<Value, CommandError> {
        let keys = &self.keys;
        Ok(match command {
            Command::AddKey { account, description } => {
                serde_json::to_value(keys.add(account, description).await?)?
            }
            Command::ListKeys => serde_json::to_value(keys.list())?,
            Command::RemoveKey { access_key_id } => {
                keys.remove(&access_key_id).await?;
                Value::Null
            }
            Command::EnableKey { access_key_id, enabled } => {
                keys.set_enabled(&access_key_id, enabled).await?;
                Value::Null
            }
            Command::RotateRootKey => serde_json::to_value(keys.rotate_root().await?)?,
        })
    }
}

/// Why a command is refused or failed.
#[derive(Debug, thiserror::Error)]
enum CommandError {
    /// It is about keys.
    #[error(transparent)]
    Keys(#[from] KeyError),
    /// The answer can't be written as JSON.
    #[error("answer: {0}")]
    Answer(#[from] serde_json::Error),
}

/// Who does what is asked.
pub(crate) enum Target {
    /// A running server.
    Server(tokio::net::UnixStream),
    /// The data folder itself.
    Folder(Admin),
}

impl Target {
    /// Finds the running server of a data folder, or opens the folder if there is none.
    pub(crate) async fn find(data_dir: &Path) -> anyhow::Result<Self> {
        ensure!(
            data_dir.is_dir(),
            "there is no data folder {}: start the server once, or say --data-dir",
            data_dir.display()
        );
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(stream) = socket::connect(data_dir)
                .await
                .with_context(|| format!("connect to the server of {}", data_dir.display()))?
            {
                return Ok(Self::Server(stream));
            }
            match Admin::open(data_dir).await? {
                Ok(admin) => return Ok(Self::Folder(admin)),
                Err(OpenError::Locked { .. }) if Instant::now() < deadline => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Runs a command to its end.
pub(crate) fn run<T: DeserializeOwned>(data_dir: &Path, command: Command) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let answer = runtime.block_on(async {
        match Target::find(data_dir).await? {
            Target::Server(stream) => client::command(stream, &command).await,
            Target::Folder(admin) => Ok(admin.execute(command).await?),
        }
    })?;
    Ok(serde_json::from_value(answer)?)
}

/// Writes a backup of a data folder to `out`, whole or with an error.
pub(crate) fn backup(data_dir: &Path, logs: bool, out: &mut dyn Write) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        match Target::find(data_dir).await? {
            Target::Server(stream) => client::backup(stream, logs, out).await,
            Target::Folder(admin) => {
                let snapshot = admin.snapshot(logs).await?;
                Ok(admin.write_backup(snapshot, logs, out)?)
            }
        }
    })
}
