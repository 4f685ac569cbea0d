"""The zygote of a Python runtime: an interpreter that has done all that comes before a function, and forks.

It runs as root (of the host, or of the spawner's user namespace) among the files that sandboxes see, without
those of any function. Nothing of a function comes into it: what the program of a sandbox needs to know is read
by the fork alone, from a socket whose other end the sandbox's init has. See docs/internals/zygote.md.

`serve` returns in a fork that has become the program of a sandbox; the caller goes on as if the interpreter
had just been started there.
"""

import ctypes
import errno
import gc
import importlib
import os
import signal
import sys
import time
from array import array
from _socket import CMSG_SPACE, MSG_DONTWAIT, MSG_PEEK, SCM_RIGHTS, SOL_SOCKET, socket

# Descriptors that the spawner leaves to a zygote: requests to fork, and its own pid namespace.
CONTROL_FD = 3
PID_NAMESPACE_FD = 4
# The program of a sandbox has fewer; what comes by message has higher numbers.
FIRST_FREE_FD = 5

# What functions import most. It costs each fork nothing but the copying of page tables. Nothing may be in here
# that keeps secrets or random numbers from its import on (multiprocessing has such a key).
PRELOADED = (
    "json logging decimal traceback threading datetime base64 hashlib hmac random uuid urllib.parse copy "
    "typing dataclasses"
).split()

CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000
# The namespaces of a sandbox in the order of their descriptors, the user namespace last: entering it takes the
# right to enter the others away.
NAMESPACES = (CLONE_NEWNS, CLONE_NEWNET, CLONE_NEWIPC, CLONE_NEWUTS, CLONE_NEWCGROUP)

PR_SET_DUMPABLE = 4
PR_SET_SECCOMP = 22
PR_CAPBSET_DROP = 24
PR_SET_SECUREBITS = 28
PR_SET_MM = 35
PR_SET_MM_MAP = 14
PR_SET_NO_NEW_PRIVS = 38
PR_CAP_AMBIENT = 47
PR_CAP_AMBIENT_CLEAR_ALL = 4
SECCOMP_MODE_FILTER = 2
# NOROOT, NO_SETUID_FIXUP and NO_CAP_AMBIENT_RAISE with their locks, and the lock of KEEP_CAPS.
SECURE_BITS = 0x01 | 0x02 | 0x04 | 0x08 | 0x20 | 0x40 | 0x80
CAPABILITY_VERSION = 0x20080522

_LONGEST_MESSAGE = 192 * 1024
_MOST_FDS = 32

# One that holds the interpreter's lock in calls: there is no other thread.
_libc = ctypes.PyDLL(None, use_errno=True)
_libc.prctl.argtypes = (ctypes.c_int,) + (ctypes.c_ulong,) * 4
_environ = ctypes.c_void_p.in_dll(_libc, "environ")
_libc.sbrk.argtypes = (ctypes.c_long,)
_libc.sbrk.restype = ctypes.c_uint64
# Without what the interpreter does at a fork: for the process between, which does next to nothing.
_bare_fork = _libc.fork
_pair = ctypes.c_uint64 * 2


class _Filter(ctypes.Structure):
    """`struct sock_fprog`."""

    _fields_ = [("length", ctypes.c_ushort), ("lines", ctypes.c_void_p)]


class _MemoryMap(ctypes.Structure):
    """`struct prctl_mm_map`."""

    _fields_ = [
        (name, ctypes.c_uint64)
        for name in (
            "start_code end_code start_data end_data start_brk brk start_stack arg_start arg_end env_start "
            "env_end auxv"
        ).split()
    ] + [("auxv_size", ctypes.c_uint32), ("exe_fd", ctypes.c_uint32)]


class _Shadowed(Exception):
    """A file of the function has the name of a module that is imported already."""


def _check(result):
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _prctl(option, argument, more=0):
    _check(_libc.prctl(option, argument, more, 0, 0))


def _receive(connection):
    """The next message: its bytes and descriptors."""
    data, ancillary, _, _ = connection.recvmsg(_LONGEST_MESSAGE, CMSG_SPACE(_MOST_FDS * 4))
    fds = array("i")
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    return data, fds.tolist()


# ------------------------------------------------------------------------------------------------ the zygote


def serve(parse, loaded, stdlib_first):
    """Forks on request, for ever. Returns in each fork, as the program of a sandbox; the result must be kept.

    `parse` reads JSON; `loaded` are the modules that are there without us; files of a function that have a
    name of `stdlib_first` are never imported.
    """
    control = socket(fileno=CONTROL_FD)
    program = _Program(parse, _receive(control)[0], loaded, stdlib_first)
    gc.collect()
    gc.freeze()
    # Processes of sandboxes may have the same user, and no business in here.
    _prctl(PR_SET_DUMPABLE, 0)
    # What is forked first ends at once; nobody waits for it.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    control.send(b"ready")
    while True:
        data, fds = _receive(control)
        if not data:
            os._exit(0)
        if _fork(fds):
            control.detach()  # the numbers stay taken until the program's own come there
            program.become(socket(fileno=fds[0]))
            return program
        for fd in fds:
            os.close(fd)


def _fork(fds):
    """Forks into a pid namespace; true in the fork. `fds`: the connection to the sandbox's init, the
    namespace, and files to write to for being in the sandbox's cgroups.

    The program must be a child of the sandbox's init, which waits for it. So it is forked by a process in that
    namespace that ends at once: init adopts its children. Where any of this fails, init hears nothing but the
    end of the connection, and starts the program itself.
    """
    try:
        _check(_libc.setns(fds[1], CLONE_NEWPID))
        is_zygote = _bare_fork() != 0  # as it is where that fails
    except OSError:
        is_zygote = True
    if is_zygote:
        # Refused where our namespace belongs to a user namespace above. Then we go from that of one sandbox to
        # that of the next.
        _libc.setns(PID_NAMESPACE_FD, CLONE_NEWPID)
        return False
    is_program = False
    try:
        for entry in fds[2:]:
            os.write(entry, b"0")
        pid = os.fork()
        if pid:
            os.write(fds[0], b"%d" % pid)
        else:
            is_program = True
    finally:
        if not is_program:
            os._exit(0)
    for fd in fds[1:]:
        os.close(fd)
    return True


# ----------------------------------------------------------------------------------------------- the program


class _Program:
    """What a fork needs to become the program of a sandbox."""

    def __init__(self, parse, lines, loaded, stdlib_first):
        self._parse = parse
        # the memory must stay where it is
        self._lines = ctypes.create_string_buffer(lines, len(lines))
        self._filter = _Filter(len(lines) // 8, ctypes.addressof(self._lines))
        self._memory = _memory_map()
        with open("/proc/sys/kernel/cap_last_cap") as file:
            self._capabilities = int(file.read()) + 1
        words = ctypes.c_uint32
        self._no_capabilities = ((words * 2)(CAPABILITY_VERSION, 0), (words * 6)())
        # What the interpreter's start has added, as LC_CTYPE where the locale is not installed.
        given = os.environ.pop("_LAMBKIN_ZYGOTE").split(",")
        self._added = {name: value for name, value in os.environ.items() if name not in given}
        self._time_zone = os.environ.get("TZ")
        self._hooks = _preload(stdlib_first)
        # What would have been found among the function's files.
        names = {name.partition(".")[0] for name in set(sys.modules) - loaded}
        self._preloaded = names - stdlib_first - set(sys.builtin_module_names)

    def become(self, connection):
        """Enters the sandbox and takes the state of a program that has just been executed in it. If that
        fails, init is told, and the process ends."""
        try:
            self._begin_anew()
            try:
                connection.recv(1, MSG_PEEK | MSG_DONTWAIT)
            except BlockingIOError:
                # Time is left: makes own copies of memory that will be written to soon.
                compile("def handler(event, context):\n    return {}\n", "none", "exec")
            data, fds = _receive(connection)
            if not data:
                os._exit(0)  # init does without us
            order = self._parse(str(data, "utf-8"))
            self._enter(order, fds)
            self._look_new()
            while os.getppid() != 1:
                time.sleep(0.0001)  # init is to wait for us, once the one between has ended
            answer = b"+"
        except BaseException as error:
            text = "%s: %s" % (type(error).__name__, error)
            answer = b"-" + text.encode("utf-8", "backslashreplace")[:1000]
        try:
            connection.send(answer)
        except OSError:
            answer = b"-"  # it has waited long enough
        if answer != b"+":
            os._exit(127)
        connection.close()

    def _begin_anew(self):
        """What there is to do in a fork whatever it becomes."""
        for hooks in self._hooks:
            os.register_at_fork(**hooks)
            after = hooks.get("after_in_child")
            # These only take care of threads and locks of the process before.
            if after is not None and after.__module__ not in ("logging", "threading"):
                after()
        main_thread = sys.modules["threading"].main_thread()
        if hasattr(main_thread, "_set_native_id"):
            main_thread._set_native_id()
        logging = sys.modules["logging"]
        logging._startTime = time.time_ns() if isinstance(logging._startTime, int) else time.time()

    def _enter(self, order, fds):
        """As crates/sandbox/src/init does for a program that is executed."""
        os.setsid()
        spaces = len(NAMESPACES)
        for kind, fd in zip(NAMESPACES, fds):
            _check(_libc.setns(fd, kind))
        # its files in /proc would belong to root of the host
        _prctl(PR_SET_DUMPABLE, 1)
        score = os.open("/proc/self/oom_score_adj", os.O_WRONLY)
        os.write(score, order["oom_score"].encode())
        os.close(score)
        for resource, value in order["limits"]:
            _set_limit(resource, value)
        if order["clears_groups"]:
            os.setgroups([])
        _check(_libc.setns(fds[spaces], CLONE_NEWUSER))
        for resource, value in order["user_limits"]:
            _set_limit(resource, value)
        os.setresgid(order["gid"], order["gid"], order["gid"])
        os.setresuid(order["uid"], order["uid"], order["uid"])
        self._drop_capabilities()
        _prctl(PR_SET_NO_NEW_PRIVS, 1)
        # changing the user has taken it away
        _prctl(PR_SET_DUMPABLE, 1)
        os.umask(order["umask"])
        os.chdir(order["working_dir"])
        null, output = fds[spaces + 1 : spaces + 3]
        places = [null, output, output] + fds[spaces + 3 :]
        for number, fd in enumerate(places):
            os.dup2(fd, number)
        for fd in fds:
            os.close(fd)
        for number in range(len(places), FIRST_FREE_FD):
            _libc.close(number)
        self._set_environment(order["environment"])
        _prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(self._filter))
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)

    def _drop_capabilities(self):
        for capability in range(self._capabilities):
            _prctl(PR_CAPBSET_DROP, capability)
        _prctl(PR_SET_SECUREBITS, SECURE_BITS)
        _prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
        _check(_libc.capset(*self._no_capabilities))

    def _set_environment(self, variables):
        """Lays the variables out as the kernel does for a program: the C library, the interpreter and
        /proc/self/environ see them."""
        texts = [os.fsencode(name + "=" + value) + b"\0" for name, value in variables]
        # kept: the memory must stay
        self._block = array("B", b"".join(texts) or b"\0")
        place = self._block.buffer_info()[0]
        memory = self._memory
        memory.env_start = place
        self._pointers = pointers = array("Q")
        for text in texts:
            pointers.append(place)
            place += len(text)
        pointers.append(0)
        memory.env_end = place
        memory.brk = _libc.sbrk(0)
        # Not every kernel can do it; then it shows what the zygote was given.
        _libc.prctl(PR_SET_MM, PR_SET_MM_MAP, ctypes.addressof(memory), ctypes.sizeof(memory), 0)
        _environ.value = pointers.buffer_info()[0]
        environ = os.environ
        environ._data.clear()
        for text in texts:
            name, _, value = text[:-1].partition(b"=")
            environ._data[name] = value
        for name, value in self._added.items():
            if name not in environ:
                environ[name] = value
        if environ.get("TZ") != self._time_zone:
            time.tzset()

    def _look_new(self):
        """Takes away what is of the zygote's life and not of the program's."""
        environ = os.environ
        folders = (
            environ.get("LAMBDA_TASK_ROOT") or os.getcwd(),
            "/opt/python/lib/python%d.%d/site-packages" % sys.version_info[:2],
            "/opt/python",
        )
        for folder in folders:
            try:
                entries = os.listdir(folder)
            except OSError:
                continue
            for entry in entries:
                if entry.partition(".")[0] in self._preloaded:
                    raise _Shadowed(os.path.join(folder, entry))
        if "HOME" in environ and getattr(sys.modules.get("site"), "USER_BASE", None):
            site = sys.modules["site"]
            version = site.USER_SITE[len(site.USER_BASE) :]
            site.USER_BASE = os.path.expanduser(os.path.join("~", ".local"))
            site.USER_SITE = site.USER_BASE + version
        del sys.modules[__name__]


def _memory_map():
    """Where what the kernel shows of this process lies; forks have it at the same place."""
    with open("/proc/self/stat", "rb", 0) as file:
        fields = file.read(4096).rpartition(b")")[2].split()
    # numbers of proc(5), less 3 for those before the state
    known = dict(start_code=26, end_code=27, start_stack=28, start_data=45, end_data=46, start_brk=47)
    known.update(arg_start=48, arg_end=49)
    return _MemoryMap(exe_fd=0xFFFFFFFF, **{name: int(fields[number - 3]) for name, number in known.items()})


def _preload(stdlib_first):
    """Imports from where a function does: from installed packages first, but for `stdlib_first`. Returns what
    the modules want to be called for at forks, by which they are not called yet: that takes as long as the
    fork itself."""
    hooks = []
    register = os.register_at_fork
    os.register_at_fork = lambda **wanted: hooks.append(wanted)
    path = list(sys.path)
    for name in PRELOADED:
        if name in stdlib_first:
            importlib.import_module(name)
    installed = [entry for entry in path if entry.endswith(("/site-packages", "/dist-packages"))]
    sys.path[:] = installed + [entry for entry in path if entry not in installed]
    for name in PRELOADED:
        importlib.import_module(name)
    sys.path[:] = path
    os.register_at_fork = register
    return hooks


def _set_limit(resource, value):
    """Sets soft and hard limit; a hard limit that may not be raised stays where it is."""
    limit = _pair(value, value)
    if _libc.setrlimit(resource, limit):
        if ctypes.get_errno() != errno.EPERM:
            _check(-1)
        _check(_libc.getrlimit(resource, limit))
        limit[0] = limit[1] = min(limit[1], value)
        _check(_libc.setrlimit(resource, limit))
