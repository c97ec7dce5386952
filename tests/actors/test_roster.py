"""The roster over a real store and real subtrees, on a clock that the test moves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import roster
from actors.board import Board
from actors.cache import open_cache
from actors.credentials import Credentials, open_credentials
from actors.janitor import Janitor
from actors.messages import CreateInstance, DeleteInstance
from actors.roster import START_RETRY, Roster
from actors.services import INSTANCES, JANITOR, ROSTER, Services
from actors.session import persist
from actors.store import Store, StoreTimeout, StoreUnavailable, open_backend, write
from actors.views import Phase
from supervisor.config import load
from supervisor.otp import (
    ROOT,
    ChildSpec,
    DynamicSupervisor,
    ManualClock,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
)

WAIT = 20.0


class World:
    """A store, the supervisor of the instances, and the roster."""

    def __init__(
        self, directory: Path, system: System | None = None, credentials: Credentials | None = None
    ) -> None:
        ini = directory / "supervisor.ini"
        ini.write_text(f"[host]\ndata_dir = {directory}\n")
        settings = load(ini, {})
        self.clock = ManualClock()
        self.system = system or System(self.clock)
        self.board = Board()
        credentials, cache = credentials or open_credentials(settings), open_cache(settings)
        services = self.services = Services(self.system, settings, self.board, credentials, cache)
        backend = open_backend(settings.store.url.get_secret_value(), directory)
        children = [
            ChildSpec("store", Start(Store, backend, lambda: settings.store.history_retention)),
            ChildSpec(INSTANCES, Start(DynamicSupervisor)),
            ChildSpec(JANITOR, Start(Janitor, services)),
            ChildSpec(ROSTER, Start(Roster, services)),
        ]
        self.system.start(Supervisor, SupervisorFlags(), children, path=ROOT)

    def ask(self, message: object) -> Any:
        return self.system.call(ROSTER, message, WAIT)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    world = World(tmp_path)
    try:
        yield world
    finally:
        world.system.shutdown()


def test_an_instance_that_could_not_be_started_is_shown_and_tried_again(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The database was away for a moment: that is no reason to have an instance that answers nobody for ever."""

    def away(*_: object) -> Any:
        raise StoreUnavailable("the store is down or restarting")

    with monkeypatch.context() as broken:
        broken.setattr(persist, "load", away)
        assert world.ask(CreateInstance("sales")).phase is Phase.FAILED
    world.clock.advance(START_RETRY)
    world.ask(CreateInstance("support"))  # the roster has by then done what it had to do
    view = world.board.view("sales")
    assert view is not None
    assert view.phase is Phase.CLOSED
    assert world.system.whereis(f"{INSTANCES}/sales/session") is not None


def test_an_instance_whose_create_was_not_answered_in_time_is_run_all_the_same(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The COMMIT was under way: the instance is there, and its name is taken."""

    def late(system: System, unit: Any, timeout: float) -> Any:
        write(system, unit, WAIT)
        raise StoreTimeout("the store did not answer within 15 s")

    with monkeypatch.context() as slow:
        slow.setattr(roster, "write", late)
        with pytest.raises(StoreTimeout):
            world.ask(CreateInstance("sales"))
    world.clock.advance(START_RETRY)
    world.ask(CreateInstance("support"))
    assert world.board.view("sales") is not None
    assert world.system.whereis(f"{INSTANCES}/sales/session") is not None


def test_an_instance_that_could_not_be_started_can_be_deleted(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> Any:
        raise StoreUnavailable("the store is down or restarting")

    with monkeypatch.context() as broken:
        broken.setattr(persist, "load", away)
        world.ask(CreateInstance("sales"))
        world.ask(DeleteInstance("sales"))
    assert world.board.view("sales") is None
    world.clock.advance(START_RETRY)
    world.ask(CreateInstance("support"))
    assert world.board.view("sales") is None
