//! Which runtimes this host can run, and from where. A runtime is never replaced by another one.

mod host;
mod node;
mod python;

use std::collections::HashMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

pub(crate) use host::{Interpreter, Shown};
pub(crate) use node::arguments as node_arguments;
pub(crate) use python::unfit_for_zygote;

/// Our runtime clients: their paths under the folder of the runtimes, and their text.
const BOOTSTRAPS: [(&str, &str); 7] = [
    ("python/bootstrap.py", include_str!("../../../bootstraps/python/bootstrap.py")),
    ("python/lambkin_zygote.py", include_str!("../../../bootstraps/python/lambkin_zygote.py")),
    // A folder of its own, for NODE_PATH has /var/runtime in it and there is a package named bootstrap.
    ("node/lambkin/bootstrap.cjs", include_str!("../../../bootstraps/node/bootstrap.cjs")),
    ("node/lambkin/channel.cjs", include_str!("../../../bootstraps/node/channel.cjs")),
    ("node/lambkin/invokes.cjs", include_str!("../../../bootstraps/node/invokes.cjs")),
    ("node/lambkin/records.cjs", include_str!("../../../bootstraps/node/records.cjs")),
    ("node/lambkin/streaming.cjs", include_str!("../../../bootstraps/node/streaming.cjs")),
];

/// A runtime that can be run.
#[derive(Debug)]
pub(crate) struct Runtime {
    /// What runs, as INIT_START shows it, e.g. `python:3.12.1 (host /root/.pyenv/versions/3.12.1)`.
    pub(crate) description: String,
    pub(crate) kind: RuntimeKind,
}

/// How a runtime is started.
#[derive(Debug)]
pub(crate) enum RuntimeKind {
    /// Lambkin's bootstrap in an interpreter of the host, on the private channel.
    Python {
        interpreter: Interpreter,
        /// Folder with `bootstrap.py`.
        bootstrap: PathBuf,
    },
    /// The same for Node.js.
    Node {
        interpreter: Interpreter,
        /// Folder with `lambkin/bootstrap.cjs`.
        bootstrap: PathBuf,
    },
    /// The function's own program, on the Runtime API over HTTP.
    Custom,
}

/// The runtimes of this host. Those found are remembered, those missing are looked for each time.
#[derive(Debug)]
pub(crate) struct Runtimes {
    /// Folder with the bootstraps.
    folder: PathBuf,
    pythons: python::SearchPath,
    nodes: node::SearchPath,
    found: Mutex<HashMap<String, Arc<Runtime>>>,
}

impl Runtimes {
    /// Writes the bootstraps' files into `folder`.
    ///
    /// # Errors
    /// A file cannot be written.
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        for (path, content) in BOOTSTRAPS {
            let path = folder.join(path);
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            write_if_changed(&path, content)?;
        }
        Ok(Self::without_files(folder))
    }

    fn without_files(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            pythons: python::SearchPath::of_process(),
            nodes: node::SearchPath::of_process(),
            found: Mutex::default(),
        }
    }

    /// A runtime that was found before.
    pub(crate) fn known(&self, identifier: &str) -> Option<Arc<Runtime>> {
        let found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        found.get(identifier).cloned()
    }

    /// The runtime of this identifier, or why there is none and what to do about it. Blocks: it may run
    /// interpreters to learn their version.
    pub(crate) fn resolve(&self, identifier: &str) -> Result<Arc<Runtime>, String> {
        if let Some(known) = self.known(identifier) {
            return Ok(known);
        }
        let runtime = match identifier {
            "provided" | "provided.al2" | "provided.al2023" | "go1.x" => {
                Runtime { description: format!("{identifier} (host)"), kind: RuntimeKind::Custom }
            }
            _ => match (python_minor(identifier), node_major(identifier)) {
                (Some(minor), _) => self.python(identifier, minor)?,
                (_, Some(major)) => self.node(identifier, major)?,
                (None, None) => return Err(unsupported(identifier)),
            },
        };
        let runtime = Arc::new(runtime);
        let mut found = self.found.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(Arc::clone(found.entry(identifier.to_owned()).or_insert(runtime)))
    }

    fn python(&self, identifier: &str, minor: u32) -> Result<Runtime, String> {
        let interpreter = self.pythons.find(minor).ok_or_else(|| {
            format!(
                "runtime {identifier} is not available on this host: no {identifier} executable was found in \
                 /usr/bin, /usr/local/bin, PATH, pyenv's or uv's versions; install one, for example with \
                 `pyenv install 3.{minor}` or `uv python install 3.{minor}`"
            )
        })?;
        Ok(Runtime {
            description: format!("python:{} (host {})", interpreter.version, interpreter.prefix.display()),
            kind: RuntimeKind::Python { interpreter, bootstrap: self.folder.join("python") },
        })
    }

    fn node(&self, identifier: &str, major: u32) -> Result<Runtime, String> {
        let interpreter = self.nodes.find(major).ok_or_else(|| {
            format!(
                "runtime {identifier} is not available on this host: no Node.js {major} was found in /usr/bin, \
                 /usr/local/bin, PATH, ~/.local, /opt or the versions of nvm, fnm, Volta, asdf, mise, nodenv and \
                 n; install one, for example with `nvm install {major}` or `fnm install {major}`"
            )
        })?;
        Ok(Runtime {
            description: format!("nodejs:{} (host {})", interpreter.version, interpreter.prefix.display()),
            kind: RuntimeKind::Node { interpreter, bootstrap: self.folder.join("node") },
        })
    }
}

/// Every runtime of this release with what would run on this host, or why nothing would and what to do
/// about it. Blocks: it runs interpreters to learn their version.
#[must_use]
pub fn survey() -> Vec<(String, Result<String, String>)> {
    let runtimes = Runtimes::without_files(Path::new(""));
    let custom = ["provided.al2023", "provided.al2", "provided", "go1.x"].map(str::to_owned);
    interpreted()
        .chain(custom)
        .map(|identifier| {
            let found = runtimes.resolve(&identifier).map(|runtime| {
                let unfit = match &runtime.kind {
                    RuntimeKind::Python { interpreter, .. } => unfit_for_zygote(interpreter),
                    _ => None,
                };
                match unfit {
                    Some(why) => format!("{}; no zygote, starts are slower: {why}", runtime.description),
                    None => runtime.description.clone(),
                }
            });
            (identifier, found)
        })
        .collect()
}

/// The runtimes that need an interpreter of the host.
pub(crate) fn interpreted() -> impl Iterator<Item = String> {
    let pythons = PYTHON_MINORS.map(|minor| format!("python3.{minor}"));
    pythons.chain(NODE_MAJORS.map(|major| format!("nodejs{major}.x")))
}

/// The `python3.X` that the bootstrap runs on.
const PYTHON_MINORS: std::ops::RangeInclusive<u32> = 8..=14;

/// The `nodejsX.x` that the bootstrap runs on.
const NODE_MAJORS: [u32; 7] = [14, 16, 18, 20, 22, 24, 26];

/// The minor version of a supported `python3.X`.
fn python_minor(identifier: &str) -> Option<u32> {
    let minor = identifier.strip_prefix("python3.")?;
    let number = minor.parse().ok().filter(|minor: &u32| PYTHON_MINORS.contains(minor))?;
    (minor == number.to_string()).then_some(number)
}

/// The major version of a supported `nodejsX.x`.
fn node_major(identifier: &str) -> Option<u32> {
    NODE_MAJORS.into_iter().find(|major| identifier == format!("nodejs{major}.x"))
}

fn unsupported(identifier: &str) -> String {
    format!(
        "runtime {identifier} is not supported by this release; it runs python3.8 to python3.14, nodejs14.x to \
         nodejs26.x (even versions), provided.al2023, provided.al2, provided and go1.x"
    )
}

fn write_if_changed(path: &Path, content: &str) -> io::Result<()> {
    if fs::read(path).is_ok_and(|present| present == content.as_bytes()) {
        return Ok(());
    }
    // Sandboxes that run the old file keep it: the new one takes its name.
    let new = path.with_extension("new");
    fs::write(&new, content)?;
    fs::rename(new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtimes() -> (tempfile::TempDir, Runtimes) {
        let folder = tempfile::tempdir().unwrap();
        let runtimes = Runtimes::new(folder.path()).unwrap();
        (folder, runtimes)
    }

    #[test]
    fn bootstraps_are_written_once() {
        let (folder, _) = runtimes();
        for (path, content) in BOOTSTRAPS {
            let file = folder.path().join(path);
            let written = fs::metadata(&file).unwrap().modified().unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
            Runtimes::new(folder.path()).unwrap();
            assert_eq!(fs::metadata(&file).unwrap().modified().unwrap(), written);
            fs::write(&file, "old").unwrap();
            Runtimes::new(folder.path()).unwrap();
            assert_eq!(fs::read_to_string(&file).unwrap(), content);
        }
    }

    #[test]
    fn custom_runtimes_are_always_there() {
        let (_folder, runtimes) = runtimes();
        for identifier in ["provided.al2023", "provided.al2", "go1.x"] {
            assert!(matches!(runtimes.resolve(identifier).unwrap().kind, RuntimeKind::Custom));
            assert!(runtimes.known(identifier).is_some());
        }
    }

    #[test]
    fn others_are_refused_in_a_sentence() {
        let (_folder, runtimes) = runtimes();
        for identifier in [
            "nodejs12.x",
            "nodejs21.x",
            "nodejs22",
            "nodejs020.x",
            "python3.7",
            "python3.15",
            "python3.012",
            "python",
            "java21",
            "",
        ] {
            let reason = runtimes.resolve(identifier).unwrap_err();
            assert!(reason.contains("not supported by this release"), "{reason}");
        }
    }

    #[test]
    fn pythons_of_the_host_have_exactly_the_version_asked_for() {
        let (_folder, runtimes) = runtimes();
        let mut found = 0;
        for minor in 8..=14 {
            match runtimes.resolve(&format!("python3.{minor}")) {
                Ok(runtime) => {
                    found += 1;
                    let RuntimeKind::Python { interpreter, .. } = &runtime.kind else {
                        panic!("{runtime:?}")
                    };
                    assert!(interpreter.version.starts_with(&format!("3.{minor}.")), "{runtime:?}");
                    assert!(runtime.description.starts_with(&format!("python:3.{minor}.")));
                }
                Err(reason) => assert!(reason.contains(&format!("uv python install 3.{minor}")), "{reason}"),
            }
        }
        if found == 0 {
            eprintln!("no Python on this host: only the refusal was tested");
        }
    }

    #[test]
    fn nodes_of_the_host_have_exactly_the_version_asked_for() {
        let (folder, runtimes) = runtimes();
        let mut found = 0;
        for major in NODE_MAJORS {
            match runtimes.resolve(&format!("nodejs{major}.x")) {
                Ok(runtime) => {
                    found += 1;
                    let RuntimeKind::Node { interpreter, bootstrap } = &runtime.kind else {
                        panic!("{runtime:?}")
                    };
                    assert!(interpreter.version.starts_with(&format!("{major}.")), "{runtime:?}");
                    assert!(runtime.description.starts_with(&format!("nodejs:{major}.")));
                    assert_eq!(bootstrap, &folder.path().join("node"));
                }
                Err(reason) => assert!(reason.contains(&format!("nvm install {major}")), "{reason}"),
            }
        }
        if found == 0 {
            eprintln!("no Node.js on this host: only the refusal was tested");
        }
    }
}
