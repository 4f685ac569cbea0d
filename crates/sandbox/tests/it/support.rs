//! What the tests share.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use lambkin_sandbox::{
    BindMount, ExitStatus, Isolation, NetworkSpec, Sandbox, SandboxSpec, Spawner, SpawnerConfig,
};

pub(crate) const MIB: u64 = 1024 * 1024;

/// The spawner for tests.
pub(crate) const EXECUTABLE: &str = env!("CARGO_BIN_EXE_lambkin-sandbox-spawner");

/// How long something may take that has to come: long, for the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A spawner of its own for one test, with its own range of user ids.
pub(crate) struct Host {
    pub(crate) spawner: Spawner,
    pub(crate) instance: String,
    pub(crate) uid_base: u32,
}

/// Set for tests that are to make sandboxes in another way than root's.
pub(crate) const ISOLATION: &str = "LAMBKIN_TEST_ISOLATION";

/// Another place of the spawner, where the usual one cannot be reached.
pub(crate) const SPAWNER: &str = "LAMBKIN_TEST_SPAWNER";

/// How this run makes sandboxes.
pub(crate) fn isolation() -> Isolation {
    std::env::var(ISOLATION).map_or(Isolation::Root, |name| name.parse().unwrap())
}

/// Whether sandboxes have a user of the host each.
pub(crate) fn by_root() -> bool {
    isolation() == Isolation::Root
}

/// Set where this run has a cgroup of its own without being root.
const DELEGATED: &str = "LAMBKIN_TEST_DELEGATED";

/// Whether sandboxes have cgroups.
pub(crate) fn has_cgroups() -> bool {
    by_root() || std::env::var_os(DELEGATED).is_some()
}

pub(crate) fn own_uid() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").unwrap().uid()
}

/// Whether this process can make sandboxes; says so on stderr if not.
pub(crate) fn is_able() -> bool {
    let able = isolation() != Isolation::Root || own_uid() == 0;
    if !able {
        eprintln!("skipped: sandboxes need root");
    }
    able
}

/// A configuration that no other test has, in this process or another.
pub(crate) fn config() -> SpawnerConfig {
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let process = std::process::id();
    // Two processes with the same range are harmless but for the check for left processes.
    let uid_base = 300_000 + (process % 10_000) * 10_000 + number * 200;
    config_of(&format!("test-{process}-{number}"), uid_base)
}

pub(crate) fn config_of(instance: &str, uid_base: u32) -> SpawnerConfig {
    let work_dir = std::env::temp_dir().join(format!("lambkin-{instance}"));
    SpawnerConfig { uid_base, uid_count: 200, ..SpawnerConfig::new(instance, &work_dir, isolation()) }
}

pub(crate) fn start(config: &SpawnerConfig) -> Spawner {
    let executable = std::env::var(SPAWNER).unwrap_or_else(|_| EXECUTABLE.to_owned());
    Spawner::start_with_executable(config.clone(), Path::new(&executable)).unwrap()
}

impl Host {
    /// `None` if we can make no sandboxes.
    pub(crate) fn new() -> Option<Host> {
        if !is_able() {
            return None;
        }
        let config = config();
        Some(Host { spawner: start(&config), instance: config.instance, uid_base: config.uid_base })
    }

    pub(crate) async fn create(&self, spec: SandboxSpec) -> Sandbox {
        self.spawner.create(spec).await.unwrap()
    }

    /// Runs a shell script to its end: its output and end.
    pub(crate) async fn shell(&self, script: &str) -> (String, ExitStatus) {
        self.run(shell("shell", script)).await
    }

    /// Runs a Python program to its end.
    pub(crate) async fn python(&self, program: &str) -> (String, ExitStatus) {
        self.run(python("python", program)).await
    }

    pub(crate) async fn run(&self, spec: SandboxSpec) -> (String, ExitStatus) {
        let mut sandbox = self.create(spec).await;
        let output = sandbox.take_output().unwrap();
        let text = tokio::task::spawn_blocking(move || read_all(output)).await.unwrap();
        let status = sandbox.wait().await;
        drop(sandbox);
        self.settled().await;
        (text, status)
    }

    /// Waits until nothing is left of ended sandboxes.
    pub(crate) async fn settled(&self) {
        until("teardowns are done", || self.spawner.stats().pending_teardowns == 0).await;
    }

    /// Shuts down and checks that nothing is left.
    pub(crate) async fn finish(self) {
        self.spawner.shutdown().await;
        assert!(!self.spawner.alive());
        let stats = self.spawner.stats();
        assert_eq!((stats.live, stats.pending_teardowns), (0, 0));
        assert_clean(&self.instance, self.uid_base).await;
    }
}

/// No cgroup, process or mount of a spawner is left.
pub(crate) async fn assert_clean(instance: &str, uid_base: u32) {
    until("cgroups are gone", || cgroups(instance).is_empty()).await;
    until("the work folder is gone", || !config_of(instance, uid_base).work_dir.exists()).await;
    until("processes are gone", || processes(uid_base, 200).is_empty()).await;
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!mounts.contains(&format!("uid={uid_base}")), "{mounts}");
}

/// Waits for a condition that other processes bring about.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

/// All cgroup folders of an instance.
pub(crate) fn cgroups(instance: &str) -> Vec<PathBuf> {
    let name = format!("lambkin-{instance}");
    let root = std::path::Path::new("/sys/fs/cgroup");
    // v1 has a folder for each hierarchy there, v2 is one itself.
    let mut places = vec![root.to_owned()];
    places.extend(std::fs::read_dir(root).unwrap().flatten().map(|entry| entry.path()));
    places.into_iter().map(|place| place.join(&name)).filter(|folder| folder.is_dir()).collect()
}

/// Processes of a range of users; without root, where all have the same, of ours that are in a pid namespace
/// below. Zombies do not count: those of a killed spawner wait for the host's init.
pub(crate) fn processes(uid_base: u32, count: u32) -> Vec<i32> {
    std::fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
            let status = std::fs::read_to_string(entry.path().join("status")).ok()?;
            let field = |name: &str| {
                let line = status.lines().find(|line| line.split(':').next() == Some(name))?;
                line.split_whitespace().nth(1)
            };
            let uid: u32 = field("Uid")?.parse().ok()?;
            let ours = match isolation() {
                Isolation::Root => (uid_base..uid_base + count).contains(&uid),
                _ => {
                    uid == own_uid()
                        && status
                            .lines()
                            .any(|line| line.starts_with("NSpid:") && line.split('\t').count() > 2)
                }
            };
            (ours && field("State")? != "Z").then_some(pid)
        })
        .collect()
}

/// Waits until a descriptor can be read.
fn wait_readable(fd: &impl AsFd) {
    let timeout = Timespec { tv_sec: PATIENCE.as_secs() as i64, tv_nsec: 0 };
    let mut poll_fd = [PollFd::new(fd, PollFlags::IN)];
    assert!(poll(&mut poll_fd, Some(&timeout)).unwrap() > 0, "nothing to read");
}

/// Reads a nonblocking descriptor to its end.
pub(crate) fn read_all(fd: OwnedFd) -> String {
    let mut file = std::fs::File::from(fd);
    let mut data = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        wait_readable(&file);
        match file.read(&mut buffer).unwrap() {
            0 => return String::from_utf8_lossy(&data).into_owned(),
            length => data.extend_from_slice(&buffer[..length]),
        }
    }
}

/// Reads from a nonblocking descriptor until the text ends with `end`.
pub(crate) fn read_until(fd: &OwnedFd, end: &str) -> String {
    let mut file = std::fs::File::from(fd.try_clone().unwrap());
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.ends_with(end) {
        wait_readable(&file);
        match file.read(&mut buffer).unwrap() {
            0 => panic!("ended after {text:?}"),
            length => text.push_str(&String::from_utf8_lossy(&buffer[..length])),
        }
    }
    text
}

/// A sandbox with the host's programs and libraries.
pub(crate) fn spec(id: &str, command: &[&str]) -> SandboxSpec {
    let link = |link: &str, target: &str| (link.to_owned(), target.to_owned());
    SandboxSpec {
        id: id.to_owned(),
        command: command.iter().map(|&argument| argument.to_owned()).collect(),
        environment: vec![
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("PYTHONDONTWRITEBYTECODE".to_owned(), "1".to_owned()),
        ],
        working_dir: "/".to_owned(),
        binds: vec![BindMount { source: "/usr".into(), target: "/usr".to_owned(), optional: false }],
        symlinks: vec![link("/bin", "usr/bin"), link("/lib", "usr/lib"), link("/lib64", "usr/lib64")],
        files: vec![("/etc/passwd".to_owned(), "sbx:x:993:990::/tmp:/bin/false\n".to_owned())],
        overlays: Vec::new(),
        network: NetworkSpec::default(),
        memory_bytes: 256 * MIB,
        tmp_bytes: 64 * MIB,
        pids_max: 64,
        open_files_max: 1024,
        cpu_quota_us: None,
        listen_ports: Vec::new(),
        channel: false,
        zygote: None,
        helpers: Vec::new(),
    }
}

pub(crate) fn shell(id: &str, script: &str) -> SandboxSpec {
    spec(id, &["/bin/sh", "-c", script])
}

pub(crate) fn python(id: &str, program: &str) -> SandboxSpec {
    spec(id, &["/usr/bin/python3.11", "-I", "-S", "-c", program])
}
