"""Whose turn it is at boot."""

from __future__ import annotations

from typing import Any, cast

from actors.turns import Turns
from supervisor.otp import Timer


class FakeTimer:
    """Remembers that it was cancelled."""

    cancelled = False

    def cancel(self) -> None:
        self.cancelled = True


class Boot:
    """Turns on a clock that the test moves; `missing` are instances that cannot have one."""

    def __init__(self, limit: int, *missing: str) -> None:
        self.time = 0.0
        self.given: list[str] = []
        self.said: list[str] = []
        self.timers: dict[str, FakeTimer] = {}
        self.missing = missing
        self.turns = Turns(lambda: limit, self.give, self.said.append, lambda: self.time)

    def give(self, name: str) -> Timer | None:
        if name in self.missing:
            return None
        self.given.append(name)
        self.timers[name] = FakeTimer()
        return cast(Any, self.timers[name])


def test_the_first_come_first_and_never_more_than_the_limit() -> None:
    boot = Boot(2)
    boot.turns.begin(["a", "b", "c", "d"])
    assert boot.given == ["a", "b"]
    boot.turns.settled("b")
    assert boot.timers["b"].cancelled
    assert boot.given == ["a", "b", "c"]


def test_what_settles_without_a_turn_gives_nobody_one() -> None:
    boot = Boot(1)
    boot.turns.begin(["a", "b"])
    boot.turns.settled("b")
    boot.turns.settled("somebody")
    assert boot.given == ["a"]


def test_one_that_is_not_there_any_more_does_not_hold_up_the_next() -> None:
    boot = Boot(1, "a", "b")
    boot.turns.begin(["a", "b", "c"])
    assert boot.given == ["c"]


def test_one_that_is_deleted_needs_no_turn() -> None:
    boot = Boot(1)
    boot.turns.begin(["a", "b", "c"])
    boot.turns.leave("b")
    boot.turns.leave("a")
    assert boot.given == ["a", "c"]
    boot.turns.settled("c")
    assert boot.said[-1].startswith("boot: all 3 instances have had their turn")
