"""A PostgreSQL connection on which no statement takes for ever, whatever the server does or fails to do."""

from __future__ import annotations

import os
import socket
import threading
import time
from contextlib import suppress
from typing import Any

import peewee

MARGIN = 5.0
"""Seconds that the server has beyond a deadline of its own before the connection is given up."""


class PatientDatabase(peewee.PostgresqlDatabase):
    """Cuts its connection when a statement is not answered in time; the statement then fails as on any lost one.

    The server's own `statement_timeout` is of no use when its process is frozen, and keep-alives are answered by
    the kernel. One timer serves many statements: it looks at the latest when it runs out.

    Attributes:
        patience: seconds that a statement may take, `MARGIN` included.
    """

    patience: float
    _until: float | None = None
    _timer: threading.Timer | None = None

    def execute_sql(self, sql: Any, params: Any = None) -> Any:
        run: Any = super().execute_sql
        self._until = time.monotonic() + self.patience
        if self._timer is None:
            self._watch(self.patience)
        try:
            return run(sql, params)
        finally:
            self._until = None

    def close(self) -> Any:
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        return super().close()

    def _watch(self, seconds: float) -> None:
        timer = threading.Timer(seconds, self._look)
        timer.name, timer.daemon = "store patience", True
        self._timer = timer
        timer.start()

    def _look(self) -> None:
        """On the timer's thread. A statement that begins meanwhile either is seen here or sets a timer itself."""
        self._timer = None
        until = self._until
        if until is None:
            return
        left = until - time.monotonic()
        if left > 0:
            self._watch(left)
        else:
            self._cut()

    def _cut(self) -> None:
        opened: Any = self
        connection = opened._state.conn  # not `connection()`, which would make a new one
        if connection is not None:
            cut(connection)


def cut(connection: Any) -> None:
    """End a psycopg connection that another thread waits on; what that waits for fails as on any lost one."""
    with suppress(Exception):  # it may be closed by its owner at any moment
        link = os.dup(connection.pgconn.socket)
        with socket.socket(fileno=link) as ours:
            if not connection.closed:  # closed before, the number may be another file's
                ours.shutdown(socket.SHUT_RDWR)
