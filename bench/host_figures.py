"""The figures of the whole host."""

from __future__ import annotations

from typing import Final

from bench.baileys import run_baileys
from bench.figures import Experiment, Figure, Series, Suite
from bench.host import run_host, run_plain, run_shared
from bench.processes import MIB
from bench.samples import p99, worst

HOST: Final = "host"
PLAIN: Final = "plain clients"
SHARED: Final = "one process"
BAILEYS: Final = "Baileys"
_SPAWN = "a fresh interpreter for each"
_ONE = "all in one process"
_BAILEYS = "Baileys, all in one process"


def _others(series: str) -> dict[str, Series]:
    return {_SPAWN: (PLAIN, series), _ONE: (SHARED, series), _BAILEYS: (BAILEYS, series)}


_LATENCY_IDLE: dict[str, Series] = {"the same, idle": (HOST, "latency idle")}

SUITE = Suite(
    experiments=(
        Experiment(HOST, run_host, repetitions=3, quick=1),
        Experiment(PLAIN, run_plain, repetitions=3, quick=1),
        Experiment(SHARED, run_shared, repetitions=3, quick=1),
        Experiment(BAILEYS, run_baileys, repetitions=3, quick=1),
    ),
    figures=(
        Figure(
            "host.boot",
            "host started, all instances open",
            "s",
            (HOST, "boot"),
            baselines=_others("boot"),
            aim="a fifth of plain spawns",
        ),
        Figure(
            "host.boot_work",
            "the same, processor time of all its processes",
            "s",
            (HOST, "boot work"),
            baselines=_others("boot work"),
        ),
        Figure("host.answering", "host started, API answers", "s", (HOST, "answering")),
        Figure(
            "host.kill",
            "port killed (-9), open again",
            "ms",
            (HOST, "kill"),
            scale=1e3,
            baselines={_SPAWN: (PLAIN, "kill")},
            aim="p50 under 100 ms",
        ),
        Figure(
            "host.kill_p99",
            "the same, p99",
            "ms",
            (HOST, "kill"),
            scale=1e3,
            reduce=p99,
            baselines={_SPAWN: (PLAIN, "kill")},
        ),
        Figure(
            "host.kill_api",
            "port killed, connectionState says open again",
            "ms",
            (HOST, "kill seen by the API"),
            scale=1e3,
        ),
        Figure("host.noticed", "port killed, no longer called open", "ms", (HOST, "noticed"), scale=1e3),
        Figure(
            "host.drop",
            "every link dropped at once, all open again",
            "s",
            (HOST, "drop"),
            baselines=_others("drop"),
        ),
        Figure(
            "host.restart",
            "service back after a restart, all open again",
            "s",
            (HOST, "restart"),
            baselines=_others("restart"),
            aim="within 2 s",
        ),
        Figure(
            "host.outage",
            "the same after an outage of a minute",
            "s",
            (HOST, "outage"),
            baselines=_others("outage"),
        ),
        Figure("host.stop", "host stopped in order", "s", (HOST, "stop")),
        Figure("host.latency", "connectionState, idle", "ms", (HOST, "latency idle"), scale=1e3),
        Figure(
            "host.latency_p99",
            "connectionState, idle, p99",
            "ms",
            (HOST, "latency idle"),
            scale=1e3,
            reduce=p99,
        ),
        Figure(
            "host.latency_boot",
            "connectionState during the boot, p99",
            "ms",
            (HOST, "latency boot"),
            scale=1e3,
            reduce=p99,
            baselines=_LATENCY_IDLE,
        ),
        Figure(
            "host.latency_drop",
            "connectionState during the mass drop, p99",
            "ms",
            (HOST, "latency drop"),
            scale=1e3,
            reduce=p99,
            baselines=_LATENCY_IDLE,
        ),
        Figure(
            "host.latency_restart",
            "connectionState during the service restart, p99",
            "ms",
            (HOST, "latency restart"),
            scale=1e3,
            reduce=p99,
            baselines=_LATENCY_IDLE,
        ),
        Figure(
            "host.latency_worst",
            "connectionState during the boot, worst",
            "ms",
            (HOST, "latency boot"),
            scale=1e3,
            reduce=worst,
        ),
        Figure(
            "host.port_memory",
            "memory of one connected instance's process (USS)",
            "MiB",
            (HOST, "port uss"),
            scale=1 / MIB,
            baselines=_others("uss"),
            aim="at most 16 MiB",
        ),
        Figure(
            "host.total_memory",
            "all processes together (PSS)",
            "MiB",
            (HOST, "pss"),
            scale=1 / MIB,
            baselines=_others("pss"),
        ),
        Figure(
            "host.host_memory",
            "memory of the host process (USS)",
            "MiB",
            (HOST, "host uss"),
            scale=1 / MIB,
            aim="at most 100 MiB with 200",
        ),
        Figure("host.host_rss", "memory of the host process (RSS)", "MiB", (HOST, "host rss"), scale=1 / MIB),
        Figure(
            "host.forkserver_memory",
            "memory of the forkserver (USS)",
            "MiB",
            (HOST, "forkserver uss"),
            scale=1 / MIB,
        ),
        Figure("host.threads", "threads of the host process", "", (HOST, "threads")),
        Figure("host.descriptors", "file descriptors of the host process", "", (HOST, "descriptors")),
        Figure(
            "host.idle",
            "idle processor use, each instance",
            "% of a core",
            (HOST, "idle"),
            scale=100,
            baselines=_others("idle"),
            aim="under 0.05 %",
        ),
    ),
)
