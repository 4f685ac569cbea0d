"""What functions can reach on the network, by the operator's policy. The outside is a namespace of ours."""

import json
import os
import re
import socket
import socketserver
import subprocess
import threading
import time

import pytest

from harness import leaks, network
from harness.functions import Factory
from harness.paths import LAMBKIN
from harness.server import Server

pytestmark = pytest.mark.skipif(network.missing() is not None, reason=network.missing() or "")

INSIDE = r'''
import errno, os, socket, struct, threading, time

def attempt(call, *arguments):
    try:
        return call(*arguments)
    except socket.gaierror as error:
        return "gaierror %d" % error.errno
    except TimeoutError:
        return "timeout"
    except OSError as error:
        return errno.errorcode.get(error.errno, str(error))

def get(host, port):
    with socket.create_connection((host, port), 3) as sock:
        sock.sendall(b"GET / HTTP/1.0\r\n\r\n")
        data = b""
        while chunk := sock.recv(4096):
            data += chunk
        return data.decode().rpartition("\r\n")[2]

def resolve(name):
    return sorted({found[4][0] for found in socket.getaddrinfo(name, 80, socket.AF_INET)})

def query(name, number=1, kind=1):
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"
    return struct.pack("!HHHHHH", number, 0x100, 1, 0, 0, 0) + labels + struct.pack("!HH", kind, 1)

def flood(count):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.53", 53))
    for number in range(count):
        sock.send(query("slow%d.test" % number, number))
    return True

def by_tcp(name):
    with socket.create_connection(("127.0.0.53", 53), 5) as sock:
        sock.sendall(struct.pack("!H", len(query(name))) + query(name))
        length, = struct.unpack("!H", sock.recv(2))
        data = b""
        while len(data) < length:
            data += sock.recv(length)
        return struct.unpack("!H", data[6:8])[0]

def raw(kind, name="web.test"):
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(5)
    sock.connect(("127.0.0.53", 53))
    sock.send(query(name, 7, kind))
    data = sock.recv(4096)
    return [data[3] & 15, struct.unpack("!H", data[6:8])[0]]

def listen():
    threading.Thread(target=socket.create_server(("0.0.0.0", 7000)).accept, daemon=True).start()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.connect(("203.0.113.0", 9))
        return probe.getsockname()[0]

kept = []
def keep(host, port):
    kept.append(socket.create_connection((host, port), 3))
    return kept[-1].getsockname()[1]

def echo(host, port, text):
    with socket.create_connection((host, port), 3) as sock:
        sock.sendall(text.encode())
        sock.shutdown(socket.SHUT_WR)
        return sock.makefile().read()

def handler(event, context):
    began = time.monotonic()
    if event[0] == "interfaces":
        result = [name for _, name in socket.if_nameindex()]
    elif event[0] == "sleep":
        time.sleep(event[1])
        result = True
    else:
        result = attempt(globals()[event[0]], *event[1:])
    return [result, time.monotonic() - began]
'''

# The same as a custom runtime.
BOOTSTRAP = (
    "#!/usr/bin/python3\n"
    + INSIDE
    + r'''
import http.client, json
while True:
    api = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    api.request("GET", "/2018-06-01/runtime/invocation/next")
    response = api.getresponse()
    event = json.loads(response.read())
    path = "/2018-06-01/runtime/invocation/%s/response" % response.getheader("Lambda-Runtime-Aws-Request-Id")
    api.request("POST", path, json.dumps(handler(event, None)))
    api.getresponse().read()
'''
)

REFUSED = ("ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "EACCES")


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"host: " + self.rfile.read())


@pytest.fixture(scope="module")
def echo():
    """A service on the host's loopback."""
    server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Echo)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server.server_address[1]
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def outside(tmp_path_factory):
    outside = network.Outside(tmp_path_factory.mktemp("outside"))
    yield outside
    outside.close()


def configure(folder, outside, functions="", more=""):
    path = folder / "lambkin.toml"
    path.write_text('[egress]\nresolv-conf = "%s"\n%s\n[egress.functions]\n%s' % (outside.resolv_conf, more, functions))
    return path


@pytest.fixture(scope="module")
def server(serve, tmp_path_factory, outside, echo):
    """In place of the usual one: a server with policies."""
    functions = f'''
"none-*" = "none"
"000000000000/exact-*" = ["{outside.address}:80", "10.0.0.0/8:80"]
"names-*" = ["web.test:80", "alias.test:81", "private.test:80"]
"local-*" = ["127.0.0.1:{echo}"]
"own-*" = ["localhost:{echo}", "{outside.host}:{echo}", "two.test:80"]
'''
    config = configure(tmp_path_factory.mktemp("config"), outside, functions)
    yield from serve(args=["--config", str(config)])


@pytest.fixture
def function(create):
    """Makes a function and answers how to have it do something."""

    def make(name, runtime=None, **options):
        files = {"bootstrap!": BOOTSTRAP} if runtime == "provided.al2023" else {"app.py": INSIDE}
        made = create(files=files, runtime=runtime, name="%s-%s" % (name, os.urandom(4).hex()), Timeout=60, **options)
        return lambda *event: made.result(list(event))[0]

    return make


@pytest.mark.parametrize("runtime", [None, "provided.al2023"])
def test_internet(function, outside, server, runtime):
    do = function("free", runtime)
    assert do("interfaces") == ["lo", "eth0"]
    assert do("get", outside.address, 80) == "peer " + outside.host
    assert do("get", "web.test", 80) == "peer " + outside.host
    assert do("get", "alias.test", 81) == "peer " + outside.host
    assert do("resolve", "two.test") == sorted([outside.address, outside.other])
    assert do("resolve", "missing.test").startswith("gaierror")


def test_internet_is_not_the_host(function, outside, server, echo):
    do = function("free")
    with socket.create_server((outside.host, 0)) as listener:
        port = listener.getsockname()[1]
        assert do("get", outside.host, port) in REFUSED
    assert do("get", outside.host, 22) in REFUSED
    assert do("get", "127.0.0.1", echo) == "ECONNREFUSED"
    for address in ("169.254.169.254", "10.0.0.1", "172.16.5.4", "192.168.1.1", "100.64.1.1", "100.100.100.100"):
        assert do("get", address, 80) in REFUSED, address
    assert do("get", outside.private, 80) in REFUSED
    assert do("get", "private.test", 80) in REFUSED


def test_functions_do_not_see_each_other(function, outside):
    one, two = function("free"), function("free")
    address = one("listen")
    assert two("listen") != address
    assert two("get", address, 7000) in REFUSED
    # nor does the outside begin anything
    assert outside.run("ip", "route", "add", address, "via", outside.host).returncode == 0
    done = outside.run("timeout", "1", "bash", "-c", "exec 3<>/dev/tcp/%s/7000" % address)
    assert done.returncode != 0


@pytest.mark.parametrize("runtime", [None, "provided.al2023"])
def test_none(function, outside, runtime):
    do = function("none", runtime)
    assert do("interfaces") == ["lo"]
    assert do("get", outside.address, 80) == "ENETUNREACH"
    began = time.monotonic()
    assert do("resolve", "web.test").startswith("gaierror")
    assert time.monotonic() - began < 3


def test_list_of_addresses(function, outside):
    do = function("exact")
    assert do("get", outside.address, 80) == "peer " + outside.host
    assert do("get", outside.address, 81) in REFUSED
    assert do("get", outside.other, 80) in REFUSED
    assert do("resolve", "web.test").startswith("gaierror")
    # of a listed block of private addresses
    assert do("get", outside.private, 80) == "peer " + outside.host
    assert do("get", outside.private, 81) in REFUSED


def test_list_of_names(function, outside):
    do = function("names")
    assert do("get", outside.address, 80) in REFUSED
    assert do("get", "web.test", 80) == "peer " + outside.host
    # its address is open now, for its port
    assert do("get", outside.address, 80) == "peer " + outside.host
    assert do("get", outside.address, 81) in REFUSED
    assert do("get", "alias.test", 81) == "peer " + outside.host
    assert do("get", "web.test", 81) == "peer " + outside.host, "the same address by another name"
    assert do("resolve", "two.test").startswith("gaierror")
    assert do("resolve", "other.test").startswith("gaierror")
    assert do("resolve", "private.test") == [outside.private]
    assert do("get", "private.test", 80) in REFUSED
    assert do("raw", 28) == [0, 0], "IPv6 addresses of a listed name"
    assert do("raw", 16, "other.test") == [3, 0]


def test_what_one_environment_learned_no_other_may(function, outside):
    one, two = function("names"), function("names")
    assert one("get", "web.test", 80) == "peer " + outside.host
    assert two("get", outside.address, 80) in REFUSED


@pytest.mark.parametrize("runtime", [None, "provided.al2023"])
def test_the_hosts_loopback(function, outside, echo, runtime):
    do = function("local", runtime)
    assert do("interfaces") == ["lo"]
    assert do("echo", "127.0.0.1", echo, "x" * 100_000) == "host: " + "x" * 100_000
    assert do("echo", "localhost", echo, "hello") == "host: hello"
    assert do("get", outside.address, 80) == "ENETUNREACH"
    assert do("resolve", "web.test").startswith("gaierror")


def test_the_hosts_own_address_by_exact_entry(function, outside, echo):
    do = function("own")
    assert do("echo", "localhost", echo, "a") == "host: a"
    service = socketserver.ThreadingTCPServer((outside.host, echo), Echo)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    try:
        assert do("echo", outside.host, echo, "b") == "host: b"
        assert do("get", "two.test", 80) == "peer " + outside.host
        assert do("get", outside.host, 80) in REFUSED
    finally:
        service.shutdown()
        service.server_close()


def test_long_answers_come_by_tcp(function, outside):
    do = function("free")
    assert len(do("resolve", "big.test")) == 60
    assert do("by_tcp", "big.test") == 60
    assert ["big.test", 1, "tcp"] in outside.asked()
    assert do("by_tcp", "web.test") == 1


def test_queries_under_way_are_bounded(function, outside):
    do = function("free")
    do("interfaces")
    before = len(outside.asked())
    began = time.monotonic()
    assert do("flood", 500)
    time.sleep(max(0, began + 1 - time.monotonic()))
    names = {name for name, *_ in outside.asked()[before:]}
    assert 0 < len(names) <= 64, len(names)
    # other sandboxes do not wait for it
    other = function("free")
    assert other("resolve", "web.test") == [outside.address]


def test_nothing_is_left_after_every_end(server, function, create, outside):
    function("free")("keep", outside.address, 80)
    function("names")("keep", "web.test", 80)
    slow = create(INSIDE, name="free-%s" % os.urandom(4).hex(), Timeout=1)
    assert slow.invoke(["sleep", 30]).error == "Unhandled"
    sandboxes, own = leaks.network(server.data_dir)
    assert len(own) == 2, own
    links = [name for name in sandboxes if name.startswith("lbk")]
    assert len(links) >= 2, sandboxes


def test_a_killed_server_leaves_nothing_and_the_next_has_a_network(own_server, outside, tmp_path):
    own_server.args += ["--config", str(configure(tmp_path, outside))]
    own_server.start()
    factory = Factory(own_server)
    functions = [factory(INSIDE, Timeout=60, name="free-%d" % n) for n in range(3)]
    for function in functions:
        assert function.result(["get", "web.test", 80])[0] == "peer " + outside.host
    family = own_server.kill()
    own_server.baseline.assert_all_gone(family)
    own_server.start()
    for function in functions:
        function.client = own_server.client("lambda")
        assert function.result(["get", "web.test", 80])[0] == "peer " + outside.host


def test_two_servers_on_a_host(server, function, own_server, outside, tmp_path):
    own_server.args += ["--config", str(configure(tmp_path, outside))]
    own_server.start()
    other = Factory(own_server)(INSIDE, Timeout=60)
    mine = function("free")
    address = other.result(["listen"])[0]
    assert mine("listen") != address
    assert mine("get", address, 7000) in REFUSED
    assert mine("get", outside.address, 80) == other.result(["get", outside.address, 80])[0] == "peer " + outside.host


WEAKER = r"WARN .*(CPU time is not limited|memory is limited by watching|all sandboxes run as the server's user)"


def test_without_root_the_hosts_loopback_can_be_listed(echo):
    server = Server(user=12345)
    try:
        config = server.work / "lambkin.toml"
        config.write_text('[egress.functions]\nlocal = ["localhost:%d"]\n' % echo)
        config.chmod(0o644)
        server.args += ["--config", str(config)]
        server.start()
        runtime = {"runtime": "python3.11"}  # that of the system: others may lie where the user cannot look
        local, other = Factory(server)(INSIDE, name="local", **runtime), Factory(server)(INSIDE, **runtime)
        assert local.result(["echo", "localhost", echo, "hello"])[0] == "host: hello"
        assert other.result(["get", "127.0.0.1", echo])[0] == "ECONNREFUSED"
        for function in (local, other):
            assert function.result(["interfaces"])[0] == ["lo"]
            assert function.result(["get", "203.0.113.1", 80])[0] == "ENETUNREACH"
            assert function.result(["resolve", "web.test"])[0].startswith("gaierror")
        assert "functions have no network" in server.log()
        server.stop()
        # what only root can give is refused
        config.write_text('[egress.functions]\nlocal = ["203.0.113.1:80"]\n')
        with pytest.raises(AssertionError, match="(?s)the server ended: .*asks for a network"):
            server.start()
        server.process = None
        server.assert_quiet([WEAKER])
    finally:
        server.destroy()


def serve_with(tmp_path, text, *flags):
    path = tmp_path / "lambkin.toml"
    path.write_text(text)
    command = [LAMBKIN, "serve", "--listen", "127.0.0.1:0", "--data-dir", tmp_path / "data", "--config", path, *flags]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize(
    "text, said",
    [
        ('[egress.functions]\napi = ["10.0.0.1"]\n', 'egress.functions."api": entry "10.0.0.1": it must be HOST:PORT'),
        ('[egress.functions]\napi = ["[::1]:80"]\n', "IPv6 is not supported"),
        ('[egress.functions]\n"a b" = "none"\n', 'egress.functions: "a b"'),
        ('[egress.functions]\napi = "lan"\n', 'expected "internet", "none" or a list'),
        ('[egress]\ndefault = "lan"\n', "default"),
        ('[egress]\npool = "8.8.8.0/24"\n', "egress.pool"),
        ('[egress]\ndefault = "internet"\npool = "203.0.113.0/24"\n', "egress.pool"),
    ],
)
def test_what_is_wrong_in_the_settings_is_named(tmp_path, text, said):
    done = serve_with(tmp_path, text)
    assert done.returncode != 0 and said in done.stderr, done.stderr


def test_a_pool_that_the_host_uses_is_refused(tmp_path):
    network.ip("route", "add", "unreachable", "10.213.0.0/24")
    try:
        done = serve_with(tmp_path, '[egress]\npool = "10.213.0.0/16"\n', "--egress", "internet")
    finally:
        network.ip("route", "del", "unreachable", "10.213.0.0/24")
    assert done.returncode != 0 and "overlaps the host's route to 10.213.0.0/24" in done.stderr, done.stderr


def test_the_flag_sets_the_default(own_server, outside):
    own_server.args += ["--egress", "none"]
    own_server.start()
    function = Factory(own_server)(INSIDE)
    assert function.result(["interfaces"])[0] == ["lo"]


def test_doctor(server):
    output = subprocess.run([LAMBKIN, "doctor"], capture_output=True, text=True).stdout
    for name in ("rules", "forwarding", "firewalls"):
        assert re.search(r"(ok|absent)\s+egress: %s\s" % name, output), output
    assert re.search(r"ok\s+egress: rules", output), output


def test_policies_are_refused_where_they_cannot_be_enforced(tmp_path):
    done = serve_with(tmp_path, "", "--isolation", "process", "--egress", "none")
    assert done.returncode != 0 and "cannot be enforced with --isolation process" in done.stderr, done.stderr
