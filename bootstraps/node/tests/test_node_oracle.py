"""The bootstrap and AWS's own clients give the same answers, error documents and log records."""

import os
import re
import tempfile

import pytest

import node_bootstrap
import oracle
from channel import split_error
from node_bootstrap import ASYNC_ONLY, Runtime

FOUND = node_bootstrap.find()
# the clients run on these; 3.x up to its last Node with callbacks
VERSIONS = [version for version in FOUND if version >= 18]

pytestmark = pytest.mark.skipif(
    not any(node_bootstrap.oracle(version) for version in VERSIONS),
    reason="AWS's clients for Node.js are not built: run scripts/interpreters oracles",
)

VALUES = """
class Point { constructor() { this.x = 1; } toJSON() { return { point: this.x }; } }
const loop = {}; loop.loop = [loop];
const values = [
  undefined, null, true, 0, -0, 1.5, 1e300, NaN, Infinity, '', 'é\\u2028\\x7f\\u0000😀\\ud800', 'a\\tb/"\\\\', {}, [], [undefined, null],
  { a: undefined, b: () => 1, c: Symbol('s') }, new Date(0), /x/, new Map([[1, 2]]), new Set([1]), Buffer.from('é'), new Uint8Array(2),
  new Point(), [new Point()], { [Symbol('k')]: 1, 1: 2 }, new Error('returned'), Object(1n), 1n, loop, 'x'.repeat(100000),
  Object.create(null), new Proxy({ p: 1 }, {}), Promise.resolve('inner'), { toJSON() { throw new Error('toJSON'); } },
];
exports.count = values.length;
exports.handler = async (index) => values[index];
"""
VALUE_COUNT = 34

RAISING = """
class Custom extends Error { constructor(m) { super(m); this.detail = { a: [1] }; } }
class Named extends Error { get name() { return 'Given.Name'; } }
const throwers = {
  plain: () => { throw new Error('bad é\\nsecond line'); },
  type: () => null.x,
  custom: () => { throw new Custom('own'); },
  named: () => { throw new Named('n'); },
  code: () => { throw Object.assign(new Error('c'), { code: 'E_CODE', name: 'Renamed' }); },
  text: () => { throw 'text'; },
  number: () => { throw 42; },
  nothing: () => { throw undefined; },
  nil: () => { throw null; },
  object: () => { throw { message: 'like an error' }; },
  duck: () => { throw { name: 'Duck', message: 'quack', stack: 'Duck: quack\\n    at pond' }; },
  bare: () => { throw Object.create(null); },
  del: () => { throw new Error('del \\x7f'); },
  nostack: () => { const e = new Error('no stack'); e.stack = undefined; throw e; },
  numberstack: () => { const e = new Error('n'); e.stack = 5; throw e; },
  loop: () => { const e = new Error('loop'); e.self = e; throw e; },
  cause: () => { throw new Error('outer', { cause: new Error('inner') }); },
  aggregate: () => { throw new AggregateError([new Error('one')], 'several'); },
  symbol: () => { throw Symbol('s'); },
  fun: () => { throw function named() {}; },
};
exports.names = Object.keys(throwers);
exports.handler = async (name) => throwers[name]();
"""
RAISED = "plain type custom named code text number nothing nil object duck bare del nostack numberstack loop cause aggregate symbol fun".split()

CONTEXT = """
exports.handler = async (event, context) => {
  const left = context.getRemainingTimeInMillis();
  return { context, keys: Object.keys(context), left: typeof left, trace: process.env._X_AMZN_TRACE_ID === undefined };
};
"""

LOGGING = """
console.log('init %s', 1, { a: 1 }); console.error(new Error('at init').message);
exports.handler = async (event) => {
  for (const level of ['trace', 'debug', 'info', 'log', 'warn', 'error', 'fatal']) console[level](level + ' %d', 5, 'more');
  console.log(); console.log(undefined, null); console.log({ deep: { deep: { deep: { deep: 1 } } } }); console.log('a\\nb');
  console.log([1, 2]); console.log('%s'); console.log('%j', { a: 1 }, 'tail');
  const e = new TypeError('logged'); e.stack = 'TypeError: logged\\n    at nowhere'; e.extra = { x: 1 };
  console.error(e); console.error('with', e); console.error(e, 'after'); console.error({ e }); console.error([e]);
  const loop = {}; loop.loop = loop; console.info(loop); console.info(1n);
  class Own extends Error {} const own = new Own('own'); own.stack = undefined; console.warn(own); console.warn('x', own);
  console.table([{ a: 1 }]); console.dir({ d: 1 });
};
"""

CALLBACKS = """
exports.handler = (event, context, callback) => {
  let done = false; setTimeout(() => { done = true; }, 30);
  ({
    wait: () => callback(null, { get done() { return done; } }),
    early: () => { context.callbackWaitsForEmptyEventLoop = false; callback(null, { get done() { return done; } }); },
    error: () => { const e = new RangeError('cb'); e.stack = 'RangeError: cb'; callback(e); },
    text: () => callback('only text'),
    zero: () => callback(0),
    empty: () => callback(),
    done: () => context.done(null, [done]),
    doneError: () => context.done('no'),
    succeed: () => context.succeed('yes'),
    succeedNothing: () => context.succeed(),
    fail: () => context.fail('no'),
    failNothing: () => context.fail(),
    twice: () => { callback(null, 1); callback(null, 2); context.succeed(3); },
    later: () => setTimeout(() => callback(null, 'later'), 50),
    nothing: () => 'ignored',
    both: () => { callback(null, 'callback'); return Promise.resolve('promise'); },
    throwAfter: () => { callback(null, 'called'); const e = new Error('after'); e.stack = 'Error: after'; throw e; },
  })[event]();
};
"""
CALLED = "wait early error text zero empty done doneError succeed succeedNothing fail failNothing twice later nothing both throwAfter wait".split()

STREAMING = """
exports.handler = awslambda.streamifyResponse(async (event, stream, context) => {
  if (event === 'keys') { stream.end(JSON.stringify(Object.keys(context))); return; }
  if (event === 'http') { stream = awslambda.HttpResponseStream.from(stream, { statusCode: 201, cookies: ['é'] }); stream.write('body'); stream.end(); return; }
  if (event === 'empty') { stream.end(); return 1; }
  if (event === 'types') { stream.write('é'); stream.write(new Uint8Array([1, 2])); stream.write({ a: 1 }); stream.write([1]); stream.end('end'); return; }
  if (event === 'midway') { stream.write('some'); const e = new RangeError('midway'); e.stack = 'RangeError: midway'; throw e; }
  if (event === 'text') throw 'text';
  if (event === 'late') { stream.write('x'); stream.setContentType('text/plain'); }
  stream.write('plain'); stream.end();
});
"""


def case(name, files, handler="app.handler", events=(b"{}",), env=None, only=None):
    files = {"app.js": files} if isinstance(files, str) else files
    events = [event if isinstance(event, tuple) else (event, {}) for event in events]
    return pytest.param(files, handler, events, env or {}, only, id=name)


HEADERS = {
    "Lambda-Runtime-Client-Context": '{"client":{"app_title":"t"},"custom":{"k":1}}',
    "Lambda-Runtime-Cognito-Identity": '{"cognitoIdentityId":"a","cognitoIdentityPoolId":"b"}',
    "Lambda-Runtime-Aws-Tenant-Id": "blue",
}

MODULES = {
    "esm/package.json": '{"type":"module"}',
    "esm/app.js": "export const handler = async () => import.meta.url.split('/').pop(); export default { other: async () => 2 };",
    "top.mjs": "const x = await Promise.resolve(1); export const handler = async () => x; export const a = { b: { c: async () => 'deep' } };",
    "common.cjs": "exports.handler = async () => 'cjs'; exports.value = 5; exports.default = { hidden: async () => 'hidden' };",
    "function.js": "module.exports = async () => 'whole'; module.exports.handler = async () => 'part';",
    "broken/package.json": "not JSON",
    "broken/app.js": "exports.handler = async () => 'still';",
    "node_modules/pack/package.json": '{"main":"main.js"}',
    "node_modules/pack/main.js": "exports.handler = async () => 'package';",
    "folder/index.js": "exports.handler = async () => 'folder';",
    "bare": "exports.handler = async () => 'no extension';",
    "both.js": "exports.handler = async () => 'js';",
    "both.mjs": "export const handler = async () => 'mjs';",
    "nested/deep.er/app.js": "exports.handler = async () => 'dots';",
}
HANDLERS = [
    "esm/app.handler", "esm/app.other", "esm/app.default.other", "top.handler", "top.a.b.c", "top.a.b", "top.a.x.y", "common.handler",
    "common.value", "common.hidden", "function.handler", "function.default", "broken/app.handler", "pack.handler", "folder.handler",
    "folder/index.handler", "bare.handler", "both.handler", "nested/deep.er/app.handler", "missing.handler", "esm/missing.handler",
    "", "app", ".handler", "app.", "a/../app.handler", "./top.handler", "/top.handler", "app/", "top..handler",
]  # fmt: skip

CASES = [
    case("values", VALUES, events=[str(i).encode() for i in range(VALUE_COUNT)]),
    case("function value", "exports.handler = async () => () => 1;"),
    case("errors", RAISING, events=[b'"%s"' % name.encode() for name in RAISED]),
    case("errors json", RAISING, events=[b'"%s"' % name.encode() for name in RAISED], env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}),
    case("context", CONTEXT, events=[b"{}", (b"null", HEADERS), (b"[]", {"Lambda-Runtime-Trace-Id": ""})]),
    case("bad client context", CONTEXT, events=[(b"{}", {"Lambda-Runtime-Client-Context": "{not JSON"})]),
    case("bad identity", CONTEXT, events=[(b"{}", {"Lambda-Runtime-Cognito-Identity": "nope"}), b"{}"]),
    case("events", "exports.handler = async (e) => [e, typeof e];", events=[b'"t"', b"1", b"null", b'{"\xc3\xa9":[]}', b" [1] "]),
    case("sync", "exports.handler = (e) => { if (e) throw new Error('sync'); return 'value'; };", events=[b"0", b"1", b"0"]),
    case("thenable", "exports.handler = () => ({ then(ok, no) { ok('then'); } });"),
    case("log text", LOGGING),
    case("log text level", LOGGING, env={"AWS_LAMBDA_LOG_LEVEL": "warn"}),
    case("log text fatal", LOGGING, env={"AWS_LAMBDA_LOG_LEVEL": "FATAL"}),
    case("log json", LOGGING, env={"AWS_LAMBDA_LOG_FORMAT": "json"}, events=[b"{}", (b"{}", HEADERS)]),
    case("log json level", LOGGING, env={"AWS_LAMBDA_LOG_FORMAT": "JSON", "AWS_LAMBDA_LOG_LEVEL": "INFO"}),
    case("callbacks", CALLBACKS, events=[b'"%s"' % name.encode() for name in CALLED],
         env={"AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING": "1"}),
    case("circular callback", "const l = {}; l.l = l; exports.handler = (e, c, cb) => cb(null, l);",
         env={"AWS_LAMBDA_NODEJS_DISABLE_CALLBACK_WARNING": "1"}),
    case("streaming", STREAMING, events=[b'"%s"' % n for n in b"plain http empty types midway text late keys plain".split()]),
    case("streaming sync", "exports.handler = awslambda.streamifyResponse((e, s) => { s.end('x'); });", only="old"),
    case("bad streaming", "const h = async () => 1; h[Symbol.for('aws.lambda.runtime.handler.streaming')] = 'request'; exports.handler = h;", only="new"),  # 3.3.0 fails on its own missing import
    case("uncaught", "exports.handler = async () => { setTimeout(() => { const e = new TypeError('loose'); e.stack = 'TypeError: loose'; throw e; }, 1); await new Promise((r) => setTimeout(r, 3000)); };"),
    case("unhandled", "exports.handler = async () => { const e = new TypeError('floating'); e.stack = 'TypeError: floating'; Promise.reject(e); await new Promise((r) => setTimeout(r, 3000)); };"),
    case("unhandled text", "exports.handler = async () => { Promise.reject('text'); await new Promise((r) => setTimeout(r, 3000)); };"),
    case("exit", "exports.handler = async () => process.exit(7);"),
    case("exit at init", "process.exit(8);"),
    case("globals", "exports.handler = async () => [Object.keys(awslambda).sort(), require.main === undefined, typeof process.mainModule, Object.keys(console)];"),
    case("no globals", "exports.handler = async () => typeof awslambda;", env={"AWS_LAMBDA_NODEJS_NO_GLOBAL_AWSLAMBDA": "true"}),
    case("syntax", "exports.handler = async (;\n"),
    case("syntax in module", {"app.mjs": "export const handler = async (;\n"}),
    case("import in common", "import fs from 'fs'; export const handler = 1;"),
    case("missing package", "const x = require('nowhere'); exports.handler = async () => 1;"),
    case("missing import", {"app.mjs": "import x from 'nowhere'; export const handler = async () => 1;"}),
    case("missing file", {"app.mjs": "import './nowhere.js'; export const handler = async () => 1;"}),
    case("throws at init", "const e = new RangeError('é'); e.stack = 'RangeError: é'; throw e;"),
    case("throws at init json", "const e = new RangeError('é'); e.stack = 'RangeError: é'; throw e;", env={"AWS_LAMBDA_LOG_FORMAT": "JSON"}),
    case("throws text at init", "throw 'text';"),
    case("throws in module", {"app.mjs": "await 0; const e = new RangeError('é'); e.stack = 'RangeError: é'; throw e;"}),
    # not here: a promise rejected at INIT. AWS's client sends its report while it fetches the first event: either may come first
    *[case("handler " + handler, MODULES, handler=handler, only="new" if handler == "" else None) for handler in HANDLERS if handler],
]  # fmt: skip


def run_ours(node, root, handler, events, env):
    outcome = oracle.Outcome()
    heads = {
        "Lambda-Runtime-Client-Context": "client",
        "Lambda-Runtime-Cognito-Identity": "identity",
        "Lambda-Runtime-Aws-Tenant-Id": "tenant",
        "Lambda-Runtime-Trace-Id": "trace",
    }
    runtime = Runtime(node, {}, handler, env=env, task_root=root)
    frame = runtime.receive()
    if frame and frame[0] == "F":
        outcome.init_error = split_error(frame[1])
        outcome.status = runtime.finish()
    elif frame is None:
        outcome.status = runtime.finish()
    else:
        assert frame == ("R", b"")
        for body, headers in events:
            frame = runtime.invoke(body, **{heads[name]: value for name, value in headers.items()})
            if frame is None:
                break
            outcome.answers.append((frame[0], split_error(frame[1])[1] if frame[0] == "E" else frame[1]))
        status = runtime.finish()
        ended = frame is None or status != 0
        outcome.status = status if ended else None
    outcome.records = runtime.logged()
    outcome.output = runtime.native.decode("utf-8", "replace")
    return outcome


def comparable(data):
    """Takes out what differs for good reason: time, and the clients' own names and frames."""
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>", text)
    text = re.sub(r"/[^\s'\"\\)]*?(aws-lambda-ric/(dist/|bin/)?|bootstraps/node/)(index\.mjs|[a-z]+\.cjs)", "<client>", text)
    # frames of the client, and those of Node that it or our bootstrap goes by way of
    frame = r'(\\n|\n|,")?    at (?:(?!\\n|\n|")[^\n])*(<client>|\(?node:|<anonymous>|process\.processTicks)(?:(?!\\n|\n|")[^\n])*(")?'
    return re.sub(frame, "", text)


PARAMETERS = [
    pytest.param(version, *one.values, id="node%d %s" % (version, one.id))
    for version in VERSIONS
    if version in (20, 22, 24, 26)
    for one in CASES
    if one.values[-1] in (None, "old" if version < ASYNC_ONLY else "new")
]


@pytest.mark.parametrize("version, files, handler, events, env, only", PARAMETERS)
def test_same_as_awss_client(version, files, handler, events, env, only):
    client = node_bootstrap.oracle(version)
    if client is None:
        pytest.skip("AWS's client for Node %d is not built" % version)
    node = FOUND[version]
    with tempfile.TemporaryDirectory() as root:
        for name, content in files.items():
            path = os.path.join(root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "w", encoding="utf-8") as out:
                out.write(content)
        arguments = [handler] if version < ASYNC_ONLY else []
        theirs = oracle.run([node, client, *arguments], root, root, handler, events, "AWS_Lambda_nodejs%d.x" % version, env)
        ours = run_ours(node, root, handler, events, dict(env, AWS_EXECUTION_ENV="AWS_Lambda_nodejs%d.x" % version))

    def init_error(outcome):
        return outcome.init_error and (outcome.init_error[0], comparable(outcome.init_error[1]))

    assert init_error(ours) == init_error(theirs), theirs.output
    assert [(kind, comparable(body)) for kind, body in ours.answers] == [(kind, comparable(body)) for kind, body in theirs.answers], (
        theirs.output,
        ours.output,
    )
    assert [comparable(record) for record in ours.records] == [comparable(record) for record in theirs.records]
    assert ours.status == theirs.status, (ours.output, theirs.output)
