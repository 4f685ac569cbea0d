//! Processes: making them, changing what they may do, ending them.

#![expect(unsafe_code, reason = "process-wide system calls")]

use std::ffi::{CString, c_int, c_uint, c_ulong};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use super::{check, check_long, own};

/// Outcome of [`clone_process`].
#[derive(Debug)]
pub(crate) enum Clone {
    /// We are the new process.
    Child,
    /// We are the old one.
    Parent {
        /// Process id of the child.
        pid: i32,
        /// Descriptor of the child, readable once it has ended.
        pidfd: OwnedFd,
    },
}

/// Of `clone3`: the constant of the C library overflows.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Forks, with the namespaces of `flags` new, and straight into a cgroup (v2) if one is given.
/// Only for single-threaded processes.
pub(crate) fn clone_process(flags: c_int, cgroup: Option<BorrowedFd<'_>>) -> io::Result<Clone> {
    let mut pidfd: c_int = -1;
    let mut all_flags = u64::from(flags as u32) | libc::CLONE_PIDFD as u64;
    if cgroup.is_some() {
        all_flags |= CLONE_INTO_CGROUP;
    }
    let args = libc::clone_args {
        flags: all_flags,
        pidfd: (&raw mut pidfd) as u64,
        child_tid: 0,
        parent_tid: 0,
        exit_signal: libc::SIGCHLD as u64,
        stack: 0,
        stack_size: 0,
        tls: 0,
        set_tid: 0,
        set_tid_size: 0,
        cgroup: cgroup.map_or(0, |fd| fd.as_raw_fd() as u64),
    };
    // SAFETY: without CLONE_VM the child runs on a copy of this stack, as after fork; the process is
    // single-threaded, so no lock can be held by a thread that does not exist in the child.
    let result = unsafe { libc::syscall(libc::SYS_clone3, &raw const args, size_of::<libc::clone_args>()) };
    match check_long(result)? {
        0 => Ok(Clone::Child),
        pid => Ok(Clone::Parent { pid: pid as i32, pidfd: own(pidfd) }),
    }
}

/// Forks; `None` in the child. The child may only make system calls if the process has threads.
pub(crate) fn fork() -> io::Result<Option<i32>> {
    // SAFETY: callers keep to what the documentation says.
    match check(unsafe { libc::fork() })? {
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// Ends the process at once, without running destructors or exit handlers.
pub(crate) fn exit_now(code: i32) -> ! {
    // SAFETY: always sound.
    unsafe { libc::_exit(code) }
}

/// Waits for a child (`None`: any): its process id and raw status. Retries when interrupted.
pub(crate) fn wait_for(pid: Option<i32>) -> io::Result<(i32, c_int)> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        let result = check(unsafe { libc::waitpid(pid.unwrap_or(-1), &raw mut status, libc::__WALL) });
        match result {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.map(|pid| (pid, status)),
        }
    }
}

/// Collects a child that has ended, without waiting: its process id and raw status; `None` if none has.
/// `ECHILD` if there are no children at all.
pub(crate) fn collect_one() -> io::Result<Option<(i32, c_int)>> {
    let mut status = 0;
    // SAFETY: `status` outlives the call.
    let pid = check(unsafe { libc::waitpid(-1, &raw mut status, libc::__WALL | libc::WNOHANG) })?;
    Ok((pid != 0).then_some((pid, status)))
}

/// A descriptor of a process.
pub(crate) fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: plain integers.
    let fd = unsafe { check_long(libc::syscall(libc::SYS_pidfd_open, pid, 0))? };
    Ok(own(fd as RawFd))
}

/// Sends a signal to the process behind a descriptor; `ESRCH` when it has ended.
pub(crate) fn pidfd_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    let no_info = std::ptr::null::<libc::siginfo_t>();
    // SAFETY: a null siginfo asks for the default one.
    unsafe {
        check_long(libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, no_info, 0))?;
    }
    Ok(())
}

/// Sends a signal by process id.
pub(crate) fn signal_pid(pid: i32, signal: i32) -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Moves the process into new namespaces.
pub(crate) fn unshare(flags: c_int) -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::unshare(flags) }).map(drop)
}

/// Sets the host name of the UTS namespace.
pub(crate) fn set_host_name(name: &str) -> io::Result<()> {
    // SAFETY: pointer and length describe `name`.
    check(unsafe { libc::sethostname(name.as_ptr().cast(), name.len()) }).map(drop)
}

/// Starts a session (and process group) of its own.
pub(crate) fn new_session() -> io::Result<()> {
    // SAFETY: no arguments.
    check(unsafe { libc::setsid() }).map(drop)
}

/// Sets the mask for permissions of new files.
pub(crate) fn set_umask(mask: c_uint) {
    // SAFETY: cannot fail.
    unsafe { libc::umask(mask as libc::mode_t) };
}

/// The effective user id.
pub(crate) fn effective_uid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::geteuid() }
}

/// The effective group id.
pub(crate) fn effective_gid() -> u32 {
    // SAFETY: cannot fail.
    unsafe { libc::getegid() }
}

/// How many supplementary groups the process has.
pub(crate) fn group_count() -> usize {
    // SAFETY: with a size of 0 nothing is written.
    usize::try_from(unsafe { libc::getgroups(0, std::ptr::null_mut()) }).unwrap_or(0)
}

/// Takes all supplementary groups away.
pub(crate) fn clear_groups() -> io::Result<()> {
    // SAFETY: an empty list needs no pointer.
    check(unsafe { libc::setgroups(0, std::ptr::null()) }).map(drop)
}

/// Sets real, effective and saved group id, then user id.
pub(crate) fn become_user(uid: u32, gid: u32) -> io::Result<()> {
    // SAFETY: plain integers.
    unsafe {
        check(libc::setresgid(gid, gid, gid))?;
        check(libc::setresuid(uid, uid, uid))?;
    }
    Ok(())
}

fn prctl(option: c_int, argument: c_ulong) -> io::Result<c_int> {
    let zero: c_ulong = 0;
    // SAFETY: the options used below take integers only.
    check(unsafe { libc::prctl(option, argument, zero, zero, zero) })
}

/// Whether other processes of the same user may look into this one (and core dumps are made).
pub(crate) fn set_dumpable(dumpable: bool) -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, c_ulong::from(dumpable)).map(drop)
}

/// Makes this process the parent of all its descendants whose own parent ends.
pub(crate) fn adopt_orphans() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1).map(drop)
}

/// The signal this process gets when its parent ends. Cleared by changes of credentials.
pub(crate) fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    prctl(libc::PR_SET_PDEATHSIG, signal as c_ulong).map(drop)
}

/// Execution never adds privileges any more.
pub(crate) fn set_no_new_privileges() -> io::Result<()> {
    prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map(drop)
}

/// Sets the name of the process (15 bytes).
pub(crate) fn set_name(name: &std::ffi::CStr) {
    // SAFETY: a terminated string.
    unsafe { libc::prctl(libc::PR_SET_NAME, name.as_ptr(), 0, 0, 0) };
}

/// Gives up every capability for good: bounding set, securebits, ambient, inheritable, permitted,
/// effective.
pub(crate) fn drop_capabilities() -> io::Result<()> {
    for capability in 0..64 {
        match prctl(libc::PR_CAPBSET_DROP, capability) {
            Ok(_) => {}
            // Past the last capability this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    // NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE with their locks, and the lock of KEEP_CAPS.
    const SECURE_BITS: c_ulong = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80;
    prctl(libc::PR_SET_SECUREBITS, SECURE_BITS)?;
    prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL as c_ulong)?;

    #[repr(C)]
    struct Header {
        version: u32,
        pid: c_int,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let none = [0_u32; 6];
    // SAFETY: version 3 of the interface reads two structures of three words each.
    unsafe {
        check_long(libc::syscall(libc::SYS_capset, &raw const header, none.as_ptr()))?;
    }
    Ok(())
}

/// Takes all capabilities but `kept` from what this process can still execute.
pub(crate) fn limit_capabilities(kept: &[u32]) -> io::Result<()> {
    for capability in (0..64).filter(|capability| !kept.contains(capability)) {
        match prctl(libc::PR_CAPBSET_DROP, c_ulong::from(capability)) {
            Ok(_) => {}
            // Past the last capability this kernel knows.
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Sets soft and hard limit of a resource. A hard limit that may not be raised stays where it is.
pub(crate) fn set_limit(resource: libc::__rlimit_resource_t, value: u64) -> io::Result<()> {
    let mut limit = libc::rlimit64 { rlim_cur: value, rlim_max: value };
    // SAFETY: `limit` outlives the calls.
    unsafe {
        match check(libc::setrlimit64(resource, &raw const limit)) {
            Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
                check(libc::getrlimit64(resource, &raw mut limit))?;
                limit.rlim_cur = limit.rlim_max.min(value);
                limit.rlim_max = limit.rlim_cur;
                check(libc::setrlimit64(resource, &raw const limit)).map(drop)
            }
            other => other.map(drop),
        }
    }
}

/// The signals that the spawner ignores, which a program would inherit.
pub(crate) const IGNORED_SIGNALS: [i32; 5] =
    [libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGTSTP, libc::SIGPIPE];

/// No signal ignored, none blocked: as a program expects to find them (exec resets handlers by itself).
pub(crate) fn reset_signals() -> io::Result<()> {
    // SAFETY: SIG_DFL is valid for every signal; the set is initialised before use.
    unsafe {
        for signal in IGNORED_SIGNALS {
            libc::signal(signal, libc::SIG_DFL);
        }
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        check(libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()))?;
    }
    Ok(())
}

/// Closes every descriptor but those of `keep`.
pub(crate) fn close_all_but(keep: &[RawFd]) -> io::Result<()> {
    let mut kept: Vec<c_uint> = keep.iter().map(|fd| *fd as c_uint).collect();
    kept.sort_unstable();
    let mut from = 0;
    for fd in kept {
        if fd > from {
            close_range(from, fd - 1, 0)?;
        }
        from = fd + 1;
    }
    close_range(from, c_uint::MAX, 0)
}

/// Marks every descriptor from `first` on to be closed by exec.
pub(crate) fn close_on_exec_from(first: c_uint) -> io::Result<()> {
    close_range(first, c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: c_uint, last: c_uint, flags: c_uint) -> io::Result<()> {
    // SAFETY: plain integers; callers close only what nothing uses any more.
    unsafe { check_long(libc::syscall(libc::SYS_close_range, first, last, flags))? };
    Ok(())
}

/// Makes `fd` known as `number` too, kept across exec.
pub(crate) fn place(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: plain integers; callers place only on numbers that nothing owns.
    check(unsafe { libc::dup2(fd.as_raw_fd(), number) }).map(drop)
}

/// Replaces the process's program; returns only on failure.
pub(crate) fn execute(program: &CString, arguments: &[CString], environment: &[CString]) -> io::Error {
    let pointers = |strings: &[CString]| {
        let mut list: Vec<*const libc::c_char> = strings.iter().map(|text| text.as_ptr()).collect();
        list.push(std::ptr::null());
        list
    };
    let (arguments, environment) = (pointers(arguments), pointers(environment));
    // SAFETY: both lists end with a null pointer and point to terminated strings that are still alive.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// Installs a seccomp filter on this thread and all it will make.
pub(crate) fn install_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let length = u16::try_from(program.len()).map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))?;
    let description = libc::sock_fprog { len: length, filter: program.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program during the call and does not write to it.
    unsafe {
        check_long(libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const description,
        ))?;
    }
    Ok(())
}

/// Whether the kernel knows a seccomp action.
pub(crate) fn filter_action_known(action: u32) -> bool {
    // SAFETY: `action` outlives the call.
    let result =
        unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_GET_ACTION_AVAIL, 0, &raw const action) };
    result == 0
}
