"""How a session ends its whole instance, and what is to come of that."""

from __future__ import annotations

from dataclasses import dataclass

from supervisor.otp import ChildExit, Decision, Default, Escalate, Recovery, Shutdown


class InstanceRestart:
    """The term of a session's exit that asks for the whole subtree to be restarted."""

    def __repr__(self) -> str:
        return "restart instance"


@dataclass(frozen=True, slots=True)
class FormerDevice:
    """The term of a session's exit that asks for the whole subtree to be ended until that device is deleted."""

    why: str

    def __repr__(self) -> str:
        return f"the former device is not deleted: {self.why}"


class SessionRecovery(Recovery):
    """A session that asks for it ends its whole instance with it; a crash follows the supervisor's own rule."""

    def decide(self, exit: ChildExit) -> Decision:
        reason = exit.reason
        if isinstance(reason, Shutdown) and isinstance(reason.term, InstanceRestart | FormerDevice):
            return Escalate(reason.term)
        return Default()
