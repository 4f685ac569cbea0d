//! epoll, eventfd and a signal descriptor.

#![expect(unsafe_code, reason = "epoll, eventfd and signalfd")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use super::{check, own};

/// What to wait for on a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Interest {
    /// Data, a new connection, the end of a process, or the other side's closing.
    Readable,
    /// A change of a kernel file that announces changes (`memory.events`).
    Change,
}

/// An epoll instance whose events carry a number.
#[derive(Debug)]
pub(crate) struct Poller(OwnedFd);

impl Poller {
    /// Makes an empty one.
    pub(crate) fn new() -> io::Result<Poller> {
        // SAFETY: plain integers.
        let fd = unsafe { check(libc::epoll_create1(libc::EPOLL_CLOEXEC))? };
        Ok(Poller(own(fd)))
    }

    /// Watches a descriptor, level-triggered ([`Interest::Change`]: edge-triggered).
    pub(crate) fn add(&self, fd: BorrowedFd<'_>, interest: Interest, token: u64) -> io::Result<()> {
        let events = match interest {
            Interest::Readable => libc::EPOLLIN,
            Interest::Change => libc::EPOLLPRI | libc::EPOLLET,
        };
        let mut event = libc::epoll_event { events: events as u32, u64: token };
        // SAFETY: `event` outlives the call.
        unsafe {
            check(libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_ADD, fd.as_raw_fd(), &raw mut event))?;
        }
        Ok(())
    }

    /// Stops watching a descriptor. To be called before it is closed: a forked child may still hold a
    /// copy, and a copy keeps the watch alive.
    pub(crate) fn remove(&self, fd: BorrowedFd<'_>) {
        // SAFETY: plain integers; the event is ignored for a removal.
        unsafe {
            libc::epoll_ctl(self.0.as_raw_fd(), libc::EPOLL_CTL_DEL, fd.as_raw_fd(), std::ptr::null_mut());
        }
    }

    /// Waits for events and returns their numbers; nothing after `timeout` or a signal.
    pub(crate) fn wait(&self, timeout: Option<Duration>) -> io::Result<Vec<u64>> {
        let milliseconds = match timeout {
            None => -1,
            // Round up: waking too early would spin until the time has come.
            Some(time) => i32::try_from(time.as_micros().div_ceil(1000)).unwrap_or(i32::MAX),
        };
        let mut events = [libc::epoll_event { events: 0, u64: 0 }; 64];
        // SAFETY: the buffer has room for 64 events.
        let result =
            check(unsafe { libc::epoll_wait(self.0.as_raw_fd(), events.as_mut_ptr(), 64, milliseconds) });
        match result {
            Ok(count) => {
                let count = usize::try_from(count).unwrap_or(0);
                Ok(events.iter().take(count).map(|event| event.u64).collect())
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }
}

/// A nonblocking event counter.
pub(crate) fn eventfd() -> io::Result<OwnedFd> {
    // SAFETY: plain integers.
    let fd = unsafe { check(libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK))? };
    Ok(own(fd))
}

/// Empties an event counter or signal descriptor (nonblocking).
pub(crate) fn drain(fd: BorrowedFd<'_>) {
    let mut buffer = [0_u8; 1024];
    // SAFETY: the buffer's size is passed along; the descriptor is nonblocking.
    while unsafe { libc::read(fd.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len()) } > 0 {}
}

/// The next signal of a signal descriptor (nonblocking).
pub(crate) fn next_signal(fd: BorrowedFd<'_>) -> Option<i32> {
    let mut info = std::mem::MaybeUninit::<libc::signalfd_siginfo>::uninit();
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer's size is passed along; it is only read when it has been filled.
    unsafe {
        let length = libc::read(fd.as_raw_fd(), info.as_mut_ptr().cast(), size);
        (usize::try_from(length) == Ok(size)).then(|| info.assume_init().ssi_signo as i32)
    }
}

/// Blocks signals and returns a nonblocking descriptor that becomes readable instead.
pub(crate) fn signal_descriptor(signals: &[i32]) -> io::Result<OwnedFd> {
    // SAFETY: the set is initialised before use and outlives the calls.
    unsafe {
        let mut set = std::mem::MaybeUninit::<libc::sigset_t>::uninit();
        libc::sigemptyset(set.as_mut_ptr());
        for signal in signals {
            libc::sigaddset(set.as_mut_ptr(), *signal);
        }
        check(libc::sigprocmask(libc::SIG_SETMASK, set.as_ptr(), std::ptr::null_mut()))?;
        let fd = check(libc::signalfd(-1, set.as_ptr(), libc::SFD_CLOEXEC | libc::SFD_NONBLOCK))?;
        Ok(own(fd))
    }
}

/// Blocks `SIGTERM` and returns a nonblocking descriptor that becomes readable instead. Ignores the
/// signals that a terminal sends; all others are as in a new process, whatever our parent did with them.
pub(crate) fn terminate_signal() -> io::Result<OwnedFd> {
    // SAFETY: SIG_DFL and SIG_IGN are valid dispositions.
    unsafe {
        for signal in 1..=64 {
            libc::signal(signal, libc::SIG_DFL);
        }
        for signal in super::process::IGNORED_SIGNALS {
            libc::signal(signal, libc::SIG_IGN);
        }
    }
    signal_descriptor(&[libc::SIGTERM])
}
