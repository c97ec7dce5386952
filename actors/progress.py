"""How far a boot has come, told now and then and at its end."""

from __future__ import annotations

from dataclasses import dataclass

SAY_EVERY = 2.0
"""Seconds between two lines at least, except for the last."""


@dataclass(slots=True)
class Progress:
    """Counts instances that have had their turn. Times are seconds of one monotonic clock.

    Attributes:
        total: how many there are.
        began: when the first was given its turn.
        done: how many have come to something: a link, a code, a failure.
    """

    total: int
    began: float
    done: int = 0
    said: float | None = None

    def step(self, now: float) -> str | None:
        """One more is done: what to say of it, if anything."""
        self.done += 1
        if self.done == self.total:
            return f"boot: all {self.total} instances have had their turn, in {now - self.began:.1f} s"
        if now - (self.began if self.said is None else self.said) < SAY_EVERY:
            return None
        self.said = now
        return f"boot: {self.done} of {self.total} instances have had their turn"
