"""What a port prints, made fit for the log: whole lines, bounded in length and rate, without secrets."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterator, Sequence

MAX_LINE = 2000
"""Characters of a line that are kept."""

LINES_PER_SECOND = 20.0
BURST = 200
"""Lines that may come at once; a crash of the Go runtime prints hundreds, of which the first say why."""

_CHATTER = ("Press Ctrl+C to exit", "Login event: ")
"""What the client library prints in passing; its meaning arrives as an event."""

_SHORTEST_SECRET = 4
_HIDDEN = "***"
_LEVEL = re.compile(r"\S+ (DEBUG|INFO|WARNING|ERROR|CRITICAL) ")
"""How a port's own log records begin: logger and level."""

_PATTERNS: Sequence[tuple[re.Pattern[str], str]] = (
    # what a QR code holds: a reference, then keys; with or without the link before it
    (re.compile(r"(?:https?://wa\.me/settings/linked_devices#)?\b\d@[A-Za-z0-9+/=_,-]{16,}\S*"), "<qr code>"),
    (re.compile(r"https?://wa\.me/settings/linked_devices#\S+"), "<qr code>"),
    (re.compile(r"(?:[A-Za-z0-9+/]{20,}={0,2},){2,}\S*"), "<keys>"),
    # any 32-byte key, in base64 or in hexadecimal
    (re.compile(r"(?<![A-Za-z0-9+/])[A-Za-z0-9+/]{43}="), "<key>"),
    (re.compile(r"\b[0-9a-f]{64,}\b"), "<key>"),
    (re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]+@", re.IGNORECASE), rf"\1{_HIDDEN}@"),
)


def scrub(line: str, secrets: Sequence[str] = ()) -> str:
    """Take out what may not be shown: QR payloads, keys, passwords in URLs and the given secrets."""
    for secret in secrets:
        if len(secret) >= _SHORTEST_SECRET:
            line = line.replace(secret, _HIDDEN)
    for pattern, replacement in _PATTERNS:
        line = pattern.sub(replacement, line)
    return line


def _level(line: str) -> int:
    if line.startswith(_CHATTER):
        return logging.DEBUG
    named = _LEVEL.match(line)
    return logging.getLevelNamesMapping()[named.group(1)] if named else logging.INFO


class OutputLog:
    """Logs the output of one process, chunk by chunk.

    Args:
        log: gets each line.
        secrets: texts that must not appear.
        now: seconds of a monotonic clock.
    """

    def __init__(
        self,
        log: Callable[[int, str], None],
        secrets: Sequence[str] = (),
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self._log = log
        self._secrets = secrets
        self._now = now
        self._partial = b""
        self._skipping = False
        self._allowance = float(BURST)
        self._counted_at = now()
        self._dropped = 0

    def feed(self, data: bytes) -> None:
        """Take a chunk; its complete lines are logged."""
        for line in self._lines(data):
            self._write(line)

    def finish(self) -> None:
        """Log what is left, and how much was left out."""
        if self._partial and not self._skipping:
            self._write(self._partial)
        self._partial = b""
        self._report_dropped()

    def _lines(self, data: bytes) -> Iterator[bytes]:
        *complete, rest = (self._partial + data).split(b"\n")
        for line in complete:
            if not self._skipping:
                yield line
            self._skipping = False
        if len(rest) > MAX_LINE:
            if not self._skipping:
                yield rest
            self._skipping = True
        self._partial = b"" if self._skipping else rest

    def _write(self, raw: bytes) -> None:
        text = raw[: 4 * MAX_LINE].decode("utf-8", "replace").rstrip()
        if not text:
            return
        if not self._allowed():
            self._dropped += 1
            return
        self._report_dropped()
        safe = "".join(letter if letter.isprintable() else " " for letter in scrub(text, self._secrets))
        self._log(_level(safe), safe[:MAX_LINE])

    def _allowed(self) -> bool:
        now = self._now()
        earned = (now - self._counted_at) * LINES_PER_SECOND
        self._allowance = min(BURST, self._allowance + earned)
        self._counted_at = now
        if self._allowance < 1:
            return False
        self._allowance -= 1
        return True

    def _report_dropped(self) -> None:
        if self._dropped:
            self._log(
                logging.WARNING, f"{self._dropped} lines left out: more than {LINES_PER_SECOND:g} a second"
            )
            self._dropped = 0
