"""`--isolation process`: functions as plain child processes."""

import os
import re
import subprocess
import threading
import time
from pathlib import Path

import pytest

from harness import leaks
from harness.functions import Factory
from harness.paths import LAMBKIN
from harness.server import Server

# what it says of itself at its start
LOUD = r"WARN .*isolation=process"
pytestmark = pytest.mark.allow_log(LOUD)

FUNCTION = r'''
import errno, os, signal, subprocess, sys, tempfile, threading, time
import helper

def handler(event, context):
    action = event.get("action")
    if action == "raise":
        raise ValueError("told to")
    if action == "tree":
        # a whole family that does its best to get away
        script = "trap '' TERM INT HUP; (setsid sh -c 'sleep 1000 & setsid sleep 1000 & wait' &) ; sleep 1000"
        subprocess.Popen(["sh", "-c", script], start_new_session=True)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                signal.signal(signal.SIGTERM, signal.SIG_IGN)
                time.sleep(1000)
            os._exit(0)
        time.sleep(event.get("seconds", 0))
        if event.get("exit"):
            os._exit(3)
    if action == "memory":
        held = []
        while True:
            held.append(bytearray(b"x" * (4 << 20)))
    if action == "fork bomb":
        while True:
            if os.fork() == 0:
                time.sleep(1000)
    if action == "kill parent":
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(1000)
    if action == "count":
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
    if action == "where":
        return {"cwd": os.getcwd(), "task": os.environ["LAMBDA_TASK_ROOT"], "runtime": os.environ["LAMBDA_RUNTIME_DIR"],
                "file": __file__, "tmp": tempfile.gettempdir(), "uid": os.getuid(), "mine": os.environ["MINE"],
                "python": sys.version_info[:2], "helper": helper.X, "nnp": "NoNewPrivs:\t1\n" in open("/proc/self/status").read()}
    if action == "endpoint":
        import urllib.request
        url = os.environ["AWS_ENDPOINT_URL"]
        return [url, urllib.request.urlopen(url + "/_lambkin/health").status]
    return event
'''

CUSTOM = """#!/bin/sh
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while :; do
    event=$(curl -sS -D "$TMPDIR/headers" "$api/next")
    id=$(sed -n 's/^lambda-runtime-aws-request-id: *\\([^[:cntrl:]]*\\).*/\\1/Ip' "$TMPDIR/headers")
    curl -sS -o /dev/null -d "{\\"got\\":$event,\\"task\\":\\"$LAMBDA_TASK_ROOT\\",\\"api\\":\\"$AWS_LAMBDA_RUNTIME_API\\"}" "$api/$id/response"
done
"""


@pytest.fixture(scope="module", params=[None, 12345], ids=["root", "user"])
def plain(request):
    server = Server(user=request.param, args=["--isolation", "process"], cgroups=False)
    try:
        yield server.start()
        server.stop()
        server.assert_quiet([LOUD])
    finally:
        server.destroy()


@pytest.fixture
def make(plain):
    """Makes functions; what they leave is looked for when they are gone."""
    factory = Factory(plain)

    def create(**options):
        options.setdefault("runtime", "python3.11")
        options.setdefault("files", {"app.py": FUNCTION, "helper.py": "X = 7\n"})
        return factory(**options)

    yield create
    factory.clean()
    plain.baseline.assert_idle()
    assert list((plain.data_dir / "sandboxes").iterdir()) == []
    plain.assert_quiet([LOUD])


def sleepers(server):
    """Processes that functions have left, wherever they are in the tree of processes."""
    owner = os.stat("/proc/%d" % server.process.pid).st_uid
    found = []
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and os.stat("/proc/" + entry).st_uid == owner:
                if str(server.data_dir).encode() in Path("/proc", entry, "environ").read_bytes():
                    found.append((entry, Path("/proc", entry, "cmdline").read_bytes()))
        except OSError:
            pass
    return found


def test_it_is_loud(plain):
    assert plain.http("GET", "/_lambkin/health", sign=False).json()["isolation"] == "process"
    assert re.search(r"WARN .*functions are not isolated", plain.log())


def test_paths_are_rewritten(plain, make):
    function = make(env={"MINE": "/opt/x:/var/task/y"})
    assert function.result({"n": 1}) == {"n": 1}
    found = function.result({"action": "where"})
    code = str(plain.data_dir / "code")
    assert found["task"] == found["cwd"] == os.path.dirname(found["file"]) and found["task"].startswith(code)
    assert found["runtime"].startswith(str(plain.data_dir / "runtimes"))
    assert found["tmp"].startswith(str(plain.data_dir / "sandboxes")) and found["tmp"].endswith("/tmp")
    assert found["mine"].startswith(str(plain.data_dir)) and found["mine"].endswith(":%s/y" % found["task"])
    assert (found["python"], found["helper"], found["nnp"]) == ([3, 11], 7, True)
    assert found["uid"] == (plain.user or 0)


def test_the_servers_apis_are_there(plain, make):
    url, status = make().result({"action": "endpoint"})
    assert status == 200 and re.fullmatch(r"http://127\.\d+\.\d+\.\d+:%d" % plain.port, url)
    assert url != plain.endpoint


def test_custom_runtime(plain, make):
    functions = [make(runtime="provided.al2023", files={"bootstrap!": CUSTOM}, handler="x") for _ in range(2)]
    seen = set()
    for function in functions:
        for number in range(2):
            answer = function.result({"n": number})
            assert answer["got"] == {"n": number} and answer["task"].startswith(str(plain.data_dir))
            seen.add(answer["api"])
    assert len(seen) == 2 and all(re.fullmatch(r"127\.\d+\.\d+\.\d+:9001", api) for api in seen), seen


def test_error(make):
    function = make()
    assert function.fault({"action": "raise"})["errorType"] == "ValueError"


@pytest.mark.parametrize("event", [{"seconds": 60}, {"exit": True}, {}], ids=["timeout", "exit", "answer"])
def test_whole_trees_end(plain, make, event):
    function = make(Timeout=2)
    function.invoke({"action": "tree", **event})
    if event:
        leaks.until(lambda: [one for one in sleepers(plain) if b"sleep" in one[1]])
    assert function.result({"n": 2}) == {"n": 2}
    function.delete()
    leaks.until(lambda: sleepers(plain))


def test_memory_is_limited(make):
    function = make(MemorySize=128)
    answer = function.invoke({"action": "memory"}, LogType="Tail")
    assert answer.error == "Unhandled" and "Error Type: Runtime.OutOfMemory" in answer.tail
    assert function.result({"n": 1}) == {"n": 1}


def test_fork_bomb_is_ended(plain, make):
    function = make(MemorySize=10240, Timeout=60)
    answer = function.invoke({"action": "fork bomb"})
    assert answer.json()["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    assert function.result({"n": 1}) == {"n": 1}


def test_a_killed_supervisor_takes_all_with_it(plain, make):
    function = make(Timeout=20)
    function.invoke({"action": "tree"})
    answer = function.invoke({"action": "kill parent"})
    assert answer.json()["errorMessage"].endswith("Error: Runtime exited with error: signal: killed")
    leaks.until(lambda: sleepers(plain))


def test_stopped_between_events(make):
    function = make()
    function.result({"action": "count"})
    time.sleep(0.3)
    first = function.result({"action": "count"})
    time.sleep(1)
    assert function.result({"action": "count"}) - first < 300


def test_two_at_once(make):
    function = make()
    results = []
    threads = [threading.Thread(target=lambda n=n: results.append(function.result({"n": n})["n"])) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(results) == [0, 1, 2, 3]


@pytest.mark.parametrize("whom", ["server", "spawner", "both"])
def test_nothing_survives_a_kill(whom):
    server = Server(user=12345, args=["--isolation", "process"])
    lost = [] if whom == "server" else [r"ERROR .*sandbox spawner was lost", "WARN .*cannot thaw"]
    try:
        server.start()
        function = Factory(server)(runtime="python3.11", files={"app.py": FUNCTION, "helper.py": "X = 7\n"})
        function.invoke({"action": "tree"})
        assert sleepers(server)
        family = leaks.family(server.process.pid)
        spawner = next(pid for pid in family if Path("/proc/%d/comm" % pid).read_text() == "lambkin-spawner\n")
        owned = [int(pid) for pid, _ in sleepers(server)]
        if whom != "server":
            os.kill(spawner, 9)
        if whom != "spawner":
            server.kill()
        leaks.until(lambda: [pid for pid in owned if os.path.exists("/proc/%d" % pid)])
        if whom != "spawner":
            server.start()
            function.client = server.client("lambda")
        assert function.result({"n": 1}) == {"n": 1}
        server.stop()
        assert not (server.data_dir / "sandboxes").exists() or not list((server.data_dir / "sandboxes").iterdir())
        server.assert_quiet([LOUD] + lost)
    finally:
        server.destroy()


def test_doctor_says_what_it_is():
    done = subprocess.run([LAMBKIN, "doctor"], capture_output=True, text=True)
    assert re.search(r"plain processes +possible with --isolation process", done.stdout), done.stdout
