"""Sees when WhatsApp can be reached again, and has those try who wait for that.

A try that failed is put off longer and longer, up to minutes; an outage ends whenever it ends. So while any instance
waits for the network, the way that it goes is looked at, and the first answer ends the wait of all who go that way.
One that waits since the service refused its login is told when another has logged in.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from actors.network import WHATSAPP, is_reached
from actors.proxy import environment_proxy, proxy_url
from actors.services import INSTANCES, Services
from actors.session.inputs import Reachable
from actors.views import Awaits, InstanceView, Phase
from supervisor.otp import Actor

PATH = "reachability"
LOOKS = 8
"""Ways that are looked at at once; more wait for their turn."""
LOOK_DEADLINE = 5.0
"""Seconds for each step of a look."""
LONGEST = 15.0
"""Seconds between two looks at a way that has been closed for long."""
SHARE = 0.05
"""Of an outage's length so far: how long its end may go unnoticed."""
AT_MOST_EVERY = 10.0
"""Seconds between two times that the same instance is told, should a way open and close again and again."""
STARTS_PER_SECOND = 20 * (os.cpu_count() or 1)
"""How many connections' processes are started; a processor starts a few more."""
IDLE_SECONDS = 1.0
"""Between two looks at whether looking has been switched on."""
LOST = (Phase.RECOVERING, Phase.STARTING, Phase.FAILED)

Say = Callable[[bool], object]
Begin = Callable[[str | None, Say], object]
"""Begins to look at the way through a proxy, and has it said later whether WhatsApp was reached. Must not wait."""


def begin_look(proxy: str | None, say: Say) -> None:
    """Look on a thread that nobody waits for: a name that does not resolve can hold it for long."""

    def look() -> None:
        reached = False
        try:
            reached = is_reached(proxy, LOOK_DEADLINE)
        finally:
            say(reached)

    threading.Thread(target=look, name=PATH, daemon=True).start()


@dataclass(frozen=True, slots=True)
class Look:
    """Time to see who waits."""


@dataclass(frozen=True, slots=True)
class Looked:
    """A look at a way is over.

    Attributes:
        proxy: the way.
        began: when it began, in monotonic seconds.
        reached: whether WhatsApp answered.
    """

    proxy: str | None = field(repr=False)
    began: float
    reached: bool


@dataclass(slots=True)
class Way:
    """One way to WhatsApp: directly, or through one proxy.

    Attributes:
        closed_since: when the first of the looks that failed in a row began; None while none has.
        closed_at: when the latest that failed began.
        look_at: when it is to be looked at again.
    """

    closed_since: float | None = None
    closed_at: float = float("-inf")
    look_at: float = float("-inf")


@dataclass(frozen=True, slots=True)
class Waiting:
    """An instance that waits.

    Attributes:
        incarnation: the connection that failed last.
        since: when it was first seen to wait after that, in monotonic seconds.
    """

    proxy: str | None = field(repr=False)
    awaits: Awaits
    incarnation: int
    since: float


class Reachability(Actor):
    """Child `reachability` of the root.

    Args (of its child spec):
        services: the host.
        begin: begins a look.
    """

    def init(self, services: Services, begin: Begin = begin_look) -> None:
        self._services = services
        self._begin_look = begin
        self._ways: dict[str | None, Way] = {}
        self._waiting: dict[str, Waiting] = {}
        self._told: dict[str, float] = {}
        self._open: set[tuple[str, float | None]] = set()
        self._looking: set[str | None] = set()
        self._look_later()

    def handle_info(self, message: Any) -> None:
        match message:
            case Look():
                if self._period:
                    self._look()
                self._look_later()

    def handle_cast(self, message: Any) -> None:
        match message:
            case Looked():
                self._on_looked(message)

    @property
    def _period(self) -> float:
        return self._services.settings.recovery.reachability_check

    def _look_later(self) -> None:
        self.send_after(self._period or IDLE_SECONDS, Look())

    def _look(self) -> None:
        now, views = self.clock.monotonic(), self._services.board.views()
        came = self._came_up(views)
        self._waiting = {view.name: self._wait_of(view, now) for view in views if view.awaits is not None}
        lost = {view.name: proxy_of(view) for view in views if view.phase in LOST}
        self._told = {name: at for name, at in self._told.items() if name in lost}
        self._tell(name for name, wait in self._waiting.items() if wait.since < now and wait.proxy in came)
        self._ways = {proxy: self._ways.get(proxy, Way()) for proxy in lost.values()}
        closed = {wait.proxy for wait in self._waiting.values() if wait.awaits is Awaits.NETWORK}
        # Whose turn was longest ago first: with more ways than there are looks at once, each has its turn.
        for way, proxy in sorted(
            ((way, proxy) for proxy, way in self._ways.items() if proxy in closed),
            key=lambda found: found[0].look_at,
        ):
            if proxy not in self._looking and now >= way.look_at and len(self._looking) < LOOKS:
                self._looking.add(proxy)
                self._begin_look(proxy, self._says(proxy, now))

    def _came_up(self, views: list[InstanceView]) -> set[str | None]:
        """The ways by which an instance has logged in since the last time."""
        before = self._open
        self._open = {(view.name, view.open_since) for view in views if view.phase is Phase.OPEN}
        return {
            proxy_of(view)
            for view in views
            if view.phase is Phase.OPEN and (view.name, view.open_since) not in before
        }

    def _wait_of(self, view: InstanceView, now: float) -> Waiting:
        assert view.awaits is not None
        seen, proxy = self._waiting.get(view.name), proxy_of(view)
        if seen is not None and (seen.incarnation, seen.proxy) == (view.incarnation, proxy):
            return seen
        return Waiting(proxy, view.awaits, view.incarnation, now)

    # -- looking --------------------------------------------------------------------------------------------

    def _says(self, proxy: str | None, began: float) -> Say:
        me = self.ref
        return lambda reached: me.cast(Looked(proxy, began, reached))

    def _on_looked(self, looked: Looked) -> None:
        self._looking.discard(looked.proxy)
        way = self._ways.get(looked.proxy)
        if way is None:
            return  # nobody waits for it any longer
        now = self.clock.monotonic()
        if looked.reached:
            way.closed_since, way.look_at = None, now + self._period
            self._tell(name for name, wait in self._waiting.items() if helped(wait, looked))
        else:
            way.closed_at = looked.began
            way.closed_since = looked.began if way.closed_since is None else way.closed_since
            way.look_at = now + max(self._period, min(LONGEST, SHARE * (now - way.closed_since)))

    # -- telling --------------------------------------------------------------------------------------------

    def _tell(self, names: Iterable[str]) -> None:
        """Have instances try, one after the other as fast as their processes can be started."""
        now = self.clock.monotonic()
        told = [name for name in names if self._may_be_told(name, now)]
        for number, name in enumerate(told):
            self._told[name] = now
            self.system.cast(f"{INSTANCES}/{name}/session", Reachable(number / STARTS_PER_SECOND))
        if told:
            self.log.info("WhatsApp can be reached again: %d instances try now", len(told))

    def _may_be_told(self, name: str, now: float) -> bool:
        """Once, until it is open; then again only if its way was closed meanwhile.

        What answers a look need not take a login: such an instance goes on by its own delays.
        """
        before = self._told.get(name)
        if before is None:
            return True
        way = self._ways.get(self._waiting[name].proxy)
        return way is not None and way.closed_at > before and now - before >= AT_MOST_EVERY


def helped(wait: Waiting, looked: Looked) -> bool:
    """Whether a look that reached WhatsApp tells an instance something: it went the same way, after its last try."""
    same_way = wait.awaits is Awaits.NETWORK and wait.proxy == looked.proxy
    return same_way and wait.since <= looked.began


def proxy_of(view: InstanceView) -> str | None:
    """The proxy that an instance's connections go through; None if they go directly."""
    return proxy_url(view.proxy) or environment_proxy(WHATSAPP)
