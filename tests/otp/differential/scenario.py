"""Scenarios: a supervision tree and what is done to it, made by hypothesis, written as Erlang terms.

A node is a tuple: ``(worker, Id, Plan, Stubborn)``, ``(sup, Id, Plan, Strategy, Intensity, AutoShutdown, Children)``
or ``(dyn, Id, Plan, Intensity, AutoShutdown, (Restart, Shutdown, Significant, Stubborn))``; a child is
``(Node, Restart, Shutdown, Significant)``. A plan says what the first starts of that id do: ok, fail, ignore. A
stubborn worker does not end when it is told to. Shutdown times are in milliseconds.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, TypeAlias

from hypothesis import strategies as st

Term: TypeAlias = "str | int | bool | list[Any] | tuple[Any, ...]"
Draw: TypeAlias = Any
Scenario: TypeAlias = tuple[Term, list[Term]]

STRATEGIES = ("one_for_one", "one_for_all", "rest_for_one")
RESTARTS = ("permanent", "transient", "temporary")
REASONS = ("crash", "normal", "shutdown", "shutdown_term")
AUTO = ("never", "any_significant", "all_significant")

_shape = st.sampled_from
_strategy = _shape(STRATEGIES)
_intensity = _shape((0, 1, 1, 2, 3, 5))
_root_intensity = _shape((1, 2, 3, 5, 8))
_auto = _shape(("never", "never", *AUTO))
_restart = _shape(RESTARTS)
_reason = _shape(("crash", "crash", *REASONS))
_rare = _shape((False,) * 7 + (True,))
_very_rare = _shape((False,) * 29 + (True,))
_half = st.booleans()
_later = st.lists(_shape(("ok", "ok", "fail", "fail", "ignore")), min_size=1, max_size=5)
_plan = st.one_of(st.just([]), st.just([]), _later.map(lambda later: ["ok", *later]))
_bad_plan = _later
_dynamic_plan = st.one_of(st.just([]), st.builds(lambda n: ["ok"] + ["fail"] * n, st.integers(0, 3)))
_worker_shutdown = _shape((5000, 5000, "infinity", "brutal_kill"))
_supervisor_shutdown = _shape(("infinity", "infinity", 5000))
_stubborn_shutdown = _shape((3, "brutal_kill"))


@dataclass
class Cast:
    """Who is in a tree while it is being made."""

    workers: list[str] = field(default_factory=list)
    static: dict[str, list[str]] = field(default_factory=dict)
    dynamic: list[str] = field(default_factory=list)
    count: int = 0
    focus: str = ""

    def name(self, prefix: str) -> str:
        """A new id."""
        self.count += 1
        return f"{prefix}{self.count}"


@st.composite
def scenarios(draw: Draw) -> Scenario:
    """A tree at most three supervisors deep, and up to twelve things that are done to it; then it is stopped."""
    cast = Cast()
    tree = _static(draw, cast, 3, "root")
    ops = [_op(draw, cast) for _ in range(draw(st.integers(3, 12)))]
    return tree, [*ops, "stop"]


def _static(draw: Draw, cast: Cast, depth: int, id: str | None = None) -> Any:
    id = cast.name("s") if id is None else id
    auto = draw(_auto)
    members = cast.static[id] = []
    children = [
        _child(draw, cast, depth - 1, auto, members) for _ in range(draw(st.integers(1, 3)) + (depth == 3))
    ]
    plan = draw(_plan) if depth < 3 else []
    intensity = draw(_intensity if depth < 3 else _root_intensity)
    return ("sup", id, plan, draw(_strategy), intensity, auto, children)


def _child(draw: Draw, cast: Cast, depth: int, auto: str, members: list[str]) -> Term:
    restart = draw(_restart)
    kind = draw(_shape(("worker", "worker", "sup", "dyn"))) if depth else "worker"
    stubborn = kind == "worker" and draw(_rare)
    if kind == "worker":
        node = _worker(draw, cast, stubborn)
        shutdown = draw(_stubborn_shutdown if stubborn else _worker_shutdown)
    else:
        node = _static(draw, cast, depth) if kind == "sup" else _dynamic(draw, cast)
        shutdown = draw(_supervisor_shutdown)
    members.append(node[1])
    return (node, restart, shutdown, _significant(draw, auto, restart))


def _worker(draw: Draw, cast: Cast, stubborn: bool, id: str | None = None) -> Any:
    id = cast.name("w") if id is None else id
    cast.workers.append(id)
    return ("worker", id, draw(_bad_plan if draw(_very_rare) else _plan), stubborn)


def _dynamic(draw: Draw, cast: Cast) -> Any:
    id = cast.name("d")
    cast.dynamic.append(id)
    auto = draw(_auto)
    restart = draw(_restart)
    stubborn = draw(_rare)
    shutdown = draw(_stubborn_shutdown if stubborn else _worker_shutdown)
    template = (restart, shutdown, _significant(draw, auto, restart), stubborn)
    return ("dyn", id, [], draw(_intensity), auto, template)


def _significant(draw: Draw, auto: str, restart: str) -> bool:
    """Mostly valid: a significant child must not be permanent, nor under a supervisor that does not care."""
    if auto == "never" or restart == "permanent":
        return draw(_very_rare)
    return draw(_half)


def _op(draw: Draw, cast: Cast) -> Term:
    kinds = ["admin", "admin", "start_child"]
    if cast.workers:
        kinds += ["die", "die", "die", "die", "kill", "burst"]
    if cast.dynamic:
        kinds += ["dynamic", "dynamic"]
    op: Term = _OPS[draw(_shape(kinds))](draw, cast)
    return op


def _pick(draw: Draw, cast: Cast, ids: list[str]) -> str:
    """One of them, and by preference the one that something happened to last."""
    focused = [id for id in ids if id == cast.focus]
    cast.focus = draw(_shape(focused * len(ids) + ids))
    return cast.focus


def _die(draw: Draw, cast: Cast) -> Term:
    return ("die", _pick(draw, cast, cast.workers), draw(_reason))


def _kill(draw: Draw, cast: Cast) -> Term:
    return ("kill", _pick(draw, cast, cast.workers))


def _burst(draw: Draw, cast: Cast) -> Term:
    supervisor = draw(_shape(list(cast.static)))
    workers = [id for id in cast.static[supervisor] if id in cast.workers]
    if not workers:
        return _die(draw, cast)
    deaths = draw(st.lists(st.tuples(_shape(workers), _reason), min_size=2, max_size=3))
    return ("burst", supervisor, deaths)


def _admin(draw: Draw, cast: Cast) -> Term:
    if cast.dynamic and draw(_rare):
        return (draw(_shape(("restart_child", "delete_child"))), draw(_shape(cast.dynamic)), "x1")
    members = {id: supervisor for supervisor, ids in cast.static.items() for id in [*ids, "nobody"]}
    id = _pick(draw, cast, list(members))
    return (
        draw(_shape(("terminate_child", "terminate_child", "restart_child", "delete_child"))),
        members[id],
        id,
    )


def _start_child(draw: Draw, cast: Cast) -> Term:
    supervisor = draw(_shape(list(cast.static)))
    members = cast.static[supervisor]
    present = [id for id in members if id in cast.workers]
    restart = draw(_restart)
    significant = draw(_rare)
    if present and draw(_half):
        node = ("worker", _pick(draw, cast, present), draw(_plan), False)
        return ("start_child", supervisor, (node, restart, draw(_worker_shutdown), significant))
    if draw(_rare):
        node = _static(draw, cast, 1)
        members.append(node[1])
        return ("start_child", supervisor, (node, restart, "infinity", significant))
    node = _worker(draw, cast, False)
    members.append(node[1])
    return ("start_child", supervisor, (node, restart, draw(_worker_shutdown), significant))


def _dynamic_op(draw: Draw, cast: Cast) -> Term:
    supervisor = draw(_shape(cast.dynamic))
    ids = [f"x{supervisor}_{n}" for n in (1, 2, 3)]
    started = [id for id in ids if id in cast.workers]
    if started and draw(_shape((True, False, False))):
        return ("terminate_dynamic", supervisor, _pick(draw, cast, started))
    id = draw(_shape(ids))
    if id not in cast.workers:
        cast.workers.append(id)
    return ("start_dynamic", supervisor, id, draw(_dynamic_plan))


_OPS = {
    "admin": _admin,
    "start_child": _start_child,
    "die": _die,
    "kill": _kill,
    "burst": _burst,
    "dynamic": _dynamic_op,
}


def to_erlang(term: Term) -> str:
    """A term in Erlang's syntax, on one line."""
    if isinstance(term, bool):
        return "true" if term else "false"
    if isinstance(term, int):
        return str(term)
    if isinstance(term, str):
        return f"'{term}'"
    inner = ",".join(to_erlang(one) for one in term)
    return f"[{inner}]" if isinstance(term, list) else f"{{{inner}}}"


def canonical(trace: Any) -> Any:
    """A trace with what OTP leaves open put in order: a dynamic supervisor's children stop in any order."""
    return [[result, _sort_dynamic_stops(events), snapshot] for result, events, snapshot in trace]


def _sort_dynamic_stops(events: list[Any]) -> list[Any]:
    ordered: list[Any] = []
    run: list[Any] = []
    for event in [*events, None]:
        if event is not None and event[0] == "stop" and event[1].startswith("x"):
            run.append(event)
            continue
        ordered += sorted(run)
        run = []
        if event is not None:
            ordered.append(event)
    return ordered
