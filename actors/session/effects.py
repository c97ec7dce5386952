"""What the machine asks of the outside; the session's actor carries it out, in order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from actors.recovery import Step


@dataclass(frozen=True, slots=True)
class Commit:
    """One transaction: changed columns, events and history rows together.

    Attributes:
        fields: columns of the instance's row.
        events: name and data of each event, in order.
        history: rows of the disconnection history.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[tuple[str, Mapping[str, Any]], ...] = field(default=(), repr=False)
    history: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class StartLink:
    """Have the supervisor start a connection."""


@dataclass(frozen=True, slots=True)
class ResumeLink:
    """Have the supervisor restart the held connection.

    Attributes:
        after: seconds to wait first.
        step: the rung of the recovery ladder to run before it.
    """

    after: float
    step: Step = Step.RECONNECT


@dataclass(frozen=True, slots=True)
class StopLink:
    """Have the supervisor end the connection; `LinkStopped` is the answer."""


@dataclass(frozen=True, slots=True)
class PortCommand:
    """A command to the port; `CommandDone` with the tag is the answer, at the latest at the deadline."""

    name: str
    tag: str
    args: Mapping[str, Any] = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """Answer a caller.

    Attributes:
        caller: the number under which the actor keeps the caller.
        message: what was done; ignored when `refusal` is set.
        refusal: why nothing was done.
    """

    caller: int
    message: str = ""
    refusal: Exception | None = None


@dataclass(frozen=True, slots=True)
class SetTimer:
    """Deliver `Tick(name)` after some seconds; an earlier timer of that name is cancelled."""

    name: str
    seconds: float


@dataclass(frozen=True, slots=True)
class CancelTimer:
    """Forget the timer of that name."""

    name: str


@dataclass(frozen=True, slots=True)
class WipeCredentials:
    """Delete the session's credentials: rows, files.

    Attributes:
        jid: the device whose they are; the row has forgotten it by the time this is carried out.
    """

    jid: str | None


@dataclass(frozen=True, slots=True)
class ClearCache:
    """Delete the instance's cache entries."""


@dataclass(frozen=True, slots=True)
class Stable:
    """Tell the supervisor that the connection has recovered for good."""


@dataclass(frozen=True, slots=True)
class Escalate:
    """End this session so that the supervisor above restarts the whole instance."""


@dataclass(frozen=True, slots=True)
class Purged:
    """Tell the roster that nothing of the instance is left but its row."""


Effect = (
    Commit
    | StartLink
    | ResumeLink
    | StopLink
    | PortCommand
    | Reply
    | SetTimer
    | CancelTimer
    | WipeCredentials
    | ClearCache
    | Stable
    | Escalate
    | Purged
)
