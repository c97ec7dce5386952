"""Group commit: units that arrive together share one transaction, and each is undone alone.

Units seldom fail, and a savepoint around each costs as much as many a unit itself. So a transaction is run without
them, and what its units put off is written for all of them at once. When one fails, the transaction is undone as a
whole and run again with a savepoint for each unit.

A database that is gone for a while (locked, full, its connection lost) costs no unit: the group keeps what it
could not commit, in order, and runs it again once it is given a connection that works.
"""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import peewee

from actors.store.backend import Backend
from actors.store.errors import StoreInDoubt, StoreTimeout, StoreUnavailable
from actors.store.sql import execute
from actors.store.tx import Deferred, Tx

logger = logging.getLogger("zapvisor.store")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a unit ended: a value, or the error it raised.

    An error means that the unit changed nothing; `StoreInDoubt`, that it may have been committed.
    """

    value: Any = None
    error: Exception | None = None


Done = Callable[[Outcome], None]
"""Told once how a unit ended, after the COMMIT, on the writer's thread; must not block."""

Wanted = Callable[[], bool]
"""Whether somebody still waits for a unit; asked before it runs."""


class Stranded(StoreUnavailable):
    """The database is gone; nothing of the open transaction is stored, and its units wait for `Group.resume`."""


FAILURES = 30
"""How often the database may fail in one unit, right after it took another, before that unit is refused.

Many, since a disk that is almost full takes what is small and not what is large; it is tried every two seconds.
"""

PROBE = 16 * 1024
"""Random bytes that the database must take before a unit is at fault: more than what an ordinary unit changes."""


@dataclass(slots=True)
class _Entry:
    """A unit on its way, and how its latest run went."""

    unit: Callable[[Tx], Any]
    done: Done
    wanted: Wanted
    failures: int = 0
    outcome: Outcome = Outcome()
    topics: frozenset[str] = frozenset()


class Group:
    """The open transaction of the one writer, and what waits for it. Not thread-safe: it is the store's own."""

    def __init__(self, database: peewee.Database, backend: Backend, wall: Callable[[], float]) -> None:
        self._database = database
        self._backend = backend
        self._wall = wall
        self._run: list[_Entry] = []
        self._waiting: deque[_Entry] = deque()
        self._doubtful: list[_Entry] = []
        self._ticket: str | None = None
        self._alone = 0
        self._topics: set[str] = set()
        self._open = False
        self._careful = False
        self._deferred: Deferred = {}
        self.stranded = False

    def __len__(self) -> int:
        """Units in the open transaction."""
        return len(self._run)

    @property
    def waiting(self) -> int:
        """Units that wait for the database to come back."""
        return len(self._waiting) + len(self._doubtful)

    def run(self, unit: Callable[[Tx], Any], done: Done, wanted: Wanted = lambda: True) -> None:
        """Run a unit in the open transaction, begun if there is none; `done` hears of it after the COMMIT.

        While the database is gone the unit is kept.

        Args:
            unit: may be run again, if its transaction could not be committed.
            done: told once.
            wanted: a unit that nobody waits for any more is not run.

        Raises:
            Stranded: the database is gone.
            StoreUnavailable: it is broken for good; everybody was told so.
        """
        self._waiting.append(_Entry(unit, done, wanted))
        if not self.stranded:
            self._run_next()

    def commit(self) -> frozenset[str]:
        """Commit what has run, tell everybody, and return the topics that were named.

        Raises:
            Stranded, StoreUnavailable: as for `run`.
        """
        self._commit()
        return self.take_topics()

    def take_topics(self) -> frozenset[str]:
        """The topics of what was committed and that nobody has taken yet.

        To be asked for also after `Stranded`: what comes first may have been committed, and what follows it not.
        """
        topics, self._topics = frozenset(self._topics), set()
        return topics

    def _commit(self, *, blame: bool = False) -> None:
        if self._open:
            self._write_deferred()
            try:
                if self._backend.aborted(self._database):
                    self._run_again(blame=blame)  # a unit has hidden that a statement of it failed
                if self._open:
                    execute(self._database, "COMMIT")
            except peewee.PeeweeException as error:
                if blame:
                    self._blame()
                raise self._fail(error, in_doubt=self._ticket is not None) from error
            self._open = False
        self._careful = False
        finished, self._run = self._run, []
        self._tell_all(finished)

    def _blame(self) -> None:
        """A COMMIT failed right after another: which unit is at fault shows when they are committed one by one."""
        if len(self._run) == 1:
            self._run[0].failures += 1
        self._alone = max(self._alone, len(self._run))

    def resume(self, database: peewee.Database, limit: int) -> frozenset[str]:
        """Go on with a connection that works: settle what is in doubt, then run and commit all that waited.

        Args:
            limit: how many units share a transaction.

        Raises:
            Stranded, StoreUnavailable: as for `run`.
        """
        self._database = database
        try:
            self._settle_doubt()
            self._try_to_write()
        except peewee.PeeweeException as error:
            raise self._fail(error) from error
        self.stranded = False
        while self._waiting:
            self._careful = True  # so that it shows in which unit the database fails
            for _ in range(min(1 if self._alone else limit, len(self._waiting))):
                self._run_next(blame=True)
            self._commit(blame=True)
            self._alone = max(self._alone - 1, 0)
        self._alone = 0
        return self.take_topics()

    def abandon(self, why: str) -> None:
        """Undo what has run, forget what waits, and tell everybody so."""
        self._abandon(StoreUnavailable(why))

    def _run_next(self, *, blame: bool = False) -> None:
        entry = self._waiting.popleft()
        self._run.append(entry)
        if not entry.wanted():
            entry.outcome = Outcome(error=StoreTimeout("nobody waits for it any more"))
            return
        if entry.failures >= FAILURES:
            entry.outcome = Outcome(error=StoreUnavailable("the database takes others, but not this unit"))
            return
        try:
            self._begin()
            failed = not self._attempt(entry)
        except peewee.PeeweeException as error:
            entry.failures += blame
            raise self._fail(error) from error
        if failed:
            self._run_again(blame=blame)

    def _try_to_write(self) -> None:
        """Commit what is as large as a unit: from now on it is the fault of one if the database fails in it.

        The value is another one each time, since SQLite writes nothing where nothing changes.
        """
        self._begin()
        execute(
            self._database,
            f"INSERT INTO meta (key, value) VALUES ('probe', '{secrets.token_hex(PROBE)}')"  # noqa: S608
            " ON CONFLICT (key) DO UPDATE SET value = excluded.value",
        )
        execute(self._database, "COMMIT")
        self._open = False

    def _begin(self) -> None:
        if not self._open:
            self._ticket = self._backend.open(self._database)
            self._open = True

    def _attempt(self, entry: _Entry) -> bool:
        """Run a unit. False if it failed where it cannot be undone alone."""
        if self._careful:
            self._isolated(entry)
            return True
        tx = Tx(self._database, self._wall(), self._deferred)
        try:
            value = entry.unit(tx)
        except Exception as error:
            if self._backend.gone(error):
                raise
            return False
        entry.outcome, entry.topics = Outcome(value), tx.topics
        return True

    def _write_deferred(self) -> None:
        """What the units have put off to the end of the transaction."""
        try:
            Tx(self._database, self._wall(), self._deferred).flush()
        except Exception as error:
            if isinstance(error, peewee.PeeweeException) and self._backend.gone(error):
                raise self._fail(error) from error
            self._run_again(blame=False)

    def _run_again(self, *, blame: bool) -> None:
        """The open transaction once more, from its first unit on, each of them isolated from the others."""
        self._roll_back()
        self._careful = True
        run, self._run = self._run, []
        self._waiting.extendleft(reversed(run))
        for _ in run:
            self._run_next(blame=blame)

    def _isolated(self, entry: _Entry) -> None:
        tx = Tx(self._database, self._wall())
        execute(self._database, "SAVEPOINT unit")
        try:
            value = entry.unit(tx)
            execute(self._database, "RELEASE SAVEPOINT unit")
        except Exception as error:
            if self._backend.gone(error):
                raise
            execute(self._database, "ROLLBACK TO SAVEPOINT unit")
            execute(self._database, "RELEASE SAVEPOINT unit")
            entry.outcome, entry.topics = Outcome(error=error), frozenset()
            return
        entry.outcome, entry.topics = Outcome(value), tx.topics

    def _settle_doubt(self) -> None:
        """A COMMIT was asked for and the connection was lost before its answer: the database knows."""
        doubtful, ticket = self._doubtful, self._ticket
        if not doubtful or ticket is None:
            return
        committed = self._backend.committed(self._database, ticket)
        self._doubtful, self._ticket = [], None
        if committed:
            self._tell_all(doubtful)
        else:
            self._waiting.extendleft(reversed(doubtful))

    def _fail(self, error: peewee.PeeweeException, *, in_doubt: bool = False) -> StoreUnavailable:
        """Keep everything for later, or, if there is no later, tell everybody."""
        if self._backend.broken(error):
            return self._abandon(StoreUnavailable(f"the database is broken: {error}"))
        self._roll_back()
        self._careful = False
        self.stranded = True
        run, self._run = self._run, []
        if in_doubt:
            self._doubtful = run
        else:
            self._waiting.extendleft(reversed(run))
        return Stranded(f"the database is gone: {error}")

    def _abandon(self, reason: StoreUnavailable) -> StoreUnavailable:
        self._roll_back()
        self._careful = self.stranded = False
        doubtful, left = self._doubtful, [*self._run, *self._waiting]
        self._doubtful, self._run = [], []
        self._waiting.clear()
        for entry in doubtful:
            _tell(entry.done, Outcome(error=StoreInDoubt(f"it may have been committed: {reason}")))
        for entry in left:
            _tell(entry.done, Outcome(error=reason))
        return reason

    def _tell_all(self, entries: Sequence[_Entry]) -> None:
        self._topics.update(*(entry.topics for entry in entries))
        for entry in entries:
            _tell(entry.done, entry.outcome)

    def _roll_back(self) -> None:
        self._deferred.clear()
        if not self._open:
            return
        self._open = False
        try:
            execute(self._database, "ROLLBACK")
        except peewee.PeeweeException as error:
            logger.debug("rollback failed, the connection is given up: %s", error)


def _tell(done: Done, outcome: Outcome) -> None:
    try:
        done(outcome)
    except Exception:
        logger.exception("the answer to a committed unit could not be given")
