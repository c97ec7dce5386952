"""A host that is killed at any moment loses no event, whatever its instances and its receivers do meanwhile."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from tests.actors.delivery.receiver import Got, Receiver
from tests.e2e.committed import Committed, Delivery, check_agreement, check_arrivals
from tests.e2e.kills import SQLITE, Run, report
from tests.loopback.harness import Template
from tests.loopback.service import LoopbackService
from tests.postgres import NoPostgres, cluster, skip_or_fail


def kill(directory: Path, wa: LoopbackService, template: Template, store: str, seed: int) -> None:
    run = Run(directory / "host", wa, template, seed, instances=5, store=store, span=1.5)
    counts = report(run.killed(3))
    assert counts["killed"] == 3
    assert counts["events"] > 0


def test_every_committed_event_arrives_in_order_through_kills_of_the_host(
    tmp_path: Path, wa: LoopbackService, template: Template
) -> None:
    """Invariant 13. The seed is in the name of the failure: `python -m tests.e2e.kills --seed`."""
    kill(tmp_path, wa, template, SQLITE, random.randrange(10**6))


@pytest.mark.slow
def test_the_same_on_postgresql(tmp_path: Path, wa: LoopbackService, template: Template) -> None:
    try:
        with cluster() as server:
            kill(tmp_path, wa, template, server.create_database(), random.randrange(10**6))
    except NoPostgres as reason:
        skip_or_fail(reason)


class TestTheChecks:
    """The checks of the kills find what they are there to find."""

    @staticmethod
    def received(*ids: str, bodies: str = "") -> Receiver:
        receiver = Receiver(port=1)
        for number, event_id in enumerate(ids):
            body = (bodies[number] if bodies else event_id).encode()
            receiver.got.append(Got("/hook", {"x-zapvisor-event-id": event_id}, body, 0.0, 200))
        return receiver

    @staticmethod
    def found(receiver: Receiver, *ids: str, status: str = "delivered") -> Committed:
        return Committed([Delivery(one, "i", receiver.url, "e", status, 1) for one in ids], [], {}, [])

    def test_all_there_and_one_of_them_twice(self) -> None:
        receiver = self.received("a", "b", "b")
        assert check_arrivals(self.found(receiver, "a", "b"), [receiver])["delivered again"] == 1

    @pytest.mark.parametrize(
        ("arrived", "bodies", "why"),
        [
            (("a",), "", "missing"),
            (("b", "a"), "", "out of order"),
            (("a", "b", "c"), "", "never committed"),
            (("a", "b", "a"), "xyz", "two bodies"),
        ],
    )
    def test_what_must_not_be(self, arrived: tuple[str, ...], bodies: str, why: str) -> None:
        receiver = self.received(*arrived, bodies=bodies)
        with pytest.raises(AssertionError, match=why):
            check_arrivals(self.found(receiver, "a", "b"), [receiver])

    def test_a_delivery_that_failed(self) -> None:
        receiver = self.received("a")
        with pytest.raises(AssertionError, match="not delivered"):
            check_arrivals(self.found(receiver, "a", status="failed"), [receiver])

    @pytest.mark.parametrize(
        ("phase", "events", "history"),
        [
            ("open", [("i", "connection.update", {"state": "connecting", "statusReason": 200})], []),
            ("recovering", [("i", "connection.update", {"state": "open", "statusReason": 200})], []),
            ("open", [], [("i", "disconnection", 428, None, "open")]),
            ("open", [("i", "reconnection.success", {"code": 428})], []),
        ],
    )
    def test_state_without_its_event_or_an_event_without_its_state(
        self, phase: str, events: Any, history: Any
    ) -> None:
        with pytest.raises(AssertionError):
            check_agreement(Committed([], events, {"i": phase}, history))
