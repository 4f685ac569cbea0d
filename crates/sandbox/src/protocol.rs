//! Messages between server, spawner and the sandboxes' inits: JSON, one per `SOCK_SEQPACKET` message,
//! with descriptors beside it.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::cgroup::ControlKind;
use crate::error::SandboxError;
use crate::members::MembersKind;
use crate::net::LoopbackSocket;
use crate::spawner::SpawnerConfig;
use crate::spec::{ExitStatus, Origin, SandboxSpec, Usage};
use crate::sys::socket;

/// Longest message. Specs are a few kilobytes.
pub(crate) const MAX_MESSAGE: usize = 192 * 1024;

/// Server to spawner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first message.
    Configure(SpawnerConfig),
    /// Make a sandbox. Descriptors: output; with `spec.channel` also channel and telemetry; with helpers also
    /// the gate, at which the program waits for one byte.
    Create {
        /// Number of the sandbox; never used twice by one server.
        key: u64,
        /// What to make.
        spec: Box<SandboxSpec>,
    },
    /// Keep a zygote under a name.
    KeepZygote {
        /// The name.
        name: String,
        /// What to execute, and where.
        spec: Box<SandboxSpec>,
    },
    /// Let it end.
    EndZygote {
        /// The name.
        name: String,
    },
    /// End this sandbox, which the server cannot do: it had no room for its descriptors.
    End {
        /// Number of the sandbox.
        key: u64,
    },
    /// End all sandboxes, remove everything, say [`Reply::Bye`], exit.
    Shutdown,
}

/// Spawner to server.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// Answer to `Configure`: ready, with remarks for the log.
    Ready {
        /// What is used of this host.
        notes: Vec<String>,
        /// What is weaker than it could be on another host, or with other rights.
        weaknesses: Vec<String>,
    },
    /// Answer to `Configure`: impossible; the spawner exits.
    Unable(SandboxError),
    /// The sandbox runs. One descriptor for each of the parts.
    Created {
        /// Number of the sandbox.
        key: u64,
        /// What the descriptors are.
        parts: Vec<Part>,
        /// Of a sandbox with an uplink: the nf_tables table and the number of its interface on the host.
        link: Option<(String, u32)>,
        /// Where its program comes from.
        origin: Origin,
    },
    /// Something has happened to a zygote.
    Zygote {
        /// Its name.
        name: String,
        /// What.
        event: ZygoteEvent,
    },
    /// Follows `Ready` if the configuration asks for a network: what is used, or why there can be none.
    Network(Result<String, SandboxError>),
    /// The sandbox could not be made.
    Failed {
        /// Number of the sandbox.
        key: u64,
        /// Why.
        error: SandboxError,
        /// Whether [`Reply::Gone`] follows, because something had been made already.
        gone_follows: bool,
    },
    /// A helper has ended.
    HelperEnded {
        /// Number of the sandbox.
        key: u64,
        /// Which of the spec's.
        number: usize,
        /// How it ended.
        status: ExitStatus,
    },
    /// The program has ended; what is left of the sandbox is being taken down.
    Ended {
        /// Number of the sandbox.
        key: u64,
        /// How it ended.
        status: ExitStatus,
        /// What it used.
        usage: Usage,
    },
    /// Nothing is left of the sandbox.
    Gone {
        /// Number of the sandbox.
        key: u64,
    },
    /// Answer to `Shutdown`.
    Bye,
}

/// What happens to a zygote.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum ZygoteEvent {
    /// This process is ready to be forked.
    Ready {
        /// Its process id.
        pid: i32,
    },
    /// The process has ended, and nobody had asked it to. Another one follows, sooner or later.
    Lost {
        /// How, and what it said.
        reason: String,
    },
}

/// What a descriptor of a sandbox is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Part {
    /// The process descriptor of its init.
    Init,
    /// The process descriptor of its program.
    Program,
    /// Its `/tmp`, where that is a file system of its own.
    Tmp,
    /// A control file of its cgroup.
    Control(ControlKind),
    /// Where its processes are listed, if it has no cgroup.
    Members(MembersKind),
    /// The listener on this port.
    Listener(u16),
    /// A socket on loopback.
    Socket(LoopbackSocket),
}

/// Init (pid 1 of a sandbox) to spawner.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum InitMessage {
    /// Asks to have the user namespace's maps written; answered with one byte.
    MapUsers,
    /// The program has been started. One descriptor for each of the parts.
    Started {
        /// What the descriptors are.
        parts: Vec<Part>,
        /// Number of its interface on the host, if it has an uplink.
        link: Option<u32>,
        /// Where it comes from.
        origin: Origin,
    },
    /// A step failed; init exits.
    Failed(SandboxError),
    /// `execve` failed with this errno; init exits.
    ExecFailed(i32),
    /// A helper (its number in the spec) ended with this `waitpid` status.
    HelperExited(usize, i32),
    /// The program ended with this `waitpid` status; init exits.
    Exited(i32),
}

/// Sends a message with descriptors.
pub(crate) fn send<M: Serialize>(
    socket: BorrowedFd<'_>,
    message: &M,
    fds: &[BorrowedFd<'_>],
) -> io::Result<()> {
    let data = serde_json::to_vec(message).map_err(io::Error::other)?;
    if data.len() > MAX_MESSAGE {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    socket::send(socket, &data, fds)
}

/// The next message on a socket with its descriptors; `None` when the other side has closed. Descriptors for which
/// this process has no room are missing, the last ones first.
///
/// # Errors
/// `WouldBlock` when there is none and `wait` is not set.
pub(crate) fn receive<M: DeserializeOwned>(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    wait: bool,
) -> io::Result<Option<(M, Vec<OwnedFd>)>> {
    let (length, fds) = match socket::receive(socket, buffer, wait) {
        Err(error) if error.raw_os_error() == Some(libc::ECONNRESET) => return Ok(None),
        other => other?,
    };
    if length == 0 {
        return Ok(None);
    }
    let message =
        serde_json::from_slice(buffer.get(..length).unwrap_or_default()).map_err(io::Error::other)?;
    Ok(Some((message, fds)))
}
