"""A function that prints the state in which it finds itself."""

import sys

import ctypes
import json
import locale
import os
import re
import signal
import site
import time
import traceback


def read(path):
    with open(path, "rb") as file:
        return file.read().decode("utf-8", "backslashreplace")


def status():
    fields = dict(line.split(":\t", 1) for line in read("/proc/self/status").splitlines())
    # what processes are never alike in
    for name in list(fields):
        if name.startswith(("Vm", "Rss", "Hugetlb")) or name.endswith("ctxt_switches"):
            del fields[name]
    for name in ("Pid", "Tgid", "Ngid", "NSpid", "NStgid", "NSpgid", "NSsid"):
        fields.pop(name, None)
    return fields


def descriptors():
    found = {}
    for name in sorted(os.listdir("/proc/self/fd"), key=int):
        try:
            target = os.readlink("/proc/self/fd/" + name)
            flags = re.search(r"flags:\s*(\d+)", read("/proc/self/fdinfo/" + name)).group(1)
        except OSError:
            continue  # the listing's own
        found[name] = (re.sub(r"\d+\]", "]", target), flags)
    return found


def mounts():
    lines = []
    for line in read("/proc/self/mountinfo").splitlines():
        fields = line.split(" ")
        options = re.sub(r"[ug]id=\d+", "id", " ".join(fields[3:]))
        lines.append(options)
    return lines


def stream(file):
    return [
        type(file).__name__, file.encoding, file.errors, file.line_buffering, file.isatty(), file.mode,
        file.seekable(), file.name, type(file.buffer).__name__, repr(getattr(file.buffer, "raw", None)),
    ]


libc = ctypes.CDLL(None, use_errno=True)
libc.getenv.restype = ctypes.c_char_p
libc.setlocale.restype = ctypes.c_char_p
state = {
    "status": status(),
    "descriptors": descriptors(),
    "mounts": mounts(),
    "limits": read("/proc/self/limits"),
    "cmdline": read("/proc/self/cmdline"),
    "comm": read("/proc/self/comm"),
    "exe": os.readlink("/proc/self/exe"),
    "proc environ": read("/proc/self/environ"),
    "cgroup": read("/proc/self/cgroup"),
    "oom": read("/proc/self/oom_score_adj"),
    "uid_map": read("/proc/self/uid_map") != "" and re.sub(r"\d+ +1$", "1", read("/proc/self/uid_map").strip()),
    "same namespaces for children": os.readlink("/proc/self/ns/pid") == os.readlink("/proc/self/ns/pid_for_children"),
    "owners": [os.stat("/proc/self/" + name).st_uid for name in ("stat", "mem", "environ")],
    "namespaces": sorted(os.listdir("/proc/self/ns")),
    "environ": list(os.environ.items()),
    "getenv": [str(libc.getenv(name)) for name in (b"TZ", b"_HANDLER", b"LC_CTYPE", b"_LAMBKIN_ZYGOTE")],
    "argv": [sys.argv, getattr(sys, "orig_argv", None), sys.executable, sys.prefix],
    "flags": str(sys.flags),
    "path": sys.path,
    "site": [site.USER_BASE, site.USER_SITE, site.ENABLE_USER_SITE],
    "cwd": os.getcwd(),
    "umask": "%o" % os.umask(0o22),
    "ids": [os.getppid(), os.getsid(0) == os.getpid(), os.getpgrp() == os.getpid(), os.getresuid(), os.getgroups()],
    "dumpable": libc.prctl(3, 0, 0, 0, 0),
    "death signal": [libc.prctl(2, ctypes.byref(number := ctypes.c_int(-1))), number.value],
    "securebits": libc.prctl(27, 0, 0, 0, 0),
    "capability": libc.prctl(23, 21, 0, 0, 0),
    "handlers": {number: str(signal.getsignal(number)) for number in signal.valid_signals()},
    "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, [])),
    "streams": [stream(file) for file in (sys.stdin, sys.__stdout__, sys.__stderr__)],
    "locale": [locale.setlocale(locale.LC_ALL), str(libc.setlocale(6, None))],
    "time": [time.tzname, time.timezone],
    "recursion": sys.getrecursionlimit(),
    "main": sorted(name for name in vars(sys.modules["__main__"]) if name not in ("_zygote", "_loaded", "lambkin_zygote")),
    "zygote module": "lambkin_zygote" in sys.modules,
    "nice": os.nice(0),
    "affinity": sorted(os.sched_getaffinity(0)),
    "scheduler": os.sched_getscheduler(0),
    "warnings": [sys.warnoptions, sys.dont_write_bytecode],
    "hooks": re.sub("0x[0-9a-f]+", "", str([sys.meta_path, sys.path_hooks])),
    "threads": os.listdir("/proc/self/task") == [str(os.getpid())],
    "stack": [frame.name for frame in traceback.extract_stack() if "importlib" not in frame.filename],
    "setns": [libc.setns(0, 0), ctypes.get_errno()],
    "unshare": [libc.unshare(0x10000000), ctypes.get_errno()],
    "write": os.access("/var/runtime", os.W_OK),
}
was_forked = "lambkin_zygote" in dir(sys.modules["__main__"])


def random_things():
    import hashlib
    import random
    import ssl
    import tempfile
    import uuid

    return {
        "random": random.random(),
        "uuid": str(uuid.uuid4()),
        "urandom": os.urandom(8).hex(),
        "ssl": ssl.RAND_bytes(8).hex(),
        "tempfile": next(tempfile._get_candidate_names()),
        "salt": hashlib.sha256(os.urandom(16)).hexdigest(),
    }


text = json.dumps({"forked": was_forked, "state": state, "random": random_things()}) + "\n"
os.write(1, text.encode())


def handler(event, context):
    if event == "exit":
        os._exit(3)
    if event == "kill":
        os.kill(os.getpid(), 9)
    if event == "memory":
        keep = bytearray(1 << 30)
        for place in range(0, len(keep), 4096):
            keep[place] = 1
    return event
