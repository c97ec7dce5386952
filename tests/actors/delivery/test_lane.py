"""How a lane treats failures: delays, limits, circuit breaker, Retry-After, restarts. Time is advanced by hand."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from actors.delivery import dispatcher, lane
from actors.delivery.context import Withdrawn
from actors.delivery.lane import BREAKER_THRESHOLD, IDLE_SECONDS, LANE_WORKERS
from actors.events import Listen
from supervisor.config import WebhookSettings
from supervisor.otp import ManualClock, UnknownMessage
from tests.actors.delivery.conftest import Host, quick
from tests.actors.delivery.receiver import Got, Receiver

StartHost = Callable[..., Host]
SLOW_DELAYS = {"initial_delay": 5.0, "max_delay": 300.0}


def numbers(got: list[Got]) -> list[int]:
    return [one.json["data"]["number"] for one in got]


def of(got: list[Got], instance: str) -> list[int]:
    return [one.json["data"]["number"] for one in got if one.json["instance"] == instance]


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_a_final_answer_ends_the_retries_and_the_next_event_goes_on(
    start_host: StartHost, receiver: Receiver, status: int
) -> None:
    receiver.script = lambda got: status if got.json["data"]["number"] == 0 else 200
    host = start_host()
    host.instance("sales", receiver.url)
    refused = host.emit("sales", 0)
    host.emit("sales", 1)
    receiver.wait_for(1)
    views = {view.event_id: view for view in host.until_settled()}
    assert (views[refused].status, views[refused].attempts, views[refused].last_error) == (
        "failed",
        1,
        f"HTTP {status}",
    )
    assert [view.status for view in views.values()].count("delivered") == 1


def test_after_the_last_attempt_an_event_has_failed_and_the_next_goes_on(
    start_host: StartHost, receiver: Receiver
) -> None:
    receiver.script = lambda got: 500 if got.json["data"]["number"] == 0 else 200
    host = start_host(quick(max_attempts=3))
    host.instance("sales", receiver.url)
    poison = host.emit("sales", 0)
    host.emit("sales", 1)
    receiver.wait_for(1)
    host.until_settled()
    assert [got.event_id for got in receiver.got].count(poison) == 3
    (failed,) = host.deliveries(status="failed")
    assert (failed.event_id, failed.attempts, failed.last_error) == (poison, 3, "HTTP 500")


@pytest.mark.parametrize("status", [500, 502, 504])
def test_an_event_that_makes_its_receiver_fail_ends_in_the_failed_list_although_no_other_waits(
    start_host: StartHost, receiver: Receiver, status: int
) -> None:
    receiver.script = lambda got: status if got.json["data"]["number"] == 0 else 200
    host = start_host(quick(max_attempts=BREAKER_THRESHOLD + 3))
    host.instance("sales", receiver.url)
    poison = host.emit("sales", 0)
    host.emit("sales", 1)
    receiver.wait_for(1)
    host.until_settled()
    (failed,) = host.deliveries(status="failed")
    assert (failed.event_id, failed.attempts) == (poison, BREAKER_THRESHOLD + 3)


def test_an_event_that_poisons_its_instance_does_not_hold_up_others_on_the_same_destination(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.script = lambda got: 500 if of([got], "bad") == [0] else 200
    host = start_host(quick(**SLOW_DELAYS), clock)
    host.instance("bad", receiver.url)
    host.instance("good", receiver.url)
    host.emit("bad", 0)
    for number in range(20):
        host.emit("bad", number + 1)
        host.emit("good", number)
    receiver.wait(lambda me: of(me.delivered, "good") == list(range(20)))
    assert of(receiver.delivered, "bad") == []
    host.wait_attempts(21)
    receiver.script = lambda _: 200
    clock.advance(5.0)
    receiver.wait(lambda me: of(me.delivered, "bad") == list(range(21)))


def test_delays_between_attempts_double_up_to_the_limit(
    start_host: StartHost, receiver: Receiver, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lane, "BREAKER_THRESHOLD", 1000)
    receiver.script = lambda _: 500
    host = start_host(quick(initial_delay=5.0, max_delay=30.0, max_attempts=100), clock)
    host.instance("sales", receiver.url)
    host.emit("sales")
    for attempt, delay in enumerate((5.0, 10.0, 20.0, 30.0, 30.0), start=1):
        host.wait_attempts(attempt)
        clock.advance(delay - 0.5)
        assert len(receiver.got) == attempt
        clock.advance(0.5)
    host.wait_attempts(6)


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_is_honoured_by_the_whole_destination(
    start_host: StartHost, receiver: Receiver, clock: ManualClock, status: int
) -> None:
    receiver.script = lambda got: (status, {"retry-after": "120"})
    host = start_host(quick(), clock)
    host.instance("a", receiver.url)
    host.instance("b", receiver.url)
    host.emit("a", 0)
    host.wait_attempts(1)
    receiver.script = lambda _: 200
    host.emit("b", 0)
    clock.advance(119.5)
    assert len(receiver.got) == 1
    clock.advance(0.5)
    receiver.wait_for(2)


def test_a_pause_that_was_asked_for_ends_after_an_hour_and_outlives_a_restart(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.script = lambda _: (503, {"retry-after": "86400"})
    host = start_host(quick(), clock)
    host.instance("a", receiver.url)
    host.instance("b", receiver.url)
    host.emit("a", 0)
    host.wait_attempts(1)
    host.until(lambda seen: seen[0].attempts == 1)
    receiver.script = lambda _: 200
    later = ManualClock(monotonic=50_000.0, wall=clock.wall() + 60.0)
    host = start_host(quick(), later)
    host.emit("b", 0)
    later.advance(3539.0)
    assert len(receiver.got) == 1
    later.advance(2.0)
    receiver.wait_for(2)


def test_a_receiver_that_is_down_for_a_night_loses_nothing_and_is_left_alone(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    """Ten attempts would be over after half an hour: the probes of an open circuit do not count."""
    receiver.script = lambda _: 503
    other = Receiver().start()
    host = start_host(quick(initial_delay=5.0, max_delay=300.0, max_attempts=10), clock)
    host.instance("sales", receiver.url)
    host.instance("other", other.url)
    for number in range(3):
        host.emit("sales", number)
    for hour in range(6):
        for _ in range(12):
            clock.advance(300.0)
            host.wait_attempts(len(receiver.got) + len(other.got))
        host.emit("other", hour)
        other.wait_for(hour + 1)
    assert 20 < len(receiver.got) < 12 * 6 + 20
    assert numbers(other.wait_for(6)) == list(range(6))
    waiting = host.deliveries(instance="sales")
    assert [view.status for view in waiting] == ["pending"] * 3
    assert max(view.attempts for view in waiting) <= BREAKER_THRESHOLD
    receiver.script = lambda _: 200
    clock.advance(300.0)
    assert numbers(receiver.wait_for(3)) == [0, 1, 2]
    other.stop()


def test_an_open_circuit_is_probed_by_one_request_at_a_time(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.script = lambda _: 503
    host = start_host(quick(initial_delay=60.0, max_delay=60.0, max_attempts=100), clock)
    for name in "abcdefgh":
        host.instance(name, receiver.url)
        host.emit(name)
    host.wait_attempts(BREAKER_THRESHOLD)
    before = len(receiver.got)
    host.wait_attempts(before)
    for probe in range(1, 6):
        clock.advance(60.0)
        host.wait_attempts(before + probe)
        assert len(receiver.got) == before + probe
    receiver.script = lambda _: 200
    clock.advance(60.0)
    receiver.wait(lambda me: len(me.delivered) == 8)


def test_memory_is_flat_while_a_destination_is_down(
    start_host: StartHost, receiver: Receiver, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    held: list[int] = []
    pump = lane.Lane._pump

    def watched(self: lane.Lane) -> None:
        pump(self)
        held.append(self._backlog.held)

    monkeypatch.setattr(lane.Lane, "_pump", watched)
    receiver.script = lambda _: 503
    host = start_host(quick(**SLOW_DELAYS), clock)
    for name in "abc":
        host.instance(name, receiver.url)

    def many(start: int) -> Callable[[Any], None]:
        def unit(tx: Any) -> None:
            for number in range(start, start + 100):
                for name in "abc":
                    host.emitting(name, number)(tx)

        return unit

    for start in range(0, 400, 100):
        host.write(many(start))
    clock.advance(5.0)
    assert max(held) <= 300
    receiver.script = lambda _: 200
    for _ in range(4):
        clock.advance(300.0)
    receiver.wait(lambda me: len(me.delivered) >= 1200, 60)
    for name in "abc":
        assert of(receiver.delivered, name) == list(range(400))
    assert max(held) <= 300


def test_a_restart_of_the_host_loses_nothing_and_keeps_the_delay(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.script = lambda _: 500
    host = start_host(quick(initial_delay=100.0, max_delay=300.0), clock)
    host.instance("sales", receiver.url)
    for number in range(3):
        host.emit("sales", number)
    host.wait_attempts(1)
    host.until(lambda seen: sum(view.attempts for view in seen) == 1)
    receiver.script = lambda _: 200
    later = ManualClock(monotonic=50_000.0, wall=clock.wall() + 60.0)
    host = start_host(quick(initial_delay=100.0, max_delay=300.0), later)
    later.advance(39.0)
    assert len(receiver.got) == 1
    later.advance(2.0)
    assert numbers(receiver.wait_for(3)) == [0, 1, 2]


def test_after_a_restart_a_circuit_that_was_open_is_probed_without_using_up_attempts(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    receiver.script = lambda _: 503
    settings = quick(initial_delay=1.0, max_delay=10.0, max_attempts=6)
    host = start_host(settings, clock)
    host.instance("sales", receiver.url)
    host.emit("sales")
    for attempt in range(1, BREAKER_THRESHOLD + 1):
        host.wait_attempts(attempt)
        if attempt < BREAKER_THRESHOLD:
            clock.advance(float(2 ** (attempt - 1)))
    host.until(lambda seen: seen[0].attempts == BREAKER_THRESHOLD)
    for _ in range(3):
        clock = ManualClock(monotonic=clock.monotonic() + 1e6, wall=clock.wall() + 60.0)
        host = start_host(settings, clock)
        host.wait_attempts(1)
        host.until(lambda seen: seen[0].status == "pending")
        assert host.deliveries()[0].attempts == BREAKER_THRESHOLD
    receiver.script = lambda _: 200
    clock.advance(20.0)
    receiver.wait_for(1)


def test_a_stop_does_not_wait_for_a_receiver_that_hangs(start_host: StartHost, receiver: Receiver) -> None:
    receiver.script = lambda _: "hang"
    host = start_host(quick(timeout=60.0))
    host.instance("sales", receiver.url)
    host.emit("sales")
    receiver.wait(lambda me: len(me.got) == 1)
    assert host.system.shutdown(15) == []
    assert not [thread for thread in threading.enumerate() if "delivery/lanes" in thread.name]
    receiver.script = lambda _: 200
    start_host()
    assert receiver.wait_for(1)


def test_what_was_taken_before_a_stop_is_not_sent_again(start_host: StartHost, receiver: Receiver) -> None:
    host = start_host()
    host.instance("sales", receiver.url)
    for number in range(50):
        host.emit("sales", number)
    receiver.wait_for(25)
    start_host()
    receiver.wait(lambda me: len(set(numbers(me.got))) == 50)
    assert list(dict.fromkeys(numbers(receiver.got))) == list(range(50))
    assert len(receiver.got) <= 51


def test_a_slow_receiver_gets_several_requests_at_a_time_but_not_too_many(
    start_host: StartHost, receiver: Receiver
) -> None:
    host = start_host(quick(timeout=30.0))
    for number in range(LANE_WORKERS + 4):
        host.instance(f"i{number}", receiver.url)
    host.emit("i0")
    receiver.wait_for(1)
    receiver.script = lambda _: "hang"
    for number in range(LANE_WORKERS + 4):
        host.emit(f"i{number}")
    receiver.wait(lambda me: len(me.got) == 1 + LANE_WORKERS)
    assert len(receiver.got) == 1 + LANE_WORKERS


def test_a_lane_that_crashes_comes_back_and_delivers(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    crashes = iter([True, False, False, False])

    def observe(_: Any) -> None:
        if next(crashes):
            raise RuntimeError("a bug")

    host = start_host(quick(), clock, observe=observe)
    host.instance("sales", receiver.url)
    host.emit("sales", 0)
    path = f"delivery/lanes/{dispatcher.lane_id(receiver.url)}"
    receiver.wait(lambda me: len(me.got) == 1)
    host.until(lambda _: host.system.whereis(path) is None)
    host.emit("sales", 1)
    clock.advance(1.0)
    assert numbers(receiver.wait_for(2)) == [0, 1]
    assert [view.status for view in host.until_settled()] == ["delivered"] * 2


def test_a_lane_that_lags_behind_with_reports_still_hears_of_the_next_event(
    start_host: StartHost, receiver: Receiver
) -> None:
    busy, go_on = threading.Event(), threading.Event()

    def observe(_: Any) -> None:
        busy.set()
        assert go_on.wait(30)

    host = start_host(quick(), observe=observe)
    host.instance("sales", receiver.url)
    host.emit("sales", 0)
    assert busy.wait(20)
    path = f"delivery/lanes/{dispatcher.lane_id(receiver.url)}"
    for _ in range(lane.REPORTS_LIMIT):
        host.system.cast(path, Withdrawn())
    told = threading.Event()
    host.system.call("events", Listen(lambda _: told.set()), 20.0)
    host.emit("sales", 1)
    assert told.wait(20), "the bus has told the dispatcher before"
    with pytest.raises(UnknownMessage):  # Its answer comes after everything that it was told before.
        host.system.call("delivery/dispatcher", "have you read all?", 20.0)
    go_on.set()
    assert numbers(receiver.wait_for(2)) == [0, 1]


def test_a_lane_without_work_ends_and_begins_again_with_the_next_event(
    start_host: StartHost, receiver: Receiver, clock: ManualClock
) -> None:
    host = start_host(quick(), clock)
    host.instance("sales", receiver.url)
    host.emit("sales", 0)
    receiver.wait_for(1)
    host.until_settled()
    path = f"delivery/lanes/{dispatcher.lane_id(receiver.url)}"
    assert host.system.whereis(path) is not None
    for _ in range(4):
        clock.advance(IDLE_SECONDS)
    assert host.system.whereis(path) is None
    host.emit("sales", 1)
    assert numbers(receiver.wait_for(2)) == [0, 1]


def test_the_name_of_a_lane_tells_nothing_secret() -> None:
    name = dispatcher.lane_id("https://user:hush@Hooks.Example:8443/hush?hush=1")
    assert name.startswith("hooks.example-")
    assert "hush" not in name
    assert dispatcher.lane_id("https://[") != dispatcher.lane_id("https://[1")


@pytest.fixture(autouse=True)
def no_secrets_in_logs(caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    assert "token-" not in caplog.text


def test_settings_of_one_instance_hold_for_its_deliveries(start_host: StartHost, receiver: Receiver) -> None:
    from supervisor.config.models import InstanceSettings

    own = InstanceSettings(webhook=WebhookSettings(initial_delay=0.01, max_delay=0.02, max_attempts=2))
    host = start_host(quick(max_attempts=4), settings={"instances": {"few": own}})
    receiver.script = lambda _: 500
    for name in ("few", "many"):
        host.instance(name, receiver.url)
        host.emit(name)
    host.until_settled()
    assert {view.instance: view.attempts for view in host.deliveries()} == {"few": 2, "many": 4}
