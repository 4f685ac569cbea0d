"""Runtimes that break the rules of the Runtime API."""

import json
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest

# A runtime that does what its event says: `[what, token]`.
RUNTIME = r"""#!/bin/sh
exec /usr/bin/env python3 - <<'END'
import http.client, json, os, socket, sys, threading, time
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
base = "/2018-06-01/runtime/"
kept = []

def call(method, path, body=None, headers={}):
    connection = http.client.HTTPConnection(host, int(port))
    try:
        connection.request(method, base + path, body, headers)
        answer = connection.getresponse()
        return answer.status, answer.read(), answer.headers
    finally:
        connection.close()

def raw(data):
    sock = socket.create_connection((host, int(port)))
    sock.sendall(data)
    return sock

def answer(id, body):
    return call("POST", "invocation/%s/response" % id, json.dumps(body))[0]

def head(id, length):
    return ("POST %sinvocation/%s/response HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % (base, id, length)).encode()

STREAM = "POST %sinvocation/%%s/response HTTP/1.1\r\nHost: x\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n" \
    "Transfer-Encoding: chunked\r\n\r\n" % base
last = None
while True:
    status, body, headers = call("GET", "invocation/next")
    what, token = json.loads(body)
    id = headers["Lambda-Runtime-Aws-Request-Id"]
    if what == "said":
        # how the posts for the event before were answered
        answer(id, said)
        continue
    said = []
    if what == "twice":
        said = [answer(id, token), answer(id, "second")]
    elif what == "wrong id":
        said = [answer("00000000-0000-4000-8000-000000000000", "wrong"), answer("x" * 5000, "wrong"), answer(id, token)]
    elif what == "last id":
        said = [answer(last, "stale") if last else 400, answer(id, token)]
    elif what == "later":
        # the answer comes again while the next event is under way
        answer(id, token)
        def later(id=id):
            for _ in range(50):
                answer(id, "late")
                time.sleep(0.005)
        threading.Thread(target=later, daemon=True).start()
    elif what == "garbage":
        for data in (b"\x00\xff" * 5000, b"GET\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", b"A" * 100000):
            try:
                raw(data).close()
            except OSError:
                pass
        answer(id, token)
    elif what == "half":
        raw(head(id, 100) + b'"half').close()
    elif what == "half and wait":
        kept.append(raw(head(id, 100) + b'"half'))
        time.sleep(60)
    elif what == "half-open":
        for _ in range(20):
            kept.append(raw(b"POST " + base.encode()))
        answer(id, token)
    elif what == "too many":
        # more than the server takes; beyond it nothing is heard
        for _ in range(200):
            try:
                kept.append(raw(b"POST " + base.encode()))
            except OSError:
                break
        answer(id, token)
    elif what == "two at once":
        threads = [threading.Thread(target=call, args=("GET", "invocation/next"), daemon=True) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        answer(id, token)
    elif what == "never":
        time.sleep(60)
    elif what == "exit after":
        answer(id, token)
        os._exit(0)
    elif what == "exit":
        os._exit(3)
    elif what == "init error":
        said = [call("POST", "init/error", "{}")[0], answer(id, token)]
    elif what == "not json":
        call("POST", "invocation/%s/response" % id, b"\xff{not json")
    elif what == "huge error":
        call("POST", "invocation/%s/error" % id, b"x" * (8 << 20), {"Lambda-Runtime-Function-Error-Type": "e" * 3000})
    elif what in ("stream", "stream and break", "stream and wait", "stream and exit"):
        piece = json.dumps(token).encode()
        sock = raw((STREAM % id).encode() + b"%x\r\n%s\r\n" % (len(piece), piece))
        time.sleep(0.1)
        if what == "stream":
            sock.sendall(b"0\r\n\r\n")
            sock.recv(1000)
        elif what == "stream and break":
            sock.sendall(b"5\r\nab")
        elif what == "stream and wait":
            time.sleep(60)
        else:
            os._exit(4)
        sock.close()
    else:
        answer(id, token)
    last = id
END
"""

pytestmark = pytest.mark.allow_log("a runtime broke the rules of the runtime API")


@pytest.fixture
def custom(world):
    function = world.function(runtime="provided.al2023", handler="x", files={"bootstrap!": RUNTIME}, Timeout=1, MemorySize=1769)
    answer = function.invoke(["fine", "first"], LogType="Tail")
    if answer.error and "env: " in (answer.tail or ""):
        pytest.skip("custom runtimes see no Python here")
    assert answer.json() == "first"
    return function


# What the caller gets where it is not the token: error type, or the kinds that are all right.
FATES = {
    "twice": None, "wrong id": None, "last id": None, "later": None, "garbage": None, "half-open": None, "two at once": None,
    "exit after": None, "init error": None,
    "half": "Runtime.TruncatedResponse",
    "half and wait": "Sandbox.Timedout",
    "never": "Sandbox.Timedout",
    "too many": "Sandbox.Timedout",
    "exit": "Runtime.ExitError",
}  # fmt: skip


# How the Runtime API answers what it refuses.
SAID = {"twice": [202, 403], "wrong id": [400, 400, 202], "last id": [400, 202], "init error": [403, 202]}


def test_rules_of_the_runtime_api(world, custom, scale):
    """Whatever a runtime does with one event, the next event's caller gets its own answer."""

    def call(what):
        token = uuid.uuid4().hex
        answer = custom.invoke([what, token])
        if FATES.get(what) is None:
            assert (answer.error, answer.json()) == (None, token), (what, answer)
        else:
            assert answer.error == "Unhandled" and answer.json()["errorType"] == FATES[what], (what, answer)
        said = custom.result(["said", None]) if what in SAID and alone else None
        assert said == (SAID.get(what) if alone else None), (what, said)
        token = uuid.uuid4().hex
        assert custom.result(["fine", token]) == token, what

    alone = True
    with world.during("a runtime that breaks the rules, one event after the other"):
        for what in FATES:
            call(what)
    alone = False
    whats = list(FATES) * scale(1, 15)
    with world.during("the same, eight at once"), ThreadPoolExecutor(8) as pool:
        list(pool.map(call, whats))


def test_responses_that_are_none(world, custom):
    assert custom.invoke(["not json", ""]).payload == b"\xff{not json"
    assert custom.fault(["huge error", ""])["errorType"]
    assert custom.result(["fine", "next"]) == "next"


def streamed(function, event):
    """`(payload, what completed it)` of a streamed answer."""
    response = function.client.invoke_with_response_stream(FunctionName=function.name, Payload=json.dumps(event))
    payload, complete = b"", None
    for event in response["EventStream"]:
        assert complete is None
        if "PayloadChunk" in event:
            payload += event["PayloadChunk"]["Payload"]
        else:
            complete = event["InvokeComplete"]
    return payload, complete


def test_streams_that_break(world, custom, scale):
    fates = {
        "stream": None,
        "stream and break": "Runtime.TruncatedResponse",
        "stream and wait": "Sandbox.Timedout",
        # either shows first
        "stream and exit": "Runtime.ExitError Runtime.TruncatedResponse",
        "exit": "Runtime.ExitError",
        "half": "Runtime.TruncatedResponse",
    }

    def call(what):
        token = uuid.uuid4().hex
        payload, complete = streamed(custom, [what, token])
        if "stream" in what:
            # the part of a chunk counts, too
            rest = b"ab" if what == "stream and break" else b""
            assert payload == json.dumps(token).encode() + rest, (what, payload)
        if fates[what]:
            assert complete["ErrorCode"] == "Unhandled", (what, complete)
            assert json.loads(complete["ErrorDetails"])["errorType"] in fates[what].split(), (what, complete)
        else:
            assert "ErrorCode" not in complete, complete
        token = uuid.uuid4().hex
        assert custom.result(["fine", token]) == token, what

    with world.during("streams that break off"), ThreadPoolExecutor(6) as pool:
        list(pool.map(call, list(fates) * scale(2, 20)))
