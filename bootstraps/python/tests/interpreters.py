"""Finds the Python interpreters of this host."""

import glob
import os
import re
import shutil
import subprocess

SUPPORTED = [(3, minor) for minor in range(8, 15)]


def _version(python):
    try:
        out = subprocess.run(
            [python, "-c", "import sys; print(*sys.version_info[:2])"],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=30,
        ).stdout.split()
        return int(out[0]), int(out[1])
    except (OSError, ValueError, IndexError, subprocess.TimeoutExpired):
        return None


def find():
    """One interpreter for each supported version that is here: `{(3, 12): path}`."""
    found = {}
    candidates = ["/usr/bin/python3.%d" % minor for _, minor in SUPPORTED]
    candidates += sorted(glob.glob(os.path.expanduser("~/.pyenv/versions/3.*/bin/python")))
    candidates += [shutil.which("python3.%d" % minor) or "" for _, minor in SUPPORTED]
    for path in candidates:
        if not os.path.isfile(path):
            continue
        # the names of distributions and pyenv tell the version; ask only in case of doubt
        named = re.search(r"(?:/versions/|/usr/bin/python)3\.(\d+)", path)
        version = (3, int(named.group(1))) if named else _version(path)
        if version in SUPPORTED and version not in found and _version(path) == version:
            found[version] = path
    return dict(sorted(found.items()))
