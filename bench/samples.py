"""Samples and what is said of them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

Samples = Sequence[float]
Reduce = Callable[[Samples], float]
"""How the samples of one repetition become its one value."""


def quantile(samples: Samples, share: float) -> float:
    """The sample below which a share of them lies (nearest rank).

    Raises:
        ValueError: there are none.
    """
    if not samples:
        raise ValueError("no samples")
    ordered = sorted(samples)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def median(samples: Samples) -> float:
    """The middle."""
    return statistics.median(samples)


def p99(samples: Samples) -> float:
    """All but one in a hundred are at most this."""
    return quantile(samples, 0.99)


def worst(samples: Samples) -> float:
    """The largest."""
    return max(samples)


@dataclass(frozen=True, slots=True)
class Spread:
    """The values of several repetitions."""

    low: float
    middle: float
    high: float
    repetitions: int
    samples: int

    @classmethod
    def of(cls, repetitions: Sequence[Samples], reduce: Reduce) -> Spread:
        """Reduce each repetition, and say how far they lie apart."""
        values = [reduce(samples) for samples in repetitions]
        count = sum(len(samples) for samples in repetitions)
        return cls(min(values), statistics.median(values), max(values), len(values), count)


def plain(value: float) -> str:
    """A number for people: three significant digits, and no more zeros than it takes."""
    if value == 0 or not math.isfinite(value):
        return f"{value:g}"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
