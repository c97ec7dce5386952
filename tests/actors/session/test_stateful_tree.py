"""The real tree under random commands, signals, deaths and times: what must hold does, after every step.

The store, the supervisors, the roster, the sessions and the connections are the real ones; the ports are simulated
and the clock is moved by hand. `python -m tests.actors.session` takes as many random steps as it is told.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import structlog
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from actors.leftovers import WAITS
from actors.messages import (
    CreateInstance,
    DeleteInstance,
    ForceReconnection,
    Logout,
    Reset,
)
from actors.port import events
from actors.services import ROSTER
from actors.store import cleanups, instances
from actors.views import Desired, InstanceView, Phase
from supervisor.config import (
    PortSettings,
    QrcodeSettings,
    RecoverySettings,
    Settings,
)
from supervisor.otp import Crash
from tests.actors.session.tree import Answer, Port, Tree
from tests.actors.session.vocabulary import COMMANDS, budget

STEPS_AN_EXAMPLE = 50
NAMES = st.sampled_from(("sales", "support"))
RUNNING = (Phase.STARTING, Phase.AWAITING_SCAN, Phase.PAIRING, Phase.OPEN, Phase.RECOVERING)
DELETING = (401, 403, 500)

CONFIGURATION = Settings(
    recovery=RecoverySettings(jitter=0.0, max_attempts=6, same_code_limit=8, on_limit="cooldown"),
    qrcode=QrcodeSettings(limit=4),
    port=PortSettings(heartbeat=10.0, missed_heartbeats=3, command_timeout=10.0, start_timeout=30.0),
)

HARMLESS = (
    events.Disconnected(),
    events.KeepAliveTimeout(1, 0),
    events.StreamError("503"),
    events.StreamError("a new kind"),
    events.StreamReplaced(),
    events.DialFailed("connection refused", "refused"),
    events.DialFailed("no such host", "dns"),
    events.ConnectFailure(409, "bad agent"),
    events.ConnectFailure(503, ""),
    events.LoginStatus("timeout"),
    events.LoginStatus("error"),
    events.SessionStoreFailed("database is locked", "unavailable"),
    events.ConnectReturned("stopped"),
)
CLOSING = (
    events.LoggedOut(False, 401),
    events.LoggedOut(True, 403),
    events.LoggedOut(True, 406),
    events.TemporaryBan(101, 1200),
    events.ClientOutdated(),
    events.LoginStatus("err-scanned-without-multidevice"),
    events.SessionStoreFailed("no device", "device-missing"),
)


class Host(RuleBasedStateMachine):
    """Two instances on one host, and what an onlooker may expect of them."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = Path(tempfile.mkdtemp(prefix="zapvisor-"))
        self.tree = Tree(self.directory, CONFIGURATION)
        self.answers: list[tuple[Any, Answer]] = []
        self.ids: dict[str, str] = {}
        self.gone: list[str] = []
        self.may_wipe: set[str] = set()
        self.paired = 0
        self.deleting: dict[str, Answer] = {}
        self.doomed: set[str] = set()
        """Devices that were to be deleted."""

    @initialize()
    def two_instances(self) -> None:
        for name in ("sales", "support"):
            self.create(name)

    # -- users ----------------------------------------------------------------------------------------------

    def create(self, name: str) -> None:
        answer = self.tree.ask(ROSTER, CreateInstance(name, token=f"token-of-{name}-{len(self.tree.made)}"))
        self.tree.settle()
        assert isinstance(answer.value, InstanceView), answer.error
        self.ids[name] = answer.value.id

    @rule(name=NAMES, message=COMMANDS)
    def command(self, name: str, message: Any) -> None:
        self.on_one(name, partial(self.send, name, message))

    @rule(name=NAMES, messages=st.lists(COMMANDS, min_size=2, max_size=3))
    def commands_at_once(self, name: str, messages: list[Any]) -> None:
        def send_all() -> None:
            for message in messages:
                self.send(name, message)

        self.on_one(name, send_all)

    def send(self, name: str, message: Any) -> None:
        if isinstance(message, Logout | Reset) or message == ForceReconnection(clean_session=True):
            self.may_wipe.add(name)
        self.answers.append((message, self.tree.tell(name, message)))

    @rule(name=NAMES, seldom=st.integers(0, 3))
    def delete(self, name: str, seldom: int) -> None:
        if seldom == 0 and name in self.ids and name not in self.deleting:
            self.deleting[name] = self.tree.ask(ROSTER, DeleteInstance(name))
            self.may_wipe.add(name)
            self.tree.settle()

    @precondition(lambda self: len(self.ids) < 2)
    @rule()
    def create_again(self) -> None:
        for name in ("sales", "support"):
            if name not in self.ids:
                self.create(name)

    # -- the phone and the network --------------------------------------------------------------------------

    @precondition(lambda self: self.living())
    @rule(name=NAMES)
    def scan_or_log_in(self, name: str) -> None:
        """What a connection comes to when nothing goes wrong."""
        port = self.tree.port(name)
        if port is not None:
            self.on_one(name, lambda: self.succeed(port))

    def succeed(self, port: Port) -> None:
        port.say(events.Ready())
        file = Path(port.spec.session_url)
        if not file.exists():
            self.paired += 1
            file.write_text(f"5511999990001:{self.paired}@s.whatsapp.net")
            jid = file.read_text()
            port.say(events.QrCode(f"2@{self.paired}"))
            port.say(events.LoginStatus("success"))
            port.say(events.PairStatus(jid, None, "", "android", None))
        port.linked = True
        port.say(events.Connected(file.read_text(), "Ana"))

    @precondition(lambda self: self.living())
    @rule(name=NAMES, count=st.integers(1, 3))
    def code(self, name: str, count: int) -> None:
        port = self.tree.port(name)
        if port is not None and not port.linked and not Path(port.spec.session_url).exists():
            self.on_one(name, partial(self.show_codes, port, count))

    @staticmethod
    def show_codes(port: Port, count: int) -> None:
        for number in range(count):
            port.say(events.QrCode(f"2@{number}"))

    @precondition(lambda self: self.living())
    @rule(name=NAMES, event=st.one_of(st.sampled_from(HARMLESS), st.sampled_from(CLOSING)))
    def signal(self, name: str, event: events.Event) -> None:
        port = self.tree.port(name)
        if port is None:
            return
        if isinstance(event, events.LoggedOut | events.SessionStoreFailed):
            self.may_wipe.add(name)
        if isinstance(event, events.Disconnected):
            self.link_ends(port)
        self.on_one(name, partial(port.say, event))

    @staticmethod
    def link_ends(port: Port) -> None:
        port.linked = False

    @precondition(lambda self: any(port.commands for port in self.living()))
    @rule(name=NAMES, error=st.sampled_from((None, None, "refused")))
    def port_answers(self, name: str, error: str | None) -> None:
        port = self.tree.port(name)
        if port is not None and port.commands:
            number, asked = next(iter(port.commands.items()))
            value = {"code": "ABCD-EFGH"} if asked == "pair_phone" else {}
            self.on_one(name, lambda: port.answer(number, value, error))

    @precondition(lambda self: self.living())
    @rule(name=NAMES)
    def port_killed(self, name: str) -> None:
        port = self.tree.port(name)
        if port is not None:
            self.on_one(name, lambda: port.die(9))

    @precondition(lambda self: len(self.tree.made) > len(self.living()))
    @rule(name=NAMES, event=st.one_of(st.sampled_from(HARMLESS), st.sampled_from(CLOSING)))
    def dead_port_speaks(self, name: str, event: events.Event) -> None:
        """Invariants 3 and 5: what an ended incarnation still says is heard by nobody."""
        dead = [port for port in self.tree.made if port.spec.instance == name and not port.alive]
        if dead:
            before = self.shown()
            dead[-1].say(event)
            dead[-1].say(events.Connected("5511000000000:1@s.whatsapp.net", "Eva"))
            self.tree.settle()
            assert self.shown() == before

    # -- time and death -------------------------------------------------------------------------------------

    @rule(seconds=st.sampled_from((0.5, 3.0, 12.0, 65.0, 400.0)))
    def time_passes(self, seconds: float) -> None:
        self.tree.advance(seconds)

    @precondition(lambda self: any(not port.frozen for port in self.living()))
    @rule(name=NAMES)
    def port_freezes(self, name: str) -> None:
        port = self.tree.port(name)
        if port is not None:
            port.frozen = True

    @rule(
        name=NAMES, part=st.sampled_from(("session", "connection", "instance", "roster", "ports", "store", "host")),
        seldom=st.integers(0, 1),
    )  # fmt: skip
    def something_dies(self, name: str, part: str, seldom: int) -> None:
        if seldom:
            return
        match part:
            case "session" | "connection":
                self.on_one(name, lambda: self.tree.kill(f"instances/{name}/{part}"))
            case "instance":
                self.on_one(name, lambda: self.tree.kill(f"instances/{name}"))
            case "host":
                self.tree.stop()
                self.tree.start()
                self.deleting.clear()
            case _:
                self.tree.kill(part)
        self.tree.settle()

    @rule()
    def the_disk_fails_or_is_back(self) -> None:
        """No credentials can be deleted, until it is back."""
        self.tree.refusing = not self.tree.refusing

    @precondition(lambda self: self.living())
    @rule(name=NAMES, message=st.sampled_from((Logout(), Reset(), ForceReconnection(clean_session=True))))
    def wiped_on_a_disk_that_fails(self, name: str, message: Any) -> None:
        """What the two come to by chance, but seldom: a device is linked, and then cannot be deleted."""
        port = self.tree.port(name)
        if port is not None:
            self.on_one(name, partial(self.succeed, port))
            self.tree.refusing = True
            self.on_one(name, partial(self.send, name, message))

    # -- what an onlooker expects ---------------------------------------------------------------------------

    def living(self) -> list[Port]:
        return [port for port in self.tree.made if port.alive]

    def on_one(self, name: str, action: Any) -> None:
        """Invariants 8 and 15: what happens to one instance is not felt by the other."""
        others = {other: shown for other, shown in self.shown().items() if other != name}
        action()
        self.tree.settle()
        assert {other: shown for other, shown in self.shown().items() if other != name} == others

    def shown(self) -> dict[str, InstanceView]:
        return {view.name: view for view in self.tree.board.views()}

    @invariant()
    def all_is_well(self) -> None:
        self.tree.settle()
        self.forget_the_deleted()
        self.no_port_on_a_former_device()
        self.nothing_crashed_by_itself()
        for name, view in self.shown().items():
            if name in self.deleting:
                continue
            self.one_port_at_most(name, view)
            self.open_means_linked(name, view)
            self.row_and_view_agree(name, view)
            self.something_moves_it(name, view)
            self.credentials_are_where_they_should_be(name, view)
        self.deleted_ones_left_nothing()

    def forget_the_deleted(self) -> None:
        for name in list(self.ids):
            if self.tree.row(name) is None:
                self.gone.append(self.ids.pop(name))
                self.deleting.pop(name, None)

    def no_port_on_a_former_device(self) -> None:
        """Invariant 7: no port starts on credentials that were to be deleted."""
        for note in self.tree.query(cleanups.pending):
            if "delete" not in note.what and note.what["credentials"]:
                self.doomed.add(note.what["credentials"])
        for port in self.living():
            assert port.found not in self.doomed, port

    def nothing_crashed_by_itself(self) -> None:
        for report in self.tree.crashes:
            reason = str(report.reason)
            injected = "injected by the test" in reason or "killed by signal 9" in reason
            assert injected or not isinstance(report.reason, Crash), f"{report.path}: {report.traceback}"
        self.tree.crashes.clear()
        assert self.tree.system.fenced() == []

    def one_port_at_most(self, name: str, view: InstanceView) -> None:
        """Invariant 9."""
        assert len(self.tree.ports(name)) <= 1
        if view.phase in (Phase.CLOSED, Phase.FAILED):
            assert self.tree.ports(name) == []

    def open_means_linked(self, name: str, view: InstanceView) -> None:
        """Invariant 12."""
        if view.phase is Phase.OPEN:
            [port] = self.tree.ports(name)
            assert port.linked
            assert port.incarnation == view.incarnation

    def row_and_view_agree(self, name: str, view: InstanceView) -> None:
        row = self.tree.row(name)
        assert row is not None
        assert (row.desired, row.logged_in) == (str(view.desired), view.logged_in)
        begins_with = (
            Phase.STARTING,
            Phase.RECOVERING,
            Phase.CLOSED,
        )  # what a restarted session finds itself in
        assert row.phase == str(view.phase) or view.phase in begins_with or self.is_held(view)
        assert row.device_jid == view.device_jid
        assert row.recovery_attempts == view.recovery_attempts

    @staticmethod
    def is_held(view: InstanceView) -> bool:
        """Whether it waits for the end of its former device, which is shown and not stored."""
        return view.phase is Phase.FAILED and (view.failed_reason or "").startswith(WAITS)

    def something_moves_it(self, name: str, view: InstanceView) -> None:
        """Invariant 4, and that nothing hangs: it is at rest, or wanted up with a port, a date or a turn."""
        if view.phase is Phase.CLOSED:
            assert view.desired is Desired.DOWN
        if view.phase in RUNNING:
            assert view.desired is Desired.UP
            waits_its_turn = view.phase in (Phase.STARTING, Phase.RECOVERING) and view.incarnation == 0
            assert self.tree.ports(name) or view.restart_due is not None or waits_its_turn, view

    def credentials_are_where_they_should_be(self, name: str, view: InstanceView) -> None:
        """Invariants 6 and 7."""
        exists = self.tree.credentials_file(self.ids[name]).exists()
        if view.logged_in and view.phase is not Phase.STOPPING:
            assert exists or name in self.may_wipe, "a session was lost"
        if view.phase is Phase.CLOSED and not view.logged_in:
            assert not exists, "credentials were left behind"
        if exists:
            self.may_wipe.discard(name)

    def deleted_ones_left_nothing(self) -> None:
        """Invariant 10."""
        noted = {note.instance_id for note in self.tree.query(cleanups.pending)}
        for instance_id in self.gone:
            left = list((self.directory / "sessions").glob(f"{instance_id}*"))
            assert left == [] or instance_id in noted, "nobody will delete it"
            assert self.tree.query(partial(instances.get, instance_id=instance_id)) is None
        if not self.deleting:
            assert {port.spec.instance for port in self.tree.made if port.alive} <= set(self.ids)
            assert set(self.shown()) == set(self.ids)

    def teardown(self) -> None:
        """Once everything goes well again, whoever is wanted up comes up, and everybody has been answered."""
        try:
            if self.ids or self.gone:
                self.comes_back()
                assert [message for message, answer in self.answers if not answer.given] == []
        finally:
            self.tree.stop()
            shutil.rmtree(self.directory)

    def comes_back(self) -> None:
        self.tree.refusing = False
        for _ in range(40):
            for port in self.tree.made:
                if port.alive and not port.linked and not port.frozen:
                    self.succeed(port)
            self.tree.advance(31.0)
            self.all_is_well()
        assert self.tree.query(cleanups.pending) == []
        for view in self.shown().values():
            assert not self.is_held(view)
            if view.desired is Desired.UP and view.phase is not Phase.FAILED:
                assert view.phase is Phase.OPEN, view


@contextmanager
def silence() -> Iterator[None]:
    """Without ten thousand log lines."""
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    logging.disable(logging.CRITICAL)
    try:
        yield
    finally:
        logging.disable(logging.NOTSET)
        structlog.configure(**before)


def test_the_tree_keeps_its_invariants() -> None:
    """Invariants 3, 4, 5, 6, 7, 8, 9, 10, 12 and 15, in the real tree."""
    with silence():
        run_state_machine_as_test(Host, settings=budget(1_500, STEPS_AN_EXAMPLE))
