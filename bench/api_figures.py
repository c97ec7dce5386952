"""The control API under load, with many open instances: idle, and while all of them reconnect again and again."""

from __future__ import annotations

import itertools
import os
import signal
import time
from collections.abc import Mapping
from typing import Final

from bench.api_load import Asking, Stream, ask
from bench.figures import Bench, Experiment, Figure, Series, Suite
from bench.fleet import Fleet, linked_fleet
from bench.samples import Samples, p99, worst

API: Final = "control API"
INSTANCES = 100
RATE = 500.0
"""Questions a second for the state of an instance."""

LIST_RATE = 5.0
"""Questions a second for the list of all instances."""

CONNECTIONS = 32
SECONDS = (15, 1)
PORTS_KILLED = 5
"""In each wave of the storm, besides that every link is dropped; others each time, as a process that crashes again and
again is taken for broken."""


def run_api(bench: Bench) -> Mapping[str, Samples]:
    """One host: as fast as it answers, then at a steady rate, then the same in a storm."""
    count, seconds = min(INSTANCES, bench.instances), bench.pick(*SECONDS)
    with linked_fleet(bench.scratch, count, bench.note) as fleet:
        bench.note(f"{count} instances: boot")
        fleet.start()
        url = fleet.host.url
        paths = tuple(f"/instance/connectionState/{name}" for name in fleet.names)
        states, lists = Stream(RATE, CONNECTIONS, paths), Stream(LIST_RATE, 2, ("/instance/fetchInstances",))
        most = {
            "state rate": Stream(0, 8, paths),
            "list rate": Stream(0, 8, ("/instance/fetchInstances",)),
            "floor rate": Stream(0, 8, ("/healthz",)),
        }
        found: dict[str, Samples] = {}
        for name, stream in most.items():
            bench.note(f"{name}: as many as are answered")
            [load] = ask(url, seconds / 3, stream)
            found[name] = [load.rate]
        bench.note(f"idle: {RATE:g} a second")
        [floor] = ask(url, seconds, Stream(RATE, CONNECTIONS, ("/healthz",)))
        [state] = ask(url, seconds, states)
        [listed] = ask(url, seconds, lists)
        bench.note("the same in a storm of reconnects")
        asking = Asking(url, seconds, [states, lists])
        waves = _storm(fleet, seconds)
        state_storm, list_storm = asking.result()
        fleet.stop()
    return {
        **found,
        "floor": floor.latencies,
        "state": state.latencies,
        "list": listed.latencies,
        "state storm": state_storm.latencies,
        "list storm": list_storm.latencies,
        "waves": [waves],
    }


def _storm(fleet: Fleet, seconds: float) -> float:
    """Drop every link and kill some ports, as soon as all are open again, until the time is over; how often."""
    waves, until = 0, time.monotonic() + seconds
    victims = itertools.cycle(fleet.names)
    while time.monotonic() < until:
        mark = fleet.host.log.mark()
        killed = [fleet.host.port_pid(name) for name in itertools.islice(victims, PORTS_KILLED)]
        fleet.wa.drop_all()
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        fleet.all_in("open", after=mark)
        waves += 1
    return float(waves)


_FLOOR: dict[str, Series] = {"/healthz, the server's floor": (API, "floor")}


def _latencies(
    name: str, title: str, series: str, idle: Mapping[str, Series], aim: str = ""
) -> tuple[Figure, ...]:
    """The median, the 99th percentile and the worst of a series."""
    ours = (API, series)
    return (
        Figure(f"{name}_p50", f"{title}, p50", "ms", ours, baselines=idle, scale=1e3),
        Figure(
            f"{name}_p99",
            f"{title}, p99",
            "ms",
            ours,
            baselines=idle,
            scale=1e3,
            reduce=p99,
            aim=aim if "storm" not in name else "",
        ),
        Figure(
            f"{name}_worst",
            f"{title}, worst",
            "ms",
            ours,
            baselines=idle,
            scale=1e3,
            reduce=worst,
            aim=aim if "storm" in name else "",
        ),
    )


SUITE = Suite(
    experiments=(Experiment(API, run_api, repetitions=3, quick=1),),
    figures=(
        Figure(
            "api.state_rate",
            f"connectionState, {INSTANCES} open instances",
            "/s",
            (API, "state rate"),
            baselines={"/healthz, the server's floor": (API, "floor rate")},
            higher=True,
        ),
        Figure(
            "api.list_rate",
            f"fetchInstances, {INSTANCES} open instances",
            "/s",
            (API, "list rate"),
            baselines={"/healthz, the server's floor": (API, "floor rate")},
            higher=True,
        ),
        *_latencies("api.state", f"connectionState at {RATE:g}/s", "state", _FLOOR, "p99 under 25 ms"),
        *_latencies("api.list", f"fetchInstances at {LIST_RATE:g}/s", "list", _FLOOR),
        *_latencies(
            "api.storm_state",
            f"connectionState at {RATE:g}/s, all reconnecting",
            "state storm",
            {"the same, idle": (API, "state")},
            "at most 500 ms",
        ),
        *_latencies(
            "api.storm_list",
            f"fetchInstances at {LIST_RATE:g}/s, all reconnecting",
            "list storm",
            {"the same, idle": (API, "list")},
            "at most 500 ms",
        ),
        Figure("api.storm_waves", "reconnects of all in that time", "", (API, "waves"), higher=True),
    ),
)
