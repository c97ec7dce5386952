"""What a port tells its owner, as typed values that travel as JSON.

The names follow the client library's events. An instance is open from `Connected` until any of
`Disconnected`, `KeepAliveTimeout`, `StreamReplaced`, `LoggedOut`, `TemporaryBan`, `ConnectFailure`,
`ClientOutdated`, `StreamError`, or until the heartbeats stop.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args, get_origin, get_type_hints

from actors.port.wire import WireError

DialCause = Literal["dns", "refused", "reset", "slow", "unreachable", "proxy", "tls", "unknown"]
StoreFault = Literal["device-missing", "corrupt", "unavailable"]


@dataclass(frozen=True, slots=True)
class Ready:
    """The port is set up and starts to connect now."""


@dataclass(frozen=True, slots=True)
class QrCode:
    """A code to be scanned. Whoever has it can link the account, so it is never shown in a repr."""

    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class LoginStatus:
    """How a QR phase ended.

    Attributes:
        status: `success`, `timeout`, `error`, `err-client-outdated`, `err-scanned-without-multidevice`,
            `err-unexpected-state`, or one the library adds. After any but `success` the port is of no use.
        error: what the library logged about an `error`.
    """

    status: str
    error: str | None = None


@dataclass(frozen=True, slots=True)
class PairStatus:
    """The phone confirmed (or refused) the pairing; `Connected` is still to come.

    Attributes:
        error: None when it was confirmed.
    """

    jid: str
    lid: str | None
    business_name: str
    platform: str
    error: str | None


@dataclass(frozen=True, slots=True)
class Connected:
    """The session is authenticated and live."""

    jid: str
    push_name: str
    lid: str | None = None


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The socket was closed by the server or the network; the library is reconnecting by itself."""


@dataclass(frozen=True, slots=True)
class KeepAliveTimeout:
    """Pings go unanswered. `last_success` is in epoch seconds."""

    error_count: int
    last_success: int


@dataclass(frozen=True, slots=True)
class KeepAliveRestored:
    """Pings are answered again."""


@dataclass(frozen=True, slots=True)
class StreamReplaced:
    """Another client uses the same session."""


@dataclass(frozen=True, slots=True)
class LoggedOut:
    """The account unlinked this device. The library would delete its session now, so the port ends first.

    Attributes:
        on_connect: True when a login was refused, False when a live session was ended.
        reason: 401 logged out, 403 main device gone, 406 banned.
    """

    on_connect: bool
    reason: int


@dataclass(frozen=True, slots=True)
class TemporaryBan:
    """The account is banned for `expire_seconds`; `code` is WhatsApp's own (101 to 106, 0 when unknown)."""

    code: int
    expire_seconds: int


@dataclass(frozen=True, slots=True)
class ConnectFailure:
    """The server refused the login with `reason` (400, 409, 418 and the like).

    After 500 and 503, which say that it is in trouble, the library tries again by itself.
    """

    reason: int
    message: str


@dataclass(frozen=True, slots=True)
class ClientOutdated:
    """The server no longer accepts this version of the library (405)."""


@dataclass(frozen=True, slots=True)
class StreamError:
    """The server ended the stream with 503, 515 or a code the library does not know; it reconnects by itself."""

    code: str


@dataclass(frozen=True, slots=True)
class DialFailed:
    """A connection could not be made, the first one or that which a 515 asks for; no other is tried."""

    error: str
    cause: DialCause


@dataclass(frozen=True, slots=True)
class SessionStoreFailed:
    """The session's own database cannot be used; the port ends.

    Attributes:
        fault: `device-missing` and `corrupt` are a bad session; `unavailable` (locked, unreachable, no
            permission, disk full) says nothing about the session and may pass.
    """

    error: str
    fault: StoreFault


@dataclass(frozen=True, slots=True)
class ConnectReturned:
    """The library gave up for another reason than the two above, or was stopped; the port ends."""

    error: str | None


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """The port's interpreter is alive. Figures are of the port's process."""

    rss_bytes: int
    threads: int
    fds: int


Event = (
    Ready
    | QrCode
    | LoginStatus
    | PairStatus
    | Connected
    | Disconnected
    | KeepAliveTimeout
    | KeepAliveRestored
    | StreamReplaced
    | LoggedOut
    | TemporaryBan
    | ConnectFailure
    | ClientOutdated
    | StreamError
    | DialFailed
    | SessionStoreFailed
    | ConnectReturned
    | Heartbeat
)

EVENTS: Mapping[str, type[Event]] = {kind.__name__: kind for kind in get_args(Event)}
_FIELDS: dict[type[Event], dict[str, Any]] = {kind: get_type_hints(kind) for kind in EVENTS.values()}


def to_json(event: Event) -> dict[str, Any]:
    """Give the event as a JSON object: its name under `event`, beside its fields."""
    values = {item.name: getattr(event, item.name) for item in dataclasses.fields(event)}
    return {"event": type(event).__name__, **values}


def from_json(message: Mapping[str, Any]) -> Event:
    """Make the event again.

    Raises:
        WireError: unknown event, a field missing or unknown, or of another type.
    """
    name = message.get("event")
    kind = EVENTS.get(name) if isinstance(name, str) else None
    if kind is None:
        raise WireError(f"unknown event {name!r:.40}")
    hints = _FIELDS[kind]
    values = {key: value for key, value in message.items() if key != "event"}
    if values.keys() != hints.keys():
        wrong = sorted(values.keys() ^ hints.keys())
        raise WireError(f"{name}: fields missing or unknown: {', '.join(wrong)[:80]}")
    for key, value in values.items():
        if not _fits(value, hints[key]):
            raise WireError(f"{name}.{key}: {type(value).__name__} where {hints[key]} is due")
    return kind(**values)


def _fits(value: object, hint: Any) -> bool:
    if get_origin(hint) is Literal:
        return isinstance(value, str) and value in get_args(hint)
    kinds = get_args(hint) or (hint,)
    return type(value) in kinds
