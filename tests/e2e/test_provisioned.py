"""Provisioned concurrency: environments that are there before anyone calls."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from harness.functions import Factory

# Says how and in which version it was initialised.
CODE = """
import os, time, uuid
INSTANCE = uuid.uuid4().hex
def handler(event, context):
    if event.get("die"):
        os._exit(1)
    time.sleep(event.get("seconds", 0))
    return [os.environ["AWS_LAMBDA_INITIALIZATION_TYPE"], context.function_version, INSTANCE]
"""
AHEAD, ON_DEMAND = "provisioned-concurrency", "on-demand"


def wait(client, name, qualifier, status="READY", seconds=30, **numbers):
    """The configuration once it has a status and numbers."""
    deadline = time.monotonic() + seconds
    while True:
        shown = client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=qualifier)
        if shown["Status"] == status and all(shown[key] == value for key, value in numbers.items()):
            return shown
        assert time.monotonic() < deadline, shown
        time.sleep(0.05)


def put(client, name, qualifier, count):
    return client.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=count
    )


def publish(client, function):
    return client.publish_version(FunctionName=function.name)["Version"]


def lead(client, function, alias, version, weights=None):
    client.update_alias(
        FunctionName=function.name,
        Name=alias,
        FunctionVersion=version,
        RoutingConfig={"AdditionalVersionWeights": weights or {}},
    )


def refusal(client, *arguments):
    with pytest.raises(ClientError) as caught:
        put(client, *arguments)
    error = caught.value.response
    return error["ResponseMetadata"]["HTTPStatusCode"], error["Error"]["Code"], error["Error"]["Message"]


def test_a_version_is_ready_before_its_first_call(create, client):
    function = create(CODE)
    version = publish(client, function)
    name = function.name
    made = put(client, name, version, 2)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (made["RequestedProvisionedConcurrentExecutions"], made["Status"]) == (2, "IN_PROGRESS")
    shown = wait(client, name, version)
    assert shown["AllocatedProvisionedConcurrentExecutions"] == shown["AvailableProvisionedConcurrentExecutions"] == 2
    assert "StatusReason" not in shown
    listed = client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [(item["FunctionArn"].split(":")[-1], item["Status"]) for item in listed] == [(version, "READY")]
    # INIT has run twice, and nobody has called yet
    starts = [line for line in function.logs(until="INIT_START") if line.startswith("INIT_START")]
    deadline = time.monotonic() + 10
    while len(starts) < 2:
        assert time.monotonic() < deadline
        starts = [line for line in function.logs() if line.startswith("INIT_START")]
    assert len(starts) == 2

    answer = function.invoke({}, Qualifier=version, LogType="Tail")
    assert answer.json()[:2] == [AHEAD, version]
    assert "Init Duration: " in answer.tail and "Init Duration: " not in function.invoke({}, Qualifier=version, LogType="Tail").tail
    assert function.result({})[:2] == [ON_DEMAND, "$LATEST"]

    gone = client.delete_provisioned_concurrency_config(FunctionName=name, Qualifier=version)
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    with pytest.raises(client.exceptions.ProvisionedConcurrencyConfigNotFoundException):
        client.get_provisioned_concurrency_config(FunctionName=name, Qualifier=version)
    deadline = time.monotonic() + 10
    while function.result({}, Qualifier=version)[0] != ON_DEMAND:
        assert time.monotonic() < deadline
    assert client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []


def test_more_at_once_spill_over(create, client):
    function = create(CODE)
    version = publish(client, function)
    put(client, function.name, version, 2)
    wait(client, function.name, version)
    with ThreadPoolExecutor(4) as pool:
        calls = [pool.submit(function.result, {"seconds": 1.5}, Qualifier=version) for _ in range(4)]
        answers = [call.result() for call in calls]
    assert sorted(answer[0] for answer in answers) == [ON_DEMAND] * 2 + [AHEAD] * 2
    assert len({answer[2] for answer in answers}) == 4
    # the next ones are served ahead again
    assert function.result({}, Qualifier=version)[0] == AHEAD


def test_what_crashes_is_replaced(create, client):
    function = create(CODE)
    version = publish(client, function)
    put(client, function.name, version, 1)
    wait(client, function.name, version)
    before = function.result({}, Qualifier=version)
    assert function.fault({"die": True}, Qualifier=version)["errorType"] == "Runtime.ExitError"
    wait(client, function.name, version, AvailableProvisionedConcurrentExecutions=1)
    after = function.invoke({}, Qualifier=version, LogType="Tail")
    assert after.json()[0] == AHEAD and after.json()[2] != before[2]


def test_a_failing_init_is_told(create, client):
    function = create("raise RuntimeError('not today')\n")
    version = publish(client, function)
    put(client, function.name, version, 1)
    shown = wait(client, function.name, version, "FAILED")
    assert shown["StatusReason"] == "FUNCTION_ERROR_INIT_FAILURE"
    assert shown["AllocatedProvisionedConcurrentExecutions"] == 0
    messages = function.logs(until="INIT_REPORT")
    assert any("not today" in message for message in messages)


def test_an_alias_takes_it_along(create, client):
    function = create(CODE)
    first = publish(client, function)
    function.update(files={"app.py": CODE + "# two"})
    second = publish(client, function)
    name = function.name
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=first)
    put(client, name, "live", 2)
    wait(client, name, "live")
    assert function.result({}, Qualifier="live")[:2] == [AHEAD, first]
    # named by its number the version has the same environments
    assert function.result({}, Qualifier=first)[:2] == [AHEAD, first]

    lead(client, function, "live", first, {second: 0.5})
    wait(client, name, "live", AllocatedProvisionedConcurrentExecutions=2)
    answers = {tuple(function.result({}, Qualifier="live")[:2]) for _ in range(40)}
    assert answers == {(AHEAD, first), (AHEAD, second)}

    lead(client, function, "live", second)
    wait(client, name, "live")
    assert function.result({}, Qualifier="live")[:2] == [AHEAD, second]
    deadline = time.monotonic() + 10
    while function.result({}, Qualifier=first)[0] != ON_DEMAND:
        assert time.monotonic() < deadline
    client.delete_alias(FunctionName=name, Name="live")
    assert client.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"] == []


def test_refusals(create, client):
    function = create(CODE)
    name = function.name
    version = publish(client, function)
    invalid = (400, "InvalidParameterValueException")
    unpublished = "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
    assert refusal(client, name, "$LATEST", 1) == (*invalid, unpublished)
    assert refusal(client, name, version, 0)[0] == 400
    assert refusal(client, name, "7", 1)[:2] == (404, "ResourceNotFoundException")
    assert refusal(client, "nobody", "1", 1)[:2] == (404, "ResourceNotFoundException")
    assert refusal(client, name, version, 901) == (
        *invalid,
        "Specified ConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below its "
        "minimum value of [100].",
    )
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=2)
    assert refusal(client, name, "live", 3) == (
        *invalid,
        "Requested Provisioned Concurrency should not be greater than the reservedConcurrentExecution for function",
    )
    put(client, name, version, 2)
    assert refusal(client, name, "live", 1)[:2] == (409, "ResourceConflictException")
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=1)
    for call in (client.get_provisioned_concurrency_config, client.delete_provisioned_concurrency_config):
        with pytest.raises(client.exceptions.InvalidParameterValueException):
            call(FunctionName=name, Qualifier="$LATEST")
    # all that is reserved is provisioned: nothing is left for $LATEST
    wait(client, name, version)
    with pytest.raises(ClientError) as caught:
        function.invoke({})
    assert caught.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert function.result({}, Qualifier=version)[0] == AHEAD


def test_pages(create, client):
    function = create(CODE)
    name = function.name
    version = publish(client, function)
    aliases = ["a", "b", "c"]
    for alias in aliases:
        client.create_alias(FunctionName=name, Name=alias, FunctionVersion=version)
        put(client, name, alias, 1)
    pages = client.get_paginator("list_provisioned_concurrency_configs").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 2}
    )
    found = [item["FunctionArn"].split(":")[-1] for page in pages for item in page["ProvisionedConcurrencyConfigs"]]
    assert found == aliases
    with pytest.raises(client.exceptions.InvalidParameterValueException):
        client.list_provisioned_concurrency_configs(FunctionName=name, Marker="no marker")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.list_provisioned_concurrency_configs(FunctionName="nobody")


def test_it_survives_a_restart(own_server):
    server = own_server.start()
    create = Factory(server)
    function = create(CODE)
    client = server.client("lambda")
    version = publish(client, function)
    put(client, function.name, version, 2)
    wait(client, function.name, version)
    server.stop()
    server.start()
    function.client = client = server.client("lambda")
    wait(client, function.name, version)
    assert function.result({}, Qualifier=version)[0] == AHEAD
    # and goes with its function
    function.delete()
    deadline = time.monotonic() + 10
    while True:
        try:
            server.baseline.assert_idle()
            break
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def test_no_call_waits_for_init(create, client):
    """With INIT of two seconds, calls from several threads within the number never wait for one."""
    function = create("import time\ntime.sleep(2)\n" + CODE)
    version = publish(client, function)
    put(client, function.name, version, 3)
    wait(client, function.name, version)
    slowest, lock = [0.0], threading.Lock()

    def caller(_):
        for _ in range(10):
            begun = time.monotonic()
            assert function.result({}, Qualifier=version)[0] == AHEAD
            with lock:
                slowest[0] = max(slowest[0], time.monotonic() - begun)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(caller, range(3)))
    assert slowest[0] < 1.9, slowest
