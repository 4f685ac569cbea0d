//! Programs that are forked from a zygote of our Python runtime.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::path::Path;

use lambkin_sandbox::{BindMount, ExitStatus, Origin, Sandbox, SandboxSpec};
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::Value;

use crate::support::*;

const NAME: &str = "python";

fn bind(source: &Path, target: &str) -> BindMount {
    BindMount { source: source.to_owned(), target: target.to_owned(), optional: false }
}

/// What programs and zygote have in common, but for the code.
fn base(id: &str) -> SandboxSpec {
    let mut spec = spec(id, &["/usr/bin/python3.11", "/var/runtime/bootstrap.py"]);
    let bootstrap = std::env::var("LAMBKIN_TEST_BOOTSTRAP")
        .unwrap_or_else(|_| concat!(env!("CARGO_MANIFEST_DIR"), "/../../bootstraps/python").to_owned());
    spec.binds.push(bind(Path::new(&bootstrap), "/var/runtime"));
    spec.environment = [("LANG", "en_US.UTF-8"), ("PYTHONPATH", "/var/runtime"), ("TZ", ":UTC")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .to_vec();
    spec
}

fn zygote_spec() -> SandboxSpec {
    let mut spec = base(NAME);
    let names: Vec<_> = spec.environment.iter().map(|(name, _)| name.as_str()).collect();
    spec.environment.push(("_LAMBKIN_ZYGOTE".to_owned(), names.join(",")));
    spec.files = vec![("/etc/passwd".to_owned(), "root:x:0:0::/tmp:/bin/false\n".to_owned())];
    spec
}

fn program_spec(id: &str, code: &Path, zygote: bool) -> SandboxSpec {
    let mut spec = base(id);
    spec.binds.push(bind(code, "/var/task"));
    spec.working_dir = "/var/task".to_owned();
    for (name, value) in [
        ("_HANDLER", "probe.handler"),
        ("LAMBDA_TASK_ROOT", "/var/task"),
        ("AWS_EXECUTION_ENV", "AWS_Lambda_python3.11"),
        ("SECRET", "gr\u{fc}n=1"),
    ] {
        spec.environment.push((name.to_owned(), value.to_owned()));
    }
    spec.channel = true;
    spec.zygote = zygote.then(|| NAME.to_owned());
    spec
}

fn code() -> tempfile::TempDir {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755)).unwrap();
    std::fs::write(folder.path().join("probe.py"), include_str!("zygote/probe.py")).unwrap();
    folder
}

/// A host whose zygote is ready.
async fn host() -> Option<Host> {
    let host = Host::new()?;
    host.spawner.keep_zygote(NAME, zygote_spec());
    ready(&host, 1).await;
    Some(host)
}

async fn ready(host: &Host, generation: u64) {
    until("the zygote is ready", || {
        for zygote in host.spawner.zygotes() {
            assert!(zygote.losses < generation, "{:?}", zygote.last_loss);
        }
        host.spawner.zygotes().iter().any(|zygote| zygote.pid.is_some() && zygote.generations >= generation)
    })
    .await;
}

fn zygote_pid(host: &Host) -> i32 {
    host.spawner.zygotes()[0].pid.unwrap()
}

/// A program whose runtime says that it is ready, and what it printed.
struct Running {
    sandbox: Sandbox,
    channel: std::fs::File,
    /// Kept open: somebody reads what it writes.
    _output: OwnedFd,
    said: Value,
}

async fn run(host: &Host, spec: SandboxSpec) -> Running {
    let mut sandbox = host.create(spec).await;
    let channel = std::fs::File::from(sandbox.take_channel().unwrap());
    let output = sandbox.take_output().unwrap();
    let (output, text) = tokio::task::spawn_blocking(move || {
        let text = read_until(&output, "\n");
        (output, text)
    })
    .await
    .unwrap();
    let mut running =
        Running { sandbox, channel, _output: output, said: serde_json::from_str(&text).unwrap() };
    assert_eq!(running.frame(), "R");
    running
}

impl Running {
    /// Type and content of the next frame, without the number of its event.
    fn frame(&mut self) -> String {
        let mut data = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            if let Some((length, rest)) = data.split_first_chunk::<4>()
                && rest.len() == u32::from_le_bytes(*length) as usize
            {
                let text = [&rest[..1], &rest[5..]].concat();
                return String::from_utf8_lossy(&text).into_owned();
            }
            let mut waiting = [PollFd::new(&self.channel, PollFlags::IN)];
            poll(&mut waiting, None).unwrap();
            match self.channel.read(&mut buffer).unwrap() {
                0 => return String::new(),
                length => data.extend_from_slice(&buffer[..length]),
            }
        }
    }

    fn invoke(&mut self, event: &str) {
        let head = r#"{"id":"x","deadline":0,"arn":"y"}"#;
        let mut frame = vec![b'I', 1, 0, 0, 0];
        frame.extend(u32::try_from(head.len()).unwrap().to_le_bytes());
        frame.extend(head.as_bytes());
        frame.extend(format!("\"{event}\"").as_bytes());
        let mut data = u32::try_from(frame.len()).unwrap().to_le_bytes().to_vec();
        data.extend(frame);
        self.channel.write_all(&data).unwrap();
    }

    fn forked(&self) -> bool {
        assert_eq!(self.said["forked"].as_bool().unwrap(), *self.sandbox.origin() == Origin::Forked);
        *self.sandbox.origin() == Origin::Forked
    }
}

#[tokio::test]
async fn a_fork_is_in_the_state_of_an_executed_program() {
    let Some(host) = host().await else { return };
    let code = code();
    let executed = run(&host, program_spec("executed", code.path(), false)).await;
    let forked = run(&host, program_spec("forked", code.path(), true)).await;
    assert!(!executed.forked() && forked.forked(), "{:?}", forked.sandbox.origin());
    let (one, other) = (&executed.said["state"], &forked.said["state"]);
    let names: BTreeSet<_> = one.as_object().unwrap().keys().collect();
    assert!(names.len() > 40);
    let differ: Vec<_> = names
        .into_iter()
        .filter(|name| one[*name] != other[*name])
        .map(|name| (name, &one[name], &other[name]))
        .collect();
    assert!(differ.is_empty(), "{differ:#?}");
    if by_root() {
        // All processes of the sandbox are in the same namespaces.
        for (_, pids) in sandbox_processes(&host) {
            assert_eq!(pids.len(), 2);
            for space in ["mnt", "net", "ipc", "uts", "cgroup", "user", "pid"] {
                let of = |pid: &i32| std::fs::read_link(format!("/proc/{pid}/ns/{space}")).unwrap();
                assert_eq!(of(&pids[0]), of(&pids[1]), "{space}");
            }
        }
    }
    drop((executed, forked));
    host.finish().await;
}

/// Processes of sandboxes by user.
fn sandbox_processes(host: &Host) -> std::collections::BTreeMap<u32, Vec<i32>> {
    use std::os::unix::fs::MetadataExt;
    let mut found = std::collections::BTreeMap::<u32, Vec<i32>>::new();
    for pid in processes(host.uid_base, 200) {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let uid = status.lines().find_map(|line| line.strip_prefix("Uid:\t")).unwrap();
        let uid = uid.split('\t').next().unwrap().parse().unwrap();
        assert!(
            std::fs::metadata(format!("/proc/{pid}")).unwrap().uid() == uid
                || status.contains("lambkin-init")
        );
        found.entry(uid).or_default().push(pid);
    }
    found
}

#[tokio::test]
async fn fifty_forks_share_nothing_random() {
    let Some(host) = host().await else { return };
    let code = code();
    let mut seen = BTreeSet::new();
    for round in 0..10 {
        let one = |number| run(&host, program_spec(&format!("r{round}-{number}"), code.path(), true));
        let (a, b, c, d, e) = tokio::join!(one(0), one(1), one(2), one(3), one(4));
        for running in [a, b, c, d, e] {
            assert!(running.forked(), "{:?}", running.sandbox.origin());
            for (_, value) in running.said["random"].as_object().unwrap() {
                assert!(seen.insert(value.to_string()), "twice: {value}");
            }
        }
    }
    assert_eq!(seen.len(), 50 * 6);
    host.settled().await;
    assert_eq!(host.spawner.zygotes()[0].losses, 0);
    host.finish().await;
}

#[tokio::test]
async fn the_end_of_a_fork_is_reported_as_ever() {
    let Some(host) = host().await else { return };
    let code = code();
    for (event, status) in
        [("exit", ExitStatus::Code(3)), ("kill", ExitStatus::Signal(9)), ("memory", ExitStatus::OutOfMemory)]
    {
        let mut running = run(&host, program_spec(event, code.path(), true)).await;
        assert!(running.forked());
        running.invoke(event);
        assert_eq!(running.sandbox.wait().await, status);
    }
    let mut running = run(&host, program_spec("answer", code.path(), true)).await;
    running.invoke("good");
    assert_eq!(running.frame(), "A\"good\"");
    running.sandbox.kill();
    assert_eq!(running.sandbox.wait().await, ExitStatus::Signal(9));
    drop(running);
    host.settled().await;
    host.finish().await;
}

#[tokio::test]
async fn files_that_would_come_first_are_executed() {
    let Some(host) = host().await else { return };
    let code = code();
    std::fs::write(code.path().join("uuid.py"), "def uuid4(): return 'mine'\n").unwrap();
    // AWS's runtime imports its own here.
    std::fs::write(code.path().join("json.py"), "raise SystemError").unwrap();
    let running = run(&host, program_spec("shadow", code.path(), true)).await;
    assert_eq!(running.said["random"]["uuid"], "mine");
    let Origin::FellBack(reason) = running.sandbox.origin() else { panic!("{:?}", running.sandbox.origin()) };
    assert!(reason.contains("/var/task/uuid.py"), "{reason}");
    drop(running);
    host.finish().await;
}

#[tokio::test]
async fn a_killed_zygote_takes_nothing_with_it_and_is_replaced() {
    let Some(host) = host().await else { return };
    let code = code();
    let mut before = run(&host, program_spec("before", code.path(), true)).await;
    assert!(before.forked());
    kill(zygote_pid(&host));
    until("the loss is known", || host.spawner.zygotes()[0].losses == 1).await;
    let between = run(&host, program_spec("between", code.path(), true)).await;
    before.invoke("still there");
    assert_eq!(before.frame(), "A\"still there\"");
    ready(&host, 2).await;
    let after = run(&host, program_spec("after", code.path(), true)).await;
    assert!(after.forked());
    drop((before, between, after));
    host.spawner.end_zygote(NAME);
    until("it is forgotten", || host.spawner.zygotes().is_empty()).await;
    let without = run(&host, program_spec("without", code.path(), true)).await;
    assert_eq!(*without.sandbox.origin(), Origin::Executed);
    drop(without);
    host.finish().await;
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[tokio::test]
async fn a_stopped_zygote_is_not_waited_for_long() {
    let Some(host) = host().await else { return };
    let code = code();
    let pid = rustix::process::Pid::from_raw(zygote_pid(&host)).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let running = run(&host, program_spec("stopped", code.path(), true)).await;
    assert_eq!(*running.sandbox.origin(), Origin::FellBack("the zygote did not answer in time".to_owned()));
    // It is not left like this for ever.
    let mut number = 0;
    while host.spawner.zygotes()[0].losses == 0 {
        number += 1;
        drop(run(&host, program_spec(&format!("again-{number}"), code.path(), true)).await);
    }
    assert!(number < 40);
    drop(running);
    host.finish().await;
}

#[tokio::test]
async fn a_zygote_outlives_its_spawner_by_nothing() {
    let Some(host) = host().await else { return };
    let code = code();
    let zygote = zygote_pid(&host);
    let status = std::fs::read_to_string(format!("/proc/{zygote}/status")).unwrap();
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:\t")).unwrap();
    kill(parent.parse().unwrap());
    host.spawner.died().await;
    until("the zygote is gone", || !Path::new(&format!("/proc/{zygote}/exe")).exists()).await;
    // The next spawner has one too.
    let first = run(&host, program_spec("first", code.path(), true)).await;
    ready(&host, 2).await;
    let second = run(&host, program_spec("second", code.path(), true)).await;
    assert!(second.forked());
    drop((first, second));
    host.finish().await;
}

#[tokio::test]
async fn a_zygote_that_cannot_start_is_reported() {
    let Some(host) = Host::new() else { return };
    let mut spec = zygote_spec();
    spec.command = vec!["/bin/sh".to_owned(), "-c".to_owned(), "echo it is broken >&2; exit 4".to_owned()];
    host.spawner.keep_zygote(NAME, spec);
    until("the loss is known", || host.spawner.zygotes()[0].losses == 1).await;
    let code = code();
    let running = run(&host, program_spec("anyway", code.path(), true)).await;
    assert_eq!(*running.sandbox.origin(), Origin::Executed);
    drop(running);
    host.finish().await;
}
