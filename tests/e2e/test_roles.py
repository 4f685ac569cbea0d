"""Roles at work: which ones functions take, who may assume one, and what its sessions are."""

import json
import uuid
from datetime import datetime, timedelta, timezone

import pytest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from harness.functions import ROLE, python, zip_of
from harness.server import LAMBDA_TRUST

ACCOUNT = "000000000000"
NOT_TRUSTED = ("InvalidParameterValueException", "The role defined for the function cannot be assumed by Lambda.", 400)
CROSS = ("AccessDeniedException", "Cross-account pass role is not allowed.", 403)


@pytest.fixture
def iam(server):
    return server.client("iam")


@pytest.fixture
def role(iam):
    """Makes roles that go with the test; their ARNs."""
    made = []

    def make(principal, condition=None, **options):
        statement = {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole"}
        if condition:
            statement["Condition"] = condition
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        name = "role-" + uuid.uuid4().hex[:10]
        answer = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust, **options)
        made.append(name)
        return answer["Role"]["Arn"]

    yield make
    for name in made:
        iam.delete_role(RoleName=name)


def refused(call, **options):
    with pytest.raises(ClientError) as caught:
        call(**options)
    error = caught.value.response
    return error["Error"]["Code"], error["Error"]["Message"], error["ResponseMetadata"]["HTTPStatusCode"]


def session(answer):
    found = answer["Credentials"]
    return Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])


def test_a_function_takes_a_role_that_trusts_lambda(server, client, create, iam, role):
    def make(arn):
        client.create_function(
            FunctionName="roles-" + uuid.uuid4().hex[:10], Runtime=python(), Handler="app.handler", Role=arn,
            Code={"ZipFile": zip_of({"app.py": ""})},
        )  # fmt: skip

    ec2 = role({"Service": "ec2.amazonaws.com"})
    other_account = role({"Service": "lambda.amazonaws.com"}, {"StringEquals": {"aws:SourceAccount": "111111111111"}})
    for arn in (
        "arn:aws:iam::%s:role/none" % ACCOUNT, "arn:aws:iam::%s:role/path/lambda" % ACCOUNT, ec2, other_account,
        role({"AWS": ACCOUNT}),
    ):  # fmt: skip
        assert refused(make, arn=arn) == NOT_TRUSTED, arn
    assert refused(make, arn="arn:aws:iam::111111111111:role/lambda") == CROSS

    function = create()
    update = client.update_function_configuration
    assert refused(update, FunctionName=function.name, Role=ec2) == NOT_TRUSTED
    assert refused(update, FunctionName=function.name, Role="arn:aws:iam::111111111111:role/lambda") == CROSS
    own = role({"Service": "lambda.amazonaws.com"}, {"StringEquals": {"aws:SourceAccount": ACCOUNT}}, Path="/service-role/")
    function.update(Role=own)
    assert client.get_function_configuration(FunctionName=function.name)["Role"] == own
    # the role is looked at when it is set, as on AWS
    iam.update_assume_role_policy(
        RoleName=own.rpartition("/")[2], PolicyDocument=json.dumps(LAMBDA_TRUST).replace("lambda.", "ec2.")
    )
    function.update(Description="still there")


def test_dev_takes_any_role(dev_server):
    client = dev_server.client("lambda")
    client.create_function(
        FunctionName="dev-role", Runtime=python(), Handler="app.handler", Role="arn:aws:iam::123456789012:role/none",
        Code={"ZipFile": zip_of({"app.py": ""})},
    )  # fmt: skip
    client.delete_function(FunctionName="dev-role")


def test_the_session_of_a_function_has_the_roles_id(server, create, iam):
    source = (
        "import os\n\ndef handler(event, context):\n"
        "    return {k: os.environ[k] for k in ('AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN')}\n"
    )
    function = create(source)
    env = function.result({})
    own = Credentials(env["AWS_ACCESS_KEY_ID"], env["AWS_SECRET_ACCESS_KEY"], env["AWS_SESSION_TOKEN"])
    identity = server.client("sts", credentials=own).get_caller_identity()
    role_id = iam.get_role(RoleName=ROLE.rpartition("/")[2])["Role"]["RoleId"]
    assert identity["UserId"] == "%s:%s" % (role_id, function.name)
    # what its credentials may do, and what not
    assert server.client("lambda", credentials=own).list_functions()["Functions"]
    assert refused(server.client("iam", credentials=own).list_roles)[0] == "AccessDenied"


def test_assume_role(server, iam, role):
    sts = server.client("sts")
    arn = role({"AWS": "arn:aws:iam::%s:root" % ACCOUNT}, Path="/team/", MaxSessionDuration=7200)
    name = arn.rpartition("/")[2]
    answer = sts.assume_role(RoleArn=arn, RoleSessionName="me@home", DurationSeconds=900)
    role_id = iam.get_role(RoleName=name)["Role"]["RoleId"]
    session_arn = "arn:aws:sts::%s:assumed-role/%s/me@home" % (ACCOUNT, name)
    assert answer["AssumedRoleUser"] == {"AssumedRoleId": role_id + ":me@home", "Arn": session_arn}
    left = answer["Credentials"]["Expiration"] - datetime.now(timezone.utc)
    assert timedelta(seconds=880) < left <= timedelta(seconds=900)
    found = session(answer)
    assert found.access_key.startswith("ASIA")

    mine = server.client("sts", credentials=found)
    identity = mine.get_caller_identity()
    assert (identity["Account"], identity["Arn"], identity["UserId"]) == (ACCOUNT, session_arn, role_id + ":me@home")
    # the fixed list of actions
    functions = server.client("lambda", credentials=found)
    functions.list_functions()
    code, message, status = refused(functions.delete_function, FunctionName="x")
    assert (code, status) == ("AccessDeniedException", 403) and session_arn in message

    # the account is trusted, not any role in it
    denied = "User: %s is not authorized to perform: sts:AssumeRole on resource: %s" % (session_arn, arn)
    assert refused(mine.assume_role, RoleArn=arn, RoleSessionName="me") == ("AccessDenied", denied, 403)
    named = role({"AWS": arn})
    assert mine.assume_role(RoleArn=named, RoleSessionName="two")["AssumedRoleUser"]["Arn"].endswith("/two")
    chained = refused(mine.assume_role, RoleArn=named, RoleSessionName="two", DurationSeconds=3601)
    assert chained[0] == "ValidationError" and "role chaining" in chained[1]
    assert refused(sts.assume_role, RoleArn=named, RoleSessionName="me")[0] == "AccessDenied"


def test_assume_role_is_refused(server, role):
    sts = server.client("sts")
    root = "arn:aws:iam::%s:root" % ACCOUNT
    for arn in (ROLE, "arn:aws:iam::%s:role/none" % ACCOUNT):
        text = "User: %s is not authorized to perform: sts:AssumeRole on resource: %s" % (root, arn)
        assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="me") == ("AccessDenied", text, 403)
    arn = role({"AWS": ACCOUNT}, {"StringEquals": {"sts:ExternalId": ["a", "b"]}})
    for options in ({}, {"ExternalId": "c1"}):
        assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="me", **options)[0] == "AccessDenied"
    like = role({"AWS": ACCOUNT}, {"StringLike": {"sts:ExternalId": "tenant-*"}})
    sts.assume_role(RoleArn=like, RoleSessionName="me", ExternalId="tenant-1")
    unknown = role({"AWS": ACCOUNT}, {"IpAddress": {"aws:SourceIp": "127.0.0.0/8"}})
    assert refused(sts.assume_role, RoleArn=unknown, RoleSessionName="me")[0] == "AccessDenied"
    arn = role({"AWS": ACCOUNT})
    assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="me", DurationSeconds=3601) == (
        "ValidationError", "The requested DurationSeconds exceeds the MaxSessionDuration set for this role.", 400
    )  # fmt: skip
    for seconds in (899, 43201):
        code, message, status = refused(sts.assume_role, RoleArn=arn, RoleSessionName="me", DurationSeconds=seconds)
        assert (code, status) == ("ValidationError", 400) and "'durationSeconds'" in message
    for name in ("x", "a b", "x" * 65):
        code, message, status = refused(sts.assume_role, RoleArn=arn, RoleSessionName=name)
        assert (code, status) == ("ValidationError", 400) and "'roleSessionName'" in message
    for options, named in [
        ({"Policy": "{}"}, "Policy"),
        ({"PolicyArns": [{"arn": "arn:aws:iam::aws:policy/ReadOnlyAccess"}]}, "PolicyArns"),
        ({"Tags": [{"Key": "a", "Value": "b"}]}, "Tags"),
        ({"SourceIdentity": "me"}, "SourceIdentity"),
    ]:
        assert refused(sts.assume_role, RoleArn=arn, RoleSessionName="me", **options) == (
            "ValidationError", "Lambkin does not support %s yet." % named, 400
        )  # fmt: skip


def test_get_session_token(server):
    sts = server.client("sts")
    answer = sts.get_session_token()
    found = session(answer)
    left = answer["Credentials"]["Expiration"] - datetime.now(timezone.utc)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)
    again = server.client("sts", credentials=found)
    assert again.get_caller_identity()["Arn"] == "arn:aws:iam::%s:root" % ACCOUNT
    server.client("iam", credentials=found).list_roles()
    assert refused(again.get_session_token) == ("AccessDenied", "Cannot call GetSessionToken with session credentials", 403)


def test_sessions_outlive_the_server(own_server):
    server = own_server
    server.start()
    trust = json.dumps(LAMBDA_TRUST).replace('"Service": "lambda.amazonaws.com"', '"AWS": "%s"' % ACCOUNT)
    arn = server.client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    found = session(server.client("sts").assume_role(RoleArn=arn, RoleSessionName="me"))
    server.stop()
    server.start()
    assert server.client("sts", credentials=found).get_caller_identity()["Arn"].endswith(":assumed-role/r/me")


def test_by_the_command_line(server, role):
    arn = role({"AWS": ACCOUNT})
    made = server.aws("sts", "assume-role", "--role-arn", arn, "--role-session-name", "cli")
    assert made["AssumedRoleUser"]["Arn"].endswith("/cli")
    assert server.client("sts", credentials=session(made)).get_caller_identity()["Arn"] == made["AssumedRoleUser"]["Arn"]
