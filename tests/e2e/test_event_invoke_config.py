"""Settings of asynchronous invocation: put, update, get, list, delete, per qualifier."""

import datetime

import pytest

from test_functions import refused

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:results"
TOPIC = "arn:aws:sns:us-east-1:000000000000:failures"
EMPTY = {"OnSuccess": {}, "OnFailure": {}}


@pytest.fixture
def function(create):
    return create()


def shown(response):
    return {key: value for key, value in response.items() if key not in ("ResponseMetadata", "LastModified")}


def test_from_beginning_to_end(function, client):
    name = function.name
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=2)
    put = client.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=0)
    assert shown(put) == {
        "FunctionArn": ARN + name + ":$LATEST", "MaximumRetryAttempts": 0, "DestinationConfig": EMPTY,
    }  # fmt: skip
    assert before < put["LastModified"] < before + datetime.timedelta(minutes=1)
    assert shown(client.get_function_event_invoke_config(FunctionName=name, Qualifier="$LATEST")) == shown(put)

    updated = client.update_function_event_invoke_config(
        FunctionName=name, MaximumEventAgeInSeconds=3600, DestinationConfig={"OnSuccess": {"Destination": QUEUE}}
    )
    assert shown(updated) == {
        "FunctionArn": ARN + name + ":$LATEST", "MaximumRetryAttempts": 0, "MaximumEventAgeInSeconds": 3600,
        "DestinationConfig": {"OnSuccess": {"Destination": QUEUE}, "OnFailure": {}},
    }  # fmt: skip
    updated = client.update_function_event_invoke_config(
        FunctionName=name, DestinationConfig={"OnSuccess": {"Destination": ""}, "OnFailure": {"Destination": TOPIC}}
    )
    assert updated["DestinationConfig"] == {"OnSuccess": {}, "OnFailure": {"Destination": TOPIC}}
    assert updated["MaximumEventAgeInSeconds"] == 3600
    assert client.get_function_event_invoke_config(FunctionName=name)["LastModified"] == updated["LastModified"]
    again = client.put_function_event_invoke_config(FunctionName=name, MaximumEventAgeInSeconds=60)
    assert shown(again) == {
        "FunctionArn": ARN + name + ":$LATEST", "MaximumEventAgeInSeconds": 60, "DestinationConfig": EMPTY,
    }  # fmt: skip

    gone = client.delete_function_event_invoke_config(FunctionName=name)
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    absent = (
        "ResourceNotFoundException", 404, "The function %s%s:$LATEST doesn't have an EventInvokeConfig" % (ARN, name),
    )  # fmt: skip
    assert refused(client.get_function_event_invoke_config, FunctionName=name) == absent
    assert refused(client.delete_function_event_invoke_config, FunctionName=name) == absent
    assert refused(client.update_function_event_invoke_config, FunctionName=name, MaximumRetryAttempts=1) == absent


def test_qualifiers_and_pages(function, client):
    name = function.name
    client.publish_version(FunctionName=name)
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    for qualifier in ("live", "1", "$LATEST"):
        client.put_function_event_invoke_config(FunctionName=name, Qualifier=qualifier, MaximumRetryAttempts=1)
    pages = client.get_paginator("list_function_event_invoke_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 2}
    )
    pages = [[one["FunctionArn"] for one in page["FunctionEventInvokeConfigs"]] for page in pages]
    assert [len(page) for page in pages] == [2, 1]
    assert sorted(sum(pages, [])) == sorted("%s%s:%s" % (ARN, name, one) for one in ("live", "1", "$LATEST"))
    client.delete_alias(FunctionName=name, Name="live")
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert refused(client.get_function_event_invoke_config, FunctionName=name, Qualifier="live")[:2] == (
        "ResourceNotFoundException", 404,
    )  # fmt: skip
    assert refused(client.put_function_event_invoke_config, FunctionName=name, Qualifier="2", MaximumRetryAttempts=1) == (
        "ResourceNotFoundException", 404, "Function not found: %s%s:2" % (ARN, name),
    )  # fmt: skip


def test_what_is_refused(function, client):
    name = function.name

    def put(**more):
        return refused(client.put_function_event_invoke_config, FunctionName=name, **more)

    assert put() == (
        "InvalidParameterValueException", 400,
        "You must specify at least one of error handling or destination setting.",
    )  # fmt: skip
    assert put(MaximumRetryAttempts=3)[0] == "ValidationException"
    assert put(MaximumEventAgeInSeconds=59)[0] == "ValidationException"
    assert put(MaximumEventAgeInSeconds=21601)[0] == "ValidationException"
    assert put(DestinationConfig={"OnFailure": {"Destination": "queue"}})[0] == "ValidationException"
    for wrong in (QUEUE + ".fifo", "arn:aws:kinesis:us-east-1:000000000000:stream/x", "arn:aws:s3:::bucket"):
        assert put(DestinationConfig={"OnSuccess": {"Destination": wrong}}) == (
            "InvalidParameterValueException", 400, "The destination ARN %s is invalid." % wrong,
        )  # fmt: skip
    own = {"OnFailure": {"Destination": ARN + name}}
    assert put(DestinationConfig=own)[0] == "InvalidParameterValueException"
    bucket = {"OnFailure": {"Destination": "arn:aws:s3:::bucket"}}
    client.put_function_event_invoke_config(FunctionName=name, DestinationConfig=bucket)
