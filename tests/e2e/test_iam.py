"""IAM: roles, managed and inline policies, AWS's own policies, through boto3 and the AWS CLI."""

import json
import uuid
from datetime import datetime, timezone

import pytest
from botocore.exceptions import ClientError
from harness.server import LAMBDA_TRUST

ACCOUNT = "000000000000"
BASIC = "arn:aws:iam::aws:policy/service-role/AWSLambdaBasicExecutionRole"
POLICY = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}


@pytest.fixture(scope="module")
def iam(server):
    return server.client("iam")


def unique(prefix):
    return prefix + "-" + uuid.uuid4().hex[:10]


def make_role(iam, trust=LAMBDA_TRUST, **options):
    options.setdefault("RoleName", unique("role"))
    return iam.create_role(AssumeRolePolicyDocument=json.dumps(trust), **options)["Role"]


def make_policy(iam, **options):
    options.setdefault("PolicyName", unique("policy"))
    return iam.create_policy(PolicyDocument=json.dumps(POLICY), **options)["Policy"]


def refused(call, **options):
    """`(code, message, status)` of a call that must fail."""
    with pytest.raises(ClientError) as caught:
        call(**options)
    error = caught.value.response
    return error["Error"]["Code"], error["Error"]["Message"], error["ResponseMetadata"]["HTTPStatusCode"]


def test_a_role_reads_back(iam):
    name = unique("role")
    before = datetime.now(timezone.utc).replace(microsecond=0)
    made = make_role(
        iam, RoleName=name, Path="/service-role/", Description="a rôle", MaxSessionDuration=7200,
        Tags=[{"Key": "team", "Value": "blue"}],
    )  # fmt: skip
    arn = "arn:aws:iam::%s:role/service-role/%s" % (ACCOUNT, name)
    assert made["Arn"] == arn
    assert made["RoleId"].startswith("AROA") and len(made["RoleId"]) == 21
    assert before <= made["CreateDate"] <= datetime.now(timezone.utc)
    assert made["AssumeRolePolicyDocument"] == LAMBDA_TRUST
    iam.get_waiter("role_exists").wait(RoleName=name, WaiterConfig={"Delay": 1, "MaxAttempts": 3})
    got = iam.get_role(RoleName=name)["Role"]
    assert got == {
        **made, "Description": "a rôle", "MaxSessionDuration": 7200, "Tags": [{"Key": "team", "Value": "blue"}],
        "RoleLastUsed": {},
    }  # fmt: skip
    listed = iam.list_roles(PathPrefix="/service-role/")["Roles"]
    assert {**got} == {**listed[0], "Tags": got["Tags"], "RoleLastUsed": {}}
    iam.update_role(RoleName=name, Description="other", MaxSessionDuration=3600)
    got = iam.get_role(RoleName=name)["Role"]
    assert (got["Description"], got["MaxSessionDuration"]) == ("other", 3600)
    assert iam.update_role_description(RoleName=name, Description="third")["Role"]["Description"] == "third"
    trust = json.loads(json.dumps(LAMBDA_TRUST).replace("lambda.", "events."))
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=json.dumps(trust))
    assert iam.get_role(RoleName=name)["Role"]["AssumeRolePolicyDocument"] == trust
    assert iam.list_instance_profiles_for_role(RoleName=name)["InstanceProfiles"] == []
    iam.delete_role(RoleName=name)
    missing = ("NoSuchEntity", "The role with name %s cannot be found." % name, 404)
    for call in (iam.get_role, iam.delete_role, iam.list_role_tags, iam.list_role_policies, iam.list_attached_role_policies):
        assert refused(call, RoleName=name) == missing, call


def test_roles_that_cannot_be(iam):
    name = make_role(iam)["RoleName"]
    assert refused(make_role, iam=iam, RoleName=name) == (
        "EntityAlreadyExists", "Role with name %s already exists." % name, 409
    )  # fmt: skip
    # names that differ in case only are the same
    assert refused(make_role, iam=iam, RoleName=name.upper())[0] == "EntityAlreadyExists"
    code, message, status = refused(make_role, iam=iam, RoleName="a b")
    assert (code, status) == ("ValidationError", 400) and "'roleName'" in message
    for text, wrong in [
        ("not json", "This policy contains invalid Json"),
        (json.dumps(POLICY), "Has prohibited field Resource"),
        ('{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"sts:AssumeRole"}]}', "Missing required field Principal"),
        (json.dumps(LAMBDA_TRUST).replace("lambda.amazonaws.com", "lambda"), 'Invalid principal in policy: "SERVICE":"lambda"'),
        (json.dumps(LAMBDA_TRUST).replace("sts:AssumeRole", "lambda:*"), "AssumeRole policy may only specify STS AssumeRole actions."),
    ]:  # fmt: skip
        for call in (
            lambda **options: iam.create_role(RoleName=unique("x"), AssumeRolePolicyDocument=options["text"]),
            lambda **options: iam.update_assume_role_policy(RoleName=name, PolicyDocument=options["text"]),
        ):
            assert refused(call, text=text) == ("MalformedPolicyDocument", wrong, 400)
    many = json.loads(json.dumps(LAMBDA_TRUST))
    many["Statement"] = many["Statement"] * 30
    assert refused(make_role, iam=iam, trust=many) == ("LimitExceeded", "Cannot exceed quota for ACLSizePerRole: 2048", 409)
    # white space does not count
    spaced = json.dumps(LAMBDA_TRUST, indent=400)
    assert len(spaced) > 4096
    iam.update_assume_role_policy(RoleName=name, PolicyDocument=spaced)
    iam.delete_role(RoleName=name)


def test_inline_policies(iam):
    role = make_role(iam)["RoleName"]
    iam.put_role_policy(RoleName=role, PolicyName="one", PolicyDocument=json.dumps(POLICY))
    iam.put_role_policy(RoleName=role, PolicyName="one", PolicyDocument=json.dumps(POLICY, indent=4))
    got = iam.get_role_policy(RoleName=role, PolicyName="one")
    assert (got["RoleName"], got["PolicyName"], got["PolicyDocument"]) == (role, "one", POLICY)
    assert iam.list_role_policies(RoleName=role)["PolicyNames"] == ["one"]
    missing = ("NoSuchEntity", "The role policy with name two cannot be found.", 404)
    assert refused(iam.get_role_policy, RoleName=role, PolicyName="two") == missing
    assert refused(iam.delete_role_policy, RoleName=role, PolicyName="two") == missing
    bad = json.dumps(POLICY).replace('"*"}', '"bucket"}')
    assert refused(iam.put_role_policy, RoleName=role, PolicyName="x", PolicyDocument=bad) == (
        "MalformedPolicyDocument", 'Resource bucket must be in ARN format or "*".', 400
    )  # fmt: skip
    long = json.dumps({**POLICY, "Statement": POLICY["Statement"] * 120})
    iam.put_role_policy(RoleName=role, PolicyName="long", PolicyDocument=long)
    assert refused(iam.put_role_policy, RoleName=role, PolicyName="long2", PolicyDocument=long) == (
        "LimitExceeded", "Maximum policy size of 10240 bytes exceeded for role " + role, 409
    )  # fmt: skip
    assert refused(iam.delete_role, RoleName=role) == ("DeleteConflict", "Cannot delete entity, must delete policies first.", 409)
    for name in iam.list_role_policies(RoleName=role)["PolicyNames"]:
        iam.delete_role_policy(RoleName=role, PolicyName=name)
    iam.delete_role(RoleName=role)


def test_managed_policies(iam):
    name = unique("policy")
    made = make_policy(iam, PolicyName=name, Path="/team/", Description="d", Tags=[{"Key": "a", "Value": "b"}])
    arn = made["Arn"]
    assert arn == "arn:aws:iam::%s:policy/team/%s" % (ACCOUNT, name)
    assert made["PolicyId"].startswith("ANPA") and len(made["PolicyId"]) == 21
    assert (made["DefaultVersionId"], made["AttachmentCount"], made["IsAttachable"]) == ("v1", 0, True)
    assert "Description" not in made
    iam.get_waiter("policy_exists").wait(PolicyArn=arn, WaiterConfig={"Delay": 1, "MaxAttempts": 3})
    got = iam.get_policy(PolicyArn=arn)["Policy"]
    assert got == {**made, "Description": "d"}
    assert refused(make_policy, iam=iam, PolicyName=name, Path="/other/") == (
        "EntityAlreadyExists", "A policy called %s already exists. Duplicate names are not allowed." % name, 409
    )  # fmt: skip

    listed = iam.list_policies(Scope="Local", PathPrefix="/team/")["Policies"]
    assert [policy["Arn"] for policy in listed] == [arn] and "Tags" not in listed[0]
    role = make_role(iam)["RoleName"]
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    iam.attach_role_policy(RoleName=role, PolicyArn=BASIC)
    attached = iam.list_attached_role_policies(RoleName=role)["AttachedPolicies"]
    assert {"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC} in attached and len(attached) == 2
    assert iam.get_policy(PolicyArn=arn)["Policy"]["AttachmentCount"] == 1
    assert iam.list_entities_for_policy(PolicyArn=arn)["PolicyRoles"][0]["RoleName"] == role
    assert [p["Arn"] for p in iam.list_policies(Scope="AWS", OnlyAttached=True)["Policies"]] == [BASIC]
    assert refused(iam.delete_policy, PolicyArn=arn) == ("DeleteConflict", "Cannot delete a policy attached to entities.", 409)
    assert refused(iam.delete_role, RoleName=role) == (
        "DeleteConflict", "Cannot delete entity, must detach all policies first.", 409
    )  # fmt: skip
    none = "arn:aws:iam::%s:policy/none" % ACCOUNT
    assert refused(iam.attach_role_policy, RoleName=role, PolicyArn=none) == (
        "NoSuchEntity", "Policy %s does not exist or is not attachable." % none, 404
    )  # fmt: skip
    assert refused(iam.get_policy, PolicyArn=none) == ("NoSuchEntity", "Policy %s was not found." % none, 404)
    assert refused(iam.detach_role_policy, RoleName=role, PolicyArn=none) == (
        "NoSuchEntity", "Policy %s was not found." % none, 404
    )  # fmt: skip
    bad = "arn:aws:iam::%s:role/none" % ACCOUNT
    assert refused(iam.attach_role_policy, RoleName=role, PolicyArn=bad) == ("InvalidInput", "ARN %s is not valid." % bad, 400)
    for policy in attached:
        iam.detach_role_policy(RoleName=role, PolicyArn=policy["PolicyArn"])

    iam.put_role_permissions_boundary(RoleName=role, PermissionsBoundary=arn)
    assert iam.get_role(RoleName=role)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == arn
    assert iam.get_policy(PolicyArn=arn)["Policy"]["PermissionsBoundaryUsageCount"] == 1
    iam.delete_role_permissions_boundary(RoleName=role)
    iam.delete_role(RoleName=role)
    iam.delete_policy(PolicyArn=arn)
    assert refused(iam.delete_policy, PolicyArn=arn)[0] == "NoSuchEntity"


def test_a_role_takes_ten_policies(iam):
    role = make_role(iam)["RoleName"]
    arns = [make_policy(iam)["Arn"] for _ in range(11)]
    for arn in arns[:10]:
        iam.attach_role_policy(RoleName=role, PolicyArn=arn)
    assert refused(iam.attach_role_policy, RoleName=role, PolicyArn=arns[10]) == (
        "LimitExceeded", "Cannot exceed quota for PoliciesPerRole: 10", 409
    )  # fmt: skip
    pages = list(iam.get_paginator("list_attached_role_policies").paginate(RoleName=role, PaginationConfig={"PageSize": 3}))
    assert [len(page["AttachedPolicies"]) for page in pages] == [3, 3, 3, 1]
    for arn in arns[:10]:
        iam.detach_role_policy(RoleName=role, PolicyArn=arn)
    for arn in arns:
        iam.delete_policy(PolicyArn=arn)
    iam.delete_role(RoleName=role)


def test_policy_versions(iam):
    arn = make_policy(iam)["Arn"]
    other = {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "*", "Resource": "*"}}
    made = iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(other))["PolicyVersion"]
    assert (made["VersionId"], made["IsDefaultVersion"], "Document" in made) == ("v2", False, False)
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v2")["PolicyVersion"]["Document"] == other
    assert iam.get_policy_version(PolicyArn=arn, VersionId="v1")["PolicyVersion"]["Document"] == POLICY
    iam.set_default_policy_version(PolicyArn=arn, VersionId="v2")
    assert iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"] == "v2"
    for _ in range(3):
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(other), SetAsDefault=True)
    versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
    assert [v["VersionId"] for v in versions] == ["v5", "v4", "v3", "v2", "v1"]
    assert [v["IsDefaultVersion"] for v in versions] == [True, False, False, False, False]
    code, message, status = refused(iam.create_policy_version, PolicyArn=arn, PolicyDocument=json.dumps(other))
    assert (code, status) == ("LimitExceeded", 409) and message.startswith("A managed policy can have up to 5 versions.")
    assert refused(iam.delete_policy_version, PolicyArn=arn, VersionId="v5") == (
        "DeleteConflict", "Cannot delete the default version of a policy.", 409
    )  # fmt: skip
    for call in (iam.get_policy_version, iam.delete_policy_version, iam.set_default_policy_version):
        assert refused(call, PolicyArn=arn, VersionId="v9") == (
            "NoSuchEntity", "Policy %s version v9 does not exist or is not attachable." % arn, 404
        )  # fmt: skip
    code, message, _ = refused(iam.delete_policy, PolicyArn=arn)
    assert code == "DeleteConflict" and message.startswith("This policy has more than one version.")
    for version in versions[1:]:
        iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
    iam.delete_policy(PolicyArn=arn)
    big = json.dumps({**POLICY, "Statement": POLICY["Statement"] * 200})
    assert refused(iam.create_policy, PolicyName=unique("big"), PolicyDocument=big) == (
        "LimitExceeded", "Cannot exceed quota for PolicySize: 6144", 409
    )  # fmt: skip


def test_the_policies_of_aws(iam):
    policies = {p["PolicyName"]: p for p in iam.list_policies(Scope="AWS", MaxItems=1000)["Policies"]}
    for name in (
        "AWSLambdaBasicExecutionRole AWSLambdaSQSQueueExecutionRole AWSLambdaKinesisExecutionRole "
        "AWSLambdaDynamoDBExecutionRole AWSLambdaVPCAccessExecutionRole AWSXRayDaemonWriteAccess AWSLambda_FullAccess "
        "AWSLambda_ReadOnlyAccess AmazonS3FullAccess AmazonS3ReadOnlyAccess AmazonSQSFullAccess AmazonSNSFullAccess "
        "AmazonDynamoDBFullAccess CloudWatchLogsFullAccess AdministratorAccess PowerUserAccess ReadOnlyAccess"
    ).split():
        policy = iam.get_policy(PolicyArn=policies[name]["Arn"])["Policy"]
        assert policy["Description"]
        version = iam.get_policy_version(PolicyArn=policy["Arn"], VersionId=policy["DefaultVersionId"])["PolicyVersion"]
        assert version["Document"]["Version"] == "2012-10-17" and version["IsDefaultVersion"]
    basic = iam.get_policy_version(PolicyArn=BASIC, VersionId="v1")["PolicyVersion"]["Document"]
    assert basic["Statement"] == [
        {"Effect": "Allow", "Action": ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], "Resource": "*"}
    ]
    assert refused(iam.delete_policy, PolicyArn=BASIC)[0] == "AccessDenied"
    assert refused(iam.get_policy, PolicyArn="arn:aws:iam::aws:policy/NoSuch")[0] == "NoSuchEntity"


def test_tags(iam):
    role = make_role(iam)["RoleName"]
    arn = make_policy(iam)["Arn"]
    for tag, untag, tags, target in [
        (iam.tag_role, iam.untag_role, iam.list_role_tags, {"RoleName": role}),
        (iam.tag_policy, iam.untag_policy, iam.list_policy_tags, {"PolicyArn": arn}),
    ]:
        assert tags(**target)["Tags"] == []
        tag(**target, Tags=[{"Key": "k%02d" % n, "Value": ""} for n in range(50)])
        tag(**target, Tags=[{"Key": "K01", "Value": "new"}])
        assert refused(tag, **target, Tags=[{"Key": "one more", "Value": ""}]) == (
            "LimitExceeded", "The number of tags has reached the maximum limit.", 409
        )  # fmt: skip
        assert refused(tag, **target, Tags=[{"Key": "a", "Value": ""}, {"Key": "A", "Value": ""}])[0] == "InvalidInput"
        untag(**target, TagKeys=["K%02d" % n for n in range(2, 50)])
        assert sorted((t["Key"], t["Value"]) for t in tags(**target)["Tags"]) == [("K01", "new"), ("k00", "")]
    iam.delete_role(RoleName=role)
    iam.delete_policy(PolicyArn=arn)


def test_paging(iam):
    prefix = "/%s/" % unique("p")
    names = sorted(make_role(iam, Path=prefix)["RoleName"] for _ in range(7))
    pages = list(iam.get_paginator("list_roles").paginate(PathPrefix=prefix, PaginationConfig={"PageSize": 3}))
    assert [len(page["Roles"]) for page in pages] == [3, 3, 1]
    assert [page["IsTruncated"] for page in pages] == [True, True, False]
    assert "Marker" not in pages[-1]
    assert [role["RoleName"] for page in pages for role in page["Roles"]] == names
    role = names[0]
    for n in range(3):
        iam.put_role_policy(RoleName=role, PolicyName="p%d" % n, PolicyDocument=json.dumps(POLICY))
    iam.tag_role(RoleName=role, Tags=[{"Key": "k%d" % n, "Value": ""} for n in range(3)])
    for operation, member, options in [
        ("list_role_policies", "PolicyNames", {"RoleName": role}),
        ("list_role_tags", "Tags", {"RoleName": role}),
        ("list_policies", "Policies", {"Scope": "AWS", "PathPrefix": "/service-role/"}),
        ("list_policy_versions", "Versions", {"PolicyArn": BASIC}),
        ("list_entities_for_policy", "PolicyRoles", {"PolicyArn": BASIC}),
        ("list_instance_profiles_for_role", "InstanceProfiles", {"RoleName": role}),
        ("list_account_aliases", "AccountAliases", {}),
    ]:
        whole = getattr(iam, operation)(**options)[member]
        pages = iam.get_paginator(operation).paginate(**options, PaginationConfig={"PageSize": 1})
        assert [item for page in pages for item in page[member]] == whole, operation
    assert refused(iam.list_roles, Marker="nonsense")[0] == "ValidationError"
    for n in range(3):
        iam.delete_role_policy(RoleName=role, PolicyName="p%d" % n)
    for name in names:
        iam.delete_role(RoleName=name)


def test_what_is_not_here_says_so(iam):
    code, message, status = refused(iam.create_user, UserName="x")
    assert (status, "iam:CreateUser" in message) == (501, True), code
    summary = iam.get_account_summary()["SummaryMap"]
    assert (summary["RolesQuota"], summary["Users"]) == (1000, 0)


def test_state_outlives_the_server(own_server):
    server = own_server
    server.start()
    iam = server.client("iam")
    made = make_role(iam, RoleName="kept")
    policy = make_policy(iam, PolicyName="kept")["Arn"]
    iam.attach_role_policy(RoleName="kept", PolicyArn=policy)
    server.kill()
    server.start()
    iam = server.client("iam")
    assert iam.get_role(RoleName="kept")["Role"]["RoleId"] == made["RoleId"]
    assert iam.list_attached_role_policies(RoleName="kept")["AttachedPolicies"][0]["PolicyArn"] == policy


def test_by_the_command_line(server):
    aws = server.aws
    name = unique("cli")
    trust = server.work / "trust.json"
    trust.write_text(json.dumps(LAMBDA_TRUST, indent=2))
    made = aws("iam", "create-role", "--role-name", name, "--assume-role-policy-document", "file://%s" % trust)["Role"]
    assert made["AssumeRolePolicyDocument"] == LAMBDA_TRUST
    aws("iam", "wait", "role-exists", "--role-name", name)
    aws("iam", "attach-role-policy", "--role-name", name, "--policy-arn", BASIC)
    attached = aws("iam", "list-attached-role-policies", "--role-name", name)["AttachedPolicies"]
    assert attached == [{"PolicyName": "AWSLambdaBasicExecutionRole", "PolicyArn": BASIC}]
    aws("iam", "put-role-policy", "--role-name", name, "--policy-name", "p", "--policy-document", json.dumps(POLICY))
    assert aws("iam", "get-role-policy", "--role-name", name, "--policy-name", "p")["PolicyDocument"] == POLICY
    assert name in [role["RoleName"] for role in aws("iam", "list-roles")["Roles"]]
    failed = aws("iam", "delete-role", "--role-name", name, check=False)
    assert failed.returncode != 0 and "DeleteConflict" in failed.stderr
    aws("iam", "delete-role-policy", "--role-name", name, "--policy-name", "p")
    aws("iam", "detach-role-policy", "--role-name", name, "--policy-arn", BASIC)
    aws("iam", "delete-role", "--role-name", name)
    assert "NoSuchEntity" in aws("iam", "get-role", "--role-name", name, check=False).stderr
