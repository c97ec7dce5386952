"""Runs experiments, each several times and in turn, so that what disturbs the machine disturbs them all."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
)

from bench import machine
from bench.figures import Bench, Experiment, Figure, Unavailable
from bench.samples import Samples, Spread


@dataclass(slots=True)
class Outcome:
    """What became of an experiment.

    Attributes:
        repetitions: its series, once for each time it was done.
        failures: why it could not be done, the other times.
        left_out: why this machine cannot do it at all.
        loads: of the machine, before each.
        seconds: all that it took.
    """

    repetitions: list[Mapping[str, Samples]] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    left_out: str | None = None
    loads: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def series(self, name: str) -> list[Samples]:
        """One series, a list of samples for each repetition that has any."""
        return [done[name] for done in self.repetitions if done.get(name)]


Outcomes = Mapping[str, Outcome]


@dataclass(frozen=True, slots=True)
class Shown:
    """How far a run is: what it does now, and that one more is done."""

    note: Callable[[str], None]
    advance: Callable[[], None]


class Runner:
    """Runs, and shows how far it is.

    Args:
        console: progress goes there: a bar in a terminal, lines elsewhere.
        instances, quick: see `Bench`.
        repeat: how often, if not as often as each experiment says.
    """

    def __init__(self, console: Console, instances: int, *, quick: bool, repeat: int | None = None) -> None:
        self._console = console
        self._instances = instances
        self._quick = quick
        self._repeat = repeat

    def run(self, experiments: Sequence[Experiment]) -> Outcomes:
        """Do all of them. One that fails is noted as such, and the others go on."""
        outcomes = {experiment.name: Outcome() for experiment in experiments}
        turns = list(self._turns(experiments))
        with self._progress(len(turns)) as shown:
            for experiment, repetition in turns:
                title = f"{experiment.name} ({repetition} of {self._times(experiment)})"
                shown.note(title)
                self._once(experiment, outcomes[experiment.name], prefixed(shown.note, title))
                shown.advance()
        return outcomes

    def _once(self, experiment: Experiment, outcome: Outcome, note: Callable[[str], None]) -> None:
        outcome.loads.append(machine.load())
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="zapvisor-bench-") as scratch:
            bench = Bench(self._instances, self._quick, Path(scratch), note)
            try:
                outcome.repetitions.append(experiment.run(bench))
            except Unavailable as reason:
                outcome.left_out = str(reason)
            except Exception as error:
                outcome.failures.append(f"{type(error).__name__}: {error}".splitlines()[0])
        outcome.seconds += time.monotonic() - began

    def _turns(self, experiments: Sequence[Experiment]) -> Iterator[tuple[Experiment, int]]:
        for repetition in range(1, max(map(self._times, experiments), default=0) + 1):
            yield from ((each, repetition) for each in experiments if repetition <= self._times(each))

    def _times(self, experiment: Experiment) -> int:
        if self._repeat is not None:
            return self._repeat
        return experiment.quick if self._quick else experiment.repetitions

    @contextmanager
    def _progress(self, total: int) -> Iterator[Shown]:
        if not self._console.is_terminal:
            began = time.monotonic()
            yield Shown(
                lambda text: self._console.print(f"{time.monotonic() - began:7.1f} s  {text}"), lambda: None
            )
            return
        columns = (
            SpinnerColumn(),
            BarColumn(20),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
        )
        with Progress(*columns, console=self._console) as progress:
            task = progress.add_task("", total=total)
            yield Shown(lambda text: progress.update(task, description=text), lambda: progress.advance(task))


def prefixed(note: Callable[[str], None], title: str) -> Callable[[str], None]:
    """A note that says what it belongs to."""
    return lambda text: note(f"{title}: {text}")


@dataclass(frozen=True, slots=True)
class Compared:
    """A baseline beside a figure: how it was, and by what factor ours is better (below 1: worse)."""

    label: str
    spread: Spread | None
    factor: float | None


@dataclass(frozen=True, slots=True)
class Row:
    """A figure that was measured, or could not be."""

    figure: Figure
    ours: Spread | None
    compared: tuple[Compared, ...]


def rows(figures: Sequence[Figure], outcomes: Outcomes) -> list[Row]:
    """Read the figures off what was measured."""
    return [_row(figure, outcomes) for figure in figures]


def _row(figure: Figure, outcomes: Outcomes) -> Row:
    ours = _spread(figure, figure.ours, outcomes)
    compared = []
    for label, series in figure.baselines.items():
        theirs = _spread(figure, series, outcomes)
        compared.append(Compared(label, theirs, _factor(figure, ours, theirs)))
    return Row(figure, ours, tuple(compared))


def _spread(figure: Figure, series: tuple[str, str], outcomes: Outcomes) -> Spread | None:
    experiment, name = series
    repetitions = outcomes[experiment].series(name)
    scaled = [[sample * figure.scale for sample in samples] for samples in repetitions]
    return Spread.of(scaled, figure.reduce) if scaled else None


def _factor(figure: Figure, ours: Spread | None, theirs: Spread | None) -> float | None:
    if ours is None or theirs is None or not ours.middle or not theirs.middle:
        return None
    return ours.middle / theirs.middle if figure.higher else theirs.middle / ours.middle
