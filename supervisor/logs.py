"""Logging: structlog over the standard library, one line an event, no secrets.

Everything goes through one chain, whether structlog, `logging` or a foreign library wrote it: fields bound to
the context are added, exceptions become fields, secrets are masked, values are bounded and their newlines
escaped, and one line goes to stderr, as text for people or as a JSON object for machines.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import TracebackType
from typing import Any, Literal, TextIO

from supervisor.lean import absent
from supervisor.redaction import Redactor, one_line

with absent("rich"):  # structlog would have it draw tracebacks, which are drawn here
    import structlog
    from structlog.typing import EventDict, Processor

Format = Literal["console", "json"]

_LIBRARY_LEVELS: Mapping[str, int] = {
    # Their debug and info lines hold whole URLs, SQL parameters or headers.
    "httpx": logging.WARNING,
    "httpcore": logging.WARNING,
    "urllib3": logging.WARNING,
    "peewee": logging.WARNING,
    "psycopg": logging.WARNING,
    "pykka": logging.INFO,
    "waitress": logging.INFO,
    "waitress.queue": logging.ERROR,
    "PIL": logging.INFO,
    "asyncio": logging.WARNING,
}

_RECORD_FIELDS = frozenset(
    # message and asctime are put there by the formatters of other handlers.
    {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
)

_FRAMES = 12
_CAUSES = 5
_COLORS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "1;31"}

_redactor = Redactor()
_uncaught = logging.getLogger("zapvisor.uncaught")


def configure(level: str = "info", fmt: Format = "console", stream: TextIO | None = None) -> None:
    """Sends all logs to one stream; a second call replaces what the first one set.

    Args:
        level: `debug`, `info`, `warning` or `error`: the least that is written.
        fmt: `console` or `json`.
        stream: where to write; stderr when None.

    Raises:
        ValueError: no such level or format.
    """
    number = _number(level)
    handler = _Handler(stream if stream is not None else sys.stderr)
    handler.setFormatter(_formatter(fmt, handler.stream))
    root = logging.getLogger()
    for old in list(root.handlers):
        if isinstance(old, _Handler):
            root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(number)
    for name, least in _LIBRARY_LEVELS.items():
        logging.getLogger(name).setLevel(max(least, number))
    logging.captureWarnings(True)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=False,
    )
    _install_hooks()


def get_logger(name: str, **fields: Any) -> structlog.stdlib.BoundLogger:
    """A logger whose every line has these fields."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name, **fields)
    return logger


def register_secret(value: str) -> None:
    """From now on the value is masked in every line. Values of less than four characters are ignored."""
    _redactor.register(value)


def forget_secret(value: str) -> None:
    """The value is no longer a secret, since what it opened is gone."""
    _redactor.forget(value)


def keep_secrets(owner: str, values: Iterable[str]) -> None:
    """These are an owner's secrets now, and no others: an instance's token and passwords, say. None forgets it."""
    _redactor.keep(owner, values)


def redact(text: str) -> str:
    """The text as a log would show it; for error messages and the output of foreign code."""
    return one_line(_redactor.text(text))


@contextmanager
def context(**fields: Any) -> Iterator[None]:
    """Every line that this thread or task writes inside has these fields, such as `request_id`."""
    with structlog.contextvars.bound_contextvars(**fields):
        yield


def context_fields() -> dict[str, Any]:
    """The fields bound to this thread or task, to be carried to another."""
    return structlog.contextvars.get_contextvars()


def describe_exception(error: BaseException) -> str:
    """An exception and its causes on one line, secrets masked: `ValueError: x; caused by: OSError: y`."""
    return one_line(_redactor.text("; caused by: ".join(_title(link) for link in _chain(error))))


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's name
        """One line about the line that could not be written; the default prints its arguments, unmasked."""
        error = sys.exc_info()[0]
        try:
            self.stream.write(f"a log line of {record.name} was lost: {error.__name__ if error else '?'}\n")
        except (OSError, ValueError):
            # The stream itself is gone; there is nowhere left to say it.
            return


def _formatter(fmt: str, stream: TextIO) -> logging.Formatter:
    if fmt == "json":
        renderer: Processor = _render_json
    elif fmt == "console":
        renderer = _Console(colors=stream.isatty() and not _no_color())
    else:
        raise ValueError(f"log format {fmt!r}: allowed: console or json")
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.contextvars.merge_contextvars,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.add_log_level,
            _add_extra,
        ],
        processors=[
            _stamp,
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            _explain_exception,
            _mask,
            renderer,
        ],
    )


def _no_color() -> bool:
    import os

    return bool(os.environ.get("NO_COLOR"))


def _number(level: str) -> int:
    number = logging.getLevelNamesMapping().get(level.upper())
    if number is None:
        raise ValueError(f"log level {level!r}: allowed: debug, info, warning or error")
    return number


def _stamp(_logger: Any, _name: str, event: EventDict) -> EventDict:
    record = event.get("_record")
    created = record.created if isinstance(record, logging.LogRecord) else time.time()
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(created))
    event["time"] = f"{seconds}.{int(created % 1 * 1000):03d}Z"
    return event


def _add_extra(_logger: Any, _name: str, event: EventDict) -> EventDict:
    """The fields given as `extra` to the standard library's loggers."""
    record = event.get("_record")
    if isinstance(record, logging.LogRecord):
        for name, value in vars(record).items():
            if name not in _RECORD_FIELDS:
                event.setdefault(name, value)
    return event


def _explain_exception(_logger: Any, _name: str, event: EventDict) -> EventDict:
    error = _exception_of(event.pop("exc_info", None))
    event.pop("stack_info", None)
    if error is not None:
        event["error"] = "; caused by: ".join(_title(link) for link in _chain(error))
        event["frames"] = " | ".join(_frames(link) for link in _chain(error))
    return event


def _exception_of(info: Any) -> BaseException | None:
    if isinstance(info, BaseException):
        return info
    if isinstance(info, tuple):
        return info[1] if isinstance(info[1], BaseException) else None
    return sys.exc_info()[1] if info else None


def _chain(error: BaseException) -> list[BaseException]:
    links = [error]
    while len(links) < _CAUSES:
        last = links[-1]
        following = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if following is None or following in links:
            break
        links.append(following)
    return links


def _title(error: BaseException) -> str:
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - a broken __str__ must not cost the line
        text = "(its __str__ failed)"
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _frames(error: BaseException) -> str:
    """Where it was raised, innermost first."""
    frames = [
        f"{_short(frame.f_code.co_filename)}:{line} {frame.f_code.co_name}"
        for frame, line in walk_tb(error.__traceback__)
    ]
    return " < ".join(frames[: -_FRAMES - 1 : -1])


def _short(filename: str) -> str:
    return "/".join(Path(filename).parts[-3:])


def _mask(_logger: Any, _name: str, event: EventDict) -> EventDict:
    return _redactor.fields(event)


def _render_json(_logger: Any, _name: str, event: EventDict) -> str:
    first = {name: event.pop(name, "") for name in ("time", "level", "logger", "event")}
    text = json.dumps({**first, **event}, ensure_ascii=False, default=str)
    if text.isprintable():
        return text
    # JSON leaves U+2028 and others as they are, at which some readers end a line.
    return "".join(char if char.isprintable() else json.dumps(char)[1:-1] for char in text)


class _Console:
    """`time LEVEL logger: event key=value key="a value"`."""

    def __init__(self, *, colors: bool) -> None:
        self._colors = colors

    def __call__(self, _logger: Any, _name: str, event: EventDict) -> str:
        moment, level = event.pop("time", ""), str(event.pop("level", ""))
        logger, text = event.pop("logger", ""), event.pop("event", "")
        fields = "".join(f" {self._dim(f'{one_line(name)}=')}{_quoted(event[name])}" for name in event)
        shown = self._paint(_COLORS.get(level, "0"), f"{level.upper():<8}")
        return f"{moment} {shown} {one_line(str(logger))}: {one_line(str(text))}{fields}"

    def _dim(self, text: str) -> str:
        return self._paint("2", text)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._colors else text


def _quoted(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    escaped = one_line(text)
    if isinstance(value, str) and (not text or any(mark in text for mark in ' ="')):
        return '"' + escaped.replace('"', '\\"') + '"'
    return escaped


def _install_hooks() -> None:
    """Exceptions that nobody caught take the same way, since Python would print them as they are."""
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_thread
    sys.unraisablehook = _log_unraisable


def _log_uncaught(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if issubclass(kind, KeyboardInterrupt):
        return
    _uncaught.critical("uncaught exception", exc_info=(kind, error, trace))


def _log_thread(failure: threading.ExceptHookArgs) -> None:
    if failure.exc_value is None or issubclass(failure.exc_type, SystemExit):
        return
    thread = failure.thread.name if failure.thread is not None else "?"
    info = (failure.exc_type, failure.exc_value, failure.exc_traceback)
    _uncaught.critical("uncaught exception in a thread", exc_info=info, extra={"in_thread": thread})


def _log_unraisable(failure: sys.UnraisableHookArgs) -> None:
    where = getattr(failure.object, "__qualname__", type(failure.object).__name__)
    info = (failure.exc_type, failure.exc_value or failure.exc_type(), failure.exc_traceback)
    _uncaught.error("exception where none can be raised", exc_info=info, extra={"where": where})
