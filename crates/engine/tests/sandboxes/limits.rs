//! Limits of functions and accounts.

use std::sync::Arc;

use lambkin_core::clock::ManualClock;
use lambkin_core::concurrency::Concurrency;
use lambkin_core::function::FunctionSpec;
use lambkin_core::invoke::{InvokeError, Invoker};

use crate::capacity::sleeper;
use crate::support::{World, invocation, until};

const RESERVED: &str = "ReservedFunctionConcurrentInvocationLimitExceeded";
const ACCOUNT: &str = "ConcurrentInvocationLimitExceeded";

fn reserve(world: &World, spec: &FunctionSpec, reserved: Option<u32>) {
    world.engine.set_concurrency(&spec.scope, &spec.name, Concurrency { reserved, ..Concurrency::default() });
}

fn reason(refused: InvokeError) -> &'static str {
    match refused {
        InvokeError::Throttled { reason } => reason,
        other => panic!("{other}"),
    }
}

pub(crate) async fn reservations_bind_all_versions_and_are_kept_from_others() {
    let world = World::with(|config| config.concurrency_limit = 3);
    let spec = sleeper(&world, "reserved");
    let published = Arc::new(FunctionSpec {
        version: "1".into(),
        revision: "other".into(),
        ..FunctionSpec::clone(&spec)
    });
    let (other, third) = (sleeper(&world, "other"), sleeper(&world, "third"));
    reserve(&world, &spec, Some(2));
    let running =
        |spec: &Arc<FunctionSpec>| tokio::spawn(world.engine.invoke(Arc::clone(spec), invocation("1")));
    let busy = [running(&spec), running(&published)];
    until("both run", || world.engine.stats().in_flight == 2).await;
    for spec in [&spec, &published] {
        assert_eq!(reason(world.invoke(spec, "0").await.unwrap_err()), RESERVED);
    }
    // One is left for all others.
    let last = running(&other);
    until("the third runs", || world.engine.stats().in_flight == 3).await;
    assert_eq!(reason(world.invoke(&third, "0").await.unwrap_err()), ACCOUNT);
    let usage = world.engine.usage();
    let of = |name: &str| usage.iter().find(|usage| &*usage.name == name).unwrap().clone();
    assert_eq!(
        (of("reserved").on_demand, of("reserved").throttles, of("reserved").reserved),
        (2, 2, Some(2))
    );
    assert_eq!((of("other").on_demand, of("third").throttles), (1, 1));
    for call in busy.into_iter().chain([last]) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(world.call(&spec, "0").await, "\"ok\"");

    reserve(&world, &spec, Some(0));
    assert_eq!(reason(world.invoke(&spec, "0").await.unwrap_err()), RESERVED);
    assert_eq!(world.call(&third, "0").await, "\"ok\"");
    reserve(&world, &spec, None);
    assert_eq!(world.call(&spec, "0").await, "\"ok\"");
    assert_eq!((world.engine.stats().throttles, world.engine.stats().no_room), (4, 0));
    world.end().await;
}

pub(crate) async fn functions_grow_no_faster_than_the_scaling_rate() {
    let clock = Arc::new(ManualClock::at(1_795_435_200_000));
    let world = World::with_clock(Arc::clone(&clock) as _, |config| config.scaling_rate = 2);
    let (spec, other) = (sleeper(&world, "fast"), sleeper(&world, "other"));
    let running = |_| tokio::spawn(world.engine.invoke(Arc::clone(&spec), invocation("1")));
    let busy: Vec<_> = (0..2).map(running).collect();
    until("both are started", || world.engine.stats().cold_starts == 2).await;
    let rate = "FunctionInvocationRateLimitExceeded";
    assert_eq!(reason(world.invoke(&spec, "0").await.unwrap_err()), rate);
    assert_eq!(world.call(&other, "0").await, "\"ok\"", "each function has a rate of its own");
    // A start in five seconds comes back.
    clock.advance(std::time::Duration::from_secs(5));
    assert_eq!(world.call(&spec, "0").await, "\"ok\"");
    for call in busy {
        call.await.unwrap().unwrap();
    }
    // What is there already counts for nothing.
    for _ in 0..5 {
        assert_eq!(world.call(&spec, "0").await, "\"ok\"");
    }
    assert_eq!(world.engine.stats().throttles, 1);
    world.end().await;
}
