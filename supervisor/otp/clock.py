"""Time, injectable: the system's clock, and one that tests advance by hand."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Protocol

from supervisor.otp.context import current

if TYPE_CHECKING:
    from supervisor.otp.system import System


class Clock(Protocol):
    """What the library asks of a clock."""

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        ...

    def wall(self) -> float:
        """Seconds since the epoch, UTC."""
        ...


class SystemClock:
    """The machine's time."""

    def monotonic(self) -> float:
        return time.monotonic()

    def wall(self) -> float:
        return time.time()


class ManualClock:
    """A clock that stands still until `advance` is called.

    A `System` built on it has no timer thread: due timers fire inside `advance`, in the order of their due
    times, and before each the system is let come to rest, so that a run with the same messages gives the
    same result each time. Calls made from outside of actors keep their time limit in real seconds, since
    nobody could advance meanwhile.
    """

    def __init__(self, monotonic: float = 0.0, wall: float = 1_700_000_000.0) -> None:
        self._now = monotonic
        self._wall_offset = wall - monotonic
        self._systems: list[System] = []
        self._advancing = threading.Lock()

    def monotonic(self) -> float:
        return self._now

    def wall(self) -> float:
        return self._now + self._wall_offset

    def advance(self, seconds: float, *, settle: bool = True) -> None:
        """Let ``seconds`` pass, firing what becomes due.

        Args:
            seconds: how far to go, not negative.
            settle: wait, before each timer and at the end, until every actor waits for a message; False for
            tests in
                which an actor hangs on purpose.

        Raises:
            ValueError: ``seconds`` is negative.
            RuntimeError: called from an actor, which would wait for itself.
            TimeoutError: an actor was still busy after 10 s of real time.
        """
        if seconds < 0:
            raise ValueError(f"seconds: {seconds!r} is not allowed; allowed: zero or more")
        if current.process is not None:
            raise RuntimeError(f"{current.process.path}: an actor cannot advance the clock")
        with self._advancing:
            self._advance_to(self._now + seconds, settle)

    def attach(self, system: System) -> None:
        """Fire this system's timers too."""
        self._systems.append(system)

    def detach(self, system: System) -> None:
        """Undo `attach`."""
        if system in self._systems:
            self._systems.remove(system)

    def _advance_to(self, target: float, settle: bool) -> None:
        while True:
            if settle:
                self._settle()
            due = [
                (at, n)
                for n, system in enumerate(self._systems)
                if (at := system.timers.next_due()) is not None
            ]
            if not due or min(due)[0] > target:
                break
            at, n = min(due)
            self._now = max(self._now, at)
            self._systems[n].timers.fire_next(self._now)
        self._now = max(self._now, target)

    def _settle(self) -> None:
        for system in list(self._systems):
            system.settle()
