"""Code signing configurations: kept, tagged and listed; no function can have one while no signing profile is known."""

import re

import pytest

from harness.functions import ROLE, python, zip_of
from test_functions import refused

PROFILE = "arn:aws:signer:us-east-1:000000000000:/signing-profiles/mine/0123456789"
OTHER = "arn:aws:signer:eu-west-1:123456789012:/signing-profiles/theirs/abcdefghij"
PUBLISHERS = {"SigningProfileVersionArns": [PROFILE]}
ARN = "arn:aws:lambda:us-east-1:000000000000:code-signing-config:"
NOTHING = ARN + "csc-00000000000000000"

pytestmark = pytest.mark.allow_log(r"WARN .*no signing profiles are known")


def absent(arn):
    return ("ResourceNotFoundException", 404, "The code signing configuration %s does not exist." % arn)


def not_found(arn):
    return ("CodeSigningConfigNotFoundException", 404, "The code signing configuration %s does not exist." % arn)


def unknown(arn, *profiles):
    return (
        "InvalidParameterValueException", 400,
        "Lambkin cannot verify signed code yet: it does not know the signing profiles of the code signing configuration "
        "%s: %s." % (arn, ", ".join(profiles)),
    )  # fmt: skip


@pytest.fixture
def made(client):
    """Makes configurations that go with the test."""
    arns = []

    def make(**options):
        config = client.create_code_signing_config(**{"AllowedPublishers": PUBLISHERS, **options})
        assert config["ResponseMetadata"]["HTTPStatusCode"] == 201
        arns.append(config["CodeSigningConfig"]["CodeSigningConfigArn"])
        return config["CodeSigningConfig"]

    yield make
    for arn in arns:
        try:
            client.delete_code_signing_config(CodeSigningConfigArn=arn)
        except client.exceptions.ResourceNotFoundException:
            pass


def test_from_beginning_to_end(client, made):
    config = made(Description="mine", CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Enforce"})
    arn = config["CodeSigningConfigArn"]
    assert re.fullmatch(r"csc-[a-z0-9]{17}", config["CodeSigningConfigId"])
    assert arn == ARN + config["CodeSigningConfigId"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", config["LastModified"])
    assert config == {
        "CodeSigningConfigId": config["CodeSigningConfigId"], "CodeSigningConfigArn": arn, "Description": "mine",
        "AllowedPublishers": PUBLISHERS, "CodeSigningPolicies": {"UntrustedArtifactOnDeployment": "Enforce"},
        "LastModified": config["LastModified"],
    }  # fmt: skip
    assert client.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"] == config
    both = {"SigningProfileVersionArns": [PROFILE, OTHER]}
    updated = client.update_code_signing_config(CodeSigningConfigArn=arn, AllowedPublishers=both)["CodeSigningConfig"]
    assert updated == {**config, "AllowedPublishers": both, "LastModified": updated["LastModified"]}
    updated = client.update_code_signing_config(
        CodeSigningConfigArn=arn, Description="", CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Warn"}
    )["CodeSigningConfig"]
    assert (updated["Description"], updated["AllowedPublishers"]) == ("", both)
    assert updated["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
    assert client.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"] == updated
    gone = client.delete_code_signing_config(CodeSigningConfigArn=arn)
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    for call in (
        client.get_code_signing_config, client.update_code_signing_config, client.delete_code_signing_config,
        client.list_functions_by_code_signing_config,
    ):  # fmt: skip
        assert refused(call, CodeSigningConfigArn=arn) == absent(arn)
    foreign = arn.replace("000000000000", "123456789012")
    assert refused(client.get_code_signing_config, CodeSigningConfigArn=foreign) == absent(foreign)


def test_defaults_lists_and_pages(client, made):
    configs = {}
    for _ in range(5):
        config = made()
        assert config["CodeSigningPolicies"] == {"UntrustedArtifactOnDeployment": "Warn"}
        assert "Description" not in config
        configs[config["CodeSigningConfigId"]] = config
    pages = list(client.get_paginator("list_code_signing_configs").paginate(PaginationConfig={"PageSize": 2}))
    assert [len(page["CodeSigningConfigs"]) for page in pages] == [2, 2, 1]
    listed = {config["CodeSigningConfigId"]: config for page in pages for config in page["CodeSigningConfigs"]}
    assert listed == configs
    assert refused(client.list_code_signing_configs, Marker="nonsense")[0] == "InvalidParameterValueException"


def test_no_function_can_have_one(create, client, made):
    function = create()
    config = made(AllowedPublishers={"SigningProfileVersionArns": [PROFILE, OTHER]})
    arn = config["CodeSigningConfigArn"]

    def put(name, arn):
        return refused(client.put_function_code_signing_config, FunctionName=name, CodeSigningConfigArn=arn)

    assert put(function.name, arn) == unknown(arn, PROFILE, OTHER)
    assert put(function.name, NOTHING) == not_found(NOTHING)
    assert put("none", arn)[:2] == ("ResourceNotFoundException", 404)

    def new(arn):
        return refused(
            client.create_function, FunctionName="signed", Runtime=python(), Handler="app.handler", Role=ROLE,
            Code={"ZipFile": zip_of({"app.py": ""})}, CodeSigningConfigArn=arn,
        )  # fmt: skip

    assert new(arn) == unknown(arn, PROFILE, OTHER)
    assert new(NOTHING) == not_found(NOTHING)
    assert "signed" not in [listed["FunctionName"] for listed in client.list_functions()["Functions"]]
    answer = client.get_function_code_signing_config(FunctionName=function.name)
    assert (answer["FunctionName"], "CodeSigningConfigArn" in answer) == (function.name, False)
    answer = client.delete_function_code_signing_config(FunctionName=function.name)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    for call in (client.get_function_code_signing_config, client.delete_function_code_signing_config):
        assert refused(call, FunctionName="none")[:2] == ("ResourceNotFoundException", 404)
    pages = client.get_paginator("list_functions_by_code_signing_config").paginate(CodeSigningConfigArn=arn)
    assert [page["FunctionArns"] for page in pages] == [[]]


def test_what_is_refused(client):
    def create(**more):
        return refused(client.create_code_signing_config, **{"AllowedPublishers": PUBLISHERS, **more})

    for profile in (
        "arn:aws:lambda:us-east-1:000000000000:function:f", "arn:aws:signer:us-east-1:000000000000:/signing-profiles/mine",
        "arn:aws:signer:::/signing-profiles/mine/1", "arn:aws:signer:us-east-1:000000000000:/signing-profiles//1",
    ):  # fmt: skip
        assert create(AllowedPublishers={"SigningProfileVersionArns": [profile]}) == (
            "InvalidParameterValueException", 400, profile + " is not the ARN of a signing profile version.",
        )  # fmt: skip
    for publishers in ([], [PROFILE] * 21, ["x"]):
        given = {"SigningProfileVersionArns": publishers}
        assert create(AllowedPublishers=given)[:2] == ("ValidationException", 400), publishers
    assert create(CodeSigningPolicies={"UntrustedArtifactOnDeployment": "Hope"})[:2] == ("ValidationException", 400)
    assert create(Description="x" * 257)[:2] == ("ValidationException", 400)
    assert create(Tags={"aws:x": ""})[:2] == ("InvalidParameterValueException", 400)
    assert refused(client.get_code_signing_config, CodeSigningConfigArn="x")[:2] == ("ValidationException", 400)


def test_tags(client, made):
    arn = made(Tags={"a": "1", "b": "2"})["CodeSigningConfigArn"]
    client.tag_resource(Resource=arn, Tags={"b": "3"})
    client.untag_resource(Resource=arn, TagKeys=["a"])
    assert client.list_tags(Resource=arn)["Tags"] == {"b": "3"}
    too_many = {"k%d" % number: "" for number in range(50)}
    assert refused(client.tag_resource, Resource=arn, Tags=too_many)[:2] == ("InvalidParameterValueException", 400)
    assert refused(client.list_tags, Resource=NOTHING)[:2] == ("ResourceNotFoundException", 404)
    foreign = arn.replace("000000000000", "123456789012")
    assert refused(client.tag_resource, Resource=foreign, Tags={"a": ""})[:2] == ("AccessDeniedException", 403)


def test_they_survive_a_killed_server(own_server):
    own_server.start()
    config = own_server.client("lambda").create_code_signing_config(
        AllowedPublishers=PUBLISHERS, Description="kept", Tags={"a": "1"}
    )["CodeSigningConfig"]
    own_server.kill()
    own_server.start()
    client = own_server.client("lambda")
    arn = config["CodeSigningConfigArn"]
    assert client.get_code_signing_config(CodeSigningConfigArn=arn)["CodeSigningConfig"] == config
    assert client.list_tags(Resource=arn)["Tags"] == {"a": "1"}
