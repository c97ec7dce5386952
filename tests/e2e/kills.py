"""The whole host is killed with SIGKILL, again and again, while its instances flap and its receivers have a bad day.

Real clients, in ports of their own, on the loopback service. Links are dropped, ports killed, streams ended with errors
and instances restarted over the API at random; receivers answer 200, 500, 429 with Retry-After, not at all, or cut the
connection. At the end the database says what was committed, and every event of it must have arrived, in order
for its instance and destination; at every kill, state and events must agree.

`python -m tests.e2e.kills --kills 50 --instances 20` runs it by hand; `--database postgresql` starts a server for it.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from actors.store import Reader, open_backend
from tests.actors.delivery.kills import moody
from tests.actors.delivery.receiver import Receiver
from tests.e2e.committed import Committed, check_agreement, check_arrivals, committed
from tests.e2e.fleet import linked, settle
from tests.e2e.harness import HostProcess
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService
from tests.postgres import cluster

FIRST_NUMBER = 5511955000001
SQLITE = "sqlite:///zapvisor.db"
FLAPPERS = 4
PAUSE = 0.2
"""Seconds that a flapper waits between two faults, at most."""

PATIENCE = 120.0
"""Seconds for the last run to open everything and to deliver what is left."""

SETTINGS: Mapping[str, Mapping[str, str]] = {
    "host": {"boot_concurrency": "20"},
    "api": {"server_url": "http://zapvisor.test"},
    "supervision": {"intensity": "1000"},
    "recovery": {"max_delay": "500ms", "max_attempts": "1000", "same_code_limit": "1000"},
    "disconnect.428": {"delay": "200ms"},
    "disconnect.503": {"delay": "200ms"},
    "webhook": {
        "timeout": "500ms",
        "max_attempts": "1000",
        "initial_delay": "20ms",
        "max_delay": "300ms",
        "jitter": "0.2",
    },
}
"""Faults that are without end, and retries that are quick."""


@dataclass
class Flapping:
    """Faults at random, on some threads, until it is over.

    Attributes:
        faults: how many there were of each kind; each thread counts its own.
    """

    host: HostProcess
    wa: LoopbackService
    numbers: Mapping[str, str]
    seed: int
    faults: list[Counter[str]] = field(default_factory=list)

    def __enter__(self) -> Flapping:
        self._over = threading.Event()
        self.faults = [Counter() for _ in range(FLAPPERS)]
        self._threads = [
            threading.Thread(target=self._flap, args=(random.Random(self.seed + n), faults), daemon=True)
            for n, faults in enumerate(self.faults)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(60)

    def _flap(self, luck: random.Random, faults: Counter[str]) -> None:
        api = self.host.api_with_own_client()
        kinds: list[tuple[str, Callable[[str, random.Random], object]]] = [
            ("dropped", self._drop),
            ("dropped", self._drop),
            ("stream error", self._stream_error),
            ("port killed", self._kill_port),
            ("restarted", lambda name, _: api.restart(name)),
        ]
        while not self._over.wait(luck.uniform(0, PAUSE)):
            kind, fault = luck.choice(kinds)
            # The instance is not connected, or the host is just being killed: then this fault is none.
            with suppress(LookupError, OSError, httpx.HTTPError, AssertionError):
                fault(luck.choice(list(self.numbers)), luck)
                faults[kind] += 1

    def _drop(self, name: str, luck: random.Random) -> None:
        self.wa.connection(self.numbers[name]).drop(luck.choice(("reset", "fin", "close_frame")))

    def _stream_error(self, name: str, luck: random.Random) -> None:
        self.wa.connection(self.numbers[name]).stream_error(luck.choice((503, 515, 516)))

    def _kill_port(self, name: str, luck: random.Random) -> None:
        pid = self.host.port_pid(name)
        if pid not in self.host.ports():
            raise ProcessLookupError
        os.kill(pid, luck.choice((signal.SIGKILL, signal.SIGSEGV)))


@dataclass(frozen=True)
class Outcome:
    """What there was in the end."""

    found: Committed
    receivers: Sequence[Receiver]
    counts: Counter[str]


@dataclass
class Run:
    """A host that is killed again and again.

    Args:
        directory: gets everything.
        store: the URL of the host's database, which is empty.
        span: seconds that the host runs at most once its API answers.
    """

    directory: Path
    wa: LoopbackService
    template: Template
    seed: int
    instances: int
    store: str = SQLITE
    span: float = 3.0

    def __post_init__(self) -> None:
        self._luck = random.Random(self.seed)
        self._counts: Counter[str] = Counter()

    def killed(self, kills: int) -> Outcome:
        """Run and kill, then let a last run deliver what is left."""
        with ExitStack() as undo:
            receivers = [
                undo.enter_context(receiving(Receiver(moody(random.Random(self.seed + n))))) for n in range(3)
            ]
            settings = {name: dict(keys) for name, keys in SETTINGS.items()}
            settings["store"] = {"url": self.store}
            settings["webhook"]["url"] = receivers[0].url
            host = HostProcess(self.directory, self.wa.environment(), settings)
            rows = [
                linked(
                    f"number-{index}",
                    str(FIRST_NUMBER + index),
                    webhook={"enabled": True, "url": receivers[1 + index % 2].url},
                )
                for index in range(self.instances)
            ]
            settle(host.data_dir, self.wa, self.template, rows, self.store)
            reader = Reader(open_backend(self.store, host.data_dir))
            undo.callback(reader.close)
            undo.callback(host.kill)
            numbers = {row.name: str(row.number) for row in rows}
            for number in range(kills):
                self._live_and_die(host, numbers, number)
                check_agreement(reader.query(committed, PATIENCE))
            for receiver in receivers:
                receiver.script = lambda _: 200
            found = self._last_life(host, list(numbers), reader)
            leaks = host.seen.leaks(host.directory / "host.log")
            assert leaks == [], leaks[:3]
        return Outcome(found, receivers, self._counts)

    def _live_and_die(self, host: HostProcess, numbers: Mapping[str, str], life: int) -> None:
        host.launch()
        if self._luck.random() < 0.2:
            pause(self._luck.uniform(0.05, 1.5))
            self._counts["killed while starting"] += 1
        else:
            host.ready(PATIENCE)
            with Flapping(host, self.wa, numbers, self.seed + 1000 * life) as flapping:
                pause(self._luck.uniform(0.0, self.span))
                os.kill(host.pid, signal.SIGKILL)
            for faults in flapping.faults:
                self._counts += faults
        assert host.kill() == -signal.SIGKILL
        self._counts["killed"] += 1

    @staticmethod
    def _last_life(host: HostProcess, names: Sequence[str], reader: Reader) -> Committed:
        host.start(PATIENCE)
        for name in names:
            host.phase(name, "open", timeout=PATIENCE)
        assert not host.log.records(event="phase", phase="awaiting_scan")
        deadline = time.monotonic() + PATIENCE
        while (found := reader.query(committed, PATIENCE)).pending:
            assert time.monotonic() < deadline, f"{found.pending} deliveries wait:\n{host.log.tail()}"
            pause(0.1)
        check_agreement(found)
        assert host.stop() == 0
        return found


@contextmanager
def receiving(receiver: Receiver) -> Iterator[Receiver]:
    """A receiver that listens."""
    receiver.start()
    try:
        yield receiver
    finally:
        receiver.stop()


def pause(seconds: float) -> None:
    """Let so much time pass: the moment of a kill, or between two looks."""
    threading.Event().wait(seconds)


def report(outcome: Outcome) -> Counter[str]:
    """Check what arrived, and count.

    Raises:
        AssertionError: an event is missing, out of order, or changed.
    """
    return outcome.counts + check_arrivals(outcome.found, outcome.receivers)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.e2e.kills", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--instances", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    options = parser.parse_args()
    print(f"seed {options.seed}, {options.database}", flush=True)
    began = time.monotonic()
    with ExitStack() as undo:
        place = Path(undo.enter_context(tempfile.TemporaryDirectory(prefix="zapvisor-kills-")))
        store = SQLITE
        if options.database == "postgresql":
            store = undo.enter_context(cluster()).create_database()
        wa = undo.enter_context(LoopbackService(place / "whatsapp"))
        (place / "template").mkdir()
        template = Template(wa, place / "template")
        run = Run(place / "host", wa, template, options.seed, options.instances, store)
        counts = report(run.killed(options.kills))
    for what, count in sorted(counts.items()):
        print(f"{what}: {count}")
    print(f"nothing is missing, after {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
