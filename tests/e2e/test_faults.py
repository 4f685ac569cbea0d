"""Functions that fail: what the caller gets, what the log says, and that the next event is served."""

import json
import re

import pytest

from harness.functions import UUID

ERRORS = '''
import os, signal, sys, time
class Custom(Exception):
    pass
def handler(event, context):
    action = event.get("action")
    if action == "raise":
        raise Custom("told to é")
    if action == "exit":
        sys.exit(event["status"])
    if action == "hard exit":
        os._exit(event["status"])
    if action == "signal":
        os.kill(os.getpid(), event["number"])
    if action == "sleep":
        time.sleep(event["seconds"])
    if action == "memory":
        blocks = []
        while True:
            blocks.append(bytearray(b"x" * (8 << 20)))
    if action == "output then die":
        print("last words")
        os.write(1, b"native words\\n")
        os._exit(1)
    return os.getpid() and "fine"
'''


def report(tail):
    return next(line for line in tail.splitlines() if line.startswith("REPORT"))


def test_exception(create):
    function = create(ERRORS)
    answer = function.invoke({"action": "raise"}, LogType="Tail")
    assert (answer.status, answer.error, answer.version) == (200, "Unhandled", "$LATEST")
    assert answer.json() == {
        "errorMessage": "told to é",
        "errorType": "Custom",
        "requestId": answer.request_id,
        "stackTrace": ['  File "/var/task/app.py", line 8, in handler\n    raise Custom("told to é")\n'],
    }
    assert list(answer.json()) == ["errorMessage", "errorType", "requestId", "stackTrace"]
    assert "[ERROR] Custom: told to é\nTraceback (most recent call last):\n\u00a0\u00a0File " in answer.tail
    assert function.result({}) == "fine"


@pytest.mark.parametrize(
    "event, message",
    [
        ({"action": "exit", "status": 3}, "Runtime exited with error: exit status 3"),
        ({"action": "exit", "status": 0}, "Runtime exited without providing a reason"),
        ({"action": "hard exit", "status": 1}, "Runtime exited with error: exit status 1"),
        ({"action": "signal", "number": 9}, "Runtime exited with error: signal: killed"),
        ({"action": "signal", "number": 11}, "Runtime exited with error: signal: segmentation fault"),
        ({"action": "output then die"}, "Runtime exited with error: exit status 1"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else "",
)
def test_process_ends(create, event, message):
    function = create(ERRORS)
    answer = function.invoke(event, LogType="Tail")
    assert answer.error == "Unhandled"
    document = answer.json()
    assert document["errorType"] == "Runtime.ExitError"
    said = document["errorMessage"].replace(" (core dumped)", "")
    assert said == "RequestId: %s Error: %s" % (answer.request_id, message)
    assert "RequestId: %s Error: %s" % (answer.request_id, message) in answer.tail.replace(" (core dumped)", "")
    assert "Status: error\tError Type: Runtime.ExitError" in report(answer.tail)
    if event["action"] == "output then die":
        assert "last words\n" in answer.tail and "native words\n" in answer.tail
    assert function.result({}) == "fine"


def test_timeout(create):
    function = create(ERRORS, Timeout=1)
    function.result({})
    answer = function.invoke({"action": "sleep", "seconds": 30}, LogType="Tail")
    assert answer.error == "Unhandled"
    assert answer.json() == {
        "errorType": "Sandbox.Timedout",
        "errorMessage": "RequestId: %s Error: Task timed out after 1.00 seconds" % answer.request_id,
    }
    assert re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z %s Task timed out after 1\.00 seconds\n" % UUID, answer.tail)
    line = report(answer.tail)
    assert "Status: timeout" in line
    duration = float(re.search(r"\tDuration: ([\d.]+) ms", line)[1])
    assert 1000 <= duration < 1500
    assert function.result({}) == "fine"


def test_out_of_memory(create):
    function = create(ERRORS, MemorySize=128)
    answer = function.invoke({"action": "memory"}, LogType="Tail")
    assert answer.error == "Unhandled"
    assert answer.json() == {
        "errorType": "Runtime.ExitError",
        "errorMessage": "RequestId: %s Error: Runtime exited with error: signal: killed" % answer.request_id,
    }
    # only the log says what it was
    assert "signal: killed\nRuntime.OutOfMemory\n" in answer.tail
    line = report(answer.tail)
    assert "Error Type: Runtime.OutOfMemory" in line
    assert 100 <= int(re.search(r"Max Memory Used: (\d+) MB", line)[1]) <= 129
    assert function.result({}) == "fine"


@pytest.mark.parametrize(
    "files, handler, error_type, message",
    [
        ({"other.py": ""}, "app.handler", "Runtime.ImportModuleError",
         "Unable to import module 'app': No module named 'app'"),
        ({"app.py": "import nothere"}, "app.handler", "Runtime.ImportModuleError",
         "Unable to import module 'app': No module named 'nothere'"),
        ({"app.py": ""}, "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        ({"app.py": "def handler(:\n"}, "app.handler", "Runtime.UserCodeSyntaxError", None),
        ({"app.py": ""}, "app", "Runtime.MalformedHandlerName",
         "Bad handler 'app': not enough values to unpack (expected 2, got 1)"),
        ({"app.py": "raise KeyError('k')"}, "app.handler", "KeyError", "'k'"),
    ],
)  # fmt: skip
def test_init_error(create, files, handler, error_type, message):
    function = create(files=files, handler=handler)
    for _ in range(2):
        answer = function.invoke({}, LogType="Tail")
        assert answer.error == "Unhandled"
        document = answer.json()
        assert document["errorType"] == error_type
        if message:
            assert document["errorMessage"] == message
        assert "Init Duration" not in report(answer.tail) or "Status: error" in report(answer.tail)
    text = "".join(function.logs(until="REPORT"))
    assert "LAMBDA_WARNING: Unhandled exception." in text
    assert re.search(r"INIT_REPORT Init Duration: [\d.]+ ms\tPhase: init\tStatus: error\tError Type: \S+\n", text), text


def test_exit_at_init(create):
    function = create("import sys\nsys.exit(5)\n")
    answer = function.invoke({}, LogType="Tail")
    assert answer.error == "Unhandled"
    document = answer.json()
    assert document["errorType"] == "Runtime.ExitError"
    assert document["errorMessage"] == "RequestId: %s Error: Runtime exited with error: exit status 5" % answer.request_id


def test_init_that_takes_too_long(create):
    source = "import time, os\ntime.sleep(12)\ndef handler(e, c):\n    return 'late'\n"
    function = create(source, Timeout=30)
    # INIT is cut at 10 s and runs again within the invoke, under the function's own timeout
    assert function.result({}) == "late"
    text = "".join(function.logs(until="REPORT"))
    cut = re.search(r"INIT_REPORT Init Duration: ([\d.]+) ms\tPhase: init\tStatus: timeout", text)
    assert cut and 9900 <= float(cut[1]) < 10500, text


def test_init_and_invoke_share_the_timeout_after_a_cut_init(create):
    function = create("import time\ntime.sleep(60)\ndef handler(e, c):\n    return 1\n", Timeout=2)
    document = function.fault({})
    assert document["errorType"] == "Sandbox.Timedout"
    assert document["errorMessage"].endswith("Task timed out after 2.00 seconds")


def test_json_log_format(create):
    function = create(ERRORS, LoggingConfig={"LogFormat": "JSON"})
    function.fault({"action": "raise"})
    messages = function.logs(until="platform.report")
    records = [json.loads(message) for message in messages]
    kinds = [record.get("type") for record in records]
    assert "platform.initStart" in kinds and "platform.start" in kinds and "platform.report" in kinds
    error = next(record for record in records if record.get("errorType") == "Custom")
    assert (error["level"], error["errorMessage"]) == ("ERROR", "told to é")
