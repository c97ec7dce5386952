"""The published snapshots: each written by its instance's session alone, read by anyone without waiting."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from actors.views import InstanceView, Phase


class Board:
    """Name to latest snapshot.

    One writer for each entry, and an assignment to a dictionary is atomic: there is nothing to lock. An entry
    comes with a way to ask whether its writer still lives, so that a dead session's last word is not believed.
    """

    def __init__(self) -> None:
        self._entries: dict[str, tuple[InstanceView, Callable[[], bool]]] = {}

    def publish(self, view: InstanceView, alive: Callable[[], bool]) -> None:
        """Replace the snapshot of an instance. `alive` says whether the publisher still can correct it."""
        self._entries[view.name] = (view, alive)

    def withdraw(self, name: str) -> None:
        """Forget an instance."""
        self._entries.pop(name, None)

    def view(self, name: str) -> InstanceView | None:
        """The latest snapshot, or None if there is no such instance."""
        entry = self._entries.get(name)
        return None if entry is None else _believed(*entry)

    def views(self) -> list[InstanceView]:
        """All snapshots, oldest instance first."""
        views = [_believed(*entry) for entry in list(self._entries.values())]
        return sorted(views, key=lambda view: (view.created_at, view.name))


def _believed(view: InstanceView, alive: Callable[[], bool]) -> InstanceView:
    """A snapshot, except that what a dead session said of its link is not repeated."""
    if view.phase in (Phase.CLOSED, Phase.FAILED) or alive():
        return view
    return dataclasses.replace(view, phase=Phase.RECOVERING, open_since=None, qr=None)
