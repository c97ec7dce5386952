"""What can happen to an instance: notices of its connection, of its supervisor, of its timers.

Commands of users are the messages of `actors.messages`. Every notice of a connection carries the incarnation
that it comes from, so that what is late can be told from what is current.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.disconnect import Disconnection


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that the connection of one incarnation says."""

    incarnation: int


@dataclass(frozen=True, slots=True)
class Started(Notice):
    """A new connection exists; all later notices of older ones are void."""


@dataclass(frozen=True, slots=True)
class PortUp(Notice):
    """The operating-system process of the connection runs."""

    pid: int


@dataclass(frozen=True, slots=True)
class CodeShown(Notice):
    """WhatsApp gave a code to scan."""

    code: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Paired(Notice):
    """A phone scanned the code; the login that follows is not there yet."""

    jid: str | None


@dataclass(frozen=True, slots=True)
class Opened(Notice):
    """The link is up and logged in."""

    jid: str | None
    push_name: str | None


@dataclass(frozen=True, slots=True)
class LinkDown(Notice):
    """The link is gone, but the client may still heal it by itself."""

    disconnection: Disconnection


@dataclass(frozen=True, slots=True)
class Exited(Notice):
    """The connection ended for an expected reason and is held by its supervisor."""

    disconnection: Disconnection


@dataclass(frozen=True, slots=True)
class Crashed(Notice):
    """The connection ended by a bug or its port was killed; the supervisor restarts it by its own rules."""

    reason: str


@dataclass(frozen=True, slots=True)
class Alive(Notice):
    """A heartbeat of the port."""

    rss_bytes: int
    at: float


@dataclass(frozen=True, slots=True)
class CommandDone(Notice):
    """A command to the port was carried out, failed (`error`) or missed its deadline.

    Attributes:
        tag: what the machine called it.
        error: None when it succeeded.
    """

    tag: str
    value: Mapping[str, Any] = field(default_factory=dict, repr=False)
    error: str | None = None


@dataclass(frozen=True, slots=True)
class LinkStopped:
    """The supervisor has ended the connection and will not start it by itself."""


@dataclass(frozen=True, slots=True)
class StartFailed:
    """The supervisor could not start the connection."""

    reason: str


@dataclass(frozen=True, slots=True)
class Tick:
    """A timer of the machine is due."""

    name: str


@dataclass(frozen=True, slots=True)
class Resume:
    """The roster grants the instance its turn at boot."""


@dataclass(frozen=True, slots=True)
class Silent:
    """The watchdog has seen no sign of life of the connection for longer than `inactivity_timeout`."""


@dataclass(frozen=True, slots=True)
class Reachable:
    """What the instance waited for is back: a try that is put off can be made `after` seconds from now."""

    after: float


@dataclass(frozen=True, slots=True)
class Purge:
    """The roster wants the instance gone: log out if possible, end the connection, delete the credentials."""


Input = (
    Started
    | PortUp
    | CodeShown
    | Paired
    | Opened
    | LinkDown
    | Exited
    | Crashed
    | Alive
    | CommandDone
    | LinkStopped
    | StartFailed
    | Tick
    | Resume
    | Silent
    | Reachable
    | Purge
)
