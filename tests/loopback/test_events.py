"""What the real client reports when the service does this or that: the events, in order, and whether it comes back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from .conftest import Linked
from .harness import Client, Template, session_rows
from .link import Drop
from .service import LoopbackService

REFUSALS: dict[int, tuple[str, dict[str, object], bool]] = {
    401: ("LoggedOut", {"OnConnect": True, "Reason": "LOGGED_OUT"}, False),
    403: ("LoggedOut", {"OnConnect": True, "Reason": "MAIN_DEVICE_GONE"}, False),
    406: ("LoggedOut", {"OnConnect": True, "Reason": "UNKNOWN_LOGOUT"}, False),
    402: ("TemporaryBan", {"Code": "SEND_TO_TOO_MANY_PEOPLE", "Expire": 3600}, True),
    405: ("ClientOutdated", {}, True),
    400: ("ConnectFailure", {"Reason": "GENERIC"}, True),
    409: ("ConnectFailure", {"Reason": "BAD_USER_AGENT"}, True),
    501: ("ConnectFailure", {"Reason": "EXPERIMENTAL"}, True),
}


@pytest.fixture(scope="module")
def refused(
    service: LoopbackService, template: Template, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[int, Client]]:
    """A client for each reason, refused with it at its first login, all at once."""
    folder = tmp_path_factory.mktemp("refused")
    clients = {}
    for reason in REFUSALS:
        number = f"55119000004{reason % 100:02}"
        jid = template.make(service, number, folder / f"{reason}.db")
        service.refuse_logins(reason, jid=jid, times=1, code=101, expire=3600)
        clients[reason] = Client(service, folder / f"{reason}.db")
    yield clients
    for client in clients.values():
        client.close()
    service.clear_rules()


class TestHealing:
    """The client reconnects by itself."""

    def test_a_dropped_socket(self, wa: LoopbackService, opened: Linked) -> None:
        hows: tuple[Drop, ...] = ("reset", "fin", "close_frame")
        for how in hows:
            (jid,) = wa.wait_open(opened.jid)
            wa.connection(jid).drop(how)
            assert opened.client.until("Connected") == ["Disconnected", "Connected"], how

    def test_stream_errors(self, wa: LoopbackService, opened: Linked) -> None:
        for code, events in {
            503: ["Disconnected", "Connected"],
            515: ["Connected"],
            500: ["StreamError", "Disconnected", "Connected"],
            418: ["StreamError", "Disconnected", "Connected"],
        }.items():
            (jid,) = wa.wait_open(opened.jid)
            wa.connection(jid).stream_error(code)
            assert opened.client.until("Connected") == events, code

    def test_a_login_refused_by_a_server_in_trouble(
        self,
        wa: LoopbackService,
        opened: Linked,
        template: Template,
        start: Callable[..., Client],
        tmp_path: Path,
    ) -> None:
        """The second try comes after two seconds."""
        jid = template.make(wa, "5511988888888", tmp_path / "second.db")
        second = start("second.db")
        second.wait("Connected")
        wa.wait_open(jid)
        wa.refuse_logins(500, jid=opened.jid, times=1)
        wa.refuse_logins(503, jid=jid, times=1)
        for device in (opened.jid, jid):
            wa.connection(device).drop()
        for client in (opened.client, second):
            assert client.until("Connected") == ["Disconnected", "Disconnected", "Connected"]


UNNAMEABLE: dict[int, str] = {
    402: "TemporaryBan.Code",
    415: "ConnectFailure.Reason",
    418: "ConnectFailure.Reason",
}
"""Refusals that the library cannot hand over: 402 with a code it has no name for, and unknown reasons."""


def test_a_refusal_that_the_library_has_no_name_for(
    wa: LoopbackService, template: Template, number: str, start: Callable[..., Client], tmp_path: Path
) -> None:
    """No event: ``connect`` raises a complaint about a protocol buffer, and nothing else comes."""
    for reason, field in UNNAMEABLE.items():
        jid = template.make(wa, number, tmp_path / f"{reason}.db")
        wa.refuse_logins(reason, jid=jid, times=1, code=999)
        client = start(f"{reason}.db")
        assert f"required field neonize.{field} not set" in client.wait("connect.raised")["error"]
        assert client.names == ["started", "connect.raised"]


def test_a_refusal_of_another_product_aborts_the_process(wa: LoopbackService, linked: Linked) -> None:
    """413 and 414 ask for a token that only Messenger has; the library calls a function that is not there."""
    wa.refuse_logins(413, jid=linked.jid, times=1)
    with pytest.raises(ConnectionError, match="the client is gone"):
        linked.client.until("Connected")


class TestNotHealing:
    """The client gives up; a reconnect would have shown as a new connection by the end of the quiet time."""

    @pytest.mark.parametrize("reason", REFUSALS)
    def test_a_refused_login(self, refused: dict[int, Client], reason: int) -> None:
        client = refused[reason]
        event, fields, row_kept = REFUSALS[reason]
        seen = client.wait(event)
        assert fields.items() <= seen.items()
        assert client.names == ["started", event]
        assert client.quiet(0.3)
        assert session_rows(client.log.with_suffix(".db")) == int(row_kept)

    def test_removed_on_the_phone(self, wa: LoopbackService, opened: Linked) -> None:
        assert wa.phone(opened.number).remove_device(opened.jid)
        assert opened.client.wait("LoggedOut").get("OnConnect", False) is False
        assert opened.client.quiet(0.5)
        assert session_rows(opened.database) == 0
        assert wa.devices(opened.number) == []

    def test_replaced_by_another_host(
        self, wa: LoopbackService, opened: Linked, start: Callable[..., Client], tmp_path: Path
    ) -> None:
        (tmp_path / "copy.db").write_bytes(opened.database.read_bytes())
        other = start("copy.db")
        assert opened.client.until("StreamReplaced") == ["StreamReplaced"]
        other.wait("Connected")
        assert opened.client.quiet(0.5)
        assert session_rows(opened.database) == 1
