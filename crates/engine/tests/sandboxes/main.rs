//! The engine with real sandboxes. Needs root: without it every test is skipped.
//!
//! The spawner is this very program, executed again, so `main` is its own and runs the tests itself; it
//! understands what cargo and nextest pass to a test program.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod capacity;
mod custom;
mod endpoint;
mod faults;
mod init;
mod lifecycle;
mod limits;
mod logging;
mod provisioned;
mod support;

use std::collections::VecDeque;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::process::ExitCode;
use std::sync::Mutex;

/// Tests at once.
const THREADS: usize = 3;

type Run = fn() -> Pin<Box<dyn Future<Output = ()>>>;

/// A list of tests: `tests![module::function, ...]`.
macro_rules! tests {
    ($($module:ident::$name:ident),* $(,)?) => {
        [$((concat!(stringify!($module), "::", stringify!($name)), (|| Box::pin($module::$name())) as Run)),*]
    };
}

fn main() -> ExitCode {
    lambkin_sandbox::run_spawner_if_asked();
    let tests: &[(&str, Run)] = &tests![
        capacity::account_limit_throttles,
        capacity::frozen_environments_make_room,
        capacity::idle_environments_are_evicted_for_others,
        capacity::queued_invocations_wait_for_room,
        capacity::room_is_shared_between_functions,
        custom::bootstrap_cannot_be_executed,
        custom::bootstrap_is_missing,
        custom::bootstrap_that_ends_in_init,
        custom::events_and_errors_over_http,
        custom::layers_are_merged,
        endpoint::functions_reach_the_server_as_themselves,
        endpoint::old_environments_are_replaced,
        endpoint::old_environments_finish_what_they_do,
        faults::callers_that_hang_up_do_not_lose_the_environment,
        faults::crashes_are_reported_and_replaced,
        faults::lost_spawner_is_replaced,
        faults::out_of_memory,
        faults::responses_over_the_limit,
        faults::runtimes_that_died_while_idle_are_replaced,
        faults::timeouts,
        init::error_is_reported_by_the_first_invocation,
        init::exit_in_init,
        init::timeout_is_tried_again_within_the_invocation,
        init::wrapper_scripts,
        lifecycle::environments_are_reused,
        lifecycle::every_python_of_the_host,
        lifecycle::idle_environments_are_reaped,
        lifecycle::newer_revisions_are_never_stale,
        lifecycle::one_environment_for_each_event_at_once,
        lifecycle::shutdown_waits_then_kills,
        limits::functions_grow_no_faster_than_the_scaling_rate,
        limits::reservations_bind_all_versions_and_are_kept_from_others,
        logging::json_records,
        logging::order_and_tail,
        provisioned::environments_are_there_ahead_and_stay_at_their_number,
        provisioned::failures_are_told_and_tried_again,
        provisioned::neither_idleness_nor_others_take_them,
        provisioned::frozen_ones_wait_for_room_like_others,
        provisioned::lost_ones_are_replaced_while_nobody_calls,
        provisioned::old_ones_are_replaced_before_they_go,
        provisioned::reservations_hold_for_them_too,
        provisioned::shutdown_in_the_middle,
    ];
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let given = |flag: &str| arguments.iter().any(|argument| argument == flag);
    if given("--list") {
        if !given("--ignored") {
            for (name, _) in tests {
                println!("{name}: test");
            }
        }
        return ExitCode::SUCCESS;
    }
    let mut filters = Vec::new();
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--test-threads" | "--format" | "--color" | "--skip" => drop(rest.next()),
            flag if flag.starts_with('-') => {}
            filter => filters.push(filter),
        }
    }
    let wanted = |name: &str| {
        filters.is_empty()
            || filters
                .iter()
                .any(|filter| if given("--exact") { name == *filter } else { name.contains(*filter) })
    };
    let chosen: Vec<_> = tests.iter().filter(|(name, _)| wanted(name)).copied().collect();
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: {} tests of the engine need root", chosen.len());
        return ExitCode::SUCCESS;
    }
    run(chosen)
}

fn run(tests: Vec<(&'static str, Run)>) -> ExitCode {
    let count = tests.len();
    let queue = Mutex::new(VecDeque::from(tests));
    let failed = Mutex::new(Vec::new());
    println!("\nrunning {count} tests");
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let Some((name, test)) = queue.lock().unwrap().pop_front() else { return };
                    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| {
                        let runtime = tokio::runtime::Builder::new_multi_thread()
                            .worker_threads(2)
                            .enable_all()
                            .build()
                            .unwrap();
                        runtime.block_on(test());
                    }));
                    println!("test {name} ... {}", if outcome.is_ok() { "ok" } else { "FAILED" });
                    if outcome.is_err() {
                        failed.lock().unwrap().push(name);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    let result = if failed.is_empty() { "ok" } else { "FAILED" };
    println!(
        "\ntest result: {result}. {} passed; {} failed; 0 ignored; 0 measured; 0 filtered out\n",
        count - failed.len(),
        failed.len()
    );
    if failed.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
