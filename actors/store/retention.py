"""What is deleted when: old history, settled deliveries, events that nobody needs any more, stale secrets."""

from __future__ import annotations

from typing import Any

from peewee import SQL, fn

from actors.store.tables import DeliveryTable, EventTable, HistoryTable, InstanceTable, delete_from
from actors.store.tx import Tx

HISTORY_SECONDS = 30 * 86_400.0
"""Default age at which history and failed deliveries go."""

DELIVERED_SECONDS = 86_400.0
"""Age at which delivered events go; until then a reader can resume among them."""

ORPHAN_SECONDS = 60.0
"""Age at which the settled events of an instance that no longer exists go."""

FIRST_SWEEP = 5.0
SWEEP_EVERY = 30.0
SWEEP_AGAIN = 1.0
"""Seconds between passes over all events, and between the steps of one."""

WINDOW = 2000
"""Events that one step looks at, so that a long backlog never holds the writer up."""

PENDING = SQL("'pending'")
FAILED = SQL("'failed'")


def sweep(tx: Tx, after: int, *, history_seconds: float = HISTORY_SECONDS) -> int:
    """Delete what is past its time: one step of a pass over all events.

    Args:
        after: the event up to which the steps before have looked; 0 begins a pass.
        history_seconds: age at which history and failed deliveries go.

    Returns:
        `after` for the next step; 0 when the pass is complete.
    """
    if after == 0:
        blank_secrets(tx)
    past = HistoryTable.select(HistoryTable.id).where(HistoryTable.at < tx.now - history_seconds)
    tx.execute(delete_from(HistoryTable).where(HistoryTable.id.in_(past.limit(WINDOW))))
    old = (EventTable.seq > after) & (EventTable.created_at < tx.now - ORPHAN_SECONDS)
    query = EventTable.select(EventTable.seq).where(old).order_by(EventTable.seq).limit(WINDOW)
    seqs = [row["seq"] for row in tx.rows(query)]
    if not seqs:
        return 0
    window = EventTable.seq.between(seqs[0], seqs[-1])
    of_age = EventTable.created_at < tx.now - DELIVERED_SECONDS
    of_great_age = EventTable.created_at < tx.now - history_seconds
    tx.execute(delete_from(EventTable).where(window & (orphaned() | of_age) & ~_has(PENDING, FAILED)))
    tx.execute(delete_from(EventTable).where(window & of_great_age & ~_has(PENDING)))
    return seqs[-1] if len(seqs) == WINDOW else 0


def blank_secrets(tx: Tx) -> int:
    """Empty the secret parts of events that are past their time, and return how many there were."""
    return tx.execute(
        EventTable.update(secret=None, secret_until=None).where(
            EventTable.secret.is_null(False) & (EventTable.secret_until <= tx.now)
        )
    )


def orphaned() -> Any:
    """The condition that an event's instance no longer exists."""
    known = InstanceTable.select(SQL("1")).where(InstanceTable.id == EventTable.instance_id)
    return EventTable.instance_id.is_null(False) & ~fn.EXISTS(known)


def _has(*statuses: SQL) -> Any:
    """The condition that an event has a delivery with one of these statuses."""
    held = (DeliveryTable.event_seq == EventTable.seq) & DeliveryTable.status.in_(list(statuses))
    return fn.EXISTS(DeliveryTable.select(SQL("1")).where(held))
