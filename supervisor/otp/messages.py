"""What the library itself sends to actors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from supervisor.otp.reasons import ExitReason
    from supervisor.otp.ref import Ref


class Monitor:
    """One watch of one actor on another; ends with a `Down`, with ``demonitor``, or with the watching actor."""

    __slots__ = ("cancelled", "ref")

    def __init__(self, ref: Ref) -> None:
        self.ref = ref
        self.cancelled = False

    def cancel(self) -> None:
        """Deliver no `Down` any more, not even one that is queued."""
        self.cancelled = True
        self.ref._process.unwatch(self)


@dataclass(frozen=True, slots=True)
class Down:
    """A monitored actor ended (OTP: ``'DOWN'``), delivered to ``handle_info`` once."""

    monitor: Monitor
    ref: Ref
    path: str
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class ExitSignal:
    """A linked actor ended (OTP: ``'EXIT'``), delivered to ``handle_info`` of an actor that traps exits."""

    ref: Ref
    path: str
    reason: ExitReason
