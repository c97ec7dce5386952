"""Breaks single rules, one at a time, and sees whether a test notices: what `tests.otp` and `tests.actors` share.

A change is applied to a copy of the sources and the tests, and the tests are expected to fail there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TEST_TIMEOUT = 60
RUN_TIMEOUT = 600.0
NO_TEST_RAN = 5
IGNORED = shutil.ignore_patterns("__pycache__", ".hypothesis")


@dataclass(frozen=True)
class Mutation:
    """One broken rule: in ``file``, ``old`` (there exactly once) becomes ``new``."""

    name: str
    file: str
    old: str
    new: str


@dataclass(frozen=True)
class Suite:
    """Mutations, and what is run to notice them.

    Attributes:
        module: the command line is ``python -m`` of this.
        about: its description.
        mutations: each file is relative to ``source``.
        source: the folder with the files, relative to the repository.
        copied: folders and files that the tests need.
        stages: pytest's arguments; a stage is run only if those before it noticed nothing.
    """

    module: str
    about: str
    mutations: Sequence[Mutation]
    source: str
    copied: Sequence[str]
    stages: Sequence[Sequence[str]]


def read(file: Path) -> list[Mutation]:
    """The mutations in a text file: ``=== NAME (FILE)``, the old text, ``--- becomes``, the new text."""
    mutations = []
    for block in file.read_text(encoding="utf-8").split("=== ")[1:]:
        head, _, body = block.partition("\n")
        name, _, where = head.rpartition(" (")
        old, _, new = body.partition("\n--- becomes\n")
        mutations.append(Mutation(name, where.rstrip(")"), old, new.removesuffix("\n")))
    return mutations


def mutate(mutation: Mutation, folder: Path) -> None:
    """Apply it to a copy.

    Raises:
        ValueError: the text to change is not there exactly once.
    """
    file = folder / mutation.file
    text = file.read_text(encoding="utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.name}: {mutation.old!r} is {text.count(mutation.old)} times in {mutation.file}"
        )
    file.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")


def fits(mutation: Mutation, folder: Path) -> None:
    """It changes exactly one place, and what comes of it is Python."""
    text = (folder / mutation.file).read_text(encoding="utf-8")
    assert text.count(mutation.old) == 1
    assert mutation.old != mutation.new
    compile(text.replace(mutation.old, mutation.new), mutation.file, "exec")


def copy(names: Sequence[str], to: Path) -> None:
    """Folders and files of the repository, and an empty package for each folder above them that has none yet."""
    for name in names:
        target = to / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, target, ignore=IGNORED, dirs_exist_ok=True)
        else:
            shutil.copy(ROOT / name, target)
    for name in names:
        for folder in (to / name).relative_to(to).parents:
            if folder.name and not (to / folder / "__init__.py").exists():
                (to / folder / "__init__.py").touch()


def is_noticed(mutation: Mutation | None, suite: Suite) -> tuple[bool, str]:
    """Whether the tests fail with this mutation (None: with none at all), and which did first."""
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        copy(suite.copied, root)
        if mutation is not None:
            mutate(mutation, root / suite.source)
        for stage in suite.stages:
            noticed, first = fails(root, stage)
            if noticed:
                break
    return noticed, first


def fails(root: Path, arguments: Sequence[str]) -> tuple[bool, str]:
    """Whether pytest fails, and which test did first."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", "-p", "pytest_timeout"]
    command += [f"--timeout={TEST_TIMEOUT}", *arguments]
    # Other plugins are not loaded: these tests need none, and would wait longer for them than they run.
    alone = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    environment = {**os.environ, **alone, "PYTHONPATH": str(root)}
    done = subprocess.run(
        command, cwd=root, env=environment, capture_output=True, text=True, timeout=RUN_TIMEOUT, check=False
    )
    assert done.returncode != NO_TEST_RAN, done.stdout
    failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    # With --timeout a hanging test ends the whole process, with another code and without a summary.
    hung = "Timeout" in done.stdout + done.stderr
    broken = done.returncode == 2 and bool(failed)  # a module that cannot even be imported
    noticed = done.returncode == 1 or broken or hung
    return noticed, failed[0] if failed else ("hung" if hung else (done.stdout + done.stderr)[-300:])


def main(suite: Suite) -> int:
    """The command line: 0 if every change was noticed."""
    parser = argparse.ArgumentParser(prog=f"python -m {suite.module}", description=suite.about)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--part", default="1/1", help="the I-th of N equal parts, as in 2/10")
    parser.add_argument("names", nargs="*", help="only mutations whose name holds one of these")
    options = parser.parse_args()
    chosen = [
        one for one in suite.mutations if not options.names or any(name in one.name for name in options.names)
    ]
    part, parts = (int(number) for number in options.part.split("/"))
    chosen = chosen[part - 1 :: parts]
    unnoticed = 0

    def run(mutation: Mutation) -> tuple[Mutation, bool, str, float]:
        began = time.monotonic()
        return (mutation, *is_noticed(mutation, suite), time.monotonic() - began)

    with ThreadPoolExecutor(options.jobs) as pool:
        for mutation, noticed, first, seconds in pool.map(run, chosen):
            unnoticed += not noticed
            said = "noticed  " if noticed else "UNNOTICED"
            print(f"{said} {seconds:5.1f} s  {mutation.name}: {first}", flush=True)
    print(f"{len(chosen) - unnoticed} of {len(chosen)} noticed")
    return 1 if unnoticed else 0
