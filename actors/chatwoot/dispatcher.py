"""Sees to it that every instance with a Chatwoot account has a notifier, and that the notifier knows of news."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import httpx
import tenacity

from actors.chatwoot import places
from actors.chatwoot.account import Account
from actors.chatwoot.context import Reporting
from actors.chatwoot.notifier import Look, Notifier
from actors.chatwoot.wire import Wire
from actors.events import PATH as EVENTS
from actors.events import Committed, Subscribe
from actors.store import StoreUnavailable, Tx, instances
from actors.store.outbox import EVENT_TOPIC
from supervisor.otp import (
    Actor,
    AdminError,
    CallError,
    ChildSpec,
    ExitReason,
    Ladder,
    NotFound,
    Ref,
    Start,
    StartFailed,
    start_child,
    terminate_child,
)

CALL_DEADLINE = 10.0
RETRY = 1.0
"""Seconds after which what could not be done is tried again."""

LAG = 10
"""Messages in a notifier's mailbox beyond which another tells it nothing new."""

NOTIFIER_SHUTDOWN = 5.0
NOTIFIER_BACK = tenacity.wait_exponential(multiplier=0.5, max=60)
"""Seconds before a notifier that crashed is started again."""


@dataclass(frozen=True, slots=True)
class Refresh:
    """Cast: the configuration may have changed."""


@dataclass(frozen=True, slots=True)
class _PassOn:
    """Time to look again what is new."""


@dataclass(frozen=True, slots=True)
class _Reporter:
    """An instance that reports, and the wire of its notifier."""

    name: str
    account: Account
    wire: Wire


class Dispatcher(Actor):
    """Starts and stops notifiers as the settings of instances change, and passes on what is committed."""

    def init(self, context: Reporting, notifiers: str) -> None:
        """Begin with the instances as they are stored.

        Args:
            notifiers: the path of the notifiers' supervisor.
        """
        self._context = context
        self._notifiers = notifiers
        self._running: dict[str, _Reporter] = {}
        self._subscribed = False
        self._seen = 0
        self.ref.cast(Refresh())

    def handle_cast(self, message: Any) -> None:
        match message:
            case Refresh():
                self._refresh()
            case Committed(topics=topics):
                if places.TOPIC in topics:
                    self._refresh()
                if EVENT_TOPIC in topics and self._running:
                    self._pass_on()
            case _:
                super().handle_cast(message)

    def handle_info(self, message: Any) -> None:
        match message:
            case Refresh():
                self._refresh()
            case _PassOn():
                self._pass_on()
            case _:
                super().handle_info(message)

    def terminate(self, reason: ExitReason) -> None:
        """Let no notifier keep the host waiting for a request that hangs."""
        for reporter in self._running.values():
            reporter.wire.abort()

    def _refresh(self) -> None:
        """Make the notifiers those that the settings ask for."""
        try:
            if not self._subscribed:
                self.system.call(EVENTS, Subscribe(self.ref), CALL_DEADLINE)
                self._subscribed = True
            wanted, newest = self._context.reader.query(self._wanted, CALL_DEADLINE)
            if not self._running:
                self._seen = newest
            self._settle(wanted)
        except (StoreUnavailable, CallError, AdminError, StartFailed) as error:
            self.log.warning("the notifiers are not as the settings ask yet: %s", error)
            self.send_after(RETRY, Refresh())

    def _wanted(self, tx: Tx) -> tuple[dict[str, tuple[str, Account]], int]:
        wanted = {}
        if self._context.services.settings.chatwoot.enabled:
            for row in instances.all_instances(tx):
                account = Account.of(row.name, row.chatwoot)
                if account is not None:
                    wanted[row.id] = row.name, account
        return wanted, places.newest_event(tx)

    def _settle(self, wanted: dict[str, tuple[str, Account]]) -> None:
        for id, reporter in list(self._running.items()):
            if wanted.get(id) != (reporter.name, reporter.account):
                self._dismiss(id, reporter)
        for id, (name, account) in wanted.items():
            if id not in self._running:
                self._employ(id, name, account)

    def _employ(self, id: str, name: str, account: Account) -> None:
        wire = Wire(lambda: self._tls)
        start = Start(Notifier, self._context, id, name, account, wire)
        recovery = Ladder([None], NOTIFIER_BACK)
        spec = ChildSpec(name, start, shutdown=NOTIFIER_SHUTDOWN, recovery=recovery)
        start_child(self._supervisor(), spec, CALL_DEADLINE)
        self._running[id] = _Reporter(name, account, wire)

    def _dismiss(self, id: str, reporter: _Reporter) -> None:
        reporter.wire.abort()
        try:
            terminate_child(self._supervisor(), reporter.name, CALL_DEADLINE)
        except NotFound:
            self.log.debug("the notifier of %s was gone already", reporter.name)
        del self._running[id]

    def _pass_on(self) -> None:
        """Tell the notifiers whose instances have events that they have not been told of."""
        after = self._seen
        try:
            news, self._seen = self._context.reader.query(
                lambda tx: places.instances_with_events(tx, after), CALL_DEADLINE
            )
        except StoreUnavailable as error:
            self.log.warning("the events cannot be read now: %s", error)
            self.send_after(RETRY, _PassOn())
            return
        for id in news:
            reporter = self._running.get(id)
            ref = reporter and self.system.whereis(f"{self._notifiers}/{reporter.name}")
            if ref and ref.mailbox_length < LAG:
                ref.cast(Look())

    def _supervisor(self) -> Ref:
        ref = self.system.whereis(self._notifiers)
        if ref is None:
            raise StoreUnavailable("the notifiers' supervisor is down")
        return ref

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made when the first notifier needs it: it takes tens of milliseconds."""
        return httpx.create_ssl_context()
