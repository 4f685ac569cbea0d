//! cgroup v1: one hierarchy for each controller.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::control::{field, quota_v1};
use super::mountinfo::{self, Mount};
use super::{CPU_PERIOD_US, ControlKind, Controls, Group, Limits, Place, Threshold, folder};
use crate::error::{Context, SandboxError};
use crate::sys::poll::{self, Interest};
use crate::sys::read_from_start;

/// Weight of all sandboxes together: that of two busy processes on each CPU.
const CPU_SHARES_PER_CPU: usize = 2 * 1024;

/// The kernel's maximum.
const MAX_CPU_SHARES: usize = 262_144;

/// The server's folders in the hierarchies of v1, and in the one of v2 if it is mounted (for freezing
/// and CPU time, which need no controller there).
#[derive(Debug)]
pub(crate) struct V1 {
    memory: PathBuf,
    cpu: PathBuf,
    pids: PathBuf,
    freeze: Freezer,
    /// All of the above once (several controllers may share a hierarchy).
    folders: Vec<PathBuf>,
}

#[derive(Debug)]
enum Freezer {
    Unified(PathBuf),
    V1 { freezer: PathBuf, cpuacct: PathBuf },
}

impl V1 {
    /// Makes the folders `name`.
    pub(crate) fn open(mounts: &[Mount], own: &str, name: &str) -> Result<V1, SandboxError> {
        let place = |controller: &str| {
            let mount = mountinfo::find_v1(mounts, controller)
                .ok_or_else(|| SandboxError::Host(format!("cgroup controller {controller} is missing")))?;
            folder::make_instance(&mount.mount_point, mountinfo::own_path(own, Some(controller)), name)
        };
        let unified = mountinfo::find_v2(mounts)
            .and_then(|mount| {
                folder::make_instance(&mount.mount_point, mountinfo::own_path(own, None), name).ok()
            })
            .filter(|path| path.join("cgroup.freeze").exists() && path.join("cpu.stat").exists());
        let freeze = match unified {
            Some(path) => Freezer::Unified(path),
            None => Freezer::V1 { freezer: place("freezer")?, cpuacct: place("cpuacct")? },
        };
        let (memory, cpu, pids) = (place("memory")?, place("cpu")?, place("pids")?);
        let mut folders = vec![memory.clone(), cpu.clone(), pids.clone()];
        match &freeze {
            Freezer::Unified(path) => folders.push(path.clone()),
            Freezer::V1 { freezer, cpuacct } => folders.extend([freezer.clone(), cpuacct.clone()]),
        }
        folders.sort();
        folders.dedup();
        // Weights count between siblings, and at the root of the hierarchy every process of the host is one:
        // by default all sandboxes together would weigh as much as a single one of them.
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let shares = CPU_SHARES_PER_CPU.saturating_mul(cpus).min(MAX_CPU_SHARES);
        folder::write(&cpu, "cpu.shares", &shares.to_string())?;
        Ok(V1 { memory, cpu, pids, freeze, folders })
    }

    fn set_up(&self, id: &str, limits: &Limits) -> Result<V1Group, SandboxError> {
        for parent in &self.folders {
            let path = parent.join(id);
            fs::create_dir(&path).at("make cgroup", &path.to_string_lossy())?;
        }
        let (memory, cpu) = (self.memory.join(id), self.cpu.join(id));
        let hard_limit = limits.hard_memory_bytes().to_string();
        folder::write(&memory, "memory.limit_in_bytes", &hard_limit)?;
        // Only there when swap is accounted. It must not be below the plain limit, hence second.
        if memory.join("memory.memsw.limit_in_bytes").exists() {
            folder::write(&memory, "memory.memsw.limit_in_bytes", &hard_limit)?;
        }
        let controls = self.open_controls(id)?;
        let events = poll::eventfd().step("make eventfd")?;
        let oom_control = folder::open(&memory, "memory.oom_control")?;
        let registry = folder::open_for_writing(&memory, "cgroup.event_control")?;
        let line = format!("{} {}", events.as_raw_fd(), oom_control.as_raw_fd());
        crate::sys::write_at_start(&registry, &line).at("register for", "memory.oom_control")?;

        folder::write(&cpu, "cpu.cfs_period_us", &CPU_PERIOD_US.to_string())?;
        if limits.cpu_quota_us.is_some() {
            folder::write(&cpu, "cpu.cfs_quota_us", &quota_v1(limits.cpu_quota_us))?;
        }
        folder::write(&self.pids.join(id), "pids.max", &limits.pids_max.to_string())?;

        let mut entries = Vec::with_capacity(self.folders.len());
        for parent in &self.folders {
            entries.push(folder::open_for_writing(&parent.join(id), "cgroup.procs")?);
        }
        let folders = self.folders.iter().map(|parent| parent.join(id)).collect();
        let memory_bytes = limits.memory_bytes;
        let registry = Some(registry);
        Ok(V1Group { folders, memory_bytes, entries, events, registry, oom_control, controls })
    }

    fn open_controls(&self, id: &str) -> Result<Controls, SandboxError> {
        let read = |parent: &Path, name: &str| folder::open(&parent.join(id), name).map(OwnedFd::from);
        let write =
            |parent: &Path, name: &str| folder::open_for_writing(&parent.join(id), name).map(OwnedFd::from);
        let peak = self.memory.join(id).join("memory.max_usage_in_bytes");
        let peak = File::options().read(true).write(true).open(&peak).at("open", &peak.to_string_lossy())?;
        let mut controls = vec![
            (ControlKind::CpuQuota, write(&self.cpu, "cpu.cfs_quota_us")?),
            (ControlKind::MemoryUsage, read(&self.memory, "memory.usage_in_bytes")?),
            (ControlKind::MemoryPeak, peak.into()),
            (ControlKind::MemoryStat, read(&self.memory, "memory.stat")?),
        ];
        match &self.freeze {
            Freezer::Unified(parent) => controls.extend([
                (ControlKind::Freeze, write(parent, "cgroup.freeze")?),
                (ControlKind::CpuStat, read(parent, "cpu.stat")?),
            ]),
            Freezer::V1 { freezer, cpuacct } => controls.extend([
                (ControlKind::FreezerState, write(freezer, "freezer.state")?),
                (ControlKind::CpuUsage, read(cpuacct, "cpuacct.usage")?),
            ]),
        }
        Ok(Controls::new(controls))
    }
}

impl Place for V1 {
    fn describe(&self) -> String {
        let freeze = match self.freeze {
            Freezer::Unified(_) => "cgroup.freeze",
            Freezer::V1 { .. } => "the v1 freezer",
        };
        format!("cgroup v1 ({}), freezing by {freeze}", self.memory.display())
    }

    fn create(&self, id: &str, limits: &Limits) -> Result<Box<dyn Group>, SandboxError> {
        match self.set_up(id, limits) {
            Ok(group) => Ok(Box::new(group)),
            Err(error) => {
                // Leave nothing of a half-made group.
                for parent in &self.folders {
                    let _ = folder::remove(&parent.join(id));
                }
                Err(error)
            }
        }
    }

    fn folders(&self) -> Vec<&Path> {
        self.folders.iter().map(PathBuf::as_path).collect()
    }
}

/// The folders of one sandbox.
#[derive(Debug)]
struct V1Group {
    folders: Vec<PathBuf>,
    memory_bytes: u64,
    entries: Vec<File>,
    /// Counts events of `memory.oom_control` and of the threshold.
    events: OwnedFd,
    registry: Option<File>,
    oom_control: File,
    controls: Controls,
}

impl Group for V1Group {
    fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn entries(&self) -> &[File] {
        &self.entries
    }

    fn threshold(&self) -> Option<Threshold<'_>> {
        // Registering it waits for a grace period of the kernel, some 8 ms.
        Some(Threshold {
            registry: self.registry.as_ref()?.as_fd(),
            events: self.events.as_fd(),
            usage: self.controls.file(ControlKind::MemoryUsage)?.as_fd(),
            bytes: self.memory_bytes,
        })
    }

    fn cloned(&mut self) {
        self.entries.clear();
        self.registry = None;
    }

    fn controls(&self) -> &Controls {
        &self.controls
    }

    fn memory_events(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        Some((self.events.as_fd(), Interest::Readable))
    }

    fn allow_for(&mut self, _tmp_used: u64) -> io::Result<()> {
        Ok(())
    }

    fn kernel_killed(&self) -> bool {
        read_from_start(&self.oom_control).is_ok_and(|text| field(&text, "oom_kill") > 0)
    }

    fn remove(&mut self) -> io::Result<()> {
        // All are tried, so that one that is busy does not keep the others.
        let mut result = Ok(());
        for path in &self.folders {
            if let Err(error) = folder::remove(path) {
                result = Err(error);
            }
        }
        result
    }
}
