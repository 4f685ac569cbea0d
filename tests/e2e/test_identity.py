"""Functions as callers: the server's APIs inside sandboxes, and the credentials of roles."""

import json
import re
import socket
import subprocess
import time

import pytest
from botocore.credentials import Credentials

from harness import leaks
from harness.functions import ROLE, Factory
from harness.vendored import boto3_files
from test_functions import refused

ACCOUNT = "000000000000"

AGENT = '''
import json, os, socket, sys, threading, time, urllib.error, urllib.request
import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

def plain(value):
    if hasattr(value, "read"):
        return value.read().decode()
    if isinstance(value, dict):
        return {name: plain(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)

def call(event):
    client = boto3.client(event["service"], config=Config(retries={"total_max_attempts": 1}), **event.get("client", {}))
    try:
        return {"ok": plain(getattr(client, event["operation"])(**event.get("parameters", {})))}
    except ClientError as error:
        return {"error": [error.response["Error"]["Code"], error.response["ResponseMetadata"]["HTTPStatusCode"],
                          error.response["Error"]["Message"]]}

def fetch(event):
    request = urllib.request.Request(event["url"], headers=event.get("headers", {}), method=event.get("method", "GET"))
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return [response.status, len(response.read())]
    except urllib.error.HTTPError as error:
        return [error.code, error.read().decode()]

def flood(event):
    """Opens connections until nothing more goes in, and leaves half a request on each."""
    address = ("127.0.0.1", event["port"])
    held, why = [], None
    while len(held) < event["count"]:
        try:
            one = socket.create_connection(address, timeout=2)
            one.sendall(event["say"].encode())
            held.append(one)
        except OSError as error:
            why = str(error)
            break
    globals()["held"] = held if event.get("keep") else None
    return [len(held), why]

def many(event):
    config = Config(max_pool_connections=event["threads"], read_timeout=50, retries={"total_max_attempts": 1})
    client = boto3.client("lambda", config=config)
    payload = json.dumps("x" * event["bytes"])
    answers = []
    def one():
        answers.append(json.loads(client.invoke(FunctionName=event["function"], Payload=payload)["Payload"].read()))
    threads = [threading.Thread(target=one) for _ in range(event["threads"])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers

def handler(event, context):
    action = event.get("action", "call")
    if action == "env":
        return dict(os.environ)
    return {"call": call, "fetch": fetch, "flood": flood, "many": many}[action](event)
'''

ECHO = '''
def handler(event, context):
    return {"got": event, "by": context.invoked_function_arn}
'''


def own_credentials(env):
    return Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_SESSION_TOKEN"])


@pytest.fixture(scope="module")
def agent(create_for_module):
    return create_for_module(files={"app.py": AGENT, **boto3_files()}, name="agent", MemorySize=1024, Timeout=60)


@pytest.fixture(autouse=True)
def fresh_client(request):
    # the leak check between tests closes clients
    if "agent" in request.fixturenames:
        function = request.getfixturevalue("agent")
        function.client = function.server.client("lambda")


def asks(function, service, operation, **parameters):
    return function.result({"service": service, "operation": operation, "parameters": parameters})


def succeeds(function, service, operation, **parameters):
    answer = asks(function, service, operation, **parameters)
    assert "ok" in answer, answer
    return answer["ok"]


def test_environment_variables(server, agent):
    env = agent.result({"action": "env"})
    assert re.fullmatch(r"ASIA[A-Z2-7]{16}", env["AWS_ACCESS_KEY_ID"])
    assert re.fullmatch(r"[A-Za-z0-9+/]{40}", env["AWS_SECRET_ACCESS_KEY"])
    assert 100 < len(env["AWS_SESSION_TOKEN"]) < 1000
    assert env["AWS_ENDPOINT_URL"] == "http://127.0.0.1:%d" % server.port
    assert (env["AWS_REGION"], env["AWS_DEFAULT_REGION"]) == ("us-east-1", "us-east-1")


def test_who_am_i(agent):
    identity = succeeds(agent, "sts", "get_caller_identity")
    assert identity["Account"] == ACCOUNT
    assert identity["Arn"] == "arn:aws:sts::%s:assumed-role/%s/agent" % (ACCOUNT, ROLE.rpartition("/")[2])
    assert re.fullmatch(r"AROA[A-Z0-9]{17}:agent", identity["UserId"])
    assert succeeds(agent, "sts", "get_caller_identity")["UserId"] == identity["UserId"]


def test_a_role_that_exists_is_known_by_its_id(server, create):
    iam = server.client("iam")
    trust = {"Version": "2012-10-17",
             "Statement": [{"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}]}  # fmt: skip
    role = iam.create_role(RoleName="known", Path="/team/", AssumeRolePolicyDocument=json.dumps(trust))["Role"]
    function = create("import os\ndef handler(event, context):\n    return dict(os.environ)\n", role=role["Arn"])
    identity = server.client("sts", credentials=own_credentials(function.result())).get_caller_identity()
    assert identity["UserId"] == "%s:%s" % (role["RoleId"], function.name)
    assert identity["Arn"] == "arn:aws:sts::%s:assumed-role/known/%s" % (ACCOUNT, function.name)
    # iam itself is not for functions
    refusal = refused(server.client("iam", credentials=own_credentials(function.result())).get_role, RoleName="known")
    assert refusal[:2] == ("AccessDenied", 403), refusal
    iam.delete_role(RoleName="known")


def test_invoke_another_function(agent, create):
    echo = create(ECHO)
    answer = succeeds(agent, "lambda", "invoke", FunctionName=echo.name, Payload=json.dumps({"n": [1, "é"]}))
    assert (answer["StatusCode"], answer["ExecutedVersion"]) == (200, "$LATEST")
    assert json.loads(answer["Payload"]) == {
        "got": {"n": [1, "é"]},
        "by": "arn:aws:lambda:us-east-1:%s:function:%s" % (ACCOUNT, echo.name),
    }
    names = [one["FunctionName"] for one in succeeds(agent, "lambda", "list_functions")["Functions"]]
    assert {"agent", echo.name} <= set(names)


def test_logs(agent, create):
    group = "/identity/own"
    assert succeeds(agent, "logs", "create_log_group", logGroupName=group) is not None
    succeeds(agent, "logs", "create_log_stream", logGroupName=group, logStreamName="s")
    now = int(time.time() * 1000)
    succeeds(agent, "logs", "put_log_events", logGroupName=group, logStreamName="s",
             logEvents=[{"timestamp": now, "message": "from inside"}])  # fmt: skip
    found = succeeds(agent, "logs", "filter_log_events", logGroupName=group)
    assert [event["message"] for event in found["events"]] == ["from inside"]
    agent.server.client("logs").delete_log_group(logGroupName=group)


def denial(action, resource, function="agent"):
    return (
        "User: arn:aws:sts::%s:assumed-role/lambda/%s is not authorized to perform: %s on resource: %s "
        "because no identity-based policy allows the %s action" % (ACCOUNT, function, action, resource, action)
    )


def test_what_is_not_listed_is_denied(agent):
    arn = "arn:aws:lambda:us-east-1:%s:function:agent" % ACCOUNT
    assert asks(agent, "lambda", "delete_function", FunctionName="agent") == {
        "error": ["AccessDeniedException", 403, denial("lambda:DeleteFunction", arn)]
    }
    assert asks(agent, "lambda", "create_function", FunctionName="agent", Role=ROLE, Code={"ZipFile": "x"}) == {
        "error": ["AccessDeniedException", 403, denial("lambda:CreateFunction", arn)]
    }
    assert asks(agent, "logs", "delete_log_group", logGroupName="/aws/lambda/agent") == {
        "error": ["AccessDeniedException", 400,
                  denial("logs:DeleteLogGroup", "arn:aws:logs:us-east-1:%s:log-group:/aws/lambda/agent:log-stream:" % ACCOUNT)]
    }  # fmt: skip
    assert asks(agent, "sts", "assume_role", RoleArn=ROLE, RoleSessionName="more") == {
        "error": ["AccessDenied", 403,
                  denial("sts:AssumeRole", ROLE).partition(" because")[0]]
    }  # fmt: skip
    assert agent.result({"action": "env"})["AWS_LAMBDA_FUNCTION_NAME"] == "agent"


def test_other_accounts_are_out_of_reach(agent):
    arn = "arn:aws:lambda:us-east-1:123456789012:function:agent"
    code, status, text = asks(agent, "lambda", "invoke", FunctionName=arn)["error"]
    assert (code, status) == ("AccessDeniedException", 403)
    assert text == (
        "User: arn:aws:sts::%s:assumed-role/lambda/agent is not authorized to perform: lambda:InvokeFunction on resource: %s "
        "because no resource-based policy allows the lambda:InvokeFunction action" % (ACCOUNT, arn)
    )


def test_regions_are_kept_apart(agent):
    event = {"service": "lambda", "operation": "list_functions", "client": {"region_name": "eu-west-1"}}
    assert agent.result(event)["ok"]["Functions"] == []


def test_a_function_may_have_its_own_endpoint(create):
    function = create(
        "import os\ndef handler(event, context):\n    return os.environ['AWS_ENDPOINT_URL']\n",
        env={"AWS_ENDPOINT_URL": "http://127.0.0.1:1"},
    )
    assert function.result() == "http://127.0.0.1:1"


def test_links_work_on_both_sides(server, agent):
    inside = succeeds(agent, "lambda", "get_function", FunctionName="agent")
    outside = server.client("lambda").get_function(FunctionName="agent")
    size = outside["Configuration"]["CodeSize"]
    for location in inside["Code"]["Location"], outside["Code"]["Location"]:
        assert location.startswith(server.endpoint + "/")
        assert agent.result({"action": "fetch", "url": location}) == [200, size]
        assert server.http("GET", location[len(server.endpoint) :], sign=False).status == 200
    forged = inside["Code"]["Location"].replace("Signature=", "Signature=0")
    assert agent.result({"action": "fetch", "url": forged})[0] == 403


def test_administration_is_out_of_reach(server, agent):
    def fetch(path):
        return agent.result({"action": "fetch", "url": server.endpoint + path})

    assert fetch("/_lambkin/health")[0] == 200
    for path in "/_lambkin/", "/_lambkin/no-such-thing", "/_lambkin/health/x", "/_lambkin/health%2F..":
        assert fetch(path)[0] == 403, path


def test_the_host_is_out_of_reach_all_the_same(server, create):
    """Only what the server serves there is on the sandbox's loopback."""
    other = create(
        "import socket\ndef handler(event, context):\n    socket.create_connection(('127.0.0.1', event), 2)\n", Timeout=10
    )
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        assert other.fault(listener.getsockname()[1])["errorType"] == "ConnectionRefusedError"
    assert other.result(server.port) is None


def test_custom_runtimes_are_callers_too(server, create):
    script = """#!/bin/sh
exec /usr/bin/env python3 - <<'END'
import json, os, sys, urllib.request
sys.path.insert(0, "/var/task")
import boto3
api = "http://%s/2018-06-01/runtime/invocation/" % os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    event = urllib.request.urlopen(api + "next")
    event.read()
    answer = boto3.client("sts").get_caller_identity()["Arn"]
    url = api + event.headers["Lambda-Runtime-Aws-Request-Id"] + "/response"
    urllib.request.urlopen(urllib.request.Request(url, json.dumps(answer).encode())).read()
END
"""
    function = create(
        runtime="provided.al2023", handler="x", files={"bootstrap!": script, **boto3_files()}, MemorySize=1024, Timeout=60
    )
    answer = function.invoke({}, LogType="Tail")
    if answer.error and "env: " in (answer.tail or ""):
        pytest.skip("custom runtimes see no Python here")
    assert answer.error is None, answer
    assert answer.json() == "arn:aws:sts::%s:assumed-role/lambda/%s" % (ACCOUNT, function.name)


def identity_of(server, credentials):
    return server.client("sts", credentials=credentials).get_caller_identity()["Arn"]


def test_tokens_fit_their_key_only(server, agent):
    good = own_credentials(agent.result({"action": "env"}))
    assert identity_of(server, good).endswith(":assumed-role/lambda/agent")
    swapped = good.token[:40] + ("A" if good.token[40] != "A" else "B") + good.token[41:]
    invalid = "The security token included in the request is invalid."
    for bad in (
        Credentials(good.access_key, good.secret_key, swapped),
        Credentials(good.access_key, good.secret_key, good.token[:-4]),
        Credentials(good.access_key, good.secret_key, None),
        Credentials("ASIA" + "A" * 16, good.secret_key, good.token),
        Credentials(*server.credentials().get_frozen_credentials()[:2], good.token),
    ):
        clients = {name: server.client(name, credentials=bad) for name in ("lambda", "logs", "sts")}
        assert refused(clients["lambda"].list_functions) == ("UnrecognizedClientException", 403, invalid)
        assert refused(clients["logs"].describe_log_groups) == ("UnrecognizedClientException", 400, invalid)
        assert refused(clients["sts"].get_caller_identity) == ("InvalidClientTokenId", 403, invalid)
    wrong = server.client("lambda", credentials=Credentials(good.access_key, "x" * 40, good.token))
    assert refused(wrong.list_functions)[:2] == ("InvalidSignatureException", 403)


def simple_agent(server):
    """A function that tells its variables."""
    factory = Factory(server)
    return factory("import os\ndef handler(event, context):\n    return dict(os.environ)\n"), factory


def test_sessions_outlive_a_restart(own_server, server):
    own_server.start()
    function, _ = simple_agent(own_server)
    before = own_credentials(function.result())
    me = "arn:aws:sts::%s:assumed-role/lambda/%s" % (ACCOUNT, function.name)
    assert identity_of(own_server, before) == me
    # what another server made counts for nothing
    assert refused(server.client("sts", credentials=before).get_caller_identity)[0] == "InvalidClientTokenId"
    own_server.stop()
    own_server.start()
    assert identity_of(own_server, before) == me
    function.client = own_server.client("lambda")
    after = own_credentials(function.result())
    assert after.access_key != before.access_key
    assert identity_of(own_server, after) == me
    own_server.stop()
    key = own_server.data_dir / "keys" / "session.key"
    assert key.stat().st_mode & 0o777 == 0o600
    key.unlink()
    own_server.start()
    assert refused(own_server.client("sts", credentials=after).get_caller_identity)[0] == "InvalidClientTokenId"


def test_secrets_are_written_nowhere(own_server):
    own_server.args += ["--log-level", "debug"]
    own_server.start()
    function, _ = simple_agent(own_server)
    env = function.result()
    credentials = own_credentials(env)
    own_server.client("lambda", credentials=credentials).list_functions()
    own_server.client("lambda", credentials=Credentials(credentials.access_key, "wrong", credentials.token))
    own_server.stop()
    held = {path: path.read_bytes() for path in own_server.work.rglob("*") if path.is_file()}
    assert own_server.log_path in held and len(held) > 5
    for secret in credentials.secret_key, credentials.token:
        found = [path for path, content in held.items() if secret.encode() in content]
        assert not found


def test_dev_mode(dev_server):
    factory = Factory(dev_server)
    function = factory(files={"app.py": AGENT, **boto3_files()}, name="dev-agent", MemorySize=1024, Timeout=60)
    try:
        assert succeeds(function, "sts", "get_caller_identity")["Arn"].endswith(":assumed-role/lambda/dev-agent")
        assert succeeds(function, "lambda", "get_function", FunctionName="dev-agent")["Configuration"]["Runtime"]
        assert asks(function, "lambda", "delete_function", FunctionName="dev-agent")["error"][:2] == [
            "AccessDeniedException",
            403,
        ]
        # any other credentials are taken, from inside too
        event = {"service": "sts", "operation": "get_caller_identity",
                 "client": {"aws_access_key_id": "x", "aws_secret_access_key": "y", "aws_session_token": "z"}}  # fmt: skip
        assert function.result(event)["ok"]["Arn"] == "arn:aws:iam::%s:root" % ACCOUNT
    finally:
        factory.clean()


HALF = "POST /2015-03-31/functions/agent/invocations HTTP/1.1\r\nHost: x\r\n"


def connections_of(server):
    return leaks.descriptors(server.process.pid).count("socket")


def test_a_flood_of_connections_harms_nobody_else(server, agent, create):
    echo = create(ECHO)
    assert echo.result({})["got"] == {}
    before = connections_of(server)
    taken, why = agent.result({"action": "flood", "port": server.port, "count": 900, "say": HALF, "keep": True})
    assert taken >= 256, (taken, why)
    # the sandbox may be frozen by now, with all of them half open
    assert connections_of(server) - before <= 256 + 4
    for _ in range(5):
        assert echo.result({"n": 1})["got"] == {"n": 1}
    assert server.client("sts").get_caller_identity()["Account"] == ACCOUNT
    # nobody is waited for for ever
    deadline = time.monotonic() + 60
    while connections_of(server) - before > 160:
        assert time.monotonic() < deadline, connections_of(server)
        time.sleep(0.2)
    # and it can call again once it lets go
    assert agent.result({"action": "flood", "port": server.port, "count": 0, "say": ""}) == [0, None]
    assert succeeds(agent, "sts", "get_caller_identity")["Account"] == ACCOUNT


def test_many_calls_at_once(agent, create):
    """More requests than connections, by far more bytes than one sandbox may make the server hold."""
    echo = create("def handler(event, context):\n    return len(event)\n", MemorySize=256)
    answer = agent.result({"action": "many", "function": echo.name, "threads": 16, "bytes": 6_000_000})
    assert answer == [6_000_000] * 16


def test_the_port_of_the_runtime_api_is_refused(own_server):
    own_server.port = 9001
    done = subprocess.run(own_server.command(), capture_output=True, text=True, env=own_server.environment(), timeout=30)
    assert done.returncode != 0
    assert "port 9001 is that of the Runtime API" in done.stderr and "panicked" not in done.stderr
