//! Limits of sandboxes without cgroups, kept by looking: a thread of the server reads the memory of their
//! processes from `/proc`, and kills a sandbox that has too much.
//!
//! How long it waits between two looks follows from how much is left to the limit. A sandbox that takes
//! memory as fast as the kernel gives it can overshoot for some tens of milliseconds. Stopped ones are not
//! looked at.

use std::collections::BinaryHeap;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak, mpsc};
use std::time::{Duration, Instant};

use crate::members::Members;
use crate::spec::{ExitStatus, Usage};
use crate::sys::{file_system_used, process};

/// How fast memory is expected to be taken at most, in bytes per millisecond.
const GROWTH: u64 = 2 * 1024 * 1024;
const SHORTEST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_millis(200);
/// Instead, where processes are counted: they are made fast.
const LONGEST_PAUSE_FOR_COUNTING: Duration = Duration::from_millis(25);

/// A sandbox that is watched.
#[derive(Debug)]
pub(crate) struct Watched {
    members: Members,
    /// A file system of the sandbox's own whose content is no memory.
    tmp: Option<OwnedFd>,
    memory_bytes: u64,
    /// Most processes and threads, if the kernel does not see to it.
    threads_max: Option<u64>,
    init: OwnedFd,
    kill_signal: i32,
    stopped: AtomicBool,
    scheduled: AtomicBool,
    ended: AtomicBool,
    out_of_memory: AtomicBool,
    peak_bytes: AtomicU64,
    cpu_us: AtomicU64,
    /// Held while stopping, resuming and killing, so that a process is not stopped after the resumption.
    order: Mutex<()>,
}

/// What to watch.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its processes.
    pub(crate) members: Members,
    /// Its `/tmp`.
    pub(crate) tmp: Option<OwnedFd>,
    /// Memory of its processes.
    pub(crate) memory_bytes: u64,
    /// Most processes and threads, where that is to be watched too.
    pub(crate) threads_max: Option<u64>,
    /// What to kill.
    pub(crate) init: OwnedFd,
    /// With which signal.
    pub(crate) kill_signal: i32,
}

impl Watched {
    fn new(subject: Subject) -> Watched {
        let Subject { members, tmp, memory_bytes, threads_max, init, kill_signal } = subject;
        Watched {
            members,
            tmp,
            memory_bytes,
            threads_max,
            init,
            kill_signal,
            stopped: AtomicBool::new(false),
            scheduled: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            out_of_memory: AtomicBool::new(false),
            peak_bytes: AtomicU64::new(0),
            cpu_us: AtomicU64::new(0),
            order: Mutex::new(()),
        }
    }

    fn tmp_used(&self) -> u64 {
        self.tmp.as_ref().and_then(|tmp| file_system_used(tmp.as_fd()).ok()).unwrap_or(0)
    }

    /// What the processes use now.
    pub(crate) fn usage(&self) -> Usage {
        if !self.ended.load(Ordering::Acquire) {
            let reading = self.members.read();
            let now = reading.private_bytes + reading.shared_bytes.saturating_sub(self.tmp_used());
            self.peak_bytes.fetch_max(now.max(reading.peak_bytes), Ordering::Relaxed);
            self.cpu_us.fetch_max(self.members.cpu_us(), Ordering::Relaxed);
            return Usage { memory_bytes: now.min(self.memory_bytes), ..self.last() };
        }
        self.last()
    }

    /// What they had used when last looked at.
    fn last(&self) -> Usage {
        Usage {
            max_memory_bytes: self.peak_bytes.load(Ordering::Relaxed).min(self.memory_bytes),
            memory_bytes: 0,
            cpu_us: self.cpu_us.load(Ordering::Relaxed),
        }
    }

    /// Starts a new peak at the present use.
    pub(crate) fn reset_peak(&self) {
        self.members.reset_peak();
        self.peak_bytes.store(0, Ordering::Relaxed);
    }

    /// Notes that the sandbox has ended; what is to be reported of it.
    pub(crate) fn end(&self, status: ExitStatus) -> (ExitStatus, Usage) {
        self.ended.store(true, Ordering::Release);
        let mut usage = self.last();
        if status == ExitStatus::OutOfMemory || self.out_of_memory.load(Ordering::Acquire) {
            usage.max_memory_bytes = self.memory_bytes;
            return (ExitStatus::OutOfMemory, usage);
        }
        (status, usage)
    }

    /// Kills it.
    pub(crate) fn kill(&self) {
        // `ESRCH`: it is dead already.
        let _ = process::pidfd_signal(self.init.as_fd(), self.kill_signal);
    }

    /// Looks at it; when to look again, `None` if it need not be.
    fn look(&self) -> Option<Duration> {
        if self.ended.load(Ordering::Acquire) {
            return None;
        }
        let reading = self.members.read();
        let memory_files = self.members.memory_files();
        let counted =
            |private: u64, shared: u64| private + shared.saturating_sub(self.tmp_used()).max(memory_files);
        let mut used = counted(reading.private_bytes, reading.shared_bytes);
        // The cheap reading counts what forked processes share several times, and lags a little behind.
        if used > self.memory_bytes - self.memory_bytes / 16 {
            let (private, shared) = self.members.read_exactly();
            used = counted(private, shared);
        }
        self.peak_bytes.fetch_max(used, Ordering::Relaxed);
        if used > self.memory_bytes {
            self.out_of_memory.store(true, Ordering::Release);
            self.kill();
            return None;
        }
        if self.threads_max.is_some_and(|most| reading.threads > most) {
            self.kill();
            return None;
        }
        let left = self.memory_bytes - used;
        let longest = if self.threads_max.is_some() { LONGEST_PAUSE_FOR_COUNTING } else { LONGEST_PAUSE };
        Some(Duration::from_millis(left / 2 / GROWTH).clamp(SHORTEST_PAUSE, longest))
    }
}

/// When to look at which.
struct Due {
    at: Instant,
    watched: Weak<Watched>,
}

impl PartialEq for Due {
    fn eq(&self, other: &Due) -> bool {
        self.at == other.at
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Due) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    /// The earliest is the greatest, as `BinaryHeap` wants it.
    fn cmp(&self, other: &Due) -> std::cmp::Ordering {
        other.at.cmp(&self.at)
    }
}

/// The thread that looks. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Watcher {
    subjects: mpsc::Sender<Weak<Watched>>,
}

/// A watched sandbox and who watches it.
#[derive(Debug, Clone)]
pub(crate) struct Watch {
    watched: Arc<Watched>,
    subjects: mpsc::Sender<Weak<Watched>>,
}

impl Watcher {
    /// Starts the thread.
    pub(crate) fn start() -> std::io::Result<Watcher> {
        let (subjects, new) = mpsc::channel();
        std::thread::Builder::new().name("sandbox-watch".to_owned()).spawn(move || run(&new))?;
        Ok(Watcher { subjects })
    }

    /// Watches a sandbox from now on.
    pub(crate) fn watch(&self, subject: Subject) -> Watch {
        let watch = Watch { watched: Arc::new(Watched::new(subject)), subjects: self.subjects.clone() };
        watch.schedule();
        watch
    }
}

impl Watch {
    /// The sandbox.
    pub(crate) fn subject(&self) -> &Watched {
        &self.watched
    }

    fn schedule(&self) {
        if !self.watched.scheduled.swap(true, Ordering::AcqRel) {
            // The thread lives as long as the spawner's handle; without that all sandboxes are dead.
            let _ = self.subjects.send(Arc::downgrade(&self.watched));
        }
    }

    /// Stops or resumes its processes.
    pub(crate) fn set_frozen(&self, frozen: bool) -> std::io::Result<()> {
        let _order = self.watched.order.lock().unwrap_or_else(PoisonError::into_inner);
        if self.watched.ended.load(Ordering::Acquire) {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        if frozen {
            self.watched.members.stop();
        }
        self.watched.stopped.store(frozen, Ordering::Release);
        if !frozen {
            self.schedule();
            self.watched.members.resume();
        }
        Ok(())
    }
}

fn run(new: &mpsc::Receiver<Weak<Watched>>) {
    let mut due: BinaryHeap<Due> = BinaryHeap::new();
    loop {
        let wait = due.peek().map(|first| first.at.saturating_duration_since(Instant::now()));
        let received = match wait {
            None => new.recv().map_err(|_| mpsc::RecvTimeoutError::Disconnected),
            Some(wait) => new.recv_timeout(wait),
        };
        match received {
            Ok(watched) => due.push(Due { at: Instant::now() + SHORTEST_PAUSE, watched }),
            Err(mpsc::RecvTimeoutError::Timeout) => {}
            Err(mpsc::RecvTimeoutError::Disconnected) => return,
        }
        let now = Instant::now();
        while due.peek().is_some_and(|first| first.at <= now) {
            let Some(Due { watched, .. }) = due.pop() else { break };
            let Some(subject) = watched.upgrade() else { continue };
            if subject.stopped.load(Ordering::Acquire) {
                subject.scheduled.store(false, Ordering::Release);
                // It may have been resumed in between and not been scheduled.
                if subject.stopped.load(Ordering::Acquire) || subject.scheduled.swap(true, Ordering::AcqRel) {
                    continue;
                }
            }
            if let Some(pause) = subject.look() {
                due.push(Due { at: now + pause, watched });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::process::Command;

    use super::*;
    use crate::members::{MembersKind, children_are_listed};

    #[test]
    fn the_earliest_is_looked_at_first() {
        let now = Instant::now();
        let mut heap = BinaryHeap::new();
        for millis in [30, 10, 20] {
            heap.push(Due { at: now + Duration::from_millis(millis), watched: Weak::new() });
        }
        assert_eq!(heap.pop().map(|due| due.at), Some(now + Duration::from_millis(10)));
    }

    #[test]
    fn too_much_memory_is_seen() {
        if !children_are_listed() {
            eprintln!("skipped: the kernel does not list children");
            return;
        }
        let mut child = Command::new("sh").args(["-c", "exec sleep 1000"]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        let subject = |memory_bytes| Subject {
            members: Members::new(MembersKind::Tree, File::open("/proc/self").unwrap().into()),
            tmp: None,
            memory_bytes,
            threads_max: None,
            init: process::pidfd_open(pid).unwrap(),
            kill_signal: libc::SIGKILL,
        };
        let roomy = Watched::new(subject(1 << 40));
        assert_eq!(roomy.look(), Some(LONGEST_PAUSE));
        assert!(roomy.usage().max_memory_bytes > 0);
        let tight = Watched::new(subject(1));
        while tight.look().is_some() {
            // `sh` may not have been executed yet.
            std::thread::yield_now();
        }
        child.wait().unwrap();
        assert_eq!(tight.end(ExitStatus::Signal(9)).0, ExitStatus::OutOfMemory);
        assert_eq!(tight.look(), None);
    }
}
