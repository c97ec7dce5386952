"""What can be measured: experiments that run, and the figures that are read off them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bench.samples import Reduce, Samples, median

Series = tuple[str, str]
"""An experiment's name, and the name of one of its series."""


class Unavailable(Exception):
    """This machine has not what an experiment needs: it is left out, which is no failure."""


@dataclass(frozen=True, slots=True)
class Bench:
    """What an experiment is given.

    Attributes:
        instances: how many, where the number matters.
        quick: only whether it works; the figures are worth little.
        scratch: an empty directory of the experiment's own.
        note: tells people what is going on now.
    """

    instances: int
    quick: bool
    scratch: Path
    note: Callable[[str], None]

    def pick(self, full: int, quick: int) -> int:
        """A number for a full run, or for a quick one."""
        return quick if self.quick else full


@dataclass(frozen=True, slots=True)
class Experiment:
    """Something that is done, and measured all through.

    Attributes:
        run: does it once; gives its series, each a list of samples.
        repetitions: how often it is done.
        quick: how often in a quick run.
    """

    name: str
    run: Callable[[Bench], Mapping[str, Samples]]
    repetitions: int = 5
    quick: int = 2


@dataclass(frozen=True, slots=True)
class Figure:
    """One row of the table.

    Attributes:
        name: to ask for it by; a prefix up to a dot asks for all that have it.
        ours: the series it is read off.
        baselines: what it is compared with, by a short text.
        unit: of the samples, after `scale`.
        scale: the samples are multiplied with it.
        reduce: how the samples of one repetition become its value.
        higher: more is better.
        aim: what it should be, in words.
    """

    name: str
    title: str
    unit: str
    ours: Series
    baselines: Mapping[str, Series] = field(default_factory=dict)
    scale: float = 1.0
    reduce: Reduce = median
    higher: bool = False
    aim: str = ""

    @property
    def experiments(self) -> set[str]:
        """The names of those that have to run for it."""
        return {self.ours[0], *(series[0] for series in self.baselines.values())}


@dataclass(frozen=True, slots=True)
class Suite:
    """What one module of this package contributes."""

    experiments: tuple[Experiment, ...]
    figures: tuple[Figure, ...]
