"""The timer service of a system: one heap of due times, and one thread that fires them."""

from __future__ import annotations

import heapq
import itertools
import logging
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.otp.clock import Clock

log = logging.getLogger("zapvisor.otp")


class Timer:
    """A message to come.

    `cancel` keeps it from ever being delivered, even when it already waits in the mailbox.
    """

    __slots__ = ("_callback", "_service", "cancelled", "due", "fired", "owner")

    def __init__(self, due: float, callback: Callable[[], object], service: Timers) -> None:
        self.due = due
        self.owner: set[Any] | None = None
        self.cancelled = False
        self.fired = False
        self._callback: Callable[[], object] | None = callback
        self._service = service

    def cancel(self) -> None:
        """Never deliver. Harmless when it was delivered before."""
        if not self.cancelled:
            self.cancelled = True
            self._callback = None
            if self.owner is not None:
                self.owner.discard(self)
            if not self.fired:
                self._service.forget()

    def fire(self) -> None:
        callback, self._callback = self._callback, None
        self.fired = True
        if callback is not None:
            callback()


class Timers:
    """Timers in the order of their due times. Someone has to call `fire_next`: see `TimerThread`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Timer]] = []
        self._numbers = itertools.count()
        self._cancelled = 0
        self._changed = threading.Condition(threading.Lock())

    def make(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """A timer that is not yet scheduled."""
        return Timer(self._clock.monotonic() + max(seconds, 0.0), callback, self)

    def schedule(self, seconds: float, callback: Callable[[], object]) -> Timer:
        """Call ``callback`` in ``seconds``, on the thread that fires: it must not block."""
        timer = self.make(seconds, callback)
        self.add(timer)
        return timer

    def add(self, timer: Timer) -> None:
        """Schedule a timer made before."""
        with self._changed:
            entry = (timer.due, next(self._numbers), timer)
            heapq.heappush(self._heap, entry)
            if self._heap[0] is entry:
                self._changed.notify()

    def forget(self) -> None:
        """A timer was cancelled: drop the cancelled ones when they are the most."""
        with self._changed:
            self._cancelled += 1
            if self._cancelled > 64 and self._cancelled > len(self._heap) // 2:
                self._heap = [entry for entry in self._heap if not entry[2].cancelled]
                heapq.heapify(self._heap)
                self._cancelled = 0

    def next_due(self) -> float | None:
        """When the next timer is due, in the clock's monotonic seconds; None without timers."""
        with self._changed:
            return self._peek()

    def fire_next(self, now: float) -> bool:
        """Fire the next timer if it is due at ``now``. Whether there was one."""
        with self._changed:
            due = self._peek()
            if due is None or due > now:
                return False
            timer = heapq.heappop(self._heap)[2]
        try:
            timer.fire()
        except Exception:
            log.exception("timer callback failed")
        return True

    def close(self) -> None:
        """Drop every timer."""
        with self._changed:
            self._heap.clear()
            self._changed.notify()

    def _peek(self) -> float | None:
        while self._heap and self._heap[0][2].cancelled:
            heapq.heappop(self._heap)
            self._cancelled = max(0, self._cancelled - 1)
        return self._heap[0][0] if self._heap else None


class TimerThread(Timers):
    """Timers that fire by themselves, on one thread that starts with the first of them."""

    def __init__(self, clock: Clock, name: str) -> None:
        super().__init__(clock)
        self._name = name
        self._thread: threading.Thread | None = None
        self._closed = False

    @property
    def running(self) -> bool:
        """Whether the thread exists."""
        return self._thread is not None and self._thread.is_alive()

    def add(self, timer: Timer) -> None:
        super().add(timer)
        if self._thread is None:
            self._start()

    def close(self) -> None:
        with self._changed:
            self._closed = True
        super().close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join(5.0)

    def _start(self) -> None:
        with self._changed:
            if self._thread is None and not self._closed:
                self._thread = threading.Thread(target=self._run, name=self._name, daemon=True)
                self._thread.start()

    def _run(self) -> None:
        while self._wait_until_due():
            self.fire_next(self._clock.monotonic())

    def _wait_until_due(self) -> bool:
        with self._changed:
            while not self._closed:
                due = self._peek()
                wait = None if due is None else due - self._clock.monotonic()
                if wait is not None and wait <= 0:
                    return True
                self._changed.wait(wait if wait is None else min(wait, threading.TIMEOUT_MAX))
            return False
