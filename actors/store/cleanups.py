"""Clean-ups that must be finished even if the host dies in the middle of one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from actors.store.rows import Cleanup
from actors.store.tables import CleanupTable, delete_from
from actors.store.tx import Tx


def add(tx: Tx, instance_id: str, what: Mapping[str, Any]) -> Cleanup:
    """Note what is to be removed, before its removal begins.

    Args:
        what: JSON types only: what the one who finishes it needs to know.
    """
    key = tx.insert(CleanupTable, instance_id=instance_id, what=what, created_at=tx.now)
    return Cleanup(key, instance_id, dict(what), tx.now)


def pending(tx: Tx) -> list[Cleanup]:
    """All that is not finished, oldest first."""
    return [Cleanup(**row) for row in tx.rows(CleanupTable.select().order_by(CleanupTable.id))]


def change(tx: Tx, cleanup_id: int, what: Mapping[str, Any]) -> None:
    """Replace what a clean-up says; for `what` see `add`. One that is done stays so."""
    tx.execute(CleanupTable.update(what=what).where(CleanupTable.id == cleanup_id))


def done(tx: Tx, cleanup_id: int) -> bool:
    """Strike a finished clean-up out. Returns whether it was there."""
    return tx.execute(delete_from(CleanupTable).where(CleanupTable.id == cleanup_id)) > 0
