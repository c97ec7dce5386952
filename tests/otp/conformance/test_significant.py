"""Significant children and automatic shutdown."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.otp import (
    ALL_SIGNIFICANT,
    ANY_SIGNIFICANT,
    NORMAL,
    ONE_FOR_ALL,
    PERMANENT,
    SHUTDOWN,
    TEMPORARY,
    TRANSIENT,
    AutoShutdown,
    BadSpec,
    ChildSpec,
    RestartType,
    Start,
    Supervisor,
    SupervisorFlags,
    start_child,
    terminate_child,
)
from tests.otp.helpers import SECONDS, Boom, World


@pytest.mark.parametrize(
    ("restart", "how", "ends"),
    [
        (TRANSIENT, NORMAL, True),
        (TRANSIENT, SHUTDOWN, True),
        (TRANSIENT, Boom("x"), False),
        (TEMPORARY, NORMAL, True),
        (TEMPORARY, Boom("x"), True),
    ],
)
def test_any_significant(world: World, restart: RestartType, how: Any, ends: bool) -> None:
    root = world.supervisor(
        world.spec("a"),
        world.spec("s", restart=restart, significant=True),
        world.spec("t", restart=restart, significant=True),
        auto_shutdown=ANY_SIGNIFICANT,
    )
    world.die("s", how)
    assert root.alive is not ends
    if ends:
        assert root.reason == SHUTDOWN
        assert world.told() == ["stop s", "stop t", "stop a"]


def test_all_significant_ends_with_the_last_of_them(world: World) -> None:
    specs = [world.spec(id, restart=TRANSIENT, significant=True) for id in "stu"]
    root = world.supervisor(world.spec("a"), *specs, auto_shutdown=ALL_SIGNIFICANT)
    world.die("s", NORMAL)
    world.die("t", NORMAL)
    assert root.alive
    world.die("u", NORMAL)
    assert root.reason == SHUTDOWN


@pytest.mark.parametrize("auto", [ANY_SIGNIFICANT, ALL_SIGNIFICANT])
def test_others_do_not_count(world: World, auto: AutoShutdown) -> None:
    root = world.supervisor(
        world.spec("a", restart=TEMPORARY),
        world.spec("s", restart=TRANSIENT, significant=True),
        auto_shutdown=auto,
    )
    world.die("a", NORMAL)
    assert root.alive


@pytest.mark.parametrize("auto", [ANY_SIGNIFICANT, ALL_SIGNIFICANT])
def test_a_significant_child_that_is_terminated_by_hand_ends_nothing(
    world: World, auto: AutoShutdown
) -> None:
    root = world.supervisor(world.spec("s", restart=TRANSIENT, significant=True), auto_shutdown=auto)
    terminate_child(root, "s", SECONDS)
    assert root.alive


def test_a_significant_bystander_of_a_restart_ends_nothing(world: World) -> None:
    root = world.supervisor(
        world.spec("a"),
        world.spec("s", restart=TEMPORARY, significant=True),
        auto_shutdown=ANY_SIGNIFICANT,
        strategy=ONE_FOR_ALL,
    )
    world.die("a", Boom("x"))
    assert world.states(root) == {"a": "running"}


def test_all_significant_counts_those_that_were_terminated_as_ended(world: World) -> None:
    specs = [world.spec(id, restart=TRANSIENT, significant=True) for id in "st"]
    root = world.supervisor(*specs, auto_shutdown=ALL_SIGNIFICANT)
    terminate_child(root, "s", SECONDS)
    world.die("t", NORMAL)
    assert not root.alive


def test_an_automatic_shutdown_climbs_through_significant_supervisors(world: World) -> None:
    flags = SupervisorFlags(auto_shutdown=ANY_SIGNIFICANT)
    inner = [world.spec("w", restart=TRANSIENT, significant=True)]
    middle = ChildSpec("m", Start(Supervisor, flags, inner), TRANSIENT, significant=True)
    root = world.supervisor(world.spec("a"), middle, auto_shutdown=ANY_SIGNIFICANT)
    world.die("m/w", NORMAL)
    assert root.reason == SHUTDOWN


def test_a_significant_child_added_later_must_be_allowed(world: World) -> None:
    spec = world.spec("s", restart=TEMPORARY, significant=True)
    with pytest.raises(BadSpec, match="auto_shutdown is never"):
        start_child(world.supervisor(), spec, SECONDS)
    with pytest.raises(BadSpec, match="permanent"):
        world.spec("s", restart=PERMANENT, significant=True)
