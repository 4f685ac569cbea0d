"""An outside for functions: a network namespace with public addresses, web and name servers in it."""

import ipaddress
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

_NUMBERS = itertools.count()

# Runs in the namespace. Web: tells the peer's address. DNS: see NAMES; what it was asked goes to stdout.
_SERVERS = r"""
import json, socket, struct, sys, threading, time

address, other, private = sys.argv[1:]
NAMES = {
    "web.test": [(1, address)], "two.test": [(300, address), (300, other)], "other.test": [(300, other)],
    "private.test": [(300, private)], "alias.test": "web.test", "big.test": [(300, "203.0.113.%d" % n) for n in range(1, 61)],
}
lock = threading.Lock()
waiting = [0, 0]

def web(port):
    listener = socket.create_server(("0.0.0.0", port), backlog=100)
    def answer(connection, peer):
        try:
            connection.recv(1000)
            body = ("peer " + peer[0]).encode()
            connection.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            connection.shutdown(socket.SHUT_WR)
            connection.recv(1)
        except OSError:
            pass
        connection.close()
    while True:
        threading.Thread(target=answer, args=listener.accept(), daemon=True).start()

def encode(name):
    return b"".join(bytes([len(label)]) + label.encode() for label in name.split(".")) + b"\0"

def respond(query, udp):
    at, labels = 12, []
    while query[at]:
        labels.append(query[at + 1 : at + 1 + query[at]].decode())
        at += query[at] + 1
    name = ".".join(labels).lower()
    kind, = struct.unpack("!H", query[at + 1 : at + 3])
    print(json.dumps([name, kind, "udp" if udp else "tcp"]), flush=True)
    if name.startswith("slow"):
        return None
    records, found = b"", NAMES.get(name)
    count = 0
    if isinstance(found, str):
        data = encode(found)
        records += b"\xc0\x0c" + struct.pack("!HHIH", 5, 1, 300, len(data)) + data
        count, owner, found = 1, encode(found), NAMES[found]
    else:
        owner = b"\xc0\x0c"
    code = 0 if found is not None else 3
    for ttl, value in found or [] if kind == 1 else []:
        records += owner + struct.pack("!HHIH", 1, 1, ttl, 4) + socket.inet_aton(value)
        count += 1
    cut = udp and len(records) > 480
    if cut:
        records, count = b"", 0
    return query[:2] + struct.pack("!HHHHH", 0x8180 | (0x200 if cut else 0) | code, 1, count, 0, 0) + query[12 : at + 5] + records

def dns_udp():
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("0.0.0.0", 53))
    while True:
        query, peer = sock.recvfrom(4096)
        answer = respond(query, True)
        if answer:
            sock.sendto(answer, peer)

def dns_tcp():
    listener = socket.create_server(("0.0.0.0", 53))
    while True:
        connection, _ = listener.accept()
        length, = struct.unpack("!H", connection.recv(2))
        answer = respond(connection.recv(length), False)
        connection.sendall(struct.pack("!H", len(answer)) + answer)
        connection.close()

for target, arguments in ((web, (80,)), (web, (81,)), (dns_udp, ()), (dns_tcp, ())):
    threading.Thread(target=target, args=arguments, daemon=True).start()
time.sleep(0.1)
print(json.dumps("ready"), flush=True)
sys.stdin.read()
"""


def missing():
    """Why there can be no outside here; None if there can."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    for program in ("ip", "nft", "unshare", "nsenter"):
        if not shutil.which(program):
            return "the program %s is missing" % program
    return None


def ip(*arguments, check=True):
    done = subprocess.run(["ip", *map(str, arguments)], capture_output=True, text=True)
    assert done.returncode == 0 or not check, (arguments, done.stderr)
    return done


class Outside:
    """Two addresses of the block for documentation and a private one, which the host has routes to."""

    def __init__(self, folder):
        self.name = "oute%dx%d" % (os.getpid(), next(_NUMBERS))
        self.log = Path(folder, self.name)
        self.resolv_conf = Path(folder, self.name + ".conf")
        self._choose()
        self.resolv_conf.write_text("nameserver %s\n" % self.address)
        # not by `ip netns`, whose mounts every process of the host would see
        with open(self.log, "wb") as log:
            self.process = subprocess.Popen(
                ["unshare", "--net", sys.executable, "-c", _SERVERS, self.address, self.other, self.private],
                stdin=subprocess.PIPE,
                stdout=log,
            )
        try:
            while "ready" not in self.log.read_text():
                assert self.process.poll() is None
            self._connect()
        except BaseException:
            self.close()
            raise

    def run(self, *command):
        """Runs a program in the namespace."""
        command = ["nsenter", "-t", str(self.process.pid), "-n", *map(str, command)]
        return subprocess.run(command, capture_output=True, text=True)

    def _ip(self, *arguments):
        done = self.run("ip", *arguments)
        assert done.returncode == 0, (arguments, done.stderr)
        return done.stdout

    def _choose(self):
        blocks = list(ipaddress.ip_network("203.0.113.0/24").subnets(new_prefix=29))
        start = os.getpid() % len(blocks)
        for block in blocks[start:] + blocks[:start]:
            if "%s " % block not in ip("-4", "route", "show", "table", "all").stdout:
                break
        self.host, self.address, self.other = [str(block[n]) for n in (1, 2, 3)]
        # a private network behind the outside's first address
        self.private = "10.9.%d.7" % blocks.index(block)

    def _connect(self):
        ip("link", "add", self.name, "type", "veth", "peer", "name", "eth0", "netns", self.process.pid)
        ip("addr", "add", self.host + "/29", "dev", self.name)
        ip("link", "set", self.name, "up")
        for address in (self.address + "/29", self.other + "/29", self.private + "/32"):
            self._ip("addr", "add", address, "dev", "eth0")
        self._ip("link", "set", "lo", "up")
        self._ip("link", "set", "eth0", "up")
        ip("route", "add", self.private, "via", self.address)
        # answers to anything but the host's own address would find no way back
        assert not self._ip("route", "show", "default")

    def asked(self):
        """`[name, type, "udp" or "tcp"]` of the queries so far."""
        lines = [json.loads(line) for line in self.log.read_text().splitlines()]
        return [line for line in lines if line != "ready"]

    def close(self):
        ip("link", "del", self.name, check=False)
        self.process.stdin.close()
        self.process.kill()
        self.process.wait()
