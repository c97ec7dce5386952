"""References: what other threads hold of an actor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pykka
from pykka._envelope import Envelope

from supervisor.otp.caller import Caller
from supervisor.otp.context import check_not_fenced
from supervisor.otp.errors import ActorDown, CallingSelf, CallTimeout, MailboxFull
from supervisor.otp.mailbox import MailboxClosed, Overflow
from supervisor.otp.reasons import NORMAL, ExitReason

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.otp.process import Process


class Ref(pykka.ActorRef[Any]):
    """One incarnation of an actor, like a pid: two are equal only if they are the same incarnation."""

    def __init__(self, actor: Any, process: Process) -> None:
        super().__init__(actor)
        self._process = process

    @property
    def path(self) -> str:
        """The actor's name, such as ``instances/sales/connection``."""
        return self._process.path

    @property
    def alive(self) -> bool:
        """Whether it has not ended. It may end at any moment."""
        return self._process.reason is None

    @property
    def reason(self) -> ExitReason | None:
        """The exit reason; None while it is alive."""
        return self._process.reason

    @property
    def mailbox_length(self) -> int:
        """Messages that wait to be handled."""
        return len(self._process.mailbox)

    @property
    def dropped(self) -> int:
        """Casts that a full mailbox dropped, for a class with the ``drop`` policy."""
        return self._process.dropped

    def call(self, message: object, timeout: float) -> Any:
        """Send a message and wait for the answer (gen_server(3), ``call/3``).

        Args:
            message: anything; shared, not copied, so it should be immutable.
            timeout: seconds to wait at most.

        Raises:
            ActorDown: the actor is dead or ended before it answered.
            CallTimeout: there was no answer in time; the actor may still handle the message.
            MailboxFull: its mailbox is at its limit.
            CallingSelf: the actor called itself.
            Fenced: the calling actor was killed.
            Exception: whatever the actor refused the call with.
        """
        process = self._process
        me = check_not_fenced()
        if me is process:
            raise CallingSelf(process.path)
        caller = Caller()
        try:
            process.mailbox.put(Envelope(message, caller))
        except MailboxClosed:
            raise self._down() from None
        except Overflow:
            raise self._full() from None
        if not process.system.wait(caller, timeout):
            raise CallTimeout(process.path, timeout, "running" if caller.taken else "queued")
        return caller.result()

    def request(self, message: object, deliver: Callable[[Any, BaseException | None], object]) -> None:
        """Send a call and go on; the answer comes later (gen_server(3), ``send_request/2``).

        That is how an actor asks its own supervisor, which may just be waiting for that actor: ``deliver`` casts the
        answer to it.

        Args:
            message: as in `call`.
            deliver: called once with the value, or with None and the error that `call` would have raised, on the
                thread that answers: it must not block. There is no time limit.

        Raises:
            Fenced: the asking actor was killed.
        """
        check_not_fenced()
        caller = Caller()
        caller._on_settled = (lambda: deliver(caller._value, caller._error),)
        try:
            self._process.mailbox.put(Envelope(message, caller))
        except MailboxClosed:
            caller.error(self._down())
        except Overflow:
            caller.error(self._full())

    def cast(self, message: object) -> bool:
        """Send a message and go on (gen_server(3), ``cast/2``). Whether the mailbox of a living actor took
        it.

        Raises:
            MailboxFull: its mailbox is at its limit, and its class does not drop casts.
            Fenced: the sending actor was killed.
        """
        check_not_fenced()
        process = self._process
        try:
            process.mailbox.put(Envelope(message))
        except MailboxClosed:
            return False
        except Overflow:
            if process.actor_class.mailbox_overflow != "drop":  # type: ignore[attr-defined]
                raise self._full() from None
            process.dropped += 1
            return False
        return True

    def is_alive(self) -> bool:
        return self.alive

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Ref {self.path} {'alive' if self.alive else self.reason}>"

    __str__ = __repr__

    def _down(self) -> ActorDown:
        return ActorDown(self.path, self.reason or NORMAL)

    def _full(self) -> MailboxFull:
        return MailboxFull(self.path, self._process.mailbox.limit or 0)
