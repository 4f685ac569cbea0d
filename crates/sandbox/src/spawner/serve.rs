//! The spawner process: a single-threaded loop.

mod make;

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::parent_id;
use std::time::{Duration, Instant};

use super::live::{Live, exit_status};
use super::parts::{CLEAR_PATIENCE, Parts};
use super::slots::Slots;
use super::strays;
use super::token::Token;
use super::zygotes::{Event, Tools, Zygotes};
use super::{SpawnerConfig, check};
use crate::cgroup::{Place, folder};
use crate::error::SandboxError;
use crate::identity::Identity;
use crate::init;
use crate::isolation::Isolation;
use crate::members::{Members, MembersKind};
use crate::memory;
use crate::net::{self, Uplinks};
use crate::protocol::{self, InitMessage, MAX_MESSAGE, Part, Reply, Request, ZygoteEvent};
use crate::seccomp::Filters;
use crate::spec::{ExitStatus, Origin, SandboxSpec};
use crate::sys::poll::{self, Interest, Poller};
use crate::sys::process::{self};

/// How often sandboxes are looked at that have more memory charged than their limit.
const WATCH_INTERVAL: Duration = Duration::from_millis(10);

/// How long all sandboxes may take to end when the spawner closes.
const CLOSE_PATIENCE: Duration = Duration::from_secs(10);

/// How often files of memory are looked for that only the spawner can see.
const COUNT_INTERVAL: Duration = Duration::from_millis(250);

/// Runs the spawner on the socket that is its stdin, until the server closes it.
pub(super) fn run() -> ! {
    let code = match serve() {
        Ok(()) => 0,
        Err(_) => 1,
    };
    process::exit_now(code)
}

fn serve() -> io::Result<()> {
    process::set_name(c"lambkin-spawner");
    process::set_dumpable(false)?;
    // A session of its own: signals of the server's terminal are not for us.
    let _ = process::new_session();
    process::set_umask(0o022);
    let signal = poll::terminate_signal()?;
    // Processes that an init or a zygote leaves behind when it is killed.
    process::adopt_orphans()?;
    let control = crate::sys::duplicate_from(io::stdin().as_fd(), 3)?;
    File::options().read(true).open("/dev/null").and_then(|null| process::place(null.as_fd(), 0))?;
    // Beside the closing of the socket, should some other process hold a copy of it.
    process::set_parent_death_signal(libc::SIGTERM)?;

    let mut buffer = vec![0; MAX_MESSAGE];
    let config = match protocol::receive(control.as_fd(), &mut buffer, true)? {
        Some((Request::Configure(config), _)) => config,
        _ => return Ok(()),
    };
    let mut server = match Server::new(config, control, signal, buffer) {
        Ok((mut server, ready)) => {
            let namespace = net::prepare();
            protocol::send(server.control.as_fd(), &ready, &[])?;
            server.set_up_network(namespace)?;
            server
        }
        Err((control, error)) => return protocol::send(control.as_fd(), &Reply::Unable(error), &[]),
    };
    server.run()
}

struct Server {
    control: OwnedFd,
    signal: OwnedFd,
    buffer: Vec<u8>,
    poller: Poller,
    place: Box<dyn Place>,
    filters: Filters,
    identity: Identity,
    isolation: Isolation,
    slots: Slots,
    live: HashMap<u64, Live>,
    zygotes: Zygotes,
    config: SpawnerConfig,
    /// Ways to the outside, or why there are none.
    uplinks: Result<Uplinks, SandboxError>,
    tolerance: u64,
    next_watch: Option<Instant>,
    next_count: Option<Instant>,
    /// Since when everything is to end, and whether the server waits for an answer.
    closing: Option<(Instant, bool)>,
    /// The server's process id.
    parent: u32,
    _lock: File,
}

impl Server {
    fn new(
        config: SpawnerConfig,
        control: OwnedFd,
        signal: OwnedFd,
        buffer: Vec<u8>,
    ) -> Result<(Server, Reply), (OwnedFd, SandboxError)> {
        let parts = match Parts::new(&config) {
            Ok(parts) => parts,
            Err(error) => return Err((control, error)),
        };
        let watched = parts
            .poller
            .add(control.as_fd(), Interest::Readable, Token::Control.number())
            .and_then(|()| parts.poller.add(signal.as_fd(), Interest::Readable, Token::Signal.number()));
        if let Err(error) = watched {
            return Err((control, SandboxError::step("watch control socket", &error)));
        }
        let server = Server {
            control,
            signal,
            buffer,
            poller: parts.poller,
            place: parts.place,
            filters: parts.filters,
            slots: Slots::new(parts.identity.first, parts.identity.count),
            identity: parts.identity,
            isolation: config.isolation,
            live: HashMap::new(),
            zygotes: Zygotes::default(),
            config,
            uplinks: Err(SandboxError::NoNetwork("it was not asked for".to_owned())),
            tolerance: memory::tolerance(),
            next_watch: None,
            next_count: None,
            closing: None,
            parent: parent_id(),
            _lock: parts.lock,
        };
        let (notes, weaknesses) = (parts.notes, parts.weaknesses);
        Ok((server, Reply::Ready { notes, weaknesses }))
    }

    /// After the server has been told that we are there: it takes a while, in which the server goes on.
    fn set_up_network(&mut self, namespace: io::Result<File>) -> io::Result<()> {
        let Some(wanted) = &self.config.network else { return Ok(()) };
        let made = match self.isolation {
            Isolation::Root => namespace
                .map_err(|error| format!("cannot reach the network's rules: {error}"))
                .and_then(|namespace| Uplinks::set_up(&self.config.instance, wanted, namespace)),
            _ => Err("the server does not run as root".to_owned()),
        };
        let found = match made {
            Ok((uplinks, notes)) => {
                self.uplinks = Ok(uplinks);
                Ok(notes)
            }
            Err(why) => {
                let why = SandboxError::NoNetwork(why);
                self.uplinks = Err(why.clone());
                Err(why)
            }
        };
        protocol::send(self.control.as_fd(), &Reply::Network(found), &[])
    }

    fn run(&mut self) -> io::Result<()> {
        loop {
            for number in self.poller.wait(self.timeout())? {
                match Token::from_number(number) {
                    Token::Control => self.take_request(),
                    Token::Signal => {
                        poll::drain(self.signal.as_fd());
                        // A service manager sends it to all processes of a service; when we are to end is
                        // the server's business as long as it lives.
                        if parent_id() != self.parent {
                            self.close(false);
                        }
                    }
                    Token::Status(key) => self.take_status(key),
                    Token::End(key) => self.reap(key),
                    Token::Memory(key) => self.memory_event(key),
                    Token::ZygoteSays(number) => {
                        self.with_zygotes(|zygotes, tools| zygotes.hear(tools, number));
                    }
                    Token::ZygoteEnd(number) => {
                        self.with_zygotes(|zygotes, tools| zygotes.reap(tools, number));
                        // One that it had just forked may be left.
                        self.end_strays(0);
                    }
                }
            }
            self.with_zygotes(Zygotes::retry);
            self.watch_memory();
            self.count_memory_files();
            self.remove_ended();
            if let Some((since, answer)) = self.closing
                && (self.live.is_empty() || since.elapsed() > CLOSE_PATIENCE)
            {
                return self.finish(answer);
            }
        }
    }

    fn timeout(&self) -> Option<Duration> {
        let removals = self.live.values().filter_map(|live| live.removal.map(|(at, _)| at));
        let closing = self.closing.map(|(since, _)| since + CLOSE_PATIENCE);
        let next = removals
            .chain(self.zygotes.next_retry())
            .chain(self.next_watch)
            .chain(self.next_count)
            .chain(closing)
            .min()?;
        Some(next.saturating_duration_since(Instant::now()))
    }

    /// Tells the server something. If it is gone, so is our reason to be.
    fn reply(&mut self, reply: &Reply, fds: &[BorrowedFd<'_>]) {
        if protocol::send(self.control.as_fd(), reply, fds).is_err() {
            self.close(false);
        }
    }

    fn take_request(&mut self) {
        let received = protocol::receive(self.control.as_fd(), &mut self.buffer, false);
        match received {
            Ok(Some((Request::Create { key, mut spec }, fds))) => {
                self.create(key, &spec, fds);
                // Each init is a copy of this process: what one sandbox is told is not for the next.
                spec.wipe();
                self.buffer.fill(0);
            }
            Ok(Some((Request::KeepZygote { name, spec }, _))) => self.keep_zygote(name, *spec),
            Ok(Some((Request::EndZygote { name }, _))) => self.zygotes.end(&name),
            Ok(Some((Request::End { key }, _))) => {
                if let Some(live) = self.live.get(&key) {
                    live.kill();
                }
            }
            Ok(Some((Request::Shutdown, _))) => self.close(true),
            Ok(Some((Request::Configure(_), _))) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(None) | Err(_) => self.close(false),
        }
    }

    fn close(&mut self, answer: bool) {
        if self.closing.is_some() {
            return;
        }
        self.closing = Some((Instant::now(), answer));
        if !answer {
            // Nobody is left to listen; an end of file would be reported for ever.
            self.poller.remove(self.control.as_fd());
        }
        for live in self.live.values() {
            live.kill();
        }
    }

    /// Does something with zygotes and tells the server what comes of it.
    fn with_zygotes<E: IntoIterator<Item = Event>>(
        &mut self,
        work: impl FnOnce(&mut Zygotes, &Tools<'_>) -> E,
    ) {
        let (poller, place, filters) = (&self.poller, &*self.place, &self.filters);
        let tools = Tools { poller, place, filters, isolation: self.isolation };
        for Event { name, event } in work(&mut self.zygotes, &tools) {
            self.reply(&Reply::Zygote { name, event }, &[]);
        }
    }

    fn keep_zygote(&mut self, name: String, spec: SandboxSpec) {
        if self.closing.is_some() || !self.isolation.has_namespaces() {
            return;
        }
        match check::check(&spec) {
            Ok(()) => self.with_zygotes(|zygotes, tools| zygotes.keep(tools, name, spec)),
            Err(error) => {
                let event = ZygoteEvent::Lost { reason: error.to_string() };
                self.reply(&Reply::Zygote { name, event }, &[]);
            }
        }
    }

    fn finish(&mut self, answer: bool) -> io::Result<()> {
        self.zygotes.kill_all();
        for live in self.live.values().filter(|live| live.removal.is_none()) {
            let _ = process::pidfd_signal(live.init.as_fd(), libc::SIGKILL);
        }
        if !self.live.is_empty() && !self.isolation.has_namespaces() {
            self.live.clear();
            self.end_strays(0);
        }
        if self.uplinks.is_ok() {
            net::take_down(&self.config.instance);
        }
        // What could not be removed is left to the next spawner of this instance.
        let _ = self.place.clear(CLEAR_PATIENCE);
        for path in self.place.folders() {
            let _ = folder::remove(path);
        }
        if answer { protocol::send(self.control.as_fd(), &Reply::Bye, &[]) } else { Ok(()) }
    }

    /// Takes all messages that an init has sent.
    fn take_status(&mut self, key: u64) {
        loop {
            let Some(live) = self.live.get_mut(&key) else { return };
            let Some(status) = &live.status else { return };
            match protocol::receive(status.as_fd(), &mut self.buffer, false) {
                Ok(Some((InitMessage::MapUsers, _))) => {
                    if let Err(error) = init::map_users(live.pid, live.ids, status.as_fd()) {
                        live.kill();
                        self.failed(key, error);
                    }
                }
                Ok(Some((InitMessage::Started { parts, link, origin }, fds))) => {
                    self.started(key, parts, (link, origin), fds);
                }
                Ok(Some((InitMessage::Failed(error), _))) => self.failed(key, error),
                Ok(Some((InitMessage::ExecFailed(errno), _))) => {
                    self.ended(key, ExitStatus::ExecFailed(errno));
                }
                Ok(Some((InitMessage::HelperExited(number, raw), _))) => {
                    let status = exit_status(raw);
                    self.reply(&Reply::HelperEnded { key, number, status }, &[]);
                }
                Ok(Some((InitMessage::Exited(raw), _))) => self.ended(key, exit_status(raw)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Ok(None) | Err(_) => {
                    self.poller.remove(status.as_fd());
                    live.status = None;
                }
            }
        }
    }

    fn started(
        &mut self,
        key: u64,
        mut parts: Vec<Part>,
        (link, origin): (Option<u32>, Origin),
        fds: Vec<OwnedFd>,
    ) {
        let Some(live) = self.live.get_mut(&key) else { return };
        if fds.len() < parts.len() {
            live.kill();
            let error = io::Error::from_raw_os_error(libc::EMFILE);
            return self.failed(key, SandboxError::step("take descriptors of init", &error));
        }
        let used = live.zygote.map(|number| (number, origin.clone()));
        let mut passed: Vec<BorrowedFd<'_>> = fds.iter().map(AsFd::as_fd).collect();
        parts.push(Part::Init);
        passed.push(live.init.as_fd());
        for (kind, fd) in live.group.controls().list() {
            parts.push(Part::Control(kind));
            passed.push(fd);
        }
        let tmp = parts.iter().position(|part| *part == Part::Tmp);
        // The server is another user than the sandbox then, and may not list its descriptors.
        let own_eyes = self.isolation == Isolation::UserNamespaces && live.ids.0 != 0;
        let is_members = |part: &Part| matches!(part, Part::Members(_));
        let members = parts.iter().position(is_members).filter(|_| own_eyes);
        let link = live.attachment.as_ref().map(|attachment| attachment.table().to_owned()).zip(link);
        let sent =
            protocol::send(self.control.as_fd(), &Reply::Created { key, parts, link, origin }, &passed);
        for (position, fd) in fds.into_iter().enumerate() {
            if tmp == Some(position) {
                live.tmp = Some(fd);
            } else if members == Some(position) {
                live.members = Some(Members::new(MembersKind::Namespace, fd));
                self.next_count.get_or_insert_with(|| Instant::now() + COUNT_INTERVAL);
            }
        }
        live.created = true;
        if sent.is_err() {
            self.close(false);
        }
        if let Some((number, origin)) = used {
            self.with_zygotes(|zygotes, tools| zygotes.used(tools, number, &origin));
        }
    }

    fn failed(&mut self, key: u64, error: SandboxError) {
        let Some(live) = self.live.get_mut(&key) else { return };
        if live.created {
            // Init gives up although the program has been started; it is reported as killed when it ends.
            live.kill();
        } else if !std::mem::replace(&mut live.reported, true) {
            self.reply(&Reply::Failed { key, error, gone_follows: true }, &[]);
        }
    }

    fn ended(&mut self, key: u64, status: ExitStatus) {
        let Some(live) = self.live.get_mut(&key) else { return };
        if !std::mem::replace(&mut live.reported, true) {
            let status = live.final_status(status);
            let usage = live.final_usage(status);
            self.reply(&Reply::Ended { key, status, usage }, &[]);
        }
    }

    /// Init has ended, and all processes of its namespace before it.
    fn reap(&mut self, key: u64) {
        // What it said last may still be unread.
        self.take_status(key);
        let Some(live) = self.live.get_mut(&key) else { return };
        if live.removal.is_some() {
            return;
        }
        let raw = process::wait_for(Some(live.pid)).map_or(libc::SIGKILL, |(_, raw)| raw);
        let pid = live.pid;
        self.poller.remove(live.init.as_fd());
        if let Some((memory, _)) = live.group.memory_events() {
            self.poller.remove(memory);
        }
        live.start_removal();
        live.watched = false;
        let (created, status) = (live.created, exit_status(raw));
        if created {
            // Init was killed before it could say how the program ended: so was the program.
            self.ended(key, ExitStatus::Signal(libc::SIGKILL));
        } else {
            let lacked_memory = live.final_status(status) == ExitStatus::OutOfMemory;
            let errno = if lacked_memory { libc::ENOMEM } else { libc::ECHILD };
            let error = SandboxError::step("set up sandbox", &io::Error::from_raw_os_error(errno));
            self.failed(key, error);
        }
        if let Some(live) = self.live.get_mut(&key) {
            // Holding it would hold all that is in it.
            live.tmp = None;
            live.members = None;
        }
        if !self.isolation.has_namespaces() {
            self.end_strays(pid);
        }
    }

    /// Ends processes whose init, `ended`, was killed before it could end them.
    fn end_strays(&self, ended: i32) {
        let inits = self.live.values().filter(|live| live.removal.is_none()).map(|live| live.pid);
        let mut known = self.zygotes.pids();
        known.extend(inits.filter(|pid| *pid != ended));
        strays::end(&known);
    }

    fn memory_event(&mut self, key: u64) {
        let Some(live) = self.live.get_mut(&key) else { return };
        if let Some((fd, Interest::Readable)) = live.group.memory_events() {
            poll::drain(fd);
        }
        live.check_memory(self.tolerance);
        if live.watched && self.next_watch.is_none() {
            self.next_watch = Some(Instant::now() + WATCH_INTERVAL);
        }
    }

    fn watch_memory(&mut self) {
        let now = Instant::now();
        if self.next_watch.is_none_or(|at| at > now) {
            return;
        }
        for live in self.live.values_mut().filter(|live| live.watched) {
            live.watch_memory(self.tolerance);
        }
        let more = self.live.values().any(|live| live.watched);
        self.next_watch = more.then(|| now + WATCH_INTERVAL);
    }

    fn count_memory_files(&mut self) {
        let now = Instant::now();
        if self.next_count.is_none_or(|at| at > now) {
            return;
        }
        let mut more = false;
        for live in self.live.values_mut() {
            more |= live.members.is_some();
            live.count_memory_files();
        }
        self.next_count = more.then(|| now + COUNT_INTERVAL);
    }

    fn remove_ended(&mut self) {
        let now = Instant::now();
        let gone: Vec<u64> =
            self.live.iter_mut().filter_map(|(key, live)| live.try_removal(now).then_some(*key)).collect();
        for key in gone {
            if let Some(live) = self.live.remove(&key) {
                self.slots.give_back(live.slot);
                self.give_back(live.attachment.as_ref());
            }
            self.reply(&Reply::Gone { key }, &[]);
        }
    }
}
