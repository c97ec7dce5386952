"""Breaks single rules of recovery, of the table of codes and of the QR phase, and sees whether a test notices.

``python -m tests.actors.mutations [--jobs N] [NAME ...]`` copies sources and tests, applies one change, runs the quick
tests of these rules, and expects them to fail. It ends with 1 if a change went unnoticed.

Every cell of the table of codes is a mutation of its own, made here; the rest stands in ``mutations.txt``.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.mutants import ROOT, Mutation, Suite, main, read

CODES = "supervisor/config/codes.py"
ROW = re.compile(r'^ {4}\((\d+), "(\w+)", (\d+), (True|False), "([^"]+)"\),$', re.MULTILINE)
NAME = re.compile(r'^ {8}(\d+): "(\w+)",$', re.MULTILINE)
CONSTANT = re.compile(r"^([A-Z_]+) = (\d{3})$", re.MULTILINE)
NAMED = re.compile(r'^ {4}([A-Z_]+): "(\w+)",$', re.MULTILINE)
OTHER_ACTION = {"logout": "reconnect", "reconnect": "logout"}


def cells() -> Iterator[Mutation]:
    """One mutation for each cell of the table of codes, and for each code's number and names."""
    text = (ROOT / CODES).read_text(encoding="utf-8")
    for found in ROW.finditer(text):
        code, action, delay, cleanup, reason = found.groups()
        row = {"action": action, "delay": delay, "cleanup": cleanup, "reason": reason}
        changes = {
            "action": OTHER_ACTION[action],
            "delay": str(int(delay) + 1),
            "cleanup": str(cleanup != "True"),
            "reason": f"not {reason}",
        }
        for column, value in changes.items():
            new = {**row, column: value}
            line = f'    ({code}, "{new["action"]}", {new["delay"]}, {new["cleanup"]}, "{new["reason"]}"),'
            yield Mutation(f"{code}: another {column}", CODES, found.group(), line)
        yield Mutation(f"{code}: no row", CODES, found.group() + "\n", "")
    for found in NAME.finditer(text):
        code, name = found.groups()
        yield Mutation(f"{code}: another name in rules", CODES, found.group(), f'        {code}: "x{name}",')
    disconnect = "actors/disconnect.py"
    text = (ROOT / disconnect).read_text(encoding="utf-8")
    codes = dict(CONSTANT.findall(text))
    for found in CONSTANT.finditer(text):
        name, code = found.groups()
        yield Mutation(f"{code}: another number", disconnect, found.group(), f"{name} = {int(code) + 100}")
    for found in NAMED.finditer(text):
        constant, name = found.groups()
        renamed = f'    {constant}: "x{name}",'
        yield Mutation(f"{codes[constant]}: another name", disconnect, found.group(), renamed)


CELLS = [*cells()]
MUTATIONS = [*CELLS, *read(Path(__file__).with_suffix(".txt"))]

SUITE = Suite(
    module="tests.actors.mutations",
    about=__doc__,
    mutations=MUTATIONS,
    source=".",
    copied=(
        "actors",
        "supervisor",
        "tests/conftest.py",
        "tests/postgres.py",
        "tests/actors",
        "tests/supervisor/config",
    ),
    stages=[
        (
            "tests/actors/session/test_machine.py",
            "tests/actors/session/test_races.py",
            "tests/actors/session/test_recall.py",
            "tests/supervisor/config/test_codes.py",
            "tests/actors/test_recovery.py",
            "tests/actors/test_disconnect.py",
        ),
        (
            "tests/actors/test_connection_waits.py",
            "tests/actors/test_reachability.py",
            "tests/actors/session/test_connection.py",
            "tests/actors/session/test_commands.py",
        ),
        (
            "tests/actors/session/test_former_device.py",
            "tests/actors/session/test_given_up.py",
            "tests/actors/test_leftovers.py",
            "tests/actors/test_metrics.py",
        ),
    ],
)

if __name__ == "__main__":
    sys.exit(main(SUITE))
