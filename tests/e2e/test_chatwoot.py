"""A real host that reports to a Chatwoot: a number is linked by the picture that stands there."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from tests.actors.chatwoot.server import ChatwootServer
from tests.camera import read_qr
from tests.e2e.conftest import StartHost
from tests.e2e.harness import HostProcess
from tests.loopback.service import LoopbackService

SETTINGS = {"chatwoot": {"enabled": "yes"}, "webhook": {"initial_delay": "100ms", "max_delay": "200ms"}}


def settings(server: ChatwootServer, **more: Any) -> dict[str, Any]:
    return server.settings(signMsg=False, reopenConversation=False, conversationPending=False, **more)


def scanned(message: dict[str, Any]) -> str:
    """The picture of a message, read as a phone reads it."""
    [file] = message["attachments[]"]
    return read_qr(Image.open(io.BytesIO(file["content"])))


def notifiers(host: HostProcess) -> list[str]:
    tree = host.api.call("GET", "/supervisor/tree")
    [part] = [child for child in tree["children"] if child["path"] == "chatwoot"]
    [supervisor] = [child for child in part["children"] if child["id"] == "notifiers"]
    return [child["path"] for child in supervisor["children"]]


def test_a_number_is_linked_logged_out_and_deleted(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    with ChatwootServer() as server:
        host = start_host(SETTINGS)
        host.api.create("sales")
        set_up = settings(server, nameInbox="Sales desk")
        host.api.call("POST", "/chatwoot/set/sales", expect=201, json=set_up)
        host.api.connect("sales")
        [message] = server.wait_for("scan this code")
        assert wa.phone(number).scan(scanned(message)).paired
        host.phase("sales", "open")
        [*_, connected] = server.wait_for("scan this code", "is connected")
        assert f"+{number}" in connected["content"]
        host.api.logout("sales")
        server.wait_for("scan this code", "is connected", "disconnected from WhatsApp: logged out by command")
        assert notifiers(host) == ["chatwoot/notifiers/sales"]
        host.api.delete("sales")
        assert host.rows("chatwoot") == 0
        host.api.create("other")
        while notifiers(host):
            host.api.row("other")
        assert server.wrong == []


def test_nobody_scans(start_host: StartHost, wa: LoopbackService) -> None:
    with ChatwootServer() as server, wa.script_pairing(lifetimes=[1, 1, 1]):
        host = start_host({**SETTINGS, "qrcode": {"limit": "2"}})
        chatwoot = {f"chatwoot{name[0].upper()}{name[1:]}": value for name, value in settings(server).items()}
        host.api.create("sales", qrcode=True, **chatwoot)
        host.phase("sales", "closed")
        server.wait(lambda me: "the limit of codes is reached" in "".join(me.texts))
        codes = [scanned(message) for message in server.messages if "attachments[]" in message]
        assert len(set(codes)) == len(codes)
        assert server.wrong == []


def test_neither_a_dead_chatwoot_nor_a_killed_host_costs_a_report(
    start_host: StartHost, wa: LoopbackService, number: str
) -> None:
    with ChatwootServer() as server:
        host = start_host(SETTINGS)
        host.api.create("sales")
        host.api.call("POST", "/chatwoot/set/sales", expect=201, json=settings(server))
        host.api.connect("sales")
        [message] = server.wait_for("scan this code")
        server.__exit__()
        assert wa.phone(number).scan(scanned(message)).paired
        host.phase("sales", "open")
        wa.phone(number).remove_device(wa.devices(number)[0])
        host.phase("sales", "closed")
        host.kill()
        host.start()
        server.__enter__()
        server.wait_for("scan this code", "is connected", "logged out by the phone or by WhatsApp (401)")
        assert server.wrong == []
