"""The PyPI package `evolutionapi`, the client that Evolution API's author publishes, run as it is."""

from __future__ import annotations

import pytest
from evolutionapi.client import EvolutionClient
from evolutionapi.exceptions import EvolutionAuthenticationError, EvolutionNotFoundError
from evolutionapi.models.instance import InstanceConfig
from evolutionapi.models.message import TextMessage
from evolutionapi.models.presence import PresenceStatus

from tests.compat.conftest import give_account_a_name
from tests.compat.coverage import EVOLUTIONAPI, covers
from tests.e2e.harness import KEY, HostProcess
from tests.loopback.service import LoopbackService


@pytest.fixture
def client(host: HostProcess) -> EvolutionClient:
    return EvolutionClient(base_url=f"{host.url}/", api_token=KEY)


@covers(
    EVOLUTIONAPI,
    "POST /instance/create",
    "GET /instance/connect/{name}",
    "GET /instance/connectionState/{name}",
    "GET /instance/fetchInstances",
    "POST /instance/setPresence/{name}",
    "POST /instance/restart/{name}",
    "DELETE /instance/logout/{name}",
    "DELETE /instance/delete/{name}",
)
def test_an_instances_life(
    host: HostProcess, client: EvolutionClient, wa: LoopbackService, name: str, number: str
) -> None:
    config = InstanceConfig(
        instanceName=name,
        integration="WHATSAPP-BAILEYS",
        token=f"token-of-{name}",
        qrcode=True,
        rejectCall=True,
    )
    created = client.instances.create_instance(config)
    token = created["hash"]
    assert token == f"token-of-{name}"
    assert created["settings"]["rejectCall"] is True
    assert wa.phone(number).scan(created["qrcode"]["code"]).paired
    host.phase(name, "open")
    operations = client.instance_operations
    assert operations.get_connection_state(name, token) == {
        "instance": {"instanceName": name, "state": "open"}
    }
    assert operations.connect(name, token)["instance"]["state"] == "open"
    assert name in [row["name"] for row in client.instances.fetch_instances()]
    too_early = operations.set_presence(name, PresenceStatus.AVAILABLE, token)
    assert too_early["status"] == 400, "the phone has not told the account's name yet"
    give_account_a_name(host, name)
    mark = host.log.mark()
    assert operations.restart(name, token)["instance"]["instanceName"] == name
    host.phase(name, "open", after=mark)
    assert operations.set_presence(name, PresenceStatus.AVAILABLE, token) == {"presence": "available"}
    assert operations.logout(name, token)["status"] == "SUCCESS"
    assert operations.connect(name, token)["base64"].startswith("data:image/png;base64,")
    assert operations.delete(name, token)["status"] == "SUCCESS"
    assert name not in [row["name"] for row in client.instances.fetch_instances()]


@covers(
    EVOLUTIONAPI,
    "POST /webhook/set/{name}",
    "GET /webhook/find/{name}",
    "POST /settings/set/{name}",
    "GET /settings/find/{name}",
    "POST /proxy/set/{name}",
    "GET /proxy/find/{name}",
)
def test_configuration(client: EvolutionClient, name: str) -> None:
    """The package has no services for these: they are called with its `get` and `post`."""
    token = client.instances.create_instance(InstanceConfig(instanceName=name))["hash"]
    url = "https://shop.example.org/hook"
    client.post(f"webhook/set/{name}", {"webhook": {"enabled": True, "url": url}}, instance_token=token)
    assert client.get(f"webhook/find/{name}", token)["url"] == url
    settings = dict.fromkeys(
        ["rejectCall", "groupsIgnore", "alwaysOnline", "readMessages", "readStatus", "syncFullHistory"], True
    )
    client.post(f"settings/set/{name}", {**settings, "msgCall": ""}, instance_token=token)
    assert client.get(f"settings/find/{name}", token) == {**settings, "msgCall": ""}
    proxy = {"enabled": True, "host": "127.0.0.1", "port": "3128", "protocol": "socks5"}
    client.post(f"proxy/set/{name}", proxy, instance_token=token)
    assert client.get(f"proxy/find/{name}", token)["protocol"] == "socks5"


def test_its_errors(client: EvolutionClient, name: str) -> None:
    with pytest.raises(EvolutionNotFoundError):
        client.instance_operations.get_connection_state(name, KEY)
    client.instances.create_instance(InstanceConfig(instanceName=name))
    with pytest.raises(EvolutionAuthenticationError):
        client.instance_operations.get_connection_state(name, "the-token-of-another")
    refused = client.instances.create_instance(InstanceConfig(instanceName=name))
    assert (refused["status"], refused["error"]) == (403, "Forbidden")


@covers(EVOLUTIONAPI, "POST /message/sendText/{name}")
def test_what_is_not_there_says_so(client: EvolutionClient, name: str) -> None:
    token = client.instances.create_instance(InstanceConfig(instanceName=name))["hash"]
    answer = client.messages.send_text(name, TextMessage(number="5511999990000", text="hello"), token)
    assert answer["status"] == 404
