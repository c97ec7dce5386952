"""A supervisor's state: plain records, and what can be derived from them."""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from supervisor.otp.spec import ChildSpec, Strategy, SupervisorFlags

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.otp.reasons import ExitReason
    from supervisor.otp.ref import Ref
    from supervisor.otp.timers import Timer


class Phase(enum.Enum):
    """Where a child is. RESTARTING: a start failed, the next is queued. WAITING: delayed or held."""

    RUNNING = "running"
    RESTARTING = "restarting"
    WAITING = "waiting"
    TERMINATED = "terminated"


class Child(NamedTuple):
    """One child. ``ref`` goes with RUNNING; ``timer`` and ``due`` with WAITING, None while held.

    ``awaits`` is the sibling whose delayed restart will start this one as well.
    """

    spec: ChildSpec
    phase: Phase = Phase.TERMINATED
    ref: Ref | None = None
    timer: Timer | None = None
    step: Callable[[], object] | None = None
    awaits: str | None = None
    attempt: int = 0
    restarts: int = 0
    last_exit: ExitReason | None = None

    @property
    def due(self) -> float | None:
        """When its delayed restart is due, in the clock's monotonic seconds."""
        return None if self.timer is None else self.timer.due

    @property
    def shown_state(self) -> str:
        """Its phase as users see it: ``running``, ``restarting``, ``terminated``."""
        return "restarting" if self.phase is Phase.WAITING else self.phase.value


@dataclass(slots=True)
class State:
    """One supervisor: its children in the order of start, and the times of its latest restarts."""

    flags: SupervisorFlags
    children: dict[str, Child] = field(default_factory=dict)
    restarts: deque[float] = field(default_factory=deque)

    def child_of(self, ref: Ref) -> Child | None:
        """The child that is running as ``ref``."""
        child = self.children.get(ref.path.rpartition("/")[2])
        return child if child is not None and child.ref is ref else None

    def change(self, id: str, **changes: Any) -> Child:
        """Replace fields of a child's record: the new record."""
        child = self.children[id] = self.children[id]._replace(**changes)
        return child

    def affected(self, id: str) -> list[str]:
        """Those that a restart of ``id`` stops and starts, itself included, in the order of start."""
        if self.flags.strategy is Strategy.ONE_FOR_ONE:
            return [id]
        ids = list(self.children)
        return ids if self.flags.strategy is Strategy.ONE_FOR_ALL else ids[ids.index(id) :]

    def waiting_on(self, id: str) -> list[str]:
        """Those that the delayed restart of ``id`` was to start."""
        return [child.spec.id for child in self.children.values() if child.awaits == id]

    def restarts_within_period(self, now: float) -> int:
        """How many restarts the current period holds."""
        while self.restarts and self.restarts[0] < now - self.flags.period:
            self.restarts.popleft()
        return len(self.restarts)

    def add_restart(self, now: float) -> bool:
        """Count a restart. Whether the intensity allows it."""
        self.restarts.append(now)
        return self.restarts_within_period(now) <= self.flags.intensity
