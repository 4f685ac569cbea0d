//! Room on the host and limits.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lambkin_core::function::FunctionSpec;
use lambkin_core::invoke::{InvokeError, Invoker};

use crate::support::{World, invocation, text, until};

const MIB: u64 = 1024 * 1024;
const SLEEPER: &str = "
import time
def handler(event, context):
    time.sleep(event)
    return 'ok'
";

pub(crate) fn sleeper(world: &World, name: &str) -> Arc<FunctionSpec> {
    Arc::new(world.python(name, SLEEPER))
}

pub(crate) async fn account_limit_throttles() {
    let world = World::with(|config| config.concurrency_limit = 1);
    let spec = sleeper(&world, "limited");
    let first = tokio::spawn(world.engine.invoke(Arc::clone(&spec), invocation("0.5")));
    until("it is under way", || world.engine.stats().in_flight == 1).await;
    let refused = world.invoke(&spec, "0").await.unwrap_err();
    assert!(
        matches!(refused, InvokeError::Throttled { reason: "ConcurrentInvocationLimitExceeded" }),
        "{refused}"
    );
    let elsewhere = FunctionSpec {
        scope: lambkin_core::ids::Scope::new("111111111111", "us-east-1"),
        ..FunctionSpec::clone(&spec)
    };
    assert_eq!(world.call(&Arc::new(elsewhere), "0").await, "\"ok\"");
    first.await.unwrap().unwrap();
    assert_eq!(world.call(&spec, "0").await, "\"ok\"");
    assert_eq!(world.engine.stats().throttles, 1);
    world.end().await;
}

pub(crate) async fn queued_invocations_wait_for_room() {
    let world = World::with(|config| {
        config.memory_budget = Some(2 * 128 * MIB);
        config.queue_wait = Duration::from_secs(2);
    });
    let spec = sleeper(&world, "queued");
    let start = |payload| tokio::spawn(world.engine.invoke(Arc::clone(&spec), invocation(payload)));
    let calls: Vec<_> = (0..8).map(|_| start("0.1")).collect();
    for call in calls {
        assert_eq!(text(&call.await.unwrap().unwrap().payload), "\"ok\"");
    }
    let stats = world.engine.stats();
    assert_eq!((stats.cold_starts, stats.environments, stats.evicted), (2, 2, 0), "{stats:?}");

    // Beyond the patience they are throttled.
    let busy: Vec<_> = (0..2).map(|_| start("4")).collect();
    until("both run", || world.engine.stats().idle_environments == 0).await;
    let begun = Instant::now();
    let refused = world.invoke(&spec, "0").await.unwrap_err();
    assert!(matches!(refused, InvokeError::NoRoom), "{refused}");
    assert_eq!((world.engine.stats().throttles, world.engine.stats().no_room), (0, 1));
    assert!((1_900..3_500).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    for call in busy {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.call(&spec, "0").await, "\"ok\"");
    world.end().await;
}

pub(crate) async fn idle_environments_are_evicted_for_others() {
    let world = World::with(|config| config.max_environments = 2);
    let specs = ["one", "two", "three"].map(|name| sleeper(&world, name));
    for spec in &specs {
        assert_eq!(world.call(spec, "0").await, "\"ok\"");
    }
    let stats = world.engine.stats();
    assert_eq!((stats.cold_starts, stats.environments, stats.evicted), (3, 2, 1), "{stats:?}");
    // The one idle longest had to go.
    world.call(&specs[1], "0").await;
    world.call(&specs[2], "0").await;
    assert_eq!(world.engine.stats().cold_starts, 3);
    world.call(&specs[0], "0").await;
    assert_eq!(world.engine.stats().cold_starts, 4);
    world.end().await;
}

pub(crate) async fn frozen_environments_make_room() {
    let world = World::with(|config| config.memory_budget = Some(200 * MIB));
    let specs = ["one", "two", "three", "four"].map(|name| sleeper(&world, name));
    for (number, spec) in specs.iter().enumerate() {
        assert_eq!(world.call(spec, "0").await, "\"ok\"");
        until("it is frozen", || world.engine.stats().freezes > number as u64).await;
    }
    let stats = world.engine.stats();
    assert_eq!((stats.environments, stats.evicted), (4, 0), "{stats:?}");
    assert!(stats.memory_bytes < 200 * MIB, "{stats:?}");
    // Each can be used again, as long as what is in use fits.
    for spec in &specs {
        let freezes = world.engine.stats().freezes;
        assert_eq!(world.call(spec, "0").await, "\"ok\"");
        until("it is frozen again", || world.engine.stats().freezes > freezes).await;
    }
    assert_eq!(world.engine.stats().cold_starts, 4);
    // Two at once do not fit, one waits.
    let calls: Vec<_> = specs[..2]
        .iter()
        .map(|spec| tokio::spawn(world.engine.invoke(Arc::clone(spec), invocation("0.3"))))
        .collect();
    for call in calls {
        assert_eq!(text(&call.await.unwrap().unwrap().payload), "\"ok\"");
    }
    world.end().await;
}

pub(crate) async fn room_is_shared_between_functions() {
    let world = World::with(|config| config.max_environments = 4);
    let (greedy, modest) = (sleeper(&world, "greedy"), sleeper(&world, "modest"));
    let done = Arc::new(std::sync::atomic::AtomicBool::new(false));
    let clients: Vec<_> = (0..12)
        .map(|_| {
            let (engine, spec, done) = (Arc::clone(&world.engine), Arc::clone(&greedy), Arc::clone(&done));
            tokio::spawn(async move {
                while !done.load(std::sync::atomic::Ordering::SeqCst) {
                    engine.invoke(Arc::clone(&spec), invocation("0.05")).await.unwrap();
                }
            })
        })
        .collect();
    until("the greedy one has all room", || world.engine.stats().invocations > 20).await;
    assert_eq!(world.engine.stats().environments, 4);
    let begun = Instant::now();
    assert_eq!(world.call(&modest, "0").await, "\"ok\"");
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    done.store(true, std::sync::atomic::Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    assert_eq!(world.engine.stats().throttles, 0);
    world.end().await;
}
