//! One sandbox as the spawner knows it.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use crate::cgroup::Group;
use crate::isolation::Isolation;
use crate::members::Members;
use crate::memory::{self, Standing};
use crate::net::Attachment;
use crate::spec::{ExitStatus, Usage};
use crate::sys::{file_system_used, process};

/// First pause between attempts to remove the cgroups; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(100);

/// Changes of a watched sandbox's memory below this are not looked at.
const WORTH_A_LOOK: u64 = 256 * 1024;

/// From clone to removal.
#[derive(Debug)]
pub(super) struct Live {
    /// The caller's name for it.
    pub(super) id: String,
    /// What it was given of [`super::slots::Slots`].
    pub(super) slot: u32,
    /// User and group of its processes, as the spawner's user namespace numbers them.
    pub(super) ids: (u32, u32),
    /// The signal on which init ends everything.
    pub(super) kill_signal: i32,
    /// Init's process id; ours to wait for.
    pub(super) pid: i32,
    /// Init.
    pub(super) init: OwnedFd,
    /// Messages of init; `None` after its end.
    pub(super) status: Option<OwnedFd>,
    /// Its cgroups.
    pub(super) group: Box<dyn Group>,
    /// Number of the zygote that its program was to be forked from.
    pub(super) zygote: Option<u64>,
    /// Its way to the outside.
    pub(super) attachment: Option<Attachment>,
    /// Its `/tmp`, once mounted.
    pub(super) tmp: Option<OwnedFd>,
    /// Its processes, where the server cannot see all that counts.
    pub(super) members: Option<Members>,
    /// Its memory limit.
    pub(super) memory_bytes: u64,
    /// The server has heard of it by `Created`.
    pub(super) created: bool,
    /// The server has heard of its end by `Failed` or `Ended`.
    pub(super) reported: bool,
    /// It was killed for using too much memory.
    pub(super) out_of_memory: bool,
    /// More memory is charged than the limit, of which some does not count: to be looked at regularly.
    pub(super) watched: bool,
    /// Bytes charged at the last look, if that found nothing wrong.
    pub(super) looked_at: u64,
    /// Init is dead and reaped; when to try next to remove the cgroups, and how long to pause after.
    pub(super) removal: Option<(Instant, Duration)>,
}

impl Live {
    /// Kills everything in it.
    pub(super) fn kill(&self) {
        // `ESRCH`: it is dead already.
        let _ = process::pidfd_signal(self.init.as_fd(), self.kill_signal);
        if self.group.controls().frozen_cannot_die() {
            let _ = self.group.controls().set_frozen(false);
        }
    }

    /// Looks at the memory; kills the sandbox if it uses too much.
    pub(super) fn check_memory(&mut self, tolerance: u64) {
        if self.reported || self.out_of_memory {
            self.watched = false;
            return;
        }
        let over = || {
            let read = || self.group.controls().read_memory();
            let tmp = self.tmp.as_ref().map(AsFd::as_fd);
            memory::standing(read, tmp, self.memory_bytes, tolerance)
        };
        // One reading may have caught `/tmp` in the middle of a change.
        let standing = match over() {
            Ok(Standing::Over) => over(),
            other => other,
        };
        let kernel_killed = self.group.kernel_killed();
        match standing {
            _ if kernel_killed => self.kill_for_memory(),
            Ok(Standing::Over) => self.kill_for_memory(),
            Ok(Standing::Watch { tmp_used }) => {
                self.watched = true;
                // A failure costs only speed: the watch looks again anyway.
                let _ = self.group.allow_for(tmp_used);
            }
            Ok(Standing::Below) => self.watched = false,
            // The group is being removed.
            Err(_) => self.watched = false,
        }
    }

    /// Looks again at a watched sandbox, closely only if its use has changed.
    pub(super) fn watch_memory(&mut self, tolerance: u64) {
        let usage = self.group.controls().usage_bytes().unwrap_or(0);
        if usage.abs_diff(self.looked_at) > WORTH_A_LOOK {
            self.looked_at = usage;
            self.check_memory(tolerance);
        }
    }

    /// Kills the sandbox if its processes have too much in files of memory.
    pub(super) fn count_memory_files(&mut self) {
        let Some(members) = self.members.as_ref().filter(|_| !self.reported && !self.out_of_memory) else {
            return;
        };
        if !members.are_stopped() && members.memory_files() > self.memory_bytes {
            self.kill_for_memory();
        }
    }

    fn kill_for_memory(&mut self) {
        self.out_of_memory = true;
        self.watched = false;
        self.kill();
    }

    /// How the end is to be reported, given how the program ended.
    pub(super) fn final_status(&self, status: ExitStatus) -> ExitStatus {
        if self.out_of_memory || self.group.kernel_killed() { ExitStatus::OutOfMemory } else { status }
    }

    /// What it used in all.
    pub(super) fn final_usage(&self, status: ExitStatus) -> Usage {
        let tmp_used = self.tmp.as_ref().and_then(|tmp| file_system_used(tmp.as_fd()).ok()).unwrap_or(0);
        let controls = self.group.controls();
        let counted = || controls.read_memory().ok();
        let mut usage = memory::report(controls.usage(), tmp_used, self.memory_bytes, 0, counted);
        if status == ExitStatus::OutOfMemory {
            usage.max_memory_bytes = self.memory_bytes;
        }
        usage
    }

    /// Schedules the removal of the cgroups for now, and ends the network's trust in its address.
    pub(super) fn start_removal(&mut self) {
        if let Some(attachment) = &mut self.attachment {
            attachment.expel();
        }
        self.removal = Some((Instant::now(), FIRST_PAUSE));
    }

    /// Tries to remove the cgroups if it is time. True when nothing is left, its link included.
    pub(super) fn try_removal(&mut self, now: Instant) -> bool {
        let Some((at, pause)) = self.removal else { return false };
        if now < at {
            return false;
        }
        let link_gone = || self.attachment.as_ref().is_none_or(Attachment::gone);
        if self.group.remove().is_ok() && link_gone() {
            return true;
        }
        self.removal = Some((now + pause, (pause * 2).min(LONGEST_PAUSE)));
        false
    }
}

/// The signal on which an init ends everything in its sandbox: of a pid namespace the kernel kills all with
/// it, a plain process has to do that itself.
pub(super) fn kill_signal(isolation: Isolation) -> i32 {
    if isolation.has_namespaces() { libc::SIGKILL } else { libc::SIGTERM }
}

/// Translates a `waitpid` status.
pub(super) fn exit_status(raw: i32) -> ExitStatus {
    if libc::WIFSIGNALED(raw) {
        ExitStatus::Signal(libc::WTERMSIG(raw))
    } else {
        ExitStatus::Code(libc::WEXITSTATUS(raw))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses() {
        assert_eq!(exit_status(3 << 8), ExitStatus::Code(3));
        assert_eq!(exit_status(9), ExitStatus::Signal(9));
        assert_eq!(exit_status(11 | 0x80), ExitStatus::Signal(11));
    }
}
