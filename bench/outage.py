"""A destination that is down while thousands of events are committed for it, and what the others notice of that.

`python -m bench.outage [--events 20000] [--database sqlite|postgresql]`. A store, a bus and deliveries run as in the
host; the process's memory is what they take. Measured: memory early in the outage and at its end; the time from commit
to arrival at the destinations that are up, before and during it; how fast the backlog drains when the destination is
back, and that it drains completely and in order for each instance.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path

from actors.delivery import Delivery
from actors.events import Events, emit
from actors.store import (
    Instance,
    Outcome,
    Reader,
    Store,
    Tx,
    Write,
    instances,
    new_id,
    open_backend,
    outbox,
    write,
)
from bench.events import DEADLINE, SQLITE, Receiver, database
from bench.options import positive
from bench.samples import p99
from supervisor.config import Settings, WebhookSettings
from supervisor.otp import REST_FOR_ONE, ChildSpec, Start, Supervisor, SupervisorFlags, System
from tests.postgres import cluster

INSTANCES = 10
"""At the destinations that are up, and as many at the one that is down."""

UP = 5
"""Destinations that are up."""

RATE = 100.0
"""Events a second for the destinations that are up."""

DOWN = 1_000_000
"""Numbers from here on are events for the destination that is down."""

MIB = 1024 * 1024


@dataclass(frozen=True)
class Outage:
    """What was measured; times from the COMMIT to the arrival, in milliseconds.

    Attributes:
        events: committed for the destination that was down.
        seconds: how long it was down.
        rss_mib: memory when a tenth of the events was committed, and when all were.
        before_p99_ms, during_p99_ms: at the destinations that were up.
        drained_per_s: deliveries a second once the destination was back.
    """

    database: str
    events: int
    seconds: float
    rss_mib: tuple[float, float]
    before_p99_ms: float
    during_p99_ms: float
    drained_per_s: float


def outage(url: str, place: Path, *, events: int, rate: float = 500.0, calm: float = 5.0) -> Outage:
    """Measure.

    Args:
        url: an empty database.
        place: a directory for it.
        events: how many are committed for the destination that is down.
        rate: how many of them a second.
        calm: seconds that are measured before the outage.

    Raises:
        RuntimeError: an event is missing, or out of order.
    """
    up, port = Receiver(), free_port()
    tree = _Tree(url, place, up.port, port)
    try:
        tree.pace(calm, up_rate=RATE, down_rate=0.0)
        before = dict(tree.committed)
        tree.committed.clear()
        began, length = time.monotonic(), events / rate
        tree.pace(length / 10, up_rate=RATE, down_rate=rate)
        early = rss()
        tree.pace(length * 9 / 10, up_rate=RATE, down_rate=rate)
        late = rss()
        during = dict(tree.committed)
        down = Receiver(port)
        took, count = time.monotonic() - began, tree.down
        back = time.monotonic()
        tree.drain()
        drained = count / (time.monotonic() - back)
        seen, got = up.arrivals(), list(down.arrivals())
    finally:
        tree.close()
    if not seen.keys() >= before.keys() | during.keys():
        raise RuntimeError("the destinations that were up miss events")
    for instance in range(INSTANCES):
        expected = range(DOWN + instance, DOWN + count, INSTANCES)
        if [number for number in got if (number - DOWN) % INSTANCES == instance] != list(expected):
            raise RuntimeError("events are missing or out of order where the destination was down")
    return Outage(
        database(url),
        count,
        round(took, 1),
        (round(early / MIB, 1), round(late / MIB, 1)),
        round(p99([(seen[number] - at) * 1000 for number, at in before.items()]), 1),
        round(p99([(seen[number] - at) * 1000 for number, at in during.items()]), 1),
        round(drained),
    )


class _Tree:
    """A store, a bus and deliveries, with instances for the destinations that are up and for the one that is not.

    Attributes:
        committed: when each event for a destination that is up was committed.
        down: how many events were committed for the one that is down.
    """

    def __init__(self, url: str, place: Path, up: int, down: int) -> None:
        self.committed: dict[int, float] = {}
        self.down = 0
        self._next = 0
        self._waiting = threading.Semaphore(1000)
        self._settings = Settings(webhook=WebhookSettings(initial_delay=0.1, max_delay=1.0))
        self._backend = open_backend(url, place)
        self._reader = Reader(self._backend)
        self._system = System()
        children = [
            ChildSpec("store", Start(Store, self._backend), shutdown=30),
            ChildSpec("events", Start(Events)),
            ChildSpec("delivery", Start(Delivery, self._backend, self._settings)),
        ]
        self._system.start(Supervisor, SupervisorFlags(REST_FOR_ONE), children)
        self._up = [self._instance(f"http://127.0.0.1:{up}/{number % UP}") for number in range(INSTANCES)]
        self._down = [self._instance(f"http://127.0.0.1:{down}/down") for _ in range(INSTANCES)]

    def pace(self, seconds: float, *, up_rate: float, down_rate: float) -> None:
        """Commit events at rates for some seconds, each a unit of its own."""
        start, ups, downs = time.monotonic(), 0, 0
        while (passed := time.monotonic() - start) < seconds:
            while ups < passed * up_rate:
                self._commit(self._up[self._next % INSTANCES], self._next)
                self._next += 1
                ups += 1
            while downs < passed * down_rate:
                self._commit(self._down[self.down % INSTANCES], DOWN + self.down)
                self.down += 1
                downs += 1
            time.sleep(0.002)  # the pace of the events

    def drain(self) -> None:
        """Wait until nothing is pending."""
        deadline = time.monotonic() + DEADLINE
        while self._reader.query(outbox.backlog)[0]:
            if time.monotonic() > deadline:
                raise RuntimeError("not everything was delivered")
            time.sleep(0.05)

    def close(self) -> None:
        self._system.shutdown()
        self._reader.close()

    def _commit(self, row: Instance, number: int) -> None:
        def unit(tx: Tx) -> str:
            data = {"state": "open", "statusReason": 200, "number": number}
            return emit(tx, row, "connection.update", data, settings=self._settings.webhook)

        def done(outcome: Outcome) -> None:
            self._waiting.release()
            if outcome.error is None and number < DOWN:
                self.committed[number] = time.monotonic()

        if not self._waiting.acquire(timeout=DEADLINE):
            raise RuntimeError("the store takes no more")
        self._system.cast("store", Write(unit, done))

    def _instance(self, url: str) -> Instance:
        row = Instance(name=f"bench-{new_id()}", token=new_id(), webhook={"enabled": True, "url": url})
        insert: Callable[[Tx], Instance] = lambda tx: instances.insert(tx, row)  # noqa: E731
        return write(self._system, insert)


def rss() -> int:
    """Resident memory of this process, in bytes, without what only waits to be collected."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def free_port() -> int:
    """A port where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(
        prog="python -m bench.outage", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--events", type=positive, default=20_000)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args(arguments)
    with ExitStack() as undo:
        place = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="zapvisor-bench-")))
        url = SQLITE
        if options.database == "postgresql":
            url = undo.enter_context(cluster()).create_database()
        print(json.dumps(asdict(outage(url, place, events=options.events))))


if __name__ == "__main__":
    main()
