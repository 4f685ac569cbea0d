"""The bootstrap on every Python that is here, with the test as its server."""

import json
import os
import re
import struct
import textwrap
import time

import pytest

import interpreters
from channel import DEADLINE_MS, split_error
from python_bootstrap import Runtime

FOUND = interpreters.find()


@pytest.fixture(params=FOUND, ids=lambda version: "python%d.%d" % version)
def start(request):
    """Starts a function given its source; checks that it ends well."""
    runtimes = []

    def start(source, handler="app.handler", ready=True, **options):
        options.setdefault("version", "%d.%d" % request.param)
        files = source if isinstance(source, dict) else {"app.py": textwrap.dedent(source)}
        runtime = Runtime(FOUND[request.param], files, handler, **options)
        runtimes.append(runtime)
        return runtime.ready() if ready else runtime

    start.version = request.param
    yield start
    for runtime in runtimes:
        if runtime.process.returncode is None:
            assert runtime.finish() == 0


def test_some_interpreter_is_here():
    assert FOUND


def test_event_and_context(start):
    runtime = start(
        """
        import os
        def handler(event, context):
            return {"event": event, "context": repr(context), "left": context.get_remaining_time_in_millis(),
                    "trace": os.environ.get("_X_AMZN_TRACE_ID"), "api": os.environ["AWS_LAMBDA_RUNTIME_API"],
                    "tenant": context.tenant_id, "id": context.aws_request_id}
        """
    )
    now = int(time.time() * 1000)
    first = runtime.result({"a": ["é"]}, id="one", deadline=now + 60000, trace="Root=1", tenant="blue")
    assert first["event"] == {"a": ["é"]}
    assert 0 < first["left"] <= 60000
    assert (first["trace"], first["api"], first["tenant"], first["id"]) == ("Root=1", "127.0.0.1:9001", "blue", "one")
    assert first["context"].startswith("LambdaContext([aws_request_id=one,log_group_name=/aws/lambda/fn,")
    second = runtime.result(None, id="two", deadline=now - 1, trace=None)
    assert (second["event"], second["left"], second["trace"], second["id"]) == (None, 0, None, "two")


def test_large_event_and_response(start):
    runtime = start("def handler(event, context): return event\n")
    for size in (65536 - 400, 65536, 200000, 6 * 1024 * 1024):
        text = "x" * size
        assert runtime.result(text) == text
    assert runtime.result(1) == 1


def test_event_in_small_pieces(start):
    runtime = start("def handler(event, context): return event\n")
    head = b'{"id":"x"}'
    body = b"I" + struct.pack("<II", runtime.number, len(head)) + head + b'"piecemeal"'
    for byte in struct.pack("<I", len(body)) + body:
        runtime.channel.sendall(bytes([byte]))
        time.sleep(0.0005)
    assert runtime.receive() == ("A", b'"piecemeal"')


def test_output_and_log_records_keep_their_order(start):
    runtime = start(
        """
        import sys, logging
        def handler(event, context):
            print("one")
            logging.warning("two")
            print("three", file=sys.stderr)
            sys.stdout.buffer.write(b"four\\n")
            logging.error("five\\nsix")
            sys.stdout.write("seven, no line end")
            context.log("eight")
        """
    )
    runtime.result(id="rid")
    runtime.finish()
    texts = [text for kind, text in runtime.records]
    joined = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<t>", "|".join(texts))
    assert joined == (
        "one|\n|[WARNING]\t<t>\trid\ttwo\n|three|\n|four\n|[ERROR]\t<t>\trid\tfive\nsix\n|seven, no line end|eight"
    )
    assert runtime.native == b""


def test_output_streams_behave(start):
    runtime = start(
        """
        import sys, os, io
        def handler(event, context):
            sys.stdout.writelines(["a\\n", "b\\n"])
            sys.stdout.flush()
            print("x", "y", sep="", end="!\\n", flush=True)
            sys.stdout.buffer.write(bytearray(b"c\\n"))
            sys.stdout.buffer.write(memoryview(b"d\\n"))
            sys.stderr.write("\\ud800 escaped\\n")
            count = sys.stdout.write("e\\u00e9\\n")
            with sys.stdout as same:
                pass
            closed = sys.stdout.closed
            return [isinstance(sys.stdout, io.TextIOBase), sys.stdout.encoding, sys.stdout.fileno(),
                    sys.stderr.fileno(), sys.stdout.isatty(), sys.stdout.writable(), sys.stdout.readable(),
                    sys.stdout.name, sys.stderr.errors, count, os.get_inheritable(3), os.get_inheritable(4), closed]
        """
    )
    assert runtime.result() == [
        True, "utf-8", 1, 2, False, True, False, "<stdout>", "backslashreplace", 3, False, False, True,
    ]  # fmt: skip
    runtime.finish()
    assert runtime.output() == "a\nb\nxy!\nc\nd\n\\ud800 escaped\neé\n"


def test_long_output_arrives_whole(start):
    runtime = start("def handler(n, context):\n    print('\\u20ac' * n)\n    context.log('\\u00e9x' * n)\n")
    for count in (21845, 21846, 100000):
        runtime.result(count)
    runtime.finish()
    assert runtime.output() == "".join("€" * n + "\n" for n in (21845, 21846, 100000))
    assert runtime.logged() == ["éx" * n for n in (21845, 21846, 100000)]


def test_output_of_threads_and_children(start):
    runtime = start(
        """
        import os, subprocess, sys, threading
        def work(n):
            for i in range(200):
                sys.stdout.write("thread %d line %d\\n" % (n, i))
        def handler(event, context):
            threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
            for t in threads: t.start()
            for t in threads: t.join()
            pid = os.fork()
            if pid == 0:
                sys.stdout.write("from the child\\n")
                os._exit(0)
            os.waitpid(pid, 0)
            subprocess.run(["sh", "-c", "echo native; ls /proc/self/fd | tr '\\\\n' ' '"])
        """
    )
    runtime.result()
    runtime.finish()
    lines = runtime.output().splitlines()
    assert lines.pop() == "from the child"
    assert sorted(lines) == sorted("thread %d line %d" % (n, i) for n in range(4) for i in range(200))
    native, descriptors = runtime.native.decode().splitlines()
    assert native == "native"
    # 3 is `ls` reading the folder: the channel and the records are not there
    assert descriptors.split() == ["0", "1", "2", "3"]


def test_multiprocessing(start):
    runtime = start(
        """
        import multiprocessing
        def work(pipe):
            print("child prints")
            pipe.send(42)
        def handler(event, context):
            ours, theirs = multiprocessing.get_context("fork").Pipe()
            child = multiprocessing.get_context("fork").Process(target=work, args=(theirs,))
            child.start()
            value = ours.recv()
            child.join()
            return [value, child.exitcode]
        """
    )
    assert runtime.result() == [42, 0]
    runtime.finish()
    assert runtime.output() == "child prints\n"


def test_error_document_and_log(start):
    runtime = start(
        {"app.py": "def inner():\n    raise ValueError('no é')\ndef handler(e, c):\n    inner()\n"}, version="3.12"
    )
    error_type, document = runtime.error(id="rid")
    root = runtime.root
    assert error_type == ""
    expected = {
        "errorMessage": "no é",
        "errorType": "ValueError",
        "requestId": "rid",
        "stackTrace": [
            '  File "%s/app.py", line 4, in handler\n    inner()\n' % root,
            '  File "%s/app.py", line 2, in inner\n    raise ValueError(\'no é\')\n' % root,
        ],
    }
    assert document.decode() == json.dumps(expected, ensure_ascii=False)
    runtime.finish()
    assert runtime.logged() == [
        "[ERROR] ValueError: no é\nTraceback (most recent call last):\n"
        '\u00a0\u00a0File "%s/app.py", line 4, in handler\n\u00a0\u00a0\u00a0\u00a0inner()\n'
        '\u00a0\u00a0File "%s/app.py", line 2, in inner\n\u00a0\u00a0\u00a0\u00a0raise ValueError(\'no é\')'
        % (root, root)
    ]


@pytest.mark.parametrize(
    "files, handler, error_type, message",
    [
        ({}, "app.handler", "Runtime.ImportModuleError", "Unable to import module 'app': No module named 'app'"),
        ({"app.py": ""}, "app.handler", "Runtime.HandlerNotFound", "Handler 'handler' missing on module 'app'"),
        (
            {"app.py": ""},
            "app",
            "Runtime.MalformedHandlerName",
            "Bad handler 'app': not enough values to unpack (expected 2, got 1)",
        ),
        (
            {},
            "sys.handler",
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module sys as a handler module",
        ),
        ({"app.py": "raise LookupError('gone')"}, "app.handler", "LookupError", "gone"),
        ({"app.py": "def f(:\n"}, "app.handler", "Runtime.UserCodeSyntaxError", None),
    ],
)
def test_init_error(start, files, handler, error_type, message):
    runtime = start(files, handler, ready=False)
    kind, content = runtime.receive()
    assert kind == "F"
    header, document = split_error(content)
    document = json.loads(document.decode())
    assert (header, document["errorType"], document["requestId"]) == (error_type, error_type, "")
    if message:
        assert document["errorMessage"] == message
    assert runtime.receive() is None
    assert runtime.finish() == 1
    warning, error = runtime.logged()
    assert re.match(r"\[WARNING\]\t[-\dT:.]+Z\t\tLAMBDA_WARNING: Unhandled exception\. The most likely cause", warning)
    assert error.startswith("[ERROR] %s: %s" % (error_type, document["errorMessage"]))


@pytest.mark.parametrize(
    "source, status",
    [
        ("import sys\ndef handler(e, c):\n    sys.exit(3)\n", 3),
        ("def handler(e, c):\n    raise SystemExit\n", 0),
        ("def handler(e, c):\n    raise SystemExit('words')\n", 1),
        ("def handler(e, c):\n    raise KeyboardInterrupt\n", None),
        ("import os\ndef handler(e, c):\n    os._exit(7)\n", 7),
        ("import os, signal\ndef handler(e, c):\n    os.kill(os.getpid(), signal.SIGKILL)\n", -9),
    ],
)
def test_exit_is_not_caught(start, source, status):
    runtime = start(source)
    assert runtime.invoke() is None
    ended = runtime.finish()
    assert ended == status if status is not None else ended != 0


def test_exit_at_init(start):
    runtime = start("import sys\nsys.exit(4)\n", ready=False)
    assert runtime.receive() is None
    assert runtime.finish() == 4


def test_module_path(start):
    runtime = start(
        "import sys\ndef handler(e, c):\n    return sys.path\n", env={"LAMBDA_RUNTIME_DIR": "/var/runtime"}
    )
    path = runtime.result()
    version = "python%d.%d" % start.version
    assert path[:3] == [runtime.root, "/opt/python/lib/%s/site-packages" % version, "/opt/python"]
    assert os.path.dirname(os.path.dirname(os.path.abspath(__file__))) not in path
    packages = [entry for entry in path if entry.endswith(("site-packages", "dist-packages"))][1:]
    runtime_at = path.index("/var/runtime")
    assert all(path.index(entry) < runtime_at for entry in packages)
    assert any(entry.endswith("/lib/" + version) for entry in path[runtime_at:])
    assert len(set(path)) == len(path)


def test_response_encodings(start):
    source = """
    import collections, decimal
    P = collections.namedtuple("P", "x y")
    VALUES = {"decimal": {"a": decimal.Decimal("1.10")}, "nan": [float("nan"), decimal.Decimal("nan")], "bytes": b"\\xff\\x00",
              "tuple": P(1, [P(2, None)]), "text": "\\u00e9\\u20ac", "none": None, "keys": {b"k": b"v"}}
    def handler(event, context):
        return VALUES[event]
    """
    plain = start(source, version="3.11")
    modern = start(source, version="3.12")
    for runtime, text in ((plain, b'"\\u00e9\\u20ac"'), (modern, '"é€"'.encode())):
        assert runtime.invoke("decimal") == ("A", b'{"a": 1.10}')
        assert runtime.invoke("nan") == ("A", b"[NaN, NaN]")
        assert runtime.invoke("bytes") == ("A", b"\xff\x00")
        assert runtime.invoke("tuple") == ("A", b'{"x": 1, "y": [{"x": 2, "y": null}]}')
        assert runtime.invoke("keys") == ("A", b'{"k": "v"}')
        assert runtime.invoke("none") == ("A", b"null")
        assert runtime.invoke("text") == ("A", text)


def test_after_a_marshal_error_responses_are_right(start):
    runtime = start("x = [1]\ndef handler(event, context):\n    return {'a': x, 'b': object() if event else x}\n")
    for _ in range(3):
        assert runtime.error(True)[0] == ""
        assert runtime.result(False) == {"a": [1], "b": [1]}


def test_bad_context_json(start):
    runtime = start("def handler(event, context): return 1\n")
    document = json.loads(runtime.error(client="{no")[1].decode())
    assert document["errorType"] == "Runtime.LambdaContextUnmarshalError"
    assert document["errorMessage"].startswith(
        "Unable to parse Client Context JSON: Expecting property name enclosed in double quotes: "
    )
    document = json.loads(runtime.error(b"{no json")[1].decode())
    assert document["errorType"] == "Runtime.UnmarshalError"
    assert runtime.result(client='{"custom": {"a": 1}}') == 1


def test_json_logs(start):
    runtime = start(
        """
        import logging
        def handler(event, context):
            logging.getLogger("mine").info("hidden")
            logging.getLogger("mine").error("shown", extra={"order": 5})
            raise ValueError("bad")
        """,
        env={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "WARN"},
    )
    runtime.error(id="rid")
    runtime.finish()
    shown, error = map(json.loads, runtime.logged())
    assert list(shown) == ["timestamp", "level", "message", "logger", "requestId", "order"]
    assert (shown["level"], shown["message"], shown["logger"], shown["requestId"], shown["order"]) == (
        "ERROR", "shown", "mine", "rid", 5,
    )  # fmt: skip
    assert list(error) == ["timestamp", "level", "errorMessage", "errorType", "requestId", "stackTrace"]
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$", error["timestamp"])


def test_logging_is_loaded_late_but_ready(start):
    runtime = start(
        """
        import sys
        early = "logging" in sys.modules
        def handler(event, context):
            before = "logging" in sys.modules
            import logging
            root = logging.getLogger()
            return [early, before, [type(h).__name__ for h in root.handlers], root.level,
                    type(logging.__spec__.loader).__name__]
        """
    )
    first = runtime.result()
    assert first[2:] == [["LambdaLoggerHandler"], 30, "SourceFileLoader"]
    assert runtime.result()[2:] == first[2:]


def test_end_of_channel_ends_the_process(start):
    runtime = start("def handler(event, context): return 1\n")
    assert runtime.finish() == 0


def test_nothing_is_kept_between_events(start):
    runtime = start(
        """
        import gc, sys
        def handler(event, context):
            if event == "count":
                gc.collect()
                # Python 3.14 shows its table of interned strings too
                return sum(1 for o in gc.get_objects() if type(o) is dict and o.get("marker") == 1)
            return None
        """
    )
    for _ in range(3):
        runtime.result({"marker": 1, "more": [1]})
    assert runtime.result("count") == 0
