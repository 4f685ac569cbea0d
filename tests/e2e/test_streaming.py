"""InvokeWithResponseStream: the response as it is made."""

import base64
import json
import threading
import time

import pytest

from harness.paths import HELLO_RUST
from test_functions import refused
from test_node import NEW, NODES, OLD

pytestmark = pytest.mark.allow_log("AWS no longer offers this runtime")

node = pytest.mark.skipif(not NODES, reason="no Node.js on this host")
both_kinds = pytest.mark.parametrize("runtime", OLD[-1:] + NEW[:1])

STREAMING = """
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
let last;
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event.last) { stream.end(JSON.stringify(last)); return; }
  if (event.http) stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
  for (let i = 0; i < (event.count ?? 2); i++) {
    if (i) await sleep(event.ms ?? 0);
    stream.write('part ' + i + '\\n');
  }
  if (event.fail) throw new RangeError('midway');
  // what is still on its way at a sudden end is lost, on AWS too
  if (event.loose) { setTimeout(() => { throw new TypeError('loose'); }, 500); await sleep(5000); }
  if (event.exit) { await sleep(500); process.exit(3); }
  if (event.hang) await sleep(60000);
  if (event.size) {
    // keeps to the pace of the reader
    const block = Buffer.alloc(1 << 20, 'x');
    let waited = 0, ticks = 0;
    const timer = setInterval(() => { ticks += 1; }, 5);
    for (let left = event.size; left > 0; left -= block.length) {
      if (!stream.write(left < block.length ? block.subarray(0, left) : block)) {
        waited += 1;
        await new Promise((resolve) => stream.once('drain', resolve));
      }
    }
    clearInterval(timer);
    last = { waited, ticks };
  }
  stream.end();
});
"""


@pytest.fixture
def make(create):
    def make(runtime, source=STREAMING, **options):
        return create(files={"index.js": source}, runtime=runtime, handler="index.handler", **options)

    return make


class Streamed:
    """An answer, its events taken as they come."""

    def __init__(self, function, event, **options):
        client = function.server.client("lambda")
        options.setdefault("LogType", "Tail")
        self.begun = time.monotonic()
        self.response = client.invoke_with_response_stream(FunctionName=function.name, Payload=json.dumps(event), **options)
        self.chunks = []
        self.complete = None
        for event in self.response["EventStream"]:
            assert self.complete is None, "an event after InvokeComplete"
            if "PayloadChunk" in event:
                self.chunks.append((time.monotonic() - self.begun, event["PayloadChunk"]["Payload"]))
            else:
                self.complete = event["InvokeComplete"]
        assert self.complete is not None
        self.payload = b"".join(chunk for _, chunk in self.chunks)

    @property
    def tail(self):
        return base64.b64decode(self.complete["LogResult"]).decode()

    @property
    def error(self):
        assert self.complete["ErrorCode"] == "Unhandled"
        return json.loads(self.complete["ErrorDetails"])


@node
@both_kinds
def test_parts_come_as_they_are_written(make, runtime):
    function = make(runtime)
    function.invoke({})
    answer = Streamed(function, {"count": 4, "ms": 300})
    assert answer.response["StatusCode"] == 200 and answer.response["ExecutedVersion"] == "$LATEST"
    assert answer.response["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    assert answer.payload == b"part 0\npart 1\npart 2\npart 3\n"
    # the first long before the last
    assert answer.chunks[-1][0] - answer.chunks[0][0] > 0.6
    assert "ErrorCode" not in answer.complete and "ErrorDetails" not in answer.complete
    assert "REPORT RequestId: " + answer.response["ResponseMetadata"]["RequestId"] in answer.tail
    assert Streamed(function, {"http": True}).payload.startswith(b'{"statusCode":201}' + bytes(8))
    assert Streamed(function, {"count": 0}).chunks == []
    # a whole answer of the same function
    assert function.invoke({}).payload == b"part 0\npart 1\n"


@node
@both_kinds
def test_errors_after_parts(make, runtime):
    function = make(runtime)
    answer = Streamed(function, {"fail": True})
    assert answer.payload == b"part 0\npart 1\n"
    assert (answer.error["errorType"], answer.error["errorMessage"]) == ("RangeError", "midway")
    assert Streamed(function, {"count": 1}).payload == b"part 0\n"
    answer = Streamed(function, {"exit": True, "ms": 50})
    assert answer.payload == b"part 0\npart 1\n"
    assert answer.error["errorType"] == "Runtime.ExitError" and "exit status 3" in answer.error["errorMessage"]
    answer = Streamed(function, {"loose": True})
    assert answer.payload == b"part 0\npart 1\n"
    assert answer.error["errorType"] == ("TypeError" if runtime in OLD else "Runtime.ExitError")
    assert Streamed(function, {"count": 1}).payload == b"part 0\n"


@node
def test_time_is_over_after_parts(make):
    function = make(NODES[-1], Timeout=1)
    answer = Streamed(function, {"hang": True})
    assert answer.payload == b"part 0\npart 1\n"
    assert answer.error["errorType"] == "Sandbox.Timedout" and "Task timed out after 1.00 seconds" in answer.error["errorMessage"]
    assert Streamed(function, {"count": 1}).payload == b"part 0\n"


@node
@both_kinds
def test_more_than_an_invoke_can_answer(make, runtime):
    function = make(runtime, MemorySize=256, Timeout=60)
    answer = Streamed(function, {"count": 0, "size": 64 << 20})
    assert len(answer.payload) == 64 << 20 and "ErrorCode" not in answer.complete
    assert max(len(chunk) for _, chunk in answer.chunks) <= 128 << 10
    assert int(answer.tail.split("Max Memory Used: ")[1].split()[0]) < 200
    assert function.fault({"count": 0, "size": 7 << 20})["errorType"] == "Function.ResponseSizeTooLarge"


@node
def test_the_limit_of_a_streamed_response(make):
    function = make(NODES[-1], MemorySize=1769, Timeout=60)
    answer = Streamed(function, {"count": 0, "size": 201 << 20})
    assert len(answer.payload) <= 200 << 20
    assert answer.error["errorType"] == "Function.ResponseSizeTooLarge"
    assert Streamed(function, {"count": 1}).payload == b"part 0\n"


@node
def test_a_slow_reader_slows_the_function(make):
    """... and holds up neither its event loop nor other functions."""
    function = make(NODES[-1], MemorySize=1769, Timeout=60)
    other = make(NODES[-1])
    client = function.server.client("lambda")
    response = client.invoke_with_response_stream(
        FunctionName=function.name, Payload=json.dumps({"count": 0, "size": 100 << 20})
    )
    time.sleep(1)
    assert Streamed(other, {"count": 1}).payload == b"part 0\n"
    assert sum(len(event["PayloadChunk"]["Payload"]) for event in response["EventStream"] if "PayloadChunk" in event) == 100 << 20
    seen = json.loads(Streamed(function, {"last": True}).payload)
    assert seen["waited"] > 50 and seen["ticks"] > 100, seen


@node
def test_a_caller_that_hangs_up_costs_nothing_but_the_answer(make):
    function = make(NODES[-1], source=STREAMING.replace("let last;", "let last; const born = Math.random();").replace(
        "JSON.stringify(last)", "JSON.stringify(born)"))
    before = Streamed(function, {"last": True}).payload
    client = function.server.client("lambda")
    response = client.invoke_with_response_stream(FunctionName=function.name, Payload=json.dumps({"count": 5, "ms": 200, "size": 3 << 20}))
    stream = iter(response["EventStream"])
    assert next(stream)["PayloadChunk"]["Payload"] == b"part 0\n"
    response["EventStream"].close()
    function.logs(until="REPORT")
    deadline = time.monotonic() + 10
    while (after := Streamed(function, {"last": True}).payload) != before:
        assert time.monotonic() < deadline, "the environment was lost"
        time.sleep(0.2)
    assert after == before


@node
def test_handlers_that_do_not_stream(make, create):
    answer = Streamed(make(NODES[-1], "exports.handler = async (event) => ({ event });"), {"a": 1})
    assert answer.payload == b'{"event":{"a":1}}' and "ErrorCode" not in answer.complete
    python = create("def handler(event, context):\n    return event if event else 1 / 0\n")
    assert Streamed(python, "x" * 300_000).payload == b'"' + b"x" * 300_000 + b'"'
    answer = Streamed(python, None)
    assert answer.chunks == [] and answer.error["errorType"] == "ZeroDivisionError"


def test_aws_own_client_for_rust(create):
    function = create(runtime="provided.al2023", handler="x", files={"bootstrap!": HELLO_RUST.read_bytes()})
    answer = Streamed(function, {"action": "stream", "count": 4, "ms": 300})
    lines = b"".join(b"line %d\n" % at for at in range(4))
    # it begins every stream with a prelude, for function URLs
    assert answer.payload.endswith(lines) and bytes(8) in answer.payload
    assert answer.chunks[-1][0] - answer.chunks[0][0] > 0.6
    assert function.invoke({"action": "stream", "count": 4}).payload == answer.payload
    assert Streamed(function, {"name": "you"}).payload.startswith(b'{"message":"Hello, you!"')
    assert Streamed(function, {"action": "fail"}).error["errorMessage"] == "told to fail"


RAW = """#!/bin/sh
exec /usr/bin/env python3 - <<'END'
import base64, http.client, json, os, time
host = os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    api = http.client.HTTPConnection(host)
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    event = api.getresponse()
    how = json.loads(event.read())
    api.putrequest("POST", "/2018-06-01/runtime/invocation/%s/response" % event.headers["Lambda-Runtime-Aws-Request-Id"])
    for header in ("Lambda-Runtime-Function-Response-Mode: streaming", "Transfer-Encoding: chunked",
                   "Trailer: Lambda-Runtime-Function-Error-Type", "Trailer: Lambda-Runtime-Function-Error-Body"):
        api.putheader(*header.split(": "))
    api.endheaders()
    for part in (b"one ", b"two "):
        api.send(b"%x\\r\\n%s\\r\\n" % (len(part), part))
        time.sleep(0.1)
    if how == "cut":
        api.close()
        continue
    api.send(b"0\\r\\n")
    if how == "fail":
        body = base64.b64encode(b'{"errorMessage":"m","errorType":"My.Error"}')
        api.send(b"Lambda-Runtime-Function-Error-Type: My.Error\\r\\nLambda-Runtime-Function-Error-Body: " + body + b"\\r\\n")
    api.send(b"\\r\\n")
    assert api.getresponse().status == 202
END
"""


def test_the_runtime_api(create):
    function = create(runtime="provided.al2023", handler="x", files={"bootstrap!": RAW})
    answer = Streamed(function, "ok")
    if answer.complete.get("ErrorCode") and "env: " in answer.tail:
        pytest.skip("custom runtimes see no Python here")
    assert answer.payload == b"one two " and "ErrorCode" not in answer.complete
    answer = Streamed(function, "fail")
    assert answer.payload == b"one two " and answer.error == {"errorMessage": "m", "errorType": "My.Error"}
    answer = Streamed(function, "cut")
    assert answer.payload == b"one two " and answer.error["errorType"] == "Runtime.TruncatedResponse"
    assert Streamed(function, "ok").payload == b"one two "
    assert function.invoke("ok").payload == b"one two "
    assert function.fault("fail") == {"errorMessage": "m", "errorType": "My.Error"}


def test_refusals(client, create):
    call = client.invoke_with_response_stream
    assert refused(call, FunctionName="nothing-of-the-kind")[:2] == ("ResourceNotFoundException", 404)
    function = create()
    assert refused(call, FunctionName=function.name, Payload=b"{")[:2] == ("InvalidRequestContentException", 400)
    large = b'"' + b"x" * (6 << 20) + b'"'
    assert refused(call, FunctionName=function.name, Payload=large)[:2] == ("RequestEntityTooLargeException", 413)
    assert call(FunctionName=function.name, InvocationType="DryRun")["StatusCode"] == 204


@node
def test_many_at_once(make):
    function = make(NODES[-1], MemorySize=256)
    failures = []

    def one(at):
        try:
            answer = Streamed(function, {"count": 3 + at % 3, "ms": 20, "size": 300_000})
            expected = b"".join(b"part %d\n" % n for n in range(3 + at % 3)) + b"x" * 300_000
            assert answer.payload == expected
        except Exception as error:
            failures.append(error)

    threads = [threading.Thread(target=one, args=(at,)) for at in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
