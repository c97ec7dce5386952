"""Which values of an instance must never be written down: its token, and the passwords of its settings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote, urlsplit

from actors.store import Instance

COLUMNS = frozenset({"token", "webhook", "proxy", "chatwoot"})
"""The columns of an instance's row that hold secrets."""

_PLAIN_HEADERS = frozenset({"accept", "content-type", "user-agent"})
"""Headers of a webhook whose values are no secret; any other may hold a key."""


def secrets_of(row: Instance) -> frozenset[str]:
    """The secrets among an instance's columns; the empty text is none."""
    return frozenset(filter(None, _values(row)))


def _values(row: Instance) -> Iterator[str]:
    yield row.token
    yield _text(row.proxy, "password")
    yield _text(row.chatwoot, "token")
    yield from _passwords(_text(row.webhook, "url"))
    yield from _passwords(_text(row.chatwoot, "url"))
    for name, value in dict(row.webhook.get("headers") or {}).items():
        if str(name).lower() not in _PLAIN_HEADERS:
            yield str(value)


def _text(settings: Mapping[str, Any], key: str) -> str:
    return str(settings.get(key) or "")


def _passwords(url: str) -> Iterator[str]:
    """The password of a URL, as it stands there and decoded."""
    try:
        password = urlsplit(url).password or ""
    except ValueError:
        return
    yield from (password, unquote(password))
