"""An event is stored with what it reports, and addressed to everybody who asked for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from actors.events import emit, targets
from actors.store import Instance, Reader, Store, Tx, instances, open_backend, write
from actors.store.outbox import LANE_TOPIC, Target, events_after, lanes, pending_after
from supervisor.config import WebhookSettings
from supervisor.config.urls import SecretUrl
from supervisor.otp import System

OWN = "https://own.example/hook"
HOST = "https://host.example/hook"


def row(**webhook: Any) -> Instance:
    return Instance(name="sales", token="T", owner_jid="55@s.whatsapp.net", webhook=webhook)


def settings(url: str | None = None, **more: Any) -> WebhookSettings:
    return WebhookSettings(url=SecretUrl(url) if url else None, **more)


@pytest.fixture
def system(store_url: str, tmp_path: Path) -> Iterator[System]:
    system = System()
    system.start(Store, open_backend(store_url, tmp_path), path="store")
    yield system
    system.shutdown()


@pytest.fixture
def read(system: System, store_url: str, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    reader = Reader(open_backend(store_url, tmp_path))
    yield reader.query
    reader.close()


def test_without_a_webhook_an_event_goes_nowhere() -> None:
    assert targets(row(), "connection.update", settings()) == []


def test_an_event_goes_to_the_instances_webhook_and_to_the_hosts() -> None:
    own = row(enabled=True, url=OWN, byEvents=True, headers={"x": "y"})
    assert targets(own, "connection.update", settings(HOST)) == [
        Target(OWN, "instance", {"byEvents": True, "base64": True, "headers": {"x": "y"}}),
        Target(HOST, "global"),
    ]


@pytest.mark.parametrize(
    "webhook", [{"enabled": False, "url": OWN}, {"enabled": True, "url": "vazio"}, {"url": OWN}]
)
def test_a_webhook_that_is_off_or_has_no_url_gets_nothing(webhook: Any) -> None:
    assert targets(row(**webhook), "connection.update", settings()) == []


def test_filters_hold_for_each_destination() -> None:
    own = row(enabled=True, url=OWN, events=["QRCODE_UPDATED"])
    everybody = settings(HOST, events=("connection.update",))
    assert [target.scope for target in targets(own, "connection.update", everybody)] == ["global"]
    assert [target.scope for target in targets(own, "qrcode.updated", everybody)] == ["instance"]


def test_the_picture_is_left_out_only_if_asked() -> None:
    assert targets(row(enabled=True, url=OWN, base64=False), "x", settings())[0].options["base64"] is False
    assert targets(row(enabled=True, url=OWN, base64=None), "x", settings())[0].options["base64"] is True


def test_an_event_is_committed_with_what_it_reports(system: System, read: Callable[..., Any]) -> None:
    def unit(tx: Tx) -> str:
        stored = instances.insert(tx, row(enabled=True, url=OWN))
        return emit(tx, stored, "instance.create", {"instanceId": stored.id}, settings=settings(HOST))

    event_id = write(system, unit)
    assert sorted(read(lanes)) == [HOST, OWN]
    ((pending,), _last) = read(lambda tx: pending_after(tx, OWN, 0, 10))
    assert pending.event.id == event_id
    assert pending.event.event == "instance.create"
    assert pending.event.data["instance"] == "sales"
    assert pending.event.sender == "55@s.whatsapp.net"
    assert pending.event.apikey == "T"


def test_an_event_of_a_unit_that_failed_does_not_exist(system: System, read: Callable[..., Any]) -> None:
    def unit(tx: Tx) -> None:
        stored = instances.insert(tx, row(enabled=True, url=OWN))
        emit(tx, stored, "instance.create", {"instanceId": stored.id}, settings=settings())
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        write(system, unit)
    assert read(lambda tx: events_after(tx, 0, 10)) == []
    assert read(lanes) == []


@pytest.mark.parametrize(("name", "data"), [("no.such", {}), ("connection.update", {"state": ["x"]})])
def test_what_fits_no_model_is_refused_and_appends_nothing(
    system: System, read: Callable[..., Any], name: str, data: Any
) -> None:
    with pytest.raises(ValueError, match=r"no\.such|state"):
        write(system, lambda tx: emit(tx, row(), name, data, settings=settings()))
    assert read(lambda tx: events_after(tx, 0, 10)) == []


def test_the_lane_is_named_so_that_it_hears_of_the_commit() -> None:
    assert Target(OWN, "instance").destination.startswith("https")
    assert f"lane:{OWN}" == LANE_TOPIC + OWN


def test_targets_do_not_show_what_may_be_secret() -> None:
    target = Target("https://user:hush@host/hush", "instance", {"headers": {"a": "hush"}})
    assert "hush" not in repr(target)
    assert "hush" not in repr(settings(secret=SecretStr("hush-hush")))
