"""Functions that get at their runtime's private channel, and answer more than once."""

import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError

pytestmark = pytest.mark.allow_log("a runtime broke the rules of the runtime API")

# A function that gets at its runtime's private channel.
CHANNEL = r"""
import __main__, json, os, socket, struct, threading, time

def frame(kind, content):
    return struct.pack("<I", len(content) + 5) + kind + __main__._State.number + content

def handler(event, context):
    what, token = event
    if what == "twice":
        os.write(3, frame(b"A", json.dumps(token).encode()))
    elif what == "garbage":
        os.write(3, os.urandom(300))
    elif what == "huge":
        os.write(3, struct.pack("<I", 0xFFFFFFFF) + b"A" + b"x" * 100)
    elif what == "huge forever":
        os.write(3, struct.pack("<I", 0xFFFFFFFF) + b"A")
        block = b"x" * 65536
        while True:
            os.write(3, block)
    elif what == "huge error":
        os.write(3, struct.pack("<I", 0xFFFFFFFF) + b"E" + b"\xff\xff")
        while True:
            os.write(3, b"x" * 65536)
    elif what == "empty":
        os.write(3, struct.pack("<I", 0))
    elif what == "closed":
        os.close(3)
    elif what == "shut":
        socket.socket(fileno=os.dup(3)).shutdown(socket.SHUT_RDWR)
    elif what == "stream":
        os.write(3, frame(b"C", b"a part"))
    elif what == "ready":
        os.write(3, frame(b"R", b""))
    elif what == "later":
        late = frame(b"A", b'"late"')
        def later():
            time.sleep(0.05)
            os.write(3, late)
        threading.Thread(target=later, daemon=True).start()
    elif what == "fork":
        # both answer, and go on as runtimes
        if os.fork() == 0:
            time.sleep(0.05)
            return "the child"
    elif what == "telemetry":
        for size in (0, 1, 70000):
            try:
                os.write(4, os.urandom(size))
            except OSError:
                pass
    elif what == "telemetry closed":
        os.close(4)
        print("to nobody")
    return token
"""


def test_rules_of_the_private_channel(world, scale):
    """A function that writes to its runtime's channel harms its own answers, never those of others."""
    harmless = {"telemetry", "telemetry closed"}
    whats = ["twice", "garbage", "huge", "huge forever", "huge error", "empty", "closed", "shut", "stream", "ready", "later", "fork"]

    def call(what):
        function = world.function(CHANNEL, Timeout=1, MemorySize=1769)
        token = uuid.uuid4().hex
        answer = function.invoke([what, token])
        if what in harmless or what in ("later", "fork"):
            assert (answer.error, answer.json()) == (None, token), (what, answer)
        elif answer.error is None:
            assert answer.json() == token, (what, answer)
        else:
            kinds = ("Runtime.ExitError", "Sandbox.Timedout", "Function.ResponseSizeTooLarge")
            assert answer.json()["errorType"] in kinds, (what, answer)
        # It has the environment to itself, and has lied about this very event; the function's next event is another.
        for pause in (0, 0.1, 0):
            token = uuid.uuid4().hex
            assert function.result(["fine", token]) == token, what
            time.sleep(pause)

    with world.during("nonsense on the private channel"), ThreadPoolExecutor(4) as pool:
        list(pool.map(call, [*whats, *harmless] * scale(1, 10)))


def test_a_runtime_that_always_answers_twice(world):
    """Each environment is used once; no event is lost for it."""
    function = world.function(CHANNEL, Timeout=2)
    with world.during("two answers to each event"):
        for _ in range(3):
            token = uuid.uuid4().hex
            assert function.result(["twice", token]) == token
    stop = threading.Event()

    def call(_):
        try:
            token = uuid.uuid4().hex
            assert function.result(["twice", token]) == token
        except ClientError as error:
            stop.set()
            raise AssertionError(error.response) from error

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(call, range(8)))
