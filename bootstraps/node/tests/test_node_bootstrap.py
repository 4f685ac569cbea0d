"""The bootstrap on every Node.js that is here, with the test as its server."""

import json
import re
import struct
import textwrap
import time

import pytest

import node_bootstrap
from channel import split_error
from node_bootstrap import ASYNC_ONLY, Runtime

FOUND = node_bootstrap.find()

pytestmark = pytest.mark.skipif(not FOUND, reason="no Node.js here: run scripts/interpreters")

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")


@pytest.fixture(params=FOUND, ids=lambda version: "node%d" % version)
def start(request):
    """Starts a function given its source; checks that it ends well."""
    runtimes = []

    def start(source, handler="app.handler", ready=True, **options):
        files = source if isinstance(source, dict) else {"app.js": textwrap.dedent(source)}
        runtime = Runtime(FOUND[request.param], files, handler, **options)
        runtimes.append(runtime)
        return runtime.ready() if ready else runtime

    start.version = request.param
    start.has_callbacks = request.param < ASYNC_ONLY
    yield start
    for runtime in runtimes:
        if runtime.process.returncode is None:
            assert runtime.finish() == 0


def test_event_and_context(start):
    runtime = start(
        """
        exports.handler = async (event, context) => ({
          event, keys: Object.keys(context), left: context.getRemainingTimeInMillis(),
          trace: process.env._X_AMZN_TRACE_ID, id: context.awsRequestId, arn: context.invokedFunctionArn,
          client: context.clientContext, identity: context.identity, memory: context.memoryLimitInMB,
          tenant: context.tenantId, parent: require.main === undefined,
        });
        """
    )
    now = int(time.time() * 1000)
    first = runtime.result(
        {"a": ["é"]}, id="one", deadline=now + 60000, trace="Root=1", tenant="blue",
        client='{"custom":{"é":1}}', identity='{"cognitoIdentityId":"x"}',
    )  # fmt: skip
    assert first["event"] == {"a": ["é"]}
    assert 0 < first["left"] <= 60000
    assert (first["trace"], first["id"], first["tenant"], first["memory"]) == ("Root=1", "one", "blue", "128")
    assert (first["client"], first["identity"]) == ({"custom": {"é": 1}}, {"cognitoIdentityId": "x"})
    assert first["parent"]
    common = {"functionName", "functionVersion", "memoryLimitInMB", "logGroupName", "logStreamName", "clientContext",
              "identity", "invokedFunctionArn", "awsRequestId", "tenantId", "getRemainingTimeInMillis"}  # fmt: skip
    old = {"callbackWaitsForEmptyEventLoop", "succeed", "fail", "done"}
    assert set(first["keys"]) == common | (old if start.has_callbacks else {"xRayTraceId"})
    second = runtime.result(None, id="two", deadline=now - 1000, trace=None)
    assert second["event"] is None and second["left"] < 0 and "trace" not in second


def test_large_event_and_response(start):
    runtime = start("exports.handler = async (event) => event;")
    for size in (65536 - 400, 65536 - 12, 65536, 200000, 6 * 1024 * 1024):
        text = "x" * size
        assert runtime.result(text) == text
    text = "é€😀" * 30000
    assert runtime.result(json.dumps(text, ensure_ascii=False).encode()) == text
    assert runtime.result(1) == 1


def test_event_in_small_pieces(start):
    runtime = start("exports.handler = async (event) => event;")
    head = b'{"id":"x"}'
    body = b"I" + struct.pack("<II", runtime.number, len(head)) + head + b'"piecemeal"'
    for byte in struct.pack("<I", len(body)) + body:
        runtime.channel.sendall(bytes([byte]))
        time.sleep(0.0005)
    assert runtime.receive() == ("A", b'"piecemeal"')


def test_text_logs(start):
    runtime = start(
        """
        console.log('during init');
        exports.handler = async (event) => {
          console.trace('one'); console.debug('two %d', 2); console.info({ a: 1 }); console.log();
          console.warn('five\\nlines'); console.error(new RangeError('six').message); console.fatal('seven');
        };
        """
    )
    runtime.result(id="rid")
    runtime.finish()
    nobody = "undefined" if start.has_callbacks else "-"
    assert [TIME.sub("<t>", text) for text in runtime.logged()] == [
        "<t>\t%s\tINFO\tduring init\n" % nobody,
        "<t>\trid\tTRACE\tone\n",
        "<t>\trid\tDEBUG\ttwo 2\n",
        "<t>\trid\tINFO\t{ a: 1 }\n",
        "<t>\trid\tINFO\tundefined\n",
        "<t>\trid\tWARN\tfive\nlines\n",
        "<t>\trid\tERROR\tsix\n",
        "<t>\trid\tFATAL\tseven\n",
    ]
    assert runtime.native == b""


def test_json_logs_and_levels(start):
    runtime = start(
        """
        exports.handler = async (event) => {
          console.info('not wanted'); console.warn({ a: [1] }, 'more'); console.error(new TypeError('bad'));
          const loop = {}; loop.loop = loop; console.error(loop); console.error('text', new TypeError('second'));
        };
        """,
        env={"AWS_LAMBDA_LOG_FORMAT": "json", "AWS_LAMBDA_LOG_LEVEL": "warn"},
    )
    runtime.result(id="rid", tenant="blue")
    runtime.finish()
    records = [json.loads(text) for text in runtime.logged()]
    assert [list(record)[:4] for record in records] == [["timestamp", "level", "requestId", "message"]] * 4 or [
        list(record)[:5] for record in records
    ] == [["timestamp", "level", "requestId", "tenantId", "message"]] * 4
    assert [record["level"] for record in records] == ["WARN", "ERROR", "ERROR", "ERROR"]
    assert records[0]["message"] == "{ a: [ 1 ] } more"
    assert records[1]["message"]["errorType"] == "TypeError"
    assert records[2]["message"].startswith("<ref *1>")
    assert (records[3]["errorType"], records[3]["errorMessage"]) == ("TypeError", "second")


def test_long_output_arrives_whole(start):
    runtime = start("exports.handler = async (n) => { console.log('€'.repeat(n)); console.log('éx😀'.repeat(n)); };")
    counts = (7000, 21800, 21845, 100000)
    for count in counts:
        runtime.result(count)
    runtime.finish()
    assert [text.split("\t")[3] for text in runtime.logged()] == [
        text + "\n" for n in counts for text in ("€" * n, "éx😀" * n)
    ]


def test_children_do_not_get_the_channel(start):
    runtime = start(
        """
        const { execFileSync } = require('child_process');
        exports.handler = async () => execFileSync('ls', ['/proc/self/fd']).toString().split('\\n').map(Number);
        """
    )
    # 3 is `ls` reading the folder; what the tests' own process inherited is far above
    assert [fd for fd in runtime.result() if 0 < fd < 100] == [1, 2, 3]


def test_error_document_and_log(start):
    runtime = start(
        """
        class Mine extends Error {}
        exports.handler = async (event) => {
          if (event === 'text') throw 'text';
          if (event === 'nothing') throw undefined;
          if (event === 'own') { const e = new Mine('own'); e.name = 'My.Name'; e.detail = { b: 1 }; throw e; }
          throw new TypeError('bad é\\x7f');
        };
        """
    )
    error_type, document = runtime.error("plain", id="rid")
    document = json.loads(document.decode())
    assert error_type == ""
    assert list(document) == ["errorType", "errorMessage", "trace"]
    assert (document["errorType"], document["errorMessage"]) == ("TypeError", "bad é%7F")
    assert document["trace"][0] == "TypeError: bad é%7F"
    assert "app.js:" in document["trace"][1]
    assert json.loads(runtime.error("text")[1]) == {"errorType": "string", "errorMessage": "text", "trace": []}
    assert json.loads(runtime.error("own")[1])["errorType"] == "My.Name"
    nothing = json.loads(runtime.error("nothing")[1])
    assert nothing["errorMessage"] == ("handled" if start.has_callbacks else "undefined")
    runtime.finish()
    first = TIME.sub("<t>", runtime.logged()[0])
    assert first.startswith('<t>\trid\tERROR\tInvoke Error \t{"errorType":"TypeError","errorMessage":"bad é')
    assert '"detail":{"b":1}' in runtime.logged()[2]


@pytest.mark.parametrize(
    "files, handler, error_type, message",
    [
        ({}, "app.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'app'\nRequire stack:\n- "),
        ({"app.js": ""}, "app.handler", "Runtime.HandlerNotFound", "app.handler is undefined or not exported"),
        ({"app.js": "exports.handler = 1"}, "app.handler", "Runtime.HandlerNotFound", "app.handler is not a function"),
        ({"app.js": ""}, "app", "Runtime.MalformedHandlerName", "Bad handler"),
        ({}, "../app.handler", "Runtime.MalformedHandlerName", "'../app.handler' is not a valid handler name. Use abs"),
        ({"app.js": "("}, "app.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected end of input"),
        ({"app.mjs": "("}, "app.handler", "Runtime.UserCodeSyntaxError", "SyntaxError: Unexpected end of input"),
        ({"app.js": "throw new RangeError('é')"}, "app.handler", "RangeError", "é"),
        ({"app.mjs": "await 0; throw 'text'"}, "app.handler", "string", "text"),
        ({"app.js": "require('nowhere')"}, "app.handler", "Runtime.ImportModuleError", "Error: Cannot find module 'nowhere'"),
    ],
)  # fmt: skip
def test_init_error(start, files, handler, error_type, message):
    runtime = start(files, handler, ready=False)
    kind, content = runtime.receive()
    assert kind == "F"
    declared, document = split_error(content)
    document = json.loads(document.decode())
    assert (declared, document["errorType"]) == (error_type, error_type)
    assert document["errorMessage"].startswith(message)
    assert runtime.finish() == (129 if start.has_callbacks else 1)
    heading = "Uncaught Exception" if start.has_callbacks else "Init Error"
    assert ("\tERROR\t%s \t{" % heading) in runtime.logged()[-1]


MODULES = {
    "common.js": "exports.handler = async () => [typeof require, typeof module];",
    "inner/package.json": '{"type": "module"}',
    "inner/app.js": "import { x } from './x.js'; const y = await x; export const handler = async () => y;",
    "inner/x.js": "export const x = Promise.resolve('module');",
    "inner/app.cjs": "exports.other = async () => 'never';",
    "a.mjs": "import * as c from './inner/app.cjs'; export default 1; export const ns = { deep: { fn: async () => Object.keys(c) } };",
    "b.cjs": "exports.handler = async () => __filename;",
    "folder/index.js": "exports.handler = async () => 'index';",
    "node_modules/pack/index.js": "exports.handler = async () => 'package';",
}  # fmt: skip


@pytest.mark.parametrize(
    "handler, expected",
    [
        ("common.handler", ["function", "object"]),
        ("inner/app.handler", "module"),
        ("a.ns.deep.fn", ["default", "other"]),
        ("b.handler", "/b.cjs"),
        ("folder/index.handler", "index"),
        ("pack.handler", "package"),
    ],
)
def test_modules(start, handler, expected):
    result = start(MODULES, handler).result()
    if expected == "/b.cjs":
        assert result.endswith(expected)
    elif handler == "a.ns.deep.fn":
        # newer ones add "module.exports"
        assert [name for name in result if name != "module.exports"] == expected
    else:
        assert result == expected


def test_default_export(start):
    runtime = start({"app.mjs": "export default { handler: async () => 'default' };"}, ready=False)
    kind, content = runtime.receive()
    if start.has_callbacks:
        assert (kind, split_error(content)[0]) == ("F", "Runtime.HandlerNotFound")
        runtime.finish()
    else:
        assert kind == "R" and runtime.result() == "default"


def test_responses(start):
    runtime = start(
        """
        const loop = {}; loop.loop = loop;
        const values = { undef: undefined, nil: null, nan: NaN, date: new Date(0), text: 'é\\u2028', loop, big: 1n, bytes: Buffer.from('a') };
        exports.handler = async (event) => values[event];
        """
    )
    for event, expected in (("undef", None), ("nil", None), ("nan", None), ("date", "1970-01-01T00:00:00.000Z"),
                            ("text", "é\u2028"), ("bytes", {"type": "Buffer", "data": [97]})):  # fmt: skip
        assert runtime.result(event) == expected
    for event in ("loop", "big"):
        document = json.loads(runtime.error(event)[1])
        assert document["errorType"] == ("Error" if start.has_callbacks else "Runtime.JSONStringifyError")
        assert document["errorMessage"] == "Unable to stringify response body"
    assert runtime.result("nil") is None


def test_handlers_that_are_not_async(start):
    runtime = start(
        """
        exports.handler = (event) => {
          if (event === 'throw') throw new Error('sync');
          if (event === 'thenable') return { then: (resolve) => resolve('then') };
          return 'value';
        };
        """
    )
    assert runtime.result("value") == (None if start.has_callbacks else "value")
    assert runtime.result("thenable") == "then"
    assert json.loads(runtime.error("throw")[1])["errorMessage"] == "sync"


def test_callbacks(start):
    source = """
        exports.handler = (event, context, callback) => {
          let done = false;
          setTimeout(() => { done = true; }, 50);
          if (event === 'early') context.callbackWaitsForEmptyEventLoop = false;
          if (event === 'fail') return callback(new RangeError('cb'));
          if (event === 'text') return callback('only text');
          if (event === 'succeed') return context.succeed('succeeded');
          if (event === 'done') return context.done(null, 'done');
          if (event === 'context fail') return context.fail();
          if (event === 'later') return setTimeout(() => callback(null, 'later'), 80);
          if (event === 'twice') { callback(null, 1); callback(null, 2); return; }
          if (event === 'nothing') return;
          callback(null, { get done() { return done; } });
        };
    """
    runtime = start(source, ready=False)
    if not start.has_callbacks:
        kind, content = runtime.receive()
        assert (kind, split_error(content)[0]) == ("F", "Runtime.CallbackHandlerDeprecated")
        runtime.finish()
        return
    runtime.ready()
    assert runtime.result("wait") == {"done": True}
    assert runtime.result("early") == {"done": False}
    assert runtime.result("succeed") == "succeeded"
    assert runtime.result("done") == "done"
    assert runtime.result("later") == "later"
    assert runtime.result("twice") == 1
    assert runtime.result("nothing") is None
    assert json.loads(runtime.error("fail")[1])["errorType"] == "RangeError"
    assert json.loads(runtime.error("text")[1]) == {"errorType": "string", "errorMessage": "only text", "trace": []}
    assert json.loads(runtime.error("context fail")[1])["errorMessage"] == "handled"
    assert runtime.result("wait") == {"done": True}
    runtime.finish()
    warnings = [text for text in runtime.logged() if "plans to remove support" in text]
    assert len(warnings) == (1 if start.version >= 18 else 0)


def test_promises_that_never_settle(start):
    runtime = start("let n = 0; exports.handler = async (event) => ++n === 2 ? new Promise(() => {}) : n;")
    assert runtime.result() == 1
    if start.version < 18:
        assert runtime.result() is None
    else:
        error_type, document = runtime.error()
        document = json.loads(document)
        assert (error_type, document["errorType"]) == ("", "Runtime.NodeJsExit")
        assert document["errorMessage"].startswith("The Lambda runtime client detected an unexpected Node.js exit code.")
    assert runtime.result() == 3


@pytest.mark.parametrize(
    "statement, error_type, status",
    [
        ("Promise.reject(new TypeError('floating'))", "Runtime.UnhandledPromiseRejection", 128),
        ("setTimeout(() => { throw new TypeError('loose'); }, 1)", "TypeError", 129),
    ],
)
def test_errors_that_nobody_catches(start, statement, error_type, status):
    runtime = start("exports.handler = async () => { %s; await new Promise((r) => setTimeout(r, 5000)); };" % statement)
    frame = runtime.invoke()
    if start.has_callbacks:
        assert frame[0] == "E"
        assert json.loads(split_error(frame[1])[1])["errorType"] == error_type
        assert runtime.finish() == status
    else:
        assert frame is None
        assert runtime.finish() == 1
        assert b"TypeError: " in runtime.native


def test_a_rejection_at_init(start):
    runtime = start("Promise.reject(new TypeError('early')); exports.handler = async () => 1;", ready=False)
    frame = runtime.receive()
    if start.has_callbacks:
        assert frame[0] == "F"
        error_type, document = split_error(frame[1])
        assert error_type.endswith("Runtime.UnhandledPromiseRejection")
        assert json.loads(document)["errorMessage"] == "TypeError: early"
        assert runtime.finish() == 128
    else:
        assert frame is None
        assert runtime.finish() == 1
        assert b"TypeError: early" in runtime.native


def test_a_rejection_after_the_answer(start):
    runtime = start("exports.handler = async (event) => { if (event) Promise.reject(new Error('floating')); return 1; };")
    assert runtime.result(0) == 1
    frame = runtime.invoke(1)
    if start.has_callbacks:
        # the answer was there first
        assert frame == ("A", b"1")
        assert runtime.finish() == 128
    else:
        assert frame is None
        assert runtime.finish() == 1


def test_exit(start):
    runtime = start("exports.handler = async () => process.exit(7);")
    assert runtime.invoke() is None
    assert runtime.finish() == 7
    runtime = start("process.exit(9);", ready=False)
    assert runtime.receive() is None
    assert runtime.finish() == 9


def test_what_is_left_over_goes_on_with_the_next_event(start):
    runtime = start(
        """
        let ticks = 0;
        exports.handler = async (event) => { setTimeout(() => { ticks += 1; }, 1).unref(); return ticks; };
        """
    )
    for _ in range(50):
        last = runtime.result()
        time.sleep(0.002)
    assert last > 20


def test_streaming(start):
    runtime = start(
        """
        const { PassThrough, pipeline } = require('stream'), { promisify } = require('util');
        exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
          if (event === 'throw') { stream.write('x'); throw new RangeError('midway'); }
          if (event === 'destroy') { stream.destroy(new RangeError('destroyed')); return; }
          if (event === 'late type') { stream.write('x'); stream.setContentType('text/plain'); }
          if (event === 'http') stream = awslambda.HttpResponseStream.from(stream, { statusCode: 404, headers: { a: 'b' } });
          if (event === 'pipe') {
            const source = new PassThrough();
            setTimeout(() => { source.write('one '); source.end('two'); }, 20);
            await promisify(pipeline)(source, stream);
            return 'ignored';
          }
          if (event === 'big') { for (let i = 0; i < 100; i += 1) stream.write(Buffer.alloc(10000, 'é')); }
          stream.write(new Uint8Array([104, 195, 169])); stream.write({ json: 1 }); stream.end('!');
        }, { highWaterMark: 1024 });
        """
    )

    def answer(event):
        kind, content = runtime.invoke(event)
        assert kind == "A", content
        return content

    assert answer("plain") == 'hé{"json":1}!'.encode()
    assert answer("http") == b'{"statusCode":404,"headers":{"a":"b"}}' + bytes(8) + 'hé{"json":1}!'.encode()
    assert answer("pipe") == b"one two"
    assert len(answer("big")) == 1000000 + 14
    for event, expected in (("throw", "RangeError"), ("destroy", "RangeError"), ("late type", "Runtime.InvalidStreamingOperation")):
        error_type, document = runtime.error(event)
        assert (error_type, json.loads(document)["errorType"]) == (expected, expected)
    assert answer("plain") == 'hé{"json":1}!'.encode()
    runtime.finish()
    assert any("Streaming handlers ignore return values." in text for text in runtime.logged())


def test_streaming_handlers_must_be_async(start):
    runtime = start("exports.handler = awslambda.streamifyResponse((event, stream) => { if (event) stream.end('x'); });")
    document = json.loads(runtime.error(0)[1])
    assert document["errorMessage"] == "Streaming does not support non-async handlers."
    # too late for an error
    assert runtime.invoke(1) == ("A", b"x")


def test_globals(start):
    source = "exports.handler = async () => [typeof awslambda, typeof awslambda === 'object' && Object.keys(awslambda).sort()];"
    known = ["HttpResponseStream", "streamifyResponse"] if start.has_callbacks else ["HttpResponseStream", "InvokeStore", "streamifyResponse"]
    assert start(source).result() == ["object", known]
    assert start(source, env={"AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA": "1"}).result() == ["undefined", False]


def test_invoke_store(start):
    if start.has_callbacks:
        return
    runtime = start(
        """
        const store = awslambda.InvokeStore, keys = store.constructor.PROTECTED_KEYS;
        const before = store.getRequestId();
        exports.handler = async () => {
          let refused = ''; try { store.set(keys.REQUEST_ID, 'x'); } catch (e) { refused = e.message; }
          const had = store.get('mine'); store.set('mine', 1);
          return [before, store.getRequestId(), store.getXRayTraceId(), refused, had === undefined, store.get('mine')];
        };
        """
    )
    for _ in range(2):
        assert runtime.result(id="rid", trace="Root=1") == [
            "-", "rid", "Root=1", "Cannot modify protected Lambda context field: Symbol(_AWS_LAMBDA_REQUEST_ID)", True, 1,
        ]  # fmt: skip


def test_end_of_channel_ends_the_process(start):
    runtime = start("process.on('exit', () => console.log('exit')); exports.handler = async () => setInterval(() => {}, 1000) && 1;")
    assert runtime.result() == 1
    assert runtime.finish() == 0
    assert runtime.logged() == []
