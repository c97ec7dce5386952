"""What happened in a loopback service, in order, for tests to wait on instead of sleeping."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from .binary import covers

CAPACITY = 50_000
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Event:
    """One entry. ``number`` counts from 1; ``at`` is the monotonic clock of the service in seconds."""

    number: int
    at: float
    kind: str
    connection: int = 0
    jid: str = ""
    detail: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


class Journal:
    """The last ``CAPACITY`` events, and futures that wait for the next one. For the event loop's thread only."""

    def __init__(self) -> None:
        self._events: deque[Event] = deque(maxlen=CAPACITY)
        self._number = 0
        self._waiting: list[asyncio.Future[None]] = []

    @property
    def last(self) -> int:
        return self._number

    def record(self, kind: str, connection: int = 0, jid: object = "", **detail: Any) -> None:
        self._number += 1
        self._events.append(Event(self._number, time.monotonic(), kind, connection, str(jid or ""), detail))
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    def select(self, kind: str | None, jid: str | None, connection: int | None, after: int) -> list[Event]:
        """The matching events after number ``after``, oldest first."""
        recent = itertools.takewhile(lambda event: event.number > after, reversed(self._events))
        return [event for event in recent if _matches(event, kind, jid, connection)][::-1]

    async def wait(
        self, kind: str | None, jid: str | None, connection: int | None, after: int, timeout: float
    ) -> Event:
        """The first event after number ``after`` that matches; raises TimeoutError."""
        seen = after
        found: list[Event] = []

        def look() -> bool:
            nonlocal seen
            found[:] = self.select(kind, jid, connection, seen)[:1]
            seen = max(seen, self._number)
            return bool(found)

        what = f"no event kind={kind!r} jid={jid!r} connection={connection!r} after {after}"
        await self.wait_until(look, timeout, what)
        return found[0]

    async def wait_until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Look at ``condition`` now and after every event until it holds; raises TimeoutError, saying ``what``."""
        try:
            async with asyncio.timeout(timeout):
                while not condition():
                    future = asyncio.get_running_loop().create_future()
                    self._waiting.append(future)
                    await future
        except TimeoutError:
            latest = ", ".join(f"{event.kind}#{event.connection}" for event in list(self._events)[-SHOWN:])
            raise TimeoutError(f"{what} within {timeout:.1f} s; the latest events: {latest}") from None


def _matches(event: Event, kind: str | None, jid: str | None, connection: int | None) -> bool:
    return (
        (kind is None or event.kind == kind)
        and (connection is None or event.connection == connection)
        and covers(jid, event.jid)
    )
