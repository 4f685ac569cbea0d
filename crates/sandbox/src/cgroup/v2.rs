//! cgroup v2: one hierarchy for all controllers.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use super::control::{field, quota_v2};
use super::mountinfo::{self, Mount};
use super::{CONTROLLERS, ControlKind, Controls, Group, Limits, Place, REQUIRED, Threshold, folder};
use crate::error::{Context, SandboxError};
use crate::sys::poll::Interest;
use crate::sys::read_from_start;

/// Distance of `memory.high` above what is expected, so that it is the limit that is noticed, not noise.
const HIGH_SLACK_BYTES: u64 = 1024 * 1024;

/// The server's folder.
#[derive(Debug)]
pub(crate) struct V2 {
    folder: PathBuf,
    /// Whether there is a controller for CPU time.
    cpu: bool,
}

impl V2 {
    /// Makes the folder `name`, with all controllers handed down to its groups.
    pub(crate) fn open(mounts: &[Mount], own: &str, name: &str) -> Result<V2, SandboxError> {
        let mount = mountinfo::find_v2(mounts)
            .ok_or_else(|| SandboxError::Host("cgroup v2 is not mounted".to_owned()))?;
        let own_path = mountinfo::own_path(own, None).map(without_leaf);
        let folder = folder::make_instance(&mount.mount_point, own_path, name)?;
        let parent = folder.parent().unwrap_or(&mount.mount_point).to_owned();
        let cpu = has_cpu(&parent);
        if enable_controllers(&parent, cpu).is_err() {
            // A group other than the root may not have both processes and controlled children.
            let leaf = parent.join(format!("{name}-server"));
            match fs::create_dir(&leaf) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(SandboxError::at("make cgroup", &leaf.to_string_lossy(), &error));
                }
                _ => {}
            }
            let members = fs::read_to_string(parent.join("cgroup.procs"))
                .at("read members of", &parent.to_string_lossy())?;
            for pid in members.lines() {
                // A process that has ended meanwhile is no problem; a real one shows below.
                let _ = folder::write(&leaf, "cgroup.procs", pid);
            }
            enable_controllers(&parent, cpu)?;
        }
        enable_controllers(&folder, cpu)?;
        Ok(V2 { folder, cpu })
    }
}

/// The group that is ours to divide: a server that has divided its own is in a leaf of it.
pub(crate) fn without_leaf(path: &str) -> &str {
    match path.rsplit_once('/') {
        Some((parent, leaf)) if leaf.starts_with("lambkin-") && leaf.ends_with("-server") => parent,
        _ => path,
    }
}

/// Whether a group may hand down the controller for CPU time.
fn has_cpu(group: &Path) -> bool {
    let available = fs::read_to_string(group.join("cgroup.controllers")).unwrap_or_default();
    available.split_whitespace().any(|name| name == "cpu")
}

fn enable_controllers(group: &Path, cpu: bool) -> Result<(), SandboxError> {
    let wanted = if cpu { CONTROLLERS.as_slice() } else { REQUIRED.as_slice() };
    let text: Vec<String> = wanted.iter().map(|name| format!("+{name}")).collect();
    folder::write(group, "cgroup.subtree_control", &text.join(" "))
}

impl Place for V2 {
    fn describe(&self) -> String {
        format!("cgroup v2 ({})", self.folder.display())
    }

    fn weaknesses(&self) -> Vec<String> {
        const NO_CPU: &str = "CPU time is not limited: the controller cpu is not handed to this cgroup (systemd: Delegate=yes)";
        if self.cpu { Vec::new() } else { vec![NO_CPU.to_owned()] }
    }

    fn create(&self, id: &str, limits: &Limits) -> Result<Box<dyn Group>, SandboxError> {
        let path = self.folder.join(id);
        fs::create_dir(&path).at("make cgroup", &path.to_string_lossy())?;
        match V2Group::configure(path.clone(), limits) {
            Ok(group) => Ok(Box::new(group)),
            Err(error) => {
                let _ = folder::remove(&path);
                Err(error)
            }
        }
    }

    fn folders(&self) -> Vec<&Path> {
        vec![&self.folder]
    }
}

/// The folder of one sandbox.
///
/// `memory.high` stands at `memory_bytes` plus what `/tmp` holds. A group that passes it is slowed down by
/// the kernel (file cache goes first) and gives an event; then it is either killed, or `memory.high` is
/// raised because it was `/tmp` that grew.
#[derive(Debug)]
struct V2Group {
    path: PathBuf,
    limits: Limits,
    folder: File,
    events: File,
    controls: Controls,
}

impl V2Group {
    /// Writes the limits into a folder that has just been made.
    fn configure(path: PathBuf, limits: &Limits) -> Result<V2Group, SandboxError> {
        folder::write(&path, "memory.max", &limits.hard_memory_bytes().to_string())?;
        folder::write(&path, "memory.high", &(limits.memory_bytes + HIGH_SLACK_BYTES).to_string())?;
        if path.join("memory.swap.max").exists() {
            folder::write(&path, "memory.swap.max", "0")?;
        }
        folder::write(&path, "memory.oom.group", "1")?;
        folder::write(&path, "pids.max", &limits.pids_max.to_string())?;
        if path.join("cpu.max").exists() {
            folder::write(&path, "cpu.max", &quota_v2(limits.cpu_quota_us))?;
        }
        let folder = File::open(&path).at("open", &path.to_string_lossy())?;
        let events = folder::open(&path, "memory.events")?;
        let controls = open_controls(&path)?;
        Ok(V2Group { path, limits: *limits, folder, events, controls })
    }
}

fn open_controls(path: &Path) -> Result<Controls, SandboxError> {
    let read = |name: &str| folder::open(path, name).map(OwnedFd::from);
    let write = |name: &str| folder::open_for_writing(path, name).map(OwnedFd::from);
    let mut controls = vec![
        (ControlKind::Freeze, write("cgroup.freeze")?),
        (ControlKind::MemoryUsage, read("memory.current")?),
        (ControlKind::MemoryStat, read("memory.stat")?),
        (ControlKind::CpuStat, read("cpu.stat")?),
    ];
    if let Ok(file) = write("cpu.max") {
        controls.push((ControlKind::CpuMax, file));
    }
    // Since Linux 5.19, and writable since 6.12.
    let peak = path.join("memory.peak");
    let both = File::options().read(true).write(true).open(&peak);
    if let Ok(file) = both.or_else(|_| File::open(&peak)) {
        controls.push((ControlKind::MemoryPeak, file.into()));
    }
    Ok(Controls::new(controls))
}

impl Group for V2Group {
    fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        Some(self.folder.as_fd())
    }

    fn late_entries(&self) -> Result<Vec<File>, SandboxError> {
        Ok(vec![folder::open_for_writing(&self.path, "cgroup.procs")?])
    }

    fn entries(&self) -> &[File] {
        &[]
    }

    fn threshold(&self) -> Option<Threshold<'_>> {
        None
    }

    fn cloned(&mut self) {}

    fn controls(&self) -> &Controls {
        &self.controls
    }

    fn memory_events(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        Some((self.events.as_fd(), Interest::Change))
    }

    fn allow_for(&mut self, tmp_used: u64) -> io::Result<()> {
        let high = self.limits.memory_bytes.saturating_add(tmp_used).saturating_add(HIGH_SLACK_BYTES);
        folder::write(&self.path, "memory.high", &high.to_string()).map_err(io::Error::other)
    }

    fn kernel_killed(&self) -> bool {
        read_from_start(&self.events).is_ok_and(|text| field(&text, "oom_kill") > 0)
    }

    fn remove(&mut self) -> io::Result<()> {
        folder::remove(&self.path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cgroup::MemoryReading;

    const MIB: u64 = 1024 * 1024;
    const FILES: [&str; 13] = [
        "memory.max",
        "memory.high",
        "memory.swap.max",
        "memory.oom.group",
        "memory.current",
        "memory.stat",
        "memory.peak",
        "memory.events",
        "pids.max",
        "cpu.max",
        "cpu.stat",
        "cgroup.freeze",
        "cgroup.procs",
    ];

    fn group(folder: &Path) -> V2Group {
        for name in FILES {
            fs::write(folder.join(name), "").unwrap();
        }
        let limits =
            Limits { memory_bytes: 128 * MIB, tmp_bytes: 512 * MIB, pids_max: 100, cpu_quota_us: Some(1447) };
        V2Group::configure(folder.to_owned(), &limits).unwrap()
    }

    #[test]
    fn limits_are_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut group = group(dir.path());
        let read = |name: &str| fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("memory.max"), (656 * MIB).to_string());
        assert_eq!(read("memory.high"), (129 * MIB).to_string());
        assert_eq!(read("memory.swap.max"), "0");
        assert_eq!(read("pids.max"), "100");
        assert_eq!(read("cpu.max"), "1447 20000");
        group.allow_for(300 * MIB).unwrap();
        assert_eq!(read("memory.high"), (429 * MIB).to_string());
        assert!(group.clone_target().is_some());
    }

    #[test]
    fn readings() {
        let dir = tempfile::tempdir().unwrap();
        let group = group(dir.path());
        fs::write(dir.path().join("memory.current"), "5000\n").unwrap();
        fs::write(dir.path().join("memory.stat"), "anon 9\ninactive_file 10\nactive_file 20\n").unwrap();
        let reading = MemoryReading { usage_bytes: 5000, file_cache_bytes: 30 };
        assert_eq!(group.controls().read_memory().unwrap(), reading);
        assert!(!group.kernel_killed());
        fs::write(dir.path().join("memory.events"), "low 0\noom 1\noom_kill 1\n").unwrap();
        assert!(group.kernel_killed());
    }

    #[test]
    fn controllers_are_handed_down() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("lambkin-x");
        fs::create_dir(&folder).unwrap();
        for group in [root.path(), &folder] {
            fs::write(group.join("cgroup.subtree_control"), "").unwrap();
            fs::write(group.join("cgroup.controllers"), "cpuset cpu io memory pids\n").unwrap();
        }
        let mounts = mountinfo::parse(&format!("1 1 0:1 / {} rw - cgroup2 c rw", root.path().display()));
        let place = V2::open(&mounts, "0::/\n", "lambkin-x").unwrap();
        assert_eq!(place.folders(), [folder.as_path()]);
        for group in [root.path(), &folder] {
            let text = fs::read_to_string(group.join("cgroup.subtree_control")).unwrap();
            assert_eq!(text, "+memory +cpu +pids");
        }
        assert!(place.weaknesses().is_empty());
        assert_eq!(without_leaf("/a/b"), "/a/b");
        assert_eq!(without_leaf("/a/lambkin-0a-server"), "/a");
        // What a user's own systemd used to be given.
        for group in [root.path(), &folder] {
            fs::write(group.join("cgroup.controllers"), "memory pids\n").unwrap();
            fs::write(group.join("cgroup.subtree_control"), "").unwrap();
        }
        let place = V2::open(&mounts, "0::/\n", "lambkin-x").unwrap();
        assert_eq!(fs::read_to_string(folder.join("cgroup.subtree_control")).unwrap(), "+memory +pids");
        assert_eq!(place.weaknesses().len(), 1);
    }
}
