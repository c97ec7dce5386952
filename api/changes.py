"""What the dashboard shows, compared with what it was a moment ago."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from api.gateway import Gateway, InstanceView, TreeNode

Face = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Change:
    """What is not as it was.

    Attributes:
        instances: name to id.
        tree: whether an actor was started, ended or restarted.
    """

    instances: Mapping[str, str]
    tree: bool

    def __bool__(self) -> bool:
        return bool(self.instances) or self.tree


class Watch:
    """Compares the published snapshots with those of the last look. Figures that always move are left out:
    heartbeats, memory, mailboxes, uptimes."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._faces = self._look()
        self._shape = _shape(gateway.tree())

    def changed(self) -> Change:
        """What has changed since this was asked last."""
        before, self._faces = self._faces, self._look()
        old_shape, self._shape = self._shape, _shape(self._gateway.tree())
        names = before.keys() | self._faces.keys()
        changed = [name for name in sorted(names) if before.get(name) != self._faces.get(name)]
        ids = {name: str((self._faces.get(name) or before[name])[0]) for name in changed}
        return Change(ids, old_shape != self._shape)

    def _look(self) -> dict[str, Face]:
        return {view.name: _face(view) for view in self._gateway.views()}


def _face(view: InstanceView) -> Face:
    code = view.qr and (view.qr.count, view.qr.at, view.qr.pairing_code, view.qr.pairing_error)
    return (
        view.id,
        view.phase,
        view.desired,
        code,
        view.failed_reason,
        view.restart_due,
        view.recovery_attempts,
        view.disconnection_at,
        view.open_since,
        view.owner_jid,
        view.number,
        view.profile_name,
        view.pid,
    )


def _shape(node: TreeNode) -> tuple[object, ...]:
    return (
        node.path,
        node.state,
        node.restarts,
        node.due_in is None,
        node.last_exit,
        *(_shape(child) for child in node.children),
    )
