//! The server or the spawner is lost without warning.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Duration;

use lambkin_sandbox::{ExitStatus, SpawnerConfig};

use crate::support::*;

/// A field of `/proc/<pid>/status`.
fn status_field(pid: i32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.split(':').next() == Some(name))?;
    line.split_whitespace().nth(1).map(str::to_owned)
}

/// The spawner, found as parent of an init.
pub(crate) fn spawner_of(uid_base: u32) -> i32 {
    let parents = processes(uid_base, 200).into_iter().filter_map(|pid| {
        let parent: i32 = status_field(pid, "PPid")?.parse().ok()?;
        (status_field(parent, "Name")? == "lambkin-spawner").then_some(parent)
    });
    parents.into_iter().next().unwrap()
}

pub(crate) fn kill(pid: i32) {
    assert!(Command::new("kill").args(["-9", &pid.to_string()]).status().unwrap().success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_spawner_takes_its_sandboxes_and_is_replaced() {
    let Some(host) = Host::new() else { return };
    let one = host.create(shell("one", "sleep 1000")).await;
    let two = host.create(shell("two", "setsid sleep 1000 & trap '' TERM HUP; sleep 1000")).await;
    two.freeze().unwrap();
    assert!(tokio::time::timeout(Duration::from_millis(20), host.spawner.died()).await.is_err());
    kill(spawner_of(host.uid_base));
    host.spawner.died().await;
    assert_eq!(one.wait().await, ExitStatus::Signal(9));
    assert_eq!(two.wait().await, ExitStatus::Signal(9));
    assert!(!host.spawner.alive());
    until("all processes are dead", || processes(host.uid_base, 200).is_empty()).await;
    // The same name and the same user id again.
    let sandbox = host.create(shell("one", "sleep 1000")).await;
    assert!(host.spawner.alive());
    assert_eq!(host.spawner.restarts(), 1);
    drop((one, two));
    assert!(tokio::time::timeout(Duration::from_millis(20), sandbox.wait()).await.is_err());
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spawner_lost_in_the_middle_of_creating() {
    let Some(host) = Host::new() else { return };
    let first = host.create(shell("first", "sleep 1000")).await;
    let pid = spawner_of(host.uid_base);
    let creates = (0..20).map(|number| {
        let spawner = host.spawner.clone();
        tokio::spawn(async move { spawner.create(shell(&format!("s{number}"), "sleep 1000")).await })
    });
    let creates: Vec<_> = creates.collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    kill(pid);
    let mut made = Vec::new();
    for create in creates {
        // Either answer is right; none at all would be wrong.
        made.push(create.await.unwrap());
    }
    assert_eq!(first.wait().await, ExitStatus::Signal(9));
    host.create(shell("last", "true")).await.wait().await;
    drop(made);
    host.finish().await;
}

const ROLE: &str = "LAMBKIN_TEST_SERVER";

/// Not a test but the server of those below: they run this binary again with a variable set.
#[tokio::test(flavor = "multi_thread")]
async fn server_role() {
    let Ok(role) = std::env::var(ROLE) else { return };
    let (instance, uid_base) = role.split_once(' ').unwrap();
    let config = config_of(instance, uid_base.parse().unwrap());
    let spawner = start(&config);
    let mut held = Vec::new();
    for number in 0..5 {
        held.push(
            spawner.create(shell(&format!("s{number}"), "setsid sleep 1000 & sleep 1000")).await.unwrap(),
        );
    }
    held[4].freeze().unwrap();
    eprintln!("ready");
    // Until it is killed, or the test that started it has ended some other way.
    let _ = tokio::task::spawn_blocking(|| std::io::stdin().read_line(&mut String::new())).await;
}

struct Server {
    process: std::process::Child,
    config: SpawnerConfig,
}

impl Server {
    async fn start() -> Server {
        let config = config();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "loss::server_role", "--nocapture"])
            .env(ROLE, format!("{} {}", config.instance, config.uid_base))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(process.stderr.take().unwrap()).lines();
        assert!(lines.any(|line| line.unwrap() == "ready"));
        until("init and program run", || processes(config.uid_base, 200).len() >= 10).await;
        assert!(!has_cgroups() || !cgroups(&config.instance).is_empty());
        Server { process, config }
    }

    fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_leaves_nothing() {
    if !is_able() {
        return;
    }
    let mut server = Server::start().await;
    let spawner = spawner_of(server.config.uid_base);
    server.kill();
    assert_clean(&server.config.instance, server.config.uid_base).await;
    let ended = || status_field(spawner, "State").is_none_or(|state| state == "Z");
    until("the spawner has ended", ended).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_server_clears_what_a_killed_one_left() {
    if !is_able() {
        return;
    }
    let mut server = Server::start().await;
    // Stopped, it cannot clean up when the server dies.
    let spawner = spawner_of(server.config.uid_base);
    assert!(Command::new("kill").args(["-STOP", &spawner.to_string()]).status().unwrap().success());
    server.kill();
    kill(spawner);
    let left: usize = cgroups(&server.config.instance).iter().map(folders).sum();
    assert!(left >= 5 || !has_cgroups(), "{left}");
    let spawner = start(&server.config);
    let left: usize = cgroups(&server.config.instance).iter().map(folders).sum();
    assert_eq!(left, 0);
    // Without cgroups there is nothing to wait for: the kernel kills them with the old spawner.
    if has_cgroups() {
        assert!(processes(server.config.uid_base, 200).is_empty());
    }
    until("all processes are dead", || processes(server.config.uid_base, 200).is_empty()).await;
    let sandbox = spawner.create(shell("s0", "exit 4")).await.unwrap();
    assert_eq!(sandbox.wait().await, ExitStatus::Code(4));
    spawner.shutdown().await;
    assert_clean(&server.config.instance, server.config.uid_base).await;
}

fn folders(path: &std::path::PathBuf) -> usize {
    std::fs::read_dir(path).unwrap().flatten().filter(|entry| entry.path().is_dir()).count()
}

#[tokio::test]
async fn after_a_shutdown_nothing_can_be_made() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.create(shell("a", "sleep 1000")).await;
    host.spawner.shutdown().await;
    assert_eq!(sandbox.wait().await, ExitStatus::Signal(9));
    let error = host.spawner.create(shell("b", "true")).await.unwrap_err();
    assert_eq!(error, lambkin_sandbox::SandboxError::ShutDown);
    host.spawner.shutdown().await;
    drop(sandbox);
    host.finish().await;
}
