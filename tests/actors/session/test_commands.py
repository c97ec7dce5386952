"""Every command in every phase, on the real tree: what is answered, in what time, and what comes of the instance.

The ports are simulated and the clock is moved by hand. Each cell of `TABLE` is one test, three times: with a port
that answers, with one behind a dead link, and with the same command given once more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import structlog

from actors.messages import (
    Command,
    Configure,
    Connect,
    CreateInstance,
    DeleteInstance,
    ForceReconnection,
    Logout,
    Reset,
    Restart,
    SetPresence,
)
from actors.port import events
from actors.services import ROSTER
from actors.views import Desired, InstanceView, Phase
from supervisor.config import PortSettings, RecoverySettings, Settings
from tests.actors.session.tree import Answer, Port, Tree

NAME = "sales"
DEVICE = "5511999990001:1@s.whatsapp.net"
COMMAND_TIMEOUT = 10.0
DEADLINE = COMMAND_TIMEOUT + 1.0
"""Seconds within which every command is answered, whatever the link does."""
STEP = 0.5

CONFIGURATION = Settings(
    recovery=RecoverySettings(jitter=0.0),
    port=PortSettings(
        heartbeat=10.0, missed_heartbeats=3, command_timeout=COMMAND_TIMEOUT, start_timeout=30.0
    ),
)

COMMANDS: Mapping[str, Any] = {
    "connect": Connect(),
    "logout": Logout(),
    "restart": Restart(),
    "force": ForceReconnection(),
    "force clean": ForceReconnection(clean_session=True),
    "reset": Reset(),
    "delete": DeleteInstance(NAME),
    "presence": SetPresence("available"),
    "configure": Configure(settings={"rejectCall": True}),
}


@dataclass
class Scene:
    """One instance on a host of its own."""

    tree: Tree
    before: list[Answer] = field(default_factory=list)
    """Of the commands that brought it to where it is and are not answered yet."""

    def give(self, message: Any) -> Answer:
        to_roster = isinstance(message, CreateInstance | DeleteInstance)
        answer = self.tree.ask(ROSTER, message) if to_roster else self.tree.tell(NAME, message)
        self.tree.settle()
        return answer

    @property
    def port(self) -> Port:
        [port] = self.tree.ports(NAME)
        return port

    @property
    def view(self) -> InstanceView | None:
        return self.tree.board.view(NAME)

    def says(self, *notices: events.Event) -> None:
        for notice in notices:
            self.port.say(notice)
        self.tree.settle()

    def answers(self) -> None:
        """The port carries out what it was told."""
        for port in self.tree.ports(NAME):
            for number in list(port.commands):
                port.answer(number, {})
            self.tree.settle()

    def until(self, answer: Answer) -> float:
        """Let time pass until there is an answer, and return how long it took."""
        seconds = 0.0
        while not answer.given and seconds <= DEADLINE:
            self.tree.clock.advance(STEP)
            self.tree.settle()
            seconds += STEP
        assert answer.given, f"no answer within {DEADLINE:g} s"
        return seconds


# -- how an instance comes to each situation -----------------------------------------------------------------


def closed(scene: Scene) -> None:
    """As it was created."""


def starting(scene: Scene) -> None:
    scene.give(Connect())


def starting_linked(scene: Scene) -> None:
    opened(scene)
    scene.give(Restart())


def awaiting_scan(scene: Scene) -> None:
    starting(scene)
    scene.says(events.Ready(), events.QrCode("2@1"))


def pairing(scene: Scene) -> None:
    awaiting_scan(scene)
    Path(scene.port.spec.session_url).write_text(DEVICE)
    scene.says(events.LoginStatus("success"), events.PairStatus(DEVICE, None, "", "android", None))


def opened(scene: Scene) -> None:
    pairing(scene)
    scene.says(events.Connected(DEVICE, "Ana"))
    scene.answers()


def healing(scene: Scene) -> None:
    """The client itself tries to reconnect."""
    opened(scene)
    scene.says(events.Disconnected())


def waiting(scene: Scene) -> None:
    """A rung of the ladder waits for its time."""
    opened(scene)
    scene.says(events.DialFailed("connection refused", "refused"))


def logging_out(scene: Scene) -> None:
    opened(scene)
    scene.before.append(scene.give(Logout()))


def cleaning(scene: Scene) -> None:
    opened(scene)
    scene.before.append(scene.give(ForceReconnection(clean_session=True)))


def deleting(scene: Scene) -> None:
    opened(scene)
    scene.before.append(scene.give(DeleteInstance(NAME)))


def outdated(scene: Scene) -> None:
    opened(scene)
    scene.says(events.ClientOutdated())


def banned(scene: Scene) -> None:
    opened(scene)
    scene.says(events.TemporaryBan(101, 3600))


SITUATIONS: Mapping[str, tuple[Phase, bool, Callable[[Scene], None]]] = {
    # phase, whether a device is linked, how it comes to that
    "closed": (Phase.CLOSED, False, closed),
    "starting": (Phase.STARTING, False, starting),
    "starting, linked": (Phase.STARTING, True, starting_linked),
    "awaiting scan": (Phase.AWAITING_SCAN, False, awaiting_scan),
    "pairing": (Phase.PAIRING, True, pairing),
    "open": (Phase.OPEN, True, opened),
    "healing": (Phase.RECOVERING, True, healing),
    "waiting": (Phase.RECOVERING, True, waiting),
    "logging out": (Phase.STOPPING, True, logging_out),
    "cleaning": (Phase.STOPPING, True, cleaning),
    "deleting": (Phase.STOPPING, True, deleting),
    "outdated": (Phase.FAILED, True, outdated),
    "banned": (Phase.FAILED, True, banned),
}
GONE = "gone"

# -- the table ---------------------------------------------------------------------------------------------

UNTOLD = "; the phone could not be told and still lists the device"
NOT_CONNECTED = 'NotLoggedIn: The "sales" instance is not connected (phase closed)'
NOTHING_TO_RESTART = 'NotNow: The "sales" instance is closed: there is no connection to restart; connect it'
BANNED = 'Banned: The "sales" instance is banned by WhatsApp until'
CLEAN = "Reconnecting with a clean session"
STOPPED = "Pairing stopped; no device was linked"
OUT = "Instance logged out"
CODE = "Code 1 of 30 is waiting to be scanned"
DELETED = ("None", GONE)
DELETING = 'BeingDeleted: The "sales" instance is being deleted'


def no_presence(phase: str) -> str:
    return f'NotNow: The "sales" instance is {phase}: presence needs an open connection'


TABLE: Mapping[str, Mapping[str, tuple[str, str]]] = {
    # situation: command: how its answer begins, and the situation that it leads to
    "closed": {
        "connect": ("Connecting", "starting"),
        "logout": (NOT_CONNECTED, "closed"),
        "restart": (NOTHING_TO_RESTART, "closed"),
        "force": ("Reconnecting", "starting"),
        "force clean": (CLEAN, "starting"),
        "reset": ("Instance reset", "closed"),
        "delete": DELETED,
        "presence": (no_presence("closed"), "closed"),
        "configure": ("Stored", "closed"),
    },
    "starting": {
        "connect": ("Connecting", "starting"),
        "logout": (STOPPED, "closed"),
        "restart": ("Instance restarted", "starting"),
        "force": ("Reconnecting", "starting"),
        "force clean": (CLEAN, "starting"),
        "reset": ("Instance reset", "closed"),
        "delete": DELETED,
        "presence": (no_presence("starting"), "starting"),
        "configure": ("Stored", "starting"),
    },
    "starting, linked": {
        "connect": ("Connecting", "starting, linked"),
        "logout": (OUT + UNTOLD, "closed"),
        "restart": ("Instance restarted", "starting, linked"),
        "force": ("Reconnecting", "starting, linked"),
        "force clean": (CLEAN + UNTOLD, "starting"),
        "reset": ("Instance reset" + UNTOLD, "closed"),
        "delete": DELETED,
        "presence": (no_presence("starting"), "starting, linked"),
        "configure": ("Stored", "starting, linked"),
    },
    "awaiting scan": {
        "connect": (CODE, "awaiting scan"),
        "logout": (STOPPED, "closed"),
        "restart": ("Instance restarted", "starting"),
        "force": ("Reconnecting", "starting"),
        "force clean": (CLEAN, "starting"),
        "reset": ("Instance reset", "closed"),
        "delete": DELETED,
        "presence": (no_presence("awaiting_scan"), "awaiting scan"),
        "configure": ("Stored", "awaiting scan"),
    },
    "pairing": {
        "connect": ("Connecting", "pairing"),
        "logout": (OUT + UNTOLD, "closed"),
        "restart": ("Instance restarted", "starting, linked"),
        "force": ("Reconnecting", "starting, linked"),
        "force clean": (CLEAN + UNTOLD, "starting"),
        "reset": ("Instance reset" + UNTOLD, "closed"),
        "delete": DELETED,
        "presence": (no_presence("pairing"), "pairing"),
        "configure": ("Stored", "pairing"),
    },
    "open": {
        "connect": ("Already connected", "open"),
        "logout": (OUT, "closed"),
        "restart": ("Instance restarted", "starting, linked"),
        "force": ("Reconnecting", "starting, linked"),
        "force clean": (CLEAN, "starting"),
        "reset": ("Instance reset", "closed"),
        "delete": DELETED,
        "presence": ("Presence set", "open"),
        "configure": ("Stored", "open"),
    },
    "healing": {
        "connect": ("Connecting", "healing"),
        "logout": (OUT + UNTOLD, "closed"),
        "restart": ("Instance restarted", "starting, linked"),
        "force": ("Reconnecting", "starting, linked"),
        "force clean": (CLEAN + UNTOLD, "starting"),
        "reset": ("Instance reset" + UNTOLD, "closed"),
        "delete": DELETED,
        "presence": (no_presence("recovering"), "healing"),
        "configure": ("Stored", "healing"),
    },
    "waiting": {
        "connect": ("Connecting", "waiting"),  # the first attempt waits no longer than it has to
        "logout": (OUT + UNTOLD, "closed"),
        "restart": ("Instance restarted", "starting, linked"),
        "force": ("Reconnecting", "starting, linked"),
        "force clean": (CLEAN + UNTOLD, "starting"),
        "reset": ("Instance reset" + UNTOLD, "closed"),
        "delete": DELETED,
        "presence": (no_presence("recovering"), "waiting"),
        "configure": ("Stored", "waiting"),
    },
    # What comes during a stop is kept until it is over.
    "logging out": {
        "connect": ("Connecting", "starting"),
        "logout": (OUT, "closed"),
        "restart": (NOTHING_TO_RESTART, "closed"),
        "force": ("Reconnecting", "starting"),
        "force clean": (CLEAN, "starting"),
        "reset": ("Instance reset", "closed"),
        "delete": DELETED,
        "presence": (no_presence("closed"), "closed"),
        "configure": ("Stored", "logging out"),
    },
    "cleaning": {
        "connect": ("Connecting", "starting"),
        "logout": (STOPPED, "closed"),
        "restart": ("Instance restarted", "starting"),
        "force": ("Reconnecting", "starting"),
        "force clean": (CLEAN, "starting"),
        "reset": ("Instance reset", "closed"),
        "delete": DELETED,
        "presence": (no_presence("starting"), "starting"),
        "configure": ("Stored", "cleaning"),
    },
    "deleting": {
        "connect": (DELETING, "deleting"),
        "logout": (DELETING, "deleting"),
        "restart": (DELETING, "deleting"),
        "force": (DELETING, "deleting"),
        "force clean": (DELETING, "deleting"),
        "reset": (DELETING, "deleting"),
        "delete": DELETED,
        "presence": (DELETING, "deleting"),
        "configure": (DELETING, "deleting"),
    },
    "outdated": {
        "connect": ("Connecting", "starting, linked"),
        "logout": (OUT + UNTOLD, "closed"),
        "restart": ("Instance restarted", "starting, linked"),
        "force": ("Reconnecting", "starting, linked"),
        "force clean": (CLEAN + UNTOLD, "starting"),
        "reset": ("Instance reset" + UNTOLD, "closed"),
        "delete": DELETED,
        "presence": (no_presence("failed"), "outdated"),
        "configure": ("Stored", "outdated"),
    },
    "banned": {
        "connect": (BANNED, "banned"),
        "logout": (OUT + UNTOLD, "closed"),
        "restart": (BANNED, "banned"),
        "force": ("Reconnecting", "starting, linked"),
        "force clean": (CLEAN + UNTOLD, "starting"),
        "reset": ("Instance reset" + UNTOLD, "closed"),
        "delete": DELETED,
        "presence": (no_presence("failed"), "banned"),
        "configure": ("Stored", "banned"),
    },
}

ON_A_DEAD_LINK = {
    ("open", "logout"): OUT + UNTOLD,
    ("open", "force clean"): CLEAN + UNTOLD,
    ("open", "reset"): "Instance reset" + UNTOLD,
    ("open", "presence"): 'NotNow: The "sales" instance is open: set_presence missed its deadline',
    ("logging out", "logout"): OUT + UNTOLD,
}
"""What is answered in place of what the table says, when the port answers nothing."""

CELLS = [(situation, command) for situation in TABLE for command in TABLE[situation]]


def test_every_phase_and_every_command_has_its_cell() -> None:
    assert set(TABLE) == set(SITUATIONS)
    assert {phase for phase, _, _ in SITUATIONS.values()} == set(Phase)
    assert all(set(row) == set(COMMANDS) for row in TABLE.values())
    assert {type(message) for message in COMMANDS.values()} == {*get_args(Command), DeleteInstance}
    assert {to for row in TABLE.values() for _, to in row.values()} <= {*SITUATIONS, GONE}


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    found = Scene(Tree(tmp_path, CONFIGURATION))
    try:
        found.give(CreateInstance(NAME, token="token-of-sales"))
        yield found
    finally:
        found.tree.stop()
        structlog.configure(**before)


def brought_to(scene: Scene, situation: str) -> None:
    phase, linked, come = SITUATIONS[situation]
    come(scene)
    view = scene.view
    assert view is not None
    assert (view.phase, view.logged_in) == (phase, linked), "the test's own way to the situation"


def text(answer: Answer) -> str:
    if answer.error is not None:
        return f"{type(answer.error).__name__}: {answer.error}"
    return str(answer.value.message) if answer.value is not None else "None"


def carried_out(scene: Scene, leads_to: str) -> None:
    """The port does what it was told, unless the cell is about a stop that is still under way."""
    if leads_to == GONE or SITUATIONS[leads_to][0] is not Phase.STOPPING:
        scene.answers()


def is_in(scene: Scene, situation: str) -> None:
    """Phase, link, row, ports and credentials are those of the situation."""
    view, row = scene.view, scene.tree.row(NAME)
    files = list((scene.tree.directory / "sessions").glob("*"))
    if situation == GONE:
        assert (view, row, scene.tree.ports(NAME), files) == (None, None, [], [])
        return
    assert view is not None
    assert row is not None
    phase, linked, _ = SITUATIONS[situation]
    assert (view.phase, view.logged_in) == (phase, linked)
    assert (row.phase, row.logged_in) == (phase, linked)
    at_rest = phase in (Phase.CLOSED, Phase.FAILED)
    assert len(scene.tree.ports(NAME)) == (0 if at_rest or situation == "waiting" else 1)
    assert len(files) == linked, "credentials"
    stays = phase in (Phase.CLOSED,) or situation in ("logging out", "cleaning", "deleting")
    assert view.desired is (Desired.DOWN if stays else Desired.UP)


@pytest.mark.parametrize(("situation", "command"), CELLS)
def test_the_answer_and_what_comes_of_it(scene: Scene, situation: str, command: str) -> None:
    expected, leads_to = TABLE[situation][command]
    brought_to(scene, situation)
    answer = scene.give(COMMANDS[command])
    carried_out(scene, leads_to)
    assert answer.given, "a port that answers leaves nothing to wait for"
    assert text(answer).startswith(expected)
    assert text(answer).endswith(UNTOLD) == expected.endswith(UNTOLD)
    is_in(scene, leads_to)


@pytest.mark.parametrize(("situation", "command"), CELLS)
def test_on_a_dead_link_it_ends_here_in_time_and_says_so(scene: Scene, situation: str, command: str) -> None:
    expected, leads_to = TABLE[situation][command]
    expected = ON_A_DEAD_LINK.get((situation, command), expected)
    brought_to(scene, situation)
    answer = scene.give(COMMANDS[command])
    seconds = scene.until(answer)
    assert seconds in (0.0, COMMAND_TIMEOUT), "at once, or when the port has missed its deadline"
    assert text(answer).startswith(expected)
    assert text(answer).endswith(UNTOLD) == expected.endswith(UNTOLD)
    is_in(scene, leads_to)
    for earlier in scene.before:
        assert earlier.value is None or text(earlier).endswith(UNTOLD)


@pytest.mark.parametrize(("situation", "command"), CELLS)
def test_once_more_is_answered_as_the_table_says_of_where_it_led(
    scene: Scene, situation: str, command: str
) -> None:
    """Invariant 9: a second one does no harm, makes no second port, and says what is the case."""
    _, leads_to = TABLE[situation][command]
    brought_to(scene, situation)
    for answer in (scene.give(COMMANDS[command]), scene.give(COMMANDS[command])):
        carried_out(scene, leads_to)
        assert answer.given
    is_in(scene, leads_to)
    again = scene.give(COMMANDS[command])
    carried_out(scene, leads_to)
    if leads_to == GONE:
        assert text(again).startswith("UnknownInstance" if command == "delete" else "LookupError")
    else:
        expected, stays = TABLE[leads_to][command]
        assert text(again).startswith(expected)
        assert stays == leads_to, "it leads nowhere else"
    is_in(scene, leads_to)


def test_a_connect_that_waits_is_answered_when_its_time_is_over(scene: Scene) -> None:
    answer = scene.give(Connect(wait=5.0))
    assert scene.until(answer) == 5.0
    assert text(answer) == "Still connecting"
