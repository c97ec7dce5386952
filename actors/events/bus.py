"""The event bus: who wants to know of commits subscribes here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from actors.store.notices import RETRY, Committed, Outlet
from supervisor.otp import Actor, Caller, Down, Monitor, Ref

PATH = "events"
"""The name under which the bus is registered, and which the store tells of commits."""


@dataclass(frozen=True, slots=True)
class Subscribe:
    """Call: pass each `Committed` on to this actor as a cast, until it ends."""

    ref: Ref


@dataclass(frozen=True, slots=True)
class Listen:
    """Call: pass each `Committed` on to a function, on the bus's thread; it must not block.

    The reply is a function that ends it, to be called from any thread.
    """

    callback: Callable[[Committed], object]


@dataclass(frozen=True, slots=True)
class _Leave:
    key: object


@dataclass(frozen=True, slots=True)
class _Retry:
    """Time to tell again those that had no room."""


class Events(Actor):
    """Passes the store's notices on. It holds no events: a subscriber reads them from the database.

    A notice that finds a subscriber's mailbox full is kept, merged with later ones, and told again.
    """

    def init(self) -> None:
        self._outlets: dict[object, Outlet] = {}
        self._monitors: dict[Monitor, object] = {}
        self._retrying = False

    def handle_call(self, message: Any, caller: Caller) -> Any:
        match message:
            case Subscribe(ref=ref):
                self._outlets[ref] = Outlet(ref.cast)
                self._monitors[self.monitor(ref)] = ref
                return None
            case Listen(callback=callback):
                key = object()
                self._outlets[key] = Outlet(callback)
                mailbox = self.ref
                return lambda: mailbox.cast(_Leave(key))
            case _:
                return super().handle_call(message, caller)

    def handle_cast(self, message: Any) -> None:
        match message:
            case Committed(topics=topics):
                self._tell(topics)
            case _Leave(key=key):
                self._outlets.pop(key, None)
            case _:
                super().handle_cast(message)

    def handle_info(self, message: Any) -> None:
        match message:
            case Down(monitor=monitor):
                self._outlets.pop(self._monitors.pop(monitor, None), None)
            case _Retry():
                self._retrying = False
                self._tell()
            case _:
                super().handle_info(message)

    def _tell(self, topics: frozenset[str] = frozenset()) -> None:
        told = [self._offer(key, outlet, topics) for key, outlet in list(self._outlets.items())]
        if not all(told) and not self._retrying:
            self._retrying = True
            self.send_after(RETRY, _Retry())

    def _offer(self, key: object, outlet: Outlet, topics: frozenset[str]) -> bool:
        try:
            return outlet.offer(topics)
        except Exception:
            self.log.exception("a listener failed and is struck off")
            self._outlets.pop(key, None)
            return True
