"""Takes secrets out of what is going to be written down: logs, error texts, the output of foreign code.

Three nets, each with its own holes: names of fields that hold secrets, values that were registered as secret,
and the shapes that secrets of this trade have (the text of a WhatsApp QR code, an `apikey` header, a password
in a URL).
"""

from __future__ import annotations

import math
import re
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import quote

MASK = "***"

TEXT_LIMIT = 2_000
"""Characters of one value; what is longer is cut, and the cut is told."""

_SCAN_LIMIT = 64 * 1024
_LONGEST = 4096
"""Characters that no secret exceeds: none longer fits into a header."""

_ITEMS_LIMIT = 50
_DEPTH_LIMIT = 4
_SHORTEST = 4
"""Registered values shorter than this are ignored: masking them would riddle every line."""

_SECRET_NAMES = frozenset(
    {
        "accesstoken",
        "apikey",
        "authorization",
        "base64",
        "cookie",
        "hash",
        "jwtkey",
        "pairingcode",
        "passwd",
        "password",
        "proxyauthorization",
        "proxypassword",
        "qr",
        "qrcode",
        "secret",
        "setcookie",
        "token",
        "xzapvisorsignature",
    }
)

_PAIRING_CODE = re.compile(r"(?=.*[A-Z])[A-Z0-9]{4}-?[A-Z0-9]{4}")

_SHAPES: tuple[tuple[re.Pattern[str], str], ...] = (
    # The text of a QR code: a reference and three base64 keys.
    (re.compile(r"\b\d@[A-Za-z0-9+/=_-]{20,}(?:,[A-Za-z0-9+/=_-]+)*"), "[qr code]"),
    (re.compile(r"data:image/[a-z+]{1,10};base64,[A-Za-z0-9+/=]+"), "[image]"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]{1,15}://)[^\s/?#@\"'<>]+@", re.IGNORECASE), rf"\1{MASK}@"),
    (
        re.compile(
            r"(\b(?:proxy-)?authorization|\bapi[_-]?key|\bjwt_key|\bpassw(?:or)?d|\bset-cookie|\bcookie"
            r"|\bx-zapvisor-signature)(\\?[\"']?\s*[:=,]\s*(?:b?\\?[\"'])?)(?:(?:Bearer|Basic)\s+)?[^\s\"',;&}\])\\]+",
            re.IGNORECASE,
        ),
        rf"\1\2{MASK}",
    ),
    (re.compile(r"\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{8,}"), rf"\1 {MASK}"),
)


class Redactor:
    """Masks secrets in texts and in structured values.

    It may be used from any thread; registering is done under a lock, masking takes none. Neither costs more for
    there being thousands of values: they are found by how they begin.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._kept: dict[tuple[str, str], frozenset[str]] = {}
        self._owners: Counter[str] = Counter()
        self._by_head: dict[str, tuple[str, ...]] = {}

    def register(self, value: str) -> None:
        """From now on the value is masked wherever it occurs, also in its URL-encoded form."""
        self._keep(("value", value), [value])

    def forget(self, value: str) -> None:
        """The value is no longer a secret, since what it opened is gone."""
        self._keep(("value", value), ())

    def keep(self, owner: str, values: Iterable[str]) -> None:
        """These are the owner's secrets now, and no others; none forgets the owner.

        A value that several owners have, or that was registered as well, is masked until the last of them goes.
        """
        self._keep(("owner", owner), values)

    def text(self, text: str, limit: int = TEXT_LIMIT) -> str:
        """The text without secrets, cut to a limit."""
        scanned = self._without_values(text[:_SCAN_LIMIT])
        for shape, replacement in _SHAPES:
            scanned = shape.sub(replacement, scanned)
        if len(text) > _SCAN_LIMIT:
            # What the cut halved had no shape and no match; it is in the last piece, which goes.
            scanned = scanned[:-_LONGEST]
        if len(scanned) > limit or len(text) > _SCAN_LIMIT:
            return f"{scanned[:limit]}… ({len(text)} characters)"
        return scanned

    def field(self, name: str, value: Any, depth: int = 0) -> Any:
        """A named field's value: a number, truth or text, or lists and mappings of these, all bounded."""
        if _is_secret(name, value):
            return MASK
        if value is None or isinstance(value, bool | int):
            return value
        if isinstance(value, float):
            return value if math.isfinite(value) else str(value)
        if depth < _DEPTH_LIMIT and isinstance(value, Mapping):
            return self.fields(value, depth + 1)
        if depth < _DEPTH_LIMIT and isinstance(value, list | tuple | set | frozenset):
            return [self.field(name, item, depth + 1) for item in list(value)[:_ITEMS_LIMIT]]
        return self.text(value if isinstance(value, str) else _described(value))

    def fields(self, values: Mapping[Any, Any], depth: int = 0) -> dict[str, Any]:
        """The same for each field of a mapping."""
        items = list(values.items())[:_ITEMS_LIMIT]
        return {self.text(str(name), 100): self.field(str(name), value, depth) for name, value in items}

    def _without_values(self, text: str) -> str:
        by_head = self._by_head
        if not by_head:
            return text
        pieces: list[str] = []
        done, at, last = 0, 0, len(text) - _SHORTEST
        while at <= last:
            candidates = by_head.get(text[at : at + _SHORTEST], ())
            found = next((value for value in candidates if text.startswith(value, at)), None)
            if found is None:
                at += 1
                continue
            pieces += text[done:at], MASK
            done = at = at + len(found)
        return "".join([*pieces, text[done:]])

    def _keep(self, owner: tuple[str, str], values: Iterable[str]) -> None:
        long_enough = [value for value in values if len(value) >= _SHORTEST]
        now = frozenset(form for value in long_enough for form in (value, quote(value, safe="")))
        with self._lock:
            before = self._kept.pop(owner, frozenset())
            if now:
                self._kept[owner] = now
            for value in now - before:
                self._owners[value] += 1
                if self._owners[value] == 1:
                    self._file(value, known=True)
            for value in before - now:
                self._owners[value] -= 1
                if not self._owners[value]:
                    del self._owners[value]
                    self._file(value, known=False)

    def _file(self, value: str, *, known: bool) -> None:
        """Change the values that begin like this one: a new tuple, for somebody may be reading the old."""
        head = value[:_SHORTEST]
        others = [other for other in self._by_head.get(head, ()) if other != value]
        # Longest first, or a secret that starts like another would be masked only in part.
        filed = tuple(sorted([*others, value] if known else others, key=len, reverse=True))
        if filed:
            self._by_head[head] = filed
        else:
            del self._by_head[head]


def one_line(text: str) -> str:
    """The text with everything escaped that could end a line, start another or steer a terminal."""
    if text.isprintable():
        return text
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode("ascii")
        for character in text
    )


def _is_secret(name: str, value: Any) -> bool:
    plain = re.sub(r"[^a-z0-9]", "", name.lower())
    if plain in _SECRET_NAMES:
        return value not in (None, "", True, False) and not isinstance(value, Mapping)
    return plain == "code" and isinstance(value, str) and _PAIRING_CODE.fullmatch(value) is not None


def _described(value: Any) -> str:
    try:
        return str(value)
    except Exception as error:  # noqa: BLE001 - a broken __str__ must not cost the line
        return f"<{type(value).__name__}: {type(error).__name__} in __str__>"
