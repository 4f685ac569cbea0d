"""What the wire looks like: error shapes, headers, odd requests."""

import re
import socket

import pytest

from harness.functions import UUID

LIST = "/2015-03-31/functions/"


def test_request_id_on_every_answer(server):
    for path in (LIST, "/2015-03-31/functions/nobody"):
        response = server.http("GET", path)
        assert re.fullmatch(UUID, response.headers["x-amzn-RequestId"])
        assert response.headers["Content-Type"] == "application/json"


def test_error_shape(server):
    response = server.http("GET", "/2015-03-31/functions/nobody")
    assert response.status == 404
    assert response.headers["x-amzn-ErrorType"] == "ResourceNotFoundException"
    assert response.json() == {
        "Type": "User",
        "Message": "Function not found: arn:aws:lambda:us-east-1:000000000000:function:nobody",
    }


def test_error_shape_of_logs(server):
    response = server.http(
        "POST", "/",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.GetLogEvents"},
        b'{"logGroupName":"nobody","logStreamName":"x"}', service="logs",
    )  # fmt: skip
    assert response.status == 400
    assert response.headers["Content-Type"] == "application/x-amz-json-1.1"
    assert response.json() == {
        "__type": "ResourceNotFoundException",
        "message": "The specified log group does not exist.",
    }


def test_error_shape_of_sts(server):
    response = server.http(
        "POST", "/", {"Content-Type": "application/x-www-form-urlencoded"},
        b"Action=NoSuchAction&Version=2011-06-15", service="sts",
    )  # fmt: skip
    assert response.status == 400
    text = response.body.decode()
    assert "<Code>InvalidAction</Code>" in text and "<RequestId>" in text


def test_unknown_path(server):
    response = server.http("GET", "/2015-03-31/nothing-of-the-kind")
    assert response.status == 404
    assert response.headers["x-amzn-ErrorType"].startswith("UnknownOperationException")


def test_unknown_target(server):
    response = server.http(
        "POST", "/",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.NoSuchThing"}, b"{}", service="logs",
    )  # fmt: skip
    assert response.status == 400
    assert "UnknownOperationException" in response.json()["__type"]


def test_unimplemented_operation(server):
    response = server.http("GET", "/2025-11-30/capacity-providers")
    assert response.status == 501
    assert response.headers["x-amzn-ErrorType"].startswith("NotImplementedException")
    assert "ListCapacityProviders" in response.json().get("message", response.json().get("Message", ""))
    response = server.http(
        "POST", "/",
        {"Content-Type": "application/x-amz-json-1.1", "X-Amz-Target": "Logs_20140328.StartQuery"}, b"{}", service="logs",
    )  # fmt: skip
    assert response.status in (400, 501)


def test_unknown_service(server):
    response = server.http("POST", "/", {"X-Amz-Target": "DynamoDB_20120810.ListTables",
                                         "Content-Type": "application/x-amz-json-1.0"}, b"{}", service="dynamodb")
    assert response.status in (400, 404, 501)
    assert b"dynamodb" in response.body.lower()


@pytest.mark.parametrize("body", [b"{", b"[]", b'"x"', b"{\"FunctionName\": 5}", b"\xff\xfe", b'{"Code": "text"}'])
def test_malformed_body(server, body):
    response = server.http("POST", LIST.rstrip("/"), {"Content-Type": "application/json"}, body)
    assert response.status == 400
    assert response.headers["x-amzn-ErrorType"].startswith(("SerializationException", "ValidationException",
                                                            "InvalidRequestContentException"))
    assert re.fullmatch(UUID, response.headers["x-amzn-RequestId"])


def test_unknown_members_are_ignored(server):
    response = server.http("POST", LIST.rstrip("/"), {}, b'{"FunctionName": "x", "Whatever": {"a": [1]}}')
    assert response.status == 400
    assert "Whatever" not in response.body.decode()


def raw(server, data, shut=False):
    with socket.create_connection(("127.0.0.1", server.port), timeout=20) as sock:
        sock.sendall(data)
        if shut:
            sock.shutdown(socket.SHUT_WR)
        received = b""
        while True:
            try:
                piece = sock.recv(65536)
            except ConnectionResetError:
                break
            if not piece:
                break
            received += piece
        return received


@pytest.mark.parametrize(
    "data",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /%ff%00 HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: nope\r\nConnection: close\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"X-Long: " + b"a" * 2_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: x\r\n" + b"".join(b"X-%d: a\r\n" % i for i in range(5000)) + b"\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999\r\nConnection: close\r\n\r\n",
    ],
)
def test_broken_http_does_no_harm(server, data):
    try:
        answer = raw(server, data)
    except (BrokenPipeError, ConnectionResetError):
        answer = b""
    assert answer == b"" or re.match(rb"HTTP/1\.[01] [45]\d\d ", answer), answer[:200]
    assert server.http("GET", LIST).status == 200


def test_strangers_cannot_make_the_server_read_a_body(server):
    head = b"POST /2015-03-31/functions HTTP/1.1\r\nHost: x\r\nContent-Length: 60000000\r\n\r\n"
    answer = raw(server, head, shut=False)
    assert answer.startswith(b"HTTP/1.1 403 "), answer[:200]


def test_health_needs_no_signature(server):
    response = server.http("GET", "/_lambkin/health", sign=False)
    assert (response.status, response.json()) == (200, {"status": "ok", "isolation": "root"})


def test_keep_alive(server):
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    try:
        for _ in range(3):
            connection.request("GET", "/_lambkin/health")
            response = connection.getresponse()
            response.read()
            assert response.status == 200 and not response.will_close
    finally:
        connection.close()
