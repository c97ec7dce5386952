"""What an instance, its port, its service or its host can be put through, and comes back from."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.conftest import StartHost, pair
from tests.e2e.harness import HostProcess
from tests.e2e.watch import Watch
from tests.loopback.service import LoopbackService

Numbers = Callable[[int], list[str]]


@pytest.fixture
def watch(host: HostProcess, wa: LoopbackService) -> Iterator[Watch]:
    """Invariant 12: connectionState is polled all through a test, and never calls a dead link open."""
    with Watch(host, wa) as watching:
        yield watching


def several(host: HostProcess, wa: LoopbackService, numbers: list[str]) -> dict[str, str]:
    """Open instances by name, with their devices."""
    devices = {}
    for index, number in enumerate(numbers):
        name = f"number-{index}"
        host.api.create(name)
        devices[name] = pair(host, wa, name, number)
    return devices


def test_a_killed_port_is_replaced_and_no_sibling_notices(
    host: HostProcess, wa: LoopbackService, numbers: Numbers, watch: Watch
) -> None:
    """Invariant 8."""
    devices = several(host, wa, numbers(3))
    names = list(devices)
    watch.follow(devices)
    for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGABRT):
        mark = host.log.mark()
        os.kill(host.port_pid(names[0]), number)
        host.phase(names[0], "recovering", after=mark, timeout=3)
        host.phase(names[0], "open", after=mark, timeout=3)
        for sibling in names[1:]:
            assert not host.log.records_after(mark, event="phase", instance=sibling)


def test_a_dropped_link_heals_itself(
    host: HostProcess, wa: LoopbackService, number: str, watch: Watch
) -> None:
    devices = several(host, wa, [number])
    [name] = devices
    watch.follow(devices)
    for how in ("reset", "close_frame", "fin"):
        mark = host.log.mark()
        wa.connection(number).drop(how)
        host.phase(name, "recovering", after=mark)
        host.phase(name, "open", after=mark)
    assert host.api.row(name)["phase"] == "open"


@pytest.mark.slow
def test_a_restart_of_the_service_loses_no_session(
    host: HostProcess, wa: LoopbackService, numbers: Numbers, watch: Watch
) -> None:
    devices = several(host, wa, numbers(20))
    watch.follow(devices)
    mark = host.log.mark()
    wa.stop()
    for name in devices:
        host.phase(name, "recovering", after=mark)
    back = host.log.mark()
    wa.start()
    for name in devices:
        host.phase(name, "open", after=back, timeout=20)
    assert set(wa.devices()) >= set(devices.values())


@pytest.mark.slow
def test_a_minute_of_refused_connections_loses_no_session(
    host: HostProcess, wa: LoopbackService, numbers: Numbers, watch: Watch
) -> None:
    """Invariant 6."""
    devices = several(host, wa, numbers(5))
    watch.follow(devices)
    mark = host.log.mark()
    refused = wa.refuse_connections("refused")
    wa.drop_all()
    for name in devices:
        host.phase(name, "recovering", after=mark)
    deadline = threading.Event()
    deadline.wait(60)  # the minute itself is what is tested
    back = host.log.mark()
    refused.end()
    for name in devices:
        host.phase(name, "open", after=back, timeout=20)
    assert set(wa.devices()) >= set(devices.values())


PATIENT = {"disconnect.428": {"delay": "100ms"}, "disconnect.503": {"delay": "10m"}}
"""Who finds the service away would wait until long after the test."""


def test_who_waits_for_the_network_tries_as_soon_as_it_is_back(
    start_host: StartHost, wa: LoopbackService, numbers: Numbers
) -> None:
    host = start_host(PATIENT)
    devices = several(host, wa, numbers(3))
    mark = host.log.mark()
    wa.stop()
    for name in devices:
        host.log.wait_for(after=mark, event="disconnected", instance=name, code=503)
    back = host.log.mark()
    wa.start()
    for name in devices:
        host.phase(name, "open", after=back)
    assert set(wa.devices()) >= set(devices.values())


def test_who_waits_for_a_login_to_be_taken_tries_when_another_ones_is(
    start_host: StartHost, wa: LoopbackService, numbers: Numbers
) -> None:
    host = start_host(
        PATIENT | {"disconnect.503": {"delay": "2s"}, "recovery": {"jitter": "0", "multiplier": "10"}}
    )
    devices = several(host, wa, numbers(3))
    first, *others = devices
    mark = host.log.mark()
    with wa.refuse_logins(503):
        wa.drop_all()
        for name in others:
            # The second attempt of each is due 20 s later, and the third 200 s after that.
            host.log.wait_for(
                after=mark, event="disconnected", instance=name, code=503, attempt=1, timeout=60
            )
    back = host.log.mark()
    host.api.restart(first)
    host.phase(first, "open", after=back)
    for name in others:
        host.phase(name, "open", after=back, timeout=10)


def test_a_killed_host_leaves_no_port_and_comes_back_without_a_scan(
    start_host: StartHost, wa: LoopbackService, numbers: Numbers
) -> None:
    """Invariant 14."""
    host = start_host()
    devices = several(host, wa, numbers(4))
    host.api.create("closed")
    ports = [host.port_pid(name) for name in devices]
    with Watch(host, wa) as watch:
        watch.follow(devices)
        os.kill(ports[0], signal.SIGSTOP)
        with watch.host_down():
            host.kill()
            deadline = time.monotonic() + 2
            for pid in ports:
                assert ended(pid, deadline - time.monotonic()), f"port {pid} outlived its host"
            host.start()
        for name in devices:
            host.phase(name, "open")
    assert not host.log.records(event="phase", phase="awaiting_scan")
    assert host.api.state("closed") == "close"
    assert set(wa.devices()) >= set(devices.values())


def test_a_stopped_host_commits_and_comes_back(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    host = start_host()
    devices = several(host, wa, [number])
    [name] = devices
    with Watch(host, wa) as watch:
        watch.follow(devices)
        with watch.host_down():
            assert host.stop() == 0
            host.start()
        host.phase(name, "open")


def test_after_a_logout_nothing_reconnects_by_itself(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    """Invariant 4, across a restart of the host too."""
    host = start_host()
    [name] = several(host, wa, [number])
    host.api.logout(name)
    host.stop()
    mark = wa.mark()
    host.start()
    assert host.api.state(name) == "close"
    assert host.ports() == []
    assert not wa.events("login", after=mark)


def ended(pid: int, seconds: float) -> bool:
    from actors.connection import ended as process_ended

    return process_ended(pid, max(0.0, seconds))
