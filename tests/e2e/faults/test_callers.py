"""Callers that hang up, do not read, do not write, and come by the hundred."""

import json
import socket
import time
import uuid
from concurrent.futures import ThreadPoolExecutor

from harness.raw import connect, invocation, reset
from test_misbehaving_runtimes import streamed

WORK = r"""
import os, time
done = 0
def handler(event, context):
    global done
    if event == "done":
        return done
    time.sleep(event.get("seconds", 0))
    done += 1
    return event.get("token", "") + "x" * event.get("size", 0)
"""

# Streams pieces: `{"pieces": number, "size": bytes, "seconds": pause between them}`.
STREAMING = r"""#!/bin/sh
exec /usr/bin/env python3 - <<'END'
import http.client, json, os, socket, time
host, port = os.environ["AWS_LAMBDA_RUNTIME_API"].split(":")
base = "/2018-06-01/runtime/invocation/"
connection = http.client.HTTPConnection(host, int(port))
while True:
    connection.request("GET", base + "next")
    answer = connection.getresponse()
    event = json.loads(answer.read())
    sock = socket.create_connection((host, int(port)))
    sock.sendall(("POST %s%s/response HTTP/1.1\r\nHost: x\r\nLambda-Runtime-Function-Response-Mode: streaming\r\n"
        "Transfer-Encoding: chunked\r\n\r\n" % (base, answer.headers["Lambda-Runtime-Aws-Request-Id"])).encode())
    for number in range(event["pieces"]):
        piece = b"p" * event["size"]
        sock.sendall(b"%x\r\n%s\r\n" % (len(piece), piece))
        time.sleep(event["seconds"])
    sock.sendall(b"0\r\n\r\n")
    sock.recv(1000)
    sock.close()
END
"""


def call(world, function, event, stream=False, **options):
    """A connection on which an invocation has been sent."""
    head, body = invocation(world.server, function.name, event, stream)
    sock = connect(world.server, **options)
    sock.sendall(head + body)
    return sock


def test_callers_hang_up_in_mid_invoke(world, scale):
    function = world.function(WORK, MemorySize=1769, Timeout=10)
    count = scale(24, 400)
    with world.during("callers hang up in mid-invoke"):
        for _ in range(0, count, 8):
            socks = [call(world, function, {"seconds": 0.2}) for _ in range(8)]
            time.sleep(0.1)
            for number, sock in enumerate(socks):
                reset(sock) if number % 2 else sock.close()
        # No environment was lost by it, and every event was worked on.
        deadline = time.monotonic() + 30
        seen = {}
        while sum(seen.values()) < count:
            assert time.monotonic() < deadline, seen
            with ThreadPoolExecutor(8) as pool:
                streams = list(pool.map(lambda _: function.invoke({"token": uuid.uuid4().hex}), range(8)))
            assert all(answer.error is None for answer in streams)
            reports = [line for line in function.logs() if line.startswith("REPORT")]
            seen = {"reports": sum("Status" not in line for line in reports)}


def test_callers_hang_up_in_mid_request(world, scale):
    function = world.function(WORK)
    head, body = invocation(world.server, function.name, {"token": "y" * 100_000})
    with world.during("callers hang up in mid-request"):
        for number in range(scale(100, 2000)):
            sock = connect(world.server)
            sock.sendall((head + body)[: 50 + number * 997 % (len(head) + 50_000)])
            reset(sock) if number % 2 else sock.close()
    assert function.result("done") == 0


def test_callers_hang_up_in_mid_stream(world, scale):
    function = world.function(runtime="provided.al2023", handler="x", files={"bootstrap!": STREAMING}, MemorySize=1769)
    event = {"pieces": 10, "size": 10_000, "seconds": 0.05}
    with world.during("callers hang up in mid-stream"):
        for _ in range(scale(3, 40)):
            socks = [call(world, function, event, stream=True) for _ in range(6)]
            for sock in socks:
                assert sock.recv(10).startswith(b"HTTP/1.1 2")
            for number, sock in enumerate(socks):
                reset(sock) if number % 2 else sock.close()
        payload, complete = streamed(function, event)
        assert payload == b"p" * 100_000 and "ErrorCode" not in complete


def test_readers_that_stop(world, scale):
    """Answers and streams whose readers stop hold memory within bounds, and nobody else."""
    count = scale(12, 60)
    function = world.function(WORK, MemorySize=1769, Timeout=10)
    streaming = world.function(
        runtime="provided.al2023", handler="x", files={"bootstrap!": STREAMING}, MemorySize=512, Timeout=3
    )
    from test_misbehaving_functions import memory

    before = memory(world.server.process.pid)
    with world.during("readers that stop") as row:
        token = uuid.uuid4().hex
        answers = [call(world, function, {"size": 4 << 20, "token": token}, receive_buffer=4096) for _ in range(count)]
        endless = {"pieces": 200, "size": 1 << 20, "seconds": 0}
        streams = [call(world, streaming, endless, stream=True, receive_buffer=4096) for _ in range(4)]
        for sock in [*answers, *streams]:
            assert sock.recv(12) == b"HTTP/1.1 200"
        time.sleep(1)
        row.note = "server %d -> %d MiB" % (before, memory(world.server.process.pid))
        # Who reads late gets all of its answer.
        late = answers.pop()
        late.settimeout(30)
        rest = b""
        while len(rest) < 4 << 20:
            rest += late.recv(1 << 20)
        assert rest.partition(b"\r\n\r\n")[2].startswith(b'"' + token.encode())
        late.close()
        # The function's time is over although nobody reads.
        deadline = time.monotonic() + 20
        while sum("Status: timeout" in line for line in streaming.logs()) < 4:
            assert time.monotonic() < deadline, streaming.logs()
            time.sleep(0.1)
    for sock in [*answers, *streams]:
        sock.close()
    payload, complete = streamed(streaming, {"pieces": 2, "size": 5, "seconds": 0})
    assert payload == b"p" * 10 and "ErrorCode" not in complete


def test_half_open_clients_by_the_hundred(world, scale):
    """Heads and bodies that come byte by byte, connections that say nothing, answers that nobody takes."""
    count = scale(150, 1500)
    function = world.function(WORK)
    head, body = invocation(world.server, function.name, {"token": "z" * 5000})
    silent, heads, bodies, preface = [], [], [], []
    with world.during("%d half-open clients" % (4 * count)):
        for _ in range(count):
            silent.append(connect(world.server))
            heads.append(connect(world.server))
            heads[-1].sendall(b"POST /2015-03-31/functions/")
            bodies.append(connect(world.server))
            bodies[-1].sendall(head + body[:100])
            # HTTP/2 that goes no further than its preface
            preface.append(connect(world.server))
            preface[-1].sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        for byte in range(5):
            for sock in heads:
                sock.sendall(b"x")
            for sock in bodies:
                sock.sendall(body[100 + byte : 101 + byte])
            time.sleep(0.1)
        # Who goes on is served.
        last = bodies.pop()
        last.sendall(body[105:])
        answer = b""
        while b"\r\n\r\n" not in answer or not answer.endswith(b'"'):
            piece = last.recv(65536)
            assert piece, answer
            answer += piece
        assert answer.startswith(b"HTTP/1.1 200") and json.loads(answer.partition(b"\r\n\r\n")[2]) == "z" * 5000
        last.close()
        if scale(False, True):
            # The server ends them by itself.
            deadline = time.monotonic() + 60
            for sock in [*silent, *heads, *preface, *bodies]:
                sock.settimeout(max(1, deadline - time.monotonic()))
                while sock.recv(65536):
                    pass
    for sock in [*silent, *heads, *preface, *bodies]:
        sock.close()


def test_requests_in_a_row_that_nobody_waits_for(world, scale):
    """Pipelined requests, closed before the answers."""
    function = world.function(WORK)
    head, body = invocation(world.server, function.name, {"token": "a"})
    with world.during("pipelined requests without a reader"):
        for _ in range(scale(10, 100)):
            sock = connect(world.server)
            sock.sendall((head + body) * 20)
            sock.shutdown(socket.SHUT_WR)
            reset(sock)
    assert function.invoke({"token": "b"}).json() == "b"
