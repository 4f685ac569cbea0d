//! Sockets: pairs, messages with descriptors, the loopback interface.

#![expect(unsafe_code, reason = "sendmsg, recvmsg and ioctl")]

use std::ffi::{c_int, c_void};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{check, own};

/// Most descriptors that one message may carry (the kernel's own limit is 253).
pub(crate) const MAX_FDS: usize = 64;

/// Kind of a socket pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pair {
    /// A stream of bytes.
    Stream,
    /// Messages that keep their bounds.
    Messages,
}

/// A connected pair of Unix sockets, close-on-exec.
pub(crate) fn socket_pair(kind: Pair) -> io::Result<(OwnedFd, OwnedFd)> {
    let kind = match kind {
        Pair::Stream => libc::SOCK_STREAM,
        Pair::Messages => libc::SOCK_SEQPACKET,
    };
    let mut ends = [-1; 2];
    // SAFETY: `ends` has room for two descriptors.
    unsafe {
        check(libc::socketpair(libc::AF_UNIX, kind | libc::SOCK_CLOEXEC, 0, ends.as_mut_ptr()))?;
    }
    let [first, second] = ends;
    Ok((own(first), own(second)))
}

fn set_option(socket: BorrowedFd<'_>, option: c_int, value: c_int) -> io::Result<()> {
    // SAFETY: pointer and size describe `value`.
    unsafe {
        check(libc::setsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw const value).cast::<c_void>(),
            size_of::<c_int>() as libc::socklen_t,
        ))?;
    }
    Ok(())
}

/// Enlarges both buffers of a socket to `bytes`, past the system's limit if we may.
pub(crate) fn enlarge_buffers(socket: BorrowedFd<'_>, bytes: c_int) -> io::Result<()> {
    for (forced, plain) in [(libc::SO_SNDBUFFORCE, libc::SO_SNDBUF), (libc::SO_RCVBUFFORCE, libc::SO_RCVBUF)]
    {
        if set_option(socket, forced, bytes).is_err() {
            set_option(socket, plain, bytes)?;
        }
    }
    Ok(())
}

#[repr(C, align(8))]
struct ControlBuffer([u8; 16 + MAX_FDS * 4 + 16]);

/// Sends one message with descriptors. Blocks while the other side's queue is full.
pub(crate) fn send(socket: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_with(socket, data, fds, 0)
}

/// As [`send`], but fails with `WouldBlock` while the other side's queue is full.
pub(crate) fn send_now(socket: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    send_with(socket, data, fds, libc::MSG_DONTWAIT)
}

fn send_with(socket: BorrowedFd<'_>, data: &[u8], fds: &[BorrowedFd<'_>], flags: c_int) -> io::Result<()> {
    if fds.len() > MAX_FDS {
        return Err(io::Error::from_raw_os_error(libc::E2BIG));
    }
    let mut control = ControlBuffer([0; 16 + MAX_FDS * 4 + 16]);
    let mut part = libc::iovec { iov_base: data.as_ptr() as *mut c_void, iov_len: data.len() };
    let fds_size = size_of_val(fds) as libc::c_uint;
    // SAFETY: all zero is a valid msghdr; the pointers put in outlive the call; the control buffer is
    // aligned and large enough for MAX_FDS descriptors; BorrowedFd is a transparent descriptor number.
    unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        if !fds.is_empty() {
            message.msg_control = control.0.as_mut_ptr().cast();
            message.msg_controllen = libc::CMSG_SPACE(fds_size) as _;
            let header = libc::CMSG_FIRSTHDR(&raw const message);
            (*header).cmsg_level = libc::SOL_SOCKET;
            (*header).cmsg_type = libc::SCM_RIGHTS;
            (*header).cmsg_len = libc::CMSG_LEN(fds_size) as _;
            std::ptr::copy_nonoverlapping(
                fds.as_ptr().cast::<u8>(),
                libc::CMSG_DATA(header),
                fds_size as usize,
            );
        }
        loop {
            let sent = libc::sendmsg(socket.as_raw_fd(), &raw const message, libc::MSG_NOSIGNAL | flags);
            if sent >= 0 {
                return Ok(());
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        }
    }
}

/// Receives one message into `buffer`: its length and descriptors; `(0, [])` at the end. Descriptors for which this
/// process has no room are missing, the last ones first.
pub(crate) fn receive(
    socket: BorrowedFd<'_>,
    buffer: &mut [u8],
    wait: bool,
) -> io::Result<(usize, Vec<OwnedFd>)> {
    let mut control = ControlBuffer([0; 16 + MAX_FDS * 4 + 16]);
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    let flags = libc::MSG_CMSG_CLOEXEC | if wait { 0 } else { libc::MSG_DONTWAIT };
    let mut fds = Vec::new();
    // SAFETY: all zero is a valid msghdr; the buffers outlive the call and their sizes are passed along;
    // the kernel fills the control buffer with whole messages, which the CMSG macros walk.
    let (length, message_flags) = unsafe {
        let mut message: libc::msghdr = std::mem::zeroed();
        message.msg_iov = &raw mut part;
        message.msg_iovlen = 1;
        message.msg_control = control.0.as_mut_ptr().cast();
        message.msg_controllen = control.0.len() as _;
        let length = loop {
            let received = libc::recvmsg(socket.as_raw_fd(), &raw mut message, flags);
            if received >= 0 {
                break received as usize;
            }
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error);
            }
        };
        let mut header = libc::CMSG_FIRSTHDR(&raw const message);
        while !header.is_null() {
            if (*header).cmsg_level == libc::SOL_SOCKET && (*header).cmsg_type == libc::SCM_RIGHTS {
                let size = ((*header).cmsg_len as usize).saturating_sub(libc::CMSG_LEN(0) as usize);
                let data = libc::CMSG_DATA(header).cast::<c_int>();
                for index in 0..size / size_of::<c_int>() {
                    fds.push(own(data.add(index).read_unaligned()));
                }
            }
            header = libc::CMSG_NXTHDR(&raw const message, header);
        }
        (length, message.msg_flags)
    };
    // MSG_CTRUNC also says that the process may not have as many descriptors. The message counts all the same.
    if message_flags & libc::MSG_TRUNC != 0 {
        return Err(io::Error::from_raw_os_error(libc::EMSGSIZE));
    }
    Ok((length, fds))
}

/// Ends a connection for all who hold a copy of its descriptor.
pub(crate) fn shut(socket: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::shutdown(socket.as_raw_fd(), libc::SHUT_RDWR) }).map(drop)
}

/// Brings the loopback interface of the current network namespace up.
pub(crate) fn loopback_up() -> io::Result<()> {
    // SAFETY: all zero is a valid ifreq; SIOCGIFFLAGS and SIOCSIFFLAGS read and write one through the
    // pointer; the flags are the member in use.
    unsafe {
        let socket = own(check(libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0))?);
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = *from as libc::c_char;
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        check(libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::fd::AsFd;

    #[test]
    fn messages_carry_descriptors() {
        let (left, right) = socket_pair(Pair::Messages).unwrap();
        let (read, write) = super::super::pipe().unwrap();
        send(left.as_fd(), b"hello", &[write.as_fd(), read.as_fd()]).unwrap();
        drop(write);
        let mut buffer = [0; 16];
        let (length, fds) = receive(right.as_fd(), &mut buffer, true).unwrap();
        assert_eq!(&buffer[..length], b"hello");
        let mut fds = fds.into_iter().map(std::fs::File::from);
        fds.next().unwrap().write_all(b"through").unwrap();
        let mut text = String::new();
        fds.next().unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "through");
    }

    #[test]
    fn end_and_overlong_messages() {
        let (left, right) = socket_pair(Pair::Messages).unwrap();
        send(left.as_fd(), &[1; 32], &[]).unwrap();
        let error = receive(right.as_fd(), &mut [0; 16], true).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
        let error = receive(right.as_fd(), &mut [0; 16], false).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        drop(left);
        assert_eq!(receive(right.as_fd(), &mut [0; 16], true).unwrap().0, 0);
    }
}
