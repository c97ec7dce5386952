"""Signals to the host, heard whichever thread the kernel hands them to."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable
from types import FrameType

WOKEN = 0
"""What `wait` returns for `wake`; no signal has this number."""


class Signals:
    """A pipe that signals are written to as they arrive, for the main thread to wait on.

    Python runs handlers in the main thread alone, and only once that does something. The kernel may give a signal
    to any thread, and a main thread that sleeps in a lock then sleeps on: a SIGTERM could be lost. What the
    interpreter writes to the wake-up descriptor (`signal.set_wakeup_fd`) is written by the thread that got it.

    Made and used in the main thread; `wake` may be called in any.

    Args:
        numbers: the signals to take.
    """

    def __init__(self, numbers: Iterable[signal.Signals]) -> None:
        self._numbers = tuple(numbers)
        self._output, self._input = os.pipe2(os.O_CLOEXEC)
        os.set_blocking(self._input, False)
        signal.set_wakeup_fd(self._input, warn_on_full_buffer=False)
        for number in self._numbers:
            signal.signal(number, _nothing)

    def wait(self) -> int:
        """Block until the next signal or `wake`: its number, or `WOKEN`."""
        while True:
            number = os.read(self._output, 1)[0]
            if number == WOKEN or number in self._numbers:
                return number

    def ignore(self) -> None:
        """Ignore them from now on: a second SIGTERM must not change how the first one ended the process.

        At its end the interpreter gives handlers of its own up, but leaves ignored signals ignored.
        """
        for number in self._numbers:
            signal.signal(number, signal.SIG_IGN)

    def wake(self) -> None:
        """End a wait, now or the next one."""
        os.write(self._input, bytes([WOKEN]))


def _nothing(_number: int, _frame: FrameType | None) -> None:
    """A handler there must be, or the signal's own effect would come instead."""
