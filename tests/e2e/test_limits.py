"""Limits that the operator sets: code storage of an account, and rates of the control plane."""

import pytest

from harness.functions import ROLE, Factory, zip_of

MEBIBYTE = 1 << 20


@pytest.fixture(scope="module")
def limited_server(serve):
    """A server with room for one MiB of code, and few requests a second."""
    yield from serve(args=["--code-storage-mb", "1", "--control-plane-rate", "5"])


def noise(size):
    """A zip of about `size` bytes."""
    import random

    return zip_of({"app.py": "def handler(event, context): pass\n", "noise": random.Random(1).randbytes(size)})


@pytest.fixture(scope="module")
def small_server(serve):
    """A server with room for one MiB of code."""
    yield from serve(args=["--code-storage-mb", "1"])


def test_code_storage(small_server):
    client = small_server.client()
    settings = client.get_account_settings()
    assert settings["AccountLimit"]["TotalCodeSize"] == MEBIBYTE
    assert settings["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    create = Factory(small_server)
    big, small = noise(700_000), noise(100_000)
    function = create(name="full")
    refused = client.exceptions.CodeStorageExceededException
    try:
        client.update_function_code(FunctionName="full", ZipFile=big)
        client.get_waiter("function_updated_v2").wait(FunctionName="full", WaiterConfig={"Delay": 1})
        assert client.get_account_settings()["AccountUsage"] == {"TotalCodeSize": len(big), "FunctionCount": 1}
        with pytest.raises(refused) as caught:
            client.create_function(
                FunctionName="other", Runtime="python3.11", Handler="app.handler", Role=ROLE, Code={"ZipFile": big}
            )
        assert caught.value.response["Error"]["Message"] == "Code storage limit exceeded."
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
        # a version is stored, too
        with pytest.raises(refused):
            client.create_function(
                FunctionName="other", Runtime="python3.11", Handler="app.handler", Role=ROLE, Publish=True,
                Code={"ZipFile": noise(200_000)},
            )  # fmt: skip
        with pytest.raises(refused):
            client.publish_version(FunctionName="full")
        with pytest.raises(refused):
            client.update_function_code(FunctionName="full", ZipFile=noise(700_001), Publish=True)
        with pytest.raises(refused):
            client.publish_layer_version(LayerName="full", Content={"ZipFile": big})
        # what is replaced makes room
        client.update_function_code(FunctionName="full", ZipFile=noise(700_002))
        client.get_waiter("function_updated_v2").wait(FunctionName="full", WaiterConfig={"Delay": 1})
        client.update_function_code(FunctionName="full", ZipFile=small)
        client.get_waiter("function_updated_v2").wait(FunctionName="full", WaiterConfig={"Delay": 1})
        assert client.publish_version(FunctionName="full")["Version"] == "1"
        assert client.get_account_settings()["AccountUsage"]["TotalCodeSize"] == 2 * len(small)
        function.delete()
        assert client.get_account_settings()["AccountUsage"] == {"TotalCodeSize": 0, "FunctionCount": 0}
    finally:
        create.clean()


def test_rates_of_the_control_plane(limited_server):
    client = limited_server.client()

    def granted(call):
        for count in range(1000):
            try:
                call()
            except client.exceptions.TooManyRequestsException as error:
                return count, error.response
            except client.exceptions.ResourceNotFoundException:
                pass
        raise AssertionError("never refused")

    count, response = granted(client.list_functions)
    # a second's worth, and what has come in while asking
    assert 5 <= count <= 50
    assert response["ResponseMetadata"]["HTTPStatusCode"] == 429
    assert response["Error"]["Message"] == "Rate exceeded"
    assert response["Reason"] == "CallerRateLimitExceeded"
    assert response["ResponseMetadata"]["HTTPHeaders"]["retry-after"] == "1"
    # counted apart
    assert granted(lambda: client.get_policy(FunctionName="nobody"))[0] >= 5
    assert granted(lambda: client.get_function(FunctionName="nobody"))[0] >= 33
    for _ in range(100):
        with pytest.raises(client.exceptions.ResourceNotFoundException):
            client.invoke(FunctionName="nobody")
    # one that retries gets there
    patient = limited_server.session().client("lambda", endpoint_url=limited_server.endpoint)
    for _ in range(8):
        patient.list_functions()
    patient.close()
