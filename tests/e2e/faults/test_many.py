"""Many functions: made, idle, and all invoked at once."""

import time
from concurrent.futures import ThreadPoolExecutor

from harness.functions import ROLE, python, zip_of
from test_misbehaving_functions import memory

BODY = "def handler(event, context):\n    return [event, context.function_name]\n"


def test_many_functions(own_server, scale):
    """What functions cost that do nothing, and that first events of many at once are all answered."""
    from conftest import World

    count, at_once = scale(200, 2000), scale(50, 200)
    own_server.args = ["--memory-mb", "4000000"]
    world = World(own_server.start())
    client = world.server.client("lambda", max_pool_connections=at_once)
    names = ["many-%d" % number for number in range(count)]
    package = zip_of({"app.py": BODY})
    begun = time.monotonic()
    empty = memory(world.server.process.pid)

    def make(name):
        client.create_function(
            FunctionName=name, Runtime=python(), Handler="app.handler", Role=ROLE, Code={"ZipFile": package}, Timeout=60
        )
        world.server.functions.add(name)
        world.create.made.append(name)

    def invoke(name):
        answer = client.invoke(FunctionName=name, Payload=b"1")
        assert "FunctionError" not in answer
        assert answer["Payload"].read().decode() == '[1, "%s"]' % name

    with world.during("%d functions made" % count) as row, ThreadPoolExecutor(4) as pool:
        list(pool.map(make, names))
        waited = time.monotonic()
        while [name for name in names[-20:] if client.get_function(FunctionName=name)["Configuration"]["State"] != "Active"]:
            assert time.monotonic() < waited + 60
            time.sleep(0.05)
        row.note = "%.1f s; server %d -> %d MiB" % (time.monotonic() - begun, empty, memory(world.server.process.pid))
    begun = time.monotonic()
    with world.during("first invokes of %d at once" % at_once) as row, ThreadPoolExecutor(at_once) as pool:
        list(pool.map(invoke, names[:at_once]))
        row.note = "%.1f s; server %d MiB" % (time.monotonic() - begun, memory(world.server.process.pid))
    with world.during("... and once more") as row, ThreadPoolExecutor(at_once) as pool:
        begun = time.monotonic()
        list(pool.map(invoke, names[:at_once]))
        row.note = "%.1f s" % (time.monotonic() - begun)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: client.delete_function(FunctionName=name), names))
    for name in names:
        world.server.functions.discard(name)
    world.bystander.end()
    # `own_server` stops it and looks for what is left
