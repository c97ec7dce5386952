"""A loopback service, and harbours whose ports use it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.actors.port.harness import Harbour, Watched
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService

_numbers = itertools.count(5511980000001)


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


@pytest.fixture
def number() -> str:
    """A phone number that no other test uses."""
    return str(next(_numbers))


@pytest.fixture(scope="session")
def shared_harbour(service: LoopbackService) -> Iterator[Harbour]:
    harbour = Harbour(service.environment())
    yield harbour
    harbour.close()


@pytest.fixture
def harbour(shared_harbour: Harbour) -> Iterator[Harbour]:
    """The shared harbour, for tests that do it no harm; their ports end with them."""
    before = len(shared_harbour.spawned)
    yield shared_harbour
    for watched in shared_harbour.spawned[before:]:
        watched.handle.kill()


@pytest.fixture
def own_harbour(wa: LoopbackService) -> Iterator[Harbour]:
    """A harbour that the test may wreck."""
    harbour = Harbour(wa.environment())
    yield harbour
    harbour.close()


Link = Callable[..., tuple[Path, str]]


@pytest.fixture
def link(wa: LoopbackService, template: Template, tmp_path: Path) -> Link:
    """Makes a session database with a linked device; gives its path and the device's JID."""

    def make(number: str | None = None) -> tuple[Path, str]:
        number = number or str(next(_numbers))
        database = tmp_path / f"{number}.db"
        return database, template.make(wa, number, database)

    return make


@pytest.fixture
def opened(wa: LoopbackService, harbour: Harbour, link: Link) -> tuple[Watched, str]:
    """A port that is logged in, and its JID."""
    from actors.port.events import Connected

    database, jid = link()
    watched = harbour.spawn(database, jid=jid)
    watched.wait(Connected)
    wa.wait_open(jid)
    return watched, jid
