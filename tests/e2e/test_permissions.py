"""Resource policies: their documents, and what callers of other accounts may do by them."""

import json
import re
import uuid

import pytest
from botocore.credentials import Credentials

from harness.functions import UUID
from test_functions import refused
from test_keys import add as add_key

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
OTHER = "111122223333"


@pytest.fixture
def function(create):
    return create("def handler(event, context):\n    return context.invoked_function_arn\n")


@pytest.fixture(scope="module")
def other(server):
    """The root key of another account."""
    return add_key(server, "--account", OTHER)


def permit(client, name, sid="one", principal=OTHER, **more):
    more.setdefault("Action", "lambda:InvokeFunction")
    return json.loads(
        client.add_permission(FunctionName=name, StatementId=sid, Principal=principal, **more)["Statement"]
    )


def denied(who, action, resource):
    return (
        "AccessDeniedException",
        403,
        "User: %s is not authorized to perform: lambda:%s on resource: %s because no resource-based policy allows "
        "the lambda:%s action" % (who, action, resource, action),
    )


def test_a_policy_from_beginning_to_end(function, client):
    name, arn = function.name, ARN + function.name
    answer = client.add_permission(
        FunctionName=name, StatementId="s3-bucket_1", Action="lambda:InvokeFunction", Principal="s3.amazonaws.com",
        SourceArn="arn:aws:s3:::bucket", SourceAccount="000000000000",
    )  # fmt: skip
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 201
    first = (
        '{"Sid":"s3-bucket_1","Effect":"Allow","Principal":{"Service":"s3.amazonaws.com"},'
        '"Action":"lambda:InvokeFunction","Resource":"%s","Condition":{"StringEquals":'
        '{"AWS:SourceAccount":"000000000000"},"ArnLike":{"AWS:SourceArn":"arn:aws:s3:::bucket"}}}' % arn
    )
    assert answer["Statement"] == first
    got = client.get_policy(FunctionName=name)
    assert got["Policy"] == '{"Version":"2012-10-17","Id":"default","Statement":[%s]}' % first
    assert re.fullmatch(UUID, got["RevisionId"])

    second = permit(client, name, "two", RevisionId=got["RevisionId"])
    assert second["Principal"] == {"AWS": "arn:aws:iam::%s:root" % OTHER}
    later = client.get_policy(FunctionName=arn)
    assert later["RevisionId"] != got["RevisionId"]
    assert refused(client.remove_permission, FunctionName=name, StatementId="two", RevisionId=got["RevisionId"]) == (
        "PreconditionFailedException",
        412,
        "The Revision Id provided does not match the latest Revision Id. Call the GetPolicy API to retrieve the latest "
        "Revision Id",
    )
    gone = client.remove_permission(FunctionName=name, StatementId="two", RevisionId=later["RevisionId"])
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    client.remove_permission(FunctionName=name, StatementId="s3-bucket_1")
    assert refused(client.get_policy, FunctionName=name) == (
        "ResourceNotFoundException", 404, "The resource you requested does not exist.",
    )  # fmt: skip
    assert refused(client.remove_permission, FunctionName=name, StatementId="two")[:2] == (
        "ResourceNotFoundException", 404,
    )  # fmt: skip


def test_conditions_and_principals(function, client):
    url = permit(
        client, function.name, "url", "*", Action="lambda:InvokeFunctionUrl", FunctionUrlAuthType="NONE"
    )
    assert url["Principal"] == "*"
    assert url["Condition"] == {"StringEquals": {"lambda:FunctionUrlAuthType": "NONE"}}
    via = permit(client, function.name, "via", "*", InvokedViaFunctionUrl=True)
    assert via["Condition"] == {"Bool": {"lambda:InvokedViaFunctionUrl": "true"}}
    org = permit(client, function.name, "org", "*", PrincipalOrgID="o-a1b2c3d4e5")
    assert org["Condition"] == {"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}}
    alexa = permit(client, function.name, "alexa", "alexa-appkit.amazon.com", EventSourceToken="skill")
    assert alexa["Condition"] == {"StringEquals": {"lambda:EventSourceToken": "skill"}}
    role = "arn:aws:iam::%s:role/path/worker" % OTHER
    assert permit(client, function.name, "role", role)["Principal"] == {"AWS": role}
    assert permit(client, function.name, "all", Action="lambda:*")["Action"] == "lambda:*"


def test_what_is_refused(function, client):
    name = function.name

    def asked(**more):
        arguments = {
            "FunctionName": name, "StatementId": "s", "Action": "lambda:InvokeFunction", "Principal": OTHER, **more,
        }  # fmt: skip
        return refused(client.add_permission, **arguments)

    principal = "The provided principal was invalid. Please check the principal and try again."
    for wrong in ("nobody", "123", "amazonaws.com", "arn:aws:s3:::bucket"):
        assert asked(Principal=wrong) == ("InvalidParameterValueException", 400, principal)
    assert asked(Qualifier="$LATEST") == (
        "InvalidParameterValueException", 400, "We currently do not support adding policies for $LATEST.",
    )  # fmt: skip
    assert asked(FunctionUrlAuthType="NONE")[0] == "InvalidParameterValueException"
    assert asked(Action="s3:GetObject")[0] == "ValidationException"
    assert asked(Action="lambda:Fly")[0] == "InvalidParameterValueException"
    assert asked(StatementId="a b")[0] == "ValidationException"
    assert asked(PrincipalOrgID="x")[0] == "ValidationException"
    assert asked(Qualifier="7") == ("ResourceNotFoundException", 404, "Function not found: %s%s:7" % (ARN, name))
    permit(client, name, "s")
    assert asked() == (
        "ResourceConflictException", 409,
        "The statement id (s) provided already exists. Please provide a new statement id, or remove the existing "
        "statement.",
    )  # fmt: skip
    for number in range(2):
        permit(client, name, "big%d" % number, SourceArn="arn:aws:s3:::" + "b" * 9700)
    code, status, message = asked(StatementId="big", SourceArn="arn:aws:s3:::" + "b" * 900)
    assert (code, status) == ("PolicyLengthExceededException", 400)
    assert re.fullmatch(r"The final policy size \(\d+\) is bigger than the limit \(20480\)\.", message)


def test_other_accounts(server, function, client, other):
    name, arn = function.name, ARN + function.name
    caller = "arn:aws:iam::%s:root" % OTHER
    theirs = server.client("lambda", credentials=other)

    def invoked(target=arn, **more):
        return json.loads(theirs.invoke(FunctionName=target, **more)["Payload"].read())

    assert refused(theirs.invoke, FunctionName=arn) == denied(caller, "InvokeFunction", arn)
    # whether a function is there is told to nobody else
    ghost = ARN + "ghost-" + uuid.uuid4().hex
    assert refused(theirs.invoke, FunctionName=ghost) == denied(caller, "InvokeFunction", ghost)
    # a bare name is one of their own
    assert refused(theirs.invoke, FunctionName=name)[0] == "ResourceNotFoundException"

    permit(client, name)
    assert invoked() == arn
    assert invoked("000000000000:function:" + name) == arn
    assert refused(theirs.get_function, FunctionName=arn) == denied(caller, "GetFunction", arn)
    for call in (theirs.delete_function, theirs.get_policy, theirs.list_aliases, theirs.publish_version):
        assert refused(call, FunctionName=arn)[:2] == ("AccessDeniedException", 403), call
    assert refused(theirs.update_function_configuration, FunctionName=arn, Timeout=5)[0] == "AccessDeniedException"
    assert refused(theirs.list_tags, Resource=arn)[0] == "AccessDeniedException"
    permit(client, name, "read", Action="lambda:GetFunction")
    assert theirs.get_function(FunctionName=arn)["Configuration"]["FunctionArn"] == arn
    permit(client, name, "change", Action="lambda:UpdateFunctionConfiguration")
    theirs.update_function_configuration(FunctionName=arn, Description="by another account")
    client.get_waiter("function_updated_v2").wait(FunctionName=name, WaiterConfig={"Delay": 0.1})
    assert client.get_function_configuration(FunctionName=name)["Description"] == "by another account"

    # an alias has a policy of its own
    client.create_alias(FunctionName=name, Name="live", FunctionVersion="$LATEST")
    live = arn + ":live"
    assert refused(theirs.invoke, FunctionName=live) == denied(caller, "InvokeFunction", live)
    permit(client, name, Qualifier="live")
    assert invoked(live) == live
    assert invoked(arn, Qualifier="live") == live
    client.remove_permission(FunctionName=name, StatementId="one")
    assert refused(theirs.invoke, FunctionName=arn) == denied(caller, "InvokeFunction", arn)
    assert invoked(live) == live


def test_sessions_of_other_accounts(server, function, client, other):
    arn = ARN + function.name
    iam = server.client("iam", credentials=other)
    trust = {
        "Version": "2012-10-17",
        "Statement": {"Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "sts:AssumeRole"},
    }
    role = iam.create_role(RoleName="worker", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    sts = server.client("sts", credentials=other)
    found = sts.assume_role(RoleArn=role, RoleSessionName="caller")["Credentials"]
    session = Credentials(found["AccessKeyId"], found["SecretAccessKey"], found["SessionToken"])
    theirs = server.client("lambda", credentials=session)
    caller = "arn:aws:sts::%s:assumed-role/worker/caller" % OTHER
    assert refused(theirs.invoke, FunctionName=arn) == denied(caller, "InvokeFunction", arn)
    permit(client, function.name, "role", role)
    assert json.loads(theirs.invoke(FunctionName=arn)["Payload"].read()) == arn
    roots = server.client("lambda", credentials=other)
    assert refused(roots.invoke, FunctionName=arn)[0] == "AccessDeniedException"


def test_a_whole_policy_and_a_denial(server, function, client, other):
    arn = ARN + function.name
    statement = {"Sid": "x", "Effect": "Deny", "Principal": "*", "Action": "lambda:Invoke*", "Resource": arn}
    text = json.dumps({"Version": "2012-10-17", "Id": "mine", "Statement": statement})
    put = client.put_resource_policy(ResourceArn=arn, Policy=text)
    assert json.loads(put["Policy"]) == {"Version": "2012-10-17", "Id": "mine", "Statement": [statement]}
    got = client.get_resource_policy(ResourceArn=arn)
    assert (got["Policy"], got["RevisionId"]) == (put["Policy"], put["RevisionId"])
    assert client.get_policy(FunctionName=function.name)["Policy"] == put["Policy"]
    assert refused(client.invoke, FunctionName=function.name) == (
        "AccessDeniedException",
        403,
        "User: arn:aws:iam::000000000000:root is not authorized to perform: lambda:InvokeFunction on resource: "
        "%s with an explicit deny in a resource-based policy" % arn,
    )
    # what is denied cannot be allowed beside it
    permit(client, function.name)
    theirs = server.client("lambda", credentials=other)
    assert "explicit deny" in refused(theirs.invoke, FunctionName=arn)[2]
    client.remove_permission(FunctionName=function.name, StatementId="x")
    assert function.result() == arn
    assert json.loads(theirs.invoke(FunctionName=arn)["Payload"].read()) == arn

    revision = client.get_resource_policy(ResourceArn=arn)["RevisionId"]
    stale = {"ResourceArn": arn, "RevisionId": put["RevisionId"]}
    assert refused(client.delete_resource_policy, **stale)[:2] == ("PreconditionFailedException", 412)
    assert refused(client.put_resource_policy, Policy=text, **stale)[:2] == ("PreconditionFailedException", 412)
    gone = client.delete_resource_policy(ResourceArn=arn, RevisionId=revision)
    assert gone["ResponseMetadata"]["HTTPStatusCode"] == 204
    absent = ("ResourceNotFoundException", 404, "The resource you requested does not exist.")
    assert refused(client.get_resource_policy, ResourceArn=arn) == absent
    assert refused(client.delete_resource_policy, ResourceArn=arn) == absent
    for wrong in ("{", "[]", text.replace("lambda:", "s3:"), text.replace(arn, arn + "x"), text.replace("Deny", "No")):
        assert refused(client.put_resource_policy, ResourceArn=arn, Policy=wrong)[:2] == (
            "InvalidParameterValueException", 400,
        ), wrong  # fmt: skip
    assert refused(client.put_resource_policy, ResourceArn=arn, Policy=" " * 20481)[0] == "ValidationException"


def test_conditions_decide(server, function, client, other):
    arn = ARN + function.name
    theirs = server.client("lambda", credentials=other)

    def allows(condition):
        statement = {
            "Effect": "Allow", "Principal": {"AWS": OTHER}, "Action": "lambda:InvokeFunction", "Resource": arn,
            "Condition": condition,
        }  # fmt: skip
        client.put_resource_policy(ResourceArn=arn, Policy=json.dumps({"Version": "2012-10-17", "Statement": statement}))
        try:
            theirs.invoke(FunctionName=arn)
            return True
        except theirs.exceptions.ClientError as error:
            assert error.response["Error"]["Code"] == "AccessDeniedException"
            return False

    assert allows({"StringEquals": {"aws:PrincipalAccount": OTHER}})
    assert not allows({"StringNotEquals": {"aws:PrincipalAccount": OTHER}})
    assert allows({"ArnLike": {"aws:PrincipalArn": "arn:aws:iam::*:root"}})
    assert allows({"DateGreaterThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}})
    assert not allows({"DateLessThan": {"aws:CurrentTime": "2020-01-01T00:00:00Z"}})
    assert allows({"NumericGreaterThan": {"aws:EpochTime": "1000"}})
    assert not allows({"IpAddress": {"aws:SourceIp": "0.0.0.0/0"}})
    assert not allows({"StringEquals": {"aws:PrincipalOrgID": "o-a1b2c3d4e5"}})
    assert allows({"Null": {"aws:SourceArn": "true"}, "Bool": {"aws:PrincipalIsAWSService": "false"}})


def test_policies_go_with_what_they_belong_to(create, client):
    function = create(name="goes")
    client.create_alias(FunctionName="goes", Name="live", FunctionVersion="$LATEST")
    permit(client, "goes")
    permit(client, "goes", Qualifier="live")
    client.delete_alias(FunctionName="goes", Name="live")
    client.create_alias(FunctionName="goes", Name="live", FunctionVersion="$LATEST")
    assert refused(client.get_policy, FunctionName="goes", Qualifier="live")[0] == "ResourceNotFoundException"
    assert client.get_policy(FunctionName="goes")["Policy"]
    function.delete()
    create(name="goes")
    assert refused(client.get_policy, FunctionName="goes")[0] == "ResourceNotFoundException"
