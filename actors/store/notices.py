"""Telling others what was committed, without loss and without waiting for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from supervisor.otp import MailboxFull

RETRY = 0.1
"""Seconds after which an observer whose mailbox was full is told again."""


@dataclass(frozen=True, slots=True)
class Committed:
    """Cast after a COMMIT: the topics that its units named with `Tx.notify`. Several commits may share one."""

    topics: frozenset[str]


class Outlet:
    """One observer's way to hear of commits: topics that it has no room for are kept, merged, and told later.

    Args:
        tell: passes a notice on; MailboxFull is what it may raise.
    """

    __slots__ = ("_tell", "_waiting")

    def __init__(self, tell: Callable[[Committed], object]) -> None:
        self._tell = tell
        self._waiting: set[str] = set()

    def offer(self, topics: Iterable[str] = ()) -> bool:
        """Tell it of these topics and of those kept. False if it has no room: offer again after `RETRY`."""
        self._waiting.update(topics)
        if not self._waiting:
            return True
        try:
            self._tell(Committed(frozenset(self._waiting)))
        except MailboxFull:
            return False
        self._waiting.clear()
        return True
