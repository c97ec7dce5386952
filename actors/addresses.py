"""Addresses of webhooks and proxies, as they may be shown."""

from __future__ import annotations

from urllib.parse import urlsplit, urlunsplit


def shown_url(url: str) -> str:
    """A URL without user, password, query and fragment, where keys stand.

    An ellipsis is in the query's place; a text that is no URL is one altogether, as is one that may have its password
    elsewhere than a URL has it (`http://user:pass/word@host`).
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "…"
    if "@" not in parts.netloc and "@" in parts.path + parts.query + parts.fragment:
        return "…"
    more = "…" if parts.query or parts.fragment else ""
    if "@" not in parts.netloc and not more:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query=more, fragment=""))
