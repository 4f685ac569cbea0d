"""Event source mappings: create, get, list, update, delete; nothing reads from a source yet."""

import datetime
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness.functions import UUID, Factory
from test_functions import refused

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
QUEUE = "arn:aws:sqs:us-east-1:000000000000:"
STREAM = "arn:aws:kinesis:us-east-1:000000000000:stream/"
ABSENT = ("ResourceNotFoundException", 404, "The resource you requested does not exist.")
NOTHING = "00000000-0000-4000-8000-000000000000"

pytestmark = pytest.mark.allow_log(r"WARN .*nothing reads from event sources yet")


@pytest.fixture
def function(create):
    return create()


@pytest.fixture
def mappings(client):
    """Takes away what a test leaves."""
    yield
    for page in client.get_paginator("list_event_source_mappings").paginate():
        for mapping in page["EventSourceMappings"]:
            settled(client, mapping["UUID"])
            client.delete_event_source_mapping(UUID=mapping["UUID"])
            gone(client, mapping["UUID"])


def settled(client, uuid, seconds=15):
    """A mapping once it is in a final state."""
    deadline = time.monotonic() + seconds
    while True:
        mapping = shown(client.get_event_source_mapping(UUID=uuid))
        if mapping["State"] in ("Enabled", "Disabled"):
            return mapping
        assert time.monotonic() < deadline, mapping
        time.sleep(0.02)


def gone(client, uuid, seconds=15):
    deadline = time.monotonic() + seconds
    while True:
        try:
            mapping = client.get_event_source_mapping(UUID=uuid)
        except client.exceptions.ResourceNotFoundException:
            return
        assert mapping["State"] == "Deleting" and time.monotonic() < deadline, mapping
        time.sleep(0.02)


def shown(response):
    return {key: value for key, value in response.items() if key != "ResponseMetadata"}


def test_from_beginning_to_end(function, client, mappings):
    before = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(seconds=2)
    created = client.create_event_source_mapping(EventSourceArn=QUEUE + "q", FunctionName=function.name)
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 202
    created = shown(created)
    uuid = created["UUID"]
    assert re.fullmatch(UUID, uuid)
    assert before < created["LastModified"] < before + datetime.timedelta(minutes=1)
    assert created == {
        "UUID": uuid, "EventSourceArn": QUEUE + "q", "FunctionArn": ARN + function.name, "BatchSize": 10,
        "MaximumBatchingWindowInSeconds": 0, "FunctionResponseTypes": [], "State": "Creating",
        "StateTransitionReason": "USER_INITIATED. Lambkin does not read from SQS yet: no records reach the function.",
        "EventSourceMappingArn": "arn:aws:lambda:us-east-1:000000000000:event-source-mapping:" + uuid,
        "LastModified": created["LastModified"],
    }  # fmt: skip
    enabled = settled(client, uuid)
    assert enabled == {**created, "State": "Enabled", "LastModified": enabled["LastModified"]}
    assert shown(client.get_event_source_mapping(UUID=uuid.upper())) == enabled

    pattern = json.dumps({"body": {"kind": ["a", {"prefix": "b"}], "size": [{"numeric": [">", 0, "<=", 5]}]}})
    settings = {
        "BatchSize": 1000, "MaximumBatchingWindowInSeconds": 30, "FunctionResponseTypes": ["ReportBatchItemFailures"],
        "FilterCriteria": {"Filters": [{"Pattern": pattern}]}, "ScalingConfig": {"MaximumConcurrency": 2},
        "MetricsConfig": {"Metrics": ["EventCount"]},
    }  # fmt: skip
    updated = client.update_event_source_mapping(UUID=uuid, Enabled=False, **settings)
    assert updated["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert (updated["State"], updated["StateTransitionReason"]) == ("Disabling", "USER_INITIATED")
    disabled = settled(client, uuid)
    assert disabled["State"] == "Disabled"
    assert {name: disabled[name] for name in settings} == settings
    assert client.update_event_source_mapping(UUID=uuid, Enabled=True, ScalingConfig={})["State"] == "Enabling"
    assert "ScalingConfig" not in settled(client, uuid)

    deleted = client.delete_event_source_mapping(UUID=uuid)
    assert (deleted["ResponseMetadata"]["HTTPStatusCode"], deleted["State"]) == (202, "Deleting")
    gone(client, uuid)
    assert refused(client.update_event_source_mapping, UUID=uuid) == ABSENT
    assert refused(client.delete_event_source_mapping, UUID=uuid) == ABSENT


def test_every_kind_of_source(function, client, mappings):
    name, secret = function.name, "arn:aws:secretsmanager:us-east-1:000000000000:secret:s"
    basic = [{"Type": "BASIC_AUTH", "URI": secret}]
    failures = {"OnFailure": {"Destination": QUEUE + "failures"}}
    moment = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc)
    for source in [
        {
            "EventSourceArn": STREAM + "s", "StartingPosition": "AT_TIMESTAMP", "StartingPositionTimestamp": moment,
            "BatchSize": 10000, "MaximumBatchingWindowInSeconds": 300, "ParallelizationFactor": 10,
            "DestinationConfig": failures, "MaximumRecordAgeInSeconds": 604800, "MaximumRetryAttempts": 10000,
            "BisectBatchOnFunctionError": True, "TumblingWindowInSeconds": 900,
            "FunctionResponseTypes": ["ReportBatchItemFailures"],
        },
        {
            "EventSourceArn": "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/2026-01-01T00:00:00.000",
            "StartingPosition": "TRIM_HORIZON", "FilterCriteria": {"Filters": [{"Pattern": '{"eventName":["INSERT"]}'}]},
        },
        {
            "EventSourceArn": "arn:aws:kafka:us-east-1:000000000000:cluster/c/u", "StartingPosition": "LATEST",
            "Topics": ["orders"], "AmazonManagedKafkaEventSourceConfig": {"ConsumerGroupId": "g"},
            "SourceAccessConfigurations": [{"Type": "SASL_SCRAM_512_AUTH", "URI": secret}],
            "ProvisionedPollerConfig": {"MinimumPollers": 1, "MaximumPollers": 5}, "LoggingConfig": {"SystemLogLevel": "DEBUG"},
        },
        {
            "SelfManagedEventSource": {"Endpoints": {"KAFKA_BOOTSTRAP_SERVERS": ["kafka.example.com:9092"]}},
            "StartingPosition": "TRIM_HORIZON", "Topics": ["orders"], "DestinationConfig": failures,
            "SourceAccessConfigurations": [
                {"Type": "VPC_SUBNET", "URI": "subnet:subnet-1"}, {"Type": "VPC_SECURITY_GROUP", "URI": "security_group:sg-1"},
            ],
        },
        {
            "EventSourceArn": "arn:aws:mq:us-east-1:000000000000:broker:b:b-1", "Queues": ["q"],
            "SourceAccessConfigurations": basic + [{"Type": "VIRTUAL_HOST", "URI": "/"}],
        },
        {
            "EventSourceArn": "arn:aws:rds:us-east-1:000000000000:cluster:docs", "StartingPosition": "LATEST",
            "SourceAccessConfigurations": basic,
            "DocumentDBEventSourceConfig": {"DatabaseName": "d", "CollectionName": "c", "FullDocument": "UpdateLookup"},
        },
    ]:  # fmt: skip
        made = client.create_event_source_mapping(FunctionName=name, Enabled=False, **source)
        mapping = settled(client, made["UUID"])
        assert {member: mapping[member] for member in source} == source
        assert mapping["State"] == "Disabled"
        assert mapping["StateTransitionReason"] in ("User action", "USER_INITIATED")


def test_functions_by_every_name(function, client, mappings):
    name = function.name
    version = client.publish_version(FunctionName=name)["Version"]
    client.create_alias(FunctionName=name, Name="live", FunctionVersion=version)
    made = {}
    for given, meant in [
        (name, ARN + name),
        ("%s:%s" % (name, version), "%s%s:%s" % (ARN, name, version)),
        (ARN + name + ":live", ARN + name + ":live"),
        ("000000000000:function:%s:$LATEST" % name, ARN + name + ":$LATEST"),
    ]:
        mapping = client.create_event_source_mapping(EventSourceArn=QUEUE + "q", FunctionName=given)
        assert mapping["FunctionArn"] == meant
        made[meant] = mapping["UUID"]
        assert refused(client.create_event_source_mapping, EventSourceArn=QUEUE + "q", FunctionName=given) == (
            "ResourceConflictException", 409,
            'An event source mapping with SQS arn (" %sq ") and function (" %s ") already exists. Please update or delete '
            "the existing mapping with UUID %s" % (QUEUE, name, mapping["UUID"]),
        )  # fmt: skip
    for meant, uuid in made.items():
        listed = client.list_event_source_mappings(FunctionName=meant)["EventSourceMappings"]
        assert [mapping["UUID"] for mapping in listed] == [uuid]
    settled(client, made[ARN + name])
    moved = client.update_event_source_mapping(UUID=made[ARN + name], FunctionName=name)
    assert moved["FunctionArn"] == ARN + name
    for absent in ("none", name + ":9", name + ":none"):
        assert refused(client.create_event_source_mapping, EventSourceArn=QUEUE + "q", FunctionName=absent) == (
            "ResourceNotFoundException", 404, "Function not found: " + ARN + absent,
        )  # fmt: skip
    foreign = "123456789012:function:" + name
    assert refused(client.create_event_source_mapping, EventSourceArn=QUEUE + "q", FunctionName=foreign)[0] == "AccessDeniedException"


def test_lists_pages_and_filters(function, create, client, mappings):
    other = create()
    made = set()
    for number in range(5):
        mapping = client.create_event_source_mapping(
            EventSourceArn="%s%d" % (STREAM, number), FunctionName=function.name, StartingPosition="LATEST"
        )
        made.add(mapping["UUID"])
    last = client.create_event_source_mapping(
        EventSourceArn=STREAM + "0", FunctionName=other.name, StartingPosition="LATEST"
    )["UUID"]

    def uuids(**filters):
        pages = list(client.get_paginator("list_event_source_mappings").paginate(PaginationConfig={"PageSize": 2}, **filters))
        assert all(len(page["EventSourceMappings"]) <= 2 for page in pages)
        found = [mapping["UUID"] for page in pages for mapping in page["EventSourceMappings"]]
        assert len(found) == len(set(found))
        return set(found)

    assert uuids() == made | {last}
    assert uuids(FunctionName=function.name) == made
    assert uuids(EventSourceArn=STREAM + "0") - made == {last}
    assert uuids(EventSourceArn=STREAM + "0", FunctionName=other.name) == {last}
    assert uuids(FunctionName="none") == set()
    assert refused(client.list_event_source_mappings, Marker="nonsense")[0] == "InvalidParameterValueException"
    other.delete()
    assert uuids(FunctionName=other.name) == {last}


def test_what_is_refused(function, client, mappings):
    def create(source=QUEUE + "q", **more):
        return refused(client.create_event_source_mapping, EventSourceArn=source, FunctionName=function.name, **more)

    def invalid(text):
        return ("InvalidParameterValueException", 400, text)

    unsupported = "Unsupported '%s' parameter for given event source mapping type."
    assert create(BatchSize=11) == invalid(
        "Maximum batch window in seconds must be greater than 0 if maximum batch size is greater than 10"
    )
    assert create(QUEUE + "q.fifo", MaximumBatchingWindowInSeconds=1) == invalid(
        "Batching window is not supported for FIFO queues"
    )
    assert create(StartingPosition="LATEST") == invalid("StartingPosition is not valid for SQS event sources.")
    assert create(TumblingWindowInSeconds=5) == invalid(unsupported % "tumblingWindowInSeconds")
    assert create("arn:aws:s3:::bucket") == invalid("Unrecognized event source.")
    assert create(STREAM + "s") == invalid(
        "1 validation error detected: Value null at 'startingPosition' failed to satisfy constraint: Member must not be null."
    )
    assert create(STREAM + "s", StartingPosition="AT_TIMESTAMP") == invalid("Need to specify a timestamp")
    for pattern in ("", "[]", '{"a": "b"}', '{"a": []}', '{"a": [{"wildcard": "x*"}]}', '{"a": [{"like": "x"}]}'):
        assert create(FilterCriteria={"Filters": [{"Pattern": pattern}]}) == invalid("Invalid filter pattern definition.")
    assert create(KMSKeyArn="arn:aws:kms:us-east-1:000000000000:key/k") == invalid("Lambkin does not support KMSKeyArn yet.")
    for bounds in ({"BatchSize": 10001}, {"MaximumBatchingWindowInSeconds": 301}, {"ScalingConfig": {"MaximumConcurrency": 1}}):
        assert create(**bounds)[:2] == ("ValidationException", 400), bounds
    for call in (client.get_event_source_mapping, client.update_event_source_mapping, client.delete_event_source_mapping):
        assert refused(call, UUID=NOTHING) == ABSENT
        assert refused(call, UUID="x" * 36) == ABSENT
        assert refused(call, UUID="short")[:2] == ("ValidationException", 400)


def test_one_of_several_updates_at_once_is_in_use(function, client, mappings):
    uuid = client.create_event_source_mapping(EventSourceArn=QUEUE + "q", FunctionName=function.name)["UUID"]
    settled(client, uuid)

    def update(size):
        try:
            return client.update_event_source_mapping(UUID=uuid, BatchSize=size)["State"]
        except client.exceptions.ResourceInUseException as error:
            response = error.response
            return (response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"])

    seen = set()
    deadline = time.monotonic() + 30
    with ThreadPoolExecutor(8) as threads:
        # whoever comes while another update is being carried out is refused; how long that takes is not known
        while len(seen) < 2:
            assert time.monotonic() < deadline, seen
            seen.update(threads.map(update, range(1, 9)))
    assert seen == {"Updating", ("Cannot update the event source mapping because it is in use.", 400)}
    assert 1 <= settled(client, uuid)["BatchSize"] <= 8


def test_they_survive_a_killed_server(own_server):
    server = own_server.start()
    factory = Factory(server)
    function = factory()
    client = server.client("lambda")
    made = [
        client.create_event_source_mapping(EventSourceArn=QUEUE + str(number), FunctionName=function.name, Tags={"n": str(number)})
        for number in range(4)
    ]
    for mapping in made[:2]:
        settled(client, mapping["UUID"])
        client.delete_event_source_mapping(UUID=mapping["UUID"])
    server.kill()
    server.start()
    client = server.client("lambda")
    for mapping in made[:2]:
        gone(client, mapping["UUID"])
    for mapping in made[2:]:
        found = settled(client, mapping["UUID"])
        assert (found["State"], found["EventSourceArn"]) == ("Enabled", mapping["EventSourceArn"])
        tags = client.list_tags(Resource=mapping["EventSourceMappingArn"])["Tags"]
        assert tags == {"n": mapping["EventSourceArn"].rpartition(":")[2]}
    factory.clean()


def test_tags(function, client, mappings):
    mapping = client.create_event_source_mapping(
        EventSourceArn=QUEUE + "q", FunctionName=function.name, Tags={"a": "1", "b": "2"}
    )
    arn = mapping["EventSourceMappingArn"]
    client.tag_resource(Resource=arn, Tags={"b": "3", "c": ""})
    client.untag_resource(Resource=arn, TagKeys=["a", "none"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "3", "c": ""}
    assert "Tags" not in client.get_event_source_mapping(UUID=mapping["UUID"])
    too_many = {"k%d" % number: "" for number in range(49)}
    assert refused(client.tag_resource, Resource=arn, Tags=too_many)[:2] == ("InvalidParameterValueException", 400)
    assert refused(client.tag_resource, Resource=arn, Tags={"aws:x": ""})[:2] == ("InvalidParameterValueException", 400)
    absent = arn.replace(mapping["UUID"], NOTHING)
    assert refused(client.list_tags, Resource=absent) == ABSENT
    assert refused(client.tag_resource, Resource=absent, Tags={"a": ""}) == ABSENT
    assert refused(client.untag_resource, Resource=absent, TagKeys=["a"]) == ABSENT
    foreign = arn.replace("000000000000", "123456789012")
    assert refused(client.list_tags, Resource=foreign)[:2] == ("AccessDeniedException", 403)
