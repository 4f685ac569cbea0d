"""The fault suite: what goes wrong for one function or caller must not be felt by another.

The short form is part of `tests/e2e/run`. `LONG=1` takes minutes and more of everything."""

import contextlib
import os
import uuid

import pytest

from harness import bystander, leaks
from harness.functions import Factory

LONG = os.environ.get("LONG", "") not in ("", "0")


def pytest_terminal_summary(terminalreporter):
    if bystander.TABLE:
        terminalreporter.section("another function meanwhile (milliseconds: p50 and p99 before; p50, p99 and most during)")
        for line in bystander.table():
            terminalreporter.write_line(line)


@pytest.fixture(scope="session")
def scale():
    """Picks a number: `scale(short, long)`."""
    return lambda short, long: long if LONG else short


class World:
    """A server with a bystander."""

    def __init__(self, server):
        self.server = server
        self.bystander = bystander.Bystander(server)
        self.create = Factory(server)
        self.baseline = leaks.Baseline(server)

    @contextlib.contextmanager
    def during(self, case, may_fail=None):
        """A fault: see `Bystander.during`. Afterwards nothing is left of it, but for the functions."""
        with self.bystander.during(case, may_fail) as row:
            yield row

    def function(self, *arguments, **options):
        options.setdefault("name", "fault-" + uuid.uuid4().hex[:8])
        return self.create(*arguments, **options)

    def clean(self):
        """Deletes the functions; the server must get back to what it was."""
        self.create.clean()
        self.create.made.clear()
        self.baseline.assert_idle()


@pytest.fixture(scope="session")
def faulty(serve):
    """The world that most tests share."""
    # More than there is: the bystander's environment is not to be given up for another's.
    for server in serve(args=["--memory-mb", "4000000"]):
        world = World(server)
        yield world
        world.bystander.end()


@pytest.fixture
def world(faulty):
    """The world, in which nothing is left of a test afterwards."""
    yield faulty
    faulty.clean()


@pytest.fixture
def own_world(own_server):
    """Makes the world of a server of this test alone."""
    worlds = []

    def make():
        worlds.append(World(own_server.start()))
        return worlds[-1]

    yield make
    for world in worlds:
        world.create.clean()
        world.bystander.end()
