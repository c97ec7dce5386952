"""The request of a delivery: Evolution API's envelope, its headers, and our own that let a receiver trust it."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import httpcore
import httpx
from pydantic import SecretStr

from actors.delivery.transport import Post
from actors.events.models import iso
from actors.events.names import path_suffix
from actors.store.outbox import Pending
from supervisor import __version__
from supervisor.config import WebhookSettings

Picture = Callable[[str], str]
"""Draws the text of a QR code as a data URL."""

JWT_KEY = "jwt_key"
JWT_SECONDS = 600
"""How long the token of a `jwt_key` header is good, as in Evolution API."""

_OURS = frozenset({"host", "content-length", "transfer-encoding", "connection", "keep-alive", "upgrade"})
_PREFIX = "x-zapvisor-"
_json = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode
_TOKEN = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HOST = re.compile(rb"[0-9A-Za-z._:~-]+")


class Unsendable(ValueError):
    """A request that cannot be sent, in words without its secrets."""


@dataclass(frozen=True, slots=True)
class Sender:
    """What all requests have in common.

    Attributes:
        server_url: the host's own address, for the envelope.
        picture: draws QR codes; without it events carry none.
    """

    server_url: str
    picture: Picture | None = None


def build(pending: Pending, settings: WebhookSettings, sender: Sender, now: float) -> Post:
    """The request for a delivery.

    Args:
        settings: the `[webhook]` settings of the delivery's instance.
        now: epoch seconds.

    Raises:
        Unsendable: the URL or a header cannot be sent.
    """
    if pending.scope == "instance":
        by_events = bool(pending.target.get("byEvents"))
        pictures = pending.target.get("base64") is not False
        headers = {str(name): str(value) for name, value in dict(pending.target.get("headers") or {}).items()}
    else:
        by_events, pictures = settings.by_events, settings.base64
        headers = {name: value.get_secret_value() for name, value in settings.headers.items()}
    place = _place(pending.destination, path_suffix(pending.event.event) if by_events else "")
    body = encode(envelope(pending, sender, now, pictures=pictures))
    own = (
        _authorization(place, headers, now) | _allowed(headers) | _signed(pending, body, settings.secret, now)
    )
    for name, value in own.items():
        if not _TOKEN.fullmatch(name):
            raise Unsendable("the name of a header has a character that HTTP does not allow")
        if not value.isascii() or not value.isprintable():
            raise Unsendable(f"header {name} has a character that HTTP does not allow")
    return Post(place.url, place.host, own, body)


def envelope(pending: Pending, sender: Sender, now: float, *, pictures: bool) -> dict[str, Any]:
    """What is sent, as Evolution API sends it, with the event's id, which the signature thereby covers."""
    event = pending.event
    return {
        "event": event.event,
        "instance": event.instance_name,
        "data": _data(pending, sender, now, pictures=pictures),
        "destination": pending.destination,
        "date_time": iso(event.created_at),
        "sender": event.sender,
        "server_url": sender.server_url,
        "apikey": event.apikey,
        "event_id": event.id,
    }


def encode(document: Mapping[str, Any]) -> bytes:
    """JSON in UTF-8."""
    return _json(document).encode("utf-8", "replace")


def signature(secret: SecretStr, timestamp: str, body: bytes) -> str:
    """`sha256=` and the HMAC of `timestamp.body` in hex."""
    key = secret.get_secret_value().encode()
    return "sha256=" + hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


def jwt_bearer(key: str, now: float) -> str:
    """The Authorization header that Evolution API makes of a `jwt_key`: HS256, good for ten minutes.

    Raises:
        Unsendable: nothing can be signed with that key.
    """
    import jwt  # here, for few webhooks have such a key and it may load all of `cryptography`

    issued = int(now)
    claims = {"iat": issued, "exp": issued + JWT_SECONDS, "app": "evolution", "action": "webhook"}
    try:
        return f"Bearer {jwt.encode(claims, key, algorithm='HS256')}"
    except (jwt.InvalidKeyError, ValueError):
        raise Unsendable("the jwt_key is empty, or not a secret but a key of another kind") from None


def _data(pending: Pending, sender: Sender, now: float, *, pictures: bool) -> Any:
    event = pending.event
    data = event.data
    if not isinstance(data, Mapping) or not isinstance(data.get("qrcode"), Mapping):
        return data
    code = dict(data["qrcode"])
    if event.secret is not None and (event.secret_until is None or now < event.secret_until):
        code.update(event.secret)
        if pictures and sender.picture is not None and code.get("code"):
            code["base64"] = sender.picture(str(code["code"]))
    if not pictures:
        code.pop("base64", None)
    return {**data, "qrcode": code}


@dataclass(frozen=True, slots=True)
class _Place:
    url: httpcore.URL
    host: bytes
    login: str | None


@lru_cache(maxsize=1024)
def _place(destination: str, suffix: str) -> _Place:
    """A destination taken apart; taking it apart costs a tenth of a request."""
    try:
        url = httpx.URL(destination)
    except (httpx.InvalidURL, ValueError):
        raise Unsendable("the URL is not one") from None
    if url.scheme not in ("http", "https") or not _HOST.fullmatch(url.raw_host) or (url.port or 0) > 65535:
        raise Unsendable("the URL is not one of http or https")
    if suffix:
        url = url.copy_with(path=f"{url.path.rstrip('/')}/{suffix}")
    login = base64.b64encode(f"{url.username}:{url.password}".encode()).decode() if url.userinfo else None
    target = httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path)
    return _Place(target, url.netloc, login)


def _authorization(place: _Place, custom: Mapping[str, str], now: float) -> dict[str, str]:
    headers = {"content-type": "application/json", "user-agent": f"zapvisor/{__version__}", "accept": "*/*"}
    if place.login is not None:
        headers["authorization"] = f"Basic {place.login}"
    if JWT_KEY in custom:
        headers["authorization"] = jwt_bearer(custom[JWT_KEY], now)
    return headers


def _allowed(custom: Mapping[str, str]) -> dict[str, str]:
    """The configured headers, without those that are ours to set; space at the edges of a value means nothing."""
    lower = {name.lower(): value.strip(" \t") for name, value in custom.items() if name != JWT_KEY}
    return {
        name: value for name, value in lower.items() if name not in _OURS and not name.startswith(_PREFIX)
    }


def _signed(pending: Pending, body: bytes, secret: SecretStr | None, now: float) -> dict[str, str]:
    timestamp = str(int(now))
    headers = {f"{_PREFIX}event-id": pending.event.id, f"{_PREFIX}timestamp": timestamp}
    if secret is not None:
        headers[f"{_PREFIX}signature"] = signature(secret, timestamp, body)
    return headers
