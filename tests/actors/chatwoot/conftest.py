from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from actors.board import Board
from actors.chatwoot import Chatwoot, Refresh, configure, deleted
from actors.chatwoot.places import Place, place
from actors.events import Events, emit
from actors.services import Services
from actors.store import Backend, Instance, Reader, Store, Tx, instances, open_backend, write
from actors.views import Desired, InstanceView, Phase, QrView
from api.qrimage import png
from supervisor.config import ChatwootSettings, Settings
from supervisor.otp import REST_FOR_ONE, ChildSpec, Start, Supervisor, SupervisorFlags, System
from tests.actors.chatwoot.server import ChatwootServer
from tests.actors.delivery.conftest import quick

NOW = 1_700_000_000.0


@dataclass
class Host:
    """A store, a bus and the reports to Chatwoot in one tree, as the real host has them."""

    system: System
    services: Services
    reader: Reader
    backend: Backend
    rows: dict[str, Instance] = field(default_factory=dict)

    def instance(self, name: str, chatwoot: dict[str, Any]) -> Instance:
        """Store an instance, as the roster does."""
        row = Instance(name=name, token=f"token-{name}", chatwoot=chatwoot)

        def unit(tx: Tx) -> Instance:
            stored = instances.insert(tx, row)
            configure(tx, stored)
            return stored

        self.rows[name] = self.write(unit)
        self.show(name)
        return self.rows[name]

    def configure(self, name: str, chatwoot: dict[str, Any]) -> None:
        """Change its settings, as its session does."""
        row = self.rows[name] = dataclasses.replace(self.rows[name], chatwoot=chatwoot)

        def unit(tx: Tx) -> None:
            instances.update(tx, row.id, chatwoot=chatwoot)
            configure(tx, row)

        self.write(unit)

    def delete(self, name: str) -> None:
        row = self.rows.pop(name)

        def unit(tx: Tx) -> None:
            instances.delete(tx, row.id)
            deleted(tx)

        self.write(unit)

    def show(self, name: str, qr: QrView | None = None) -> None:
        """Publish its snapshot."""
        row = self.rows[name]
        view = InstanceView(row.id, name, Phase.STARTING, Desired.UP, False, row.token, NOW, NOW, qr=qr)
        self.services.board.publish(view, lambda: True)

    def emit(self, name: str, event: str, **data: Any) -> str:
        """Commit an event."""
        webhook = self.services.settings.instance(name).webhook
        return cast(str, self.write(lambda tx: emit(tx, self.rows[name], event, data, settings=webhook)))

    def code(self, name: str, count: int = 1, pairing: str | None = None) -> str:
        """Show a code, and say so, as a session does."""
        code = f"2@{name}-{count}-{'x' * 40}"
        self.show(name, QrView(code, pairing, count, NOW))
        shown = {"instance": name, "code": code, "pairingCode": pairing, "count": count}
        self.emit(name, "qrcode.updated", qrcode=shown)
        return code

    def opened(self, name: str) -> None:
        self.emit(
            name, "connection.update", state="open", wuid="5511999990001@s.whatsapp.net", profileName="Ana"
        )

    def closed(self, name: str, code: int = 401, cause: str = "logout") -> None:
        at = {"status": "closed", "disconnectionAt": NOW, "disconnectionReasonCode": code, "cause": cause}
        self.emit(name, "status.instance", **at)

    def place(self, instance: Instance) -> Place | None:
        return self.reader.query(lambda tx: place(tx, instance.id))

    def write(self, unit: Callable[[Tx], Any]) -> Any:
        return write(self.system, unit)

    def reload(self, **changes: Any) -> None:
        """As after a SIGHUP."""
        self.services.settings = self.services.settings.model_copy(update=changes)
        assert self.system.cast("chatwoot/dispatcher", Refresh())

    def notifiers(self) -> set[str]:
        [found] = [node for node in self.system.tree().children if node.id == "chatwoot"]
        return {child.id for node in found.children if node.id == "notifiers" for child in node.children}


StartHost = Callable[..., Host]


@pytest.fixture
def store_url(tmp_path: Path) -> str:
    """SQLite, which is quick; what the database has a part in overrides it."""
    return f"sqlite:///{tmp_path / 'zapvisor.db'}"


@pytest.fixture
def start_host(store_url: str, tmp_path: Path) -> Iterator[StartHost]:
    """Starts hosts on one database, each stopping the one before; at the end no thread may be left."""
    hosts: list[Host] = []

    def stop() -> None:
        if hosts:
            host = hosts.pop()
            assert host.system.shutdown(15) == []
            host.reader.close()

    def start(enabled: bool = True, picture: Any = None, **webhook: Any) -> Host:
        rows = hosts[-1].rows if hosts else {}
        stop()
        system = System()
        backend = open_backend(store_url, tmp_path)
        settings = Settings(webhook=quick(**webhook), chatwoot=ChatwootSettings(enabled=enabled))
        services = Services(system, settings, Board(), cast(Any, None), cast(Any, None))
        draw = picture or (lambda code: png(code, "#198754"))
        children = [
            ChildSpec("store", Start(Store, backend), shutdown=20),
            ChildSpec("events", Start(Events)),
            ChildSpec("chatwoot", Start(Chatwoot, services, backend, draw), shutdown=10),
        ]
        system.start(Supervisor, SupervisorFlags(REST_FOR_ONE, 3, 5), children)
        hosts.append(Host(system, services, Reader(backend), backend, rows))
        for name in rows:
            hosts[-1].show(name)
        return hosts[-1]

    yield start
    stop()


@pytest.fixture
def server() -> Iterator[ChatwootServer]:
    with ChatwootServer() as server:
        yield server
        assert server.wrong == []


@pytest.fixture
def host(start_host: StartHost) -> Host:
    return start_host()
