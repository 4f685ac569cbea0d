"""Every waiter and every paginator that botocore has for Lambda runs against the server."""

import threading

import botocore.session
import pytest
from botocore.exceptions import ClientError, WaiterError
from botocore.waiter import WaiterModel

from harness.functions import ROLE, Factory, zip_of
from harness.reference import states

SESSION = botocore.session.get_session()
WAITERS = WaiterModel(SESSION.get_waiter_model("lambda")._waiter_config and {
    "version": 2, "waiters": SESSION.get_waiter_model("lambda")._waiter_config,
}).waiter_names  # fmt: skip
PAGINATORS = sorted(SESSION.get_paginator_model("lambda")._paginator_config)
SOON = {"Delay": 0.05, "MaxAttempts": 200}
ARN = "arn:aws:lambda:us-east-1:000000000000:"


def snake(name):
    return botocore.xform_name(name)


def where(waiter, name, version):
    """What a waiter is asked."""
    return {"FunctionName": name, **({"Qualifier": version} if waiter.startswith("PublishedVersion") else {})}


@pytest.mark.parametrize("waiter", WAITERS)
def test_waiter_ends_well(create, client, waiter):
    function = create(name="waited", wait=False)
    version = None
    if waiter.startswith("PublishedVersion"):
        client.get_waiter("function_active_v2").wait(FunctionName="waited", WaiterConfig=SOON)
        version = client.publish_version(FunctionName="waited")["Version"]
    if waiter.startswith("FunctionUpdated"):
        client.get_waiter("function_active_v2").wait(FunctionName="waited", WaiterConfig=SOON)
        function.client.update_function_configuration(FunctionName="waited", Timeout=7)
    client.get_waiter(snake(waiter)).wait(WaiterConfig=SOON, **where(waiter, "waited", version))
    found = client.get_function_configuration(**where(waiter, "waited", version))
    if waiter != "FunctionExists":
        assert found["State"] == "Active" and found["LastUpdateStatus"] == "Successful"


@pytest.mark.parametrize("waiter", WAITERS)
def test_waiter_ends_badly(own_server, waiter):
    """Of a function whose runtime is not there."""
    own_server.variables["PATH"] = "/nowhere"
    own_server.allow("WARN .*runtime")
    client = own_server.start().client()
    if waiter == "FunctionExists":
        with pytest.raises(WaiterError) as caught:
            client.get_waiter("function_exists").wait(FunctionName="absent", WaiterConfig={"Delay": 0.01, "MaxAttempts": 2})
        assert "Max attempts exceeded" in str(caught.value)
        return
    create = Factory(own_server)
    # published with its creation, it has a version that fails with it
    provided = waiter.startswith("FunctionUpdated")
    files = {"bootstrap!": "#!/bin/sh\n"} if provided else None
    create(name="bad", runtime="provided.al2023" if provided else "nodejs22.x", files=files, Publish=True, wait=provided)
    if provided:
        client.update_function_configuration(FunctionName="bad", Runtime="nodejs22.x")
    with pytest.raises(WaiterError) as caught:
        client.get_waiter(snake(waiter)).wait(WaiterConfig=SOON, **where(waiter, "bad", "1"))
    assert 'matched expected path: "Failed"' in str(caught.value)
    found = client.get_function_configuration(**where(waiter, "bad", "1"))
    reason = "LastUpdateStatusReasonCode" if provided else "StateReasonCode"
    assert found[reason] == "InvalidRuntime"
    create.clean()


def test_function_exists_waits_for_the_function(create, client, server):
    later = threading.Timer(0.3, lambda: create(name="late", wait=False))
    later.start()
    server.client().get_waiter("function_exists").wait(FunctionName="late", WaiterConfig=SOON)
    later.join()
    client.get_waiter("function_active_v2").wait(FunctionName="late", WaiterConfig=SOON)


# -- paginators


@pytest.fixture(scope="module")
def known(create_for_module, server):
    """A function with three versions and three aliases."""
    function = create_for_module(name="paged", files={"app.py": "def handler(event, context): pass\n"})
    client = server.client()
    for number in "123":
        function.update(Description=number)
        client.publish_version(FunctionName="paged")
        client.get_waiter("published_version_active").wait(FunctionName="paged", Qualifier=number, WaiterConfig=SOON)
        client.create_alias(FunctionName="paged", Name="alias" + number, FunctionVersion=number)
    return function


LAYER = zip_of({"python/one.py": "1\n"})


def layers(client, _):
    for name in ("one", "two", "three"):
        client.publish_layer_version(LayerName=name, Content={"ZipFile": LAYER}, CompatibleRuntimes=["nodejs22.x"])
    return {"CompatibleRuntime": "nodejs22.x"}, ["one", "two", "three"], "LayerName"


def layer_versions(client, _):
    arns = [
        client.publish_layer_version(LayerName="versions", Content={"ZipFile": LAYER})["LayerVersionArn"] for _ in range(3)
    ]
    return {"LayerName": "versions"}, arns, "LayerVersionArn"


def functions(client, create):
    for name in ("listed-1", "listed-2"):
        create(name=name)
    return {}, ["listed-1", "listed-2", "paged"], "FunctionName"


def event_invoke_configs(client, _):
    for qualifier in ("$LATEST", "1", "alias1"):
        client.put_function_event_invoke_config(FunctionName="paged", Qualifier=qualifier, MaximumRetryAttempts=1)
    arns = [ARN + "function:paged:" + qualifier for qualifier in ("$LATEST", "1", "alias1")]
    return {"FunctionName": "paged"}, arns, "FunctionArn"


def urls(client, _):
    wanted = [ARN + "function:paged"]
    client.create_function_url_config(FunctionName="paged", AuthType="AWS_IAM")
    for alias in ("alias1", "alias2"):
        client.create_function_url_config(FunctionName="paged", Qualifier=alias, AuthType="AWS_IAM")
        wanted.append(wanted[0] + ":" + alias)
    return {"FunctionName": "paged"}, wanted, "FunctionArn"


def provisioned(client, _):
    wanted = []
    for qualifier in ("1", "2", "alias3"):
        client.put_provisioned_concurrency_config(
            FunctionName="paged", Qualifier=qualifier, ProvisionedConcurrentExecutions=1
        )
        wanted.append(ARN + "function:paged:" + qualifier)
    return {"FunctionName": "paged"}, wanted, "FunctionArn"


def mappings(client, _):
    wanted = [
        client.create_event_source_mapping(
            FunctionName="paged", EventSourceArn="arn:aws:sqs:us-east-1:000000000000:q%d" % number
        )["UUID"]
        for number in range(3)
    ]
    return {"FunctionName": "paged"}, wanted, "UUID"


PUBLISHERS = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"]}


def code_signing_configs(client, _):
    wanted = [
        client.create_code_signing_config(AllowedPublishers=PUBLISHERS)["CodeSigningConfig"]["CodeSigningConfigArn"]
        for _ in range(3)
    ]
    return {}, wanted, "CodeSigningConfigArn"


# For each: what it is asked, what must be found on its pages, and by which member.
MADE = {
    "ListFunctions": functions,
    "ListAliases": lambda client, _: ({"FunctionName": "paged"}, ["alias1", "alias2", "alias3"], "Name"),
    "ListVersionsByFunction": lambda client, _: ({"FunctionName": "paged"}, ["$LATEST", "1", "2", "3"], "Version"),
    "ListFunctionEventInvokeConfigs": event_invoke_configs,
    "ListFunctionUrlConfigs": urls,
    "ListLayers": layers,
    "ListLayerVersions": layer_versions,
    "ListProvisionedConcurrencyConfigs": provisioned,
    "ListEventSourceMappings": mappings,
    "ListCodeSigningConfigs": code_signing_configs,
}
# Lists that are always empty, since nothing can be put on them.
EMPTY = {
    "ListFunctionsByCodeSigningConfig": lambda client: {
        "CodeSigningConfigArn": client.create_code_signing_config(AllowedPublishers=PUBLISHERS)["CodeSigningConfig"]["CodeSigningConfigArn"]
    },
}  # fmt: skip
# Something that satisfies the model, for what is not there yet.
SAMPLES = {
    "GetDurableExecutionHistory": {"DurableExecutionArn": ARN + "function:f:1/durable-execution/n/00000000-0000-4000-8000-000000000000"},
    "GetDurableExecutionState": {
        "DurableExecutionArn": ARN + "function:f:1/durable-execution/n/00000000-0000-4000-8000-000000000000",
        "CheckpointToken": "x",
    },
    "ListDurableExecutionsByFunction": {"FunctionName": "paged"},
    "ListFunctionVersionsByCapacityProvider": {"CapacityProviderName": "x"},
    "ListFunctionsByCodeSigningConfig": {"CodeSigningConfigArn": ARN + "code-signing-config:csc-00000000000000000"},
    "ListProvisionedConcurrencyConfigs": {"FunctionName": "paged"},
    "ListLayerVersions": {"LayerName": "x"},
}  # fmt: skip


@pytest.mark.allow_log(r"WARN lambkin_services::lambda")
@pytest.mark.parametrize("name", PAGINATORS)
def test_paginator(known, create, client, name):
    paginator = client.get_paginator(snake(name))
    if states("lambda")[name] == "missing":
        with pytest.raises(ClientError) as caught:
            list(paginator.paginate(**SAMPLES.get(name, {})))
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 501
        return
    if name in EMPTY:
        pages = list(paginator.paginate(**EMPTY[name](client)))
        assert [page[paginator.result_keys[0].expression] for page in pages] == [[]]
        return
    asked, wanted, member = MADE[name](client, create)
    key = paginator.result_keys[0].expression
    for size in (1, 2, 50):
        pages = list(paginator.paginate(**asked, PaginationConfig={"PageSize": size}))
        assert all(len(page[key]) <= size for page in pages), pages
        found = [item[member] for page in pages for item in page[key]]
        assert sorted(found) == sorted(wanted), (size, found)
        assert len(pages) >= -(-len(wanted) // size)
        assert "NextMarker" not in pages[-1]
    # the same from a token in the middle, as often as one likes
    first = paginator.paginate(**asked, PaginationConfig={"PageSize": 1, "MaxItems": 1}).build_full_result()
    for _ in range(2):
        rest = paginator.paginate(**asked, PaginationConfig={"StartingToken": first["NextToken"]}).build_full_result()
        assert [item[member] for item in first[key] + rest[key]] == found
    with pytest.raises(ClientError) as caught:
        list(paginator.paginate(**asked, PaginationConfig={"StartingToken": "no-token"}))
    assert caught.value.response["Error"]["Code"] == "InvalidParameterValueException"
