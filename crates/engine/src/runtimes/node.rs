//! Node.js of the host, and the command line that AWS's runtimes start it with.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use super::host::{Interpreter, Shown, ask, program_folders};

/// Largest HTTP header that Node takes, in bytes, as on AWS.
const MAX_HTTP_HEADER_SIZE: u32 = 81_920;

/// Where Node is looked for, in this order.
#[derive(Debug)]
pub(crate) struct SearchPath {
    /// Folders with a program `node` of any version in them.
    folders: Vec<PathBuf>,
    /// Folders with one installation each, whose names tell the version.
    collections: Vec<Collection>,
    /// What programs have answered, by their real path and when they were last modified.
    answers: Mutex<HashMap<(PathBuf, SystemTime), Version>>,
}

/// A folder of a version manager.
#[derive(Debug)]
struct Collection {
    folder: PathBuf,
    /// From an installation's folder to its prefix: empty but for fnm.
    prefix: &'static str,
}

/// `major.minor.patch`.
type Version = (u32, u32, u32);

impl SearchPath {
    /// `/usr/bin`, `/usr/local/bin`, the process's `PATH`, `~/.local/bin`; then the versions of nvm, fnm,
    /// Volta, asdf, mise, nodenv and n; then what was unpacked into `/opt`, `/usr/local/lib/nodejs` and
    /// `~/.local/lib/nodejs`.
    pub(crate) fn of_process() -> Self {
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let mut folders = program_folders();
        folders.extend(home.iter().map(|home| home.join(".local/bin")));
        // What a variable names, else its default under the home folder; then the folder below it.
        let managers = [
            ("NVM_DIR", ".nvm", "versions/node", ""),
            ("FNM_DIR", ".local/share/fnm", "node-versions", "installation"),
            ("FNM_DIR", ".fnm", "node-versions", "installation"),
            ("VOLTA_HOME", ".volta", "tools/image/node", ""),
            ("ASDF_DATA_DIR", ".asdf", "installs/nodejs", ""),
            ("MISE_DATA_DIR", ".local/share/mise", "installs/node", ""),
            ("NODENV_ROOT", ".nodenv", "versions", ""),
        ];
        let mut collections = Vec::new();
        for (variable, default, below, prefix) in managers {
            let root = std::env::var_os(variable).map(PathBuf::from);
            let root = root.or_else(|| home.as_ref().map(|home| home.join(default)));
            collections.extend(root.map(|root| Collection { folder: root.join(below), prefix }));
        }
        let n = std::env::var_os("N_PREFIX").map_or_else(|| PathBuf::from("/usr/local"), PathBuf::from);
        let unpacked =
            [Some(n.join("n/versions/node")), Some("/opt".into()), Some("/usr/local/lib/nodejs".into())]
                .into_iter()
                .chain([home.map(|home| home.join(".local/lib/nodejs"))])
                .flatten();
        collections.extend(unpacked.map(|folder| Collection { folder, prefix: "" }));
        Self { folders, collections, answers: Mutex::default() }
    }

    /// The first Node whose major version is exactly this.
    pub(crate) fn find(&self, major: u32) -> Option<Interpreter> {
        let in_folders = self.folders.iter().find_map(|folder| {
            let program = fs::canonicalize(folder.join("node")).ok()?;
            let version = self.version(&program).filter(|version| version.0 == major)?;
            let folder = program.parent()?;
            let prefix = if folder.ends_with("bin") { folder.parent()? } else { folder }.to_owned();
            let program = program.strip_prefix(&prefix).ok()?.to_owned();
            Some(Interpreter { version: text(version), prefix, program, shown: Shown::Program })
        });
        in_folders.or_else(|| self.collections.iter().find_map(|collection| self.find_in(collection, major)))
    }

    /// The newest version of this major in a collection.
    fn find_in(&self, collection: &Collection, major: u32) -> Option<Interpreter> {
        let mut installations: Vec<(Version, PathBuf)> = fs::read_dir(&collection.folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter_map(|entry| Some((named_version(&entry.file_name())?, entry.path())))
            .filter(|(version, _)| version.0 == major)
            .collect();
        installations.sort_by(|one, other| other.cmp(one));
        installations.into_iter().find_map(|(_, path)| {
            let prefix = fs::canonicalize(path.join(collection.prefix)).ok()?;
            let program = fs::canonicalize(prefix.join("bin/node")).ok()?;
            let version = self.version(&program).filter(|version| version.0 == major)?;
            let program = program.strip_prefix(&prefix).ok()?.to_owned();
            Some(Interpreter { version: text(version), prefix, program, shown: Shown::Prefix })
        })
    }

    /// Asks a program what it is, unless that is known.
    fn version(&self, program: &Path) -> Option<Version> {
        let modified = fs::metadata(program).and_then(|metadata| metadata.modified()).ok()?;
        let key = (program.to_owned(), modified);
        let answers = || self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = answers().get(&key) {
            return Some(*known);
        }
        let version = parse(ask(program, &["--version"])?.trim_end())?;
        answers().insert(key, version);
        Some(version)
    }
}

/// The version in an installation's folder name: `v22.1.0`, `22.1.0`, `node-v22.1.0-linux-x64`.
fn named_version(folder: &OsStr) -> Option<Version> {
    let name = folder.to_str()?;
    let name = name.strip_prefix("node-").unwrap_or(name);
    parse(name.split('-').next()?)
}

/// A version with or without a `v` in front.
fn parse(version: &str) -> Option<Version> {
    let version = version.strip_prefix('v').unwrap_or(version);
    let mut parts = version.splitn(3, '.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

fn text((major, minor, patch): Version) -> String {
    format!("{major}.{minor}.{patch}")
}

/// What comes between Node and the bootstrap on the command line: AWS's memory and header limits, and the
/// experimental features that AWS turns off. What the function's `NODE_OPTIONS` asks for has precedence.
pub(crate) fn arguments(version: &str, memory_mb: u32, variables: &BTreeMap<String, String>) -> Vec<String> {
    let options = variables.get("NODE_OPTIONS").map_or("", String::as_str);
    let asks_for = |name: &str| options.contains(name) || options.contains(&name.replace('-', "_"));
    let mut arguments =
        vec!["--expose-gc".to_owned(), format!("--max-http-header-size={MAX_HTTP_HEADER_SIZE}")];
    if !asks_for("max-semi-space-size") && !asks_for("max-old-space-size") {
        let young = memory_mb / 10;
        arguments.push(format!("--max-semi-space-size={}", young / 2));
        arguments.push(format!("--max-old-space-size={}", memory_mb - young));
    }
    let version = parse(version).unwrap_or_default();
    // Older versions of Node 20 refuse to start with the first.
    let disabled = [
        ("require-module", matches!(version.0, 20 | 22) && version >= (20, 17, 0)),
        ("detect-module", version.0 == 22),
    ];
    for (feature, known) in disabled {
        if known && !options.contains(&format!("--experimental-{feature}")) {
            arguments.push(format!("--no-experimental-{feature}"));
        }
    }
    arguments
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn search(folders: &[&Path], collections: &[&Path]) -> SearchPath {
        SearchPath {
            folders: folders.iter().map(|folder| folder.to_path_buf()).collect(),
            collections: collections
                .iter()
                .map(|folder| Collection { folder: folder.to_path_buf(), prefix: "" })
                .collect(),
            answers: Mutex::default(),
        }
    }

    /// Some Node of this host.
    fn some_node() -> Option<(u32, PathBuf)> {
        let search = SearchPath::of_process();
        let found = (14..=26).find_map(|major| Some((major, search.find(major)?)));
        if found.is_none() {
            eprintln!("skipped: no Node.js on this host");
        }
        found.map(|(major, node)| (major, node.prefix.join(node.program)))
    }

    #[test]
    fn folder_names_of_version_managers_and_archives() {
        for (name, version) in [
            ("v22.1.0", Some((22, 1, 0))),
            ("20.10.4", Some((20, 10, 4))),
            ("node-v18.20.8-linux-x64", Some((18, 20, 8))),
            ("node-22", None),
            ("system", None),
            ("v22.1", None),
            ("lts-argon", None),
        ] {
            assert_eq!(named_version(OsStr::new(name)), version, "{name}");
        }
    }

    #[test]
    fn collections_are_searched_by_the_real_version() {
        let Some((major, node)) = some_node() else { return };
        let folder = tempfile::tempdir().unwrap();
        let install = |name: String| {
            let bin = folder.path().join(name).join("bin");
            fs::create_dir_all(&bin).unwrap();
            // A link would lead out of the prefix.
            fs::hard_link(&node, bin.join("node"))
                .or_else(|_| fs::copy(&node, bin.join("node")).map(|_| ()))
                .unwrap();
        };
        install(format!("node-v{major}.0.0-linux-x64"));
        install(format!("v{}.0.0", major + 1));
        let search = search(&[], &[folder.path()]);
        let found = search.find(major).unwrap();
        assert_eq!(found.prefix, folder.path().join(format!("node-v{major}.0.0-linux-x64")));
        assert_eq!((found.program.as_path(), found.shown), (Path::new("bin/node"), Shown::Prefix));
        assert!(found.version.starts_with(&format!("{major}.")));
        assert_eq!(search.find(major + 1), None, "its folder's name lies");
    }

    #[test]
    fn a_node_on_the_path_is_shown_alone() {
        let Some((major, node)) = some_node() else { return };
        let folder = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(&node, folder.path().join("node")).unwrap();
        let search = search(&[Path::new("/nowhere"), folder.path()], &[]);
        let found = search.find(major).unwrap();
        assert_eq!(found.prefix.join(found.program), node);
        assert_eq!(found.shown, Shown::Program);
        assert_eq!(search.find(major + 1), None);
    }

    #[test]
    fn shims_are_not_node() {
        let folder = tempfile::tempdir().unwrap();
        let shim = folder.path().join("node");
        fs::write(&shim, "#!/bin/sh\necho v22.1.0\n").unwrap();
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(search(&[folder.path()], &[]).find(22), None);
    }

    #[test]
    fn command_lines_are_awss() {
        let line = |version: &str, options: &str| {
            let variables = [("NODE_OPTIONS".to_owned(), options.to_owned())].into();
            arguments(version, 512, &variables).join(" ")
        };
        let limits = "--expose-gc --max-http-header-size=81920";
        let memory = "--max-semi-space-size=25 --max-old-space-size=461";
        let require = "--no-experimental-require-module";
        let detect = "--no-experimental-detect-module";
        assert_eq!(line("14.21.3", ""), format!("{limits} {memory}"));
        assert_eq!(line("20.10.0", ""), format!("{limits} {memory}"));
        assert_eq!(line("20.20.2", ""), format!("{limits} {memory} {require}"));
        assert_eq!(line("22.23.3", ""), format!("{limits} {memory} {require} {detect}"));
        assert_eq!(line("24.21.0", ""), format!("{limits} {memory}"));
        assert_eq!(line("22.23.3", "--experimental-require-module"), format!("{limits} {memory} {detect}"));
        assert_eq!(line("24.21.0", "--max_old_space_size=99"), limits);
        assert_eq!(line("24.21.0", "--import x --max-semi-space-size=2"), limits);
    }
}
