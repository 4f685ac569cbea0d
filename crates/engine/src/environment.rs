//! One execution environment: a sandbox, the conversation with the runtime in it, and its log stream.

use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use lambkin_core::function::FunctionSpec;
use lambkin_core::logs::LogStreamKey;
use lambkin_runtime::{
    InitPhase, Initialization, LogBuffer, PlatformEvent, ProcessEnd, Readiness, Session, ShutdownReason,
    Status, log_stream_name,
};
use lambkin_sandbox::{ExitStatus, Isolation, Origin as ProgramOrigin, Sandbox};

use crate::ahead::Allocation;
use crate::cell::Cell;
use crate::egress::{Network, Services};
use crate::endpoint::{Endpoint, Origin};
use crate::engine::Inner;
use crate::extensions::{Helpers, extension_failure, extension_host};
use crate::failure::Failure;
use crate::farewell::Farewell;
use crate::output::Output;
use crate::plan::Plan;
use crate::runtimes::RuntimeKind;
use crate::variables::{Own, RUNTIME_API_PORT};

/// How long to wait for what a program sent before it ended. Mostly its connections end at once; a child of
/// it may hold them.
const LAST_WORDS: Duration = Duration::from_millis(200);
/// How long a runtime that has hung up may take to end before it is killed.
const LAST_BREATH: Duration = Duration::from_secs(1);

/// What ends sooner cannot have used much more memory than what ran before.
const SHORT: Duration = Duration::from_millis(2);
/// How old the memory in a report may be after an invocation that was short.
const PEAK_AGE: Duration = Duration::from_millis(50);

/// An execution environment. One invocation, the pool or the task that starts it owns it at a time.
pub(crate) struct Environment {
    /// What the freezer and the shutdown share with the owner.
    pub(crate) cell: Arc<Cell>,
    pub(crate) plan: Arc<Plan>,
    pub(crate) log: LogBuffer,
    pub(crate) key: LogStreamKey,
    /// `None` before INIT and after it failed; the next invocation then runs it again.
    pub(crate) live: Option<Live>,
    /// Length of INIT, until the first invocation reports it.
    pub(crate) init_duration: Option<Duration>,
    /// When its sandbox was made, by the engine's clock: the start of its life.
    pub(crate) born: Duration,
    /// When it was last let go, by the engine's clock.
    pub(crate) idle_since: Duration,
    /// Most memory used, in bytes, and when it was looked up.
    peak: Option<(Instant, u64)>,
    /// Why it is initialised.
    pub(crate) initialization: Initialization,
    /// Counts it among those that are kept initialised, if it is one of them.
    pub(crate) allocation: Option<Allocation>,
    /// Random identity, 32 hexadecimal digits.
    instance: String,
    /// Sandboxes that it has had.
    sandboxes: u32,
}

/// A running sandbox and the ways to its program.
pub(crate) struct Live {
    pub(crate) session: Session,
    pub(crate) output: Output,
    pub(crate) exit: Exit,
    pub(crate) helpers: Helpers,
    /// Serves the server's APIs inside.
    _endpoint: Option<Endpoint>,
    /// What the server does for its network.
    _services: Services,
    /// To tell whether it ended with its spawner.
    sandbox: Arc<Sandbox>,
}

/// The end of a sandbox's program. Can be waited for again.
pub(crate) enum Exit {
    /// Not seen yet.
    Awaited(Pin<Box<dyn Future<Output = ExitStatus> + Send>>),
    /// Seen.
    Seen(ExitStatus),
}

impl Future for Exit {
    type Output = ExitStatus;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<ExitStatus> {
        match &mut *self {
            Self::Seen(status) => Poll::Ready(*status),
            Self::Awaited(end) => {
                let status = ready!(end.as_mut().poll(cx));
                *self = Self::Seen(status);
                Poll::Ready(status)
            }
        }
    }
}

/// Why an environment has no running runtime.
#[derive(Debug)]
pub(crate) enum InitFailure {
    /// The function's or its runtime's doing.
    Failure(Failure),
    /// Lambkin's.
    Sandbox(String),
}

impl From<Failure> for InitFailure {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl Environment {
    /// A new environment without a sandbox.
    pub(crate) fn new(inner: &Inner, spec: &FunctionSpec, plan: Arc<Plan>, cell: Arc<Cell>) -> Self {
        let instance = uuid::Uuid::new_v4();
        let stream = log_stream_name(inner.clock.now_ms(), &spec.version, instance.as_u128());
        let key = LogStreamKey {
            scope: spec.scope.clone(),
            group: spec.log_group.as_str().into(),
            stream: stream.into(),
        };
        let (logs, outlet_key) = (Arc::clone(&inner.logs), key.clone());
        let mut log = LogBuffer::with_outlet(move |events| logs.append_soon(&outlet_key, events));
        log.keep_tail(true);
        Self {
            cell,
            plan,
            log,
            key,
            live: None,
            init_duration: None,
            born: inner.clock.now(),
            idle_since: inner.clock.now(),
            peak: None,
            initialization: Initialization::OnDemand,
            allocation: None,
            instance: instance.simple().to_string(),
            sandboxes: 0,
        }
    }

    /// The INIT phase: on its own, within the INIT limit. Where it fails the environment is left without
    /// a sandbox, for the first invocation to try again.
    pub(crate) async fn start(&mut self, inner: &Inner, spec: &FunctionSpec) -> Result<(), String> {
        self.platform(
            inner,
            spec,
            &PlatformEvent::InitStart {
                initialization: self.initialization,
                runtime_version: &self.plan.runtime.description.clone(),
                function_name: &spec.name,
                function_version: &spec.version,
                instance_id: &self.instance.clone(),
                memory_mb: spec.memory_mb,
            },
        );
        let begun = Instant::now();
        let limit = match self.initialization {
            Initialization::OnDemand => inner.config.init_timeout,
            Initialization::ProvisionedConcurrency => inner.config.provisioned_init_timeout.max(spec.timeout),
        };
        let ended = self.initialise(inner, spec, limit).await;
        let outcome = match ended {
            Ok(duration) => {
                self.init_duration = Some(duration);
                self.report_init(inner, spec, duration, InitPhase::Init, None);
                Ok(())
            }
            Err(InitFailure::Failure(failure)) => {
                self.report_init(inner, spec, begun.elapsed(), InitPhase::Init, Some(&failure));
                Ok(())
            }
            Err(InitFailure::Sandbox(reason)) => Err(reason),
        };
        self.hand_over_log(inner);
        outcome
    }

    /// Makes a sandbox and waits until its runtime asks for an event. Answers how long that took.
    pub(crate) async fn initialise(
        &mut self,
        inner: &Inner,
        spec: &FunctionSpec,
        limit: Duration,
    ) -> Result<Duration, InitFailure> {
        let ended = self.try_initialise(inner, spec, limit).await;
        let extensions = self.live.as_ref().map(|live| live.session.extensions()).unwrap_or_default();
        for extension in &extensions {
            self.platform(inner, spec, &PlatformEvent::Extension(extension));
        }
        if ended.is_err() {
            inner.counters.init_failures.add();
            self.end_sandbox(inner, ShutdownReason::Failure);
        }
        ended
    }

    async fn try_initialise(
        &mut self,
        inner: &Inner,
        spec: &FunctionSpec,
        limit: Duration,
    ) -> Result<Duration, InitFailure> {
        let lost = |error: String| {
            inner.counters.sandbox_failures.add();
            InitFailure::Sandbox(error)
        };
        self.sandboxes += 1;
        let id = format!("{}-{}", self.instance, self.sandboxes);
        let plan = Arc::clone(&self.plan);
        self.born = inner.clock.now();
        let credentials = inner.config.credentials.as_ref().map(|source| source.for_function(spec));
        let credentials = credentials
            .transpose()
            .map_err(|error| lost(format!("cannot make credentials of a role: {error}")))?;
        let own = Own {
            log_stream: &self.key.stream,
            initialization: self.initialization,
            credentials: credentials.as_ref(),
        };
        let mut wanted = plan.sandbox(id, &own).map_err(Failure::entrypoint)?;
        let is_python = matches!(plan.runtime.kind, RuntimeKind::Python { .. });
        if is_python && inner.spawner.isolation() == Isolation::Process {
            // Without a root of its own the function's layers are elsewhere; the value is rewritten.
            wanted.environment.push(("LAMBKIN_OPT".to_owned(), "/opt".to_owned()));
        }
        // Asked even if it cannot be used now, so that it is there later.
        if wanted.zygote.is_some() && !inner.zygotes.want(&spec.runtime, &plan.runtime, self.born) {
            wanted.zygote = None;
        }
        let network = Network::new(&plan.policy, &inner.spawner).await;
        network.apply(&mut wanted);
        let made = inner.spawner.create(wanted).await;
        let mut sandbox = made.map_err(|error| lost(format!("cannot make a sandbox: {error}")))?;
        match sandbox.origin() {
            ProgramOrigin::Executed => {}
            ProgramOrigin::Forked => inner.counters.forks.add(),
            ProgramOrigin::FellBack(reason) => {
                inner.counters.fork_fallbacks.add();
                tracing::debug!(
                    function = &*spec.name,
                    reason,
                    "an environment was not forked from a zygote"
                );
            }
        }
        let endpoint = self
            .serve_apis(inner, spec, &mut sandbox)
            .map_err(|error| lost(format!("cannot serve a sandbox: {error}")))?;
        let ways = Ways::take(&mut sandbox);
        let services = network.serve(&mut sandbox, &inner.upstream);
        let sandbox = Arc::new(sandbox);
        if !self.cell.attach(&sandbox) {
            return Err(InitFailure::Sandbox("shutting down".to_owned()));
        }
        let begun = Instant::now();
        let live = services
            .and_then(|services| Live::new(&sandbox, ways, endpoint, services, plan.extensions.len()))
            .map_err(|error| lost(format!("cannot reach a sandbox: {error}")))?;
        let Live { session, output, exit, helpers, .. } = self.live.insert(live);
        let end = session.process_end();
        session.expect_extensions(extension_host(spec, &plan));
        if !plan.extensions.is_empty() {
            let registered = helpers.beside(session.registered());
            match watch(registered, &end, output, &mut self.log, exit, inner, limit).await {
                Watched::Done(Ok(Ok(()))) => {}
                Watched::Done(Ok(Err(error))) => return Err(extension_failure(error).into()),
                Watched::Done(Err(status)) => return Err(Failure::extension_exited(status, false).into()),
                // It waits for its extensions: nothing has ended it but the sandbox's end.
                Watched::Exited(status) if sandbox.is_lost() => {
                    return Err(lost(format!("the sandbox was lost: {status:?}")));
                }
                Watched::Exited(status) => return Err(Failure::exited(status, &plan).into()),
                Watched::TimedOut => return Err(Failure::TimedOut.into()),
            }
            sandbox.start_program();
        }
        let ready = helpers.beside(session.ready());
        let left = limit.saturating_sub(begun.elapsed());
        let ended = watch(ready, &end, output, &mut self.log, exit, inner, left).await;
        let exited = match ended {
            Watched::Done(Err(status)) => return Err(Failure::extension_exited(status, true).into()),
            Watched::Done(Ok(Readiness::ExtensionError { error_type })) => {
                return Err(Failure::extension_reported(error_type).into());
            }
            Watched::Done(Ok(Readiness::Ready)) => {
                let took = begun.elapsed();
                output.drain(&mut self.log, &*inner.clock);
                if let Err(error) = sandbox.set_cpu_quota_us(plan.cpu_quota_us) {
                    tracing::warn!(%error, "cannot limit a sandbox's CPU");
                }
                return Ok(took);
            }
            Watched::Done(Ok(Readiness::InitError { error_type, body })) => {
                return Err(Failure::Reported { error_type, body }.into());
            }
            Watched::Done(Ok(Readiness::Closed { reason })) => {
                if !reason.is_empty() {
                    tracing::warn!(reason, "a runtime broke the rules of the runtime API in INIT");
                }
                last_breath(&self.cell, exit).await
            }
            Watched::Exited(status) => status,
            Watched::TimedOut => return Err(Failure::TimedOut.into()),
        };
        if sandbox.is_lost() {
            return Err(lost("the sandbox was lost".to_owned()));
        }
        if let (ExitStatus::ExecFailed(errno), true) = (exited, plan.wrapped) {
            let fault = if errno == 2 { "does not exist" } else { "cannot be executed" };
            self.log.platform(format!("{}: {fault}\n", plan.program), inner.clock.now_ms());
        }
        Err(Failure::exited(exited, &plan).into())
    }

    /// Starts to serve the server's APIs inside a sandbox.
    fn serve_apis(
        &self,
        inner: &Inner,
        spec: &FunctionSpec,
        sandbox: &mut Sandbox,
    ) -> io::Result<Option<Endpoint>> {
        let Some(acceptor) = &inner.config.endpoint else { return Ok(None) };
        let Some(listener) = sandbox.take_listener(acceptor.port()) else { return Ok(None) };
        let origin = Origin { function_arn: spec.arn(), environment: self.instance.clone() };
        Endpoint::start(&**acceptor, listener, origin).map(Some)
    }

    /// Whether it is of those that are kept initialised ahead of invocations.
    pub(crate) fn is_ahead(&self) -> bool {
        self.allocation.is_some()
    }

    /// Whether its program has ended while it was idle, as far as that is known, or has never run.
    pub(crate) fn has_ended(&mut self) -> bool {
        let Some(live) = &mut self.live else { return true };
        // Nobody is woken: whoever uses it next waits anew.
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut exit = tokio::task::unconstrained(&mut live.exit);
        Pin::new(&mut exit).poll(&mut context).is_ready()
    }

    /// Whether it is too old to take another event.
    pub(crate) fn is_worn(&self, inner: &Inner) -> bool {
        inner.clock.now() >= self.born.saturating_add(inner.config.environment_lifetime)
    }

    /// Logs how INIT ended.
    pub(crate) fn report_init(
        &mut self,
        inner: &Inner,
        spec: &FunctionSpec,
        duration: Duration,
        phase: InitPhase,
        failure: Option<&Failure>,
    ) {
        let status = failure.map_or(Status::Success, Failure::status);
        let initialization = self.initialization;
        self.platform(inner, spec, &PlatformEvent::InitRuntimeDone { initialization, phase, status });
        self.platform(inner, spec, &PlatformEvent::InitReport { initialization, duration, phase, status });
    }

    /// Logs a platform event.
    pub(crate) fn platform(&mut self, inner: &Inner, spec: &FunctionSpec, event: &PlatformEvent<'_>) {
        let now = inner.clock.now_ms();
        if let Some(line) = event.render(spec.log_format, now) {
            self.log.platform(line, now);
        }
    }

    /// Most memory used so far, in MiB, after something that took `duration`. Looking it up costs several
    /// system calls, so after something short it may be a moment old.
    pub(crate) fn max_memory_mb(&mut self, duration: Duration) -> u64 {
        let known = self.peak.filter(|(at, _)| duration < SHORT && at.elapsed() < PEAK_AGE);
        let peak = known.map_or_else(|| self.cell.usage().max_memory_bytes, |(_, peak)| peak);
        if known.is_none() {
            self.peak = Some((Instant::now(), peak));
        }
        peak.div_ceil(1024 * 1024)
    }

    /// Ends the sandbox, if there is one, and logs what it still had to say. Extensions get some time to
    /// finish, by a task of their own.
    pub(crate) fn end_sandbox(&mut self, inner: &Inner, reason: ShutdownReason) {
        let live = self.live.take();
        let (any, external) = live.as_ref().map_or((false, false), |live| live.session.has_extensions());
        match live {
            Some(mut live) if any && !live.is_lost() => {
                live.output.drain(&mut self.log, &*inner.clock);
                if let Some(sandbox) = self.cell.take() {
                    let (clock, logs) = (Arc::clone(&inner.clock), Arc::clone(&inner.logs));
                    let farewell =
                        Farewell { live, sandbox, reason, external, clock, logs, key: self.key.clone() };
                    inner.see_off(farewell.run());
                }
            }
            Some(mut live) => {
                self.cell.detach();
                live.output.drain(&mut self.log, &*inner.clock);
            }
            None => self.cell.detach(),
        }
        self.log.flush(inner.clock.now_ms());
    }

    /// Hands the events collected so far to the log store.
    pub(crate) fn hand_over_log(&mut self, inner: &Inner) {
        let events = self.log.take_events();
        if !events.is_empty() {
            inner.logs.append_soon(&self.key, events);
        }
    }

    /// Ends the environment.
    pub(crate) fn close(mut self: Box<Self>, inner: &Inner) {
        self.end_sandbox(inner, ShutdownReason::Spindown);
        self.cell.close();
        self.hand_over_log(inner);
    }
}

impl Drop for Environment {
    fn drop(&mut self) {
        self.cell.close();
    }
}

/// The server's ends of a sandbox's descriptors.
struct Ways {
    channel: Option<OwnedFd>,
    listener: Option<TcpListener>,
    output: Option<OwnedFd>,
    telemetry: Option<OwnedFd>,
}

impl Ways {
    fn take(sandbox: &mut Sandbox) -> Self {
        Self {
            channel: sandbox.take_channel(),
            listener: sandbox.take_listener(RUNTIME_API_PORT),
            output: sandbox.take_output(),
            telemetry: sandbox.take_telemetry(),
        }
    }
}

impl Live {
    fn new(
        sandbox: &Arc<Sandbox>,
        ways: Ways,
        endpoint: Option<Endpoint>,
        services: Services,
        helpers: usize,
    ) -> io::Result<Self> {
        let session = match (ways.channel, ways.listener) {
            (Some(channel), listener) => Session::channel(channel, listener)?,
            (None, Some(listener)) => Session::http(listener)?,
            (None, None) => return Err(io::Error::other("it has neither a channel nor a listener")),
        };
        let output = Output::new(ways.output, ways.telemetry)?;
        let waited_for = Arc::clone(sandbox);
        let exit = Exit::Awaited(Box::pin(async move { waited_for.wait().await }));
        let helpers = Helpers::new(sandbox, helpers);
        let sandbox = Arc::clone(sandbox);
        Ok(Self { session, output, exit, helpers, _endpoint: endpoint, _services: services, sandbox })
    }

    /// Whether the sandbox has ended because its spawner has.
    pub(crate) fn is_lost(&self) -> bool {
        self.sandbox.is_lost()
    }
}

/// How a wait for a runtime ended.
#[derive(Debug)]
pub(crate) enum Watched<T> {
    /// What was waited for.
    Done(T),
    /// The program ended without it; nothing more comes.
    Exited(ExitStatus),
    /// The time was over.
    TimedOut,
}

/// Waits for something from a runtime, while its output goes to the log. `process_end` is that of the
/// session which is waited for.
pub(crate) async fn watch<T>(
    work: impl Future<Output = T>,
    process_end: &ProcessEnd,
    output: &mut Output,
    log: &mut LogBuffer,
    exit: &mut Exit,
    inner: &Inner,
    limit: Duration,
) -> Watched<T> {
    let mut work = pin!(work);
    let mut deadline = pin!(tokio::time::sleep(limit));
    loop {
        // Output last, or a function that writes without end would never time out.
        tokio::select! {
            biased;
            done = &mut work => return Watched::Done(done),
            () = &mut deadline => return Watched::TimedOut,
            status = &mut *exit => {
                // What it said before it ended counts, but may be on its way yet.
                process_end.announce();
                let last_words = tokio::time::timeout(LAST_WORDS, work).await;
                return last_words.map_or(Watched::Exited(status), Watched::Done);
            }
            () = output.pump(log, &*inner.clock) => {}
        }
    }
}

/// How the program of a runtime that has hung up ends; it is killed if it takes long.
pub(crate) async fn last_breath(cell: &Cell, exit: &mut Exit) -> ExitStatus {
    match tokio::time::timeout(LAST_BREATH, &mut *exit).await {
        Ok(status) => status,
        Err(_) => {
            cell.detach();
            ExitStatus::Signal(9)
        }
    }
}
