//! The root of a sandbox: an own tmpfs with what the spec binds into it, read-only but for `/tmp`.
//!
//! All sources are taken as detached mounts first; then the empty new root replaces the old one; only then
//! are targets made and mounts attached. So no path of the spec is ever looked up on the host except the
//! sources, and a symbolic link inside cannot lead out.

use std::ffi::CString;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{Input, merge};
use crate::error::{Context, SandboxError};
use crate::spec::SandboxSpec;
use crate::sys::mount::{self, FileSystem, NODEV, NOEXEC, NOSUID, RDONLY};
use crate::sys::{c_string, process};

/// `/dev` of a sandbox: name, major and minor number. No terminals, no shared memory.
const DEVICES: [(&str, u32, u32); 5] =
    [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9)];

/// Links in `/dev`.
const DEVICE_LINKS: [(&str, &str); 4] = [
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
];

/// Files of `/proc` that tell about the host or act on it; they read as empty.
const MASKED_FILES: [&str; 11] = [
    "cmdline",
    "config.gz",
    "kallsyms",
    "kcore",
    "keys",
    "kmsg",
    "latency_stats",
    "sched_debug",
    "sysrq-trigger",
    "timer_list",
    "vmcore",
];

/// Folders of `/proc` that are empty inside.
const MASKED_FOLDERS: [&str; 3] = ["acpi", "asound", "scsi"];

/// Folders of `/proc` that cannot be written to.
const READ_ONLY_FOLDERS: [&str; 4] = ["bus", "fs", "irq", "sys"];

/// One inode of `/tmp` for so many bytes of it, as file systems on disk have it: bounds kernel memory.
const TMP_BYTES_PER_INODE: u64 = 16 * 1024;

/// What the rest of the set-up needs of the new root.
#[derive(Debug)]
pub(super) struct Root {
    /// `/tmp`, for measuring it.
    pub(super) tmp: OwnedFd,
    /// `/proc/sys/user`, not yet read-only.
    pub(super) user_sysctl: OwnedFd,
}

/// A detached mount and where it is to go.
struct Tree {
    mount: OwnedFd,
    target: String,
}

/// Folders to be merged by links, and where. They are paths inside.
struct Merge {
    target: String,
    folders: Vec<PathBuf>,
}

/// Where folders that are merged by links lie.
const MERGED_FOLDERS: &str = "/.layers";

/// Builds the root and moves into it.
pub(super) fn build(input: &Input<'_>) -> Result<Root, SandboxError> {
    let spec = input.spec;
    mount::make_all_private().step("make mounts private")?;
    let mut sources = Sources::detach(spec, input.makes_devices)?;
    // Without root this is only allowed while another one is still to be seen.
    let proc = FileSystem::open(c"proc")
        .and_then(|proc| proc.mount(NOSUID | NODEV | NOEXEC))
        .step("make proc file system")?;
    enter_new_root()?;
    process::set_umask(0);
    sources.make_entries(spec)?;
    let user_sysctl = mount_proc(proc.as_fd(), input.has_group)?;
    let tmp = mount_tmp(spec.tmp_bytes, input.ids)?;
    sources.attach()?;
    Ok(Root { tmp, user_sysctl })
}

/// Builds the root of a zygote and moves into it: that of a sandbox, without anything to be written. Its
/// processes are those of the host: the zygote is one of them, and dynamic linkers look for themselves there.
pub(super) fn build_for_zygote(spec: &SandboxSpec, makes_devices: bool) -> Result<(), SandboxError> {
    mount::make_all_private().step("make mounts private")?;
    let mut sources = Sources::detach(spec, makes_devices)?;
    sources.trees.push(Tree { mount: detach(Path::new("/proc"))?, target: "/proc".to_owned() });
    enter_new_root()?;
    process::set_umask(0);
    sources.make_entries(spec)?;
    sources.attach()
}

/// What a spec has of the host, on its way.
struct Sources {
    trees: Vec<Tree>,
    merges: Vec<Merge>,
    devices: Vec<Tree>,
}

impl Sources {
    fn detach(spec: &SandboxSpec, makes_devices: bool) -> Result<Sources, SandboxError> {
        let (trees, merges) = detach_sources(spec)?;
        let devices = if makes_devices { Vec::new() } else { detach_devices()? };
        Ok(Sources { trees, merges, devices })
    }

    /// Makes devices, links and files in the new root.
    fn make_entries(&mut self, spec: &SandboxSpec) -> Result<(), SandboxError> {
        make_devices(std::mem::take(&mut self.devices))?;
        for (link, target) in &spec.symlinks {
            make_parents(link)?;
            symlink(target, link).at("make symbolic link", link)?;
        }
        for (path, content) in &spec.files {
            make_parents(path)?;
            write_file(path, content).at("make file", path)?;
        }
        Ok(())
    }

    /// Puts the rest into the new root and makes that read-only.
    fn attach(&self) -> Result<(), SandboxError> {
        for tree in &self.trees {
            make_target(tree)?;
            attach(tree.mount.as_fd(), &tree.target)?;
        }
        for merge in &self.merges {
            merge::link(Path::new(&merge.target), &merge.folders).at("merge folders at", &merge.target)?;
        }
        mount::set_path_attributes(c"/", RDONLY | NOSUID).at("make read-only", "/")
    }
}

fn attach(mount: BorrowedFd<'_>, target: &str) -> Result<(), SandboxError> {
    c_string(target).and_then(|path| mount::attach(mount, &path)).at("mount on", target)
}

fn detach_sources(spec: &SandboxSpec) -> Result<(Vec<Tree>, Vec<Merge>), SandboxError> {
    let mut trees = Vec::with_capacity(spec.binds.len() + spec.overlays.len());
    for bind in &spec.binds {
        match detach(&bind.source) {
            Ok(mount) => trees.push(Tree { mount, target: bind.target.clone() }),
            Err(SandboxError::Step { errno: libc::ENOENT, .. }) if bind.optional => {}
            Err(error) => return Err(error),
        }
    }
    let mut merges = Vec::new();
    for (number, (target, sources)) in spec.overlays.iter().enumerate() {
        let mount = match sources.as_slice() {
            [] => continue,
            // An overlay needs two; one alone is a plain bind.
            [only] => detach(only)?,
            several => match overlay(several, target) {
                Ok(mount) => mount,
                // Not every kernel has it, and not every one lets a user have it.
                Err(_) => {
                    let place = |index: usize| format!("{MERGED_FOLDERS}/{number}/{index}");
                    for (index, source) in several.iter().enumerate() {
                        trees.push(Tree { mount: detach(source)?, target: place(index) });
                    }
                    let folders = (0..several.len()).map(|index| place(index).into()).collect();
                    merges.push(Merge { target: target.clone(), folders });
                    continue;
                }
            },
        };
        trees.push(Tree { mount, target: target.clone() });
    }
    Ok((trees, merges))
}

fn path_string(path: &Path) -> io::Result<CString> {
    use std::os::unix::ffi::OsStrExt;
    CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// A read-only copy of the mounts at and below a path.
fn detach(source: &Path) -> Result<OwnedFd, SandboxError> {
    path_string(source)
        .and_then(|path| mount::open_tree(&path, true))
        .and_then(|tree| {
            mount::set_attributes(tree.as_fd(), RDONLY | NOSUID | NODEV, true)?;
            Ok(tree)
        })
        .at("bind", &source.to_string_lossy())
}

/// A read-only merge of folders, the last on top. The folders are named by descriptor: a mount option may
/// have only 255 bytes, and the options can be read inside.
fn overlay(sources: &[std::path::PathBuf], target: &str) -> Result<OwnedFd, SandboxError> {
    let folders: Vec<File> = sources
        .iter()
        .map(|source| {
            File::options()
                .read(true)
                .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
                .open(source)
                .at("open layer", &source.to_string_lossy())
        })
        .collect::<Result<_, _>>()?;
    let names: Vec<String> =
        folders.iter().rev().map(|folder| format!("/proc/self/fd/{}", folder.as_raw_fd())).collect();
    FileSystem::open(c"overlay")
        .and_then(|overlay| {
            overlay.set(c"lowerdir", &names.join(":"))?;
            // The other attributes are for root of the host alone. Unknown before Linux 5.11.
            overlay.set_flag(c"userxattr")?;
            overlay.mount(RDONLY | NOSUID | NODEV)
        })
        .at("make overlay for", target)
}

fn enter_new_root() -> Result<(), SandboxError> {
    // It is mounted over a folder that exists on every host; what is hidden by it is not needed any more.
    let base = "/proc";
    let root = tmpfs(&[(c"size", "16m"), (c"nr_inodes", "65536"), (c"mode", "755")], NOSUID)
        .step("make root file system")?;
    attach(root.as_fd(), base)?;
    std::env::set_current_dir(base).at("change directory to", base)?;
    mount::pivot_into_working_dir().step("change root")
}

fn tmpfs(options: &[(&std::ffi::CStr, &str)], attributes: u64) -> io::Result<OwnedFd> {
    let file_system = FileSystem::open(c"tmpfs")?;
    for (name, value) in options {
        file_system.set(name, value)?;
    }
    file_system.mount(attributes)
}

fn make_folder(path: &str) -> Result<(), SandboxError> {
    DirBuilder::new().recursive(true).mode(0o755).create(path).at("make folder", path)
}

fn make_parents(path: &str) -> Result<(), SandboxError> {
    match Path::new(path).parent().and_then(Path::to_str) {
        Some(parent) => make_folder(parent),
        None => Ok(()),
    }
}

fn write_file(path: &str, content: &str) -> io::Result<()> {
    use std::io::Write;
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o644).open(path)?;
    file.write_all(content.as_bytes())
}

/// Makes the folder or empty file that a mount is to lie over.
fn make_target(tree: &Tree) -> Result<(), SandboxError> {
    let source = tree.mount.try_clone().and_then(|mount| File::from(mount).metadata());
    let is_folder = source.at("inspect source of", &tree.target)?.is_dir();
    if is_folder {
        return make_folder(&tree.target);
    }
    make_parents(&tree.target)?;
    if !Path::new(&tree.target).exists() {
        write_file(&tree.target, "").at("make file", &tree.target)?;
    }
    Ok(())
}

/// The host's devices, one by one.
fn detach_devices() -> Result<Vec<Tree>, SandboxError> {
    let device = |(name, _, _): (&str, u32, u32)| {
        let target = format!("/dev/{name}");
        let mount = c_string(&target).and_then(|path| mount::open_tree(&path, false)).and_then(|tree| {
            mount::set_attributes(tree.as_fd(), NOSUID | NOEXEC, false)?;
            Ok(tree)
        });
        Ok(Tree { mount: mount.at("bind", &target)?, target })
    };
    DEVICES.into_iter().map(device).collect()
}

/// Puts the host's devices into `/dev`, or new nodes if there are none of the host.
fn make_devices(of_host: Vec<Tree>) -> Result<(), SandboxError> {
    make_folder("/dev")?;
    if of_host.is_empty() {
        for (name, major, minor) in DEVICES {
            let path = format!("/dev/{name}");
            c_string(&path)
                .and_then(|name| mount::make_device(&name, major, minor))
                .at("make device", &path)?;
        }
    }
    for tree in of_host {
        write_file(&tree.target, "").at("make file", &tree.target)?;
        attach(tree.mount.as_fd(), &tree.target)?;
    }
    for (name, target) in DEVICE_LINKS {
        let path = format!("/dev/{name}");
        symlink(target, &path).at("make symbolic link", &path)?;
    }
    Ok(())
}

/// Mounts `/proc`, masks what must not be seen, and returns `/proc/sys/user` from before it became
/// read-only.
fn mount_proc(proc: BorrowedFd<'_>, has_group: bool) -> Result<OwnedFd, SandboxError> {
    make_folder("/proc")?;
    attach(proc, "/proc")?;
    if !has_group {
        // System V shared memory can lie about without any process having it, and only a cgroup would count
        // it. Old kernels let only root of the host forbid it.
        let _ = fs::write("/proc/sys/kernel/shmall", "0");
    }
    let user_sysctl = File::options()
        .read(true)
        .custom_flags(libc::O_PATH | libc::O_DIRECTORY)
        .open("/proc/sys/user")
        .at("open", "/proc/sys/user")?;
    for name in MASKED_FILES {
        let path = format!("/proc/{name}");
        if Path::new(&path).exists() {
            let null = mount::open_tree(c"/dev/null", false).at("bind", "/dev/null")?;
            attach(null.as_fd(), &path)?;
        }
    }
    for name in MASKED_FOLDERS {
        let path = format!("/proc/{name}");
        if Path::new(&path).exists() {
            let empty = tmpfs(&[(c"size", "0"), (c"mode", "555")], RDONLY | NOSUID | NODEV | NOEXEC)
                .at("mask", &path)?;
            attach(empty.as_fd(), &path)?;
        }
    }
    for name in READ_ONLY_FOLDERS {
        let path = format!("/proc/{name}");
        if Path::new(&path).exists() {
            c_string(&path)
                .and_then(|name| {
                    let tree = mount::open_tree(&name, false)?;
                    mount::set_attributes(tree.as_fd(), RDONLY | NOSUID | NODEV | NOEXEC, false)?;
                    mount::attach(tree.as_fd(), &name)
                })
                .at("make read-only", &path)?;
        }
    }
    Ok(user_sysctl.into())
}

fn mount_tmp(bytes: u64, ids: (u32, u32)) -> Result<OwnedFd, SandboxError> {
    make_folder("/tmp")?;
    let inodes = (bytes / TMP_BYTES_PER_INODE).max(1024).to_string();
    // Less than a page would mean "no limit".
    let (size, user, group) = (bytes.max(4096).to_string(), ids.0.to_string(), ids.1.to_string());
    let options = [
        (c"size", size.as_str()),
        (c"nr_inodes", inodes.as_str()),
        (c"mode", "1777"),
        (c"uid", user.as_str()),
        (c"gid", group.as_str()),
    ];
    let tmp = tmpfs(&options, NOSUID | NODEV).at("make file system for", "/tmp")?;
    attach(tmp.as_fd(), "/tmp")?;
    Ok(tmp)
}
