"""What the control API needs of the tree behind it.

`Gateway` is the whole surface: reads are answered from published snapshots and never wait for an actor,
commands carry a deadline. The API holds no other reference into the tree, so a test can stand a plain
object in its place.

Every other module of this package takes the tree's types from here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from actors.messages import (
    PRESENCES,
    BeingDeleted,
    Command,
    Configure,
    Connect,
    CreateInstance,
    DatabaseBusy,
    Done,
    ForceReconnection,
    Logout,
    NameTaken,
    NotLoggedIn,
    NotNow,
    NotRunning,
    Reset,
    Restart,
    SetPresence,
    TokenTaken,
    UnknownInstance,
)
from actors.views import INTEGRATION, Desired, InstanceView, Phase, QrView
from supervisor.otp import (
    ActorDown,
    AdminError,
    CallError,
    CallTimeout,
    MailboxFull,
    NoSuchActor,
    NotFound,
    Refusal,
    StartFailed,
    SystemStopped,
    TreeNode,
    UnknownMessage,
)

__all__ = [
    "INTEGRATION",
    "PRESENCES",
    "ActorDown",
    "AdminError",
    "BeingDeleted",
    "CallError",
    "CallTimeout",
    "Clock",
    "Command",
    "Configure",
    "Connect",
    "CreateInstance",
    "DatabaseBusy",
    "DeliveryPage",
    "DeliveryView",
    "Desired",
    "Diagnostics",
    "Done",
    "EventFeed",
    "FeedEvent",
    "ForceReconnection",
    "Gateway",
    "HistoryEntry",
    "HistoryPage",
    "InstanceView",
    "Logout",
    "MailboxFull",
    "Metered",
    "NameTaken",
    "NoSuchActor",
    "NotFound",
    "NotLoggedIn",
    "NotNow",
    "NotRunning",
    "Outbox",
    "Phase",
    "QrView",
    "Refusal",
    "Reset",
    "Restart",
    "SetPresence",
    "StartFailed",
    "SystemStopped",
    "TokenTaken",
    "TreeNode",
    "UnknownInstance",
    "UnknownMessage",
]


class Clock(Protocol):
    """The two clocks; `monotonic` for deadlines and limits, `wall` for what people read."""

    def monotonic(self) -> float:
        """Seconds that never run backwards."""

    def wall(self) -> float:
        """Seconds since the epoch."""


class HistoryEntry(Protocol):
    """One disconnection or recovery. Times are seconds since the epoch, durations are seconds."""

    @property
    def id(self) -> int | None: ...
    @property
    def at(self) -> float | None: ...
    @property
    def kind(self) -> str:
        """`disconnection` or `recovery`."""

    @property
    def code(self) -> int | None: ...
    @property
    def name(self) -> str | None:
        """The code's name, such as `connectionClosed`."""

    @property
    def cause(self) -> str | None: ...
    @property
    def action(self) -> str | None: ...
    @property
    def duration_s(self) -> float | None: ...
    @property
    def previous_phase(self) -> str | None: ...
    @property
    def incarnation(self) -> int | None: ...
    @property
    def attempt(self) -> int | None: ...
    @property
    def strategy(self) -> str | None: ...
    @property
    def result(self) -> str | None: ...


class HistoryPage(Protocol):
    """A page of history, newest first."""

    @property
    def entries(self) -> Sequence[HistoryEntry]: ...
    @property
    def next(self) -> int | None:
        """The id to continue before; None on the last page."""


class DeliveryView(Protocol):
    """One event on its way to one destination. Times are seconds since the epoch."""

    @property
    def event_id(self) -> str:
        """The same on every attempt: receivers use it to drop duplicates."""

    @property
    def instance(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def destination(self) -> str:
        """Where to, without credentials."""

    @property
    def status(self) -> str:
        """`pending`, `delivered` or `failed`."""

    @property
    def attempts(self) -> int: ...
    @property
    def last_error(self) -> str | None: ...
    @property
    def created_at(self) -> float: ...
    @property
    def delivered_at(self) -> float | None: ...


class DeliveryPage(Protocol):
    """A page of the outbox, newest first."""

    @property
    def deliveries(self) -> Sequence[DeliveryView]: ...
    @property
    def next(self) -> str | None:
        """The cursor of the next page; None on the last one."""


class Gateway(Protocol):
    """The tree, as the API sees it. Every method may be called from any thread.

    Commands raise a `Refusal` (the instance said no and is unchanged) or a `CallError` (no answer:
    `CallTimeout`, `MailboxFull`, `ActorDown`, `NoSuchActor`). `timeout` is in seconds, and no method
    outlasts it."""

    def views(self) -> Sequence[InstanceView]:
        """Every instance, in the order of their creation. Does not wait."""

    def view(self, name: str) -> InstanceView | None:
        """One instance, or None when there is none of that name. Does not wait."""

    def create(self, request: CreateInstance, timeout: float) -> InstanceView:
        """Make an instance. Raises `NameTaken` or `TokenTaken`."""

    def delete(self, name: str, timeout: float) -> None:
        """Log out if possible and remove everything of an instance. Raises `UnknownInstance`."""

    def command(self, name: str, message: Command, timeout: float) -> Done:
        """Send a command to an instance. Raises `UnknownInstance`, or what the command refuses with."""

    def history(self, name: str, before: int | None, limit: int, timeout: float) -> HistoryPage:
        """Disconnections and recoveries with an id below `before`, newest first."""

    def tree(self) -> TreeNode:
        """The supervision tree. Does not wait."""

    def restart_path(self, path: str, timeout: float) -> None:
        """Restart a child of the tree. Raises `NoSuchActor` for an unknown path, or a `Refusal`."""

    def health(self) -> Mapping[str, Any]:
        """Facts of a live host that anybody may read. Does not wait."""

    def ready(self) -> tuple[bool, Mapping[str, bool]]:
        """Whether the host can serve, and what that rests on. Does not wait."""


@runtime_checkable
class Diagnostics(Protocol):
    """A gateway that can have an instance examine itself; without it the route does not exist."""

    def diagnose(self, name: str, timeout: float) -> Mapping[str, Any]:
        """The instance's own report, JSON-ready, in the form of `DiagnosisReply`."""


@runtime_checkable
class Outbox(Protocol):
    """A gateway that knows of deliveries; without it their routes do not exist."""

    def deliveries(
        self,
        instance: str | None,
        status: str | None,
        cursor: str | None,
        limit: int,
        timeout: float,
        *,
        instance_id: str | None = None,
    ) -> DeliveryPage:
        """The outbox, newest first: of a name, whoever has or had it, or of one instance alone, by its id.

        Raises ValueError for a cursor that it did not hand out."""

    def replay(
        self,
        event_ids: Sequence[str] | None,
        instance: str | None,
        destination: str | None,
        timeout: float,
        *,
        instance_id: str | None = None,
    ) -> int:
        """Send failed deliveries again; a None does not narrow the choice. Returns how many."""


class FeedEvent(Protocol):
    """A committed event."""

    @property
    def seq(self) -> int:
        """Grows with each commit: where a reader resumes."""

    @property
    def id(self) -> str:
        """The same as in webhooks."""

    @property
    def instance_id(self) -> str | None: ...
    @property
    def instance(self) -> str: ...
    @property
    def event(self) -> str: ...
    @property
    def data(self) -> Mapping[str, Any] | None: ...
    @property
    def sender(self) -> str | None: ...
    @property
    def at(self) -> float:
        """Seconds since the epoch."""


@runtime_checkable
class EventFeed(Protocol):
    """A gateway whose events can be read along; without it there is no stream of them."""

    def events_after(self, seq: int, limit: int, timeout: float) -> Sequence[FeedEvent]:
        """Committed events behind a sequence number, in their order."""

    def newest_event(self, timeout: float) -> int:
        """The sequence number of the latest event; 0 when there is none."""

    def on_commit(self, callback: Callable[[], object], timeout: float) -> Callable[[], object]:
        """Have a function called after each commit of events; it must not block. Returns what ends it."""


@runtime_checkable
class Metered(Protocol):
    """A gateway that counts; without it there is no `/metrics`."""

    def metrics(self, accept: str, timeout: float) -> tuple[bytes, str]:
        """The metrics in the format that an `Accept` header asks for, and their media type."""

    def answered(self, seconds: float) -> None:
        """Count a request that was answered. Does not wait."""


if TYPE_CHECKING:
    from actors import gateway as tree

    def _is_a_gateway(gateway: tree.Gateway) -> Gateway:
        return gateway

    def _is_a_feed(gateway: tree.Gateway) -> EventFeed:
        return gateway

    def _is_metered(gateway: tree.Gateway) -> Metered:
        return gateway
