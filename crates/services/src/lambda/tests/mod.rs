//! The service as a whole on the in-memory store, with an engine that answers what it was asked to run.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lambkin_core::FunctionSpec;
use lambkin_core::clock::ManualClock;
use lambkin_core::ids::Scope;
use lambkin_core::invoke::{Invocation, InvokeError, InvokeOutcome};
use lambkin_model::lambda::*;
use lambkin_model::{AwsError, Blob, RequestContext};
use lambkin_store::MemMetadata;

use super::*;
use crate::testing::{MemBlobs, context, context_of, zip_of};

mod aliases;
mod concurrency;
mod event_sources;
mod layers;
mod operations;
mod per_qualifier;
mod permissions;
mod provisioned;
mod states;
mod versions;

/// Answers `{"code": FIRST FILE, "env": {...}}` of the spec it is given, and the file `l` of each layer.
#[derive(Debug, Default)]
struct TestInvoker {
    missing_runtimes: Mutex<Vec<&'static str>>,
    retired: Mutex<Vec<(String, Option<String>)>>,
    concurrency: Mutex<BTreeMap<String, lambkin_core::concurrency::Concurrency>>,
    /// What it has initialised of each version.
    ready: Mutex<BTreeMap<String, lambkin_core::concurrency::Provisioned>>,
    /// While closed, looking for a runtime waits, so that functions stay unsettled.
    gate: (Mutex<bool>, std::sync::Condvar),
}

impl TestInvoker {
    /// What it was told last of a function.
    fn concurrency(&self, name: &str) -> lambkin_core::concurrency::Concurrency {
        self.concurrency.lock().unwrap().get(name).cloned().unwrap_or_default()
    }

    fn close(&self, closed: bool) {
        *self.gate.0.lock().unwrap() = closed;
        self.gate.1.notify_all();
    }
}

impl Invoker for TestInvoker {
    fn invoke(
        &self,
        spec: Arc<FunctionSpec>,
        invocation: Invocation,
    ) -> Pin<Box<dyn Future<Output = Result<InvokeOutcome, InvokeError>> + Send>> {
        Box::pin(async move {
            let code = std::fs::read_to_string(spec.code.join("a.py")).unwrap();
            if code == "throttle" {
                return Err(InvokeError::Throttled { reason: "ConcurrentInvocationLimitExceeded" });
            }
            let event: serde_json::Value = serde_json::from_slice(&invocation.payload).unwrap();
            let answer = serde_json::json!({
                "code": code, "version": &*spec.version, "env": spec.environment, "event": event, "arn": invocation.invoked_function_arn,
                "context": invocation.client_context,
                "layers": spec.layers.iter().map(|layer| std::fs::read_to_string(layer.join("l")).unwrap()).collect::<Vec<_>>(),
            });
            Ok(InvokeOutcome {
                payload: answer.to_string().into(),
                function_error: (code == "fail").then_some("Unhandled"),
                log_tail: invocation.log_tail.then(|| Bytes::from_static(b"START")),
                executed_version: spec.version.clone(),
            })
        })
    }

    fn retire(&self, function_arn: &str, keep: Option<&str>) {
        self.retired.lock().unwrap().push((function_arn.to_owned(), keep.map(ToOwned::to_owned)));
    }

    fn set_concurrency(
        &self,
        _scope: &Scope,
        function: &str,
        concurrency: lambkin_core::concurrency::Concurrency,
    ) {
        self.concurrency.lock().unwrap().insert(function.to_owned(), concurrency);
    }

    fn provisioned(&self, spec: &FunctionSpec) -> lambkin_core::concurrency::Provisioned {
        self.ready.lock().unwrap().get(&*spec.version).copied().unwrap_or_default()
    }

    fn runtime_available(&self, runtime: &str) -> Result<String, String> {
        let closed = self.gate.0.lock().unwrap();
        drop(self.gate.1.wait_while(closed, |closed| *closed).unwrap());
        if self.missing_runtimes.lock().unwrap().contains(&runtime) {
            return Err(format!("install {runtime}"));
        }
        Ok(format!("{runtime} of this host"))
    }
}

struct Fixture {
    service: LambdaService,
    invoker: Arc<TestInvoker>,
    clock: Arc<ManualClock>,
    deps: LambdaDeps,
    dir: tempfile::TempDir,
}

impl Drop for Fixture {
    fn drop(&mut self) {
        // A blocked look for a runtime would block the end of the tokio runtime.
        self.invoker.close(false);
    }
}

impl Fixture {
    async fn new() -> Self {
        let invoker = Arc::new(TestInvoker::default());
        let clock = Arc::new(ManualClock::at(1_795_435_200_000));
        let deps = LambdaDeps {
            metadata: Arc::new(MemMetadata::default()),
            blobs: Arc::new(MemBlobs::default()),
            invoker: invoker.clone(),
            clock: clock.clone(),
            roles: RoleCheck::WellFormed,
        };
        let dir = tempfile::tempdir().unwrap();
        let service = LambdaService::new(deps.clone(), LambdaConfig::new(dir.path())).await.unwrap();
        Self { service, invoker, clock, deps, dir }
    }

    /// Ends the service and starts another on the same store and folder.
    async fn restart(&mut self) {
        self.service =
            LambdaService::new(self.deps.clone(), LambdaConfig::new(self.dir.path())).await.unwrap();
    }

    async fn create(&self, name: &str, code: &str) -> FunctionConfiguration {
        self.service.create_function(&context(), request(name, code)).await.unwrap()
    }

    async fn configuration(&self, name: &str) -> FunctionConfiguration {
        let request =
            GetFunctionConfigurationRequest { function_name: Some(name.to_owned()), qualifier: None };
        self.service.get_function_configuration(&context(), request).await.unwrap()
    }

    /// Waits for the end of what the reconciler does.
    async fn settled(&self, name: &str) -> FunctionConfiguration {
        loop {
            let configuration = self.configuration(name).await;
            let unsettled = configuration.state.as_deref() == Some("Pending")
                || configuration.last_update_status.as_deref() == Some("InProgress");
            if !unsettled {
                return configuration;
            }
            tokio::task::yield_now().await;
        }
    }

    async fn invoke(&self, name: &str) -> Result<serde_json::Value, AwsError> {
        let answer = self.service.invoke(&context(), invocation(name)).await?;
        Ok(serde_json::from_slice(&answer.payload.unwrap()).unwrap())
    }

    async fn update_code(&self, name: &str, code: &str) -> Result<FunctionConfiguration, AwsError> {
        let request = UpdateFunctionCodeRequest {
            function_name: Some(name.to_owned()),
            zip_file: Some(Blob(zip_of(&[("a.py", code.as_bytes())]))),
            ..Default::default()
        };
        self.service.update_function_code(&context(), request).await
    }
}

fn request(name: &str, code: &str) -> CreateFunctionRequest {
    CreateFunctionRequest {
        function_name: Some(name.to_owned()),
        runtime: Some("python3.12".to_owned()),
        role: Some("arn:aws:iam::000000000000:role/r".to_owned()),
        handler: Some("a.handler".to_owned()),
        code: Some(FunctionCode {
            zip_file: Some(Blob(zip_of(&[("a.py", code.as_bytes())]))),
            ..Default::default()
        }),
        ..Default::default()
    }
}

fn invocation(name: &str) -> InvocationRequest {
    InvocationRequest { function_name: Some(name.to_owned()), ..Default::default() }
}

/// A function with the versions 1 and 2 and an alias, found by the alias.
pub(super) fn routed(version: names::Version, additional: Option<(u64, f64)>) -> resolve::Found {
    use catalogue::{Entry, VersionEntry};
    use names::Version;
    use record::{AliasRecord, Code, Config, FORMAT, FunctionRecord, Logging, Snapshot, State, Status};

    let dir = tempfile::tempdir().unwrap();
    let folders = CodeFolders::open(dir.path(), Arc::new(MemBlobs::default())).unwrap();
    let scope = Scope::new("000000000000", "us-east-1");
    let snapshot = Snapshot {
        revision_id: "r".to_owned(),
        code: Code { sha256: "ab".to_owned(), size: 1 },
        config: Config {
            runtime: "python3.12".to_owned(),
            handler: "a.b".to_owned(),
            role: String::new(),
            description: String::new(),
            timeout_s: 3,
            memory_mb: 128,
            ephemeral_storage_mb: 512,
            architecture: "x86_64".to_owned(),
            environment: BTreeMap::new(),
            logging: Logging {
                json: false,
                application_level: None,
                system_level: None,
                group: "g".to_owned(),
            },
            layers: Vec::new(),
        },
        runtime_version: Some("Python".to_owned()),
    };
    let mut record = FunctionRecord {
        v: FORMAT,
        name: "f".to_owned(),
        created_ms: 0,
        modified_ms: 0,
        current: snapshot.clone(),
        serving: None,
        state: Status::plain(State::Active),
        last_update: None,
        tags: BTreeMap::new(),
        last_version: 0,
    };
    let spec = |version| Some(Arc::new(snapshot.spec(&scope, "f", version, &folders)));
    let mut published = BTreeMap::new();
    for number in [1, 2] {
        let record = super::versions::publish(&mut record, None, 0);
        let version = VersionEntry { record, revision: 1, spec: spec(Version::Number(number)) };
        published.insert(number, Arc::new(version));
    }
    let alias = Arc::new(AliasRecord {
        v: FORMAT,
        name: "live".to_owned(),
        revision_id: "a".to_owned(),
        description: String::new(),
        version,
        additional,
    });
    let published = Arc::new(published);
    let target =
        names::Target { scope: scope.clone(), name: "f".to_owned(), qualifier: Some("live".to_owned()) };
    resolve::Found {
        target,
        published: match version {
            Version::Latest => None,
            Version::Number(number) => published.get(&number).cloned(),
        },
        entry: Arc::new(Entry::of(scope.clone(), record, spec(Version::Latest), published)),
        alias: Some(alias),
    }
}
