"""Webhook, settings, proxy and Chatwoot, in the forms that clients send."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from api.gateway import Configure
from api.schemas.webhook import EVENTS
from tests.api.conftest import SETTINGS, Api, build, message_of
from tests.api.fakes import EPOCH


@pytest.fixture
def sales(api: Api) -> Api:
    api.gateway.add("sales")
    return api


def stored(api: Api, part: str) -> Any:
    """What the last `Configure` carried."""
    message = api.gateway.sent[-1][1]
    assert isinstance(message, Configure)
    others = {"settings", "webhook", "proxy", "chatwoot"} - {part}
    assert all(getattr(message, other) is None for other in others)
    return getattr(message, part)


# Webhook

FULL = {
    "enabled": True,
    "url": "https://example.com/hook",
    "headers": {"Authorization": "Bearer x"},
    "byEvents": True,
    "base64": False,
    "events": ["QRCODE_UPDATED", "CONNECTION_UPDATE"],
}


@pytest.mark.parametrize(
    "body",
    [
        {"webhook": FULL},
        FULL,
        {"webhook": {**{k: v for k, v in FULL.items() if k != "byEvents"}, "webhookByEvents": True}},
        {"webhook": {**{k: v for k, v in FULL.items() if k != "base64"}, "webhookBase64": False}},
        {**{k: v for k, v in FULL.items() if k not in ("enabled", "byEvents")}, "webhook_by_events": True},
    ],
    ids=["nested", "flat", "webhookByEvents", "webhookBase64", "version 1"],
)
def test_every_form_of_a_webhook_is_stored_alike(sales: Api, body: dict[str, Any]) -> None:
    reply = sales.ok(sales.post("/webhook/set/sales", body), 201)
    assert stored(sales, "webhook") == FULL
    assert reply["enabled"] is True
    assert reply["url"] == FULL["url"]
    assert reply["events"] == FULL["events"]
    assert reply["webhookByEvents"] is reply["byEvents"] is True
    assert reply["webhookBase64"] is reply["base64"] is False
    assert sales.ok(sales.get("/webhook/find/sales")) == reply


def test_whether_pictures_are_sent_stays_open_unless_it_is_said(sales: Api) -> None:
    """The host sends the picture of a code unless it was told not to; Evolution API answers false all the same."""
    reply = sales.ok(sales.post("/webhook/set/sales", {"webhook": {"enabled": True, "url": "http://h"}}), 201)
    assert stored(sales, "webhook")["base64"] is None
    assert reply["webhookBase64"] is False


@pytest.mark.parametrize("events", [[], None])
def test_no_event_named_means_all(sales: Api, events: object) -> None:
    reply = sales.ok(sales.post("/webhook/set/sales", {"webhook": {**FULL, "events": events}}), 201)
    assert reply["events"] == list(EVENTS)


def test_an_event_named_twice_is_sent_once(sales: Api) -> None:
    sales.ok(sales.post("/webhook/set/sales", {"webhook": {**FULL, "events": ["CALL", "CALL"]}}), 201)
    assert stored(sales, "webhook")["events"] == ["CALL"]


def test_a_webhook_is_switched_off_as_n8n_does_it(sales: Api) -> None:
    body = {
        "webhook": {
            "enabled": False,
            "url": "vazio",
            "webhookByEvents": False,
            "webhookBase64": False,
            "events": [],
        }
    }
    reply = sales.ok(sales.post("/webhook/set/sales", body), 201)
    assert reply["enabled"] is False
    assert reply["events"] == []


def test_a_webhook_that_was_never_set_is_null(sales: Api) -> None:
    response = sales.get("/webhook/find/sales")
    assert response.status_code == 200
    assert response.get_json() is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "webhook"),
        ({"webhook": None}, "webhook"),
        ({"webhook": "http://x"}, "webhook"),
        ({"webhook": {"enabled": "yes", "url": "http://x"}}, "webhook.enabled"),
        ({"webhook": {"enabled": True}}, "webhook.url"),
        ({"webhook": {"enabled": True, "url": ""}}, "webhook.url"),
        ({"webhook": {"enabled": True, "url": "example.com"}}, "webhook.url"),
        ({"webhook": {"enabled": True, "url": "file:///etc/passwd"}}, "webhook.url"),
        ({"webhook": {"enabled": True, "url": "http://[::1"}}, "webhook.url"),
        ({"webhook": {"enabled": True, "url": "http://" + "x" * 5000}}, "webhook.url"),
        ({"webhook": {**FULL, "byEvents": 1}}, "webhook.byEvents"),
        ({"webhook": {**FULL, "events": ["CALL"] * 200}}, "webhook.events"),
        ({"webhook": {**FULL, "headers": []}}, "webhook.headers"),
    ],
)
def test_a_webhook_that_is_refused(sales: Api, body: dict[str, Any], field: str) -> None:
    assert f'"{field}"' in message_of(sales.post("/webhook/set/sales", body), 400)
    assert not sales.gateway.sent


def test_a_wrong_field_of_the_second_name_is_found_too(sales: Api) -> None:
    body = {"webhook": {"enabled": True, "url": "http://x", "webhookByEvents": "no"}}
    assert '"webhook.webhookByEvents": "no"' in message_of(sales.post("/webhook/set/sales", body), 400)


# Settings

SEVEN = {
    "rejectCall": True,
    "msgCall": "later",
    "groupsIgnore": False,
    "alwaysOnline": True,
    "readMessages": False,
    "readStatus": False,
    "syncFullHistory": True,
}


def test_settings(sales: Api) -> None:
    reply = sales.ok(sales.post("/settings/set/sales", {**SEVEN, "wavoipToken": "x"}), 201)
    assert reply == {"settings": {"instanceName": "sales", "settings": SEVEN}}
    assert stored(sales, "settings") == SEVEN
    assert sales.ok(sales.get("/settings/find/sales")) == SEVEN


def test_settings_as_version_1_clients_send_them(sales: Api) -> None:
    body = {
        "reject_call": True,
        "msg_call": "later",
        "groups_ignore": False,
        "always_online": True,
        "read_messages": False,
        "read_status": False,
        "sync_full_history": True,
    }
    sales.ok(sales.post("/settings/set/sales", body), 201)
    assert stored(sales, "settings") == SEVEN


@pytest.mark.parametrize("missing", [name for name in SEVEN if name != "msgCall"])
def test_all_settings_but_the_message_are_required(sales: Api, missing: str) -> None:
    body = {name: value for name, value in SEVEN.items() if name != missing}
    assert message_of(sales.post("/settings/set/sales", body), 400) == f'"{missing}" is required'


@pytest.mark.parametrize("value", ["true", 1, None, [], {}])
def test_a_setting_that_is_no_boolean(sales: Api, value: object) -> None:
    assert '"readStatus"' in message_of(
        sales.post("/settings/set/sales", {**SEVEN, "readStatus": value}), 400
    )


def test_the_message_may_be_missing(sales: Api) -> None:
    for body in ({k: v for k, v in SEVEN.items() if k != "msgCall"}, {**SEVEN, "msgCall": None}):
        sales.ok(sales.post("/settings/set/sales", body), 201)
        assert stored(sales, "settings")["msgCall"] == ""


# Proxy

PROXY = {
    "enabled": True,
    "host": "proxy.example",
    "port": "3128",
    "protocol": "http",
    "username": "u",
    "password": "p",
}


@pytest.mark.parametrize(
    "body",
    [
        PROXY,
        {**PROXY, "port": 3128},
        {"enabled": True, "proxy": "http://u:p@proxy.example:3128"},
    ],
    ids=["text", "number", "version 1"],
)
def test_proxy(sales: Api, body: dict[str, Any]) -> None:
    reply = sales.ok(sales.post("/proxy/set/sales", body), 201)
    assert stored(sales, "proxy") == PROXY
    assert reply["proxy"]["instanceName"] == "sales"
    assert reply["proxy"]["proxy"] == {k: v for k, v in PROXY.items() if k != "password"}
    found = sales.ok(sales.get("/proxy/find/sales"))
    assert {name: found[name] for name in PROXY} == PROXY


@pytest.mark.parametrize("enabled", [False, ""])
def test_a_proxy_that_is_switched_off_is_forgotten(sales: Api, enabled: object) -> None:
    body = {**PROXY, "enabled": enabled}
    sales.ok(sales.post("/proxy/set/sales", body), 201)
    assert stored(sales, "proxy") == {**dict.fromkeys(PROXY, ""), "enabled": False}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("enabled", "true"),
        ("enabled", None),
        ("host", ""),
        ("host", None),
        ("host", "http://proxy.example"),
        ("host", "a b"),
        ("host", "a\nb"),
        ("host", "-"),
        ("host", "[::g]"),
        ("host", "fe80::1%eth0"),
        ("port", ""),
        ("port", "0"),
        ("port", "65536"),
        ("port", "٣"),
        ("port", -1),
        ("port", 3128.5),
        ("port", True),
        ("protocol", "socks4"),
        ("protocol", None),
        ("username", 5),
        ("password", "x" * 300),
    ],
)
def test_a_proxy_that_is_refused(sales: Api, field: str, value: object) -> None:
    assert f'"{field}"' in message_of(sales.post("/proxy/set/sales", {**PROXY, field: value}), 400)
    assert not sales.gateway.sent


@pytest.mark.parametrize("host", ["10.0.0.1", "2001:db8::1", "[2001:db8::1]", "a-b.c_d", "localhost"])
def test_hosts_that_a_proxy_may_have(sales: Api, host: str) -> None:
    sales.ok(sales.post("/proxy/set/sales", {**PROXY, "host": host}), 201)
    assert stored(sales, "proxy")["host"] == host


def test_a_version_1_address_that_is_none(sales: Api) -> None:
    for address in ("proxy.example", "http://x:99999", "ftp://x:21", "http://[::1"):
        message_of(sales.post("/proxy/set/sales", {"enabled": True, "proxy": address}), 400)


def test_a_proxy_that_was_never_set_is_null(sales: Api) -> None:
    assert sales.ok(sales.get("/proxy/find/sales")) is None


# Chatwoot

CHATWOOT = {
    "enabled": True,
    "accountId": "1",
    "token": "t",
    "url": "https://chat.example",
    "signMsg": True,
    "reopenConversation": True,
    "conversationPending": False,
}


def test_chatwoot(sales: Api) -> None:
    body = {**CHATWOOT, "signDelimiter": "\n", "ignoreJids": [""], "daysLimitImportMessages": 3}
    reply = sales.ok(sales.post("/chatwoot/set/sales", body), 201)
    assert reply["nameInbox"] == "sales"
    assert reply["webhook_url"] == ""
    assert stored(sales, "chatwoot")["signDelimiter"] == "\n"
    assert sales.ok(sales.get("/chatwoot/find/sales")) == reply


def test_chatwoot_that_was_never_set_is_blank(sales: Api) -> None:
    assert sales.ok(sales.get("/chatwoot/find/sales")) == {
        "enabled": False,
        "url": "",
        "accountId": "",
        "token": "",
        "signMsg": False,
        "nameInbox": "",
        "webhook_url": "",
    }


def test_chatwoot_is_switched_off_without_its_fields(sales: Api) -> None:
    sales.ok(sales.post("/chatwoot/set/sales", {"enabled": False}), 201)
    assert stored(sales, "chatwoot")["enabled"] is False


def test_chatwoot_as_version_1_clients_send_it(sales: Api) -> None:
    body = {
        "enabled": True,
        "account_id": "1",
        "token": "t",
        "url": "https://chat.example",
        "sign_msg": True,
        "reopen_conversation": True,
        "conversation_pending": False,
        "import_messages": True,
    }
    sales.ok(sales.post("/chatwoot/set/sales", body), 201)
    assert stored(sales, "chatwoot")["accountId"] == "1"
    assert stored(sales, "chatwoot")["importMessages"] is True


@pytest.mark.parametrize("missing", [name for name in CHATWOOT if name != "enabled"])
def test_chatwoot_needs_its_fields_when_enabled(sales: Api, missing: str) -> None:
    body = {name: value for name, value in CHATWOOT.items() if name != missing}
    assert f'"{missing}"' in message_of(sales.post("/chatwoot/set/sales", body), 400)


@pytest.mark.parametrize(
    ("field", "value"),
    [("url", "chat.example"), ("accountId", 1), ("ignoreJids", "x"), ("daysLimitImportMessages", "3")],
)
def test_chatwoot_that_is_refused(sales: Api, field: str, value: object) -> None:
    assert f'"{field}"' in message_of(sales.post("/chatwoot/set/sales", {**CHATWOOT, field: value}), 400)


def test_a_host_without_chatwoot_refuses_it() -> None:
    api = build(replace(SETTINGS, chatwoot_enabled=False))
    api.gateway.add("sales")
    assert message_of(api.post("/chatwoot/set/sales", CHATWOOT), 400) == "Chatwoot is disabled"
    assert message_of(api.get("/chatwoot/find/sales"), 400) == "Chatwoot is disabled"
    body = {"instanceName": "b", "chatwootAccountId": "1", "chatwootToken": "t", "chatwootUrl": "http://c"}
    assert message_of(api.post("/instance/create", body), 400) == "Chatwoot is not enabled"
    assert not api.gateway.sent


def test_times_are_those_of_the_instance(sales: Api) -> None:
    sales.gateway.change("sales", webhook=FULL, updated_at=EPOCH + 60)
    reply = sales.ok(sales.get("/webhook/find/sales"))
    assert reply["updatedAt"] == "2026-01-01T00:01:00.000Z"
    assert reply["instanceId"] == reply["id"] == sales.gateway.instances["sales"].id
