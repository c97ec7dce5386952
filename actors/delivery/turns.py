"""What a lane tells itself, and what it makes of an attempt."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from actors.store.outbox import Settlement


@dataclass(frozen=True, slots=True)
class Settled:
    """The store's answer to the settlements on their way."""

    settlements: Sequence[Settlement]
    error: Exception | None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What an attempt means: what to record, and after how many seconds to try again, if at all."""

    settlement: Settlement
    delay: float | None = None


@dataclass(frozen=True, slots=True)
class Wake:
    """Time to look what is due."""


@dataclass(frozen=True, slots=True)
class IdleCheck:
    """Time to look whether there was nothing to do."""


@dataclass(frozen=True, slots=True)
class Stable:
    """The lane has run long enough to be called well."""
