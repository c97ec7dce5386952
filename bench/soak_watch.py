"""Watches a host during a soak: what it takes, every few seconds, and whether it calls open what is not."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import httpx

from bench import processes
from bench.processes import MIB
from bench.soak_host import SoakHost
from bench.soak_model import Model
from tests.e2e.harness import Api
from tests.loopback.api import LoopbackApi

DEAD_OPEN_LIMIT = 40.0
"""Seconds after which a link that is gone must not be called open any more (the promise), ..."""

LOOK_EVERY = 2.0
"""... give or take the seconds between two looks at a time."""

LIVE = ("authenticated", "open")


class Every(threading.Thread):
    """Does something every few seconds until it is closed; a context manager."""

    def __init__(self, name: str, seconds: float, work: Callable[[], None]) -> None:
        super().__init__(name=name, daemon=True)
        self._seconds, self._work, self._over = seconds, work, threading.Event()
        self.failure: Exception | None = None

    def run(self) -> None:
        while not self._over.wait(self._seconds):
            try:
                self._work()
            except Exception as error:
                self.failure = error
                return

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, kind: object, *_exc: object) -> None:
        self._over.set()
        self.join(60)
        if kind is None and self.failure is not None:
            raise self.failure


@dataclass(frozen=True, slots=True)
class Sample:
    """What the host took at one moment.

    Attributes:
        at: seconds since the soak began.
        life: of the host, counted from 0.
        open: instances that are.
        host_rss, host_uss, forkserver_uss: MiB.
        host_dirty: MiB, the part of `host_uss` that does not depend on which files other processes map.
        port_uss, port_dirty: MiB, the median of all ports.
        threads, descriptors: of the host process.
        processes: all below the host, with those that have ended and that nobody has waited for.
        ports: processes of connections.
        busy: share of all processors that the machine used since the sample before, 0 to 1.
        cpu: share of one processor that the host process used since then.
    """

    at: float
    life: int
    open: int
    host_rss: float
    host_uss: float
    host_dirty: float
    forkserver_uss: float
    port_uss: float
    port_dirty: float
    threads: int
    descriptors: int
    processes: int
    ports: int
    busy: float
    cpu: float


class Sampler:
    """Samples a host, and keeps the samples."""

    def __init__(self, host: SoakHost, model: Model) -> None:
        self._host, self._model = host, model
        self._began = time.monotonic()
        self._machine, self._cpu = _machine(), (0, time.monotonic(), 0.0)
        self.samples: list[Sample] = []

    def sample(self) -> None:
        """Take a sample, unless there is no host now."""
        if not self._model.up:
            return
        with suppress(OSError, ValueError):  # the host, or its forkserver, has just been ended
            self.samples.append(self.now())

    def now(self) -> Sample:
        """What the host takes at this moment; it is not kept."""
        pid, ports = self._host.process.pid, self._host.ports()
        of_host, of_forkserver = processes.memory(pid), processes.memory(self._host.forkserver)
        of_ports = []
        for port in ports:
            with suppress(OSError, KeyError):  # it has just ended
                of_ports.append(processes.memory(port))
        return Sample(
            at=round(time.monotonic() - self._began, 1),
            life=self._model.life,
            open=self._model.open,
            host_rss=of_host.rss / MIB,
            host_uss=of_host.uss / MIB,
            host_dirty=of_host.dirty / MIB,
            forkserver_uss=of_forkserver.uss / MIB,
            port_uss=statistics.median([each.uss for each in of_ports] or [0]) / MIB,
            port_dirty=statistics.median([each.dirty for each in of_ports] or [0]) / MIB,
            threads=processes.threads(pid),
            descriptors=processes.descriptors(pid),
            processes=_below(pid),
            ports=len(ports),
            busy=self._busy(),
            cpu=self._of_host(pid),
        )

    def _busy(self) -> float:
        before, self._machine = self._machine, _machine()
        total, rest = (now - was for now, was in zip(self._machine, before, strict=True))
        return 1 - rest / total if total else 0.0

    def _of_host(self, pid: int) -> float:
        (old, then, used), now = self._cpu, time.monotonic()
        self._cpu = (pid, now, _seconds_of(pid))
        return (self._cpu[2] - used) / (now - then) if old == pid else 0.0


def _below(pid: int) -> int:
    """How many processes descend from a process."""
    found = [
        int(child)
        for task in Path(f"/proc/{pid}/task").glob("*/children")
        for child in task.read_text().split()
    ]
    return len(found) + sum(_below(child) for child in found)


def _seconds_of(pid: int) -> float:
    """Processor time of a process so far, with that of its threads that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _machine() -> tuple[int, int]:
    """Ticks of all processors so far: all, and those without work."""
    ticks = [int(each) for each in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return sum(ticks), ticks[3] + ticks[4]


class Truth:
    """Holds what the API calls open against the connections that the service has."""

    def __init__(self, host: SoakHost, wa: LoopbackApi, model: Model) -> None:
        self._host, self._wa, self._model = host, wa, model
        self._api: tuple[int, Api] | None = None
        self._since: dict[str, float] = {}
        self._told: set[str] = set()
        self.longest = 0.0
        self.looks = 0

    def look(self) -> None:
        """Compare the two once; an instance that was called open and dead for too long is a problem."""
        rows, now = self._rows(), time.monotonic()
        if rows is None:
            self._since.clear()
            return
        alive = self._alive()
        dead = {
            str(row["name"])
            for row in rows
            if row["connectionStatus"] == "open" and self._model[row["name"]].number not in alive
        }
        self._since = {name: self._since.get(name, now) for name in dead}
        self._told &= dead
        for name, since in self._since.items():
            self.longest = max(self.longest, now - since)
            if now - since > DEAD_OPEN_LIMIT + LOOK_EVERY and name not in self._told:
                self._told.add(name)
                self._model.problem(f"{name}: called open {now - since:.0f} s after its link was gone")
        self.looks += 1

    def _alive(self) -> set[str]:
        """The numbers that have a connection which lets something through."""
        return {
            link.jid.partition(":")[0]
            for link in self._wa.connections()
            if link.state in LIVE and not self._host.is_holed(link.number)
        }

    def _rows(self) -> Sequence[dict[str, Any]] | None:
        """What the API says; None while there is no host."""
        life = self._model.life
        if not self._model.up:
            return None
        try:
            if self._api is None or self._api[0] != life:
                self._api = (life, self._host.api())
            return list(self._api[1].rows())
        except (httpx.HTTPError, RuntimeError):
            if self._model.life == life and self._model.up:
                self._api = None  # a connection that was kept has been closed for its age
            return None
