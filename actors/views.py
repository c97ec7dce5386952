"""What the outside may see of an instance: immutable snapshots.

A session builds a new snapshot after each input and publishes it; readers never wait for an actor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from actors.figures import Figures

INTEGRATION = "WHATSAPP-BAILEYS"
"""The only integration there is: the name Evolution API's clients send for a linked number."""


class Phase(StrEnum):
    """Where an instance is, in words for people."""

    CLOSED = "closed"
    STARTING = "starting"
    AWAITING_SCAN = "awaiting_scan"
    PAIRING = "pairing"
    OPEN = "open"
    RECOVERING = "recovering"
    STOPPING = "stopping"
    FAILED = "failed"


class Desired(StrEnum):
    """What the user asked for; it survives the host."""

    UP = "up"
    DOWN = "down"


class Awaits(StrEnum):
    """What has to come back before a lost connection can be had again."""

    NETWORK = "network"
    """A way to WhatsApp: no connection came about."""
    SERVICE = "service"
    """WhatsApp itself: a login was answered with a 5xx."""


STATES: Mapping[Phase, str] = {
    Phase.CLOSED: "close",
    Phase.STARTING: "connecting",
    Phase.AWAITING_SCAN: "connecting",
    Phase.PAIRING: "connecting",
    Phase.OPEN: "open",
    Phase.RECOVERING: "connecting",
    Phase.STOPPING: "close",
    Phase.FAILED: "close",
}
"""Phase to the three states that Evolution API's clients know."""


@dataclass(frozen=True, slots=True)
class QrView:
    """The code that a phone can scan now.

    Attributes:
        code: the text of the QR picture; a secret, and so absent from the repr.
        pairing_code: the eight characters to type instead, when a number was given; a secret too.
        count: how many codes were shown since the counter was last zeroed.
        at: when the code appeared, in seconds since the epoch.
        pairing_error: why there is no pairing code, when a number was given and it was refused.
    """

    code: str = field(repr=False)
    pairing_code: str | None = field(repr=False)
    count: int
    at: float
    pairing_error: str | None = None


@dataclass(frozen=True, slots=True)
class InstanceView:
    """One instance as it is now. Times are seconds since the epoch.

    Attributes:
        awaits: what the try that is put off until `restart_due` waits for; None where it is the wait itself that helps.
    """

    id: str
    name: str
    phase: Phase
    desired: Desired
    logged_in: bool
    token: str = field(repr=False)
    created_at: float
    updated_at: float
    integration: str = INTEGRATION
    number: str | None = None
    owner_jid: str | None = None
    device_jid: str | None = None
    profile_name: str | None = None
    profile_pic_url: str | None = None
    client_name: str = "zapvisor"
    disconnection_code: int | None = None
    disconnection_object: Mapping[str, Any] | None = None
    disconnection_at: float | None = None
    failed_reason: str | None = None
    recovery_attempts: int = 0
    restart_due: float | None = None
    awaits: Awaits | None = None
    open_since: float | None = None
    incarnation: int = 0
    pid: int | None = None
    rss_bytes: int | None = None
    heartbeat_at: float | None = None
    alive_at: float | None = None
    banned_until: float | None = None
    figures: Figures = field(default_factory=Figures)
    settings: Mapping[str, Any] = field(default_factory=dict)
    webhook: Mapping[str, Any] = field(default_factory=dict, repr=False)
    proxy: Mapping[str, Any] = field(default_factory=dict, repr=False)
    chatwoot: Mapping[str, Any] = field(default_factory=dict, repr=False)
    qr: QrView | None = None

    @property
    def state(self) -> str:
        """`close`, `connecting` or `open`, as Evolution API's connectionState says it."""
        return STATES[self.phase]
