"""The history of an instance as bands over time: when it was open, when it was being brought back."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from api.dashboard.words import clock_span, history_line
from api.gateway import HistoryEntry, InstanceView, Phase

WIDTH = 1000
"""Units of the picture's width; it is stretched to its place."""

_THIN = 2.0
"""Units: a band of a few milliseconds is still to be seen."""

SPANS: Mapping[str, float] = {"1h": 3600.0, "24h": 86400.0, "7d": 7 * 86400.0}
_TICKS = {"1h": 6, "24h": 6, "7d": 7}


_TEMPORARY = ("grace", "reconnect", "restart")
"""What is done about a disconnection that is not the end of the connection."""

Times = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch of time in units of the picture, and what it was: `open`, `recovering` or `closed`."""

    x: float
    width: float
    kind: str
    title: str


@dataclass(frozen=True, slots=True)
class Mark:
    """A disconnection: its place, its tone and its words; `at` in seconds since the epoch."""

    x: float
    tone: str
    title: str
    at: float


@dataclass(frozen=True, slots=True)
class Timeline:
    """The picture.

    Attributes:
        bands: in the order of painting; where there is none, nothing is known, as while the host was down.
        marks: oldest first.
        ticks: times (seconds since the epoch) at equal distances, the first and the last at the ends.
        share_open: 0 to 1, of the time of which something is known; None when that is none.
        disconnections: how many are in the picture.
    """

    span: str
    bands: Sequence[Band]
    marks: Sequence[Mark]
    ticks: Sequence[float]
    share_open: float | None
    disconnections: int


def usual_span(view: InstanceView, now: float) -> str:
    """The span to begin with: the shortest that holds the instance's life, at most a day."""
    return "1h" if now - view.created_at < SPANS["1h"] else "24h"


def timeline(view: InstanceView, entries: Iterable[HistoryEntry], span: str, now: float) -> Timeline:
    """Draw an instance's history.

    Args:
        view: the instance as it is now.
        entries: its history, in any order.
        span: one of `SPANS`.
        now: seconds since the epoch.
    """
    seconds = SPANS[span]
    start = now - seconds

    def x(at: float) -> float:
        return round((at - start) / seconds * WIDTH, 2)

    rows = sorted((row for row in map(_row, entries) if row is not None), key=lambda row: row.at)
    opened = _open_times(view, rows, now)
    lost = _recovery_times(view, rows, now)
    found = {
        "closed": ("Not connected for", _clip(_closed_times(view, rows, opened, now), start, now)),
        "recovering": ("Recovering for", _clip(lost, start, now)),
        "open": ("Open for", _clip(opened, start, now)),
    }
    bands = [
        Band(
            min(x(since), WIDTH - _THIN),
            round(max(_THIN, x(until) - x(since)), 2),
            kind,
            f"{words} {clock_span(until - since)}",
        )
        for kind, (words, times) in found.items()
        for since, until in times
    ]
    marks = [_mark(row, x(row.at)) for row in rows if row.is_loss and start <= row.at <= now]
    known = sum(until - since for _, times in found.values() for since, until in times)
    is_open = sum(until - since for since, until in found["open"][1])
    ticks = [start + seconds * tick / _TICKS[span] for tick in range(_TICKS[span] + 1)]
    return Timeline(span, bands, marks, ticks, min(1.0, is_open / known) if known else None, len(marks))


@dataclass(frozen=True, slots=True)
class _Row:
    """An entry that is drawn, at its time."""

    at: float
    entry: HistoryEntry

    @property
    def is_loss(self) -> bool:
        return self.entry.kind == "disconnection"

    @property
    def is_final(self) -> bool:
        """Whether nothing was tried after this disconnection."""
        return self.is_loss and self.entry.action not in _TEMPORARY


def _row(entry: HistoryEntry) -> _Row | None:
    """None for what changed nothing: a fresh budget, and ends while a code waited, as nothing was open then."""
    waiting = entry.previous_phase == Phase.AWAITING_SCAN and entry.action == "restart"
    waited = waiting or entry.action in ("next-batch", "qr-limit")
    return None if entry.at is None or waited or entry.result == "fresh" else _Row(entry.at, entry)


def _mark(row: _Row, x: float) -> Mark:
    line = history_line(row.entry)
    return Mark(x, line.tone, f"{line.what}: {line.then}" if line.then else line.what, row.at)


def _open_times(view: InstanceView, rows: Sequence[_Row], now: float) -> Times:
    """Each loss says how long it had been open before."""
    times = [(row.at - row.entry.duration_s, row.at) for row in rows if row.is_loss and row.entry.duration_s]
    if view.phase is Phase.OPEN and view.open_since is not None:
        times.append((view.open_since, now))
    return times


def _recovery_times(view: InstanceView, rows: Sequence[_Row], now: float) -> Times:
    """Each recovery says how long it took; one that came to nothing ended with the next loss."""
    times = [
        (row.at - row.entry.duration_s, row.at) for row in rows if not row.is_loss and row.entry.duration_s
    ]
    times += [
        (row.at, later.at)
        for row, later in pairwise(rows)
        if row.is_loss and not row.is_final and later.is_loss and not later.entry.duration_s
    ]
    if view.phase is Phase.RECOVERING and view.disconnection_at is not None:
        times.append((view.disconnection_at, now))
    return times


def _closed_times(view: InstanceView, rows: Sequence[_Row], opened: Times, now: float) -> Times:
    """From an end to the next beginning; and since the last end, or ever, where there is no connection now."""
    times = [
        (row.at, min((since for since, _ in opened if since >= row.at), default=now))
        for row in rows
        if row.is_final
    ]
    if view.phase not in (Phase.OPEN, Phase.RECOVERING):
        times.append((max(view.created_at, view.disconnection_at or 0.0), now))
    return times


def _clip(times: Iterable[tuple[float, float]], start: float, end: float) -> Times:
    """What lies inside, in order and without overlaps."""
    merged: Times = []
    for since, until in sorted((max(since, start), min(until, end)) for since, until in times):
        if until < since:
            continue
        if merged and since <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], until))
        else:
            merged.append((since, until))
    return merged
