"""README.md and README.pt-BR.md say the same, each in its language."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENGLISH, PORTUGUESE = "README.md", "README.pt-BR.md"


def text_of(name: str) -> str:
    return (ROOT / name).read_text()


def blocks(name: str) -> list[str]:
    """Commands and pictures, with their comments."""
    return re.findall(r"^```.*?^```$", text_of(name), re.MULTILINE | re.DOTALL)


def prose(name: str) -> str:
    return re.sub(r"^```.*?^```$", "", text_of(name), flags=re.MULTILINE | re.DOTALL)


def test_the_commands_are_identical() -> None:
    assert blocks(PORTUGUESE) == blocks(ENGLISH)


def test_the_chapters_are_the_same() -> None:
    levels = {name: re.findall(r"^(#+) ", prose(name), re.MULTILINE) for name in (ENGLISH, PORTUGUESE)}
    assert levels[PORTUGUESE] == levels[ENGLISH]


def first_cells(name: str) -> list[str]:
    """What each row of a table is about, where that is the same in every language."""
    return re.findall(r"^\| ((?:`|\[|[0-9]).*?) \|", prose(name), re.MULTILINE)


def test_the_tables_have_the_same_rows() -> None:
    assert first_cells(PORTUGUESE) == first_cells(ENGLISH)


def targets(name: str) -> set[str]:
    """Files, pictures among them, and addresses."""
    files = set(re.findall(r"\]\((?!https?:)([^)#]+)", text_of(name))) - {ENGLISH, PORTUGUESE}
    return files | set(re.findall(r"<(https?:[^>]+)>", text_of(name)))


def test_they_lead_to_the_same_places() -> None:
    assert targets(ENGLISH) == targets(PORTUGUESE)


@pytest.mark.parametrize(("name", "other"), [(ENGLISH, PORTUGUESE), (PORTUGUESE, ENGLISH)])
def test_each_links_to_the_other_at_its_top(name: str, other: str) -> None:
    assert f"]({other})" in text_of(name).splitlines()[0]


PAGES = (ENGLISH, *(str(file.relative_to(ROOT)) for file in sorted((ROOT / "docs").glob("*.md"))))


def pictures(page: str) -> set[Path]:
    """The picture files that a page shows."""
    shown = re.findall(r"!\[[^\]]+\]\(([^)]+\.(?:png|svg))\)", text_of(page))
    return {(ROOT / page).parent.joinpath(path).resolve() for path in shown}


def test_every_picture_that_is_shown_is_there_and_every_one_that_is_there_is_shown() -> None:
    shown = set().union(*(pictures(page) for page in PAGES))
    assert {str(file) for file in shown if not file.is_file()} == set()
    assert {file.name for file in (ROOT / "docs/images").iterdir()} <= {file.name for file in shown}
