//! The mount system calls of Linux 5.12: detached mounts that are configured before anybody can see them.

#![expect(unsafe_code, reason = "system calls without a wrapper in the C library")]

use std::ffi::{CStr, c_int, c_uint};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{c_string, check, check_long, own};

/// The mount cannot be written to.
pub(crate) const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
/// Set-user-id bits are ignored.
pub(crate) const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
/// Device nodes are ignored.
pub(crate) const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
/// Nothing can be executed.
pub(crate) const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

const EMPTY: &CStr = c"";
const FSCONFIG_SET_FLAG: c_uint = 0;
const FSCONFIG_SET_STRING: c_uint = 1;
const FSCONFIG_CMD_CREATE: c_uint = 6;

/// A file system being configured.
#[derive(Debug)]
pub(crate) struct FileSystem(OwnedFd);

impl FileSystem {
    /// Starts configuring a file system of a kind such as `tmpfs`.
    pub(crate) fn open(kind: &CStr) -> io::Result<FileSystem> {
        const FSOPEN_CLOEXEC: c_uint = 1;
        // SAFETY: `kind` is a terminated string.
        let fd = unsafe { check_long(libc::syscall(libc::SYS_fsopen, kind.as_ptr(), FSOPEN_CLOEXEC))? };
        Ok(FileSystem(own(fd as RawFd)))
    }

    /// Sets an option that has a value (at most 255 bytes).
    pub(crate) fn set(&self, name: &CStr, value: &str) -> io::Result<()> {
        self.configure(FSCONFIG_SET_STRING, Some(name), Some(&c_string(value)?))
    }

    /// Sets an option without a value.
    pub(crate) fn set_flag(&self, name: &CStr) -> io::Result<()> {
        self.configure(FSCONFIG_SET_FLAG, Some(name), None)
    }

    /// Makes the file system (or takes an existing one where the kind has only one).
    pub(crate) fn create(&self) -> io::Result<()> {
        self.configure(FSCONFIG_CMD_CREATE, None, None)
    }

    fn configure(&self, command: c_uint, name: Option<&CStr>, value: Option<&CStr>) -> io::Result<()> {
        let name = name.map_or(std::ptr::null(), CStr::as_ptr);
        let value = value.map_or(std::ptr::null(), CStr::as_ptr);
        // SAFETY: both pointers are null or terminated strings that outlive the call.
        unsafe {
            check_long(libc::syscall(libc::SYS_fsconfig, self.0.as_raw_fd(), command, name, value, 0))?;
        }
        Ok(())
    }

    /// Makes the file system and a detached mount of it.
    pub(crate) fn mount(self, attributes: u64) -> io::Result<OwnedFd> {
        const FSMOUNT_CLOEXEC: c_uint = 1;
        self.create()?;
        // SAFETY: plain integers.
        let fd = unsafe {
            check_long(libc::syscall(
                libc::SYS_fsmount,
                self.0.as_raw_fd(),
                FSMOUNT_CLOEXEC,
                attributes as c_uint,
            ))?
        };
        Ok(own(fd as RawFd))
    }
}

/// A detached copy of the mount at `path`, with all mounts below it when `recursive`.
pub(crate) fn open_tree(path: &CStr, recursive: bool) -> io::Result<OwnedFd> {
    let mut flags = libc::OPEN_TREE_CLONE | libc::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= libc::AT_RECURSIVE as c_uint;
    }
    // SAFETY: `path` is a terminated string.
    let fd = unsafe { check_long(libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags))? };
    Ok(own(fd as RawFd))
}

/// Adds attributes to a mount, and to all below it when `recursive`.
pub(crate) fn set_attributes(mount: BorrowedFd<'_>, attributes: u64, recursive: bool) -> io::Result<()> {
    set_attributes_at(mount.as_raw_fd(), EMPTY, attributes, recursive)
}

/// As [`set_attributes`], for the mount at a path.
pub(crate) fn set_path_attributes(path: &CStr, attributes: u64) -> io::Result<()> {
    set_attributes_at(libc::AT_FDCWD, path, attributes, false)
}

fn set_attributes_at(dir: RawFd, path: &CStr, attributes: u64, recursive: bool) -> io::Result<()> {
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let mut flags = libc::AT_EMPTY_PATH as c_uint;
    if recursive {
        flags |= libc::AT_RECURSIVE as c_uint;
    }
    // SAFETY: `change` outlives the call and its size is passed along.
    unsafe {
        check_long(libc::syscall(
            libc::SYS_mount_setattr,
            dir,
            path.as_ptr(),
            flags,
            &raw const change,
            size_of::<libc::mount_attr>(),
        ))?;
    }
    Ok(())
}

/// Attaches a detached mount at `target`.
pub(crate) fn attach(mount: BorrowedFd<'_>, target: &CStr) -> io::Result<()> {
    // SAFETY: both strings are terminated.
    unsafe {
        check_long(libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            EMPTY.as_ptr(),
            libc::AT_FDCWD,
            target.as_ptr(),
            libc::MOVE_MOUNT_F_EMPTY_PATH,
        ))?;
    }
    Ok(())
}

/// Cuts all mounts of this namespace off from those of other namespaces.
pub(crate) fn make_all_private() -> io::Result<()> {
    // SAFETY: source, type and data are not read for a change of propagation.
    unsafe {
        check(libc::mount(
            std::ptr::null(),
            c"/".as_ptr(),
            std::ptr::null(),
            libc::MS_REC | libc::MS_PRIVATE,
            std::ptr::null(),
        ))?;
    }
    Ok(())
}

/// Makes the mount that is the working directory the root, and drops the old root with all below it.
pub(crate) fn pivot_into_working_dir() -> io::Result<()> {
    let here: *const libc::c_char = c".".as_ptr();
    // SAFETY: terminated strings. The old root comes to lie over the new one, hence the detach of ".".
    unsafe {
        check_long(libc::syscall(libc::SYS_pivot_root, here, here))?;
        check(libc::umount2(here, libc::MNT_DETACH))?;
    }
    std::env::set_current_dir("/")
}

/// Makes a character device node that everybody may read and write (umask permitting).
pub(crate) fn make_device(path: &CStr, major: c_uint, minor: c_uint) -> io::Result<()> {
    let mode = libc::S_IFCHR | 0o666;
    // SAFETY: `path` is a terminated string.
    let result: c_int = unsafe { libc::mknod(path.as_ptr(), mode, libc::makedev(major, minor)) };
    check(result).map(drop)
}
