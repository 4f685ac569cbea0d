"""Backup of a running server and restore into a new folder; what is refused."""

import json
import shutil
import stat
import subprocess
import tarfile
import threading
import time

import pytest
from harness.functions import Factory, python, zip_of, ROLE
from harness.paths import LAMBKIN
from harness.server import Server
from test_keys import OTHER, account, add
from test_program import lambkin


def backup(server, target, *arguments):
    done = lambkin("backup", "--data-dir", server.data_dir, *arguments, target)
    assert done.returncode == 0, done
    return done.stdout


def restore(file, folder):
    done = lambkin("restore", file, "--data-dir", folder)
    assert done.returncode == 0, done
    return done.stdout


@pytest.fixture
def other_server(own_server):
    """A second server of this test, whose data folder is not there yet."""
    server = Server()
    try:
        yield server
        if server.process is not None:
            server.stop()
        server.assert_quiet()
    finally:
        server.destroy()


def test_backup_and_restore(own_server, other_server, tmp_path):
    own_server.start()
    create = Factory(own_server)
    source = "def handler(event, context):\n    print('printed', event['n'])\n    return event['n'] * 2\n"
    function = create(source, name="kept")
    assert function.result({"n": 4}) == 8
    function.logs(until="REPORT")
    key = add(own_server, "--account", OTHER)
    file = tmp_path / "backup.tar"
    said = backup(own_server, file)
    assert said == "%s (%d bytes)\n" % (file, file.stat().st_size)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert not (own_server.data_dir / "staging").exists()
    # what comes later is not in it
    later = create(name="later")
    later.delete()
    function.delete()

    said = restore(file, other_server.data_dir)
    assert "of the backup of 20" in said and "account 000000000000" in said
    for path in other_server.data_dir.rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    other_server.start()
    assert other_server.credentials().access_key == own_server.credentials().access_key
    assert account(other_server, key) == OTHER
    client = other_server.client("lambda")
    assert [f["FunctionName"] for f in client.list_functions()["Functions"]] == ["kept"]
    other_server.functions.add("kept")
    answer = client.invoke(FunctionName="kept", Payload=json.dumps({"n": 21}))
    assert json.load(answer["Payload"]) == 42
    logs = other_server.client("logs")
    deadline = time.monotonic() + 20
    while True:
        events = logs.filter_log_events(logGroupName="/aws/lambda/kept", filterPattern="printed")["events"]
        if len(events) == 2:
            break
        assert time.monotonic() < deadline, events
        time.sleep(0.1)
    assert [event["message"] for event in events] == ["printed 4\n", "printed 21\n"]
    client.delete_function(FunctionName="kept")
    other_server.functions.discard("kept")


def test_writes_go_on_and_acknowledged_ones_are_in_it(own_server, other_server, tmp_path):
    own_server.start()
    logs = own_server.client("logs")
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    text = "x" * 1000
    for batch in range(20):
        now = int(time.time() * 1000)
        logs.put_log_events(
            logGroupName="g", logStreamName="s", logEvents=[{"timestamp": now, "message": text} for _ in range(500)]
        )
    package = zip_of({"app.py": "def handler(event, context):\n    return 1\n"})
    written, slowest, stop = [], [0.0], threading.Event()

    def write():
        client, logs = own_server.client("lambda"), own_server.client("logs")
        while not stop.is_set():
            name = "w%05d" % len(written)
            began = time.monotonic()
            client.create_function(FunctionName=name, Runtime=python(), Handler="app.handler", Role=ROLE, Code={"ZipFile": package})
            logs.put_log_events(
                logGroupName="g", logStreamName="s", logEvents=[{"timestamp": int(time.time() * 1000), "message": name}]
            )
            slowest[0] = max(slowest[0], time.monotonic() - began)
            written.append(name)
            own_server.functions.add(name)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        while len(written) < 5:
            time.sleep(0.01)
        # until a write was answered while a backup ran
        for _ in range(20):
            (tmp_path / "b.tar.zst").unlink(missing_ok=True)
            before = len(written)
            backup(own_server, tmp_path / "b.tar.zst")
            during = len(written) - before
            if during:
                break
    finally:
        stop.set()
        writer.join()
    assert during > 0, "nothing was written while the backup ran"
    assert slowest[0] < 10, slowest
    with open(tmp_path / "b.tar.zst", "rb") as file:
        assert file.read(4) == b"\x28\xb5\x2f\xfd"
    for name in written:
        own_server.client("lambda").delete_function(FunctionName=name)
    own_server.functions.clear()

    restore(tmp_path / "b.tar.zst", other_server.data_dir)
    other_server.start()
    client = other_server.client("lambda")
    found = [f["FunctionName"] for page in client.get_paginator("list_functions").paginate() for f in page["Functions"]]
    assert found[:before] == written[:before] and found == written[: len(found)]
    pages = other_server.client("logs").get_paginator("filter_log_events").paginate(logGroupName="g", filterPattern="w0")
    events = [event["message"] for page in pages for event in page["events"]]
    assert events[:before] == written[:before] and events == written[: len(events)]
    group = other_server.client("logs").describe_log_groups()["logGroups"][0]
    assert group["storedBytes"] == 20 * 500 * 1026 + len(events) * (6 + 26)
    # every function of it has its package
    for name in found:
        client.delete_function(FunctionName=name)


def test_without_a_server_and_without_logs(own_server, other_server, tmp_path):
    own_server.start()
    logs = own_server.client("logs")
    logs.create_log_group(logGroupName="g")
    key = add(own_server)
    own_server.stop()
    said = backup(own_server, tmp_path, "--without-logs", "--zstd")
    (file,) = tmp_path.glob("lambkin-*Z.tar.zst")
    assert str(file) in said
    assert "without logs" in restore(file, other_server.data_dir)
    assert not list((other_server.data_dir / "logs").glob("logs-*"))
    other_server.start()
    assert other_server.client("logs").describe_log_groups()["logGroups"] == []
    assert account(other_server, key) == "000000000000"


def test_manifest(server, tmp_path):
    backup(server, tmp_path / "b.tar")
    with tarfile.open(tmp_path / "b.tar") as archive:
        names = archive.getnames()
        header = json.load(archive.extractfile(names[0]))
        parts = json.load(archive.extractfile(names[-1]))["parts"]
    assert (names[0], names[-1]) == ("lambkin-backup.json", "manifest.json")
    assert header["format"] == "lambkin-backup" and header["version"] == 1 and header["logs"] is True
    assert [part["path"] for part in parts] == names[1:-1]
    assert {"meta.db", "root-key.json", "logs/index.db", "keys/session.key"} <= set(names)
    assert not any(name.startswith(("code", "LOCK", "runtimes", "admin")) for name in names)


def refused(*arguments):
    done = lambkin(*arguments)
    assert done.returncode == 1 and "panicked" not in done.stderr and not done.stdout, done
    return done.stderr


def test_what_is_refused(server, tmp_path):
    file, target = tmp_path / "b.tar", tmp_path / "target"
    backup(server, file)
    assert "exists already" in refused("backup", "--data-dir", server.data_dir, file)
    assert "there is no data folder" in refused("backup", "--data-dir", tmp_path / "none", tmp_path / "c.tar")
    assert "create " in refused("backup", "--data-dir", server.data_dir, tmp_path / "none/c.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b.tar"], "nothing half-written is left"

    def restoring(source, folder=target):
        return refused("restore", source, "--data-dir", folder)

    assert "is not empty" in restoring(file, server.data_dir)
    assert "read " in restoring(tmp_path / "none")
    whole = file.read_bytes()
    broken = tmp_path / "broken"
    broken.write_bytes(whole[: len(whole) // 2])
    assert "cut short" in restoring(broken)
    broken.write_bytes(b"something else " * 1000)
    assert "not a Lambkin backup" in restoring(broken)
    at = whole.index(b"SQLite format 3") + 5000
    broken.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    assert "is damaged: meta.db is not as it was written" in restoring(broken)
    assert not target.exists()
    # an empty folder will do, and stays empty if it fails
    target.mkdir(mode=0o700)
    restoring(broken)
    assert list(target.iterdir()) == []
    restore(file, target)


def test_a_restore_that_was_cut_off_is_noticed(own_server):
    own_server.data_dir.mkdir(mode=0o700)
    (own_server.data_dir / "RESTORING").touch()
    done = subprocess.run(own_server.command(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "did not finish" in done.stderr


def test_a_backup_that_is_broken_off(own_server, tmp_path):
    own_server.start()
    logs = own_server.client("logs")
    logs.create_log_group(logGroupName="g")
    logs.create_log_stream(logGroupName="g", logStreamName="s")
    for _ in range(60):
        now = int(time.time() * 1000)
        logs.put_log_events(
            logGroupName="g", logStreamName="s", logEvents=[{"timestamp": now, "message": "y" * 2000} for _ in range(400)]
        )
    process = subprocess.Popen(
        [LAMBKIN, "backup", "--data-dir", own_server.data_dir, tmp_path / "b.tar"], stderr=subprocess.PIPE, text=True
    )
    while not list(tmp_path.glob("b.tar.part-*")):
        time.sleep(0.001)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 30
    while (own_server.data_dir / "staging").exists():
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not (tmp_path / "b.tar").exists()
    backup(own_server, tmp_path / "c.tar")
    # what a killed server leaves of one
    own_server.baseline.assert_all_gone(own_server.kill())
    (own_server.data_dir / "staging").mkdir()
    (own_server.data_dir / "staging/meta.db").write_text("left")
    own_server.start()
    assert not (own_server.data_dir / "staging").exists()
    shutil.rmtree(tmp_path, ignore_errors=True)
