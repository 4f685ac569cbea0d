"""Lambkin's runtime client for managed Python runtimes (Python 3.8 to 3.14, standard library only).

It answers invokes on the private channel (fd 3, see docs/internals/private-channel.md), sends log records
on fd 4, and behaves towards the function as AWS's own client does.

Start-up time counts here: `json`, `logging`, `traceback` and `decimal` are imported when first used, not
ahead of the function. AWS's client imports them all before the function, so `_StdlibFirst` sees to it that
a file of the function with such a name does not get in the way, and that the root logger has its handler
from the moment `logging` exists.
"""

import importlib
import io
import os
import sys
import time
from _frozen_importlib_external import PathFinder
from _json import encode_basestring, encode_basestring_ascii, make_encoder, make_scanner

CHANNEL_FD = 3
RECORD_FD = 4
# Most text in one datagram of fd 4; a longer one is cut up.
RECORD_CHUNK = 65536
# What one read of fd 3 asks for; an event that is longer takes more reads.
READ_SIZE = 65536

# Modules that AWS's client has imported before the function, and those that they import.
PRELOADED_ON_AWS = frozenset(
    "__future__ _colorize _weakrefset collections contextlib copyreg decimal enum functools importlib json "
    "keyword linecache logging numbers operator re reprlib sre_compile sre_constants sre_parse string "
    "textwrap threading token tokenize traceback types warnings weakref".split()
)

LAMBDA_WARNING = (
    "LAMBDA_WARNING: Unhandled exception. The most likely cause is an issue in the function code. However, in "
    "rare cases, a Lambda runtime update can cause unexpected function behavior. For functions using managed "
    "runtimes, runtime updates can be triggered by a function change, or can be applied automatically. To "
    "determine if the runtime has been updated, check the runtime version in the INIT_START log entry. If this "
    "error correlates with a change in the runtime version, you may be able to mitigate this error by temporarily "
    "rolling back to the previous runtime version. For more information, see "
    "https://docs.aws.amazon.com/lambda/latest/dg/runtimes-update.html\r"
)


class Fault(Exception):
    """A failure that has an error type of the platform rather than a class of the function."""

    def __init__(self, error_type, message, trace=None):
        super().__init__(message)
        self.error_type = error_type
        self.message = message
        self.trace = trace


class _State:
    """What the log records and the answer of the moment belong to."""

    request_id = None
    tenant_id = None
    # the event's own, as the server sent it
    number = b"\0\0\0\0"


# ---------------------------------------------------------------------------------------------- log output


def _send(kind, data):
    """Sends bytes on fd 4 as one text of `kind`; what cannot be sent goes to fd 1."""
    end = len(data)
    if end <= RECORD_CHUNK:
        try:
            os.writev(RECORD_FD, (kind, data))
        except OSError:
            _write_all(1, data)
        return
    more = kind.upper()
    start = 0
    try:
        while end - start > RECORD_CHUNK:
            cut = start + RECORD_CHUNK
            # not within a character: its later bytes are 10xxxxxx
            while cut > start + RECORD_CHUNK - 4 and data[cut] & 0xC0 == 0x80:
                cut -= 1
            os.writev(RECORD_FD, (more, data[start:cut]))
            start = cut
        os.writev(RECORD_FD, (kind, data[start:]))
    except OSError:
        _write_all(1, data[start:])


def _write_all(fd, data):
    try:
        while data:
            data = data[os.write(fd, data) :]
    except OSError:
        pass  # nobody reads the output any more


def _send_record(text):
    _send(b"r", text.encode("utf-8", "backslashreplace"))


class _OutputStream(io.RawIOBase):
    """The bytes beneath `sys.stdout` and `sys.stderr`: every write is sent at once, so output keeps its
    order with log records, also across threads and forked children."""

    def __init__(self, fd, name):
        super().__init__()
        self._fd = fd
        self.name = name
        self.mode = "wb"

    def write(self, data):
        if type(data) is not bytes:
            data = bytes(data)
        if data:
            _send(b"o", data)
        return len(data)

    def writable(self):
        return True

    def fileno(self):
        return self._fd

    def isatty(self):
        return False


def _output(fd, name, errors):
    return io.TextIOWrapper(
        _OutputStream(fd, name), encoding="utf-8", errors=errors, newline="\n", write_through=True
    )


class _LogSink:
    """What `context.log` and the root handler write to."""

    def log(self, message, frame_type=None):
        _send_record(message)


_LOG_SINK = _LogSink()

# ------------------------------------------------------------------------------------------------- logging


def _log_format():
    return "JSON" if os.environ.get("AWS_LAMBDA_LOG_FORMAT", "").upper() == "JSON" else "TEXT"


def _install_root_handler(logging):
    """Gives the root logger Lambda's handler; called once, as soon as `logging` has been imported."""
    log_format = _log_format()
    level = os.environ.get("AWS_LAMBDA_LOG_LEVEL") or ""
    level = ("DEBUG" if level == "TRACE" else level).upper()

    class LambdaLoggerHandler(logging.Handler):
        def __init__(self, log_sink):
            logging.Handler.__init__(self)
            self.log_sink = log_sink

        def emit(self, record):
            self.log_sink.log(self.format(record))

    class LambdaLoggerFilter(logging.Filter):
        def filter(self, record):
            record.aws_request_id = _State.request_id or ""
            record.tenant_id = _State.tenant_id
            return True

    logging.Formatter.converter = time.gmtime
    handler = LambdaLoggerHandler(_LOG_SINK)
    if log_format == "JSON":
        handler.setFormatter(_json_formatter(logging))
    else:
        handler.setFormatter(
            logging.Formatter(
                "[%(levelname)s]\t%(asctime)s.%(msecs)03dZ\t%(aws_request_id)s\t%(message)s\n",
                "%Y-%m-%dT%H:%M:%S",
            )
        )
    root = logging.getLogger()
    if level in logging._nameToLevel:
        root.setLevel(level)
    handler.addFilter(LambdaLoggerFilter())
    root.addHandler(handler)


def _json_formatter(logging):
    import json

    encode = json.JSONEncoder(ensure_ascii=False, default=str).encode
    # attributes of every record, which are not the caller's `extra`
    own = set(
        "name msg args levelname levelno pathname filename module exc_info exc_text stack_info lineno funcName "
        "created msecs relativeCreated thread threadName processName process aws_request_id tenant_id "
        "_frame_type".split()
    )

    class JsonFormatter(logging.Formatter):
        def __init__(self):
            super().__init__(datefmt="%Y-%m-%dT%H:%M:%SZ")

        def format(self, record):
            record.levelno = min(50, max(0, record.levelno)) // 10 * 10
            record.levelname = logging.getLevelName(record.levelno)
            trace = error_type = error_message = location = None
            if record.exc_info:
                import traceback

                trace = traceback.format_tb(record.exc_info[2])
                error_type = record.exc_info[0].__name__
                error_message = str(record.exc_info[1])
                location = "%s:%s:%s" % (record.pathname, record.funcName, record.lineno)
            if isinstance(record.msg, dict) and not record.args:
                message = record.msg
            else:
                message = record.getMessage()
            fields = {
                "timestamp": self.formatTime(record, self.datefmt),
                "level": record.levelname,
                "message": message,
                "logger": record.name,
                "stackTrace": trace,
                "errorType": error_type,
                "errorMessage": error_message,
                "requestId": getattr(record, "aws_request_id", None),
                "location": location,
            }
            if getattr(record, "tenant_id", None) is not None:
                fields["tenantId"] = record.tenant_id
            for key, value in record.__dict__.items():
                if key not in own and key not in fields:
                    fields[key] = value
            return encode({k: v for k, v in fields.items() if v is not None}) + "\n"

    return JsonFormatter()


class _LoggingLoader:
    """Loads `logging` and then installs the root handler."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        return self._loader.create_module(spec)

    def exec_module(self, module):
        module.__spec__.loader = module.__loader__ = self._loader
        self._loader.exec_module(module)
        _install_root_handler(module)


class _StdlibFirst:
    """Finds the modules that AWS's client imports ahead of the function where the interpreter has them."""

    def __init__(self, path):
        self._path = path

    def find_spec(self, name, path=None, target=None):
        if name not in PRELOADED_ON_AWS:
            return None
        spec = PathFinder.find_spec(name, self._path)
        if name == "logging" and spec is not None and name not in sys.modules:
            spec.loader = _LoggingLoader(spec.loader)
        return spec


# -------------------------------------------------------------------------------------------------- context


class ClientContext:
    __slots__ = ["custom", "env", "client"]

    def __repr__(self):
        return _describe(self, self.__slots__)


class Client:
    __slots__ = ["installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"]

    def __repr__(self):
        return _describe(self, self.__slots__)


class CognitoIdentity:
    __slots__ = ["cognito_identity_id", "cognito_identity_pool_id"]

    def __repr__(self):
        return _describe(self, self.__slots__)


def _describe(thing, fields):
    return "%s([%s])" % (
        type(thing).__name__,
        ",".join("%s=%s" % (field, getattr(thing, field)) for field in fields),
    )


def _object_of(cls, values):
    if values is None:
        return None
    thing = cls()
    for field in cls.__slots__:
        setattr(thing, field, values.get(field))
    return thing


class LambdaContext:
    """The second argument of a handler."""

    _FIELDS = (
        "aws_request_id log_group_name log_stream_name function_name memory_limit_in_mb function_version "
        "invoked_function_arn client_context identity tenant_id".split()
    )

    def __init__(self, request_id, deadline_ms, arn, tenant_id, client_context, cognito_identity, constants):
        self.aws_request_id = request_id
        (
            self.log_group_name,
            self.log_stream_name,
            self.function_name,
            self.memory_limit_in_mb,
            self.function_version,
        ) = constants
        self.invoked_function_arn = arn
        self.tenant_id = tenant_id
        self._w3c_fields = _take_w3c(client_context)
        if client_context is None:
            self.client_context = None
        else:
            self.client_context = _object_of(ClientContext, client_context)
            self.client_context.client = _object_of(Client, self.client_context.client)
        self.identity = identity = CognitoIdentity()
        identity.cognito_identity_id = identity.cognito_identity_pool_id = None
        if cognito_identity is not None:
            identity.cognito_identity_id = cognito_identity.get("cognitoIdentityId")
            identity.cognito_identity_pool_id = cognito_identity.get("cognitoIdentityPoolId")
        self._epoch_deadline_time_in_ms = deadline_ms

    def get_remaining_time_in_millis(self):
        return max(0, self._epoch_deadline_time_in_ms - int(time.time() * 1000))

    def w3c(self):
        """The W3C trace context that came with the invoke."""
        return dict(self._w3c_fields)

    def log(self, msg):
        _LOG_SINK.log(str(msg))

    def __repr__(self):
        return _describe(self, self._FIELDS)


def _take_w3c(client_context):
    """Removes `w3c` from a client context; the function sees its known fields through `w3c()` only."""
    if not isinstance(client_context, dict) or "w3c" not in client_context:
        return {}
    given = client_context.pop("w3c")
    if not isinstance(given, dict):
        return {}
    fields = ("traceparent", "tracestate", "baggage")
    return {field: given[field] for field in fields if isinstance(given.get(field), str)}


# ----------------------------------------------------------------------------------------------------- JSON


class _ScannerSettings:
    """The attributes that the scanner takes from a `json.JSONDecoder`."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = {"-Infinity": float("-inf"), "Infinity": float("inf"), "NaN": float("nan")}.__getitem__
    memo = {}


_scan = make_scanner(_ScannerSettings)


def _parse(text):
    """The value of a JSON text; errors are those of `json.loads`."""
    try:
        value, end = _scan(text, 0)
        if end == len(text):
            return value
    except Exception:
        pass  # without `json` loaded some versions cannot even say what is wrong
    # white space around the value, or no JSON
    import json

    return json.loads(text)


def _keeps_non_ascii():
    """Runtimes from Python 3.12 on leave non-ASCII characters unescaped; a name tells, not the interpreter."""
    name = os.environ.get("AWS_EXECUTION_ENV", "")
    prefix = "AWS_Lambda_python3."
    minor = name[len(prefix) :]
    return name.startswith(prefix) and minor.isdigit() and int(minor) >= 12


class _NotPlain(Exception):
    """The value holds something that the interpreter's own encoder does not know."""


def _not_plain(value):
    raise _NotPlain


_markers = {}


def _choose_encoder():
    """To be called again when the environment variables have changed."""
    global _encode_string, _encode_plain
    _encode_string = encode_basestring if _keeps_non_ascii() else encode_basestring_ascii
    _encode_plain = make_encoder(_markers, _not_plain, _encode_string, None, ": ", ", ", False, False, True)


_choose_encoder()


def _encode(value):
    """JSON as AWS's client (simplejson) writes it: named tuples as objects, bytes as text, Decimals as
    numbers, NaN allowed."""
    if type(value) is str:
        return _encode_string(value)
    try:
        text = "".join(_encode_plain(value, 0))
    except Exception:
        _markers.clear()
        return "".join(_encode_any(value, set()))
    return text if _is_plain(value) else "".join(_encode_any(value, set()))


def _is_plain(value):
    """Whether a value that could be encoded (hence has no cycles) holds no object with `_asdict`, which the
    interpreter's encoder takes for a plain tuple."""
    kind = type(value)
    if kind is dict:
        pending = list(value.values())
    elif kind is list or kind is tuple:
        pending = list(value)
    else:
        return not hasattr(value, "_asdict")
    scalars = _SCALARS
    for item in pending:
        kind = type(item)
        if kind in scalars:
            continue
        if kind is dict:
            pending.extend(item.values())
        elif kind is list or kind is tuple:
            pending.extend(item)
        elif hasattr(item, "_asdict"):
            return False
        elif isinstance(item, dict):
            pending.extend(item.values())
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
    return True


_SCALARS = frozenset((str, int, float, bool, type(None)))


def _encode_number(value):
    if isinstance(value, int):
        return int.__repr__(value)
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "Infinity" if value > 0 else "-Infinity"
    return float.__repr__(value)


def _encode_constant(value):
    return "null" if value is None else "true" if value else "false"


def _encode_key(key):
    if isinstance(key, str):
        return key
    if isinstance(key, bytes):
        return key.decode("utf-8")
    if key is None or key is True or key is False:
        return _encode_constant(key)
    if isinstance(key, (int, float)):
        return _encode_number(key)
    raise TypeError("keys must be str, int, float, bool or None, not " + type(key).__name__)


def _encode_any(value, open_ids):
    """The encoder for everything that `_encode_plain` cannot do: slower, and complete."""
    if value is None or value is True or value is False:
        yield _encode_constant(value)
    elif isinstance(value, str):
        yield _encode_string(value)
    elif isinstance(value, bytes):
        yield _encode_string(value.decode("utf-8"))
    elif isinstance(value, (int, float)):
        yield _encode_number(value)
    else:
        fields = getattr(value, "_asdict", None)
        if callable(fields):
            fields = fields()
        elif isinstance(value, dict):
            fields = value
        elif isinstance(value, (list, tuple)):
            fields = None
        else:
            yield _encode_decimal(value)
            return
        if id(value) in open_ids:
            raise ValueError("Circular reference detected")
        open_ids.add(id(value))
        if fields is None:
            separator = "["
            for item in value:
                yield separator
                separator = ", "
                yield from _encode_any(item, open_ids)
            yield "[]" if separator == "[" else "]"
        else:
            separator = "{"
            for key, item in fields.items():
                yield separator + _encode_string(_encode_key(key)) + ": "
                separator = ", "
                yield from _encode_any(item, open_ids)
            yield "{}" if separator == "{" else "}"
        open_ids.discard(id(value))


def _encode_decimal(value):
    decimal = sys.modules.get("decimal")  # not imported: then it cannot be one
    if decimal is not None and isinstance(value, decimal.Decimal):
        return "NaN" if value.is_nan() else str(value)
    raise TypeError("Object of type %s is not JSON serializable" % type(value).__name__)


# --------------------------------------------------------------------------------------------------- errors


def _frames(trace):
    """The frames of a traceback from the first one that is not ours, as `(file, line, function, source)`."""
    import traceback

    frames = [(f.filename, f.lineno, f.name, f.line) for f in traceback.extract_tb(trace)]
    for index, frame in enumerate(frames):
        if frame[0] != _OWN_CODE:
            return frames[index:]
    return frames


def _error(message, error_type, trace, request_id=""):
    return {
        "errorMessage": message or "",
        "errorType": error_type or "",
        "requestId": request_id,
        "stackTrace": trace or [],
    }


def _current_error(request_id=""):
    """The error document of the exception that is being handled."""
    kind, value, trace = sys.exc_info()
    if isinstance(value, Fault):
        return _error(value.message, value.error_type, value.trace, request_id)
    import traceback

    return _error(str(value), kind.__name__, traceback.format_list(_frames(trace)), request_id)


def _log_error(error):
    if _log_format() == "JSON":
        fields = {"timestamp": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()), "level": "ERROR"}
        fields.update(error)
        _send_record(_encode(fields))
        return
    heading = "[ERROR]"
    if error["errorType"]:
        heading += " " + error["errorType"]
    if error["errorMessage"]:
        heading += (": " if error["errorType"] else " ") + error["errorMessage"]
    lines = [heading, "Traceback (most recent call last):"]
    for element in error["stackTrace"]:
        for line in element.splitlines() or [""]:
            text = line.lstrip(" ")
            lines.append("\u00a0" * (len(line) - len(text)) + text)
    _send_record("\n".join(lines))


# ------------------------------------------------------------------------------------------ the private channel


def _write_frame(kind, *parts):
    """Sends one frame; `parts` are bytes."""
    size = 5
    for part in parts:
        size += len(part)
    head = size.to_bytes(4, "little") + kind + _State.number
    if size <= READ_SIZE:
        data = head + b"".join(parts)
        sent = os.write(CHANNEL_FD, data)
        if sent == len(data):
            return
        parts = (data[sent:],)
    else:
        parts = (head,) + parts
    for part in parts:
        view = memoryview(part)
        while view:
            view = view[os.write(CHANNEL_FD, view) :]


def _read_frame():
    """The next frame without its length; does not return if the server has closed the channel."""
    data = os.read(CHANNEL_FD, READ_SIZE)
    size = int.from_bytes(data[:4], "little")
    if len(data) == size + 4 and size:
        return memoryview(data)[4:]
    return _read_rest(bytearray(data))


def _read_rest(data):
    while len(data) < 4:
        more = os.read(CHANNEL_FD, 4 - len(data))
        if not more:
            os._exit(0)  # the environment ends
        data += more
    have = len(data) - 4
    size = int.from_bytes(data[:4], "little")
    data = data[4:] + bytes(size - have)
    view = memoryview(data)
    while have < size:
        count = os.readv(CHANNEL_FD, (view[have:],))
        if not count:
            os._exit(0)
        have += count
    return view


def _error_frame(kind, error, error_type):
    name = error_type.encode("utf-8", "backslashreplace")[:0xFFFF]
    document = _encode(error).encode("utf-8", "backslashreplace")
    _write_frame(kind, len(name).to_bytes(2, "little"), name, document)


# ------------------------------------------------------------------------------------------------- INIT, invoke


def _set_module_path():
    """Puts the function and its layers first, then installed packages, then the runtime folder."""
    own_folder = os.path.dirname(_OWN_FILE)
    path = [entry for entry in sys.path if entry != own_folder]
    sys.meta_path.insert(0, _StdlibFirst(list(path)))
    # a forgotten entry would say that there is no such folder yet
    version = "python%d.%d" % sys.version_info[:2]
    # set where functions run as plain processes, whose layers are elsewhere
    layers = os.environ.pop("LAMBKIN_OPT", "/opt")
    first = [
        os.environ.get("LAMBDA_TASK_ROOT") or os.getcwd(),
        "%s/python/lib/%s/site-packages" % (layers, version),
        layers + "/python",
    ]
    for entry in path:
        if entry.endswith(("/site-packages", "/dist-packages")):
            first.append(entry)
    first.append(os.environ.get("LAMBDA_RUNTIME_DIR") or own_folder)
    sys.path[:] = first + [entry for entry in path if entry not in first]


def _load_handler(handler):
    try:
        module_name, function_name = handler.rsplit(".", 1)
    except ValueError as error:
        raise Fault("Runtime.MalformedHandlerName", "Bad handler '%s': %s" % (handler, error))
    if module_name.split(".")[0] in sys.builtin_module_names:
        raise Fault(
            "Runtime.BuiltInModuleConflict",
            "Cannot use built-in module %s as a handler module" % module_name,
        )
    try:
        module = importlib.import_module(module_name.replace("/", "."))
    except ImportError as error:
        raise Fault("Runtime.ImportModuleError", "Unable to import module '%s': %s" % (module_name, error))
    except SyntaxError as error:
        raise Fault(
            "Runtime.UserCodeSyntaxError",
            "Syntax error in module '%s': %s" % (module_name, error),
            ['  File "%s" Line %s\n    %s' % (error.filename, error.lineno, error.text)],
        )
    try:
        return getattr(module, function_name)
    except AttributeError:
        raise Fault(
            "Runtime.HandlerNotFound", "Handler '%s' missing on module '%s'" % (function_name, module_name)
        )


def _parse_context(text, what):
    if not text:
        return None
    try:
        return _parse(text)
    except Exception as error:
        raise Fault("Runtime.LambdaContextUnmarshalError", "Unable to parse %s JSON: %s" % (what, error))


def _answer(handler, head, event, constants):
    """Runs one event; returns the response, or raises."""
    client = head.get("client")
    identity = head.get("identity")
    if client is not None:
        client = _parse_context(client, "Client Context")
    if identity is not None:
        identity = _parse_context(identity, "Cognito Identity")
    context = LambdaContext(
        head.get("id"), head.get("deadline", 0), head.get("arn"), head.get("tenant"), client, identity, constants
    )
    try:
        event = _parse(str(event, "utf-8"))
    except Exception as error:
        raise Fault("Runtime.UnmarshalError", "Unable to unmarshal input: %s" % error)
    response = handler(event, context)
    if isinstance(response, bytes):
        return response
    try:
        return _encode(response)
    except Exception as error:
        raise Fault("Runtime.MarshalError", "Unable to marshal response: %s" % error)


def _serve(handler):
    environ = os.environ
    constants = tuple(
        environ.get("AWS_LAMBDA_" + name)
        for name in (
            "LOG_GROUP_NAME",
            "LOG_STREAM_NAME",
            "FUNCTION_NAME",
            "FUNCTION_MEMORY_SIZE",
            "FUNCTION_VERSION",
        )
    )
    while True:
        frame = _read_frame()
        # type byte, u32 number, u32 length of the head, head, event
        split = 9 + int.from_bytes(frame[5:9], "little")
        head = _parse(str(frame[9:split], "utf-8"))
        _State.number = bytes(frame[1:5])
        _State.request_id = request_id = head.get("id")
        _State.tenant_id = head.get("tenant")
        trace_id = head.get("trace")
        if trace_id is not None:
            environ["_X_AMZN_TRACE_ID"] = trace_id
        elif "_X_AMZN_TRACE_ID" in environ:
            del environ["_X_AMZN_TRACE_ID"]
        error = None
        try:
            response = _answer(handler, head, frame[split:], constants)
        except Exception:
            error = _current_error(request_id)
        if error is None:
            if type(response) is str:
                response = response.encode("utf-8")
            _write_frame(b"A", response)
        else:
            _log_error(error)
            # AWS's client names no error type to the platform here
            _error_frame(b"E", error, "")
        # keep nothing of this event alive while waiting for the next
        frame = head = response = error = None


def main():
    os.set_inheritable(CHANNEL_FD, False)
    os.set_inheritable(RECORD_FD, False)
    sys.stdout = _output(1, "<stdout>", "strict")
    sys.stderr = _output(2, "<stderr>", "backslashreplace")
    _set_module_path()
    if "logging" in sys.modules:  # a .pth file or sitecustomize came first
        _install_root_handler(sys.modules["logging"])
    error = None
    try:
        handler = _load_handler(os.environ.get("_HANDLER", ""))
    except Exception:
        error = _current_error()
    if error is not None:
        import logging

        logging.warning(LAMBDA_WARNING)
        _log_error(error)
        _error_frame(b"F", error, error["errorType"])
        sys.exit(1)
    _write_frame(b"R")
    _serve(handler)


_OWN_FILE = os.path.abspath(__file__)
_OWN_CODE = main.__code__.co_filename  # how tracebacks name this file

if __name__ == "__main__":
    if "_LAMBKIN_ZYGOTE" in os.environ:
        _loaded = frozenset(sys.modules)
        import lambkin_zygote

        # comes back in a fork, in the sandbox of a function
        _zygote = lambkin_zygote.serve(_parse, _loaded, PRELOADED_ON_AWS)
        _choose_encoder()
    main()
