"""An instance that crashes more often than its intensity allows keeps what was decided about it before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.messages import Connect, Logout
from actors.port import events
from actors.services import ROSTER
from actors.store import history
from actors.store.tables import EventTable
from actors.views import Phase
from supervisor.config import HostSettings, RecoverySettings, Settings
from tests.actors.session.test_interrupted import crash_session, linked, opened, restart_host, view
from tests.actors.session.tree import Tree

INTENSITY = 5
SIGKILL = 9


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    host = HostSettings(data_dir=tmp_path, boot_concurrency=1)
    tree = Tree(tmp_path, Settings(host=host, recovery=RecoverySettings(jitter=0.0)))
    yield tree
    tree.stop()


def kill(tree: Tree) -> None:
    port = tree.port("sales")
    assert port is not None
    port.die(SIGKILL)
    tree.settle()


def crash_loop(tree: Tree) -> None:
    """As many kills as the subtree bears."""
    for _ in range(INTENSITY):
        kill(tree)
        linked(tree, "sales")


def contested(tree: Tree) -> None:
    """Open, and replaced by another host until it steps back."""
    opened(tree)
    for _ in range(INTENSITY):
        port = tree.port("sales")
        assert port is not None
        port.say(events.StreamReplaced())
        tree.settle()
        due = view(tree).restart_due
        if view(tree).phase is Phase.FAILED or due is None:
            break
        tree.advance(due - tree.clock.wall() + 0.1, step=1)
        linked(tree, "sales")
    found = view(tree)
    assert (found.phase, found.disconnection_code, found.restart_due) == (Phase.FAILED, 440, None)


def updates(tree: Tree) -> list[str]:
    """The states that were told, oldest first."""
    told = (
        EventTable.select(EventTable.data)
        .where(EventTable.event == "connection.update")
        .order_by(EventTable.seq)
    )
    return [str(row["data"]["state"]) for row in tree.query(lambda tx: list(tx.rows(told)))]


def test_a_logout_under_way_comes_to_its_end(tree: Tree) -> None:
    """Invariants 4 and 7: nobody resumes a number that was logged out."""
    file = Path(opened(tree).spec.session_url)
    crash_loop(tree)
    tree.tell("sales", Logout())
    tree.settle()
    assert view(tree).phase is Phase.STOPPING
    kill(tree)
    tree.advance(60)
    found = view(tree)
    assert (found.phase, found.logged_in, file.exists()) == (Phase.CLOSED, False, False)
    tree.tell("sales", Connect())
    tree.settle()
    port = tree.port("sales")
    assert port is not None
    assert port.spec.jid is None


def test_a_ban_is_not_broken(tree: Tree) -> None:
    opened(tree).say(events.TemporaryBan(code=101, expire_seconds=86400))
    tree.settle()
    until = view(tree).banned_until
    assert until is not None
    for _ in range(INTENSITY + 3):
        crash_session(tree)
    tree.advance(400)
    found = view(tree)
    assert (found.phase, found.disconnection_code, found.banned_until) == (Phase.FAILED, 402, until)
    assert tree.ports("sales") == []


def test_a_session_that_another_host_has_is_not_taken_back(tree: Tree) -> None:
    contested(tree)
    for _ in range(INTENSITY + 3):
        crash_session(tree)
    tree.advance(400)
    assert (view(tree).phase, view(tree).disconnection_code) == (Phase.FAILED, 440)
    assert tree.ports("sales") == []


def test_nor_is_it_by_a_boot_or_a_crash_of_the_roster(tree: Tree) -> None:
    contested(tree)
    tree.kill(ROSTER)
    tree.settle()
    assert (view(tree).phase, tree.ports("sales")) == (Phase.FAILED, [])
    restart_host(tree)
    tree.settle()
    assert (view(tree).phase, tree.ports("sales")) == (Phase.FAILED, [])
    tree.tell("sales", Connect())
    tree.settle()
    assert view(tree).phase is Phase.STARTING


def test_the_last_that_is_told_is_that_it_is_closed(tree: Tree) -> None:
    """Invariant 13: who listens to `connection.update` alone believes what is true."""
    opened(tree)
    crash_loop(tree)
    kill(tree)
    assert view(tree).phase is Phase.FAILED
    assert updates(tree)[-1] == view(tree).state == "close"


def test_its_history_says_so(tree: Tree) -> None:
    opened(tree)
    crash_loop(tree)
    kill(tree)
    [newest, *_] = tree.query(lambda tx: history.page(tx, view(tree).id, limit=10))
    assert (newest.code, newest.cause, newest.action) == (428, "crash", "abort")
