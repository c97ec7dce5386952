"""Chatwoot: instances that report to a Chatwoot account, in words and pictures for people.

`Chatwoot` is the supervisor to put into the tree, after everything that it must not disturb. Each instance with an
account has an actor of its own, fed from the same rows as the webhooks.
"""

from __future__ import annotations

from actors.chatwoot.context import Reporting
from actors.chatwoot.dispatcher import Dispatcher, Refresh
from actors.chatwoot.places import configure, deleted
from actors.chatwoot.texts import Picture
from actors.services import Services
from actors.store import Backend, Reader
from supervisor.otp import (
    ONE_FOR_ALL,
    ChildSpec,
    DynamicSupervisor,
    ExitReason,
    Start,
    Supervisor,
    SupervisorFlags,
)

PATH = "chatwoot"
DISPATCHER = f"{PATH}/dispatcher"
"""Where the host casts `Refresh` to when the configuration has changed."""

READERS = 2
"""Read connections that all notifiers share."""


class Chatwoot(Supervisor):
    """The notifiers, and the dispatcher that starts and stops them.

    A notifier that crashes is restarted with a growing delay and counts against nobody.
    """

    def init(self, services: Services, backend: Backend, picture: Picture) -> object:  # type: ignore[override]
        """Start to report.

        Args:
            backend: the database that the store writes.
            picture: draws the text of a QR code as a PNG.
        """
        self._reader = Reader(backend, size=READERS)
        context = Reporting(services, self._reader, picture)
        notifiers = f"{self.path}/notifiers"
        supervision = services.settings.supervision
        flags = SupervisorFlags(ONE_FOR_ALL, supervision.intensity, supervision.period)
        return super().init(
            flags,
            [
                ChildSpec("notifiers", Start(DynamicSupervisor)),
                ChildSpec("dispatcher", Start(Dispatcher, context, notifiers)),
            ],
        )

    def terminate(self, reason: ExitReason) -> None:
        super().terminate(reason)
        self._reader.close()


__all__ = ["DISPATCHER", "PATH", "Chatwoot", "Refresh", "configure", "deleted"]
