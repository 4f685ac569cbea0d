//! What goes wrong during INIT.

use std::sync::Arc;
use std::time::Duration;

use lambkin_core::invoke::Invoker;

use crate::support::{World, invocation, tail, text};

/// The first words of each line, without identities and numbers.
fn outline(lines: &str) -> Vec<String> {
    lines
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            let fields = line.split('\t').filter(|field| !field.contains(" ms") && !field.contains("MB"));
            let without_ids =
                |field: &str| field.split(' ').filter(|word| word.len() != 36).collect::<Vec<_>>().join(" ");
            fields.map(without_ids).collect::<Vec<_>>().join("\t")
        })
        .collect()
}

pub(crate) async fn error_is_reported_by_the_first_invocation() {
    let world = World::new();
    let spec = Arc::new(world.python("broken", "import no_such_module\n"));
    for round in 1..=2 {
        let outcome = world.invoke(&spec, "{}").await.unwrap();
        assert_eq!(outcome.function_error, Some("Unhandled"));
        let error = text(&outcome.payload);
        assert!(error.contains("Unable to import module 'app': No module named 'no_such_module'"), "{error}");
        assert!(error.contains("\"Runtime.ImportModuleError\""), "{error}");
        let tail = tail(&outcome);
        let init = "Status: error\tError Type: Runtime.ImportModuleError";
        let lines = outline(&tail);
        let at = |line: &str| {
            let place = lines.iter().position(|other| other.starts_with(line));
            place.unwrap_or_else(|| panic!("no {line:?} in {lines:#?}"))
        };
        let mut order = vec![
            at(&format!("Phase: invoke\t{init}")),
            at("START RequestId:"),
            at("END RequestId:"),
            at(&format!("REPORT RequestId:\t{init}")),
        ];
        // The environment stays; further invocations only try INIT again.
        if round == 1 {
            order.splice(
                0..0,
                [at("INIT_START Runtime Version: python:"), at(&format!("Phase: init\t{init}"))],
            );
        }
        assert!(order.is_sorted(), "{lines:#?}");
        assert_eq!(world.engine.stats().init_failures, 1 + round);
    }
    let stats = world.engine.stats();
    assert_eq!((stats.environments, stats.cold_starts), (1, 1));
    assert_eq!(world.logs.streams_of("/aws/lambda/broken").len(), 1);
    world.end().await;
}

pub(crate) async fn exit_in_init() {
    let world = World::new();
    let spec = Arc::new(world.python("exiting", "import os\nprint('bye')\nos._exit(7)\n"));
    let invocation = invocation("{}");
    let id = invocation.request_id.clone();
    let outcome = world.engine.invoke(spec, invocation).await.unwrap();
    assert_eq!(
        text(&outcome.payload),
        format!(
            r#"{{"errorType":"Runtime.ExitError","errorMessage":"RequestId: {id} Error: Runtime exited with error: exit status 7"}}"#
        )
    );
    let lines = outline(&tail(&outcome));
    assert_eq!(
        lines[1..],
        [
            "bye",
            "Phase: init\tStatus: error\tError Type: Runtime.ExitError",
            "bye",
            "Phase: invoke\tStatus: error\tError Type: Runtime.ExitError",
            "START RequestId: Version: $LATEST",
            "RequestId: Error: Runtime exited with error: exit status 7",
            "Runtime.ExitError",
            "END RequestId:",
            "REPORT RequestId:	Status: error	Error Type: Runtime.ExitError",
        ]
    );
    world.end().await;
}

pub(crate) async fn timeout_is_tried_again_within_the_invocation() {
    let world = World::with(|config| config.init_timeout = Duration::from_millis(500));
    let code = "import time\ntime.sleep(1.2)\ndef handler(event, context): return 'ready'\n";
    let spec = Arc::new(world.python("slow", code));
    let outcome = world.invoke(&spec, "{}").await.unwrap();
    assert_eq!((text(&outcome.payload).as_str(), outcome.function_error), ("\"ready\"", None));
    let lines = outline(&tail(&outcome));
    assert_eq!(
        lines[1..],
        [
            "Phase: init\tStatus: timeout",
            "START RequestId: Version: $LATEST",
            "END RequestId:",
            "REPORT RequestId:\t"
        ]
        .map(String::from)
    );
    // Ready now.
    let begun = std::time::Instant::now();
    assert_eq!(world.call(&spec, "{}").await, "\"ready\"");
    assert!(begun.elapsed() < Duration::from_secs(1));

    let mut spec = world.python("slower", code);
    spec.timeout = Duration::from_millis(600);
    let outcome = world.invoke(&Arc::new(spec), "{}").await.unwrap();
    assert!(text(&outcome.payload).contains("Error: Task timed out after 0.60 seconds"));
    let tail = tail(&outcome);
    assert!(tail.contains("\tPhase: invoke\tStatus: timeout\n"), "{tail}");
    assert!(tail.ends_with("\tStatus: timeout\n"), "{tail}");
    world.end().await;
}

pub(crate) async fn wrapper_scripts() {
    let world = World::new();
    let mut spec =
        world.python("wrapped", "import os\ndef handler(event, context): return os.environ.get('WRAPPED')\n");
    spec.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/var/task/wrap".into());
    world.folder("wrapped", &[("wrap!", "#!/bin/sh\nexport WRAPPED=\"$#\"\nexec \"$@\"\n")]);
    assert_eq!(world.call(&Arc::new(spec.clone()), "{}").await, "\"2\"");

    spec.revision = "missing".into();
    spec.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/opt/missing".into());
    let outcome = world.invoke(&Arc::new(spec), "{}").await.unwrap();
    assert!(text(&outcome.payload).contains("Runtime exited with error: exit status 127"), "{outcome:?}");
    assert!(tail(&outcome).contains("/opt/missing: does not exist\n"), "{}", tail(&outcome));
    world.end().await;
}
