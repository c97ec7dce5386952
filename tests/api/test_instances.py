"""Create, connect, list and steer, in the forms that clients send."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest
from PIL import Image

from api.gateway import (
    PRESENCES,
    BeingDeleted,
    CallTimeout,
    Configure,
    Connect,
    ForceReconnection,
    Logout,
    MailboxFull,
    NotNow,
    Phase,
    QrView,
    Reset,
    Restart,
    SetPresence,
)
from tests.api.conftest import HOST_KEY, Api, message_of
from tests.api.fakes import EPOCH, FakeEntry

QR = QrView("2@abc,def,ghi,jkl", None, 1, EPOCH)


def create(api: Api, **body: Any) -> Any:
    return api.ok(api.post("/instance/create", {"instanceName": "sales", **body}), 201)


# create


def test_create_answers_as_evolution_api_does(api: Api) -> None:
    reply = create(api, integration="WHATSAPP-BAILEYS")
    assert reply == {
        "instance": {
            "instanceName": "sales",
            "instanceId": "00000000-0000-4000-8000-000000000001",
            "integration": "WHATSAPP-BAILEYS",
            "webhookWaBusiness": None,
            "accessTokenWaBusiness": "",
            "status": "close",
        },
        "hash": "made-for-sales",
        "webhook": {},
        "settings": {
            "rejectCall": False,
            "msgCall": "",
            "groupsIgnore": False,
            "alwaysOnline": False,
            "readMessages": False,
            "readStatus": False,
            "syncFullHistory": False,
        },
    }


def test_create_with_qrcode_connects_and_shows_the_code(api: Api) -> None:
    reply = create(api, qrcode=True, number="5511999999999")
    assert reply["instance"]["status"] == "connecting"
    assert reply["qrcode"]["code"] == "2@code-1,key,identity,secret"
    assert reply["qrcode"]["pairingCode"] == "ABCD1234"
    assert reply["qrcode"]["count"] == 1
    assert reply["qrcode"]["base64"].startswith("data:image/png;base64,")
    assert ("sales", Connect("5511999999999", wait=5.0)) in api.gateway.sent


@pytest.mark.parametrize(
    "error", [CallTimeout("x", 35.0), MailboxFull("x", 1), NotNow("sales", Phase.STARTING, "no")]
)
def test_a_created_instance_that_does_not_connect_is_still_created(api: Api, error: Exception) -> None:
    api.gateway.fail = lambda _name, message: error if isinstance(message, Connect) else None
    reply = create(api, qrcode=True)
    assert reply["hash"] == "made-for-sales"
    assert reply["qrcode"] == {"pairingCode": None, "code": None, "base64": None, "count": 0}


def test_create_with_everything(api: Api) -> None:
    reply = create(
        api,
        token="own-token",
        rejectCall=True,
        msgCall="later",
        proxyHost="proxy.example",
        proxyPort="3128",
        proxyProtocol="http",
        proxyUsername="me",
        proxyPassword="pw",
        webhook={"url": "https://example.com/h", "byEvents": True, "base64": True, "headers": {"X-A": " b "}},
        chatwootAccountId="1",
        chatwootToken="cw",
        chatwootUrl="https://chat.example",
        chatwootSignMsg=True,
        chatwootReopenConversation=False,
        chatwootConversationPending=False,
        chatwootImportMessages=True,
        chatwootDaysLimitImportMessages=3,
    )
    assert reply["hash"] == "own-token"
    assert reply["webhook"]["webhookUrl"] == "https://example.com/h"
    assert reply["webhook"]["webhookByEvents"] is True
    assert reply["settings"]["rejectCall"] is True
    made = api.gateway.created[0]
    assert made.settings["msgCall"] == "later"
    assert made.proxy == {
        "enabled": True,
        "host": "proxy.example",
        "port": "3128",
        "protocol": "http",
        "username": "me",
        "password": "pw",
    }
    assert made.webhook["enabled"] is True
    assert made.webhook["byEvents"] is True
    assert made.webhook["headers"] == {"X-A": "b"}
    assert "CONNECTION_UPDATE" in made.webhook["events"]
    assert made.chatwoot["accountId"] == "1"
    assert made.chatwoot["nameInbox"] == "sales"
    assert made.chatwoot["daysLimitImportMessages"] == 3


def test_create_as_the_evolution_manager_sends_it(api: Api) -> None:
    body = {"integration": "WHATSAPP-BAILEYS", "token": None, "number": None, "businessId": None}
    assert create(api, **body)["hash"] == "made-for-sales"


def test_create_as_n8n_sends_it(api: Api) -> None:
    create(
        api,
        integration="WHATSAPP-BAILEYS",
        rejectCall=False,
        proxyHost="",
        proxyPort="",
        proxyProtocol="",
        proxyUsername="",
        proxyPassword="",
        webhook={"url": "", "byEvents": False, "base64": False, "events": []},
        rabbitmq={"enabled": False, "events": []},
        chatwootAccountId="",
        chatwootToken="",
        chatwootUrl="",
        chatwootSignMsg=False,
    )
    made = api.gateway.created[0]
    assert made.webhook == {}
    assert made.proxy == {}
    assert made.chatwoot == {}


def test_create_as_version_1_clients_send_it(api: Api) -> None:
    create(
        api,
        token="own-token",
        qrcode=True,
        webhook="",
        webhookUrl="http://h/x",
        webhookEvents=["QRCODE_UPDATED"],
    )
    assert api.gateway.created[0].webhook["url"] == "http://h/x"
    assert api.gateway.created[0].webhook["events"] == ["QRCODE_UPDATED"]


def test_the_hosts_key_is_no_token(api: Api) -> None:
    body = {"instanceName": "sales", "token": HOST_KEY}
    assert HOST_KEY not in (text := message_of(api.post("/instance/create", body), 400))
    assert '"token"' in text
    assert not api.gateway.created


def test_a_name_or_a_token_that_is_taken(api: Api) -> None:
    create(api)
    assert message_of(api.post("/instance/create", {"instanceName": "sales"}), 403) == (
        'This name "sales" is already in use.'
    )
    body = {"instanceName": "other", "token": "made-for-sales"}
    assert message_of(api.post("/instance/create", body), 400) == "Token already exists"


@pytest.mark.parametrize("name", ["a", "A9", "x" * 64, "a.b-c_d", "9", "a..b", "a.png"])
def test_names_that_are_allowed(api: Api, name: str) -> None:
    api.ok(api.post("/instance/create", {"instanceName": name}), 201)
    assert api.ok(api.get(f"/instance/connectionState/{name}"))["instance"]["instanceName"] == name


@pytest.mark.parametrize(
    "name",
    ["", ".a", "-a", "_a", "x" * 65, "a b", "a/b", "á", "a\n", "a\x00", "..", "<b>", None, 5, True, [], {}],
)
def test_names_that_are_not_allowed(api: Api, name: object) -> None:
    assert '"instanceName"' in message_of(api.post("/instance/create", {"instanceName": name}), 400)
    assert not api.gateway.sent


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("integration", "WHATSAPP-BUSINESS"),
        ("token", "with space"),
        ("token", "x" * 7),
        ("token", "line\nbreak"),
        ("token", 5),
        ("number", "+5511999"),
        ("number", "abc"),
        ("number", "5"),
        ("number", 5511999999999),
        ("qrcode", "true"),
        ("qrcode", 1),
        ("rejectCall", 0),
        ("msgCall", 5),
        ("webhook", []),
        ("webhook", {"enabled": True}),
        ("webhook", {"url": "javascript:alert(1)"}),
        ("webhook", {"url": "http://"}),
        ("webhook", {"url": "http://a b/"}),
        ("webhook", {"url": "http://x:99999/"}),
        ("webhook", {"url": "http://x", "events": "ALL"}),
        ("webhook", {"url": "http://x", "events": ["qrcode"]}),
        ("webhook", {"url": "http://x", "headers": {"a b": "c"}}),
        ("webhook", {"url": "http://x", "headers": {"a": 1}}),
        ("webhook", {"url": "http://x", "headers": {"jwt_key": ""}}),
        ("webhook", {"url": "http://x", "headers": {"jwt_key": "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ"}}),
        ("webhook", {"url": "http://x", "headers": {"a": "b\r\nc: d"}}),
        ("webhook", {"url": "http://x", "headers": {f"h{number}": "x" for number in range(51)}}),
        ("proxyHost", "proxy.example"),
        ("chatwootDaysLimitImportMessages", -1),
    ],
)
def test_fields_that_are_not_allowed(api: Api, field: str, value: object) -> None:
    message = message_of(api.post("/instance/create", {"instanceName": "a", field: value}), 400)
    assert field in message or "proxyPort" in message
    assert not api.gateway.sent


def test_unknown_fields_are_ignored(api: Api) -> None:
    create(api, sqs={"enabled": True}, whatever=[1, {"x": None}])


# connect


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_connect_shows_the_code(api: Api, method: str) -> None:
    api.gateway.add("sales")
    reply = api.ok(api.call(method, "/instance/connect/sales"))
    assert set(reply) == {"pairingCode", "code", "base64", "count"}
    assert reply["pairingCode"] is None
    assert reply["count"] == 1
    assert api.gateway.sent == [("sales", Connect(None, wait=5.0))]
    assert api.gateway.deadlines == [35.0]


def test_the_base64_of_a_code_is_its_picture(api: Api) -> None:
    api.gateway.add("sales")
    head, data = api.ok(api.get("/instance/connect/sales"))["base64"].split(",", 1)
    assert head == "data:image/png;base64"
    assert Image.open(io.BytesIO(base64.b64decode(data))).format == "PNG"


@pytest.mark.parametrize(
    "kwargs",
    [
        {"method": "GET", "path": "/instance/connect/sales?number=5511999999999"},
        {"method": "POST", "path": "/instance/connect/sales?number=5511999999999"},
        {"method": "POST", "path": "/instance/connect/sales", "json": {"number": "5511999999999"}},
        {"method": "GET", "path": "/instance/connect/sales?number=5511999999999@s.whatsapp.net"},
    ],
)
def test_connect_with_a_number_gives_a_pairing_code(api: Api, kwargs: dict[str, Any]) -> None:
    api.gateway.add("sales")
    assert api.ok(api.call(**kwargs))["pairingCode"] == "ABCD1234"
    assert api.gateway.sent == [("sales", Connect("5511999999999", wait=5.0))]


@pytest.mark.parametrize("number", ["abc", "+55", "5", "5%20", "55%00"])
def test_connect_with_a_wrong_number(api: Api, number: str) -> None:
    api.gateway.add("sales")
    assert '"number"' in message_of(api.get(f"/instance/connect/sales?number={number}"), 400)
    assert not api.gateway.sent


def test_connect_of_an_open_instance_answers_its_state(api: Api) -> None:
    api.gateway.add("sales", phase=Phase.OPEN)
    assert api.ok(api.get("/instance/connect/sales")) == {
        "instance": {"instanceName": "sales", "state": "open"}
    }


def test_connect_without_a_code_in_time_says_so_with_nulls(api: Api, monkeypatch: pytest.MonkeyPatch) -> None:
    api.gateway.add("sales")
    monkeypatch.setattr(api.gateway, "_show_code", lambda view, _code: view)
    expected = {"pairingCode": None, "code": None, "base64": None, "count": 0}
    assert api.ok(api.get("/instance/connect/sales")) == expected


# state and list


@pytest.mark.parametrize(
    ("phase", "state"),
    [
        (Phase.CLOSED, "close"),
        (Phase.STARTING, "connecting"),
        (Phase.AWAITING_SCAN, "connecting"),
        (Phase.OPEN, "open"),
        (Phase.RECOVERING, "connecting"),
        (Phase.FAILED, "close"),
    ],
)
def test_connection_state(api: Api, phase: Phase, state: str) -> None:
    api.gateway.add("sales", phase=phase)
    expected = {"instance": {"instanceName": "sales", "state": state}}
    assert api.ok(api.get("/instance/connectionState/sales")) == expected
    assert not api.gateway.sent


def test_fetch_instances_lists_rows(api: Api) -> None:
    api.gateway.add(
        "sales",
        phase=Phase.OPEN,
        owner_jid="5511999999999@s.whatsapp.net",
        number="5511999999999",
        disconnection_code=401,
        disconnection_object={"cause": "device_removed"},
        disconnection_at=EPOCH + 1.5,
        settings={"rejectCall": True},
        webhook={
            "enabled": True,
            "url": "http://user:secret@h/p?key=secret",
            "headers": {"Authorization": "secret"},
            "events": ["CALL"],
        },
        proxy={
            "enabled": True,
            "host": "p",
            "port": "1",
            "protocol": "http",
            "username": "u",
            "password": "secret",
        },
    )
    (row,) = api.ok(api.get("/instance/fetchInstances"))
    assert row["name"] == "sales"
    assert row["connectionStatus"] == "open"
    assert row["phase"] == "open"
    assert row["desired"] == "down"
    assert row["token"] == "token-of-sales"
    assert row["disconnectionReasonCode"] == 401
    assert row["disconnectionObject"] == '{"cause":"device_removed"}'
    assert row["disconnectionAt"] == "2026-01-01T00:00:01.500Z"
    assert row["createdAt"] == "2026-01-01T00:00:00.000Z"
    assert row["Setting"]["rejectCall"] is True
    assert row["Setting"]["instanceId"] == row["id"]
    assert row["Webhook"]["url"] == "http://h/p?…"
    assert api.ok(api.get("/webhook/find/sales"))["url"] == "http://user:secret@h/p?key=secret"
    assert row["Proxy"]["host"] == "p"
    assert "secret" not in str(row)


def test_fetch_instances_filters(api: Api) -> None:
    one = api.gateway.add("sales", number="551188", owner_jid="551199:3@s.whatsapp.net")
    api.gateway.add("support", number="551177")
    for query in (
        f"instanceId={one.id}",
        "instanceName=sales",
        "number=551188",
        "number=551199",
        "instanceName=sales&number=551188",
    ):
        rows = api.ok(api.get(f"/instance/fetchInstances?{query}"))
        assert [row["name"] for row in rows] == ["sales"], query
    for query in ("instanceName=nobody", "instanceId=x", "number=1", "instanceName=sales&number=551177"):
        message_of(api.get(f"/instance/fetchInstances?{query}"), 404)
    assert len(api.ok(api.get("/instance/fetchInstances?instanceName=&number="))) == 2


def test_fetch_instances_of_an_empty_host(api: Api) -> None:
    assert api.ok(api.get("/instance/fetchInstances")) == []


# commands


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_restart(api: Api, method: str) -> None:
    api.gateway.add("sales", phase=Phase.OPEN)
    reply = api.ok(api.call(method, "/instance/restart/sales"))
    assert reply == {"instance": {"instanceName": "sales", "state": "connecting"}}
    assert api.gateway.sent == [("sales", Restart())]


def test_restart_of_an_instance_that_waits_for_a_scan_shows_its_code(api: Api) -> None:
    api.gateway.add("sales", phase=Phase.AWAITING_SCAN, qr=QR)
    assert api.ok(api.post("/instance/restart/sales"))["code"] == QR.code


def test_restart_of_a_closed_instance_is_refused(api: Api) -> None:
    api.gateway.add("sales")
    assert "closed" in message_of(api.post("/instance/restart/sales"), 400)


@pytest.mark.parametrize("method", ["DELETE", "POST"])
def test_logout_answers_what_the_instance_says_of_it(api: Api, method: str) -> None:
    """That the phone could not be told, for one thing."""
    api.gateway.add("sales", logged_in=True)
    expected = {"status": "SUCCESS", "error": False, "response": {"message": "Logout done"}}
    assert api.ok(api.call(method, "/instance/logout/sales")) == expected
    assert "not connected (phase closed)" in message_of(api.call(method, "/instance/logout/sales"), 400)
    assert api.gateway.sent == [("sales", Logout())] * 2


def test_delete(api: Api) -> None:
    api.gateway.add("sales")
    expected = {"status": "SUCCESS", "error": False, "response": {"message": "Instance deleted"}}
    assert api.ok(api.call("DELETE", "/instance/delete/sales")) == expected
    message_of(api.call("DELETE", "/instance/delete/sales"), 404)
    message_of(api.get("/instance/connectionState/sales"), 404)


def test_a_command_during_a_delete_is_a_conflict(api: Api) -> None:
    api.gateway.add("sales")
    api.gateway.fail = lambda name, _message: BeingDeleted(name)
    message_of(api.post("/instance/reset/sales"), 409)


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/instance/forceReconnection/sales", ForceReconnection(False)),
        ("/instance/forceReconnection/sales?cleanSession=true", ForceReconnection(True)),
        ("/instance/forceReconnection/sales?cleanSession=1", ForceReconnection(True)),
        ("/instance/forceReconnection/sales?cleanSession=false", ForceReconnection(False)),
        ("/instance/reset/sales", Reset()),
    ],
)
def test_commands_without_a_body(api: Api, path: str, message: object) -> None:
    api.gateway.add("sales")
    reply = api.ok(api.post(path))
    assert reply["status"] == "SUCCESS"
    assert api.gateway.sent == [("sales", message)]


def test_a_query_that_is_no_boolean(api: Api) -> None:
    api.gateway.add("sales")
    assert '"cleanSession"' in message_of(
        api.post("/instance/forceReconnection/sales?cleanSession=maybe"), 400
    )
    assert not api.gateway.sent


@pytest.mark.parametrize("presence", PRESENCES)
def test_presence(api: Api, presence: str) -> None:
    api.gateway.add("sales", phase=Phase.OPEN)
    assert api.ok(api.post("/instance/setPresence/sales", {"presence": presence}), 201) == {
        "presence": presence
    }
    assert api.gateway.sent == [("sales", SetPresence(presence))]


@pytest.mark.parametrize(
    "body", [{}, {"presence": "composing"}, {"presence": "away"}, {"presence": None}, {"presence": 1}]
)
def test_a_presence_that_is_none(api: Api, body: dict[str, object]) -> None:
    api.gateway.add("sales", phase=Phase.OPEN)
    assert '"presence"' in message_of(api.post("/instance/setPresence/sales", body), 400)


def test_the_presence_of_a_closed_instance_is_refused(api: Api) -> None:
    api.gateway.add("sales")
    assert "closed" in message_of(api.post("/instance/setPresence/sales", {"presence": "available"}), 400)


@pytest.mark.parametrize("name", ["a b", "a%00b", "%ff", "<script>", "x" * 300, "ä", "a%0ab", "..", "."])
def test_odd_names_in_paths_are_unknown_instances(api: Api, name: str) -> None:
    for path in ("/instance/connectionState/", "/instance/connect/", "/webhook/find/", "/instance/history/"):
        message = message_of(api.get(path + name), 404)
        assert len(message) < 250


def test_a_name_that_cannot_be_is_told_what_names_are(api: Api) -> None:
    message = message_of(api.get("/instance/connectionState/a%20b"), 404)
    assert message.startswith('The "a b" instance does not exist\nA name must match ')


# pictures, history, diagnosis


@pytest.mark.parametrize(("suffix", "kind"), [("png", "image/png"), ("svg", "image/svg+xml")])
def test_the_picture_of_the_code(api: Api, suffix: str, kind: str) -> None:
    api.gateway.add("sales", phase=Phase.AWAITING_SCAN, qr=QR)
    response = api.get(f"/instance/qr/sales.{suffix}", key="token-of-sales")
    assert response.status_code == 200
    assert response.mimetype == kind
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("suffix", ["png", "svg"])
def test_no_picture_without_a_code(api: Api, suffix: str) -> None:
    api.gateway.add("sales")
    assert "no QR code now (phase closed)" in message_of(api.get(f"/instance/qr/sales.{suffix}"), 404)
    message_of(api.get(f"/instance/qr/nobody.{suffix}"), 404)


def test_history_is_paged(api: Api) -> None:
    api.gateway.add("sales")
    api.gateway.entries = [FakeEntry(number) for number in range(5, 0, -1)]
    first = api.ok(api.get("/instance/history/sales?limit=3"))
    assert [row["id"] for row in first["history"]] == [5, 4, 3]
    assert first["history"][0]["timestamp"] == "2026-01-01T00:00:00.000Z"
    assert first["history"][0]["code"] == 428
    second = api.ok(api.get(f"/instance/history/sales?limit=3&before={first['next']}"))
    assert [row["id"] for row in second["history"]] == [2, 1]
    assert second["next"] is None


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=501", "limit=x", "before=0", "before=-1", f"before={2**70}"]
)
def test_pages_that_are_none(api: Api, query: str) -> None:
    api.gateway.add("sales")
    assert query.partition("=")[0] in message_of(api.get(f"/instance/history/sales?{query}"), 400)


def test_diagnose(api: Api) -> None:
    api.gateway.add("sales")
    reply = api.ok(api.get("/instance/diagnose/sales"))
    assert reply["instanceName"] == "sales"
    message_of(api.get("/instance/diagnose/nobody"), 404)


def test_the_host_key_and_tokens_do_not_mix(api: Api) -> None:
    api.gateway.add("sales")
    api.ok(
        api.get(
            "/instance/connectionState/sales",
            key="token-of-sales",
            headers={"Authorization": f"Bearer {HOST_KEY}"},
        )
    )
    assert Configure not in {type(message) for _, message in api.gateway.sent}
