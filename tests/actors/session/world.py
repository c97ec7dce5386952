"""The machine in a small world of its own: a supervisor, one connection at a time, timers, a row, credentials.

Everything the machine asks for is done as its actor, its supervisor and its connection do it, message by message,
so that a test can choose the order in which messages meet.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast

from actors.context import InstanceContext
from actors.disconnect import Disconnection
from actors.services import Services
from actors.session import effects as do
from actors.session import inputs as be
from actors.session import machine
from actors.session.memory import Link, Memory, Now
from actors.session.recall import remember
from actors.session.replies import WAIT
from actors.store import HistoryEntry, Instance
from actors.views import Desired, Phase
from supervisor.config import Settings

DEVICE = "5511999990001:7@s.whatsapp.net"
MISSED = "missed"
WRITTEN = "written"
DOWN = "down"
"""The answer of a caller whose session ended before it replied."""


@dataclass
class Connection:
    """The connection of one incarnation; the test speaks for it."""

    incarnation: int
    jid: str | None
    told: list[tuple[float, do.PortCommand]] = field(default_factory=list)
    """Commands that are not answered yet, each with its deadline."""


@dataclass
class Caller:
    """Who gave a command, and what came back."""

    message: Any
    reply: do.Reply | str | None = None


def plain(commit: do.Commit) -> dict[str, Any]:
    """The columns as they are stored: enumerations as their text."""
    return {key: str(value) if isinstance(value, str) else value for key, value in commit.fields.items()}


class World:
    """One instance. `session` and `supervisor` hold the messages that are on their way to each.

    Args:
        settings: the host's; the jitter should be 0.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.time = 1_000_000.0
        self.row = self.latest = Instance("sales", "token")
        self.store: deque[do.Commit] = deque()
        self.past: list[HistoryEntry] = []
        self.events: list[tuple[str, Any]] = []
        self.credentials: set[str] = set()
        self.callers: dict[int, Caller] = {}
        self.numbers = itertools.count(1)
        self.purged = False
        self.overdue = False
        self.link_errors: list[str] = []
        self._incarnations = 0
        self.boot()

    # -- the host and the subtree ---------------------------------------------------------------------------

    def boot(self) -> None:
        """A host starts, after the end of another: what that one had not committed is lost."""
        self.store.clear()
        services = Services(cast(Any, None), self.settings, cast(Any, None), cast(Any, None), cast(Any, None))
        self.waiting = self.row.desired == "up"
        self.context = InstanceContext(self.row.id, self.row.name, services, granted=not self.waiting)
        self.supervisor: deque[Any] = deque()
        self.child = "terminated"
        self.connection: Connection | None = None
        self.due: float | None = None
        self._numbers_of_connections = itertools.count(1)
        self._new_session()

    def grant(self) -> None:
        """The roster gives the instance its turn."""
        if self.waiting:
            self.waiting = False
            self.context.granted = True
            self.session.append(be.Resume())

    def restart_subtree(self) -> None:
        """The session ended: both are started anew, and whoever waited for it is told so.

        The store commits what it was given; the new session's question is behind that.
        """
        while self.store:
            self.commit()
        while self.supervisor:
            self.supervise()
        self._end_connection("terminated")
        self._new_session()
        if self.memory.link is Link.RUNNING:
            self._launch()

    def _new_session(self) -> None:
        for caller in self.callers.values():
            caller.reply = caller.reply or DOWN
        for effect in itertools.chain.from_iterable(getattr(self, "held", ())):
            if isinstance(effect, do.WipeCredentials) and effect.jid is not None:
                self.credentials.discard(effect.jid)  # noted with the commit, and so done at the next start
        self.session: deque[Any] = deque()
        self.held: deque[list[do.Effect]] = deque()
        self.latest = self.row
        self.timers: dict[str, float] = {}
        self.memory: Memory = remember(self.row, self.past[::-1], self.context, self.now)
        self._carry_out(machine.begin(self.memory, self.now))

    @property
    def reported(self) -> str:
        """The state that the committed events leave their receiver with."""
        states = (data["state"] for name, data in reversed(self.events) if name == "connection.update")
        return str(next(states, "close"))

    @property
    def now(self) -> Now:
        return Now(self.time, self.time)

    # -- the session's messages -----------------------------------------------------------------------------

    def command(self, message: Any) -> int:
        """Send a command; it waits in the mailbox like everything else."""
        number = next(self.numbers)
        self.callers[number] = Caller(message)
        self.session.append(number)
        return number

    def deliver(self) -> list[do.Effect]:
        """The session handles its next message."""
        item = self.session.popleft()
        if item is WRITTEN:
            self._perform(self.held.popleft())
            self._proceed()
            return []
        if isinstance(item, be.Tick) and self._is_superseded(item):
            return []
        if isinstance(item, int):
            effects = machine.command(self.memory, item, self.callers[item].message, self.now)
        else:
            effects = machine.handle(self.memory, item, self.now)
        self._carry_out(effects)
        return effects

    def _carry_out(self, effects: list[do.Effect]) -> None:
        """Give the store its transaction; what follows from it is held, and what comes later behind that."""
        if effects and isinstance(effects[0], do.Commit):
            self.store.append(effects[0])
            self.latest = dataclasses.replace(self.latest, **plain(effects[0]))
        if effects:
            self.held.append(effects)
        self._proceed()

    def _proceed(self) -> None:
        while self.held and not isinstance(self.held[0][0], do.Commit):
            self._perform(self.held.popleft())

    def _perform(self, effects: list[do.Effect]) -> None:
        for effect in effects:
            self._do(effect)
            if isinstance(effect, do.Escalate):
                self.restart_subtree()
                break

    def _is_superseded(self, tick: be.Tick) -> bool:
        return any(
            isinstance(effect, do.SetTimer | do.CancelTimer) and effect.name == tick.name
            for effects in self.held
            for effect in effects
        )

    def commit(self) -> None:
        """The store commits the oldest transaction it was given, and tells the session."""
        commit = self.store.popleft()
        self.row = dataclasses.replace(self.row, **plain(commit))
        self.events += commit.events
        self.past += [HistoryEntry(instance_id=self.row.id, **entry) for entry in commit.history]
        self.session.append(WRITTEN)

    def _do(self, effect: do.Effect) -> None:
        match effect:
            case do.StartLink():
                self.supervisor.append("restart")
            case do.ResumeLink():
                self.supervisor.append(effect)
            case do.StopLink():
                self.supervisor.append("terminate")
            case do.PortCommand(tag=tag):
                if self.connection is not None:
                    self.connection.told.append((self.time + self.memory.rules.command_timeout, effect))
                else:
                    self.session.append(be.CommandDone(self.memory.incarnation, tag, error="gone"))
            case do.Reply(caller=caller):
                self._reply(caller, effect)
            case do.SetTimer(name=name, seconds=seconds):
                self._cancel(name)
                self.timers[name] = self.time + seconds
            case do.CancelTimer(name=name):
                self._cancel(name)
            case do.WipeCredentials():
                self._wipe(effect.jid)
            case do.Purged():
                self.purged = True

    def _wipe(self, jid: str | None) -> None:
        """As in a database that instances share: by the device alone."""
        if jid is not None:
            self.credentials.discard(jid)
        assert not self.credentials, "credentials were left behind"

    def _reply(self, caller: int, reply: do.Reply) -> None:
        self._cancel(f"{WAIT}{caller}")
        entry = self.callers[caller]
        assert entry.reply is None, f"{entry.message} was answered twice: {entry.reply}, {reply}"
        entry.reply = reply

    def _cancel(self, name: str) -> None:
        self.timers.pop(name, None)
        self.session = deque(item for item in self.session if item != be.Tick(name))

    # -- the supervisor's messages --------------------------------------------------------------------------

    def supervise(self) -> None:
        """The supervisor handles its next message."""
        message = self.supervisor.popleft()
        match message:
            case "restart" if self.child == "terminated":
                self._launch()
            case "restart":
                self.link_errors.append(f"restart of a {self.child} connection")
                self.session.append(be.StartFailed(self.child))
            case do.ResumeLink(after=after) if self.child in ("held", "waiting"):
                self.child, self.due = "waiting", self.time + after
            case do.ResumeLink():
                pass
            case "terminate":
                self._end_connection("terminated")
                self.session.append(be.LinkStopped())
            case (int(incarnation), Disconnection() as disconnection) if self._runs(incarnation):
                self._end_connection("held")
                self.session.append(be.Exited(incarnation, disconnection))
            case (int(incarnation), str(reason)) if self._runs(incarnation):
                self.session.append(be.Crashed(incarnation, reason))
                self._end_connection("terminated")
                self._launch()

    def delete(self) -> None:
        """The roster tells the session; a session that dies over it is removed by the roster."""
        self.session.append(be.Purge())

    def fail_start(self) -> None:
        """Whatever the supervisor was asked to start next, it cannot."""
        self.supervisor.popleft()
        self.session.append(be.StartFailed("no more processes"))

    @property
    def is_starting(self) -> bool:
        """The supervisor is about to start a connection."""
        return bool(self.supervisor) and self.supervisor[0] == "restart" and self.child == "terminated"

    def _runs(self, incarnation: int) -> bool:
        return self.connection is not None and self.connection.incarnation == incarnation

    def _launch(self) -> None:
        self.child, self.due = "running", None
        number = self.context.incarnation = next(self._numbers_of_connections)
        self.connection = Connection(number, self.memory.device_jid if self.memory.logged_in else None)
        self.session.append(be.Started(number))

    def _end_connection(self, child: str) -> None:
        self.child, self.due, self.connection = child, None, None

    # -- the connection and time ----------------------------------------------------------------------------

    def tell(self, notice: be.Input) -> None:
        """The connection says something."""
        self.session.append(notice)

    def answer(self, error: str | None) -> None:
        """The oldest command that the port was given is carried out, fails or misses its deadline."""
        assert self.connection is not None
        _, asked = self.connection.told.pop(0)
        value = {"code": "ABCD-EFGH"} if asked.name == "pair_phone" else {}
        self.tell(be.CommandDone(self.connection.incarnation, asked.tag, value, error))

    def end(self, reason: Disconnection | str) -> None:
        """The connection ends: a disconnection is expected, a text is a crash."""
        assert self.connection is not None
        self.supervisor.append((self.connection.incarnation, reason))

    def advance(self, seconds: float, *, settle: bool) -> None:
        """Let time pass; what is due on the way is put into the mailboxes, and handled if `settle`."""
        target = self.time + seconds
        while (due := self._next_due()) is not None and due[0] <= target:
            at, name = due
            self.time = max(self.time, at)
            if name is None:
                self._launch()
            elif name is MISSED:
                self.answer("missed its deadline")
            else:
                del self.timers[name]
                self.session.append(be.Tick(name))
            if settle:
                self.settle()
        self.time = target

    def _next_due(self) -> tuple[float, str | None] | None:
        found: list[tuple[float, str | None]] = [(at, name) for name, at in self.timers.items()]
        if self.due is not None:
            found.append((self.due, None))
        if self.connection is not None and self.connection.told:
            found.append((self.connection.told[0][0], MISSED))
        return min(found, key=lambda entry: entry[0], default=None)

    def settle(self) -> None:
        """Handle every message that is under way."""
        while not self.quiet:
            self.step()

    def step(self) -> None:
        """Handle one of them."""
        if self.store:
            self.commit()
        elif self.session:
            self.deliver()
        else:
            self.supervise()

    @property
    def quiet(self) -> bool:
        return not (self.session or self.supervisor or self.store)

    @property
    def desired(self) -> Desired:
        return self.memory.desired

    @property
    def phase(self) -> Phase:
        return self.memory.phase
