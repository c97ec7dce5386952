"""What the actors of one instance share: who they are, their settings, and the plan of the next connection."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field

from actors.services import Services
from actors.session.stats import Stats
from supervisor.config import InstanceSettings


@dataclass(frozen=True, slots=True)
class Plan:
    """What a connection is to be, if it is to be at all.

    Attributes:
        wanted: whether the supervisor may start one; False makes a start an empty one.
        jid: the device to resume, where the session store is shared.
        proxy_url: where to connect through; may hold a password.
        request_id: the request that asked for it.
    """

    wanted: bool = False
    jid: str | None = None
    proxy_url: str | None = field(default=None, repr=False)
    request_id: str | None = None


@dataclass(slots=True)
class InstanceContext:
    """One instance, for as long as the host knows it; it outlives restarts of the subtree.

    Attributes:
        plan: written by the session alone, before it asks for a connection; read by the connection as it starts.
        granted: it may connect, and so may its session when that is restarted: the roster has given it its turn at
            the boot, or somebody has asked for a connection. Never taken back. Written by the session, which has the
            one that its subtree was started with, and by the roster before it tells the session, which may crash first.
        incarnation: number of the latest connection; written by that connection as it starts.
        stats: counted by the session; they outlive it, and the host's tree.
    """

    id: str
    name: str
    services: Services
    plan: Plan = field(default_factory=Plan)
    granted: bool = False
    incarnation: int = 0
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))
    stats: Stats = field(init=False)

    def __post_init__(self) -> None:
        self.stats = self.services.metrics.stats(self.name)

    @property
    def settings(self) -> InstanceSettings:
        """The instance's settings as they are now."""
        return self.services.settings.instance(self.name)

    @property
    def path(self) -> str:
        """The name of the instance's supervisor."""
        return f"instances/{self.name}"

    @property
    def session_path(self) -> str:
        return f"{self.path}/session"
