"""One attempt to deliver one event to a webhook."""

from __future__ import annotations

import ssl
from collections.abc import Callable

from actors.delivery.address import Line, RefusedAddress
from actors.delivery.outcome import Outcome, of_answer, of_error
from actors.delivery.request import Sender, build
from actors.delivery.transport import ERRORS, Transport
from actors.store.outbox import Pending
from supervisor.config import WebhookSettings


class Courier:
    """Sends webhook requests, one at a time. Belongs to one thread; `abort` may be called from any.

    Args:
        sender: what all requests have in common.
        context: TLS settings.
        wall: epoch seconds.
        line: opens the connections.
    """

    def __init__(
        self, sender: Sender, context: ssl.SSLContext, wall: Callable[[], float], line: Line | None = None
    ) -> None:
        self._sender = sender
        self._wall = wall
        self._line = line or Line()
        self._transport = Transport(self._line, context)

    def attempt(self, pending: Pending, settings: WebhookSettings) -> Outcome:
        """Try once, within `settings.timeout` seconds for everything from the name's resolution on."""
        now = self._wall()
        try:
            post = build(pending, settings, self._sender, now)
            self._line.start(settings.timeout, allow_private=settings.allow_private)
            answer = self._transport.send(post)
        except (*ERRORS, RefusedAddress, ValueError) as error:
            return of_error(error)
        return of_answer(answer, now)

    def abort(self) -> None:
        """End the attempt that is going on, and fail all later ones."""
        self._line.abort()

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()
