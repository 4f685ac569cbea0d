"""Invoke: what goes in, what comes out, what is printed."""

import base64
import json
import re
import threading

import pytest
from botocore.exceptions import ClientError

from harness.functions import UUID
from test_functions import refused

LIMIT = 6 * 1024 * 1024

PROBE = '''
import json, os, sys, time, uuid
STARTED = uuid.uuid4().hex
CALLS = 0
def handler(event, context):
    global CALLS
    CALLS += 1
    action = event.get("action") if isinstance(event, dict) else None
    if action == "env":
        return dict(os.environ)
    if action == "identity":
        return {"environment": STARTED, "calls": CALLS}
    if action == "hold":
        time.sleep(event["seconds"])
        return {"environment": STARTED, "calls": CALLS}
    if action == "context":
        return {"id": context.aws_request_id, "arn": context.invoked_function_arn, "left": context.get_remaining_time_in_millis(),
                "client": context.client_context and [context.client_context.custom, context.client_context.env],
                "identity": context.identity.cognito_identity_id, "name": context.function_name,
                "version": context.function_version, "memory": context.memory_limit_in_mb,
                "group": context.log_group_name, "stream": context.log_stream_name,
                "trace": os.environ.get("_X_AMZN_TRACE_ID")}
    if action == "size":
        return "x" * event["size"]
    if action == "write":
        with open(event["path"], "w") as out:
            out.write(event["text"])
        return os.listdir("/tmp")
    if action == "read":
        return open(event["path"]).read()
    if action == "print":
        for line in event["lines"]:
            print(line)
        return None
    return event
'''


@pytest.fixture(scope="module")
def probe(create_for_module):
    return create_for_module(PROBE, name="probe", Timeout=20, env={"MINE": "yes", "TZ": "Europe/Paris"})


@pytest.fixture(autouse=True)
def fresh_client(server, probe):
    # the leak check between tests closes clients
    probe.client = server.client("lambda")


@pytest.mark.parametrize(
    "payload",
    [b"{}", b'{"a": [1, 2.5, null, true, "\xc3\xa9"]}', b"null", b"1", b'"text"', b"[]", b' {"a" : 1}\n',
     b'{"big": 123456789012345678901234567890, "deep": ' + b"[" * 400 + b"]" * 400 + b"}"],
)  # fmt: skip
def test_event_and_response(probe, payload):
    answer = probe.invoke(payload)
    assert (answer.status, answer.error, answer.version) == (200, None, "$LATEST")
    assert answer.json() == json.loads(payload)
    assert answer.headers["content-type"] == "application/json"
    assert re.fullmatch(UUID, answer.request_id)
    assert "x-amz-log-result" not in answer.headers


def test_no_payload_is_an_empty_object(probe):
    assert probe.invoke().json() == {}
    assert probe.invoke(b"").json() == {}


def test_dry_run(probe):
    answer = probe.invoke({}, InvocationType="DryRun")
    assert (answer.status, answer.payload, answer.version) == (204, b"", None)


def test_event_type_is_not_silently_taken(probe):
    code, status, _ = refused(probe.client.invoke, FunctionName=probe.name, InvocationType="Event", Payload=b"{}")
    assert (code, status) == ("NotImplementedException", 501)


@pytest.mark.parametrize("payload", [b"{", b"nope", b"{'a': 1}", b'{"a": 1} x', b"\xff"])
def test_bad_json(probe, payload):
    code, status, message = refused(probe.client.invoke, FunctionName=probe.name, Payload=payload)
    assert (code, status) == ("InvalidRequestContentException", 400)
    assert message.startswith("Could not parse request body into json: ")


def test_context(probe):
    client_context = {"custom": {"k": "é"}, "env": {"e": "1"}, "client": {"app_title": "t"}}
    answer = probe.invoke(
        {"action": "context"},
        ClientContext=base64.b64encode(json.dumps(client_context).encode()).decode(),
        Qualifier="$LATEST",
    )
    context = answer.json()
    assert context["id"] == answer.request_id
    assert context["arn"] == "arn:aws:lambda:us-east-1:000000000000:function:probe:$LATEST"
    assert 18000 < context["left"] <= 20000
    assert context["client"] == [{"k": "é"}, {"e": "1"}]
    assert (context["identity"], context["name"], context["version"]) == (None, "probe", "$LATEST")
    assert (context["memory"], context["group"]) == ("512", "/aws/lambda/probe")
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", context["stream"])
    assert re.fullmatch(r"Root=1-[0-9a-f]{8}-[0-9a-f]{24};.*", context["trace"])


def test_trace_id_is_passed_on(server, probe):
    header = "Root=1-5759e988-bd862e3fe1be46a994272793;Parent=53995c3f42cd8ad8;Sampled=1"
    response = server.http(
        "POST",
        "/2015-03-31/functions/probe/invocations",
        {"X-Amzn-Trace-Id": header},
        b'{"action": "context"}',
    )
    assert response.json()["trace"].startswith("Root=1-5759e988-bd862e3fe1be46a994272793")


def test_environment_variables(probe):
    env = probe.result({"action": "env"})
    assert env["MINE"] == "yes"
    expected = {
        "_HANDLER": "app.handler",
        "AWS_REGION": "us-east-1",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_LAMBDA_FUNCTION_NAME": "probe",
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
        "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/probe",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "LAMBDA_TASK_ROOT": "/var/task",
        "LAMBDA_RUNTIME_DIR": "/var/runtime",
        "LANG": "en_US.UTF-8",
    }
    assert {name: env.get(name) for name in expected} == expected
    assert env["AWS_EXECUTION_ENV"].startswith("AWS_Lambda_python3.")
    for name in ("AWS_LAMBDA_RUNTIME_API", "PATH", "LD_LIBRARY_PATH"):
        assert env.get(name), name
    assert not [name for name in env if "LAMBKIN" in name]


def test_credentials_of_the_role(server, probe):
    """test_identity.py has what they are good for."""
    env = probe.result({"action": "env"})
    assert {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"} <= set(env)
    assert env["AWS_ENDPOINT_URL"] == server.endpoint


@pytest.mark.parametrize("size", [0, 1000, 100_000, LIMIT - 2])
def test_response_sizes(probe, size):
    assert probe.invoke({"action": "size", "size": size}).payload == b'"' + b"x" * size + b'"'


def test_response_too_large(probe):
    answer = probe.invoke({"action": "size", "size": LIMIT + 101}, LogType="Tail")
    assert answer.error == "Unhandled"
    assert answer.json() == {
        "errorType": "Function.ResponseSizeTooLarge",
        "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
    }
    # the environment has survived it
    assert probe.result({"after": 1}) == {"after": 1}


def test_request_sizes(probe):
    payload = b'"' + b"y" * (LIMIT - 2) + b'"'
    assert probe.invoke(payload).payload == payload
    code, status, message = refused(probe.client.invoke, FunctionName=probe.name, Payload=payload + b" ")
    assert (code, status) == ("RequestEntityTooLargeException", 413)
    assert message == "Request must be smaller than 6291456 bytes for the InvokeFunction operation"


def test_temporary_folder_stays_with_the_environment(create):
    function = create(PROBE)
    assert function.result({"action": "write", "path": "/tmp/a", "text": "kept"}) == ["a"]
    assert function.result({"action": "read", "path": "/tmp/a"}) == "kept"
    function.update(Description="a new revision has new environments")
    assert function.fault({"action": "read", "path": "/tmp/a"})["errorType"] == "FileNotFoundError"


def test_an_environment_is_reused(create):
    function = create(PROBE)
    seen = [function.result({"action": "identity"}) for _ in range(5)]
    assert [one["calls"] for one in seen] == [1, 2, 3, 4, 5]
    assert len({one["environment"] for one in seen}) == 1


def test_concurrent_events_have_environments_of_their_own(create):
    function = create(PROBE)
    count = 8
    results = []

    def one():
        results.append(function.result({"action": "hold", "seconds": 1.5}))

    threads = [threading.Thread(target=one) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({result["environment"] for result in results}) == count
    assert {result["calls"] for result in results} == {1}
    # afterwards they are there for more
    again = function.result({"action": "identity"})
    assert again["environment"] in {result["environment"] for result in results}
    assert again["calls"] == 2


def test_answers_are_not_mixed_up(create):
    function = create(PROBE)
    wrong = []

    def many(n):
        for i in range(50):
            payload = {"n": n, "i": i, "pad": "p" * ((n * 50 + i) * 37 % 3000)}
            if function.result(payload) != payload:
                wrong.append(payload)

    threads = [threading.Thread(target=many, args=(n,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


START = r"START RequestId: (?P<id>%s) Version: \$LATEST\n" % UUID
END = r"END RequestId: (?P=id)\n"
REPORT = (
    r"REPORT RequestId: (?P=id)\tDuration: (?P<duration>\d+\.\d\d) ms\tBilled Duration: (?P<billed>\d+) ms\t"
    r"Memory Size: 512 MB\tMax Memory Used: (?P<used>\d+) MB\t(Init Duration: (?P<init>\d+\.\d\d) ms\t)?\n"
)


def test_log_tail(create):
    function = create(PROBE)
    for cold in (True, False):
        answer = function.invoke({"action": "print", "lines": ["one", "two é"]}, LogType="Tail")
        match = re.search(START + r"one\ntwo é\n" + END + REPORT + r"$", answer.tail)
        assert match, answer.tail
        assert match["id"] == answer.request_id
        assert bool(match["init"]) == cold
        assert float(match["billed"]) >= float(match["duration"]) and 1 < int(match["used"]) < 200
    answer = function.invoke({"action": "print", "lines": ["x" * 99] * 100}, LogType="Tail")
    assert len(answer.tail.encode()) <= 4096
    assert "REPORT RequestId" in answer.tail and "START" not in answer.tail
    assert function.invoke({}, LogType="None").tail is None


def test_logs_in_cloudwatch(create):
    function = create(PROBE)
    answer = function.invoke({"action": "print", "lines": ["hello log"]})
    messages = function.logs(until="REPORT")
    text = "".join(messages)
    pattern = r"INIT_START Runtime Version: python:3\.\d+\.\d+[^\n]*\n" + START + r"hello log\n" + END + REPORT
    match = re.search(pattern, text)
    assert match and match["id"] == answer.request_id, text
    assert [m for m in messages if m.startswith("START RequestId")]


def test_caller_that_hangs_up_costs_no_environment(server, create):
    function = create(PROBE)
    first = function.result({"action": "identity"})
    hasty = server.client("lambda", read_timeout=0.5)
    with pytest.raises(Exception, match="[Tt]imeout|timed out"):
        hasty.invoke(FunctionName=function.name, Payload=json.dumps({"action": "hold", "seconds": 1.5}).encode())
    function.logs(until="REPORT RequestId", seconds=20)
    import time

    time.sleep(1.5)
    after = function.result({"action": "identity"})
    assert after["environment"] == first["environment"]


def test_unknown_members_are_ignored_by_the_real_client(client):
    with pytest.raises(ClientError) as caught:
        client.invoke(FunctionName="no body")
    assert caught.value.response["Error"]["Code"] == "ValidationException"
