"""With `allow_private` off, nothing leads a webhook into the host's own network."""

from __future__ import annotations

import ipaddress
import socket
import threading
from collections.abc import Iterator
from typing import Any

import httpcore
import pytest
from hypothesis import given
from hypothesis import strategies as st

from actors.delivery.address import Endpoint, Line, LookupFailed, RefusedAddress, is_public, resolve
from tests.actors.delivery.receiver import Receiver


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fc00::1",
        "ff02::1",
        "::ffff:127.0.0.1",
        "::ffff:169.254.169.254",
        "::127.0.0.1",
        "2002:7f00:1::",
        "2001:0:4136:e378:8000:63bf:80ff:fffe",
        "64:ff9b::10.0.0.1",
        "64:ff9b:1::1",
        "2001:db8::1",
        "fec0::1",
        "::ffff:0:7f00:1",
        "5f00::1",
    ],
)
def test_addresses_that_are_not_public(address: str) -> None:
    assert not is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::8.8.8.8"])
def test_addresses_that_are_public(address: str) -> None:
    assert is_public(ipaddress.ip_address(address))


@given(st.ip_addresses(v=4))
def test_an_address_in_another_dress_is_judged_the_same(address: ipaddress.IPv4Address) -> None:
    for dress in (f"::ffff:{address}", f"64:ff9b::{address}"):
        assert is_public(ipaddress.ip_address(dress)) == is_public(address)


def endpoint(address: str, port: int) -> Endpoint:
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return family, (address, port)


class Names:
    """A resolver whose answer changes with every question."""

    def __init__(self, *answers: list[str]) -> None:
        self._answers = list(answers)
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[Endpoint]:
        self.asked += 1
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [endpoint(address, port) for address in answer]


def connect(line: Line, port: int = 80, *, allow_private: bool = False, seconds: float = 5.0) -> Any:
    line.start(seconds, allow_private=allow_private)
    return line.connect_tcp("name.example", port)


@pytest.fixture
def listener() -> Iterator[Receiver]:
    receiver = Receiver().start()
    yield receiver
    receiver.stop()


def test_a_name_of_a_private_address_is_refused_before_a_connection(listener: Receiver) -> None:
    line = Line(Names(["127.0.0.1"]))
    with pytest.raises(RefusedAddress, match="private, link-local"):
        connect(line, listener.port)
    assert line.connects == 0


@pytest.mark.parametrize("spelling", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "::1", "0.0.0.0"])
def test_every_spelling_of_the_hosts_own_address_is_refused(spelling: str) -> None:
    line = Line(resolve)
    line.start(5.0, allow_private=False)
    with pytest.raises((RefusedAddress, LookupFailed)):
        line.connect_tcp(spelling, 80)


def test_the_connection_goes_to_the_address_that_was_checked(
    listener: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.delivery.address.is_public", lambda address: str(address) == "127.0.0.1")
    names = Names(["127.0.0.1"], ["127.9.9.9"])
    connect(Line(names), listener.port).close()
    assert names.asked == 1


def test_a_name_that_changes_its_address_is_checked_again() -> None:
    line = Line(Names(["8.8.8.8"], ["127.0.0.1"]))
    line.start(0.0, allow_private=False)
    with pytest.raises(httpcore.ConnectTimeout):
        line.connect_tcp("name.example", 80)
    line = Line(Names(["10.0.0.1"]))
    with pytest.raises(RefusedAddress):
        connect(line)


def test_private_addresses_among_public_ones_are_left_out(
    listener: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("actors.delivery.address.is_public", lambda address: str(address) == "127.0.0.1")
    stream = connect(Line(Names(["10.255.255.1", "127.0.0.1"])), listener.port, seconds=2.0)
    stream.close()


def test_with_private_addresses_allowed_they_are_reached(listener: Receiver) -> None:
    connect(Line(Names(["127.0.0.1"])), listener.port, allow_private=True).close()


def test_the_next_address_is_tried_when_one_refuses(listener: Receiver) -> None:
    connect(Line(Names(["127.0.0.9", "127.0.0.1"])), listener.port, allow_private=True).close()


def test_a_name_that_does_not_exist_says_so_without_the_name() -> None:
    line = Line(resolve)
    line.start(10.0, allow_private=True)
    with pytest.raises(LookupFailed, match="name resolution failed") as caught:
        line.connect_tcp("no-such-host.invalid", 80)
    assert "no-such-host" not in str(caught.value)


def test_a_resolver_that_hangs_costs_no_more_than_the_deadline_and_one_thread() -> None:
    leave = threading.Event()

    def hanging(host: str, port: int) -> list[Endpoint]:
        leave.wait(30)
        return []

    line = Line(hanging)
    with pytest.raises(httpcore.ConnectTimeout):
        connect(line, seconds=0.05)
    with pytest.raises(LookupFailed, match="still hangs"):
        connect(line, seconds=0.05)
    leave.set()


@pytest.mark.parametrize("stage", ["lookup", "read"])
def test_an_abort_from_another_thread_ends_what_waits(stage: str, listener: Receiver) -> None:
    waiting, leave = threading.Event(), threading.Event()

    def resolver(host: str, port: int) -> list[Endpoint]:
        if stage == "lookup":
            waiting.set()
            leave.wait(30)
        return [endpoint("127.0.0.1", port)]

    line, ended = Line(resolver), threading.Event()

    def exchange() -> None:
        stream = connect(line, listener.port, allow_private=True, seconds=60)
        waiting.set()
        if stream.read(1) == b"":
            raise httpcore.ReadError("ended")

    def wait() -> None:
        with pytest.raises((httpcore.ReadTimeout, httpcore.ConnectTimeout, httpcore.ReadError)):
            exchange()
        ended.set()

    threading.Thread(target=wait, daemon=True).start()
    assert waiting.wait(10)
    line.abort()
    assert ended.wait(10)
    leave.set()


def test_a_peer_that_drips_does_not_stretch_the_deadline() -> None:
    server = socket.create_server(("127.0.0.1", 0))
    stop = threading.Event()

    def drip() -> None:
        peer, _ = server.accept()
        while not stop.wait(0.02):
            try:
                peer.send(b"x")
            except OSError:
                return

    threading.Thread(target=drip, daemon=True).start()
    line = Line()
    line.start(0.3, allow_private=True)
    stream = line.connect_tcp("127.0.0.1", server.getsockname()[1])

    def read_all() -> None:
        while stream.read(1):
            pass

    with pytest.raises(httpcore.ReadTimeout):
        read_all()
    stop.set()
    server.close()
