"""Actors: calls, casts, timers, monitors, links, and pykka's holes closed."""

from __future__ import annotations

import threading

import pykka
import pytest

from supervisor.otp import (
    KILLED,
    NORMAL,
    SHUTDOWN,
    Actor,
    ActorDown,
    CallingSelf,
    CallTimeout,
    CountChildren,
    Crash,
    Down,
    ExitSignal,
    Fenced,
    InitFailed,
    MailboxFull,
    NameTaken,
    NoSuchActor,
    Ref,
    Refusal,
    Shutdown,
    System,
)
from tests.otp.helpers import SECONDS, Boom, Die, Run, Trapper, Worker, World, wait_until


def test_a_call_returns_what_the_handler_returns(system: System) -> None:
    assert system.start(Worker, path="a").call("hello", SECONDS) == "hello"


def test_a_refusal_goes_to_the_caller_and_the_actor_lives(system: System) -> None:
    class Full(Refusal):
        pass

    def refuse(_: Worker) -> None:
        raise Full("no room")

    ref = system.start(Worker, path="a")
    with pytest.raises(Full):
        ref.call(Run(refuse), SECONDS)
    assert ref.call("still here", SECONDS) == "still here"


@pytest.mark.parametrize("bug", [Boom("x"), SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_any_other_exception_ends_that_actor_alone_and_answers_its_caller(
    world: World, bug: BaseException
) -> None:
    one, other = world.system.start(Worker, path="one"), world.system.start(Worker, path="other")
    with pytest.raises(ActorDown) as down:
        one.call(Die(bug), SECONDS)
    assert isinstance(down.value.reason, Crash)
    assert down.value.reason.exception is bug
    assert "Worker._obey" in down.value.reason.traceback
    world.system.settle()
    assert not one.alive
    assert other.call("fine", SECONDS) == "fine"
    assert [report.path for report in world.reports] == ["one"]


def test_an_exception_under_a_cast_ends_the_actor(world: World) -> None:
    ref = world.system.start(Worker, path="a")
    world.die("a", Boom("x"))
    assert isinstance(ref.reason, Crash)


def test_a_failing_init_is_a_failed_start(system: System) -> None:
    with pytest.raises(InitFailed) as failed:
        system.start(Worker, None, [Boom("no")], path="a")
    assert isinstance(failed.value.reason, Crash)
    assert system.whereis("a") is None


def test_an_init_that_takes_too_long_is_killed(world: World) -> None:
    gate, begun = threading.Event(), threading.Event()

    class Slow(Actor):
        init_timeout = 3.0

        def init(self) -> None:
            begun.set()
            gate.wait(SECONDS)

    failures: list[InitFailed] = []

    def start() -> None:
        try:
            world.system.start(Slow, path="slow")
        except InitFailed as failed:
            failures.append(failed)

    thread = threading.Thread(target=start)
    thread.start()
    assert begun.wait(SECONDS)
    wait_until(lambda: world.system.timers.next_due() is not None)
    world.clock.advance(3.0, settle=False)
    thread.join(SECONDS)
    assert failures[0].reason == KILLED
    assert [fenced.path for fenced in world.system.fenced()] == ["slow"]
    gate.set()
    wait_until(lambda: not world.system.fenced())


def test_everyone_who_waits_is_answered_when_the_actor_dies(system: System) -> None:
    ref = system.start(Worker, path="a")
    gate, busy = threading.Event(), threading.Event()

    def hold(actor: Worker) -> None:
        busy.set()
        gate.wait(SECONDS)
        actor.exit(Shutdown("done"))

    errors: list[ActorDown] = []

    def ask(message: object) -> None:
        try:
            ref.call(message, SECONDS)
        except ActorDown as down:
            errors.append(down)

    threads = [threading.Thread(target=ask, args=("defer",))]
    threads[0].start()
    wait_until(lambda: ref.call(Run(lambda actor: hasattr(actor, "deferred")), SECONDS))
    ref.cast(Run(hold))
    assert busy.wait(SECONDS)
    threads += [threading.Thread(target=ask, args=(n,)) for n in range(5)]
    for thread in threads[1:]:
        thread.start()
    wait_until(lambda: ref.mailbox_length == 5)
    gate.set()
    for thread in threads:
        thread.join(SECONDS)
    assert [error.reason for error in errors] == [Shutdown("done")] * 6


def test_a_deferred_answer_comes_from_any_thread(system: System) -> None:
    ref = system.start(Worker, path="a")
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(ref.call("defer", SECONDS)))
    thread.start()
    wait_until(lambda: ref.call(Run(lambda actor: hasattr(actor, "deferred")), SECONDS))
    ref.call(Run(lambda actor: actor.deferred), SECONDS).reply("from here")
    thread.join(SECONDS)
    assert answers == ["from here"]


def test_a_call_out_of_time_says_whether_it_was_begun(system: System) -> None:
    ref = system.start(Worker, path="a")
    gate = threading.Event()
    with pytest.raises(CallTimeout) as running:
        ref.call(Run(lambda _: gate.wait(SECONDS)), 0.05)
    with pytest.raises(CallTimeout) as queued:
        ref.call("x", 0.05)
    gate.set()
    assert (running.value.phase, queued.value.phase) == ("running", "queued")


def test_a_call_to_the_dead_says_why_it_died(world: World) -> None:
    ref = world.system.start(Worker, path="a")
    world.die("a", Shutdown("gone"))
    with pytest.raises(ActorDown, match="gone"):
        ref.call("x", SECONDS)
    assert ref.cast("x") is False
    with pytest.raises(NoSuchActor, match="a: no such actor"):
        world.system.call("a", "x", SECONDS)
    assert world.system.cast("a", "x") is False


def test_an_actor_cannot_call_itself(system: System) -> None:
    ref = system.start(Worker, path="a")
    with pytest.raises(ActorDown) as down:
        ref.call(Run(lambda actor: actor.ref.call("x", 1.0)), SECONDS)
    assert isinstance(down.value.reason, Crash)
    assert isinstance(down.value.reason.exception, CallingSelf)


def test_a_name_belongs_to_one_living_actor(world: World) -> None:
    ref = world.system.start(Worker, path="a")
    assert world.system.whereis("a") is ref
    with pytest.raises(NameTaken):
        world.system.start(Worker, path="a")
    world.die("a", NORMAL)
    assert world.system.start(Worker, path="a") != ref


class Small(Worker):
    mailbox_limit = 2


class Lossy(Small):
    mailbox_overflow = "drop"


def stuff(system: System, actor: type[Worker]) -> tuple[Ref, threading.Event]:
    """An actor of this class, busy, with a full mailbox."""
    ref = system.start(actor, path="a")
    gate, busy = threading.Event(), threading.Event()
    ref.cast(Run(lambda _: (busy.set(), gate.wait(SECONDS))))
    assert busy.wait(SECONDS)
    ref.cast(1)
    ref.cast(2)
    return ref, gate


def test_a_full_mailbox_refuses_calls_and_casts(system: System) -> None:
    ref, gate = stuff(system, Small)
    with pytest.raises(MailboxFull, match="2 messages"):
        ref.cast(3)
    with pytest.raises(MailboxFull):
        ref.call(3, SECONDS)
    gate.set()
    wait_until(lambda: ref.mailbox_length == 0)
    assert ref.call(4, SECONDS) == 4


def test_a_full_mailbox_drops_and_counts_casts_if_its_class_says_so(system: System) -> None:
    ref, gate = stuff(system, Lossy)
    assert ref.cast(3) is False
    assert ref.dropped == 1
    with pytest.raises(MailboxFull):
        ref.call(3, SECONDS)
    gate.set()


def test_a_timer_delivers_when_its_time_has_come(world: World) -> None:
    ref = world.system.start(Worker, path="a")
    ref.call(
        Run(lambda actor: [actor.send_after(delay, delay) for delay in (3.0, 1.0, 2.0)] and None), SECONDS
    )
    world.clock.advance(2.5)
    assert ref.call(Run(lambda actor: actor.infos), SECONDS) == [1.0, 2.0]


def test_a_timer_that_rearms_itself_fires_again_within_one_advance(world: World) -> None:
    class Ticker(Actor):
        def init(self) -> None:
            self.ticks: list[float] = []
            self.send_after(1.0, "tick")

        def handle_info(self, message: object) -> None:
            self.ticks.append(self.clock.monotonic())
            self.send_after(1.0, "tick")

        def handle_call(self, message: object, caller: object) -> list[float]:
            return self.ticks

    ref = world.system.start(Ticker, path="a")
    world.clock.advance(4.0)
    assert ref.call("?", SECONDS) == [1.0, 2.0, 3.0, 4.0]


def test_a_cancelled_timer_does_not_deliver_even_when_it_was_queued(world: World) -> None:
    ref = world.system.start(Worker, path="a")
    timer = ref.call(Run(lambda actor: actor.send_after(1.0, "late")), SECONDS)
    gate, busy = threading.Event(), threading.Event()
    ref.cast(Run(lambda _: (busy.set(), gate.wait(SECONDS), timer.cancel())))
    assert busy.wait(SECONDS)
    world.clock.advance(1.0, settle=False)
    assert ref.mailbox_length == 1
    gate.set()
    assert ref.call(Run(lambda actor: actor.infos), SECONDS) == []


def test_timers_of_an_ended_actor_are_gone(world: World) -> None:
    ref = world.system.start(Worker, path="a")
    ref.call(Run(lambda actor: actor.send_after(1.0, "x") and None), SECONDS)
    world.die("a", NORMAL)
    assert world.system.timers.next_due() is None


def test_a_monitor_tells_once_why_the_other_ended(world: World) -> None:
    watcher, target = world.system.start(Worker, path="w"), world.system.start(Worker, path="t")
    monitor = watcher.call(Run(lambda actor: actor.monitor(target)), SECONDS)
    world.die("t", Shutdown(7))
    assert watcher.call(Run(lambda actor: actor.infos), SECONDS) == [Down(monitor, target, "t", Shutdown(7))]


def test_a_monitor_on_the_dead_tells_at_once(world: World) -> None:
    watcher, target = world.system.start(Worker, path="w"), world.system.start(Worker, path="t")
    world.die("t", NORMAL)
    watcher.call(Run(lambda actor: actor.monitor(target) and None), SECONDS)
    (down,) = watcher.call(Run(lambda actor: actor.infos), SECONDS)
    assert down.reason == NORMAL


def test_a_watcher_that_ended_leaves_nothing_with_the_watched(world: World) -> None:
    target = world.system.start(Worker, path="t")
    for _ in range(3):
        watcher = world.system.start(Worker, path="w")
        watcher.call(Run(lambda actor: actor.monitor(target) and None), SECONDS)
        world.die("w", NORMAL)
    assert not target._process._watchers


def test_an_actor_that_ended_expects_nothing_any_more(world: World) -> None:
    other = world.system.start(Worker, path="o")
    actors: list[Worker] = []
    world.system.start(Worker, path="a").call(Run(actors.append), SECONDS)
    world.die("a", NORMAL)
    for expect in (lambda: actors[0].send_after(1.0, "x"), lambda: actors[0].monitor(other)):
        with pytest.raises(Fenced):
            expect()
    assert world.system.timers.next_due() is None
    assert not other._process._watchers


def test_after_demonitor_nothing_is_delivered(world: World) -> None:
    watcher, target = world.system.start(Worker, path="w"), world.system.start(Worker, path="t")

    def watch_and_forget(actor: Worker) -> None:
        monitor = actor.monitor(target)
        target.cast(Die(NORMAL))
        wait_until(lambda: not target.alive and actor.ref.mailbox_length == 1)
        actor.demonitor(monitor)

    watcher.call(Run(watch_and_forget), SECONDS)
    world.system.settle()
    assert watcher.call(Run(lambda actor: actor.infos), SECONDS) == []


def test_a_linked_actor_dies_of_an_abnormal_end_but_not_of_a_normal_one(world: World) -> None:
    for how, survives in ((NORMAL, True), (Shutdown("x"), False), (Boom("x"), False)):
        one, two = world.system.start(Worker, path="one"), world.system.start(Worker, path="two")
        one.call(Run(lambda actor, two=two: actor.link(two)), SECONDS)
        world.die("two", how)
        assert one.alive is survives
        assert survives or one.reason == two.reason
        world.system.stop(one)


def test_an_actor_that_traps_exits_gets_a_message_instead(world: World) -> None:
    one, two = world.system.start(Trapper, path="one"), world.system.start(Worker, path="two")
    one.call(Run(lambda actor: actor.link(two)), SECONDS)
    world.die("two", Shutdown("x"))
    assert one.call(Run(lambda actor: actor.infos), SECONDS) == [ExitSignal(two, "two", Shutdown("x"))]


def test_an_exit_signal_overtakes_what_is_queued_unless_exits_are_trapped(world: World) -> None:
    for actor_class, handled in ((Worker, []), (Trapper, [1, 2])):
        seen: list[int] = []
        ref = world.system.start(actor_class, path="a")
        gate, busy = threading.Event(), threading.Event()
        ref.cast(Run(lambda _, busy=busy, gate=gate: (busy.set(), gate.wait(SECONDS))))
        assert busy.wait(SECONDS)
        for n in (1, 2):
            ref.cast(Run(lambda _, seen=seen, n=n: seen.append(n)))
        stop = world.system.begin_stop(ref._process, SHUTDOWN, SECONDS)
        gate.set()
        assert stop.finish() == SHUTDOWN
        assert seen == handled


def test_a_killed_actor_is_fenced_until_its_thread_comes_back(system: System) -> None:
    ref, other = system.start(Worker, path="a"), system.start(Worker, path="b")
    gate, busy, refused = threading.Event(), threading.Event(), []

    def hang(actor: Worker) -> None:
        busy.set()
        gate.wait(SECONDS)
        for send in (
            lambda: other.cast("late"),
            lambda: other.call("late", SECONDS),
            lambda: actor.system.cast("b", "late"),
            lambda: actor.send_after(1.0, "late"),
            lambda: actor.monitor(other),
            lambda: actor.link(other),
            lambda: actor.system.start(Worker, path="c"),
        ):
            with pytest.raises(Fenced):
                send()
            refused.append(send)
        assert actor.fenced

    ref.cast(Run(hang))
    assert busy.wait(SECONDS)
    assert system.stop(ref, timeout=0.05) == KILLED
    assert [fenced.path for fenced in system.fenced()] == ["a"]
    assert system.whereis("a") is None
    assert system.start(Worker, path="a").call("new", SECONDS) == "new"
    gate.set()
    wait_until(lambda: not system.fenced())
    assert len(refused) == 7
    assert other.call("alive", SECONDS) == "alive"


def test_a_late_answer_of_a_killed_actor_reaches_nobody(system: System) -> None:
    ref = system.start(Worker, path="a")
    gate, busy, errors = threading.Event(), threading.Event(), []

    def ask() -> None:
        try:
            ref.call(Run(lambda _: (busy.set(), gate.wait(SECONDS), "late")), SECONDS)
        except ActorDown as down:
            errors.append(down.reason)

    thread = threading.Thread(target=ask)
    thread.start()
    assert busy.wait(SECONDS)
    system.stop(ref, timeout=0.01)
    thread.join(SECONDS)
    gate.set()
    assert errors == [KILLED]


def test_threads_are_named_by_path(system: System) -> None:
    ref = system.start(Worker, path="x/y")
    assert ref.call(Run(lambda _: threading.current_thread().name), SECONDS) == "x/y"


def test_pykkas_own_ways_still_work_and_other_actors_are_left_alone(system: System) -> None:
    ref = system.start(Worker, path="a")
    assert ref.ask("hello", timeout=SECONDS) == "hello"
    ref.tell("hello")
    pykka.ActorRegistry.stop_all()
    assert ref.alive
    assert ref.stop() is True
    wait_until(lambda: ref.reason == NORMAL)
    with pytest.raises(TypeError, match=r"System\.start"):
        Worker.start()


def test_a_request_answers_later_and_waits_for_nobody(world: World) -> None:
    answers: list[tuple[object, BaseException | None]] = []
    ref = world.system.start(Worker, path="a")
    ref.request("hello", lambda value, error: answers.append((value, error)))
    ref.request("defer", lambda value, error: answers.append((value, error)))
    world.die("a", Shutdown("gone"))
    ref.request("late", lambda value, error: answers.append((value, error)))
    assert answers[0] == ("hello", None)
    assert [(value, str(error)) for value, error in answers[1:]] == [(None, "a: down: shutdown('gone')")] * 2


def test_a_child_asks_its_own_supervisor_by_a_request(world: World) -> None:
    root = world.supervisor(world.spec("a"), world.spec("b"))
    counts: list[object] = []
    child = world.system.whereis("a")
    assert child is not None
    child.cast(Run(lambda _: root.request(CountChildren(), lambda value, _: counts.append(value.active))))
    world.system.settle()
    assert counts == [2]
