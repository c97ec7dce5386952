"""What a session writes: one unit of work for each commit, and the deletion of credentials."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from actors import chatwoot, register
from actors.context import InstanceContext
from actors.credentials import CredentialsUnavailable
from actors.delivery import redirect
from actors.events import emit
from actors.secrets import COLUMNS, secrets_of
from actors.session.effects import Commit, WipeCredentials
from actors.store import PATH as STORE
from actors.store import (
    Done,
    HistoryEntry,
    Instance,
    StoreUnavailable,
    Tx,
    UnknownRow,
    Write,
    cleanups,
    history,
    instances,
    write,
)

WRITE_DEADLINE = 15.0
"""Seconds that a session waits for what it cannot go on without, before its supervisor sees it fail."""


def load(context: InstanceContext) -> tuple[Instance, list[HistoryEntry], bool]:
    """The instance's row, its latest history, newest first, and whether a former device is still to be deleted.

    Raises:
        UnknownRow: it was deleted meanwhile.
        StoreUnavailable: the store does not answer.
    """

    def unit(tx: Tx) -> tuple[Instance | None, list[HistoryEntry], bool]:
        row = instances.get(tx, context.id)
        left = row is not None and bool(register.former_devices(tx, row, context.services))
        return row, history.page(tx, context.id, limit=history.PAGE_LIMIT), left

    row, entries, left = write(context.services.system, unit, WRITE_DEADLINE)
    if row is None:
        raise UnknownRow("instance", context.id)
    context.services.keep_secrets(row.id, secrets_of(row))
    return row, entries, left


def submit(
    context: InstanceContext, row: Instance, effect: Commit, wipes: WipeCredentials | None, done: Done
) -> Instance:
    """Have columns, events and history written in one transaction, after those submitted before.

    Args:
        row: the instance as it will be once those are written.
        wipes: what is to be deleted next; noted, so that a host that dies before it has done so finishes it
            at its next start.
        done: told the row as it is then, or why it was not written; see `Write`.

    Returns:
        The row as it will be, but for the time of its change.

    Raises:
        StoreUnavailable: there is no store.
        MailboxFull: it has too much to do.
    """
    fields = {key: plain(value) for key, value in effect.fields.items()}
    ahead = dataclasses.replace(row, **fields)
    if COLUMNS & fields.keys():
        context.services.keep_secrets(row.id, secrets_of(ahead))

    def unit(tx: Tx) -> Instance:
        if fields:
            instances.update(tx, row.id, **fields)
        changed = dataclasses.replace(ahead, updated_at=tx.now)
        if "webhook" in fields:
            redirect(tx, changed)
        if "chatwoot" in fields:
            chatwoot.configure(tx, changed)
        for entry in effect.history:
            history.append(tx, HistoryEntry(instance_id=row.id, **entry))
        for name, data in effect.events:
            emit(tx, changed, name, data, settings=context.settings.webhook)
        if wipes is not None:
            cleanups.add(tx, row.id, {"credentials": wipes.jid})
        return changed

    if not context.services.system.cast(STORE, Write(unit, done)):
        raise StoreUnavailable("the store is down or restarting")
    return ahead


def wipe(context: InstanceContext, jid: str | None) -> None:
    """Delete the credentials, then have the note that asked for it struck out; nobody waits for that.

    Raises:
        CredentialsUnavailable: they cannot be deleted now; the note stays.
    """
    context.services.credentials.delete(context.id, jid)

    def unit(tx: Tx) -> None:
        for note in cleanups.pending(tx):
            if note.instance_id == context.id and note.what == {"credentials": jid}:
                cleanups.done(tx, note.id)

    context.services.system.cast(STORE, Write(unit))


def strike_former(context: InstanceContext) -> None:
    """Strike out what is noted of former devices of this instance, of which nothing is left.

    Raises:
        StoreUnavailable: the store does not answer; they are still noted, as far as is known.
    """

    def unit(tx: Tx) -> None:
        row = instances.get(tx, context.id)
        if row is not None:
            register.strike(tx, register.former_devices(tx, row, context.services))

    write(context.services.system, unit, WRITE_DEADLINE)


def in_the_way(context: InstanceContext) -> str | None:
    """Why the next connection would resume a former device that is still to be deleted; None if it would not."""
    credentials = context.services.credentials
    if credentials.by_device:
        return None
    try:
        return "it was begun, and not finished" if credentials.exist(context.id, None) else None
    except CredentialsUnavailable as error:
        return str(error)


def plain(value: Any) -> Any:
    """Enumerations as their text, mappings as dictionaries: what a column can hold."""
    if isinstance(value, str):
        return str(value)
    return dict(value) if isinstance(value, Mapping) else value
