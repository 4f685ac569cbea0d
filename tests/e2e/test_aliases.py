"""Aliases: create, read, change, list, delete; weighted routing."""

import concurrent.futures
import re

import pytest
from botocore.exceptions import ClientError

from harness.functions import UUID, zip_of

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
SOURCE = """
def handler(event, context):
    return [%r, context.function_version, context.invoked_function_arn]
"""


def refused(call, **arguments):
    """`(code, status, message)` of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def shown(response):
    return {name: value for name, value in response.items() if name != "ResponseMetadata"}


@pytest.fixture
def versioned(create, client):
    """Makes functions with so many versions."""

    def make(name, versions):
        function = create(SOURCE % "0", name=name)
        for number in range(1, versions + 1):
            client.update_function_code(
                FunctionName=name, ZipFile=zip_of({"app.py": SOURCE % str(number)}), Publish=True
            )
            client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
            client.get_waiter("published_version_active").wait(
                FunctionName=name, Qualifier=str(number), WaiterConfig={"Delay": 0.1}
            )
        return function

    return make


def test_an_alias_from_beginning_to_end(versioned, client):
    function = versioned("whole", 2)
    created = client.create_alias(FunctionName="whole", Name="live", FunctionVersion="1", Description="what runs")
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    revision = created["RevisionId"]
    assert re.fullmatch(UUID, revision)
    assert shown(created) == {
        "AliasArn": ARN + "whole:live",
        "Name": "live",
        "FunctionVersion": "1",
        "Description": "what runs",
        "RevisionId": revision,
    }
    assert shown(client.get_alias(FunctionName="whole", Name="live")) == shown(created)
    assert function.invoke({}, Qualifier="live").version == "1"
    assert function.result({}, Qualifier="live") == ["1", "1", ARN + "whole:live"]

    updated = client.update_alias(FunctionName="whole", Name="live", FunctionVersion="2", RevisionId=revision)
    assert updated["RevisionId"] != revision
    assert (updated["FunctionVersion"], updated["Description"]) == ("2", "what runs")
    assert function.result({}, Qualifier="live") == ["2", "2", ARN + "whole:live"]
    got = client.get_function(FunctionName="whole", Qualifier="live")["Configuration"]
    assert (got["FunctionArn"], got["Version"]) == (ARN + "whole:live", "2")
    cleared = client.update_alias(FunctionName="whole:$LATEST", Name="live", Description="")
    assert (cleared["Description"], cleared["FunctionVersion"]) == ("", "2")

    answer = client.delete_alias(FunctionName="whole", Name="live")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(client.get_alias, FunctionName="whole", Name="live") == (
        "ResourceNotFoundException",
        404,
        "Cannot find alias arn: " + ARN + "whole:live",
    )
    assert refused(function.invoke, Qualifier="live") == (
        "ResourceNotFoundException",
        404,
        "Function not found: " + ARN + "whole:live",
    )
    assert function.result({}, Qualifier="2")[0] == "2"


def test_an_alias_of_latest(versioned, client):
    function = versioned("newest", 0)
    client.create_alias(FunctionName="newest", Name="dev", FunctionVersion="$LATEST")
    assert function.result({}, Qualifier="dev") == ["0", "$LATEST", ARN + "newest:dev"]
    function.update(files={"app.py": SOURCE % "changed"})
    assert function.result({}, Qualifier="dev")[0] == "changed"


def test_refusals(versioned, client):
    versioned("no", 3)
    client.create_alias(FunctionName="no", Name="live", FunctionVersion="1")
    create = {"FunctionName": "no", "Name": "other", "FunctionVersion": "1"}
    same = "Invalid function version 1. Function version 1 is already included in routing configuration."
    latest = "$LATEST is not supported for an alias pointing to more than 1 version"
    invalid = ("InvalidParameterValueException", 400)
    for changes, said in (
        ({"Name": "live"}, ("ResourceConflictException", 409, "Alias already exists: " + ARN + "no:live")),
        ({"FunctionVersion": "9"}, ("ResourceNotFoundException", 404, "Function not found: " + ARN + "no:9")),
        ({"FunctionName": "nobody"}, ("ResourceNotFoundException", 404, "Function not found: " + ARN + "nobody")),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}}, (*invalid, same)),
        (
            {"FunctionVersion": "$LATEST", "RoutingConfig": {"AdditionalVersionWeights": {"1": 0.5}}},
            (*invalid, latest),
        ),
        (
            {"RoutingConfig": {"AdditionalVersionWeights": {"9": 0.5}}},
            ("ResourceNotFoundException", 404, "Function not found: " + ARN + "no:9"),
        ),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"2": 0.1, "3": 0.1}}}, (*invalid, None)),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"2": 1.5}}}, ("ValidationException", 400, None)),
        ({"RoutingConfig": {"AdditionalVersionWeights": {"$LATEST": 0.5}}}, ("ValidationException", 400, None)),
        ({"Name": "7"}, ("ValidationException", 400, None)),
        ({"Name": "a b"}, ("ValidationException", 400, None)),
        ({"Name": "$LATEST"}, ("ValidationException", 400, None)),
        ({"Name": "x" * 129}, ("ValidationException", 400, None)),
        ({"FunctionVersion": "live"}, ("ValidationException", 400, None)),
        ({"FunctionVersion": None}, ("ValidationException", 400, None)),
        ({"FunctionName": "no:1"}, (*invalid, None)),
    ):
        request = {name: value for name, value in {**create, **changes}.items() if value is not None}
        code, status, message = refused(client.create_alias, **request)
        assert (code, status) == said[:2], (changes, code, message)
        assert said[2] in (None, message), changes
    assert [alias["Name"] for alias in client.list_aliases(FunctionName="no")["Aliases"]] == ["live"]
    assert refused(client.update_alias, FunctionName="no", Name="other", FunctionVersion="2") == (
        "ResourceNotFoundException",
        404,
        "Alias not found: " + ARN + "no:other",
    )
    assert refused(client.update_alias, FunctionName="no", Name="live", FunctionVersion="2", RevisionId="x") == (
        "PreconditionFailedException",
        412,
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to retrieve the "
        "latest Revision Id",
    )
    assert refused(client.update_alias, FunctionName="no", Name="live", FunctionVersion="9")[:2] == (
        "ResourceNotFoundException",
        404,
    )
    for call, arguments in (
        (client.get_alias, {"Name": "live"}),
        (client.delete_alias, {"Name": "live"}),
        (client.list_aliases, {}),
    ):
        assert refused(call, FunctionName="nobody", **arguments) == (
            "ResourceNotFoundException",
            404,
            "Function not found: " + ARN + "nobody",
        )


def test_weights_route(versioned, client):
    function = versioned("weighted", 2)
    routing = {"AdditionalVersionWeights": {"2": 0.3}}
    created = client.create_alias(FunctionName="weighted", Name="live", FunctionVersion="1", RoutingConfig=routing)
    assert created["RoutingConfig"] == routing
    assert client.get_alias(FunctionName="weighted", Name="live")["RoutingConfig"] == routing

    def shares(count=400):
        def one(_):
            answer = function.invoke({}, Qualifier="live")
            code, version, arn = answer.json()
            assert answer.version == answer.headers["x-amz-executed-version"] == version == code
            assert arn == ARN + "weighted:live"
            return version

        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            versions = list(pool.map(one, range(count)))
        return versions.count("2") / count

    assert 0.17 < shares() < 0.43  # more than five standard deviations either way
    # without a routing configuration in the request it stays
    kept = client.update_alias(FunctionName="weighted", Name="live", Description="x")
    assert kept["RoutingConfig"] == routing
    client.update_alias(
        FunctionName="weighted", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 1.0}}
    )
    assert shares(20) == 1.0
    client.update_alias(FunctionName="weighted", Name="live", RoutingConfig={"AdditionalVersionWeights": {"2": 0}})
    assert shares(20) == 0.0
    assert refused(client.update_alias, FunctionName="weighted", Name="live", FunctionVersion="2")[2] == (
        "Invalid function version 2. Function version 2 is already included in routing configuration."
    )
    assert refused(client.delete_function, FunctionName="weighted", Qualifier="2") == (
        "ResourceConflictException",
        409,
        "Unable to delete version because the following aliases reference it: [live]",
    )
    done = client.update_alias(FunctionName="weighted", Name="live", FunctionVersion="2", RoutingConfig={})
    assert "RoutingConfig" not in done
    assert shares(20) == 1.0


def test_list_aliases(versioned, client):
    versioned("listed", 2)
    for number in range(7):
        client.create_alias(FunctionName="listed", Name="a%d" % number, FunctionVersion=str(1 + number % 2))
    names = ["a%d" % number for number in range(7)]
    assert [alias["Name"] for alias in client.list_aliases(FunctionName="listed")["Aliases"]] == names
    pages = list(client.get_paginator("list_aliases").paginate(FunctionName="listed", PaginationConfig={"PageSize": 3}))
    assert [len(page["Aliases"]) for page in pages] == [3, 3, 1]
    assert [alias["Name"] for page in pages for alias in page["Aliases"]] == names
    of_two = client.list_aliases(FunctionName="listed", FunctionVersion="2", MaxItems=2)
    assert [alias["Name"] for alias in of_two["Aliases"]] == ["a1", "a3"]
    rest = client.list_aliases(FunctionName="listed", FunctionVersion="2", Marker=of_two["NextMarker"])
    assert [alias["Name"] for alias in rest["Aliases"]] == ["a5"] and "NextMarker" not in rest
    assert refused(client.list_aliases, FunctionName="listed", Marker="x")[:2] == ("InvalidParameterValueException", 400)


def test_concurrent_updates_are_guarded(versioned, client, server):
    versioned("counted", 1)
    client.create_alias(FunctionName="counted", Name="live", FunctionVersion="1", Description="0")

    def count(_):
        mine, done = server.client("lambda"), 0
        while done < 5:
            alias = mine.get_alias(FunctionName="counted", Name="live")
            try:
                mine.update_alias(
                    FunctionName="counted", Name="live", RevisionId=alias["RevisionId"],
                    Description=str(int(alias["Description"]) + 1),
                )  # fmt: skip
                done += 1
            except mine.exceptions.PreconditionFailedException:
                pass

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    assert client.get_alias(FunctionName="counted", Name="live")["Description"] == "20"


def test_aliases_go_with_their_function(versioned, client, create):
    function = versioned("again", 1)
    client.create_alias(FunctionName="again", Name="live", FunctionVersion="1")
    function.delete()
    versioned("again", 0)
    assert client.list_aliases(FunctionName="again")["Aliases"] == []
    assert refused(client.get_alias, FunctionName="again", Name="live")[0] == "ResourceNotFoundException"
