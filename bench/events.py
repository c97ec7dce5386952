"""How fast events reach their webhooks: from commit to arrival, and how many a second, on either database.

`python -m bench.events [database URL…]` measures alone; `latency` and `throughput` serve a larger run.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

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
from supervisor.config import Settings
from supervisor.otp import REST_FOR_ONE, ChildSpec, Start, Supervisor, SupervisorFlags, System

INSTANCES = 20
DEADLINE = 120.0
SQLITE = "sqlite:///zapvisor.db"


@dataclass(frozen=True)
class Latency:
    """From the COMMIT of an event to its arrival, in milliseconds, at a rate of events a second."""

    database: str
    rate: float
    events: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


@dataclass(frozen=True)
class Throughput:
    """Deliveries a second: while events are committed as fast as they can be, and of a backlog."""

    database: str
    destinations: int
    events: int
    committed_per_s: float
    delivered_per_s: float
    drained_per_s: float


class Receiver:
    """The receiver's process, on a free port or on a given one."""

    def __init__(self, port: int = 0) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.webhook_receiver", str(port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def arrivals(self) -> dict[int, float]:
        """End the receiver: when each numbered event arrived first."""
        output, _ = self._process.communicate(timeout=30)
        seen: dict[int, float] = {}
        for line in output.splitlines():
            number, at = line.split()
            seen.setdefault(int(number), float(at))
        return seen


class Bench:
    """A store, a bus and deliveries in one tree, with instances whose webhooks are one receiver."""

    def __init__(self, url: str, place: Path, port: int, destinations: int) -> None:
        self.system = System()
        self._backend = open_backend(url, place)
        self._settings = Settings()
        self.reader = Reader(self._backend)
        flags = SupervisorFlags(REST_FOR_ONE)
        self.system.start(Supervisor, flags, [ChildSpec("store", Start(Store, self._backend), shutdown=30)])
        self.rows = [
            write(self.system, self._instance(f"http://127.0.0.1:{port}/{number % destinations}"))
            for number in range(INSTANCES)
        ]

    def deliver(self) -> None:
        """Begin to deliver."""
        self.system.start(Events, path="events")
        self.system.start(Delivery, self._backend, self._settings, path="delivery")

    def event(self, number: int) -> Callable[[Tx], str]:
        """A unit that emits a numbered event of one of the instances."""
        row = self.rows[number % INSTANCES]
        data = {"state": "open", "statusReason": 200, "number": number}
        return lambda tx: emit(tx, row, "connection.update", data, settings=self._settings.webhook)

    def commit(self, numbers: Sequence[int], rate: float | None = None) -> dict[int, float]:
        """Commit events, each a unit of its own, and return when each was committed."""
        committed: dict[int, float] = {}
        all_done = threading.Event()
        start = time.monotonic()

        def done(number: int) -> Callable[[Outcome], None]:
            def note(outcome: Outcome) -> None:
                assert outcome.error is None, outcome.error
                committed[number] = time.monotonic()
                if len(committed) == len(numbers):
                    all_done.set()

            return note

        for sent, number in enumerate(numbers):
            if rate is not None:
                time.sleep(max(start + sent / rate - time.monotonic(), 0.0))
            self.system.cast("store", Write(self.event(number), done(number)))
            while sent - len(committed) > 1000:
                time.sleep(0.001)
        assert all_done.wait(DEADLINE), "not everything was committed"
        return committed

    def drain(self) -> None:
        """Wait until nothing is pending."""
        deadline = time.monotonic() + DEADLINE
        while self.reader.query(outbox.backlog)[0]:
            assert time.monotonic() < deadline, "not everything was delivered"
            time.sleep(0.02)

    def close(self) -> None:
        self.system.shutdown()
        self.reader.close()

    @staticmethod
    def _instance(url: str) -> Callable[[Tx], Instance]:
        row = Instance(name=f"bench-{new_id()}", token=new_id(), webhook={"enabled": True, "url": url})
        return lambda tx: instances.insert(tx, row)


@contextlib.contextmanager
def running(url: str, destinations: int) -> Iterator[tuple[Bench, Receiver]]:
    """A bench and its receiver."""
    with tempfile.TemporaryDirectory(prefix="zapvisor-bench-") as place:
        receiver = Receiver()
        bench = Bench(url, Path(place), receiver.port, destinations)
        try:
            yield bench, receiver
        finally:
            bench.close()


def latency(
    url: str = SQLITE, *, rate: float = 200.0, seconds: float = 10.0, destinations: int = 5
) -> Latency:
    """Measure from commit to arrival, with a healthy receiver.

    Args:
        url: an empty database; `sqlite:///…` is in a temporary directory.
        rate: events a second, spread over `INSTANCES` instances.
    """
    with running(url, destinations) as (bench, receiver):
        bench.deliver()
        warm = int(rate)
        committed = bench.commit(range(warm + int(rate * seconds)), rate)
        bench.drain()
        arrived = receiver.arrivals()
    times = sorted((arrived[n] - committed[n]) * 1000 for n in committed if n >= warm)
    return Latency(
        database(url),
        rate,
        len(times),
        round(times[len(times) // 2], 2),
        round(times[int(len(times) * 0.99)], 2),
        round(times[-1], 2),
    )


def throughput(url: str = SQLITE, *, events: int = 5000, destinations: int = 20) -> Throughput:
    """Measure deliveries a second: of events as they are committed, then of a backlog of as many."""
    with running(url, destinations) as (bench, receiver):
        backlog = range(events, 2 * events)
        bench.commit(backlog)
        begin = time.monotonic()
        bench.deliver()
        bench.drain()
        drained = events / (time.monotonic() - begin)
        begin = time.monotonic()
        bench.commit(range(events))
        committed = events / (time.monotonic() - begin)
        bench.drain()
        delivered = events / (time.monotonic() - begin)
        assert len(receiver.arrivals()) == 2 * events
    return Throughput(database(url), destinations, events, round(committed), round(delivered), round(drained))


def database(url: str) -> str:
    """What the figures are of."""
    return url.partition(":")[0]


def main(urls: Sequence[str]) -> None:
    results: list[Any] = []
    for url in urls or [SQLITE]:
        results += [latency(url), throughput(url)]
    for result in results:
        print(json.dumps({"figure": type(result).__name__.lower(), **asdict(result)}))


if __name__ == "__main__":
    main(sys.argv[1:])
