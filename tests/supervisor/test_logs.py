"""One line an event, whoever wrote it, and no secret in any of them."""

from __future__ import annotations

import gc
import io
import json
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from supervisor import logs
from supervisor.redaction import Redactor

Lines = Callable[[], list[str]]


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Everything that `configure` sets for the process is put back."""
    hooks = (sys.excepthook, threading.excepthook, sys.unraisablehook)
    monkeypatch.setattr(logs, "_redactor", Redactor())
    level = logging.getLogger().level
    yield
    root = logging.getLogger()
    root.setLevel(level)
    root.handlers = [handler for handler in root.handlers if type(handler).__module__ != logs.__name__]
    logging.captureWarnings(False)
    sys.excepthook, threading.excepthook, sys.unraisablehook = hooks
    structlog.reset_defaults()


def own_handler() -> logging.Handler:
    (handler,) = (one for one in logging.getLogger().handlers if type(one).__module__ == logs.__name__)
    return handler


@pytest.fixture
def stream() -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def console(stream: io.StringIO) -> Lines:
    logs.configure("info", "console", stream)
    return lambda: stream.getvalue().splitlines()


@pytest.fixture
def records(stream: io.StringIO) -> Callable[[], list[dict[str, Any]]]:
    logs.configure("info", "json", stream)
    return lambda: [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_for_people(console: Lines) -> None:
    logs.get_logger("zapvisor.session", instance="sales").info(
        "disconnected", code=428, cause="link lost", empty=""
    )
    (line,) = console()
    assert line[10] == "T"
    assert (
        line[24:]
        == ' INFO     zapvisor.session: disconnected instance=sales code=428 cause="link lost" empty=""'
    )


def test_a_line_for_machines(records: Callable[[], list[dict[str, Any]]]) -> None:
    logs.get_logger("zapvisor.session").warning("disconnected", code=428, detail={"a": [1, "b"]}, ok=None)
    (record,) = records()
    assert list(record)[:4] == ["time", "level", "logger", "event"]
    assert record["time"].endswith("Z")
    assert record | {"time": ""} == {
        "time": "",
        "level": "warning",
        "logger": "zapvisor.session",
        "event": "disconnected",
        "code": 428,
        "detail": {"a": [1, "b"]},
        "ok": None,
    }


def test_libraries_go_the_same_way(records: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("some.library").warning("%s is %d", "x", 3, extra={"path": "instances/sales"})
    warnings.warn("careful", stacklevel=1)
    first, second = records()
    assert (first["logger"], first["event"], first["path"]) == ("some.library", "x is 3", "instances/sales")
    assert second["logger"] == "py.warnings"
    assert "careful" in second["event"]


def test_chatty_libraries_are_kept_quiet(console: Lines, stream: io.StringIO) -> None:
    logs.configure("debug", "console", stream)
    for name in ("httpx", "httpcore.http11", "peewee", "urllib3"):
        logging.getLogger(name).info("https://example.org/secret-path")
        logging.getLogger(name).debug("SELECT secret")
    logging.getLogger("zapvisor.x").debug("own")
    assert [line.partition("zapvisor.x: ")[2] for line in console()] == ["own"]


def test_the_level_is_the_least_that_is_written(stream: io.StringIO) -> None:
    logs.configure("error", "console", stream)
    logger = logs.get_logger("x")
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, level)(level)
    assert [line.split()[1] for line in stream.getvalue().splitlines()] == ["ERROR", "CRITICAL"]


def test_configuring_again_replaces_what_was(stream: io.StringIO) -> None:
    other = io.StringIO()
    logs.configure("info", "console", other)
    logs.configure("debug", "json", stream)
    logs.get_logger("x").debug("once")
    assert other.getvalue() == ""
    assert json.loads(stream.getvalue())["event"] == "once"


@pytest.mark.parametrize(("level", "fmt"), [("loud", "console"), ("info", "xml")])
def test_unknown_levels_and_formats_are_refused(level: str, fmt: Any) -> None:
    with pytest.raises(ValueError, match="allowed"):
        logs.configure(level, fmt)


def test_context_reaches_every_line_inside_it(records: Callable[[], list[dict[str, Any]]]) -> None:
    with logs.context(request_id="r1"):
        assert logs.context_fields() == {"request_id": "r1"}
        logs.get_logger("a").info("ours")
        logging.getLogger("b").info("theirs")
    logging.getLogger("b").info("after")
    assert [record.get("request_id") for record in records()] == ["r1", "r1", None]


@pytest.mark.parametrize("fmt", ["console", "json"])
def test_no_value_can_forge_a_line(stream: io.StringIO, fmt: Any) -> None:
    logs.configure("info", fmt, stream)
    forged = "x\n2026-01-01T00:00:00.000Z ERROR forged\r\x1b[2J\u2028\x85\x0b"
    logs.get_logger("a").info(forged, **{f"key{forged}": forged, "nested": {forged: [forged]}})
    logging.getLogger(f"b{forged}").error(forged, exc_info=ValueError(forged))
    assert len(stream.getvalue().splitlines()) == 2
    assert all(line.isprintable() for line in stream.getvalue().split("\n"))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(), st.dictionaries(st.text(), st.text()), st.sampled_from(["console", "json"]))
def test_any_event_is_one_line(text: str, fields: dict[str, str], fmt: Any) -> None:
    stream = io.StringIO()
    logs.configure("info", fmt, stream)
    logging.getLogger("x").info("%s", text, extra={"fields": fields})
    assert len(stream.getvalue().splitlines()) == 1
    assert stream.getvalue()[:-1].isprintable()


@pytest.mark.parametrize("fmt", ["console", "json"])
def test_an_exception_is_told_on_the_line_with_its_causes(stream: io.StringIO, fmt: Any) -> None:
    logs.configure("info", fmt, stream)
    logs.register_secret("s3cr3t-value")
    try:
        try:
            raise OSError("disk\nfull s3cr3t-value")
        except OSError as error:
            raise ValueError("apikey: k3y-value") from error
    except ValueError:
        logs.get_logger("a").exception("failed")
        logging.getLogger("b").exception("failed")
    first, second = stream.getvalue().splitlines()
    for line in (first, second):
        assert "ValueError: apikey: ***; caused by: OSError: disk\\nfull ***" in line
        assert "test_logs.py:" in line
        assert "s3cr3t" not in line
        assert "k3y" not in line


def test_exceptions_that_nobody_catches_are_lines_too(
    records: Callable[[], list[dict[str, Any]]], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.register_secret("s3cr3t-value")
    error = RuntimeError("s3cr3t-value")
    sys.excepthook(RuntimeError, error, None)
    threading.excepthook(threading.ExceptHookArgs((RuntimeError, error, None, threading.current_thread())))

    class Fails:
        def __del__(self) -> None:
            raise RuntimeError("s3cr3t-value")

    Fails()
    gc.collect()
    assert [(record["level"], record["error"]) for record in records()] == [
        ("critical", "RuntimeError: ***"),
        ("critical", "RuntimeError: ***"),
        ("error", "RuntimeError: ***"),
    ]
    assert capsys.readouterr() == ("", "")


def test_a_line_that_cannot_be_formatted_is_reported_without_its_arguments(stream: io.StringIO) -> None:
    logs.configure("info", "console", stream)
    record = logging.makeLogRecord({"name": "x", "msg": "%d", "args": ("s3cr3t-value",)})
    own_handler().handle(record)
    assert stream.getvalue() == "a log line of x was lost: TypeError\n"


def test_a_stream_that_is_gone_harms_nobody(stream: io.StringIO) -> None:
    logs.configure("info", "console", stream)
    stream.close()
    logging.getLogger("x").info("into the void")


def test_only_a_terminal_gets_colours(monkeypatch: pytest.MonkeyPatch, stream: io.StringIO) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    terminal = Terminal()
    for target in (terminal, stream):
        logs.configure("info", "console", target)
        logs.get_logger("x").info("y")
    monkeypatch.setenv("NO_COLOR", "1")
    plain = Terminal()
    logs.configure("info", "console", plain)
    logs.get_logger("x").info("y")
    assert ["\x1b[" in shown.getvalue() for shown in (terminal, stream, plain)] == [True, False, False]


def test_redact_is_for_texts_outside_of_logs() -> None:
    logs.register_secret("s3cr3t-value")
    assert logs.redact("a s3cr3t-value\nb") == "a ***\\nb"
    logs.forget_secret("s3cr3t-value")
    assert logs.redact("a s3cr3t-value") == "a s3cr3t-value"
    assert logs.describe_exception(ValueError("password=x")) == "ValueError: password=***"
