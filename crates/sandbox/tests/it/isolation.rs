//! What a program inside can see, reach and do.

use std::os::unix::net::UnixListener;

use lambkin_sandbox::{BindMount, ExitStatus};

use crate::support::*;

/// Defines `attempt(call)`, which returns the name of the error a call raises, and `syscall(...)`, which
/// returns the name of the error number or `ok`.
const HELPERS: &str = "
import os, sys, errno, ctypes, socket
libc = ctypes.CDLL(None, use_errno=True)
def name(number): return errno.errorcode.get(number, str(number))
def attempt(call):
    try: call()
    except OSError as error: return name(error.errno)
    return 'ok'
def syscall(*args):
    result = libc.syscall(*[ctypes.c_long(a) for a in args])
    return 'ok' if result >= 0 else name(ctypes.get_errno())
";

/// Python with its standard library (`-S` alone would do without `site`, which is not needed).
async fn inside(host: &Host, program: &str) -> String {
    let (output, status) = host.run(python("inside", &format!("{HELPERS}{program}"))).await;
    assert_eq!(status, ExitStatus::Code(0), "{output}");
    output
}

#[tokio::test]
async fn identity_and_privileges() {
    let Some(host) = Host::new() else { return };
    let show = "egrep '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/self/status; hostname; id -u";
    let (output, _) = host.shell(show).await;
    let expected = "\
Uid:\t993\t993\t993\t993
Gid:\t990\t990\t990\t990
Groups:\t 
CapInh:\t0000000000000000
CapPrm:\t0000000000000000
CapEff:\t0000000000000000
CapBnd:\t0000000000000000
CapAmb:\t0000000000000000
NoNewPrivs:\t1
Seccomp:\t2
Seccomp_filters:\t1
lambkin
993
";
    assert_eq!(output, expected);
    // Init has no more than that.
    let (output, _) = host.shell("egrep '^(Uid|Gid|Groups|Cap|NoNewPrivs|Seccomp)' /proc/1/status").await;
    assert!(expected.starts_with(&output) && output.len() > 200, "{output}");
    let refused = inside(
        &host,
        "print(attempt(lambda: os.setuid(0)), attempt(lambda: os.setgid(0)), \
         attempt(lambda: os.setgroups([0])), attempt(lambda: os.setresuid(200000, 200000, 200000)), \
         attempt(lambda: os.mknod('/tmp/null', 0o20666, 0x103)), attempt(lambda: os.nice(-5)), \
         attempt(lambda: os.chown('/tmp', 0, 0)))",
    )
    .await;
    assert_eq!(refused, "EINVAL EINVAL EPERM EINVAL EPERM EPERM EINVAL\n");
    host.finish().await;
}

#[tokio::test]
async fn every_namespace_is_its_own() {
    let Some(host) = Host::new() else { return };
    let kinds = ["mnt", "pid", "net", "ipc", "uts", "cgroup", "user"];
    let script = "for n in mnt pid net ipc uts cgroup user; do readlink /proc/self/ns/$n; done";
    let (one, _) = host.shell(script).await;
    let other = host.create(shell("other", "sleep 1000")).await;
    let (two, _) = host.shell(script).await;
    for ((kind, one), two) in kinds.iter().zip(one.lines()).zip(two.lines()) {
        let ours = std::fs::read_link(format!("/proc/self/ns/{kind}")).unwrap();
        assert!(one.starts_with(&format!("{kind}:")));
        assert_ne!(one, ours.to_str().unwrap());
        // The first has ended, so its numbers may be used again; the user namespace's owner may not.
        assert!(two.starts_with(&format!("{kind}:")));
    }
    drop(other);
    let cgroups = host.shell("cat /proc/self/cgroup").await.0;
    for line in cgroups.lines().filter(|line| !line.contains("name=")) {
        let controller = line.split(':').nth(1).unwrap();
        if ["memory", "cpu", "pids", ""].contains(&controller) {
            assert!(line.ends_with(":/"), "{cgroups}");
        }
    }
    host.finish().await;
}

#[tokio::test]
async fn the_hosts_files_are_not_there() {
    let Some(host) = Host::new() else { return };
    let data = tempfile::tempdir().unwrap();
    std::fs::write(data.path().join("secret"), "secret").unwrap();
    let script = format!(
        "ls -A / | tr '\\n' ' '; ls -A /dev /etc | tr '\\n' ' '; echo; \
         cat /etc/shadow {0}/secret /proc/1/root/etc/shadow /proc/self/root/../etc/shadow 2>&1 | wc -l; \
         ls -A /tmp | wc -l; ls {0} /root /home /var /sys /run /work 2>/dev/null | wc -l",
        data.path().display()
    );
    let (output, _) = host.shell(&script).await;
    let expected = "bin dev etc lib lib64 proc tmp usr \
        /dev: fd full null random stderr stdin stdout urandom zero  /etc: passwd \n4\n0\n0\n";
    assert_eq!(output, expected);
    host.finish().await;
}

#[tokio::test]
async fn only_tmp_can_be_written() {
    let Some(host) = Host::new() else { return };
    let program = "
def writable(folder):
    path = os.path.join(folder, 'probe')
    try: os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
    except OSError: return False
    os.unlink(path); return True
found = []
for folder, below, _ in os.walk('/'):
    if folder.count('/') > 3 or folder == '/proc': below.clear()
    elif writable(folder): found.append(folder)
print(found)
opened = []
for folder, _, files in os.walk('/proc/sys'):
    for file in files:
        path = os.path.join(folder, file)
        try: os.close(os.open(path, os.O_WRONLY)); opened.append(path)
        except OSError: pass
for path in ['/etc/passwd', '/usr/bin/env', '/usr/lib/os-release', '/', '/proc/version', '/proc/1/oom_score_adj']:
    try: os.close(os.open(path, os.O_WRONLY)); opened.append(path)
    except OSError: pass
print(opened)
print(attempt(lambda: os.chmod('/usr', 0o777)), attempt(lambda: os.unlink('/etc/passwd')), attempt(lambda: os.rmdir('/tmp')))
";
    let output = inside(&host, program).await;
    let expected = "['/tmp']\n[]\nEROFS EROFS EROFS\n";
    assert_eq!(output, expected);
    host.finish().await;
}

#[tokio::test]
async fn mounts_have_the_right_flags() {
    let Some(host) = Host::new() else { return };
    let data = tempfile::tempdir().unwrap();
    // A mount below a bound folder must become read-only too.
    let mut spec = shell(
        "mounts",
        "cut -d' ' -f5,6 /proc/self/mountinfo; ls -ld /tmp; echo 'echo run' >/tmp/x; sh /tmp/x; chmod +x /tmp/x; /tmp/x",
    );
    let source = data.path().to_owned();
    spec.binds.push(BindMount { source, target: "/var/task".to_owned(), optional: false });
    let (output, _) = host.run(spec).await;
    let mut mounts = 0;
    for line in output.lines().filter(|line| line.starts_with('/')) {
        mounts += 1;
        let (target, flags) = line.split_once(' ').unwrap();
        let has = |flag: &str| flags.split(',').any(|other| other == flag);
        assert!(has("nosuid"), "{line}");
        // Masks in /proc are the null device.
        let is_mask = target.starts_with("/proc/") && !has("ro");
        let is_mask = is_mask || (!by_root() && target.starts_with("/dev/"));
        assert!(is_mask || has("rw") == (target == "/tmp" || target == "/proc"), "{line}");
        // Without root devices of the host are bound.
        let is_device = target.starts_with("/proc/") || (!by_root() && target.starts_with("/dev/"));
        assert!(has("nodev") || target == "/" || is_device, "{line}");
    }
    assert!(mounts > 10, "{output}");
    assert!(output.contains("drwxrwxrwt"), "{output}");
    assert!(output.ends_with("run\nrun\n"), "{output}");
    host.finish().await;
}

#[tokio::test]
async fn no_network_but_loopback() {
    let Some(host) = Host::new() else { return };
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let abstract_name = format!("lambkin-test-{}", std::process::id());
    let address = {
        use std::os::linux::net::SocketAddrExt;
        std::os::unix::net::SocketAddr::from_abstract_name(&abstract_name).unwrap()
    };
    let _unix = UnixListener::bind_addr(&address).unwrap();
    let program = format!(
        "
def connect(family, address):
    s = socket.socket(family, socket.SOCK_STREAM); s.settimeout(3)
    return attempt(lambda: s.connect(address))
print(connect(socket.AF_INET, ('8.8.8.8', 53)), connect(socket.AF_INET, ('169.254.169.254', 80)),
      connect(socket.AF_INET, ('127.0.0.1', {port})), connect(socket.AF_UNIX, '\\0{abstract_name}'))
print(sorted(line.split(':')[0].strip() for line in open('/proc/net/dev').readlines()[2:]))
print([name for _, name in socket.if_nameindex()])
"
    );
    let output = inside(&host, &program).await;
    assert_eq!(output, "ENETUNREACH ENETUNREACH ECONNREFUSED ECONNREFUSED\n['lo']\n['lo']\n");
    host.finish().await;
}

#[tokio::test]
async fn socket_families() {
    let Some(host) = Host::new() else { return };
    let program = "
def make(family, kind=socket.SOCK_STREAM, protocol=0):
    return attempt(lambda: socket.socket(family, kind, protocol).close())
# A host may be without IPv6.
print(make(socket.AF_UNIX), make(socket.AF_INET), make(socket.AF_INET6) in ('ok', 'EAFNOSUPPORT'), make(socket.AF_INET, socket.SOCK_DGRAM),
      make(socket.AF_NETLINK, socket.SOCK_RAW, 0), attempt(lambda: socket.socketpair()))
# vsock, packet, alg, bluetooth, can, tipc, kcm, xdp, key; netlink other than route
families = [40, 17, 38, 31, 29, 30, 41, 44, 15]
print({make(family) for family in families}, {make(16, socket.SOCK_RAW, p) for p in (4, 6, 9, 12, 15, 16)})
print(make(socket.AF_INET, socket.SOCK_RAW, 1), syscall(53, 40, 1, 0, 0), syscall(41, 0x100000000 | 40, 1, 0))
";
    let output = inside(&host, program).await;
    assert_eq!(output, "ok ok True ok ok ok\n{'EPERM'} {'EPERM'}\nEPERM EPERM EPERM\n");
    host.finish().await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn system_calls_that_are_refused() {
    let Some(host) = Host::new() else { return };
    let program = "
calls = dict(mount=165, umount2=166, pivot_root=155, chroot=161, unshare=272, setns=308, ptrace=101,
    process_vm_readv=310, process_vm_writev=311, kcmp=312, bpf=321, perf_event_open=298, userfaultfd=323,
    io_uring_setup=425, io_uring_enter=426, io_uring_register=427, keyctl=250, add_key=248, request_key=249,
    kexec_load=246, init_module=175, finit_module=313, delete_module=176, open_by_handle_at=304, swapon=167,
    reboot=169, quotactl=179, acct=163, syslog=103, iopl=172, ioperm=173, settimeofday=164, clock_settime=227,
    sethostname=170, setdomainname=171, fsopen=430, fsmount=432, move_mount=429, open_tree=428,
    mount_setattr=442, pidfd_getfd=438)
print({call: syscall(number, 0, 0, 0, 0, 0) for call, number in calls.items()
       if syscall(number, 0, 0, 0, 0, 0) != 'EPERM'})
namespaces = [0x20000, 0x2000000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000]
print({syscall(56, flag | 17, 0, 0, 0, 0) for flag in namespaces}, {syscall(272, flag) for flag in namespaces})
print(syscall(435, 0, 0), syscall(16, 0, 0x5412, 0), syscall(16, 0, 0x541c, 0), syscall(16, 0, 0x100005412, 0))
print(syscall(135, 0xffffffff), syscall(135, 0x0008))
print(open('/proc/sys/user/max_user_namespaces').read().strip())
import threading, subprocess
t = threading.Thread(target=lambda: print('thread', flush=True)); t.start(); t.join()
print(subprocess.run(['/bin/echo', 'process'], capture_output=True, text=True).stdout.strip())
";
    let output = inside(&host, program).await;
    let expected = "\
{}
{'EPERM'} {'EPERM'}
ENOSYS EPERM EPERM EPERM
ok EPERM
0
thread
process
";
    assert_eq!(output, expected);
    let host_value = std::fs::read_to_string("/proc/sys/user/max_user_namespaces").unwrap();
    assert_ne!(host_value.trim(), "0");
    host.finish().await;
}

#[cfg(target_arch = "x86_64")]
#[tokio::test]
async fn foreign_system_calls_kill() {
    let Some(host) = Host::new() else { return };
    let x32 = format!("{HELPERS}syscall(0x40000000 | 39)");
    assert_eq!(host.python(&x32).await.1, ExitStatus::Signal(libc::SIGSYS));
    // User Mode Linux (see tests/cgroup-v2.sh) takes the 32-bit entry for the 64-bit one.
    if std::fs::read_to_string("/proc/cpuinfo").unwrap().contains("User Mode Linux") {
        return host.finish().await;
    }
    // mov eax, 20 (getpid); int 0x80; ret: the 32-bit entry.
    let int80 = format!(
        "{HELPERS}
import mmap
code = mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
code.write(bytes([0xb8, 20, 0, 0, 0, 0xcd, 0x80, 0xc3]))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
ctypes.CFUNCTYPE(ctypes.c_long)(address)()
"
    );
    // A kernel without the 32-bit interface answers with SIGSEGV.
    let status = host.python(&int80).await.1;
    assert!(matches!(status, ExitStatus::Signal(libc::SIGSYS | libc::SIGSEGV)), "{status:?}");
    host.finish().await;
}

#[tokio::test]
async fn other_processes_are_out_of_reach() {
    let Some(host) = Host::new() else { return };
    let mut other = host.create(shell("other", "echo $$; sleep 1000")).await;
    let program = "
import signal
print(sorted(int(name) for name in os.listdir('/proc') if name.isdigit()) == [1, os.getpid()])
# Init cannot be killed from inside, nor looked into.
print(attempt(lambda: os.kill(1, signal.SIGKILL)), attempt(lambda: os.kill(1, signal.SIGTERM)))
for file in ['environ', 'mem', 'maps', 'stack', 'auxv', 'io']:
    try: print(file, len(open('/proc/1/' + file, 'rb').read(1)))
    except OSError as error: print(file, name(error.errno))
for link in ['exe', 'root', 'cwd', 'ns/mnt', 'fd/10']: print(link, attempt(lambda: os.readlink('/proc/1/' + link)))
print(attempt(lambda: os.listdir('/proc/1/fd')), attempt(lambda: os.kill(-1, 0)))
try: os.kill(-1, signal.SIGKILL)
except OSError: pass
print(sorted(os.environ))
";
    let output = inside(&host, program).await;
    let expected = "\
True
ok ok
environ EACCES
mem EACCES
maps EACCES
stack EACCES
auxv EACCES
io EACCES
exe EACCES
root EACCES
cwd EACCES
ns/mnt EACCES
fd/10 EACCES
EACCES ESRCH
['LC_CTYPE', 'PATH', 'PYTHONDONTWRITEBYTECODE']
";
    assert_eq!(output, expected);
    // The neighbour has survived kill(-1).
    let waited = tokio::time::timeout(std::time::Duration::from_millis(20), other.wait()).await;
    assert!(waited.is_err());
    // Users of the host differ from sandbox to sandbox.
    let users = processes(host.uid_base, 1).len();
    assert!(users >= 2, "init and shell of the first");
    let third = host.create(shell("third", "sleep 1000")).await;
    if by_root() {
        until("third has its own user", || !processes(host.uid_base + 1, 1).is_empty()).await;
    }
    drop(other.take_output());
    drop((other, third));
    host.finish().await;
}

#[tokio::test]
async fn proc_is_masked() {
    let Some(host) = Host::new() else { return };
    let script = "for f in cmdline kcore keys kmsg kallsyms timer_list sysrq-trigger; do \
        [ -e /proc/$f ] && echo $f $(head -c 10 /proc/$f 2>/dev/null | wc -c); done; \
        cat /proc/self/oom_score_adj; ls /dev/shm /dev/tty /dev/pts /dev/mqueue 2>/dev/null | wc -l";
    let (output, _) = host.shell(script).await;
    for line in output.lines().filter(|line| line.contains(' ')) {
        assert!(line.ends_with(" 0"), "{output}");
    }
    assert!(output.contains("cmdline 0\n") && output.ends_with("500\n0\n"), "{output}");
    host.finish().await;
}

#[tokio::test]
async fn tmp_is_not_shared() {
    let Some(host) = Host::new() else { return };
    let first = host.create(shell("first", "echo secret >/tmp/secret; sleep 1000")).await;
    let (output, _) =
        host.shell("ls -A /tmp; id -u; stat -c '%u %g %a' /tmp; touch /tmp/x; stat -c %u /tmp/x").await;
    assert_eq!(output, "993\n993 990 1777\n993\n");
    drop(first);
    host.finish().await;
}

/// A folder that a function brings may hold links to anywhere; what is mounted through them stays inside.
#[tokio::test]
async fn links_in_bound_folders_do_not_lead_out() {
    let Some(host) = Host::new() else { return };
    let data = tempfile::tempdir().unwrap();
    let code = data.path().join("code");
    std::fs::create_dir(&code).unwrap();
    std::os::unix::fs::symlink(data.path(), code.join("out")).unwrap();
    let mut spec = shell("links", "ls /var/task/out/ 2>/dev/null | wc -l");
    spec.binds.push(BindMount { source: code.clone(), target: "/var/task".to_owned(), optional: false });
    let (output, _) = host.run(spec.clone()).await;
    assert_eq!(output, "0\n");
    // The link's target does not exist inside, so nothing can be mounted there; above all nothing is made
    // outside.
    let target = "/var/task/out/made".to_owned();
    spec.binds.push(BindMount { source: code, target, optional: false });
    host.spawner.create(spec).await.unwrap_err();
    assert!(!data.path().join("made").exists());
    host.settled().await;
    host.finish().await;
}
