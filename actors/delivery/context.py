"""What every lane needs of the host, in one value that is handed down the delivery tree."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache

from actors.delivery.worker import Attempts
from actors.store import PATH as STORE
from actors.store import Reader
from actors.store.rows import DeliveryStatus
from supervisor.config import Settings, WebhookSettings


@dataclass(frozen=True, slots=True)
class Delivered:
    """An attempt, for metrics.

    Attributes:
        status: what became of the delivery: `pending` is to be tried again.
        lag: seconds from the commit of the event to now.
    """

    instance: str
    event: str
    status: DeliveryStatus
    lag: float


Observer = Callable[[Delivered], None]


def nobody(_: Delivered) -> None:
    """Observes nothing."""


@dataclass(frozen=True, slots=True)
class Delivering:
    """The parts of the host that deliveries use.

    Attributes:
        reader: reads the outbox.
        settings: the configuration the host was started with.
        courier: makes what a worker sends with.
        extra_workers: senders that all lanes may have together, besides one for each.
        observe: told of every attempt, on a lane's thread; must not block.
        store: the store's path.
    """

    reader: Reader
    settings: Settings
    courier: Callable[[], Attempts]
    extra_workers: threading.BoundedSemaphore = field(default_factory=lambda: threading.BoundedSemaphore(32))
    observe: Observer = nobody
    store: str = STORE


def webhook_settings(settings: Settings) -> Callable[[str], WebhookSettings]:
    """The `[webhook]` settings of an instance by its name, remembered for the last few hundred names."""

    @lru_cache(maxsize=512)
    def of_instance(name: str) -> WebhookSettings:
        return settings.instance(name).webhook

    return of_instance


@dataclass(frozen=True, slots=True)
class Poke:
    """Cast to a lane: there is something new for its destination. Numbered by the dispatcher."""

    number: int


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """Cast to a lane: some of what waited for its destination waits there no more."""


@dataclass(frozen=True, slots=True)
class Idle:
    """Cast to the dispatcher: nothing to do since the poke of that number; the lane may be stopped."""

    destination: str
    poke: int
