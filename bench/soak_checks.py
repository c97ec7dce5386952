"""What must be true at the end of a soak, each as a function that says in words what is not."""

from __future__ import annotations

import math
import sqlite3
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.soak_model import Model
from bench.soak_watch import Sample

Problems = Iterator[str]

TOLERANCE: Mapping[str, int] = {"threads": 12, "descriptors": 24, "processes": 0, "ports": 0}
"""By how much the host may have more than before the faults. The lane of a webhook has up to eight senders, which
come and go with what is to be sent, each a thread, a socket and a database connection; the rest is the API's kept
connections. What leaks with each of hundreds of faults is far more.
"""

WARM_UP = 1 / 3
"""The part of the watched time in which memory may still grow: caches fill, the heap finds its size."""

RISE_SHARE = 0.10
RISE_MIB: Mapping[str, float] = {"host_dirty": 6.0, "port_dirty": 1.5}
"""Memory is flat if the line through its samples after the warm-up rises over that time by less than this share of
their median, or by less than these MiB."""

ENOUGH = 12
"""Samples after the warm-up without which nothing is said of memory."""


# -- states ------------------------------------------------------------------------------------------------


def states(
    model: Model, rows: Sequence[Mapping[str, Any]], linked: Iterable[str], live: Iterable[str]
) -> Problems:
    """Every instance is what it should be, as the API and as the service see it.

    Args:
        rows: what the API says.
        linked: the devices that the service knows.
        live: the device of every logged-in connection at the service.
    """
    known, connected = set(linked), list(live)
    by_name = {str(row["name"]): row for row in rows}
    if by_name.keys() != {member.name for member in model.members}:
        yield f"the API tells of {len(by_name)} instances, {len(model)} were made"
    for member in model.members:
        row = by_name.get(member.name, {})
        state, wanted = row.get("connectionStatus"), "open" if member.wanted else "close"
        if state != wanted:
            yield f"{member.name}: the API says {state} ({row.get('phase')}), it should be {wanted}"
        links = connected.count(member.device)
        if links != int(member.wanted):
            yield f"{member.name}: the service has {links} connections of it, and it should be {wanted}"
        if member.wanted and member.device not in known:
            yield f"{member.name}: its device {member.device} is linked no more"
        if member.wanted and row.get("ownerJid") != f"{member.number}@s.whatsapp.net":
            yield f"{member.name}: it belongs to {row.get('ownerJid')}, it should be {member.number}"


def devices(model: Model, stored: Mapping[str, str | None]) -> Problems:
    """The device that the host's database has for each is the one that was scanned last."""
    for member in model.members:
        if member.wanted and stored.get(member.name) != member.device:
            yield f"{member.name}: its device is {stored.get(member.name)}, {member.device} was linked"


# -- events ------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Told:
    """What became of the events.

    Attributes:
        events: committed.
        requests: received.
        refused: requests that were treated badly by the receiver.
        again: events that were received again after they had been taken.
    """

    events: int
    requests: int
    refused: int
    again: int


def events(database: Path, requests: Sequence[Mapping[str, Any]]) -> tuple[Told, list[str]]:
    """Hold what was received against the outbox: nothing missing, in order, the same event under the same id.

    Args:
        database: the host's, which is not running.
        requests: what the receiver has written down, in order.
    """
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as store:
        unsent = [
            row[0]
            for row in store.execute("SELECT id FROM event WHERE seq NOT IN (SELECT event_seq FROM delivery)")
        ]
        rows = store.execute(
            "SELECT event.id, event.instance_name, event.event, delivery.status"
            " FROM delivery JOIN event ON event.seq = delivery.event_seq ORDER BY delivery.id"
        ).fetchall()
    store.close()
    problems = [f"event {each} was sent to nobody" for each in unsent]
    places: dict[str, tuple[str, str, int]] = {}
    counts: dict[str, int] = defaultdict(int)
    for event_id, instance, event, status in rows:
        places[event_id] = (instance, event, counts[instance])
        counts[instance] += 1
        if status != "delivered":
            problems.append(f"{instance}: event {event_id} ({event}) is {status}")
    taken, again, wrong = _received(places, requests)
    problems += wrong
    problems += [
        f"{instance}: event {event_id} ({event}) was never taken"
        for event_id, (instance, event, _) in places.items()
        if event_id not in taken
    ]
    refused = sum(request["answer"] != "200" for request in requests)
    return Told(len(rows), len(requests), refused, again), problems


def _received(
    places: Mapping[str, tuple[str, str, int]], requests: Sequence[Mapping[str, Any]]
) -> tuple[set[str], int, list[str]]:
    """The events that were taken, how many of them again, and what is wrong with the requests."""
    taken: set[str] = set()
    again, problems = 0, []
    next_of: dict[str, int] = defaultdict(int)  # by instance: the first event that was not taken yet
    content: dict[str, str] = {}
    for request in requests:
        event_id = str(request["id"])
        if event_id not in places:
            problems.append(f"{request['instance']}: event {event_id!r} was received, and is in no outbox")
            continue
        instance, event, place = places[event_id]
        if (request["instance"], request["event"]) != (instance, event):
            problems.append(f"{instance}: event {event_id} ({event}) came as {request['event']}")
        if content.setdefault(event_id, str(request["data"])) != request["data"]:
            problems.append(f"{instance}: event {event_id} ({event}) came with other data than before")
        if place > next_of[instance]:
            problems.append(
                f"{instance}: event {event_id} ({event}) came {place - next_of[instance]} events too early"
            )
        if request["answer"] == "200":
            again += event_id in taken
            taken.add(event_id)
            next_of[instance] = max(next_of[instance], place + 1)
    return taken, again, problems


# -- resources ---------------------------------------------------------------------------------------------


def leaks(before: Sample, after: Sample) -> Problems:
    """Nothing that can be counted has become more."""
    for name, tolerance in TOLERANCE.items():
        had, has = getattr(before, name), getattr(after, name)
        if has > had + tolerance:
            yield f"the host has {has} {name}, and had {had} before the faults"
    if after.ports < before.ports:
        yield f"the host has {after.ports} ports, and had {before.ports} before the faults"


@dataclass(frozen=True, slots=True)
class Trend:
    """How a figure went over the last life of the host, after the warm-up.

    Attributes:
        first, middle, last: of its samples.
        hourly: the slope of the line through them, in an hour.
        rise: of that line, over the time of the samples.
        samples: how many.
        limit: of the rise, if the figure is to be flat.
    """

    first: float
    middle: float
    last: float
    hourly: float
    rise: float
    samples: int
    limit: float

    @property
    def flat(self) -> bool | None:
        """Whether it stays what it is; None if there are too few samples to tell."""
        if self.samples < ENOUGH:
            return None
        return self.rise < self.limit


def trend(samples: Sequence[Sample], name: str) -> Trend:
    """How a figure of the last life went.

    Raises:
        ValueError: there are no samples.
    """
    if not samples:
        raise ValueError("no samples")
    life = [sample for sample in samples if sample.life == samples[-1].life]
    warm = life[math.ceil(len(life) * WARM_UP) :] or life[-1:]
    times, values = [sample.at for sample in warm], [float(getattr(sample, name)) for sample in warm]
    slope = statistics.linear_regression(times, values).slope if len(set(times)) > 1 else 0.0
    rise = slope * (times[-1] - times[0])
    middle = statistics.median(values)
    limit = max(RISE_MIB.get(name, 0.0), RISE_SHARE * middle)
    return Trend(values[0], middle, values[-1], slope * 3600, rise, len(values), limit)


def memory(samples: Sequence[Sample]) -> Problems:
    """The memory of the host and of a port is flat."""
    for name in RISE_MIB:
        seen = trend(samples, name)
        if seen.flat is False:
            yield f"{name} rises: {seen.rise:+.1f} MiB in the watched time ({seen.hourly:+.1f} MiB an hour)"
