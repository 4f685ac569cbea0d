"""AWS's Powertools for Python, unmodified, in a function."""

import json
import sysconfig
from pathlib import Path

import pytest

NAMES = ["aws_lambda_powertools", "jmespath", "typing_extensions.py"]

HANDLER = """
from aws_lambda_powertools import Logger, Metrics
from aws_lambda_powertools.event_handler import APIGatewayRestResolver
from aws_lambda_powertools.metrics import MetricUnit
from aws_lambda_powertools.utilities.typing import LambdaContext

logger = Logger(service="shop")
metrics = Metrics(namespace="Shop", service="shop")
app = APIGatewayRestResolver()

@app.get("/hello/<name>")
def hello(name):
    logger.info("greeting", extra={"who": name})
    metrics.add_metric(name="Greetings", unit=MetricUnit.Count, value=1)
    return {"hello": name}

@logger.inject_lambda_context(log_event=True)
@metrics.log_metrics(capture_cold_start_metric=True)
def handler(event: dict, context: LambdaContext) -> dict:
    return app.resolve(event, context)
"""


def installed():
    site = Path(sysconfig.get_paths()["purelib"])
    for name in NAMES:
        path = site / name
        if not path.exists():
            pytest.skip("%s is not installed" % name)
        for file in [path] if path.is_file() else path.rglob("*.py"):
            yield str(file.relative_to(site)), file.read_bytes()


def test_logger_metrics_and_events(create):
    function = create(files={"app.py": HANDLER, **dict(installed())}, MemorySize=512)
    event = {"httpMethod": "GET", "path": "/hello/you", "requestContext": {"path": "/hello/you", "stage": "x"}, "headers": {}}
    for cold in (True, False):
        answer = function.invoke(event, LogType="Tail")
        assert answer.json()["statusCode"] == 200 and json.loads(answer.json()["body"]) == {"hello": "you"}
        records = [json.loads(line) for line in answer.tail.splitlines() if line.startswith("{")]
        logged = [record for record in records if record.get("message") == "greeting"]
        assert [(record["who"], record["function_request_id"], record["cold_start"]) for record in logged] == [
            ("you", answer.request_id, cold)
        ]
        assert logged[0]["function_name"] == function.name and logged[0]["function_memory_size"] == "512"
        # the embedded metric format
        assert [record["Greetings"] for record in records if "Greetings" in record] == [[1.0]]
        assert ["ColdStart" in record for record in records].count(True) == (1 if cold else 0)
