"""One attempt over real sockets, and what its outcome says."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from actors.delivery.address import Line
from actors.delivery.courier import Courier
from actors.delivery.outcome import Outcome, Result, retry_after
from actors.delivery.request import Sender
from actors.store.outbox import Pending
from supervisor.config import WebhookSettings
from tests.actors.delivery.receiver import Receiver
from tests.actors.delivery.test_request import pending

CONTEXT = httpx.create_ssl_context()


@pytest.fixture
def courier() -> Iterator[Courier]:
    courier = Courier(Sender("http://host"), CONTEXT, time.time)
    yield courier
    courier.close()


def attempt(courier: Courier, one: Pending, **settings: Any) -> Outcome:
    return courier.attempt(one, WebhookSettings(**{"timeout": 5.0, **settings}))


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, Result.DELIVERED),
        (204, Result.DELIVERED),
        (400, Result.REJECTED),
        (401, Result.REJECTED),
        (403, Result.REJECTED),
        (404, Result.REJECTED),
        (422, Result.REJECTED),
        (405, Result.FAILED),
        (410, Result.FAILED),
        (429, Result.UNAVAILABLE),
        (500, Result.FAILED),
        (502, Result.UNAVAILABLE),
        (503, Result.UNAVAILABLE),
        (504, Result.UNAVAILABLE),
    ],
)
def test_what_an_answer_says(courier: Courier, receiver: Receiver, status: int, result: Result) -> None:
    receiver.script = lambda _: status
    outcome = attempt(courier, pending(receiver.url))
    assert outcome.result is result
    assert outcome.error == (None if result is Result.DELIVERED else f"HTTP {status}")


def test_redirects_are_not_followed(courier: Courier, receiver: Receiver) -> None:
    receiver.script = lambda _: (302, {"location": "http://127.0.0.1:1/"})
    outcome = attempt(courier, pending(receiver.url))
    assert outcome == Outcome(Result.FAILED, "HTTP 302: redirects are not followed")
    assert len(receiver.got) == 1


def test_retry_after_is_read(courier: Courier, receiver: Receiver) -> None:
    receiver.script = lambda _: (429, {"retry-after": "17"})
    assert attempt(courier, pending(receiver.url)).retry_after == 17.0


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        (None, None),
        (b"0", 0.0),
        (b" 120 ", 120.0),
        (b"99999999999999999999", 3600.0),
        (b"-5", None),
        (b"soon", None),
        ("\u0663".encode(), None),
    ],
)
def test_retry_after_in_seconds(value: bytes | None, seconds: float | None) -> None:
    assert retry_after(value, 0.0) == seconds


def test_retry_after_as_a_date() -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    later = format_datetime(now + timedelta(seconds=90), usegmt=True).encode()
    earlier = format_datetime(now - timedelta(seconds=90), usegmt=True).encode()
    assert retry_after(later, now.timestamp()) == 90.0
    assert retry_after(earlier, now.timestamp()) == 0.0


@pytest.mark.parametrize(
    "value",
    [b"Thu, 01 Jan 1970 00:00:00 +99999999999999", b"Fri, 31 Dec 9999 23:59:59 -2359", b"Mon, 99 Foo"],
)
def test_a_date_beyond_the_calendar_is_none_or_the_longest(value: bytes) -> None:
    assert retry_after(value, 0.0) in (None, 3600.0)


def test_no_answer_in_time_fails(courier: Courier, receiver: Receiver) -> None:
    receiver.script = lambda _: "hang"
    outcome = attempt(courier, pending(receiver.url), timeout=0.1)
    assert outcome == Outcome(Result.FAILED, "no answer: no answer in time")


def test_a_connection_that_is_cut_fails(courier: Courier, receiver: Receiver) -> None:
    receiver.script = lambda _: "reset"
    outcome = attempt(courier, pending(receiver.url))
    assert outcome.result is Result.FAILED
    assert (outcome.error or "").startswith("connection lost")


def test_a_refused_connection_means_that_the_destination_is_down(
    courier: Courier, receiver: Receiver
) -> None:
    receiver.stop()
    outcome = attempt(courier, pending(receiver.url))
    assert outcome == Outcome(Result.UNAVAILABLE, "no connection: connection refused", spared=True)


def test_a_private_address_is_refused_for_good(courier: Courier, receiver: Receiver) -> None:
    outcome = attempt(courier, pending(receiver.url), allow_private=False)
    assert outcome.result is Result.REJECTED
    assert not receiver.got


def test_a_kept_connection_goes_by_the_settings_of_the_instance_that_would_use_it(
    courier: Courier, receiver: Receiver
) -> None:
    assert attempt(courier, pending(receiver.url)).result is Result.DELIVERED
    assert attempt(courier, pending(receiver.url), allow_private=False).result is Result.REJECTED
    assert len(receiver.got) == 1
    assert attempt(courier, pending(receiver.url)).result is Result.DELIVERED


@pytest.mark.parametrize(
    "headers",
    [
        {"x bad": "HUSH"},
        {"x-HUSH\n": "1"},
        {"x-key": "HUSH\x7f"},
        {"jwt_key": ""},
        {"jwt_key": "-----BEGIN PUBLIC KEY-----\nHUSH\n-----END PUBLIC KEY-----"},
    ],
)
def test_a_header_that_cannot_be_sent_is_refused_for_good_without_its_value(
    courier: Courier, receiver: Receiver, headers: dict[str, str]
) -> None:
    outcome = attempt(courier, pending(receiver.url, headers=headers))
    assert outcome.result is Result.REJECTED
    assert "hush" not in str(outcome.error).lower()
    assert receiver.got == []


@pytest.mark.parametrize("url", ["http://user:pa/HUSH@h/", "http://user:p:HUSH@[h/", "http://h:HUSHPORT/x"])
def test_a_url_that_cannot_be_called_is_refused_without_its_password(courier: Courier, url: str) -> None:
    outcome = attempt(courier, pending(url))
    assert outcome.result in (Result.REJECTED, Result.UNAVAILABLE)
    assert "HUSH" not in str(outcome.error)


def test_space_at_the_edges_of_a_header_is_left_out(courier: Courier, receiver: Receiver) -> None:
    headers = {"authorization": "Bearer token ", "x-key": " key", "x-empty": ""}
    assert attempt(courier, pending(receiver.url, headers=headers)).result is Result.DELIVERED
    sent = receiver.got[0].headers
    assert (sent["authorization"], sent["x-key"], sent["x-empty"]) == ("Bearer token", "key", "")


def test_what_a_receiver_says_instead_of_http_is_not_told(courier: Courier) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = server.accept()
        asked = peer.recv(65536)
        peer.sendall(b"you said: " + asked.replace(b"\r\n", b" ") + b"\r\n\r\n")
        peer.close()

    threading.Thread(target=serve, daemon=True).start()
    one = pending(f"http://127.0.0.1:{server.getsockname()[1]}/", headers={"x-key": "HUSH"})
    outcome = attempt(courier, one)
    assert outcome == Outcome(Result.FAILED, "connection lost: no whole HTTP answer")
    server.close()


def test_what_cannot_be_sent_is_refused_for_good(courier: Courier) -> None:
    assert attempt(courier, pending("ftp://host/")).result is Result.REJECTED


def test_connections_are_kept(courier: Courier, receiver: Receiver) -> None:
    for _ in range(5):
        assert attempt(courier, pending(receiver.url)).result is Result.DELIVERED
    assert courier._line.connects == 1


def test_a_kept_connection_that_the_server_closed_meanwhile_costs_no_attempt() -> None:
    """The server closes right behind its answer, without having announced it."""
    server = socket.create_server(("127.0.0.1", 0))
    served = []

    def serve() -> None:
        while True:
            try:
                peer, _ = server.accept()
            except OSError:
                return
            with peer:
                if peer.recv(65536):
                    served.append(1)
                    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    threading.Thread(target=serve, daemon=True).start()
    courier = Courier(Sender("http://host"), CONTEXT, time.time)
    url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    for _ in range(5):
        assert attempt(courier, pending(url)).result is Result.DELIVERED
    courier.close()
    server.close()
    assert len(served) == 5


def test_an_endless_answer_is_cut_short(courier: Courier) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = server.accept()
        peer.recv(65536)
        try:
            peer.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
            while True:
                peer.sendall(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
        except OSError:
            peer.close()

    threading.Thread(target=serve, daemon=True).start()
    url = f"http://127.0.0.1:{server.getsockname()[1]}/"
    assert attempt(courier, pending(url)).result is Result.DELIVERED
    server.close()


@pytest.mark.parametrize(
    "answer", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"]
)
def test_half_an_answer_is_none(courier: Courier, answer: bytes) -> None:
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        peer, _ = server.accept()
        peer.recv(65536)
        peer.sendall(answer)
        peer.close()

    threading.Thread(target=serve, daemon=True).start()
    outcome = attempt(courier, pending(f"http://127.0.0.1:{server.getsockname()[1]}/"))
    assert outcome.result is Result.FAILED
    server.close()


class Authority:
    """A throw-away CA and a server certificate for `hooks.test`."""

    def __init__(self, place: Path) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "hooks.test")])
        start = datetime.now(UTC) - timedelta(days=1)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(1)
            .not_valid_before(start)
            .not_valid_after(start + timedelta(days=3))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName("hooks.test")]), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate, self.key = place / "cert.pem", place / "key.pem"
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
        )


@pytest.mark.parametrize(
    ("host", "trusted", "result"),
    [
        ("hooks.test", True, Result.DELIVERED),
        ("hooks.test", False, Result.UNAVAILABLE),
        ("other.test", True, Result.UNAVAILABLE),
    ],
)
def test_tls_verifies_the_name_although_the_connection_goes_to_an_address(
    tmp_path: Path, receiver: Receiver, host: str, trusted: bool, result: Result
) -> None:
    authority = Authority(tmp_path)
    secured = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    secured.load_cert_chain(authority.certificate, authority.key)
    assert receiver._server is not None
    receiver._server.socket = secured.wrap_socket(receiver._server.socket, server_side=True)
    context = ssl.create_default_context(cafile=str(authority.certificate)) if trusted else CONTEXT
    line = Line(lambda _host, port: [(socket.AF_INET, ("127.0.0.1", port))])
    courier = Courier(Sender("http://host"), context, time.time, line)
    outcome = attempt(courier, pending(f"https://{host}:{receiver.port}/hook"))
    courier.close()
    assert outcome.result is result
    assert len(receiver.delivered) == (1 if result is Result.DELIVERED else 0)
