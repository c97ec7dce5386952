"""Delayed restarts and the recovery ladder."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from supervisor.otp import (
    ESCALATE,
    NORMAL,
    ONE_FOR_ALL,
    REST_FOR_ONE,
    SHUTDOWN,
    ChildExit,
    Decision,
    Default,
    Escalate,
    GiveUp,
    Hold,
    Ladder,
    Recovered,
    Recovery,
    Ref,
    Restart,
    Resume,
    Shutdown,
    delete_child,
    restart_now,
    terminate_child,
)
from tests.otp.helpers import SECONDS, Boom, World


class Says(Recovery):
    """Decides as told, and remembers what it was asked."""

    def __init__(self, *decisions: Decision) -> None:
        self.decisions = list(decisions)
        self.asked: list[ChildExit] = []

    def decide(self, exit: ChildExit) -> Decision:
        self.asked.append(exit)
        return self.decisions.pop(0) if len(self.decisions) > 1 else self.decisions[0]


def trio(world: World, recovery: Recovery, **flags: Any) -> Ref:
    """a, b and c, where b recovers by ``recovery``."""
    specs = [world.spec("a"), world.spec("b", recovery=recovery), world.spec("c")]
    return world.supervisor(*specs, **{"intensity": 5, **flags})


def test_a_delayed_child_waits_and_siblings_do_not(world: World) -> None:
    root = trio(world, Says(Restart(after=5.0)))
    world.die("b", Boom("x"))
    assert world.states(root) == {"a": "running", "b": "restarting", "c": "running"}
    assert [node.due_in for node in world.system.tree().children] == [None, 5.0, None]
    world.clock.advance(4.9)
    assert world.told() == ["stop b"]
    world.die("c", Boom("x"))
    assert world.told() == ["stop c", "start c"]
    world.clock.advance(0.1)
    assert world.told() == ["start b"]


def test_those_after_a_delayed_child_stop_when_it_ends_and_start_after_it(world: World) -> None:
    trio(world, Says(Restart(after=5.0)), strategy=REST_FOR_ONE)
    world.die("b", Boom("x"))
    assert world.told() == ["stop b", "stop c"]
    world.clock.advance(5.0)
    assert world.told() == ["start b", "start c"]


def test_all_stop_when_a_delayed_child_of_one_for_all_ends(world: World) -> None:
    trio(world, Says(Restart(after=5.0)), strategy=ONE_FOR_ALL)
    world.die("b", Boom("x"))
    assert world.told() == ["stop b", "stop c", "stop a"]
    world.clock.advance(5.0)
    assert world.told() == ["start a", "start b", "start c"]


@pytest.mark.parametrize("act", [terminate_child, delete_child])
@pytest.mark.parametrize("decision", [Restart(after=5.0), Hold()])
def test_a_waiting_child_can_be_removed_and_the_others_come_back(
    world: World, act: Callable[[Ref, str, float], None], decision: Decision
) -> None:
    root = trio(world, Says(decision), strategy=REST_FOR_ONE)
    world.die("b", Boom("x"))
    world.told()
    act(root, "b", SECONDS)
    assert world.told() == ["start c"]
    world.clock.advance(10.0)
    assert world.told() == []
    kept = {"b": "terminated"} if act is terminate_child else {}
    assert world.states(root) == {"a": "running", "c": "running"} | kept


@pytest.mark.parametrize("decision", [Restart(after=5.0), Hold()])
def test_a_waiting_child_can_be_restarted_now(world: World, decision: Decision) -> None:
    root = trio(world, Says(decision))
    world.die("b", Boom("x"))
    restart_now(root, "b", SECONDS)
    world.clock.advance(10.0)
    assert world.told() == ["stop b", "start b"]


def test_a_wait_that_was_cut_short_does_not_shorten_the_next(world: World) -> None:
    root = trio(world, Says(Restart(after=5.0)))
    world.die("b", Boom("x"))
    world.clock.advance(1.0)
    restart_now(root, "b", SECONDS)
    world.die("b", Boom("x"))
    world.clock.advance(4.9)
    assert world.states(root)["b"] == "restarting"
    world.clock.advance(0.1)
    assert world.states(root)["b"] == "running"


def test_a_held_child_is_resumed_by_a_cast_with_a_delay_and_a_step(world: World) -> None:
    root = trio(world, Says(Hold()), strategy=REST_FOR_ONE)
    world.die("b", Shutdown("expected"))
    world.clock.advance(1000.0)
    assert world.told() == ["stop b", "stop c"]
    assert world.system.tree().children[1].due_in is None
    root.cast(Resume("b", 2.0, lambda: world.journal.append("step")))
    world.clock.advance(2.0)
    assert world.told() == ["step", "start b", "start c"]


def test_a_restart_of_an_earlier_sibling_brings_a_waiting_child_along(world: World) -> None:
    trio(world, Says(Hold()), strategy=REST_FOR_ONE)
    world.die("b", Shutdown("expected"))
    world.die("a", Boom("x"))
    assert world.told() == ["stop b", "stop c", "stop a", "start a", "start b", "start c"]


def test_giving_up_leaves_the_child_terminated_and_the_supervisor_alive(world: World) -> None:
    root = trio(world, Says(GiveUp()))
    world.die("b", Boom("x"))
    assert world.states(root)["b"] == "terminated"
    assert root.alive


def test_escalation_stops_all_and_ends_the_supervisor_with_its_term(world: World) -> None:
    root = trio(world, Says(Escalate("too much")))
    world.die("b", Boom("x"))
    assert world.told() == ["stop b", "stop c", "stop a"]
    assert root.reason == Shutdown("too much")


def test_uncounted_restarts_do_not_spend_the_intensity(world: World) -> None:
    root = trio(world, Says(Restart(counted=False)), intensity=0)
    for _ in range(5):
        world.die("b", Shutdown("expected"))
    assert root.alive


def test_counted_ones_do(world: World) -> None:
    root = trio(world, Says(Restart()), intensity=1)
    world.die("b", Shutdown("expected"))
    world.die("b", Shutdown("expected"))
    assert root.reason == SHUTDOWN


def test_the_ladder_climbs_step_by_step_and_a_recovery_starts_it_over(world: World) -> None:
    steps = [
        None,
        lambda: world.journal.append("clear cache"),
        lambda: world.journal.append("reset"),
        ESCALATE,
    ]
    root = trio(world, Ladder(steps))
    world.die("b", Boom("1"))
    world.die("b", Boom("2"))
    assert world.told() == ["stop b", "start b", "stop b", "clear cache", "start b"]
    root.cast(Recovered("b"))
    for n in (1, 2, 3):
        world.die("b", Boom(str(n)))
    assert world.told()[-3:] == ["stop b", "reset", "start b"]
    world.die("b", Boom("4"))
    assert not root.alive


def test_a_step_that_raises_is_a_failed_attempt_and_the_next_goes_on(world: World) -> None:
    def fail() -> None:
        raise Boom("step")

    trio(world, Ladder([fail, None]))
    world.die("b", Boom("x"))
    assert world.told() == ["stop b", "start b"]
    assert [report.context.value for report in world.reports] == ["child_terminated", "start_error"]


def test_the_hook_sees_the_exit_and_the_attempt(world: World) -> None:
    says = Says(Restart(counted=False))
    trio(world, says)
    world.clock.advance(7.0)
    world.die("b", Shutdown("one"))
    world.die("b", NORMAL)
    assert [(exit.id, exit.reason, exit.attempt, exit.uptime) for exit in says.asked] == [
        ("b", Shutdown("one"), 1, 7.0),
        ("b", NORMAL, 2, 0.0),
    ]


def test_a_hook_that_raises_is_reported_and_the_plain_rule_holds(world: World) -> None:
    class Broken(Recovery):
        def decide(self, exit: ChildExit) -> Decision:
            raise Boom("hook")

    root = trio(world, Broken())
    world.die("b", Boom("x"))
    assert world.states(root)["b"] == "running"
    assert [str(report.reason) for report in world.reports] == ["crash: Boom: hook", "crash: Boom: x"]


def test_the_default_is_otps_rule(world: World) -> None:
    root = trio(world, Says(Default()), intensity=1)
    world.die("b", Boom("1"))
    world.die("b", Boom("2"))
    assert not root.alive
