"""What the library tells its operators: crash reports, lifecycle notices, fenced actors."""

from __future__ import annotations

import enum
from dataclasses import dataclass

from supervisor.otp.reasons import Crash, ExitReason


class CrashContext(enum.Enum):
    """In which situation an actor failed (supervisor reports, ``errorContext``)."""

    CHILD_TERMINATED = "child_terminated"
    START_ERROR = "start_error"
    SHUTDOWN_ERROR = "shutdown_error"
    SHUTDOWN = "shutdown"
    """More restarts than the intensity allows: the supervisor gives up."""
    NOT_SUPERVISED = "not_supervised"


@dataclass(frozen=True, slots=True)
class CrashReport:
    """An actor ended in a way that it should not have.

    ``restarts`` counts those of its supervisor within the period, this one not included; ``mailbox_length``
    and ``last_message`` (a type's name) are as of the crash; ``at`` is seconds since the epoch.
    """

    path: str
    context: CrashContext
    reason: ExitReason
    restarts: int
    intensity: int
    mailbox_length: int
    last_message: str
    at: float

    @property
    def traceback(self) -> str:
        """The traceback of a crash, empty for other reasons."""
        return self.reason.traceback if isinstance(self.reason, Crash) else ""


class Lifecycle(enum.Enum):
    """What happened to a child."""

    STARTED = "started"
    EXITED = "exited"
    RESTARTING = "restarting"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class Notice:
    """One step in a child's life, told by its supervisor in its own thread.

    ``due`` is the clock's monotonic time of a delayed restart; None for one that is held or happens at once.
    ``restart`` goes with STARTED: its supervisor started it again, for its own sake or along with a sibling.
    """

    kind: Lifecycle
    path: str
    id: str
    supervisor: str
    reason: ExitReason | None
    due: float | None
    at: float
    restart: bool = False


@dataclass(frozen=True, slots=True)
class FencedActor:
    """An actor that was killed while its thread was busy, and whose thread has not come back yet."""

    path: str
    since: float
    thread_name: str
