//! Init: pid 1 of a sandbox. Forked from the spawner, it sets the sandbox up from inside, gives up all
//! privileges, starts the program and collects zombies until the program ends.
//!
//! It stays root of the host until everything is mounted, then enters a user namespace that maps nothing
//! but the sandbox's own user. What it mounts thus belongs to namespaces in which nobody inside has rights.

pub(crate) mod fork;
mod merge;
mod process_init;
mod rewrite;
mod root;
pub(crate) mod zygote;

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

use crate::cgroup::Threshold;
use crate::error::{Context, SandboxError};
use crate::members::MembersKind;
use crate::net::{self, Attachment, LoopbackSocket};
use crate::protocol::{self, InitMessage, Part};
use crate::seccomp::Filters;
use crate::spec::{Origin, SandboxSpec};
use crate::sys::{self, process, socket};
use fork::Fork;

/// User and group id of the program inside, those of AWS's `sbx_user1051`.
pub(crate) const INNER_UID: u32 = 993;
/// See [`INNER_UID`].
pub(crate) const INNER_GID: u32 = 990;

/// Namespaces that init is cloned into. The network namespace takes the kernel longest and follows when a
/// zygote has been asked for a fork, with that of cgroups; the user namespace comes last.
pub(crate) const CLONE_NAMESPACES: i32 =
    libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;

const HOST_NAME: &str = "lambkin";

/// The kernel's OOM killer, when the whole host is short, takes sandboxes before the server.
const OOM_SCORE: &str = "500";

/// Descriptors that the program gets are kept from here on until they are put in place.
const PARKED_FDS: RawFd = 10;

/// Nobody but the owner writes to new files.
const UMASK: u32 = 0o022;

/// What init works with.
#[derive(Debug)]
pub(crate) struct Input<'a> {
    /// The sandbox to set up.
    pub(crate) spec: &'a SandboxSpec,
    /// Its user and group, as the spawner's user namespace numbers them.
    pub(crate) ids: (u32, u32),
    /// Whether the spawner's supplementary groups can be taken away.
    pub(crate) clears_groups: bool,
    /// Whether device nodes can be made; else those of the host are bound.
    pub(crate) makes_devices: bool,
    /// Whether a cgroup limits memory and processes.
    pub(crate) has_group: bool,
    /// The signal on which the sandbox is to end, also sent when the spawner ends.
    pub(crate) kill_signal: i32,
    /// A folder of its own, if it is to be a plain process; else it has been cloned into new namespaces.
    pub(crate) folder: Option<&'a Path>,
    /// Messages to the spawner.
    pub(crate) status: BorrowedFd<'a>,
    /// Becomes the program's stdout and stderr.
    pub(crate) output: BorrowedFd<'a>,
    /// Become the program's fds 3 and 4.
    pub(crate) channels: Option<(BorrowedFd<'a>, BorrowedFd<'a>)>,
    /// The program starts when a byte comes from it.
    pub(crate) gate: Option<BorrowedFd<'a>>,
    /// Writing `0` into each puts init into its cgroups.
    pub(crate) cgroup_entries: &'a [File],
    /// To be registered once the program runs.
    pub(crate) threshold: Option<Threshold<'a>>,
    /// The link to the outside and the host's network namespace.
    pub(crate) attachment: Option<(&'a Attachment, &'a File)>,
    /// Compiled seccomp filters.
    pub(crate) filters: &'a Filters,
    /// What the program is to be forked from.
    pub(crate) zygote: Option<fork::Way<'a>>,
}

/// Ends the process should anything unwind: the spawner's stack lies above.
struct ExitOnUnwind;

impl Drop for ExitOnUnwind {
    fn drop(&mut self) {
        process::exit_now(70);
    }
}

/// Runs init in a process that has just been cloned.
pub(crate) fn run(input: &Input<'_>) -> ! {
    let _guard = ExitOnUnwind;
    let error = match (Kept::new(input), input.folder) {
        (Ok((kept, _)), Some(folder)) => process_init::run(input, kept, folder),
        (Ok((mut kept, host_network)), None) => match set_up(input, &kept, host_network) {
            Ok(ready) => {
                let fork = kept.fork.take();
                let forked = fork.map(|fork| fork?.become_program(input, &kept, &ready));
                reap(start(kept, ready, forked))
            }
            Err(error) => {
                tell(kept.status.as_fd(), &InitMessage::Failed(error), &[]);
                process::exit_now(1)
            }
        },
        (Err(error), _) => error,
    };
    tell(input.status, &InitMessage::Failed(error), &[]);
    process::exit_now(1)
}

/// Says something to the spawner. If that fails the spawner is gone, and so will we be.
fn tell(status: BorrowedFd<'_>, message: &InitMessage, fds: &[BorrowedFd<'_>]) {
    let _ = protocol::send(status, message, fds);
}

/// The descriptors that outlive the great closing.
struct Kept {
    status: OwnedFd,
    output: OwnedFd,
    channels: Option<(OwnedFd, OwnedFd)>,
    gate: Option<File>,
    threshold: Option<KeptThreshold>,
    /// The fork that has been asked for, or why that was not possible.
    fork: Option<Result<Fork, String>>,
}

/// See [`Threshold`].
struct KeptThreshold {
    registry: File,
    events: OwnedFd,
    usage: OwnedFd,
    bytes: u64,
}

impl KeptThreshold {
    fn register(self) -> Result<(), SandboxError> {
        let line = format!("{} {} {}", self.events.as_raw_fd(), self.usage.as_raw_fd(), self.bytes);
        sys::write_at_start(&self.registry, &line).step("register memory threshold")?;
        // The program may have passed it before: have the spawner look once.
        let events = File::from(self.events);
        (&events).write_all(&1_u64.to_ne_bytes()).step("announce memory threshold")
    }
}

impl Kept {
    /// Keeps what it must, closes all else. Beside it the host's network namespace, to be let go before the
    /// program starts.
    fn new(input: &Input<'_>) -> Result<(Kept, Option<File>), SandboxError> {
        // First of all: what it takes goes on beside us.
        let request = |way| Fork::request(way).map_err(|error| error.to_string());
        let fork = input.zygote.as_ref().map(request);
        process::set_name(c"lambkin-init");
        process::set_parent_death_signal(input.kill_signal).step("set parent death signal")?;
        process::new_session().step("start session")?;
        process::reset_signals().step("reset signals")?;
        // Else the process's files in /proc would belong to root of the host, which only that may write to.
        process::set_dumpable(true).step("become dumpable")?;
        for entry in input.cgroup_entries {
            sys::write_at_start(entry, "0").step("enter cgroup")?;
        }
        let park = |fd: BorrowedFd<'_>| sys::duplicate_from(fd, PARKED_FDS).step("keep descriptor");
        let kept = Kept {
            status: park(input.status)?,
            output: park(input.output)?,
            channels: match input.channels {
                Some((channel, telemetry)) => Some((park(channel)?, park(telemetry)?)),
                None => None,
            },
            gate: match input.gate {
                Some(gate) => Some(park(gate)?.into()),
                None => None,
            },
            threshold: match input.threshold {
                Some(threshold) => Some(KeptThreshold {
                    registry: park(threshold.registry)?.into(),
                    events: park(threshold.events)?,
                    usage: park(threshold.usage)?,
                    bytes: threshold.bytes,
                }),
                None => None,
            },
            fork,
        };
        let mut numbers = vec![kept.status.as_raw_fd(), kept.output.as_raw_fd()];
        if let Some((channel, telemetry)) = &kept.channels {
            numbers.extend([channel.as_raw_fd(), telemetry.as_raw_fd()]);
        }
        numbers.extend(kept.gate.as_ref().map(AsRawFd::as_raw_fd));
        if let Some(threshold) = &kept.threshold {
            let KeptThreshold { registry, events, usage, .. } = threshold;
            numbers.extend([registry.as_raw_fd(), events.as_raw_fd(), usage.as_raw_fd()]);
        }
        if let Some(Ok(fork)) = &kept.fork {
            numbers.push(fork.connection.as_raw_fd());
        }
        let host_network = match input.attachment {
            Some((_, namespace)) => Some(File::from(park(namespace.as_fd())?)),
            None => None,
        };
        numbers.extend(host_network.as_ref().map(AsRawFd::as_raw_fd));
        process::close_all_but(&numbers).step("close descriptors")?;
        Ok((kept, host_network))
    }
}

/// What the set-up leaves for the start.
struct Ready {
    /// `/tmp`, if it is a file system of its own.
    tmp: Option<OwnedFd>,
    /// Where processes are listed, if there is no cgroup.
    members: Option<(MembersKind, OwnedFd)>,
    null: OwnedFd,
    listeners: Vec<(u16, TcpListener)>,
    sockets: Vec<(LoopbackSocket, OwnedFd)>,
    /// Number of its interface on the host.
    link: Option<u32>,
    program: Program,
    helpers: Vec<Program>,
    /// Whether the program has to be told to end with init.
    tied: bool,
}

/// The arguments of `execve`.
struct Program {
    path: CString,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

impl Program {
    fn new(spec: &SandboxSpec) -> Result<Program, SandboxError> {
        Program::of(&spec.command, &spec.environment)
    }

    fn helpers(spec: &SandboxSpec) -> Result<Vec<Program>, SandboxError> {
        spec.helpers.iter().map(|helper| Program::of(&helper.command, &helper.environment)).collect()
    }

    fn of(command: &[String], environment: &[(String, String)]) -> Result<Program, SandboxError> {
        let text = |text: &str| sys::c_string(text).step("prepare command");
        let arguments: Vec<CString> =
            command.iter().map(|argument| text(argument)).collect::<Result<_, _>>()?;
        let environment = environment.iter().map(|(name, value)| text(&format!("{name}={value}")));
        let path =
            arguments.first().cloned().ok_or_else(|| SandboxError::Spec("command is empty".to_owned()))?;
        Ok(Program { path, arguments, environment: environment.collect::<Result<_, _>>()? })
    }
}

fn set_up(input: &Input<'_>, kept: &Kept, host_network: Option<File>) -> Result<Ready, SandboxError> {
    let spec = input.spec;
    let (program, helpers) = (Program::new(spec)?, Program::helpers(spec)?);
    // The cgroups we are in now become the roots that are seen inside.
    process::unshare(libc::CLONE_NEWCGROUP | libc::CLONE_NEWNET).step("new namespaces")?;
    process::set_host_name(HOST_NAME).step("set host name")?;
    let listeners = listen(&spec.listen_ports)?;
    let sockets = loopback_sockets(&spec.network.sockets)?;
    let link = match input.attachment.zip(host_network.as_ref()) {
        Some(((attachment, _), host_network)) => Some(net::attach(attachment, host_network)?),
        None => None,
    };
    drop(host_network);
    let root = root::build(input)?;
    let null = File::options().read(true).write(true).open("/dev/null").at("open", "/dev/null")?;
    let null = sys::duplicate_from(null.as_fd(), PARKED_FDS).step("keep descriptor")?;
    // A program may open /dev/stdout, which opens the pipe anew.
    sys::change_owner(kept.output.as_fd(), input.ids.0, input.ids.1).step("give output away")?;
    write_proc("/proc/self/oom_score_adj", OOM_SCORE)?;
    set_limits(spec)?;
    let members = if input.has_group {
        None
    } else {
        let proc = File::open("/proc").at("open", "/proc")?;
        let proc = sys::duplicate_from(proc.as_fd(), PARKED_FDS).step("keep descriptor")?;
        Some((MembersKind::Namespace, proc))
    };
    drop_privileges(input, kept, root.user_sysctl)?;
    std::env::set_current_dir(&spec.working_dir).at("change directory to", &spec.working_dir)?;
    process::set_umask(UMASK);
    input.filters.install()?;
    Ok(Ready { tmp: Some(root.tmp), members, null, listeners, sockets, link, program, helpers, tied: false })
}

fn write_proc(path: &str, text: &str) -> Result<(), SandboxError> {
    let file = File::options().write(true).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).at("write", path)
}

fn listen(ports: &[u16]) -> Result<Vec<(u16, TcpListener)>, SandboxError> {
    socket::loopback_up().step("bring loopback up")?;
    let listener = |port: &u16| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, *port))
            .and_then(|listener| listener.set_nonblocking(true).map(|()| (*port, listener)))
            .at("listen on port", &port.to_string())
    };
    ports.iter().map(listener).collect()
}

fn loopback_sockets(wanted: &[LoopbackSocket]) -> Result<Vec<(LoopbackSocket, OwnedFd)>, SandboxError> {
    let socket = |socket: &LoopbackSocket| {
        let made = match socket {
            LoopbackSocket::Tcp(address) => TcpListener::bind(address)
                .and_then(|listener| listener.set_nonblocking(true).map(|()| listener.into()))
                .at("listen on", &address.to_string()),
            LoopbackSocket::Udp(address) => UdpSocket::bind(address)
                .and_then(|socket| socket.set_nonblocking(true).map(|()| socket.into()))
                .at("bind to", &address.to_string()),
        };
        made.map(|made| (*socket, made))
    };
    wanted.iter().map(socket).collect()
}

/// Name, number and limit of resources.
fn limits(spec: &SandboxSpec) -> [(&'static str, libc::__rlimit_resource_t, u64); 4] {
    [
        ("open files", libc::RLIMIT_NOFILE, spec.open_files_max),
        ("core size", libc::RLIMIT_CORE, 0),
        ("locked memory", libc::RLIMIT_MEMLOCK, 64 * 1024),
        ("message queues", libc::RLIMIT_MSGQUEUE, 0),
    ]
}

/// Most processes of the sandbox's user, where no cgroup counts them. Since Linux 5.14 they count within the
/// user namespace. Init is one of them.
fn process_limit(input: &Input<'_>) -> Option<u64> {
    (!input.has_group).then(|| u64::from(input.spec.pids_max).saturating_add(1))
}

fn set_limits(spec: &SandboxSpec) -> Result<(), SandboxError> {
    for (name, resource, value) in limits(spec) {
        process::set_limit(resource, value).at("set limit of", name)?;
    }
    Ok(())
}

/// From root, of the host or the spawner's user namespace, to a user without any capability, in a user
/// namespace that has only this user.
fn drop_privileges(input: &Input<'_>, kept: &Kept, user_sysctl: OwnedFd) -> Result<(), SandboxError> {
    if input.clears_groups {
        process::clear_groups().step("clear groups")?;
    }
    process::unshare(libc::CLONE_NEWUSER).step("new user namespace")?;
    process::set_dumpable(true).step("become dumpable")?;
    // Only a process of the parent namespace may map a user id that is not its own.
    protocol::send(kept.status.as_fd(), &InitMessage::MapUsers, &[]).step("ask for user map")?;
    if socket::receive(kept.status.as_fd(), &mut [0; 8], true).step("wait for user map")?.0 == 0 {
        process::exit_now(1);
    }
    // A second barrier: no user namespaces below this one, should the filter ever let one through.
    let max_namespaces = format!("/proc/self/fd/{}/max_user_namespaces", user_sysctl.as_raw_fd());
    write_proc(&max_namespaces, "0")?;
    drop(user_sysctl);
    if let Some(most) = process_limit(input) {
        process::set_limit(libc::RLIMIT_NPROC, most).at("set limit of", "processes")?;
    }
    process::become_user(INNER_UID, INNER_GID).step("become user")?;
    process::drop_capabilities().step("drop capabilities")?;
    process::set_no_new_privileges().step("set no_new_privs")?;
    process::set_dumpable(false).step("become undumpable")?;
    // Changing credentials has cleared it. If the spawner died before this, its end of the socket is closed.
    process::set_parent_death_signal(libc::SIGKILL).step("set parent death signal")?;
    match socket::receive(kept.status.as_fd(), &mut [0; 8], false) {
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
        _ => process::exit_now(1),
    }
}

/// The program's process id and what is needed to follow it.
struct Started {
    status: OwnedFd,
    pid: i32,
    /// Tells whether it could be executed, if it was to be.
    exec_error: Option<OwnedFd>,
    /// Process ids of those that run, in the order of the spec.
    helpers: Vec<Option<i32>>,
    program_ended: bool,
}

/// Starts the program, unless it is there already: `forked` is its process id, or why it was not forked from
/// a zygote.
fn start(kept: Kept, ready: Ready, forked: Option<Result<i32, String>>) -> Started {
    let fail = |step: &str, error: &io::Error| -> ! {
        tell(kept.status.as_fd(), &InitMessage::Failed(SandboxError::step(step, error)), &[]);
        process::exit_now(1)
    };
    let (pid, exec_error, origin) = match forked {
        Some(Ok(pid)) => (pid, None, Origin::Forked),
        other => match fork_and_execute(&kept, &ready) {
            Ok((pid, exec_error)) => {
                let origin = other.and_then(Result::err).map_or(Origin::Executed, Origin::FellBack);
                (pid, Some(exec_error), origin)
            }
            Err(error) => fail("fork", &error),
        },
    };
    let mut helpers = Vec::with_capacity(ready.helpers.len());
    for helper in &ready.helpers {
        match process::fork() {
            Ok(None) => {
                let error = execute(helper, None, &kept.output, &ready);
                process::exit_now(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 })
            }
            Ok(Some(pid)) => helpers.push(Some(pid)),
            Err(error) => fail("fork", &error),
        }
    }
    let pidfd = match process::pidfd_open(pid) {
        Ok(pidfd) => pidfd,
        Err(error) => fail("open pidfd", &error),
    };
    let mut parts = vec![Part::Program];
    let mut fds = vec![pidfd.as_fd()];
    if let Some(tmp) = &ready.tmp {
        parts.push(Part::Tmp);
        fds.push(tmp.as_fd());
    }
    if let Some((kind, members)) = &ready.members {
        parts.push(Part::Members(*kind));
        fds.push(members.as_fd());
    }
    for (port, listener) in &ready.listeners {
        parts.push(Part::Listener(*port));
        fds.push(listener.as_fd());
    }
    for (socket, fd) in &ready.sockets {
        parts.push(Part::Socket(*socket));
        fds.push(fd.as_fd());
    }
    tell(kept.status.as_fd(), &InitMessage::Started { parts, link: ready.link, origin }, &fds);
    let Kept { status, output, channels, gate, threshold, fork: _ } = kept;
    // Our copies: the program's own close is the end of its output.
    drop((ready, output, channels, gate));
    if let Some(Err(error)) = threshold.map(KeptThreshold::register) {
        tell(status.as_fd(), &InitMessage::Failed(error), &[]);
        process::exit_now(1)
    }
    Started { status, pid, helpers, program_ended: false, exec_error }
}

/// Forks and executes the program: its process id, and what tells whether it could be executed.
fn fork_and_execute(kept: &Kept, ready: &Ready) -> io::Result<(i32, OwnedFd)> {
    let (exec_error, writer) = sys::pipe()?;
    let writer = sys::duplicate_from(writer.as_fd(), PARKED_FDS)?;
    match process::fork()? {
        None => {
            let error = execute(&ready.program, Some(kept), &kept.output, ready);
            let _ = File::from(writer).write_all(&sys::errno(&error).to_ne_bytes());
            process::exit_now(127)
        }
        Some(pid) => Ok((pid, exec_error)),
    }
}

/// Puts the descriptors in place and becomes a program; returns only on failure. The program itself gets the
/// channels, and waits at the gate.
fn execute(program: &Program, own: Option<&Kept>, output: &OwnedFd, ready: &Ready) -> io::Error {
    let prepare = || -> io::Result<()> {
        process::new_session()?;
        if ready.tied {
            process::set_parent_death_signal(libc::SIGKILL)?;
            // Init has blocked some to wait for them.
            process::reset_signals()?;
        }
        process::place(ready.null.as_fd(), 0)?;
        process::place(output.as_fd(), 1)?;
        process::place(output.as_fd(), 2)?;
        let mut next = 3;
        if let Some((channel, telemetry)) = own.and_then(|own| own.channels.as_ref()) {
            process::place(channel.as_fd(), 3)?;
            process::place(telemetry.as_fd(), 4)?;
            next = 5;
        }
        process::close_on_exec_from(next)?;
        match own.and_then(|own| own.gate.as_ref()) {
            Some(mut gate) => gate.read_exact(&mut [0]),
            None => Ok(()),
        }
    };
    match prepare() {
        Ok(()) => process::execute(&program.path, &program.arguments, &program.environment),
        Err(error) => error,
    }
}

impl Started {
    /// The errno if the program, which has ended, was never executed.
    fn exec_error(&self) -> Option<i32> {
        let mut errno = [0; 4];
        let pipe = self.exec_error.as_ref()?;
        let failed = pipe.try_clone().is_ok_and(|fd| File::from(fd).read_exact(&mut errno).is_ok());
        failed.then_some(i32::from_ne_bytes(errno))
    }

    /// Says how a process ended, if it was the program or a helper; whether all of them have ended.
    fn report(&mut self, pid: i32, raw: i32) -> bool {
        if pid == self.pid {
            self.program_ended = true;
            let message = self.exec_error().map_or(InitMessage::Exited(raw), InitMessage::ExecFailed);
            tell(self.status.as_fd(), &message, &[]);
        } else if let Some(number) = self.helpers.iter().position(|helper| *helper == Some(pid)) {
            self.helpers.iter_mut().skip(number).take(1).for_each(|helper| *helper = None);
            tell(self.status.as_fd(), &InitMessage::HelperExited(number, raw), &[]);
        }
        self.program_ended && self.helpers.iter().all(Option::is_none)
    }
}

/// Waits for the program and its helpers, collecting whatever else ends, and reports how they ended. With our
/// end the kernel kills all that is left in the pid namespace.
fn reap(mut started: Started) -> ! {
    loop {
        match process::wait_for(None) {
            Ok((pid, status)) if started.report(pid, status) => process::exit_now(0),
            Ok(_) => {}
            Err(_) => process::exit_now(1),
        }
    }
}

/// Answers init's request to have its user namespace mapped: the spawner's side.
pub(crate) fn map_users(pid: i32, ids: (u32, u32), status: BorrowedFd<'_>) -> Result<(), SandboxError> {
    let write = |name: &str, text: &str| write_proc(&format!("/proc/{pid}/{name}"), text);
    write("setgroups", "deny")?;
    write("gid_map", &format!("{INNER_GID} {} 1", ids.1))?;
    write("uid_map", &format!("{INNER_UID} {} 1", ids.0))?;
    socket::send(status, b"k", &[]).step("answer init")
}
