"""What integrations receive while an instance lives, in Evolution API's envelope."""

from __future__ import annotations

from tests.e2e.conftest import StartHost, pair
from tests.e2e.harness import KEY, HostProcess, Receiver
from tests.loopback.service import LoopbackService


def test_an_instances_life_as_its_own_webhook_sees_it(
    host: HostProcess, wa: LoopbackService, number: str
) -> None:
    with Receiver() as receiver:
        webhook = {"enabled": True, "url": receiver.url, "byEvents": False, "base64": True}
        host.api.create("sales", webhook=webhook)
        jid = pair(host, wa, "sales", number)
        qr = receiver.wait_for("qrcode.updated")
        assert qr["instance"] == "sales"
        assert qr["data"]["qrcode"]["base64"].startswith("data:image/png;base64,")
        assert qr["apikey"]
        opened = receiver.wait_for("connection.update", lambda body: body["data"]["state"] == "open")
        assert opened["data"]["wuid"] == f"{number}@s.whatsapp.net"
        wa.phone(number).remove_device(jid)
        closed = receiver.wait_for("status.instance")
        assert closed["data"]["disconnectionReasonCode"] == 401
        receiver.wait_for("logout.instance")
        receiver.wait_for("connection.update", lambda body: body["data"]["state"] == "close")
        host.api.delete("sales")
        receiver.wait_for("instance.delete")
        names = [request["body"]["event"] for request in receiver.requests]
        assert names[-2:] == ["remove.instance", "instance.delete"]


def test_the_hosts_webhook_hears_of_every_instance(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    with Receiver() as receiver:
        host = start_host({"webhook": {"url": receiver.url, "secret": "signing-secret"}})
        host.api.create("sales")
        created = receiver.wait_for("instance.create")
        assert created["instance"] == "sales"
        host.api.create("support")
        receiver.wait_for("instance.create", lambda body: body["instance"] == "support")
        headers = {name.lower(): value for name, value in receiver.requests[0]["headers"].items()}
        assert headers["x-zapvisor-signature"].startswith("sha256=")
        assert headers["x-zapvisor-event-id"]


def test_who_gets_the_name_of_a_deleted_instance_sees_nothing_of_its_deliveries(host: HostProcess) -> None:
    with Receiver() as receiver:
        webhook = {"enabled": True, "url": f"{receiver.url}/first-path?key=first-query"}
        host.api.create("sales", webhook=webhook)
        host.api.delete("sales")
        receiver.wait_for("instance.delete")
        token = host.api.create("sales", webhook={**webhook, "url": receiver.url})["hash"]
        receiver.wait_for("instance.create", lambda body: body["apikey"] == token)
        [own] = host.api_with(token).call("GET", "/webhook/deliveries")["deliveries"]
        assert (own["event"], own["destination"]) == ("instance.create", receiver.url)
        everything = host.api.call("GET", "/webhook/deliveries", params={"instance": "sales"})["deliveries"]
        assert f"{receiver.url}/first-path?…" in {row["destination"] for row in everything}
        assert "first-query" not in str(everything)


def test_no_secret_is_in_the_log(host: HostProcess, wa: LoopbackService, number: str) -> None:
    token = host.api.create("sales")["hash"]
    code = host.api.connect("sales")["code"]
    assert wa.phone(number).scan(code).paired
    host.phase("sales", "open")
    host.stop()
    text = (host.directory / "host.log").read_text()
    for secret in (token, code, KEY):
        assert secret not in text
