"""One incarnation of an actor as others see it: alive or ended, its links, monitors and exit signals.

A process outlives its actor object by as long as someone holds a reference to it. Its lock guards the three
fields that both sides of an exit touch (reason, links, watchers), and is never held while another process
is entered.
"""

from __future__ import annotations

import _thread
from typing import TYPE_CHECKING, Any, TypeAlias

from supervisor.otp.errors import ActorDown, Fenced
from supervisor.otp.mailbox import Info, ParentExit
from supervisor.otp.messages import Down, ExitSignal, Monitor
from supervisor.otp.reasons import KILLED, ExitReason, Normal

if TYPE_CHECKING:
    from collections.abc import Callable
    from threading import Thread

    from supervisor.otp.caller import Caller
    from supervisor.otp.mailbox import Mailbox
    from supervisor.otp.ref import Ref
    from supervisor.otp.system import System
    from supervisor.otp.timers import Timer

    Expected: TypeAlias = "Timer | Monitor"


class Process:
    """See the module."""

    __slots__ = (
        "__weakref__",
        "_links",
        "_lock",
        "_watchers",
        "actor_class",
        "crash_info",
        "current",
        "deferred",
        "dropped",
        "killed",
        "mailbox",
        "owned_pid",
        "parent",
        "parked_on",
        "path",
        "reason",
        "ref",
        "started_at",
        "starting",
        "stopping",
        "supervises",
        "system",
        "thread",
        "tokens",
        "trap_exit",
    )

    mailbox: Mailbox
    ref: Ref
    thread: Thread

    def __init__(
        self, system: System, path: str, parent: Process | None, actor_class: type, trap_exit: bool
    ) -> None:
        self.system = system
        self.path = path
        self.parent = parent
        self.actor_class = actor_class
        self.trap_exit = trap_exit
        self.started_at = system.clock.monotonic()
        self.reason: ExitReason | None = None
        self.killed = False
        self.dropped = 0
        self.current: Caller | None = None
        self.parked_on: Caller | None = None
        self.deferred: set[Caller] = set()
        self.tokens: set[Expected] = set()
        self.crash_info: tuple[int, str] = (0, "")
        self.supervises: Any = None
        self.starting: tuple[Process, float | None] | None = None
        self.stopping = False
        self.owned_pid: int | None = None
        self._lock = _thread.allocate_lock()
        self._links: set[Process] = set()
        self._watchers: dict[object, Callable[[ExitReason], object]] = {}

    @property
    def alive(self) -> bool:
        """Whether it has not ended."""
        return self.reason is None

    # --- what others do to it ---

    def kill(self) -> None:
        """End it now, with the reason KILLED, whatever its thread does (OTP: ``exit(Pid, kill)``).

        The thread cannot be stopped: until it comes back from its handler, all that it sends is refused.
        """
        idle = self.mailbox.waiting
        self.killed = True
        if self.finish(KILLED) and not idle:
            self.system.note_fenced(self)

    def tell_to_stop(self, reason: ExitReason) -> None:
        """What a parent's exit signal does: end, after what is queued if exits are trapped, else at once."""
        if self.trap_exit:
            self.mailbox.put_info(ParentExit(reason))
        else:
            self.mailbox.interrupt(reason)
        self.hasten()

    def begin_start(self, child: Process, stop_limit: float | None) -> None:
        """It waits for the ``init`` of ``child``, which has ``stop_limit`` seconds left once this is to stop."""
        self.starting = (child, stop_limit)
        if self.stopping:
            self.hasten()

    def hasten(self) -> None:
        """It is to stop: a child that it is starting must not keep it from that (OTP waits for the child)."""
        self.stopping = True
        starting = self.starting
        if starting is not None:
            child, stop_limit = starting
            child.hasten()
            if stop_limit is not None:
                self.system.timers.schedule(stop_limit, lambda: self._end_start(starting))

    def exit_signal(self, source: Process, reason: ExitReason) -> None:
        """A linked process ended (Reference Manual, Processes, "Receiving Exit Signals")."""
        if source is self.parent:
            self.give_up_names()
            self.tell_to_stop(reason)
        elif self.trap_exit:
            self.mailbox.put_info(Info(ExitSignal(source.ref, source.path, reason)))
        elif not isinstance(reason, Normal):
            self.mailbox.interrupt(reason)

    def give_up_names(self) -> None:
        """Its parent is gone, and may be restarted before this has ended: the names are for its successors."""
        self.system.unregister(self)
        if self.supervises is not None:
            for child in list(self.supervises.children.values()):
                if child.ref is not None:
                    child.ref._process.give_up_names()

    def watch(self, key: object, callback: Callable[[ExitReason], object]) -> None:
        """Call ``callback`` with the reason when it ends; at once if it has. It must not block."""
        with self._lock:
            if self.reason is None:
                self._watchers[key] = callback
                return
        callback(self.reason)

    def unwatch(self, key: object) -> None:
        """Undo `watch`."""
        with self._lock:
            self._watchers.pop(key, None)

    def expect(self, token: Expected) -> None:
        """A message may come of this timer or monitor: it is cancelled if this process ends before.

        Raises:
            Fenced: this process has ended.
        """
        self.tokens.add(token)
        if self.reason is not None:
            token.cancel()
            raise Fenced(self.path)

    def link(self, other: Process) -> None:
        """Let the exit of each be a signal to the other."""
        if (reason := other._add_link(self)) is not None:
            self.exit_signal(other, reason)
        elif (reason := self._add_link(other)) is not None:
            other._drop_link(self)
            other.exit_signal(self, reason)

    def unlink(self, other: Process) -> None:
        """Undo `link`."""
        for one, two in ((self, other), (other, self)):
            with one._lock:
                one._links.discard(two)

    def monitor(self, target: Process) -> Monitor:
        """Let a `Down` come to this process's mailbox when ``target`` ends."""
        monitor = Monitor(target.ref)
        self.expect(monitor)
        target.watch(
            monitor,
            lambda reason: self.mailbox.put_info(
                Info(Down(monitor, target.ref, target.path, reason), monitor)
            ),
        )
        return monitor

    # --- how it ends ---

    def finish(self, reason: ExitReason) -> bool:
        """It ended with ``reason``: no message is accepted any more, and everyone who waits is told.

        The first reason counts. Whether this was it.
        """
        with self._lock:
            if self.reason is not None:
                return False
            self.reason = reason
            links, self._links = self._links, set()
            watchers, self._watchers = self._watchers, {}
        left = self.mailbox.close()
        self.system.unregister(self)
        self._answer_callers(reason, [envelope.reply_to for envelope in left])
        for token in list(self.tokens):
            token.cancel()
        self.tokens.clear()
        for other in links:
            other._drop_link(self)
            other.exit_signal(self, reason)
        for callback in watchers.values():
            callback(reason)
        return True

    def fail_current(self, reason: ExitReason) -> None:
        """Tell the caller of the message being handled that there will be no answer."""
        if self.current is not None:
            self.current.error(ActorDown(self.path, reason))

    def _end_start(self, starting: tuple[Process, float | None]) -> None:
        if self.starting is starting:
            starting[0].kill()

    def _answer_callers(self, reason: ExitReason, queued: list[Any]) -> None:
        self.fail_current(reason)
        for reply in queued:
            if reply is not None:
                _fail(reply, ActorDown(self.path, reason))
        for caller in list(self.deferred):
            caller.error(ActorDown(self.path, reason))
        self.deferred.clear()

    def _add_link(self, other: Process) -> ExitReason | None:
        """None, or, if it has ended, the reason."""
        with self._lock:
            if self.reason is None:
                self._links.add(other)
            return self.reason

    def _drop_link(self, other: Process) -> None:
        with self._lock:
            self._links.discard(other)


def _fail(reply: Any, error: Exception) -> None:
    reply.set_exception((type(error), error, None))
