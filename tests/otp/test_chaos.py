"""Many callers, many crashes, on the machine's clock: everyone is answered, and nothing is left."""

from __future__ import annotations

import random
import threading
from collections import Counter

from supervisor.otp import (
    NORMAL,
    ONE_FOR_ALL,
    ActorDown,
    ChildSpec,
    DynamicSupervisor,
    NoSuchActor,
    Shutdown,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
)
from tests.otp.helpers import SECONDS, Boom, Die, Worker, wait_until


def test_every_call_is_answered_while_actors_crash_and_are_killed(system: System) -> None:
    ids = "abcd"
    flags = SupervisorFlags(ONE_FOR_ALL, intensity=10**6)
    root = system.start(Supervisor, flags, [ChildSpec(id, Start(Worker)) for id in ids])
    told: Counter[str] = Counter()

    def client(number: int) -> None:
        dice = random.Random(number)
        mine: Counter[str] = Counter()
        while sum(mine.values()) < 100:
            id = dice.choice(ids)
            kind = dice.choices(["echo", "crash", "exit", "kill", "defer"], [80, 5, 5, 5, 5])[0]
            try:
                if kind == "kill":
                    ref = system.whereis(id)
                    mine["kill"] += ref is not None
                    if ref is not None:
                        system.kill(ref)
                elif kind == "defer":
                    defer_and_crash(system, id)
                else:
                    how = {"echo": "echo", "crash": Die(Boom("x")), "exit": Die(NORMAL)}[kind]
                    system.call(id, how, SECONDS)
                    mine["answered"] += 1
            except ActorDown:
                mine["down"] += 1
            except NoSuchActor:
                threading.Event().wait(0.0005)  # Let it come up.
        told.update(mine)

    clients = [threading.Thread(target=client, args=(number,)) for number in range(6)]
    for thread in clients:
        thread.start()
    for thread in clients:
        thread.join(60)
    # A call that was not answered in time would have ended its client with a CallTimeout.
    assert sum(told.values()) >= 600
    assert told["answered"] > 0
    assert told["down"] > 0
    assert root.alive
    system.shutdown()
    wait_until(lambda: system.threads() == 0)


def defer_and_crash(system: System, id: str) -> None:
    """A call that is never answered, but for the end of the actor."""
    timer = threading.Timer(0.001, lambda: system.cast(id, Die(Shutdown("enough"))))
    timer.start()
    try:
        while True:
            system.call(id, "defer", SECONDS)
    finally:
        timer.join()
        system.cast(id, Die(Shutdown("enough")))


def test_no_thread_is_left_of_trees_that_come_and_go(system: System) -> None:
    before = threading.active_count()
    for number in range(100):
        inner = ChildSpec("s", Start(DynamicSupervisor, SupervisorFlags(), [ChildSpec("x", Start(Worker))]))
        root = system.start(
            Supervisor, SupervisorFlags(), [ChildSpec("a", Start(Worker)), inner], path=f"r{number}"
        )
        if number % 3 == 0:
            system.cast(f"r{number}/s/x", Die(Boom("x")))
        if number % 5 == 0:
            system.kill(root)
        else:
            system.stop(root)
    system.shutdown()
    wait_until(lambda: system.threads() == 0)
    assert threading.active_count() <= before
