"""What functions find of their layers under `/opt`, with each isolation."""

import shutil
import subprocess

import pytest

from harness import functions
from harness.functions import Factory, python
from harness.layers import Layers
from harness.server import Server

NODES = functions.nodes()

# what weaker isolations say of themselves at their start
WEAKER = r"WARN .*(CPU time is not limited|memory is limited by watching|all sandboxes run as the server's user|isolation=process)"
pytestmark = pytest.mark.allow_log(WEAKER)

KINDS = {
    "root": {},
    "user-namespaces": {"user": 12345},
    "process": {"user": 12345, "args": ["--isolation", "process"]},
}

BOOTSTRAP = """#!/bin/sh
# of layer %s
api=http://$AWS_LAMBDA_RUNTIME_API/2018-06-01/runtime/invocation
while :; do
    curl -sS -o "${TMPDIR:-/tmp}/event" -D "${TMPDIR:-/tmp}/headers" "$api/next"
    id=$(sed -n 's/^lambda-runtime-aws-request-id: *\\([^[:cntrl:]]*\\).*/\\1/Ip' "${TMPDIR:-/tmp}/headers")
    curl -sS -o /dev/null -d "\\"$(hello) from layer %s by $_HANDLER\\"" "$api/$id/response"
done
"""


@pytest.fixture(scope="module", params=list(KINDS))
def any_server(request):
    """A server of each isolation."""
    server = Server(**KINDS[request.param])
    try:
        server.start()
        assert server.http("GET", "/_lambkin/health", sign=False).json()["isolation"] == request.param
        yield server
        server.stop()
        server.assert_quiet([WEAKER])
    finally:
        server.destroy()


@pytest.fixture
def make(any_server):
    """Makes functions of `layers`, each of them the files of a layer or `(files, links)`."""
    publish, create = Layers(any_server), Factory(any_server)

    def make(files, layers, **options):
        layers = [layer if isinstance(layer, tuple) else (layer, {}) for layer in layers]
        made = [publish(files, links=links)["LayerVersionArn"] for files, links in layers]
        return create(files=files, Layers=made, **options)

    yield make
    create.clean()
    publish.clean()
    any_server.baseline.assert_idle()


PYTHON = """
import importlib, os, subprocess, sys

def handler(event, context):
    if "read" in event:
        return open(os.environ["OPT"] + "/" + event["read"]).read()
    if "import" in event:
        module = importlib.import_module(event["import"])
        return [module.X, os.path.relpath(module.__file__, os.environ["OPT"])]
    if "run" in event:
        return subprocess.run(event["run"], stdout=subprocess.PIPE, check=True, universal_newlines=True).stdout
    if "walk" in event:
        found = []
        for folder, _, names in os.walk(os.environ["OPT"], followlinks=True):
            found += [os.path.relpath(os.path.join(folder, name), os.environ["OPT"]) for name in names]
        return sorted(found)
    if "write" in event:
        try:
            open(os.environ["OPT"] + "/" + event["write"], "w")
        except OSError as error:
            return error.errno
    return os.environ.get(event.get("variable", ""))
"""


def python_function(make, layers, **options):
    options.setdefault("env", {})["OPT"] = "/opt"
    return make({"app.py": PYTHON, "own.py": "X = 'own'\n"}, layers, runtime="python3.11", **options)


def test_merged_in_order(any_server, make):
    function = python_function(make, [
        {"only-1": "1", "both": "1", "deep/both": "1", "deep/1/x": "1", "was-file": "1", "was-folder/x": "1"},
        {"both": "2", "deep/both": "2", "deep/2/x": "2", "was-file/x": "2", "was-folder": "2"},
        ({"all/3": "3", "deep/1/y": "3"}, {"link": "all/3", "folder": "all", "outward": "/opt/both"}),
        {"deep/2/x": "4"},
        {"five": "5"},
    ])  # fmt: skip
    found = {name: function.result({"read": name}) for name in function.result({"walk": 1}) if name != "outward"}
    assert found == {
        "only-1": "1", "both": "2", "deep/both": "2", "deep/1/x": "1", "deep/1/y": "3", "deep/2/x": "4",
        "was-file/x": "2", "was-folder": "2", "all/3": "3", "link": "3", "folder/3": "3", "five": "5",
    }  # fmt: skip
    if "process" not in any_server.args:
        # without a root of its own an absolute link leads to the host's folder
        assert function.result({"read": "outward"}) == "2"
        assert function.result({"write": "new"}) == 30  # EROFS
    # the same content in two layers is no reason to fail
    function = python_function(make, [{"x": "first"}, {"x": "other"}, {"x": "first"}])
    assert function.result({"read": "x"}) == "first"


def test_python_modules(make):
    packages = "python/lib/python3.11/site-packages/"
    function = python_function(make, [
        {packages + "pinned.py": "X = 1\n", "python/plain.py": "X = 1\n", "python/both.py": "X = 'plain'\n",
         "python/own.py": "X = 'layer'\n", "python/package/__init__.py": "X = 1\n", "python/package/one.py": "X = 1\n"},
        {packages + "both.py": "X = 'pinned'\n", "python/plain.py": "X = 2\n", "python/package/two.py": "X = 2\n",
         "python/lib/python3.12/site-packages/later.py": "X = 1\n"},
    ])  # fmt: skip
    assert function.result({"import": "pinned"}) == [1, packages + "pinned.py"]
    assert function.result({"import": "plain"}) == [2, "python/plain.py"]
    assert function.result({"import": "both"}) == ["pinned", packages + "both.py"]
    assert function.result({"import": "own"})[0] == "own"
    assert function.result({"import": "package.one"})[0] == 1 and function.result({"import": "package.two"})[0] == 2
    assert function.fault({"import": "later"})["errorType"] == "ModuleNotFoundError"


def test_programs_and_libraries(make, tmp_path):
    files = {"bin/hello!": "#!/bin/sh\necho hello\n", "bin/not": "#!/bin/sh\n", "wrapper!": "#!/bin/sh\nexport WRAPPED=yes\nexec \"$@\"\n"}
    links = {"bin/again": "hello"}
    compiler = shutil.which("cc")
    if compiler:
        source = tmp_path / "answer.c"
        source.write_text("int answer(void) { return 42; }\n")
        library = tmp_path / "libanswer.so.1"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source], check=True, timeout=60)
        files["lib/libanswer.so.1"] = library.read_bytes()
        links["lib/libanswer.so"] = "libanswer.so.1"
        files["python/native.py"] = "import ctypes\nX = ctypes.CDLL('libanswer.so').answer()\n"
    function = python_function(
        make, [(files, links), {"other": ""}], env={"AWS_LAMBDA_EXEC_WRAPPER": "/opt/wrapper"}
    )
    assert function.result({"run": ["hello"]}) == function.result({"run": ["again"]}) == "hello\n"
    assert function.fault({"run": ["not"]})["errorType"] == "PermissionError"
    assert function.result({"variable": "WRAPPED"}) == "yes"
    if compiler:
        assert function.result({"import": "native"}) == [42, "python/native.py"]
    else:
        print("no C compiler: libraries of layers are not tried")


def test_custom_runtime(make):
    layers = [
        {"bootstrap!": BOOTSTRAP % (1, 1), "bin/hello!": "#!/bin/sh\nprintf 'hello'\n"},
        {"bootstrap!": BOOTSTRAP % (2, 2)},
    ]
    function = make({"code": "x"}, layers, runtime="provided.al2023", handler="my.handler")
    assert function.result({}) == "hello from layer 2 by my.handler"
    function.update(Layers=[layer["Arn"] for layer in reversed(_layers(function))])
    assert function.result({}) == "hello from layer 1 by my.handler"
    function.update(Layers=[])
    fault = function.fault({})
    assert "Couldn't find valid bootstrap(s): [/var/task/bootstrap /opt/bootstrap]" in fault["errorMessage"]


def _layers(function):
    return function.client.get_function_configuration(FunctionName=function.name)["Layers"]


@pytest.mark.skipif(not NODES, reason="no Node.js on this host")
@pytest.mark.parametrize("runtime", NODES)
@pytest.mark.allow_log("AWS no longer offers this runtime")
def test_node_modules(server, runtime):
    major = int(runtime[6:-2])
    package = '{"name": "%s", "version": "1.0.0", "main": "index.js"}'
    publish, create = Layers(server), Factory(server)
    try:
        one = publish({
            "nodejs/node_modules/plain/package.json": package % "plain", "nodejs/node_modules/plain/index.js": "exports.x = 'plain'",
            "nodejs/node_modules/both/index.js": "exports.x = 'all'",
            "nodejs/node_modules/nested/node_modules/inner/index.js": "exports.x = 'inner'",
            "nodejs/node_modules/nested/index.js": "exports.x = require('inner').x",
        })  # fmt: skip
        two = publish({
            "nodejs/node%d/node_modules/both/index.js" % major: "exports.x = 'pinned'",
            "nodejs/node%d/node_modules/pinned/index.js" % major: "exports.x = 'only here'",
            "nodejs/node%d/node_modules/wrong/index.js" % (major + 1): "",
        })  # fmt: skip
        layers = [one["LayerVersionArn"], two["LayerVersionArn"]]
        expected = {"plain": "plain", "both": "pinned", "pinned": "only here", "nested": "inner", "wrong": None}
        source = """
const found = {};
for (const name of ['plain', 'both', 'pinned', 'nested', 'wrong']) {
    try { found[name] = require(name).x; } catch (error) { found[name] = error.code === 'MODULE_NOT_FOUND' ? null : String(error); }
}
exports.handler = async () => found;
"""
        function = create(files={"index.js": source}, handler="index.handler", runtime=runtime, Layers=layers)
        assert function.result() == expected
        if major >= 18:
            source = """
import plain from 'plain';
import pinned from 'pinned';
import both from 'both';
export const handler = async () => [plain.x, pinned.x, both.x];
"""
            function = create(files={"index.mjs": source}, handler="index.handler", runtime=runtime, Layers=layers)
            assert function.result() == ["plain", "only here", "pinned"]
    finally:
        create.clean()
        publish.clean()


def test_versions_and_environments_of_their_own(server):
    publish, create = Layers(server), Factory(server)
    try:
        first, second = (publish({"python/shared.py": "X = %d\n" % number}, "mine")["LayerVersionArn"] for number in (1, 2))
        source = "import shared\ndef handler(e, c):\n    return shared.X\n"
        function = create(source, Layers=[first], Publish=True, runtime=python())
        assert function.result() == 1
        function.update(Layers=[second])
        assert (function.result(), function.result(Qualifier="1")) == (2, 1)
        publish.clean()
        assert (function.result(), function.result(Qualifier="1")) == (2, 1)
    finally:
        create.clean()
