//! Making, talking to, and ending sandboxes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use lambkin_sandbox::{BindMount, ExitStatus, Helper, SandboxError};

use crate::support::*;

#[tokio::test]
async fn runs_a_program_and_reports_output_and_end() {
    let Some(host) = Host::new() else { return };
    let (output, status) = host.shell("echo out; echo err >&2; pwd; echo $PATH; umask; exit 3").await;
    assert_eq!(output, "out\nerr\n/\n/usr/bin:/bin\n0022\n");
    assert_eq!(status, ExitStatus::Code(3));
    let (_, status) = host.shell("kill -SEGV $$").await;
    assert_eq!(status, ExitStatus::Signal(libc::SIGSEGV));
    host.finish().await;
}

#[tokio::test]
async fn standard_descriptors_can_be_opened_by_name() {
    let Some(host) = Host::new() else { return };
    let script = "echo a >/dev/stdout; echo b >/dev/stderr; cat /dev/stdin; ls /proc/self/fd | tr '\\n' ' '";
    let (output, status) = host.shell(script).await;
    // 3 is the folder that `ls` reads.
    assert_eq!((output.as_str(), status), ("a\nb\n0 1 2 3 ", ExitStatus::Code(0)));
    host.finish().await;
}

#[tokio::test]
async fn a_program_that_cannot_be_executed() {
    let Some(host) = Host::new() else { return };
    let (_, status) = host.run(spec("none", &["/no/such"])).await;
    assert_eq!(status, ExitStatus::ExecFailed(libc::ENOENT));
    let (_, status) = host.run(spec("folder", &["/usr"])).await;
    assert_eq!(status, ExitStatus::ExecFailed(libc::EACCES));
    host.finish().await;
}

#[tokio::test]
async fn helpers_run_beside_the_program_and_after_it() {
    let Some(host) = Host::new() else { return };
    let helper = |script: &str| Helper {
        command: vec!["/bin/sh".to_owned(), "-c".to_owned(), script.to_owned()],
        environment: vec![
            ("PATH".to_owned(), "/usr/bin:/bin".to_owned()),
            ("MINE".to_owned(), "1".to_owned()),
        ],
    };
    let mut spec = shell("helped", "echo program $MINE; test -e /tmp/first || echo early; exit 3");
    spec.helpers = vec![
        helper("touch /tmp/first; echo helper $MINE"),
        helper("trap 'echo last; exit 7' TERM; while :; do sleep 0.01; done"),
        Helper { command: vec!["/no/such".to_owned()], environment: Vec::new() },
    ];
    let mut sandbox = host.spawner.create(spec).await.unwrap();
    let mut ends = [sandbox.helper_end(0).await, sandbox.helper_end(1).await];
    ends.sort_by_key(|(number, _)| *number);
    assert_eq!(ends, [(0, ExitStatus::Code(0)), (2, ExitStatus::Code(127))]);
    sandbox.start_program();
    assert_eq!(sandbox.wait().await, ExitStatus::Code(3));
    // A helper goes on without it.
    let longer = tokio::time::timeout(std::time::Duration::from_millis(100), sandbox.helper_end(2)).await;
    assert!(longer.is_err());
    let output = sandbox.take_output().unwrap();
    sandbox.kill();
    assert_eq!(read_all(output), "helper 1\nprogram\n");
    drop(sandbox);

    // Never started, it is killed with all the others.
    let mut spec = shell("held", "echo started");
    spec.helpers = vec![helper("sleep 100")];
    let sandbox = host.spawner.create(spec).await.unwrap();
    sandbox.kill();
    assert_eq!(sandbox.wait().await, ExitStatus::Signal(9));
    drop(sandbox);
    host.finish().await;
}

#[tokio::test]
async fn failing_steps_are_named() {
    let Some(host) = Host::new() else { return };
    let mut wrong = shell("a", "true");
    wrong.binds.push(BindMount { source: "/no/such".into(), target: "/x".to_owned(), optional: false });
    let error = host.spawner.create(wrong.clone()).await.unwrap_err();
    assert_eq!(error.to_string(), "bind /no/such: No such file or directory (os error 2)");
    wrong.binds.last_mut().unwrap().optional = true;
    wrong.id = "dir".to_owned();
    wrong.working_dir = "/nowhere".to_owned();
    let error = host.spawner.create(wrong).await.unwrap_err();
    assert_eq!(error.to_string(), "change directory to /nowhere: No such file or directory (os error 2)");
    let mut wrong = shell("b", "true");
    wrong.id = "B/..".to_owned();
    let error = host.spawner.create(wrong).await.unwrap_err();
    assert!(matches!(error, SandboxError::Spec(_)), "{error}");
    let mut long = shell("c", "true");
    long.files.push(("/x".to_owned(), "x".repeat(300_000)));
    let error = host.spawner.create(long).await.unwrap_err();
    assert!(matches!(error, SandboxError::Spec(_)), "{error}");
    host.settled().await;
    host.finish().await;
}

#[tokio::test]
async fn an_id_belongs_to_one_live_sandbox() {
    let Some(host) = Host::new() else { return };
    let first = host.create(shell("same", "sleep 100")).await;
    let error = host.spawner.create(shell("same", "true")).await.unwrap_err();
    assert!(error.to_string().contains("another live sandbox"), "{error}");
    first.kill();
    assert_eq!(first.wait().await, ExitStatus::Signal(libc::SIGKILL));
    host.settled().await;
    host.create(shell("same", "true")).await.wait().await;
    host.finish().await;
}

#[tokio::test]
async fn files_links_binds_and_layers() {
    let Some(host) = Host::new() else { return };
    let data = tempfile::tempdir().unwrap();
    for (name, content) in [("one/a", "one"), ("one/b", "one"), ("two/b", "two"), ("code/f.txt", "code")] {
        let path = data.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let mut spec = shell(
        "files",
        "cat /opt/a /opt/b /var/task/f.txt /etc/one /link; cd /var/task && echo x 2>/dev/null >new || echo ro",
    );
    let overlay = std::fs::read_to_string("/proc/filesystems").unwrap().contains("\toverlay\n");
    if overlay {
        spec.overlays.push(("/opt".to_owned(), vec![data.path().join("one"), data.path().join("two")]));
    } else {
        eprintln!("skipped in part: the kernel has no overlay file system");
        spec.files.push(("/opt/a".to_owned(), "one".to_owned()));
        spec.files.push(("/opt/b".to_owned(), "two".to_owned()));
    }
    spec.overlays.push(("/alone".to_owned(), vec![data.path().join("one")]));
    let mut bind = |source: &str, target: &str| {
        let source = data.path().join(source);
        spec.binds.push(BindMount { source, target: target.to_owned(), optional: false });
    };
    bind("code", "/var/task");
    bind("one/a", "/etc/one");
    spec.files.push(("/deep/er/file".to_owned(), "file".to_owned()));
    spec.symlinks.push(("/link".to_owned(), "deep/er/file".to_owned()));
    let (output, _) = host.run(spec).await;
    assert_eq!(output, "onetwocodeonefilero\n");
    host.finish().await;
}

#[tokio::test]
async fn listeners_are_accepted_from_outside() {
    let Some(host) = Host::new() else { return };
    let program = "import socket\n\
        s = socket.create_connection(('127.0.0.1', 9001))\n\
        s.sendall(b'ping')\n\
        print(s.recv(9).decode(), end='')";
    let mut spec = python("net", program);
    spec.listen_ports = vec![9001, 9002];
    let mut sandbox = host.create(spec).await;
    assert!(sandbox.take_listener(80).is_none());
    let listener = tokio::net::TcpListener::from_std(sandbox.take_listener(9001).unwrap()).unwrap();
    assert!(sandbox.take_listener(9001).is_none());
    let (stream, _) = listener.accept().await.unwrap();
    let mut stream = stream.into_std().unwrap();
    stream.set_nonblocking(false).unwrap();
    let mut request = [0; 4];
    stream.read_exact(&mut request).unwrap();
    assert_eq!(&request, b"ping");
    stream.write_all(b"pong").unwrap();
    assert_eq!(sandbox.wait().await, ExitStatus::Code(0));
    assert_eq!(read_all(sandbox.take_output().unwrap()), "pong");
    // The port is not one of the host.
    let address = ([127, 0, 0, 1], 9002).into();
    assert!(TcpStream::connect_timeout(&address, std::time::Duration::from_secs(1)).is_err());
    drop((listener, stream));
    host.finish().await;
}

#[tokio::test]
async fn channel_and_telemetry() {
    let Some(host) = Host::new() else { return };
    let program = "import os, socket\n\
        c = socket.socket(fileno=3)\n\
        t = socket.socket(fileno=4)\n\
        assert t.type == socket.SOCK_SEQPACKET\n\
        t.send(b'a' * 200000); t.send(b'b')\n\
        c.sendall(c.recv(100).upper())";
    let mut spec = python("fds", program);
    spec.channel = true;
    let mut sandbox = host.create(spec).await;
    let mut channel = UnixStream::from(sandbox.take_channel().unwrap());
    channel.set_nonblocking(false).unwrap();
    channel.write_all(b"hello").unwrap();
    let mut answer = String::new();
    channel.read_to_string(&mut answer).unwrap();
    assert_eq!(answer, "HELLO");
    assert_eq!(sandbox.wait().await, ExitStatus::Code(0));
    let mut telemetry = std::fs::File::from(sandbox.take_telemetry().unwrap());
    let mut buffer = vec![0; 1 << 20];
    assert_eq!(telemetry.read(&mut buffer).unwrap(), 200_000);
    assert_eq!(telemetry.read(&mut buffer).unwrap(), 1);
    assert_eq!(telemetry.read(&mut buffer).unwrap(), 0);
    host.finish().await;
}

#[tokio::test]
async fn what_the_program_leaves_running_dies_with_it() {
    let Some(host) = Host::new() else { return };
    let (output, status) = host.shell("sleep 1000 & setsid sleep 1000 & echo started").await;
    assert_eq!((output.as_str(), status), ("started\n", ExitStatus::Code(0)));
    host.finish().await;
}

#[tokio::test]
async fn signals_reach_the_program() {
    let Some(host) = Host::new() else { return };
    let mut sandbox = host
        .create(shell("term", "trap 'echo bye; exit 7' TERM; echo ready; while :; do sleep 0.01; done"))
        .await;
    let output: OwnedFd = sandbox.take_output().unwrap();
    let output = tokio::task::spawn_blocking(move || {
        read_until(&output, "ready\n");
        output
    });
    let output = output.await.unwrap();
    sandbox.signal(libc::SIGTERM);
    assert_eq!(sandbox.wait().await, ExitStatus::Code(7));
    assert_eq!(read_all(output), "bye\n");
    sandbox.signal(libc::SIGTERM);
    sandbox.kill();
    host.finish().await;
}

#[tokio::test]
async fn zombies_are_collected() {
    let Some(host) = Host::new() else { return };
    let script = "i=0; while [ $i -lt 20 ]; do (sleep 0.01 & ) ; i=$((i+1)); done; sleep 0.3; \
        cat /proc/[0-9]*/status 2>/dev/null | grep -c '^State:.*Z'";
    let (output, _) = host.shell(script).await;
    assert_eq!(output, "0\n");
    host.finish().await;
}

#[tokio::test]
async fn many_wait_for_one_end_and_dropping_kills() {
    let Some(host) = Host::new() else { return };
    let sandbox = host.create(shell("a", "sleep 1000")).await;
    let (one, two, ()) = tokio::join!(sandbox.wait(), sandbox.wait(), async { sandbox.kill() });
    assert_eq!((one, two), (ExitStatus::Signal(9), ExitStatus::Signal(9)));
    assert_eq!(sandbox.wait().await, ExitStatus::Signal(9));
    let dropped = host.create(shell("b", "sleep 1000")).await;
    drop(dropped);
    until("the dropped one is gone", || host.spawner.stats().live == 0).await;
    host.finish().await;
}

#[tokio::test]
async fn a_cancelled_create_leaves_nothing() {
    let Some(host) = Host::new() else { return };
    for number in 0..5 {
        let create = host.spawner.create(shell(&format!("c{number}"), "sleep 1000"));
        let _ = tokio::time::timeout(std::time::Duration::from_micros(number * 500), create).await;
    }
    // What was asked for before is answered before.
    host.create(shell("last", "true")).await.wait().await;
    until("cancelled ones are gone", || host.spawner.stats().live == 0).await;
    host.settled().await;
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_at_once() {
    let Some(host) = Host::new() else { return };
    let creates = (0..50).map(|number| {
        let spawner = host.spawner.clone();
        tokio::spawn(async move {
            let mut sandbox =
                spawner.create(shell(&format!("s{number}"), "id -u; sleep 1000")).await.unwrap();
            let output = sandbox.take_output().unwrap();
            let text = tokio::task::spawn_blocking(move || read_until(&output, "993\n")).await.unwrap();
            assert_eq!(text, "993\n");
            sandbox
        })
    });
    let mut sandboxes = Vec::new();
    for create in creates.collect::<Vec<_>>() {
        sandboxes.push(create.await.unwrap());
    }
    drop(sandboxes);
    until("all have ended", || host.spawner.stats().live == 0).await;
    host.settled().await;
    host.finish().await;
}

#[test]
fn starting_needs_no_runtime() {
    if !is_able() {
        return;
    }
    let config = config();
    let spawner = start(&config);
    assert!(spawner.alive());
    drop(spawner);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(assert_clean(&config.instance, config.uid_base));
}
