"""Starts ports in a system of actors and waits for what their owners are told."""

from __future__ import annotations

import itertools
import os
import queue
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actors.port import (
    GetStatus,
    PortEvent,
    PortExited,
    PortHandle,
    Ports,
    PortSpec,
    PortsStatus,
    Preload,
    Spawn,
)
from actors.port.events import Event, Heartbeat
from actors.port.messages import PortMessage
from supervisor.otp import Actor, Clock, Ref, System

WAIT = 15.0
"""Seconds that anything may take which is not expected to take long."""


class Owner(Actor):
    """Passes on what a port says."""

    def init(self, said: queue.Queue[Any]) -> None:
        self.said = said

    def handle_cast(self, message: Any) -> None:
        self.said.put(message)


class Watched:
    """A port and what it said so far."""

    def __init__(self, owner: Ref, said: queue.Queue[PortMessage], incarnation: int) -> None:
        self.owner = owner
        self.incarnation = incarnation
        self.handle: PortHandle
        self.seen: list[PortMessage] = []
        self.at: list[float] = []
        self._said = said

    def next(self, timeout: float = WAIT) -> PortMessage:
        """The next message that is no heartbeat."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                message = self._said.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"nothing more within {timeout} s; seen: {self.names}") from None
            self.seen.append(message)
            self.at.append(time.monotonic())
            assert message.incarnation == self.incarnation
            if not (isinstance(message, PortEvent) and isinstance(message.event, Heartbeat)):
                return message

    def wait(self, kind: type[Any], timeout: float = WAIT) -> Any:
        """The next message, or event, of this type."""
        deadline = time.monotonic() + timeout
        while True:
            message = self.next(max(0.0, deadline - time.monotonic()))
            said = message.event if isinstance(message, PortEvent) else message
            if isinstance(said, kind):
                return said

    def heartbeat(self, timeout: float = WAIT) -> Heartbeat:
        """The next heartbeat; what comes before it is kept in `seen`."""
        deadline = time.monotonic() + timeout
        while True:
            try:
                message = self._said.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise TimeoutError(f"no heartbeat within {timeout} s; seen: {self.names}") from None
            self.seen.append(message)
            if isinstance(message, PortEvent) and isinstance(message.event, Heartbeat):
                return message.event

    def ask(self, name: str, timeout: float = WAIT, **arguments: Any) -> Any:
        """Send a command and give its result, or its timeout."""
        request_id = self.handle.command(name, timeout, **arguments)
        while True:
            message = self.next(timeout + WAIT)
            if getattr(message, "request_id", None) == request_id:
                return message

    def end(self) -> PortExited:
        """Kill the port and wait until it is gone."""
        self.handle.kill()
        exited: PortExited = self.wait(PortExited)
        return exited

    @property
    def events(self) -> list[Event]:
        """The events so far, without heartbeats."""
        told = [message.event for message in self.seen if isinstance(message, PortEvent)]
        return [event for event in told if not isinstance(event, Heartbeat)]

    @property
    def names(self) -> list[str]:
        """The names of everything said so far, without heartbeats."""
        said = [message.event if isinstance(message, PortEvent) else message for message in self.seen]
        return [type(message).__name__ for message in said if not isinstance(message, Heartbeat)]


class Harbour:
    """A system with a `Ports` actor, for one or more tests."""

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        preload: Preload = Preload.FULL,
        clock: Clock | None = None,
    ) -> None:
        self.system = System(clock)
        self.spawned: list[Watched] = []
        self._numbers = itertools.count(1)
        try:
            self.ports = self.system.start(
                Ports, preload, {**os.environ, **environment} if environment else None, path="ports"
            )
        except BaseException:
            self.system.shutdown()
            raise

    def owner(self) -> Watched:
        """An owner without a port."""
        number, said = next(self._numbers), queue.Queue[PortMessage]()
        return Watched(self.system.start(Owner, said, path=f"owner{number}"), said, number)

    def spawn(self, session: Path | str, **settings: Any) -> Watched:
        """A port with an owner of its own."""
        watched = self.owner()
        spec = PortSpec(settings.pop("instance", f"test{watched.incarnation}"), str(session), **settings)
        watched.handle = self.ports.call(Spawn(spec, watched.owner, watched.incarnation), WAIT)
        self.spawned.append(watched)
        return watched

    @property
    def status(self) -> PortsStatus:
        status: PortsStatus = self.ports.call(GetStatus(), WAIT)
        return status

    def close(self) -> None:
        self.system.shutdown()


def process_state(pid: int) -> str | None:
    """The state letter of a process, or None when there is none (a zombie is as good as none)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if state == "Z" else state


def children(pid: int) -> list[int]:
    """The living child processes of a process."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[1]) == pid and fields[0] != "Z":
                found.append(int(entry.name))
    return found


def wait_until(condition: Any, timeout: float, what: str) -> None:
    """Wait for something of the operating system that sends no event."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} not within {timeout} s")
        time.sleep(0.01)
