"""Which database the store uses, how it is opened, and which of its errors mean that it is gone."""

from __future__ import annotations

import fcntl
import os
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

import peewee

from actors.store.errors import BadStoreUrl, StoreInUse, StoreUnavailable
from actors.store.patience import MARGIN, PatientDatabase
from actors.store.sql import execute

BUSY_TIMEOUT = 5.0
"""Seconds to wait for a SQLite lock that a foreign program (a backup, a shell) holds."""

STATEMENT_TIMEOUT = 15.0
"""Seconds after which PostgreSQL gives a statement of the writer up."""

CONNECT_TIMEOUT = 5
"""Whole seconds to wait for a PostgreSQL connection (libpq knows no fractions)."""

LOCK_WAIT = 3.0
"""Seconds to wait for the PostgreSQL lock of a host that was killed a moment ago."""

ADVISORY_LOCK = 0x7A617076
"""Key of the advisory lock that the one writing host holds ("zapv")."""

_SQLITE_BROKEN = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_READONLY_DBMOVED")
"""Damaged, or replaced by another file: waiting mends none of that."""

_SQLITE_GONE = frozenset(
    {
        "SQLITE_BUSY",
        "SQLITE_CANTOPEN",
        "SQLITE_CORRUPT",
        "SQLITE_FULL",
        "SQLITE_INTERRUPT",
        "SQLITE_IOERR",
        "SQLITE_LOCKED",
        "SQLITE_NOMEM",
        "SQLITE_NOTADB",
        "SQLITE_PROTOCOL",
        "SQLITE_READONLY",
    }
)

_POSTGRES_GONE = ("08", "53", "57", "58", "XX")
"""SQLSTATE classes: connection, resources, operator intervention, system, internal error."""


class Held(Protocol):
    """What keeps other hosts out of the database."""

    def release(self) -> None:
        """Let them in."""


class Backend(Protocol):
    """A database by its URL. Nothing is opened before one of the methods is called."""

    @property
    def begin(self) -> str:
        """The statement that starts a writing transaction."""

    @property
    def begin_read(self) -> str:
        """The statement that starts a reading transaction, in which all queries see the same rows."""

    def writer(self) -> peewee.Database:
        """An unopened database for the one writer."""

    def reader(self) -> peewee.Database:
        """An unopened database whose connection refuses writes, usable from one thread at a time."""

    def prepare(self) -> Held | None:
        """Create what must be there before the writer connects; keep other hosts out if that comes first.

        Raises:
            StoreInUse: another host has it.
            StoreUnavailable: the place cannot be written.
        """

    def hold(self, database: peewee.Database) -> Held | None:
        """Keep other hosts out, if that needs the writer's connection.

        Raises:
            StoreInUse: another host has it.
        """

    def gone(self, error: BaseException) -> bool:
        """Whether the error means that the database cannot be used, as opposed to a wrong statement."""

    def broken(self, error: BaseException) -> bool:
        """Whether the database cannot be used and will not be by waiting."""

    def identity(self, database: peewee.Database) -> str | None:
        """The server's name for a connection, for `end`; None where there is no server."""

    def end(self, database: peewee.Database, identity: str) -> bool:
        """End another connection of this host that the server may still believe in, and say whether it does."""

    def open(self, database: peewee.Database) -> str | None:
        """Begin a writing transaction.

        Returns:
            What to ask for with `committed` when the answer to its COMMIT is lost; None if that is no question.
        """

    def aborted(self, database: peewee.Database) -> bool:
        """Whether the open transaction can only be undone: to COMMIT it would undo it, and say that all is well."""

    def committed(self, database: peewee.Database, ticket: str) -> bool:
        """Whether the transaction with that ticket was committed, asked on another connection."""


def open_backend(url: str, data_dir: Path) -> Backend:
    """Read a store URL.

    Args:
        url: `sqlite:///file.db` (relative to `data_dir`), `sqlite:////absolute/file.db` or `postgresql://…`.
        data_dir: the host's data directory.

    Raises:
        BadStoreUrl: another scheme, or no database name. The text never holds the URL's password.
    """
    parts = urlsplit(url)
    if parts.scheme == "sqlite":
        name = unquote(parts.path.removeprefix("/"))
        if parts.netloc or not name or ":memory:" in name:
            raise BadStoreUrl("store url: sqlite needs a file, as in sqlite:///zapvisor.db")
        return SqliteBackend(Path(data_dir).absolute() / name)
    if parts.scheme in ("postgresql", "postgres"):
        if not parts.path.strip("/"):
            raise BadStoreUrl("store url: postgresql needs a database name, as in postgresql://host/zapvisor")
        return PostgresBackend("postgresql" + url[len(parts.scheme) :])
    raise BadStoreUrl(f"store url: unknown scheme {parts.scheme!r}, allowed are sqlite and postgresql")


@dataclass(frozen=True, slots=True)
class SqliteBackend:
    """A SQLite file in WAL mode, readable by its owner alone.

    SQLite makes the WAL and index files with the mode of the database file
    (https://www.sqlite.org/wal.html), so that one mode protects all three.
    """

    path: Path
    begin = "BEGIN IMMEDIATE"
    begin_read = "BEGIN"

    def writer(self) -> peewee.Database:
        return self._database(
            journal_mode="wal",
            synchronous="full",
            foreign_keys=1,
            secure_delete="fast",
            wal_autocheckpoint=1000,
            journal_size_limit=16 * 1024 * 1024,
        )

    def reader(self) -> peewee.Database:
        return self._database(query_only=1)

    def prepare(self) -> Held | None:
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = FileLock(self.path.with_name(self.path.name + ".lock"))
            private_file(self.path)
        except OSError as error:
            raise StoreUnavailable(f"cannot open {self.path}: {error.strerror}") from error
        return lock

    def hold(self, database: peewee.Database) -> Held | None:
        return None

    def gone(self, error: BaseException) -> bool:
        name = _sqlite_name(error)
        if name:
            return any(name == base or name.startswith(f"{base}_") for base in _SQLITE_GONE)
        return isinstance(error, peewee.InterfaceError)

    def broken(self, error: BaseException) -> bool:
        return _sqlite_name(error).startswith(_SQLITE_BROKEN)

    def identity(self, database: peewee.Database) -> str | None:
        return None

    def end(self, database: peewee.Database, identity: str) -> bool:
        return False

    def open(self, database: peewee.Database) -> str | None:
        """None: a COMMIT that fails has not happened, since nobody can lose SQLite's answer."""
        execute(database, self.begin)
        return None

    def aborted(self, database: peewee.Database) -> bool:
        """False: SQLite refuses a COMMIT where there is no transaction any more."""
        return False

    def committed(self, database: peewee.Database, ticket: str) -> bool:
        return False

    def _database(self, **pragmas: Any) -> peewee.Database:
        return peewee.SqliteDatabase(
            str(self.path),
            pragmas=pragmas,
            timeout=BUSY_TIMEOUT,
            thread_safe=False,
            check_same_thread=False,
        )


@dataclass(frozen=True, slots=True)
class PostgresBackend:
    """A PostgreSQL database by its connection URI, through psycopg 3."""

    uri: str = field(repr=False)
    begin = "BEGIN"
    begin_read = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"

    def writer(self) -> peewee.Database:
        return self._database("zapvisor writer", f"-c statement_timeout={STATEMENT_TIMEOUT:.0f}s")

    def reader(self) -> peewee.Database:
        return self._database("zapvisor reader", "-c default_transaction_read_only=on")

    def prepare(self) -> Held | None:
        try:
            import psycopg
        except ImportError as error:
            raise BadStoreUrl(
                "store url: postgresql needs psycopg: pip install 'zapvisor[postgres]'"
            ) from error
        del psycopg
        return None

    def hold(self, database: peewee.Database) -> Held | None:
        """Take an advisory lock; PostgreSQL frees it when this connection ends, however it ends."""
        execute(database, f"SET lock_timeout = {LOCK_WAIT * 1000:.0f}")
        try:
            execute(database, "SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        except peewee.OperationalError as error:
            if getattr(_driver_error(error), "sqlstate", None) == "55P03":
                raise StoreInUse("another zapvisor host is using this PostgreSQL database") from None
            raise
        execute(database, "SET lock_timeout = 0")
        return None

    def gone(self, error: BaseException) -> bool:
        driver = _driver_error(error)
        state = getattr(driver, "sqlstate", None)
        if state is None:
            return isinstance(error, peewee.InterfaceError | peewee.OperationalError)
        return str(state).startswith(_POSTGRES_GONE)

    def broken(self, error: BaseException) -> bool:
        return False

    def identity(self, database: peewee.Database) -> str | None:
        row = execute(
            database,
            "SELECT pid || ' ' || backend_start::text FROM pg_stat_activity WHERE pid = pg_backend_pid()",
        ).fetchone()
        return None if row is None else str(row[0])

    def end(self, database: peewee.Database, identity: str) -> bool:
        """The server notices a connection whose network is gone only after hours; until then it holds the lock."""
        ended = execute(
            database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE pid || ' ' || backend_start::text = %s",
            (identity,),
        )
        return bool(ended.fetchall())

    def open(self, database: peewee.Database) -> str | None:
        """The ticket is a row that the transaction writes: a server that took over may have lost the one or not.

        The transaction's number would not do: such a server gives the same number to another transaction.
        """
        ticket = secrets.token_hex(16)
        execute(  # one round trip
            database,
            f"{self.begin}; INSERT INTO meta (key, value) VALUES ('ticket', '{ticket}')"  # noqa: S608
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        return ticket

    def aborted(self, database: peewee.Database) -> bool:
        opened: Any = database
        return bool(opened.connection().info.transaction_status.name == "INERROR")

    def committed(self, database: peewee.Database, ticket: str) -> bool:
        """The new connection holds the advisory lock, so the old one has ended and there is an answer."""
        row = execute(database, "SELECT value FROM meta WHERE key = 'ticket'").fetchone()
        return row is not None and row[0] == ticket

    def _database(self, application: str, options: str) -> peewee.Database:
        database = PatientDatabase(
            self.uri,
            prefer_psycopg3=True,
            thread_safe=False,
            application_name=application,
            connect_timeout=CONNECT_TIMEOUT,
            options=options,
            keepalives_idle=15,
            keepalives_interval=5,
            keepalives_count=3,
            tcp_user_timeout=int(STATEMENT_TIMEOUT * 1000),
        )
        database.patience = STATEMENT_TIMEOUT + MARGIN
        return database


class FileLock:
    """An exclusive `flock` on a file of its own; the kernel frees it when the process dies."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor = private_file(path, keep=True)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip() or "unknown"
            os.close(self._descriptor)
            raise StoreInUse(
                f"another zapvisor host (process {owner}) is using {path.with_suffix('')}"
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, f"{os.getpid()}\n".encode(), 0)

    def release(self) -> None:
        """Let the next one in. Safe to call twice."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


def private_file(path: Path, *, keep: bool = False) -> int:
    """Make sure that a file exists and that only its owner can read it.

    Args:
        keep: return the open descriptor instead of closing it.

    Raises:
        OSError: the file cannot be created, or belongs to somebody else.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.fstat(descriptor).st_mode & 0o077:
            os.fchmod(descriptor, 0o600)
    except OSError:
        os.close(descriptor)
        raise
    if keep:
        return descriptor
    os.close(descriptor)
    return -1


def close_quietly(database: peewee.Database) -> None:
    """Close a connection that may be broken already."""
    with suppress(peewee.PeeweeException, OSError):
        database.close()


def _sqlite_name(error: BaseException) -> str:
    """The symbolic name of a SQLite error, or nothing."""
    return str(getattr(_driver_error(error), "sqlite_errorname", "") or "")


def _driver_error(error: BaseException) -> BaseException:
    """The driver's own exception inside peewee's."""
    inner = getattr(error, "orig", None)
    return inner if isinstance(inner, BaseException) else error
