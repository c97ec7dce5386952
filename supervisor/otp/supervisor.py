"""The supervisor (supervisor(3)).

Starts its children in order, restarts them by the rules, stops them in reverse.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from supervisor.otp import admin
from supervisor.otp.caller import Caller
from supervisor.otp.children import Child, Phase, State
from supervisor.otp.errors import (
    AlreadyPresent,
    AlreadyStarted,
    BadSpec,
    NotFound,
    NotRestarting,
    NotSupported,
    Refusal,
    Restarting,
    Running,
    StartFailed,
    UnknownMessage,
)
from supervisor.otp.keeper import ChildKeeper, Step
from supervisor.otp.messages import ExitSignal
from supervisor.otp.reasons import SHUTDOWN, Crash, ExitReason, Shutdown, is_abnormal
from supervisor.otp.recovery import ChildExit, Decision, Default, Escalate, GiveUp, Hold, Restart
from supervisor.otp.ref import Ref
from supervisor.otp.reports import CrashContext, Lifecycle
from supervisor.otp.spec import (
    ANY_SIGNIFICANT,
    NEVER,
    PERMANENT,
    TEMPORARY,
    ChildKind,
    ChildSpec,
    SupervisorFlags,
    check_child,
    check_children,
)


@dataclass(frozen=True, slots=True)
class FailedToStart:
    """The term of a supervisor's ``Shutdown`` when one of its children could not be started with it."""

    id: str
    reason: ExitReason


@dataclass(frozen=True, slots=True)
class _TryAgain:
    """A start failed: try again, after what has come in meanwhile (a shutdown, for one)."""

    id: str


@dataclass(frozen=True, slots=True)
class _RestartDue:
    """A delayed restart is due."""

    id: str


class Supervisor(ChildKeeper):
    """An actor whose job is its children.

    Subclasses may override ``init`` and call ``super().init(flags, specs)``.
    """

    mailbox_limit = None
    trap_exit = True
    init_timeout = None  # The children's own limits bound it.
    is_supervisor = True

    def init(self, flags: SupervisorFlags | None = None, children: Sequence[ChildSpec] = ()) -> object:
        """Start the children in order.

        If one fails, those started are stopped in reverse, and this supervisor ends with
        ``Shutdown(FailedToStart(id, reason))``.

        Raises:
            BadSpec: the flags or a spec are wrong.
        """
        flags = SupervisorFlags() if flags is None else flags
        check_children(children, flags)
        self._state = State(flags)
        self._process.supervises = self._state
        for spec in children:
            self._state.children[spec.id] = Child(spec)
        for spec in children:
            failure = self._launch(spec.id)
            if failure is not None:
                self._stop_all()
                self.exit(Shutdown(FailedToStart(spec.id, failure)))
        return None

    # --- messages ---

    def handle_call(self, message: Any, caller: Caller) -> Any:
        handler = _ADMIN.get(type(message))
        if handler is None:
            raise UnknownMessage(self.path, message)
        try:
            return handler(self, message)
        except BadSpec as error:
            caller.error(error)
            return None

    def handle_cast(self, message: Any) -> None:
        try:
            if isinstance(message, _TryAgain):
                self._try_again(message.id)
            elif (handler := _ADMIN.get(type(message))) is not None:
                handler(self, message)
            else:
                super().handle_cast(message)
        except (Refusal, BadSpec) as refusal:
            self.log.warning("%s refused: %s", type(message).__name__, refusal)

    def handle_info(self, message: Any) -> None:
        if isinstance(message, ExitSignal):
            self._child_ended(message.ref, message.reason)
        elif isinstance(message, _RestartDue):
            self._restart_waiting(message.id)
        else:
            super().handle_info(message)

    def terminate(self, reason: ExitReason) -> None:
        self._stop_all()

    # --- administration ---

    def _start_child(self, spec: ChildSpec) -> object:
        check_child(spec, self._state.flags)
        present = self._state.children.get(spec.id)
        if present is not None:
            raise AlreadyPresent(spec.id) if present.ref is None else AlreadyStarted(spec.id, present.ref)
        self._state.children[spec.id] = Child(spec)
        failure = self._launch(spec.id)
        if failure is not None:
            del self._state.children[spec.id]
            raise StartFailed(spec.id, failure)
        return self._ref_of(spec.id)

    def _start_from_template(self, message: admin.StartFromTemplate) -> object:
        raise NotSupported(message.id)

    def _terminate_child(self, id: str) -> None:
        child = self._find(id)
        self._stop_child(id)
        self._remove_ended(id)
        if child.phase is Phase.WAITING:
            self._start_waiting_on(id)

    def _restart_child(self, id: str) -> object:
        self._refuse_unless_stopped(self._find(id))
        failure = self._launch(id)
        if failure is not None:
            raise StartFailed(id, failure)
        return self._ref_of(id)

    def _delete_child(self, id: str) -> None:
        child = self._find(id)
        if child.phase is not Phase.WAITING:
            self._refuse_unless_stopped(child)
        self._stop_child(id)
        del self._state.children[id]
        if child.phase is Phase.WAITING:
            self._start_waiting_on(id)

    def _restart_now(self, id: str) -> None:
        child = self._find_restarting(id)
        self._restart(id, child.step)

    def _resume(self, message: admin.Resume) -> None:
        child = self._find_restarting(message.id)
        self._wait_for(child, message.after, message.step)

    def _recovered(self, id: str) -> None:
        self._find(id)
        self._state.change(id, attempt=0)

    def _which_children(self) -> list[admin.ChildInfo]:
        return [
            admin.ChildInfo(
                child.spec.id,
                admin.RESTARTING if child.shown_state == "restarting" else child.ref,
                child.spec.kind,
            )
            for child in self._state.children.values()
        ]

    def _count_children(self) -> admin.ChildCounts:
        children = self._state.children.values()
        return admin.ChildCounts(
            specs=len(children),
            active=sum(1 for child in children if child.ref is not None and child.ref.alive),
            supervisors=sum(1 for child in children if child.spec.kind is ChildKind.SUPERVISOR),
            workers=sum(1 for child in children if child.spec.kind is ChildKind.WORKER),
        )

    def _find(self, id: str) -> Child:
        child = self._state.children.get(id)
        if child is None:
            raise NotFound(id)
        return child

    def _find_restarting(self, id: str) -> Child:
        child = self._find(id)
        if child.phase is Phase.RUNNING:
            raise Running(id)
        if child.phase is Phase.TERMINATED:
            raise NotRestarting(id)
        return child

    def _refuse_unless_stopped(self, child: Child) -> None:
        if child.phase is Phase.RUNNING:
            raise Running(child.spec.id)
        if child.phase is not Phase.TERMINATED:
            raise Restarting(child.spec.id)

    def _ref_of(self, id: str) -> Ref | None:
        child = self._state.children.get(id)
        return None if child is None else child.ref

    # --- a child ended ---

    def _child_ended(self, ref: Ref, reason: ExitReason) -> None:
        child = self._state.child_of(ref)
        if child is None:
            return  # Stopped by this supervisor, or never its child.
        id = child.spec.id
        self._notice(Lifecycle.EXITED, id, reason)
        uptime = self.clock.monotonic() - ref._process.started_at
        decision = self._decide(child, ref, reason, uptime)
        if is_abnormal(reason) or (child.spec.restart is PERMANENT and isinstance(decision, Default)):
            self._report(CrashContext.CHILD_TERMINATED, id, reason, ref)
        child = self._state.change(id, phase=Phase.TERMINATED, ref=None, last_exit=reason)
        match decision:
            case Default():
                self._apply_plain_rule(child, reason)
            case Restart(after=after, step=step, counted=counted):
                self._count_restart(id, counted)
                if after > 0:
                    self._wait_for(child, after, step)
                else:
                    self._restart(id, step)
            case _:
                self._apply_rare(child, decision)

    def _apply_plain_rule(self, child: Child, reason: ExitReason) -> None:
        if _is_restarted(child.spec, reason):
            self._count_restart(child.spec.id, True)
            self._restart(child.spec.id, None)
        else:
            self._ended_for_good(child)

    def _apply_rare(self, child: Child, decision: Decision) -> None:
        match decision:
            case Hold():
                self._wait_for(child, None, None)
            case GiveUp():
                self._ended_for_good(child)
                self._start_waiting_on(child.spec.id)
            case Escalate(term=term):
                self.exit(Shutdown(term))

    def _decide(self, child: Child, ref: Ref | None, reason: ExitReason, uptime: float) -> Decision:
        if child.spec.recovery is None:
            return Default()
        attempt = child.attempt + 1
        self._state.change(child.spec.id, attempt=attempt)
        try:
            return child.spec.recovery.decide(
                ChildExit(child.spec.id, ref, reason, attempt, self.clock.monotonic(), uptime)
            )
        except Exception as exception:  # noqa: BLE001
            self._report(CrashContext.CHILD_TERMINATED, child.spec.id, Crash(exception), None)
            return Default()

    def _ended_for_good(self, child: Child) -> None:
        self._state.change(child.spec.id, phase=Phase.TERMINATED, ref=None)
        self._notice(Lifecycle.TERMINATED, child.spec.id, child.last_exit)
        self._remove_ended(child.spec.id)
        if child.spec.significant and self._ends_with_significant():
            self.exit(SHUTDOWN)

    def _ends_with_significant(self) -> bool:
        flags = self._state.flags
        if flags.auto_shutdown is NEVER:
            return False
        left = (
            c for c in self._state.children.values() if c.spec.significant and c.phase is not Phase.TERMINATED
        )
        return flags.auto_shutdown is ANY_SIGNIFICANT or not any(left)

    def _count_restart(self, id: str, counted: bool) -> None:
        if counted and not self._state.add_restart(self.clock.monotonic()):
            self._report(CrashContext.SHUTDOWN, id, SHUTDOWN, None)
            self.exit(SHUTDOWN)

    # --- restarting ---

    def _restart(self, id: str, step: Step | None) -> None:
        """Stop the affected siblings in reverse, then start them all, and the child, in order."""
        self._stop_affected(id)
        self._start_in_order(self._state.affected(id), {id: step})

    def _stop_affected(self, id: str) -> None:
        for sibling in reversed(self._state.affected(id)):
            self._stop_child(sibling)
            if sibling != id:
                self._state.change(sibling, awaits=id)
                if self._state.children[sibling].spec.restart is TEMPORARY:
                    del self._state.children[sibling]

    def _start_in_order(self, ids: Sequence[str], steps: dict[str, Step | None]) -> None:
        for n, id in enumerate(ids):
            failure = self._launch(id, steps.get(id), restarts=1)
            if failure is not None:
                for later in ids[n + 1 :]:
                    self._state.change(later, awaits=id)
                self._restart_failed(
                    self._state.change(id, phase=Phase.RESTARTING, last_exit=failure), failure
                )
                return

    def _restart_failed(self, child: Child, failure: ExitReason) -> None:
        id = child.spec.id
        decision = self._decide(child, None, failure, 0.0)
        match decision:
            case Default():
                self._notice(Lifecycle.RESTARTING, id, failure)
                self.ref.cast(_TryAgain(id))
            case Restart(after=after, step=step, counted=counted):
                self._count_restart(id, counted)
                self._wait_for(child, after, step)
            case _:
                self._apply_rare(child, decision)

    def _try_again(self, id: str) -> None:
        child = self._state.children.get(id)
        if child is not None and child.phase is Phase.RESTARTING:
            self._count_restart(id, True)
            self._restart(id, None)

    def _wait_for(self, child: Child, after: float | None, step: Step | None) -> None:
        """Let the child, and those it affects, wait for its restart: ``after`` seconds, or held."""
        id = child.spec.id
        self._stop_affected(id)
        timer = None if after is None else self.send_after(after, _RestartDue(id))
        child = self._state.change(id, phase=Phase.WAITING, ref=None, timer=timer, step=step, awaits=None)
        self._notice(Lifecycle.RESTARTING, id, child.last_exit, child.due)

    def _restart_waiting(self, id: str) -> None:
        """Its time has come. The timer of a child that waits no longer is cancelled, so it does wait."""
        self._restart(id, self._state.children[id].step)

    def _start_waiting_on(self, id: str) -> None:
        """The delayed restart of ``id`` will not come: start those that waited with it."""
        self._start_in_order(self._state.waiting_on(id), {})


_ADMIN: dict[type, Callable[[Supervisor, Any], object]] = {
    admin.StartChild: lambda self, message: self._start_child(message.spec),
    admin.StartFromTemplate: lambda self, message: self._start_from_template(message),
    admin.TerminateChild: lambda self, message: self._terminate_child(message.id),
    admin.RestartChild: lambda self, message: self._restart_child(message.id),
    admin.DeleteChild: lambda self, message: self._delete_child(message.id),
    admin.RestartNow: lambda self, message: self._restart_now(message.id),
    admin.Resume: lambda self, message: self._resume(message),
    admin.Recovered: lambda self, message: self._recovered(message.id),
    admin.WhichChildren: lambda self, _: self._which_children(),
    admin.CountChildren: lambda self, _: self._count_children(),
}


def _is_restarted(spec: ChildSpec, reason: ExitReason) -> bool:
    return spec.restart is PERMANENT or (spec.restart is not TEMPORARY and is_abnormal(reason))
