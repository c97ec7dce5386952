"""What is wrong with a configuration, told all at once."""

from __future__ import annotations

import difflib
import errno
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

HIDDEN = "***"
"""Stands for a value that may be a secret."""

_LASTING = frozenset(
    {
        errno.EACCES,
        errno.EPERM,
        errno.ENOENT,
        errno.ENOTDIR,
        errno.EISDIR,
        errno.EEXIST,
        errno.ELOOP,
        errno.ENAMETOOLONG,
        errno.EINVAL,
        errno.ENOSYS,
        errno.EOPNOTSUPP,
    }
)
"""What stays until a person changes it: an owner, a mode, a name, the kind of file or file system."""


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake in the configuration.

    Attributes:
        section: the section's name, or "" when the mistake is outside of all sections.
        option: the key's name, or "" when the mistake is the section itself.
        value: the text that was given, with secrets replaced; None where showing it could reveal one.
        reason: what is wrong with it.
        allowed: what may stand there instead; "" when the reason says it.
        origin: where it was read: a file with its line, or an environment variable.
    """

    section: str
    option: str
    value: str | None
    reason: str
    allowed: str = ""
    origin: str = ""

    def __str__(self) -> str:
        place = f"{self.origin}: " if self.origin else ""
        name = f"[{self.section}]" if self.section else ""
        if self.option:
            name = f"{name} {self.option}".strip()
        if self.value is not None and self.option:
            name = f"{name} = {_one_line(self.value)}"
        allowed = f"; allowed: {self.allowed}" if self.allowed else ""
        return f"{place}{name}: {self.reason}{allowed}" if name else f"{place}{self.reason}{allowed}"


class ConfigError(Exception):
    """The configuration cannot be used.

    Attributes:
        problems: every mistake that was found, in the order of the sections.
    """

    def __init__(self, problems: Sequence[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = tuple(problems)


class ConfigUnreadable(ConfigError):
    """The file cannot be read just now, which may pass: what it says may be right."""


class DataDirError(Exception):
    """The data directory, or the key inside it, cannot be used safely."""


class DataDirUnavailable(DataDirError):
    """It cannot be used just now, which may pass: its file system is full, read-only, or does not answer."""


class OptionError(ValueError):
    """A rule between options is broken; raised by a section's own validator and blamed on one option."""

    def __init__(self, option: str, reason: str) -> None:
        super().__init__(reason)
        self.option = option


def may_pass(error: OSError) -> bool:
    """Whether what the system refused may be right at another time, without anybody's doing.

    Of an error that is not known either way too: to be tried again in vain costs a line in the log each time, to be
    given up in vain costs every instance until somebody looks.
    """
    return error.errno not in _LASTING


def nearest(name: str, known: Iterable[str]) -> str:
    """The known name most like this one as a phrase to add to an error, or "" when none is alike."""
    candidates = {candidate.lower(): candidate for candidate in known}
    matches = difflib.get_close_matches(name.lower(), list(candidates), n=1, cutoff=0.6)
    return f"did you mean {candidates[matches[0]]!r}?" if matches else ""


def _one_line(value: str, limit: int = 120) -> str:
    shown = value if value.isprintable() else value.encode("unicode_escape").decode("ascii")
    return shown if len(shown) <= limit else f"{shown[:limit]}… ({len(shown)} characters)"
