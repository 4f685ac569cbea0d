//! From a function version and its runtime to the sandbox that runs it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use lambkin_core::function::FunctionSpec;
use lambkin_sandbox::{BindMount, Helper, NetworkSpec, SandboxSpec};

use crate::egress::policy::Policy;
use crate::layout::{Layout, bind};
use crate::runtimes::{Interpreter, Runtime, RuntimeKind, Shown, node_arguments};
use crate::variables::{Own, RUNTIME_API_PORT, variables};
use crate::zygotes;

/// Most processes and threads of an environment (AWS quota).
pub(crate) const PIDS_MAX: u32 = 1024;
/// Most open files of a process (AWS quota).
pub(crate) const OPEN_FILES_MAX: u64 = 1024;
/// CPU period in microseconds; quotas count in it.
const CPU_PERIOD_US: u64 = 20_000;
/// Least CPU quota that Linux takes.
const CPU_QUOTA_MIN_US: u64 = 1_000;
/// Memory that comes with one whole CPU.
const MEMORY_MB_PER_CPU: u64 = 1_769;

/// How the environments of one function version are started.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) runtime: Arc<Runtime>,
    /// Everything but the identity and the log stream's name; or why there is nothing to run, the message
    /// of a `Runtime.InvalidEntrypoint`.
    template: Result<SandboxSpec, String>,
    /// The program as error messages name it.
    pub(crate) program: String,
    /// Set by AWS_LAMBDA_EXEC_WRAPPER.
    pub(crate) wrapped: bool,
    /// Names of the external extensions, in the order in which they are started.
    pub(crate) extensions: Vec<String>,
    /// What its network is to be.
    pub(crate) policy: Policy,
    /// CPU time per 20 ms after INIT, in microseconds; `None` for all of the host's CPUs.
    pub(crate) cpu_quota_us: Option<u32>,
}

/// Variables that extensions do not get, as on AWS.
const RUNTIME_ONLY: [&str; 8] = [
    "AWS_EXECUTION_ENV",
    "AWS_LAMBDA_LOG_GROUP_NAME",
    "AWS_LAMBDA_LOG_STREAM_NAME",
    "AWS_XRAY_CONTEXT_MISSING",
    "AWS_XRAY_DAEMON_ADDRESS",
    "LAMBDA_RUNTIME_DIR",
    "LAMBDA_TASK_ROOT",
    "_HANDLER",
];

/// How a runtime speaks with the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    /// The private channel.
    Channel,
    /// The Runtime API over HTTP.
    Http,
}

impl Plan {
    /// `endpoint` is the port of the server's APIs inside.
    pub(crate) fn new(
        spec: &FunctionSpec,
        runtime: Arc<Runtime>,
        layout: &Layout,
        cpus: u32,
        endpoint: Option<u16>,
    ) -> Self {
        let mut binds = layout.binds.clone();
        let mut overlays = Vec::new();
        let mut symlinks = layout.symlinks.clone();
        let environment = variables(spec, &runtime, endpoint);
        let local = bind(&layout.empty, "/usr/local");
        let (command, transport, zygote) = match &runtime.kind {
            RuntimeKind::Python { .. } => {
                let command = python_program(&runtime, layout, &mut binds).unwrap_or_default();
                let zygote = zygotes::starts_alike(&environment).then(|| zygotes::name_of(&spec.runtime));
                (Ok(command), Transport::Channel, zygote)
            }
            RuntimeKind::Node { interpreter, bootstrap } => {
                let program = place(interpreter, local, &mut binds);
                binds.push(bind(bootstrap, "/var/runtime"));
                symlinks.extend(module_links(&interpreter.version));
                let mut command = vec![program];
                command.extend(node_arguments(&interpreter.version, spec.memory_mb, &environment));
                command.push("/var/runtime/lambkin/bootstrap.cjs".to_owned());
                (Ok(command), Transport::Channel, None)
            }
            RuntimeKind::Custom => {
                binds.push(local);
                (custom_program(spec).map(|program| vec![program]), Transport::Http, None)
            }
        };
        binds.push(bind(&spec.code, "/var/task"));
        // Also without layers: plain processes must not find the host's folder there.
        overlays.push(("/opt".to_owned(), spec.layers.clone()));
        let extensions = extensions(&spec.layers);
        let wrapper = environment.get("AWS_LAMBDA_EXEC_WRAPPER").filter(|path| !path.is_empty());
        let wrapped = transport == Transport::Channel && wrapper.is_some();
        let command = command.map(|mut command| {
            if let (true, Some(wrapper)) = (wrapped, wrapper) {
                command.insert(0, wrapper.clone());
            }
            command
        });
        let template = command.map(|command| SandboxSpec {
            id: String::new(),
            command,
            environment: environment.into_iter().collect(),
            working_dir: "/var/task".to_owned(),
            binds,
            symlinks,
            files: layout.files.clone(),
            overlays,
            memory_bytes: mebibytes(spec.memory_mb),
            tmp_bytes: mebibytes(spec.ephemeral_storage_mb),
            pids_max: PIDS_MAX,
            open_files_max: OPEN_FILES_MAX,
            cpu_quota_us: None,
            // Also where the runtime has its channel: for extensions.
            listen_ports: [RUNTIME_API_PORT].into_iter().chain(endpoint).collect(),
            network: NetworkSpec::default(),
            channel: transport == Transport::Channel,
            // Forked from a zygote, it would not wait for its extensions.
            zygote: zygote.filter(|_| extensions.is_empty()),
            helpers: extensions
                .iter()
                .map(|name| Helper {
                    command: vec![format!("/opt/extensions/{name}")],
                    environment: Vec::new(),
                })
                .collect(),
        });
        let program = template.as_ref().ok().and_then(|template| template.command.first()).cloned();
        let cpu_quota_us = cpu_quota_us(spec.memory_mb, cpus);
        Self {
            runtime,
            template,
            program: program.unwrap_or_default(),
            wrapped,
            extensions,
            policy: Policy::None,
            cpu_quota_us,
        }
    }

    /// With the network of a policy.
    pub(crate) fn with_policy(self, policy: Policy) -> Self {
        Self { policy, ..self }
    }

    /// The sandbox of one environment, still without network, or why there is nothing to run.
    pub(crate) fn sandbox(&self, id: String, own: &Own<'_>) -> Result<SandboxSpec, String> {
        let mut spec = self.template.clone()?;
        spec.id = id;
        spec.environment.extend(own.variables());
        for helper in &mut spec.helpers {
            let theirs = spec.environment.iter().filter(|(name, _)| !RUNTIME_ONLY.contains(&name.as_str()));
            helper.environment = theirs.cloned().collect();
        }
        Ok(spec)
    }
}

/// Makes a Python runtime visible and tells its command; `None` for other runtimes.
pub(crate) fn python_program(
    runtime: &Runtime,
    layout: &Layout,
    binds: &mut Vec<BindMount>,
) -> Option<Vec<String>> {
    let RuntimeKind::Python { interpreter, bootstrap } = &runtime.kind else { return None };
    let program = place(interpreter, bind(&layout.empty, "/usr/local"), binds);
    binds.push(bind(bootstrap, "/var/runtime"));
    Some(vec![program, "/var/runtime/bootstrap.py".to_owned()])
}

/// Makes an interpreter visible and tells its path inside. One that does not live under `/usr` is bound at
/// `/var/lang`, where AWS has its own. `/usr/local` is only shown where the interpreter lives there.
fn place(interpreter: &Interpreter, cover_local: BindMount, binds: &mut Vec<BindMount>) -> String {
    let program = interpreter.prefix.join(&interpreter.program);
    if !program.starts_with("/usr/local") {
        binds.push(cover_local);
    }
    if program.starts_with("/usr") {
        return program.to_string_lossy().into_owned();
    }
    match interpreter.shown {
        Shown::Prefix => {
            binds.push(bind(&interpreter.prefix, "/var/lang"));
            format!("/var/lang/{}", interpreter.program.display())
        }
        Shown::Program => {
            let name = interpreter.program.file_name().unwrap_or_default().to_string_lossy();
            let inside = format!("/var/lang/bin/{name}");
            binds.push(bind(program, &inside));
            inside
        }
    }
}

/// Since Node 18 AWS's `import` finds packages in layers too. That of the host does not look at `NODE_PATH`,
/// but in `node_modules` of every folder above the function's.
fn module_links(version: &str) -> Vec<(String, String)> {
    let major = version.split('.').next().unwrap_or_default();
    if major.parse::<u32>().is_ok_and(|major| major < 18) {
        return Vec::new();
    }
    vec![
        ("/var/node_modules".to_owned(), format!("/opt/nodejs/node{major}/node_modules")),
        ("/node_modules".to_owned(), "/opt/nodejs/node_modules".to_owned()),
    ]
}

/// The program of a custom runtime: `bootstrap` in the code, then in the layers; of `go1.x` the handler
/// comes first.
fn custom_program(spec: &FunctionSpec) -> Result<String, String> {
    let handler = Path::new(&spec.handler);
    let usable = spec.runtime == "go1.x"
        && !spec.handler.is_empty()
        && handler.components().all(|part| matches!(part, Component::Normal(_)));
    let in_code = usable.then(|| handler.to_owned()).into_iter().chain([PathBuf::from("bootstrap")]);
    let in_code = in_code.map(|name| (spec.code.join(&name), Path::new("/var/task").join(name)));
    let in_layers = spec.layers.iter().rev().map(|layer| (layer.join("bootstrap"), "/opt/bootstrap".into()));
    let candidate = in_code.chain(in_layers).find(|(host, _)| host.symlink_metadata().is_ok());
    let Some((host, inside)) = candidate else {
        return Err("Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]".to_owned());
    };
    // A link may lead to a file that is only there inside the sandbox; an absolute one does.
    let leads_inside = host.read_link().is_ok_and(|target| target.is_absolute());
    let executable = match host.metadata() {
        _ if leads_inside => true,
        Ok(metadata) => metadata.is_file() && metadata.permissions().mode() & 0o111 != 0,
        Err(_) => true,
    };
    if executable {
        Ok(inside.to_string_lossy().into_owned())
    } else {
        Err(format!("fork/exec {}: permission denied", inside.display()))
    }
}

/// What is not a folder in `extensions/` of the layers, once each, by name. A link there that leads out of its
/// layer is not followed.
fn extensions(layers: &[PathBuf]) -> Vec<String> {
    let inside = |layer: &PathBuf| {
        let folder = layer.join("extensions").canonicalize().ok()?;
        folder.starts_with(layer.canonicalize().ok()?).then_some(folder)
    };
    let folders = layers.iter().filter_map(inside).filter_map(|folder| folder.read_dir().ok());
    let programs = folders.flatten().flatten().filter(|entry| !entry.path().is_dir());
    let names: BTreeSet<String> = programs.filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.into_iter().collect()
}

fn mebibytes(count: u32) -> u64 {
    u64::from(count) * 1024 * 1024
}

/// A function's share of the CPU in microseconds per period; `None` if that is all of the host's.
fn cpu_quota_us(memory_mb: u32, cpus: u32) -> Option<u32> {
    let quota = (CPU_PERIOD_US * u64::from(memory_mb) / MEMORY_MB_PER_CPU).max(CPU_QUOTA_MIN_US);
    (quota < CPU_PERIOD_US * u64::from(cpus)).then(|| u32::try_from(quota).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::time::Duration;

    use lambkin_core::credentials::SessionCredentials;

    use super::*;
    use crate::testing::spec;

    fn layout() -> Layout {
        Layout { binds: Vec::new(), symlinks: Vec::new(), files: Vec::new(), empty: "/empty".into() }
    }

    fn runtime(kind: RuntimeKind) -> Arc<Runtime> {
        Arc::new(Runtime { description: "x".into(), kind })
    }

    fn python(prefix: &str) -> Arc<Runtime> {
        let interpreter = Interpreter {
            version: "3.12.1".into(),
            prefix: prefix.into(),
            program: "bin/python3.12".into(),
            shown: Shown::Prefix,
        };
        runtime(RuntimeKind::Python { interpreter, bootstrap: "/data/python".into() })
    }

    fn node(prefix: &str, program: &str, shown: Shown) -> Arc<Runtime> {
        let interpreter =
            Interpreter { version: "22.1.0".into(), prefix: prefix.into(), program: program.into(), shown };
        runtime(RuntimeKind::Node { interpreter, bootstrap: "/data/node".into() })
    }

    fn template(plan: &Plan) -> &SandboxSpec {
        plan.template.as_ref().unwrap()
    }

    fn source<'a>(plan: &'a Plan, target: &str) -> Option<&'a Path> {
        template(plan).binds.iter().rfind(|bind| bind.target == target).map(|bind| bind.source.as_path())
    }

    #[test]
    fn pythons_keep_their_place_under_usr_and_are_bound_elsewhere() {
        let spec = spec("python3.12", Path::new("/code"));
        for (prefix, program, local, lang) in [
            ("/usr", "/usr/bin/python3.12", Some("/empty"), None),
            ("/usr/local", "/usr/local/bin/python3.12", None, None),
            (
                "/root/.pyenv/versions/3.12.1",
                "/var/lang/bin/python3.12",
                Some("/empty"),
                Some("/root/.pyenv/versions/3.12.1"),
            ),
        ] {
            let plan = Plan::new(&spec, python(prefix), &layout(), 2, None);
            assert_eq!(template(&plan).command, [program, "/var/runtime/bootstrap.py"]);
            assert_eq!(source(&plan, "/usr/local"), local.map(Path::new));
            assert_eq!(source(&plan, "/var/lang"), lang.map(Path::new));
            assert_eq!(source(&plan, "/var/task"), Some(Path::new("/code")));
            assert!(template(&plan).channel && template(&plan).listen_ports == [9001]);
        }
    }

    #[test]
    fn a_node_of_the_host_shows_no_more_than_itself() {
        let mut spec = spec("nodejs22.x", Path::new("/code"));
        spec.memory_mb = 200;
        for (prefix, program, shown, inside, target, bound) in [
            ("/usr/bin", "node", Shown::Program, "/usr/bin/node", "/var/lang", None),
            (
                "/home/me/.local/bin",
                "node",
                Shown::Program,
                "/var/lang/bin/node",
                "/var/lang/bin/node",
                Some("/home/me/.local/bin/node"),
            ),
            (
                "/nvm/v22.1.0",
                "bin/node",
                Shown::Prefix,
                "/var/lang/bin/node",
                "/var/lang",
                Some("/nvm/v22.1.0"),
            ),
        ] {
            let plan = Plan::new(&spec, node(prefix, program, shown), &layout(), 2, None);
            let command = &template(&plan).command;
            assert_eq!(command.first().unwrap(), inside);
            assert!(command.contains(&"--max-old-space-size=180".to_owned()));
            assert_eq!(command.last().unwrap(), "/var/runtime/lambkin/bootstrap.cjs");
            assert_eq!(source(&plan, target), bound.map(Path::new));
            assert_eq!(source(&plan, "/var/runtime"), Some(Path::new("/data/node")));
            assert!(
                template(&plan).symlinks.contains(&(
                    "/var/node_modules".to_owned(),
                    "/opt/nodejs/node22/node_modules".to_owned()
                ))
            );
            assert!(template(&plan).channel && template(&plan).listen_ports == [9001]);
            assert!(template(&plan).environment.contains(&(
                "NODE_PATH".to_owned(),
                "/opt/nodejs/node22/node_modules:/opt/nodejs/node_modules:/var/runtime/node_modules:/var/runtime:/var/task".to_owned()
            )));
        }
        assert!(module_links("16.20.2").is_empty());
    }

    #[test]
    fn zygotes_are_for_pythons_that_start_as_they_did() {
        let mut spec = spec("python3.12", Path::new("/code"));
        let zygote = |spec: &FunctionSpec, runtime| {
            template(&Plan::new(spec, runtime, &layout(), 2, None)).zygote.clone()
        };
        assert_eq!(zygote(&spec, python("/usr")).as_deref(), Some("python3-12"));
        assert_eq!(zygote(&spec, node("/usr/bin", "node", Shown::Program)), None);
        spec.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/opt/wrap".into());
        assert_eq!(zygote(&spec, python("/usr")), None);
    }

    #[test]
    fn wrappers_are_for_managed_runtimes() {
        let code = tempfile::tempdir().unwrap();
        let mut spec = spec("python3.12", code.path());
        spec.environment.insert("AWS_LAMBDA_EXEC_WRAPPER".into(), "/opt/wrap".into());
        let plan = Plan::new(&spec, python("/usr"), &layout(), 2, None);
        assert_eq!(
            template(&plan).command,
            ["/opt/wrap", "/usr/bin/python3.12", "/var/runtime/bootstrap.py"]
        );
        assert!(plan.wrapped);
        fs::write(code.path().join("bootstrap"), "").unwrap();
        fs::set_permissions(code.path().join("bootstrap"), Permissions::from_mode(0o755)).unwrap();
        let plan = Plan::new(&spec, runtime(RuntimeKind::Custom), &layout(), 2, None);
        assert_eq!(template(&plan).command, ["/var/task/bootstrap"]);
        assert!(!plan.wrapped);
        assert_eq!(template(&plan).listen_ports, [9001]);
    }

    #[test]
    fn custom_runtimes_are_looked_for_in_awss_order() {
        let (code, layer) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut spec = spec("go1.x", code.path());
        spec.handler = "main".into();
        spec.layers = vec![layer.path().into()];
        let program = |spec: &FunctionSpec| {
            let plan = Plan::new(spec, runtime(RuntimeKind::Custom), &layout(), 2, None);
            plan.template.map(|_| plan.program)
        };
        assert_eq!(
            program(&spec).unwrap_err(),
            "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]"
        );
        let executable = |path: PathBuf, mode| {
            fs::write(&path, "").unwrap();
            fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
        };
        executable(layer.path().join("bootstrap"), 0o755);
        assert_eq!(program(&spec).unwrap(), "/opt/bootstrap");
        executable(code.path().join("bootstrap"), 0o644);
        assert_eq!(program(&spec).unwrap_err(), "fork/exec /var/task/bootstrap: permission denied");
        executable(code.path().join("bootstrap"), 0o755);
        assert_eq!(program(&spec).unwrap(), "/var/task/bootstrap");
        executable(code.path().join("main"), 0o755);
        assert_eq!(program(&spec).unwrap(), "/var/task/main");
        spec.runtime = "provided.al2023".into();
        assert_eq!(program(&spec).unwrap(), "/var/task/bootstrap");
        spec.runtime = "go1.x".into();
        spec.handler = "../main".into();
        assert_eq!(program(&spec).unwrap(), "/var/task/bootstrap");
    }

    #[test]
    fn functions_cannot_replace_reserved_variables() {
        let mut spec = spec("python3.12", Path::new("/code"));
        spec.environment = [
            ("_HANDLER", "evil"),
            ("PATH", "/mine"),
            ("MINE", "1"),
            ("AWS_REGION", "x"),
            ("AWS_SESSION_TOKEN", "x"),
            ("AWS_ENDPOINT_URL", "http://elsewhere"),
        ]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
        spec.application_log_level = "WARN".into();
        let plan = Plan::new(&spec, python("/usr"), &layout(), 2, Some(4566));
        assert_eq!(template(&plan).listen_ports, [9001, 4566]);
        let credentials = SessionCredentials {
            access_key_id: "ASIAEXAMPLE".into(),
            secret_access_key: "secret".into(),
            session_token: "token".into(),
            expires_at: Duration::ZERO,
        };
        let own = Own {
            log_stream: "stream",
            initialization: lambkin_runtime::Initialization::OnDemand,
            credentials: Some(&credentials),
        };
        let sandbox = plan.sandbox("id".into(), &own).unwrap();
        let value = |name: &str| {
            let mut values = sandbox.environment.iter().filter(|(key, _)| key == name);
            let value = values.next().map(|(_, value)| value.as_str());
            assert!(values.next().is_none(), "{name} twice");
            value
        };
        for (name, expected) in [
            ("_HANDLER", "app.handler"),
            ("PATH", "/mine"),
            ("MINE", "1"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "128"),
            ("AWS_LAMBDA_LOG_STREAM_NAME", "stream"),
            ("AWS_ACCESS_KEY_ID", "ASIAEXAMPLE"),
            ("AWS_SECRET_ACCESS_KEY", "secret"),
            ("AWS_SESSION_TOKEN", "token"),
            ("AWS_ENDPOINT_URL", "http://elsewhere"),
            ("AWS_LAMBDA_LOG_LEVEL", "WARN"),
            ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.12"),
            ("PYTHONPATH", "/var/runtime"),
            ("TZ", ":UTC"),
        ] {
            assert_eq!(value(name), Some(expected), "{name}");
        }
        assert_eq!(sandbox.id, "id");
        spec.runtime = "provided.al2023".into();
        let custom = variables(&spec, &runtime(RuntimeKind::Custom), Some(4566));
        assert!(custom.contains_key("AWS_ENDPOINT_URL"));
        spec.environment.clear();
        let value =
            |endpoint| variables(&spec, &runtime(RuntimeKind::Custom), endpoint).remove("AWS_ENDPOINT_URL");
        assert_eq!(value(Some(4566)).as_deref(), Some("http://127.0.0.1:4566"));
        assert_eq!(value(None), None);
        assert!(!custom.contains_key("AWS_EXECUTION_ENV") && !custom.contains_key("PYTHONPATH"));
    }

    #[test]
    fn cpu_follows_memory() {
        assert_eq!(cpu_quota_us(128, 2), Some(1_447));
        assert_eq!(cpu_quota_us(64, 2), Some(1_000));
        assert_eq!(cpu_quota_us(1_769, 2), Some(20_000));
        assert_eq!(cpu_quota_us(1_769, 1), None);
        assert_eq!(cpu_quota_us(10_240, 2), None);
        assert_eq!(cpu_quota_us(10_240, 8), Some(115_771));
    }
}
