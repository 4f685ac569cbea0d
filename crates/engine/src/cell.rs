//! What others than its user may touch of an environment: its sandbox, to freeze or kill it, and the room
//! it takes.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lambkin_sandbox::{Sandbox, Usage};

use crate::host::Charge;
use crate::pool::Pool;

/// The shared part of an environment.
#[derive(Debug)]
pub(crate) struct Cell {
    state: Mutex<State>,
    /// Memory it counts with while in use, in bytes.
    nominal: u64,
    /// Whether the freezer has it in its queue.
    pub(crate) queued: AtomicBool,
}

#[derive(Debug)]
struct State {
    sandbox: Option<Arc<Sandbox>>,
    busy: bool,
    frozen: bool,
    /// When it was last let go.
    released: Instant,
    /// Given back when the environment is closed, whoever may still hold this for a moment.
    charge: Option<Charge<Pool>>,
    closed: bool,
}

/// Whether an idle environment can be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Waking {
    /// It runs.
    Awake,
    /// Its memory does not fit at present; it stays frozen.
    NoRoom,
    /// It cannot be thawed, or has been killed.
    Dead,
}

/// What the freezer did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freezing {
    /// It is frozen now.
    Frozen,
    /// It has not been idle for long enough; try again after this time.
    Later(Duration),
    /// It is in use, or gone.
    Not,
}

impl Cell {
    /// The shared part of an environment that is in use.
    pub(crate) fn new(charge: Charge<Pool>) -> Self {
        Self {
            nominal: charge.bytes(),
            state: Mutex::new(State {
                sandbox: None,
                busy: true,
                frozen: false,
                released: Instant::now(),
                charge: Some(charge),
                closed: false,
            }),
            queued: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a sandbox in; `false`, and nothing changed, if the environment has been closed.
    pub(crate) fn attach(&self, sandbox: &Arc<Sandbox>) -> bool {
        let mut state = self.lock();
        if !state.closed {
            state.sandbox = Some(Arc::clone(sandbox));
        }
        !state.closed
    }

    /// Kills and lets go of the sandbox; another may be put in.
    pub(crate) fn detach(&self) {
        let sandbox = self.lock().sandbox.take();
        if let Some(sandbox) = sandbox {
            sandbox.kill();
        }
    }

    /// Lets go of the sandbox without killing it; another may be put in.
    pub(crate) fn take(&self) -> Option<Arc<Sandbox>> {
        self.lock().sandbox.take()
    }

    /// Kills the sandbox and gives its room back; no other is put in.
    pub(crate) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.charge = None;
        if let Some(sandbox) = &state.sandbox {
            sandbox.kill();
        }
    }

    /// Takes the environment into use: thaws it and counts its full memory.
    pub(crate) fn wake(&self) -> Waking {
        let mut state = self.lock();
        if state.closed {
            return Waking::Dead;
        }
        if state.frozen {
            if state.charge.as_mut().is_some_and(|charge| !charge.resize(self.nominal)) {
                return Waking::NoRoom;
            }
            let thawed = state.sandbox.as_ref().map_or(Ok(()), |sandbox| sandbox.thaw());
            if let Err(error) = thawed {
                tracing::warn!(%error, "cannot thaw a sandbox");
                return Waking::Dead;
            }
            state.frozen = false;
        }
        state.busy = true;
        Waking::Awake
    }

    /// Lets the environment go; `true` if it is to be put into the freezer's queue.
    pub(crate) fn rest(&self) -> bool {
        let mut state = self.lock();
        state.busy = false;
        state.released = Instant::now();
        drop(state);
        !self.queued.swap(true, Ordering::AcqRel)
    }

    /// Freezes it if it has been idle for `after`, and counts what memory it really holds from then on.
    pub(crate) fn freeze(&self, after: Duration) -> io::Result<Freezing> {
        let mut state = self.lock();
        let idle = state.released.elapsed();
        if !state.busy && !state.closed && idle < after {
            return Ok(Freezing::Later(after.saturating_sub(idle)));
        }
        // Under the lock: `rest` puts it back into the queue only after this.
        self.queued.store(false, Ordering::Release);
        let State { sandbox, busy: false, frozen: false, closed: false, .. } = &*state else {
            return Ok(Freezing::Not);
        };
        let held = match sandbox {
            Some(sandbox) => {
                sandbox.freeze()?;
                sandbox.usage().memory_bytes.clamp(1, self.nominal)
            }
            // Killed after a timeout or a crash; the next invocation makes another.
            None => 1,
        };
        state.frozen = true;
        if let Some(charge) = &mut state.charge {
            charge.resize(held);
        }
        Ok(Freezing::Frozen)
    }

    /// What the sandbox has used so far.
    pub(crate) fn usage(&self) -> Usage {
        let sandbox = self.lock().sandbox.clone();
        sandbox.map(|sandbox| sandbox.usage()).unwrap_or_default()
    }
}
