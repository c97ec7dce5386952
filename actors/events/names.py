"""How an event is called: `qrcode.updated` on the wire, `QRCODE_UPDATED` in filters, `qrcode-updated` in URLs.

The three spellings are those of Evolution API's webhooks; a filter may hold any of them.
"""

from __future__ import annotations

from collections.abc import Iterable


def filter_name(event: str) -> str:
    """The spelling of filters: `QRCODE_UPDATED`."""
    return event.strip().replace(".", "_").replace("-", "_").upper()


def path_suffix(event: str) -> str:
    """The spelling of URLs: `qrcode-updated`."""
    return filter_name(event).replace("_", "-").lower()


def wanted(event: str, chosen: Iterable[str] | None) -> bool:
    """Whether a filter lets an event through; one that names nothing lets all through."""
    names = {filter_name(name) for name in chosen or ()}
    return not names or filter_name(event) in names
