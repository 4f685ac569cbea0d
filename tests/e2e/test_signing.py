"""Who may call: signatures, presigned links, session tokens, --dev; STS."""

import datetime
import json
import urllib.error
import urllib.request

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from test_functions import refused

MISMATCH = (
    "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key "
    "and signing method. Consult the service documentation for details."
)
LIST = "/2015-03-31/functions/"


def test_identity(server):
    sts = server.client("sts")
    identity = sts.get_caller_identity()
    assert (identity["Account"], identity["Arn"]) == ("000000000000", "arn:aws:iam::000000000000:root")
    assert identity["UserId"] == "000000000000"


def test_wrong_secret(server):
    wrong = Credentials(server.credentials().access_key, "x" * 40)
    assert refused(server.client("lambda", credentials=wrong).list_functions) == (
        "InvalidSignatureException", 403, MISMATCH,
    )  # fmt: skip
    assert refused(server.client("logs", credentials=wrong).describe_log_groups) == (
        "InvalidSignatureException", 400, MISMATCH,
    )  # fmt: skip
    assert refused(server.client("sts", credentials=wrong).get_caller_identity) == (
        "SignatureDoesNotMatch", 403, MISMATCH,
    )  # fmt: skip


def test_unknown_key(server):
    unknown = Credentials("AKIAUNKNOWNUNKNOWN00", "x" * 40)
    text = "The security token included in the request is invalid."
    assert refused(server.client("lambda", credentials=unknown).list_functions) == (
        "UnrecognizedClientException", 403, text,
    )  # fmt: skip
    assert refused(server.client("sts", credentials=unknown).get_caller_identity) == ("InvalidClientTokenId", 403, text)


def test_made_up_session_token(server):
    known = server.credentials()
    made_up = Credentials(known.access_key, known.secret_key, "made-up-token")
    code, status, _ = refused(server.client("lambda", credentials=made_up).list_functions)
    assert (code, status) == ("UnrecognizedClientException", 403)


def test_no_signature(server):
    response = server.http("GET", LIST, sign=False)
    assert (response.status, response.json()["message"]) == (403, "Missing Authentication Token")
    assert response.headers["x-amzn-ErrorType"].startswith("MissingAuthenticationTokenException")


@pytest.mark.parametrize("header", ["nonsense", "AWS4-HMAC-SHA256 Credential=x", "Bearer token"])
def test_malformed_signature(server, header):
    response = server.http("GET", LIST, {"Authorization": header}, sign=False)
    assert response.status == 403
    assert response.headers["x-amzn-ErrorType"]


def signed(server, shift=0, method="GET", path=LIST, body=b"", **changes):
    request = AWSRequest(method=method, url=server.endpoint + path, data=body)
    signer = SigV4Auth(server.credentials(), changes.get("service", "lambda"), changes.get("region", "us-east-1"))
    if shift:
        import botocore.auth

        real = botocore.auth.get_current_datetime
        botocore.auth.get_current_datetime = lambda *a, **k: real(*a, **k) + datetime.timedelta(seconds=shift)
        try:
            signer.add_auth(request)
        finally:
            botocore.auth.get_current_datetime = real
    else:
        signer.add_auth(request)
    return dict(request.headers.items())


@pytest.mark.parametrize("shift, accepted", [(0, True), (-240, True), (240, True), (-400, False), (400, False)])
def test_clock_skew(server, shift, accepted):
    response = server.send("GET", LIST, signed(server, shift))
    if accepted:
        assert response.status == 200, response
    else:
        assert response.status == 403
        assert response.headers["x-amzn-ErrorType"].startswith("InvalidSignatureException")
        text = response.json()["message"]
        assert text.startswith("Signature expired: " if shift < 0 else "Signature not yet current: "), text


def test_changed_requests_are_refused(server):
    good = signed(server)
    assert server.send("GET", LIST, good).status == 200
    assert server.send("GET", LIST + "?MaxItems=1", good).status == 403
    assert server.send("DELETE", "/2015-03-31/functions/x", good).status == 403
    body = b'{"a": 1}'
    headers = signed(server, method="POST", path="/2015-03-31/functions/x/invocations", body=body)
    assert server.send("POST", "/2015-03-31/functions/x/invocations", headers, b'{"a": 2}').status == 403
    assert server.send("POST", "/2015-03-31/functions/x/invocations", headers, body).status == 404


def test_scope_must_fit(server):
    response = server.send("GET", LIST, signed(server, service="s3"))
    assert response.status in (403, 404, 501)


def test_presigned(server):
    request = AWSRequest(method="GET", url=server.endpoint + LIST + "?MaxItems=5")
    SigV4QueryAuth(server.credentials(), "lambda", "us-east-1", expires=60).add_auth(request)
    url = request.prepare().url
    with urllib.request.urlopen(url) as response:
        assert json.load(response)["Functions"] == []
    for changed in (url.replace("MaxItems=5", "MaxItems=6"), url[:-1] + ("0" if url[-1] != "0" else "1")):
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(changed)
        assert caught.value.code == 403


def test_names_that_need_escaping_are_signed_alike(server):
    client = server.client("lambda")
    for name in ("arn:aws:lambda:us-east-1:000000000000:function:none", "none:$LATEST"):
        assert refused(client.get_function, FunctionName=name)[0] == "ResourceNotFoundException"


def test_dev_takes_any_credentials(dev_server):
    for credentials in (Credentials("anything", "at all"), Credentials("AKIAX", "y", "token")):
        sts = dev_server.client("sts", credentials=credentials)
        assert sts.get_caller_identity()["Account"] == "000000000000"
        assert dev_server.client("lambda", credentials=credentials).list_functions()["Functions"] == []
    assert dev_server.http("GET", LIST, sign=False).status == 200


def test_listening_beyond_loopback_is_refused(own_server):
    import subprocess

    done = subprocess.run(
        [*own_server.command()[:2], "--listen", "0.0.0.0:0", "--data-dir", str(own_server.data_dir)],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.returncode != 0
    assert "0.0.0.0:0" in done.stderr
