"""The mailbox: pykka's actor inbox, bounded, closable without a race, with a signal that overtakes."""

from __future__ import annotations

import _thread
from collections import deque
from typing import TYPE_CHECKING, Any

import pykka
from pykka._envelope import Envelope

if TYPE_CHECKING:
    from collections.abc import Callable

    from supervisor.otp.reasons import ExitReason


class MailboxClosed(pykka.ActorDeadError):
    """The actor has ended: the message was not accepted."""


class Overflow(Exception):
    """The mailbox is at its limit: the message was not accepted."""


class Interrupt(Envelope[None]):
    """An exit signal to an actor that does not trap exits.

    It ends with this reason, before anything queued.
    """

    __slots__ = ("reason",)

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(None)
        self.reason = reason


class ParentExit(Envelope[None]):
    """The parent ended or tells this actor to: it ends with this reason, after what was queued before."""

    __slots__ = ("reason",)

    def __init__(self, reason: ExitReason) -> None:
        super().__init__(None)
        self.reason = reason


class Info(Envelope[Any]):
    """A message of the library itself (a timer's, an exit, a down), for ``handle_info``.

    ``token`` is the timer or monitor it comes from; once that is cancelled the message is not delivered.
    """

    __slots__ = ("token",)

    def __init__(self, message: object, token: Any = None) -> None:
        super().__init__(message)
        self.token = token


CLOSED: Envelope[Any] = Envelope(None)
"""What `Mailbox.get` gives once the mailbox is closed."""


class Mailbox:
    """Messages of one actor, in order of arrival. Any thread puts; only the actor's thread gets.

    Closing and putting exclude each other: a message is either refused, or handed to whoever closes.
    """

    __slots__ = (
        "_closed",
        "_interrupt",
        "_items",
        "_lock",
        "_on_idle",
        "_wake",
        "accepted",
        "limit",
        "waiting",
    )

    def __init__(self, limit: int | None = None) -> None:
        self.limit = limit
        self.accepted = 0
        self.waiting = False
        self._closed = False
        self._interrupt: Interrupt | None = None
        self._items: deque[Envelope[Any]] = deque()
        self._lock = _thread.allocate_lock()
        self._wake = _thread.allocate_lock()
        self._wake.acquire()
        self._on_idle: Callable[[], None] | None = None

    def __len__(self) -> int:
        return len(self._items)

    def empty(self) -> bool:
        """Whether nothing is queued (pykka's inbox protocol)."""
        return not self._items

    def watch_idle(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` whenever the actor begins to wait for a message."""
        self._on_idle = callback

    def put(self, envelope: Envelope[Any], /) -> None:
        """Queue a call or cast.

        Raises:
            MailboxClosed: the actor has ended.
            Overflow: the mailbox is at its limit.
        """
        with self._lock:
            if self._closed:
                raise MailboxClosed
            if self.limit is not None and len(self._items) >= self.limit:
                raise Overflow
            self._append(envelope)

    def put_info(self, envelope: Envelope[Any]) -> bool:
        """Queue a message of the library, which no limit keeps out. False if the actor has ended."""
        with self._lock:
            if self._closed:
                return False
            self._append(envelope)
            return True

    def interrupt(self, reason: ExitReason) -> None:
        """Let the actor end with ``reason`` before it takes another message. The first interrupt counts."""
        with self._lock:
            if self._closed or self._interrupt is not None:
                return
            self._interrupt = Interrupt(reason)
            self.accepted += 1
            self._wake_up()

    def get(self) -> Envelope[Any]:
        """The next message; blocks until there is one. CLOSED once it is closed."""
        while True:
            with self._lock:
                if self._closed:
                    return CLOSED
                if self._interrupt is not None:
                    return self._interrupt
                if self._items:
                    return self._items.popleft()
                self.waiting = True
            if self._on_idle is not None:
                self._on_idle()
            self._wake.acquire()

    def close(self) -> list[Envelope[Any]]:
        """Refuse messages from now on, and return those that were accepted and never taken."""
        with self._lock:
            self._closed = True
            left = list(self._items)
            self._items.clear()
            self._wake_up()
            return left

    def _append(self, envelope: Envelope[Any]) -> None:
        self._items.append(envelope)
        self.accepted += 1
        self._wake_up()

    def _wake_up(self) -> None:
        if self.waiting:
            self.waiting = False
            self._wake.release()
