//! What goes wrong during invocations.

use std::sync::Arc;
use std::time::{Duration, Instant};

use lambkin_core::invoke::{InvokeError, Invoker};

use crate::support::{World, invocation, tail, text, until};

const ACTIONS: &str = "
import os, signal, sys, time, itertools
count = itertools.count(1)
def handler(event, context):
    action = event.get('do')
    if action == 'exit':
        os._exit(event['code'])
    if action == 'signal':
        os.kill(os.getpid(), event['number'])
    if action == 'sleep':
        print('about to sleep')
        time.sleep(event['seconds'])
    if action == 'raise':
        raise ValueError('no')
    if action == 'allocate':
        block = bytearray(event['bytes'])
        for place in range(0, len(block), 4096):
            block[place] = 1
        time.sleep(5)
    if action == 'return':
        return 'x' * event['bytes']
    if action == 'die later':
        import threading
        threading.Timer(event['seconds'], lambda: os._exit(0)).start()
    return next(count)
";

pub(crate) async fn timeouts() {
    let world = World::new();
    let mut spec = world.python("actions", ACTIONS);
    spec.timeout = Duration::from_secs(1);
    let spec = Arc::new(spec);
    assert_eq!(world.call(&spec, "{}").await, "1");
    let begun = Instant::now();
    let invocation = invocation(r#"{"do": "sleep", "seconds": 60}"#);
    let id = invocation.request_id.clone();
    let outcome = world.engine.invoke(Arc::clone(&spec), invocation).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert_eq!(
        text(&outcome.payload),
        format!(
            r#"{{"errorType":"Sandbox.Timedout","errorMessage":"RequestId: {id} Error: Task timed out after 1.00 seconds"}}"#
        )
    );
    assert_eq!(outcome.function_error, Some("Unhandled"));
    let tail = tail(&outcome);
    let lines: Vec<_> = tail.lines().collect();
    assert_eq!(lines[0], format!("START RequestId: {id} Version: $LATEST"));
    assert_eq!(lines[1], "about to sleep");
    assert!(lines[2].ends_with(&format!("Z {id} Task timed out after 1.00 seconds")), "{tail}");
    assert_eq!((lines[3], lines[4]), ("", &*format!("END RequestId: {id}")));
    assert!(
        lines[5].starts_with(&format!(
            "REPORT RequestId: {id}\tDuration: 1000.00 ms\tBilled Duration: 1000 ms\t"
        ))
    );
    assert!(lines[5].ends_with("\tStatus: timeout"), "{tail}");
    assert_eq!(world.call(&spec, "{}").await, "1");
    let stats = world.engine.stats();
    assert_eq!((stats.timeouts, stats.function_errors, stats.cold_starts), (1, 1, 1));
    assert_eq!(world.logs.streams_of("/aws/lambda/actions").len(), 1, "the environment keeps its log stream");
    world.end().await;
}

pub(crate) async fn crashes_are_reported_and_replaced() {
    let world = World::new();
    let spec = Arc::new(world.python("actions", ACTIONS));
    for (payload, message) in [
        (r#"{"do": "exit", "code": 3}"#, "Runtime exited with error: exit status 3"),
        (r#"{"do": "exit", "code": 0}"#, "Runtime exited without providing a reason"),
        (r#"{"do": "signal", "number": 9}"#, "Runtime exited with error: signal: killed"),
        (r#"{"do": "signal", "number": 11}"#, "Runtime exited with error: signal: segmentation fault"),
    ] {
        assert_eq!(world.call(&spec, "{}").await, "1");
        let invocation = invocation(payload);
        let id = invocation.request_id.clone();
        let outcome = world.engine.invoke(Arc::clone(&spec), invocation).await.unwrap();
        assert_eq!(
            text(&outcome.payload),
            format!(
                r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {id} Error: {message}"}}"#
            )
        );
        let tail = tail(&outcome);
        assert!(
            tail.contains(&format!("RequestId: {id} Error: {message}\nRuntime.ExitError\nEND ")),
            "{tail}"
        );
        assert!(tail.ends_with("\tStatus: error\tError Type: Runtime.ExitError\n"), "{tail}");
    }
    // An exception is no crash.
    assert_eq!(world.call(&spec, "{}").await, "1");
    let error = world.fail(&spec, r#"{"do": "raise"}"#).await;
    assert!(
        error.contains(r#""errorMessage": "no""#) && error.contains(r#""errorType": "ValueError""#),
        "{error}"
    );
    assert_eq!(world.call(&spec, "{}").await, "2");
    world.end().await;
}

pub(crate) async fn out_of_memory() {
    let world = World::new();
    let spec = Arc::new(world.python("actions", ACTIONS));
    assert_eq!(world.call(&spec, "{}").await, "1");
    let invocation = invocation(r#"{"do": "allocate", "bytes": 400000000}"#);
    let id = invocation.request_id.clone();
    let outcome = world.engine.invoke(Arc::clone(&spec), invocation).await.unwrap();
    assert_eq!(
        text(&outcome.payload),
        format!(
            r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {id} Error: Runtime exited with error: signal: killed"}}"#
        )
    );
    let tail = tail(&outcome);
    assert!(tail.ends_with("\tStatus: error\tError Type: Runtime.OutOfMemory\n"), "{tail}");
    assert_eq!(world.call(&spec, "{}").await, "1");
    world.end().await;
}

pub(crate) async fn responses_over_the_limit() {
    let world = World::new();
    let mut spec = world.python("actions", ACTIONS);
    spec.memory_mb = 512;
    let spec = Arc::new(spec);
    assert_eq!(world.call(&spec, r#"{"do": "return", "bytes": 6291454}"#).await.len(), 6_291_456);
    let error = world.fail(&spec, r#"{"do": "return", "bytes": 6291600}"#).await;
    assert_eq!(
        error,
        r#"{"errorType":"Function.ResponseSizeTooLarge","errorMessage":"Response payload size exceeded maximum allowed payload size (6291556 bytes)."}"#
    );
    // The environment is not the worse for it.
    assert_eq!(world.call(&spec, "{}").await, "1");
    assert_eq!(world.engine.stats().cold_starts, 1);
    world.end().await;
}

pub(crate) async fn callers_that_hang_up_do_not_lose_the_environment() {
    let world = World::new();
    let spec = Arc::new(world.python("actions", ACTIONS));
    assert_eq!(world.call(&spec, "{}").await, "1");
    let call = tokio::spawn(
        world.engine.invoke(Arc::clone(&spec), invocation(r#"{"do": "sleep", "seconds": 0.3}"#)),
    );
    until("it runs", || world.engine.stats().idle_environments == 0).await;
    call.abort();
    assert!(call.await.unwrap_err().is_cancelled());
    until("it has ended", || world.engine.stats().in_flight == 0).await;
    assert_eq!(world.call(&spec, "{}").await, "3");
    let stats = world.engine.stats();
    assert_eq!((stats.cold_starts, stats.invocations), (1, 3));
    let lines = world.logs.messages("/aws/lambda/actions");
    assert_eq!(lines.iter().filter(|line| line.starts_with("REPORT")).count(), 3);
    world.end().await;
}

pub(crate) async fn runtimes_that_died_while_idle_are_replaced() {
    let world = World::with(|config| config.freeze_after = Duration::from_secs(60));
    let spec = Arc::new(world.python("actions", ACTIONS));
    assert_eq!(world.call(&spec, r#"{"do": "die later", "seconds": 0.2}"#).await, "1");
    until("it is dead", || world.spawner.stats().live == 0).await;
    assert_eq!(world.call(&spec, "{}").await, "1");
    let stats = world.engine.stats();
    assert_eq!((stats.cold_starts, stats.function_errors, stats.environments), (2, 0, 1));
    let lines = world.logs.messages("/aws/lambda/actions");
    assert_eq!(lines.iter().filter(|line| line.starts_with("START")).count(), 2, "{lines:?}");
    world.end().await;
}

pub(crate) async fn lost_spawner_is_replaced() {
    let world = World::new();
    let spec = Arc::new(world.python("actions", ACTIONS));
    assert_eq!(world.call(&spec, "{}").await, "1");
    let call =
        tokio::spawn(world.engine.invoke(Arc::clone(&spec), invocation(r#"{"do": "sleep", "seconds": 3}"#)));
    until("it runs", || world.engine.stats().idle_environments == 0).await;
    let spawner = rustix::process::Pid::from_raw(world.spawner_pid).unwrap();
    rustix::process::kill_process(spawner, rustix::process::Signal::KILL).unwrap();
    let lost = call.await.unwrap();
    // Lost with its environment, or given to another one if it had not got to the function yet.
    match &lost {
        Err(InvokeError::Sandbox(_)) => assert_eq!(world.call(&spec, "{}").await, "1"),
        Ok(outcome) if outcome.function_error.is_some() => assert_eq!(world.call(&spec, "{}").await, "1"),
        Ok(outcome) => assert!(tail(outcome).starts_with("INIT_START"), "{lost:?}"),
        Err(_) => panic!("{lost:?}"),
    }
    assert_eq!((world.engine.stats().cold_starts, world.spawner.restarts()), (2, 1));
    world.end().await;
}
