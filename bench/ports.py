"""Three ways to launch a port, side by side: a fresh interpreter, and a forkserver with less or more preloaded.

Each is given real clients with linked devices on the loopback service, which runs in this process and on the
same processors.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

from actors.port import PortSpec, Preload
from actors.port.events import Connected
from actors.port.wire import Decoder
from bench.figures import Bench, Experiment, Figure, Series, Suite
from bench.processes import MIB, memory
from bench.samples import Samples
from tests.actors.port.harness import Harbour, Watched, wait_until
from tests.actors.port.harness import process_state as state_of
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService

COUNT = 20
REPLACEMENTS = 10
SETTLE_SECONDS = 3.0
"""Memory is read so long after the last connection: by then each has uploaded its keys."""

_WAIT = 120.0
_FRESH_INTERPRETER = """
import json, socket, sys
from actors.port import library, process
from actors.port.spec import PortSpec
process.log_to_stderr()
library.preload(library.Preload.NONE)
pipe = socket.socket(fileno=int(sys.argv[1]))
process.main(PortSpec.from_json(json.loads(sys.argv[2])), pipe, library.Preload.NONE)
"""


class Port(Protocol):
    """A started port, however it was."""

    @property
    def pid(self) -> int:
        """Its process."""

    def wait_connected(self) -> None:
        """Wait until it is connected."""

    def kill(self) -> None:
        """Kill it, and do not wait for its end."""


Spawn = Callable[[PortSpec], Port]
Way = Callable[[Mapping[str, str]], AbstractContextManager[Spawn]]


class _Fresh:
    """A port in an interpreter of its own."""

    def __init__(self, spec: PortSpec, environment: Mapping[str, str]) -> None:
        self._pipe, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _FRESH_INTERPRETER, str(theirs.fileno()), json.dumps(spec.to_json())],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        self._pipe.settimeout(_WAIT)
        self._decoder = Decoder()

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_connected(self) -> None:
        while data := self._pipe.recv(65536):
            if any(message.get("event") == "Connected" for message in self._decoder.feed(data)):
                return
        raise ConnectionError("the port ended before it was connected")

    def kill(self) -> None:
        self._process.kill()
        self._pipe.close()
        self._process.wait(_WAIT)


class _Forked:
    """A port of a `Ports` actor."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched

    @property
    def pid(self) -> int:
        pid = self._watched.handle.pid
        if pid is None:
            raise RuntimeError("the port has not started")
        return pid

    def wait_connected(self) -> None:
        self._watched.wait(Connected, _WAIT)

    def kill(self) -> None:
        self._watched.handle.kill()


@contextmanager
def fresh_interpreters(environment: Mapping[str, str]) -> Iterator[Spawn]:
    """Each port imports everything itself."""
    root = str(Path(__file__).parents[1])
    path = os.pathsep.join([environment["PYTHONPATH"], root])
    yield lambda spec: _Fresh(spec, {**os.environ, **environment, "PYTHONPATH": path})


def forkserver(preload: Preload) -> Way:
    """Ports are forked from a process that has loaded so much."""

    @contextmanager
    def way(environment: Mapping[str, str]) -> Iterator[Spawn]:
        harbour = Harbour(environment, preload)
        try:
            yield lambda spec: _Forked(
                harbour.spawn(spec.session_url, jid=spec.jid, log_level=spec.log_level)
            )
        finally:
            harbour.close()

    return way


def _experiment(way: Way) -> Callable[[Bench], Mapping[str, Samples]]:
    def run(bench: Bench) -> Mapping[str, Samples]:
        with LoopbackService(bench.scratch / "service") as service:
            specs = _sessions(service, bench.scratch, bench.pick(COUNT, 5))
            return _measure(way, service, specs, bench.pick(REPLACEMENTS, 2))

    return run


def _sessions(service: LoopbackService, folder: Path, count: int) -> list[PortSpec]:
    template = Template(service, folder)
    specs = []
    for number in range(count):
        database = folder / f"{number}.db"
        jid = template.make(service, f"55119600{number:05}", database)
        specs.append(PortSpec(f"bench{number}", str(database), jid=jid, log_level="ERROR"))
    return specs


def _measure(
    way: Way, service: LoopbackService, specs: list[PortSpec], replacements: int
) -> Mapping[str, Samples]:
    ports: list[Port] = []
    with ExitStack() as stack:
        spawn = stack.enter_context(way(service.environment()))
        stack.callback(_kill_all, ports)
        began = time.perf_counter()
        ports += [spawn(spec) for spec in specs]
        for port in ports:
            port.wait_connected()
        all_connected = time.perf_counter() - began
        time.sleep(SETTLE_SECONDS)
        found = [memory(port.pid) for port in ports]
        return {
            ALL: [all_connected],
            USS: [each.uss for each in found],
            PSS: [each.pss for each in found],
            REPLACED: [_replace(ports, index, spawn, specs) for index in range(replacements)],
            ONE: [_start_one(ports, index, spawn, specs) for index in range(replacements)],
        }


def _replace(ports: list[Port], index: int, spawn: Spawn, specs: list[PortSpec]) -> float:
    began = time.perf_counter()
    ports[index].kill()
    ports[index] = spawn(specs[index])
    ports[index].wait_connected()
    return time.perf_counter() - began


def _start_one(ports: list[Port], index: int, spawn: Spawn, specs: list[PortSpec]) -> float:
    old = ports[index].pid
    ports[index].kill()
    wait_until(lambda: state_of(old) is None, _WAIT, "the end of the one before")
    began = time.perf_counter()
    ports[index] = spawn(specs[index])
    ports[index].wait_connected()
    return time.perf_counter() - began


def _kill_all(ports: list[Port]) -> None:
    for port in ports:
        port.kill()


FRESH: Final = "ports, fresh interpreters"
THIRD_PARTY: Final = "ports, third-party preload"
FULL: Final = "ports, full preload"
ALL: Final = "all connected"
ONE: Final = "one connected"
REPLACED: Final = "replaced"
USS: Final = "uss"
PSS: Final = "pss"


def _baselines(series: str) -> dict[str, Series]:
    return {
        "a fresh interpreter for each": (FRESH, series),
        "a forkserver with third-party preload": (THIRD_PARTY, series),
    }


SUITE = Suite(
    experiments=(
        Experiment(FULL, _experiment(forkserver(Preload.FULL)), repetitions=3, quick=1),
        Experiment(THIRD_PARTY, _experiment(forkserver(Preload.THIRD_PARTY)), repetitions=3, quick=1),
        Experiment(FRESH, _experiment(fresh_interpreters), repetitions=3, quick=1),
    ),
    figures=(
        Figure(
            "ports.uss",
            "memory of a connected port (USS)",
            "MiB",
            (FULL, USS),
            scale=1 / MIB,
            baselines=_baselines(USS),
            aim="at most 16 MiB",
        ),
        Figure(
            "ports.pss",
            "the same with its share of what is shared (PSS)",
            "MiB",
            (FULL, PSS),
            scale=1 / MIB,
            baselines=_baselines(PSS),
        ),
        Figure(
            "ports.all", f"{COUNT} ports started, all connected", "s", (FULL, ALL), baselines=_baselines(ALL)
        ),
        Figure(
            "ports.one",
            "one port started, connected",
            "ms",
            (FULL, ONE),
            scale=1e3,
            baselines=_baselines(ONE),
            aim="p50 under 60 ms",
        ),
        Figure(
            "ports.replaced",
            "one port killed, its successor connected",
            "ms",
            (FULL, REPLACED),
            scale=1e3,
            baselines=_baselines(REPLACED),
        ),
    ),
)
