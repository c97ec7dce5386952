"""What may be asked of an instance, and how it may refuse.

Each command is a message to the instance's session; its reply is a `Done`. A refusal reaches the caller alone
and leaves the instance as it was.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from actors.views import InstanceView, Phase
from supervisor.otp import CallError, Refusal

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")


@dataclass(frozen=True, slots=True)
class Connect:
    """Bring the instance up.

    Attributes:
        number: a phone number, digits only, to pair by a typed code instead of a picture.
        wait: seconds to wait for the first code, for `open` or for a failure before the reply; 0 replies at once.
        force: connect even before a temporary ban has expired.
    """

    number: str | None = None
    wait: float = 0.0
    force: bool = False


@dataclass(frozen=True, slots=True)
class Logout:
    """Unlink the device from the phone, delete the credentials, stay down (`DELETE /instance/logout`)."""


@dataclass(frozen=True, slots=True)
class Restart:
    """A new connection with the same session (`POST /instance/restart`)."""


@dataclass(frozen=True, slots=True)
class ForceReconnection:
    """A new connection now, whatever the phase; with `clean_session` the credentials go first."""

    clean_session: bool = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Log out, delete credentials and cache, zero the counters, keep the instance."""


@dataclass(frozen=True, slots=True)
class SetPresence:
    """Tell WhatsApp how the account appears; one of `PRESENCES`."""

    presence: str


PRESENCES = ("unavailable", "available")


@dataclass(frozen=True, slots=True)
class Configure:
    """Replace one or more of the stored settings; what is None stays as it is."""

    settings: Mapping[str, Any] | None = None
    webhook: Mapping[str, Any] | None = field(default=None, repr=False)
    proxy: Mapping[str, Any] | None = field(default=None, repr=False)
    chatwoot: Mapping[str, Any] | None = field(default=None, repr=False)


Command = Connect | Logout | Restart | ForceReconnection | Reset | SetPresence | Configure


@dataclass(frozen=True, slots=True)
class CreateInstance:
    """A new instance, as `POST /instance/create` describes it.

    Attributes:
        token: the instance's own key; made when None.
        connect: bring it up at once (`qrcode: true`).
    """

    name: str
    token: str | None = field(default=None, repr=False)
    number: str | None = None
    integration: str = "WHATSAPP-BAILEYS"
    connect: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)
    webhook: Mapping[str, Any] = field(default_factory=dict, repr=False)
    proxy: Mapping[str, Any] = field(default_factory=dict, repr=False)
    chatwoot: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class DeleteInstance:
    """Log out if possible and remove everything that belongs to the instance."""

    name: str


@dataclass(frozen=True, slots=True)
class Done:
    """What a command did.

    Attributes:
        view: the instance after it.
        message: one sentence for people.
    """

    view: InstanceView
    message: str


class BadName(Refusal):
    """The name is not one that an instance can have."""

    def __init__(self, name: str) -> None:
        super().__init__(f"instanceName: {name[:80]!r} is not allowed; allowed: {NAME.pattern}")
        self.name = name


class NameTaken(Refusal):
    """An instance of that name exists."""

    def __init__(self, name: str) -> None:
        super().__init__(f'This name "{name}" is already in use.')
        self.name = name


class TokenTaken(Refusal):
    """Another instance has that token; a token names one instance."""

    def __init__(self) -> None:
        super().__init__("Token already exists")


class DatabaseBusy(CallError):
    """The database cannot be used now: it is locked, full or away.

    Args:
        why: what it says; for the log.
        written: whether it was to be written; nothing was then, and nothing will be.
    """

    def __init__(self, why: str, *, written: bool) -> None:
        super().__init__("store", why)
        self.written = written


class NotRunning(CallError):
    """There is such an instance, but nothing of it runs now; the host tries again by itself.

    Args:
        name: the instance.
        why: for people.
    """

    def __init__(self, name: str, why: str) -> None:
        super().__init__(name, f"does not run: {why}")
        self.why = why


class UnknownInstance(Refusal):
    """There is no instance of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(f'The "{name}" instance does not exist')
        self.name = name


class NotLoggedIn(Refusal):
    """The command needs a session, and the instance has none."""

    def __init__(self, name: str, phase: Phase) -> None:
        super().__init__(f'The "{name}" instance is not connected (phase {phase})')
        self.name = name
        self.phase = phase


class NotNow(Refusal):
    """The command cannot be carried out in this phase."""

    def __init__(self, name: str, phase: Phase, why: str) -> None:
        super().__init__(f'The "{name}" instance is {phase}: {why}')
        self.name = name
        self.phase = phase
        self.why = why


class Banned(Refusal):
    """WhatsApp has banned the account for a time, and a connection before its end would prolong the ban.

    Attributes:
        until: when it ends, in seconds since the epoch.
    """

    def __init__(self, name: str, until: float) -> None:
        when = datetime.fromtimestamp(until, UTC).isoformat(timespec="seconds")
        super().__init__(
            f'The "{name}" instance is banned by WhatsApp until {when}; forceReconnection overrides this'
        )
        self.name = name
        self.until = until


class BeingDeleted(Refusal):
    """A delete of this instance is under way."""

    def __init__(self, name: str) -> None:
        super().__init__(f'The "{name}" instance is being deleted')
        self.name = name
