//! The environment variables of a function's process.

use std::collections::BTreeMap;

use lambkin_core::function::{FunctionSpec, LogFormat};

use crate::runtimes::{Runtime, RuntimeKind};

/// Where the Runtime API is found inside a sandbox.
pub(crate) const RUNTIME_API_PORT: u16 = 9001;

/// Where functions may extend or replace what the platform sets.
const UNRESERVED: [(&str, &str); 6] = [
    ("LANG", "en_US.UTF-8"),
    ("PATH", "/var/lang/bin:/usr/local/bin:/usr/bin/:/bin:/opt/bin"),
    (
        "LD_LIBRARY_PATH",
        "/var/lang/lib:/lib64:/usr/lib64:/var/runtime:/var/runtime/lib:/var/task:/var/task/lib:/opt/lib",
    ),
    ("TZ", ":UTC"),
    ("AWS_XRAY_CONTEXT_MISSING", "LOG_ERROR"),
    ("AWS_XRAY_DAEMON_ADDRESS", "127.0.0.1:2000"),
];

/// All variables but the log stream's name, which each environment has its own of: the function's own over
/// the unreserved ones, the reserved ones over both.
pub(crate) fn variables(spec: &FunctionSpec, runtime: &Runtime) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), value.to_owned());
    };
    for (name, value) in UNRESERVED {
        set(name, value);
    }
    if matches!(runtime.kind, RuntimeKind::Python { .. }) {
        set("PYTHONPATH", "/var/runtime");
    }
    for (name, value) in &spec.environment {
        set(name, value);
    }
    for (name, value) in [
        ("_HANDLER", spec.handler.as_str()),
        ("AWS_REGION", &spec.scope.region),
        ("AWS_DEFAULT_REGION", &spec.scope.region),
        ("AWS_LAMBDA_FUNCTION_NAME", &spec.name),
        ("AWS_LAMBDA_FUNCTION_VERSION", &spec.version),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &spec.memory_mb.to_string()),
        ("AWS_LAMBDA_INITIALIZATION_TYPE", "on-demand"),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &spec.log_group),
        ("AWS_LAMBDA_RUNTIME_API", &format!("127.0.0.1:{RUNTIME_API_PORT}")),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        (
            "AWS_LAMBDA_LOG_FORMAT",
            match spec.log_format {
                LogFormat::Text => "Text",
                LogFormat::Json => "JSON",
            },
        ),
    ] {
        set(name, value);
    }
    if !spec.application_log_level.is_empty() {
        set("AWS_LAMBDA_LOG_LEVEL", &spec.application_log_level);
    }
    if !spec.runtime.starts_with("provided") {
        set("AWS_EXECUTION_ENV", &format!("AWS_Lambda_{}", spec.runtime));
    }
    all
}
