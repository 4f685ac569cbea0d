"""Requests as bytes on a socket, for clients that do not behave."""

import json
import socket
import struct

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

from .server import REGION


def signed(server, method, path, body=b"", service="lambda"):
    """A signed request as `(head, body)`."""
    headers = {"Host": "127.0.0.1:%d" % server.port}
    request = AWSRequest(method=method, url=server.endpoint + path, data=body, headers=headers)
    SigV4Auth(server.credentials(), service, REGION).add_auth(request)
    lines = ["%s %s HTTP/1.1" % (method, path), "Content-Length: %d" % len(body)]
    lines += ["%s: %s" % item for item in request.headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode(), body


def invocation(server, name, event, stream=False):
    """A signed invocation as `(head, body)`."""
    if stream:
        path = "/2021-11-15/functions/%s/response-streaming-invocations" % name
    else:
        path = "/2015-03-31/functions/%s/invocations" % name
    return signed(server, "POST", path, json.dumps(event).encode())


def connect(server, receive_buffer=None):
    """A connection to the server; with a small `receive_buffer` an answer soon waits for its reader."""
    sock = socket.socket()
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    sock.settimeout(20)
    sock.connect(("127.0.0.1", server.port))
    return sock


def reset(sock):
    """Closes at once, as a peer that has crashed."""
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()
