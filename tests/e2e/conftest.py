"""Fixtures: servers, functions, and the watch that every test is under."""

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))

from harness.functions import Factory  # noqa: E402
from harness.paths import LAMBKIN  # noqa: E402
from harness.server import Server  # noqa: E402

HERE = Path(__file__).parent

# What a server may say at its start.
ALWAYS_ALLOWED = [r"WARN .*--dev"]


def pytest_collection_modifyitems(items):
    mine = [item for item in items if HERE in item.path.parents]
    # those that look back at all others
    items.sort(key=lambda item: item.get_closest_marker("last") is not None)
    if mine and os.geteuid() != 0:
        for item in mine:
            item.add_marker(pytest.mark.skip(reason="sandboxes need root"))
    elif mine and not LAMBKIN.exists():
        raise pytest.UsageError("no binary at %s: use tests/e2e/run, or cargo build --release -p lambkin" % LAMBKIN)


def pytest_terminal_summary(terminalreporter):
    counts = {kind: len(terminalreporter.getreports(kind)) for kind in ("passed", "failed", "error", "skipped", "xfailed")}
    terminalreporter.write_line(
        "end-to-end: %(passed)d passed, %(failed)d failed, %(error)d errors, %(skipped)d skipped, %(xfailed)d expected failures" % counts
    )


SERVERS = []


def _allowed(request):
    markers = request.node.iter_markers("allow_log")
    return ALWAYS_ALLOWED + [pattern for marker in markers for pattern in marker.args]


def _serve(**options):
    server = Server(**options)
    SERVERS.append(server)
    try:
        yield server.start()
        if server.process is not None:
            for name in list(server.functions):
                server.client("lambda").delete_function(FunctionName=name)
            server.functions.clear()
            server.baseline.assert_idle()
            server.stop()
        server.assert_quiet(ALWAYS_ALLOWED)
    finally:
        SERVERS.remove(server)
        server.destroy()


@pytest.fixture(scope="session")
def serve():
    """What the fixture of a server with options of its own yields from."""
    return _serve


@pytest.fixture(scope="module")
def server():
    """A server that checks signatures."""
    yield from _serve()


@pytest.fixture(scope="module")
def dev_server():
    """A server with --dev."""
    yield from _serve(dev=True)


@pytest.fixture
def own_server(request):
    """A server of this test alone, not started."""
    server = Server()
    SERVERS.append(server)
    try:
        yield server
        if server.process is not None:
            server.stop()
        server.assert_quiet(_allowed(request))
    finally:
        SERVERS.remove(server)
        server.destroy()


@pytest.fixture
def create(server):
    """Makes functions that go with the test."""
    factory = Factory(server)
    yield factory
    factory.clean()


@pytest.fixture(scope="module")
def create_for_module(server):
    """Makes functions that stay for the module's tests."""
    factory = Factory(server)
    yield factory
    factory.clean()


@pytest.fixture
def client(server):
    """A Lambda client."""
    return server.client("lambda")


@pytest.fixture(autouse=True)
def watch(request):
    """After each test: nothing unexpected in the servers' logs, and no sandbox left over."""
    yield
    for server in SERVERS:
        server.assert_quiet(_allowed(request))


@pytest.fixture(autouse=True)
def no_leak():
    """Set up ahead of `create`, hence looks after it: without functions there are no sandboxes."""
    yield
    for server in SERVERS:
        if server.process is not None and server.baseline is not None and not server.functions:
            server.baseline.assert_idle()
