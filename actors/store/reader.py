"""A bounded pool of connections that can only read, for any thread."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import peewee

from actors.store.backend import Backend, close_quietly
from actors.store.errors import StoreTimeout, StoreUnavailable
from actors.store.patience import MARGIN, PatientDatabase
from actors.store.sql import execute
from actors.store.tx import Tx

T = TypeVar("T")

_CHECK_EVERY = 20_000
"""SQLite virtual machine steps between two looks at the clock: some milliseconds."""


class Reader:
    """Reads committed rows, each query in a transaction of its own (one consistent snapshot).

    A write made before a query began is seen by it. Connections are opened when first needed and given up
    after an error; at most `size` threads read at once, the others wait within their deadline.

    Args:
        backend: the database.
        size: how many connections at most.
    """

    def __init__(self, backend: Backend, *, size: int = 4, wall: Callable[[], float] = time.time) -> None:
        self._backend = backend
        self._wall = wall
        self._free: queue.LifoQueue[peewee.Database] = queue.LifoQueue()
        self._closed = threading.Event()
        for _ in range(size):
            self._free.put(backend.reader())

    def query(self, read: Callable[[Tx], T], timeout: float = 5.0) -> T:
        """Run a function that only reads, and return what it returns.

        Args:
            timeout: seconds for the wait and the queries together.

        Raises:
            StoreTimeout: not done in time; the query was stopped.
            StoreUnavailable: the database cannot be read now, or the reader was closed.
        """
        deadline = time.monotonic() + timeout
        if self._closed.is_set():
            raise StoreUnavailable("the store is closed")
        try:
            database = self._free.get(timeout=max(timeout, 0))
        except queue.Empty:
            raise StoreTimeout(f"no read connection became free within {timeout:g} s") from None
        try:
            return self._read(database, read, deadline)
        finally:
            self._free.put(database)
            if self._closed.is_set():
                self._close_free()

    def close(self) -> None:
        """Close all connections, those in use when their query ends. Later queries are refused."""
        self._closed.set()
        self._close_free()

    def _read(self, database: peewee.Database, read: Callable[[Tx], T], deadline: float) -> T:
        try:
            if database.is_closed():
                database.connect()
            self._begin(database, deadline)
            try:
                return read(Tx(database, self._wall()))
            finally:
                execute(database, "ROLLBACK")
        except peewee.PeeweeException as error:
            close_quietly(database)
            if time.monotonic() >= deadline:
                raise StoreTimeout("the query took longer than its deadline") from error
            if self._backend.gone(error):
                raise StoreUnavailable(f"the database cannot be read: {error}") from error
            raise

    def _begin(self, database: peewee.Database, deadline: float) -> None:
        """Begin to read, with the database itself stopping a query at its deadline."""
        if isinstance(database, PatientDatabase):
            left = max(int((deadline - time.monotonic()) * 1000), 1)
            database.patience = left / 1000 + MARGIN
            # Both in one round trip.
            execute(database, f"{self._backend.begin_read}; SET LOCAL statement_timeout = {left:d}")
            return

        def late() -> int:
            return int(time.monotonic() > deadline)

        opened: Any = database
        opened.connection().set_progress_handler(late, _CHECK_EVERY)
        execute(database, self._backend.begin_read)

    def _close_free(self) -> None:
        while True:
            try:
                database = self._free.get_nowait()
            except queue.Empty:
                return
            close_quietly(database)
