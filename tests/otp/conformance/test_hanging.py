"""A child whose restart fails again and again: its supervisor stays responsive and stoppable."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import pytest

from supervisor.otp import (
    REST_FOR_ONE,
    SHUTDOWN,
    Actor,
    AlreadyPresent,
    ChildSpec,
    DynamicSupervisor,
    Ref,
    Restarting,
    Start,
    Strategy,
    Supervisor,
    SupervisorFlags,
    System,
    count_children,
    delete_child,
    restart_child,
    start_child,
    terminate_child,
    which_children,
)
from supervisor.otp.admin import RESTARTING
from tests.otp.helpers import SECONDS, Boom, Worker, wait_until


class OnlyOnce(Actor):
    """Starts once, and never again."""

    def init(self, starts: Iterator[int]) -> None:
        if next(starts) > 0:
            raise Boom("never again")

    def handle_cast(self, message: Any) -> None:
        raise Boom("x")


def looping(system: System, strategy: Strategy | None = None) -> Ref:
    """A supervisor whose child ``loop`` is being restarted without end."""
    spec = ChildSpec("loop", Start(OnlyOnce, itertools.count()))
    flags = SupervisorFlags(strategy or SupervisorFlags().strategy, intensity=10**6)
    if strategy is None:
        root = system.start(DynamicSupervisor, flags, [spec, ChildSpec("b", Start(Worker))])
    else:
        root = system.start(
            Supervisor, flags, [ChildSpec("a", Start(Worker)), spec, ChildSpec("b", Start(Worker))]
        )
    system.cast("loop", "crash")
    wait_until(lambda: shown(root)["loop"] == RESTARTING)
    return root


def shown(root: Ref) -> dict[str, object]:
    """``which_children`` by id."""
    return {info.id: info.ref for info in which_children(root, SECONDS)}


def test_hanging_restart_loop(system: System) -> None:
    root = looping(system, SupervisorFlags().strategy)
    for _ in range(3):
        assert shown(root)["loop"] == RESTARTING
        assert count_children(root, SECONDS).active == 2
    with pytest.raises(Restarting):
        restart_child(root, "loop", SECONDS)
    with pytest.raises(Restarting):
        delete_child(root, "loop", SECONDS)
    with pytest.raises(AlreadyPresent):
        start_child(root, ChildSpec("loop", Start(Worker)), SECONDS)
    assert start_child(root, ChildSpec("c", Start(Worker)), SECONDS) is not None
    terminate_child(root, "loop", SECONDS)
    assert shown(root)["loop"] is None
    assert system.stop(root) == SHUTDOWN


def test_hanging_restart_loop_rest_for_one(system: System) -> None:
    root = looping(system, REST_FOR_ONE)
    children = shown(root)
    assert isinstance(children["a"], Ref)
    assert children["b"] is None
    terminate_child(root, "loop", SECONDS)
    delete_child(root, "loop", SECONDS)
    # As in OTP, those after it stay as they are.
    assert shown(root)["b"] is None
    assert restart_child(root, "b", SECONDS) is not None


def test_hanging_restart_loop_simple(system: System) -> None:
    root = looping(system)
    terminate_child(root, "loop", SECONDS)
    assert list(shown(root)) == ["b"]


def test_a_supervisor_can_be_stopped_while_it_loops(system: System) -> None:
    root = looping(system, REST_FOR_ONE)
    assert system.stop(root, timeout=SECONDS) == SHUTDOWN
    wait_until(lambda: system.threads() <= 1)
