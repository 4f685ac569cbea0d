//! Measures warm and cold invocations without HTTP: `cargo run --release -p lambkin-engine --example warm`,
//! as root. Prints latencies in microseconds and invocations a second. Arguments: a Python runtime, and
//! `python` or `custom` to measure only one kind.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::print_stdout)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use lambkin_core::clock::SystemClock;
use lambkin_core::function::{FunctionSpec, LogFormat};
use lambkin_core::ids::{Scope, new_request_id};
use lambkin_core::invoke::{Invocation, Invoker};
use lambkin_core::logs::LogStore;
use lambkin_engine::{Engine, EngineConfig};
use lambkin_sandbox::{Isolation, Spawner, SpawnerConfig};

const PYTHON: &str = "def handler(event, context):\n    return {'statusCode': 200, 'body': 'hello'}\n";
const CUSTOM: &str = r#"#!/usr/bin/python3
import http.client, os
api = http.client.HTTPConnection(os.environ['AWS_LAMBDA_RUNTIME_API'])
while True:
    api.request('GET', '/2018-06-01/runtime/invocation/next')
    reply = api.getresponse()
    event = reply.read()
    path = '/2018-06-01/runtime/invocation/%s/response' % reply.getheader('Lambda-Runtime-Aws-Request-Id')
    api.request('POST', path, event)
    api.getresponse().read()
"#;

fn main() {
    lambkin_sandbox::run_spawner_if_asked();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(measure());
}

fn spec(name: &str, runtime: &str, code: &Path, number: usize) -> Arc<FunctionSpec> {
    Arc::new(FunctionSpec {
        scope: Scope::new("000000000000", "us-east-1"),
        name: format!("{name}{number}").into(),
        version: "$LATEST".into(),
        revision: format!("{name}{number}").into(),
        runtime: runtime.into(),
        handler: "app.handler".into(),
        code: code.into(),
        layers: Vec::new(),
        environment: [].into(),
        memory_mb: 1769,
        ephemeral_storage_mb: 512,
        timeout: Duration::from_secs(3),
        log_group: "/aws/lambda/warm".into(),
        log_format: LogFormat::Text,
        application_log_level: String::new(),
        role: String::new(),
    })
}

fn invocation() -> Invocation {
    Invocation {
        request_id: new_request_id(),
        invoked_function_arn: "arn:aws:lambda:us-east-1:000000000000:function:warm".into(),
        payload: Bytes::from_static(b"{\"key\":\"value\"}"),
        client_context: None,
        trace_id: None,
        log_tail: false,
        response: None,
    }
}

async fn measure() {
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o755)).unwrap();
    fs::write(folder.path().join("app.py"), PYTHON).unwrap();
    let bootstrap = folder.path().join("bootstrap");
    fs::write(&bootstrap, CUSTOM).unwrap();
    fs::set_permissions(&bootstrap, Permissions::from_mode(0o755)).unwrap();
    let work_dir = folder.path().join("sandboxes");
    let config = SpawnerConfig {
        uid_base: 1_400_000,
        uid_count: 1_000,
        ..SpawnerConfig::new("engine-warm", &work_dir, Isolation::Root)
    };
    let spawner = Spawner::start(config).expect("a spawner");
    let mut config = EngineConfig::new(folder.path().join("data"));
    config.memory_budget = Some(64 << 30);
    let logs: Arc<dyn LogStore> = Arc::new(nothing::Nothing);
    let engine = Arc::new(Engine::new(config, spawner, logs, Arc::new(SystemClock::default())).unwrap());
    let python = (8..=14).map(|minor| format!("python3.{minor}"));
    let mut python = python.filter(|name| engine.runtime_available(name).is_ok());
    let python = std::env::args().nth(1).or_else(|| python.next_back()).expect("a Python on this host");
    for (name, runtime) in [("python", python.as_str()), ("custom", "provided.al2023")] {
        if std::env::args().nth(2).is_some_and(|only| only != name) {
            continue;
        }
        for clients in std::env::args().nth(3).map_or(vec![1, 8, 32], |only| vec![only.parse().unwrap()]) {
            warm(&engine, &spec(name, runtime, folder.path(), 0), clients).await;
        }
        let mut times = Vec::new();
        for number in 1..=20 {
            let begun = Instant::now();
            engine.invoke(spec(name, runtime, folder.path(), number), invocation()).await.unwrap();
            times.push(begun.elapsed());
        }
        times.sort();
        println!("{name} cold: p50 {} us, max {} us", times[10].as_micros(), times[19].as_micros());
    }
    engine.shutdown(Duration::from_secs(1)).await;
}

async fn warm(engine: &Arc<Engine>, spec: &Arc<FunctionSpec>, clients: usize) {
    let run = |length: Duration| {
        let clients: Vec<_> = (0..clients)
            .map(|_| {
                let (engine, spec) = (Arc::clone(engine), Arc::clone(spec));
                tokio::spawn(async move {
                    let mut times = Vec::new();
                    let end = Instant::now() + length;
                    while Instant::now() < end {
                        let begun = Instant::now();
                        engine.invoke(Arc::clone(&spec), invocation()).await.unwrap();
                        times.push(begun.elapsed());
                    }
                    times
                })
            })
            .collect();
        async move {
            let mut times = Vec::new();
            for client in clients {
                times.extend(client.await.unwrap());
            }
            times.sort();
            times
        }
    };
    run(Duration::from_secs(4)).await;
    let times = run(Duration::from_secs(4)).await;
    let at = |part: f64| times[((times.len() - 1) as f64 * part) as usize].as_micros();
    println!(
        "{} warm, {clients} clients: p50 {} us, p99 {} us, {}/s, {} environments",
        spec.name,
        at(0.5),
        at(0.99),
        times.len() / 4,
        engine.stats().environments
    );
}

/// A log store that forgets.
mod nothing {
    use lambkin_core::ids::Scope;
    use lambkin_core::logs::{
        LogEvent, LogGroup, LogQuery, LogStore, LogStream, LogStreamKey, StoreFuture, StoredLogEvent,
    };
    use lambkin_core::metadata::StoreError;

    pub(crate) struct Nothing;

    fn no<'a, T: Send + 'a>() -> StoreFuture<'a, T> {
        Box::pin(std::future::ready(Err(StoreError::NotFound)))
    }

    impl LogStore for Nothing {
        fn append(&self, _: LogStreamKey, _: Vec<LogEvent>) -> StoreFuture<'_, ()> {
            Box::pin(std::future::ready(Ok(())))
        }
        fn append_soon(&self, _: &LogStreamKey, _: Vec<LogEvent>) {}
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
        fn events<'a>(
            &'a self,
            _: &'a Scope,
            _: &'a str,
            _: LogQuery,
        ) -> StoreFuture<'a, Vec<StoredLogEvent>> {
            no()
        }
    }
}
