"""The Extensions API: programs of layers beside the runtime, and code of the function's own."""

import json
import time

import pytest

from harness.functions import Factory, zip_of
from harness.paths import EXTENSION_RUST, HELLO_RUST
from test_node import NODES
from test_rootless import WEAKER

pytestmark = pytest.mark.allow_log("AWS no longer offers this runtime")

API = """#!/usr/bin/env python3
import http.client, json, os, sys, time
HOST = os.environ["AWS_LAMBDA_RUNTIME_API"]
def call(method, path, headers=None, body=None):
    api = http.client.HTTPConnection(HOST)
    api.request(method, path, body, headers or {})
    answer = api.getresponse()
    text = answer.read().decode()
    return answer.status, dict(answer.headers), json.loads(text) if text[:1] == "{" else text
def register(events, name=os.path.basename(sys.argv[0]), **headers):
    return call("POST", "/2020-01-01/extension/register", {"Lambda-Extension-Name": name, **headers}, json.dumps({"events": events}))
def say(*values):
    print(*[json.dumps(v) if not isinstance(v, str) else v for v in values], flush=True)
"""

AGENT = API + """
status, headers, answer = register(["INVOKE", "SHUTDOWN"], **{"Lambda-Extension-Accept-Feature": "accountId"})
say("AGENT registered", status, answer)
say("AGENT env", sorted(k for k in os.environ if k in ("_HANDLER", "AWS_EXECUTION_ENV", "MINE", "AWS_REGION", "AWS_ACCESS_KEY_ID")))
open("/tmp/agent-was-here", "w").close()
me = {"Lambda-Extension-Identifier": headers["Lambda-Extension-Identifier"]}
say("AGENT telemetry", *call("PUT", "/2022-07-01/telemetry", me, "{}")[::2])
while True:
    status, headers, event = call("GET", "/2020-01-01/extension/event/next", me)
    say("AGENT event", event)
    if event["eventType"] == "SHUTDOWN":
        time.sleep(0.2)
        say("AGENT bye", event["shutdownReason"])
        sys.exit(0)
    time.sleep(float(os.environ.get("AGENT_SECONDS", "0")))
    say("AGENT done", event["requestId"])
    if os.environ.get("AGENT_EXIT"):
        sys.exit(5)
"""

HANDLER = """
import os, signal, sys, time
STARTED = os.path.exists("/tmp/agent-was-here")
signal.signal(signal.SIGTERM, lambda *a: (print("RUNTIME got SIGTERM", flush=True), sys.exit(0)))
def handler(event, context):
    if isinstance(event, dict) and event.get("hang"):
        time.sleep(60)
    if isinstance(event, dict) and event.get("exit"):
        os._exit(3)
    return [STARTED, event]
"""


@pytest.fixture
def layer(client):
    """Publishes layers that go with the test."""
    made = []

    def layer(files):
        answer = client.publish_layer_version(LayerName="ext-%d" % time.time_ns(), Content={"ZipFile": zip_of(files)})
        made.append(answer)
        return answer["LayerVersionArn"]

    yield layer
    for one in made:
        client.delete_layer_version(LayerName=one["LayerArn"], VersionNumber=one["Version"])


def sees_python(function):
    """Whether programs in sandboxes find a Python: else there is nothing to test with."""
    answer = function.invoke(1, LogType="Tail")
    if answer.error and ("env:" in (answer.tail or "") or "LaunchError" in str(answer.payload)):
        pytest.skip("programs in sandboxes see no Python here")
    return answer


def between(messages, start):
    return [message.strip() for message in messages if message.startswith(start)]


@pytest.mark.parametrize("kind", ["python", "node", "rust"])
def test_an_agent_beside_the_runtime(create, layer, kind):
    options = {
        "python": dict(source=HANDLER),
        "node": dict(runtime=NODES[-1] if NODES else None, handler="index.handler", files={
            "index.js": "const started = require('fs').existsSync('/tmp/agent-was-here'); exports.handler = async (e) => [started, e];"}),
        "rust": dict(runtime="provided.al2023", handler="x", files={"bootstrap!": HELLO_RUST.read_bytes()}),
    }[kind]
    if kind == "node" and not NODES:
        pytest.skip("no Node.js on this host")
    function = create(Layers=[layer({"extensions/agent!": AGENT})], env={"MINE": "1"}, **options)
    answer = sees_python(function)
    if kind != "rust":
        assert answer.json() == [True, 1], "the runtime did not wait for the extension"
    again = function.invoke({"name": "again"})
    assert again.error is None
    messages = function.logs(until="AGENT done " + again.request_id)
    arn = "arn:aws:lambda:us-east-1:"
    assert between(messages, "AGENT registered")[0].startswith('AGENT registered 200 {"functionName": "%s"' % function.name)
    assert '"accountId": ' in between(messages, "AGENT registered")[0]
    assert between(messages, "AGENT env") == ['AGENT env ["AWS_ACCESS_KEY_ID", "AWS_REGION", "MINE"]']
    assert 'AGENT telemetry 202 {"errorMessage": "Telemetry API is not supported", "errorType": "Telemetry.NotSupported"}' in between(messages, "AGENT")
    assert between(messages, "EXTENSION") == ["EXTENSION\tName: agent\tState: Ready\tEvents: [INVOKE,SHUTDOWN]"]
    events = [json.loads(message[12:]) for message in between(messages, "AGENT event")]
    assert [event["requestId"] for event in events] == [answer.request_id, again.request_id]
    assert all(event["eventType"] == "INVOKE" and event["invokedFunctionArn"].startswith(arn) for event in events)
    assert all(event["tracing"]["type"] == "X-Amzn-Trace-Id" and event["deadlineMs"] > time.time() * 1000 - 60000 for event in events)
    assert messages.index(next(m for m in messages if m.startswith("EXTENSION"))) < messages.index(next(m for m in messages if m.startswith("START")))
    # the environment ends
    function.update(MemorySize=640)
    messages = function.logs(until="AGENT bye")
    assert between(messages, "AGENT bye") == ["AGENT bye spindown"]
    if kind == "python":
        texts = [m.strip() for m in messages]
        assert texts.index("RUNTIME got SIGTERM") < texts.index("AGENT bye spindown")


def test_aws_own_client(create, layer):
    function = create(HANDLER, Layers=[layer({"extensions/agent!": EXTENSION_RUST.read_bytes()})])
    requests = [function.invoke(number, LogType="Tail").request_id for number in range(3)]
    messages = function.logs(until="extension: invoke " + requests[-1])
    arn = function.server.client("lambda").get_function(FunctionName=function.name)["Configuration"]["FunctionArn"]
    assert between(messages, "extension: invoke") == ["extension: invoke %s of %s" % (request, arn) for request in requests]
    assert between(messages, "EXTENSION") == ["EXTENSION\tName: agent\tState: Ready\tEvents: [INVOKE,SHUTDOWN]"]
    function.update(MemorySize=640)
    assert between(function.logs(until="extension: shutdown"), "extension: shutdown") == ["extension: shutdown spindown"]


def test_the_caller_does_not_wait_for_extensions(create, layer):
    function = create(HANDLER, Layers=[layer({"extensions/agent!": AGENT})], env={"AGENT_SECONDS": "1.5"})
    sees_python(function)
    begun = time.monotonic()
    answer = function.invoke(1)
    assert answer.json() == [True, 1] and time.monotonic() - begun < 1
    # the tail has the report, and so waits
    begun = time.monotonic()
    answer = function.invoke(2, LogType="Tail")
    assert answer.json() == [True, 2] and time.monotonic() - begun > 1.4
    assert "AGENT done " + answer.request_id in answer.tail
    report = answer.tail.split("REPORT ")[1]
    assert float(report.split("Duration: ")[1].split()[0]) > 1400


def test_extensions_that_take_too_long(create, layer):
    function = create(HANDLER, Layers=[layer({"extensions/agent!": AGENT})], env={"AGENT_SECONDS": "60"}, Timeout=1)
    answer = function.invoke(1)
    if answer.error:
        pytest.skip("programs in sandboxes see no Python here")
    messages = function.logs(until="REPORT")
    assert any("Task timed out after 1.00 seconds" in message for message in messages)
    assert function.invoke(2).json() == [True, 2]


@pytest.mark.parametrize("event, reason", [({"hang": True}, "timeout"), ({"exit": True}, "failure")])
def test_shutdown_says_why(create, layer, event, reason):
    function = create(HANDLER, Layers=[layer({"extensions/agent!": AGENT})], Timeout=2)
    sees_python(function)
    assert function.fault(event)["errorType"] == {"timeout": "Sandbox.Timedout", "failure": "Runtime.ExitError"}[reason]
    assert between(function.logs(until="AGENT bye"), "AGENT bye") == ["AGENT bye " + reason]
    assert function.invoke(1).json() == [True, 1]


@pytest.mark.parametrize(
    "files, error_type",
    [
        ({"extensions/agent!": API + "sys.exit(4)\n"}, "Extension.Crash"),
        ({"extensions/agent!": API + "register([]); sys.exit(4)\n"}, "Extension.Crash"),
        ({"extensions/agent": "not executable"}, "Extension.LaunchError"),
        ({"extensions/agent!": API + """
me = {"Lambda-Extension-Identifier": register(["INVOKE"])[1]["Lambda-Extension-Identifier"],
      "Lambda-Extension-Function-Error-Type": "Agent.ConfigInvalid"}
say(call("POST", "/2020-01-01/extension/init/error", me, "{}"))
time.sleep(60)
"""}, "Agent.ConfigInvalid"),
    ],
)
def test_failures_in_init(create, layer, files, error_type):
    function = create(HANDLER, Layers=[layer(files)])
    answer = function.invoke(1, LogType="Tail")
    if "env:" in (answer.tail or ""):
        pytest.skip("programs in sandboxes see no Python here")
    assert answer.error == "Unhandled" and answer.json()["errorType"] == error_type, answer.payload
    assert "EXTENSION\tName: agent\tState: " in answer.tail


def test_a_crash_after_the_answer(create, layer):
    function = create(HANDLER, Layers=[layer({"extensions/agent!": AGENT})], env={"AGENT_EXIT": "1"})
    answer = function.invoke(1)
    if answer.error:
        pytest.skip("programs in sandboxes see no Python here")
    assert answer.json() == [True, 1]
    assert any("Extension.Crash" in message for message in function.logs(until="Extension.Crash"))
    assert function.invoke(2).json() == [True, 2]


def test_an_internal_extension(create):
    function = create(API + """
import threading
answers = [register(["SHUTDOWN"], "inner"), register(["INVOKE"], "inner"), register([], "inner"), register(["NOTHING"], "x"),
           call("GET", "/2020-01-01/extension/event/next", {"Lambda-Extension-Identifier": "no"})]
me = {"Lambda-Extension-Identifier": answers[1][1]["Lambda-Extension-Identifier"]}
events = []
def follow():
    while True:
        events.append(call("GET", "/2020-01-01/extension/event/next", me)[2])
threading.Thread(target=follow, daemon=True).start()
def handler(event, context):
    late = register([], "late")
    time.sleep(0.1)
    return {"registered": [[a[0], a[2].get("errorType")] for a in answers], "late": [late[0], late[2]["errorType"]],
            "mine": [e["requestId"] for e in events][-1] == context.aws_request_id,
            "runtime": call("GET", "/2018-06-01/runtime/invocation/next")[0], "lost": call("GET", "/2020-01-01/extension/nothing")[0]}
""")
    for _ in range(3):
        assert function.result({}) == {
            "registered": [[403, "ShutdownEventNotSupportedForInternalExtension"], [200, None], [403, "Extension.AlreadyRegistered"],
                           [403, "Extension.InvalidEventType"], [403, "Extension.InvalidExtensionIdentifier"]],
            "late": [403, "Extension.RegistrationClosed"], "mine": True, "runtime": 403, "lost": 404,
        }  # fmt: skip
    assert any(m.startswith("EXTENSION\tName: inner\tState: Ready\tEvents: [INVOKE]") for m in function.logs(until="EXTENSION"))


def test_two_agents_of_two_layers(create, layer):
    agents = [layer({"extensions/one!": AGENT}), layer({"extensions/two!": AGENT, "extensions/folder/lib.py": ""})]
    function = create(HANDLER, Layers=agents)
    sees_python(function)
    messages = function.logs(until="EXTENSION\tName: two")
    assert sorted(between(messages, "EXTENSION")) == [
        "EXTENSION\tName: %s\tState: Ready\tEvents: [INVOKE,SHUTDOWN]" % name for name in ("one", "two")
    ]
    for number in range(5):
        assert function.invoke(number).json() == [True, number]


def test_the_server_waits_for_extensions_when_it_stops(own_server):
    own_server.start()
    client = own_server.client("lambda")
    arn = client.publish_layer_version(LayerName="agent", Content={"ZipFile": zip_of({"extensions/agent!": AGENT})})["LayerVersionArn"]
    function = Factory(own_server)(HANDLER, Layers=[arn])
    sees_python(function)
    own_server.stop()
    own_server.start()
    function = type(function)(own_server, function.name, own_server.client("lambda"))
    assert between(function.logs(until="AGENT bye"), "AGENT bye") == ["AGENT bye spindown"]


@pytest.mark.parametrize("user, args", [(12345, []), (None, ["--isolation", "process"])], ids=["user-namespaces", "process"])
def test_other_isolations(serve, user, args):
    for server in serve(user=user, args=args, cgroups=False):
        if args:
            server.allow("WARN .*isolation=process")
        else:
            server.allow(WEAKER)
        client = server.client("lambda")
        layer = client.publish_layer_version(LayerName="agent", Content={"ZipFile": zip_of({"extensions/agent!": AGENT})})
        function = Factory(server)(HANDLER.replace("/tmp/", "/tmp/"), Layers=[layer["LayerVersionArn"]])
        answer = sees_python(function)
        assert function.invoke(2).error is None
        messages = function.logs(until="AGENT done")
        assert between(messages, "EXTENSION") == ["EXTENSION\tName: agent\tState: Ready\tEvents: [INVOKE,SHUTDOWN]"]
        function.update(MemorySize=640)
        assert between(function.logs(until="AGENT bye"), "AGENT bye") == ["AGENT bye spindown"]
        function.delete()
        client.delete_layer_version(LayerName="agent", VersionNumber=1)
