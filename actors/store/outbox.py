"""The outbox: events and their deliveries, written with the state that they report.

A delivery's id is its place in the queue of its destination: within one destination and instance, ids are the
order of sending. One writer gives the ids and commits in their order, so a reader that has seen an id has seen
all before it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from peewee import fn

from actors.store.retention import PENDING
from actors.store.rows import DeliveryStatus, EventRow, new_id
from actors.store.sql import padded
from actors.store.tables import DeliveryTable, EventTable
from actors.store.tx import Tx

EVENT_TOPIC = "event"
"""Named by every unit that appends an event."""

LANE_TOPIC = "lane:"
"""Followed by a destination: named by every unit that gives that destination something to deliver."""

WITHDRAWN_TOPIC = "withdrawn:"
"""Followed by a destination: named by every unit that takes from that destination what waits for it."""

CHUNK = 1000
"""Deliveries that one statement settles; databases limit its parameters."""

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
        secret: whether the event may have a secret part, which ends when it is delivered everywhere.
    """

    id: int
    status: DeliveryStatus
    attempts: int
    error: str | None = None
    next_at: float | None = None
    secret: bool = True


def taken(pending: Pending) -> Settlement:
    """What became of an attempt that the receiver answered with success."""
    secret = pending.event.secret is not None
    return Settlement(pending.id, "delivered", pending.attempts + 1, secret=secret)


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
    row = {
        "id": event_id,
        "instance_id": instance_id,
        "instance_name": instance_name,
        "event": event,
        "data": data,
        "secret": secret,
        "secret_until": secret_until if secret else None,
        "sender": sender,
        "apikey": apikey,
        "created_at": tx.now,
    }
    places = list(targets)
    tx.later(_append_all, (row, places))
    for target in places:
        tx.notify(LANE_TOPIC + target.destination)
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
    condition, parameters = "d.destination = ? AND d.id > ?", [destination, after]
    named = [instance for instance in skip if instance is not None]
    if named:
        others, values = tx.among("d.instance_id", named, outside=True)
        condition += f" AND (d.instance_id IS NULL OR {others})"
        parameters += values
    if None in skip:
        condition += " AND d.instance_id IS NOT NULL"
    rows = _pending(tx, condition, parameters, limit)
    if len(rows) == limit or not skip:
        return rows, rows[-1].id if rows else after
    [(last,)] = tx.plain(
        "SELECT MAX(id) FROM delivery WHERE destination = ? AND id > ? AND status = 'pending'",
        (destination, after),
    )
    return rows, last or after


def pending_of_instance(
    tx: Tx, destination: str, instance_id: str | None, *, after: int, up_to: int, limit: int
) -> list[Pending]:
    """What waits for a destination of one instance, behind one id and up to another, in order."""
    same = "d.instance_id IS NULL" if instance_id is None else "d.instance_id = ?"
    own = [] if instance_id is None else [instance_id]
    condition = f"d.destination = ? AND {same} AND d.id > ? AND d.id <= ?"
    return _pending(tx, condition, [destination, *own, after, up_to], limit)


def still_pending(tx: Tx, ids: Sequence[int]) -> set[int]:
    """Those of some deliveries that still wait: the others are done with, or were moved to another place."""
    found: set[int] = set()
    for some in _chunks(ids):
        these, values = tx.among("id", some)
        rows = tx.plain(f"SELECT id FROM delivery WHERE {these} AND status = 'pending'", values)  # noqa: S608
        found.update(row[0] for row in rows)
    return found


def settle(tx: Tx, settlements: Sequence[Settlement]) -> None:
    """Record what became of attempts, and empty the secrets of events that are delivered everywhere.

    A delivery that was withdrawn meanwhile stays as it is, unless it was taken by then.
    """
    for settlement in settlements:
        tx.later(_settle_all, settlement)


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
    tx.insert(DeliveryTable, event_seq=seq, **_queued(instance_id, target, created_at))
    tx.notify(LANE_TOPIC + target.destination)


def _queued(instance_id: str | None, target: Target, created_at: float) -> dict[str, Any]:
    return {
        "instance_id": instance_id,
        "destination": target.destination,
        "scope": target.scope,
        "target": target.options,
        "status": "pending",
        "attempts": 0,
        "created_at": created_at,
    }


def _append_all(tx: Tx, appended: list[tuple[dict[str, Any], list[Target]]]) -> None:
    if tx.arrays:
        _append_arrays(tx, appended)
        return
    for row, targets in appended:
        seq = tx.insert(EventTable, **row)
        for target in targets:
            tx.insert(DeliveryTable, event_seq=seq, **_queued(row["instance_id"], target, row["created_at"]))


_EVENT_TYPES = {"secret_until": "float8", "created_at": "float8"}
_EVENT_COLUMNS = tuple(name for name in EventTable._meta.fields if name != "seq")
_APPEND = f"""
WITH appended AS (
  INSERT INTO event ({", ".join(_EVENT_COLUMNS)})
  SELECT {", ".join(_EVENT_COLUMNS)}
  FROM unnest({", ".join(f"?::{_EVENT_TYPES.get(name, 'text')}[]" for name in _EVENT_COLUMNS)})
    WITH ORDINALITY AS given ({", ".join(_EVENT_COLUMNS)}, place)
  ORDER BY place
  RETURNING seq, id, instance_id, created_at
)
INSERT INTO delivery (event_seq, instance_id, destination, scope, target, status, attempts, created_at)
SELECT seq, instance_id, destination, scope, target, 'pending', 0, created_at
FROM unnest(?::text[], ?::text[], ?::text[], ?::text[])
  WITH ORDINALITY AS given (event_id, destination, scope, target, place)
  JOIN appended ON appended.id = event_id
ORDER BY place
"""  # noqa: S608
"""Events and their deliveries in one round trip, however many; the order of the arrays is that of the ids."""


def _append_arrays(tx: Tx, appended: list[tuple[dict[str, Any], list[Target]]]) -> None:
    fields = EventTable._meta.fields
    events = [[fields[name].db_value(row[name]) for row, _ in appended] for name in _EVENT_COLUMNS]
    queued = [(row["id"], target) for row, targets in appended for target in targets]
    deliveries = [
        [event_id for event_id, _ in queued],
        [target.destination for _, target in queued],
        [target.scope for _, target in queued],
        [DeliveryTable.target.db_value(target.options) for _, target in queued],
    ]
    tx.plain(_APPEND, [*events, *deliveries])


_DELIVERED = (
    "UPDATE delivery"
    " SET status = 'delivered', attempts = ?, last_error = NULL, next_at = NULL, delivered_at = ?"
)


def _settle_all(tx: Tx, settlements: list[Settlement]) -> None:
    delivered: dict[int, list[int]] = {}
    for settlement in settlements:
        if settlement.status == "delivered":
            delivered.setdefault(settlement.attempts, []).append(settlement.id)
            continue
        tx.plain(
            "UPDATE delivery SET status = ?, attempts = ?, last_error = ?, next_at = ?"
            " WHERE id = ? AND status = 'pending'",
            (settlement.status, settlement.attempts, settlement.error, settlement.next_at, settlement.id),
        )
    for attempts, ids in delivered.items():
        for some in _chunks(ids):
            these, values = tx.among("id", some)
            tx.plain(f"{_DELIVERED} WHERE {these}", (attempts, tx.now, *values))
    secret = [each.id for each in settlements if each.status == "delivered" and each.secret]
    for some in _chunks(secret):
        _blank_delivered(tx, some)


def _chunks(ids: Sequence[int]) -> list[Sequence[int]]:
    return [ids[start : start + CHUNK] for start in range(0, len(ids), CHUNK)]


_PENDING_COLUMNS = (
    "d.id, d.destination, d.scope, d.target, d.attempts, d.next_at, e.seq, e.id, e.instance_id, e.instance_name,"
    " e.event, e.data, e.secret, e.secret_until, e.sender, e.apikey, e.created_at"
)


def _pending(tx: Tx, condition: str, parameters: Sequence[Any], limit: int) -> list[Pending]:
    rows = tx.plain(
        f"SELECT {_PENDING_COLUMNS} FROM delivery AS d JOIN event AS e ON e.seq = d.event_seq"  # noqa: S608
        f" WHERE {condition} AND d.status = 'pending' ORDER BY d.id LIMIT ?",
        (*parameters, limit),
    )
    return [_as_pending(row) for row in rows]


def _as_pending(row: Sequence[Any]) -> Pending:
    id, destination, scope, target, attempts, next_at, *event = row
    seq, event_id, instance_id, name, kind, data, secret, *rest = event
    found = EventRow(seq, event_id, instance_id, name, kind, _json(data), _json(secret), *rest)
    return Pending(id, destination, scope, _json(target), attempts, next_at, found)


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)


def _blank_delivered(tx: Tx, ids: Sequence[int]) -> None:
    events = DeliveryTable.select(DeliveryTable.event_seq).where(DeliveryTable.id.in_(padded(ids)))
    other = DeliveryTable.alias()
    waiting = other.select(other.id).where((other.event_seq == EventTable.seq) & (other.status == PENDING))
    tx.execute(
        EventTable.update(secret=None, secret_until=None).where(
            EventTable.secret.is_null(False) & EventTable.seq.in_(events) & ~fn.EXISTS(waiting)
        )
    )
