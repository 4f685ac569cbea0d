"""Runtimes: every Python of the host; custom runtimes with AWS's own clients."""

import base64
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from harness import functions
from harness.functions import UUID
from harness.paths import HELLO_PYTHON, HELLO_RUST

PYTHONS = functions.pythons()

# said of python3.8 and 3.9
pytestmark = pytest.mark.allow_log("AWS no longer offers this runtime")


@pytest.mark.parametrize("runtime", PYTHONS)
def test_python(create, runtime):
    function = create(runtime=runtime, files={"app.py": HELLO_PYTHON.read_text(), "lib/deep/mod.py": "X = 5\n"})
    answer = function.result({"name": "é"})
    assert answer["message"] == "Hello, é!"
    assert "python" + answer["python"].rpartition(".")[0] == runtime
    assert 0 < answer["remaining_ms"] <= 30000
    text = "".join(function.logs(until="REPORT"))
    assert "INIT_START Runtime Version: python:%s" % answer["python"] in text


@pytest.mark.parametrize("runtime", PYTHONS)
def test_python_standard_library(create, runtime):
    source = """
import ctypes, decimal, hashlib, json, multiprocessing, socket, sqlite3, ssl, subprocess, tempfile, threading, zlib
import concurrent.futures, datetime, os, sys, uuid
def work(n):
    return n * n
def handler(event, context):
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        squares = list(pool.map(work, range(5)))
    a, b = socket.socketpair()
    a.sendall(b"pair")
    server = socket.socket(); server.bind(("127.0.0.1", 0)); server.listen(1)
    client = socket.create_connection(server.getsockname()); server.accept()[0].sendall(b"tcp")
    ours, theirs = multiprocessing.get_context("fork").Pipe()
    child = multiprocessing.get_context("fork").Process(target=theirs.send, args=("child",)); child.start()
    said = ours.recv(); child.join()
    return {
        "squares": squares, "pair": b.recv(9).decode(), "tcp": client.recv(9).decode(), "child": said,
        "shell": subprocess.run(["sh", "-c", "echo $0 ok; cat /etc/hostname 2>/dev/null; id -u"], stdout=subprocess.PIPE).stdout.decode(),
        "sha": hashlib.sha256(b"").hexdigest(), "sql": sqlite3.connect(":memory:").execute("select 1+1").fetchone()[0],
        "tls": ssl.OPENSSL_VERSION, "cwd": os.getcwd(), "path": sys.path[:3], "cpus": os.cpu_count(),
        "decimal": decimal.Decimal("1.10"), "home": os.path.expanduser("~"), "now": datetime.datetime.now().tzname(),
    }
"""
    function = create(source, runtime=runtime)
    result = function.result({})
    assert result["squares"] == [0, 1, 4, 9, 16]
    assert (result["pair"], result["tcp"], result["child"], result["sql"]) == ("pair", "tcp", "child", 2)
    assert result["shell"].startswith("sh ok\n")
    assert result["cwd"] == result["path"][0] == "/var/task"
    assert result["decimal"] == 1.1


def test_rust_runtime_client(server, create):
    rust = create(
        runtime="provided.al2023", handler="anything.goes", files={"bootstrap!": HELLO_RUST.read_bytes()}, Timeout=5
    )
    answer = rust.invoke({"name": "rust"}, LogType="Tail")
    assert answer.json() == {"message": "Hello, rust!", "request_id": answer.request_id}
    assert "greeting rust\n" in answer.tail
    assert re.search(r"REPORT RequestId: %s\tDuration: " % UUID, answer.tail)
    assert rust.result({"action": "echo", "x": "é" * 1000}) == {"action": "echo", "x": "é" * 1000}

    client_context = base64.b64encode(b'{"client":{"installation_id":"","app_title":"t","app_version_name":"",'
                                      b'"app_version_code":"","app_package_name":""},"custom":{"a":"b"},"env":{}}').decode()
    context = rust.result({"action": "context"}, ClientContext=client_context)
    assert context["invoked_function_arn"].endswith(":function:" + rust.name)
    assert context["function_name"] == rust.name
    assert context["client_context"]["custom"] == {"a": "b"}
    assert context["xray_trace_id"].startswith("Root=1-")

    document = rust.fault({"action": "fail"})
    assert document["errorMessage"] == "told to fail"
    assert rust.result({"action": "echo"}) == {"action": "echo"}

    env = rust.result({"action": "env"})
    assert "AWS_EXECUTION_ENV" not in env
    assert (env["_HANDLER"], env["AWS_LAMBDA_RUNTIME_API"]) == ("anything.goes", "127.0.0.1:9001")

    answer = rust.invoke({"action": "exit"})
    assert answer.json() == {
        "errorType": "Runtime.ExitError",
        "errorMessage": "RequestId: %s Error: Runtime exited with error: exit status 7" % answer.request_id,
    }
    big = {"action": "echo", "big": "z" * 5_000_000}
    assert rust.result(big) == big


def test_custom_runtime_that_fails_in_init(create):
    function = create(
        runtime="provided.al2023", handler="x", files={"bootstrap!": HELLO_RUST.read_bytes()}, env={"FAIL_INIT": "1"}
    )
    assert function.fault({})["errorType"] == "Runtime.ExitError"


@pytest.mark.parametrize("files", [{"other": "x"}, {"bootstrap": "#!/bin/sh\n"}, {"bootstrap!": "#!/no/such/interpreter\n"}])
def test_custom_runtime_without_an_entry_point(create, files):
    function = create(runtime="provided.al2023", handler="x", files=files)
    document = function.fault({})
    assert document["errorType"] in ("Runtime.InvalidEntrypoint", "Runtime.ExitError"), document


def test_shell_runtime(create):
    """A runtime in a few lines of shell and Python, as in AWS's tutorial."""
    script = """#!/bin/sh
exec /usr/bin/env python3 - <<'END'
import os, urllib.request
api = "http://%s/2018-06-01/runtime/" % os.environ["AWS_LAMBDA_RUNTIME_API"]
while True:
    event = urllib.request.urlopen(api + "invocation/next")
    body = event.read()
    url = api + "invocation/%s/" % event.headers["Lambda-Runtime-Aws-Request-Id"]
    if body == b'"error"':
        request = urllib.request.Request(url + "error", b'{"errorMessage":"m","errorType":"My.Error"}',
                                         {"Lambda-Runtime-Function-Error-Type": "Function.MyError"})
    else:
        request = urllib.request.Request(url + "response", b'{"got":' + body + b"}")
    answer = urllib.request.urlopen(request)
    assert answer.status == 202, answer.status
END
"""
    function = create(runtime="provided.al2023", handler="x", files={"bootstrap!": script})
    answer = function.invoke([1, 2], LogType="Tail")
    if answer.error and "env: " in (answer.tail or ""):
        pytest.skip("custom runtimes see no Python here")
    assert answer.json() == {"got": [1, 2]}
    assert function.fault("error") == {"errorMessage": "m", "errorType": "My.Error"}
    assert function.result({}) == {"got": {}}


def test_awslambdaric_as_custom_runtime(create):
    """AWS's own Python client in a zip with its dependencies, as container images carry it."""
    site = Path(sysconfig.get_paths()["purelib"])
    names = ["awslambdaric", "simplejson", "snapshot_restore_py.py"] + [p.name for p in site.glob("runtime_client*.so")]
    if not (site / "awslambdaric").is_dir():
        pytest.skip("awslambdaric is not installed")
    files = {}
    for name in names:
        for path in [site / name] if (site / name).is_file() else sorted((site / name).rglob("*")):
            if path.is_file() and not {"__pycache__", "tests"} & set(path.relative_to(site).parts):
                files[str(path.relative_to(site))] = path.read_bytes()
    interpreter = Path(sys.base_prefix) / "bin" / ("python%d.%d" % sys.version_info[:2])
    seen = subprocess.run([interpreter, "-c", "pass"], capture_output=True)
    assert seen.returncode == 0
    files["bootstrap!"] = "#!/bin/sh\nexec %s -m awslambdaric app.handler\n" % interpreter
    files["app.py"] = """
import decimal
def handler(event, context):
    if event == "fail":
        raise ValueError("told to é")
    return {"event": event, "id": context.aws_request_id, "n": decimal.Decimal("1.50")}
"""
    function = create(runtime="provided.al2023", handler="app.handler", files=files, MemorySize=1769)
    answer = function.invoke({"k": "é"}, LogType="Tail")
    if answer.error and ("not found" in (answer.tail or "") or "No such file" in (answer.tail or "")):
        pytest.skip("custom runtimes do not see %s" % interpreter)
    assert answer.json() == {"event": {"k": "é"}, "id": answer.request_id, "n": 1.5}
    document = function.fault("fail")
    assert (document["errorType"], document["errorMessage"]) == ("ValueError", "told to é")
    assert function.result(1)["event"] == 1
