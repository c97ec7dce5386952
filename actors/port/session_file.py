"""Looks at a SQLite session database before the client library gets it.

The library aborts the process when it is told a device that its database does not hold, so that is found out
here. The check only reads (SQLite may first roll back what a killed writer left), and it closes its
connection before the library opens its own: SQLite's locks are the process's
(https://www.sqlite.org/howtocorrupt.html section 2.2).
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from actors.port.events import SessionStoreFailed
from actors.port.failures import store_fault

_BUSY_SECONDS = 5.0


def check(path: Path, jid: str | None) -> SessionStoreFailed | None:
    """Give what is wrong with the session database, or None.

    A file that does not exist is made, readable by its owner alone, when no device is asked for.

    Args:
        path: the database.
        jid: the device that it must hold; None for any or none.
    """
    try:
        if jid is None:
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        else:
            os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    except FileNotFoundError as error:
        lost = path.parent.is_dir()
        return SessionStoreFailed(_text(error), "device-missing" if lost else "unavailable")
    except OSError as error:
        return SessionStoreFailed(_text(error), "unavailable")
    try:
        held = _devices(path)
    except sqlite3.DatabaseError as error:
        return SessionStoreFailed(f"session database: {error}", store_fault(str(error)))
    if jid is not None and jid not in held:
        return SessionStoreFailed(f"session database does not hold the device {jid}", "device-missing")
    return None


def library_name(path: Path) -> str:
    """Give the path as the library must be told it: it makes a `file:` URI of it without quoting."""
    return quote(str(path))


def _devices(path: Path) -> set[str]:
    with closing(
        sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=_BUSY_SECONDS)
    ) as database:
        tables = database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'whatsmeow_device'")
        if not tables.fetchone()[0]:
            return set()
        return {row[0] for row in database.execute("SELECT jid FROM whatsmeow_device")}


def _text(error: OSError) -> str:
    return f"session database: {error.strerror}"
