"""A webhook that is changed or switched off: nothing more goes to where it pointed before."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from actors.delivery import redirect, replay
from actors.store import Instance, Tx, instances
from supervisor.otp import ManualClock
from tests.actors.delivery.conftest import Host, quick
from tests.actors.delivery.receiver import Got, Receiver

StartHost = Callable[..., Host]
SLOW_DELAYS = {"initial_delay": 5.0, "max_delay": 5.0, "max_attempts": 1000}


def point(host: Host, row: Instance, url: str | None) -> int:
    """Change an instance's webhook as its session does; None switches it off."""
    webhook: dict[str, Any] = {"enabled": url is not None, "url": url or row.webhook["url"]}

    def unit(tx: Tx) -> int:
        instances.update(tx, row.id, webhook=webhook)
        host.rows[row.name] = changed = Instance(id=row.id, name=row.name, token=row.token, webhook=webhook)
        return redirect(tx, changed)

    moved = host.write(unit)
    assert isinstance(moved, int)
    return moved


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def test_a_webhook_that_was_switched_off_is_not_tried_again(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.script = lambda _: 500
    host = start_host(quick(**SLOW_DELAYS), clock)
    row = host.instance("sales", receiver.url)
    for number in range(3):
        host.emit("sales", number)
    host.wait_attempts(1)
    assert point(host, row, None) == 3
    for _ in range(20):
        clock.advance(5.0)
    assert len(receiver.got) == 1
    views = host.deliveries()
    assert [view.status for view in views] == ["failed"] * 3
    assert {view.last_error for view in views} == {"the webhook was switched off or its URL removed"}


def test_an_attempt_that_was_under_way_does_not_bring_a_withdrawn_delivery_back(
    start_host: StartHost, receiver: Receiver
) -> None:
    asked, let_go = threading.Event(), threading.Event()

    def fails_late(_: Got) -> int:
        asked.set()
        assert let_go.wait(30)
        return 500

    receiver.script = fails_late
    host = start_host(quick(max_attempts=1000, timeout=60.0))
    row = host.instance("sales", receiver.url)
    host.emit("sales", 0)
    assert asked.wait(20)
    assert point(host, row, None) == 1
    let_go.set()
    host.wait_attempts(1)
    host.write(lambda _: None)
    (view,) = host.deliveries()
    assert (view.status, view.attempts) == ("failed", 0)


def test_a_webhook_that_was_moved_is_not_tried_at_its_old_place(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.script = lambda _: 500
    better = Receiver().start()
    host = start_host(quick(**SLOW_DELAYS), clock)
    row = host.instance("sales", receiver.url)
    host.instance("other", receiver.url)
    for number in range(3):
        host.emit("sales", number)
        host.emit("other", number)
    host.wait_attempts(2)
    assert point(host, row, better.url) == 3
    assert [got.json["data"]["number"] for got in better.wait_for(3)] == [0, 1, 2]
    receiver.script = lambda _: 200
    for _ in range(20):
        clock.advance(5.0)
    receiver.wait_for(3)
    after = [(got.json["instance"], got.json["data"]["number"]) for got in receiver.delivered]
    assert after == [("other", 0), ("other", 1), ("other", 2)]
    assert {view.status for view in host.until_settled()} == {"delivered"}
    better.stop()


def test_a_slow_old_place_gets_nothing_more_than_what_was_under_way(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    asked, let_go = threading.Event(), threading.Event()

    def slow(_: Got) -> int:
        asked.set()
        assert let_go.wait(30)
        return 200

    receiver.script = slow
    better = Receiver().start()
    host = start_host(quick(timeout=60.0), clock)
    row = host.instance("sales", receiver.url)

    def burst(tx: Tx) -> None:
        for number in range(100):
            host.emitting("sales", number)(tx)

    host.write(burst)
    assert asked.wait(20)
    assert point(host, row, better.url) == 100
    assert [got.json["data"]["number"] for got in better.wait_for(100)] == list(range(100))
    host.system.settle()
    let_go.set()
    host.until_settled()
    host.emit("sales", 100)
    better.wait_for(101)
    assert len(receiver.got) == 1
    better.stop()


def test_switched_on_again_the_same_place_gets_what_was_withdrawn_on_request(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.script = lambda _: 500
    host = start_host(quick(**SLOW_DELAYS), clock)
    row = host.instance("sales", receiver.url)
    for number in range(3):
        host.emit("sales", number)
    host.wait_attempts(1)
    point(host, row, None)
    receiver.script = lambda _: 200
    point(host, row, receiver.url)
    assert replay(host.system, instance="sales") == 3
    clock.advance(5.0)
    assert [got.json["data"]["number"] for got in receiver.wait_for(3)] == [0, 1, 2]
    host.until_settled()
    assert len(receiver.got) == 4
