"""The PyPI package `cliente-evolution-api`: generated from Evolution API 1, run as it is.

It sends the names and the methods of version 1, and the key as a bearer token."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import evolution_api_client as client
import pytest
from evolution_api_client.exceptions import ForbiddenException, NotFoundException

from tests.compat.coverage import CLIENTE, covers
from tests.e2e.harness import KEY, HostProcess
from tests.loopback.service import LoopbackService


@pytest.fixture
def api(host: HostProcess) -> Iterator[client.ApiClient]:
    settings = client.Configuration(host=host.url, access_token=KEY, api_key={"apikeyAuth": KEY})
    with client.ApiClient(settings) as api:
        yield api


@pytest.fixture
def instances(api: client.ApiClient) -> client.InstanceControllerApi:
    return client.InstanceControllerApi(api)


@pytest.fixture
def created(instances: client.InstanceControllerApi, name: str) -> str:
    instances.instance_create_post(
        instance_create_post_request=client.InstanceCreatePostRequest(
            instance_name=name, token=f"token-of-{name}", qrcode=False
        )
    )
    return name


def body_of(response: Any) -> Any:
    """What the server said, where the client's own models know version 1 only."""
    return json.loads(response.data)


@covers(
    CLIENTE,
    "POST /instance/create",
    "GET /instance/connect/{name}",
    "GET /instance/connectionState/{name}",
    "PUT /instance/restart/{name}",
    "GET /instance/fetchInstances",
    "DELETE /instance/logout/{name}",
    "DELETE /instance/delete/{name}",
)
def test_an_instances_life(
    host: HostProcess, instances: client.InstanceControllerApi, wa: LoopbackService, created: str, number: str
) -> None:
    code = instances.instance_connect_instance_name_get(created)
    assert code.var_base64.startswith("data:image/png;base64,")
    assert wa.phone(number).scan(code.code).paired
    host.phase(created, "open")
    state = instances.instance_connection_state_instance_name_get_without_preload_content(created)
    assert body_of(state)["instance"]["state"] == "open"
    mark = host.log.mark()
    instances.instance_restart_instance_name_put(created)
    host.phase(created, "open", after=mark)
    rows = body_of(instances.instance_fetch_instances_get_without_preload_content())
    assert created in [row["name"] for row in rows]
    instances.instance_logout_instance_name_delete(created)
    instances.instance_delete_instance_name_delete(created)
    with pytest.raises(NotFoundException):
        instances.instance_connect_instance_name_get(created)


@covers(CLIENTE, "GET /instance/fetchInstances")
def test_its_model_of_an_instance_is_that_of_version_1(
    instances: client.InstanceControllerApi, created: str
) -> None:
    """Version 2 lists instances without the wrapper of version 1; the client reads them as empty."""
    assert all(row.instance is None for row in instances.instance_fetch_instances_get())


@covers(CLIENTE, "POST /instance/create")
def test_a_name_that_is_taken(instances: client.InstanceControllerApi, created: str) -> None:
    request = client.InstanceCreatePostRequest(instance_name=created)
    with pytest.raises(ForbiddenException):
        instances.instance_create_post(instance_create_post_request=request)


@covers(CLIENTE, "POST /webhook/set/{name}", "GET /webhook/find/{name}")
def test_webhook(api: client.ApiClient, created: str) -> None:
    webhook = client.WebhookApi(api)
    webhook.webhook_set_instance_name_post(
        created,
        webhook_set_instance_name_post_request=client.WebhookSetInstanceNamePostRequest(
            url="https://shop.example.org/hook", webhook_by_events=True, webhook_base64=True
        ),
    )
    found = body_of(webhook.webhook_find_instance_name_get_without_preload_content(created))
    assert (found["enabled"], found["url"]) == (True, "https://shop.example.org/hook")
    assert (found["webhookByEvents"], found["webhookBase64"]) == (True, True)
    assert "CONNECTION_UPDATE" in found["events"]


@covers(CLIENTE, "POST /settings/set/{name}", "GET /settings/find/{name}")
def test_settings(api: client.ApiClient, created: str) -> None:
    settings = client.SettingsApi(api)
    settings.settings_set_instance_name_post(
        created,
        settings_set_instance_name_post_request=client.SettingsSetInstanceNamePostRequest(
            reject_call=True,
            msg_call="No calls",
            groups_ignore=True,
            always_online=False,
            read_messages=False,
            read_status=True,
            sync_full_history=False,
        ),
    )
    found = body_of(settings.settings_find_instance_name_get_without_preload_content(created))
    assert (found["rejectCall"], found["msgCall"], found["alwaysOnline"]) == (True, "No calls", False)


@covers(CLIENTE, "POST /proxy/set/{name}", "GET /proxy/find/{name}")
def test_proxy(api: client.ApiClient, created: str) -> None:
    proxy = client.ProxyApi(api)
    proxy.proxy_set_instance_name_post(
        created,
        proxy_set_instance_name_post_request=client.ProxySetInstanceNamePostRequest(
            enabled=True, proxy="http://user:pass@127.0.0.1:3128"
        ),
    )
    found = body_of(proxy.proxy_find_instance_name_get_without_preload_content(created))
    assert (found["host"], found["port"], found["username"]) == ("127.0.0.1", "3128", "user")


@covers(CLIENTE, "POST /chatwoot/set/{name}", "GET /chatwoot/find/{name}")
def test_chatwoot(api: client.ApiClient, created: str) -> None:
    chatwoot = client.ChatwootApi(api)
    chatwoot.chatwoot_set_instance_name_post(
        created,
        chatwoot_set_instance_name_post_request=client.ChatwootSetInstanceNamePostRequest(
            enabled=True,
            account_id="1",
            token="chatwoot-token",
            url="https://chatwoot.example.org",
            sign_msg=True,
            reopen_conversation=True,
            conversation_pending=False,
        ),
    )
    found = body_of(chatwoot.chatwoot_find_instance_name_get_without_preload_content(created))
    assert (found["accountId"], found["signMsg"]) == ("1", True)
