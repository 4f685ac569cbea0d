//! Init of a sandbox that is none: a plain process that looks after the program and all its descendants.
//!
//! There are no namespaces, so what the spec promises by path is somewhere else: paths in the command, the
//! environment and the working directory are rewritten ([`super::rewrite`]). Without a pid namespace the
//! kernel ends nothing either: init adopts every descendant whose parent has ended, and on `SIGTERM`, which
//! it also gets when the spawner ends, stops and kills them all before it ends itself.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::rewrite::Rewriter;
use super::{Input, Kept, PARKED_FDS, Program, Ready, Started, merge, set_limits, start, tell};
use crate::cgroup::none::remove_tree;
use crate::error::{Context, SandboxError};
use crate::members::{Members, MembersKind};
use crate::protocol::InitMessage;
use crate::spec::SandboxSpec;
use crate::sys::poll::{self, Interest, Poller};
use crate::sys::{self, process};

/// How many loopback addresses are tried.
const ADDRESSES: usize = 32;

/// How long to wait for killed processes before looking for new ones.
const ROUND: Duration = Duration::from_millis(5);

/// Runs init in a process that has just been forked. `folder` is the sandbox's own.
pub(super) fn run(input: &Input<'_>, kept: Kept, folder: &Path) -> ! {
    let prepared = prepare(input, folder);
    match prepared {
        Ok((watch, ready)) => supervise(&watch, start(kept, ready, None), folder),
        Err(error) => {
            let _ = remove_tree(folder);
            tell(kept.status.as_fd(), &InitMessage::Failed(error), &[]);
            process::exit_now(1)
        }
    }
}

/// What init waits with.
struct Watch {
    poller: Poller,
    signals: OwnedFd,
    tree: Members,
}

fn prepare(input: &Input<'_>, folder: &Path) -> Result<(Watch, Ready), SandboxError> {
    process::adopt_orphans().step("adopt orphans")?;
    let signals = poll::signal_descriptor(&[libc::SIGTERM, libc::SIGCHLD]).step("block signals")?;
    let signals = sys::duplicate_from(signals.as_fd(), PARKED_FDS).step("keep descriptor")?;
    let poller = Poller::new().step("make poller")?;
    poller.add(signals.as_fd(), Interest::Readable, 0).step("watch signals")?;
    let own = || File::open("/proc/self").at("open", "/proc/self");
    let watch = Watch { poller, signals, tree: Members::new(MembersKind::Tree, own()?.into()) };
    let ready = set_up(input.spec, folder, own()?.into())?;
    Ok((watch, ready))
}

fn set_up(spec: &SandboxSpec, folder: &Path, members: OwnedFd) -> Result<Ready, SandboxError> {
    let (address, listeners) = listen(&spec.listen_ports)?;
    let tmp = folder.join("tmp");
    fs::create_dir(&tmp).at("make folder", &tmp.to_string_lossy())?;
    let mut rewriter = Rewriter::new(spec);
    for (number, (target, sources)) in spec.overlays.iter().enumerate() {
        rewriter.place(target, merged(folder, number, sources)?);
    }
    rewriter.place("/tmp", tmp.clone());
    for (port, _) in &listeners {
        rewriter.listen(*port, address);
    }
    let mut spec = rewriter.apply(spec);
    if !spec.environment.iter().any(|(name, _)| name == "TMPDIR") {
        spec.environment.push(("TMPDIR".to_owned(), tmp.to_string_lossy().into_owned()));
    }
    let null = File::options().read(true).write(true).open("/dev/null").at("open", "/dev/null")?;
    let null = sys::duplicate_from(null.as_fd(), PARKED_FDS).step("keep descriptor")?;
    set_limits(&spec)?;
    process::set_no_new_privileges().step("set no_new_privs")?;
    std::env::set_current_dir(&spec.working_dir).at("change directory to", &spec.working_dir)?;
    process::set_umask(0o022);
    Ok(Ready {
        tmp: None,
        members: Some((MembersKind::Tree, members)),
        null,
        listeners,
        sockets: Vec::new(),
        link: None,
        program: Program::new(&spec)?,
        helpers: Program::helpers(&spec)?,
        tied: true,
    })
}

/// One folder that shows what is in several.
fn merged(folder: &Path, number: usize, sources: &[PathBuf]) -> Result<PathBuf, SandboxError> {
    if let [only] = sources {
        return Ok(only.clone());
    }
    let target = folder.join(format!("merged-{number}"));
    merge::link(&target, sources).at("merge folders at", &target.to_string_lossy())?;
    Ok(target)
}

/// Listens on a loopback address that is hard to guess. Nothing else keeps other processes of this host
/// away.
fn listen(ports: &[u16]) -> Result<(Ipv4Addr, Vec<(u16, TcpListener)>), SandboxError> {
    let mut last = io::Error::from_raw_os_error(libc::EADDRINUSE);
    for _ in 0..ADDRESSES {
        let [a, b, c] = sys::random().step("choose an address")?;
        // Neither the network's own address nor that of broadcasts, and not 127.0.0.0/16, which hosts use.
        let address = Ipv4Addr::new(127, a.max(1), b, c.clamp(1, 254));
        let all = ports.iter().map(|port| {
            let listener = TcpListener::bind(SocketAddrV4::new(address, *port))?;
            listener.set_nonblocking(true)?;
            Ok((*port, listener))
        });
        match all.collect::<io::Result<Vec<_>>>() {
            Ok(listeners) => return Ok((address, listeners)),
            Err(error) => last = error,
        }
    }
    Err(SandboxError::step("listen on loopback", &last))
}

/// Waits for the end of the program and its helpers or the signal to end, ends all that is left, and reports.
fn supervise(watch: &Watch, mut started: Started, folder: &Path) -> ! {
    let mut ended = false;
    let mut asked = false;
    while !ended && !asked {
        let _ = watch.poller.wait(None);
        while let Some(signal) = poll::next_signal(watch.signals.as_fd()) {
            asked |= signal == libc::SIGTERM;
        }
        ended = collect(&mut started).unwrap_or_default();
    }
    loop {
        // Stopped first, they cannot make others meanwhile.
        watch.tree.stop();
        watch.tree.signal(libc::SIGKILL);
        // An error says that no children are left.
        if collect(&mut started).is_err() {
            break;
        }
        let _ = watch.poller.wait(Some(ROUND));
        poll::drain(watch.signals.as_fd());
    }
    // What cannot be removed is left to the spawner.
    let _ = remove_tree(folder);
    process::exit_now(0)
}

/// Collects all children that have ended and reports what is known of them; whether the program and all
/// helpers have ended. An error when there are no children.
fn collect(started: &mut Started) -> io::Result<bool> {
    let mut over = false;
    loop {
        match process::collect_one() {
            Ok(Some((pid, raw))) => over |= started.report(pid, raw),
            Ok(None) => return Ok(over),
            Err(_) if over => return Ok(over),
            Err(error) => return Err(error),
        }
    }
}
