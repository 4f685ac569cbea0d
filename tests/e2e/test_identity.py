"""Functions as callers: the server's APIs inside sandboxes, and the credentials of roles."""

import json
import re

import boto3
import pytest
from botocore.credentials import Credentials

from harness.functions import ROLE
from harness.vendored import boto3_files

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

def handler(event, context):
    action = event.get("action", "call")
    if action == "env":
        return dict(os.environ)
    return {"call": call, "fetch": fetch, "flood": flood}[action](event)
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
