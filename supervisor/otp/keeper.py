"""Keeping children: starting one, stopping one, and telling about it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from supervisor.otp.actor import Actor
from supervisor.otp.children import Child, Phase, State
from supervisor.otp.errors import InitFailed, NameTaken
from supervisor.otp.reasons import SHUTDOWN, Crash, ExitReason, Killed, is_abnormal
from supervisor.otp.ref import Ref
from supervisor.otp.reports import CrashContext, CrashReport, Lifecycle, Notice
from supervisor.otp.spec import BRUTAL_KILL, PERMANENT, TEMPORARY, ChildSpec
from supervisor.otp.stop import Stop
from supervisor.otp.tree import child_path

Step: TypeAlias = Callable[[], object]


class ChildKeeper(Actor):
    """What a supervisor does with one child at a time, whatever its strategy."""

    _state: State

    # --- starting and stopping one child ---

    def _launch(self, id: str, step: Step | None = None, restarts: int = 0) -> ExitReason | None:
        """Start a child: None, or why it could not be started."""
        spec = self._state.children[id].spec
        restart = restarts > 0
        restarts += self._state.children[id].restarts
        try:
            ref = self.system.spawn(
                spec.start.actor_class,
                spec.start.args,
                spec.start.kwargs,
                path=child_path(self.path, id),
                parent=self._process,
                step=step,
                stop_limit=0.0 if spec.shutdown is BRUTAL_KILL else spec.stop_limit,
            )
        except (InitFailed, NameTaken) as error:
            reason = error.reason if isinstance(error, InitFailed) else Crash(error)
            self._report(CrashContext.START_ERROR, id, reason, None)
            self._state.change(id, restarts=restarts)
            return reason
        if ref is None:
            self._state.change(id, phase=Phase.TERMINATED, ref=None, timer=None, step=None, awaits=None)
            self._remove_ended(id)
            return None
        self._state.change(
            id, phase=Phase.RUNNING, ref=ref, timer=None, step=None, awaits=None, restarts=restarts
        )
        self._notice(Lifecycle.STARTED, id, None, restart=restart)
        return None

    def _stop_child(self, id: str) -> None:
        """Stop a child within its shutdown time, or its wait for a restart. Its record stays."""
        child = self._state.children[id]
        if child.timer is not None:
            child.timer.cancel()
        if child.ref is None:
            if child.phase is not Phase.TERMINATED or child.awaits is not None:
                self._state.change(id, phase=Phase.TERMINATED, timer=None, step=None, awaits=None)
            return
        self._end_stop(child, child.ref, self._begin_stop(child.spec, child.ref))

    def _begin_stop(self, spec: ChildSpec, ref: Ref) -> Stop:
        brutal = spec.shutdown is BRUTAL_KILL
        return self.system.begin_stop(ref._process, SHUTDOWN, spec.stop_limit, brutal=brutal)

    def _end_stop(self, child: Child, ref: Ref, stop: Stop) -> None:
        reason = stop.finish()
        if not _is_expected_stop(child.spec, reason):
            self._report(CrashContext.SHUTDOWN_ERROR, child.spec.id, reason, ref)
        self._state.change(
            child.spec.id, phase=Phase.TERMINATED, ref=None, timer=None, step=None, last_exit=reason
        )
        self._notice(Lifecycle.TERMINATED, child.spec.id, reason)

    def _stop_all(self) -> None:
        for id in reversed(self._state.children):
            self._stop_child(id)

    def _remove_ended(self, id: str) -> None:
        """The spec of a temporary child goes with it."""
        if self._state.children[id].spec.restart is TEMPORARY:
            del self._state.children[id]

    # --- telling ---

    def _notice(
        self,
        kind: Lifecycle,
        id: str,
        reason: ExitReason | None,
        due: float | None = None,
        *,
        restart: bool = False,
    ) -> None:
        if self.system.observed:
            path = child_path(self.path, id)
            self.system.notify(Notice(kind, path, id, self.path, reason, due, self.clock.wall(), restart))

    def _report(self, context: CrashContext, id: str, reason: ExitReason, ref: Ref | None) -> None:
        length, last_message = (0, "") if ref is None else ref._process.crash_info
        self.system.report(
            CrashReport(
                path=child_path(self.path, id),
                context=context,
                reason=reason,
                restarts=self._state.restarts_within_period(self.clock.monotonic()),
                intensity=self._state.flags.intensity,
                mailbox_length=length,
                last_message=last_message,
                at=self.clock.wall(),
            )
        )


def _is_expected_stop(spec: ChildSpec, reason: ExitReason) -> bool:
    """Whether a child that was told to stop ended as it should (supervisor.erl reports the others)."""
    if reason == SHUTDOWN or (spec.shutdown is BRUTAL_KILL and isinstance(reason, Killed)):
        return True
    return spec.restart is not PERMANENT and not is_abnormal(reason)
