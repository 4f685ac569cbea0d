"""boto3 inside a function's zip, from the tests' own environment."""

from pathlib import Path

import botocore

SITE = Path(botocore.__file__).parents[1]
SERVICES = ("sts", "lambda", "logs")


def boto3_files():
    """`{path in the zip: bytes}` of boto3 and what it needs, for a few services."""
    files = {}
    for package in ("boto3", "botocore", "s3transfer", "urllib3", "dateutil", "jmespath", "six.py"):
        root = SITE / package
        for path in [root] if root.is_file() else sorted(root.rglob("*")):
            name = path.relative_to(SITE)
            parts = name.parts
            if not path.is_file() or "__pycache__" in parts or parts[:2] == ("boto3", "examples"):
                continue
            if parts[:2] == ("botocore", "data") and len(parts) > 3 and parts[2] not in SERVICES:
                continue
            files[str(name)] = path.read_bytes()
    return files
