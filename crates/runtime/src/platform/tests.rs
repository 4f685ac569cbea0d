use super::*;

const NOW: i64 = 1_795_439_107_042;

fn text(event: PlatformEvent<'_>) -> String {
    event.render(LogFormat::Text, NOW).unwrap_or_default()
}

fn json(event: PlatformEvent<'_>) -> serde_json::Value {
    event.render(LogFormat::Json(SystemLogLevel::Debug), NOW).map_or(serde_json::Value::Null, |line| {
        assert!(line.ends_with("}\n"));
        serde_json::from_str(&line).unwrap()
    })
}

const START: PlatformEvent<'_> = PlatformEvent::Start { request_id: "id", version: "$LATEST" };

fn report<'a>(init: Option<f64>, status: Status<'a>, reported: bool) -> PlatformEvent<'a> {
    PlatformEvent::Report {
        request_id: "id",
        duration: Duration::from_micros(1_230),
        init_duration: init.map(|ms| Duration::from_secs_f64(ms / 1e3)),
        memory_mb: 128,
        max_memory_used_mb: 38,
        status,
        reported,
    }
}

#[test]
fn text_lines_are_lambdas() {
    assert_eq!(text(START), "START RequestId: id Version: $LATEST\n");
    assert_eq!(text(PlatformEvent::End { request_id: "id" }), "END RequestId: id\n");
    assert_eq!(
        text(report(Some(101.11), Status::Success, false)),
        "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 103 ms\tMemory Size: 128 MB\t\
         Max Memory Used: 38 MB\tInit Duration: 101.11 ms\t\n"
    );
    let plain = "REPORT RequestId: id\tDuration: 1.23 ms\tBilled Duration: 2 ms\tMemory Size: 128 MB\t\
                 Max Memory Used: 38 MB\t";
    assert_eq!(text(report(None, Status::Success, false)), format!("{plain}\n"));
    assert_eq!(text(report(None, Status::Error("Runtime.Unknown"), true)), format!("{plain}\n"));
    assert_eq!(text(report(None, Status::Timeout, false)), format!("{plain}Status: timeout\n"));
    assert_eq!(
        text(report(None, Status::Error("Runtime.ExitError"), false)),
        format!("{plain}Status: error\tError Type: Runtime.ExitError\n")
    );
    assert_eq!(
        text(PlatformEvent::TimedOut { request_id: "id", after: Duration::from_secs(3) }),
        "2026-11-23T13:05:07.042Z id Task timed out after 3.00 seconds\n\n"
    );
    assert_eq!(
        text(PlatformEvent::Fault { request_id: "id", message: "gone", error_type: "Runtime.ExitError" }),
        "RequestId: id Error: gone\nRuntime.ExitError\n"
    );
}

#[test]
fn init_lines() {
    let start = PlatformEvent::InitStart {
        initialization: Initialization::OnDemand,
        runtime_version: "python:3.12.1 (host /usr)",
        function_name: "f",
        function_version: "$LATEST",
        instance_id: "abc",
        memory_mb: 128,
    };
    assert_eq!(text(start), "INIT_START Runtime Version: python:3.12.1 (host /usr)\n");
    assert_eq!(
        json(start),
        serde_json::json!({"time": "2026-11-23T13:05:07.042Z", "type": "platform.initStart", "record": {
            "initializationType": "on-demand", "phase": "init", "runtimeVersion": "python:3.12.1 (host /usr)",
            "functionName": "f", "functionVersion": "$LATEST", "instanceId": "abc",
            "instanceMaxMemory": 134_217_728_u64}})
    );
    let ahead = PlatformEvent::InitRuntimeDone {
        initialization: Initialization::ProvisionedConcurrency,
        phase: InitPhase::Init,
        status: Status::Success,
    };
    assert_eq!(json(ahead)["record"]["initializationType"], "provisioned-concurrency");
    let duration = Duration::from_micros(9_999_790);
    let done = |phase, status| PlatformEvent::InitReport {
        initialization: Initialization::OnDemand,
        duration,
        phase,
        status,
    };
    assert_eq!(text(done(InitPhase::Init, Status::Success)), "");
    assert_eq!(
        text(done(InitPhase::Init, Status::Timeout)),
        "INIT_REPORT Init Duration: 9999.79 ms\tPhase: init\tStatus: timeout\n"
    );
    assert_eq!(
        text(done(InitPhase::Invoke, Status::Error("Runtime.ExitError"))),
        "INIT_REPORT Init Duration: 9999.79 ms\tPhase: invoke\tStatus: error\tError Type: Runtime.ExitError\n"
    );
    assert_eq!(
        json(done(InitPhase::Invoke, Status::Error("X.Y")))["record"],
        serde_json::json!({"initializationType": "on-demand", "phase": "invoke", "status": "error",
            "errorType": "X.Y", "metrics": {"durationMs": 9999.79}})
    );
}

#[test]
fn levels_filter_json_records() {
    let duration = Duration::from_millis(3);
    let done = |status| PlatformEvent::RuntimeDone { request_id: "id", duration, produced_bytes: 0, status };
    let init = |status| PlatformEvent::InitReport {
        initialization: Initialization::OnDemand,
        duration,
        phase: InitPhase::Init,
        status,
    };
    let runtime_init = |status| PlatformEvent::InitRuntimeDone {
        initialization: Initialization::OnDemand,
        phase: InitPhase::Init,
        status,
    };
    let (failed, fine) = (Status::Error("X"), Status::Success);
    for (event, least) in [
        (START, SystemLogLevel::Info),
        (report(None, fine, false), SystemLogLevel::Info),
        (report(None, failed, true), SystemLogLevel::Warn),
        (done(fine), SystemLogLevel::Debug),
        (done(Status::Timeout), SystemLogLevel::Warn),
        (init(fine), SystemLogLevel::Debug),
        (init(failed), SystemLogLevel::Warn),
        (runtime_init(fine), SystemLogLevel::Debug),
        (runtime_init(failed), SystemLogLevel::Warn),
    ] {
        for level in [SystemLogLevel::Debug, SystemLogLevel::Info, SystemLogLevel::Warn] {
            let line = event.render(LogFormat::Json(level), NOW);
            assert_eq!(line.is_some(), level <= least, "{event:?} at {level:?}");
        }
    }
}

#[test]
fn json_records() {
    assert_eq!(json(START)["type"], "platform.start");
    assert_eq!(json(START)["record"], serde_json::json!({"requestId": "id", "version": "$LATEST"}));
    assert!(json(PlatformEvent::End { request_id: "id" }).is_null());
    assert_eq!(
        json(report(Some(101.11), Status::Success, false))["record"],
        serde_json::json!({"requestId": "id", "status": "success", "metrics": {"durationMs": 1.23,
            "billedDurationMs": 103, "memorySizeMB": 128, "maxMemoryUsedMB": 38, "initDurationMs": 101.11}})
    );
    let failed = json(report(None, Status::Error("Runtime.Unknown"), true));
    assert_eq!(failed["record"]["status"], "error");
    assert_eq!(failed["record"]["errorType"], "Runtime.Unknown");
    let done = PlatformEvent::RuntimeDone {
        request_id: "id",
        duration: Duration::from_millis(3),
        produced_bytes: 0,
        status: Status::Timeout,
    };
    assert_eq!(
        json(done)["record"],
        serde_json::json!({"requestId": "id", "status": "timeout",
            "metrics": {"durationMs": 3.0, "producedBytes": 0}})
    );
}
