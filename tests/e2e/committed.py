"""What a host has committed, read from its database, and what of it must be true of what its webhooks got."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from actors.store import Tx
from tests.actors.delivery.receiver import Receiver

Stream = tuple[str, str]
"""A destination and an instance's id: what order holds within."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A row of the outbox with its event."""

    event_id: str
    instance_id: str
    destination: str
    event: str
    status: str
    attempts: int


@dataclass(frozen=True, slots=True)
class Committed:
    """One consistent look at the database.

    Attributes:
        deliveries: in the order of their ids.
        events: instance's id, name and data of each event, in the order of their commits.
        phases: each instance's phase.
        history: instance's id, kind, code, result and previous phase of each row.
    """

    deliveries: Sequence[Delivery]
    events: Sequence[tuple[str, str, Mapping[str, Any]]]
    phases: Mapping[str, str]
    history: Sequence[tuple[str, str, int | None, str | None, str | None]]

    @property
    def pending(self) -> int:
        """Deliveries that wait."""
        return sum(each.status == "pending" for each in self.deliveries)


def committed(tx: Tx) -> Committed:
    """Read everything; for `Reader.query`."""
    deliveries = tx.plain(
        "SELECT e.id, d.instance_id, d.destination, e.event, d.status, d.attempts"
        " FROM delivery AS d JOIN event AS e ON e.seq = d.event_seq ORDER BY d.id"
    )
    events = tx.plain("SELECT instance_id, event, data FROM event ORDER BY seq")
    history = tx.plain("SELECT instance_id, kind, code, result, previous_phase FROM history")
    return Committed(
        [Delivery(*row) for row in deliveries],
        [(instance, event, json.loads(data or "{}")) for instance, event, data in events],
        dict(tx.plain("SELECT id, phase FROM instance")),
        [(row[0], *row[1:]) for row in history],
    )


def check_arrivals(found: Committed, receivers: Iterable[Receiver]) -> Counter[str]:
    """Everything arrived, in order for its instance and destination; what came again is the same, byte for byte.

    Raises:
        AssertionError: something is missing, out of order, changed, or was never committed.
    """
    sent: dict[Stream, list[str]] = {}
    for delivery in found.deliveries:
        assert delivery.status == "delivered", f"{delivery} is not delivered"
        sent.setdefault((delivery.destination, delivery.instance_id), []).append(delivery.event_id)
    counts: Counter[str] = Counter(events=len(found.events), deliveries=len(found.deliveries))
    owner = {delivery.event_id: delivery.instance_id for delivery in found.deliveries}
    for receiver in receivers:
        arrived, again = _arrived(receiver, owner)
        counts += again
        for (destination, instance), ids in sent.items():
            if destination != receiver.url:
                continue
            got = arrived.pop(instance, [])
            missing = set(ids) - set(got)
            assert not missing, f"{destination}: {len(missing)} of {len(ids)} events are missing: {missing}"
            assert got == ids, f"{destination}: the events of {instance} came out of order"
        assert not arrived, f"{receiver.url} got events of instances that send it none"
    return counts


def _arrived(receiver: Receiver, owner: Mapping[str, str]) -> tuple[dict[str, list[str]], Counter[str]]:
    """The ids that a receiver took, in the order of their first arrival, by instance."""
    counts: Counter[str] = Counter()
    first: dict[str, bytes] = {}
    taken: dict[str, None] = {}
    arrived: dict[str, list[str]] = {}
    for got in list(receiver.got):
        counts[f"answered {got.answer}"] += 1
        assert got.event_id in owner, f"{got.event_id} came and was never committed"
        assert first.setdefault(got.event_id, got.body) == got.body, f"{got.event_id} came with two bodies"
        if got.delivered and got.event_id in taken:
            counts["delivered again"] += 1
        elif got.delivered:
            taken[got.event_id] = None
            arrived.setdefault(owner[got.event_id], []).append(got.event_id)
    return arrived, counts


def check_agreement(found: Committed) -> None:
    """A change of state and the event that reports it are committed together, or neither is.

    Raises:
        AssertionError: one is there without the other.
    """
    state: dict[str, str] = {}
    lost: Counter[tuple[str, int]] = Counter()
    back: Counter[tuple[str, int]] = Counter()
    for instance, event, data in found.events:
        if event == "connection.update":
            state[instance] = data["state"]
            if data["state"] == "connecting" and data["statusReason"] != 200:
                lost[instance, data["statusReason"]] += 1
        elif event == "reconnection.success":
            back[instance, data["code"]] += 1
    for instance, phase in found.phases.items():
        said = state.get(instance)
        if said is not None and phase != "stopping":  # a step on the way, whose end is reported
            assert (phase == "open") == (said == "open"), f"{instance} is {phase}, said {said}"
    rows: dict[str, Counter[tuple[str, int]]] = {"disconnection": Counter(), "recovery": Counter()}
    for instance, kind, code, result, previous in found.history:
        if previous == "open" or (kind == "recovery" and result == "success"):
            assert code is not None
            rows[kind][instance, code] += 1
    assert rows["disconnection"] == lost, "disconnections and their events differ"
    assert rows["recovery"] == back, "recoveries and their events differ"
