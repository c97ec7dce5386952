"""Properties: of timers, of the intensity, of the ladder, and that no child is ever lost."""

from __future__ import annotations

import logging
from typing import Any

import pytest
import tenacity
from hypothesis import given, settings
from hypothesis import strategies as st

from supervisor.otp import (
    ESCALATE,
    PERMANENT,
    TRANSIENT,
    BadSpec,
    ChildExit,
    DeleteChild,
    Escalate,
    GiveUp,
    Hold,
    Ladder,
    ManualClock,
    OtpError,
    Recovery,
    Restart,
    RestartChild,
    RestartNow,
    Resume,
    Shutdown,
    Strategy,
    SupervisorFlags,
    TerminateChild,
)
from supervisor.otp.children import Phase, State
from supervisor.otp.reasons import NORMAL, Crash
from supervisor.otp.timers import Timer, Timers
from tests.otp.helpers import SECONDS, Boom, World


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans()), max_size=200),
    st.lists(st.integers(0, 10), max_size=10),
)
def test_timers_fire_once_in_order_of_due_time_unless_cancelled(
    made: list[tuple[int, bool]], advances: list[int]
) -> None:
    clock = ManualClock()
    timers = Timers(clock)
    fired: list[int] = []
    scheduled: list[Timer] = [
        timers.schedule(due, lambda n=n: fired.append(n)) for n, (due, _) in enumerate(made)
    ]
    for timer, (_, cancelled) in zip(scheduled, made, strict=True):
        if cancelled:
            timer.cancel()
    now = 0
    for step in [0, *advances]:
        now += step
        while timers.fire_next(now):
            pass
    expected = [n for n, (due, cancelled) in enumerate(made) if not cancelled and due <= now]
    assert fired == sorted(expected, key=lambda n: made[n][0])


@given(st.integers(0, 4), st.floats(0.5, 10), st.lists(st.floats(0, 3), max_size=40))
def test_the_intensity_is_a_sliding_window(intensity: int, period: float, pauses: list[float]) -> None:
    state = State(SupervisorFlags(intensity=intensity, period=period))
    times: list[float] = []
    now = 0.0
    for pause in pauses:
        now += pause
        times.append(now)
        assert state.add_restart(now) is (sum(at >= now - period for at in times) <= intensity)


@given(
    st.lists(st.sampled_from([None, ESCALATE, print]), min_size=1, max_size=5),
    st.integers(1, 9),
    st.integers(1, 12),
)
def test_attempt_n_runs_step_n_and_the_last_one_serves_the_rest(
    steps: list[Any], limit: int, attempt: int
) -> None:
    ladder = Ladder(steps, tenacity.wait_exponential(multiplier=2, max=30), limit)
    decision = ladder.decide(ChildExit("a", None, Shutdown("x"), attempt, 0.0, 0.0))
    step = steps[min(attempt, len(steps)) - 1]
    if attempt > limit:
        assert decision == GiveUp()
    elif step is ESCALATE:
        assert decision == Escalate(Shutdown("x"))
    else:
        assert decision == Restart(min(2.0 * 2 ** (attempt - 1), 30.0), step, counted=False)


@given(st.integers(1, 10))
def test_a_ladders_jitter_is_tenacitys(attempt: int) -> None:
    delay = Ladder([None], tenacity.wait_exponential_jitter(initial=1, max=60, jitter=3)).delay(attempt)
    assert min(60, 2 ** (attempt - 1)) <= delay <= min(60, 2 ** (attempt - 1) + 3)


def test_a_ladder_may_leave_crashes_to_the_plain_rule_and_escalate_in_the_end() -> None:
    ladder = Ladder([None], max_attempts=1, crashes_too=False, then_escalate=True)
    crash = ChildExit("a", None, Crash(Boom("x")), 5, 0.0, 0.0)
    assert type(ladder.decide(crash)).__name__ == "Default"
    assert ladder.decide(ChildExit("a", None, NORMAL, 2, 0.0, 0.0)) == Escalate(NORMAL)
    with pytest.raises(BadSpec, match="steps"):
        Ladder([])
    with pytest.raises(BadSpec, match="max_attempts"):
        Ladder([None], max_attempts=0)


class Scripted(Recovery):
    """Decides what the scenario says next."""

    def __init__(self, decisions: list[Any]) -> None:
        self.decisions = decisions

    def decide(self, exit: ChildExit) -> Any:
        return self.decisions.pop(0) if self.decisions else Restart(counted=False)


_decision = st.sampled_from(
    [Restart(counted=False), Restart(2.0, counted=False), Restart(5.0, counted=False), Hold()]
)
_id = st.sampled_from("abcd")
_ops = st.one_of(
    st.tuples(st.just("die"), _id),
    st.tuples(st.sampled_from([TerminateChild, DeleteChild, RestartNow, RestartChild]), _id),
    st.tuples(st.just("resume"), _id, st.sampled_from([0.0, 3.0])),
    st.tuples(st.just("advance"), st.sampled_from([1.0, 2.0, 5.0])),
)


@settings(deadline=None, max_examples=150)
@given(st.sampled_from(Strategy), st.lists(_decision, max_size=12), st.lists(_ops, max_size=15), st.data())
def test_no_child_is_ever_lost(strategy: Strategy, decisions: list[Any], ops: list[Any], data: Any) -> None:
    """A child that nobody stopped runs, waits for its restart, or waits with a sibling that does."""
    logging.getLogger("zapvisor.otp").setLevel(logging.CRITICAL)
    world = World()
    recovery = Scripted(decisions)
    specs = []
    for id in "abcd":
        kind = data.draw(st.sampled_from([PERMANENT, TRANSIENT]))
        fails = data.draw(st.lists(st.sampled_from([None, None, Boom("start")]), max_size=3))
        specs.append(world.spec(id, restart=kind, recovery=recovery, failures=[None, *fails]))
    root = world.supervisor(*specs, strategy=strategy, intensity=100)
    stopped: set[str] = set()
    state = root._process.supervises
    try:
        for kind, subject, *rest in ops:
            if kind == "die" and state.children.get(subject) and state.children[subject].ref is not None:
                world.die(subject, Boom("x"))
            elif kind == "advance":
                world.clock.advance(subject)
            elif kind == "resume":
                root.cast(Resume(subject, rest[0]))
            elif kind in (TerminateChild, DeleteChild, RestartNow, RestartChild):
                _administer(world, root, kind(subject), stopped)
            world.system.settle()
            for id, child in state.children.items():
                if child.phase is Phase.TERMINATED and id not in stopped:
                    assert state.children[child.awaits].phase is Phase.WAITING, (id, child)
        recovery.decisions.clear()
        for id in list(state.children):
            if state.children[id].phase is Phase.WAITING:
                root.cast(Resume(id))
                world.system.settle()
        world.clock.advance(60.0)
        assert all(child.ref is not None for id, child in state.children.items() if id not in stopped)
    finally:
        world.system.shutdown()
        assert world.system.threads() == 0


def _administer(world: World, root: Any, message: Any, stopped: set[str]) -> None:
    try:
        root.call(message, SECONDS)
    except OtpError:
        return
    if isinstance(message, TerminateChild | DeleteChild):
        stopped.add(message.id)
