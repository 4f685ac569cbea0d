//! Who gets which environment: idle ones first, new ones while there is room, a fair queue beyond it.

use std::sync::Arc;

use lambkin_core::invoke::InvokeError;

use crate::cell::{Cell, Waking};
use crate::engine::{Inner, Starting};
use crate::environment::Environment;
use crate::limits::RATE;
use crate::plan::Plan;
use crate::pool::{Need, Place, Pool, Ticket};

impl Inner {
    /// An environment of `pool`, in use from then on: an idle one at once, else one that is let go or
    /// started meanwhile.
    pub(crate) async fn acquire(self: &Arc<Self>, pool: &Arc<Pool>) -> Result<Box<Environment>, InvokeError> {
        if let Some(environment) = self.wake_idle(pool, Pool::take_idle) {
            return Ok(environment);
        }
        let Ticket { number, mut grant } = pool.wait();
        self.serve(pool, false);
        loop {
            tokio::select! {
                biased;
                granted = &mut grant => {
                    return granted.unwrap_or(Err(InvokeError::ShuttingDown));
                }
                () = tokio::time::sleep(self.config.queue_wait) => {
                    if pool.give_up(number) {
                        self.counters.no_room.add();
                        self.serve_queued();
                        return Err(InvokeError::NoRoom);
                    }
                }
            }
        }
    }

    /// An idle environment that was initialised ahead, in use from then on.
    pub(crate) fn acquire_ahead(&self, pool: &Pool) -> Option<Box<Environment>> {
        if pool.ahead.has_some() { self.wake_idle(pool, Pool::take_ahead) } else { None }
    }

    /// An idle environment of the pool, of those that `take` takes, thawed.
    fn wake_idle(
        &self,
        pool: &Pool,
        take: impl Fn(&Pool) -> Option<Box<Environment>>,
    ) -> Option<Box<Environment>> {
        loop {
            let environment = take(pool)?;
            if environment.is_worn(self) {
                pool.lost();
                environment.close(self);
                self.counters.reaped.add();
                continue;
            }
            match environment.cell.wake() {
                Waking::Awake => return Some(environment),
                Waking::Dead => {
                    pool.lost();
                    environment.close(self);
                }
                Waking::NoRoom => {
                    if let Some(surplus) = pool.put_back(environment) {
                        surplus.close(self);
                    }
                    return None;
                }
            }
        }
    }

    /// Gets environments for those who wait in `pool`, as far as there is room. Where pools queue for room
    /// only the first of them, `at_head`, may take any; others join the queue. Answers whether all are
    /// served.
    fn serve(self: &Arc<Self>, pool: &Arc<Pool>, at_head: bool) -> bool {
        loop {
            if !pool.is_waited_for() {
                return true;
            }
            let idle = self.wake_idle(pool, Pool::take_idle);
            // There was no room for those when the invocation came.
            if let Some(environment) = idle.or_else(|| self.acquire_ahead(pool)) {
                self.place(pool, environment, false);
                continue;
            }
            if pool.need() == Need::Nothing {
                return true;
            }
            if self.is_closing() {
                pool.not_started();
                pool.refuse_all(&InvokeError::ShuttingDown);
                return true;
            }
            if !at_head && self.host.queue().iter().any(|queued| !Arc::ptr_eq(queued, pool)) {
                pool.not_started();
                self.host.enqueue(pool);
                return false;
            }
            if !pool.function.may_start(self.clock.now()) {
                pool.not_started();
                self.counters.throttles.add();
                pool.function.throttles.add();
                pool.refuse_last(InvokeError::Throttled { reason: RATE });
                continue;
            }
            if let Some(charge) = self.host.charge(pool.nominal()) {
                let cell = Arc::new(Cell::new(charge));
                self.counters.cold_starts.add();
                tokio::spawn(start(Starting::begin(self), Arc::clone(self), Arc::clone(pool), cell));
                continue;
            }
            pool.function.not_started();
            pool.not_started();
            if self.evict_one() {
                continue;
            }
            if at_head {
                return false;
            }
            self.host.enqueue(pool);
            // An environment may have become idle after the look at them and before the queue was seen.
            if !self.evict_one() {
                return false;
            }
        }
    }

    /// Serves those who queue for room until it is used up: in order, but those who would have more than
    /// an equal share only after the others.
    pub(crate) fn serve_queued(self: &Arc<Self>) {
        loop {
            let queue = self.host.queue();
            let entitled = queue.iter().find(|pool| !self.exceeds_share(pool, 1, queue.len()));
            let Some(pool) = entitled.or(queue.first()) else { return };
            if !self.host.dequeue(pool) || self.serve(pool, true) {
                continue;
            }
            self.host.requeue(Arc::clone(pool));
            // As in `serve`: look again now that the queue is seen.
            if !self.evict_one() {
                return;
            }
        }
    }

    /// Lets an environment go after use.
    pub(crate) fn release(self: &Arc<Self>, pool: &Arc<Pool>, mut environment: Box<Environment>) {
        environment.idle_since = self.clock.now();
        let closing = self.is_closing();
        if closing {
            pool.refuse_all(&InvokeError::ShuttingDown);
        }
        let is_ahead = environment.is_ahead();
        // Without a sandbox it is not initialised any more; another will be.
        if environment.is_worn(self) || is_ahead && environment.live.is_none() {
            environment.close(self);
            self.counters.reaped.add();
            self.gone(pool);
            return;
        }
        let give_up = closing || !is_ahead && self.owes_room(pool);
        let granted = self.place(pool, environment, give_up);
        if is_ahead && pool.ahead.has_surplus() {
            self.keeper.wake();
        }
        if !granted && self.host.queued() > 0 {
            self.serve_queued();
        }
    }

    /// Gives an environment to the first who waits in the pool, or leaves it there, or ends it. Whether
    /// it was given.
    fn place(&self, pool: &Pool, environment: Box<Environment>, give_up: bool) -> bool {
        match pool.release(environment, give_up) {
            Place::Granted => true,
            Place::Kept { unattended } => {
                if let Some(cell) = unattended {
                    self.freezer.add(&cell);
                }
                false
            }
            Place::Surplus(environment) => {
                environment.close(self);
                false
            }
        }
    }

    /// Whether `pool` is to give up an environment because it holds more than an equal share and another
    /// that queues for room has less.
    fn owes_room(&self, pool: &Arc<Pool>) -> bool {
        let queue = self.host.queue();
        let others = || queue.iter().filter(|queued| !Arc::ptr_eq(queued, pool));
        let contenders = others().count() + 1;
        contenders > 1
            && self.exceeds_share(pool, 0, contenders)
            && others().any(|other| other.is_waited_for() && !self.exceeds_share(other, 1, contenders))
    }

    /// Whether a pool with `more` environments has more than its share of the host's room among as many
    /// contenders. One environment is never too much.
    fn exceeds_share(&self, pool: &Pool, more: usize, contenders: usize) -> bool {
        let environments = pool.environments() + more;
        let memory = environments as u64 * pool.nominal();
        environments > 1
            && (environments > self.config.max_environments / contenders
                || memory > self.host.memory_limit() / contenders as u64)
    }

    /// An environment in use is gone, closed already.
    pub(crate) fn gone(self: &Arc<Self>, pool: &Arc<Pool>) {
        pool.lost();
        self.serve(pool, false);
        self.serve_queued();
    }

    /// Ends the environment that has been idle longest anywhere; `false` if none is idle.
    pub(crate) fn evict_one(&self) -> bool {
        let oldest = |pool: Arc<Pool>| Some((pool.oldest_idle()?, pool));
        let pools = self.registry.pools();
        let Some((_, pool)) = pools.into_iter().filter_map(oldest).min_by_key(|(since, _)| *since) else {
            return false;
        };
        if let Some(environment) = pool.take_oldest() {
            environment.close(self);
            self.counters.evicted.add();
        }
        // Taken by someone else in between, it is in use and will be let go.
        true
    }

    /// The plan by which the pool's environments are made.
    pub(crate) async fn plan(self: &Arc<Self>, pool: &Arc<Pool>) -> Result<Arc<Plan>, InvokeError> {
        if let Some(plan) = pool.plan() {
            return Ok(plan);
        }
        let (inner, spec) = (Arc::clone(self), Arc::clone(&pool.spec));
        let made = tokio::task::spawn_blocking(move || {
            let runtime = inner.runtimes.resolve(&spec.runtime).map_err(InvokeError::InvalidRuntime)?;
            let endpoint = inner.config.endpoint.as_ref().map(|acceptor| acceptor.port());
            let policy = inner.config.egress.of(&spec.scope.account, &spec.name);
            Ok(Arc::new(Plan::new(&spec, runtime, &inner.layout, inner.cpus, endpoint).with_policy(policy)))
        });
        let plan = made.await.map_err(|_| InvokeError::ShuttingDown)??;
        pool.set_plan(&plan);
        Ok(plan)
    }
}

/// Starts an environment for those who wait in the pool.
async fn start(_starting: Starting, inner: Arc<Inner>, pool: Arc<Pool>, cell: Arc<Cell>) {
    inner.watch_over(&cell);
    let made = match inner.plan(&pool).await {
        Ok(plan) => {
            let mut environment = Box::new(Environment::new(&inner, &pool.spec, plan, cell));
            match environment.start(&inner, &pool.spec).await {
                Ok(()) => Ok(environment),
                Err(reason) => {
                    environment.close(&inner);
                    Err(InvokeError::Sandbox(reason))
                }
            }
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(environment) => {
            pool.started();
            inner.release(&pool, environment);
        }
        Err(error) => {
            pool.not_started();
            pool.refuse_one(if inner.is_closing() { InvokeError::ShuttingDown } else { error });
            inner.serve_queued();
        }
    }
}
