"""The one way from the control API into the tree: reads of published snapshots, and commands with a deadline."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, get_args

import structlog

from actors import feed
from actors.delivery import replay
from actors.diagnosis import Diagnosis
from actors.messages import (
    Command,
    CreateInstance,
    DatabaseBusy,
    DeleteInstance,
    Done,
    NotRunning,
    UnknownInstance,
)
from actors.metrics import SCRAPE_DEADLINE, Backlog, Snapshot, exposition
from actors.services import INSTANCES, ROSTER, Services
from actors.session.terms import InstanceRestart
from actors.store import HistoryEntry, Reader, StoreUnavailable, Tx, cleanups, deliveries, history, outbox
from actors.store.rows import DeliveryStatus
from actors.trace import traced
from actors.views import InstanceView
from supervisor.otp import ROOT, NoSuchActor, NotFound, Refusal, Shutdown, TreeNode

T = TypeVar("T")

log = structlog.get_logger("zapvisor.gateway")

API = "api"
RECENT = 20
"""Rows of history in a diagnosis."""


class NotRestartable(Refusal):
    """The path names an actor that is not restarted on request."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path}: {why}")
        self.path = path


@dataclass(frozen=True, slots=True)
class HistoryPage:
    """A page of history, newest first; `next` is the id to continue before."""

    entries: Sequence[HistoryEntry]
    next: int | None


class Gateway:
    """The tree as the API sees it; every method may be called from any thread."""

    def __init__(self, services: Services, reader: Reader) -> None:
        self._services = services
        self._system = services.system
        self._reader = reader
        self._diagnosis = Diagnosis(services.credentials)

    def views(self) -> Sequence[InstanceView]:
        """Every instance, in the order of their creation. Does not wait."""
        return self._services.board.views()

    def view(self, name: str) -> InstanceView | None:
        """One instance, or None when there is none of that name. Does not wait."""
        return self._services.board.view(name)

    def create(self, request: CreateInstance, timeout: float) -> InstanceView:
        """Make an instance.

        Raises:
            NameTaken, TokenTaken, BadName, BeingDeleted: nothing was made.
            DatabaseBusy: it cannot be written now; nothing was made.
            CallError: no answer in time.
        """
        view: InstanceView = self._ask_roster(request, timeout)
        return view

    def delete(self, name: str, timeout: float) -> None:
        """Log out if possible and remove everything of an instance.

        Raises:
            UnknownInstance: there is none of that name.
            DatabaseBusy: it cannot be written now; nothing was deleted.
            CallError: no answer in time; the delete goes on.
        """
        self._ask_roster(DeleteInstance(name), timeout)

    def command(self, name: str, message: Command, timeout: float) -> Done:
        """Send a command to an instance.

        Raises:
            UnknownInstance: there is none of that name.
            Refusal: the instance said no, and is unchanged.
            NotRunning: it cannot be started yet.
            CallError: no answer in time, or the instance is just being restarted.
        """
        if self.view(name) is None:
            raise UnknownInstance(name)
        try:
            done: Done = self._system.call(f"{INSTANCES}/{name}/session", traced(message), timeout)
        except NoSuchActor as error:
            view = self.view(name)
            if view is None or view.failed_reason is None:
                raise
            raise NotRunning(name, view.failed_reason) from error
        return done

    def history(self, name: str, before: int | None, limit: int, timeout: float) -> HistoryPage:
        """Disconnections and recoveries with an id below `before`, newest first.

        Raises:
            UnknownInstance: there is none of that name.
            DatabaseBusy: the database cannot be read in time.
        """
        view = self.view(name)
        if view is None:
            raise UnknownInstance(name)
        entries = self._read(lambda tx: history.page(tx, view.id, before=before, limit=limit), timeout)
        more = len(entries) == limit
        return HistoryPage(entries, entries[-1].id if more else None)

    def diagnose(self, name: str, timeout: float) -> Mapping[str, Any]:
        """The report of an instance, made on the caller's thread.

        Raises:
            UnknownInstance: there is none of that name.
            DatabaseBusy: the database cannot be read in time.
        """
        view = self.view(name)
        if view is None:
            raise UnknownInstance(name)
        past = self._read(lambda tx: history.page(tx, view.id, limit=RECENT), timeout)
        return self._diagnosis.report(view, past, self._system.clock.wall(), timeout)

    def deliveries(
        self,
        instance: str | None,
        status: str | None,
        cursor: str | None,
        limit: int,
        timeout: float,
        *,
        instance_id: str | None = None,
    ) -> deliveries.DeliveryPage:
        """The outbox, newest first.

        Args:
            instance: of every instance that has, or had, this name; or None.
            status: `pending`, `delivered`, `failed`, or None.
            cursor: `next` of the page before, or None.
            limit: how many.
            timeout: seconds.
            instance_id: of this instance alone, not of a deleted one that had its name; or None.

        Raises:
            ValueError: the cursor or the status is none.
            DatabaseBusy: the database cannot be read in time.
        """
        known = next((known for known in get_args(DeliveryStatus) if known == status), None)
        if status is not None and known is None:
            raise ValueError(f"status: {status!r} is not one of {', '.join(get_args(DeliveryStatus))}")
        return self._read(
            lambda tx: deliveries.page(
                tx, instance=instance, instance_id=instance_id, status=known, cursor=cursor, limit=limit
            ),
            timeout,
        )

    def replay(
        self,
        event_ids: Sequence[str] | None,
        instance: str | None,
        destination: str | None,
        timeout: float,
        *,
        instance_id: str | None = None,
    ) -> int:
        """Send failed deliveries again; a None does not narrow the choice. For the rest see `deliveries`.

        Returns:
            How many will be sent again.

        Raises:
            DatabaseBusy: the store is down or busy.
        """
        try:
            return replay(
                self._system,
                event_ids=event_ids,
                instance=instance,
                instance_id=instance_id,
                destination=destination,
                timeout=timeout,
            )
        except StoreUnavailable as error:
            raise DatabaseBusy(str(error), written=True) from error

    def events_after(self, seq: int, limit: int, timeout: float) -> Sequence[feed.FeedEvent]:
        """Committed events behind a sequence number, in their order.

        Raises:
            DatabaseBusy: the database cannot be read in time.
        """
        return self._read(lambda tx: feed.after(tx, seq, limit), timeout)

    def newest_event(self, timeout: float) -> int:
        """The sequence number of the latest event; 0 when there is none.

        Raises:
            DatabaseBusy: the database cannot be read in time.
        """
        return self._read(feed.newest, timeout)

    def on_commit(self, callback: Callable[[], object], timeout: float) -> Callable[[], object]:
        """Have a function called after each commit of events; it must not block.

        Returns:
            A function that ends it.

        Raises:
            CallError: the event bus does not answer.
        """
        return feed.on_commit(self._system, callback, timeout)

    def metrics(self, accept: str, timeout: float) -> tuple[bytes, str]:
        """The metrics in the format that an `Accept` header asks for, and their media type.

        It waits for nothing but a read of the database, and for that no longer than `SCRAPE_DEADLINE`; what could
        not be read then is left out.
        """
        trouble = self._services.condition.trouble
        backlog, left = self._stored_figures(min(timeout, SCRAPE_DEADLINE))
        snapshot = Snapshot(
            views=self.views(),
            tree=self.tree(),
            fenced=len(self._system.fenced()),
            backlog=backlog,
            cleanups=left,
            unwritable=self._system.clock.monotonic() - trouble.since if trouble else 0.0,
            now=self._system.clock.wall(),
        )
        return exposition([self._services.metrics, snapshot], accept)

    def answered(self, seconds: float) -> None:
        """Count a request to the API that was answered. Does not wait."""
        self._services.metrics.answered(seconds)

    def tree(self) -> TreeNode:
        """The supervision tree. Does not wait."""
        return self._system.tree()

    def restart_path(self, path: str, timeout: float) -> None:
        """End an actor, so that its supervisor restarts it, and by its strategy those that depend on it.

        Raises:
            NotFound: nothing of that path runs.
            NotRestartable: it is the root, or the API itself.
        """
        if path in (ROOT, API):
            raise NotRestartable(path, "restart the host instead")
        ref = self._system.whereis(path)
        if ref is None:
            raise NotFound(path)
        parent, _, _ = path.rpartition("/")
        term: object = InstanceRestart() if parent == INSTANCES else "restarted on request"
        self._system.stop(ref, Shutdown(term), timeout)

    def health(self) -> Mapping[str, Any]:
        """Facts of a live host that anybody may read. Does not wait."""
        return {"status": "ok", "threads": threading.active_count()}

    def ready(self) -> tuple[bool, Mapping[str, bool]]:
        """Whether the host can serve, and what that rests on. Does not wait."""
        parts = {name: self._system.whereis(name) is not None for name in ("store", "ports", "roster")}
        parts["database"] = self._services.condition.trouble is None
        return all(parts.values()), parts

    def _stored_figures(self, timeout: float) -> tuple[Backlog | None, int | None]:
        """The outbox, and how many clean-ups are pending."""
        try:
            return self._read(lambda tx: (Backlog(*outbox.backlog(tx)), len(cleanups.pending(tx))), timeout)
        except DatabaseBusy as error:
            log.warning("a scrape goes without the outbox", error=str(error))
            return None, None

    def _ask_roster(self, message: object, timeout: float) -> Any:
        try:
            return self._system.call(ROSTER, traced(message), timeout)
        except StoreUnavailable as error:
            raise DatabaseBusy(str(error), written=True) from error

    def _read(self, query: Callable[[Tx], T], timeout: float) -> T:
        try:
            return self._reader.query(query, timeout)
        except StoreUnavailable as error:
            raise DatabaseBusy(str(error), written=False) from error
