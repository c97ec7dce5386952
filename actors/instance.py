"""The subtree of one instance: a session and its connection, the second restarted with the first."""

from __future__ import annotations

from actors.connection import Connection, ConnectionRecovery
from actors.context import InstanceContext
from actors.notices import GaveUp
from actors.services import ROSTER
from actors.session.actor import InstanceRestart, Session, SessionRecovery
from supervisor.otp import (
    PERMANENT,
    REST_FOR_ONE,
    SUPERVISOR,
    ChildExit,
    ChildSpec,
    Decision,
    GiveUp,
    Recovery,
    Restart,
    Shutdown,
    Start,
    Supervisor,
    SupervisorFlags,
)


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


class InstanceRecovery(Recovery):
    """What `instances` does about an ended instance.

    One that asked for its restart gets it, uncounted: it spends its own recovery budget. One that used up its own
    restart intensity is given up, and the roster brings it back as failed. Neither touches its siblings.
    """

    def __init__(self, context: InstanceContext) -> None:
        self._context = context

    def decide(self, exit: ChildExit) -> Decision:
        reason = exit.reason
        if isinstance(reason, Shutdown) and isinstance(reason.term, InstanceRestart):
            return Restart(counted=False)
        self._context.services.system.cast(ROSTER, GaveUp(self._context.name, str(reason)))
        return GiveUp()
