"""A server of an ordinary user: sandboxes in user namespaces."""

import os
import re
import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import leaks
from harness.functions import Factory
from harness.server import Server

USER = 12345

# what it says of itself at its start
WEAKER = r"WARN .*(CPU time is not limited|memory is limited by watching|all sandboxes run as the server's user)"
pytestmark = pytest.mark.allow_log(WEAKER)

FUNCTION = r'''
import errno, json, os, signal, socket, subprocess, sys, threading, time

def attempt(call, *arguments):
    try:
        return repr(call(*arguments))[:100]
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error.errno))

def connect(port):
    with socket.socket() as sock:
        sock.settimeout(3)
        sock.connect(("127.0.0.1", port))

def handler(event, context):
    action = event.get("action")
    if action == "raise":
        raise ValueError("told to")
    if action == "sleep":
        subprocess.Popen(["sleep", "1000"], start_new_session=True)
        time.sleep(60)
    if action == "memory":
        held = []
        while True:
            held.append(bytearray(b"x" * (4 << 20)))
    if action == "use":
        return len(bytearray(b"x" * (event["mb"] << 20)))
    if action == "fork bomb":
        made, why = 0, None
        while why is None and made < 5000:
            try:
                if os.fork() == 0:
                    time.sleep(100)
                    os._exit(0)
                made += 1
            except OSError as error:
                why = errno.errorcode[error.errno]
        return [made, why]
    if action == "fill":
        written = 0
        try:
            with open("/tmp/full", "wb") as out:
                while written < 4 << 30:
                    written += out.write(b"x" * (1 << 20))
        except OSError as error:
            os.unlink("/tmp/full")
            return [written, errno.errorcode[error.errno]]
    if action == "count":
        # a thread that would go on between events if the environment were not stopped
        global ticks
        if "ticks" not in globals():
            ticks = 0
            def tick():
                global ticks
                while True:
                    ticks += 1
                    time.sleep(0.001)
            threading.Thread(target=tick, daemon=True).start()
        return ticks
    if action == "escape":
        return {
            "own": [attempt(os.kill, event["server"], 0), attempt(os.kill, -1, 0)],
            "data": attempt(os.listdir, event["data"]),
            "write": {path: attempt(lambda: os.open(path + "/x", os.O_CREAT | os.O_WRONLY))
                      for path in ("/", "/usr", "/etc", "/var/task", "/var/runtime", "/dev", "/proc/sys", "/proc/1")},
            "root": [attempt(os.setuid, 0), attempt(os.setuid, event["user"]), attempt(os.mknod, "/tmp/n", 0o20666, 0x103)],
            "chroot": attempt(os.chroot, "/tmp"),
            "remount": subprocess.run(["mount", "-o", "remount,rw", "/"], stdout=-1, stderr=-1).returncode != 0,
            "unshare": subprocess.run(["unshare", "-Ur", "id"], stdout=-1, stderr=-1).returncode != 0,
            "server": attempt(connect, event["port"]),
            "status": [line.split() for line in open("/proc/self/status")
                       if line.startswith(("Uid", "Gid", "Groups", "Cap", "NoNewPrivs", "Seccomp:"))],
            "pids": sorted(int(name) for name in os.listdir("/proc") if name.isdigit()) == [1, os.getpid()],
            "masked": [attempt(lambda: open("/proc/" + name).read()) for name in ("keys", "timer_list", "cmdline")],
            "environment": attempt(lambda: open("/proc/1/environ").read()),
        }
    return {"event": event, "uid": os.getuid(), "python": sys.version_info[:2]}
'''

CUSTOM = """#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while :; do
    event=$(curl -sS -D /tmp/headers "$api/next")
    id=$(sed -n 's/^lambda-runtime-aws-request-id: *\\([^[:cntrl:]]*\\).*/\\1/Ip' /tmp/headers)
    curl -sS -o /dev/null -d "{\\"got\\":$event,\\"uid\\":$(id -u)}" "$api/$id/response"
done
"""


@pytest.fixture(scope="module")
def rootless():
    server = Server(user=USER)
    try:
        yield server.start()
        server.stop()
        server.assert_quiet([WEAKER])
    finally:
        server.destroy()


@pytest.fixture
def make(rootless):
    """Makes functions; what they leave is looked for when they are gone."""
    factory = Factory(rootless)

    def create(source=FUNCTION, **options):
        options.setdefault("runtime", "python3.11")
        return factory(source, **options)

    yield create
    factory.clean()
    rootless.baseline.assert_idle()
    rootless.assert_quiet([WEAKER])


def report(tail):
    return next(line for line in tail.splitlines() if line.startswith("REPORT"))


def test_what_it_says(rootless):
    assert rootless.http("GET", "/_lambkin/health", sign=False).json() == {"status": "ok", "isolation": "user-namespaces"}
    assert os.stat("/proc/%d" % rootless.process.pid).st_uid == USER
    assert re.search(r"WARN .*isolation=user-namespaces", rootless.log())


def test_answers_and_errors(make):
    function = make()
    for number in range(5):
        assert function.result({"n": number}) == {"event": {"n": number}, "uid": 993, "python": [3, 11]}
    answer = function.invoke({"action": "raise"}, LogType="Tail")
    assert answer.error == "Unhandled" and answer.json()["errorType"] == "ValueError"
    assert 5 <= int(re.search(r"Max Memory Used: (\d+) MB", report(answer.tail))[1]) <= 100


def test_custom_runtime(make):
    function = make(runtime="provided.al2023", files={"bootstrap!": CUSTOM}, handler="x")
    for number in range(3):
        assert function.result({"n": number}) == {"got": {"n": number}, "uid": 993}


def test_timeout_ends_all_processes(rootless, make):
    function = make(Timeout=1)
    answer = function.invoke({"action": "sleep"}, LogType="Tail")
    assert answer.json()["errorType"] == "Sandbox.Timedout"
    assert function.result({"after": 1})["event"] == {"after": 1}
    commands = [Path("/proc/%d/cmdline" % pid).read_bytes() for pid in leaks.family(rootless.process.pid)]
    assert not [command for command in commands if b"sleep" in command]


def test_memory_is_limited(make):
    function = make(MemorySize=128)
    answer = function.invoke({"action": "memory"}, LogType="Tail")
    assert answer.json()["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert "Error Type: Runtime.OutOfMemory" in report(answer.tail)
    assert "Max Memory Used: 128 MB" in report(answer.tail)
    # twice: as bytes and as their copy
    answer = function.invoke({"action": "use", "mb": 40}, LogType="Tail")
    assert answer.json() == 40 << 20
    assert 84 <= int(re.search(r"Max Memory Used: (\d+) MB", report(answer.tail))[1]) <= 110


def test_a_neighbour_is_not_harmed(make):
    bomb, neighbour = make(MemorySize=128), make()
    answers = []
    stop = threading.Event()

    def ask():
        while not stop.is_set():
            answers.append(neighbour.result({"n": 1})["uid"])

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        for _ in range(3):
            assert bomb.invoke({"action": "memory"}).error == "Unhandled"
    finally:
        stop.set()
        thread.join()
    assert answers and set(answers) == {993}


def test_fork_bomb_is_bounded(make):
    bomb, neighbour = make(MemorySize=3008, Timeout=60), make()
    made, why = bomb.result({"action": "fork bomb"})
    assert why == "EAGAIN" and 500 <= made <= 1024
    assert neighbour.result({})["uid"] == 993


def test_full_tmp(make):
    function = make(EphemeralStorage={"Size": 512})
    written, why = function.result({"action": "fill"})
    assert why == "ENOSPC" and 500 << 20 <= written <= 512 << 20
    assert function.result({})["uid"] == 993


def test_stopped_between_events(make):
    function = make()
    function.result({"action": "count"})
    time.sleep(0.3)
    first = function.result({"action": "count"})
    time.sleep(1)
    assert function.result({"action": "count"}) - first < 300


def test_escape_attempts(rootless, make):
    function = make()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        found = function.result(
            {"action": "escape", "server": rootless.process.pid, "data": str(rootless.data_dir), "user": USER, "port": port}
        )
    assert found["own"] == ["ESRCH", "ESRCH"], found
    assert found["data"] == "ENOENT"
    assert set(found["write"].values()) <= {"EROFS", "EACCES", "EPERM", "ENOENT"}, found
    assert found["root"] == ["EINVAL", "EINVAL", "EPERM"]
    assert found["chroot"] == "EPERM" and found["remount"] and found["unshare"]
    assert found["server"] == "ECONNREFUSED"
    status = {line[0]: line[1:] for line in found["status"]}
    assert status["Uid:"] == ["993"] * 4 and status["Gid:"] == ["990"] * 4 and status["Groups:"] == []
    assert all(int(status[name][0], 16) == 0 for name in ("CapInh:", "CapPrm:", "CapEff:", "CapBnd:", "CapAmb:"))
    assert (status["NoNewPrivs:"], status["Seccomp:"]) == (["1"], ["2"])
    assert found["pids"] and found["masked"] == ["''"] * 3 and found["environment"] == "EACCES"


@pytest.mark.parametrize("whom", ["server", "spawner", "both"])
def test_killed_and_started_again(whom):
    server = Server(user=USER)
    allowed = [WEAKER] + ([] if whom == "server" else [r"ERROR .*sandbox spawner was lost", "WARN .*cannot thaw"])
    try:
        server.start()
        function = Factory(server)(FUNCTION, runtime="python3.11")
        assert function.result({})["uid"] == 993
        family = leaks.family(server.process.pid)
        spawner = next(pid for pid in family if Path("/proc/%d/comm" % pid).read_text() == "lambkin-spawner\n")
        if whom != "server":
            os.kill(spawner, 9)
        if whom != "spawner":
            server.kill()
            leaks.until(lambda: leaks.alive(family))
            server.start()
            function.client = server.client("lambda")
        assert function.result({})["uid"] == 993
        server.stop()
        server.assert_quiet(allowed)
    finally:
        server.destroy()


def test_doctor(rootless):
    done = subprocess.run(
        [rootless.binary, "doctor"], capture_output=True, text=True, env=rootless.environment(), user=USER, group=USER,
        extra_groups=[], cwd="/",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert re.search(r"ok +isolation +user-namespaces", done.stdout), done.stdout
    assert re.search(r"absent +subordinate ids .*\n +-> .*newuidmap", done.stdout), done.stdout
    assert re.search(r"ok +python3.11 ", done.stdout)


def test_root_cannot_be_asked_for(rootless):
    done = subprocess.run(
        [rootless.binary, "serve", "--isolation", "root", "--listen", "127.0.0.1:0", "--data-dir", rootless.work / "other"],
        capture_output=True, text=True, env=rootless.environment(), user=USER, group=USER, extra_groups=[], timeout=30,
    )  # fmt: skip
    assert done.returncode == 1 and "the server does not run as root" in done.stderr
