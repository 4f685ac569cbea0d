//! Sandboxes: Linux processes shut off from the host by namespaces, cgroups and seccomp.
//!
//! The only crate with `unsafe`. It knows nothing of AWS; crate `engine` says what to run.
//!
//! # Processes
//! The server starts one **spawner** (its own binary, executed again: see [`run_spawner_if_asked`]), which
//! is single-threaded and makes everything that needs a fork. Each sandbox has a small **init** as pid 1,
//! forked from the spawner, which sets the sandbox up, starts the **program** and collects zombies. When
//! the server ends, the spawner ends all sandboxes; when the spawner ends, the kernel kills every init and
//! with it all of its pid namespace.
//!
//! # Memory
//! `/tmp` is a tmpfs, whose pages the kernel charges to the sandbox's memory cgroup although they must not
//! count against `memory_bytes`. So the cgroup's hard limit is `memory_bytes + tmp_bytes` and a little
//! more, and the spawner enforces `memory_bytes` itself: the kernel announces when usage passes a
//! threshold, and the sandbox is killed if usage without `/tmp` and without file cache is over the limit.
//! (Disabling the kernel's OOM killer and raising the limit on demand does not work: a `write` to tmpfs at
//! the limit then fails with `ENOMEM` instead of waiting.)
//!
//! # Zygotes
//! A program may be forked from a running process that has done most of what it would do first, instead of
//! being executed ([`Spawner::keep_zygote`], `docs/internals/zygote.md`).
//!
//! # Without root
//! [`Isolation::UserNamespaces`] does the same as an ordinary user: the spawner first enters a user namespace
//! in which it is root. Where it has no cgroup, a thread of the server watches the memory of the processes,
//! and stops them instead of freezing them. [`Isolation::Process`] is for hosts that allow nothing: plain
//! processes, whose init adopts all descendants to end them.
//!
//! # Known limits
//! Sandboxes share the host's kernel. `/proc/self/mountinfo` inside shows the host paths of bind mounts,
//! `/proc/{version,meminfo,stat,cpuinfo,uptime,loadavg}` show the host's.

mod cgroup;
mod error;
pub mod host;
mod identity;
mod init;
mod isolation;
mod members;
mod memory;
mod net;
mod protocol;
mod sandbox;
mod seccomp;
mod spawner;
pub mod spec;
mod sys;
mod watch;

pub use error::SandboxError;
pub use isolation::Isolation;
pub use net::{
    Admission, Destination, Ipv4Net, LoopbackSocket, NONPUBLIC, NetError, NetworkConfig, NetworkSpec, Uplink,
    is_public,
};
pub use sandbox::Sandbox;
pub use spawner::{SPAWNER_ARG, Spawner, SpawnerConfig, Stats, run_spawner_if_asked};
pub use spec::{BindMount, ExitStatus, Helper, Origin, SandboxSpec, Usage, ZygoteStatus};
