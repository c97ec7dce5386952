"""Deliveries: durable, at least once, in order for each instance and destination, a lane for each destination.

`Delivery` is the supervisor to put into the tree after the store and the event bus.
"""

from __future__ import annotations

import threading
from functools import partial

import httpx

from actors.delivery.context import Delivered, Delivering, Observer, nobody
from actors.delivery.courier import Courier
from actors.delivery.dispatcher import Dispatcher
from actors.delivery.replay import redirect, replay
from actors.delivery.request import Picture, Sender
from actors.store import Backend, Reader
from supervisor.config import Settings
from supervisor.otp import (
    REST_FOR_ONE,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    Start,
    Supervisor,
    SupervisorFlags,
)

PATH = "delivery"
READERS = 2
"""Read connections that all lanes share."""

EXTRA_WORKERS = 32
"""Requests under way in all, besides one for each destination."""


class Delivery(Supervisor):
    """The dispatcher and the lanes.

    The lanes are started by need, each restarted with a growing delay should it crash, and never counted against
    their supervisor: a lane cannot take the host down.
    """

    def init(  # type: ignore[override]
        self,
        backend: Backend,
        settings: Settings,
        *,
        picture: Picture | None = None,
        observe: Observer = nobody,
    ) -> object:
        """Start to deliver what the outbox holds.

        Args:
            backend: the database that the store writes.
            settings: the configuration.
            picture: draws the text of a QR code as a data URL, for `qrcode.updated`.
            observe: told of every attempt, for metrics; must not block.
        """
        self._reader = Reader(backend, size=READERS)
        sender = Sender(settings.api.public_url, picture)
        context = Delivering(
            self._reader,
            settings,
            partial(Courier, sender, httpx.create_ssl_context(), self.clock.wall),
            threading.BoundedSemaphore(EXTRA_WORKERS),
            observe,
        )
        lanes = f"{self.path}/lanes"
        supervision = settings.supervision
        flags = SupervisorFlags(REST_FOR_ONE, supervision.intensity, supervision.period)
        return super().init(
            flags,
            [
                ChildSpec("lanes", Start(DynamicSupervisor)),
                ChildSpec("dispatcher", Start(Dispatcher, context, lanes)),
            ],
        )

    def terminate(self, reason: ExitReason) -> None:
        super().terminate(reason)
        self._reader.close()


__all__ = ["PATH", "Delivered", "Delivery", "Picture", "redirect", "replay"]
