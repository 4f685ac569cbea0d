"""Runs a function under a client of AWS's, with a small Runtime API server."""

import base64
import http.client
import http.server
import json
import os
import socket
import socketserver
import struct
import subprocess
import threading

from channel import DEADLINE_MS, ENVIRONMENT, launch

# the header with the X-Ray cause has up to 1 MiB
http.client._MAXLINE = 1 << 21

class Outcome:
    """What came of a function: the init error or one answer for each event, log records, exit status."""

    def __init__(self):
        self.init_error = None  # (error type, document)
        self.answers = []  # ("A", response) or ("E", document)
        self.records = []
        self.status = None


class _Server(socketserver.ThreadingMixIn, http.server.HTTPServer):
    daemon_threads = True

    def handle_error(self, *_):
        pass  # clients are killed with requests under way

    def server_bind(self):
        # no look-up of the host's name
        socketserver.TCPServer.server_bind(self)
        self.server_name, self.server_port = self.server_address[:2]


def run(command, cwd, root, handler, events, execution_env, env=None):
    """Runs `command` in `cwd` with `events`, a list of `(bytes, headers)`, and returns the `Outcome`."""
    outcome = Outcome()
    pending = list(events)
    done = threading.Event()

    class Api(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def reply(self, status, body=b"", headers=()):
            self.send_response(status)
            for name, value in headers:
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            if not pending:
                done.set()
                process.kill()
                return
            body, headers = pending.pop(0)
            number = len(events) - len(pending)
            standard = {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": "00000000-0000-0000-0000-%012d" % number,
                "Lambda-Runtime-Deadline-Ms": str(DEADLINE_MS),
                "Lambda-Runtime-Invoked-Function-Arn": "arn:aws:lambda:eu-west-1:123456789012:function:fn",
                "Lambda-Runtime-Trace-Id": "Root=1-2-%d" % number,
            }
            standard.update(headers)
            self.reply(200, body, standard.items())

        def do_POST(self):
            size = self.headers.get("Content-Length")
            trailers = {}
            if size is None:  # chunked
                body = b""
                while True:
                    count = int(self.rfile.readline(), 16)
                    if not count:
                        trailers = http.client.parse_headers(self.rfile)
                        break
                    body += self.rfile.read(count)
                    self.rfile.readline()
            else:
                body = self.rfile.read(int(size))
            if self.path.endswith("/init/error"):
                outcome.init_error = (self.headers.get("Lambda-Runtime-Function-Error-Type"), body)
            elif "Lambda-Runtime-Function-Error-Body" in trailers:
                # a streamed response that failed on the way
                outcome.answers.append(("E", base64.b64decode(trailers["Lambda-Runtime-Function-Error-Body"])))
            elif self.path.endswith("/response"):
                outcome.answers.append(("A", body))
            elif self.path.endswith("/error"):
                assert self.headers.get("Lambda-Runtime-Function-Error-Type") in (None, ""), self.headers
                outcome.answers.append(("E", body))
            self.reply(202, b'{"status":"OK"}\n')

    server = _Server(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    read_end, write_end = os.pipe()
    environment = dict(ENVIRONMENT, _HANDLER=handler, LAMBDA_TASK_ROOT=root)
    environment.update(
        AWS_LAMBDA_RUNTIME_API="127.0.0.1:%d" % server.server_port,
        AWS_EXECUTION_ENV=execution_env,
        _LAMBDA_TELEMETRY_LOG_FD="4",
    )
    environment.update(env or {})
    process = launch(command, environment, cwd, {4: write_end})
    os.close(write_end)
    output = []
    reader = threading.Thread(target=lambda: output.append(process.stdout.read()))
    reader.start()
    with os.fdopen(read_end, "rb") as frames:
        while True:
            head = frames.read(16)
            if len(head) < 16:
                break
            size = struct.unpack(">IIQ", head)[1]
            outcome.records.append(frames.read(size).decode("utf-8"))
    outcome.status = process.wait(30)
    reader.join()
    process.stdout.close()
    outcome.output = output[0].decode("utf-8", "replace")
    server.shutdown()
    server.server_close()
    if done.is_set():
        outcome.status = None  # we ended it
    return outcome
