"""Takes as many random steps as it is told, and checks the invariants after each.

``python -m tests.actors.session [--steps N] [--seed S] [machine|tree ...]`` runs the state machines of `test_stateful`
(the session's machine alone) and `test_stateful_tree` (the real tree). A failure is made small and printed, and the
command ends with 1; the seed leads to it again.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
import traceback

from hypothesis import seed
from hypothesis.stateful import RuleBasedStateMachine, invariant, run_state_machine_as_test

from tests.actors.session import test_stateful, test_stateful_tree
from tests.actors.session.test_stateful_tree import silence
from tests.actors.session.vocabulary import budget

MACHINES: dict[str, tuple[type[RuleBasedStateMachine], int]] = {
    "machine": (test_stateful.Machine, test_stateful.STEPS_AN_EXAMPLE),
    "tree": (test_stateful_tree.Host, test_stateful_tree.STEPS_AN_EXAMPLE),
}


def run(name: str, steps: int, first_seed: int) -> None:
    """Take at least so many steps, an example being cut short wherever it ends by itself.

    Raises:
        Exception: an invariant was broken.
    """
    machine, steps_an_example = MACHINES[name]
    taken = examples = runs = 0

    class Counted(machine):  # type: ignore[valid-type]
        def __init__(self) -> None:
            nonlocal examples
            super().__init__()
            examples += 1

        @invariant()
        def count(self) -> None:
            nonlocal taken
            taken += 1

    began = time.monotonic()
    while taken < steps:
        settings = budget(max(steps - taken, steps_an_example), steps_an_example, deep=True)
        with silence():
            run_state_machine_as_test(seed(first_seed + runs)(Counted), settings=settings)
        runs += 1
    seconds = time.monotonic() - began
    print(f"{name}: {taken} steps in {examples} examples, {seconds:.1f} s: every invariant held", flush=True)


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.actors.session", description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("machines", nargs="*", metavar="|".join(MACHINES), default=list(MACHINES))
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    for name in options.machines:
        try:
            run(name, options.steps, options.seed)
        except Exception:
            traceback.print_exc()
            print(f"{name}: failed; --seed {options.seed} leads there again", flush=True)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
