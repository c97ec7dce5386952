"""Appending an event, with a delivery for everybody who asked for it, in the transaction of what it reports."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from actors.events.models import MODELS, QR_SECONDS
from actors.events.names import wanted
from actors.store import Instance, Tx
from actors.store.outbox import Target, append
from supervisor.config import WebhookSettings

_HTTP = re.compile(r"https?://\S+", re.IGNORECASE)


def emit(
    tx: Tx,
    instance: Instance,
    event: str,
    data: Mapping[str, Any] | BaseModel | None = None,
    *,
    settings: WebhookSettings,
) -> str:
    """Append an event to the outbox, in the caller's unit of work.

    It is delivered after that unit is committed, and never if it is not.

    Args:
        instance: whose event it is; its row may be deleted in the same unit.
        event: its name, as in `connection.update`.
        data: what its model in `actors.events.models` takes; `instance` is filled in.
        settings: the instance's `[webhook]` settings, which name the host-wide destination.

    Returns:
        The event's id, the same on every delivery.

    Raises:
        ValueError: no event has that name, or the data do not fit its model; nothing was appended.
    """
    model = MODELS.get(event)
    if model is None:
        raise ValueError(f"event: {event!r} is not one of {', '.join(MODELS)}")
    fields = data.model_dump() if isinstance(data, BaseModel) else dict(data or {})
    filled = model.model_validate({"instance": instance.name, **fields})
    return append(
        tx,
        instance_id=instance.id,
        instance_name=instance.name,
        event=event,
        data=filled.data(),
        secret=filled.secret(),
        secret_until=tx.now + QR_SECONDS,
        sender=instance.owner_jid,
        apikey=instance.token,
        targets=targets(instance, event, settings),
    )


def targets(instance: Instance, event: str, settings: WebhookSettings) -> list[Target]:
    """Where an event goes: to the instance's own webhook and to the host's, if they want it."""
    found = []
    own = own_target(instance.webhook)
    if own is not None and wanted(event, instance.webhook.get("events")):
        found.append(own)
    everybody = global_target(settings)
    if everybody is not None and wanted(event, settings.events):
        found.append(everybody)
    return found


def own_target(webhook: Mapping[str, Any]) -> Target | None:
    """The target of an instance's own webhook; None when it is off or has no HTTP URL."""
    url = str(webhook.get("url") or "").strip()
    if not webhook.get("enabled") or not _HTTP.fullmatch(url):
        return None
    options = {
        "byEvents": bool(webhook.get("byEvents")),
        "base64": webhook.get("base64") is not False,
        "headers": dict(webhook.get("headers") or {}),
    }
    return Target(url, "instance", options)


def global_target(settings: WebhookSettings) -> Target | None:
    """The target of the host's webhook; None when there is none. Its options stay in the settings."""
    return None if settings.url is None else Target(settings.url.get_secret_value(), "global")
