"""How each kind of value is written in the INI: its parser, its bounds and the words that describe them.

A kind stands in a field's annotation (`Annotated[float, Seconds(0.1, 60)]`) and makes pydantic accept both
the text of an INI file and the Python value that a program gives.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, GetCoreSchemaHandler, ValidationInfo
from pydantic_core import core_schema

from supervisor.config.errors import HIDDEN, nearest

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"
_BARE = re.compile(_NUMBER)
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d)")
_DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h|d))+")
_SWITCH = {"yes": True, "on": True, "true": True, "no": False, "off": False, "false": False}
_COLOR = re.compile(r"#(?:[0-9a-fA-F]{3}|[0-9a-fA-F]{6})")


def parse_duration(text: str) -> float:
    """Seconds of `250ms`, `2s`, `5m`, `24h`, `7d`, `1h30m` or a bare number of seconds.

    Raises:
        ValueError: the text is none of these.
    """
    compact = text.strip().lower()
    if _BARE.fullmatch(compact):
        return float(compact)
    if not _DURATION.fullmatch(compact):
        raise ValueError("not a duration")
    return math.fsum(float(number) * _UNITS[unit] for number, unit in _PART.findall(compact))


def show_duration(seconds: float) -> str:
    """The shortest text that `parse_duration` reads back as these seconds, in one unit."""
    for unit in ("d", "h", "m", "s"):
        count = seconds / _UNITS[unit]
        if count >= 1 and count == int(count):
            return f"{int(count)}{unit}"
    milliseconds = round(seconds * 1000, 6)
    if milliseconds == int(milliseconds) and seconds < 1:
        return f"{int(milliseconds)}ms" if milliseconds else "0s"
    return f"{seconds:.9f}".rstrip("0").rstrip(".") + "s"


class Kind:
    """One kind of value.

    Attributes:
        allowed: what may be written, for error messages and documentation.
        secret: the value, or a part of it, must not be shown.
    """

    secret = False

    @property
    def allowed(self) -> str:
        raise NotImplementedError

    def parse(self, text: str) -> Any:
        """The value of a text without surrounding blanks; ValueError says what is wrong with it."""
        raise NotImplementedError

    def accept(self, value: Any) -> Any:
        """The value for one that is not text; ValueError when it does not fit."""
        raise ValueError(f"{type(value).__name__} does not fit here")

    def show(self, value: Any) -> str:
        """The value as it would be written in the INI, secrets included."""
        return str(value)

    def redact(self, text: str) -> str:
        """A given text as it may be shown."""
        return HIDDEN if self.secret and text else text

    def _validate(self, value: Any, _info: ValidationInfo) -> Any:
        return self.parse(value.strip()) if isinstance(value, str) else self.accept(value)

    def __get_pydantic_core_schema__(
        self, _source: Any, _handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.with_info_plain_validator_function(self._validate)


@dataclass(frozen=True, slots=True)
class Seconds(Kind):
    """A duration, kept as float seconds."""

    minimum: float
    maximum: float

    @property
    def allowed(self) -> str:
        return f"{show_duration(self.minimum)} to {show_duration(self.maximum)}, as in 250ms, 2s, 5m, 24h"

    def parse(self, text: str) -> float:
        return self._bounded(parse_duration(text))

    def accept(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError("not a duration")
        return self._bounded(float(value))

    def show(self, value: Any) -> str:
        return show_duration(value)

    def _bounded(self, seconds: float) -> float:
        if not self.minimum <= seconds <= self.maximum:
            raise ValueError("too short" if seconds < self.minimum else "too long")
        return seconds


@dataclass(frozen=True, slots=True)
class Whole(Kind):
    """A whole number within bounds."""

    minimum: int
    maximum: int

    @property
    def allowed(self) -> str:
        return f"a whole number, {self.minimum} to {self.maximum}"

    def parse(self, text: str) -> int:
        if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
            raise ValueError("not a whole number")
        return self._bounded(int(text))

    def accept(self, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError("not a whole number")
        return self._bounded(value)

    def _bounded(self, number: int) -> int:
        if not self.minimum <= number <= self.maximum:
            raise ValueError("too small" if number < self.minimum else "too large")
        return number


@dataclass(frozen=True, slots=True)
class Number(Kind):
    """A decimal number within bounds; with `percent` also written as `20%`."""

    minimum: float
    maximum: float
    percent: bool = False

    @property
    def allowed(self) -> str:
        percent = f", or {self.minimum * 100:g}% to {self.maximum * 100:g}%" if self.percent else ""
        return f"a number, {self.minimum:g} to {self.maximum:g}{percent}"

    def parse(self, text: str) -> float:
        scale = 1.0
        if self.percent and text.endswith("%"):
            text, scale = text[:-1].rstrip(), 100.0
        if not re.fullmatch(r"[+-]?[0-9]{1,15}(\.[0-9]{1,15})?", text):
            raise ValueError("not a number")
        return self._bounded(float(text) / scale)

    def accept(self, value: Any) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise ValueError("not a number")
        return self._bounded(float(value))

    def show(self, value: Any) -> str:
        return f"{value:g}"

    def _bounded(self, number: float) -> float:
        if not self.minimum <= number <= self.maximum:
            raise ValueError("too small" if number < self.minimum else "too large")
        return number


@dataclass(frozen=True, slots=True)
class Switch(Kind):
    """Yes or no."""

    @property
    def allowed(self) -> str:
        return "yes, no, on, off, true or false"

    def parse(self, text: str) -> bool:
        try:
            return _SWITCH[text.lower()]
        except KeyError:
            raise ValueError("neither yes nor no") from None

    def accept(self, value: Any) -> bool:
        if not isinstance(value, bool):
            raise ValueError("neither yes nor no")
        return value

    def show(self, value: Any) -> str:
        return "yes" if value else "no"


@dataclass(frozen=True, slots=True)
class Choice(Kind):
    """One of a few words; case does not matter."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return _either(self.words)

    def parse(self, text: str) -> str:
        return _pick(text, self.words)


@dataclass(frozen=True, slots=True)
class Words(Kind):
    """A comma-separated list of known words, kept as a tuple.

    `spell` turns a spelling that people use elsewhere into the one that is kept.
    """

    words: tuple[str, ...]
    empty_means: str = ""
    limit: int = 20
    spell: Callable[[str], str] = str.lower

    @property
    def allowed(self) -> str:
        empty = f", or empty for {self.empty_means}" if self.empty_means else ""
        return f"a list, separated by commas, of {_either(self.words)}{empty}"

    def parse(self, text: str) -> tuple[str, ...]:
        return self.accept([word for word in re.split(r"[,\s]+", text) if word])

    def accept(self, value: Any) -> tuple[str, ...]:
        if not isinstance(value, list | tuple) or not all(isinstance(word, str) for word in value):
            raise ValueError("not a list of words")
        if not value and not self.empty_means:
            raise ValueError("empty")
        if len(value) > self.limit:
            raise ValueError(f"more than {self.limit} entries")
        return tuple(_pick(self.spell(word), self.words) for word in value)

    def show(self, value: Any) -> str:
        return ", ".join(value)


@dataclass(frozen=True, slots=True)
class Text(Kind):
    """A short printable text on one line."""

    minimum: int = 1
    maximum: int = 200

    @property
    def allowed(self) -> str:
        return f"{self.minimum} to {self.maximum} printable characters on one line"

    def parse(self, text: str) -> str:
        if not self.minimum <= len(text) <= self.maximum:
            raise ValueError(f"{len(text)} characters" if text else "empty")
        if not text.isprintable():
            raise ValueError("a character that cannot be printed")
        return text


@dataclass(frozen=True, slots=True)
class Color(Kind):
    """An RGB colour that stands out on white well enough to be scanned."""

    contrast: float = 3.0

    @property
    def allowed(self) -> str:
        return f"#rgb or #rrggbb with a contrast of at least {self.contrast:g}:1 to white"

    def parse(self, text: str) -> str:
        if not _COLOR.fullmatch(text):
            raise ValueError("not a colour")
        digits = text[1:] if len(text) == 7 else "".join(digit * 2 for digit in text[1:])
        if _contrast_to_white(digits) < self.contrast:
            raise ValueError("too light to be scanned")
        return f"#{digits.lower()}"


@dataclass(frozen=True, slots=True)
class Directory(Kind):
    """A directory, kept as an absolute path; a relative one starts at the validation context's `base`."""

    @property
    def allowed(self) -> str:
        return "the path of a directory"

    def parse(self, text: str) -> Path:
        return self._absolute(text, Path.cwd())

    def accept(self, value: Any) -> Path:
        if not isinstance(value, Path):
            raise ValueError("not a path")
        return self._absolute(str(value), Path.cwd())

    def _validate(self, value: Any, _info: ValidationInfo) -> Path:
        if not isinstance(value, str | Path):
            raise ValueError("not a path")
        base = (_info.context or {}).get("base")
        return self._absolute(str(value).strip(), base if isinstance(base, Path) else Path.cwd())

    @staticmethod
    def _absolute(text: str, base: Path) -> Path:
        if not text:
            raise ValueError("empty")
        if not text.isprintable():
            raise ValueError("a character that cannot be printed")
        try:
            path = Path(text).expanduser()
        except RuntimeError:
            raise ValueError("no such user") from None
        return Path(_normal(base / path))


def kind_of(model: type[BaseModel], option: str) -> Kind:
    """How a model's option is written; KeyError when it has no such option."""
    return next(mark for mark in model.model_fields[option].metadata if isinstance(mark, Kind))


def _normal(path: Path) -> str:
    # Not resolve(): a symbolic link may be replaced later, and stays what the user wrote.
    import os.path

    return os.path.abspath(path)  # noqa: PTH100


def _either(words: Sequence[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"


def _pick(text: str, words: Sequence[str]) -> str:
    word = text.lower()
    if word in words:
        return word
    hint = nearest(word, words)
    shown = text if text.isprintable() and len(text) <= 60 else "this"
    raise ValueError(f"{shown!r} is not known" + (f" ({hint})" if hint else "") if text else "empty")


def _contrast_to_white(digits: str) -> float:
    """WCAG 2.1's contrast ratio between a colour of six hexadecimal digits and white."""
    channels = [int(digits[index : index + 2], 16) / 255 for index in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)
