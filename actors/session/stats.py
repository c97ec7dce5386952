"""What one instance's connections have been through since the host started, counted in memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from actors.figures import FAILURE, SUCCESS, Durations, Figures


@dataclass(slots=True)
class Stats:
    """The counters; the instance's session alone changes them, and anybody may read them."""

    disconnections: Counter[tuple[int, str]] = field(default_factory=Counter)
    recoveries: Counter[tuple[str, str]] = field(default_factory=Counter)
    durations: Durations = field(default_factory=Durations)
    qr_codes: int = 0
    last: tuple[float, int, str] | None = None

    def disconnected(self, at: float, code: int, action: str) -> None:
        self.disconnections[code, action] += 1
        self.last = (at, code, action)

    def recovered(self, strategy: str, seconds: float) -> None:
        self.recoveries[strategy, SUCCESS] += 1
        self.durations.add(seconds)

    def not_recovered(self, strategy: str) -> None:
        self.recoveries[strategy, FAILURE] += 1

    def code_shown(self) -> None:
        self.qr_codes += 1

    def figures(self) -> Figures:
        return Figures(
            dict(self.disconnections),
            dict(self.recoveries),
            self.qr_codes,
            self.durations.total,
            self.last,
        )
