"""Drives the echo server of tests/botocore.rs with botocore's own signer and clients.

Usage: botocore_client.py ENDPOINT ACCESS_KEY SECRET TOKEN
"""

import random
import sys
import urllib.error
import urllib.parse
import urllib.request

import botocore.session
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

ENDPOINT, ACCESS_KEY, SECRET, TOKEN = sys.argv[1:]
LONG_TERM = Credentials(ACCESS_KEY, SECRET)
SESSION = Credentials(ACCESS_KEY, SECRET, TOKEN)
ODD = "aZ09-._~ !\"#$%&'()*+,/:;<=>?@[\\]^`{|}é€\U0001f600"


def client(name, credentials=LONG_TERM, region="us-east-1"):
    return botocore.session.Session().create_client(
        name, region_name=region, endpoint_url=ENDPOINT, aws_access_key_id=credentials.access_key,
        aws_secret_access_key=credentials.secret_key, aws_session_token=credentials.token,
        config=Config(retries={"max_attempts": 0}),
    )  # fmt: skip


def refused(call, **arguments):
    try:
        call(**arguments)
    except ClientError as error:
        return (
            error.response["Error"]["Code"],
            error.response["ResponseMetadata"]["HTTPStatusCode"],
            error.response["Error"]["Message"],
        )
    raise AssertionError("not refused")


def clients():
    for credentials in (LONG_TERM, SESSION):
        lambda_ = client("lambda", credentials)
        for payload in (b"{}", b"", bytes(range(256)) * 40):
            answer = lambda_.invoke(FunctionName="f", Payload=payload, LogType="Tail")
            assert answer["Payload"].read() == payload
            assert (answer["StatusCode"], answer["ExecutedVersion"], answer["LogResult"]) == (200, "$LATEST", "f")
        arn = "arn:aws:lambda:us-east-1:111122223333:function:f"
        answer = lambda_.get_function(FunctionName=arn, Qualifier="$LATEST")
        assert answer["Configuration"]["FunctionName"] == arn and answer["Tags"] == {"q": "$LATEST"}
        assert lambda_.list_tags(Resource=arn)["Tags"] == {"arn": arn}
        answer = lambda_.create_function(
            FunctionName="f", Role="arn:aws:iam::111122223333:role/r", Code={"ZipFile": b"x" * 300}, MemorySize=256,
            Runtime="python3.13", Handler="a.b", Environment={"Variables": {"AA": "é\n\"", "BB": ""}},
        )  # fmt: skip
        assert (answer["MemorySize"], answer["CodeSize"]) == (256, 400)
        assert answer["Environment"] == {"Variables": {"AA": "é\n\"", "BB": ""}}
        assert refused(lambda_.get_function, FunctionName="none") == (
            "ResourceNotFoundException", 404, "Function not found: none",
        )  # fmt: skip
        assert refused(lambda_.untag_resource, Resource=arn, TagKeys=["a", "b c", "d=e"]) == (
            "ServiceException", 500, "3 keys",
        )  # fmt: skip
        logs = client("logs", credentials)
        logs.create_log_group(logGroupName="g")
        events = logs.get_log_events(logGroupName="/aws/lambda/f", logStreamName="s")["events"]
        assert events == [{"timestamp": 1, "message": "/aws/lambda/f", "ingestionTime": 2}]
        sts = client("sts", credentials, region="eu-north-1")
        identity = sts.get_caller_identity()
        assert (identity["Account"], identity["UserId"]) == ("111122223333", "eu-north-1")
        assert sts.get_session_token()["Credentials"]["Expiration"].year == 2026
        url = sts.generate_presigned_url("get_caller_identity", HttpMethod="GET")
        with urllib.request.urlopen(url) as response:
            assert b"<Account>111122223333</Account>" in response.read()

    text = "The security token included in the request is invalid."
    unknown = Credentials("AKIDUNKNOWN", SECRET)
    assert refused(client("lambda", unknown).get_function, FunctionName="f") == ("UnrecognizedClientException", 403, text)
    assert refused(client("logs", unknown).describe_log_groups) == ("UnrecognizedClientException", 400, text)
    assert refused(client("sts", unknown).get_caller_identity) == ("InvalidClientTokenId", 403, text)
    wrong = Credentials(ACCESS_KEY, "wrong")
    assert refused(client("lambda", wrong).get_function, FunctionName="f")[0] == "InvalidSignatureException"
    assert refused(client("sts", wrong).get_caller_identity)[0] == "SignatureDoesNotMatch"
    expired = Credentials(ACCESS_KEY, SECRET, "old")
    text = "The security token included in the request is expired"
    assert refused(client("lambda", expired).get_function, FunctionName="f") == ("ExpiredTokenException", 403, text)
    assert refused(client("sts", expired).get_caller_identity) == ("ExpiredToken", 403, text)
    code, status, _ = refused(client("lambda").get_function, FunctionName="in valid")
    assert (code, status) == ("ValidationException", 400)


def random_requests(count):
    """Requests for a path that no operation has: 404 once the signature is verified, 403 if it is not."""
    rng = random.Random(20261123)

    def odd(length):
        return "".join(rng.choice(ODD) for _ in range(rng.randrange(length)))

    for _ in range(count):
        path = "/" + "/".join(urllib.parse.quote(odd(6), safe=rng.choice(["", ":@", "~"])) for _ in range(rng.randrange(4)))
        if path.endswith(("/.", "/..")):
            path += "x"  # AWS's signers differ on whether a slash stays there
        pairs = [(odd(4) or "k", odd(6)) for _ in range(rng.randrange(5))]
        query = urllib.parse.urlencode(pairs, quote_via=urllib.parse.quote)
        url = ENDPOINT + "/x" + path + ("?" + query if query else "")
        headers = {"X-Amz-Odd": "  a   b\tc  ", "Content-Type": "application/json"} if rng.random() < 0.5 else {}
        credentials = rng.choice([LONG_TERM, SESSION])
        if rng.random() < 0.5:
            body, method = odd(20).encode(), rng.choice(["POST", "PUT", "DELETE"])
            request = AWSRequest(method=method, url=url, data=body, headers=headers)
            SigV4Auth(credentials, "lambda", "us-east-1").add_auth(request)
        else:
            body, method = None, "GET"
            headers.pop("Content-Type", None)
            request = AWSRequest(method=method, url=url, headers=headers)
            SigV4QueryAuth(credentials, "lambda", "us-east-1").add_auth(request)
        prepared = request.prepare()
        sent = {name: value for name, value in prepared.headers.items()}
        assert status(prepared.url, body, sent, method) == 404, (prepared.url, sent)
        assert status(prepared.url + ("&z=1" if "?" in prepared.url else "?z=1"), body, sent, method) == 403
        assert status(prepared.url, (body or b"") + b" ", sent, method) == 403, prepared.url


def status(url, body, headers, method):
    headers = {name: value.decode() if isinstance(value, bytes) else value for name, value in headers.items()}
    headers.pop("Content-Length", None)
    try:
        urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method))
    except urllib.error.HTTPError as error:
        error.read()
        return error.code
    raise AssertionError("not refused")


clients()
random_requests(150)
print("ok")
