"""What is said to and by the ports: to the `Ports` actor, to a port's owner, and over a port's pipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from actors.port.events import Event
from actors.port.wire import WireError

ErrorKind = Literal["bad-argument", "unknown-command", "not-ready", "stopping", "busy", "expired", "refused"]
"""Why a command was not carried out. `refused`: the library's own error; otherwise it was not asked."""


@dataclass(frozen=True, slots=True)
class PortStarted:
    """The port's process exists."""

    incarnation: int
    pid: int


@dataclass(frozen=True, slots=True)
class PortEvent:
    """Something that the port reports."""

    incarnation: int
    event: Event


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The answer to a command: a value, or an error with its kind."""

    incarnation: int
    request_id: int
    value: Any = field(default=None, repr=False)
    error: str | None = None
    error_kind: ErrorKind | None = None


@dataclass(frozen=True, slots=True)
class CommandTimeout:
    """A command was not answered within its time; its answer, should it still come, is dropped."""

    incarnation: int
    request_id: int
    name: str


@dataclass(frozen=True, slots=True)
class PortExited:
    """The port's process is gone. Sent exactly once, after everything else the port said.

    Attributes:
        exit_code: the process's own, or None when a signal ended it or it never ran.
        signal: what ended it, or None.
        requested: True when the owner asked for the kill, so that this is no crash.
        reason: for people.
    """

    incarnation: int
    exit_code: int | None
    signal: int | None
    requested: bool
    reason: str


PortMessage = PortStarted | PortEvent | CommandResult | CommandTimeout | PortExited


def command_to_json(
    request_id: int, name: str, arguments: Mapping[str, Any], deadline: float
) -> dict[str, Any]:
    """Give a command as it travels; `deadline` is in seconds of the system's monotonic clock."""
    return {"command": name, "id": request_id, "arguments": dict(arguments), "deadline": deadline}


def result_from_json(incarnation: int, message: Mapping[str, Any]) -> CommandResult:
    """Make a command's result from its form on the pipe.

    Raises:
        WireError: it has another form.
    """
    request_id, error, kind = message.get("result"), message.get("error"), message.get("kind")
    if type(request_id) is not int or not isinstance(error, str | None):
        raise WireError("a result without a request id, or whose error is not text")
    if (error is None) != (kind is None) or (kind is not None and kind not in get_args(ErrorKind)):
        raise WireError(f"a result with the unknown error kind {kind!r:.40}")
    return CommandResult(incarnation, request_id, message.get("value"), error, kind)
