"""The session: the instance's mailbox. It turns messages into the machine's inputs and carries out its effects."""

from __future__ import annotations

import dataclasses
import itertools
from collections import deque
from functools import partial
from typing import Any, NoReturn

from actors.cache import CacheUnavailable
from actors.context import InstanceContext, Plan
from actors.credentials import CredentialsUnavailable
from actors.leftovers import WAITS
from actors.messages import Done, NotRunning
from actors.notices import Purged, Settled, Unfinished
from actors.proxy import proxy_url
from actors.recovery import Step
from actors.services import ROSTER
from actors.session import effects as do
from actors.session import machine, persist, report
from actors.session.inputs import CommandDone, LinkStopped, PortUp, Resume, StartFailed, Tick
from actors.session.memory import Link, Now
from actors.session.recall import remember
from actors.session.replies import WAIT
from actors.session.shown import view
from actors.session.terms import FormerDevice, InstanceRestart
from actors.store import Outcome
from actors.trace import current, traced, untraced, working_for
from actors.views import Desired, InstanceView, Phase
from supervisor.otp import (
    NO_REPLY,
    Actor,
    Caller,
    ExitReason,
    Recovered,
    RestartChild,
    Running,
    Shutdown,
    TerminateChild,
    Timer,
)
from supervisor.otp import Resume as ResumeChild

CONNECTION = "connection"
NOT_WIPED = "; the credentials could not be deleted yet: that is tried again until it is done"


@dataclasses.dataclass(frozen=True, slots=True)
class GiveWay:
    """The session has found a former device as it began."""


@dataclasses.dataclass(frozen=True, slots=True)
class Written:
    """The oldest transaction on its way has been committed, or never will be."""

    outcome: Outcome


@dataclasses.dataclass(frozen=True, slots=True)
class Asked:
    """A command that is not answered yet.

    Attributes:
        command: its name.
        at: when it came, in monotonic seconds.
    """

    caller: Caller
    command: str
    at: float
    request_id: str | None


@dataclasses.dataclass(frozen=True, slots=True)
class Held:
    """The effects of one input, and the request that it was part of."""

    effects: list[do.Effect]
    request_id: str | None

    @property
    def commit(self) -> do.Commit | None:
        """The transaction, which comes before all other effects."""
        first = self.effects[0]
        return first if isinstance(first, do.Commit) else None


class Session(Actor):
    """Child `session` of an instance: survives its connections, answers its users.

    It never waits for the database. What follows from a transaction is held until that is committed, and what
    follows from later inputs is held behind it; meanwhile the session goes on hearing what happens, so a link that
    ends is not called open, however long the database takes.
    """

    def init(self, context: InstanceContext) -> None:
        self._context = context
        self._services = context.services
        self._row, past, unfinished = persist.load(context)
        self._latest = self._row
        self._held: deque[Held] = deque()
        self._asked: dict[int, Asked] = {}
        self._numbers = itertools.count(1)
        self._timers: dict[str, Timer] = {}
        self._memory = remember(self._row, past, context, self._now())
        self._booting = False
        self._wiped = self._cleared = True
        self._former: str | None = None
        self._shown = self._memory.phase
        self._log = report.logger(context)
        former = persist.in_the_way(context) if unfinished else None
        if former is not None:
            self._meet(former)
            self.ref.cast(GiveWay())
        elif unfinished and self._services.credentials.by_device:
            self.system.cast(ROSTER, Unfinished())
        elif unfinished:
            # Before anything connects: the file of a device that it links would be taken for the former one.
            persist.strike_former(context)
        self._plan()
        self._carry_out([] if former else machine.begin(self._memory, self._now()))

    def terminate(self, reason: ExitReason) -> None:
        """Cut the tie to the outside: nothing is open without a session that says so."""
        if self._memory.phase not in (Phase.CLOSED, Phase.FAILED):
            self._memory.enter(Phase.RECOVERING)
        self._publish()

    def handle_call(self, message: Any, caller: Caller) -> Any:
        message, request_id = untraced(message)
        number, now = next(self._numbers), self._now()
        self._asked[number] = Asked(caller, type(message).__name__, now.mono, request_id)
        with working_for(request_id):
            self._carry_out(machine.command(self._memory, number, message, now))
        return NO_REPLY

    def handle_cast(self, message: Any) -> None:
        message, request_id = untraced(message)
        with working_for(request_id):
            self._handle(message)

    def _handle(self, message: Any) -> None:
        if isinstance(message, Written):
            self._on_written(message.outcome)
            return
        if isinstance(message, GiveWay):
            self._give_way()
        if isinstance(message, Tick) and self._is_superseded(message):
            return
        if isinstance(message, Resume):
            self._booting = True
            self._context.granted = True
        self._carry_out(machine.handle(self._memory, message, self._now()))
        if isinstance(message, PortUp):
            self._log.info("port", pid=message.pid, incarnation=message.incarnation)
            # Should its supervisor restart it, nobody will have asked for that.
            self._context.plan = dataclasses.replace(self._context.plan, request_id=None)
        if self._booting and self._memory.phase is not Phase.STARTING:
            self._booting = False
            self.system.cast(ROSTER, Settled(self._context.name))

    handle_info = handle_cast

    def _now(self) -> Now:
        return Now(self.clock.monotonic(), self.clock.wall())

    # -- effects --------------------------------------------------------------------------------------------

    def _carry_out(self, effects: list[do.Effect]) -> None:
        if effects:
            held = Held(effects, current())
            self._held.append(held)
            if held.commit is not None:
                written = partial(self._tell_written, self.ref)
                wipes = _wipe_of(effects)
                self._latest = persist.submit(self._context, self._latest, held.commit, wipes, written)
        self._keep_plan()
        self._publish()
        self._proceed()

    def _proceed(self) -> None:
        """Carry out what is held, up to the next transaction on its way."""
        while self._held and self._held[0].commit is None:
            self._do_all(self._held.popleft())

    def _do_all(self, held: Held) -> None:
        self._wiped = True
        with working_for(held.request_id):
            report.log_commit(self._log, self._memory, held.commit)
            for effect in held.effects:
                self._do(effect)
        if self._former is not None:
            self._give_way()

    @staticmethod
    def _tell_written(me: Any, outcome: Outcome) -> None:
        me.cast(Written(outcome))

    def _on_written(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            raise outcome.error
        self._row = outcome.value
        held = self._held.popleft()
        self._keep_plan()
        self._publish()
        self._do_all(held)
        self._proceed()

    def _is_superseded(self, tick: Tick) -> bool:
        """Whether the timer it comes from is to be set anew or cancelled, by an effect that is still held."""
        return any(
            isinstance(effect, do.SetTimer | do.CancelTimer) and effect.name == tick.name
            for held in self._held
            for effect in held.effects
        )

    def _do(self, effect: do.Effect) -> None:
        match effect:
            case do.Commit():
                pass
            case do.StartLink():
                self._context.granted = True  # whoever asks for it does not wait for its turn
                self._plan()
                self._ask(RestartChild(CONNECTION), self._on_link_asked)
            case do.ResumeLink(after=after, step=step):
                self._plan()
                self._supervisor().cast(ResumeChild(CONNECTION, after, self._rung(step)))
            case do.StopLink():
                self._plan(wanted=False)
                self._ask(TerminateChild(CONNECTION), self._on_link_stopped)
            case do.PortCommand():
                self._to_port(effect)
            case do.Reply():
                self._reply(self._with_the_rest(effect))
            case do.SetTimer(name=name, seconds=seconds):
                self._cancel(name)
                self._timers[name] = self.send_after(seconds, Tick(name))
            case do.CancelTimer(name=name):
                self._cancel(name)
            case do.WipeCredentials(jid=jid):
                self._wiped = self._wipe(jid)
            case do.ClearCache():
                self._cleared = self._clear_cache()
            case do.Stable():
                self._supervisor().cast(Recovered(CONNECTION))
            case do.Escalate():
                self.exit(Shutdown(InstanceRestart()))
            case do.Purged():
                self.system.cast(ROSTER, Purged(self._context.name, self._wiped and self._cleared))

    def _plan(self, *, wanted: bool | None = None) -> None:
        """Say what the next connection is to be; the connection reads it as it starts."""
        m = self._memory
        if wanted is None:
            wanted = m.desired is Desired.UP and m.phase not in (Phase.FAILED, Phase.STOPPING)
            wanted = wanted and (self._context.granted or m.link is not Link.ABSENT)
        self._context.plan = Plan(wanted, self._device(), proxy_url(self._row.proxy), current())

    def _keep_plan(self) -> None:
        """A supervisor that restarts a crashed connection asks nobody: what the plan says has to be true by then."""
        plan = self._context.plan
        now = dataclasses.replace(plan, jid=self._device(), proxy_url=proxy_url(self._row.proxy))
        if now != plan:
            self._context.plan = now

    def _device(self) -> str | None:
        m = self._memory
        return m.device_jid if m.logged_in else None

    def _supervisor(self) -> Any:
        ref = self.system.whereis(self._context.path)
        assert ref is not None, "a session lives under its supervisor"
        return ref

    def _ask(self, message: object, answered: Any) -> None:
        self._supervisor().request(message, partial(answered, self.ref, current()))

    @staticmethod
    def _on_link_asked(me: Any, request_id: str | None, value: Any, error: BaseException | None) -> None:
        # One that runs is as good: the supervisor came to it by itself, as it does while it starts the subtree.
        if error is not None and not isinstance(error, Running):
            me.cast(traced(StartFailed(str(error)), request_id))

    @staticmethod
    def _on_link_stopped(me: Any, request_id: str | None, value: Any, error: BaseException | None) -> None:
        me.cast(traced(LinkStopped(), request_id))

    def _rung(self, step: Step) -> Any:
        """What the supervisor runs before it starts the connection again."""
        return self._clear_cache if step is Step.CLEAR_CACHE else None

    def _wipe(self, jid: str | None) -> bool:
        try:
            persist.wipe(self._context, jid)
        except CredentialsUnavailable as error:
            self._log.error("credentials not wiped; tried again later", error=str(error))
            if self._services.credentials.by_device:
                self.system.cast(ROSTER, Unfinished())
            else:
                self._meet(str(error))
            return False
        self._former = None
        self._log.info("credentials wiped")
        return True

    def _give_way(self) -> NoReturn:
        """End, and the whole instance with it: the roster holds it until its former device is deleted."""
        m = self._memory
        for asked in self._asked.values():
            asked.caller.error(NotRunning(m.name, str(m.failed_reason)))
        self.exit(Shutdown(FormerDevice(str(self._former))))

    def _meet(self, former: str) -> None:
        """A former device is still there: from now on nothing connects, which is shown and not stored."""
        self._former, m = former, self._memory
        m.phase, m.failed_reason, m.restart_due = Phase.FAILED, f"{WAITS}: {former}", None

    def _clear_cache(self) -> bool:
        """A cache that cannot be reached holds up nothing: what is in it may be lost, or stay, at any time."""
        try:
            self._services.cache.clear(self._context.id)
        except CacheUnavailable as error:
            self._log.warning("the cache could not be cleared", error=str(error))
            return False
        return True

    def _to_port(self, command: do.PortCommand) -> None:
        """Hand a command to the connection; one that is not there any more cannot do it."""
        if not self.system.cast(f"{self._context.path}/{CONNECTION}", traced(command)):
            gone = CommandDone(self._memory.incarnation, command.tag, error="the connection has just ended")
            self.ref.cast(gone)

    def _reply(self, reply: do.Reply) -> None:
        asked = self._asked.pop(reply.caller, None)
        self._cancel(f"{WAIT}{reply.caller}")
        if asked is None:
            return
        with working_for(asked.request_id):
            report.answered(self._log, asked.command, reply, self.clock.monotonic() - asked.at)
        if reply.refusal is not None:
            asked.caller.error(reply.refusal)
        else:
            asked.caller.reply(Done(self._view(), reply.message))

    def _with_the_rest(self, reply: do.Reply) -> do.Reply:
        """Who asked for the end of the credentials is told that they are still there."""
        if self._wiped:
            return reply
        held = "" if self._former is None else ", and before that it does not connect"
        return dataclasses.replace(reply, message=f"{reply.message}{NOT_WIPED}{held}")

    def _cancel(self, name: str) -> None:
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    # -- what others see ------------------------------------------------------------------------------------

    def _publish(self) -> None:
        """Show what is true now, except that nothing is called open before that is committed."""
        if self.fenced:
            return
        ref, shown = self.ref, self._view()
        if shown.phase is Phase.OPEN and any(_opens(held.commit) for held in self._held):
            shown = dataclasses.replace(shown, phase=self._shown, open_since=None)
        self._shown = shown.phase
        self._services.board.publish(shown, lambda: ref.alive)

    def _view(self) -> InstanceView:
        return view(self._row, self._memory)


def _opens(commit: do.Commit | None) -> bool:
    return commit is not None and commit.fields.get("phase") is Phase.OPEN


def _wipe_of(effects: list[do.Effect]) -> do.WipeCredentials | None:
    return next((effect for effect in effects if isinstance(effect, do.WipeCredentials)), None)
