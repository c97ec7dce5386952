"""Why a connection ended: from the client's signal to a code that Baileys users know.

One row a signal (`classify`), one row a code (`NAMES`); what follows from a code is configuration
(`[disconnect.NNN]`), and what is done about it is `actors.recovery`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from actors.port import events
from actors.views import Awaits
from supervisor.config.codes import DEFAULT_RULES

CLOSED = 428
TIMED_OUT = 408
REPLACED = 440
RESTART_REQUIRED = 515
UNAVAILABLE = 503
LOGGED_OUT = 401
TEMPORARY_BAN = 402
FORBIDDEN = 403
CLIENT_OUTDATED = 405
NOT_ACCEPTABLE = 406
MULTIDEVICE_MISMATCH = 411
BAD_SESSION = 500

NAMES: Mapping[int, str] = {
    CLOSED: "connectionClosed",
    TIMED_OUT: "timedOut",
    REPLACED: "connectionReplaced",
    RESTART_REQUIRED: "restartRequired",
    UNAVAILABLE: "unavailable",
    LOGGED_OUT: "loggedOut",
    TEMPORARY_BAN: "temporaryBan",
    FORBIDDEN: "forbidden",
    CLIENT_OUTDATED: "clientOutdated",
    NOT_ACCEPTABLE: "notAcceptable",
    MULTIDEVICE_MISMATCH: "multideviceMismatch",
    BAD_SESSION: "badSession",
}

PAIRING_REFUSALS: Mapping[str, int] = {
    "timeout": TIMED_OUT,
    "err-client-outdated": CLIENT_OUTDATED,
    "err-scanned-without-multidevice": MULTIDEVICE_MISMATCH,
}

DIAL_CODES: Mapping[str, int] = {"dns": TIMED_OUT, "slow": TIMED_OUT}
"""Causes of a failed dial that mean time-out; every other cause means unavailable."""

SERVER_IN_TROUBLE = (500, 503)
"""Reasons of a refused login after which the client tries again by itself."""

JUDGED_AT_LOGIN = frozenset(code for code, rule in DEFAULT_RULES.items() if rule.permanent)
"""Codes that close an instance. A `stream:error` with such a number is a closed socket: the client logs in again, and
only the refusal of that login says that the session is worth no more."""


@dataclass(frozen=True, slots=True)
class Disconnection:
    """The reason why a connection is not there any more.

    Attributes:
        code: a disconnect code, see `NAMES`.
        cause: what is known beyond the code: dns, slow, keepalive, qr, refused, reset, proxy, heartbeat…
        detail: figures from the signal (a ban's expiry, the server's text), JSON types only.
        heals: the client may reconnect by itself, so it gets a grace before its port is killed.
        awaits: what has to come back before another try can succeed; None if that is not known.
        signal: the client's event that said so, as `actors.port.events` names it; None where the host noticed it.
    """

    code: int
    cause: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    heals: bool = False
    awaits: Awaits | None = None
    signal: str | None = field(default=None, compare=False)

    @property
    def name(self) -> str:
        return NAMES.get(self.code, "unknown")


def classify(event: events.Event) -> Disconnection | None:
    """Return the disconnection that a port's event means, or None if it means none."""
    meant = _meaning(event)
    return meant and replace(meant, signal=type(event).__name__)


def _meaning(event: events.Event) -> Disconnection | None:  # one row a signal, flat on purpose
    match event:
        case events.Disconnected():
            return Disconnection(CLOSED, "closed", heals=True)
        case events.KeepAliveTimeout(error_count=count):
            return Disconnection(TIMED_OUT, "keepalive", {"errors": count}, heals=True)
        case events.StreamError(code=text):
            return Disconnection(stream_code(text), "stream", {"streamError": text}, heals=True)
        case events.StreamReplaced():
            return Disconnection(REPLACED, "replaced")
        case events.LoggedOut(on_connect=on_connect, reason=reason):
            known = (LOGGED_OUT, FORBIDDEN, NOT_ACCEPTABLE)
            code = reason if reason in known else LOGGED_OUT
            return Disconnection(code, "logout", {"onConnect": on_connect, "reason": reason})
        case events.TemporaryBan(code=ban, expire_seconds=expire):
            return Disconnection(TEMPORARY_BAN, "ban", {"ban": ban, "expireSeconds": expire})
        case events.ClientOutdated():
            return Disconnection(CLIENT_OUTDATED, "outdated")
        case events.ConnectFailure(reason=number, message=text):
            detail = {"reason": number, "message": text}
            code, heals = failure_code(number), number in SERVER_IN_TROUBLE
            awaits = Awaits.SERVICE if code == UNAVAILABLE else None
            return Disconnection(code, "refused", detail, heals=heals, awaits=awaits)
        case events.DialFailed(error=text, cause=cause):
            code = DIAL_CODES.get(cause, UNAVAILABLE)
            return Disconnection(code, cause, {"error": text}, awaits=Awaits.NETWORK)
        case events.SessionStoreFailed(error=text, fault=fault):
            code = UNAVAILABLE if fault == "unavailable" else BAD_SESSION
            return Disconnection(code, "store", {"error": text, "fault": fault})
        case events.LoginStatus(status=status) if status != "success":
            why = "qr" if status == "timeout" else "pairing"
            return Disconnection(PAIRING_REFUSALS.get(status, CLOSED), why, {"status": status})
        case events.ConnectReturned(error=text):
            return Disconnection(CLOSED, "ended", {"error": text})
        case _:
            return None


def stream_code(text: str) -> int:
    """The code of a `stream:error`: a server's 5xx is unavailability, and no number of it closes an instance."""
    number = int(text) if text.isascii() and text.isdigit() and len(text) == 3 else CLOSED
    if 500 <= number <= 599 and number != RESTART_REQUIRED:
        return UNAVAILABLE
    return CLOSED if number in JUDGED_AT_LOGIN else number


def failure_code(reason: int) -> int:
    """The code of a refused login: a server's 5xx is unavailability, never a bad session; no reason is none."""
    if not 100 <= reason <= 999:
        return CLOSED
    return UNAVAILABLE if 500 <= reason <= 599 else reason
