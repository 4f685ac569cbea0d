"""Layers: versions, lists, permissions, limits, and the configuration of functions that use them."""

import base64
import hashlib
import io
import json
import re
import uuid
import zipfile

import pytest

from harness import leaks
from harness.functions import ROLE, UUID, Factory, python, zip_of
from harness.layers import Layers
from test_functions import refused
from test_keys import add as add_key

ACCOUNT = "000000000000"
OTHER = "111122223333"
INVALID = "InvalidParameterValueException"


@pytest.fixture
def publish(server):
    layers = Layers(server)
    yield layers
    layers.clean()


@pytest.fixture
def name():
    return "layer-" + uuid.uuid4().hex[:12]


@pytest.fixture(scope="module")
def other(server):
    """A client of another account, in which there is a role for functions."""
    credentials = add_key(server, "--account", OTHER)
    server.make_role(credentials)
    return server.client("lambda", credentials=credentials)


def arn(name, version=None, account=ACCOUNT, region="us-east-1"):
    found = "arn:aws:lambda:%s:%s:layer:%s" % (region, account, name)
    return found if version is None else "%s:%d" % (found, version)


def denied(action, resource, who="arn:aws:iam::%s:root" % OTHER):
    return (
        "AccessDeniedException",
        403,
        "User: %s is not authorized to perform: lambda:%s on resource: %s because no resource-based policy allows "
        "the lambda:%s action" % (who, action, resource, action),
    )


def creation(layers, **changes):
    return {
        "FunctionName": "fn-" + uuid.uuid4().hex[:12], "Runtime": python(), "Handler": "app.handler", "Role": ROLE,
        "Code": {"ZipFile": zip_of({"app.py": "def handler(e, c):\n    return e\n"})}, "Layers": layers, **changes,
    }  # fmt: skip


def test_a_version_from_beginning_to_end(server, client, publish, name):
    package = zip_of({"python/x.py": "X = 1\n"})
    made = client.publish_layer_version(
        LayerName=name, Description="a first", LicenseInfo="MIT", Content={"ZipFile": package},
        CompatibleRuntimes=["python3.12", "python3.11"], CompatibleArchitectures=["x86_64", "arm64"],
    )  # fmt: skip
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", made["CreatedDate"])
    digest = base64.b64encode(hashlib.sha256(package).digest()).decode()
    assert (made["Content"]["CodeSha256"], made["Content"]["CodeSize"]) == (digest, len(package))
    assert set(made["Content"]) == {"Location", "CodeSha256", "CodeSize"}
    location = made["Content"]["Location"]
    assert location.startswith(server.endpoint)
    assert server.http("GET", location[len(server.endpoint) :], sign=False).body == package
    assert server.http("GET", location[len(server.endpoint) : -1], sign=False).status == 403

    expected = {
        "LayerArn": arn(name), "LayerVersionArn": arn(name, 1), "Description": "a first", "LicenseInfo": "MIT",
        "Version": 1, "CompatibleRuntimes": ["python3.12", "python3.11"], "CompatibleArchitectures": ["x86_64", "arm64"],
        "CreatedDate": made["CreatedDate"],
    }  # fmt: skip
    for answer in (
        made,
        client.get_layer_version(LayerName=name, VersionNumber=1),
        client.get_layer_version(LayerName=arn(name), VersionNumber=1),
        client.get_layer_version_by_arn(Arn=arn(name, 1)),
    ):
        del answer["ResponseMetadata"]
        content = answer.pop("Content")
        assert (content["CodeSha256"], content["CodeSize"]) == (digest, len(package))
        assert answer == expected

    bare = publish({"a": "a"}, arn(name))
    assert (bare["Version"], bare["Description"], bare["LayerVersionArn"]) == (2, "", arn(name, 2))
    assert not {"LicenseInfo", "CompatibleRuntimes", "CompatibleArchitectures"} & set(bare)
    item = client.list_layer_versions(LayerName=name)["LayerVersions"][0]
    assert item == {"LayerVersionArn": arn(name, 2), "Version": 2, "CreatedDate": bare["CreatedDate"]}

    assert client.delete_layer_version(LayerName=name, VersionNumber=2)["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.delete_layer_version(LayerName=name, VersionNumber=2)
    absent = ("ResourceNotFoundException", 404, "The resource you requested does not exist.")
    for version in (2, 3, 0, -1):
        assert refused(client.get_layer_version, LayerName=name, VersionNumber=version) == absent
    assert refused(client.get_layer_version_by_arn, Arn=arn(name, 2)) == absent
    assert refused(client.get_layer_version_by_arn, Arn=arn(name, 1, region="eu-west-1")) == absent
    assert publish({"a": "a"}, name)["Version"] == 3, "numbers are not given twice"
    client.delete_layer_version(LayerName=name, VersionNumber=1)


def test_lists_and_their_pages(server, client, publish):
    name, second = sorted("layer-" + uuid.uuid4().hex[:12] for _ in range(2))
    for number in range(1, 6):
        publish({"a": str(number)}, name, CompatibleRuntimes=["python3.12"] + ["nodejs22.x"] * (number % 2))
    publish({"a": "a"}, second, CompatibleArchitectures=["arm64"])

    def versions(**options):
        pages = client.get_paginator("list_layer_versions").paginate(LayerName=name, **options)
        return [[version["Version"] for version in page["LayerVersions"]] for page in pages]

    assert versions() == [[5, 4, 3, 2, 1]]
    assert versions(PaginationConfig={"PageSize": 2}) == [[5, 4], [3, 2], [1]]
    assert versions(CompatibleRuntime="nodejs22.x", PaginationConfig={"PageSize": 1}) == [[5], [3], [1]]
    assert versions(CompatibleRuntime="nodejs20.x") == [[]]
    assert versions(CompatibleArchitecture="x86_64") == [[]]
    assert client.list_layer_versions(LayerName="nobody")["LayerVersions"] == []

    def layers(**options):
        pages = client.get_paginator("list_layers").paginate(**options)
        found = [(item["LayerName"], item) for page in pages for item in page["Layers"]]
        return {key: item for key, item in found if key in (name, second)}

    newest = client.list_layer_versions(LayerName=name)["LayerVersions"][0]
    for options in ({}, {"PaginationConfig": {"PageSize": 1}}):
        found = layers(**options)
        assert list(found) == [name, second]
        assert found[name] == {"LayerName": name, "LayerArn": arn(name), "LatestMatchingVersion": newest}
    client.delete_layer_version(LayerName=name, VersionNumber=5)
    assert layers()[name]["LatestMatchingVersion"]["Version"] == 4
    assert layers(CompatibleRuntime="nodejs22.x")[name]["LatestMatchingVersion"]["Version"] == 3
    assert list(layers(CompatibleArchitecture="arm64")) == [second]
    assert server.client("lambda", region="eu-west-1").list_layers()["Layers"] == []

    assert refused(client.list_layers, Marker="x") == (INVALID, 400, "Invalid Marker.")
    assert refused(client.list_layer_versions, LayerName=name, Marker="x") == (INVALID, 400, "Invalid Marker.")
    assert refused(client.list_layers, MaxItems=51)[0] == "ValidationException"
    assert refused(client.list_layers, CompatibleRuntime="cobol")[:2] == (INVALID, 400)


def test_what_cannot_be_published(client, name):
    def asked(content, **options):
        return refused(client.publish_layer_version, LayerName=name, Content=content, **options)

    zipped = {"ZipFile": zip_of({"a": "a"})}
    garbled = (INVALID, 400, "Could not unzip uploaded file. Please check your file, then try to upload again.")
    assert asked({"ZipFile": b"no zip"}) == garbled
    assert asked({"ZipFile": zip_of({"../evil": "x"})}) == garbled
    assert asked({"ZipFile": b""}) == (INVALID, 400, "Uploaded file must be a non-empty zip")
    assert asked({})[:2] == (INVALID, 400)
    s3 = asked({"S3Bucket": "bucket", "S3Key": "key"})
    assert s3[:2] == (INVALID, 400) and "S3Bucket" in s3[2]
    assert asked({**zipped, "S3Bucket": "bucket", "S3Key": "key"})[:2] == (INVALID, 400)
    assert asked(zipped, CompatibleRuntimes=["python3.12"] * 16)[0] == "ValidationException"
    assert asked(zipped, CompatibleRuntimes=["cobol"])[0] == "ValidationException"
    assert asked(zipped, CompatibleArchitectures=["sparc"])[0] == "ValidationException"
    assert asked(zipped, LicenseInfo="x" * 513)[0] == "ValidationException"
    assert asked(zipped, Description="x" * 257)[0] == "ValidationException"
    assert refused(client.publish_layer_version, LayerName="a b", Content=zipped)[0] == "ValidationException"
    assert refused(client.publish_layer_version, LayerName="x" * 141, Content=zipped)[0] == "ValidationException"
    assert client.list_layer_versions(LayerName=name)["LayerVersions"] == []


def test_functions_show_their_layers(client, create, publish):
    one, two = publish({"a": "1"}), publish({"a": "22"})
    function = create(Layers=[two["LayerVersionArn"], one["LayerVersionArn"]], Publish=True)

    def shown(**options):
        configuration = client.get_function_configuration(FunctionName=function.name, **options)
        return configuration.get("Layers")

    both = [{"Arn": made["LayerVersionArn"], "CodeSize": made["Content"]["CodeSize"]} for made in (two, one)]
    assert shown() == both == shown(Qualifier="1")
    assert client.get_function(FunctionName=function.name)["Configuration"]["Layers"] == both
    listed = {item["FunctionName"]: item for page in client.get_paginator("list_functions").paginate() for item in page["Functions"]}
    assert listed[function.name]["Layers"] == both
    function.update(MemorySize=640)
    assert shown() == both
    function.update(files={"app.py": "def handler(e, c):\n    return 2\n"})
    assert shown() == both
    client.delete_layer_version(LayerName=one["LayerArn"], VersionNumber=1)
    function.update(Layers=[two["LayerVersionArn"]])
    assert (shown(), shown(Qualifier="1")) == (both[:1], both)
    function.update(Layers=[])
    assert (shown(), shown(Qualifier="1")) == (None, both)
    assert function.result({"n": 1}, Qualifier="1") == {"n": 1}


def test_layers_that_functions_cannot_have(client, create, publish, name):
    for number in (1, 2):
        publish({"a": str(number)}, name)
    function = create()

    def asked(*layers):
        created = refused(client.create_function, **creation(list(layers)))
        assert created == refused(client.update_function_configuration, FunctionName=function.name, Layers=list(layers))
        return created

    for pair in ((1, 2), (2, 1), (1, 1)):
        first, second = (arn(name, version) for version in pair)
        assert asked(first, second) == (
            INVALID, 400, "Two different versions of the same layer are not allowed to be referenced in the same "
            "function. %s and %s are versions of the same layer." % (first, second),
        )  # fmt: skip
    assert asked(*(arn("l%d" % number, 1) for number in range(6))) == (INVALID, 400, "Cannot reference more than 5 layers.")
    for absent in (arn(name, 3), arn("nobody", 1), "arn:aws:lambda:::awslayer:AmazonLinux1703"):
        assert asked(absent) == (INVALID, 400, "Layer version %s does not exist." % absent)
    assert asked(arn(name, 1, region="eu-west-1")) == (
        INVALID, 400, "Layers are not in the same region as the function. Layers are expected to be in region us-east-1.",
    )  # fmt: skip
    assert asked(arn(name, 1, account=OTHER)) == denied(
        "GetLayerVersion", arn(name, 1, account=OTHER), "arn:aws:iam::%s:root" % ACCOUNT
    )
    assert asked(name)[0] == "ValidationException"
    assert "Layers" not in client.get_function_configuration(FunctionName=function.name)


def large(megabytes):
    """A small zip of a large file."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        archive.writestr("zeros", b"\0" * (megabytes * 1_000_000))
    return buffer.getvalue()


def test_what_is_unpacked_is_limited(client, create, name):
    size = 140_000_000
    package = large(140)
    for suffix in ("a", "b"):
        client.publish_layer_version(LayerName=name + suffix, Content={"ZipFile": package})
    one, two = arn(name + "a", 1), arn(name + "b", 1)
    assert refused(client.create_function, **creation([one, two])) == (
        INVALID, 400, "Layers consume more than the available size of 262144000 bytes",
    )  # fmt: skip
    function = create(Layers=[one])
    both = (
        INVALID, 400, "Function code combined with layers exceeds the maximum allowed size of 262144000 bytes. The "
        "actual size is %d bytes." % (2 * size),
    )  # fmt: skip
    for dry in (True, False):
        assert refused(client.update_function_code, FunctionName=function.name, ZipFile=package, DryRun=dry) == both
    assert refused(client.create_function, **creation([one], Code={"ZipFile": package})) == both
    assert refused(client.publish_layer_version, LayerName=name, Content={"ZipFile": large(263)}) == (
        INVALID, 400, "Unzipped size must be smaller than 262144000 bytes",
    )  # fmt: skip
    for suffix in ("a", "b"):
        client.delete_layer_version(LayerName=name + suffix, VersionNumber=1)


def test_a_policy_from_beginning_to_end(client, publish, name):
    publish({"a": "a"}, name)
    version = {"LayerName": name, "VersionNumber": 1}
    nothing = ("ResourceNotFoundException", 404, "No policy is associated with the given resource.")
    assert refused(client.get_layer_version_policy, **version) == nothing
    assert refused(client.remove_layer_version_permission, **version, StatementId="x") == nothing
    action = {"Action": "lambda:GetLayerVersion"}
    made = client.add_layer_version_permission(**version, StatementId="account", Principal=OTHER, **action)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    first = (
        '{"Sid":"account","Effect":"Allow","Principal":{"AWS":"arn:aws:iam::%s:root"},'
        '"Action":"lambda:GetLayerVersion","Resource":"%s"}' % (OTHER, arn(name, 1))
    )
    assert made["Statement"] == first and re.fullmatch(UUID, made["RevisionId"])
    got = client.get_layer_version_policy(**version)
    assert got["Policy"] == '{"Version":"2012-10-17","Id":"default","Statement":[%s]}' % first
    assert got["RevisionId"] == made["RevisionId"]
    org = client.add_layer_version_permission(
        **version, StatementId="org", Principal="*", OrganizationId="o-t194hfs8cz", RevisionId=got["RevisionId"], **action
    )
    statement = json.loads(org["Statement"])
    assert statement["Principal"] == "*"
    assert statement["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-t194hfs8cz"}}
    root = client.add_layer_version_permission(
        **version, StatementId="root", Principal="arn:aws:iam::%s:root" % OTHER, **action
    )
    assert json.loads(root["Statement"])["Principal"] == {"AWS": "arn:aws:iam::%s:root" % OTHER}

    def asked(**more):
        request = {**version, "StatementId": "new", "Principal": OTHER, **action, **more}
        return refused(client.add_layer_version_permission, **request)

    assert asked(StatementId="org") == (
        "ResourceConflictException", 409, "The statement id (org) provided already exists. Please provide a new "
        "statement id, or remove the existing statement.",
    )  # fmt: skip
    assert asked(RevisionId=got["RevisionId"])[:2] == ("PreconditionFailedException", 412)
    assert asked(Action="lambda:InvokeFunction")[0] == "ValidationException"
    assert asked(Principal="s3.amazonaws.com")[0] == "ValidationException"
    assert asked(OrganizationId="x", Principal="*")[0] == "ValidationException"
    assert asked(OrganizationId="o-t194hfs8cz")[:2] == (INVALID, 400)
    assert asked(StatementId="a b")[0] == "ValidationException"
    absent = ("ResourceNotFoundException", 404, "Layer version %s does not exist." % arn(name, 2))
    assert asked(VersionNumber=2) == absent
    assert refused(client.get_layer_version_policy, LayerName=name, VersionNumber=2) == absent

    removed = {**version, "StatementId": "org"}
    assert refused(client.remove_layer_version_permission, **{**removed, "StatementId": "new"})[:2] == (
        "ResourceNotFoundException", 404,
    )  # fmt: skip
    assert refused(client.remove_layer_version_permission, **removed, RevisionId=got["RevisionId"])[:2] == (
        "PreconditionFailedException", 412,
    )  # fmt: skip
    gone = client.remove_layer_version_permission(**removed, RevisionId=root["RevisionId"])
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    for sid in ("account", "root"):
        client.remove_layer_version_permission(**version, StatementId=sid)
    assert refused(client.get_layer_version_policy, **version) == nothing


def test_other_accounts_need_a_permission(server, client, other, publish, name):
    theirs = {"Role": "arn:aws:iam::%s:role/lambda" % OTHER}
    publish({"python/shared.py": "X = 5\n"}, name)
    one = arn(name, 1)
    assert refused(other.get_layer_version_by_arn, Arn=one) == denied("GetLayerVersion", one)
    assert refused(other.get_layer_version, LayerName=arn(name), VersionNumber=1) == denied("GetLayerVersion", one)
    assert refused(other.create_function, **creation([one], **theirs)) == denied("GetLayerVersion", one)
    assert refused(other.get_layer_version_by_arn, Arn=arn(name, 9)) == denied("GetLayerVersion", arn(name, 9))
    assert refused(other.list_layer_versions, LayerName=arn(name)) == denied("ListLayerVersions", arn(name))
    assert refused(other.delete_layer_version, LayerName=arn(name), VersionNumber=1)[0] == "AccessDeniedException"
    content = {"ZipFile": zip_of({"a": "a"})}
    assert refused(other.publish_layer_version, LayerName=arn(name), Content=content) == denied(
        "PublishLayerVersion", arn(name)
    )
    version = {"LayerName": name, "VersionNumber": 1}
    client.add_layer_version_permission(
        **version, StatementId="one", Principal=OTHER, Action="lambda:GetLayerVersion"
    )
    assert refused(other.get_layer_version_policy, LayerName=arn(name), VersionNumber=1)[0] == "AccessDeniedException"
    got = other.get_layer_version_by_arn(Arn=one)
    location = got["Content"]["Location"][len(server.endpoint) :]
    assert len(server.http("GET", location, sign=False).body) == got["Content"]["CodeSize"]
    request = creation([one], **theirs)
    request["Code"] = {"ZipFile": zip_of({"app.py": "import shared\ndef handler(e, c):\n    return shared.X\n"})}
    other.create_function(**request)
    function = request["FunctionName"]
    other.get_waiter("function_active_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1})
    assert json.load(other.invoke(FunctionName=function)["Payload"]) == 5
    # what a function has, it keeps
    client.remove_layer_version_permission(**version, StatementId="one")
    assert refused(other.update_function_configuration, FunctionName=function, Layers=[one]) == denied("GetLayerVersion", one)
    other.update_function_configuration(FunctionName=function, Description="still there")
    other.get_waiter("function_updated_v2").wait(FunctionName=function, WaiterConfig={"Delay": 1})
    assert json.load(other.invoke(FunctionName=function)["Payload"]) == 5
    other.delete_function(FunctionName=function)


def test_the_command_line(server, tmp_path, name):
    package = tmp_path / "layer.zip"
    package.write_bytes(zip_of({"python/x.py": "X = 1\n"}))
    made = server.aws(
        "lambda", "publish-layer-version", "--layer-name", name, "--zip-file", "fileb://%s" % package,
        "--compatible-runtimes", "python3.11", "python3.12",
    )  # fmt: skip
    assert made["Version"] == 1
    found = server.aws("lambda", "list-layers", "--compatible-runtime", "python3.11")["Layers"]
    assert name in [item["LayerName"] for item in found]
    assert server.aws("lambda", "get-layer-version-by-arn", "--arn", made["LayerVersionArn"])["LayerArn"] == arn(name)
    server.aws("lambda", "delete-layer-version", "--layer-name", name, "--version-number", "1")


def test_what_was_acknowledged_survives_a_kill(own_server):
    server = own_server.start()
    layers, functions = Layers(server), Factory(server)
    package = server.data_dir / "code"
    made = layers({"python/shared.py": "X = 7\n"}, "kept")
    layers({"a": "no longer"}, "kept")
    source = {"app.py": "import shared\ndef handler(e, c):\n    return shared.X\n"}
    function = functions(files=source, Layers=[made["LayerVersionArn"]])
    client = server.client("lambda")
    client.add_layer_version_permission(
        LayerName="kept", VersionNumber=1, StatementId="s", Principal="*", Action="lambda:GetLayerVersion"
    )
    client.delete_layer_version(LayerName="kept", VersionNumber=2)
    layers({"a": "only acknowledged"}, "last")
    server.kill()
    server.start()
    client = function.client = server.client("lambda")
    assert function.result() == 7
    assert [item["Version"] for item in client.list_layer_versions(LayerName="kept")["LayerVersions"]] == [1]
    assert client.get_layer_version_policy(LayerName="kept", VersionNumber=1)["Policy"]
    assert client.get_layer_version(LayerName="last", VersionNumber=1)["Version"] == 1
    # what nobody refers to goes soon after the start
    leaks.until(lambda: len(list(package.iterdir())) != 3)

    client.delete_layer_version(LayerName="kept", VersionNumber=1)
    client.delete_layer_version(LayerName="last", VersionNumber=1)
    server.stop()
    server.start()
    function.client = server.client("lambda")
    assert function.result() == 7, "a function keeps what it uses"
    leaks.until(lambda: len(list(package.iterdir())) != 2)
    assert layers({"a": "a"}, "kept")["Version"] == 3
    function.delete()
    layers.clean()
    server.stop()
    server.start()
    leaks.until(lambda: list(package.iterdir()))
