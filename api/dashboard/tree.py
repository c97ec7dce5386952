"""The supervision tree as it is shown."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from api.gateway import TreeNode


@dataclass(frozen=True, slots=True)
class Waiting:
    """An actor that waits for its restart; `due` in seconds since the epoch, None while it is held."""

    path: str
    due: float | None
    last_exit: str | None


@dataclass(frozen=True, slots=True)
class Totals:
    """The tree in figures: actors that run, restarts of all of them, messages that wait."""

    running: int
    restarts: int
    mailbox: int


def waiting(root: TreeNode, now: float) -> Sequence[Waiting]:
    """Who waits for its restart, the next one first, those that are held last.

    Args:
        root: the tree.
        now: seconds since the epoch.
    """
    found = [
        Waiting(node.path, None if node.due_in is None else now + node.due_in, node.last_exit)
        for node in _all(root)
        if node.state == "restarting"
    ]
    return sorted(found, key=lambda each: (each.due is None, each.due or 0.0, each.path))


def totals(root: TreeNode) -> Totals:
    """The tree in figures."""
    nodes = list(_all(root))
    return Totals(
        sum(node.state == "running" for node in nodes),
        sum(node.restarts for node in nodes),
        sum(node.mailbox for node in nodes),
    )


def stirred(node: TreeNode) -> bool:
    """Whether anything below an actor was restarted or waits to be."""
    return any(each.restarts or each.state == "restarting" for child in node.children for each in _all(child))


def _all(node: TreeNode) -> Iterator[TreeNode]:
    yield node
    for child in node.children:
        yield from _all(child)
