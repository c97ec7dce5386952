"""What waited for a database that was gone: all that is committed is announced, and one unit holds up no other."""

from __future__ import annotations

import resource
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peewee
import pytest

from actors.store import (
    Backend,
    Instance,
    Outcome,
    StoreInDoubt,
    StoreUnavailable,
    Tx,
    instances,
    new_id,
    open_backend,
)
from actors.store import group as group_module
from actors.store.backend import SqliteBackend
from actors.store.group import FAILURES, Group, Stranded
from actors.store.migrations import MIGRATIONS, migrate
from actors.store.outbox import append, events_after
from actors.store.sql import execute


@pytest.fixture
def group(backend: Backend, writer: peewee.Database) -> Group:
    return Group(writer, backend, lambda: 1000.0)


@pytest.fixture
def database(postgres_url: str, tmp_path: Path) -> Iterator[peewee.Database]:
    """Only of PostgreSQL can the answer to a COMMIT be lost."""
    database = open_backend(postgres_url, tmp_path).writer()
    database.connect()
    migrate(database, MIGRATIONS)
    yield database
    database.close()


@pytest.fixture
def far(postgres_url: str, tmp_path: Path, database: peewee.Database) -> Group:
    return Group(database, open_backend(postgres_url, tmp_path), lambda: 1000.0)


def inserting(name: str, **more: Any) -> Callable[[Tx], str]:
    return lambda tx: instances.insert(tx, Instance(name=name, token=new_id(), **more)).name


def naming(topic: str) -> Callable[[Tx], str]:
    def unit(tx: Tx) -> str:
        tx.notify(topic)
        return inserting(topic)(tx)

    return unit


def names(database: peewee.Database) -> list[str]:
    return [row[0] for row in execute(database, "SELECT name FROM instance ORDER BY name").fetchall()]


def refusing(monkeypatch: pytest.MonkeyPatch, after: int) -> None:
    """Every COMMIT fails but the first ones, as on a disk that is full, or with a connection that is lost."""
    left = iter(range(after))

    def run(database: peewee.Database, statement: str, parameters: Any = ()) -> Any:
        if statement == "COMMIT" and next(left, None) is None:
            driver = sqlite3.OperationalError("database or disk is full")
            driver.sqlite_errorname = "SQLITE_FULL"
            error = peewee.OperationalError("database or disk is full")
            if not isinstance(database, peewee.PostgresqlDatabase):
                error.orig = driver  # type: ignore[attr-defined]  # as peewee does
            raise error
        return execute(database, statement, parameters)

    monkeypatch.setattr(group_module, "execute", run)


def test_what_a_resume_committed_before_it_failed_is_announced(
    group: Group, writer: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Outcome] = []
    refusing(monkeypatch, 0)
    for topic in "abcd":
        group.run(naming(topic), told.append)
    with pytest.raises(Stranded):
        group.commit()
    refusing(monkeypatch, 2)  # the probe, and the first two units
    with pytest.raises(Stranded):
        group.resume(writer, 2)
    assert told == [Outcome("a"), Outcome("b")]
    assert group.take_topics() == {"a", "b"}
    monkeypatch.undo()
    assert group.resume(writer, 2) == {"c", "d"}
    assert names(writer) == list("abcd")


def test_what_a_lost_answer_had_committed_is_announced_even_if_nothing_more_can_be_written(
    far: Group, database: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Outcome] = []

    def losing(on: peewee.Database, statement: str, parameters: Any = ()) -> Any:
        done = execute(on, statement, parameters)
        if statement == "COMMIT":
            raise peewee.OperationalError("the connection is lost")
        return done

    monkeypatch.setattr(group_module, "execute", losing)
    far.run(naming("a"), told.append)
    with pytest.raises(Stranded):
        far.commit()
    refusing(monkeypatch, 0)
    with pytest.raises(Stranded):
        far.resume(database, 2)
    assert told == [Outcome("a")]
    assert far.take_topics() == {"a"}


def test_a_transaction_that_the_server_has_lost_is_run_again(
    far: Group, database: peewee.Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby that took over has not got it, and has given its number to another, or to none yet."""
    told: list[Outcome] = []
    far.run(inserting("before"), told.append)
    far.commit()
    refusing(monkeypatch, 0)
    far.run(inserting("a"), told.append)
    with pytest.raises(Stranded):
        far.commit()
    monkeypatch.undo()
    execute(database, "SELECT txid_current()")
    far.resume(database, 10)
    assert told == [Outcome("before"), Outcome("a")]
    assert names(database) == ["a", "before"]


def test_who_cannot_be_told_whether_it_is_stored_is_told_that(
    far: Group, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[Outcome] = []
    refusing(monkeypatch, 0)
    far.run(inserting("doubtful"), told.append)
    with pytest.raises(Stranded):
        far.commit()
    far.run(inserting("waiting"), told.append)
    far.abandon("the store ended")
    assert [type(outcome.error) for outcome in told] == [StoreInDoubt, StoreUnavailable]


@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_unit_that_only_the_commit_refuses_does_not_hold_up_the_others(tmp_path: Path, place: int) -> None:
    """Pages reach the disk at COMMIT: nothing says before that there is one unit too large for what is left."""
    backend = SqliteBackend(tmp_path / "z.db")
    database = backend.writer()
    database.connect()
    migrate(database, MIGRATIONS)
    execute(database, "PRAGMA wal_checkpoint(TRUNCATE)")
    room = backend.path.stat().st_size + 150_000
    units = [inserting("before"), inserting("after")]
    units.insert(place, inserting("large", settings={"x": "y" * (room + 100_000)}))
    told: list[Outcome] = []
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        group = Group(database, backend, lambda: 1.0)
        for unit in units:
            group.run(unit, told.append)
        with pytest.raises(Stranded):
            group.commit()
        for _ in range(2 * FAILURES):
            database.close()
            database = backend.writer()
            database.connect()
            try:
                group.resume(database, 256)
                break
            except Stranded:
                continue
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert group.waiting == 0
    assert names(database) == ["after", "before"]
    refused = [type(outcome.error) for outcome in told]
    assert refused == [StoreUnavailable if n == place else type(None) for n in range(3)]
    database.close()


def test_a_unit_that_hides_that_its_statement_failed_is_undone_alone(
    group: Group, writer: peewee.Database
) -> None:
    """PostgreSQL says to the COMMIT of an aborted transaction that all is well."""
    told: list[Outcome] = []

    def hiding(tx: Tx) -> str:
        try:
            execute(writer, "INSERT INTO meta (key, value) VALUES ('schema_version', 'x')")
        except peewee.IntegrityError:
            return "hidden"
        raise AssertionError("it was there already")

    group.run(inserting("a"), told.append)
    group.run(hiding, told.append)
    group.commit()
    assert told[0] == Outcome("a")
    assert names(writer) == ["a"]
    if isinstance(writer, peewee.PostgresqlDatabase):
        assert isinstance(told[1].error, peewee.PeeweeException)
    else:
        assert told[1] == Outcome("hidden")


SLOW = """
WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000000)
SELECT x FROM c WHERE x = 1 OR x = 99999999
"""
"""Its first row comes at once, the second after a long time."""


def test_an_error_between_two_rows_strands_the_group_as_any_other(tmp_path: Path) -> None:
    backend = open_backend("sqlite:///z.db", tmp_path)
    database = backend.writer()
    database.connect()
    migrate(database, MIGRATIONS)
    group = Group(database, backend, lambda: 1.0)
    told: list[Outcome] = []
    broken = [True]

    def unit(tx: Tx) -> str:
        if broken.pop(0) if broken else False:
            looks = iter(range(3))
            opened: Any = database
            opened.connection().set_progress_handler(lambda: int(next(looks, None) is None), 20_000)
            tx.plain(SLOW)
        return "done"

    with pytest.raises(Stranded, match="interrupted"):
        group.run(unit, told.append)
    database.close()
    again = backend.writer()
    again.connect()
    group.resume(again, 10)
    assert told == [Outcome("done")]
    again.close()


def test_half_a_character_in_an_event_fails_nothing(group: Group, writer: peewee.Database) -> None:
    told: list[Outcome] = []
    data = {"name": "a\ud83d", "whole": "\U0001f600é\x00"}
    group.run(lambda tx: append(tx, instance_id="i", instance_name="i", event="e", data=data), told.append)
    group.commit()
    assert told[0].error is None
    [event] = events_after(Tx(writer, 1.0), 0, 10)
    assert event.data == {"name": "a?", "whole": "\U0001f600é\x00"}
