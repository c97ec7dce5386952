"""What waits for one destination: a bounded window of the database's queue, kept in order for each instance.

The events of one instance form a *stream*. Within a stream there is one attempt at a time, in order; streams do
not wait for each other. A stream whose first delivery must be tried again later holds that one only: the rest
stays in the database until it moves on, so an instance that fails for hours takes no room from the others.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

Key = str | None
"""A stream: the instance's id."""


class Row(Protocol):
    """What the backlog must know of a delivery."""

    @property
    def id(self) -> int: ...
    @property
    def stream(self) -> Key: ...
    @property
    def due(self) -> float | None:
        """When it may be tried; None is at once."""


R = TypeVar("R", bound=Row)

BATCH = 16
"""Deliveries of one stream that are given out at a time."""


@dataclass(frozen=True, slots=True)
class LoadNew:
    """Wanted: what is queued behind an id, of all streams but some."""

    after: int
    limit: int
    skip: frozenset[Key] = frozenset()


@dataclass(frozen=True, slots=True)
class LoadStream:
    """Wanted: what is queued of one stream, behind one id and up to another."""

    key: Key
    after: int
    up_to: int
    limit: int


@dataclass(frozen=True, slots=True)
class Job(Generic[R]):
    """The next deliveries of one stream, to be attempted in order."""

    key: Key
    rows: Sequence[R]


@dataclass(slots=True)
class _Stream(Generic[R]):
    queue: deque[R] = field(default_factory=deque)
    busy: bool = False
    retry_at: float | None = None
    soft: bool = False
    behind: bool = False
    last_id: int = 0


class Backlog(Generic[R]):
    """The window. It does no I/O and knows no time but what it is told (seconds of one monotonic clock).

    Args:
        window: deliveries held in all, besides one for each stream that waits for a retry.
        stream_window: deliveries held of one stream.
        batch: deliveries given out at a time.
    """

    def __init__(self, window: int = 256, stream_window: int = 32, batch: int = BATCH) -> None:
        self._window, self._stream_window, self._batch = window, stream_window, batch
        self._streams: dict[Key, _Stream[R]] = {}
        self._ready: deque[Key] = deque()
        self._behind: dict[Key, None] = {}
        self._cursor = 0
        self._more = True
        self._held = 0

    @property
    def empty(self) -> bool:
        """Whether nothing is held and nothing is known to be left in the database."""
        return not self._streams and not self._more

    @property
    def held(self) -> int:
        """Deliveries in memory."""
        return self._held

    @property
    def ids(self) -> list[int]:
        """The ids of the deliveries in memory."""
        return [row.id for stream in self._streams.values() for row in stream.queue]

    @property
    def ready(self) -> int:
        """Streams that could be attempted now."""
        return len(self._ready)

    def hint(self) -> None:
        """There may be something new in the database."""
        self._more = True

    def want(self) -> LoadNew | LoadStream | None:
        """What to read next, if anything. Answer with `fill` or `fill_stream` before asking again."""
        for key in self._behind:
            stream = self._streams[key]
            if not stream.queue and not stream.busy:
                return LoadStream(key, stream.last_id, self._cursor, self._stream_window)
        room = self._window - self._held + sum(1 for _ in self._waiting())
        if self._more and not self._ready and room > 0:
            return LoadNew(self._cursor, room, frozenset(self._behind))
        return None

    def fill(self, rows: Sequence[R], limit: int, last: int) -> None:
        """Take what was read for `LoadNew`, and the last id that was looked at."""
        self._cursor = max(self._cursor, last)
        for row in rows:
            stream = self._streams.setdefault(row.stream, _Stream(last_id=row.id - 1))
            if stream.behind:
                continue
            self._append(row.stream, stream, row)
        self._more = len(rows) >= limit

    def fill_stream(self, key: Key, rows: Sequence[R], limit: int) -> None:
        """Take what was read for `LoadStream`."""
        stream = self._streams[key]
        if len(rows) < limit:
            stream.behind = False
            self._behind.pop(key, None)
        for row in rows:
            self._append(key, stream, row)
        self._forget_if_done(key, stream)

    def take(self, now: float, *, early: bool = False) -> Job[R] | None:
        """The stream whose turn it is, and its next deliveries. Answer with `settle`.

        Args:
            early: if none is ready, take the one whose retry is due first, before its time, alone.
        """
        self._wake_due(now)
        if not self._ready and early:
            waiting = [(at, key) for key, at in self._waiting()]
            if waiting:
                self._wake(min(waiting, key=lambda pair: pair[0])[1])
        if not self._ready:
            return None
        key = self._ready.popleft()
        stream = self._streams[key]
        stream.busy = True
        count = 1 if early else self._batch
        return Job(key, [stream.queue[n] for n in range(min(count, len(stream.queue)))])

    def settle(self, key: Key, count: int) -> None:
        """The first `count` deliveries of a stream that was taken are done with."""
        stream = self._streams[key]
        for _ in range(count):
            stream.queue.popleft()
        self._held -= count

    def release(self, key: Key) -> None:
        """A stream that was taken is free again: its next delivery may go out, unless `retry` said later."""
        stream = self._streams[key]
        stream.busy = False
        if stream.queue and stream.retry_at is None:
            self._ready.append(key)
        self._forget_if_done(key, stream)

    def retry(self, key: Key, head: R, at: float, *, soft: bool) -> None:
        """A stream that was taken is to wait once it is released, with its first delivery as it is now.

        Args:
            at: when that may be tried again.
            soft: it waits because of the destination, not because of the delivery.
        """
        stream = self._streams[key]
        stream.queue[0] = head
        stream.retry_at, stream.soft = at, soft
        self._trim(key, stream)

    def wake_soft(self) -> None:
        """The destination is back: who waits because of it waits no longer."""
        for key, stream in self._streams.items():
            if stream.retry_at is not None and stream.soft and not stream.busy:
                self._wake(key)

    def next_due(self) -> float | None:
        """When the first waiting stream may be tried again."""
        return min((at for _, at in self._waiting()), default=None)

    def _append(self, key: Key, stream: _Stream[R], row: R) -> None:
        if stream.retry_at is not None or len(stream.queue) >= self._stream_window:
            self._fall_behind(key, stream)
            return
        stream.last_id = row.id
        stream.queue.append(row)
        self._held += 1
        if len(stream.queue) == 1 and not stream.busy:
            if row.due is None:
                self._ready.append(key)
            else:
                stream.retry_at, stream.soft = row.due, True

    def _trim(self, key: Key, stream: _Stream[R]) -> None:
        dropped = len(stream.queue) - 1
        if dropped > 0:
            head = stream.queue[0]
            stream.queue = deque([head])
            stream.last_id = head.id
            self._held -= dropped
            self._fall_behind(key, stream)

    def _fall_behind(self, key: Key, stream: _Stream[R]) -> None:
        stream.behind = True
        self._behind[key] = None

    def _forget_if_done(self, key: Key, stream: _Stream[R]) -> None:
        if not stream.queue and not stream.busy and not stream.behind:
            del self._streams[key]

    def _waiting(self) -> Iterable[tuple[Key, float]]:
        return (
            (key, stream.retry_at)
            for key, stream in self._streams.items()
            if stream.retry_at is not None and not stream.busy
        )

    def _wake_due(self, now: float) -> None:
        for key, at in list(self._waiting()):
            if at <= now:
                self._wake(key)

    def _wake(self, key: Key) -> None:
        self._streams[key].retry_at = None
        self._ready.append(key)
