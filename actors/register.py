"""The roster's transactions: an instance is entered, is found to have crashed, is to go, is gone."""

from __future__ import annotations

import dataclasses
import secrets
from collections.abc import Collection, Iterable
from typing import TypeAlias

from actors import chatwoot
from actors.disconnect import CLOSED, NAMES, Disconnection
from actors.events import emit
from actors.messages import CreateInstance
from actors.services import Services
from actors.session.losing import ABORT, CRASH
from actors.session.stopping import describe
from actors.store import Cleanup, HistoryEntry, Instance, Tx, cleanups, history, instances
from actors.views import Desired, Phase

Noted: TypeAlias = tuple[Cleanup, Instance | None]
"""A clean-up that is not finished, and its instance, if there still is one."""


def asked_for(request: CreateInstance) -> Instance:
    """The row of an instance that is to be created."""
    return Instance(
        name=request.name,
        token=request.token or secrets.token_hex(18).upper(),
        number=request.number,
        integration=request.integration,
        settings=dict(request.settings),
        webhook=dict(request.webhook),
        proxy=dict(request.proxy),
        chatwoot=dict(request.chatwoot),
    )


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
        crash = describe(Disconnection(CLOSED, CRASH, {"reason": reason}))
        ended = {"disconnection_code": CLOSED, "disconnection_at": tx.now, "disconnection_object": crash}
        webhook = services.settings.instance(name).webhook
        # A ban, a host that has the session, a logout under way: decided already; `recall` goes on from there.
        ends_anyway = row.failed_reason is not None or row.desired == Desired.DOWN
        if row.phase != Phase.FAILED and not (row.phase == Phase.STOPPING and ends_anyway):
            instances.update(tx, row.id, phase=str(Phase.FAILED), failed_reason=why, **ended)
            history.append(tx, _given_up(row, reason))
            said = {"state": "close", "statusReason": CLOSED, "wuid": row.owner_jid}
            emit(tx, row, "connection.update", said, settings=webhook)
        emit(tx, row, "instance.crash", {"reason": reason, "state": "failed"}, settings=webhook)
    return row


def _given_up(row: Instance, reason: str) -> HistoryEntry:
    """What took its connection away is nobody else's to note: its session has ended with it."""
    return HistoryEntry(
        instance_id=row.id,
        kind="disconnection",
        code=CLOSED,
        name=NAMES[CLOSED],
        cause=CRASH,
        action=ABORT,
        previous_phase=str(row.phase),
        attempt=row.recovery_attempts,
        detail={"signal": None, "reason": reason},
    )


def noted_for_deletion(tx: Tx, name: str, attempt: str) -> Instance | None:
    """Note that an instance is to go, so that a host that dies before finishes it at its next start.

    Args:
        attempt: names this note among all; see `accept` and `strike_refused`.
    """
    row = instances.by_name(tx, name)
    if row is not None:
        cleanups.add(tx, row.id, {"delete": name, "credentials": row.device_jid, "attempt": attempt})
    return row


def accept(tx: Tx, attempt: str) -> None:
    """The delete is under way: its note holds whatever is linked until its connection has ended."""
    for note in cleanups.pending(tx):
        if note.what.get("attempt") == attempt:
            cleanups.change(tx, note.id, {**note.what, "accepted": True})


def strike_refused(tx: Tx, attempts: Collection[str]) -> None:
    """Strike the notes of deletes that were refused, where they were stored all the same."""
    strike(tx, [note for note in cleanups.pending(tx) if note.what.get("attempt") in attempts])


def noted(tx: Tx, services: Services) -> list[Noted]:
    """What is still to be cleaned up, oldest first."""
    return [
        (note, instances.get(tx, note.instance_id)) for note in _sparing(tx, cleanups.pending(tx), services)
    ]


def doomed(tx: Tx, services: Services, refused: Collection[str]) -> list[Instance]:
    """Instances whose deletion was under way when their host, or roster, ended; not those whose was refused."""
    strike_refused(tx, refused)
    return [
        row
        for note, row in noted(tx, services)
        if row is not None and "delete" in note.what and not is_void(note, row, services)
    ]


def is_void(note: Cleanup, row: Instance | None, services: Services) -> bool:
    """Whether a device was linked since a clean-up was noted, so that what is there now is not what it was about.

    A delete that was accepted is about all that is there.
    """
    if row is None or not row.logged_in or note.what.get("accepted"):
        return False
    device = note.what.get("credentials")
    if "delete" in note.what:
        return bool(device != row.device_jid)
    return not services.credentials.by_device or device in (None, row.device_jid)


def former_devices(tx: Tx, row: Instance, services: Services) -> list[Cleanup]:
    """The notes of logouts and resets of this instance whose deletion is not finished, as far as is stored."""
    return [
        note
        for note in cleanups.pending(tx)
        if note.instance_id == row.id and "delete" not in note.what and not is_void(note, row, services)
    ]


def _sparing(tx: Tx, notes: Iterable[Cleanup], services: Services) -> list[Cleanup]:
    """The same notes, without the devices that another instance is logged in with, in a store that all share."""
    notes = list(notes)
    if not notes or not services.credentials.by_device:
        return notes
    users = instances.devices(tx)
    return [
        dataclasses.replace(note, what={**note.what, "credentials": None})
        if users.get(str(note.what.get("credentials")), set()) - {note.instance_id}
        else note
        for note in notes
    ]


def delete_for_good(tx: Tx, row: Instance, services: Services, *, wiped: bool) -> list[Cleanup]:
    """Remove an instance's rows; its last events are on their way. To do it twice does nothing more.

    Args:
        row: the instance as it was when its deletion was noted; it may have linked a device since.
        wiped: the cache, and the credentials of the device that it has now, are gone.

    Returns:
        The notes of what has to go yet. With a store by device that may be a former device, which could not be
        deleted when it was logged out.
    """
    present = instances.get(tx, row.id)
    if present is not None:
        farewell(tx, present, services)
        row = present
    notes = [note for note in cleanups.pending(tx) if note.instance_id == row.id]
    if wiped:
        known = (None, row.device_jid)
        gone = [
            note
            for note in notes
            if not services.credentials.by_device or note.what.get("credentials") in known
        ]
        strike(tx, gone)
        return _sparing(tx, [note for note in notes if note not in gone], services)
    if row.device_jid not in [note.what.get("credentials") for note in notes]:
        notes.append(cleanups.add(tx, row.id, {"credentials": row.device_jid}))
    return _sparing(tx, notes, services)


def strike(tx: Tx, notes: Iterable[Cleanup]) -> None:
    """Strike out what is done."""
    for note in notes:
        cleanups.done(tx, note.id)


def farewell(tx: Tx, row: Instance, services: Services) -> None:
    """Remove the row with all that belongs to it; what is emitted after it can still be read for a while."""
    webhook = services.settings.instance(row.name).webhook
    instances.delete(tx, row.id)
    emit(tx, row, "remove.instance", {"instanceId": row.id}, settings=webhook)
    emit(tx, row, "instance.delete", {"instanceId": row.id}, settings=webhook)
    chatwoot.deleted(tx)
