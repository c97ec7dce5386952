"""The threads that wait for receivers, so that no actor has to."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Protocol

from actors.delivery.backlog import Job, Key
from actors.delivery.outcome import Outcome, Result
from actors.store.outbox import Pending
from supervisor.config import WebhookSettings

logger = logging.getLogger("zapvisor.delivery")

REPORT_AFTER = 0.02
"""Seconds after which what was sent is reported before the job is done."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A delivery in a lane's window: the row, and when it may be tried on the lane's monotonic clock."""

    pending: Pending
    due: float | None = None

    @property
    def id(self) -> int:
        return self.pending.id

    @property
    def stream(self) -> Key:
        return self.pending.event.instance_id


@dataclass(frozen=True, slots=True)
class Progress:
    """A worker's report to its lane: there are outcomes to be taken from it.

    Attributes:
        finished: the worker is free; what is left of the job was not attempted.
    """

    worker: Worker
    key: Key
    finished: bool


class Attempts(Protocol):
    """What a worker sends with; see `Courier`."""

    def attempt(self, pending: Pending, settings: WebhookSettings) -> Outcome: ...
    def abort(self) -> None: ...
    def close(self) -> None: ...


class Worker(threading.Thread):
    """Attempts the deliveries of one job after another, each job in order until one must be tried again.

    Args:
        courier: sends; the worker owns it.
        settings: the `[webhook]` settings of an instance by its name.
        report: passes a `Progress` on; False when nobody is there any more.
        ended: called at the end of the thread.

    Attributes:
        withdrawn: deliveries that are not to be attempted any more; set by the lane, looked at before each attempt.
    """

    def __init__(
        self,
        name: str,
        courier: Attempts,
        settings: Callable[[str], WebhookSettings],
        report: Callable[[Progress], bool],
        ended: Callable[[], None],
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._courier = courier
        self._settings = settings
        self._report = report
        self._ended = ended
        self._jobs: SimpleQueue[Job[Entry] | None] = SimpleQueue()
        self.withdrawn: frozenset[int] = frozenset()
        self._stopping = False
        self._busy_since: float | None = None
        self._outcomes: deque[tuple[Entry, Outcome]] = deque()

    @property
    def busy_for(self) -> float:
        """Seconds that the present attempt has taken; 0 when there is none."""
        since = self._busy_since
        return 0.0 if since is None else time.monotonic() - since

    def give(self, job: Job[Entry]) -> None:
        """Hand over a job. Only to a worker that has reported the one before as finished."""
        self._jobs.put(job)

    def take_outcomes(self) -> list[tuple[Entry, Outcome]]:
        """The outcomes since the last call, in order. They stay here until taken, however the lane ends."""
        return [self._outcomes.popleft() for _ in range(len(self._outcomes))]

    def stop(self) -> None:
        """End: the attempt that is going on is broken off."""
        self._stopping = True
        self._courier.abort()
        self._jobs.put(None)

    def run(self) -> None:
        try:
            while (job := self._jobs.get()) is not None and self._work(job):
                pass
        finally:
            self._courier.close()
            self._ended()

    def _work(self, job: Job[Entry]) -> bool:
        reported = time.monotonic()
        for entry in job.rows:
            outcome = self._attempt(entry)
            if self._stopping and outcome.result is not Result.DELIVERED:
                return False
            self._outcomes.append((entry, outcome))
            if outcome.result in (Result.FAILED, Result.UNAVAILABLE):
                break
            if time.monotonic() - reported > REPORT_AFTER and entry is not job.rows[-1]:
                self._report(Progress(self, job.key, finished=False))
                reported = time.monotonic()
        return self._report(Progress(self, job.key, finished=True))

    def _attempt(self, entry: Entry) -> Outcome:
        if entry.id in self.withdrawn:
            return Outcome(Result.WITHDRAWN)
        self._busy_since = time.monotonic()
        try:
            return self._courier.attempt(entry.pending, self._settings(entry.pending.event.instance_name))
        except Exception as error:
            logger.exception("delivery %d: the attempt crashed", entry.id)
            return Outcome(Result.FAILED, f"internal error: {type(error).__name__}")
        finally:
            self._busy_since = None
