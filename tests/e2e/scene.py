"""One host for many disconnections: each has an instance of its own, and what is needed to end its connection."""

from __future__ import annotations

import itertools
import os
import signal
import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actors.store import Instance
from tests.e2e.fleet import linked, settle
from tests.e2e.harness import HostProcess, Receiver
from tests.loopback.api import Connection, Rule
from tests.loopback.harness import Template, session_rows
from tests.loopback.service import LoopbackService

_numbers = itertools.count(5511944000001)


@dataclass
class Scene:
    """One instance of a shared host, and the service that its client believes to be WhatsApp.

    Attributes:
        jid: its linked device; empty when it has none.
        repairs: what ends the faults of this scene, newest last.
    """

    host: HostProcess
    wa: LoopbackService
    name: str
    id: str
    number: str
    jid: str
    receiver: Receiver
    repairs: list[Callable[[], object]] = field(default_factory=list)

    # -- before

    def open(self) -> None:
        """From rest to open, with the session that is there."""
        mark = self.host.log.mark()
        self.host.api.connect(self.name)
        self.host.phase(self.name, "open", after=mark)

    def connect(self) -> None:
        """Ask for a connection, and do not wait for what comes of it."""
        self.host.api.call("POST", f"/instance/forceReconnection/{self.name}")

    def pair(self) -> None:
        """Have the code scanned that is shown; what follows is not waited for."""
        scan = self.wa.phone(self.number).scan(self.code())
        assert scan.paired, scan
        self.jid = scan.jid

    def code(self) -> str:
        """From rest to a code that can be scanned."""
        return str(self.host.api.connect(self.name)["code"])

    # -- faults

    @property
    def connection(self) -> Connection:
        return self.wa.connection(self.jid)

    def rule(self, rule: Rule) -> None:
        """A fault that lasts until the disconnection has been seen."""
        self.repairs.append(rule.end)

    def proxy(self, address: tuple[str, int] | None) -> None:
        """Send the instance through a proxy; None: the way that all others go."""
        body: dict[str, Any] = {"enabled": False, "host": "", "port": "", "protocol": "http"}
        if address is not None:
            body = {"enabled": True, "host": address[0], "port": str(address[1]), "protocol": "http"}
        self.host.api.call("POST", f"/proxy/set/{self.name}", json=body, expect=201)

    def signal(self, number: signal.Signals) -> None:
        """To the process of its connection."""
        os.kill(self.host.port_pid(self.name), number)

    def repair(self) -> None:
        while self.repairs:
            self.repairs.pop()()

    # -- after

    @property
    def session(self) -> Path:
        """The file with its credentials."""
        return self.host.data_dir / "sessions" / f"{self.id}.db"

    def devices(self) -> int:
        """How many devices the credentials are for; 0 when there are none."""
        return session_rows(self.session) if self.session.exists() else 0

    def sql(self, statement: str) -> None:
        """Change the credentials of an instance that is not connected."""
        with sqlite3.connect(self.session) as database:
            database.execute(statement)
        database.close()

    def history(self) -> list[dict[str, Any]]:
        """Newest first."""
        answer = self.host.api.call("GET", f"/instance/history/{self.name}")
        return list(answer["history"])

    def told(self, event: str, **data: Any) -> dict[str, Any]:
        """Wait for an event of this instance at the webhook."""

        def is_it(body: dict[str, Any]) -> bool:
            return body["instance"] == self.name and data.items() <= body["data"].items()

        return dict(self.receiver.wait_for(event, is_it)["data"])


class Stage:
    """A host with a closed instance for each scene that needs a linked device.

    Args:
        directory: of the host.
        linked_names: those instances.
        settings: sections of the INI.
        proxied: whether clients go to the service by themselves.
        prefix: see `HostProcess`.
    """

    def __init__(
        self,
        directory: Path,
        wa: LoopbackService,
        template: Template,
        linked_names: Iterable[str],
        *,
        settings: Mapping[str, Mapping[str, str]],
        proxied: bool = True,
        prefix: Sequence[str] = (),
    ) -> None:
        self.wa = wa
        self.receiver = Receiver()
        environment = wa.environment() if proxied else {**wa.environment(proxy=False), "HTTPS_PROXY": ""}
        webhook = {"url": self.receiver.url, "initial_delay": "100ms"}
        self.host = HostProcess(directory, environment, {**settings, "webhook": webhook}, prefix)
        rest = {"desired": "down", "phase": "closed"}
        rows = [linked(name, str(next(_numbers)), **rest) for name in linked_names]
        self._rows: dict[str, Instance] = {row.name: row for row in rows}
        self._devices = settle(self.host.data_dir, wa, template, rows)

    def start(self) -> None:
        self.host.start()
        self.host.log.wait_for("boot")

    def scene(self, name: str) -> Scene:
        """The instance of that name."""
        row = self._rows[name]
        assert row.number is not None
        return Scene(self.host, self.wa, name, row.id, row.number, self._devices[name], self.receiver)

    def new_scene(self, name: str, wa: LoopbackService | None = None) -> Scene:
        """A new instance without a device, for a service of its own if one is given."""
        proxy = (
            {}
            if wa is None
            else {"proxyHost": "127.0.0.1", "proxyPort": str(wa.port), "proxyProtocol": "http"}
        )
        created = self.host.api.create(name, **proxy)["instance"]["instanceId"]
        return Scene(self.host, wa or self.wa, name, created, str(next(_numbers)), "", self.receiver)

    def stop(self) -> None:
        with self.receiver:
            assert self.host.stop() == 0
        assert self.host.seen.leaks(self.host.directory / "host.log") == []
