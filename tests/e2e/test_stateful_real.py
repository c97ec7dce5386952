"""The real host with the real client under random commands, signals and deaths: what must hold does, after every step.

The rules are those of `tests/actors/session/test_stateful_tree.py`, in fewer steps. What is true is asked of the HTTP
API, of the host's log, of the service and of the kernel. The seed is printed, and so is each step;
`ZAPVISOR_TEST_SEED` and `ZAPVISOR_TEST_STEPS` choose another one, and how many steps to take.
"""

from __future__ import annotations

import os
import random
import signal
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import StartHost
from tests.e2e.harness import HostProcess
from tests.loopback.service import LoopbackService

SEED = int(os.environ.get("ZAPVISOR_TEST_SEED", "20261122"))
STEPS = int(os.environ.get("ZAPVISOR_TEST_STEPS", "28"))
STEPS_A_ROUND = 7
"""Each round has instances of its own: it is over before a code expires, so each code is of something done here."""
PATIENCE = 30.0
MEMORY = Path("/dev/shm")

COMMANDS = ("connect", "logout", "restart", "force", "clean", "reset")
ENDS = ("reset", "fin", "close_frame", "503", "515", "418", "replaced")
SIGNALS = (signal.SIGKILL, signal.SIGSEGV)
PATHS = {
    "logout": "logout",
    "restart": "restart",
    "force": "forceReconnection",
    "clean": "forceReconnection",
    "reset": "reset",
}
SETTLED = ("closed", "failed", "awaiting_scan", "open")
UP = ("awaiting_scan", "open")


class Instance:
    """What an onlooker expects of one instance.

    Attributes:
        device: what its phone linked last, and what must be kept; None when there is none.
        codes: how many QR codes it may have counted.
    """

    def __init__(self, label: str, number: str, id: str) -> None:
        self.label = label
        self.number = number
        self.id = id
        self.device: str | None = None
        self.codes = 0


Action = Callable[[Instance], None]


class RealHost:
    """Two instances on one host, and what may happen to them."""

    def __init__(self, host: HostProcess, wa: LoopbackService, numbers: list[str]) -> None:
        self.host = host
        self.wa = wa
        self.instances = []
        for label, number in zip(("sales", "support"), numbers, strict=True):
            created = host.api.create(label)
            self.instances.append(Instance(label, number, created["instance"]["instanceId"]))

    def step(self, chance: random.Random) -> None:
        """Anything that can happen to one of them: the kind first, so that none is rare for having few forms."""
        one = chance.choice(self.instances)
        name, action = chance.choice(chance.choice(self.possible(one)))
        print(f"{one.label}, {self.row(one)['phase']}: {name}", flush=True)
        self.on_one(one, action)
        self.all_is_well()

    def possible(self, one: Instance) -> list[list[tuple[str, Action]]]:
        """What can happen to it in its phase, by kind."""
        phase = self.row(one)["phase"]
        kinds: list[list[tuple[str, Action]]] = [
            [(command, partial(self.send, command=command)) for command in COMMANDS],
            [
                ("scan", self.link),
                ("scan", self.link),
                ("scan", self.link),
                ("delete and create", self.replace),
            ],
        ]
        if phase in UP:
            kinds.append([(number.name, partial(self.kill, number=number)) for number in SIGNALS])
        if phase == "open":
            kinds.append([(f"the link ends by {how}", partial(self.end_link, how=how)) for how in ENDS])
            kinds.append([("the phone removes the device", self.unlink)])
        return kinds

    # -- users ----------------------------------------------------------------------------------------------

    def send(self, one: Instance, command: str) -> None:
        before = self.row(one)["phase"]
        if command == "connect":
            answer = self.host.api.client.get(f"/instance/connect/{one.label}")
        else:
            clean = {"cleanSession": "true"} if command == "clean" else {}
            path = f"/instance/{PATHS[command]}/{one.label}"
            answer = self.host.api.client.post(path, params=clean)
        after = self.settle(one)
        if answer.status_code == 400:
            assert before in answer.text, "a refusal names the phase"
            assert (command, before) in (("logout", "closed"), ("restart", "closed"))
            assert after == before
            return
        assert answer.status_code == 200, answer.text
        forgets = command in ("logout", "clean", "reset")
        if forgets and before == "open":
            assert one.device not in self.wa.devices(one.number), "the phone was told"
        if forgets:
            one.device, one.codes = None, 0
        goes_down = command in ("logout", "reset")
        assert after == ("closed" if goes_down else "open" if one.device else "awaiting_scan"), command
        if after == "awaiting_scan" and (command != "connect" or before != "awaiting_scan"):
            one.codes += 1

    def link(self, one: Instance) -> None:
        """Invariant 1: from wherever it is, a connect and a scan open it."""
        self.send(one, "connect")
        if self.row(one)["phase"] == "awaiting_scan":
            mark = self.host.log.mark()
            scan = self.wa.phone(one.number).scan(self.host.api.connect(one.label)["code"])
            assert scan.paired, scan
            self.host.phase(one.label, "open", after=mark, timeout=PATIENCE)
            one.device, one.codes = scan.jid, 0

    def replace(self, one: Instance) -> None:
        self.remove(one)
        one.id = self.host.api.create(one.label)["instance"]["instanceId"]

    def remove(self, one: Instance) -> None:
        """Invariant 10."""
        was_open = self.row(one)["phase"] == "open"
        self.host.api.delete(one.label)
        assert one.label not in {row["name"] for row in self.host.api.rows()}
        assert self.files(one) == []
        if was_open:
            assert one.device not in self.wa.devices(one.number)
        one.device, one.codes = None, 0

    # -- the phone, the network and the kernel --------------------------------------------------------------

    def end_link(self, one: Instance, how: str) -> None:
        """Invariant 6: whatever the network does, the session is kept."""
        assert one.device is not None
        connection = self.wa.connection(one.device)
        mark = self.host.log.mark()
        if how == "replaced":
            connection.stream_error(401, conflict="replaced")
        elif how.isdigit():
            connection.stream_error(how)
        else:
            connection.drop(how)  # type: ignore[arg-type]
        self.host.log.wait_for("disconnected", after=mark, instance=one.label, timeout=PATIENCE)
        phase = self.settle(one)
        assert phase == "open" or (phase == "failed" and how == "replaced"), phase

    def kill(self, one: Instance, number: signal.Signals) -> None:
        before, mark = self.row(one)["phase"], self.host.log.mark()
        pid = self.host.port_pid(one.label)
        os.kill(pid, number)
        self.host.log.wait_for(
            "phase", after=mark, instance=one.label, timeout=PATIENCE, where=lambda r: r["phase"] not in UP
        )
        assert self.settle(one) == before
        assert self.host.port_pid(one.label) != pid
        one.codes += before == "awaiting_scan"

    def unlink(self, one: Instance) -> None:
        """Invariant 7: that costs the session, here too."""
        assert one.device is not None
        mark = self.host.log.mark()
        assert self.wa.phone(one.number).remove_device(one.device)
        self.host.phase(one.label, "closed", after=mark, timeout=PATIENCE)
        self.host.log.wait_for("credentials wiped", after=mark, instance=one.label, timeout=PATIENCE)
        one.device, one.codes = None, 0

    # -- what an onlooker expects ---------------------------------------------------------------------------

    def on_one(self, one: Instance, action: Action) -> None:
        """Invariants 8 and 15: what happens to one instance is not felt by the other."""
        mark = self.host.log.mark()
        action(one)
        for other in self.instances:
            if other is not one:
                assert not self.host.log.records_after(mark, event="phase", instance=other.label)
                assert not self.host.log.records_after(mark, event="port", instance=other.label)

    def row(self, one: Instance) -> dict[str, Any]:
        found: dict[str, Any] = self.host.api.row(one.label)
        return found

    def settle(self, one: Instance) -> str:
        """Wait until nothing more is to be expected by itself, and return the phase."""
        deadline = time.monotonic() + PATIENCE
        while True:
            mark = self.host.log.mark()
            phase = str(self.row(one)["phase"])
            if phase in SETTLED:
                return phase
            left = max(0.0, deadline - time.monotonic())
            self.host.log.wait_for("phase", after=mark, instance=one.label, timeout=left)

    def files(self, one: Instance) -> list[str]:
        return [file.name for file in (self.host.data_dir / "sessions").glob(f"{one.id}*")]

    def all_is_well(self) -> None:
        up = 0
        for one in self.instances:
            row = self.row(one)
            phase = row["phase"]
            up += phase in UP
            assert phase in SETTLED
            assert row["desired"] == ("down" if phase == "closed" else "up"), "invariant 4"
            assert row["connectionStatus"] == {"open": "open", "awaiting_scan": "connecting"}.get(
                phase, "close"
            )
            self.the_session_is_kept(one, phase)
            self.open_means_linked(one, phase)
            if phase == "awaiting_scan":
                assert self.host.api.connect(one.label)["count"] == one.codes, "invariant 2"
        assert len(self.host.ports()) == up, "invariant 9: one for each that is up"
        assert not self.host.log.records(level="critical")

    def the_session_is_kept(self, one: Instance, phase: str) -> None:
        """Invariants 6 and 7."""
        if one.device is not None:
            assert phase in ("open", "failed")
            assert one.device in self.wa.devices(one.number)
            assert self.files(one)
        else:
            assert phase in ("closed", "awaiting_scan")
        if phase == "closed":
            assert self.files(one) == []

    def open_means_linked(self, one: Instance, phase: str) -> None:
        """Invariant 12."""
        states = [connection.state for connection in self.wa.connections(one.number)]
        assert ("open" in states) == (phase == "open"), (phase, states)

    def end(self) -> None:
        for one in self.instances:
            self.remove(one)
        assert self.host.ports() == []


@pytest.fixture
def tmp_path(tmp_path: Path) -> Iterator[Path]:
    """In memory where there is such a place: a pairing writes hundreds of keys and waits for the disk after each."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else tmp_path) as directory:
        yield Path(directory)


def test_the_real_host_keeps_its_invariants(
    start_host: StartHost, wa: LoopbackService, numbers: Callable[[int], list[str]]
) -> None:
    """Invariants 1, 2, 4, 6, 7, 8, 9, 10, 12 and 15."""
    print(f"seed {SEED}")
    host, chance = start_host(), random.Random(SEED)
    for first in range(0, STEPS, STEPS_A_ROUND):
        world = RealHost(host, wa, numbers(2))
        for _ in range(first, min(first + STEPS_A_ROUND, STEPS)):
            world.step(chance)
        world.end()
