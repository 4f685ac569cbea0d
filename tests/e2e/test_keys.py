"""Access keys: added, disabled, removed and rotated, on a running server and without one; accounts are apart."""

import json
import re
import signal
import socket
import stat
import subprocess

import pytest
from botocore.credentials import Credentials
from harness.functions import Factory, python, zip_of
from harness.paths import LAMBKIN
from test_functions import refused

INVALID = "The security token included in the request is invalid."
OTHER = "123456789012"


def keys(server, *arguments, check=True):
    done = subprocess.run(
        [LAMBKIN, "keys", *arguments, "--data-dir", server.data_dir],
        capture_output=True, text=True, timeout=60, env=server.environment(),
    )  # fmt: skip
    if check:
        assert done.returncode == 0, done
        return done.stdout
    return done


def exported(text):
    found = dict(re.findall(r"^export (\w+)=(\S+)$", text, re.M))
    assert len(text.splitlines()) == 2, text
    return Credentials(found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])


def add(server, *arguments):
    return exported(keys(server, "add", *arguments))


def listed(server):
    return {key["access_key_id"]: key for key in json.loads(keys(server, "list", "--json"))}


def account(server, credentials):
    return server.client("sts", credentials=credentials).get_caller_identity()["Account"]


def assert_refused(server, credentials):
    def client(service):
        return server.client(service, credentials=credentials)

    assert refused(client("lambda").list_functions) == ("UnrecognizedClientException", 403, INVALID)
    assert refused(client("logs").describe_log_groups) == ("UnrecognizedClientException", 400, INVALID)
    assert refused(client("sts").get_caller_identity) == ("InvalidClientTokenId", 403, INVALID)


def test_life_of_a_key(server):
    key = add(server, "--description", "build server")
    assert re.fullmatch(r"AKIA[A-Z2-7]{16}", key.access_key) and len(key.secret_key) == 40
    assert account(server, key) == "000000000000"
    keys(server, "disable", key.access_key)
    assert_refused(server, key)
    assert listed(server)[key.access_key]["status"] == "disabled"
    keys(server, "disable", key.access_key)
    keys(server, "enable", key.access_key)
    assert account(server, key) == "000000000000"
    keys(server, "remove", key.access_key)
    assert_refused(server, key)
    done = keys(server, "remove", key.access_key, check=False)
    assert done.returncode == 1 and done.stderr == "lambkin: there is no access key %s\n" % key.access_key


def test_list(server):
    key = add(server, "--account", OTHER, "--description", "what for")
    text = keys(server, "list")
    lines = text.splitlines()
    assert lines[0].split() == ["ACCESS", "KEY", "ID", "ACCOUNT", "STATUS", "CREATED", "DESCRIPTION"]
    root = server.credentials()
    assert lines[1].split() == [root.access_key, "000000000000", "root", "-"]
    assert re.search(r"^%s  %s  enabled     \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ  what for$" % (key.access_key, OTHER), text, re.M)
    assert key.secret_key not in text + json.dumps(listed(server))
    assert listed(server)[key.access_key]["account"] == OTHER
    keys(server, "remove", key.access_key)


def test_accounts_are_apart(server):
    mine, other = server.credentials(), add(server, "--account", OTHER)
    identity = server.client("sts", credentials=other).get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == (OTHER, "arn:aws:iam::%s:root" % OTHER)
    create = Factory(server)
    function = create("def handler(event, context):\n    print('mine')\n    return context.invoked_function_arn\n", name="same-name")
    assert function.result({}).split(":")[4] == "000000000000"
    function.logs(until="REPORT")
    theirs = server.client("lambda", credentials=other)
    assert theirs.list_functions()["Functions"] == []
    code, status, _ = refused(theirs.invoke, FunctionName="same-name")
    assert (code, status) == ("ResourceNotFoundException", 404)
    assert refused(theirs.get_function, FunctionName=function.client.get_function(FunctionName="same-name")["Configuration"]["FunctionArn"])
    logs = server.client("logs", credentials=other)
    assert logs.describe_log_groups()["logGroups"] == []
    assert refused(logs.filter_log_events, logGroupName="/aws/lambda/same-name")[0] == "ResourceNotFoundException"
    # the same name is free in the other account, and its deletion touches nothing here
    source = "def handler(event, context):\n    return 'theirs ' + context.invoked_function_arn\n"
    server.make_role(other)
    theirs.create_function(
        FunctionName="same-name", Runtime=python(), Handler="app.handler", Role="arn:aws:iam::%s:role/lambda" % OTHER,
        Code={"ZipFile": zip_of({"app.py": source})}, Timeout=30,
    )  # fmt: skip
    theirs.get_waiter("function_active_v2").wait(FunctionName="same-name", WaiterConfig={"Delay": 1, "MaxAttempts": 60})
    answer = json.load(theirs.invoke(FunctionName="same-name")["Payload"])
    assert answer.startswith("theirs ") and answer.split(":")[4] == OTHER
    theirs.delete_function(FunctionName="same-name")
    assert function.result({}).split(":")[4] == "000000000000"
    create.clean()
    assert account(server, mine) == "000000000000"
    keys(server, "remove", other.access_key)


def test_what_is_refused(server):
    root = server.credentials().access_key
    for action in ("remove", "disable"):
        done = keys(server, action, root, check=False)
        assert done.returncode == 1 and "is the root key" in done.stderr
    for bad in ("12", "12345678901a", ""):
        done = keys(server, "add", "--account", bad, check=False)
        assert done.returncode == 1 and "12 digits" in done.stderr
    done = keys(server, "add", "--description", "two\nlines", check=False)
    assert done.returncode == 1 and "one line" in done.stderr
    assert len(listed(server)) == 1
    done = subprocess.run(
        [LAMBKIN, "keys", "list", "--data-dir", server.work / "none"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1 and "there is no data folder" in done.stderr
    assert not (server.work / "none").exists()


def test_without_a_server_and_over_restarts(own_server):
    own_server.credentials()
    before = add(own_server, "--account", OTHER)
    own_server.start()
    assert account(own_server, before) == OTHER
    during = add(own_server)
    gone = add(own_server)
    keys(own_server, "disable", before.access_key)
    keys(own_server, "remove", gone.access_key)
    # what was acknowledged survives a crash
    own_server.baseline.assert_all_gone(own_server.kill())
    assert (own_server.data_dir / "admin.sock").is_socket()
    keys(own_server, "enable", before.access_key)
    own_server.start()
    assert account(own_server, before) == OTHER
    assert account(own_server, during) == "000000000000"
    assert_refused(own_server, gone)
    own_server.stop()
    assert not (own_server.data_dir / "admin.sock").exists()


def test_rotated_root_key(own_server):
    old = own_server.credentials()
    own_server.start()
    new = exported(keys(own_server, "rotate-root"))
    assert account(own_server, new) == "000000000000"
    assert_refused(own_server, old)
    own_server._credentials = None
    assert own_server.credentials().access_key == new.access_key
    own_server.stop()
    newer = exported(keys(own_server, "rotate-root"))
    own_server._credentials = newer
    own_server.start()
    assert account(own_server, newer) == "000000000000"
    assert_refused(own_server, new)


def test_at_rest(server):
    key = add(server)
    for path in server.data_dir.rglob("*"):
        if path.is_file():
            assert key.secret_key.encode() not in path.read_bytes(), path
            if path.parent.name == "keys":
                assert path.stat().st_mode & 0o777 == 0o600
    assert key.secret_key not in server.log()
    keys(server, "remove", key.access_key)


def ask(server, head, body=b""):
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(server.data_dir / "admin.sock"))
        sock.sendall(head + b"Host: x\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        answer = b""
        while chunk := sock.recv(65536):
            answer += chunk
    status, body = answer.split(b"\r\n", 1)[0], answer.split(b"\r\n\r\n", 1)[1]
    return int(status.split()[1]), json.loads(body)


def test_admin_socket(server):
    mode = (server.data_dir / "admin.sock").stat().st_mode
    assert stat.S_ISSOCK(mode) and mode & 0o777 == 0o600
    command = b"POST /v1/command HTTP/1.1\r\n"
    status, answer = ask(server, command, b'{"command":"list-keys"}')
    assert status == 200 and answer["ok"][0]["status"] == "root"
    for body in (b"", b"{}", b'{"command":"no-such"}', b'{"command":"remove-key"}', b"[" * 1000):
        status, answer = ask(server, command, body)
        assert status == 400 and answer["error"], body
    assert ask(server, b"GET / HTTP/1.1\r\n")[0] == 404
    assert ask(server, command, b" " * 70000)[0] == 400
    # not to be had from the network
    assert server.http("POST", "/v1/command", body=b'{"command":"list-keys"}').status != 200
    done = subprocess.run(
        ["setpriv", "--reuid=65534", "--clear-groups", LAMBKIN, "keys", "list", "--data-dir", server.data_dir],
        capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode != 0


def test_commands_wait_for_a_server_that_starts_or_stops(own_server):
    own_server.credentials()
    for _ in range(3):
        own_server.start()
        own_server.process.send_signal(signal.SIGTERM)
        assert listed(own_server)
        assert own_server.process.wait(30) == 0
        own_server.process = None


@pytest.mark.allow_log("ERROR .*an access key can't be used; remove it")
def test_lost_sealing_key(own_server):
    own_server.credentials()
    key = add(own_server)
    path = own_server.data_dir / "keys/access-keys.key"
    kept = path.read_bytes()
    path.unlink()
    done = keys(own_server, "list", check=False)
    assert done.returncode == 1 and "access-keys.key is missing" in done.stderr
    path.write_bytes(b"x" * 32)
    own_server.start()
    assert_refused(own_server, key)
    assert listed(own_server)[key.access_key]["status"] == "unreadable"
    own_server.stop()
    path.write_bytes(kept)
    own_server.start()
    assert account(own_server, key) == "000000000000"
