"""The work that the figures of the supervision library are read off, done in a process of its own.

``python -m bench.otp_work zapvisor|pykka [--quick]`` prints its series as JSON. `otp_baseline.erl` does the same work
in Erlang.
"""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import threading
import time
from collections.abc import Callable
from typing import Any

import pykka

from supervisor.otp import (
    Actor,
    ChildSpec,
    DynamicSupervisor,
    Ref,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
)

Series = dict[str, list[float]]

CRASHES = (2000, 200)
CALLS = (20_000, 1_000)
TELLS = (100_000, 5_000)
ACTORS = (1000, 100)
ROW = (10_000, 500)
PATIENCE = 60.0


def resident_kib() -> float:
    """Memory of this process that is in use now, KiB."""
    with open("/proc/self/smaps_rollup", encoding="ascii") as lines:  # noqa: PTH123
        return float(next(line.split()[1] for line in lines if line.startswith("Rss:")))


class Echo(Actor):
    """Answers calls with what they say, and takes casts."""

    mailbox_limit = None

    def handle_call(self, message: Any, _caller: Any) -> Any:
        return message

    def handle_cast(self, message: Any) -> None:
        if message == "crash":
            raise RuntimeError("a bug")


class Phoenix(Echo):
    """Tells when it has come up."""

    def init(self, up: threading.Semaphore) -> None:
        up.release()


class Crasher:
    """A supervised child that is crashed again and again."""

    def __init__(self, system: System) -> None:
        self.up = threading.Semaphore(0)
        self._system = system
        spec = ChildSpec("phoenix", Start(Phoenix, self.up))
        self.root = system.start(Supervisor, SupervisorFlags(intensity=10**9, period=0.001), [spec])
        self.up.acquire()

    def crash(self) -> float:
        """Seconds from the crash to the new child."""
        ref = self._system.whereis("phoenix")
        assert ref is not None
        began = time.perf_counter()
        ref.cast("crash")
        if not self.up.acquire(timeout=PATIENCE):
            raise RuntimeError("the child did not come back")
        took = time.perf_counter() - began
        while (ref := self._system.whereis("phoenix")) is None:
            time.sleep(0)
        return took


def zapvisor(pick: Callable[[tuple[int, int]], int]) -> Series:
    """This library."""
    series: Series = {}
    reports = open(os.devnull, "w", encoding="ascii")  # noqa: PTH123, SIM115
    logging.basicConfig(stream=reports, level=logging.INFO)
    logger = logging.getLogger("zapvisor")
    system = System()
    crasher = Crasher(system)
    for name, level in (("restart", logging.INFO), ("restart_silent", logging.CRITICAL + 1)):
        logger.setLevel(level)
        for _ in range(pick(CRASHES) // 10):
            crasher.crash()
        series[name] = [crasher.crash() * 1e6 for _ in range(pick(CRASHES))]
    series["growth"] = [_growth(crasher, pick(ROW))]
    system.stop(crasher.root)
    echo = system.start(Echo, path="echo")
    series["call"] = _calls(lambda: echo.call(1, PATIENCE), pick(CALLS))
    series["tell"] = [_tells(lambda: echo.cast(1), lambda: echo.call(1, PATIENCE), pick(TELLS))]
    system.stop(echo)
    _tree(system, Supervisor, "", pick(ACTORS), series)
    _tree(system, DynamicSupervisor, "_dynamic", pick(ACTORS), series)
    left = system.shutdown()
    if left or system.threads():
        raise RuntimeError(f"{system.threads()} threads left: {left}")
    return series


def _growth(crasher: Crasher, crashes: int) -> float:
    """KiB by which many crashes in a row make the process grow."""
    for _ in range(crashes):  # What caches and allocators take at first is no growth.
        crasher.crash()
    gc.collect()
    before = resident_kib()
    for _ in range(crashes):
        crasher.crash()
    gc.collect()
    return resident_kib() - before


def _tree(system: System, kind: type[Supervisor], suffix: str, actors: int, series: Series) -> None:
    gc.collect()
    before = resident_kib()
    began = time.perf_counter()
    specs = [ChildSpec(f"echo{n}", Start(Echo)) for n in range(actors)]
    root: Ref = system.start(kind, SupervisorFlags(), specs, path=f"tree{suffix}")
    series[f"start{suffix}"] = [(time.perf_counter() - began) * 1e3]
    series[f"memory{suffix}"] = [(resident_kib() - before) / actors]
    began = time.perf_counter()
    system.stop(root)
    series[f"stop{suffix}"] = [(time.perf_counter() - began) * 1e3]


class PlainEcho(pykka.ThreadingActor):
    """The same with nothing but pykka."""

    def on_receive(self, message: Any) -> Any:
        return message


def plain_pykka(pick: Callable[[tuple[int, int]], int]) -> Series:
    """Pykka alone: there is nothing that restarts an actor."""
    series: Series = {}
    echo = PlainEcho.start()
    series["call"] = _calls(lambda: echo.ask(1, timeout=PATIENCE), pick(CALLS))
    series["tell"] = [_tells(lambda: echo.tell(1), lambda: echo.ask(1), pick(TELLS))]
    echo.stop()
    gc.collect()
    before = resident_kib()
    began = time.perf_counter()
    actors = [PlainEcho.start() for _ in range(pick(ACTORS))]
    for actor in actors:
        actor.ask(1)
    series["start"] = [(time.perf_counter() - began) * 1e3]
    series["memory"] = [(resident_kib() - before) / len(actors)]
    began = time.perf_counter()
    pykka.ActorRegistry.stop_all()
    series["stop"] = [(time.perf_counter() - began) * 1e3]
    return series


def _calls(call: Callable[[], object], count: int) -> list[float]:
    """Microseconds of a call, by batches of 100."""
    for _ in range(count // 10):
        call()
    batches = []
    for _ in range(count // 100):
        began = time.perf_counter()
        for _ in range(100):
            call()
        batches.append((time.perf_counter() - began) / 100 * 1e6)
    return batches


def _tells(tell: Callable[[], object], drained: Callable[[], object], count: int) -> float:
    """Messages a second that are sent and handled."""
    began = time.perf_counter()
    for _ in range(count):
        tell()
    drained()
    return count / (time.perf_counter() - began)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench.otp_work", description=__doc__)
    parser.add_argument("who", choices=("zapvisor", "pykka"))
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    work = zapvisor if options.who == "zapvisor" else plain_pykka
    print(json.dumps(work(lambda numbers: numbers[options.quick])))


if __name__ == "__main__":
    main()
