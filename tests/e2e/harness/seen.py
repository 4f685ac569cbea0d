"""What the tests have seen of each operation through boto3: success, pages, and which errors."""

from collections import defaultdict

_OUTCOMES = defaultdict(set)


def watch(client):
    """Notes what a client is answered."""
    client.meta.events.register("after-call", _note)


def _note(http_response, parsed, model, **_):
    outcomes = _OUTCOMES[model.service_model.service_name, model.name]
    if http_response.status_code >= 300:
        outcomes.add(parsed.get("Error", {}).get("Code"))
        return
    outcomes.add("success")
    if parsed.get("NextMarker"):
        outcomes.add("page")


def outcomes(service, operation):
    """`success`, `page` (there was more than one) and the codes of errors."""
    return _OUTCOMES[service, operation]
