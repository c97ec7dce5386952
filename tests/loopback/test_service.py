"""The service itself, without a WhatsApp library: who it lets in, what it answers, how it is scripted."""

from __future__ import annotations

import base64
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed, InvalidProxyStatus, InvalidStatus, WebSocketException

from . import wire
from .api import LoopbackApi
from .binary import SERVER_JID, Jid, Node
from .client import LoopbackClient, LoopbackProcess
from .keys import KeyPair
from .link import Drop
from .pairing import DEVICE_PREFIX
from .raw import RawClient
from .service import LoopbackService


def iq(xmlns: str, kind: str, *children: Node, number: str = "1") -> Node:
    return Node("iq", {"id": number, "xmlns": xmlns, "type": kind, "to": SERVER_JID}, list(children))


@pytest.fixture
def noise_key() -> KeyPair:
    return KeyPair.generate()


@pytest.fixture
def jid(wa: LoopbackService, number: str, noise_key: KeyPair) -> str:
    """A linked device with this noise key."""
    return wa.link_device(number, noise_key.public, bytes(32), prekeys=3)[0]


@pytest.fixture
def client(wa: LoopbackService, number: str, noise_key: KeyPair, jid: str) -> Iterator[RawClient]:
    """A connection that is logged in."""
    with RawClient(wa, noise_key) as raw:
        raw.log_in(number)
        assert raw.receive().tag == "success"
        yield raw


class TestLogin:
    def test_success_names_the_hidden_address(
        self, wa: LoopbackService, number: str, noise_key: KeyPair
    ) -> None:
        jid, lid = wa.link_device(number, noise_key.public, bytes(32))
        with RawClient(wa, noise_key) as raw:
            success = raw.log_in(number).receive()
            assert (success.tag, str(success.attrs["lid"])) == ("success", lid)
            assert [connection.state for connection in wa.connections(jid)] == ["authenticated"]
            raw.send(iq("passive", "set", Node("active")))
            assert wa.wait_open(number) == [jid]

    def test_another_key_than_the_devices_is_refused(
        self, wa: LoopbackService, number: str, jid: str
    ) -> None:
        with RawClient(wa) as raw:
            failure = raw.log_in(number).receive()
            assert (failure.tag, failure.text("reason")) == ("failure", "401")
            with pytest.raises(ConnectionClosed):
                raw.receive() and raw.receive()

    def test_an_unknown_device_is_refused(
        self, wa: LoopbackService, number: str, noise_key: KeyPair, jid: str
    ) -> None:
        with RawClient(wa, noise_key) as raw:
            assert raw.log_in(number, device=2).receive().text("reason") == "401"

    def test_a_forgotten_device_is_refused(
        self, wa: LoopbackService, number: str, noise_key: KeyPair, jid: str
    ) -> None:
        assert wa.forget_device(jid)
        assert not wa.forget_device(jid)
        with RawClient(wa, noise_key) as raw:
            assert raw.log_in(number).receive().text("reason") == "401"

    def test_the_newest_connection_of_a_device_wins(
        self, wa: LoopbackService, number: str, noise_key: KeyPair, client: RawClient
    ) -> None:
        with RawClient(wa, noise_key) as second:
            assert second.log_in(number).receive().tag == "success"
            error = client.receive()
            assert (error.tag, error.children[0].text("type")) == ("stream:error", "replaced")

    def test_refusals_by_device_and_number_of_times(
        self, wa: LoopbackService, number: str, noise_key: KeyPair, jid: str
    ) -> None:
        wa.refuse_logins(503, jid="5511000000000")
        rule = wa.refuse_logins(402, jid=number, times=1, code=104, expire=60)
        with RawClient(wa, noise_key) as raw:
            failure = raw.log_in(number).receive()
            assert [failure.text(name) for name in ("reason", "code", "expire")] == ["402", "104", "60"]
        with RawClient(wa, noise_key) as raw:
            assert raw.log_in(number).receive().tag == "success"
        assert rule.hits == 1


class TestStanzas:
    def test_an_unknown_query_gets_an_empty_result(self, client: RawClient) -> None:
        client.send(iq("w:mex", "get", Node("query"), number="77"))
        answer = client.receive()
        assert (answer.tag, answer.attrs) == ("iq", {"from": SERVER_JID, "type": "result", "id": "77"})

    def test_prekeys_are_counted(self, wa: LoopbackService, jid: str, client: RawClient) -> None:
        count = iq("encrypt", "get", Node("count"))
        client.send(count)
        assert client.receive().children[0].text("value") == "3"
        keys = [Node("key", content=[Node("id", content=bytes(3))]) for _ in range(50)]
        client.send(iq("encrypt", "set", Node("registration", content=bytes(4)), Node("list", content=keys)))
        client.receive()
        client.send(count)
        assert client.receive().children[0].text("value") == "53"
        assert wa.prekeys(jid) == 53

    def test_messages_and_receipts_are_acknowledged(self, client: RawClient) -> None:
        to = Jid("5511987654321", "s.whatsapp.net")
        for tag in ("message", "receipt"):
            client.send(Node(tag, {"id": "A1", "to": to}))
            ack = client.receive()
            assert (ack.tag, ack.text("class"), ack.text("id"), ack.attrs["from"]) == ("ack", tag, "A1", to)

    def test_a_device_unlinks_itself(self, wa: LoopbackService, jid: str, client: RawClient) -> None:
        client.send(iq("md", "set", Node("remove-companion-device", {"jid": Jid.parse(jid)})))
        assert client.receive().text("type") == "result"
        assert wa.wait_for("logout", jid=jid)
        assert wa.devices(jid.partition(":")[0]) == []

    @pytest.mark.parametrize("frame", [b"", b"\0\0\1x", b"\0\0\x20" + bytes(32)])
    def test_a_frame_that_is_no_stanza_ends_the_connection(
        self, wa: LoopbackService, client: RawClient, frame: bytes
    ) -> None:
        mark = wa.mark()
        client.websocket.send(frame or b"\0\0\0")
        assert wa.wait_for("protocol.error", after=mark)
        with pytest.raises(ConnectionClosed):
            client.receive()

    def test_silence(self, client: RawClient, wa: LoopbackService, jid: str) -> None:
        connection = wa.connection(jid)
        connection.silence()
        client.send(iq("w:p", "get", number="1"))
        client.websocket.ping().wait(5)
        connection.silence(False)
        client.send(iq("w:p", "get", number="2"))
        assert client.receive().text("id") == "2"

    def test_a_black_hole_delays_both_directions(
        self, client: RawClient, wa: LoopbackService, jid: str
    ) -> None:
        connection = wa.connection(jid)
        connection.black_hole()
        client.send(iq("w:p", "get", number="1"))
        pong = client.websocket.ping()
        with pytest.raises(TimeoutError):
            client.receive(timeout=0.2)
        assert not pong.is_set()
        connection.black_hole(False)
        assert client.receive().text("id") == "1"
        assert pong.wait(5)

    def test_an_end_of_stream_waits_in_a_black_hole(
        self, client: RawClient, wa: LoopbackService, jid: str
    ) -> None:
        connection = wa.connection(jid)
        connection.black_hole()
        mark = wa.mark()
        connection.stream_error(503)
        with pytest.raises(TimeoutError):
            client.receive(timeout=0.4)
        assert not wa.events("closed", connection=connection.number, after=mark)
        connection.black_hole(False)
        assert client.receive().tag == "stream:error"
        assert client.receive().tag == "xmlstreamend"
        with pytest.raises(ConnectionClosed):
            client.receive()

    def test_silence_after_success(
        self, wa: LoopbackService, number: str, noise_key: KeyPair, jid: str
    ) -> None:
        wa.silence_after_success(jid=number, times=1)
        with RawClient(wa, noise_key) as raw:
            assert raw.log_in(number).receive().tag == "success"
            raw.send(iq("w:p", "get"))
            with pytest.raises(TimeoutError):
                raw.receive(timeout=0.2)


class TestRegistration:
    def test_a_device_that_signs_wrongly_is_not_linked(self, wa: LoopbackService, number: str) -> None:
        with RawClient(wa) as raw:
            refs = [child.content for child in raw.register().receive().children[0].children]
            assert len(set(map(str, refs))) == 6
            results: list[BaseException] = []

            def scan() -> None:
                with pytest.raises(ValueError, match="signature does not verify") as caught:
                    wa.phone(number).scan(qr_text(raw, refs[0]))
                results.append(caught.value)

            phone = threading.Thread(target=scan)
            phone.start()
            success = raw.receive()
            assert success.children[0].tag == "pair-success"
            signed = wire.decode(
                wire.blob(wire.decode(success.children[0].data("device-identity")), 1, "offer")
            )
            details = wire.blob(signed, 1, "details")
            forged = KeyPair.generate().sign(DEVICE_PREFIX + details)
            identity = Node("device-identity", {"key-index": "1"}, wire.encode((1, details), (4, forged)))
            result: dict[str, str | Jid] = {"id": success.text("id"), "type": "result", "to": SERVER_JID}
            raw.send(Node("iq", result, [Node("pair-device-sign", content=[identity])]))
            phone.join(10)
            assert results
            assert wa.devices(number) == []

    def test_the_number_of_references(self, wa: LoopbackService) -> None:
        wa.script_pairing(refs=2, times=1)
        with RawClient(wa) as raw:
            assert len(raw.register().receive().children[0].children) == 2


def qr_text(raw: RawClient, ref: object) -> str:
    keys = (raw.noise_key.public, raw.identity_key.public, bytes(32))
    assert isinstance(ref, bytes)
    return ",".join([ref.decode(), *(base64.b64encode(key).decode() for key in keys), "1"])


class TestConnections:
    @pytest.mark.parametrize("how", ["reset", "fin", "close_frame"])
    def test_drops_look_different_to_the_client(
        self, wa: LoopbackService, client: RawClient, jid: str, how: Drop
    ) -> None:
        connection = wa.connection(jid)
        connection.drop(how)
        with pytest.raises(ConnectionClosed) as closed:
            client.receive()
        assert (closed.value.rcvd is not None) == (how == "close_frame")
        connection.wait_closed()
        with pytest.raises(LookupError, match="is gone"):
            connection.drop()

    def test_the_port_refuses_while_stopped_and_is_the_same_afterwards(
        self, wa: LoopbackService, number: str, noise_key: KeyPair, client: RawClient
    ) -> None:
        with wa.stopped():
            with pytest.raises(ConnectionClosed):
                client.receive()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(("127.0.0.1", wa.port), 5)
            with pytest.raises(OSError, match="in use"), socket.socket() as other:
                other.bind(("127.0.0.1", wa.port))
        with RawClient(wa, noise_key) as raw:
            assert raw.log_in(number).receive().tag == "success"

    def test_faults_at_each_stage_strike_so_often_as_they_should(self, wa: LoopbackService) -> None:
        for stage in ("tcp", "connect", "tls", "websocket"):
            with wa.refuse_connections("reset", at=stage, times=2) as rule:
                for _ in range(2):
                    with pytest.raises((OSError, EOFError, WebSocketException)):
                        RawClient(wa)
                with RawClient(wa):
                    assert rule.hits == 2

    def test_a_status_from_the_proxy_and_from_the_service(self, wa: LoopbackService) -> None:
        with wa.refuse_connections("status", at="connect", status=502), pytest.raises(InvalidProxyStatus):
            RawClient(wa)
        with wa.refuse_connections("status", at="websocket", status=429), pytest.raises(InvalidStatus):
            RawClient(wa)

    def test_hanging_connections_end_when_all_are_dropped(self, wa: LoopbackService) -> None:
        for stage in ("tcp", "connect"):
            with wa.refuse_connections("hang", at=stage):
                mark = wa.mark()
                with socket.create_connection(("127.0.0.1", wa.port), 5) as sock:
                    sock.sendall(b"CONNECT web.whatsapp.com:443 HTTP/1.1\r\n\r\n")
                    wa.wait_for("fault", after=mark)
                    wa.drop_all()
                    with pytest.raises(ConnectionResetError):
                        sock.recv(1)

    @pytest.mark.parametrize(
        ("request_head", "status"),
        [
            (b"GET / HTTP/1.1\r\n\r\n", b"405"),
            (b"CONNECT example.com:443 HTTP/1.1\r\n\r\n", b"502"),
            (b"x" * 20_000, b"431"),
        ],
    )
    def test_other_requests_to_the_proxy(
        self, wa: LoopbackService, request_head: bytes, status: bytes
    ) -> None:
        with socket.create_connection(("127.0.0.1", wa.port), 5) as sock:
            sock.sendall(request_head)
            assert sock.recv(100).startswith(b"HTTP/1.1 " + status)

    def test_credentials(self, service: LoopbackService, tmp_path: Path) -> None:
        authority = service.authority.directory
        with LoopbackService(tmp_path, authority=authority, credentials=("sales", "s3:cr@t")) as wa:
            with RawClient(wa):
                assert [connection.proxy_user for connection in wa.connections()] == ["sales"]
            assert "s3:cr@t" not in wa.proxy_url
            wa._credentials = ("sales", "wrong")
            with pytest.raises(InvalidProxyStatus):
                RawClient(wa)


class TestScripting:
    def test_wrong_arguments(self, wa: LoopbackService) -> None:
        with pytest.raises(ValueError, match="how='softly' is not one of 'reset', 'close_frame', 'fin'"):
            wa.drop_all("softly")  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="only possible at 'tcp'"):
            wa.refuse_connections("refused", at="tls")
        with pytest.raises(ValueError, match="cannot be counted"):
            wa.refuse_connections("refused", times=1)
        with pytest.raises(ValueError, match="only possible at 'connect' and 'websocket'"):
            wa.refuse_connections("status", at="noise")
        with pytest.raises(ValueError, match="not an HTTP error"):
            wa.refuse_connections("status", at="connect", status=200)
        with pytest.raises(ValueError, match="times=0"):
            wa.refuse_logins(401, times=0)
        with pytest.raises(ValueError, match="lifetimes"):
            wa.script_pairing(lifetimes=[0])
        with pytest.raises(ValueError, match="refs=101"):
            wa.script_pairing(refs=101)
        with pytest.raises(LookupError, match="not connected"):
            wa.connection("5511000000000")

    def test_waiting(self, wa: LoopbackService, number: str) -> None:
        mark = wa.mark()
        with pytest.raises(TimeoutError, match="no event kind='open'"):
            wa.wait_for("open", jid=number, timeout=0.05)
        wa.refuse_connections("reset", at="connect", times=2)
        for _ in range(2):
            with pytest.raises((OSError, EOFError, WebSocketException)):
                RawClient(wa)
        first = wa.wait_for("fault", after=mark)
        second = wa.wait_for("fault", after=mark, where=lambda event: event.number > first.number)
        assert [event.number for event in wa.events("fault", after=mark)] == [first.number, second.number]
        with pytest.raises(TimeoutError, match="not 1 clients open"):
            wa.wait_open(number, timeout=0.05)


class TestProcess:
    def test_the_same_face_over_the_network(
        self, tmp_path: Path, service: LoopbackService, number: str
    ) -> None:
        key = KeyPair.generate()
        with LoopbackService(tmp_path, authority=service.authority.directory, control_port=0) as wa:
            assert wa.control_url is not None
            remote: LoopbackApi = LoopbackClient(wa.control_url)
            jid, _ = remote.link_device(number, key.public, bytes(32))
            with RawClient(wa, key) as raw:
                assert raw.log_in(number).receive().tag == "success"
                connection = remote.connection(jid)
                connection.stream_error(401, "device_removed")
                assert raw.receive().tag == "stream:error"
                assert remote.wait_for("closed", connection=connection.number).jid == jid
            with remote.refuse_connections("hang") as rule:
                assert rule.hits == 0
            with pytest.raises(LookupError, match="not connected"):
                remote.connection(jid)
            with pytest.raises(ValueError, match="one of 'reset'"):
                remote.drop_all("softly")  # type: ignore[arg-type]
            with pytest.raises(ValueError, match="no command 'nonsense'"):
                remote.call("nonsense")
            with pytest.raises(ValueError, match="missing a required argument"):
                remote.call("drop")
            with pytest.raises(TimeoutError, match="no event"):
                remote.wait_for("nothing", timeout=0.05)

    def test_devices_outlive_a_killed_process(self, tmp_path: Path, number: str) -> None:
        with LoopbackProcess(tmp_path / "wa") as wa:
            jid, _ = wa.link_device(number, bytes(32), bytes(32))
            key, port = wa.facts["root_key"], wa.facts["proxy_url"].rpartition(":")[2]
            wa.kill()
        with LoopbackProcess(tmp_path / "wa", "--port", port) as again:
            assert again.devices(number) == [jid]
            assert (again.facts["root_key"], again.facts["proxy_url"]) == (key, f"http://127.0.0.1:{port}")
            assert again.environment()["HTTPS_PROXY"] == again.proxy_url

    def test_its_files_are_private(self, tmp_path: Path, number: str) -> None:
        with LoopbackService(tmp_path / "wa", persist=True) as wa:
            wa.link_device(number, bytes(32), bytes(32))
        files = [path for path in (tmp_path / "wa").rglob("*") if path.is_file()]
        assert len(files) == 5
        assert {path.stat().st_mode & 0o077 for path in files} == {0}
