"""What the dashboard says: codes, phases and times in words for people."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.gateway import HistoryEntry, InstanceView, Phase
from supervisor.reasons import reason


@dataclass(frozen=True, slots=True)
class Shown:
    """A phase as it is shown.

    Attributes:
        label: its name.
        tone: which colour and shape: `good`, `busy`, `warn`, `bad` or `idle`.
        meaning: a sentence.
    """

    label: str
    tone: str
    meaning: str


PHASES: Mapping[Phase, Shown] = {
    Phase.OPEN: Shown("Open", "good", "The number is connected to WhatsApp."),
    Phase.STARTING: Shown("Starting", "busy", "A connection is being made."),
    Phase.AWAITING_SCAN: Shown("Waiting for scan", "busy", "A phone has to scan the code."),
    Phase.PAIRING: Shown("Pairing", "busy", "The phone has scanned the code; the link is being finished."),
    Phase.RECOVERING: Shown("Recovering", "warn", "The connection was lost and is being brought back."),
    Phase.STOPPING: Shown("Stopping", "idle", "The connection is being ended."),
    Phase.CLOSED: Shown("Closed", "idle", "Not connected, as it should be."),
    Phase.FAILED: Shown("Failed", "bad", "Not connected, although it should be: it needs attention."),
}
"""In the order in which the overview counts them."""

_STRATEGIES: Mapping[str, str] = {
    "self": "by itself",
    "restart": "restarted by its supervisor",
    "reconnect": "by a new connection",
    "inactivity": "by a new connection",
    "clear-cache": "by a new connection with an empty cache",
    "reset-session": "with a new session",
    "restart-instance": "by a restart of the instance",
}

_ACTIONS: Mapping[str, str] = {
    "grace": "given time to heal",
    "reconnect": "reconnecting",
    "restart": "to be restarted",
    "abort": "given up",
    "cooldown": "waiting before the next try",
    "next-batch": "showing new codes",
    "qr-limit": "limit of codes reached, closed",
    "logout": "closed for good",
}

_GOES_ON = ("grace", "reconnect", "restart", "cooldown", "next-batch", "qr-limit")
"""Actions after which nothing is broken."""


def last_disconnection(view: InstanceView) -> str | None:
    """Why an instance's latest connection ended; None when none ever did."""
    if view.disconnection_at is None:
        return None
    cause = (view.disconnection_object or {}).get("cause")
    return reason(view.disconnection_code, cause if isinstance(cause, str) else None)


@dataclass(frozen=True, slots=True)
class Line:
    """A row of history as it is shown.

    Attributes:
        tone: as of a phase.
        what: what happened.
        then: what followed, or how long it had been open before.
    """

    tone: str
    what: str
    then: str


def history_line(entry: HistoryEntry) -> Line:
    """A disconnection or a recovery in words."""
    if entry.kind == "recovery":
        return _recovery_line(entry)
    tone = "warn" if entry.action in _GOES_ON else "bad"
    action = _ACTIONS.get(entry.action or "", entry.action or "")
    before = f"after {span(entry.duration_s)} open" if entry.duration_s is not None else ""
    return Line(tone, reason(entry.code, entry.cause), ", ".join(part for part in (before, action) if part))


def _recovery_line(entry: HistoryEntry) -> Line:
    if entry.result == "stable":
        return Line("good", "Stable again", "attempts are counted from zero")
    if entry.result == "fresh":
        return Line("idle", "Started afresh", "attempts are counted from zero")
    if entry.result != "success":
        return Line("warn", "Recovery", entry.result or "")
    after = f" after {span(entry.duration_s)}" if entry.duration_s is not None else ""
    return Line("good", f"Back{after}", _STRATEGIES.get(entry.strategy or "", entry.strategy or ""))


def span(seconds: float | None) -> str:
    """A duration: `412 ms`, `4.2 s`, `12 s`, `5 min`, `3 h 12 min`, `4 d 3 h`."""
    if seconds is None:
        return ""
    if seconds < 1:
        return f"{max(0, round(seconds * 1000))} ms"
    if seconds < 10:
        return f"{seconds:.1f} s"
    return clock_span(seconds)


def clock_span(seconds: float) -> str:
    """A duration that goes on, in whole units; the page's script counts on in the same words."""
    whole = max(0, int(seconds))
    days, hours, minutes = whole // 86400, whole // 3600 % 24, whole // 60 % 60
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{minutes} min"
    if whole < 86400:
        return f"{hours} h {minutes} min"
    return f"{days} d {hours} h"


def phone_number(jid_or_number: str | None) -> str | None:
    """`+5511999990001` for a jid, a device's jid or a number; None for nothing."""
    if not jid_or_number:
        return None
    digits = jid_or_number.partition("@")[0].partition(":")[0]
    return f"+{digits}" if digits.isdigit() else digits


def pairing_code(code: str) -> str:
    """`ABCD-1234`, as the phone asks for it."""
    return f"{code[:4]}-{code[4:]}" if len(code) == 8 else code
