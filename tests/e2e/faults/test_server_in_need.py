"""The server's own troubles: no disk, no descriptors, a spawner or a server that is killed."""

import json
import os
import re
import resource
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from harness import leaks
from harness.functions import ROLE, Factory, python, zip_of
from harness.raw import connect

ECHO = "def handler(event, context):\n    print('line', event)\n    return event\n"
NO_SPACE = "No space is left on the disk of the server."


@pytest.fixture
def small_disk(own_server):
    """A server, not started, whose data folder is on a small file system of its own."""
    disk = own_server.work / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m,mode=700", "lambkin-test", str(disk)], check=True)
    own_server.data_dir = disk / "data"
    yield own_server
    if own_server.process is not None:
        own_server.stop()
    subprocess.run(["umount", "-l", str(disk)], check=True)


def fill(folder):
    """Takes all space that is left."""
    path = folder / "filler"
    with open(path, "ab", buffering=0) as out:
        for size in (1 << 20, 4096):
            try:
                while out.write(b"x" * size) == size:
                    pass
            except OSError as error:
                assert error.errno == 28
    return path


@pytest.mark.allow_log("no space left on the data disk|can't be written|cannot write|log events|cannot settle|refused by the disk|No space|disk is full")
def test_full_disk(small_disk, scale):
    server = small_disk.start()
    create = Factory(server)
    client = server.client("lambda")
    known = create(ECHO, name="known")
    assert known.result(1) == 1
    package = zip_of({"app.py": ECHO, "noise": os.urandom(200_000)})

    def make(name):
        client.create_function(FunctionName=name, Runtime=python(), Handler="app.handler", Role=ROLE, Code={"ZipFile": package})
        server.functions.add(name)
        create.made.append(name)

    acknowledged = {"known": {}}
    for round in range(scale(2, 6)):
        filler = fill(server.data_dir)
        # Known functions go on, also in new environments, though their log cannot be written.
        with ThreadPoolExecutor(4) as pool:
            assert list(pool.map(known.result, range(40))) == list(range(40))
        refusals = []
        for number in range(30):
            name = "full-%d-%d" % (round, number)
            try:
                make(name)
                acknowledged[name] = {}
            except ClientError as error:
                refusals.append(error.response)
        assert refusals
        for number in range(30):
            try:
                client.tag_resource(
                    Resource="arn:aws:lambda:us-east-1:000000000000:function:known",
                    Tags={"tag-%d-%d" % (round, number): "x" * 200},
                )
                acknowledged["known"]["tag-%d-%d" % (round, number)] = "x" * 200
            except ClientError as error:
                refusals.append(error.response)
        for refusal in refusals:
            said = refusal["Error"]["Code"], refusal["Error"]["Message"]
            assert said == ("ServiceException", NO_SPACE), refusal
            assert refusal["ResponseMetadata"]["HTTPStatusCode"] == 500
        filler.unlink()
        # It has recovered: the same works again, without a restart.
        make("again-%d" % round)
        acknowledged["again-%d" % round] = {}
        client.get_waiter("function_active_v2").wait(FunctionName="again-%d" % round, WaiterConfig={"Delay": 0.2})
        assert json.loads(client.invoke(FunctionName="again-%d" % round, Payload=b"5")["Payload"].read()) == 5
        known.result("after the disk was full")
        known.logs(until="after the disk was full")
    # All that was acknowledged is there, and nothing that was refused, also after a crash.
    server.kill()
    server._clients.clear()
    server.start()
    client = known.client = server.client("lambda")
    there = {
        function["FunctionName"]
        for page in client.get_paginator("list_functions").paginate()
        for function in page["Functions"]
    }
    assert there == set(acknowledged)
    assert client.get_function(FunctionName="known").get("Tags", {}) == acknowledged["known"]
    for name in there:
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.2})
        assert json.loads(client.invoke(FunctionName=name, Payload=b"6")["Payload"].read()) == 6
    create.clean()


@pytest.mark.allow_log("cannot accept|Too many open files|cannot make|cannot reach|cannot serve|sandbox")
def test_no_descriptors_left(own_server, scale):
    """Connections take all descriptors that the server may have; when they go it serves as before."""
    begin = own_server._begin

    def limited():
        begin()
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))

    own_server._begin = limited
    server = own_server.start()
    create = Factory(server)
    function = create(ECHO)
    assert function.result(0) == 0
    client = server.client("lambda", max_pool_connections=40, connect_timeout=5, read_timeout=30)
    fates = {}
    lock = threading.Lock()

    def call(number):
        try:
            answer = client.invoke(FunctionName=function.name, Payload=b"%d" % number)
            document = json.loads(answer["Payload"].read())
            fate = "ok" if document == number else "wrong: %s" % document
        except ClientError as error:
            fate = "%s %s" % (error.response["Error"]["Code"], error.response["Error"]["Message"])
        except BotoCoreError as error:
            fate = type(error).__name__
        with lock:
            fates[fate] = fates.get(fate, 0) + 1

    for _ in range(scale(2, 10)):
        held = [connect(server) for _ in range(100)]
        with ThreadPoolExecutor(40) as pool:
            calls = [pool.submit(call, number) for number in range(120)]
            time.sleep(2)
            for sock in held:
                sock.close()
            for one in calls:
                one.result()
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(lambda number: function.result(number), range(32)))
    print("with few descriptors:", fates)
    assert not [fate for fate in fates if fate.startswith("wrong")], fates
    assert fates.get("ok", 0) > 0
    # None at all: what is there goes on.
    warm = create(ECHO, name="warm")
    assert warm.result("warm") == "warm"
    pid = server.process.pid
    fates.clear()
    for room in range(scale(12, 40)):
        limit = len(os.listdir("/proc/%d/fd" % pid)) + room
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, 256))
        try:
            # Its environments are out of date from here on.
            client.update_function_configuration(FunctionName=function.name, Description="%d" % room)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "ServiceException", error
        call(room)
        assert warm.result(room) == room
    print("with none:", fates)
    assert not [fate for fate in fates if fate.startswith("wrong")], fates
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (256, 256))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: function.result(number), range(32)))
    assert "sandbox spawner was lost" not in server.log()
    client.close()
    create.clean()


def spawner(server):
    """Process id of the spawner."""
    return int(re.findall(r"sandbox spawner started.*?\bpid=(\d+)", server.log())[-1])


@pytest.mark.allow_log("sandbox spawner was lost|the sandbox was lost|sandbox")
def test_a_spawner_that_is_killed_under_load(own_world, scale):
    world = own_world()
    server = world.server
    function = world.function("import time\ndef handler(event, context):\n    time.sleep(0.02)\n    return event\n", MemorySize=1769)
    clients = [server.client("lambda") for _ in range(6)]
    stop = threading.Event()
    outcomes = []

    def run(number):
        event = 0
        while not stop.is_set():
            event += 1
            try:
                answer = clients[number].invoke(FunctionName=function.name, Payload=b"%d" % (number * 1_000_000 + event))
                document = json.loads(answer["Payload"].read())
                right = "FunctionError" not in answer and document == number * 1_000_000 + event
                outcomes.append((time.monotonic(), "ok" if right else "wrong: %s" % document))
            except ClientError as error:
                outcomes.append((time.monotonic(), "%(Code)s: %(Message)s" % error.response["Error"]))

    kills = scale(3, 30)
    with world.during("spawner killed %d times" % kills, may_fail="500 ") as row, ThreadPoolExecutor(6) as pool:
        running = [pool.submit(run, number) for number in range(6)]
        for _ in range(kills):
            time.sleep(0.7)
            os.kill(spawner(server), signal.SIGKILL)
            killed = time.monotonic()
            # All callers are served again.
            while sum(at > killed + 0.05 and said == "ok" for at, said in outcomes) < 20:
                assert time.monotonic() < killed + 20, outcomes[-5:]
                time.sleep(0.02)
        stop.set()
        for one in running:
            one.result()
        failed = [said for _, said in outcomes if said != "ok"]
        row.note = "%d of %d calls of the other lost" % (len(failed), len(outcomes))
    # Those under way when it happened, and no others.
    assert len(failed) <= kills * 6 and not [said for said in failed if said.startswith("wrong")], failed
    assert server.log().count("sandbox spawner was lost") == kills
    assert server.log().count("sandbox spawner started") == kills + 1


@pytest.mark.parametrize("how", ["KILL", "TERM"])
def test_a_server_that_ends_under_load(own_server, scale, how):
    """Functions of all kinds under way, writes and logs: the next start finds what was acknowledged, and clears up."""
    own_server.args = ["--stop-seconds", "1"]
    server = own_server.start()
    create = Factory(server)
    function = create("import time\ndef handler(event, context):\n    print('a line')\n    time.sleep(0.3)\n    return event\n")
    bomb = create("import os, time\ndef handler(event, context):\n    for _ in range(50):\n        if os.fork() == 0:\n            time.sleep(60)\n    time.sleep(60)\n", Timeout=60)
    for round in range(scale(1, 8)):
        client = server.client("lambda", max_pool_connections=20)
        ended = threading.Event()
        acknowledged, answers = {}, []

        def invoke(number):
            while not ended.is_set():
                try:
                    answer = client.invoke(FunctionName=function.name, Payload=b"%d" % number)
                    answers.append((number, json.loads(answer["Payload"].read())))
                except (ClientError, BotoCoreError):
                    time.sleep(0.01)

        def hang(_):
            try:
                client.invoke(FunctionName=bomb.name, Payload=b"0")
            except (ClientError, BotoCoreError):
                pass

        def write(worker):
            number = 0
            while not ended.is_set():
                number += 1
                key = "round-%d-worker-%d" % (round, worker)
                try:
                    client.tag_resource(Resource="arn:aws:lambda:us-east-1:000000000000:function:" + function.name, Tags={key: str(number)})
                    acknowledged[key] = number
                except (ClientError, BotoCoreError):
                    time.sleep(0.01)

        first = server.baseline
        with ThreadPoolExecutor(14) as pool:
            running = [pool.submit(invoke, number) for number in range(6)]
            running += [pool.submit(hang, number) for number in range(2)]
            running += [pool.submit(write, number) for number in range(3)]
            time.sleep(1.5)
            family = leaks.family(server.process.pid)
            if how == "KILL":
                server.kill()
            else:
                server.process.send_signal(signal.SIGTERM)
                assert server.process.wait(60) == 0
                server.process = None
            ended.set()
            for one in running:
                one.result()
        server._clients.clear()
        client.close()
        assert acknowledged and answers and all(number == said for number, said in answers)
        leaks.until(lambda: leaks.alive(family) and "alive: %s" % [leaks._describe(pid) for pid in leaks.alive(family)])
        server.start()
        # but for zygotes, which the new server may have by now
        leaks.until(lambda: [path for path in leaks.cgroups(server.data_dir) - first.cgroups if "/zygote-" not in path])
        assert not leaks.network(server.data_dir)[0]
        client = function.client = server.client("lambda")
        tags = client.get_function(FunctionName=function.name)["Tags"]
        for key, number in acknowledged.items():
            # The one after it may have got there unanswered.
            assert int(tags[key]) in (number, number + 1), (key, number, tags)
        assert function.result("again") == "again"
    if how == "TERM":
        server.allow("requests still in work after the grace period; cut")
    create.clean()


def test_more_logs_than_can_be_written(own_world, scale):
    """Log lines by the thousand from many functions: all are kept, in order, or counted as dropped."""
    world = own_world()
    lines = scale(2000, 20_000)
    source = "def handler(event, context):\n    for number in range(event):\n        print('%s', number)\n    return event\n"
    functions = [world.function(source % number, MemorySize=1769) for number in range(4)]
    with world.during("%d log lines" % (4 * lines)), ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda function: function.result(lines), functions)) == [lines] * 4
        for number, function in enumerate(functions):
            written = [line.split() for line in function.logs(until="REPORT", seconds=60) if line[0].isdigit()]
            assert written == [[str(number), str(line)] for line in range(lines)]
