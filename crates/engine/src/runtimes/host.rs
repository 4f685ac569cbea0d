//! What all interpreters of the host have in common.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// An interpreter on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Interpreter {
    /// Full version, e.g. `3.12.1`.
    pub(crate) version: String,
    /// Where it is installed.
    pub(crate) prefix: PathBuf,
    /// The program, relative to the prefix, e.g. `bin/python3.12`.
    pub(crate) program: PathBuf,
    /// What functions get to see of it.
    pub(crate) shown: Shown,
}

/// How much of an installation outside `/usr` functions see.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shown {
    /// Everything under the prefix.
    Prefix,
    /// The program alone: it needs no other file, and other things may live under the prefix.
    Program,
}

/// Where programs are looked for first: `/usr/bin`, `/usr/local/bin`, then the process's `PATH`.
pub(super) fn program_folders() -> Vec<PathBuf> {
    let mut folders: Vec<PathBuf> = vec!["/usr/bin".into(), "/usr/local/bin".into()];
    let path = std::env::var_os("PATH").unwrap_or_default();
    for folder in std::env::split_paths(&path).filter(|folder| folder.is_absolute()) {
        if !folders.contains(&folder) {
            folders.push(folder);
        }
    }
    folders
}

/// What a program of the host prints; `None` unless it is a native one and succeeds. It sees no environment
/// variables.
pub(super) fn ask(program: &Path, arguments: &[&str]) -> Option<String> {
    // The shims of version managers are scripts that pick some version.
    let mut magic = [0; 4];
    File::open(program).ok()?.read_exact(&mut magic).ok()?;
    if &magic != b"\x7fELF" {
        return None;
    }
    let output = Command::new(program)
        .args(arguments)
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .output()
        .ok()
        .filter(|output| output.status.success())?;
    String::from_utf8(output.stdout).ok()
}
