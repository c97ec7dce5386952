"""A destination that fails is left alone for longer and longer, and tried with one request."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.breaker import Breaker, Circuit


def breaker() -> Breaker:
    return Breaker(3, lambda opening: 10.0 * opening)


def fail(one: Breaker, times: int, now: float = 0.0) -> None:
    for _ in range(times):
        one.failed(now)


def test_few_failures_change_nothing() -> None:
    one = breaker()
    fail(one, 2)
    assert one.circuit is Circuit.CLOSED
    assert one.allows(7, 0.0)


def test_failures_in_a_row_open_it() -> None:
    one = breaker()
    fail(one, 3)
    assert one.circuit is Circuit.OPEN
    assert not one.allows(0, 9.9)
    assert one.due(0.0) == 10.0


def test_a_success_between_starts_the_count_anew() -> None:
    one = breaker()
    fail(one, 2)
    assert one.succeeded() is False
    fail(one, 2)
    assert one.circuit is Circuit.CLOSED


def test_when_it_is_due_one_request_may_try() -> None:
    one = breaker()
    fail(one, 3)
    assert one.allows(0, 10.0)
    one.sent()
    assert not one.allows(1, 10.0)


def test_a_probe_that_fails_opens_it_for_longer() -> None:
    one = breaker()
    fail(one, 3)
    one.sent()
    one.failed(10.0)
    assert one.due(10.0) == 30.0


def test_failures_of_requests_that_were_on_their_way_do_not_count_as_probes() -> None:
    one = breaker()
    fail(one, 8)
    assert one.due(0.0) == 10.0


def test_a_probe_that_succeeds_closes_it() -> None:
    one = breaker()
    fail(one, 3)
    one.sent()
    assert one.succeeded() is True
    assert one.allows(7, 10.0)
    fail(one, 3, 20.0)
    assert one.due(20.0) == 30.0


def test_a_pause_that_was_asked_for_holds_everything_back() -> None:
    one = breaker()
    one.pause(60.0)
    assert not one.allows(0, 59.0)
    assert one.allows(5, 60.0)
    assert one.circuit is Circuit.CLOSED


def test_after_a_restart_it_goes_on_where_it_was() -> None:
    one = breaker()
    one.remember(3, 40.0)
    assert not one.allows(0, 39.0)
    assert one.allows(0, 40.0)
    assert one.circuit is Circuit.OPEN


@given(st.lists(st.sampled_from(["fail", "succeed", "send", "tick"]), max_size=60))
def test_it_always_comes_back(steps: list[str]) -> None:
    one, now, in_flight = breaker(), 0.0, 0
    for step in steps:
        if step == "tick":
            now += 7.0
        elif step == "send" and one.allows(in_flight, now):
            one.sent()
            in_flight += 1
        elif in_flight:
            in_flight -= 1
            one.failed(now) if step == "fail" else one.succeeded()
    due = one.due(now)
    assert one.allows(0, now if due is None else due)
