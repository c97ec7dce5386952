"""A whole tree: nested supervisors, what it looks like, what it tells."""

from __future__ import annotations

import threading

from supervisor.otp import (
    NORMAL,
    ONE_FOR_ALL,
    REST_FOR_ONE,
    SHUTDOWN,
    TRANSIENT,
    ChildSpec,
    DynamicSupervisor,
    Lifecycle,
    Notice,
    Ref,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
)
from tests.otp.helpers import SECONDS, Boom, Run, Worker, World


def plant(world: World) -> Ref:
    """root over a, s (over s/x, s/y) and d (over d/z)."""
    inner = Start(Supervisor, SupervisorFlags(ONE_FOR_ALL), [world.spec("x"), world.spec("y")])
    dynamic = Start(DynamicSupervisor, SupervisorFlags(), [world.spec("z")])
    return world.supervisor(
        world.spec("a"), ChildSpec("s", inner), ChildSpec("d", dynamic), strategy=REST_FOR_ONE, intensity=2
    )


def test_tree(world: World) -> None:
    root = plant(world)
    world.die("s/x", Boom("1"))
    assert world.told() == ["stop s/x", "stop s/y", "start s/x", "start s/y"]
    world.die("s/x", Boom("2"))
    assert world.told() == [
        *("stop s/x", "stop s/y", "stop d/z"),
        *("start s/x", "start s/y", "start d/z"),
    ]
    world.die("a", Boom("3"))
    assert world.told() == [
        *("stop a", "stop d/z", "stop s/y", "stop s/x"),
        *("start a", "start s/x", "start s/y", "start d/z"),
    ]
    world.die("a", Boom("4"))
    assert root.reason == SHUTDOWN


def test_names_are_paths(world: World) -> None:
    plant(world)
    for path in ("root", "a", "s", "s/x", "s/y", "d", "d/z"):
        ref = world.system.whereis(path)
        assert ref is not None
        assert ref.path == path


def test_the_tree_can_be_looked_at_without_asking_anyone(system: System) -> None:
    world = World()
    world.system = system
    plant(world)
    gate, busy = threading.Event(), threading.Event()
    blocked = system.whereis("s/x")
    assert blocked is not None
    blocked.cast(Run(lambda _: (busy.set(), gate.wait(SECONDS))))
    assert busy.wait(SECONDS)
    blocked.cast("waits")
    tree = system.tree()
    gate.set()
    assert [(node.path, node.kind, node.state) for node in tree.children] == [
        ("a", "worker", "running"),
        ("s", "supervisor", "running"),
        ("d", "supervisor", "running"),
    ]
    x = tree.children[1].children[0]
    assert (x.path, x.id, x.mailbox, x.restarts, x.last_exit) == ("s/x", "x", 1, 0, None)


def test_the_tree_shows_restarts_last_exit_and_uptime(world: World) -> None:
    plant(world)
    world.clock.advance(3.0)
    world.die("a", Boom("x"))
    world.clock.advance(4.0)
    tree = world.system.tree()
    a = tree.children[0]
    assert (a.state, a.restarts, a.uptime, a.last_exit) == ("running", 1, 4.0, "crash: Boom: x")
    assert tree.uptime == 7.0


def test_lifecycle_notices_tell_each_step_and_can_be_ended(world: World) -> None:
    notices: list[Notice] = []
    end = world.system.subscribe(notices.append)
    root = world.supervisor(world.spec("a"), world.spec("t", restart=TRANSIENT))
    world.die("a", Boom("x"))
    world.die("t", NORMAL)
    assert [(notice.kind, notice.path, notice.restart) for notice in notices] == [
        (Lifecycle.STARTED, "a", False),
        (Lifecycle.STARTED, "t", False),
        (Lifecycle.EXITED, "a", False),
        (Lifecycle.STARTED, "a", True),
        (Lifecycle.EXITED, "t", False),
        (Lifecycle.TERMINATED, "t", False),
    ]
    end()
    world.system.stop(root)
    assert len(notices) == 6


def test_a_failed_restart_is_told_as_restarting(world: World) -> None:
    world.supervisor(world.spec("a", failures=[None, Boom("no")]), intensity=2)
    kinds: list[Lifecycle] = []
    world.system.subscribe(lambda notice: kinds.append(notice.kind))
    world.die("a", Boom("x"))
    assert kinds == [Lifecycle.EXITED, Lifecycle.RESTARTING, Lifecycle.STARTED]


def test_a_subscriber_that_raises_harms_nobody(world: World) -> None:
    def broken(notice: Notice) -> None:
        raise Boom("subscriber")

    world.system.subscribe(broken)
    root = world.supervisor(world.spec("a"))
    assert world.states(root) == {"a": "running"}


def test_several_roots_are_shown_under_one_node(world: World) -> None:
    world.system.start(Worker, path="one")
    world.system.start(Worker, path="two")
    assert [node.path for node in world.system.tree().children] == ["one", "two"]
