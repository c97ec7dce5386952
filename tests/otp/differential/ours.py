"""Runs a scenario on this library and tells what happened, in the oracle's words."""

from __future__ import annotations

import logging
import threading
from collections import Counter
from typing import Any

from pykka._envelope import Envelope

from supervisor.otp import (
    BRUTAL_KILL,
    IGNORE,
    INFINITY,
    KILLED,
    NORMAL,
    SHUTDOWN,
    Actor,
    AdminError,
    AlreadyPresent,
    AlreadyStarted,
    AutoShutdown,
    BadSpec,
    Caller,
    ChildSpec,
    Crash,
    DeleteChild,
    DynamicSupervisor,
    ExitReason,
    FailedToStart,
    InitFailed,
    ManualClock,
    NotFound,
    NotSupported,
    Ref,
    RestartChild,
    Restarting,
    RestartType,
    Running,
    Shutdown,
    Start,
    StartChild,
    StartFailed,
    StartFromTemplate,
    Strategy,
    Supervisor,
    SupervisorFlags,
    System,
    TerminateChild,
    count_children,
    which_children,
)

PERIOD = 3600.0
SECONDS = 10.0

ANSWERS: dict[type[Exception], str] = {
    AlreadyStarted: "already_started",
    AlreadyPresent: "already_present",
    Running: "running",
    Restarting: "restarting",
    NotFound: "not_found",
    NotSupported: "simple_one_for_one",
    StartFailed: "start_failed",
    BadSpec: "bad_spec",
}

REASONS: dict[str, ExitReason] = {"normal": NORMAL, "shutdown": SHUTDOWN, "shutdown_term": Shutdown("term")}

logging.getLogger("zapvisor.otp").setLevel(logging.CRITICAL)


class Boom(Exception):
    """The crash of a scenario."""


class Run:
    """One scenario being run."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.system = System(self.clock)
        self.events: list[list[str]] = []
        self.starts: Counter[str] = Counter()
        self.refs: dict[str, Ref] = {}
        self.root: Ref | None = None
        self.root_reason: ExitReason | None = None
        self.root_id = ""
        self.never = Caller()

    def outcome(self, id: str, plan: list[str]) -> str:
        """What this start of ``id`` does."""
        self.starts[id] += 1
        return plan[self.starts[id] - 1] if self.starts[id] <= len(plan) else "ok"

    def begin(self, id: str, plan: list[str], actor: Actor) -> bool:
        """Whether this start goes on; False to ignore it."""
        outcome = self.outcome(id, plan)
        self.events.append([{"ok": "start"}.get(outcome, outcome), id])
        if outcome == "fail":
            raise Boom("failing")
        if outcome == "ok":
            self.refs[id] = actor.ref
        return outcome == "ok"

    def drive(self) -> None:
        """Let happen what happens, and the clock run to each time limit that someone waits for."""
        while True:
            self.system.settle()
            due = self.system.timers.next_due()
            if due is None:
                return
            self.clock.advance(due - self.clock.monotonic())

    def call(self, ref: Ref, message: object) -> str:
        """Call a supervisor, driving while it is busy: the answer in the oracle's words."""
        caller = Caller()
        ref._process.mailbox.put(Envelope(message, caller))
        self.drive()
        try:
            value = caller.result()
        except (AdminError, StartFailed, BadSpec) as error:
            return ANSWERS[type(error)]
        return (
            "ok_undefined"
            if value is None and not isinstance(message, TerminateChild | DeleteChild)
            else "ok"
        )

    def alive(self, id: str) -> Ref | None:
        """The running actor of that id."""
        ref = self.refs.get(id)
        return ref if ref is not None and ref.alive else None


class Plain(Actor):
    """A worker that does not trap exits."""

    def init(self, run: Run, stubborn: bool, id: str, plan: list[str]) -> object:
        self.run = run
        self.id = id
        self.stubborn = stubborn
        return None if run.begin(id, plan, self) else IGNORE

    def handle_cast(self, message: Any) -> None:
        self.stubborn = False
        if message == "crash":
            raise Boom("boom")
        self.exit(REASONS[message])

    def terminate(self, reason: ExitReason) -> None:
        self.run.events.append(["stop", self.id, told(reason)])
        if self.stubborn:
            self.system.wait(self.run.never, None)


class Trapping(Plain):
    """A worker that traps exits: nobody must see a difference."""

    trap_exit = True


class Hold:
    """Keeps a supervisor from looking at its mailbox."""

    def __init__(self, until: Caller) -> None:
        self.until = until


class StaticSupervisor(Supervisor):
    """A supervisor as a scenario describes it."""

    def init(self, run: Run, node: Any) -> object:
        _, id, plan, strategy, intensity, auto, children = node
        if not run.begin(id, plan, self):
            return IGNORE
        flags = SupervisorFlags(Strategy(strategy), intensity, PERIOD, AutoShutdown(auto))
        return super().init(flags, [spec(run, child) for child in children])

    def handle_cast(self, message: Any) -> None:
        if isinstance(message, Hold):
            self.system.wait(message.until, None)
        else:
            super().handle_cast(message)


class TemplateSupervisor(DynamicSupervisor):
    """A dynamic supervisor as a scenario describes it."""

    def init(self, run: Run, node: Any) -> object:
        _, id, plan, intensity, auto, (restart, shutdown, significant, stubborn) = node
        if not run.begin(id, plan, self):
            return IGNORE
        flags = SupervisorFlags(intensity=intensity, period=PERIOD, auto_shutdown=AutoShutdown(auto))
        start = Start(worker_class(id), run, stubborn)
        template = ChildSpec("template", start, RestartType(restart), limit(shutdown), None, significant)
        return super().init(flags, (), template)


def spec(run: Run, child: Any) -> ChildSpec:
    """A child spec as a scenario describes it."""
    node, restart, shutdown, significant = child
    match node[0]:
        case "worker":
            _, id, plan, stubborn = node
            start = Start(worker_class(id), run, stubborn, id, plan)
        case "sup":
            start = Start(StaticSupervisor, run, node)
        case _:
            start = Start(TemplateSupervisor, run, node)
    return ChildSpec(node[1], start, RestartType(restart), limit(shutdown), None, significant)


def worker_class(id: str) -> type[Plain]:
    """Half of the workers trap exits."""
    return Trapping if ord(id[-1]) % 2 else Plain


def limit(shutdown: Any) -> Any:
    """A shutdown time as we say it."""
    return {"brutal_kill": BRUTAL_KILL, "infinity": INFINITY}.get(shutdown) or shutdown / 1000


def told(reason: ExitReason) -> str:
    """An exit reason in the oracle's words."""
    match reason:
        case Crash():
            return "crash"
        case Shutdown(term=None):
            return "shutdown"
        case Shutdown(term=FailedToStart()):
            return "failed_to_start"
        case Shutdown():
            return "shutdown_term"
    return str(reason)


def run_scenario(tree: Any, ops: list[Any]) -> list[Any]:
    """The trace of a scenario: for each step its result, the events, and what the tree looks like."""
    run = Run()
    try:
        trace = [_step(run, lambda: _start_root(run, tree))]
        trace += [_step(run, lambda op=op: _do(run, op)) for op in ops]
        return trace
    finally:
        run.never.reply()
        run.system.shutdown()
        _wait_for_threads(run.system)


def _wait_for_threads(system: System) -> None:
    """No thread may be left, once the stubborn ones are let go."""
    for process in list(system._running):
        process.thread.join(SECONDS)
    assert system.threads() == 0, system.fenced()


def _step(run: Run, function: Any) -> list[Any]:
    result = function()
    run.drive()
    events, run.events = run.events, []
    return [result, events, _look(run)]


def _start_root(run: Run, tree: Any) -> str:
    run.root_id = tree[1]
    outcome: list[Any] = []

    def start() -> None:
        try:
            outcome.append(run.system.start(StaticSupervisor, run, tree))
        except InitFailed:
            outcome.append(None)

    starter = threading.Thread(target=start)
    starter.start()
    while starter.is_alive():
        run.drive()
        starter.join(0.001)
    (run.root,) = outcome
    return "start_failed" if run.root is None else "ok"


def _do(run: Run, op: Any) -> Any:
    if op == "stop":
        return _stop(run)
    kind, target, *rest = op
    ref = run.alive(target)
    if ref is None:
        return "noproc"
    match kind:
        case "die":
            ref.cast(rest[0])
        case "kill":
            run.system.kill(ref)
        case "burst":
            return _burst(run, ref, rest[0])
        case _:
            return _administer(run, kind, ref, rest)
    return "ok"


def _administer(run: Run, kind: str, ref: Ref, rest: list[Any]) -> str:
    match kind:
        case "start_child":
            try:
                return run.call(ref, StartChild(spec(run, rest[0])))
            except BadSpec:
                return "bad_spec"
        case "start_dynamic":
            return run.call(ref, StartFromTemplate(rest[0], (rest[0], rest[1])))
        case "terminate_child" | "terminate_dynamic":
            return run.call(ref, TerminateChild(rest[0]))
        case "restart_child":
            return run.call(ref, RestartChild(rest[0]))
        case "delete_child":
            return run.call(ref, DeleteChild(rest[0]))
    raise ValueError(kind)


def _burst(run: Run, supervisor: Ref, deaths: list[Any]) -> list[str]:
    hold = Caller()
    supervisor.cast(Hold(hold))
    run.drive()
    results = []
    for id, reason in deaths:
        ref = run.alive(id)
        results.append("noproc" if ref is None else "ok")
        if ref is not None:
            ref.cast(reason)
            run.drive()
    hold.reply()
    return results


def _stop(run: Run) -> str:
    if run.root is None or not run.root.alive:
        return "noproc"
    run.system.begin_stop(run.root._process, SHUTDOWN, None)
    return "ok"


def _look(run: Run) -> list[Any]:
    if run.root is None:
        return ["never started"]
    if not run.root.alive:
        return ["ended", told(run.root.reason or KILLED)]
    return _supervisor_now(run.root_id, run.root)


def _supervisor_now(id: str, ref: Ref) -> list[Any]:
    children = which_children(ref, SECONDS)
    counts = count_children(ref, SECONDS)
    shown = [[info.id, _child_now(info.id, info.ref)] for info in children]
    numbers = [counts.active, counts.supervisors, counts.workers]
    if issubclass(ref.actor_class, DynamicSupervisor):
        return [id, "dynamic", numbers, sorted(state for _, state in shown)]
    return [id, [counts.specs, *numbers], shown]


def _child_now(id: str, ref: Ref | str | None) -> Any:
    if ref is None:
        return "undefined"
    if isinstance(ref, str):
        return ref
    return _supervisor_now(id, ref) if ref.actor_class.is_supervisor else "running"
