"""The bootstrap and AWS's own client give the same answers, error documents and log records."""

import json
import os
import re
import sys
import tempfile

import pytest

import oracle
from channel import split_error
from python_bootstrap import Runtime

try:
    import awslambdaric
except ImportError:
    awslambdaric = None

pytestmark = pytest.mark.skipif(awslambdaric is None, reason="awslambdaric is not installed in this environment")

# As on AWS, the client and what it imports come from elsewhere than the function's folder.
START = """
import os, sys, awslambdaric.__main__
os.chdir(sys.argv[1])
sys.path[0] = sys.argv.pop(1)
awslambdaric.__main__.main(sys.argv)
"""

VALUES = '''
import collections, datetime, decimal, enum, fractions, types, uuid

Point = collections.namedtuple("Point", "x y")
Odd = type("Odd", (), {"_asdict": lambda self: {"q": 1}})
OddDict = type("OddDict", (dict,), {"_asdict": lambda self: {"q": 1}})
class Number(enum.IntEnum):
    three = 3
class Word(str, enum.Enum):
    hello = "hello"
class Loud(float):
    def __repr__(self): return "loud"
class LoudInt(int):
    def __repr__(self): return "loud"
loop = []; loop.append(loop)
ring = {}; ring["a"] = [ring]
shared = [1]

VALUES = [
    None, True, False, 0, -7, 1.5, -0.0, 1e300, 10**30, "", "x", "\\u00e9\\u2028\\u2029\\x7f\\x00\\U0001f600", 'a\\tb/"\\\\',
    {}, [], (), {"a": {}}, [[], {}], (1, (2,)), {1: 2, 1.5: 3, None: 4, True: 5}, {Number.three: 1, Word.hello: 2},
    float("nan"), float("inf"), [float("-inf")], {float("nan"): 1, float("inf"): 2},
    decimal.Decimal("1.10"), {"a": decimal.Decimal("1E+30")}, [decimal.Decimal("NaN"), decimal.Decimal("sNaN"),
    decimal.Decimal("Infinity")], {decimal.Decimal("1"): 1},
    b"raw \\xff bytes", b"", {"a": b"text"}, {b"k": [b"v"]}, {"a": b"\\xff"}, {b"\\xff": 1}, bytearray(b"x"), memoryview(b"x"),
    Point(1, 2), [Point(1, Point("a", None))], {"p": Point([], {})}, Odd(), [Odd()], OddDict(a=1), [OddDict(a=1)],
    collections.OrderedDict(b=1, a=2), collections.Counter("aab"), collections.UserDict(a=1), types.MappingProxyType({}),
    collections.defaultdict(list, a=[1]), collections.deque([1]),
    Number.three, Word.hello, Loud(1.5), [Loud("nan")], LoudInt(7),
    {1, 2}, frozenset(), range(3), (x for x in ()), object, 1 + 2j, datetime.datetime(2020, 1, 1), uuid.UUID(int=1),
    fractions.Fraction(1, 2), {"a": [{"b": datetime.date(2020, 1, 1)}]}, {(1, 2): 3}, {"a": 1, (): 2}, Exception("x"),
    loop, ring, [shared, shared], ["\\u20ac" * 70000], {"k%d" % i: i for i in range(3000)}, 10**5000,
]

def handler(index, context):
    return VALUES[index]
'''

RAISING = '''
import json
class Custom(Exception):
    pass
class Mute(Exception):
    def __str__(self): return ""
def inner(value):
    return {}[value]
def handler(event, context):
    if event == "plain":
        raise ValueError("bad é value\\nsecond line\\n  indented")
    if event == "chained":
        try:
            inner("k")
        except KeyError as error:
            raise Custom("from", 2) from error
    if event == "context":
        try:
            inner("k")
        finally:
            raise Custom()
    if event == "mute":
        raise Mute()
    if event == "deep":
        def down(n):
            if n:
                return down(n - 1)
            raise RuntimeError("bottom")
        down(30)
    if event == "recursion":
        def ever(): return ever()
        ever()
    if event == "library":
        json.loads("{")
    if event == "lambda":
        (lambda: 1 / 0)()
    if event == "exec":
        exec("raise OSError(2, 'gone')")
    if event == "group":
        raise MemoryError
    return event
'''

CONTEXT = '''
def handler(event, context):
    c = context
    cc = c.client_context
    left = c.get_remaining_time_in_millis()
    return {
        "vars": {k: str(v) for k, v in vars(c).items() if k != "log_group_name"},
        "repr": repr(c), "public": [n for n in dir(c) if not n.startswith("_")],
        "left": type(left).__name__ if left > 0 else left,
        "custom": cc and cc.custom, "env": cc and cc.env, "client": cc and cc.client and [
            cc.client.installation_id, cc.client.app_title, cc.client.app_version_name, cc.client.app_version_code,
            cc.client.app_package_name],
        "identity": [c.identity.cognito_identity_id, c.identity.cognito_identity_pool_id],
        "w3c": c.w3c(), "memory": [c.memory_limit_in_mb, type(c.memory_limit_in_mb).__name__],
        "trace": __import__("os").environ.get("_X_AMZN_TRACE_ID"),
    }
'''

LOGGING = '''
import logging
log = logging.getLogger("my.logger")
logging.warning("at init %s", 1)
def handler(event, context):
    log.debug("debug"); log.info("info"); log.warning("warning é\\nsecond line"); log.error("error %d", 5)
    log.critical("critical", extra={"order": 7, "when": object})
    log.log(35, "thirty-five"); log.log(3, "three")
    log.warning({"a": 1}); log.warning({"a": object}); log.warning("%(x)s", {"x": 1})
    try:
        1 / 0
    except ZeroDivisionError:
        log.exception("caught")
    log.warning("stack", stack_info=True)
    context.log("context log\\n"); context.log({"x": 1})
    try:
        log.warning("%d", "no number")
    except TypeError as error:
        log.warning("raised " + str(error))
    root = logging.getLogger()
    return [root.level, len(root.handlers), root.handlers[0].level, len(root.handlers[0].filters)]
'''


def case(name, files, handler="app.handler", events=((b"{}", {}),), env=None):
    if isinstance(files, str):
        files = {"app.py": files}
    return pytest.param(files, handler, [e if isinstance(e, tuple) else (e, {}) for e in events], env or {}, id=name)


OK = "def handler(event, context):\n    return event\n"
CLIENT = {
    "client": {"installation_id": "i", "app_title": "t", "app_version_name": "n", "app_version_code": "c",
               "app_package_name": "p", "other": 1},
    "custom": {"k": "é"}, "env": {"e": 1}, "w3c": {"traceparent": "00-a", "tracestate": 5, "x": "y"},
}

CASES = [
    case("echo", OK, events=[b"{}", b'{"a": [1, 2.5, null, "\xc3\xa9\\ud83d\\ude00"]}', b"1", b'"x"', b"null", b" [ ] \n",
                             b"1e400", b'{"a":1,"a":2}', b"123456789012345678901234567890", b"\"\\u0000\""]),
    case("values", VALUES, events=[str(i).encode() for i in range(85)]),
    case("raise", RAISING, events=[json.dumps(e).encode() for e in (
        "plain", "chained", "context", "mute", "deep", "recursion", "library", "lambda", "exec", "group", "fine")]),
    case("context", CONTEXT, events=[
        (b"{}", {}),
        (b"{}", {"Lambda-Runtime-Client-Context": json.dumps(CLIENT),
                 "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"a","cognitoIdentityPoolId":"b"}'}),
        (b"{}", {"Lambda-Runtime-Client-Context": "{}"}),
        (b"{}", {"Lambda-Runtime-Client-Context": "{not json"}),
        (b"{}", {"Lambda-Runtime-Client-Context": "[1]"}),
        (b"{}", {"Lambda-Runtime-Cognito-Identity": "nope"}),
        (b"{}", {"Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"a"}'}),
        (b"{}", {"Lambda-Runtime-Deadline-Ms": "1"}),
    ]),
    case("missing module", {}, handler="nothere.handler"),
    case("missing module inside", "import nothere\n" + OK),
    case("missing name inside", "from json import nothere\n" + OK),
    case("syntax error", "def handler(event, context)\n    return 1\n"),
    case("syntax error in import", {"app.py": "import other\n" + OK, "other.py": "x = = 1\n"}),
    case("indentation error", "def handler(e, c):\nreturn 1\n"),
    case("missing function", "other = 1\n"),
    case("malformed handler", OK, handler="handler"),
    case("empty function name", OK, handler="app."),
    case("empty module name", OK, handler=".handler"),
    case("built-in module", {"time.py": OK}, handler="time.handler"),
    case("built-in package", OK, handler="sys.path.handler"),
    case("nested slash", {"a/b/c.py": OK}, handler="a/b/c.handler", events=[b"5"]),
    case("nested dot", {"a/b/c.py": OK}, handler="a.b.c.handler", events=[b"5"]),
    case("package", {"pkg/__init__.py": OK}, handler="pkg.handler", events=[b"5"]),
    case("missing in package", {"pkg/__init__.py": ""}, handler="pkg/sub.handler"),
    case("raise at import", "import json\ndef f():\n    raise KeyError('é k')\nf()\n"),
    case("raise in imported", {"app.py": "import other\n", "other.py": "1/0\n"}),
    case("assert at import", "assert 1 == 2, 'no'\n"),
    case("unicode", {"h\u00e9.py": "def \u00fcber(e, c):\n    raise RuntimeError('\u65e5\u672c ' + e['n'])\n"},
         handler="h\u00e9.\u00fcber", events=['{"n": "\u20ac"}'.encode()]),
    case("instance", "class H:\n    def __call__(self, e, c):\n        return 'called'\nhandler = H()\n"),
    case("bound method", "class H:\n    def go(self, e, c):\n        return 'gone'\nhandler = H().go\n"),
    case("coroutine", "async def handler(e, c):\n    return 1\n"),
    case("own json module", {"app.py": "import json, logging, enum\ndef handler(e, c):\n    return [hasattr(json, 'loads'),"
                             " hasattr(logging, 'warning'), hasattr(enum, 'Enum')]\n",
                             "json.py": "", "logging.py": "", "enum.py": "", "re.py": "", "traceback.py": ""}),
    case("own calendar module", {"app.py": "import calendar\ndef handler(e, c):\n    return calendar.mine\n",
                                 "calendar.py": "mine = True\n"}),
    case("log text", LOGGING),
    case("log text level", LOGGING, env={"AWS_LAMBDA_LOG_LEVEL": "INFO"}),
    case("log text trace", LOGGING, env={"AWS_LAMBDA_LOG_LEVEL": "TRACE"}),
    case("log json", LOGGING, env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}),
    case("log json level", LOGGING, env={"AWS_LAMBDA_LOG_FORMAT": "json", "AWS_LAMBDA_LOG_LEVEL": "error"}),
    case("error json", RAISING, events=[b'"plain"', b'"mute"'], env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}),
    case("init error json", "1/0\n", env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}),
    case("init error level", "1/0\n", env={"AWS_LAMBDA_LOG_LEVEL": "ERROR"}),
]


def run_ours(python, root, handler, events, execution_env, env):
    outcome = oracle.Outcome()
    heads = {
        "Lambda-Runtime-Client-Context": ("client", str),
        "Lambda-Runtime-Cognito-Identity": ("identity", str),
        "Lambda-Runtime-Deadline-Ms": ("deadline", int),
    }
    runtime = Runtime(python, {}, handler, env=dict(env, AWS_EXECUTION_ENV=execution_env), task_root=root)
    kind, content = runtime.receive()
    if kind == "F":
        outcome.init_error = split_error(content)
        outcome.status = runtime.finish()
    else:
        assert kind == "R"
        for body, headers in events:
            head = {heads[name][0]: heads[name][1](value) for name, value in headers.items()}
            kind, content = runtime.invoke(body, **head)
            if kind == "E":
                error_type, content = split_error(content)
                assert error_type == ""
            outcome.answers.append((kind, content))
        assert runtime.finish() == 0
    outcome.records = runtime.logged()
    outcome.output = runtime.output() + runtime.native.decode()
    return outcome


def comparable(data, python_root):
    """Takes out what differs for good reason: time, the clients' own frames, addresses."""
    if isinstance(data, bytes):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            text = data.decode("latin-1")  # awslambdaric 4.2.2 posts init errors in it, by accident
    else:
        text = data
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>", text)
    text = re.sub(r"0x[0-9a-f]+", "<address>", text)
    text = re.sub(r"Previous line repeated \d+ more", "Previous line repeated <many> more", text)
    text = re.sub(r'  File \\?"<string>\\?", line 5, in <module>(\\n|\n)', "", text)  # that of START
    # frames of the client itself (stack_info, or a failure before the function's first frame)
    text = re.sub(r'[ \u00a0]{2}File \\?"[^"]*(bootstrap\.py|awslambdaric[^"]*)\\?", line \d+, in [^ ]+?(\\n|\n)'
                  r'[ \u00a0]{4}[^"]*?(\\n|\n|$)(    [ ~^]+(\\n|\n))?', "<client>", text)
    return re.sub(r'<client>(("?, "|\n)?<client>)*', "<client>", text)


@pytest.mark.parametrize("execution_env", ["AWS_Lambda_python3.11", "AWS_Lambda_python3.12"])
@pytest.mark.parametrize("files, handler, events, env", CASES)
def test_same_as_awslambdaric(files, handler, events, env, execution_env):
    with tempfile.TemporaryDirectory() as root:
        for name, content in files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as out:
                out.write(content)
        command = [sys.executable, "-c", START, root, handler]
        theirs = oracle.run(command, "/", root, handler, events, execution_env, env)
        ours = run_ours(sys.executable, root, handler, events, execution_env, env)

        def clean(value):
            return comparable(value, root)

        assert (ours.init_error and (ours.init_error[0], clean(ours.init_error[1]))) == (
            theirs.init_error and (theirs.init_error[0], clean(theirs.init_error[1]))
        ), theirs.output
        assert len(ours.answers) == len(theirs.answers), (theirs.output, theirs.records)
        for index, (our, their) in enumerate(zip(ours.answers, theirs.answers)):
            if their[0] == "A" and b"\xff" in their[1]:
                assert our == their
            else:
                assert (index, our[0], clean(our[1])) == (index, their[0], clean(their[1]))
        assert [clean(r) for r in ours.records] == [clean(r) for r in theirs.records]
        assert ours.status == theirs.status or theirs.init_error is None
