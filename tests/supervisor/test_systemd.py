"""sd_notify over real sockets."""

from __future__ import annotations

import logging
import os
import secrets
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.systemd import Notifier


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """What systemd holds, and the address as it stands in NOTIFY_SOCKET."""
    address = str(tmp_path / "notify") if request.param == "path" else f"@zapvisor-{secrets.token_hex(8)}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address.replace("@", "\0", 1) if request.param == "abstract" else address)
        listener.settimeout(5)
        yield listener, address


def receive(listener: socket.socket) -> list[str]:
    return listener.recv(4096).decode().split("\n")


def test_every_state_arrives_as_systemd_reads_it(manager: tuple[socket.socket, str]) -> None:
    listener, address = manager
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": address})
    assert notifier.enabled
    assert notifier.ready("2 of 2\n instances open")
    assert receive(listener) == ["READY=1", "STATUS=2 of 2 instances open"]
    assert notifier.status("1 of 2")
    assert receive(listener) == ["STATUS=1 of 2"]
    assert notifier.watchdog()
    assert receive(listener) == ["WATCHDOG=1"]
    assert notifier.stopping()
    assert receive(listener) == ["STOPPING=1"]
    assert notifier.extend_timeout(1.5)
    assert receive(listener) == ["EXTEND_TIMEOUT_USEC=1500000"]
    assert notifier.reloading()
    first, second = receive(listener)
    assert first == "RELOADING=1"
    assert second.startswith("MONOTONIC_USEC=")
    assert int(second.partition("=")[2]) > 0


def test_children_cannot_speak_for_the_host() -> None:
    environ = {
        "NOTIFY_SOCKET": "@x",
        "WATCHDOG_USEC": "30000000",
        "WATCHDOG_PID": str(os.getpid()),
        "HOME": "/",
    }
    assert Notifier.from_environment(environ).watchdog_period == 30.0
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "relative"}, {"NOTIFY_SOCKET": "@"}]
)
def test_without_a_socket_nothing_happens(environ: dict[str, str]) -> None:
    notifier = Notifier.from_environment(environ)
    assert not notifier.enabled
    assert not notifier.ready()
    assert notifier.watchdog_period is None


@pytest.mark.parametrize("address", ["relative", "", "@", "/"])
def test_an_address_that_is_none_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Notifier(address)


@pytest.mark.parametrize(
    ("microseconds", "process", "period"),
    [
        ("1500000", None, 1.5),
        ("1500000", "own", 1.5),
        ("1500000", "1", None),
        ("0", None, None),
        ("soon", None, None),
        ("-5", None, None),
        ("٣", None, None),
        (None, None, None),
    ],
)
def test_the_watchdog_is_for_the_process_it_names(microseconds: str, process: str, period: float) -> None:
    process = str(os.getpid()) if process == "own" else process
    environ = {"WATCHDOG_USEC": microseconds, "WATCHDOG_PID": process}
    given_ = {name: value for name, value in environ.items() if value is not None}
    assert Notifier.from_environment(given_).watchdog_period == period


def test_a_manager_that_is_gone_is_told_of_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    notifier = Notifier(str(tmp_path / "gone"))
    with caplog.at_level(logging.WARNING, "zapvisor.systemd"):
        assert [notifier.watchdog() for _ in range(3)] == [False, False, False]
    assert len(caplog.records) == 1


def test_a_manager_that_comes_back_is_spoken_to_again(tmp_path: Path) -> None:
    address = str(tmp_path / "notify")
    notifier = Notifier(address)
    assert not notifier.watchdog()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(address)
        assert notifier.watchdog()


@pytest.mark.parametrize("assignment", ["READY", "STATUS=a\nREADY=1"])
def test_one_assignment_cannot_be_two(assignment: str) -> None:
    with pytest.raises(ValueError, match="allowed"):
        Notifier().notify(assignment)


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf")])
def test_time_to_extend_must_be_positive(seconds: float) -> None:
    with pytest.raises(ValueError, match="more than 0"):
        Notifier().extend_timeout(seconds)


@given(st.text())
def test_any_status_is_one_assignment(text: str) -> None:
    Notifier().status(text)
