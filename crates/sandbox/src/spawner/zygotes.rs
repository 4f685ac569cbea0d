//! The zygotes that a spawner keeps: one ready process under each name, renewed from time to time, for all its
//! forks have the same layout of memory and the same seed of hashes.

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use super::token::Token;
use crate::cgroup::{Group, Limits, Place};
use crate::error::{Context, SandboxError};
use crate::init::fork::SILENT;
use crate::init::zygote::{self, Input};
use crate::isolation::Isolation;
use crate::protocol::ZygoteEvent;
use crate::seccomp::Filters;
use crate::spec::{Origin, SandboxSpec};
use crate::sys;
use crate::sys::poll::{Interest, Poller};
use crate::sys::process::{self, Clone};
use crate::sys::socket::{self, Pair};

/// After so many forks a zygote is renewed.
const MOST_FORKS: u32 = 1000;

/// A zygote of this age is renewed once it has been forked.
const MOST_AGE: Duration = Duration::from_secs(600);

/// A zygote that is lost before this age is not replaced at once.
const SHORT_LIFE: Duration = Duration::from_secs(5);

/// Pause before another attempt; doubles up to [`LONGEST_PAUSE`].
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How long a zygote may leave all requests unanswered until it is killed.
const SILENCE: Duration = Duration::from_secs(2);

/// Pause between attempts to remove the cgroup of an ended zygote.
const REMOVAL_PAUSE: Duration = Duration::from_millis(5);

/// Most of its output that is reported.
const MOST_OUTPUT: usize = 2000;

/// What zygotes are made with.
pub(super) struct Tools<'a> {
    pub(super) poller: &'a Poller,
    pub(super) place: &'a dyn Place,
    pub(super) filters: &'a Filters,
    pub(super) isolation: Isolation,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Zygotes {
    kept: HashMap<String, Kept>,
    processes: HashMap<u64, Process>,
    last: u64,
    /// Groups of those that have ended.
    removing: Vec<Box<dyn Group>>,
}

/// A zygote by name.
#[derive(Debug)]
struct Kept {
    spec: SandboxSpec,
    /// The process that is forked.
    current: Option<u64>,
    /// The process that is to follow it.
    next: Option<u64>,
    pause: Duration,
    retry_at: Option<Instant>,
}

#[derive(Debug)]
struct Process {
    name: String,
    pid: i32,
    pidfd: OwnedFd,
    socket: OwnedFd,
    output: OwnedFd,
    group: Box<dyn Group>,
    ready: bool,
    /// It may end.
    retired: bool,
    born: Instant,
    forks: u32,
    silent_since: Option<Instant>,
}

impl Zygotes {
    /// Keeps one under a name. It is there once an event says so.
    pub(super) fn keep(&mut self, tools: &Tools<'_>, name: String, spec: SandboxSpec) -> Option<Event> {
        self.end(&name);
        let kept = Kept { spec, current: None, next: None, pause: FIRST_PAUSE, retry_at: None };
        self.kept.insert(name.clone(), kept);
        self.start(tools, &name)
    }

    /// Lets the one under a name end.
    pub(super) fn end(&mut self, name: &str) {
        let Some(kept) = self.kept.remove(name) else { return };
        for number in kept.current.into_iter().chain(kept.next) {
            self.retire(number);
        }
    }

    fn retire(&mut self, number: u64) {
        if let Some(process) = self.processes.get_mut(&number) {
            process.retired = true;
            // It answers what it has been asked and ends.
            let _ = socket::shut(process.socket.as_fd());
        }
    }

    /// The one that can be forked now: its number, and the socket for requests.
    pub(super) fn ready(&self, name: &str) -> Option<(u64, BorrowedFd<'_>)> {
        let number = self.kept.get(name)?.current?;
        let process = self.processes.get(&number).filter(|process| process.ready)?;
        Some((number, process.socket.as_fd()))
    }

    fn start(&mut self, tools: &Tools<'_>, name: &str) -> Option<Event> {
        let kept = self.kept.get_mut(name)?;
        kept.retry_at = None;
        self.last += 1;
        let number = self.last;
        match Process::start(tools, name, number, &kept.spec) {
            Ok(process) => {
                self.processes.insert(number, process);
                if kept.current.is_some() {
                    kept.next = Some(number)
                } else {
                    kept.current = Some(number)
                }
                None
            }
            Err(error) => {
                kept.postpone();
                Some(Event { name: name.to_owned(), event: ZygoteEvent::Lost { reason: error.to_string() } })
            }
        }
    }

    /// Takes what one says.
    pub(super) fn hear(&mut self, tools: &Tools<'_>, number: u64) -> Option<Event> {
        let process = self.processes.get_mut(&number)?;
        let said = socket::receive(process.socket.as_fd(), &mut [0; 16], false);
        if !matches!(said, Ok((length, _)) if length > 0) {
            // The end of the process is an event of its own.
            tools.poller.remove(process.socket.as_fd());
            return None;
        }
        process.ready = true;
        let event = Event { name: process.name.clone(), event: ZygoteEvent::Ready { pid: process.pid } };
        let kept = self.kept.get_mut(&event.name)?;
        if kept.next == Some(number) {
            kept.next = None;
            if let Some(old) = kept.current.replace(number) {
                self.retire(old);
            }
        }
        Some(event)
    }

    /// A sandbox that was to have its program from one has it.
    pub(super) fn used(&mut self, tools: &Tools<'_>, number: u64, origin: &Origin) -> Option<Event> {
        let process = self.processes.get_mut(&number)?;
        match origin {
            Origin::FellBack(reason) if reason == SILENT => {
                let since = *process.silent_since.get_or_insert_with(Instant::now);
                if since.elapsed() > SILENCE {
                    let _ = process::pidfd_signal(process.pidfd.as_fd(), libc::SIGKILL);
                }
                return None;
            }
            _ => process.silent_since = None,
        }
        process.forks += 1;
        let old = process.forks >= MOST_FORKS || process.born.elapsed() > MOST_AGE;
        let name = process.name.clone();
        let kept = self.kept.get(&name)?;
        if old && kept.current == Some(number) && kept.next.is_none() && kept.retry_at.is_none() {
            return self.start(tools, &name);
        }
        None
    }

    /// Collects one that has ended.
    pub(super) fn reap(&mut self, tools: &Tools<'_>, number: u64) -> Option<Event> {
        let process = self.processes.remove(&number)?;
        let status = process::wait_for(Some(process.pid)).map_or(0, |(_, status)| status);
        tools.poller.remove(process.socket.as_fd());
        tools.poller.remove(process.pidfd.as_fd());
        let reason = format!("{}{}", describe(status), process.last_words());
        let Process { name, group, retired, ready, born, .. } = process;
        self.removing.push(group);
        self.remove_groups();
        if retired {
            return None;
        }
        let kept = self.kept.get_mut(&name)?;
        if kept.next == Some(number) {
            kept.next = None;
        } else {
            kept.current = kept.next.take();
        }
        if ready && born.elapsed() > SHORT_LIFE {
            kept.pause = FIRST_PAUSE;
            kept.retry_at = Some(Instant::now());
        } else {
            kept.postpone();
        }
        Some(Event { name, event: ZygoteEvent::Lost { reason } })
    }

    /// Starts those whose time has come again.
    pub(super) fn retry(&mut self, tools: &Tools<'_>) -> Vec<Event> {
        self.remove_groups();
        let now = Instant::now();
        let due = |kept: &Kept| kept.retry_at.is_some_and(|at| at <= now);
        let names: Vec<String> =
            self.kept.iter().filter(|(_, kept)| due(kept)).map(|(name, _)| name.clone()).collect();
        names.into_iter().filter_map(|name| self.start(tools, &name)).collect()
    }

    /// When to call [`Zygotes::retry`] next.
    pub(super) fn next_retry(&self) -> Option<Instant> {
        let removal = (!self.removing.is_empty()).then(|| Instant::now() + REMOVAL_PAUSE);
        self.kept.values().filter_map(|kept| kept.retry_at).chain(removal).min()
    }

    fn remove_groups(&mut self) {
        self.removing.retain_mut(|group| group.remove().is_err());
    }

    /// Process ids of all there are.
    pub(super) fn pids(&self) -> HashSet<i32> {
        self.processes.values().map(|process| process.pid).collect()
    }

    /// Kills and collects all.
    pub(super) fn kill_all(&mut self) {
        self.kept.clear();
        for process in self.processes.values() {
            let _ = process::pidfd_signal(process.pidfd.as_fd(), libc::SIGKILL);
        }
        for (_, process) in self.processes.drain() {
            let _ = process::wait_for(Some(process.pid));
            self.removing.push(process.group);
        }
        self.remove_groups();
    }
}

/// Something to be told to the server.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) name: String,
    pub(super) event: ZygoteEvent,
}

impl Kept {
    fn postpone(&mut self) {
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
    }
}

impl Process {
    fn start(
        tools: &Tools<'_>,
        name: &str,
        number: u64,
        spec: &SandboxSpec,
    ) -> Result<Process, SandboxError> {
        let limits = Limits {
            memory_bytes: spec.memory_bytes,
            tmp_bytes: 0,
            pids_max: spec.pids_max,
            cpu_quota_us: spec.cpu_quota_us,
        };
        let mut group = tools.place.create(&format!("zygote-{name}-{number}"), &limits)?;
        match Process::start_in(tools, name, number, spec, group.as_mut()) {
            Ok((pid, pidfd, socket, output)) => Ok(Process {
                name: name.to_owned(),
                pid,
                pidfd,
                socket,
                output,
                group,
                ready: false,
                retired: false,
                born: Instant::now(),
                forks: 0,
                silent_since: None,
            }),
            Err(error) => {
                let _ = group.remove();
                Err(error)
            }
        }
    }

    fn start_in(
        tools: &Tools<'_>,
        name: &str,
        number: u64,
        spec: &SandboxSpec,
        group: &mut dyn Group,
    ) -> Result<(i32, OwnedFd, OwnedFd, OwnedFd), SandboxError> {
        let (ours, theirs) = socket::socket_pair(Pair::Messages).at("make socket of zygote", name)?;
        socket::send(ours.as_fd(), &tools.filters.bytes(), &[]).at("send filter to zygote", name)?;
        let (output, output_end) = sys::pipe().at("make output pipe of zygote", name)?;
        sys::set_nonblocking(output.as_fd()).at("make output pipe of zygote", name)?;
        let input = Input {
            spec,
            makes_devices: tools.isolation == Isolation::Root,
            control: theirs.as_fd(),
            output: output_end.as_fd(),
            cgroup_entries: group.entries(),
        };
        let cloned = process::clone_process(zygote::CLONE_NAMESPACES, group.clone_target());
        let (pid, pidfd) = match cloned.at("clone zygote", name)? {
            Clone::Child => zygote::run(&input),
            Clone::Parent { pid, pidfd } => (pid, pidfd),
        };
        group.cloned();
        let watch = |fd, token: Token| tools.poller.add(fd, Interest::Readable, token.number());
        let watched = watch(ours.as_fd(), Token::ZygoteSays(number))
            .and_then(|()| watch(pidfd.as_fd(), Token::ZygoteEnd(number)));
        if let Err(error) = watched {
            tools.poller.remove(ours.as_fd());
            let _ = process::pidfd_signal(pidfd.as_fd(), libc::SIGKILL);
            let _ = process::wait_for(Some(pid));
            return Err(SandboxError::at("watch zygote", name, &error));
        }
        Ok((pid, pidfd, ours, output))
    }

    /// The end of what it has written.
    fn last_words(&self) -> String {
        let mut data = vec![0; 64 * 1024];
        let read = self.output.try_clone().and_then(|output| std::fs::File::from(output).read(&mut data));
        data.truncate(read.unwrap_or(0));
        let text = String::from_utf8_lossy(&data);
        let text = text.trim();
        let start = text.char_indices().rev().take(MOST_OUTPUT).last().map_or(0, |(place, _)| place);
        if text.is_empty() { String::new() } else { format!(": {}", text.get(start..).unwrap_or_default()) }
    }
}

fn describe(status: i32) -> String {
    if libc::WIFSIGNALED(status) {
        format!("killed by signal {}", libc::WTERMSIG(status))
    } else {
        format!("exit status {}", libc::WEXITSTATUS(status))
    }
}
