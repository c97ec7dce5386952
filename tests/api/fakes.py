"""A tree that lives in memory, for tests of the API alone."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from api.gateway import (
    BeingDeleted,
    Command,
    Configure,
    Connect,
    CreateInstance,
    Desired,
    Done,
    ForceReconnection,
    InstanceView,
    Logout,
    NameTaken,
    NoSuchActor,
    NotLoggedIn,
    NotNow,
    Phase,
    QrView,
    Reset,
    Restart,
    SetPresence,
    TokenTaken,
    TreeNode,
    UnknownInstance,
)

EPOCH = 1_767_225_600.0  # 2026-01-01T00:00:00Z


class FakeClock:
    """Time that stands still until a test moves it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    def wall(self) -> float:
        return EPOCH + self.now - 1000.0


@dataclass(frozen=True)
class FakeEntry:
    id: int
    at: float = EPOCH
    kind: str = "disconnection"
    code: int | None = 428
    name: str | None = "connectionClosed"
    cause: str | None = "reset"
    action: str | None = "reconnect"
    duration_s: float | None = 1.5
    previous_phase: str | None = "open"
    incarnation: int | None = 3
    attempt: int | None = 1
    strategy: str | None = None
    result: str | None = None


@dataclass(frozen=True)
class FakeHistory:
    entries: Sequence[FakeEntry]
    next: int | None


@dataclass(frozen=True)
class FakeDelivery:
    event_id: str
    instance: str
    event: str = "connection.update"
    destination: str = "https://example.com/hook"
    status: str = "failed"
    attempts: int = 3
    last_error: str | None = "503"
    created_at: float = EPOCH
    delivered_at: float | None = None


@dataclass(frozen=True)
class FakeDeliveries:
    deliveries: Sequence[FakeDelivery]
    next: str | None


def node(path: str, *children: TreeNode, kind: str = "worker", **changes: Any) -> TreeNode:
    base = TreeNode(path, path.rpartition("/")[2], kind, "running", None, 0, 12.5, 0, None, tuple(children))
    return replace(base, **changes)


@dataclass
class MemoryGateway:
    """Instances as plain records. `fail` makes the next command raise."""

    instances: dict[str, InstanceView] = field(default_factory=dict)
    sent: list[tuple[str, object]] = field(default_factory=list)
    created: list[CreateInstance] = field(default_factory=list)
    deadlines: list[float] = field(default_factory=list)
    fail: Callable[[str, object], Exception | None] = lambda _name, _message: None
    codes: int = 0
    is_ready: bool = True
    outbox: list[FakeDelivery] = field(default_factory=list)
    replays: list[tuple[Sequence[str] | None, str | None, str | None]] = field(default_factory=list)
    confined: list[str | None] = field(default_factory=list)
    restarted: list[str] = field(default_factory=list)
    entries: list[FakeEntry] = field(default_factory=list)
    _ids: Any = field(default_factory=lambda: itertools.count(1))

    def add(self, name: str, **changes: Any) -> InstanceView:
        """An instance, without going through `create`."""
        number = next(self._ids)
        view = InstanceView(
            id=f"00000000-0000-4000-8000-{number:012d}",
            name=name,
            phase=Phase.CLOSED,
            desired=Desired.DOWN,
            logged_in=False,
            token=f"token-of-{name}",
            created_at=EPOCH,
            updated_at=EPOCH,
        )
        self.instances[name] = replace(view, **changes)
        return self.instances[name]

    def change(self, name: str, **changes: Any) -> InstanceView:
        self.instances[name] = replace(self.instances[name], **changes)
        return self.instances[name]

    # What the API calls

    def views(self) -> Sequence[InstanceView]:
        return list(self.instances.values())

    def view(self, name: str) -> InstanceView | None:
        return self.instances.get(name)

    def create(self, request: CreateInstance, timeout: float) -> InstanceView:
        self._before(request.name, request, timeout)
        if request.name in self.instances:
            raise NameTaken(request.name)
        if request.token and any(view.token == request.token for view in self.views()):
            raise TokenTaken
        self.created.append(request)
        return self.add(
            request.name,
            token=request.token or f"made-for-{request.name}",
            number=request.number,
            settings=request.settings,
            webhook=request.webhook,
            proxy=request.proxy,
            chatwoot=request.chatwoot,
        )

    def delete(self, name: str, timeout: float) -> None:
        self._before(name, "delete", timeout)
        if self.instances.pop(name, None) is None:
            raise UnknownInstance(name)

    def command(self, name: str, message: Command, timeout: float) -> Done:
        self._before(name, message, timeout)
        view = self.instances.get(name)
        if view is None:
            raise UnknownInstance(name)
        return Done(self._obey(view, message), f"{type(message).__name__} done")

    def diagnose(self, name: str, timeout: float) -> Mapping[str, Any]:
        self._before(name, "diagnose", timeout)
        view = self.instances[name]
        return {
            "instanceId": view.id,
            "instanceName": name,
            "timestamp": "2026-01-01T00:00:00.000Z",
            "currentState": {"connectionStatus": view.state, "phase": str(view.phase)},
            "network": {"canReachWhatsApp": True, "dnsResolution": True, "proxy": None},
            "session": {
                "hasAuthState": False,
                "hasCredentials": False,
                "hasKeys": False,
                "sessionExists": False,
            },
            "recentEvents": [],
            "metrics": {"totalDisconnections": 0, "reconnectionRate": 0.0, "lastDisconnection": None},
            "recovery": {},
            "port": {},
        }

    def history(self, name: str, before: int | None, limit: int, timeout: float) -> FakeHistory:
        self._before(name, "history", timeout)
        left = [entry for entry in self.entries if before is None or entry.id < before]
        page = left[:limit]
        return FakeHistory(page, page[-1].id if len(left) > limit else None)

    def deliveries(
        self,
        instance: str | None,
        status: str | None,
        cursor: str | None,
        limit: int,
        timeout: float,
        *,
        instance_id: str | None = None,
    ) -> FakeDeliveries:
        self._before(instance or "", "deliveries", timeout)
        self.confined.append(instance_id)
        start = int(cursor) if cursor else 0
        found = [
            delivery
            for delivery in self.outbox
            if instance in (None, delivery.instance) and status in (None, delivery.status)
        ]
        page = found[start : start + limit]
        return FakeDeliveries(page, str(start + limit) if len(found) > start + limit else None)

    def replay(
        self,
        event_ids: Sequence[str] | None,
        instance: str | None,
        destination: str | None,
        timeout: float,
        *,
        instance_id: str | None = None,
    ) -> int:
        self._before(instance or "", "replay", timeout)
        self.confined.append(instance_id)
        self.replays.append((event_ids, instance, destination))
        return sum(1 for delivery in self.outbox if instance in (None, delivery.instance))

    def tree(self) -> TreeNode:
        return node(
            "root",
            node("store"),
            node(
                "instances",
                kind="supervisor",
                state="restarting",
                due_in=2.5,
                last_exit="killed",
                restarts=3,
            ),
            kind="supervisor",
        )

    def restart_path(self, path: str, timeout: float) -> None:
        self._before("", path, timeout)
        if path not in ("store", "instances"):
            raise NoSuchActor(path)
        self.restarted.append(path)

    def health(self) -> Mapping[str, Any]:
        return {"version": "0.1.0"}

    def ready(self) -> tuple[bool, Mapping[str, bool]]:
        return self.is_ready, {"store": self.is_ready}

    # How the records change

    def _before(self, name: str, message: object, timeout: float) -> None:
        self.deadlines.append(timeout)
        self.sent.append((name, message))
        error = self.fail(name, message)
        if error is not None:
            raise error

    def _obey(self, view: InstanceView, message: Command) -> InstanceView:
        match message:
            case Connect(number=number):
                if view.phase is Phase.OPEN:
                    return view
                return self._show_code(view, "ABCD1234" if number else None)
            case Logout():
                if not view.logged_in:
                    raise NotLoggedIn(view.name, view.phase)
                return self.change(view.name, phase=Phase.CLOSED, logged_in=False, qr=None)
            case Restart():
                if view.phase is Phase.CLOSED:
                    raise NotNow(view.name, view.phase, "there is nothing to restart")
                return self.change(view.name, phase=Phase.STARTING)
            case SetPresence():
                if view.phase is not Phase.OPEN:
                    raise NotNow(view.name, view.phase, "only an open instance has a presence")
                return view
            case Configure():
                return self._configure(view, message)
            case ForceReconnection() | Reset():
                return self.change(view.name, qr=None)
        raise BeingDeleted(view.name)

    def _show_code(self, view: InstanceView, pairing_code: str | None) -> InstanceView:
        self.codes += 1
        shown = QrView(f"2@code-{self.codes},key,identity,secret", pairing_code, self.codes, EPOCH)
        return self.change(view.name, phase=Phase.AWAITING_SCAN, desired=Desired.UP, qr=shown)

    def _configure(self, view: InstanceView, message: Configure) -> InstanceView:
        parts = ("settings", "webhook", "proxy", "chatwoot")
        given = {part: getattr(message, part) for part in parts if getattr(message, part) is not None}
        return self.change(view.name, **given)
