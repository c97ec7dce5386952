"""The steps of the demo: each is seen to happen within its time, or fails by its name."""

from __future__ import annotations

import os
import signal
import time
from typing import Any

from actors.connection import ended
from tests.demo.stage import Stage
from tests.demo.teller import Teller

NAMES = ("sales", "support", "billing")


def expect(condition: bool, otherwise: str) -> None:
    """Raise with what is wrong unless the condition holds."""
    if not condition:
        raise AssertionError(otherwise)


class Story:
    """Plays the steps.

    Args:
        stage: what to play on, entered.
        teller: whom to tell.
        patience: seconds that each thing which is waited for may take.
    """

    def __init__(self, stage: Stage, teller: Teller, patience: float) -> None:
        self._stage = stage
        self._teller = teller
        self._patience = patience

    def play(self) -> None:
        """All steps, in order.

        Raises:
            StepFailed: one was not seen.
        """
        self._open()
        for name in NAMES:
            self._pair(name)
        self._kill(NAMES[0])
        self._drop(NAMES[1])
        self._log_out(NAMES[2])
        self._all_open()

    def end(self) -> None:
        """The host stops in order, and leaves no process behind."""
        with self._teller.step("the host is stopped"):
            ports = self._stage.host.ports()
            expect(self._stage.close_host() == 0, "its exit code was not 0")
            left = [pid for pid in ports if not ended(pid, self._patience)]
            expect(not left, f"it left processes behind: {left}")
            self._teller.say(f"everything committed; {len(ports)} connections ended with it")

    def _open(self) -> None:
        stage, say = self._stage, self._teller.say
        with self._teller.step("a WhatsApp service and a host are started"):
            stage.open_service()
            say(f"a WhatsApp service of this machine's own listens on 127.0.0.1:{stage.wa.port}")
            stage.open_host(self._patience)
            say(f"the host runs (process {stage.host.pid}); its API is at {stage.host.url}")

    def _pair(self, name: str) -> None:
        stage = self._stage
        with self._teller.step(f"{name} is created, its QR code is scanned, it is open"):
            created = stage.api.create(name)["instance"]
            self._teller.say(f"created over HTTP; its state is {created['status']!r}", name)
            self._scan(name)

    def _scan(self, name: str) -> None:
        stage, host = self._stage, self._stage.host
        mark = host.log.mark()
        answer = stage.api.connect(name)
        self._teller.say("connecting; the API serves its QR code as a picture", name)
        scan = stage.scan(name)
        expect(scan.paired, f"the scan was not accepted: {scan}")
        expect(bool(answer["code"]), "the API answered no code")
        scanned = time.monotonic()
        self._teller.say(f"phone +{stage.phone(name).number} has scanned the picture", name)
        host.phase(name, "open", after=mark, timeout=self._patience)
        expect(stage.api.state(name) == "open", "the API does not say that it is open")
        self._teller.say(f"open, {since(scanned)} after the scan", name)

    def _kill(self, name: str) -> None:
        host = self._stage.host
        with self._teller.step(f"the process of {name}'s connection is killed, and replaced"):
            mark, pid = host.log.mark(), host.port_pid(name)
            killed = time.monotonic()
            os.kill(pid, signal.SIGKILL)
            self._teller.say(f"kill -9 {pid}", name)
            self._back(name, mark, killed)
            expect(host.port_pid(name) != pid, "it is still the same process")
            self._teller.say(f"the new process is {host.port_pid(name)}; nothing had to be scanned", name)
            self._undisturbed(name, mark)

    def _drop(self, name: str) -> None:
        host, wa = self._stage.host, self._stage.wa
        with self._teller.step(f"the link of {name} is dropped, and heals"):
            mark, pid = host.log.mark(), host.port_pid(name)
            connection = wa.connection(self._stage.phone(name).number)
            dropped = time.monotonic()
            connection.drop("reset")
            self._teller.say("WhatsApp's side has reset the connection", name)
            self._back(name, mark, dropped)
            expect(host.port_pid(name) == pid, "its process was replaced, though the link could heal")
            self._undisturbed(name, mark)

    def _log_out(self, name: str) -> None:
        stage, host = self._stage, self._stage.host
        with self._teller.step(f"{name} is logged out, and connected again"):
            mark = host.log.mark()
            stage.api.logout(name)
            expect(stage.api.state(name) == "close", "the API does not say that it is closed")
            expect(not stage.phone(name).devices, "the phone still lists it among its linked devices")
            self._teller.say("logged out: closed, and gone from the phone's linked devices", name)
            self._scan(name)
            self._undisturbed(name, mark)

    def _all_open(self) -> None:
        with self._teller.step("all three are open"):
            for row in self._stage.api.rows():
                seen = (row["connectionStatus"], row["phase"])
                expect(seen == ("open", "open"), f"{row['name']} is {seen}")
                self._teller.say(f"open as {row['ownerJid']}", row["name"])

    def _back(self, name: str, mark: int, since_when: float) -> None:
        """Wait until it was seen to be down, and then open."""
        host = self._stage.host
        host.phase(name, "recovering", after=mark, timeout=self._patience)
        self._teller.say("noticed at once: it is no longer called open", name)
        host.phase(name, "open", after=mark, timeout=self._patience)
        self._teller.say(f"open again, {since(since_when)} later", name)

    def _undisturbed(self, name: str, mark: int) -> None:
        """No other instance went through anything since the mark."""
        records: list[dict[str, Any]] = self._stage.host.log.records_after(mark, event="phase")
        others = {record["instance"] for record in records} - {name}
        expect(not others, f"others were disturbed: {', '.join(sorted(others))}")
        self._teller.say(f"{' and '.join(other for other in NAMES if other != name)} noticed nothing")


def since(moment: float) -> str:
    """The time since a moment of the monotonic clock, for people."""
    seconds = time.monotonic() - moment
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
