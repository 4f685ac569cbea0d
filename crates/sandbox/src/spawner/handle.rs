//! The server's handle to its spawner process.
//!
//! One thread owns the process: it starts it (and starts it anew after a loss), writes requests and collects
//! it at the end. The kernel ties a child's life to the thread that made it, so that thread lives as long as
//! the handle. Another thread for each spawner process reads its answers.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::Ordering;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use super::link::{Pending, State};
use super::{SPAWNER_ARG, SpawnerConfig, own_executable};
use crate::cgroup::{self, folder};
use crate::error::{Context, SandboxError};
use crate::isolation::Isolation;
use crate::net;
use crate::protocol::{self, MAX_MESSAGE, Reply, Request};
use crate::sandbox::{Parts, Sandbox};
use crate::spec::{SandboxSpec, ZygoteStatus};
use crate::sys::socket::{self, Pair};

/// Buffers of the control socket: a burst of requests fits.
const CONTROL_BUFFER: i32 = 4 * 1024 * 1024;

/// How long clearing up after a lost spawner may take.
const CLEAR_PATIENCE: Duration = Duration::from_secs(5);

/// Handle to a spawner process. When the last clone is dropped (or the server ends, however) the spawner
/// ends all sandboxes, removes what they left and exits; [`Spawner::shutdown`] waits for that.
#[derive(Clone)]
pub struct Spawner {
    shared: Arc<Shared>,
}

struct Shared {
    commands: mpsc::Sender<Job>,
    state: Arc<State>,
    isolation: Isolation,
    weaknesses: Vec<String>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        let _ = self.commands.send(Job::Close);
    }
}

/// Counters of a spawner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stats {
    /// Sandboxes whose program has not ended.
    pub live: usize,
    /// Sandboxes that have ended (or failed) and of which something is still being removed.
    pub pending_teardowns: usize,
    /// How often a lost spawner process has been replaced.
    pub restarts: u64,
}

enum Job {
    Create { key: u64, spec: Box<SandboxSpec>, fds: Vec<OwnedFd>, pending: Box<Pending> },
    KeepZygote { name: String, spec: Box<SandboxSpec> },
    EndZygote { name: String },
    End { generation: u64, key: u64 },
    Lost { generation: u64 },
    Shutdown(oneshot::Sender<()>),
    Close,
}

impl Spawner {
    /// Starts a spawner process: this binary, executed again, whose `main` must call
    /// [`crate::run_spawner_if_asked`] first. Kills and clears what a dead predecessor of the same instance
    /// left. Blocks for some milliseconds, longer while a predecessor is still ending.
    ///
    /// # Errors
    /// [`SandboxError::Host`] if this host lacks something, [`SandboxError::Step`] if a step failed.
    pub fn start(config: SpawnerConfig) -> Result<Spawner, SandboxError> {
        Spawner::start_with_executable(config, &own_executable())
    }

    /// As [`Spawner::start`], with another program as spawner (for tests, whose `main` is not their own):
    /// one that calls [`crate::run_spawner_if_asked`].
    ///
    /// # Errors
    /// As [`Spawner::start`].
    pub fn start_with_executable(config: SpawnerConfig, executable: &Path) -> Result<Spawner, SandboxError> {
        config.check()?;
        let isolation = config.isolation;
        let state = Arc::new(State::new(isolation).step("start thread")?);
        if config.network.is_none() {
            let none = SandboxError::NoNetwork("it was not asked for".to_owned());
            state.network.send_replace(Some(Err(none)));
        }
        if config.network.as_ref().is_some_and(|network| !network.lists.is_empty()) {
            // For what is opened later. If it fails, so will that, and say so.
            let _ = net::prepare();
        }
        let (commands, jobs) = mpsc::channel();
        let manager = Manager {
            config,
            executable: executable.to_owned(),
            state: Arc::clone(&state),
            commands: commands.clone(),
            connection: None,
            generation: 0,
            shut_down: false,
            zygotes: BTreeMap::new(),
        };
        let (started, result) = mpsc::channel();
        std::thread::Builder::new()
            .name("sandbox-manager".to_owned())
            .spawn(move || manager.run(&jobs, &started))
            .step("start thread")?;
        let weaknesses = result.recv().map_err(|_| SandboxError::SpawnerLost)??;
        Ok(Spawner { shared: Arc::new(Shared { commands, state, isolation, weaknesses }) })
    }

    /// How sandboxes are made.
    #[must_use]
    pub fn isolation(&self) -> Isolation {
        self.shared.isolation
    }

    /// What is weaker than it could be on another host or with other rights, a sentence each: limits that
    /// are not enforced, users that are shared.
    #[must_use]
    pub fn weaknesses(&self) -> &[String] {
        &self.shared.weaknesses
    }

    /// Makes a sandbox and starts its program. Dropping the future drops the sandbox when it comes.
    ///
    /// # Errors
    /// [`SandboxError::Spec`] and [`SandboxError::NoFreeUid`] before anything was made,
    /// [`SandboxError::Step`] when a step failed, [`SandboxError::SpawnerLost`] when the spawner process ended
    /// meanwhile. A program that cannot be executed is no error here but an
    /// [`crate::ExitStatus::ExecFailed`].
    pub async fn create(&self, spec: SandboxSpec) -> Result<Sandbox, SandboxError> {
        let (parts, fds) = Parts::new(&spec)?;
        let (reply, answer) = oneshot::channel();
        let key = self.shared.state.key();
        let pending = Box::new(Pending { generation: 0, parts, reply });
        let job = Job::Create { key, spec: Box::new(spec), fds, pending };
        self.shared.commands.send(job).map_err(|_| SandboxError::SpawnerLost)?;
        answer.await.map_err(|_| SandboxError::SpawnerLost)?
    }

    /// Keeps a zygote under a name (`[a-z0-9-]`, at most 32 characters): a process that sandboxes whose spec
    /// names it have their program forked from, once it is ready. It executes `spec.command` in a root of its
    /// own with the spec's binds, symlinks, files and overlays (`/proc` is the host's, there is no `/tmp`), as root of the host or
    /// of the spawner's user namespace, limited in memory, processes and CPU; it must behave as
    /// `docs/internals/zygote.md` says. A zygote that ends is replaced, also by a new spawner process. Replaces
    /// one of the same name. Does nothing for plain processes.
    pub fn keep_zygote(&self, name: &str, spec: SandboxSpec) {
        self.shared.state.keep_zygote(name);
        let _ = self.shared.commands.send(Job::KeepZygote { name: name.to_owned(), spec: Box::new(spec) });
    }

    /// Lets a zygote end. Its forks go on.
    pub fn end_zygote(&self, name: &str) {
        self.shared.state.end_zygote(name);
        let _ = self.shared.commands.send(Job::EndZygote { name: name.to_owned() });
    }

    /// The zygotes that are kept, by name.
    #[must_use]
    pub fn zygotes(&self) -> Vec<ZygoteStatus> {
        self.shared.state.zygotes()
    }

    /// Whether the spawner process runs.
    #[must_use]
    pub fn alive(&self) -> bool {
        *self.shared.state.alive.borrow()
    }

    /// Waits until the spawner process is lost (returns at once if it is): all sandboxes made before are
    /// dead. The next [`Spawner::create`] starts a new one.
    pub async fn died(&self) {
        let mut alive = self.shared.state.alive.subscribe();
        // An error would mean that the sender is gone, but it lives as long as we do.
        let _ = alive.wait_for(|alive| !alive).await;
    }

    /// Whether sandboxes can have an [`crate::Uplink`], and by what means; waits for some 40 ms after the
    /// start until that is known.
    ///
    /// # Errors
    /// [`SandboxError::NoNetwork`] with the reason, [`SandboxError::SpawnerLost`] when the spawner process
    /// ended meanwhile.
    pub async fn network(&self) -> Result<String, SandboxError> {
        let mut network = self.shared.state.network.subscribe();
        match network.wait_for(Option::is_some).await {
            Ok(known) => known.clone().unwrap_or(Err(SandboxError::SpawnerLost)),
            // The sender lives as long as we do.
            Err(_) => Err(SandboxError::SpawnerLost),
        }
    }

    /// Counters, for tests and metrics.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let (live, pending_teardowns) = self.shared.state.counts();
        Stats { live, pending_teardowns, restarts: self.restarts() }
    }

    /// How often a lost spawner process has been replaced.
    #[must_use]
    pub fn restarts(&self) -> u64 {
        self.shared.state.restarts.load(Ordering::Relaxed)
    }

    /// Kills all sandboxes, removes everything that they and the spawner made, ends the spawner process.
    /// Afterwards [`Spawner::create`] fails.
    pub async fn shutdown(&self) {
        let (done, wait) = oneshot::channel();
        if self.shared.commands.send(Job::Shutdown(done)).is_ok() {
            let _ = wait.await;
        }
    }
}

impl std::fmt::Debug for Spawner {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Spawner").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

struct Connection {
    generation: u64,
    socket: OwnedFd,
    child: Child,
    reader: JoinHandle<()>,
}

impl Connection {
    /// Collects the process, which is about to end, and then the last of what it said.
    fn finish(mut self) -> io::Result<ExitStatus> {
        let status = self.child.wait();
        // The reader may have panicked; what it knew is lost with the process anyway.
        let _ = self.reader.join();
        status
    }
}

struct Manager {
    config: SpawnerConfig,
    executable: PathBuf,
    state: Arc<State>,
    commands: mpsc::Sender<Job>,
    connection: Option<Connection>,
    generation: u64,
    shut_down: bool,
    /// For the next spawner process, should this one be lost.
    zygotes: BTreeMap<String, Box<SandboxSpec>>,
}

impl Manager {
    fn run(mut self, jobs: &mpsc::Receiver<Job>, started: &mpsc::Sender<Result<Vec<String>, SandboxError>>) {
        let result = self.connect();
        let failed = result.is_err();
        let _ = started.send(result);
        if failed {
            return;
        }
        while let Ok(job) = jobs.recv() {
            match job {
                Job::Create { key, spec, fds, pending } => self.create(key, spec, &fds, *pending),
                Job::KeepZygote { name, spec } => {
                    self.tell(&Request::KeepZygote { name: name.clone(), spec: spec.clone() });
                    self.zygotes.insert(name, spec);
                }
                Job::EndZygote { name } => {
                    self.zygotes.remove(&name);
                    self.tell(&Request::EndZygote { name });
                }
                Job::End { generation, key } => self.end(generation, key),
                Job::Lost { generation } => self.lost(generation),
                Job::Shutdown(done) => {
                    self.shut_down(Request::Shutdown);
                    let _ = done.send(());
                }
                Job::Close => break,
            }
        }
        self.close();
    }

    /// Starts a spawner process and the thread that reads from it; its weaknesses.
    fn connect(&mut self) -> Result<Vec<String>, SandboxError> {
        let (ours, theirs) = socket::socket_pair(Pair::Messages).step("make control socket")?;
        for end in [&ours, &theirs] {
            socket::enlarge_buffers(end.as_fd(), CONTROL_BUFFER).step("enlarge control socket")?;
        }
        let mut child = Command::new(&self.executable)
            .arg0("lambkin-spawner")
            .arg(SPAWNER_ARG)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::null())
            .spawn()
            .at("execute", &self.executable.to_string_lossy())?;
        let weaknesses = match self.greet(&ours) {
            Ok((notes, weaknesses)) => {
                tracing::info!(
                    pid = child.id(),
                    isolation = %self.config.isolation,
                    host = %notes.join("; "),
                    "sandbox spawner started"
                );
                weaknesses
            }
            Err(error) => {
                drop(ours);
                let _ = child.wait();
                return Err(error);
            }
        };
        self.generation += 1;
        let generation = self.generation;
        let reader = Reader {
            socket: ours.try_clone().step("copy control socket")?,
            state: Arc::clone(&self.state),
            commands: self.commands.clone(),
            generation,
        };
        let reader = std::thread::Builder::new()
            .name("sandbox-reader".to_owned())
            .spawn(move || reader.run())
            .step("start thread")?;
        self.connection = Some(Connection { generation, socket: ours, child, reader });
        self.state.alive.send_replace(true);
        for (name, spec) in self.zygotes.clone() {
            self.tell(&Request::KeepZygote { name, spec });
        }
        Ok(weaknesses)
    }

    /// Says something that needs no answer. Should it not arrive, the spawner process is lost, and what is to
    /// be known is told to the next.
    fn tell(&self, request: &Request) {
        if let Some(connection) = &self.connection {
            let _ = protocol::send(connection.socket.as_fd(), request, &[]);
        }
    }

    fn greet(&self, socket: &OwnedFd) -> Result<(Vec<String>, Vec<String>), SandboxError> {
        protocol::send(socket.as_fd(), &Request::Configure(self.config.clone()), &[]).step("ask spawner")?;
        let mut buffer = vec![0; MAX_MESSAGE];
        match protocol::receive(socket.as_fd(), &mut buffer, true).step("hear spawner")? {
            Some((Reply::Ready { notes, weaknesses }, _)) => Ok((notes, weaknesses)),
            Some((Reply::Unable(error), _)) => Err(error),
            _ => Err(SandboxError::SpawnerLost),
        }
    }

    fn create(&mut self, key: u64, spec: Box<SandboxSpec>, fds: &[OwnedFd], mut pending: Pending) {
        if self.shut_down {
            let _ = pending.reply.send(Err(SandboxError::ShutDown));
            return;
        }
        let request = Request::Create { key, spec };
        let fds: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
        // Twice: the first attempt may be the one that finds the spawner lost.
        for _ in 0..2 {
            if self.connection.is_none() {
                if let Err(error) = self.connect() {
                    tracing::error!(%error, "sandbox spawner cannot be restarted");
                    let _ = pending.reply.send(Err(error));
                    return;
                }
                self.state.restarts.fetch_add(1, Ordering::Relaxed);
            }
            let Some(connection) = &self.connection else { break };
            let generation = connection.generation;
            pending.generation = generation;
            self.state.expect(key, pending);
            match protocol::send(connection.socket.as_fd(), &request, &fds) {
                Ok(()) => return,
                Err(error) => {
                    // The reader may have answered already that the spawner is lost.
                    let Some(back) = self.state.forget(key) else { return };
                    pending = back;
                    if error.raw_os_error() == Some(libc::EMSGSIZE) {
                        let text = format!("it is longer than {MAX_MESSAGE} bytes");
                        let _ = pending.reply.send(Err(SandboxError::Spec(text)));
                        return;
                    }
                    self.lost(generation);
                }
            }
        }
        let _ = pending.reply.send(Err(SandboxError::SpawnerLost));
    }

    /// Has the spawner end a sandbox that could not be taken over.
    fn end(&self, generation: u64, key: u64) {
        if let Some(connection) = self.connection.as_ref().filter(|found| found.generation == generation) {
            // If it fails the spawner is lost, and the sandbox with it.
            let _ = protocol::send(connection.socket.as_fd(), &Request::End { key }, &[]);
        }
    }

    /// Collects a spawner process that has ended unasked and clears what it left.
    fn lost(&mut self, generation: u64) {
        if self.connection.as_ref().is_none_or(|connection| connection.generation != generation) {
            return;
        }
        let Some(mut connection) = self.connection.take() else { return };
        self.state.alive.send_replace(false);
        self.state.lose(generation);
        // If it lives it has gone astray (it closed or garbled the socket).
        let _ = connection.child.kill();
        let status = connection.finish().map_or_else(|error| error.to_string(), |end| end.to_string());
        tracing::error!(%status, "sandbox spawner was lost, all sandboxes are dead");
        self.clear();
    }

    /// The kernel has killed every init of the lost spawner; what remains are cgroups and network rules.
    fn clear(&self) {
        if self.config.network.is_some() {
            net::take_down(&self.config.instance);
        }
        let cleared = cgroup::open_place(&self.config).and_then(|place| {
            place.clear(CLEAR_PATIENCE)?;
            for path in place.folders() {
                let _ = folder::remove(path);
            }
            Ok(())
        });
        match cleared {
            Ok(()) => self.state.cleared(),
            Err(error) => tracing::warn!(%error, "something of the lost spawner is left"),
        }
    }

    fn shut_down(&mut self, request: Request) {
        self.shut_down = true;
        let Some(connection) = self.connection.take() else { return };
        let generation = connection.generation;
        if protocol::send(connection.socket.as_fd(), &request, &[]).is_err() {
            // It has ended by itself.
            tracing::warn!("sandbox spawner was lost before the shutdown");
        }
        let ended = connection.finish().is_ok_and(|status| status.success());
        self.state.alive.send_replace(false);
        self.state.lose(generation);
        if ended {
            self.state.cleared();
        } else {
            self.clear();
        }
    }

    /// Nobody needs the spawner any more.
    fn close(&mut self) {
        if let Some(connection) = self.connection.take() {
            let generation = connection.generation;
            let _ = socket::shut(connection.socket.as_fd());
            let _ = connection.finish();
            self.state.alive.send_replace(false);
            self.state.lose(generation);
        }
    }
}

struct Reader {
    socket: OwnedFd,
    state: Arc<State>,
    commands: mpsc::Sender<Job>,
    generation: u64,
}

impl Reader {
    fn run(self) {
        let mut buffer = vec![0; MAX_MESSAGE];
        loop {
            match protocol::receive(self.socket.as_fd(), &mut buffer, true) {
                Ok(Some((Reply::Bye, _))) => return,
                Ok(Some((reply, fds))) => {
                    if let Some(key) = self.state.take(reply, fds) {
                        let _ = self.commands.send(Job::End { generation: self.generation, key });
                    }
                }
                Ok(None) => break,
                Err(error) => {
                    tracing::error!(%error, "sandbox spawner talks nonsense");
                    break;
                }
            }
        }
        // First: who sees a sandbox end is to know why.
        self.state.alive.send_replace(false);
        // In this order: who sees the loss and asks for a sandbox is behind the job.
        let _ = self.commands.send(Job::Lost { generation: self.generation });
        self.state.lose(self.generation);
    }
}
