"""What a host with many open instances takes: time, processor time, memory, threads and descriptors."""

from __future__ import annotations

import time
from dataclasses import dataclass

from bench import machine, processes
from bench.fleet import Boot, Fleet, Note


@dataclass(frozen=True, slots=True)
class Footprint:
    """What a host with all instances open takes.

    Attributes:
        port_uss, port_rss: bytes, one entry for each port.
        host, forkserver: bytes.
        threads, descriptors: of the host process.
        port_threads: of one port, the largest.
        processes: host, forkserver and ports.
        pss: bytes of all of them together, shared pages counted once.
    """

    port_uss: list[int]
    port_rss: list[int]
    host: processes.Memory
    forkserver: processes.Memory
    threads: int
    descriptors: int
    port_threads: int
    processes: int
    pss: int


def footprint(fleet: Fleet) -> Footprint:
    """Look at every process of the host."""
    host, forkserver, ports = fleet.host.pid, fleet.forkserver, fleet.host.ports()
    of_ports = [processes.memory(pid) for pid in ports]
    of_host, of_forkserver = processes.memory(host), processes.memory(forkserver)
    return Footprint(
        port_uss=[each.uss for each in of_ports],
        port_rss=[each.rss for each in of_ports],
        host=of_host,
        forkserver=of_forkserver,
        threads=processes.threads(host),
        descriptors=processes.descriptors(host),
        port_threads=max(processes.threads(pid) for pid in ports),
        processes=len(ports) + 2,
        pss=of_host.pss + of_forkserver.pss + sum(each.pss for each in of_ports),
    )


@dataclass(frozen=True, slots=True)
class Idle:
    """Shares of one core that are used while nothing happens."""

    host: float
    port: float

    @property
    def instance(self) -> float:
        """All that one instance costs."""
        return self.port + self.host


def idle(fleet: Fleet, seconds: float) -> Idle:
    """Watch for some seconds; the host's share is divided among the instances."""
    ports, count = fleet.host.ports(), len(fleet.names)
    groups = ([fleet.host.pid, fleet.forkserver], ports)
    before, began = [processes.cpu_seconds(group) for group in groups], time.monotonic()
    time.sleep(seconds)  # the time itself is what is measured over
    took = time.monotonic() - began
    used = [processes.cpu_seconds(group) - was for group, was in zip(groups, before, strict=True)]
    return Idle(*(each / took / count for each in used))


@dataclass(frozen=True, slots=True)
class Work:
    """Seconds of processor time from the start of the host until all instances were open."""

    host: float
    forkserver: float
    ports: float

    @property
    def total(self) -> float:
        """All processes together."""
        return self.host + self.forkserver + self.ports


def work(fleet: Fleet) -> Work:
    """What the host's processes have used so far."""
    groups = ([fleet.host.pid], [fleet.forkserver], fleet.host.ports())
    return Work(*(processes.cpu_seconds(group) for group in groups))


@dataclass(frozen=True, slots=True)
class Life:
    """One start of a host, a while of rest, and its stop.

    Attributes:
        load: of the machine, before it.
        stopped: seconds that the stop took.
    """

    instances: int
    load: float
    boot: Boot
    work: Work
    rest: Idle
    taken: Footprint
    stopped: float


def live(fleet: Fleet, note: Note, rest: float) -> Life:
    """Start the host, let it rest for some seconds, look at it, and stop it."""
    load = machine.load()
    note(f"{len(fleet.names)} instances: boot (load of the machine {load:.2f})")
    boot = fleet.start()
    worked = work(fleet)
    note(f"all open after {boot.opened:.2f} s; idle for {rest:g} s")
    rested = idle(fleet, rest)
    taken = footprint(fleet)
    return Life(len(fleet.names), load, boot, worked, rested, taken, fleet.stop())
