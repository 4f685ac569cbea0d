"""A data folder that an older program wrote: functions and logs are there and work."""

import shutil

from harness.functions import pythons
from harness.paths import ROOT

FIXTURES = ROOT / "crates/store/tests/fixtures"


def test_version_1(own_server):
    shutil.copytree(FIXTURES / "v1", own_server.data_dir)
    own_server.data_dir.chmod(0o700)
    own_server.start()
    client = own_server.client("lambda")
    (listed,) = client.list_functions()["Functions"]
    function = client.get_function(FunctionName="hello")
    assert function["Configuration"]["FunctionArn"] == listed["FunctionArn"]
    assert (listed["Description"], listed["MemorySize"], listed["Timeout"]) == ("made long ago", 256, 20)
    assert function["Tags"] == {"team": "blue"}
    assert function["Configuration"]["Environment"]["Variables"] == {"GREETING": "moin"}
    logs = own_server.client("logs")
    found = {group["logGroupName"]: group.get("retentionInDays") for group in logs.describe_log_groups()["logGroups"]}
    assert found == {"/aws/lambda/hello": None, "app": 3653}
    events = logs.get_log_events(logGroupName="app", logStreamName="one", startFromHead=True)["events"]
    assert [event["message"] for event in events] == ["line 0", "line 1", "line 2"]
    printed = logs.filter_log_events(logGroupName="/aws/lambda/hello", filterPattern='"from the past"')["events"]
    assert [event["message"] for event in printed] == ["from the past 1\n", "from the past 2\n"]
    if "python3.11" in pythons():
        answer = client.invoke(FunctionName="hello", Payload=b'{"n": 3}')
        assert answer["Payload"].read() == b'{"n": 3, "greeting": "moin"}'
        client.update_function_configuration(FunctionName="hello", Description="made anew")
        client.get_waiter("function_updated_v2").wait(FunctionName="hello", WaiterConfig={"Delay": 1})
    client.delete_function(FunctionName="hello")
