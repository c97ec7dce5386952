"""Which figures there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from bench.figures import Experiment, Figure, Suite


def suites() -> list[Suite]:
    """What every module contributes, in the order of the table."""
    from bench import api_figures, event_figures, host_figures, otp, ports

    return [host_figures.SUITE, api_figures.SUITE, ports.SUITE, otp.SUITE, event_figures.SUITE]


def figures() -> list[Figure]:
    """All of them.

    Raises:
        ValueError: two have the same name, or one asks for an experiment that does not exist.
    """
    found = [figure for suite in suites() for figure in suite.figures]
    names = [figure.name for figure in found]
    twice = {name for name in names if names.count(name) > 1}
    if twice:
        raise ValueError(f"figures with the same name: {', '.join(sorted(twice))}")
    known = {experiment.name for experiment in experiments()}
    for figure in found:
        if not figure.experiments <= known:
            raise ValueError(f"{figure.name}: no experiment {', '.join(sorted(figure.experiments - known))}")
    return found


def experiments() -> list[Experiment]:
    """All of them, in the order in which they are run."""
    return [experiment for suite in suites() for experiment in suite.experiments]


def select(wanted: Sequence[str]) -> list[Figure]:
    """The figures with these names, or with names that begin so up to a dot; all of them if none is wanted.

    Raises:
        LookupError: a name is none, with those that there are.
    """
    every = figures()
    for name in wanted:
        if not any(_matches(figure, name) for figure in every):
            known = ", ".join(figure.name for figure in every)
            raise LookupError(f"there is no figure {name!r}; there are: {known}")
    return [figure for figure in every if not wanted or any(_matches(figure, name) for name in wanted)]


def needed_by(chosen: Iterable[Figure]) -> list[Experiment]:
    """The experiments that have to run for some figures."""
    names = set().union(*(figure.experiments for figure in chosen))
    return [experiment for experiment in experiments() if experiment.name in names]


def _matches(figure: Figure, name: str) -> bool:
    return figure.name == name or figure.name.startswith(f"{name}.")
