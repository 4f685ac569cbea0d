//! Engines, functions and logs for tests.

use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lambkin_core::clock::{Clock, SystemClock};
use lambkin_core::function::{FunctionSpec, LogFormat};
use lambkin_core::ids::{Scope, new_request_id};
use lambkin_core::invoke::{Invocation, InvokeError, InvokeOutcome, Invoker};
use lambkin_core::logs::{
    LogEvent, LogGroup, LogQuery, LogStore, LogStream, LogStreamKey, StoreFuture, StoredLogEvent,
};
use lambkin_core::metadata::StoreError;
use lambkin_engine::{Engine, EngineConfig};
use lambkin_sandbox::{Isolation, Spawner, SpawnerConfig};
use tempfile::TempDir;

/// User ids of one test's sandboxes.
const UIDS: u32 = 100;

/// An engine with what it needs, and its end.
pub(crate) struct World {
    pub(crate) engine: Arc<Engine>,
    pub(crate) spawner: Spawner,
    pub(crate) logs: Arc<Logs>,
    /// Pid of the spawner process.
    pub(crate) spawner_pid: i32,
    folder: TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut EngineConfig)) -> Self {
        Self::with_clock(Arc::new(SystemClock::default()), change)
    }

    pub(crate) fn with_clock(clock: Arc<dyn Clock>, change: impl FnOnce(&mut EngineConfig)) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        static STARTING: Mutex<()> = Mutex::new(());
        let folder = TempDir::new().unwrap();
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let instance = format!("engine-test-{}-{number}", std::process::id());
        let config = SpawnerConfig {
            uid_base: 1_500_000 + number * UIDS,
            uid_count: UIDS,
            ..SpawnerConfig::new(&instance, &folder.path().join("sandboxes"), Isolation::Root)
        };
        // One at a time, to know whose child is whose.
        let (spawner, spawner_pid) = {
            let _alone = STARTING.lock().unwrap();
            let spawner = Spawner::start(config).expect("a spawner");
            (spawner, newest_spawner().expect("a new child"))
        };
        let logs = Arc::new(Logs::default());
        let mut config = EngineConfig::new(folder.path().join("data"));
        change(&mut config);
        let store: Arc<dyn LogStore> = Arc::clone(&logs) as _;
        let engine = Engine::new(config, spawner.clone(), store, clock).expect("an engine");
        // Sandboxes' users must get at code under it.
        fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
        Self { engine: Arc::new(engine), spawner, logs, spawner_pid, folder }
    }

    /// A folder with files; names that end in `!` are executable.
    pub(crate) fn folder(&self, name: &str, files: &[(&str, &str)]) -> PathBuf {
        let folder = self.folder.path().join(name);
        fs::create_dir_all(&folder).unwrap();
        for (file, content) in files {
            let (file, mode) = file.strip_suffix('!').map_or((*file, 0o644), |file| (file, 0o755));
            let path = folder.join(file);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        }
        folder
    }

    /// A Python function of the host's Python.
    pub(crate) fn python(&self, name: &str, code: &str) -> FunctionSpec {
        let runtime = (8..=14)
            .rev()
            .map(|minor| format!("python3.{minor}"))
            .find(|runtime| self.engine.runtime_available(runtime).is_ok())
            .expect("a Python on this host");
        spec(name, &runtime, &self.folder(name, &[("app.py", code)]))
    }

    /// A custom runtime: a program of the host's `/usr/bin/python3`.
    pub(crate) fn custom(&self, name: &str, code: &str) -> FunctionSpec {
        let code = format!("#!/usr/bin/python3 -u\n{code}");
        spec(name, "provided.al2023", &self.folder(name, &[("bootstrap!", &code)]))
    }

    pub(crate) async fn invoke(
        &self,
        spec: &Arc<FunctionSpec>,
        payload: &'static str,
    ) -> Result<InvokeOutcome, InvokeError> {
        self.engine.invoke(Arc::clone(spec), invocation(payload)).await
    }

    /// The payload of an invocation that must go well.
    pub(crate) async fn call(&self, spec: &Arc<FunctionSpec>, payload: &'static str) -> String {
        let outcome = self.invoke(spec, payload).await.expect("an outcome");
        assert_eq!(outcome.function_error, None, "{:?}", outcome.payload);
        text(&outcome.payload)
    }

    /// The payload of an invocation that must end in a function error.
    pub(crate) async fn fail(&self, spec: &Arc<FunctionSpec>, payload: &'static str) -> String {
        let outcome = self.invoke(spec, payload).await.expect("an outcome");
        assert_eq!(outcome.function_error, Some("Unhandled"), "{:?}", outcome.payload);
        text(&outcome.payload)
    }

    /// Ends everything and checks that nothing is left.
    pub(crate) async fn end(self) {
        self.engine.shutdown(Duration::from_secs(5)).await;
        let stats = self.engine.stats();
        assert_eq!((stats.in_flight, stats.environments, stats.memory_bytes), (0, 0, 0), "{stats:?}");
        assert_eq!(self.spawner.stats().live, 0);
    }
}

/// Waits until something is so; fails after ten seconds.
pub(crate) async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !holds() {
        assert!(begun.elapsed() < Duration::from_secs(10), "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

pub(crate) fn spec(name: &str, runtime: &str, code: &Path) -> FunctionSpec {
    FunctionSpec {
        scope: Scope::new("000000000000", "us-east-1"),
        name: name.into(),
        version: "$LATEST".into(),
        revision: format!("{name}-revision").into(),
        runtime: runtime.into(),
        handler: "app.handler".into(),
        code: code.into(),
        layers: Vec::new(),
        environment: BTreeMap::new(),
        memory_mb: 128,
        ephemeral_storage_mb: 512,
        timeout: Duration::from_secs(20),
        log_group: format!("/aws/lambda/{name}"),
        log_format: LogFormat::Text,
        application_log_level: String::new(),
        role: "arn:aws:iam::000000000000:role/r".into(),
    }
}

pub(crate) fn invocation(payload: &'static str) -> Invocation {
    Invocation {
        request_id: new_request_id(),
        invoked_function_arn: "arn:aws:lambda:us-east-1:000000000000:function:f".into(),
        payload: Bytes::from_static(payload.as_bytes()),
        client_context: None,
        trace_id: None,
        log_tail: true,
        response: None,
    }
}

pub(crate) fn text(bytes: &Bytes) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

pub(crate) fn tail(outcome: &InvokeOutcome) -> String {
    text(outcome.log_tail.as_ref().expect("a log tail"))
}

/// Pid of this process's spawner that was started last.
fn newest_spawner() -> Option<i32> {
    let mut spawners = Vec::new();
    for task in fs::read_dir("/proc/self/task").unwrap().flatten() {
        // A thread or a child may end meanwhile.
        let list = fs::read_to_string(task.path().join("children")).unwrap_or_default();
        for pid in list.split_whitespace() {
            let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap_or_default();
            if read("cmdline").contains(lambkin_sandbox::SPAWNER_ARG) {
                let stat = read("stat");
                let started =
                    stat.rsplit(") ").next().and_then(|rest| rest.split(' ').nth(19)).map(str::to_owned);
                let started: Option<u64> = started.and_then(|ticks| ticks.parse().ok());
                spawners.push((started, pid.parse::<i32>().unwrap()));
            }
        }
    }
    spawners.into_iter().max().map(|(_, pid)| pid)
}

/// Keeps what is handed over.
#[derive(Debug, Default)]
pub(crate) struct Logs(Mutex<Vec<(LogStreamKey, LogEvent)>>);

impl Logs {
    /// All messages of a group, in order.
    pub(crate) fn messages(&self, group: &str) -> Vec<String> {
        let all = self.0.lock().unwrap();
        all.iter().filter(|(key, _)| &*key.group == group).map(|(_, event)| event.message.clone()).collect()
    }

    /// Names of a group's streams, each once.
    pub(crate) fn streams_of(&self, group: &str) -> Vec<String> {
        let all = self.0.lock().unwrap();
        let mut streams: Vec<_> = all
            .iter()
            .filter(|(key, _)| &*key.group == group)
            .map(|(key, _)| key.stream.to_string())
            .collect();
        streams.dedup();
        streams
    }
}

impl LogStore for Logs {
    fn append(&self, key: LogStreamKey, events: Vec<LogEvent>) -> StoreFuture<'_, ()> {
        self.append_soon(&key, events);
        Box::pin(std::future::ready(Ok(())))
    }

    fn append_soon(&self, key: &LogStreamKey, events: Vec<LogEvent>) {
        self.0.lock().unwrap().extend(events.into_iter().map(|event| (key.clone(), event)));
    }

    fn create_group<'a>(&'a self, _: &'a Scope, _: &'a str) -> StoreFuture<'a, ()> {
        no()
    }

    fn delete_group<'a>(&'a self, _: &'a Scope, _: &'a str) -> StoreFuture<'a, ()> {
        no()
    }

    fn set_retention<'a>(&'a self, _: &'a Scope, _: &'a str, _: Option<u32>) -> StoreFuture<'a, ()> {
        no()
    }

    fn groups<'a>(
        &'a self,
        _: &'a Scope,
        _: &'a str,
        _: Option<&'a str>,
        _: usize,
    ) -> StoreFuture<'a, Vec<LogGroup>> {
        no()
    }

    fn create_stream<'a>(&'a self, _: &'a LogStreamKey) -> StoreFuture<'a, ()> {
        no()
    }

    fn delete_stream<'a>(&'a self, _: &'a LogStreamKey) -> StoreFuture<'a, ()> {
        no()
    }

    fn streams<'a>(&'a self, _: &'a Scope, _: &'a str, _: &'a str) -> StoreFuture<'a, Vec<LogStream>> {
        no()
    }

    fn events<'a>(&'a self, _: &'a Scope, _: &'a str, _: LogQuery) -> StoreFuture<'a, Vec<StoredLogEvent>> {
        no()
    }
}

/// The engine only appends.
fn no<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
    Box::pin(std::future::ready(Err(StoreError::Failed("not in this test".into()))))
}
