//! Bombs hurt only who lights them.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use lambkin_sandbox::{BindMount, ExitStatus, Sandbox};

use crate::support::*;

const MEMORY_BOMB: &str = "\
import time
held = []
while True:
    held.append(bytearray(4 << 20))
    print(len(held) * 4, flush=True)
";

fn last_number(output: &str) -> u64 {
    output.lines().last().and_then(|line| line.parse().ok()).unwrap_or(0)
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_bomb() {
    let Some(host) = Host::new() else { return };
    let bystander = host.create(shell("bystander", "sleep 1000")).await;
    let mut bomb = python("bomb", MEMORY_BOMB);
    bomb.memory_bytes = 128 * MIB;
    bomb.tmp_bytes = 512 * MIB;
    let mut sandbox = host.create(bomb).await;
    let output = sandbox.take_output().unwrap();
    let output = tokio::task::spawn_blocking(move || read_all(output)).await.unwrap();
    assert_eq!(sandbox.wait().await, ExitStatus::OutOfMemory);
    assert_eq!(sandbox.usage().max_memory_bytes, 128 * MIB);
    // The kernel's own limit is at 656 MiB: it must be ours that was noticed.
    let allocated = last_number(&output);
    assert!((80..500).contains(&allocated), "killed at {allocated} MiB");
    assert!(tokio::time::timeout(Duration::from_millis(20), bystander.wait()).await.is_err());
    drop((sandbox, bystander));
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_bomb_in_a_child_process() {
    let Some(host) = Host::new() else { return };
    let script = format!("/usr/bin/python3.11 -I -S -c '{MEMORY_BOMB}' >/dev/null; sleep 1000");
    let mut spec = shell("child", &script);
    spec.memory_bytes = 64 * MIB;
    spec.tmp_bytes = 1 << 20;
    assert_eq!(host.run(spec).await.1, ExitStatus::OutOfMemory);
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_that_is_not_in_processes_counts_too() {
    let Some(host) = Host::new() else { return };
    let program = "import os\n\
        fd = os.memfd_create('x')\n\
        for i in range(1000): os.write(fd, b'x' * (1 << 20))";
    let mut spec = python("memfd", program);
    spec.memory_bytes = 64 * MIB;
    spec.tmp_bytes = 512 * MIB;
    assert_eq!(host.run(spec).await.1, ExitStatus::OutOfMemory);
    host.finish().await;
}

/// Fills `/tmp` far over the memory limit, which must neither fail nor kill, and shows that memory still
/// counts afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn tmp_does_not_count_as_memory() {
    let Some(host) = Host::new() else { return };
    let program = format!(
        "import os\n\
         fd = os.open('/tmp/big', os.O_CREAT | os.O_RDWR)\n\
         block = b'x' * (1 << 20)\n\
         for i in range(300):\n    assert os.write(fd, block) == len(block)\n\
         print('written', flush=True)\n\
         import sys; sys.stdin.read()\n\
         os.read(3, 1)\n\
         {MEMORY_BOMB}"
    );
    let mut spec = python("tmp", &program);
    spec.memory_bytes = 128 * MIB;
    spec.tmp_bytes = 512 * MIB;
    spec.channel = true;
    let mut sandbox = host.create(spec).await;
    let output = sandbox.take_output().unwrap();
    let channel = sandbox.take_channel().unwrap();
    let output: OwnedFd = tokio::task::spawn_blocking(move || {
        assert_eq!(read_until(&output, "\n"), "written\n");
        output
    })
    .await
    .unwrap();
    let usage = sandbox.usage();
    assert!(usage.memory_bytes < 100 * MIB && usage.max_memory_bytes < 100 * MIB, "{usage:?}");
    assert!(usage.memory_bytes > MIB, "{usage:?}");
    drop(channel);
    let output = tokio::task::spawn_blocking(move || read_all(output)).await.unwrap();
    assert_eq!(sandbox.wait().await, ExitStatus::OutOfMemory);
    let allocated = last_number(&output);
    assert!((60..350).contains(&allocated), "killed at {allocated} MiB");
    drop(sandbox);
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tmp_that_was_emptied_gives_no_more_memory() {
    let Some(host) = Host::new() else { return };
    let program = format!(
        "import os\n\
         fd = os.open('/tmp/big', os.O_CREAT | os.O_RDWR)\n\
         block = b'x' * (1 << 20)\n\
         for i in range(300): os.write(fd, block)\n\
         os.truncate('/tmp/big', 0)\n\
         {MEMORY_BOMB}"
    );
    let mut spec = python("emptied", &program);
    spec.memory_bytes = 128 * MIB;
    spec.tmp_bytes = 512 * MIB;
    let (output, status) = host.run(spec).await;
    assert_eq!(status, ExitStatus::OutOfMemory);
    let allocated = last_number(&output);
    assert!((60..500).contains(&allocated), "killed at {allocated} MiB");
    host.finish().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn file_cache_does_not_count_as_memory() {
    let Some(host) = Host::new() else { return };
    let data = tempfile::tempdir().unwrap();
    // Written past the cache, so that the sandbox is the first to have it there.
    let written = std::process::Command::new("dd")
        .args(["if=/dev/zero", "bs=1M", "count=192", "oflag=direct", "status=none"])
        .arg(format!("of={}", data.path().join("big").display()))
        .status();
    if !written.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no direct writes on {}", data.path().display());
        return;
    }
    let mut spec = shell("cache", "cat /data/big | wc -c");
    let source = data.path().to_owned();
    spec.binds.push(BindMount { source, target: "/data".to_owned(), optional: false });
    spec.memory_bytes = 64 * MIB;
    spec.tmp_bytes = 256 * MIB;
    let (output, status) = host.run(spec).await;
    assert_eq!((output.trim(), status), ("201326592", ExitStatus::Code(0)));
    host.finish().await;
}

#[tokio::test]
async fn full_disk() {
    let Some(host) = Host::new() else { return };
    let program = "\
import os, errno
def fill(call):
    try:
        while True: call()
    except OSError as error: return errno.errorcode[error.errno]
fd = os.open('/tmp/a', os.O_CREAT | os.O_RDWR)
print(fill(lambda: os.write(fd, b'x' * 65536)), os.fstat(fd).st_size)
os.truncate('/tmp/a', 0)
n = 0
def make():
    global n; n += 1
    os.close(os.open(f'/tmp/{n}', os.O_CREAT | os.O_RDWR))
print(fill(make), n < 5000)
s = os.statvfs('/tmp'); print(s.f_blocks * s.f_frsize)
";
    let mut spec = python("disk", program);
    spec.tmp_bytes = 20 * MIB;
    let (output, _) = host.run(spec).await;
    assert_eq!(output, "ENOSPC 20971520\nENOSPC True\n20971520\n");
    host.finish().await;
}

#[tokio::test]
async fn fork_bomb() {
    let Some(host) = Host::new() else { return };
    let program = "\
import os, time, errno, threading
n = 0
try:
    while True:
        if os.fork() == 0:
            time.sleep(1000)
        n += 1
except OSError as error: print(errno.errorcode[error.errno], n, flush=True)
try: threading.Thread(target=print).start()
except RuntimeError: print('no thread')
";
    let mut spec = python("forks", program);
    spec.pids_max = 20;
    assert_eq!(host.run(spec).await.0, "EAGAIN 19\nno thread\n");
    let mut spec = shell("bomb", "bomb() { bomb | bomb & }; bomb 2>/dev/null & exec sleep 1000");
    spec.pids_max = 50;
    let sandbox = host.create(spec).await;
    let (output, _) = host.shell("echo unharmed").await;
    assert_eq!(output, "unharmed\n");
    sandbox.kill();
    assert_eq!(sandbox.wait().await, ExitStatus::Signal(9));
    host.finish().await;
}

#[tokio::test]
async fn descriptor_bomb() {
    let Some(host) = Host::new() else { return };
    let program = "\
import os, errno, resource
held = []
try:
    while True: held.append(os.open('/dev/null', os.O_RDONLY))
except OSError as error: print(errno.errorcode[error.errno], len(held))
print(resource.getrlimit(resource.RLIMIT_NOFILE), resource.getrlimit(resource.RLIMIT_CORE))
try: resource.setrlimit(resource.RLIMIT_NOFILE, (2000, 2000))
except ValueError: print('no more')
";
    let mut spec = python("fds", program);
    spec.command.retain(|argument| argument != "-I" && argument != "-S");
    let (output, _) = host.run(spec).await;
    assert_eq!(output, "EMFILE 1021\n(1024, 1024) (0, 0)\nno more\n");
    host.finish().await;
}

async fn spinning(host: &Host, quota: Option<u32>) -> Sandbox {
    let mut spec = shell("spin", "echo go; while :; do :; done");
    spec.cpu_quota_us = quota;
    let mut sandbox = host.create(spec).await;
    let output = sandbox.take_output().unwrap();
    tokio::task::spawn_blocking(move || read_until(&output, "go\n")).await.unwrap();
    sandbox
}

async fn cpu_in(sandbox: &Sandbox, time: Duration) -> Duration {
    let (start, before) = (Instant::now(), sandbox.usage().cpu_us);
    tokio::time::sleep(time).await;
    let used = Duration::from_micros(sandbox.usage().cpu_us - before);
    // Under load we may have slept longer than asked.
    used.mul_f64(time.as_secs_f64() / start.elapsed().as_secs_f64())
}

#[tokio::test]
async fn freeze_thaw_and_kill_while_frozen() {
    let Some(host) = Host::new() else { return };
    let sandbox = spinning(&host, None).await;
    sandbox.freeze().unwrap();
    sandbox.freeze().unwrap();
    // The freeze takes effect after the call; from when it has, nothing runs.
    let mut last = sandbox.usage().cpu_us;
    until_still(&sandbox, &mut last).await;
    let frozen = cpu_in(&sandbox, Duration::from_millis(50)).await;
    assert!(frozen < Duration::from_millis(5), "{frozen:?}");
    sandbox.thaw().unwrap();
    until("it runs again", || sandbox.usage().cpu_us > last).await;
    sandbox.freeze().unwrap();
    sandbox.kill();
    assert_eq!(sandbox.wait().await, ExitStatus::Signal(9));
    host.settled().await;
    assert!(sandbox.freeze().is_err());
    assert!(sandbox.usage().cpu_us >= last);
    drop(sandbox);
    // Dropped while frozen.
    let sandbox = host.create(shell("drop", "sleep 1000")).await;
    sandbox.freeze().unwrap();
    drop(sandbox);
    host.finish().await;
}

async fn until_still(sandbox: &Sandbox, last: &mut u64) {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let now = sandbox.usage().cpu_us;
        if now == *last {
            return;
        }
        assert!(Instant::now() < deadline, "it does not freeze");
        *last = now;
    }
}

#[tokio::test]
async fn cpu_quota() {
    if !has_cgroups() {
        eprintln!("skipped: without cgroups CPU time is not limited");
        return;
    }
    let Some(host) = Host::new() else { return };
    let time = Duration::from_millis(500);
    let sandbox = spinning(&host, Some(2000)).await;
    let tenth = cpu_in(&sandbox, time).await;
    assert!(tenth < time / 5, "{tenth:?}");
    sandbox.set_cpu_quota_us(None).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while cpu_in(&sandbox, time).await < time / 4 {
        // The machine may be busy with other things.
        assert!(Instant::now() < deadline, "still throttled");
    }
    sandbox.set_cpu_quota_us(Some(1000)).unwrap();
    let twentieth = cpu_in(&sandbox, time).await;
    assert!(twentieth < time / 8, "{twentieth:?}");
    drop(sandbox);
    host.finish().await;
}

#[tokio::test]
async fn usage_is_plausible_during_and_after() {
    let Some(host) = Host::new() else { return };
    let program = "x = bytearray(50 << 20); del x; print('x', flush=True); import sys, os; os.read(3, 1)";
    let mut spec = python("usage", program);
    spec.channel = true;
    let mut sandbox = host.create(spec).await;
    let output = sandbox.take_output().unwrap();
    tokio::task::spawn_blocking(move || read_until(&output, "x\n")).await.unwrap();
    let usage = sandbox.usage();
    assert!((50 * MIB..90 * MIB).contains(&usage.max_memory_bytes), "{usage:?}");
    assert!((MIB..40 * MIB).contains(&usage.memory_bytes), "{usage:?}");
    assert!((1000..60_000_000).contains(&usage.cpu_us), "{usage:?}");
    sandbox.reset_peak();
    let reset = sandbox.usage();
    // cgroup v2 has it since Linux 6.12.
    let can_reset = by_root() && std::path::Path::new("/sys/fs/cgroup/memory").is_dir();
    assert!(!can_reset || reset.max_memory_bytes < 50 * MIB, "{reset:?}");
    drop(sandbox.take_channel());
    sandbox.wait().await;
    let last = sandbox.usage();
    assert!(last.cpu_us >= usage.cpu_us && last.max_memory_bytes >= reset.max_memory_bytes, "{last:?}");
    host.finish().await;
}
