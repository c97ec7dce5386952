"""What every instance needs of the host, in one value that is handed down the tree."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from actors.board import Board
from actors.cache import Cache
from actors.credentials import Credentials
from actors.metrics import Metrics
from actors.store.condition import Condition
from supervisor.config import Settings
from supervisor.otp import System

KeepSecrets = Callable[[str, Iterable[str]], object]
"""Keeps an owner's present secrets out of the logs, in place of those it named before."""


def keep_nothing(owner: str, values: Iterable[str]) -> None:
    """For a host that has no logs to keep anything out of."""


@dataclass(slots=True)
class Services:
    """The shared parts of the host.

    Attributes:
        system: names, calls, clocks.
        settings: the configuration; replaced as a whole when it is reloaded, by the host alone.
        board: where snapshots are published.
        credentials: where the sessions' credentials are kept.
        cache: where others may keep what they can do without.
        condition: whether the database takes what is written; said by the store.
        metrics: counts what happens.
        keep_secrets: keeps an instance's secrets, by its id, out of the logs.
        refused: deletes that were refused and whose notes may be stored; the roster's alone, and outlives it.
    """

    system: System
    settings: Settings
    board: Board
    credentials: Credentials
    cache: Cache
    condition: Condition = field(default_factory=Condition)
    metrics: Metrics = field(default_factory=Metrics)
    keep_secrets: KeepSecrets = keep_nothing
    refused: set[str] = field(default_factory=set)


PORTS = "ports"
JANITOR = "janitor"
ROSTER = "roster"
INSTANCES = "instances"
EVENTS = "events"
