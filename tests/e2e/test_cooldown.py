"""Whose attempts are used up rests for the cooldown and starts anew by itself, with the real client."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import pytest

from tests.e2e.conftest import StartHost, pair
from tests.e2e.harness import HostProcess
from tests.loopback.service import LoopbackService

COOLDOWN = 2.0


@pytest.fixture
def tired(start_host: StartHost, wa: LoopbackService, number: str) -> HostProcess:
    """A host whose instance is open, and has one attempt before it rests."""
    recovery = {"max_attempts": "1", "same_code_limit": "100", "cooldown": f"{COOLDOWN}s", "jitter": "0"}
    host = start_host(
        {"recovery": {**recovery, "reachability_check": "0"}, "disconnect.503": {"delay": "50ms"}}
    )
    host.api.create("sales")
    pair(host, wa, "sales", number)
    return host


def at(line: dict[str, Any]) -> float:
    return datetime.fromisoformat(line["time"]).timestamp()


def test_a_failed_instance_is_open_again_by_itself_after_the_cooldown(
    tired: HostProcess, wa: LoopbackService
) -> None:
    mark = tired.log.mark()
    with wa.stopped():
        failed = tired.phase("sales", "failed", after=mark)
        report = tired.api.call("GET", "/instance/diagnose/sales")
        assert report["recovery"]["restartDue"] is not None, "it says when it tries again"
    rested = tired.phase("sales", "starting", after=mark)
    assert at(rested) - at(failed) >= COOLDOWN - 0.01
    opened = tired.phase("sales", "open", after=mark)
    assert opened["incarnation"] > failed["incarnation"]
    report = tired.api.call("GET", "/instance/diagnose/sales")
    assert report["recovery"]["attempts"] == 0


def test_each_round_has_its_attempts_as_long_as_it_takes(tired: HostProcess, wa: LoopbackService) -> None:
    mark = began = tired.log.mark()
    with wa.stopped():
        for _ in range(2):
            line = tired.phase("sales", "failed", after=mark)
            mark += tired.log.records_after(mark).index(line) + 1
    lines = tired.log.records_after(began, event="disconnected", instance="sales")
    actions = [line["action"] for line in lines]
    assert actions[:4] == ["grace", "abort", "reconnect", "abort"], (
        "an attempt in each round, the first after a grace"
    )
    tired.phase("sales", "open", after=mark)


def test_a_logout_ends_the_wait(tired: HostProcess, wa: LoopbackService) -> None:
    mark = tired.log.mark()
    with wa.stopped():
        tired.phase("sales", "failed", after=mark)
        tired.api.logout("sales")
        row = tired.api.row("sales")
    assert (row["phase"], row["desired"]) == ("closed", "down")
    report = tired.api.call("GET", "/instance/diagnose/sales")
    assert report["recovery"]["restartDue"] is None


def test_a_host_that_was_restarted_meanwhile_goes_on_with_it(tired: HostProcess, wa: LoopbackService) -> None:
    mark = tired.log.mark()
    with wa.stopped():
        tired.phase("sales", "failed", after=mark)
        tired.stop()
    tired.start()
    tired.phase("sales", "open")
