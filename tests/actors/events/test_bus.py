"""Who listens hears of every commit, and nobody can hold the bus up."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from actors.events import Committed, Events, Listen, Subscribe
from actors.store.notices import RETRY
from supervisor.otp import Actor, ManualClock, Ref, System


class Subscriber(Actor):
    mailbox_limit: ClassVar[int | None] = 2

    def init(self, told: list[Any], gate: threading.Event) -> None:
        self._told, self._gate = told, gate

    def handle_cast(self, message: Any) -> None:
        self._gate.wait(10)
        self._told.append(message)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def system(clock: ManualClock) -> Iterator[System]:
    system = System(clock)
    yield system
    system.shutdown()


@pytest.fixture
def bus(system: System) -> Ref:
    return system.start(Events, path="events")


def topics(*names: str) -> Committed:
    return Committed(frozenset(names))


def test_a_subscriber_hears_of_every_commit(system: System, bus: Ref) -> None:
    told: list[Any] = []
    gate = threading.Event()
    gate.set()
    bus.call(Subscribe(system.start(Subscriber, told, gate, path="s")), 5)
    bus.cast(topics("a"))
    bus.cast(topics("b"))
    system.settle()
    assert set().union(*(notice.topics for notice in told)) == {"a", "b"}


def test_one_whose_mailbox_is_full_is_told_later_and_others_at_once(
    system: System, clock: ManualClock, bus: Ref
) -> None:
    told: list[Any] = []
    gate, quick = threading.Event(), []
    slow = system.start(Subscriber, told, gate, path="slow")
    bus.call(Subscribe(slow), 5)
    bus.call(Listen(quick.append), 5)
    for name in "abcdefgh":
        bus.cast(topics(name))
    bus.call(Listen(lambda _: None), 5)
    assert [sorted(notice.topics) for notice in quick] == [[name] for name in "abcdefgh"]
    gate.set()
    clock.advance(RETRY)
    assert set().union(*(notice.topics for notice in told)) == set("abcdefgh")
    assert len(told) < 8


def test_a_listener_that_fails_is_struck_off(system: System, bus: Ref) -> None:
    calls: list[Any] = []

    def failing(notice: Committed) -> None:
        calls.append(notice)
        raise RuntimeError("no")

    bus.call(Listen(failing), 5)
    bus.cast(topics("a"))
    bus.cast(topics("b"))
    system.settle()
    assert calls == [topics("a")]
    assert bus.alive


def test_a_listener_that_left_hears_nothing_more(system: System, bus: Ref) -> None:
    calls: list[Any] = []
    leave = bus.call(Listen(calls.append), 5)
    bus.cast(topics("a"))
    leave()
    bus.cast(topics("b"))
    system.settle()
    assert calls == [topics("a")]


def test_a_subscriber_that_ended_is_forgotten(system: System, bus: Ref) -> None:
    gate = threading.Event()
    gate.set()
    ref = system.start(Subscriber, [], gate, path="s")
    bus.call(Subscribe(ref), 5)
    system.stop(ref)
    bus.cast(topics("a"))
    system.settle()
    assert bus.alive
