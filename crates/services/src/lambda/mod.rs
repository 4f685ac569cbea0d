//! AWS Lambda: functions, their code and their invocation.
//!
//! A function is one record in the metadata store (`record`); the `catalogue` holds all of them in
//! memory. Reads and invokes touch the catalogue only. Writers commit with a condition on the record's
//! revision and answer once the catalogue has applied it; `reconcile` then prepares the function and
//! settles its state.

mod api;
mod archive;
mod catalogue;
mod code;
mod create;
mod download;
mod faults;
mod invoke;
mod names;
mod read;
mod reconcile;
mod record;
mod runtimes;
mod settings;
mod tags;
mod update;
mod view;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use lambkin_core::Clock;
use lambkin_core::blobs::BlobStore;
use lambkin_core::ids::Scope;
use lambkin_core::invoke::Invoker;
use lambkin_core::metadata::{Expect, MetadataStore, Revision, StoreError, Write};
use lambkin_model::AwsError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

pub use download::DownloadError;

use catalogue::{Catalogue, Entry};
use code::CodeFolders;
#[cfg(test)]
pub(crate) use code::hex_sha256;
use download::Signer;
use names::Target;
use record::{FunctionRecord, KIND};

/// How often unused packages are looked for.
const SWEEP_EVERY: Duration = Duration::from_secs(300);

/// What the service stands on.
#[derive(Clone)]
pub struct LambdaDeps {
    /// Records.
    pub metadata: Arc<dyn MetadataStore>,
    /// Deployment packages. Must hold nothing else: packages that no function uses are deleted.
    pub blobs: Arc<dyn BlobStore>,
    /// What runs functions.
    pub invoker: Arc<dyn Invoker>,
    /// Time.
    pub clock: Arc<dyn Clock>,
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
    /// ConcurrentExecutions that GetAccountSettings answers.
    pub concurrent_executions: u32,
    /// How long a package outlives its last function, in real time. Environments may run from it that long:
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
    config: LambdaConfig,
    catalogue: Arc<Catalogue>,
    code: Arc<CodeFolders>,
    signer: Signer,
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
        let stored = deps.metadata.scan(KIND, "").await?;
        if let Some(newest) = stored.iter().map(|record| record.revision).max() {
            catalogue.wait(newest).await?;
        }
        let inner = Arc::new(Inner {
            metadata: deps.metadata,
            invoker: deps.invoker,
            clock: deps.clock,
            config,
            catalogue,
            code,
            signer,
        });
        for entry in inner.catalogue.all().into_iter().filter(|entry| reconcile::may_be_retried(entry)) {
            let _ = report.send(entry);
        }
        drop(report);
        tasks.push(tokio::spawn(reconcile::run(inner.clone(), unsettled)));
        tasks.push(tokio::spawn(sweep(inner.clone())));
        Ok(Self { inner, tasks })
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

impl Inner {
    /// The function a request means.
    fn entry(&self, target: &Target) -> Result<Arc<Entry>, AwsError> {
        let entry = self.catalogue.get(&target.scope, &target.name).ok_or_else(|| target.not_found())?;
        match target.qualifier.as_deref() {
            None | Some(names::LATEST) => Ok(entry),
            Some(_) => Err(target.not_found()),
        }
    }

    /// Commits one record; the answer does not wait for the catalogue.
    async fn write(
        &self,
        scope: &Scope,
        record: &FunctionRecord,
        expect: Expect,
    ) -> Result<Revision, StoreError> {
        let value = serde_json::to_vec(record).map_err(|error| StoreError::Failed(error.to_string()))?;
        let key = FunctionRecord::key(scope, &record.name);
        let write = Write { kind: KIND.to_owned(), key, expect, value: Some(value.into()) };
        self.metadata.commit(vec![write]).await
    }

    /// Reads the record, changes it, and commits it unless it has been changed meanwhile, in which case it
    /// starts again. Answers the new record once the catalogue has it.
    async fn change(
        &self,
        target: &Target,
        mut change: impl FnMut(&FunctionRecord) -> Result<FunctionRecord, AwsError> + Send,
    ) -> Result<FunctionRecord, AwsError> {
        let key = FunctionRecord::key(&target.scope, &target.name);
        loop {
            let stored = self.metadata.get(KIND, &key).await.map_err(faults::store)?;
            let stored = stored.ok_or_else(|| target.not_found())?;
            let record = FunctionRecord::read(&stored.value).map_err(faults::service)?;
            let next = change(&record)?;
            match self.write(&target.scope, &next, Expect::At(stored.revision)).await {
                Ok(revision) => {
                    self.catalogue.wait(revision).await.map_err(faults::store)?;
                    return Ok(next);
                }
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => return Err(faults::store(error)),
            }
        }
    }
}

/// Removes packages that no function uses: at the start at once, since nothing runs yet, later with grace.
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
