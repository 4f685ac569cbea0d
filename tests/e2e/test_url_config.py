"""Configurations of function URLs: create, get, update, list, delete."""

import re

import pytest

from test_functions import refused

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
ABSENT = ("ResourceNotFoundException", 404, "The resource you requested does not exist.")

pytestmark = pytest.mark.allow_log(r"WARN .*function URLs are not served yet")


@pytest.fixture
def function(create):
    return create()


def shown(response):
    return {key: value for key, value in response.items() if key != "ResponseMetadata"}


def test_from_beginning_to_end(server, function, client):
    name = function.name
    cors = {
        "AllowCredentials": True, "AllowHeaders": ["X-A"], "AllowMethods": ["GET", "*"],
        "AllowOrigins": ["https://example.com"], "ExposeHeaders": ["X-B"], "MaxAge": 86400,
    }  # fmt: skip
    created = client.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=cors)
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    created = shown(created)
    url = created["FunctionUrl"]
    assert re.fullmatch(r"http://[a-z0-9]{32}\.lambda-url\.us-east-1\.localhost:%d/" % server.port, url)
    assert re.fullmatch(TIME, created["CreationTime"])
    expected = {
        "FunctionUrl": url, "FunctionArn": ARN + name, "AuthType": "NONE", "Cors": cors,
        "CreationTime": created["CreationTime"], "InvokeMode": "BUFFERED",
    }  # fmt: skip
    assert created == expected
    got = shown(client.get_function_url_config(FunctionName=name))
    assert got == {**expected, "LastModifiedTime": created["CreationTime"]}
    assert refused(client.create_function_url_config, FunctionName=name, AuthType="AWS_IAM") == (
        "ResourceConflictException", 409,
        "Failed to create function url config for [functionArn = %s%s]. Error message:  FunctionUrlConfig exists for "
        "this Lambda function" % (ARN, name),
    )  # fmt: skip

    updated = shown(client.update_function_url_config(FunctionName=name, InvokeMode="RESPONSE_STREAM"))
    assert (updated["FunctionUrl"], updated["Cors"], updated["InvokeMode"]) == (url, cors, "RESPONSE_STREAM")
    client.update_function_url_config(FunctionName=name, AuthType="AWS_IAM", Cors={"MaxAge": 5})
    got = client.get_function_url_config(FunctionName=name)
    assert (got["AuthType"], got["Cors"], got["InvokeMode"]) == ("AWS_IAM", {"MaxAge": 5}, "RESPONSE_STREAM")
    client.update_function_url_config(FunctionName=name, Cors={})
    assert "Cors" not in client.get_function_url_config(FunctionName=name)

    gone = client.delete_function_url_config(FunctionName=name)
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    for call in (client.get_function_url_config, client.delete_function_url_config, client.update_function_url_config):
        assert refused(call, FunctionName=name) == ABSENT
    assert client.create_function_url_config(FunctionName=name, AuthType="NONE")["FunctionUrl"] != url


def test_aliases_and_pages(function, client):
    name = function.name
    client.publish_version(FunctionName=name)
    urls = {}
    for alias in ("a", "b"):
        client.create_alias(FunctionName=name, Name=alias, FunctionVersion="1")
        made = client.create_function_url_config(FunctionName=name, Qualifier=alias, AuthType="AWS_IAM")
        urls[made["FunctionArn"]] = made["FunctionUrl"]
    made = client.create_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    urls[made["FunctionArn"]] = made["FunctionUrl"]
    assert set(urls) == {ARN + name, ARN + name + ":a", ARN + name + ":b"}
    assert len(set(urls.values())) == 3
    pages = list(
        client.get_paginator("list_function_url_configs").paginate(FunctionName=name, PaginationConfig={"PageSize": 2})
    )
    assert [len(page["FunctionUrlConfigs"]) for page in pages] == [2, 1]
    listed = {one["FunctionArn"]: one["FunctionUrl"] for page in pages for one in page["FunctionUrlConfigs"]}
    assert listed == urls
    assert client.get_function_url_config(FunctionName=name + ":a")["FunctionUrl"] == urls[ARN + name + ":a"]
    client.delete_alias(FunctionName=name, Name="a")
    assert len(client.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]) == 2


def test_what_is_refused(function, client):
    name = function.name

    def created(**more):
        return refused(client.create_function_url_config, **{"FunctionName": name, "AuthType": "NONE", **more})

    client.publish_version(FunctionName=name)
    for qualifier in ("1", "$LATEST"):
        assert created(Qualifier=qualifier)[:2] == ("ValidationException", 400), qualifier
        assert created(FunctionName="%s:%s" % (name, qualifier))[:2] == ("ValidationException", 400), qualifier
    assert created(Qualifier="none") == (
        "ResourceNotFoundException", 404, "Function not found: %s%s:none" % (ARN, name),
    )  # fmt: skip
    assert created(AuthType="ANY")[0] == "ValidationException"
    assert created(InvokeMode="FAST")[0] == "ValidationException"
    assert created(Cors={"MaxAge": 86401})[0] == "ValidationException"
    assert created(Cors={"AllowOrigins": ["x"] * 101})[0] == "ValidationException"
    assert created(Cors={"AllowMethods": ["OPTIONS"]})[0] == "ValidationException"
    assert created(Cors={"AllowMethods": ["FETCH"]})[0] == "InvalidParameterValueException"
    assert refused(client.get_function_url_config, FunctionName=name) == ABSENT
