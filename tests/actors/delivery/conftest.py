from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actors.delivery import Delivered, Delivery
from actors.events import Events, emit
from actors.store import (
    Backend,
    Instance,
    Reader,
    Store,
    StoreUnavailable,
    Tx,
    deliveries,
    instances,
    open_backend,
    write,
)
from actors.store.deliveries import DeliveryView
from supervisor.config import Settings, WebhookSettings
from supervisor.otp import (
    REST_FOR_ONE,
    ChildSpec,
    Clock,
    ManualClock,
    Start,
    Supervisor,
    SupervisorFlags,
    System,
)
from tests.actors.delivery.receiver import Receiver


@dataclass
class Host:
    """A store, a bus and deliveries in one tree, as the real host has them."""

    system: System
    reader: Reader
    settings: Settings
    backend: Backend
    rows: dict[str, Instance] = field(default_factory=dict)
    attempts: list[Delivered] = field(default_factory=list)
    _tried: threading.Condition = field(default_factory=threading.Condition)

    def observe(self, attempt: Delivered) -> None:
        with self._tried:
            self.attempts.append(attempt)
            self._tried.notify_all()

    def wait_attempts(self, count: int, seconds: float = 20.0) -> None:
        """Wait until lanes have learned the outcome of so many attempts, and have nothing to do now."""
        with self._tried:
            if not self._tried.wait_for(lambda: len(self.attempts) >= count, seconds):
                raise TimeoutError(f"{len(self.attempts)} of {count} attempts after {seconds:g} s")
        if isinstance(self.system.clock, ManualClock):
            self.system.settle()

    def instance(self, name: str, url: str | None = None, **webhook: Any) -> Instance:
        """Store an instance with a webhook."""
        own = {"enabled": True, "url": url, **webhook} if url else {}
        row = Instance(name=name, token=f"token-{name}", webhook=own)
        self.rows[name] = self.write(lambda tx: instances.insert(tx, row))
        return self.rows[name]

    def emit(self, name: str, number: int = 0, event: str = "connection.update", **data: Any) -> str:
        """Commit an event of an instance; `number` is in its data."""
        return self.write(self.emitting(name, number, event, **data))

    def emitting(
        self, name: str, number: int = 0, event: str = "connection.update", **data: Any
    ) -> Callable[[Tx], str]:
        fields = data or {"state": "open", "number": number}
        webhook = self.settings.instance(name).webhook
        return lambda tx: emit(tx, self.rows[name], event, fields, settings=webhook)

    def write(self, unit: Callable[[Tx], Any]) -> Any:
        return write(self.system, unit)

    def again(self, unit: Callable[[Tx], Any]) -> Any:
        """Write as soon as the store takes it again."""
        for _ in range(100_000):
            try:
                return self.write(unit)
            except StoreUnavailable:
                continue
        raise TimeoutError("the store did not come back")

    def deliveries(self, **chosen: Any) -> list[DeliveryView]:
        page = self.reader.query(lambda tx: deliveries.page(tx, limit=500, **chosen))
        return list(page.deliveries)

    def until(self, ready: Callable[[list[DeliveryView]], bool], **chosen: Any) -> list[DeliveryView]:
        """Wait until something is true of the outbox. Each look is a write, so it waits for the writer's turn."""
        for _ in range(2000):
            seen = list(self.write(lambda tx: deliveries.page(tx, limit=500, **chosen)).deliveries)
            if ready(seen):
                return seen
        raise TimeoutError(str(seen))

    def until_settled(self) -> list[DeliveryView]:
        """Wait until nothing is pending."""
        return self.until(lambda seen: all(view.status != "pending" for view in seen))


def quick(**more: Any) -> WebhookSettings:
    """Settings with delays of milliseconds."""
    return WebhookSettings(
        **{"initial_delay": 0.01, "max_delay": 0.05, "jitter": 0.0, "timeout": 5.0, **more}
    )


@pytest.fixture
def start_host(store_url: str, tmp_path: Path) -> Iterator[Callable[..., Host]]:
    """Starts hosts on one database, each stopping the one before; at the end no thread may be left."""
    hosts: list[Host] = []

    def stop() -> None:
        if hosts:
            host = hosts.pop()
            assert host.system.shutdown(15) == []
            host.reader.close()

    def start(webhook: WebhookSettings | None = None, clock: Clock | None = None, **more: Any) -> Host:
        rows = hosts[-1].rows if hosts else {}
        stop()
        system = System(clock)
        backend = open_backend(store_url, tmp_path)
        settings = Settings(webhook=webhook or quick(), **more.pop("settings", {}))
        host = Host(system, Reader(backend), settings, backend, rows)
        observe = more.pop("observe", host.observe)
        children = [
            ChildSpec("store", Start(Store, backend), shutdown=20),
            ChildSpec("events", Start(Events)),
            ChildSpec("delivery", Start(Delivery, backend, settings, observe=observe, **more)),
        ]
        system.start(Supervisor, SupervisorFlags(REST_FOR_ONE, 3, 5), children)
        hosts.append(host)
        return host

    yield start
    stop()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver().start()
    yield receiver
    receiver.stop()
