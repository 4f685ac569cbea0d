//! The environment variables of a function's process.

use std::collections::BTreeMap;

use lambkin_core::credentials::SessionCredentials;
use lambkin_core::function::{FunctionSpec, LogFormat};
use lambkin_runtime::Initialization;

use crate::runtimes::{Runtime, RuntimeKind};

/// Where the Runtime API is found inside a sandbox.
pub(crate) const RUNTIME_API_PORT: u16 = 9001;

/// Where functions may extend or replace what the platform sets.
pub(crate) const UNRESERVED: [(&str, &str); 6] = [
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

/// Where the interpreter looks for Python packages.
pub(crate) const PYTHON_PATH: (&str, &str) = ("PYTHONPATH", "/var/runtime");

/// Variables that each environment has its own of.
#[derive(Debug)]
pub(crate) struct Own<'a> {
    pub(crate) log_stream: &'a str,
    pub(crate) initialization: Initialization,
    /// Of the function's role.
    pub(crate) credentials: Option<&'a SessionCredentials>,
}

/// Names of the variables of [`Own`]. Functions cannot set them.
const OWN: [&str; 5] = [
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_LAMBDA_INITIALIZATION_TYPE",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
];

impl Own<'_> {
    /// Name and value of each.
    pub(crate) fn variables(&self) -> impl Iterator<Item = (String, String)> {
        let [stream, initialization, id, secret, token] = OWN;
        let credentials = self.credentials.into_iter().flat_map(move |credentials| {
            [
                (id, credentials.access_key_id.as_str()),
                (secret, &credentials.secret_access_key),
                (token, &credentials.session_token),
            ]
        });
        let all = [(stream, self.log_stream), (initialization, self.initialization.name())]
            .into_iter()
            .chain(credentials);
        all.map(|(name, value)| (name.to_owned(), value.to_owned()))
    }
}

/// All variables but those of [`Own`]: the function's own over the unreserved ones, the reserved ones over
/// both. `endpoint` is the port of the server's APIs inside the sandbox.
pub(crate) fn variables(
    spec: &FunctionSpec,
    runtime: &Runtime,
    endpoint: Option<u16>,
) -> BTreeMap<String, String> {
    let mut all: BTreeMap<String, String> = BTreeMap::new();
    let mut set = |name: &str, value: &str| {
        all.insert(name.to_owned(), value.to_owned());
    };
    for (name, value) in UNRESERVED {
        set(name, value);
    }
    match &runtime.kind {
        RuntimeKind::Python { .. } => set(PYTHON_PATH.0, PYTHON_PATH.1),
        RuntimeKind::Node { .. } => set("NODE_PATH", &node_path(&spec.runtime)),
        RuntimeKind::Custom => {}
    }
    if let Some(port) = endpoint {
        set("AWS_ENDPOINT_URL", &format!("http://127.0.0.1:{port}"));
    }
    for (name, value) in spec.environment.iter().filter(|(name, _)| !OWN.contains(&name.as_str())) {
        set(name, value);
    }
    for (name, value) in [
        ("_HANDLER", spec.handler.as_str()),
        ("AWS_REGION", &spec.scope.region),
        ("AWS_DEFAULT_REGION", &spec.scope.region),
        ("AWS_LAMBDA_FUNCTION_NAME", &spec.name),
        ("AWS_LAMBDA_FUNCTION_VERSION", &spec.version),
        ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", &spec.memory_mb.to_string()),
        ("AWS_LAMBDA_LOG_GROUP_NAME", &spec.log_group),
        ("AWS_LAMBDA_RUNTIME_API", &format!("127.0.0.1:{RUNTIME_API_PORT}")),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("LAMBDA_RUNTIME_DIR", "/var/runtime"),
        (
            "AWS_LAMBDA_LOG_FORMAT",
            match spec.log_format {
                LogFormat::Text => "Text",
                LogFormat::Json(_) => "JSON",
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

/// Where `require` looks besides the function's own folders: layers first, those for one version ahead of
/// those for all.
fn node_path(runtime: &str) -> String {
    let version = runtime.strip_suffix(".x").unwrap_or(runtime).trim_start_matches("nodejs");
    format!(
        "/opt/nodejs/node{version}/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:\
         /var/runtime:/var/task"
    )
}
