"""The history of disconnections and recoveries."""

from __future__ import annotations

from dataclasses import replace

from peewee import fn

from actors.store.rows import HistoryEntry, columns
from actors.store.tables import HistoryTable
from actors.store.tx import Tx

PAGE = 50
PAGE_LIMIT = 500


def append(tx: Tx, entry: HistoryEntry) -> HistoryEntry:
    """Store an entry and return it with its id and time."""
    stamped = replace(entry, at=tx.now if entry.at is None else entry.at)
    values = columns(stamped)
    del values["id"]
    return replace(stamped, id=tx.insert(HistoryTable, **values))


def page(tx: Tx, instance_id: str, *, before: int | None = None, limit: int = PAGE) -> list[HistoryEntry]:
    """A page of an instance's history, newest first.

    Args:
        before: the id of the last entry of the previous page; None for the first page.
        limit: how many entries, 1 to `PAGE_LIMIT`.
    """
    condition = HistoryTable.instance_id == instance_id
    if before is not None:
        condition &= HistoryTable.id < before
    query = (
        HistoryTable.select()
        .where(condition)
        .order_by(HistoryTable.id.desc())
        .limit(max(1, min(limit, PAGE_LIMIT)))
    )
    return [HistoryEntry(**row) for row in tx.rows(query)]


def count_same_code(tx: Tx, instance_id: str, code: int, since: float) -> int:
    """How many disconnections with that code the instance has had since a time (epoch seconds, inclusive)."""
    return int(
        tx.scalar(
            HistoryTable.select(fn.COUNT(HistoryTable.id)).where(
                (HistoryTable.instance_id == instance_id)
                & (HistoryTable.kind == "disconnection")
                & (HistoryTable.code == code)
                & (HistoryTable.at >= since)
            )
        )
    )
