"""What was acknowledged is there after `kill -9`; a killed server's traces go at the next start."""

import random
import signal
import subprocess
import threading
import time

import pytest

from harness import leaks
from harness.functions import ROLE, Factory, python, zip_of


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_acknowledged_writes_survive_a_kill(own_server, seed):
    server = own_server.start()
    chance = random.Random(seed)
    acknowledged = {}
    deleted = set()
    unsure = set()
    stop = threading.Event()
    lock = threading.Lock()

    def write(worker):
        client = server.client("lambda")
        i = 0
        while not stop.is_set():
            name = "w%d-%d" % (worker, i)
            i += 1
            state = {"Description": "", "Tags": {}}
            body = "def handler(e, c):\n    return %r\n" % name
            try:
                with lock:
                    unsure.add(name)
                client.create_function(
                    FunctionName=name, Runtime=python(), Handler="app.handler", Role=ROLE,
                    Code={"ZipFile": zip_of({"app.py": body})}, Tags={"by": str(worker)},
                )  # fmt: skip
                state["Tags"] = {"by": str(worker)}
                with lock:
                    acknowledged[name] = dict(state)
                    unsure.discard(name)
                client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.05})
                with lock:
                    unsure.add(name)
                client.update_function_configuration(FunctionName=name, Description="changed")
                state["Description"] = "changed"
                with lock:
                    acknowledged[name] = dict(state)
                arn = "arn:aws:lambda:us-east-1:000000000000:function:" + name
                client.tag_resource(Resource=arn, Tags={"more": "1"})
                state["Tags"] = {"by": str(worker), "more": "1"}
                with lock:
                    acknowledged[name] = dict(state)
                    unsure.discard(name)
                if i % 4 == 0:
                    with lock:
                        unsure.add(name)
                    client.delete_function(FunctionName=name)
                    with lock:
                        deleted.add(name)
                        unsure.discard(name)
            except Exception:
                if stop.is_set():
                    return
                raise

    threads = [threading.Thread(target=write, args=(worker,)) for worker in range(6)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 120
    while len(acknowledged) < 30:
        assert time.monotonic() < deadline and all(thread.is_alive() for thread in threads)
        time.sleep(0.01)
    time.sleep(chance.random() / 2)
    stop.set()  # what fails from here on fails because of the kill
    server.kill()
    for thread in threads:
        thread.join()
    server._clients.clear()

    server.start()
    client = server.client("lambda")
    there = {
        function["FunctionName"]
        for page in client.get_paginator("list_functions").paginate()
        for function in page["Functions"]
    }
    assert len(acknowledged) >= 30
    for name, state in acknowledged.items():
        if name in deleted:
            assert name not in there
            continue
        if name in unsure and name not in there:
            continue  # a delete that was not answered
        assert name in there, name
        got = client.get_function(FunctionName=name)
        if name not in unsure:
            assert got["Configuration"]["Description"] == state["Description"]
            assert got["Tags"] == state["Tags"]
    for name in chance.sample(sorted(there), min(5, len(there))):
        client.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.2})
        client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.2})
        assert client.invoke(FunctionName=name, Payload=b"{}")["Payload"].read() == b'"%s"' % name.encode()


def test_logs_survive_a_kill(own_server):
    server = own_server.start()
    function = Factory(server)("def handler(e, c):\n    print('to be kept')\n", name="keeper")
    function.result({})
    function.logs(until="REPORT")
    server.kill()
    server._clients.clear()
    server.start()
    function.client = server.client("lambda")
    assert "to be kept" in "".join(function.logs(until="to be kept"))


def test_a_killed_server_leaves_nothing_for_long(own_server):
    server = own_server.start()
    function = Factory(server)("import time\ndef handler(e, c):\n    time.sleep(e)\n    return e\n")
    function.result(0)

    def hang():
        try:
            function.invoke(30)
        except Exception:
            pass  # the server dies under it

    hanging = threading.Thread(target=hang)
    hanging.start()
    time.sleep(0.5)
    first = server.baseline
    left = server.kill()
    hanging.join()
    server._clients.clear()
    # the sandboxes go with the server, without anybody's help
    leaks.until(lambda: leaks.alive(left) and "still alive: %s" % [leaks._describe(p) for p in leaks.alive(left)])
    server.start()
    function.client = server.client("lambda")
    # the new server has a zygote again, under the name of the old one's
    leaks.until(lambda: sorted(path for path in leaks.cgroups(server.data_dir) - first.cgroups if "/zygote-" not in path))
    assert function.result(0) == 0


def test_restart_keeps_functions(own_server):
    server = own_server.start()
    function = Factory(server)("def handler(e, c):\n    return 'here'\n", name="kept", env={"AA": "b"})
    first = function.client.get_function(FunctionName="kept")["Configuration"]
    assert function.result() == "here"
    server.stop()
    server.start()
    function.client = server.client("lambda")
    assert function.result() == "here"
    assert function.client.get_function(FunctionName="kept")["Configuration"] == first
    key = server.credentials().access_key
    server._credentials = None
    assert server.credentials().access_key == key


def test_data_folder_has_one_server(own_server):
    server = own_server.start()
    second = subprocess.run(
        [*server.command()[:2], "--listen", "127.0.0.1:0", "--data-dir", str(server.data_dir)],
        capture_output=True, text=True, timeout=30, env=server.environment(),
    )  # fmt: skip
    assert second.returncode != 0
    assert str(server.data_dir) in second.stderr and "panicked" not in second.stderr
    assert server.client("lambda").list_functions()["Functions"] == []


def test_port_in_use(own_server, server):
    own_server.port = server.port
    done = subprocess.run(own_server.command(), capture_output=True, text=True, timeout=30, env=own_server.environment())
    assert done.returncode != 0
    assert str(server.port) in done.stderr and "panicked" not in done.stderr


def test_stop_lets_running_events_finish(own_server):
    server = own_server.start()
    function = Factory(server)("import time\ndef handler(e, c):\n    time.sleep(e)\n    return 'finished'\n")
    function.result(0)
    answers = []
    client = server.client("lambda")
    thread = threading.Thread(
        target=lambda: answers.append(client.invoke(FunctionName=function.name, Payload=b"2")["Payload"].read())
    )
    thread.start()
    time.sleep(0.5)
    family = leaks.family(server.process.pid)
    server.process.send_signal(signal.SIGTERM)
    status = server.process.wait(30)
    thread.join()
    server.process = None
    assert (status, answers) == (0, [b'"finished"'])
    server.baseline.assert_all_gone(family)
    messages_server = server.start()
    function.client = messages_server.client("lambda")
    assert "REPORT" in "".join(function.logs(until="REPORT"))


def test_stop_without_work_is_quick(own_server):
    server = own_server.start()
    began = time.monotonic()
    server.stop()
    assert time.monotonic() - began < 3
