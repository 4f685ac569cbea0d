//! Python interpreters of the host.

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::host::{Interpreter, Shown, ask, program_folders};

/// Prints the version and the prefix, one a line.
const QUESTION: &str = "import sys; print('%d.%d.%d' % sys.version_info[:3]); print(sys.base_prefix)";

/// Where interpreters are looked for, in this order.
#[derive(Debug)]
pub(crate) struct SearchPath {
    /// Folders with `python3.X` in them.
    folders: Vec<PathBuf>,
    /// Folders with one installation each, e.g. pyenv's `versions`.
    collections: Vec<PathBuf>,
}

impl SearchPath {
    /// `/usr/bin`, `/usr/local/bin`, the process's `PATH`, pyenv's and uv's versions.
    pub(crate) fn of_process() -> Self {
        let folders = program_folders();
        let home = std::env::var_os("HOME").map(PathBuf::from);
        let in_home = |path: &str| home.as_ref().map(|home| home.join(path));
        let pyenv = std::env::var_os("PYENV_ROOT").map(PathBuf::from).or_else(|| in_home(".pyenv"));
        let uv = std::env::var_os("UV_PYTHON_INSTALL_DIR")
            .map(PathBuf::from)
            .or_else(|| in_home(".local/share/uv/python"));
        let collections = pyenv.map(|root| root.join("versions")).into_iter().chain(uv).collect();
        Self { folders, collections }
    }

    /// The first interpreter that is exactly Python 3.`minor`.
    pub(crate) fn find(&self, minor: u32) -> Option<Interpreter> {
        let name = format!("python3.{minor}");
        let in_folders = self.folders.iter().map(|folder| folder.join(&name));
        let in_collections = self.collections.iter().flat_map(|collection| {
            let mut installations: Vec<(u64, PathBuf)> = fs::read_dir(collection)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|entry| Some((patch_version(&entry.file_name(), minor)?, entry.path())))
                .collect();
            // The newest patch version first.
            installations.sort_by(|one, other| other.cmp(one));
            installations.into_iter().map(|(_, path)| path.join("bin").join(&name)).collect::<Vec<_>>()
        });
        in_folders.chain(in_collections).find_map(|program| probe(&program, minor))
    }
}

/// Why there can be no zygote of an interpreter; `None` if there can. Blocks: it runs the interpreter and looks
/// at all its files.
///
/// A zygote executes the interpreter's files, installed packages' `.pth` files among them, with rights that
/// functions do not have. So they must be files that only root or the server's own user can change.
pub(crate) fn unfit_for_zygote(interpreter: &Interpreter) -> Option<String> {
    if let Some(path) = foreign_file(interpreter) {
        return Some(format!("{} may be changed by other users", path.display()));
    }
    let program = interpreter.prefix.join(&interpreter.program);
    let imports = ask(&program, &["-I", "-S", "-c", "import _ctypes, _socket; print()"]);
    imports
        .is_none()
        .then(|| "the interpreter has no module _ctypes (it was built without libffi)".to_owned())
}

/// A file or folder of an interpreter that others than root and this process's user may change.
fn foreign_file(interpreter: &Interpreter) -> Option<PathBuf> {
    let own = fs::metadata("/proc/self").map_or(0, |metadata| metadata.uid());
    let is_foreign = |metadata: &fs::Metadata| {
        let by_all = metadata.mode() & 0o002 != 0 && !metadata.is_symlink();
        by_all || (metadata.uid() != 0 && metadata.uid() != own)
    };
    let prefix = &interpreter.prefix;
    let program = prefix.join(&interpreter.program);
    let minor = interpreter.version.rsplit_once('.').map_or("", |(minor, _)| minor);
    let mut libraries: Vec<PathBuf> = ["lib", "lib64"]
        .into_iter()
        .flat_map(|folder| [format!("{folder}/python{minor}"), format!("{folder}/python3")])
        .map(|folder| prefix.join(folder))
        .collect();
    for folder in [prefix.clone(), prefix.join("bin"), prefix.join("lib"), program] {
        if fs::symlink_metadata(&folder).is_ok_and(|metadata| is_foreign(&metadata)) {
            return Some(folder);
        }
    }
    while let Some(path) = libraries.pop() {
        // Some of these folders are nowhere.
        let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
        if is_foreign(&metadata) {
            return Some(path);
        }
        if metadata.is_dir() {
            libraries.extend(fs::read_dir(&path).into_iter().flatten().flatten().map(|entry| entry.path()));
        }
    }
    None
}

/// The patch version in an installation's folder name: `3.12.1`, `cpython-3.12.1-linux-x86_64-gnu`.
fn patch_version(folder: &OsString, minor: u32) -> Option<u64> {
    let name = folder.to_str()?;
    let version = name.strip_prefix("cpython-").unwrap_or(name).split('-').next()?;
    version.strip_prefix(&format!("3.{minor}."))?.parse().ok()
}

/// Asks a program what it is; `None` unless it is Python 3.`minor`.
fn probe(program: &Path, minor: u32) -> Option<Interpreter> {
    let program = fs::canonicalize(program).ok()?;
    let answer = ask(&program, &["-I", "-S", "-c", QUESTION])?;
    let (version, prefix) = answer.trim_end().split_once('\n')?;
    let prefix = fs::canonicalize(prefix).ok()?;
    let relative = program.strip_prefix(&prefix).ok()?.to_owned();
    version.starts_with(&format!("3.{minor}.")).then(|| Interpreter {
        version: version.to_owned(),
        prefix,
        program: relative,
        shown: Shown::Prefix,
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn folder_names_of_pyenv_and_uv() {
        for (name, minor, patch) in [
            ("3.12.1", 12, Some(1)),
            ("3.12.10", 12, Some(10)),
            ("3.1.2", 12, None),
            ("cpython-3.9.18-linux-x86_64-gnu", 9, Some(18)),
            ("pypy3.10-7.3.12", 10, None),
            ("3.13.0t", 13, None),
        ] {
            assert_eq!(patch_version(&name.into(), minor), patch, "{name}");
        }
    }

    #[test]
    fn scripts_are_not_interpreters() {
        let folder = tempfile::tempdir().unwrap();
        let shim = folder.path().join("python3.12");
        fs::write(&shim, "#!/bin/sh\necho 3.12.1\necho /usr\n").unwrap();
        fs::set_permissions(&shim, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(probe(&shim, 12), None);
        let search = SearchPath { folders: vec![folder.path().into()], collections: vec!["/nowhere".into()] };
        assert_eq!(search.find(12), None);
    }

    #[test]
    fn zygotes_run_only_what_root_or_the_server_may_change() {
        let folder = tempfile::tempdir().unwrap();
        let library = folder.path().join("lib/python3.12/site-packages");
        fs::create_dir_all(&library).unwrap();
        let file = library.join("x.pth");
        fs::write(&file, "").unwrap();
        let interpreter = Interpreter {
            version: "3.12.1".into(),
            prefix: folder.path().into(),
            program: "bin/python3.12".into(),
            shown: Shown::Prefix,
        };
        assert_eq!(foreign_file(&interpreter), None);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        assert_eq!(foreign_file(&interpreter), Some(file.clone()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        if std::os::unix::fs::chown(&file, Some(12_345), None).is_ok() {
            assert_eq!(foreign_file(&interpreter), Some(file));
        } else {
            eprintln!("skipped in part: only root can give files away");
        }
    }

    #[test]
    fn another_version_under_the_name_is_refused() {
        let search = SearchPath::of_process();
        let Some(found) = (8..=14).find_map(|minor| Some((minor, search.find(minor)?))) else {
            eprintln!("skipped: no Python on this host");
            return;
        };
        let folder = tempfile::tempdir().unwrap();
        let other = found.0 + 1;
        let link = folder.path().join(format!("python3.{other}"));
        std::os::unix::fs::symlink(found.1.prefix.join(&found.1.program), link).unwrap();
        let lying = SearchPath { folders: vec![folder.path().into()], collections: Vec::new() };
        assert_eq!(lying.find(other), None);
    }
}
