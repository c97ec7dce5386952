"""Actors and waits that the tests share."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from pykka._envelope import Envelope

from supervisor.otp import (
    IGNORE,
    NO_REPLY,
    Actor,
    Caller,
    ChildSpec,
    CrashReport,
    ExitReason,
    ManualClock,
    Ref,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
    which_children,
)

SECONDS = 10.0
"""Limit of everything that ought to happen at once."""


class Boom(Exception):
    """A bug."""


class Die:
    """Told to a `Worker`: end with this reason, or raise this exception."""

    def __init__(self, how: ExitReason | BaseException) -> None:
        self.how = how


class Run:
    """Told to a `Worker`: run this in its thread, with the actor."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function


class Worker(Actor):
    """Appends what happens to it to a shared journal, and does as it is told."""

    def init(
        self, journal: list[str] | None = None, failures: list[BaseException | None] | None = None
    ) -> None:
        self.journal = journal if journal is not None else []
        self.infos: list[Any] = []
        if failures and (failure := failures.pop(0)) is not None:
            self.journal.append(f"fail {self.path}")
            raise failure
        self.journal.append(f"start {self.path}")

    def handle_call(self, message: Any, caller: Caller) -> Any:
        return self._obey(message, caller)

    def handle_cast(self, message: Any) -> None:
        self._obey(message, None)

    def handle_info(self, message: Any) -> None:
        self.infos.append(message)

    def terminate(self, reason: ExitReason) -> None:
        self.journal.append(f"stop {self.path}")

    def _obey(self, message: Any, caller: Caller | None) -> Any:
        if isinstance(message, Die):
            if isinstance(message.how, BaseException):
                raise message.how
            self.exit(message.how)
        if isinstance(message, Run):
            return message.function(self)
        if message == "defer":
            self.deferred = caller
            return NO_REPLY
        return message


class Stubborn(Worker):
    """A worker that does not end when it is told to, until it is fenced and the test lets it go."""

    let_go = Caller()

    def terminate(self, reason: ExitReason) -> None:
        super().terminate(reason)
        self.system.wait(self.let_go, None)


class Ignored(Actor):
    """There is nothing to run."""

    def init(self, *_: Any) -> object:
        return IGNORE


class Trapper(Worker):
    """A worker that traps exits."""

    trap_exit = True


class World:
    """A system on a manual clock, with a journal and the crash reports."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.reports: list[CrashReport] = []
        self.system = System(self.clock, on_crash=self.reports.append)
        self.journal: list[str] = []
        Stubborn.let_go = Caller()

    def spec(self, id: str, *, actor: type[Actor] = Worker, failures: Any = None, **fields: Any) -> ChildSpec:
        """A child spec of a journalling worker."""
        return ChildSpec(id, Start(actor, self.journal, failures), **fields)

    def supervisor(self, *specs: ChildSpec, path: str = "root", **flags: Any) -> Ref:
        """A running supervisor; the journal starts afresh."""
        ref = self.system.start(Supervisor, SupervisorFlags(**flags), specs, path=path)
        self.journal.clear()
        return ref

    def die(self, path: str, how: ExitReason | BaseException) -> None:
        """Let an actor end, and wait until all that follows has happened."""
        ref = self.system.whereis(path)
        assert ref is not None, path
        ref.cast(Die(how))
        self.system.settle()

    def drive(self) -> None:
        """Let happen what happens, and the clock run on to whatever someone waits for."""
        self.system.settle()
        while (due := self.system.timers.next_due()) is not None:
            self.clock.advance(due - self.clock.monotonic())

    def ask(self, ref: Ref, message: object) -> Any:
        """A call whose handling takes time on the clock."""
        caller = Caller()
        ref._process.mailbox.put(Envelope(message, caller))
        self.drive()
        return caller.result()

    def told(self) -> list[str]:
        """The journal since the last look."""
        self.system.settle()
        told = list(self.journal)
        self.journal.clear()
        return told

    def states(self, supervisor: Ref) -> dict[str, str]:
        """``which_children`` as words."""
        return {
            info.id: "running" if isinstance(info.ref, Ref) else info.ref or "terminated"
            for info in which_children(supervisor, SECONDS)
        }


def wait_until(condition: Callable[[], bool], seconds: float = SECONDS) -> None:
    """For what no event tells: look again until it holds, or fail."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not condition():
        assert time.monotonic() < deadline, "did not come true in time"
        pause.wait(0.002)
