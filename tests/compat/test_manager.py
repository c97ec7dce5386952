"""The Evolution Manager of Evolution API 2.3.6, with the requests that its script makes.

They are written down from `manager/dist/assets` of that release: axios, a page of another origin, the host's key for
the list of instances, create and delete, and the instance's token for everything else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest

from supervisor.config import ConfigError, loads
from tests.api.conftest import SETTINGS, build
from tests.compat.conftest import MANAGER_ORIGIN
from tests.compat.coverage import MANAGER, covers
from tests.e2e.harness import KEY, HostProcess
from tests.loopback.service import LoopbackService

ACCEPT = "application/json, text/plain, */*"
BROWSER = {
    "Accept": ACCEPT,
    "Origin": MANAGER_ORIGIN,
    "Sec-Fetch-Site": "cross-site",
    "Sec-Fetch-Mode": "cors",
}

Axios = Callable[..., Any]


@pytest.fixture
def axios(bare: httpx.Client) -> Axios:
    """A request as the browser lets the Manager's page make it: asked for first, and readable by the page."""

    def send(method: str, path: str, key: str = KEY, expect: int = 200, **options: Any) -> Any:
        headers = ["apikey", *(["content-type"] if "json" in options else [])]
        preflight = bare.options(
            path,
            headers={
                **BROWSER,
                "Access-Control-Request-Method": method,
                "Access-Control-Request-Headers": ",".join(headers),
            },
        )
        assert preflight.status_code == 204
        assert preflight.headers["Access-Control-Allow-Origin"] == MANAGER_ORIGIN
        assert method in preflight.headers["Access-Control-Allow-Methods"].split(", ")
        permitted = preflight.headers["Access-Control-Allow-Headers"].lower().split(", ")
        assert set(headers) <= set(permitted)
        answer = bare.request(method, path, headers={**BROWSER, "apikey": key}, **options)
        assert answer.headers["Access-Control-Allow-Origin"] == MANAGER_ORIGIN
        assert answer.status_code == expect, answer.text
        return answer.json()

    return send


def create(axios: Axios, name: str) -> str:
    """As the form "Instance +" does it; the new instance's token."""
    form = {
        "instanceName": name,
        "integration": "WHATSAPP-BAILEYS",
        "token": f"TOKEN-OF-{name}",
        "number": None,
        "businessId": None,
    }
    created = axios("POST", "/instance/create", json=form, expect=201)
    assert created["hash"] == form["token"]
    return str(created["hash"])


@covers(MANAGER, "GET /", "POST /verify-creds")
def test_login(axios: Axios, bare: httpx.Client) -> None:
    server = bare.get("/", headers=BROWSER).json()
    assert server["version"]
    assert server["clientName"]
    found = axios("POST", "/verify-creds", json={})
    assert {"facebookAppId", "facebookConfigId", "facebookUserToken"} <= set(found)
    axios("POST", "/verify-creds", key="a-wrong-key", json={}, expect=401)


@covers(
    MANAGER,
    "POST /instance/create",
    "GET /instance/fetchInstances",
    "GET /instance/connect/{name}",
    "POST /instance/restart/{name}",
    "DELETE /instance/logout/{name}",
    "DELETE /instance/delete/{name}",
)
def test_an_instances_life(
    host: HostProcess, axios: Axios, wa: LoopbackService, name: str, number: str
) -> None:
    token = create(axios, name)
    row = next(row for row in axios("GET", "/instance/fetchInstances") if row["name"] == name)
    assert row["token"] == token
    [same] = axios("GET", "/instance/fetchInstances", params={"instanceId": row["id"]})
    assert same["name"] == name
    code = axios("GET", f"/instance/connect/{name}")["code"]
    assert wa.phone(number).scan(code).paired
    host.phase(name, "open")
    [row] = axios("GET", "/instance/fetchInstances", params={"instanceId": row["id"]})
    assert row["connectionStatus"] == "open"
    mark = host.log.mark()
    axios("POST", f"/instance/restart/{name}", key=token)
    host.phase(name, "open", after=mark)
    axios("DELETE", f"/instance/logout/{name}", key=token)
    axios("DELETE", f"/instance/delete/{name}")
    assert name not in [row["name"] for row in axios("GET", "/instance/fetchInstances")]


@covers(MANAGER, "GET /instance/connect/{name}")
def test_pairing_by_number(axios: Axios, name: str, number: str) -> None:
    create(axios, name)
    answer = axios("GET", f"/instance/connect/{name}", params={"number": number})
    assert answer["pairingCode"]


@covers(MANAGER, "GET /instance/fetchInstances")
def test_its_chat_window_asks_with_the_instances_token(axios: Axios, name: str) -> None:
    token = create(axios, name)
    [row] = axios("GET", "/instance/fetchInstances", key=token, params={"instanceName": name})
    assert row["name"] == name


@covers(MANAGER, "GET /settings/find/{name}", "POST /settings/set/{name}")
def test_settings(axios: Axios, name: str) -> None:
    token = create(axios, name)
    form = {
        "rejectCall": True,
        "msgCall": "",
        "groupsIgnore": False,
        "alwaysOnline": True,
        "readMessages": False,
        "syncFullHistory": False,
        "readStatus": False,
    }
    axios("POST", f"/settings/set/{name}", key=token, json=form, expect=201)
    assert axios("GET", f"/settings/find/{name}", key=token) == form


@covers(MANAGER, "GET /webhook/find/{name}", "POST /webhook/set/{name}")
def test_webhook(axios: Axios, name: str) -> None:
    token = create(axios, name)
    assert axios("GET", f"/webhook/find/{name}", key=token) is None
    url = "https://shop.example.org/hook"
    form = {"enabled": True, "url": url, "events": ["QRCODE_UPDATED"], "base64": True, "byEvents": False}
    axios("POST", f"/webhook/set/{name}", key=token, json={"webhook": form}, expect=201)
    found = axios("GET", f"/webhook/find/{name}", key=token)
    read = {
        "enabled": found["enabled"],
        "url": found["url"],
        "events": found["events"],
        "base64": found["webhookBase64"],
        "byEvents": found["webhookByEvents"],
    }
    assert read == form


@covers(MANAGER, "GET /proxy/find/{name}", "POST /proxy/set/{name}")
def test_proxy(axios: Axios, name: str) -> None:
    token = create(axios, name)
    assert axios("GET", f"/proxy/find/{name}", key=token) is None
    form = {
        "enabled": True,
        "host": "127.0.0.1",
        "port": "3128",
        "protocol": "http",
        "username": "",
        "password": "",
    }
    axios("POST", f"/proxy/set/{name}", key=token, json=form, expect=201)
    found = axios("GET", f"/proxy/find/{name}", key=token)
    assert {field: found[field] for field in form} == form


@covers(MANAGER, "GET /chatwoot/find/{name}", "POST /chatwoot/set/{name}")
def test_chatwoot(axios: Axios, name: str) -> None:
    token = create(axios, name)
    assert axios("GET", f"/chatwoot/find/{name}", key=token)["enabled"] is False
    form = {
        "enabled": True,
        "accountId": "1",
        "token": "chatwoot-token",
        "url": "https://chatwoot.example.org",
        "signMsg": True,
        "signDelimiter": "\\n",
        "nameInbox": "",
        "organization": "",
        "logo": "",
        "reopenConversation": True,
        "conversationPending": False,
        "mergeBrazilContacts": True,
        "importContacts": False,
        "importMessages": False,
        "daysLimitImportMessages": 7,
        "autoCreate": True,
        "ignoreJids": [],
    }
    axios("POST", f"/chatwoot/set/{name}", key=token, json=form, expect=201)
    found = axios("GET", f"/chatwoot/find/{name}", key=token)
    assert (found["accountId"], found["signMsg"], found["nameInbox"]) == ("1", True, name)


class TestOtherOrigins:
    """What a page of another origin may do, over an application without a host."""

    PREFLIGHT = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "apikey"}  # noqa: RUF012

    def api(self, *origins: str) -> Any:
        return build(replace(SETTINGS, cors_origins=frozenset(origins)))

    def test_without_the_setting_none_is_allowed(self) -> None:
        api = self.api()
        headers = {"Origin": MANAGER_ORIGIN}
        asked = api.call(
            "OPTIONS", "/instance/fetchInstances", headers={**headers, **self.PREFLIGHT}, key=None
        )
        answer = api.get("/instance/fetchInstances", headers=headers)
        for response in (asked, answer):
            assert "Access-Control-Allow-Origin" not in response.headers

    def test_an_origin_that_is_not_in_the_list_is_not_allowed(self) -> None:
        api = self.api("https://other.example.org")
        headers = {"Origin": MANAGER_ORIGIN}
        asked = api.call(
            "OPTIONS", "/instance/fetchInstances", headers={**headers, **self.PREFLIGHT}, key=None
        )
        assert asked.status_code == 401
        answer = api.get("/instance/fetchInstances", headers=headers)
        for response in (asked, answer):
            assert "Access-Control-Allow-Origin" not in response.headers
            assert "Origin" in response.headers["Vary"]

    def test_all_origins(self) -> None:
        answer = self.api("*").get("/healthz", headers={"Origin": MANAGER_ORIGIN})
        assert answer.headers["Access-Control-Allow-Origin"] == "*"

    @pytest.mark.parametrize("origins", [("*",), (MANAGER_ORIGIN,)])
    def test_a_key_is_needed_and_cookies_never_come_along(self, origins: tuple[str, ...]) -> None:
        answer = self.api(*origins).get(
            "/instance/fetchInstances", key=None, headers={"Origin": MANAGER_ORIGIN}
        )
        assert answer.status_code == 401
        assert "Access-Control-Allow-Credentials" not in answer.headers


class TestTheRoot:
    """`/` tells programs what this is, and is the dashboard for people."""

    def test_who_asks_for_json_needs_no_key(self) -> None:
        answer = build().get("/", key=None, headers={"Accept": ACCEPT})
        assert answer.status_code == 200
        assert set(answer.get_json()) == {"status", "message", "version", "clientName", "documentation"}

    @pytest.mark.parametrize(
        "accept", ["text/html,application/xhtml+xml,application/json;q=0.9,*/*;q=0.8", "*/*"]
    )
    def test_browsers_and_others_do_not_get_it(self, accept: str) -> None:
        answer = build().get("/", key=None, headers={"Accept": accept})
        assert "version" not in (answer.get_json(silent=True) or {})


class TestTheSetting:
    """`[api] cors_origins`."""

    @pytest.mark.parametrize(
        ("written", "kept"),
        [
            ("", ()),
            ("*", ("*",)),
            (
                "https://Manager.example.org/, http://127.0.0.1:9615",
                (MANAGER_ORIGIN, "http://127.0.0.1:9615"),
            ),
        ],
    )
    def test_as_written(self, written: str, kept: tuple[str, ...]) -> None:
        assert loads(f"[api]\ncors_origins = {written}\n").api.cors_origins == kept

    @pytest.mark.parametrize(
        "written",
        [
            "manager.example.org",
            "ftp://h",
            "https://h/path",
            "https://u@h",
            "https://h:x",
            "*, https://h",
            "null",
        ],
    )
    def test_what_no_browser_would_send_is_refused(self, written: str) -> None:
        with pytest.raises(ConfigError, match="cors_origins"):
            loads(f"[api]\ncors_origins = {written}\n")
