//! What is logged, and in which order.

use std::sync::Arc;

use lambkin_core::function::{LogFormat, SystemLogLevel};
use lambkin_core::invoke::Invoker;

use crate::support::{World, invocation, tail, text};

const TALKATIVE: &str = "
import logging, os, subprocess, sys
print('at import')
logging.getLogger().setLevel('INFO')
def handler(event, context):
    for number in range(event):
        print('line', number)
    logging.info('a record\\nof two lines')
    os.write(1, b'native\\n')
    subprocess.run(['/bin/echo', 'child'])
    sys.stderr.write('no end')
    return 'ok'
";

pub(crate) async fn order_and_tail() {
    let world = World::new();
    let mut spec = world.python("talkative", TALKATIVE);
    spec.memory_mb = 1769;
    let spec = Arc::new(spec);
    let first = invocation("2");
    let id = first.request_id.clone();
    let outcome = world.engine.invoke(Arc::clone(&spec), first).await.unwrap();
    assert_eq!(text(&outcome.payload), "\"ok\"");
    let lines = world.logs.messages("/aws/lambda/talkative");
    assert!(lines[0].starts_with("INIT_START Runtime Version: python:3."), "{lines:#?}");
    assert_eq!(
        lines[1..5],
        ["at import\n", &format!("START RequestId: {id} Version: $LATEST\n"), "line 0\n", "line 1\n"]
    );
    // The pipe and the record socket are two ways; each keeps its own order.
    let mut middle = lines[5..lines.len() - 2].to_vec();
    middle.sort();
    assert_eq!(middle.len(), 4, "{lines:#?}");
    assert!(
        middle[0].starts_with("[INFO]\t")
            && middle[0].ends_with(&format!("Z\t{id}\ta record\nof two lines\n"))
    );
    assert_eq!(middle[1..], ["child\n", "native\n", "no end"]);
    let [end, report] = &lines[lines.len() - 2..] else { panic!("{lines:#?}") };
    assert_eq!(*end, format!("END RequestId: {id}\n"));
    assert!(report.starts_with(&format!("REPORT RequestId: {id}\tDuration: ")), "{report}");
    assert!(
        report.contains("\tMemory Size: 1769 MB\tMax Memory Used: ") && report.ends_with(" ms\t\n"),
        "{report}"
    );
    let used: u64 =
        report.split("Max Memory Used: ").nth(1).unwrap().split(' ').next().unwrap().parse().unwrap();
    assert!((1..200).contains(&used), "{report}");
    assert!(tail(&outcome).starts_with("INIT_START") && tail(&outcome).ends_with(report));
    assert_eq!(world.logs.streams_of("/aws/lambda/talkative").len(), 1);

    // Much output neither blocks nor is lost, and the tail is its end.
    let outcome = world.invoke(&spec, "30000").await.unwrap();
    assert_eq!(text(&outcome.payload), "\"ok\"");
    let lines = world.logs.messages("/aws/lambda/talkative");
    assert_eq!(lines.iter().filter(|line| line.starts_with("line ")).count(), 30_002);
    let tail = tail(&outcome);
    assert!(tail.len() <= 4096 && tail.len() > 4000 && tail.contains("line 29999\n"), "{}", tail.len());

    let quiet =
        world.engine.invoke(spec, lambkin_core::invoke::Invocation { log_tail: false, ..invocation("1") });
    assert!(quiet.await.unwrap().log_tail.is_none());
    world.end().await;
}

pub(crate) async fn json_records() {
    let world = World::new();
    let mut spec = world
        .python("structured", "def handler(event, context):\n    print('plain')\n    raise KeyError('k')\n");
    spec.log_format = LogFormat::Json(SystemLogLevel::Info);
    let spec = Arc::new(spec);
    world.fail(&spec, "{}").await;
    let lines = world.logs.messages("/aws/lambda/structured");
    let kinds: Vec<_> = lines
        .iter()
        .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
        .filter_map(|line| Some(line.get("type")?.as_str()?.to_owned()))
        .collect();
    assert_eq!(
        kinds,
        ["platform.initStart", "platform.start", "platform.runtimeDone", "platform.report"],
        "{lines:#?}"
    );
    assert!(lines.contains(&"plain\n".to_owned()), "{lines:#?}");
    let report: serde_json::Value = serde_json::from_str(lines.last().unwrap()).unwrap();
    assert_eq!(report["record"]["status"], "error");
    assert_eq!(report["record"]["metrics"]["memorySizeMB"], 128);
    assert!(report["record"]["metrics"]["initDurationMs"].as_f64().unwrap() > 0.0);

    for (name, level, expected) in [
        ("terse", SystemLogLevel::Warn, &[][..]),
        (
            "wordy",
            SystemLogLevel::Debug,
            &["initStart", "initRuntimeDone", "initReport", "start", "runtimeDone", "report"],
        ),
    ] {
        let mut spec = world.python(name, "def handler(event, context):\n    return 1\n");
        spec.log_format = LogFormat::Json(level);
        world.call(&Arc::new(spec), "{}").await;
        let lines = world.logs.messages(&format!("/aws/lambda/{name}"));
        let expected: Vec<_> = expected.iter().map(|kind| format!("\"platform.{kind}\"")).collect();
        assert_eq!(lines.len(), expected.len(), "{lines:#?}");
        assert!(lines.iter().zip(&expected).all(|(line, kind)| line.contains(kind)), "{lines:#?}");
    }
    world.end().await;
}
