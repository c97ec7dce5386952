"""A host for all tests of a module, and a client that holds no key of its own."""

from __future__ import annotations

import itertools
import sqlite3
from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.conftest import number, service, wa
from tests.e2e.harness import HostProcess
from tests.loopback.service import LoopbackService

__all__ = ["number", "service", "wa"]

MANAGER_ORIGIN = "https://manager.example.org"
SETTINGS = {"chatwoot": {"enabled": "yes"}, "api": {"cors_origins": MANAGER_ORIGIN}}

_names = itertools.count(1)


@pytest.fixture(scope="module")
def host(service: LoopbackService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    host = HostProcess(tmp_path_factory.mktemp("host"), service.environment(), SETTINGS).start()
    yield host
    host.stop()


@pytest.fixture
def name() -> str:
    """An instance's name that no other test uses."""
    return f"shop-{next(_names)}"


@pytest.fixture(scope="module")
def bare(host: HostProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=host.url, timeout=40.0) as client:
        yield client


def give_account_a_name(host: HostProcess, instance: str) -> None:
    """What the phone tells some seconds after linking, and the loopback service never: the client library sends no
    presence without it. It counts from the next connection on."""
    file = host.data_dir / "sessions" / f"{host.api.row(instance)['id']}.db"
    with sqlite3.connect(file, timeout=10) as credentials:
        credentials.execute("UPDATE whatsmeow_device SET push_name = 'Shop'")
    credentials.close()
