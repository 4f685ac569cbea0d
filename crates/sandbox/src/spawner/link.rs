//! What the server knows of its sandboxes: requests under way, sandboxes alive, removals pending.

use std::collections::{HashMap, HashSet};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{oneshot, watch};

use crate::cgroup::{ControlKind, Controls};
use crate::error::SandboxError;
use crate::protocol::Reply;
use crate::sandbox::{Parts, Sandbox};
use crate::spec::{ExitStatus, Usage};

/// How a sandbox ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Ended {
    /// The program's end.
    pub(crate) status: ExitStatus,
    /// What it used.
    pub(crate) usage: Option<Usage>,
}

/// Connects a [`Sandbox`] with the thread that hears of its end.
#[derive(Debug)]
pub(crate) struct Link {
    ended: watch::Sender<Option<Ended>>,
    /// Keeps `/tmp` of the sandbox mounted, hence to be let go at the end.
    tmp: Mutex<Option<OwnedFd>>,
}

impl Link {
    fn new(tmp: OwnedFd) -> Arc<Link> {
        Arc::new(Link { ended: watch::Sender::new(None), tmp: Mutex::new(Some(tmp)) })
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&self) -> Option<Ended> {
        *self.ended.borrow()
    }

    /// Waits for the end.
    pub(crate) async fn wait(&self) -> Ended {
        let mut receiver = self.ended.subscribe();
        match receiver.wait_for(Option::is_some).await {
            Ok(ended) => ended.unwrap_or(Ended { status: LOST, usage: None }),
            // The sender lives in `self`.
            Err(_) => Ended { status: LOST, usage: None },
        }
    }

    /// Bytes in the sandbox's `/tmp`.
    pub(crate) fn tmp_used(&self) -> u64 {
        let tmp = lock(&self.tmp);
        tmp.as_ref().and_then(|tmp| crate::sys::file_system_used(tmp.as_fd()).ok()).unwrap_or(0)
    }

    fn end(&self, ended: Ended) {
        lock(&self.tmp).take();
        self.ended.send_replace(Some(ended));
    }
}

/// What is reported for sandboxes whose spawner was lost: the kernel killed them.
const LOST: ExitStatus = ExitStatus::Signal(9);

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
    teardowns: HashSet<u64>,
}

/// Shared by the handle and its threads.
pub(super) struct State {
    table: Mutex<Table>,
    pub(super) alive: watch::Sender<bool>,
    pub(super) restarts: AtomicU64,
    pub(super) next_key: AtomicU64,
}

impl State {
    pub(super) fn new() -> State {
        State {
            table: Mutex::new(Table::default()),
            alive: watch::Sender::new(false),
            restarts: AtomicU64::new(0),
            // 0 stands for the spawner itself.
            next_key: AtomicU64::new(1),
        }
    }

    /// Running sandboxes and pending removals.
    pub(super) fn counts(&self) -> (usize, usize) {
        let table = lock(&self.table);
        (table.running.len(), table.teardowns.len())
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

    /// Acts on what the spawner says.
    pub(super) fn take(&self, reply: Reply, fds: Vec<OwnedFd>) {
        match reply {
            Reply::Created { key, controls } => self.created(key, &controls, fds),
            Reply::Failed { key, error, gone_follows } => {
                let mut table = lock(&self.table);
                if gone_follows {
                    table.teardowns.insert(key);
                }
                if let Some(pending) = table.pending.remove(&key) {
                    let _ = pending.reply.send(Err(error));
                }
            }
            Reply::Ended { key, status, usage } => {
                let mut table = lock(&self.table);
                table.teardowns.insert(key);
                if let Some((_, link)) = table.running.remove(&key) {
                    link.end(Ended { status, usage: Some(usage) });
                }
            }
            Reply::Gone { key } => {
                lock(&self.table).teardowns.remove(&key);
            }
            Reply::Ready { .. } | Reply::Unable(_) | Reply::Bye => {}
        }
    }

    fn created(&self, key: u64, kinds: &[ControlKind], fds: Vec<OwnedFd>) {
        let mut table = lock(&self.table);
        let Some(pending) = table.pending.remove(&key) else { return };
        let mut fds = fds.into_iter();
        let (Some(init), Some(program), Some(tmp)) = (fds.next(), fds.next(), fds.next()) else {
            let _ = pending.reply.send(Err(SandboxError::SpawnerLost));
            return;
        };
        let controls = Controls::new(kinds.iter().copied().zip(fds.by_ref()));
        let listeners = pending.parts.ports.iter().copied().zip(fds.map(TcpListener::from)).collect();
        let link = Link::new(tmp);
        table.running.insert(key, (pending.generation, Arc::clone(&link)));
        drop(table);
        let sandbox = Sandbox::new(pending.parts, init, program, controls, listeners, link);
        // If nobody waits any more it is dropped here, which ends it.
        let _ = pending.reply.send(Ok(sandbox));
    }

    /// The spawner process of a generation is lost, and with it all its sandboxes.
    pub(super) fn lose(&self, generation: u64) {
        let mut table = lock(&self.table);
        let lost = |of: &u64| *of <= generation;
        for (_, pending) in table.pending.extract_if(|_, pending| lost(&pending.generation)) {
            let _ = pending.reply.send(Err(SandboxError::SpawnerLost));
        }
        let running: Vec<_> = table.running.extract_if(|_, (of, _)| lost(of)).collect();
        for (key, (_, link)) in running {
            table.teardowns.insert(key);
            link.end(Ended { status: LOST, usage: None });
        }
    }

    /// Nothing is left of what a lost spawner had.
    pub(super) fn cleared(&self) {
        lock(&self.table).teardowns.clear();
    }
}
