"""Child administration: start_child, terminate_child, restart_child, delete_child, and asking."""

from __future__ import annotations

from typing import Any

import pytest

from supervisor.otp import (
    NORMAL,
    TEMPORARY,
    TRANSIENT,
    AlreadyPresent,
    AlreadyStarted,
    ChildCounts,
    ChildSpec,
    DynamicSupervisor,
    Hold,
    NotFound,
    NotRestarting,
    NotSupported,
    Recovery,
    Ref,
    Restarting,
    Running,
    Start,
    StartChild,
    StartFailed,
    Supervisor,
    SupervisorFlags,
    TerminateChild,
    UnknownMessage,
    count_children,
    delete_child,
    restart_child,
    restart_now,
    start_child,
    start_from_template,
    terminate_child,
    which_children,
)
from tests.otp.helpers import SECONDS, Boom, Ignored, Worker, World


def test_start_child_answers_with_the_new_child_and_puts_it_last(world: World) -> None:
    root = world.supervisor(world.spec("b"))
    ref = start_child(root, world.spec("a"), SECONDS)
    assert isinstance(ref, Ref)
    assert ref.path == "a"
    assert list(world.states(root)) == ["b", "a"]


def test_start_child_with_an_id_that_is_there(world: World) -> None:
    root = world.supervisor(world.spec("a"))
    with pytest.raises(AlreadyStarted) as started:
        start_child(root, world.spec("a"), SECONDS)
    assert started.value.ref is world.system.whereis("a")
    terminate_child(root, "a", SECONDS)
    with pytest.raises(AlreadyPresent):
        start_child(root, world.spec("a"), SECONDS)


def test_start_child_that_fails_leaves_nothing(world: World) -> None:
    root = world.supervisor()
    with pytest.raises(StartFailed, match="Boom: no"):
        start_child(root, world.spec("a", failures=[Boom("no")]), SECONDS)
    assert world.states(root) == {}
    assert start_child(root, world.spec("a"), SECONDS) is not None


def test_start_child_that_is_ignored_is_kept_unless_it_is_temporary(world: World) -> None:
    root = world.supervisor()
    assert start_child(root, world.spec("a", actor=Ignored), SECONDS) is None
    assert start_child(root, world.spec("t", actor=Ignored, restart=TEMPORARY), SECONDS) is None
    assert world.states(root) == {"a": "terminated"}


def test_terminate_child_keeps_the_spec_unless_it_is_temporary(world: World) -> None:
    root = world.supervisor(world.spec("a"), world.spec("t", restart=TEMPORARY))
    terminate_child(root, "a", SECONDS)
    terminate_child(root, "a", SECONDS)
    terminate_child(root, "t", SECONDS)
    assert world.states(root) == {"a": "terminated"}
    assert world.told() == ["stop a", "stop t"]


def test_a_terminated_child_is_not_restarted_by_itself(world: World) -> None:
    root = world.supervisor(world.spec("a"))
    terminate_child(root, "a", SECONDS)
    assert root.alive
    assert world.told() == ["stop a"]


def test_restart_child(world: World) -> None:
    root = world.supervisor(world.spec("a", failures=[None, Boom("no")]))
    with pytest.raises(Running):
        restart_child(root, "a", SECONDS)
    terminate_child(root, "a", SECONDS)
    with pytest.raises(StartFailed):
        restart_child(root, "a", SECONDS)
    assert world.states(root) == {"a": "terminated"}
    assert restart_child(root, "a", SECONDS) is world.system.whereis("a")


def test_restart_child_of_a_transient_one_that_ended(world: World) -> None:
    root = world.supervisor(world.spec("a", restart=TRANSIENT))
    world.die("a", NORMAL)
    restart_child(root, "a", SECONDS)
    assert world.states(root) == {"a": "running"}


def test_delete_child(world: World) -> None:
    root = world.supervisor(world.spec("a"))
    with pytest.raises(Running):
        delete_child(root, "a", SECONDS)
    terminate_child(root, "a", SECONDS)
    delete_child(root, "a", SECONDS)
    assert world.states(root) == {}


@pytest.mark.parametrize("call", [terminate_child, restart_child, delete_child, restart_now])
def test_a_child_that_is_not_there(world: World, call: Any) -> None:
    with pytest.raises(NotFound, match="'nobody': not found"):
        call(world.supervisor(), "nobody", SECONDS)


def test_a_child_that_waits_for_its_restart(world: World) -> None:
    class Holding(Recovery):
        def decide(self, exit: object) -> Hold:
            return Hold()

    root = world.supervisor(world.spec("a", recovery=Holding()))
    world.die("a", Boom("x"))
    with pytest.raises(Restarting):
        restart_child(root, "a", SECONDS)
    with pytest.raises(AlreadyPresent):
        start_child(root, world.spec("a"), SECONDS)
    terminate_child(root, "a", SECONDS)
    with pytest.raises(NotRestarting):
        restart_now(root, "a", SECONDS)


def test_count_children_and_which_children(world: World) -> None:
    inner = ChildSpec("s", Start(Supervisor))
    root = world.supervisor(world.spec("a"), inner, world.spec("b", actor=Ignored))
    assert count_children(root, SECONDS) == ChildCounts(specs=3, active=2, supervisors=1, workers=2)
    assert [(info.id, info.kind.value) for info in which_children(root, SECONDS)] == [
        ("a", "worker"),
        ("s", "supervisor"),
        ("b", "worker"),
    ]


def test_a_message_that_a_supervisor_does_not_know_changes_nothing(world: World) -> None:
    root = world.supervisor(world.spec("a"))
    with pytest.raises(UnknownMessage, match="root: unknown message str"):
        root.call("hello", SECONDS)
    root.cast("hello")
    assert world.states(root) == {"a": "running"}


def test_administration_by_cast_from_a_child(world: World) -> None:
    root = world.supervisor(world.spec("a"), world.spec("b"))
    root.cast(TerminateChild("b"))
    root.cast(TerminateChild("nobody"))
    root.cast(StartChild(world.spec("c")))
    world.system.settle()
    assert world.states(root) == {"a": "running", "b": "terminated", "c": "running"}


def test_child_adm_simple(world: World) -> None:
    template = ChildSpec("any", Start(Worker, world.journal))
    ref = world.system.start(DynamicSupervisor, SupervisorFlags(), (), template, path="dyn")
    start_from_template(ref, "a", [None, Boom("no")], timeout=SECONDS)
    with pytest.raises(AlreadyStarted):
        start_from_template(ref, "a", timeout=SECONDS)
    for call in (restart_child, delete_child):
        with pytest.raises(NotSupported):
            call(ref, "a", SECONDS)
    assert world.told() == ["start dyn/a"]
    with pytest.raises(StartFailed):
        start_from_template(ref, "b", [Boom("no")], timeout=SECONDS)
    terminate_child(ref, "a", SECONDS)
    with pytest.raises(NotFound):
        terminate_child(ref, "a", SECONDS)


def test_a_supervisor_without_a_template_cannot_start_from_it(world: World) -> None:
    with pytest.raises(NotSupported):
        start_from_template(world.supervisor(), "a", timeout=SECONDS)
