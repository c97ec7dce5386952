"""The supervision tree, read from what supervisors publish: no actor is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from supervisor.otp.children import Child
    from supervisor.otp.process import Process

ROOT = "root"
"""The path that names no prefix: children of ``root`` are ``store``, those of others ``delivery/webhook``."""


def child_path(parent: str, id: str) -> str:
    """The path of a supervisor's child."""
    return id if parent == ROOT else f"{parent}/{id}"


@dataclass(frozen=True, slots=True)
class TreeNode:
    """One actor, or the place of one.

    ``state`` is ``running``, ``restarting`` or ``terminated``. ``due_in`` is the seconds to a delayed
    restart, None if there is none or it is held. ``restarts`` counts all restarts of this child by its
    supervisor, ``uptime`` is in seconds, ``mailbox`` in messages, ``last_exit`` the reason of its last end
    as text. ``pid`` is the operating-system process that it owns, None without one.
    """

    path: str
    id: str
    kind: str
    state: str
    due_in: float | None
    restarts: int
    uptime: float | None
    mailbox: int
    last_exit: str | None
    children: tuple[TreeNode, ...]
    pid: int | None = None


def build_tree(roots: Sequence[Process], now: float) -> TreeNode:
    """The tree under the only root; a node without a name over them if there are several, or none."""
    nodes = tuple(_root_node(process, now) for process in roots)
    if len(nodes) == 1:
        return nodes[0]
    state = "running" if nodes else "terminated"
    return TreeNode("", "", "supervisor", state, None, 0, None, 0, None, nodes)


def _root_node(process: Process, now: float) -> TreeNode:
    kind = "worker" if process.supervises is None else "supervisor"
    uptime = now - process.started_at
    children = _children_of(process, now)
    return TreeNode(
        process.path, process.path, kind, "running", None, 0, uptime, len(process.mailbox), None, children
    )


def _children_of(process: Process, now: float) -> tuple[TreeNode, ...]:
    if process.supervises is None:
        return ()
    # list() of a dict is one step for the interpreter, so the owner may go on changing it.
    return tuple(
        _child_node(process.path, child, now) for child in list(process.supervises.children.values())
    )


def _child_node(parent: str, child: Child, now: float) -> TreeNode:
    process = child.ref._process if child.ref is not None else None
    return TreeNode(
        path=child_path(parent, child.spec.id),
        id=child.spec.id,
        kind=child.spec.kind.value,
        state=child.shown_state,
        due_in=None if child.due is None else max(0.0, child.due - now),
        restarts=child.restarts,
        uptime=None if process is None else now - process.started_at,
        mailbox=0 if process is None else len(process.mailbox),
        last_exit=None if child.last_exit is None else str(child.last_exit),
        children=() if process is None else _children_of(process, now),
        pid=None if process is None else process.owned_pid,
    )
