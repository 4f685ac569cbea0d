//! Sandboxes that are none: plain processes.

use std::io::{Read, Write};
use std::time::Duration;

use lambkin_sandbox::{BindMount, ExitStatus, Isolation, SandboxSpec, SpawnerConfig};

use crate::support::*;

/// A family that does its best to get away. Says `ready`.
const FAMILY: &str = "trap '' TERM HUP INT; (setsid sh -c 'sleep 1000 & setsid sleep 1000 & wait' &); \
    sleep 1000 & setsid sleep 1000 & echo ready";

fn plain() -> Host {
    let config = SpawnerConfig { isolation: Isolation::Process, ..config() };
    Host { spawner: start(&config), instance: config.instance, uid_base: config.uid_base }
}

/// Processes of a host's sandboxes, known by their `TMPDIR`.
fn members(host: &Host) -> Vec<i32> {
    let work_dir = config_of(&host.instance, host.uid_base).work_dir;
    let mark = format!("TMPDIR={}/", work_dir.display()).into_bytes();
    let pids = std::fs::read_dir("/proc").unwrap().flatten();
    pids.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid: &i32| {
            let environment = std::fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|variable| variable.starts_with(&mark))
        })
        .collect()
}

async fn none_is_left(host: &Host) {
    until("no process is left", || members(host).is_empty()).await;
}

/// Takes the folder's name, which ends by chance, out of a text.
fn without_folder(host: &Host, id: &str, text: &str) -> String {
    let start = format!("{}/{id}-", config_of(&host.instance, host.uid_base).work_dir.display());
    let mut parts = text.split(&start);
    let first = parts.next().unwrap().to_owned();
    parts.fold(first, |text, rest| text + "FOLDER" + &rest[8..])
}

async fn family(host: &Host, spec: SandboxSpec) -> lambkin_sandbox::Sandbox {
    let mut sandbox = host.create(spec).await;
    let output = sandbox.take_output().unwrap();
    tokio::task::spawn_blocking(move || read_until(&output, "ready\n")).await.unwrap();
    sandbox
}

#[tokio::test]
async fn what_is_promised_by_path_is_elsewhere() {
    let host = plain();
    let data = tempfile::tempdir().unwrap();
    std::fs::set_permissions(data.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    for (name, content) in [("code/f", "code"), ("one/a", "one"), ("one/b", "one"), ("two/b", "two")] {
        let path = data.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let mut spec =
        shell("paths", "cat f $LAYERS/a $LAYERS/b; pwd; echo $TMPDIR $LIST $0; touch $TMPDIR/x; umask");
    spec.command.push("/var/task/zero".to_owned());
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    spec.environment.extend([set("LAYERS", "/opt"), set("LIST", "/usr/lib:/var/task/lib:/tmp/y")]);
    let source = data.path().join("code");
    spec.binds.push(BindMount { source: source.clone(), target: "/var/task".to_owned(), optional: false });
    spec.overlays.push(("/opt".to_owned(), vec![data.path().join("one"), data.path().join("two")]));
    spec.working_dir = "/var/task".to_owned();
    let (output, status) = host.run(spec).await;
    let code = source.display();
    let expected =
        format!("codeonetwo{code}\nFOLDER/tmp /usr/lib:{code}/lib:FOLDER/tmp/y {code}/zero\n0022\n");
    assert_eq!((without_folder(&host, "paths", &output), status), (expected, ExitStatus::Code(0)));
    let work_dir = config_of(&host.instance, host.uid_base).work_dir;
    assert_eq!(std::fs::read_dir(work_dir).unwrap().count(), 0);
    let (_, status) = host.run(spec_of_missing()).await;
    assert_eq!(status, ExitStatus::ExecFailed(libc::ENOENT));
    let mut wrong = shell("wrong", "true");
    wrong.working_dir = "/no/such".to_owned();
    host.spawner.create(wrong).await.unwrap_err();
    host.settled().await;
    host.finish().await;
}

fn spec_of_missing() -> SandboxSpec {
    spec("missing", &["/no/such"])
}

#[tokio::test]
async fn listeners_are_on_an_address_of_their_own() {
    let host = plain();
    let program = "import os, socket\n\
        host, _, port = os.environ['API'].partition(':')\n\
        assert host.startswith('127.') and host != '127.0.0.1' and port == '9001', host\n\
        s = socket.create_connection((host, 9001))\n\
        s.sendall(b'ping')\n\
        os.write(4, b'telemetry')\n\
        os.write(3, s.recv(9))";
    let mut spec = python("net", program);
    spec.environment.push(("API".to_owned(), "127.0.0.1:9001".to_owned()));
    spec.listen_ports = vec![9001];
    spec.channel = true;
    let mut sandbox = host.create(spec).await;
    let listener = tokio::net::TcpListener::from_std(sandbox.take_listener(9001).unwrap()).unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut request = [0; 4];
    stream.read_exact(&mut request).unwrap();
    stream.write_all(b"pong").unwrap();
    assert_eq!((&request, sandbox.wait().await), (b"ping", ExitStatus::Code(0)));
    assert_eq!(read_all(sandbox.take_channel().unwrap()), "pong");
    drop((listener, stream, sandbox));
    host.finish().await;
}

#[tokio::test]
async fn all_descendants_end_with_the_program_and_when_killed() {
    let host = plain();
    let ended = family(&host, shell("ended", &format!("{FAMILY}; exit 5"))).await;
    assert_eq!(ended.wait().await, ExitStatus::Code(5));
    none_is_left(&host).await;
    let killed = family(&host, shell("killed", &format!("{FAMILY}; sleep 1000"))).await;
    until("all run", || members(&host).len() >= 5).await;
    killed.kill();
    assert_eq!(killed.wait().await, ExitStatus::Signal(9));
    none_is_left(&host).await;
    let frozen = family(&host, shell("frozen", &format!("{FAMILY}; sleep 1000"))).await;
    frozen.freeze().unwrap();
    drop(frozen);
    none_is_left(&host).await;
    host.settled().await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn limits_are_watched() {
    let host = plain();
    let mut bomb = python("memory", "held = []\nwhile True: held.append(bytearray(4 << 20))");
    bomb.memory_bytes = 128 * MIB;
    let sandbox = host.create(bomb).await;
    assert_eq!(sandbox.wait().await, ExitStatus::OutOfMemory);
    assert_eq!(sandbox.usage().max_memory_bytes, 128 * MIB);
    let mut bomb = shell("forks", "while :; do sleep 1000 & done");
    bomb.pids_max = 50;
    bomb.memory_bytes = 4096 * MIB;
    let sandbox = host.create(bomb).await;
    assert_eq!(sandbox.wait().await, ExitStatus::Signal(9));
    none_is_left(&host).await;
    drop(sandbox);
    host.finish().await;
}

#[tokio::test]
async fn freezing_stops_all() {
    let host = plain();
    let sandbox =
        family(&host, shell("spin", "(while :; do :; done) & echo ready; while :; do :; done")).await;
    sandbox.freeze().unwrap();
    let mut last = sandbox.usage().cpu_us;
    loop {
        tokio::time::sleep(Duration::from_millis(30)).await;
        let now = sandbox.usage().cpu_us;
        if now == last {
            break;
        }
        last = now;
    }
    tokio::time::sleep(Duration::from_millis(60)).await;
    assert_eq!(sandbox.usage().cpu_us, last);
    sandbox.thaw().unwrap();
    until("it runs again", || sandbox.usage().cpu_us > last).await;
    drop(sandbox);
    host.finish().await;
}

#[tokio::test]
async fn an_init_that_is_killed_leaves_nothing() {
    let host = plain();
    let sandbox =
        family(&host, shell("victim", &format!("{FAMILY}; sleep 0.1; kill -9 $PPID; sleep 1000"))).await;
    assert_eq!(sandbox.wait().await, ExitStatus::Signal(9));
    none_is_left(&host).await;
    // The spawner has not mistaken another init for a stray.
    let other = family(&host, shell("other", "echo ready; sleep 1000")).await;
    let victim = family(&host, shell("again", "echo ready; kill -9 $PPID; sleep 1000")).await;
    assert_eq!(victim.wait().await, ExitStatus::Signal(9));
    host.settled().await;
    assert!(tokio::time::timeout(Duration::from_millis(20), other.wait()).await.is_err());
    drop(other);
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_spawner_takes_all_with_it() {
    let host = plain();
    let sandbox = family(&host, shell("one", &format!("{FAMILY}; sleep 1000"))).await;
    let init = members(&host).into_iter().filter_map(|pid| parent_if(pid, "lambkin-init")).next().unwrap();
    let spawner = parent_if(init, "lambkin-spawner").unwrap();
    assert!(
        std::process::Command::new("kill").args(["-9", &spawner.to_string()]).status().unwrap().success()
    );
    host.spawner.died().await;
    assert_eq!(sandbox.wait().await, ExitStatus::Signal(9));
    none_is_left(&host).await;
    let again = family(&host, shell("one", "echo ready; sleep 1000")).await;
    drop((sandbox, again));
    host.finish().await;
}

/// The parent of a process, if it has this name.
fn parent_if(pid: i32, name: &str) -> Option<i32> {
    let field = |pid: i32, field: &str| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let line = status.lines().find(|line| line.starts_with(field))?;
        Some(line.split_once('\t')?.1.to_owned())
    };
    let parent = field(pid, "PPid:")?.parse().ok()?;
    (field(parent, "Name:")? == name).then_some(parent)
}
