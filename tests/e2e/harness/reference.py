"""What docs/reference/operations.md says of the operations and settings: the tests hold it against the server."""

import re
from functools import lru_cache

from .paths import ROOT

PAGE = ROOT / "docs/reference/operations.md"


@lru_cache(maxsize=None)
def _tables():
    """`{service: {heading: {name: [further cells]}}}`."""
    tables, service, heading = {}, None, None
    for line in PAGE.read_text().splitlines():
        if line.startswith("## "):
            service = re.search(r"`(\w+)`", line)
            service = service and tables.setdefault(service[1], {"": {}})
            heading = ""
        elif line.startswith("### ") and service is not None:
            heading = line[4:].strip()
            service[heading] = {}
        elif service is not None and line.startswith("| `"):
            cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
            service[heading][cells[0].strip("`")] = cells[1:]
    return tables


def services():
    """Names of the services."""
    return list(_tables())


def states(service):
    """`{operation: state}` of a service; what is not there is `missing`."""
    return {name: cells[-2] for name, cells in _tables()[service][""].items()}


def settings():
    """`{setting: (state, operations that take it)}` of functions."""
    table = _tables()["lambda"]["Settings of functions"]
    return {name: (cells[-2], cells[0].split(", ")) for name, cells in table.items()}
