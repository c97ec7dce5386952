"""Stopping an actor: told, waited for, killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from supervisor.otp.caller import Caller
from supervisor.otp.reasons import KILLED, ExitReason

if TYPE_CHECKING:
    from supervisor.otp.process import Process
    from supervisor.otp.system import System


class Stop:
    """One process that was told to end. Its time runs from here on, so that many can be stopped at once."""

    def __init__(self, system: System, process: Process, limit: float | None) -> None:
        self._system = system
        self._process = process
        self._deadline = None if limit is None else system.clock.monotonic() + limit
        self._ended = Caller()
        process.watch(self, self._ended.reply)

    def finish(self) -> ExitReason:
        """Wait for the end, and kill the process if its time passes first: the reason it ended with."""
        left = None if self._deadline is None else self._deadline - self._system.clock.monotonic()
        if not self._system.wait(self._ended, left):
            self._process.kill()
        self._process.unwatch(self)
        return self._process.reason or KILLED
