"""The session as an actor: it goes on hearing what happens while the database takes its time."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.board import Board
from actors.cache import open_cache
from actors.context import InstanceContext
from actors.credentials import open_credentials
from actors.disconnect import CLOSED, Disconnection
from actors.messages import Configure
from actors.services import INSTANCES, Services
from actors.session.actor import Session
from actors.session.inputs import Alive, LinkDown, Opened, Started
from actors.store import Instance, Reader, Store, history, instances, open_backend, write
from actors.store import backend as backend_module
from actors.views import InstanceView, Phase
from supervisor.config import load
from supervisor.otp import (
    IGNORE,
    REST_FOR_ONE,
    Actor,
    ChildSpec,
    DynamicSupervisor,
    Shutdown,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
    start_child,
)

WAIT = 15.0
JID = "5511999990001:7@s.whatsapp.net"


class Idle(Actor):
    """Stands where the connection does; the test says what a connection would."""

    def init(self, context: InstanceContext) -> object:
        return None if context.plan.wanted else IGNORE


@dataclass
class Desk:
    """One instance of a tree with a real store, and the database file that another program may lock."""

    system: System
    services: Services
    file: Path
    row: Instance
    told: list[Any] = field(default_factory=list)
    beats: int = 0

    def tell(self, notice: object) -> None:
        assert self.system.cast(f"{INSTANCES}/sales/session", notice)

    def view(self) -> InstanceView:
        found = self.services.board.view("sales")
        assert found is not None
        return found

    def wait_for(self, phase: Phase) -> None:
        until(lambda: self.view().phase is phase)

    def heard(self) -> InstanceView:
        """The snapshot after everything that was told before."""
        self.beats += 1
        at = float(self.beats)
        self.tell(Alive(1, 1, at))
        until(lambda: self.view().heartbeat_at == at)
        return self.view()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Nothing can be written."""
        other = sqlite3.connect(self.file, isolation_level=None, timeout=5)
        other.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            other.execute("ROLLBACK")
            other.close()


def until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.005)  # the pace of the questions


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Desk]:
    monkeypatch.setattr(backend_module, "BUSY_TIMEOUT", 0.02)
    monkeypatch.setattr(Store, "RESUME_LAST", 0.1)
    settings = load(None, {"ZAPVISOR_HOST_DATA_DIR": str(tmp_path)})
    system = System()
    services = Services(system, settings, Board(), open_credentials(settings), open_cache(settings))
    backend = open_backend("sqlite:///zapvisor.db", tmp_path)
    system.start(Store, backend, condition=services.condition, path="store")
    row = write(system, lambda tx: instances.insert(tx, Instance(name="sales", token="t", desired="up")))
    context = InstanceContext(row.id, row.name, services, granted=True)
    children = [ChildSpec("session", Start(Session, context)), ChildSpec("connection", Start(Idle, context))]
    top = system.start(DynamicSupervisor, path=INSTANCES)
    start_child(top, ChildSpec("sales", Start(Supervisor, SupervisorFlags(REST_FOR_ONE), children)), WAIT)
    found = Desk(system, services, tmp_path / "zapvisor.db", row)
    found.tell(Started(1))
    yield found
    assert system.shutdown() == []


def test_nothing_is_called_open_before_that_is_committed(desk: Desk) -> None:
    with desk.locked():
        desk.tell(Opened(1, JID, "Sales"))
        assert desk.heard().phase is Phase.STARTING
    desk.wait_for(Phase.OPEN)


def test_a_link_that_ends_is_not_called_open_however_long_the_database_takes(desk: Desk) -> None:
    desk.tell(Opened(1, JID, "Sales"))
    desk.wait_for(Phase.OPEN)
    with desk.locked():
        desk.tell(LinkDown(1, Disconnection(CLOSED, "test")))
        assert desk.heard().phase is Phase.RECOVERING
        desk.tell(Opened(1, JID, "Sales"))
        assert desk.heard().phase is Phase.RECOVERING
        desk.tell(LinkDown(1, Disconnection(CLOSED, "test")))
        desk.tell(Opened(1, JID, "Sales"))
        assert desk.heard().phase is Phase.RECOVERING
    desk.wait_for(Phase.OPEN)
    with reading(desk) as reader:
        entries = reader.query(lambda tx: history.page(tx, desk.row.id))
    kinds = [(entry.kind, entry.result) for entry in reversed(entries)]
    assert kinds == [("disconnection", None), ("recovery", "success")] * 2


def test_a_link_that_stays_is_called_open_all_the_while(desk: Desk) -> None:
    """What it is, is committed; that something else of it is still to be is no reason to doubt it."""
    desk.tell(Opened(1, JID, "Sales"))
    desk.wait_for(Phase.OPEN)
    with desk.locked():
        asked = command(desk, Configure(settings={"alwaysOnline": True}))
        for _ in range(3):
            assert desk.heard().phase is Phase.OPEN
        assert asked.is_alive(), "the answer comes with the commit"
    asked.join(WAIT)
    assert desk.told[0].view.settings == {"alwaysOnline": True}


def test_a_session_that_is_restarted_meanwhile_finds_what_the_former_one_had_said(desk: Desk) -> None:
    """Its transactions are in the store's queue; the new one reads behind them."""
    with desk.locked():
        desk.tell(Opened(1, JID, "Sales"))
        desk.heard()
        former = desk.system.whereis(f"{INSTANCES}/sales/session")
        assert former is not None
        desk.system.stop(former, Shutdown("on request"), WAIT)
    until(lambda: desk.system.whereis(f"{INSTANCES}/sales/session") not in (None, former))
    until(lambda: desk.view().device_jid == JID)
    assert desk.view().logged_in


def command(desk: Desk, message: object) -> threading.Thread:
    """Ask the session on another thread; the answer goes into `told`."""

    def ask() -> None:
        desk.told.append(desk.system.call(f"{INSTANCES}/sales/session", message, WAIT))

    thread = threading.Thread(target=ask, name="command", daemon=True)
    thread.start()
    return thread


@contextmanager
def reading(desk: Desk) -> Iterator[Reader]:
    reader = Reader(open_backend("sqlite:///zapvisor.db", desk.file.parent))
    try:
        yield reader
    finally:
        reader.close()
