"""What a webhook receives: Evolution's envelope, its headers, a signature that it can check."""

from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import jwt
import pytest
from pydantic import SecretStr

from actors.delivery.request import Sender, build
from actors.delivery.transport import Post
from actors.store.outbox import Pending, Target
from actors.store.rows import EventRow
from supervisor.config import WebhookSettings

NOW = 1_700_000_000.5
QR = {"qrcode": {"instance": "sales", "code": None, "pairingCode": None, "count": 1, "base64": None}}
QR_SECRET = {"code": "2@code", "pairingCode": "ABCD1234"}


def pending(
    url: str = "https://hooks.example/in",
    *,
    scope: Any = "instance",
    event: str = "connection.update",
    data: Any = None,
    secret: Any = None,
    until: float | None = None,
    **options: Any,
) -> Pending:
    row = EventRow(
        1,
        "event-1",
        "id-1",
        "sales",
        event,
        data or {"state": "open"},
        secret,
        until,
        "55@s",
        "TOKEN",
        1_700_000_000.0,
    )
    return Pending(7, url, scope, options, 0, None, row)


def request(one: Pending, **settings: Any) -> Post:
    sender = Sender("https://wa.example", lambda code: f"data:image/png;base64,{code}")
    return build(one, WebhookSettings(**settings), sender, NOW)


def body(one: Pending, **settings: Any) -> Any:
    return json.loads(request(one, **settings).body)


def test_the_envelope() -> None:
    assert body(pending()) == {
        "event": "connection.update",
        "instance": "sales",
        "data": {"state": "open"},
        "destination": "https://hooks.example/in",
        "date_time": "2023-11-14T22:13:20.000Z",
        "sender": "55@s",
        "server_url": "https://wa.example",
        "apikey": "TOKEN",
        "event_id": "event-1",
    }


def test_the_signature_covers_the_event_id() -> None:
    """It is in the body as well: a header of its own could be exchanged by whoever recorded the request."""
    post = request(pending(), secret=SecretStr("hush-hush"))
    assert json.loads(post.body)["event_id"] == post.headers["x-zapvisor-event-id"]


def test_our_headers() -> None:
    headers = request(pending()).headers
    assert headers["content-type"] == "application/json"
    assert headers["x-zapvisor-event-id"] == "event-1"
    assert headers["x-zapvisor-timestamp"] == "1700000000"
    assert "x-zapvisor-signature" not in headers


def test_with_a_secret_the_signature_is_over_timestamp_and_body() -> None:
    post = request(pending(), secret=SecretStr("hush-hush"))
    expected = hmac.new(b"hush-hush", b"1700000000." + post.body, hashlib.sha256).hexdigest()
    assert post.headers["x-zapvisor-signature"] == f"sha256={expected}"


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example/in", b"/in/qrcode-updated"),
        ("https://hooks.example/in/", b"/in/qrcode-updated"),
        ("https://hooks.example", b"/qrcode-updated"),
        ("https://hooks.example/in?key=1", b"/in/qrcode-updated?key=1"),
    ],
)
def test_by_events_appends_the_events_name_to_the_path(url: str, target: bytes) -> None:
    post = request(pending(url, event="qrcode.updated", byEvents=True))
    assert post.url.target == target
    assert json.loads(post.body)["destination"] == url


def test_the_hosts_webhook_follows_the_hosts_settings() -> None:
    one = pending(scope="global", event="qrcode.updated", data=QR, secret=QR_SECRET)
    settings = {"by_events": True, "base64": False, "headers": {"x-key": SecretStr("k")}}
    post = request(one, **settings)
    assert post.url.target == b"/in/qrcode-updated"
    assert post.headers["x-key"] == "k"
    assert "base64" not in json.loads(post.body)["data"]["qrcode"]


def test_the_hosts_headers_are_not_told_to_an_instances_webhook() -> None:
    assert "x-key" not in request(pending(), headers={"x-key": SecretStr("k")}).headers


def test_custom_headers_are_sent_except_those_that_are_ours() -> None:
    custom = {
        "X-Own": "1",
        "Authorization": "Basic abc",
        "Content-Type": "application/cloudevents+json",
        "Host": "evil",
        "Content-Length": "3",
        "X-Zapvisor-Event-Id": "forged",
    }
    headers = request(pending(headers=custom)).headers
    assert headers["x-own"] == "1"
    assert headers["authorization"] == "Basic abc"
    assert headers["content-type"] == "application/cloudevents+json"
    assert headers["x-zapvisor-event-id"] == "event-1"
    assert "host" not in headers
    assert "content-length" not in headers


def test_a_jwt_key_becomes_a_token_that_the_receiver_can_verify() -> None:
    key = "a-key-that-both-sides-know-and-is-long"
    headers = request(pending(headers={"jwt_key": key})).headers
    scheme, _, token = headers["authorization"].partition(" ")
    claims = jwt.decode(token, key, algorithms=["HS256"], options={"verify_exp": False})
    assert scheme == "Bearer"
    assert claims == {"iat": 1_700_000_000, "exp": 1_700_000_600, "app": "evolution", "action": "webhook"}
    assert "jwt_key" not in headers
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}


def test_user_and_password_of_a_url_become_a_header() -> None:
    post = request(pending("https://user:p%40ss@hooks.example/in"))
    assert post.headers["authorization"] == "Basic dXNlcjpwQHNz"
    assert post.host == b"hooks.example"


def test_a_code_is_sent_with_its_picture_while_it_is_of_use() -> None:
    one = pending(event="qrcode.updated", data=QR, secret=QR_SECRET, until=NOW + 1)
    assert body(one)["data"]["qrcode"] == {
        "instance": "sales",
        "code": "2@code",
        "pairingCode": "ABCD1234",
        "count": 1,
        "base64": "data:image/png;base64,2@code",
    }


def test_a_code_that_is_of_no_more_use_is_sent_as_null() -> None:
    one = pending(event="qrcode.updated", data=QR, secret=QR_SECRET, until=NOW - 1)
    assert body(one)["data"] == QR
    assert body(pending(event="qrcode.updated", data=QR))["data"] == QR


def test_without_base64_there_is_no_picture() -> None:
    one = pending(event="qrcode.updated", data=QR, secret=QR_SECRET, base64=False)
    code = body(one)["data"]["qrcode"]
    assert code["code"] == "2@code"
    assert "base64" not in code


@pytest.mark.parametrize(
    "url",
    ["ftp://host/x", "https:///x", "//host/x", "https://ho st/", "https://[::1/x", "https://host:99999/"],
)
def test_a_url_that_cannot_be_called_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="URL"):
        request(pending(url))


@pytest.mark.parametrize("value", ["a\r\nx-injected: 1", "schön", "a\x00b"])
def test_a_header_that_http_does_not_allow_is_refused_without_its_value(value: str) -> None:
    with pytest.raises(ValueError, match="header x-own") as caught:
        request(pending(headers={"X-Own": value}))
    assert value not in str(caught.value)


def test_text_that_is_no_unicode_does_not_stop_an_event() -> None:
    assert body(pending(data={"profileName": "\ud83d"}))["data"]["profileName"] == "?"


def test_nothing_secret_is_in_a_repr() -> None:
    post = request(
        pending("https://user:hush@hooks.example/hush", headers={"a": "hush"}), secret=SecretStr("hush-hush")
    )
    target = Target("https://user:hush@hooks.example/hush", "instance", {"headers": {"a": "hush"}})
    assert "hush" not in repr(post) + repr(target)
