"""The recovery ladder: decides how a child that ended comes back, beyond what OTP's plain rule can say."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import tenacity

from supervisor.otp.errors import BadSpec
from supervisor.otp.reasons import Crash, Killed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from tenacity.wait import WaitBaseT

    from supervisor.otp.reasons import ExitReason
    from supervisor.otp.ref import Ref


@dataclass(frozen=True, slots=True)
class ChildExit:
    """The end of a child, or a start of it that failed.

    ``ref`` is the incarnation that ended, None if none came to life. ``attempt`` is 1 for the first end
    since the child was started, or since `Recovered`. ``at`` is the clock's monotonic seconds, ``uptime``
    is in seconds.
    """

    id: str
    ref: Ref | None
    reason: ExitReason
    attempt: int
    at: float
    uptime: float


@dataclass(frozen=True, slots=True)
class Default:
    """OTP's plain rule: restart type by exit reason, counted in the intensity."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Restart ``after`` seconds, running ``step`` first, in the new actor's thread.

    A step that raises is a failed start. A ``counted`` restart spends the supervisor's intensity.
    """

    after: float = 0.0
    step: Callable[[], object] | None = None
    counted: bool = True


@dataclass(frozen=True, slots=True)
class Hold:
    """Wait, as ``restarting`` without a time, for `Resume`, ``restart_now``, or the end of it."""


@dataclass(frozen=True, slots=True)
class GiveUp:
    """Leave it ``terminated``; the supervisor goes on."""


@dataclass(frozen=True, slots=True)
class Escalate:
    """The supervisor stops all children and ends with ``Shutdown(term)``: its parent decides."""

    term: object


Decision: TypeAlias = Default | Restart | Hold | GiveUp | Escalate


class Recovery:
    """The hook of a child spec: overrides `decide`."""

    def decide(self, exit: ChildExit) -> Decision:
        """What to do about this end. Runs in the supervisor's thread: it must not block.

        If it raises, the plain rule holds, and there is a crash report.
        """
        return Default()


class _EscalateStep(enum.Enum):
    ESCALATE = "escalate"


ESCALATE: Final = _EscalateStep.ESCALATE
"""A step of a `Ladder` that escalates instead of restarting."""

Step: TypeAlias = "Callable[[], object] | _EscalateStep | None"


class Ladder(Recovery):
    """Attempt *n* waits, runs step *n* and restarts; the last step serves all further attempts.

    Args:
        steps: what to run before each restart: a callable, None for a plain restart, or ESCALATE.
        wait: a wait of tenacity, such as ``wait_exponential_jitter(initial=2, max=60)``; none if not given.
        max_attempts: beyond it the ladder gives up, or escalates if ``then_escalate``.
        counted: whether its restarts spend the supervisor's intensity.
        then_escalate: what happens after ``max_attempts``.
        crashes_too: climb for crashes and kills as well; otherwise those follow the plain rule.

    Raises:
        BadSpec: no steps, or ``max_attempts`` below 1.
    """

    def __init__(
        self,
        steps: Sequence[Step],
        wait: WaitBaseT | None = None,
        max_attempts: int | None = None,
        *,
        counted: bool = False,
        then_escalate: bool = False,
        crashes_too: bool = True,
    ) -> None:
        if not steps:
            raise BadSpec("steps", steps, "at least one step")
        if max_attempts is not None and max_attempts < 1:
            raise BadSpec("max_attempts", max_attempts, "1 or more, or None")
        self._steps = tuple(steps)
        self._wait = wait if wait is not None else tenacity.wait_none()
        self._max_attempts = max_attempts
        self._counted = counted
        self._then_escalate = then_escalate
        self._crashes_too = crashes_too

    def decide(self, exit: ChildExit) -> Decision:
        if not self._crashes_too and isinstance(exit.reason, Crash | Killed):
            return Default()
        if self._max_attempts is not None and exit.attempt > self._max_attempts:
            return Escalate(exit.reason) if self._then_escalate else GiveUp()
        step = self._steps[min(exit.attempt, len(self._steps)) - 1]
        if isinstance(step, _EscalateStep):
            return Escalate(exit.reason)
        return Restart(self.delay(exit.attempt), step, self._counted)

    def delay(self, attempt: int) -> float:
        """Seconds that attempt ``attempt`` (from 1) waits; drawn anew if the wait has jitter."""
        nothing: Any = None
        state = tenacity.RetryCallState(retry_object=nothing, fn=None, args=(), kwargs={})
        state.attempt_number = attempt
        wait: Callable[[tenacity.RetryCallState], float] = self._wait
        return float(wait(state))
