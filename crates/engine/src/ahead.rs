//! Environments of a version that are initialised ahead of invocations: how many there are to be and are, and
//! what keeps them at their number.
//!
//! One task looks after all of them: when their number is set, when one goes, and every second. It starts what is
//! missing, a few at a time, and ends what is too much, the oldest first. One whose program has ended is replaced; one
//! that grows old is replaced before it is too old to be used, and is ended when its successor is there.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lambkin_core::concurrency::{Concurrency, Provisioned};
use lambkin_core::function::FunctionSpec;
use lambkin_core::ids::Scope;
use lambkin_core::invoke::InvokeError;
use lambkin_runtime::Initialization;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinHandle;
use tokio::time::MissedTickBehavior;

use crate::cell::Cell;
use crate::engine::{Inner, Starting};
use crate::environment::Environment;
use crate::limits::FunctionUse;
use crate::pool::Pool;

/// `StatusReason` of a function whose INIT fails.
const INIT_FAILURE: &str = "FUNCTION_ERROR_INIT_FAILURE";
/// `StatusReason` where the host lacks the function's runtime.
const NO_RUNTIME: &str = "The runtime of the function is not available on this host.";
/// `StatusReason` where the host lacks room.
const NO_ROOM: &str = "The host has no room left for another execution environment.";
/// `StatusReason` where sandboxes cannot be made.
const NO_SANDBOX: &str = "The host cannot make a sandbox for the function.";

/// How often all are looked over.
const ROUND: Duration = Duration::from_secs(1);
/// Longest pause between attempts of a function whose INIT fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// An environment is replaced in this last part of its life.
const LAST_PART: u32 = 16;

/// Pools by function.
type Pools = HashMap<(Scope, Arc<str>), Vec<Arc<Pool>>>;

/// All versions that are to have environments, or still have some.
#[derive(Debug)]
pub(crate) struct Keeper {
    pools: Mutex<Pools>,
    /// Woken where there may be something to do.
    wake: Arc<Notify>,
    /// How many are initialised at once.
    places: Arc<Semaphore>,
}

/// The part of a pool that is about these environments.
#[derive(Debug, Default)]
pub(crate) struct Ahead {
    /// How many there are to be.
    target: AtomicU32,
    /// How many there are, idle or in use.
    ready: AtomicU32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Being initialised.
    starting: u32,
    /// Attempts in a row that have failed.
    failures: u32,
    /// No attempt before this, by the engine's clock.
    retry_at: Duration,
    /// What failed last.
    failure: Option<&'static str>,
}

/// Counts an environment among those of its version until it is dropped.
#[derive(Debug)]
pub(crate) struct Allocation {
    ahead: Arc<Ahead>,
    function: Arc<FunctionUse>,
    wake: Arc<Notify>,
}

impl Allocation {
    fn new(pool: &Pool, wake: &Arc<Notify>) -> Self {
        pool.ahead.ready.fetch_add(1, Ordering::SeqCst);
        pool.function.allocated(1);
        Self { ahead: Arc::clone(&pool.ahead), function: Arc::clone(&pool.function), wake: Arc::clone(wake) }
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        self.ahead.ready.fetch_sub(1, Ordering::SeqCst);
        self.function.released(1);
        self.wake.notify_one();
    }
}

impl Ahead {
    /// Whether there are any.
    pub(crate) fn has_some(&self) -> bool {
        self.ready.load(Ordering::Relaxed) > 0
    }

    /// Whether there are to be any.
    pub(crate) fn is_wanted(&self) -> bool {
        self.target.load(Ordering::Relaxed) > 0
    }

    /// Whether there are more than there are to be.
    pub(crate) fn has_surplus(&self) -> bool {
        self.ready.load(Ordering::SeqCst) > self.target.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set_target(&self, target: u32) {
        if self.target.swap(target, Ordering::SeqCst) != target {
            // Another number is another try.
            let mut state = self.lock();
            state.failures = 0;
            state.retry_at = Duration::ZERO;
            state.failure = None;
        }
    }

    fn status(&self) -> Provisioned {
        Provisioned { allocated: self.ready.load(Ordering::SeqCst), failure: self.lock().failure }
    }

    /// How many to start now, `old` of those that are ready being about to go; they count as being started. After
    /// a failure it is one at a time.
    fn begin(&self, old: u32, now: Duration) -> u32 {
        let mut state = self.lock();
        let there = self.ready.load(Ordering::SeqCst).saturating_sub(old) + state.starting;
        let missing = self.target.load(Ordering::SeqCst).saturating_sub(there);
        let count = match state.failures {
            0 => missing,
            // A clock that was put back must not stop this for long.
            _ if now < state.retry_at && state.retry_at - now <= LONGEST_PAUSE => 0,
            _ => missing.min(1_u32.saturating_sub(state.starting)),
        };
        state.starting += count;
        count
    }

    /// One that was being started will not be.
    fn abandoned(&self) {
        let mut state = self.lock();
        state.starting = state.starting.saturating_sub(1);
    }

    fn succeeded(&self) {
        let mut state = self.lock();
        state.starting = state.starting.saturating_sub(1);
        state.failures = 0;
        state.failure = None;
    }

    /// Answers whether this is news.
    fn failed(&self, reason: &'static str, now: Duration) -> bool {
        let mut state = self.lock();
        state.starting = state.starting.saturating_sub(1);
        // Those that were started together fail together.
        if state.failures == 0 || now >= state.retry_at {
            state.failures = state.failures.saturating_add(1);
            let pause = Duration::from_secs(1 << state.failures.min(7)) / 2;
            state.retry_at = now + pause.min(LONGEST_PAUSE);
        }
        state.failure.replace(reason) != Some(reason)
    }

    /// Whether there is nothing and is to be nothing.
    pub(crate) fn is_over(&self) -> bool {
        !self.is_wanted() && !self.has_some() && self.lock().starting == 0
    }
}

impl Keeper {
    /// `places` environments are initialised at once.
    pub(crate) fn new(places: usize) -> Self {
        Self { pools: Mutex::default(), wake: Arc::default(), places: Arc::new(Semaphore::new(places)) }
    }

    fn lock(&self) -> MutexGuard<'_, Pools> {
        // Nothing panics while the lock is held.
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may be to be done.
    pub(crate) fn wake(&self) {
        self.wake.notify_one();
    }

    /// How many environments are initialised ahead, in all.
    pub(crate) fn ready(&self) -> u64 {
        let pools = self.lock();
        pools.values().flatten().map(|pool| u64::from(pool.ahead.ready.load(Ordering::Relaxed))).sum()
    }

    /// What has become of a version's environments.
    pub(crate) fn status(&self, spec: &FunctionSpec) -> Provisioned {
        let pools = self.lock();
        let of_function = pools.get(&(spec.scope.clone(), Arc::clone(&spec.name)));
        let pool = of_function
            .into_iter()
            .flatten()
            .find(|pool| pool.spec.version == spec.version && pool.spec.revision == spec.revision);
        pool.map(|pool| pool.ahead.status()).unwrap_or_default()
    }

    /// Looks after all environments as long as there is an engine.
    pub(crate) fn run(inner: &Arc<Inner>) -> JoinHandle<()> {
        let (wake, inner) = (Arc::clone(&inner.keeper.wake), Arc::downgrade(inner));
        tokio::spawn(keep(wake, inner))
    }
}

async fn keep(wake: Arc<Notify>, inner: Weak<Inner>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = wake.notified() => {}
            _ = rounds.tick() => {}
        }
        let Some(inner) = inner.upgrade() else { return };
        inner.keep_ahead();
    }
}

impl Inner {
    /// Sets what a function may use and is to have ready.
    pub(crate) fn set_concurrency(&self, scope: &Scope, function: &str, concurrency: &Concurrency) {
        self.registry.limits.reserve(scope, function, concurrency.reserved);
        let mut pools = self.keeper.lock();
        let key = (scope.clone(), Arc::from(function));
        if concurrency.provisioned.is_empty() && !pools.contains_key(&key) {
            return;
        }
        let known = pools.entry(key).or_default();
        let mut wanted = Vec::with_capacity(concurrency.provisioned.len());
        let mut out_of_date = Vec::new();
        for (spec, count) in &concurrency.provisioned {
            let (pool, closing) = self.registry.pool(spec, self.clock.now());
            out_of_date.extend(closing);
            pool.ahead.set_target(*count);
            wanted.push(pool);
        }
        for pool in std::mem::take(known) {
            if !wanted.iter().any(|wanted| Arc::ptr_eq(wanted, &pool)) {
                pool.ahead.set_target(0);
                // Until what it has is gone.
                wanted.push(pool);
            }
        }
        *known = wanted;
        drop(pools);
        self.close_all(out_of_date);
        self.keeper.wake();
    }

    /// Starts what is missing and ends what is too much.
    fn keep_ahead(self: &Arc<Self>) {
        let pools: Vec<Arc<Pool>> = {
            let mut pools = self.keeper.lock();
            pools.retain(|_, of_function| {
                of_function.retain(|pool| !pool.ahead.is_over());
                !of_function.is_empty()
            });
            pools.values().flatten().cloned().collect()
        };
        if self.is_closing() {
            return;
        }
        let now = self.clock.now();
        let life = self.config.environment_lifetime;
        let aging = now.checked_sub(life - life / LAST_PART);
        let is_old = |environment: &Environment| aging.is_some_and(|limit| environment.born <= limit);
        for pool in pools {
            let is_over =
                |environment: &mut Environment| environment.is_worn(self) || environment.has_ended();
            self.close_all(pool.take_ahead_if(is_over));
            while pool.ahead.has_surplus()
                && let Some(environment) = pool.take_oldest_ahead()
            {
                environment.close(self);
            }
            if pool.is_retired() {
                continue;
            }
            let old = pool.count_ahead(is_old);
            for _ in 0..pool.ahead.begin(old, now) {
                tokio::spawn(start(Starting::begin(self), Arc::clone(self), Arc::clone(&pool)));
            }
        }
    }

    /// Makes and initialises an environment ahead of invocations.
    async fn make_ahead(self: &Arc<Self>, pool: &Arc<Pool>) -> Result<Box<Environment>, &'static str> {
        let charge = loop {
            if let Some(charge) = self.host.charge(pool.nominal()) {
                break charge;
            }
            if !self.evict_one() {
                return Err(NO_ROOM);
            }
        };
        let cell = Arc::new(Cell::new(charge));
        self.watch_over(&cell);
        let plan = self.plan(pool).await.map_err(|error| match error {
            InvokeError::InvalidRuntime(_) => NO_RUNTIME,
            _ => NO_SANDBOX,
        })?;
        self.counters.provisioned_starts.add();
        let mut environment = Box::new(Environment::new(self, &pool.spec, plan, cell));
        environment.initialization = Initialization::ProvisionedConcurrency;
        let failure = match environment.start(self, &pool.spec).await {
            Err(_) => NO_SANDBOX,
            Ok(()) if environment.live.is_none() => INIT_FAILURE,
            Ok(()) => {
                environment.allocation = Some(Allocation::new(pool, &self.keeper.wake));
                return Ok(environment);
            }
        };
        environment.close(self);
        Err(failure)
    }
}

/// Initialises an environment when it is its turn.
async fn start(_starting: Starting, inner: Arc<Inner>, pool: Arc<Pool>) {
    let place: Option<OwnedSemaphorePermit> = Arc::clone(&inner.keeper.places).acquire_owned().await.ok();
    if inner.is_closing() || pool.is_retired() || !pool.ahead.is_wanted() {
        pool.ahead.abandoned();
        inner.keeper.wake();
        return;
    }
    let made = inner.make_ahead(&pool).await;
    drop(place);
    match made {
        Ok(environment) => {
            pool.ahead.succeeded();
            pool.taken();
            inner.release(&pool, environment);
        }
        Err(_) if inner.is_closing() => pool.ahead.abandoned(),
        Err(reason) => {
            if pool.ahead.failed(reason, inner.clock.now()) {
                tracing::info!(
                    function = &*pool.spec.name,
                    version = &*pool.spec.version,
                    reason,
                    "provisioned concurrency cannot be initialised"
                );
            }
            inner.serve_queued();
        }
    }
    inner.keeper.wake();
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);
    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn what_is_missing_is_started_once() {
        let ahead = Ahead::default();
        assert!(ahead.is_over());
        ahead.set_target(3);
        assert_eq!((ahead.begin(0, NOW), ahead.begin(0, NOW)), (3, 0));
        ahead.succeeded();
        ahead.ready.fetch_add(1, Ordering::SeqCst);
        assert_eq!(ahead.begin(0, NOW), 0);
        // One that grows old gets a successor.
        assert_eq!((ahead.begin(1, NOW), ahead.begin(1, NOW)), (1, 0));
        ahead.abandoned();
        ahead.set_target(1);
        assert!(!ahead.has_surplus() && ahead.is_wanted());
        ahead.set_target(0);
        assert!(ahead.has_surplus() && ahead.has_some() && !ahead.is_over());
    }

    #[test]
    fn failures_are_tried_again_one_at_a_time_and_ever_less_often() {
        let ahead = Ahead::default();
        ahead.set_target(4);
        assert_eq!(ahead.begin(0, NOW), 4);
        assert!(ahead.failed(INIT_FAILURE, NOW));
        assert!((0..3).all(|_| !ahead.failed(INIT_FAILURE, NOW)), "no news");
        assert_eq!(ahead.status(), Provisioned { allocated: 0, failure: Some(INIT_FAILURE) });
        assert_eq!((ahead.begin(0, NOW), ahead.begin(0, NOW + SECOND)), (0, 1));
        assert_eq!(ahead.begin(0, NOW + SECOND), 0);
        ahead.failed(INIT_FAILURE, NOW + SECOND);
        assert_eq!((ahead.begin(0, NOW + 2 * SECOND), ahead.begin(0, NOW + 3 * SECOND)), (0, 1));
        for round in 1..10 {
            ahead.failed(INIT_FAILURE, NOW + 100 * round * SECOND);
            ahead.lock().starting = 1;
        }
        ahead.failed(INIT_FAILURE, NOW + 1_000 * SECOND);
        assert_eq!(ahead.begin(0, NOW + 1_031 * SECOND), 0);
        assert_eq!(ahead.begin(0, NOW + 1_060 * SECOND), 1);
        ahead.succeeded();
        ahead.ready.fetch_add(1, Ordering::SeqCst);
        assert_eq!((ahead.status().failure, ahead.begin(0, NOW)), (None, 3));
    }

    #[test]
    fn another_number_is_tried_at_once() {
        let ahead = Ahead::default();
        ahead.set_target(1);
        assert_eq!(ahead.begin(0, NOW), 1);
        ahead.failed(NO_ROOM, NOW);
        ahead.set_target(1);
        assert_eq!((ahead.begin(0, NOW), ahead.status().failure), (0, Some(NO_ROOM)));
        ahead.set_target(2);
        assert_eq!((ahead.begin(0, NOW), ahead.status().failure), (2, None));
    }
}
