"""The actor: pykka's, with the callbacks and the life of OTP's gen_server."""

from __future__ import annotations

import logging
import threading
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, NoReturn

import pykka

from supervisor.otp.caller import Caller
from supervisor.otp.context import check_not_fenced, current
from supervisor.otp.errors import Refusal, UnknownMessage
from supervisor.otp.mailbox import CLOSED, Info, Interrupt, Mailbox, ParentExit
from supervisor.otp.reasons import KILLED, NORMAL, Crash, ExitReason, is_abnormal
from supervisor.otp.ref import Ref

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from pykka._envelope import Envelope

    from supervisor.otp.clock import Clock
    from supervisor.otp.messages import Monitor
    from supervisor.otp.process import Process
    from supervisor.otp.system import System
    from supervisor.otp.timers import Timer


class NoReply:
    """The type of `NO_REPLY`."""

    def __repr__(self) -> str:
        return "NO_REPLY"


NO_REPLY: Final = NoReply()
"""Returned by ``handle_call``: the answer comes later, by ``caller.reply`` or ``caller.error``."""

IGNORE: Final = object()
"""Returned by ``init``: there is nothing to run; the actor ends normally and its start gives None."""


class ExitActor(BaseException):
    """What `Actor.exit` raises.

    Not an Exception, so that ``except Exception`` in a handler lets it through.
    """

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(str(reason))
        self.reason = reason


class Actor(pykka.ThreadingActor):
    """A thread with a mailbox that handles one message after another (gen_server(3)).

    Subclasses override `init`, the handlers and `terminate`, never ``__init__``. Actors are started by a
    `System` or by a supervisor. An exception from any callback, BaseException included, ends this actor
    alone, with a `Crash`.
    """

    mailbox_limit: ClassVar[int | None] = 10_000
    """Calls and casts that may wait; None for no limit. Beyond it a call raises MailboxFull in the caller."""

    mailbox_overflow: ClassVar[Literal["raise", "drop"]] = "raise"
    """What a cast to a full mailbox does: raise MailboxFull, or be dropped and counted in ``Ref.dropped``."""

    trap_exit: ClassVar[bool] = False
    """Turn exit signals of linked actors into `ExitSignal` messages, and take a parent's after what is
    queued.
    """

    init_timeout: ClassVar[float | None] = 60.0
    """Seconds that `init` may take (and the step before it).

    Then the actor is killed and its start has failed.
    """

    is_supervisor: ClassVar[bool] = False

    use_daemon_thread = True  # A fenced thread that never returns must not keep the interpreter from ending.

    def __init__(self, process: Process) -> None:
        # What pykka's __init__ sets, without a random URN: that would be half the cost of an actor, and the
        # incarnation's name is unique.
        self.actor_urn = process.path
        self.actor_inbox = process.mailbox = self._create_actor_inbox()
        self.actor_stopped = threading.Event()
        process.mailbox.limit = self.mailbox_limit
        process.ref = self._actor_ref = Ref(self, process)
        self._process = process

    actor_inbox: Mailbox

    # --- callbacks ---

    def init(self, *args: Any, **kwargs: Any) -> object:
        """Set up, in the actor's thread; whoever starts the actor waits for it. An exception is a failed
        start.

        Return IGNORE to say that there is nothing to run.
        """

    def handle_call(self, message: Any, caller: Caller) -> Any:
        """Answer a call: the value returned is the reply, or NO_REPLY if ``caller`` is answered later.

        A `Refusal` raised here goes to the caller; any other exception crashes the actor.
        """
        raise UnknownMessage(self.path, message)

    def handle_cast(self, message: Any) -> None:
        """Handle a message that nobody waits for."""
        self.log.warning("unexpected cast %s", type(message).__name__)

    def handle_info(self, message: Any) -> None:
        """Handle a timer's message, a `Down`, or, trapping exits, an `ExitSignal`."""
        self.log.warning("unexpected message %s", type(message).__name__)

    def terminate(self, reason: ExitReason) -> None:
        """Clean up before the actor ends, however it ends, except when it is killed or `init` failed."""

    # --- what an actor can do ---

    @property
    def ref(self) -> Ref:
        """This incarnation."""
        return self._process.ref

    def owns(self, pid: int | None) -> None:
        """Have the tree show the operating-system process that this actor owns (OTP: a port)."""
        self._process.owned_pid = pid

    @property
    def path(self) -> str:
        """Its name."""
        return self._process.path

    @property
    def system(self) -> System:
        """The system it lives in."""
        return self._process.system

    @property
    def clock(self) -> Clock:
        """The system's clock."""
        return self._process.system.clock

    @property
    def fenced(self) -> bool:
        """Whether it was killed: a handler that runs long should stop when it sees this."""
        return self._process.killed

    @property
    def log(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose records carry the path as ``actor``."""
        return logging.LoggerAdapter(self.system.logger, {"actor": self.path})

    def exit(self, reason: ExitReason = NORMAL) -> NoReturn:
        """End this actor with ``reason``, now."""
        raise ExitActor(reason)

    def send_after(self, delay: float, message: object) -> Timer:
        """Deliver ``message`` to `handle_info` in ``delay`` seconds, unless the timer is cancelled before.

        Raises:
            Fenced: this actor was killed, or has ended.
        """
        check_not_fenced()
        return self._process.system.send_after(self._process, delay, message)

    def monitor(self, ref: Ref) -> Monitor:
        """Get a `Down` when ``ref`` ends; at once if it has (``erlang:monitor/2``).

        Raises:
            Fenced: this actor was killed, or has ended.
        """
        check_not_fenced()
        return self._process.monitor(ref._process)

    def demonitor(self, monitor: Monitor) -> None:
        """No `Down` of this monitor is delivered any more, not even one that is queued (``[flush]``)."""
        monitor.cancel()
        self._process.tokens.discard(monitor)

    def link(self, ref: Ref) -> None:
        """Let the exit of either end the other, or be an `ExitSignal` to one that traps exits."""
        check_not_fenced()
        self._process.link(ref._process)

    def unlink(self, ref: Ref) -> None:
        """Undo `link`."""
        self._process.unlink(ref._process)

    # --- life ---

    @classmethod
    def start(cls, *args: Any, **kwargs: Any) -> NoReturn:  # noqa: ARG003
        """Not for these actors: they are started by ``System.start`` or by a supervisor."""
        raise TypeError(f"{cls.__name__}: start it with System.start(...) or as a child of a supervisor")

    @staticmethod
    def _create_actor_inbox() -> Mailbox:
        return Mailbox()

    @staticmethod
    def _create_future() -> Caller:
        return Caller()

    def _live(
        self,
        step: Callable[[], object] | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        started: Caller,
    ) -> None:
        """The whole life of the actor, on its thread."""
        process = self._process
        current.process = process
        try:
            if self._begin(step, args, kwargs, started):
                self._end(self._run())
        except ExitActor as exit:
            process.finish(exit.reason)
        except BaseException as exception:  # noqa: BLE001
            process.finish(Crash(exception))
        finally:
            self.actor_stopped.set()
            current.process = None
            process.system.thread_ended(process)

    def _begin(
        self,
        step: Callable[[], object] | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        started: Caller,
    ) -> bool:
        if step is not None:
            step()
        if self.init(*args, **kwargs) is IGNORE:
            started.reply(None)
            self._process.finish(NORMAL)
            return False
        started.reply(self._process.ref)
        return True

    def _run(self) -> ExitReason:
        """Handle messages until one of them, or a signal, ends the actor: the reason."""
        process = self._process
        mailbox = process.mailbox
        while (envelope := mailbox.get()) is not CLOSED:
            try:
                reason = self._dispatch(envelope)
            except ExitActor as exit:
                reason = exit.reason
            except BaseException as exception:  # noqa: BLE001
                process.crash_info = (len(process.mailbox), _type_name(envelope))
                reason = Crash(exception)
            if reason is not None:
                return reason
        return KILLED

    def _dispatch(self, envelope: Envelope[Any]) -> ExitReason | None:
        if envelope.reply_to is not None:
            self._call(envelope.message, envelope.reply_to)
        elif isinstance(envelope, Info):
            if envelope.token is None or not envelope.token.cancelled:
                self._process.tokens.discard(envelope.token)
                self.handle_info(envelope.message)
        elif isinstance(envelope, Interrupt | ParentExit):
            return envelope.reason
        else:
            return self._cast(envelope.message)
        return None

    def _call(self, message: Any, reply_to: Any) -> None:
        if isinstance(message, pykka.messages._ActorStop):
            reply_to.set(None)
            raise ExitActor(NORMAL)
        process = self._process
        process.current = reply_to
        reply_to.taken = True
        try:
            reply = self.handle_call(message, reply_to)
        except Refusal as refusal:
            reply_to.error(refusal)
        else:
            if reply is NO_REPLY:
                self._defer(reply_to)
            else:
                reply_to.reply(reply)
        process.current = None

    def _cast(self, message: Any) -> ExitReason | None:
        if isinstance(message, pykka.messages._ActorStop):
            return NORMAL
        self.handle_cast(message)
        return None

    def _defer(self, caller: Caller) -> None:
        deferred = self._process.deferred
        caller._on_settled = (*caller._on_settled, lambda: deferred.discard(caller))
        deferred.add(caller)
        if caller.answered:
            deferred.discard(caller)

    def _end(self, reason: ExitReason) -> None:
        if self._process.killed:
            return
        self._process.fail_current(reason)
        try:
            self.terminate(reason)
        except ExitActor as exit:
            reason = exit.reason
        except BaseException as exception:  # noqa: BLE001
            self._process.crash_info = (len(self._process.mailbox), "terminate")
            reason = Crash(exception)
        if self._process.finish(reason) and is_abnormal(reason) and self._process.parent is None:
            self._process.system.report_crash(self._process, reason)


def _type_name(envelope: Envelope[Any]) -> str:
    return type(envelope.message).__name__
