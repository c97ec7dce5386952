"""Which URLs name a database, who may read its files, and who may open it."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from actors.store import BadStoreUrl, StoreInUse, StoreUnavailable, open_backend
from actors.store.backend import PostgresBackend, SqliteBackend


def test_a_relative_sqlite_file_lies_in_the_data_directory(tmp_path: Path) -> None:
    assert open_backend("sqlite:///zapvisor.db", tmp_path) == SqliteBackend(tmp_path / "zapvisor.db")


def test_an_absolute_sqlite_file_lies_where_it_says(tmp_path: Path) -> None:
    assert open_backend("sqlite:////srv/z.db", tmp_path) == SqliteBackend(Path("/srv/z.db"))


@pytest.mark.parametrize(
    "url", ["postgresql://u:pw@h/db?sslmode=require", "postgres://u:pw@h/db?sslmode=require"]
)
def test_postgres_has_two_spellings(url: str, tmp_path: Path) -> None:
    assert open_backend(url, tmp_path) == PostgresBackend("postgresql://u:pw@h/db?sslmode=require")


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("mysql://u:hush@h/db", "unknown scheme 'mysql'"),
        ("sqlite:///", "needs a file"),
        ("sqlite:///:memory:", "needs a file"),
        ("postgresql://u:hush@h", "needs a database name"),
        ("", "unknown scheme"),
    ],
)
def test_a_url_without_a_database_is_refused_without_telling_its_password(
    url: str, why: str, tmp_path: Path
) -> None:
    with pytest.raises(BadStoreUrl, match=why) as caught:
        open_backend(url, tmp_path)
    assert "hush" not in str(caught.value)


def test_the_repr_of_a_backend_hides_the_password() -> None:
    assert "hush" not in repr(PostgresBackend("postgresql://u:hush@h/db"))


def test_only_the_owner_reads_any_file_of_the_database(tmp_path: Path) -> None:
    previous = os.umask(0)
    try:
        (tmp_path / "z.db").touch(0o666)
        backend = SqliteBackend(tmp_path / "z.db")
        held = backend.prepare()
        database = backend.writer()
        database.connect()
        database.execute_sql("CREATE TABLE t (x)")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
        database.close()
        assert held
        held.release()
    finally:
        os.umask(previous)
    assert modes == {"z.db": 0o600, "z.db-wal": 0o600, "z.db-shm": 0o600, "z.db.lock": 0o600}


def test_what_is_committed_survives_a_power_cut(tmp_path: Path) -> None:
    """In WAL mode, anything less than `full` leaves it to the kernel when a COMMIT reaches the disk."""
    database = SqliteBackend(tmp_path / "z.db").writer()
    database.connect()
    assert database.execute_sql("PRAGMA synchronous").fetchone()[0] == 2
    database.close()


def test_a_second_host_on_the_same_file_is_refused_and_told_which_process_has_it(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "z.db")
    first = backend.prepare()
    assert first
    with pytest.raises(StoreInUse, match=rf"process {os.getpid()}\) is using .*z\.db$"):
        backend.prepare()
    first.release()
    second = backend.prepare()
    assert second
    second.release()


def test_a_second_host_on_the_same_postgres_database_is_refused(postgres_url: str, tmp_path: Path) -> None:
    backend = open_backend(postgres_url, tmp_path)
    first, second = backend.writer(), backend.writer()
    first.connect()
    second.connect()
    backend.hold(first)
    with pytest.raises(StoreInUse, match="another zapvisor host"):
        backend.hold(second)
    first.close()
    backend.hold(second)
    second.close()


def test_a_place_that_cannot_be_written_is_said_to_be_unavailable(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StoreUnavailable, match="cannot open"):
        SqliteBackend(tmp_path / "file" / "z.db").prepare()


def test_a_reader_cannot_write(backend: PostgresBackend | SqliteBackend, writer: object) -> None:
    reader = backend.reader()
    reader.connect()
    with pytest.raises(Exception, match="read"):
        reader.execute_sql("DELETE FROM instance")
    reader.close()
