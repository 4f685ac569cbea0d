//! The processes of a sandbox as `/proc` shows them, for sandboxes without cgroups: listing, stopping and
//! measuring them.

use std::collections::{HashSet, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;

use serde::{Deserialize, Serialize};

use crate::sys::process;

/// Most rounds of stopping until no process is new. A process that is stopped makes no more, so that there
/// are never more rounds than processes.
const STOP_ROUNDS: usize = 2000;

/// Microseconds of the unit in which `/proc/<pid>/stat` counts CPU time, 1/100 s on all architectures.
const TICK_US: u64 = 10_000;

/// What the folder of a [`Members`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MembersKind {
    /// `/proc` of the sandbox's pid namespace: all processes there but init, number 1.
    Namespace,
    /// `/proc/<pid>` of the sandbox's init on the host: all its descendants.
    Tree,
}

/// The processes of one sandbox.
#[derive(Debug)]
pub(crate) struct Members {
    kind: MembersKind,
    folder: OwnedFd,
}

/// One process: its folder in `/proc`, which never becomes that of another process.
#[derive(Debug)]
struct Member {
    pid: i32,
    folder: File,
}

/// What processes use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Reading {
    /// Private memory, in bytes. What forked processes share counts for each.
    pub(crate) private_bytes: u64,
    /// Mapped memory of shared-memory files and `/tmp`, in bytes, counted for each process.
    pub(crate) shared_bytes: u64,
    /// Highest memory of a lone process so far, without mapped files; 0 if there are several.
    pub(crate) peak_bytes: u64,
    /// Processes and threads.
    pub(crate) threads: u64,
}

impl Members {
    /// From a folder of the kind's description.
    pub(crate) fn new(kind: MembersKind, folder: OwnedFd) -> Members {
        Members { kind, folder }
    }

    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.folder.as_raw_fd())
    }

    /// Shows the processes of this moment, one after the other, parents before their children are looked for.
    /// Those being made or ending may be missing.
    fn visit(&self, see: impl FnMut(&Member)) {
        match self.kind {
            MembersKind::Namespace => self.visit_namespace(see),
            MembersKind::Tree => self.visit_tree(see),
        }
    }

    fn visit_namespace(&self, mut see: impl FnMut(&Member)) {
        let path = self.path();
        let Ok(entries) = fs::read_dir(&path) else { return };
        let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        for pid in pids.filter(|pid| *pid != 1) {
            if let Ok(folder) = File::open(format!("{path}/{pid}")) {
                see(&Member { pid, folder });
            }
        }
    }

    fn visit_tree(&self, mut see: impl FnMut(&Member)) {
        let Some(init) = stat_number(&self.path(), StatField::Pid) else { return };
        let mut seen = HashSet::new();
        let mut queue: VecDeque<(i32, u64)> =
            children(&self.path()).into_iter().map(|child| (child, init)).collect();
        // One folder at a time is open: there may be more processes than descriptors.
        while let Some((pid, parent)) = queue.pop_front() {
            let Ok(folder) = File::open(format!("/proc/{pid}")) else { continue };
            let member = Member { pid, folder };
            // The number may have been given to another process meanwhile.
            if stat_number(&path(&member), StatField::Parent) != Some(parent) || !seen.insert(pid) {
                continue;
            }
            see(&member);
            let number = u64::try_from(pid).unwrap_or(0);
            queue.extend(children(&path(&member)).into_iter().map(|child| (child, number)));
        }
    }

    /// Sends a signal to all processes but init.
    pub(crate) fn signal(&self, signal: i32) {
        self.visit(|member| {
            // It may have ended.
            let _ = process::pidfd_signal(member.folder.as_fd(), signal);
        });
    }

    /// Stops all processes but init, also those that are being made meanwhile.
    pub(crate) fn stop(&self) {
        let mut stopped = HashSet::new();
        for _ in 0..STOP_ROUNDS {
            let mut any_new = false;
            // One that is stopped before its children are looked for makes no more of them meanwhile.
            self.visit(|member| {
                if stopped.insert(member.pid) {
                    any_new = true;
                    let _ = process::pidfd_signal(member.folder.as_fd(), libc::SIGSTOP);
                }
            });
            if !any_new {
                return;
            }
        }
    }

    /// Lets all of them go on.
    pub(crate) fn resume(&self) {
        self.signal(libc::SIGCONT);
    }

    /// What all but init use, cheaply.
    pub(crate) fn read(&self) -> Reading {
        let mut sum = Reading::default();
        let mut processes = 0;
        self.visit(|member| {
            let Ok(status) = fs::read_to_string(format!("{}/status", path(member))) else { return };
            processes += 1;
            let field = |name: &str| kibibytes(&status, name);
            let private = field("RssAnon:") + field("VmSwap:");
            sum.private_bytes += private;
            sum.shared_bytes += field("RssShmem:");
            sum.threads += number(&status, "Threads:");
            let peak = field("VmHWM:").saturating_sub(field("RssFile:")).max(private);
            sum.peak_bytes = if processes == 1 { peak } else { 0 };
        });
        sum
    }

    /// Private and shared memory with what processes share counted once; as [`Members::read`] for those
    /// that do not let themselves be looked into.
    pub(crate) fn read_exactly(&self) -> (u64, u64) {
        let (mut private, mut shared) = (0, 0);
        self.visit(|member| {
            let path = path(member);
            if let Ok(rollup) = fs::read_to_string(format!("{path}/smaps_rollup")) {
                private += kibibytes(&rollup, "Pss_Anon:") + kibibytes(&rollup, "SwapPss:");
                shared += kibibytes(&rollup, "Pss_Shmem:");
            } else if let Ok(status) = fs::read_to_string(format!("{path}/status")) {
                private += kibibytes(&status, "RssAnon:") + kibibytes(&status, "VmSwap:");
                shared += kibibytes(&status, "RssShmem:");
            }
        });
        (private, shared)
    }

    /// Whether all processes but init are stopped.
    pub(crate) fn are_stopped(&self) -> bool {
        let mut stopped = true;
        self.visit(|member| {
            let stat = fs::read_to_string(format!("{}/stat", path(member)));
            stopped &= stat.is_ok_and(|stat| after_name(&stat).next() == Some("T"));
        });
        stopped
    }

    /// Bytes in files of memory (`memfd_create`) that processes have open, mapped or not.
    pub(crate) fn memory_files(&self) -> u64 {
        let mut seen = HashSet::new();
        let mut bytes = 0;
        self.visit(|member| {
            let entries = fs::read_dir(format!("{}/fd", path(member)));
            for entry in entries.into_iter().flatten().flatten() {
                let is_memory = fs::read_link(entry.path())
                    .is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"/memfd:"));
                if let (true, Ok(file)) = (is_memory, fs::metadata(entry.path()))
                    && seen.insert((file.dev(), file.ino()))
                {
                    bytes += file.blocks().saturating_mul(512);
                }
            }
        });
        bytes
    }

    /// CPU time of all processes there are and, as far as their parents have collected them, were, in
    /// microseconds.
    pub(crate) fn cpu_us(&self) -> u64 {
        let init = match self.kind {
            MembersKind::Namespace => format!("{}/1", self.path()),
            MembersKind::Tree => self.path(),
        };
        let time = |path: &str| fs::read_to_string(format!("{path}/stat")).map_or(0, |stat| cpu_us(&stat));
        let mut sum = time(&init);
        self.visit(|member| sum += time(&path(member)));
        sum
    }

    /// Starts a new peak of each process at its present use.
    pub(crate) fn reset_peak(&self) {
        self.visit(|member| {
            let _ = fs::write(format!("{}/clear_refs", path(member)), "5");
        });
    }
}

fn path(member: &Member) -> String {
    format!("/proc/self/fd/{}", member.folder.as_raw_fd())
}

/// Children of all threads of a process.
fn children(folder: &str) -> Vec<i32> {
    let Ok(threads) = fs::read_dir(format!("{folder}/task")) else { return Vec::new() };
    let lists = threads.flatten().filter_map(|entry| fs::read_to_string(entry.path().join("children")).ok());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// Whether the kernel lists the children of a process (`CONFIG_PROC_CHILDREN`).
pub(crate) fn children_are_listed() -> bool {
    let own = std::process::id();
    fs::read_to_string(format!("/proc/self/task/{own}/children")).is_ok()
}

/// Own children.
pub(crate) fn own_children() -> io::Result<Vec<i32>> {
    let own = std::process::id();
    let list = fs::read_to_string(format!("/proc/self/task/{own}/children"))?;
    Ok(list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect())
}

#[derive(Debug, Clone, Copy)]
enum StatField {
    Pid,
    Parent,
}

fn stat_number(folder: &str, field: StatField) -> Option<u64> {
    let stat = fs::read_to_string(format!("{folder}/stat")).ok()?;
    match field {
        StatField::Pid => stat.split(' ').next()?.parse().ok(),
        StatField::Parent => after_name(&stat).nth(1)?.parse().ok(),
    }
}

/// The fields of `stat` from the state on. The name before it may hold blanks and brackets.
fn after_name(stat: &str) -> impl Iterator<Item = &str> {
    stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace()
}

/// Own time and that of collected children.
fn cpu_us(stat: &str) -> u64 {
    const USER_TIME: usize = 11;
    after_name(stat).skip(USER_TIME).take(4).filter_map(|ticks| ticks.parse::<u64>().ok()).sum::<u64>()
        * TICK_US
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

fn kibibytes(text: &str, name: &str) -> u64 {
    number(text, name).saturating_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let status = "Name:\tx\nVmHWM:\t     100 kB\nRssAnon:\t  60 kB\nThreads:\t3\n";
        assert_eq!(kibibytes(status, "RssAnon:"), 60 * 1024);
        assert_eq!((number(status, "Threads:"), number(status, "VmSwap:")), (3, 0));
        let stat = "7 (a) b) S 1 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5 6 7";
        assert_eq!(cpu_us(stat), 100 * TICK_US);
        assert_eq!(after_name(stat).nth(1), Some("1"));
    }

    #[test]
    fn our_own_children() {
        if !children_are_listed() {
            eprintln!("skipped: the kernel does not list children");
            return;
        }
        let folder = File::open("/proc/self").unwrap();
        let tree = Members::new(MembersKind::Tree, folder.into());
        let mut child = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let is_there = || {
            let mut found = false;
            tree.visit(|member| found |= member.pid == pid);
            found
        };
        assert!(is_there());
        assert!(tree.read().threads >= 1 && tree.cpu_us() > 0);
        child.kill().unwrap();
        child.wait().unwrap();
        assert!(!is_there());
    }
}
