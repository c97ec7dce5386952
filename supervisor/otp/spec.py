"""Child specs and supervisor flags (supervisor(3), "Child specification", "Supervisor flags"), checked when
made.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from supervisor.otp.actor import Actor
from supervisor.otp.errors import BadSpec

if TYPE_CHECKING:
    from supervisor.otp.recovery import Recovery

E = TypeVar("E", bound=enum.Enum)


class RestartType(enum.Enum):
    """When a child that ended is restarted: always, only after an abnormal end, never."""

    PERMANENT = "permanent"
    TRANSIENT = "transient"
    TEMPORARY = "temporary"


class ShutdownMode(enum.Enum):
    """How a child is stopped, besides a time in seconds: killed at once, or waited for without limit."""

    BRUTAL_KILL = "brutal_kill"
    INFINITY = "infinity"


class ChildKind(enum.Enum):
    """What a child is."""

    WORKER = "worker"
    SUPERVISOR = "supervisor"


class Strategy(enum.Enum):
    """Who is restarted with a child: nobody, all, or those that were started after it."""

    ONE_FOR_ONE = "one_for_one"
    ONE_FOR_ALL = "one_for_all"
    REST_FOR_ONE = "rest_for_one"


class AutoShutdown(enum.Enum):
    """Whether a supervisor ends when any, or all, of its significant children have ended by themselves."""

    NEVER = "never"
    ANY_SIGNIFICANT = "any_significant"
    ALL_SIGNIFICANT = "all_significant"


PERMANENT, TRANSIENT, TEMPORARY = RestartType.PERMANENT, RestartType.TRANSIENT, RestartType.TEMPORARY
BRUTAL_KILL, INFINITY = ShutdownMode.BRUTAL_KILL, ShutdownMode.INFINITY
WORKER, SUPERVISOR = ChildKind.WORKER, ChildKind.SUPERVISOR
ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE = Strategy.ONE_FOR_ONE, Strategy.ONE_FOR_ALL, Strategy.REST_FOR_ONE
NEVER, ANY_SIGNIFICANT = AutoShutdown.NEVER, AutoShutdown.ANY_SIGNIFICANT
ALL_SIGNIFICANT = AutoShutdown.ALL_SIGNIFICANT

ShutdownTime: TypeAlias = float | ShutdownMode


class Start:
    """How a child is started: its class, and the arguments of its ``init``."""

    __slots__ = ("actor_class", "args", "kwargs")

    def __init__(self, actor_class: type[Actor], /, *args: Any, **kwargs: Any) -> None:
        if not (isinstance(actor_class, type) and issubclass(actor_class, Actor)):
            raise BadSpec("start", actor_class, "a subclass of Actor, then the arguments of its init")
        self.actor_class = actor_class
        self.args = args
        self.kwargs: Mapping[str, Any] = kwargs

    def __repr__(self) -> str:
        # Arguments may be secrets.
        return f"Start({self.actor_class.__name__}, ...)"


@dataclass(frozen=True, slots=True, init=False)
class ChildSpec:
    """What a supervisor knows of a child before it is started.

    Args:
        id: its name among its siblings; not empty, without "/".
        start: its class and arguments.
        restart: see `RestartType`.
        shutdown: seconds that it has to end when told to; BRUTAL_KILL; INFINITY. 5 s for a worker, INFINITY
        for a
            supervisor if not given.
        kind: WORKER or SUPERVISOR; by its class if not given.
        significant: its end by itself counts for the supervisor's ``auto_shutdown``; not with PERMANENT.
        recovery: decides about its restarts instead of the plain rule; not with TEMPORARY.

    Raises:
        BadSpec: names the field, the value and what is allowed.
    """

    id: str
    start: Start
    restart: RestartType
    shutdown: ShutdownTime
    kind: ChildKind
    significant: bool
    recovery: Recovery | None

    def __init__(  # noqa: PLR0917
        self,
        id: str,
        start: Start,
        restart: RestartType = PERMANENT,
        shutdown: ShutdownTime | None = None,
        kind: ChildKind | None = None,
        significant: bool = False,
        recovery: Recovery | None = None,
    ) -> None:
        _check_id(id)
        if not isinstance(start, Start):
            raise BadSpec("start", start, "Start(actor_class, ...)")
        _check_member("restart", restart, RestartType)
        if kind is None:
            kind = SUPERVISOR if start.actor_class.is_supervisor else WORKER
        _check_member("kind", kind, ChildKind)
        if shutdown is None:
            shutdown = INFINITY if kind is SUPERVISOR else 5.0
        _check_shutdown(shutdown)
        _check_significant(significant, restart)
        _check_recovery(recovery, restart)
        values = {"id": id, "start": start, "restart": restart, "shutdown": shutdown, "kind": kind}
        for field, value in {**values, "significant": significant, "recovery": recovery}.items():
            object.__setattr__(self, field, value)

    @property
    def stop_limit(self) -> float | None:
        """Seconds to wait for its end when told to; None for no limit."""
        return None if isinstance(self.shutdown, ShutdownMode) else self.shutdown


@dataclass(frozen=True, slots=True)
class SupervisorFlags:
    """How a supervisor treats its children.

    Args:
        strategy: see `Strategy`.
        intensity: restarts allowed within ``period``; one more, and the supervisor stops all and ends.
        period: seconds.
        auto_shutdown: see `AutoShutdown`.

    Raises:
        BadSpec: names the field, the value and what is allowed.
    """

    strategy: Strategy = ONE_FOR_ONE
    intensity: int = 1
    period: float = 5.0
    auto_shutdown: AutoShutdown = NEVER

    def __post_init__(self) -> None:
        _check_member("strategy", self.strategy, Strategy)
        if type(self.intensity) is not int or self.intensity < 0:
            raise BadSpec("intensity", self.intensity, "a whole number, 0 or more")
        if not _is_number(self.period) or self.period <= 0 or math.isinf(self.period):
            raise BadSpec("period", self.period, "seconds, more than 0")
        _check_member("auto_shutdown", self.auto_shutdown, AutoShutdown)


def check_children(specs: Sequence[ChildSpec], flags: SupervisorFlags) -> None:
    """Check the specs of one supervisor against its flags and each other.

    Raises:
        BadSpec: names the field, the value and what is allowed.
    """
    seen: set[str] = set()
    for spec in specs:
        check_child(spec, flags)
        if spec.id in seen:
            raise BadSpec("id", spec.id, "an id that no sibling has")
        seen.add(spec.id)


def check_child(spec: ChildSpec, flags: SupervisorFlags) -> None:
    """Check one spec against its supervisor's flags.

    Raises:
        BadSpec: names the field, the value and what is allowed.
    """
    if not isinstance(spec, ChildSpec):
        raise BadSpec("children", spec, "ChildSpec")
    if spec.significant and flags.auto_shutdown is NEVER:
        raise BadSpec("significant", True, f"False for child {spec.id!r}, since auto_shutdown is never")


def _check_id(id: object) -> None:
    if not isinstance(id, str) or not id or "/" in id:
        raise BadSpec("id", id, 'a string, not empty, without "/"')


def _check_member(field: str, value: object, kind: type[E]) -> None:
    if not isinstance(value, kind):
        raise BadSpec(field, value, ", ".join(member.name for member in kind))


def _check_shutdown(shutdown: object) -> None:
    if isinstance(shutdown, ShutdownMode):
        return
    if not _is_number(shutdown) or not 0 <= shutdown < math.inf:  # type: ignore[operator]
        raise BadSpec("shutdown", shutdown, "seconds, 0 or more; BRUTAL_KILL; INFINITY")


def _check_significant(significant: object, restart: RestartType) -> None:
    if not isinstance(significant, bool):
        raise BadSpec("significant", significant, "True, False")
    if significant and restart is PERMANENT:
        raise BadSpec("significant", significant, "False for a permanent child, which never ends for good")


def _check_recovery(recovery: object, restart: RestartType) -> None:
    from supervisor.otp.recovery import Recovery

    if recovery is None:
        return
    if not isinstance(recovery, Recovery):
        raise BadSpec("recovery", recovery, "a Recovery, or None")
    if restart is TEMPORARY:
        raise BadSpec("recovery", recovery, "None for a temporary child, which is never restarted")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and not math.isnan(value)
