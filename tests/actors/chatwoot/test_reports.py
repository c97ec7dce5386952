"""What a Chatwoot account is told of its instance: in words and pictures, in order, and nothing twice."""

from __future__ import annotations

import io
import logging
import threading
from typing import Any

import pytest
from PIL import Image

from actors.chatwoot.notifier import Notifier
from supervisor.config import ChatwootSettings
from tests.actors.chatwoot.conftest import Host, StartHost
from tests.actors.chatwoot.server import TOKEN, Call, ChatwootServer, Fault
from tests.camera import read_qr

LOGGED_OUT = "logged out by the phone or by WhatsApp (401)"


def is_message(call: Call) -> bool:
    return call.method == "POST" and call.path.endswith("/messages")


class TestWhatIsSaid:
    def test_open(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings())
        host.opened("sales")
        [message] = server.wait_for("*sales* is connected to WhatsApp (Ana, +5511999990001)")
        assert message["message_type"] == "incoming"

    def test_closed_for_good(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings(nameInbox="Sales desk"))
        host.closed("sales")
        host.closed("sales", cause="command")
        server.wait_for(f"*Sales desk* is disconnected from WhatsApp: {LOGGED_OUT}", "logged out by command")

    def test_a_code_comes_as_a_picture_that_a_phone_can_read(
        self, host: Host, server: ChatwootServer
    ) -> None:
        host.instance("sales", server.settings())
        code = host.code("sales")
        [message] = server.wait_for("scan this code")
        [file] = message["attachments[]"]
        assert (file["name"], file["type"]) == ("qrcode.png", "image/png")
        read = read_qr(Image.open(io.BytesIO(file["content"])))
        assert read == code
        assert code not in message["content"]

    def test_the_pairing_code_is_in_the_text(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings())
        host.code("sales", pairing="ABCD1234")
        server.wait_for("type *ABCD-1234*")

    def test_the_limit_of_codes(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings())
        host.emit(
            "sales", "qrcode.updated", message="QR code limit reached, please login again", statusCode=500
        )
        [message] = server.wait_for("the limit of codes is reached")
        assert "attachments[]" not in message

    def test_other_events_say_nothing(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings())
        host.emit("sales", "connection.update", state="connecting")
        host.emit("sales", "recovery.attempt", attempt=1)
        host.emit("sales", "instance.crash", reason="killed by signal 9")
        host.closed("sales")
        server.wait_for("is disconnected")

    def test_a_code_of_no_more_use_is_not_sent(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings())
        server.fault = lambda call: 500
        for count in (1, 2):
            host.code("sales", count)
            server.wait(lambda me: len(me.calls) > 0)
        last = host.code("sales", 3)
        server.fault = lambda call: None
        server.wait(lambda me: len(me.messages) > 0)
        host.closed("sales")
        [message, _] = server.wait_for("scan this code", "is disconnected")
        read = read_qr(Image.open(io.BytesIO(message["attachments[]"][0]["content"])))
        assert read == last

    def test_a_connection_that_flaps_is_called_connected_once(
        self, host: Host, server: ChatwootServer
    ) -> None:
        host.instance("sales", server.settings())
        for _ in range(5):
            host.opened("sales")
        host.closed("sales")
        server.wait_for("is connected", "is disconnected")

    def test_after_a_scan_it_is_called_connected_at_once(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings())
        host.opened("sales")
        host.code("sales")
        server.wait_for("is connected", "scan this code")
        host.opened("sales")
        server.wait_for("is connected", "scan this code", "is connected")


class TestWhereItIsSaid:
    def test_everything_is_made_when_there_is_nothing(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings(organization="Our bot", logo="https://example.org/bot.png"))
        host.opened("sales")
        host.closed("sales")
        server.wait_for("is connected", "is disconnected")
        assert [inbox["name"] for inbox in server.inboxes.values()] == ["sales"]
        [contact] = server.contacts.values()
        assert (contact["name"], contact["phone_number"]) == ("Our bot", "+123456")
        assert len(server.conversations) == 1

    def test_what_is_there_is_found(self, host: Host, server: ChatwootServer) -> None:
        server.inbox("Sales desk", "Channel::WebWidget")
        inbox = server.inbox("Sales desk")
        bot = server.contact("+123456")
        server.conversation(server.inbox("another"), bot)
        conversation = server.conversation(inbox, bot)
        host.instance("sales", server.settings(nameInbox="Sales desk"))
        host.opened("sales")
        server.wait_for("is connected")
        assert len(server.conversations[conversation].messages) == 1
        assert (len(server.inboxes), len(server.contacts), len(server.conversations)) == (3, 1, 2)

    def test_a_resolved_conversation_is_left_alone(self, host: Host, server: ChatwootServer) -> None:
        old = server.conversation(server.inbox("sales"), server.contact("+123456"), "resolved")
        host.instance("sales", server.settings())
        host.opened("sales")
        server.wait_for("is connected")
        assert server.conversations[old].messages == []
        assert len(server.conversations) == 2

    def test_or_reopened_if_that_is_wanted(self, host: Host, server: ChatwootServer) -> None:
        old = server.conversation(server.inbox("sales"), server.contact("+123456"), "resolved")
        host.instance("sales", server.settings(reopenConversation=True))
        host.opened("sales")
        server.wait_for("is connected")
        assert len(server.conversations) == 1
        assert server.conversations[old].status == "open"

    def test_a_new_conversation_may_be_pending(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings(conversationPending=True))
        host.opened("sales")
        server.wait_for("is connected")
        assert [one.status for one in server.conversations.values()] == ["pending"]

    def test_a_conversation_that_somebody_resolved_is_followed_by_another(
        self, host: Host, server: ChatwootServer
    ) -> None:
        host.instance("sales", server.settings())
        host.opened("sales")
        server.wait_for("is connected")
        [first] = server.conversations.values()
        first.status = "resolved"
        host.closed("sales")
        server.wait_for("is connected", "is disconnected")
        assert len(first.messages) == 1

    def test_a_conversation_is_found_again_among_many(self, host: Host, server: ChatwootServer) -> None:
        """Chatwoot lists a contact's latest twenty, and all instances of an account share the contact."""
        host.instance("sales", server.settings())
        host.opened("sales")
        server.wait_for("is connected")
        [contact] = server.contacts
        for _ in range(25):
            server.conversation(server.inbox("another"), contact)
        before = len(server.conversations)
        host.closed("sales")
        server.wait_for("is connected", "is disconnected")
        assert len(server.conversations) == before

    def test_instances_share_the_contact_and_nothing_else(self, host: Host, server: ChatwootServer) -> None:
        for name in ("sales", "support"):
            host.instance(name, server.settings())
            host.opened(name)
        server.wait(lambda me: len(me.messages) == 2)
        assert {inbox["name"] for inbox in server.inboxes.values()} == {"sales", "support"}
        assert len(server.contacts) == 1
        assert len({one.inbox_id for one in server.conversations.values()}) == 2

    def test_an_inbox_that_must_not_be_made_is_waited_for(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings(autoCreate=False))
        host.opened("sales")
        server.wait(lambda me: len(me.calls) > 1)
        assert server.inboxes == {}
        server.inbox("sales")
        server.wait_for("is connected")


class TestWhatGoesWrong:
    @pytest.mark.parametrize("fault", [500, 429, 401, 404, "reset", "lost"])
    def test_everything_arrives_in_order_and_once(
        self, host: Host, server: ChatwootServer, fault: Fault
    ) -> None:
        """Each kind of call fails twice; a message whose answer is lost is found to be there."""
        failed: dict[str, int] = {}

        def twice(call: Call) -> Fault:
            kind = f"{call.method} {call.path.split('/')[0]} {is_message(call)}"
            failed[kind] = failed.get(kind, 0) + 1
            return fault if failed[kind] <= 2 else None

        server.fault = twice
        host.instance("sales", server.settings())
        host.opened("sales")
        host.closed("sales", 403)
        host.closed("sales", 401)
        server.wait_for("is connected", "(403)", "(401)")
        assert (len(server.inboxes), len(server.contacts), len(server.conversations)) == (1, 1, 1)

    def test_it_waits_as_long_as_it_is_asked_to(
        self, host: Host, server: ChatwootServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        server.fault = lambda call: (429, {"retry-after": "3000"})
        host.instance("sales", server.settings())
        host.opened("sales")
        server.wait(lambda me: len(me.calls) > 0)
        assert said(caplog, "next attempt in 3000.0 s")

    def test_a_message_that_is_refused_again_and_again_is_given_up(
        self, start_host: StartHost, server: ChatwootServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        host = start_host(max_attempts=3)
        server.fault = lambda call: 422 if is_message(call) and "(403)" in call.content["content"] else None
        host.instance("sales", server.settings())
        host.closed("sales", 403)
        host.closed("sales", 401)
        server.wait_for("(401)")
        assert len([call for call in server.calls if is_message(call)]) == 4
        assert said(caplog, "is given up")

    def test_a_wrong_token_loses_nothing(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", server.settings(token="wrong"))
        host.opened("sales")
        server.wait(lambda me: len(me.calls) > 2)
        assert server.messages == []
        host.configure("sales", server.settings())
        server.wait_for("is connected")

    def test_something_that_is_no_chatwoot(
        self, host: Host, server: ChatwootServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        host.instance("sales", server.settings(url=f"{server.url}/elsewhere"))
        host.opened("sales")
        server.wait(lambda me: len(me.calls) > 0)
        assert said(caplog, "HTTP 400")
        server.wrong.clear()

    def test_addresses_that_are_not_allowed_are_not_reached(
        self, start_host: StartHost, server: ChatwootServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        host = start_host(allow_private=False)
        host.instance("sales", server.settings())
        host.opened("sales")
        assert said(caplog, "private, link-local")
        assert server.calls == []

    def test_a_server_that_hangs_keeps_neither_the_host_nor_another_instance(
        self, start_host: StartHost, server: ChatwootServer
    ) -> None:
        host = start_host(timeout=60.0)
        with ChatwootServer() as stuck:
            stuck.fault = lambda call: "hang"
            host.instance("sales", stuck.settings())
            host.opened("sales")
            stuck.wait(lambda me: len(me.calls) > 0)
            host.instance("support", server.settings())
            host.opened("support")
            server.wait_for("is connected")
            assert host.system.shutdown(15) == [], "nobody had to be fenced"

    def test_a_notifier_that_crashes_is_restarted_and_no_other(
        self, start_host: StartHost, server: ChatwootServer
    ) -> None:
        broken = threading.Event()
        broken.set()

        def draw(code: str) -> bytes:
            if broken.is_set():
                broken.clear()
                raise RuntimeError("no picture today")
            return b"png"

        host = start_host(picture=draw)
        host.instance("sales", server.settings())
        host.instance("support", server.settings())
        host.opened("support")
        server.wait_for("*support* is connected")
        host.code("sales")
        server.wait_for("*support* is connected", "*sales*: scan this code")

    def test_neither_token_nor_code_is_logged(
        self, host: Host, server: ChatwootServer, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        server.fault = lambda call: 500 if is_message(call) and len(server.calls) < 20 else None
        host.instance("sales", server.settings())
        code = host.code("sales", pairing="ABCD1234")
        server.wait_for("scan this code")
        assert caplog.text
        assert not [secret for secret in (TOKEN, code, "ABCD1234", "ABCD-1234") if secret in caplog.text]


class TestComingAndGoing:
    def test_what_happens_while_the_host_is_down_or_chatwoot_is(
        self, start_host: StartHost, server: ChatwootServer
    ) -> None:
        host = start_host()
        host.instance("sales", server.settings())
        host.opened("sales")
        server.wait_for("is connected")
        server.__exit__()
        host.closed("sales", 403)
        host = start_host()
        host.closed("sales", 401)
        server.__enter__()
        server.wait_for("is connected", "(403)", "(401)")

    def test_a_message_that_was_sent_but_not_noted_is_not_sent_again(
        self, start_host: StartHost, server: ChatwootServer
    ) -> None:
        host = start_host()
        sales = host.instance("sales", server.settings())
        before = host.place(sales)
        host.opened("sales")
        server.wait_for("is connected")
        host = start_host()
        host.write(lambda tx: _put_back(tx, sales.id, before))
        host = start_host()
        host.closed("sales")
        server.wait_for("is connected", "is disconnected")

    def test_only_what_happens_from_then_on_is_reported(self, host: Host, server: ChatwootServer) -> None:
        host.instance("sales", {})
        host.opened("sales")
        host.configure("sales", server.settings())
        host.closed("sales")
        server.wait_for("is disconnected")

    def test_nothing_is_reported_any_more_when_it_is_switched_off(
        self, host: Host, server: ChatwootServer
    ) -> None:
        sales = host.instance("sales", server.settings())
        host.opened("sales")
        server.wait_for("is connected")
        host.configure("sales", {"enabled": False})
        host.closed("sales")
        assert host.place(sales) is None
        host.instance("support", server.settings())
        host.opened("support")
        server.wait_for("*sales* is connected", "*support* is connected")
        assert host.notifiers() == {"support"}

    def test_a_deleted_instance_leaves_nothing(self, host: Host, server: ChatwootServer) -> None:
        sales = host.instance("sales", server.settings())
        host.opened("sales")
        server.wait_for("is connected")
        host.delete("sales")
        assert host.place(sales) is None
        host.instance("sales", server.settings())
        host.closed("sales")
        server.wait_for("is connected", "is disconnected")

    def test_the_host_can_switch_all_of_it_off_and_on(
        self, start_host: StartHost, server: ChatwootServer
    ) -> None:
        host = start_host(enabled=False)
        host.instance("sales", server.settings())
        host.opened("sales")
        assert host.notifiers() == set()
        host.reload(chatwoot=ChatwootSettings(enabled=True))
        server.wait_for("is connected")
        host.reload(chatwoot=ChatwootSettings(enabled=False))
        host.instance("support", server.settings())
        host.reload()
        while host.notifiers():
            host.write(lambda tx: None)
        assert server.texts[1:] == []

    def test_a_database_that_cannot_be_written_is_waited_for(
        self, host: Host, server: ChatwootServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from actors.store import StoreUnavailable

        asked = threading.Event()
        note = Notifier._note

        def unavailable(me: Notifier, place: Any) -> None:
            if not asked.is_set():
                asked.set()
                raise StoreUnavailable("busy")
            note(me, place)

        monkeypatch.setattr(Notifier, "_note", unavailable)
        host.instance("sales", server.settings())
        host.closed("sales", 403)
        host.closed("sales", 401)
        server.wait_for("(403)", "(401)")


class TestOnPostgresql:
    @pytest.fixture
    def store_url(self, postgres_url: str) -> str:
        return postgres_url

    def test_the_places_are_kept(self, start_host: StartHost, server: ChatwootServer) -> None:
        host = start_host()
        sales = host.instance("sales", server.settings())
        host.opened("sales")
        server.wait_for("is connected")
        host = start_host()
        host.closed("sales")
        server.wait_for("is connected", "is disconnected")
        host.delete("sales")
        assert host.place(sales) is None


def _put_back(tx: Any, instance_id: str, place: Any) -> None:
    from actors.chatwoot import places

    places.move(tx, instance_id, place)


def said(caplog: pytest.LogCaptureFixture, part: str) -> bool:
    """Wait until something is logged."""
    waited = threading.Event()
    for _ in range(2000):
        if any(part in record.getMessage() for record in caplog.records):
            return True
        waited.wait(0.01)
    raise AssertionError(caplog.text)
