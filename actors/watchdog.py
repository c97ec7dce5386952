"""The watchdog: replaces connections that give no sign of life, and vouches for the tree to the service manager."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from actors import stacks
from actors.healthcheck import HealthCheck
from actors.port.ports import Echo
from actors.services import INSTANCES, PORTS, Services
from actors.session.inputs import Silent
from actors.views import Desired, InstanceView, Phase
from supervisor.otp import ROOT, Actor, CountChildren, MailboxFull

AT_REST = (Phase.CLOSED, Phase.FAILED, Phase.STOPPING)

API = "api"
STATUS_EVERY = 2.0
"""Seconds between two looks at what the service manager's status line should say."""


@dataclass(frozen=True, slots=True)
class Look:
    """Time to look for silent connections."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The tree is up."""


@dataclass(frozen=True, slots=True)
class Vouch:
    """Time to say that the tree answers, if it does."""


@dataclass(frozen=True, slots=True)
class Tell:
    """Time to look whether the status line is still right."""


@dataclass(frozen=True, slots=True)
class Answered:
    """A part of the tree has answered its probe."""

    part: str
    number: int
    value: Any = None


@dataclass(frozen=True, slots=True)
class Healthy:
    """The API has answered over HTTP."""

    number: int


PROBES: Mapping[str, Callable[[], object]] = {
    ROOT: CountChildren,
    "store": lambda: "probe",
    PORTS: Echo,
    INSTANCES: CountChildren,
    API: lambda: "address",
}
"""What each part is asked; any answer, a refusal included, shows that it handles its messages.

The store is not asked to write: a database that is locked or full is not mended by a restart of the host, which would
cost every connection. The answer of `ports` comes from the thread that reads all pipes. The API is then asked over
HTTP, at the address that it answers.
"""


@dataclass(slots=True)
class Round:
    """One round of probes and who has not answered yet."""

    number: int = 0
    missing: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Manager:
    """Who started the host, as far as it wants to hear of it.

    Attributes:
        vouch: says that the host is alive; called only while every probed part answers.
        period: seconds between two calls of `vouch`; None when nobody waits for them.
        status: shows a line about the host; None when nobody sees it.
    """

    vouch: Callable[[], object]
    period: float | None
    status: Callable[[str], object] | None = None


class Watchdog(Actor):
    """Child `watchdog` of the root.

    Args (of its child spec):
        services: the host.
        manager: the service manager.
    """

    def init(self, services: Services, manager: Manager) -> None:
        self._services = services
        self._manager = manager
        self._signs: dict[str, tuple[float | None, float]] = {}
        self._round = Round()
        self._health = HealthCheck()
        self._told = ""
        self._vouched = True
        self._look_later()
        if manager.period is not None:
            self._begin_later()
        if manager.status is not None:
            self._tell(manager.status)

    def handle_info(self, message: Any) -> None:
        match message:
            case Look():
                self._look()
                self._look_later()
            case Vouch() if self._manager.period is not None:
                self._judge()
                self._probe(self._manager.period)
            case Tell() if self._manager.status is not None:
                self._tell(self._manager.status)

    def handle_cast(self, message: Any) -> None:
        match message:
            case Begin() if self._manager.period is not None:
                self._probe(self._manager.period)
            case Answered(number=number) | Healthy(number=number) if number != self._round.number:
                pass
            case Healthy():
                self._round.missing.discard(API)
            case Answered(part="api", value=address):
                if address is not None:
                    self._ask_over_http(address)
            case Answered(part=part):
                self._round.missing.discard(part)

    # -- silent connections ---------------------------------------------------------------------------------

    def _look_later(self) -> None:
        self.send_after(self._services.settings.recovery.inactivity_check, Look())

    def _look(self) -> None:
        now = self.clock.monotonic()
        views = self._services.board.views()
        self._signs = {view.name: self._latest_sign(view, now) for view in views}
        for view in views:
            if self._is_silent(view, now):
                self.log.warning("%s: no sign of life of its connection; it is replaced", view.name)
                self.system.cast(f"{INSTANCES}/{view.name}/session", Silent())

    def _latest_sign(self, view: InstanceView, now: float) -> tuple[float | None, float]:
        """The latest sign of life, and when it was first seen.

        Silence is counted on the monotonic clock: a step of the wall clock is no reason to replace every connection.
        """
        seen = self._signs.get(view.name)
        return seen if seen is not None and seen[0] == view.alive_at else (view.alive_at, now)

    def _is_silent(self, view: InstanceView, now: float) -> bool:
        if view.phase in AT_REST or view.restart_due is not None or view.alive_at is None:
            return False
        limit = self._services.settings.instance(view.name).recovery.inactivity_timeout
        return now - self._signs[view.name][1] > limit

    # -- the tree -------------------------------------------------------------------------------------------

    def _begin_later(self) -> None:
        """Probe as soon as the root has started what comes after the watchdog too: it answers no sooner."""
        me, root = self.ref, self.system.whereis(ROOT)
        assert root is not None, "the watchdog is its child"
        root.request(CountChildren(), lambda value, error: me.cast(Begin()))

    def _probe(self, period: float) -> None:
        self._round = Round(self._round.number + 1, set(PROBES))
        for part, message in PROBES.items():
            ref = self.system.whereis(part)
            if ref is not None:
                ref.request(message(), self._answers(part, self._round.number))
        self.send_after(period, Vouch())

    def _answers(self, part: str, number: int) -> Callable[[Any, BaseException | None], object]:
        me = self.ref

        def answered(value: Any, error: BaseException | None) -> None:
            if not isinstance(error, MailboxFull):  # that is said by nobody who handles messages
                me.cast(Answered(part, number, value))

        return answered

    def _ask_over_http(self, address: tuple[str, int]) -> None:
        me, number, period = self.ref, self._round.number, self._manager.period
        assert period is not None, "there are rounds only for a manager that waits"
        self._health.begin(address, period, lambda: me.cast(Healthy(number)))

    def _judge(self) -> None:
        if self._round.missing:
            self.log.error(
                "no answer from %s: the service manager is not told that the host is alive",
                ", ".join(sorted(self._round.missing)),
            )
            if self._vouched:
                self._say_where_threads_stand()
        else:
            self._manager.vouch()
        self._vouched = not self._round.missing

    def _say_where_threads_stand(self) -> None:
        """Once for each time that something hangs, and before the service manager ends the host for it."""
        refs = {part: self.system.whereis(part) for part in self._round.missing}
        silent = {part: 0 if ref is None else ref.mailbox_length for part, ref in refs.items()}
        for thread, calls in stacks.of_busy_threads(silent):
            self.log.error("thread %s stands at %s", thread, calls)

    # -- the status line ------------------------------------------------------------------------------------

    def _tell(self, show: Callable[[str], object]) -> None:
        text = status(self._services.board.views(), database=self._services.condition.trouble is None)
        if text != self._told:
            self._told = text
            show(text)
        self.send_after(STATUS_EVERY, Tell())


def status(views: list[InstanceView], *, database: bool) -> str:
    """How the host is, on one line.

    Args:
        views: all instances.
        database: whether it can be written.
    """
    wanted = [view for view in views if view.desired is Desired.UP]
    is_open = sum(1 for view in wanted if view.phase is Phase.OPEN)
    failed = sum(1 for view in views if view.phase is Phase.FAILED)
    text = f"{is_open} of {len(wanted)} instances open"
    if failed:
        text += f", {failed} failed"
    if not database:
        text += "; THE DATABASE CANNOT BE WRITTEN"
    return text
