//! Netlink: messages to the kernel's network configuration and what it answers.
//!
//! Requests are built in a [`Batch`]; each message of it that asks for one is acknowledged. Sockets belong to the network
//! namespace they were opened in, whatever namespace their user moves to.

#![expect(unsafe_code, reason = "netlink sockets and interface ioctls")]

use std::ffi::c_int;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};

use super::{check, own};

/// What a socket talks to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Family {
    /// Links, addresses, routes, neighbours.
    Route,
    /// nf_tables.
    Netfilter,
}

/// Length of a message's header.
const HEADER: usize = 16;

/// Seconds to wait for an answer that must come at once.
const PATIENCE_SECONDS: libc::time_t = 10;

/// Messages in one buffer, sent by one system call.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    bytes: Vec<u8>,
    acknowledged: usize,
}

impl Batch {
    /// Adds a message: its type, flags (`NLM_F_REQUEST` is added), fixed header and attributes.
    pub(crate) fn add(
        &mut self,
        kind: u16,
        flags: c_int,
        header: &[u8],
        attributes: impl FnOnce(&mut Attributes<'_>),
    ) {
        let start = self.bytes.len();
        if flags & libc::NLM_F_ACK != 0 {
            self.acknowledged += 1;
        }
        let flags = (flags | libc::NLM_F_REQUEST) as u16;
        self.bytes.extend_from_slice(&[0; 4]);
        self.bytes.extend_from_slice(&kind.to_ne_bytes());
        self.bytes.extend_from_slice(&flags.to_ne_bytes());
        // Sequence number and port: the answers come in order, and the kernel knows who we are.
        self.bytes.extend_from_slice(&[0; 8]);
        self.bytes.extend_from_slice(header);
        pad(&mut self.bytes);
        attributes(&mut Attributes(&mut self.bytes));
        let length = (self.bytes.len() - start) as u32;
        if let Some(place) = self.bytes.get_mut(start..start + 4) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
    }
}

fn pad(bytes: &mut Vec<u8>) {
    bytes.resize(bytes.len().next_multiple_of(4), 0);
}

/// The attributes of a message or of a nest, to be added to.
#[derive(Debug)]
pub(crate) struct Attributes<'a>(&'a mut Vec<u8>);

impl Attributes<'_> {
    /// An attribute of some bytes.
    pub(crate) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.with(kind, |bytes| bytes.extend_from_slice(value));
    }

    /// A number in the host's byte order.
    pub(crate) fn number(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_ne_bytes());
    }

    /// A text, terminated by zero.
    pub(crate) fn text(&mut self, kind: u16, value: &str) {
        self.with(kind, |bytes| {
            bytes.extend_from_slice(value.as_bytes());
            bytes.push(0);
        });
    }

    /// Attributes within an attribute, after `header`.
    pub(crate) fn nest(&mut self, kind: u16, header: &[u8], inner: impl FnOnce(&mut Attributes<'_>)) {
        self.with(kind | libc::NLA_F_NESTED as u16, |bytes| {
            bytes.extend_from_slice(header);
            inner(&mut Attributes(bytes));
        });
    }

    fn with(&mut self, kind: u16, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; 2]);
        self.0.extend_from_slice(&kind.to_ne_bytes());
        fill(self.0);
        let length = (self.0.len() - start) as u16;
        if let Some(place) = self.0.get_mut(start..start + 2) {
            place.copy_from_slice(&length.to_ne_bytes());
        }
        pad(self.0);
    }
}

/// A netlink socket.
#[derive(Debug)]
pub(crate) struct Netlink(OwnedFd);

impl Netlink {
    /// Opens one in the current network namespace.
    pub(crate) fn open(family: Family) -> io::Result<Netlink> {
        let protocol = match family {
            Family::Route => libc::NETLINK_ROUTE,
            Family::Netfilter => libc::NETLINK_NETFILTER,
        };
        let patience = libc::timeval { tv_sec: PATIENCE_SECONDS, tv_usec: 0 };
        // SAFETY: plain integers; pointer and size describe `patience`.
        unsafe {
            let kind = libc::SOCK_RAW | libc::SOCK_CLOEXEC;
            let socket = own(check(libc::socket(libc::AF_NETLINK, kind, protocol))?);
            check(libc::setsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_RCVTIMEO,
                (&raw const patience).cast(),
                size_of::<libc::timeval>() as libc::socklen_t,
            ))?;
            Ok(Netlink(socket))
        }
    }

    fn send(&self, bytes: &[u8]) -> io::Result<()> {
        // SAFETY: pointer and length describe `bytes`.
        let sent = unsafe { libc::send(self.0.as_raw_fd(), bytes.as_ptr().cast(), bytes.len(), 0) };
        if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }

    fn receive<'b>(&self, buffer: &'b mut [u8]) -> io::Result<&'b [u8]> {
        loop {
            // SAFETY: pointer and length describe `buffer`.
            let length =
                unsafe { libc::recv(self.0.as_raw_fd(), buffer.as_mut_ptr().cast(), buffer.len(), 0) };
            match usize::try_from(length) {
                Ok(length) => return Ok(buffer.get(..length).unwrap_or_default()),
                Err(_) => {
                    let error = io::Error::last_os_error();
                    if error.kind() != io::ErrorKind::Interrupted {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Sends all messages and waits until each is acknowledged.
    ///
    /// # Errors
    /// Of the first message that was refused; later ones of route messages may have been carried out.
    pub(crate) fn ask(&self, batch: &Batch) -> io::Result<()> {
        self.send(&batch.bytes)?;
        let mut buffer = vec![0; 16 * 1024];
        let mut missing = batch.acknowledged;
        let mut refused = None;
        while missing > 0 {
            for (kind, payload) in messages(self.receive(&mut buffer)?) {
                if c_int::from(kind) == libc::NLMSG_ERROR {
                    missing = missing.saturating_sub(1);
                    match int(payload, 0) {
                        Some(0) => {}
                        code => refused = refused.or(Some(-code.unwrap_or(-libc::EIO))),
                    }
                }
            }
            // A refused transaction is not acknowledged message by message.
            if let Some(errno) = refused {
                return Err(io::Error::from_raw_os_error(errno));
            }
        }
        Ok(())
    }

    /// Sends one request for a listing; hands each entry (its message type, fixed header and attributes) to
    /// `each`.
    pub(crate) fn list(&self, kind: u16, header: &[u8], mut each: impl FnMut(&[u8])) -> io::Result<()> {
        let mut batch = Batch::default();
        batch.add(kind, libc::NLM_F_DUMP, header, |_| {});
        self.send(&batch.bytes)?;
        let mut buffer = vec![0; 64 * 1024];
        loop {
            for (kind, payload) in messages(self.receive(&mut buffer)?) {
                match c_int::from(kind) {
                    libc::NLMSG_DONE => return Ok(()),
                    libc::NLMSG_ERROR => {
                        let errno = int(payload, 0).map_or(libc::EIO, |code| -code);
                        return Err(io::Error::from_raw_os_error(errno));
                    }
                    _ => each(payload),
                }
            }
        }
    }

    /// The number of an interface in this socket's namespace; `ENODEV` if there is none of this name.
    pub(crate) fn index_of(&self, name: &str) -> io::Result<u32> {
        // SAFETY: all zero is a valid ifreq; SIOCGIFINDEX reads the name and writes the number, through the
        // pointer; the index is the member in use then.
        unsafe {
            let mut request: libc::ifreq = std::mem::zeroed();
            // The last byte stays zero.
            let places = request.ifr_name.iter_mut().take(libc::IFNAMSIZ - 1);
            for (to, from) in places.zip(name.as_bytes()) {
                *to = *from as libc::c_char;
            }
            check(libc::ioctl(self.0.as_raw_fd(), libc::SIOCGIFINDEX, &raw mut request))?;
            Ok(request.ifr_ifru.ifru_ifindex as u32)
        }
    }
}

/// Moves the process into a network namespace.
pub(crate) fn enter_namespace(namespace: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: plain integers.
    check(unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// The messages in what was received: type and payload.
fn messages(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::try_from(int(bytes, 0)?).ok()?;
        let kind = u16::from_ne_bytes(*bytes.get(4..)?.first_chunk()?);
        let payload = bytes.get(HEADER..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, payload))
    })
}

/// The attributes in a part of a message: kind and value.
pub(crate) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(u16::from_ne_bytes(*bytes.first_chunk()?));
        let kind = u16::from_ne_bytes(*bytes.get(2..)?.first_chunk()?);
        let value = bytes.get(4..length)?;
        bytes = bytes.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// A number of the host's byte order at a place.
pub(crate) fn int(bytes: &[u8], at: usize) -> Option<i32> {
    Some(i32::from_ne_bytes(*bytes.get(at..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_laid_out_as_the_kernel_wants_them() {
        let mut batch = Batch::default();
        batch.add(16, libc::NLM_F_ACK, &[1, 2, 3, 4], |attributes| {
            attributes.text(3, "eth0");
            attributes.nest(18, &[], |inner| inner.number(1, 7));
        });
        let mut found = messages(&batch.bytes);
        let (kind, payload) = found.next().unwrap();
        assert_eq!((kind, found.next()), (16, None));
        assert_eq!(batch.bytes.len(), HEADER + 4 + 12 + 12);
        let values: Vec<_> = attributes(&payload[4..]).collect();
        assert_eq!(values[0], (3, b"eth0\0".as_slice()));
        assert_eq!(values[1].0, 18 | libc::NLA_F_NESTED as u16);
        let inner: Vec<_> = attributes(values[1].1).collect();
        assert_eq!(inner, [(1, 7_u32.to_ne_bytes().as_slice())]);
    }

    #[test]
    fn garbage_ends_a_listing() {
        for bytes in [&[][..], &[1, 0, 0, 0], &[0; 16], &[255; 40]] {
            assert_eq!(messages(bytes).count() + attributes(bytes).count(), 0, "{bytes:?}");
        }
    }

    #[test]
    fn the_loopback_interface_is_listed() {
        let socket = Netlink::open(Family::Route).unwrap();
        let index = socket.index_of("lo").unwrap();
        let mut names = Vec::new();
        socket
            .list(libc::RTM_GETLINK, &[0; 16], |entry| {
                let name = attributes(&entry[16..]).find(|(kind, _)| *kind == libc::IFLA_IFNAME);
                names.push((int(entry, 4).unwrap() as u32, name.unwrap().1.to_vec()));
            })
            .unwrap();
        assert!(names.contains(&(index, b"lo\0".to_vec())), "{names:?}");
        assert_eq!(socket.index_of("no-such-link").unwrap_err().raw_os_error(), Some(libc::ENODEV));
    }
}
