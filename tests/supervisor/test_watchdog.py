"""The watchdog in a whole tree: it vouches for the host only while every part answers, and counts silence rightly."""

from __future__ import annotations

import dataclasses
import logging
import re
import socket
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from actors.board import Board
from actors.cache import open_cache
from actors.credentials import open_credentials
from actors.gateway import Gateway
from actors.healthcheck import HealthCheck, reachable
from actors.port.library import Preload
from actors.port.ports import Ports
from actors.services import INSTANCES, PORTS, Services
from actors.session.inputs import Silent
from actors.store import Condition, Reader, Trouble, Write, open_backend
from actors.views import Desired, InstanceView, Phase
from actors.watchdog import STATUS_EVERY, Manager, Watchdog
from supervisor.config import load
from supervisor.host import Root, tree
from supervisor.otp import (
    ROOT,
    Actor,
    Caller,
    ChildSpec,
    ManualClock,
    Start,
    StartChild,
    System,
)
from supervisor.web import Web

WAIT = 20.0
PERIOD = 0.25


class Events:
    """What the service manager hears, and what the watchdog says of it, in order."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._seen: list[str] = []

    def add(self, event: str) -> None:
        with self._changed:
            self._seen.append(event)
            self._changed.notify_all()

    def mark(self) -> int:
        """The number of events so far, to be given to `wait_for` as `after`."""
        with self._changed:
            return len(self._seen)

    def wait_for(self, event: str, *, times: int = 1, after: int | None = None) -> list[str]:
        """Wait until an event has come so often from now on, or after a mark; everything that came meanwhile."""
        with self._changed:
            before = len(self._seen) if after is None else after
            assert self._changed.wait_for(lambda: self._seen[before:].count(event) >= times, WAIT), (
                f"no {event}, but {self._seen[before:]}"
            )
            return self._seen[before:]


class Listener(logging.Handler):
    """Passes on what the watchdog logs."""

    def __init__(self, events: Events) -> None:
        super().__init__(logging.ERROR)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        if text.startswith("no answer from "):
            self._events.add(text.removeprefix("no answer from ").partition(":")[0])
        elif text.startswith("thread "):
            self._events.add(text)


class Hanging(Actor):
    """Its start takes until it is let go, and so long its supervisor waits."""

    def init(self, entered: threading.Event, leave: threading.Event) -> None:
        entered.set()
        leave.wait(WAIT)


class WedgeablePorts(Ports):
    """Real ports, and a message that keeps their reader thread busy."""

    def handle_call(self, message: object, caller: Caller) -> object:
        if isinstance(message, tuple):
            entered, leave = message
            self._reader.echo(lambda: (entered.set(), leave.wait(WAIT)))
            return None
        return super().handle_call(message, caller)


class WedgeableGateway(Gateway):
    """The real gateway, whose health takes until it is let go."""

    entered = threading.Event()
    leave = threading.Event()
    leave.set()

    def health(self) -> Mapping[str, Any]:
        if not self.leave.is_set():
            self.entered.set()
            self.leave.wait(WAIT)
        return super().health()


@dataclasses.dataclass
class Host:
    """A whole tree."""

    system: System
    events: Events
    data_dir: Path


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    data_dir = tmp_path_factory.mktemp("data")
    data_dir.chmod(0o700)
    environment = {"ZAPVISOR_HOST_DATA_DIR": str(data_dir), "ZAPVISOR_API_LISTEN": "127.0.0.1:0"}
    settings = load(None, environment)
    system, events = System(), Events()
    listener = Listener(events)
    logging.getLogger("zapvisor").addHandler(listener)
    services = Services(system, settings, Board(), open_credentials(settings), open_cache(settings))
    backend = open_backend("sqlite:///zapvisor.db", data_dir)
    reader = Reader(backend)
    manager = Manager(lambda: events.add("alive"), PERIOD)
    watchdog = Start(Watchdog, services, manager)
    web = Start(Web, WedgeableGateway(services, reader), lambda: settings, "a-key-of-this-test")
    flags, children = tree(services, backend, watchdog, web)
    ports = [child.id for child in children].index(PORTS)
    children[ports] = ChildSpec(PORTS, Start(WedgeablePorts, Preload.NONE))
    system.start(Root, flags, children, lambda reason: events.add("down"), path=ROOT)
    yield Host(system, events, data_dir)
    system.shutdown()
    reader.close()
    logging.getLogger("zapvisor").removeHandler(listener)


Wedge = Callable[[Host, threading.Event, threading.Event], object]


def wedge_supervisor(path: str) -> Wedge:
    def wedge(host: Host, entered: threading.Event, leave: threading.Event) -> None:
        spec = ChildSpec("hanging", Start(Hanging, entered, leave))
        assert host.system.cast(path, StartChild(spec))

    return wedge


def wedge_store(host: Host, entered: threading.Event, leave: threading.Event) -> None:
    host.system.cast("store", Write(lambda tx: (entered.set(), leave.wait(WAIT))))


def wedge_reader_thread(host: Host, entered: threading.Event, leave: threading.Event) -> None:
    host.system.call(PORTS, (entered, leave), WAIT)


def wedge_api(host: Host, entered: threading.Event, leave: threading.Event) -> None:
    WedgeableGateway.entered, WedgeableGateway.leave = entered, leave


@pytest.mark.parametrize(
    ("part", "wedge"),
    [
        ("store", wedge_store),
        ("ports", wedge_reader_thread),
        ("root", wedge_supervisor("root")),
        (INSTANCES, wedge_supervisor(INSTANCES)),
        ("api", wedge_api),
    ],
)
def test_a_part_that_hangs_stops_the_signs_of_life_until_it_answers_again(
    host: Host, part: str, wedge: Wedge
) -> None:
    host.events.wait_for("alive")
    entered, leave = threading.Event(), threading.Event()
    try:
        wedge(host, entered, leave)
        assert entered.wait(WAIT)
        host.events.wait_for(part)
        assert "alive" not in host.events.wait_for(part, times=3)
    finally:
        leave.set()
    host.events.wait_for("alive")


def test_where_threads_stand_is_said_once_for_each_time_that_a_part_hangs(host: Host) -> None:
    """The dump at the end has the youngest 100 threads only, so not the store's where there are many instances."""
    host.events.wait_for("alive")
    for _ in range(2):
        entered, leave = threading.Event(), threading.Event()
        mark = host.events.mark()
        try:
            wedge_store(host, entered, leave)
            assert entered.wait(WAIT)
            said = host.events.wait_for("store", times=3, after=mark)
        finally:
            leave.set()
        host.events.wait_for("alive")
        threads = [event for event in said if event.startswith("thread ")]
        [store] = [thread for thread in threads if thread.startswith("thread store stands at ")]
        assert "threading.py" in store.partition(" < ")[0]
        assert "test_watchdog.py" in store
        assert not any(thread.startswith("thread roster ") for thread in threads), "it waits for a message"


def test_a_part_that_was_not_woken_is_told_with_what_waits_for_it(host: Host) -> None:
    """It stands where idle ones stand."""
    host.events.wait_for("alive")
    store = host.system.whereis("store")
    assert store is not None
    mailbox = store._process.mailbox
    asleep = False
    deadline = time.monotonic() + WAIT
    while not asleep:
        assert time.monotonic() < deadline
        with mailbox._lock:
            asleep, mailbox.waiting = mailbox.waiting, False
    try:
        said = host.events.wait_for("store", times=2)
    finally:
        mailbox._wake.release()
    host.events.wait_for("alive")
    first = next(event for event in said if event.startswith("thread "))
    assert first.startswith("thread store stands at otp/mailbox.py:")
    assert re.search(r" \(in its mailbox, where [1-9]\d* messages wait\)$", first)


def test_a_part_without_room_for_a_probe_is_not_vouched_for_and_costs_the_watchdog_nothing(
    host: Host,
) -> None:
    """Its crash would count against the root, and so end the whole host."""
    store, watchdog = host.system.whereis("store"), host.system.whereis("watchdog")
    assert store is not None
    host.events.wait_for("alive")
    mailbox = store._process.mailbox
    limit, mailbox.limit = mailbox.limit, 0
    try:
        host.events.wait_for("store")
        assert "alive" not in host.events.wait_for("store", times=2)
    finally:
        mailbox.limit = limit
    host.events.wait_for("alive")
    assert host.system.whereis("watchdog") is watchdog


def test_a_database_that_cannot_be_written_is_no_reason_to_restart_the_host(host: Host) -> None:
    """It would cost every connection, and mend nothing."""
    foreign = sqlite3.connect(host.data_dir / "zapvisor.db", isolation_level=None)
    foreign.execute("BEGIN IMMEDIATE")
    try:
        host.events.wait_for("alive", times=2)
    finally:
        foreign.execute("ROLLBACK")
        foreign.close()


# -- the health check --------------------------------------------------------------------------------------


def test_a_health_check_that_is_not_answered_is_the_only_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as deaf:
        deaf.settimeout(WAIT)
        check = HealthCheck()
        well = threading.Event()
        check.begin(deaf.getsockname(), WAIT, well.set)
        first, _ = deaf.accept()
        check.begin(deaf.getsockname(), WAIT, well.set)
        deaf.setblocking(False)
        with pytest.raises(BlockingIOError):
            deaf.accept()
        first.close()
        assert not well.is_set()


@pytest.mark.parametrize(
    ("listen", "asked"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("0.0.0.0", "127.0.0.1"),
        ("::", "::1"),
        ("fd00::1", "fd00::1"),
        ("box", "box"),
    ],
)
def test_who_listens_everywhere_is_asked_on_loopback(listen: str, asked: str) -> None:
    assert reachable(listen) == asked


# -- silence -----------------------------------------------------------------------------------------------


class JumpingClock(ManualClock):
    """A clock whose wall time can be set, as by NTP or an operator."""

    def jump(self, seconds: float) -> None:
        self._wall_offset += seconds


class Session(Actor):
    """Hears that its connection is silent."""

    def init(self, heard: list[object]) -> None:
        self._heard = heard

    def handle_cast(self, message: Any) -> None:
        self._heard.append(message)


@dataclasses.dataclass
class Desk:
    """A watchdog on a clock of the test's, and one instance that it watches."""

    clock: JumpingClock
    board: Board
    condition: Condition
    heard: list[object]
    shown: list[str]

    def publish(self, **changes: Any) -> None:
        view = InstanceView(
            id="1",
            name="sales",
            phase=Phase.OPEN,
            desired=Desired.UP,
            logged_in=True,
            token="t",
            created_at=0.0,
            updated_at=0.0,
            alive_at=self.clock.wall(),
        )
        self.board.publish(dataclasses.replace(view, **changes), lambda: True)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    settings = load(None, {"ZAPVISOR_HOST_DATA_DIR": str(tmp_path)})
    clock = JumpingClock()
    system = System(clock)
    board = Board()
    services = Services(system, settings, board, open_credentials(settings), open_cache(settings))
    found = Desk(clock, board, services.condition, [], [])
    system.start(Session, found.heard, path=f"{INSTANCES}/sales/session")
    manager = Manager(lambda: None, None, found.shown.append)
    system.start(Watchdog, services, manager, path="watchdog")
    yield found
    system.shutdown()


TIMEOUT, CHECK = 300.0, 60.0
"""The defaults of `inactivity_timeout` and `inactivity_check`."""


def test_a_connection_without_a_sign_of_life_is_replaced(desk: Desk) -> None:
    desk.publish()
    desk.clock.advance(TIMEOUT)
    assert desk.heard == []
    desk.clock.advance(2 * CHECK)
    assert isinstance(desk.heard[0], Silent)


def test_signs_of_life_are_enough(desk: Desk) -> None:
    for _ in range(30):
        desk.publish()
        desk.clock.advance(CHECK / 2)
    assert desk.heard == []


@pytest.mark.parametrize("phase", [Phase.CLOSED, Phase.FAILED, Phase.STOPPING])
def test_what_is_at_rest_may_be_silent(desk: Desk, phase: Phase) -> None:
    desk.publish(phase=phase)
    desk.clock.advance(10 * TIMEOUT)
    assert desk.heard == []


@pytest.mark.parametrize("seconds", [86_400.0, -86_400.0, 3e9])
def test_a_step_of_the_wall_clock_replaces_nothing(desk: Desk, seconds: float) -> None:
    """A suspended machine, or NTP after a start without a battery."""
    desk.publish()
    desk.clock.advance(CHECK)
    desk.clock.jump(seconds)
    desk.clock.advance(TIMEOUT - 2 * CHECK)
    assert desk.heard == []
    for _ in range(20):
        desk.publish()
        desk.clock.advance(CHECK / 2)
    assert desk.heard == []


# -- the status line ---------------------------------------------------------------------------------------


def test_the_status_line_follows_what_is_true(desk: Desk) -> None:
    desk.clock.advance(STATUS_EVERY)
    desk.publish(phase=Phase.STARTING)
    desk.clock.advance(5 * STATUS_EVERY)
    desk.publish()
    desk.clock.advance(STATUS_EVERY)
    desk.condition.trouble = Trouble(0.0, "database is locked")
    desk.clock.advance(STATUS_EVERY)
    desk.condition.trouble = None
    desk.publish(phase=Phase.FAILED)
    desk.clock.advance(STATUS_EVERY)
    assert desk.shown == [
        "0 of 0 instances open",
        "0 of 1 instances open",
        "1 of 1 instances open",
        "1 of 1 instances open; THE DATABASE CANNOT BE WRITTEN",
        "0 of 1 instances open, 1 failed",
    ]
