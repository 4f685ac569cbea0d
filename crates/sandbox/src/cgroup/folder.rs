//! Folders of a cgroup hierarchy: making, writing, clearing, removing.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::error::{Context, SandboxError};
use crate::sys::{self, process};

/// Makes `name` below `mount_point`, or below our own group where the root is not ours to write.
pub(crate) fn make_instance(
    mount_point: &Path,
    own_path: Option<&str>,
    name: &str,
) -> Result<PathBuf, SandboxError> {
    let at_root = mount_point.join(name);
    let Err(error) = make(&at_root) else { return Ok(at_root) };
    let own = own_path.map(|path| path.trim_start_matches('/')).unwrap_or_default();
    if own.is_empty() {
        return Err(SandboxError::at("make cgroup", &at_root.to_string_lossy(), &error));
    }
    let in_own = mount_point.join(own).join(name);
    make(&in_own).at("make cgroup", &in_own.to_string_lossy())?;
    Ok(in_own)
}

fn make(path: &Path) -> io::Result<()> {
    match fs::create_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    }
}

/// Writes a control file.
pub(crate) fn write(folder: &Path, name: &str, text: &str) -> Result<(), SandboxError> {
    let path = folder.join(name);
    OpenOptions::new()
        .write(true)
        .open(&path)
        .and_then(|file| sys::write_at_start(&file, text))
        .at(&format!("write {text} to"), &path.to_string_lossy())
}

/// Opens a control file for reading.
pub(crate) fn open(folder: &Path, name: &str) -> Result<File, SandboxError> {
    let path = folder.join(name);
    File::open(&path).at("open", &path.to_string_lossy())
}

/// Opens a control file for writing.
pub(crate) fn open_for_writing(folder: &Path, name: &str) -> Result<File, SandboxError> {
    let path = folder.join(name);
    OpenOptions::new().write(true).open(&path).at("open", &path.to_string_lossy())
}

/// Removes a group's folder: `Ok` if it is not there (any more), `WouldBlock` while processes are still
/// leaving it.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {
            Err(io::Error::from(io::ErrorKind::WouldBlock))
        }
        other => other,
    }
}

/// Takes the lock that tells a live spawner from a dead one, waiting up to `patience` for the
/// predecessor to finish its clean-up. Held as long as the file is.
pub(crate) fn lock(folder: &Path, patience: Duration) -> Result<File, SandboxError> {
    use std::os::unix::fs::MetadataExt;
    let deadline = Instant::now() + patience;
    let name = folder.to_string_lossy().into_owned();
    loop {
        make(folder).at("make cgroup", &name)?;
        let file = File::open(folder).at("open", &name)?;
        match sys::try_lock(&file) {
            Ok(()) => {
                // The predecessor may have removed the folder while we opened it.
                let same = file.metadata().and_then(|held| {
                    fs::metadata(folder).map(|now| now.ino() == held.ino() && now.dev() == held.dev())
                });
                if matches!(same, Ok(true)) {
                    return Ok(file);
                }
            }
            Err(error) if Instant::now() >= deadline => {
                return Err(SandboxError::at("lock (is another server using it?)", &name, &error));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(5)),
        }
    }
}

/// Kills all processes in the groups below the folders and removes those groups. Returns how many groups
/// there were.
pub(crate) fn clear(folders: &[&Path], patience: Duration) -> Result<usize, SandboxError> {
    let deadline = Instant::now() + patience;
    let mut seen = 0;
    loop {
        let mut left = Vec::new();
        for folder in folders {
            left.extend(children(folder));
        }
        seen = seen.max(left.len());
        // All are killed before any is thawed or removed: their processes are in several hierarchies.
        for group in &left {
            for pid in members(group) {
                // Gone meanwhile is fine.
                let _ = process::signal_pid(pid, libc::SIGKILL);
            }
        }
        let mut problem = None;
        for group in &left {
            // Only the freezer of v1 has the file; a frozen process cannot die there.
            if group.join("freezer.state").exists() {
                let _ = write(group, "freezer.state", "THAWED");
            }
            if let Err(error) = remove(group) {
                problem = Some((group.clone(), error));
            }
        }
        match problem {
            None => return Ok(seen),
            Some((group, error)) if Instant::now() >= deadline => {
                return Err(SandboxError::at("remove cgroup", &group.to_string_lossy(), &error));
            }
            Some(_) => std::thread::sleep(Duration::from_millis(2)),
        }
    }
}

fn children(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        .map(|entry| entry.path())
        .collect()
}

fn members(group: &Path) -> Vec<i32> {
    let text = fs::read_to_string(group.join("cgroup.procs")).unwrap_or_default();
    // 0 stands for a process of a pid namespace we cannot see.
    text.lines().filter_map(|line| line.parse().ok()).filter(|pid| *pid > 0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instance_folder_at_the_root_or_in_our_own_group() {
        let root = tempfile::tempdir().unwrap();
        let made = make_instance(root.path(), Some("/a"), "lambkin-x").unwrap();
        assert_eq!(made, root.path().join("lambkin-x"));
        assert!(made.is_dir());
        assert_eq!(make_instance(root.path(), None, "lambkin-x").unwrap(), made);
        let missing = root.path().join("missing");
        let error = make_instance(&missing, Some("/"), "lambkin-x").unwrap_err();
        assert!(error.to_string().contains("lambkin-x: No such file"), "{error}");
    }

    #[test]
    fn lock_is_exclusive_and_released() {
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("lambkin-x");
        let held = lock(&folder, Duration::ZERO).unwrap();
        assert!(lock(&folder, Duration::ZERO).is_err());
        drop(held);
        lock(&folder, Duration::ZERO).unwrap();
    }

    #[test]
    fn clearing_removes_empty_groups() {
        let root = tempfile::tempdir().unwrap();
        for name in ["a", "b"] {
            fs::create_dir(root.path().join(name)).unwrap();
        }
        assert_eq!(clear(&[root.path()], Duration::ZERO).unwrap(), 2);
        assert_eq!(clear(&[root.path()], Duration::ZERO).unwrap(), 0);
    }
}
