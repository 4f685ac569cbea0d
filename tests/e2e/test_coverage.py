"""Every operation of the models is implemented, or answers that it is not; the gaps are listed by name."""

import json

import botocore.session
import pytest

# Operations that Lambkin implements. A new one moves here; the test says when the list is behind.
IMPLEMENTED = {
    "iam": """
        AttachRolePolicy CreatePolicy CreatePolicyVersion CreateRole DeletePolicy DeletePolicyVersion
        DeleteRole DeleteRolePermissionsBoundary DeleteRolePolicy DetachRolePolicy GetAccountSummary GetPolicy
        GetPolicyVersion GetRole GetRolePolicy ListAccountAliases ListAttachedRolePolicies
        ListEntitiesForPolicy ListInstanceProfilesForRole ListPolicies ListPolicyTags ListPolicyVersions
        ListRolePolicies ListRoleTags ListRoles PutRolePermissionsBoundary PutRolePolicy
        SetDefaultPolicyVersion TagPolicy TagRole UntagPolicy UntagRole UpdateAssumeRolePolicy UpdateRole
        UpdateRoleDescription
    """,
    "lambda": """
        CreateFunction DeleteFunction GetAccountSettings GetFunction GetFunctionConfiguration Invoke
        InvokeWithResponseStream ListFunctions
        ListTags ListVersionsByFunction TagResource UntagResource UpdateFunctionCode UpdateFunctionConfiguration
        GetAlias GetFunctionCodeSigningConfig GetFunctionConcurrency GetFunctionEventInvokeConfig
        GetFunctionRecursionConfig GetFunctionUrlConfig GetPolicy GetProvisionedConcurrencyConfig
        GetRuntimeManagementConfig ListAliases ListFunctionEventInvokeConfigs ListFunctionUrlConfigs
        ListProvisionedConcurrencyConfigs
        CreateAlias DeleteAlias PublishVersion PutFunctionRecursionConfig PutRuntimeManagementConfig UpdateAlias
        AddPermission DeleteResourcePolicy GetResourcePolicy PutResourcePolicy RemovePermission
        DeleteFunctionEventInvokeConfig PutFunctionEventInvokeConfig UpdateFunctionEventInvokeConfig
        CreateFunctionUrlConfig DeleteFunctionUrlConfig UpdateFunctionUrlConfig
        DeleteFunctionConcurrency GetFunctionScalingConfig PutFunctionConcurrency PutFunctionScalingConfig
        AddLayerVersionPermission DeleteLayerVersion GetLayerVersion GetLayerVersionByArn GetLayerVersionPolicy
        ListLayerVersions ListLayers PublishLayerVersion RemoveLayerVersionPermission
        CreateEventSourceMapping DeleteEventSourceMapping GetEventSourceMapping ListEventSourceMappings
        UpdateEventSourceMapping
        CreateCodeSigningConfig DeleteCodeSigningConfig DeleteFunctionCodeSigningConfig GetCodeSigningConfig
        ListCodeSigningConfigs ListFunctionsByCodeSigningConfig PutFunctionCodeSigningConfig UpdateCodeSigningConfig
    """,
    "logs": """
        CreateLogGroup CreateLogStream DeleteLogGroup DeleteLogStream DeleteRetentionPolicy DescribeLogGroups
        DescribeLogStreams FilterLogEvents GetLogEvents ListTagsForResource ListTagsLogGroup PutLogEvents
        PutRetentionPolicy TagLogGroup TagResource
    """,
    "sts": "AssumeRole GetCallerIdentity GetSessionToken",
}
IMPLEMENTED = {service: set(names.split()) for service, names in IMPLEMENTED.items()}

SESSION = botocore.session.get_session()
SERVICES = {service: SESSION.get_service_model(service) for service in IMPLEMENTED}


def sample(shape, depth=0):
    """A value that satisfies a shape."""
    kind = shape.type_name
    if shape.name == "PolicyDescriptorType":
        return {"arn": "arn:aws:iam::aws:policy/root-task/IAMAuditRootUserCredentials"}
    # in a form, what has no members is not there at all
    if shape.name == "DelegationPermission":
        return {"PolicyTemplateArn": "arn:aws:iam::aws:policy/x"}
    if kind == "map" and shape.name.lower().startswith("accountpropert"):
        return {"Name": "x"}
    if kind == "structure":
        return {name: sample(shape.members[name], depth + 1) for name in shape.required_members}
    if kind == "list":
        return [sample(shape.member, depth + 1)] * max(1, shape.metadata.get("min", 1)) if depth < 8 else []
    if kind == "map":
        return {}
    if kind == "string":
        if shape.enum:
            return shape.enum[0]
        return _text(shape)
    if kind in ("integer", "long", "float", "double"):
        return max(1, shape.metadata.get("min", 1))
    if kind == "boolean":
        return True
    if kind == "blob":
        return b"x"
    if kind == "timestamp":
        return 1700000000
    raise AssertionError(kind)


def _text(shape):
    import re

    candidates = [
        "x", "1", "nobody", "123456", "o-1234567890/r-1234", "arn:aws:lambda:us-east-1:000000000000:function:nobody", "a" * 36,
        "arn:aws:lambda:us-east-1:000000000000:event-source-mapping:00000000-0000-4000-8000-000000000000",
        "arn:aws:lambda:us-east-1:000000000000:code-signing-config:csc-00000000000000000",
        "arn:aws:lambda:us-east-1:000000000000:layer:l:1", "arn:aws:iam::000000000000:role/x",
        "arn:aws:lambda:us-east-1:000000000000:capacity-provider:x", "lambda:InvokeFunction",
        "arn:aws:lambda:us-east-1:000000000000:function:f:1/durable-execution/n/00000000-0000-4000-8000-000000000000",
        "arn:aws:s3:::x", "lambda:GetLayerVersion", "*", "123456789012", "sg-12345678", "subnet-12345678", "00000000-0000-4000-8000-000000000000", "/x", "$LATEST", "lambda.amazonaws.com",
    ]  # fmt: skip
    pattern = shape.metadata.get("pattern")
    low, high = shape.metadata.get("min", 0), shape.metadata.get("max", 1 << 20)
    for candidate in candidates:
        candidate = candidate.ljust(low, "x") if candidate in ("x", "1") else candidate
        if low <= len(candidate) <= high:
            try:
                if pattern is None or re.fullmatch(pattern, candidate):
                    return candidate
            except re.error:
                return candidate
    return "x" * max(1, low)


@pytest.fixture(scope="module")
def answers(server):
    """`{(service, operation): (status, code)}` of one request each."""
    from botocore.exceptions import ClientError

    found = {}
    for service, model in SERVICES.items():
        client = server.client(service)
        for operation in model.operation_names:
            shape = model.operation_model(operation).input_shape
            method = botocore.xform_name(operation)
            try:
                response = getattr(client, method)(**(sample(shape) if shape else {}))
                found[service, operation] = (response["ResponseMetadata"]["HTTPStatusCode"], None)
            except ClientError as error:
                response = error.response
                found[service, operation] = (response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Code"])
        client.close()
    return found


def test_the_models_are_those_pinned():
    assert len(SERVICES["lambda"].operation_names) == 91


@pytest.mark.parametrize("service", SERVICES)
def test_every_operation_answers(answers, service):
    gaps, wrong = [], []
    for operation in SERVICES[service].operation_names:
        status, code = answers[service, operation]
        missing = status == 501 or code in ("NotImplementedException", "NotImplemented")
        if operation in IMPLEMENTED[service]:
            if missing:
                wrong.append("%s is said to be implemented, but answers %s %s" % (operation, status, code))
        elif missing:
            gaps.append(operation)
        else:
            wrong.append("%s answers %s %s: implemented? then list it" % (operation, status, code))
        if code in ("InternalFailure", "ServiceException", "InternalServerError") or (status >= 500 and status != 501):
            wrong.append("%s fails with %s %s" % (operation, status, code))
    print("%s: %d of %d operations; gaps: %s" % (
        service, len(IMPLEMENTED[service]), len(SERVICES[service].operation_names), " ".join(sorted(gaps))))
    assert not wrong, "\n".join(wrong)


def test_the_list_names_operations_that_exist():
    for service, names in IMPLEMENTED.items():
        assert names <= set(SERVICES[service].operation_names), names - set(SERVICES[service].operation_names)
