"""Node.js runtimes, through boto3."""

import json
import re

import pytest

from harness import functions
from harness.paths import HELLO_NODE

NODES = functions.nodes()
# with callbacks, and without
OLD = [name for name in NODES if int(name[6:-2]) < 24]
NEW = [name for name in NODES if int(name[6:-2]) >= 24]

pytestmark = [
    # said of nodejs14.x to 18.x
    pytest.mark.allow_log("AWS no longer offers this runtime"),
    pytest.mark.skipif(not NODES, reason="no Node.js on this host"),
]


def one_of(names):
    """For tests that one runtime of a kind is enough for."""
    return pytest.mark.parametrize("runtime", names[-1:] or [pytest.param(None, marks=pytest.mark.skip("no such Node.js here"))])


each = pytest.mark.parametrize("runtime", NODES)
both_kinds = pytest.mark.parametrize("runtime", OLD[-1:] + NEW[:1])


@pytest.fixture
def make(create):
    """Makes a function of CommonJS source, or of files."""

    def make(source, runtime, handler="index.handler", **options):
        files = source if isinstance(source, dict) else {"index.js": source}
        return create(files=files, runtime=runtime, handler=handler, **options)

    return make


@each
def test_hello(make, runtime):
    function = make({"index.mjs": HELLO_NODE.read_text()}, runtime)
    answer = function.invoke({"name": "é"}, LogType="Tail")
    assert answer.error is None, answer
    body = answer.json()
    assert body["message"] == "Hello, é!"
    assert "nodejs%s.x" % body["node"].split(".")[0] == runtime
    assert body["request_id"] == answer.request_id
    assert 0 < body["remaining_ms"] <= 30000
    assert "\t%s\tINFO\tgreeting é\n" % answer.request_id in answer.tail
    text = "".join(function.logs(until="REPORT"))
    assert "INIT_START Runtime Version: nodejs:%s" % body["node"] in text
    arn = function.client.get_function_configuration(FunctionName=function.name)["RuntimeVersionConfig"]["RuntimeVersionArn"]
    assert arn


@each
def test_reuse(make, runtime):
    function = make("let n = 0; exports.handler = async () => ++n;", runtime)
    assert [function.result() for _ in range(20)] == list(range(1, 21))


@each
def test_errors(make, runtime):
    function = make(
        "class Mine extends Error { constructor(m) { super(m); this.name = 'Mine'; this.extra = 1; } }\n"
        "exports.handler = async (event) => { if (event === 'text') throw 'just text'; throw new Mine('bad é'); };",
        runtime,
    )
    answer = function.invoke({}, LogType="Tail")
    assert answer.error == "Unhandled"
    document = answer.json()
    assert (document["errorType"], document["errorMessage"]) == ("Mine", "bad é")
    assert document["trace"][0] == "Mine: bad é" or document["trace"][0] == "Error: bad é"
    assert "/var/task/index.js:2" in document["trace"][1]
    assert '\tERROR\tInvoke Error \t{"errorType":"Mine","errorMessage":"bad é",' in answer.tail
    assert function.fault("text") == {"errorType": "string", "errorMessage": "just text", "trace": []}


@each
def test_environment(make, runtime):
    source = """
const fs = require('fs'), os = require('os'), { execFileSync } = require('child_process');
exports.handler = async () => ({
  env: process.env, argv: process.execArgv, cwd: process.cwd(), path: process.execPath,
  fds: execFileSync('ls', ['/proc/self/fd']).toString().trim().split('\\n'),
  main: require.main === undefined, sum: require('crypto').createHash('sha256').update('').digest('hex').slice(0, 8),
});
"""
    function = make(source, runtime, env={"MINE": "1", "NODE_OPTIONS": "--stack-trace-limit=50"}, MemorySize=300)
    found = function.result()
    env, major = found["env"], runtime[6:-2]
    assert env["AWS_EXECUTION_ENV"] == "AWS_Lambda_" + runtime
    assert env["NODE_PATH"].startswith("/opt/nodejs/node%s/node_modules:/opt/nodejs/node_modules:" % major)
    assert (env["MINE"], env["LAMBDA_TASK_ROOT"], env["_HANDLER"]) == ("1", "/var/task", "index.handler")
    assert env["_X_AMZN_TRACE_ID"].startswith("Root=1-")
    for name in ("FUNCTION_NAME", "FUNCTION_VERSION", "FUNCTION_MEMORY_SIZE", "LOG_GROUP_NAME", "LOG_STREAM_NAME"):
        assert env["AWS_LAMBDA_" + name], name
    assert "--max-old-space-size=270" in found["argv"]
    assert (found["cwd"], found["main"], found["sum"]) == ("/var/task", True, "e3b0c442")
    # 3 is `ls` reading the folder: the channel and the records are not there
    assert found["fds"] == ["0", "1", "2", "3"]


@each
def test_timeout(make, runtime):
    function = make("exports.handler = () => new Promise((r) => setTimeout(r, 60000));", runtime, Timeout=1)
    document = function.fault()
    assert document["errorType"] == "Sandbox.Timedout"
    assert document["errorMessage"].endswith("Error: Task timed out after 1.00 seconds")


@pytest.mark.parametrize("runtime", OLD)
def test_callbacks(make, runtime):
    function = make(
        """
exports.handler = (event, context, callback) => {
  if (event.early) context.callbackWaitsForEmptyEventLoop = false;
  let late = 'no';
  setTimeout(() => { late = 'yes'; console.log('late work'); }, 200);
  if (event.never) return 'ignored';
  if (event.fail) return callback(new RangeError('no'));
  callback(null, { get late() { return late; } });
};
""",
        runtime,
    )
    assert function.result({}) == {"late": "yes"}
    assert function.result({"early": 1}) == {"late": "no"}
    assert function.result({"never": 1}) is None
    assert function.fault({"fail": 1})["errorType"] == "RangeError"
    assert function.result({}) == {"late": "yes"}


@one_of(NEW)
def test_callbacks_are_gone(make, runtime):
    function = make("exports.handler = (event, context, callback) => callback(null, 1);", runtime)
    document = function.fault()
    assert document["errorType"] == "Runtime.CallbackHandlerDeprecated"
    assert "has removed support for callback-based function handlers" in document["errorMessage"]
    assert "Init Error" in "".join(function.logs(until="Init Error"))


MODULES = {
    "top.mjs": "const x = await Promise.resolve(40);\nimport { two } from './lib/two.js';\nexport const a = { b: async () => x + two };",
    "lib/two.js": "export const two = 2;",
    "lib/package.json": '{"type": "module"}',
    "lib/deep/index.js": "export const handler = async () => import.meta.url;",
    "common/app.cjs": "exports.handler = async () => module.filename;",
    "plain.js": "exports.handler = async () => require('./common/app.cjs').handler();",
}


@both_kinds
def test_modules(make, runtime):
    for handler, expected in (
        ("top.a.b", 42),
        ("lib/deep/index.handler", "file:///var/task/lib/deep/index.js"),
        ("common/app.handler", "/var/task/common/app.cjs"),
        ("plain.handler", "/var/task/common/app.cjs"),
    ):
        assert make(MODULES, runtime, handler=handler).result() == expected, handler


@both_kinds
@pytest.mark.parametrize(
    "handler, source, error_type, message",
    [
        ("missing.handler", "", "Runtime.ImportModuleError", "Error: Cannot find module 'missing'\nRequire stack:\n- /var/runtime/index.mjs"),
        ("index.nothing", "", "Runtime.HandlerNotFound", "index.nothing is undefined or not exported"),
        ("index.value", "exports.value = 1", "Runtime.HandlerNotFound", "index.value is not a function"),
        ("index", "", "Runtime.MalformedHandlerName", "Bad handler"),
        ("a/../index.handler", "", "Runtime.MalformedHandlerName", "'a/../index.handler' is not a valid handler name."),
        ("index.handler", "let a =", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected end of input"),
        ("index.handler", "throw new TypeError('at init')", "TypeError", "at init"),
    ],
)
def test_init_errors(make, runtime, handler, source, error_type, message):
    function = make(source, runtime, handler=handler)
    document = function.fault()
    assert document["errorType"] == error_type
    assert document["errorMessage"].startswith(message)


@both_kinds
def test_ends_of_the_process(make, runtime):
    function = make(
        """
exports.handler = async (event) => {
  if (event === 'exit') process.exit(3);
  if (event === 'reject') { Promise.reject(new Error('floating')); await new Promise((r) => setTimeout(r, 1000)); }
  if (event === 'throw') { setTimeout(() => { throw new Error('loose'); }, 1); await new Promise((r) => setTimeout(r, 1000)); }
  if (event === 'never') await new Promise(() => {});
  return 'fine';
};
""",
        runtime,
    )
    assert function.fault("exit")["errorMessage"].endswith("Runtime exited with error: exit status 3")
    document = function.fault("never")
    assert document["errorType"] == "Runtime.NodeJsExit"
    assert "most commonly caused by a Promise that was never settled" in document["errorMessage"]
    if runtime in OLD:
        assert function.fault("reject")["errorType"] == "Runtime.UnhandledPromiseRejection"
        assert function.fault("throw")["errorMessage"] == "loose"
    else:
        assert function.fault("reject")["errorMessage"].endswith("Runtime exited with error: exit status 1")
        assert function.fault("throw")["errorMessage"].endswith("Runtime exited with error: exit status 1")
    assert function.result("again") == "fine"


@both_kinds
def test_json_logs(make, runtime):
    function = make(
        """
console.info('during init');
exports.handler = async () => {
  console.debug('not wanted'); console.info({ a: 1 }); console.warn('two %s', 'words'); console.error('with', new Error('e'));
};
""",
        runtime,
        LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "INFO"},
    )
    answer = function.invoke(LogType="Tail")
    records = [json.loads(line) for line in function.logs(until="platform.report")]
    mine = [record for record in records if "level" in record and record.get("requestId") == answer.request_id]
    assert [record["level"] for record in mine] == ["INFO", "WARN", "ERROR"]
    assert mine[0]["message"] == {"a": 1}
    assert mine[1]["message"] == "two words"
    assert (mine[2]["errorType"], mine[2]["errorMessage"]) == ("Error", "e")
    assert re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$", mine[0]["timestamp"])
    assert [record for record in records if record.get("message") == "during init"]


@both_kinds
def test_output_of_all_kinds(make, runtime):
    function = make(
        """
exports.handler = async () => {
  console.log('record\\nof two lines');
  process.stdout.write('plain out\\n'); process.stderr.write('plain err\\n');
  require('child_process').execFileSync('sh', ['-c', 'echo from a child'], { stdio: 'inherit' });
  console.log('x'.repeat(200000));
};
""",
        runtime,
    )
    function.result()
    messages = function.logs(until="REPORT")
    assert [m for m in messages if m.endswith("\tINFO\trecord\nof two lines\n")]
    for line in ("plain out\n", "plain err\n", "from a child\n"):
        assert line in messages
    assert [m for m in messages if m.count("x") >= 200000]


@both_kinds
def test_streaming_handlers_are_collected(make, runtime):
    function = make(
        """
const { pipeline } = require('stream/promises'), { Readable } = require('stream');
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event === 'http') stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201 });
  if (event === 'fail') { stream.write('some'); throw new RangeError('midway'); }
  await pipeline(Readable.from(['a', 'b', context.awsRequestId]), stream);
});
""",
        runtime,
    )
    answer = function.invoke("plain")
    assert answer.payload == ("ab" + answer.request_id).encode()
    answer = function.invoke("http")
    assert answer.payload == b'{"statusCode":201}' + bytes(8) + ("ab" + answer.request_id).encode()
    document = function.fault("fail")
    assert (document["errorType"], document["errorMessage"]) == ("RangeError", "midway")
    assert function.invoke("plain").error is None


@both_kinds
def test_large_events_and_responses(make, runtime):
    function = make("exports.handler = async (event) => event;", runtime)
    for size in (65000, 70000, 5_000_000):
        text = "é" * (size // 2)
        assert function.result(json.dumps(text, ensure_ascii=False).encode()) == text
    assert function.result({"small": 1}) == {"small": 1}


@both_kinds
def test_exec_wrapper(make, runtime):
    function = make(
        {
            "index.js": "exports.handler = async () => [process.env.WRAPPED, process.argv.length, global.loaded];",
            "wrap!": "#!/bin/sh\nexport WRAPPED=yes\nexec \"$@\"\n",
            "early.js": "global.loaded = 'early';",
        },
        runtime,
        env={"AWS_LAMBDA_EXEC_WRAPPER": "/var/task/wrap", "NODE_OPTIONS": "--require /var/task/early.js"},
    )
    assert function.result() == ["yes", 2, "early"]


def test_a_missing_version_is_said(create):
    client = create.server.client("lambda")
    missing = [name for name in ("nodejs14.x", "nodejs26.x", "nodejs12.x") if name not in NODES][0]
    function = create(files={"index.js": ""}, runtime=missing, handler="index.handler", wait=False)
    for _ in range(100):
        state = client.get_function_configuration(FunctionName=function.name)
        if state["State"] != "Pending":
            break
    assert (state["State"], state["StateReasonCode"]) == ("Failed", "InvalidRuntime")
    assert missing in state["StateReason"]
