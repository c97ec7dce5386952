"""What is interrupted comes to its end: a stop by the death of host or session, a boot by that of the roster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from actors import roster
from actors.messages import Connect, CreateInstance, ForceReconnection, Logout, Reset
from actors.port import events
from actors.services import ROSTER
from actors.store import cleanups
from actors.views import Desired, InstanceView, Phase
from supervisor.config import HostSettings, RecoverySettings, Settings
from supervisor.otp import Crash, StartFailed, Supervisor
from tests.actors.session.tree import Port, Tree

DEVICE = "5511999990001:7@s.whatsapp.net"
DEADLINE = 30.0
MID_STOP = 5.0
"""Seconds after which a logout on a dead link still waits for its answer."""
SETTLED = 30.0


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Tree]:
    # One turn at a time, so that a boot can be interrupted.
    host = HostSettings(data_dir=tmp_path, boot_concurrency=1)
    tree = Tree(tmp_path, Settings(host=host, recovery=RecoverySettings(jitter=0.0)))
    yield tree
    tree.stop()


def opened(tree: Tree, name: str = "sales") -> Port:
    """An instance with a device, and its open connection."""
    tree.ask(ROSTER, CreateInstance(name))
    tree.settle()
    tree.tell(name, Connect())
    tree.settle()
    port = linked(tree, name)
    Path(port.spec.session_url).write_text("credentials")
    return port


def linked(tree: Tree, name: str) -> Port:
    port = tree.port(name)
    assert port is not None
    port.say(events.Ready())
    port.say(events.Connected(DEVICE, "Ana"))
    tree.settle()
    assert view(tree, name).phase is Phase.OPEN
    return port


def view(tree: Tree, name: str = "sales") -> InstanceView:
    found = tree.board.view(name)
    assert found is not None
    return found


def restart_host(tree: Tree) -> None:
    tree.stop()
    tree.start()


def crash_session(tree: Tree) -> None:
    tree.kill("instances/sales/session")
    tree.settle()


class TestStop:
    @pytest.mark.parametrize("interrupt", [restart_host, crash_session])
    @pytest.mark.parametrize("message", [Logout(), Reset(), ForceReconnection(clean_session=True)])
    def test_credentials_that_were_to_go_are_gone(
        self, tree: Tree, message: Any, interrupt: Callable[[Tree], None]
    ) -> None:
        """Invariants 4 and 7: nobody is back on the former number without a scan."""
        file = Path(opened(tree).spec.session_url)
        tree.tell("sales", message)
        tree.settle()
        tree.advance(MID_STOP)
        assert view(tree).phase is Phase.STOPPING
        assert file.exists()
        interrupt(tree)
        tree.advance(SETTLED)
        after = view(tree)
        assert (after.phase, after.desired, after.logged_in) == (Phase.CLOSED, Desired.DOWN, False)
        assert after.device_jid is None
        assert not file.exists()
        assert tree.query(cleanups.pending) == []
        tree.tell("sales", Connect())
        tree.settle()
        port = tree.port("sales")
        assert port is not None
        assert port.spec.jid is None


class TestStart:
    def test_a_connect_that_meets_the_start_of_the_subtree_gets_its_connection(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The launch under way takes up what the connect wants; that the supervisor then refuses is no failure."""
        tree.ask(ROSTER, CreateInstance("sales"))
        tree.settle()
        tree.stop()
        launch = Supervisor._launch

        def meets_a_connect(self: Supervisor, id: str, *rest: Any) -> Any:
            if id == "connection":
                monkeypatch.undo()
                session = self.system.whereis("instances/sales/session")
                assert session is not None
                session.request(Connect(), lambda value, error: None)
                [context] = self._state.children[id].spec.start.args
                wait_for(lambda: context.plan.wanted)
            return launch(self, id, *rest)

        monkeypatch.setattr(Supervisor, "_launch", meets_a_connect)
        tree.start()
        assert view(tree).phase is Phase.STARTING
        assert view(tree).failed_reason is None
        assert len(tree.ports("sales")) == 1
        linked(tree, "sales")


def wait_for(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not holds():
        assert time.monotonic() < deadline
        threading.Event().wait(0.002)  # the pace of the questions


class TestBoot:
    """Whoever has had its turn is not made to wait for another one: there is none."""

    def test_what_was_started_at_a_second_try_comes_back_from_a_crash(
        self, tree: Tree, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        opened(tree)
        tree.stop()

        def busy(*_: object) -> Any:
            raise StartFailed("sales", Crash(RuntimeError("the store is busy")))

        with monkeypatch.context() as broken:
            broken.setattr(roster, "start_child", busy)
            tree.start()
        tree.advance(roster.START_RETRY + 1)
        linked(tree, "sales")
        crash_session(tree)
        linked(tree, "sales")

    def test_what_a_restarted_roster_let_connect_comes_back_from_a_crash(self, tree: Tree) -> None:
        for name in ("support", "sales"):
            opened(tree, name)
        restart_host(tree)
        [waiting] = [name for name in ("sales", "support") if tree.port(name) is None]
        tree.kill(ROSTER)
        tree.settle()
        for name in sorted(("sales", "support"), key=lambda name: tree.port(name) is None):
            linked(tree, name)
        tree.kill(f"instances/{waiting}/session")
        tree.settle()
        linked(tree, waiting)
