"""Brings the client library into a process, as fast and as small as it can be shared.

A forkserver preloads all of the library's Python, without its Go half: the Go runtime starts threads the
moment it is loaded, and no fork survives that. Each child then binds the Go half for itself. That rests on
internals of one version of the library, so any other version, and any surprise, falls back to a plain import
in the child.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from types import ModuleType
from typing import Any, NoReturn

DISTRIBUTION = "neonize"
PINNED = "0.5.2"
"""The version whose internals are known."""

_BINDER = f"{DISTRIBUTION}._binder"
_WITHOUT_GO = "SPHINX"
_LOG_WORKER = f"{DISTRIBUTION}.utils.log"


class Preload(StrEnum):
    """How much a forkserver loads before it forks."""

    FULL = "full"
    THIRD_PARTY = "third-party"
    NONE = "none"


class LibraryMismatch(Exception):
    """The installed library is not built as expected."""


@dataclass(frozen=True, slots=True)
class Preloaded:
    """What a preload achieved.

    Attributes:
        level: what is loaded now.
        warning: why it is less than was asked for.
    """

    level: Preload
    warning: str | None = None


class _NotBound:
    """Stands for the Go half until a child binds it."""

    def __getattr__(self, name: str) -> NoReturn:
        raise LibraryMismatch(f"the Go library was used ({name}) before it was bound")


_not_bound = _NotBound()
_waiting: list[ModuleType] = []
"""Modules to which the Go half must be given once it is bound."""


def preload(wanted: Preload) -> Preloaded:
    """Load what the children will share. The Go half is never loaded here."""
    importlib.import_module(
        "pylibmagic"
    )  # before the library: it makes the bundled libmagic known to the loader
    if wanted is Preload.NONE:
        return Preloaded(Preload.NONE)
    warning = None
    if wanted is Preload.FULL:
        try:
            _preload_full()
        except Exception as error:  # noqa: BLE001  (whatever does not fit: the plain import still works)
            _forget_library()
            warning = f"{DISTRIBUTION} cannot be preloaded, ports start slower: {error}"
        else:
            return Preloaded(Preload.FULL)
    with _without_go(), _no_threads():
        _preload_protobufs()
    return Preloaded(Preload.THIRD_PARTY, warning)


def bind(loaded: Preload) -> None:
    """Load the Go half into this process, which must not fork any more.

    Args:
        loaded: what this process has of the library already.

    Raises:
        LibraryMismatch, ImportError, OSError: the library cannot be loaded.
    """
    os.environ.pop(_WITHOUT_GO, None)
    if loaded is Preload.FULL:
        binder = importlib.reload(sys.modules[_BINDER])
        for module in _waiting:
            module.gocode = binder.gocode  # type: ignore[attr-defined]
    else:
        importlib.import_module("pylibmagic")
        with _no_threads():
            importlib.import_module(f"{DISTRIBUTION}.client")


def adapt(write_log: Callable[[str, str, str], None]) -> None:
    """Fit the bound library to a process that holds one connection.

    Its log goes straight to `write_log` instead of through a queue and a thread, and the blocking call runs
    on the thread that calls `connect()` instead of on one more, which that thread would ask for an end five
    times a second.

    Args:
        write_log: gets logger name, level and text of each record.
    """
    client = sys.modules[f"{DISTRIBUTION}.client"]
    for name in ("log_whatsmeow", "Thread"):
        if not hasattr(client, name):
            raise LibraryMismatch(f"{DISTRIBUTION}.client.{name} is gone")
    client.log_whatsmeow = _log_callback(write_log)  # type: ignore[attr-defined]
    client.Thread = _SameThread  # type: ignore[attr-defined]
    media: Any = sys.modules[f"{DISTRIBUTION}.utils.ffmpeg"]
    media._ffmpeg_checked = True  # no media here: spare each port the warning that ffmpeg is missing


class _SameThread:
    """Looks like a `threading.Thread` and runs its target at `start()`."""

    def __init__(self, *, target: Callable[[], object], **_options: object) -> None:
        self.start = target

    def join(self, timeout: float | None = None) -> None:
        """It ended before `start()` returned."""


def _log_callback(write_log: Callable[[str, str, str], None]) -> Callable[[int | None, int], None]:
    string_at = importlib.import_module("ctypes").string_at
    entry = importlib.import_module(f"{DISTRIBUTION}.proto.Neonize_pb2").LogEntry

    def callback(address: int | None, size: int) -> None:
        if address and size > 0:
            record = entry.FromString(string_at(address, size))
            write_log(record.Name, record.Level, record.Message)

    return callback


def _preload_full() -> None:
    found = importlib.metadata.version(DISTRIBUTION)
    if found != PINNED:
        raise LibraryMismatch(f"version {found} is installed, {PINNED} is known")
    with _without_go(), _no_threads():
        binder: Any = importlib.import_module(_BINDER)
        if type(binder.gocode) is not object:
            raise LibraryMismatch(f"{_BINDER} has loaded the Go library in spite of {_WITHOUT_GO}")
        binder.gocode = _not_bound
        client = importlib.import_module(f"{DISTRIBUTION}.client")
        importlib.import_module(f"{DISTRIBUTION}.events")
        if vars(client).get("gocode") is not _not_bound:
            raise LibraryMismatch(f"{DISTRIBUTION}.client takes the Go library from elsewhere")
        importlib.import_module("actors.port.child")
    _waiting.extend(_holders(_not_bound))
    _remember_library_name()


def _preload_protobufs() -> None:
    for name in ("PIL.Image", "magic", "requests", "segno", "phonenumbers", "linkpreview", "tqdm", "sqlite3"):
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    importlib.import_module(f"{DISTRIBUTION}.proto.Neonize_pb2")
    del sys.modules[DISTRIBUTION]  # the stub: the child imports the package itself


def _remember_library_name() -> None:
    """The library runs `uname` in a shell for each load; its answer cannot change."""
    platform = importlib.import_module(f"{DISTRIBUTION}.utils.platform")
    name = platform.generated_name()
    platform.generated_name = lambda *_names: name  # type: ignore[attr-defined]


@contextlib.contextmanager
def _without_go() -> Iterator[None]:
    """Let the library be imported under a stub of its package, with the switch that spares the Go half."""
    spec = importlib.util.find_spec(DISTRIBUTION)
    if spec is None or spec.submodule_search_locations is None:
        raise LibraryMismatch(f"{DISTRIBUTION} is not installed")
    stub = ModuleType(DISTRIBUTION)
    stub.__path__ = list(spec.submodule_search_locations)
    stub.__spec__ = spec
    sys.modules[DISTRIBUTION] = stub
    os.environ[_WITHOUT_GO] = "1"
    try:
        yield
    finally:
        del os.environ[_WITHOUT_GO]


@contextlib.contextmanager
def _no_threads() -> Iterator[None]:
    """Let the library's log worker, which starts on import, not start; refuse any other thread."""
    start = threading.Thread.start

    def note(thread: threading.Thread) -> None:
        target: Any = getattr(thread, "_target", None)
        if getattr(target, "__module__", None) != _LOG_WORKER:
            raise LibraryMismatch(f"an import starts the thread {thread.name!r}")

    threading.Thread.start = note  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]


def _holders(value: object) -> list[ModuleType]:
    """Give the library's modules that have `gocode` by name. Looked for once, before the fork: looking touches all."""
    modules = [module for name, module in sys.modules.items() if name.startswith(f"{DISTRIBUTION}.")]
    return [
        module for module in modules if vars(module).get("gocode") is value and module.__name__ != _BINDER
    ]


def _forget_library() -> None:
    for name in [name for name in sys.modules if name == DISTRIBUTION or name.startswith(f"{DISTRIBUTION}.")]:
        del sys.modules[name]
