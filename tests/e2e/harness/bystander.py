"""A function that has nothing to do with what else goes on, and how its invocations fare meanwhile.

They come at a steady pace from a process of their own (`steady.py`), so that the load which a
test makes does not count as the server's. The process writes a line for each: start and duration in seconds
by the monotonic clock, which all processes share, and what was wrong or `ok`.
"""

import contextlib
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from .functions import Factory

# Between the ends of two invocations, seconds.
PACE = 0.02
# Looked at before a fault, seconds.
QUIET = 0.3
# What 99 of 100 invocations must stay below, seconds: far beyond what is expected, for machines that are busy.
BOUND = 5.0

SOURCE = "def handler(event, context):\n    return [event, context.aws_request_id]\n"


@dataclass
class Sample:
    begun: float
    took: float
    said: str


@dataclass
class Row:
    """A line of the table."""

    case: str
    before: list
    during: list
    note: str

    def cells(self):
        def times(samples):
            took = sorted(sample.took * 1000 for sample in samples if sample.said == "ok")
            if not took:
                return ["-", "-", "-"]
            return ["%.1f" % took[min(len(took) - 1, int(len(took) * part))] for part in (0.5, 0.99, 1)]

        failed = sum(sample.said != "ok" for sample in self.during)
        return [self.case, str(len(self.during)), str(failed), *times(self.before)[:2], *times(self.during), self.note]


# Filled by the tests, printed at the end.
TABLE = []
HEADS = ["case", "calls", "failed", "p50", "p99", "p50", "p99", "max", ""]


def table():
    """The table as lines of text."""
    rows = [HEADS] + [row.cells() for row in TABLE]
    widths = [max(len(row[column]) for row in rows) for column in range(len(HEADS))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0])] + [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1])] + [row[-1]]
        lines.append("  ".join(cells).rstrip())
    return lines


class Bystander:
    """The function and the process that invokes it."""

    def __init__(self, server):
        self.server = server
        self.function = Factory(server)(SOURCE, name="bystander")
        # One environment, warm; a second call would find it.
        self.function.result(0)
        self.path = server.work / "bystander.samples"
        self.path.touch()
        self.read = 0
        self.process = None
        self.begin()

    def begin(self):
        credentials = self.server.credentials()
        order = {
            "port": self.server.port, "function": self.function.name, "key": credentials.access_key,
            "secret": credentials.secret_key, "samples": str(self.path), "pace": PACE,
        }  # fmt: skip
        self.process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("steady.py"))], stdin=subprocess.PIPE, text=True)
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        self.wait_for(5)

    def samples(self):
        """All samples so far."""
        found = []
        for line in self.path.read_text().splitlines(keepends=True):
            if line.endswith("\n"):
                begun, took, said = line.rstrip("\n").split(" ", 2)
                found.append(Sample(float(begun), float(took), said))
        return found

    def wait_for(self, count, seconds=30):
        """Waits for as many answers to invocations that begin from now on."""
        now = time.monotonic()
        while True:
            good = [sample for sample in self.samples() if sample.begun >= now and sample.said == "ok"]
            if len(good) >= count:
                return
            assert time.monotonic() < now + seconds, "the bystander is not answered: %s" % self.samples()[-3:]
            time.sleep(0.02)

    @contextlib.contextmanager
    def during(self, case, may_fail=None):
        """Notes how the invocations during the block fared. Each must succeed, unless what it said when it
        failed has `may_fail` in it."""
        quiet = time.monotonic()
        time.sleep(QUIET)
        begin = time.monotonic()
        row = Row(case, [], [], "")
        yield row
        # At least two, however short it was.
        self.wait_for(2)
        end = time.monotonic()
        for sample in self.samples():
            if quiet <= sample.begun < begin - sample.took:
                row.before.append(sample)
            elif sample.begun + sample.took >= begin and sample.begun < end:
                row.during.append(sample)
        TABLE.append(row)
        assert row.during, "the bystander was not invoked meanwhile"
        failed = [sample for sample in row.during if sample.said != "ok" and not (may_fail and may_fail in sample.said)]
        assert not failed, "another function failed meanwhile: %s of %s, such as %s" % (
            len(failed), len(row.during), failed[:3],
        )  # fmt: skip
        took = sorted(sample.took for sample in row.during)
        assert took[int(len(took) * 0.99)] < BOUND, "another function was held up: %s" % row.cells()

    def end(self):
        """Ends the process, and deletes the function if the server still runs."""
        if self.process is not None:
            self.process.stdin.close()
            self.process.wait(30)
            self.process = None
        if self.server.process is not None and self.function.name in self.server.functions:
            self.function.client = self.server.client("lambda")
            self.function.delete()
