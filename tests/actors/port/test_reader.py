"""The reader thread, with a forkserver and ports that the test plays."""

from __future__ import annotations

import json
import os
import queue
import socket
import subprocess
from collections.abc import Iterator
from typing import Any, cast

import pytest

from actors.port import PortEvent, PortExited, PortSpec, PortStarted
from actors.port.events import Ready, to_json
from actors.port.launcher import Launcher
from actors.port.link import Link
from actors.port.messages import PortMessage
from actors.port.reader import ForkserverGone, ForkserverReady, Notice, PortEnded, Reader
from actors.port.wire import encode
from supervisor.otp import System
from tests.actors.port.harness import WAIT, Owner


class PlayedForkserver:
    """Stands where `Launcher` does; the test answers at the other end."""

    def __init__(self) -> None:
        self.control, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.output, self.print_end = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.control.setblocking(False)
        self.theirs.settimeout(WAIT)

    def close(self) -> None:
        self.control.close()
        os.close(self.output)

    def tell(self, message: dict[str, Any], *descriptors: int) -> None:
        socket.send_fds(self.theirs, [json.dumps(message).encode()], descriptors)

    def start(self) -> PlayedPort:
        """Take a request and answer it with a process of the test's own."""
        data, (pipe, output), _, _ = socket.recv_fds(self.theirs, 65536, 2)
        os.close(output)
        port = PlayedPort(self, json.loads(data)["id"], socket.socket(fileno=pipe))
        handle = os.pidfd_open(port.process.pid)
        self.tell({"event": "started", "id": port.number, "pid": port.process.pid}, handle)
        os.close(handle)
        return port


class PlayedPort:
    def __init__(self, forkserver: PlayedForkserver, number: int, pipe: socket.socket) -> None:
        self.forkserver = forkserver
        self.number = number
        self.pipe = pipe
        self.process = subprocess.Popen(["sleep", "600"])

    def say(self, data: bytes) -> None:
        self.pipe.sendall(data)

    def die(self) -> None:
        """Be reaped, as the real forkserver does it."""
        self.process.wait(WAIT)
        self.pipe.close()
        self.forkserver.tell({"event": "exited", "id": self.number, "status": 9})


@pytest.fixture
def system() -> Iterator[System]:
    system = System()
    yield system
    system.shutdown()


@pytest.fixture
def forkserver() -> PlayedForkserver:
    return PlayedForkserver()


@pytest.fixture
def notices() -> queue.Queue[Notice]:
    return queue.Queue()


@pytest.fixture
def reader(forkserver: PlayedForkserver, notices: queue.Queue[Notice]) -> Iterator[Reader]:
    reader = Reader(cast(Launcher, forkserver), notices.put)
    reader.start()
    forkserver.tell({"event": "ready", "level": "full", "warning": None})
    assert reader.wait_until_ready(WAIT) is None
    assert notices.get(timeout=WAIT) == ForkserverReady("full", None)
    yield reader
    forkserver.theirs.close()
    assert reader.join(WAIT)
    os.close(forkserver.print_end)


class Side:
    """A port that was asked for, both ends of it."""

    def __init__(self, system: System, reader: Reader, forkserver: PlayedForkserver, number: int) -> None:
        self.said: queue.Queue[PortMessage] = queue.Queue()
        owner = system.start(Owner, self.said, path=f"owner{number}")
        self.link = Link(number, PortSpec(f"side{number}", "/x"), owner, number)
        reader.launch(self.link)
        self.port = forkserver.start()
        assert isinstance(self.next(), PortStarted)

    def next(self) -> PortMessage:
        return self.said.get(timeout=WAIT)


@pytest.fixture
def sides(system: System, reader: Reader, forkserver: PlayedForkserver) -> Iterator[tuple[Side, Side]]:
    two = Side(system, reader, forkserver, 1), Side(system, reader, forkserver, 2)
    yield two
    for side in two:
        side.port.process.kill()
        side.port.process.wait(WAIT)


READY = encode(to_json(Ready()))


@pytest.mark.parametrize(
    "garbage", [b"\xff" * 4096, b"\0\0\0\3\2{}", READY[:-1] + b"]", encode({"event": "Nonsense"}), encode({})]
)
def test_garbage_ends_its_own_port_and_no_other(
    sides: tuple[Side, Side], garbage: bytes, notices: queue.Queue[Notice]
) -> None:
    bad, good = sides
    bad.port.say(READY + garbage)
    assert bad.next() == PortEvent(1, Ready())
    bad.port.die()
    exited = bad.next()
    assert isinstance(exited, PortExited)
    assert "garbage on the pipe" in exited.reason
    assert notices.get(timeout=WAIT) == PortEnded(1)
    good.port.say(READY)
    assert good.next() == PortEvent(2, Ready())


def test_half_a_frame_is_waited_for_without_a_limit_to_others(sides: tuple[Side, Side]) -> None:
    slow, quick = sides
    slow.port.say(READY[:5])
    quick.port.say(READY)
    assert quick.next() == PortEvent(2, Ready())
    slow.port.say(READY[5:])
    assert slow.next() == PortEvent(1, Ready())


def test_a_kill_is_immediate_and_idempotent(sides: tuple[Side, Side], reader: Reader) -> None:
    side, _ = sides
    for _again in range(3):
        reader.kill(side.link, requested=True)
    side.port.die()
    assert side.next() == PortExited(1, None, 9, requested=True, reason="signal 9 (SIGKILL)")
    reader.kill(side.link, requested=True)
    reader.command(side.link, 1, "stop", b"")


def test_when_the_forkserver_goes_every_owner_hears_it(
    sides: tuple[Side, Side], forkserver: PlayedForkserver, reader: Reader, notices: queue.Queue[Notice]
) -> None:
    forkserver.theirs.close()
    for side in sides:
        exited = side.next()
        assert isinstance(exited, PortExited)
        assert exited.reason == "the forkserver is gone"
        assert not exited.requested
        assert side.port.process.wait(WAIT) == -9
    assert reader.join(WAIT)
    assert notices.get(timeout=WAIT) == ForkserverGone("the forkserver is gone")


def test_a_port_asked_for_after_the_forkserver_went_exits_at_once(
    system: System, forkserver: PlayedForkserver, reader: Reader
) -> None:
    forkserver.theirs.close()
    assert reader.join(WAIT)
    said: queue.Queue[PortMessage] = queue.Queue()
    owner = system.start(Owner, said, path="owner")
    reader.launch(Link(1, PortSpec("late", "/x"), owner, 1))
    exited = said.get(timeout=WAIT)
    assert isinstance(exited, PortExited)
    assert exited.reason == "the forkserver is gone"


def test_a_refused_fork_is_an_exit(system: System, forkserver: PlayedForkserver, reader: Reader) -> None:
    said: queue.Queue[PortMessage] = queue.Queue()
    owner = system.start(Owner, said, path="owner")
    reader.launch(Link(1, PortSpec("none", "/x"), owner, 1))
    _, descriptors, _, _ = socket.recv_fds(forkserver.theirs, 65536, 2)
    for descriptor in descriptors:
        os.close(descriptor)
    forkserver.tell({"event": "failed", "id": 1, "error": "no memory"})
    assert said.get(timeout=WAIT) == PortExited(
        1, None, None, requested=False, reason="it could not be started: no memory"
    )


def test_more_ports_than_the_forkserver_takes_at_once_wait_for_it(
    system: System, forkserver: PlayedForkserver, reader: Reader
) -> None:
    """It is stopped, its socket full: asking still returns at once, and all are started in the end."""
    said: queue.Queue[PortMessage] = queue.Queue()
    owner = system.start(Owner, said, path="owner")
    count = 150
    for number in range(count):
        reader.launch(Link(number, PortSpec("x" * 100, "/" + "y" * 3000), owner, number))
    for number in range(count):
        data, descriptors, _, _ = socket.recv_fds(forkserver.theirs, 65536, 2)
        assert json.loads(data)["id"] == number
        for descriptor in descriptors:
            os.close(descriptor)
        forkserver.tell({"event": "failed", "id": number, "error": "enough"})
    assert [said.get(timeout=WAIT).incarnation for _ in range(count)] == list(range(count))
