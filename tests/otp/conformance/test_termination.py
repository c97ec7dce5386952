"""Restart types by exit reasons, and the intensity."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.otp import (
    NORMAL,
    ONE_FOR_ALL,
    PERMANENT,
    REST_FOR_ONE,
    SHUTDOWN,
    TEMPORARY,
    TRANSIENT,
    ChildSpec,
    CrashContext,
    RestartType,
    Shutdown,
    Start,
    Strategy,
    Supervisor,
    SupervisorFlags,
)
from tests.otp.helpers import Boom, World

RESTARTED, KEPT, FORGOTTEN = {"a": "running"}, {"a": "terminated"}, {}


@pytest.mark.parametrize("how", [NORMAL, SHUTDOWN, Shutdown("term"), Boom("x")], ids=str)
@pytest.mark.parametrize("restart", [PERMANENT, TRANSIENT, TEMPORARY], ids=lambda one: one.value)
def test_restart_type_by_exit_reason(world: World, restart: RestartType, how: Any) -> None:
    root = world.supervisor(world.spec("a", restart=restart))
    world.die("a", how)
    expected = {
        PERMANENT: RESTARTED,
        TRANSIENT: RESTARTED if isinstance(how, Boom) else KEPT,
        TEMPORARY: FORGOTTEN,
    }
    assert world.states(root) == expected[restart]
    # A permanent child is reported whatever its reason, the others if the end was abnormal.
    reported = isinstance(how, Boom) or restart is PERMANENT
    assert [report.context for report in world.reports] == [CrashContext.CHILD_TERMINATED] * reported


@pytest.mark.parametrize(
    ("restart", "after"), [(PERMANENT, RESTARTED), (TRANSIENT, RESTARTED), (TEMPORARY, FORGOTTEN)]
)
def test_a_killed_child_ended_abnormally(world: World, restart: RestartType, after: dict[str, str]) -> None:
    root = world.supervisor(world.spec("a", restart=restart))
    ref = world.system.whereis("a")
    assert ref is not None
    world.system.kill(ref)
    world.system.settle()
    assert world.states(root) == after


@pytest.mark.parametrize(
    ("strategy", "told"),
    [
        (ONE_FOR_ALL, ["stop b", "stop c", "stop a", "start b", "start c"]),
        (REST_FOR_ONE, ["stop b", "stop c", "start b", "start c"]),
    ],
)
def test_temporary_bystander_is_not_restarted_with_the_others(
    world: World, strategy: Strategy, told: list[str]
) -> None:
    first = TEMPORARY if strategy is ONE_FOR_ALL else PERMANENT
    root = world.supervisor(
        world.spec("a", restart=first), world.spec("b"), world.spec("c"), strategy=strategy
    )
    world.die("b", Boom("x"))
    assert world.told() == told
    assert "a" not in world.states(root) or strategy is REST_FOR_ONE


def test_temporary_bystander_after_the_crashed_child_is_stopped_and_forgotten(world: World) -> None:
    root = world.supervisor(world.spec("a"), world.spec("b", restart=TEMPORARY), strategy=REST_FOR_ONE)
    world.die("a", Boom("x"))
    assert world.told() == ["stop a", "stop b", "start a"]
    assert world.states(root) == {"a": "running"}


def test_a_normal_end_of_a_transient_child_does_not_touch_its_siblings(world: World) -> None:
    world.supervisor(world.spec("a", restart=TRANSIENT), world.spec("b"), strategy=ONE_FOR_ALL)
    world.die("a", NORMAL)
    assert world.told() == ["stop a"]


@pytest.mark.parametrize("intensity", [0, 1, 3])
def test_as_many_restarts_as_the_intensity_allows_and_not_one_more(world: World, intensity: int) -> None:
    root = world.supervisor(world.spec("a"), world.spec("b"), intensity=intensity)
    for n in range(intensity):
        world.die("a", Boom(str(n)))
    assert root.alive
    world.told()
    world.die("a", Boom("last"))
    assert root.reason == SHUTDOWN
    assert world.told() == ["stop a", "stop b"]
    assert world.reports[-1].context is CrashContext.SHUTDOWN


def test_restarts_of_all_children_count_together(world: World) -> None:
    root = world.supervisor(world.spec("a"), world.spec("b"), intensity=1)
    world.die("a", Boom("x"))
    world.die("b", Boom("x"))
    assert not root.alive


def test_restarts_older_than_the_period_are_forgotten(world: World) -> None:
    root = world.supervisor(world.spec("a"), intensity=1, period=5.0)
    for _ in range(5):
        world.die("a", Boom("x"))
        world.clock.advance(5.01)
    assert root.alive


def test_a_restart_exactly_a_period_ago_still_counts(world: World) -> None:
    root = world.supervisor(world.spec("a"), intensity=1, period=5.0)
    world.die("a", Boom("1"))
    world.clock.advance(5.0)
    world.die("a", Boom("2"))
    assert not root.alive


def nested(world: World, restart: RestartType = PERMANENT, **flags: Any) -> ChildSpec:
    """A supervisor s over x, as a child."""
    return ChildSpec("s", Start(Supervisor, SupervisorFlags(**flags), [world.spec("x")]), restart)


def test_escalation_the_parent_restarts_the_supervisor_that_gave_up(world: World) -> None:
    root = world.supervisor(world.spec("a"), nested(world, intensity=1), intensity=1)
    world.die("s/x", Boom("1"))
    assert world.told() == ["stop s/x", "start s/x"]
    world.die("s/x", Boom("2"))
    assert world.told() == ["stop s/x", "start s/x"]
    assert root.alive
    world.die("s/x", Boom("3"))
    assert root.alive


def test_escalation_to_the_top(world: World) -> None:
    root = world.supervisor(world.spec("a"), nested(world, intensity=0), intensity=1)
    world.die("s/x", Boom("1"))
    world.die("s/x", Boom("2"))
    assert root.reason == SHUTDOWN
    assert world.told()[-2:] == ["stop s/x", "stop a"]


def test_a_transient_supervisor_that_gave_up_is_not_restarted(world: World) -> None:
    root = world.supervisor(nested(world, TRANSIENT, intensity=0))
    world.die("s/x", Boom("x"))
    assert world.states(root) == {"s": "terminated"}
