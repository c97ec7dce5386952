"""Starting and stopping supervisors."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from supervisor.otp import (
    BRUTAL_KILL,
    IGNORE,
    INFINITY,
    KILLED,
    SHUTDOWN,
    TEMPORARY,
    Actor,
    BadSpec,
    ChildSpec,
    Crash,
    CrashContext,
    FailedToStart,
    InitFailed,
    Shutdown,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
    which_children,
)
from tests.otp.helpers import SECONDS, Boom, Ignored, Run, Stubborn, Worker, World, wait_until


def test_sup_start_normal(world: World) -> None:
    root = world.system.start(Supervisor, SupervisorFlags(), [world.spec("a"), world.spec("b")])
    assert world.told() == ["start a", "start b"]
    assert [info.id for info in which_children(root, SECONDS)] == ["a", "b"]


def test_sup_start_waits_for_each_init_before_the_next(world: World) -> None:
    class Slow(Worker):
        def init(self, journal: list[str], *_: object) -> None:
            journal.append(f"begin {self.path}")
            threading.Event().wait(0.02)
            super().init(journal)

    world.system.start(Supervisor, SupervisorFlags(), [world.spec(id, actor=Slow) for id in "ab"])
    assert world.told() == ["begin a", "start a", "begin b", "start b"]


def test_sup_start_ignore_init(world: World) -> None:
    class Nothing(Supervisor):
        def init(self, *_: object) -> object:
            return IGNORE

    root = world.supervisor(ChildSpec("s", Start(Nothing)), ChildSpec("t", Start(Nothing), TEMPORARY))
    assert world.states(root) == {"s": "terminated"}


def test_sup_start_ignore_child(world: World) -> None:
    root = world.supervisor(world.spec("a", actor=Ignored), world.spec("b"))
    assert world.states(root) == {"a": "terminated", "b": "running"}


def test_sup_start_ignore_temporary_child(world: World) -> None:
    root = world.supervisor(world.spec("a", actor=Ignored, restart=TEMPORARY), world.spec("b"))
    assert world.states(root) == {"b": "running"}


def test_sup_start_error_return(world: World) -> None:
    class Broken(Supervisor):
        def init(self) -> object:
            raise Boom("no flags")

    with pytest.raises(InitFailed) as failed:
        world.system.start(Broken)
    assert isinstance(failed.value.reason, Crash)


def test_sup_start_fail_takes_the_started_ones_back(world: World) -> None:
    specs = [world.spec("a"), world.spec("b"), world.spec("c", failures=[Boom("no")]), world.spec("d")]
    with pytest.raises(InitFailed) as failed:
        world.system.start(Supervisor, SupervisorFlags(), specs)
    assert world.told() == ["start a", "start b", "fail c", "stop b", "stop a"]
    reason = failed.value.reason
    assert isinstance(reason, Shutdown)
    assert isinstance(reason.term, FailedToStart)
    assert reason.term.id == "c"
    assert isinstance(reason.term.reason, Crash)
    assert [(report.path, report.context) for report in world.reports][:1] == [
        ("c", CrashContext.START_ERROR)
    ]


def test_sup_start_fail_of_a_nested_supervisor_fails_all(world: World) -> None:
    inner = ChildSpec("s", Start(Supervisor, SupervisorFlags(), [world.spec("x", failures=[Boom("no")])]))
    with pytest.raises(InitFailed):
        world.system.start(Supervisor, SupervisorFlags(), [world.spec("a"), inner])
    assert world.told() == ["start a", "fail s/x", "stop a"]


def test_sup_stop_in_reverse_order(world: World) -> None:
    root = world.supervisor(*(world.spec(id) for id in "abc"))
    world.system.stop(root)
    assert world.told() == ["stop c", "stop b", "stop a"]
    assert root.reason == SHUTDOWN


def test_sup_stop_infinity(system: System) -> None:
    gate = threading.Event()

    class Slow(Worker):
        def terminate(self, reason: object) -> None:
            gate.wait(SECONDS)

    root = system.start(Supervisor, None, [ChildSpec("a", Start(Slow), shutdown=INFINITY)])
    child = system.whereis("a")
    assert child is not None
    stop = system.begin_stop(root._process, SHUTDOWN, None)
    gate.set()
    assert stop.finish() == SHUTDOWN
    assert child.reason == SHUTDOWN


def test_sup_stop_timeout_kills_the_child_that_missed_its_time(world: World) -> None:
    root = world.supervisor(world.spec("a"), world.spec("b", actor=Stubborn, shutdown=3.0))
    stubborn = world.system.whereis("b")
    assert stubborn is not None
    world.system.begin_stop(root._process, SHUTDOWN, None)
    world.clock.advance(2.9)
    assert root.alive
    assert stubborn.alive
    world.clock.advance(0.1)
    assert stubborn.reason == KILLED
    assert root.reason == SHUTDOWN
    assert world.told() == ["stop b", "stop a"]
    assert [(r.path, r.context) for r in world.reports] == [("b", CrashContext.SHUTDOWN_ERROR)]
    assert [fenced.path for fenced in world.system.fenced()] == ["b"]


def test_sup_stop_brutal_kill(world: World) -> None:
    root = world.supervisor(world.spec("a", shutdown=BRUTAL_KILL))
    child = world.system.whereis("a")
    assert child is not None
    world.system.stop(root)
    assert child.reason == KILLED
    assert world.told() == []
    assert world.reports == []


def test_a_supervisor_that_is_starting_a_child_which_hangs_can_be_stopped(system: System) -> None:
    gate, hanging = threading.Event(), threading.Event()

    class Hangs(Actor):
        def init(self, starts: list[int]) -> None:
            starts.append(1)
            if len(starts) > 1:
                hanging.set()
                gate.wait(SECONDS)

        def handle_cast(self, message: object) -> None:
            raise Boom("x")

    spec = ChildSpec("h", Start(Hangs, []), shutdown=0.05)
    inner = ChildSpec("s", Start(Supervisor, SupervisorFlags(), [spec]))
    root = system.start(Supervisor, SupervisorFlags(), [inner])
    system.cast("s/h", "crash")
    assert hanging.wait(SECONDS)
    assert system.stop(root, timeout=SECONDS) == SHUTDOWN
    assert [fenced.path for fenced in system.fenced()] == ["s/h"]
    gate.set()
    wait_until(lambda: system.threads() <= 1)


def test_children_of_a_killed_supervisor_end_and_its_successor_has_their_names(world: World) -> None:
    specs = [world.spec("a"), world.spec("b", actor=Stubborn)]
    world.supervisor(ChildSpec("s", Start(Supervisor, SupervisorFlags(), specs)))
    old = [world.system.whereis("s/a"), world.system.whereis("s/b")]
    supervisor = world.system.whereis("s")
    assert supervisor is not None
    world.system.kill(supervisor)
    world.system.settle()
    assert [ref.reason for ref in old if ref] == [KILLED, None]
    new = [world.system.whereis("s/a"), world.system.whereis("s/b")]
    assert all(ref is not None and ref.alive and ref not in old for ref in new)
    assert {"stop s/a", "stop s/b"} < set(world.told())


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda spec: SupervisorFlags(intensity=-1), "intensity: -1"),
        (lambda spec: SupervisorFlags(intensity=True), "intensity: True"),
        (lambda spec: SupervisorFlags(period=0), "period: 0"),
        (lambda spec: SupervisorFlags(period=float("nan")), "period: nan"),
        (lambda spec: SupervisorFlags("one_for_one"), "strategy: 'one_for_one'"),  # type: ignore[arg-type]
        (lambda spec: SupervisorFlags(auto_shutdown="any"), "auto_shutdown: 'any'"),  # type: ignore[arg-type]
        (lambda spec: spec(""), "id: ''"),
        (lambda spec: spec("a/b"), "id: 'a/b'"),
        (lambda spec: spec(3), "id: 3"),
        (lambda spec: spec("a", restart="permanent"), "restart: 'permanent'"),
        (lambda spec: spec("a", shutdown=-1), "shutdown: -1"),
        (lambda spec: spec("a", shutdown=float("inf")), "shutdown: inf"),
        (lambda spec: spec("a", shutdown=None, kind="worker"), "kind: 'worker'"),
        (lambda spec: spec("a", significant=True), "significant: True"),
        (lambda spec: spec("a", restart=TEMPORARY, significant=1), "significant: 1"),
        (lambda spec: spec("a", recovery=3), "recovery: 3"),
        (lambda spec: ChildSpec("a", Worker), "start: "),  # type: ignore[arg-type]
        (lambda spec: Start(str), "start: "),  # type: ignore[arg-type]
    ],
)
def test_sup_flags_and_child_specs_that_are_wrong_are_refused(world: World, make: Any, text: str) -> None:
    with pytest.raises(BadSpec) as refused:
        make(world.spec)
    assert str(refused.value).startswith(text)
    assert "allowed: " in str(refused.value)


def test_child_specs_with_the_same_id_are_refused(world: World) -> None:
    with pytest.raises(InitFailed, match="an id that no sibling has"):
        world.system.start(Supervisor, SupervisorFlags(), [world.spec("a"), world.spec("a")])
    assert world.told() == []


def test_a_significant_child_needs_a_supervisor_that_cares(world: World) -> None:
    with pytest.raises(InitFailed, match="auto_shutdown is never"):
        world.system.start(
            Supervisor, SupervisorFlags(), [world.spec("a", restart=TEMPORARY, significant=True)]
        )


def test_defaults_are_otps(world: World) -> None:
    worker = world.spec("a")
    supervisor = ChildSpec("s", Start(Supervisor))
    assert (worker.restart.value, worker.shutdown, worker.kind.value) == ("permanent", 5.0, "worker")
    assert (supervisor.shutdown, supervisor.kind.value) == (INFINITY, "supervisor")
    flags = SupervisorFlags()
    assert (flags.strategy.value, flags.intensity, flags.period) == ("one_for_one", 1, 5.0)
    assert flags.auto_shutdown.value == "never"


def test_arguments_of_a_start_are_not_shown(world: World) -> None:
    assert "secret" not in repr(ChildSpec("a", Start(Worker, "secret", password="secret")))


def test_a_crash_while_stopping_is_reported_as_a_shutdown_error(world: World) -> None:
    class Clumsy(Worker):
        def terminate(self, reason: object) -> None:
            raise Boom("in terminate")

    root = world.supervisor(world.spec("a", actor=Clumsy))
    world.system.stop(root)
    assert root.reason == SHUTDOWN
    assert [(str(r.reason), r.context) for r in world.reports] == [
        ("crash: Boom: in terminate", CrashContext.SHUTDOWN_ERROR)
    ]


def test_an_actor_reports_its_crash_with_path_traceback_mailbox_and_last_message(world: World) -> None:
    world.supervisor(world.spec("a"), intensity=3)
    ref = world.system.whereis("a")
    assert ref is not None

    def crash_with_mail(actor: Worker) -> None:
        actor.ref.cast("one")
        actor.ref.cast("two")
        raise Boom("x")

    ref.cast(Run(crash_with_mail))
    world.system.settle()
    (report,) = world.reports
    assert (report.path, report.context) == ("a", CrashContext.CHILD_TERMINATED)
    assert (report.mailbox_length, report.last_message) == (2, "Run")
    assert (report.restarts, report.intensity) == (0, 3)
    assert "crash_with_mail" in report.traceback
    assert report.traceback.endswith("Boom: x\n")
    assert report.at == world.clock.wall()
