//! Getting the program from a zygote: init's side.
//!
//! Init asks for a fork before it does anything else, so that the two go on side by side, and tells the fork
//! what to become when all is there for it. Where anything goes wrong before the fork has said that it is the
//! program, init executes the command itself.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::{INNER_GID, INNER_UID, Input, Kept, OOM_SCORE, PARKED_FDS, Ready, UMASK, limits, process_limit};
use crate::error::{Context, SandboxError};
use crate::sys::poll::{Interest, Poller};
use crate::sys::{self, socket};

/// How long init waits for a fork, from when it asked. Executing takes a tenth of that; but where many are
/// started at once it takes longer too.
const PATIENCE: Duration = Duration::from_millis(300);

/// Says that the zygote did not answer within [`PATIENCE`].
pub(crate) const SILENT: &str = "the zygote did not answer in time";

/// How long a fork may take to become the program.
const ENTRY_PATIENCE: Duration = Duration::from_secs(2);

/// Namespaces of the sandbox, in the order in which the fork enters them.
const NAMESPACES: [&str; 6] = ["mnt", "net", "ipc", "uts", "cgroup", "user"];

/// A zygote as an init can reach it.
#[derive(Debug)]
pub(crate) struct Way<'a> {
    /// Takes requests.
    pub(crate) socket: BorrowedFd<'a>,
    /// Writing `0` into each puts a process into the sandbox's cgroups.
    pub(crate) cgroup_entries: &'a [File],
}

/// A fork that has been asked for.
#[derive(Debug)]
pub(super) struct Fork {
    /// The other end is the fork's.
    pub(super) connection: OwnedFd,
    deadline: Instant,
}

/// What the fork is to become. Its descriptors come with it: the namespaces, the null device, the output, and
/// with channels also these.
#[derive(Serialize)]
struct Order<'a> {
    environment: &'a [(String, String)],
    working_dir: &'a str,
    uid: u32,
    gid: u32,
    clears_groups: bool,
    /// Number of a resource and its limit.
    limits: Vec<(i64, u64)>,
    /// Those that count in the sandbox's user namespace.
    user_limits: Vec<(i64, u64)>,
    oom_score: &'a str,
    umask: u32,
}

impl Fork {
    /// Asks for it.
    pub(super) fn request(way: &Way<'_>) -> Result<Fork, SandboxError> {
        let (ours, theirs) = socket::socket_pair(socket::Pair::Messages).step("make socket for fork")?;
        let namespace = File::open("/proc/self/ns/pid").at("open", "/proc/self/ns/pid")?;
        let mut fds = vec![theirs.as_fd(), namespace.as_fd()];
        fds.extend(way.cgroup_entries.iter().map(AsFd::as_fd));
        socket::send_now(way.socket, b"fork", &fds).step("ask zygote")?;
        let connection = sys::duplicate_from(ours.as_fd(), PARKED_FDS).step("keep descriptor")?;
        Ok(Fork { connection, deadline: Instant::now() + PATIENCE })
    }

    /// Has it become the program; its process id. After an error there is no such process, or it ends.
    pub(super) fn become_program(self, input: &Input<'_>, kept: &Kept, ready: &Ready) -> Result<i32, String> {
        let told = |error: SandboxError| error.to_string();
        let poller = Poller::new().step("make poller").map_err(told)?;
        poller.add(self.connection.as_fd(), Interest::Readable, 0).step("watch fork").map_err(told)?;
        let pid = match self.next(&poller, self.deadline)? {
            Some(text) => text.parse::<i32>().map_err(|_| format!("the zygote said {text:?}"))?,
            None => return Err(SILENT.to_owned()),
        };
        self.send_order(input, kept, ready).map_err(told)?;
        let mut answer = self.next(&poller, Instant::now() + ENTRY_PATIENCE)?;
        if answer.is_none() {
            // Whatever it says from now on does not reach us, and then it ends; it may have said it just now.
            let _ = socket::shut(self.connection.as_fd());
            answer = self.take()?;
        }
        match answer.as_deref() {
            Some("+") => Ok(pid),
            Some(text) => Err(text.trim_start_matches('-').to_owned()),
            None => Err("the fork did not enter the sandbox in time".to_owned()),
        }
    }

    fn send_order(&self, input: &Input<'_>, kept: &Kept, ready: &Ready) -> Result<(), SandboxError> {
        let spec = input.spec;
        let namespaces = NAMESPACES.map(|name| {
            let path = format!("/proc/self/ns/{name}");
            File::open(&path).at("open", &path)
        });
        let namespaces: Vec<File> = namespaces.into_iter().collect::<Result<_, _>>()?;
        let mut fds: Vec<BorrowedFd<'_>> = namespaces.iter().map(AsFd::as_fd).collect();
        fds.extend([ready.null.as_fd(), kept.output.as_fd()]);
        if let Some((channel, telemetry)) = &kept.channels {
            fds.extend([channel.as_fd(), telemetry.as_fd()]);
        }
        let order = Order {
            environment: &spec.environment,
            working_dir: &spec.working_dir,
            uid: INNER_UID,
            gid: INNER_GID,
            clears_groups: input.clears_groups,
            limits: limits(spec).map(|(_, resource, value)| (i64::from(resource), value)).to_vec(),
            user_limits: process_limit(input)
                .map(|value| (i64::from(libc::RLIMIT_NPROC), value))
                .into_iter()
                .collect(),
            oom_score: OOM_SCORE,
            umask: UMASK,
        };
        crate::protocol::send(self.connection.as_fd(), &order, &fds).step("tell fork")
    }

    /// What it says next; `None` if it says nothing before the deadline.
    fn next(&self, poller: &Poller, deadline: Instant) -> Result<Option<String>, String> {
        loop {
            if let Some(text) = self.take()? {
                return Ok(Some(text));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            poller.wait(Some(left)).map_err(|error| error.to_string())?;
        }
    }

    /// What it has said; an error if it never will.
    fn take(&self) -> Result<Option<String>, String> {
        let mut buffer = [0; 1024];
        match socket::receive(self.connection.as_fd(), &mut buffer, false) {
            Ok((0, _)) => Err("the zygote made no fork".to_owned()),
            Ok((length, _)) => {
                Ok(Some(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned()))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.to_string()),
        }
    }
}
