"""What a user does with the AWS CLI, in order, on one server."""

import base64
import json
import re
import shutil
import subprocess

import pytest

from harness.functions import UUID, python, zip_of
from harness.paths import HELLO_PYTHON

NAME = "walk"


@pytest.fixture
def package(server):
    path = server.work / "function.zip"
    path.write_bytes(zip_of({"app.py": HELLO_PYTHON.read_text()}))
    yield path
    path.unlink()


def test_walkthrough(server, package):
    aws = server.aws
    assert aws("sts", "get-caller-identity")["Account"] == "000000000000"

    created = aws(
        "lambda", "create-function", "--function-name", NAME, "--runtime", python(), "--handler", "app.handler",
        "--role", "arn:aws:iam::000000000000:role/lambda", "--zip-file", "fileb://%s" % package,
        "--environment", "Variables={STAGE=test}", "--description", "a walk", "--tags", "team=blue",
    )  # fmt: skip
    server.functions.add(NAME)
    assert created["State"] == "Pending"
    assert created["FunctionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:walk"
    aws("lambda", "wait", "function-active-v2", "--function-name", NAME)
    got = aws("lambda", "get-function", "--function-name", NAME)
    assert got["Configuration"]["State"] == "Active"
    assert got["Tags"] == {"team": "blue"}

    def invoke(payload, *options):
        answer = server.work / "answer.json"
        said = aws("lambda", "invoke", "--function-name", NAME, "--payload", payload, *options, str(answer))
        text = answer.read_text()
        answer.unlink()
        return said, text

    said, text = invoke('{"name": "world"}', "--log-type", "Tail")
    assert (said["StatusCode"], said["ExecutedVersion"]) == (200, "$LATEST")
    answer = json.loads(text)
    assert answer["message"] == "Hello, world!"
    assert "python" + answer["python"].rpartition(".")[0] == python()
    tail = base64.b64decode(said["LogResult"]).decode()
    assert re.search(r"^REPORT RequestId: %s\tDuration: [\d.]+ ms\t" % UUID, tail, re.M), tail
    assert "greeting world from walk\n" in tail

    groups = aws("logs", "describe-log-groups")["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["/aws/lambda/walk"]
    streams = aws("logs", "describe-log-streams", "--log-group-name", "/aws/lambda/walk")["logStreams"]
    assert re.fullmatch(r"\d{4}/\d\d/\d\d/\[\$LATEST\][0-9a-f]{32}", streams[0]["logStreamName"])
    events = aws(
        "logs", "get-log-events", "--log-group-name", "/aws/lambda/walk", "--log-stream-name",
        streams[0]["logStreamName"], "--start-from-head",
    )["events"]  # fmt: skip
    text = "".join(event["message"] for event in events)
    assert text.index("INIT_START") < text.index("START RequestId") < text.index("greeting") < text.index("REPORT")

    changed = server.work / "changed.zip"
    changed.write_bytes(zip_of({"app.py": "def handler(e, c):\n    return 'changed'\n"}))
    updated = aws("lambda", "update-function-code", "--function-name", NAME, "--zip-file", "fileb://%s" % changed)
    changed.unlink()
    assert updated["CodeSha256"] != created["CodeSha256"]
    aws("lambda", "wait", "function-updated-v2", "--function-name", NAME)
    assert invoke("{}")[1] == '"changed"'

    aws(
        "lambda", "update-function-configuration", "--function-name", NAME, "--timeout", "7",
        "--environment", '{"Variables":{"STAGE":"two"}}',
    )  # fmt: skip
    aws("lambda", "wait", "function-updated-v2", "--function-name", NAME)
    configuration = aws("lambda", "get-function-configuration", "--function-name", NAME)
    assert (configuration["Timeout"], configuration["Environment"]) == (7, {"Variables": {"STAGE": "two"}})

    listed = aws("lambda", "list-functions")["Functions"]
    assert [function["FunctionName"] for function in listed] == [NAME]

    aws("lambda", "delete-function", "--function-name", NAME)
    server.functions.discard(NAME)
    assert aws("lambda", "list-functions")["Functions"] == []
    gone = aws("lambda", "get-function", "--function-name", NAME, check=False)
    assert gone.returncode in (254, 255)
    assert (
        "An error occurred (ResourceNotFoundException) when calling the GetFunction operation: Function not found: "
        "arn:aws:lambda:us-east-1:000000000000:function:walk" in gone.stderr
    )


def test_cli_v2(server, package):
    program = shutil.which("aws", path="/usr/bin:/usr/local/bin")
    if program is None or not subprocess.run([program, "--version"], capture_output=True, text=True).stdout.startswith(
        "aws-cli/2"
    ):
        pytest.skip("AWS CLI v2 is not installed")

    def aws(*arguments):
        return server.aws("--endpoint-url", server.endpoint, *arguments, program=program)

    aws(
        "lambda", "create-function", "--function-name", "two", "--runtime", python(), "--handler", "app.handler",
        "--role", "arn:aws:iam::000000000000:role/lambda", "--zip-file", "fileb://%s" % package,
    )  # fmt: skip
    server.functions.add("two")
    aws("lambda", "wait", "function-active-v2", "--function-name", "two")
    answer = server.work / "answer.json"
    aws(
        "lambda", "invoke", "--function-name", "two", "--cli-binary-format", "raw-in-base64-out",
        "--payload", '{"name": "two"}', str(answer),
    )  # fmt: skip
    assert json.loads(answer.read_text())["message"] == "Hello, two!"
    answer.unlink()
    aws("lambda", "delete-function", "--function-name", "two")
    server.functions.discard("two")
