//! What the server knows of its sandboxes: requests under way, sandboxes alive, removals pending.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use super::live::kill_signal;
use crate::cgroup::Controls;
use crate::error::SandboxError;
use crate::isolation::Isolation;
use crate::members::Members;
use crate::net::Admission;
use crate::protocol::{Part, Reply, ZygoteEvent};
use crate::sandbox::{Parts, Sandbox, Ways};
use crate::spec::{ExitStatus, Origin, Usage, ZygoteStatus};
use crate::watch::{Subject, Watch, Watcher};

/// How a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The program's end.
    pub(crate) status: ExitStatus,
    /// What it used.
    pub(crate) usage: Option<Usage>,
    /// Because its spawner process was lost.
    pub(crate) lost: bool,
}

/// Connects a [`Sandbox`] with the thread that hears of its end.
#[derive(Debug)]
pub(crate) struct Link {
    ended: watch::Sender<Option<Ended>>,
    /// Helpers in the order of their ends.
    helpers: watch::Sender<Vec<(usize, ExitStatus)>>,
    /// Keeps `/tmp` of the sandbox mounted, hence to be let go at the end.
    tmp: Mutex<Option<OwnedFd>>,
    /// For sandboxes without cgroups.
    watch: Mutex<Option<Watch>>,
}

impl Link {
    fn new(tmp: Option<OwnedFd>, watch: Option<Watch>) -> Arc<Link> {
        let (tmp, watch) = (Mutex::new(tmp), Mutex::new(watch));
        Arc::new(Link {
            ended: watch::Sender::new(None),
            helpers: watch::Sender::new(Vec::new()),
            tmp,
            watch,
        })
    }

    /// Who keeps the limits, if it is not a cgroup.
    pub(crate) fn watch(&self) -> Option<Watch> {
        lock(&self.watch).clone()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        *self.ended.borrow()
    }

    /// Waits for the end.
    pub(crate) async fn wait(&self) -> Ended {
        let mut receiver = self.ended.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(LOST),
            // The sender lives in `self`.
            Err(_) => LOST,
        }
    }

    /// Waits for the end of a helper, the `seen` first ones not counted.
    pub(crate) async fn helper_end(&self, seen: usize) -> (usize, ExitStatus) {
        let mut receiver = self.helpers.subscribe();
        let found = receiver.wait_for(|ended| ended.len() > seen).await;
        match found.ok().and_then(|ended| ended.get(seen).copied()) {
            Some(end) => end,
            // The sender lives in `self`.
            None => std::future::pending().await,
        }
    }

    /// Bytes in the sandbox's `/tmp`.
    pub(crate) fn tmp_used(&self) -> u64 {
        let tmp = lock(&self.tmp);
        tmp.as_ref().and_then(|tmp| crate::sys::file_system_used(tmp.as_fd()).ok()).unwrap_or(0)
    }

    fn end(&self, mut ended: Ended) {
        lock(&self.tmp).take();
        if let Some(watch) = lock(&self.watch).take() {
            let (status, usage) = watch.subject().end(ended.status);
            ended = Ended { status, usage: Some(usage), ..ended };
        }
        self.ended.send_replace(Some(ended));
    }
}

/// What is reported for sandboxes whose spawner was lost: the kernel killed them.
const LOST: Ended = Ended { status: ExitStatus::Signal(9), usage: None, lost: true };

/// Locks; a panic of another holder does not matter, for nothing is left half-done under these locks.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A sandbox asked for.
pub(super) struct Pending {
    /// Which spawner process was asked.
    pub(super) generation: u64,
    /// The server's ends of its descriptors.
    pub(super) parts: Parts,
    /// Who waits for it.
    pub(super) reply: oneshot::Sender<Result<Sandbox, SandboxError>>,
}

#[derive(Default)]
struct Table {
    pending: HashMap<u64, Pending>,
    running: HashMap<u64, (u64, Arc<Link>)>,
    /// Those that have ended or failed; some helpers may be alive.
    teardowns: HashMap<u64, Option<Arc<Link>>>,
}

/// Shared by the handle and its threads.
pub(super) struct State {
    table: Mutex<Table>,
    pub(super) alive: watch::Sender<bool>,
    pub(super) restarts: AtomicU64,
    pub(super) next_key: AtomicU64,
    /// Whether sandboxes can have uplinks; `None` while that is not known.
    pub(super) network: watch::Sender<Option<Result<String, SandboxError>>>,
    isolation: Isolation,
    watcher: Option<Watcher>,
    zygotes: Mutex<BTreeMap<String, ZygoteStatus>>,
}

impl State {
    /// Of a spawner without any sandbox yet.
    pub(super) fn new(isolation: Isolation) -> io::Result<State> {
        Ok(State {
            isolation,
            // Root always has cgroups.
            watcher: if isolation == Isolation::Root { None } else { Some(Watcher::start()?) },
            table: Mutex::new(Table::default()),
            alive: watch::Sender::new(false),
            restarts: AtomicU64::new(0),
            // 0 stands for the spawner itself.
            next_key: AtomicU64::new(1),
            network: watch::Sender::new(None),
            zygotes: Mutex::default(),
        })
    }

    /// Running sandboxes and pending removals.
    pub(super) fn counts(&self) -> (usize, usize) {
        let table = lock(&self.table);
        (table.running.len(), table.teardowns.len())
    }

    /// The zygotes by name.
    pub(super) fn zygotes(&self) -> Vec<ZygoteStatus> {
        lock(&self.zygotes).values().cloned().collect()
    }

    pub(super) fn keep_zygote(&self, name: &str) {
        let status =
            ZygoteStatus { name: name.to_owned(), pid: None, generations: 0, losses: 0, last_loss: None };
        lock(&self.zygotes).insert(name.to_owned(), status);
    }

    pub(super) fn end_zygote(&self, name: &str) {
        lock(&self.zygotes).remove(name);
    }

    fn zygote(&self, name: &str, event: ZygoteEvent) {
        let mut zygotes = lock(&self.zygotes);
        let Some(zygote) = zygotes.get_mut(name) else { return };
        match event {
            ZygoteEvent::Ready { pid } => {
                zygote.pid = Some(pid);
                zygote.generations += 1;
                tracing::info!(name, pid, generation = zygote.generations, "zygote ready");
            }
            ZygoteEvent::Lost { reason } => {
                zygote.pid = None;
                zygote.losses += 1;
                tracing::warn!(name, reason, losses = zygote.losses, "zygote lost");
                zygote.last_loss = Some(reason);
            }
        }
    }

    pub(super) fn key(&self) -> u64 {
        self.next_key.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn expect(&self, key: u64, pending: Pending) {
        lock(&self.table).pending.insert(key, pending);
    }

    pub(super) fn forget(&self, key: u64) -> Option<Pending> {
        lock(&self.table).pending.remove(&key)
    }

    /// Acts on what the spawner says. Answers the number of a sandbox that could not be taken over and is to end.
    pub(super) fn take(&self, reply: Reply, fds: Vec<OwnedFd>) -> Option<u64> {
        match reply {
            Reply::Created { key, parts, link, origin } => {
                return self.created(key, parts, (link, origin), fds);
            }
            Reply::Zygote { name, event } => self.zygote(&name, event),
            Reply::Network(network) => {
                self.network.send_replace(Some(network));
            }
            Reply::Failed { key, error, gone_follows } => {
                let mut table = lock(&self.table);
                if gone_follows {
                    table.teardowns.insert(key, None);
                }
                if let Some(pending) = table.pending.remove(&key) {
                    let _ = pending.reply.send(Err(error));
                }
            }
            Reply::HelperEnded { key, number, status } => {
                let table = lock(&self.table);
                let running = table.running.get(&key).map(|(_, link)| link);
                let ended = || table.teardowns.get(&key).and_then(Option::as_ref);
                if let Some(link) = running.or_else(ended) {
                    link.helpers.send_modify(|ended| ended.push((number, status)));
                }
            }
            Reply::Ended { key, status, usage } => {
                let mut table = lock(&self.table);
                let link = table.running.remove(&key).map(|(_, link)| link);
                if let Some(link) = &link {
                    link.end(Ended { status, usage: Some(usage), lost: false });
                }
                table.teardowns.insert(key, link);
            }
            Reply::Gone { key } => {
                lock(&self.table).teardowns.remove(&key);
            }
            Reply::Ready { .. } | Reply::Unable(_) | Reply::Bye => {}
        }
        None
    }

    fn created(
        &self,
        key: u64,
        parts: Vec<Part>,
        (outside, origin): (Option<(String, u32)>, Origin),
        fds: Vec<OwnedFd>,
    ) -> Option<u64> {
        let mut table = lock(&self.table);
        let pending = table.pending.remove(&key)?;
        if fds.len() < parts.len() {
            table.teardowns.insert(key, None);
            let error = io::Error::from_raw_os_error(libc::EMFILE);
            let _ = pending.reply.send(Err(SandboxError::step("take descriptors", &error)));
            return Some(key);
        }
        let (mut init, mut program, mut tmp, mut members) = (None, None, None, None);
        let (mut controls, mut listeners, mut sockets) = (Vec::new(), Vec::new(), Vec::new());
        for (part, fd) in parts.into_iter().zip(fds) {
            match part {
                Part::Init => init = Some(fd),
                Part::Program => program = Some(fd),
                Part::Tmp => tmp = Some(fd),
                Part::Members(kind) => members = Some(Members::new(kind, fd)),
                Part::Control(kind) => controls.push((kind, fd)),
                Part::Socket(socket) => sockets.push((socket, fd)),
                Part::Listener(port) => listeners.push((port, TcpListener::from(fd))),
            }
        }
        let (Some(init), Some(program)) = (init, program) else {
            let _ = pending.reply.send(Err(SandboxError::SpawnerLost));
            return None;
        };
        let subject = members.map(|members| self.subject(members, &pending.parts, &init, tmp.as_ref()));
        let watch = match (subject.transpose(), &self.watcher) {
            (Ok(Some(subject)), Some(watcher)) => Some(watcher.watch(subject)),
            (Ok(_), _) => None,
            (Err(error), _) => {
                table.teardowns.insert(key, None);
                let _ = pending.reply.send(Err(SandboxError::step("copy descriptors", &error)));
                return Some(key);
            }
        };
        let link = Link::new(tmp, watch);
        table.running.insert(key, (pending.generation, Arc::clone(&link)));
        drop(table);
        let admission = outside.map(|(table, index)| Admission::new(table, index));
        let kill_signal = kill_signal(self.isolation);
        let ways = Ways { init, program, kill_signal, listeners, sockets, admission, origin };
        let sandbox = Sandbox::new(pending.parts, ways, Controls::new(controls), link);
        // If nobody waits any more it is dropped here, which ends it.
        let _ = pending.reply.send(Ok(sandbox));
        None
    }

    fn subject(
        &self,
        members: Members,
        parts: &Parts,
        init: &OwnedFd,
        tmp: Option<&OwnedFd>,
    ) -> io::Result<Subject> {
        Ok(Subject {
            members,
            tmp: tmp.map(OwnedFd::try_clone).transpose()?,
            memory_bytes: parts.memory_bytes,
            // In a namespace the kernel counts them.
            threads_max: (!self.isolation.has_namespaces()).then_some(u64::from(parts.pids_max)),
            init: init.try_clone()?,
            kill_signal: kill_signal(self.isolation),
        })
    }

    /// The spawner process of a generation is lost, and with it all its sandboxes.
    pub(super) fn lose(&self, generation: u64) {
        self.network.send_if_modified(|network| {
            let unknown = network.is_none();
            if unknown {
                *network = Some(Err(SandboxError::SpawnerLost));
            }
            unknown
        });
        for zygote in lock(&self.zygotes).values_mut() {
            zygote.pid = None;
        }
        let mut table = lock(&self.table);
        let lost = |of: &u64| *of <= generation;
        for (_, pending) in table.pending.extract_if(|_, pending| lost(&pending.generation)) {
            let _ = pending.reply.send(Err(SandboxError::SpawnerLost));
        }
        let running: Vec<_> = table.running.extract_if(|_, (of, _)| lost(of)).collect();
        for (key, (_, link)) in running {
            table.teardowns.insert(key, None);
            link.end(LOST);
        }
    }

    /// Nothing is left of what a lost spawner had.
    pub(super) fn cleared(&self) {
        lock(&self.table).teardowns.clear();
    }
}
