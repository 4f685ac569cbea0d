//! Control groups: limits, accounting, freezing.
//!
//! Two implementations of the same traits: [`v1`] (controllers in separate hierarchies, freezing through
//! the core of v2 where that is mounted too) and [`v2`]. Each server has a folder `lambkin-<instance>` in
//! every hierarchy it uses, each sandbox a folder in that one. A third, [`none`], stands in where there are
//! none to be had.

pub(crate) mod control;
pub(crate) mod dynmods;
pub(crate) mod folder;
pub(crate) mod mountinfo;
pub(crate) mod none;
pub(crate) mod v1;
pub(crate) mod v2;

use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;

pub(crate) use control::{ControlKind, Controls};

use crate::error::{Context, SandboxError};
use crate::isolation::Isolation;
use crate::spawner::SpawnerConfig;
use crate::sys::poll::Interest;
use mountinfo::Mount;

/// Length of a CPU period in microseconds: short enough that a small quota does not stall for long.
pub(crate) const CPU_PERIOD_US: u32 = 20_000;

/// Room in the hard memory limit beyond memory and `/tmp`, for what the kernel itself charges.
const SLACK_BYTES: u64 = 16 * 1024 * 1024;

/// What a group is limited to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    /// Memory of processes, without `/tmp`.
    pub(crate) memory_bytes: u64,
    /// Size of `/tmp`.
    pub(crate) tmp_bytes: u64,
    /// Processes and threads, with init.
    pub(crate) pids_max: u32,
    /// CPU time per period; `None` is unthrottled.
    pub(crate) cpu_quota_us: Option<u32>,
}

impl Limits {
    /// The limit the kernel enforces by itself.
    fn hard_memory_bytes(&self) -> u64 {
        self.memory_bytes.saturating_add(self.tmp_bytes).saturating_add(SLACK_BYTES)
    }
}

/// Memory of a group as the kernel counts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryReading {
    /// Everything charged: processes, kernel, `/tmp`, file cache.
    pub(crate) usage_bytes: u64,
    /// Cache of files on disk, which the kernel can drop at any time.
    pub(crate) file_cache_bytes: u64,
}

/// Where the groups of one server live.
pub(crate) trait Place: std::fmt::Debug {
    /// One line for the log.
    fn describe(&self) -> String;
    /// Makes a group with limits.
    fn create(&self, id: &str, limits: &Limits) -> Result<Box<dyn Group>, SandboxError>;
    /// The folders of this server. The first is the one whose lock it holds.
    fn folders(&self) -> Vec<&Path>;
    /// Removes what a dead predecessor left, after killing its processes. How much that was.
    fn clear(&self, patience: Duration) -> Result<usize, SandboxError> {
        folder::clear(&self.folders(), patience)
    }
    /// What of a sandbox's limits is not kept as it should be.
    fn weaknesses(&self) -> Vec<String> {
        Vec::new()
    }
    /// Whether its groups limit and count memory and processes.
    fn limits(&self) -> bool {
        true
    }
}

/// An event to be registered: `registry` is told the numbers of `events` and `usage`, and the threshold.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Threshold<'a> {
    /// `cgroup.event_control`.
    pub(crate) registry: BorrowedFd<'a>,
    /// What is to count the events.
    pub(crate) events: BorrowedFd<'a>,
    /// `memory.usage_in_bytes`.
    pub(crate) usage: BorrowedFd<'a>,
    /// When it is passed.
    pub(crate) bytes: u64,
}

/// The group of one sandbox.
pub(crate) trait Group: std::fmt::Debug {
    /// A folder of the sandbox's own, where it has no namespaces.
    fn folder(&self) -> Option<&Path> {
        None
    }
    /// A group that a process can be cloned into.
    fn clone_target(&self) -> Option<BorrowedFd<'_>>;
    /// Files into which a process writes `0` to become a member.
    fn entries(&self) -> &[File];
    /// The same for a process that is not cloned into the group although it could be.
    fn late_entries(&self) -> Result<Vec<File>, SandboxError> {
        Ok(Vec::new())
    }
    /// What init is to register once the program runs, because the kernel takes its time over it.
    fn threshold(&self) -> Option<Threshold<'_>>;
    /// Called when init has been cloned: closes what only it needs.
    fn cloned(&mut self);
    /// The files that measure and steer the group.
    fn controls(&self) -> &Controls;
    /// A descriptor that wakes the spawner when memory gets short.
    fn memory_events(&self) -> Option<(BorrowedFd<'_>, Interest)>;
    /// Called when more than the limit is charged but the group is within it, with the size of `/tmp` now.
    fn allow_for(&mut self, tmp_used: u64) -> io::Result<()>;
    /// Whether the kernel killed a process for lack of memory.
    fn kernel_killed(&self) -> bool;
    /// Removes the group. `WouldBlock` while processes are still leaving it.
    fn remove(&mut self) -> io::Result<()>;
}

/// Where the groups of a server are to be.
pub(crate) fn open_place(config: &SpawnerConfig) -> Result<Box<dyn Place>, SandboxError> {
    match config.isolation {
        Isolation::Root => open_hierarchies(&config.instance),
        Isolation::UserNamespaces => match open_hierarchies(&config.instance) {
            Ok(place) => Ok(place),
            Err(error) => Ok(Box::new(none::NoGroups::watched(&config.work_dir, &error.to_string()))),
        },
        Isolation::Process => Ok(Box::new(none::NoGroups::processes(&config.work_dir))),
    }
}

/// Finds the hierarchies of this host and makes the server's folder in them.
fn open_hierarchies(instance: &str) -> Result<Box<dyn Place>, SandboxError> {
    let mounts = mountinfo::read().step("read mountinfo")?;
    let own = std::fs::read_to_string("/proc/self/cgroup").step("read /proc/self/cgroup")?;
    let name = format!("lambkin-{instance}");
    match choose(&mounts) {
        Some(Version::V1) => Ok(Box::new(v1::V1::open(&mounts, &own, &name)?)),
        Some(Version::V2) => Ok(Box::new(v2::V2::open(&mounts, &own, &name)?)),
        None => Err(SandboxError::Host(
            "neither cgroup v2 nor v1 with the controllers memory, cpu and pids is mounted".to_owned(),
        )),
    }
}

/// Whether this process may make groups below its own: where, or why not.
pub(crate) fn delegated() -> Result<String, String> {
    let mounts = mountinfo::read().map_err(|error| error.to_string())?;
    if choose(&mounts) == Some(Version::V1) {
        return Err("the controllers are on cgroup v1, which cannot be handed to users".to_owned());
    }
    let mount = mountinfo::find_v2(&mounts).ok_or("cgroup v2 is not mounted")?;
    let own = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| error.to_string())?;
    let path = v2::without_leaf(mountinfo::own_path(&own, None).unwrap_or_default()).trim_start_matches('/');
    let folder = mount.mount_point.join(path);
    let shown = folder.display();
    for name in ["", "cgroup.procs", "cgroup.subtree_control"] {
        crate::sys::may_write(&folder.join(name)).map_err(|error| format!("{shown}: {error}"))?;
    }
    let available = std::fs::read_to_string(folder.join("cgroup.controllers")).unwrap_or_default();
    let missing: Vec<&str> = REQUIRED
        .into_iter()
        .filter(|name| !available.split_whitespace().any(|other| other == *name))
        .collect();
    if missing.is_empty() {
        let cpu = if available.split_whitespace().any(|name| name == "cpu") { "" } else { ", without cpu" };
        return Ok(format!("{shown}{cpu}"));
    }
    Err(format!("{shown} lacks the controllers {}", missing.join(", ")))
}

/// Generation of the cgroup interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    /// One hierarchy for each controller.
    V1,
    /// One hierarchy for all.
    V2,
}

/// The controllers that limits need.
pub(crate) const CONTROLLERS: [&str; 3] = ["memory", "cpu", "pids"];

/// Those that there is no good substitute for. `cpu` is not handed to users everywhere.
const REQUIRED: [&str; 2] = ["memory", "pids"];

/// Which generation has the controllers; a controller can be bound to only one of them.
pub(crate) fn choose(mounts: &[Mount]) -> Option<Version> {
    if CONTROLLERS.iter().all(|name| mountinfo::find_v1(mounts, name).is_some()) {
        return Some(Version::V1);
    }
    let unified = mountinfo::find_v2(mounts)?;
    let text = std::fs::read_to_string(unified.mount_point.join("cgroup.controllers")).ok()?;
    let available: Vec<&str> = text.split_whitespace().collect();
    REQUIRED.iter().all(|name| available.contains(name)).then_some(Version::V2)
}
