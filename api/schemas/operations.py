# ruff: noqa: N815 - the names are the wire format's
"""History, deliveries, diagnosis, the supervision tree and health."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, RootModel

from api.schemas.common import BlankIsAbsent, Body, Name, OpenReply, Query, Reply, ShortText, Text
from api.schemas.instances import InstanceRow

MAX_PAGE = 500
MAX_REPLAY = 500


class InstanceRows(RootModel[list[InstanceRow]]):
    """The instances that match."""


class HistoryQuery(Query):
    """Which page."""

    limit: int = Field(50, ge=1, le=MAX_PAGE)
    before: int | None = Field(None, ge=1, le=2**63 - 1, description="The `next` of the page before.")


class HistoryRow(Reply):
    """A disconnection or a recovery."""

    id: int
    timestamp: str
    kind: str
    code: int | None
    name: str | None
    cause: str | None
    action: str | None
    duration: float | None = Field(description="Seconds.")
    previousPhase: str | None
    incarnation: int | None
    attempt: int | None
    strategy: str | None
    result: str | None


class HistoryReply(Reply):
    """Newest first."""

    history: list[HistoryRow]
    next: int | None = Field(description="Send it as `before` for the next page; null on the last.")


class DeliveriesQuery(Query):
    """Which deliveries, and which page."""

    instance: Annotated[Name | None, BlankIsAbsent] = None
    status: Annotated[Literal["pending", "delivered", "failed"] | None, BlankIsAbsent] = None
    limit: int = Field(50, ge=1, le=MAX_PAGE)
    cursor: Annotated[str | None, BlankIsAbsent] = Field(
        None, max_length=200, description="`next` of the page before."
    )


class DeliveryRow(Reply):
    """One event for one destination."""

    eventId: str
    instance: str
    event: str
    destination: str
    status: str
    attempts: int
    lastError: str | None
    createdAt: str
    deliveredAt: str | None


class DeliveriesReply(Reply):
    """Newest first."""

    deliveries: list[DeliveryRow]
    next: str | None = Field(description="Send it as `cursor` for the next page; null on the last.")


class ReplayBody(Body):
    """Which failed deliveries to send again; at least one condition."""

    eventIds: list[Annotated[str, Field(min_length=1, max_length=64)]] | None = Field(
        None, max_length=MAX_REPLAY
    )
    instance: Name | None = None
    destination: Text | None = None


class ReplayReply(Reply):
    """How many deliveries were queued again."""

    replayed: int


class TreeRow(Reply):
    """One actor."""

    path: str
    id: str
    kind: str
    state: str
    dueIn: float | None = Field(description="Seconds until its waiting restart.")
    restarts: int
    uptime: float | None = Field(description="Seconds.")
    mailbox: int | None
    pid: int | None = Field(description="The operating-system process that it owns: a connection's.")
    lastExit: str | None
    children: list[TreeRow]


class RestartPathBody(Body):
    """Which actor to restart."""

    path: ShortText = Field(min_length=1, examples=["instances/sales/connection"])


class DiagnosisReply(OpenReply):
    """What the instance knows of itself."""

    instanceId: str
    instanceName: str
    timestamp: str
    currentState: dict[str, Any]
    network: dict[str, Any]
    session: dict[str, Any]
    recentEvents: list[dict[str, Any]]
    metrics: dict[str, Any]
    recovery: dict[str, Any]
    port: dict[str, Any]


class CredentialsReply(Reply):
    """The key is right."""

    status: int = Field(examples=[200])
    message: str
    facebookAppId: str | None
    facebookConfigId: str | None
    facebookUserToken: str | None


class HealthReply(OpenReply):
    """The host is alive."""

    status: str = Field(examples=["ok"])


class ReadyReply(Reply):
    """Whether the host can serve; 503 when it cannot."""

    status: str = Field(examples=["ready", "not ready"])
    checks: dict[str, bool]
