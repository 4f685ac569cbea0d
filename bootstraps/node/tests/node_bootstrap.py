"""Starts the Node.js bootstrap; finds the Node.js versions of this host and AWS's own clients for them."""

import glob
import os
import re
import subprocess

import channel

BOOTSTRAP = os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bootstrap.cjs")
CACHE = os.environ.get("LAMBKIN_CI_CACHE") or os.path.expanduser("~/.cache/lambkin-ci")
SUPPORTED = (14, 16, 18, 20, 22, 24, 26)
# The first that has no callbacks.
ASYNC_ONLY = 24

# The runtimes with callbacks have a client of their own, as on AWS.
_ORACLES = (("4.0.2", "index.mjs", ASYNC_ONLY, 99), ("3.3.0", "bin/index.mjs", 0, ASYNC_ONLY - 1))


def _version(node):
    try:
        out = subprocess.run([node, "--version"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=30).stdout
        return int(re.match(rb"v(\d+)\.", out)[1])
    except (OSError, TypeError, subprocess.TimeoutExpired):
        return None


def find():
    """One Node for each supported major version that is here: `{22: path}`."""
    found = {}
    candidates = [os.path.join(folder, "node") for folder in os.environ.get("PATH", "").split(":")]
    candidates += sorted(glob.glob(os.path.join(CACHE, "node/*/bin/node")))
    for path in candidates:
        version = _version(path) if os.path.isfile(path) else None
        if version in SUPPORTED:
            found.setdefault(version, os.path.realpath(path))
    return dict(sorted(found.items()))


def oracle(version):
    """The command line of AWS's client for a version without the Node itself, or None where it is not built."""
    for release, entry, first, last in _ORACLES:
        path = os.path.join(CACHE, "aws-lambda-ric", release, "node_modules/aws-lambda-ric", entry)
        if first <= version <= last and os.path.isfile(path):
            return path
    return None


class Runtime(channel.Runtime):
    """One process of the bootstrap."""

    def __init__(self, node, files, handler="app.handler", env=None, task_root=None, flags=()):
        super().__init__([node, *flags, BOOTSTRAP], files, handler, env, task_root)
