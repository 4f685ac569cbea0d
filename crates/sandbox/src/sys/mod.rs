//! Thin, safe wrappers around the system calls the crate needs. All `unsafe` of the crate is in here.

pub(crate) mod mount;
pub(crate) mod netlink;
pub(crate) mod poll;
pub(crate) mod process;
pub(crate) mod socket;

use std::ffi::{CString, c_int, c_long};
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::FileExt;

/// Turns the result of a C library call into a `Result`.
pub(crate) fn check(result: c_int) -> io::Result<c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Turns the result of [`libc::syscall`] into a `Result`.
pub(crate) fn check_long(result: c_long) -> io::Result<c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// A path or name as the kernel takes it; `EINVAL` when it holds a zero byte.
pub(crate) fn c_string(text: &str) -> io::Result<CString> {
    CString::new(text).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// errno of an error; `EIO` for an error that does not come from the system.
pub(crate) fn errno(error: &io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

/// Takes ownership of a descriptor that a system call has just returned.
#[expect(unsafe_code, reason = "ownership of a raw descriptor")]
fn own(fd: RawFd) -> OwnedFd {
    // SAFETY: only called with descriptors that the kernel has just made for us and nobody else holds.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Writes a small control file in one call, as cgroup files want it.
pub(crate) fn write_at_start(file: &File, text: &str) -> io::Result<()> {
    let written = file.write_at(text.as_bytes(), 0)?;
    if written == text.len() { Ok(()) } else { Err(io::Error::from_raw_os_error(libc::EIO)) }
}

/// Reads a small control file from its start (at most 8 KiB).
pub(crate) fn read_from_start(file: &File) -> io::Result<String> {
    let mut buffer = [0_u8; 8192];
    let length = file.read_at(&mut buffer, 0)?;
    Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
}

/// Reads a control file that holds one number; `max` reads as `u64::MAX`.
pub(crate) fn read_number(file: &File) -> io::Result<u64> {
    parse_number(&read_from_start(file)?).ok_or_else(|| io::Error::from_raw_os_error(libc::EIO))
}

fn parse_number(text: &str) -> Option<u64> {
    match text.trim() {
        "max" => Some(u64::MAX),
        number => number.parse().ok(),
    }
}

/// Bytes in use on the file system that `fd` lies on.
#[expect(unsafe_code, reason = "fstatfs")]
pub(crate) fn file_system_used(fd: BorrowedFd<'_>) -> io::Result<u64> {
    let mut buffer = std::mem::MaybeUninit::<libc::statfs64>::uninit();
    // SAFETY: `buffer` is large enough for the structure; it is only read when the call succeeded.
    let info = unsafe {
        check(libc::fstatfs64(fd.as_raw_fd(), buffer.as_mut_ptr()))?;
        buffer.assume_init()
    };
    let block_size = u64::try_from(info.f_bsize).unwrap_or(4096);
    Ok(info.f_blocks.saturating_sub(info.f_bfree).saturating_mul(block_size))
}

/// Makes a descriptor nonblocking (on its open file description).
#[expect(unsafe_code, reason = "fcntl")]
pub(crate) fn set_nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: F_GETFL and F_SETFL take and return plain integers.
    unsafe {
        let flags = check(libc::fcntl(fd.as_raw_fd(), libc::F_GETFL))?;
        check(libc::fcntl(fd.as_raw_fd(), libc::F_SETFL, flags | libc::O_NONBLOCK))?;
    }
    Ok(())
}

/// A pipe, close-on-exec: read end, write end.
#[expect(unsafe_code, reason = "pipe2")]
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for two descriptors.
    unsafe { check(libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC))? };
    let [read, write] = ends;
    Ok((own(read), own(write)))
}

/// Copies a descriptor to a number of at least `minimum`, close-on-exec.
#[expect(unsafe_code, reason = "fcntl")]
pub(crate) fn duplicate_from(fd: BorrowedFd<'_>, minimum: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC takes a plain integer and returns a new descriptor.
    let copy = unsafe { check(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, minimum))? };
    Ok(own(copy))
}

/// Gives a file to another user and group.
#[expect(unsafe_code, reason = "fchown")]
pub(crate) fn change_owner(fd: BorrowedFd<'_>, uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain integers.
    unsafe { check(libc::fchown(fd.as_raw_fd(), uid, gid))? };
    Ok(())
}

/// Whether this process may write to a file, or make entries in a folder.
#[expect(unsafe_code, reason = "access")]
pub(crate) fn may_write(path: &std::path::Path) -> io::Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let path =
        CString::new(path.as_os_str().as_bytes()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    // SAFETY: `path` is a terminated string.
    check(unsafe { libc::access(path.as_ptr(), libc::W_OK) }).map(drop)
}

/// Random bytes of the kernel.
#[expect(unsafe_code, reason = "getrandom")]
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    // SAFETY: the buffer's size is passed along; so few bytes come all at once.
    let length = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    if usize::try_from(length) == Ok(N) { Ok(bytes) } else { Err(io::Error::last_os_error()) }
}

/// Takes an exclusive lock on a file, without waiting; `EWOULDBLOCK` when another process has it.
#[expect(unsafe_code, reason = "flock")]
pub(crate) fn try_lock(file: &File) -> io::Result<()> {
    // SAFETY: plain integers.
    unsafe { check(libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB))? };
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_control_files() {
        assert_eq!(parse_number("4096\n"), Some(4096));
        assert_eq!(parse_number("max\n"), Some(u64::MAX));
        assert_eq!(parse_number("usage 1"), None);
    }
}
