"""A PostgreSQL server that stands still: nobody waits for ever, and the host's old connection does not lock it out."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from actors.store import (
    Condition,
    Instance,
    Reader,
    Store,
    StoreTimeout,
    Tx,
    Write,
    instances,
    new_id,
    open_backend,
    write,
)
from actors.store import backend as backend_module
from actors.store import reader as reader_module
from actors.store.backend import ADVISORY_LOCK
from supervisor.otp import System

pytestmark = pytest.mark.skipif(
    "ZAPVISOR_TEST_POSTGRES" in os.environ, reason="the server's processes may be those of another machine"
)


@pytest.fixture
def system() -> Iterator[System]:
    system = System()
    yield system
    assert system.shutdown(10) == []


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backend_module, "STATEMENT_TIMEOUT", 1.0)
    monkeypatch.setattr(backend_module, "MARGIN", 0.5)
    monkeypatch.setattr(backend_module, "LOCK_WAIT", 0.3)
    monkeypatch.setattr(reader_module, "MARGIN", 0.3)
    monkeypatch.setattr(Store, "RESUME_LAST", 0.2)


def inserting(name: str) -> Any:
    return lambda tx: instances.insert(tx, Instance(name=name, token=new_id())).name


def names(tx: Tx) -> list[str]:
    return [instance.name for instance in instances.all_instances(tx)]


def own_process(tx: Tx) -> int:
    [(pid,)] = tx.plain("SELECT pg_backend_pid()")
    return int(pid)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait_for(what: Any) -> None:
    deadline = time.monotonic() + 30
    while not what():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


def test_a_frozen_server_process_is_given_up_and_what_it_did_not_answer_is_written_once(
    system: System, postgres_url: str, tmp_path: Path, impatient: None
) -> None:
    condition = Condition()
    store = system.start(Store, open_backend(postgres_url, tmp_path), condition=condition, path="store")
    told: list[Any] = []
    answered = threading.Event()

    def done(outcome: Any) -> None:
        told.append(outcome)
        answered.set()

    with frozen(write(system, own_process)):
        store.cast(Write(inserting("a"), done))
        wait_for(lambda: condition.trouble is not None and "another zapvisor host" in condition.trouble.why)
        assert store.alive
        assert told == []
    assert answered.wait(30)
    assert told[0].value == "a"
    assert write(system, names) == ["a"]
    assert condition.trouble is None
    assert store.alive


def test_a_database_that_another_host_has_taken_is_given_up_after_a_while(
    system: System, postgres_url: str, tmp_path: Path, impatient: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Store, "TAKEN_AFTER", 1.0)
    condition = Condition()
    store = system.start(Store, open_backend(postgres_url, tmp_path), condition=condition, path="store")
    pid = write(system, own_process)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        other.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        store.cast(Write(inserting("a"), lambda outcome: None))
        wait_for(lambda: not store.alive)


def test_a_database_that_another_host_had_for_a_moment_is_written_again(
    system: System, postgres_url: str, tmp_path: Path, impatient: None
) -> None:
    condition = Condition()
    store = system.start(Store, open_backend(postgres_url, tmp_path), condition=condition, path="store")
    pid = write(system, own_process)
    with psycopg.connect(postgres_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s, 5000)", (pid,))
        other.execute("SELECT pg_advisory_lock(%s)", (ADVISORY_LOCK,))
        store.cast(Write(inserting("a"), lambda outcome: None))
        wait_for(lambda: condition.trouble is not None and "another zapvisor host" in condition.trouble.why)
    assert write(system, names, 30) == ["a"]
    assert store.alive


def test_a_read_of_a_frozen_server_process_ends_with_its_deadline(
    postgres_url: str, tmp_path: Path, impatient: None
) -> None:
    reader = Reader(open_backend(postgres_url, tmp_path), size=1)
    with frozen(reader.query(own_process)), pytest.raises(StoreTimeout):
        reader.query(own_process, timeout=0.3)
    assert reader.query(own_process) > 0
    reader.close()


def test_a_connection_in_use_for_long_is_not_cut(
    system: System, postgres_url: str, tmp_path: Path, impatient: None
) -> None:
    system.start(Store, open_backend(postgres_url, tmp_path), path="store")
    first = write(system, own_process)
    end = time.monotonic() + 3  # twice the patience with one statement
    while time.monotonic() < end:
        assert write(system, own_process) == first
