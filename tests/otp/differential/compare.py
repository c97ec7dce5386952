"""Comparing the two sides, one scenario or many."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as with_seed

from tests.otp.differential.oracle import Oracle
from tests.otp.differential.ours import run_scenario
from tests.otp.differential.scenario import Scenario, canonical, scenarios


class Difference(AssertionError):
    """The two sides do not agree."""


def our_trace(tree: Any, ops: list[Any]) -> Any:
    """What this library does, as JSON would tell it."""
    return canonical(json.loads(json.dumps(run_scenario(tree, ops))))


def compare(scenario: Scenario, ours: Any, theirs: Any) -> None:
    """Fail with the first step in which the traces differ."""
    if ours == theirs:
        return
    steps = ["start", *scenario[1]]
    n = next((n for n, (one, other) in enumerate(zip(ours, theirs, strict=False)) if one != other), -1)
    raise Difference(f"step {n}, {steps[n]}\nours   {ours[n]}\nErlang {theirs[n]}\nof {scenario}")


def check(oracle: Oracle, scenario: Scenario) -> None:
    """Run a scenario on both sides, at the same time, and compare."""
    oracle.send(scenario)
    try:
        ours = our_trace(*scenario)
    finally:
        theirs = oracle.receive()
    compare(scenario, ours, canonical(theirs))


def for_scenarios(count: int, seed: int, do: Callable[[Scenario], None]) -> None:
    """Do it for ``count`` scenarios; if one fails, it is made smaller before the failure is told."""

    @with_seed(seed)
    @settings(
        max_examples=count,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.generate, Phase.shrink],
        report_multiple_bugs=False,
    )
    @given(scenarios())
    def each(scenario: Scenario) -> None:
        do(scenario)

    each()
