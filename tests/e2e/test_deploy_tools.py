"""Tools that people deploy functions with, as far as the services that are here let them: docs/deploy-tools.md."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from harness.functions import ROLE, nodes, runtimes, zip_of
from harness.paths import HELLO_RUST, ROOT

TOOLS = Path(os.environ.get("DEPLOY_TOOLS") or "/nowhere")
pytestmark = pytest.mark.skipif(not TOOLS.is_dir(), reason="no deploy tools: scripts/deploy-tools could not fetch them")


@pytest.fixture
def run(server, tmp_path):
    """Runs a tool in a folder of its own with the server's credentials; its output."""

    def run(*command, env=None, stdin=None, status=0):
        environment = {**server.cli_environment(), "HOME": str(tmp_path), "DEPLOY_TOOLS": str(TOOLS), **(env or {})}
        done = subprocess.run(
            list(map(str, command)), cwd=tmp_path, env=environment, input=stdin, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == status, "%s\n%s\n%s" % (command, done.stdout, done.stderr)
        return done.stdout + done.stderr

    return run


@pytest.fixture
def gone(server):
    """Functions that tools leave behind go with the test."""
    yield
    client = server.client()
    for function in client.list_functions()["Functions"]:
        client.delete_function(FunctionName=function["FunctionName"])


# -- AWS Chalice

CHALICE = """
from chalice import Chalice%s

app = Chalice(app_name="shop")


@app.lambda_function()
def greet(event, context):
    print("greeting", event["name"])
    return {"hello": event["name"], "version": %r}
"""
QUEUE = """

@app.on_sqs_message(queue="orders")
def ordered(event):
    pass
"""
SCHEDULE = """

@app.schedule(Rate(5, unit=Rate.MINUTES))
def tidy(event):
    pass
"""


@pytest.fixture
def chalice(run, tmp_path):
    """Runs `chalice` in the folder of an application."""
    if "python3.%d" % sys.version_info.minor not in runtimes():
        pytest.skip("Chalice deploys for its own Python, which is no runtime here")
    (tmp_path / ".chalice").mkdir()
    (tmp_path / "requirements.txt").touch()
    settings = {"environment_variables": {"STAGE": "dev"}, "lambda_memory_size": 256, "tags": {"team": "shop"}}
    config = {"version": "2.0", "app_name": "shop", "stages": {"dev": settings}}
    (tmp_path / ".chalice/config.json").write_text(json.dumps(config))

    def chalice(*arguments, **options):
        main = "import sys; from chalice.cli import main; sys.exit(main())"
        return run(sys.executable, "-c", main, *arguments, env={"PYTHONPATH": str(TOOLS / "chalice")}, **options)

    return chalice


def test_chalice(chalice, client, server, tmp_path):
    (tmp_path / "app.py").write_text(CHALICE % ("", 1))
    assert "Creating lambda function: shop-dev-greet" in chalice("deploy")
    found = client.get_function(FunctionName="shop-dev-greet")
    assert found["Configuration"]["MemorySize"] == 256 and found["Tags"]["team"] == "shop"
    assert found["Configuration"]["Role"].endswith(":role/shop-dev")
    assert json.loads(chalice("invoke", "-n", "greet", stdin='{"name": "x"}')) == {"hello": "x", "version": 1}
    (tmp_path / "app.py").write_text(CHALICE % ("", 2))
    assert "Updating lambda function: shop-dev-greet" in chalice("deploy")
    assert json.loads(chalice("invoke", "-n", "greet", stdin='{"name": "x"}')) == {"hello": "x", "version": 2}
    assert "greeting x" in chalice("logs", "-n", "greet")
    assert "Deleting function" in chalice("delete")
    assert client.list_functions()["Functions"] == []
    roles = server.client("iam").list_roles()["Roles"]
    assert [role["RoleName"] for role in roles] == ["lambda"]


@pytest.mark.allow_log("WARN .*nothing reads from event sources")
def test_chalice_with_a_queue_and_a_schedule(chalice, client, tmp_path, gone):
    # the queue is only named: a mapping is made, which nothing serves yet
    (tmp_path / "app.py").write_text(CHALICE % ("", 1) + QUEUE)
    assert "Subscribing shop-dev-ordered to SQS queue orders" in chalice("deploy")
    [mapping] = client.list_event_source_mappings()["EventSourceMappings"]
    assert mapping["EventSourceArn"].endswith(":orders")
    # the schedule needs EventBridge, which is not here
    (tmp_path / "app.py").write_text(CHALICE % (", Rate", 1) + SCHEDULE)
    output = " ".join(chalice("deploy", status=2).split())
    assert "calling the PutRule operation" in output and "Lambkin does not have service 'events'" in output
    chalice("delete")


# -- cargo lambda


@pytest.fixture
def cargo_lambda(run, tmp_path):
    """Runs `cargo-lambda lambda` beside a program that is built already."""
    (tmp_path / "Cargo.toml").write_text('[package]\nname = "hello"\nversion = "0.1.0"\nedition = "2021"\n')
    (tmp_path / "src").mkdir()
    (tmp_path / "src/main.rs").write_text("fn main() {}\n")
    built = tmp_path / "target/lambda/hello"
    built.mkdir(parents=True)
    shutil.copy(HELLO_RUST, built / "bootstrap")
    # cargo's own folders stay where they are
    homes = {name: os.environ.get(name) or str(Path.home() / folder) for name, folder in [("CARGO_HOME", ".cargo"), ("RUSTUP_HOME", ".rustup")]}
    env = {**homes, "PATH": "%s:%s/bin" % (os.environ["PATH"], homes["CARGO_HOME"])}
    return lambda *arguments, **options: run(TOOLS / "cargo-lambda/bin/cargo-lambda", "lambda", *arguments, env=env, **options)


def test_cargo_lambda(cargo_lambda, client, gone):
    # without --role it makes one and waits until it can be assumed
    output = cargo_lambda("deploy", "hello", "--memory", "256", "--env-var", "STAGE=dev", "--tag", "team=shop")
    assert "function deployed successfully" in output and "version: 1" in output
    found = client.get_function(FunctionName="hello")
    assert (found["Configuration"]["Runtime"], found["Configuration"]["MemorySize"]) == ("provided.al2023", 256)
    assert found["Tags"]["team"] == "shop"
    role = found["Configuration"]["Role"]
    assert re.search(":role/cargo-lambda-role-", role)
    output = cargo_lambda("invoke", "--remote", "hello", "--data-ascii", '{"name": "x"}')
    assert '"message":"Hello, x!"' in output
    # it asks for the alias's state before it makes the alias, which AWS refuses as well; so the alias is there
    client.create_alias(FunctionName="hello", Name="live", FunctionVersion="1")
    output = cargo_lambda("deploy", "hello", "--role", role, "--alias", "live", "--memory", "512")
    assert "function deployed successfully" in output
    version = client.get_alias(FunctionName="hello", Name="live")["FunctionVersion"]
    assert version != "1"
    assert client.get_function_configuration(FunctionName="hello", Qualifier="live")["MemorySize"] == 512
    output = cargo_lambda("deploy", "hello", "--role", role, "--tracing", "active", status=1)
    assert "Lambkin does not support TracingConfig" in output


def test_cargo_lambda_publishes_an_extension_as_a_layer(cargo_lambda, client, tmp_path):
    built = tmp_path / "target/lambda/extensions"
    built.mkdir()
    shutil.copy(HELLO_RUST, built / "watcher")
    assert "extension uploaded successfully" in cargo_lambda("deploy", "watcher", "--extension")
    [version] = client.list_layer_versions(LayerName="watcher")["LayerVersions"]
    client.delete_layer_version(LayerName="watcher", VersionNumber=version["Version"])


# -- AWS SDK for JavaScript


def new_node():
    """A Node.js that the SDK runs on."""
    for folder in os.environ["PATH"].split(":"):
        node = Path(folder) / "node"
        if node.is_file():
            version = subprocess.run([node, "--version"], capture_output=True, text=True).stdout
            if int(re.match(r"v(\d+)", version)[1]) >= 22:
                return node
    pytest.skip("the SDK wants Node.js 22 or newer")


def test_javascript_sdk(run, tmp_path, client):
    source = "exports.handler = async (event) => ({code: %d, event, stage: process.env.STAGE, layer: require('given')});\n"
    files = []
    for name, content in [
        ("first", {"index.js": source % 1}), ("second", {"index.js": source % 2}),
        ("layer", {"nodejs/node_modules/given/index.js": "module.exports = 7;\n"}),
    ]:  # fmt: skip
        files.append(tmp_path / (name + ".zip"))
        files[-1].write_bytes(zip_of(content))
    runtime = [name for name in nodes() if name >= "nodejs20.x"][-1]
    seen = json.loads(run(new_node(), ROOT / "tests/e2e/tools/deploy.mjs", *files, runtime, ROLE, env={"AWS_REGION": "us-east-1"}))
    assert seen["created"] == ["Pending", 1]
    assert (seen["active"], seen["exists"]) == ("SUCCESS", "SUCCESS")
    assert seen["invoked"] == [200, "$LATEST", {"code": 1, "event": {"n": 1}, "stage": "dev", "layer": 7}, True]
    assert seen["latest"] == {"code": 2, "event": {}, "stage": "prod", "layer": 7}
    assert seen["alias"] == {"code": 1, "event": {}, "stage": "dev", "layer": 7}
    assert seen["streamed"] == seen["latest"]
    assert seen["pages"] == ["$LATEST", "1"]
    assert seen["error"] == [True, 404, "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody"]
    assert seen["tags"] == {"by": "javascript"} and seen["download"] is True
    client.delete_layer_version(LayerName="by-javascript", VersionNumber=1)
