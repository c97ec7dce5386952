"""The system: one node with its names, its timers and its root actors. There is no global state besides."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any

from supervisor.otp.caller import Caller
from supervisor.otp.clock import Clock, ManualClock, SystemClock
from supervisor.otp.context import check_not_fenced, current
from supervisor.otp.errors import InitFailed, NameTaken, NoSuchActor, SystemStopped
from supervisor.otp.mailbox import Info
from supervisor.otp.process import Process
from supervisor.otp.reasons import KILLED, SHUTDOWN, Crash, ExitReason
from supervisor.otp.reports import CrashContext, CrashReport, FencedActor, Notice
from supervisor.otp.stop import Stop
from supervisor.otp.timers import Timer, Timers, TimerThread
from supervisor.otp.tree import ROOT, TreeNode, build_tree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from supervisor.otp.actor import Actor
    from supervisor.otp.ref import Ref

log = logging.getLogger("zapvisor.otp")


class System:
    """Starts, finds and stops actors.

    Args:
        clock: the time that timers, delays and windows follow.
        on_crash: called with each `CrashReport`, on the thread that noticed the crash; must not block.
        name: prefix of loggers and of the timer thread's name.
    """

    def __init__(
        self,
        clock: Clock | None = None,
        *,
        on_crash: Callable[[CrashReport], None] | None = None,
        name: str = "zapvisor",
    ) -> None:
        self.clock: Clock = clock if clock is not None else SystemClock()
        self.name = name
        self.logger = logging.getLogger(f"{name}.actor")
        self._on_crash = on_crash
        self._subscribers: list[Callable[[Notice], None]] = []
        self._names: dict[str, Process] = {}
        self._running: dict[Process, None] = {}  # In order of start; until the thread ends.
        self._fenced: dict[Process, FencedActor] = {}
        self._lock = threading.Lock()
        self._idle = threading.Condition(threading.Lock())
        self._stopped = False
        self._manual = isinstance(self.clock, ManualClock)
        self.timers: Timers
        if isinstance(self.clock, ManualClock):
            self.timers = Timers(self.clock)
            self.clock.attach(self)
        else:
            self.timers = TimerThread(self.clock, f"{name}-timers")

    # --- for users ---

    def start(self, actor_class: type[Actor], *args: Any, path: str = ROOT, **kwargs: Any) -> Ref:
        """Start an actor without a supervisor, usually the root supervisor; returns when its ``init`` has
        finished.

        Raises:
            InitFailed: its ``init`` ended it.
            NameTaken: a living actor has that path.
            SystemStopped: the system was shut down.
        """
        ref = self.spawn(actor_class, args, kwargs, path=path, parent=None)
        if ref is None:
            raise InitFailed(path, SHUTDOWN)
        return ref

    def stop(self, ref: Ref, reason: ExitReason = SHUTDOWN, timeout: float | None = 30.0) -> ExitReason:
        """Tell an actor to end, as its parent would, and wait; kill it if it has not ended after
        ``timeout`` seconds.

        Returns:
            The reason it ended with: KILLED if it missed the time.
        """
        return self.begin_stop(ref._process, reason, timeout).finish()

    def kill(self, ref: Ref) -> None:
        """End an actor at once, with the reason KILLED (``exit(Pid, kill)``); a busy thread is fenced."""
        check_not_fenced()
        ref._process.kill()

    def shutdown(self, timeout: float = 30.0) -> list[FencedActor]:
        """Stop every root actor, the last started first, then the timers; ``timeout`` is for each of them,
        in seconds.

        Returns:
            The actors whose threads are still busy after being killed. They can send nothing any more.
        """
        with self._lock:
            self._stopped = True
            roots = [process for process in self._running if process.parent is None and process.alive]
        for process in reversed(roots):
            self.begin_stop(process, SHUTDOWN, timeout).finish()
        # Below a root that had to be killed there may be some left.
        orphans = [process for process in list(self._running) if process.alive]
        for stop in [self.begin_stop(process, SHUTDOWN, timeout) for process in orphans]:
            stop.finish()
        self._join_threads(timeout)
        self.timers.close()
        if isinstance(self.clock, ManualClock):
            self.clock.detach(self)
        return self.fenced()

    def whereis(self, path: str) -> Ref | None:
        """The living actor of that name (``erlang:whereis/1``)."""
        process = self._names.get(path)
        return process.ref if process is not None else None

    def call(self, target: str | Ref, message: object, timeout: float) -> Any:
        """`Ref.call` by name.

        Raises:
            NoSuchActor: no living actor has that name.
            CallError: see `Ref.call`.
        """
        return self._resolve(target).call(message, timeout)

    def cast(self, target: str | Ref, message: object) -> bool:
        """`Ref.cast` by name. False if nobody of that name is alive."""
        if isinstance(target, str):
            check_not_fenced()
            process = self._names.get(target)
            return process is not None and process.ref.cast(message)
        return target.cast(message)

    def tree(self) -> TreeNode:
        """The supervision tree as it is now. Asks no actor, so it never blocks."""
        roots = [process for process in list(self._running) if process.parent is None and process.alive]
        return build_tree(roots, self.clock.monotonic())

    def fenced(self) -> list[FencedActor]:
        """Actors that were killed while busy and whose threads still run."""
        return list(self._fenced.values())

    def threads(self) -> int:
        """Threads of this system: one for each actor, fenced ones included, and one for timers."""
        return len(self._running) + int(isinstance(self.timers, TimerThread) and self.timers.running)

    def subscribe(self, callback: Callable[[Notice], None]) -> Callable[[], None]:
        """Call ``callback`` with each lifecycle notice, in the supervisor's thread: it must not block.

        Returns:
            A function that ends the subscription.
        """
        with self._lock:
            self._subscribers = [*self._subscribers, callback]
        return lambda: self._unsubscribe(callback)

    def settle(self, timeout: float = 10.0) -> None:
        """Wait until every actor waits for a message; only with a `ManualClock`. For tests.

        Raises:
            TimeoutError: an actor is still busy after ``timeout`` seconds of real time.
        """
        if not self._manual:
            raise RuntimeError("settle needs a ManualClock")
        with self._idle:
            if not self._idle.wait_for(self._is_quiet, timeout):
                busy = [process.path for process in list(self._running) if not _is_idle(process)]
                raise TimeoutError(f"still busy after {timeout:g} s: {', '.join(busy)}")

    # --- for the library ---

    def spawn(
        self,
        actor_class: type[Actor],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        *,
        path: str,
        parent: Process | None,
        step: Callable[[], object] | None = None,
        stop_limit: float | None = None,
    ) -> Ref | None:
        """Start an actor, linked to ``parent``, and wait for its ``init``; None if that said IGNORE.

        ``step`` runs in the new actor's thread before ``init``, and fails the start if it raises. ``stop_limit``
        is the time that is left to it in seconds if the parent is told to stop meanwhile.
        """
        check_not_fenced()
        process = Process(self, path, parent, actor_class, actor_class.trap_exit)
        started = Caller()
        actor = self._create(actor_class, process)
        self._register(process)
        process.watch(started, lambda reason: started.error(InitFailed(path, reason)))
        if parent is not None:
            process.link(parent)
            parent.begin_start(process, stop_limit)
        process.thread = threading.Thread(
            target=actor._live, args=(step, args, kwargs, started), name=path, daemon=actor.use_daemon_thread
        )
        try:
            process.thread.start()
        except BaseException as exception:  # noqa: BLE001 - no thread could be made
            process.finish(Crash(exception))
            self.thread_ended(process)
        in_time = self.wait(started, actor_class.init_timeout)
        if parent is not None:
            parent.starting = None
        process.unwatch(started)
        if not in_time:
            process.kill()
            raise InitFailed(path, process.reason or KILLED)
        ref: Ref | None = started.result()
        return ref

    def begin_stop(
        self, process: Process, reason: ExitReason, limit: float | None, *, brutal: bool = False
    ) -> Stop:
        """Tell a process to end, which it has ``limit`` seconds for (None: no limit), or kill it right away."""
        stop = Stop(self, process, limit)
        if brutal:
            process.kill()
        else:
            process.tell_to_stop(reason)
        return stop

    def wait(self, caller: Caller, seconds: float | None) -> bool:
        """Block until ``caller`` is answered or ``seconds`` have passed on the system's clock.

        Whether it is.
        """
        if not self._manual:
            return caller.wait(seconds)
        me = current.process
        timer = None if seconds is None else self.timers.schedule(seconds, caller.expire)
        if me is not None:
            me.parked_on = caller
            self._note_idle()
        # A caller outside of actors cannot advance the clock while it waits: its limit is in real time as
        # well.
        answered = caller.wait(seconds if me is None else None) and not caller.expired
        if me is not None:
            me.parked_on = None
        if timer is not None:
            timer.cancel()
        return answered

    def send_after(self, process: Process, delay: float, message: object) -> Timer:
        """See `Actor.send_after`."""
        info = Info(message)
        info.token = timer = self.timers.make(delay, lambda: process.mailbox.put_info(info))
        timer.owner = process.tokens
        process.expect(timer)
        if delay > 0:
            self.timers.add(timer)
        else:
            timer.fire()
        return timer

    def unregister(self, process: Process) -> None:
        """Its name is free."""
        with self._lock:
            if self._names.get(process.path) is process:
                del self._names[process.path]

    def thread_ended(self, process: Process) -> None:
        """The actor's thread is about to end."""
        with self._lock:
            self._running.pop(process, None)
            self._fenced.pop(process, None)
        if self._manual:
            self._note_idle()

    def note_fenced(self, process: Process) -> None:
        """It was killed while its thread was busy."""
        with self._lock:
            if process in self._running:
                self._fenced[process] = FencedActor(process.path, self.clock.wall(), process.path)
        if self._manual:
            self._note_idle()
        log.error(
            "%s: killed while busy: its thread is left to itself and its effects are refused", process.path
        )

    def report_crash(self, process: Process, reason: ExitReason) -> None:
        """An actor that nobody supervises crashed."""
        length, last_message = process.crash_info
        context = CrashContext.NOT_SUPERVISED
        self.report(CrashReport(process.path, context, reason, 0, 0, length, last_message, self.clock.wall()))

    def report(self, report: CrashReport) -> None:
        """Log a crash report and hand it to ``on_crash``."""
        if log.isEnabledFor(logging.ERROR):
            log.error("%s: %s: %s\n%s", report.path, report.context.value, report.reason, report.traceback)
        if self._on_crash is not None:
            try:
                self._on_crash(report)
            except Exception:
                log.exception("on_crash failed")

    @property
    def observed(self) -> bool:
        """Whether anyone subscribed to lifecycle notices."""
        return bool(self._subscribers)

    def notify(self, notice: Notice) -> None:
        """Hand a lifecycle notice to the subscribers."""
        for callback in self._subscribers:
            try:
                callback(notice)
            except Exception:
                log.exception("lifecycle subscriber failed")

    def _create(self, actor_class: type[Actor], process: Process) -> Actor:
        try:
            actor = actor_class(process)
        except Exception as exception:
            raise InitFailed(process.path, Crash(exception)) from exception
        if self._manual:
            process.mailbox.watch_idle(self._note_idle)
        return actor

    def _register(self, process: Process) -> None:
        with self._lock:
            if self._stopped and process.parent is None:
                raise SystemStopped(f"{self.name}: the system is shut down")
            taken = self._names.get(process.path)
            if taken is not None:
                raise NameTaken(process.path, taken.ref)
            self._names[process.path] = process
            self._running[process] = None

    def _resolve(self, target: str | Ref) -> Ref:
        if not isinstance(target, str):
            return target
        process = self._names.get(target)
        if process is None:
            raise NoSuchActor(target)
        return process.ref

    def _unsubscribe(self, callback: Callable[[Notice], None]) -> None:
        with self._lock:
            self._subscribers = [other for other in self._subscribers if other is not callback]

    def _join_threads(self, timeout: float) -> None:
        for process in list(self._running):
            if process not in self._fenced and process.thread is not threading.current_thread():
                process.thread.join(timeout)

    def _note_idle(self) -> None:
        with self._idle:
            self._idle.notify_all()

    def _is_quiet(self) -> bool:
        """Whether no actor has anything to do: all idle in two looks with nothing accepted in between."""
        before = self._look()
        return before is not None and before == self._look()

    def _look(self) -> list[tuple[Process, int, Caller | None]] | None:
        seen = []
        for process in list(self._running):
            if process in self._fenced:
                continue
            if not _is_idle(process):
                return None
            seen.append((process, process.mailbox.accepted, process.parked_on))
        return seen


def _is_idle(process: Process) -> bool:
    parked_on = process.parked_on
    if parked_on is not None:
        return not parked_on.answered
    return process.mailbox.waiting
