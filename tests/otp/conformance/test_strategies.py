"""The strategies: who is restarted with whom, and what a failing restart does."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.otp import (
    ONE_FOR_ALL,
    ONE_FOR_ONE,
    REST_FOR_ONE,
    SHUTDOWN,
    TRANSIENT,
    ChildSpec,
    DynamicSupervisor,
    Ref,
    Start,
    Strategy,
    Supervisor,
    SupervisorFlags,
    start_child,
    terminate_child,
)
from tests.otp.helpers import SECONDS, Boom, Stubborn, World


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        (ONE_FOR_ONE, ["stop b", "start b"]),
        (REST_FOR_ONE, ["stop b", "stop d", "stop c", "start b", "start c", "start d"]),
        (ONE_FOR_ALL, ["stop b", "stop d", "stop c", "stop a", *(f"start {id}" for id in "abcd")]),
    ],
    ids=lambda one: one.value if isinstance(one, Strategy) else "",
)
def test_strategy(world: World, strategy: Strategy, told: list[str]) -> None:
    world.supervisor(*(world.spec(id) for id in "abcd"), strategy=strategy)
    world.die("b", Boom("x"))
    assert world.told() == told


@pytest.mark.parametrize("strategy", [ONE_FOR_ONE, ONE_FOR_ALL, REST_FOR_ONE])
def test_strategy_escalation(world: World, strategy: Strategy) -> None:
    root = world.supervisor(world.spec("a"), world.spec("b"), strategy=strategy, intensity=0)
    world.die("a", Boom("x"))
    assert root.reason == SHUTDOWN
    assert world.told() == ["stop a", "stop b"]


def test_one_for_one_other_child_is_left_alone(world: World) -> None:
    world.supervisor(world.spec("a"), world.spec("b"))
    sibling = world.system.whereis("b")
    world.die("a", Boom("x"))
    assert world.system.whereis("b") is sibling


def test_rest_for_one_earlier_siblings_are_left_alone(world: World) -> None:
    world.supervisor(*(world.spec(id) for id in "abc"), strategy=REST_FOR_ONE)
    earlier = world.system.whereis("a")
    world.die("b", Boom("x"))
    assert world.system.whereis("a") is earlier


def test_one_for_one_child_fails_restart(world: World) -> None:
    root = world.supervisor(
        world.spec("a", failures=[None, Boom("1"), Boom("2")]), world.spec("b"), intensity=3
    )
    world.die("a", Boom("x"))
    assert world.told() == ["stop a", "fail a", "fail a", "start a"]
    assert root.alive


def test_every_failed_restart_spends_the_intensity(world: World) -> None:
    root = world.supervisor(
        world.spec("a", failures=[None, Boom("1"), Boom("2")]), world.spec("b"), intensity=2
    )
    world.die("a", Boom("x"))
    assert world.told() == ["stop a", "fail a", "fail a", "stop b"]
    assert root.reason == SHUTDOWN


def test_one_for_all_other_child_fails_restart(world: World) -> None:
    specs = [world.spec("a"), world.spec("b", failures=[None, Boom("1")]), world.spec("c")]
    world.supervisor(*specs, strategy=ONE_FOR_ALL, intensity=2)
    world.die("a", Boom("x"))
    assert world.told() == [
        *("stop a", "stop c", "stop b", "start a", "fail b"),
        *("stop a", "start a", "start b", "start c"),
    ]


def test_rest_for_one_other_child_fails_restart(world: World) -> None:
    specs = [world.spec("a"), world.spec("b", failures=[None, Boom("1")]), world.spec("c")]
    world.supervisor(*specs, strategy=REST_FOR_ONE, intensity=2)
    world.die("a", Boom("x"))
    assert world.told() == ["stop a", "stop c", "stop b", "start a", "fail b", "start b", "start c"]


def test_one_for_all_restarts_what_was_terminated_by_hand(world: World) -> None:
    root = world.supervisor(world.spec("a"), world.spec("b"), strategy=ONE_FOR_ALL)
    terminate_child(root, "b", SECONDS)
    world.die("a", Boom("x"))
    assert world.states(root) == {"a": "running", "b": "running"}


def dynamic(world: World, *ids: str, **fields: Any) -> Ref:
    """A dynamic supervisor with these children, and the reference to it."""
    ref = world.system.start(DynamicSupervisor, SupervisorFlags(intensity=1), path="dyn")
    for id in ids:
        start_child(ref, world.spec(id, **fields), SECONDS)
    world.journal.clear()
    return ref


def test_simple_one_for_one(world: World) -> None:
    ref = dynamic(world, "a", "b")
    world.die("dyn/a", Boom("x"))
    assert world.told() == ["stop dyn/a", "start dyn/a"]
    assert world.states(ref) == {"a": "running", "b": "running"}


def test_simple_one_for_one_escalation(world: World) -> None:
    ref = dynamic(world, "a", "b")
    world.die("dyn/a", Boom("1"))
    world.die("dyn/a", Boom("2"))
    assert ref.reason == SHUTDOWN
    assert sorted(world.told()[-2:]) == ["stop dyn/a", "stop dyn/b"]


def test_simple_one_for_one_child_that_ended_for_good_is_forgotten(world: World) -> None:
    ref = dynamic(world, "a", restart=TRANSIENT)
    world.die("dyn/a", SHUTDOWN)
    assert world.states(ref) == {}
    start_child(ref, world.spec("a"), SECONDS)
    terminate_child(ref, "a", SECONDS)
    assert world.states(ref) == {}


def test_simple_one_for_one_shutdown_stops_all_at_once(world: World) -> None:
    ref = dynamic(world, *"abc", actor=Stubborn, shutdown=4.0)
    began = world.clock.monotonic()
    world.system.begin_stop(ref._process, SHUTDOWN, None)
    world.drive()
    assert ref.reason == SHUTDOWN
    assert world.clock.monotonic() - began == 4.0


def test_subtrees_of_a_dynamic_supervisor_stop_within_one_shutdown_time(world: World) -> None:
    ref = world.system.start(DynamicSupervisor, path="dyn")
    for n in range(40):
        specs = [world.spec("session"), world.spec("connection", actor=Stubborn, shutdown=2.0)]
        subtree = ChildSpec(f"i{n}", Start(Supervisor, SupervisorFlags(REST_FOR_ONE), specs))
        start_child(ref, subtree, SECONDS)
    began = world.clock.monotonic()
    world.system.begin_stop(ref._process, SHUTDOWN, None)
    world.drive()
    assert ref.reason == SHUTDOWN
    assert world.clock.monotonic() - began == 2.0
    assert len(world.system.fenced()) == 40
