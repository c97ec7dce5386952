"""The outbox: events and their deliveries, written with the state that they report.

A delivery's id is its place in the queue of its destination: within one destination and instance, ids are the
order of sending. One writer gives the ids and commits in their order, so a reader that has seen an id has seen
all before it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from peewee import JOIN, fn

from actors.store.retention import PENDING
from actors.store.rows import DeliveryStatus, EventRow, new_id
from actors.store.tables import DeliveryTable, EventTable
from actors.store.tx import Tx

EVENT_TOPIC = "event"
"""Named by every unit that appends an event."""

LANE_TOPIC = "lane:"
"""Followed by a destination: named by every unit that gives that destination something to deliver."""

Scope = Literal["instance", "global"]


@dataclass(frozen=True, slots=True)
class Target:
    """Where an event goes, as it was configured when the event was appended.

    Attributes:
        destination: the URL without the event's suffix; also the name of the lane.
        scope: `instance` for the instance's own webhook, `global` for that of the host.
        options: for an instance's webhook `byEvents`, `base64` and `headers`; the host's are in its settings.
    """

    destination: str = field(repr=False)
    scope: Scope
    options: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """A delivery that waits, with its event.

    Attributes:
        next_at: not to be tried before, epoch seconds; None is at once.
    """

    id: int
    destination: str = field(repr=False)
    scope: Scope
    target: Mapping[str, Any] = field(repr=False)
    attempts: int
    next_at: float | None
    event: EventRow


@dataclass(frozen=True, slots=True)
class Settlement:
    """What became of an attempt.

    Attributes:
        status: `pending` is to be tried again at `next_at`.
        attempts: how many there have been, this one included.
        error: why it was not delivered, in words without secrets.
    """

    id: int
    status: DeliveryStatus
    attempts: int
    error: str | None = None
    next_at: float | None = None


def append(
    tx: Tx,
    *,
    instance_id: str | None,
    instance_name: str,
    event: str,
    data: Mapping[str, Any] | None,
    secret: Mapping[str, Any] | None = None,
    secret_until: float | None = None,
    sender: str | None = None,
    apikey: str | None = None,
    targets: Iterable[Target] = (),
) -> str:
    """Append an event and one delivery for each target, in the caller's transaction. Returns the event's id."""
    event_id = new_id()
    seq = tx.insert(
        EventTable,
        id=event_id,
        instance_id=instance_id,
        instance_name=instance_name,
        event=event,
        data=data,
        secret=secret,
        secret_until=secret_until if secret else None,
        sender=sender,
        apikey=apikey,
        created_at=tx.now,
    )
    for target in targets:
        enqueue(tx, seq, instance_id, target, tx.now)
    tx.notify(EVENT_TOPIC)
    return event_id


def lanes(tx: Tx) -> list[str]:
    """The destinations that have something to deliver."""
    query = DeliveryTable.select(DeliveryTable.destination).where(DeliveryTable.status == PENDING).distinct()
    return [row["destination"] for row in tx.rows(query)]


def pending_after(
    tx: Tx, destination: str, after: int, limit: int, *, skip: Collection[str | None] = ()
) -> tuple[list[Pending], int]:
    """What waits for a destination behind an id, in order, and the last id that was looked at.

    Args:
        skip: instances whose deliveries are passed over.
    """
    lane = (DeliveryTable.destination == destination) & (DeliveryTable.id > after)
    named = [instance for instance in skip if instance is not None]
    chosen = lane
    if named:
        chosen &= DeliveryTable.instance_id.is_null() | DeliveryTable.instance_id.not_in(named)
    if None in skip:
        chosen &= DeliveryTable.instance_id.is_null(False)
    rows = _pending(tx, chosen, limit)
    if len(rows) == limit or not skip:
        return rows, rows[-1].id if rows else after
    last = tx.scalar(
        DeliveryTable.select(fn.MAX(DeliveryTable.id)).where(lane & (DeliveryTable.status == PENDING))
    )
    return rows, last or after


def pending_of_instance(
    tx: Tx, destination: str, instance_id: str | None, *, after: int, up_to: int, limit: int
) -> list[Pending]:
    """What waits for a destination of one instance, behind one id and up to another, in order."""
    same = (
        DeliveryTable.instance_id.is_null()
        if instance_id is None
        else DeliveryTable.instance_id == instance_id
    )
    window = (DeliveryTable.id > after) & (DeliveryTable.id <= up_to)
    return _pending(tx, (DeliveryTable.destination == destination) & same & window, limit)


def settle(tx: Tx, settlements: Sequence[Settlement]) -> None:
    """Record what became of attempts, and empty the secrets of events that are delivered everywhere."""
    delivered: dict[int, list[int]] = {}
    for settlement in settlements:
        if settlement.status == "delivered":
            delivered.setdefault(settlement.attempts, []).append(settlement.id)
            continue
        tx.execute(
            DeliveryTable.update(
                status=settlement.status,
                attempts=settlement.attempts,
                last_error=settlement.error,
                next_at=settlement.next_at,
            ).where(DeliveryTable.id == settlement.id)
        )
    for attempts, ids in delivered.items():
        tx.execute(
            DeliveryTable.update(
                status="delivered", attempts=attempts, last_error=None, next_at=None, delivered_at=tx.now
            ).where(DeliveryTable.id.in_(ids))
        )
    if delivered:
        _blank_delivered(tx, [id for ids in delivered.values() for id in ids])


def backlog(tx: Tx) -> tuple[int, float | None]:
    """How many deliveries wait, and since when the oldest has (epoch seconds)."""
    row = tx.row(
        DeliveryTable.select(
            fn.COUNT(DeliveryTable.id).alias("count"), fn.MIN(DeliveryTable.created_at).alias("oldest")
        ).where(DeliveryTable.status == PENDING)
    )
    return (0, None) if row is None else (int(row["count"]), row["oldest"])


def events_after(tx: Tx, seq: int, limit: int, *, instance_id: str | None = None) -> list[EventRow]:
    """Committed events behind a sequence number, in order: for a reader that resumes."""
    condition = EventTable.seq > seq
    if instance_id is not None:
        condition &= EventTable.instance_id == instance_id
    query = EventTable.select().where(condition).order_by(EventTable.seq).limit(limit)
    return [EventRow(**row) for row in tx.rows(query)]


def enqueue(tx: Tx, seq: int, instance_id: str | None, target: Target, created_at: float) -> None:
    """Put an event at the end of a destination's queue."""
    tx.insert(
        DeliveryTable,
        event_seq=seq,
        instance_id=instance_id,
        destination=target.destination,
        scope=target.scope,
        target=target.options,
        status="pending",
        attempts=0,
        created_at=created_at,
    )
    tx.notify(LANE_TOPIC + target.destination)


def _pending(tx: Tx, condition: Any, limit: int) -> list[Pending]:
    event_columns = list(EventTable._meta.sorted_fields)
    query = (
        DeliveryTable.select(
            DeliveryTable.id.alias("delivery_id"),
            DeliveryTable.destination,
            DeliveryTable.scope,
            DeliveryTable.target,
            DeliveryTable.attempts,
            DeliveryTable.next_at,
            *event_columns,
        )
        .join(EventTable, JOIN.INNER, on=EventTable.seq == DeliveryTable.event_seq)
        .where(condition & (DeliveryTable.status == PENDING))
        .order_by(DeliveryTable.id)
        .limit(limit)
    )
    return [_as_pending(row) for row in tx.rows(query)]


def _as_pending(row: dict[str, Any]) -> Pending:
    own = {
        name: row.pop(name)
        for name in ("delivery_id", "destination", "scope", "target", "attempts", "next_at")
    }
    return Pending(
        id=own["delivery_id"],
        destination=own["destination"],
        scope=own["scope"],
        target=own["target"],
        attempts=own["attempts"],
        next_at=own["next_at"],
        event=EventRow(**row),
    )


def _blank_delivered(tx: Tx, ids: list[int]) -> None:
    events = DeliveryTable.select(DeliveryTable.event_seq).where(DeliveryTable.id.in_(ids))
    other = DeliveryTable.alias()
    waiting = other.select(other.id).where((other.event_seq == EventTable.seq) & (other.status == PENDING))
    tx.execute(
        EventTable.update(secret=None, secret_until=None).where(
            EventTable.secret.is_null(False) & EventTable.seq.in_(events) & ~fn.EXISTS(waiting)
        )
    )
