"""Events reach their webhooks: in order, again after failures, and each destination on its own."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import peewee
import pytest
from pydantic import SecretStr

from actors.delivery import redirect, replay
from actors.delivery.request import signature
from actors.store import StoreTimeout, StoreUnavailable, Tx, deliveries, instances
from actors.store.outbox import events_after
from supervisor.config.urls import SecretUrl
from tests.actors.delivery.conftest import Host, quick
from tests.actors.delivery.receiver import Got, Receiver

StartHost = Callable[..., Host]


def numbers(got: list[Got], instance: str | None = None) -> list[int]:
    return [one.json["data"]["number"] for one in got if instance in (None, one.json["instance"])]


def test_an_event_arrives_in_evolutions_envelope(start_host: StartHost, receiver: Receiver) -> None:
    host = start_host()
    row = host.instance("sales", receiver.url)
    event_id = host.emit("sales", state="open", statusReason=200)
    (got,) = receiver.wait_for(1)
    assert got.path == "/hook"
    assert got.event_id == event_id
    body = got.json
    assert body.pop("date_time").endswith("Z")
    assert body == {
        "event": "connection.update",
        "instance": "sales",
        "data": {"instance": "sales", "state": "open", "statusReason": 200},
        "destination": receiver.url,
        "sender": None,
        "server_url": "http://127.0.0.1:8080",
        "apikey": row.token,
        "event_id": event_id,
    }
    (view,) = host.until_settled()
    assert (view.status, view.attempts, view.last_error, view.event_id) == ("delivered", 1, None, event_id)


def test_events_of_an_instance_arrive_in_order(start_host: StartHost, receiver: Receiver) -> None:
    host = start_host()
    host.instance("sales", receiver.url)
    for number in range(100):
        host.emit("sales", number)
    assert numbers(receiver.wait_for(100)) == list(range(100))


def test_a_failed_delivery_is_tried_again_with_the_same_id_before_its_successors(
    start_host: StartHost, receiver: Receiver
) -> None:
    answers: dict[str, list[Any]] = {}

    def script(got: Got) -> Any:
        left = answers.setdefault(got.event_id, [500, "reset", 503, 200])
        return left.pop(0)

    receiver.script = script
    host = start_host(quick(max_attempts=50))
    host.instance("sales", receiver.url)
    for number in range(5):
        host.emit("sales", number)
    assert numbers(receiver.wait_for(5)) == list(range(5))
    ids = [got.event_id for got in receiver.got]
    assert [ids.count(event_id) for event_id in dict.fromkeys(ids)] == [4] * 5


def test_a_destination_that_is_down_does_not_delay_another(start_host: StartHost, receiver: Receiver) -> None:
    dead = Receiver().start()
    dead.stop()
    host = start_host()
    host.instance("up", receiver.url)
    host.instance("down", dead.url)
    for number in range(20):
        host.emit("down", number)
        host.emit("up", number)
    assert numbers(receiver.wait_for(20)) == list(range(20))
    dead.start()
    assert numbers(dead.wait_for(20)) == list(range(20))
    dead.stop()


def test_an_event_goes_to_the_instances_webhook_and_to_the_hosts_each_on_its_own(
    start_host: StartHost, receiver: Receiver
) -> None:
    everybody = Receiver(lambda _: 500).start()
    host = start_host(quick(url=SecretUrl(everybody.url), by_events=True, max_attempts=2))
    host.instance("a", receiver.url, byEvents=True)
    host.instance("b")
    host.emit("a", 1)
    host.emit("b", 2)
    (got,) = receiver.wait_for(1)
    assert got.path == "/hook/connection-update"
    everybody.wait(lambda me: len(me.got) == 4)
    assert {one.path for one in everybody.got} == {"/hook/connection-update"}
    seen = host.until_settled()
    assert sorted((view.instance, view.status) for view in seen) == [
        ("a", "delivered"),
        ("a", "failed"),
        ("b", "failed"),
    ]
    everybody.stop()


def test_only_the_events_that_were_asked_for_arrive(start_host: StartHost, receiver: Receiver) -> None:
    host = start_host()
    host.instance("sales", receiver.url, events=["QRCODE_UPDATED", "logout.instance"])
    host.emit("sales")
    host.emit("sales", event="logout.instance", cause="command")
    receiver.wait_for(1)
    host.until_settled()
    assert [got.json["event"] for got in receiver.got] == ["logout.instance"]


def test_a_code_arrives_with_its_picture_and_is_emptied_in_the_database(
    start_host: StartHost, receiver: Receiver
) -> None:
    host = start_host(picture=lambda code: f"data:image/png;base64,{code}")
    host.instance("sales", receiver.url)
    code = {"instance": "sales", "code": "2@code", "pairingCode": None, "count": 1}
    host.emit("sales", event="qrcode.updated", qrcode=code)
    (got,) = receiver.wait_for(1)
    assert got.json["data"]["qrcode"] == {**code, "base64": "data:image/png;base64,2@code"}
    host.until_settled()
    (event,) = host.write(lambda tx: events_after(tx, 0, 10))
    assert event.secret is None
    assert "2@code" not in str(event)


def test_the_last_events_of_a_deleted_instance_arrive(start_host: StartHost, receiver: Receiver) -> None:
    receiver.script = lambda got: 500 if len(receiver.got) < 2 else 200
    host = start_host()
    row = host.instance("sales", receiver.url)

    def unit(tx: Tx) -> None:
        host.emitting("sales", event="remove.instance", instanceId=row.id)(tx)
        host.emitting("sales", event="instance.delete", instanceId=row.id)(tx)
        instances.delete(tx, row.id)

    host.write(unit)
    assert [got.json["event"] for got in receiver.wait_for(2)] == ["remove.instance", "instance.delete"]


def test_failed_deliveries_are_sent_again_on_request_to_where_the_webhook_points_now(
    start_host: StartHost, receiver: Receiver
) -> None:
    receiver.script = lambda _: 401
    better = Receiver().start()
    host = start_host()
    row = host.instance("sales", receiver.url, headers={"x-key": "old"})
    ids = [host.emit("sales", number) for number in range(5)]
    host.until(lambda seen: [view.status for view in seen] == ["failed"] * 5)
    webhook = {"enabled": True, "url": better.url, "headers": {"x-key": "new"}}
    host.write(lambda tx: instances.update(tx, row.id, webhook=webhook))
    assert replay(host.system, event_ids=ids[1:2]) == 1
    better.wait_for(1)
    assert replay(host.system, instance="sales") == 4
    got = better.wait_for(5)
    assert [one.event_id for one in got] == [ids[1], ids[0], *ids[2:]]
    assert {one.headers["x-key"] for one in got} == {"new"}
    host.until_settled()
    assert replay(host.system) == 0
    better.stop()


def test_a_replay_of_many_ends_although_they_fail_again_and_has_one_deadline(
    start_host: StartHost, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(deliveries, "REPLAY_CHUNK", 2)
    receiver.script = lambda _: 401
    host = start_host()
    host.instance("sales", receiver.url)
    for number in range(7):
        host.emit("sales", number)
    failed = ["failed"] * 7
    host.until(lambda seen: [view.status for view in seen] == failed)
    assert replay(host.system, instance="sales", timeout=30.0) == 7
    host.until(lambda seen: [view.status for view in seen] == failed)
    with pytest.raises(StoreTimeout, match="0 deliveries"):
        replay(host.system, instance="sales", timeout=0.0)


def test_what_waits_follows_a_webhook_that_is_changed(start_host: StartHost, receiver: Receiver) -> None:
    receiver.stop()
    better = Receiver().start()
    host = start_host(quick(max_attempts=1000))
    row = host.instance("sales", receiver.url)
    for number in range(3):
        host.emit("sales", number)
    changed = dataclasses.replace(row, webhook={"enabled": True, "url": better.url})

    def unit(tx: Tx) -> int:
        instances.update(tx, row.id, webhook=changed.webhook)
        return redirect(tx, changed)

    assert host.write(unit) == 3
    assert numbers(better.wait_for(3)) == [0, 1, 2]
    better.stop()


def test_what_waits_for_the_hosts_webhook_follows_its_settings_over_a_restart(
    start_host: StartHost, receiver: Receiver
) -> None:
    gone = Receiver().start()
    gone.stop()
    host = start_host(quick(url=SecretUrl(gone.url), max_attempts=1000))
    host.instance("sales")
    for number in range(3):
        host.emit("sales", number)
    start_host(quick(url=SecretUrl(receiver.url)))
    assert numbers(receiver.wait_for(3)) == [0, 1, 2]


def test_requests_are_signed_with_the_hosts_secret(start_host: StartHost, receiver: Receiver) -> None:
    host = start_host(quick(secret=SecretStr("hush-hush")))
    host.instance("sales", receiver.url)
    host.emit("sales")
    (got,) = receiver.wait_for(1)
    expected = signature(SecretStr("hush-hush"), got.headers["x-zapvisor-timestamp"], got.body)
    assert got.headers["x-zapvisor-signature"] == expected


def test_with_private_addresses_refused_nothing_is_called(start_host: StartHost, receiver: Receiver) -> None:
    host = start_host(quick(allow_private=False))
    host.instance("sales", receiver.url)
    host.emit("sales")
    (view,) = host.until_settled()
    assert view.status == "failed"
    assert "not public" in (view.last_error or "")
    assert receiver.got == []


def test_a_crash_of_the_store_loses_no_event(start_host: StartHost, receiver: Receiver) -> None:
    host = start_host()
    host.instance("sales", receiver.url)
    for number in range(10):
        host.emit("sales", number)

    def gone(tx: Tx) -> None:
        raise peewee.InterfaceError("the connection is lost")

    with pytest.raises(StoreUnavailable):
        host.write(gone)
    for number in range(10, 20):
        host.again(host.emitting("sales", number))
    receiver.wait(lambda me: len(set(numbers(me.delivered))) == 20)
    assert list(dict.fromkeys(numbers(receiver.delivered))) == list(range(20))
