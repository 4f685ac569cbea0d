//! No control groups: sandboxes whose limits are kept by rlimits and by watching them ([`crate::watch`]).

use std::collections::HashSet;
use std::fs::{self, File};
use std::io;
use std::os::fd::BorrowedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Controls, Group, Limits, Place, Threshold};
use crate::error::{Context, SandboxError};
use crate::sys;
use crate::sys::poll::Interest;

/// A folder of the server's own in place of cgroups.
#[derive(Debug)]
pub(crate) struct NoGroups {
    folder: PathBuf,
    /// Whether each sandbox has a folder in it.
    has_folders: bool,
    description: String,
    weaknesses: Vec<String>,
}

impl NoGroups {
    /// For sandboxes with namespaces. `reason` is why there are no cgroups.
    pub(crate) fn watched(folder: &Path, reason: &str) -> NoGroups {
        NoGroups {
            folder: folder.to_owned(),
            has_folders: false,
            description: format!("no cgroups ({reason})"),
            weaknesses: vec![
                "CPU time is not limited: there is no cgroup to do it".to_owned(),
                "memory is limited by watching: a function can have too much for some tens of milliseconds, \
                 and /tmp counts as nobody's"
                    .to_owned(),
            ],
        }
    }

    /// For plain processes.
    pub(crate) fn processes(folder: &Path) -> NoGroups {
        NoGroups {
            folder: folder.to_owned(),
            has_folders: true,
            description: "plain processes".to_owned(),
            weaknesses: vec![
                "functions are not isolated: they can read, change and kill whatever the server's user can"
                    .to_owned(),
                "CPU time and the size of /tmp are not limited; memory and processes are limited by watching"
                    .to_owned(),
            ],
        }
    }
}

impl Place for NoGroups {
    fn describe(&self) -> String {
        self.description.clone()
    }

    fn create(&self, id: &str, _limits: &Limits) -> Result<Box<dyn Group>, SandboxError> {
        let folder = if self.has_folders {
            // A name may come again while an init of a lost spawner still removes what it had under it.
            let [a, b, c, d] = sys::random().step("choose a name")?;
            let path = self.folder.join(format!("{id}-{a:02x}{b:02x}{c:02x}{d:02x}"));
            fs::create_dir(&path).at("make folder", &path.to_string_lossy())?;
            Some(path)
        } else {
            None
        };
        Ok(Box::new(NoGroup { folder, controls: Controls::default() }))
    }

    fn folders(&self) -> Vec<&Path> {
        vec![&self.folder]
    }

    fn clear(&self, patience: Duration) -> Result<usize, SandboxError> {
        let deadline = Instant::now() + patience;
        let mut seen = HashSet::new();
        loop {
            let entries = fs::read_dir(&self.folder).at("read folder", &self.folder.to_string_lossy())?;
            let mut problem = None;
            for entry in entries.flatten() {
                let path = entry.path();
                if let Err(error) = remove_tree(&path) {
                    problem = Some(SandboxError::at("remove", &path.to_string_lossy(), &error));
                }
                seen.insert(path);
            }
            match problem {
                None => return Ok(seen.len()),
                Some(error) if Instant::now() >= deadline => return Err(error),
                // Processes of a predecessor may still be ending, and writing.
                Some(_) => std::thread::sleep(Duration::from_millis(2)),
            }
        }
    }

    fn weaknesses(&self) -> Vec<String> {
        self.weaknesses.clone()
    }

    fn limits(&self) -> bool {
        false
    }
}

/// Removes a folder with all that is in it, whatever permissions its owner has taken from itself.
pub(crate) fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            open_up(path);
            fs::remove_dir_all(path)
        }
        other => other,
    }
}

/// Lets the owner into all folders of a tree.
fn open_up(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let is_folder = fs::symlink_metadata(path).is_ok_and(|metadata| metadata.is_dir());
    if !is_folder {
        return;
    }
    let _ = fs::set_permissions(path, fs::Permissions::from_mode(0o700));
    for entry in fs::read_dir(path).into_iter().flatten().flatten() {
        open_up(&entry.path());
    }
}

/// In place of a sandbox's group.
#[derive(Debug)]
struct NoGroup {
    /// The sandbox's own.
    folder: Option<PathBuf>,
    controls: Controls,
}

impl Group for NoGroup {
    fn folder(&self) -> Option<&Path> {
        self.folder.as_deref()
    }

    fn clone_target(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    fn entries(&self) -> &[File] {
        &[]
    }

    fn threshold(&self) -> Option<Threshold<'_>> {
        None
    }

    fn cloned(&mut self) {}

    fn controls(&self) -> &Controls {
        &self.controls
    }

    fn memory_events(&self) -> Option<(BorrowedFd<'_>, Interest)> {
        None
    }

    fn allow_for(&mut self, _tmp_used: u64) -> io::Result<()> {
        Ok(())
    }

    fn kernel_killed(&self) -> bool {
        false
    }

    fn remove(&mut self) -> io::Result<()> {
        self.folder.as_ref().map_or(Ok(()), |folder| remove_tree(folder))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_come_and_go() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { memory_bytes: 1, tmp_bytes: 1, pids_max: 1, cpu_quota_us: None };
        let place = NoGroups::processes(dir.path());
        let mut group = place.create("a", &limits).unwrap();
        let folder = group.folder().unwrap().to_owned();
        fs::create_dir_all(folder.join("tmp/deep")).unwrap();
        fs::set_permissions(folder.join("tmp"), std::os::unix::fs::PermissionsExt::from_mode(0o000)).unwrap();
        assert_ne!(place.create("a", &limits).unwrap().folder().unwrap(), folder);
        assert_eq!(place.clear(Duration::ZERO).unwrap(), 2);
        group.remove().unwrap();
        group.remove().unwrap();
        place.create("b", &limits).unwrap();
        assert_eq!(place.clear(Duration::ZERO).unwrap(), 1);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        let mut group = NoGroups::watched(dir.path(), "why").create("c", &limits).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        group.remove().unwrap();
    }
}
