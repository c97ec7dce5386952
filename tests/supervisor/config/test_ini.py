"""The INI dialect is configparser's, but every mistake is found and no line is repeated."""

from __future__ import annotations

from configparser import ConfigParser

from hypothesis import given
from hypothesis import strategies as st

from supervisor.config.ini import IniReader

NAMES = st.text("abcxyz_.0123456789", min_size=1, max_size=8).filter(lambda name: name.strip("."))
VALUES = (
    st.text("abc XYZ019:=[]#;%$/@", max_size=20)
    .map(str.strip)
    .filter(lambda value: value[:1] not in ("", "#", ";"))
)


def read(text: str) -> dict[str, dict[str, str]]:
    entries = IniReader(text, "x.ini").entries
    return {section: {key: entry.text for key, entry in keys.items()} for section, keys in entries.items()}


def problems(text: str) -> list[str]:
    return [str(problem) for problem in IniReader(text, "x.ini").problems]


@given(st.dictionaries(NAMES, st.dictionaries(NAMES, st.lists(VALUES, max_size=3), max_size=4), max_size=4))
def test_it_reads_what_configparser_reads(document: dict[str, dict[str, list[str]]]) -> None:
    text = "".join(
        f"[{section}]\n" + "".join(f"{key} = " + "\n  ".join(lines) + "\n" for key, lines in keys.items())
        for section, keys in document.items()
    )
    reference = ConfigParser(
        interpolation=None, empty_lines_in_values=False, default_section="-", inline_comment_prefixes=None
    )
    reference.read_string(text)
    assert read(text) == {section: dict(reference[section]) for section in reference.sections()}


@given(st.text())
def test_no_text_breaks_the_reader(text: str) -> None:
    IniReader(text, "x.ini")


def test_comments_blanks_cases_and_continuations() -> None:
    text = "\ufeff# c\r\n; c\r\n[a]\r\nKey = 1\n  # c\n  2\n\nb: #no;comment\n"
    assert read(text) == {"a": {"key": "1\n2", "b": "#no;comment"}}


def test_entries_know_their_line() -> None:
    assert IniReader("[a]\n\nkey = 1\n", "x.ini").entries["a"]["key"].origin == "x.ini:3"


def test_every_mistake_is_found_in_one_pass() -> None:
    text = "stray = 1\n[a]\nnonsense secret\n[b]\nx = 1\nx = 2\n[a]\n\n  indented\n"
    assert problems(text) == [
        "x.ini:1: stray: a key before the first section",
        "x.ini:3: [a]: neither [section] nor key = value",
        "x.ini:6: [b] x: the key stands twice in the section",
        "x.ini:7: [a]: the section stands twice",
        "x.ini:9: [a]: an indented line that continues nothing",
    ]


@given(st.text("\n[]=: ", max_size=40), st.integers(0, 40))
def test_no_problem_repeats_what_stands_in_the_file(frame: str, at: int) -> None:
    secret = "s3cr3t"
    assert not [text for text in problems(frame[:at] + secret + frame[at:]) if f"= {secret}" in text]
