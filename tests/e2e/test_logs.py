"""CloudWatch Logs: groups, streams, events."""

import time

import pytest

from harness.functions import UUID
from test_functions import refused

PRINTER = "def handler(event, context):\n    for line in event:\n        print(line)\n"


@pytest.fixture
def logs(server):
    return server.client("logs")


def test_groups_and_streams(create, logs):
    first, second = create(PRINTER, name="log-a"), create(PRINTER, name="log-b")
    for function in (first, second):
        function.result(["line"])
        function.logs(until="REPORT")
    groups = logs.describe_log_groups(logGroupNamePrefix="/aws/lambda/log-")["logGroups"]
    assert [group["logGroupName"] for group in groups] == ["/aws/lambda/log-a", "/aws/lambda/log-b"]
    group = groups[0]
    assert group["arn"] == "arn:aws:logs:us-east-1:000000000000:log-group:/aws/lambda/log-a:*"
    assert abs(group["creationTime"] / 1000 - time.time()) < 600
    pages = list(logs.get_paginator("describe_log_groups").paginate(
        logGroupNamePrefix="/aws/lambda/log-", PaginationConfig={"PageSize": 1}))
    assert [len(page["logGroups"]) for page in pages] in ([1, 1], [1, 1, 0])
    streams = logs.describe_log_streams(logGroupName="/aws/lambda/log-a")["logStreams"]
    assert len(streams) == 1
    stream = streams[0]
    assert stream["firstEventTimestamp"] <= stream["lastEventTimestamp"]
    assert stream["arn"].endswith(":log-group:/aws/lambda/log-a:log-stream:" + stream["logStreamName"])


def test_events(create, logs):
    function = create(PRINTER)
    function.result(["line %d" % i for i in range(250)])
    function.logs(until="REPORT")
    group = "/aws/lambda/" + function.name
    stream = logs.describe_log_streams(logGroupName=group)["logStreams"][0]["logStreamName"]

    seen, token = [], None
    while True:
        request = {"logGroupName": group, "logStreamName": stream, "startFromHead": True, "limit": 100}
        page = logs.get_log_events(**request, **({"nextToken": token} if token else {}))
        seen += [event["message"] for event in page["events"]]
        if page["nextForwardToken"] == token:
            break
        token = page["nextForwardToken"]
    lines = [message.rstrip("\n") for message in seen if message.startswith("line ")]
    assert lines == ["line %d" % i for i in range(250)]
    assert seen[0].startswith("INIT_START") and seen[-1].startswith("REPORT")

    latest = logs.get_log_events(logGroupName=group, logStreamName=stream, limit=2)["events"]
    assert [event["message"][:6] for event in latest] == ["END Re", "REPORT"]

    found = logs.filter_log_events(logGroupName=group, filterPattern='"line 24"')["events"]
    assert [event["message"].rstrip() for event in found] == ["line 24"] + ["line 24%d" % i for i in range(10)]
    assert found[0]["logStreamName"] == stream and found[0]["eventId"]
    assert logs.filter_log_events(logGroupName=group, startTime=1, endTime=1000)["events"] == []


def test_multi_line_records_are_one_event(create):
    function = create(
        "import logging\ndef handler(e, c):\n    logging.error('one\\ntwo')\n    print('three\\nfour')\n    raise ValueError('five\\nsix')\n"
    )
    function.fault({})
    messages = function.logs(until="REPORT")
    assert any(m.startswith("[ERROR]\t") and "\tone\ntwo" in m for m in messages), messages
    assert "three\n" in messages and "four\n" in messages or "three" in messages and "four" in messages
    assert any(m.startswith("[ERROR] ValueError: five\nsix\nTraceback") for m in messages)


def test_events_come_in_order_across_output_kinds(create):
    function = create(
        "import logging, sys\ndef handler(e, c):\n    for i in range(50):\n        print('print', i)\n"
        "        logging.error('log %d', i)\n        print('err', i, file=sys.stderr)\n"
    )
    function.result({})
    text = "".join(function.logs(until="REPORT"))
    places = [text.index(piece) for i in range(50) for piece in ("print %d\n" % i, "log %d\n" % i, "err %d\n" % i)]
    assert places == sorted(places)


def test_output_between_events_is_kept(create):
    function = create(
        "import threading, time\ndef late():\n    time.sleep(0.001)\n    print('late words')\n"
        "def handler(e, c):\n    if e == 1:\n        threading.Thread(target=late).start()\n    else:\n        time.sleep(0.3)\n"
    )
    function.result(1)
    function.result(2)
    assert "late words" in "".join(function.logs(until="late words"))


@pytest.mark.parametrize("operation, arguments", [
    ("filter_log_events", {}), ("describe_log_streams", {}), ("get_log_events", {"logStreamName": "x"}),
])  # fmt: skip
def test_absent_group(logs, operation, arguments):
    said = refused(getattr(logs, operation), logGroupName="/aws/lambda/absent", **arguments)
    assert said == ("ResourceNotFoundException", 400, "The specified log group does not exist.")


def test_absent_stream(create, logs):
    function = create(PRINTER)
    function.result([])
    function.logs(until="REPORT")
    said = refused(logs.get_log_events, logGroupName="/aws/lambda/" + function.name, logStreamName="x")
    assert said == ("ResourceNotFoundException", 400, "The specified log stream does not exist.")


def test_own_group_of_a_function(create, logs):
    function = create(PRINTER, LoggingConfig={"LogGroup": "/my/own"})
    function.result(["mine"])
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        try:
            if logs.filter_log_events(logGroupName="/my/own", filterPattern="mine")["events"]:
                break
        except logs.exceptions.ResourceNotFoundException:
            pass
        time.sleep(0.05)
    else:
        raise AssertionError("no event in /my/own")
