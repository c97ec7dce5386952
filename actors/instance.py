"""The subtree of one instance: a session and its connection, the second restarted with the first."""

from __future__ import annotations

from contextlib import suppress

from actors.connection import KILL_DEADLINE, Connection, ConnectionRecovery
from actors.context import InstanceContext
from actors.notices import GaveUp, GaveWay
from actors.services import INSTANCES, ROSTER
from actors.session.actor import Session
from actors.session.terms import FormerDevice, InstanceRestart, SessionRecovery
from supervisor.otp import (
    PERMANENT,
    REST_FOR_ONE,
    SUPERVISOR,
    ChildExit,
    ChildSpec,
    Decision,
    GiveUp,
    NoSuchActor,
    NotFound,
    Recovery,
    Ref,
    Restart,
    Shutdown,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
    terminate_child,
)

TREE_DEADLINE = 30.0
"""Seconds that an instance's subtree has to start, or to end."""
SESSION_DEADLINE = 1.0
"""Seconds that a session has to end when its subtree is cut down."""
CUT_DEADLINE = SESSION_DEADLINE + KILL_DEADLINE + 1.0
"""Seconds that cutting a subtree down takes at the most, the end of the connection's process included."""


def instance_spec(context: InstanceContext) -> ChildSpec:
    """The child of `instances` that is one instance; its id is the instance's name."""
    services = context.services
    supervision = services.settings.supervision
    flags = SupervisorFlags(REST_FOR_ONE, intensity=supervision.intensity, period=supervision.period)
    children = (
        ChildSpec(
            "session",
            Start(Session, context),
            restart=PERMANENT,
            shutdown=supervision.shutdown,
            recovery=SessionRecovery(),
        ),
        ChildSpec(
            "connection",
            Start(Connection, context),
            restart=PERMANENT,
            shutdown=supervision.shutdown,
            recovery=ConnectionRecovery(context),
        ),
    )
    return ChildSpec(
        context.name,
        Start(Supervisor, flags, children),
        restart=PERMANENT,
        shutdown=2 * supervision.shutdown,
        kind=SUPERVISOR,
        recovery=InstanceRecovery(context),
    )


def supervisor_of_all(system: System) -> Ref:
    """The supervisor whose children the instances are.

    Raises:
        NoSuchActor: it is just being restarted.
    """
    ref = system.whereis(INSTANCES)
    if ref is None:
        raise NoSuchActor(INSTANCES)
    return ref


def end_subtree(system: System, name: str) -> None:
    """End an instance's subtree in order, if there is one; its id is free then.

    Raises:
        CallError: it did not end within `TREE_DEADLINE`.
    """
    with suppress(NotFound):
        terminate_child(supervisor_of_all(system), name, TREE_DEADLINE)


def cut_down(system: System, name: str) -> None:
    """End an instance's subtree now, even if its session waits for something; no process of it is left then.

    Told in the usual way, its supervisor would give the session `[supervision] shutdown` to end, and `instances`, which
    waits for that, would start nobody else meanwhile. It counts as given up: the roster gets a `GaveUp`.
    """
    path = f"{INSTANCES}/{name}"
    supervisor, session, connection = map(system.whereis, (path, f"{path}/session", f"{path}/connection"))
    if supervisor is not None:
        system.kill(supervisor)
    if session is not None:
        system.stop(session, timeout=SESSION_DEADLINE)
    if connection is not None:
        system.stop(connection, timeout=CUT_DEADLINE - SESSION_DEADLINE)


class InstanceRecovery(Recovery):
    """What `instances` does about an ended instance.

    One that asked for its restart gets it, uncounted: it spends its own recovery budget. One that used up its own
    restart intensity is given up, and the roster brings it back as failed. One whose former device is still there is
    given up too, until the roster has seen to that. None of them touches its siblings.
    """

    def __init__(self, context: InstanceContext) -> None:
        self._context = context

    def decide(self, exit: ChildExit) -> Decision:
        reason = exit.reason
        if isinstance(reason, Shutdown) and isinstance(reason.term, InstanceRestart):
            return Restart(counted=False)
        if isinstance(reason, Shutdown) and isinstance(reason.term, FormerDevice):
            self._context.services.system.cast(ROSTER, GaveWay(self._context.name))
            return GiveUp()
        self._context.services.system.cast(ROSTER, GaveUp(self._context.name, str(reason)))
        return GiveUp()
