"""``python -m tests.otp.differential compare|record [--count N] [--seed N]``; both need Erlang.

``compare`` runs scenarios on both sides and ends with 1 at the first difference. ``record`` replaces the recording
that the tests replay where there is no Erlang.
"""

from __future__ import annotations

import argparse
import secrets
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.otp.differential import recorded
from tests.otp.differential.compare import check, for_scenarios
from tests.otp.differential.oracle import Oracle, why_missing
from tests.otp.differential.scenario import Scenario, canonical


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.otp.differential", description=__doc__)
    parser.add_argument("command", choices=("compare", "record"))
    parser.add_argument("--count", type=int, default=500, help="scenarios (default: 500)")
    parser.add_argument("--seed", type=int, default=None, help="default: a new one, printed")
    options = parser.parse_args()
    missing = why_missing()
    if missing is not None:
        print(missing, file=sys.stderr)
        return 2
    seed = secrets.randbelow(2**32) if options.seed is None else options.seed
    with tempfile.TemporaryDirectory() as directory:
        oracle = Oracle(Path(directory))
        try:
            return _COMMANDS[options.command](oracle, options.count, seed)
        finally:
            oracle.close()


def _compare(oracle: Oracle, count: int, seed: int) -> int:
    began = time.monotonic()
    done = 0

    def one(scenario: Scenario) -> None:
        nonlocal done
        check(oracle, scenario)
        done += 1

    for_scenarios(count, seed, one)
    print(f"{done} scenarios with seed {seed}: no difference, {time.monotonic() - began:.1f} s")
    return 0


def _record(oracle: Oracle, count: int, seed: int) -> int:
    records: list[tuple[Scenario, Any]] = []

    def one(scenario: Scenario) -> None:
        trace = canonical(oracle.run(scenario))
        if _is_telling(trace) and len(records) < count:
            records.append((scenario, trace))

    for_scenarios(count * 4, seed, one)
    recorded.write(records)
    print(
        f"{len(records)} scenarios with seed {seed} in {recorded.FILE}, {recorded.FILE.stat().st_size} bytes"
    )
    return 0


def _is_telling(trace: Any) -> bool:
    """Whether enough happens after the start and before the stop to be worth keeping."""
    return sum(bool(events) for _, events, _ in trace[1:-1]) >= 2


_COMMANDS = {"compare": _compare, "record": _record}

if __name__ == "__main__":
    sys.exit(main())
