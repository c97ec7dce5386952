"""A former device whose file cannot be deleted: nothing connects before it is gone, whatever ends in the middle."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import leftovers
from actors.credentials import CredentialsUnavailable
from actors.gateway import Gateway
from actors.leftovers import WAITS
from actors.messages import (
    Connect,
    CreateInstance,
    DeleteInstance,
    ForceReconnection,
    Logout,
    NotRunning,
    Reset,
)
from actors.port import events
from actors.services import ROSTER
from actors.session import persist
from actors.session.actor import NOT_WIPED
from actors.session.inputs import Purge
from actors.store import Cleanup, Trouble, cleanups, write
from actors.views import Desired, InstanceView, Phase
from supervisor.config import HostSettings, RecoverySettings, Settings
from supervisor.config.codes import DEFAULT_RULES
from supervisor.config.frozen import FrozenDict
from tests.actors.session.tree import Answer, Port, Tree

DEVICE = "5511999990001:7@s.whatsapp.net"
FORMER = "the former device"
LONG = 200.0
"""Seconds in which an instance that could connect by itself would."""
WIPING = [Logout(), Reset(), ForceReconnection(clean_session=True)]


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    settings = Settings(
        host=HostSettings(data_dir=tmp_path),
        recovery=RecoverySettings(jitter=0.0, ladder=("reset-session",)),
        disconnect=FrozenDict(
            {**DEFAULT_RULES, 409: DEFAULT_RULES[428].model_copy(update={"cleanup": True})}
        ),
    )
    tree = Tree(tmp_path, settings)
    yield tree
    tree.stop()


def view(tree: Tree) -> InstanceView:
    found = tree.board.view("sales")
    assert found is not None
    return found


def notes(tree: Tree) -> list[Cleanup]:
    found: list[Cleanup] = tree.query(cleanups.pending)
    return found


def linked(tree: Tree) -> Port:
    """An instance whose device is linked, and whose link is just down."""
    tree.ask(ROSTER, CreateInstance("sales"))
    tree.settle()
    tree.tell("sales", Connect())
    tree.settle()
    port = tree.port("sales")
    assert port is not None
    Path(port.spec.session_url).write_text(FORMER)
    port.say(events.Ready())
    port.say(events.Connected(DEVICE, "Ana"))
    tree.settle()
    assert view(tree).phase is Phase.OPEN
    port.say(events.Disconnected())
    tree.settle()
    return port


def unlinked(tree: Tree) -> Path:
    """An instance that waits for its scan, with the file that its port has made."""
    tree.ask(ROSTER, CreateInstance("sales"))
    tree.settle()
    tree.tell("sales", Connect())
    tree.settle()
    port = tree.port("sales")
    assert port is not None
    file = Path(port.spec.session_url)
    file.touch()
    return file


def note(tree: Tree, **what: Any) -> None:
    row = tree.row("sales")
    assert row is not None
    write(tree.system, lambda tx: cleanups.add(tx, row.id, what))


def refused(tree: Tree, message: Any) -> Path:
    """An instance whose former device could not be deleted."""
    file = Path(linked(tree).spec.session_url)
    tree.refusing = True
    tree.tell("sales", message)
    tree.settle()
    assert file.read_text() == FORMER
    return file


def is_held(tree: Tree) -> bool:
    shown = view(tree)
    return shown.phase is Phase.FAILED and (shown.failed_reason or "").startswith(WAITS)


def resumed(tree: Tree) -> list[Port]:
    """Ports that were started on the former device after the first one."""
    return [port for port in tree.made[1:] if port.found is not None]


@pytest.mark.parametrize("message", WIPING)
class TestFiles:
    """Invariant 7: nobody is back on a number that was logged out, in a running host either."""

    def test_the_answer_says_that_the_credentials_are_still_there(self, tree: Tree, message: Any) -> None:
        linked(tree)
        tree.refusing = True
        answer = tree.tell("sales", message)
        tree.settle()
        assert answer.error is None
        assert NOT_WIPED in answer.value.message
        assert answer.value.message.endswith("before that it does not connect")
        assert answer.value.view.phase is Phase.FAILED

    def test_nothing_connects_while_they_are(self, tree: Tree, message: Any) -> None:
        refused(tree, message)
        assert is_held(tree)
        assert "Read-only" in str(view(tree).failed_reason)
        with pytest.raises(NotRunning, match="Read-only"):
            Gateway(tree.services, tree.reader).command("sales", Connect(), 1.0)
        tree.advance(LONG)
        assert len(tree.made) == 1
        assert len(notes(tree)) == 1

    def test_once_they_are_deleted_it_goes_on_without_that_device(self, tree: Tree, message: Any) -> None:
        file = refused(tree, message)
        tree.refusing = False
        tree.advance(leftovers.AGAIN_FIRST)
        assert not file.exists()
        assert notes(tree) == []
        wanted = message == ForceReconnection(clean_session=True)
        shown = view(tree)
        assert shown.desired is (Desired.UP if wanted else Desired.DOWN)
        assert shown.phase is (Phase.STARTING if wanted else Phase.CLOSED)
        tree.tell("sales", Connect())
        tree.settle()
        [port] = tree.ports("sales")
        assert (port.found, port.spec.jid) == (None, None)

    def test_the_next_host_goes_on_with_it(self, tree: Tree, message: Any) -> None:
        file = refused(tree, message)
        left = notes(tree)
        tree.stop()
        tree.start()
        assert is_held(tree)
        assert notes(tree) == left
        tree.refusing = False
        tree.advance(leftovers.AGAIN_FIRST)
        assert not file.exists()
        assert not is_held(tree)
        assert resumed(tree) == []

    def test_it_can_be_deleted(self, tree: Tree, message: Any) -> None:
        file = refused(tree, message)
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert answer.given
        assert answer.error is None
        assert tree.row("sales") is None
        tree.refusing = False
        tree.advance(leftovers.AGAIN_LAST)
        assert not file.exists()
        assert notes(tree) == []

    def test_a_delete_at_the_same_moment_is_answered(
        self, tree: Tree, message: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its word to the session is lost with that; nobody waits for the session's deadline."""
        linked(tree)
        tree.refusing = True
        answers: list[Answer] = []
        really = persist.wipe

        def wipe(*arguments: Any) -> None:
            if not answers:
                answers.append(tree.ask(ROSTER, DeleteInstance("sales")))
                tree.system.call(ROSTER, CreateInstance("support"), 10.0)  # after the delete has begun
            really(*arguments)

        monkeypatch.setattr(persist, "wipe", wipe)
        tree.tell("sales", message)
        tree.settle()
        [answer] = answers
        assert answer.given
        assert tree.row("sales") is None
        tree.advance(LONG)
        assert len(tree.made) == 1

    def test_a_database_that_is_away_then_holds_it_all_the_same(
        self, tree: Tree, message: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The note is committed; who looks at it has to wait."""
        file = Path(linked(tree).spec.session_url)
        tree.refusing = True
        really = persist.wipe

        def wipe(*arguments: Any) -> None:
            tree.services.condition.trouble = Trouble(0.0, "locked")
            really(*arguments)

        monkeypatch.setattr(persist, "wipe", wipe)
        tree.tell("sales", message)
        tree.settle()
        assert is_held(tree)
        tree.services.condition.trouble = None
        tree.advance(LONG)
        assert is_held(tree)
        assert len(tree.made) == 1
        tree.refusing = False
        tree.advance(leftovers.AGAIN_LAST)
        assert not is_held(tree)
        assert not file.exists()

    def test_who_asks_for_a_connection_meanwhile_is_told_why_not(self, tree: Tree, message: Any) -> None:
        """The command was kept until the stop was over."""
        linked(tree)
        tree.refusing = True
        tree.tell("sales", message)
        later = tree.tell("sales", Connect(wait=60.0))
        tree.settle()
        assert isinstance(later.error, NotRunning)
        assert WAITS in str(later.error)
        assert len(tree.made) == 1


class TestByItself:
    """What ends a session without a command is held to the same."""

    def test_a_logout_on_the_phone(self, tree: Tree) -> None:
        port = linked(tree)
        port.say(events.Connected(DEVICE, "Ana"))
        tree.refusing = True
        port.say(events.LoggedOut(False, 401))
        tree.settle()
        assert is_held(tree)
        tree.advance(LONG)
        assert len(tree.made) == 1
        tree.refusing = False
        tree.advance(leftovers.AGAIN_LAST)
        assert view(tree).phase is Phase.CLOSED

    def test_a_rung_that_resets_the_session(self, tree: Tree) -> None:
        port = linked(tree)
        port.say(events.Connected(DEVICE, "Ana"))
        tree.refusing = True
        port.say(events.ConnectFailure(409, "bad agent"))
        tree.settle()
        assert is_held(tree)
        tree.advance(LONG)
        assert len(tree.made) == 1
        tree.refusing = False
        tree.advance(leftovers.AGAIN_LAST)
        [again] = tree.ports("sales")
        assert again.found is None


class TestInterrupted:
    """Invariant 7: a session that ends between the note and the deletion leaves it to whoever comes next."""

    @pytest.fixture
    def crashing(self, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
        """Has the next session that deletes credentials crash instead."""

        def crash_once(*_: object) -> None:
            monkeypatch.undo()
            raise RuntimeError("injected by the test")

        return lambda: monkeypatch.setattr(persist, "wipe", crash_once)

    @pytest.mark.parametrize("message", WIPING)
    @pytest.mark.parametrize("refusing", [False, True])
    def test_the_next_session_does_not_connect_either(
        self, tree: Tree, message: Any, refusing: bool, crashing: Callable[[], None]
    ) -> None:
        file = Path(linked(tree).spec.session_url)
        crashing()
        tree.refusing = refusing
        tree.tell("sales", message)
        connect = tree.tell("sales", Connect(wait=1.0))
        tree.settle()
        tree.advance(LONG)
        assert connect.given
        assert resumed(tree) == []
        assert is_held(tree) is refusing
        assert file.exists() is refusing
        tree.refusing = False
        tree.advance(leftovers.AGAIN_LAST)
        assert not file.exists()
        assert not is_held(tree)
        assert notes(tree) == []

    @staticmethod
    def assert_next_session_stays(tree: Tree) -> None:
        """Once this one has crashed; one that gives way would take the supervisor with it."""
        supervisor = tree.system.whereis("instances/sales")
        tree.kill("instances/sales/session")
        tree.settle()
        assert tree.system.whereis("instances/sales") is supervisor
        assert not is_held(tree)

    def test_what_is_deleted_but_not_struck_holds_up_nobody(self, tree: Tree) -> None:
        linked(tree)
        tree.tell("sales", Logout())
        tree.settle()
        note(tree, credentials=DEVICE)
        self.assert_next_session_stays(tree)

    def test_what_is_deleted_is_not_found_again_in_a_device_that_is_linked_later(self, tree: Tree) -> None:
        """A session that is restarted before the login is stored would take its file for the former device's."""
        linked(tree)
        tree.tell("sales", Logout())
        tree.settle()
        note(tree, credentials=DEVICE)
        self.assert_next_session_stays(tree)
        assert notes(tree) == []
        tree.tell("sales", Connect())
        tree.settle()
        port = tree.port("sales")
        assert port is not None
        file = Path(port.spec.session_url)
        file.write_text("linked a moment ago")
        self.assert_next_session_stays(tree)
        tree.advance(LONG)
        assert file.exists()

    def test_what_is_to_be_deleted_of_others_is_in_nobodys_way(self, tree: Tree) -> None:
        file = unlinked(tree)
        write(tree.system, lambda tx: cleanups.add(tx, "another", {"credentials": DEVICE}))
        tree.refusing = True
        self.assert_next_session_stays(tree)
        assert file.exists()

    def test_what_was_linked_since_is_no_former_device(self, tree: Tree) -> None:
        linked(tree)
        note(tree, credentials="former")
        self.assert_next_session_stays(tree)

    def test_a_delete_that_was_refused_is_in_nobodys_way(self, tree: Tree) -> None:
        """Its note is there until it is struck."""
        unlinked(tree)
        note(tree, delete="sales", credentials=None, attempt="refused")
        self.assert_next_session_stays(tree)

    def test_a_file_of_which_nobody_can_tell_is_in_the_way(
        self, tree: Tree, crashing: Callable[[], None], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        linked(tree)
        tree.refusing = True

        def unknown(instance_id: str, jid: str | None = None) -> bool:
            raise CredentialsUnavailable("Input/output error")

        crashing()
        tree.credentials.exist = unknown
        tree.tell("sales", Logout())
        tree.settle()
        assert is_held(tree)

    def test_a_delete_is_not_held_up_by_an_earlier_logout(self, tree: Tree) -> None:
        refused(tree, Logout())
        tree.system.cast("instances/sales/session", Purge())
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert answer.given
        assert tree.board.view("sales") is None


def test_what_goes_with_a_session_file_counts_as_one(tree: Tree) -> None:
    """A log beside no database: SQLite would take it for that of the next one."""
    file = tree.credentials_file("sales")
    Path(f"{file}-wal").touch()
    assert tree.credentials.exist("sales")
    tree.credentials.delete("sales")
    assert not tree.credentials.exist("sales")
