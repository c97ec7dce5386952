"""How far an instance's Chatwoot account has been told: a row that is written with what it is about."""

from __future__ import annotations

from dataclasses import dataclass

from peewee import BigIntegerField, CharField, Model, fn

from actors.chatwoot.account import Account
from actors.store import Instance, Tx
from actors.store.tables import EventTable, delete_from

TOPIC = "chatwoot"
"""Named by every unit that changes which instances report to Chatwoot, or where."""


class ChatwootTable(Model):
    """One row for each instance that reports."""

    instance_id = CharField(primary_key=True)
    seq = BigIntegerField()
    conversation = BigIntegerField(null=True)

    class Meta:
        table_name = "chatwoot"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a notifier is.

    Attributes:
        seq: the last event that is dealt with.
        conversation: the one that it writes into, once it is known.
    """

    seq: int
    conversation: int | None = None


def configure(tx: Tx, instance: Instance) -> None:
    """After an instance's Chatwoot settings were stored, in the same unit: report from here on, or not any more."""
    account = Account.of(instance.name, instance.chatwoot)
    known = place(tx, instance.id)
    if account is None:
        tx.execute(delete_from(ChatwootTable).where(ChatwootTable.instance_id == instance.id))
    elif known is None:
        tx.insert(ChatwootTable, instance_id=instance.id, seq=newest_event(tx), conversation=None)
    else:
        move(tx, instance.id, Place(known.seq))
    tx.notify(TOPIC)


def deleted(tx: Tx) -> None:
    """In the unit that deletes an instance, whose place goes with it."""
    tx.notify(TOPIC)


def place(tx: Tx, instance_id: str) -> Place | None:
    """Where the notifier of an instance is; None if the instance does not report."""
    row = tx.row(ChatwootTable.select().where(ChatwootTable.instance_id == instance_id))
    return None if row is None else Place(row["seq"], row["conversation"])


def move(tx: Tx, instance_id: str, place: Place) -> None:
    """Note where the notifier of an instance is. Nothing, if the instance does not report any more."""
    tx.execute(
        ChatwootTable.update(seq=place.seq, conversation=place.conversation).where(
            ChatwootTable.instance_id == instance_id
        )
    )


def newest_event(tx: Tx) -> int:
    """The sequence number of the latest event; 0 when there is none."""
    return int(tx.scalar(EventTable.select(fn.MAX(EventTable.seq))) or 0)


def instances_with_events(tx: Tx, after: int) -> tuple[list[str], int]:
    """The instances that have events behind a sequence number, and the last of these numbers."""
    rows = tx.rows(
        EventTable.select(EventTable.instance_id, fn.MAX(EventTable.seq).alias("last"))
        .where((EventTable.seq > after) & EventTable.instance_id.is_null(False))
        .group_by(EventTable.instance_id)
    )
    return [row["instance_id"] for row in rows], max([after, *(row["last"] for row in rows)])
