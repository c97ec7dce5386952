"""The store in its tree: calls and casts, notices, failures that nobody is left hanging by."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, ClassVar

import peewee
import pytest

from actors.store import (
    Committed,
    Instance,
    Outcome,
    Reader,
    Store,
    StoreInUse,
    StoreTimeout,
    StoreUnavailable,
    Tx,
    Write,
    instances,
    new_id,
    open_backend,
    write,
)
from actors.store.errors import Duplicate
from actors.store.notices import RETRY
from supervisor.otp import (
    Actor,
    Crash,
    InitFailed,
    ManualClock,
    System,
)


def inserting(name: str) -> Callable[[Tx], str]:
    return lambda tx: instances.insert(tx, Instance(name=name, token=new_id())).name


def names(tx: Tx) -> list[str]:
    return sorted(instance.name for instance in instances.all_instances(tx))


class Listener(Actor):
    """Keeps what it is told."""

    def init(self, told: list[Any], wake: threading.Event) -> None:
        self._told, self._wake = told, wake

    def handle_cast(self, message: Any) -> None:
        self._told.append(message)
        self._wake.set()


class SmallStore(Store):
    mailbox_limit: ClassVar[int | None] = 3


@pytest.fixture
def system() -> Iterator[System]:
    system = System()
    yield system
    assert system.shutdown(10) == []


@pytest.fixture
def store(system: System, store_url: str, tmp_path: Path) -> Any:
    return system.start(Store, open_backend(store_url, tmp_path), path="store")


@pytest.fixture
def reader(store: Any, store_url: str, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(open_backend(store_url, tmp_path))
    yield reader
    reader.close()


def test_what_a_write_returned_is_there_for_every_reader(system: System, reader: Reader) -> None:
    assert write(system, inserting("a")) == "a"
    assert reader.query(names) == ["a"]


def test_the_error_of_a_unit_reaches_its_caller_and_the_store_lives(system: System, store: Any) -> None:
    write(system, inserting("a"))
    with pytest.raises(Duplicate, match="another instance has this name"):
        write(system, inserting("a"))
    assert store.alive


def test_a_cast_is_told_how_it_ended(system: System, reader: Reader) -> None:
    told: list[Outcome] = []
    both = threading.Barrier(2)

    def done(outcome: Outcome) -> None:
        told.append(outcome)
        if len(told) == 2:
            both.wait(10)

    system.cast("store", Write(inserting("a"), done))
    system.cast("store", Write(inserting("a"), done))
    both.wait(10)
    assert told[0] == Outcome("a")
    assert isinstance(told[1].error, Duplicate)


def test_a_failed_cast_that_nobody_waits_for_is_logged(
    system: System, store: Any, caplog: pytest.LogCaptureFixture
) -> None:
    write(system, inserting("a"))
    system.cast("store", Write(inserting("a")))
    write(system, inserting("b"))
    assert "a unit that nobody waits for failed" in caplog.text
    assert store.alive


def test_concurrent_writes_share_commits(system: System, store: Any, reader: Reader) -> None:
    with ThreadPoolExecutor(16) as pool:
        done = list(pool.map(lambda n: write(system, inserting(f"i{n:03}")), range(200)))
    assert reader.query(names) == done


def test_observers_hear_of_committed_topics_only(system: System, store_url: str, tmp_path: Path) -> None:
    told: list[Any] = []
    wake = threading.Event()
    system.start(Listener, told, wake, path="events")
    system.start(Store, open_backend(store_url, tmp_path), path="store")

    def failing(tx: Tx) -> None:
        tx.notify("never")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        write(system, failing)
    write(system, lambda tx: tx.notify("lane"))
    assert wake.wait(10)
    assert told == [Committed(frozenset({"lane"}))]


def test_a_notice_that_finds_the_observer_full_is_told_later(tmp_path: Path) -> None:
    clock = ManualClock()
    system = System(clock)
    entered, leave, told = threading.Event(), threading.Event(), []

    class Busy(Actor):
        mailbox_limit: ClassVar[int | None] = 1

        def handle_cast(self, message: Any) -> None:
            if message == "stay":
                entered.set()
                leave.wait(10)
            else:
                told.append(message)

    busy = system.start(Busy, path="events")
    system.start(Store, open_backend("sqlite:///z.db", tmp_path), path="store")
    busy.cast("stay")
    assert entered.wait(10)
    busy.cast("full")
    write(system, lambda tx: tx.notify("x"))
    write(system, lambda tx: tx.notify("y"))
    leave.set()
    clock.advance(RETRY)
    assert told == ["full", Committed(frozenset({"x", "y"}))]
    system.shutdown()


def test_told_to_stop_it_commits_what_is_queued(system: System, store_url: str, tmp_path: Path) -> None:
    store = system.start(Store, open_backend(store_url, tmp_path), path="store")
    entered, leave, told = threading.Event(), threading.Event(), []

    def slow(tx: Tx) -> None:
        entered.set()
        leave.wait(10)

    store.cast(Write(slow))
    assert entered.wait(10)
    store.cast(Write(inserting("queued"), told.append))
    stopping = threading.Thread(target=system.stop, args=(store,))
    stopping.start()
    leave.set()
    stopping.join(10)
    assert told == [Outcome("queued")]
    reader = Reader(open_backend(store_url, tmp_path))
    assert reader.query(names) == ["queued"]
    reader.close()


def test_a_second_host_is_refused_at_start(
    system: System, store: Any, store_url: str, tmp_path: Path
) -> None:
    other = System(name="other")
    with pytest.raises(InitFailed) as caught:
        other.start(Store, open_backend(store_url, tmp_path), path="store")
    other.shutdown()
    assert isinstance(caught.value.reason, Crash)
    assert isinstance(caught.value.reason.exception, StoreInUse)


def test_a_stopped_store_can_be_started_again_with_all_that_was_committed(
    system: System, store_url: str, tmp_path: Path
) -> None:
    for name in ("a", "b", "c"):
        store = system.start(Store, open_backend(store_url, tmp_path), path="store")
        write(system, inserting(name))
        system.stop(store)
    reader = Reader(open_backend(store_url, tmp_path))
    assert reader.query(names) == ["a", "b", "c"]
    reader.close()


def test_who_waits_too_long_is_told_so(system: System, store: Any) -> None:
    leave = threading.Event()
    store.cast(Write(lambda tx: leave.wait(10)))
    with pytest.raises(StoreTimeout):
        write(system, inserting("a"), timeout=0.05)
    leave.set()


def test_an_overloaded_store_refuses_at_once(system: System, tmp_path: Path) -> None:
    store = system.start(SmallStore, open_backend("sqlite:///z.db", tmp_path), path="store")
    entered, leave = threading.Event(), threading.Event()

    def slow(tx: Tx) -> None:
        entered.set()
        leave.wait(10)

    store.cast(Write(slow))
    assert entered.wait(10)
    told: list[Outcome] = []
    drained = threading.Event()
    store.cast(Write(inserting("a"), told.append))
    store.cast(Write(inserting("b"), told.append))
    store.cast(Write(inserting("c"), lambda outcome: (told.append(outcome), drained.set())[0]))
    with pytest.raises(StoreUnavailable, match="3 units waiting"):
        write(system, inserting("d"))
    leave.set()
    assert drained.wait(10)
    assert write(system, names) == ["a", "b", "c"]
    assert [outcome.value for outcome in told] == ["a", "b", "c"]


def test_without_a_store_a_write_is_refused() -> None:
    system = System()
    with pytest.raises(StoreUnavailable, match="down or restarting"):
        write(system, names)
    system.shutdown()


def test_errors_never_hold_stored_values(system: System, store: Any) -> None:
    write(system, lambda tx: instances.insert(tx, Instance(name="a", token="hush-hush")))
    with pytest.raises(Duplicate) as caught:
        write(system, lambda tx: instances.insert(tx, Instance(name="b", token="hush-hush")))
    assert "hush" not in str(caught.value)
    assert isinstance(caught.value.__cause__, peewee.IntegrityError)
