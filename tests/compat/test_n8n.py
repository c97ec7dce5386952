"""n8n's community node, with the requests that its own code makes.

`n8n_requests.json` was written by `record_n8n.js`, which runs the node as it is published on npm. Here the requests go
to a real host, as n8n sends them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.compat.conftest import give_account_a_name
from tests.compat.coverage import N8N, covers
from tests.e2e.harness import KEY, HostProcess
from tests.loopback.service import LoopbackService

RECORDED = json.loads((Path(__file__).parent / "n8n_requests.json").read_text())
REQUESTS: dict[str, dict[str, Any]] = RECORDED["requests"]

Send = Callable[..., Any]


@pytest.fixture
def send(bare: httpx.Client, name: str) -> Send:
    """Send a recorded request about this test's instance; the answer's JSON."""

    def send(label: str, expect: int = 200, key: str = KEY, **changes: Any) -> Any:
        request = REQUESTS[label]
        uri, text = request["uri"], json.dumps({**request.get("body", {}), **changes})
        for recorded in ("sales", "support"):
            uri = uri.replace(recorded, name)
            text = text.replace(f'"{recorded}"', json.dumps(name))
        # For `json: true` n8n asks for JSON and says that it sends JSON, also when there is no body.
        headers = {**request["headers"], "apikey": key, "Accept": "application/json"}
        headers["Content-Type"] = "application/json"
        body = text.encode() if "body" in request else None
        answer = bare.request(request["method"], uri, headers=headers, content=body)
        assert answer.status_code == expect, f"{label}: {answer.status_code} {answer.text}"
        return answer.json()

    return send


@covers(
    N8N,
    "POST /instance/create",
    "GET /instance/connect/{name}",
    "GET /instance/fetchInstances",
    "POST /instance/setPresence/{name}",
    "POST /instance/restart/{name}",
    "DELETE /instance/logout/{name}",
    "DELETE /instance/delete/{name}",
)
def test_an_instances_life(
    host: HostProcess, send: Send, wa: LoopbackService, name: str, number: str
) -> None:
    created = send("create", 201)
    assert created["instance"]["instanceName"] == name
    assert created["instance"]["status"] == "close"
    assert created["hash"]
    code = send("connect")
    assert code["base64"].startswith("data:image/png;base64,")
    assert wa.phone(number).scan(code["code"]).paired
    host.phase(name, "open")
    mark = host.log.mark()
    [row] = send("fetch_one")
    assert (row["name"], row["connectionStatus"]) == (name, "open")
    assert row["ownerJid"] == f"{number}@s.whatsapp.net"
    assert send("connect") == {"instance": {"instanceName": name, "state": "open"}}
    give_account_a_name(host, name)
    assert send("restart")["instance"]["instanceName"] == name
    host.phase(name, "open", after=mark)
    assert send("presence", 201) == {"presence": "available"}
    assert send("logout")["status"] == "SUCCESS"
    assert send("logout", 400)["response"]["message"]
    assert send("delete")["status"] == "SUCCESS"
    assert name not in [row["name"] for row in send("fetch_all")]
    assert send("fetch_one", 404)["status"] == 404


@covers(N8N, "POST /instance/restart/{name}")
def test_a_closed_instance_cannot_be_restarted(send: Send) -> None:
    send("create", 201)
    assert send("restart", 400)["error"] == "Bad Request"


def test_the_nodes_own_check_of_its_credentials(send: Send) -> None:
    """The node's credentials are tested with fetchInstances."""
    assert isinstance(send("fetch_all"), list)
    send("fetch_all", 401, key="a-wrong-key")


@covers(N8N, "POST /instance/create")
def test_create_with_everything_that_the_form_offers(send: Send, name: str) -> None:
    created = send("create_with_everything", 201, token=f"TOKEN-OF-{name}")
    assert created["hash"] == f"TOKEN-OF-{name}"
    assert created["settings"]["rejectCall"] is True
    assert created["settings"]["msgCall"] == "No calls"
    assert created["webhook"]["webhookUrl"] == "https://n8n.example.org/webhook/wa"
    assert created["webhook"]["webhookByEvents"] is True
    webhook = send("find_webhook")
    assert webhook["enabled"] is True
    assert webhook["events"] == ["CONNECTION_UPDATE", "QRCODE_UPDATED", "MESSAGES_UPSERT"]
    proxy = send("find_proxy")
    assert (proxy["host"], proxy["port"], proxy["protocol"]) == ("127.0.0.1", "3128", "http")
    [row] = send("fetch_one")
    assert row["number"] == "5511999990000"
    assert [row["name"] for row in send("fetch_all", key=created["hash"])] == [name]


@covers(N8N, "POST /instance/create")
def test_create_with_a_webhook_that_was_left_empty(send: Send) -> None:
    send("create_with_empty_webhook", 201)
    assert send("find_webhook") is None


@covers(N8N, "POST /settings/set/{name}")
@pytest.mark.parametrize("label", ["settings", "settings_defaults"])
def test_settings(send: Send, label: str) -> None:
    send("create", 201)
    answer = send(label, 201)
    assert answer["settings"]["settings"] == REQUESTS[label]["body"]


@covers(N8N, "POST /webhook/set/{name}", "GET /webhook/find/{name}")
def test_webhook(send: Send) -> None:
    send("create", 201)
    assert send("find_webhook") is None
    assert send("set_webhook", 201)["url"] == "https://n8n.example.org/webhook/wa"
    found = send("find_webhook")
    assert found["webhookByEvents"] is True
    assert found["events"] == ["CONNECTION_UPDATE", "QRCODE_UPDATED"]


@covers(N8N, "POST /webhook/set/{name}")
def test_a_webhook_that_is_switched_off_has_the_address_vazio(send: Send) -> None:
    send("create", 201)
    assert REQUESTS["unset_webhook"]["body"]["webhook"]["url"] == "vazio"
    assert send("unset_webhook", 201)["enabled"] is False
    assert send("find_webhook")["enabled"] is False


@covers(N8N, "POST /proxy/set/{name}", "GET /proxy/find/{name}")
def test_proxy(send: Send) -> None:
    send("create", 201)
    assert send("find_proxy") is None
    assert send("set_proxy", 201)["proxy"]["proxy"]["host"] == "127.0.0.1"
    assert send("find_proxy")["password"] == "pass"


@covers(N8N, "POST /proxy/set/{name}")
def test_a_proxy_is_switched_off_with_an_empty_text(send: Send) -> None:
    send("create", 201)
    send("set_proxy", 201)
    assert REQUESTS["unset_proxy"]["body"]["enabled"] == ""
    send("unset_proxy", 201)
    found = send("find_proxy")
    assert (found["enabled"], found["host"], found["password"]) == (False, "", "")


@covers(N8N, "POST /chatwoot/set/{name}", "GET /chatwoot/find/{name}")
def test_chatwoot(send: Send, name: str) -> None:
    send("create", 201)
    assert send("find_chatwoot")["enabled"] is False
    assert send("set_chatwoot", 201)["nameInbox"] == name
    assert send("find_chatwoot")["url"] == "https://chatwoot.example.org"


@covers(N8N, "POST /instance/create")
def test_create_with_chatwoot(send: Send) -> None:
    send("create_with_chatwoot", 201)
    assert send("find_chatwoot")["accountId"] == "1"


@covers(N8N, "POST /message/sendText/{name}")
def test_what_is_not_there_says_so(send: Send, name: str) -> None:
    send("create", 201)
    answer = send("send_text", 404)
    assert answer["error"] == "Not Found"
    assert answer["response"]["message"] == [f"Cannot POST /message/sendText/{name}"]
