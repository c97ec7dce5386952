"""Server-sent events (HTML Living Standard, 9.2): their text, and what one client of the stream wants of them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from api.gateway import FeedEvent
from api.replies import iso
from api.streaming import Stream

MEDIA_TYPE = "text/event-stream"
RETRY = 2000
"""Milliseconds after which a browser that lost the stream comes again."""

HELLO = f"retry: {RETRY}\n\n".encode()
KEEP_ALIVE = b": keep-alive\n\n"
CHANGE = "change"
"""The message that something which the dashboard shows has changed; it has no id, since it is not replayed."""


def message(event: str, data: object, id: int | None = None) -> bytes:
    """One message."""
    head = "" if id is None else f"id: {id}\n"
    text = json.dumps(data, separators=(",", ":"), ensure_ascii=False)
    return f"{head}event: {event}\ndata: {text}\n\n".encode("utf-8", "replace")


def event_message(event: FeedEvent, server_url: str, picture: Callable[[str], str]) -> bytes:
    """A committed event as a message: the envelope of webhooks without what only a receiver needs."""
    body = {
        "id": event.id,
        "event": event.event,
        "instance": event.instance,
        "data": _with_picture(event.data, picture),
        "date_time": iso(event.at),
        "sender": event.sender,
        "server_url": server_url,
    }
    return message(event.event, body, event.seq)


def _with_picture(data: Any, picture: Callable[[str], str]) -> Any:
    code = data.get("qrcode") if data else None
    if not code or not code.get("code"):
        return data
    return {**data, "qrcode": {**code, "base64": picture(str(code["code"]))}}


def filter_name(event: str) -> str:
    """An event's name as filters spell it: `QRCODE_UPDATED` for `qrcode.updated`."""
    return event.strip().replace(".", "_").replace("-", "_").upper()


@dataclass(frozen=True, slots=True)
class Wish:
    """What a client asked for, and what it may see.

    Attributes:
        instances: names; None for all.
        events: names as filters spell them, `QRCODE_UPDATED`; None for all.
        sees: ids of the instances in its sight; None for all and the host itself.
        changes: whether it wants to hear of changes as well.
        outbox: whether it wants the events; False leaves the changes alone.
    """

    instances: frozenset[str] | None = None
    events: frozenset[str] | None = None
    sees: frozenset[str] | None = None
    changes: bool = False
    outbox: bool = True

    def wants(self, event: FeedEvent) -> bool:
        """Whether an event is for this client."""
        return (
            self.concerns(event.instance, event.instance_id)
            and self.outbox
            and (self.events is None or filter_name(event.event) in self.events)
        )

    def concerns(self, name: str, id: str | None) -> bool:
        """Whether an instance is one that it asked for and may see.

        Sight goes by the id: another instance may get the name of one that was deleted."""
        return (self.instances is None or name in self.instances) and (self.sees is None or id in self.sees)


class Client:
    """One client of the stream, as the hub's thread keeps it.

    Args:
        stream: its connection.
        wish: what it wants.
        after: the sequence number that it has.
        is_welcome: whether it may still listen; asked now and then.
        now: the monotonic clock.
    """

    def __init__(
        self, stream: Stream, wish: Wish, after: int, is_welcome: Callable[[], bool], now: float
    ) -> None:
        self.stream = stream
        self.wish = wish
        self.position = after
        self.is_behind = wish.outbox
        self.is_welcome = is_welcome
        self.since = now
        self.sent_at = now
        self._taken = 0
        self._moved_at = now

    def send(self, data: bytes, now: float) -> None:
        """Pass bytes on."""
        self.stream.send(data)
        self.sent_at = now

    def stalled_for(self, now: float) -> float:
        """Seconds for which it has taken nothing of what waits for it."""
        if self.stream.pending <= 0 or self.stream.taken > self._taken:
            self._moved_at = now
        self._taken = self.stream.taken
        return now - self._moved_at
