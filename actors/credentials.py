"""Where an instance's WhatsApp credentials are: one SQLite file each, or rows in a shared PostgreSQL."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Protocol

from actors.store.patience import cut
from supervisor.config import Settings
from supervisor.otp.context import check_not_fenced

CONNECT_TIMEOUT = 5
"""Whole seconds to wait for a connection to PostgreSQL, for each address of its name."""
STATEMENT_TIMEOUT = 5.0
"""Seconds after which PostgreSQL gives a statement up."""
STATEMENT_MARGIN = 1.0
"""Seconds that the server has beyond that before the connection is cut: it may stand still, or be out of reach."""
DEADLINE = CONNECT_TIMEOUT + STATEMENT_TIMEOUT + STATEMENT_MARGIN
"""Seconds that a question to PostgreSQL takes at the most."""


class CredentialsUnavailable(Exception):
    """The place where the credentials are cannot be reached now."""


class Credentials(Protocol):
    """A store of session credentials.

    Attributes:
        by_device: what is deleted goes by the device; else it is whatever is stored for the instance.
    """

    by_device: ClassVar[bool]

    def url(self, instance_id: str) -> str:
        """Where a port finds the session of an instance."""

    def exist(self, instance_id: str, jid: str | None) -> bool:
        """Whether there is anything stored for the instance's device.

        Raises:
            CredentialsUnavailable: nobody can tell.
        """

    def delete(self, instance_id: str, jid: str | None) -> None:
        """Remove everything that is stored for the instance's device; nothing stored is no error.

        Raises:
            CredentialsUnavailable: they may still be there.
            Fenced: the calling actor was killed meanwhile; they may still be there.
        """

    def sweep(self) -> None:
        """Remove what a deletion had begun to remove when its process ended.

        Raises:
            CredentialsUnavailable: it may still be there.
        """


def open_credentials(settings: Settings) -> Credentials:
    """The credential store that `[sessions] url` asks for."""
    url = settings.sessions.url
    if url is None:
        return FileCredentials(settings.host.data_dir / "sessions")
    return PostgresCredentials(url.get_secret_value())


class FileCredentials:
    """One SQLite file for each instance, in a directory that its owner alone can enter."""

    by_device: ClassVar[bool] = False
    SUFFIXES = ("", "-wal", "-shm", "-journal")
    GONE = ".gone-"
    """What a file is renamed to before it is removed, with something unique behind it.

    To remove may hang for as long as the disk does, and by the time it goes on the instance may have a new file.
    """

    def __init__(self, directory: Path) -> None:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.chmod(0o700)
        self._directory = directory

    def url(self, instance_id: str) -> str:
        return str(self._file(instance_id))

    def exist(self, instance_id: str, jid: str | None = None) -> bool:
        try:
            return any(_is_there(file) for file in self._files(instance_id))
        except OSError as error:
            raise CredentialsUnavailable(str(error.strerror)) from error

    def delete(self, instance_id: str, jid: str | None = None) -> None:
        aside = f"{self.GONE}{secrets.token_hex(8)}"
        try:
            for file in self._files(instance_id):
                check_not_fenced()  # the one before may have taken very long
                with suppress(FileNotFoundError):
                    file.rename(f"{file}{aside}")
        except OSError as error:
            raise CredentialsUnavailable(str(error.strerror)) from error
        self._remove_aside(f"{instance_id}.db*{self.GONE}*")

    def sweep(self) -> None:
        self._remove_aside(f"*{self.GONE}*")

    def _remove_aside(self, pattern: str) -> None:
        try:
            for file in self._directory.glob(pattern):
                file.unlink(missing_ok=True)
        except OSError as error:
            raise CredentialsUnavailable(str(error.strerror)) from error

    def _files(self, instance_id: str) -> list[Path]:
        return [Path(f"{self._file(instance_id)}{suffix}") for suffix in self.SUFFIXES]

    def _file(self, instance_id: str) -> Path:
        return self._directory / f"{instance_id}.db"


def _is_there(file: Path) -> bool:
    """Whether there is a file. Unlike `Path.exists` of newer Pythons it does not take "cannot be told" for "no".

    Raises:
        OSError: it cannot be told.
    """
    try:
        file.stat()
    except FileNotFoundError:
        return False
    return True


class PostgresCredentials:
    """Rows that the client library keeps in one PostgreSQL database, by the JID of the linked device."""

    by_device: ClassVar[bool] = True
    TABLE = "whatsmeow_device"
    """Its other tables refer to this one and are emptied with it."""

    def __init__(self, url: str) -> None:
        self._url = url

    def url(self, instance_id: str) -> str:
        return self._url

    def exist(self, instance_id: str, jid: str | None) -> bool:
        return jid is not None and bool(self._execute("SELECT count(*) FROM {table} WHERE jid = %s", jid))

    def delete(self, instance_id: str, jid: str | None) -> None:
        if jid is not None:
            self._execute(
                "WITH gone AS (DELETE FROM {table} WHERE jid = %s RETURNING 1) SELECT count(*) FROM gone", jid
            )

    def sweep(self) -> None:
        """Nothing is ever half deleted."""

    def _execute(self, statement: str, jid: str) -> int:
        import psycopg
        from psycopg import sql

        query = sql.SQL(statement).format(table=sql.Identifier(self.TABLE))
        options = f"-c statement_timeout={int(STATEMENT_TIMEOUT * 1000)}"
        opened = partial(psycopg.connect, connect_timeout=CONNECT_TIMEOUT, options=options, autocommit=True)
        try:
            # One statement, and a transaction of its own: each more is one more to wait for.
            with opened(self._url) as connection, patience(connection, STATEMENT_TIMEOUT + STATEMENT_MARGIN):
                row = connection.execute(query, (jid,)).fetchone()
                return int(row[0]) if row else 0
        except psycopg.errors.UndefinedTable:
            return 0  # no device was ever linked
        except psycopg.Error as error:
            raise CredentialsUnavailable(type(error).__name__) from error


@contextmanager
def patience(connection: Any, seconds: float) -> Iterator[None]:
    """Cut a psycopg connection whose server says nothing for some seconds, which no timeout of its own would end."""
    timer = threading.Timer(seconds, cut, (connection,))
    timer.name, timer.daemon = "credentials patience", True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
