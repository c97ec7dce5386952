"""What a running host could not delete is tried again while it runs, and costs nothing once it is done."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import leftovers, register
from actors.cache import CacheUnavailable
from actors.credentials import CredentialsUnavailable
from actors.janitor import AWAY
from actors.leftovers import AGAIN_FIRST, AGAIN_LAST
from actors.messages import Connect, CreateInstance, DeleteInstance, Logout
from actors.port import events
from actors.services import JANITOR, ROSTER
from actors.session import persist
from actors.session.actor import NOT_WIPED
from actors.store import Cleanup, Instance, StoreUnavailable, Trouble, cleanups, instances, write
from actors.views import Phase
from supervisor.config import HostSettings, Settings
from tests.actors.session.tree import Tree

DEVICE = "5511999990001:7@s.whatsapp.net"
SOON = AWAY + 2 * AGAIN_FIRST
"""Seconds after which a store that was away for a moment has been asked again."""
LONG = 300.0


class Shared:
    """A credential store that all instances share, by the device."""

    def __init__(self, tree: Tree) -> None:
        self.away = False
        self.asked: list[str | None] = []
        self.deleted: list[str | None] = []
        tree.credentials.by_device = True
        tree.credentials.delete = self.delete
        tree.credentials.exist = self.exist

    def exist(self, instance_id: str, jid: str | None = None) -> bool:
        return True

    def delete(self, instance_id: str, jid: str | None = None) -> None:
        self.asked.append(jid)
        if self.away:
            raise CredentialsUnavailable("the store does not answer")
        self.deleted.append(jid)


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path, Settings(host=HostSettings(data_dir=tmp_path)))
    yield tree
    tree.stop()


@pytest.fixture
def store(tree: Tree) -> Shared:
    return Shared(tree)


def create(tree: Tree, name: str = "sales") -> Instance:
    tree.ask(ROSTER, CreateInstance(name))
    tree.settle()
    row = tree.row(name)
    assert row is not None
    return row


def link(tree: Tree, device: str = DEVICE) -> None:
    create(tree)
    connect(tree)
    logged_in(tree, device)


def connect(tree: Tree) -> None:
    tree.tell("sales", Connect())
    tree.settle()


def logged_in(tree: Tree, device: str) -> None:
    port = tree.port("sales")
    assert port is not None
    port.say(events.Ready())
    port.say(events.PairStatus(device, None, "", "android", None))
    port.say(events.Connected(device, "Ana"))
    tree.settle()
    assert phase(tree) is Phase.OPEN


def phase(tree: Tree) -> Phase:
    shown = tree.board.view("sales")
    assert shown is not None
    return shown.phase


def log_out(tree: Tree) -> Any:
    port = tree.port("sales")
    assert port is not None
    port.say(events.Disconnected())
    tree.settle()
    answer = tree.tell("sales", Logout())
    tree.settle()
    return answer


def note(tree: Tree, instance_id: str, **what: Any) -> None:
    write(tree.system, lambda tx: cleanups.add(tx, instance_id, what))


def pending(tree: Tree) -> list[Cleanup]:
    found: list[Cleanup] = tree.query(cleanups.pending)
    return found


class TestShared:
    """Invariant 7: the keys of a number that was logged out do not stay because the store was away for a moment."""

    def test_a_logout_is_finished_as_soon_as_the_store_is_back(self, tree: Tree, store: Shared) -> None:
        link(tree)
        store.away = True
        answer = log_out(tree)
        assert answer.value.message.endswith(NOT_WIPED)
        assert phase(tree) is Phase.CLOSED
        tree.advance(SOON)
        assert [left.what for left in pending(tree)] == [{"credentials": DEVICE}]
        store.away = False
        tree.advance(SOON)
        assert store.deleted == [DEVICE]
        assert pending(tree) == []

    def test_it_can_be_connected_meanwhile_and_its_new_device_stays(self, tree: Tree, store: Shared) -> None:
        """The former one has rows of its own."""
        link(tree)
        store.away = True
        log_out(tree)
        connect(tree)
        logged_in(tree, "another device")
        store.away = False
        tree.advance(AGAIN_LAST)
        assert store.deleted == [DEVICE]
        assert pending(tree) == []
        assert phase(tree) is Phase.OPEN

    def test_while_a_device_may_be_linked_nothing_is_deleted(self, tree: Tree, store: Shared) -> None:
        """It might be given the same number as the former one."""
        link(tree)
        store.away = True
        log_out(tree)
        connect(tree)
        store.away = False
        tree.advance(SOON)
        assert phase(tree) is Phase.STARTING
        assert store.deleted == []
        logged_in(tree, DEVICE)
        tree.advance(AGAIN_LAST)
        assert store.deleted == []
        assert pending(tree) == []

    def test_a_deleted_instance_leaves_nothing_either(self, tree: Tree, store: Shared) -> None:
        link(tree)
        store.away = True
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        tree.advance(LONG)
        assert answer.given
        assert tree.row("sales") is None
        assert pending(tree)
        store.away = False
        tree.advance(AGAIN_LAST)
        assert DEVICE in store.deleted
        assert pending(tree) == []

    def test_a_session_that_crashed_over_it_leaves_it_to_the_roster(
        self, tree: Tree, store: Shared, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        link(tree)

        def crash_once(*_: object) -> None:
            monkeypatch.undo()
            raise RuntimeError("injected by the test")

        monkeypatch.setattr(persist, "wipe", crash_once)
        supervisor = tree.system.whereis("instances/sales")
        log_out(tree)
        assert tree.system.whereis("instances/sales") is supervisor
        tree.advance(AGAIN_FIRST)
        assert store.deleted == [DEVICE]
        assert pending(tree) == []

    def test_a_delete_under_way_keeps_its_credentials_until_the_phone_is_told(
        self, tree: Tree, store: Shared
    ) -> None:
        link(tree)
        note(tree, "long gone", credentials="former")
        store.away = True
        tree.kill(JANITOR)
        tree.settle()
        store.away = False
        store.deleted.clear()
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        tree.advance(AGAIN_FIRST, step=AGAIN_FIRST)
        assert not answer.given
        assert DEVICE not in store.deleted

    def test_a_delete_that_was_refused_deletes_nothing(self, tree: Tree, store: Shared) -> None:
        """Its note is there until it is struck."""
        link(tree)
        row = tree.row("sales")
        assert row is not None
        store.away = True
        tree.ask(ROSTER, CreateInstance("support"))
        tree.settle()
        tree.ask(ROSTER, DeleteInstance("support"))
        tree.settle()
        note(tree, row.id, delete="sales", credentials=DEVICE, attempt="refused")
        store.away = False
        tree.advance(AGAIN_LAST)
        assert DEVICE not in store.deleted
        assert phase(tree) is Phase.OPEN


class TestPace:
    @pytest.fixture
    def reads(self, monkeypatch: pytest.MonkeyPatch, tree: Tree) -> list[float]:
        """When the notes were read."""
        times: list[float] = []
        really = register.noted

        def noted(*arguments: Any, **named: Any) -> Any:
            times.append(tree.clock.monotonic())
            return really(*arguments, **named)

        monkeypatch.setattr(leftovers, "noted", noted)
        return times

    def test_ever_more_seldom_and_once_a_minute_at_last(self, tree: Tree, reads: list[float]) -> None:
        create(tree)
        tree.refusing = True
        began = tree.clock.monotonic()
        tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        for _ in range(250):
            tree.advance(1.0)
        assert [at - began for at in reads] == [2.0, 6.0, 14.0, 30.0, 62.0, 122.0, 182.0, 242.0]

    def test_what_comes_to_it_meanwhile_is_tried_soon(self, tree: Tree, reads: list[float]) -> None:
        for name in ("sales", "support"):
            create(tree, name)
        tree.refusing = True
        tree.ask(ROSTER, DeleteInstance("sales"))
        tree.advance(LONG)
        reads.clear()
        began = tree.clock.monotonic()
        tree.ask(ROSTER, DeleteInstance("support"))
        tree.settle()
        for _ in range(10):
            tree.advance(1.0)
        assert [at - began for at in reads] == [2.0, 6.0]

    def test_nobody_asks_the_database_when_nothing_is_left(self, tree: Tree, reads: list[float]) -> None:
        create(tree)
        tree.refusing = True
        tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        tree.refusing = False
        tree.advance(AGAIN_LAST)
        assert pending(tree) == []
        reads.clear()
        tree.advance(LONG)
        assert reads == []

    def test_a_database_that_is_away_is_asked_again(self, tree: Tree) -> None:
        create(tree)
        tree.refusing = True
        tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        tree.refusing = False
        tree.services.condition.trouble = Trouble(0.0, "locked")
        tree.advance(LONG)
        assert pending(tree)
        tree.services.condition.trouble = None
        tree.advance(AGAIN_LAST)
        assert pending(tree) == []

    def test_a_janitor_that_is_busy_is_not_asked_twice(
        self, tree: Tree, store: Shared, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """One that a store keeps waiting would find the same question many times."""
        link(tree)
        store.away = True
        log_out(tree)
        asked: list[str] = []
        ref = tree.system.whereis(JANITOR)
        assert ref is not None
        monkeypatch.setattr(
            type(ref), "request", lambda self, message, answered: asked.append(message.instance_id)
        )
        tree.advance(LONG)
        assert len(asked) == 1


def test_a_cache_that_was_away_is_cleared_later(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    row = create(tree)

    def away(*_: object) -> None:
        raise CacheUnavailable("the cache does not answer")

    with monkeypatch.context() as broken, capture_logs() as logs:
        broken.setattr(tree.services.cache, "clear", away)
        tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        tree.advance(SOON)
        assert [left.instance_id for left in pending(tree)] == [row.id]
        assert "a clean-up is put off" in [line["event"] for line in logs]
    tree.advance(AGAIN_LAST)
    assert pending(tree) == []


def test_a_host_that_finds_what_it_cannot_delete_goes_on_trying(tree: Tree) -> None:
    row = create(tree)
    tree.refusing = True
    tree.ask(ROSTER, DeleteInstance("sales"))
    tree.settle()
    tree.stop()
    tree.start()
    tree.advance(AGAIN_LAST)
    assert [left.instance_id for left in pending(tree)] == [row.id]
    tree.refusing = False
    tree.advance(AGAIN_LAST)
    assert pending(tree) == []


def test_a_note_about_what_is_linked_since_is_struck_without_a_restart(tree: Tree) -> None:
    """Invariant 6."""
    row = create(tree)
    write(tree.system, lambda tx: instances.update(tx, row.id, logged_in=True, device_jid="now"))
    tree.credentials_file(row.id).write_text("now")
    note(tree, row.id, credentials="former")
    create(tree, "support")
    tree.refusing = True
    tree.ask(ROSTER, DeleteInstance("support"))
    tree.settle()
    tree.refusing = False
    tree.advance(AGAIN_LAST)
    assert pending(tree) == []
    assert tree.credentials_file(row.id).read_text() == "now"


def test_one_that_is_being_deleted_is_not_held(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would be shown again once its row is gone."""
    for name in ("sales", "support"):
        create(tree, name)
    row = tree.row("sales")
    assert row is not None
    tree.credentials_file(row.id).write_text("former")
    note(tree, row.id, credentials="former")
    tree.refusing = True
    tree.ask(ROSTER, DeleteInstance("support"))
    tree.stop()
    tree.start()

    def locked(*_: object, **__: object) -> None:
        raise StoreUnavailable("locked")

    with monkeypatch.context() as broken:
        broken.setattr(register, "delete_for_good", locked)
        tree.ask(ROSTER, DeleteInstance("sales"))
        tree.advance(2 * AGAIN_LAST)
        assert tree.row("sales") is not None
    tree.advance(LONG)
    assert tree.row("sales") is None
    assert tree.board.view("sales") is None
