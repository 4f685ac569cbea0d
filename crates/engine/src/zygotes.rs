//! Zygotes: running interpreters that environments are forked from instead of executing one for each. The
//! spawner keeps them (`docs/internals/zygote.md`); here is decided which there are, and for whom.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use lambkin_sandbox::{Isolation, NetworkSpec, SandboxSpec, Spawner};

use crate::layout::{Layout, PASSWD};
use crate::plan::{OPEN_FILES_MAX, PIDS_MAX, python_program};
use crate::runtimes::{Runtime, RuntimeKind, unfit_for_zygote};
use crate::variables::{PYTHON_PATH, UNRESERVED};

/// Names a zygote's own variables to its bootstrap. No function can have a variable of this name.
const MARK: &str = "_LAMBKIN_ZYGOTE";

/// How long a zygote is kept that no environment is started from.
const IDLE: Duration = Duration::from_secs(3600);

/// Memory that a zygote may have. It takes about 10 MiB.
const MEMORY_BYTES: u64 = 512 * 1024 * 1024;

/// Variables that an interpreter, its C library and what they load look at when they start, and not again: a
/// program that is to see others of them must be executed.
const START_PREFIXES: [&str; 7] = ["PYTHON", "LD_", "LC_", "MALLOC_", "OPENSSL_", "GLIBC_", "_"];
const START_NAMES: [&str; 6] = ["LANG", "LANGUAGE", "LOCPATH", "GCONV_PATH", "NLSPATH", "CHARSET"];

/// Set by the platform and looked at with each use.
const NO_START_NAMES: [&str; 1] = ["_HANDLER"];

/// What zygotes are given: what functions have that set none of these themselves.
fn zygote_variables() -> BTreeMap<&'static str, &'static str> {
    UNRESERVED
        .into_iter()
        .filter(|(name, _)| counts_at_start(name) || ["PATH", "TZ"].contains(name))
        .chain([PYTHON_PATH])
        .collect()
}

fn counts_at_start(name: &str) -> bool {
    !NO_START_NAMES.contains(&name)
        && (START_NAMES.contains(&name) || START_PREFIXES.iter().any(|prefix| name.starts_with(prefix)))
}

/// Whether an interpreter starts with these variables as a zygote has started.
pub(crate) fn starts_alike(variables: &BTreeMap<String, String>) -> bool {
    let ours = zygote_variables();
    let mut names = variables.keys().map(String::as_str).chain(ours.keys().copied());
    let alike = names.all(|name| {
        !counts_at_start(name) || variables.get(name).map(String::as_str) == ours.get(name).copied()
    });
    // Packages below it are found at the start; below /tmp there are none then.
    let home = variables.get("HOME").is_none_or(|home| home == "/tmp" || home.starts_with("/tmp/"));
    let wrapped = variables.get("AWS_LAMBDA_EXEC_WRAPPER").is_some_and(|path| !path.is_empty());
    alike && home && !wrapped
}

/// The name of a runtime's zygote.
pub(crate) fn name_of(identifier: &str) -> String {
    identifier.replace('.', "-")
}

/// Which zygotes there are.
pub(crate) struct Zygotes {
    spawner: Spawner,
    layout: Layout,
    enabled: bool,
    states: Mutex<HashMap<String, State>>,
}

#[derive(Debug)]
enum State {
    /// It is being looked at whether there can be one.
    Checking,
    /// There can be none.
    Unfit,
    /// The spawner keeps it; when an environment was last to be started from it, by the engine's clock.
    Kept { wanted: Duration },
}

impl Zygotes {
    pub(crate) fn new(spawner: Spawner, layout: Layout, enabled: bool) -> Self {
        let enabled = enabled && spawner.isolation() != Isolation::Process;
        Self { spawner, layout, enabled, states: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, State>> {
        // Nothing panics while the lock is held.
        self.states.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has a runtime's zygote kept from now on. Whether environments can be forked from it, if it is ready.
    pub(crate) fn want(self: &Arc<Self>, identifier: &str, runtime: &Arc<Runtime>, now: Duration) -> bool {
        if !self.enabled || !matches!(runtime.kind, RuntimeKind::Python { .. }) {
            return false;
        }
        let mut states = self.lock();
        match states.get_mut(identifier) {
            Some(State::Kept { wanted }) => {
                *wanted = now;
                true
            }
            Some(State::Checking | State::Unfit) => false,
            None => {
                states.insert(identifier.to_owned(), State::Checking);
                drop(states);
                let (zygotes, runtime) = (Arc::clone(self), Arc::clone(runtime));
                let identifier = identifier.to_owned();
                // It runs the interpreter and looks at its files. A thread, for this is not always called
                // within tokio; there are no more of them than runtimes.
                let checked = std::thread::Builder::new().name("zygote-check".to_owned());
                // Without a thread it stays as it is: environments are executed.
                let _ = checked.spawn(move || zygotes.check(identifier, &runtime, now));
                false
            }
        }
    }

    fn check(&self, identifier: String, runtime: &Runtime, now: Duration) {
        let RuntimeKind::Python { interpreter, .. } = &runtime.kind else { return };
        let state = match unfit_for_zygote(interpreter) {
            Some(reason) => {
                tracing::info!(runtime = identifier, reason, "no zygote: environments are executed");
                State::Unfit
            }
            None => {
                if let Some(spec) = self.spec(&identifier, runtime) {
                    self.spawner.keep_zygote(&name_of(&identifier), spec);
                }
                State::Kept { wanted: now }
            }
        };
        self.lock().insert(identifier, state);
    }

    fn spec(&self, identifier: &str, runtime: &Runtime) -> Option<SandboxSpec> {
        let mut binds = self.layout.binds.clone();
        let command = python_program(runtime, &self.layout, &mut binds)?;
        let variables = zygote_variables();
        let mark = variables.keys().copied().collect::<Vec<_>>().join(",");
        let variables = variables.into_iter().chain([(MARK, mark.as_str())]);
        let files = self.layout.files.iter().cloned().map(|(path, content)| {
            // Where its user's packages would be: in the home of the function's user.
            let content = if path == "/etc/passwd" { passwd() } else { content };
            (path, content)
        });
        Some(SandboxSpec {
            id: name_of(identifier),
            command,
            environment: variables.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
            working_dir: "/".to_owned(),
            binds,
            symlinks: self.layout.symlinks.clone(),
            files: files.collect(),
            overlays: Vec::new(),
            memory_bytes: MEMORY_BYTES,
            tmp_bytes: 0,
            pids_max: PIDS_MAX,
            open_files_max: OPEN_FILES_MAX,
            cpu_quota_us: None,
            listen_ports: Vec::new(),
            network: NetworkSpec::default(),
            channel: false,
            zygote: None,
            helpers: Vec::new(),
        })
    }

    /// Lets those end that nobody has wanted for long.
    pub(crate) fn end_unused(&self, now: Duration) {
        let Some(limit) = now.checked_sub(IDLE) else { return };
        let unused = |state: &State| matches!(state, State::Kept { wanted } if *wanted < limit);
        for (identifier, _) in self.lock().extract_if(|_, state| unused(state)) {
            self.spawner.end_zygote(&name_of(&identifier));
        }
    }
}

/// The users of a sandbox, with root in the home of the function's user.
fn passwd() -> String {
    PASSWD.replace(":root:/root:", ":root:/home/sbx_user1051:")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_at_the_start_must_be_the_zygotes() {
        let usual = || {
            let own = [("_HANDLER", "a.b"), ("AWS_REGION", "x"), ("MY_LD_", "1"), ("TABLE", "t")];
            let all = UNRESERVED.into_iter().chain([PYTHON_PATH]).chain(own);
            all.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<BTreeMap<_, _>>()
        };
        assert!(starts_alike(&usual()));
        for (name, value, alike) in [
            ("TZ", "Europe/Berlin", true),
            ("PATH", "/opt/bin", true),
            ("HOME", "/tmp", true),
            ("HOME", "/tmp/home", true),
            ("HOME", "/var/task", false),
            ("LANG", "C", false),
            ("LC_ALL", "C.UTF-8", false),
            ("PYTHONPATH", "/var/task/lib", false),
            ("PYTHONHASHSEED", "0", false),
            ("LD_LIBRARY_PATH", "/opt/lib", false),
            ("LD_PRELOAD", "/opt/lib/x.so", false),
            ("MALLOC_ARENA_MAX", "2", false),
            ("OPENSSL_CONF", "/dev/null", false),
            ("SSL_CERT_FILE", "/var/task/ca.pem", true),
            ("AWS_LAMBDA_EXEC_WRAPPER", "/opt/wrap", false),
            ("AWS_LAMBDA_EXEC_WRAPPER", "", true),
        ] {
            let mut variables = usual();
            variables.insert(name.to_owned(), value.to_owned());
            assert_eq!(starts_alike(&variables), alike, "{name}={value}");
        }
        let mut without = usual();
        without.remove("LANG");
        assert!(!starts_alike(&without));
    }

    #[test]
    fn root_of_a_zygote_lives_where_the_functions_user_does() {
        assert!(passwd().starts_with("root:x:0:0:root:/home/sbx_user1051:"));
    }
}
