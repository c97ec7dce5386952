"""A session database is looked at before the client library gets it."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from actors.port.session_file import check, library_name

JID = "5511999:2@s.whatsapp.net"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    path = tmp_path / "a b?c#%41.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE whatsmeow_device (jid TEXT PRIMARY KEY)")
        connection.execute("INSERT INTO whatsmeow_device VALUES (?)", [JID])
    connection.close()
    return path


def test_a_database_with_the_device_is_fine(database: Path) -> None:
    assert check(database, JID) is None
    assert check(database, None) is None


def test_a_new_database_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "new.db"
    assert check(path, None) is None
    assert path.stat().st_mode & 0o777 == 0o600


def test_a_device_that_is_not_there_is_missing(database: Path, tmp_path: Path) -> None:
    for path in (database, tmp_path / "none.db"):
        fault = check(path, "1:1@s.whatsapp.net")
        assert fault is not None
        assert fault.fault == "device-missing"
    assert not (tmp_path / "none.db").exists()


def test_an_empty_database_has_no_device(tmp_path: Path) -> None:
    path = tmp_path / "empty.db"
    path.touch()
    fault = check(path, JID)
    assert fault is not None
    assert fault.fault == "device-missing"


def test_a_file_that_is_no_database_is_corrupt(tmp_path: Path) -> None:
    path = tmp_path / "broken.db"
    path.write_bytes(b"nonsense" * 1000)
    for jid in (JID, None):
        fault = check(path, jid)
        assert fault is not None
        assert fault.fault == "corrupt"


def test_a_missing_folder_or_a_folder_in_its_place_says_nothing_about_the_session(tmp_path: Path) -> None:
    for path in (tmp_path / "gone" / "a.db", tmp_path):
        for jid in (JID, None):
            fault = check(path, jid)
            assert fault is not None
            assert fault.fault == "unavailable"


def test_a_locked_database_says_nothing_about_the_session(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.port.session_file._BUSY_SECONDS", 0.05)
    with sqlite3.connect(database, isolation_level=None) as writer:
        writer.execute("BEGIN EXCLUSIVE")
        fault = check(database, JID)
    writer.close()
    assert fault is not None
    assert fault.fault == "unavailable"


def test_a_killed_writers_journal_is_rolled_back(database: Path, tmp_path: Path) -> None:
    """A hot journal needs write access: a read-only look would call a good session unusable."""
    hot = tmp_path / "hot.db"
    with sqlite3.connect(database, isolation_level=None) as writer:
        writer.execute("PRAGMA cache_size = 1")
        writer.execute("BEGIN")
        writer.execute(
            "CREATE TABLE filler AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n "
            "WHERE i < 5000) SELECT i, randomblob(100) FROM n"
        )
        hot.write_bytes(database.read_bytes())
        hot.with_name("hot.db-journal").write_bytes(
            database.with_name(database.name + "-journal").read_bytes()
        )
        writer.execute("ROLLBACK")
    writer.close()
    assert check(hot, JID) is None


def test_the_library_is_told_a_name_that_survives_its_uri(database: Path) -> None:
    with sqlite3.connect(f"file:{library_name(database)}?mode=ro", uri=True) as connection:
        assert connection.execute("SELECT jid FROM whatsmeow_device").fetchall() == [(JID,)]
    connection.close()
