"""Looks for what a server leaves behind: processes, cgroups, mounts, descriptors, temporary files."""

import hashlib
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

CGROUPS = Path("/sys/fs/cgroup")
SETTLE_SECONDS = 20


def _parents():
    """`{pid: parent}` of all processes of the host."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = Path("/proc", entry, "stat").read_text()
            except OSError:
                continue
            parents[int(entry)] = int(stat.rpartition(")")[2].split()[1])
    return parents


def family(pid):
    """`{pid: start time}` of a process and its descendants."""
    parents = _parents()
    found = {pid}
    while True:
        more = {child for child, parent in parents.items() if parent in found} - found
        if not more:
            break
        found |= more
    return {member: start for member in found if (start := _start_time(member)) is not None}


def _start_time(pid):
    try:
        fields = Path("/proc", str(pid), "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] == "Z" else fields[19]


def alive(processes):
    """Those of `family()`'s processes that still run."""
    return sorted(pid for pid, start in processes.items() if _start_time(pid) == start)


def cgroups(data_dir):
    """Folders of the server on `data_dir` in all cgroup hierarchies."""
    # the name is that of crates/lambkin/src/serve.rs
    instance = "lambkin-" + hashlib.sha256(os.path.realpath(data_dir).encode()).hexdigest()[:12]
    found = set()
    for folder, names, _ in os.walk(CGROUPS):
        found.update(os.path.join(folder, name) for name in names if instance in os.path.join(folder, name))
        if folder.count("/") - str(CGROUPS).count("/") >= 5:
            names.clear()
    return found


def network(data_dir):
    """Links, set elements, tables and routes of the server on `data_dir`: `(of sandboxes, of the server)`."""
    # the names are those of crates/sandbox/src/net
    instance = hashlib.sha256(os.path.realpath(data_dir).encode()).hexdigest()[:12]
    number = 0x811C9DC5
    for byte in instance.encode():
        number = (number ^ byte) * 0x01000193 % 2**32
    links = [name for name in os.listdir("/sys/class/net") if name.startswith("lbk%08x" % number)]
    table = "lambkin_" + instance
    sets = _output("nft", "list", "table", "inet", table)
    elements = []
    for name, body in re.findall(r"set (\w+) \{(.*?)\n\t\}", sets, re.S):
        if re.match("internet|learned|list_", name):
            for listed in re.findall(r"elements = \{(.*?)\}", body, re.S):
                elements += [element.strip() for element in listed.split(",")]
    routes = [line for line in _output("ip", "-4", "route").splitlines() if "metric %d" % number in line]
    return links + elements, [table] * bool(sets) + routes


def _output(*command):
    if not shutil.which(command[0]):
        return ""
    return subprocess.run(command, capture_output=True, text=True).stdout


def mounts(pid="self"):
    """Mount points and sources seen by a process."""
    try:
        text = Path("/proc", str(pid), "mountinfo").read_text()
    except OSError:
        return []
    return sorted(line.split(" ", 3)[3] for line in text.splitlines())


def descriptors(pid):
    """What the descriptors of a process are, without regular files."""
    found = []
    folder = "/proc/%s/fd" % pid
    try:
        names = os.listdir(folder)
    except OSError:
        return found
    for name in names:
        try:
            target = os.readlink(os.path.join(folder, name))
        except OSError:
            continue
        if not target.startswith("/"):
            found.append(target.split(":")[0] if not target.startswith("anon_inode") else target)
    return sorted(found)


def until(problem):
    """Waits for `problem()` to be falsy; what it says at the end is the failure."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while True:
        said = problem()
        if not said:
            return
        assert time.monotonic() < deadline, said
        time.sleep(0.02)


def zygotes(pid, pids):
    """Those of `pids` that are zygotes of the server `pid`: they stay while there are none of their forks."""
    found = set()
    for member in pids:
        try:
            groups = Path("/proc", str(member), "cgroup").read_text()
            command = Path("/proc", str(member), "cmdline").read_bytes()
        except OSError:
            continue
        # without cgroups they are known by their parent, the spawner, whose other children are not executed
        child = pid in (parents := _parents()).values() and parents.get(parents.get(member)) == pid
        if "/zygote-" in groups or (child and b"bootstrap.py" in command):
            found.add(member)
    return found


class Baseline:
    """A server's state before any function, to which it must come back."""

    def __init__(self, server):
        self.server = server
        self.pid = server.process.pid
        self.family = family(self.pid)
        self.cgroups = cgroups(server.data_dir)
        self.network = set(network(server.data_dir)[0])
        assert self.cgroups or not server.cgroups, "no cgroups of this server: the look for leaks would be blind"
        self.mounts = {}
        self.descriptors = {pid: descriptors(pid) for pid in self.family}

    def assert_idle(self):
        """No sandbox is left of a running server that has no functions any more."""
        self.server.close_clients()

        def problem():
            extra = set(family(self.pid)) - set(self.family)
            kept = zygotes(self.pid, extra)
            extra -= kept
            if extra:
                return "processes left: %s" % [_describe(pid) for pid in extra]
            more = cgroups(self.server.data_dir) - self.cgroups
            groups = {os.path.basename(path) for path in more if os.path.basename(path).startswith("zygote-")}
            more = [path for path in more if os.path.basename(path) not in groups]
            if more:
                return "cgroups left: %s" % sorted(more)
            if self.server.cgroups and len(groups) != len(kept):
                return "%d zygotes, but the cgroups %s" % (len(kept), sorted(groups))
            more = set(network(self.server.data_dir)[0]) - self.network
            if more:
                return "network of sandboxes left: %s" % sorted(more)
            for pid in self.family:
                # the spawner arranges its own namespace at the first sandbox
                seen = mounts(pid)
                known = self.mounts.setdefault(pid, seen)
                if len(seen) > len(known):
                    return "mounts of %s: %s more, such as %s" % (pid, len(seen) - len(known), set(seen) - set(known))
                now = descriptors(pid)
                # the spawner's of each zygote: its process, a socket, its output, events of its memory
                if len(now) > len(self.descriptors[pid]) + 4 * len(kept):
                    connections = subprocess.run(["ss", "-tnp"], capture_output=True, text=True).stdout if shutil.which("ss") else ""
                    mine = [line for line in connections.splitlines() if ":%d " % self.server.port in line]
                    return "descriptors of %s: %s, were %s; connections: %s" % (pid, now, self.descriptors[pid], mine)
            return self._files()

        until(problem)

    def _files(self):
        left = [str(path) for path in self.server.temp_dir.rglob("*")]
        if left:
            return "temporary files left: %s" % left
        data = self.server.data_dir
        # the folder `tmp` itself may stay
        left = [
            str(path)
            for path in data.rglob("*")
            if path.parent.name == "tmp" or re.match(r"\.?(tmp|temp|part)[-.]|.*\.(tmp|part)$", path.name)
        ]
        return left and "temporary files left in the data folder: %s" % left

    def assert_all_gone(self, processes):
        """Nothing is left of a server that has ended."""

        def problem():
            left = alive(processes)
            if left:
                return "processes left: %s" % [_describe(pid) for pid in left]
            more = cgroups(self.server.data_dir)
            if more:
                return "cgroups left: %s" % sorted(more)
            more = sum(network(self.server.data_dir), [])
            if more:
                return "network left: %s" % more
            data = str(self.server.data_dir)
            left = [line for line in mounts() if data in line]
            if left:
                return "mounts left: %s" % left
            return self._files()

        until(problem)


def _describe(pid):
    try:
        command = Path("/proc", str(pid), "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    except OSError:
        command = "?"
    return "%s (%s)" % (pid, command.strip())
