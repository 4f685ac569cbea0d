//! The control files of a group that the server keeps open, to freeze, throttle and measure a sandbox
//! without asking the spawner.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use super::{CPU_PERIOD_US, MemoryReading};
use crate::sys::{read_from_start, read_number, write_at_start};

/// What a control file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum ControlKind {
    /// `cgroup.freeze` of v2.
    Freeze,
    /// `freezer.state` of v1.
    FreezerState,
    /// `cpu.cfs_quota_us` of v1.
    CpuQuota,
    /// `cpu.max` of v2.
    CpuMax,
    /// Memory in use, one number.
    MemoryUsage,
    /// Highest memory in use, one number.
    MemoryPeak,
    /// `memory.stat`.
    MemoryStat,
    /// `cpu.stat` of v2, which has `usage_usec`.
    CpuStat,
    /// `cpuacct.usage` of v1, in nanoseconds.
    CpuUsage,
}

/// The open control files of one group.
#[derive(Debug, Default)]
pub(crate) struct Controls {
    files: Vec<(ControlKind, File)>,
}

/// What the group's counters say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct RawUsage {
    /// Memory charged now.
    pub(crate) memory_bytes: u64,
    /// Most memory ever charged (since the last reset).
    pub(crate) peak_bytes: u64,
    /// CPU time in microseconds.
    pub(crate) cpu_us: u64,
}

impl Controls {
    /// From descriptors and what they are.
    pub(crate) fn new(files: impl IntoIterator<Item = (ControlKind, OwnedFd)>) -> Controls {
        Controls { files: files.into_iter().map(|(kind, fd)| (kind, File::from(fd))).collect() }
    }

    /// All of them, to be passed on.
    pub(crate) fn list(&self) -> impl Iterator<Item = (ControlKind, BorrowedFd<'_>)> {
        self.files.iter().map(|(kind, file)| (*kind, file.as_fd()))
    }

    /// The file of a kind, if the group has it.
    pub(crate) fn file(&self, kind: ControlKind) -> Option<&File> {
        self.files.iter().find(|(other, _)| *other == kind).map(|(_, file)| file)
    }

    fn number(&self, kind: ControlKind) -> Option<u64> {
        self.file(kind).and_then(|file| read_number(file).ok())
    }

    /// Stops or continues all processes of the group.
    pub(crate) fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        if let Some(file) = self.file(ControlKind::Freeze) {
            return write_at_start(file, if frozen { "1" } else { "0" });
        }
        if let Some(file) = self.file(ControlKind::FreezerState) {
            return write_at_start(file, if frozen { "FROZEN" } else { "THAWED" });
        }
        Err(io::Error::from(io::ErrorKind::Unsupported))
    }

    /// Whether a frozen group must be thawed before its processes can die.
    pub(crate) fn frozen_cannot_die(&self) -> bool {
        self.file(ControlKind::FreezerState).is_some()
    }

    /// Sets the CPU time per period; `None` is unthrottled. Without a controller for it nothing happens.
    pub(crate) fn set_cpu_quota(&self, quota_us: Option<u32>) -> io::Result<()> {
        if let Some(file) = self.file(ControlKind::CpuQuota) {
            return write_at_start(file, &quota_v1(quota_us));
        }
        if let Some(file) = self.file(ControlKind::CpuMax) {
            return write_at_start(file, &quota_v2(quota_us));
        }
        Ok(())
    }

    /// Reads the counters; those that cannot be read are 0.
    pub(crate) fn usage(&self) -> RawUsage {
        let memory_bytes = self.usage_bytes().unwrap_or(0);
        let cpu_us = match self.file(ControlKind::CpuStat) {
            Some(file) => read_from_start(file).map(|text| field(&text, "usage_usec")).unwrap_or(0),
            None => self.number(ControlKind::CpuUsage).unwrap_or(0) / 1000,
        };
        RawUsage {
            memory_bytes,
            peak_bytes: self.number(ControlKind::MemoryPeak).unwrap_or(memory_bytes).max(memory_bytes),
            cpu_us,
        }
    }

    /// Reads the memory in use.
    pub(crate) fn usage_bytes(&self) -> Option<u64> {
        self.number(ControlKind::MemoryUsage)
    }

    /// Reads the memory in use and what of it is file cache.
    pub(crate) fn read_memory(&self) -> io::Result<MemoryReading> {
        let missing = || io::Error::from(io::ErrorKind::Unsupported);
        let usage = self.file(ControlKind::MemoryUsage).ok_or_else(missing)?;
        let stat = self.file(ControlKind::MemoryStat).ok_or_else(missing)?;
        let usage_bytes = read_number(usage)?;
        let stat = read_from_start(stat)?;
        let file_cache_bytes = field(&stat, "inactive_file").saturating_add(field(&stat, "active_file"));
        Ok(MemoryReading { usage_bytes, file_cache_bytes })
    }

    /// Starts a new peak at the present use, where the kernel can.
    pub(crate) fn reset_peak(&self) {
        if let Some(file) = self.file(ControlKind::MemoryPeak) {
            // Old v2 kernels have a read-only file: then the peak is that since the start.
            let _ = write_at_start(file, "0");
        }
    }
}

/// The value of `cpu.cfs_quota_us`.
pub(crate) fn quota_v1(quota_us: Option<u32>) -> String {
    quota_us.map_or_else(|| "-1".to_owned(), |quota| at_least_a_millisecond(quota).to_string())
}

/// The value of `cpu.max`.
pub(crate) fn quota_v2(quota_us: Option<u32>) -> String {
    match quota_us {
        None => format!("max {CPU_PERIOD_US}"),
        Some(quota) => format!("{} {CPU_PERIOD_US}", at_least_a_millisecond(quota)),
    }
}

/// The kernel refuses quotas below 1 ms.
fn at_least_a_millisecond(quota_us: u32) -> u32 {
    quota_us.max(1000)
}

/// The number behind a name in a file of `name number` lines; 0 if it is not there.
pub(crate) fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .find(|(key, _)| *key == name)
        .and_then(|(_, value)| value.trim().parse().ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn control(folder: &Path, kind: ControlKind, name: &str, content: &str) -> (ControlKind, OwnedFd) {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        (kind, file.into())
    }

    #[test]
    fn v2_files() {
        let dir = tempfile::tempdir().unwrap();
        let controls = Controls::new([
            control(dir.path(), ControlKind::Freeze, "cgroup.freeze", "0"),
            control(dir.path(), ControlKind::CpuMax, "cpu.max", ""),
            control(dir.path(), ControlKind::MemoryUsage, "memory.current", "7000\n"),
            control(dir.path(), ControlKind::MemoryPeak, "memory.peak", "9000\n"),
            control(dir.path(), ControlKind::CpuStat, "cpu.stat", "usage_usec 12\nuser_usec 5\n"),
            control(dir.path(), ControlKind::MemoryStat, "memory.stat", "active_file 1\ninactive_file 2\n"),
        ]);
        controls.set_frozen(true).unwrap();
        controls.set_cpu_quota(Some(2500)).unwrap();
        let read = |name: &str| std::fs::read_to_string(dir.path().join(name)).unwrap();
        assert_eq!(read("cgroup.freeze"), "1");
        assert_eq!(read("cpu.max"), "2500 20000");
        assert_eq!(controls.usage(), RawUsage { memory_bytes: 7000, peak_bytes: 9000, cpu_us: 12 });
        let reading = MemoryReading { usage_bytes: 7000, file_cache_bytes: 3 };
        assert_eq!(controls.read_memory().unwrap(), reading);
        assert!(!controls.frozen_cannot_die());
    }

    #[test]
    fn v1_files() {
        let dir = tempfile::tempdir().unwrap();
        let controls = Controls::new([
            control(dir.path(), ControlKind::FreezerState, "freezer.state", "THAWED"),
            control(dir.path(), ControlKind::CpuQuota, "cpu.cfs_quota_us", "-1"),
            control(dir.path(), ControlKind::CpuUsage, "cpuacct.usage", "12999\n"),
        ]);
        controls.set_frozen(true).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("freezer.state")).unwrap(), "FROZEN");
        controls.set_cpu_quota(Some(10)).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("cpu.cfs_quota_us")).unwrap(), "1000");
        assert_eq!(controls.usage(), RawUsage { memory_bytes: 0, peak_bytes: 0, cpu_us: 12 });
        assert!(controls.frozen_cannot_die());
    }

    #[test]
    fn quotas() {
        assert_eq!((quota_v1(None), quota_v2(None)), ("-1".to_owned(), "max 20000".to_owned()));
        assert_eq!(quota_v2(Some(500)), "1000 20000");
    }
}
