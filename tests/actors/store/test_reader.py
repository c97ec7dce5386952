"""Reading from any thread: bounded, within a deadline, never in the writer's way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import peewee
import pytest

from actors.store import Backend, Instance, Reader, StoreTimeout, StoreUnavailable, Tx, instances
from actors.store.group import Group
from actors.store.sql import execute
from actors.store.tables import InstanceTable

SLOW = {
    "BEGIN IMMEDIATE": "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n",
    "BEGIN": "SELECT pg_sleep(60)",
}


@pytest.fixture
def reader(backend: Backend, writer: peewee.Database) -> Iterator[Reader]:
    reader = Reader(backend, size=2)
    yield reader
    reader.close()


def store(backend: Backend, writer: peewee.Database, *names: str) -> None:
    group = Group(writer, backend, lambda: 1.0)
    for name in names:
        group.run(lambda tx, name=name: instances.insert(tx, Instance(name=name, token=name)), lambda _: None)
    group.commit()


def count(tx: Tx) -> int:
    return len(instances.all_instances(tx))


def test_what_is_committed_before_a_query_is_seen_by_it(
    backend: Backend, writer: peewee.Database, reader: Reader
) -> None:
    assert reader.query(count) == 0
    store(backend, writer, "a", "b")
    assert reader.query(count) == 2


def test_a_query_sees_one_snapshot(backend: Backend, writer: peewee.Database, reader: Reader) -> None:
    def twice(tx: Tx) -> tuple[int, int]:
        before = count(tx)
        store(backend, writer, "late")
        return before, count(tx)

    assert reader.query(twice) == (0, 0)


def test_a_read_cannot_change_anything(reader: Reader) -> None:
    with pytest.raises((peewee.PeeweeException, StoreUnavailable), match="read"):
        reader.query(lambda tx: tx.execute(InstanceTable.update(name="x")))
    assert reader.query(count) == 0


def test_a_query_that_takes_too_long_is_stopped(backend: Backend, reader: Reader) -> None:
    with pytest.raises(StoreTimeout):
        reader.query(
            lambda tx: execute(
                tx._database, f"SELECT count(*) FROM ({SLOW[backend.begin]}) AS slow"
            ).fetchall(),
            timeout=0.2,
        )
    assert reader.query(count) == 0


def test_a_query_that_takes_too_long_between_two_rows_is_stopped(backend: Backend, reader: Reader) -> None:
    slow = (
        "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 100000000)"
        " SELECT x FROM c WHERE x = 1 OR x = 99999999"
    )
    with pytest.raises(StoreTimeout):
        reader.query(lambda tx: tx.plain(slow), timeout=0.2)
    assert reader.query(count) == 0


def test_who_finds_no_free_connection_in_time_is_told_so(reader: Reader) -> None:
    inside, leave = threading.Barrier(3), threading.Event()

    def hold(tx: Tx) -> None:
        inside.wait(10)
        leave.wait(10)

    with ThreadPoolExecutor(2) as pool:
        held = [pool.submit(reader.query, hold, 30) for _ in range(2)]
        inside.wait(10)
        with pytest.raises(StoreTimeout, match="no read connection became free"):
            reader.query(count, timeout=0.05)
        leave.set()
        for future in held:
            future.result(10)
    assert reader.query(count) == 0


def test_an_error_of_the_reading_function_reaches_its_caller_and_frees_the_connection(reader: Reader) -> None:
    for _ in range(5):
        with pytest.raises(KeyError):
            reader.query(lambda tx: dict[str, int]()["missing"])
    assert reader.query(count) == 0


def test_a_lost_connection_is_replaced(postgres_url: str, tmp_path: object) -> None:
    from pathlib import Path

    from actors.store import open_backend
    from actors.store.migrations import MIGRATIONS, migrate

    backend = open_backend(postgres_url, Path("/"))
    admin = backend.writer()
    admin.connect()
    migrate(admin, MIGRATIONS)
    reader = Reader(backend, size=1)
    pid = reader.query(lambda tx: execute(tx._database, "SELECT pg_backend_pid()").fetchone()[0])
    execute(admin, "SELECT pg_terminate_backend(%s, 5000)", (pid,))
    with pytest.raises(StoreUnavailable):
        reader.query(count)
    assert reader.query(count) == 0
    reader.close()
    admin.close()


def test_a_closed_reader_refuses(reader: Reader) -> None:
    reader.close()
    with pytest.raises(StoreUnavailable, match="closed"):
        reader.query(count)


def test_many_threads_share_few_connections(
    backend: Backend, writer: peewee.Database, reader: Reader
) -> None:
    store(backend, writer, "a")
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda _: reader.query(count, 30), range(64))) == [1] * 64
