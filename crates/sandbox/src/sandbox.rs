//! A sandbox in the hands of its owner.

use std::fs::File;
use std::io::{self, Write as _};
use std::net::TcpListener;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::cgroup::Controls;
use crate::error::{Context, SandboxError};
use crate::memory;
use crate::net::{Admission, LoopbackSocket};
use crate::spawner::Link;
use crate::spec::{ExitStatus, Origin, SandboxSpec, Usage};
use crate::sys::socket::{self, Pair};
use crate::sys::{self, process};

/// Buffers of the telemetry socket, in bytes.
const TELEMETRY_BUFFER: i32 = 4 * 1024 * 1024;

/// The server's ends of a sandbox's descriptors, made before the sandbox is.
pub(crate) struct Parts {
    id: String,
    pub(crate) memory_bytes: u64,
    pub(crate) pids_max: u32,
    output: OwnedFd,
    channel: Option<OwnedFd>,
    telemetry: Option<OwnedFd>,
    gate: Option<OwnedFd>,
}

impl Parts {
    /// Makes the pipe and the socket pairs; returns the sandbox's ends beside.
    pub(crate) fn new(spec: &SandboxSpec) -> Result<(Parts, Vec<OwnedFd>), SandboxError> {
        let nonblocking = |fd: OwnedFd| sys::set_nonblocking(fd.as_fd()).map(|()| fd);
        let (output, output_end) = sys::pipe().step("make output pipe")?;
        let output = nonblocking(output).step("make output pipe")?;
        let mut parts = Parts {
            id: spec.id.clone(),
            memory_bytes: spec.memory_bytes,
            pids_max: spec.pids_max,
            output,
            channel: None,
            telemetry: None,
            gate: None,
        };
        let mut ends = vec![output_end];
        if spec.channel {
            let (channel, channel_end) = socket::socket_pair(Pair::Stream).step("make channel")?;
            let (telemetry, telemetry_end) = socket::socket_pair(Pair::Messages).step("make telemetry")?;
            for end in [&telemetry, &telemetry_end] {
                socket::enlarge_buffers(end.as_fd(), TELEMETRY_BUFFER).step("enlarge telemetry")?;
            }
            parts.channel = Some(nonblocking(channel).step("make channel")?);
            parts.telemetry = Some(nonblocking(telemetry).step("make telemetry")?);
            ends.extend([channel_end, telemetry_end]);
        }
        if !spec.helpers.is_empty() {
            let (gate_end, gate) = sys::pipe().step("make gate")?;
            parts.gate = Some(gate);
            ends.push(gate_end);
        }
        Ok((parts, ends))
    }
}

/// What of a sandbox its spawner has made.
#[derive(Debug)]
pub(crate) struct Ways {
    /// Its init.
    pub(crate) init: OwnedFd,
    /// Its program.
    pub(crate) program: OwnedFd,
    /// The signal on which init ends everything.
    pub(crate) kill_signal: i32,
    /// Listeners and the ports that the spec has for them.
    pub(crate) listeners: Vec<(u16, TcpListener)>,
    /// Those of the spec's network.
    pub(crate) sockets: Vec<(LoopbackSocket, OwnedFd)>,
    pub(crate) admission: Option<Admission>,
    pub(crate) origin: Origin,
}

/// A running sandbox. Dropping it kills it; the spawner then removes what is left.
#[derive(Debug)]
pub struct Sandbox {
    id: String,
    memory_bytes: u64,
    output: Option<OwnedFd>,
    channel: Option<OwnedFd>,
    telemetry: Option<OwnedFd>,
    gate: Mutex<Option<OwnedFd>>,
    ways: Ways,
    controls: Controls,
    link: Arc<Link>,
    peak_bytes: AtomicU64,
}

impl Sandbox {
    pub(crate) fn new(parts: Parts, ways: Ways, controls: Controls, link: Arc<Link>) -> Sandbox {
        Sandbox {
            id: parts.id,
            memory_bytes: parts.memory_bytes,
            output: Some(parts.output),
            channel: parts.channel,
            telemetry: parts.telemetry,
            gate: Mutex::new(parts.gate),
            ways,
            controls,
            link,
            peak_bytes: AtomicU64::new(0),
        }
    }

    /// The name given in the spec.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// Where its program comes from.
    #[must_use]
    pub fn origin(&self) -> &Origin {
        &self.ways.origin
    }

    /// The nonblocking read end of the pipe that is stdout and stderr of the program. `None` at the second
    /// call.
    pub fn take_output(&mut self) -> Option<OwnedFd> {
        self.output.take()
    }

    /// The nonblocking other end of the program's fd 3, a stream socket, if the spec asked for it.
    pub fn take_channel(&mut self) -> Option<OwnedFd> {
        self.channel.take()
    }

    /// The nonblocking other end of the program's fd 4, a `SOCK_SEQPACKET` socket, if the spec asked for it.
    pub fn take_telemetry(&mut self) -> Option<OwnedFd> {
        self.telemetry.take()
    }

    /// The nonblocking listener on 127.0.0.1 and a port of the spec's `listen_ports`. Connections of the
    /// sandbox can be accepted from it, nobody else can make one.
    pub fn take_listener(&mut self, port: u16) -> Option<TcpListener> {
        let position = self.ways.listeners.iter().position(|(of, _)| *of == port)?;
        Some(self.ways.listeners.swap_remove(position).1)
    }

    /// The nonblocking sockets that the spec's network asked for. Nothing at the second call. The sandbox's
    /// network is not gone before they are closed.
    pub fn take_sockets(&mut self) -> Vec<(LoopbackSocket, OwnedFd)> {
        std::mem::take(&mut self.ways.sockets)
    }

    /// Opens further destinations, if the sandbox has an uplink. `None` at the second call.
    pub fn take_admission(&mut self) -> Option<Admission> {
        self.ways.admission.take()
    }

    /// Lets the program start, which waits for that where the spec has helpers.
    pub fn start_program(&self) {
        let gate = self.gate.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(gate) = gate {
            // If nobody is there to read it the sandbox has ended.
            let _ = File::from(gate).write_all(b"g");
        }
    }

    /// Waits until more than `seen` helpers have ended: the next one's number in the spec, and how it ended.
    pub async fn helper_end(&self, seen: usize) -> (usize, ExitStatus) {
        self.link.helper_end(seen).await
    }

    /// Stops all its processes. Returns at once; the last of them stops some microseconds later.
    ///
    /// # Errors
    /// If the sandbox has ended.
    pub fn freeze(&self) -> io::Result<()> {
        self.set_frozen(true)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// If the sandbox has ended.
    pub fn thaw(&self) -> io::Result<()> {
        self.set_frozen(false)
    }

    fn set_frozen(&self, frozen: bool) -> io::Result<()> {
        match self.link.watch() {
            Some(watch) => watch.set_frozen(frozen),
            None => self.controls.set_frozen(frozen),
        }
    }

    /// Sets the CPU time per 20 ms in microseconds (at least 1000); `None` is unthrottled. Does nothing
    /// where CPU time cannot be limited (see [`crate::Spawner::weaknesses`]).
    ///
    /// # Errors
    /// If the sandbox has ended.
    pub fn set_cpu_quota_us(&self, quota_us: Option<u32>) -> io::Result<()> {
        self.controls.set_cpu_quota(quota_us)
    }

    /// What it has used so far; after the end, what it used in all.
    pub fn usage(&self) -> Usage {
        if let Some(ended) = self.link.ended() {
            let previous_peak = self.peak_bytes.load(Ordering::Relaxed);
            let mut usage = ended.usage.unwrap_or_default();
            usage.max_memory_bytes = usage.max_memory_bytes.max(previous_peak);
            return usage;
        }
        if let Some(watch) = self.link.watch() {
            return watch.subject().usage();
        }
        let previous_peak = self.peak_bytes.load(Ordering::Relaxed);
        let counted = || self.controls.read_memory().ok();
        let usage = memory::report(
            self.controls.usage(),
            self.link.tmp_used(),
            self.memory_bytes,
            previous_peak,
            counted,
        );
        self.peak_bytes.fetch_max(usage.max_memory_bytes, Ordering::Relaxed);
        usage
    }

    /// Starts a new peak of memory at what is in use now (where the kernel can: cgroup v2 before Linux 6.12
    /// cannot).
    pub fn reset_peak(&self) {
        self.peak_bytes.store(0, Ordering::Relaxed);
        match self.link.watch() {
            Some(watch) => watch.subject().reset_peak(),
            None => self.controls.reset_peak(),
        }
    }

    /// Kills everything in it, frozen or not. May be called again.
    pub fn kill(&self) {
        // `ESRCH`: it is dead already.
        let _ = process::pidfd_signal(self.ways.init.as_fd(), self.ways.kill_signal);
        if self.controls.frozen_cannot_die() {
            let _ = self.controls.set_frozen(false);
        }
    }

    /// Sends a signal to the program, if it still runs.
    pub fn signal(&self, signal: i32) {
        let _ = process::pidfd_signal(self.ways.program.as_fd(), signal);
    }

    /// Waits for the end of the program. Other processes of the sandbox are killed with it, unless there are
    /// helpers; when they are gone the output ends.
    pub async fn wait(&self) -> ExitStatus {
        self.link.wait().await.status
    }

    /// Whether it has ended because its spawner process was lost; known when [`Sandbox::wait`] has returned.
    #[must_use]
    pub fn is_lost(&self) -> bool {
        self.link.ended().is_some_and(|ended| ended.lost)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.kill();
    }
}
