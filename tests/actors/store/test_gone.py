"""A database that is gone for a while costs nobody anything: what was to be written waits, and is written."""

from __future__ import annotations

import itertools
import resource
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import peewee
import psycopg
import pytest

from actors.store import (
    Condition,
    Duplicate,
    Instance,
    Outcome,
    Store,
    StoreTimeout,
    StoreUnavailable,
    Tx,
    Write,
    instances,
    new_id,
    open_backend,
    write,
)
from actors.store import backend as backend_module
from actors.store.backend import Backend, SqliteBackend
from actors.store.group import FAILURES, Group, Stranded
from actors.store.migrations import MIGRATIONS, migrate
from actors.store.sql import execute
from supervisor.otp import ManualClock, System, UnknownMessage

Unit = Callable[[Tx], Any]


def inserting(name: str) -> Unit:
    return lambda tx: instances.insert(tx, Instance(name=name, token=new_id())).name


def names(tx: Tx) -> list[str]:
    return [instance.name for instance in instances.all_instances(tx)]


class Told:
    """Keeps outcomes, and waits for a number of them."""

    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self._changed = threading.Condition()

    def __call__(self, outcome: Outcome) -> None:
        with self._changed:
            self.outcomes.append(outcome)
            self._changed.notify_all()

    def wait(self, count: int) -> list[Outcome]:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.outcomes) >= count, 20), self.outcomes
            return list(self.outcomes)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that waits for locks as long as a test can."""
    monkeypatch.setattr(backend_module, "BUSY_TIMEOUT", 0.02)
    monkeypatch.setattr(Store, "RESUME_LAST", 0.1)


@pytest.fixture
def condition() -> Condition:
    return Condition()


@pytest.fixture
def system() -> Iterator[System]:
    system = System()
    yield system
    assert system.shutdown(10) == []


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "z.db"


@pytest.fixture
def store(impatient: None, system: System, file: Path, condition: Condition) -> Any:
    return system.start(
        Store, open_backend(f"sqlite:///{file.name}", file.parent), condition=condition, path="store"
    )


@pytest.fixture
def foreign(store: Any, file: Path) -> Iterator[sqlite3.Connection]:
    """Another program on the database file."""
    connection = sqlite3.connect(file, isolation_level=None, timeout=5, check_same_thread=False)
    yield connection
    connection.close()


def at_first_refusal(store: Any, condition: Condition) -> None:
    """Wait until the store has found out: it answers between two tries."""
    for _ in range(10_000):
        if condition.trouble is not None:
            return
        with pytest.raises(UnknownMessage):
            store.call("probe", 10)
    raise AssertionError("the store did not notice")


def test_what_is_written_to_a_locked_database_waits_and_is_written_in_order(
    system: System, store: Any, foreign: sqlite3.Connection, condition: Condition
) -> None:
    foreign.execute("BEGIN IMMEDIATE")
    told = Told()
    for name in ("a", "b", "a", "c"):
        store.cast(Write(inserting(name), told))
    at_first_refusal(store, condition)
    assert told.outcomes == []
    assert condition.trouble is not None
    assert "locked" in condition.trouble.why
    foreign.execute("ROLLBACK")
    outcomes = told.wait(4)
    assert [outcome.value for outcome in outcomes] == ["a", "b", None, "c"]
    assert isinstance(outcomes[2].error, Duplicate)
    assert write(system, names) == ["a", "b", "c"]
    assert condition.trouble is None
    assert store.alive


def test_who_stopped_waiting_is_not_written(
    system: System, store: Any, foreign: sqlite3.Connection, condition: Condition
) -> None:
    foreign.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreTimeout):
        write(system, inserting("given up"), timeout=0.2)
    foreign.execute("ROLLBACK")
    assert write(system, names) == []


def test_a_store_told_to_stop_tries_once_more_and_then_says_what_is_lost(
    system: System,
    store: Any,
    foreign: sqlite3.Connection,
    condition: Condition,
    caplog: pytest.LogCaptureFixture,
) -> None:
    foreign.execute("BEGIN IMMEDIATE")
    told = Told()
    store.cast(Write(inserting("a"), told))
    at_first_refusal(store, condition)
    system.stop(store)
    [outcome] = told.wait(1)
    assert isinstance(outcome.error, StoreUnavailable)
    assert "1 transactions are lost" in caplog.text


def test_a_store_told_to_stop_writes_what_waited_if_it_can(
    system: System, impatient: None, file: Path, condition: Condition
) -> None:
    clock = ManualClock()
    slow = System(clock)
    store = slow.start(
        Store, open_backend(f"sqlite:///{file.name}", file.parent), condition=condition, path="store"
    )
    foreign = sqlite3.connect(file, isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    told = Told()
    store.cast(Write(inserting("a"), told))
    at_first_refusal(store, condition)
    foreign.execute("ROLLBACK")
    foreign.close()
    slow.stop(store)  # its own next try would come with the clock, which stands still
    assert told.outcomes == [Outcome("a")]
    slow.shutdown()


def test_beyond_its_limit_it_refuses(
    system: System,
    store: Any,
    foreign: sqlite3.Connection,
    condition: Condition,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Store, "WAITING_LIMIT", 2)
    foreign.execute("BEGIN IMMEDIATE")
    told, refused = Told(), Told()
    for name in ("a", "b"):
        store.cast(Write(inserting(name), told))
    at_first_refusal(store, condition)
    store.cast(Write(inserting("c"), refused))
    [outcome] = refused.wait(1)
    assert isinstance(outcome.error, StoreUnavailable)
    foreign.execute("ROLLBACK")
    assert told.wait(2) == [Outcome("a"), Outcome("b")]


def test_a_damaged_database_crashes_the_store_and_everybody_is_told(
    system: System, file: Path, condition: Condition
) -> None:
    """Waiting mends nothing, and to go on would damage more."""
    store = system.start(Store, open_backend("sqlite:///z.db", file.parent), path="store")
    write(system, inserting("a"))
    told = Told()

    def damaged(tx: Tx) -> None:
        error = peewee.DatabaseError("database disk image is malformed")
        driver = sqlite3.DatabaseError("database disk image is malformed")
        driver.sqlite_errorname = "SQLITE_CORRUPT"
        error.orig = driver  # type: ignore[attr-defined]  # as peewee does
        raise error

    store.cast(Write(inserting("b"), told))
    store.cast(Write(damaged, told))
    assert [type(outcome.error) for outcome in told.wait(2)] == [StoreUnavailable] * 2


# -- PostgreSQL --------------------------------------------------------------------------------------------


def end_writer(url: str) -> None:
    with psycopg.connect(url, autocommit=True) as other:
        other.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
            " WHERE application_name = 'zapvisor writer' AND datname = current_database()"
        )


def test_a_lost_connection_is_made_anew(
    system: System, postgres_url: str, tmp_path: Path, condition: Condition
) -> None:
    store = system.start(Store, open_backend(postgres_url, tmp_path), condition=condition, path="store")
    assert write(system, inserting("a")) == "a"
    end_writer(postgres_url)
    assert write(system, inserting("b")) == "b"
    assert write(system, names) == ["a", "b"]
    assert store.alive


@pytest.mark.parametrize("carried_out", [True, False])
def test_a_commit_whose_answer_is_lost_happens_once(
    postgres_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, carried_out: bool
) -> None:
    from actors.store import group as group_module

    backend = open_backend(postgres_url, tmp_path)
    database = backend.writer()
    database.connect()
    migrate(database, MIGRATIONS)
    group = Group(database, backend, lambda: 1.0)
    runs = itertools.count(1)
    told = Told()

    def unit(tx: Tx) -> int:
        inserting("a")(tx)
        return next(runs)

    def losing(database: peewee.Database, statement: str, parameters: Any = ()) -> Any:
        if statement == "COMMIT":
            monkeypatch.setattr(group_module, "execute", execute)
            if carried_out:
                execute(database, statement)
            database.close()
            raise peewee.OperationalError("the connection is lost")
        return execute(database, statement, parameters)

    group.run(unit, told)
    monkeypatch.setattr(group_module, "execute", losing)
    with pytest.raises(Stranded):
        group.commit()
    assert told.outcomes == []
    assert group.waiting == 1
    again = backend.writer()
    again.connect()
    group.resume(again, 10)
    assert told.outcomes == [Outcome(1 if carried_out else 2)]
    assert [row[0] for row in execute(again, "SELECT name FROM instance").fetchall()] == ["a"]
    again.close()


def test_the_hosts_own_dead_connection_does_not_lock_it_out(
    system: System, postgres_url: str, tmp_path: Path
) -> None:
    """A server that has not noticed that the network is gone still gives the old connection the lock."""
    backend = open_backend(postgres_url, tmp_path)
    lost = backend.writer()
    lost.connect()
    backend.hold(lost)
    identity = backend.identity(lost)
    assert identity is not None
    again = backend.writer()
    again.connect()
    backend.end(again, identity)
    backend.hold(again)
    again.close()


# -- one unit at fault -------------------------------------------------------------------------------------


@pytest.fixture
def group(backend: Backend, writer: peewee.Database) -> Group:
    return Group(writer, backend, lambda: 1000.0)


@pytest.mark.parametrize("later", [False, True])
def test_a_unit_that_the_database_never_takes_does_not_hold_up_the_others(
    tmp_path: Path, later: bool
) -> None:
    backend = SqliteBackend(tmp_path / "z.db")
    database = backend.writer()
    database.connect()
    migrate(database, MIGRATIONS)
    pages = execute(database, "PRAGMA page_count").fetchone()[0]
    execute(database, f"PRAGMA max_page_count = {pages + 16}")  # SQLite reports it as a full disk
    group = Group(database, backend, lambda: 1.0)
    told = {name: Told() for name in ("before", "large", "after")}

    def insert(tx: Tx, rows: list[Instance]) -> None:
        for row in rows:
            instances.insert(tx, row)

    def large(tx: Tx) -> None:
        row = Instance(name="large", token="large", settings={"x": "y" * 100_000})
        if later:
            tx.later(insert, row)
        else:
            insert(tx, [row])

    group.run(inserting("before"), told["before"])
    if later:
        group.run(large, told["large"])
    with pytest.raises(Stranded, match="full"):
        group.commit() if later else group.run(large, told["large"])
    group.run(inserting("after"), told["after"])
    for _ in range(FAILURES):
        with pytest.raises(Stranded, match="full"):
            group.resume(database, 10)
        assert told["after"].outcomes == []
    group.resume(database, 10)
    assert told["before"].outcomes == [Outcome("before")]
    assert told["after"].outcomes == [Outcome("after")]
    [outcome] = told["large"].outcomes
    assert isinstance(outcome.error, StoreUnavailable)
    database.close()


def test_a_disk_that_takes_nothing_is_not_the_fault_of_a_unit(tmp_path: Path) -> None:
    backend = SqliteBackend(tmp_path / "z.db")
    database = backend.writer()
    database.connect()
    migrate(database, MIGRATIONS)
    group = Group(database, backend, lambda: 1.0)
    told = Told()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, limits[1]))
    try:
        group.run(inserting("a"), told)
        with pytest.raises(Stranded):
            group.commit()
        for _ in range(2 * FAILURES):
            with pytest.raises(Stranded):
                group.resume(database, 10)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    group.resume(database, 10)
    assert told.outcomes == [Outcome("a")]
    database.close()


def test_a_group_that_is_abandoned_tells_those_that_wait_too(group: Group) -> None:
    told = Told()

    def gone(tx: Tx) -> None:
        raise peewee.InterfaceError("connection already closed")

    group.run(inserting("a"), told)
    with pytest.raises(Stranded):
        group.run(gone, told)
    group.run(inserting("b"), told)
    group.abandon("the store ended")
    assert [type(outcome.error) for outcome in told.outcomes] == [StoreUnavailable] * 3
