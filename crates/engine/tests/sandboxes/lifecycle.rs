//! Starting, reusing, replacing and ending environments.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use lambkin_core::clock::ManualClock;
use lambkin_core::function::FunctionSpec;
use lambkin_core::invoke::{InvokeError, Invoker};

use crate::support::{World, invocation, tail, text, until};

const COUNTER: &str = "
import itertools
count = itertools.count(1)
def handler(event, context):
    return next(count)
";

pub(crate) async fn environments_are_reused() {
    let world = World::new();
    let spec = Arc::new(world.python("counter", COUNTER));
    let first = world.invoke(&spec, "{}").await.unwrap();
    assert_eq!(text(&first.payload), "1");
    assert_eq!(&*first.executed_version, "$LATEST");
    assert!(tail(&first).contains("Init Duration"), "{}", tail(&first));
    let second = world.invoke(&spec, "{}").await.unwrap();
    assert_eq!(text(&second.payload), "2");
    assert!(!tail(&second).contains("Init Duration"), "{}", tail(&second));
    // Frozen or not, it is the same one.
    until("it is frozen", || world.engine.stats().freezes == 1).await;
    assert_eq!(world.call(&spec, "{}").await, "3");
    let stats = world.engine.stats();
    assert_eq!((stats.cold_starts, stats.environments, stats.idle_environments), (1, 1, 1));
    assert_eq!((stats.invocations, stats.function_errors, stats.in_flight), (3, 0, 0));
    world.end().await;
}

pub(crate) async fn one_environment_for_each_event_at_once() {
    let world = World::new();
    let spec = Arc::new(world.python(
        "slow",
        "
import time, uuid
me = str(uuid.uuid4())
def handler(event, context):
    time.sleep(event)
    return me
",
    ));
    let calls: Vec<_> =
        (0..4).map(|_| tokio::spawn(world.engine.invoke(Arc::clone(&spec), invocation("2")))).collect();
    let mut names = Vec::new();
    for call in calls {
        names.push(text(&call.await.unwrap().unwrap().payload));
    }
    names.sort();
    names.dedup();
    assert_eq!(names.len(), 4, "{names:?}");
    // The last one used is used next.
    let next = world.call(&spec, "0").await;
    assert_eq!(world.call(&spec, "0").await, next);
    assert!(names.contains(&next));
    assert_eq!(world.engine.stats().cold_starts, 4);
    world.end().await;
}

pub(crate) async fn every_python_of_the_host() {
    let world = World::new();
    let mut found = 0;
    for minor in 8..=14 {
        let runtime = format!("python3.{minor}");
        let Ok(description) = world.engine.runtime_available(&runtime) else { continue };
        let mut spec = world.python(
            &format!("python-3-{minor}"),
            "
import sys, os, ssl, sqlite3, ctypes
def handler(event, context):
    return '%d.%d %s %s' % (sys.version_info[0], sys.version_info[1], os.getcwd(), context.function_name)
",
        );
        spec.runtime.clone_from(&runtime);
        let spec = Arc::new(spec);
        let outcome = world.invoke(&spec, "{}").await.unwrap();
        assert_eq!(outcome.function_error, None, "{runtime}: {:?}", outcome.payload);
        assert_eq!(text(&outcome.payload), format!("\"3.{minor} /var/task python-3-{minor}\""));
        let line = format!("INIT_START Runtime Version: {description}\n");
        assert!(tail(&outcome).contains(&line), "{}", tail(&outcome));
        found += 1;
    }
    assert!(found > 0);
    assert!(world.engine.runtime_available("nodejs12.x").is_err());
    let mut spec = world.python("none", COUNTER);
    spec.runtime = "nodejs12.x".into();
    let refused = world.invoke(&Arc::new(spec), "{}").await.unwrap_err();
    assert!(matches!(refused, InvokeError::InvalidRuntime(_)), "{refused}");
    world.end().await;
}

pub(crate) async fn idle_environments_are_reaped() {
    let clock = Arc::new(ManualClock::at(1_795_439_107_042));
    let world = World::with_clock(Arc::clone(&clock) as _, |_| {});
    let spec = Arc::new(world.python("counter", COUNTER));
    world.call(&spec, "{}").await;
    clock.advance(Duration::from_secs(599));
    world.engine.reap_idle();
    assert_eq!(world.call(&spec, "{}").await, "2");
    clock.advance(Duration::from_secs(599));
    world.engine.reap_idle();
    assert_eq!(world.engine.stats().environments, 1);
    clock.advance(Duration::from_secs(1));
    world.engine.reap_idle();
    let stats = world.engine.stats();
    assert_eq!((stats.environments, stats.reaped, stats.memory_bytes), (0, 1, 0));
    assert_eq!(world.call(&spec, "{}").await, "1");
    assert!(world.logs.streams_of("/aws/lambda/counter")[0].starts_with("2026/11/23/[$LATEST]"));
    world.end().await;
}

pub(crate) async fn newer_revisions_are_never_stale() {
    const REVISIONS: usize = 5;
    let world = World::new();
    let revision = |number: usize| {
        let mut spec =
            world.python("changing", "import os\ndef handler(event, context): return int(os.environ['N'])\n");
        spec.revision = format!("revision-{number}").into();
        spec.environment.insert("N".into(), number.to_string());
        Arc::new(spec)
    };
    let current: Arc<RwLock<(usize, Arc<FunctionSpec>)>> = Arc::new(RwLock::new((0, revision(0))));
    let done = Arc::new(AtomicBool::new(false));
    let answers = Arc::new(AtomicUsize::new(0));
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let engine = Arc::clone(&world.engine);
            let (current, done, answers) = (Arc::clone(&current), Arc::clone(&done), Arc::clone(&answers));
            tokio::spawn(async move {
                while !done.load(Ordering::SeqCst) {
                    let (number, spec) = current.read().unwrap().clone();
                    let outcome = engine.invoke(spec, invocation("{}")).await.unwrap();
                    // Each request runs exactly the revision that it resolved.
                    assert_eq!(text(&outcome.payload), number.to_string());
                    answers.fetch_add(1, Ordering::SeqCst);
                }
            })
        })
        .collect();
    for number in 1..=REVISIONS {
        let seen = answers.load(Ordering::SeqCst);
        until("clients have gone on", || answers.load(Ordering::SeqCst) > seen + 20).await;
        let next = revision(number);
        let arn = next.scope.function_arn(&next.name);
        *current.write().unwrap() = (number, Arc::clone(&next));
        world.engine.retire(&arn, Some(&next.revision));
    }
    let seen = answers.load(Ordering::SeqCst);
    until("clients have gone on", || answers.load(Ordering::SeqCst) > seen + 20).await;
    done.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    // Only environments of the last revision are left.
    until("only idle environments are left", || {
        let stats = world.engine.stats();
        stats.environments == stats.idle_environments && stats.environments <= 4
    })
    .await;
    let arn = revision(0).scope.function_arn("changing");
    world.engine.retire(&arn, None);
    until("no environment is left", || world.engine.stats().environments == 0).await;
    // A request that still has the old revision runs, and leaves nothing behind.
    assert_eq!(world.call(&revision(0), "{}").await, "0");
    assert_eq!(world.engine.stats().environments, 0);
    world.end().await;
}

pub(crate) async fn shutdown_waits_then_kills() {
    let world = World::new();
    let code = "
import time
def handler(event, context):
    time.sleep(event)
    return 'done'
";
    let spec = Arc::new(world.python("sleeper", code));
    let start = |payload| tokio::spawn(world.engine.invoke(Arc::clone(&spec), invocation(payload)));
    let (short, long) = (start("0.5"), start("19"));
    until("both run", || {
        world
            .logs
            .messages("/aws/lambda/sleeper")
            .iter()
            .filter(|line| line.starts_with("INIT_START"))
            .count()
            == 2
    })
    .await;
    world.engine.shutdown(Duration::from_secs(3)).await;
    assert_eq!(text(&short.await.unwrap().unwrap().payload), "\"done\"");
    let killed = long.await.unwrap();
    assert!(
        matches!(&killed, Ok(outcome) if outcome.function_error.is_some()) || killed.is_err(),
        "{killed:?}"
    );
    let refused = world.invoke(&spec, "0").await.unwrap_err();
    assert!(matches!(refused, InvokeError::ShuttingDown), "{refused}");
    world.end().await;
}
