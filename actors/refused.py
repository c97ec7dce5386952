"""Which notes of deletes hold: one that was refused although the database may have its note is none."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial

from actors import register
from actors.notices import StrikeAgain, Struck
from actors.services import Services
from actors.store import PATH as STORE
from actors.store import Done, Outcome, StoreUnavailable, Tx, Write
from supervisor.otp import MailboxFull, Ref, Timer

RETRY = 5.0
"""Seconds after which the database is asked again to strike what it has not struck."""


class Untried(StoreUnavailable):
    """The database was not even asked, since it takes nothing now."""


class Refused:
    """The notes that must be struck, so that what was answered is true. It is the roster's, and runs on its thread.

    A note has the name of its attempt, so a later delete of the same instance, which is accepted, keeps its own. What
    is to be struck is kept in `Services.refused`: a store that ends takes the roster with it.

    Args:
        services: the host's.
        roster: who is told.
        send_after: the roster's.
    """

    def __init__(self, services: Services, roster: Ref, send_after: Callable[[float, object], Timer]) -> None:
        self._services = services
        self._roster = roster
        self._send_after = send_after
        self._looking = False

    @property
    def attempts(self) -> frozenset[str]:
        """What is not struck yet."""
        return frozenset(self._services.refused)

    def add(self, attempt: str) -> None:
        """A delete is refused: its note, which may come to be stored yet, is struck after it."""
        self._services.refused.add(attempt)
        self._cast_strike()
        self._look_later()

    def accept(self, attempt: str) -> None:
        """A delete is not refused. Nobody waits for that to be stored: it matters to who finds the note only."""
        self._cast(partial(register.accept, attempt=attempt))

    def strike(self) -> None:
        """Ask again for what is not struck; what was asked of a store that takes nothing now waits there, in order."""
        self._looking = False
        if self._services.refused:
            if self._services.condition.trouble is None:
                self._cast_strike()
            self._look_later()

    def struck(self, attempts: frozenset[str]) -> None:
        """These are gone for good."""
        self._services.refused -= attempts

    def _cast_strike(self) -> None:
        attempts = self.attempts
        unit = partial(register.strike_refused, attempts=attempts)
        self._cast(unit, partial(_tell, self._roster, attempts))

    def _cast(self, unit: Callable[[Tx], None], done: Done | None = None) -> None:
        with suppress(MailboxFull):  # a strike is asked for again
            self._services.system.cast(STORE, Write(unit, done))

    def _look_later(self) -> None:
        if not self._looking:
            self._looking = True
            self._send_after(RETRY, StrikeAgain())


def _tell(roster: Ref, attempts: frozenset[str], outcome: Outcome) -> None:
    if outcome.error is None:
        roster.cast(Struck(attempts))
