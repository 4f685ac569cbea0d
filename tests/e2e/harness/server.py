"""A `lambkin serve` of a test, and clients for it."""

import ctypes
import gc
import http.client
import json
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import time
from pathlib import Path
from urllib.parse import urlencode

import boto3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials

from . import leaks, seen
from .paths import LAMBKIN, VENV_BIN

REGION = "us-east-1"
# Trust policy of a role that functions can run under.
LAMBDA_TRUST = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Principal": {"Service": "lambda.amazonaws.com"}, "Action": "sts:AssumeRole"}
    ],
}
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
_LEVEL = re.compile(r"^\S+\s+(TRACE|DEBUG|INFO|WARN|ERROR)\s")


_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def _end_with_the_tests():
    """Runs in the new process: it is stopped if the tests are killed."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def free_port():
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Server:
    """One data folder and the server processes that run on it, one after the other."""

    def __init__(self, dev=False, args=(), user=None, cgroups=True):
        """With `user` it runs as that user id, without any group but that of the same number. Without
        `cgroups` it is not expected to have any."""
        self.dev = dev
        self.args = list(args)
        # the CA's certificate of a server that speaks TLS
        self.ca = None
        self.user = user
        self.cgroups = cgroups and user is None
        self.work = Path(tempfile.mkdtemp(prefix="lambkin-e2e-"))
        self.binary = LAMBKIN
        self.data_dir = self.work / "data"
        self.temp_dir = self.work / "tmp"
        self.temp_dir.mkdir()
        self.log_path = self.work / "server.log"
        self.log_path.touch()
        self.port = free_port()
        self.variables = {}  # of the server's environment, over those of the tests
        if user is not None:
            # the user may not get at the original, nor at anything else of root's
            self.binary = self.work / "lambkin"
            shutil.copy(LAMBKIN, self.binary)
            for path in (self.work, self.temp_dir):
                os.chown(path, user, user)
                path.chmod(0o755)
        self.process = None
        self.baseline = None
        self._has_role = False
        self.functions = set()
        self.allowed = []
        self._read_log = 0
        self._clients = []
        self._credentials = None

    # -- life

    @property
    def endpoint(self):
        return "%s://127.0.0.1:%d" % ("https" if self.ca else "http", self.port)

    def command(self):
        command = [str(self.binary), "serve", "--listen", "127.0.0.1:%d" % self.port, "--data-dir", str(self.data_dir)]
        return command + (["--dev"] if self.dev else []) + self.args

    def environment(self):
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "LAMBKIN"))}
        environment.update(TMPDIR=str(self.temp_dir), NO_COLOR="1")
        if self.user is not None:
            environment.update(HOME=str(self.work), PATH="/usr/bin:/bin")
        environment.update(self.variables)
        return environment

    def _begin(self):
        """Runs in the new process."""
        if self.user is not None:
            os.setgroups([])
            os.setresgid(self.user, self.user, self.user)
            os.setresuid(self.user, self.user, self.user)
        _end_with_the_tests()

    def start(self):
        assert self.process is None
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen(
                self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.environment(), cwd=self.work,
                preexec_fn=self._begin,
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            try:
                if self.http("GET", "/_lambkin/health", sign=False).status == 200:
                    break
            except OSError:
                pass
            assert self.process.poll() is None, "the server ended: " + self.log()
            assert time.monotonic() < deadline, "the server does not answer: " + self.log()
            time.sleep(0.01)
        # once per data folder; --dev takes any ARN
        if not self.dev and not self._has_role:
            self.make_role()
            self._has_role = True
        self.baseline = leaks.Baseline(self)
        return self

    def make_role(self, credentials=None):
        """The role of an account that functions of tests run under, if it is not there yet."""
        form = {
            "Action": "CreateRole", "Version": "2010-05-08", "RoleName": "lambda",
            "AssumeRolePolicyDocument": json.dumps(LAMBDA_TRUST),
        }  # fmt: skip
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode(form).encode()
        made = self.http("POST", "/", headers, body, service="iam", credentials=credentials)
        assert made.status == 200 or b"EntityAlreadyExists" in made.body, made

    def stop(self):
        """Stops by SIGTERM; the server must end well and leave nothing behind."""
        self.close_clients()
        family = leaks.family(self.process.pid)
        self.process.send_signal(signal.SIGTERM)
        try:
            status = self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError("the server did not stop on SIGTERM: " + self.log()) from None
        self.process = None
        assert status == 0, "exit status %s: %s" % (status, self.log())
        self.baseline.assert_all_gone(family)

    def kill(self):
        """Kills the server process alone, as a crash would; returns the processes it leaves."""
        family = leaks.family(self.process.pid)
        self.process.kill()
        self.process.wait()
        self.process = None
        return family

    def destroy(self):
        """Stops and removes everything, whatever the state."""
        self.close_clients()
        if self.process is not None:
            self.kill()
        shutil.rmtree(self.work, ignore_errors=True)

    # -- its log

    def log(self):
        return _ANSI.sub("", self.log_path.read_text(errors="replace"))

    def new_log_lines(self):
        """Lines since the last call."""
        lines = self.log().splitlines()
        new = lines[self._read_log :]
        self._read_log = len(lines)
        return new

    def allow(self, pattern):
        """Lets WARN and ERROR lines with this pattern pass until the end of the test."""
        self.allowed.append(re.compile(pattern))

    def assert_quiet(self, allowed=()):
        """Fails for every new WARN or ERROR line that is not allowed."""
        patterns = self.allowed + [re.compile(pattern) for pattern in allowed]
        self.allowed = []
        loud = []
        for line in self.new_log_lines():
            level = _LEVEL.match(line)
            if line.startswith("thread ") and " panicked" in line:
                loud.append(line)
            elif level and level[1] in ("WARN", "ERROR") and not any(p.search(line) for p in patterns):
                loud.append(line)
        assert not loud, "unexpected lines in the server's log:\n" + "\n".join(loud)

    # -- clients

    def credentials(self):
        """`(access key id, secret)` of the root key, by the command users have for it."""
        if self._credentials is None:
            output = subprocess.run(
                [LAMBKIN, "credentials", "--data-dir", self.data_dir],
                check=True,
                capture_output=True,
                text=True,
                env=self.environment(),
            ).stdout
            found = dict(re.findall(r"^export (\w+)='?([^'\n]*)'?$", output, re.M))
            self._credentials = Credentials(found["AWS_ACCESS_KEY_ID"], found["AWS_SECRET_ACCESS_KEY"])
        return self._credentials

    def session(self, region=REGION, credentials=None):
        credentials = credentials or self.credentials()
        return boto3.Session(
            aws_access_key_id=credentials.access_key,
            aws_secret_access_key=credentials.secret_key,
            aws_session_token=credentials.token,
            region_name=region,
        )

    def client(self, service="lambda", region=REGION, credentials=None, **config):
        """A boto3 client that does not retry."""
        config.setdefault("read_timeout", 120)
        client = self.session(region, credentials).client(
            service,
            endpoint_url=self.endpoint,
            verify=str(self.ca) if self.ca else None,
            config=Config(
                retries={"total_max_attempts": 1}, parameter_validation=False, inject_host_prefix=False, **config
            ),
        )
        seen.watch(client)
        self._clients.append(client)
        return client

    def close_clients(self):
        for client in self._clients:
            client.close()
        self._clients = []
        # an error that a test has caught holds its response, which holds its connection
        gc.collect()

    def cli_environment(self, credentials=None):
        credentials = credentials or self.credentials()
        environment = self.environment()
        environment.update(
            AWS_ACCESS_KEY_ID=credentials.access_key,
            AWS_SECRET_ACCESS_KEY=credentials.secret_key,
            AWS_DEFAULT_REGION=REGION,
            AWS_ENDPOINT_URL=self.endpoint,
            AWS_CONFIG_FILE=os.devnull,
            AWS_SHARED_CREDENTIALS_FILE=os.devnull,
            AWS_EC2_METADATA_DISABLED="true",
            AWS_MAX_ATTEMPTS="1",
            AWS_PAGER="",
        )
        return environment

    def aws(self, *arguments, check=True, program=None, cwd=None):
        """Runs the AWS CLI; its JSON output, or the finished process where `check` is false."""
        done = subprocess.run(
            [str(program or VENV_BIN / "aws"), *map(str, arguments)],
            capture_output=True,
            text=True,
            env=self.cli_environment(),
            cwd=cwd or self.work,
            timeout=300,
        )
        if not check:
            return done
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)
        return json.loads(done.stdout) if done.stdout.strip().startswith(("{", "[")) else done.stdout

    def http(self, method, path, headers=None, body=b"", sign=True, service="lambda", credentials=None, region=REGION):
        """A raw HTTP request, signed or not; a `Response`."""
        headers = dict(headers or {})
        if sign:
            request = AWSRequest(method=method, url=self.endpoint + path, data=body, headers=headers)
            SigV4Auth(credentials or self.credentials(), service, region).add_auth(request)
            headers = dict(request.headers.items())
        return self.send(method, path, headers, body)

    def connection(self):
        if self.ca:
            context = ssl.create_default_context(cafile=self.ca)
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=120, context=context)
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)

    def send(self, method, path, headers, body=b""):
        connection = self.connection()
        try:
            connection.putrequest(method, path, skip_accept_encoding=True)
            for name, value in headers.items():
                connection.putheader(name, value)
            if "Content-Length" not in headers and "Transfer-Encoding" not in headers and (body or method != "GET"):
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            try:
                if body:
                    connection.send(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused ahead of the body's end: the answer is there
            return Response(connection.getresponse())
        finally:
            connection.close()


class Response:
    """An HTTP response, read whole."""

    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def json(self):
        return json.loads(self.body)

    def __repr__(self):
        return "Response(%s, %s, %r)" % (self.status, dict(self.headers), self.body[:2000])
