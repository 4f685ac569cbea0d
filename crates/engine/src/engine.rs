//! The engine: what its parts share, and its face to the rest of Lambkin.

use std::fmt;
use std::future::Future;
use std::io;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use lambkin_core::clock::Clock;
use lambkin_core::concurrency::{Concurrency, Provisioned};
use lambkin_core::function::FunctionSpec;
use lambkin_core::ids::Scope;
use lambkin_core::invoke::{Invocation, InvokeError, InvokeOutcome, Invoker};
use lambkin_core::logs::LogStore;
use lambkin_sandbox::Spawner;
use tokio::runtime::Handle;
use tokio::sync::{Notify, oneshot};
use tokio::task::{JoinHandle, JoinSet};

use crate::ahead::Keeper;
use crate::cell::Cell;
use crate::config::EngineConfig;
use crate::detached::Detached;
use crate::egress::Upstream;
use crate::environment::Environment;
use crate::freezer::Freezer;
use crate::host::Host;
use crate::invoke::{Early, Verdict};
use crate::layout::Layout;
use crate::limits::{Kind, Limits, Running};
use crate::pool::Pool;
use crate::registry::{Closing, Registry};
use crate::runtimes::Runtimes;
use crate::stats::{Counters, EngineStats, FunctionUsage};
use crate::trace::TraceIds;
use crate::zygotes::Zygotes;

/// How many new environments an event is given to that no runtime saw.
const DELIVERIES: usize = 3;
/// How often idle environments are looked over.
const ROUND: Duration = Duration::from_secs(1);
/// How long killed environments may take to be cleared away.
const CLEAR_AWAY: Duration = Duration::from_secs(5);

/// Why an engine could not be made.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// A file of the runtimes could not be written.
    #[error("cannot write the runtimes' files under {path}: {error}")]
    Runtimes {
        /// The folder.
        path: PathBuf,
        /// What happened.
        error: io::Error,
    },
    /// There is no tokio runtime.
    #[error("an engine must be made within a tokio runtime")]
    NoTokio,
}

/// Runs functions: implements [`Invoker`]. Dropping it, or [`Engine::shutdown`], ends all environments.
pub struct Engine {
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

/// What the engine's parts share.
pub(crate) struct Inner {
    pub(crate) config: EngineConfig,
    pub(crate) spawner: Spawner,
    pub(crate) logs: Arc<dyn LogStore>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) runtimes: Runtimes,
    pub(crate) layout: Layout,
    pub(crate) zygotes: Arc<Zygotes>,
    pub(crate) upstream: Arc<Upstream>,
    pub(crate) cpus: u32,
    pub(crate) registry: Registry,
    pub(crate) keeper: Keeper,
    pub(crate) host: Arc<Host<Pool>>,
    pub(crate) freezer: Arc<Freezer>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) traces: TraceIds,
    handle: Handle,
    closing: AtomicBool,
    /// Invocations under way, waiting or running.
    in_flight: AtomicUsize,
    /// Environments being started.
    starts: AtomicUsize,
    /// Woken when one of these two has come to nothing.
    quiet: Notify,
    /// Environments whose extensions are being seen off.
    farewells: Mutex<JoinSet<()>>,
    /// All environments, to be killed at the end.
    cells: Mutex<Vec<Weak<Cell>>>,
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

impl Engine {
    /// An engine that runs functions in sandboxes of `spawner`. Must be made within a tokio runtime.
    ///
    /// # Errors
    /// The runtimes' files cannot be written under the data folder, or there is no tokio runtime.
    pub fn new(
        config: EngineConfig,
        spawner: Spawner,
        logs: Arc<dyn LogStore>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EngineError> {
        let handle = Handle::try_current().map_err(|_| EngineError::NoTokio)?;
        let folder = config.data_dir.join("runtimes");
        let failed = |error| EngineError::Runtimes { path: folder.clone(), error };
        let empty = folder.join("empty");
        std::fs::create_dir_all(&empty).map_err(failed)?;
        let runtimes = Runtimes::new(&folder).map_err(failed)?;
        let cpus = std::thread::available_parallelism().map_or(1, |count| count.get());
        let limits = Limits::new(config.concurrency_limit, config.scaling_rate);
        let layout = Layout::of_host(empty);
        let zygotes = Zygotes::new(spawner.clone(), layout.clone(), config.zygotes);
        let inner = Arc::new(Inner {
            zygotes: Arc::new(zygotes),
            host: Arc::new(Host::new(config.memory_bytes(), config.max_environments)),
            freezer: Arc::new(Freezer::new(config.freeze_after)),
            upstream: Arc::new(Upstream::new(&config.resolv_conf)),
            config,
            spawner,
            logs,
            clock,
            runtimes,
            layout,
            cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
            registry: Registry::new(limits),
            keeper: Keeper::new(cpus.saturating_mul(2)),
            counters: Arc::default(),
            traces: TraceIds::default(),
            handle: handle.clone(),
            closing: AtomicBool::new(false),
            in_flight: AtomicUsize::new(0),
            starts: AtomicUsize::new(0),
            quiet: Notify::new(),
            farewells: Mutex::default(),
            cells: Mutex::default(),
        });
        let freezing = Arc::clone(&inner.freezer).run(Arc::clone(&inner.counters));
        let tasks = vec![
            handle.spawn(freezing),
            handle.spawn(look_after(Arc::downgrade(&inner))),
            Keeper::run(&inner),
        ];
        // The first use of a runtime then does not wait for its interpreter to be found.
        let warm = Arc::clone(&inner);
        handle.spawn_blocking(move || {
            for identifier in crate::runtimes::interpreted() {
                let _ = warm.runtimes.resolve(&identifier);
            }
        });
        Ok(Self { inner, tasks })
    }

    /// The counters.
    #[must_use]
    pub fn stats(&self) -> EngineStats {
        let inner = &self.inner;
        let (memory_bytes, environments) = inner.host.used();
        let idle: usize = inner.registry.pools().iter().map(|pool| pool.idle()).sum();
        let counters = &inner.counters;
        EngineStats {
            invocations: counters.invocations.get(),
            function_errors: counters.function_errors.get(),
            timeouts: counters.timeouts.get(),
            throttles: counters.throttles.get(),
            no_room: counters.no_room.get(),
            cold_starts: counters.cold_starts.get(),
            provisioned_starts: counters.provisioned_starts.get(),
            provisioned_invocations: counters.provisioned_invocations.get(),
            spillovers: counters.spillovers.get(),
            forks: counters.forks.get(),
            fork_fallbacks: counters.fork_fallbacks.get(),
            zygote_losses: inner.spawner.zygotes().iter().map(|zygote| zygote.losses).sum(),
            init_failures: counters.init_failures.get(),
            sandbox_failures: counters.sandbox_failures.get(),
            reaped: counters.reaped.get(),
            evicted: counters.evicted.get(),
            freezes: counters.freezes.get(),
            environments: environments as u64,
            idle_environments: idle as u64,
            provisioned_environments: inner.keeper.ready(),
            in_flight: inner.in_flight.load(Ordering::Relaxed) as u64,
            memory_bytes,
        }
    }

    /// Concurrency and its counters of every function that has been used lately or has a limit of its own.
    #[must_use]
    pub fn usage(&self) -> Vec<FunctionUsage> {
        self.inner.registry.limits.usage()
    }

    /// Ends environments that are idle and have been so for the idle timeout, or are as old as environments
    /// get, by the engine's clock. The engine does so by itself every second.
    pub fn reap_idle(&self) {
        self.inner.reap_idle();
    }

    /// Takes no further invocations, lets those under way finish within `grace`, then kills every
    /// environment and ends the spawner.
    pub async fn shutdown(&self, grace: Duration) {
        let inner = &self.inner;
        inner.closing.store(true, Ordering::SeqCst);
        let patience = tokio::time::timeout(grace, inner.wait_for_none(&inner.in_flight));
        if patience.await.is_err() {
            tracing::info!(
                in_flight = inner.in_flight.load(Ordering::Relaxed),
                "killing functions that did not finish in time"
            );
        }
        inner.kill_all();
        // Those killed still answer.
        let all = async {
            inner.wait_for_none(&inner.in_flight).await;
            inner.wait_for_none(&inner.starts).await;
        };
        if tokio::time::timeout(CLEAR_AWAY, all).await.is_err() {
            tracing::warn!("some invocations did not end");
        }
        inner.kill_all();
        let mut farewells = std::mem::take(&mut *inner.farewells());
        while farewells.join_next().await.is_some() {}
        for task in &self.tasks {
            task.abort();
        }
        inner.spawner.shutdown().await;
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.inner.closing.store(true, Ordering::SeqCst);
        for task in &self.tasks {
            task.abort();
        }
        self.inner.kill_all();
    }
}

impl Invoker for Engine {
    fn invoke(
        &self,
        spec: Arc<FunctionSpec>,
        invocation: Invocation,
    ) -> Pin<Box<dyn Future<Output = Result<InvokeOutcome, InvokeError>> + Send>> {
        let inner = Arc::clone(&self.inner);
        let handle = inner.handle.clone();
        Box::pin(async move {
            let (early, outcome) = oneshot::channel();
            let mut work =
                Detached::new(handle, async move { inner.run(&spec, &invocation, &mut Some(early)).await });
            tokio::select! {
                biased;
                result = &mut work => result,
                // What is left of the work goes on.
                Ok(outcome) = outcome => Ok(outcome),
            }
        })
    }

    fn retire(&self, function_arn: &str, keep: Option<&str>) {
        let closing = self.inner.registry.retire(function_arn, keep, self.inner.clock.now());
        self.inner.close_all(closing);
    }

    fn set_concurrency(&self, scope: &Scope, function: &str, concurrency: Concurrency) {
        self.inner.set_concurrency(scope, function, &concurrency);
    }

    fn provisioned(&self, spec: &FunctionSpec) -> Provisioned {
        self.inner.keeper.status(spec)
    }

    fn runtime_available(&self, runtime: &str) -> Result<String, String> {
        let inner = &self.inner;
        let found = inner.runtimes.resolve(runtime)?;
        // Who asks is about to use it.
        inner.zygotes.want(runtime, &found, inner.clock.now());
        Ok(found.description.clone())
    }
}

impl Inner {
    async fn run(
        self: &Arc<Self>,
        spec: &Arc<FunctionSpec>,
        invocation: &Invocation,
        early: &mut Early,
    ) -> Result<InvokeOutcome, InvokeError> {
        let _flight = Flight::begin(self)?;
        let (pool, out_of_date) = self.registry.pool(spec, self.clock.now());
        if !out_of_date.is_empty() {
            self.close_all(out_of_date);
        }
        let mut ready = self.acquire_ahead(&pool);
        let kind = if ready.is_some() { Kind::Provisioned } else { Kind::OnDemand };
        let _running = match self.admit(&pool, kind) {
            Ok(running) => running,
            Err(refused) => {
                if let Some(environment) = ready {
                    self.release(&pool, environment);
                }
                return Err(refused);
            }
        };
        let mut undelivered = 0;
        while undelivered < DELIVERIES {
            let mut environment = match ready.take() {
                Some(environment) => environment,
                None => self.acquire(&pool).await?,
            };
            // However many have died while they were idle, that says nothing about a new one.
            let is_new = environment.init_duration.is_some();
            match environment.invoke(self, spec, invocation, early).await {
                Verdict::Answered(outcome) => {
                    self.release(&pool, environment);
                    return Ok(outcome);
                }
                Verdict::Undelivered => {
                    undelivered += usize::from(is_new);
                    environment.close(self);
                    self.gone(&pool);
                }
                Verdict::Lost(reason) => {
                    environment.close(self);
                    self.gone(&pool);
                    return Err(InvokeError::Sandbox(reason));
                }
            }
        }
        Err(InvokeError::Sandbox("no sandbox took the event".to_owned()))
    }

    /// Counts an invocation against the limits of its function and account.
    fn admit<'p>(&self, pool: &'p Pool, kind: Kind) -> Result<Running<'p>, InvokeError> {
        let running = pool.function.admit(kind).map_err(|reason| {
            self.counters.throttles.add();
            InvokeError::Throttled { reason }
        })?;
        if kind == Kind::Provisioned {
            self.counters.provisioned_invocations.add();
            pool.function.provisioned_invocations.add();
        } else if pool.ahead.is_wanted() {
            self.counters.spillovers.add();
            pool.function.spillovers.add();
        }
        Ok(running)
    }

    fn farewells(&self) -> MutexGuard<'_, JoinSet<()>> {
        self.farewells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets something go on that ends an environment, for two seconds at most.
    pub(crate) fn see_off(&self, farewell: impl Future<Output = ()> + Send + 'static) {
        let mut farewells = self.farewells();
        while farewells.try_join_next().is_some() {}
        farewells.spawn_on(farewell, &self.handle);
    }

    pub(crate) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Remembers an environment, to kill it at the end.
    pub(crate) fn watch_over(&self, cell: &Arc<Cell>) {
        let mut cells = self.cells.lock().unwrap_or_else(PoisonError::into_inner);
        if cells.len() == cells.capacity() {
            cells.retain(|cell| cell.strong_count() > 0);
        }
        cells.push(Arc::downgrade(cell));
        drop(cells);
        if self.is_closing() {
            cell.close();
        }
    }

    fn kill_all(&self) {
        for pool in self.registry.pools() {
            pool.refuse_all(&InvokeError::ShuttingDown);
            self.close_all(pool.retire());
        }
        let cells = std::mem::take(&mut *self.cells.lock().unwrap_or_else(PoisonError::into_inner));
        for cell in cells.iter().filter_map(Weak::upgrade) {
            cell.close();
        }
    }

    pub(crate) fn close_all(&self, environments: Closing) {
        for environment in environments {
            environment.close(self);
        }
    }

    fn reap_idle(&self) {
        let now = self.clock.now();
        let idle = now.checked_sub(self.config.idle_timeout);
        let born = now.checked_sub(self.config.environment_lifetime);
        let is_over = |environment: &Environment| {
            idle.is_some_and(|limit| environment.idle_since <= limit)
                || born.is_some_and(|limit| environment.born <= limit)
        };
        for pool in self.registry.pools() {
            for environment in pool.take_idle_if(is_over) {
                environment.close(self);
                self.counters.reaped.add();
            }
        }
        self.zygotes.end_unused(now);
        if let Some(limit) = idle {
            self.registry.forget(limit);
        }
        self.registry.limits.forget();
    }

    async fn wait_for_none(&self, count: &AtomicUsize) {
        loop {
            let quiet = self.quiet.notified();
            if count.load(Ordering::SeqCst) == 0 {
                return;
            }
            quiet.await;
        }
    }
}

/// An invocation under way.
struct Flight(Arc<Inner>);

impl Flight {
    fn begin(inner: &Arc<Inner>) -> Result<Self, InvokeError> {
        // Counted before the look, so that a shutdown sees it or it sees the shutdown.
        inner.in_flight.fetch_add(1, Ordering::SeqCst);
        let flight = Self(Arc::clone(inner));
        if inner.is_closing() { Err(InvokeError::ShuttingDown) } else { Ok(flight) }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if self.0.in_flight.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_closing() {
            self.0.quiet.notify_waiters();
        }
    }
}

/// An environment being started.
pub(crate) struct Starting(Arc<Inner>);

impl Starting {
    pub(crate) fn begin(inner: &Arc<Inner>) -> Self {
        inner.starts.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(inner))
    }
}

impl Drop for Starting {
    fn drop(&mut self) {
        if self.0.starts.fetch_sub(1, Ordering::SeqCst) == 1 && self.0.is_closing() {
            self.0.quiet.notify_waiters();
        }
    }
}

/// Looks over idle environments from time to time, as long as there is an engine.
async fn look_after(inner: Weak<Inner>) {
    let mut rounds = tokio::time::interval(ROUND);
    rounds.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        rounds.tick().await;
        let Some(inner) = inner.upgrade() else { return };
        inner.reap_idle();
        inner.serve_queued();
    }
}
