"""Tells one instance's Chatwoot account what happens to the instance."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from actors.chatwoot import places
from actors.chatwoot.account import Account
from actors.chatwoot.api import Api
from actors.chatwoot.context import Reporting
from actors.chatwoot.desk import Desk
from actors.chatwoot.places import Place
from actors.chatwoot.texts import Message, compose, is_code, is_open
from actors.chatwoot.wire import ChatwootError, Refused, Wire
from actors.delivery.policy import retry_delay
from actors.store import EventRow, StoreUnavailable, Tx, outbox, write
from supervisor.config import WebhookSettings
from supervisor.otp import Actor, ExitReason, Recovered, Timer

BATCH = 50
"""Events that are read at a time."""

QUIET = 30.0
"""Seconds in which a connection that flaps is called connected once, as in Evolution API."""

STORE_DEADLINE = 10.0
STORE_RETRY = 1.0
STABLE_SECONDS = 60.0

LASTING = frozenset({401, 403, 404, 408, 429})
"""Refusals below 500 that are not the message's fault: it waits until they pass."""


@dataclass(frozen=True, slots=True)
class Look:
    """Cast: there may be something to report."""


@dataclass(frozen=True, slots=True)
class _Again:
    """Time to try again."""


@dataclass(frozen=True, slots=True)
class _Stable:
    """It has run long enough to be called well."""


class Notifier(Actor):
    """Reports the events of one instance in their order, each once as far as can be told, one request at a time.

    It reads the events from the database, where they are for a day, and notes there how far it is. What Chatwoot does
    not take waits, with growing delays; only a message that it refuses again and again is given up.
    """

    def init(self, context: Reporting, instance_id: str, name: str, account: Account, wire: Wire) -> None:
        """Begin with what has happened since the place that was noted.

        Args:
            wire: sends requests; its owner may abort it, which ends this notifier's last request.
        """
        self._context = context
        self._id, self._name, self._account, self._wire = instance_id, name, account, wire
        self._desk = Desk(account)
        self._place: Place | None = None
        self._timer: Timer | None = None
        self._failures = self._refusals = 0
        self._maybe_sent = True
        self._said_open: float | None = None
        self.send_after(STABLE_SECONDS, _Stable())
        self.ref.cast(Look())

    def handle_cast(self, message: object) -> None:
        match message:
            case Look():
                if self._timer is None:
                    self._step()
            case _:
                super().handle_cast(message)

    def handle_info(self, message: object) -> None:
        match message:
            case _Again():
                self._timer = None
                self._step()
            case _Stable():
                parent, _, id = self.path.rpartition("/")
                self.system.cast(parent, Recovered(id))
            case _:
                super().handle_info(message)

    def terminate(self, reason: ExitReason) -> None:
        self._wire.close()

    # -- one message at a time, so that a stop is heard between two --------------------------------------------

    def _step(self) -> None:
        try:
            found = self._next()
            if found is not None:
                self._report(*found)
        except StoreUnavailable as error:
            self.log.warning("the database cannot be used now: %s", error)
            self._again(STORE_RETRY)
        finally:
            self._wire.close()

    def _next(self) -> tuple[EventRow, Message, Place] | None:
        """The next event that somebody is told of. What comes before it is passed over."""
        place = self._place or self._read(partial(places.place, instance_id=self._id))
        while place is not None:
            events = self._read(
                partial(outbox.events_after, seq=place.seq, limit=BATCH, instance_id=self._id)
            )
            for event in events:
                message = self._message(event)
                if message is not None:
                    return event, message, place
                place = self._place = replace(place, seq=event.seq)
            if len(events) < BATCH:
                return None
            self._note(place)
        return None

    def _message(self, event: EventRow) -> Message | None:
        if is_open(event) and self._said_open is not None and event.created_at - self._said_open < QUIET:
            return None
        view = self._context.services.board.view(self._name)
        settings = self._context.services.settings.instance(self._name)
        return compose(
            event,
            self._account.inbox,
            view.qr if view is not None else None,
            self._context.picture,
            lambda code: settings.disconnect_rule(code).reason,
        )

    def _report(self, event: EventRow, message: Message, place: Place) -> None:
        api = Api(self._account, self._wire, self._settings)
        try:
            conversation = self._desk.post(
                api, message, event.id, place.conversation, maybe_sent=self._maybe_sent
            )
        except ChatwootError as error:
            self._failed(error, event, place)
            return
        if self._failures:
            self.log.info("Chatwoot takes messages again")
        self._failures = self._refusals = 0
        self._done(event, Place(event.seq, conversation))

    def _done(self, event: EventRow, place: Place) -> None:
        if is_open(event):
            self._said_open = event.created_at
        elif is_code(event):
            self._said_open = None
        self._note(place)
        self._maybe_sent = False
        self.ref.cast(Look())

    def _failed(self, error: ChatwootError, event: EventRow, place: Place) -> None:
        self._maybe_sent = True
        self._desk.forget()
        self._failures += 1
        if isinstance(error, Refused) and error.status < 500 and error.status not in LASTING:
            self._refusals += 1
        settings = self._settings
        if self._refusals >= settings.max_attempts:
            self.log.error("a message for %s is given up: Chatwoot does not take it: %s", event.event, error)
            self._refusals = 0
            self._done(event, replace(place, seq=event.seq))
            return
        delay = max(retry_delay(settings, self._failures), error.retry_after or 0.0)
        say = self.log.warning if self._failures == 1 else self.log.debug
        say("Chatwoot was not told of %s, next attempt in %.1f s: %s", event.event, delay, error)
        self._again(delay)

    def _again(self, delay: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = self.send_after(delay, _Again())

    # -- the database -------------------------------------------------------------------------------------------

    def _note(self, place: Place) -> None:
        self._place = place

        def unit(tx: Tx) -> None:
            places.move(tx, self._id, place)

        write(self.system, unit, STORE_DEADLINE)

    def _read(self, query: Any) -> Any:
        return self._context.reader.query(query, STORE_DEADLINE)

    @property
    def _settings(self) -> WebhookSettings:
        """Time limits, delays and address rules: those of webhooks."""
        return self._context.services.settings.instance(self._name).webhook
