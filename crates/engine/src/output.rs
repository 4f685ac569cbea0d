//! Reading what a function writes, without a task and without a buffer for each environment.

use std::cell::RefCell;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixDatagram as StdUnixDatagram;
use std::task::{Context, Poll};

use lambkin_core::clock::Clock;
use lambkin_runtime::LogBuffer;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use tokio::io::Interest;
use tokio::net::UnixDatagram;
use tokio::net::unix::pipe;

/// Largest datagram and more: text of 128 KiB and its kind.
const SCRATCH: usize = 128 * 1024 + 1024;
/// Most reads of one descriptor in a row, so that one that is written without end lets others go on.
const READS_IN_A_ROW: usize = 16;
/// Most reads of one descriptor at the end of an invocation: more datagrams than a socket holds.
const READS_AT_THE_END: usize = 16 * 1024;

thread_local! {
    /// Reads go here; what is read is in the log before the thread does anything else.
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The descriptors that carry an environment's output.
#[derive(Debug)]
pub(crate) struct Output {
    /// The function's descriptors 1 and 2.
    pipe: Option<Source>,
    /// Log records of a managed runtime.
    telemetry: Option<Source>,
}

#[derive(Debug)]
enum Source {
    Pipe(pipe::Receiver),
    /// A `SOCK_SEQPACKET` socket: like one for datagrams, but connected and with an end.
    Telemetry(UnixDatagram),
}

impl Output {
    /// Takes over the reading ends of a pipe and of a `SOCK_SEQPACKET` socket.
    pub(crate) fn new(pipe: Option<OwnedFd>, telemetry: Option<OwnedFd>) -> io::Result<Self> {
        let pipe = pipe.map(pipe::Receiver::from_owned_fd).transpose()?.map(Source::Pipe);
        let telemetry = telemetry
            .map(|descriptor| {
                let socket = StdUnixDatagram::from(descriptor);
                socket.set_nonblocking(true)?;
                UnixDatagram::from_std(socket)
            })
            .transpose()?
            .map(Source::Telemetry);
        Ok(Self { pipe, telemetry })
    }

    /// Waits for output and moves what is there into the log. Never completes once both ends are closed.
    /// Where there is more than is read at once other tasks have their turn before the rest.
    pub(crate) async fn pump(&mut self, log: &mut LogBuffer, clock: &dyn Clock) {
        let mut passed = false;
        std::future::poll_fn(|cx| {
            if passed {
                return Poll::Ready(());
            }
            let telemetry = poll_one(&mut self.telemetry, log, clock, cx);
            let pipe = poll_one(&mut self.pipe, log, clock, cx);
            match (telemetry, pipe) {
                (Moved::None, Moved::None) => Poll::Pending,
                (Moved::Part, _) | (_, Moved::Part) => {
                    passed = true;
                    cx.waker().wake_by_ref();
                    Poll::Pending
                }
                _ => Poll::Ready(()),
            }
        })
        .await;
    }

    /// Moves what is there into the log, without waiting.
    pub(crate) fn drain(&mut self, log: &mut LogBuffer, clock: &dyn Clock) {
        let (telemetry, pipe) = self.readable();
        for (slot, readable) in [(&mut self.telemetry, telemetry), (&mut self.pipe, pipe)] {
            if let (Some(source), true) = (&slot, readable)
                && let Reading::Ended = read_all(source, log, clock, READS_AT_THE_END, read_now)
            {
                *slot = None;
            }
        }
    }

    /// Which of telemetry and pipe have something to read: one system call for both, since mostly neither
    /// has.
    fn readable(&self) -> (bool, bool) {
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        match (&self.telemetry, &self.pipe) {
            (Some(telemetry), Some(pipe)) => {
                let mut both = [PollFd::new(telemetry, PollFlags::IN), PollFd::new(pipe, PollFlags::IN)];
                match poll(&mut both, Some(&now)) {
                    Ok(0) => (false, false),
                    Ok(_) => {
                        let [telemetry, pipe] = both.map(|one| !one.revents().is_empty());
                        (telemetry, pipe)
                    }
                    Err(_) => (true, true),
                }
            }
            (telemetry, pipe) => (telemetry.is_some(), pipe.is_some()),
        }
    }
}

impl Source {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Pipe(pipe) => pipe.poll_read_ready(cx),
            Self::Telemetry(socket) => socket.poll_recv_ready(cx),
        }
    }

    /// Reads once if the reactor says that there is something to read.
    fn read_if_ready(&self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Pipe(pipe) => pipe.try_io(|| read_now(self, buffer)),
            Self::Telemetry(socket) => socket.try_io(Interest::READABLE, || read_now(self, buffer)),
        }
    }
}

impl AsFd for Source {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Pipe(pipe) => pipe.as_fd(),
            Self::Telemetry(socket) => socket.as_fd(),
        }
    }
}

fn read_now(source: &Source, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match rustix::io::read(source, &mut *buffer) {
            Err(Errno::INTR) => {}
            read => return Ok(read?),
        }
    }
}

/// What has been read of a descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Moved {
    /// Nothing: it is waited for.
    None,
    /// All that there was.
    All,
    /// Enough for once.
    Part,
}

/// Reads a descriptor that is ready until it is empty. Closes it at its end.
fn poll_one(
    slot: &mut Option<Source>,
    log: &mut LogBuffer,
    clock: &dyn Clock,
    cx: &mut Context<'_>,
) -> Moved {
    let mut moved = Moved::None;
    loop {
        let Some(source) = slot else { return Moved::None };
        match source.poll_ready(cx) {
            Poll::Pending => return moved,
            Poll::Ready(Ok(())) => {
                match read_all(source, log, clock, READS_IN_A_ROW, Source::read_if_ready) {
                    Reading::Empty => moved = Moved::All,
                    Reading::More => return Moved::Part,
                    Reading::Ended => {
                        *slot = None;
                        return Moved::All;
                    }
                }
            }
            Poll::Ready(Err(_)) => {
                *slot = None;
                return Moved::All;
            }
        }
    }
}

enum Reading {
    /// Nothing is left for now.
    Empty,
    /// Enough was read for once.
    More,
    /// All other ends are closed.
    Ended,
}

fn read_all(
    source: &Source,
    log: &mut LogBuffer,
    clock: &dyn Clock,
    most: usize,
    read: impl Fn(&Source, &mut [u8]) -> io::Result<usize>,
) -> Reading {
    BUFFER.with_borrow_mut(|buffer| {
        buffer.resize(SCRATCH, 0);
        for _ in 0..most {
            let length = match read(source, buffer) {
                Ok(0) => return Reading::Ended,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Reading::Empty,
                Err(_) => return Reading::Ended,
            };
            let bytes = buffer.get(..length).unwrap_or_default();
            match source {
                Source::Pipe(_) => log.output(bytes, clock.now_ms()),
                Source::Telemetry(_) => log.datagram(bytes, clock.now_ms()),
            }
        }
        Reading::More
    })
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io::Write;

    use lambkin_core::clock::SystemClock;
    use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

    use super::*;

    fn messages(log: &mut LogBuffer) -> Vec<String> {
        log.take_events().into_iter().map(|event| event.message).collect()
    }

    #[tokio::test]
    async fn both_ways_of_output_reach_the_log() {
        let (ours, pipe) = rustix::pipe::pipe().unwrap();
        let mut pipe = File::from(pipe);
        let (records, our_records) =
            socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
        let mut output = Output::new(Some(ours), Some(our_records)).unwrap();
        let (mut log, clock) = (LogBuffer::default(), SystemClock::default());

        output.drain(&mut log, &clock);
        assert!(messages(&mut log).is_empty());
        pipe.write_all(b"native\n").unwrap();
        send(&records, b"rrecord", SendFlags::empty()).unwrap();
        send(&records, b"oline\n", SendFlags::empty()).unwrap();
        output.drain(&mut log, &clock);
        assert_eq!(messages(&mut log), ["record", "line\n", "native\n"]);

        for _ in 0..200 {
            send(&records, b"oshort\n", SendFlags::empty()).unwrap();
        }
        output.drain(&mut log, &clock);
        assert_eq!(messages(&mut log).len(), 200);

        let writer = std::thread::spawn(move || {
            for _ in 0..10_000 {
                pipe.write_all(&[b'x'; 99]).unwrap();
                pipe.write_all(b"\n").unwrap();
            }
        });
        let mut lines = 0;
        while lines < 10_000 {
            output.pump(&mut log, &clock).await;
            lines += messages(&mut log).len();
        }
        writer.join().unwrap();
        drop(records);
        while output.pipe.is_some() || output.telemetry.is_some() {
            output.pump(&mut log, &clock).await;
        }
        tokio::select! {
            biased;
            () = output.pump(&mut log, &clock) => panic!("output after its end"),
            () = tokio::task::yield_now() => {}
        }
    }
}
