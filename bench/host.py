"""The whole host: boot, recovery, commands meanwhile, memory and idle cost, beside plain clients."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence

from bench import processes
from bench.figures import Bench, Unavailable
from bench.fleet import Fleet, linked_fleet, moment
from bench.life import footprint, idle, work
from bench.machine import memory_available
from bench.plain import Spoken, plain_fleet
from bench.poller import Poller, StateClient
from bench.processes import MIB
from bench.samples import Samples
from tests.loopback.client import LoopbackProcess

PLAIN_NEEDS = 60 * MIB
"""Bytes for each plain client, with some to spare."""

IDLE_SECONDS = (60, 1)
KILLS = (40, 5)
LATENCY_SECONDS = (10, 1)
OUTAGE_SECONDS = (60, 1)
"""How long the service is away, after every instance has noticed."""
QUESTION_PACE = 0.003
"""Seconds between two questions about one instance: more of them would slow down what is measured."""


def run_host(bench: Bench) -> Mapping[str, Samples]:
    """One life of a host with linked instances, measured all through."""
    with linked_fleet(bench.scratch, bench.instances, bench.note) as fleet:
        bench.note(f"{bench.instances} instances: boot")
        boot = _boot(fleet)
        bench.note("idle")
        rest = idle(fleet, bench.pick(*IDLE_SECONDS))
        taken = footprint(fleet)
        with Poller(fleet.host.url, fleet.names) as calm:
            time.sleep(bench.pick(*LATENCY_SECONDS))  # the span that is measured over
        kills = min(bench.pick(*KILLS), bench.instances)
        bench.note(f"killing {kills} ports, one after the other")
        noticed, killed = _kill_each(fleet, fleet.names[:kills])
        answered = [_kill_seen_by_api(fleet, name) for name in fleet.names[: max(1, kills // 2)]]
        bench.note("dropping every link at once")
        dropped, drop_latency = _drop_all(fleet)
        bench.note("restarting the service")
        restarted, restart_latency = _restart_service(fleet)
        bench.note("taking the service away for a while")
        away, _ = _restart_service(fleet, bench.pick(*OUTAGE_SECONDS))
        bench.note("stopping the host in order")
        stopped = fleet.stop()
    return {
        **boot,
        "noticed": noticed,
        "kill": killed,
        "kill seen by the API": answered,
        "drop": [dropped],
        "restart": [restarted],
        "outage": [away],
        "stop": [stopped],
        "latency idle": calm.latencies,
        "latency drop": drop_latency,
        "latency restart": restart_latency,
        "port uss": taken.port_uss,
        "host uss": [taken.host.uss],
        "host rss": [taken.host.rss],
        "forkserver uss": [taken.forkserver.uss],
        "pss": [taken.pss],
        "threads": [taken.threads],
        "descriptors": [taken.descriptors],
        "idle": [rest.instance],
        "idle port": [rest.port],
    }


def _boot(fleet: Fleet) -> dict[str, Samples]:
    launched = time.time()
    fleet.host.start()
    answering = time.time()
    with Poller(fleet.host.url, fleet.names) as meanwhile:
        opened = max(fleet.all_in("open").values())
    return {
        "boot work": [work(fleet).total],
        "answering": [answering - launched],
        "boot": [opened - launched],
        "latency boot": meanwhile.latencies,
    }


def _kill_each(fleet: Fleet, names: list[str]) -> tuple[list[float], list[float]]:
    """Kill one port after the other; seconds until it was noticed, and until the instance was open again."""
    noticed, opened = [], []
    for name in names:
        mark, pid = fleet.host.log.mark(), fleet.host.port_pid(name)
        killed = time.time()
        os.kill(pid, signal.SIGKILL)
        noticed.append(moment(fleet.host.phase(name, "recovering", after=mark)) - killed)
        opened.append(moment(fleet.host.phase(name, "open", after=mark)) - killed)
    return noticed, opened


def _kill_seen_by_api(fleet: Fleet, name: str) -> float:
    """Seconds from the kill until `connectionState`, asked every few milliseconds, says open again."""
    client, pace = StateClient(fleet.host.url), threading.Event()
    client.state(name)
    pid, killed = fleet.host.port_pid(name), time.monotonic()
    os.kill(pid, signal.SIGKILL)
    for past in ("open", "connecting"):
        while client.state(name) == past:
            pace.wait(QUESTION_PACE)
    took = time.monotonic() - killed
    client.close()
    return took


def _drop_all(fleet: Fleet) -> tuple[float, list[float]]:
    mark = fleet.host.log.mark()
    with Poller(fleet.host.url, fleet.names) as meanwhile:
        dropped = time.time()
        fleet.wa.drop_all()
        opened = max(fleet.all_in("open", after=mark).values())
    return opened - dropped, meanwhile.latencies


def _restart_service(fleet: Fleet, away: float = 0.0) -> tuple[float, list[float]]:
    """Take the service away until every instance has noticed, and for some seconds more.

    Returns:
        Seconds from its return until all are open, and the API's latencies meanwhile.
    """
    mark = fleet.host.log.mark()
    with Poller(fleet.host.url, fleet.names) as meanwhile:
        fleet.wa.stop()
        fleet.all_in("recovering", after=mark)
        time.sleep(away)  # the outage itself
        mark, back = fleet.host.log.mark(), time.time()
        fleet.wa.start()
        opened = max(fleet.all_in("open", after=mark).values())
    return opened - back, meanwhile.latencies


def run_plain(bench: Bench) -> Mapping[str, Samples]:
    """The same with a fresh interpreter for each client, and nothing above but a restart when it ends."""
    return _plain(bench, share=1)


def run_shared(bench: Bench) -> Mapping[str, Samples]:
    """All clients in one interpreter: the cheapest, and the death of one is the death of all."""
    return _plain(bench, share=bench.instances)


def _plain(bench: Bench, share: int) -> Mapping[str, Samples]:
    needed = bench.instances * PLAIN_NEEDS
    if share == 1 and memory_available() < needed:
        raise Unavailable(
            f"{bench.instances} plain clients need {needed >> 30} GiB of free memory: use fewer --instances"
        )
    with plain_fleet(bench.scratch, bench.instances, bench.note, share=share, restart=True) as (wa, clients):
        bench.note(f"{bench.instances} plain clients: boot")
        booted, worked = clients.boot(), processes.cpu_seconds(clients.pids())
        bench.note("idle")
        rest = idle_plain(clients.pids(), bench)
        taken = [processes.memory(pid) for pid in clients.pids()]
        kills = (
            [clients.kill(index) for index in range(min(bench.pick(*KILLS), bench.instances))]
            if share == 1
            else []
        )
        bench.note("dropping every link at once")
        dropped = drop_plain(wa, clients, bench.instances)
        bench.note("restarting the service")
        restarted = restart_plain(wa, clients, bench.instances)
        bench.note("taking the service away for a while")
        away = restart_plain(wa, clients, bench.instances, bench.pick(*OUTAGE_SECONDS))
    series: dict[str, Samples] = {
        "boot": [booted],
        "boot work": [worked],
        "uss": [each.uss / share for each in taken],
        "pss": [sum(each.pss for each in taken)],
        "idle": [rest],
        "drop": [dropped],
        "restart": [restarted],
        "outage": [away],
    }
    return {**series, "kill": kills} if kills else series


def idle_plain(pids: Sequence[int], bench: Bench) -> float:
    """The share of a core that one of the clients in some processes takes while nothing happens."""
    before, began = processes.cpu_seconds(pids), time.monotonic()
    time.sleep(bench.pick(*IDLE_SECONDS))  # the span that is measured over
    return (processes.cpu_seconds(pids) - before) / (time.monotonic() - began) / bench.instances


def drop_plain(wa: LoopbackProcess, clients: Spoken, count: int) -> float:
    """Drop every link; seconds until all clients are connected again."""
    mark, dropped = clients.mark(), time.time()
    wa.drop_all()
    return clients.wait("C", range(count), after=mark) - dropped


def restart_plain(wa: LoopbackProcess, clients: Spoken, count: int, away: float = 0.0) -> float:
    """Take the service away until every client has noticed, and for some seconds more.

    Returns:
        Seconds from its return until all are connected.
    """
    mark = clients.mark()
    wa.stop()
    clients.wait("D", range(count), after=mark)
    time.sleep(away)  # the outage itself
    mark, back = clients.mark(), time.time()
    wa.start()
    return clients.wait("C", range(count), after=mark) - back
