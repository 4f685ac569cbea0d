"""Making functions for tests."""

import base64
import functools
import io
import json
import re
import subprocess
import time
import uuid
import zipfile

from .paths import LAMBKIN

ROLE = "arn:aws:iam::000000000000:role/lambda"
UUID = r"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"


def zip_of(files):
    """A zip of `{name: text or bytes}`; a name that ends in `!` is executable."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name.rstrip("!"), (2026, 1, 1, 0, 0, 0))
            info.external_attr = (0o100755 if name.endswith("!") else 0o100644) << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            archive.writestr(info, content)
    return buffer.getvalue()


@functools.cache
def runtimes():
    """The runtimes that `lambkin doctor` lists as available."""
    if not LAMBKIN.exists():
        return []
    output = subprocess.run([LAMBKIN, "doctor"], capture_output=True, text=True).stdout
    section = output.partition("\nRuntimes\n")[2]
    return re.findall(r"^\s+ok\s+(\S+)", section.partition("\n\n")[0], re.M)


def pythons():
    return [name for name in runtimes() if name.startswith("python")]


def nodes():
    return [name for name in runtimes() if name.startswith("nodejs")]


def python():
    """The runtime of tests that need some Python."""
    found = pythons()
    assert found, "no Python runtime: see lambkin doctor"
    return "python3.11" if "python3.11" in found else found[-1]


class Function:
    """A function that has been created and is active."""

    def __init__(self, server, name, client):
        self.server = server
        self.name = name
        self.client = client

    def invoke(self, payload=None, **options):
        """Invokes; an `Answer`."""
        if payload is not None:
            options["Payload"] = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return Answer(self.client.invoke(FunctionName=self.name, **options))

    def result(self, payload=None, **options):
        """The response of an invoke that must succeed."""
        answer = self.invoke(payload, **options)
        assert answer.error is None, answer
        return answer.json()

    def fault(self, payload=None, **options):
        """The error document of an invoke that must fail."""
        answer = self.invoke(payload, **options)
        assert answer.error == "Unhandled", answer
        return answer.json()

    def update(self, wait=True, **options):
        files = options.pop("files", None)
        if files is not None:
            self.client.update_function_code(FunctionName=self.name, ZipFile=zip_of(files), **options)
        else:
            self.client.update_function_configuration(FunctionName=self.name, **options)
        if wait:
            self.client.get_waiter("function_updated_v2").wait(
                FunctionName=self.name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
            )

    def delete(self):
        self.client.delete_function(FunctionName=self.name)
        self.server.functions.discard(self.name)

    def logs(self, until=None, seconds=15):
        """All messages of the function's log group, as soon as one has `until` in it."""
        logs = self.server.client("logs")
        deadline = time.monotonic() + seconds
        while True:
            try:
                events = [
                    event
                    for page in logs.get_paginator("filter_log_events").paginate(logGroupName="/aws/lambda/" + self.name)
                    for event in page["events"]
                ]
            except logs.exceptions.ResourceNotFoundException:
                events = []
            messages = [event["message"] for event in events]
            if until is None or any(until in message for message in messages):
                return messages
            assert time.monotonic() < deadline, (until, messages)
            time.sleep(0.05)


class Answer:
    """The outcome of an Invoke."""

    def __init__(self, response):
        self.status = response["StatusCode"]
        self.error = response.get("FunctionError")
        self.version = response.get("ExecutedVersion")
        self.payload = response["Payload"].read()
        self.headers = response["ResponseMetadata"]["HTTPHeaders"]
        self.request_id = response["ResponseMetadata"]["RequestId"]
        self.tail = base64.b64decode(response["LogResult"]).decode() if "LogResult" in response else None

    def json(self):
        return json.loads(self.payload)

    def __repr__(self):
        return "Answer(%s, %s, %r, tail=%r)" % (self.status, self.error, self.payload[:2000], self.tail)


class Factory:
    """Makes functions and takes them away again."""

    def __init__(self, server):
        self.server = server
        self.made = []

    def __call__(self, source=None, runtime=None, handler="app.handler", files=None, name=None, wait=True, env=None, role=ROLE, **options):
        client = self.server.client("lambda")
        name = name or "fn-" + uuid.uuid4().hex[:12]
        files = files or {"app.py": source or "def handler(event, context):\n    return event\n"}
        if env is not None:
            options["Environment"] = {"Variables": env}
        options.setdefault("Timeout", 30)
        options.setdefault("MemorySize", 512)
        client.create_function(
            FunctionName=name,
            Runtime=runtime or python(),
            Handler=handler,
            Role=role,
            Code={"ZipFile": zip_of(files)},
            **options,
        )
        self.made.append(name)
        self.server.functions.add(name)
        function = Function(self.server, name, client)
        if wait:
            client.get_waiter("function_active_v2").wait(
                FunctionName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 60}
            )
        return function

    def clean(self):
        if self.server.process is None:
            return
        client = self.server.client("lambda")
        for name in self.made:
            if name in self.server.functions:
                try:
                    client.delete_function(FunctionName=name)
                except client.exceptions.ResourceNotFoundException:
                    pass
                self.server.functions.discard(name)
