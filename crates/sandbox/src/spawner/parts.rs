//! What a spawner takes of its host before it makes anything.

use std::fs::File;
use std::time::Duration;

use super::SpawnerConfig;
use crate::cgroup::{self, Place, dynmods, folder, mountinfo};
use crate::error::{Context, SandboxError};
use crate::identity::Identity;
use crate::seccomp::Filters;
use crate::sys::poll::Poller;

/// How long to wait for a predecessor that is still cleaning up.
const LOCK_PATIENCE: Duration = Duration::from_secs(10);

/// How long removing leftovers may take.
pub(super) const CLEAR_PATIENCE: Duration = Duration::from_secs(5);

/// What a server is made from.
pub(super) struct Parts {
    /// Where limits are kept.
    pub(super) place: Box<dyn Place>,
    /// Tells others that we live.
    pub(super) lock: File,
    /// Compiled seccomp filters.
    pub(super) filters: Filters,
    /// An empty one.
    pub(super) poller: Poller,
    /// Who sandboxes are.
    pub(super) identity: Identity,
    /// For the log.
    pub(super) notes: Vec<String>,
    /// What is weaker than it could be.
    pub(super) weaknesses: Vec<String>,
}

impl Parts {
    /// Looks at the host and takes what is needed of it.
    pub(super) fn new(config: &SpawnerConfig) -> Result<Parts, SandboxError> {
        config.check()?;
        let identity = Identity::assume(config)?;
        let first = cgroup::open_place(config)?;
        let lock = match first.folders().first() {
            Some(folder) => folder::lock(folder, LOCK_PATIENCE)?,
            None => return Err(SandboxError::Host("no cgroup folder".to_owned())),
        };
        // A predecessor that has just finished may have removed some of the folders.
        let place = cgroup::open_place(config)?;
        let cleared = place.clear(CLEAR_PATIENCE)?;
        let mut notes = identity.notes.clone();
        notes.push(place.describe());
        if place.limits() {
            let mounts = mountinfo::read().step("read mountinfo")?;
            notes.push(dynmods::favor(&mounts).to_string());
        }
        if cleared > 0 {
            notes.push(format!("{cleared} leftovers of a dead predecessor were cleared"));
        }
        let weaknesses = [place.weaknesses(), identity.weaknesses.clone()].concat();
        let poller = Poller::new().step("make poller")?;
        Ok(Parts { place, lock, filters: Filters::compile()?, poller, identity, notes, weaknesses })
    }
}
