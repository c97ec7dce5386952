"""Many clients at once, each a real one in a process of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from .harness import Client, Template
from .service import LoopbackService

COUNT = 20


@pytest.fixture
def crowd(
    service: LoopbackService, template: Template, tmp_path: Path
) -> Iterator[tuple[LoopbackService, list[Client]]]:
    with LoopbackService(tmp_path / "wa", authority=service.authority.directory) as wa:
        databases = [tmp_path / f"{index}.db" for index in range(COUNT)]
        for index, database in enumerate(databases):
            template.make(wa, str(5511933000000 + index), database)
        clients = [Client(wa, database) for database in databases]
        yield wa, clients
        for client in clients:
            client.close()


def test_twenty_clients_open_drop_and_come_back(crowd: tuple[LoopbackService, list[Client]]) -> None:
    wa, clients = crowd
    assert len(set(wa.wait_open(count=COUNT, timeout=60))) == COUNT
    for client in clients:
        client.wait("Connected", timeout=30)
    with wa.stopped():
        for client in clients:
            assert client.until("Disconnected", timeout=30) == ["Disconnected"]
    wa.wait_open(count=COUNT, timeout=60)
    for client in clients:
        assert client.until("Connected", timeout=30) == ["Connected"]
    assert len(wa.devices()) == COUNT
