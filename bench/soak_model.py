"""What a soak knows of each instance: what it should be, what the host says that it is, and what was done to it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from bench.fleet import moment
from tests.e2e.harness import HostDied, Lines

AFTERMATH = 90.0
"""Seconds in which a fault explains that a link is lost: a black hole is noticed after 32, a replacement may fail."""

CLIENT_LOGGER = "zapvisor.port"
"""What the client library complains of: lost links, which are what a soak makes."""


@dataclass(slots=True)
class Member:
    """One instance.

    Attributes:
        device: the linked device, as last scanned.
        wanted: whether it should be open; not, while the script has logged it out.
        claimed: something is being done to it.
        scanning: the script is linking it anew, so codes are expected.
        phase: as the host last logged.
        pid: the process of its connection.
        falls: how often it was open and then was not.
        struck: when it was last done something to, epoch seconds.
    """

    name: str
    number: str
    device: str
    wanted: bool = True
    claimed: bool = False
    scanning: bool = False
    phase: str = ""
    pid: int = 0
    opened: float = 0.0
    falls: int = 0
    struck: float = 0.0
    logouts: int = 0
    wiped: int = 0


@dataclass(slots=True)
class Tally:
    """What was counted.

    Attributes:
        faults: how often each kind was done.
        back: seconds until open again, by kind.
        problems: what should not have happened, in words.
    """

    faults: dict[str, int] = field(default_factory=dict)
    skipped: int = 0
    back: dict[str, list[float]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    downs: int = 0


def _expected(record: Mapping[str, Any]) -> bool:
    """Whether an error in the log follows from the faults: a killed process, or a logout by the phone."""
    event = str(record.get("event"))
    return record.get("logger") == CLIENT_LOGGER or "PortDied" in event or event == "disconnected"


class Model:
    """All instances. Every method may be called from any thread."""

    def __init__(self, members: Iterable[Member]) -> None:
        self._changed = threading.Condition()
        self._members: Mapping[str, Member] = {member.name: member for member in members}
        self.tally = Tally()
        self.life = 0
        self.up = False
        self._abandoned = False

    def __len__(self) -> int:
        return len(self._members)

    def __getitem__(self, name: str) -> Member:
        return self._members[name]

    @property
    def members(self) -> list[Member]:
        """All, in order."""
        return list(self._members.values())

    @property
    def open(self) -> int:
        """How many the host says are open."""
        with self._changed:
            return sum(member.phase == "open" for member in self._members.values())

    # -- the host ------------------------------------------------------------------------------------------

    def host_down(self) -> None:
        """The host is about to be ended: none is open any more, and that is explained."""
        with self._changed:
            self.up = False
            self.life += 1
            for member in self._members.values():
                member.falls += member.phase == "open"
                member.phase, member.pid, member.struck = "", 0, time.time()

    def host_up(self, log: Lines) -> None:
        """A host answers; what it logs is followed until it ends."""
        with self._changed:
            self.up = True
            self._changed.notify_all()
        threading.Thread(target=self._follow, args=(log, self.life), name="soak-log", daemon=True).start()

    def wait_up(self, timeout: float) -> None:
        """Wait until a host answers.

        Raises:
            TimeoutError: none does.
        """
        self._wait(lambda: self.up, timeout, "no host")

    def _follow(self, log: Lines, life: int) -> None:
        seen, over = 0, False
        while not over:
            try:
                log.wait_for("phase", after=seen, timeout=0.5)
            except TimeoutError:
                pass
            except HostDied:
                over = True
            records = log.records_after(seen)
            seen += len(records)
            with self._changed:
                if self.life != life:
                    return
                for record in records:
                    self.heard(record)
                self._changed.notify_all()

    def heard(self, record: Mapping[str, Any]) -> None:
        """Take in what the host has logged."""
        event = str(record.get("event"))
        with self._changed:
            member = self._members.get(str(record.get("instance")))
            if member is not None and event == "phase":
                self._phase(member, str(record["phase"]), moment(record))
            elif member is not None and event == "port":
                member.pid = int(record["pid"])
            elif member is not None and event == "credentials wiped":
                # A scan that a fault breaks off may leave a device that WhatsApp does not know: 401 at its login.
                member.wiped += not member.scanning
                if member.wiped > member.logouts:
                    self._problem(
                        f"{member.name}: its credentials were deleted, and nobody had logged it out"
                    )
            elif record.get("level") in ("error", "critical") and not _expected(record):
                self._problem(f"the host's log: {event.splitlines()[0][:200]}")

    def _phase(self, member: Member, phase: str, at: float) -> None:
        if member.phase == "open" and phase != "open":
            member.falls += 1
            self.tally.downs += 1
            if at - member.struck > AFTERMATH:
                self._problem(f"{member.name}: left open ({phase}) and nothing had been done to it")
        if phase == "awaiting_scan" and not member.scanning:
            self._problem(f"{member.name}: wants to be scanned, and nobody had logged it out")
        if phase == "open":
            member.opened = at
        member.phase = phase

    # -- faults --------------------------------------------------------------------------------------------

    def free(self) -> list[str]:
        """Those that are open, as they should be, and that nothing is being done to."""
        with self._changed:
            return [
                m.name for m in self._members.values() if m.wanted and m.phase == "open" and not m.claimed
            ]

    def claim(self, kind: str, names: Sequence[str], *, everybody: bool = False) -> dict[str, int]:
        """Something is going to be done to these; how often each had fallen before.

        Args:
            everybody: the others feel it too.
        """
        with self._changed:
            self.count(kind)
            for name in names:
                self._members[name].claimed = True
            for name in self._members if everybody else names:
                self._members[name].struck = time.time()
            return {name: self._members[name].falls for name in names}

    def release(self, names: Iterable[str]) -> None:
        """It is over for these."""
        with self._changed:
            for name in names:
                self._members[name].claimed = False

    def logging_out(self, name: str) -> None:
        """The script is about to log it out: closed is what it should be, and its credentials go."""
        with self._changed:
            member = self._members[name]
            member.wanted, member.logouts = False, member.logouts + 1

    def linking(self, name: str) -> None:
        """The script is about to link it: it should become open, and may show codes until then."""
        with self._changed:
            self._members[name].wanted = self._members[name].scanning = True

    def linked(self, name: str, device: str) -> None:
        """It has been scanned, and is open."""
        with self._changed:
            self._members[name].device, self._members[name].scanning = device, False

    def wait_phase(self, name: str, phases: Sequence[str], timeout: float) -> str:
        """Wait until it is in one of some phases; which.

        Raises:
            TimeoutError: it is not.
        """
        member = self._members[name]
        self._wait(lambda: member.phase in phases, timeout, f"{name}: not {' or '.join(phases)}")
        return member.phase

    def wait_back(self, name: str, falls: int, timeout: float) -> float:
        """Wait until it has fallen once more than so often, and is open again; since when, epoch seconds.

        Raises:
            TimeoutError: it has not, or is not.
        """
        member = self._members[name]
        self._wait(
            lambda: member.falls > falls and member.phase == "open",
            timeout,
            f"{name}: not open again (it fell {member.falls - falls} times)",
        )
        return member.opened

    def fell(self, name: str, falls: int, timeout: float) -> bool:
        """Whether it falls once more than so often within some seconds."""
        member = self._members[name]
        try:
            self._wait(lambda: member.falls > falls, timeout, "")
        except TimeoutError:
            return False
        return True

    def count(self, kind: str) -> None:
        """Count a fault."""
        with self._changed:
            self.tally.faults[kind] = self.tally.faults.get(kind, 0) + 1

    def was_back(self, kind: str, seconds: float) -> None:
        """Count a recovery."""
        with self._changed:
            self.tally.back.setdefault(kind, []).append(max(0.0, seconds))

    def problem(self, text: str) -> None:
        """Note what should not have happened."""
        with self._changed:
            self._problem(text)

    def _problem(self, text: str) -> None:
        self.tally.problems.append(f"{time.strftime('%H:%M:%S', time.gmtime())} {text}")

    def abandon(self) -> None:
        """Nobody waits for anything any more."""
        with self._changed:
            self._abandoned = True
            self._changed.notify_all()

    def _wait(self, holds: Callable[[], bool], timeout: float, what: str) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._abandoned or holds(), timeout)
            if not holds():
                raise TimeoutError(f"{what} within {timeout:g} s")
