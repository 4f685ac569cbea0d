"""Every operation and every setting does what docs/reference/operations.md says of it: works, is refused by name, or is
missing; and of Lambda every error that the model names for an operation is caused by some test, or listed as a gap
with its reason."""

import os
import re
from pathlib import Path

import botocore.session
import pytest
from botocore.exceptions import ClientError

from harness import reference, seen
from harness.functions import ROLE, zip_of

SESSION = botocore.session.get_session()
SERVICES = {service: SESSION.get_service_model(service) for service in reference.services()}


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
def test_every_operation_answers_as_the_reference_says(answers, service):
    said = reference.states(service)
    wrong = []
    for operation in SERVICES[service].operation_names:
        status, code = answers[service, operation]
        state = said.get(operation, "missing")
        missing = status == 501 or code in ("NotImplementedException", "NotImplemented")
        if missing != (state == "missing"):
            wrong.append("%s is said to be %s, but answers %s %s" % (operation, state, status, code))
        if state == "refused" and not 400 <= status < 500:
            wrong.append("%s is said to be refused, but answers %s %s" % (operation, status, code))
        if status >= 500 and status != 501:
            wrong.append("%s fails with %s %s" % (operation, status, code))
    assert not wrong, "\n".join(wrong)
    assert set(said) <= set(SERVICES[service].operation_names)


# -- settings of functions

CODE = zip_of({"app.py": "def handler(event, context): pass\n"})
MACHINE = os.uname().machine.replace("aarch64", "arm64")
# For each setting a value that asks for something.
ASKED = {
    "Architectures": [MACHINE],
    "AcceleratorConfig": {"AcceleratorMemorySize": 1},
    "CapacityProviderConfig": {
        "LambdaManagedInstancesCapacityProviderConfig": {
            "CapacityProviderArn": "arn:aws:lambda:us-east-1:000000000000:capacity-provider:x"
        }
    },
    "DeadLetterConfig": {"TargetArn": "arn:aws:sqs:us-east-1:000000000000:q"},
    "Description": "of it",
    "DryRun": True,
    "DurableConfig": {"ExecutionTimeout": 10},
    "Environment": {"Variables": {"AA": "1"}},
    "EphemeralStorage": {"Size": 600},
    "FileSystemConfigs": [
        {"Arn": "arn:aws:elasticfilesystem:us-east-1:000000000000:access-point/fsap-00000000000000000", "LocalMountPath": "/mnt/x"}
    ],
    "FunctionName": "settings",
    "Handler": "other.handler",
    "ImageConfig": {"Command": ["x"]},
    "ImageUri": "000000000000.dkr.ecr.us-east-1.amazonaws.com/x:y",
    "KMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-4000-8000-000000000000",
    "Layers": ["arn:aws:lambda:us-east-1:000000000000:layer:settings:1"],
    "LoggingConfig": {"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO", "LogGroup": "/g"},
    "MemorySize": 256,
    "PackageType": "Zip",
    "Publish": True,
    "PublishTo": "LATEST_PUBLISHED",
    "Role": ROLE,
    "Runtime": "python3.12",
    "RuntimeConfig": {"RuntimeArn": "arn:aws:lambda:us-east-1:000000000000:runtime/python3.12-of-somebody", "RuntimeAlias": "y"},
    "S3Bucket": "bucket",
    "S3Key": "key",
    "S3ObjectStorageMode": "COPY",
    "S3ObjectVersion": "1",
    "SnapStart": {"ApplyOn": "PublishedVersions"},
    "SourceKMSKeyArn": "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-4000-8000-000000000000",
    "Tags": {"a": "b"},
    "TenancyConfig": {"TenantIsolationMode": "PER_TENANT"},
    "Timeout": 7,
    "TracingConfig": {"Mode": "Active"},
    "VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]},
    "ZipFile": CODE,
}  # fmt: skip
# What is answered is not what is asked.
NOT_READ_BACK = {"DryRun", "FunctionName", "Publish", "ZipFile", "Tags", "RevisionId", "Layers"}
IN_CODE = set(SERVICES["lambda"].shape_for("FunctionCode").members)


@pytest.fixture(scope="module")
def asked(server):
    """What settings name is there."""
    client = server.client()
    arn = client.publish_layer_version(LayerName="settings", Content={"ZipFile": CODE})["LayerVersionArn"]
    assert [arn] == ASKED["Layers"]
    publishers = {"SigningProfileVersionArns": ["arn:aws:signer:us-east-1:000000000000:/signing-profiles/p/0123456789"]}
    config = client.create_code_signing_config(AllowedPublishers=publishers)["CodeSigningConfig"]
    return {**ASKED, "CodeSigningConfigArn": config["CodeSigningConfigArn"]}


def settle(client):
    for waiter in ("function_active_v2", "function_updated_v2"):
        client.get_waiter(waiter).wait(FunctionName="settings", WaiterConfig={"Delay": 0.02, "MaxAttempts": 500})


@pytest.mark.allow_log(r"WARN lambkin_services::lambda")
@pytest.mark.parametrize("name", sorted(reference.settings()))
def test_every_setting_does_what_the_reference_says(client, asked, name):
    state, operations = reference.settings()[name]
    for operation in operations:
        created = {"Runtime": "python3.11", "Handler": "app.handler", "Role": ROLE, "Code": {"ZipFile": CODE}}
        if operation == "CreateFunction":
            request = created
        else:
            client.create_function(FunctionName="settings", **created)
            settle(client)
            request = {"ZipFile": CODE} if operation == "UpdateFunctionCode" else {}
        value = asked[name] if name != "RevisionId" else client.get_function_configuration(FunctionName="settings")["RevisionId"]
        place = request["Code"] if name in IN_CODE and operation == "CreateFunction" else request
        if name.startswith("S3") or name == "ImageUri":
            del place["ZipFile"]
        place[name] = value
        call = getattr(client, botocore.xform_name(operation))
        try:
            answer = call(**{"FunctionName": "settings", **request})
        except ClientError as caught:
            error = caught.response["Error"]
            assert state == "refused", (operation, error)
            assert error["Code"] == "InvalidParameterValueException", (operation, error)
            named = re.search(r"(?i)\b%s" % name, error["Message"]) or str(value) in error["Message"]
            assert named, (operation, error)
        else:
            assert state != "refused", operation
            assert name in NOT_READ_BACK or answer[name] == value, (operation, answer[name])
            settle(client)
        finally:
            if client.list_functions()["Functions"]:
                client.delete_function(FunctionName="settings")


# -- errors that the model names

# Errors that no test causes, whatever the operation.
ANYWHERE = {
    "ServiceException": "a fault of the server; test_faults.py causes some",
    "TooManyRequestsException": "one limit stands before all operations: test_limits.py",
    **{name: "settings that are refused: VpcConfig" for name in (
        "EC2AccessDeniedException", "EC2ThrottledException", "EC2UnexpectedException", "ENILimitReachedException",
        "ENINotReadyException", "InvalidSecurityGroupIDException", "InvalidSubnetIDException",
        "SubnetIPAddressLimitReachedException", "ResourceNotReadyException",
    )},
    **{name: "settings that are refused: FileSystemConfigs" for name in (
        "EFSIOException", "EFSMountConnectivityException", "EFSMountFailureException", "EFSMountTimeoutException",
        "S3FilesMountConnectivityException", "S3FilesMountFailureException", "S3FilesMountTimeoutException",
    )},
    **{name: "settings that are refused: KMSKeyArn" for name in (
        "KMSAccessDeniedException", "KMSDisabledException", "KMSInvalidStateException", "KMSNotFoundException",
    )},
    **{name: "settings that are refused: SnapStart" for name in (
        "SnapStartException", "SnapStartNotReadyException", "SnapStartTimeoutException",
        "SnapStartRegenerationFailureException",
    )},
    **{name: "settings that are refused: RuntimeConfig" for name in (
        "RuntimeAliasDeletedException", "RuntimeVersionDeletedException", "CodeArtifactUserDeletedException",
        "CodeArtifactUserFailedException", "CodeArtifactUserPendingException",
    )},
    **{name: "settings that are refused: CapacityProviderConfig, DurableConfig" for name in (
        "FunctionVersionsPerCapacityProviderLimitExceededException", "NoPublishedVersionException",
        "ServiceQuotaExceededException", "ModeNotSupportedException", "DurableExecutionAlreadyStartedException",
    )},
    **{name: "no function has a code signing configuration" for name in (
        "CodeVerificationFailedException", "InvalidCodeSignatureException",
    )},
    "PublicPolicyException": "there is no setting that blocks public policies",
    "RecursiveInvocationException": "nothing detects loops yet",
    "InvalidRuntimeException": "a function with such a runtime is Failed, which AWS answers by ResourceConflictException",
    "InvalidZipFileException": "packages are checked when they come",
    "RequestTooLargeException": "AWS's own code for it is RequestEntityTooLargeException: test_invoke.py",
    "SerializedRequestEntityTooLargeException": "as RequestTooLargeException",
    "UnsupportedMediaTypeException": "any media type is taken, as by AWS, if the body is JSON",
}  # fmt: skip
# `operations error`: why no test causes it.
GAPS = {
    "DeleteAlias DeleteFunctionConcurrency DeleteFunctionEventInvokeConfig DeleteFunctionUrlConfig DeleteResourcePolicy "
    "DeleteFunctionCodeSigningConfig DeleteProvisionedConcurrencyConfig "
    "PutFunctionConcurrency PutFunctionEventInvokeConfig PutFunctionRecursionConfig PutRuntimeManagementConfig "
    "PutResourcePolicy RemoveLayerVersionPermission TagResource UntagResource UpdateAlias "
    "UpdateEventSourceMapping DeleteEventSourceMapping DeleteCodeSigningConfig UpdateFunctionEventInvokeConfig "
    "UpdateFunctionUrlConfig PutFunctionCodeSigningConfig PutFunctionScalingConfig "
    "ResourceConflictException": "changes of one thing wait for each other",
    "DeleteCodeSigningConfig DeleteEventSourceMapping GetCodeSigningConfig GetEventSourceMapping DeleteResourcePolicy "
    "GetResourcePolicy DeleteLayerVersion GetLayerVersion GetLayerVersionByArn GetLayerVersionPolicy GetFunctionRecursionConfig "
    "PutFunctionRecursionConfig RemoveLayerVersionPermission GetFunctionScalingConfig GetFunctionCodeSigningConfig "
    "InvalidParameterValueException": "what could be wrong is against a constraint of the model: ValidationException",
    "CreateAlias AliasLimitExceededException": "AWS documents no number",
    "CreateFunction PublishLayerVersion ResourceNotFoundException": "code from S3 is refused",
    "DeleteLayerVersion ResourceNotFoundException": "one that is not there is as good as deleted",
    "PutResourcePolicy PolicyLengthExceededException": "the model's own bound is the limit",
    "GetFunctionCodeSigningConfig DeleteFunctionCodeSigningConfig UpdateFunctionCode UpdateFunctionConfiguration "
    "CodeSigningConfigNotFoundException": "no function has a code signing configuration",
    "PutFunctionCodeSigningConfig success": "refused, for no signing profile is known",
    "PutFunctionScalingConfig success": "refused, for there are no managed instances",
    "ListFunctionsByCodeSigningConfig page": "no function has a code signing configuration",
}


def whole_run(request):
    """Whether everything in this folder runs, so that what is not seen is not tested."""
    config = request.config
    if os.environ.get("COVERAGE"):
        return True
    there = set(Path(__file__).parent.glob("test_*.py"))
    return not config.option.keyword and not config.option.markexpr and {item.path for item in request.session.items} >= there


@pytest.mark.last
def test_every_documented_error_is_caused(request):
    if not whole_run(request):
        pytest.skip("only with all tests of this folder")
    if request.session.testsfailed and not os.environ.get("COVERAGE"):
        pytest.skip("tests have failed that may have caused some")
    model, said = SERVICES["lambda"], reference.states("lambda")
    untested, stale = [], []
    for name in model.operation_names:
        outcomes = seen.outcomes("lambda", name)
        if said[name] == "missing":
            continue
        if "success" not in outcomes:
            untested.append("%s success" % name)
        if "NextMarker" in (getattr(model.operation_model(name).output_shape, "members", None) or {}) and "page" not in outcomes:
            untested.append("%s page" % name)
        untested += [
            "%s %s" % (name, shape.name)
            for shape in model.operation_model(name).error_shapes
            if shape.name not in outcomes and shape.name not in ANYWHERE
        ]
    gaps = {"%s %s" % (name, gap.split()[-1]) for gap in GAPS for name in gap.split()[:-1]}
    stale = sorted(gaps - set(untested))
    untested = sorted(set(untested) - gaps)
    assert not untested, "no test causes these; add one, or say in GAPS why there is none:\n" + "\n".join(untested)
    assert not stale, "tests cause these, or they are gone; take them off GAPS:\n" + "\n".join(stale)
