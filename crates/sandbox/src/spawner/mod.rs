//! The spawner: a process of its own that makes and takes down sandboxes ([`serve`], [`live`]), and the
//! server's handle to it ([`handle`], [`link`]).

mod check;
mod handle;
mod link;
mod live;
mod parts;
mod serve;
mod slots;
mod strays;
mod token;
mod zygotes;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::SandboxError;
use crate::isolation::Isolation;
use crate::net::NetworkConfig;

pub use handle::{Spawner, Stats};
pub(crate) use link::Link;

/// First argument of a process that is to be a spawner.
pub const SPAWNER_ARG: &str = "sandbox-spawner";

/// How a spawner works.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SpawnerConfig {
    /// Names the cgroup folders `lambkin-<instance>`; `[a-z0-9-]`, at most 64 characters. Should be the same
    /// for every server on one data folder, so that a new one finds and clears what a killed one left; two
    /// live spawners cannot have the same.
    pub instance: String,
    /// How sandboxes are made.
    pub isolation: Isolation,
    /// A folder for the spawner alone, made if missing (its parent must be there). Used where there are no
    /// cgroups: its lock then tells live spawners from dead ones, and plain processes have their files in it.
    pub work_dir: PathBuf,
    /// First user id for sandboxes that root makes. Nobody else may use the range.
    pub uid_base: u32,
    /// How many user ids there are: the most sandboxes at once.
    pub uid_count: u32,
    /// How sandboxes with an [`crate::Uplink`] reach the outside; without, none can have one.
    pub network: Option<NetworkConfig>,
}

impl SpawnerConfig {
    /// User ids from 200000 on, 8192 of them.
    #[must_use]
    pub fn new(instance: &str, work_dir: &Path, isolation: Isolation) -> SpawnerConfig {
        let (instance, work_dir) = (instance.to_owned(), work_dir.to_owned());
        SpawnerConfig { instance, isolation, work_dir, uid_base: 200_000, uid_count: 8192, network: None }
    }

    fn check(&self) -> Result<(), SandboxError> {
        if !check::is_name(&self.instance) {
            return Err(SandboxError::Host(format!("instance name {:?} is not [a-z0-9-]+", self.instance)));
        }
        let last = self.uid_base.checked_add(self.uid_count);
        // The last id of all means "unchanged" to the kernel.
        if self.uid_base == 0 || self.uid_count == 0 || last.is_none_or(|last| last == u32::MAX) {
            return Err(SandboxError::Host(format!(
                "user ids {} + {} are not a usable range",
                self.uid_base, self.uid_count
            )));
        }
        Ok(())
    }
}

/// To be called first thing in `main`, before any thread: if this process was started as a spawner
/// (its first argument is [`SPAWNER_ARG`]), runs it and never returns.
pub fn run_spawner_if_asked() {
    if std::env::args_os().nth(1).is_some_and(|argument| argument == SPAWNER_ARG) {
        serve::run();
    }
}

/// The program that is executed as spawner if the caller names none.
fn own_executable() -> PathBuf {
    PathBuf::from("/proc/self/exe")
}
