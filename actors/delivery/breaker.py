"""The circuit breaker of a destination: after failures in a row it is left alone, then tried with one request."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum


class Circuit(Enum):
    """CLOSED: everything goes through. OPEN: nothing does until it is due. PROBING: one request is trying it."""

    CLOSED = "closed"
    OPEN = "open"
    PROBING = "probing"


class Breaker:
    """Decides whether, and how many, requests may go to a destination. Times are seconds of one monotonic clock.

    Args:
        threshold: failures in a row, of whatever events, that open it.
        wait: seconds to stay open, by how many times in a row it has opened (from 1).
    """

    def __init__(self, threshold: int, wait: Callable[[int], float]) -> None:
        self._threshold = threshold
        self._wait = wait
        self.failures = 0
        self.circuit = Circuit.CLOSED
        self._openings = 0
        self._until = 0.0

    @property
    def healthy(self) -> bool:
        """Whether the last attempt went well."""
        return self.failures == 0

    def allows(self, in_flight: int, now: float) -> bool:
        """Whether one more request may go out while `in_flight` are on their way."""
        if now < self._until:
            return False
        return self.circuit is Circuit.CLOSED or in_flight == 0

    def due(self, now: float) -> float | None:
        """When it will allow requests again, if it does not now."""
        return self._until if now < self._until else None

    def sent(self) -> None:
        """A request goes out."""
        if self.circuit is Circuit.OPEN:
            self.circuit = Circuit.PROBING

    def succeeded(self) -> bool:
        """The destination answered as a healthy one does. Returns whether that closed the circuit."""
        closed = self.circuit is not Circuit.CLOSED
        self.failures = self._openings = 0
        self.circuit = Circuit.CLOSED
        return closed

    def failed(self, now: float) -> None:
        """An attempt failed. One that was on its way when the circuit opened tells nothing new."""
        self.failures += 1
        if self.failures >= self._threshold and self.circuit is not Circuit.OPEN:
            self._open(now + self._wait(self._openings + 1))

    def pause(self, until: float) -> None:
        """The destination asked to be left alone until then."""
        self._until = max(self._until, until)

    def remember(self, failures: int, until: float) -> None:
        """Go on where an earlier incarnation was: so many failures in a row, the next attempt due then."""
        self.failures = failures
        if failures >= self._threshold:
            self._open(until)

    def _open(self, until: float) -> None:
        self.circuit = Circuit.OPEN
        self._openings += 1
        self._until = max(self._until, until)
