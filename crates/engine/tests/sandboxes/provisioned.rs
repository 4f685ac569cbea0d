//! Environments that are initialised ahead of invocations.

use std::sync::Arc;
use std::time::Duration;

use lambkin_core::clock::ManualClock;
use lambkin_core::concurrency::{Concurrency, Provisioned};
use lambkin_core::function::FunctionSpec;
use lambkin_core::invoke::{InvokeError, Invoker};

use crate::support::{World, invocation, text, until};

const MIB: u64 = 1024 * 1024;

/// Sleeps for its event, or dies at a negative one, and tells how it was initialised.
const CODE: &str = "
import os, time
def handler(event, context):
    if event < 0:
        os._exit(1)
    time.sleep(event)
    return os.environ['AWS_LAMBDA_INITIALIZATION_TYPE']
";
const AHEAD: &str = "\"provisioned-concurrency\"";
const ON_DEMAND: &str = "\"on-demand\"";

fn version(spec: FunctionSpec) -> Arc<FunctionSpec> {
    Arc::new(FunctionSpec { version: "1".into(), ..spec })
}

fn set(world: &World, spec: &Arc<FunctionSpec>, reserved: Option<u32>, count: u32) {
    let provisioned = if count == 0 { Vec::new() } else { vec![(Arc::clone(spec), count)] };
    world.engine.set_concurrency(&spec.scope, &spec.name, Concurrency { reserved, provisioned });
}

async fn allocated(world: &World, spec: &FunctionSpec, count: u32) {
    let expected = Provisioned { allocated: count, failure: None };
    until("they are as many", || world.engine.provisioned(spec) == expected).await;
}

pub(crate) async fn environments_are_there_ahead_and_stay_at_their_number() {
    let world = World::new();
    let spec = version(world.python("ahead", CODE));
    set(&world, &spec, None, 2);
    allocated(&world, &spec, 2).await;
    let stats = world.engine.stats();
    assert_eq!(
        (stats.provisioned_starts, stats.cold_starts, stats.idle_environments),
        (2, 0, 2),
        "{stats:?}"
    );
    let init = |line: &&String| line.starts_with("INIT_START");
    assert_eq!(world.logs.messages("/aws/lambda/ahead").iter().filter(init).count(), 2);

    // Two at once use them, the third has one made.
    let call = |payload| tokio::spawn(world.engine.invoke(Arc::clone(&spec), invocation(payload)));
    let calls = [call("0.5"), call("0.5")];
    until("both run", || world.engine.stats().provisioned_invocations == 2).await;
    assert_eq!(world.call(&spec, "0").await, ON_DEMAND);
    for call in calls {
        let outcome = call.await.unwrap().unwrap();
        assert_eq!(text(&outcome.payload), AHEAD);
        let tail = crate::support::tail(&outcome);
        assert!(tail.contains("Init Duration: "), "{tail}");
    }
    assert_eq!(world.call(&spec, "0").await, AHEAD);
    let stats = world.engine.stats();
    assert_eq!((stats.spillovers, stats.provisioned_invocations, stats.cold_starts), (1, 3, 1), "{stats:?}");

    // What dies is replaced ahead of the next invocation.
    world.fail(&spec, "-1").await;
    until("another is started", || world.engine.stats().provisioned_starts == 3).await;
    allocated(&world, &spec, 2).await;

    // More, fewer, none.
    set(&world, &spec, None, 3);
    allocated(&world, &spec, 3).await;
    set(&world, &spec, None, 1);
    allocated(&world, &spec, 1).await;
    assert_eq!(world.call(&spec, "0").await, AHEAD);
    set(&world, &spec, None, 0);
    allocated(&world, &spec, 0).await;
    until("it is gone", || world.engine.stats().provisioned_environments == 0).await;
    assert_eq!(world.call(&spec, "0").await, ON_DEMAND);
    assert_eq!(world.engine.stats().environments, 1, "{:?}", world.engine.stats());
    world.end().await;
}

pub(crate) async fn failures_are_told_and_tried_again() {
    let clock = Arc::new(ManualClock::at(1_795_435_200_000));
    let world = World::with_clock(Arc::clone(&clock) as _, |_| {});
    let code = format!("import os\nassert not os.path.exists('/var/task/broken')\n{CODE}");
    let spec = version(world.python("failing", &code));
    let broken = spec.code.join("broken");
    std::fs::write(&broken, "").unwrap();
    set(&world, &spec, None, 2);
    let failure = Some("FUNCTION_ERROR_INIT_FAILURE");
    until("it fails", || world.engine.provisioned(&spec) == Provisioned { allocated: 0, failure }).await;
    until("both have ended", || world.engine.stats().environments == 0).await;
    assert_eq!(world.engine.stats().provisioned_starts, 2);
    std::fs::remove_file(broken).unwrap();
    clock.advance(Duration::from_secs(2));
    allocated(&world, &spec, 2).await;
    assert_eq!(world.call(&spec, "0").await, AHEAD);

    // A runtime that this host does not have.
    let missing = version(FunctionSpec { runtime: "python2.7".into(), ..world.python("missing", CODE) });
    set(&world, &missing, None, 1);
    until("it fails", || world.engine.provisioned(&missing).failure.is_some()).await;
    world.end().await;
}

pub(crate) async fn neither_idleness_nor_others_take_them() {
    let clock = Arc::new(ManualClock::at(1_795_435_200_000));
    let world = World::with_clock(Arc::clone(&clock) as _, |config| {
        config.memory_budget = Some(2 * 128 * MIB);
        config.max_environments = 2;
        config.queue_wait = Duration::from_millis(300);
    });
    let spec = version(world.python("kept", CODE));
    set(&world, &spec, None, 1);
    allocated(&world, &spec, 1).await;
    for name in ["a", "b"] {
        let other = Arc::new(world.python(name, CODE));
        assert_eq!(world.call(&other, "0").await, ON_DEMAND);
    }
    clock.advance(Duration::from_secs(3_600));
    world.engine.reap_idle();
    let stats = world.engine.stats();
    assert_eq!((stats.provisioned_environments, stats.environments), (1, 1), "{stats:?}");
    // Where there is no room for all of them the reason is told.
    set(&world, &spec, None, 3);
    until("there is no room", || {
        let provisioned = world.engine.provisioned(&spec);
        provisioned.allocated == 2 && provisioned.failure.is_some_and(|reason| reason.contains("no room"))
    })
    .await;
    let other = Arc::new(world.python("c", CODE));
    assert!(matches!(world.invoke(&other, "0").await, Err(InvokeError::NoRoom)));
    assert_eq!(world.call(&spec, "0").await, AHEAD);
    assert_eq!(world.engine.stats().provisioned_starts, 2);
    world.end().await;
}

pub(crate) async fn frozen_ones_wait_for_room_like_others() {
    let world = World::with(|config| config.memory_budget = Some(192 * MIB));
    let spec = version(world.python("frozen", CODE));
    set(&world, &spec, None, 1);
    allocated(&world, &spec, 1).await;
    until("it is frozen", || world.engine.stats().freezes == 1).await;
    let other = Arc::new(world.python("other", CODE));
    let call = tokio::spawn(world.engine.invoke(Arc::clone(&other), invocation("1")));
    until("the other runs", || world.engine.stats().cold_starts == 1).await;
    // As long as the other has the room it cannot be thawed; then nothing else is started in its place.
    assert_eq!(world.call(&spec, "0").await, AHEAD);
    call.await.unwrap().unwrap();
    let stats = world.engine.stats();
    assert_eq!((stats.cold_starts, stats.provisioned_starts, stats.no_room), (1, 1, 0), "{stats:?}");
    world.end().await;
}

pub(crate) async fn lost_ones_are_replaced_while_nobody_calls() {
    // The first one ends by itself right after its INIT, before it is frozen.
    let world = World::with(|config| config.freeze_after = Duration::from_secs(1));
    let code = format!(
        "import os, threading\nif not os.path.exists('/var/task/steady'):\n    \
         threading.Timer(0.5, os._exit, [1]).start()\n{CODE}"
    );
    let spec = version(world.python("lost", &code));
    set(&world, &spec, None, 1);
    allocated(&world, &spec, 1).await;
    std::fs::write(spec.code.join("steady"), "").unwrap();
    until("another is started", || world.engine.stats().provisioned_starts == 2).await;
    allocated(&world, &spec, 1).await;
    assert_eq!(world.call(&spec, "0").await, AHEAD);

    let spawner = rustix::process::Pid::from_raw(world.spawner_pid).unwrap();
    rustix::process::kill_process(spawner, rustix::process::Signal::KILL).unwrap();
    until("another is started", || world.engine.stats().provisioned_starts == 3).await;
    allocated(&world, &spec, 1).await;
    assert_eq!(world.call(&spec, "0").await, AHEAD);
    assert_eq!(world.engine.stats().cold_starts, 0);
    world.end().await;
}

pub(crate) async fn old_ones_are_replaced_before_they_go() {
    let clock = Arc::new(ManualClock::at(1_795_435_200_000));
    let world = World::with_clock(Arc::clone(&clock) as _, |config| {
        config.environment_lifetime = Duration::from_secs(1_600);
    });
    let spec = version(world.python("old", CODE));
    set(&world, &spec, None, 1);
    allocated(&world, &spec, 1).await;
    clock.advance(Duration::from_secs(1_499));
    assert_eq!(world.call(&spec, "0").await, AHEAD);
    clock.advance(Duration::from_secs(2));
    until("another is there", || {
        let stats = world.engine.stats();
        assert!(stats.provisioned_environments >= 1, "{stats:?}");
        (stats.provisioned_starts, stats.environments) == (2, 1)
    })
    .await;
    assert_eq!(world.call(&spec, "0").await, AHEAD);
    // One that became too old all the same is not used.
    clock.advance(Duration::from_secs(1_600));
    allocated(&world, &spec, 1).await;
    until("another is there", || world.engine.stats().provisioned_starts >= 3).await;
    world.end().await;
}

pub(crate) async fn reservations_hold_for_them_too() {
    let world = World::new();
    let latest = world.python("both", CODE);
    let spec = version(latest.clone());
    let latest = Arc::new(FunctionSpec { revision: "latest".into(), ..latest });
    set(&world, &spec, Some(2), 2);
    allocated(&world, &spec, 2).await;
    let reserved = "ReservedFunctionConcurrentInvocationLimitExceeded";
    let throttled = |refused: Result<_, InvokeError>| matches!(refused, Err(InvokeError::Throttled { reason }) if reason == reserved);
    assert!(throttled(world.invoke(&latest, "0").await), "all of the reservation is provisioned");
    let call = |payload| tokio::spawn(world.engine.invoke(Arc::clone(&spec), invocation(payload)));
    let calls = [call("0.5"), call("0.5")];
    until("both run", || world.engine.stats().provisioned_invocations == 2).await;
    assert!(throttled(world.invoke(&spec, "0").await));
    // More reserved is for on demand.
    set(&world, &spec, Some(3), 2);
    assert_eq!(world.call(&latest, "0").await, ON_DEMAND);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    set(&world, &spec, Some(0), 0);
    assert!(throttled(world.invoke(&spec, "0").await));
    until("they are gone", || world.engine.stats().provisioned_environments == 0).await;
    let usage = world.engine.usage();
    let [usage] = usage.as_slice() else { panic!("{usage:?}") };
    assert_eq!((usage.allocated, usage.provisioned_invocations, usage.throttles), (0, 2, 3), "{usage:?}");
    world.end().await;
}

pub(crate) async fn shutdown_in_the_middle() {
    let world = World::new();
    let spec = version(world.python("many", CODE));
    set(&world, &spec, None, 12);
    until("one is there", || world.engine.provisioned(&spec).allocated > 0).await;
    world.end().await;
}
