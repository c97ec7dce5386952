"""What the client library's error texts mean.

The library is written in Go and hands its errors over as text only, so their meaning is read from the texts
of Go's `net`, `crypto/tls`, `net/http` and `database/sql` and of whatsmeow. What is not recognised is called
unknown, and a session store that fails for an unknown reason counts as unavailable: only a certain loss may
cost a session.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus

from actors.port import events
from actors.port.events import DialCause, StoreFault

_DIAL_PREFIXES = ("failed to dial whatsapp web websocket", "noise handshake failed")

_PROXY = ("proxyconnect ", "socks connect", "unsupported proxy scheme", "unknown status code", "proxy: ")
_DIAL_TEXTS: Sequence[tuple[DialCause, tuple[str, ...]]] = (
    ("dns", ("no such host", "server misbehaving", "lookup ")),
    ("tls", ("tls: ", "x509: ", "failed to verify server cert", "failed to verify certificate")),
    ("refused", ("connection refused", "expected handshake response status code")),
    ("slow", ("timeout", "timed out", "deadline exceeded")),
    ("reset", ("connection reset", "broken pipe", "EOF", "closed network connection", "connection aborted")),
    ("unreachable", ("network is unreachable", "no route to host", "host is down", "network is down")),
)
_SLOW_TLS = "TLS handshake timeout"
_PROXY_ANSWERS = frozenset(status.phrase.casefold() for status in HTTPStatus if status >= 300)

_CORRUPT = (
    "database disk image is malformed",
    "not a database",
    "illegal length",
    "file is encrypted",
    "database or disk is corrupt",
)


def is_dial_error(text: str) -> bool:
    """Tell whether an error of `connect()` is about the connection, not about the session store."""
    return text.startswith(_DIAL_PREFIXES) or is_proxy_setting_error(text)


def is_proxy_setting_error(text: str) -> bool:
    """Tell whether the proxy's URL itself was refused."""
    return text.startswith(("unsupported proxy scheme", "parse ", "proxy: "))


def dial_cause(text: str) -> DialCause:
    """Give the cause of a failed dial from its text."""
    if is_proxy_setting_error(text) or any(mark in text for mark in _PROXY) or _is_proxy_answer(text):
        return "proxy"
    if _SLOW_TLS in text:
        return "slow"
    for cause, marks in _DIAL_TEXTS:
        if any(mark in text for mark in marks):
            return cause
    return "unknown"


def store_fault(text: str) -> StoreFault:
    """Tell a broken session store from one that cannot be used just now."""
    return "corrupt" if any(mark in text for mark in _CORRUPT) else "unavailable"


def _is_proxy_answer(text: str) -> bool:
    """A proxy that refuses CONNECT shows up as nothing but its status line's phrase after the request."""
    _, quoted, rest = text.rpartition('": ')
    return bool(quoted) and rest.strip().casefold() in _PROXY_ANSWERS


_PAIR_ERROR = "Failed to pair device: "
_FAILURE_NODE = re.compile(r"(?:Unknown|Temporary ban) connect failure: <failure\b([^>]*)>")
_ATTRIBUTE = re.compile(r'([\w-]+)="([^"]*)"')


def failure_attributes(log_text: str) -> dict[str, str] | None:
    """Read the `<failure>` stanza from whatsmeow's log record about it, or None for any other record.

    The library cannot pass on a failure whose code it has no name for; the log record is then all there is.
    """
    match = _FAILURE_NODE.search(log_text)
    return None if match is None else dict(_ATTRIBUTE.findall(match.group(1)))


def pair_error(log_text: str) -> str | None:
    """Read from whatsmeow's log record why a pairing failed, or None for any other record."""
    return log_text.removeprefix(_PAIR_ERROR) if log_text.startswith(_PAIR_ERROR) else None


_STREAM_ERRORS = {"Got 515 code, reconnecting": "515", "Got 503 stream error": "503"}
_SERVER_FAILURE = re.compile(r"Got (500|503)/(.*) connect failure")
_LOGGED_OUT = re.compile(
    r"Got (?:(\d{3})\b.* connect failure|device removed stream error), .*deleting session"
)
_LOST_AFTER_515 = "Failed to reconnect after 515 code: "


def untold(log_text: str) -> events.Event | None:
    """Read from whatsmeow's log record what it makes no event of, or None for any other record.

    A server in trouble shows up as nothing but a closed socket. And a client that was told to connect anew does not say
    that it does, nor that it could not, and then does not try again: without its log it would look connected for ever.
    """
    for text, code in _STREAM_ERRORS.items():
        if log_text.startswith(text):
            return events.StreamError(code)
    if log_text.startswith(_LOST_AFTER_515):
        error = log_text.removeprefix(_LOST_AFTER_515)
        return events.DialFailed(error, dial_cause(error))
    failure = _SERVER_FAILURE.match(log_text)
    return None if failure is None else events.ConnectFailure(int(failure[1]), failure[2])


def logged_out(log_text: str) -> events.LoggedOut | None:
    """Read from whatsmeow's log record that it is about to delete the session, or None for any other record.

    Whether a code costs the session is not the library's to say.
    """
    match = _LOGGED_OUT.match(log_text)
    return None if match is None else events.LoggedOut(match[1] is not None, int(match[1] or 401))
