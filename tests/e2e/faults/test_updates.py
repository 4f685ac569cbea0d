"""Changes under load: once a change is reported as done, nothing of the state before it is seen again."""

import json
import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

from harness.functions import zip_of
from test_misbehaving_runtimes import streamed

SOURCE = "import os\ndef handler(event, context):\n    return [%r, os.environ.get('LEVEL'), context.function_version]\n"
CALLERS = 4


class Load:
    """Callers of one function all the time. Each answer counts from when its request was begun."""

    def __init__(self, call):
        self.call = call
        self.answers = []
        self.errors = []
        self.stop = threading.Event()

    def run(self, number):
        while not self.stop.is_set():
            begun = time.monotonic()
            try:
                said = self.call(number)
            except Exception as error:  # reported below
                self.errors.append(error)
                return
            self.answers.append((begun, said))

    def __enter__(self):
        self.pool = ThreadPoolExecutor(CALLERS)
        self.threads = [self.pool.submit(self.run, number) for number in range(CALLERS)]
        return self

    def __exit__(self, kind, *_):
        self.stop.set()
        self.pool.shutdown()
        if kind is None:
            assert not self.errors, self.errors[0]

    def wait(self, count):
        """Waits for as many more answers."""
        wanted = len(self.answers) + count
        deadline = time.monotonic() + 30
        while len(self.answers) < wanted:
            assert time.monotonic() < deadline and not self.errors, self.errors
            time.sleep(0.01)


def settled(client, name):
    """Waits, without a pause, until an update is reported as done."""
    while True:
        status = client.get_function_configuration(FunctionName=name)["LastUpdateStatus"]
        if status == "Successful":
            return
        assert status == "InProgress", status


def check(answers, changes, of):
    """`changes`: `(when it was reported as done, level)`, in order. Each answer to a request that was begun then
    must be of that level or a later one."""
    assert len(answers) > 20
    for begun, said in answers:
        least = max((level for at, level in changes if at <= begun), default=0)
        assert of(said) >= least, "stale: %s, begun when %s was in force" % (said, least)


@pytest.mark.parametrize("how", ["whole", "streamed"])
def test_code_and_configuration(world, scale, how):
    function = world.function(SOURCE % 0, env={"LEVEL": "0"}, MemorySize=1769)
    client = world.server.client("lambda")
    clients = [world.server.client("lambda") for _ in range(CALLERS)]

    def call(number):
        if how == "whole":
            answer = clients[number].invoke(FunctionName=function.name, Payload=b"0")
            assert "FunctionError" not in answer, answer
            return json.loads(answer["Payload"].read())
        payload, complete = streamed(function, 0)
        assert "ErrorCode" not in complete
        return json.loads(payload)

    code, configuration = [], []
    with world.during("code and configuration updated under load (%s)" % how), Load(call) as load:
        for level in range(1, scale(5, 60)):
            load.wait(6)
            if level % 2:
                client.update_function_code(FunctionName=function.name, ZipFile=zip_of({"app.py": SOURCE % level}))
                settled(client, function.name)
                code.append((time.monotonic(), level))
            else:
                client.update_function_configuration(
                    FunctionName=function.name, Environment={"Variables": {"LEVEL": str(level)}}
                )
                settled(client, function.name)
                configuration.append((time.monotonic(), level))
        load.wait(10)
    check(load.answers, code, lambda said: said[0])
    check(load.answers, configuration, lambda said: int(said[1]))


def test_an_alias_that_moves(world, scale):
    function = world.function(SOURCE % 1)
    client = world.server.client("lambda")
    assert client.publish_version(FunctionName=function.name)["Version"] == "1"
    client.create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")
    client.get_waiter("function_active_v2").wait(FunctionName=function.name, Qualifier="1", WaiterConfig={"Delay": 1})
    clients = [world.server.client("lambda") for _ in range(CALLERS)]

    def call(number):
        answer = clients[number].invoke(FunctionName=function.name, Qualifier="live", Payload=b"0")
        assert "FunctionError" not in answer, answer
        said = json.loads(answer["Payload"].read())
        assert answer["ExecutedVersion"] == said[2] == str(said[0])
        return said

    moves = []
    with world.during("an alias moved under load"), Load(call) as load:
        for level in range(2, scale(5, 40)):
            load.wait(6)
            client.update_function_code(FunctionName=function.name, ZipFile=zip_of({"app.py": SOURCE % level}))
            settled(client, function.name)
            assert client.publish_version(FunctionName=function.name)["Version"] == str(level)
            while client.get_function_configuration(FunctionName=function.name, Qualifier=str(level))["State"] != "Active":
                pass
            client.update_alias(FunctionName=function.name, Name="live", FunctionVersion=str(level))
            moves.append((time.monotonic(), level))
        load.wait(10)
    check(load.answers, moves, lambda said: said[0])


def test_deleted_and_made_anew(world, scale):
    """A function of the same name is another one."""
    name = "phoenix-%08x" % random.getrandbits(32)
    clients = [world.server.client("lambda") for _ in range(CALLERS)]
    world.function(SOURCE % 0, name=name)
    client = world.server.client("lambda")

    def call(number):
        try:
            answer = clients[number].invoke(FunctionName=name, Payload=b"0")
        except ClientError as error:
            # between the two, or while it is made ready
            assert error.response["Error"]["Code"] in ("ResourceNotFoundException", "ResourceConflictException"), error
            return None
        assert "FunctionError" not in answer, answer
        return json.loads(answer["Payload"].read())

    made, gone = [], []
    with world.during("deleted and made anew under load"), Load(call) as load:
        for level in range(1, scale(5, 40)):
            load.wait(6)
            client.delete_function(FunctionName=name)
            deleted = time.monotonic()
            load.wait(6)
            gone.append((deleted, time.monotonic()))
            world.function(SOURCE % level, name=name)
            made.append((time.monotonic(), level))
        load.wait(10)
    for begun, said in load.answers:
        # Between these two it was not there.
        away = any(since <= begun <= until for since, until in gone)
        assert not away or said is None or begun > gone[-1][0], said
    check([(begun, said) for begun, said in load.answers if said], made, lambda said: said[0])
