"""TLS on the listener: clients with a CA bundle, replaced certificates, plain HTTP, bad files."""

import http.client
import shutil
import signal
import socket
import ssl
import subprocess
import time
import urllib.request
import warnings
from types import SimpleNamespace

import pytest
from harness.certificates import Authority, replace
from harness.functions import Factory
from harness.paths import LAMBKIN
from harness.server import Server

REFUSAL = b"this port speaks TLS; use https\n"


@pytest.fixture
def authority(tmp_path):
    return Authority(tmp_path / "ca")


def speak_tls(server, authority, name="first", **options):
    """Gives the server a certificate; its files."""
    cert, key = authority.issue(name, **options)
    files = SimpleNamespace(cert=server.work / "tls.pem", key=server.work / "tls.key")
    shutil.copy(cert, files.cert)
    shutil.copy(key, files.key)
    server.args += ["--tls-cert", str(files.cert), "--tls-key", str(files.key)]
    server.ca = authority.cert
    return files


@pytest.fixture
def tls_server(own_server, authority):
    own_server.files = speak_tls(own_server, authority)
    return own_server.start()


def context(server, **options):
    made = ssl.create_default_context(cafile=server.ca)
    for name, value in options.items():
        setattr(made, name, value)
    return made


def connect(server, made=None):
    sock = socket.create_connection(("127.0.0.1", server.port), 30)
    return (made or context(server)).wrap_socket(sock, server_hostname="127.0.0.1")


def name_of(server):
    """Common name of the certificate that the server shows now."""
    with connect(server) as connection:
        return dict(pair for part in connection.getpeercert()["subject"] for pair in part)["commonName"]


def test_clients_with_a_ca_bundle(tls_server):
    create = Factory(tls_server)
    function = create(name="by-tls")
    assert function.result({"a": 1}) == {"a": 1}
    location = tls_server.client("lambda").get_function(FunctionName="by-tls")["Code"]["Location"]
    assert location.startswith("https://127.0.0.1:%d/" % tls_server.port), location
    with urllib.request.urlopen(location, context=context(tls_server)) as response:
        assert response.read(2) == b"PK"
    found = tls_server.aws("lambda", "list-functions", "--ca-bundle", tls_server.ca)
    assert [f["FunctionName"] for f in found["Functions"]] == ["by-tls"]
    assert tls_server.aws("sts", "get-caller-identity", "--ca-bundle", tls_server.ca)["Account"] == "000000000000"
    stranger = tls_server.aws("sts", "get-caller-identity", check=False)
    assert stranger.returncode != 0 and "CERTIFICATE_VERIFY_FAILED" in stranger.stderr
    create.clean()


def test_versions_and_protocols(tls_server):
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        made = context(tls_server, minimum_version=version, maximum_version=version)
        with connect(tls_server, made) as connection:
            assert connection.version() == version.name.replace("_", ".")
    for version in (ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1):
        with warnings.catch_warnings(), pytest.raises((ssl.SSLError, OSError)):
            warnings.simplefilter("ignore", DeprecationWarning)
            connect(tls_server, context(tls_server, minimum_version=version, maximum_version=version))
    for offered, chosen in ((["h2", "http/1.1"], "h2"), (["http/1.1"], "http/1.1")):
        made = context(tls_server)
        made.set_alpn_protocols(offered)
        with connect(tls_server, made) as connection:
            assert connection.selected_alpn_protocol() == chosen
    url = tls_server.endpoint + "/_lambkin/health"
    for flag, version in (("--http2", "2"), ("--http1.1", "1.1")):
        done = subprocess.run(
            ["curl", "-sS", flag, "--cacert", tls_server.ca, "-w", "%{http_version}", url],
            capture_output=True, text=True, timeout=30,
        )  # fmt: skip
        assert done.stdout.startswith('{"status":"ok"') and done.stdout.endswith("}\n" + version), (done.stdout, done.stderr)


def test_rsa_key_and_environment(own_server, authority):
    files = speak_tls(own_server, authority, "rsa", algorithm=("rsa:2048",))
    own_server.args = []
    plain = own_server.environment
    own_server.environment = lambda: plain() | {"LAMBKIN_TLS_CERT": str(files.cert), "LAMBKIN_TLS_KEY": str(files.key)}
    own_server.start()
    assert name_of(own_server) == "rsa"


def wait_for(problem, seconds=20):
    deadline = time.monotonic() + seconds
    while problem():
        assert time.monotonic() < deadline, problem()
        time.sleep(0.1)


@pytest.mark.parametrize("by_signal", [False, True])
def test_replaced_files(tls_server, authority, by_signal):
    client = tls_server.client("sts")
    assert client.get_caller_identity()["Account"] == "000000000000"
    cert, key = authority.issue("second")
    replace(tls_server.files.key, key)
    replace(tls_server.files.cert, cert)
    if by_signal:
        tls_server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: name_of(tls_server) != "second" and "still the first certificate")
    # connections from before go on
    assert client.get_caller_identity()["Account"] == "000000000000"


@pytest.mark.allow_log("WARN .*the new TLS certificate can't be used; the one in force stays")
def test_broken_files_keep_the_pair_in_force(tls_server, authority):
    _, stranger = authority.issue("stranger")
    warnings = 0
    for break_it in (
        lambda files: replace(files.key, stranger),
        lambda files: files.cert.write_text("no certificate"),
        lambda files: files.key.unlink(),
    ):
        break_it(tls_server.files)
        warnings += 1
        wait_for(lambda: tls_server.log().count("the one in force stays") < warnings and "no warning")
        assert name_of(tls_server) == "first"
    time.sleep(3)
    assert tls_server.log().count("the one in force stays") == warnings, "one state, one warning"
    tls_server.process.send_signal(signal.SIGHUP)
    wait_for(lambda: tls_server.log().count("the one in force stays") == warnings and "SIGHUP warns, too")
    cert, key = authority.issue("third")
    replace(tls_server.files.cert, cert)
    replace(tls_server.files.key, key)
    wait_for(lambda: name_of(tls_server) != "third" and "not mended")


def test_plain_http_is_told(tls_server):
    for head in (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"POST / HTTP/1.1\r\nContent-Length: 200000\r\n\r\n" + b"x" * 200000,
                 b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):  # fmt: skip
        with socket.create_connection(("127.0.0.1", tls_server.port), 30) as sock:
            sock.sendall(head)
            response = http.client.HTTPResponse(sock)
            response.begin()
            assert (response.status, response.read()) == (400, REFUSAL)


def test_slow_handshakes_end_and_harm_nobody(tls_server):
    silent = [socket.create_connection(("127.0.0.1", tls_server.port), 30) for _ in range(60)]
    for sock in silent[::2]:
        sock.sendall(b"\x16\x03\x01")
    assert tls_server.client("sts").get_caller_identity()["Account"] == "000000000000"
    began = time.monotonic()
    for sock in silent:
        assert sock.recv(1) == b"", "closed by the server"
        sock.close()
    assert time.monotonic() - began < 20


def test_bad_files_at_the_start(tmp_path, authority):
    cert, key = authority.issue("good")
    _, other = authority.issue("other")
    empty = tmp_path / "empty"
    empty.touch()
    for arguments, text in (
        (["--tls-cert", cert], "--tls-cert needs --tls-key"),
        (["--tls-key", key], "--tls-key needs --tls-cert"),
        (["--tls-cert", tmp_path / "none", "--tls-key", key], "read %s" % (tmp_path / "none")),
        (["--tls-cert", cert, "--tls-key", empty], "holds no private key"),
        (["--tls-cert", empty, "--tls-key", key], "holds no certificate"),
        (["--tls-cert", cert, "--tls-key", other], "can't be used together"),
    ):
        done = subprocess.run(
            [LAMBKIN, "serve", "--listen", "127.0.0.1:0", "--data-dir", tmp_path / "data", *arguments],
            capture_output=True, text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 1 and text in done.stderr, (arguments, done.stderr)
        assert "panicked" not in done.stderr


def test_beyond_loopback(own_server, authority):
    speak_tls(own_server, authority)
    everywhere = ["--listen", "0.0.0.0:%d" % own_server.port]
    own_server.command = lambda: [*Server.command(own_server)[:2], *everywhere, *Server.command(own_server)[4:]]
    done = subprocess.run([*own_server.command(), "--dev"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "--dev" in done.stderr
    own_server.start()
    assert own_server.client("sts").get_caller_identity()["Account"] == "000000000000"
