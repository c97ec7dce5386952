"""The store's actor: the one writer of the database."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar, Generic, TypeVar

import peewee

from actors.store import retention
from actors.store.backend import Backend, Held, close_quietly
from actors.store.condition import Condition, Trouble
from actors.store.errors import StoreInUse, StoreTimeout, StoreUnavailable
from actors.store.group import Done, Group, Outcome, Stranded, Wanted
from actors.store.migrations import MIGRATIONS, migrate
from actors.store.notices import RETRY, Committed, Outlet
from actors.store.tx import Tx
from supervisor.otp import (
    NO_REPLY,
    Actor,
    ActorDown,
    Caller,
    CallTimeout,
    ExitReason,
    MailboxFull,
    Normal,
    NoSuchActor,
    Shutdown,
    System,
)

T = TypeVar("T")

PATH = "store"
"""The name under which the store is registered."""


def _always() -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Write(Generic[T]):
    """Ask the store to run a unit of work and to commit it.

    Called, the reply is what the unit returned, after the COMMIT; its exception is raised in the caller, and
    the unit has then changed nothing (but see `StoreInDoubt`). Cast, `done` is told instead.

    Attributes:
        unit: runs on the writer's thread with the store's `Tx`; must not block or call an actor. It may run more
            than once, since what could not be committed is run again, so all that it changes is in the database.
        done: for casts: told how the unit ended, after the COMMIT, on the writer's thread; must not block.
            Without it an error of the unit is logged.
        wanted: whether somebody still waits for it; one that nobody waits for is not run.
    """

    unit: Callable[[Tx], T]
    done: Done | None = None
    wanted: Wanted = _always


@dataclass(frozen=True, slots=True)
class _Flush:
    """The writer's message to itself behind everything queued: commit the group."""


@dataclass(frozen=True, slots=True)
class _Retry:
    """Time to tell an observer again whose mailbox was full."""


@dataclass(frozen=True, slots=True)
class _Resume:
    """Time to try whether the database is back."""


@dataclass(frozen=True, slots=True)
class _Sweep:
    """Time to delete what is older than its retention, from an event on."""

    after: int = 0


class Store(Actor):
    """Opens and migrates the database, then runs `Write` units in groups, each group one transaction.

    A group is what was queued when its first unit ran, at most `GROUP_LIMIT` units and about `GROUP_SECONDS`
    long. When the database cannot be used (locked by another program, disk full, server restarting), nothing is
    refused: the units wait, in order, and are run again on a new connection, tried every `RESUME_LAST` seconds at
    least. Nobody crashes for it, and no connection of an instance ends for it. Only a database that is damaged,
    or taken by another host, crashes the actor; then everybody is told `StoreUnavailable`.
    """

    mailbox_limit: ClassVar[int | None] = 10_000
    trap_exit = True  # Told to stop, it first commits what is queued.

    GROUP_LIMIT = 256
    GROUP_SECONDS = 0.05
    WAITING_LIMIT = 20_000
    """Units that may wait for the database; more are refused."""

    RESUME_FIRST = 0.1
    RESUME_LAST = 2.0
    """Seconds between tries, doubling from the first to the last."""

    TAKEN_AFTER = 60.0
    """Seconds for which another host may have the database before this one gives it up."""

    REMIND = 60.0
    """Seconds between two lines of the log while the database is gone."""

    def init(
        self,
        backend: Backend,
        history_retention: Callable[[], float] = lambda: retention.HISTORY_SECONDS,
        *,
        observers: Sequence[str] = ("events",),
        condition: Condition | None = None,
    ) -> None:
        """Open the database and bring its schema up to date.

        Args:
            backend: the database, see `open_backend`.
            history_retention: gives the seconds for which history and failed deliveries are kept, as it is now.
            observers: paths of the actors that get `Committed`; those that are not there are left out.
            condition: where to say whether the database takes what is written.

        Raises:
            StoreInUse, SchemaTooNew: the host cannot run with this database.
            StoreUnavailable: the database cannot be opened now.
        """
        self._outlets = [Outlet(partial(self.system.cast, path)) for path in observers]
        self._retention = history_retention
        self._condition = condition or Condition()
        self._condition.trouble = None
        self._flushing = self._retrying = False
        self._delay = self.RESUME_FIRST
        self._said = 0.0
        self._backend = backend
        self._held: list[Held] = []
        self._own: list[str] = []
        self._taken_since: float | None = None
        try:
            held = backend.prepare()
            if held is not None:
                self._held.append(held)
            self._database = self._connect()
        except BaseException:
            self._release()
            raise
        self._group = Group(self._database, self._backend, self.clock.wall)
        self._began = 0.0
        self.send_after(retention.FIRST_SWEEP, _Sweep())

    def handle_call(self, message: Any, caller: Caller) -> Any:
        match message:
            case Write(unit=unit, wanted=wanted):
                self._enlist(unit, partial(_answer, caller), wanted)
                return NO_REPLY
            case _:
                return super().handle_call(message, caller)

    def handle_cast(self, message: Any) -> None:
        match message:
            case Write(unit=unit, done=done, wanted=wanted):
                self._enlist(unit, done or self._report, wanted)
            case _Flush():
                self._flushing = False
                self._commit()
            case _:
                super().handle_cast(message)

    def handle_info(self, message: Any) -> None:
        match message:
            case _Retry():
                self._retrying = False
                self._tell_observers()
            case _Sweep(after=after):
                self._sweep(after)
            case _Resume():
                self._resume()
            case _:
                super().handle_info(message)

    def terminate(self, reason: ExitReason) -> None:
        try:
            if isinstance(reason, Normal | Shutdown):
                self._finish()
            else:
                self._group.abandon(f"the store ended: {reason}")
        finally:
            close_quietly(self._database)
            self._release()

    def _finish(self) -> None:
        """Commit what is queued; what a database that is gone does not take now is lost, and its callers told."""
        if self._group.stranded:
            self._resume()
        else:
            self._commit()
        if self._group.waiting:
            self.log.error("the database is gone: %d transactions are lost", self._group.waiting)
            self._group.abandon("the store ended before the database came back")

    def _connect(self) -> peewee.Database:
        """A connection that this host alone writes on, its schema up to date."""
        database = self._backend.writer()
        try:
            database.connect()
            self._own = [each for each in self._own if self._backend.end(database, each)]
            identity = self._backend.identity(database)
            if identity is not None:
                self._own.append(identity)  # known first: the answer to `hold` may be lost
            held = self._backend.hold(database)
            if held is not None:
                self._held.append(held)
            migrate(database, MIGRATIONS)
        except peewee.PeeweeException as error:
            close_quietly(database)
            if self._backend.gone(error) and not self._backend.broken(error):
                raise StoreUnavailable(f"cannot open the database: {error}") from error
            raise
        except BaseException:
            close_quietly(database)
            raise
        return database

    def _release(self) -> None:
        while self._held:
            self._held.pop().release()

    # -- units ----------------------------------------------------------------------------------------------

    def _enlist(self, unit: Callable[[Tx], Any], done: Done, wanted: Wanted = _always) -> None:
        if self._group.waiting >= self.WAITING_LIMIT:
            _refuse(done, self._group.waiting)
            return
        if not len(self._group):
            self._began = time.monotonic()
        try:
            self._group.run(unit, done, wanted)
        except Stranded as stranded:
            self._stranded(stranded)
        if self._group.stranded:
            return
        if len(self._group) >= self.GROUP_LIMIT or time.monotonic() - self._began >= self.GROUP_SECONDS:
            self._commit()
        elif not self._flushing:
            self._flush_later()

    def _flush_later(self) -> None:
        try:
            self.ref.cast(_Flush())
            self._flushing = True
        except MailboxFull:
            # Enough is queued to fill this group and the next; the flush is asked for again by then.
            self.log.debug("mailbox full: the group is committed by its size")

    def _commit(self) -> None:
        if self.fenced:
            self._group.abandon("the store was killed")
            return
        try:
            topics = self._group.commit()
        except Stranded as stranded:
            self._stranded(stranded)
        else:
            self._tell_observers(topics)

    # -- a database that is gone ----------------------------------------------------------------------------

    def _stranded(self, why: Exception) -> None:
        """Say so, once and then now and again, and try again later."""
        now = self.clock.monotonic()
        trouble = self._condition.trouble or Trouble(now, str(why))
        if self._condition.trouble is None or now - self._said >= self.REMIND:
            self._said = now
            self.log.error(
                "the database cannot be written since %.0f s, %d transactions wait for it: %s",
                now - trouble.since,
                self._group.waiting,
                why,
            )
        self._condition.trouble = Trouble(trouble.since, str(why))
        self.send_after(self._delay, _Resume())
        self._delay = min(self._delay * 2, self.RESUME_LAST)

    def _resume(self) -> None:
        """A new connection, and on it all that waited; whatever was wrong with the old one is gone with it."""
        if self.fenced:
            self._group.abandon("the store was killed")
            return
        close_quietly(self._database)
        try:
            self._database = self._connect()
            self._taken_since = None
            topics = self._group.resume(self._database, self.GROUP_LIMIT)
        except StoreInUse as why:
            if self._taken():
                raise
            self._stranded(why)
        except StoreUnavailable as why:
            if not self._group.stranded:
                raise
            self._stranded(why)
            self._tell_observers(self._group.take_topics())
        else:
            self._back()
            self._tell_observers(topics)

    def _taken(self) -> bool:
        """Whether another host has taken the database for good, which a connection of this one may look like.

        What the server was told to end and has not ended yet is this host's own: nobody else can have the lock then.
        """
        now = self.clock.monotonic()
        if len(self._own) > 1:
            self._taken_since = None
            return False
        self._taken_since = now if self._taken_since is None else self._taken_since
        return now - self._taken_since >= self.TAKEN_AFTER

    def _back(self) -> None:
        trouble, self._condition.trouble = self._condition.trouble, None
        self._delay = self.RESUME_FIRST
        if trouble is not None:
            gone = self.clock.monotonic() - trouble.since
            self.log.warning("the database can be written again after %.1f s; nothing was lost", gone)

    # -- others ---------------------------------------------------------------------------------------------

    def _tell_observers(self, topics: Iterable[str] = ()) -> None:
        # One that is not there reads what is pending when it starts.
        told = [outlet.offer(topics) for outlet in self._outlets]
        if not all(told) and not self._retrying:
            self._retrying = True
            self.send_after(RETRY, _Retry())

    def _report(self, outcome: Outcome) -> None:
        if outcome.error is not None:
            self.log.error("a unit that nobody waits for failed", exc_info=outcome.error)

    def _sweep(self, after: int) -> None:
        def swept(outcome: Outcome) -> None:
            self._report(outcome)
            following = outcome.value or 0
            delay = retention.SWEEP_AGAIN if following else retention.SWEEP_EVERY
            self.send_after(delay, _Sweep(following))

        self._enlist(lambda tx: retention.sweep(tx, after, history_seconds=self._retention()), swept)


def write(system: System, unit: Callable[[Tx], T], timeout: float = 10.0, *, path: str = PATH) -> T:
    """Run a unit on the store's thread, and return what it returned once it is committed.

    Args:
        timeout: seconds to wait.

    Raises:
        StoreTimeout: no answer in time. A unit that still waits for the database is then not run any more; one
            whose COMMIT is under way may still be committed.
        StoreUnavailable: the store is down, restarting or overloaded.
        StoreInDoubt: it ended before it knew whether the unit was committed.
        Exception: what the unit raised; it has changed nothing.
    """
    waits = threading.Event()
    waits.set()
    try:
        result: T = system.call(path, Write(unit, wanted=waits.is_set), timeout)
    except CallTimeout as error:
        waits.clear()
        raise StoreTimeout(f"the store did not answer within {timeout:g} s") from error
    except (NoSuchActor, ActorDown) as error:
        raise StoreUnavailable("the store is down or restarting") from error
    except MailboxFull as error:
        raise StoreUnavailable(f"the store has {error.limit} units waiting") from error
    return result


def _refuse(done: Done, waiting: int) -> None:
    done(Outcome(error=StoreUnavailable(f"{waiting} transactions wait for the database already")))


def _answer(caller: Caller, outcome: Outcome) -> None:
    if outcome.error is None:
        caller.reply(outcome.value)
    else:
        caller.error(outcome.error)


__all__ = ["PATH", "Committed", "Store", "Write", "write"]
