"""Instances in the database. Each function is for a unit of work (`tx` of a write) or for a read."""

from __future__ import annotations

from dataclasses import fields, replace
from typing import Any

from peewee import fn

from actors.store.errors import UnknownRow
from actors.store.retention import FAILED, PENDING
from actors.store.rows import Instance, columns
from actors.store.tables import DeliveryTable, EventTable, InstanceTable, delete_from
from actors.store.tx import Tx

_COLUMNS = frozenset(column.name for column in fields(Instance))
_FIXED = frozenset({"id", "created_at", "updated_at"})


def insert(tx: Tx, instance: Instance) -> Instance:
    """Store a new instance and return it with its times.

    Raises:
        Duplicate: the name, the token or the id is taken.
    """
    stored = replace(instance, created_at=instance.created_at or tx.now, updated_at=tx.now)
    tx.insert(InstanceTable, **columns(stored))
    return stored


def get(tx: Tx, instance_id: str) -> Instance | None:
    """The instance with that id."""
    return _one(tx, InstanceTable.id == instance_id)


def by_name(tx: Tx, name: str) -> Instance | None:
    """The instance with that name."""
    return _one(tx, InstanceTable.name == name)


def by_token(tx: Tx, token: str) -> Instance | None:
    """The instance whose own key that is."""
    return _one(tx, InstanceTable.token == token)


def all_instances(tx: Tx) -> list[Instance]:
    """All instances, oldest first."""
    return [Instance(**row) for row in tx.rows(InstanceTable.select().order_by(InstanceTable.created_at))]


def devices(tx: Tx) -> dict[str, set[str]]:
    """The devices that instances are logged in with, and the ids of those instances; more than one is a mistake."""
    found: dict[str, set[str]] = {}
    query = InstanceTable.select(InstanceTable.device_jid, InstanceTable.id)
    for row in tx.rows(query.where(InstanceTable.logged_in & InstanceTable.device_jid.is_null(False))):
        found.setdefault(row["device_jid"], set()).add(row["id"])
    return found


def update(tx: Tx, instance_id: str, **changes: Any) -> None:
    """Change some columns of an instance.

    Args:
        changes: columns of `Instance` except `id`, `created_at` and `updated_at`.

    Raises:
        UnknownRow: there is no such instance, for instance because it was deleted meanwhile.
        Duplicate: the new name or token is taken.
        TypeError: a column that does not exist or cannot be changed.
    """
    wrong = set(changes) - (_COLUMNS - _FIXED)
    if wrong:
        raise TypeError(f"instance has no column to change named {', '.join(sorted(wrong))}")
    query = InstanceTable.update(**changes, updated_at=tx.now).where(InstanceTable.id == instance_id)
    if not tx.execute(query, apart=True):
        raise UnknownRow("instance", instance_id)


def delete(tx: Tx, instance_id: str) -> bool:
    """Delete an instance with its history, its events and their deliveries.

    Events that are still to be delivered stay until they are, `instance.delete` among them, and those that could
    not be delivered as long as any; clean-ups stay until they are done.

    Returns:
        Whether there was such an instance.
    """
    needed = DeliveryTable.select(DeliveryTable.id).where(
        (DeliveryTable.event_seq == EventTable.seq) & DeliveryTable.status.in_([PENDING, FAILED])
    )
    tx.execute(delete_from(EventTable).where((EventTable.instance_id == instance_id) & ~fn.EXISTS(needed)))
    return tx.execute(delete_from(InstanceTable).where(InstanceTable.id == instance_id)) > 0


def _one(tx: Tx, condition: Any) -> Instance | None:
    row = tx.row(InstanceTable.select().where(condition).limit(1))
    return None if row is None else Instance(**row)
