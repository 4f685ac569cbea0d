"""Functions that fail over and over, and that take all they can get."""

import os
import re
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

FAILING = r"""
import os, signal, sys, time
def handler(event, context):
    do, token = event["do"], event["token"]
    print("token", token)
    if do == "sleep":
        time.sleep(60)
    if do == "exit":
        os._exit(7)
    if do == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if do == "raise":
        raise ValueError(token)
    if do == "memory":
        kept = []
        while True:
            kept.append(bytearray(b"x" * (16 << 20)))
    return token
"""

# What each action is answered with.
OUTCOMES = {
    "sleep": "Sandbox.Timedout",
    "exit": "Runtime.ExitError",
    "kill": "Runtime.ExitError",
    "memory": "Runtime.ExitError",
    "raise": "ValueError",
    "fine": None,
}


def each(calls, work, threads):
    """Runs `work` on each of `calls`; the first failure is raised."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(work, calls))


def test_failures_in_a_loop(world, scale):
    """Each caller gets the outcome of its own event, whatever became of the environment before it."""
    function = world.function(FAILING, Timeout=1, MemorySize=512)
    # needs its time to get there
    hungry = world.function(FAILING, Timeout=20, MemorySize=128)

    def call(action):
        token = uuid.uuid4().hex
        chosen = hungry if action == "memory" else function
        answer = chosen.invoke({"do": action, "token": token}, LogType="Tail")
        document = answer.json()
        expected = OUTCOMES[action]
        if expected is None:
            assert (answer.error, document) == (None, token)
        else:
            assert answer.error == "Unhandled" and document["errorType"] == expected, (action, answer)
            said = document["errorMessage"]
            assert (token if action == "raise" else answer.request_id) in said, (action, answer)
        assert "token %s\n" % token in answer.tail, (action, answer)
        assert len(re.findall(r"^REPORT RequestId: %s\t" % answer.request_id, answer.tail, re.M)) == 1, answer

    actions = ["fine", "raise", "exit", "sleep", "kill", "fine", "memory"] * scale(3, 30)
    with world.during("timeouts, exits, kills, exceptions, out of memory"):
        each(actions, call, 6)


@pytest.mark.parametrize(
    "source, error_type",
    [
        ("raise KeyError('k')\n", "KeyError"),
        ("import os\nos._exit(9)\n", "Runtime.ExitError"),
        ("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n", "Runtime.ExitError"),
        ("kept = []\nwhile True: kept.append(bytearray(b'x' * (16 << 20)))\n", "Runtime.ExitError"),
    ],
    ids=["exception", "exit", "signal", "memory"],
)
def test_init_that_fails_for_ever(world, scale, source, error_type):
    function = world.function(source, MemorySize=256, Timeout=20)

    def call(_):
        document = function.fault({})
        assert document["errorType"] == error_type, document

    with world.during("INIT fails: %s" % error_type):
        each(range(scale(8, 200)), call, 4)


FORKS = r"""
import os, signal, sys, time
def bomb():
    # each process makes more, for ever, and none heeds a signal that it can refuse
    for number in range(1, 65):
        try:
            signal.signal(number, signal.SIG_IGN)
        except (OSError, ValueError):
            pass
    while True:
        try:
            if os.fork() == 0:
                os.setsid()
        except OSError:
            pass
def handler(event, context):
    if event == "behind" and os.fork() == 0:
        bomb()
    if event == "bomb":
        bomb()
    return "answered"
"""


def processes():
    return sum(entry.isdigit() for entry in os.listdir("/proc"))


def test_forks_without_end(world):
    function = world.function(FORKS, Timeout=1, MemorySize=512)
    assert function.result("no") == "answered"
    before = processes()
    with world.during("forks without end, until the timeout"):
        assert function.fault("bomb")["errorType"] == "Sandbox.Timedout"
        assert function.result("no") == "answered"
    with world.during("forks without end behind an answer"):
        answer = function.invoke("behind")
        assert answer.error is None or answer.json()["errorType"] == "Sandbox.Timedout", answer
        time.sleep(1)
        # frozen, so that it cannot do anything; used again, it starves only itself
        again = function.invoke("no")
        assert again.error is None or again.json()["errorType"] in ("Sandbox.Timedout", "Runtime.ExitError"), again
    function.delete()
    deadline = time.monotonic() + 20
    while processes() > before + 20:
        assert time.monotonic() < deadline, "%d processes, were %d" % (processes(), before)
        time.sleep(0.05)


HUNGRY = r"""
import os, signal, socket, sys, threading, time
def handler(event, context):
    do = event["do"]
    if do == "fill /tmp":
        written = 0
        try:
            with open("/tmp/fill", "wb") as out:
                while True:
                    written += out.write(b"x" * (1 << 20))
        except OSError as error:
            return [error.errno, written >> 20]
    if do == "flood":
        line = b"y" * 1023 + b"\n"
        while True:
            os.write(1, line * 64)
    if do == "flood behind":
        # goes on when the event has been answered
        def flood():
            line = b"y" * 1023 + b"\n"
            while True:
                os.write(1, line * 64)
        threading.Thread(target=flood, daemon=True).start()
        time.sleep(0.2)
        return "answered"
    if do == "threads":
        def spin():
            while True:
                pass
        threads = []
        try:
            while True:
                threads.append(threading.Thread(target=spin, daemon=True))
                threads[-1].start()
        except RuntimeError:
            pass
        time.sleep(60)
    if do == "connections":
        kept = []
        try:
            while len(kept) < event["count"]:
                kept.append(socket.create_connection(("127.0.0.1", event["port"]), timeout=2))
                kept[-1].sendall(b"POST /2015-03-31/functions HTTP/1.1\r\nHost: x\r\n")
        except OSError as error:
            pass
        global KEPT
        KEPT = kept
        time.sleep(event["seconds"])
        return len(kept)
    if do == "ignore signals":
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)
        if os.fork() == 0:
            while True:
                time.sleep(1)
        time.sleep(event.get("seconds", 0))
    return "fine"
"""


def test_full_temporary_folders(world, scale):
    function = world.function(HUNGRY, Timeout=30, MemorySize=512)
    with world.during("/tmp filled"):
        for errno, megabytes in each([{"do": "fill /tmp"}] * scale(2, 6), function.result, 6):
            assert errno == 28 and 500 <= megabytes <= 512
    assert function.result({"do": ""}) == "fine"


def memory(pid):
    """Resident memory of a process, MiB."""
    return int(re.search(r"VmRSS:\s+(\d+) kB", Path("/proc/%d/status" % pid).read_text())[1]) >> 10


def test_output_without_end(world, scale):
    function = world.function(HUNGRY, Timeout=scale(1, 5), MemorySize=1769)
    behind = world.function(HUNGRY, Timeout=5, MemorySize=512)
    before = memory(world.server.process.pid)
    most = before
    stop = threading.Event()

    def watch():
        nonlocal most
        while not stop.wait(0.02):
            most = max(most, memory(world.server.process.pid))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        with world.during("output without end") as row:
            for answer in each([{"do": "flood"}] * scale(2, 4), lambda event: function.invoke(event, LogType="Tail"), 4):
                assert answer.json()["errorType"] == "Sandbox.Timedout", answer
                assert len(answer.tail) <= 4096 and "REPORT" in answer.tail
            for _ in range(3):
                answer = behind.invoke({"do": "flood behind"})
                assert answer.error is None, answer
    finally:
        stop.set()
        watcher.join()
    row.note = "server %d -> %d MiB at most" % (before, most)
    assert most - before < 400, (before, most)
    world.server.allow("log events dropped; further ones are only counted")


def test_threads_that_spin(world):
    function = world.function(HUNGRY, Timeout=2, MemorySize=512)
    with world.during("a thousand threads that spin"):
        assert function.fault({"do": "threads"})["errorType"] == "Sandbox.Timedout"
    assert function.result({"do": ""}) == "fine"


def test_connections_held_from_within(world, scale):
    """A function opens all it can to the server's APIs and sends half a head on each."""
    function = world.function(HUNGRY, Timeout=10)
    event = {"do": "connections", "count": 900, "port": world.server.port, "seconds": 1}
    with world.during("half-open connections from within"):
        counts = each([event] * scale(2, 4), function.result, 4)
    assert all(count > 0 for count in counts)


def test_signals_are_ignored(own_world):
    """The server stops in time though functions do not heed signals."""
    world = own_world()
    function = world.function(HUNGRY, Timeout=1)
    with world.during("signals ignored"):
        assert function.fault({"do": "ignore signals", "seconds": 60})["errorType"] == "Sandbox.Timedout"
        assert function.result({"do": "ignore signals"}) == "fine"
    world.bystander.end()
    begun = time.monotonic()
    world.server.stop()
    assert time.monotonic() - begun < 10


DYING = r"""
import os, threading, time
def handler(event, context):
    if event == "later":
        # sleeping while it is frozen, overdue when it is used again
        threading.Thread(target=lambda: (time.sleep(0.1), os._exit(5)), daemon=True).start()
        time.sleep(0.05)
    return event
"""


def test_environments_that_end_when_they_are_used_again(world):
    """Many idle environments that end as soon as they run: the platform is not to blame, and there is a new one."""
    function = world.function(DYING, Timeout=5)
    with world.during("idle environments that end when thawed"):
        assert each(["later"] * 8, function.result, 8) == ["later"] * 8
        time.sleep(0.3)
        for _ in range(10):
            # it may have got as far as the function
            answer = function.invoke("fine")
            assert answer.json() == "fine" or answer.json()["errorType"] == "Runtime.ExitError", answer
        assert function.result("fine") == "fine"
