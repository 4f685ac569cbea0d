"""Functions: create, read, change, list, delete; and what AWS says to mistakes."""

import base64
import hashlib
import io
import re
import shutil
import urllib.request
import zipfile

import pytest
from botocore.exceptions import ClientError

from harness.functions import ROLE, UUID, Factory, python, zip_of

ARN = "arn:aws:lambda:us-east-1:000000000000:function:"
CODE = zip_of({"app.py": "def handler(event, context):\n    return event\n"})


def refused(call, **arguments):
    """`(code, status, message)` of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"], response["Error"]["Message"]


def creation(name, **changes):
    request = {
        "FunctionName": name,
        "Runtime": python(),
        "Handler": "app.handler",
        "Role": ROLE,
        "Code": {"ZipFile": CODE},
    }
    request.update(changes)
    return {key: value for key, value in request.items() if value is not None}


def test_create_says_everything(server, client, create):
    create.made.append("all")
    server.functions.add("all")
    created = client.create_function(
        **creation(
            "all",
            Description="what it is",
            Timeout=5,
            MemorySize=256,
            Environment={"Variables": {"BB": "2", "AA": "1"}},
            Tags={"team": "blue"},
            EphemeralStorage={"Size": 1024},
            LoggingConfig={"LogFormat": "JSON", "ApplicationLogLevel": "WARN", "SystemLogLevel": "INFO"},
        )
    )
    assert created["ResponseMetadata"]["HTTPStatusCode"] == 201
    del created["ResponseMetadata"]
    assert re.fullmatch(UUID, created.pop("RevisionId"))
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+0000", created.pop("LastModified"))
    runtime_version = created.pop("RuntimeVersionConfig", None)
    if runtime_version:
        assert re.fullmatch(r"arn:aws:lambda:us-east-1::runtime:[0-9a-f]{64}", runtime_version["RuntimeVersionArn"])
    architectures = created.pop("Architectures")
    assert architectures in (["x86_64"], ["arm64"])
    assert created == {
        "FunctionName": "all",
        "FunctionArn": ARN + "all",
        "Runtime": python(),
        "Role": ROLE,
        "Handler": "app.handler",
        "CodeSize": len(CODE),
        "Description": "what it is",
        "Timeout": 5,
        "MemorySize": 256,
        "CodeSha256": base64.b64encode(hashlib.sha256(CODE).digest()).decode(),
        "Version": "$LATEST",
        "Environment": {"Variables": {"AA": "1", "BB": "2"}},
        "TracingConfig": {"Mode": "PassThrough"},
        "State": "Pending",
        "StateReason": "The function is being created.",
        "StateReasonCode": "Creating",
        "PackageType": "Zip",
        "EphemeralStorage": {"Size": 1024},
        "SnapStart": {"ApplyOn": "None", "OptimizationStatus": "Off"},
        "LoggingConfig": {
            "LogFormat": "JSON",
            "ApplicationLogLevel": "WARN",
            "SystemLogLevel": "INFO",
            "LogGroup": "/aws/lambda/all",
        },
    }
    client.get_waiter("function_active_v2").wait(FunctionName="all", WaiterConfig={"Delay": 1})
    got = client.get_function(FunctionName="all")
    configuration = got["Configuration"]
    assert (configuration["State"], configuration["LastUpdateStatus"]) == ("Active", "Successful")
    assert "StateReason" not in configuration and "StateReasonCode" not in configuration
    assert got["Tags"] == {"team": "blue"}
    assert got["Code"]["RepositoryType"] == "S3"
    with urllib.request.urlopen(got["Code"]["Location"]) as response:
        assert response.read() == CODE
    # the older waiter, which polls the configuration
    client.get_waiter("function_active").wait(FunctionName="all", WaiterConfig={"Delay": 1})


def test_defaults(create, client):
    create(name="plain", Timeout=3, MemorySize=128)
    configuration = client.get_function_configuration(FunctionName="plain")
    assert (configuration["Timeout"], configuration["MemorySize"]) == (3, 128)
    assert configuration["Description"] == ""
    assert configuration["EphemeralStorage"] == {"Size": 512}
    assert configuration["LoggingConfig"] == {"LogFormat": "Text", "LogGroup": "/aws/lambda/plain"}
    assert "Environment" not in configuration


def test_names_and_arns(create, client):
    create(name="named")
    for name in ("named", "named:$LATEST", "000000000000:function:named", ARN + "named", ARN + "named:$LATEST"):
        assert client.get_function_configuration(FunctionName=name)["FunctionName"] == "named"
    assert client.get_function(FunctionName="named")["Configuration"]["FunctionArn"] == ARN + "named"
    qualified = client.get_function(FunctionName="named", Qualifier="$LATEST")
    assert qualified["Configuration"]["FunctionArn"] == ARN + "named:$LATEST"


def test_exists_already(create, client):
    create(name="once")
    assert refused(client.create_function, **creation("once")) == (
        "ResourceConflictException",
        409,
        "Function already exist: once",
    )


@pytest.mark.parametrize("operation", ["get_function", "get_function_configuration", "delete_function", "invoke"])
def test_not_found(client, operation):
    assert refused(getattr(client, operation), FunctionName="nobody") == (
        "ResourceNotFoundException",
        404,
        "Function not found: " + ARN + "nobody",
    )


def test_qualifier_not_found(create, client):
    create(name="unversioned")
    assert refused(client.get_function, FunctionName="unversioned", Qualifier="7") == (
        "ResourceNotFoundException",
        404,
        "Function not found: " + ARN + "unversioned:7",
    )


VALIDATION = "1 validation error detected: Value '%s' at '%s' failed to satisfy constraint: Member must %s"


@pytest.mark.parametrize(
    "changes, code, message",
    [
        ({"Timeout": 0}, "ValidationException", VALIDATION % ("0", "timeout", "have value greater than or equal to 1")),
        ({"MemorySize": 127}, "ValidationException",
         VALIDATION % ("127", "memorySize", "have value greater than or equal to 128")),
        ({"Role": "nope"}, "ValidationException", None),
        ({"Handler": "a b"}, "ValidationException", None),
        ({"Runtime": "python9.9"}, "ValidationException|InvalidParameterValueException", None),
        ({"Runtime": None}, "InvalidParameterValueException",
         "Runtime and Handler are mandatory parameters for functions created with deployment packages."),
        ({"Handler": None}, "InvalidParameterValueException",
         "Runtime and Handler are mandatory parameters for functions created with deployment packages."),
        ({"Code": {}}, "InvalidParameterValueException", "Please provide a source for function code."),
        ({"Code": {"ZipFile": b"no zip"}}, "InvalidParameterValueException",
         "Could not unzip uploaded file. Please check your file, then try to upload again."),
        ({"Code": {"ZipFile": b""}}, "InvalidParameterValueException", "Uploaded file must be a non-empty zip"),
        ({"Environment": {"Variables": {"AWS_REGION": "x", "AWS_LAMBDA_FUNCTION_NAME": "y"}}},
         "InvalidParameterValueException", "Lambda was unable to configure your environment variables because the environment variables you have "
         "provided contains reserved keys that are currently not supported for modification. Reserved keys used in "
         "this request: AWS_LAMBDA_FUNCTION_NAME, AWS_REGION"),
        ({"Environment": {"Variables": {"AA": "x" * 4096}}}, "InvalidParameterValueException", None),
        ({"Environment": {"Variables": {"1A": "x"}}}, "ValidationException", None),
        ({"FunctionName": "x" * 65}, "ValidationException", None),
        ({"FunctionName": "a b"}, "ValidationException", None),
        ({"Description": "x" * 257}, "ValidationException", None),
        ({"LoggingConfig": {"LogFormat": "Text", "ApplicationLogLevel": "INFO"}}, "InvalidParameterValueException", None),
        ({"EphemeralStorage": {"Size": 511}}, "ValidationException",
         VALIDATION % ("511", "ephemeralStorage.size", "have value greater than or equal to 512")),
        ({"PackageType": "Image", "Runtime": None, "Handler": None, "Code": {"ImageUri": "x/y:z"}}, None, None),
        ({"VpcConfig": {"SubnetIds": ["subnet-1"], "SecurityGroupIds": ["sg-1"]}}, None, None),
        ({"PublishTo": "LATEST_PUBLISHED"}, None, None),
    ],
)  # fmt: skip
def test_refusals(client, changes, code, message):
    request = creation("refused", **changes)
    said = refused(client.create_function, **request)
    assert said[1] == 400
    if code:
        assert re.fullmatch(code, said[0]), said
    if message:
        assert said[2] == message
    assert said[2]
    if request["FunctionName"] == "refused":
        assert refused(client.get_function, FunctionName="refused")[0] == "ResourceNotFoundException"


def test_several_mistakes_are_counted(client):
    code, status, message = refused(client.create_function, **creation("x", Timeout=0, MemorySize=1))
    assert (code, status) == ("ValidationException", 400)
    assert message.startswith("2 validation errors detected: ")
    assert "at 'timeout' failed" in message and "at 'memorySize' failed" in message


def test_package_that_leaves_its_folder(server, client):
    code, status, _ = refused(client.create_function, **creation("evil", Code={"ZipFile": zip_of({"../evil.py": "x"})}))
    assert (code, status) == ("InvalidParameterValueException", 400)
    assert not list(server.work.rglob("evil.py"))


def test_package_too_large_unzipped(client):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open("big", "w") as out:
            for _ in range(263):
                out.write(bytes(1 << 20))
    said = refused(client.create_function, **creation("big", Code={"ZipFile": buffer.getvalue()}))
    assert said == ("InvalidParameterValueException", 400, "Unzipped size must be smaller than 262144000 bytes")


def test_update_code(create, client):
    function = create("def handler(e, c):\n    return 1\n", name="code")
    before = client.get_function_configuration(FunctionName="code")
    assert function.result() == 1
    package = zip_of({"app.py": "def handler(e, c):\n    return 2\n"})
    updated = client.update_function_code(FunctionName="code", ZipFile=package)
    assert updated["LastUpdateStatus"] in ("InProgress", "Successful")
    assert updated["CodeSha256"] == base64.b64encode(hashlib.sha256(package).digest()).decode()
    assert updated["RevisionId"] != before["RevisionId"]
    client.get_waiter("function_updated").wait(FunctionName="code", WaiterConfig={"Delay": 1})
    client.get_waiter("function_updated_v2").wait(FunctionName="code", WaiterConfig={"Delay": 1})
    assert function.result() == 2
    dry = client.update_function_code(FunctionName="code", ZipFile=CODE, DryRun=True)
    assert dry["CodeSha256"] != updated["CodeSha256"]
    assert function.result() == 2


def test_update_configuration(create, client):
    function = create(
        "import os\ndef handler(e, c):\n    return [os.environ.get('AA'), os.environ.get('BB'), c.memory_limit_in_mb]\n",
        env={"AA": "1"},
    )
    assert function.result() == ["1", None, "512"]
    function.update(Environment={"Variables": {"BB": "2"}}, MemorySize=256, Description="new", Timeout=9)
    assert function.result() == [None, "2", "256"]
    configuration = client.get_function_configuration(FunctionName=function.name)
    assert (configuration["Description"], configuration["Timeout"]) == ("new", 9)
    function.update(Environment={"Variables": {}})
    assert function.result() == [None, None, "256"]
    function.update(Handler="other.handler")
    assert function.fault()["errorType"] == "Runtime.ImportModuleError"


def test_revision_guards_updates(create, client):
    function = create()
    said = refused(
        client.update_function_configuration,
        FunctionName=function.name,
        Description="x",
        RevisionId="00000000-0000-4000-8000-000000000000",
    )
    assert said[:2] == ("PreconditionFailedException", 412)
    assert said[2] == (
        "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
        "retrieve the latest Revision Id"
    )
    revision = client.get_function_configuration(FunctionName=function.name)["RevisionId"]
    function.update(Description="y", RevisionId=revision)


def test_list_in_pages(create, client):
    names = ["page-%02d" % i for i in range(12)]
    for name in names:
        create(name=name, wait=False)
    listed = client.list_functions()["Functions"]
    assert [function["FunctionName"] for function in listed] == names
    assert "State" not in listed[0]
    pages = list(client.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 5}))
    assert [len(page["Functions"]) for page in pages] == [5, 5, 2]
    assert [f["FunctionName"] for page in pages for f in page["Functions"]] == names
    first = client.list_functions(MaxItems=3)
    client.delete_function(FunctionName=first["Functions"][-1]["FunctionName"])
    rest = client.list_functions(Marker=first["NextMarker"])
    assert [f["FunctionName"] for f in rest["Functions"]] == names[3:]
    assert refused(client.list_functions, MaxItems=0)[0] == "ValidationException"
    assert refused(client.list_functions, Marker="nonsense")[:2] == ("InvalidParameterValueException", 400)


def test_accounts_and_regions_are_apart(server, create, client):
    create(name="here")
    elsewhere = server.client("lambda", region="eu-west-1")
    assert elsewhere.list_functions()["Functions"] == []
    assert refused(elsewhere.get_function, FunctionName="here")[0] == "ResourceNotFoundException"
    code, status, message = refused(elsewhere.get_function, FunctionName=ARN + "here")
    assert (code, status) == ("ResourceNotFoundException", 404)
    assert message == "Functions from 'us-east-1' are not reachable in this region ('eu-west-1')"
    code, status, _ = refused(client.get_function, FunctionName=(ARN + "here").replace("000000000000", "1" * 12))
    assert (code, status) == ("AccessDeniedException", 403)


def test_tags(create, client):
    create(name="tagged", Tags={"a": "1"})
    client.tag_resource(Resource=ARN + "tagged", Tags={"b": "2", "a": "3"})
    assert client.list_tags(Resource=ARN + "tagged")["Tags"] == {"a": "3", "b": "2"}
    client.untag_resource(Resource=ARN + "tagged", TagKeys=["a", "zz"])
    assert client.get_function(FunctionName="tagged")["Tags"] == {"b": "2"}
    assert refused(client.list_tags, Resource=ARN + "nobody")[:2] == ("ResourceNotFoundException", 404)


def test_delete(create, client):
    function = create()
    function.result({})
    answer = client.delete_function(FunctionName=function.name)
    assert answer["ResponseMetadata"]["HTTPStatusCode"] == 204
    function.server.functions.discard(function.name)
    assert refused(function.invoke)[0] == "ResourceNotFoundException"
    # the name is free again
    create("def handler(e, c):\n    return 'again'\n", name=function.name)
    assert function.result() == "again"


@pytest.mark.allow_log("AWS no longer offers this runtime")
def test_runtime_that_is_not_here(own_server):
    own_server.variables = {"PATH": "/usr/bin:/bin", "HOME": "/nonexistent", "PYENV_ROOT": "/nonexistent"}
    own_server.start()
    client = own_server.client("lambda")
    names = ["python3.8", "python3.10", "python3.14"]
    absent = next(name for name in names if not shutil.which(name, path="/usr/bin:/usr/local/bin"))
    create = Factory(own_server)
    function = create(runtime=absent, wait=False, name="absent")
    with pytest.raises(Exception, match="Failed"):
        client.get_waiter("function_active_v2").wait(FunctionName="absent", WaiterConfig={"Delay": 1})
    configuration = client.get_function_configuration(FunctionName="absent")
    assert (configuration["State"], configuration["StateReasonCode"]) == ("Failed", "InvalidRuntime")
    assert absent in configuration["StateReason"]
    assert refused(function.invoke)[1] in (409, 502)
    create.clean()
