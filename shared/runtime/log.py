"""JSON lines on stdout, one per event, without secrets and contact data.

What it is for: `setup()` once in main (`silent()` in a command); `get(name).info("booking.confirmed", booking_id=…)` everywhere.
What it is not: an audit journal (that is a table) or an access log (metrics count requests).
Invariant: whatever comes in, through our calls, a library's or a traceback, passes `redact` before it is written. The event loop never
waits for the pipe: lines are written by one thread, and when it falls behind, lines are dropped and counted.
"""

import atexit
import contextvars
import logging
import queue
import re
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO

import msgspec

REQUEST_ID: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="")
_BOUND: contextvars.ContextVar[Mapping[str, Any] | None] = contextvars.ContextVar("log_fields", default=None)

REDACTED = "[redacted]"
LINES_WAITING_MAX = 10_000
TEXT_MAX = 8_000
_DEPTH_MAX = 6

# A field whose name holds one of these is never shown, whatever is in it.
# People's names count: say `site_id` or `resource_id` where a place is meant, never `name`.
_SECRET_PARTS = re.compile(
    r"authorization|cookie|token|secret|passw|passphrase|(?:^|[_-])pins?(?:$|[_-])|credential|api_?key|private_?key|signature|csrf"
    r"|session_?id|phone|mobile|e_?mail|(?:^|[a-z]_?)name$|contact|address|(?:^|_)card|birth",
    re.IGNORECASE,
)
# Whole people: nothing inside is worth telling apart.
_PEOPLE = frozenset({"customer", "guest", "member", "person"})

_EMAIL = re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63})+")
_PHONE = re.compile(r"(?<![\w-])(?:\+\d[\d ().-]{6,16}\d|(?:1[ .-]?)?\(?[2-9]\d{2}\)?[ .-]?\d{3}[ .-]?\d{4})(?![\w-])")
_SCHEME = re.compile(r"\b(Bearer|Basic|Digest)\s+[^\s\"',;]+", re.IGNORECASE)
_NAMED = re.compile(
    r"\b([\w-]*(?:authorization|cookie|token|secret|password|passwd|pin|api[_-]?key|csrf|signature))\b(\"?'?\s*[=:]\s*\"?'?)[^\s\"',;&]+",
    re.IGNORECASE,
)
_OPAQUE = re.compile(r"(?<![\w/.-])[A-Za-z0-9_-]{40,}(?:\.[A-Za-z0-9_-]+)*|(?<=/)[A-Za-z0-9_-]{40,}")
_PEM = re.compile(r"-----BEGIN [A-Z ]+-----.*?(?:-----END [A-Z ]+-----|\Z)", re.DOTALL)


def redact_text(text: str) -> str:
    """The text without e-mail addresses, phone numbers, keys, tokens and named secrets."""
    text = text[:TEXT_MAX]
    if "-----BEGIN" in text:
        text = _PEM.sub(REDACTED, text)
    text = _SCHEME.sub(rf"\1 {REDACTED}", text)
    text = _NAMED.sub(rf"\1\2{REDACTED}", text)
    if "@" in text:
        text = _EMAIL.sub("[email]", text)
    text = _PHONE.sub("[phone]", text)
    return _OPAQUE.sub(REDACTED, text)


def redact(value: Any, name: str = "", depth: int = 0) -> Any:
    """Plain data fit to be written: by the field's name, by what strings look like, and never deeper than six levels."""
    if name and _SECRET_PARTS.search(name):
        return REDACTED
    if name in _PEOPLE and isinstance(value, msgspec.Struct | Mapping):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if depth >= _DEPTH_MAX:
        return "[deeper]"
    if isinstance(value, msgspec.Struct):
        return {field: redact(getattr(value, field), field, depth + 1) for field in value.__struct_fields__}
    if isinstance(value, Mapping):
        return {redact_text(str(key)): redact(item, str(key), depth + 1) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(item, "", depth + 1) for item in list(value)[:100]]
    if isinstance(value, bytes | bytearray | memoryview):
        return f"[{len(value)} bytes]"
    return redact_text(str(value))


@contextmanager
def bound(**fields: Any) -> Iterator[None]:
    """Every line written inside carries these fields: `with log.bound(booking_id=…, message_id=…):`."""
    token = _BOUND.set({**(_BOUND.get() or {}), **fields})
    try:
        yield
    finally:
        _BOUND.reset(token)


class EventLog:
    """Writes events by name with fields. `get(name)` gives one."""

    def __init__(self, logger: logging.Logger) -> None:
        self._logger = logger

    def debug(self, event: str, **fields: Any) -> None:
        self._logger.debug(event, extra={"fields": fields})

    def info(self, event: str, **fields: Any) -> None:
        self._logger.info(event, extra={"fields": fields})

    def warning(self, event: str, **fields: Any) -> None:
        self._logger.warning(event, extra={"fields": fields})

    def error(self, event: str, *, error: BaseException | None = None, **fields: Any) -> None:
        """`error`: its traceback goes into the line."""
        self._logger.error(event, exc_info=error, extra={"fields": fields})


def get(name: str) -> EventLog:
    """The event log of a module: `log = get(__name__)`."""
    return EventLog(logging.getLogger(name))


def line_of(record: logging.LogRecord, ids: Mapping[str, Any]) -> bytes:
    """One record as one JSON line, redacted."""
    line: dict[str, Any] = {
        "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "logger": record.name,
        "event": redact_text(record.getMessage()),
    }
    fields = {**ids, **getattr(record, "fields", {})}
    for name, value in fields.items():
        line[name if name not in line else f"{name}_"] = redact(value, name)
    if record.exc_info and record.exc_info[0] is not None:
        told = "".join(traceback.format_exception(*record.exc_info))
        line["error"] = redact_text(told[-TEXT_MAX:])
    try:
        return msgspec.json.encode(line) + b"\n"
    except (TypeError, ValueError, UnicodeEncodeError):
        safe = {name: str(value).encode("utf-8", "replace").decode() for name, value in line.items()}
        return msgspec.json.encode(safe) + b"\n"


class JsonLines(logging.Handler):
    """The handler behind `setup`: hands records to a thread that redacts, encodes and writes them."""

    def __init__(self, stream: TextIO, *, waiting_max: int = LINES_WAITING_MAX) -> None:
        super().__init__()
        self._out = getattr(stream, "buffer", None) or stream
        self._waiting: queue.Queue[tuple[logging.LogRecord, dict[str, Any]] | None] = queue.Queue(waiting_max)
        self.dropped = 0
        self._thread = threading.Thread(target=self._write_all, name="log", daemon=True)
        self._thread.start()

    def emit(self, record: logging.LogRecord) -> None:
        ids = dict(_BOUND.get() or {})
        if request_id := REQUEST_ID.get():
            ids.setdefault("request_id", request_id)
        # The arguments are rendered here, while they are what they were; the rest is the thread's work.
        record.msg, record.args = record.getMessage(), None
        try:
            self._waiting.put_nowait((record, ids))
        except queue.Full:
            self.dropped += 1

    def _write_all(self) -> None:
        told = 0
        while (item := self._waiting.get()) is not None:
            try:
                self._out.write(line_of(*item))
                if self.dropped != told:
                    told = self.dropped
                    self._out.write(msgspec.json.encode({"level": "warning", "event": "log.dropped", "lines": told}) + b"\n")
                if self._waiting.empty():
                    self._out.flush()
            except Exception as error:  # a line that cannot be written must not stop the ones after it
                sys.__stderr__ and sys.__stderr__.write(f"log: {type(error).__name__}\n")

    def close(self) -> None:
        if self._thread.is_alive():
            self._waiting.put(None)
            self._thread.join(2.0)
        super().close()


def silent() -> None:
    """For commands, which tell their user in sentences: no line is written anywhere, until `setup`."""
    logging.getLogger().addHandler(logging.NullHandler())


def setup(level: str = "INFO", stream: TextIO | None = None) -> JsonLines:
    """Send every logger of the process through JSON lines to `stream` (stdout). Close the handler to flush and stop."""
    handler = JsonLines(stream or sys.stdout)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(level.upper())
    # One line per HTTP request of a client library, with the whole URL in it, is neither wanted nor safe.
    for noisy in ("httpx", "httpcore", "apscheduler", "uvicorn.access"):
        logging.getLogger(noisy).setLevel(logging.WARNING)
    atexit.register(handler.close)
    return handler
