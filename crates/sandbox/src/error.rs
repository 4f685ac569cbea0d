//! What can go wrong in making a sandbox.

use std::io;

use serde::{Deserialize, Serialize};

use crate::sys;

/// Why the spawner could not be started, or a sandbox not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SandboxError {
    /// A step failed in the kernel.
    #[error("{step}{}{path}: {}", if path.is_empty() { "" } else { " " }, io::Error::from_raw_os_error(*errno))]
    Step {
        /// What was being done, e.g. `mount overlay`.
        step: String,
        /// The file, mount target or name concerned; empty if there is none.
        path: String,
        /// The kernel's error number.
        errno: i32,
    },
    /// The spec breaks a rule of [`crate::SandboxSpec`].
    #[error("invalid sandbox spec: {0}")]
    Spec(String),
    /// This host lacks something that sandboxes need; see [`crate::host::probe`].
    #[error("this host cannot run sandboxes: {0}")]
    Host(String),
    /// All user ids of [`crate::SpawnerConfig`] belong to live sandboxes.
    #[error("all {0} user ids are in use by live sandboxes")]
    NoFreeUid(u32),
    /// All addresses of the pool belong to sandboxes that are alive or just ending.
    #[error("all of the pool's {0} addresses are in use by sandboxes")]
    NoFreeAddress(u64),
    /// Sandboxes can have no [`crate::Uplink`] on this host.
    #[error("sandboxes have no way to the network here: {0}")]
    NoNetwork(String),
    /// The spawner process ended before it answered. The next `create` starts a new one.
    #[error("the spawner process was lost")]
    SpawnerLost,
    /// [`crate::Spawner::shutdown`] was called.
    #[error("the spawner has been shut down")]
    ShutDown,
}

impl SandboxError {
    /// An error of a step that has no path.
    pub(crate) fn step(step: &str, error: &io::Error) -> SandboxError {
        SandboxError::at(step, "", error)
    }

    /// An error of a step on a path.
    pub(crate) fn at(step: &str, path: &str, error: &io::Error) -> SandboxError {
        SandboxError::Step { step: step.to_owned(), path: path.to_owned(), errno: sys::errno(error) }
    }
}

/// Names the step in which an [`io::Error`] happened.
pub(crate) trait Context<T> {
    /// Adds the step.
    fn step(self, step: &str) -> Result<T, SandboxError>;
    /// Adds the step and the path.
    fn at(self, step: &str, path: &str) -> Result<T, SandboxError>;
}

impl<T> Context<T> for io::Result<T> {
    fn step(self, step: &str) -> Result<T, SandboxError> {
        self.map_err(|error| SandboxError::step(step, &error))
    }

    fn at(self, step: &str, path: &str) -> Result<T, SandboxError> {
        self.map_err(|error| SandboxError::at(step, path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let error = io::Error::from_raw_os_error(libc::ENOENT);
        assert_eq!(
            SandboxError::at("bind", "/x", &error).to_string(),
            "bind /x: No such file or directory (os error 2)"
        );
        assert_eq!(
            SandboxError::step("start init", &error).to_string(),
            "start init: No such file or directory (os error 2)"
        );
    }
}
