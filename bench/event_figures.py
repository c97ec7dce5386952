"""The figures of events, and what they are compared with: requests that are sent at once and kept nowhere."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Final

import httpx

from bench import events
from bench.figures import Bench, Experiment, Figure, Series, Suite, Unavailable
from bench.samples import Samples, median, p99
from tests.postgres import NoPostgres, cluster

RATE = 200.0
SECONDS = (10.0, 2.0)
EVENTS = (5000, 500)
LATENCY_DESTINATIONS = 5
DESTINATIONS = 20

SQLITE: Final = "events, SQLite"
POSTGRESQL: Final = "events, PostgreSQL"
DIRECT: Final = "events, direct"


def run_sqlite(bench: Bench) -> Mapping[str, Samples]:
    """The outbox in a SQLite file."""
    return _measure(bench, events.SQLITE, events.SQLITE)


def run_postgresql(bench: Bench) -> Mapping[str, Samples]:
    """The outbox in a PostgreSQL of this run's own, which writes without fsync."""
    with _databases(2) as urls:
        return _measure(bench, *urls)


@contextmanager
def _databases(count: int) -> Iterator[Sequence[str]]:
    try:
        with cluster() as server:
            urls = [server.create_database() for _ in range(count)]
            yield urls
            for url in urls:
                server.drop_database(url)
    except NoPostgres as reason:
        raise Unavailable(str(reason)) from reason


def _measure(bench: Bench, latency_url: str, throughput_url: str) -> Mapping[str, Samples]:
    bench.note(f"{RATE:g} events a second")
    seconds = SECONDS[bench.quick]
    arrival = events.latency(latency_url, rate=RATE, seconds=seconds, destinations=LATENCY_DESTINATIONS)
    bench.note("as many as can be")
    flow = events.throughput(throughput_url, events=bench.pick(*EVENTS), destinations=DESTINATIONS)
    return {
        "p50": [arrival.p50_ms],
        "p99": [arrival.p99_ms],
        "committed": [flow.committed_per_s],
        "delivered": [flow.delivered_per_s],
        "drained": [flow.drained_per_s],
    }


def run_direct(bench: Bench) -> Mapping[str, Samples]:
    """The same requests from a thread for each destination, without a database: what a crash loses is lost."""
    latencies = _direct_latencies(SECONDS[bench.quick])
    return {
        "p50": [median(latencies)],
        "p99": [p99(latencies)],
        "delivered": [_direct_flow(bench.pick(*EVENTS))],
    }


def _direct_latencies(seconds: float) -> list[float]:
    """Milliseconds from the wish to send to the arrival, at `RATE` requests a second."""
    receiver, wished = events.Receiver(), {}
    warm = int(RATE)
    with httpx.Client() as client, ThreadPoolExecutor(LATENCY_DESTINATIONS) as pool:
        sent, start = [], time.monotonic()
        for number in range(warm + int(RATE * seconds)):
            time.sleep(max(start + number / RATE - time.monotonic(), 0.0))  # the pace of the requests
            wished[number] = time.monotonic()
            sent.append(pool.submit(_post, client, receiver.port, number, LATENCY_DESTINATIONS))
        for each in sent:
            each.result()
    arrived = receiver.arrivals()
    return [(arrived[number] - wished[number]) * 1000 for number in wished if number >= warm]


def _direct_flow(count: int) -> float:
    """Requests a second, as many as can be."""
    receiver = events.Receiver()
    with httpx.Client() as client, ThreadPoolExecutor(DESTINATIONS) as pool:
        began = time.monotonic()
        list(pool.map(lambda number: _post(client, receiver.port, number, DESTINATIONS), range(count)))
        took = time.monotonic() - began
    if len(receiver.arrivals()) != count:
        raise RuntimeError("not everything arrived")
    return count / took


def _post(client: httpx.Client, port: int, number: int, destinations: int) -> None:
    body = {"event": "connection.update", "data": {"state": "open", "statusReason": 200, "number": number}}
    text = json.dumps(body, separators=(",", ":"))
    headers = {"content-type": "application/json"}
    client.post(f"http://127.0.0.1:{port}/{number % destinations}", content=text, headers=headers)


def _compared(series: str) -> dict[str, Series]:
    return {"the same on PostgreSQL": (POSTGRESQL, series), "sent at once, kept nowhere": (DIRECT, series)}


SUITE = Suite(
    experiments=(
        Experiment(SQLITE, run_sqlite, repetitions=3, quick=1),
        Experiment(POSTGRESQL, run_postgresql, repetitions=3, quick=1),
        Experiment(DIRECT, run_direct, repetitions=3, quick=1),
    ),
    figures=(
        Figure(
            "events.latency",
            f"event committed, webhook has it, at {RATE:g}/s",
            "ms",
            (SQLITE, "p50"),
            baselines=_compared("p50"),
        ),
        Figure("events.latency_p99", "the same, p99", "ms", (SQLITE, "p99"), baselines=_compared("p99")),
        Figure(
            "events.delivered",
            "events committed and delivered, as many as can be",
            "/s",
            (SQLITE, "delivered"),
            baselines=_compared("delivered"),
            higher=True,
        ),
        Figure(
            "events.committed",
            "events committed meanwhile",
            "/s",
            (SQLITE, "committed"),
            baselines={"the same on PostgreSQL": (POSTGRESQL, "committed")},
            higher=True,
        ),
        Figure(
            "events.drained",
            "backlog delivered",
            "/s",
            (SQLITE, "drained"),
            baselines={"the same on PostgreSQL": (POSTGRESQL, "drained")},
            higher=True,
        ),
    ),
)
