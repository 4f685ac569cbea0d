//! `lambkin serve`: opens the data folder, starts the parts, serves until told to stop.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use aws_lc_rs::digest::{SHA256, digest};
use lambkin_core::{Clock, SystemClock};
use lambkin_engine::{Engine, EngineConfig};
use lambkin_model::ServiceHandler;
use lambkin_sandbox::{Isolation, Spawner, SpawnerConfig};
use lambkin_services::authorization::Authorized;
use lambkin_services::iam::IamService;
use lambkin_services::lambda::{LambdaConfig, LambdaDeps, LambdaService, RateLimited, RoleCheck};
use lambkin_services::logs::LogsService;
use lambkin_services::sessions::{FunctionSessions, Sessions};
use lambkin_services::sts::StsService;
use lambkin_wire::{Front, FrontConfig, Limits, Mode, ServeOptions, Tls};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tracing_subscriber::EnvFilter;

use crate::admin::{self, Admin, AdminSocket};
use crate::config::{IsolationMode, LogFormat, Settings};
use crate::credentials::RootKey;
use crate::egress;
use crate::endpoint::FunctionEndpoint;
use crate::identity::WithSessions;
use crate::internal::{Internal, InternalForFunctions};
use crate::keys::KeyRing;

/// Runs the server until SIGTERM or SIGINT.
pub(crate) fn run(settings: Settings) -> anyhow::Result<ExitCode> {
    init_log(&settings)?;
    // Forks, hence before there is any thread.
    let isolation = isolation(settings.isolation)?;
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new(settings.time_scale));
    // Takes the folder's lock, before anything that a running server must be spared.
    let store = lambkin_store::open(&settings.data_dir, &lambkin_store::Options::new(Arc::clone(&clock)))?;
    let key = RootKey::open(&settings.data_dir, settings.account_id.as_deref())?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let result = runtime.block_on(serve(&settings, isolation, clock, key, store));
    runtime.shutdown_timeout(Duration::from_secs(1));
    result.map(|()| ExitCode::SUCCESS)
}

async fn serve(
    settings: &Settings,
    isolation: Isolation,
    clock: Arc<dyn Clock>,
    key: RootKey,
    store: lambkin_store::SqliteStore,
) -> anyhow::Result<()> {
    // From here on a signal is noted, also while starting.
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let keys = KeyRing::open(&settings.data_dir, key, store.metadata.clone(), Arc::clone(&clock)).await?;
    let keys = Arc::new(keys);
    let admin = AdminSocket::bind(&settings.data_dir)?;
    let commands = Admin {
        keys: Arc::clone(&keys),
        store: store.clone(),
        data_dir: settings.data_dir.clone(),
        clock: Arc::clone(&clock),
    };
    let tls =
        settings.tls.as_ref().map(|files| Tls::load(&files.cert, &files.key)).transpose()?.map(Arc::new);
    let listener =
        TcpListener::bind(settings.listen).await.with_context(|| format!("listen on {}", settings.listen))?;
    let address = listener.local_addr()?;

    let policies = settings.egress.policies()?;
    let mut config = spawner_config(&settings.data_dir, isolation)?;
    config.network = Some(policies.network());
    let spawner = Spawner::start(config)?;
    for weakness in spawner.weaknesses() {
        tracing::warn!(%isolation, "{weakness}");
    }
    egress::settle(&settings.egress, &policies, &spawner).await?;
    let mut config = EngineConfig::new(&settings.data_dir);
    config.egress = policies;
    if let Some(path) = &settings.egress.resolv_conf {
        config.resolv_conf.clone_from(path);
    }
    config.idle_timeout = settings.idle;
    config.concurrency_limit = settings.concurrent_executions;
    config.scaling_rate = settings.scaling_rate;
    config.zygotes = settings.zygotes;
    let sessions = Arc::new(Sessions::open(&settings.data_dir, Arc::clone(&clock)).context("session key")?);
    let open_files = open_files();
    config.max_environments =
        share(open_files, ENVIRONMENTS_PART * FILES_OF_ENVIRONMENT, config.max_environments);
    let endpoint = Arc::new(FunctionEndpoint::new(address.port(), open_files));
    config.endpoint = Some(endpoint.clone());
    let iam = Arc::new(IamService::new(store.metadata.clone(), Arc::clone(&clock)).await?);
    config.credentials = Some(Arc::new(FunctionSessions::new(sessions.clone(), iam.roles())));
    if let Some(megabytes) = settings.memory_mb {
        config.memory_budget = Some(megabytes.saturating_mul(1024 * 1024));
    }
    let engine = Arc::new(Engine::new(config, spawner.clone(), store.logs.clone(), Arc::clone(&clock))?);
    let deps = LambdaDeps {
        metadata: store.metadata.clone(),
        blobs: Arc::new(store.blobs.clone()),
        invoker: engine.clone(),
        clock: Arc::clone(&clock),
        roles: if settings.dev { RoleCheck::WellFormed } else { RoleCheck::Trust(iam.roles()) },
    };
    let mut config = LambdaConfig::new(&settings.data_dir);
    config.concurrent_executions = settings.concurrent_executions;
    config.code_storage = settings.code_storage_mb.saturating_mul(1024 * 1024);
    let lambda = Arc::new(LambdaService::new(deps, config).await?);
    let mut functions: Arc<dyn ServiceHandler> =
        Arc::new(lambkin_model::lambda::Handler(Arc::clone(&lambda)));
    if let Some(rate) = settings.control_plane_rate {
        functions = Arc::new(RateLimited::new(functions, Arc::clone(&clock), rate));
    }
    let sts = StsService::new(iam.roles(), Arc::clone(&sessions));
    let services: Vec<Arc<dyn ServiceHandler>> = vec![
        Arc::new(lambkin_model::iam::Handler(iam)),
        functions,
        Arc::new(lambkin_model::logs::Handler(Arc::new(LogsService::new(
            store.logs.clone(),
            Arc::clone(&clock),
        )))),
        Arc::new(lambkin_model::sts::Handler(Arc::new(sts))),
    ];
    let services = services.into_iter().map(|service| Arc::new(Authorized::new(service)) as _).collect();
    let outside = FrontConfig {
        services,
        authenticator: Arc::new(WithSessions::new(keys, sessions)),
        mode: if settings.dev { Mode::Dev } else { Mode::Strict },
        default_region: settings.region.as_str().into(),
        now: Arc::new(move || clock.now()),
        internal: None,
        limits: Limits::default(),
    };
    let internal = Arc::new(Internal::new(Arc::clone(&lambda), isolation));
    let inside =
        FrontConfig { internal: Some(Arc::new(InternalForFunctions(internal.clone()))), ..outside.clone() };
    endpoint.open(Arc::new(Front::new(inside)));
    lambda.enforce_concurrency();
    let front = Arc::new(Front::new(FrontConfig { internal: Some(internal), ..outside }));

    announce(settings, address);
    let mut helpers = JoinSet::new();
    helpers.spawn(admin::serve(admin, Arc::new(commands)));
    if let Some(tls) = tls.clone() {
        helpers.spawn(tls.follow(CERTIFICATE_LOOK));
    }
    let certificate = tls.clone();
    let stop = async {
        loop {
            tokio::select! {
                _ = terminate.recv() => break tracing::info!("SIGTERM: stopping"),
                _ = interrupt.recv() => break tracing::info!("SIGINT: stopping"),
                _ = hangup.recv() => match certificate.clone() {
                    Some(tls) => drop(tokio::task::spawn_blocking(move || tls.reload())),
                    None => tracing::info!("SIGHUP: nothing to read again without TLS"),
                },
            }
        }
    };
    let mut options = ServeOptions { grace: settings.stop, tls, ..ServeOptions::default() };
    options.max_connections = share(open_files, CONNECTIONS_PART, options.max_connections);
    lambkin_wire::serve(listener, front, options, stop).await;

    helpers.shutdown().await;
    // Requests are over; what a caller that hung up left running ends now.
    engine.shutdown(Duration::from_secs(1)).await;
    spawner.shutdown().await;
    endpoint.close();
    store.logs.flush().await.context("write the last log lines")?;
    tracing::info!("stopped");
    Ok(())
}

/// How often the certificate's files are looked at.
const CERTIFICATE_LOOK: Duration = Duration::from_secs(2);

fn announce(settings: &Settings, address: SocketAddr) {
    tracing::info!(
        version = env!("CARGO_PKG_VERSION"),
        %address,
        tls = settings.tls.is_some(),
        data_dir = %settings.data_dir.display(),
        "lambkin serves"
    );
    tracing::info!(
        "identity policies are not evaluated yet: keys may do everything in their account, functions what \
         `lambkin doctor` lists"
    );
    if settings.dev {
        tracing::info!("--dev: any credentials are accepted; never expose this server");
    }
}

/// Takes all the open files that the process may have, for every environment and connection needs some, and
/// answers how many.
fn open_files() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum }) {
        Ok(()) => limit.maximum.unwrap_or(u64::MAX),
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            limit.current.unwrap_or(u64::MAX)
        }
    }
}

/// Part of the open files that callers' connections may take; functions' connections take as much
/// (see [`FunctionEndpoint::new`]).
const CONNECTIONS_PART: u64 = 4;
/// Part of the open files that execution environments may take. What is left is for the store and for moments.
const ENVIRONMENTS_PART: u64 = 3;
/// Open files of an environment at most: its process, channel, output, control files, listeners, the connections
/// that are its own, and what is open while it is made.
const FILES_OF_ENVIRONMENT: u64 = 28;

/// How many there may be of what takes this part of the open files each, and at most so many.
fn share(open_files: u64, part: u64, most: usize) -> usize {
    usize::try_from(open_files / part).unwrap_or(usize::MAX).clamp(1, most)
}

/// User ids of one server's sandboxes: at most so many sandboxes at once.
const UIDS: u32 = 8192;

/// Names the sandboxes' cgroups and picks their user ids by the data folder: the same at each start, so that
/// leftovers of a killed server are found, and hardly ever those of another folder's server.
fn spawner_config(data_dir: &Path, isolation: Isolation) -> anyhow::Result<SpawnerConfig> {
    let path = data_dir.canonicalize().with_context(|| format!("resolve {}", data_dir.display()))?;
    let digest = digest(&SHA256, path.as_os_str().as_encoded_bytes());
    let bytes: Vec<u8> = digest.as_ref().iter().copied().take(6).collect();
    let instance: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    let range = bytes.iter().take(2).fold(0, |number, byte| number * 256 + u32::from(*byte));
    Ok(SpawnerConfig {
        uid_base: 200_000 + range * UIDS,
        uid_count: UIDS,
        ..SpawnerConfig::new(&instance, &path.join("sandboxes"), isolation)
    })
}

/// The isolation to use.
fn isolation(mode: IsolationMode) -> anyhow::Result<Isolation> {
    Ok(match mode {
        IsolationMode::Auto => lambkin_sandbox::host::strongest().context(
            "functions cannot be isolated here; see `lambkin doctor`, or say --isolation process to run them \
             as plain processes",
        )?,
        IsolationMode::Root => Isolation::Root,
        IsolationMode::UserNamespaces => Isolation::UserNamespaces,
        IsolationMode::Process => Isolation::Process,
    })
}

fn init_log(settings: &Settings) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&settings.log_level)
        .with_context(|| format!("--log-level {:?}", settings.log_level))?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false);
    match settings.log_format {
        LogFormat::Text => log.init(),
        LogFormat::Json => log.json().init(),
    }
    Ok(())
}
