"""The rows as immutable values: what the repository functions take and return.

Times are epoch seconds (UTC).
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

DeliveryStatus = Literal["pending", "delivered", "failed"]
HistoryKind = Literal["disconnection", "recovery"]


def new_id() -> str:
    """A random UUID as text."""
    return str(uuid.uuid4())


def columns(row: Any) -> dict[str, Any]:
    """A row as column names and values."""
    return {column.name: getattr(row, column.name) for column in fields(row)}


@dataclass(frozen=True, slots=True)
class Instance:
    """An instance as it is stored.

    Attributes:
        token: the instance's own API key, unique; never in the repr.
        desired: `up` or `down`, what the user asked for.
        phase: the phase last written, one of `actors.views.Phase`.
        owner_jid: the account, `5511999990001@s.whatsapp.net`.
        device_jid: the account with the number of this linked device, the key of its credentials.
        settings, webhook, proxy, chatwoot: as the API took them.
    """

    name: str
    token: str = field(repr=False)
    id: str = field(default_factory=new_id)
    number: str | None = None
    owner_jid: str | None = None
    device_jid: str | None = None
    profile_name: str | None = None
    profile_pic_url: str | None = None
    integration: str = "WHATSAPP-BAILEYS"
    client_name: str = "zapvisor"
    desired: str = "down"
    phase: str = "closed"
    logged_in: bool = False
    failed_reason: str | None = None
    disconnection_code: int | None = None
    disconnection_object: Mapping[str, Any] | None = None
    disconnection_at: float | None = None
    recovery_attempts: int = 0
    qr_count: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    webhook: Mapping[str, Any] = field(default_factory=dict, repr=False)
    proxy: Mapping[str, Any] = field(default_factory=dict, repr=False)
    chatwoot: Mapping[str, Any] = field(default_factory=dict, repr=False)
    last_open_at: float | None = None
    created_at: float = 0.0
    updated_at: float = 0.0


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """A disconnection or a recovery.

    Attributes:
        id: None until it is stored; grows with time, so it is the cursor of a page.
        at: None is the time of the unit that appends it.
        duration_s: how long the connection was open, or how long the recovery took, in seconds.
    """

    instance_id: str
    kind: HistoryKind
    at: float | None = None
    code: int | None = None
    name: str | None = None
    cause: str | None = None
    action: str | None = None
    duration_s: float | None = None
    previous_phase: str | None = None
    incarnation: int | None = None
    attempt: int | None = None
    strategy: str | None = None
    result: str | None = None
    detail: Mapping[str, Any] = field(default_factory=dict)
    id: int | None = None


@dataclass(frozen=True, slots=True)
class EventRow:
    """A committed event.

    Attributes:
        seq: grows with each commit; the cursor of a reader.
        id: the event's own id, the same on every delivery of it.
        secret: parts of the data that are emptied when they are stale or delivered (QR codes).
    """

    seq: int
    id: str
    instance_id: str | None
    instance_name: str
    event: str
    data: Mapping[str, Any] | None
    secret: Mapping[str, Any] | None = field(repr=False)
    secret_until: float | None
    sender: str | None
    apikey: str | None = field(repr=False)
    created_at: float


@dataclass(frozen=True, slots=True)
class Cleanup:
    """What is left to be removed for an instance."""

    id: int
    instance_id: str
    what: Mapping[str, Any]
    created_at: float
