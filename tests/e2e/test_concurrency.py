"""Reserved concurrency and account limits, as callers see them."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from botocore.exceptions import ClientError
from harness.functions import Factory

SLEEPER = """
import time
def handler(event, context):
    time.sleep(event.get("seconds", 0))
    return "slept"
"""


@pytest.fixture(scope="module")
def small(serve):
    """A server whose accounts may run four invocations at once."""
    yield from serve(args=["--concurrent-executions", "4"])


def refused(function, payload=None, **options):
    with pytest.raises(ClientError) as caught:
        function.invoke(payload, **options)
    return caught.value.response


def assert_throttled(response, reason):
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    error = response["Error"]
    assert (error["Code"], error["Message"]) == ("TooManyRequestsException", "Rate Exceeded.")
    assert (response["Reason"], response["Type"]) == (reason, "User")
    assert int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) >= 1


class Busy:
    """Invocations that sleep until the end of the block."""

    def __init__(self, function, count, seconds=3, **options):
        self.function, self.count, self.seconds, self.options = function, count, seconds, options
        self.pool = ThreadPoolExecutor(count)

    def __enter__(self):
        self.calls = [
            self.pool.submit(self.function.result, {"seconds": self.seconds}, **self.options) for _ in range(self.count)
        ]
        time.sleep(1)
        assert not any(call.done() for call in self.calls), [call.result() for call in self.calls]
        return self

    def __exit__(self, *_):
        for call in self.calls:
            assert call.result() == "slept"
        self.pool.shutdown()


def test_put_get_delete(create, client):
    function = create()
    name = function.name
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    assert "Concurrency" not in client.get_function(FunctionName=name)
    put = client.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=7)
    assert (put["ResponseMetadata"]["HTTPStatusCode"], put["ReservedConcurrentExecutions"]) == (200, 7)
    assert client.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 7
    assert client.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 7}
    limit = client.get_account_settings()["AccountLimit"]
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (1000, 993)
    assert all("Concurrency" not in listed for listed in client.list_functions()["Functions"])
    gone = client.delete_function_concurrency(FunctionName=name)
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=name)
    assert client.get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 1000


def test_refusals(create, client):
    function = create()
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=901)
    assert caught.value.response["Error"]["Message"] == (
        "Specified ReservedConcurrentExecutions for function decreases account's UnreservedConcurrentExecution below "
        "its minimum value of [100]."
    )
    with pytest.raises(ClientError) as caught:
        client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=-1)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    qualified = function.name + ":1"
    for call in (
        lambda: client.put_function_concurrency(FunctionName=qualified, ReservedConcurrentExecutions=1),
        lambda: client.get_function_concurrency(FunctionName=qualified),
        lambda: client.delete_function_concurrency(FunctionName=qualified),
    ):
        with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
            call()
        assert "permitted on Lambda functions only" in str(caught.value)
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.put_function_concurrency(FunctionName="nobody", ReservedConcurrentExecutions=1)
    for call in (client.get_function_concurrency, client.delete_function_concurrency):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            call(FunctionName="nobody")


def test_scaling_is_for_managed_instances(create, client):
    function = create()
    client.publish_version(FunctionName=function.name)
    named = {"FunctionName": function.name, "Qualifier": "1"}
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.put_function_scaling_config(FunctionScalingConfig={"MinExecutionEnvironments": 1}, **named)
    assert "CapacityProviderConfig" in str(caught.value)
    shown = client.get_function_scaling_config(**named)
    assert shown["FunctionArn"].endswith(function.name + ":1")
    assert "AppliedFunctionScalingConfig" not in shown and "RequestedFunctionScalingConfig" not in shown
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_function_scaling_config(FunctionName=function.name, Qualifier="$LATEST.PUBLISHED")


def test_a_reservation_holds_for_all_versions_together(create, client):
    function = create(SLEEPER)
    assert client.publish_version(FunctionName=function.name)["Version"] == "1"
    client.create_alias(FunctionName=function.name, Name="live", FunctionVersion="1")
    client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=2)
    reason = "ReservedFunctionConcurrentInvocationLimitExceeded"
    with Busy(function, 1), Busy(function, 1, Qualifier="live"):
        for options in ({}, {"Qualifier": "1"}, {"Qualifier": "live"}):
            assert_throttled(refused(function, {}, **options), reason)
        client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=3)
        assert function.result({}) == "slept"
    assert function.result({}) == "slept"


def test_zero_stops_a_function_at_once(create, client):
    function = create(SLEEPER)
    assert function.result({}) == "slept"
    client.put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    assert_throttled(refused(function, {}), "ReservedFunctionConcurrentInvocationLimitExceeded")
    # neither a new configuration nor a dry run is held up
    function.update(Description="stopped")
    assert function.invoke({}, InvocationType="DryRun").status == 204
    assert_throttled(refused(function, {}), "ReservedFunctionConcurrentInvocationLimitExceeded")
    client.delete_function_concurrency(FunctionName=function.name)
    assert function.result({}) == "slept"


def test_the_account_limit(small):
    create = Factory(small)
    client = small.client("lambda")
    one, two = create(SLEEPER), create(SLEEPER)
    with Busy(one, 3), Busy(two, 1):
        assert_throttled(refused(two, {}), "ConcurrentInvocationLimitExceeded")
    assert two.result({}) == "slept"
    limit = client.get_account_settings()["AccountLimit"]
    assert (limit["ConcurrentExecutions"], limit["UnreservedConcurrentExecutions"]) == (4, 4)
    # all of so small a limit has to stay unreserved
    with pytest.raises(client.exceptions.InvalidParameterValueException) as caught:
        client.put_function_concurrency(FunctionName=one.name, ReservedConcurrentExecutions=1)
    assert "minimum value of [4]" in str(caught.value)
    client.put_function_concurrency(FunctionName=one.name, ReservedConcurrentExecutions=0)
    create.clean()


def test_the_account_limit_is_never_exceeded(small):
    create = Factory(small)
    function = create(SLEEPER)
    lock, tally = threading.Lock(), {"ok": 0, "throttled": 0}

    def call(_):
        try:
            outcome = "ok" if function.result({"seconds": 0.05}) == "slept" else "wrong"
        except ClientError as error:
            assert_throttled(error.response, "ConcurrentInvocationLimitExceeded")
            outcome = "throttled"
        with lock:
            tally[outcome] += 1

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(call, range(120)))
    assert tally["ok"] > 0 and tally["throttled"] > 0 and sum(tally.values()) == 120, tally
    assert function.result({}) == "slept"
    create.clean()


def test_functions_grow_no_faster_than_the_scaling_rate(serve):
    servers = serve(args=["--scaling-rate", "2"])
    server = next(servers)
    create = Factory(server)
    function = create(SLEEPER)

    def call(_):
        try:
            return function.result({"seconds": 1})
        except ClientError as error:
            assert_throttled(error.response, "FunctionInvocationRateLimitExceeded")

    with ThreadPoolExecutor(5) as pool:
        answers = list(pool.map(call, range(5)))
    assert answers.count("slept") == 2, answers
    assert [function.result({}) for _ in range(5)] == ["slept"] * 5
    create.clean()
    assert next(servers, None) is None


def test_the_host_is_told_apart_from_limits(serve):
    servers = serve(args=["--memory-mb", "600"])
    server = next(servers)
    create = Factory(server)
    function = create(SLEEPER)
    with Busy(function, 1, seconds=13):
        begun = time.monotonic()
        response = refused(function, {})
        assert 9 < time.monotonic() - begun < 12, "an invocation waits for room"
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == ("TooManyRequestsException", 429)
    assert response["Error"]["Message"].startswith("The server has no room left")
    assert int(response["ResponseMetadata"]["HTTPHeaders"]["retry-after"]) >= 1
    assert function.result({}) == "slept"
    create.clean()
    assert next(servers, None) is None


def test_a_limit_that_was_lowered_is_told(own_server):
    server = own_server.start()
    create = Factory(server)
    reserved, other = create(SLEEPER), create(SLEEPER)
    server.client("lambda").put_function_concurrency(FunctionName=reserved.name, ReservedConcurrentExecutions=200)
    server.stop()
    server.args += ["--concurrent-executions", "200"]
    server.allow("functions have reserved so much of concurrent-executions")
    server.start()
    reserved.client = other.client = server.client("lambda")
    assert server.client("lambda").get_account_settings()["AccountLimit"]["UnreservedConcurrentExecutions"] == 0
    assert reserved.result({}) == "slept"
    assert_throttled(refused(other, {}), "ConcurrentInvocationLimitExceeded")
    create.clean()


def test_reservations_survive_a_restart(own_server):
    server = own_server.start()
    create = Factory(server)
    function = create(SLEEPER)
    server.client("lambda").put_function_concurrency(FunctionName=function.name, ReservedConcurrentExecutions=0)
    server.stop()
    server.start()
    function.client = client = server.client("lambda")
    assert client.get_function_concurrency(FunctionName=function.name)["ReservedConcurrentExecutions"] == 0
    assert_throttled(refused(function, {}), "ReservedFunctionConcurrentInvocationLimitExceeded")
    client.delete_function_concurrency(FunctionName=function.name)
    assert function.result({}) == "slept"
    create.clean()
