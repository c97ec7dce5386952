"""`docs/invariants.md` names tests that are there, and whose docstrings name their invariant."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENT = (ROOT / "docs" / "invariants.md").read_text(encoding="utf-8")
ROWS = {int(row[0]): row[1] for row in re.findall(r"^\| (\d+) \|.*\| ([^|]+) \|$", DOCUMENT, re.MULTILINE)}
NAMED = re.compile(r"\bInvariants? ((?:\d+(?:, | and )?)+)")


@cache
def parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def docstring(reference: str) -> str:
    """The docstring of the function or class that `FILE::NAME` or `FILE::CLASS::NAME` is; fails if there is none."""
    file, *names = reference.split("::")
    found: ast.AST = parsed(ROOT / file)
    for name in names:
        inside = [node for node in getattr(found, "body", []) if getattr(node, "name", None) == name]
        assert inside, f"{reference}: there is no {name}"
        [found] = inside
    assert isinstance(found, ast.FunctionDef | ast.ClassDef), reference
    return ast.get_docstring(found) or ""


def numbers(text: str) -> set[int]:
    return {int(number) for list_ in NAMED.findall(text) for number in re.findall(r"\d+", list_)}


def test_there_are_fifteen() -> None:
    assert sorted(ROWS) == list(range(1, 16))


@pytest.mark.parametrize("number", range(1, 16))
def test_each_names_tests_that_are_there_and_that_name_it(number: int) -> None:
    references = re.findall(r"`(tests/[^`]+)`", ROWS[number])
    assert references
    assert ROWS[number].count("`") == 2 * len(references), "each is written in full"
    for reference in references:
        assert number in numbers(docstring(reference)), f"{reference} does not name invariant {number}"


def test_every_other_file_it_speaks_of_is_there() -> None:
    text = DOCUMENT.partition("## ")[2]
    for name in re.findall(r"`(tests/[\w/]+\.py)`", text):
        assert (ROOT / name).is_file(), name
