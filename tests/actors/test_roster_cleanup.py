"""What is left of instances is removed aside: nobody waits for a credential store who asks for something else."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from actors import deletion, janitor, leftovers, refused, register, roster
from actors.credentials import CredentialsUnavailable, FileCredentials
from actors.gateway import Gateway
from actors.janitor import AWAY, WIPE_DEADLINE
from actors.messages import BeingDeleted, Connect, CreateInstance, DeleteInstance, NotRunning
from actors.notices import GaveUp
from actors.services import INSTANCES, JANITOR, ROSTER
from actors.session.inputs import Purge
from actors.store import (
    Cleanup,
    Instance,
    StoreInDoubt,
    StoreTimeout,
    StoreUnavailable,
    Trouble,
    Tx,
    cleanups,
    instances,
    write,
)
from actors.store.tables import EventTable
from actors.trace import untraced
from actors.views import Phase
from supervisor.config import HostSettings, PortSettings, Settings, load
from supervisor.otp import System, terminate_child
from tests.actors.session.tree import Tree
from tests.actors.test_roster import World

WAIT = 20.0
SOON = 5.0
"""Seconds within which the roster answers who asks for something else; a subtree has ten to end."""


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    tree = Tree(tmp_path, Settings(host=HostSettings(data_dir=tmp_path)))
    yield tree
    tree.stop()


class Attempts:
    """A credential store that counts, and is away for as long as it is told, for all or for some devices."""

    def __init__(self, tree: Tree, *, away: bool, shared: bool = False, lost: tuple[str, ...] = ()) -> None:
        self.made: list[tuple[str, str | None]] = []
        self.away = away
        really = tree.credentials.delete

        def delete(instance_id: str, jid: str | None = None) -> None:
            self.made.append((instance_id, jid))
            if self.away or jid in lost:
                raise CredentialsUnavailable("the store does not answer")
            really(instance_id, jid)

        tree.credentials.delete = delete
        tree.credentials.by_device = shared


def create(tree: Tree, name: str) -> Instance:
    tree.ask(ROSTER, CreateInstance(name))
    tree.settle()
    row = tree.row(name)
    assert row is not None
    return row


def delete(tree: Tree, *names: str) -> None:
    for name in names:
        create(tree, name)
        answer = tree.ask(ROSTER, DeleteInstance(name))
        tree.settle()
        assert answer.given
        assert answer.error is None
        assert tree.row(name) is None


def note(system: System, instance_id: str, **what: Any) -> Cleanup:
    added: Cleanup = write(system, lambda tx: cleanups.add(tx, instance_id, what))
    return added


def pending(tree: Tree) -> list[Cleanup]:
    found: list[Cleanup] = tree.query(cleanups.pending)
    return found


def restart_roster(tree: Tree) -> None:
    tree.kill(ROSTER)
    tree.settle()


class TestOnce:
    def test_what_the_session_has_deleted_is_not_deleted_again(self, tree: Tree) -> None:
        attempts = Attempts(tree, away=False)
        delete(tree, "sales")
        assert len(attempts.made) == 1
        assert pending(tree) == []

    def test_what_the_session_could_not_delete_is_left_to_the_next_start(self, tree: Tree) -> None:
        """Invariant 7: then it goes everywhere."""
        attempts = Attempts(tree, away=True)
        delete(tree, "sales")
        assert len(attempts.made) == 1
        assert pending(tree)
        tree.stop()
        tree.start()
        assert pending(tree) == []

    @pytest.mark.parametrize(("shared", "attempts_at_boot"), [(True, 1), (False, 3)])
    def test_a_boot_asks_a_store_that_all_share_once(
        self, tree: Tree, shared: bool, attempts_at_boot: int
    ) -> None:
        """A file that cannot be deleted says nothing of the others."""
        attempts = Attempts(tree, away=True, shared=shared)
        delete(tree, "sales", "support", "billing")
        left = pending(tree)
        attempts.made.clear()
        restart_roster(tree)
        create(tree, "others")
        assert len(attempts.made) == attempts_at_boot
        assert pending(tree) == left

    def test_a_store_that_was_away_is_asked_again_later(self, tree: Tree) -> None:
        attempts = Attempts(tree, away=True, shared=True)
        delete(tree, "sales")
        restart_roster(tree)
        attempts.away = False
        tree.advance(AWAY)
        restart_roster(tree)
        assert pending(tree) == []

    def test_rows_whose_removal_was_not_answered_in_time_are_not_removed_with_two_farewells(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The COMMIT was under way."""
        late = [register.delete_for_good]

        def slow(system: System, unit: Any, timeout: float) -> Any:
            done = write(system, unit, timeout)
            if getattr(unit, "func", None) in late:
                late.clear()
                raise StoreTimeout("the store did not answer")
            return done

        monkeypatch.setattr(roster, "write", slow)
        create(tree, "sales")
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert not answer.given
        told = tree.query(newest_event)
        tree.advance(roster.STORE_RETRY)
        assert answer.given
        assert tree.query(newest_event) == told
        assert pending(tree) == []


class TestFormerDevices:
    """With a store by device: what a logout could not delete is another device than the one that goes now."""

    def test_a_note_about_a_former_device_stays_until_that_is_deleted(self, tree: Tree) -> None:
        attempts = Attempts(tree, away=False, shared=True, lost=("former",))
        row = create(tree, "sales")
        former = note(tree.system, row.id, credentials="former")
        tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert tree.row("sales") is None
        assert pending(tree) == [former]
        assert (row.id, "former") in attempts.made  # tried at once, since the store does answer
        tree.stop()
        tree.start()
        assert pending(tree) == []

    def test_it_is_deleted_with_the_instance_where_that_can_be_done(self, tree: Tree) -> None:
        attempts = Attempts(tree, away=False, shared=True)
        row = create(tree, "sales")
        note(tree.system, row.id, credentials="former")
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert answer.given
        assert (row.id, "former") in attempts.made
        assert pending(tree) == []

    def test_with_a_file_for_each_instance_there_is_nothing_of_a_former_device(self, tree: Tree) -> None:
        Attempts(tree, away=False, lost=("former",))
        row = create(tree, "sales")
        note(tree.system, row.id, credentials="former")
        tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert pending(tree) == []

    def test_a_device_that_was_linked_since_the_delete_was_noted_is_noted_too(self, tree: Tree) -> None:
        """Nobody else knows of it once the row is gone."""
        Attempts(tree, away=True, shared=True)
        row = create(tree, "sales")
        tree.kill(f"{INSTANCES}/sales")
        tree.settle()
        write(tree.system, lambda tx: instances.update(tx, row.id, logged_in=True, device_jid="since"))
        note(tree.system, row.id, delete="sales", credentials=None, accepted=True)
        restart_roster(tree)
        assert tree.row("sales") is None
        assert [left.what["credentials"] for left in pending(tree)] == [None, "since"]


class TestAtBoot:
    """Invariant 10: what was being deleted when its host ended is not there any more."""

    @pytest.mark.parametrize("shared", [True, False])
    def test_what_was_being_deleted_is_gone_at_once_and_its_note_stays(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch, shared: bool
    ) -> None:
        """It is not started again because its credentials cannot be deleted now."""
        for name in ("sales", "support"):
            create(tree, name)
        doomed = [tree.row(name) for name in ("sales", "support")]
        notes = [note(tree.system, row.id, delete=row.name, credentials=None) for row in doomed if row]
        tree.stop()

        def away(self: FileCredentials, instance_id: str, jid: str | None = None) -> None:
            raise CredentialsUnavailable("the store does not answer")

        with monkeypatch.context() as broken:
            broken.setattr(FileCredentials, "by_device", shared)
            broken.setattr(FileCredentials, "delete", away)
            tree.start()
            for name in ("sales", "support"):
                assert tree.row(name) is None
                assert tree.board.view(name) is None
                assert tree.system.whereis(f"{INSTANCES}/{name}/session") is None
            assert pending(tree) == notes
            assert tree.query(partial(events_of, name="sales"))[-2:] == ["remove.instance", "instance.delete"]
            create(tree, "sales")
            tree.stop()
        tree.start()
        assert pending(tree) == []
        assert tree.row("sales") is not None
        assert tree.query(partial(events_of, name="sales")).count("instance.delete") == 1

    def test_what_a_deletion_had_set_aside_is_removed(self, tree: Tree) -> None:
        row = create(tree, "sales")
        tree.stop()
        left = Path(f"{tree.credentials_file(row.id)}-wal{FileCredentials.GONE}1")
        left.touch()
        tree.start()
        assert not left.exists()

    def test_what_was_linked_since_is_not_wiped(self, tree: Tree) -> None:
        """Invariant 6."""
        row = create(tree, "sales")
        write(tree.system, lambda tx: instances.update(tx, row.id, logged_in=True, device_jid="now"))
        note(tree.system, row.id, credentials="former")
        tree.credentials_file(row.id).write_text("now")
        tree.stop()
        tree.start()
        assert pending(tree) == []
        assert tree.credentials_file(row.id).read_text() == "now"


class TestRefused:
    """Invariant 10: a delete that was answered with an error does not happen, whatever became of its note."""

    @pytest.fixture
    def late(self, monkeypatch: pytest.MonkeyPatch) -> list[StoreUnavailable]:
        """Errors that the roster gets for the next notes, each of which is stored all the same."""
        errors: list[StoreUnavailable] = []

        def slow(system: System, unit: Any, timeout: float) -> Any:
            done = write(system, unit, timeout)
            if errors and "noted_for_deletion" in getattr(getattr(unit, "__code__", None), "co_names", ()):
                raise errors.pop()
            return done

        monkeypatch.setattr(roster, "write", slow)
        return errors

    def refuse(self, tree: Tree, late: list[StoreUnavailable]) -> None:
        late.append(StoreTimeout("the store did not answer"))
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert isinstance(answer.error, StoreUnavailable)

    @pytest.mark.parametrize("error", [StoreTimeout, StoreInDoubt, StoreUnavailable])
    def test_its_note_is_struck_at_once(
        self, tree: Tree, late: list[StoreUnavailable], error: type[StoreUnavailable]
    ) -> None:
        create(tree, "sales")
        late.append(error("the store did not answer"))
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert isinstance(answer.error, error)
        assert pending(tree) == []
        tree.stop()
        tree.start()
        assert tree.row("sales") is not None

    def test_it_is_struck_as_soon_as_the_database_does_that(
        self, tree: Tree, late: list[StoreUnavailable], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(tree, "sales")
        with monkeypatch.context() as broken:
            broken.setattr(register, "strike_refused", fails)
            self.refuse(tree, late)
            tree.advance(3 * refused.RETRY)
            assert pending(tree)
        tree.advance(refused.RETRY)
        assert pending(tree) == []
        assert tree.services.refused == set()

    def test_a_roster_that_crashed_meanwhile_does_not_obey_it(
        self, tree: Tree, late: list[StoreUnavailable], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(tree, "sales")
        with monkeypatch.context() as lost:
            lost.setattr(refused.Refused, "_cast_strike", lambda self: None)
            self.refuse(tree, late)
            assert pending(tree)
            restart_roster(tree)
        assert tree.row("sales") is not None
        assert pending(tree) == []
        assert tree.services.refused == set()

    def test_a_delete_that_is_asked_again_meanwhile_wins(
        self, tree: Tree, late: list[StoreUnavailable], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(tree, "sales")
        with monkeypatch.context() as lost:
            lost.setattr(refused.Refused, "_cast_strike", lambda self: None)
            self.refuse(tree, late)
            lost.setattr(tree.system, "cast", partial(but_purge, tree.system.cast))
            again = tree.ask(ROSTER, DeleteInstance("sales"))
            tree.settle()
        assert not again.given
        tree.advance(refused.RETRY)
        [accepted] = pending(tree)
        assert accepted.what["accepted"]
        restart_roster(tree)
        assert tree.row("sales") is None
        assert pending(tree) == []

    def test_a_later_host_does_not_obey_it_for_a_device_that_was_linked_since(self, tree: Tree) -> None:
        """Its own host had no time to strike it."""
        row = create(tree, "sales")
        note(tree.system, row.id, delete="sales", credentials=None, attempt="1")
        write(tree.system, lambda tx: instances.update(tx, row.id, logged_in=True, device_jid="since"))
        tree.credentials_file(row.id).write_text("since")
        tree.stop()
        tree.start()
        assert tree.row("sales") is not None
        assert tree.credentials_file(row.id).read_text() == "since"
        assert pending(tree) == []

    def test_nothing_is_to_be_struck_where_the_database_was_not_asked(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        create(tree, "sales")
        monkeypatch.setattr(refused.Refused, "_cast_strike", lambda self: None)
        tree.services.condition.trouble = Trouble(0.0, "locked")
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert isinstance(answer.error, StoreUnavailable)
        assert tree.services.refused == set()


class TestHeld:
    """Invariant 7: an instance whose former device cannot be deleted does not come back on it."""

    @pytest.fixture
    def row(self, tree: Tree, monkeypatch: pytest.MonkeyPatch) -> Instance:
        """An instance of a host that has started on a disk that takes nothing."""
        row = create(tree, "sales")
        tree.credentials_file(row.id).write_text("former")
        note(tree.system, row.id, credentials="former")
        tree.stop()
        monkeypatch.setattr(Path, "rename", read_only)
        tree.start()
        return row

    def test_it_is_tried_again_and_everybody_is_told_why(self, tree: Tree, row: Instance) -> None:
        wait = leftovers.AGAIN_FIRST
        with capture_logs() as logs:
            for _ in range(7):
                tree.advance(wait, step=wait)
                assert tree.system.whereis(f"{INSTANCES}/sales/session") is None
                wait = min(wait * 2, leftovers.AGAIN_LAST)
        told = [line for line in logs if line["event"] == "a former device is not deleted"]
        assert [line["again_in"] for line in told] == [4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
        assert {line["instance"] for line in told} == {"sales"}
        shown = tree.board.view("sales")
        assert shown is not None
        assert shown.phase is Phase.FAILED
        assert shown.failed_reason == f"{leftovers.WAITS}: credentials: Read-only file system"
        with pytest.raises(NotRunning, match=r"former device.*Read-only"):
            Gateway(tree.services, tree.reader).command("sales", Connect(), 1.0)

    def test_it_is_started_once_the_former_device_is_gone(
        self, tree: Tree, row: Instance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        tree.advance(leftovers.AGAIN_FIRST)
        assert tree.system.whereis(f"{INSTANCES}/sales/session") is not None
        assert not tree.credentials_file(row.id).exists()
        assert pending(tree) == []
        shown = tree.board.view("sales")
        assert shown is not None
        assert (shown.phase, shown.failed_reason) == (Phase.CLOSED, None)

    def test_a_database_that_is_gone_meanwhile_is_asked_again(
        self, tree: Tree, row: Instance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.undo()
        tree.services.condition.trouble = Trouble(0.0, "locked")
        tree.advance(leftovers.AGAIN_FIRST)
        shown = tree.board.view("sales")
        assert shown is not None
        assert shown.failed_reason == f"{leftovers.WAITS}: locked"
        tree.services.condition.trouble = None
        tree.advance(2 * leftovers.AGAIN_FIRST)
        assert tree.system.whereis(f"{INSTANCES}/sales/session") is not None

    def test_it_can_be_deleted(self, tree: Tree, row: Instance) -> None:
        answer = tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert answer.given
        assert answer.error is None
        assert tree.row("sales") is None
        assert tree.board.view("sales") is None
        left = {note.instance_id for note in pending(tree)}
        assert left == {row.id}
        tree.advance(100.0)
        assert tree.board.view("sales") is None

    def test_a_late_word_of_its_subtree_does_not_start_it(
        self, tree: Tree, row: Instance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree.system.cast(ROSTER, GaveUp("sales", "killed"))
        tree.settle()
        assert tree.system.whereis(f"{INSTANCES}/sales") is None
        monkeypatch.undo()
        tree.advance(leftovers.AGAIN_FIRST)
        assert tree.system.whereis(f"{INSTANCES}/sales/session") is not None
        shown = tree.board.view("sales")
        assert shown is not None
        assert shown.phase is Phase.FAILED

    def test_in_a_store_by_device_the_former_one_is_in_nobodys_way(
        self, tree: Tree, row: Instance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        tree.stop()
        monkeypatch.setattr(FileCredentials, "by_device", True)
        tree.start()
        assert tree.system.whereis(f"{INSTANCES}/sales/session") is not None
        assert pending(tree)

    def test_a_note_that_cannot_be_struck_holds_it_no_longer_and_crashes_nobody(
        self, tree: Tree, row: Instance, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A crash would be one at each start, of the API too; what is noted is gone already."""
        monkeypatch.undo()
        janitor_before = tree.system.whereis(JANITOR)
        with monkeypatch.context() as broken, capture_logs() as logs:
            broken.setattr(janitor, "write", fails)
            tree.advance(leftovers.AGAIN_FIRST)
        assert tree.system.whereis(f"{INSTANCES}/sales/session") is not None
        assert tree.system.whereis(JANITOR) is janitor_before
        assert pending(tree) == [], "its session strikes it, as nothing is left that it is about"
        [told] = [line for line in logs if line["event"] == "a clean-up could not be struck out"]
        assert told["log_level"] == "error"
        assert told["exc_info"]


class TestOthersDevices:
    """In a store that all share, nobody deletes what another instance is logged in with."""

    @pytest.fixture
    def attempts(self, tree: Tree) -> Attempts:
        other = create(tree, "support")
        write(tree.system, lambda tx: instances.update(tx, other.id, logged_in=True, device_jid="theirs"))
        return Attempts(tree, away=False, shared=True)

    def test_at_boot(self, tree: Tree, attempts: Attempts) -> None:
        note(tree.system, "long gone", credentials="theirs")
        restart_roster(tree)
        assert attempts.made == [("long gone", None)]
        assert pending(tree) == []

    def test_in_a_delete(self, tree: Tree, attempts: Attempts) -> None:
        row = create(tree, "sales")
        note(tree.system, row.id, credentials="theirs")
        note(tree.system, row.id, credentials="former")
        tree.ask(ROSTER, DeleteInstance("sales"))
        tree.settle()
        assert (row.id, "former") in attempts.made
        assert (row.id, "theirs") not in attempts.made
        assert pending(tree) == []


def fails(*_: object, **__: object) -> Any:
    raise ValueError("injected by the test")


def read_only(*_: object) -> Any:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def but_purge(cast: Callable[[Any, Any], bool], target: Any, message: Any) -> bool:
    """Send all but the word to a session that it is to go, which then seems to be on its way for ever."""
    return isinstance(untraced(message)[0], Purge) or cast(target, message)


def test_a_late_word_of_a_subtree_that_was_cut_down_is_not_taken_for_its_successors(tree: Tree) -> None:
    create(tree, "sales")
    tree.system.cast(ROSTER, GaveUp("sales", "killed"))
    tree.settle()
    row = tree.row("sales")
    assert row is not None
    assert row.phase == Phase.CLOSED


def newest_event(tx: Tx) -> int:
    [(seq,)] = tx.plain("SELECT max(seq) FROM event")
    return int(seq)


def events_of(tx: Tx, name: str) -> list[str]:
    query = EventTable.select(EventTable.event).where(EventTable.instance_name == name)
    return [row["event"] for row in tx.rows(query.order_by(EventTable.seq))]


# -- on the real clock: a store that says nothing --------------------------------------------------------------


class Silent(FileCredentials):
    """A store that says nothing about some instances until it is let go.

    Attributes:
        about: their ids.
        asked: released for each question that gets no answer.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.about: set[str] = set()
        self.asked = threading.Semaphore(0)
        self.go = threading.Event()

    def delete(self, instance_id: str, jid: str | None = None) -> None:
        if instance_id in self.about:
            self.asked.release()
            assert self.go.wait(60)
        super().delete(instance_id, jid)


class Live(World):
    """The same on the real clock."""

    def __init__(self, directory: Path, *silent_about: str) -> None:
        self.silent = Silent(directory / "sessions")
        self.silent.about.update(silent_about)
        super().__init__(directory, System(), self.silent)

    def create(self, name: str) -> str:
        id: str = self.system.call(ROSTER, CreateInstance(name), SOON).id
        return id

    def delete(self, name: str) -> threading.Event:
        """Ask for it, and go on: set once it is answered without an error."""
        answered = threading.Event()
        ref = self.system.whereis(ROSTER)
        assert ref is not None
        ref.request(DeleteInstance(name), lambda _value, error: error or answered.set())
        return answered

    def runs(self, name: str) -> bool:
        return self.system.whereis(f"{INSTANCES}/{name}/session") is not None

    def end(self, name: str) -> None:
        """Take its subtree out."""
        ref = self.system.whereis(INSTANCES)
        assert ref is not None
        terminate_child(ref, name, WAIT)

    def row(self, name: str) -> Instance | None:
        found: Instance | None = write(self.system, lambda tx: instances.by_name(tx, name))
        return found

    def pending(self) -> list[Cleanup]:
        found: list[Cleanup] = write(self.system, cleanups.pending)
        return found

    def stop(self) -> None:
        self.silent.go.set()
        assert self.system.shutdown() == []


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Live]:
    world = Live(tmp_path)
    yield world
    world.stop()


def until(holds: Callable[[], bool]) -> None:
    """Ask until it holds; each question is a transaction, which sets the pace."""
    pace = threading.Event()
    for _ in range(int(WAIT / 0.01)):
        if holds():
            return
        pace.wait(0.01)
    raise AssertionError("it never held")


class TestAside:
    """Invariant 15: a store that says nothing holds up nobody who asks the roster for something else."""

    def test_others_are_created_and_deleted_while_a_store_says_nothing(self, live: Live) -> None:
        id = live.create("sales")
        live.silent.about.add(id)
        live.end("sales")
        answered = live.delete("sales")
        assert live.silent.asked.acquire(timeout=WAIT)
        live.create("support")
        assert live.delete("support").wait(SOON)
        assert live.row("support") is None
        assert not answered.is_set()
        assert live.row("sales") is None
        with pytest.raises(BeingDeleted):
            live.create("sales")
        live.silent.go.set()
        assert answered.wait(WAIT)
        assert live.pending() == []
        live.create("sales")

    def test_past_its_deadline_it_is_answered_and_the_note_stays(
        self, live: Live, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(roster, "WIPE_DEADLINE", 0.2)
        former = live.create("sales")
        live.silent.about.add(former)
        live.end("sales")
        assert live.delete("sales").wait(SOON)
        assert live.row("sales") is None
        assert [left.instance_id for left in live.pending()] == [former]
        latter = live.create("sales")
        file = Path(live.silent.url(latter))
        file.write_text("of the latter")
        deleted = live.delete("sales")  # under way by the same name, when the former one is done
        assert deleted.wait(SOON)
        live.silent.go.set()
        until(lambda: live.pending() == [])
        assert not file.exists()

    def test_a_session_that_waits_for_the_store_keeps_nobody_else_waiting(
        self, live: Live, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(roster, "PURGE_MARGIN", 0.2)
        monkeypatch.setattr(roster, "WIPE_DEADLINE", 0.2)
        live.services.settings = live.services.settings.model_copy(
            update={"port": PortSettings(command_timeout=0.1)}
        )
        live.silent.about.add(live.create("sales"))
        answered = live.delete("sales")
        for _ in ("the session", "the janitor"):
            assert live.silent.asked.acquire(timeout=SOON)
        live.create("support")
        assert answered.wait(SOON)
        assert not live.runs("sales")
        assert live.row("sales") is None
        live.silent.go.set()
        until(lambda: live.pending() == [])
        live.create("sales")

    def test_the_boot_goes_on_and_who_has_no_device_waits_for_the_end_of_its_former_one(
        self, tmp_path: Path
    ) -> None:
        """A device that it linked meanwhile would be deleted in the place of the former one."""
        before = Live(tmp_path)
        ids = {name: before.create(name) for name in ("sales", "support", "billing")}
        note(before.system, ids["sales"], credentials="former")
        note(before.system, ids["billing"], delete="billing", credentials=None)
        before.stop()
        world = Live(tmp_path, ids["sales"])
        try:
            assert world.silent.asked.acquire(timeout=WAIT)
            world.create("others")
            assert world.runs("support")
            assert not world.runs("sales")
            assert world.board.view("sales") is not None
            assert world.row("billing") is None
            world.silent.go.set()
            until(lambda: world.runs("sales"))
            until(lambda: world.pending() == [])
        finally:
            world.stop()

    def test_one_that_waits_for_that_can_be_deleted(self, tmp_path: Path) -> None:
        before = Live(tmp_path)
        id = before.create("sales")
        note(before.system, id, credentials="former")
        before.stop()
        world = Live(tmp_path, id)
        try:
            assert world.silent.asked.acquire(timeout=WAIT)
            answered = world.delete("sales")
            until(lambda: world.row("sales") is None)
            assert not answered.is_set()
            world.silent.go.set()
            assert answered.wait(WAIT)
            assert world.pending() == []
            assert not world.runs("sales")
            world.create("sales")
        finally:
            world.stop()

    def test_one_that_waits_for_a_store_that_says_nothing_says_so(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(leftovers, "WIPE_DEADLINE", 0.1)
        before = Live(tmp_path)
        id = before.create("sales")
        note(before.system, id, credentials="former")
        before.stop()
        world = Live(tmp_path, id)
        try:
            assert world.silent.asked.acquire(timeout=WAIT)

            def reason() -> str:
                shown = world.board.view("sales")
                return (shown and shown.failed_reason) or ""

            assert reason().startswith(leftovers.WAITS)
            until(lambda: (world.row("sales") is not None) and "no answer for" in reason())
            assert not world.runs("sales")
        finally:
            world.stop()

    def test_a_janitor_that_was_killed_releases_nobody_and_deletes_nothing_of_a_later_device(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its thread comes back from the store after another janitor has done its work."""
        monkeypatch.setattr(leftovers, "AGAIN_FIRST", 0.1)
        before = Live(tmp_path)
        id = before.create("sales")
        note(before.system, id, credentials="former")
        before.stop()
        world = Live(tmp_path, id)
        file = Path(world.silent.url(id))
        file.write_text("former")
        try:
            assert world.silent.asked.acquire(timeout=WAIT)
            killed = world.system.whereis(JANITOR)
            assert killed is not None
            world.system.kill(killed)
            until(lambda: world.row("sales") is not None and world.system.whereis(JANITOR) is not None)
            assert not world.runs("sales")
            world.silent.about.clear()
            until(lambda: world.runs("sales"))
            assert not file.exists()
            file.write_text("newly linked")
            [zombie] = world.system.fenced()
            world.silent.go.set()
            until(lambda: world.row("sales") is not None and world.system.fenced() == [])
            assert file.read_text() == "newly linked", zombie
        finally:
            world.stop()

    def test_a_janitor_that_crashed_keeps_nobody_waiting(self, live: Live) -> None:
        id = live.create("sales")
        live.silent.about.add(id)
        live.end("sales")
        answered = live.delete("sales")
        assert live.silent.asked.acquire(timeout=WAIT)
        janitor = live.system.whereis(JANITOR)
        assert janitor is not None
        live.system.kill(janitor)
        assert answered.wait(SOON)
        assert live.pending()


def test_a_session_has_the_time_that_its_stores_may_take_by_themselves() -> None:
    """A dead link, and then a session store that does not answer, are no reason to do without the session."""
    from actors import cache, connection, credentials

    stores = credentials.CONNECT_TIMEOUT + credentials.STATEMENT_TIMEOUT + 2 * cache.REDIS_TIMEOUT
    assert stores <= WIPE_DEADLINE
    assert 1.0 + connection.KILL_DEADLINE + stores < deletion.PURGE_MARGIN


def test_the_longest_delete_follows_the_configuration(tmp_path: Path) -> None:
    def longest(text: str) -> float:
        ini = tmp_path / "supervisor.ini"
        ini.write_text(text)
        return deletion.longest_delete(load(ini, {}))

    usual = longest("")
    assert usual > 2 * deletion.STORE_DEADLINE + 10 + deletion.PURGE_MARGIN + WIPE_DEADLINE
    assert longest("[port]\ncommand_timeout = 20s\n") == usual + 10
    assert longest("[instance:sales]\nport.command_timeout = 30s\n") == usual + 20
