"""Breaks single rules of the library, one at a time, and sees whether a test notices.

``python -m tests.otp.mutations [--jobs N] [NAME ...]`` copies the library and its tests, applies one change, runs the
tests that need no Erlang, and expects them to fail. It ends with 1 if a change went unnoticed.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
LIBRARY = HERE.parent.parent / "supervisor" / "otp"


@dataclass(frozen=True)
class Mutation:
    """One broken rule: in ``file``, ``old`` (there exactly once) becomes ``new``."""

    name: str
    file: str
    old: str
    new: str


def read(file: Path = HERE / "mutations.txt") -> list[Mutation]:
    """The mutations in a text file: ``=== NAME (FILE)``, the old text, ``--- becomes``, the new text."""
    mutations = []
    for block in file.read_text(encoding="utf-8").split("=== ")[1:]:
        head, _, body = block.partition("\n")
        name, _, where = head.rpartition(" (")
        old, _, new = body.partition("\n--- becomes\n")
        mutations.append(Mutation(name, where.rstrip(")"), old, new.removesuffix("\n")))
    return mutations


MUTATIONS = read()


def mutate(mutation: Mutation, library: Path) -> None:
    """Apply it to a copy of the library.

    Raises:
        ValueError: the text to change is not there exactly once.
    """
    file = library / mutation.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.name}: {mutation.old!r} is {text.count(mutation.old)} times in {mutation.file}"
        )
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def is_noticed(mutation: Mutation) -> tuple[bool, str]:
    """Whether the tests fail with this mutation, and which did first."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        ignore = shutil.ignore_patterns("__pycache__", ".hypothesis")
        shutil.copytree(LIBRARY, root / "supervisor" / "otp", ignore=ignore)
        shutil.copytree(HERE, root / "tests" / "otp", ignore=ignore)
        (root / "supervisor" / "__init__.py").touch()
        (root / "tests" / "__init__.py").touch()
        mutate(mutation, root / "supervisor" / "otp")
        command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "--timeout=60"]
        command += ["-k", "not test_what_erlang_does and not mutations", "-m", "not slow", "tests/otp"]
        environment = {**os.environ, "PYTHONPATH": directory, "PYTHONDONTWRITEBYTECODE": "1"}
        done = subprocess.run(
            command, cwd=root, env=environment, capture_output=True, text=True, timeout=600, check=False
        )
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    # With --timeout a hanging test ends the whole process, with another code and without a summary.
    hung = "Timeout" in done.stdout + done.stderr
    return done.returncode == 1 or hung, failed[0] if failed else ("hung" if hung else done.stdout[-300:])


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.otp.mutations", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("names", nargs="*", help="only mutations whose name holds one of these")
    options = parser.parse_args()
    chosen = [
        one for one in MUTATIONS if not options.names or any(name in one.name for name in options.names)
    ]
    unnoticed = 0

    def run(mutation: Mutation) -> tuple[Mutation, bool, str, float]:
        began = time.monotonic()
        return (mutation, *is_noticed(mutation), time.monotonic() - began)

    with ThreadPoolExecutor(options.jobs) as pool:
        for mutation, noticed, first, seconds in pool.map(run, chosen):
            unnoticed += not noticed
            print(
                f"{'noticed  ' if noticed else 'UNNOTICED'} {seconds:5.1f} s  {mutation.name}: {first}",
                flush=True,
            )
    print(f"{len(chosen) - unnoticed} of {len(chosen)} noticed")
    return 1 if unnoticed else 0


if __name__ == "__main__":
    sys.exit(main())
