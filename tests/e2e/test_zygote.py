"""Python environments that are forked from a zygote."""

import json
import os
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import functions, leaks
from harness.functions import Factory
from harness.server import Server

PYTHONS = functions.pythons()

pytestmark = pytest.mark.allow_log("AWS no longer offers this runtime")

PROBE = r'''
import os, random, re, sys, time, uuid

STATE = {
    "flags": repr(sys.flags), "path": sys.path, "argv": sys.argv, "executable": sys.executable, "cwd": os.getcwd(),
    "environ": {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "_X_"))},
    "descriptors": {name: re.sub("[0-9]+]", "]", os.readlink("/proc/self/fd/" + name))
        for name in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + name)},
    "parent": os.getppid(), "status": {line.split(":")[0]: line.split()[1] for line in open("/proc/self/status")
        if line.startswith(("Uid", "Gid", "Cap", "NoNewPrivs", "Seccomp", "SigIgn", "SigBlk", "SigCgt", "Umask"))},
    "limits": open("/proc/self/limits").read(), "command": open("/proc/self/cmdline").read(), "zone": time.tzname,
    "oom": open("/proc/self/oom_score_adj").read(), "home": os.path.expanduser("~"),
}

def handler(event, context):
    event = event or {}
    if event.get("sleep"):
        time.sleep(event["sleep"])
    if event.get("exit"):
        os._exit(event["exit"])
    return {
        "forked": "_zygote" in vars(sys.modules["__main__"]), "state": STATE, "random": random.random(),
        "uuid": str(uuid.uuid4()), "hash": hash("x"),
    }
'''


@pytest.fixture(scope="module")
def strict(serve):
    """A server that forks nothing."""
    yield from serve(dev=True, args=["--zygotes=false"])


def zygotes(server):
    return leaks.zygotes(server.process.pid, leaks.family(server.process.pid))


def warm(create, server, **options):
    """A function of a runtime whose zygote is ready."""
    function = create(PROBE, **options)
    runtime = options["runtime"].replace(".", "-")
    deadline = time.monotonic() + 20
    while not re.search(r"zygote ready.* name=\"?%s\b" % runtime, server.log()):
        assert time.monotonic() < deadline, server.log()
        time.sleep(0.02)
    return function


@pytest.mark.parametrize("runtime", PYTHONS)
def test_a_fork_sees_what_an_executed_interpreter_sees(dev_server, strict, runtime):
    with_zygote, without = Factory(dev_server), Factory(strict)
    options = {"runtime": runtime, "Environment": {"Variables": {"MINE": "é", "TZ": "Europe/Berlin"}}}
    forked = warm(with_zygote, dev_server, **options).result()
    executed = without(PROBE, **options).result()
    assert (forked["forked"], executed["forked"]) == (True, False)
    for answer in (forked, executed):
        answer["state"]["environ"].pop("AWS_LAMBDA_LOG_STREAM_NAME", None)
        # some builds of libffi keep their file open from when ctypes is imported
        files = answer["state"]["descriptors"]
        answer["state"]["descriptors"] = {number: file for number, file in files.items() if "libffi" not in file}
    assert forked["state"] == executed["state"]
    assert not zygotes(strict)


def test_forks_share_nothing_random(dev_server):
    function = warm(Factory(dev_server), dev_server, runtime=functions.python(), Timeout=30)
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: function.result({"sleep": 1}), range(12)))
    assert all(answer["forked"] for answer in answers)
    assert len({answer["random"] for answer in answers}) == len({answer["uuid"] for answer in answers}) == 12


@pytest.mark.parametrize(
    "variables",
    [{"PYTHONHASHSEED": "0"}, {"LD_PRELOAD": "/none.so"}, {"LANG": "C"}, {"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap"}],
    ids=lambda variables: next(iter(variables)),
)
def test_settings_of_the_start_have_an_interpreter_of_their_own(dev_server, variables):
    warm(Factory(dev_server), dev_server, runtime=functions.python())
    files = {"app.py": PROBE, "wrap!": '#!/bin/sh\nexport WRAPPED=yes\nexec "$@"\n'}
    function = Factory(dev_server)(files=files, runtime=functions.python(), Environment={"Variables": variables})
    answer = function.result()
    assert not answer["forked"]
    assert answer["state"]["environ"].get("WRAPPED") == ("yes" if "AWS_LAMBDA_EXEC_WRAPPER" in variables else None)


def test_own_modules_come_first(dev_server):
    warm(Factory(dev_server), dev_server, runtime=functions.python())
    files = {"app.py": "import uuid\ndef handler(e, c): return uuid.MINE\n", "uuid.py": "MINE = 'mine'\n"}
    assert Factory(dev_server)(files=files, runtime=functions.python()).result() == "mine"


FORKS = r"""
import logging, os, random, sys, threading

def in_child():
    read, write = os.pipe()
    pid = os.fork()
    if not pid:
        os.write(write, ("%r %s" % (random.random(), threading.current_thread().name)).encode())
        os._exit(0)
    os.waitpid(pid, 0)
    return os.read(read, 100).decode().split()

def handler(event, context):
    numbers = []
    threads = [threading.Thread(target=lambda: numbers.append(threading.get_native_id())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    logging.warning("said")
    return {
        "forked": "_zygote" in vars(sys.modules["__main__"]), "children": [in_child() for _ in range(3)], "own": random.random(),
        "main": [threading.main_thread().native_id == os.getpid() == threading.get_native_id(),
                 threading.current_thread() is threading.main_thread()],
        "threads": len(numbers), "started": logging.LogRecord("", 0, "", 0, "", (), None).relativeCreated < 60000,
    }
"""


@pytest.mark.parametrize("runtime", PYTHONS)
def test_a_forks_own_forks_and_threads(dev_server, runtime):
    warm(Factory(dev_server), dev_server, runtime=runtime)
    answer = Factory(dev_server)(FORKS, runtime=runtime).result()
    assert answer["forked"] and answer["main"] == [True, True] and answer["threads"] == 3 and answer["started"]
    assert all(name == "MainThread" for _, name in answer["children"])
    assert len({number for number, _ in answer["children"]} | {repr(answer["own"])}) == 4


def test_ends_are_reported(dev_server):
    function = warm(Factory(dev_server), dev_server, runtime=functions.python())
    fault = function.fault({"exit": 3})
    assert fault["errorType"] == "Runtime.ExitError" and "exit status 3" in fault["errorMessage"]
    assert function.result()["forked"]


def test_killed_under_load(own_server):
    server = own_server
    server.dev = True
    server.start()
    server.allow("zygote lost")
    runtime = functions.python()
    function = warm(Factory(server), server, runtime=runtime, Timeout=60)
    before = function.result()
    stop = threading.Event()
    problems = []

    def load(number):
        one = Factory(server)(PROBE, runtime=runtime, Timeout=60)
        while not stop.is_set():
            try:
                one.result({"sleep": 0.01})
                one.update(Description=str(time.monotonic()))
            except Exception as error:  # told below
                problems.append(error)
                return

    threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    lost = 0
    for _ in range(3):
        deadline = time.monotonic() + 30
        while not (found := zygotes(server)) and time.monotonic() < deadline:
            time.sleep(0.05)
        for pid in found:
            os.kill(pid, signal.SIGKILL)
            lost += 1
        time.sleep(1)
    stop.set()
    for thread in threads:
        thread.join()
    assert not problems, problems
    # those that were there before have not noticed
    assert function.result()["uuid"] and before["forked"]
    assert len(re.findall("WARN.*zygote lost", server.log())) >= lost > 0
    leaks.until(lambda: None if zygotes(server) else "no new zygote")


def test_zygotes_end_with_the_server_however_it_ends(own_server):
    own_server.dev = True
    own_server.start()
    warm(Factory(own_server), own_server, runtime=functions.python())
    found = {pid: start for pid, start in leaks.family(own_server.process.pid).items() if pid in zygotes(own_server)}
    assert found
    family = own_server.kill()
    leaks.until(lambda: leaks.alive({**family, **found}))
    # what it left is cleared, and there is one again ahead of any invoke
    own_server.start()
    leaks.until(lambda: None if zygotes(own_server) else "no zygote")
    groups = [path for path in leaks.cgroups(own_server.data_dir) if "zygote-" in path]
    assert not [path for path in groups if not (Path(path) / "cgroup.procs").read_text()], groups


def test_memory_of_an_environment(dev_server):
    """Most of it is shared with the zygote."""
    function = warm(Factory(dev_server), dev_server, runtime=functions.python())
    assert function.result()["forked"]
    spare = set(leaks.family(dev_server.process.pid)) - set(dev_server.baseline.family) - zygotes(dev_server)
    private = []
    for pid in spare:
        rollup = Path("/proc", str(pid), "smaps_rollup").read_text()
        if b"bootstrap.py" in Path("/proc", str(pid), "cmdline").read_bytes():
            fields = dict(re.findall(r"(\w+):\s+(\d+) kB", rollup))
            private.append(int(fields["Private_Dirty"]) + int(fields["Private_Clean"]))
    assert private and min(private) < 4096, private
    print("private kB:", sorted(private))
    assert json.dumps(private)
