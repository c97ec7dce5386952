"""The host's end of one port, with a process and a pipe that the test plays."""

from __future__ import annotations

import os
import queue
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actors.port import CommandResult, CommandTimeout, PortEvent, PortExited, PortSpec, PortStarted
from actors.port.events import Ready, StreamReplaced, to_json
from actors.port.link import MAX_OUTGOING, MAX_PENDING, Link
from actors.port.messages import PortMessage
from actors.port.wire import encode
from supervisor.otp import Actor, System
from tests.actors.port.harness import WAIT, Owner

KILLED = signal.SIGKILL
"""The wait status of a process that SIGKILL ended."""


class Busy(Actor):
    """An owner with room for two messages, which handles one only when it is let."""

    mailbox_limit = 2

    def init(self, said: queue.Queue[PortMessage], turns: threading.Semaphore) -> None:
        self.said, self.turns = said, turns

    def handle_cast(self, message: Any) -> None:
        self.turns.acquire()
        self.said.put(message)


@pytest.fixture
def system() -> Iterator[System]:
    system = System()
    yield system
    system.shutdown()


@pytest.fixture
def said() -> queue.Queue[PortMessage]:
    return queue.Queue()


@pytest.fixture
def process() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


class Play:
    """A link, and the port's end of its pipe."""

    def __init__(self, link: Link, process: subprocess.Popen[bytes]) -> None:
        self.link = link
        self.process = process
        self.port = socket.socket(fileno=os.dup(link.their_ends[0]))
        link.handed_over()
        link.started(process.pid, os.pidfd_open(process.pid))

    def say(self, *events: Any) -> None:
        for event in events:
            self.port.sendall(encode(to_json(event)))

    def exit(self, status: int) -> None:
        self.port.close()
        self.link.exited(status)

    def is_killed(self) -> bool:
        return self.process.wait(WAIT) == -KILLED

    def close(self) -> None:
        self.port.close()
        self.link.close()


@pytest.fixture
def play(system: System, said: queue.Queue[PortMessage], process: subprocess.Popen[bytes]) -> Iterator[Play]:
    owner = system.start(Owner, said, path="owner")
    play = Play(Link(1, PortSpec("sales", "/x"), owner, 7), process)
    yield play
    play.close()


def told(said: queue.Queue[PortMessage], count: int) -> list[PortMessage]:
    return [said.get(timeout=WAIT) for _ in range(count)]


def test_the_exit_is_told_last_even_when_it_is_known_before_the_pipe_was_read(
    play: Play, said: queue.Queue[PortMessage]
) -> None:
    play.say(Ready(), StreamReplaced())
    play.exit(0)
    assert play.link.over
    assert told(said, 4) == [
        PortStarted(7, play.process.pid),
        PortEvent(7, Ready()),
        PortEvent(7, StreamReplaced()),
        PortExited(7, 0, None, requested=False, reason="exit code 0"),
    ]


def test_a_kill_by_the_owner_is_no_crash(play: Play, said: queue.Queue[PortMessage]) -> None:
    play.link.kill(requested=True)
    assert play.is_killed()
    play.exit(KILLED)
    assert told(said, 2)[1] == PortExited(7, None, 9, requested=True, reason="signal 9 (SIGKILL)")


def test_a_death_that_nobody_asked_for_is_one(play: Play, said: queue.Queue[PortMessage]) -> None:
    play.exit(signal.SIGSEGV)
    assert told(said, 2)[1] == PortExited(7, None, 11, requested=False, reason="signal 11 (SIGSEGV)")


def test_garbage_ends_the_port_with_the_reason(play: Play, said: queue.Queue[PortMessage]) -> None:
    play.say(Ready())
    play.port.sendall(b"\0\0\0\5\1nonsense")
    play.link.read()
    assert play.is_killed()
    play.exit(KILLED)
    *before, exited = told(said, 3)
    assert before[1] == PortEvent(7, Ready())
    assert isinstance(exited, PortExited)
    assert "garbage on the pipe: frame body is not JSON" in exited.reason
    assert not exited.requested


def test_a_pipe_that_closes_under_a_living_process_ends_it(play: Play) -> None:
    play.port.close()
    play.link.read()
    assert play.is_killed()


def test_a_port_that_does_not_read_fills_up_and_never_blocks_the_host(
    play: Play, said: queue.Queue[PortMessage]
) -> None:
    for request_id in range(MAX_PENDING + 3):
        play.link.command(request_id, "profile", bytes(MAX_OUTGOING // MAX_PENDING))
    refused = told(said, 4)[1:]
    assert [message.error_kind for message in refused if isinstance(message, CommandResult)] == ["busy"] * 3
    assert play.link.wants_to_write


def test_one_command_larger_than_what_may_wait_is_refused(play: Play, said: queue.Queue[PortMessage]) -> None:
    play.link.command(1, "profile", bytes(MAX_OUTGOING + 1))
    refused = told(said, 2)[1]
    assert isinstance(refused, CommandResult)
    assert refused.error_kind == "busy"


def test_a_command_is_answered_or_timed_out_once(play: Play, said: queue.Queue[PortMessage]) -> None:
    for request_id in (1, 2):
        play.link.command(request_id, "logout", b"x")
        play.link.expire(1)
        play.port.sendall(encode({"result": request_id, "value": "late?"}))
        play.link.read()
        play.link.expire(request_id)
    assert told(said, 3)[1:] == [CommandTimeout(7, 1, "logout"), CommandResult(7, 2, "late?")]
    assert said.empty()


def test_an_answer_to_nothing_is_dropped(play: Play, said: queue.Queue[PortMessage]) -> None:
    play.port.sendall(encode({"result": 99, "value": None}))
    play.link.read()
    play.exit(0)
    assert len(told(said, 2)) == 2
    assert said.empty()


def test_while_the_owner_has_no_room_its_port_is_not_read_and_nothing_is_lost(
    system: System, said: queue.Queue[PortMessage], process: subprocess.Popen[bytes]
) -> None:
    turns = threading.Semaphore(0)
    owner = system.start(Busy, said, turns, path="owner")
    play = Play(Link(1, PortSpec("sales", "/x"), owner, 7), process)
    play.say(*[Ready()] * 5)
    play.link.read()
    assert not play.link.wants_to_read
    play.exit(0)
    assert not play.link.over
    messages: list[PortMessage] = []
    while not play.link.over:
        turns.release()
        messages += told(said, 1)
        play.link.proceed()
    turns.release(10)
    messages += told(said, 7 - len(messages))
    assert messages == [
        PortStarted(7, process.pid),
        *[PortEvent(7, Ready())] * 5,
        PortExited(7, 0, None, requested=False, reason="exit code 0"),
    ]
    play.close()


def test_an_owner_that_stays_full_loses_its_port(
    system: System,
    said: queue.Queue[PortMessage],
    process: subprocess.Popen[bytes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    turns = threading.Semaphore(0)
    owner = system.start(Busy, said, turns, path="owner")
    play = Play(Link(1, PortSpec("sales", "/x"), owner, 7), process)
    play.say(*[Ready()] * 5)
    play.link.read()
    monkeypatch.setattr("actors.port.link.STUCK_SECONDS", -1.0)
    play.link.proceed()
    assert play.is_killed()
    turns.release(10)
    play.close()


def test_a_port_without_an_owner_is_killed(system: System, play: Play) -> None:
    system.stop(play.link.owner)
    play.say(Ready())
    play.link.read()
    assert play.is_killed()
    play.exit(KILLED)
    assert play.link.over


def test_a_kill_before_the_start_takes_effect_at_the_start(
    system: System, said: queue.Queue[PortMessage], process: subprocess.Popen[bytes]
) -> None:
    owner = system.start(Owner, said, path="owner")
    link = Link(1, PortSpec("sales", "/x"), owner, 7)
    link.kill(requested=True)
    link.handed_over()
    link.started(process.pid, os.pidfd_open(process.pid))
    assert process.wait(WAIT) == -KILLED
    link.close()


def test_a_port_that_never_ran_is_told_too(system: System, said: queue.Queue[PortMessage]) -> None:
    link = Link(1, PortSpec("sales", "/x"), system.start(Owner, said, path="owner"), 7)
    link.failed("it could not be started: no memory")
    assert link.over
    assert told(said, 1) == [
        PortExited(7, None, None, requested=False, reason="it could not be started: no memory")
    ]
    link.close()
