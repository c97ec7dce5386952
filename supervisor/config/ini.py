"""Reads INI text into entries that remember their line, and reports every line that is wrong.

The dialect is the standard library's `configparser` without interpolation and without inline comments:
`[section]`, `key = value` or `key: value`, comment lines that start with `#` or `;`, and indented lines that
continue a value. Unlike it, all mistakes are found in one pass, and an error never repeats a line, which may
hold a secret.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from supervisor.config.errors import Problem

_SECTION = re.compile(r"\[([^\]]+)\]\s*")
_ENTRY = re.compile(r"([^=:\s][^=:]*?)\s*[=:]\s*(.*?)\s*")


@dataclass(frozen=True, slots=True)
class Entry:
    """One value as text, and where it stands."""

    text: str = field(repr=False)
    origin: str


Entries = dict[str, dict[str, Entry]]
"""Section to option to entry."""


@dataclass(slots=True)
class _Open:
    section: str
    option: str
    origin: str
    lines: list[str]


class IniReader:
    """Reads one text; the outcome is in its attributes.

    Attributes:
        entries: the values by section and option.
        sections: where each section starts.
        problems: the lines that are wrong.
    """

    def __init__(self, text: str, name: str) -> None:
        self.entries: Entries = {}
        self.sections: dict[str, str] = {}
        self.problems: list[Problem] = []
        self._name = name
        self._section: str | None = None
        self._open: _Open | None = None
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text.removeprefix("\ufeff")), start=1):
            self._line(line, f"{name}:{number}")
        self._close()

    def _line(self, line: str, origin: str) -> None:
        stripped = line.strip()
        if stripped.startswith(("#", ";")):
            return
        if not stripped:
            self._close()
        elif line[0].isspace():
            self._continue(stripped, origin)
        else:
            self._close()
            self._start(stripped, origin)

    def _continue(self, text: str, origin: str) -> None:
        if self._open is None:
            self._problem(origin, "an indented line that continues nothing")
        else:
            self._open.lines.append(text)

    def _start(self, text: str, origin: str) -> None:
        if section := _SECTION.fullmatch(text):
            self._enter(section[1], origin)
        elif entry := _ENTRY.fullmatch(text):
            self._option(entry[1].lower(), entry[2], origin)
        else:
            self._problem(origin, "neither [section] nor key = value")

    def _enter(self, name: str, origin: str) -> None:
        self._section = name
        self.sections.setdefault(name, origin)
        if name in self.entries:
            self.problems.append(Problem(name, "", None, "the section stands twice", origin=origin))
        self.entries.setdefault(name, {})

    def _option(self, option: str, text: str, origin: str) -> None:
        if self._section is None:
            self.problems.append(Problem("", option, None, "a key before the first section", origin=origin))
            return
        if option in self.entries[self._section]:
            self.problems.append(
                Problem(self._section, option, None, "the key stands twice in the section", origin=origin)
            )
        self._open = _Open(self._section, option, origin, [text])

    def _close(self) -> None:
        if self._open is not None:
            text = "\n".join(self._open.lines).strip()
            self.entries[self._open.section][self._open.option] = Entry(text, self._open.origin)
            self._open = None

    def _problem(self, origin: str, reason: str) -> None:
        self.problems.append(Problem(self._section or "", "", None, reason, origin=origin))
