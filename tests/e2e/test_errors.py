"""Errors that the model names for operations and that no other test causes: `test_coverage.py` wants each caused."""

import json
import threading
import time

import pytest
from botocore.exceptions import ClientError

from harness.functions import zip_of

ARN = "arn:aws:lambda:us-east-1:000000000000:"
CODE = zip_of({"app.py": "def handler(event, context): pass\n"})
SOON = {"Delay": 0.05, "MaxAttempts": 200}
PUBLISHERS = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"]}
NOWHERE = "arn:aws:lambda:eu-west-1:000000000000:"

pytestmark = pytest.mark.allow_log(r"WARN lambkin_services::lambda")


@pytest.fixture(scope="module")
def known(create_for_module, server):
    """A function with a version, an alias and a layer; the ARN of a code signing configuration."""
    client = server.client()
    create_for_module(name="known", files={"app.py": "def handler(event, context): pass\n"})
    client.publish_version(FunctionName="known")
    client.get_waiter("published_version_active").wait(FunctionName="known", Qualifier="1", WaiterConfig=SOON)
    client.create_alias(FunctionName="known", Name="live", FunctionVersion="1")
    client.publish_layer_version(LayerName="known", Content={"ZipFile": CODE})
    return client.create_code_signing_config(AllowedPublishers=PUBLISHERS)["CodeSigningConfig"]["CodeSigningConfigArn"]


def refused(call, **arguments):
    """`(status, code, message)` of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"], response["Error"]["Message"]


DERIVED = (400, "InvalidParameterValueException", "The derived qualifier from the function name does not match the specified qualifier.")
NOT_LATEST = (
    400, "InvalidParameterValueException",
    "Current operation does not support versions other than $LATEST. Please set the version to $LATEST or do not set a "
    "version in your request.",
)  # fmt: skip
FUNCTIONS_ONLY = (
    400, "InvalidParameterValueException",
    "This operation is permitted on Lambda functions only. Aliases and versions do not support this operation. Please "
    "specify either a function name or an unqualified function ARN.",
)  # fmt: skip
NO_TAGS = (
    400, "InvalidParameterValueException",
    "Tags on function aliases and versions are not supported. Please specify either a function ARN.",
)  # fmt: skip
NO_RESOURCE = (404, "ResourceNotFoundException", "The resource you requested does not exist.")
FOREIGN = (404, "ResourceNotFoundException", "Functions from 'eu-west-1' are not reachable in this region ('us-east-1')")


@pytest.mark.parametrize("operation", [
    "get_policy", "get_provisioned_concurrency_config", "get_function_event_invoke_config",
    "delete_function_event_invoke_config", "update_function_event_invoke_config", "get_function_url_config",
    "delete_function_url_config", "update_function_url_config", "get_runtime_management_config", "get_function",
    "get_function_configuration", "invoke", "invoke_with_response_stream", "delete_provisioned_concurrency_config",
])  # fmt: skip
def test_two_qualifiers(known, client, operation):
    assert refused(getattr(client, operation), FunctionName="known:live", Qualifier="other") == DERIVED


@pytest.mark.parametrize("operation, arguments, answer", [
    ("get_alias", {"FunctionName": "known:1", "Name": "live"}, NOT_LATEST),
    ("delete_alias", {"FunctionName": "known:1", "Name": "live"}, NOT_LATEST),
    ("delete_function_code_signing_config", {"FunctionName": "known:1"}, NOT_LATEST),
    ("get_function_concurrency", {"FunctionName": "known:1"}, FUNCTIONS_ONLY),
    ("delete_function_concurrency", {"FunctionName": "known:live"}, FUNCTIONS_ONLY),
    ("list_tags", {"Resource": ARN + "function:known:1"}, NO_TAGS),
    ("untag_resource", {"Resource": ARN + "function:known:1", "TagKeys": ["a"]}, NO_TAGS),
    ("remove_permission", {"FunctionName": "known:live", "Qualifier": "other", "StatementId": "x"}, DERIVED),
    ("list_layer_versions", {"LayerName": NOWHERE + "layer:known"}, NO_RESOURCE),
    ("list_event_source_mappings", {"FunctionName": NOWHERE + "function:known"}, FOREIGN),
])  # fmt: skip
def test_names_that_an_operation_does_not_take(known, client, operation, arguments, answer):
    assert refused(getattr(client, operation), **arguments) == answer


def test_markers_of_other_lists(known, client):
    for operation, arguments in [
        ("list_functions_by_code_signing_config", {"CodeSigningConfigArn": known}),
        ("list_provisioned_concurrency_configs", {"FunctionName": "known"}),
    ]:
        assert refused(getattr(client, operation), Marker="bad", **arguments)[:2] == (400, "InvalidParameterValueException")


def test_revisions_that_are_not_the_latest(known, client):
    for operation, arguments in [
        ("add_permission", {"StatementId": "a", "Action": "lambda:InvokeFunction", "Principal": "s3.amazonaws.com"}),
        ("update_function_code", {"ZipFile": CODE}),
    ]:
        answer = refused(getattr(client, operation), FunctionName="known", RevisionId="other", **arguments)
        assert answer[:2] == (412, "PreconditionFailedException")


def test_publishers_that_are_none(known, client):
    publishers = {"SigningProfileVersionArns": ["arn:aws:x:us-east-1:000000000000:y"]}
    answer = refused(client.update_code_signing_config, CodeSigningConfigArn=known, AllowedPublishers=publishers)
    assert answer[:2] == (400, "InvalidParameterValueException")


def test_an_event_source_mapping_in_use(known, client):
    """Its state changes within milliseconds: sooner or later a request comes in between."""
    source = "arn:aws:sqs:us-east-1:000000000000:q"
    uuid = client.create_event_source_mapping(FunctionName="known", EventSourceArn=source)["UUID"]
    settle(client, uuid)
    answer = refused(client.update_event_source_mapping, UUID=uuid, BatchSize=5000)
    assert answer[:2] == (400, "InvalidParameterValueException")
    messages, deadline = set(), time.monotonic() + 30
    while len(messages) < 2:
        assert time.monotonic() < deadline, messages
        for call, arguments in [
            (client.update_event_source_mapping, {"BatchSize": 5}),
            (client.update_event_source_mapping, {"BatchSize": 6}),
            (client.delete_event_source_mapping, {}),
            (client.delete_event_source_mapping, {}),
        ]:
            try:
                call(UUID=uuid, **arguments)
            except client.exceptions.ResourceInUseException as error:
                assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
                messages.add(error.response["Error"]["Message"])
            except client.exceptions.ResourceNotFoundException:
                uuid = client.create_event_source_mapping(FunctionName="known", EventSourceArn=source)["UUID"]
    assert messages == {"Cannot %s the event source mapping because it is in use." % what for what in ("update", "delete")}
    # gone, or soon
    try:
        settle(client, uuid)
        client.delete_event_source_mapping(UUID=uuid)
    except client.exceptions.ResourceNotFoundException:
        pass


def settle(client, uuid):
    deadline = time.monotonic() + 30
    while client.get_event_source_mapping(UUID=uuid)["State"].endswith("ing"):
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_function_that_has_failed(create, client):
    """With a runtime that no host has."""
    create(name="failed", runtime="dotnetcore1.0", wait=False)
    deadline = time.monotonic() + 30
    while client.get_function_configuration(FunctionName="failed")["State"] == "Pending":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    for call in (client.invoke, client.invoke_with_response_stream, client.publish_version):
        assert refused(call, FunctionName="failed") == (
            409, "ResourceConflictException",
            "The operation cannot be performed at this time. The function is currently in the following state: Failed",
        )  # fmt: skip


def test_code_updates_one_at_a_time(create, client, server):
    """Two clients that do not wait for the end of an update are bound to meet."""
    create(name="contended", wait=False)
    client.get_waiter("function_active_v2").wait(FunctionName="contended", WaiterConfig=SOON)
    conflicts, deadline = [], time.monotonic() + 30

    def hammer(mine):
        while not conflicts and time.monotonic() < deadline:
            try:
                mine.update_function_code(FunctionName="contended", ZipFile=CODE)
            except mine.exceptions.ResourceConflictException as error:
                conflicts.append(error.response["Error"]["Message"])

    threads = [threading.Thread(target=hammer, args=(server.client(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert conflicts[0] == (
        "The operation cannot be performed at this time. An update is in progress for resource: %sfunction:contended" % ARN
    )
    client.get_waiter("function_updated_v2").wait(FunctionName="contended", WaiterConfig=SOON)


def test_policies_of_layers_have_a_limit(known, client):
    organizations = ("o-%032d" % number for number in range(1000))
    arguments = {"LayerName": "known", "VersionNumber": 1, "Action": "lambda:GetLayerVersion", "Principal": "*"}
    for number, organization in enumerate(organizations):
        try:
            client.add_layer_version_permission(StatementId="s%d" % number, OrganizationId=organization, **arguments)
        except client.exceptions.PolicyLengthExceededException as error:
            assert error.response["ResponseMetadata"]["HTTPStatusCode"] == 400
            break
    policy = client.get_layer_version_policy(LayerName="known", VersionNumber=1)["Policy"]
    assert 19_000 < len(policy) <= 20_480 and len(json.loads(policy)["Statement"]) == number
