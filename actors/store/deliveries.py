"""Deliveries as people see and mend them: pages, replays, and what waits when a webhook is changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from peewee import Value, fn

from actors.addresses import shown_url
from actors.store.outbox import LANE_TOPIC, WITHDRAWN_TOPIC, Target, enqueue
from actors.store.retention import FAILED, PENDING
from actors.store.rows import DeliveryStatus
from actors.store.tables import DeliveryTable, EventTable, delete_from
from actors.store.tx import Tx

REPLAY_CHUNK = 500
"""Deliveries that one unit replays."""

MAX_EVENTS = 500
"""Events that one replay can name; databases limit a statement's parameters."""


@dataclass(frozen=True, slots=True)
class DeliveryView:
    """A delivery as people see it.

    Attributes:
        destination: the URL as `shown_url` shows it.
    """

    id: int
    event_id: str
    instance: str
    event: str
    destination: str
    status: DeliveryStatus
    attempts: int
    last_error: str | None
    created_at: float
    delivered_at: float | None


@dataclass(frozen=True, slots=True)
class DeliveryPage:
    """A page of deliveries, newest first; `next` is the cursor of the page after it."""

    deliveries: Sequence[DeliveryView]
    next: str | None


def page(
    tx: Tx,
    *,
    instance: str | None = None,
    instance_id: str | None = None,
    status: DeliveryStatus | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> DeliveryPage:
    """A page of the outbox, newest first.

    Args:
        instance: of every instance that has, or had, this name.
        instance_id: of this one alone.
        status: one status.
        cursor: `next` of the page before; None for the first.
        limit: how many deliveries, 1 to 500.

    Raises:
        ValueError: the cursor is not one.
    """
    limit = max(1, min(limit, 500))
    condition = DeliveryTable.id > 0
    if cursor is not None:
        if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > 18:
            raise ValueError("cursor: not one that a page gave")
        condition &= DeliveryTable.id < int(cursor)
    if status is not None:
        condition &= DeliveryTable.status == status
    condition &= _of(instance, instance_id)
    query = (
        DeliveryTable.select(
            DeliveryTable.id,
            EventTable.id.alias("event_id"),
            EventTable.instance_name.alias("instance"),
            EventTable.event,
            DeliveryTable.destination,
            DeliveryTable.status,
            DeliveryTable.attempts,
            DeliveryTable.last_error,
            DeliveryTable.created_at,
            DeliveryTable.delivered_at,
        )
        .join(EventTable, on=EventTable.seq == DeliveryTable.event_seq)
        .where(condition)
        .order_by(DeliveryTable.id.desc())
        .limit(limit + 1)
    )
    views = [DeliveryView(**{**row, "destination": shown_url(row["destination"])}) for row in tx.rows(query)]
    more = len(views) > limit
    return DeliveryPage(views[:limit], str(views[limit - 1].id) if more else None)


def replay(
    tx: Tx,
    *,
    event_ids: Sequence[str] | None = None,
    instance: str | None = None,
    instance_id: str | None = None,
    destination: str | None = None,
    up_to: int | None = None,
    retarget: Callable[[Tx, str], Target | None] | None = None,
) -> int:
    """Put failed deliveries at the end of their queues again, a chunk of them, in their old order.

    Args:
        event_ids: only of these events, at most `MAX_EVENTS`.
        instance: only of instances that have, or had, this name.
        instance_id: only of this one.
        destination: only to this URL, whole or as `shown_url` shows it.
        up_to: only up to this id: what is replayed gets a higher one, and may fail again meanwhile.
        retarget: the current target of an instance's own webhook by the instance's id, or None to use the one
            of the delivery.

    Returns:
        How many; when it is `REPLAY_CHUNK` there may be more.

    Raises:
        ValueError: too many events.
    """
    condition = (DeliveryTable.status == FAILED) & _of(instance, instance_id)
    if event_ids is not None:
        if len(event_ids) > MAX_EVENTS:
            raise ValueError(f"event_ids: {len(event_ids)}, more than {MAX_EVENTS}")
        condition &= EventTable.id.in_(list(event_ids))
    if up_to is not None:
        condition &= DeliveryTable.id <= up_to
    if destination is not None:
        condition &= DeliveryTable.destination.in_(_failed_destinations(tx, destination))
    rows = tx.rows(
        DeliveryTable.select()
        .join(EventTable, on=EventTable.seq == DeliveryTable.event_seq)
        .where(condition)
        .order_by(DeliveryTable.id)
        .limit(REPLAY_CHUNK)
    )
    tx.execute(delete_from(DeliveryTable).where(DeliveryTable.id.in_([row["id"] for row in rows])))
    for row in rows:
        target = None
        if retarget is not None and row["scope"] == "instance" and row["instance_id"] is not None:
            target = retarget(tx, row["instance_id"])
        target = target or Target(row["destination"], row["scope"], row["target"])
        enqueue(tx, row["event_seq"], row["instance_id"], target, row["created_at"])
    return len(rows)


def newest(tx: Tx) -> int:
    """The highest id of a delivery; 0 when there is none."""
    return tx.scalar(DeliveryTable.select(fn.MAX(DeliveryTable.id))) or 0


def retarget_pending(tx: Tx, instance_id: str, target: Target | None) -> int:
    """After an instance's webhook was changed: let what waits go to the new place.

    Args:
        target: the new place; None when the webhook was switched off, and then what waits has failed.

    Returns:
        How many deliveries were moved.
    """
    own = (DeliveryTable.scope == "instance") & (DeliveryTable.instance_id == instance_id)
    return _move(tx, own, target, "the webhook was switched off or its URL removed")


def retarget_global(tx: Tx, known: Sequence[str], target: Target | None) -> int:
    """After a start with other settings: let what waits for a host-wide webhook that is gone go elsewhere.

    Args:
        known: the host-wide URLs that are configured now.
        target: where the rest goes; None when there is no host-wide webhook, and then it has failed.

    Returns:
        How many deliveries were moved.
    """
    gone = DeliveryTable.scope == "global"
    if known:
        gone &= DeliveryTable.destination.not_in(list(known))
    return _move(tx, gone, target, "the host-wide webhook is no longer configured")


def _of(instance: str | None, instance_id: str | None) -> Any:
    """Deliveries of a name, of an instance, or of both; of all when neither is given."""
    condition: Any = DeliveryTable.id > 0
    if instance is not None:
        condition &= EventTable.instance_name == instance
    if instance_id is not None:
        condition &= DeliveryTable.instance_id == instance_id
    return condition


def _move(tx: Tx, condition: Any, target: Target | None, why_not: str) -> int:
    """Put what waits at the end of another queue, or let it fail. An id is a place in a queue, so it changes."""
    waiting = condition & (DeliveryTable.status == PENDING)
    for row in tx.rows(DeliveryTable.select(DeliveryTable.destination).where(waiting).distinct()):
        tx.notify(WITHDRAWN_TOPIC + row["destination"])
    if target is None:
        return tx.execute(
            DeliveryTable.update(status="failed", next_at=None, last_error=why_not).where(waiting)
        )
    last = tx.scalar(DeliveryTable.select(fn.MAX(DeliveryTable.id)).where(waiting))
    if last is None:
        return 0
    table = DeliveryTable
    moved = table.select(
        table.event_seq,
        table.instance_id,
        Value(target.destination),
        table.scope,
        Value(target.options, converter=table.target.db_value),
        Value("pending"),
        Value(0),
        table.created_at,
    )
    tx.execute(
        table.insert_from(
            moved.where(waiting).order_by(table.id),
            [
                table.event_seq,
                table.instance_id,
                table.destination,
                table.scope,
                table.target,
                table.status,
                table.attempts,
                table.created_at,
            ],
        )
    )
    tx.notify(LANE_TOPIC + target.destination)
    return tx.execute(delete_from(table).where(waiting & (table.id <= last)))


def _failed_destinations(tx: Tx, wanted: str) -> list[str]:
    query = DeliveryTable.select(DeliveryTable.destination).where(DeliveryTable.status == FAILED).distinct()
    found = (row["destination"] for row in tx.rows(query))
    return [destination for destination in found if wanted in (destination, shown_url(destination))]
