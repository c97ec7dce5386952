"""What ends a connection, and when: on the real tree, with a port that the test speaks for."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from actors.messages import Connect, CreateInstance
from actors.port import events
from actors.services import ROSTER
from actors.views import InstanceView, Phase
from supervisor.config import RecoverySettings, Settings
from supervisor.config.codes import DEFAULT_RULES
from supervisor.config.frozen import FrozenDict
from tests.actors.session.tree import Port, Tree

JID = "5511999990001:7@s.whatsapp.net"
CLOSES = DEFAULT_RULES[428].model_copy(update={"action": "logout"})


@pytest.fixture
def settings() -> Settings:
    return Settings(recovery=RecoverySettings(jitter=0.0))


@pytest.fixture
def tree(tmp_path: Path, settings: Settings) -> Iterator[Tree]:
    found = Tree(tmp_path, settings)
    yield found
    found.stop()


def opened(tree: Tree) -> Port:
    """The port of an instance that is open."""
    assert isinstance(tree_answer(tree), InstanceView)
    tree.tell("sales", Connect())
    tree.settle()
    port = tree.port("sales")
    assert port is not None
    say(tree, port, events.Ready(), events.Connected(JID, "Ana"))
    assert phase(tree) is Phase.OPEN
    return port


def tree_answer(tree: Tree) -> object:
    answer = tree.ask(ROSTER, CreateInstance("sales"))
    tree.settle()
    return answer.value


def say(tree: Tree, port: Port, *told: events.Event) -> None:
    for event in told:
        port.say(event)
    tree.settle()


def phase(tree: Tree) -> Phase:
    view = tree.board.view("sales")
    assert view is not None
    return view.phase


def test_the_client_has_the_base_delay_and_a_login_to_heal_its_link(tree: Tree) -> None:
    port = opened(tree)
    say(tree, port, events.Disconnected())
    assert phase(tree) is Phase.RECOVERING
    tree.advance(3.9)
    assert port.alive
    say(tree, port, events.Connected(JID, "Ana"))
    assert phase(tree) is Phase.OPEN
    say(tree, port, events.Disconnected())
    tree.advance(4.1)
    assert not port.alive


@pytest.mark.parametrize("settings", [Settings(disconnect=FrozenDict({**DEFAULT_RULES, 428: CLOSES}))])
def test_a_code_whose_row_says_logout_gets_no_time_to_heal(tree: Tree) -> None:
    port = opened(tree)
    say(tree, port, events.Disconnected())
    assert not port.alive
    assert phase(tree) is Phase.FAILED


@pytest.mark.parametrize("code", ["401", "402", "403", "405", "406", "411"])
def test_a_stream_error_costs_no_session_that_the_next_login_is_given(tree: Tree, code: str) -> None:
    """Invariant 7: the client logs in again within milliseconds, and it may."""
    port = opened(tree)
    say(tree, port, events.StreamError(code), events.Disconnected(), events.Connected(JID, "Ana"))
    assert port.alive
    assert phase(tree) is Phase.OPEN


def test_a_session_that_is_gone_is_told_by_the_login_after_the_stream_error(tree: Tree) -> None:
    port = opened(tree)
    say(tree, port, events.StreamError("401"), events.Disconnected(), events.LoggedOut(True, 401))
    assert not port.alive
    assert phase(tree) is Phase.CLOSED


@pytest.mark.parametrize(
    "late",
    [events.LoginStatus("success"), events.PairStatus(JID, None, "", "android", None)],
    ids=lambda event: type(event).__name__,
)
def test_a_pairing_that_is_told_late_leaves_open_what_is_open(tree: Tree, late: events.Event) -> None:
    port = opened(tree)
    say(tree, port, late)
    assert phase(tree) is Phase.OPEN
    tree.advance(60)
    assert port.alive


@pytest.mark.parametrize(
    "gives_up", [events.ConnectReturned(None), events.LoginStatus("timeout")], ids=lambda e: type(e).__name__
)
def test_a_client_that_gives_up_healing_ends_with_what_it_could_not_heal(
    tree: Tree, gives_up: events.Event
) -> None:
    port = opened(tree)
    say(tree, port, events.ConnectFailure(503, ""), gives_up)
    assert not port.alive
    row = tree.row("sales")
    assert row is not None
    assert row.disconnection_code == 503
