"""Threads that serve requests, in three lanes: what waits for one thing does not hold up what waits for another.

Reads of published snapshots wait for nothing, so `/healthz` and the state of an instance are answered while the
database is slow and while instances are.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from enum import Enum
from typing import TYPE_CHECKING, Any

from waitress import task

if TYPE_CHECKING:
    from api.wsgi import Channel

# Its published types leave out most of what a subclass works with.
ThreadedTaskDispatcher: Any = task.ThreadedTaskDispatcher

MAX_DATABASE_THREADS = 3
"""One less than the connections that read: the stream of events, which shares them, is left one."""


SHARE = "zapvisor.share"
"""Key of the WSGI environment: how many requests one holder may have served at once; absent where there is no limit."""


class Work(Enum):
    """What serving a request may have to wait for."""

    READ = "read"
    """Nothing: it is answered from memory."""
    DATABASE = "database"
    COMMAND = "command"
    """An actor, a port or the network."""


_WAITING_READS = {
    "/instance/connect/": Work.COMMAND,
    "/instance/diagnose/": Work.COMMAND,
    "/dashboard/diagnosis/": Work.COMMAND,
    "/instance/history/": Work.DATABASE,
    "/webhook/deliveries": Work.DATABASE,
    "/dashboard/instances/": Work.DATABASE,
    "/dashboard/deliveries": Work.DATABASE,
    "/events": Work.DATABASE,
    "/metrics": Work.DATABASE,
}
"""By the beginning of a path."""

_QUICK_WRITES = ("/dashboard/sign-in", "/dashboard/sign-out", "/verify-creds")


def work_of(method: str, path: str) -> Work:
    """What serving a request may have to wait for; the application itself takes slashes before a path for one."""
    path = "/" + path.lstrip("/")
    if method == "OPTIONS":
        return Work.READ
    if method in ("GET", "HEAD"):
        found = (work for start, work in _WAITING_READS.items() if path.startswith(start))
        return next(found, Work.READ)
    return Work.READ if path.rstrip("/") in _QUICK_WRITES else Work.COMMAND


class Lane(ThreadedTaskDispatcher):  # type: ignore[misc]
    """Threads for one sort of request; their queue is bounded by the number of connections.

    Attributes:
        work: what is served here.
        size: how many threads there are.
    """

    def __init__(self, work: Work, threads: int) -> None:
        super().__init__()
        self.work = work
        self.size = threads
        self.set_thread_count(threads)

    @property
    def share(self) -> int | None:
        """How many threads one holder may have at once; None for all, where nobody waits for long."""
        return self.size // 2 if self.work is Work.COMMAND else None

    def start_new_thread(self, target: Callable[[int], None], thread_no: int) -> None:
        """Start a thread, named for what it serves."""
        name = f"api/{self.work.value}-{thread_no}"
        threading.Thread(target=target, name=name, args=(thread_no,), daemon=True).start()

    def add_task(self, ready: Channel) -> None:
        """Queue a connection whose request is whole."""
        ready.lane = self
        ready.queued_at = time.monotonic()
        with self.lock:
            self.queue.append(ready)
            self.queue_cv.notify()


class Lanes:
    """The dispatcher of the server.

    Args:
        threads: in all; a quarter is for reads, up to three are for the database, the others for commands, and at
            least two for each.
    """

    def __init__(self, threads: int) -> None:
        reads = max(2, threads // 4)
        database = min(MAX_DATABASE_THREADS, max(2, threads // 5))
        sizes = {
            Work.READ: reads,
            Work.DATABASE: database,
            Work.COMMAND: max(2, threads - reads - database),
        }
        self._lanes = {work: Lane(work, size) for work, size in sizes.items()}

    def add_task(self, ready: Channel) -> None:
        """Queue a connection whose request is whole."""
        request = ready.requests[0]
        work = Work.READ if request.error else work_of(request.command, request.path)
        self._lanes[work].add_task(ready)

    def shutdown(self, cancel_pending: bool = True, timeout: float = 5) -> int:
        """Stop the threads; what is queued is dropped.

        Returns:
            How many threads still run after `timeout` seconds.
        """
        lanes = list(self._lanes.values())
        for lane in lanes:
            lane.set_thread_count(0)
        ends = time.monotonic() + timeout
        for lane in lanes:
            lane.shutdown(cancel_pending, max(0.0, ends - time.monotonic()))
        return sum(len(lane.threads) for lane in lanes)
