"""Random requests that are not valid, or only by their form: broken ones get an error that the model names for the
operation, and none gets a 5xx. `ROUNDTRIP_TIMES` and `ROUNDTRIP_SEED` are those of `test_roundtrip.py`."""

import re
from collections import Counter
from urllib.parse import urlencode

import pytest
from botocore.serialize import create_serializer

from harness.functions import zip_of
from harness.shapes import OMIT, encode
from test_roundtrip import ARN, MODEL, dev_client, function, generator, settle, times  # noqa: F401

SERIALIZER = create_serializer("rest-json", False)
# Errors that AWS answers without naming them in any operation: of the request's form and of the caller's rights.
UNNAMED = {"ValidationException", "SerializationException", "AccessDeniedException", "RequestEntityTooLargeException"}

# What the server says of odd but valid requests.
pytestmark = pytest.mark.allow_log(r"WARN lambkin_services::lambda")

NAMES = ["known", "nobody", "known:live", "known:1", "known:9", ARN + "function:known", ARN + "function:nobody"]
# Names of what there is, so that requests get further than "not found".
THERE = {}
PLAUSIBLE = {
    "LayerName": lambda g: g.rng.choice(["known", "nobody", ARN + "layer:known"]),
    "LayerNameOrArn": lambda g: g.rng.choice(["known", "nobody", ARN + "layer:known"]),
    "LayerVersionArn": lambda g: g.rng.choice([ARN + "layer:known:1", ARN + "layer:known:9"]),
    "LayerVersionNumber": lambda g: g.rng.choice([0, 1, 2, 9]),
    "CodeSigningConfigArn": lambda g: g.rng.choice([THERE["signing"], ARN + "code-signing-config:csc-00000000000000000"]),
    "UUIDString": lambda g: g.rng.choice([THERE["mapping"], "00000000-0000-4000-8000-000000000000"]),
    "CreateEventSourceMappingRequest.EventSourceArn": lambda g: g.rng.choice([
        "arn:aws:sqs:us-east-1:000000000000:known", "arn:aws:kinesis:us-east-1:000000000000:stream/known",
        "arn:aws:kafka:us-east-1:000000000000:cluster/known/00000000-0000-4000-8000-000000000000-1", OMIT,
    ]),
    "Pattern": lambda g: g.rng.choice(['{"body": ["x"]}', '{"body": [{"prefix": "x"}]}', "[]", "{", '{"a": [{"numeric": ["<", 1]}]}']),
    "FunctionName": lambda g: g.rng.choice(NAMES),
    "NamespacedFunctionName": lambda g: g.rng.choice(NAMES),
    "UnqualifiedFunctionName": lambda g: g.rng.choice(["known", "nobody", ARN + "function:known"]),
    "FunctionUrlFunctionName": lambda g: g.rng.choice(["known", "nobody", "known:live"]),
    "NumericLatestPublishedOrAliasQualifier": lambda g: g.rng.choice(["$LATEST", "1", "9", "live", "none", OMIT]),
    "Qualifier": lambda g: g.rng.choice(["$LATEST", "1", "9", "live", OMIT]),
    "FunctionUrlQualifier": lambda g: g.rng.choice(["live", "next", OMIT]),
    "CreateFunctionRequest.FunctionName": lambda g: "any-%d" % g.rng.randint(1, 5),
    "TaggableResource": lambda g: g.rng.choice([ARN + "function:known", ARN + "function:nobody"]),
    "PolicyResourceArn": lambda g: g.rng.choice([ARN + "function:known", ARN + "function:known:live", ARN + "function:nobody"]),
}  # fmt: skip
# Functions are not run here, and the one with versions stays.
NOT_RANDOM = {"Invoke", "InvokeAsync", "InvokeWithResponseStream", "DeleteFunction", "PutProvisionedConcurrencyConfig"}


@pytest.fixture(scope="module")
def there(dev_client, function):  # noqa: F811
    """What requests name besides the function."""
    dev_client.publish_layer_version(LayerName="known", Content={"ZipFile": zip_of({"x": "1"})})
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"]}
    config = dev_client.create_code_signing_config(AllowedPublishers=publishers)
    THERE["signing"] = config["CodeSigningConfig"]["CodeSigningConfigArn"]
    source = "arn:aws:sqs:us-east-1:000000000000:known"
    THERE["mapping"] = dev_client.create_event_source_mapping(FunctionName="known", EventSourceArn=source)["UUID"]


def send(server, operation, request, spoiled=None):
    """Sends a request as botocore would, its body replaced by that of `spoiled`, which no client would send."""
    parts = SERIALIZER.serialize_to_request(request, operation)
    body, query = parts["body"], parts["query_string"]
    if spoiled is not None:
        travels = {name for name, member in operation.input_shape.members.items() if "location" not in member.serialization}
        payload = operation.input_shape.serialization.get("payload")
        if payload is not None:
            body = encode(spoiled[payload])
        elif parts["method"] != "GET":
            body = encode({name: value for name, value in spoiled.items() if name in travels})
    path = parts["url_path"]
    if query:
        path += ("&" if "?" in path else "?") + urlencode(query, doseq=True)
    headers = {name: re.sub("[^ -~]", "", value).strip() for name, value in parts["headers"].items()}
    headers.setdefault("Content-Type", "application/json")
    return server.http(parts["method"], path, headers, body or b"")


def code_of(answer):
    return (answer.headers.get("x-amzn-errortype") or "").split(":")[0]


def verdict(operation, answer):
    """What is wrong with an answer, or None."""
    if answer.status < 300:
        return None
    code = code_of(answer)
    if answer.status == 501 and code == "NotImplementedException":
        return None
    named = {shape.name for shape in operation.error_shapes} | UNNAMED
    if not 400 <= answer.status < 500:
        return "a %d" % answer.status
    if code not in named:
        return "the model does not name %s" % code
    return None


def spoil(g, operation, request):
    """A request with one constraint broken, `(what, parameters for botocore, members of the body)`."""
    found = g.broken(operation, request)
    if found is None:
        return None
    what, broken = found
    top = what.split(" ")[0].split(".")[0]
    member = operation.input_shape.members[top]
    if "location" in member.serialization:
        # no header can carry it
        if member.serialization["location"] == "header" and not str(broken[top]).isprintable():
            return None
        return what, broken, None
    # the parameters stay those that botocore can write
    return what, request, broken


def clean(client):
    """Removes what random requests have made, but for the function that they are about."""
    for page in client.get_paginator("list_functions").paginate():
        for one in page["Functions"]:
            if one["FunctionName"] != "known":
                settle(client, one["FunctionName"])
                client.delete_function(FunctionName=one["FunctionName"])


def test_broken_requests_get_errors_that_the_model_names(dev_server, dev_client, there):
    g = generator(7, PLAUSIBLE)
    wrong, answers = [], Counter()
    for name in MODEL.operation_names:
        operation = MODEL.operation_model(name)
        if operation.input_shape is None or operation.has_event_stream_input:
            continue
        for _ in range(times(12)):
            made = spoil(g, operation, g.request(operation, optional=0.6))
            if made is None:
                continue
            what, request, body = made
            answer = send(dev_server, operation, request, body)
            answers[answer.status, code_of(answer)] += 1
            problem = verdict(operation, answer)
            if answer.status < 300:
                problem = "taken"
            elif answer.status == 501:
                problem = "not refused for what is wrong with it"
            if problem:
                wrong.append("%s, %s: %s: %s" % (name, what, problem, answer.body[:300]))
    print(answers)
    clean(dev_client)
    assert not wrong, "%d of %d:\n%s" % (len(wrong), sum(answers.values()), "\n".join(wrong[:40]))


def test_plausible_requests_get_no_5xx(dev_server, dev_client, there):
    g = generator(8, PLAUSIBLE)
    wrong, answers = [], Counter()
    good = zip_of({"app.py": "def handler(event, context): pass\n"})
    for name in MODEL.operation_names:
        operation = MODEL.operation_model(name)
        if name in NOT_RANDOM or operation.has_event_stream_input:
            continue
        for _ in range(times(10)):
            request = g.request(operation, optional=g.rng.choice([0, 0.2, 0.6])) if operation.input_shape else {}
            for place in (request, request.get("Code", {})):
                if "ZipFile" in place and g.chance(0.8):
                    place["ZipFile"] = good
            answer = send(dev_server, operation, request)
            answers[answer.status, code_of(answer)] += 1
            problem = verdict(operation, answer)
            if problem:
                wrong.append("%s: %s: %s: %r" % (name, problem, answer.body[:300], request))
    print(answers)
    clean(dev_client)
    assert not wrong, "%d of %d:\n%s" % (len(wrong), sum(answers.values()), "\n".join(wrong[:40]))
