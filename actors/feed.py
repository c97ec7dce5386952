"""Committed events for those who read along, without keeping anything for them: the outbox is their memory."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from peewee import fn

from actors.events import PATH, Committed, Listen
from actors.store import Tx
from actors.store.outbox import EVENT_TOPIC, events_after
from actors.store.rows import EventRow
from actors.store.tables import EventTable
from supervisor.otp import System


@dataclass(frozen=True, slots=True)
class FeedEvent:
    """A committed event.

    Attributes:
        seq: grows with each commit: where a reader resumes.
        id: the event's own id, the same as in webhooks.
        data: as in webhooks, with the QR code while it is of use, but without its picture.
        at: seconds since the epoch.
    """

    seq: int
    id: str
    instance_id: str | None
    instance: str
    event: str
    data: Mapping[str, Any] | None = field(repr=False)
    sender: str | None
    at: float


def newest(tx: Tx) -> int:
    """The sequence number of the latest event; 0 when there is none."""
    return int(tx.scalar(EventTable.select(fn.MAX(EventTable.seq))) or 0)


def after(tx: Tx, seq: int, limit: int) -> Sequence[FeedEvent]:
    """Events behind a sequence number, in their order.

    Args:
        limit: how many at most.
    """
    return [_event(row, tx.now) for row in events_after(tx, seq, limit)]


def on_commit(system: System, callback: Callable[[], object], timeout: float) -> Callable[[], object]:
    """Have a function called after each commit of events, on the bus's thread; it must not block.

    Returns:
        A function that ends it.

    Raises:
        CallError: the bus does not answer.
    """

    def committed(notice: Committed) -> None:
        if EVENT_TOPIC in notice.topics:
            callback()

    end: Callable[[], object] = system.call(PATH, Listen(committed), timeout)
    return end


def _event(row: EventRow, now: float) -> FeedEvent:
    return FeedEvent(
        row.seq,
        row.id,
        row.instance_id,
        row.instance_name,
        row.event,
        _data(row, now),
        row.sender,
        row.created_at,
    )


def _data(row: EventRow, now: float) -> Mapping[str, Any] | None:
    """The event's data with what was set apart because it must not outlive its use."""
    code = (row.data or {}).get("qrcode")
    in_time = row.secret is not None and (row.secret_until is None or now < row.secret_until)
    if not in_time or not isinstance(code, Mapping):
        return row.data
    return {**(row.data or {}), "qrcode": {**code, **(row.secret or {})}}
