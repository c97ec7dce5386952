"""No secret reaches a log line, an error answer, or a list that is shown: a whole life is lived, then searched."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import quote, urlsplit

import httpx
import pytest

from tests.actors.chatwoot.server import ChatwootServer
from tests.actors.delivery.receiver import Receiver
from tests.e2e.harness import KEY, HostProcess
from tests.loopback.service import LoopbackService

PROXY_USER, PROXY_PASSWORD = "proxyuser", "pr0xy p/ss+w=rd"
HOOK_PASSWORD, HOOK_SECRET = "h00k-passw0rd", "a-webhook-signing-secret"
HOOK_HEADER, JWT_KEY = "header-k3y-9f2c", "jwt-signing-key-77aa"
GLOBAL_PASSWORD, GLOBAL_HEADER = "gl0bal-passw0rd", "gl0bal-header-value"
TOKENS = {"sales": "TOKEN-SALES-5A5A", "support": "TOKEN-SUPPORT-6B6B", "broken": "TOKEN-BROKEN-7C7C"}
WRONG_KEY = "a-key-that-somebody-guessed"


@dataclass
class Secrets:
    """What must not be found anywhere, and where to look."""

    values: set[str] = field(default_factory=set)
    answers: list[str] = field(default_factory=list)

    def add(self, *values: str | None) -> None:
        """A secret in the forms in which it travels."""
        for value in filter(None, values):
            self.values |= {value, quote(value, safe=""), json.dumps(value)[1:-1]}
            self.values.add(base64.b64encode(value.encode()).decode())

    def add_code(self, shown: dict[str, Any]) -> None:
        """A QR code, with each of the keys in it, its picture and its pairing code."""
        code = shown.get("code")
        if code:
            self.add(code, *(part for part in re.split(r"[,@]", code) if len(part) > 10))
        pairing = shown.get("pairingCode")
        if pairing:
            self.add(pairing, f"{pairing[:4]}-{pairing[4:]}")
        if shown.get("base64"):
            self.add(shown["base64"].partition(",")[2])

    def found_in(self, text: str) -> list[str]:
        return sorted(value for value in self.values if value in text)


class Client:
    """Calls the API and keeps every answer that is an error."""

    def __init__(self, host: HostProcess, secrets: Secrets, address: str = "127.0.0.1") -> None:
        self._secrets = secrets
        transport = httpx.HTTPTransport(local_address=address)
        self._client = httpx.Client(base_url=host.url, timeout=40.0, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self._client.close()

    def call(
        self, method: str, path: str, key: str | None = KEY, headers: Any = None, **options: Any
    ) -> tuple[int, str]:
        """Status and text; of a stream that goes on for ever, only the status."""
        sent = {**({"apikey": key} if key else {}), **(headers or {})}
        with self._client.stream(method, path, headers=sent, **options) as answer:
            streams = answer.headers.get("content-type", "").startswith("text/event-stream")
            text = "" if streams else answer.read().decode(errors="replace")
        if answer.status_code >= 400:
            self._secrets.answers.append(f"{method} {path}: {answer.status_code} {text} {answer.headers}")
        return answer.status_code, text

    def ok(self, method: str, path: str, **options: Any) -> Any:
        status, text = self.call(method, path, **options)
        assert status < 300, f"{method} {path}: {text}"
        return json.loads(text)


@pytest.fixture
def wa(tmp_path: Path) -> Iterator[LoopbackService]:
    """A service whose proxy asks for a password."""
    with LoopbackService(tmp_path / "wa", credentials=(PROXY_USER, PROXY_PASSWORD)) as service:
        yield service


@pytest.fixture
def secrets() -> Secrets:
    secrets = Secrets()
    login = [f"{PROXY_USER}:{PROXY_PASSWORD}", f"hook:{HOOK_PASSWORD}", f"all:{GLOBAL_PASSWORD}"]
    secrets.add(KEY, PROXY_PASSWORD, HOOK_PASSWORD, HOOK_SECRET, HOOK_HEADER, JWT_KEY, WRONG_KEY, *login)
    secrets.add(GLOBAL_PASSWORD, GLOBAL_HEADER, *TOKENS.values())
    return secrets


def test_a_whole_life(tmp_path: Path, wa: LoopbackService, secrets: Secrets) -> None:
    with receiving() as own, receiving() as everybody, ChatwootServer() as chatwoot:
        secrets.add(chatwoot.token)
        own.script = lambda got: 500 if len(own.got) % 4 == 1 else (401 if len(own.got) % 4 == 3 else 200)
        settings = {
            "host": {"log_level": "debug"},
            "webhook": {
                "url": with_login(everybody.url, "all", GLOBAL_PASSWORD),
                "secret": HOOK_SECRET,
                "headers": f'{{"X-Key": "{GLOBAL_HEADER}"}}',
                "initial_delay": "50ms",
                "max_delay": "100ms",
            },
            "chatwoot": {"enabled": "yes"},
        }
        host = HostProcess(tmp_path / "host", wa.environment(proxy=False), settings).start()
        try:
            with Client(host, secrets) as api:
                live(host, api, wa, secrets, own=own, chatwoot=chatwoot)
            host.kill()
            host.start()
            say_secrets(host)
            # Wrong keys come from another address, which is soon asked to wait.
            with Client(host, secrets) as api, Client(host, secrets, "127.0.0.9") as stranger:
                provoke_errors(api, stranger, secrets)
        finally:
            host.stop()
        sent = [
            got.json["data"]["qrcode"] for got in [*own.got, *everybody.got] if "qrcode" in got.json["data"]
        ]
        assert sent
        for shown in sent:
            secrets.add_code(shown)
        signed = [
            got.headers[name] for got in [*own.got, *everybody.got] for name in SIGNED if name in got.headers
        ]
        assert len(signed) > 3
        secrets.add(*signed)
    look_through(host, secrets)


SIGNED = ("x-zapvisor-signature", "authorization")


def live(
    host: HostProcess,
    api: Client,
    wa: LoopbackService,
    secrets: Secrets,
    *,
    own: Receiver,
    chatwoot: ChatwootServer,
) -> None:
    """Link one number by picture and one by code, kill, drop, log out, delete; and one that never gets anywhere."""
    proxy = urlsplit(wa.proxy_url)
    through = {"proxyHost": "127.0.0.1", "proxyPort": str(proxy.port), "proxyProtocol": "http"}
    login = {"proxyUsername": PROXY_USER, "proxyPassword": PROXY_PASSWORD}
    webhook = {
        "enabled": True,
        "url": with_login(own.url, "hook", HOOK_PASSWORD),
        "headers": {"X-Api-Key": HOOK_HEADER, "jwt_key": JWT_KEY},
    }
    for name in ("sales", "support"):
        body = {"instanceName": name, "token": TOKENS[name], "webhook": webhook, **through, **login}
        api.ok("POST", "/instance/create", json=body)
    chatwoot_settings = chatwoot.settings(signMsg=False, reopenConversation=False, conversationPending=False)
    api.ok("POST", "/chatwoot/set/sales", json=chatwoot_settings)

    shown = api.ok("GET", "/instance/connect/sales", key=TOKENS["sales"])
    secrets.add_code(shown)
    assert wa.phone("5511977000001").scan(shown["code"]).paired
    host.phase("sales", "open")
    shown = api.ok("GET", "/instance/connect/support?number=5511977000002")
    secrets.add_code(shown)
    assert wa.phone("5511977000002").enter_code(shown["pairingCode"]).paired
    host.phase("support", "open")

    mark = host.log.mark()
    os.kill(host.port_pid("sales"), signal.SIGKILL)
    host.phase("sales", "open", after=mark)
    mark = host.log.mark()
    wa.connection(wa.devices("5511977000002")[0]).drop()
    host.log.wait_for("disconnected", after=mark, instance="support")
    host.phase("support", "open", after=mark)
    api.ok("GET", "/instance/diagnose/sales")
    api.ok(
        "POST",
        "/webhook/set/support",
        json={"webhook": {**webhook, "url": with_login(own.url, "hook", "new-pass9")}},
    )
    secrets.add("new-pass9")
    never_connects(host, api, proxy.port or 0, login)
    api.ok("DELETE", "/instance/logout/sales")
    chatwoot.wait(lambda me: any("disconnected" in text for text in me.texts))
    api.ok("DELETE", "/instance/delete/sales")


def never_connects(host: HostProcess, api: Client, port: int, login: dict[str, str]) -> None:
    """A wrong password for the proxy, a webhook and a Chatwoot that nobody answers at."""
    wrong = {**login, "proxyUsername": "somebody"}
    nowhere = with_login("http://127.0.0.1:9/hook", "hook", HOOK_PASSWORD)
    body = {
        "instanceName": "broken",
        "token": TOKENS["broken"],
        "proxyHost": "127.0.0.1",
        "proxyPort": str(port),
        "proxyProtocol": "http",
        "webhook": {"enabled": True, "url": nowhere},
        **wrong,
    }
    mark = host.log.mark()
    api.ok("POST", "/instance/create", json=body)
    api.call("GET", "/instance/connect/broken")
    host.log.wait_for("disconnected", after=mark, instance="broken")
    api.ok("GET", "/instance/diagnose/broken")


def say_secrets(host: HostProcess) -> None:
    """Callers put secrets where they are logged: into paths, and into the id that they give a request."""
    theirs = (
        KEY,
        TOKENS["support"],
        TOKENS["broken"],
        PROXY_PASSWORD,
        HOOK_PASSWORD,
        "new-pass9",
        HOOK_HEADER,
        JWT_KEY,
    )
    for secret in (*theirs, GLOBAL_PASSWORD, GLOBAL_HEADER, HOOK_SECRET):
        path = f"/instance/connectionState/{quote(secret, safe='')}"
        answer = host.api.client.get(path, headers={"X-Request-Id": secret})
        assert answer.status_code == 404
    asked = len(theirs) + 3
    masked: dict[str, Any] = {"path": "/instance/connectionState/***"}
    host.log.wait_for("request", where=lambda _: len(host.log.records(**masked)) == asked, **masked)


def provoke_errors(api: Client, stranger: Client, secrets: Secrets) -> None:
    """Every route: without a key, with a wrong one, without its instance, and with secrets in a body that is wrong."""
    document = api.ok("GET", "/openapi/openapi.json")
    cut_off = b'{"token": "' + HOOK_SECRET.encode() + b'", "webhook": {"url": "' + HOOK_PASSWORD.encode()
    spoilt: list[dict[str, Any]] = [
        {"content": cut_off},
        {"json": [HOOK_SECRET]},
        {"json": wrong([HOOK_SECRET, {"x": PROXY_PASSWORD}])},
        {"json": wrong({"url": with_login("ftp://x", "u", HOOK_PASSWORD), "headers": HOOK_SECRET})},
        {"json": wrong(PROXY_PASSWORD) | {"instanceName": "other", "enabled": True}},
        {"json": wrong(with_login("ftp://x", "u", HOOK_PASSWORD)) | {"enabled": True}},
        {"json": wrong(f"{HOOK_PASSWORD}\r\nX-Y: z" * 50) | {"enabled": True}},
        {"json": wrong({HOOK_SECRET: f"{HOOK_SECRET}\n"}) | {"enabled": True}},
    ]
    for path, methods in document["paths"].items():
        for method in methods:
            for name in ("support", "nobody"):
                where = path.replace("{instanceName}", quote(name, safe=""))
                verb = method.upper()
                stranger.call(verb, where, key=None)
                stranger.call(verb, where, key=WRONG_KEY)
                stranger.call(verb, where, key=None, headers={"Authorization": f"Bearer {WRONG_KEY}"})
                if name == "support" and verb in ("GET", "DELETE"):
                    continue
                stranger.call(verb, where, key=TOKENS["broken"], **({} if verb == "GET" else spoilt[4]))
                for body in spoilt if verb in ("POST", "PUT") and "reset" not in where else [{}]:
                    api.call(verb, where, headers={"Content-Type": "application/json"}, **body)
    assert len(secrets.answers) > 300
    answered = " ".join(secrets.answers)
    assert {status for status in ("400", "401", "404") if f": {status} " in answered} == {"400", "401", "404"}


SECRET_FIELDS = (
    *("token", "proxyPassword", "password", "webhook", "headers", "url", "chatwootToken", "chatwootUrl"),
    "proxy",
)
OTHER_FIELDS = (
    *(
        "instanceName",
        "number",
        "qrcode",
        "proxyHost",
        "proxyPort",
        "settings",
        "enabled",
        "host",
        "port",
        "protocol",
    ),
    *(
        "accountId",
        "presence",
        "events",
        "eventIds",
        "instance",
        "destination",
        "path",
        "rejectCall",
        "groupsIgnore",
    ),
    *("alwaysOnline", "readMessages", "readStatus", "syncFullHistory", "signMsg", "chatwootAccountId"),
)
"""Fields of bodies, those first that are there to hold a secret. What is wrong in others is repeated to the caller."""


def wrong(secret: Any) -> dict[str, Any]:
    return {**dict.fromkeys(OTHER_FIELDS, "!"), **dict.fromkeys(SECRET_FIELDS, secret)}


def look_through(host: HostProcess, secrets: Secrets) -> None:
    log = (host.directory / "host.log").read_text(errors="replace")
    assert log.count("\n") > 100
    leaks = [(secret, line[:300]) for line in log.splitlines() for secret in secrets.found_in(line)]
    assert not leaks, leaks[:10]
    told = [(secret, answer[:300]) for answer in secrets.answers for secret in secrets.found_in(answer)]
    assert not told, told[:10]


@contextmanager
def receiving() -> Iterator[Receiver]:
    receiver = Receiver().start()
    try:
        yield receiver
    finally:
        receiver.stop()


def with_login(url: str, user: str, password: str) -> str:
    return url.replace("://", f"://{user}:{quote(password, safe='')}@")
