"""What a function can reach, seen from inside, and what happens when it takes all it can."""

import os
import re
import threading
import time
from pathlib import Path

import pytest

from harness.functions import UUID

INSIDE = r'''
import ctypes, errno, glob, json, os, resource, signal, socket, subprocess, sys, threading, time

libc = ctypes.CDLL(None, use_errno=True)

def attempt(call, *arguments):
    try:
        return ["ok", repr(call(*arguments))[:200]]
    except socket.gaierror as error:
        return ["gaierror", str(error)]
    except OSError as error:
        return [errno.errorcode.get(error.errno, str(error.errno)), str(error)[:200]]
    except Exception as error:
        return [type(error).__name__, str(error)[:200]]

def syscall(number, *arguments):
    ctypes.set_errno(0)
    result = libc.syscall(number, *arguments)
    return "ok" if result >= 0 else errno.errorcode.get(ctypes.get_errno(), "?")

def status():
    return dict(line.rstrip("\n").split(":\t", 1) for line in open("/proc/self/status") if ":\t" in line)

def connect(address, family=socket.AF_INET, kind=socket.SOCK_STREAM):
    with socket.socket(family, kind) as sock:
        sock.settimeout(2)
        sock.connect(address)
        return True

def handler(event, context):
    action = event["action"]
    if action == "status":
        return {"status": status(), "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
                "limits": {name: resource.getrlimit(getattr(resource, name)) for name in ("RLIMIT_NOFILE", "RLIMIT_NPROC", "RLIMIT_CORE")}}
    if action == "namespaces":
        return {name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")}
    if action == "list":
        return sorted(os.listdir(event["path"]))
    if action == "read":
        return attempt(lambda: open(event["path"], "rb").read(4096))
    if action == "write":
        return attempt(lambda: open(event["path"], "wb").write(b"x"))
    if action == "exists":
        return [path for path in event["paths"] if os.path.lexists(path)]
    if action == "connect":
        return attempt(connect, tuple(event["address"]))
    if action == "socket":
        return attempt(lambda: socket.socket(event["family"], event["kind"], event.get("protocol", 0)).close())
    if action == "syscall":
        return syscall(event["number"], *event.get("arguments", [0, 0, 0, 0, 0, 0]))
    if action == "mountinfo":
        return open("/proc/self/mountinfo").read()
    if action == "processes":
        return {pid: open("/proc/%s/cmdline" % pid).read() for pid in os.listdir("/proc") if pid.isdigit()}
    if action == "kill":
        return attempt(os.kill, event["pid"], 0)
    if action == "interfaces":
        return [name for _, name in socket.if_nameindex()]
    if action == "resolve":
        return attempt(socket.getaddrinfo, event["name"], 80)
    if action == "descriptors":
        found = {}
        for name in os.listdir("/proc/self/fd"):
            try:
                found[name] = os.readlink("/proc/self/fd/" + name)
            except OSError:
                pass
        return found
    if action == "setuid files":
        out = subprocess.run(["sh", "-c", "find / -xdev -perm -4000 -type f 2>/dev/null | head -3; id -u; cat /proc/self/status | grep CapEff"], stdout=subprocess.PIPE)
        return out.stdout.decode()
    if action == "leave":
        os.makedirs("/tmp/left", exist_ok=True)
        open("/tmp/left/file", "w").write("secret")
        return os.getpid()
    if action == "fork bomb":
        pids, why = [], None
        while why is None and len(pids) < 5000:
            try:
                pid = os.fork()
            except OSError as error:
                why = errno.errorcode[error.errno]
                break
            if pid == 0:
                time.sleep(60)
                os._exit(0)
            pids.append(pid)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            os.waitpid(pid, 0)
        return [len(pids), why]
    if action == "thread bomb":
        stop = threading.Event()
        threads = []
        why = None
        try:
            for _ in range(5000):
                thread = threading.Thread(target=stop.wait)
                thread.start()
                threads.append(thread)
        except RuntimeError as error:
            why = str(error)
        stop.set()
        for thread in threads:
            thread.join()
        return [len(threads), why]
    if action == "descriptor bomb":
        files = []
        try:
            while len(files) < 5000:
                files.append(os.open("/dev/null", os.O_RDONLY))
        except OSError as error:
            return [len(files), errno.errorcode[error.errno]]
        finally:
            for fd in files:
                os.close(fd)
        return [len(files), None]
    if action == "disk bomb":
        written = 0
        block = b"x" * (1 << 20)
        try:
            with open("/tmp/bomb", "wb") as out:
                while written < 4 << 30:
                    out.write(block)
                    written += len(block)
        except OSError as error:
            return [written, errno.errorcode[error.errno]]
        finally:
            try:
                os.unlink("/tmp/bomb")
            except OSError:
                pass
        return [written, None]
    if action == "inode bomb":
        made = 0
        try:
            os.mkdir("/tmp/many")
            while made < 2000000:
                open("/tmp/many/%d" % made, "w").close()
                made += 1
        except OSError as error:
            return [made, errno.errorcode[error.errno]]
        return [made, None]
    if action == "memory":
        return len(bytearray(b"x" * (event["mb"] << 20)))
    if action == "spin":
        began = time.process_time()
        wall = time.monotonic()
        while time.monotonic() - wall < event["seconds"]:
            pass
        return [time.process_time() - began, time.monotonic() - wall]
    if action == "background":
        # a child that outlives the event
        if os.fork() == 0:
            os.setsid()
            time.sleep(300)
            os._exit(0)
        return True
    return None
'''

AF_ALG, AF_PACKET, AF_NETLINK, AF_VSOCK, AF_BLUETOOTH, AF_TIPC, AF_XDP = 38, 17, 16, 40, 31, 30, 44


@pytest.fixture(scope="module")
def inside(create_for_module):
    return create_for_module(INSIDE, name="inside", Timeout=60)


@pytest.fixture(autouse=True)
def fresh_client(server, inside):
    inside.client = server.client("lambda")


def test_identity(inside):
    result = inside.result({"action": "status"})
    status = result["status"]
    uids, gids, groups = result["ids"]
    assert len(set(uids)) == 1 and uids[0] != 0
    assert len(set(gids)) == 1 and gids[0] != 0
    assert 0 not in groups
    for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[name], 16) == 0, (name, status[name])
    assert status["NoNewPrivs"] == "1"
    assert status["Seccomp"] == "2"
    assert result["limits"]["RLIMIT_NOFILE"] == [1024, 1024]
    assert result["limits"]["RLIMIT_CORE"][0] == 0


def test_sandboxes_have_different_users_on_the_host(server, create):
    def host_uids(seconds=1.0):
        found = {}
        deadline = time.monotonic() + seconds
        from harness import leaks

        while time.monotonic() < deadline:
            for pid in leaks.family(server.process.pid):
                try:
                    command = Path("/proc", str(pid), "cmdline").read_bytes()
                    uid = os.stat("/proc/%d" % pid).st_uid
                except OSError:
                    continue
                if b"bootstrap.py" in command:
                    found[pid] = uid
            time.sleep(0.05)
        return {pid: uid for pid, uid in found.items() if pid not in leaks.zygotes(server.process.pid, found)}

    one, two = create(INSIDE), create(INSIDE)
    one.result({"action": "status"})
    two.result({"action": "status"})
    uids = host_uids()
    assert len(uids) >= 2 and 0 not in uids.values()
    assert len(set(uids.values())) == len(uids), uids


def test_namespaces(inside):
    within = inside.result({"action": "namespaces"})
    for name in ("mnt", "pid", "net", "ipc", "uts", "cgroup", "user"):
        assert within[name] != os.readlink("/proc/self/ns/" + name), name


def test_root_is_small_and_read_only(server, inside):
    top = inside.result({"action": "list", "path": "/"})
    assert not set(top) & {"root", "home", "boot", "srv", "mnt", "media", "work", "sys"}, top
    for path in ("/x", "/etc/x", "/usr/x", "/var/task/x", "/var/runtime/x", "/dev/x", "/proc/sys/kernel/hostname"):
        assert inside.result({"action": "write", "path": path})[0] in ("EROFS", "EACCES", "EPERM", "ENOENT"), path
    assert inside.result({"action": "write", "path": "/tmp/x"})[0] == "ok"
    assert inside.result({"action": "write", "path": "/dev/null"})[0] == "ok"
    assert set(inside.result({"action": "list", "path": "/dev"})) <= {
        "null", "zero", "full", "random", "urandom", "tty", "fd", "stdin", "stdout", "stderr", "shm", "pts", "ptmx", "core",
    }  # fmt: skip


def test_host_files_are_not_there(server, inside):
    host = [str(server.data_dir), str(server.work), "/etc/shadow", "/root/.bashrc", "/var/log", "/var/lib/dpkg",
            "/run/docker.sock", "/var/run/docker.sock", str(Path(__file__)), "/proc/kcore", "/sys/fs/cgroup",
            "/home", "/root/.ssh"]  # fmt: skip
    seen = inside.result({"action": "exists", "paths": host})
    assert set(seen) <= {"/proc/kcore", "/etc/shadow"}, seen
    for path in ("/proc/kcore", "/etc/shadow", "/proc/1/environ", "/proc/sysrq-trigger", "/proc/timer_list", "/proc/keys"):
        kind, content = inside.result({"action": "read", "path": path})
        assert kind != "ok" or content == "b''", (path, kind, content)
    mounts = inside.result({"action": "mountinfo"})
    assert str(server.data_dir) not in mounts.replace("\\040", " ") or " /var/task " in mounts


def test_processes_of_others_are_not_there(server, inside, create):
    other = create(INSIDE)
    other.result({"action": "leave"})
    processes = inside.result({"action": "processes"})
    assert len(processes) <= 3, processes
    assert not [command for command in processes.values() if "serve" in command]
    assert inside.result({"action": "kill", "pid": server.process.pid})[0] == "ESRCH"
    assert inside.result({"action": "list", "path": "/tmp"}) == [] or "left" not in inside.result(
        {"action": "list", "path": "/tmp"}
    )


def test_network(server, inside):
    # what a policy opens is seen in test_egress.py
    assert inside.result({"action": "interfaces"}) in (["lo"], ["lo", "eth0"])
    # what the server serves of itself; test_identity.py says what that is
    assert inside.result({"action": "connect", "address": ["127.0.0.1", server.port]})[0] == "ok"
    for address in (["127.0.0.1", 22], ["169.254.169.254", 80], ["10.0.0.1", 80]):
        assert inside.result({"action": "connect", "address": address})[0] in (
            "ENETUNREACH", "ECONNREFUSED", "EHOSTUNREACH", "EACCES", "EPERM",
        ), address  # fmt: skip


@pytest.mark.parametrize(
    "family, kind, protocol",
    [(AF_ALG, 5, 0), (AF_PACKET, 3, 0), (AF_VSOCK, 1, 0), (AF_BLUETOOTH, 3, 0), (AF_TIPC, 1, 0), (AF_XDP, 3, 0), (2, 3, 1)],
)
def test_socket_families(inside, family, kind, protocol):
    answer = inside.result({"action": "socket", "family": family, "kind": kind, "protocol": protocol})
    assert answer[0] != "ok", answer


@pytest.mark.parametrize(
    "name, number, arguments",
    [
        ("mount", 165, None),
        ("umount2", 166, None),
        ("pivot_root", 155, None),
        ("unshare(NEWUSER)", 272, [0x10000000]),
        ("unshare(NEWNS)", 272, [0x20000]),
        ("setns", 308, None),
        ("ptrace(ATTACH 1)", 101, [16, 1, 0, 0]),
        ("bpf", 321, None),
        ("perf_event_open", 298, None),
        ("kexec_load", 246, None),
        ("init_module", 175, None),
        ("reboot", 169, None),
        ("keyctl", 250, None),
        ("add_key", 248, None),
        ("userfaultfd", 323, [1]),
        ("io_uring_setup", 425, [8, 0]),
        ("open_by_handle_at", 304, None),
        ("chroot", 161, None),
        ("swapon", 167, None),
        ("settimeofday", 164, None),
        ("sethostname", 170, None),
        ("open_tree", 428, None),
        ("fsopen", 430, None),
        ("process_vm_readv", 310, [1, 0, 0, 0, 0, 0]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_system_calls(inside, name, number, arguments):
    if os.uname().machine != "x86_64":
        pytest.skip("numbers of x86_64")
    event = {"action": "syscall", "number": number}
    if arguments is not None:
        event["arguments"] = arguments + [0] * (6 - len(arguments))
    answer = inside.result(event)
    assert answer in ("EPERM", "ENOSYS", "EACCES", "ESRCH") or (name.startswith("ptrace") and answer == "EIO"), answer


def test_descriptors(inside):
    found = inside.result({"action": "descriptors"})
    beyond = {fd: target for fd, target in found.items() if int(fd) > 4}
    assert not {target for target in beyond.values() if not target.startswith("/proc/")}, found


def test_setuid_programs_give_nothing(inside):
    text = inside.result({"action": "setuid files"})
    assert re.search(r"CapEff:\s+0{16}", text)
    assert "\n0\n" not in "\n" + text


def test_temporary_folder_is_not_shared(create):
    one, two = create(INSIDE), create(INSIDE)
    one.result({"action": "leave"})
    assert "left" not in two.result({"action": "list", "path": "/tmp"})


def test_fork_bomb(server, create, inside):
    bomb = create(INSIDE, Timeout=60, MemorySize=1769)
    count, why = bomb.result({"action": "fork bomb"})
    assert why == "EAGAIN" and 500 <= count <= 1024, (count, why)
    assert inside.result({"action": "list", "path": "/tmp"}) is not None
    assert bomb.result({"action": "none"}) is None


def test_thread_bomb(create):
    bomb = create(INSIDE, Timeout=60, MemorySize=1769)
    count, why = bomb.result({"action": "thread bomb"})
    assert why and 500 <= count <= 1024, (count, why)
    assert bomb.result({"action": "none"}) is None


def test_descriptor_bomb(inside):
    count, why = inside.result({"action": "descriptor bomb"})
    assert why == "EMFILE" and 1000 <= count <= 1024


def test_disk_bomb(create):
    bomb = create(INSIDE, Timeout=60, MemorySize=512, EphemeralStorage={"Size": 600})
    written, why = bomb.result({"action": "disk bomb"})
    assert why == "ENOSPC" and 590 << 20 <= written <= 600 << 20, (written >> 20, why)
    # what lies in /tmp is not the function's memory
    assert bomb.result({"action": "memory", "mb": 200}) == 200 << 20


def test_inode_bomb(create):
    bomb = create(INSIDE, Timeout=120, MemorySize=1769)
    answer = bomb.invoke({"action": "inode bomb"})
    if answer.error is None:
        assert answer.json()[1] in ("ENOSPC", "ENOMEM"), answer.json()
    assert bomb.result({"action": "none"}) is None


def test_memory_bomb_hurts_itself_only(create, inside):
    bomb = create(INSIDE, MemorySize=128)
    victim = []
    stop = threading.Event()

    def watch():
        while not stop.is_set():
            victim.append(inside.result({"action": "none"}))

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        for _ in range(3):
            answer = bomb.invoke({"action": "memory", "mb": 400}, LogType="Tail")
            assert answer.error and "Error Type: Runtime.OutOfMemory" in answer.tail, answer
    finally:
        stop.set()
        thread.join()
    assert victim and not any(victim)


def test_cpu_share_follows_memory(create):
    slow = create(INSIDE, MemorySize=256, Timeout=30)
    used, wall = slow.result({"action": "spin", "seconds": 2})
    # 256 MB of 1,769 MB a core are 14.5 %
    assert used / wall < 0.25, (used, wall)


def test_children_end_with_their_environment(server, create):
    function = create(INSIDE)
    assert function.result({"action": "background"}) is True
    function.delete()
    # `no_leak` finds the child if it is still there
