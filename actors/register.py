"""The roster's transactions: an instance is entered, is found to have crashed, is to go, is gone."""

from __future__ import annotations

from actors import chatwoot
from actors.disconnect import CLOSED
from actors.events import emit
from actors.services import Services
from actors.store import Cleanup, Instance, Tx, cleanups, instances
from actors.views import Phase


def enter(tx: Tx, row: Instance, services: Services) -> Instance:
    """A new instance, as it is stored.

    Raises:
        Duplicate: its name or its token is taken.
    """
    stored = instances.insert(tx, row)
    chatwoot.configure(tx, stored)
    webhook = services.settings.instance(row.name).webhook
    emit(tx, stored, "instance.create", {"instanceId": stored.id}, settings=webhook)
    return stored


def crashed(tx: Tx, name: str, reason: str, services: Services) -> Instance | None:
    """Store that an instance has given up; None if it was deleted meanwhile."""
    row = instances.by_name(tx, name)
    if row is not None:
        why = "it crashed more often than its restart intensity allows"
        ended = {"disconnection_code": CLOSED, "disconnection_at": tx.now}
        instances.update(tx, row.id, phase=str(Phase.FAILED), failed_reason=why, **ended)
        webhook = services.settings.instance(name).webhook
        emit(tx, row, "instance.crash", {"reason": reason, "state": "failed"}, settings=webhook)
    return row


def noted_for_deletion(tx: Tx, name: str) -> Instance | None:
    """Note that an instance is to go, so that a host that dies before finishes it at its next start."""
    row = instances.by_name(tx, name)
    if row is not None:
        cleanups.add(tx, row.id, {"delete": name, "credentials": row.device_jid})
    return row


def noted(tx: Tx) -> list[tuple[Cleanup, Instance | None]]:
    """What is still to be cleaned up, each with its instance, if there still is one."""
    return [(note, instances.get(tx, note.instance_id)) for note in cleanups.pending(tx)]


def delete_for_good(tx: Tx, row: Instance, services: Services, *, wiped: bool) -> None:
    """Remove an instance's rows; its last events are on their way.

    Args:
        wiped: its credentials are gone too; else the note that they have to go stays.
    """
    farewell(tx, row, services)
    for note in cleanups.pending(tx):
        if note.instance_id == row.id and wiped:
            cleanups.done(tx, note.id)


def finish_cleanup(tx: Tx, note: Cleanup, services: Services) -> None:
    """Strike a note out; if it was about a whole instance, remove what is left of it."""
    row = instances.get(tx, note.instance_id)
    if row is not None and "delete" in note.what:
        farewell(tx, row, services)
    cleanups.done(tx, note.id)


def farewell(tx: Tx, row: Instance, services: Services) -> None:
    """Remove the row with all that belongs to it; what is emitted after it can still be read for a while."""
    webhook = services.settings.instance(row.name).webhook
    instances.delete(tx, row.id)
    emit(tx, row, "remove.instance", {"instanceId": row.id}, settings=webhook)
    emit(tx, row, "instance.delete", {"instanceId": row.id}, settings=webhook)
    chatwoot.deleted(tx)
