//! AWS Lambda: functions, their code and their invocation.
//!
//! Layers are in `layers`. A function is one record in the metadata store with further ones for its versions, its aliases (`record`)
//! and its settings (`dependents`); the `catalogue` holds all of them in memory. `resolve` finds there what a
//! name and a qualifier mean, once `authorize` has asked the resource policy. Reads and invokes touch the catalogue only. Writers commit with a condition on
//! the function record's revision and answer once the catalogue has applied it (`change`); `reconcile` then
//! prepares the function or version and settles its state.

mod aliases;
mod api;
mod archive;
mod authorize;
mod catalogue;
mod change;
mod code;
mod code_signing;
mod concurrency;
mod create;
mod dependents;
mod download;
mod event_invoke;
mod event_sources;
mod faults;
mod function_settings;
mod invoke;
mod layers;
mod names;
mod permissions;
mod provisioned;
mod rates;
mod read;
mod reconcile;
mod record;
mod resolve;
mod resource_policy;
mod resources;
mod response_events;
mod role;
mod routing;
mod runtimes;
mod settings;
mod tags;
mod update;
mod url_config;
mod versions;
mod view;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lambkin_core::Clock;
use lambkin_core::blobs::BlobStore;
use lambkin_core::invoke::Invoker;
use lambkin_core::metadata::{MetadataStore, StoreError};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};

pub use authorize::ServiceCall;
pub use download::DownloadError;
pub use rates::RateLimited;
pub use role::RoleCheck;

pub(crate) use archive::unpack;
use catalogue::Catalogue;
use code::CodeFolders;
#[cfg(test)]
pub(crate) use code::hex_sha256;
use download::Signer;
use routing::Dice;

/// How often unused packages are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(300);

/// What the service stands on.
#[derive(Clone)]
pub struct LambdaDeps {
    /// Records.
    pub metadata: Arc<dyn MetadataStore>,
    /// Deployment packages. Must hold nothing else: packages that nothing refers to are deleted.
    pub blobs: Arc<dyn BlobStore>,
    /// What runs functions.
    pub invoker: Arc<dyn Invoker>,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// What is asked of functions' roles.
    pub roles: RoleCheck,
}

impl std::fmt::Debug for LambdaDeps {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LambdaDeps").finish_non_exhaustive()
    }
}

/// Settings of the service.
#[derive(Debug, Clone)]
pub struct LambdaConfig {
    /// Folder for unpacked packages (`code/`) and the key of download links (`keys/`).
    pub data_dir: PathBuf,
    /// The account's ConcurrentExecutions, in each region. What runs is limited by the invoker, to the same.
    pub concurrent_executions: u32,
    /// Most bytes of all packages of an account in a region.
    pub code_storage: u64,
    /// How long a package outlives its last function or layer version, in real time. Environments may run from
    /// it that long:
    /// at least the largest timeout of 900 s.
    pub code_grace: Duration,
}

impl LambdaConfig {
    /// AWS's figures, and twenty minutes of grace.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            data_dir: data_dir.into(),
            concurrent_executions: 1000,
            code_storage: 75 * 1024 * 1024 * 1024,
            code_grace: Duration::from_secs(20 * 60),
        }
    }
}

/// Why the service did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The data folder cannot be used.
    #[error("cannot use the data folder: {0}")]
    Io(#[from] std::io::Error),
    /// The store cannot be read.
    #[error("cannot read the functions: {0}")]
    Store(#[from] StoreError),
}

/// The Lambda service. Give it to `lambkin_model::lambda::Handler`.
#[derive(Debug)]
pub struct LambdaService {
    inner: Arc<Inner>,
    tasks: Vec<JoinHandle<()>>,
}

/// What requests and background tasks share.
pub(crate) struct Inner {
    metadata: Arc<dyn MetadataStore>,
    invoker: Arc<dyn Invoker>,
    clock: Arc<dyn Clock>,
    roles: RoleCheck,
    config: LambdaConfig,
    catalogue: Arc<Catalogue>,
    code: Arc<CodeFolders>,
    signer: Signer,
    dice: Dice,
    /// Held while the concurrency of a function is set: what one claims the others cannot.
    concurrency_changes: tokio::sync::Mutex<()>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LambdaInner").field("config", &self.config).finish_non_exhaustive()
    }
}

impl LambdaService {
    /// Reads all functions and starts the background tasks: they end when the service is dropped. Must be
    /// called within a tokio runtime.
    ///
    /// # Errors
    /// A data folder or store that cannot be used.
    pub async fn new(deps: LambdaDeps, config: LambdaConfig) -> Result<Self, StartError> {
        let code = Arc::new(CodeFolders::open(&config.data_dir, deps.blobs)?);
        let signer = Signer::open(&config.data_dir)?;
        let changes = deps.metadata.watch(0).await?;
        let (report, unsettled) = mpsc::unbounded_channel();
        let (catalogue, feeder) = Catalogue::new(changes, code.clone(), report.clone());
        let mut tasks = vec![tokio::spawn(feeder.run())];
        catalogue.catch_up().await?;
        unpack_missing(&code, &catalogue).await;
        let inner = Arc::new(Inner {
            metadata: deps.metadata,
            invoker: deps.invoker,
            clock: deps.clock,
            roles: deps.roles,
            config,
            catalogue,
            code,
            signer,
            dice: Dice::new(),
            concurrency_changes: tokio::sync::Mutex::default(),
        });
        for failed in inner.catalogue.all().iter().flat_map(reconcile::to_be_retried) {
            let _ = report.send(failed);
        }
        drop(report);
        tasks.push(tokio::spawn(reconcile::run(inner.clone(), unsettled)));
        tasks.push(tokio::spawn(sweep(inner.clone())));
        tasks.push(tokio::spawn(reconcile::announce_runtimes(inner.clone())));
        Ok(Self { inner, tasks })
    }

    /// Hands the concurrency of all functions to the invoker, now and at each change: limits hold, and
    /// environments are initialised ahead. To be called once all that functions need is served.
    pub fn enforce_concurrency(&self) {
        self.inner.catalogue.tell(Arc::clone(&self.inner.invoker));
        self.inner.warn_of_claims();
    }

    /// Answers a code download link as GetFunction gives it out: `path` begins with
    /// [`LambdaService::DOWNLOAD_PREFIX`], `query` is what follows the `?`. The content is a zip file.
    ///
    /// # Errors
    /// A link that is forged, has expired, or whose code is gone.
    pub async fn code_download(&self, path: &str, query: &str) -> Result<Bytes, DownloadError> {
        self.inner.code_download(path, query).await
    }

    /// Where code download links begin.
    pub const DOWNLOAD_PREFIX: &'static str = download::PREFIX;
}

impl Drop for LambdaService {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// Packages unpacked at once.
const UNPACKING: usize = 4;

/// Unpacks stored packages whose folders are not there, as after a restore.
async fn unpack_missing(code: &Arc<CodeFolders>, catalogue: &Catalogue) {
    let mut missing = catalogue.packages().into_iter().filter(|sha256| !code.path(sha256).is_dir());
    let mut unpacking = JoinSet::new();
    let mut done = 0;
    loop {
        while unpacking.len() < UNPACKING
            && let Some(sha256) = missing.next()
        {
            let code = Arc::clone(code);
            unpacking.spawn(async move { (code.ensure(&sha256).await, sha256) });
        }
        match unpacking.join_next().await {
            None => break,
            Some(Ok((Ok(()), _))) => done += 1,
            Some(Ok((Err(error), sha256))) => {
                tracing::error!(sha256, %error, "cannot unpack a stored package: its functions cannot run");
            }
            Some(Err(error)) => tracing::error!(%error, "cannot unpack a stored package"),
        }
    }
    if done > 0 {
        tracing::info!(packages = done, "packages unpacked again");
    }
}

/// Removes packages that no function and no layer version uses: at the start at once, since nothing runs yet, later with grace.
async fn sweep(inner: Arc<Inner>) {
    let mut idle = HashMap::new();
    let mut grace = Duration::ZERO;
    loop {
        if let Err(error) = inner.code.sweep(|| inner.catalogue.used_packages(), grace, &mut idle).await {
            tracing::warn!(%error, "cannot remove unused packages");
        }
        grace = inner.config.code_grace;
        tokio::time::sleep(SWEEP_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
