"""The loopback service, hosts on it, and instances that are paired by scanning the picture the API serves."""

from __future__ import annotations

import io
import itertools
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from PIL import Image

from tests.camera import read_qr
from tests.e2e.harness import Api, HostProcess
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService

_numbers = itertools.count(5511988000001)


@pytest.fixture(scope="session")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LoopbackService]:
    with LoopbackService(tmp_path_factory.mktemp("wa")) as wa:
        yield wa


@pytest.fixture(scope="session")
def template(service: LoopbackService, tmp_path_factory: pytest.TempPathFactory) -> Template:
    """A paired device to make any number of linked ones from."""
    return Template(service, tmp_path_factory.mktemp("template"))


@pytest.fixture
def wa(service: LoopbackService) -> Iterator[LoopbackService]:
    """The shared service, without the faults of the test before."""
    yield service
    service.clear_rules()
    service.start()


@pytest.fixture
def number() -> str:
    """A phone number that no other test uses."""
    return str(next(_numbers))


@pytest.fixture
def numbers() -> Callable[[int], list[str]]:
    return lambda count: [str(next(_numbers)) for _ in range(count)]


StartHost = Callable[..., HostProcess]


@pytest.fixture
def start_host(wa: LoopbackService, tmp_path: Path) -> Iterator[StartHost]:
    """Starts hosts; they end with the test, and what they logged is searched for secrets."""
    hosts: list[HostProcess] = []

    def start(settings: Mapping[str, Mapping[str, str]] | None = None, name: str = "host") -> HostProcess:
        hosts.append(HostProcess(tmp_path / name, wa.environment(), settings))
        return hosts[-1].start()

    yield start
    for host in hosts:
        host.stop()
        assert host.seen.leaks(host.directory / "host.log") == []


@pytest.fixture
def host(start_host: StartHost) -> HostProcess:
    return start_host()


def picture(api: Api, name: str) -> str:
    """The text of the QR picture that the API serves, read as a phone reads it."""
    answer = api.client.get(f"/instance/qr/{name}.png")
    assert answer.status_code == 200, answer.text
    return read_qr(Image.open(io.BytesIO(answer.content)))


def pair(host: HostProcess, wa: LoopbackService, name: str, number: str) -> str:
    """From a closed instance to an open one, by scanning the code that `connect` answers; the device."""
    mark = host.log.mark()
    code = host.api.connect(name)["code"]
    scan = wa.phone(number).scan(code)
    assert scan.paired, scan
    host.phase(name, "open", after=mark)
    return scan.jid
