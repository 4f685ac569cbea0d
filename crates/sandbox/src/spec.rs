//! What a sandbox is made from and what it reports.

use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::net::NetworkSpec;

/// A sandbox to be made.
///
/// With [`crate::Isolation::Process`] nothing is bound anywhere: paths in `command`, `environment` and
/// `working_dir` that lie below a bind's target, an overlay's or `/tmp` are rewritten to where that is on the
/// host, `files` and `symlinks` are left out, and `listen_ports` are on another loopback address, which
/// replaces `127.0.0.1:<port>` and `localhost:<port>` in these texts. `TMPDIR` is set unless it is given.
#[derive(Clone, Serialize, Deserialize)]
pub struct SandboxSpec {
    /// Unique name among the live sandboxes, `[a-z0-9-]`, at most 64 characters; names its cgroups.
    pub id: String,
    /// Program and arguments; the program is a path inside the sandbox.
    pub command: Vec<String>,
    /// The whole environment of the program, as `(name, value)`. The values may be secrets.
    pub environment: Vec<(String, String)>,
    /// Working directory inside the sandbox.
    pub working_dir: String,
    /// Host folders and files to be seen read-only inside; targets are made as needed. Later entries may
    /// lie over earlier ones.
    pub binds: Vec<BindMount>,
    /// Symbolic links to make in the root, as `(link, target)`, e.g. `("/lib", "usr/lib")`.
    pub symlinks: Vec<(String, String)>,
    /// Small files to make in the root, as `(path, content)`, e.g. `/etc/passwd`.
    pub files: Vec<(String, String)>,
    /// Host folders merged read-only (later ones win) at a path, e.g. layers under `/opt`.
    pub overlays: Vec<(String, Vec<PathBuf>)>,
    /// Memory for processes, in bytes. What lies in `/tmp` does not count against it.
    pub memory_bytes: u64,
    /// Size of `/tmp` in bytes.
    pub tmp_bytes: u64,
    /// Most processes and threads at once.
    pub pids_max: u32,
    /// Most open files of a process (soft and hard).
    pub open_files_max: u64,
    /// CPU time per 20 ms period in microseconds; `None` is unthrottled (the state during INIT).
    pub cpu_quota_us: Option<u32>,
    /// TCP ports on 127.0.0.1 of the sandbox whose listeners are handed to the caller.
    pub listen_ports: Vec<u16>,
    /// Beyond its loopback interface.
    pub network: NetworkSpec,
    /// Whether the program gets fd 3, one end of a Unix stream socket pair whose other end the caller gets
    /// ([`crate::Sandbox::take_channel`]), and fd 4, one end of a `SOCK_SEQPACKET` pair
    /// ([`crate::Sandbox::take_telemetry`]).
    pub channel: bool,
    /// The zygote ([`crate::Spawner::keep_zygote`]) that the program is to be forked from, if that is ready;
    /// `command` is executed where it is not. The zygote must have been made with the same command, binds,
    /// symlinks and files, and with the same values of the variables that count when its program starts.
    pub zygote: Option<String>,
    /// Programs that run beside the program and write to the same output. Where there are any, the program
    /// waits for [`crate::Sandbox::start_program`]. Those that still run when it ends go on until the sandbox is
    /// killed.
    pub helpers: Vec<Helper>,
}

/// A program that runs beside that of a sandbox.
#[derive(Clone, Serialize, Deserialize)]
pub struct Helper {
    /// Program and arguments, as those of a [`SandboxSpec`].
    pub command: Vec<String>,
    /// Its whole environment. The values may be secrets.
    pub environment: Vec<(String, String)>,
}

/// Shows no value of the environment.
impl fmt::Debug for Helper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Helper").field("command", &self.command).finish_non_exhaustive()
    }
}

impl SandboxSpec {
    /// Overwrites the values of the environment, for memory that other processes will have a copy of.
    pub(crate) fn wipe(&mut self) {
        let helpers = self.helpers.iter_mut().flat_map(|helper| &mut helper.environment);
        for (_, value) in self.environment.iter_mut().chain(helpers) {
            let mut bytes = std::mem::take(value).into_bytes();
            bytes.fill(0);
            std::hint::black_box(&bytes);
        }
    }
}

/// Shows no value of the environment.
impl fmt::Debug for SandboxSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = self.environment.iter().map(|(name, _)| name.as_str()).collect();
        f.debug_struct("SandboxSpec")
            .field("id", &self.id)
            .field("command", &self.command)
            .field("environment", &names)
            .field("memory_bytes", &self.memory_bytes)
            .field("listen_ports", &self.listen_ports)
            .finish_non_exhaustive()
    }
}

/// A read-only bind mount (`nosuid`, `nodev`).
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct BindMount {
    /// Path on the host.
    pub source: PathBuf,
    /// Path inside the sandbox.
    pub target: String,
    /// Skip silently where the source does not exist.
    pub optional: bool,
}

/// How a sandbox's program came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Origin {
    /// Its command was executed.
    Executed,
    /// It is a fork of a zygote.
    Forked,
    /// It was to be a fork, but its command was executed, for this reason.
    FellBack(String),
}

/// A zygote that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZygoteStatus {
    /// Its name.
    pub name: String,
    /// Its process, once it can be forked.
    pub pid: Option<i32>,
    /// How many processes under this name have been ready.
    pub generations: u64,
    /// How many of these were lost: they ended, and nobody had asked them to.
    pub losses: u64,
    /// How the last of these ended, with what it wrote.
    pub last_loss: Option<String>,
}

/// How a sandbox's program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ExitStatus {
    /// It called `exit`.
    Code(i32),
    /// A signal ended it.
    Signal(i32),
    /// It was killed because its memory limit was reached.
    OutOfMemory,
    /// The program could not be executed: errno of the failed step (`ENOENT`, `EACCES` ...).
    ExecFailed(i32),
}

/// Resources a sandbox has used so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Highest memory use since the sandbox was made, in bytes, without `/tmp`.
    pub max_memory_bytes: u64,
    /// Memory in use now, in bytes.
    pub memory_bytes: u64,
    /// CPU time in microseconds.
    pub cpu_us: u64,
}
