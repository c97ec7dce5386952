"""Child administration (supervisor(3)): the messages to a supervisor, and a function for each.

The functions call, with a time limit in seconds. A child must never call its own supervisor, which may be
waiting for that very child: it casts the message instead, and no answer comes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from supervisor.otp.spec import ChildKind, ChildSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.otp.ref import Ref

RESTARTING = "restarting"
"""In place of a reference in `ChildInfo`: the child is to be restarted."""


@dataclass(frozen=True, slots=True)
class StartChild:
    """Add a child and start it."""

    spec: ChildSpec


@dataclass(frozen=True, slots=True)
class StartFromTemplate:
    """Start a child of a `DynamicSupervisor` from its template, with arguments after the template's."""

    id: str
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TerminateChild:
    """Stop a child; its spec stays unless it is temporary."""

    id: str


@dataclass(frozen=True, slots=True)
class RestartChild:
    """Start a child that is stopped."""

    id: str


@dataclass(frozen=True, slots=True)
class DeleteChild:
    """Forget a child that is stopped, or that waits for a delayed restart."""

    id: str


@dataclass(frozen=True, slots=True)
class RestartNow:
    """Restart a child that waits for its restart, without waiting any longer."""

    id: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Restart a child that waits, ``after`` seconds from now, with ``step`` first. For children on `Hold`."""

    id: str
    after: float = 0.0
    step: Callable[[], object] | None = None


@dataclass(frozen=True, slots=True)
class Recovered:
    """The child is well: its next end is attempt 1 again."""

    id: str


@dataclass(frozen=True, slots=True)
class WhichChildren:
    """Ask for all children."""


@dataclass(frozen=True, slots=True)
class CountChildren:
    """Ask for the numbers of children."""


@dataclass(frozen=True, slots=True)
class ChildInfo:
    """One child: ``ref`` is its incarnation, RESTARTING if it is to be restarted, None if it is stopped."""

    id: str
    ref: Ref | str | None
    kind: ChildKind


@dataclass(frozen=True, slots=True)
class ChildCounts:
    """``specs`` in all, ``active`` alive; ``supervisors`` and ``workers`` alive or not."""

    specs: int
    active: int
    supervisors: int
    workers: int


def start_child(supervisor: Ref, spec: ChildSpec, timeout: float) -> Ref | None:
    """Add a child and start it; None if its ``init`` said IGNORE.

    Raises:
        AlreadyStarted: a child with that id is running.
        AlreadyPresent: a child with that id is not running.
        StartFailed: its ``init`` ended it; the spec is not kept.
        BadSpec: the spec does not go with the supervisor's flags.
        CallError: see `Ref.call`.
    """
    ref: Ref | None = supervisor.call(StartChild(spec), timeout)
    return ref


def start_from_template(supervisor: Ref, id: str, *args: Any, timeout: float, **kwargs: Any) -> Ref | None:
    """`start_child` with the template of a dynamic supervisor, ``args`` after the template's own.

    Raises:
        NotSupported: the supervisor has no template.
        OtpError: as `start_child`.
    """
    ref: Ref | None = supervisor.call(StartFromTemplate(id, args, kwargs), timeout)
    return ref


def terminate_child(supervisor: Ref, id: str, timeout: float) -> None:
    """Stop a child within its shutdown time. One that waits for its restart is not restarted.

    Raises:
        NotFound: there is no such child.
        CallError: see `Ref.call`.
    """
    supervisor.call(TerminateChild(id), timeout)


def restart_child(supervisor: Ref, id: str, timeout: float) -> Ref | None:
    """Start a child that is stopped.

    Raises:
        NotFound, Running, Restarting: it is not there, or not stopped.
        StartFailed: its ``init`` ended it; it stays stopped.
        NotSupported: the supervisor is dynamic.
        CallError: see `Ref.call`.
    """
    ref: Ref | None = supervisor.call(RestartChild(id), timeout)
    return ref


def delete_child(supervisor: Ref, id: str, timeout: float) -> None:
    """Forget a child that is stopped, or that waits for a delayed restart.

    Raises:
        NotFound, Running, Restarting: it is not there, or not stopped.
        NotSupported: the supervisor is dynamic.
        CallError: see `Ref.call`.
    """
    supervisor.call(DeleteChild(id), timeout)


def restart_now(supervisor: Ref, id: str, timeout: float) -> None:
    """Restart a child that waits for its restart, now; not counted in the intensity.

    Raises:
        NotFound, Running: it is not there, or alive.
        NotRestarting: it is stopped.
        CallError: see `Ref.call`.
    """
    supervisor.call(RestartNow(id), timeout)


def which_children(supervisor: Ref, timeout: float) -> list[ChildInfo]:
    """All children, in the order of their start. (OTP gives them in the opposite order.)"""
    infos: list[ChildInfo] = supervisor.call(WhichChildren(), timeout)
    return infos


def count_children(supervisor: Ref, timeout: float) -> ChildCounts:
    """The numbers of children."""
    counts: ChildCounts = supervisor.call(CountChildren(), timeout)
    return counts
