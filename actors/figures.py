"""The counters of one instance's connections, as others see them."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

SUCCESS = "success"
FAILURE = "failure"
"""What came of an attempt to bring a lost connection back."""


RECOVERY_BOUNDS = (0.01, 0.05, 0.1, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1800, 3600)
"""Seconds up to which recoveries are counted together."""


@dataclass(slots=True)
class Durations:
    """How long recoveries took: a histogram.

    Attributes:
        counts: how many were within each of `RECOVERY_BOUNDS` and not within the one before; the last, above all.
        total: seconds, of all together.
    """

    counts: list[int] = field(default_factory=lambda: [0] * (len(RECOVERY_BOUNDS) + 1))
    total: float = 0.0

    def add(self, seconds: float) -> None:
        """Count one."""
        self.counts[bisect_left(RECOVERY_BOUNDS, seconds)] += 1
        self.total += seconds

    def absorb(self, other: Durations) -> None:
        """Count all that another has counted."""
        self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
        self.total += other.total


@dataclass(frozen=True, slots=True)
class Figures:
    """A snapshot of `Stats`.

    Attributes:
        by_code_and_action: disconnections.
        by_strategy_and_result: attempts to recover, by what was tried and whether it brought the connection back.
        qr_codes: codes shown.
        recovery_seconds: how long the successful recoveries took, together.
        last: time (seconds since the epoch), code and action of the latest disconnection.
    """

    by_code_and_action: Mapping[tuple[int, str], int] = field(default_factory=dict)
    by_strategy_and_result: Mapping[tuple[str, str], int] = field(default_factory=dict)
    qr_codes: int = 0
    recovery_seconds: float = 0.0
    last: tuple[float, int, str] | None = None

    @property
    def disconnections(self) -> int:
        """All of them."""
        return sum(self.by_code_and_action.values())

    @property
    def by_code(self) -> Mapping[int, int]:
        """Disconnections by code."""
        counts: Counter[int] = Counter()
        for (code, _), count in self.by_code_and_action.items():
            counts[code] += count
        return counts

    @property
    def by_action(self) -> Mapping[str, int]:
        """Disconnections by what was done about them."""
        counts: Counter[str] = Counter()
        for (_, action), count in self.by_code_and_action.items():
            counts[action] += count
        return counts

    @property
    def recoveries(self) -> int:
        """Disconnections that were followed by an open connection."""
        return sum(count for (_, result), count in self.by_strategy_and_result.items() if result == SUCCESS)

    @property
    def reconnection_rate(self) -> float | None:
        """The share of disconnections that were recovered, 0 to 1; None when there was none."""
        return min(1.0, self.recoveries / self.disconnections) if self.disconnections else None
