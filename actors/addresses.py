"""Addresses of webhooks and proxies, as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def shown_url(url: str) -> str:
    """A URL without user, password, query and fragment, where keys stand.

    An ellipsis is in the query's place; a text that is no URL is one altogether.
    """
    try:
        parts = urlsplit(url)
    except ValueError:
        return "…"
    more = "…" if parts.query or parts.fragment else ""
    if "@" not in parts.netloc and not more:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=more, fragment=""))
