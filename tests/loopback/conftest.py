"""Fixtures of the loopback service's own tests: a service, a device to copy, and real clients."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from .harness import Client, Template
from .service import LoopbackService

_numbers = itertools.count(5511990000001)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackService]:
    with LoopbackService(tmp_path_factory.mktemp("wa")) as wa:
        yield wa


@pytest.fixture
def wa(service: LoopbackService) -> Iterator[LoopbackService]:
    """The shared service, without the faults of the test before."""
    yield service
    service.clear_rules()


@pytest.fixture(scope="session")
def template(service: LoopbackService, tmp_path_factory: pytest.TempPathFactory) -> Template:
    return Template(service, tmp_path_factory.mktemp("template"))


@dataclass(frozen=True)
class BlackHoled:
    """A client whose connection lets nothing through since ``began`` (monotonic seconds)."""

    client: Client
    service: LoopbackService
    began: float


@pytest.fixture(scope="session")
def _black_holed(
    service: LoopbackService, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[BlackHoled]:
    folder = tmp_path_factory.mktemp("black-hole")
    with LoopbackService(folder / "wa", authority=service.authority.directory) as wa:
        jid = template.make(wa, "5511911111111", folder / "client.db")
        with Client(wa, folder / "client.db") as client:
            client.wait("Connected")
            wa.wait_open(jid)
            wa.connection(jid).black_hole()
            yield BlackHoled(client, wa, time.monotonic())


@pytest.fixture(scope="session", autouse=True)
def _begin_early(request: pytest.FixtureRequest) -> None:
    """Begin what takes half a minute while other tests run, if it is wanted at all."""
    if any("black_holed" in getattr(item, "fixturenames", ()) for item in request.session.items):
        request.getfixturevalue("_black_holed")


@pytest.fixture
def black_holed(_black_holed: BlackHoled) -> BlackHoled:
    return _black_holed


@pytest.fixture
def number() -> str:
    """A phone number that no other test uses."""
    return str(next(_numbers))


@dataclass(frozen=True)
class Linked:
    """A real client with a device that was linked before it started."""

    client: Client
    jid: str
    number: str
    database: Path


@pytest.fixture
def start(wa: LoopbackService, tmp_path: Path) -> Iterator[Callable[..., Client]]:
    """Starts clients on a database; they end with the test."""
    clients: list[Client] = []

    def starter(
        database: str = "client.db", *, service: LoopbackService = wa, proxy: str | None = None
    ) -> Client:
        clients.append(Client(service, tmp_path / database, proxy=proxy))
        return clients[-1]

    yield starter
    for client in clients:
        client.close()


@pytest.fixture
def linked(
    wa: LoopbackService, template: Template, number: str, tmp_path: Path, start: Callable[..., Client]
) -> Linked:
    """A client with a device, started; nothing is awaited yet."""
    database = tmp_path / "client.db"
    jid = template.make(wa, number, database)
    return Linked(start(), jid, number, database)


@pytest.fixture
def opened(wa: LoopbackService, linked: Linked) -> Linked:
    """A client that is logged in."""
    linked.client.wait("Connected")
    wa.wait_open(linked.jid)
    return linked
