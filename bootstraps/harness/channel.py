"""The server's end of the private channel, for tests: starts a bootstrap and speaks to it."""

import json
import os
import socket
import struct
import subprocess
import tempfile
import threading

DEADLINE_MS = 4102444800000  # far away

ENVIRONMENT = {
    "PATH": "/usr/bin:/bin",
    "LANG": "en_US.UTF-8",
    "TZ": ":UTC",
    "AWS_LAMBDA_FUNCTION_NAME": "fn",
    "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
    "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
    "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/fn",
    "AWS_LAMBDA_LOG_STREAM_NAME": "2026/01/01/[$LATEST]0",
    "AWS_LAMBDA_RUNTIME_API": "127.0.0.1:9001",
}


def launch(command, env, cwd, descriptors):
    """Starts `command` with `descriptors` (fd in the child -> fd here) open besides 0, 1 and 2."""

    def place():
        # clear of the targets first, then onto them
        high = {target: os.dup2(source, 100 + target, False) for target, source in descriptors.items()}
        for target, source in high.items():
            os.dup2(source, target, True)
            os.close(source)

    return subprocess.Popen(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        preexec_fn=place,
        close_fds=False,
    )


class Runtime:
    """One process of a bootstrap, with `files` as the function's code unless it is in `task_root`."""

    def __init__(self, command, files, handler="app.handler", env=None, task_root=None):
        self._folder = tempfile.TemporaryDirectory()
        self.root = task_root or self._folder.name
        for name, content in (files or {}).items():
            path = os.path.join(self.root, name)
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as out:
                out.write(content if isinstance(content, bytes) else content.encode("utf-8"))
        environment = dict(ENVIRONMENT, _HANDLER=handler, LAMBDA_TASK_ROOT=self.root)
        environment.update(env or {})
        self.channel, channel = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._records, records = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.process = launch(command, environment, self.root, {3: channel.fileno(), 4: records.fileno()})
        channel.close()
        records.close()
        self.channel.settimeout(60)
        self.records = []
        self.native = b""
        self._reader = threading.Thread(target=self._read_records)
        self._reader.start()
        self._piped = threading.Thread(target=self._read_pipe)
        self._piped.start()
        self._count = 0
        # of the event sent last; larger than a byte
        self.number = 0xFFFE

    def _read_records(self):
        partial = b""
        while True:
            datagram = self._records.recv(1 << 18)
            if not datagram:
                return
            kind, text = datagram[:1], datagram[1:]
            partial += text
            if kind.islower():
                self.records.append((kind.decode(), partial.decode("utf-8", "replace")))
                partial = b""

    def _read_pipe(self):
        self.native = self.process.stdout.read()

    def receive(self):
        """The next frame as `(type, content)`, or None at the end."""
        head = self._exactly(4)
        if head is None:
            return None
        body = self._exactly(struct.unpack("<I", head)[0])
        kind, number = body[:1].decode(), struct.unpack("<I", body[1:5])[0]
        assert number == (0 if kind in "RF" else self.number), (kind, number)
        return kind, body[5:]

    def _exactly(self, count):
        data = b""
        while len(data) < count:
            try:
                more = self.channel.recv(count - len(data))
            except ConnectionResetError:
                return None  # it ended with the last event unread
            if not more:
                return None
            data += more
        return data

    def send(self, event, **head):
        self._count += 1
        fields = {
            "id": "00000000-0000-0000-0000-%012d" % self._count,
            "deadline": DEADLINE_MS,
            "arn": "arn:aws:lambda:eu-west-1:123456789012:function:fn",
            "trace": "Root=1-2-%d" % self._count,
        }
        fields.update(head)
        fields = {key: value for key, value in fields.items() if value is not None}
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        text = json.dumps(fields).encode()
        self.number += 1
        body = b"I" + struct.pack("<II", self.number, len(text)) + text + payload
        self.channel.sendall(struct.pack("<I", len(body)) + body)
        return fields["id"]

    def ready(self):
        frame = self.receive()
        assert frame == ("R", b""), (frame, self.finish(), self.records, self.native)
        return self

    def invoke(self, event=None, **head):
        """Sends an event; the answer frame."""
        self.send(event, **head)
        return self.receive()

    def result(self, event=None, **head):
        """Sends an event that must succeed; its parsed response."""
        frame = self.invoke(event, **head)
        assert frame is not None and frame[0] == "A", (frame, self.finish(), self.records, self.native)
        return json.loads(frame[1].decode("utf-8"))

    def error(self, event=None, **head):
        """Sends an event that must fail; `(error type, error document)`."""
        kind, content = self.invoke(event, **head)
        assert kind == "E", (kind, content)
        return split_error(content)

    def finish(self):
        """Closes the channel, waits for the end and for all output; the exit status."""
        self.channel.close()
        try:
            status = self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
        self._reader.join()
        self._piped.join()
        self.process.stdout.close()
        self._records.close()
        self._folder.cleanup()
        return status

    def output(self):
        """All text that the bootstrap sent as output rather than as records."""
        return "".join(text for kind, text in self.records if kind == "o")

    def logged(self):
        """The log records."""
        return [text for kind, text in self.records if kind == "r"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.returncode is None:
            self.finish()


def split_error(content):
    """An `F` or `E` content as `(error type, document bytes)`."""
    size = struct.unpack("<H", content[:2])[0]
    return content[2 : 2 + size].decode(), content[2 + size :]
