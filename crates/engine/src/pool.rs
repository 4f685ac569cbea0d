//! The environments of one function version.

#![expect(clippy::vec_box, reason = "environments change hands often; as boxes only pointers move")]

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lambkin_core::function::FunctionSpec;
use lambkin_core::invoke::InvokeError;
use tokio::sync::oneshot;

use crate::ahead::Ahead;
use crate::cell::Cell;
use crate::environment::Environment;
use crate::limits::FunctionUse;
use crate::plan::Plan;

/// What a waiting invocation gets.
pub(crate) type Grant = Result<Box<Environment>, InvokeError>;

/// Environments of one revision of one function version, and those who wait for one. Environments are
/// closed only while the pool's lock is not held; under it only locks of cells and of sandboxes are taken.
pub(crate) struct Pool {
    pub(crate) spec: Arc<FunctionSpec>,
    /// What the function's versions share.
    pub(crate) function: Arc<FunctionUse>,
    /// What is initialised ahead.
    pub(crate) ahead: Arc<Ahead>,
    state: Mutex<State>,
    plan: Mutex<Option<Arc<Plan>>>,
}

#[derive(Default)]
struct State {
    /// The last one to come is the first to go.
    idle: Vec<Box<Environment>>,
    /// Idle ones of those that are initialised ahead, in the same order.
    ahead: Vec<Box<Environment>>,
    waiting: VecDeque<Waiting>,
    next_ticket: u64,
    /// Environments being started for those who wait.
    starting: usize,
    /// Environments in use.
    busy: usize,
    retired: bool,
}

impl State {
    /// Where an environment belongs while it is idle.
    fn shelf(&mut self, environment: &Environment) -> &mut Vec<Box<Environment>> {
        if environment.is_ahead() { &mut self.ahead } else { &mut self.idle }
    }
}

struct Waiting {
    ticket: u64,
    grant: oneshot::Sender<Grant>,
}

/// A place in the queue of a pool.
pub(crate) struct Ticket {
    pub(crate) number: u64,
    pub(crate) grant: oneshot::Receiver<Grant>,
}

/// What those who wait need next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: nobody waits, or enough is being started.
    Nothing,
    /// One more environment. It counts as being started from now on.
    Start,
}

/// What to do with an environment that has been let go.
pub(crate) enum Place {
    /// It is idle in the pool. The freezer is to look after it, unless it does already.
    Kept {
        /// Its shared part, for the freezer.
        unattended: Option<Arc<Cell>>,
    },
    /// It went to one who waited.
    Granted,
    /// Nobody is to use it again.
    Surplus(Box<Environment>),
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.lock();
        f.debug_struct("Pool")
            .field("function", &self.spec.name)
            .field("revision", &self.spec.revision)
            .field("idle", &state.idle.len())
            .field("ahead", &state.ahead.len())
            .field("busy", &state.busy)
            .field("starting", &state.starting)
            .field("waiting", &state.waiting.len())
            .field("retired", &state.retired)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// An empty pool. What comes back to a retired one is not kept.
    pub(crate) fn new(spec: Arc<FunctionSpec>, function: Arc<FunctionUse>, retired: bool) -> Self {
        let state = Mutex::new(State { retired, ..State::default() });
        Self { spec, function, ahead: Arc::default(), state, plan: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Memory that an environment counts with while in use, in bytes.
    pub(crate) fn nominal(&self) -> u64 {
        u64::from(self.spec.memory_mb) * 1024 * 1024
    }

    /// How many environments there are, in use, idle or being started.
    pub(crate) fn environments(&self) -> usize {
        let state = self.lock();
        state.idle.len() + state.ahead.len() + state.busy + state.starting
    }

    pub(crate) fn plan(&self) -> Option<Arc<Plan>> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn set_plan(&self, plan: &Arc<Plan>) {
        *self.plan.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(plan));
    }

    /// Takes the idle environment that was used last. It counts as in use from now on.
    pub(crate) fn take_idle(&self) -> Option<Box<Environment>> {
        let mut state = self.lock();
        let environment = state.idle.pop()?;
        state.busy += 1;
        Some(environment)
    }

    /// The same of those that are initialised ahead.
    pub(crate) fn take_ahead(&self) -> Option<Box<Environment>> {
        let mut state = self.lock();
        let environment = state.ahead.pop()?;
        state.busy += 1;
        Some(environment)
    }

    /// An environment that was initialised ahead counts as in use from now on.
    pub(crate) fn taken(&self) {
        self.lock().busy += 1;
    }

    /// Puts back what [`Pool::take_idle`] or [`Pool::take_ahead`] gave and could not be used.
    /// Answered is one that is not to be used again.
    pub(crate) fn put_back(&self, environment: Box<Environment>) -> Option<Box<Environment>> {
        let mut state = self.lock();
        state.busy = state.busy.saturating_sub(1);
        if state.retired {
            return Some(environment);
        }
        state.shelf(&environment).push(environment);
        None
    }

    /// An environment in use is gone.
    pub(crate) fn lost(&self) {
        let mut state = self.lock();
        state.busy = state.busy.saturating_sub(1);
    }

    /// Joins the queue.
    pub(crate) fn wait(&self) -> Ticket {
        let (grant, granted) = oneshot::channel();
        let mut state = self.lock();
        let number = state.next_ticket;
        state.next_ticket += 1;
        state.waiting.push_back(Waiting { ticket: number, grant });
        Ticket { number, grant: granted }
    }

    /// Leaves the queue for want of room; `false` if an environment is on its way, or has been granted.
    pub(crate) fn give_up(&self, number: u64) -> bool {
        let mut state = self.lock();
        match state.waiting.iter().position(|waiting| waiting.ticket == number) {
            Some(place) if place >= state.starting => {
                state.waiting.remove(place);
                true
            }
            _ => false,
        }
    }

    /// What those who wait need, beside idle environments.
    pub(crate) fn need(&self) -> Need {
        let mut state = self.lock();
        state.waiting.retain(|waiting| !waiting.grant.is_closed());
        if state.waiting.len() <= state.starting {
            return Need::Nothing;
        }
        state.starting += 1;
        Need::Start
    }

    /// Whether someone waits.
    pub(crate) fn is_waited_for(&self) -> bool {
        !self.lock().waiting.is_empty()
    }

    /// A start that [`Pool::need`] asked for did not come to be.
    pub(crate) fn not_started(&self) {
        let mut state = self.lock();
        state.starting = state.starting.saturating_sub(1);
    }

    /// A start that [`Pool::need`] asked for has given an environment; it counts as in use.
    pub(crate) fn started(&self) {
        let mut state = self.lock();
        state.starting = state.starting.saturating_sub(1);
        state.busy += 1;
    }

    /// Tells the first who waits that there will be no environment for it.
    pub(crate) fn refuse_one(&self, error: InvokeError) {
        loop {
            let Some(waiting) = self.lock().waiting.pop_front() else { return };
            if waiting.grant.send(Err(error.clone())).is_ok() {
                return;
            }
        }
    }

    /// Tells the last who waits, which nothing is being started for, that there will be no environment for it.
    pub(crate) fn refuse_last(&self, error: InvokeError) {
        loop {
            let Some(waiting) = self.lock().waiting.pop_back() else { return };
            if waiting.grant.send(Err(error.clone())).is_ok() {
                return;
            }
        }
    }

    /// Tells all who wait that there will be no environment for them.
    pub(crate) fn refuse_all(&self, error: &InvokeError) {
        let waiting = std::mem::take(&mut self.lock().waiting);
        for one in waiting {
            // Those who have gone need no answer.
            let _ = one.grant.send(Err(error.clone()));
        }
    }

    /// Lets an environment in use go: to the first who waits, unless it is to be given up for others, or
    /// into the pool.
    pub(crate) fn release(&self, mut environment: Box<Environment>, give_up: bool) -> Place {
        loop {
            let mut state = self.lock();
            let next = if give_up { None } else { state.waiting.pop_front() };
            match next {
                Some(waiting) => {
                    drop(state);
                    match waiting.grant.send(Ok(environment)) {
                        Ok(()) => return Place::Granted,
                        // It has gone; the next one.
                        Err(Ok(returned)) => environment = returned,
                        Err(Err(_)) => return Place::Granted,
                    }
                }
                None => {
                    state.busy = state.busy.saturating_sub(1);
                    if give_up || state.retired {
                        return Place::Surplus(environment);
                    }
                    // Before it can be taken again.
                    let unattended = environment.cell.rest().then(|| Arc::clone(&environment.cell));
                    state.shelf(&environment).push(environment);
                    return Place::Kept { unattended };
                }
            }
        }
    }

    /// From now on nothing is kept. Answers what was.
    pub(crate) fn retire(&self) -> Vec<Box<Environment>> {
        let mut state = self.lock();
        state.retired = true;
        let mut all = std::mem::take(&mut state.idle);
        all.append(&mut state.ahead);
        all
    }

    /// Whether nothing is kept any more.
    pub(crate) fn is_retired(&self) -> bool {
        self.lock().retired
    }

    /// Takes the oldest idle one of those that are initialised ahead, to end it.
    pub(crate) fn take_oldest_ahead(&self) -> Option<Box<Environment>> {
        let mut state = self.lock();
        let oldest = state.ahead.iter().enumerate().min_by_key(|(_, environment)| environment.born);
        let place = oldest.map(|(place, _)| place)?;
        Some(state.ahead.remove(place))
    }

    /// Takes all idle ones of those that are initialised ahead of which something holds, to end them.
    pub(crate) fn take_ahead_if(&self, over: impl Fn(&mut Environment) -> bool) -> Vec<Box<Environment>> {
        self.lock().ahead.extract_if(.., |environment| over(environment)).collect()
    }

    /// How many idle ones of those that are initialised ahead something holds of.
    pub(crate) fn count_ahead(&self, holds: impl Fn(&Environment) -> bool) -> u32 {
        let count = self.lock().ahead.iter().filter(|environment| holds(environment)).count();
        u32::try_from(count).unwrap_or(u32::MAX)
    }

    /// When the environment that has been idle longest was let go, by the engine's clock.
    pub(crate) fn oldest_idle(&self) -> Option<Duration> {
        self.lock().idle.iter().map(|environment| environment.idle_since).min()
    }

    /// Takes the environment that has been idle longest, to end it.
    pub(crate) fn take_oldest(&self) -> Option<Box<Environment>> {
        let mut state = self.lock();
        let idle = state.idle.iter().enumerate().min_by_key(|(_, environment)| environment.idle_since);
        let place = idle.map(|(place, _)| place)?;
        Some(state.idle.remove(place))
    }

    /// Takes all idle environments of which something holds, to end them.
    pub(crate) fn take_idle_if(&self, over: impl Fn(&Environment) -> bool) -> Vec<Box<Environment>> {
        let mut state = self.lock();
        if !state.idle.iter().any(|environment| over(environment)) {
            return Vec::new();
        }
        let idle = std::mem::take(&mut state.idle);
        let (taken, kept) = idle.into_iter().partition(|environment| over(environment));
        state.idle = kept;
        taken
    }

    /// Number of idle environments.
    pub(crate) fn idle(&self) -> usize {
        let state = self.lock();
        state.idle.len() + state.ahead.len()
    }

    /// Whether nothing is in it, under way in it or waiting for it.
    pub(crate) fn is_empty(&self) -> bool {
        let state = self.lock();
        let idle = state.idle.is_empty() && state.ahead.is_empty();
        idle && state.waiting.is_empty() && state.starting == 0 && state.busy == 0 && self.ahead.is_over()
    }
}
