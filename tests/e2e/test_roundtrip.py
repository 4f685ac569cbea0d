"""What random valid requests put is read back equal. They are made from the model's shapes and constraints, with what
AWS wants beyond them as rules; `test_random_requests.py` makes those that are not valid.

`ROUNDTRIP_TIMES=50` makes fifty times as many requests as CI does, `ROUNDTRIP_SEED` makes others."""

import json
import os
import time

import botocore.session
import pytest

from harness.functions import zip_of
from harness.shapes import OMIT, Generator, text_for

MODEL = botocore.session.get_session().get_service_model("lambda")
SEED = int(os.environ.get("ROUNDTRIP_SEED", "1"))
TIMES = float(os.environ.get("ROUNDTRIP_TIMES", "1"))

# What the server says of odd but valid requests.
pytestmark = pytest.mark.allow_log(r"WARN lambkin_services::lambda")

ARN = "arn:aws:lambda:us-east-1:000000000000:"


def times(count):
    return max(1, round(count * TIMES))


def generator(offset, rules=()):
    seed = SEED * 1000 + offset
    print("seed %d (ROUNDTRIP_SEED=%d)" % (seed, SEED))
    return Generator(seed, rules)


LAST = []


def note(request):
    """Remembers a request; if the test fails, the last ones are shown."""
    LAST[:] = [*LAST[-3:], request]


@pytest.fixture(autouse=True)
def show_last_requests():
    LAST.clear()
    yield
    for request in LAST:
        print(request)


def environment(g):
    """Variables that are not reserved and fit into 4 KB."""
    shape = MODEL.shape_for("EnvironmentVariables")
    made = {"V" + g.text(shape.key): g.text(shape.value).replace("\0", "") for _ in range(g.rng.randint(0, 4))}
    return {"Variables": made}


def logging(g):
    made = {}
    if g.chance(0.7):
        made["LogFormat"] = g.rng.choice(["JSON", "Text"])
    if made.get("LogFormat") == "JSON":
        shape = MODEL.shape_for("LoggingConfig")
        for name in ("ApplicationLogLevel", "SystemLogLevel"):
            if g.chance(0.5):
                made[name] = g.value(shape.members[name])
    if g.chance(0.3):
        made["LogGroup"] = g.value(MODEL.shape_for("LogGroup"))
    return made


def tags(g):
    shape = MODEL.shape_for("Tags")
    return {"k" + g.text(shape.key)[:100]: g.text(shape.value) for _ in range(g.rng.randint(1, 5))}


def role(g):
    return "arn:aws:iam::000000000000:role/" + text_for(r"[a-zA-Z_0-9+=,.@\-_/]+").make(g.rng, 1, 60)


# `Layers` as functions show them, by ARN; published by `layers`.
LAYERS = {}


def some_layers(g):
    return g.rng.sample(list(LAYERS), g.rng.randint(0, min(5, len(LAYERS))))


def omit(_):
    return OMIT


# What the model allows wider than AWS, and settings that Lambkin refuses by name (docs/reference/operations.md).
RULES = {
    "RoleArn": role,
    "Timeout": lambda g: g.rng.choice([1, 900, g.rng.randint(1, 900)]),
    "MemorySize": lambda g: g.rng.choice([128, 10240, g.rng.randint(128, 10240)]),
    "EphemeralStorageSize": lambda g: g.rng.choice([512, 10240, g.rng.randint(512, 10240)]),
    "Environment": environment,
    "LoggingConfig": logging,
    "Tags": tags,
    "ArchitecturesList": lambda g: [os.uname().machine.replace("aarch64", "arm64")],
    "PackageType": lambda g: "Zip",
    "TracingConfig": lambda g: {"Mode": "PassThrough"},
    "SnapStart": lambda g: {"ApplyOn": "None"},
    "VpcConfig": lambda g: {"SubnetIds": [], "SecurityGroupIds": []},
    "DeadLetterConfig": lambda g: {"TargetArn": ""},
    "LayerList": some_layers,
    "FileSystemConfigList": lambda g: [],
    "KMSKeyArn": lambda g: "",
    "Runtime": lambda g: g.rng.choice([r for r in MODEL.shape_for("Runtime").enum if r != "custom"]),
    **{"%s.%s" % (request, name): omit for request in ("CreateFunctionRequest", "UpdateFunctionConfigurationRequest") for name in (
        "ImageConfig", "TenancyConfig", "CapacityProviderConfig", "DurableConfig", "RuntimeConfig", "AcceleratorConfig",
        "PublishTo", "CodeSigningConfigArn",
    )},
}  # fmt: skip


@pytest.fixture(scope="module")
def dev_client(dev_server):
    """Of a server that takes any role."""
    return dev_server.client()


def settle(client, name):
    """Waits for the end of a function's creation or update; its configuration."""
    deadline = time.monotonic() + 30
    while True:
        found = client.get_function_configuration(FunctionName=name)
        if found["State"] != "Pending" and found.get("LastUpdateStatus") != "InProgress":
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.005)


def plain(answer):
    return {name: value for name, value in answer.items() if name != "ResponseMetadata"}


def expected_of_configuration(request, before=None):
    """What must be read back of a function after a request, given what was before."""
    wanted = dict(before or {
        "Description": "", "Timeout": 3, "MemorySize": 128, "EphemeralStorage": {"Size": 512},
        "Architectures": RULES["ArchitecturesList"](None),
        "LoggingConfig": {"LogFormat": "Text", "LogGroup": "/aws/lambda/" + request["FunctionName"]},
    })  # fmt: skip
    for name in ("FunctionName", "Runtime", "Handler", "Role", "Description", "Timeout", "MemorySize", "EphemeralStorage", "Architectures"):
        if name in request:
            wanted[name] = request[name]
    if "Environment" in request:
        # an empty one is as good as none
        wanted["Environment"] = request["Environment"] if request["Environment"]["Variables"] else None
    if "Layers" in request:
        wanted["Layers"] = [LAYERS[arn] for arn in request["Layers"]] or None
    logs = {**wanted["LoggingConfig"], **request.get("LoggingConfig", {})}
    levels = ("ApplicationLogLevel", "SystemLogLevel")
    for level in levels:
        if logs["LogFormat"] == "JSON":
            logs.setdefault(level, "INFO")
        else:
            logs.pop(level, None)
    wanted["LoggingConfig"] = logs
    return wanted


def assert_reads(found, wanted):
    for name, value in wanted.items():
        assert found.get(name) == value, (name, found.get(name), value)


def make_function(client, name, **options):
    options.setdefault("Runtime", "python3.11")
    client.create_function(
        FunctionName=name, Handler="app.handler", Role="arn:aws:iam::000000000000:role/x",
        Code={"ZipFile": zip_of({"app.py": "def handler(event, context): pass\n"})}, **options,
    )  # fmt: skip
    settle(client, name)


@pytest.fixture(scope="module")
def layers(dev_client):
    """Random layer versions, which are read back as they were put."""
    g = generator(9)
    publish = MODEL.operation_model("PublishLayerVersion")
    for count in range(times(25)):
        content = zip_of({"layer.txt": str(count)})
        request = g.request(publish, LayerName="layer-%d" % count, Content={"ZipFile": content})
        note(request)
        made = plain(dev_client.publish_layer_version(**request))
        wanted = {"Description": "", **{name: value for name, value in request.items() if value != []}}
        del wanted["Content"], wanted["LayerName"]
        found = plain(dev_client.get_layer_version_by_arn(Arn=made["LayerVersionArn"]))
        for answer in (made, found):
            assert_reads(answer, wanted)
            del answer["Content"]["Location"]
        assert made == found
        if len(LAYERS) < 8:
            LAYERS[found["LayerVersionArn"]] = {"Arn": found["LayerVersionArn"], "CodeSize": len(content)}
    yield LAYERS
    LAYERS.clear()


@pytest.fixture(scope="module")
def function(dev_client):
    """A function with three versions and two aliases."""
    name = "known"
    make_function(dev_client, name)
    for number in "123":
        dev_client.update_function_configuration(FunctionName=name, Description=number)
        settle(dev_client, name)
        assert dev_client.publish_version(FunctionName=name)["Version"] == number
        settle(dev_client, name + ":" + number)
    for alias in ("live", "next"):
        dev_client.create_alias(FunctionName=name, Name=alias, FunctionVersion="1")
    yield name
    dev_client.delete_function(FunctionName=name)


def test_functions(dev_client, layers):
    g = generator(1, RULES)
    create, update = (MODEL.operation_model(name) for name in ("CreateFunction", "UpdateFunctionConfiguration"))
    zips = [zip_of({"app.py": "def handler(event, context): return %d\n" % n}) for n in range(3)]
    for count in range(times(25)):
        name = "round-%d" % count
        request = g.request(create, FunctionName=name, Code={"ZipFile": g.rng.choice(zips)})
        request.setdefault("Runtime", "python3.11")
        request.setdefault("Handler", "a.b")
        note(request)
        dev_client.create_function(**request)
        wanted = expected_of_configuration(request)
        found = settle(dev_client, name)
        assert_reads(found, wanted)
        if request.get("Publish"):
            settle(dev_client, name + ":1")
        whole = dev_client.get_function(FunctionName=name)
        assert_reads(whole["Configuration"], wanted)
        assert whole.get("Tags") == request.get("Tags")
        assert dev_client.list_tags(Resource=found["FunctionArn"])["Tags"] == request.get("Tags", {})
        for _ in range(g.rng.randint(1, 3)):
            request = g.request(update, FunctionName=name, RevisionId=found["RevisionId"])
            note(request)
            dev_client.update_function_configuration(**request)
            wanted = expected_of_configuration(request, wanted)
            found = settle(dev_client, name)
            assert_reads(found, wanted)
        listed = {
            one["FunctionName"]: one
            for page in dev_client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 7})
            for one in page["Functions"]
        }
        assert_reads(listed[name], wanted)
        if g.chance(0.7):
            dev_client.delete_function(FunctionName=name)
    for page in dev_client.get_paginator("list_functions").paginate():
        for one in page["Functions"]:
            if one["FunctionName"].startswith("round-"):
                dev_client.delete_function(FunctionName=one["FunctionName"])


def test_aliases(dev_client, function):
    g = generator(2)
    create, update = (MODEL.operation_model(name) for name in ("CreateAlias", "UpdateAlias"))

    def versions(request):
        """Two of the three that there are."""
        main, other = g.rng.sample("123", 2)
        request["FunctionVersion"] = main
        if g.chance(0.5):
            weights = {other: round(g.rng.uniform(0, 1), 3)} if g.chance(0.8) else {}
            request["RoutingConfig"] = {"AdditionalVersionWeights": weights}
        return request

    skip = {"FunctionName": function, "RoutingConfig": None, "FunctionVersion": None}
    for _ in range(times(25)):
        request = g.request(create, **skip)
        request.pop("RoutingConfig")
        wanted = versions(request)
        note(request)
        name = request["Name"]
        dev_client.create_alias(**request)
        for last in (False, True):
            found = plain(dev_client.get_alias(FunctionName=function, Name=name))
            routing = wanted.get("RoutingConfig", {}).get("AdditionalVersionWeights")
            assert found.get("RoutingConfig", {}).get("AdditionalVersionWeights", None) == (routing or None)
            assert found["FunctionVersion"] == wanted["FunctionVersion"]
            assert found["Description"] == wanted.get("Description", "")
            assert found in dev_client.list_aliases(FunctionName=function)["Aliases"]
            if last:
                break
            request = g.request(update, Name=name, RevisionId=found["RevisionId"], **skip)
            request.pop("RoutingConfig")
            request = versions(request)
            if request["FunctionVersion"] in (routing or {}):
                request.setdefault("RoutingConfig", {"AdditionalVersionWeights": {}})
            note(request)
            dev_client.update_alias(**request)
            wanted = {**wanted, **request}
        dev_client.delete_alias(FunctionName=function, Name=name)


DESTINATIONS = [
    "arn:aws:sqs:us-east-1:000000000000:queue", "arn:aws:sns:eu-west-1:000000000000:topic", "",
    "arn:aws:events:us-east-1:000000000000:event-bus/default", ARN + "function:other", ARN + "function:other:live",
]  # fmt: skip


def test_event_invoke_configs(dev_client, function):
    rules = {"DestinationArn": lambda g: g.rng.choice(DESTINATIONS)}
    g = generator(3, rules)
    put, update = (MODEL.operation_model(name + "FunctionEventInvokeConfig") for name in ("Put", "Update"))
    asked = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")

    def destinations(config, old=None):
        old = old or {"OnSuccess": {}, "OnFailure": {}}
        new = {name: config[name] if name in config else old[name] for name in ("OnSuccess", "OnFailure")}
        return {name: {k: v for k, v in to.items() if v} for name, to in new.items()}

    for _ in range(times(25)):
        where = {"FunctionName": function}
        qualifier = g.rng.choice([None, "$LATEST", "1", "live"])
        if qualifier:
            where["Qualifier"] = qualifier
        wanted = None
        for operation in (put, update, update):
            request = g.request(operation, Qualifier=None, FunctionName=function)
            del request["Qualifier"]
            request.update(where)
            if not any(name in request for name in asked):
                continue
            note(request)
            if operation is update and wanted is None:
                continue
            getattr(dev_client, "put_function_event_invoke_config" if operation is put else "update_function_event_invoke_config")(**request)
            old = None if operation is put else wanted
            wanted = {**(old or {}), **{name: request[name] for name in asked[:2] if name in request}}
            wanted["DestinationConfig"] = destinations(request.get("DestinationConfig", {}), old and old["DestinationConfig"])
            found = plain(dev_client.get_function_event_invoke_config(**where))
            assert found["FunctionArn"] == "%sfunction:%s:%s" % (ARN, function, qualifier or "$LATEST")
            assert {name: found[name] for name in asked if name in found} == wanted
            assert found in dev_client.list_function_event_invoke_configs(FunctionName=function)["FunctionEventInvokeConfigs"]
        if wanted is not None:
            dev_client.delete_function_event_invoke_config(**where)


def test_function_urls(dev_client, function):
    methods = ["GET", "PUT", "HEAD", "POST", "PATCH", "DELETE"]
    rules = {
        "Method": lambda g: g.rng.choice(methods),
        "AllowMethodsList": lambda g: g.rng.choice([["*"], g.rng.sample(methods, g.rng.randint(1, 6))]),
        "Origin": lambda g: g.rng.choice(["https://a.example", "http://localhost:8080", "https://*.b.example"]),
        "AllowOriginsList": lambda g: g.rng.choice([["*"], ["https://a.example"], ["https://a.example", "http://b.example:81"]]),
        "Header": lambda g: text_for("[a-zA-Z][a-zA-Z0-9-]*").make(g.rng, 1, 40),
    }  # fmt: skip
    g = generator(4, rules)
    create, update = (MODEL.operation_model(name + "FunctionUrlConfig") for name in ("Create", "Update"))
    for _ in range(times(25)):
        where = {"FunctionName": function}
        if g.chance(0.5):
            where["Qualifier"] = g.rng.choice(["live", "next"])
        request = {k: v for k, v in g.request(create, FunctionName=function, Qualifier=None).items() if k != "Qualifier"}
        note(request)
        dev_client.create_function_url_config(**{**request, **where})
        wanted = {"InvokeMode": "BUFFERED", **request}
        for last in (False, True):
            found = plain(dev_client.get_function_url_config(**where))
            assert found["AuthType"] == wanted["AuthType"] and found["InvokeMode"] == wanted["InvokeMode"]
            # what is empty or false may be left out
            given = {name: value for name, value in wanted.get("Cors", {}).items() if value}
            assert {name: value for name, value in found.get("Cors", {}).items() if value} == given
            assert found in dev_client.list_function_url_configs(FunctionName=function)["FunctionUrlConfigs"]
            if last:
                break
            request = {k: v for k, v in g.request(update, FunctionName=function, Qualifier=None).items() if k != "Qualifier"}
            note(request)
            dev_client.update_function_url_config(**{**request, **where})
            wanted.update(request)
        dev_client.delete_function_url_config(**where)


def test_small_settings(dev_client, function):
    g = generator(5)
    arn = ARN + "function:" + function
    for _ in range(times(15)):
        value = g.rng.choice(["Allow", "Terminate"])
        dev_client.put_function_recursion_config(FunctionName=function, RecursiveLoop=value)
        assert dev_client.get_function_recursion_config(FunctionName=function)["RecursiveLoop"] == value
        value = g.rng.choice(["Auto", "FunctionUpdate"])
        dev_client.put_runtime_management_config(FunctionName=function, UpdateRuntimeOn=value)
        assert dev_client.get_runtime_management_config(FunctionName=function)["UpdateRuntimeOn"] == value
        given = tags(g)
        dev_client.tag_resource(Resource=arn, Tags=given)
        assert dev_client.list_tags(Resource=arn)["Tags"] == given
        dev_client.untag_resource(Resource=arn, TagKeys=list(given))
        assert dev_client.list_tags(Resource=arn)["Tags"] == {}


def test_permissions(dev_client, function):
    rules = {
        "Principal": lambda g: g.rng.choice(["s3.amazonaws.com", "events.amazonaws.com", "*", "111111111111", "arn:aws:iam::111111111111:root"]),
        "Action": lambda g: g.rng.choice(["lambda:InvokeFunction", "lambda:GetFunction", "lambda:*", "lambda:InvokeFunctionUrl"]),
        "Arn": lambda g: g.rng.choice(["arn:aws:s3:::bucket", "arn:aws:events:us-east-1:000000000000:rule/r"]),
        "AddPermissionRequest.RevisionId": omit,
        "NumericLatestPublishedOrAliasQualifier": omit,
        "AddPermissionRequest.EventSourceToken": omit,
        "AddPermissionRequest.FunctionUrlAuthType": omit,
        "AddPermissionRequest.InvokedViaFunctionUrl": omit,
    }  # fmt: skip
    g = generator(6, rules)
    add = MODEL.operation_model("AddPermission")
    for _ in range(times(25)):
        where = {"FunctionName": function}
        qualifier = g.rng.choice([None, "1", "live"])
        if qualifier:
            where["Qualifier"] = qualifier
        request = {**g.request(add, FunctionName=function), **where}
        note(request)
        statement = json.loads(dev_client.add_permission(**request)["Statement"])
        assert statement["Sid"] == request["StatementId"] and statement["Action"] == request["Action"]
        assert statement["Resource"] == "%sfunction:%s%s" % (ARN, function, ":" + qualifier if qualifier else "")
        conditions = json.dumps(statement.get("Condition", {}))
        for name in ("SourceArn", "SourceAccount", "PrincipalOrgID"):
            assert (request.get(name) or "nothing") in conditions + "nothing"
        policy = json.loads(dev_client.get_policy(**where)["Policy"])
        assert statement in policy["Statement"]
        dev_client.remove_permission(StatementId=request["StatementId"], **where)


# -- event source mappings: what each kind of source takes, and what it is without being asked

FAILURES = {"OnFailure": {"Destination": "arn:aws:sqs:us-east-1:000000000000:failed"}}
POLLED = {
    "MaximumRecordAgeInSeconds": lambda g: g.rng.choice([-1, 60, 604800, g.rng.randint(60, 604800)]),
    "MaximumRetryAttempts": lambda g: g.rng.choice([-1, 0, 10000]),
    "BisectBatchOnFunctionError": lambda g: g.chance(0.5),
    "ParallelizationFactor": lambda g: g.rng.randint(1, 10),
    "TumblingWindowInSeconds": lambda g: g.rng.randint(0, 900),
    "DestinationConfig": lambda g: FAILURES,
}
FOR_ALL = {
    "MaximumBatchingWindowInSeconds": lambda g: g.rng.randint(1, 300),
    "FilterCriteria": lambda g: {"Filters": [{"Pattern": json.dumps({"body": {"a": [g.rng.randint(0, 99)]}})}]},
    "FunctionResponseTypes": lambda g: ["ReportBatchItemFailures"],
    "BatchSize": lambda g: g.rng.randint(1, 10),
}
STREAM_DEFAULTS = {
    "BatchSize": 100, "MaximumBatchingWindowInSeconds": 0, "MaximumRecordAgeInSeconds": -1, "MaximumRetryAttempts": -1,
    "BisectBatchOnFunctionError": False, "ParallelizationFactor": 1, "TumblingWindowInSeconds": 0,
}  # fmt: skip
SOURCES = {
    "arn:aws:sqs:us-east-1:000000000000:q%d": (
        {**FOR_ALL, "ScalingConfig": lambda g: {"MaximumConcurrency": g.rng.randint(2, 1000)}}, {},
        {"BatchSize": 10, "MaximumBatchingWindowInSeconds": 0},
    ),
    "arn:aws:kinesis:us-east-1:000000000000:stream/s%d": (
        {**FOR_ALL, **POLLED}, {"StartingPosition": ["LATEST", "TRIM_HORIZON"]}, STREAM_DEFAULTS,
    ),
    "arn:aws:dynamodb:us-east-1:000000000000:table/t/stream/%d": (
        {**FOR_ALL, **POLLED}, {"StartingPosition": ["LATEST", "TRIM_HORIZON"]}, STREAM_DEFAULTS,
    ),
}  # fmt: skip


def mapped(client, uuid):
    """A mapping once it is in a final state."""
    deadline = time.monotonic() + 30
    while True:
        found = plain(client.get_event_source_mapping(UUID=uuid))
        if found["State"] in ("Enabled", "Disabled"):
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.005)


def test_event_source_mappings(dev_client, function):
    g = generator(10)
    for count in range(times(25)):
        source = g.rng.choice(list(SOURCES))
        settings, needed, wanted = SOURCES[source]

        def some():
            return {name: make(g) for name, make in settings.items() if g.chance(0.5)}

        request = {"FunctionName": g.rng.choice(["known", "known:live"]), "EventSourceArn": source % count, **some()}
        request.update({name: g.rng.choice(values) for name, values in needed.items()})
        if g.chance(0.5):
            request["Enabled"] = g.chance(0.5)
        note(request)
        uuid = dev_client.create_event_source_mapping(**request)["UUID"]
        wanted = {**wanted, **{name: value for name, value in request.items() if name not in ("FunctionName", "Enabled")}}
        wanted["State"] = "Enabled" if request.get("Enabled", True) else "Disabled"
        wanted["FunctionArn"] = ARN + "function:" + request["FunctionName"]
        for last in (False, True):
            found = mapped(dev_client, uuid)
            assert_reads(found, wanted)
            assert found in dev_client.list_event_source_mappings(EventSourceArn=source % count)["EventSourceMappings"]
            if last:
                break
            request = some()
            if g.chance(0.5):
                request["Enabled"] = g.chance(0.5)
                wanted["State"] = "Enabled" if request["Enabled"] else "Disabled"
            note(request)
            dev_client.update_event_source_mapping(UUID=uuid, **request)
            wanted.update({name: value for name, value in request.items() if name != "Enabled"})
        dev_client.delete_event_source_mapping(UUID=uuid)


def test_code_signing_configs(dev_client):
    profile = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/"
    rules = {
        "Arn": lambda g: profile + text_for("[a-zA-Z0-9_]{2,64}/[a-zA-Z0-9]{10}").make(g.rng, 13, 75),
        "Tags": tags,
        "CreateCodeSigningConfigRequest.CodeSigningConfigArn": omit,
    }
    g = generator(11, rules)
    create, update = (MODEL.operation_model(name + "CodeSigningConfig") for name in ("Create", "Update"))
    for _ in range(times(15)):
        request = g.request(create)
        note(request)
        arn = dev_client.create_code_signing_config(**request)["CodeSigningConfig"]["CodeSigningConfigArn"]
        assert dev_client.list_tags(Resource=arn)["Tags"] == request.get("Tags", {})
        wanted = {"Description": "", "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Warn"}}
        for last in (False, True):
            wanted["Description"] = request.get("Description", wanted["Description"])
            for name in ("AllowedPublishers", "CodeSigningPolicies"):
                # an empty structure sets nothing
                wanted[name] = request.get(name) or wanted.get(name)
            found = dev_client.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"]
            assert found.get("Description", "") == wanted["Description"]
            assert_reads(found, {name: wanted[name] for name in ("AllowedPublishers", "CodeSigningPolicies")})
            listed = dev_client.get_paginator("list_code_signing_configs").paginate().build_full_result()
            assert found in listed["CodeSigningConfigs"]
            if last:
                break
            request = g.request(update, CodeSigningConfigArn=arn)
            note(request)
            dev_client.update_code_signing_config(**request)
        dev_client.delete_code_signing_config(CodeSigningConfigArn=arn)


def test_reserved_concurrency(dev_client, function):
    g = generator(12)
    for _ in range(times(10)):
        number = g.rng.choice([0, 900, g.rng.randint(0, 900)])
        dev_client.put_function_concurrency(FunctionName=function, ReservedConcurrentExecutions=number)
        assert dev_client.get_function_concurrency(FunctionName=function)["ReservedConcurrentExecutions"] == number
        shown = dev_client.get_function(FunctionName=function)["Concurrency"]
        assert shown == {"ReservedConcurrentExecutions": number}
        limits = dev_client.get_account_settings()["AccountLimit"]
        assert limits["UnreservedConcurrentExecutions"] == limits["ConcurrentExecutions"] - number
        dev_client.delete_function_concurrency(FunctionName=function)
        assert "ReservedConcurrentExecutions" not in dev_client.get_function_concurrency(FunctionName=function)
