"""Published versions: publish, read, run, list, delete; qualifiers; what a crash leaves."""

import concurrent.futures
import re
import threading
import time
import urllib.request

import pytest
from botocore.exceptions import ClientError

from harness.functions import ROLE, UUID, Factory, python, zip_of

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
SOURCE = """
import os
def handler(event, context):
    return {
        "code": %r,
        "version": context.function_version,
        "variable": os.environ["AWS_LAMBDA_FUNCTION_VERSION"],
        "arn": context.invoked_function_arn,
        "stream": context.log_stream_name,
        "env": os.environ.get("AA"),
    }
"""


def source(mark):
    return SOURCE % mark


def refused(call, **arguments):
    """`(code, status, message)` of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def publish(function, **options):
    """The number of a new version, which is active."""
    version = function.client.publish_version(FunctionName=function.name, **options)["Version"]
    function.client.get_waiter("published_version_active").wait(
        FunctionName=function.name, Qualifier=version, WaiterConfig={"Delay": 1}
    )
    return version


def test_publish_says_everything(create, client):
    function = create(source("one"), name="said", Description="of the function", env={"AA": "1"})
    latest = client.get_function_configuration(FunctionName="said")
    published = client.publish_version(FunctionName="said", Description="of the version")
    assert published["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert published["Version"] == "1"
    assert published["FunctionArn"] == ARN + "said:1"
    assert published["Description"] == "of the version"
    assert (published["State"], published["StateReasonCode"]) == ("Pending", "Creating")
    assert re.fullmatch(UUID, published["RevisionId"]) and published["RevisionId"] != latest["RevisionId"]
    same = ["Runtime", "Handler", "Role", "CodeSha256", "CodeSize", "Environment", "Timeout", "MemorySize", "LoggingConfig",
            "EphemeralStorage", "Architectures", "PackageType", "TracingConfig", "SnapStart"]  # fmt: skip
    assert {name: published[name] for name in same} == {name: latest[name] for name in same}
    client.get_waiter("published_version_active").wait(FunctionName="said", Qualifier="1", WaiterConfig={"Delay": 1})
    client.get_waiter("function_active_v2").wait(FunctionName="said", Qualifier="1", WaiterConfig={"Delay": 1})
    client.get_waiter("function_updated_v2").wait(FunctionName="said", Qualifier="1", WaiterConfig={"Delay": 1})
    version = client.get_function_configuration(FunctionName="said", Qualifier="1")
    assert (version["State"], version["LastUpdateStatus"]) == ("Active", "Successful")
    assert version["RevisionId"] == published["RevisionId"]
    after = client.get_function_configuration(FunctionName="said")
    assert {**after, "ResponseMetadata": 0} == {**latest, "ResponseMetadata": 0}
    assert function.result()["version"] == "$LATEST"


def test_versions_keep_what_they_were(create, client):
    function = create(source("one"), name="kept", env={"AA": "1"})
    first = publish(function)
    function.update(files={"app.py": source("two")})
    function.update(Environment={"Variables": {"AA": "2"}}, Timeout=7)
    second = publish(function)
    assert (first, second) == ("1", "2")
    function.update(files={"app.py": source("three")})
    seen = {}
    for qualifier, mark, variable in (("1", "one", "1"), ("2", "two", "2"), ("$LATEST", "three", "2")):
        answer = function.invoke({}, Qualifier=qualifier)
        assert answer.version == qualifier
        assert answer.headers["x-amz-executed-version"] == qualifier
        result = seen[qualifier] = answer.json()
        assert (result["code"], result["env"]) == (mark, variable)
        assert result["version"] == result["variable"] == qualifier
        assert result["arn"] == ARN + "kept:" + qualifier
        assert "[%s]" % qualifier in result["stream"]
        got = client.get_function(FunctionName="kept", Qualifier=qualifier)
        with urllib.request.urlopen(got["Code"]["Location"]) as response:
            assert response.read() == zip_of({"app.py": source(mark)})
    assert len({result["stream"] for result in seen.values()}) == 3, "each version has environments of its own"
    again = function.result({}, Qualifier="1")
    assert again["stream"] == seen["1"]["stream"], "an update leaves the environments of versions alone"
    assert client.get_function_configuration(FunctionName="kept", Qualifier="1")["Timeout"] == 30
    logs = function.server.client("logs")
    function.logs(until="Version: 2")
    streams = [s["logStreamName"] for s in logs.describe_log_streams(logGroupName="/aws/lambda/kept")["logStreams"]]
    for mark in ("[1]", "[2]", "[$LATEST]"):
        assert any(mark in stream for stream in streams), streams


def test_publishing_without_a_change(create, client):
    function = create(source("one"), name="same")
    publish(function)
    again = client.publish_version(FunctionName="same", Description="no new version")
    assert (again["Version"], again["Description"], again["State"]) == ("1", "", "Active")
    function.update(files={"app.py": source("one")})
    assert client.publish_version(FunctionName="same")["Version"] == "1", "the same code is no change"
    function.update(Description="a change")
    assert publish(function) == "2"


def test_publish_with_create_and_update(create, client):
    created = client.create_function(
        FunctionName="at-once", Runtime=python(), Handler="app.handler", Role=ROLE, Publish=True,
        Code={"ZipFile": zip_of({"app.py": source("one")})}, MemorySize=256, Timeout=30,
    )  # fmt: skip
    create.made.append("at-once")
    create.server.functions.add("at-once")
    assert (created["Version"], created["FunctionArn"], created["State"]) == ("1", ARN + "at-once", "Pending")
    client.get_waiter("published_version_active").wait(FunctionName="at-once", Qualifier="1", WaiterConfig={"Delay": 1})
    client.get_waiter("function_active_v2").wait(FunctionName="at-once", WaiterConfig={"Delay": 1})
    assert client.invoke(FunctionName="at-once:1")["ExecutedVersion"] == "1"
    updated = client.update_function_code(FunctionName="at-once", ZipFile=zip_of({"app.py": source("two")}), Publish=True)
    assert (updated["Version"], updated["FunctionArn"]) == ("2", ARN + "at-once:2")
    client.get_waiter("published_version_active").wait(FunctionName="at-once", Qualifier="2", WaiterConfig={"Delay": 1})
    client.get_waiter("function_updated_v2").wait(FunctionName="at-once", WaiterConfig={"Delay": 1})
    assert b'"two"' in client.invoke(FunctionName="at-once", Qualifier="2")["Payload"].read()
    assert b'"one"' in client.invoke(FunctionName="at-once", Qualifier="1")["Payload"].read()


def test_guards_of_publishing(create, client):
    function = create(source("one"), name="guarded")
    latest = client.get_function_configuration(FunctionName="guarded")
    assert refused(client.publish_version, FunctionName="guarded", CodeSha256="abc=") == (
        "InvalidParameterValueException",
        400,
        "CodeSHA256 (abc=) is different from current CodeSHA256 in $LATEST (%s). Please try again with the CodeSHA256 in "
        "$LATEST." % latest["CodeSha256"],
    )
    assert refused(client.publish_version, FunctionName="guarded", RevisionId="0" * 8)[:2] == (
        "PreconditionFailedException",
        412,
    )
    assert refused(client.publish_version, FunctionName="nobody") == (
        "ResourceNotFoundException",
        404,
        "Function not found: " + ARN + "nobody",
    )
    assert refused(client.publish_version, FunctionName="guarded", Description="x" * 257)[0] == "ValidationException"
    assert refused(client.publish_version, FunctionName="guarded", PublishTo="LATEST_PUBLISHED")[:2] == (
        "InvalidParameterValueException",
        400,
    )
    published = client.publish_version(
        FunctionName="guarded", CodeSha256=latest["CodeSha256"], RevisionId=latest["RevisionId"]
    )
    assert published["Version"] == "1"
    assert function.result({}, Qualifier="1")["code"] == "one"


def test_versions_do_not_change(create, client):
    function = create(source("one"), name="fixed")
    publish(function)
    message = (
        "Current operation does not support versions other than $LATEST. Please set the version to $LATEST or do not set a "
        "version in your request."
    )
    for name in ("fixed:1", ARN + "fixed:1"):
        for call, arguments in (
            (client.update_function_code, {"ZipFile": zip_of({"app.py": source("two")})}),
            (client.update_function_configuration, {"Timeout": 5}),
        ):
            assert refused(call, FunctionName=name, **arguments) == ("InvalidParameterValueException", 400, message)


def test_qualifiers(create, client):
    function = create(source("one"), name="q")
    publish(function)
    client.create_alias(FunctionName="q", Name="live", FunctionVersion="1")
    for qualifier, version in (("1", "1"), ("live", "1"), ("$LATEST", "$LATEST")):
        for name, given in (
            ("q", qualifier),
            ("q:" + qualifier, None),
            ("q:" + qualifier, qualifier),
            ("function:q:" + qualifier, None),
            ("000000000000:function:q:" + qualifier, None),
            (ARN + "q:" + qualifier, None),
            (ARN + "q", qualifier),
        ):
            options = {"Qualifier": given} if given else {}
            answer = client.invoke(FunctionName=name, **options)
            assert answer["ExecutedVersion"] == version, (name, given)
            got = client.get_function_configuration(FunctionName=name, **options)
            assert (got["FunctionArn"], got["Version"]) == (ARN + "q:" + qualifier, version)
    for call in (client.invoke, client.get_function, client.get_function_configuration, client.delete_function):
        assert refused(call, FunctionName="q:1", Qualifier="live") == (
            "InvalidParameterValueException",
            400,
            "The derived qualifier from the function name does not match the specified qualifier.",
        )
    for qualifier in ("2", "0", "01", "99999999999999999999", "nobody"):
        for call in (client.invoke, client.get_function, client.get_function_configuration):
            assert refused(call, FunctionName="q", Qualifier=qualifier) == (
                "ResourceNotFoundException",
                404,
                "Function not found: " + ARN + "q:" + qualifier,
            )
    assert refused(client.get_function, FunctionName="q", Qualifier="a b")[0] == "ValidationException"


def test_list_versions_in_pages(create, client):
    function = create(source("0"), name="pages")
    for number in range(1, 8):
        client.update_function_configuration(FunctionName="pages", Description=str(number))
        client.get_waiter("function_updated_v2").wait(FunctionName="pages", WaiterConfig={"Delay": 0.1})
        publish(function)
    expected = ["$LATEST"] + [str(number) for number in range(1, 8)]
    listed = client.list_versions_by_function(FunctionName="pages")["Versions"]
    assert [version["Version"] for version in listed] == expected
    assert [version["FunctionArn"] for version in listed] == [ARN + "pages:" + version for version in expected]
    assert listed[3]["Description"] == "3" and "State" not in listed[3]
    paginator = client.get_paginator("list_versions_by_function")
    pages = list(paginator.paginate(FunctionName="pages", PaginationConfig={"PageSize": 3}))
    assert [len(page["Versions"]) for page in pages] == [3, 3, 2]
    assert [v["Version"] for page in pages for v in page["Versions"]] == expected
    pages = list(client.get_paginator("list_functions").paginate(FunctionVersion="ALL", PaginationConfig={"PageSize": 3}))
    assert [f["FunctionArn"] for page in pages for f in page["Functions"]] == [ARN + "pages:" + v for v in expected]
    assert client.list_functions(FunctionVersion="ALL", MasterRegion="us-east-1")["Functions"] == []
    assert refused(client.list_functions, MasterRegion="us-east-1")[:2] == ("InvalidParameterValueException", 400)
    assert refused(client.list_versions_by_function, FunctionName="pages", Marker="x")[:2] == (
        "InvalidParameterValueException",
        400,
    )
    assert refused(client.list_versions_by_function, FunctionName="nobody")[:2] == ("ResourceNotFoundException", 404)


def test_delete_versions(create, client):
    function = create(source("1"), name="gone")
    publish(function)
    function.update(files={"app.py": source("2")})
    publish(function)
    assert function.result({}, Qualifier="2")["code"] == "2"
    answer = client.delete_function(FunctionName="gone", Qualifier="2")
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert refused(function.invoke, Qualifier="2")[0] == "ResourceNotFoundException"
    assert function.result({}, Qualifier="1")["code"] == "1"
    assert refused(client.delete_function, FunctionName="gone", Qualifier="$LATEST") == (
        "InvalidParameterValueException",
        400,
        "$LATEST version cannot be deleted without deleting the function.",
    )
    client.create_alias(FunctionName="gone", Name="live", FunctionVersion="1")
    assert refused(client.delete_function, FunctionName="gone:1") == (
        "ResourceConflictException",
        409,
        "Unable to delete version because the following aliases reference it: [live]",
    )
    assert refused(client.delete_function, FunctionName="gone", Qualifier="live")[:2] == ("InvalidParameterValueException", 400)
    client.delete_alias(FunctionName="gone", Name="live")
    client.delete_function(FunctionName="gone:1")
    assert publish(function) == "3", "numbers are not used again"
    function.delete()
    assert refused(client.list_versions_by_function, FunctionName="gone")[0] == "ResourceNotFoundException"
    function = create(source("new"), name="gone")
    assert [v["Version"] for v in client.list_versions_by_function(FunctionName="gone")["Versions"]] == ["$LATEST"]
    assert publish(function) == "1"
    assert function.result({}, Qualifier="1")["code"] == "new"


def test_environments_of_a_deleted_version_end(create, client, server):
    function = create(source("1"), name="ended")
    publish(function)
    function.result({}, Qualifier="1")
    client.delete_function(FunctionName="ended", Qualifier="1")
    server.baseline.assert_idle()


def test_delete_of_a_running_version(create, client):
    function = create("import time\ndef handler(event, context):\n    time.sleep(event)\n    return 'done'\n", name="running")
    publish(function)
    function.result(0, Qualifier="1")
    with concurrent.futures.ThreadPoolExecutor() as pool:
        running = pool.submit(function.result, 1.5, Qualifier="1")
        time.sleep(0.5)
        client.delete_function(FunctionName="running", Qualifier="1")
        assert running.result() == "done"


def test_concurrent_publications_have_distinct_numbers(create, client, server):
    function = create(source("0"), name="race")

    def work(worker):
        mine = server.client("lambda")
        published = []
        for step in range(4):
            mark = "%d-%d" % (worker, step)
            while True:
                try:
                    mine.update_function_configuration(FunctionName="race", Description=mark)
                    break
                except mine.exceptions.ResourceConflictException:
                    time.sleep(0.01)
            while True:
                try:
                    done = mine.publish_version(FunctionName="race")
                    break
                except mine.exceptions.ResourceConflictException:
                    time.sleep(0.01)
            published.append((done["Version"], done["Description"]))
        return published

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        published = [entry for entries in pool.map(work, range(4)) for entry in entries]
    by_version = {}
    for version, description in published:
        assert by_version.setdefault(version, description) == description, "one number, two states"
    listed = client.list_versions_by_function(FunctionName="race")["Versions"]
    assert [v["Version"] for v in listed[1:]] == [str(number) for number in range(1, len(listed))]
    assert {v["Version"]: v["Description"] for v in listed[1:]} == by_version
    assert function.result({}, Qualifier="1")["version"] == "1"


def test_acknowledged_versions_and_aliases_survive_a_kill(own_server):
    server = own_server.start()
    Factory(server)(source("0"), name="durable")
    acknowledged, aliases = {}, {}
    stop = threading.Event()

    def write():
        client = server.client("lambda")
        number = 0
        while not stop.is_set():
            number += 1
            try:
                client.update_function_configuration(FunctionName="durable", Description=str(number))
                client.get_waiter("function_updated_v2").wait(FunctionName="durable", WaiterConfig={"Delay": 0.02})
                version = client.publish_version(FunctionName="durable")["Version"]
                acknowledged[version] = str(number)
                client.create_alias(FunctionName="durable", Name="a" + version, FunctionVersion=version)
                aliases["a" + version] = version
                if number % 5 == 0:
                    client.delete_alias(FunctionName="durable", Name="a" + version)
                    del aliases["a" + version]
            except Exception:
                if stop.is_set():
                    return
                raise

    thread = threading.Thread(target=write)
    thread.start()
    deadline = time.monotonic() + 60
    while len(acknowledged) < 12:
        assert thread.is_alive() and time.monotonic() < deadline
        time.sleep(0.01)
    stop.set()  # what fails from here on fails because of the kill
    server.kill()
    thread.join()
    server._clients.clear()

    server.start()
    client = server.client("lambda")
    listed = {v["Version"]: v["Description"] for v in client.list_versions_by_function(FunctionName="durable")["Versions"]}
    assert {version: listed.get(version) for version in acknowledged} == acknowledged
    for name, version in aliases.items():
        assert client.get_alias(FunctionName="durable", Name=name)["FunctionVersion"] == version
    last = max(acknowledged, key=int)
    client.get_waiter("published_version_active").wait(FunctionName="durable", Qualifier=last, WaiterConfig={"Delay": 0.2})
    assert client.invoke(FunctionName="durable", Qualifier=last)["ExecutedVersion"] == last
    client.get_waiter("function_updated_v2").wait(FunctionName="durable", WaiterConfig={"Delay": 0.2})
    client.update_function_configuration(FunctionName="durable", Description="after")
    client.get_waiter("function_updated_v2").wait(FunctionName="durable", WaiterConfig={"Delay": 0.2})
    assert int(client.publish_version(FunctionName="durable")["Version"]) > int(last)
    server.functions.add("durable")
    client.delete_function(FunctionName="durable")
    server.functions.discard("durable")


def test_runtime_management_and_recursion(create, client):
    function = create(source("one"), name="managed")
    publish(function)
    runtime = client.get_function_configuration(FunctionName="managed")["RuntimeVersionConfig"]["RuntimeVersionArn"]
    assert client.get_runtime_management_config(FunctionName="managed")["UpdateRuntimeOn"] == "Auto"
    put = client.put_runtime_management_config(
        FunctionName="managed", Qualifier="1", UpdateRuntimeOn="Manual", RuntimeVersionArn=runtime
    )
    assert (put["UpdateRuntimeOn"], put["RuntimeVersionArn"]) == ("Manual", runtime)
    got = client.get_runtime_management_config(FunctionName="managed", Qualifier="1")
    assert (got["UpdateRuntimeOn"], got["RuntimeVersionArn"], got["FunctionArn"]) == ("Manual", runtime, ARN + "managed:1")
    client.put_runtime_management_config(FunctionName="managed", UpdateRuntimeOn="FunctionUpdate")
    assert client.get_runtime_management_config(FunctionName="managed")["UpdateRuntimeOn"] == "FunctionUpdate"
    other = runtime[:-4] + "0000"
    said = refused(
        client.put_runtime_management_config, FunctionName="managed", UpdateRuntimeOn="Manual", RuntimeVersionArn=other
    )
    assert said[:2] == ("InvalidParameterValueException", 400) and other in said[2]
    assert refused(client.put_runtime_management_config, FunctionName="managed", UpdateRuntimeOn="Never")[0] == "ValidationException"
    assert client.get_function_recursion_config(FunctionName="managed")["RecursiveLoop"] == "Terminate"
    assert client.put_function_recursion_config(FunctionName="managed", RecursiveLoop="Allow")["RecursiveLoop"] == "Allow"
    assert client.get_function_recursion_config(FunctionName="managed")["RecursiveLoop"] == "Allow"
    assert refused(client.put_function_recursion_config, FunctionName="nobody", RecursiveLoop="Allow")[:2] == (
        "ResourceNotFoundException",
        404,
    )
